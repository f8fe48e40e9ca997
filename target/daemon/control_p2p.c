/* The control socket's questions about paths: what was proved, and where payload went. */
#include "p2p/report.h"
#include "target/core.h"
#include "target/daemon/control_call.h"
#include "target/daemon/daemon.h"
#include "target/log.h"
#include "transport/transport.h"

#include <errno.h>
#include <string.h>

/* ---- CMBs --------------------------------------------------------------------------------------
 */

/* What one reactor holds of a CMB; looked at in the reactor, while the control thread waits. */
struct holding {
	const struct reactor *reactor;
	unsigned int index;
	uint64_t held, most, in_slots, refused; /* pages; growths */
};

static void look_at_holding(void *arg)
{
	struct holding *h = arg;
	const struct provider *p;

	if (h->index >= h->reactor->set->n)
		return;
	p = h->reactor->set->provider[h->index];
	h->held += p->npages;
	h->most += p->max_pages;
	h->in_slots += p->slot_pages;
	h->refused += p->refused;
}

static void put_provider(struct json_object *o, const struct daemon *d, unsigned int index)
{
	static const char *const states[] = {
		[PROVIDER_ACTIVE] = "active",
		[PROVIDER_LOST] = "lost",
		[PROVIDER_GONE] = "gone",
	};
	const struct provider *p = daemon_control_reactor(d)->set->provider[index];
	struct holding h = { .index = index };

	for (unsigned int r = 1; r < d->reactors.n; r++) {
		h.reactor = d->reactors.r[r];
		reactor_call(d->reactors.r[r], look_at_holding, &h);
	}
	put_text(o, "cmb", p->name);
	put_text(o, "state", states[p->state]);
	put_number(o, "numa_node", p->numa_node < 0 ? 0 : (uint64_t)p->numa_node);
	put_number(o, "size", p->published_size);
	put_number(o, "held", h.held * P2P_PAGE_SIZE);
	put_number(o, "may_hold", h.most * P2P_PAGE_SIZE);
	put_number(o, "in_use", h.in_slots * P2P_PAGE_SIZE);
	put_number(o, "refused", h.refused);
	put_number(o, "losses", p->losses);
}

static void put_providers(struct json_object *o, const struct daemon *d)
{
	const struct provider_set *set = daemon_control_reactor(d)->set;
	struct json_object *array = put_array(o, "cmbs");

	for (unsigned int i = 0; i < set->n; i++)
		put_provider(add_object(array), d, i);
	put_text(o, "why_no_cmbs", set->n == 0 && set->why_none[0] ? set->why_none : NULL);
}

/* ---- RNICs -------------------------------------------------------------------------------------
 */

static void put_rnics(struct json_object *o, const struct daemon *d)
{
	struct json_object *array = put_array(o, "rnics"), *one;
	struct transport_rnic_usage r;

	for (unsigned int i = 0; transport_rnic_usage(d->transport, i, &r); i++) {
		one = add_object(array);
		put_text(one, "rnic", r.name);
		put_number(one, "connections", r.connections);
		put_number(one, "window", r.odp.size);
		put_number(one, "window_used", r.odp.linked);
		put_number(one, "window_full", r.odp.full);
		put_number(one, "in_capsule_copied", r.in_capsule_copies);
		put_text(one, "why_no_p2p", r.has_odp ? NULL : r.why_no_odp);
	}
}

/* ---- where the bytes went ----------------------------------------------------------------------
 */

struct sums {
	uint64_t bytes[STAGE_NPLACES][2]; /* [place][dir - 1] */
};

static void add_namespace(struct sums *sums, const struct target *t, const struct namespace *ns)
{
	struct stage_account a;

	for (enum data_dir dir = DATA_H2C; dir <= DATA_C2H; dir++) {
		namespace_account(t, ns, dir, &a);
		for (unsigned int i = 0; i < STAGE_NPLACES; i++)
			sums->bytes[i][dir - 1] += a.bytes[i];
	}
}

static void put_staged(struct json_object *o, const struct target *t)
{
	const struct provider_set *set = control_reactor(t)->set;
	struct json_object *array = put_array(o, "staged"), *one;
	struct sums sums = { 0 };
	const struct namespace *ns;
	char place[64];

	for (size_t s = 0; s < t->nsubsystems; s++)
		FOR_EACH_NAMESPACE (t->subsystems[s], ns)
			add_namespace(&sums, t, ns);
	for (unsigned int i = 0; i < STAGE_NPLACES; i++) {
		if (!sums.bytes[i][0] && !sums.bytes[i][1] && i >= set->n)
			continue;
		one = add_object(array);
		put_text(one, "in", stage_place_name(set, i, place, sizeof(place)));
		put_number(one, "read_bytes", sums.bytes[i][DATA_C2H - 1]);
		put_number(one, "write_bytes", sums.bytes[i][DATA_H2C - 1]);
	}
}

/* ---- the verbs ---------------------------------------------------------------------------------
 */

static int put_pairs(struct json_object *o, const struct daemon *d)
{
	struct report *report = report_create();
	int err = -ENOMEM;

	if (!report)
		return err;
	daemon_report(d, report);
	if (report_is_whole(report)) {
		(void)put_value(o, "paths", json_object_get(report_rows(report)));
		err = 0;
	}
	report_destroy(report);
	return err;
}

int control_p2p(struct control_call *call)
{
	struct json_object *o = call->result = json_object_new_object();

	put_providers(o, call->daemon);
	put_rnics(o, call->daemon);
	put_staged(o, call->daemon->target);
	return put_pairs(o, call->daemon);
}

int control_prove(struct control_call *call)
{
	log_info("proving the paths again, as ordered");
	service_busy(call->daemon, BUSY_S);
	daemon_prove(call->daemon);
	return control_p2p(call);
}
