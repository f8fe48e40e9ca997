/*
 * A command's way: capsule, SGL, staging, RDMA, execution, response.
 *
 *      FREE --capsule--> WAIT_SLOT --> [WAIT_WRS] --> READING_HOST --> [FLUSHING] --> AT_TARGET
 *                           |_____________________(C2H)_____________________________^  ^  |
 *                  (no data, in-capsule data)__________________________________________|  |
 *                                                                                         |
 *                                              FREE <-- SENDING <-- [WAIT_WRS] <-----------
 *
 * An I/O that fails in a CMB goes from AT_TARGET back to WAIT_SLOT or READING_HOST, once, with host
 * memory.
 */
#include "transport/rdma.h"
#include "target/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct request *take_request(struct conn *c);
static void start_request(struct request *req, struct recv *recv);
static void release(struct request *req);
static void restage(struct nvmf_req *nvmf);
static void read_done(struct wr *wr, const struct ibv_wc *wc);
static void post_pieces(struct request *req);

/* ---- receives ---------------------------------------------------------------------------------
 */

static struct request *request_of_read(struct wr *wr)
{
	return (void *)((uint8_t *)wr - offsetof(struct request, read));
}

static struct request *request_of_send(struct wr *wr)
{
	return (void *)((uint8_t *)wr - offsetof(struct request, send));
}

static void protocol_error(struct conn *c, const char *what)
{
	log_peer(LOG_LEVEL_WARNING, c->nvmf.remote_address,
		 "connection from %s, queue %u: %s, disconnecting", c->nvmf.remote_address,
		 c->nvmf.qid, what);
	conn_kill(c);
}

/* Only the first failing completion says what happened; the rest are flushed. */
static void completion_failed(struct conn *c, const char *what, const struct ibv_wc *wc)
{
	if (c->state == CONN_DRAINING)
		return;
	if (wc->status != IBV_WC_WR_FLUSH_ERR)
		log_peer(LOG_LEVEL_WARNING, c->nvmf.remote_address,
			 "connection from %s, queue %u: %s failed: %s (vendor error %#x)",
			 c->nvmf.remote_address, c->nvmf.qid, what, ibv_wc_status_str(wc->status),
			 wc->vendor_err);
	conn_kill(c);
}

/* A registered block begins with the SQEs and whatever else is small, up to a page boundary; then
 * comes the in-capsule data of each receive. */
static size_t page_up(size_t len)
{
	return (len + P2P_PAGE_SIZE - 1) / P2P_PAGE_SIZE * P2P_PAGE_SIZE;
}

/* What a drive may get straight from the capsule does not share a page with others; small ones are
 * descriptors, or data for the CPU. */
static size_t stride(size_t in_capsule_len)
{
	return in_capsule_len >= P2P_PAGE_SIZE ? page_up(in_capsule_len)
					       : (in_capsule_len + IN_CAPSULE_ALIGN - 1) /
							 IN_CAPSULE_ALIGN * IN_CAPSULE_ALIGN;
}

/* It must wait, and would keep a receive that others share: its bytes move to memory of their own
 * (counted in mem_reserved, as the receives that the connection does not have). */
static struct recv *copy_capsule(struct recv *shared)
{
	size_t head = sizeof(struct recv) + sizeof(struct nvme_sqe);
	struct recv *copy;

	head = (head + IN_CAPSULE_ALIGN - 1) / IN_CAPSULE_ALIGN * IN_CAPSULE_ALIGN;
	copy = aligned_alloc(IN_CAPSULE_ALIGN, head + stride(shared->in_capsule_len));
	if (!copy)
		return shared;
	*copy = (struct recv){ .conn = shared->conn,
			       .sqe = (struct nvme_sqe *)(copy + 1),
			       .in_capsule = (uint8_t *)copy + head,
			       .in_capsule_len = shared->in_capsule_len,
			       .copied = true };
	*copy->sqe = *shared->sqe;
	if (copy->in_capsule_len)
		memcpy(copy->in_capsule, shared->in_capsule, copy->in_capsule_len);
	lane_put_recv(shared->lane, shared);
	return copy;
}

static bool must_wait(const struct conn *c)
{
	return c->state != CONN_LIVE || !STAILQ_EMPTY(&c->pending) ||
	       (STAILQ_EMPTY(&c->free_reqs) && c->nreqs_touched == c->nreqs);
}

static void capsule_arrived(struct conn *c, struct recv *recv, uint32_t len)
{
	recv->conn = c;
	recv->in_capsule_len = len - (uint32_t)sizeof(struct nvme_sqe);
	if (c->state == CONN_ACCEPTING)
		conn_came_early(c);
	if (recv->lane && must_wait(c))
		recv = copy_capsule(recv);
	STAILQ_INSERT_TAIL(&c->pending, recv, entry);
	c->npending++;
	/* A host may not have more commands out than its queue has entries; it would take receives
	 * that others share. */
	if (c->npending > c->depth)
		protocol_error(c, "more commands than the queue has entries");
	else
		conn_start_pending(c);
}

static void recv_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct recv *recv = (void *)((uint8_t *)wr - offsetof(struct recv, wr));
	struct lane *l = recv->lane;
	struct conn *c = l ? lane_find_conn(l, wc->qp_num) : recv->conn;

	if (l)
		l->srq.posted--;
	else
		c->posted_recvs--;
	if (c && wc->status == IBV_WC_SUCCESS && c->state != CONN_DRAINING &&
	    wc->byte_len >= sizeof(struct nvme_sqe)) {
		capsule_arrived(c, recv, wc->byte_len);
		return;
	}
	if (l)
		lane_put_recv(l, recv);
	if (!c) /* it was drained without this one: the RNIC did not tell us of the last */
		return;
	if (wc->status != IBV_WC_SUCCESS)
		completion_failed(c, "receive", wc);
	else if (c->state != CONN_DRAINING)
		protocol_error(c, "capsule shorter than a submission queue entry");
	conn_check_drained(c);
}

void recv_init(struct recv *recv, struct ibv_mr *mr, struct nvme_sqe *sqe, uint8_t *in_capsule,
	       size_t in_capsule_len)
{
	recv->wr.done = recv_done;
	recv->sqe = sqe;
	recv->in_capsule = in_capsule;
	recv->sge[0] = (struct ibv_sge){ (uintptr_t)sqe, sizeof(*sqe), mr->lkey };
	recv->sge[1] =
		(struct ibv_sge){ (uintptr_t)in_capsule, (uint32_t)in_capsule_len, mr->lkey };
	recv->recv_wr = (struct ibv_recv_wr){ .wr_id = (uintptr_t)&recv->wr,
					      .sg_list = recv->sge,
					      .num_sge = in_capsule ? 2 : 1 };
}

size_t recvs_head_len(size_t len)
{
	return page_up(len);
}

size_t recvs_data_len(unsigned int n, size_t in_capsule_len)
{
	return n * stride(in_capsule_len);
}

void recvs_init(struct recv *recvs, unsigned int n, struct ibv_mr *mr, uint8_t *mem, size_t head,
		size_t in_capsule_len)
{
	size_t each = stride(in_capsule_len);

	for (unsigned int i = 0; i < n; i++)
		recv_init(&recvs[i], mr, (struct nvme_sqe *)mem + i,
			  in_capsule_len ? mem + head + each * i : NULL, in_capsule_len);
}

int conn_post_recv(struct recv *recv)
{
	struct ibv_recv_wr *bad;
	int err = ibv_post_recv(recv->conn->id->qp, &recv->recv_wr, &bad);

	if (!err)
		recv->conn->posted_recvs++;
	return -err;
}

/* Nothing in it is needed any more. */
static void done_with_recv(struct request *req)
{
	struct recv *recv = req->recv;
	struct conn *c = req->conn;

	req->recv = NULL;
	if (!recv)
		return;
	if (recv->lane)
		lane_put_recv(recv->lane, recv);
	else if (recv->copied)
		free(recv);
	else if (c->state != CONN_DRAINING && conn_post_recv(recv))
		protocol_error(c, "posting a receive failed");
}

void conn_start_pending(struct conn *c)
{
	struct request *req;

	while (c->state == CONN_LIVE && !STAILQ_EMPTY(&c->pending) && (req = take_request(c))) {
		struct recv *recv = STAILQ_FIRST(&c->pending);

		STAILQ_REMOVE_HEAD(&c->pending, entry);
		c->npending--;
		start_request(req, recv);
	}

	bool starving = c->state == CONN_LIVE && !STAILQ_EMPTY(&c->pending);

	c->cqs->starving += starving;
	c->cqs->starving -= c->starving;
	c->starving = starving;
}

/* ---- posting -----------------------------------------------------------------------------------
 *
 * Work requests are collected for each queue pair and posted in one chain at the end of the round.
 */

static void queue_wrs(struct conn *c, struct ibv_send_wr *first, struct ibv_send_wr *last)
{
	last->next = NULL;
	*c->chain_end = first;
	c->chain_end = &last->next;
	lane_mark_dirty(c);
}

/*
 * The RNIC took the first of a command's work requests and refused the others. What it took is
 * unsignalled: nobody says when it is done. So the slot stays where it is until the QP is no more.
 */
static void set_orphan(struct conn *c, struct wr *last)
{
	struct request *req =
		last->done == read_done ? request_of_read(last) : request_of_send(last);

	assert(!c->orphan);
	c->orphan = req;
	c->cqs->reads_out -= req->state == REQ_READING_HOST;
}

/* @cut: the first of them belongs to a command of which some have been posted. */
static void cancel_wrs(struct conn *c, struct ibv_send_wr *wr, bool cut)
{
	static const struct ibv_wc flushed = { .status = IBV_WC_WR_FLUSH_ERR };

	while (wr) {
		struct ibv_send_wr *next = wr->next;
		struct wr *who = (void *)(uintptr_t)wr->wr_id;
		bool last = wr->send_flags & IBV_SEND_SIGNALED;

		if (cut && last)
			set_orphan(c, who);
		else if (!cut)
			who->done(who, &flushed);
		cut = cut && !last;
		wr = next;
	}
}

static struct ibv_send_wr *take_chain(struct conn *c)
{
	struct ibv_send_wr *first = c->chain;

	c->chain = NULL;
	c->chain_end = &c->chain;
	return first;
}

void conn_post_chain(struct conn *c)
{
	struct ibv_send_wr *first = take_chain(c), *bad = NULL, *posted = NULL;

	if (!first || !ibv_post_send(c->id->qp, first, &bad))
		return;
	for (struct ibv_send_wr *wr = first; wr && wr != bad; wr = wr->next)
		posted = wr;
	protocol_error(c, "posting failed");
	cancel_wrs(c, bad, posted && !(posted->send_flags & IBV_SEND_SIGNALED));
	conn_check_drained(c);
}

void conn_drop_chain(struct conn *c)
{
	cancel_wrs(c, take_chain(c), false);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

/* The one place where a request changes state; the table is the picture above. */
static void set_state(struct request *req, enum request_state next)
{
	static const uint8_t allowed[] = {
		[REQ_FREE] = 1 << REQ_AT_TARGET,
		[REQ_WAIT_SLOT] = 1 << REQ_READING_HOST | 1 << REQ_WAIT_WRS | 1 << REQ_AT_TARGET |
				  1 << REQ_FREE,
		[REQ_WAIT_WRS] = 1 << REQ_READING_HOST | 1 << REQ_SENDING | 1 << REQ_FREE,
		[REQ_READING_HOST] = 1 << REQ_FLUSHING | 1 << REQ_AT_TARGET | 1 << REQ_FREE,
		[REQ_FLUSHING] = 1 << REQ_AT_TARGET | 1 << REQ_FREE,
		[REQ_AT_TARGET] = 1 << REQ_WAIT_SLOT | 1 << REQ_READING_HOST | 1 << REQ_WAIT_WRS |
				  1 << REQ_SENDING | 1 << REQ_FREE,
		[REQ_SENDING] = 1 << REQ_FREE,
	};

	assert(allowed[req->state] & 1 << next);
	req->state = next;
}

/* ---- the work requests of the second and further pieces -----------------------------------------
 *
 * Every request has room for two in the send queue: its READ, or its WRITE and its SEND. What a
 * payload of many pieces needs beyond that is taken from a few that the connection's requests
 * share, in order of arrival; nobody holds some while waiting for more.
 */

static void claim_wrs(struct request *req)
{
	struct conn *c = req->conn;
	struct ibv_send_wr **end = &req->more_wrs;

	for (unsigned int n = req->sgl.npieces - 1u; n > 0; n--) {
		*end = c->free_wrs;
		if (*end)
			c->free_wrs = (*end)->next;
		else
			*end = &c->piece_wrs[c->npiece_wrs_touched++].wr;
		end = &(*end)->next;
		c->nfree_wrs--;
	}
	*end = NULL;
}

/* False: @req waits; post_pieces() follows. */
static bool take_wrs(struct request *req)
{
	struct conn *c = req->conn;

	if (!STAILQ_EMPTY(&c->wr_waiters) || c->nfree_wrs < req->sgl.npieces - 1u) {
		set_state(req, REQ_WAIT_WRS);
		STAILQ_INSERT_TAIL(&c->wr_waiters, req, entry);
		c->cqs->starving++;
		return false;
	}
	claim_wrs(req);
	return true;
}

/* The RNIC is done with them. (Its chain may go on behind the last.) */
static void give_wrs(struct request *req)
{
	struct conn *c = req->conn;
	struct ibv_send_wr *wr = req->more_wrs, *next;

	if (!wr)
		return;
	req->more_wrs = NULL;
	for (unsigned int n = req->sgl.npieces - 1u; n > 0; n--) {
		next = wr->next;
		wr->next = c->free_wrs;
		c->free_wrs = wr;
		c->nfree_wrs++;
		wr = next;
	}
	while (c->state != CONN_DRAINING && (req = STAILQ_FIRST(&c->wr_waiters)) &&
	       c->nfree_wrs >= req->sgl.npieces - 1u) {
		STAILQ_REMOVE_HEAD(&c->wr_waiters, entry);
		c->cqs->starving--;
		claim_wrs(req);
		post_pieces(req);
	}
}

static void give_slot(struct request *req)
{
	struct slot *slot = req->slot;

	req->slot = NULL;
	if (slot && !slot->cache)
		lane_give_spare(req->conn->lane, slot);
	else if (slot)
		slot_give(slot);
}

/* Back to the free list. Called once nothing of the request is out: no RDMA, no backend I/O. */
static void release(struct request *req)
{
	struct conn *c = req->conn;

	c->cqs->hanging_up -= req->state == REQ_SENDING && req->nvmf.hangs_up;
	set_state(req, REQ_FREE);
	done_with_recv(req);
	give_slot(req);
	nvmf_req_drop(&req->nvmf);
	give_wrs(req);
	c->busy_reqs--;
	STAILQ_INSERT_HEAD(&c->free_reqs, req, entry);
	conn_start_pending(c);
	conn_check_finished(c);
	conn_check_drained(c);
}

/* Nothing of it is out any more, now that the queue pair is destroyed. */
void conn_settle_orphan(struct conn *c)
{
	nvmf_req_drop(&c->orphan->nvmf);
	give_slot(c->orphan);
}

static void fail_request(struct request *req, uint16_t status)
{
	nvmf_req_complete(&req->nvmf, status);
}

static void execute(struct request *req)
{
	set_state(req, REQ_AT_TARGET);
	nvmf_req_execute(&req->nvmf);
}

/* ---- flush: is the host's data in the CMB? ------------------------------------------------------
 *
 * The completion of an RDMA READ says that the RNIC sent the data on its way: the completion goes
 * to host memory, the data to another drive, and PCIe orders only what takes one way. A read of the
 * last bytes takes the data's way and cannot overtake it (PCIe 6.0, 2.4.1, table of ordering
 * rules).
 */

#define FLUSH_LEN 8u

static void flush_failed(struct request *req)
{
	set_state(req, REQ_AT_TARGET);
	restage(&req->nvmf); /* the pages are gone, and the host's data with them */
}

static void flush_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct request *req = (void *)((uint8_t *)wr - offsetof(struct request, flush));
	struct lane *l = req->conn->lane;

	l->flush_out--;
	if (req->conn->state == CONN_DRAINING) {
		release(req);
	} else if (wc->status == IBV_WC_SUCCESS) {
		execute(req);
	} else {
		l->flush_broken = true;
		flush_failed(req);
	}
}

/* The RNIC sends the last bytes to itself: it must read them from the CMB to do so. No rkey of ours
 * is needed, nobody gets remote access to a window. False: it cannot be posted. */
static bool post_flush(struct request *req, const uint8_t *last)
{
	struct lane *l = req->conn->lane;
	struct ibv_sge sge = { (uintptr_t)last, FLUSH_LEN, req->slot->lkey };
	struct ibv_send_wr *bad,
		wr = { .wr_id = (uintptr_t)&req->flush,
		       .sg_list = &sge,
		       .num_sge = 1,
		       .opcode = IBV_WR_RDMA_WRITE,
		       .send_flags = IBV_SEND_SIGNALED,
		       .wr.rdma = { (uintptr_t)l->flush.far_buf,
				    l->flush.far_mr ? l->flush.far_mr->rkey : 0 } };

	if (!lane_can_flush(l) || ibv_post_send(l->flush.near, &wr, &bad))
		return false;
	l->flush_out++;
	counter_add(&l->rdma_flushes, 1);
	return true;
}

static void flush(struct request *req)
{
	uint8_t *last = req->slot->va + req->nvmf.len - FLUSH_LEN;
	uint8_t bytes[FLUSH_LEN];

	set_state(req, REQ_FLUSHING);
	if (req->conn->transport->cmb_flush == CONFIG_FLUSH_RDMA_READ && post_flush(req, last))
		return;
	counter_add(&req->conn->lane->cpu_flushes, 1);
	if (provider_peek(req->slot->cache->provider, last, bytes, FLUSH_LEN))
		flush_failed(req);
	else
		execute(req);
}

/* ---- RDMA: one operation for each piece of the payload ------------------------------------------
 *
 * Only the last work request of a chain is signalled: a queue pair completes them in order. How
 * many READs may be out, the queue pair itself heeds (max_rd_atomic, see accept_conn()): it begins
 * the next one when one is over, sooner than we could.
 */

/* Of one that is not the last: heard of only when it failed, and then those behind it are flushed
 * too. */
static void piece_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct request *req = (void *)((uint8_t *)wr - offsetof(struct request, piece_wr));

	if (wc->status != IBV_WC_SUCCESS)
		completion_failed(req->conn, req->nvmf.dir == DATA_H2C ? "RDMA READ" : "RDMA WRITE",
				  wc);
}

/* Return: the last of the chain that begins with data_wr. */
static struct ibv_send_wr *chain_pieces(struct request *req, enum ibv_wr_opcode opcode)
{
	struct ibv_send_wr *wr = &req->data_wr, *next = req->more_wrs;
	struct ibv_sge *sge = &req->data_sge;

	for (unsigned int i = 0;; i++) {
		const struct sgl_piece *p = &req->pieces[i];

		*sge = (struct ibv_sge){ (uintptr_t)req->slot->va + p->offset, p->len,
					 req->slot->lkey };
		*wr = (struct ibv_send_wr){ .wr_id = (uintptr_t)&req->piece_wr,
					    .next = next,
					    .sg_list = sge,
					    .num_sge = 1,
					    .opcode = opcode,
					    .wr.rdma = { p->addr, p->key } };
		if (i + 1u == req->sgl.npieces)
			return wr;
		wr = next;
		sge = &((struct piece_wr *)wr)->sge;
		next = wr->next;
	}
}

static void read_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct request *req = request_of_read(wr);

	req->conn->cqs->reads_out--;
	req->conn->progress++;
	if (wc->status != IBV_WC_SUCCESS) {
		completion_failed(req->conn, "RDMA READ", wc);
		release(req);
		return;
	}
	give_wrs(req);
	if (stage_is_cmb(req->nvmf.place) && req->conn->transport->cmb_flush != CONFIG_FLUSH_NONE)
		flush(req);
	else
		execute(req);
}

static void post_reads(struct request *req)
{
	struct ibv_send_wr *last = chain_pieces(req, IBV_WR_RDMA_READ);

	last->wr_id = (uintptr_t)&req->read;
	last->send_flags = IBV_SEND_SIGNALED;
	set_state(req, REQ_READING_HOST);
	req->conn->cqs->reads_out++;
	queue_wrs(req->conn, &req->data_wr, last);
}

static void read_host(struct request *req)
{
	if (req->sgl.npieces == 1 || take_wrs(req))
		post_reads(req);
}

/* ---- staging -----------------------------------------------------------------------------------
 */

static void slot_ready(struct request *req, struct slot *slot)
{
	req->slot = slot;
	req->nvmf.data = slot->va;
	if (req->nvmf.dir == DATA_H2C) {
		read_host(req);
		return;
	}
	if (req->state != REQ_AT_TARGET)
		set_state(req, REQ_AT_TARGET);
	nvmf_req_execute(&req->nvmf);
}

static void stage(struct request *req);

/* Without a slot: the CMB is lost, then there may be another place; or nobody will give one back.
 */
static void waited_slot_ready(struct slot_waiter *w, struct slot *slot)
{
	struct request *req = (void *)((uint8_t *)w - offsetof(struct request, waiter));

	if (slot) {
		slot_ready(req, slot);
	} else if (w->cache->provider->state != PROVIDER_ACTIVE) {
		stage(req);
	} else {
		set_state(req, REQ_AT_TARGET);
		fail_request(req, NVME_NS_NOT_READY);
	}
}

static void staged(struct request *req, const struct stage_result *r)
{
	req->nvmf.place = r->place;
	if (r->slot) {
		slot_ready(req, r->slot);
	} else if (r->wait) {
		if (req->state != REQ_WAIT_SLOT)
			set_state(req, REQ_WAIT_SLOT);
		req->waiter.len = req->nvmf.len;
		req->waiter.owner = r->owner;
		req->waiter.ready = waited_slot_ready;
		slot_wait(r->wait, &req->waiter);
	} else {
		if (req->state == REQ_WAIT_SLOT)
			set_state(req, REQ_AT_TARGET);
		fail_request(req, r->place == STAGE_HOST_UNALIGNED ? NVME_SGL_GRANULARITY | NVME_DNR
								   : NVME_NS_NOT_READY);
	}
}

/* Whose account it is on. */
static uint8_t part_of(const struct conn *c)
{
	return c->nvmf.state == QUEUE_LIVE ? nvmf_queue_part(&c->nvmf) : 0;
}

static void stage(struct request *req)
{
	struct staging *st = req->conn->lane->staging;
	struct stage_client *client = nvmf_req_stage(&req->nvmf);
	uint8_t part = part_of(req->conn);
	struct stage_result r =
		nvmf_req_cpu_data(&req->nvmf)
			? staging_take_host(st, client, part, STAGE_HOST_CPU, req->nvmf.len)
			: staging_take(st, client, part, req->conn->path_mtu, !req->unaligned,
				       req->nvmf.len);

	/* however much others hold: a host can connect */
	if (!r.slot && req->sqe.opcode == OP_FABRICS && req->nvmf.len <= SPARE_LEN)
		r.slot = lane_take_spare(req->conn->lane);
	staged(req, &r);
}

static void restage(struct nvmf_req *nvmf)
{
	struct request *req = (struct request *)nvmf;
	struct stage_result r;

	if (req->conn->state == CONN_DRAINING) {
		release(req);
		return;
	}
	give_slot(req);
	if (nvmf_req_stage(nvmf)->view.policy == STAGE_REQUIRE) {
		fail_request(req, NVME_NS_NOT_READY);
		return;
	}
	r = staging_take_host(req->conn->lane->staging, nvmf_req_stage(nvmf), part_of(req->conn),
			      STAGE_HOST_RETRIED, nvmf->len);
	staged(req, &r);
}

/* ---- SGL ----------------------------------------------------------------------------------------
 */

/* The receive buffer is where the data stays. A drive wants its data on a boundary, the host need
 * not keep to one. */
static void use_in_capsule(struct request *req)
{
	uint8_t *data = req->recv->in_capsule + req->sgl.in_capsule_offset;

	if (req->sgl.in_capsule_offset % IN_CAPSULE_ALIGN) {
		memmove(req->recv->in_capsule, data, req->nvmf.len);
		data = req->recv->in_capsule;
	}
	req->nvmf.data = data;
	req->nvmf.place = STAGE_HOST_IN_CAPSULE;
}

/* All descriptors are read here, before the receive is posted again. */
static uint16_t map_sgl(struct request *req)
{
	struct conn *c = req->conn;
	const struct sgl_source source = {
		.sgl1 = &req->sqe.dptr,
		.capsule = req->recv->in_capsule,
		.capsule_len = req->recv->in_capsule_len,
		.in_capsule_max = nvmf_queue_in_capsule_len(&c->nvmf),
		.len = req->nvmf.len,
		.dir = req->nvmf.dir,
		.excess_ok = nvmf_req_excess_ok(&req->nvmf),
	};

	req->pieces = sgl_is_list(source.sgl1) ? &c->pieces[(req - c->reqs) * SGL_DATA_BLOCKS_MAX]
					       : &req->piece;

	uint16_t status = sgl_decode(&source, req->pieces, &req->sgl);

	if (status) {
		req->sgl = (struct sgl){ 0 };
		return status;
	}
	if (req->sgl.in_capsule)
		use_in_capsule(req);
	req->sgl.invalidate = req->sgl.invalidate &&
			      c->lane->rnic->attr.device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS;
	req->unaligned = false;
	for (unsigned int i = 0; i < req->sgl.npieces; i++)
		req->unaligned |= req->pieces[i].offset % P2P_PAGE_SIZE != 0;
	return NVME_OK;
}

/* Shared receives become few: in-capsule data is copied away, so that commands that take long (a
 * slow drive's) leave receives to the others. */
static void bounce_in_capsule(struct request *req)
{
	struct recv *recv = req->recv;
	struct srq *srq = recv->lane ? &recv->lane->srq : NULL;

	if (!srq || srq->posted >= srq->n / 2)
		return;
	if (!req->bounce)
		req->bounce = aligned_alloc(P2P_PAGE_SIZE, recv->sge[1].length);
	if (!req->bounce)
		return;
	memcpy(req->bounce, req->nvmf.data, req->nvmf.len);
	req->nvmf.data = req->bounce;
	counter_add(&recv->lane->bounced, 1);
	done_with_recv(req);
}

static void start_request(struct request *req, struct recv *recv)
{
	req->conn->busy_reqs++;
	set_state(req, REQ_AT_TARGET);
	req->recv = recv;
	req->sqe = *recv->sqe;
	req->nvmf.data = NULL;
	req->sgl = (struct sgl){ 0 };

	uint16_t status = nvmf_req_check(&req->nvmf);

	if (!status && req->nvmf.dir != DATA_NONE)
		status = map_sgl(req);
	if (!req->nvmf.data)
		done_with_recv(req);
	else
		bounce_in_capsule(req);
	if (status)
		fail_request(req, status);
	else if (req->nvmf.dir == DATA_NONE || req->nvmf.data)
		nvmf_req_execute(&req->nvmf);
	else
		stage(req);
}

/* ---- response ----------------------------------------------------------------------------------
 */

static void send_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct request *req = request_of_send(wr);

	req->conn->progress++;
	if (wc->status != IBV_WC_SUCCESS)
		completion_failed(req->conn, "response", wc);
	release(req);
}

bool conn_waits_for_host(const struct conn *c)
{
	for (unsigned int i = 0; i < c->nreqs_touched; i++)
		if (c->reqs[i].state == REQ_SENDING || c->reqs[i].state == REQ_READING_HOST)
			return true;
	return false;
}

void conn_takes_nothing(struct conn *c)
{
	protocol_error(c, "the host takes no responses, or lets nothing be read");
}

static void build_send(struct request *req)
{
	struct conn *c = req->conn;
	struct nvme_cqe *cqe = &req->nvmf.cqe;

	if (c->cqes) {
		cqe = &c->cqes[req - c->reqs];
		*cqe = req->nvmf.cqe;
	}
	req->cqe_sge = (struct ibv_sge){ (uintptr_t)cqe, sizeof(*cqe), c->cqes ? c->mr->lkey : 0 };
	req->send_wr = (struct ibv_send_wr){
		.wr_id = (uintptr_t)&req->send,
		.sg_list = &req->cqe_sge,
		.num_sge = 1,
		.opcode = req->sgl.invalidate ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED | (c->send_inline ? IBV_SEND_INLINE : 0),
	};
	if (req->sgl.invalidate)
		req->send_wr.invalidate_rkey = req->sgl.invalidate_key;
}

/* Is there anything to WRITE before the response? */
static bool has_data_to_write(const struct request *req)
{
	return req->nvmf.dir == DATA_C2H && req->slot && req->sgl.npieces &&
	       !get16(req->nvmf.cqe.status);
}

static void post_response(struct request *req)
{
	struct ibv_send_wr *first = &req->send_wr;

	build_send(req);
	if (has_data_to_write(req)) {
		first = &req->data_wr;
		chain_pieces(req, IBV_WR_RDMA_WRITE)->next = &req->send_wr;
	}
	set_state(req, REQ_SENDING);
	req->conn->cqs->hanging_up += req->nvmf.hangs_up;
	queue_wrs(req->conn, first, &req->send_wr);
}

static void post_pieces(struct request *req)
{
	if (req->nvmf.dir == DATA_H2C)
		post_reads(req);
	else
		post_response(req);
}

/* The target is done with the command: its receive first, so that the host's next command finds it,
 * then data and response. */
static void respond(struct nvmf_req *nvmf)
{
	struct request *req = (struct request *)nvmf;
	struct conn *c = req->conn;

	if (c->state == CONN_DRAINING) {
		release(req);
		return;
	}
	if (nvmf->dir == DATA_H2C)
		give_slot(req);
	done_with_recv(req);
	if (c->state == CONN_DRAINING) /* since a moment */
		release(req);
	else if (req->sgl.npieces < 2 || !has_data_to_write(req) || take_wrs(req))
		post_response(req);
}

static void disconnect(struct nvmf_queue *q)
{
	conn_kill((struct conn *)q);
	conn_expect_nothing((struct conn *)q);
}

/* Of what waits for a slot nothing was done yet. */
static bool abort_request(struct nvmf_queue *q, uint16_t cid)
{
	struct conn *c = (struct conn *)q;
	struct slot_domain *d;

	for (unsigned int i = 0; i < c->nreqs_touched; i++) {
		struct request *req = &c->reqs[i];

		if (req->state != REQ_WAIT_SLOT || get16(req->sqe.cid) != cid)
			continue;
		d = req->waiter.cache->domain;
		slot_unwait(&req->waiter);
		set_state(req, REQ_AT_TARGET);
		fail_request(req, NVME_ABORT_REQUESTED);
		slot_serve(d);
		return true;
	}
	return false;
}

const struct nvmf_queue_ops conn_queue_ops = {
	.respond = respond,
	.restage = restage,
	.disconnect = disconnect,
	.abort = abort_request,
};

/* ---- life --------------------------------------------------------------------------------------
 */

static void init_request(struct conn *c, struct request *req)
{
	req->nvmf.queue = &c->nvmf;
	req->nvmf.sqe = &req->sqe;
	req->conn = c;
	req->read.done = read_done;
	req->piece_wr.done = piece_done;
	req->send.done = send_done;
	req->flush.done = flush_done;
}

/* One that was used before, if there is one; NULL: all are busy. */
static struct request *take_request(struct conn *c)
{
	struct request *req = STAILQ_FIRST(&c->free_reqs);

	if (req) {
		STAILQ_REMOVE_HEAD(&c->free_reqs, entry);
		return req;
	}
	if (c->nreqs_touched == c->nreqs)
		return NULL;
	req = &c->reqs[c->nreqs_touched++];
	init_request(c, req);
	return req;
}

/* What was posted will never be heard of, and moves nothing any more. */
void conn_forget_wrs(struct conn *c)
{
	for (unsigned int i = 0; i < c->nreqs_touched; i++) {
		struct request *req = &c->reqs[i];

		if (req == c->orphan)
			continue;
		if (req->state == REQ_READING_HOST)
			c->cqs->reads_out--;
		if (req->state == REQ_READING_HOST || req->state == REQ_FLUSHING ||
		    req->state == REQ_SENDING)
			release(req);
	}
}

void conn_free_requests(struct conn *c)
{
	for (unsigned int i = 0; i < c->nreqs_touched; i++)
		free(c->reqs[i].bounce);
}

/* The requests that nobody will complete: those that wait for a slot or for room in the send queue.
 * The others come back by their flushed completion, or from the target. */
void conn_cancel_requests(struct conn *c)
{
	struct slot_domain *d = NULL;

	STAILQ_INIT(&c->wr_waiters);
	for (unsigned int i = 0; i < c->nreqs_touched; i++) {
		struct request *req = &c->reqs[i];

		if (req->state == REQ_WAIT_SLOT) {
			d = req->waiter.cache->domain;
			slot_unwait(&req->waiter);
		} else if (req->state == REQ_WAIT_WRS) {
			c->cqs->starving--;
		} else {
			continue;
		}
		release(req);
	}
	if (d) /* who waited behind them */
		slot_serve(d);
}
