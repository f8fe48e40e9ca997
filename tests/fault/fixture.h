/* The memory transport for scenarios: what the test itself allocates is no call of the program.
 * Included once, by a scenario's only source. */
#ifndef TESTS_FAULT_FIXTURE_H
#define TESTS_FAULT_FIXTURE_H

#include "tests/fault/inject.h"

#include <stdlib.h>

static inline void *own_calloc(size_t n, size_t size)
{
	void *p;

	fault_pause(true);
	p = calloc(n, size);
	fault_pause(false);
	return p;
}

#define calloc(n, size) own_calloc(n, size)
#include "tests/unit/memory_transport.h"
#undef calloc

#endif
