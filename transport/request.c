/*
 * A command's way: capsule, SGL, staging, RDMA, execution, response.
 *
 *      FREE --capsule--> WAIT_SLOT --> READING_HOST --> AT_TARGET --> SENDING --> FREE
 *                           |______________(C2H)___________^  ^
 *                  (no data, in-capsule data)_________________|
 */
#include "transport/rdma.h"
#include "target/log.h"

#include <assert.h>

static void start_request(struct conn *c, struct recv *recv);

/* ---- receives ---------------------------------------------------------------------------------
 */

static void protocol_error(struct conn *c, const char *what)
{
	log_warn("connection from %s, queue %u: %s, disconnecting", c->nvmf.remote_address,
		 c->nvmf.qid, what);
	conn_kill(c);
}

/* Only the first failing completion says what happened; the rest are flushed. */
static void completion_failed(struct conn *c, const char *what, const struct ibv_wc *wc)
{
	if (c->state == CONN_DRAINING)
		return;
	if (wc->status != IBV_WC_WR_FLUSH_ERR)
		log_warn("connection from %s, queue %u: %s failed: %s (vendor error %#x)",
			 c->nvmf.remote_address, c->nvmf.qid, what, ibv_wc_status_str(wc->status),
			 wc->vendor_err);
	conn_kill(c);
}

static void recv_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct recv *recv = (void *)((uint8_t *)wr - offsetof(struct recv, wr));
	struct conn *c = recv->conn;

	c->posted_recvs--;
	if (wc->status != IBV_WC_SUCCESS) {
		completion_failed(c, "receive", wc);
	} else if (c->state != CONN_DRAINING) {
		if (wc->byte_len < sizeof(struct nvme_sqe)) {
			protocol_error(c, "capsule shorter than a submission queue entry");
		} else {
			recv->in_capsule_len = wc->byte_len - (uint32_t)sizeof(struct nvme_sqe);
			STAILQ_INSERT_TAIL(&c->pending, recv, entry);
			conn_start_pending(c);
			return;
		}
	}
	conn_check_drained(c);
}

int conn_post_recv(struct recv *recv)
{
	struct ibv_recv_wr *bad;
	int err;

	recv->wr.done = recv_done;
	err = ibv_post_recv(recv->conn->id->qp, &recv->recv_wr, &bad);
	if (!err)
		recv->conn->posted_recvs++;
	return -err;
}

void conn_start_pending(struct conn *c)
{
	while (c->state == CONN_LIVE && !STAILQ_EMPTY(&c->pending) &&
	       !STAILQ_EMPTY(&c->free_reqs)) {
		struct recv *recv = STAILQ_FIRST(&c->pending);

		STAILQ_REMOVE_HEAD(&c->pending, entry);
		start_request(c, recv);
	}
}

/* ---- requests ---------------------------------------------------------------------------------
 */

/* The one place where a request changes state; the table is the picture above. */
static void set_state(struct request *req, enum request_state next)
{
	static const uint8_t allowed[] = {
		[REQ_FREE] = 1 << REQ_AT_TARGET,
		[REQ_WAIT_SLOT] = 1 << REQ_READING_HOST | 1 << REQ_AT_TARGET | 1 << REQ_FREE,
		[REQ_READING_HOST] = 1 << REQ_AT_TARGET | 1 << REQ_FREE,
		[REQ_AT_TARGET] = 1 << REQ_WAIT_SLOT | 1 << REQ_READING_HOST | 1 << REQ_SENDING |
				  1 << REQ_FREE,
		[REQ_SENDING] = 1 << REQ_FREE,
	};

	assert(allowed[req->state] & 1 << next);
	req->state = next;
}

static void give_slot(struct request *req)
{
	struct slot *slot = req->slot;

	req->slot = NULL;
	if (slot)
		slot_give(slot);
}

/* Back to the free list. Called once nothing of the request is out: no RDMA, no backend I/O. */
static void release(struct request *req)
{
	struct conn *c = req->conn;

	set_state(req, REQ_FREE);
	req->recv = NULL;
	give_slot(req);
	c->busy_reqs--;
	STAILQ_INSERT_HEAD(&c->free_reqs, req, entry);
	conn_start_pending(c);
	conn_check_drained(c);
}

static void fail_request(struct request *req, uint16_t status)
{
	nvmf_req_complete(&req->nvmf, status);
}

/* ---- RDMA READ: the host's data ----------------------------------------------------------------
 */

static void read_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct request *req = (void *)((uint8_t *)wr - offsetof(struct request, read));

	if (wc->status != IBV_WC_SUCCESS) {
		completion_failed(req->conn, "RDMA READ", wc);
		release(req);
		return;
	}
	set_state(req, REQ_AT_TARGET);
	nvmf_req_execute(&req->nvmf);
}

static void read_host(struct request *req)
{
	struct ibv_send_wr *bad;

	req->data_sge =
		(struct ibv_sge){ (uintptr_t)req->slot->va, req->nvmf.len, req->slot->lkey };
	req->data_wr = (struct ibv_send_wr){ .wr_id = (uintptr_t)&req->read,
					     .sg_list = &req->data_sge,
					     .num_sge = 1,
					     .opcode = IBV_WR_RDMA_READ,
					     .send_flags = IBV_SEND_SIGNALED,
					     .wr.rdma = { req->remote_addr, req->remote_key } };
	set_state(req, REQ_READING_HOST);
	if (ibv_post_send(req->conn->id->qp, &req->data_wr, &bad)) {
		protocol_error(req->conn, "posting an RDMA READ failed");
		release(req);
	}
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

static void waited_slot_ready(struct slot_waiter *w, struct slot *slot)
{
	struct request *req = (void *)((uint8_t *)w - offsetof(struct request, waiter));

	req->waiting_for = NULL;
	slot_ready(req, slot);
}

static void wait_for_slot(struct request *req, struct slot_cache *cache)
{
	set_state(req, REQ_WAIT_SLOT);
	req->waiting_for = cache;
	req->waiter.len = req->nvmf.len;
	req->waiter.ready = waited_slot_ready;
	slot_wait(cache, &req->waiter);
}

/* CMB if the route leads there; host memory if CMB is used up and the policy allows; else wait. */
static void stage(struct request *req)
{
	struct staging *st = req->conn->rnic->staging;
	const struct stage_target *t = nvmf_req_stage(&req->nvmf);
	struct stage_route route = staging_route(st, t, req->conn->path_mtu);

	if (t && t->require &&
	    (route.reason != STAGE_CMB || !slot_possible(route.cache, req->nvmf.len))) {
		fail_request(req, NVME_NS_NOT_READY);
		return;
	}

	struct slot *slot = slot_take(route.cache, req->nvmf.len);

	if (!slot && route.reason == STAGE_CMB && !(t && t->require)) {
		route = (struct stage_route){ st->host, STAGE_HOST_EXHAUSTED };
		slot = slot_take(route.cache, req->nvmf.len);
	}
	req->nvmf.reason = route.reason;
	if (slot)
		slot_ready(req, slot);
	else if (slot_possible(route.cache, req->nvmf.len))
		wait_for_slot(req, route.cache);
	else
		fail_request(req, NVME_INTERNAL_ERROR | NVME_DNR);
}

/* ---- SGL ----------------------------------------------------------------------------------------
 */

static uint32_t keyed_len(const union nvme_sgl *sgl)
{
	return sgl->keyed.len[0] | (uint32_t)sgl->keyed.len[1] << 8 |
	       (uint32_t)sgl->keyed.len[2] << 16;
}

static uint32_t keyed_key(const union nvme_sgl *sgl)
{
	return sgl->keyed.key[0] | (uint32_t)sgl->keyed.key[1] << 8 |
	       (uint32_t)sgl->keyed.key[2] << 16 | (uint32_t)sgl->keyed.key[3] << 24;
}

/* Data in the capsule: Base 2.1, 4.3.2; the offset counts from the end of the SQE (ICDOFF 0). */
static uint16_t map_in_capsule(struct request *req)
{
	const union nvme_sgl *sgl = &req->nvmf.sqe->dptr;
	uint64_t offset = get64(sgl->data.addr);
	uint32_t len = get32(sgl->data.len);
	uint32_t received = req->recv->in_capsule_len;

	if (req->nvmf.dir != DATA_H2C)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (len > nvmf_queue_in_capsule_len(&req->conn->nvmf) || offset % 4 || len > received ||
	    offset > received - len)
		return NVME_SGL_OFFSET_INVALID | NVME_DNR;
	if (len != req->nvmf.len)
		return NVME_SGL_DATA_LENGTH_INVALID | NVME_DNR;
	req->nvmf.data = req->recv->in_capsule + offset;
	req->nvmf.reason = STAGE_HOST_IN_CAPSULE;
	return NVME_OK;
}

static uint16_t map_keyed(struct request *req)
{
	const union nvme_sgl *sgl = &req->nvmf.sqe->dptr;

	if (keyed_len(sgl) != req->nvmf.len)
		return NVME_SGL_DATA_LENGTH_INVALID | NVME_DNR;
	req->remote_addr = get64(sgl->keyed.addr);
	req->remote_key = keyed_key(sgl);
	req->invalidate = (sgl->keyed.type & 0xf) == SGL_SUB_INVALIDATE &&
			  req->conn->rnic->attr.device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS;
	return NVME_OK;
}

static uint16_t map_sgl(struct request *req)
{
	switch (req->nvmf.sqe->dptr.data.type) {
	case SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_ADDRESS:
	case SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_INVALIDATE:
		return map_keyed(req);
	case SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET:
		return map_in_capsule(req);
	default:
		return NVME_SGL_TYPE_INVALID | NVME_DNR;
	}
}

static void start_request(struct conn *c, struct recv *recv)
{
	struct request *req = STAILQ_FIRST(&c->free_reqs);

	STAILQ_REMOVE_HEAD(&c->free_reqs, entry);
	c->busy_reqs++;
	set_state(req, REQ_AT_TARGET);
	req->recv = recv;
	req->nvmf.sqe = recv->sqe;
	req->nvmf.data = NULL;
	req->invalidate = false;

	uint16_t status = nvmf_req_check(&req->nvmf);

	if (!status && req->nvmf.dir != DATA_NONE)
		status = map_sgl(req);
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
	struct request *req = (void *)((uint8_t *)wr - offsetof(struct request, send));

	if (wc->status != IBV_WC_SUCCESS)
		completion_failed(req->conn, "response", wc);
	release(req);
}

/* Unsignalled: heard of only when it failed, and then the SEND behind it is flushed too. */
static void write_done(struct wr *wr, const struct ibv_wc *wc)
{
	struct request *req = (void *)((uint8_t *)wr - offsetof(struct request, write));

	if (wc->status != IBV_WC_SUCCESS)
		completion_failed(req->conn, "RDMA WRITE", wc);
}

/* The WRITE of a response whose SEND could not be posted: with it, nothing is out any more. */
static void last_write_done(struct wr *wr, const struct ibv_wc *wc)
{
	(void)wc;
	release((void *)((uint8_t *)wr - offsetof(struct request, write)));
}

static struct ibv_send_wr *build_response(struct request *req)
{
	struct conn *c = req->conn;

	*req->cqe = req->nvmf.cqe;
	req->cqe_sge = (struct ibv_sge){ (uintptr_t)req->cqe, sizeof(*req->cqe), c->mr->lkey };
	req->send_wr = (struct ibv_send_wr){
		.wr_id = (uintptr_t)&req->send,
		.sg_list = &req->cqe_sge,
		.num_sge = 1,
		.opcode = req->invalidate ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED | (c->send_inline ? IBV_SEND_INLINE : 0),
	};
	if (req->invalidate)
		req->send_wr.invalidate_rkey = req->remote_key;
	if (req->nvmf.dir != DATA_C2H || !req->slot || get16(req->nvmf.cqe.status))
		return &req->send_wr;
	req->data_sge =
		(struct ibv_sge){ (uintptr_t)req->slot->va, req->nvmf.len, req->slot->lkey };
	req->data_wr = (struct ibv_send_wr){ .wr_id = (uintptr_t)&req->write,
					     .next = &req->send_wr,
					     .sg_list = &req->data_sge,
					     .num_sge = 1,
					     .opcode = IBV_WR_RDMA_WRITE,
					     .wr.rdma = { req->remote_addr, req->remote_key } };
	return &req->data_wr;
}

/* The target is done with the command: its receive buffer first, then data and response in one
 * post. */
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
	set_state(req, REQ_SENDING);

	struct ibv_send_wr *first = build_response(req), *bad = first;

	if (!conn_post_recv(req->recv) && !ibv_post_send(c->id->qp, first, &bad)) {
		req->recv = NULL;
		return;
	}
	protocol_error(c, "posting a response failed");
	if (bad == first)
		release(req);
	else
		req->write.done = last_write_done;
}

static void disconnect(struct nvmf_queue *q)
{
	conn_kill((struct conn *)q);
}

const struct nvmf_queue_ops conn_queue_ops = {
	.respond = respond,
	.disconnect = disconnect,
};

/* ---- life --------------------------------------------------------------------------------------
 */

void conn_init_requests(struct conn *c)
{
	for (unsigned int i = 0; i < c->nreqs; i++) {
		struct request *req = &c->reqs[i];

		req->nvmf.queue = &c->nvmf;
		req->conn = c;
		req->read.done = read_done;
		req->write.done = write_done;
		req->send.done = send_done;
		STAILQ_INSERT_TAIL(&c->free_reqs, req, entry);
	}
}

/* The requests that nobody will complete: those that wait for a slot. The others come back by their
 * flushed completion, or from the target. */
void conn_cancel_requests(struct conn *c)
{
	for (unsigned int i = 0; i < c->nreqs; i++) {
		struct request *req = &c->reqs[i];

		if (req->state != REQ_WAIT_SLOT)
			continue;
		slot_unwait(req->waiting_for, &req->waiter);
		req->waiting_for = NULL;
		release(req);
	}
}
