/*
 * account: what was done, counted on the I/O path. Each reactor has counters of its own and writes
 * them without a lock; readers add them up (p2p/counter.h).
 *
 *      of a namespace, in ns_shard    bytes by place, commands, errors and latencies by direction
 *      of the target, reactor_account commands by opcode, failures by status
 */
#ifndef TARGET_ACCOUNT_H
#define TARGET_ACCOUNT_H

#include "p2p/counter.h"
#include "p2p/staging.h"

/*
 * Latencies are counted in classes: up to 8 us, 16 us, ... 8.4 s (2^23 us), and longer. A class has
 * its upper bound in it, as Prometheus' `le` does.
 */
#define LATENCY_FIRST_LOG2_US 3
#define LATENCY_LAST_LOG2_US  23
#define LATENCY_CLASSES       (LATENCY_LAST_LOG2_US - LATENCY_FIRST_LOG2_US + 2)

/** latency_class() - of a time in ns. */
static inline unsigned int latency_class(uint64_t ns)
{
	uint64_t us = (ns + 999) / 1000;
	unsigned int log2_up = us > 1 ? 64u - (unsigned int)__builtin_clzll(us - 1) : 0;

	if (log2_up <= LATENCY_FIRST_LOG2_US)
		return 0;
	return log2_up <= LATENCY_LAST_LOG2_US ? log2_up - LATENCY_FIRST_LOG2_US
					       : LATENCY_CLASSES - 1;
}

/** latency_class_us() - its upper bound; 0: the last has none. */
static inline uint64_t latency_class_us(unsigned int class)
{
	return class + 1 < LATENCY_CLASSES ? UINT64_C(1) << (class + LATENCY_FIRST_LOG2_US) : 0;
}

/* Of one namespace and direction: commands with payload. */
struct stage_account {
	uint64_t bytes[STAGE_NPLACES]; /* by where they were staged (enum stage_place) */
	uint64_t commands;             /* that ended well; the latencies are theirs */
	uint64_t errors;               /* that did not, on a connection that lives */
	uint64_t latency_ns;           /* sum; from the capsule's arrival to the response */
	uint64_t latency[LATENCY_CLASSES];
};

enum queue_kind {
	QUEUE_KIND_IO,
	QUEUE_KIND_ADMIN,
	QUEUE_KIND_FABRICS, /* commands of fabrics, on any queue; their FCTYPE is the opcode */
	QUEUE_NKINDS,
};

/* Of everything one reactor serves. */
struct reactor_account {
	uint64_t commands[QUEUE_NKINDS][256]; /* completed, by opcode */
	uint64_t failures[0x800];             /* by status: type (SCT) and code (SC) */
} __attribute__((aligned(64)));

/* Why a Connect command was refused; those worth telling apart. */
enum connect_refusal {
	REFUSED_HOST,      /* not among the allowed_hosts */
	REFUSED_SUBSYSTEM, /* none of that name on that port */
	REFUSED_LIMIT,     /* the host has as much as it may */
	REFUSED_NREASONS,
};

/* What happened, counted in the control thread. */
struct target_events {
	uint64_t keep_alive_expirations;  /* hosts that fell silent */
	uint64_t connect_timeouts;        /* connections without a Connect command; any thread */
	uint64_t authentication_failures; /* transactions */
	uint64_t connects_refused[REFUSED_NREASONS];
	uint64_t devices_lost;
};

#endif
