/* What the RNICs have to say: the table of paths, and counters. */
#include "target/log.h"
#include "transport/rdma.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* In its reactor, while the control thread waits. */
static void warn_of_full_window(void *arg)
{
	struct lane *l = arg;
	const struct window *w = l->staging->odp;

	if (!w || !w->stats.full)
		return;
	l->rnic->full_logged = true;
	log_warn("rnic %s: the IOVA window (%zu MiB) was too small %" PRIu64
		 " times, commands waited for it: raise window_size",
		 rnic_name(l->rnic), w->size >> 20, w->stats.full);
}

void transport_warn_of_full_windows(struct transport *tr)
{
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		for (unsigned int i = 0; i < tr->reactors->n && !r->full_logged; i++)
			reactor_call(tr->reactors->r[i], warn_of_full_window, r->lane[i]);
}

static void report_proof(const struct rnic *r, unsigned int index, enum ibv_mtu mtu,
			 struct report *report)
{
	const struct staging *st = r->lane[0]->staging;
	const struct provider *p = st->set->provider[index];
	char client[80], operation[32];
	struct report_row row = { .provider = p->name,
				  .client = client,
				  .operation = operation,
				  .path = &st->path[index],
				  .proof = &st->proof[index][mtu],
				  .state = p->state };

	snprintf(client, sizeof(client), "rnic %s%s%s", rnic_name(r), st->client.n ? " " : "",
		 st->client.n ? st->client.bdf[0] : "");
	snprintf(operation, sizeof(operation), "path mtu %u", proof_mtu_bytes(mtu));
	report_add(report, &row);
}

void transport_report(const struct transport *tr, struct report *report)
{
	const struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		for (unsigned int i = 0; i < tr->reactors->r[0]->set->n; i++)
			for (enum ibv_mtu mtu = IBV_MTU_256; mtu <= IBV_MTU_4096; mtu++)
				if (r->mtu_used[mtu])
					report_proof(r, i, mtu, report);
}

/* ---- counters ----------------------------------------------------------------------------------
 *
 * Each reactor prints its own, while the control thread waits: one line for each thing, with the
 * reactor's number.
 */

static void print_provider(const struct provider *p, unsigned int reactor, FILE *out)
{
	fprintf(out,
		"reactor %u: CMB of %s: %u of %zu KiB held, %u KiB in slots; grown %" PRIu64
		", shrunk %" PRIu64 ", refused %" PRIu64 ", lost %" PRIu64 "\n",
		reactor, p->name, p->npages * (P2P_PAGE_SIZE / 1024), p->published_size / 1024,
		p->slot_pages * (P2P_PAGE_SIZE / 1024), p->grown, p->shrunk, p->refused, p->losses);
}

static void print_window(const struct lane *l, const struct window *w, FILE *out)
{
	fprintf(out,
		"reactor %u: %s: window %s: %zu KiB, linked %" PRIu64 " KiB; links %" PRIu64
		", unlinks %" PRIu64 ", syncs %" PRIu64 ", full %" PRIu64 "\n",
		l->reactor->opts.index, rnic_name(l->rnic), window_backing_name(w), w->size / 1024,
		w->stats.linked_pages * (P2P_PAGE_SIZE / 1024), w->stats.links, w->stats.unlinks,
		w->stats.syncs, w->stats.full);
}

static void print_cache(const struct lane *l, const struct slot_cache *c, FILE *out)
{
	fprintf(out,
		"reactor %u: %s: slots in %s: warm %" PRIu64 ", linked %" PRIu64
		", evicted %" PRIu64 ", waited %" PRIu64 " (%" PRIu64
		" over their share); out %u\n",
		l->reactor->opts.index, rnic_name(l->rnic), c->provider->name, c->stats.hits,
		c->stats.linked, c->stats.evictions, c->stats.waits, c->stats.over_share,
		c->ntaken);
}

static void print_lane(const struct lane *l, FILE *out)
{
	const struct staging *st = l->staging;

	if (st->odp)
		print_window(l, st->odp, out);
	print_window(l, st->pinned, out);
	for (unsigned int i = 0; i < st->set->n; i++)
		if (st->cmb[i])
			print_cache(l, st->cmb[i], out);
	print_cache(l, st->host, out);
	if (l->srq.srq)
		fprintf(out,
			"reactor %u: %s: shared receives: %u of %u posted; in-capsule data copied %" PRIu64
			" times\n",
			l->reactor->opts.index, rnic_name(l->rnic), l->srq.posted, l->srq.n,
			l->bounced);
	if (l->rnic->transport->cmb_flush != CONFIG_FLUSH_NONE)
		fprintf(out,
			"reactor %u: %s: flushes by the RNIC %" PRIu64 ", by the CPU %" PRIu64 "\n",
			l->reactor->opts.index, rnic_name(l->rnic), l->rdma_flushes,
			l->cpu_flushes);
}

struct printing {
	const struct transport *tr;
	unsigned int reactor;
	FILE *out;
};

static void print_reactor(void *arg)
{
	const struct printing *p = arg;
	const struct provider_set *set = p->tr->reactors->r[p->reactor]->set;
	const struct rnic *r;

	for (unsigned int i = 0; i < set->n; i++)
		print_provider(set->provider[i], p->reactor, p->out);
	LIST_FOREACH (r, &p->tr->rnics, entry)
		print_lane(r->lane[p->reactor], p->out);
}

/* What they may come to need, not what they use. */
static void print_queues(const struct transport *tr, FILE *out)
{
	unsigned int n[REACTORS_MAX] = { 0 };
	const struct conn *c;
	size_t largest = 0;

	LIST_FOREACH (c, &tr->conns, entry) {
		n[c->nvmf.reactor->opts.index]++;
		if (c->mem_reserved > largest)
			largest = c->mem_reserved;
	}
	fprintf(out,
		"queues: %u connections, %zu of %" PRIu64 " KiB; the largest %zu of %" PRIu64
		" KiB\n",
		tr->nconns, tr->mem_used / 1024, tr->conf->connection_memory / 1024, largest / 1024,
		tr->conf->queue_memory / 1024);
	for (unsigned int i = 0; i < tr->reactors->n; i++)
		fprintf(out, "reactor %u: %u queues\n", i, n[i]);
}

void transport_print_staging(const struct transport *tr, FILE *out)
{
	const struct rnic *r;

	print_queues(tr, out);
	LIST_FOREACH (r, &tr->rnics, entry)
		if (!r->lane[0]->staging->odp)
			fprintf(out, "%s: no P2P staging: %s\n", rnic_name(r),
				r->lane[0]->staging->why_no_odp);
	for (unsigned int i = 0; i < tr->reactors->n; i++) {
		struct printing p = { tr, i, out };

		reactor_call(tr->reactors->r[i], print_reactor, &p);
	}
	fflush(out);
}

/* ---- lists ------------------------------------------------------------------------------------
 */

struct listing {
	struct reactor *reactor;
	struct transport_queue *queues;
	size_t n;
	bool detail;
};

static void count_requests(const struct conn *c, struct transport_queue *q)
{
	for (unsigned int i = 0; i < c->nreqs_touched; i++)
		switch (c->reqs[i].state) {
		case REQ_FREE:
			break;
		case REQ_WAIT_SLOT:
		case REQ_WAIT_WRS:
			q->waiting_memory++;
			break;
		case REQ_READING_HOST:
		case REQ_FLUSHING:
			q->transferring++;
			break;
		case REQ_AT_TARGET:
			q->executing++;
			break;
		case REQ_SENDING:
			q->answering++;
			break;
		}
}

/* In its reactor, while the control thread waits. */
static void look_at_queues(void *arg)
{
	static const char *const states[] = {
		[CONN_ACCEPTING] = "accepting",
		[CONN_LIVE] = "live",
		[CONN_FINISHING] = "finishing",
		[CONN_DRAINING] = "draining",
	};
	const struct listing *l = arg;

	for (size_t i = 0; i < l->n; i++) {
		struct transport_queue *q = &l->queues[i];
		const struct conn *c = (const void *)q->queue;

		if (q->queue->reactor != l->reactor)
			continue;
		q->state = states[c->state];
		q->queue_state = c->nvmf.state;
		q->entries = c->nvmf.sqsize;
		q->busy = c->busy_reqs;
		q->pending = c->npending;
		if (l->detail)
			count_requests(c, q);
	}
}

static bool is_wanted(const struct conn *c, int cntlid, int qid)
{
	return (cntlid < 0 || nvmf_queue_cntlid(&c->nvmf) == cntlid) &&
	       (qid < 0 || c->nvmf.qid == qid);
}

int transport_list_queues(const struct transport *tr, int cntlid, int qid,
			  struct transport_queue **ret, size_t *ret_n)
{
	struct listing l = { .queues = calloc(tr->nconns + 1, sizeof(l.queues[0])),
			     .detail = qid >= 0 };
	const struct conn *c;

	if (!l.queues)
		return -ENOMEM;
	LIST_FOREACH (c, &tr->conns, entry) {
		if (l.n == tr->nconns || !is_wanted(c, cntlid, qid))
			continue;
		l.queues[l.n++] = (struct transport_queue){
			.queue = &c->nvmf,
			.rnic = rnic_name(c->lane->rnic),
			.path_mtu = c->path_mtu ? proof_mtu_bytes(c->path_mtu) : 0,
			.capsules = c->depth,
			.requests = c->nreqs,
		};
	}
	for (unsigned int i = 0; i < tr->reactors->n; i++) {
		l.reactor = tr->reactors->r[i];
		reactor_call(l.reactor, look_at_queues, &l);
	}
	*ret = l.queues;
	*ret_n = l.n;
	return 0;
}
