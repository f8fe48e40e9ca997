/* Metrics of namespaces, commands, controllers and hosts. */
#include "target/daemon/metrics_table.h"

#include "target/core.h"
#include "target/daemon/daemon.h"
#include "target/daemon/metrics.h"

#include <string.h>

static const char *const directions[] = { [DATA_H2C] = "write", [DATA_C2H] = "read" };

/* ---- namespaces --------------------------------------------------------------------------------
 */

/* What a namespace has one number of. */
static void each_namespace(struct metric_out *out, const struct daemon *d,
			   uint64_t (*value)(const struct namespace *ns))
{
	const struct subsystem *s;
	const struct namespace *ns;

	FOR_EACH_SUBSYSTEM(d->target, s)
	FOR_EACH_NAMESPACE (s, ns)
		metric_count(out,
			     METRIC_LABELS({ "subsystem", s->nqn },
					   { "nsid", metric_number(ns->nsid).text }),
			     value(ns));
}

struct direction {
	const struct daemon *d;
	const struct namespace *ns;
	const char *nqn, *nsid, *name;
	struct stage_account account;
};

static void each_direction(struct metric_out *out, const struct daemon *d,
			   void (*add)(struct metric_out *out, const struct direction *x))
{
	const struct subsystem *s;
	const struct namespace *ns;

	FOR_EACH_SUBSYSTEM(d->target, s)
	FOR_EACH_NAMESPACE (s, ns)
		for (enum data_dir dir = DATA_H2C; dir <= DATA_C2H; dir++) {
			struct metric_number nsid = metric_number(ns->nsid);
			struct direction x = { .d = d,
					       .ns = ns,
					       .nqn = s->nqn,
					       .nsid = nsid.text,
					       .name = directions[dir] };

			namespace_account(d->target, ns, dir, &x.account);
			add(out, &x);
		}
}

#define DIRECTION_LABELS(x)                                                                        \
	{ "subsystem", (x)->nqn }, { "nsid", (x)->nsid },                                          \
	{                                                                                          \
		"direction", (x)->name                                                             \
	}

static void add_commands(struct metric_out *out, const struct direction *x)
{
	metric_count(out, METRIC_LABELS(DIRECTION_LABELS(x)), x->account.commands);
}

void collect_ns_commands(struct metric_out *out, const struct daemon *d)
{
	each_direction(out, d, add_commands);
}

static void add_errors(struct metric_out *out, const struct direction *x)
{
	metric_count(out, METRIC_LABELS(DIRECTION_LABELS(x)), x->account.errors);
}

void collect_ns_errors(struct metric_out *out, const struct daemon *d)
{
	each_direction(out, d, add_errors);
}

static void add_latencies(struct metric_out *out, const struct direction *x)
{
	metric_latencies(out, METRIC_LABELS(DIRECTION_LABELS(x)), &x->account);
}

void collect_ns_latency(struct metric_out *out, const struct daemon *d)
{
	each_direction(out, d, add_latencies);
}

/* The names are the table's: "cmb 0000:03:00.0", "host: exhausted". */
static void add_staged_bytes(struct metric_out *out, const struct direction *x)
{
	const struct provider_set *set = daemon_control_reactor(x->d)->set;

	for (unsigned int i = 0; i < STAGE_NPLACES; i++) {
		bool cmb = stage_is_cmb(i);
		char buf[64];
		const char *name = stage_place_name(set, i, buf, sizeof(buf));
		const char *space = strchr(name, ' '), *what = space ? space + 1 : name;

		if (x->account.bytes[i])
			metric_count(out,
				     METRIC_LABELS(DIRECTION_LABELS(x),
						   { "place", cmb ? "cmb" : "host" },
						   { "provider", cmb ? what : "" },
						   { "reason", cmb ? "" : what }),
				     x->account.bytes[i]);
	}
}

void collect_ns_staged_bytes(struct metric_out *out, const struct daemon *d)
{
	each_direction(out, d, add_staged_bytes);
}

static uint64_t in_flight(const struct namespace *ns)
{
	return namespace_in_flight(ns->target, ns);
}

void collect_ns_in_flight(struct metric_out *out, const struct daemon *d)
{
	each_namespace(out, d, in_flight);
}

static uint64_t resv_conflicts(const struct namespace *ns)
{
	return namespace_resv_conflicts(ns->target, ns);
}

void collect_ns_resv_conflicts(struct metric_out *out, const struct daemon *d)
{
	each_namespace(out, d, resv_conflicts);
}

static uint64_t size_bytes(const struct namespace *ns)
{
	return ns_nlb(ns) << ns->lba_shift;
}

void collect_ns_size(struct metric_out *out, const struct daemon *d)
{
	each_namespace(out, d, size_bytes);
}

static uint64_t device_present(const struct namespace *ns)
{
	return !backend_lost(ns->backend);
}

void collect_ns_device_present(struct metric_out *out, const struct daemon *d)
{
	each_namespace(out, d, device_present);
}

static uint64_t write_protected(const struct namespace *ns)
{
	return ns->write_protected;
}

void collect_ns_write_protected(struct metric_out *out, const struct daemon *d)
{
	each_namespace(out, d, write_protected);
}

static uint64_t usable_cmbs(const struct namespace *ns)
{
	return ns->stage.nusable;
}

void collect_ns_usable_cmbs(struct metric_out *out, const struct daemon *d)
{
	each_namespace(out, d, usable_cmbs);
}

void collect_ns_info(struct metric_out *out, const struct daemon *d)
{
	static const char *const policies[] = {
		[STAGE_PREFER] = "prefer", [STAGE_REQUIRE] = "require", [STAGE_OFF] = "off"
	};
	const struct subsystem *s;
	const struct namespace *ns;

	FOR_EACH_SUBSYSTEM(d->target, s)
	FOR_EACH_NAMESPACE (s, ns)
		metric_count(out,
			     METRIC_LABELS({ "subsystem", s->nqn },
					   { "nsid", metric_number(ns->nsid).text },
					   { "device", ns->conf->device },
					   { "policy", policies[ns->stage.policy] }),
			     1);
}

/* Of each group that has namespaces, all states: the one it is in is 1. */
static void add_ana_group(struct metric_out *out, const struct subsystem *s, uint16_t port_id,
			  uint32_t group)
{
	enum config_ana now = ana_state(s, port_id, group);

	for (enum config_ana state = 0; state < CONFIG_ANA_NSTATES; state++)
		metric_count(out,
			     METRIC_LABELS({ "subsystem", s->nqn },
					   { "port", metric_number(port_id).text },
					   { "group", group == ANA_GROUP_LOST
							      ? "lost"
							      : metric_number(group).text },
					   { "state", config_ana_names[state] }),
			     state == now);
}

static bool has_namespaces(const struct subsystem *s, uint32_t group)
{
	const struct namespace *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (ns->ana_group == group)
			return true;
	return false;
}

void collect_ana_state(struct metric_out *out, const struct daemon *d)
{
	const struct subsystem *s;

	FOR_EACH_SUBSYSTEM(d->target, s)
	for (uint32_t group = 1; group <= ANA_GROUP_MAX; group++) {
		const struct ana_port *p;

		if (has_namespaces(s, group))
			LIST_FOREACH (p, &s->ana, entry)
				add_ana_group(out, s, p->port_id, group);
	}
}

/* ---- commands ----------------------------------------------------------------------------------
 */

#define VENDOR_OPCODES 0xc0 /* and above: one name for all in the tables */

/* Those that the tables name are always there; of what a drive that is passed through may take
 * beside these, what came. */
static void add_opcode(struct metric_out *out, const struct daemon *d, enum queue_kind kind,
		       uint8_t opcode, const char *name)
{
	static const char *const kinds[] = { "io", "admin", "fabrics" };
	uint64_t n = target_commands(d->target, kind, opcode);
	char hex[8];

	if (opcode >= VENDOR_OPCODES)
		name = NULL;
	if (!name && !n)
		return;
	snprintf(hex, sizeof(hex), "0x%02x", opcode);
	metric_count(out, METRIC_LABELS({ "queue", kinds[kind] }, { "command", name ? name : hex }),
		     n);
}

void collect_commands(struct metric_out *out, const struct daemon *d)
{
	for (unsigned int i = 0; i < 256; i++)
		add_opcode(out, d, QUEUE_KIND_IO, (uint8_t)i,
			   io_commands[i].name ? io_commands[i].name
					       : passthru_io_commands[i].name);
	for (unsigned int i = 0; i < 256; i++)
		add_opcode(out, d, QUEUE_KIND_ADMIN, (uint8_t)i,
			   admin_commands[i].name ? admin_commands[i].name
						  : passthru_admin_commands[i].name);
	for (unsigned int i = 0; i < 256; i++)
		add_opcode(out, d, QUEUE_KIND_FABRICS, (uint8_t)i, fabrics_commands[i].name);
}

/* Statuses that an administrator may look for; their series are always there. Others, which drives
 * that are passed through may return, have their number, and only when they came. */
static const struct {
	uint16_t status;
	const char *name;
} statuses[] = {
	{ NVME_INVALID_OPCODE, "invalid_opcode" },
	{ NVME_INVALID_FIELD, "invalid_field" },
	{ NVME_INTERNAL_ERROR, "internal_error" },
	{ NVME_ABORT_REQUESTED, "abort_requested" },
	{ NVME_ABORTED_SQ_DELETION, "aborted_sq_deletion" },
	{ NVME_ABORTED_FAILED_FUSED, "aborted_failed_fused" },
	{ NVME_ABORTED_MISSING_FUSED, "aborted_missing_fused" },
	{ NVME_INVALID_NS, "invalid_namespace" },
	{ NVME_COMMAND_SEQUENCE, "command_sequence_error" },
	{ NVME_SGL_SEGMENT_INVALID, "sgl_segment_invalid" },
	{ NVME_SGL_COUNT_INVALID, "sgl_count_invalid" },
	{ NVME_SGL_DATA_LENGTH_INVALID, "sgl_data_length_invalid" },
	{ NVME_SGL_TYPE_INVALID, "sgl_type_invalid" },
	{ NVME_SGL_OFFSET_INVALID, "sgl_offset_invalid" },
	{ NVME_SGL_GRANULARITY, "sgl_granularity_invalid" },
	{ NVME_ATOMIC_WRITE_UNIT_EXCEEDED, "atomic_write_unit_exceeded" },
	{ NVME_HOST_ID_INCONSISTENT_FORMAT, "host_id_inconsistent_format" },
	{ NVME_KATO_INVALID, "keep_alive_timeout_invalid" },
	{ NVME_NS_WRITE_PROTECTED, "namespace_write_protected" },
	{ NVME_LBA_OUT_OF_RANGE, "lba_out_of_range" },
	{ NVME_CAPACITY_EXCEEDED, "capacity_exceeded" },
	{ NVME_NS_NOT_READY, "namespace_not_ready" },
	{ NVME_RESERVATION_CONFLICT, "reservation_conflict" },
	{ NVME_ABORT_LIMIT, "abort_limit_exceeded" },
	{ NVME_AER_LIMIT, "aer_limit_exceeded" },
	{ NVME_INVALID_LOG_PAGE, "invalid_log_page" },
	{ NVME_FEATURE_NOT_SAVEABLE, "feature_not_saveable" },
	{ NVME_FEATURE_NOT_CHANGEABLE, "feature_not_changeable" },
	{ NVME_FEATURE_NOT_NS_SPECIFIC, "feature_not_namespace_specific" },
	{ NVME_CMD_SIZE_LIMIT_EXCEEDED, "command_size_limit_exceeded" },
	{ NVME_CONNECT_FORMAT, "connect_incompatible_format" },
	{ NVME_CONNECT_BUSY, "connect_controller_busy" },
	{ NVME_CONNECT_INVALID_PARAM, "connect_invalid_parameters" },
	{ NVME_CONNECT_INVALID_HOST, "connect_invalid_host" },
	{ NVME_INVALID_QUEUE_TYPE, "invalid_queue_type" },
	{ NVME_AUTH_REQUIRED, "authentication_required" },
	{ NVME_WRITE_FAULT, "write_fault" },
	{ NVME_READ_ERROR, "unrecovered_read_error" },
	{ NVME_COMPARE_FAILURE, "compare_failure" },
	{ NVME_ACCESS_DENIED, "access_denied" },
	{ NVME_PATH_PERSISTENT_LOSS, "path_persistent_loss" },
	{ NVME_PATH_INACCESSIBLE, "path_inaccessible" },
	{ NVME_PATH_TRANSITION, "path_transition" },
};
#define NSTATUSES (sizeof(statuses) / sizeof(statuses[0]))

static const char *status_name(uint16_t status)
{
	for (size_t i = 0; i < NSTATUSES; i++)
		if (statuses[i].status == status)
			return statuses[i].name;
	return NULL;
}

void collect_failures(struct metric_out *out, const struct daemon *d)
{
	char hex[8];

	for (size_t i = 0; i < NSTATUSES; i++)
		metric_count(out, METRIC_LABELS({ "status", statuses[i].name }),
			     target_failures(d->target, statuses[i].status));
	for (uint16_t status = 1; status < 0x800; status++) {
		uint64_t n = target_failures(d->target, status);

		if (!n || status_name(status))
			continue;
		snprintf(hex, sizeof(hex), "0x%03x", status);
		metric_count(out, METRIC_LABELS({ "status", hex }), n);
	}
}

/* ---- controllers -------------------------------------------------------------------------------
 */

void collect_controllers(struct metric_out *out, const struct daemon *d)
{
	const struct controller *c;
	const struct subsystem *s;

	FOR_EACH_SUBSYSTEM(d->target, s)
	{
		uint64_t n = 0;

		LIST_FOREACH (c, &s->controllers, entry)
			n++;
		metric_count(out, METRIC_LABELS({ "subsystem", s->nqn }), n);
	}
}

void collect_controllers_created(struct metric_out *out, const struct daemon *d)
{
	const struct subsystem *s;

	FOR_EACH_SUBSYSTEM(d->target, s)
	metric_count(out, METRIC_LABELS({ "subsystem", s->nqn }), s->ncreated);
}

static uint64_t nqueues(const struct controller *c)
{
	const struct nvmf_queue *q;
	uint64_t n = 0;

	LIST_FOREACH (q, &c->queues, entry)
		n++;
	return n;
}

void collect_io_queues(struct metric_out *out, const struct daemon *d)
{
	const struct controller *c;
	const struct subsystem *s;

	FOR_EACH_SUBSYSTEM(d->target, s)
	{
		uint64_t n = 0;

		if (s->discovery)
			continue;
		LIST_FOREACH (c, &s->controllers, entry)
			n += nqueues(c);
		metric_count(out, METRIC_LABELS({ "subsystem", s->nqn }), n);
	}
}

struct host {
	const char *nqn;
	uint64_t n;
};

/* The last is all others: those that are too many, and names that would not be told apart in the
 * text. */
static void add_to_host(struct host *hosts, unsigned int *nhosts, const char *nqn, uint64_t n)
{
	unsigned int i = 0;

	if (!config_is_utf8(nqn) || strcmp(nqn, hosts[METRICS_HOSTS_MAX].nqn) == 0)
		i = METRICS_HOSTS_MAX;
	while (i < *nhosts && strcmp(hosts[i].nqn, nqn) != 0)
		i++;
	if (i == *nhosts && i < METRICS_HOSTS_MAX)
		hosts[(*nhosts)++] = (struct host){ .nqn = nqn };
	hosts[i].n += n;
}

static void each_host(struct metric_out *out, const struct daemon *d,
		      uint64_t (*value)(const struct controller *c))
{
	struct host hosts[METRICS_HOSTS_MAX + 1] = { [METRICS_HOSTS_MAX] = { .nqn = "other" } };
	const struct controller *c;
	const struct subsystem *s;
	unsigned int nhosts = 0;

	FOR_EACH_SUBSYSTEM(d->target, s)
	LIST_FOREACH (c, &s->controllers, entry)
		add_to_host(hosts, &nhosts, c->hostnqn, value(c));
	for (unsigned int i = 0; i < nhosts; i++)
		metric_count(out, METRIC_LABELS({ "host", hosts[i].nqn }), hosts[i].n);
	if (hosts[METRICS_HOSTS_MAX].n)
		metric_count(out, METRIC_LABELS({ "host", "other" }), hosts[METRICS_HOSTS_MAX].n);
}

static uint64_t itself(const struct controller *c)
{
	(void)c;
	return 1;
}

void collect_host_controllers(struct metric_out *out, const struct daemon *d)
{
	each_host(out, d, itself);
}

void collect_host_io_queues(struct metric_out *out, const struct daemon *d)
{
	each_host(out, d, nqueues);
}

/* ---- events ------------------------------------------------------------------------------------
 */

void collect_keep_alive_expirations(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, d->target->events.keep_alive_expirations);
}

void collect_connect_timeouts(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, counter_read(&d->target->events.connect_timeouts));
}

void collect_connects_refused(struct metric_out *out, const struct daemon *d)
{
	static const char *const reasons[REFUSED_NREASONS] = { [REFUSED_HOST] = "host",
							       [REFUSED_SUBSYSTEM] = "subsystem",
							       [REFUSED_LIMIT] = "limit" };

	for (unsigned int i = 0; i < REFUSED_NREASONS; i++)
		metric_count(out, METRIC_LABELS({ "reason", reasons[i] }),
			     d->target->events.connects_refused[i]);
}

void collect_authentication_failures(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, d->target->events.authentication_failures);
}

void collect_devices_lost(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, d->target->events.devices_lost);
}
