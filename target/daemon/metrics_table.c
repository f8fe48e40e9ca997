/*
 * Every metric there is. docs/metrics.md is made from this table (tests/unit/test_metrics says
 * how), and the dashboard and the alert rules in docs/ use only what is here.
 *
 * Labels are few and bounded: by the configuration, by the hardware, by tables of ours, and of
 * hosts METRICS_HOSTS_MAX are named.
 */
#include "target/daemon/metrics_table.h"

#define P  "nvmf_p2pd_"
#define NS "subsystem, nsid"
#define COUNTER(name, labels, collect, help)                                                       \
	{                                                                                          \
		P name, help, labels, METRIC_COUNTER, collect                                      \
	}
#define GAUGE(name, labels, collect, help)                                                         \
	{                                                                                          \
		P name, help, labels, METRIC_GAUGE, collect                                        \
	}
#define HISTOGRAM(name, labels, collect, help)                                                     \
	{                                                                                          \
		P name, help, labels, METRIC_HISTOGRAM, collect                                    \
	}

/* clang-format off */
const struct metric metric_table[] = {
	/* the daemon */
	GAUGE("build_info", "version", collect_build_info,
	      "Always 1; the label has the version that runs."),
	COUNTER("reactor_work_total", "reactor", collect_reactor_work,
		"Completions and messages handled; one that stands still while others move is idle or stuck."),
	COUNTER("config_reloads_total", "result", collect_reloads,
		"Reloads of the configuration."),
	GAUGE("config_last_reload_successful", "", collect_last_reload_ok,
	      "Whether the last reload was done (1) or refused (0)."),
	GAUGE("config_last_reload_success_timestamp_seconds", "", collect_last_reload_time,
	      "When the configuration that is in effect was loaded, in seconds since 1970."),
	COUNTER("http_requests_total", "code", collect_scrapes,
		"Answers to HTTP requests, this one not yet."),
	GAUGE("metrics_build_duration_seconds", "", collect_build_seconds,
	      "How long it took to put together the answer before this one."),

	/* namespaces */
	GAUGE("namespace_info", NS ", device, policy", collect_ns_info,
	      "Always 1; the labels have what is behind a namespace and its `cmb` setting."),
	COUNTER("namespace_commands_total", NS ", direction", collect_ns_commands,
		"Commands with payload that were done, by where the payload went: read to the host, write from it."),
	COUNTER("namespace_errors_total", NS ", direction", collect_ns_errors,
		"Commands with payload that failed."),
	COUNTER("namespace_staged_bytes_total", NS ", direction, place, provider, reason", collect_ns_staged_bytes,
		"Payload by where it was staged: place is cmb, and provider names it, or host, and reason says why. A place that was never used has no series."),
	HISTOGRAM("namespace_latency_seconds", NS ", direction", collect_ns_latency,
		  "Time from a command's arrival until its response is handed to the RNIC, of commands with payload that were done."),
	GAUGE("namespace_in_flight_commands", NS, collect_ns_in_flight,
	      "Queue depth: commands of any kind that are being executed; on a queue without work, the last answers count for up to 15 s."),
	COUNTER("namespace_reservation_conflicts_total", NS, collect_ns_resv_conflicts,
		"Commands refused because another host holds a reservation."),
	GAUGE("namespace_size_bytes", NS, collect_ns_size,
	      "Size of a namespace."),
	GAUGE("namespace_device_present", NS, collect_ns_device_present,
	      "Whether the device behind a namespace is there (1) or lost (0)."),
	GAUGE("namespace_write_protected", NS, collect_ns_write_protected,
	      "Whether hosts may not write (1)."),
	GAUGE("namespace_usable_cmbs", NS, collect_ns_usable_cmbs,
	      "CMBs that a namespace's drive was proved to reach; 0: its payload is staged in host memory."),

	GAUGE("ana_group_state", "subsystem, port, group, state", collect_ana_state,
	      "ANA: 1 for the state that a group is in on a port, 0 for the others; groups with namespaces, \"lost\" is that of lost devices."),

	/* commands */
	COUNTER("commands_total", "queue, command", collect_commands,
		"Commands completed, also those that failed; queue is io, admin, or fabrics for commands of fabrics on either."),
	COUNTER("command_failures_total", "status", collect_failures,
		"Commands answered with an error, by NVMe status."),

	/* controllers and hosts */
	GAUGE("controllers", "subsystem", collect_controllers,
	      "Controllers now: one for each association of a host."),
	COUNTER("controllers_created_total", "subsystem", collect_controllers_created,
		"Controllers made: hosts that connected, or connected again."),
	GAUGE("io_queues", "subsystem", collect_io_queues,
	      "I/O queues connected now."),
	GAUGE("host_controllers", "host", collect_host_controllers,
	      "Controllers of a host now. The first 64 hosts are named, the others are summed as \"other\"."),
	GAUGE("host_io_queues", "host", collect_host_io_queues,
	      "I/O queues of a host now, hosts named as for host_controllers."),
	COUNTER("keep_alive_expirations_total", "", collect_keep_alive_expirations,
		"Hosts disconnected because they fell silent."),
	COUNTER("connect_timeouts_total", "", collect_connect_timeouts,
		"Connections ended because no Connect command came."),
	COUNTER("connects_refused_total", "reason", collect_connects_refused,
		"Connect commands refused: host is not allowed, subsystem is unknown on that port, limit of the host is reached."),
	COUNTER("authentication_failures_total", "", collect_authentication_failures,
		"DH-HMAC-CHAP transactions that failed."),
	COUNTER("devices_lost_total", "", collect_devices_lost,
		"Times that the device behind a namespace went away."),

	/* connections and RNICs */
	GAUGE("port_listening", "port, address, service", collect_port_listening,
	      "Whether a port listens (1) or waits for its address or RNIC (0)."),
	GAUGE("connections", "queue", collect_connections,
	      "RDMA connections now; queue is io or admin."),
	COUNTER("connections_accepted_total", "", collect_connections_accepted,
		"RDMA connections accepted."),
	COUNTER("connections_rejected_total", "reason", collect_connections_rejected,
		"RDMA connections rejected."),
	GAUGE("connection_memory_bytes", "", collect_connection_memory,
	      "Memory that the queues of all connections may come to need."),
	GAUGE("connection_memory_limit_bytes", "", collect_connection_memory_limit,
	      "The setting connection_memory."),
	GAUGE("rnic_connections", "rnic", collect_rnic_connections,
	      "RDMA connections of an RNIC now."),
	GAUGE("rnic_on_demand_paging", "rnic", collect_rnic_odp,
	      "Whether an RNIC can reach CMBs by on-demand paging (1)."),
	COUNTER("in_capsule_copies_total", "rnic", collect_in_capsule_copies,
		"In-capsule data copied because shared receives became few."),
	COUNTER("cmb_flushes_total", "rnic", collect_flushes,
		"Reads that make sure a host's data is in the CMB (cmb_flush)."),

	/* staging memory */
	GAUGE("window_size_bytes", "rnic, backing", collect_window_size,
	      "IOVA windows of all reactors: odp for CMBs, pinned for host memory."),
	GAUGE("window_linked_bytes", "rnic, backing", collect_window_linked,
	      "Bytes of the windows that have memory behind them."),
	COUNTER("window_full_total", "rnic, backing", collect_window_full,
		"Times that a window had no room: raise window_size or host_memory."),
	GAUGE("slots_taken", "rnic, provider", collect_slots_taken,
	      "Staging slots in use now; provider is a CMB or host."),
	COUNTER("slot_takes_total", "rnic, provider, how", collect_slot_takes,
		"Slots taken: warm, at no cost, or linked, by system calls."),
	COUNTER("slot_evictions_total", "rnic, provider", collect_slot_evictions,
		"Idle slots unlinked to make room, or after a while."),
	COUNTER("slot_waits_total", "rnic, provider, cause", collect_slot_waits,
		"Commands that waited for a slot: cause is memory, or share where others were to have some."),
	GAUGE("cmb_active", "provider", collect_cmb_active,
	      "Whether a CMB is there (1) or lost (0)."),
	GAUGE("cmb_size_bytes", "provider", collect_cmb_size,
	      "Size of a CMB as the kernel publishes it."),
	GAUGE("cmb_held_bytes", "provider", collect_cmb_held,
	      "Bytes of a CMB that the daemon holds."),
	GAUGE("cmb_used_bytes", "provider", collect_cmb_used,
	      "Bytes of a CMB that hold payload now."),
	COUNTER("cmb_grows_total", "provider", collect_cmb_grows,
		"Chunks of a CMB taken."),
	COUNTER("cmb_shrinks_total", "provider", collect_cmb_shrinks,
		"Chunks of a CMB given back."),
	COUNTER("cmb_refusals_total", "provider", collect_cmb_refusals,
		"Times that the kernel or cmb_reserve refused more of a CMB."),
	COUNTER("cmb_losses_total", "provider", collect_cmb_losses,
		"Times that a CMB went away."),

	/* paths */
	GAUGE("path_usable", "provider, client, operation", collect_path_usable,
	      "Whether a path between a CMB and an RNIC or a drive was proved and is there (1)."),
	GAUGE("path_info", "provider, client, operation, mapping, proof, reason", collect_path_info,
	      "Always 1; the labels have what the proof of a path found, and why it is not used."),

	/* the process, under the names that all exporters have */
#undef P
#define P "process_"
	COUNTER("cpu_seconds_total", "", collect_cpu_seconds,
		"Processor time, user and system."),
	GAUGE("resident_memory_bytes", "", collect_resident_memory,
	      "Resident memory."),
	GAUGE("start_time_seconds", "", collect_start_time,
	      "When the process started, in seconds since 1970."),
	GAUGE("open_fds", "", collect_open_fds,
	      "Open file descriptors."),
	GAUGE("max_fds", "", collect_max_fds,
	      "Most file descriptors that may be open."),
};
/* clang-format on */

const size_t metric_table_len = sizeof(metric_table) / sizeof(metric_table[0]);
