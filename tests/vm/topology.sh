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

# drive NAME PORT NSID [CMB_MB]: an NVMe drive with the serial number driveNAME below PORT.
# NSID differs between drives, so that QEMU's trace tells whose command a line is about.
drive() {
	local name=drive$1 port=$2 nsid=$3 cmb=${4:-0} image
	# shellcheck disable=SC2154 # set by run
	image=$drive_dir/$name.img
	[ -e "$image" ] || truncate -s 1G "$image"
	devices+=(
		-drive "if=none,id=$name-image,format=raw,cache=unsafe,discard=unmap,file=${image//,/,,}"
		-device "nvme,id=$name,serial=$name,bus=$port,cmb_size_mb=$cmb"
		-device "nvme-ns,drive=$name-image,bus=$name,nsid=$nsid"
	)
}
