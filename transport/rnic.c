/* One RDMA device: protection domain, completion queue, staging, proofs. */
#include "transport/rdma.h"
#include "target/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define CQ_ENTRIES_MAX 16384
#define POLL_BATCH     32
#define ACK_BATCH      64
#define FLUSH_DEPTH    512 /* beyond it, the CPU reads */

static unsigned int poll_cq(struct cq *q)
{
	struct ibv_wc wc[POLL_BATCH];
	int n = ibv_poll_cq(q->cq, POLL_BATCH, wc);

	for (int i = 0; i < n; i++) {
		struct wr *wr = (void *)(uintptr_t)wc[i].wr_id;

		wr->done(wr, &wc[i]);
	}
	return n > 0 ? (unsigned int)n : 0;
}

static struct rnic *rnic_of(struct poller *p)
{
	return (struct rnic *)((uint8_t *)p - offsetof(struct rnic, poller));
}

/* What is out first: it makes room for what comes in. */
static unsigned int rnic_poll(struct poller *p)
{
	struct cq_pair *q;
	unsigned int n = 0;

	LIST_FOREACH (q, &rnic_of(p)->cqs, entry)
		n += poll_cq(&q->send) + poll_cq(&q->recv);
	return n;
}

void rnic_mark_dirty(struct conn *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	STAILQ_INSERT_TAIL(&c->rnic->dirty, c, dirty_entry);
}

static void rnic_flush(struct poller *p)
{
	struct rnic *r = rnic_of(p);
	struct conn *c;

	while ((c = STAILQ_FIRST(&r->dirty))) {
		STAILQ_REMOVE_HEAD(&r->dirty, dirty_entry);
		c->dirty = false;
		conn_post_chain(c);
	}
}

static void arm_cq(const struct rnic *r, struct cq *q)
{
	if (q->armed)
		return;
	if (ibv_req_notify_cq(q->cq, 0))
		log_error("rnic %s: arming a completion queue failed",
			  ibv_get_device_name(r->verbs->device));
	q->armed = true;
}

static void rnic_arm(struct poller *p)
{
	struct rnic *r = rnic_of(p);
	bool waiting = !TAILQ_EMPTY(&r->transport->domain->waiters);
	struct cq_pair *q;

	LIST_FOREACH (q, &r->cqs, entry) {
		arm_cq(r, &q->recv);
		if (q->reads_out || q->draining || q->starving || waiting ||
		    (r->flush_out && q == r->flush_cqs))
			arm_cq(r, &q->send);
	}
}

/* Only wakes the loop: the rounds poll. */
static void on_cq_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	struct rnic *r = w->data;
	struct ibv_cq *cq;
	void *context;

	(void)loop;
	(void)revents;
	if (ibv_get_cq_event(r->channel, &cq, &context) == 0) {
		struct cq *q = context;

		q->armed = false;
		if (++q->events == ACK_BATCH) {
			ibv_ack_cq_events(q->cq, q->events);
			q->events = 0;
		}
	}
}

static void on_async(struct ev_loop *loop, ev_io *w, int revents)
{
	struct rnic *r = w->data;
	struct ibv_async_event event;

	(void)loop;
	(void)revents;
	if (ibv_get_async_event(r->verbs, &event))
		return;
	/* COMM_EST only says that a capsule came before the CM's last message */
	if (event.event_type != IBV_EVENT_COMM_EST && event.event_type != IBV_EVENT_SQ_DRAINED &&
	    event.event_type != IBV_EVENT_QP_LAST_WQE_REACHED)
		log_warn("rnic %s: %s", ibv_get_device_name(r->verbs->device),
			 ibv_event_type_str(event.event_type));
	ibv_ack_async_event(&event);
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int create_cq(struct rnic *r, struct cq *q)
{
	q->size = r->attr.max_cqe < CQ_ENTRIES_MAX ? (unsigned int)r->attr.max_cqe : CQ_ENTRIES_MAX;
	q->cq = ibv_create_cq(r->verbs, (int)q->size, q, r->channel, 0);
	return q->cq ? 0 : -1;
}

static void destroy_cq(struct cq *q)
{
	if (!q->cq)
		return;
	ibv_ack_cq_events(q->cq, q->events);
	ibv_destroy_cq(q->cq);
}

static void destroy_cqs(struct cq_pair *q)
{
	destroy_cq(&q->recv);
	destroy_cq(&q->send);
	free(q);
}

/* A pair with room for so many entries: every work request may complete, flushed ones too, and an
 * overrun would break all queues of the pair. NULL: there is none and the RNIC gives no more. */
struct cq_pair *rnic_cqs(struct rnic *r, unsigned int recv, unsigned int send)
{
	struct cq_pair *q;

	LIST_FOREACH (q, &r->cqs, entry)
		if (recv <= q->recv.size - q->recv.used && send <= q->send.size - q->send.used)
			return q;
	q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	if (create_cq(r, &q->recv) || create_cq(r, &q->send) || recv > q->recv.size ||
	    send > q->send.size) {
		destroy_cqs(q);
		return NULL;
	}
	LIST_INSERT_HEAD(&r->cqs, q, entry);
	return q;
}

static int create_queues(struct rnic *r)
{
	r->pd = ibv_alloc_pd(r->verbs);
	if (!r->pd)
		return -errno;
	r->channel = ibv_create_comp_channel(r->verbs);
	if (!r->channel)
		return -errno;
	LIST_INIT(&r->cqs);
	r->flush_cqs = rnic_cqs(r, 0, FLUSH_DEPTH + 2);
	if (!r->flush_cqs)
		return -ENOMEM;
	r->flush_cqs->send.used = FLUSH_DEPTH + 2;

	int err = set_nonblocking(r->channel->fd);

	if (!err)
		err = set_nonblocking(r->verbs->async_fd);
	return err;
}

static void watch(struct rnic *r)
{
	ev_io_init(&r->cq_ready, on_cq_ready, r->channel->fd, EV_READ);
	r->cq_ready.data = r;
	ev_io_start(r->transport->loop, &r->cq_ready);
	r->poller = (struct poller){ .poll = rnic_poll, .flush = rnic_flush, .arm = rnic_arm };
	reactor_add_poller(r->transport->reactor, &r->poller);
	ev_io_init(&r->async_ready, on_async, r->verbs->async_fd, EV_READ);
	r->async_ready.data = r;
	ev_io_start(r->transport->loop, &r->async_ready);
}

/* ---- flush -------------------------------------------------------------------------------------
 */

static void start_flush(struct rnic *r)
{
	struct ibv_port_attr port;
	int err = -EIO;

	if (ibv_query_port(r->verbs, r->port_num, &port) == 0)
		err = loopback_init(&r->flush, r->pd, r->flush_cqs->send.cq, r->port_num,
				    port.active_mtu, FLUSH_DEPTH, P2P_PAGE_SIZE);
	if (err)
		log_warn(
			"rnic %s: no queue pair for cmb_flush = \"rdma-read\": %s; the CPU reads instead",
			ibv_get_device_name(r->verbs->device), strerror(-err));
}

bool rnic_can_flush(struct rnic *r)
{
	if (r->flush_broken && r->flush_out == 0) {
		r->flush_broken = false;
		loopback_fini(&r->flush);
		start_flush(r);
	}
	return r->flush.near && !r->flush_broken && r->flush_out < FLUSH_DEPTH;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int rnic_create(struct transport *tr, struct ibv_context *verbs, uint8_t port_num,
		       struct rnic **ret_rnic)
{
	struct rnic *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->transport = tr;
	r->verbs = verbs;
	r->port_num = port_num;
	STAILQ_INIT(&r->dirty);

	int err = -ibv_query_device(verbs, &r->attr);

	if (!err)
		err = create_queues(r);
	if (!err)
		err = staging_create(r->pd, port_num, tr->set, tr->topo, tr->domain,
				     tr->conf->window_size, tr->conf->host_memory, tr->test.no_odp,
				     &r->staging);
	if (err) {
		log_error("rnic %s: %s", ibv_get_device_name(verbs->device), strerror(-err));
		rnic_destroy(r);
		return err;
	}
	r->staging->trust = tr->test.trust;
	if (tr->conf->cmb_flush == CONFIG_FLUSH_RDMA_READ)
		start_flush(r);
	watch(r);
	LIST_INSERT_HEAD(&tr->rnics, r, entry);
	if (tr->set->n && !r->staging->odp)
		log_warn("rnic %s: payload is staged in host memory: %s",
			 ibv_get_device_name(verbs->device), r->staging->why_no_odp);
	*ret_rnic = r;
	return 0;
}

int rnic_get(struct transport *tr, struct ibv_context *verbs, uint8_t port_num,
	     struct rnic **ret_rnic)
{
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		if (r->verbs == verbs) {
			*ret_rnic = r;
			return 0;
		}
	return rnic_create(tr, verbs, port_num, ret_rnic);
}

void rnic_destroy(struct rnic *r)
{
	if (!r)
		return;
	if (ev_is_active(&r->cq_ready)) {
		ev_io_stop(r->transport->loop, &r->cq_ready);
		reactor_remove_poller(&r->poller);
		ev_io_stop(r->transport->loop, &r->async_ready);
		LIST_REMOVE(r, entry);
	}
	loopback_fini(&r->flush);
	staging_destroy(r->staging);
	while (!LIST_EMPTY(&r->cqs)) {
		struct cq_pair *q = LIST_FIRST(&r->cqs);

		LIST_REMOVE(q, entry);
		destroy_cqs(q);
	}
	if (r->channel)
		ibv_destroy_comp_channel(r->channel);
	if (r->pd)
		ibv_dealloc_pd(r->pd);
	free(r);
}

static const char *verdict_text(const struct proof *proof)
{
	switch (proof->verdict) {
	case PROOF_ANY:
		return "proved at every alignment";
	case PROOF_ALIGNED:
		return "proved for page-aligned buffers";
	case PROOF_NONE:
		return "NOT proved, host memory is used";
	case PROOF_UNKNOWN:
		break;
	}
	return "not proved yet, host memory is used";
}

static void prove_provider(struct rnic *r, struct provider *p, enum ibv_mtu mtu)
{
	const struct proof *proof;

	if (p->state != PROVIDER_ACTIVE)
		return;
	proof = staging_prove(r->staging, p, mtu);
	log_msg(proof->verdict == PROOF_NONE ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
		"rnic %s, CMB of %s, path MTU %u: %s%s%s", ibv_get_device_name(r->verbs->device),
		p->name, proof_mtu_bytes(mtu), verdict_text(proof), proof->why[0] ? "; " : "",
		proof->why);
}

void rnic_prove(struct rnic *r, enum ibv_mtu mtu)
{
	if (!r->staging->odp)
		return;
	r->mtu_used[mtu] = true;
	for (unsigned int i = 0; i < r->transport->set->n; i++)
		if (r->staging->proof[i][mtu].verdict == PROOF_UNKNOWN)
			prove_provider(r, r->transport->set->provider[i], mtu);
}

void rnic_provider_changed(struct rnic *r, unsigned int index)
{
	staging_provider_added(r->staging, r->transport->topo, index);
	if (!r->staging->odp)
		return;
	for (enum ibv_mtu mtu = IBV_MTU_256; mtu <= IBV_MTU_4096; mtu++)
		if (r->mtu_used[mtu])
			prove_provider(r, r->transport->set->provider[index], mtu);
}
