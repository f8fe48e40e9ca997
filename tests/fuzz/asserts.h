/* The asserts of <check.h> for where no test runs: what fails ends the process. Included in its
 * stead, before anything that includes it. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define ck_assert(x)                                                                               \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
#define ck_assert_msg(x, ...)    ck_assert(x)
#define ck_assert_int_eq(a, b)   ck_assert((a) == (b))
#define ck_assert_int_ge(a, b)   ck_assert((a) >= (b))
#define ck_assert_int_lt(a, b)   ck_assert((a) < (b))
#define ck_assert_uint_eq(a, b)  ck_assert((a) == (b))
#define ck_assert_uint_gt(a, b)  ck_assert((a) > (b))
#define ck_assert_uint_ne(a, b)  ck_assert((a) != (b))
#define ck_assert_ptr_nonnull(a) ck_assert(a)

#endif
