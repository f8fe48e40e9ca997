/*
 * CMBs are found in sysfs, an RNIC and a drive prove them, payload is staged in them, more is taken
 * and given back, one is lost and comes back. The CMB is a file that maps as p2pmem/allocate does,
 * the drive is a file, the RNIC is fake_rnic.h.
 */
#include "tests/fault/fake_rnic.h"
#include "tests/fault/inject.h"
#include "tests/fault/scenarios.h"
#include "tests/fault/tree.h"
#include "tests/fuzz/asserts.h"

#include "p2p/hotplug.h"
#include "p2p/staging.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CMB       "bus/pci/devices/0000:03:00.0/"
#define CMB_LEN   (1 << 20)
#define DRIVE_LEN (128 << 10)
#define MTU       IBV_MTU_4096

static struct provider_opts opts;
static struct topology topo;
static struct ibv_pd *pd;
static int drive = -1, scratch = -1;

static int open_file(const char *name)
{
	char path[256];
	int fd;

	tree_file(name, "", DRIVE_LEN);
	snprintf(path, sizeof(path), "%s/%s", tree_root, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void fill_drive(void)
{
	uint8_t page[4096];

	for (unsigned int i = 0; i < DRIVE_LEN / sizeof(page); i++) {
		memset(page, (int)i + 1, sizeof(page));
		ck_assert_int_eq(pwrite(drive, page, sizeof(page), i * (off_t)sizeof(page)),
				 (ssize_t)sizeof(page));
	}
}

void p2p_prepare(void)
{
	tree_make();
	tree_file(CMB "p2pmem/size", "1048576\n", 0);
	tree_file(CMB "p2pmem/available", "1048576\n", 0);
	tree_file(CMB "p2pmem/published", "1\n", 0);
	tree_file(CMB "p2pmem/allocate", "", CMB_LEN);
	tree_file(CMB "numa_node", "0\n", 0);
	tree_file("kallsyms", "0 t pci_p2pdma_add_resource\n", 0);
	tree_file("cpuinfo", "vendor_id : GenuineIntel\ncpu family : 6\n", 0);
	drive = open_file("drive");
	scratch = open_file("scratch");
	fill_drive();
	opts = (struct provider_opts){ .sysfs = tree_root,
				       .kallsyms = "/nonexistent",
				       .cap = CMB_LEN,
				       .floor = 128 << 10,
				       .chunk = 128 << 10 };
	topology_init(&topo, tree_root, "/nonexistent");
	pd = ibv_alloc_pd(fake_rnic_open());
	ck_assert_ptr_nonnull(pd);
}

void p2p_finish(void)
{
	ibv_dealloc_pd(pd);
	ck_assert_uint_eq(fake_rnic_objects(), 0);
	close(drive);
	close(scratch);
	tree_drop();
}

struct setup {
	struct slot_domain domain;
	struct provider_set *set;
	struct staging *staging;
	struct stage_target target;
	struct stage_client client;
};

static int make(struct setup *s)
{
	int err;

	*s = (struct setup){ 0 };
	slot_domain_init(&s->domain);
	stage_client_init(&s->client);
	err = provider_set_discover(&opts, &s->set);
	if (err)
		return err;
	if (s->set->n == 0)
		ck_assert(s->set->why_none[0]);
	return staging_create(pd, 1, s->set, &topo, &s->domain, 4 << 20, 1 << 20, false,
			      &s->staging);
}

/* Return: both the RNIC and the drive may use the CMB. What may not is explained. */
static bool prove(struct setup *s)
{
	struct provider *p = s->set->n ? s->set->provider[0] : NULL;
	const struct proof *proof = p ? staging_prove(s->staging, p, MTU) : NULL;

	s->target.client = (struct p2p_client){ .capable = true, .software = true };
	stage_target_prove(&s->target, s->set, &topo, drive, 65536, scratch, NULL);
	stage_target_view(&s->target, &s->client.view);
	ck_assert(s->target.why[0]);
	ck_assert(!proof || proof->verdict == PROOF_ANY || proof->why[0]);
	return proof && proof->verdict == PROOF_ANY && s->target.nusable == 1;
}

/* Both ends of it: what the RNIC would put there is read back. */
static void use(const struct slot *slot, size_t len, uint8_t byte)
{
	memset(slot->va, byte, len);
	ck_assert_uint_eq(slot->va[0], byte);
	ck_assert_uint_eq(slot->va[len - 1], byte);
}

/* Payload of many lengths, in the CMB or, as long as the drive may have that, elsewhere. Return:
 * all of it was in the CMB. */
static bool stage(struct setup *s)
{
	static const size_t lens[] = { 512, 4096, 16384, 65536, 131072, 262144, 4096, 131072 };
	struct slot *out[sizeof(lens) / sizeof(lens[0])];
	unsigned int n = 0;
	bool all = true;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct stage_result r = staging_take(s->staging, &s->client, 1, MTU, true, lens[i]);

		all &= r.slot && stage_is_cmb(r.place);
		if (!r.slot)
			continue;
		use(r.slot, lens[i], (uint8_t)(i + 1));
		out[n++] = r.slot;
	}
	for (unsigned int i = 0; i < n; i++)
		ck_assert_uint_ne(out[i]->va[0], 0);
	while (n)
		slot_give(out[--n]);
	return all;
}

/* As the control thread does when the drive is gone, and back. */
static bool lose_and_find(struct setup *s)
{
	struct provider *p = s->set->provider[0];

	provider_lose(p);
	slot_lose(&s->domain, p);
	staging_provider_lost(s->staging, 0);
	stage_target_refresh(&s->target);
	if (!provider_release(p))
		return false;
	if (!provider_set_scan(s->set))
		return false;
	staging_provider_added(s->staging, &topo, 0);
	return true;
}

/* Return: all of it went as it should. */
static bool live(void)
{
	struct setup s;
	bool well = make(&s) == 0;

	if (well) {
		well = prove(&s);
		well &= stage(&s);
		for (int i = 0; i < 4; i++)
			slot_trim(&s.domain);
		well &= stage(&s);
		well &= s.set->n == 1;
		ck_assert(s.set->n == 0 || provider_alive(s.set->provider[0]));
		if (s.set->n == 1)
			well &= lose_and_find(&s) && prove(&s) && stage(&s);
	}
	staging_destroy(s.staging);
	provider_set_destroy(s.set);
	return well;
}

void p2p_faulty(void)
{
	(void)live();
}

void p2p_verify(void)
{
	ck_assert(live());
}

/* ---- a range of scattered pages ----------------------------------------------------------------
 */

#define FEW 16 /* pages */

void scattered_prepare(void)
{
	p2p_prepare();
	opts.cap = opts.floor = opts.chunk = FEW * P2P_PAGE_SIZE;
}

/* Every second page of the CMB is free, four of these become one range. */
static bool scatter(struct slot_cache *c)
{
	static const struct slot_owner nobody;
	struct slot *small[FEW], *large = NULL;
	unsigned int n = 0;

	while (n < FEW && (small[n] = slot_take(c, P2P_PAGE_SIZE, nobody)))
		use(small[n++], P2P_PAGE_SIZE, 1);
	for (unsigned int i = 0; i < n; i += 2)
		slot_give(small[i]);
	if (n == FEW)
		large = slot_take(c, 4 * P2P_PAGE_SIZE, nobody);
	if (large) {
		use(large, 4 * P2P_PAGE_SIZE, 2);
		slot_give(large);
	}
	for (unsigned int i = 1; i < n; i += 2)
		slot_give(small[i]);
	return large;
}

/* Whatever failed, all pages come back when nothing fails any more. */
static bool scattered(void)
{
	struct setup s;
	bool well = make(&s) == 0 && s.set->n == 1 && s.staging->cmb[0];

	if (well) {
		well = scatter(s.staging->cmb[0]);
		fault_pause(true);
		provider_lose(s.set->provider[0]);
		slot_lose(&s.domain, s.set->provider[0]);
		slot_trim(&s.domain);
		ck_assert(provider_release(s.set->provider[0]));
		fault_pause(false);
	}
	staging_destroy(s.staging);
	provider_set_destroy(s.set);
	return well;
}

void scattered_faulty(void)
{
	(void)scattered();
}

void scattered_verify(void)
{
	ck_assert(scattered());
}

/* A reactor's set follows the control thread's. */
static bool follow(void)
{
	struct provider_set *leader = NULL, *set = NULL;
	bool well = provider_set_discover(&opts, &leader) == 0 &&
		    provider_set_create_follower(&opts, &set) == 0 &&
		    provider_set_follow(set, leader) == 1 && set->n == 1 &&
		    set->provider[0]->state == PROVIDER_ACTIVE;

	/* asked again, what is lacking is there */
	if (!well && leader && set && leader->n == 1) {
		fault_pause(true);
		(void)provider_set_follow(set, leader);
		ck_assert_uint_eq(set->n, 1);
		ck_assert_int_eq(set->provider[0]->state, PROVIDER_ACTIVE);
		fault_pause(false);
	}
	provider_set_destroy(set);
	provider_set_destroy(leader);
	return well;
}

void follow_faulty(void)
{
	(void)follow();
}

void follow_verify(void)
{
	ck_assert(follow());
}

/* ---- events of drives --------------------------------------------------------------------------
 */

static bool hear(void)
{
	struct hotplug *h;
	char bdf[32];

	if (hotplug_open(&h))
		return false;
	ck_assert_int_ge(hotplug_fd(h), 0);
	(void)hotplug_read(h, bdf);
	hotplug_close(h);
	return true;
}

void hotplug_faulty(void)
{
	(void)hear();
}

void hotplug_verify(void)
{
	ck_assert(hear());
}
