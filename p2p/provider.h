/*
 * provider: a pool of pages that payload may be staged in.
 *
 * A CMB provider is a PCI function whose Controller Memory Buffer the kernel publishes as
 * peer-to-peer memory (Documentation/driver-api/pci/p2pdma.rst). Its pages are mapped eagerly from
 * p2pmem/allocate, chunk by chunk as they are needed, up to a cap, into one reservation that never
 * moves:
 *
 *      pool   |chunk 0|chunk 1| ...reserved, nothing there yet... |
 *             0               npages                         max_pages
 *
 * A host provider is anonymous memory. Both look the same from here on: a pool whose pages window.c
 * moves into a window and back.
 *
 *      ACTIVE --(function gone: provider_lose)--> LOST --(last page given back)--> GONE
 *         ^_________________________(provider_reopen)_______________________________|
 *
 * P2P pages are never touched by a CPU load or store: they may vanish under us (SIGBUS) and every
 * access is slow. provider_peek() and provider_poke() go through a system call, which answers
 * EFAULT.
 *
 * Reactor-local: each reactor has its own set with its own chunks, so that nothing is shared when a
 * slot is linked; the kernel's allocator behind p2pmem/allocate is where they meet. The control
 * thread's set leads: it looks for functions, the others follow it.
 */
#ifndef P2P_PROVIDER_H
#define P2P_PROVIDER_H

#include "p2p/buddy.h"
#include "p2p/counter.h"

#define P2P_PAGE_SIZE       4096u
#define P2P_PAGE_SHIFT      12
#define PROVIDER_MAX        16 /* CMBs used at once */
#define PROVIDER_CHUNKS_MAX 256

enum provider_kind {
	PROVIDER_HOST, /* anonymous memory */
	PROVIDER_CMB,  /* p2pmem of a PCI function */
};

enum provider_state {
	PROVIDER_ACTIVE,
	PROVIDER_LOST, /* its pages are gone, some are still linked somewhere */
	PROVIDER_GONE, /* nothing is mapped */
};

/* How much of each CMB is taken, and where it is looked for. */
struct provider_opts {
	const char *sysfs;    /* "/sys", or a recorded tree */
	const char *kallsyms; /* "/proc/kallsyms": read only if there is no CMB, to tell why */
	size_t cap;           /* most bytes of one CMB... */
	unsigned int parts;   /* ...and the set may have one of so many parts of that; 0: as 1 */
	size_t floor;         /* bytes taken at once and kept */
	size_t chunk;         /* bytes by which it grows */
	size_t reserve;       /* bytes that must stay free for others */
};

struct provider {
	enum provider_kind kind;
	enum provider_state state;
	unsigned int index;    /* place in its set; PROVIDER_HOST has none (UINT_MAX) */
	char name[32];         /* BDF "0000:03:00.0", or "host" */
	int numa_node;         /* -1: unknown */
	size_t published_size; /* bytes of p2pmem the function has in all */
	uint8_t *pool;   /* the mapping; holes (without pages) where pages are linked elsewhere */
	uint32_t npages; /* held now */
	uint32_t max_pages; /* may be held */
	/* counters */
	uint64_t grown, shrunk; /* chunks */
	uint64_t refused;       /* growths the kernel or the reserve refused: normal */
	uint64_t losses;
	uint32_t slot_pages; /* in slots that are out, kept by slot.c */
	bool denied;         /* asking again before the next provider_shrink() is of no use */
	/* private: */
	const struct provider_opts *opts;
	struct buddy free;
	uint32_t chunk[PROVIDER_CHUNKS_MAX]; /* pages of each */
	unsigned int nchunks;
	int alloc_fd;   /* p2pmem/allocate */
	int scratch_fd; /* memfd that peek and poke copy through */
};

struct provider_set {
	struct provider *provider[PROVIDER_MAX];
	unsigned int n;
	struct provider_opts opts;
	bool no_p2pdma;     /* where n == 0: the kernel was built without CONFIG_PCI_P2PDMA */
	char why_none[256]; /* where n == 0: the reason, for the log */
};

/**
 * provider_set_discover() - find every CMB and take the floor of each.
 *
 * A function is taken only if it is published (which the kernel does iff the drive states both WDS
 * and RDS: drivers/nvme/host/pci.c, nvme_map_cmb). Blocks (sysfs, mmap). Finding nothing is no
 * error.
 *
 * Return: 0 or -ENOMEM.
 */
__attribute__((warn_unused_result)) int provider_set_discover(const struct provider_opts *opts,
							      struct provider_set **ret_set);

/** provider_set_scan() - look again: functions that are new, or GONE and back, become ACTIVE.
 * Return: a bit (1 << index) for each of those. Blocks. */
uint32_t provider_set_scan(struct provider_set *set);

/** provider_set_create_follower() - no provider yet. Return: 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int provider_set_create_follower(
	const struct provider_opts *opts, struct provider_set **ret_set);

/** provider_set_follow() - have what @leader has, at the same indexes: functions that are ACTIVE
 * there and not known or GONE here become ACTIVE, if there are pages to be had. (Loss is told by
 * provider_lose().) Return: a bit (1 << index) for each that became so. Blocks. */
uint32_t provider_set_follow(struct provider_set *set, const struct provider_set *leader);

/** provider_set_find() - the provider of the function at @bdf, whatever its state, or NULL. */
struct provider *provider_set_find(const struct provider_set *set, const char *bdf);

/** provider_set_destroy() - unmap the pools; no page may be linked any more. NULL is fine. */
void provider_set_destroy(struct provider_set *set);

/** provider_create_host() - @npages of ordinary memory, of huge pages if the machine has any.
 * Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int provider_create_host(uint32_t npages,
							     struct provider **ret_provider);

/** provider_destroy() - unmap the pool. NULL and a half-built provider are fine. */
void provider_destroy(struct provider *p);

/** provider_floor() - bytes that it keeps even if nobody uses them. */
size_t provider_floor(const struct provider *p);

/** provider_grow() - one chunk more. Return: 0, or -ENOMEM: at the cap, or nothing to be had, which
 * is normal. */
__attribute__((warn_unused_result)) int provider_grow(struct provider *p);

/** provider_shrink() - give chunks back from the end, as far as they are free, down to the floor.
 * To be called now and then: a provider that was refused memory asks again only after it. */
void provider_shrink(struct provider *p);

/** provider_alive() - is the function still there that the pages were mapped from? (Not merely one
 * at the same address.) Asks sysfs. */
bool provider_alive(const struct provider *p);

/** provider_lose() - ACTIVE becomes LOST: no new page is taken. */
void provider_lose(struct provider *p);

/** provider_release() - LOST becomes GONE if all pages are back. Return: true if it did. */
bool provider_release(struct provider *p);

/**
 * provider_peek(), provider_poke() - copy between staged memory at @va (in a pool or a window) and
 * ordinary memory, by system call. For proofs and flushes only: this is the slow way.
 * Return: 0, or -EFAULT if the pages are gone.
 */
__attribute__((warn_unused_result)) int provider_peek(struct provider *p, const void *va, void *buf,
						      size_t len);
__attribute__((warn_unused_result)) int provider_poke(struct provider *p, void *va, const void *buf,
						      size_t len);

/** p2p_reserve() - @len bytes of addresses with nothing behind them, for pools and windows. Return:
 * MAP_FAILED and errno if there are none. */
uint8_t *p2p_reserve(size_t len);

/**
 * p2p_move_pages() - move @len bytes of pages from one place to another that is mapped already.
 * @keep: leave the source mapped, without pages. Neither side ever has a hole.
 * Return: 0 or the negative errno of mremap; then nothing moved. Ends the process if a hole was
 * torn that cannot be closed: a stranger's mapping could land there and be reachable by the RNIC.
 */
__attribute__((warn_unused_result)) int p2p_move_pages(uint8_t *from, uint8_t *to, size_t len,
						       bool keep);

#endif
