/* config/: export files to a model. Run from the project's root, where its files lie. */
#include "config/config.h"
#include "config/keys.h"
#include "config/scan.h"
#include "config/text.h"

#include "tests/unit/suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The n-th allocation from now on fails; 0: none does. */
static unsigned int fail_at;

static void *fault_calloc(size_t n, size_t size)
{
	if (fail_at && --fail_at == 0)
		return NULL;
	return calloc(n, size);
}

#define calloc fault_calloc
#include "config/arena.c"
#undef calloc

/*
 * libconfig 1.5 leaks on syntax errors (facts: shared style guide, trap 3), so leaks are not looked
 * for while it reads a file known to have one; everywhere else they are.
 */
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);

static void leaks_expected(bool expected)
{
	static bool are;

	if (expected && !are && __lsan_disable)
		__lsan_disable();
	if (!expected && are && __lsan_enable)
		__lsan_enable();
	are = expected;
}

/* ---- files -------------------------------------------------------------------------------- */

static char dir[64];       /* of this test */
static char main_path[96]; /* dir/main.conf */
static struct config_diag diag;

static const char *in_dir(const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put_bytes(const char *name, const void *bytes, size_t len)
{
	FILE *f = fopen(in_dir(name), "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

static void put_folder(const char *name)
{
	ck_assert_int_eq(mkdir(in_dir(name), 0755), 0);
}

static char *slurp(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 16);

	ck_assert_msg(f, "%s: %m (tests run from the project's root)", path);
	ck_assert_ptr_nonnull(text);
	*ret_len = fread(text, 1, (1 << 16) - 1, f);
	fclose(f);
	return text;
}

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/nvmf-p2pd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0); /* for load_as_nobody() */
	snprintf(main_path, sizeof(main_path), "%s/main.conf", dir);
	fail_at = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void teardown(void)
{
	ck_assert_int_eq(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- loading ------------------------------------------------------------------------------ */

/* A refusal must leave the result alone and tell in one clean line. */
static int load_path(const char *path, struct config **ret)
{
	struct config *const untouched = (struct config *)&diag;
	struct config *c = untouched;

	memset(&diag, 0xff, sizeof(diag));

	int err = config_load(path, &c, &diag);

	if (!err) {
		*ret = c;
		return 0;
	}
	ck_assert_ptr_eq(c, untouched);
	ck_assert_str_ne(diag.file, "");
	ck_assert_str_ne(diag.what, "");
	for (const char *p = diag.what; *p; p++)
		ck_assert_msg((unsigned char)*p >= ' ' && *p != 0x7f, "what: %s", diag.what);
	for (const char *p = diag.fix; *p; p++)
		ck_assert_msg((unsigned char)*p >= ' ' && *p != 0x7f, "fix: %s", diag.fix);
	return err;
}

static struct config *load_good(const char *path)
{
	struct config *c = NULL;
	int err = load_path(path, &c);

	ck_assert_msg(err == 0, "%s:%u: %s; %s", diag.file, diag.line, diag.what, diag.fix);
	return c;
}

static struct config *load_text(const char *text)
{
	put("main.conf", text);
	return load_good(main_path);
}

static void expect_diag(unsigned int line, const char *what, const char *fix)
{
	ck_assert_msg(diag.line == line, "line %u, not %u: %s; %s", diag.line, line, diag.what,
		      diag.fix);
	ck_assert_msg(strstr(diag.what, what), "what: %s\nwanted: %s", diag.what, what);
	ck_assert_msg(strstr(diag.fix, fix), "fix: %s\nwanted: %s", diag.fix, fix);
}

static void refuse_path(const char *path, int want, unsigned int line, const char *what,
			const char *fix)
{
	struct config *c;
	int err = load_path(path, &c);

	ck_assert_int_eq(err, want);
	expect_diag(line, what, fix);
}

#define ends_with(text, end)                                                                       \
	ck_assert_msg(strlen(text) >= strlen(end) &&                                               \
			      strcmp((text) + strlen(text) - strlen(end), end) == 0,               \
		      "%s does not end with %s", text, end)

/* ---- wrong files -------------------------------------------------------------------------- */

#define PORT         "ports = ( { id = 1; address = \"192.0.2.1\"; } );\n"
#define ANY          "allow_any_host = true; "
#define SUB_NQN(nqn) "{ nqn = \"nqn.2024-01.org.example:" nqn "\"; " ANY
#define SUB          "subsystems = ( " SUB_NQN("a") "} );\n"
#define NS(body)     "subsystems = ( " SUB_NQN("a") "namespaces = (\n" body "\n); } );\n"
#define PASS(body)   "subsystems = ( " SUB_NQN("a") "\n" body "\n} );\n"
#define HOST         "\"nqn.2024-01.org.example:h\""
#define A20          "aaaaaaaaaaaaaaaaaaaa"
#define A199         A20 A20 A20 A20 A20 A20 A20 A20 A20 "aaaaaaaaaaaaaaaaaaa"
#define KEY_32       "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:"
#define KEY_48       "DHHC-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:"
#define KEY_64                                                                                     \
	"DHHC-1:03:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P4zODhA=:"
#define KEY_CTRL   "DHHC-1:01:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj/jBqb2:"
#define WITH(body) PORT SUB "hosts = ( { nqn = " HOST ";\n" body " } );"
#define NQN_223    "nqn.2024-01.org.example:" A199

/* clang-format off */
static const struct wrong {
	unsigned int line;
	const char *what;
	const char *fix;
	const char *text;
} wrongs[] = {
	/* unknown, missing and double keys */
	/* 0 */
	{ 1, "file key \"deamon\" is unknown", "did you mean \"daemon\"?", "deamon = { };" },
	{ 2, "daemon key \"windowsize\" is unknown", "did you mean \"window_size\"?", "daemon = {\nwindowsize = \"1G\"; };" },
	{ 1, "port key \"adress\" is unknown", "did you mean \"address\"?", "ports = ( { id = 1; adress = \"::1\"; } );" },
	{ 1, "subsystem key \"NQN\" is unknown", "did you mean \"nqn\"?", "subsystems = ( { NQN = \"x\"; } );" },
	{ 3, "namespace key \"nsdi\" is unknown", "did you mean \"nsid\"?", PORT NS("{ nsdi = 1; }") },
	{ 1, "port key \"colour_of_the_cable\" is unknown", "known here: id, address, service,", "ports = ( { colour_of_the_cable = 1; } );" },
	{ 2, "this port has no \"id\"", "add it: 1..65535", "ports = (\n{ address = \"::1\"; } );" },
	{ 1, "this port has no \"address\"", "numeric IPv4 or IPv6", "ports = ( { id = 1; } );" },
	{ 1, "this subsystem has no \"nqn\"", "nqn.yyyy-mm", "subsystems = ( { } );" },
	{ 3, "this namespace has no \"nsid\"", "1..1024", PORT NS("{ device = \"/dev/a\"; }") },
	/* 10 */
	{ 3, "this namespace has no \"device\"", "absolute path", PORT NS("{ nsid = 1; }") },
	{ 0, "neither here nor in exports.d is a port", "add ports = (", SUB },
	{ 0, "neither here nor in exports.d is a subsystem", "add subsystems = (", PORT },
	{ 0, "is a port", "add", "" },
	/* types */
	{ 1, "file key \"daemon\" is a list", "allowed: {", "daemon = ( );" },
	{ 1, "file key \"ports\" is a group { }", "allowed: ( {", "ports = { };" },
	{ 2, "file key \"ports\" holds the integer", "allowed: ( {", "ports = (\n1 );" },
	{ 1, "port key \"id\" is the text", "allowed: 1..65535", "ports = ( { id = \"1\"; } );" },
	{ 1, "port key \"id\" is the fraction", "allowed: 1..65535", "ports = ( { id = 1.05; } );" },
	{ 1, "port key \"address\" is the integer", "numeric", "ports = ( { address = 1; } );" },
	/* 20 */
	{ 1, "port key \"service\" is true", "1..65535", "ports = ( { service = true; } );" },
	{ 1, "daemon key \"window_size\" is the integer", "allowed: \"1M\"..\"2097148K\", a multiple of \"4K\"", "daemon = { window_size = 1048576; };" },
	{ 1, "subsystem key \"allow_any_host\" is the integer", "allowed: true, false", "subsystems = ( { allow_any_host = 1; } );" },
	{ 1, "subsystem key \"allow_any_host\" is the text", "allowed: true, false", "subsystems = ( { allow_any_host = \"yes\"; } );" },
	{ 1, "subsystem key \"allowed_hosts\" is the text", "( \"...\", \"...\" )", "subsystems = ( { allowed_hosts = " HOST "; } );" },
	{ 2, "subsystem key \"allowed_hosts\" holds the integer", "nqn.yyyy-mm", "subsystems = ( { allowed_hosts = (\n1 ); } );" },
	{ 1, "subsystem key \"ports\" is the integer", "( 1, 2 )", "subsystems = ( { ports = 1; } );" },
	{ 1, "subsystem key \"ports\" holds the text", "the id of a port", "subsystems = ( { ports = ( \"1\" ); } );" },
	/* integers */
	{ 1, "port key \"id\" is 0, which is out of range", "1..65535", "ports = ( { id = 0; } );" },
	{ 1, "port key \"id\" is 65536,", "1..65535", "ports = ( { id = 65536; } );" },
	/* 30 */
	{ 1, "port key \"id\" is -1,", "1..65535", "ports = ( { id = -1; } );" },
	{ 1, "port key \"id\" is 65536,", "1..65535", "ports = ( { id = 65536L; } );" },
	{ 2, "4294967297 is too large", "texts with a unit", "ports = (\n{ id = 4294967297; } );" },
	{ 1, "5000000000 is too large", "texts with a unit", "daemon = { keep_alive_max_ms = 5000000000; };" },
	{ 1, "3000000000 is too large", "texts with a unit", "daemon = { keep_alive_max_ms = -3000000000; };" },
	{ 1, "0x100000001 is too large", "texts with a unit", "ports = ( { id = 0x100000001; } );" },
	{ 1, "4294967297 is too large", "texts with a unit", "ports = ( { id = 4294967297L; } );" },
	{ 1, "9999999999999999999999999999999 is too large", "unit", "ports = ( { id = 99999999999999999999999999999999999999; } );" },
	{ 1, "010 starts with a zero", "octal", "ports = ( { id = 010; } );" },
	{ 1, "queue_depth\" is 15,", "allowed: 16..1024 entries", "ports = ( { queue_depth = 15; } );" },
	/* 40 */
	{ 1, "queue_depth\" is 1025,", "allowed: 16..1024 entries", "ports = ( { queue_depth = 1025; } );" },
	{ 1, "keep_alive_max_ms\" is -1,", "0..2147483647 ms", "daemon = { keep_alive_max_ms = -1; };" },
	{ 1, "stop_timeout_ms\" is 99,", "100..60000 ms", "daemon = { stop_timeout_ms = 99; };" },
	{ 1, "stop_timeout_ms\" is 60001,", "100..60000 ms", "daemon = { stop_timeout_ms = 60001; };" },
	{ 3, "nsid\" is 0,", "1..1024", PORT NS("{ nsid = 0; device = \"/dev/a\"; }") },
	{ 3, "nsid\" is 1025,", "1..1024", PORT NS("{ nsid = 1025; device = \"/dev/a\"; }") },
	{ 3, "ports\" holds 0,", "the id of a port", "subsystems = ( { ports = ( 1,\n\n0 ); } );" },
	/* sizes */
	{ 1, "window_size\" is \"2G\": it is out of range", "\"1M\"..\"2097148K\"", "daemon = { window_size = \"2G\"; };" },
	{ 1, "window_size\" is \"1023K\": it is out of range", "\"1M\"..", "daemon = { window_size = \"1023K\"; };" },
	{ 1, "window_size\" is \"1025K\": it is not a multiple", "a multiple of \"4K\"", "daemon = { window_size = \"1025K\"; };" },
	{ 1, "\"64k\": it is not a number of bytes", "\"1M\"..\"1G\"", "daemon = { host_memory = \"64k\"; };" },
	{ 1, "\"64MB\": it is not a number of bytes", "\"1M\"..\"1G\"", "daemon = { host_memory = \"64MB\"; };" },
	/* 50 */
	{ 1, "\"\": it is not a number of bytes", "\"1M\"..\"1G\"", "daemon = { host_memory = \"\"; };" },
	{ 1, "\"-1M\": it is not a number of bytes", "\"1M\"..\"1G\"", "daemon = { host_memory = \"-1M\"; };" },
	{ 1, "\"16777217T\": it is not a number", "\"1M\"..\"1G\"", "daemon = { host_memory = \"16777217T\"; };" },
	{ 1, "\"18446744073709551616\": it is not", "\"1M\"..\"1G\"", "daemon = { host_memory = \"18446744073709551616\"; };" },
	{ 1, "host_memory\" is \"2G\": it is out of range", "\"1M\"..\"1G\"", "daemon = { host_memory = \"2G\"; };" },
	{ 1, "cmb_reserve\" is \"1\": it is not a multiple", "\"0\"..\"1T\", a multiple of \"4K\"", "daemon = { cmb_reserve = \"1\"; };" },
	{ 1, "max_transfer\" is \"96K\": it is not a power of two", "\"8K\"..\"4M\", a power of two", "daemon = { max_transfer = \"96K\"; };" },
	{ 1, "max_transfer\" is \"8M\": it is out of range", "\"8K\"..\"4M\"", "daemon = { max_transfer = \"8M\"; };" },
	{ 1, "max_transfer = 2M is more than host_memory = 1M", "raise", "daemon = { max_transfer = \"2M\"; host_memory = \"1M\"; };" PORT SUB },
	{ 1, "max_transfer\" is \"2K\": it is out of range", "\"8K\"..\"4M\"", "daemon = { max_transfer = \"2K\"; };" },
	{ 1, "cmb_chunk\" is \"96K\": it is not a power of two", "\"64K\"..\"1G\", a power of two", "daemon = { cmb_chunk = \"96K\"; };" },
	{ 1, "cmb_cap\" is \"4K\": it is out of range", "\"64K\"..\"1T\"", "daemon = { cmb_cap = \"4K\"; };" },
	{ 1, "\"maybe\"", "\"none\", \"rdma-read\", \"cpu-read\"", "daemon = { cmb_flush = \"maybe\"; };" },
	{ 1, "poll_us", "0..10000 us", "daemon = { poll_us = 10001; };" },
	{ 1, "connection_memory\" is \"1K\": it is out of range", "\"1M\"..\"1T\"", "daemon = { connection_memory = \"1K\"; };" },
	{ 1, "in_capsule_data\" is \"17K\": it is out of range", "\"0\"..\"16K\"", "ports = ( { in_capsule_data = \"17K\"; } );" },
	/* 60 */
	{ 1, "in_capsule_data\" is \"100\": it is not a multiple", "multiple of \"16\"", "ports = ( { in_capsule_data = \"100\"; } );" },
	/* texts */
	{ 1, "state_dir\" is \"state\": it is not an absolute path", "\"/var/lib/nvmf-p2pd\"", "daemon = { state_dir = \"state\"; };" },
	{ 1, "state_dir\" is \"/a/\": it ends with", "\"/var/lib/nvmf-p2pd\"", "daemon = { state_dir = \"/a/\"; };" },
	{ 1, "service\" is \"http\": it is not a port number", "\"4420\"", "ports = ( { service = \"http\"; } );" },
	{ 1, "service\" is \"\": it is not a port number", "\"4420\"", "ports = ( { service = \"\"; } );" },
	{ 1, "service\" is \"0\": it is out of range", "1..65535", "ports = ( { service = \"0\"; } );" },
	{ 1, "service\" is \"65536\": it is out of range", "1..65535", "ports = ( { service = \"65536\"; } );" },
	{ 1, "service\" is \"99999999999999999999999999\": it is out of range", "1..65535", "ports = ( { service = \"99999999999999999999999999\"; } );" },
	{ 1, "service\" is 65536,", "1..65535", "ports = ( { service = 65536; } );" },
	{ 1, "address\" is \"target.example.org\": it is not a numeric", "\"fe80::1%eth0\"", "ports = ( { address = \"target.example.org\"; } );" },
	{ 1, "address\" is \"\": it is empty", "numeric", "ports = ( { address = \"\"; } );" },
	{ 1, "a link-local address needs", "\"fe80::1%eth0\"", "ports = ( { address = \"fe80::1\"; } );" },
	/* 70 */
	{ 1, "nqn\" is \"\": it is empty", "nqn.yyyy-mm", "subsystems = ( { nqn = \"\"; } );" },
	{ 1, "it is longer than 223 bytes", "nqn.yyyy-mm", "subsystems = ( { nqn = \"" NQN_223 "a\"; } );" },
	{ 1, "it is the discovery service's", "nqn.yyyy-mm", "subsystems = ( { nqn = \"nqn.2014-08.org.nvmexpress.discovery\"; } );" },
	{ 1, "\"iqn.2024-01.org.example:a\": it does not start with \"nqn.\"", "nqn.yyyy-mm", "subsystems = ( { nqn = \"iqn.2024-01.org.example:a\"; } );" },
	{ 1, "\\x1b[2J\": it holds a control character", "nqn.yyyy-mm", "subsystems = ( { nqn = \"nqn.2024-01.org.example:\\x1b[2J\"; } );" },
	{ 1, "\\xff\": it holds a control character or invalid UTF-8", "nqn.yyyy-mm", "subsystems = ( { nqn = \"nqn.2024-01.org.example:\\xff\"; } );" },
	{ 3, "allowed_hosts\" holds \"host2\": it does not start", "nqn.yyyy-mm", "subsystems = ( { allowed_hosts = (\n" HOST ",\n\"host2\"\n\n); } );" },
	{ 2, "allowed_hosts\" holds \"host1\": it does not start", "nqn.yyyy-mm", "subsystems = ( { allowed_hosts = [\n\"host1\"\n,\n" HOST "\n]; } );" },
	{ 1, "allowed_hosts\" holds \"\": it is empty", "nqn.yyyy-mm", "subsystems = ( { allowed_hosts = ( \"\" ); } );" },
	{ 1, "serial\" is \"123456789012345678901\": it is longer than 20 bytes", "printable ASCII", "subsystems = ( { serial = \"123456789012345678901\"; } );" },
	/* 80 */
	{ 1, "serial\" is \"\": it is empty", "printable ASCII", "subsystems = ( { serial = \"\"; } );" },
	{ 1, "serial\" is \"a\\x09b\": it holds a character", "printable ASCII", "subsystems = ( { serial = \"a\\tb\"; } );" },
	{ 1, "model\" is \"M\xc3\xb6" "del\": it holds a character", "printable ASCII", "subsystems = ( { model = \"M\xc3\xb6" "del\"; } );" },
	{ 1, "model\" is \"12345678901234567890123456789012345678901\": it is longer than 40 bytes", "printable ASCII", "subsystems = ( { model = \"12345678901234567890123456789012345678901\"; } );" },
	{ 3, "device\" is \"nvme0n1\": it is not an absolute path", "\"/dev/nvme0n1\"", PORT NS("{ nsid = 1; device = \"nvme0n1\"; }") },
	{ 3, "device\" is \"/dev/\": it names a folder", "\"/dev/nvme0n1\"", PORT NS("{ nsid = 1; device = \"/dev/\"; }") },
	{ 3, "device\" is \"/dev/../dev/a\": it holds", "\"/dev/nvme0n1\"", PORT NS("{ nsid = 1; device = \"/dev/../dev/a\"; }") },
	{ 3, "device\" is \"/dev/a\\x0ab\": it holds a control", "\"/dev/nvme0n1\"", PORT NS("{ nsid = 1; device = \"/dev/a\\nb\"; }") },
	{ 3, "cmb\" is \"maybe\": there is no such choice", "allowed: \"prefer\", \"require\", \"off\"", PORT NS("{ nsid = 1; cmb = \"maybe\"; }") },
	{ 3, "cmb\" is true", "allowed: \"prefer\", \"require\", \"off\"", PORT NS("{ nsid = 1; cmb = true; }") },
	/* 90 */
	{ 3, "uuid\" is \"6f1e0f5c\": it is not a UUID", "6f1e0f5c-3f0a-4a35", PORT NS("{ nsid = 1; uuid = \"6f1e0f5c\"; }") },
	{ 3, "uuid\" is \"00000000-0000-0000-0000-000000000000\": it is the nil", "UUID", PORT NS("{ nsid = 1; uuid = \"00000000-0000-0000-0000-000000000000\"; }") },
	/* between the parts */
	{ 2, "port id 1 is given twice, first at ", "its own id", "ports = ( { id = 1; address = \"192.0.2.1\"; },\n{ id = 1; address = \"192.0.2.2\"; } );\n" SUB },
	{ 2, "port address 192.0.2.1:4420 is given twice", "its own address or service", "ports = ( { id = 1; address = \"192.0.2.1\"; },\n{ id = 2; address = \"192.0.2.1\"; service = 4420; } );\n" SUB },
	{ 2, "port address [2001:db8::1]:4420 is given twice", "its own address", "ports = ( { id = 1; address = \"2001:db8:0:0::1\"; },\n{ id = 2; address = \"2001:DB8::1\"; } );\n" SUB },
	{ 2, "port 2 listens on 192.0.2.1, service 4420, but port 1", "another service", "ports = ( { id = 1; address = \"0.0.0.0\"; },\n{ id = 2; address = \"192.0.2.1\"; } );\n" SUB },
	{ 1, "port 1 listens on 2001:db8::1, service 7, but port 2", "another service", "ports = ( { id = 1; address = \"2001:db8::1\"; service = 7; },\n{ id = 2; address = \"0::0\"; service = 7; } );\n" SUB },
	{ 3, "subsystem nqn nqn.2024-01.org.example:b is given twice", "its own nqn", PORT "subsystems = ( " SUB_NQN("a") "}, " SUB_NQN("b") "},\n" SUB_NQN("b") "},\n" SUB_NQN("a") "} );" },
	{ 4, "nsid 1 is given twice", "its own nsid", PORT NS("{ nsid = 1; device = \"/dev/a\"; },\n{ nsid = 1; device = \"/dev/b\"; }") },
	{ 4, "namespace device /dev/a is given twice", "once only", PORT NS("{ nsid = 1; device = \"/dev/a\"; },\n{ nsid = 2; device = \"/dev/a\"; }") },
	{ 3, "cntlid_min = 7 above cntlid_max = 6", "exchange", PORT "subsystems = (\n{ nqn = \"nqn.2024-01.org.example:a\"; allow_any_host = true; cntlid_min = 7; cntlid_max = 6; } );" },
	{ 3, "static controllers with the same IDs", "own range", PORT "subsystems = ( " SUB_NQN("a") "controller_model = \"static\"; cntlid_max = 6; },\n" SUB_NQN("b") "controller_model = \"static\"; cntlid_min = 6; } );" },
	{ 3, "which its subsystem does not allow", "too", PORT "subsystems = ( { nqn = \"nqn.2024-01.org.example:a\"; allowed_hosts = ( " HOST " ); namespaces = (\n{ nsid = 1; device = \"/dev/a\"; allowed_hosts = ( \"nqn.2024-01.org.example:x\" ); } ); } );" },
	{ 3, "namespace device /dev/a is given twice", "once only", PORT "subsystems = ( " SUB_NQN("a") "namespaces = ( { nsid = 1; device = \"/dev/a\"; } ); },\n" SUB_NQN("b") "namespaces = ( { nsid = 9; device = \"/dev/a\"; } ); } );" },
	{ 4, "namespace uuid 6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b11 is given twice", "its own uuid", PORT NS("{ nsid = 1; device = \"/dev/a\"; uuid = \"6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b11\"; },\n{ nsid = 2; device = \"/dev/b\"; uuid = \"6F1E0F5C-3f0a-4a35-9d0e-3f7c3f1c2b11\"; }") },
	/* 100 */
	{ 2, "through port 7, which is not defined", "defined are: 1", PORT "subsystems = ( " SUB_NQN("a") "ports = ( 1, 7 ); } );" },
	{ 2, "ports, id 1 is given twice", "remove one", PORT "subsystems = ( " SUB_NQN("a") "ports = ( 1, 1 ); } );" },
	{ 2, "\"ports\" has 0 elements", "leave it out", PORT "subsystems = ( " SUB_NQN("a") "ports = ( ); } );" },
	{ 2, "both allow_any_host = true and allowed_hosts", "remove one", PORT "subsystems = ( " SUB_NQN("a") "allowed_hosts = ( " HOST " ); } );" },
	{ 2, "nobody could connect to subsystem \"nqn.2024-01.org.example:a\"", "set allowed_hosts = ( \"nqn...\" ), or allow_any_host = true", PORT "subsystems = ( { nqn = \"nqn.2024-01.org.example:a\"; } );" },
	{ 2, "nobody could connect", "allow_any_host = true", PORT "subsystems = ( { nqn = \"nqn.2024-01.org.example:a\"; allowed_hosts = ( ); } );" },
	{ 2, "allowed host nqn.2024-01.org.example:h is given twice", "remove one", PORT "subsystems = ( { nqn = \"nqn.2024-01.org.example:a\"; allowed_hosts = ( " HOST ", " HOST " ); } );" },
	/* hosts; a key is never quoted */
	{ 1, "this host has no \"nqn\"", "nqn.yyyy-mm", "hosts = ( { } );" },
	{ 1, "host key \"dhchap_secret\" is unknown", "did you mean \"dhchap_key\"?", "hosts = ( { dhchap_secret = \"\"; } );" },
	{ 4, "host key \"dhchap_key\": it does not start with \"DHHC-1:\"", "as \"nvme gen-dhchap-key\" makes it", WITH("dhchap_key = \"secret\";") },
	{ 4, "host key \"dhchap_key\": its checksum does not fit", "makes it", WITH("dhchap_key = \"DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KAiaR:\";") },
	{ 4, "host key \"dhchap_key\": it does not end", "makes it", WITH("dhchap_key = \"DHHC-1:00:\";") },
	{ 4, "host key \"dhchap_key\": it is longer than 128 bytes", "makes it", WITH("dhchap_key = \"" NQN_223 "\";") },
	{ 4, "host key \"dhchap_key\" is something else", "makes it", WITH("dhchap_key = 1;") },
	{ 4, "a comma stands before", "remove", WITH("dhchap_hash = ( \"sha256\", );") },
	{ 4, "dhchap_hash\" holds \"md5\": there is no such choice", "a list of \"sha256\", \"sha384\", \"sha512\"", WITH("dhchap_hash = ( \"md5\" );") },
	{ 5, "dhchap_hash\" holds \"sha256\": it is there twice", "a list of", WITH("dhchap_hash = ( \"sha256\",\n\"sha256\" );") },
	{ 4, "dhchap_dhgroup\" has 0 elements", "leave it out", WITH("dhchap_dhgroup = ( );") },
	{ 4, "dhchap_dhgroup\" is the text", "a list of \"null\", \"ffdhe2048\"", WITH("dhchap_dhgroup = \"null\";") },
	{ 3, "host \"nqn.2024-01.org.example:h\" has both dhchap_key and dhchap_key_file", "remove one", WITH("dhchap_key = \"" KEY_32 "\"; dhchap_key_file = \"/x\";") },
	{ 3, "has a dhchap_ctrl_key and no dhchap_key", "add dhchap_key", WITH("dhchap_ctrl_key = \"" KEY_32 "\";") },
	{ 4, "host nqn nqn.2024-01.org.example:h is given twice", "remove one", PORT SUB "hosts = ( { nqn = " HOST "; },\n{ nqn = " HOST "; } );" },
	/* the file as text */
	{ 2, "the \"(\" here is never closed", "add the closing", "\nports = ( { id = 1; }\n" },
	{ 3, "a \")\" where the \"{\" of line 2 is open", "close the inner", "ports = (\n{ id = 1;\n);" },
	{ 1, "a \"}\" closes nothing", "remove it", "daemon = { }; }" },
	/* 110 */
	{ 2, "a comma stands before the closing \")\"", "after the last element", "ports = ( { id = 1; },\n);" },
	{ 1, "brackets are nested too deeply", "namespaces", "a = ((((((((((((((((((((((((((((((((((((((((((" },
	{ 3, "the comment that starts here never ends", "close it with */", PORT SUB "/* and so on\n\n" },
	{ 3, "the text that starts here never ends", "close it with \"", PORT SUB "\"and so on\n\n" },
	{ 2, "the text that starts here never ends", "close it with \"", "ports = ( {\naddress = \"::1; } );\n/* \n */\n" },
	/* in strings and comments, nothing ends but they */
	{ 1, "a text holds a byte 0", "remove it", "ports = ( { address = \"::1\\x00, and more\"; } );" },
	{ 4, "\"nsdi\"", "nsid", "/* one\n\" */ // \"two\n" PORT "subsystems = ( { namespaces = ( { nsdi = 1; } ); } );" },
	{ 3, "\"nsdi\"", "nsid", "ports = ( { address = \"::1\"\n \"\"; id = 1; } );\nsubsystems = ( { nqn = \"nqn.2024-01.org.example:a\\\\\"; namespaces = ( { nsdi = 1; } ); } );" },
	/* @include */
	{ 1, "@include is not supported", "exports.d", "@include \"/tmp\"" },
	{ 2, "@include is not supported", "exports.d", "\n \t@include \"/etc/passwd\"" },
	/* 120 */
	{ 3, "@include is not supported", "exports.d", PORT SUB "@include\t\"/\"\n" },
	{ 2, "@include is not supported", "exports.d", "/* \n */ @include \"/\"\n" },
	{ 2, "@include is not supported", "exports.d", "ports = (\n@include \"/\"\n);" },
	{ 3, "@include is not supported", "exports.d", "a = \"\n\\\\\"\n@include \"/\"\n" },
	{ 1, "\\x0a@include \"/\": it holds a control", "nqn.yyyy-mm", "subsystems = ( { nqn = \"nqn.2024-01.org.example:\n@include \\\"/\"; } );" },
	{ 2, "@include is not supported", "exports.d", "# /*\n@include \"/\"\n# */\n" },
	/* passthrough */
	{ 2, "has both passthrough and namespaces", "remove one", PORT PASS("passthrough = \"/dev/nvme0\"; namespaces = ( { nsid = 1; device = \"/dev/a\"; } );") },
	{ 2, "has passthrough_vendor_admin = true without passthrough", "passthrough = ", PORT PASS("passthrough_vendor_admin = true;") },
	{ 2, "has cmb without passthrough", "its namespaces", PORT PASS("cmb = \"off\";") },
	{ 3, "passthrough\" is \"nvme0\": it is neither", "0000:03:00.0", PORT PASS("passthrough = \"nvme0\";") },
	{ 3, "namespace device /dev/a is given twice", "once only", PORT "subsystems = ( " SUB_NQN("a") "namespaces = ( { nsid = 1; device = \"/dev/a\"; } ); },\n" SUB_NQN("b") "passthrough = \"/dev/a\"; } );" },
	{ 3, "nguid\" is \"0011\": it is too short", "32 hexadecimal", PORT NS("{ nsid = 1; nguid = \"0011\"; }") },
	{ 3, "nguid\" is \"00112233-4455-6677-8899-AABBCCDD\": it holds something else", "32 hexadecimal", PORT NS("{ nsid = 1; nguid = \"00112233-4455-6677-8899-AABBCCDD\"; }") },
	{ 3, "eui64\" is \"0000000000000000\": it is zero", "16 hexadecimal", PORT NS("{ nsid = 1; eui64 = \"0000000000000000\"; }") },
	{ 3, "eui64\" is \"00112233445566778\": it is longer than 16", "16 hexadecimal", PORT NS("{ nsid = 1; eui64 = \"00112233445566778\"; }") },
	{ 4, "namespace nguid 00112233445566778899aabbccddeeff is given twice", "its own nguid", PORT NS("{ nsid = 1; device = \"/dev/a\"; nguid = \"00112233445566778899AABBCCDDEEFF\"; },\n{ nsid = 2; device = \"/dev/b\"; nguid = \"00112233445566778899aabbccddeeff\"; }") },
	{ 4, "namespace eui64 0011223344556677 is given twice", "its own eui64", PORT NS("{ nsid = 1; device = \"/dev/a\"; eui64 = \"0011223344556677\"; },\n{ nsid = 2; device = \"/dev/b\"; eui64 = \"0011223344556677\"; }") },
	/* ANA, discovery, control */
	{ 3, "ana_group\" is 0,", "1..128", PORT NS("{ nsid = 1; device = \"/dev/a\"; ana_group = 0; }") },
	{ 3, "ana_group\" is 129,", "1..128", PORT NS("{ nsid = 1; device = \"/dev/a\"; ana_group = 129; }") },
	{ 1, "ANA group key \"id\" is 129,", "1..128", "ports = ( { ana_groups = ( { id = 129; } ); } );" },
	{ 1, "this ANA group has no \"state\"", "\"optimized\", \"non-optimized\", \"inaccessible\", \"persistent-loss\", \"change\"", "ports = ( { ana_groups = ( { id = 1; } ); } );" },
	{ 1, "state\" is \"dead\": there is no such choice", "\"inaccessible\"", "ports = ( { ana_groups = ( { id = 1; state = \"dead\"; } ); } );" },
	{ 2, "ANA group 1 is given twice", "remove one", "ports = ( { id = 1; address = \"192.0.2.1\"; ana_groups = ( { id = 1; state = \"optimized\"; },\n{ id = 1; state = \"change\"; } ); } );\n" SUB },
	{ 1, "discovery_nqn\" is \"nqn.2014-08.org.nvmexpress.discovery\": it is the discovery", "nqn.yyyy-mm", "daemon = { discovery_nqn = \"nqn.2014-08.org.nvmexpress.discovery\"; };" },
	{ 2, "subsystem nqn nqn.2024-01.org.example:a is given twice, first at ", "its own nqn", PORT SUB "daemon = { discovery_nqn = \"nqn.2024-01.org.example:a\"; };" },
	{ 1, "control_socket\" is \"control\": it is not an absolute path", "/run/nvmf-p2pd/control", "daemon = { control_socket = \"control\"; };" },
	{ 1, "metrics\" is \"9748\": it is neither a numeric address with a port nor", "[::1]:9748", "daemon = { metrics = \"9748\"; };" },
	{ 1, "metrics\" is \"localhost:9748\": it is neither", "127.0.0.1:9748", "daemon = { metrics = \"localhost:9748\"; };" },
	{ 1, "metrics\" is \"::1:9748\": it is neither", "[::1]:9748", "daemon = { metrics = \"::1:9748\"; };" },
	{ 1, "metrics\" is \"[127.0.0.1]:9748\": it is neither", "127.0.0.1:9748", "daemon = { metrics = \"[127.0.0.1]:9748\"; };" },
	{ 1, "metrics\" is \"[::1]\": it is neither", "[::1]:9748", "daemon = { metrics = \"[::1]\"; };" },
	{ 1, "metrics\" is \"127.0.0.1:\": it is neither", "127.0.0.1:9748", "daemon = { metrics = \"127.0.0.1:\"; };" },
	{ 1, "metrics\" is \"127.0.0.1:0\": it is neither", "127.0.0.1:9748", "daemon = { metrics = \"127.0.0.1:0\"; };" },
	{ 1, "metrics\" is \"127.0.0.1:65536\": it is neither", "127.0.0.1:9748", "daemon = { metrics = \"127.0.0.1:65536\"; };" },
	{ 1, "metrics\" is \"127.0.0.1:97 \": it is neither", "127.0.0.1:9748", "daemon = { metrics = \"127.0.0.1:97 \"; };" },
	{ 1, "metrics\" is \"[fe80::1]:9748\": it is neither", "[::1]:9748", "daemon = { metrics = \"[fe80::1]:9748\"; };" },
	{ 1, "metrics\" is \"]:9748\": it is neither", "[::1]:9748", "daemon = { metrics = \"]:9748\"; };" },
	{ 1, "control_group\" is \"1a\": it starts with a digit", "nvmf-p2pd-readers", "daemon = { control_group = \"1a\"; };" },
	{ 1, "control_group\" is \"a b\": it holds something else", "nvmf-p2pd-readers", "daemon = { control_group = \"a b\"; };" },
	{ 1, "this referral has no \"address\"", "numeric IPv4", "referrals = ( { service = 1; } );" },
	{ 1, "address\" is \"0.0.0.0\": nobody can connect to a wildcard", "numeric", "referrals = ( { address = \"0.0.0.0\"; } );" },
	{ 1, "address\" is \"0::0\": nobody can connect to a wildcard", "numeric", "referrals = ( { address = \"0::0\"; } );" },
	{ 1, "address\" is \"fe80::1%a\": an interface means nothing", "numeric", "referrals = ( { address = \"fe80::1%a\"; } );" },
	{ 1, "address\" is \"host\": it is not a numeric", "numeric", "referrals = ( { address = \"host\"; } );" },
	{ 1, "nqn\" is \"x\": it does not start", "nqn.yyyy-mm", "referrals = ( { nqn = \"x\"; } );" },
	{ 1, "port_id\" is 65536,", "0..65535", "referrals = ( { port_id = 65536; } );" },
	{ 3, "referral \"192.0.2.9\" is to be reached through port 2, which is not defined", "defined are: 1", PORT SUB "referrals = ( { address = \"192.0.2.9\"; ports = ( 2 ); } );" },
	{ 3, "in a referral's ports, id 1 is given twice", "remove one", PORT SUB "referrals = ( { address = \"192.0.2.9\"; ports = ( 1, 1 ); } );" },
	{ 4, "referral 192.0.2.9:4420 nqn.2014-08.org.nvmexpress.discovery is given twice", "remove one", PORT SUB "referrals = ( { address = \"192.0.2.9\"; },\n{ address = \"192.0.2.9\"; } );" },
};

/* What libconfig itself refuses. */
static const struct wrong syntax_errors[] = {
	{ 3, "a key is given twice in one group: id = 2;", "remove one", "ports = ( {\nid = 1;\nid = 2;\n} );" },
	{ 2, "a key is given twice", "remove one", "ports = ( );\nports = ( );" },
	{ 2, "syntax error at: } );", "look here and just before", "ports = ( { id =\n} );" },
	{ 2, "syntax error at: 2", "look here", "ports = ( 1\n2 );" },
	{ 1, "syntax error at: ports ( );", "look here", "ports ( );" },
};
/* clang-format on */

START_TEST(refuses)
{
	const struct wrong *w = &wrongs[_i];

	put("main.conf", w->text);
	refuse_path(main_path, -EINVAL, w->line, w->what, w->fix);
	ck_assert_str_eq(diag.file, main_path);
}
END_TEST

START_TEST(refuses_wrong_syntax)
{
	const struct wrong *w = &syntax_errors[_i];

	put("main.conf", w->text);
	leaks_expected(true);
	refuse_path(main_path, -EINVAL, w->line, w->what, w->fix);
	leaks_expected(false);
}
END_TEST

START_TEST(refuses_a_byte_0)
{
	static const char text[] = PORT "\0" SUB;

	put_bytes("main.conf", text, sizeof(text) - 1);
	refuse_path(main_path, -EINVAL, 2, "the file holds a byte 0", "damaged");
}
END_TEST

/* ---- good files --------------------------------------------------------------------------- */

/* clang-format off */
static const char *const goods[] = {
	PORT SUB,
	PORT SUB "# a comment at the very end, without a newline",
	PORT SUB "// and another",
	"/* @include \"/\" */" PORT SUB "# @include \"/\"\n// @include \"/\"\n/*\n@include \"/\"\n*/",
	PORT NS("{ nsid = 1; device = \"/dev/a\\\" /* # \\\\ @include \"; }"),
	"ports : [ ];" "subsystems = ( );",
	"ports = ( { id = 1; address = \"0.0.0.0\"; service = \"1\"; }, { id = 65535, address = \"::\", service = 65535 } )\r\n" SUB,
	/* the wildcards of one family, and of one service, do not meet the others */
	"ports = ( { id = 1; address = \"0.0.0.0\"; }, { id = 2; address = \"2001:db8::1\"; }, { id = 3; address = \"192.0.2.1\"; service = 7; }, { id = 4; address = \"::\"; service = 7; } );" SUB,
	"ports = ( { id = 0x10; address = \"fe80::1%ib0.8001\"; in_capsule_data = \"0\"; queue_depth = 16; } );" SUB,
	"ports = ( { id = 1; address = \"fe80::1%a\"; }, { id = 2; address = \"fe80::1%b\"; } );" SUB,
	PORT "subsystems = ( { nqn = \"nqn.2024-01.org.example:\" \"joined\"; allowed_hosts = [ " HOST ", \"nqn.2014-08.org.nvmexpress:uuid:\"\n\"0d1c2b3a-4f5e-4678-9abc-def012345678\" ]; ports = [ 1 ]; } );",
	"daemon = { window_size = \"2097148K\"; host_memory = \"1073741824\"; cmb_reserve = \"4096\"; max_transfer = \"8K\"; keep_alive_max_ms = 2147483647; };" PORT SUB,
	PORT "subsystems = ( { nqn = \"" NQN_223 "\"; serial = \"" A20 "\"; model = \" ~\\\"" A20 "\"; allowed_hosts = ( \"" NQN_223 "\" ); } );",
	WITH(""),
	WITH("dhchap_key = \"" KEY_32 "\"; dhchap_ctrl_key = \"" KEY_CTRL "\";"),
	WITH("dhchap_key = \"" KEY_48 "\"; dhchap_hash = ( \"sha512\", \"sha256\" ); dhchap_dhgroup = [ \"ffdhe8192\" ]; dhchap_discovery = true;"),
	PORT NS("{ nsid = 1024; device = \"/a\"; cmb = \"require\"; uuid = \"6F1E0F5C-3F0A-4A35-9D0E-3F7C3F1C2B11\"; }"),
	PORT PASS("passthrough = \"/dev/nvme10\";"),
	PORT PASS("passthrough = \"0000:3f:1f.7\"; passthrough_vendor_admin = true; cmb = \"require\";"),
	PORT NS("{ nsid = 1024; device = \"/a\"; cmb = \"require\"; uuid = \"6F1E0F5C-3F0A-4A35-9D0E-3F7C3F1C2B11\"; ana_group = 128; }"),
	"ports = ( { id = 1; address = \"::\"; ana_groups = ( { id = 1; state = \"change\"; }, { id = 128; state = \"persistent-loss\"; } ); } );" SUB
	"referrals = ( { address = \"192.0.2.9\"; }, { address = \"192.0.2.9\"; service = 1; nqn = \"" NQN_223 "\"; port_id = 65535; ports = ( 1 ); } );"
	"daemon = { discovery_nqn = \"nqn.2024-01.org.example:d\"; control_socket = \"/c\"; metrics = \"off\"; };",
	PORT SUB "daemon = { metrics = \"127.0.0.1:1\"; };", PORT SUB "daemon = { metrics = \"[::1]:65535\"; };",
	PORT SUB "daemon = { metrics = \"0.0.0.0:9748\"; };", PORT SUB "daemon = { metrics = \"[::]:9748\"; };",
	PORT SUB "daemon = { control_group = \"Ad-m_1.x\"; };",
};
/* clang-format on */

static void same_where(const struct config_where *w, const char *file, unsigned int line)
{
	ends_with(w->file, file);
	ck_assert_uint_eq(w->line, line);
}

static void same_text(const char *a, const char *b)
{
	ck_assert_int_eq(!a, !b);
	if (a)
		ck_assert_str_eq(a, b);
}

static void same_port(const struct config_port *a, const struct config_port *b)
{
	ck_assert_uint_eq(a->id, b->id);
	same_text(a->address, b->address);
	same_text(a->service, b->service);
	ck_assert_uint_eq(a->in_capsule_data_len, b->in_capsule_data_len);
	ck_assert_uint_eq(a->queue_depth, b->queue_depth);
	ck_assert_uint_eq(a->nana_groups, b->nana_groups);
	for (size_t i = 0; i < a->nana_groups; i++) {
		ck_assert_uint_eq(a->ana_groups[i].id, b->ana_groups[i].id);
		ck_assert_int_eq(a->ana_groups[i].state, b->ana_groups[i].state);
	}
}

static void same_referral(const struct config_referral *a, const struct config_referral *b)
{
	same_text(a->address, b->address);
	same_text(a->service, b->service);
	same_text(a->nqn, b->nqn);
	ck_assert_uint_eq(a->port_id, b->port_id);
	ck_assert_uint_eq(a->nports, b->nports);
	ck_assert_mem_eq(a->ports, b->ports, a->nports * sizeof(a->ports[0]));
}

static void same_namespace(const struct config_namespace *a, const struct config_namespace *b)
{
	ck_assert_uint_eq(a->nsid, b->nsid);
	same_text(a->device, b->device);
	ck_assert_uint_eq(a->cmb, b->cmb);
	same_text(a->scratch, b->scratch);
	ck_assert_uint_eq(a->nallowed_hosts, b->nallowed_hosts);
	for (size_t i = 0; i < a->nallowed_hosts; i++)
		same_text(a->allowed_hosts[i], b->allowed_hosts[i]);
	ck_assert_int_eq(a->has_uuid, b->has_uuid);
	ck_assert_mem_eq(a->uuid, b->uuid, sizeof(a->uuid));
	same_text(a->nguid, b->nguid);
	same_text(a->eui64, b->eui64);
	ck_assert_uint_eq(a->ana_group, b->ana_group);
}

static void same_passthrough(const struct config_subsystem *a, const struct config_subsystem *b)
{
	same_text(a->passthrough, b->passthrough);
	ck_assert_int_eq(a->passthrough_vendor_admin, b->passthrough_vendor_admin);
	ck_assert_int_eq(a->cmb, b->cmb);
}

static void same_subsystem(const struct config_subsystem *a, const struct config_subsystem *b)
{
	same_text(a->nqn, b->nqn);
	same_text(a->serial, b->serial);
	same_text(a->model, b->model);
	ck_assert_int_eq(a->allow_any_host, b->allow_any_host);
	ck_assert_uint_eq(a->nallowed_hosts, b->nallowed_hosts);
	for (size_t i = 0; i < a->nallowed_hosts; i++)
		same_text(a->allowed_hosts[i], b->allowed_hosts[i]);
	ck_assert_int_eq(a->controller_model, b->controller_model);
	ck_assert_uint_eq(a->cntlid_min, b->cntlid_min);
	ck_assert_uint_eq(a->cntlid_max, b->cntlid_max);
	ck_assert_uint_eq(a->max_controllers, b->max_controllers);
	ck_assert_uint_eq(a->max_queues, b->max_queues);
	ck_assert_uint_eq(a->nports, b->nports);
	for (size_t i = 0; i < a->nports; i++)
		ck_assert_uint_eq(a->ports[i], b->ports[i]);
	ck_assert_uint_eq(a->nnamespaces, b->nnamespaces);
	for (size_t i = 0; i < a->nnamespaces; i++)
		same_namespace(&a->namespaces[i], &b->namespaces[i]);
	same_passthrough(a, b);
}

static void same_key(const struct config_dhchap_key *a, const struct config_dhchap_key *b)
{
	ck_assert_uint_eq(a->len, b->len);
	ck_assert_uint_eq(a->hash, b->hash);
	ck_assert_mem_eq(a->bytes, b->bytes, sizeof(a->bytes));
}

static void same_host(const struct config_host *a, const struct config_host *b)
{
	same_text(a->nqn, b->nqn);
	same_text(a->dhchap_key, b->dhchap_key);
	same_text(a->dhchap_key_file, b->dhchap_key_file);
	same_text(a->dhchap_ctrl_key, b->dhchap_ctrl_key);
	same_text(a->dhchap_ctrl_key_file, b->dhchap_ctrl_key_file);
	ck_assert_int_eq(a->dhchap_discovery, b->dhchap_discovery);
	ck_assert_uint_eq(a->ndhchap_hashes, b->ndhchap_hashes);
	ck_assert_mem_eq(a->dhchap_hashes, b->dhchap_hashes, a->ndhchap_hashes);
	ck_assert_uint_eq(a->ndhchap_dhgroups, b->ndhchap_dhgroups);
	ck_assert_mem_eq(a->dhchap_dhgroups, b->dhchap_dhgroups, a->ndhchap_dhgroups);
	same_key(&a->host_key, &b->host_key);
	same_key(&a->ctrl_key, &b->ctrl_key);
}

static void same_model(const struct config *a, const struct config *b)
{
	ck_assert_uint_eq(a->window_size, b->window_size);
	ck_assert_uint_eq(a->host_memory, b->host_memory);
	ck_assert_uint_eq(a->cmb_cap, b->cmb_cap);
	ck_assert_uint_eq(a->cmb_floor, b->cmb_floor);
	ck_assert_uint_eq(a->host_controllers, b->host_controllers);
	ck_assert_uint_eq(a->host_queues, b->host_queues);
	ck_assert_uint_eq(a->host_queue_memory, b->host_queue_memory);
	ck_assert_uint_eq(a->cmb_chunk, b->cmb_chunk);
	ck_assert_uint_eq(a->cmb_reserve, b->cmb_reserve);
	ck_assert_int_eq(a->cmb_flush, b->cmb_flush);
	ck_assert_uint_eq(a->connection_memory, b->connection_memory);
	ck_assert_uint_eq(a->poll_us, b->poll_us);
	ck_assert_uint_eq(a->max_transfer_len, b->max_transfer_len);
	ck_assert_uint_eq(a->keep_alive_max_ms, b->keep_alive_max_ms);
	ck_assert_str_eq(a->state_dir, b->state_dir);
	ck_assert_uint_eq(a->stop_timeout_ms, b->stop_timeout_ms);
	ck_assert_int_eq(a->core_dumps, b->core_dumps);
	ck_assert_uint_eq(a->nports, b->nports);
	for (size_t i = 0; i < a->nports; i++)
		same_port(&a->ports[i], &b->ports[i]);
	same_text(a->discovery_nqn, b->discovery_nqn);
	same_text(a->control_socket, b->control_socket);
	same_text(a->metrics, b->metrics);
	same_text(a->control_group, b->control_group);
	ck_assert_uint_eq(a->nreferrals, b->nreferrals);
	for (size_t i = 0; i < a->nreferrals; i++)
		same_referral(&a->referrals[i], &b->referrals[i]);
	ck_assert_uint_eq(a->nsubsystems, b->nsubsystems);
	for (size_t i = 0; i < a->nsubsystems; i++)
		same_subsystem(&a->subsystems[i], &b->subsystems[i]);
	ck_assert_uint_eq(a->nhosts, b->nhosts);
	for (size_t i = 0; i < a->nhosts; i++)
		same_host(&a->hosts[i], &b->hosts[i]);
}

/* What config_print() writes, in memory the caller frees. */
static char *print_model(const struct config *c, bool keys)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	config_print(c, f, keys);
	fclose(f);
	return text;
}

static char *printed(const struct config *c)
{
	return print_model(c, true);
}

static void round_trip(const struct config *c)
{
	char *text = printed(c);

	put("printed.conf", text);

	struct config *again = load_good(in_dir("printed.conf"));
	char *text_again = printed(again);

	same_model(c, again);
	ck_assert_str_eq(text, text_again);
	config_free(again);
	free(text_again);
	free(text);
}

START_TEST(loads_and_prints)
{
	struct config *c = NULL;

	put("main.conf", goods[_i]);
	if (strstr(goods[_i], "[ ]")) { /* well-formed, and empty */
		refuse_path(main_path, -EINVAL, 0, "is a port", "add");
		return;
	}
	c = load_good(main_path);
	round_trip(c);
	config_free(c);
}
END_TEST

START_TEST(two_lines_are_enough)
{
	struct config *c = load_good("tests/unit/config/minimal.conf");

	round_trip(c);
	config_free(c);
}
END_TEST

START_TEST(what_is_left_out_has_its_default)
{
	struct config *c = load_text("\n" PORT "\n" NS("{ nsid = 1;\ndevice = \"/dev/a\"; }"));

	ck_assert_uint_eq(c->window_size, UINT64_C(1) << 30);
	ck_assert_uint_eq(c->host_memory, 64 << 20);
	ck_assert_uint_eq(c->cmb_cap, UINT64_C(1) << 40);
	ck_assert_uint_eq(c->cmb_floor, 16 << 20);
	ck_assert_uint_eq(c->cmb_chunk, 4 << 20);
	ck_assert_uint_eq(c->cmb_reserve, 0);
	ck_assert_int_eq(c->cmb_flush, CONFIG_FLUSH_NONE);
	ck_assert_uint_eq(c->connection_memory, 1 << 30);
	ck_assert_uint_eq(c->host_controllers, 1024);
	ck_assert_uint_eq(c->host_queues, 0);
	ck_assert_uint_eq(c->host_queue_memory, 512 << 20);
	ck_assert_uint_eq(c->poll_us, 1000);
	ck_assert_ptr_null(c->subsystems[0].namespaces[0].scratch);
	ck_assert_uint_eq(c->max_transfer_len, 1 << 20);
	ck_assert_uint_eq(c->keep_alive_max_ms, 0);
	ck_assert_str_eq(c->state_dir, "/var/lib/nvmf-p2pd");
	ck_assert_uint_eq(c->stop_timeout_ms, 10000);
	ck_assert(!c->core_dumps);
	ck_assert_uint_eq(c->nports, 1);
	ck_assert_str_eq(c->ports[0].service, "4420");
	ck_assert_uint_eq(c->ports[0].in_capsule_data_len, 4096);
	ck_assert_uint_eq(c->ports[0].queue_depth, 128);
	same_where(&c->ports[0].where, "/main.conf", 2);
	ck_assert_uint_eq(c->nsubsystems, 1);
	same_where(&c->subsystems[0].where, "/main.conf", 4);
	ck_assert_ptr_null(c->subsystems[0].serial);
	ck_assert_ptr_null(c->subsystems[0].model);
	ck_assert_int_eq(c->subsystems[0].controller_model, CONFIG_MODEL_DYNAMIC);
	ck_assert_uint_eq(c->subsystems[0].cntlid_min, 1);
	ck_assert_uint_eq(c->subsystems[0].cntlid_max, 0xffef);
	ck_assert_uint_eq(c->subsystems[0].max_controllers, 0);
	ck_assert_uint_eq(c->subsystems[0].max_queues, 128);
	ck_assert_uint_eq(c->subsystems[0].namespaces[0].nallowed_hosts, 0);
	ck_assert_uint_eq(c->subsystems[0].nports, 1);
	ck_assert_uint_eq(c->subsystems[0].ports[0], 1);
	ck_assert_uint_eq(c->subsystems[0].nnamespaces, 1);
	ck_assert_uint_eq(c->subsystems[0].namespaces[0].cmb, CONFIG_CMB_PREFER);
	ck_assert(!c->subsystems[0].namespaces[0].has_uuid);
	same_where(&c->subsystems[0].namespaces[0].where, "/main.conf", 5);
	config_free(c);
}
END_TEST

START_TEST(what_is_given_is_kept)
{
	struct config *c = load_text(
		"daemon = { window_size = \"1M\"; host_memory = \"1G\"; cmb_reserve = \"8K\";\n"
		"cmb_cap = \"1M\"; cmb_floor = \"0\"; cmb_chunk = \"64K\"; cmb_flush = \"cpu-read\"; poll_us = 0;"
		"connection_memory = \"2M\"; max_transfer = \"65536\"; keep_alive_max_ms = 120000; state_dir = \"/a/b\"; stop_timeout_ms = 60000; core_dumps = true; };\n"
		"ports = ( { id = 9; address = \"fe80::1%ib0\"; service = 20049;\n"
		"in_capsule_data = \"8208\"; queue_depth = 1024; } );\n"
		"subsystems = ( { nqn = \"nqn.2024-01.org.example:\xc3\xa4\"; serial = \"S 1\";\n"
		"model = \"M\"; allowed_hosts = ( " HOST
		" ); ports = ( 9 ); controller_model = \"static\";\n"
		"cntlid_min = 5; cntlid_max = 6; max_controllers = 2; max_queues = 3;"
		"namespaces = ( { nsid = 1024; device = \"/dev/a\"; cmb = \"require\"; scratch = \"/dev/b\"; allowed_hosts = ( " HOST
		" );\n"
		"nguid = \"00112233445566778899AABBCCDDEEFF\"; eui64 = \"0011223344556677\";\n"
		"uuid = \"00112233-4455-6677-8899-AABBCCDDEEFF\"; } ); } );\n");
	static const uint8_t uuid[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	const struct config_subsystem *s = &c->subsystems[0];

	ck_assert_uint_eq(c->window_size, 1 << 20);
	ck_assert_uint_eq(c->host_memory, 1 << 30);
	ck_assert_uint_eq(c->cmb_cap, 1 << 20);
	ck_assert_uint_eq(c->cmb_floor, 0);
	ck_assert_uint_eq(c->cmb_chunk, 65536);
	ck_assert_uint_eq(c->cmb_reserve, 8192);
	ck_assert_int_eq(c->cmb_flush, CONFIG_FLUSH_CPU_READ);
	ck_assert_uint_eq(c->connection_memory, 2 << 20);
	ck_assert_uint_eq(c->poll_us, 0);
	ck_assert_str_eq(s->namespaces[0].scratch, "/dev/b");
	ck_assert_uint_eq(c->max_transfer_len, 65536);
	ck_assert_uint_eq(c->keep_alive_max_ms, 120000);
	ck_assert_str_eq(c->state_dir, "/a/b");
	ck_assert_uint_eq(c->stop_timeout_ms, 60000);
	ck_assert(c->core_dumps);
	ck_assert_uint_eq(c->ports[0].id, 9);
	ck_assert_str_eq(c->ports[0].address, "fe80::1%ib0");
	ck_assert_str_eq(c->ports[0].service, "20049");
	ck_assert_uint_eq(c->ports[0].in_capsule_data_len, 8208);
	ck_assert_uint_eq(c->ports[0].queue_depth, 1024);
	ck_assert_str_eq(s->nqn, "nqn.2024-01.org.example:\xc3\xa4");
	ck_assert_str_eq(s->serial, "S 1");
	ck_assert_str_eq(s->model, "M");
	ck_assert(!s->allow_any_host);
	ck_assert_uint_eq(s->nallowed_hosts, 1);
	ck_assert_str_eq(s->allowed_hosts[0], "nqn.2024-01.org.example:h");
	ck_assert_uint_eq(s->namespaces[0].nsid, 1024);
	ck_assert_int_eq(s->controller_model, CONFIG_MODEL_STATIC);
	ck_assert_uint_eq(s->cntlid_min, 5);
	ck_assert_uint_eq(s->cntlid_max, 6);
	ck_assert_uint_eq(s->max_controllers, 2);
	ck_assert_uint_eq(s->max_queues, 3);
	ck_assert_uint_eq(s->namespaces[0].nallowed_hosts, 1);
	ck_assert_str_eq(s->namespaces[0].allowed_hosts[0], "nqn.2024-01.org.example:h");
	ck_assert_str_eq(s->namespaces[0].device, "/dev/a");
	ck_assert_uint_eq(s->namespaces[0].cmb, CONFIG_CMB_REQUIRE);
	ck_assert(s->namespaces[0].has_uuid);
	ck_assert_mem_eq(s->namespaces[0].uuid, uuid, sizeof(uuid));
	ck_assert_str_eq(s->namespaces[0].nguid, "00112233445566778899AABBCCDDEEFF");
	ck_assert_str_eq(s->namespaces[0].eui64, "0011223344556677");
	config_free(c);
}
END_TEST

START_TEST(namespaces_ascend_and_ports_default_to_all)
{
	struct config *c = load_text("subsystems = ( " SUB_NQN(
		"a") "namespaces = ( { nsid = 30; device = \"/c\"; },\n"
		     "{ nsid = 10; device = \"/a\"; },\n{ nsid = 20; device = \"/b\"; } ); } );\n"
		     "ports = ( { id = 5; address = \"::1\"; }, { id = 3; address = \"::2\"; } );");
	const struct config_subsystem *s = &c->subsystems[0];

	ck_assert_uint_eq(s->nnamespaces, 3);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_uint_eq(s->namespaces[i].nsid, (i + 1) * 10);
		ck_assert_int_eq(s->namespaces[i].device[1], "abc"[i]);
		same_where(&s->namespaces[i].where, "/main.conf", i == 2 ? 1 : i + 2);
	}
	ck_assert_uint_eq(s->nports, 2);
	ck_assert_uint_eq(s->ports[0], 5);
	ck_assert_uint_eq(s->ports[1], 3);
	config_free(c);
}
END_TEST

/* ---- the example -------------------------------------------------------------------------- */

#define EXAMPLE "config/example.conf"

START_TEST(the_example_loads)
{
	struct config *c = load_good(EXAMPLE);
	struct config *plain = load_text(PORT SUB);

	round_trip(c);
	/* its daemon group shows the defaults */
	ck_assert_uint_eq(c->window_size, plain->window_size);
	ck_assert_uint_eq(c->host_memory, plain->host_memory);
	ck_assert_uint_eq(c->cmb_reserve, plain->cmb_reserve);
	ck_assert_uint_eq(c->max_transfer_len, plain->max_transfer_len);
	ck_assert_uint_eq(c->keep_alive_max_ms, plain->keep_alive_max_ms);
	config_free(plain);
	config_free(c);
}
END_TEST

static void shows_keys(const char *text, const struct group *g)
{
	for (size_t i = 0; i < g->nkeys; i++) {
		char assignment[64];

		snprintf(assignment, sizeof(assignment), " %s = ", g->keys[i].name);
		if (g == &group_file)
			assignment[0] = '\n';
		ck_assert_msg(strstr(text, assignment), "%s lacks%s", EXAMPLE, assignment);
		if (g->keys[i].group)
			shows_keys(text, g->keys[i].group);
	}
}

START_TEST(the_example_shows_every_key)
{
	size_t len;
	char *text = slurp(EXAMPLE, &len);

	shows_keys(text, &group_file);
	free(text);
}
END_TEST

/* ---- keys of hosts ------------------------------------------------------------------------ */

#define BASE "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR"
#define REST ":00:" BASE ":"

static unsigned int line_in(const char *text, const char *what)
{
	const char *end = strstr(text, what);
	unsigned int line = 1;

	ck_assert_ptr_nonnull(end);
	for (; text < end; text++)
		line += *text == '\n';
	return line;
}

static const struct key_row {
	const char *text;
	uint8_t len, hash;
	const char *wrong; /* NULL: it is good */
} key_rows[] = {
	{ KEY_32, 32, 0, NULL },
	{ KEY_48, 48, 2, NULL },
	{ KEY_64, 64, 3, NULL },
	{ KEY_CTRL, 32, 1, NULL },
	{ "", 0, 0, "does not start" },
	{ "DHHC-", 0, 0, "does not start" },
	{ "DHHC-2" REST, 0, 0, "does not start" },
	{ "dhhc-1" REST, 0, 0, "does not start" },
	{ "DHHC-1:", 0, 0, "no hash" },
	{ "DHHC-1:0", 0, 0, "no hash" },
	/* 10 */
	{ "DHHC-1:04:" BASE ":", 0, 0, "no hash" },
	{ "DHHC-1:10:" BASE ":", 0, 0, "no hash" },
	{ "DHHC-1:0:" BASE ":", 0, 0, "no hash" },
	{ "DHHC-1:00:" BASE, 0, 0, "does not end" },
	{ "DHHC-1:00:" BASE ":x", 0, 0, "does not end" },
	{ "DHHC-1:00:" BASE "::", 0, 0, "does not end" },
	{ "DHHC-1:00::", 0, 0, "no base64" },
	{ "DHHC-1:00:AAA:", 0, 0, "no base64" },
	{ "DHHC-1:00:" BASE "A:", 0, 0, "no base64" },
	{ "DHHC-1:00: " BASE "AAA:", 0, 0, "no base64" },
	/* 20 */
	{ "DHHC-1:00:" BASE "=AAA:", 0, 0, "no base64" },
	{ "DHHC-1:00:" BASE BASE ":", 0, 0, "no base64" },
	{ "DHHC-1:00:AA==:", 0, 0, "not 32, 48 or 64" },
	{ "DHHC-1:00:AB==:", 0, 0, "no base64" },
	{ "DHHC-1:00:" BASE "AAAA:", 0, 0, "not 32, 48 or 64" },
	{ "DHHC-1:00:====:", 0, 0, "no base64" },
	{ "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KAiaR:", 0, 0, "checksum" },
	/* one that nvme-cli made, from libnvme's issue 1087 */
	{ "DHHC-1:00:I5cApohpALDlFqz+gGwbq4PYTwFznfHwzjn6nFBZc7uc7QhK:", 32, 0, NULL },
};

START_TEST(keys_as_text)
{
	const struct key_row *row = &key_rows[_i];
	struct config_dhchap_key k = { .len = 7 };
	const char *why = config_dhchap_key(row->text, &k);

	ck_assert_int_eq(!why, !row->wrong);
	if (why) {
		ck_assert_msg(strstr(why, row->wrong), "%s", why);
		ck_assert_uint_eq(k.len, 7);
		return;
	}
	ck_assert_uint_eq(k.len, row->len);
	ck_assert_uint_eq(k.hash, row->hash);
	for (unsigned int i = 0; i < 64 && strcmp(row->text, KEY_64) == 0; i++)
		ck_assert_uint_eq(k.bytes[i], i);
}
END_TEST

START_TEST(keys_are_not_printed_unasked)
{
	struct config *c =
		load_text(WITH("dhchap_key = \"" KEY_32 "\"; dhchap_ctrl_key = \"" KEY_CTRL "\";"));
	char *text = print_model(c, false);

	ck_assert_ptr_null(strstr(text, "AAEC"));
	ck_assert_ptr_null(strstr(text, "ICEi"));
	/* a host that needs no key is not what comes of it */
	put("main.conf", text);
	refuse_path(main_path, -EINVAL, line_in(text, "dhchap_key"), "host key \"dhchap_key\"",
		    "makes it");
	free(text);
	config_free(c);
}
END_TEST

/* A key with something wrong near it, or in a wrong place. */
static const struct keys_misplaced {
	unsigned int line;
	const char *what, *text;
} keys_misplaced[] = {
	{ 4, "syntax error", WITH("dhchap_key = \"" KEY_32 "\" = \"" KEY_CTRL "\";") },
	{ 4, "syntax error at: dhchap_key = ...", WITH("dhchap_key = DHHC-AAECAwQFBgcI;") },
	{ 4, "syntax error at: dhchap_key = ...", WITH("dhchap_key = DHC-AAECAwQFBgcI;") },
	{ 4, "syntax error at: dhchap_ctrl_key: ...", WITH("dhchap_ctrl_key: AAECAwQFBgcI=:") },
	{ 4, "given twice", WITH("dhchap_key = \"a\"; dhchap_key = \"" KEY_32 "\";") },
	{ 4, "is \"...\": it is not an absolute path", WITH("dhchap_key_file = \"" KEY_32 "\";") },
	{ 4, "holds \"...\": there is no", WITH("dhchap_hash = ( \"" KEY_32 "\" );") },
	{ 1, "address\" is \"...\"", "ports = ( { id = 1; address = \"" KEY_32 "\"; } );" },
	{ 1, "is \"dhhc", "ports = ( { id = 1; address = \"dhhc\"; } );" },
	{ 1, "is \"a...\"", "ports = ( { id = 1; address = \"adhhc-1:00:AAECAwQF\"; } );" },
	{ 1, "is the text \"...\"", "daemon = { poll_us = \"" KEY_32 "\"; };" },
};

START_TEST(no_key_is_quoted_in_an_error)
{
	const struct keys_misplaced *k = &keys_misplaced[_i];

	put("main.conf", k->text);
	refuse_path(main_path, -EINVAL, k->line, k->what, "");
	ck_assert_ptr_null(strstr(diag.what, "AAEC"));
	ck_assert_ptr_null(strstr(diag.fix, "AAEC"));
}
END_TEST

static const struct key_file {
	mode_t mode;
	uid_t owner;
	const char *text;
	const char *wrong; /* NULL: it is good */
	const char *fix;
} key_files[] = {
	{ 0600, 0, KEY_32 "\n", NULL, NULL },
	{ 0400, 0, KEY_32, NULL, NULL },
	{ 0700, 0, KEY_32 " \r\n\n", NULL, NULL },
	{ 0640, 0, KEY_32, "others than its owner", "chmod 600" },
	{ 0604, 0, KEY_32, "others than its owner", "chmod 600" },
	{ 0620, 0, KEY_32, "others than its owner", "chmod 600" },
	{ 0601, 0, KEY_32, "others than its owner", "chmod 600" },
	{ 0600, 12345, KEY_32, "belongs to user 12345", "give it to root" },
	{ 0600, 0, "", "holds no key: it does not start", "one line" },
	{ 0600, 0, "# the key\n" KEY_32, "holds no key: it does not start", "one line" },
	{ 0600, 0, KEY_32 "\n" KEY_32, "holds no key: it does not end", "one line" },
	{ 0600, 0, A199 A199, "holds no key", "one line" },
};

START_TEST(keys_in_files)
{
	const struct key_file *row = &key_files[_i];
	char text[1024];
	struct config *c;

	if (row->owner && geteuid() != 0)
		return; /* nobody else can give a file away */
	put("key", row->text);
	ck_assert_int_eq(chmod(in_dir("key"), row->mode), 0);
	if (row->owner)
		ck_assert_int_eq(chown(in_dir("key"), row->owner, (gid_t)-1), 0);
	snprintf(text, sizeof(text), WITH("dhchap_key_file = \"%s\";"), in_dir("key"));
	put("main.conf", text);
	if (row->wrong) {
		ck_assert_int_eq(load_path(main_path, &c), -EINVAL);
		ends_with(diag.file, "/key");
		expect_diag(strstr(row->wrong, "no key") ? 1 : 0, row->wrong, row->fix);
		ck_assert_ptr_null(strstr(diag.what, "AAEC"));
		return;
	}
	c = load_good(main_path);
	ck_assert_uint_eq(c->hosts[0].host_key.len, 32);
	ck_assert_uint_eq(c->hosts[0].host_key.bytes[31], 31);
	round_trip(c);
	ck_assert_ptr_eq(config_host(c, "nqn.2024-01.org.example:h"), &c->hosts[0]);
	ck_assert_ptr_null(config_host(c, "nqn.2024-01.org.example:H"));
	config_free(c);
}
END_TEST

START_TEST(a_key_file_is_no_link_nor_folder_nor_fifo)
{
	char text[1024];
	struct config *c;

	put("real", KEY_32);
	ck_assert_int_eq(chmod(in_dir("real"), 0600), 0);
	ck_assert_int_eq(symlink("real", in_dir("key")), 0);
	snprintf(text, sizeof(text), WITH("dhchap_key_file = \"%s\";"), in_dir("key"));
	put("main.conf", text);
	ck_assert_int_eq(load_path(main_path, &c), -EINVAL);
	expect_diag(0, "it is a symbolic link", "check the path");
	unlink(in_dir("key"));
	ck_assert_int_eq(load_path(main_path, &c), -ENOENT);
	expect_diag(0, "cannot be read: No such file", "check the path");
	put_folder("key");
	ck_assert_int_eq(load_path(main_path, &c), -EINVAL);
	expect_diag(0, "is no regular file", "give a regular file");
	rmdir(in_dir("key"));
	ck_assert_int_eq(mkfifo(in_dir("key"), 0600), 0);
	ck_assert_int_eq(load_path(main_path, &c), -EINVAL);
	expect_diag(0, "is no regular file", "give a regular file");
}
END_TEST

/* ---- the tables --------------------------------------------------------------------------- */

static void check_row(const struct group *g, const struct key *k)
{
	ck_assert_msg(k->name && k->help, "%s: a row without name or help", g->name);
	ck_assert_ptr_eq(key_find(g, k->name), k);
	ck_assert_ptr_eq(key_nearest(g, k->name), k);
	ck_assert_msg(k->off < g->size, "%s", k->name);
	ck_assert_msg(allowed(k).text[0], "%s", k->name);
	if (k->type == KEY_SIZE || k->type == KEY_INT) {
		ck_assert_msg(k->required || (k->dflt >= k->min && k->dflt <= k->max), "%s",
			      k->name);
		ck_assert_msg(k->size == 8 || k->max >> (8 * k->size) == 0, "%s", k->name);
	}
	ck_assert_msg((k->type == KEY_GROUP || k->type == KEY_GROUPS) == (k->group != NULL), "%s",
		      k->name);
}

static void check_rows(const struct group *g)
{
	for (size_t i = 0; i < g->nkeys; i++) {
		check_row(g, &g->keys[i]);
		if (g->keys[i].group)
			check_rows(g->keys[i].group);
	}
}

START_TEST(every_row_is_sound)
{
	check_rows(&group_file);
}
END_TEST

/* ---- rules for texts ---------------------------------------------------------------------- */

static const struct text_rule {
	const char *(*wrong)(const char *text);
	bool good;
	const char *text;
} text_rules[] = {
	/* 0 */
	{ nqn_wrong, true, "nqn.2024-01.org.example:a" },
	{ nqn_wrong, true, "nqn.1994-12.com:a" },
	{ nqn_wrong, true, "nqn.2024-01.org.exa-mple.x1:a:b c/\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ nqn_wrong, true, "nqn.2014-08.org.nvmexpress:uuid:0d1c2b3a-4f5e-4678-9abc-def012345678" },
	{ nqn_wrong, true, "nqn.2014-08.org.nvmexpress:uuid:0D1C2B3A-4F5E-4678-9ABC-DEF012345678" },
	{ nqn_wrong, true, "nqn.2014-08.org.nvmexpress:NVMf:uuid:0d1c" },
	{ nqn_wrong, false, "nqn.2014-08.org.nvmexpress:uuid:0d1c2b3a-4f5e-4678-9abc-def01234567" },
	{ nqn_wrong, false,
	  "nqn.2014-08.org.nvmexpress:uuid:0d1c2b3a-4f5e-4678-9abc-def0123456789" },
	{ nqn_wrong, false,
	  "nqn.2014-08.org.nvmexpress:uuid:0d1c2b3a+4f5e-4678-9abc-def012345678" },
	{ nqn_wrong, false,
	  "nqn.2014-08.org.nvmexpress:uuid:gd1c2b3a-4f5e-4678-9abc-def012345678" },
	/* 10 */
	{ nqn_wrong, false, "nqn.2014-08.org.nvmexpress:uuid:" },
	{ nqn_wrong, false, "nqn.2014-08.org.nvmexpress.discovery" },
	{ nqn_wrong, false, "" },
	{ nqn_wrong, false, "nqn." },
	{ nqn_wrong, false, "NQN.2024-01.org.example:a" },
	{ nqn_wrong, false, "nqn.2024-1.org.example:a" },
	{ nqn_wrong, false, "nqn.2024-00.org.example:a" },
	{ nqn_wrong, false, "nqn.2024-13.org.example:a" },
	{ nqn_wrong, false, "nqn.202a-01.org.example:a" },
	{ nqn_wrong, false, "nqn.2024-01org.example:a" },
	/* 20 */
	{ nqn_wrong, false, "nqn.2024-01." },
	{ nqn_wrong, false, "nqn.2024-01.:a" },
	{ nqn_wrong, false, "nqn.2024-01.org..example:a" },
	{ nqn_wrong, false, "nqn.2024-01..org:a" },
	{ nqn_wrong, false, "nqn.2024-01.org.:a" },
	{ nqn_wrong, false, "nqn.2024-01.org.ex ample:a" },
	{ nqn_wrong, false, "nqn.2024-01.org.example" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:a\x7f" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:a\xc2\x85" },
	/* 30: UTF-8 */
	{ nqn_wrong, false, "nqn.2024-01.org.example:\x80" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xc0\xaf" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xc3" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xe0\x80\xaf" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xed\xa0\x80" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xe2\x80\xa8" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xe2\x82" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xf0\x80\x80\x80" },
	{ nqn_wrong, false, "nqn.2024-01.org.example:\xf4\x90\x80\x80" },
	{ nqn_wrong, true, "nqn.2024-01.org.example:\xf4\x8f\xbf\xbf\xed\x9f\xbf\xc2\xa0" },
	/* 40 */
	{ subsystem_nqn_wrong, true, "nqn.2024-01.org.example:a" },
	{ subsystem_nqn_wrong, false, "nqn.2014-08.org.nvmexpress.discovery" },
	{ controller_wrong, true, "/dev/nvme0" },
	{ controller_wrong, true, "0000:03:00.0" },
	{ controller_wrong, true, "ffff:e1:1f.7" },
	{ controller_wrong, false, "0000:03:00.0 " },
	{ controller_wrong, false, "0000:03:00." },
	{ controller_wrong, false, "03:00.0" },
	{ controller_wrong, false, "0000:03:00,0" },
	{ controller_wrong, false, "0000:0G:00.0" },
	{ controller_wrong, false, "0000:0A:00.0" },
	{ controller_wrong, false, "/dev/" },
	{ controller_wrong, false, "" },
	{ address_wrong, true, "0.0.0.0" },
	{ address_wrong, true, "::" },
	{ address_wrong, true, "::ffff:192.0.2.1" },
	{ address_wrong, true, "2001:0db8:0000:0000:0000:ffff:255.255.255.255" },
	{ address_wrong, true, "fe80::1%enp1s0f0np0" },
	{ address_wrong, false, "fe80::1" },
	{ address_wrong, false, "fe80::1%" },
	{ address_wrong, false, "fe80::1%sixteen-letters-" },
	/* 50 */
	{ address_wrong, false, "fe80::1%a b" },
	{ address_wrong, false, "fe80::1%a%b" },
	{ address_wrong, false, "fe80::1%\xc3\xa4" },
	{ address_wrong, false, "2001:db8::1%eth0" },
	{ address_wrong, false, "192.0.2.1%eth0" },
	{ address_wrong, false, "192.0.2" },
	{ address_wrong, false, "192.0.2.256" },
	{ address_wrong, false, "192.0.2.1:4420" },
	{ address_wrong, false, "[::1]" },
	{ address_wrong, false, "localhost" },
	/* 60 */
	{ address_wrong, false, "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000" },
	{ address_wrong, false, "" },
	{ device_wrong, true, "/dev/disk/by-id/nvme-eui.0025385b71b0e6f1" },
	{ device_wrong, true, "/dev/..a/.b./..." },
	{ device_wrong, false, "dev/nvme0n1" },
	{ device_wrong, false, "/" },
	{ device_wrong, false, "/dev//nvme0n1" },
	{ device_wrong, false, "/dev/./nvme0n1" },
	{ device_wrong, false, "/dev/.." },
	{ device_wrong, false, "/dev/." },
	/* 70 */
	{ device_wrong, false, "/dev/a\tb" },
	{ ascii_wrong, true, " !~" },
	{ ascii_wrong, false, "\x1f" },
	{ ascii_wrong, false, "\x7f" },
	{ ascii_wrong, false, "\xc3\xa4" },
};

START_TEST(rules_for_texts)
{
	const struct text_rule *r = &text_rules[_i];
	const char *why = r->wrong(r->text);

	ck_assert_msg(!why == r->good, "%s: %s", r->text, why ? why : "was taken");
}
END_TEST

static const struct size_row {
	const char *text;
	uint64_t bytes;
	bool good;
	const char *plain; /* as printed; NULL: as read */
} sizes[] = {
	{ "0", 0, true, NULL },
	{ "1", 1, true, NULL },
	{ "4096", 4096, true, "4K" },
	{ "1023K", 1023 << 10, true, NULL },
	{ "1024K", 1 << 20, true, "1M" },
	{ "2T", UINT64_C(2) << 40, true, NULL },
	{ "1024T", UINT64_C(1) << 50, true, NULL },
	{ "18446744073709551615", UINT64_MAX, true, NULL },
	{ "18446744073709551616", 0, false, NULL },
	{ "16777216T", 0, false, NULL },
	{ "", 0, false, NULL },
	{ "K", 0, false, NULL },
	{ " 1K", 0, false, NULL },
	{ "1 K", 0, false, NULL },
	{ "1K ", 0, false, NULL },
	{ "1KB", 0, false, NULL },
	{ "1k", 0, false, NULL },
	{ "+1", 0, false, NULL },
	{ "0x10", 0, false, NULL },
	{ "1.5G", 0, false, NULL },
};

START_TEST(sizes_with_units)
{
	const struct size_row *r = &sizes[_i];
	uint64_t bytes = 0;

	ck_assert_int_eq(size_parse(r->text, &bytes), r->good);
	if (r->good) {
		ck_assert_uint_eq(bytes, r->bytes);
		ck_assert_str_eq(size_print(bytes).text, r->plain ? r->plain : r->text);
	}
}
END_TEST

/* ---- exports.d ---------------------------------------------------------------------------- */

#define MERGE "tests/unit/config/merge"

START_TEST(exports_add_up_in_the_order_of_their_names)
{
	struct config *c = load_good(MERGE "/main.conf");

	ck_assert_uint_eq(c->max_transfer_len, 256 << 10);
	ck_assert_uint_eq(c->nports, 2);
	ck_assert_uint_eq(c->nsubsystems, 3);
	ck_assert_str_eq(c->subsystems[0].nqn, "nqn.2024-01.org.example:first");
	ck_assert_str_eq(c->subsystems[1].nqn, "nqn.2024-01.org.example:second");
	ck_assert_str_eq(c->subsystems[2].nqn, "nqn.2024-01.org.example:third");
	ck_assert_str_eq(c->subsystems[2].where.file, MERGE "/exports.d/9-third.conf");
	ck_assert_uint_eq(c->subsystems[2].where.line, 2);
	ck_assert_uint_eq(c->subsystems[2].namespaces[0].nsid, 3);
	round_trip(c);
	config_free(c);
}
END_TEST

START_TEST(other_things_in_exports_are_passed_over)
{
	put("main.conf", PORT SUB);
	put_folder("exports.d");
	put("exports.d/a.conf.bak", "rubbish");
	put("exports.d/.a.conf", "rubbish");
	put("exports.d/aconf", "rubbish");
	put("exports.d/.conf", "rubbish");
	config_free(load_good(main_path));

	/* links count as what they lead to */
	put("elsewhere", "subsystems = ( " SUB_NQN("b") "} );");
	ck_assert_int_eq(symlink("../elsewhere", in_dir("exports.d/b.conf")), 0);

	struct config *c = load_good(main_path);

	ck_assert_uint_eq(c->nsubsystems, 2);
	config_free(c);

	ck_assert_int_eq(unlink(in_dir("elsewhere")), 0);
	refuse_path(main_path, -ENOENT, 0, "cannot be read: No such file", "check the path");
	ends_with(diag.file, "/exports.d/b.conf");
}
END_TEST

/* Somebody meant it to be read. */
START_TEST(a_folder_or_fifo_in_exports_is_refused)
{
	put("main.conf", PORT SUB);
	put_folder("exports.d");
	put_folder("exports.d/x.conf");
	refuse_path(main_path, -EINVAL, 0, "is a folder", "regular file");
	ends_with(diag.file, "/exports.d/x.conf");
	ck_assert_int_eq(rmdir(in_dir("exports.d/x.conf")), 0);
	ck_assert_int_eq(mkfifo(in_dir("exports.d/x.conf"), 0600), 0);
	refuse_path(main_path, -EINVAL, 0, "is no regular file", "give a regular file");
}
END_TEST

START_TEST(errors_in_exports_name_file_and_line)
{
	char line[1024] = "";
	char cwd[4096];
	FILE *f = fmemopen(line, sizeof(line), "w");

	put("main.conf", PORT SUB);
	put_folder("exports.d");
	put("exports.d/a.conf", "\n\n\n\n\n\n\n\n\n\n" NS("{ nsdi = 1; }"));
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	ck_assert_int_eq(chdir(dir), 0);
	refuse_path("main.conf", -EINVAL, 12, "nsdi", "nsid");
	ck_assert_int_eq(chdir(cwd), 0);

	config_diag_print(&diag, f);
	fclose(f);
	ck_assert_str_eq(line, "exports.d/a.conf:12: namespace key \"nsdi\" is unknown; "
			       "did you mean \"nsid\"?\n");
}
END_TEST

START_TEST(a_diag_without_line_or_fix_prints_well)
{
	static const struct config_diag bare = { .file = "a", .what = "b" };
	char line[64] = "";
	FILE *f = fmemopen(line, sizeof(line), "w");

	config_diag_print(&bare, f);
	fclose(f);
	ck_assert_str_eq(line, "a: b\n");
}
END_TEST

START_TEST(the_daemon_is_set_in_the_main_file_only)
{
	put("main.conf", PORT SUB);
	put_folder("exports.d");
	put("exports.d/a.conf", "\ndaemon = { };");
	refuse_path(main_path, -EINVAL, 2, "\"daemon\" stands in exports.d", "main file");
	ends_with(diag.file, "/exports.d/a.conf");
}
END_TEST

START_TEST(clashes_between_files_name_both)
{
	put("main.conf", PORT SUB);
	put_folder("exports.d");
	put("exports.d/a.conf", "\n\n" SUB);
	refuse_path(main_path, -EINVAL, 3, "/main.conf:2", "its own nqn");
	ck_assert_ptr_nonnull(strstr(diag.what, "nqn.2024-01.org.example:a is given twice"));
	ends_with(diag.file, "/exports.d/a.conf");
}
END_TEST

START_TEST(exports_may_not_include_either)
{
	put("main.conf", PORT SUB);
	put_folder("exports.d");
	put("exports.d/a.conf", "@include \"/\"\n");
	refuse_path(main_path, -EINVAL, 1, "@include is not supported", "exports.d");
}
END_TEST

START_TEST(exports_that_is_no_folder)
{
	put("main.conf", PORT SUB);
	put("exports.d", "");
	refuse_path(main_path, -ENOTDIR, 0, "cannot be read: Not a directory", "check the path");
	ends_with(diag.file, "/exports.d");
}
END_TEST

/* ---- files that are none ------------------------------------------------------------------ */

START_TEST(a_folder_for_a_file)
{
	refuse_path(dir, -EINVAL, 0, "is a folder", "regular file");
	refuse_path("/", -EINVAL, 0, "is a folder", "regular file");
	refuse_path("/dev/null", -EINVAL, 0, "is no regular file", "regular file");
}
END_TEST

START_TEST(a_fifo_for_a_file)
{
	ck_assert_int_eq(mkfifo(main_path, 0600), 0);
	refuse_path(main_path, -EINVAL, 0, "is no regular file", "regular file");
}
END_TEST

START_TEST(no_file)
{
	refuse_path(main_path, -ENOENT, 0, "cannot be read: No such file", "check the path");
	refuse_path("", -ENOENT, 0, "cannot be read: No such file", "check the path");
}
END_TEST

/* Root may read anything; leave that aside for one load. */
static void refuse_as_nobody(const char *path)
{
	uid_t uid = geteuid();

	if (uid == 0)
		ck_assert_int_eq(seteuid(65534), 0);
	refuse_path(path, -EACCES, 0, "cannot be read: Permission denied", "who may read it");
	if (uid == 0) {
		ck_assert_int_eq(seteuid(0), 0);
		(void)prctl(PR_SET_DUMPABLE, 1); /* LeakSanitizer attaches to us */
	}
}

START_TEST(files_that_may_not_be_read)
{
	put("main.conf", PORT SUB);
	put_folder("exports.d");
	put("exports.d/a.conf", SUB);
	ck_assert_int_eq(chmod(in_dir("exports.d/a.conf"), 0), 0);
	refuse_as_nobody(main_path);
	ends_with(diag.file, "/exports.d/a.conf");

	ck_assert_int_eq(chmod(in_dir("exports.d"), 0), 0);
	refuse_as_nobody(main_path);
	ends_with(diag.file, "/exports.d");

	ck_assert_int_eq(chmod(main_path, 0), 0);
	refuse_as_nobody(main_path);
	ends_with(diag.file, "/main.conf");
	ck_assert_int_eq(chmod(in_dir("exports.d"), 0755), 0);
}
END_TEST

START_TEST(at_most_one_mebibyte)
{
	static char text[(1 << 20) + 1];
	size_t len = strlen(PORT SUB);

	memcpy(text, PORT SUB, len);
	memset(text + len, '\n', sizeof(text) - len);
	put_bytes("main.conf", text, sizeof(text) - 1);
	config_free(load_good(main_path));
	put_bytes("main.conf", text, sizeof(text));
	refuse_path(main_path, -EINVAL, 0, "larger than 1 MiB", "exports.d");
}
END_TEST

START_TEST(long_paths_keep_their_end)
{
	char path[1000];

	memset(path, 'x', sizeof(path));
	for (size_t i = 0; i < sizeof(path); i += 50)
		path[i] = '/';
	strcpy(path + sizeof(path) - 6, ".conf");
	refuse_path(path, -ENOENT, 0, "No such file", "");
	ck_assert_int_eq(strncmp(diag.file, ".../", 3), 0);
	ends_with(diag.file, "x.conf");
}
END_TEST

START_TEST(free_of_nothing)
{
	config_free(NULL);
}
END_TEST

/* ---- no memory ---------------------------------------------------------------------------- */

START_TEST(without_memory_nothing_leaks)
{
	struct config *c = NULL;
	unsigned int n = 0;
	int err;

	do {
		ck_assert_uint_lt(n, 10000);
		fail_at = ++n;
		err = load_path(EXAMPLE, &c);
		ck_assert_msg(err == 0 || err == -ENOMEM, "allocation %u: %d", n, err);
		if (err)
			ck_assert_ptr_nonnull(strstr(diag.what, "out of memory"));
	} while (err);
	fail_at = 0;
	ck_assert_uint_gt(n, 30);
	config_free(c);
}
END_TEST

/* ---- mutations ---------------------------------------------------------------------------- */

#define MUTATIONS 6000

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % n;
}

/* clang-format off */
static const char *const dictionary[] = {
	"\n@include \"/\"\n", "@include \"/tmp\"", "/*", "*/", "//", "#", "\"", "\\", "\\\"",
	"\\x00", "\\xff", "\n", "\r", "\f", "{", "}", "(", ")", "[", "]", ",", ";", "=", ":",
	"-", "*", "@", "a", "0", "99999999999", "0x", "1.5", "true", "false", "\"64K\"", "( )",
	"{ }", "nsid = 1;", "ports = ( 1 );", "\" \"", "\"\"", "\xff", "\xc3\xa4",
	"allow_any_host = true;",
};
/* clang-format on */

struct text {
	char bytes[1 << 16];
	size_t len;
};

static void replace(struct text *t, size_t at, size_t drop, const char *add, size_t add_len)
{
	if (drop > t->len - at)
		drop = t->len - at;
	if (t->len - drop + add_len >= sizeof(t->bytes))
		return;
	memmove(t->bytes + at + add_len, t->bytes + at + drop, t->len - at - drop);
	memcpy(t->bytes + at, add, add_len);
	t->len += add_len - drop;
	t->bytes[t->len] = '\0';
}

static void mutate(struct text *t)
{
	size_t at = random_below((uint32_t)t->len + 1);
	const char *word;
	char byte;

	switch (random_below(5)) {
	case 0: /* one byte changes */
		byte = (char)random_below(256);
		replace(t, at, 1, &byte, 1);
		break;
	case 1: /* a piece goes */
		replace(t, at, 1 + random_below(random_below(8) ? 8 : 2000), "", 0);
		break;
	case 2: /* a piece appears again elsewhere */ {
		char piece[200];
		size_t from = random_below((uint32_t)t->len + 1);
		size_t len = random_below(sizeof(piece));

		if (len > t->len - from)
			len = t->len - from;
		memcpy(piece, t->bytes + from, len);
		replace(t, at, 0, piece, len);
		break;
	}
	default: /* a word of the language appears */
		word = dictionary[random_below(sizeof(dictionary) / sizeof(dictionary[0]))];
		replace(t, at, random_below(2) ? strlen(word) : 0, word, strlen(word));
	}
}

static size_t count_strings(const config_setting_t *s)
{
	size_t n = config_setting_type(s) == CONFIG_TYPE_STRING;

	if (config_setting_is_aggregate(s))
		for (int i = 0; i < config_setting_length(s); i++)
			n += count_strings(config_setting_get_elem(s, (unsigned int)i));
	return n;
}

/*
 * What scan_text() lets through must not make libconfig exit(), and the two must count the same
 * texts. Return: whether libconfig takes it.
 */
static bool libconfig_takes(struct text *t)
{
	struct scan_strings strings;
	void *arena = NULL;
	config_t c;
	bool takes = false;

	replace(t, t->len, 0, "\n", 1); /* as config_load() does */
	if (scan_text("mutated", t->bytes, t->len, &arena, &strings, &diag) == 0) {
		leaks_expected(true);
		config_init(&c);
		takes = config_read_string(&c, t->bytes) == CONFIG_TRUE;
		if (takes)
			ck_assert_uint_eq(count_strings(config_root_setting(&c)), strings.n);
		config_destroy(&c);
		leaks_expected(false);
	}
	arena_free(&arena);
	return takes;
}

static bool load_mutated(struct text *t)
{
	struct config *c;
	int err;

	put_bytes("main.conf", t->bytes, t->len);

	bool takes = libconfig_takes(t);

	leaks_expected(!takes);
	err = load_path(main_path, &c);
	leaks_expected(false);
	ck_assert_msg(err == 0 || err == -EINVAL, "%d", err);
	if (err)
		return false;
	ck_assert(takes);
	round_trip(c);
	config_free(c);
	return true;
}

START_TEST(mutated_files_do_no_harm)
{
	static struct text original, t;
	unsigned int loaded = 0;
	char *text = slurp(EXAMPLE, &original.len);

	memcpy(original.bytes, text, original.len);
	free(text);
	random_state = UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)_i + 1);
	for (unsigned int i = 0; i < MUTATIONS / 4; i++) {
		t = original;
		for (unsigned int n = 1 + random_below(4); n; n--)
			mutate(&t);
		loaded += load_mutated(&t);
	}
	ck_assert_uint_gt(loaded,
			  MUTATIONS / 4 / 20); /* comments were hit, or nothing that matters */
	ck_assert_uint_lt(loaded, MUTATIONS / 4);
}
END_TEST

START_TEST(garbage_does_no_harm)
{
	static struct text t;

	random_state = 42;
	for (unsigned int i = 0; i < 1000; i++) {
		t.len = random_below(300);
		for (size_t j = 0; j < t.len; j++)
			t.bytes[j] = (char)random_below(256);
		t.bytes[t.len] = '\0';
		(void)load_mutated(&t);

		t.len = 0;
		for (unsigned int j = random_below(60); j; j--) {
			const char *word = dictionary[random_below(sizeof(dictionary) /
								   sizeof(dictionary[0]))];

			replace(&t, t.len, 0, word, strlen(word));
		}
		(void)load_mutated(&t);
	}
}
END_TEST

/* ------------------------------------------------------------------------------------------- */

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static TCase *tcase(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	suite_add_tcase(s, tc);
	return tc;
}

static void add_texts(Suite *s)
{
	TCase *tc = tcase(s, "files");

	tcase_add_loop_test(tc, refuses, 0, COUNT(wrongs));
	tcase_add_loop_test(tc, refuses_wrong_syntax, 0, COUNT(syntax_errors));
	tcase_add_test(tc, refuses_a_byte_0);
	tcase_add_loop_test(tc, loads_and_prints, 0, COUNT(goods));
	tcase_add_test(tc, two_lines_are_enough);
	tcase_add_test(tc, what_is_left_out_has_its_default);
	tcase_add_test(tc, what_is_given_is_kept);
	tcase_add_test(tc, namespaces_ascend_and_ports_default_to_all);
	tcase_add_test(tc, the_example_loads);
	tcase_add_test(tc, the_example_shows_every_key);
	tc = tcase(s, "rules");
	tcase_add_loop_test(tc, keys_as_text, 0, (int)(sizeof(key_rows) / sizeof(key_rows[0])));
	tcase_add_test(tc, keys_are_not_printed_unasked);
	tcase_add_loop_test(tc, no_key_is_quoted_in_an_error, 0, COUNT(keys_misplaced));
	tcase_add_loop_test(tc, keys_in_files, 0, (int)(sizeof(key_files) / sizeof(key_files[0])));
	tcase_add_test(tc, a_key_file_is_no_link_nor_folder_nor_fifo);
	tcase_add_test(tc, every_row_is_sound);
	tcase_add_loop_test(tc, rules_for_texts, 0, COUNT(text_rules));
	tcase_add_loop_test(tc, sizes_with_units, 0, COUNT(sizes));
}

static void add_files(Suite *s)
{
	TCase *tc = tcase(s, "exports.d");

	tcase_add_test(tc, exports_add_up_in_the_order_of_their_names);
	tcase_add_test(tc, other_things_in_exports_are_passed_over);
	tcase_add_test(tc, a_folder_or_fifo_in_exports_is_refused);
	tcase_add_test(tc, errors_in_exports_name_file_and_line);
	tcase_add_test(tc, a_diag_without_line_or_fix_prints_well);
	tcase_add_test(tc, the_daemon_is_set_in_the_main_file_only);
	tcase_add_test(tc, clashes_between_files_name_both);
	tcase_add_test(tc, exports_may_not_include_either);
	tcase_add_test(tc, exports_that_is_no_folder);
	tc = tcase(s, "traps");
	tcase_add_test(tc, a_folder_for_a_file);
	tcase_add_test(tc, a_fifo_for_a_file);
	tcase_add_test(tc, no_file);
	tcase_add_test(tc, files_that_may_not_be_read);
	tcase_add_test(tc, at_most_one_mebibyte);
	tcase_add_test(tc, long_paths_keep_their_end);
	tcase_add_test(tc, free_of_nothing);
}

static void add_random(Suite *s)
{
	TCase *tc = tcase(s, "random");

	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, without_memory_nothing_leaks);
	tcase_add_loop_test(tc, mutated_files_do_no_harm, 0, 4);
	tcase_add_test(tc, garbage_does_no_harm);
}

int main(void)
{
	Suite *s = suite_create("config");

	add_texts(s);
	add_files(s);
	add_random(s);
	return run_suite(s);
}
