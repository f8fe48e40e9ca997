/*
 * Wrong export files, each with the exact message that an administrator gets:
 * config/wrong/NAME.conf (or NAME/main.conf, with exports.d beside it) and NAME.expect.
 * config_load() and the daemon's own
 * --check are asked. And what may differ between the files of two loads while a daemon runs.
 *
 * Run from the project's root; the daemon lies two folders above this binary.
 */
#include "config/config.h"
#include "config/keys.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER  "tests/unit/config/wrong/"
#define LEAST   40 /* of them */
#define MESSAGE 1024
#define GOOD_REST                                                                                  \
	"ports = ( { id = 1; address = \"192.0.2.1\"; } );\n"                                      \
	"subsystems = ( { nqn = \"nqn.2024-01.org.example:a\"; allow_any_host = true; } );\n"

static glob_t expects;

/* libconfig 1.5 leaks on syntax errors: see test_config.c. */
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);

static void read_text(const char *path, char *text)
{
	FILE *f = fopen(path, "r");

	ck_assert_msg(f, "%s: %m", path);
	text[fread(text, 1, MESSAGE - 1, f)] = '\0';
	fclose(f);
}

/* The file that belongs to the _i-th message. */
static void file_of(int i, char path[256], char message[MESSAGE])
{
	const char *expect = expects.gl_pathv[i];
	int len = (int)(strlen(expect) - strlen(".expect"));

	snprintf(path, 256, "%.*s.conf", len, expect);
	if (access(path, F_OK))
		snprintf(path, 256, "%.*s/main.conf", len, expect);
	read_text(expect, message);
}

START_TEST(wrong_files_have_their_message)
{
	char path[256], want[MESSAGE], got[MESSAGE] = "";
	struct config_diag diag;
	struct config *c;
	FILE *f = fmemopen(got, sizeof(got), "w");

	file_of(_i, path, want);
	if (__lsan_disable)
		__lsan_disable();
	ck_assert_msg(config_load(path, &c, &diag) < 0, "%s is accepted", path);
	if (__lsan_enable)
		__lsan_enable();
	config_diag_print(&diag, f);
	fclose(f);
	ck_assert_str_eq(got, want);
}
END_TEST

static const char *daemon_path(void)
{
	static char path[4096 + 32];
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(len, 0);
	self[len] = '\0';
	snprintf(path, sizeof(path), "%s/../../nvmf-p2pd", dirname(self));
	return path;
}

/* Return: its exit code; @err: what it said to stderr. */
static int run_check(const char *path, char err[MESSAGE])
{
	int fd[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fd[1], STDERR_FILENO);
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		execl(daemon_path(), "nvmf-p2pd", "--check", "-c", path, NULL);
		_exit(127);
	}
	close(fd[1]);
	while (n < MESSAGE - 1 && (got = read(fd[0], err + n, MESSAGE - 1 - n)) > 0)
		n += (size_t)got;
	err[n] = '\0';
	close(fd[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(the_daemon_says_so_too)
{
	char path[256], want[MESSAGE], got[MESSAGE];

	file_of(_i, path, want);
	ck_assert_int_eq(run_check(path, got), 1);
	ck_assert_str_eq(got, want);
}
END_TEST

START_TEST(the_daemon_takes_a_good_file)
{
	char got[MESSAGE];

	ck_assert_int_eq(run_check("tests/unit/config/minimal.conf", got), 0);
	ck_assert_str_eq(got, "");
	ck_assert_int_eq(run_check("tests/unit/config/merge/main.conf", got), 0);
	ck_assert_str_eq(got, "");
}
END_TEST

START_TEST(there_are_enough_and_none_is_forgotten)
{
	glob_t confs = { 0 };

	ck_assert_uint_ge(expects.gl_pathc, LEAST);
	ck_assert_int_eq(glob(FOLDER "*.conf", 0, NULL, &confs), 0);
	(void)glob(FOLDER "*/main.conf", GLOB_APPEND, NULL, &confs);
	ck_assert_uint_eq(confs.gl_pathc, expects.gl_pathc);
	globfree(&confs);
}
END_TEST

/* ---- what a reload may change ------------------------------------------------------------------
 */

/* A value that @k takes and that is not its default. */
static const char *other_value(const struct key *k, char text[128])
{
	static const char *const texts[] = { "/a/b", "nqn.2024-01.org.example:d", "off", "0" };

	switch (k->type) {
	case KEY_INT:
		snprintf(text, 128, "%u", (unsigned int)(k->dflt == k->min ? k->max : k->min));
		return text;
	case KEY_SIZE:
		snprintf(text, 128, "\"%s\"", size_print(k->dflt == k->min ? k->max : k->min).text);
		return text;
	case KEY_BOOL:
		return k->dflt ? "false" : "true";
	case KEY_CHOICE:
		snprintf(text, 128, "\"%s\"", k->choices[k->dflt == 0]);
		return text;
	case KEY_SERVICE:
		return "\"1\"";
	case KEY_TEXT:
		for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
			if (!k->wrong || !k->wrong(texts[i])) {
				snprintf(text, 128, "\"%s\"", texts[i]);
				return text;
			}
		break;
	case KEY_SECRET:
	case KEY_CHOICES:
	case KEY_UUID:
	case KEY_TEXTS:
	case KEY_PORT_IDS:
	case KEY_GROUP:
	case KEY_GROUPS:
		break;
	}
	ck_abort_msg("a value for daemon key %s is wanted here", k->name);
	return NULL;
}

static struct config *load_with(const char *setting, const char *rest)
{
	char path[] = "/tmp/nvmf-p2pd-test-XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	struct config_diag diag;
	struct config *c;

	ck_assert_ptr_nonnull(f);
	fprintf(f, "daemon = {\n%s\n};\n" GOOD_REST "%s", setting, rest);
	fclose(f);
	ck_assert_msg(config_load(path, &c, &diag) == 0, "%s: %s; %s", setting, diag.what,
		      diag.fix);
	unlink(path);
	return c;
}

static struct config *load(const char *setting)
{
	return load_with(setting, "");
}

START_TEST(a_key_that_takes_a_restart_is_named)
{
	const struct key *k = &group_daemon.keys[_i];
	struct config *with_defaults = load(""), *changed, *again;
	struct config_diag diag = { 0 };
	char value[128], setting[256];

	snprintf(setting, sizeof(setting), "%s = %s;", k->name, other_value(k, value));
	changed = load(setting);
	again = load(setting);
	ck_assert_int_eq(config_check_change(changed, again, "x.conf", &diag), 0);
	if (k->reload == RELOAD_RESTART) {
		ck_assert_int_eq(config_check_change(with_defaults, changed, "x.conf", &diag),
				 -EBUSY);
		ck_assert_str_eq(diag.file, "x.conf");
		ck_assert_uint_eq(diag.line, 2);
		ck_assert_ptr_nonnull(strstr(diag.what, k->name));
		ck_assert_ptr_nonnull(strstr(diag.fix, "systemctl restart"));
		/* back to the default: no line to blame */
		ck_assert_int_eq(config_check_change(changed, with_defaults, "x.conf", &diag),
				 -EBUSY);
		ck_assert_uint_eq(diag.line, 0);
	} else {
		ck_assert_int_eq(config_check_change(with_defaults, changed, "x.conf", &diag), 0);
	}
	config_free(with_defaults);
	config_free(changed);
	config_free(again);
}
END_TEST

#define KEY "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:"

START_TEST(keys_are_forgotten)
{
	static const uint8_t zeros[64];
	struct config *c = load_with("", "hosts = ( { nqn = \"nqn.2024-01.org.example:h\";"
					 " dhchap_key = \"" KEY "\"; } );");

	const struct config_host *h = config_host(c, "nqn.2024-01.org.example:h");

	ck_assert_uint_eq(h->host_key.len, 32);
	config_forget_keys(c);
	ck_assert_uint_eq(h->host_key.len, 0);
	ck_assert_mem_eq(h->host_key.bytes, zeros, sizeof(zeros));
	ck_assert_str_eq(h->dhchap_key, "");
	ck_assert_ptr_null(config_host(c, "nqn.2024-01.org.example:h"));
	config_free(c);
	config_forget_keys(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config files");
	TCase *tc = tcase_create("wrong"), *change = tcase_create("change");

	if (glob(FOLDER "*.expect", 0, NULL, &expects))
		expects.gl_pathc = 0;
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, there_are_enough_and_none_is_forgotten);
	tcase_add_loop_test(tc, wrong_files_have_their_message, 0, (int)expects.gl_pathc);
	tcase_add_loop_test(tc, the_daemon_says_so_too, 0, (int)expects.gl_pathc);
	tcase_add_test(tc, the_daemon_takes_a_good_file);
	suite_add_tcase(s, tc);
	tcase_add_loop_test(change, a_key_that_takes_a_restart_is_named, 0,
			    (int)group_daemon.nkeys);
	tcase_add_test(change, keys_are_forgotten);
	suite_add_tcase(s, change);
	return run_suite(s);
}
