/*
 * proof: does a path carry the bytes it is given? Nothing is trusted because it says so.
 *
 * An RNIC may report success and have written elsewhere (rxe's ODP, facts.md), a drive may report
 * success and have read another bus address (a peer-to-peer route that an IOMMU translates). So
 * patterns are moved and compared before a user's byte goes that way. Needs no file system, writes
 * no block of any drive. Blocks for milliseconds; control thread, or a reactor that is not serving
 * yet.
 */
#ifndef P2P_PROOF_H
#define P2P_PROOF_H

#include "p2p/slot.h"

enum proof_verdict {
	PROOF_UNKNOWN, /* not tried yet */
	PROOF_NONE,    /* a page-aligned transfer went wrong: not to be used */
	PROOF_ALIGNED, /* right when every buffer starts on a page boundary */
	PROOF_ANY,     /* right at every alignment tried */
};

struct proof {
	enum proof_verdict verdict;
	char why[192]; /* the first case that failed, for the log; empty if none did */
};

/**
 * proof_rnic() - RDMA READ into and RDMA WRITE out of a slot of @c, over a loopback pair of queue
 * pairs on port @port_num with path MTU @mtu. Compares every byte, and the bytes beside them. The
 * outcome, good or bad, is @ret; PROOF_UNKNOWN if no slot can be had now.
 */
void proof_rnic(struct slot_cache *c, uint8_t port_num, enum ibv_mtu mtu, struct proof *ret);

/**
 * proof_backend() - read the start of the open block device @fd (O_DIRECT) into @p's pages and into
 * host memory, and compare. @len: bytes to read, a multiple of the logical block, at most 16 pages.
 * Proves the drive's writes to the pages, which is the direction that destroys when it is wrong.
 * PROOF_UNKNOWN if no pages can be had now.
 */
void proof_backend(int fd, size_t len, struct provider *p, struct proof *ret);

/**
 * proof_backend_write() - the drive's reading of @p's pages, without writing a user's block: by
 * NVMe Compare of the drive's first blocks, or, if @scratch_fd >= 0, by writing its first 64 KiB.
 * The verdict is PROOF_UNKNOWN where neither can be had: the caller may use the path, and watches.
 */
void proof_backend_write(int fd, int scratch_fd, struct provider *p, struct proof *ret);

/** proof_verdict_name() - "none", "aligned", "any", "unproved". */
const char *proof_verdict_name(enum proof_verdict verdict);

/** proof_mtu_bytes() - 256 << (mtu - 1). */
static inline unsigned int proof_mtu_bytes(enum ibv_mtu mtu)
{
	return 128u << (unsigned int)mtu;
}

#endif
