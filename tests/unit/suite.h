/* How every unit test binary ends: run the suite, say how it went. */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Each assertion that holds has check write down where it was, for a test that crashes later, and
 * read that back. In loops of a million that is most of the time: after MARKS of them a test is no
 * longer followed. */
#define MARKS 2000

static inline void mark_at_first(const char *file, int line)
{
	static unsigned int marks;

	if (marks++ < MARKS)
		_mark_point(file, line);
}

#define _mark_point(file, line) mark_at_first(file, line)

/** run_suite() - run @s, which is freed. Return: what main() returns. */
static inline int run_suite(Suite *s)
{
	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
