/*
 * counter: a number that one thread writes and any thread reads, without a lock. A reader sees some
 * value of a moment ago; several counters need not be of the same moment.
 */
#ifndef P2P_COUNTER_H
#define P2P_COUNTER_H

#include <stdint.h>

/** counter_add() - only its own thread may. A gauge goes down by adding -n. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline void counter_add32(uint32_t *counter, uint32_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/** counter_read() - any thread. */
static inline uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline uint32_t counter_read32(const uint32_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
