/*
 * staging: everything one RNIC stages payload in, and the choice between it. The first header to
 * read.
 *
 *      provider set (all CMBs)          staging (one per RNIC)
 *      0000:03:00.0  ----------.        ODP window  --- slot cache of CMB 0, of CMB 1, ...
 *      0000:05:00.0  -----------'--->   pinned window - slot cache of host memory
 *
 * Whoever has payload calls staging_take() with the drive it is for. A CMB is used only if the RNIC
 * proved the path at this path MTU and the drive proved that it reaches the pages; among those, the
 * nearest to both, then the one with more room. The place, which is a CMB or the reason why it is
 * host memory, is part of the answer always, because the user asks "why is my I/O not P2P?".
 *
 * One staging belongs to one reactor; created and destroyed by the control thread. That of the
 * control thread proves (stage_target, staging_prove()); the others are told the outcome
 * (stage_view, staging_copy_proofs()).
 */
#ifndef P2P_STAGING_H
#define P2P_STAGING_H

#include "p2p/proof.h"
#include "p2p/slot.h"
#include "p2p/topology.h"

/*
 * Where payload was staged, and if in host memory, why: one small number, dense, because it indexes
 * counters. 0 .. PROVIDER_MAX - 1 is the CMB of that index.
 */
enum stage_place {
	STAGE_HOST_OFF = PROVIDER_MAX, /* cmb = off */
	STAGE_HOST_NO_CMB,             /* no provider at all */
	STAGE_HOST_NO_P2PDMA,          /* the kernel publishes none */
	STAGE_HOST_NO_ODP,             /* the RNIC cannot map on demand */
	STAGE_HOST_UNREACHABLE,        /* the drive's proof failed */
	STAGE_HOST_LOST,               /* the CMB's drive is away */
	STAGE_HOST_EXHAUSTED,          /* all pages of the CMB in use */
	STAGE_HOST_RETRIED,            /* an I/O in CMB failed and was done again */
	STAGE_HOST_IN_CAPSULE,         /* the host sent the data in the capsule */
	STAGE_HOST_UNALIGNED,          /* in pieces; the RNIC's proof is for whole pages only */
	STAGE_HOST_CPU,                /* the CPU reads or makes it, no drive */
	STAGE_HOST_MTU, /* + enum ibv_mtu: the RNIC's proof failed at this path MTU; + 0: unknown */
	STAGE_NPLACES = STAGE_HOST_MTU + IBV_MTU_4096 + 1,
};

static inline bool stage_is_cmb(unsigned int place)
{
	return place < PROVIDER_MAX;
}

/** stage_place_name() - "cmb 0000:03:00.0", "host: no ODP", "host: mtu 1024", ... into @buf. */
const char *stage_place_name(const struct provider_set *set, unsigned int place, char *buf,
			     size_t len);

/* One provider as one drive sees it. */
struct stage_candidate {
	struct provider *provider;
	struct p2p_path path;
	struct proof read;  /* the drive writes into the pages */
	struct proof write; /* the drive reads them; UNKNOWN: cannot be tried without harm */
	bool failed;        /* an I/O failed in use: not taken until proved again */
};

enum stage_policy { STAGE_PREFER, STAGE_REQUIRE, STAGE_OFF };

/* What a drive can be staged in: the outcome of its proofs. Filled by stage_target_prove(). */
struct stage_target {
	enum stage_policy policy;
	struct p2p_client client;
	struct stage_candidate candidate[PROVIDER_MAX]; /* usable ones first, nearest first */
	unsigned int ncandidates, nusable;
	enum stage_place reason; /* where nusable == 0: why */
	char why[256];           /* in words, for the log */
};

/* What the I/O path needs to know of it, without a pointer: each reactor has a copy, and providers
 * of its own behind the indexes. */
struct stage_view {
	uint8_t policy, reason;
	uint8_t n;
	struct {
		uint8_t index;
		uint16_t distance;
	} usable[PROVIDER_MAX]; /* nearest first */
};

#define STAGE_PARTS 16 /* of a drive's share */

/* What a drive holds of one provider, and of that those who use it. */
struct stage_holding {
	struct slot_share share;
	struct slot_share part[STAGE_PARTS];
};

/* One drive in one reactor: what it may be staged in, and what it holds. Where host memory or a CMB
 * is all it may have, it gets a share of that, so that a drive that is slow leaves some to others.
 */
struct stage_client {
	struct stage_view view; /* replaced by message */
	/* private: */
	struct stage_holding holding[PROVIDER_MAX + 1]; /* of each CMB, of host memory */
};

struct staging {
	struct provider_set *set;   /* not owned */
	struct slot_domain *domain; /* not owned */
	struct window *odp;         /* NULL: see why_no_odp */
	struct window *pinned;
	struct slot_cache *cmb[PROVIDER_MAX]; /* by provider index; NULL without odp */
	struct slot_cache *host;
	struct stage_holding admin; /* of host memory, for payload of no drive */
	struct p2p_client client;   /* the RNIC */
	char why_no_odp[192];
	bool trust; /* tests only: use what was not proved */
	/* private: */
	uint8_t port_num;
	struct p2p_path path[PROVIDER_MAX];
	struct proof proof[PROVIDER_MAX][IBV_MTU_4096 + 1];
};

/* What staging_take() found. */
struct stage_result {
	struct slot *slot;       /* NULL: wait, or fail */
	struct slot_cache *wait; /* where slot is NULL: whom to wait for; NULL: fail the command */
	struct slot_owner owner; /* to wait with */
	uint8_t place;           /* of the slot, or the one waited for */
};

/**
 * staging_create() - windows and caches on @pd, proofs through its port @port_num.
 * @odp_size, @host_size: bytes of the two windows. An RNIC without ODP, or no CMB, is no error: the
 * ODP window is left out. The size of the ODP window is halved until the RNIC takes it.
 * @no_odp: tests only: as if the RNIC had no ODP.
 * Return: 0, -ENOMEM or the error of registering host memory.
 */
__attribute__((warn_unused_result)) int staging_create(struct ibv_pd *pd, uint8_t port_num,
						       struct provider_set *set,
						       const struct topology *topo,
						       struct slot_domain *domain, size_t odp_size,
						       size_t host_size, bool no_odp,
						       struct staging **ret_staging);

/** staging_destroy() - no slot may be out. NULL is fine. */
void staging_destroy(struct staging *st);

/** staging_provider_added() - provider @index is new or back: make its cache if there is none yet.
 * @topo: find its path too; NULL: that will be copied. */
void staging_provider_added(struct staging *st, const struct topology *topo, unsigned int index);

/** staging_provider_lost() - forget what was proved of provider @index. */
void staging_provider_lost(struct staging *st, unsigned int index);

/**
 * staging_prove() - prove (this RNIC, provider, path MTU), anew if it was proved before; a proof
 * that finds no memory to spare leaves the former verdict. Blocks for milliseconds. Control thread,
 * before the connection carries commands. Return: the verdict now.
 */
const struct proof *staging_prove(struct staging *st, struct provider *p, enum ibv_mtu mtu);

/**
 * staging_take() - a slot for one command's payload.
 * @c: the drive; NULL for payload that the CPU makes or reads (admin commands): host memory.
 * @part: on whose account it is, below STAGE_PARTS.
 * @mtu: the connection's path MTU, 0: unknown. @aligned: every RDMA operation on the slot starts on
 * a page.
 * No lock; no system call where a slot is warm. Reactor-local.
 */
struct stage_result staging_take(struct staging *st, struct stage_client *c, uint8_t part,
				 enum ibv_mtu mtu, bool aligned, size_t len);

/** staging_copy_proofs() - @st believes what @proved has proved. Reactor-local for @st, and @proved
 * does not change meanwhile. */
void staging_copy_proofs(struct staging *st, const struct staging *proved);

/** staging_take_host() - as staging_take(), but host memory whatever the drive may have:
 * @place is why. */
struct stage_result staging_take_host(struct staging *st, struct stage_client *c, uint8_t part,
				      uint8_t place, size_t len);

/**
 * stage_target_prove() - what the drive can be staged in, found by proof; anew each time.
 * @client: the drive's PCI functions. @fd: the open device. @len: bytes to read, see
 * proof_backend(). @scratch_fd: a device on the same drive that may be overwritten, or -1.
 * @copies: why the CPU would move the bytes instead of a drive, which is no use of a CMB; or NULL.
 * @t->policy is set by the caller; the rest is filled. Blocks for milliseconds.
 */
void stage_target_prove(struct stage_target *t, struct provider_set *set,
			const struct topology *topo, int fd, size_t len, int scratch_fd,
			const char *copies);

/** stage_client_init() - nothing is known and nothing held. There is nothing to undo. */
void stage_client_init(struct stage_client *c);

/** stage_target_failed() - an I/O on the drive failed in the CMB @place though it was proved: use
 * it no more until it is proved again. Control thread. Return: true the first time (worth a log
 * line). */
bool stage_target_failed(struct stage_target *t, unsigned int place);

/** stage_target_refresh() - a provider was lost: sort the usable ones again. */
void stage_target_refresh(struct stage_target *t);

/** stage_target_view() - the outcome, for a reactor. */
void stage_target_view(const struct stage_target *t, struct stage_view *ret);

/** stage_view_drop() - do without the CMB @place from now on. Reactor-local. Return: was it there?
 */
bool stage_view_drop(struct stage_view *v, unsigned int place);

#endif
