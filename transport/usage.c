/* What is in use, and what was counted: for monitoring. The reactors' counters are read as they
 * are: nobody waits for a reactor, so that one that is stuck can be seen. */
#include "transport/rdma.h"

void transport_usage(const struct transport *tr, struct transport_usage *ret)
{
	const struct conn *c;

	*ret = (struct transport_usage){ .memory = tr->mem_used,
					 .memory_max = tr->conf->connection_memory,
					 .accepted = tr->naccepted };
	LIST_FOREACH (c, &tr->conns, entry) {
		ret->admin_queues += c->nvmf.qid == 0;
		ret->io_queues += c->nvmf.qid != 0;
	}
}

bool transport_rejected(const struct transport *tr, unsigned int i, const char **ret_reason,
			uint64_t *ret_n)
{
	if (i + 1 >= CM_NSTATUSES) /* the first is no reason */
		return false;
	*ret_reason = cm_status_text((enum nvme_rdma_cm_status)(i + 1));
	*ret_n = tr->nrejected[i + 1];
	return true;
}

bool transport_port_usage(const struct transport *tr, size_t i, struct transport_port_usage *ret)
{
	const struct listener *l;

	LIST_FOREACH (l, &tr->listeners, entry)
		if (i-- == 0)
			break;
	if (!l)
		return false;
	*ret = (struct transport_port_usage){ .id = l->port->id,
					      .address = l->port->address,
					      .service = l->port->service,
					      .listens = l->id };
	return true;
}

static const struct rnic *find_rnic(const struct transport *tr, unsigned int i)
{
	const struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		if (i-- == 0)
			break;
	return r;
}

static void add_window(const struct window *w, struct transport_window_usage *sum)
{
	if (!w)
		return;
	sum->size += w->size;
	sum->linked += counter_read(&w->stats.linked_pages) * P2P_PAGE_SIZE;
	sum->full += counter_read(&w->stats.full);
}

bool transport_rnic_usage(const struct transport *tr, unsigned int i,
			  struct transport_rnic_usage *ret)
{
	const struct rnic *r = find_rnic(tr, i);
	const struct conn *c;

	if (!r)
		return false;
	*ret = (struct transport_rnic_usage){ .name = rnic_name(r),
					      .has_odp = r->lane[0]->staging->odp,
					      .why_no_odp = r->lane[0]->staging->why_no_odp };
	LIST_FOREACH (c, &tr->conns, entry)
		ret->connections += c->lane->rnic == r;
	for (unsigned int j = 0; j < tr->reactors->n; j++) {
		const struct lane *l = r->lane[j];

		add_window(l->staging->odp, &ret->odp);
		add_window(l->staging->pinned, &ret->pinned);
		ret->in_capsule_copies += counter_read(&l->bounced);
		ret->flushes += counter_read(&l->rdma_flushes) + counter_read(&l->cpu_flushes);
	}
	return true;
}

static void add_cache(const struct slot_cache *c, struct transport_cache_usage *sum)
{
	sum->taken += counter_read32(&c->ntaken);
	sum->stats.hits += counter_read(&c->stats.hits);
	sum->stats.linked += counter_read(&c->stats.linked);
	sum->stats.evictions += counter_read(&c->stats.evictions);
	sum->stats.waits += counter_read(&c->stats.waits);
	sum->stats.over_share += counter_read(&c->stats.over_share);
}

bool transport_cache_usage(const struct transport *tr, unsigned int i, unsigned int p,
			   struct transport_cache_usage *ret)
{
	const struct rnic *r = find_rnic(tr, i);

	*ret = (struct transport_cache_usage){ 0 };
	for (unsigned int j = 0; r && j < tr->reactors->n; j++) {
		const struct staging *st = r->lane[j]->staging;
		const struct slot_cache *c = p < PROVIDER_MAX ? st->cmb[p] : st->host;

		if (!c)
			continue;
		ret->provider = c->provider->name;
		add_cache(c, ret);
	}
	return ret->provider;
}
