# Sourced by the end-to-end tests, which run in a guest (tests/vm/run). Ends the test at the first
# thing that is not as it should be, and says what.
# shellcheck shell=bash
set -Eeuo pipefail
trap 'echo "FAILED: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR

NQN=nqn.2026-11.org.nvmf-p2pd:test
ADDRESS=${ADDRESS:-10.0.0.1}
LOG=/tmp/nvmf-p2pd.log
CONF=/tmp/nvmf-p2pd.conf
daemon_pid=''

fail() {
	echo "FAILED: $*" >&2
	if [ -s "$LOG" ]; then
		echo "--- the daemon's log" >&2
		tail -n 60 "$LOG" >&2
	fi
	echo "--- the kernel's, and its controllers" >&2
	dmesg 2>/dev/null | tail -n 20 >&2
	tail -n +1 /sys/class/nvme/nvme*/{state,address} >&2 2>/dev/null || true
	rdma resource show qp 2>/dev/null | grep GSI >&2 || true
	# where its threads are in the kernel
	[ ! -d "/proc/${daemon_pid:-none}" ] || grep -sH . "/proc/$daemon_pid/task/"*/wchan >&2 || true
	exit 1
}

step() { echo "* $SECONDS s: $*"; }

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds.
wait_for() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || fail "waited in vain for $what"
		sleep 0.1
	done
}

is_over() { ! kill -0 "$1" 2>/dev/null; } # a process of ours

# write_config [CMB-POLICY]: drives A and B as namespaces 1 and 2; the *_SETTINGS are put in.
write_config() {
	cat >"$CONF" <<-END
		daemon = { state_dir = "${STATE:-/tmp/nvmf-p2pd-state}"; ${DAEMON_SETTINGS:-} };
		ports = ( { id = 1; address = "$ADDRESS"; ${PORT_SETTINGS:-} } );
		subsystems = ( {
		  nqn = "$NQN";
		  allow_any_host = true;
		  namespaces = ( { nsid = 1; device = "/dev/drive/A"; cmb = "${1:-prefer}"; ${NAMESPACE_SETTINGS:-} },
		                 { nsid = 2; device = "/dev/drive/B"; cmb = "${1:-prefer}"; ${NAMESPACE_SETTINGS:-} } );
		} );
	END
}

# start_daemon [OPTION...]: returns when it listens.
start_daemon() {
	: >"$LOG"
	nvmf-p2pd -c "$CONF" "$@" >"$LOG" 2>&1 &
	daemon_pid=$!
	wait_for 120 "the daemon to be ready" daemon_ready_or_dead
	kill -0 "$daemon_pid" 2>/dev/null || fail "the daemon did not start"
}

daemon_ready_or_dead() {
	grep -q '^nvmf-p2pd: ready' "$LOG" || ! kill -0 "$daemon_pid" 2>/dev/null
}

# tell_daemon SIGNAL: 0 asks whether it lives.
tell_daemon() { kill "-$1" "$daemon_pid"; }

# daemon_memory FIELD: KiB, a field of /proc/PID/status as in VmRSS, RssAnon.
daemon_memory() { awk "/^$1:/{print \$2}" "/proc/$daemon_pid/status"; }

# growth_kib KIB: by how much its memory may grow in a test. AddressSanitizer keeps what was freed.
growth_kib() {
	case $BUILD in
	*address*) echo $((512 << 10)) ;;
	*) echo "$1" ;;
	esac
}

# stop_daemon: SIGTERM, and it must exit with 0. Its table of bytes is in $LOG then.
stop_daemon() {
	local rc=0
	kill -TERM "$daemon_pid"
	wait "$daemon_pid" || rc=$?
	[ $rc -eq 0 ] || fail "the daemon exited with $rc"
}

# connect_host [OPTION...]: sets NS1 and NS2 to the block devices that appeared.
connect_host() {
	nvme connect -t rdma -a "$ADDRESS" -s 4420 -n "$NQN" -i 2 "$@" >/tmp/connect.log 2>&1 ||
		fail "nvme connect: $(cat /tmp/connect.log)"
	wait_for 30 "both namespaces" find_namespaces
}

# The namespaces' block devices by NQN and nsid, not by a guess at numbers.
find_namespaces() {
	local subsys ns
	NS1='' NS2=''
	for subsys in /sys/class/nvme-subsystem/*; do
		[ "$(cat "$subsys/subsysnqn" 2>/dev/null)" = "$NQN" ] || continue
		for ns in "$subsys"/nvme*n*; do
			[ -e "/dev/${ns##*/}" ] || continue
			case $(cat "$ns/nsid" 2>/dev/null) in
			1) NS1=/dev/${ns##*/} ;;
			2) NS2=/dev/${ns##*/} ;;
			esac
		done
	done
	[ -b "$NS1" ] && [ -b "$NS2" ]
}

disconnect_host() {
	nvme disconnect -n "$NQN" >/dev/null || fail "nvme disconnect"
}

# 512 B to 1 MiB, mixed; a caller may want another mix. Each job has its own part of the drive, so that no two writes overlap.
MIXED=${MIXED:-512/12:1k/12:3k/12:4k/12:12k/12:64k/12:100k/8:256k/10:1m/10}

# verified_io DEVICE [SIZE-PER-JOB (12m, or SIZE) [FIO-OPTION...]]: random writes of mixed sizes, then every byte read and compared.
verified_io() {
	local device=$1 size=${2:-${SIZE:-12m}}
	shift $(($# > 2 ? 2 : $#))
	fio --name=verify --filename="$device" --direct=1 --ioengine=io_uring --iodepth=32 --numjobs=2 \
		--rw=randwrite --bssplit="$MIXED" --size="$size" --offset_increment=256m \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --verify_state_save=0 --serialize_overlap=1 --randseed="${SEED:-42}" "$@" \
		--group_reporting --output=/tmp/fio.log --output-format=normal ||
		fail "fio on $device: $(tail -n 30 /tmp/fio.log)"
	grep -q 'err= 0' /tmp/fio.log || fail "fio on $device: $(cat /tmp/fio.log)"
}

# stamp_on NSID DEVICE [OPTION...]: a load beside what is tested, until end_stamp NSID: nvmf-stamp, slow enough that the emulated
# processors have time for both.
declare -A stamps=() stamped=()
stamp_on() {
	"$BUILD/tests/stamp/nvmf-stamp" --nsid "$1" --seconds 1000000 --depth 4 --rate 2M "${@:3}" "$2" >"/tmp/stamp-$1.log" 2>&1 &
	stamps[$1]=$! stamped[$1]=/sys/class/block/${2##*/}/stat
}

stamp_pids() { [ ${#stamps[@]} -eq 0 ] || echo "${stamps[@]}"; }

stamps_run() {
	local nsid
	for nsid in "${!stamps[@]}"; do
		kill -0 "${stamps[$nsid]}" 2>/dev/null || fail "stamp on namespace $nsid: $(tail -n 20 "/tmp/stamp-$nsid.log")"
	done
}

# stamps_go_on: each has filled its part and written 1 MiB from now on, and none has found anything wrong.
stamps_go_on() {
	local nsid
	local -A before=()
	sectors() { awk '{ print $7 }' "${stamped[$1]}"; }
	more_sectors() { [ "$(sectors "$1")" -gt $((before[$1] + 2048)) ] || ! kill -0 "${stamps[$1]}" 2>/dev/null; }
	filled() { grep -q ' filled$' "/tmp/stamp-$1.log" || ! kill -0 "${stamps[$1]}" 2>/dev/null; }
	for nsid in "${!stamps[@]}"; do wait_for 120 "stamps all over namespace $nsid" filled "$nsid"; done
	for nsid in "${!stamps[@]}"; do before[$nsid]=$(sectors "$nsid"); done
	for nsid in "${!stamps[@]}"; do wait_for 120 "stamps on namespace $nsid" more_sectors "$nsid"; done
	stamps_run
}

end_stamp() { # NSID
	local nsid=$1 rc=0
	kill -TERM "${stamps[$nsid]}"
	wait "${stamps[$nsid]}" || rc=$?
	unset "stamps[$nsid]"
	sed "s/^/  namespace $nsid: /" "/tmp/stamp-$nsid.log"
	[ $rc -eq 0 ] || fail "the stamps of namespace $nsid"
	grep -q '^stamp: ok, ' "/tmp/stamp-$nsid.log" || fail "no verdict of namespace $nsid"
}

end_stamps() {
	local each
	for each in "${!stamps[@]}"; do end_stamp "$each"; done
}

# staged NSID DIRECTION: the places and shares in the daemon's last table, one a line.
staged() {
	awk -v nsid="$1" -v dir="$2" '
		/^SUBSYSTEM/ { delete row; n = 0 }
		$2 == nsid && $3 == dir && /%$/ {
			line = $0; sub(/^[^ ]+ +[0-9]+ +[a-z]+ +/, "", line); sub(/ +[0-9]+ +([0-9.]+%)$/, " & ", line)
			gsub(/ +/, " ", line); row[n++] = line }
		END { for (i = 0; i < n; i++) print row[i] }' "$LOG"
}

# expect_staged NSID PATTERN: that namespace's bytes, both ways, all went through places that match.
expect_staged() {
	local dir got
	for dir in write read; do
		got=$(staged "$1" "$dir")
		[ -n "$got" ] || fail "namespace $1, $dir: nothing was staged"
		! grep -vE "^($2) [0-9]+ [0-9.]+%" <<<"$got" ||
			fail "namespace $1, $dir: expected all in '$2', got: $got"
	done
}

# lay_cable CARD, then cut_cable CARD and mend_cable CARD: what it sends is lost. By one queueing discipline all along, because while one
# takes another's place packets are refused (NET_XMIT_CN), which soft-RoCE takes for an error that ends a queue pair for good,
# also the one that it makes connections with (seen on 7.2: ip_local_out() 2 in rxe_xmit_packet(), then rxe_qp_error()).
lay_cable() { modprobe sch_netem && tc qdisc add dev "$1" root netem limit 100000; }
cut_cable() { tc qdisc change dev "$1" root netem limit 100000 loss 100%; }
mend_cable() { tc qdisc change dev "$1" root netem limit 100000; }

# second_nic NUMBER: eth1 (tests/vm/run --second-nic) becomes rdma1 with 10.0.1.NUMBER. Both cards are on one cable: each
# answers for its own address only.
second_nic() {
	echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
	echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce
	ip link set eth1 name rdma1
	ip link set rdma1 mtu 9000 up
	ip address add "10.0.1.$1/24" dev rdma1
}

# Two RNICs, rxe0 and rxe1, each with a port: what second_nic 1 has made.
write_two_ports() {
	cat >"$CONF" <<-END
		ports = ( { id = 1; address = "10.0.0.1"; }, { id = 2; address = "10.0.1.1"; } );
		subsystems = ( {
		  nqn = "$NQN";
		  allow_any_host = true;
		  namespaces = ( { nsid = 1; device = "/dev/drive/A"; uuid = "6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b11"; },
		                 { nsid = 2; device = "/dev/drive/B"; uuid = "6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b12"; } );
		} );
	END
}

# What a daemon holds: queue pairs, memory regions, completion queues, descriptors, CMB pages.
holdings() {
	local kind
	for kind in qp mr cq pd; do
		echo "$kind $(rdma resource show $kind 2>/dev/null | grep -c nvmf-p2pd || true)"
	done
	echo "fd $(find "/proc/$daemon_pid/fd" -mindepth 1 | wc -l)"
	cat /sys/bus/pci/devices/*/p2pmem/available 2>/dev/null | sed 's/^/cmb_available /'
}
