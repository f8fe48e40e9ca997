/* nvmf-p2pctl: words to requests, answers to tables, completion; and that the manual page and
 * docs/control.md have what the tables have. */
#include "target/ctl/ctl.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NQN "nqn.2026-11.org.example:t"

/* ---- what goes to a stream ---------------------------------------------------------------------
 */

static int saved[2], captured;

static void capture(void)
{
	char name[] = "/tmp/nvmf-p2pctl-test-XXXXXX";

	captured = mkstemp(name);
	ck_assert_int_ge(captured, 0);
	unlink(name);
	fflush(stdout);
	fflush(stderr);
	saved[0] = dup(1);
	saved[1] = dup(2);
	dup2(captured, 1);
	dup2(captured, 2);
}

/* What was printed since capture(). */
static const char *release(void)
{
	static char text[65536];
	ssize_t n;

	fflush(stdout);
	fflush(stderr);
	dup2(saved[0], 1);
	dup2(saved[1], 2);
	close(saved[0]);
	close(saved[1]);
	n = pread(captured, text, sizeof(text) - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	close(captured);
	return text;
}

/* ---- words to requests -------------------------------------------------------------------------
 */

#define WORDS_MAX 8

/* clang-format off */
static const struct parse_row {
	const char *command, *words[WORDS_MAX];
	const char *request; /* NULL: wrong usage... */
	const char *why;     /* ...for this reason */
} parse_rows[] = {
	{ "status", { NULL }, "{}", NULL },
	{ "status", { "x" }, NULL, "one word too many: x" },
	{ "status", { "--x" }, NULL, "there is no option --x" },
	{ "status", { "-x" }, NULL, "there is no option -x" },
	{ "ports", { "1" }, "{\"port\":1}", NULL },
	{ "ports", { "65535" }, "{\"port\":65535}", NULL },
	{ "ports", { "65536" }, NULL, "port takes a number, 0..65535, not 65536" },
	{ "ports", { "1x" }, NULL, "port takes a number, 0..65535, not 1x" },
	{ "ports", { "" }, NULL, "port takes a number, 0..65535, not " },
	{ "ports", { "--", "-1" }, NULL, "port takes a number, 0..65535, not -1" },
	{ "ports", { "99999999999999999999" }, NULL, "port takes a number, 0..65535, not 99999999999999999999" },
	{ "ports", { "--port", "1" }, "{\"port\":1}", NULL },
	{ "ports", { "--port=1" }, "{\"port\":1}", NULL },
	{ "ports", { "--port=1", "2" }, NULL, "one word too many: 2" },
	{ "ports", { "--port", "1", "--port", "2" }, NULL, "given twice: port" },
	{ "ports", { "--port" }, NULL, "this option needs a value: --port" },
	{ "ana", { NQN, "1", "2", "inaccessible" },
	  "{\"subsystem\":\"" NQN "\",\"port\":1,\"group\":2,\"state\":\"inaccessible\"}", NULL },
	{ "ana", { NQN, "1", "2", "Inaccessible" }, NULL,
	  "state takes one of optimized|non-optimized|inaccessible|persistent-loss|change, not Inaccessible" },
	{ "ana", { NQN, "1", "0", "change" }, NULL, "group takes a number, 1..128, not 0" },
	{ "ana", { NQN, "1", "2", "change", "3" }, NULL, "one word too many: 3" },
	{ "add-namespace", { NQN }, NULL, "this is missing: device" },
	{ "add-namespace", { NQN, "/dev/a", "--ana-group", "7", "--polled", "--cmb=off" },
	  "{\"subsystem\":\"" NQN "\",\"device\":\"/dev/a\",\"ana_group\":7,\"polled\":true,\"cmb\":\"off\"}", NULL },
	{ "add-namespace", { "--nsid", "3", NQN, "/dev/a" }, "{\"nsid\":3,\"subsystem\":\"" NQN "\",\"device\":\"/dev/a\"}", NULL },
	{ "add-namespace", { NQN, "/dev/a", "--polled=1" }, NULL, "this option takes no value: --polled=1" },
	{ "add-namespace", { NQN, "/dev/a\n" }, NULL, "device takes a text of 1..1023 bytes without control characters, not /dev/a?" },
	{ "add-namespace", { NQN, "" }, NULL, "device takes a text of 1..1023 bytes without control characters, not " },
	{ "add-namespace", { NQN, "--", "--device" }, "{\"subsystem\":\"" NQN "\",\"device\":\"--device\"}", NULL },
	{ "disconnect", { "--controller", "3" }, "{\"controller\":3}", NULL },
	{ "log-level", { "debug" }, "{\"level\":\"debug\"}", NULL },
	{ "top", { "--interval", "0" }, NULL, "interval takes a number, 1..3600, not 0" },
};
/* clang-format on */

START_TEST(words_become_requests)
{
	const struct parse_row *row = &parse_rows[_i];
	const struct ctl_command *command = ctl_find(row->command);
	struct json_object *args = NULL;
	const char *said;
	int n = 0, code;

	while (n < WORDS_MAX && row->words[n])
		n++;
	capture();
	code = ctl_parse(command->verb, n, (char **)row->words, &args);
	said = release();
	ck_assert_int_eq(code, row->request ? CTL_OK : CTL_USAGE);
	if (row->request)
		ck_assert_str_eq(json_object_to_json_string_ext(
					 args,
					 JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
				 row->request);
	else
		ck_assert_msg(strstr(said, row->why), "%s", said);
	json_object_put(args);
}
END_TEST

/* Every verb is a command, and every command does something. */
START_TEST(every_verb_is_a_command)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		ck_assert_msg(ctl_find(verbs[i].name), "%s", verbs[i].name);
	for (size_t i = 0; i < ctl_ncommands; i++) {
		ck_assert_ptr_eq(ctl_find(ctl_commands[i].verb->name), &ctl_commands[i]);
		ck_assert(ctl_commands[i].run || ctl_commands[i].show);
	}
	ck_assert_ptr_null(ctl_find("frobnicate"));
}
END_TEST

/* Of positional arguments, the required ones come first; a row says what its type needs. */
START_TEST(rows_make_sense)
{
	const struct verb *v = ctl_commands[_i].verb;
	bool optional = false;

	for (size_t i = 0; i < v->nargs; i++) {
		const struct verb_arg *a = &v->args[i];

		ck_assert(!(a->required && optional && a->positional));
		optional |= a->positional && !a->required;
		ck_assert(!a->required || a->positional);
		ck_assert_int_eq(a->type == ARG_CHOICE, a->choices != NULL);
		ck_assert_int_eq(a->type == ARG_NUMBER, a->max > 0);
		ck_assert_ptr_eq(verb_find_arg(v, a->name), a);
		ck_assert_str_ne(a->name, "command");
		ck_assert_ptr_null(strchr(a->name, '-'));
	}
	ck_assert(islower((unsigned char)v->help[0]));
	ck_assert_int_ne(v->help[strlen(v->help) - 1], '.');
}
END_TEST

/* ---- answers to text ---------------------------------------------------------------------------
 */

START_TEST(numbers_have_units)
{
	ck_assert_str_eq(human_bytes(0).text, "0 B");
	ck_assert_str_eq(human_bytes(1023).text, "1023 B");
	ck_assert_str_eq(human_bytes(1024).text, "1.0 KiB");
	ck_assert_str_eq(human_bytes(1536).text, "1.5 KiB");
	ck_assert_str_eq(human_bytes(1 << 20).text, "1.0 MiB");
	ck_assert_str_eq(human_bytes((1 << 20) - 1).text, "1.0 MiB");
	ck_assert_str_eq(human_bytes(999.0 * 1024 * 1024).text, "999 MiB");
	ck_assert_str_eq(human_bytes(18446744073709551615.0).text, "16.0 EiB");
	ck_assert_str_eq(human_number(999).text, "999");
	ck_assert_str_eq(human_number(1000).text, "1.0 k");
	ck_assert_str_eq(human_number(123456).text, "123 k");
	ck_assert_str_eq(human_number(2.5e6).text, "2.5 M");
}
END_TEST

START_TEST(tables_are_aligned)
{
	static const struct column columns[] = {
		{ "NAME", "name", COLUMN_TEXT },    { "N", "a.n", COLUMN_NUMBER },
		{ "BYTES", "bytes", COLUMN_BYTES }, { "LIST", "list", COLUMN_LIST },
		{ "COUNT", "list", COLUMN_COUNT },  { "YES", "yes", COLUMN_YES },
		{ "STATE", "state", COLUMN_TEXT },
	};
	const struct ctl plain = { 0 }, colour = { .colour = true };
	struct json_object *array = json_tokener_parse(
		"[{\"name\":\"x\",\"a\":{\"n\":1},\"bytes\":2048,\"list\":[1,2],\"yes\":true,\"state\":\"ok\"},"
		"{\"name\":\"\xc3\xa4\xc3\xa4\\u001b[\",\"a\":{\"n\":12345},\"list\":[],\"yes\":false,\"state\":\"lost\"},"
		"{}]");

	capture();
	table_print(&plain, array, columns, 7);
	ck_assert_str_eq(release(), "NAME      N    BYTES  LIST  COUNT  YES  STATE\n"
				    "x         1  2.0 KiB  1,2       2  yes  ok\n"
				    "\xc3\xa4\xc3\xa4?[  12345                     0       lost\n"
				    "                                        \n");
	capture();
	table_print(&colour, array, columns + 6, 1);
	ck_assert_str_eq(release(), "\033[1mSTATE\033[0m\nok\n\033[31mlost\033[0m\n\n");
	capture();
	table_print(&plain, NULL, columns, 1);
	ck_assert_str_eq(release(), "NAME\n");
	json_object_put(array);
}
END_TEST

START_TEST(lists_have_all)
{
	struct json_object *o = json_tokener_parse(
		"[{\"a\":1,\"b\":{\"c\":\"x\\n\",\"d\":null},\"e\":[1,2],\"f\":[{\"g\":true}]},{\"a\":2}]");

	capture();
	list_print(o);
	ck_assert_str_eq(release(), "a                        1\n"
				    "b.c                      x?\n"
				    "b.d                      -\n"
				    "e                        1,2\n"
				    "f.0.g                    true\n"
				    "\n"
				    "a                        2\n");
	json_object_put(o);
}
END_TEST

/* ---- a daemon of a sort ------------------------------------------------------------------------
 */

static char socket_path[64];

/* Answers one request with @answer and hangs up. Return: the child. */
static pid_t serve(const char *answer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), one;
	char request[4096];
	pid_t child;

	snprintf(socket_path, sizeof(socket_path), "/tmp/nvmf-p2pctl-test-%d", (int)getpid());
	unlink(socket_path);
	strcpy(address.sun_path, socket_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	child = fork();
	if (child == 0) {
		one = accept(fd, NULL, NULL);
		while (read(one, request, sizeof(request)) > 0)
			;
		_exit(write(one, answer, strlen(answer)) < 0);
	}
	close(fd);
	return child;
}

/* clang-format off */
static const struct answer_row {
	const char *answer;
	int code;
	const char *said;
} answer_rows[] = {
	{ "{\"ok\":true,\"result\":{\"log_level\":\"info\"}}\n", CTL_OK, "log level    info\n" },
	{ "{\"ok\":false,\"error\":{\"errno\":\"ENOENT\",\"message\":\"no x\"}}\n", CTL_REFUSED, "nvmf-p2pctl: no x\n" },
	{ "{\"ok\":false,\"error\":{\"errno\":\"EPERM\",\"message\":\"not \\u001b you\"}}\n", CTL_NOT_PERMITTED, "nvmf-p2pctl: not ? you\n" },
	{ "", CTL_NO_DAEMON, "nvmf-p2pctl: the daemon ended, or took too long, without an answer\n" },
	{ "{\"ok\":true,\"result\":{}}", CTL_NO_DAEMON, "nvmf-p2pctl: the daemon ended, or took too long, without an answer\n" },
	{ "{\"ok\":true}\n", CTL_NO_DAEMON, "nvmf-p2pctl: what answers is not nvmf-p2pd\n" },
	{ "220 mail\n", CTL_NO_DAEMON, "nvmf-p2pctl: what answers is not nvmf-p2pd\n" },
	{ "[]\n", CTL_NO_DAEMON, "nvmf-p2pctl: what answers is not nvmf-p2pd\n" },
};
/* clang-format on */

START_TEST(answers_are_shown)
{
	const struct answer_row *row = &answer_rows[_i];
	pid_t child = serve(row->answer);
	const struct ctl ctl = { .socket = socket_path };
	const char *said;
	int code;

	capture();
	code = ctl_run(&ctl, ctl_find("log-level"), NULL);
	said = release();
	ck_assert_str_eq(said, row->said);
	ck_assert_int_eq(code, row->code);
	waitpid(child, NULL, 0);
	unlink(socket_path);
}
END_TEST

START_TEST(no_daemon_is_said)
{
	static char too_long[300];
	struct ctl ctl = { .socket = "/nonexistent/control" };

	capture();
	ck_assert_int_eq(ctl_run(&ctl, ctl_find("status"), NULL), CTL_NO_DAEMON);
	ck_assert_ptr_nonnull(strstr(release(), "does nvmf-p2pd run?"));
	memset(too_long, 'a', sizeof(too_long) - 1);
	ctl.socket = too_long;
	capture();
	ck_assert_int_eq(ctl_run(&ctl, ctl_find("status"), NULL), CTL_NO_DAEMON);
	ck_assert_ptr_nonnull(strstr(release(), "File name too long"));
}
END_TEST

/* ---- completion --------------------------------------------------------------------------------
 */

/* clang-format off */
static const struct completion_row {
	const char *words[WORDS_MAX];
	const char *offered;
} completion_rows[] = {
	{ { "und" }, "undrain\n" },
	{ { "st" }, "status\n" },
	{ { "--so" }, "--socket\n" },
	{ { "-o", "" }, "table\nlist\njson\n" },
	{ { "--output", "j" }, "json\n" },
	{ { "log-level", "" }, "error\nwarning\ninfo\ndebug\n" },
	{ { "-o", "json", "log-level", "d" }, "debug\n" },
	{ { "ana", NQN, "1", "1", "" }, "optimized\nnon-optimized\ninaccessible\npersistent-loss\nchange\n" },
	{ { "ana", NQN, "1", "1", "change", "" }, "" },
	{ { "add-namespace", "--a" }, "--ana-group\n" },
	{ { "add-namespace", "--cmb", "r" }, "require\n" },
	{ { "add-namespace", "--ana-group", "" }, "" },
	{ { "add-namespace", NQN, "--polled", "" }, "" }, /* a file: the shell's */
	{ { "top", "--c" }, "--count\n" },
	{ { "help", "stat" }, "status\n" },
	{ { "frobnicate", "st" }, "status\n" },
	{ { NULL }, NULL }, /* everything */
};
/* clang-format on */

START_TEST(words_are_completed)
{
	const struct completion_row *row = &completion_rows[_i];
	const struct ctl ctl = { .socket = "/nonexistent/control" };
	const char *offered;
	int n = 0;

	while (row->words[n])
		n++;
	capture();
	ctl_complete(&ctl, n, (char **)row->words);
	offered = release();
	if (row->offered)
		ck_assert_str_eq(offered, row->offered);
	for (size_t i = 0; !row->offered && i < ctl_ncommands; i++)
		ck_assert_ptr_nonnull(strstr(offered, ctl_commands[i].verb->name));
}
END_TEST

START_TEST(names_are_completed_by_the_daemon)
{
	const char *words[] = { "-s", NULL, "subsystems", "nqn.a" };
	const struct ctl ctl = { .socket = "/nonexistent/control" };
	pid_t child = serve(
		"{\"ok\":true,\"result\":[{\"subsystem\":\"nqn.a1\"},{\"subsystem\":\"nqn.b\"},"
		"{\"subsystem\":\"nqn.a2\"}]}\n");

	words[1] = socket_path;
	capture();
	ctl_complete(&ctl, 4, (char **)words);
	ck_assert_str_eq(release(), "nqn.a1\nnqn.a2\n");
	waitpid(child, NULL, 0);
	unlink(socket_path);
}
END_TEST

/* ---- help and pages ----------------------------------------------------------------------------
 */

START_TEST(help_says_how)
{
	const char *text;
	char usage[512];

	capture();
	ctl_print_help(&ctl_commands[_i], stdout);
	text = release();
	ck_assert_ptr_nonnull(
		strstr(text, verb_usage(ctl_commands[_i].verb, usage, sizeof(usage))));
	for (size_t i = 0; i < ctl_commands[_i].verb->nargs; i++)
		ck_assert_ptr_nonnull(strstr(text, ctl_commands[_i].verb->args[i].help));
}
END_TEST

static char *read_page(const char *name)
{
	FILE *in = fopen(name, "r");
	char *text = calloc(1, 1 << 20);

	ck_assert_msg(in != NULL, "%s: run from the tree's root", name);
	ck_assert_uint_gt(fread(text, 1, (1 << 20) - 1, in), 0);
	fclose(in);
	return text;
}

static void write_page(const char *name, const char *head, size_t len, const char *block,
		       const char *tail)
{
	FILE *out = fopen(name, "w");

	ck_assert_ptr_nonnull(out);
	fprintf(out, "%.*s%s%s", (int)len, head, block, tail);
	ck_assert_int_eq(fclose(out), 0);
}

/* A block of the page, between two lines that say so. With NVMF_P2PD_WRITE_PAGES set, it is
 * written. */
static void check_block(const char *name, const char *begin, const char *end, const char *block)
{
	char *text = read_page(name), *from = strstr(text, begin), *to = strstr(text, end);
	bool same;

	ck_assert_msg(from && to && from < to, "%s: no %s", name, begin);
	from += strlen(begin);
	same = (size_t)(to - from) == strlen(block) && strncmp(from, block, strlen(block)) == 0;
	if (!same && getenv("NVMF_P2PD_WRITE_PAGES"))
		write_page(name, text, (size_t)(from - text), block, to);
	else
		ck_assert_msg(same,
			      "%s: the block after \"%s\" is not what the tables have; "
			      "NVMF_P2PD_WRITE_PAGES=1 makes this test write it",
			      name, begin);
	free(text);
}

/* roff's hyphens and backslashes. */
static void put_roff(const char *text, FILE *out)
{
	for (; *text; text++)
		fprintf(out, *text == '-' ? "\\-" : *text == '\\' ? "\\e" : "%c", *text);
}

static void put_sentence(const char *help, FILE *out)
{
	putc(toupper((unsigned char)*help), out);
	put_roff(help + 1, out);
	fputs(".\n", out);
}

static void put_man_arg(const struct verb_arg *a, FILE *out)
{
	char form[192], name[64];

	snprintf(name, sizeof(name), "%s", a->name);
	for (char *c = name; *c; c++)
		*c = *c == '_' ? '-' : (char)(a->positional ? toupper((unsigned char)*c) : *c);
	fprintf(out, ".TP\n%s", a->positional ? ".I " : ".B \\-\\-");
	put_roff(name, out);
	putc('\n', out);
	put_sentence(a->help, out);
	if (a->type == ARG_NUMBER || a->type == ARG_CHOICE) {
		verb_allowed(a, form, sizeof(form));
		put_sentence(form, out);
	}
}

START_TEST(manual_page_has_every_command)
{
	char *block = NULL, usage[512];
	size_t len;
	FILE *out = open_memstream(&block, &len);

	for (size_t i = 0; i < ctl_ncommands; i++) {
		const struct verb *v = ctl_commands[i].verb;

		fputs(".TP\n.B ", out);
		put_roff(v->name, out);
		if (v->nargs)
			fputs(" \\fR", out);
		put_roff(verb_usage(v, usage, sizeof(usage)), out);
		putc('\n', out);
		put_sentence(v->help, out);
		if (v->changes)
			fputs("(Changes something.)\n", out);
		if (v->nargs) {
			fputs(".RS\n", out);
			for (size_t a = 0; a < v->nargs; a++)
				put_man_arg(&v->args[a], out);
			fputs(".RE\n", out);
		}
	}
	fclose(out);
	check_block("target/ctl/nvmf-p2pctl.8", ".\\\" commands: as the tables have them\n",
		    ".\\\" end of commands\n", block);
	free(block);
}
END_TEST

START_TEST(protocol_page_has_every_verb)
{
	char *block = NULL, form[192];
	size_t len;
	FILE *out = open_memstream(&block, &len);

	fputs("| command | arguments | access | |\n| --- | --- | --- | --- |\n", out);
	for (size_t i = 0; i < VERB_COUNT; i++) {
		const struct verb *v = &verbs[i];
		bool changes = v->changes;

		fprintf(out, "| `%s` | ", v->name);
		for (size_t a = 0; a < v->nargs; a++) {
			fprintf(out, "%s`%s`%s: ", a ? "<br>" : "", v->args[a].name,
				v->args[a].required ? "" : " (optional)");
			/* a bar would end the cell */
			for (const char *c =
				     v->args[a].type == ARG_TEXT
					     ? "text"
					     : verb_allowed(&v->args[a], form, sizeof(form));
			     *c; c++)
				fputs(*c == '|' ? ", " : (char[]){ *c, '\0' }, out);
			changes |= v->args[a].changes;
		}
		fprintf(out, " | %s | %s |\n",
			v->changes ? "change"
			: changes  ? "read; change with arguments"
				   : "read",
			v->help);
	}
	fclose(out);
	check_block("docs/control.md", "<!-- the table of verbs, as verbs.c has it -->\n",
		    "<!-- end -->\n", block);
	free(block);
}
END_TEST

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

int main(void)
{
	Suite *s = suite_create("ctl");
	TCase *tc = tcase_create("ctl");

	tcase_add_loop_test(tc, words_become_requests, 0, NROWS(parse_rows));
	tcase_add_test(tc, every_verb_is_a_command);
	tcase_add_loop_test(tc, rows_make_sense, 0, (int)ctl_ncommands);
	tcase_add_test(tc, numbers_have_units);
	tcase_add_test(tc, tables_are_aligned);
	tcase_add_test(tc, lists_have_all);
	tcase_add_loop_test(tc, answers_are_shown, 0, NROWS(answer_rows));
	tcase_add_test(tc, no_daemon_is_said);
	tcase_add_loop_test(tc, words_are_completed, 0, NROWS(completion_rows));
	tcase_add_test(tc, names_are_completed_by_the_daemon);
	tcase_add_loop_test(tc, help_says_how, 0, (int)ctl_ncommands);
	tcase_add_test(tc, manual_page_has_every_command);
	tcase_add_test(tc, protocol_page_has_every_verb);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
