#include "p2p/buddy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static uint32_t nruns(const struct buddy *b, unsigned int order)
{
	return b->npages >> order;
}

static uint32_t nwords(const struct buddy *b, unsigned int order)
{
	return (nruns(b, order) + 63) / 64;
}

static bool is_free(const struct buddy *b, unsigned int order, uint32_t run)
{
	return run < nruns(b, order) && (b->map[order][run / 64] >> (run % 64) & 1);
}

static void set_free(struct buddy *b, unsigned int order, uint32_t run)
{
	b->map[order][run / 64] |= UINT64_C(1) << (run % 64);
	b->count[order]++;
	if (run / 64 < b->hint[order])
		b->hint[order] = run / 64;
}

static void clear_free(struct buddy *b, unsigned int order, uint32_t run)
{
	b->map[order][run / 64] &= ~(UINT64_C(1) << (run % 64));
	b->count[order]--;
}

int buddy_init(struct buddy *b, uint32_t npages)
{
	*b = (struct buddy){ .npages = npages };
	if (npages == 0 || npages > UINT32_C(1) << BUDDY_MAX_ORDER)
		return -EINVAL;
	for (unsigned int order = 0; order <= BUDDY_MAX_ORDER; order++) {
		/* one word at least, so that calloc(0) needs no thought */
		b->map[order] = calloc(nwords(b, order) + 1, sizeof(uint64_t));
		if (!b->map[order]) {
			buddy_fini(b);
			return -ENOMEM;
		}
		b->hint[order] = nwords(b, order);
	}
	return 0;
}

void buddy_fini(struct buddy *b)
{
	for (unsigned int order = 0; order <= BUDDY_MAX_ORDER; order++)
		free(b->map[order]);
	*b = (struct buddy){ 0 };
}

static uint32_t lowest_free(struct buddy *b, unsigned int order)
{
	uint32_t word = b->hint[order];

	while (!b->map[order][word])
		word++;
	b->hint[order] = word;
	return word * 64 + (uint32_t)__builtin_ctzll(b->map[order][word]);
}

uint32_t buddy_take(struct buddy *b, unsigned int order)
{
	unsigned int from = order;

	while (from <= BUDDY_MAX_ORDER && b->count[from] == 0)
		from++;
	if (from > BUDDY_MAX_ORDER)
		return BUDDY_NONE;

	uint32_t run = lowest_free(b, from);

	clear_free(b, from, run);
	while (from > order) { /* keep the lower half, free the upper */
		from--;
		run *= 2;
		set_free(b, from, run + 1);
	}
	b->nfree -= UINT32_C(1) << order;
	return run << order;
}

/* Merge the run with its buddies and mark it free. */
static void give_run(struct buddy *b, uint32_t page, unsigned int order)
{
	uint32_t run = page >> order;

	assert(order <= BUDDY_MAX_ORDER && page == run << order && run < nruns(b, order));
	for (unsigned int o = order; o <= BUDDY_MAX_ORDER; o++)
		assert(!is_free(b, o, page >> o)); /* free already, alone or as part of a run */
	b->nfree += UINT32_C(1) << order;
	while (order < BUDDY_MAX_ORDER && is_free(b, order, run ^ 1)) {
		clear_free(b, order, run ^ 1);
		run /= 2;
		order++;
	}
	set_free(b, order, run);
}

void buddy_give(struct buddy *b, uint32_t page, uint32_t npages)
{
	assert(page <= b->npages && npages <= b->npages - page);
	while (npages) {
		unsigned int order = page ? (unsigned int)__builtin_ctz(page) : BUDDY_MAX_ORDER;

		while (order > BUDDY_MAX_ORDER || (UINT32_C(1) << order) > npages)
			order--;
		give_run(b, page, order);
		page += UINT32_C(1) << order;
		npages -= UINT32_C(1) << order;
	}
}

/* The order of the free run that @page lies in; false: it is not free. */
static bool free_run_of(const struct buddy *b, uint32_t page, unsigned int *ret_order)
{
	for (unsigned int order = 0; order <= BUDDY_MAX_ORDER; order++)
		if (is_free(b, order, page >> order)) {
			*ret_order = order;
			return true;
		}
	return false;
}

bool buddy_take_range(struct buddy *b, uint32_t page, uint32_t npages)
{
	uint32_t end = page + npages;
	unsigned int order;

	assert(page <= b->npages && npages <= b->npages - page);
	for (uint32_t at = page; at < end; at = ((at >> order) + 1) << order)
		if (!free_run_of(b, at, &order))
			return false;
	for (uint32_t at = page; at < end;) {
		(void)free_run_of(b, at, &order);

		uint32_t first = at >> order << order, next = first + (UINT32_C(1) << order);

		clear_free(b, order, at >> order);
		b->nfree -= UINT32_C(1) << order;
		if (first < page)
			buddy_give(b, first, page - first);
		if (next > end)
			buddy_give(b, end, next - end);
		at = next;
	}
	return true;
}
