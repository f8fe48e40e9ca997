/* metrics_table: the collectors, by the file they are in. What each counts is in metrics_table.c.
 */
#ifndef TARGET_DAEMON_METRICS_TABLE_H
#define TARGET_DAEMON_METRICS_TABLE_H

#include "target/daemon/metrics_text.h"

/* metrics_target.c: namespaces, commands, controllers, hosts */
metric_collector collect_ns_info, collect_ns_commands, collect_ns_errors, collect_ns_staged_bytes,
	collect_ns_latency, collect_ns_in_flight, collect_ns_resv_conflicts, collect_ns_size,
	collect_ns_device_present, collect_ns_write_protected, collect_ns_usable_cmbs,
	collect_ana_state, collect_commands, collect_failures, collect_controllers,
	collect_controllers_created, collect_io_queues, collect_host_controllers,
	collect_host_io_queues, collect_keep_alive_expirations, collect_connect_timeouts,
	collect_connects_refused, collect_authentication_failures, collect_devices_lost;

/* metrics_transport.c: connections, RNICs, staging memory, paths */
metric_collector collect_connections, collect_connections_accepted, collect_connections_rejected,
	collect_connection_memory, collect_connection_memory_limit, collect_port_listening,
	collect_rnic_connections, collect_rnic_odp, collect_window_size, collect_window_linked,
	collect_window_full, collect_in_capsule_copies, collect_flushes, collect_slots_taken,
	collect_slot_takes, collect_slot_evictions, collect_slot_waits, collect_cmb_active,
	collect_cmb_size, collect_cmb_held, collect_cmb_used, collect_cmb_grows,
	collect_cmb_shrinks, collect_cmb_refusals, collect_cmb_losses, collect_path_usable,
	collect_path_info;

/* metrics_process.c: the daemon itself */
metric_collector collect_build_info, collect_reactor_work, collect_reloads, collect_last_reload_ok,
	collect_last_reload_time, collect_scrapes, collect_build_seconds, collect_cpu_seconds,
	collect_resident_memory, collect_start_time, collect_open_fds, collect_max_fds;

#endif
