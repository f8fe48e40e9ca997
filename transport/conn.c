/* Connections: the CM handshake, the queue pair, its memory, its end. */
#include "transport/rdma.h"
#include "target/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RESPONSE_INLINE sizeof(struct nvme_cqe)

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
	uint32_t most = get16(req->qid) ? l->port->queue_depth : ADMIN_QUEUE_DEPTH_MAX;

	if (depth > most)
		return CM_INVALID_HSQSIZE;
	if (get16(req->qid) && cntlid && !target_has_controller(l->transport->target, cntlid))
		return CM_INVALID_CNTLID;
	/* without outstanding RDMA READs no host could write */
	if (param->initiator_depth == 0)
		return CM_INVALID_IRD;
	return CM_OK;
}

static const char *cm_status_text(enum nvme_rdma_cm_status status)
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

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/*
 * One registered block: SQEs, CQEs, and page-aligned in-capsule data:
 *
 *      | sqe 0 .. depth-1 | cqe 0 .. nreqs-1 | pad | in-capsule 0 | ... | in-capsule depth-1 |
 */
static int alloc_memory(struct conn *c, size_t in_capsule_len)
{
	size_t sqes = (size_t)c->depth * sizeof(struct nvme_sqe);
	size_t cqes = (size_t)c->nreqs * sizeof(struct nvme_cqe);
	size_t head = round_up(sqes + cqes, P2P_PAGE_SIZE);
	size_t each = round_up(in_capsule_len, P2P_PAGE_SIZE);

	if (head + each * c->depth > c->transport->conf->connection_memory - c->transport->mem_used)
		return -ENOMEM;
	c->mem_len = head + each * c->depth;
	c->transport->mem_used += c->mem_len;
	c->recvs = calloc(c->depth, sizeof(*c->recvs));
	c->reqs = calloc(c->nreqs, sizeof(*c->reqs));
	c->mem = mmap(NULL, c->mem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!c->recvs || !c->reqs || c->mem == MAP_FAILED)
		return -ENOMEM;
	/* no remote access: the host's data comes by SEND or by our own RDMA READ */
	c->mr = ibv_reg_mr(c->rnic->pd, c->mem, c->mem_len, IBV_ACCESS_LOCAL_WRITE);
	if (!c->mr)
		return -errno;
	for (unsigned int i = 0; i < c->depth; i++) {
		struct recv *recv = &c->recvs[i];

		recv->conn = c;
		recv->sqe = (struct nvme_sqe *)c->mem + i;
		recv->sge[0] =
			(struct ibv_sge){ (uintptr_t)recv->sqe, sizeof(*recv->sqe), c->mr->lkey };
		if (in_capsule_len) {
			recv->in_capsule = c->mem + head + each * i;
			recv->sge[1] = (struct ibv_sge){ (uintptr_t)recv->in_capsule,
							 (uint32_t)in_capsule_len, c->mr->lkey };
		}
		recv->recv_wr = (struct ibv_recv_wr){ .wr_id = (uintptr_t)&recv->wr,
						      .sg_list = recv->sge,
						      .num_sge = in_capsule_len ? 2 : 1 };
	}
	for (unsigned int i = 0; i < c->nreqs; i++)
		c->reqs[i].cqe = (struct nvme_cqe *)(c->mem + sqes) + i;
	conn_init_requests(c);
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
		.qp_type = IBV_QPT_RC,
		/* a response is a WRITE and a SEND; a READ is over before them */
		.cap = { .max_send_wr = 2u * c->nreqs,
			 .max_recv_wr = c->depth,
			 .max_send_sge = 1,
			 .max_recv_sge = 2,
			 .max_inline_data = RESPONSE_INLINE },
	};

	if (rdma_create_qp(c->id, c->rnic->pd, &attr)) {
		attr.cap.max_inline_data = 0;
		if (rdma_create_qp(c->id, c->rnic->pd, &attr))
			return -errno;
	}
	c->send_inline = attr.cap.max_inline_data >= RESPONSE_INLINE;
	return 0;
}

/* Room for the completion of everything that may be out at once. */
static int reserve_cqes(struct conn *c)
{
	c->cqs = rnic_cqs(c->rnic, c->depth, 2u * c->nreqs);
	if (!c->cqs)
		return -ENOSPC;
	c->cqs->recv.used += c->recv_cqes = c->depth;
	c->cqs->send.used += c->send_cqes = 2u * c->nreqs;
	return 0;
}

static int set_up(struct conn *c, const struct nvme_rdma_cm_request *req)
{
	unsigned int max_wr = (unsigned int)c->rnic->attr.max_qp_wr;

	c->depth = (uint16_t)(get16(req->hsqsize_z) + 1);
	/* A host may send the next command when it has our response, before we see the completion
	 * of that SEND: more requests than receives. */
	c->nreqs = (uint16_t)(2 * c->depth);
	if (max_wr < 2u * c->nreqs)
		c->nreqs = (uint16_t)(max_wr / 2);
	if (c->nreqs == 0 || c->depth > max_wr)
		return -ENOSPC;

	int err = reserve_cqes(c);

	if (!err)
		err = alloc_memory(c, get16(req->qid) ? target_in_capsule_len(c->nvmf.target,
									      get16(req->cntlid),
									      c->nvmf.port)
						      : 0);
	if (!err)
		err = create_qp(c);
	for (unsigned int i = 0; !err && i < c->depth; i++)
		err = conn_post_recv(&c->recvs[i]);
	return err;
}

static int query_path_mtu(struct conn *c)
{
	struct ibv_qp_attr attr;
	struct ibv_qp_init_attr init;

	if (ibv_query_qp(c->id->qp, &attr, IBV_QP_PATH_MTU, &init))
		return -errno;
	c->path_mtu = attr.path_mtu;
	return 0;
}

static int accept_conn(struct conn *c, const struct rdma_conn_param *param)
{
	struct nvme_rdma_cm_accept reply = { .crqsize = put16(c->depth) };
	uint8_t max_rd = (uint8_t)(c->rnic->attr.max_qp_init_rd_atom < 255
					   ? c->rnic->attr.max_qp_init_rd_atom
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
	return query_path_mtu(c);
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

static void reject(struct rdma_cm_id *id, enum nvme_rdma_cm_status status)
{
	struct nvme_rdma_cm_reject answer = { .status = put16((uint16_t)status) };
	char from[64] = "?";

	address_text(rdma_get_peer_addr(id), from, sizeof(from));
	log_warn("connection from %s rejected: %s", from, cm_status_text(status));
	(void)rdma_reject(id, &answer, sizeof(answer));
	rdma_destroy_id(id);
}

static struct conn *conn_create(struct listener *l, struct rdma_cm_id *id)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->transport = l->transport;
	c->id = id;
	c->state = CONN_ACCEPTING;
	c->mem = MAP_FAILED;
	STAILQ_INIT(&c->free_reqs);
	STAILQ_INIT(&c->pending);
	c->chain_end = &c->chain;
	c->nvmf.ops = &conn_queue_ops;
	c->nvmf.target = l->transport->target;
	c->nvmf.port = l->port;
	address_text(rdma_get_local_addr(id), c->nvmf.local_address, sizeof(c->nvmf.local_address));
	address_text(rdma_get_peer_addr(id), c->nvmf.remote_address,
		     sizeof(c->nvmf.remote_address));
	return c;
}

/* Nothing was accepted and nothing is in flight but posted receives, which go with the QP. */
static void conn_abandon(struct conn *c)
{
	struct rdma_cm_id *id = c->id;

	c->id = NULL;
	if (id->qp)
		rdma_destroy_qp(id);
	conn_free(c);
	reject(id, CM_NO_RESOURCES);
}

void conn_request(struct listener *l, struct rdma_cm_id *id, const struct rdma_conn_param *param)
{
	struct nvme_rdma_cm_request req;
	enum nvme_rdma_cm_status status =
		cm_parse_request(param->private_data, param->private_data_len, &req);

	if (status == CM_OK)
		status = check_request(l, &req, param);
	if (status != CM_OK) {
		reject(id, status);
		return;
	}

	struct conn *c = conn_create(l, id);

	if (!c || rnic_get(l->transport, id->verbs, id->port_num, &c->rnic)) {
		free(c);
		reject(id, CM_NO_RESOURCES);
		return;
	}
	id->context = c;
	LIST_INSERT_HEAD(&l->transport->conns, c, entry);
	l->transport->nconns++;

	int err = set_up(c, &req);

	c->nvmf.depth = c->depth;
	if (!err)
		err = accept_conn(c, param);
	if (err) {
		log_error("connection from %s: %s", c->nvmf.remote_address, strerror(-err));
		conn_abandon(c);
		return;
	}
	/* the path MTU is known only now; later I/O finds the verdict ready */
	rnic_prove(c->rnic, c->path_mtu);
	nvmf_queue_init(&c->nvmf);
}

void conn_established(struct conn *c)
{
	if (c->state != CONN_ACCEPTING)
		return;
	c->state = CONN_LIVE;
	conn_start_pending(c);
}

/* ---- death ------------------------------------------------------------------------------------
 */

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
	STAILQ_INIT(&c->pending);
	nvmf_queue_close(&c->nvmf);
	conn_drop_chain(c);
	conn_cancel_requests(c);
	conn_check_drained(c);
}

/* Freed by the loop and not here: whoever called may still look at it. */
void conn_check_drained(struct conn *c)
{
	if (c->state != CONN_DRAINING || c->dead || c->posted_recvs || c->busy_reqs)
		return;
	c->dead = true;
	c->cqs->draining--;
	LIST_REMOVE(c, entry);
	LIST_INSERT_HEAD(&c->transport->dead, c, entry);
}

void conn_free(struct conn *c)
{
	LIST_REMOVE(c, entry);
	if (c->dirty)
		STAILQ_REMOVE(&c->rnic->dirty, c, conn, dirty_entry);
	if (c->starving)
		c->cqs->starving--;
	if (c->id) {
		nvmf_queue_fini(&c->nvmf);
		rdma_destroy_qp(c->id);
		rdma_destroy_id(c->id);
	}
	if (c->mr)
		ibv_dereg_mr(c->mr);
	if (c->mem != MAP_FAILED)
		munmap(c->mem, c->mem_len);
	c->transport->mem_used -= c->mem_len;
	c->transport->nconns--;
	if (c->cqs) {
		c->cqs->recv.used -= c->recv_cqes;
		c->cqs->send.used -= c->send_cqes;
	}
	free(c->recvs);
	free(c->reqs);
	free(c);
}
