# shellcheck shell=bash
# Sourced: how much of the processors others take, on a machine that is shared. Times mean little without it.

# processor_time: "WANTED STOLEN", ticks since the boot: what this machine ran or would have run; of that, what its
# hypervisor gave to others (steal, proc(5)).
processor_time() { awk '/^cpu /{ print $2 + $3 + $4 + $7 + $8 + $9, $9 }' /proc/stat; }

# say_stolen_since WANTED STOLEN: what processor_time said then.
say_stolen_since() {
	local wanted stolen
	read -r wanted stolen < <(processor_time)
	echo "other machines had $((100 * (stolen - $2) / (wanted - $1 + 1))) % of the processor time that this one wanted"
}
