/*
 * topology: how a CMB and those who read and write it lie to each other in the PCI tree, read from
 * sysfs alone, and what the kernel makes of that: a peer's bus address, a way through the host
 * bridge, or nothing.
 *
 * A second opinion on the kernel's rules (drivers/pci/p2pdma.c of Linux 7.2,
 * calc_map_type_and_dist(); p2p.md 2.2), for choosing the nearest provider and for saying why a
 * path is refused, which the kernel tells only its log. It moves no byte and proves nothing:
 * proof.h does.
 *
 * The kernel keeps its verdict on a pair until the provider's driver is unbound. An answer given
 * here is good as long; a later change (of ACS, say) is seen here at once and there not.
 *
 * Works on a recorded tree under any root. Everything in it is hostile. Control thread: it reads
 * files. Nothing is allocated.
 */
#ifndef P2P_TOPOLOGY_H
#define P2P_TOPOLOGY_H

#include <limits.h>
#include <stdbool.h>

#define TOPOLOGY_BDF_LEN       32 /* "0000:03:00.0", a longer domain below a VMD, and the zero */
#define TOPOLOGY_FUNCTIONS_MAX 16 /* PCI functions of one client */

enum p2p_map {
	P2P_MAP_UNKNOWN,       /* a function is gone, or its place in the tree makes no sense */
	P2P_MAP_SOFTWARE,      /* a client without PCI function, e.g. a soft RNIC: the CPU copies */
	P2P_MAP_BUS_ADDRESS,   /* below a common bridge that does not redirect */
	P2P_MAP_HOST_BRIDGE,   /* up to the host bridge, at an IOVA if there is an IOMMU */
	P2P_MAP_NOT_SUPPORTED, /* the kernel refuses: EINVAL, EREMOTEIO */
};

/** p2p_map_name() - "bus-address", "through-host-bridge", "not-supported", "software", "unknown".
 */
const char *p2p_map_name(enum p2p_map map);

/* Who would read or write the provider's pages: a drive, an array of drives, an RNIC. */
struct p2p_client {
	char bdf[TOPOLOGY_FUNCTIONS_MAX][TOPOLOGY_BDF_LEN];
	unsigned int n;
	bool software; /* has no PCI function and needs none */
	bool capable;  /* its driver takes peer-to-peer pages */
	char why[128]; /* when not capable; "" otherwise */
};

struct p2p_path {
	enum p2p_map map;
	unsigned int distance; /* hops, as the kernel counts: 0 same function, 4 same switch */
	char why[160];         /* one phrase for every verdict; names what the user can change */
};

/* immutable after topology_init() */
struct topology {
	char sysfs[PATH_MAX];
	bool cpu_allows; /* every host bridge of this processor passes P2P on */
	char cpu[64];    /* "AuthenticAMD family 23", for why; "" unknown */
};

/**
 * topology_init() - remember where the tree is and look at the processor.
 * @sysfs: "/sys", or the root of a recorded tree; need not exist (then everything is gone).
 * @cpuinfo: "/proc/cpuinfo"; only the first processor counts, as in the kernel.
 */
void topology_init(struct topology *t, const char *sysfs, const char *cpuinfo);

/**
 * topology_block_client() - the PCI functions that do the DMA of a block device.
 * @major, @minor: of the device or a partition of it (st_rdev).
 *
 * A namespace of NVMe multipath has the functions of all controllers of its subsystem. An md array
 * has those of all members, and is capable if its level is raid0, raid1 or raid10 and all members
 * are; dm, loop, virtio, SCSI and NVMe over Fabrics are not (p2p.md 3; each seen in a guest with
 * Linux 7.2: EREMOTEIO). There is no file in sysfs that says it: this is the list of drivers that
 * set BLK_FEAT_PCI_P2PDMA.
 */
void topology_block_client(const struct topology *t, unsigned int major, unsigned int minor,
			   struct p2p_client *ret);

/**
 * topology_rnic_client() - the PCI function of an RDMA device.
 * @ibdev: its name, e.g. "mlx5_0". Without a parent device it is software (rxe, siw) and takes any
 * memory; with one that is no PCI device it is not capable.
 */
void topology_rnic_client(const struct topology *t, const char *ibdev, struct p2p_client *ret);

/**
 * topology_path() - the way between a provider and a client.
 * @provider_bdf: PCI address of the CMB, e.g. "0000:03:00.0".
 *
 * Of a client with several functions: the worst mapping, with its reason, and the largest distance.
 * Where the configuration space of a bridge cannot be read in full (only root can), it is taken not
 * to redirect, and why says so.
 */
void topology_path(const struct topology *t, const char *provider_bdf,
		   const struct p2p_client *client, struct p2p_path *ret);

#endif
