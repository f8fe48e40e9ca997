/*
 * slot: the staging cache. A slot is an IOVA range of a size class that stays linked while it is
 * idle.
 *
 * One cache per (window, provider), and one domain for all caches of a reactor, because they share:
 * caches of one window its IOVA, caches of one provider its pages. Taking and giving back a linked
 * slot is a list operation: no lock, no system call, no allocation. Linking happens when a class is
 * first needed; under pressure the provider grows, and then the longest idle slots that hold what
 * is lacking are unlinked, whatever their class or cache. Whoever still finds nothing waits, first
 * come first served, and is told when waiting is hopeless.
 *
 * Who takes much leaves something to others: pages that are counted to a share (a namespace's) may
 * be three times what is left free, no more, so that one slow drive never holds all. Of that, a
 * part (one of a host's) may be as much as it leaves to the share's others, so that no host
 * that takes its answers slowly, or not at all, holds all of its drive's memory. Beyond it, whoever
 * waits does so in the part's or the share's own queue, and in nobody's way.
 *
 * Pages are not cleared between users: whoever takes a slot sends only bytes that were put there
 * for this request.
 *
 * Reactor-local, as its window.
 */
#ifndef P2P_SLOT_H
#define P2P_SLOT_H

#include "p2p/window.h"

#include <sys/queue.h>

#define SLOT_CLASSES 11                                    /* 4 KiB, 8 KiB, ... 4 MiB */
#define SLOT_LEN_MAX (P2P_PAGE_SIZE << (SLOT_CLASSES - 1)) /* bytes */

struct slot_cache;
struct slot_share;

/* On whose account a slot is taken. */
struct slot_owner {
	struct slot_share *share; /* NULL: nobody's */
	struct slot_share *part;  /* of that share; NULL: only the share counts */
};

struct slot {
	uint8_t *va;   /* address for the RNIC (IOVA) and for O_DIRECT alike; page-aligned */
	uint32_t lkey; /* of the window */
	struct slot_cache *cache;
	/* private: */
	struct slot_owner owner; /* while it is out */
	uint8_t class;
	uint32_t idle_tick;  /* the domain's tick when it became idle */
	uint64_t idle_since; /* order of becoming idle */
	struct iova_state iova;
	TAILQ_ENTRY(slot) entry;
};
TAILQ_HEAD(slot_list, slot);

/* Somebody who waits for a slot; embedded in a request. */
struct slot_waiter {
	size_t len;
	/*
	 * Called with a slot that is now the waiter's, or with NULL: none will come (the provider
	 * was lost, or nobody is left who could give one back). May take, give and wait.
	 */
	void (*ready)(struct slot_waiter *w, struct slot *slot);
	struct slot_owner owner;
	/* private: */
	struct slot_cache *cache;
	struct slot_waiters *queue; /* that it is in: its part's, its share's or the domain's */
	TAILQ_ENTRY(slot_waiter) entry;
};
TAILQ_HEAD(slot_waiters, slot_waiter);

/* A share or a part. Reactor-local, see slot_share_init(). */
struct slot_share {
	/* private: */
	uint32_t pages;  /* in slots that are out */
	uint32_t queued; /* wanted by its waiters that have left its queue */
	struct slot_waiters parked;
};

struct slot_stats {
	uint64_t hits;      /* taken warm */
	uint64_t linked;    /* taken by linking */
	uint64_t evictions; /* idle slots unlinked to make room, or after a while */
	uint64_t waits;
	uint64_t over_share; /* of these, in the part's or the share's own queue */
};

/* All caches of a reactor; embedded, see slot_domain_init(). */
struct slot_domain {
	unsigned int nwaiting; /* all who wait: somebody must look for what gives slots back */
	/* private: */
	LIST_HEAD(slot_caches, slot_cache) caches;
	struct slot_waiters waiters;
	uint64_t clock;
	uint32_t tick;
	bool serving;
};

struct slot_cache {
	struct slot_domain *domain;
	struct window *window;
	struct provider *provider;
	struct slot_stats stats;
	uint32_t ntaken; /* slots out */
	/* private: */
	int lacking;  /* why the last slot_take() failed: -ENOSPC, -ENOMEM, or 0: others were first
		       */
	bool blocked; /* a waiter before could not be served from here */
	struct slot_list idle[SLOT_CLASSES]; /* head: given back last */
	struct slot_list stuck; /* could not be unlinked (vm.max_map_count); tried again */
	LIST_ENTRY(slot_cache) entry;
};

/** slot_domain_init() - no caches. There is nothing to undo. */
void slot_domain_init(struct slot_domain *d);

/** slot_share_init() - nothing is out. There is nothing to undo. */
void slot_share_init(struct slot_share *s);

/** slot_cache_create() - an empty cache. Domain, window and provider must outlive it. Return: 0 or
 * -ENOMEM. */
__attribute__((warn_unused_result)) int slot_cache_create(struct slot_domain *d, struct window *w,
							  struct provider *p,
							  struct slot_cache **ret_cache);

/** slot_cache_destroy() - unlink everything. No slot may be out, nobody may wait. NULL is fine. */
void slot_cache_destroy(struct slot_cache *c);

/**
 * slot_take() - a linked slot of at least @len bytes (1..SLOT_LEN_MAX), on @owner's account.
 * Return: the slot, or NULL: none can be had now, or the part or share has enough, or others wait
 * already for the same provider or window (order of arrival is kept).
 */
struct slot *slot_take(struct slot_cache *c, size_t len, struct slot_owner owner);

/** slot_wait() - be given a slot as soon as one is free, first come first served. @w stays the
 * caller's and must live until ready() or slot_unwait(). Only after slot_take() gave NULL, and only
 * if slot_possible(). */
void slot_wait(struct slot_cache *c, struct slot_waiter *w);

/** slot_unwait() - wait no longer. Who waited behind @w may be served now: by the next slot_give(),
 * or by slot_serve() when the caller is ready for that. */
void slot_unwait(struct slot_waiter *w);

/** slot_serve() - give those who wait what there is. */
void slot_serve(struct slot_domain *d);

/** slot_possible() - after slot_take() gave NULL: will waiting for @len bytes come to an end? False
 * if even an empty cache could not hold them, or if nobody is left who could give something back.
 */
bool slot_possible(const struct slot_cache *c, size_t len);

/** slot_give() - back to the cache. No I/O may touch it any more. */
void slot_give(struct slot *slot);

/** slot_lose() - @p is LOST: unlink what is idle, tell those who wait for it. Slots that are out
 * are unlinked when they come back. */
void slot_lose(struct slot_domain *d, const struct provider *p);

/** slot_trim() - unlink CMB slots that were idle since the call before the last, and let the
 * providers shrink: others may want the pages. To be called every half minute or so. */
void slot_trim(struct slot_domain *d);

#endif
