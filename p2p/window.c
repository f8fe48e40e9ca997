#include "p2p/window.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* How a window comes to its memory. */
struct window_backing {
	const char *name;
	/* Put pages of @p under the range from @page on: at least one, at most @npages; say which.
	 */
	int (*link)(struct iova_state *s, struct provider *p, uint32_t page, uint32_t npages,
		    struct iova_extent *ret);
	/* Take the pages of @e away from the range and give them back. */
	int (*unlink)(struct iova_state *s, const struct iova_extent *e);
	bool faults; /* the RNIC maps on demand: a prefetch may help */
};

static const struct window_backing odp_backing, pinned_backing;

/* What the data path does with staged memory: RDMA READ sinks, RDMA WRITE and SEND sources. */
#define ODP_CAPS_NEEDED (IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_SEND)

static int check_odp(struct ibv_context *ctx)
{
	struct ibv_device_attr_ex attr = { 0 };
	int err = ibv_query_device_ex(ctx, NULL, &attr);

	if (err)
		return -err;
	if (!(attr.odp_caps.general_caps & IBV_ODP_SUPPORT) ||
	    (attr.odp_caps.per_transport_caps.rc_odp_caps & ODP_CAPS_NEEDED) != ODP_CAPS_NEEDED)
		return -EOPNOTSUPP;
	return 0;
}

/* The RNIC may write here (RDMA READ) and read; no peer gets remote access to staged memory. */
static int register_window(struct window *w, struct ibv_pd *pd, int access)
{
	w->mr = ibv_reg_mr(pd, w->base, w->size, IBV_ACCESS_LOCAL_WRITE | access);
	return w->mr ? 0 : -errno;
}

static int init_pages(struct window *w)
{
	uint32_t npages = (uint32_t)(w->size / P2P_PAGE_SIZE);

	w->page = calloc(npages, 1);
	int err = w->page ? buddy_init(&w->free, npages) : -ENOMEM;

	if (!err)
		buddy_give(&w->free, 0, npages);
	return err;
}

static int check_size(size_t size)
{
	return size == 0 || size % P2P_PAGE_SIZE || size > WINDOW_SIZE_MAX ? -EINVAL : 0;
}

int window_create_odp(struct ibv_pd *pd, size_t size, struct window **ret_window)
{
	int err = check_size(size);

	if (!err)
		err = check_odp(pd->context);
	if (err)
		return err;

	struct window *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->backing = &odp_backing;
	w->size = size;
	w->base = p2p_reserve(size);
	err = w->base == MAP_FAILED ? -errno : init_pages(w);
	if (!err)
		err = register_window(w, pd, IBV_ACCESS_ON_DEMAND);
	if (err) {
		window_destroy(w);
		return err;
	}
	*ret_window = w;
	return 0;
}

int window_create_pinned(struct ibv_pd *pd, size_t size, struct window **ret_window)
{
	int err = check_size(size);

	if (err)
		return err;

	struct window *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->backing = &pinned_backing;
	w->size = size;
	w->base = MAP_FAILED;
	err = provider_create_host((uint32_t)(size / P2P_PAGE_SIZE), &w->host);
	if (!err) {
		w->base = w->host->pool;
		err = init_pages(w);
	}
	if (!err)
		err = register_window(w, pd, 0);
	if (err) {
		window_destroy(w);
		return err;
	}
	*ret_window = w;
	return 0;
}

void window_destroy(struct window *w)
{
	if (!w)
		return;
	if (w->mr)
		ibv_dereg_mr(w->mr);
	if (!w->host && w->base != MAP_FAILED)
		munmap(w->base, w->size);
	provider_destroy(w->host);
	buddy_fini(&w->free);
	free(w->page);
	free(w);
}

static uint8_t *page_state(const struct iova_state *s)
{
	return s->window->page + (size_t)(s->va - s->window->base) / P2P_PAGE_SIZE;
}

static uint8_t *page_va(const struct iova_state *s, uint32_t page)
{
	return s->va + (size_t)page * P2P_PAGE_SIZE;
}

int iova_try_alloc(struct window *w, struct iova_state *s, size_t size)
{
	unsigned int order = buddy_order((uint32_t)((size + P2P_PAGE_SIZE - 1) / P2P_PAGE_SIZE));
	uint32_t page = size == 0 || size > w->size ? BUDDY_NONE : buddy_take(&w->free, order);

	if (page == BUDDY_NONE) {
		counter_add(&w->stats.full, 1);
		return -ENOSPC;
	}
	*s = (struct iova_state){ .window = w,
				  .va = w->base + (size_t)page * P2P_PAGE_SIZE,
				  .npages = UINT32_C(1) << order,
				  .order = (uint8_t)order };
	memset(page_state(s), IOVA_PAGE_VALID, s->npages);
	return 0;
}

/* ---- backings ----------------------------------------------------------------------------------
 */

/* The largest run of pool pages that fits and is free. */
static int odp_link(struct iova_state *s, struct provider *p, uint32_t page, uint32_t npages,
		    struct iova_extent *ret)
{
	unsigned int order = 31 - (unsigned int)__builtin_clz(npages);
	uint32_t pool_page;

	while ((pool_page = buddy_take(&p->free, order)) == BUDDY_NONE)
		if (order-- == 0)
			return -ENOMEM;
	*ret = (struct iova_extent){ p, pool_page, page, UINT32_C(1) << order };

	size_t len = (size_t)ret->npages * P2P_PAGE_SIZE;
	int err = p2p_move_pages(p->pool + (size_t)pool_page * P2P_PAGE_SIZE, page_va(s, page), len,
				 true);

	if (err)
		buddy_give(&p->free, pool_page, ret->npages);
	return err;
}

static int odp_unlink(struct iova_state *s, const struct iova_extent *e)
{
	struct provider *p = e->provider;
	int err =
		p2p_move_pages(page_va(s, e->page), p->pool + (size_t)e->pool_page * P2P_PAGE_SIZE,
			       (size_t)e->npages * P2P_PAGE_SIZE, true);

	if (!err)
		buddy_give(&p->free, e->pool_page, e->npages);
	return err;
}

static const struct window_backing odp_backing = {
	.name = "odp",
	.link = odp_link,
	.unlink = odp_unlink,
	.faults = true,
};

/* The pool is the window: page n lies under page n. */
static int pinned_link(struct iova_state *s, struct provider *p, uint32_t page, uint32_t npages,
		       struct iova_extent *ret)
{
	if (p != s->window->host)
		return -EINVAL;
	*ret = (struct iova_extent){
		.provider = p,
		.pool_page = (uint32_t)((size_t)(s->va - s->window->base) / P2P_PAGE_SIZE) + page,
		.page = page,
		.npages = npages,
	};
	return 0;
}

static int pinned_unlink(struct iova_state *s, const struct iova_extent *e)
{
	(void)s;
	(void)e;
	return 0;
}

static const struct window_backing pinned_backing = {
	.name = "pinned",
	.link = pinned_link,
	.unlink = pinned_unlink,
};

const char *window_backing_name(const struct window *w)
{
	return w->backing->name;
}

/* ---- link and unlink ---------------------------------------------------------------------------
 */

/* Bytes to pages. False: they are not whole pages of the range. */
static bool to_pages(const struct iova_state *s, size_t offset, size_t size, uint32_t *ret_first,
		     uint32_t *ret_npages)
{
	size_t len = (size_t)s->npages * P2P_PAGE_SIZE;

	if ((offset | size) % P2P_PAGE_SIZE || size == 0 || size > len || offset > len - size)
		return false;
	*ret_first = (uint32_t)(offset / P2P_PAGE_SIZE);
	*ret_npages = (uint32_t)(size / P2P_PAGE_SIZE);
	return true;
}

static uint32_t count_linked(const struct iova_state *s, uint32_t first, uint32_t npages)
{
	const uint8_t *state = page_state(s) + first;
	uint32_t n = 0;

	for (uint32_t i = 0; i < npages; i++)
		n += !!(state[i] & IOVA_PAGE_LINKED);
	return n;
}

bool iova_linked(const struct iova_state *s, size_t offset, size_t size)
{
	uint32_t first, npages;

	return to_pages(s, offset, size, &first, &npages) &&
	       count_linked(s, first, npages) == npages;
}

/* Extents stay in the order of their pages. */
static void insert_extent(struct iova_state *s, const struct iova_extent *e)
{
	unsigned int at = s->nextents++;

	assert(at < IOVA_MAX_EXTENTS);
	for (; at > 0 && s->extent[at - 1].page > e->page; at--)
		s->extent[at] = s->extent[at - 1];
	s->extent[at] = *e;
}

static void remove_extent(struct iova_state *s, unsigned int at)
{
	s->nextents--;
	for (; at < s->nextents; at++)
		s->extent[at] = s->extent[at + 1];
}

static void mark_linked(struct iova_state *s, const struct iova_extent *e)
{
	struct window *w = s->window;
	uint8_t flags = IOVA_PAGE_VALID | IOVA_PAGE_LINKED;

	if (e->provider->kind == PROVIDER_CMB)
		flags |= IOVA_PAGE_P2P;
	memset(page_state(s) + e->page, flags, e->npages);
	counter_add(&w->stats.links, 1);
	counter_add(&w->stats.linked_pages, e->npages);
}

/* The part of @e that lies in the pages, and what is left of it on either side. */
struct cut {
	struct iova_extent left, middle, right;
};

static struct cut cut_extent(const struct iova_extent *e, uint32_t first, uint32_t npages)
{
	uint32_t end = first + npages, e_end = e->page + e->npages;
	uint32_t from = e->page > first ? e->page : first, to = e_end < end ? e_end : end;
	struct cut c = { *e, *e, *e };

	c.left.npages = from - e->page;
	c.middle.page = from;
	c.middle.pool_page += from - e->page;
	c.middle.npages = to - from;
	c.right.page = to;
	c.right.pool_page += to - e->page;
	c.right.npages = e_end - to;
	return c;
}

static int unlink_part(struct iova_state *s, unsigned int at, uint32_t first, uint32_t npages)
{
	struct cut c = cut_extent(&s->extent[at], first, npages);

	if (s->nextents - 1u + !!c.left.npages + !!c.right.npages > IOVA_MAX_EXTENTS)
		return -ENOSPC;

	int err = s->window->backing->unlink(s, &c.middle);

	if (err)
		return err;
	memset(page_state(s) + c.middle.page, IOVA_PAGE_VALID, c.middle.npages);
	counter_add(&s->window->stats.unlinks, 1);
	counter_add(&s->window->stats.linked_pages, -(uint64_t)c.middle.npages);
	remove_extent(s, at);
	if (c.left.npages)
		insert_extent(s, &c.left);
	if (c.right.npages)
		insert_extent(s, &c.right);
	return 0;
}

int iova_unlink(struct iova_state *s, size_t offset, size_t size)
{
	uint32_t first, npages;

	if (!to_pages(s, offset, size, &first, &npages))
		return -EINVAL;
	for (unsigned int i = s->nextents; i > 0; i--) {
		const struct iova_extent *e = &s->extent[i - 1];

		if (e->page >= first + npages || e->page + e->npages <= first)
			continue;

		int err = unlink_part(s, i - 1, first, npages);

		if (err)
			return err;
	}
	return 0;
}

int iova_link(struct iova_state *s, size_t offset, struct provider *p, size_t size)
{
	uint32_t first, npages;
	int err = 0;

	if (!to_pages(s, offset, size, &first, &npages))
		return -EINVAL;
	if (count_linked(s, first, npages))
		return -EBUSY;
	for (uint32_t done = 0; done < npages && !err;) {
		struct iova_extent e;

		err = s->nextents == IOVA_MAX_EXTENTS
			      ? -ENOMEM
			      : s->window->backing->link(s, p, first + done, npages - done, &e);
		if (!err) {
			insert_extent(s, &e);
			mark_linked(s, &e);
			done += e.npages;
		}
	}
	/* what came in goes out again; with no mapping to spare for that, it stays: -ENOMEM both */
	if (err && iova_unlink(s, offset, size))
		return -ENOMEM;
	return err;
}

void iova_sync(struct iova_state *s, size_t offset, size_t size)
{
	struct window *w = s->window;
	struct ibv_sge sge = { .addr = (uintptr_t)s->va + offset,
			       .length = (uint32_t)size,
			       .lkey = w->mr->lkey };

	if (!w->backing->faults || w->no_advise)
		return;
	if (ibv_advise_mr(w->mr->pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, IBV_ADVISE_MR_FLAG_FLUSH,
			  &sge, 1))
		w->no_advise = true;
	else
		counter_add(&w->stats.syncs, 1);
}

void iova_free(struct iova_state *s)
{
	struct window *w = s->window;

	assert(s->nextents == 0);
	memset(page_state(s), 0, s->npages);
	buddy_give(&w->free, (uint32_t)((size_t)(s->va - w->base) / P2P_PAGE_SIZE), s->npages);
	*s = (struct iova_state){ 0 };
}

int iova_destroy(struct iova_state *s)
{
	int err = iova_unlink(s, 0, (size_t)s->npages * P2P_PAGE_SIZE);

	if (!err)
		iova_free(s);
	return err;
}
