#include "p2p/window.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
	return w->page ? buddy_init(&w->free, npages) : -ENOMEM;
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
	w->kind = WINDOW_ODP;
	w->size = size;
	w->base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
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
	w->kind = WINDOW_PINNED;
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
	assert(w->stats.linked_pages == 0);
	if (w->mr)
		ibv_dereg_mr(w->mr);
	if (w->kind == WINDOW_ODP && w->base != MAP_FAILED)
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

int iova_try_alloc(struct window *w, struct iova_state *s, size_t size)
{
	if (size == 0 || size > w->size)
		return -ENOSPC;

	unsigned int order = buddy_order((uint32_t)((size + P2P_PAGE_SIZE - 1) / P2P_PAGE_SIZE));
	uint32_t page = buddy_take(&w->free, order);

	if (page == BUDDY_NONE)
		return -ENOSPC;
	*s = (struct iova_state){ .window = w,
				  .va = w->base + (size_t)page * P2P_PAGE_SIZE,
				  .npages = UINT32_C(1) << order,
				  .order = (uint8_t)order };
	memset(page_state(s), IOVA_PAGE_VALID, s->npages);
	return 0;
}

/*
 * Move pages between a pool and a window. The source keeps its mapping without pages (DONTUNMAP),
 * so neither side ever has a hole. A failing mremap may have unmapped the target already; a
 * stranger's mapping that landed there would be reachable by the RNIC, so the hole is closed at
 * once, and if it cannot be closed the process must not go on. EEXIST says that there is no hole:
 * mremap failed before it unmapped the target.
 */
static int move_pages(uint8_t *from, uint8_t *to, size_t len)
{
	if (mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) == to)
		return 0;

	int err = -errno;

	if (mmap(to, len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != to &&
	    errno != EEXIST)
		abort();
	return err;
}

static size_t extent_len(const struct iova_extent *e)
{
	return (size_t)P2P_PAGE_SIZE << e->order;
}

static int link_extent(struct iova_state *s, struct iova_extent *e)
{
	struct window *w = s->window;
	uint8_t *pool = e->provider->pool + (size_t)e->pool_page * P2P_PAGE_SIZE;
	uint8_t *va = s->va + (size_t)e->page * P2P_PAGE_SIZE;
	int err = w->kind == WINDOW_ODP ? move_pages(pool, va, extent_len(e)) : 0;

	if (err)
		return err;

	uint8_t flags = IOVA_PAGE_VALID | IOVA_PAGE_LINKED;

	if (e->provider->kind == PROVIDER_CMB)
		flags |= IOVA_PAGE_P2P;
	memset(page_state(s) + e->page, flags, (size_t)1 << e->order);
	w->stats.links++;
	w->stats.linked_pages += UINT64_C(1) << e->order;
	return 0;
}

static void unlink_extent(struct iova_state *s, struct iova_extent *e)
{
	struct window *w = s->window;
	struct provider *p = e->provider;

	if (w->kind == WINDOW_ODP) {
		uint8_t *va = s->va + (size_t)e->page * P2P_PAGE_SIZE;
		int err = move_pages(va, p->pool + (size_t)e->pool_page * P2P_PAGE_SIZE,
				     extent_len(e));

		/* Pages that cannot leave the window (ENOMEM: too many mappings) stay linked and
		 * taken; the range must not be handed out again. */
		if (err)
			abort();
		buddy_give(&p->free, e->pool_page, e->order);
	}
	memset(page_state(s) + e->page, IOVA_PAGE_VALID, (size_t)1 << e->order);
	w->stats.unlinks++;
	w->stats.linked_pages -= UINT64_C(1) << e->order;
}

/* Pool pages for the part of the range from @page on: the largest run that fits and is free. */
static int take_extent(const struct iova_state *s, struct provider *p, uint32_t page,
		       struct iova_extent *e)
{
	unsigned int order = 31 - (unsigned int)__builtin_clz(s->npages - page);

	*e = (struct iova_extent){ .provider = p, .page = page };
	for (;; order--) {
		e->pool_page = buddy_take(&p->free, order);
		e->order = (uint8_t)order;
		if (e->pool_page != BUDDY_NONE)
			return 0;
		if (order == 0)
			return -ENOMEM;
	}
}

static int link_pinned(struct iova_state *s, struct provider *p)
{
	struct iova_extent *e = &s->extent[0];

	if (p != s->window->host)
		return -EINVAL;
	*e = (struct iova_extent){
		.provider = p,
		.pool_page = (uint32_t)((size_t)(s->va - s->window->base) / P2P_PAGE_SIZE),
		.order = s->order,
	};
	s->nextents = 1;
	return link_extent(s, e);
}

int iova_link(struct iova_state *s, struct provider *p)
{
	uint32_t page = 0;
	int err = 0;

	assert(s->nextents == 0);
	if (s->window->kind == WINDOW_PINNED)
		return link_pinned(s, p);
	if (buddy_free_pages(&p->free) < s->npages)
		return -ENOMEM;
	while (page < s->npages && !err) {
		struct iova_extent *e = &s->extent[s->nextents];

		if (s->nextents == IOVA_MAX_EXTENTS) {
			err = -ENOMEM;
			break;
		}
		err = take_extent(s, p, page, e);
		if (err)
			break;
		err = link_extent(s, e);
		if (err) {
			buddy_give(&p->free, e->pool_page, e->order);
			break;
		}
		s->nextents++;
		page += UINT32_C(1) << e->order;
	}
	if (err)
		iova_unlink(s);
	return err;
}

void iova_sync(struct iova_state *s)
{
	struct window *w = s->window;
	struct ibv_sge sge = { .addr = (uintptr_t)s->va,
			       .length = s->npages * P2P_PAGE_SIZE,
			       .lkey = w->mr->lkey };

	if (w->kind != WINDOW_ODP || w->no_advise)
		return;
	if (ibv_advise_mr(w->mr->pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE, IBV_ADVISE_MR_FLAG_FLUSH,
			  &sge, 1))
		w->no_advise = true;
	else
		w->stats.syncs++;
}

void iova_unlink(struct iova_state *s)
{
	while (s->nextents)
		unlink_extent(s, &s->extent[--s->nextents]);
}

void iova_free(struct iova_state *s)
{
	struct window *w = s->window;

	assert(s->nextents == 0);
	memset(page_state(s), 0, s->npages);
	buddy_give(&w->free, (uint32_t)((size_t)(s->va - w->base) / P2P_PAGE_SIZE), s->order);
	*s = (struct iova_state){ 0 };
}

void iova_destroy(struct iova_state *s)
{
	iova_unlink(s);
	iova_free(s);
}
