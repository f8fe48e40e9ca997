# shellcheck shell=bash
# Sourced, after tests/lib/deps.sh: runs commands in the guests' userland, where libraries differ from this machine's.

# in_userland ROOT TREE COMMAND...: ROOT, an image's folder `root`, stays as it is (read-only) but for TREE, which lies where
# the guests will see it, at /src, so that debuggers find the sources. The mounts vanish with their namespace.
in_userland() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	as_root unshare --mount --propagation private bash -c '
		set -e
		root=$1 tree=$2 owner=$3
		shift 3
		mount --bind "$root" "$root"
		mount -o remount,bind,ro "$root"
		mount --bind "$tree" "$root/src"
		mount --rbind /proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs tmpfs "$root/tmp"
		exec chroot --userspec="$owner" "$root" env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 HOME=/tmp TERM="${TERM-}" "$@"
	' bash "$1" "$2" "$(id -u):$(id -g)" "${@:3}"
}
