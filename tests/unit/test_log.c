/* The journal voice: lines stay lines, and no peer fills it. */
#include <time.h>

static struct timespec test_time;
static int test_clock(struct timespec *t)
{
	*t = test_time;
	return 0;
}
#define clock_gettime(id, t) test_clock(t)
#include "target/log.c"
#undef clock_gettime

#include "tests/unit/suite.h"

#include <check.h>

static FILE *out;

static void setup(void)
{
	out = tmpfile();
	ck_assert_ptr_nonnull(out);
	ck_assert_int_ge(dup2(fileno(out), STDERR_FILENO), 0);
	unsetenv("JOURNAL_STREAM");
	log_init(LOG_LEVEL_INFO);
	test_time.tv_sec = 1000;
}

static void teardown(void)
{
	fclose(out);
}

/* Lines so far that have @text. */
static unsigned int said(const char *text)
{
	char line[2048];
	unsigned int n = 0;

	rewind(out);
	while (fgets(line, sizeof(line), out))
		n += strstr(line, text) != NULL;
	fseek(out, 0, SEEK_END);
	return n;
}

START_TEST(a_peer_is_heard_so_often_and_then_counted)
{
	for (int i = 0; i < 3 * LOG_PEER_LINES; i++)
		log_peer(LOG_LEVEL_WARNING, "10.0.0.2", "nonsense from %s", "10.0.0.2");
	log_peer(LOG_LEVEL_WARNING, "10.0.0.3", "sense from %s", "10.0.0.3");
	ck_assert_uint_eq(said("nonsense from 10.0.0.2"), LOG_PEER_LINES);
	ck_assert_uint_eq(said("sense from 10.0.0.3"), 1);
	ck_assert_uint_eq(said("left out"), 0);
	test_time.tv_sec += LOG_PEER_PERIOD_S - 1;
	log_peers_trim();
	ck_assert_uint_eq(said("left out"), 0);
	test_time.tv_sec++;
	log_peers_trim();
	ck_assert_uint_eq(said("10.0.0.2: 40 more lines in 60 s, left out"), 1);
	ck_assert_uint_eq(said("left out"), 1);
	log_peer(LOG_LEVEL_WARNING, "10.0.0.2", "nonsense from %s", "10.0.0.2");
	ck_assert_uint_eq(said("nonsense from 10.0.0.2"), LOG_PEER_LINES + 1);
}
END_TEST

START_TEST(many_peers_share_what_is_left)
{
	char name[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "10.1.%d.%d", i / 250, i % 250);
		log_peer(LOG_LEVEL_WARNING, name, "nonsense from one");
	}
	ck_assert_uint_eq(said("nonsense"), LOG_PEERS + LOG_PEER_LINES);
	test_time.tv_sec += LOG_PEER_PERIOD_S;
	log_peers_trim();
	ck_assert_uint_eq(said("other hosts: "), 1);
}
END_TEST

START_TEST(what_is_not_logged_is_not_counted)
{
	for (int i = 0; i < 100; i++)
		log_peer(LOG_LEVEL_DEBUG, "10.0.0.2", "detail");
	log_peer(LOG_LEVEL_WARNING, "10.0.0.2", "nonsense");
	ck_assert_uint_eq(said("nonsense"), 1);
	ck_assert_uint_eq(said("detail"), 0);
}
END_TEST

START_TEST(a_line_stays_a_line)
{
	char text[4096];

	log_warn("host %s", "a\nnvmf-p2pd: error: b\x1b[2J");
	ck_assert_uint_eq(said("host a?nvmf-p2pd: error: b?[2J"), 1);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_warn("%s", text);
	log_warn("next");
	ck_assert_uint_eq(said("warning: next\n"), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_peer_is_heard_so_often_and_then_counted);
	tcase_add_test(t, many_peers_share_what_is_left);
	tcase_add_test(t, what_is_not_logged_is_not_counted);
	tcase_add_test(t, a_line_stays_a_line);
	suite_add_tcase(s, t);
	return run_suite(s);
}
