#include "p2p/staging.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const place_names[STAGE_NPLACES] = {
	[STAGE_HOST_OFF] = "host: cmb is off",
	[STAGE_HOST_NO_CMB] = "host: no CMB",
	[STAGE_HOST_NO_P2PDMA] = "host: kernel has no P2P",
	[STAGE_HOST_NO_ODP] = "host: no ODP",
	[STAGE_HOST_UNREACHABLE] = "host: not reachable",
	[STAGE_HOST_LOST] = "host: CMB lost",
	[STAGE_HOST_EXHAUSTED] = "host: exhausted",
	[STAGE_HOST_RETRIED] = "host: retried",
	[STAGE_HOST_UNALIGNED] = "host: unaligned pieces",
	[STAGE_HOST_IN_CAPSULE] = "host: in capsule",
	[STAGE_HOST_CPU] = "host: for the CPU",
	[STAGE_HOST_MTU] = "host: mtu unknown",
	[STAGE_HOST_MTU + IBV_MTU_256] = "host: mtu 256",
	[STAGE_HOST_MTU + IBV_MTU_512] = "host: mtu 512",
	[STAGE_HOST_MTU + IBV_MTU_1024] = "host: mtu 1024",
	[STAGE_HOST_MTU + IBV_MTU_2048] = "host: mtu 2048",
	[STAGE_HOST_MTU + IBV_MTU_4096] = "host: mtu 4096",
};

const char *stage_place_name(const struct provider_set *set, unsigned int place, char *buf,
			     size_t len)
{
	if (place < set->n)
		snprintf(buf, len, "cmb %s", set->provider[place]->name);
	else
		snprintf(buf, len, "%s",
			 place < STAGE_NPLACES && place_names[place] ? place_names[place] : "?");
	return buf;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int create_odp(struct staging *st, struct ibv_pd *pd, size_t size)
{
	int err = window_create_odp(pd, size, &st->odp);

	/* an RNIC may hold less than was asked for; below 16 MiB it is of no use */
	while (err && err != -EOPNOTSUPP && size > 16u << 20) {
		size = size / 2 & ~(size_t)(P2P_PAGE_SIZE - 1);
		err = window_create_odp(pd, size, &st->odp);
	}
	if (err == -EOPNOTSUPP)
		snprintf(st->why_no_odp, sizeof(st->why_no_odp),
			 "%s has no on-demand paging for RC READ, WRITE and SEND",
			 ibv_get_device_name(pd->context->device));
	else if (err)
		snprintf(st->why_no_odp, sizeof(st->why_no_odp),
			 "registering the IOVA window on %s failed: %s",
			 ibv_get_device_name(pd->context->device), strerror(-err));
	return err;
}

static void init_holding(struct stage_holding *h)
{
	slot_share_init(&h->share);
	for (unsigned int i = 0; i < STAGE_PARTS; i++)
		slot_share_init(&h->part[i]);
}

int staging_create(struct ibv_pd *pd, uint8_t port_num, struct provider_set *set,
		   const struct topology *topo, struct slot_domain *domain, size_t odp_size,
		   size_t host_size, bool no_odp, struct staging **ret_staging)
{
	struct staging *st = calloc(1, sizeof(*st));

	if (!st)
		return -ENOMEM;
	st->set = set;
	st->domain = domain;
	st->port_num = port_num;
	init_holding(&st->admin);
	topology_rnic_client(topo, ibv_get_device_name(pd->context->device), &st->client);

	int err = window_create_pinned(pd, host_size, &st->pinned);

	if (!err)
		err = slot_cache_create(domain, st->pinned, st->pinned->host, &st->host);
	if (err) {
		staging_destroy(st);
		return err;
	}
	if (no_odp)
		snprintf(st->why_no_odp, sizeof(st->why_no_odp), "switched off for a test");
	else
		(void)create_odp(st, pd, odp_size);
	for (unsigned int i = 0; i < set->n; i++)
		staging_provider_added(st, topo, i);
	*ret_staging = st;
	return 0;
}

void staging_destroy(struct staging *st)
{
	if (!st)
		return;
	for (unsigned int i = 0; i < PROVIDER_MAX; i++)
		slot_cache_destroy(st->cmb[i]);
	slot_cache_destroy(st->host);
	window_destroy(st->odp);
	window_destroy(st->pinned);
	free(st);
}

/* Without memory for it now, the provider is not used until it is proved again. */
static struct slot_cache *need_cache(struct staging *st, struct provider *p)
{
	struct slot_cache **c = &st->cmb[p->index];

	if (st->odp && !*c && slot_cache_create(st->domain, st->odp, p, c))
		*c = NULL;
	return *c;
}

void staging_provider_added(struct staging *st, const struct topology *topo, unsigned int index)
{
	struct provider *p = st->set->provider[index];

	if (topo)
		topology_path(topo, p->name, &st->client, &st->path[index]);
	(void)need_cache(st, p);
}

void staging_provider_lost(struct staging *st, unsigned int index)
{
	memset(st->proof[index], 0, sizeof(st->proof[index]));
}

const struct proof *staging_prove(struct staging *st, struct provider *p, enum ibv_mtu mtu)
{
	struct proof *proof = &st->proof[p->index][mtu], now = { .verdict = PROOF_NONE };

	if (p->state != PROVIDER_ACTIVE)
		return proof;
	if (need_cache(st, p))
		proof_rnic(st->cmb[p->index], st->port_num, mtu, &now);
	else if (st->odp)
		now = (struct proof){ .verdict = PROOF_UNKNOWN, .why = "no memory for its slots" };
	else
		snprintf(now.why, sizeof(now.why), "%s", st->why_no_odp);
	if (now.verdict != PROOF_UNKNOWN || proof->verdict == PROOF_UNKNOWN)
		*proof = now;
	return proof;
}

/* ---- the choice --------------------------------------------------------------------------------
 */

/* Every slot starts on a page, what the host has in pieces may not. */
static bool rnic_may_use(const struct staging *st, const struct provider *p, enum ibv_mtu mtu,
			 bool aligned)
{
	return st->proof[p->index][mtu].verdict >= (aligned ? PROOF_ALIGNED : PROOF_ANY) ||
	       st->trust;
}

/* Is one nearer to RNIC and drive, or as near with less of it in use? */
static bool better(const struct staging *st, const struct stage_view *v, unsigned int a,
		   unsigned int b)
{
	unsigned int ia = v->usable[a].index, ib = v->usable[b].index;
	unsigned int da = v->usable[a].distance + st->path[ia].distance;
	unsigned int db = v->usable[b].distance + st->path[ib].distance;
	const struct provider *pa = st->set->provider[ia], *pb = st->set->provider[ib];

	if (da != db)
		return da < db;
	return (uint64_t)pa->slot_pages * pb->max_pages < (uint64_t)pb->slot_pages * pa->max_pages;
}

/* The best CMB that is not among @not_these, or NULL. */
static struct slot_cache *best_cache(const struct staging *st, const struct stage_view *v,
				     enum ibv_mtu mtu, bool aligned, uint32_t not_these)
{
	unsigned int best = PROVIDER_MAX;

	for (unsigned int i = 0; i < v->n; i++) {
		unsigned int index = v->usable[i].index;

		/* a cache: the RNIC has ODP, and this reactor has the provider */
		if (not_these & UINT32_C(1) << index || !st->cmb[index] ||
		    !rnic_may_use(st, st->cmb[index]->provider, mtu, aligned))
			continue;
		if (best == PROVIDER_MAX || better(st, v, i, best))
			best = i;
	}
	return best == PROVIDER_MAX ? NULL : st->cmb[v->usable[best].index];
}

static struct slot_owner part_of(struct stage_holding *h, uint8_t part)
{
	return (struct slot_owner){ &h->share, &h->part[part] };
}

struct stage_result staging_take_host(struct staging *st, struct stage_client *c, uint8_t part,
				      uint8_t place, size_t len)
{
	const struct slot_owner owner = part_of(c ? &c->holding[PROVIDER_MAX] : &st->admin, part);
	struct stage_result r = { .slot = slot_take(st->host, len, owner),
				  .place = place,
				  .owner = owner };

	if (!r.slot && slot_possible(st->host, len))
		r.wait = st->host;
	return r;
}

/* No CMB can be used at all: why? */
static uint8_t why_host(const struct staging *st, const struct stage_view *v, enum ibv_mtu mtu,
			bool aligned)
{
	if (v->n == 0)
		return v->reason;
	if (!aligned && st->odp && best_cache(st, v, mtu, true, 0))
		return STAGE_HOST_UNALIGNED;
	return st->odp ? (uint8_t)(STAGE_HOST_MTU + mtu) : STAGE_HOST_NO_ODP;
}

/* Of that CMB. Who may go on to host memory is in nobody's way. */
static struct slot_owner owner_of(struct stage_client *c, uint8_t part, unsigned int index)
{
	if (c->view.policy != STAGE_REQUIRE)
		return (struct slot_owner){ NULL, NULL };
	return part_of(&c->holding[index], part);
}

struct stage_result staging_take(struct staging *st, struct stage_client *c, uint8_t part,
				 enum ibv_mtu mtu, bool aligned, size_t len)
{
	struct slot_cache *cache, *first = NULL;
	const struct stage_view *v;
	uint32_t tried = 0;

	if (!c)
		return staging_take_host(st, NULL, part, STAGE_HOST_OFF, len);
	v = &c->view;
	while (st->odp && (cache = best_cache(st, v, mtu, aligned, tried))) {
		unsigned int index = cache->provider->index;
		struct slot *slot = slot_take(cache, len, owner_of(c, part, index));

		if (slot)
			return (struct stage_result){ .slot = slot, .place = (uint8_t)index };
		if (!first && slot_possible(cache, len))
			first = cache;
		tried |= UINT32_C(1) << index;
	}
	if (v->policy == STAGE_REQUIRE && first)
		return (struct stage_result){ .wait = first,
					      .owner = owner_of(c, part, first->provider->index),
					      .place = (uint8_t)first->provider->index };

	uint8_t why = tried ? STAGE_HOST_EXHAUSTED : why_host(st, v, mtu, aligned);

	if (v->policy == STAGE_REQUIRE)
		return (struct stage_result){ .place = why };
	return staging_take_host(st, c, part, why, len);
}

void staging_copy_proofs(struct staging *st, const struct staging *proved)
{
	memcpy(st->path, proved->path, sizeof(st->path));
	memcpy(st->proof, proved->proof, sizeof(st->proof));
}

/* ---- drives ------------------------------------------------------------------------------------
 */

static bool usable(const struct stage_candidate *c)
{
	return c->provider->state == PROVIDER_ACTIVE && !c->failed &&
	       c->read.verdict == PROOF_ANY && c->write.verdict != PROOF_NONE;
}

static int compare_candidates(const void *a, const void *b)
{
	const struct stage_candidate *x = a, *y = b;

	if (usable(x) != usable(y))
		return usable(x) ? -1 : 1;
	return x->path.distance < y->path.distance ? -1 : x->path.distance > y->path.distance;
}

/* Usable ones to the front, and the words for it. */
static void settle(struct stage_target *t)
{
	qsort(t->candidate, t->ncandidates, sizeof(t->candidate[0]), compare_candidates);
	t->nusable = 0;
	while (t->nusable < t->ncandidates && usable(&t->candidate[t->nusable]))
		t->nusable++;
	if (t->ncandidates == 0)
		return;

	const struct stage_candidate *c = &t->candidate[0];

	if (t->nusable) {
		snprintf(t->why, sizeof(t->why), "CMB of %s", c->provider->name);
	} else if (c->provider->state != PROVIDER_ACTIVE) {
		t->reason = STAGE_HOST_LOST;
		snprintf(t->why, sizeof(t->why), "the CMB of %s is away", c->provider->name);
	} else {
		t->reason = STAGE_HOST_UNREACHABLE;
		snprintf(t->why, sizeof(t->why), "%s",
			 c->failed                      ? "an I/O in its CMB failed in use"
			 : c->read.verdict != PROOF_ANY ? c->read.why
							: c->write.why);
	}
}

/* No pages to spare for the proof: all in use. What was proved before holds. */
static void keep_verdict(struct stage_candidate *c, const struct stage_candidate *before,
			 unsigned int nbefore)
{
	for (unsigned int i = 0; i < nbefore; i++)
		if (before[i].provider == c->provider)
			*c = before[i];
}

void stage_target_prove(struct stage_target *t, struct provider_set *set,
			const struct topology *topo, int fd, size_t len, int scratch_fd,
			const char *copies)
{
	struct stage_candidate before[PROVIDER_MAX];
	unsigned int nbefore = t->ncandidates;

	memcpy(before, t->candidate, sizeof(before));
	t->ncandidates = t->nusable = 0;
	t->reason = set->no_p2pdma ? STAGE_HOST_NO_P2PDMA : STAGE_HOST_NO_CMB;
	snprintf(t->why, sizeof(t->why), "%s", set->why_none);
	if (t->policy == STAGE_OFF) {
		t->reason = STAGE_HOST_OFF;
		snprintf(t->why, sizeof(t->why), "cmb = \"off\"");
		return;
	}
	for (unsigned int i = 0; i < set->n; i++) {
		struct stage_candidate *c = &t->candidate[t->ncandidates++];

		*c = (struct stage_candidate){ .provider = set->provider[i] };
		topology_path(topo, c->provider->name, &t->client, &c->path);
		if (c->provider->state != PROVIDER_ACTIVE)
			continue;
		if (copies) {
			c->read.verdict = c->write.verdict = PROOF_NONE;
			strlcpy(c->read.why, copies, sizeof(c->read.why));
			strlcpy(c->write.why, copies, sizeof(c->write.why));
			continue;
		}
		proof_backend(fd, len, c->provider, &c->read);
		if (c->read.verdict == PROOF_ANY)
			proof_backend_write(fd, scratch_fd, c->provider, &c->write);
		else if (c->read.verdict == PROOF_UNKNOWN)
			keep_verdict(c, before, nbefore);
	}
	settle(t);
}

bool stage_target_failed(struct stage_target *t, unsigned int place)
{
	for (unsigned int i = 0; i < t->nusable; i++)
		if (t->candidate[i].provider->index == place) {
			t->candidate[i].failed = true;
			settle(t);
			return true;
		}
	return false;
}

void stage_target_refresh(struct stage_target *t)
{
	settle(t);
}

/* ---- what reactors are told --------------------------------------------------------------------
 */

void stage_client_init(struct stage_client *c)
{
	memset(c, 0, sizeof(*c));
	for (unsigned int i = 0; i <= PROVIDER_MAX; i++)
		init_holding(&c->holding[i]);
}

void stage_target_view(const struct stage_target *t, struct stage_view *ret)
{
	*ret = (struct stage_view){ .policy = (uint8_t)t->policy,
				    .reason = (uint8_t)t->reason,
				    .n = (uint8_t)t->nusable };
	for (unsigned int i = 0; i < t->nusable; i++) {
		ret->usable[i].index = (uint8_t)t->candidate[i].provider->index;
		ret->usable[i].distance = (uint16_t)t->candidate[i].path.distance;
	}
}

bool stage_view_drop(struct stage_view *v, unsigned int place)
{
	for (unsigned int i = 0; i < v->n; i++)
		if (v->usable[i].index == place) {
			memmove(&v->usable[i], &v->usable[i + 1],
				(size_t)(v->n - i - 1) * sizeof(v->usable[0]));
			v->n--;
			v->reason = STAGE_HOST_UNREACHABLE;
			return true;
		}
	return false;
}
