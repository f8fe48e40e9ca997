#include "p2p/loopback.h"

#include "p2p/provider.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static int connect_qp(struct ibv_qp *qp, unsigned int access, const struct ibv_qp *peer,
		      uint8_t port_num, enum ibv_mtu mtu, const struct ibv_gid_entry *gid,
		      uint16_t lid)
{
	struct ibv_qp_attr init = { .qp_state = IBV_QPS_INIT,
				    .port_num = port_num,
				    .qp_access_flags = access };
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

void loopback_fini(struct loopback *lo)
{
	if (lo->near)
		ibv_destroy_qp(lo->near);
	if (lo->far)
		ibv_destroy_qp(lo->far);
	if (lo->own_cq)
		ibv_destroy_cq(lo->cq);
	if (lo->far_mr)
		ibv_dereg_mr(lo->far_mr);
	if (lo->far_pd)
		ibv_dealloc_pd(lo->far_pd);
	free(lo->far_buf);
	*lo = (struct loopback){ 0 };
}

static int create_memory(struct loopback *lo, struct ibv_context *ctx, size_t len)
{
	len = (len + P2P_PAGE_SIZE - 1) / P2P_PAGE_SIZE * P2P_PAGE_SIZE;
	lo->far_buf = aligned_alloc(P2P_PAGE_SIZE, len);
	if (!lo->far_buf)
		return -ENOMEM;
	memset(lo->far_buf, 0, len);
	lo->far_pd = ibv_alloc_pd(ctx);
	if (!lo->far_pd)
		return -ENOMEM;
	lo->far_mr = ibv_reg_mr(lo->far_pd, lo->far_buf, len,
				IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
					IBV_ACCESS_REMOTE_WRITE);
	return lo->far_mr ? 0 : -errno;
}

static int create_qps(struct loopback *lo, struct ibv_pd *pd, unsigned int depth)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = lo->cq,
		.recv_cq = lo->cq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = depth,
			 .max_recv_wr = 1,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	lo->near = ibv_create_qp(pd, &attr);
	attr.cap.max_send_wr = 1;
	lo->far = lo->near ? ibv_create_qp(lo->far_pd, &attr) : NULL;
	return lo->far ? 0 : -errno;
}

static int connect_pair(struct loopback *lo, struct ibv_context *ctx, uint8_t port_num,
			enum ibv_mtu mtu)
{
	struct ibv_port_attr port;
	struct ibv_gid_entry gid;
	int err = pick_gid(ctx, port_num, &gid);

	if (!err && ibv_query_port(ctx, port_num, &port))
		err = -EIO;
	if (!err)
		err = connect_qp(lo->near, 0, lo->far, port_num, mtu, &gid, port.lid);
	if (!err)
		err = connect_qp(lo->far, IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
				 lo->near, port_num, mtu, &gid, port.lid);
	return err;
}

int loopback_init(struct loopback *lo, struct ibv_pd *pd, struct ibv_cq *cq, uint8_t port_num,
		  enum ibv_mtu mtu, unsigned int depth, size_t far_len)
{
	*lo = (struct loopback){ .cq = cq };
	if (!cq) {
		lo->cq = ibv_create_cq(pd->context, (int)depth + 2, NULL, NULL, 0);
		if (!lo->cq)
			return -ENOMEM;
		lo->own_cq = true;
	}

	int err = create_memory(lo, pd->context, far_len);

	if (!err)
		err = create_qps(lo, pd, depth);
	if (!err)
		err = connect_pair(lo, pd->context, port_num, mtu);
	if (err)
		loopback_fini(lo);
	return err;
}
