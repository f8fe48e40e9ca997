/* The daemon as a service: the watchdog, and that the man page has every option. */
#include "target/daemon/watchdog.c"
int daemon_main(int argc, char **argv);
#define main daemon_main
#include "target/daemon/main.c"
#undef main

#include "tests/unit/suite.h"

#include <check.h>
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>

/* ---- the watchdog -----------------------------------------------------------------------------
 */

#define LIMIT_US 400000

static struct reactors reactors;
static struct watchdog *dog;
static unsigned int nfed; /* atomic */
static FILE *out;

static void count(void)
{
	__atomic_add_fetch(&nfed, 1, __ATOMIC_RELAXED);
}

static void setup(void)
{
	const struct watchdog_opts opts = { .limit_us = LIMIT_US, .feed = count };

	out = tmpfile();
	ck_assert_ptr_nonnull(out);
	ck_assert_int_ge(dup2(fileno(out), STDERR_FILENO), 0);
	log_init(LOG_LEVEL_INFO);
	for (reactors.n = 0; reactors.n < 3; reactors.n++) {
		const struct reactor_opts ro = { .index = reactors.n, .entries = 8, .cpu = -1 };

		ck_assert_int_eq(reactor_create(&ro, &reactors.r[reactors.n]), 0);
	}
	nfed = 0;
	ck_assert_int_eq(watchdog_create(&reactors, &opts, &dog), 0);
}

static void teardown(void)
{
	watchdog_stop(dog);
	while (reactors.n)
		reactor_destroy(reactors.r[--reactors.n]);
	watchdog_destroy(dog);
	fclose(out);
}

static unsigned int said(const char *text)
{
	char line[1024];
	unsigned int n = 0;

	fflush(out);
	rewind(out);
	while (fgets(line, sizeof(line), out))
		n += strstr(line, text) != NULL;
	fseek(out, 0, SEEK_END);
	return n;
}

/* The control thread goes round for so long, or until it was fed @times more. Return: it was. */
static bool go_round(unsigned int us, unsigned int times)
{
	unsigned int before = __atomic_load_n(&nfed, __ATOMIC_RELAXED);
	uint64_t until = now_us() + us;

	while (now_us() < until && __atomic_load_n(&nfed, __ATOMIC_RELAXED) < before + times) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	return __atomic_load_n(&nfed, __ATOMIC_RELAXED) >= before + times;
}

static sem_t may_go_on, is_held;

static void hold(struct message *m)
{
	(void)m;
	sem_post(&is_held);
	sem_wait(&may_go_on);
}

START_TEST(a_thread_that_hangs_is_named_and_not_fed_for)
{
	struct message m = { .run = hold };

	sem_init(&may_go_on, 0, 0);
	sem_init(&is_held, 0, 0);
	ck_assert(go_round(20 * LIMIT_US, 3));
	reactor_post(reactors.r[1], &m);
	sem_wait(&is_held);
	ck_assert(!go_round(3 * LIMIT_US, 2)); /* once, for what was answered before */
	ck_assert_uint_eq(said("thread reactor-1 has not gone round"), 1);
	sem_post(&may_go_on);
	ck_assert(go_round(20 * LIMIT_US, 2));
	ck_assert_uint_eq(said("thread 1 goes round again"), 1);
}
END_TEST

START_TEST(the_control_thread_may_be_away_for_a_time_that_it_names)
{
	unsigned int before;

	ck_assert(go_round(20 * LIMIT_US, 1));
	watchdog_bear(dog, 2);
	before = __atomic_load_n(&nfed, __ATOMIC_RELAXED);
	usleep(3 * LIMIT_US);
	ck_assert_uint_ge(__atomic_load_n(&nfed, __ATOMIC_RELAXED), before + 1);
	ck_assert_uint_eq(said("thread control has not gone round"), 0);
	usleep(2000000); /* longer than it said */
	before = __atomic_load_n(&nfed, __ATOMIC_RELAXED);
	usleep(2 * LIMIT_US);
	ck_assert_uint_eq(__atomic_load_n(&nfed, __ATOMIC_RELAXED), before);
	ck_assert_uint_eq(said("thread control has not gone round"), 1);
}
END_TEST

/* ---- the man page -----------------------------------------------------------------------------
 */

static char man[65536];

static void read_man_page(void)
{
	FILE *f = fopen("systemd/nvmf-p2pd.8", "r");

	ck_assert_msg(f != NULL, "the tests run in the repository's root");
	man[fread(man, 1, sizeof(man) - 1, f)] = '\0';
	fclose(f);
}

START_TEST(man_page_has_every_option)
{
	const char *at, *end;
	unsigned int n = 0;
	char item[128];

	read_man_page();
	at = strstr(man, ".Sh OPTIONS");
	end = strstr(man, ".Sh SIGNALS");
	ck_assert(at && end);
	for (size_t i = 0; i < NOPTIONS; i++) {
		const struct option_help *o = &option_table[i];

		snprintf(item, sizeof(item), "\n.It Fl %c , Fl \\-%s%s%s\n", o->option.val,
			 o->option.name, o->arg ? " Ar " : "", o->arg ? o->arg : "");
		ck_assert_msg(strstr(at, item) && strstr(at, item) < end, "no%s", item);
	}
	for (; (at = strstr(at, "\n.It ")) && at < end; at++)
		n++;
	ck_assert_uint_eq(n, NOPTIONS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("service");
	TCase *w = tcase_create("watchdog"), *m = tcase_create("man page");

	tcase_set_timeout(w, 60);
	tcase_add_checked_fixture(w, setup, teardown);
	tcase_add_test(w, a_thread_that_hangs_is_named_and_not_fed_for);
	tcase_add_test(w, the_control_thread_may_be_away_for_a_time_that_it_names);
	suite_add_tcase(s, w);
	tcase_add_test(m, man_page_has_every_option);
	suite_add_tcase(s, m);
	return run_suite(s);
}
