/*
 * staging: everything one RNIC stages payload in, and the choice between it. The first header to
 * read.
 *
 *      provider set (all CMBs)          staging (one per RNIC)
 *      0000:03:00.0  ----------.        ODP window  --- slot cache of CMB 0, of CMB 1, ...
 *      0000:05:00.0  -----------'--->   pinned window - slot cache of host memory
 *
 * Whoever has payload asks staging_route() once for the way it shall go (a slot cache and the
 * reason if that is not the CMB), and then takes slots from that cache. A CMB is on the way only if
 * the RNIC proved the path at this path MTU, and the drive proved that it reaches the pages. The
 * reason is part of the answer always, because the user asks "why is my I/O not P2P?".
 *
 * One staging belongs to one reactor; created and destroyed by the control thread.
 */
#ifndef P2P_STAGING_H
#define P2P_STAGING_H

#include "p2p/proof.h"
#include "p2p/slot.h"

/* Where payload was staged, and if in host memory, why. Indexes counters: keep dense. */
enum stage_reason {
	STAGE_CMB,
	STAGE_HOST_OFF,         /* cmb = off */
	STAGE_HOST_NO_CMB,      /* no provider at all */
	STAGE_HOST_NO_P2PDMA,   /* the kernel publishes none */
	STAGE_HOST_NO_ODP,      /* the RNIC cannot map on demand */
	STAGE_HOST_RNIC,        /* the RNIC's proof failed at this path MTU */
	STAGE_HOST_UNREACHABLE, /* the drive's proof failed */
	STAGE_HOST_EXHAUSTED,   /* all pages of the CMB in use */
	STAGE_HOST_IN_CAPSULE,  /* the host sent the data in the capsule */
	STAGE_NREASONS,
};

/** stage_reason_name() - "cmb", "host: no ODP", ... for tables and logs. */
const char *stage_reason_name(enum stage_reason reason);

/* What a drive can be staged in: the outcome of its proofs. Filled by stage_target_init(). */
struct stage_target {
	struct provider *provider; /* the best that was proved, or NULL */
	enum stage_reason reason;  /* why none: OFF, NO_CMB, NO_P2PDMA or UNREACHABLE */
	bool require;              /* never host memory */
	char why[256];             /* the reason in words */
};

struct staging {
	struct provider_set *set; /* not owned */
	struct window *odp;       /* NULL: see why_no_odp */
	struct window *pinned;
	struct slot_cache *cmb[PROVIDER_MAX]; /* by provider index; NULL without odp */
	struct slot_cache *host;
	char why_no_odp[192];
	/* private: */
	uint8_t port_num;
	struct proof proof[PROVIDER_MAX][IBV_MTU_4096 + 1];
};

struct stage_route {
	struct slot_cache *cache;
	enum stage_reason reason;
};

/**
 * staging_create() - windows and caches on @pd, proofs through its port @port_num.
 * @odp_size, @host_size: bytes of the two windows. An RNIC without ODP, or no CMB, is no error: the
 * ODP window is left out. The size of the ODP window is halved until the RNIC takes it.
 * Return: 0, -ENOMEM or the error of registering host memory.
 */
__attribute__((warn_unused_result)) int staging_create(struct ibv_pd *pd, uint8_t port_num,
						       struct provider_set *set, size_t odp_size,
						       size_t host_size,
						       struct staging **ret_staging);

/** staging_destroy() - no slot may be out. NULL is fine. */
void staging_destroy(struct staging *st);

/** staging_proof() - the verdict on (this RNIC, provider, path MTU); proves on first demand, which
 * blocks for milliseconds. Control thread, before the connection carries commands. */
const struct proof *staging_proof(struct staging *st, struct provider *p, enum ibv_mtu mtu);

/**
 * staging_route() - the way for one namespace's payload on one connection.
 * @t: NULL for payload that the CPU makes or reads (admin commands): host memory.
 * O(1), no system call once proved. Any thread that owns @st.
 */
struct stage_route staging_route(struct staging *st, const struct stage_target *t,
				 enum ibv_mtu mtu);

/**
 * stage_target_init() - find the best provider for a drive by proof.
 * @fd:      the open device. @proof_len: bytes to read, see proof_backend().
 * @own_bdf: PCI address of the drive itself, or "": its own CMB comes first.
 * @off, @require: the namespace's policy.
 */
void stage_target_init(struct stage_target *t, struct provider_set *set, int fd, size_t proof_len,
		       const char *own_bdf, bool off, bool require);

#endif
