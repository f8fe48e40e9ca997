/* Buddy allocator, window, slot cache and provider discovery, against slow and obvious twins. The
 * window's memory region is a dummy: linking is memory management, no RNIC takes part. */
#include "p2p/provider.c"
#include "p2p/window.c"

#include "p2p/slot.c"
#include "p2p/staging.h"

#include "tests/unit/suite.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

/* xorshift: the same numbers every run, on every machine */
static _Thread_local uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % n;
}

static unsigned int random_ops(unsigned int normally)
{
	const char *text = getenv("NVMF_TEST_OPS"); /* more for the long runs */

	return text ? (unsigned int)atoi(text) : normally;
}

/* ---- buddy ------------------------------------------------------------------------------------
 */

#define NPAGES 1000 /* no power of two on purpose */
#define NRUNS  300

struct run {
	uint32_t page;
	unsigned int order;
};

START_TEST(buddy_never_hands_out_a_page_twice)
{
	struct buddy b;
	struct run runs[NRUNS];
	uint8_t owner[NPAGES] = { 0 };
	unsigned int nruns = 0, nused = 0;

	random_state = 1;
	ck_assert_int_eq(buddy_init(&b, NPAGES), 0);
	buddy_give(&b, 0, NPAGES);
	for (unsigned int i = random_ops(200000); i; i--) {
		if (nruns < NRUNS && random_below(2)) {
			struct run run = { .order = random_below(8) };

			run.page = buddy_take(&b, run.order);
			if (run.page == BUDDY_NONE)
				continue;
			ck_assert_uint_eq(run.page % (1u << run.order), 0);
			for (uint32_t p = 0; p < 1u << run.order; p++) {
				ck_assert_uint_lt(run.page + p, NPAGES);
				ck_assert(!owner[run.page + p]);
				owner[run.page + p] = 1;
			}
			nused += 1u << run.order;
			runs[nruns++] = run;
		} else if (nruns) {
			unsigned int victim = random_below(nruns);
			struct run run = runs[victim];

			runs[victim] = runs[--nruns];
			memset(owner + run.page, 0, 1u << run.order);
			nused -= 1u << run.order;
			buddy_give(&b, run.page, 1u << run.order);
		}
		ck_assert_uint_eq(buddy_free_pages(&b), NPAGES - nused);
	}
	while (nruns) {
		nruns--;
		buddy_give(&b, runs[nruns].page, 1u << runs[nruns].order);
	}
	/* all merged again: the largest run is to be had, hours of mixed sizes or not */
	ck_assert_uint_eq(buddy_take(&b, 9), 0);
	buddy_fini(&b);
}
END_TEST

START_TEST(buddy_gives_all_pages_and_then_none)
{
	struct buddy b;

	ck_assert_int_eq(buddy_init(&b, 7), 0);
	ck_assert_uint_eq(buddy_take(&b, 0), BUDDY_NONE); /* none is free before some are given */
	buddy_give(&b, 0, 7);
	for (int i = 0; i < 7; i++)
		ck_assert_uint_ne(buddy_take(&b, 0), BUDDY_NONE);
	ck_assert_uint_eq(buddy_take(&b, 0), BUDDY_NONE);
	ck_assert_uint_eq(buddy_free_pages(&b), 0);
	buddy_fini(&b);
	ck_assert_int_eq(buddy_init(&b, 0), -EINVAL);
}
END_TEST

START_TEST(buddy_takes_exactly_the_pages_asked_for)
{
	struct buddy b;

	ck_assert_int_eq(buddy_init(&b, 64), 0);
	buddy_give(&b, 0, 64);
	ck_assert(buddy_take_range(&b, 5, 22));
	ck_assert_uint_eq(buddy_free_pages(&b), 42);
	ck_assert(!buddy_take_range(&b, 20, 10)); /* 20..26 are out */
	ck_assert_uint_eq(buddy_free_pages(&b), 42);
	ck_assert(buddy_take_range(&b, 27, 37));
	ck_assert(buddy_take_range(&b, 0, 5));
	ck_assert_uint_eq(buddy_take(&b, 0), BUDDY_NONE);
	buddy_give(&b, 0, 64);
	ck_assert_uint_eq(buddy_take(&b, 6), 0);
	buddy_fini(&b);
}
END_TEST

START_TEST(buddy_order_is_the_smallest_that_holds)
{
	static const struct {
		uint32_t npages;
		unsigned int order;
	} rows[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 256, 8 }, { 257, 9 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_uint_eq(buddy_order(rows[i].npages), rows[i].order);
}
END_TEST

/* ---- window -----------------------------------------------------------------------------------
 */

static struct ibv_mr dummy_mr = { .lkey = 0x1234 };

static struct window *make_window(size_t size)
{
	struct window *w = calloc(1, sizeof(*w));

	w->backing = &odp_backing;
	w->size = size;
	w->base = p2p_reserve(size);
	ck_assert_ptr_ne(w->base, MAP_FAILED);
	w->page = calloc(size / P2P_PAGE_SIZE, 1);
	ck_assert_int_eq(buddy_init(&w->free, (uint32_t)(size / P2P_PAGE_SIZE)), 0);
	buddy_give(&w->free, 0, (uint32_t)(size / P2P_PAGE_SIZE));
	w->mr = &dummy_mr;
	w->no_advise = true;
	return w;
}

static void drop_window(struct window *w)
{
	ck_assert_uint_eq(w->stats.linked_pages, 0);
	w->mr = NULL;
	window_destroy(w);
}

/* Every byte of the window must be mapped by somebody: a hole could be filled by a stranger. */
static void assert_no_hole(const struct window *w)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end, at = (unsigned long)w->base;
	char line[512];

	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= at && end > at)
			at = end;
	fclose(maps);
	ck_assert_uint_ge(at, (unsigned long)w->base + w->size);
}

START_TEST(linked_pages_carry_their_bytes_and_go_back)
{
	struct window *w = make_window(1 << 20);
	struct provider *p;
	struct iova_state s;

	ck_assert_int_eq(provider_create_host(16, &p), 0);
	memset(p->pool, 0x5a, 4 * P2P_PAGE_SIZE);
	ck_assert_int_eq(iova_try_alloc(w, &s, 3 * P2P_PAGE_SIZE), 0);
	ck_assert_uint_eq(s.npages, 4);
	ck_assert_int_eq(iova_link(&s, 0, p, 4 * P2P_PAGE_SIZE), 0);
	ck_assert_uint_eq(buddy_free_pages(&p->free), 12);
	ck_assert_uint_eq(s.va[0], 0x5a);
	s.va[5] = 0x77;
	ck_assert_int_eq(iova_destroy(&s), 0);
	ck_assert_uint_eq(buddy_free_pages(&p->free), 16);
	ck_assert_uint_eq(p->pool[5], 0x77);
	assert_no_hole(w);
	drop_window(w);
	provider_destroy(p);
}
END_TEST

START_TEST(link_is_all_or_nothing)
{
	struct window *w = make_window(1 << 20);
	struct provider *p;
	struct iova_state s;

	ck_assert_int_eq(provider_create_host(5, &p), 0);
	ck_assert_int_eq(iova_try_alloc(w, &s, 8 * P2P_PAGE_SIZE), 0);
	ck_assert_int_eq(iova_link(&s, 0, p, 8 * P2P_PAGE_SIZE), -ENOMEM);
	ck_assert_uint_eq(buddy_free_pages(&p->free), 5);
	ck_assert_uint_eq(w->stats.linked_pages, 0);
	iova_free(&s);
	drop_window(w);
	provider_destroy(p);
}
END_TEST

START_TEST(scattered_pages_make_one_range_of_several_extents)
{
	struct window *w = make_window(1 << 20);
	struct provider *p;
	struct iova_state s;

	ck_assert_int_eq(provider_create_host(8, &p), 0);
	for (uint32_t i = 0; i < 8; i++) /* take all, give back every other: runs of one page */
		ck_assert_uint_eq(buddy_take(&p->free, 0), i);
	for (uint32_t i = 0; i < 8; i += 2)
		buddy_give(&p->free, i, 1);
	ck_assert_int_eq(iova_try_alloc(w, &s, 4 * P2P_PAGE_SIZE), 0);
	ck_assert_int_eq(iova_link(&s, 0, p, 4 * P2P_PAGE_SIZE), 0);
	ck_assert_uint_eq(s.nextents, 4);
	memset(s.va, 0x33, 4 * P2P_PAGE_SIZE);
	ck_assert_int_eq(iova_destroy(&s), 0);
	for (uint32_t i = 0; i < 8; i += 2)
		ck_assert_uint_eq(p->pool[i * P2P_PAGE_SIZE], 0x33);
	ck_assert_uint_eq(p->pool[1 * P2P_PAGE_SIZE], 0);
	drop_window(w);
	provider_destroy(p);
}
END_TEST

START_TEST(window_that_is_full_says_so)
{
	struct window *w = make_window(4 * P2P_PAGE_SIZE);
	struct iova_state a, b;

	ck_assert_int_eq(iova_try_alloc(w, &a, 4 * P2P_PAGE_SIZE), 0);
	ck_assert_int_eq(iova_try_alloc(w, &b, 1), -ENOSPC);
	ck_assert_int_eq(iova_try_alloc(w, &b, 5 * P2P_PAGE_SIZE), -ENOSPC);
	iova_free(&a);
	ck_assert_int_eq(iova_try_alloc(w, &b, 1), 0);
	iova_free(&b);
	drop_window(w);
}
END_TEST

START_TEST(links_say_what_they_cannot_do)
{
	struct window *w = make_window(1 << 20);
	struct provider *p;
	struct iova_state s;
	static const struct {
		size_t offset, size;
		int link, unlink;
	} rows[] = {
		{ 1, P2P_PAGE_SIZE, -EINVAL, -EINVAL },
		{ 0, 100, -EINVAL, -EINVAL },
		{ 0, 0, -EINVAL, -EINVAL },
		{ 0, 5 * P2P_PAGE_SIZE, -EINVAL, -EINVAL },
		{ 4 * P2P_PAGE_SIZE, P2P_PAGE_SIZE, -EINVAL, -EINVAL },
		{ SIZE_MAX & ~4095ul, 2 * P2P_PAGE_SIZE, -EINVAL, -EINVAL },
		{ P2P_PAGE_SIZE, 2 * P2P_PAGE_SIZE, -EBUSY, 0 }, /* page 2 is linked */
	};

	ck_assert_int_eq(provider_create_host(16, &p), 0);
	ck_assert_int_eq(iova_try_alloc(w, &s, 4 * P2P_PAGE_SIZE), 0);
	ck_assert_int_eq(iova_link(&s, 2 * P2P_PAGE_SIZE, p, P2P_PAGE_SIZE), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_int_eq(iova_link(&s, rows[i].offset, p, rows[i].size), rows[i].link);
		ck_assert_int_eq(iova_unlink(&s, rows[i].offset, rows[i].size), rows[i].unlink);
	}
	ck_assert(!iova_linked(&s, 2 * P2P_PAGE_SIZE, P2P_PAGE_SIZE));
	ck_assert_uint_eq(buddy_free_pages(&p->free), 16);
	iova_free(&s);
	drop_window(w);
	provider_destroy(p);
}
END_TEST

/* ---- the window against a model ----------------------------------------------------------------
 *
 * The model of a range is one record a page: which provider, and the stamp written there. Links,
 * unlinks and cuts at random; what is linked must carry its stamp, what is not must be gone.
 */

#define NRANGES     24
#define RANGE_PAGES 32

struct model_range {
	struct iova_state s;
	bool used;
	struct {
		int provider; /* -1: not linked */
		uint8_t stamp;
	} page[RANGE_PAGES];
};

static uint32_t model_count(const struct model_range *m, uint32_t first, uint32_t n, int provider)
{
	uint32_t count = 0;

	for (uint32_t i = first; i < first + n; i++)
		count += m->page[i].provider == provider;
	return count;
}

static void check_range(const struct model_range *m, const struct provider *const *p)
{
	unsigned int covered = 0;

	for (unsigned int i = 0; i < m->s.nextents; i++) {
		const struct iova_extent *e = &m->s.extent[i];

		/* in order, and of one provider each */
		if (i)
			ck_assert_uint_ge(e->page, e[-1].page + e[-1].npages);
		for (uint32_t n = 0; n < e->npages; n++)
			ck_assert_ptr_eq(e->provider, p[m->page[e->page + n].provider]);
		covered += e->npages;
	}
	ck_assert_uint_eq(covered, m->s.npages - model_count(m, 0, m->s.npages, -1));
	for (uint32_t i = 0; i < m->s.npages; i++)
		if (m->page[i].provider >= 0)
			ck_assert_uint_eq(m->s.va[i * P2P_PAGE_SIZE + 7], m->page[i].stamp);
}

static void model_link(struct model_range *m, struct provider **p, uint32_t first, uint32_t n)
{
	int which = (int)random_below(2);
	bool busy = model_count(m, first, n, -1) != n;
	int err = iova_link(&m->s, first * (size_t)P2P_PAGE_SIZE, p[which],
			    n * (size_t)P2P_PAGE_SIZE);

	if (busy)
		ck_assert_int_eq(err, -EBUSY);
	if (err)
		return;
	ck_assert(!busy);
	for (uint32_t i = first; i < first + n; i++) {
		m->page[i].provider = which;
		m->page[i].stamp = (uint8_t)random_below(256);
		m->s.va[i * P2P_PAGE_SIZE + 7] = m->page[i].stamp;
	}
}

static void model_unlink(struct model_range *m, uint32_t first, uint32_t n)
{
	int err = iova_unlink(&m->s, first * (size_t)P2P_PAGE_SIZE, n * (size_t)P2P_PAGE_SIZE);

	if (err) { /* too many pieces: some are gone, the window's own account says which */
		ck_assert_int_eq(err, -ENOSPC);
	}
	for (uint32_t i = first; i < first + n; i++) {
		bool linked = iova_linked(&m->s, i * (size_t)P2P_PAGE_SIZE, P2P_PAGE_SIZE);

		ck_assert(err || !linked);
		if (!linked)
			m->page[i].provider = -1;
	}
}

START_TEST(window_agrees_with_a_model_of_one_record_a_page)
{
	struct window *w = make_window(256 * P2P_PAGE_SIZE);
	static struct model_range ranges[NRANGES];
	struct provider *p[2];

	random_state = 99;
	memset(ranges, 0, sizeof(ranges));
	ck_assert_int_eq(provider_create_host(150, &p[0]), 0);
	ck_assert_int_eq(provider_create_host(37, &p[1]), 0);
	for (unsigned int i = random_ops(400000); i; i--) {
		struct model_range *m = &ranges[random_below(NRANGES)];
		uint32_t first, n;

		if (!m->used) {
			if (iova_try_alloc(w, &m->s,
					   (1 + random_below(RANGE_PAGES)) * P2P_PAGE_SIZE))
				continue;
			m->used = true;
			for (uint32_t page = 0; page < RANGE_PAGES; page++)
				m->page[page].provider = -1;
		}
		first = random_below(m->s.npages);
		n = 1 + random_below(m->s.npages - first);
		switch (random_below(5)) {
		case 0:
		case 1:
			model_link(m, p, first, n);
			break;
		case 2:
		case 3:
			model_unlink(m, first, n);
			break;
		default:
			ck_assert_int_eq(iova_destroy(&m->s), 0);
			m->used = false;
			continue;
		}
		check_range(m, (const struct provider *const *)p);
	}
	for (unsigned int i = 0; i < NRANGES; i++)
		if (ranges[i].used)
			ck_assert_int_eq(iova_destroy(&ranges[i].s), 0);
	assert_no_hole(w);
	ck_assert_uint_eq(buddy_free_pages(&p[0]->free), 150);
	ck_assert_uint_eq(buddy_free_pages(&p[1]->free), 37);
	ck_assert_uint_eq(buddy_free_pages(&w->free), 256);
	drop_window(w);
	provider_destroy(p[0]);
	provider_destroy(p[1]);
}
END_TEST

/* Is a mapping at @va left out when the process forks? ("dc" in its VmFlags) */
static bool not_inherited(const uint8_t *va)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool here = false, dontcopy = false;
	char line[512];

	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = (unsigned long)va >= start && (unsigned long)va < end;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			dontcopy = strstr(line, " dc") != NULL;
	}
	fclose(maps);
	return dontcopy;
}

START_TEST(children_do_not_inherit_linked_pages)
{
	struct window *w = make_window(1 << 20);
	struct provider *p;
	struct iova_state s;

	ck_assert_int_eq(provider_create_host(16, &p), 0);
	ck_assert(not_inherited(p->pool));
	ck_assert_int_eq(iova_try_alloc(w, &s, P2P_PAGE_SIZE), 0);
	ck_assert_int_eq(iova_link(&s, 0, p, P2P_PAGE_SIZE), 0);
	ck_assert(not_inherited(s.va));
	ck_assert_int_eq(iova_destroy(&s), 0);
	drop_window(w);
	provider_destroy(p);
}
END_TEST

/* ---- slots ------------------------------------------------------------------------------------
 */

struct fixture {
	struct slot_domain d;
	struct window *w;
	struct provider *p;
	struct slot_cache *c;
};

static struct fixture *make_cache(uint32_t pool_pages)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->w = make_window(64 << 20);
	slot_domain_init(&f->d);
	ck_assert_int_eq(provider_create_host(pool_pages, &f->p), 0);
	ck_assert_int_eq(slot_cache_create(&f->d, f->w, f->p, &f->c), 0);
	return f;
}

static void drop_cache(struct fixture *f)
{
	slot_cache_destroy(f->c);
	ck_assert_uint_eq(buddy_free_pages(&f->p->free), f->p->npages);
	drop_window(f->w);
	provider_destroy(f->p);
	free(f);
}

#define NSLOTS 64
#define NOBODY ((struct slot_owner){ 0 })

struct held {
	struct slot *slot;
	uint8_t stamp;
	size_t len;
};

/* The model: whoever holds a slot finds in it what he wrote, whatever the others do. */
START_TEST(slots_never_overlap_and_all_come_back)
{
	struct fixture *f = make_cache(600);
	struct held held[NSLOTS];
	unsigned int n = 0;

	random_state = 7;
	for (unsigned int i = random_ops(600000); i; i--) {
		if (n < NSLOTS && random_below(2)) {
			struct held h = { .len = 1 + random_below(random_below(2) ? 8192 : 600000),
					  .stamp = (uint8_t)random_below(256) };

			h.slot = slot_take(f->c, h.len, NOBODY);
			if (!h.slot)
				continue;
			ck_assert_uint_eq((uintptr_t)h.slot->va % P2P_PAGE_SIZE, 0);
			h.slot->va[0] = h.stamp;
			h.slot->va[h.len - 1] = h.stamp;
			held[n++] = h;
		} else if (n) {
			unsigned int victim = random_below(n);

			ck_assert_uint_eq(held[victim].slot->va[0], held[victim].stamp);
			ck_assert_uint_eq(held[victim].slot->va[held[victim].len - 1],
					  held[victim].stamp);
			slot_give(held[victim].slot);
			held[victim] = held[--n];
		}
	}
	while (n)
		slot_give(held[--n].slot);
	ck_assert_uint_eq(f->c->ntaken, 0);
	ck_assert_uint_gt(f->c->stats.hits, 0);
	ck_assert_uint_gt(f->c->stats.evictions, 0);
	assert_no_hole(f->w);
	drop_cache(f);
}
END_TEST

START_TEST(warm_slot_is_the_same_slot)
{
	struct fixture *f = make_cache(16);
	struct slot *slot = slot_take(f->c, 4096, NOBODY), *again;
	uint64_t links = f->w->stats.links;

	slot_give(slot);
	again = slot_take(f->c, 100, NOBODY);
	ck_assert_ptr_eq(again, slot);
	ck_assert_uint_eq(f->w->stats.links, links);
	slot_give(again);
	drop_cache(f);
}
END_TEST

START_TEST(idle_slots_of_other_sizes_make_room)
{
	struct fixture *f = make_cache(8);
	struct slot *small[8];

	for (int i = 0; i < 8; i++)
		small[i] = slot_take(f->c, 4096, NOBODY);
	ck_assert_ptr_null(slot_take(f->c, 4096, NOBODY));
	for (int i = 0; i < 8; i++)
		slot_give(small[i]);

	struct slot *large = slot_take(f->c, 8 * 4096, NOBODY);

	ck_assert_ptr_nonnull(large);
	ck_assert_uint_eq(f->c->stats.evictions, 8);
	slot_give(large);
	drop_cache(f);
}
END_TEST

struct test_waiter {
	struct slot_waiter w; /* first */
	struct slot *slot;
	int order;
};

static int served;

static void ready(struct slot_waiter *w, struct slot *slot)
{
	((struct test_waiter *)w)->slot = slot;
	((struct test_waiter *)w)->order = ++served;
}

START_TEST(waiters_are_served_in_order_and_a_small_one_does_not_overtake)
{
	struct fixture *f = make_cache(4);
	struct slot *a = slot_take(f->c, 8192, NOBODY), *b = slot_take(f->c, 8192, NOBODY);
	struct test_waiter large = { .w = { .len = 16384, .ready = ready } };
	struct test_waiter small = { .w = { .len = 4096, .ready = ready } };
	struct test_waiter gone = { .w = { .len = 4096, .ready = ready } };

	served = 0;
	slot_wait(f->c, &large.w);
	slot_wait(f->c, &gone.w);
	slot_wait(f->c, &small.w);
	slot_unwait(&gone.w);
	slot_give(a); /* room for the small one, but the large one came first */
	ck_assert_int_eq(served, 0);
	ck_assert_ptr_null(slot_take(f->c, 4096, NOBODY));
	slot_give(b);
	ck_assert_int_eq(large.order, 1);
	ck_assert_int_eq(served, 1);
	slot_give(large.slot);
	ck_assert_int_eq(small.order, 2);
	ck_assert_ptr_null(gone.slot);
	slot_give(small.slot);
	drop_cache(f);
}
END_TEST

static struct slot_owner of_share(struct slot_share *share)
{
	return (struct slot_owner){ share, NULL };
}

START_TEST(a_share_leaves_something_to_others)
{
	struct fixture *f = make_cache(16);
	struct slot_share hog, meek;
	struct slot *held[16], *slot;
	unsigned int n = 0;
	struct test_waiter w[3] = { 0 };

	slot_share_init(&hog);
	slot_share_init(&meek);
	while ((slot = slot_take(f->c, 4096, of_share(&hog))))
		held[n++] = slot;
	ck_assert_uint_eq(n, 12); /* three times what is left */
	ck_assert(slot_possible(f->c, 4096));
	served = 0;
	for (int i = 0; i < 3; i++) {
		w[i].w = (struct slot_waiter){ .len = 4096,
					       .ready = ready,
					       .owner = of_share(&hog) };
		slot_wait(f->c, &w[i].w);
	}
	ck_assert_uint_eq(f->c->stats.over_share, 3);
	/* those who wait for their own are in nobody's way */
	slot = slot_take(f->c, 4096, of_share(&meek));
	ck_assert_ptr_nonnull(slot);
	slot_give(slot);
	ck_assert_int_eq(served, 0);
	slot_unwait(&w[1].w);
	slot_give(held[--n]);
	ck_assert_int_eq(w[0].order, 1);
	ck_assert_int_eq(served, 1);
	slot_give(w[0].slot);
	ck_assert_int_eq(w[2].order, 2);
	slot_give(w[2].slot);
	while (n)
		slot_give(held[--n]);
	/* whoever has nothing may have all that there is */
	slot = slot_take(f->c, 16 * 4096, of_share(&hog));
	ck_assert_ptr_nonnull(slot);
	ck_assert_ptr_null(slot_take(f->c, 4096, of_share(&hog)));
	slot_give(slot);
	ck_assert_uint_eq(hog.pages, 0);
	drop_cache(f);
}
END_TEST

/* A host that gives nothing back, by one connection or by several: others of the same drive are
 * served at once, whatever that host waits for. */
START_TEST(a_part_leaves_something_to_others_of_its_share)
{
	static const struct {
		unsigned int nhogs, expected; /* pages that each gets of 80: 3 / (4 + 4 n) */
	} rows[] = { { 1, 30 }, { 2, 20 }, { 6, 9 } };
	struct slot_owner hog[6], meek;
	struct slot_share share, part[6], own;
	struct slot *held[80], *slot;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture *f = make_cache(80);
		struct test_waiter w[6] = { 0 };
		unsigned int n = 0;
		bool any = true;

		slot_share_init(&share);
		slot_share_init(&own);
		meek = (struct slot_owner){ &share, &own };
		for (unsigned int h = 0; h < rows[i].nhogs; h++) {
			slot_share_init(&part[h]);
			hog[h] = (struct slot_owner){ &share, &part[h] };
		}
		while (any) {
			any = false;
			for (unsigned int h = 0; h < rows[i].nhogs; h++)
				if ((slot = slot_take(f->c, 4096, hog[h]))) {
					held[n++] = slot;
					any = true;
				}
		}
		served = 0;
		for (unsigned int h = 0; h < rows[i].nhogs; h++) {
			ck_assert_uint_le(part[h].pages, rows[i].expected);
			ck_assert_uint_ge(part[h].pages + 1, rows[i].expected);
			w[h].w = (struct slot_waiter){ .len = 4096,
						       .ready = ready,
						       .owner = hog[h] };
			slot_wait(f->c, &w[h].w);
		}
		for (int turn = 0; turn < 3; turn++) {
			slot = slot_take(f->c, 4 * 4096, meek);
			ck_assert_ptr_nonnull(slot);
			slot_give(slot);
		}
		ck_assert_int_eq(served, 0);
		for (unsigned int h = 0; h < rows[i].nhogs; h++)
			slot_unwait(&w[h].w);
		while (n)
			slot_give(held[--n]);
		ck_assert_uint_eq(share.pages + share.queued + own.pages + own.queued, 0);
		drop_cache(f);
	}
}
END_TEST

/* Whoever goes may have been all that others of its share waited for. */
START_TEST(who_waits_behind_one_that_goes_is_served)
{
	struct fixture *f = make_cache(16);
	struct slot *held[2] = { slot_take(f->c, 8 * 4096, NOBODY),
				 slot_take(f->c, 4 * 4096, NOBODY) };
	struct slot_share share;
	struct test_waiter large = { .w = { .len = 16 * 4096, .ready = ready } };
	struct test_waiter small = { .w = { .len = 4096, .ready = ready } };

	slot_share_init(&share);
	large.w.owner = small.w.owner = of_share(&share);
	ck_assert_ptr_null(slot_take(f->c, large.w.len, large.w.owner));
	slot_wait(f->c, &large.w);
	slot_wait(f->c, &small.w);
	ck_assert_ptr_eq(small.w.queue, &share.parked);
	served = 0;
	slot_unwait(&large.w);
	ck_assert_int_eq(served, 0); /* not in the midst of what the caller does */
	slot_serve(&f->d);
	ck_assert_int_eq(small.order, 1);
	slot_give(small.slot);
	slot_give(held[0]);
	slot_give(held[1]);
	drop_cache(f);
}
END_TEST

#define NSHARES  3
#define NPARTS   4
#define NWAITERS 40

struct share_waiter {
	struct test_waiter t; /* first */
	bool waiting;
	unsigned int ticket, *last; /* of its part, and of its share */
};

static void ready_to_hold(struct slot_waiter *w, struct slot *slot)
{
	struct share_waiter *x = (struct share_waiter *)w;

	ready(w, slot);
	x->waiting = false;
	ck_assert_uint_gt(x->ticket, *x->last); /* first come first served */
	*x->last = x->ticket;
}

/* Whatever is asked for and given back in whatever order: nobody waits for ever, and no share has
 * more than its due when it is given something. */
START_TEST(shares_never_starve_and_never_take_all)
{
	struct fixture *f = make_cache(64);
	static struct share_waiter w[NWAITERS];
	struct slot_share share[NSHARES], part[NPARTS];
	unsigned int nserved = 0, nparked[2] = { 0 }, last[NSHARES][NPARTS] = { 0 };

	random_state = 7;
	memset(w, 0, sizeof(w));
	for (int i = 0; i < NSHARES; i++)
		slot_share_init(&share[i]);
	for (int i = 0; i < NPARTS; i++)
		slot_share_init(&part[i]);
	for (unsigned int round = 0; round < 100000; round++) {
		struct share_waiter *x = &w[random_below(NWAITERS)];
		unsigned int si = random_below(NSHARES), pi = random_below(NPARTS);
		struct slot_share *s = &share[si], *p = &part[pi];
		struct slot_owner owner = { s, p };
		size_t len = (size_t)4096 << random_below(5);

		if (x->waiting) {
			if (random_below(8) == 0) {
				slot_unwait(&x->t.w);
				x->waiting = false;
			}
		} else if (x->t.slot) {
			slot_give(x->t.slot);
			x->t.slot = NULL;
		} else if ((x->t.slot = slot_take(f->c, len, owner))) {
			uint32_t left = f->p->max_pages - f->p->slot_pages;

			ck_assert(s->pages == len / 4096 || s->pages <= 3 * left);
			ck_assert(p->pages == len / 4096 || s->pages + 4 * p->pages <= 3 * left);
			nserved++;
		} else {
			ck_assert(slot_possible(f->c, len));
			x->t.w = (struct slot_waiter){ .len = len,
						       .ready = ready_to_hold,
						       .owner = owner };
			x->waiting = true;
			x->ticket = round + 1;
			x->last = &last[si][pi];
			slot_wait(f->c, &x->t.w);
			nparked[0] += x->t.w.queue == &s->parked;
			nparked[1] += x->t.w.queue == &p->parked;
		}
	}
	ck_assert_uint_gt(nserved, 1000);
	ck_assert_uint_gt(nparked[0], 10);
	ck_assert_uint_gt(nparked[1], 100);
	/* all is given back: everybody gets his turn */
	for (bool any = true; any;) {
		any = false;
		for (int i = 0; i < NWAITERS; i++)
			if (w[i].t.slot) {
				slot_give(w[i].t.slot);
				w[i].t.slot = NULL;
				any = true;
			}
	}
	for (int i = 0; i < NWAITERS; i++)
		ck_assert_msg(!w[i].waiting, "waiter %d waits for ever", i);
	for (int i = 0; i < NSHARES; i++)
		ck_assert_uint_eq(share[i].pages + share[i].queued, 0);
	for (int i = 0; i < NPARTS; i++)
		ck_assert_uint_eq(part[i].pages + part[i].queued, 0);
	ck_assert_uint_eq(f->d.nwaiting, 0);
	drop_cache(f);
}
END_TEST

START_TEST(what_can_never_fit_is_not_possible)
{
	struct fixture *f = make_cache(4);
	struct slot *slot = slot_take(f->c, 4096, NOBODY);

	ck_assert_ptr_null(slot_take(f->c, 16384, NOBODY));
	ck_assert(slot_possible(f->c, 16384)); /* once the first is given back */
	ck_assert(!slot_possible(f->c, 16385));
	slot_give(slot);
	drop_cache(f);
}
END_TEST

/* Somebody else holds the pages and nobody would ever serve the waiter. */
START_TEST(nobody_waits_for_what_nobody_can_give_back)
{
	struct fixture *f = make_cache(4);
	struct slot *slot = slot_take(f->c, 4096, NOBODY);
	struct test_waiter w = { .w = { .len = 16384, .ready = ready } };

	served = 0;
	ck_assert_ptr_null(slot_take(f->c, 16384, NOBODY));
	slot_wait(f->c, &w.w);
	ck_assert(buddy_take_range(&f->p->free, 2, 1)); /* not a slot: will not come back */
	slot_give(slot);
	ck_assert_int_eq(served, 1); /* told so, instead of waiting for ever */
	ck_assert_ptr_null(w.slot);
	ck_assert_ptr_null(slot_take(f->c, 16384, NOBODY));
	ck_assert(!slot_possible(f->c, 16384));
	buddy_give(&f->p->free, 2, 1);
	drop_cache(f);
}
END_TEST

/* Two RNICs (windows) on one provider, as two on one CMB: idle slots of the one make room for the
 * other, and its waiters are served by the other's give. */
START_TEST(caches_of_one_provider_share_its_pages)
{
	struct fixture *f = make_cache(4);
	struct window *other_window = make_window(1 << 20);
	struct slot_cache *other;
	struct slot *a, *b;
	struct test_waiter w = { .w = { .len = 16384, .ready = ready } };

	served = 0;
	ck_assert_int_eq(slot_cache_create(&f->d, other_window, f->p, &other), 0);
	a = slot_take(f->c, 16384, NOBODY);
	slot_give(a); /* idle, holds all pages */
	b = slot_take(other, 8192, NOBODY);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(f->c->stats.evictions, 1);
	ck_assert_ptr_null(slot_take(f->c, 16384, NOBODY));
	ck_assert(slot_possible(f->c, 16384));
	slot_wait(f->c, &w.w);
	ck_assert_ptr_null(
		slot_take(other, 4096, NOBODY)); /* there is room, but the other was first */
	slot_give(b);
	ck_assert_int_eq(served, 1);
	slot_give(w.slot);
	slot_cache_destroy(other);
	drop_window(other_window);
	drop_cache(f);
}
END_TEST

/* Two providers in one window: the window's IOVA may be what is lacking. */
START_TEST(caches_of_one_window_share_its_iova)
{
	struct slot_domain d;
	struct window *w = make_window(4 * P2P_PAGE_SIZE);
	struct provider *p[2];
	struct slot_cache *c[2];
	struct slot *slot;

	slot_domain_init(&d);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(provider_create_host(16, &p[i]), 0);
		ck_assert_int_eq(slot_cache_create(&d, w, p[i], &c[i]), 0);
	}
	slot = slot_take(c[0], 16384, NOBODY);
	ck_assert_ptr_null(slot_take(c[1], 4096, NOBODY));
	ck_assert_uint_eq(w->stats.full, 1);
	slot_give(slot);
	slot = slot_take(c[1], 4096, NOBODY); /* c[0]'s idle slot had all IOVA */
	ck_assert_ptr_nonnull(slot);
	slot_give(slot);
	for (int i = 0; i < 2; i++)
		slot_cache_destroy(c[i]);
	drop_window(w);
	for (int i = 0; i < 2; i++)
		provider_destroy(p[i]);
}
END_TEST

START_TEST(slots_of_a_lost_provider_go_and_waiters_are_told)
{
	struct fixture *f = make_cache(4);
	struct slot *out = slot_take(f->c, 4096, NOBODY), *idle = slot_take(f->c, 4096, NOBODY);
	struct test_waiter w = { .w = { .len = 16384, .ready = ready } };

	served = 0;
	slot_give(idle);
	ck_assert_ptr_null(slot_take(f->c, 16384, NOBODY));
	slot_wait(f->c, &w.w);
	f->p->kind = PROVIDER_CMB; /* only those can be lost */
	provider_lose(f->p);
	slot_lose(&f->d, f->p);
	ck_assert_int_eq(served, 1);
	ck_assert_ptr_null(w.slot);
	ck_assert_ptr_null(slot_take(f->c, 4096, NOBODY));
	ck_assert(!slot_possible(f->c, 4096));
	ck_assert(!provider_release(f->p)); /* one is still out */
	slot_give(out);
	ck_assert_uint_eq(f->w->stats.linked_pages, 0);
	ck_assert(provider_release(f->p));
	ck_assert_int_eq(f->p->state, PROVIDER_GONE);
	slot_cache_destroy(f->c);
	drop_window(f->w);
	provider_destroy(f->p);
	free(f);
}
END_TEST

/* Reactors share nothing: two threads, each with its own domain. TSan has the last word. */
static void *reactor_thread(void *arg)
{
	struct fixture *f = arg;
	struct held held[NSLOTS];
	unsigned int n = 0;
	uintptr_t wrong = 0;

	random_state = (uint32_t)(uintptr_t)f | 1;
	for (unsigned int i = 50000; i; i--) {
		if (n < NSLOTS && random_below(2)) {
			struct slot *slot = slot_take(f->c, 1 + random_below(65536), NOBODY);

			if (!slot)
				continue;
			held[n] =
				(struct held){ .slot = slot, .stamp = (uint8_t)random_below(256) };
			slot->va[0] = held[n++].stamp;
		} else if (n) {
			unsigned int victim = random_below(n);

			wrong += held[victim].slot->va[0] != held[victim].stamp;
			slot_give(held[victim].slot);
			held[victim] = held[--n];
		}
	}
	while (n)
		slot_give(held[--n].slot);
	return (void *)wrong;
}

START_TEST(two_reactors_share_nothing)
{
	struct fixture *f[2] = { make_cache(300), make_cache(300) };
	pthread_t thread[2];
	void *wrong;

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, reactor_thread, f[i]), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pthread_join(thread[i], &wrong), 0);
		ck_assert_ptr_null(wrong);
		drop_cache(f[i]);
	}
}
END_TEST

/* ---- providers in recorded sysfs trees ---------------------------------------------------------
 */

static char root[] = "/tmp/p2p-sysfs-XXXXXX";

static void put_file(const char *path, const char *text)
{
	char full[512], *slash;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}

	int fd = open(full, O_CREAT | O_WRONLY | O_TRUNC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

#define DEV "bus/pci/devices/0000:03:00.0/"

START_TEST(provider_is_found_only_if_published_and_free)
{
	static const struct {
		const char *published, *available;
		size_t reserve;
		unsigned int n;
		const char *why;
	} rows[] = {
		{ "1\n", "65536\n", 0, 1, "" },
		{ "1\n", "65536\n", 32768, 1, "" },
		{ "0\n", "65536\n", 0, 0, "does not publish" },
		{ "1\n", "0\n", 0, 0, "0 of 65536 bytes of CMB free" },
		{ "1\n", "65536\n", 65536, 0, "cmb_reserve is 65536" },
		{ "nonsense\n", "65536\n", 0, 0, "does not publish" },
	};

	ck_assert_ptr_nonnull(mkdtemp(root));
	put_file(DEV "p2pmem/size", "65536\n");
	put_file(DEV "numa_node", "1\n");
	/* a plain file of the pool's size maps as p2pmem/allocate does */
	put_file(DEV "p2pmem/allocate", "");

	char path[512];

	snprintf(path, sizeof(path), "%s/" DEV "p2pmem/allocate", root);
	ck_assert_int_eq(truncate(path, 65536), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct provider_set *set;

		put_file(DEV "p2pmem/published", rows[i].published);
		put_file(DEV "p2pmem/available", rows[i].available);
		struct provider_opts opts = { .sysfs = root,
					      .kallsyms = "/nonexistent",
					      .cap = 1 << 20,
					      .floor = 65536,
					      .chunk = 65536,
					      .reserve = rows[i].reserve };

		ck_assert_int_eq(provider_set_discover(&opts, &set), 0);
		ck_assert_msg(set->n == rows[i].n, "row %zu: %u providers", i, set->n);
		if (set->n) {
			ck_assert_str_eq(set->provider[0]->name, "0000:03:00.0");
			ck_assert_int_eq(set->provider[0]->numa_node, 1);
			ck_assert_uint_eq(set->provider[0]->npages,
					  (65536 - rows[i].reserve) / P2P_PAGE_SIZE);
		} else {
			ck_assert_msg(strstr(set->why_none, rows[i].why), "row %zu: '%s'", i,
				      set->why_none);
		}
		provider_set_destroy(set);
	}

	char command[600];

	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(no_pci_at_all_is_no_error)
{
	struct provider_set *set;

	struct provider_opts opts = { .sysfs = "/nonexistent", .kallsyms = "/nonexistent" };

	ck_assert_int_eq(provider_set_discover(&opts, &set), 0);
	ck_assert_uint_eq(set->n, 0);
	ck_assert(!set->no_p2pdma);
	ck_assert_ptr_nonnull(strstr(set->why_none, "/nonexistent"));
	provider_set_destroy(set);
	/* a kernel whose symbols are known and are not these */
	opts.kallsyms = "/dev/null";
	ck_assert_int_eq(provider_set_discover(&opts, &set), 0);
	ck_assert(set->no_p2pdma);
	ck_assert_ptr_nonnull(strstr(set->why_none, "CONFIG_PCI_P2PDMA"));
	provider_set_destroy(set);
}
END_TEST

START_TEST(peek_and_poke_survive_pages_that_are_gone)
{
	struct provider *p;
	char byte = 'x';

	ck_assert_int_eq(provider_create_host(1, &p), 0);
	ck_assert_int_eq(provider_poke(p, p->pool + 9, &byte, 1), 0);
	byte = 0;
	ck_assert_int_eq(provider_peek(p, p->pool + 9, &byte, 1), 0);
	ck_assert_int_eq(byte, 'x');
	ck_assert_ptr_ne(mmap(p->pool, P2P_PAGE_SIZE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 MAP_FAILED);
	ck_assert_int_eq(provider_peek(p, p->pool, &byte, 1), -EFAULT);
	ck_assert_int_eq(provider_poke(p, p->pool, &byte, 1), -EFAULT);
	provider_destroy(p);
}
END_TEST

/* A CMB of 1 MiB in a tree of plain files; the model of its other users is `available`. */
static void make_cmb(void)
{
	char path[512];

	strcpy(root, "/tmp/p2p-sysfs-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	put_file(DEV "p2pmem/size", "1048576\n");
	put_file(DEV "p2pmem/available", "1048576\n");
	put_file(DEV "p2pmem/published", "1\n");
	put_file(DEV "p2pmem/allocate", "");
	snprintf(path, sizeof(path), "%s/" DEV "p2pmem/allocate", root);
	ck_assert_int_eq(truncate(path, 1 << 20), 0);
}

static void drop_tree(void)
{
	char command[600];

	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(provider_grows_to_its_cap_leaves_the_reserve_and_shrinks_to_its_floor)
{
	struct provider_opts opts = { .sysfs = root,
				      .kallsyms = "/nonexistent",
				      .cap = 512 << 10,
				      .floor = 128 << 10,
				      .chunk = 64 << 10,
				      .reserve = 256 << 10 };
	struct provider_set *set;
	struct provider *p;

	make_cmb();
	ck_assert_int_eq(provider_set_discover(&opts, &set), 0);
	ck_assert_uint_eq(set->n, 1);
	p = set->provider[0];
	ck_assert_uint_eq(p->npages, 32); /* the floor */
	ck_assert_uint_eq(p->max_pages, 128);
	ck_assert_int_eq(provider_grow(p), 0);
	ck_assert_uint_eq(p->npages, 48);
	put_file(DEV "p2pmem/available", "262144\n"); /* others took the rest: only the reserve */
	ck_assert_int_eq(provider_grow(p), -ENOMEM);
	put_file(DEV "p2pmem/available", "1048576\n");
	ck_assert_int_eq(provider_grow(p), -ENOMEM); /* not asked again at once */
	ck_assert(buddy_take_range(&p->free, 0, 1));
	provider_shrink(p);
	ck_assert_uint_eq(p->npages, 32);
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(provider_grow(p), 0);
	ck_assert_uint_eq(p->npages, 128); /* the cap */
	ck_assert_int_eq(provider_grow(p), -ENOMEM);
	ck_assert(
		buddy_take_range(&p->free, 100, 1)); /* in the fifth chunk from the end: 96..111 */
	provider_shrink(p);
	ck_assert_uint_eq(p->npages, 112); /* a page in use keeps its chunk */
	buddy_give(&p->free, 100, 1);
	buddy_give(&p->free, 0, 1);
	provider_shrink(p);
	ck_assert_uint_eq(p->npages, 32);
	provider_set_destroy(set);
	drop_tree();
}
END_TEST

START_TEST(provider_that_was_unbound_is_dead_and_comes_back)
{
	struct provider_opts opts = { .sysfs = root,
				      .kallsyms = "/nonexistent",
				      .cap = 1 << 20,
				      .floor = 64 << 10,
				      .chunk = 64 << 10 };
	struct provider_set *set;
	struct provider *p;
	char from[512], to[512];

	make_cmb();
	ck_assert_int_eq(provider_set_discover(&opts, &set), 0);
	p = set->provider[0];
	ck_assert(provider_alive(p));
	ck_assert_uint_eq(provider_set_scan(set), 0); /* nothing new */
	/* gone, and another one at the same address: not ours */
	snprintf(from, sizeof(from), "%s/" DEV "p2pmem/allocate", root);
	snprintf(to, sizeof(to), "%s/" DEV "old", root);
	ck_assert_int_eq(rename(from, to), 0);
	ck_assert(!provider_alive(p));
	put_file(DEV "p2pmem/allocate", "");
	ck_assert_int_eq(truncate(from, 1 << 20), 0);
	ck_assert(!provider_alive(p));
	provider_lose(p);
	ck_assert_uint_eq(provider_set_scan(set), 0); /* LOST: the old pages come first */
	ck_assert(provider_release(p));
	ck_assert_uint_eq(provider_set_scan(set), 1);
	ck_assert_int_eq(p->state, PROVIDER_ACTIVE);
	ck_assert(provider_alive(p));
	ck_assert_uint_eq(set->n, 1);
	provider_set_destroy(set);
	drop_tree();
}
END_TEST

/* ---- the choice between CMBs and host memory ----------------------------------------------------
 */

struct choice {
	struct slot_domain d;
	struct window *odp, *pinned;
	struct provider *p[2], *host;
	struct provider_set set;
	struct staging st;
	struct stage_target t;
	struct stage_client drive;
};

/* Two CMBs of 4 pages, both proved; the drive is nearer to the second. */
static struct choice *make_choice(void)
{
	struct choice *c = calloc(1, sizeof(*c));

	slot_domain_init(&c->d);
	stage_client_init(&c->drive);
	c->st = (struct staging){ .set = &c->set, .domain = &c->d };
	c->st.odp = c->odp = make_window(64 * P2P_PAGE_SIZE);
	c->pinned = make_window(8 * P2P_PAGE_SIZE);
	ck_assert_int_eq(provider_create_host(8, &c->host), 0);
	ck_assert_int_eq(slot_cache_create(&c->d, c->pinned, c->host, &c->st.host), 0);
	c->t = (struct stage_target){ .ncandidates = 2, .nusable = 2 };
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(provider_create_host(4, &c->p[i]), 0);
		c->p[i]->kind = PROVIDER_CMB;
		c->p[i]->denied = true; /* does not grow */
		c->set.provider[i] = c->p[i];
		c->p[i]->index = c->set.n++;
		ck_assert_int_eq(slot_cache_create(&c->d, c->odp, c->p[i], &c->st.cmb[i]), 0);
		c->st.proof[i][IBV_MTU_4096].verdict = PROOF_ALIGNED;
		c->t.candidate[i] = (struct stage_candidate){ .provider = c->p[i],
							      .path.distance = i ? 0 : 4,
							      .read.verdict = PROOF_ANY };
	}
	return c;
}

static void drop_choice(struct choice *c)
{
	for (int i = 0; i < 2; i++)
		slot_cache_destroy(c->st.cmb[i]);
	slot_cache_destroy(c->st.host);
	drop_window(c->odp);
	drop_window(c->pinned);
	for (int i = 0; i < 2; i++)
		provider_destroy(c->p[i]);
	provider_destroy(c->host);
	free(c);
}

/* As a reactor that has just been told what was proved. */
static struct stage_result take_staged(struct choice *c, enum ibv_mtu mtu, size_t len)
{
	stage_target_view(&c->t, &c->drive.view);
	return staging_take(&c->st, &c->drive, 1, mtu, true, len);
}

static unsigned int place_of(struct choice *c, enum ibv_mtu mtu, struct slot **ret_slot)
{
	struct stage_result r = take_staged(c, mtu, 4 * P2P_PAGE_SIZE);

	*ret_slot = r.slot;
	return r.place;
}

START_TEST(the_nearest_cmb_is_taken_then_the_other_then_host_memory)
{
	struct choice *c = make_choice();
	struct slot *slot[3];

	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot[0]), 1);
	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot[1]), 0);
	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot[2]), STAGE_HOST_EXHAUSTED);
	for (int i = 0; i < 3; i++)
		slot_give(slot[i]);
	/* as near as each other: the one with less in use */
	c->t.candidate[0].path.distance = 0;
	c->p[0]->slot_pages = 1;
	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot[0]), 1);
	slot_give(slot[0]);
	c->p[0]->slot_pages = 0;
	/* the RNIC counts too */
	c->st.path[1].distance = 2;
	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot[0]), 0);
	slot_give(slot[0]);
	drop_choice(c);
}
END_TEST

START_TEST(what_was_not_proved_is_not_used)
{
	struct choice *c = make_choice();
	struct slot *slot;

	ck_assert_uint_eq(place_of(c, IBV_MTU_1024, &slot), STAGE_HOST_MTU + IBV_MTU_1024);
	slot_give(slot);
	c->st.proof[1][IBV_MTU_4096].verdict = PROOF_NONE;
	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot), 0);
	slot_give(slot);
	c->t.nusable = 0;
	c->t.reason = STAGE_HOST_UNREACHABLE;
	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot), STAGE_HOST_UNREACHABLE);
	slot_give(slot);
	c->t.nusable = 2;
	c->st.odp = NULL;
	ck_assert_uint_eq(place_of(c, IBV_MTU_4096, &slot), STAGE_HOST_NO_ODP);
	slot_give(slot);
	drop_choice(c);
}
END_TEST

START_TEST(require_waits_for_cmb_and_fails_where_there_is_none)
{
	struct choice *c = make_choice();
	struct slot *slot[2];
	struct stage_result r;

	c->t.policy = STAGE_REQUIRE;
	place_of(c, IBV_MTU_4096, &slot[0]);
	place_of(c, IBV_MTU_4096, &slot[1]);
	r = take_staged(c, IBV_MTU_4096, P2P_PAGE_SIZE);
	ck_assert_ptr_null(r.slot);
	ck_assert_ptr_eq(r.wait, c->st.cmb[1]);
	slot_give(slot[0]);
	slot_give(slot[1]);
	r = take_staged(c, IBV_MTU_1024, P2P_PAGE_SIZE); /* not proved there */
	ck_assert_ptr_null(r.slot);
	ck_assert_ptr_null(r.wait);
	r = take_staged(c, IBV_MTU_4096, 5 * P2P_PAGE_SIZE); /* can never fit */
	ck_assert_ptr_null(r.slot);
	ck_assert_ptr_null(r.wait);
	drop_choice(c);
}
END_TEST

/* A host whose one drive does not answer goes on with its other. */
START_TEST(what_a_host_may_have_is_of_each_drive)
{
	struct choice *c = make_choice();
	struct stage_client other;
	struct slot *slot[8];
	struct stage_result r;
	unsigned int n = 0;

	stage_client_init(&other);
	while ((slot[n] = staging_take_host(&c->st, &c->drive, 1, STAGE_HOST_OFF, P2P_PAGE_SIZE)
				  .slot))
		ck_assert_uint_lt(++n, 8);
	ck_assert_uint_gt(n, 0);
	r = staging_take_host(&c->st, &other, 1, STAGE_HOST_OFF, P2P_PAGE_SIZE);
	ck_assert_ptr_nonnull(r.slot);
	slot_give(r.slot);
	/* nor does another host wait for it, on the same drive */
	r = staging_take_host(&c->st, &c->drive, 2, STAGE_HOST_OFF, P2P_PAGE_SIZE);
	ck_assert_ptr_nonnull(r.slot);
	slot_give(r.slot);
	while (n > 0)
		slot_give(slot[--n]);
	drop_choice(c);
}
END_TEST

START_TEST(pieces_that_begin_within_a_page_need_a_proof_of_any_alignment)
{
	struct choice *c = make_choice();
	struct stage_result r;

	stage_target_view(&c->t, &c->drive.view);
	for (int i = 0; i < 2; i++)
		c->st.proof[i][IBV_MTU_4096].verdict = PROOF_ALIGNED;
	r = staging_take(&c->st, &c->drive, 1, IBV_MTU_4096, true, P2P_PAGE_SIZE);
	ck_assert_uint_eq(r.place, 1);
	slot_give(r.slot);
	r = staging_take(&c->st, &c->drive, 1, IBV_MTU_4096, false, P2P_PAGE_SIZE);
	ck_assert_uint_eq(r.place, STAGE_HOST_UNALIGNED);
	slot_give(r.slot);
	c->drive.view.policy = STAGE_REQUIRE;
	r = staging_take(&c->st, &c->drive, 1, IBV_MTU_4096, false, P2P_PAGE_SIZE);
	ck_assert_ptr_null(r.slot);
	ck_assert_ptr_null(r.wait);
	ck_assert_uint_eq(r.place, STAGE_HOST_UNALIGNED);
	c->st.proof[0][IBV_MTU_4096].verdict = PROOF_ANY;
	r = staging_take(&c->st, &c->drive, 1, IBV_MTU_4096, false, P2P_PAGE_SIZE);
	ck_assert_uint_eq(r.place, 0);
	slot_give(r.slot);
	drop_choice(c);
}
END_TEST

/* A file on tmpfs: nothing is tried, and the table of paths says why. */
START_TEST(what_the_cpu_would_copy_is_in_host_memory)
{
	struct provider cmb = { .name = "0000:03:00.0", .state = PROVIDER_ACTIVE };
	struct provider_set set = { .provider = { &cmb }, .n = 1 };
	struct stage_target t = { .policy = STAGE_PREFER };
	struct topology topo = { 0 };

	topology_init(&topo, "/nonexistent", "/nonexistent");
	stage_target_prove(&t, &set, &topo, -1, 65536, -1, "the CPU would copy");
	ck_assert_uint_eq(t.nusable, 0);
	ck_assert_uint_eq(t.reason, STAGE_HOST_UNREACHABLE);
	ck_assert_str_eq(t.why, "the CPU would copy");
	ck_assert_uint_eq(t.ncandidates, 1);
	ck_assert_int_eq(t.candidate[0].read.verdict, PROOF_NONE);
	ck_assert_int_eq(t.candidate[0].write.verdict, PROOF_NONE);
	ck_assert_str_eq(t.candidate[0].write.why, "the CPU would copy");
}
END_TEST

START_TEST(every_place_has_a_name)
{
	struct provider cmb = { .name = "0000:03:00.0" };
	struct provider_set set = { .provider = { &cmb }, .n = 1 };
	char name[64];

	for (unsigned int i = STAGE_HOST_OFF; i < STAGE_NPLACES; i++)
		if (i != STAGE_HOST_MTU) /* no MTU has number 0 */
			ck_assert_str_ne(stage_place_name(&set, i, name, sizeof(name)), "?");
	ck_assert_str_eq(stage_place_name(&set, 0, name, sizeof(name)), "cmb 0000:03:00.0");
	ck_assert_str_eq(stage_place_name(&set, STAGE_NPLACES, name, sizeof(name)), "?");
}
END_TEST

START_TEST(every_place_is_explained)
{
	struct provider_set set = { .n = 0 };
	char page[65536], name[64], quoted[70];
	FILE *f = fopen("docs/troubleshooting.md", "re");
	size_t len = f ? fread(page, 1, sizeof(page) - 1, f) : 0;

	ck_assert_msg(f && len && len < sizeof(page) - 1, "run me at the top of the tree");
	fclose(f);
	page[len] = '\0';
	for (unsigned int i = STAGE_HOST_OFF; i <= STAGE_HOST_MTU + IBV_MTU_256; i++) {
		if (i == STAGE_HOST_MTU)
			continue;
		snprintf(quoted, sizeof(quoted), "`%s`",
			 stage_place_name(&set, i, name, sizeof(name)));
		ck_assert_msg(strstr(page, quoted), "%s is not in docs/troubleshooting.md", quoted);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("p2p");
	TCase *tc = tcase_create("p2p");

	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, buddy_never_hands_out_a_page_twice);
	tcase_add_test(tc, buddy_gives_all_pages_and_then_none);
	tcase_add_test(tc, buddy_takes_exactly_the_pages_asked_for);
	tcase_add_test(tc, buddy_order_is_the_smallest_that_holds);
	tcase_add_test(tc, linked_pages_carry_their_bytes_and_go_back);
	tcase_add_test(tc, link_is_all_or_nothing);
	tcase_add_test(tc, scattered_pages_make_one_range_of_several_extents);
	tcase_add_test(tc, window_that_is_full_says_so);
	tcase_add_test(tc, links_say_what_they_cannot_do);
	tcase_add_test(tc, window_agrees_with_a_model_of_one_record_a_page);
	tcase_add_test(tc, children_do_not_inherit_linked_pages);
	tcase_add_test(tc, slots_never_overlap_and_all_come_back);
	tcase_add_test(tc, warm_slot_is_the_same_slot);
	tcase_add_test(tc, idle_slots_of_other_sizes_make_room);
	tcase_add_test(tc, waiters_are_served_in_order_and_a_small_one_does_not_overtake);
	tcase_add_test(tc, a_share_leaves_something_to_others);
	tcase_add_test(tc, who_waits_behind_one_that_goes_is_served);
	tcase_add_test(tc, a_part_leaves_something_to_others_of_its_share);
	tcase_add_test(tc, shares_never_starve_and_never_take_all);
	tcase_add_test(tc, what_can_never_fit_is_not_possible);
	tcase_add_test(tc, nobody_waits_for_what_nobody_can_give_back);
	tcase_add_test(tc, caches_of_one_provider_share_its_pages);
	tcase_add_test(tc, caches_of_one_window_share_its_iova);
	tcase_add_test(tc, slots_of_a_lost_provider_go_and_waiters_are_told);
	tcase_add_test(tc, two_reactors_share_nothing);
	tcase_add_test(tc, provider_is_found_only_if_published_and_free);
	tcase_add_test(tc, no_pci_at_all_is_no_error);
	tcase_add_test(tc, peek_and_poke_survive_pages_that_are_gone);
	tcase_add_test(tc, provider_grows_to_its_cap_leaves_the_reserve_and_shrinks_to_its_floor);
	tcase_add_test(tc, provider_that_was_unbound_is_dead_and_comes_back);
	tcase_add_test(tc, the_nearest_cmb_is_taken_then_the_other_then_host_memory);
	tcase_add_test(tc, what_was_not_proved_is_not_used);
	tcase_add_test(tc, require_waits_for_cmb_and_fails_where_there_is_none);
	tcase_add_test(tc, what_a_host_may_have_is_of_each_drive);
	tcase_add_test(tc, pieces_that_begin_within_a_page_need_a_proof_of_any_alignment);
	tcase_add_test(tc, what_the_cpu_would_copy_is_in_host_memory);
	tcase_add_test(tc, every_place_has_a_name);
	tcase_add_test(tc, every_place_is_explained);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
