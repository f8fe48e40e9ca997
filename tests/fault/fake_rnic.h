/*
 * An RNIC in memory, for scenarios: the verbs that p2p/ calls, as they are without libibverbs. RDMA
 * between the two ends of one machine is a copy. Takes memory on demand and prefetches.
 */
#ifndef TESTS_FAULT_FAKE_RNIC_H
#define TESTS_FAULT_FAKE_RNIC_H

#include <infiniband/verbs.h>

/** fake_rnic_open() - its context; there is one, and nothing to undo. */
struct ibv_context *fake_rnic_open(void);

/** fake_rnic_objects() - protection domains, queues and regions that are not destroyed. */
unsigned int fake_rnic_objects(void);

#endif
