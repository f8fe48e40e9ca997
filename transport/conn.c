/* Connections: the CM handshake, the queue pair, its memory, its end. */
#include "transport/rdma.h"
#include "target/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RESPONSE_INLINE      sizeof(struct nvme_cqe)
#define LAST_WQE_TIMEOUT_S   2
#define GONE_TIMEOUT_S       5
#define ADMIN_IN_CAPSULE_LEN 1024
#define UNKNOWN_SHARE        4 /* of connection_memory: one part, see has_room() */

/* ---- private data -----------------------------------------------------------------------------
 */

/* Host bytes: pure, and all checks that need nothing but the bytes. */
enum nvme_rdma_cm_status cm_parse_request(const void *data, size_t len,
					  struct nvme_rdma_cm_request *ret)
{
	if (!data || len < sizeof(*ret))
		return CM_INVALID_LENGTH;
	memcpy(ret, data, sizeof(*ret));
	if (get16(ret->recfmt) != 0)
		return CM_INVALID_RECFMT;
	if (get16(ret->qid) > IO_QUEUE_ID_MAX)
		return CM_INVALID_QID;
	/* a queue of one entry is always full: two at least */
	if (get16(ret->hsqsize_z) == 0 || get16(ret->hsqsize_z) == UINT16_MAX)
		return CM_INVALID_HSQSIZE;
	if (get16(ret->hrqsize) == 0)
		return CM_INVALID_HRQSIZE;
	return CM_OK;
}

static enum nvme_rdma_cm_status check_request(const struct listener *l,
					      const struct nvme_rdma_cm_request *req,
					      const struct rdma_conn_param *param)
{
	uint16_t cntlid = get16(req->cntlid);
	uint32_t depth = get16(req->hsqsize_z) + 1u;
	struct nvmf_port port = nvmf_port_of(l->port);
	uint32_t most = get16(req->qid) ? target_queue_depth(l->transport->target, cntlid, &port)
					: ADMIN_QUEUE_DEPTH_MAX;

	if (depth > most)
		return CM_INVALID_HSQSIZE;
	if (get16(req->qid) && cntlid && !target_has_controller(l->transport->target, cntlid))
		return CM_INVALID_CNTLID;
	/* without outstanding RDMA READs no host could write */
	if (param->initiator_depth == 0)
		return CM_INVALID_IRD;
	return CM_OK;
}

const char *cm_status_text(enum nvme_rdma_cm_status status)
{
	static const char *const text[] = {
		[CM_INVALID_LENGTH] = "private data too short",
		[CM_INVALID_RECFMT] = "unknown private data format",
		[CM_INVALID_QID] = "queue ID out of range",
		[CM_INVALID_HSQSIZE] = "send queue size out of range",
		[CM_INVALID_HRQSIZE] = "receive queue size out of range",
		[CM_NO_RESOURCES] = "no resources",
		[CM_INVALID_IRD] = "no RDMA READ allowed",
		[CM_INVALID_ORD] = "ORD out of range",
		[CM_INVALID_CNTLID] = "no such controller",
	};

	return status < sizeof(text) / sizeof(text[0]) && text[status] ? text[status] : "?";
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static void *map_anonymous(size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* | request 0 .. nreqs-1 | pieces of request 0 .. nreqs-1 | work requests that they share | */
static size_t requests_len(const struct conn *c)
{
	return c->nreqs *
		       (sizeof(struct request) + SGL_DATA_BLOCKS_MAX * sizeof(struct sgl_piece)) +
	       PIECE_WRS * sizeof(struct piece_wr);
}
static_assert(sizeof(struct request) % 8 == 0 && sizeof(struct sgl_piece) % 8 == 0, "aligned");

/* Send work requests that may be out: a READ, or a WRITE and a SEND, of each request; and what
 * requests with payload in many pieces share. */
static unsigned int send_wrs(const struct conn *c)
{
	return 2u * c->nreqs + PIECE_WRS;
}

/* No Connect command has succeeded on it, or who sent it has still to show that he is who he says:
 * nobody knows whose it is. */
static bool is_unknown(const struct conn *c)
{
	return nvmf_queue_cntlid(&c->nvmf) == 0 ||
	       __atomic_load_n(&c->nvmf.unauthenticated, __ATOMIC_RELAXED);
}

/*
 * The limits of hosts begin with the Connect command, or with authentication. Before, connections
 * are only somebody's who sends from that address, and would hold the memory of all others for as
 * long as they may wait for that: so an address has part of it for them, and one connection at
 * least.
 */
static bool has_room(const struct conn *c, size_t len)
{
	const struct transport *tr = c->transport;
	size_t most = tr->conf->connection_memory, unknown = 0;
	const struct conn *other;

	if (len > tr->conf->queue_memory || tr->mem_used + len > most)
		return false;
	LIST_FOREACH (other, &tr->conns, entry)
		if (other != c && is_unknown(other) &&
		    strcmp(other->nvmf.remote_address, c->nvmf.remote_address) == 0)
			unknown += other->mem_reserved;
	return unknown == 0 || unknown + len <= most / UNKNOWN_SHARE;
}

/* What the connection may come to need, all of it; what it does not use is never touched. */
static int reserve_memory(struct conn *c, size_t in_capsule_len)
{
	struct transport *tr = c->transport;
	size_t data = recvs_data_len(c->depth, in_capsule_len);
	size_t len = sizeof(*c) + requests_len(c) + c->nreqs * sizeof(struct nvme_cqe) +
		     c->depth * (sizeof(struct recv) + sizeof(struct nvme_sqe)) + data;

	if (!has_room(c, len))
		return -ENOMEM;
	c->mem_reserved = len;
	tr->mem_used += len;
	c->reqs = map_anonymous(requests_len(c));
	if (c->reqs == MAP_FAILED)
		return -ENOMEM;
	c->pieces = (struct sgl_piece *)(c->reqs + c->nreqs);
	c->piece_wrs = (struct piece_wr *)(c->pieces + (size_t)c->nreqs * SGL_DATA_BLOCKS_MAX);
	c->nfree_wrs = PIECE_WRS;
	return 0;
}

/*
 * One registered block, of which there may be nothing: with shared receives it has no SQEs and no
 * in-capsule data, and where responses are sent inline, no CQEs.
 *
 *      | sqe 0 .. depth-1 | cqe 0 .. nreqs-1 | pad | in-capsule 0 | ... | in-capsule depth-1 |
 */
static int alloc_memory(struct conn *c, size_t in_capsule_len)
{
	unsigned int nrecvs = c->shared_recvs ? 0 : c->depth;
	size_t sqes = (size_t)nrecvs * sizeof(struct nvme_sqe);
	size_t cqes = c->send_inline ? 0 : (size_t)c->nreqs * sizeof(struct nvme_cqe);
	size_t head = recvs_head_len(sqes + cqes);

	c->mem_len = head + recvs_data_len(nrecvs, in_capsule_len);
	if (c->mem_len == 0)
		return 0;
	c->mem = map_anonymous(c->mem_len);
	c->recvs = calloc(nrecvs ? nrecvs : 1, sizeof(*c->recvs));
	if (c->mem == MAP_FAILED || !c->recvs)
		return -ENOMEM;
	/* no remote access: the host's data comes by SEND or by our own RDMA READ */
	c->mr = ibv_reg_mr(c->lane->rnic->pd, c->mem, c->mem_len, IBV_ACCESS_LOCAL_WRITE);
	if (!c->mr)
		return -errno;
	if (cqes)
		c->cqes = (struct nvme_cqe *)(c->mem + sqes);
	recvs_init(c->recvs, nrecvs, c->mr, c->mem, head, in_capsule_len);
	for (unsigned int i = 0; i < nrecvs; i++)
		c->recvs[i].conn = c;
	return 0;
}

/* ---- the queue pair ---------------------------------------------------------------------------
 */

static int create_qp(struct conn *c)
{
	struct ibv_qp_init_attr attr = {
		.qp_context = c,
		.send_cq = c->cqs->send.cq,
		.recv_cq = c->cqs->recv.cq,
		.srq = c->shared_recvs ? c->lane->srq.srq : NULL,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = send_wrs(c),
			 .max_recv_wr = c->shared_recvs ? 0 : c->depth,
			 .max_send_sge = 1,
			 .max_recv_sge = c->shared_recvs ? 0 : 2,
			 .max_inline_data = RESPONSE_INLINE },
	};

	if (rdma_create_qp(c->id, c->lane->rnic->pd, &attr)) {
		attr.cap.max_inline_data = 0;
		if (rdma_create_qp(c->id, c->lane->rnic->pd, &attr))
			return -errno;
	}
	c->send_inline = attr.cap.max_inline_data >= RESPONSE_INLINE;
	return 0;
}

/* Room for the completion of everything that may be out at once. (Shared receives have theirs in
 * every pair.) */
static int reserve_cqes(struct conn *c)
{
	unsigned int nrecvs = c->shared_recvs ? 0 : c->depth;

	c->cqs = lane_cqs(c->lane, nrecvs, send_wrs(c));
	if (!c->cqs)
		return -ENOSPC;
	c->cqs->recv.used += c->recv_cqes = nrecvs;
	c->cqs->send.used += c->send_cqes = send_wrs(c);
	return 0;
}

static int set_up(struct conn *c, const struct nvme_rdma_cm_request *req)
{
	unsigned int max_wr = (unsigned int)c->lane->rnic->attr.max_qp_wr;
	size_t in_capsule_len = 0;

	c->depth = (uint16_t)(get16(req->hsqsize_z) + 1);
	/* A host may send the next command when it has our response, before we see the completion
	 * of that SEND: some more requests than commands; the capsule waits if they are not enough.
	 */
	c->nreqs = c->depth + c->depth / 4u + 4;
	if (max_wr < PIECE_WRS + 2 || c->depth > max_wr)
		return -ENOSPC;
	if (max_wr < send_wrs(c))
		c->nreqs = (max_wr - PIECE_WRS) / 2;
	/* admin queues: the data of Connect, which some hosts send so */
	in_capsule_len = c->nvmf.qid
				 ? target_in_capsule_len(c->nvmf.target, c->cntlid, &c->nvmf.port)
				 : ADMIN_IN_CAPSULE_LEN;
	/* a reload may have the port take more than the shared ones were made for */
	c->shared_recvs = c->lane->srq.srq && in_capsule_len <= c->lane->srq.in_capsule_len;

	int err = reserve_memory(c, in_capsule_len);

	if (!err)
		err = reserve_cqes(c);
	if (!err)
		err = create_qp(c);
	if (!err)
		err = alloc_memory(c, in_capsule_len);
	for (unsigned int i = 0; !err && !c->shared_recvs && i < c->depth; i++)
		err = conn_post_recv(&c->recvs[i]);
	return err;
}

/*
 * With shared receives there may be none for a moment. The host's RNIC tries again after the time
 * that we name here (code 12: 0.64 ms; what the CM sets, 0, is 655 ms).
 */
static void set_rnr_timer(struct conn *c)
{
	struct ibv_qp_attr attr = { .min_rnr_timer = 12 };

	if (c->shared_recvs)
		(void)ibv_modify_qp(c->id->qp, &attr, IBV_QP_MIN_RNR_TIMER);
}

static void query_path_mtu(struct conn *c)
{
	struct ibv_qp_attr attr;
	struct ibv_qp_init_attr init;
	int err = ibv_query_qp(c->id->qp, &attr, IBV_QP_PATH_MTU, &init);

	if (!err)
		c->path_mtu = attr.path_mtu;
	else
		log_peer(LOG_LEVEL_WARNING, c->nvmf.remote_address,
			 "connection from %s: staged in host memory, its path MTU is unknown: %s",
			 c->nvmf.remote_address, strerror(err));
}

/*
 * Nothing fails after the accept. The kernel's CM would take a reject then, but repeat the accept
 * for a minute, and rdma_destroy_id() would wait for that; and a connection that just ends there is
 * one whose end the Linux host does not see for a minute.
 */
static int accept_conn(struct conn *c, const struct rdma_conn_param *param)
{
	struct nvme_rdma_cm_accept reply = { .crqsize = put16(c->depth) };
	uint8_t max_rd = (uint8_t)(c->lane->rnic->attr.max_qp_init_rd_atom < 255
					   ? c->lane->rnic->attr.max_qp_init_rd_atom
					   : 255);
	struct rdma_conn_param answer = {
		.private_data = &reply,
		.private_data_len = sizeof(reply),
		/* the host reads and writes nothing of ours */
		.responder_resources = 0,
		.initiator_depth =
			param->initiator_depth < max_rd ? param->initiator_depth : max_rd,
		.flow_control = 1,
		.rnr_retry_count = 7,
	};

	if (rdma_accept(c->id, &answer))
		return -errno;
	set_rnr_timer(c);
	query_path_mtu(c);
	return 0;
}

/* ---- birth ------------------------------------------------------------------------------------
 */

static void address_text(const struct sockaddr *addr, char *buf, size_t len)
{
	if (addr->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)addr)->sin6_addr, buf,
			  (socklen_t)len);
	else
		inet_ntop(AF_INET, &((const struct sockaddr_in *)addr)->sin_addr, buf,
			  (socklen_t)len);
}

static void say_no(struct transport *tr, struct rdma_cm_id *id, enum nvme_rdma_cm_status status)
{
	struct nvme_rdma_cm_reject answer = { .status = put16((uint16_t)status) };
	char from[64] = "?";

	tr->nrejected[status]++;
	address_text(rdma_get_peer_addr(id), from, sizeof(from));
	log_event(JOURNAL_HOST_REFUSED, LOG_FIELDS(.peer = from), "connection from %s rejected: %s",
		  from, cm_status_text(status));
	(void)rdma_reject(id, &answer, sizeof(answer));
}

static void reject(struct transport *tr, struct rdma_cm_id *id, enum nvme_rdma_cm_status status)
{
	say_no(tr, id, status);
	rdma_destroy_id(id);
}

static struct conn *conn_create(struct listener *l, struct rdma_cm_id *id,
				const struct nvme_rdma_cm_request *req)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->transport = l->transport;
	c->id = id;
	c->state = CONN_ACCEPTING;
	c->mem = MAP_FAILED;
	c->reqs = MAP_FAILED;
	c->cntlid = get16(req->cntlid);
	STAILQ_INIT(&c->free_reqs);
	STAILQ_INIT(&c->wr_waiters);
	STAILQ_INIT(&c->pending);
	c->chain_end = &c->chain;
	c->nvmf.ops = &conn_queue_ops;
	c->nvmf.target = l->transport->target;
	c->nvmf.port = nvmf_port_of(l->port);
	c->nvmf.qid = get16(req->qid);
	address_text(rdma_get_local_addr(id), c->nvmf.local_address, sizeof(c->nvmf.local_address));
	address_text(rdma_get_peer_addr(id), c->nvmf.remote_address,
		     sizeof(c->nvmf.remote_address));
	return c;
}

/* Are they queues of one controller, as far as the CM knows? */
static bool same_controller(const struct conn *a, const struct conn *b)
{
	if (a->cntlid || b->cntlid)
		return a->cntlid == b->cntlid;
	return strcmp(a->nvmf.remote_address, b->nvmf.remote_address) == 0;
}

/*
 * The reactor for a new connection. Admin queues: the control thread's. I/O queues: that which has
 * the fewest of the same controller, so that a host's queues are spread evenly; then the fewest
 * queues; then the one that worked least since a queue was placed last.
 */
static unsigned int place(const struct conn *c)
{
	struct transport *tr = c->transport;
	uint64_t work[REACTORS_MAX];
	unsigned int own[REACTORS_MAX] = { 0 }, all[REACTORS_MAX] = { 0 }, best = 1;
	const struct conn *other;

	if (c->nvmf.qid == 0 || tr->reactors->n == 1)
		return 0;
	LIST_FOREACH (other, &tr->conns, entry) {
		unsigned int i = other->nvmf.reactor->opts.index;

		all[i]++;
		own[i] += other->nvmf.qid && same_controller(c, other);
	}
	for (unsigned int i = 1; i < tr->reactors->n; i++) {
		uint64_t now = reactor_work(tr->reactors->r[i]);

		work[i] = now - tr->work_seen[i];
		tr->work_seen[i] = now;
	}
	for (unsigned int i = 2; i < tr->reactors->n; i++) {
		if (own[i] != own[best])
			best = own[i] < own[best] ? i : best;
		else if (all[i] != all[best])
			best = all[i] < all[best] ? i : best;
		else if (work[i] < work[best])
			best = i;
	}
	return best;
}

static int find_lane(struct conn *c)
{
	unsigned int i = place(c);
	struct rnic *r;
	int err = rnic_get(c->transport, c->id, &r);

	if (err)
		return err;
	c->lane = r->lane[i];
	c->nvmf.reactor = c->lane->reactor;
	return 0;
}

/* In its reactor, before anything can arrive. */
static void adopt(void *arg)
{
	struct conn *c = arg;

	lane_add_conn(c->lane, c);
	nvmf_queue_init(&c->nvmf);
}

/* In its reactor: no completion is left that points to the orphan. */
static void settle_orphan(void *arg)
{
	struct conn *c = arg;

	lane_drain_sends(c);
	conn_settle_orphan(c);
}

/* All that is the control thread's; step 3 of four. */
static void take_apart(struct conn *c)
{
	LIST_REMOVE(c, entry);
	c->transport->nconns--;
	c->transport->mem_used -= c->mem_reserved;
	if (c->id && c->id->qp)
		rdma_destroy_qp(c->id);
	if (c->orphan)
		reactor_call(c->lane->reactor, settle_orphan, c);
	if (c->id)
		rdma_destroy_id(c->id);
	if (c->mr)
		ibv_dereg_mr(c->mr);
	if (c->mem != MAP_FAILED)
		munmap(c->mem, c->mem_len);
	if (c->reqs != MAP_FAILED) {
		conn_free_requests(c);
		munmap(c->reqs, requests_len(c));
	}
	if (c->cqs) {
		c->cqs->recv.used -= c->recv_cqes;
		c->cqs->send.used -= c->send_cqes;
	}
	free(c->recvs);
}

/* Never adopted: nothing is in flight but posted receives, which go with the QP. */
static void abandon(struct conn *c)
{
	struct transport *tr = c->transport;
	struct rdma_cm_id *id = c->id;

	if (id->qp)
		rdma_destroy_qp(id);
	c->id = NULL;
	take_apart(c);
	free(c);
	reject(tr, id, CM_NO_RESOURCES);
}

void conn_request(struct listener *l, struct rdma_cm_id *id, const struct rdma_conn_param *param)
{
	struct nvme_rdma_cm_request req;
	enum nvme_rdma_cm_status status =
		cm_parse_request(param->private_data, param->private_data_len, &req);

	if (status == CM_OK)
		status = check_request(l, &req, param);
	if (status != CM_OK) {
		reject(l->transport, id, status);
		return;
	}

	struct conn *c = conn_create(l, id, &req);

	if (!c || find_lane(c)) {
		free(c);
		reject(l->transport, id, CM_NO_RESOURCES);
		return;
	}
	id->context = c;
	LIST_INSERT_HEAD(&l->transport->conns, c, entry);
	l->transport->nconns++;

	int err = set_up(c, &req);

	if (err) {
		log_peer(LOG_LEVEL_ERROR, c->nvmf.remote_address, "connection from %s: %s",
			 c->nvmf.remote_address, strerror(-err));
		abandon(c);
		return;
	}
	c->nvmf.depth = c->depth;
	c->nvmf.memory = c->mem_reserved;
	reactor_call(c->lane->reactor, adopt, c);
	err = accept_conn(c, param);
	if (err) {
		log_peer(LOG_LEVEL_ERROR, c->nvmf.remote_address, "connection from %s: %s",
			 c->nvmf.remote_address, strerror(-err));
		say_no(l->transport, id, CM_NO_RESOURCES);
		nvmf_queue_disconnect(&c->nvmf);
		return;
	}
	l->transport->naccepted++;
	/* The path MTU is known only now. Capsules wait for ESTABLISHED, which finds the verdict
	 * ready. */
	if (c->path_mtu)
		rnic_prove(c->lane->rnic, c->path_mtu);
}

static void go_live(struct message *m)
{
	struct conn *c = (void *)((uint8_t *)m - offsetof(struct conn, established));

	if (c->state != CONN_ACCEPTING)
		return;
	c->state = CONN_LIVE;
	conn_start_pending(c);
}

/* The CM tells of ESTABLISHED then, as it does of the host's last message. */
static void tell_cm(struct message *m)
{
	const struct conn *c = (void *)((uint8_t *)m - offsetof(struct conn, came_early));

	(void)rdma_notify(c->id, IBV_EVENT_COMM_EST); /* fails if it knows already */
}

/* The host's last message of the handshake may be lost, and is repeated after seconds only. That
 * there is a capsule says the same. */
void conn_came_early(struct conn *c)
{
	if (c->told_early)
		return;
	c->told_early = true;
	c->came_early.run = tell_cm;
	reactor_post(c->transport->reactors->r[0], &c->came_early);
}

void conn_established(struct conn *c)
{
	c->established.run = go_live;
	reactor_post(c->lane->reactor, &c->established);
}

/* ---- a stop in good order ---------------------------------------------------------------------
 *
 * What the host has sent is answered, what it sends from now on is not touched. So each of its
 * commands was either done and answered or not begun, and it sends the latter again when it has
 * connected anew. A status instead would count as a failure with hosts that have one path only.
 */

void conn_check_finished(struct conn *c)
{
	if (c->state == CONN_FINISHING && c->busy_reqs == 0)
		conn_kill(c);
}

static void finish(struct message *m)
{
	struct conn *c = (void *)((uint8_t *)m - offsetof(struct conn, finish));

	if (c->state == CONN_LIVE) /* or it ends already: a controller has it, so it was accepted */
		c->state = CONN_FINISHING;
	conn_check_finished(c);
}

void conn_finish(struct conn *c)
{
	if (c->finish_told)
		return;
	c->finish_told = true;
	c->finish.run = finish;
	reactor_post(c->lane->reactor, &c->finish);
}

/* ---- death ------------------------------------------------------------------------------------
 */

/* Step 2 with shared receives: the QP takes no more of them, and what it took is in the queue. */
static void last_wqe_reached(struct conn *c)
{
	if (c->last_wqe)
		return;
	c->last_wqe = true;
	reactor_timer_stop(c->lane->reactor, &c->last_wqe_timer);
	lane_drain_recvs(c);
	conn_check_drained(c);
}

static void on_last_wqe(struct message *m)
{
	struct conn *c = (void *)((uint8_t *)m - offsetof(struct conn, last_wqe_message));

	last_wqe_reached(c);
	conn_kill(c); /* if it came to the error state by itself */
}

void conn_last_wqe(struct conn *c)
{
	if (c->last_wqe_told) /* rxe tells more than once */
		return;
	c->last_wqe_told = true;
	c->last_wqe_message.run = on_last_wqe;
	reactor_post(c->lane->reactor, &c->last_wqe_message);
}

static void on_no_last_wqe(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct conn *c = w->data;

	(void)loop;
	(void)revents;
	log_debug("connection from %s, queue %u: the RNIC did not tell of the last receive in %d s",
		  c->nvmf.remote_address, c->nvmf.qid, LAST_WQE_TIMEOUT_S);
	last_wqe_reached(c);
}

/* The event may have come before we kill: a QP comes to the error state by itself too. */
static void wait_for_last_wqe(struct conn *c)
{
	if (!c->shared_recvs || c->last_wqe)
		return;
	reactor_timer_start(c->lane->reactor, &c->last_wqe_timer, on_no_last_wqe,
			    LAST_WQE_TIMEOUT_S, c);
}

static void drop_pending(struct conn *c)
{
	struct recv *recv;

	while ((recv = STAILQ_FIRST(&c->pending))) {
		STAILQ_REMOVE_HEAD(&c->pending, entry);
		if (recv->lane)
			lane_put_recv(recv->lane, recv);
		else if (recv->copied)
			free(recv);
	}
}

/* Step 1. */
void conn_kill(struct conn *c)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	if (c->state == CONN_DRAINING)
		return;
	c->state = CONN_DRAINING;
	c->cqs->draining++;
	log_debug("connection from %s, queue %u: draining", c->nvmf.remote_address, c->nvmf.qid);
	(void)rdma_disconnect(c->id); /* says goodbye if there is still somebody */
	(void)ibv_modify_qp(c->id->qp, &attr, IBV_QP_STATE);
	wait_for_last_wqe(c);
	drop_pending(c);
	nvmf_queue_close(&c->nvmf);
	conn_drop_chain(c);
	conn_cancel_requests(c);
	conn_check_drained(c);
}

static void on_gone(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct conn *c = w->data;

	(void)loop;
	(void)revents;
	reactor_timer_stop(c->lane->reactor, &c->gone_timer);
	log_debug("connection from %s, queue %u: the RNIC that is gone says nothing",
		  c->nvmf.remote_address, c->nvmf.qid);
	c->posted_recvs = 0;
	c->last_wqe = true;
	conn_forget_wrs(c);
	conn_check_drained(c);
}

/* A device that is gone moves no byte any more, but not all drivers flush what was posted. */
void conn_expect_nothing(struct conn *c)
{
	if (c->state == CONN_DRAINING && !c->dead && c->lane->rnic->gone &&
	    !ev_is_active(&c->gone_timer))
		reactor_timer_start(c->lane->reactor, &c->gone_timer, on_gone, GONE_TIMEOUT_S, c);
}

static void step_4(struct message *m)
{
	free((uint8_t *)m - offsetof(struct conn, death));
}

static void step_3(struct message *m)
{
	struct conn *c = (void *)((uint8_t *)m - offsetof(struct conn, death));
	struct reactor *reactor = c->lane->reactor;

	nvmf_queue_fini(&c->nvmf);
	take_apart(c);
	if (c->lane->rnic->gone)
		transport_reap(c->transport);
	c->death.run = step_4;
	reactor_post(reactor, &c->death);
}

void conn_check_drained(struct conn *c)
{
	bool receiving = c->shared_recvs ? !c->last_wqe : c->posted_recvs > 0;

	if (c->state != CONN_DRAINING || c->dead || receiving || c->busy_reqs > !!c->orphan)
		return;
	c->dead = true;
	reactor_timer_stop(c->lane->reactor, &c->last_wqe_timer);
	reactor_timer_stop(c->lane->reactor, &c->gone_timer);
	c->cqs->draining--;
	c->cqs->starving -= c->starving;
	c->starving = false;
	if (c->dirty)
		STAILQ_REMOVE(&c->lane->dirty, c, conn, dirty_entry);
	LIST_REMOVE(c, bucket);
	c->death.run = step_3;
	reactor_post(c->transport->reactors->r[0], &c->death);
}
