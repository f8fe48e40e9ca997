/*
 * provider: a pool of pages that payload may be staged in.
 *
 * A CMB provider is a PCI function whose Controller Memory Buffer the kernel publishes as
 * peer-to-peer memory (Documentation/driver-api/pci/p2pdma.rst); its pages are mapped once,
 * eagerly, from p2pmem/allocate. A host provider is a memfd. Both look the same from here on: a
 * pool mapping whose pages window.c moves into a window and back.
 *
 * P2P pages are never touched by a CPU load or store: they may vanish under us (SIGBUS) and every
 * access is slow. provider_peek() and provider_poke() go through a system call, which answers
 * EFAULT.
 *
 * Owned by the control thread; the free pages are taken and given by the one reactor there is.
 */
#ifndef P2P_PROVIDER_H
#define P2P_PROVIDER_H

#include "p2p/buddy.h"

#include <sys/queue.h>

#define P2P_PAGE_SIZE  4096u
#define P2P_PAGE_SHIFT 12
#define PROVIDER_MAX   16 /* CMBs used at once */

enum provider_kind {
	PROVIDER_HOST, /* memfd */
	PROVIDER_CMB,  /* p2pmem of a PCI function */
};

struct provider {
	enum provider_kind kind;
	unsigned int index;    /* place in its set; PROVIDER_HOST has none (UINT_MAX) */
	char name[32];         /* BDF "0000:03:00.0", or "host" */
	int numa_node;         /* -1: unknown */
	size_t published_size; /* bytes of p2pmem the function has in all */
	uint8_t *pool; /* the mapping, npages pages; holes where pages are linked elsewhere */
	uint32_t npages;
	/* private: */
	struct buddy free;
	int scratch_fd; /* memfd that peek and poke copy through */
};

struct provider_set {
	struct provider *provider[PROVIDER_MAX];
	unsigned int n;
	bool no_p2pdma;     /* where n == 0: the kernel was built without CONFIG_PCI_P2PDMA */
	char why_none[256]; /* where n == 0: the reason, for the log */
};

/**
 * provider_set_discover() - find every CMB under @sysfs and map what we may have of it.
 * @sysfs:   "/sys", or a recorded tree.
 * @kallsyms: "/proc/kallsyms": read only if there is no CMB, to tell why.
 * @reserve: bytes of each CMB left to other users.
 *
 * A function is taken only if it is published (which the kernel does iff the drive states both WDS
 * and RDS: drivers/nvme/host/pci.c, nvme_map_cmb). Of a CMB that others use we take what is free,
 * in one piece as large as can be had. Blocks (sysfs, mmap). Finding nothing is no error.
 *
 * Return: 0 or -ENOMEM.
 */
__attribute__((warn_unused_result)) int provider_set_discover(const char *sysfs,
							      const char *kallsyms, size_t reserve,
							      struct provider_set **ret_set);

/** provider_set_destroy() - unmap the pools; no page may be linked any more. NULL is fine. */
void provider_set_destroy(struct provider_set *set);

/** provider_create_host() - @npages pages of a memfd. Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int provider_create_host(uint32_t npages,
							     struct provider **ret_provider);

/** provider_destroy() - unmap the pool. NULL and a half-built provider are fine. */
void provider_destroy(struct provider *p);

/**
 * provider_peek(), provider_poke() - copy between staged memory at @va (in a pool or a window) and
 * ordinary memory, by system call. For proofs only: this is the slow way.
 * Return: 0, or -EFAULT if the pages are gone.
 */
__attribute__((warn_unused_result)) int provider_peek(struct provider *p, const void *va, void *buf,
						      size_t len);
__attribute__((warn_unused_result)) int provider_poke(struct provider *p, void *va, const void *buf,
						      size_t len);

#endif
