/* What the RNICs have to say: the table of paths, and counters. */
#include "target/log.h"
#include "transport/rdma.h"

#include <inttypes.h>

void transport_warn_of_full_windows(struct transport *tr)
{
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		if (r->staging->odp && r->staging->odp->stats.full && !r->full_logged) {
			r->full_logged = true;
			log_warn("rnic %s: the IOVA window (%zu MiB) was too small %" PRIu64
				 " times, commands waited for it: raise window_size",
				 ibv_get_device_name(r->verbs->device), r->staging->odp->size >> 20,
				 r->staging->odp->stats.full);
		}
}

void transport_report(const struct transport *tr, struct report *report)
{
	const struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		for (unsigned int i = 0; i < tr->set->n; i++)
			for (enum ibv_mtu mtu = IBV_MTU_256; mtu <= IBV_MTU_4096; mtu++) {
				char client[80], operation[32];
				struct report_row row = { .provider = tr->set->provider[i]->name,
							  .client = client,
							  .operation = operation,
							  .path = &r->staging->path[i],
							  .proof = &r->staging->proof[i][mtu],
							  .state = tr->set->provider[i]->state };

				if (!r->mtu_used[mtu])
					continue;
				snprintf(client, sizeof(client), "rnic %s%s%s",
					 ibv_get_device_name(r->verbs->device),
					 r->staging->client.n ? " " : "",
					 r->staging->client.n ? r->staging->client.bdf[0] : "");
				snprintf(operation, sizeof(operation), "path mtu %u",
					 proof_mtu_bytes(mtu));
				report_add(report, &row);
			}
}

static void print_provider(const struct provider *p, FILE *out)
{
	fprintf(out,
		"CMB of %s: %u of %zu KiB held, %u KiB in slots; grown %" PRIu64 ", shrunk %" PRIu64
		", refused %" PRIu64 ", lost %" PRIu64 "\n",
		p->name, p->npages * (P2P_PAGE_SIZE / 1024), p->published_size / 1024,
		p->slot_pages * (P2P_PAGE_SIZE / 1024), p->grown, p->shrunk, p->refused, p->losses);
}

static void print_window(const char *rnic, const struct window *w, FILE *out)
{
	fprintf(out,
		"%s: window %s: %zu KiB, linked %" PRIu64 " KiB; links %" PRIu64
		", unlinks %" PRIu64 ", syncs %" PRIu64 ", full %" PRIu64 "\n",
		rnic, window_backing_name(w), w->size / 1024,
		w->stats.linked_pages * (P2P_PAGE_SIZE / 1024), w->stats.links, w->stats.unlinks,
		w->stats.syncs, w->stats.full);
}

static void print_cache(const char *rnic, const struct slot_cache *c, FILE *out)
{
	fprintf(out,
		"%s: slots in %s: warm %" PRIu64 ", linked %" PRIu64 ", evicted %" PRIu64
		", waited %" PRIu64 "; out %u\n",
		rnic, c->provider->name, c->stats.hits, c->stats.linked, c->stats.evictions,
		c->stats.waits, c->ntaken);
}

void transport_print_staging(const struct transport *tr, FILE *out)
{
	const struct rnic *r;

	fprintf(out, "queues: %u connections, %zu of %" PRIu64 " KiB\n", tr->nconns,
		tr->mem_used / 1024, tr->conf->connection_memory / 1024);
	for (unsigned int i = 0; i < tr->set->n; i++)
		print_provider(tr->set->provider[i], out);
	LIST_FOREACH (r, &tr->rnics, entry) {
		const struct staging *st = r->staging;
		const char *name = ibv_get_device_name(r->verbs->device);

		if (st->odp)
			print_window(name, st->odp, out);
		else
			fprintf(out, "%s: no P2P staging: %s\n", name, st->why_no_odp);
		print_window(name, st->pinned, out);
		for (unsigned int i = 0; i < tr->set->n; i++)
			if (st->cmb[i])
				print_cache(name, st->cmb[i], out);
		print_cache(name, st->host, out);
		if (tr->conf->cmb_flush != CONFIG_FLUSH_NONE)
			fprintf(out,
				"%s: flushes by the RNIC %" PRIu64 ", by the CPU %" PRIu64 "\n",
				name, r->rdma_flushes, r->cpu_flushes);
	}
	fflush(out);
}
