# shellcheck shell=bash
# Sourced, after tests/e2e/lib.sh: hosts of two targets in one guest.

# device_of NQN: the one namespace's block device.
device_of() {
	local subsys ns
	for subsys in /sys/class/nvme-subsystem/*; do
		[ "$(cat "$subsys/subsysnqn" 2>/dev/null)" = "$1" ] || continue
		for ns in "$subsys"/nvme*n1; do
			[ ! -b "/dev/${ns##*/}" ] || { echo "/dev/${ns##*/}"; return 0; }
		done
	done
	return 1
}

connect() { # NQN PORT QUEUES
	nvme connect -t rdma -a "$ADDRESS" -s "$2" -n "$1" -i "$3" >/dev/null
	wait_for 20 "$1" device_of "$1"
}
