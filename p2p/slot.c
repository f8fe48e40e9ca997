#include "p2p/slot.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SHARE 3u

static unsigned int class_of(size_t len)
{
	assert(len > 0 && len <= SLOT_LEN_MAX);
	return buddy_order((uint32_t)((len + P2P_PAGE_SIZE - 1) >> P2P_PAGE_SHIFT));
}

void slot_domain_init(struct slot_domain *d)
{
	*d = (struct slot_domain){ 0 };
	LIST_INIT(&d->caches);
	TAILQ_INIT(&d->waiters);
}

void slot_share_init(struct slot_share *s)
{
	*s = (struct slot_share){ 0 };
	TAILQ_INIT(&s->parked);
}

int slot_cache_create(struct slot_domain *d, struct window *w, struct provider *p,
		      struct slot_cache **ret_cache)
{
	struct slot_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->domain = d;
	c->window = w;
	c->provider = p;
	for (unsigned int i = 0; i < SLOT_CLASSES; i++)
		TAILQ_INIT(&c->idle[i]);
	TAILQ_INIT(&c->stuck);
	LIST_INSERT_HEAD(&d->caches, c, entry);
	*ret_cache = c;
	return 0;
}

/* A slot that cannot be unlinked is kept: its pages are in the window. */
static void drop(struct slot *slot)
{
	if (iova_destroy(&slot->iova) == 0)
		free(slot);
	else
		TAILQ_INSERT_TAIL(&slot->cache->stuck, slot, entry);
}

static void drop_stuck(struct slot_cache *c)
{
	struct slot_list again = TAILQ_HEAD_INITIALIZER(again);
	struct slot *slot;

	TAILQ_CONCAT(&again, &c->stuck, entry);
	while ((slot = TAILQ_FIRST(&again))) {
		TAILQ_REMOVE(&again, slot, entry);
		drop(slot); /* NOLINT(clang-analyzer-*): as below */
	}
}

static void drop_idle(struct slot_cache *c, struct slot *slot)
{
	TAILQ_REMOVE(&c->idle[slot->class], slot, entry);
	drop(slot);
	counter_add(&c->stats.evictions, 1);
}

static void drop_all_idle(struct slot_cache *c)
{
	struct slot *slot;

	for (unsigned int i = 0; i < SLOT_CLASSES; i++)
		while ((slot = TAILQ_FIRST(&c->idle[i])))
			/* the analyzer does not see TAILQ_REMOVE change the head */
			drop_idle(c, slot); /* NOLINT(clang-analyzer-*) */
}

void slot_cache_destroy(struct slot_cache *c)
{
	struct slot *slot;

	if (!c)
		return;
	assert(c->ntaken == 0);
	drop_all_idle(c);
	drop_stuck(c);
	while ((slot = TAILQ_FIRST(&c->stuck))) { /* the window goes, and their pages with it */
		TAILQ_REMOVE(&c->stuck, slot, entry);
		free(slot); /* NOLINT(clang-analyzer-*) */
	}
	LIST_REMOVE(c, entry);
	free(c);
}

/* ---- linking, and making room ------------------------------------------------------------------
 */

/* What taking a slot may lack: IOVA of the window (-ENOSPC), or pages of the provider. */
static bool shares(const struct slot_cache *a, const struct slot_cache *b, int lacking)
{
	return lacking == -ENOSPC ? a->window == b->window : a->provider == b->provider;
}

static struct slot *oldest_idle(const struct slot_cache *c)
{
	struct slot *oldest = NULL;

	for (unsigned int i = 0; i < SLOT_CLASSES; i++) {
		struct slot *slot = TAILQ_LAST(&c->idle[i], slot_list);

		if (slot && (!oldest || slot->idle_since < oldest->idle_since))
			oldest = slot;
	}
	return oldest;
}

/* Unlink the slot that has been idle longest among those that hold what is lacking. False: none. */
static bool evict_one(struct slot_cache *c, int lacking)
{
	struct slot *oldest = NULL;
	struct slot_cache *other;

	LIST_FOREACH (other, &c->domain->caches, entry) {
		struct slot *slot = shares(c, other, lacking) ? oldest_idle(other) : NULL;

		if (slot && (!oldest || slot->idle_since < oldest->idle_since))
			oldest = slot;
	}
	if (!oldest)
		return false;
	drop_idle(oldest->cache, oldest);
	return true;
}

static int link_range(struct slot_cache *c, struct slot *slot, size_t len)
{
	int err = iova_try_alloc(c->window, &slot->iova, len);

	if (err)
		return err;
	err = iova_link(&slot->iova, 0, c->provider, len);
	if (!err) {
		iova_sync(&slot->iova, 0, len);
		return 0;
	}
	if (slot->iova.nextents == 0)
		iova_free(&slot->iova);
	return -ENOMEM;
}

static struct slot *link_slot(struct slot_cache *c, unsigned int class)
{
	struct slot *slot;
	int err;

	c->lacking = -ENOMEM;
	if (c->provider->state != PROVIDER_ACTIVE)
		return NULL;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return NULL;
	slot->cache = c;
	while ((err = link_range(c, slot, (size_t)P2P_PAGE_SIZE << class))) {
		if (slot->iova.nextents) { /* half linked, and could not be unlinked */
			drop(slot);
			return NULL;
		}
		if (err == -ENOMEM && provider_grow(c->provider) == 0)
			continue;
		if (evict_one(c, err))
			continue;
		c->lacking = err;
		free(slot);
		return NULL;
	}
	slot->va = slot->iova.va;
	slot->lkey = c->window->mr->lkey;
	slot->class = (uint8_t) class;
	return slot;
}

/* ---- take and give -----------------------------------------------------------------------------
 */

static uint32_t pages_for(size_t len)
{
	return UINT32_C(1) << class_of(len);
}

static uint32_t held(const struct slot_share *s)
{
	return s->pages + s->queued;
}

/* What a share has, and is about to have, after it may be SHARE times what is free after it.
 * Whoever has nothing may always try. */
static bool within_share(const struct slot_cache *c, size_t len, const struct slot_owner *o)
{
	uint32_t free = c->provider->max_pages - c->provider->slot_pages;
	uint32_t need = pages_for(len);

	return held(o->share) == 0 ||
	       (free >= need && held(o->share) + need <= SHARE * (free - need));
}

/* What a part has after it may be what others of its share can still get after it. */
static bool within_part(const struct slot_cache *c, size_t len, const struct slot_owner *o)
{
	uint32_t free = c->provider->max_pages - c->provider->slot_pages;
	uint32_t need = pages_for(len);

	return held(o->part) == 0 ||
	       (free >= need && (SHARE + 1) * (held(o->part) + need) + held(o->share) + need <=
					SHARE * (free - need));
}

/* Must it wait for its own share, behind those who do already? */
static bool over_share(const struct slot_cache *c, size_t len, const struct slot_owner *o)
{
	return o->share && (!TAILQ_EMPTY(&o->share->parked) || !within_share(c, len, o));
}

static bool over_part(const struct slot_cache *c, size_t len, const struct slot_owner *o)
{
	return o->part && (!TAILQ_EMPTY(&o->part->parked) || !within_part(c, len, o));
}

static struct slot *take(struct slot_cache *c, size_t len, const struct slot_owner *o)
{
	unsigned int class = class_of(len);
	struct slot *slot = TAILQ_FIRST(&c->idle[class]);

	if (slot) {
		TAILQ_REMOVE(&c->idle[class], slot, entry);
		counter_add(&c->stats.hits, 1);
	} else {
		slot = link_slot(c, class);
		if (!slot)
			return NULL;
		counter_add(&c->stats.linked, 1);
	}
	slot->owner = *o;
	if (o->share)
		o->share->pages += UINT32_C(1) << class;
	if (o->part)
		o->part->pages += UINT32_C(1) << class;
	counter_add32(&c->ntaken, 1);
	counter_add32(&c->provider->slot_pages, UINT32_C(1) << class);
	c->window->slot_pages += UINT32_C(1) << class;
	return slot;
}

/* Does somebody wait for what this cache lives on? */
static bool others_wait(const struct slot_cache *c)
{
	const struct slot_waiter *w;

	TAILQ_FOREACH (w, &c->domain->waiters, entry)
		if (w->cache->provider == c->provider || w->cache->window == c->window)
			return true;
	return false;
}

struct slot *slot_take(struct slot_cache *c, size_t len, struct slot_owner owner)
{
	if (over_part(c, len, &owner) || over_share(c, len, &owner) ||
	    (!TAILQ_EMPTY(&c->domain->waiters) && others_wait(c))) {
		c->lacking = 0;
		return NULL;
	}
	return take(c, len, &owner);
}

/* Is nobody left who could give back what is lacking? */
static bool hopeless(const struct slot_cache *c)
{
	if (c->lacking == 0)
		return false;
	return (c->lacking == -ENOSPC ? c->window->slot_pages : c->provider->slot_pages) == 0;
}

bool slot_possible(const struct slot_cache *c, size_t len)
{
	size_t need = (size_t)P2P_PAGE_SIZE << class_of(len);

	return c->provider->state == PROVIDER_ACTIVE &&
	       need <= (size_t)c->provider->max_pages * P2P_PAGE_SIZE && need <= c->window->size &&
	       !hopeless(c);
}

static void put_in(struct slot_waiters *queue, struct slot_waiter *w)
{
	w->queue = queue;
	TAILQ_INSERT_TAIL(queue, w, entry);
}

/* With all others, in the order of arrival. */
static void join_queue(struct slot_waiter *w)
{
	put_in(&w->cache->domain->waiters, w);
	if (w->owner.share)
		w->owner.share->queued += pages_for(w->len);
}

static bool join_share(struct slot_waiter *w)
{
	bool over = over_share(w->cache, w->len, &w->owner);

	if (w->owner.part)
		w->owner.part->queued += pages_for(w->len);
	if (over)
		put_in(&w->owner.share->parked, w);
	else
		join_queue(w);
	return over;
}

/* The share has become smaller: those who waited for that wait with all others now. Nobody is
 * parked in a share that has nothing out and nobody in the queue, so this is called again. */
static void unpark_share(struct slot_share *share)
{
	struct slot_waiter *w;

	while ((w = TAILQ_FIRST(&share->parked)) && within_share(w->cache, w->len, &w->owner)) {
		TAILQ_REMOVE(&share->parked, w, entry);
		join_queue(w);
	}
}

/* The same for a part, whose waiters may have to wait for the share then. */
static void unpark_part(struct slot_share *part)
{
	struct slot_waiter *w;

	while ((w = TAILQ_FIRST(&part->parked)) && within_part(w->cache, w->len, &w->owner)) {
		TAILQ_REMOVE(&part->parked, w, entry);
		(void)join_share(w);
	}
}

static void unpark(const struct slot_owner *o)
{
	if (o->share)
		unpark_share(o->share);
	if (o->part)
		unpark_part(o->part);
}

void slot_wait(struct slot_cache *c, struct slot_waiter *w)
{
	bool parked = over_part(c, w->len, &w->owner);

	w->cache = c;
	c->domain->nwaiting++;
	counter_add(&c->stats.waits, 1);
	if (parked)
		put_in(&w->owner.part->parked, w);
	else
		parked = join_share(w);
	if (parked)
		counter_add(&c->stats.over_share, 1);
}

void slot_unwait(struct slot_waiter *w)
{
	struct slot_owner o = w->owner;

	w->cache->domain->nwaiting--;
	TAILQ_REMOVE(w->queue, w, entry);
	if (o.part && w->queue == &o.part->parked)
		return;
	if (o.part)
		o.part->queued -= pages_for(w->len);
	if (o.share && w->queue == &w->cache->domain->waiters)
		o.share->queued -= pages_for(w->len);
	unpark(&o);
}

static bool behind_a_blocked_one(const struct slot_cache *c)
{
	const struct slot_cache *other;

	LIST_FOREACH (other, &c->domain->caches, entry)
		if (other->blocked &&
		    (other->provider == c->provider || other->window == c->window))
			return true;
	return false;
}

static void answer(struct slot_waiter *w, struct slot *slot)
{
	slot_unwait(w);
	w->ready(w, slot);
}

/* The first waiter who can be answered is. False: nobody can. */
static bool serve_one(struct slot_domain *d)
{
	struct slot_cache *c;
	struct slot_waiter *w;

	LIST_FOREACH (c, &d->caches, entry)
		c->blocked = false;
	TAILQ_FOREACH (w, &d->waiters, entry) {
		struct slot *slot;

		if (behind_a_blocked_one(w->cache))
			continue;
		slot = take(w->cache, w->len, &w->owner);
		if (slot || hopeless(w->cache)) {
			answer(w, slot);
			return true;
		}
		w->cache->blocked = true;
	}
	return false;
}

/* ready() may give slots back: the loop, not the stack, goes on then. */
void slot_serve(struct slot_domain *d)
{
	if (d->serving)
		return;
	d->serving = true;
	while (!TAILQ_EMPTY(&d->waiters) && serve_one(d))
		;
	d->serving = false;
}

void slot_give(struct slot *slot)
{
	struct slot_cache *c = slot->cache;
	struct slot_domain *d = c->domain;
	struct slot_owner o = slot->owner;
	uint32_t pages = UINT32_C(1) << slot->class;

	assert(c->ntaken > 0);
	counter_add32(&c->ntaken, -1u);
	counter_add32(&c->provider->slot_pages, -pages);
	c->window->slot_pages -= pages;
	if (c->provider->state == PROVIDER_ACTIVE) {
		slot->idle_since = d->clock++;
		slot->idle_tick = d->tick;
		TAILQ_INSERT_HEAD(&c->idle[slot->class], slot, entry);
	} else {
		drop(slot);
	}
	if (o.share)
		o.share->pages -= pages;
	if (o.part)
		o.part->pages -= pages;
	unpark(&o);
	if (!TAILQ_EMPTY(&d->waiters))
		slot_serve(d);
}

/* ---- loss and trimming -------------------------------------------------------------------------
 */

void slot_lose(struct slot_domain *d, const struct provider *p)
{
	struct slot_cache *c;

	LIST_FOREACH (c, &d->caches, entry)
		if (c->provider == p)
			drop_all_idle(c);
	for (;;) {
		struct slot_waiter *w;

		TAILQ_FOREACH (w, &d->waiters, entry)
			if (w->cache->provider == p)
				break;
		if (!w)
			break;
		answer(w, NULL);
	}
	slot_serve(d); /* IOVA became free */
}

void slot_trim(struct slot_domain *d)
{
	struct slot_cache *c;

	LIST_FOREACH (c, &d->caches, entry) {
		struct slot *slot;

		drop_stuck(c);
		if (c->provider->kind != PROVIDER_CMB)
			continue;
		while ((slot = oldest_idle(c)) && d->tick - slot->idle_tick > 1 &&
		       (size_t)c->provider->npages * P2P_PAGE_SIZE > provider_floor(c->provider))
			drop_idle(c, slot);
		provider_shrink(c->provider);
	}
	d->tick++;
}
