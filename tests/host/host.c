/* Connections, capsules, memory: librdmacm and libibverbs, one step after the other. */
#include "tests/host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RESPONSE_MAX 64 /* bytes: room to see a response that is too long */
#define SLOT_LEN     HOST_CAPSULE_MAX

/* wr_id: what completed */
enum { WR_RECV = 0, WR_SEND = 1 << 16, WR_BIND = 1 << 17, WR_REACH = 1 << 18 };

struct host_conn {
	struct host *host;
	struct rdma_event_channel *cm;
	struct rdma_cm_id *id;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	uint8_t *mem, *capsules; /* HOST_DEPTH receives, HOST_DEPTH sends */
	struct ibv_mr *mr, *capsule_mr;
	bool busy[HOST_DEPTH]; /* capsules on their way */
	struct host_response responses[HOST_DEPTH];
	unsigned int head, nresponses;
	int bind_status; /* ibv_wc_status, -1: not yet */
	bool gone, deaf, reached, counted;
};

static unsigned int nconnections;

uint64_t host_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void host_init(struct host *h, const char *address, const char *service)
{
	*h = (struct host){ .address = address, .service = service };
}

void host_fini(struct host *h)
{
	if (h->pd)
		ibv_dealloc_pd(h->pd);
	*h = (struct host){ 0 };
}

struct host_request host_default_request(uint16_t qid, uint16_t depth)
{
	return (struct host_request){
		.data = { .qid = put16(qid),
			  .hrqsize = put16(depth),
			  .hsqsize_z = put16((uint16_t)(depth - 1)) },
		.data_len = sizeof(struct nvme_rdma_cm_request),
		.reads_accepted = 16,
		.rnr_retries = 7,
	};
}

/* ---- what happens on a connection --------------------------------------------------------------
 */

static int post_recv(struct host_conn *c, unsigned int i)
{
	struct ibv_sge sge = { (uintptr_t)(c->mem + (size_t)i * RESPONSE_MAX), RESPONSE_MAX,
			       c->mr->lkey };
	struct ibv_recv_wr *bad, wr = { .wr_id = WR_RECV | i, .sg_list = &sge, .num_sge = 1 };

	return -ibv_post_recv(c->id->qp, &wr, &bad);
}

/* rxe's kernel part numbers this flag as the kernel does, not as libibverbs does (1 << 2 there, and
 * in <infiniband/verbs.h> that is IBV_WC_IP_CSUM_OK, which no RC queue pair reports). */
static bool came_with_invalidate(const struct ibv_wc *wc)
{
	return wc->wc_flags & (IBV_WC_WITH_INV | IBV_WC_IP_CSUM_OK);
}

static void recv_done(struct host_conn *c, const struct ibv_wc *wc, unsigned int i)
{
	struct host_response *r;

	if (c->nresponses == HOST_DEPTH) { /* nobody takes them: an answer to nothing */
		c->gone = true;
		return;
	}
	r = &c->responses[(c->head + c->nresponses++) % HOST_DEPTH];
	memcpy(&r->cqe, c->mem + (size_t)i * RESPONSE_MAX, sizeof(r->cqe));
	r->len = wc->byte_len;
	r->invalidated = came_with_invalidate(wc);
	r->invalidated_rkey = r->invalidated ? wc->invalidated_rkey : 0;
	if (!c->deaf && post_recv(c, i))
		c->gone = true;
}

static void completed(struct host_conn *c, const struct ibv_wc *wc)
{
	unsigned int i = (unsigned int)wc->wr_id & 0xffff;

	if (wc->status != IBV_WC_SUCCESS)
		c->gone = true;
	if (wc->wr_id & WR_BIND)
		c->bind_status = wc->status;
	else if (wc->wr_id & WR_REACH)
		c->reached |= wc->status == IBV_WC_SUCCESS;
	else if (wc->wr_id & WR_SEND)
		c->busy[i] = false;
	else if (wc->status == IBV_WC_SUCCESS)
		recv_done(c, wc, i);
}

static void poll_cq(struct host_conn *c)
{
	struct ibv_wc wc[16];
	int n;

	while ((n = ibv_poll_cq(c->cq, 16, wc)) > 0)
		for (int i = 0; i < n; i++)
			completed(c, &wc[i]);
}

static void poll_cm(struct host_conn *c)
{
	struct rdma_cm_event *event;

	while (rdma_get_cm_event(c->cm, &event) == 0) {
		if (event->event != RDMA_CM_EVENT_ADDR_CHANGE)
			c->gone = true;
		rdma_ack_cm_event(event);
	}
}

static void take_cq_event(struct host_conn *c)
{
	struct ibv_cq *cq;
	void *context;

	if (ibv_get_cq_event(c->channel, &cq, &context) == 0)
		ibv_ack_cq_events(cq, 1);
}

/* Look at everything; if there was nothing new, wait for something. False: the time is up. */
static bool pump(struct host_conn *c, uint64_t deadline)
{
	struct pollfd fds[2] = { { .fd = c->channel->fd, .events = POLLIN },
				 { .fd = c->cm->fd, .events = POLLIN } };
	uint64_t now = host_now_ms();

	if (ibv_req_notify_cq(c->cq, 0))
		c->gone = true;
	/* the end first: what came before it is in the completion queue by then */
	poll_cm(c);
	poll_cq(c);
	if (c->gone || c->nresponses)
		return true;
	if (now >= deadline)
		return false;
	if (poll(fds, 2, (int)(deadline - now)) > 0 && fds[0].revents)
		take_cq_event(c);
	poll_cm(c);
	poll_cq(c);
	return true;
}

int host_wait(struct host_conn *c, unsigned int timeout_ms, struct host_response *ret)
{
	uint64_t deadline = host_now_ms() + timeout_ms;

	while (!c->nresponses) {
		if (!pump(c, deadline))
			return -ETIMEDOUT;
		if (c->gone && !c->nresponses)
			return -ENOTCONN;
	}
	*ret = c->responses[c->head];
	c->head = (c->head + 1) % HOST_DEPTH;
	c->nresponses--;
	return 0;
}

bool host_gone(struct host_conn *c)
{
	(void)pump(c, 0);
	return c->gone;
}

bool host_wait_gone(struct host_conn *c, unsigned int timeout_ms)
{
	uint64_t deadline = host_now_ms() + timeout_ms;

	while (!host_gone(c) && host_now_ms() < deadline) {
		struct pollfd fd = { .fd = c->cm->fd, .events = POLLIN };

		(void)poll(&fd, 1, 20); /* a broken queue pair tells by its completions */
	}
	return c->gone;
}

/* ---- capsules ---------------------------------------------------------------------------------
 */

static int free_slot(struct host_conn *c, unsigned int *ret)
{
	uint64_t deadline = host_now_ms() + HOST_TIMEOUT_MS;

	for (;;) {
		for (unsigned int i = 0; i < HOST_DEPTH; i++)
			if (!c->busy[i]) {
				c->busy[i] = true;
				*ret = i;
				return 0;
			}
		if (c->gone)
			return -ENOTCONN;
		if (host_now_ms() > deadline)
			return -ETIMEDOUT;
		(void)pump(c, host_now_ms() + 1);
	}
}

static int prepare(struct host_conn *c, const void *capsule, size_t len, struct ibv_sge *sge,
		   struct ibv_send_wr *wr)
{
	unsigned int i = 0;
	int err;

	if (len > SLOT_LEN)
		return -EMSGSIZE;
	err = free_slot(c, &i);
	if (err)
		return err;
	memcpy(c->capsules + (size_t)i * SLOT_LEN, capsule, len);
	*sge = (struct ibv_sge){ (uintptr_t)(c->capsules + (size_t)i * SLOT_LEN), (uint32_t)len,
				 c->capsule_mr->lkey };
	*wr = (struct ibv_send_wr){ .wr_id = WR_SEND | i,
				    .sg_list = sge,
				    .num_sge = 1,
				    .opcode = IBV_WR_SEND,
				    .send_flags = IBV_SEND_SIGNALED };
	return 0;
}

int host_send_chain(struct host_conn *c, const void *capsules, size_t len, unsigned int n)
{
	struct ibv_sge sge[HOST_DEPTH];
	struct ibv_send_wr wr[HOST_DEPTH], *bad;

	if (n == 0 || n > HOST_DEPTH)
		return -EINVAL;
	if (host_gone(c))
		return -ENOTCONN;
	for (unsigned int i = 0; i < n; i++) {
		int err = prepare(c, (const uint8_t *)capsules + i * len, len, &sge[i], &wr[i]);

		if (err)
			return err;
		if (i)
			wr[i - 1].next = &wr[i];
	}
	return -ibv_post_send(c->id->qp, wr, &bad);
}

int host_send(struct host_conn *c, const void *capsule, size_t len)
{
	return host_send_chain(c, capsule, len, 1);
}

/* ---- what no sane host does ---------------------------------------------------------------------
 */

int host_vanish(struct host_conn *c)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RESET };

	return -ibv_modify_qp(c->id->qp, &attr, IBV_QP_STATE);
}

int host_reach(struct host_conn *c, bool write, uint64_t addr, uint32_t rkey)
{
	struct ibv_sge sge = { (uintptr_t)c->mem, 8, c->mr->lkey };
	struct ibv_send_wr *bad, wr = { .wr_id = WR_REACH,
					.sg_list = &sge,
					.num_sge = 1,
					.opcode = write ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ,
					.send_flags = IBV_SEND_SIGNALED,
					.wr.rdma = { addr, rkey } };

	return -ibv_post_send(c->id->qp, &wr, &bad);
}

bool host_reached(const struct host_conn *c)
{
	return c->reached;
}

/* ---- memory -----------------------------------------------------------------------------------
 */

int host_alloc_as(struct host *h, size_t len, uint8_t fill, unsigned int access,
		  struct host_buffer *ret)
{
	size_t pages = (len + 4095) / 4096 * 4096;
	uint8_t *va = aligned_alloc(4096, pages);
	struct ibv_mr *mr;
	int err;

	if (!va)
		return -ENOMEM;
	memset(va, fill, pages);
	mr = ibv_reg_mr(h->pd, va, len, access);
	if (!mr) {
		err = -errno;
		free(va);
		return err;
	}
	*ret = (struct host_buffer){ .va = va, .len = len, .rkey = mr->rkey, .mr = mr };
	return 0;
}

int host_alloc(struct host *h, size_t len, uint8_t fill, struct host_buffer *ret)
{
	return host_alloc_as(h, len, fill,
			     IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
				     IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_MW_BIND,
			     ret);
}

void host_free(struct host_buffer *b)
{
	if (b->mw)
		(void)ibv_dealloc_mw(b->mw);
	if (b->mr)
		(void)ibv_dereg_mr(b->mr);
	free(b->va);
	*b = (struct host_buffer){ 0 };
}

int host_bind_window(struct host_conn *c, struct host_buffer *b)
{
	uint64_t deadline = host_now_ms() + HOST_TIMEOUT_MS;
	struct ibv_send_wr *bad, wr = { .wr_id = WR_BIND,
					.opcode = IBV_WR_BIND_MW,
					.send_flags = IBV_SEND_SIGNALED };
	int err;

	if (!b->mw)
		b->mw = ibv_alloc_mw(c->host->pd, IBV_MW_TYPE_2);
	if (!b->mw)
		return -EOPNOTSUPP;
	wr.bind_mw.mw = b->mw;
	wr.bind_mw.rkey = ibv_inc_rkey(b->mw->rkey);
	wr.bind_mw.bind_info =
		(struct ibv_mw_bind_info){ .mr = b->mr,
					   .addr = (uintptr_t)b->va,
					   .length = b->len,
					   .mw_access_flags = IBV_ACCESS_REMOTE_READ |
							      IBV_ACCESS_REMOTE_WRITE };
	c->bind_status = -1;
	err = -ibv_post_send(c->id->qp, &wr, &bad);
	if (err)
		return err;
	while (c->bind_status < 0 && !c->gone && host_now_ms() < deadline)
		(void)pump(c, host_now_ms() + 10);
	if (c->bind_status != IBV_WC_SUCCESS)
		return -EIO;
	b->mw->rkey = b->rkey = wr.bind_mw.rkey;
	return 0;
}

/* ---- the CM handshake --------------------------------------------------------------------------
 */

struct cm_step {
	enum rdma_cm_event_type type;
	int status;
	uint8_t private_data[256];
	uint8_t private_len;
};

static int next_event(struct host_conn *c, struct cm_step *ret)
{
	uint64_t deadline = host_now_ms() + HOST_TIMEOUT_MS;
	struct rdma_cm_event *event;

	while (rdma_get_cm_event(c->cm, &event)) {
		struct pollfd fd = { .fd = c->cm->fd, .events = POLLIN };
		uint64_t now = host_now_ms();

		if (errno != EAGAIN)
			return -errno;
		if (now >= deadline)
			return -ETIMEDOUT;
		(void)poll(&fd, 1, (int)(deadline - now));
	}
	*ret = (struct cm_step){ .type = event->event, .status = event->status };
	if (event->param.conn.private_data) {
		ret->private_len = event->param.conn.private_data_len;
		memcpy(ret->private_data, event->param.conn.private_data, ret->private_len);
	}
	rdma_ack_cm_event(event);
	return 0;
}

static int expect_event(struct host_conn *c, enum rdma_cm_event_type type)
{
	struct cm_step step;
	int err = next_event(c, &step);

	if (!err && step.type != type)
		err = step.status < 0 ? step.status : -EHOSTUNREACH;
	return err;
}

static int resolve(struct host_conn *c)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *info;
	int err;

	if (getaddrinfo(c->host->address, c->host->service, &hints, &info))
		return -EINVAL;
	err = rdma_resolve_addr(c->id, NULL, info->ai_addr, HOST_TIMEOUT_MS) ? -errno : 0;
	freeaddrinfo(info);
	if (!err)
		err = expect_event(c, RDMA_CM_EVENT_ADDR_RESOLVED);
	if (!err && rdma_resolve_route(c->id, HOST_TIMEOUT_MS))
		err = -errno;
	return err ? err : expect_event(c, RDMA_CM_EVENT_ROUTE_RESOLVED);
}

static int use_device(struct host *h, struct ibv_context *verbs)
{
	if (!h->pd) {
		h->pd = ibv_alloc_pd(verbs);
		h->verbs = verbs;
	}
	if (!h->pd)
		return -ENOMEM;
	return h->verbs == verbs ? 0 : -EXDEV;
}

static int make_memory(struct host_conn *c)
{
	c->mem = aligned_alloc(4096, (size_t)HOST_DEPTH * RESPONSE_MAX);
	c->capsules = aligned_alloc(4096, (size_t)HOST_DEPTH * SLOT_LEN);
	if (!c->mem || !c->capsules)
		return -ENOMEM;
	c->mr = ibv_reg_mr(c->host->pd, c->mem, (size_t)HOST_DEPTH * RESPONSE_MAX,
			   IBV_ACCESS_LOCAL_WRITE);
	c->capsule_mr = ibv_reg_mr(c->host->pd, c->capsules, (size_t)HOST_DEPTH * SLOT_LEN,
				   IBV_ACCESS_LOCAL_WRITE);
	return c->mr && c->capsule_mr ? 0 : -ENOMEM;
}

static int make_queue_pair(struct host_conn *c, const struct host_request *req)
{
	unsigned int nrecvs = req->no_receives ? 0 : req->receives ? req->receives : HOST_DEPTH;
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC,
					 .cap = { .max_send_wr = HOST_DEPTH + 1,
						  .max_recv_wr = HOST_DEPTH,
						  .max_send_sge = 1,
						  .max_recv_sge = 1 } };
	int err = use_device(c->host, c->id->verbs);

	if (!err)
		err = make_memory(c);
	if (err)
		return err;
	c->channel = ibv_create_comp_channel(c->id->verbs);
	if (!c->channel || fcntl(c->channel->fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	c->cq = ibv_create_cq(c->id->verbs, 4 * HOST_DEPTH, NULL, c->channel, 0);
	if (!c->cq)
		return -errno;
	attr.send_cq = attr.recv_cq = c->cq;
	if (rdma_create_qp(c->id, c->host->pd, &attr))
		return -errno;
	c->deaf = req->receives;
	for (unsigned int i = 0; i < nrecvs && !err; i++)
		err = post_recv(c, i);
	return err;
}

static void read_answer(const struct cm_step *step, struct host_answer *answer)
{
	struct nvme_rdma_cm_accept accept = { 0 };
	struct nvme_rdma_cm_reject reject = { 0 };

	answer->event = (int)step->type;
	answer->event_status = step->status;
	memcpy(&accept, step->private_data, sizeof(accept));
	memcpy(&reject, step->private_data, sizeof(reject));
	if (step->type == RDMA_CM_EVENT_ESTABLISHED) {
		answer->outcome = HOST_ACCEPTED;
		answer->recfmt = get16(accept.recfmt);
		answer->crqsize = get16(accept.crqsize);
	} else if (step->type == RDMA_CM_EVENT_REJECTED && step->private_len >= sizeof(reject)) {
		answer->outcome = HOST_REJECTED;
		answer->recfmt = get16(reject.recfmt);
		answer->reject_status = get16(reject.status);
	}
}

/* What the CM says when librdmacm has none of ours. Each time another: the same number again means
 * that we forgot the connection that had it, and ends it. */
static uint32_t no_queue_pair(void)
{
	static uint32_t last = 0xa00000;

	return ++last & 0xffffff;
}

static int ask(struct host_conn *c, const struct host_request *req, struct host_answer *answer)
{
	struct rdma_conn_param param = { .private_data = &req->data,
					 .private_data_len = req->data_len,
					 .responder_resources = req->reads_accepted,
					 .initiator_depth = req->reads_issued,
					 .flow_control = 1,
					 .retry_count = 7,
					 .rnr_retry_count = req->rnr_retries,
					 .qp_num = no_queue_pair() };
	struct cm_step step = { 0 };
	int err;

	if (rdma_connect(c->id, &param))
		return -errno;
	if (req->walk_away)
		return -ECANCELED;
	err = next_event(c, &step);
	if (err)
		return err;
	read_answer(&step, answer);
	if (req->half_open && step.type == RDMA_CM_EVENT_CONNECT_RESPONSE)
		return 0;
	return answer->outcome == HOST_ACCEPTED ? 0 : -ECONNREFUSED;
}

int host_connect(struct host *h, const struct host_request *req, struct host_conn **ret,
		 struct host_answer *answer)
{
	struct host_conn *c = calloc(1, sizeof(*c));
	int err;

	*answer = (struct host_answer){ .outcome = HOST_FAILED };
	if (!c)
		return -ENOMEM;
	c->host = h;
	c->cm = rdma_create_event_channel();
	if (!c->cm || fcntl(c->cm->fd, F_SETFL, O_NONBLOCK) < 0 ||
	    rdma_create_id(c->cm, &c->id, c, RDMA_PS_TCP))
		err = -errno;
	else
		err = resolve(c);
	if (!err && !req->half_open)
		err = make_queue_pair(c, req);
	if (!err)
		err = ask(c, req, answer);
	if (err) {
		host_close(c);
		return err;
	}
	c->counted = true;
	nconnections++;
	*ret = c;
	return 0;
}

unsigned int host_connections(void)
{
	return nconnections;
}

void host_close(struct host_conn *c)
{
	if (!c)
		return;
	nconnections -= c->counted;
	if (c->id && c->id->qp) {
		(void)rdma_disconnect(c->id);
		rdma_destroy_qp(c->id);
	}
	if (c->cq)
		(void)ibv_destroy_cq(c->cq);
	if (c->channel)
		(void)ibv_destroy_comp_channel(c->channel);
	if (c->mr)
		(void)ibv_dereg_mr(c->mr);
	if (c->capsule_mr)
		(void)ibv_dereg_mr(c->capsule_mr);
	if (c->id)
		(void)rdma_destroy_id(c->id);
	if (c->cm)
		rdma_destroy_event_channel(c->cm);
	free(c->mem);
	free(c->capsules);
	free(c);
}
