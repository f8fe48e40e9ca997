/*
 * slot: the staging cache. A slot is an IOVA range of a size class that stays linked while it is
 * idle.
 *
 * One cache per (window, provider). Taking and giving back a linked slot is a list operation: no
 * lock, no system call, no allocation. Linking happens when a class is first needed, and under
 * pressure the longest idle slots of any class are unlinked for it. Pages are not cleared between
 * users: whoever takes a slot sends only bytes that were put there for this request.
 *
 * Reactor-local, as its window.
 */
#ifndef P2P_SLOT_H
#define P2P_SLOT_H

#include "p2p/window.h"

#include <sys/queue.h>

#define SLOT_CLASSES 9                                     /* 4 KiB, 8 KiB, ... 1 MiB */
#define SLOT_LEN_MAX (P2P_PAGE_SIZE << (SLOT_CLASSES - 1)) /* bytes */

struct slot_cache;

struct slot {
	uint8_t *va;   /* address for the RNIC (IOVA) and for O_DIRECT alike; page-aligned */
	uint32_t lkey; /* of the window */
	struct slot_cache *cache;
	/* private: */
	uint8_t class;
	uint64_t idle_since;
	struct iova_state iova;
	TAILQ_ENTRY(slot) entry;
};
TAILQ_HEAD(slot_list, slot);

/* Somebody who waits for a slot; embedded in a request. */
struct slot_waiter {
	size_t len;
	/* Called from slot_give() with a slot that is now the waiter's; may take and give others.
	 */
	void (*ready)(struct slot_waiter *w, struct slot *slot);
	/* private: */
	STAILQ_ENTRY(slot_waiter) entry;
};

struct slot_stats {
	uint64_t hits;      /* taken warm */
	uint64_t linked;    /* taken by linking */
	uint64_t evictions; /* idle slots unlinked to make room */
	uint64_t waits;
};

struct slot_cache {
	struct window *window;
	struct provider *provider;
	struct slot_stats stats;
	uint32_t ntaken; /* slots out */
	/* private: */
	uint64_t clock;
	struct slot_list idle[SLOT_CLASSES]; /* head: given back last */
	STAILQ_HEAD(slot_waiters, slot_waiter) waiters;
	bool serving;
};

/** slot_cache_create() - an empty cache. Window and provider must outlive it. Return: 0 or -ENOMEM.
 */
__attribute__((warn_unused_result)) int slot_cache_create(struct window *w, struct provider *p,
							  struct slot_cache **ret_cache);

/** slot_cache_destroy() - unlink everything. No slot may be out, nobody may wait. NULL is fine. */
void slot_cache_destroy(struct slot_cache *c);

/**
 * slot_take() - a linked slot of at least @len bytes (1..SLOT_LEN_MAX).
 * Return: the slot, or NULL: none can be had now, or others wait already (order of arrival is
 * kept).
 */
struct slot *slot_take(struct slot_cache *c, size_t len);

/** slot_wait() - be given a slot as soon as one is free, first come first served. @w stays the
 * caller's and must live until ready() or slot_unwait(). Only after slot_take() gave NULL, and only
 * if slot_possible(). */
void slot_wait(struct slot_cache *c, struct slot_waiter *w);

/** slot_unwait() - wait no longer. */
void slot_unwait(struct slot_cache *c, struct slot_waiter *w);

/** slot_possible() - could this cache ever hold @len bytes, were it empty? */
bool slot_possible(const struct slot_cache *c, size_t len);

/** slot_give() - back to the cache. No I/O may touch it any more. */
void slot_give(struct slot *slot);

#endif
