/*
 * What the mapping layer costs, against what it replaces: registering a memory region for each I/O.
 *
 *   p2p              slots on a window without an RNIC: pure memory management, runs anywhere
 *   p2p RDMA-DEVICE  the same on a real window of that RNIC, with a CMB if there is one, and the
 * price of ibv_reg_mr and ibv_dereg_mr beside it
 */
#include "p2p/window.c"

#include "p2p/slot.h"

#include <stdio.h>
#include <time.h>

static const size_t sizes[] = { 4096, 65536, 1 << 20 };
#define NSIZES (sizeof(sizes) / sizeof(sizes[0]))

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "p2p: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static struct ibv_context *open_device(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);

	for (int i = 0; list && list[i]; i++)
		if (strcmp(ibv_get_device_name(list[i]), name) == 0)
			return ibv_open_device(list[i]);
	return NULL;
}

/* A window whose memory region is a dummy: no RNIC takes part. */
static struct window *window_without_rnic(size_t size)
{
	static struct ibv_mr mr;
	struct window *w = calloc(1, sizeof(*w));

	if (!w)
		die("window", ENOMEM);
	w->backing = &odp_backing;
	w->size = size;
	w->base = p2p_reserve(size);
	w->mr = &mr;
	w->no_advise = true;
	if (w->base == MAP_FAILED || init_pages(w))
		die("window", ENOMEM);
	return w;
}

static void bench_warm(struct slot_cache *c, unsigned int rounds)
{
	for (size_t i = 0; i < NSIZES; i++) {
		struct slot *slot = slot_take(c, sizes[i], (struct slot_owner){ 0 });
		double start;

		if (!slot)
			die("slot", ENOMEM);
		slot_give(slot);
		start = now_ns();
		for (unsigned int n = 0; n < rounds; n++)
			slot_give(slot_take(c, sizes[i], (struct slot_owner){ 0 }));
		printf("%-9s warm slot, take and give, %7zu bytes: %10.1f ns\n", c->provider->name,
		       sizes[i], (now_ns() - start) / rounds);
	}
}

static void bench_link(struct window *w, struct provider *p, unsigned int rounds)
{
	for (size_t i = 0; i < NSIZES; i++) {
		double link = 0, sync = 0, unlink = 0;
		struct iova_state s;

		if (iova_try_alloc(w, &s, sizes[i]))
			die("iova", ENOSPC);
		for (unsigned int n = 0; n < rounds; n++) {
			double t0 = now_ns(), t1, t2;

			if (iova_link(&s, 0, p, sizes[i]))
				die("link", ENOMEM);
			t1 = now_ns();
			iova_sync(&s, 0, sizes[i]);
			t2 = now_ns();
			if (iova_unlink(&s, 0, sizes[i]))
				die("unlink", ENOMEM);
			unlink += now_ns() - t2;
			sync += t2 - t1;
			link += t1 - t0;
		}
		iova_free(&s);
		printf("%-9s link / sync / unlink,     %7zu bytes: %10.0f / %.0f / %.0f ns%s\n",
		       p->name, sizes[i], link / rounds, sync / rounds, unlink / rounds,
		       w->backing->faults && w->no_advise ? " (no ibv_advise_mr here)" : "");
	}
}

static void bench_registration(struct ibv_pd *pd, const char *name, uint8_t *va, int access,
			       unsigned int rounds)
{
	for (size_t i = 0; i < NSIZES; i++) {
		double start = now_ns();

		for (unsigned int n = 0; n < rounds; n++) {
			struct ibv_mr *mr =
				ibv_reg_mr(pd, va, sizes[i], IBV_ACCESS_LOCAL_WRITE | access);

			if (!mr)
				die("ibv_reg_mr", errno);
			ibv_dereg_mr(mr);
		}
		printf("%-9s register and deregister,  %7zu bytes: %10.0f ns%s\n", name, sizes[i],
		       (now_ns() - start) / rounds, access ? " (on demand)" : "");
	}
}

static void bench_provider(struct window *w, struct provider *p, unsigned int rounds)
{
	struct slot_domain d;
	struct slot_cache *c;

	slot_domain_init(&d);
	while (p->npages < (1 << 20) / P2P_PAGE_SIZE)
		if (provider_grow(p))
			die("growing", ENOMEM);
	if (slot_cache_create(&d, w, p, &c))
		die("slot cache", ENOMEM);
	bench_warm(c, rounds * 100);
	slot_cache_destroy(c);
	bench_link(w, p, rounds);
}

int main(int argc, char **argv)
{
	struct provider_opts opts = { .sysfs = "/sys",
				      .kallsyms = "/proc/kallsyms",
				      .cap = 16 << 20,
				      .floor = 4 << 20,
				      .chunk = 4 << 20 };
	struct provider_set *set;
	struct provider *host;
	int err = provider_create_host(1024, &host);

	if (err)
		die("host memory", err);
	printf("metadata: %.2f bytes a page of window (state %zu, allocator 0.25), 0.25 a page of pool\n",
	       (double)sizeof(uint8_t) + 0.25, sizeof(uint8_t));
	if (argc < 2) {
		struct window *w = window_without_rnic(64 << 20);

		bench_provider(w, host, 100000);
		return 0;
	}

	struct ibv_context *verbs = open_device(argv[1]);
	struct ibv_pd *pd = verbs ? ibv_alloc_pd(verbs) : NULL;
	struct window *w;

	if (!pd)
		die(argv[1], ENODEV);
	err = window_create_odp(pd, (size_t)1 << 30, &w);
	if (err)
		die("window", err);
	bench_provider(w, host, 300);
	bench_registration(pd, "host", host->pool, 0, 300);
	err = provider_set_discover(&opts, &set);
	if (err)
		die("CMBs", err);
	for (unsigned int i = 0; i < set->n; i++) {
		struct provider *p = set->provider[i];

		bench_provider(w, p, 300);
		bench_registration(pd, p->name, p->pool, IBV_ACCESS_ON_DEMAND, 300);
	}
	return 0;
}
