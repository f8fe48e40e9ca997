/*
 * loopback: two RC queue pairs of one RNIC connected to each other, and pinned host memory on the
 * far side. With it the RNIC is made to read and write staged memory without a peer: for proofs,
 * and to flush what it wrote to a CMB.
 *
 * The far side has a protection domain of its own: its memory is the only one of the daemon that is
 * registered for remote access, and no host's queue pair may reach it.
 */
#ifndef P2P_LOOPBACK_H
#define P2P_LOOPBACK_H

#include <infiniband/verbs.h>
#include <stdbool.h>

struct loopback {
	struct ibv_cq *cq;
	struct ibv_qp *near, *far; /* work is posted to near; far answers by itself */
	uint8_t *far_buf;
	struct ibv_pd *far_pd;
	struct ibv_mr *far_mr;
	/* private: */
	bool own_cq;
};

/**
 * loopback_init() - make and connect the pair on port @port_num with path MTU @mtu.
 * @cq: where completions go, with room for @depth + 2; NULL: makes its own.
 * @depth: work requests that may be out. @far_len: bytes of far_buf.
 * Blocks for a moment. Return: 0 or negative errno; then @lo is zero.
 */
__attribute__((warn_unused_result)) int loopback_init(struct loopback *lo, struct ibv_pd *pd,
						      struct ibv_cq *cq, uint8_t port_num,
						      enum ibv_mtu mtu, unsigned int depth,
						      size_t far_len);

/** loopback_fini() - fine on a zeroed struct. */
void loopback_fini(struct loopback *lo);

#endif
