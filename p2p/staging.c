#include "p2p/staging.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const reason_names[STAGE_NREASONS] = {
	[STAGE_CMB] = "cmb",
	[STAGE_HOST_OFF] = "host: cmb is off",
	[STAGE_HOST_NO_CMB] = "host: no CMB",
	[STAGE_HOST_NO_P2PDMA] = "host: kernel has no P2P",
	[STAGE_HOST_NO_ODP] = "host: no ODP",
	[STAGE_HOST_RNIC] = "host: RNIC not proved",
	[STAGE_HOST_UNREACHABLE] = "host: not reachable",
	[STAGE_HOST_EXHAUSTED] = "host: exhausted",
	[STAGE_HOST_IN_CAPSULE] = "host: in capsule",
};

const char *stage_reason_name(enum stage_reason reason)
{
	return reason < STAGE_NREASONS ? reason_names[reason] : "unknown";
}

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

static int create_caches(struct staging *st)
{
	int err = slot_cache_create(st->pinned, st->pinned->host, &st->host);

	for (unsigned int i = 0; !err && st->odp && i < st->set->n; i++)
		err = slot_cache_create(st->odp, st->set->provider[i], &st->cmb[i]);
	return err;
}

int staging_create(struct ibv_pd *pd, uint8_t port_num, struct provider_set *set, size_t odp_size,
		   size_t host_size, struct staging **ret_staging)
{
	struct staging *st = calloc(1, sizeof(*st));

	if (!st)
		return -ENOMEM;
	st->set = set;
	st->port_num = port_num;

	int err = window_create_pinned(pd, host_size, &st->pinned);

	if (!err) {
		if (set->n)
			(void)create_odp(st, pd, odp_size);
		else
			snprintf(st->why_no_odp, sizeof(st->why_no_odp), "not needed: no CMB");
		err = create_caches(st);
	}
	if (err) {
		staging_destroy(st);
		return err;
	}
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

const struct proof *staging_proof(struct staging *st, struct provider *p, enum ibv_mtu mtu)
{
	struct proof *proof = &st->proof[p->index][mtu];

	if (proof->verdict == PROOF_UNKNOWN) {
		if (st->odp) {
			proof_rnic(st->odp, st->port_num, p, mtu, proof);
		} else {
			proof->verdict = PROOF_NONE;
			snprintf(proof->why, sizeof(proof->why), "%s", st->why_no_odp);
		}
	}
	return proof;
}

struct stage_route staging_route(struct staging *st, const struct stage_target *t, enum ibv_mtu mtu)
{
	if (!t)
		return (struct stage_route){ st->host, STAGE_HOST_OFF };
	if (!t->provider)
		return (struct stage_route){ st->host, t->reason };
	if (!st->odp)
		return (struct stage_route){ st->host, STAGE_HOST_NO_ODP };
	/* every slot starts on a page, so `aligned` is enough */
	if (staging_proof(st, t->provider, mtu)->verdict < PROOF_ALIGNED)
		return (struct stage_route){ st->host, STAGE_HOST_RNIC };
	return (struct stage_route){ st->cmb[t->provider->index], STAGE_CMB };
}

static bool try_provider(struct stage_target *t, int fd, size_t len, struct provider *p)
{
	struct proof proof;

	proof_backend(fd, len, p, &proof);
	if (proof.verdict == PROOF_ANY) {
		t->provider = p;
		t->reason = STAGE_CMB;
		snprintf(t->why, sizeof(t->why), "CMB of %s", p->name);
		return true;
	}
	t->reason = STAGE_HOST_UNREACHABLE;
	snprintf(t->why, sizeof(t->why), "%s", proof.why);
	return false;
}

void stage_target_init(struct stage_target *t, struct provider_set *set, int fd, size_t proof_len,
		       const char *own_bdf, bool off, bool require)
{
	*t = (struct stage_target){ .require = require,
				    .reason = set->no_p2pdma ? STAGE_HOST_NO_P2PDMA
							     : STAGE_HOST_NO_CMB };
	if (off) {
		t->reason = STAGE_HOST_OFF;
		snprintf(t->why, sizeof(t->why), "cmb = \"off\"");
		return;
	}
	snprintf(t->why, sizeof(t->why), "%s", set->why_none);
	for (unsigned int i = 0; i < set->n; i++)
		if (strcmp(set->provider[i]->name, own_bdf) == 0 &&
		    try_provider(t, fd, proof_len, set->provider[i]))
			return;
	for (unsigned int i = 0; i < set->n; i++)
		if (strcmp(set->provider[i]->name, own_bdf) != 0 &&
		    try_provider(t, fd, proof_len, set->provider[i]))
			return;
}
