/*
 * fake_rnic: an RDMA device and its connection manager, in memory and in one thread, so that
 * transport/ runs as it is, without RDMA hardware. Its functions have the names of libibverbs' and
 * librdmacm's, and the linker takes these. Included once, by a program's only source.
 *
 * Nothing happens by itself: work requests lie in their queue pair until fake_work() does one of
 * them, and a queue pair in the error state has each of them flushed so; an event of the CM lies
 * there until the loop asks for it. Completions of work requests without IBV_SEND_SIGNALED are told
 * when they failed, as all RNICs do. The other end of each queue pair is the test's: peer_*().
 *
 * What an RNIC may expect of its user is asserted: completion queues do not overflow, keys are of
 * memory that is registered, nothing is destroyed twice or with something of it in use.
 */
#ifndef TESTS_FUZZ_FAKE_RNIC_H
#define TESTS_FUZZ_FAKE_RNIC_H

#include "tests/fuzz/asserts.h"

#include <errno.h>
#include <fcntl.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#undef ibv_query_port
#undef ibv_reg_mr

#define FAKE_CQES 4096

struct peer; /* the test's */

/* What the target's RNIC does at the other end. Memory: 0, or -1: that key does not allow it. */
static int peer_reads(struct peer *p, uint32_t key, uint64_t addr, void *to, uint32_t len);
static int peer_writes(struct peer *p, uint32_t key, uint64_t addr, const void *from, uint32_t len);
static bool peer_takes(const struct peer *p); /* is there a receive for a response? */
static void peer_response(struct peer *p, const void *cqe, uint32_t len, bool invalidates,
			  uint32_t key);
static void peer_hears_accept(struct peer *p);
static void peer_hears_reject(struct peer *p);
static void peer_hears_disconnect(struct peer *p); /* its queue pair may be broken before */
static void peer_lost(struct peer *p);             /* the ID is no more */

struct fake_qp;
static void peer_qp(struct peer *p, struct fake_qp *qp); /* the target's; NULL: it is no more */

struct fake_id {
	struct rdma_cm_id id; /* first */
	struct peer *peer;    /* NULL: a listener, or nobody's */
	bool listens, accepted, told_disconnect;
	LIST_ENTRY(fake_id) entry;
};

struct fake_cq {
	struct ibv_cq cq; /* first */
	struct ibv_wc wc[FAKE_CQES];
	unsigned int head, n;
};

struct fake_send {
	struct ibv_send_wr wr;
	struct ibv_sge sge;
	uint8_t bytes[64]; /* IBV_SEND_INLINE */
	STAILQ_ENTRY(fake_send) entry;
};

struct fake_recv {
	uint64_t wr_id;
	struct ibv_sge sge[2];
	int num_sge;
	STAILQ_ENTRY(fake_recv) entry;
};

struct fake_qp {
	struct ibv_qp qp; /* first */
	struct peer *peer;
	bool error;
	unsigned int nsends, max_sends;
	STAILQ_HEAD(, fake_send) sends;
	STAILQ_HEAD(, fake_recv) recvs;
};

struct fake_mr {
	struct ibv_mr mr; /* first */
	LIST_ENTRY(fake_mr) entry;
};

struct fake_event {
	struct rdma_cm_event event; /* first */
	STAILQ_ENTRY(fake_event) entry;
};

static struct fake {
	struct ibv_context *verbs; /* as long as the device is there */
	struct ibv_device device;
	struct rdma_event_channel channel;
	STAILQ_HEAD(fake_events, fake_event) events;
	LIST_HEAD(, fake_id) ids;
	LIST_HEAD(, fake_mr) mrs;
	uint32_t next_key, next_qpn;
	unsigned int nobjects;        /* of any kind that must be destroyed */
	unsigned int post_fails_in;   /* the so-many-th work request is refused; 0: none */
	unsigned int accept_fails_in; /* the same, of the calls that accepting makes */
} fake;

/* ---- completions --------------------------------------------------------------------------------
 */

static void complete(struct ibv_cq *cq, const struct fake_qp *qp, uint64_t wr_id,
		     enum ibv_wc_status status, uint32_t len)
{
	struct fake_cq *f = (struct fake_cq *)cq;

	ck_assert(f->n < FAKE_CQES);
	f->wc[(f->head + f->n++) % FAKE_CQES] = (struct ibv_wc){
		.wr_id = wr_id, .status = status, .qp_num = qp->qp.qp_num, .byte_len = len
	};
}

static int fake_poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
	struct fake_cq *f = (struct fake_cq *)cq;
	int got = 0;

	for (; got < n && f->n; got++, f->n--) {
		wc[got] = f->wc[f->head];
		f->head = (f->head + 1) % FAKE_CQES;
	}
	return got;
}

static int fake_req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	(void)cq, (void)solicited_only; /* the test runs the loop as long as there is work */
	return 0;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static void expect_registered(const struct ibv_sge *sge)
{
	struct fake_mr *f;

	if (sge->length == 0)
		return;
	LIST_FOREACH (f, &fake.mrs, entry)
		if (f->mr.lkey == sge->lkey && sge->addr >= (uintptr_t)f->mr.addr &&
		    sge->length <= f->mr.length &&
		    sge->addr - (uintptr_t)f->mr.addr <= f->mr.length - sge->length)
			return;
	ck_assert(!"memory that is not registered");
}

static struct ibv_mr *reg(struct ibv_pd *pd, void *addr, size_t len)
{
	struct fake_mr *f = calloc(1, sizeof(*f));

	f->mr = (struct ibv_mr){ .context = pd->context,
				 .pd = pd,
				 .addr = addr,
				 .length = len,
				 .lkey = ++fake.next_key };
	LIST_INSERT_HEAD(&fake.mrs, f, entry);
	fake.nobjects++;
	return &f->mr;
}

struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	ck_assert(!(access & ~IBV_ACCESS_LOCAL_WRITE)); /* nobody reaches it from outside */
	return reg(pd, addr, len);
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t len, uint64_t iova,
				unsigned int access)
{
	ck_assert(iova == (uintptr_t)addr && !(access & ~(unsigned int)IBV_ACCESS_LOCAL_WRITE));
	return reg(pd, addr, len);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	LIST_REMOVE((struct fake_mr *)mr, entry);
	free(mr);
	fake.nobjects--;
	return 0;
}

/* ---- work requests ------------------------------------------------------------------------------
 */

static int fake_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_qp *f = (struct fake_qp *)qp;
	struct fake_recv *r = calloc(1, sizeof(*r));

	(void)bad;
	ck_assert(!wr->next && wr->num_sge <= 2);
	r->wr_id = wr->wr_id;
	r->num_sge = wr->num_sge;
	for (int i = 0; i < wr->num_sge; i++) {
		expect_registered(&wr->sg_list[i]);
		r->sge[i] = wr->sg_list[i];
	}
	STAILQ_INSERT_TAIL(&f->recvs, r, entry);
	return 0;
}

static bool send_is_refused(const struct fake_qp *f)
{
	if (fake.post_fails_in && --fake.post_fails_in == 0)
		return true;
	ck_assert(f->nsends < f->max_sends);
	return false;
}

static int fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct fake_qp *f = (struct fake_qp *)qp;

	for (; wr; wr = wr->next) {
		struct fake_send *s;

		if (send_is_refused(f)) {
			*bad = wr;
			return ENOMEM;
		}
		ck_assert(wr->num_sge == 1);
		s = calloc(1, sizeof(*s));
		s->wr = *wr;
		s->wr.next = NULL;
		s->sge = wr->sg_list[0];
		s->wr.sg_list = &s->sge;
		if (wr->send_flags & IBV_SEND_INLINE) {
			ck_assert(s->sge.length <= sizeof(s->bytes));
			memcpy(s->bytes, (void *)(uintptr_t)s->sge.addr, s->sge.length);
		} else {
			expect_registered(&s->sge);
		}
		STAILQ_INSERT_TAIL(&f->sends, s, entry);
		f->nsends++;
	}
	return 0;
}

/* From now on everything of it is flushed, one piece at each fake_work(). */
static void fake_break(struct fake_qp *f)
{
	f->error = true;
}

/* One that was told to do it; IBV_WC_RNR_RETRY_EXC_ERR: it cannot yet. */
static enum ibv_wc_status do_send(struct fake_qp *f, const struct fake_send *s)
{
	void *here = s->wr.send_flags & IBV_SEND_INLINE ? (void *)(uintptr_t)s->bytes
							: (void *)(uintptr_t)s->sge.addr;
	bool invalidates = s->wr.opcode == IBV_WR_SEND_WITH_INV;
	int err = 0;

	if (!(s->wr.send_flags & IBV_SEND_INLINE))
		expect_registered(&s->sge);
	switch ((int)s->wr.opcode) {
	case IBV_WR_RDMA_READ:
		err = peer_reads(f->peer, s->wr.wr.rdma.rkey, s->wr.wr.rdma.remote_addr, here,
				 s->sge.length);
		break;
	case IBV_WR_RDMA_WRITE:
		err = peer_writes(f->peer, s->wr.wr.rdma.rkey, s->wr.wr.rdma.remote_addr, here,
				  s->sge.length);
		break;
	case IBV_WR_SEND:
	case IBV_WR_SEND_WITH_INV:
		if (!peer_takes(f->peer))
			return IBV_WC_RNR_RETRY_EXC_ERR;
		peer_response(f->peer, here, s->sge.length, invalidates, s->wr.invalidate_rkey);
		break;
	default:
		ck_assert(!"an opcode that the target has no use for");
	}
	return err ? IBV_WC_REM_ACCESS_ERR : IBV_WC_SUCCESS;
}

static bool work_send(struct fake_qp *f)
{
	struct fake_send *s = STAILQ_FIRST(&f->sends);
	enum ibv_wc_status status = f->error ? IBV_WC_WR_FLUSH_ERR : do_send(f, s);

	if (status == IBV_WC_RNR_RETRY_EXC_ERR)
		return false;
	if (status != IBV_WC_SUCCESS)
		fake_break(f);
	if (status != IBV_WC_SUCCESS || s->wr.send_flags & IBV_SEND_SIGNALED)
		complete(f->qp.send_cq, f, s->wr.wr_id, status, 0);
	STAILQ_REMOVE_HEAD(&f->sends, entry);
	f->nsends--;
	free(s);
	return true;
}

/* Do one thing that is to be done on @f. False: there is nothing. */
static bool fake_work(struct fake_qp *f)
{
	struct fake_recv *r = STAILQ_FIRST(&f->recvs);

	if (!STAILQ_EMPTY(&f->sends))
		return work_send(f);
	if (!f->error || !r)
		return false;
	complete(f->qp.recv_cq, f, r->wr_id, IBV_WC_WR_FLUSH_ERR, 0);
	STAILQ_REMOVE_HEAD(&f->recvs, entry);
	free(r);
	return true;
}

/* A message from the other end. False: there is no receive for it. */
static bool fake_deliver(struct fake_qp *f, const uint8_t *bytes, uint32_t len)
{
	struct fake_recv *r = STAILQ_FIRST(&f->recvs);
	uint32_t left = len;

	if (f->error || !r)
		return false;
	for (int i = 0; i < r->num_sge && left; i++) {
		uint32_t n = left < r->sge[i].length ? left : r->sge[i].length;

		expect_registered(&r->sge[i]);
		memcpy((void *)(uintptr_t)r->sge[i].addr, bytes, n);
		bytes += n;
		left -= n;
	}
	complete(f->qp.recv_cq, f, r->wr_id, left ? IBV_WC_LOC_LEN_ERR : IBV_WC_SUCCESS, len);
	if (left)
		fake_break(f);
	STAILQ_REMOVE_HEAD(&f->recvs, entry);
	free(r);
	return true;
}

/* ---- the device --------------------------------------------------------------------------------
 */

static void fake_device_comes(void)
{
	struct ibv_context *c = calloc(1, sizeof(*c));

	strcpy(fake.device.name, "fake0");
	strcpy(fake.device.dev_path, "/");
	c->device = &fake.device;
	c->ops.poll_cq = fake_poll_cq;
	c->ops.req_notify_cq = fake_req_notify_cq;
	c->ops.post_send = fake_post_send;
	c->ops.post_recv = fake_post_recv;
	c->cmd_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	c->async_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->num_comp_vectors = 1;
	fake.verbs = c;
}

static void fake_device_freed(struct ibv_context *c)
{
	close(c->cmd_fd);
	close(c->async_fd);
	free(c);
}

const char *ibv_get_device_name(struct ibv_device *device)
{
	return device->name;
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	(void)context;
	*attr = (struct ibv_device_attr){ .max_qp_wr = 2048,
					  .max_cqe = FAKE_CQES,
					  .max_qp_init_rd_atom = 16,
					  .device_cap_flags = IBV_DEVICE_MEM_MGT_EXTENSIONS };
	return 0;
}

int ibv_query_port(struct ibv_context *context, uint8_t port, struct _compat_ibv_port_attr *attr)
{
	(void)context, (void)port;
	((struct ibv_port_attr *)(void *)attr)->active_mtu = IBV_MTU_4096;
	return 0;
}

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	struct ibv_pd *pd = calloc(1, sizeof(*pd));

	pd->context = context;
	fake.nobjects++;
	return pd;
}

int ibv_dealloc_pd(struct ibv_pd *pd)
{
	free(pd);
	fake.nobjects--;
	return 0;
}

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
{
	struct ibv_comp_channel *c = calloc(1, sizeof(*c));

	c->context = context;
	c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake.nobjects++;
	return c;
}

int ibv_destroy_comp_channel(struct ibv_comp_channel *c)
{
	close(c->fd);
	free(c);
	fake.nobjects--;
	return 0;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *cq_context,
			     struct ibv_comp_channel *channel, int vector)
{
	struct fake_cq *f = calloc(1, sizeof(*f));

	ck_assert(cqe <= FAKE_CQES && vector == 0);
	f->cq.context = context;
	f->cq.cq_context = cq_context;
	f->cq.channel = channel;
	fake.nobjects++;
	return &f->cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	free(cq);
	fake.nobjects--;
	return 0;
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **context)
{
	(void)channel, (void)cq, (void)context;
	return -1;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int n)
{
	(void)cq;
	ck_assert(n == 0);
}

int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	(void)context, (void)event;
	return -1;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	if (mask & IBV_QP_STATE && attr->qp_state == IBV_QPS_ERR)
		fake_break((struct fake_qp *)qp);
	return 0;
}

/* One of the calls that accepting a connection makes. */
static bool accept_fails(void)
{
	if (fake.accept_fails_in == 0 || --fake.accept_fails_in > 0)
		return false;
	errno = EINVAL;
	return true;
}

int ibv_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
		 struct ibv_qp_init_attr *init)
{
	(void)qp, (void)mask;
	if (accept_fails())
		return EINVAL;
	memset(attr, 0, sizeof(*attr));
	memset(init, 0, sizeof(*init));
	attr->path_mtu = IBV_MTU_4096;
	return 0;
}

/* ---- the connection manager ---------------------------------------------------------------------
 */

static void set_readable(bool readable)
{
	eventfd_t value;

	(void)eventfd_read(fake.channel.fd, &value);
	if (readable)
		(void)eventfd_write(fake.channel.fd, 1);
}

static struct fake_event *fake_tell(struct fake_id *id, enum rdma_cm_event_type type)
{
	struct fake_event *e = calloc(1, sizeof(*e));

	e->event.id = &id->id;
	e->event.event = type;
	STAILQ_INSERT_TAIL(&fake.events, e, entry);
	set_readable(true);
	return e;
}

static struct fake_id *fake_new_id(struct peer *peer)
{
	struct fake_id *id = calloc(1, sizeof(*id));

	id->peer = peer;
	LIST_INSERT_HEAD(&fake.ids, id, entry);
	return id;
}

static void free_event(struct fake_event *e)
{
	free((void *)(uintptr_t)e->event.param.conn.private_data);
	free(e);
}

/* What was not asked for yet; a request that nobody will hear of is refused. */
static void forget_events(const struct rdma_cm_id *id)
{
	struct fake_event *e, *next;
	struct fake_events keep = STAILQ_HEAD_INITIALIZER(keep);

	for (e = STAILQ_FIRST(&fake.events); e; e = next) {
		struct fake_id *of = (struct fake_id *)e->event.id;

		next = STAILQ_NEXT(e, entry);
		if (e->event.id != id && e->event.listen_id != id) {
			STAILQ_INSERT_TAIL(&keep, e, entry);
			continue;
		}
		if (e->event.listen_id == id) {
			peer_hears_reject(of->peer);
			peer_lost(of->peer);
			LIST_REMOVE(of, entry);
			free(of);
		}
		free_event(e);
	}
	STAILQ_INIT(&fake.events);
	STAILQ_CONCAT(&fake.events, &keep);
}

struct rdma_event_channel *rdma_create_event_channel(void)
{
	fake.channel.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake.nobjects++;
	return &fake.channel;
}

void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	close(channel->fd);
	fake.nobjects--;
}

int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context,
		   enum rdma_port_space ps)
{
	*id = &fake_new_id(NULL)->id;
	(*id)->channel = channel;
	(*id)->context = context;
	(*id)->ps = ps;
	return 0;
}

int rdma_destroy_id(struct rdma_cm_id *id)
{
	struct fake_id *f = (struct fake_id *)id;

	ck_assert(!id->qp);
	forget_events(id);
	if (f->peer)
		peer_lost(f->peer);
	LIST_REMOVE(f, entry);
	free(f);
	return 0;
}

int rdma_set_option(struct rdma_cm_id *id, int level, int name, void *value, size_t len)
{
	(void)id, (void)level, (void)name, (void)value, (void)len;
	return 0;
}

int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
	if (!fake.verbs) {
		errno = ENODEV;
		return -1;
	}
	memcpy(&id->route.addr.src_addr, addr, sizeof(struct sockaddr_in));
	id->verbs = fake.verbs;
	id->port_num = 1;
	return 0;
}

int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	(void)backlog;
	((struct fake_id *)id)->listens = true;
	return 0;
}

int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
{
	struct fake_event *e = STAILQ_FIRST(&fake.events);

	(void)channel;
	if (!e) {
		set_readable(false);
		errno = EAGAIN;
		return -1;
	}
	STAILQ_REMOVE_HEAD(&fake.events, entry);
	*event = &e->event;
	return 0;
}

int rdma_ack_cm_event(struct rdma_cm_event *event)
{
	free_event((struct fake_event *)event);
	return 0;
}

int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct fake_qp *f = calloc(1, sizeof(*f));

	f->qp = (struct ibv_qp){ .context = pd->context,
				 .qp_context = attr->qp_context,
				 .pd = pd,
				 .send_cq = attr->send_cq,
				 .recv_cq = attr->recv_cq,
				 .qp_num = ++fake.next_qpn };
	f->peer = ((struct fake_id *)id)->peer;
	f->max_sends = attr->cap.max_send_wr;
	STAILQ_INIT(&f->sends);
	STAILQ_INIT(&f->recvs);
	id->qp = &f->qp;
	peer_qp(f->peer, f);
	fake.nobjects++;
	return 0;
}

void rdma_destroy_qp(struct rdma_cm_id *id)
{
	struct fake_qp *f = (struct fake_qp *)id->qp;
	struct fake_send *s;
	struct fake_recv *r;

	while ((s = STAILQ_FIRST(&f->sends))) {
		STAILQ_REMOVE_HEAD(&f->sends, entry);
		free(s);
	}
	while ((r = STAILQ_FIRST(&f->recvs))) {
		STAILQ_REMOVE_HEAD(&f->recvs, entry);
		free(r);
	}
	peer_qp(f->peer, NULL);
	id->qp = NULL;
	free(f);
	fake.nobjects--;
}

int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	ck_assert(id->qp && param->private_data_len == 32);
	if (accept_fails())
		return -1;
	((struct fake_id *)id)->accepted = true;
	peer_hears_accept(((struct fake_id *)id)->peer);
	return 0;
}

int rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t len)
{
	(void)data;
	ck_assert(len == 4);
	/* the kernel's would repeat the accept for a minute, and let rdma_destroy_id() wait for
	 * that */
	ck_assert(!((struct fake_id *)id)->accepted);
	peer_hears_reject(((struct fake_id *)id)->peer);
	return 0;
}

int rdma_disconnect(struct rdma_cm_id *id)
{
	struct fake_id *f = (struct fake_id *)id;

	fake_break((struct fake_qp *)id->qp);
	if (!f->told_disconnect)
		peer_hears_disconnect(f->peer);
	f->told_disconnect = true;
	return 0;
}

int rdma_notify(struct rdma_cm_id *id, enum ibv_event_type event)
{
	(void)id;
	ck_assert(event == IBV_EVENT_COMM_EST);
	return 0; /* the test tells of ESTABLISHED, or not */
}

#endif
