# shellcheck shell=bash
# Sourced by run: the words the files in topology/ are written in. They append to the array `devices`.
# A topology may also set `cpu`, QEMU's -cpu, and add kernel arguments to `append`. The images are in drive_dir.

chassis=0

# root_port ID: a PCIe root port, each its own path to the processor.
root_port() {
	devices+=(-device "pcie-root-port,id=$1,chassis=$((chassis += 1))")
}

# pcie_switch PORT ID...: a switch below PORT with the downstream ports ID...
pcie_switch() {
	local port=$1 id
	devices+=(-device "x3130-upstream,id=$port-switch,bus=$port")
	for id in "${@:2}"; do
		devices+=(-device "xio3130-downstream,id=$id,bus=$port-switch,chassis=$((chassis += 1))")
	done
}

# drive NAME PORT NSID [CMB_MB [NS_OPTIONS [OPTIONS]]]: an NVMe drive with the serial number driveNAME below PORT.
# NSID differs between drives, so that QEMU's trace tells whose command a line is about.
drive() {
	devices+=(-device "nvme,id=drive$1,serial=drive$1,bus=$2,cmb_size_mb=${4:-0}${6:+,$6}")
	drive_namespace "$1" "$3" "" "${5:-}"
}

# drive_namespace NAME NSID SUFFIX [NS_OPTIONS]: a namespace of drive NAME, in an image of its own, with QEMU's
# further options of nvme-ns, as in "zoned=true".
drive_namespace() {
	local name=drive$1 id=drive$1$3 image
	# shellcheck disable=SC2154 # set by run
	image=$drive_dir/$id.img
	[ -e "$image" ] || truncate -s 1G "$image"
	local file="file=${image//,/,,}"
	if [ -n "${drive_errors-}" ] && [ "$id" = driveA ]; then
		file="file.driver=blkdebug,file.config=${drive_errors//,/,,},file.image.driver=file,file.image.filename=${image//,/,,}"
	fi
	devices+=(
		-drive "if=none,id=$id-image,format=raw,cache=unsafe,discard=unmap,$file"
		-device "nvme-ns,drive=$id-image,bus=$name,nsid=$2${4:+,$4}"
	)
}
