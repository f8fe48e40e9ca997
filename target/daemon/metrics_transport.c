/* Metrics of connections, RNICs, staging memory and paths. */
#include "target/daemon/metrics_table.h"

#include "target/daemon/daemon.h"
#include "transport/transport.h"

#include <string.h>

/* ---- connections -------------------------------------------------------------------------------
 */

static struct transport_usage usage_of(const struct daemon *d)
{
	struct transport_usage u;

	transport_usage(d->transport, &u);
	return u;
}

void collect_connections(struct metric_out *out, const struct daemon *d)
{
	struct transport_usage u = usage_of(d);

	metric_count(out, METRIC_LABELS({ "queue", "admin" }), u.admin_queues);
	metric_count(out, METRIC_LABELS({ "queue", "io" }), u.io_queues);
}

void collect_connections_accepted(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, usage_of(d).accepted);
}

void collect_connections_rejected(struct metric_out *out, const struct daemon *d)
{
	const char *reason;
	uint64_t n;

	for (unsigned int i = 0; transport_rejected(d->transport, i, &reason, &n); i++)
		metric_count(out, METRIC_LABELS({ "reason", reason }), n);
}

void collect_connection_memory(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, usage_of(d).memory);
}

void collect_connection_memory_limit(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, usage_of(d).memory_max);
}

void collect_port_listening(struct metric_out *out, const struct daemon *d)
{
	struct transport_port_usage p;

	for (size_t i = 0; transport_port_usage(d->transport, i, &p); i++)
		metric_count(out,
			     METRIC_LABELS({ "port", metric_number(p.id).text },
					   { "address", p.address }, { "service", p.service }),
			     p.listens);
}

/* ---- RNICs and windows -------------------------------------------------------------------------
 */

static void each_rnic(struct metric_out *out, const struct daemon *d,
		      uint64_t (*value)(const struct transport_rnic_usage *u))
{
	struct transport_rnic_usage u;

	for (unsigned int i = 0; transport_rnic_usage(d->transport, i, &u); i++)
		metric_count(out, METRIC_LABELS({ "rnic", u.name }), value(&u));
}

static uint64_t rnic_connections(const struct transport_rnic_usage *u)
{
	return u->connections;
}

void collect_rnic_connections(struct metric_out *out, const struct daemon *d)
{
	each_rnic(out, d, rnic_connections);
}

static uint64_t rnic_odp(const struct transport_rnic_usage *u)
{
	return u->has_odp;
}

void collect_rnic_odp(struct metric_out *out, const struct daemon *d)
{
	each_rnic(out, d, rnic_odp);
}

static uint64_t rnic_in_capsule_copies(const struct transport_rnic_usage *u)
{
	return u->in_capsule_copies;
}

void collect_in_capsule_copies(struct metric_out *out, const struct daemon *d)
{
	each_rnic(out, d, rnic_in_capsule_copies);
}

static uint64_t rnic_flushes(const struct transport_rnic_usage *u)
{
	return u->flushes;
}

void collect_flushes(struct metric_out *out, const struct daemon *d)
{
	each_rnic(out, d, rnic_flushes);
}

static void each_window(struct metric_out *out, const struct daemon *d,
			uint64_t (*value)(const struct transport_window_usage *w))
{
	struct transport_rnic_usage u;

	for (unsigned int i = 0; transport_rnic_usage(d->transport, i, &u); i++) {
		if (u.has_odp)
			metric_count(out, METRIC_LABELS({ "rnic", u.name }, { "backing", "odp" }),
				     value(&u.odp));
		metric_count(out, METRIC_LABELS({ "rnic", u.name }, { "backing", "pinned" }),
			     value(&u.pinned));
	}
}

static uint64_t window_size(const struct transport_window_usage *w)
{
	return w->size;
}

void collect_window_size(struct metric_out *out, const struct daemon *d)
{
	each_window(out, d, window_size);
}

static uint64_t window_linked(const struct transport_window_usage *w)
{
	return w->linked;
}

void collect_window_linked(struct metric_out *out, const struct daemon *d)
{
	each_window(out, d, window_linked);
}

static uint64_t window_full(const struct transport_window_usage *w)
{
	return w->full;
}

void collect_window_full(struct metric_out *out, const struct daemon *d)
{
	each_window(out, d, window_full);
}

/* ---- slots -------------------------------------------------------------------------------------
 */

struct slots {
	const char *rnic;
	struct transport_cache_usage usage;
};

static void each_cache(struct metric_out *out, const struct daemon *d,
		       void (*add)(struct metric_out *out, const struct slots *x))
{
	struct transport_rnic_usage u;

	for (unsigned int i = 0; transport_rnic_usage(d->transport, i, &u); i++)
		for (unsigned int p = 0; p <= PROVIDER_MAX; p++) {
			struct slots x = { .rnic = u.name };

			if (transport_cache_usage(d->transport, i, p, &x.usage))
				add(out, &x);
		}
}

#define SLOT_LABELS(x)                                                                             \
	{ "rnic", (x)->rnic },                                                                     \
	{                                                                                          \
		"provider", (x)->usage.provider                                                    \
	}

static void add_taken(struct metric_out *out, const struct slots *x)
{
	metric_count(out, METRIC_LABELS(SLOT_LABELS(x)), x->usage.taken);
}

void collect_slots_taken(struct metric_out *out, const struct daemon *d)
{
	each_cache(out, d, add_taken);
}

static void add_takes(struct metric_out *out, const struct slots *x)
{
	metric_count(out, METRIC_LABELS(SLOT_LABELS(x), { "how", "warm" }), x->usage.stats.hits);
	metric_count(out, METRIC_LABELS(SLOT_LABELS(x), { "how", "linked" }),
		     x->usage.stats.linked);
}

void collect_slot_takes(struct metric_out *out, const struct daemon *d)
{
	each_cache(out, d, add_takes);
}

static void add_evictions(struct metric_out *out, const struct slots *x)
{
	metric_count(out, METRIC_LABELS(SLOT_LABELS(x)), x->usage.stats.evictions);
}

void collect_slot_evictions(struct metric_out *out, const struct daemon *d)
{
	each_cache(out, d, add_evictions);
}

static void add_waits(struct metric_out *out, const struct slots *x)
{
	const struct slot_stats *s = &x->usage.stats;

	metric_count(out, METRIC_LABELS(SLOT_LABELS(x), { "cause", "memory" }),
		     s->waits > s->over_share ? s->waits - s->over_share : 0);
	metric_count(out, METRIC_LABELS(SLOT_LABELS(x), { "cause", "share" }), s->over_share);
}

void collect_slot_waits(struct metric_out *out, const struct daemon *d)
{
	each_cache(out, d, add_waits);
}

/* ---- CMBs --------------------------------------------------------------------------------------
 */

/* Of what each reactor has its own: the sum over their sets. */
static void each_cmb(struct metric_out *out, const struct daemon *d,
		     uint64_t (*value)(const struct provider *p))
{
	const struct provider_set *leader = daemon_control_reactor(d)->set;

	for (unsigned int i = 0; i < leader->n; i++) {
		uint64_t sum = 0;

		for (unsigned int r = 0; r < d->reactors.n; r++) {
			const struct provider_set *set = d->reactors.r[r]->set;

			if (i < set->n)
				sum += value(set->provider[i]);
		}
		metric_count(out, METRIC_LABELS({ "provider", leader->provider[i]->name }), sum);
	}
}

static uint64_t cmb_held(const struct provider *p)
{
	return (uint64_t)counter_read32(&p->npages) * P2P_PAGE_SIZE;
}

void collect_cmb_held(struct metric_out *out, const struct daemon *d)
{
	each_cmb(out, d, cmb_held);
}

static uint64_t cmb_used(const struct provider *p)
{
	return (uint64_t)counter_read32(&p->slot_pages) * P2P_PAGE_SIZE;
}

void collect_cmb_used(struct metric_out *out, const struct daemon *d)
{
	each_cmb(out, d, cmb_used);
}

static uint64_t cmb_grows(const struct provider *p)
{
	return counter_read(&p->grown);
}

void collect_cmb_grows(struct metric_out *out, const struct daemon *d)
{
	each_cmb(out, d, cmb_grows);
}

static uint64_t cmb_shrinks(const struct provider *p)
{
	return counter_read(&p->shrunk);
}

void collect_cmb_shrinks(struct metric_out *out, const struct daemon *d)
{
	each_cmb(out, d, cmb_shrinks);
}

static uint64_t cmb_refusals(const struct provider *p)
{
	return counter_read(&p->refused);
}

void collect_cmb_refusals(struct metric_out *out, const struct daemon *d)
{
	each_cmb(out, d, cmb_refusals);
}

/* Of what all reactors have alike: as the control thread's has it. */
static void each_led_cmb(struct metric_out *out, const struct daemon *d,
			 uint64_t (*value)(const struct provider *p))
{
	const struct provider_set *leader = daemon_control_reactor(d)->set;

	for (unsigned int i = 0; i < leader->n; i++)
		metric_count(out, METRIC_LABELS({ "provider", leader->provider[i]->name }),
			     value(leader->provider[i]));
}

static uint64_t cmb_active(const struct provider *p)
{
	return p->state == PROVIDER_ACTIVE;
}

void collect_cmb_active(struct metric_out *out, const struct daemon *d)
{
	each_led_cmb(out, d, cmb_active);
}

static uint64_t cmb_size(const struct provider *p)
{
	return p->published_size;
}

void collect_cmb_size(struct metric_out *out, const struct daemon *d)
{
	each_led_cmb(out, d, cmb_size);
}

static uint64_t cmb_losses(const struct provider *p)
{
	return counter_read(&p->losses);
}

void collect_cmb_losses(struct metric_out *out, const struct daemon *d)
{
	each_led_cmb(out, d, cmb_losses);
}

/* ---- paths -------------------------------------------------------------------------------------
 */

#define PATH_LABELS(r, i)                                                                          \
	{ "provider", report_text(r, i, "provider") }, { "client", report_text(r, i, "client") },  \
	{                                                                                          \
		"operation", report_text(r, i, "operation")                                        \
	}

static void each_path(struct metric_out *out, const struct daemon *d,
		      void (*add)(struct metric_out *out, const struct report *r, size_t i))
{
	struct report *r = report_create();

	if (r)
		daemon_report(d, r);
	if (!r || !report_is_whole(r))
		metric_lacks(out);
	else
		for (size_t i = 0; i < report_nrows(r); i++)
			add(out, r, i);
	report_destroy(r);
}

static void add_usable(struct metric_out *out, const struct report *r, size_t i)
{
	const char *proof = report_text(r, i, "proof");
	bool active = strcmp(report_text(r, i, "state"), "active") == 0;

	metric_count(out, METRIC_LABELS(PATH_LABELS(r, i)),
		     active && (strcmp(proof, proof_verdict_name(PROOF_ANY)) == 0 ||
				strcmp(proof, proof_verdict_name(PROOF_ALIGNED)) == 0));
}

void collect_path_usable(struct metric_out *out, const struct daemon *d)
{
	each_path(out, d, add_usable);
}

static void add_info(struct metric_out *out, const struct report *r, size_t i)
{
	metric_count(out,
		     METRIC_LABELS(PATH_LABELS(r, i), { "mapping", report_text(r, i, "type") },
				   { "proof", report_text(r, i, "proof") },
				   { "reason", report_text(r, i, "reason") }),
		     1);
}

void collect_path_info(struct metric_out *out, const struct daemon *d)
{
	each_path(out, d, add_info);
}
