/* What the test itself allocates is no call of the program: before a fixture is included, calloc is
 * defined to be this. */
#ifndef TESTS_FAULT_OWN_CALLOC_H
#define TESTS_FAULT_OWN_CALLOC_H

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

#endif
