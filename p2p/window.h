/*
 * window: a range of IOVA that the RNIC knows by one memory region, for ever.
 *
 *      IOVA (= VA)   base                                            base + size
 *      window        |....[linked: CMB pages]....[linked: host]......|   one MR, one lkey
 *                             ^  mremap              ^
 *      pools              CMB provider           host provider
 *
 * How the window comes to its memory is its backing (struct window_backing in window.c):
 *
 *  - ODP: a PROT_NONE reservation registered on demand (IBV_ACCESS_ON_DEMAND). Linking moves a
 *    provider's pages into it, unlinking moves them back, the MMU notifier keeps the RNIC's
 *    translation right, and lkey and IOVA never change.
 *  - pinned: host memory registered the ordinary way, there from the start, for an RNIC without
 *    usable ODP; its callers cannot tell.
 *  - an RNIC that can register a dma-buf of a CMB (ibv_reg_dmabuf_mr) would be a third.
 *
 * The verbs are the kernel's own (include/linux/dma-mapping.h, dma_iova_*):
 *
 *      iova_try_alloc -> iova_link ... -> iova_sync -> [RDMA, backing I/O] -> iova_unlink ->
 * iova_free
 *
 * Ranges, links and unlinks are whole pages: the IOVA is ours to choose, so payload always starts
 * on a page and nothing ever has to bounce; a tail shorter than a page still owns its page.
 *
 * Reactor-local: one window belongs to one reactor and is used by that thread alone.
 */
#ifndef P2P_WINDOW_H
#define P2P_WINDOW_H

#include "p2p/provider.h"

#include <infiniband/verbs.h>

#define WINDOW_SIZE_MAX  ((size_t)INT32_MAX + 1 - P2P_PAGE_SIZE) /* rxe: facts.md, p2p.md 1.2 */
#define IOVA_MAX_EXTENTS 16

/* Per-page state, one byte a page. */
enum {
	IOVA_PAGE_VALID = 1 << 0,  /* part of an allocated range */
	IOVA_PAGE_LINKED = 1 << 1, /* a provider's page sits here */
	IOVA_PAGE_P2P = 1 << 2,    /* and that provider is a CMB */
};

struct window_stats {
	uint64_t links, unlinks; /* extents moved in and out */
	uint64_t linked_pages;   /* now */
	uint64_t syncs;          /* prefetches, each for a whole range */
	uint64_t full;           /* ranges that found no room */
};

struct window_backing;

struct window {
	const struct window_backing *backing;
	uint8_t *base;
	size_t size;
	struct ibv_mr *mr;     /* its lkey serves the whole window */
	struct provider *host; /* pinned: what it is made of; owned */
	struct window_stats stats;
	uint32_t slot_pages; /* in slots that are out, kept by slot.c */
	/* private: */
	struct buddy free;
	uint8_t *page;
	bool no_advise; /* the RNIC or its library has no ibv_advise_mr */
};

/* Pages of one provider that are contiguous in its pool and in the window. */
struct iova_extent {
	struct provider *provider;
	uint32_t pool_page;
	uint32_t page; /* within the range */
	uint32_t npages;
};

/* The caller-held state of one range, as struct dma_iova_state is in the kernel. */
struct iova_state {
	struct window *window;
	uint8_t *va; /* also the IOVA */
	uint32_t npages;
	uint8_t order;
	uint8_t nextents; /* ascending, not overlapping */
	struct iova_extent extent[IOVA_MAX_EXTENTS];
};

/**
 * window_create_odp() - reserve and register @size bytes on demand.
 * Return: 0; -EOPNOTSUPP if the RNIC has no ODP for RC READ, WRITE and SEND; -EINVAL for a size
 * that is no multiple of the page or above WINDOW_SIZE_MAX; else the negative errno of mmap or
 * ibv_reg_mr.
 */
__attribute__((warn_unused_result)) int window_create_odp(struct ibv_pd *pd, size_t size,
							  struct window **ret_window);

/** window_create_pinned() - @size bytes of registered host memory. Return: 0 or negative errno
 * (-ENOMEM: mind RLIMIT_MEMLOCK). */
__attribute__((warn_unused_result)) int window_create_pinned(struct ibv_pd *pd, size_t size,
							     struct window **ret_window);

/** window_destroy() - deregister and unmap. Every range must have been freed. NULL is fine. */
void window_destroy(struct window *w);

/** iova_try_alloc() - a range of @size bytes (rounded up to 2^n pages), not linked yet.
 * Return: 0, or -ENOSPC: the window has no such range now. */
__attribute__((warn_unused_result)) int iova_try_alloc(struct window *w, struct iova_state *s,
						       size_t size);

/**
 * iova_link() - put pages of @p under bytes [@offset, @offset + @size) of the range, contiguous
 * where the pool has them so. @offset and @size: multiples of the page. All or nothing. Two
 * providers may be linked into one range, but never share an extent, and one backing I/O must not
 * touch both. Syscalls; never on the warm path.
 *
 * Return: 0; -ENOMEM: the provider has too few pages (or only scattered ones); -EINVAL: this window
 * cannot link this provider, or the bytes are not in the range; -EBUSY: some are linked already;
 * else the errno of mremap.
 */
__attribute__((warn_unused_result)) int iova_link(struct iova_state *s, size_t offset,
						  struct provider *p, size_t size);

/** iova_sync() - tell the RNIC of all links in these bytes in one go (a prefetch; nothing where the
 * RNIC or its library cannot). Only a hint: a fault would do the same, later. */
void iova_sync(struct iova_state *s, size_t offset, size_t size);

/**
 * iova_unlink() - give every page linked in these bytes back to its provider. No RDMA may be in
 * flight on them: access to an unlinked page breaks the queue pair (IBV_WC_LOC_PROT_ERR).
 * Return: 0; -EINVAL: not in the range; -ENOSPC: would leave more than IOVA_MAX_EXTENTS pieces;
 * -ENOMEM: the kernel allows no more mappings (vm.max_map_count). Pages are still linked then.
 */
__attribute__((warn_unused_result)) int iova_unlink(struct iova_state *s, size_t offset,
						    size_t size);

/** iova_free() - give back a range that is not linked. */
void iova_free(struct iova_state *s);

/** iova_destroy() - unlink and free in one. Return: 0, or the error of iova_unlink(); the range is
 * still there then. */
__attribute__((warn_unused_result)) int iova_destroy(struct iova_state *s);

/** window_backing_name() - "odp" or "pinned". */
const char *window_backing_name(const struct window *w);

/** iova_linked() - are all of these bytes linked? For assertions and tests. */
bool iova_linked(const struct iova_state *s, size_t offset, size_t size);

#endif
