#include "tests/fault/fake_rnic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CQ_ENTRIES 16

/* The test's own memory is no call of the program. */
void *__real_calloc(size_t n, size_t size);

struct fake_cq {
	struct ibv_cq cq; /* first */
	struct ibv_wc wc[CQ_ENTRIES];
	unsigned int head, n;
};

static struct ibv_device device = { .name = "fake0" };
static unsigned int nobjects, nqps;

/* ---- the device --------------------------------------------------------------------------------
 */

static int query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr,
		      size_t len)
{
	(void)context, (void)port;
	memset(attr, 0, len);
	attr->state = IBV_PORT_ACTIVE;
	attr->active_mtu = IBV_MTU_4096;
	return 0;
}

static int query_device_ex(struct ibv_context *context, const struct ibv_query_device_ex_input *in,
			   struct ibv_device_attr_ex *attr, size_t len)
{
	(void)context, (void)in;
	memset(attr, 0, len);
	attr->odp_caps.general_caps = IBV_ODP_SUPPORT;
	attr->odp_caps.per_transport_caps.rc_odp_caps = UINT32_MAX;
	return 0;
}

static int advise_mr(struct ibv_pd *pd, enum ibv_advise_mr_advice advice, uint32_t flags,
		     struct ibv_sge *sge, uint32_t n)
{
	(void)pd, (void)advice, (void)flags, (void)sge, (void)n;
	return 0;
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct fake_cq *cq = (struct fake_cq *)qp->send_cq;

	for (; wr; wr = wr->next) {
		void *here = (void *)(uintptr_t)wr->sg_list[0].addr;
		void *there = (void *)(uintptr_t)wr->wr.rdma.remote_addr;

		if (cq->n == CQ_ENTRIES) {
			*bad = wr;
			return ENOMEM;
		}
		if (wr->opcode == IBV_WR_RDMA_READ)
			memcpy(here, there, wr->sg_list[0].length);
		else
			memcpy(there, here, wr->sg_list[0].length);
		cq->wc[(cq->head + cq->n++) % CQ_ENTRIES] =
			(struct ibv_wc){ .wr_id = wr->wr_id, .status = IBV_WC_SUCCESS };
	}
	return 0;
}

static int poll_cq(struct ibv_cq *ibcq, int max, struct ibv_wc *wc)
{
	struct fake_cq *cq = (struct fake_cq *)ibcq;
	int n = 0;

	for (; n < max && cq->n > 0; n++, cq->n--)
		wc[n] = cq->wc[cq->head++ % CQ_ENTRIES];
	return n;
}

static struct verbs_context verbs = {
	.sz = sizeof(verbs),
	.query_port = query_port,
	.query_device_ex = query_device_ex,
	.advise_mr = advise_mr,
	.context = { .device = &device,
		     .abi_compat = __VERBS_ABI_IS_EXTENDED,
		     .ops = { .post_send = post_send, .poll_cq = poll_cq } },
};

struct ibv_context *fake_rnic_open(void)
{
	return &verbs.context;
}

unsigned int fake_rnic_objects(void)
{
	return nobjects;
}

/* ---- what is made on it: in place of libibverbs ------------------------------------------------
 */

static void *make(size_t size)
{
	nobjects++;
	return __real_calloc(1, size);
}

static int drop(void *object)
{
	nobjects--;
	free(object);
	return 0;
}

const char *ibv_get_device_name(struct ibv_device *d)
{
	return d->name;
}

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	struct ibv_pd *pd = make(sizeof(*pd));

	pd->context = context;
	return pd;
}

int ibv_dealloc_pd(struct ibv_pd *pd)
{
	return drop(pd);
}

#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *at, size_t len, int access)
{
	struct ibv_mr *mr = make(sizeof(*mr));

	(void)access;
	*mr = (struct ibv_mr){ .context = pd->context, .pd = pd, .addr = at, .length = len };
	return mr;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *at, size_t len, uint64_t iova,
				unsigned int access)
{
	(void)iova;
	return ibv_reg_mr(pd, at, len, (int)access);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	return drop(mr);
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int n, void *arg,
			     struct ibv_comp_channel *channel, int vector)
{
	struct fake_cq *cq = make(sizeof(*cq));

	(void)n, (void)vector;
	cq->cq.context = context;
	cq->cq.cq_context = arg;
	cq->cq.channel = channel;
	return &cq->cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	return drop(cq);
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp *qp = make(sizeof(*qp));

	*qp = (struct ibv_qp){ .context = pd->context,
			       .pd = pd,
			       .send_cq = attr->send_cq,
			       .recv_cq = attr->recv_cq,
			       .qp_num = ++nqps };
	return qp;
}

int ibv_destroy_qp(struct ibv_qp *qp)
{
	return drop(qp);
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	if (mask & IBV_QP_STATE)
		qp->state = attr->qp_state;
	return 0;
}

ssize_t _ibv_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries, size_t max,
			     uint32_t flags, size_t entry_len)
{
	(void)context, (void)max, (void)flags;
	memset(entries, 0, entry_len);
	entries[0].port_num = 1;
	entries[0].gid_type = IBV_GID_TYPE_ROCE_V2;
	return 1;
}
