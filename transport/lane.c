/* What one reactor has on one RDMA device: completion queues, shared receives, staging. */
#include "transport/rdma.h"
#include "target/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CQ_ENTRIES_MAX 16384
#define POLL_BATCH     32
#define ACK_BATCH      64
#define FLUSH_DEPTH    512        /* beyond it, the CPU reads */
#define ADMIN_STAGING  (8u << 20) /* where the control thread serves no I/O: log pages, proofs */
#define ADMIN_WINDOW   (64u << 20)

static unsigned int poll_cq(struct lane *l, struct cq *q)
{
	struct ibv_wc wc[POLL_BATCH];
	int n = ibv_poll_cq(q->cq, POLL_BATCH, wc);

	if (n > 0)
		reactor_tick(l->reactor);
	for (int i = 0; i < n; i++) {
		struct wr *wr = (void *)(uintptr_t)wc[i].wr_id;

		wr->done(wr, &wc[i]);
	}
	return n > 0 ? (unsigned int)n : 0;
}

static struct lane *lane_of(struct poller *p)
{
	return (struct lane *)((uint8_t *)p - offsetof(struct lane, poller));
}

/* What is out first: it makes room for what comes in. */
static unsigned int lane_poll(struct poller *p)
{
	struct lane *l = lane_of(p);
	struct cq_pair *q;
	unsigned int n = 0;

	LIST_FOREACH (q, &l->cqs, entry)
		n += poll_cq(l, &q->send) + poll_cq(l, &q->recv);
	n += l->again;
	l->again = false;
	return n;
}

/* What nothing will happen without: the reactor does not sleep, and it is tried again. A device
 * that is gone is not worth it. */
static void try_again(struct lane *l, const char *what)
{
	if (l->rnic->gone)
		return;
	if (!l->complained)
		log_error("rnic %s: %s failed; it is tried again and again", rnic_name(l->rnic),
			  what);
	l->complained = true;
	l->again = true;
}

void lane_mark_dirty(struct conn *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	STAILQ_INSERT_TAIL(&c->lane->dirty, c, dirty_entry);
}

/* ---- spare slots -------------------------------------------------------------------------------
 */

static int create_spares(struct lane *l)
{
	l->spare_mem = mmap(NULL, SPARE_SLOTS * SPARE_LEN, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l->spare_mem == MAP_FAILED)
		return -ENOMEM;
	l->spare_mr = ibv_reg_mr(l->rnic->pd, l->spare_mem, SPARE_SLOTS * SPARE_LEN,
				 IBV_ACCESS_LOCAL_WRITE);
	if (!l->spare_mr)
		return -errno;
	for (unsigned int i = 0; i < SPARE_SLOTS; i++)
		l->spare[i] = (struct slot){ .va = l->spare_mem + i * SPARE_LEN,
					     .lkey = l->spare_mr->lkey };
	return 0;
}

static void destroy_spares(struct lane *l)
{
	if (l->spare_mr)
		ibv_dereg_mr(l->spare_mr);
	if (l->spare_mem != MAP_FAILED)
		munmap(l->spare_mem, SPARE_SLOTS * SPARE_LEN);
}

struct slot *lane_take_spare(struct lane *l)
{
	for (unsigned int i = 0; i < SPARE_SLOTS; i++)
		if (!(l->spare_taken & 1u << i)) {
			l->spare_taken |= 1u << i;
			return &l->spare[i];
		}
	return NULL;
}

void lane_give_spare(struct lane *l, struct slot *slot)
{
	l->spare_taken &= ~(1u << (slot - l->spare));
}

/* ---- shared receives ---------------------------------------------------------------------------
 */

static void post_idle_recvs(struct lane *l)
{
	struct ibv_recv_wr *first = NULL, **end = &first, *bad = NULL;
	struct recv *recv;

	STAILQ_FOREACH (recv, &l->srq.idle, entry) {
		recv->recv_wr.next = NULL;
		*end = &recv->recv_wr;
		end = &recv->recv_wr.next;
	}
	if (ibv_post_srq_recv(l->srq.srq, first, &bad))
		try_again(l, "posting shared receives");
	while ((recv = STAILQ_FIRST(&l->srq.idle)) && &recv->recv_wr != bad) {
		STAILQ_REMOVE_HEAD(&l->srq.idle, entry);
		l->srq.posted++;
	}
}

void lane_put_recv(struct lane *l, struct recv *recv)
{
	STAILQ_INSERT_TAIL(&l->srq.idle, recv, entry);
}

struct conn *lane_find_conn(struct lane *l, uint32_t qp_num)
{
	struct conn *c;

	LIST_FOREACH (c, &l->by_qpn[qp_num % CONN_BUCKETS], bucket)
		if (c->id->qp->qp_num == qp_num)
			break;
	return c;
}

void lane_add_conn(struct lane *l, struct conn *c)
{
	LIST_INSERT_HEAD(&l->by_qpn[c->id->qp->qp_num % CONN_BUCKETS], c, bucket);
}

/* No completion of @c's receives is left in its queue. */
void lane_drain_recvs(struct conn *c)
{
	while (poll_cq(c->lane, &c->cqs->recv))
		;
}

void lane_drain_sends(struct conn *c)
{
	while (poll_cq(c->lane, &c->cqs->send))
		;
}

/* One block: SQEs, then in-capsule data. */
static int map_srq_memory(struct srq *s, struct ibv_pd *pd)
{
	size_t head = recvs_head_len(s->n * sizeof(struct nvme_sqe));

	s->mem_len = head + recvs_data_len(s->n, s->in_capsule_len);
	s->mem = mmap(NULL, s->mem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s->recvs = calloc(s->n, sizeof(*s->recvs));
	if (s->mem == MAP_FAILED || !s->recvs)
		return -ENOMEM;
	/* no remote access: the host's data comes by SEND or by our own RDMA READ */
	s->mr = ibv_reg_mr(pd, s->mem, s->mem_len, IBV_ACCESS_LOCAL_WRITE);
	if (!s->mr)
		return -errno;
	recvs_init(s->recvs, s->n, s->mr, s->mem, head, s->in_capsule_len);
	return 0;
}

static size_t most_in_capsule(const struct config *conf)
{
	size_t most = IN_CAPSULE_LEN_MIN;

	for (size_t i = 0; i < conf->nports; i++)
		if (conf->ports[i].in_capsule_data_len > most)
			most = conf->ports[i].in_capsule_data_len;
	return most;
}

/* Admin queues keep receives of their own, so that no I/O can take them away. */
static int create_srq(struct lane *l)
{
	const struct rnic *r = l->rnic;
	struct ibv_srq_init_attr attr = { .srq_context = l };
	struct srq *s = &l->srq;

	if (l->reactor->opts.index == 0 || r->transport->conf->shared_receives == 0 ||
	    r->attr.max_srq == 0 || r->attr.max_srq_sge < 2)
		return 0;
	s->n = r->transport->conf->shared_receives;
	if (s->n > (unsigned int)r->attr.max_srq_wr)
		s->n = (unsigned int)r->attr.max_srq_wr;
	attr.attr = (struct ibv_srq_attr){ .max_wr = s->n, .max_sge = 2 };
	s->srq = ibv_create_srq(r->pd, &attr);
	if (!s->srq)
		return -errno;

	s->in_capsule_len = most_in_capsule(r->transport->conf);

	int err = map_srq_memory(s, r->pd);

	for (unsigned int i = 0; !err && i < s->n; i++) {
		s->recvs[i].lane = l;
		lane_put_recv(l, &s->recvs[i]);
	}
	return err;
}

static void destroy_srq(struct srq *s)
{
	if (s->srq)
		ibv_destroy_srq(s->srq);
	if (s->mr)
		ibv_dereg_mr(s->mr);
	if (s->mem != MAP_FAILED)
		munmap(s->mem, s->mem_len);
	free(s->recvs);
}

/* ---- rounds ------------------------------------------------------------------------------------
 */

static void lane_flush(struct poller *p)
{
	struct lane *l = lane_of(p);
	struct conn *c;

	/* first: what the responses bring on finds them */
	if (!STAILQ_EMPTY(&l->srq.idle))
		post_idle_recvs(l);
	while ((c = STAILQ_FIRST(&l->dirty))) {
		STAILQ_REMOVE_HEAD(&l->dirty, dirty_entry);
		c->dirty = false;
		conn_post_chain(c);
	}
}

static void arm_cq(struct lane *l, struct cq *q)
{
	if (q->armed)
		return;
	if (ibv_req_notify_cq(q->cq, 0))
		try_again(l, "arming a completion queue");
	else
		q->armed = true;
}

static void lane_arm(struct poller *p)
{
	struct lane *l = lane_of(p);
	bool waiting = l->reactor->domain.nwaiting > 0;
	struct cq_pair *q;

	LIST_FOREACH (q, &l->cqs, entry) {
		arm_cq(l, &q->recv);
		if (q->reads_out || q->draining || q->starving || q->hanging_up || waiting ||
		    (l->flush_out && q == l->flush_cqs))
			arm_cq(l, &q->send);
	}
	reactor_watch(l->reactor, &l->cq_ready);
}

/* Only wakes the reactor: the rounds poll. */
static void on_cq_ready(struct reactor_watch *w)
{
	struct lane *l = (struct lane *)((uint8_t *)w - offsetof(struct lane, cq_ready));
	struct ibv_cq *cq;
	void *context;

	if (ibv_get_cq_event(l->channel, &cq, &context) == 0) {
		struct cq *q = context;

		q->armed = false;
		if (++q->events == ACK_BATCH) {
			ibv_ack_cq_events(q->cq, q->events);
			q->events = 0;
		}
	}
}

/* ---- hosts that take nothing --------------------------------------------------------------------
 *
 * How often our RNIC repeats what a host's RNIC has no receive for is the host's to say, in its
 * connection request, and 7 is for ever; so it may be with what is not acknowledged at all (rxe
 * takes a retry count of 7 so, which Linux hosts ask for). Until then responses and READs keep
 * their slots, which others wait for. So a connection on which neither ended for a whole period,
 * though one was out at its beginning and is at its end, is ended: after one period to two. With it
 * end its controller's others, which would take their turns with the memory that it had. (A host
 * that loses a queue connects anew anyway.)
 */

static bool is_stuck(const struct conn *c)
{
	return c->state == CONN_LIVE && c->waiting_seen && c->progress == c->progress_seen &&
	       conn_waits_for_host(c);
}

static struct conn *find_stuck(const struct conn_bucket *bucket)
{
	struct conn *c;

	LIST_FOREACH (c, bucket, bucket)
		if (is_stuck(c))
			break;
	return c;
}

static struct conn *find_fellow(const struct lane *l, const struct controller *ctrl)
{
	struct conn *c;

	for (unsigned int i = 0; i < CONN_BUCKETS; i++)
		LIST_FOREACH (c, &l->by_qpn[i], bucket)
			if (c->state == CONN_LIVE && c->nvmf.state == QUEUE_LIVE &&
			    c->nvmf.ctrl == ctrl)
				return c;
	return NULL;
}

static void end_with_fellows(const struct lane *l, struct conn *c)
{
	const struct controller *ctrl = c->nvmf.state == QUEUE_LIVE ? c->nvmf.ctrl : NULL;

	conn_takes_nothing(c);
	while (ctrl && (c = find_fellow(l, ctrl)))
		conn_takes_nothing(c);
}

void lane_look_for_progress(struct lane *l)
{
	struct cq_pair *q;
	struct conn *c;

	/* completions that nobody was in a hurry for: see lane_arm() */
	LIST_FOREACH (q, &l->cqs, entry)
		while (poll_cq(l, &q->send))
			;
	for (unsigned int i = 0; i < CONN_BUCKETS; i++) {
		while ((c = find_stuck(&l->by_qpn[i])))
			end_with_fellows(l, c);
		LIST_FOREACH (c, &l->by_qpn[i], bucket) {
			c->progress_seen = c->progress;
			c->waiting_seen = conn_waits_for_host(c);
		}
	}
}

/* ---- completion queues -------------------------------------------------------------------------
 */

/* Each reactor has its completion vector, so that its interrupts come where it runs (if the
 * administrator's affinities agree). */
static int create_cq(const struct lane *l, struct cq *q)
{
	struct ibv_context *verbs = l->rnic->verbs;
	int most = l->rnic->attr.max_cqe < CQ_ENTRIES_MAX ? l->rnic->attr.max_cqe : CQ_ENTRIES_MAX;
	int vector = verbs->num_comp_vectors > 0
			     ? (int)l->reactor->opts.index % verbs->num_comp_vectors
			     : 0;

	q->size = (unsigned int)most;
	q->cq = ibv_create_cq(verbs, most, q, l->channel, vector);
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

struct new_cqs {
	struct lane *lane;
	struct cq_pair *pair;
};

static void add_cqs(void *arg)
{
	struct new_cqs *n = arg;

	LIST_INSERT_HEAD(&n->lane->cqs, n->pair, entry);
}

/* A pair with room for so many entries: every work request may complete, flushed ones too, and an
 * overrun would break all queues of the pair. NULL: there is none and the RNIC gives no more. */
struct cq_pair *lane_cqs(struct lane *l, unsigned int recv, unsigned int send)
{
	struct cq_pair *q;

	LIST_FOREACH (q, &l->cqs, entry)
		if (recv <= q->recv.size - q->recv.used && send <= q->send.size - q->send.used)
			return q;
	q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	if (create_cq(l, &q->recv) || create_cq(l, &q->send) || recv > q->recv.size ||
	    send > q->send.size || l->srq.n > q->recv.size) {
		destroy_cqs(q);
		return NULL;
	}

	struct new_cqs n = { l, q };

	reactor_call(l->reactor, add_cqs, &n);
	return q;
}

/* ---- flush -------------------------------------------------------------------------------------
 */

static void start_flush(struct lane *l)
{
	const struct rnic *r = l->rnic;
	struct ibv_port_attr port;
	int err = -EIO;

	if (ibv_query_port(r->verbs, r->port_num, &port) == 0)
		err = loopback_init(&l->flush, r->pd, l->flush_cqs->send.cq, r->port_num,
				    port.active_mtu, FLUSH_DEPTH, P2P_PAGE_SIZE);
	if (err)
		log_warn(
			"rnic %s: no queue pair for cmb_flush = \"rdma-read\": %s; the CPU reads instead",
			rnic_name(r), strerror(-err));
}

bool lane_can_flush(struct lane *l)
{
	if (l->flush_broken && l->flush_out == 0) {
		l->flush_broken = false;
		loopback_fini(&l->flush);
		start_flush(l);
	}
	return l->flush.near && !l->flush_broken && l->flush_out < FLUSH_DEPTH;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static void attach(void *arg)
{
	struct lane *l = arg;

	l->cq_ready = (struct reactor_watch){ .fd = l->channel->fd, .ready = on_cq_ready };
	l->attached = true;
	l->poller = (struct poller){ .poll = lane_poll, .flush = lane_flush, .arm = lane_arm };
	reactor_add_poller(l->reactor, &l->poller);
}

static void detach(void *arg)
{
	struct lane *l = arg;

	reactor_remove_poller(&l->poller);
	reactor_unwatch(l->reactor, &l->cq_ready);
}

static int create_queues(struct lane *l)
{
	l->channel = ibv_create_comp_channel(l->rnic->verbs);
	if (!l->channel)
		return -errno;

	int err = set_nonblocking(l->channel->fd);

	if (!err)
		err = create_srq(l);
	return err;
}

struct new_staging {
	struct lane *lane;
	size_t window, host;
	int err;
};

/* In its reactor, whose other lanes share the slots' domain. */
static void do_create_staging(void *arg)
{
	struct new_staging *n = arg;
	struct lane *l = n->lane;
	struct transport *tr = l->rnic->transport;

	n->err = staging_create(l->rnic->pd, l->rnic->port_num, l->reactor->set, tr->topo,
				&l->reactor->domain, n->window, n->host, tr->test.no_odp,
				&l->staging);
}

static void do_destroy_staging(void *arg)
{
	struct lane *l = arg;

	staging_destroy(l->staging);
}

/* Each reactor stages in its own part of the host memory that the RNIC may have. */
static int create_staging(struct lane *l)
{
	struct transport *tr = l->rnic->transport;
	const struct config *conf = tr->conf;
	unsigned int nio = tr->reactors->n - 1;
	size_t window = conf->window_size, host = conf->host_memory;

	if (nio && l->reactor->opts.index == 0) {
		window = window < ADMIN_WINDOW ? window : ADMIN_WINDOW;
		host = ADMIN_STAGING;
	} else if (nio) {
		host = host / nio / SLOT_LEN_MAX * SLOT_LEN_MAX;
		if (host == 0)
			host = SLOT_LEN_MAX;
	}

	struct new_staging n = { l, window, host, 0 };

	reactor_call(l->reactor, do_create_staging, &n);
	return n.err;
}

int lane_create(struct rnic *r, struct reactor *reactor, struct lane **ret_lane)
{
	struct lane *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->rnic = r;
	l->reactor = reactor;
	l->srq.mem = MAP_FAILED;
	l->spare_mem = MAP_FAILED;
	LIST_INIT(&l->cqs);
	STAILQ_INIT(&l->dirty);
	STAILQ_INIT(&l->srq.idle);

	int err = create_queues(l);

	if (!err)
		err = create_spares(l);
	if (!err)
		err = create_staging(l);
	if (err) {
		lane_destroy(l);
		return err;
	}
	l->staging->trust = r->transport->test.trust;
	reactor_call(reactor, attach, l);
	l->flush_cqs = lane_cqs(l, 0, FLUSH_DEPTH + 2);
	if (!l->flush_cqs) {
		lane_destroy(l);
		return -ENOMEM;
	}
	l->flush_cqs->send.used = FLUSH_DEPTH + 2;
	if (r->transport->cmb_flush == CONFIG_FLUSH_RDMA_READ)
		start_flush(l);
	*ret_lane = l;
	return 0;
}

void lane_destroy(struct lane *l)
{
	if (!l)
		return;
	if (l->attached)
		reactor_call(l->reactor, detach, l);
	loopback_fini(&l->flush);
	reactor_call(l->reactor, do_destroy_staging, l);
	while (!LIST_EMPTY(&l->cqs)) {
		struct cq_pair *q = LIST_FIRST(&l->cqs);

		LIST_REMOVE(q, entry);
		destroy_cqs(q);
	}
	destroy_srq(&l->srq);
	destroy_spares(l);
	if (l->channel)
		ibv_destroy_comp_channel(l->channel);
	free(l);
}
