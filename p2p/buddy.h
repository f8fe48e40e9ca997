/*
 * buddy: a binary buddy allocator of page numbers.
 *
 * Hands out naturally aligned runs of 2^order pages out of [0, npages), and takes back any pages.
 * It serves both sides of a link: the IOVA side (which part of a window) and the provider side
 * (which pages of a pool). All runs being powers of two, mixed sizes cannot fragment it for good:
 * what was given back merges. Costs two bits a page. Not thread-safe: its owner serialises.
 */
#ifndef P2P_BUDDY_H
#define P2P_BUDDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDDY_MAX_ORDER 20 /* 4 GiB of 4 KiB pages: more than a window may have */
#define BUDDY_NONE      UINT32_MAX

struct buddy {
	/* private: */
	uint32_t npages;
	uint32_t nfree;
	uint32_t count[BUDDY_MAX_ORDER + 1]; /* free runs of each order */
	uint32_t hint[BUDDY_MAX_ORDER + 1];  /* no free run lies in a word below this one */
	uint64_t *map[BUDDY_MAX_ORDER + 1];  /* bit i: the run at page i << order is free */
};

/** buddy_init() - pages [0, npages), none of them free: buddy_give() brings them. Return: 0,
 * -EINVAL or -ENOMEM. */
__attribute__((warn_unused_result)) int buddy_init(struct buddy *b, uint32_t npages);

/** buddy_fini() - release the maps; runs still out are forgotten. Fine on a zeroed struct. */
void buddy_fini(struct buddy *b);

/** buddy_take() - a run of 2^order pages, the lowest that fits. Return: its first page or
 * BUDDY_NONE. */
uint32_t buddy_take(struct buddy *b, unsigned int order);

/** buddy_give() - @npages pages from @page on become free: new ones, or any part of what was taken.
 * A page that is free already is a bug of the caller and asserts. */
void buddy_give(struct buddy *b, uint32_t page, uint32_t npages);

/** buddy_take_range() - take exactly these pages. Return: false (and nothing is taken) if one of
 * them is not free. */
__attribute__((warn_unused_result)) bool buddy_take_range(struct buddy *b, uint32_t page,
							  uint32_t npages);

/** buddy_free_pages() - pages not handed out. */
static inline uint32_t buddy_free_pages(const struct buddy *b)
{
	return b->nfree;
}

/** buddy_order() - the smallest order whose runs hold @npages pages (npages >= 1). */
static inline unsigned int buddy_order(uint32_t npages)
{
	return npages <= 1 ? 0 : 32 - (unsigned int)__builtin_clz(npages - 1);
}

#endif
