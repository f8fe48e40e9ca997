#include "p2p/slot.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static unsigned int class_of(size_t len)
{
	assert(len > 0 && len <= SLOT_LEN_MAX);
	return buddy_order((uint32_t)((len + P2P_PAGE_SIZE - 1) >> P2P_PAGE_SHIFT));
}

int slot_cache_create(struct window *w, struct provider *p, struct slot_cache **ret_cache)
{
	struct slot_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->window = w;
	c->provider = p;
	for (unsigned int i = 0; i < SLOT_CLASSES; i++)
		TAILQ_INIT(&c->idle[i]);
	STAILQ_INIT(&c->waiters);
	*ret_cache = c;
	return 0;
}

static void drop_idle(struct slot_cache *c, struct slot *slot)
{
	TAILQ_REMOVE(&c->idle[slot->class], slot, entry);
	iova_destroy(&slot->iova);
	free(slot);
}

void slot_cache_destroy(struct slot_cache *c)
{
	if (!c)
		return;
	assert(c->ntaken == 0 && STAILQ_EMPTY(&c->waiters));
	for (unsigned int i = 0; i < SLOT_CLASSES; i++)
		while (!TAILQ_EMPTY(&c->idle[i]))
			/* the analyzer does not see TAILQ_REMOVE change the head */
			drop_idle(c, TAILQ_FIRST(&c->idle[i])); /* NOLINT(clang-analyzer-*) */
	free(c);
}

/* Unlink the slot that has been idle longest, of whatever class. False: nothing is idle. */
static bool evict_one(struct slot_cache *c)
{
	struct slot *oldest = NULL;

	for (unsigned int i = 0; i < SLOT_CLASSES; i++) {
		struct slot *slot = TAILQ_LAST(&c->idle[i], slot_list);

		if (slot && (!oldest || slot->idle_since < oldest->idle_since))
			oldest = slot;
	}
	if (!oldest)
		return false;
	drop_idle(c, oldest);
	c->stats.evictions++;
	return true;
}

static int link_range(struct slot_cache *c, struct slot *slot, size_t len)
{
	int err = iova_try_alloc(c->window, &slot->iova, len);

	if (err)
		return err;
	err = iova_link(&slot->iova, c->provider);
	if (err)
		iova_free(&slot->iova);
	else
		iova_sync(&slot->iova);
	return err;
}

static struct slot *link_slot(struct slot_cache *c, unsigned int class)
{
	struct slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	while (link_range(c, slot, (size_t)P2P_PAGE_SIZE << class))
		if (!evict_one(c)) {
			free(slot);
			return NULL;
		}
	slot->va = slot->iova.va;
	slot->lkey = c->window->mr->lkey;
	slot->cache = c;
	slot->class = (uint8_t) class;
	return slot;
}

static struct slot *take(struct slot_cache *c, size_t len)
{
	unsigned int class = class_of(len);
	struct slot *slot = TAILQ_FIRST(&c->idle[class]);

	if (slot) {
		TAILQ_REMOVE(&c->idle[class], slot, entry);
		c->stats.hits++;
	} else {
		slot = link_slot(c, class);
		if (!slot)
			return NULL;
		c->stats.linked++;
	}
	c->ntaken++;
	return slot;
}

struct slot *slot_take(struct slot_cache *c, size_t len)
{
	return STAILQ_EMPTY(&c->waiters) ? take(c, len) : NULL;
}

void slot_wait(struct slot_cache *c, struct slot_waiter *w)
{
	assert(slot_possible(c, w->len));
	STAILQ_INSERT_TAIL(&c->waiters, w, entry);
	c->stats.waits++;
}

void slot_unwait(struct slot_cache *c, struct slot_waiter *w)
{
	STAILQ_REMOVE(&c->waiters, w, slot_waiter, entry);
}

bool slot_possible(const struct slot_cache *c, size_t len)
{
	size_t need = (size_t)P2P_PAGE_SIZE << class_of(len);

	return need <= (size_t)c->provider->npages * P2P_PAGE_SIZE && need <= c->window->size;
}

/* Serve the waiters in order. ready() may give slots back: the loop, not the stack, goes on then.
 */
static void serve_waiters(struct slot_cache *c)
{
	struct slot_waiter *w;

	if (c->serving)
		return;
	c->serving = true;
	while ((w = STAILQ_FIRST(&c->waiters))) {
		struct slot *slot = take(c, w->len);

		if (!slot)
			break;
		STAILQ_REMOVE_HEAD(&c->waiters, entry);
		w->ready(w, slot);
	}
	c->serving = false;
}

void slot_give(struct slot *slot)
{
	struct slot_cache *c = slot->cache;

	assert(c->ntaken > 0);
	c->ntaken--;
	slot->idle_since = c->clock++;
	TAILQ_INSERT_HEAD(&c->idle[slot->class], slot, entry);
	serve_waiters(c);
}
