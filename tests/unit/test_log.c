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

/* ---- events -----------------------------------------------------------------------------------
 */

START_TEST(an_event_has_its_level_and_its_peer_is_limited)
{
	const struct log_fields *f = LOG_FIELDS(.peer = "10.0.0.9", .nqn = "nqn.a", .nsid = 1);

	log_event(JOURNAL_NS_LOST, NULL, "gone");
	ck_assert_uint_eq(said("nvmf-p2pd: warning: gone\n"), 1);
	for (int i = 0; i < 3 * LOG_PEER_LINES; i++)
		log_event(JOURNAL_HOST_REFUSED, f, "no");
	ck_assert_uint_eq(said("warning: no\n"), LOG_PEER_LINES);
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(log_get_level(), LOG_LEVEL_ERROR);
	log_event(JOURNAL_NS_LOST, NULL, "gone");
	ck_assert_uint_eq(said("warning: gone\n"), 1);
	log_event(JOURNAL_STUCK, NULL, "stuck");
	ck_assert_uint_eq(said("error: stuck\n"), 1);
}
END_TEST

/* It is inherited by whatever the service starts; what was redirected since is not the journal. */
START_TEST(only_the_stream_that_is_named_is_the_journal)
{
	struct stat st;
	char stream[64];

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	ck_assert(stderr_is_journal());
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1);
	ck_assert(!stderr_is_journal());
	setenv("JOURNAL_STREAM", "nonsense", 1);
	ck_assert(!stderr_is_journal());
	unsetenv("JOURNAL_STREAM");
	ck_assert(!stderr_is_journal());
}
END_TEST

START_TEST(fields_are_named_and_what_does_not_fit_is_left_out)
{
	static char longer[5000];
	static const char *const expect[] = { "NVMF_HOST_ADDRESS=10.0.0.9", "NVMF_NQN=nqn.a",
					      "NVMF_NSID=7", "NVMF_PORT=2" };
	struct entry e = { 0 };

	memset(longer, 'x', sizeof(longer) - 1);
	put_fields(&e, LOG_FIELDS(.peer = "10.0.0.9", .nqn = "nqn.a", .device = longer, .nsid = 7,
				  .port = 2));
	ck_assert_int_eq(e.n, 4);
	for (int i = 0; i < e.n; i++) {
		ck_assert_uint_eq(e.field[i].iov_len, strlen(expect[i]));
		ck_assert_mem_eq(e.field[i].iov_base, expect[i], e.field[i].iov_len);
	}
}
END_TEST

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t len = 0;

	ck_assert_msg(f != NULL, "%s: the tests run in the repository's root", path);
	ck_assert_int_gt(getdelim(&text, &len, '\0', f), 0);
	fclose(f);
	return text;
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* Every event has its own ID, an entry in the catalog under the same subject, and its line in the
 * man page; and the catalog has no other. */
START_TEST(catalog_and_man_page_have_every_event)
{
	char *catalog = read_file("systemd/nvmf-p2pd.catalog");
	char *man = read_file("systemd/nvmf-p2pd.8");

	for (int i = 0; i < JOURNAL_NEVENTS; i++) {
		const struct journal_row *row = &journal_events[i];
		char entry[256];

		ck_assert_msg(row->name && row->subject, "event %d", i);
		ck_assert_uint_eq(strlen(row->id), 32);
		ck_assert_uint_eq(strspn(row->id, "0123456789abcdef"), 32);
		for (int k = 0; k < i; k++)
			ck_assert_str_ne(row->id, journal_events[k].id);
		snprintf(entry, sizeof(entry), "\n-- %s\nSubject: %s\nDefined-By: nvmf-p2pd\n",
			 row->id, row->subject);
		ck_assert_msg(count(catalog, entry) == 1, "catalog: %s", row->name);
		snprintf(entry, sizeof(entry), "\n.It Li %s\n%s (%s)\n", row->id, row->subject,
			 row->name);
		ck_assert_msg(count(man, entry) == 1, "man page:%s", entry);
	}
	ck_assert_uint_eq(count(catalog, "\n-- "), JOURNAL_NEVENTS);
	free(catalog);
	free(man);
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
	tcase_add_test(t, an_event_has_its_level_and_its_peer_is_limited);
	tcase_add_test(t, only_the_stream_that_is_named_is_the_journal);
	tcase_add_test(t, fields_are_named_and_what_does_not_fit_is_left_out);
	tcase_add_test(t, catalog_and_man_page_have_every_event);
	suite_add_tcase(s, t);
	return run_suite(s);
}
