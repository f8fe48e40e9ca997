#include "p2p/proof.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROOF_PAGES 16u
#define PROOF_LEN   ((size_t)PROOF_PAGES * P2P_PAGE_SIZE)
#define BACKGROUND  0xE7
#define DEADLINE_S  3

/* Two RC queue pairs connected to each other, and a pinned host buffer on the far side. */
struct loopback {
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *near, *far;
	struct ibv_mr *far_mr;
	uint8_t *far_buf; /* PROOF_LEN */
};

static void fail(struct proof *proof, enum proof_verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fail(struct proof *proof, enum proof_verdict verdict, const char *fmt, ...)
{
	va_list ap;

	proof->verdict = verdict;
	va_start(ap, fmt);
	vsnprintf(proof->why, sizeof(proof->why), fmt, ap);
	va_end(ap);
}

/* Bytes that differ between neighbours, packets and pages, so that any misplacement shows. */
static void fill_pattern(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((((uint32_t)i + seed) * 2654435761u) >> 19);
}

/* ---- the queue pairs ---------------------------------------------------------------------- */

static int pick_gid(struct ibv_context *ctx, uint8_t port_num, struct ibv_gid_entry *ret)
{
	struct ibv_gid_entry gids[64];
	ssize_t n = ibv_query_gid_table(ctx, gids, 64, 0);
	bool found = false;

	for (ssize_t i = 0; i < n; i++) {
		if (gids[i].port_num != port_num || gids[i].gid_type == IBV_GID_TYPE_ROCE_V1)
			continue;
		/* an IPv4-mapped GID needs no neighbour discovery: prefer it */
		if (!found ||
		    (gids[i].gid.global.subnet_prefix == 0 && ret->gid.global.subnet_prefix != 0))
			*ret = gids[i];
		found = true;
	}
	return found ? 0 : -ENODEV;
}

static int connect_qp(struct ibv_qp *qp, const struct ibv_qp *peer, uint8_t port_num,
		      enum ibv_mtu mtu, const struct ibv_gid_entry *gid, uint16_t lid)
{
	struct ibv_qp_attr init = { .qp_state = IBV_QPS_INIT,
				    .port_num = port_num,
				    .qp_access_flags = IBV_ACCESS_LOCAL_WRITE |
						       IBV_ACCESS_REMOTE_READ |
						       IBV_ACCESS_REMOTE_WRITE };
	struct ibv_qp_attr rtr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = mtu,
		.dest_qp_num = peer->qp_num,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = { .port_num = port_num,
			     .dlid = lid,
			     .is_global = gid->gid_type != IBV_GID_TYPE_IB,
			     .grh = { .dgid = gid->gid,
				      .sgid_index = (uint8_t)gid->gid_index,
				      .hop_limit = 1 } },
	};
	struct ibv_qp_attr rts = { .qp_state = IBV_QPS_RTS,
				   .timeout = 14,
				   .retry_cnt = 3,
				   .rnr_retry = 3,
				   .max_rd_atomic = 1 };
	int err = ibv_modify_qp(
		qp, &init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);

	if (!err)
		err = ibv_modify_qp(qp, &rtr,
				    IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
					    IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
					    IBV_QP_MIN_RNR_TIMER);
	if (!err)
		err = ibv_modify_qp(qp, &rts,
				    IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
					    IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
					    IBV_QP_MAX_QP_RD_ATOMIC);
	return -err;
}

static void loopback_fini(struct loopback *lo)
{
	if (lo->near)
		ibv_destroy_qp(lo->near);
	if (lo->far)
		ibv_destroy_qp(lo->far);
	if (lo->cq)
		ibv_destroy_cq(lo->cq);
	if (lo->far_mr)
		ibv_dereg_mr(lo->far_mr);
	free(lo->far_buf);
}

static int loopback_init(struct loopback *lo, struct ibv_pd *pd, uint8_t port_num, enum ibv_mtu mtu)
{
	struct ibv_port_attr port;
	struct ibv_gid_entry gid;

	*lo = (struct loopback){ .pd = pd };
	if (ibv_query_port(pd->context, port_num, &port))
		return -EIO;

	int err = pick_gid(pd->context, port_num, &gid);

	if (err)
		return err;
	lo->cq = ibv_create_cq(pd->context, 8, NULL, NULL, 0);
	lo->far_buf = aligned_alloc(P2P_PAGE_SIZE, PROOF_LEN);
	if (!lo->cq || !lo->far_buf)
		return -ENOMEM;
	memset(lo->far_buf, 0, PROOF_LEN);
	lo->far_mr = ibv_reg_mr(pd, lo->far_buf, PROOF_LEN,
				IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
					IBV_ACCESS_REMOTE_WRITE);
	if (!lo->far_mr)
		return -errno;

	struct ibv_qp_init_attr attr = {
		.send_cq = lo->cq,
		.recv_cq = lo->cq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 2, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};

	lo->near = ibv_create_qp(pd, &attr);
	lo->far = lo->near ? ibv_create_qp(pd, &attr) : NULL;
	if (!lo->far)
		return -errno;
	err = connect_qp(lo->near, lo->far, port_num, mtu, &gid, port.lid);
	return err ? err : connect_qp(lo->far, lo->near, port_num, mtu, &gid, port.lid);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One RDMA operation between @va (lkey) and the start of the far buffer. NULL: it completed well.
 */
static const char *rdma(struct loopback *lo, enum ibv_wr_opcode op, uint8_t *va, uint32_t lkey,
			size_t len)
{
	struct ibv_sge sge = { .addr = (uintptr_t)va, .length = (uint32_t)len, .lkey = lkey };
	struct ibv_send_wr wr = { .sg_list = &sge,
				  .num_sge = 1,
				  .opcode = op,
				  .send_flags = IBV_SEND_SIGNALED,
				  .wr.rdma = { (uintptr_t)lo->far_buf, lo->far_mr->rkey } };
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	double deadline = seconds() + DEADLINE_S;

	if (ibv_post_send(lo->near, &wr, &bad))
		return "post failed";
	for (;;) {
		int n = ibv_poll_cq(lo->cq, 1, &wc);

		if (n < 0)
			return "completion queue failed";
		if (n > 0)
			return wc.status == IBV_WC_SUCCESS ? NULL : ibv_wc_status_str(wc.status);
		if (seconds() > deadline)
			return "no completion in time";
		sched_yield();
	}
}

/* ---- the RNIC's cases --------------------------------------------------------------------- */

static const struct rnic_case {
	size_t offset, len;
} rnic_cases[] = {
	/* page-aligned first: if one fails, nothing else matters */
	{ 0, 512 },
	{ 0, 4096 },
	{ 0, 4096 + 512 },
	{ 0, PROOF_LEN },
	{ 4096, 3 * 4096 + 1536 },
	/* inside a page */
	{ 512, 512 },
	{ 512, 4096 },
	{ 2048 + 512, 16384 },
};

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t i = 0;

	while (i < len && a[i] == b[i])
		i++;
	return i;
}

/* RDMA READ far pattern -> pages; everything outside [offset, offset + len) must stay background.
 */
static const char *try_read(struct loopback *lo, struct iova_state *s, const struct rnic_case *c,
			    uint8_t *want, uint8_t *got)
{
	struct provider *p = s->extent[0].provider;

	memset(want, BACKGROUND, PROOF_LEN);
	if (provider_poke(p, s->va, want, PROOF_LEN))
		return "pages are gone";
	fill_pattern(lo->far_buf, PROOF_LEN, (uint32_t)(c->offset + c->len));
	memcpy(want + c->offset, lo->far_buf, c->len);

	const char *bad =
		rdma(lo, IBV_WR_RDMA_READ, s->va + c->offset, s->window->mr->lkey, c->len);

	if (bad)
		return bad;
	if (provider_peek(p, s->va, got, PROOF_LEN))
		return "pages are gone";
	return first_difference(want, got, PROOF_LEN) == PROOF_LEN
		       ? NULL
		       : "reported success, moved wrong bytes";
}

/* RDMA WRITE pages -> far buffer. */
static const char *try_write(struct loopback *lo, struct iova_state *s, const struct rnic_case *c,
			     uint8_t *want)
{
	fill_pattern(want, PROOF_LEN, (uint32_t)(c->offset * 3 + c->len));
	if (provider_poke(s->extent[0].provider, s->va, want, PROOF_LEN))
		return "pages are gone";
	memset(lo->far_buf, BACKGROUND, PROOF_LEN);

	const char *bad =
		rdma(lo, IBV_WR_RDMA_WRITE, s->va + c->offset, s->window->mr->lkey, c->len);

	if (bad)
		return bad;
	return memcmp(lo->far_buf, want + c->offset, c->len) ? "reported success, moved wrong bytes"
							     : NULL;
}

static void run_rnic_cases(struct loopback *lo, struct iova_state *s, enum ibv_mtu mtu,
			   uint8_t *want, uint8_t *got, struct proof *ret)
{
	ret->verdict = PROOF_ANY;
	for (size_t i = 0; i < sizeof(rnic_cases) / sizeof(rnic_cases[0]); i++) {
		const struct rnic_case *c = &rnic_cases[i];
		const char *op = "READ";
		const char *bad = try_read(lo, s, c, want, got);

		if (!bad) {
			op = "WRITE";
			bad = try_write(lo, s, c, want);
		}
		if (bad) {
			fail(ret, c->offset % P2P_PAGE_SIZE ? PROOF_ALIGNED : PROOF_NONE,
			     "RDMA %s of %zu bytes at page offset %zu, path MTU %u: %s", op, c->len,
			     c->offset % P2P_PAGE_SIZE, proof_mtu_bytes(mtu), bad);
			return;
		}
	}
}

void proof_rnic(struct window *w, uint8_t port_num, struct provider *p, enum ibv_mtu mtu,
		struct proof *ret)
{
	struct loopback lo;
	struct iova_state s;
	uint8_t *buf = malloc(2 * PROOF_LEN);
	int err = buf ? iova_try_alloc(w, &s, PROOF_LEN) : -ENOMEM;

	*ret = (struct proof){ 0 };
	if (err) {
		fail(ret, PROOF_NONE, "no room for the proof: %s", strerror(-err));
		goto out_free;
	}
	err = iova_link(&s, p);
	if (err) {
		fail(ret, PROOF_NONE, "no pages of %s for the proof: %s", p->name, strerror(-err));
		goto out_iova;
	}
	iova_sync(&s);
	err = loopback_init(&lo, w->mr->pd, port_num, mtu);
	if (err)
		fail(ret, PROOF_NONE, "no loopback queue pair for the proof: %s", strerror(-err));
	else
		run_rnic_cases(&lo, &s, mtu, buf, buf + PROOF_LEN, ret);
	loopback_fini(&lo);
out_iova:
	iova_destroy(&s);
out_free:
	free(buf);
}

/* ---- the drive ---------------------------------------------------------------------------- */

static void compare_reads(int fd, size_t len, struct provider *p, uint8_t *pages, uint8_t *host,
			  uint8_t *got, struct proof *ret)
{
	if (pread(fd, host, len, 0) != (ssize_t)len) {
		fail(ret, PROOF_NONE, "reading the drive into host memory failed: %s",
		     strerror(errno));
		return;
	}
	/* a background that differs from the data in every byte: an untouched byte cannot pass */
	for (size_t i = 0; i < len; i++)
		got[i] = (uint8_t)~host[i];
	if (provider_poke(p, pages, got, len)) {
		fail(ret, PROOF_NONE, "the pages of %s are gone", p->name);
		return;
	}

	ssize_t n = pread(fd, pages, len, 0);

	if (n < 0)
		fail(ret, PROOF_NONE, "the drive cannot reach %s: %s", p->name, strerror(errno));
	else if (n != (ssize_t)len || provider_peek(p, pages, got, len) ||
		 memcmp(got, host, len) != 0)
		fail(ret, PROOF_NONE, "the drive's read into %s reported success, bytes are wrong",
		     p->name);
	else
		ret->verdict = PROOF_ANY;
}

void proof_backend(int fd, size_t len, struct provider *p, struct proof *ret)
{
	unsigned int order = buddy_order((uint32_t)((len + P2P_PAGE_SIZE - 1) / P2P_PAGE_SIZE));
	uint32_t page = buddy_take(&p->free, order);
	uint8_t *buf = aligned_alloc(P2P_PAGE_SIZE, 2 * PROOF_LEN);

	*ret = (struct proof){ 0 };
	if (page == BUDDY_NONE || !buf || len > PROOF_LEN)
		fail(ret, PROOF_NONE, "no memory for the proof");
	else
		compare_reads(fd, len, p, p->pool + (size_t)page * P2P_PAGE_SIZE, buf,
			      buf + PROOF_LEN, ret);
	free(buf);
	if (page != BUDDY_NONE)
		buddy_give(&p->free, page, order);
}
