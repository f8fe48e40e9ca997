/* The memory transport for scenarios: what the test itself allocates is no call of the program.
 * Included once, by a scenario's only source. */
#ifndef TESTS_FAULT_FIXTURE_H
#define TESTS_FAULT_FIXTURE_H

#include "tests/fault/own_calloc.h"

#define calloc(n, size) own_calloc(n, size)
#include "tests/unit/memory_transport.h"
#undef calloc

#endif
