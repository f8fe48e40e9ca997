/* config/nvmet: nvmetcli's JSON to a model and back. Run from the project's root. */
#include "config/config.h"
#include "config/nvmet.h"
#include "config/nvmet_keys.h"

#include "tests/unit/suite.h"

#include <errno.h>
#include <glob.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
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

#include "target/ctl/nvmet_import.c"

#define SAMPLES "tests/unit/nvmet/"

static struct config_diag diag;

/* ---- texts ------------------------------------------------------------------------------------
 */

struct text {
	char *text;
	size_t len;
};

static struct text slurp(const char *path)
{
	struct text t = { NULL, 0 };
	FILE *f = fopen(path, "r"), *to = open_memstream(&t.text, &t.len);
	char buffer[4096];
	size_t n;

	ck_assert_msg(f, "%s: %m (tests run from the project's root)", path);
	while ((n = fread(buffer, 1, sizeof(buffer), f)) > 0)
		fwrite(buffer, 1, n, to);
	fclose(f);
	fclose(to);
	return t;
}

static void expect_same(const char *got, const char *want, const char *what)
{
	size_t line = 1, i = 0;

	for (; got[i] && got[i] == want[i]; i++)
		line += got[i] == '\n';
	ck_assert_msg(strcmp(got, want) == 0, "%s, line %zu: \"%.60s\" is not \"%.60s\"", what,
		      line, got + i, want + i);
}

static void expect_file(const char *got, const char *path)
{
	struct text want = slurp(path);

	expect_same(got, want.text, path);
	free(want.text);
}

/* ---- import and export ------------------------------------------------------------------------
 */

static int import_text_to(const char *text, size_t len, struct text *notes, struct config **ret)
{
	struct config *const untouched = (struct config *)&diag;
	struct config *c = untouched;
	FILE *f = open_memstream(&notes->text, &notes->len);
	int err;

	memset(&diag, 0xff, sizeof(diag));
	err = nvmet_import("file.json", text, len, f, &c, &diag);
	fclose(f);
	ck_assert(err ? c == untouched : c != untouched);
	if (!err)
		*ret = c;
	return err;
}

static struct config *import_good(const char *text, struct text *notes)
{
	struct config *c = NULL;
	int err = import_text_to(text, strlen(text), notes, &c);

	ck_assert_msg(err == 0, "%s: %s; %s", diag.file, diag.what, diag.fix);
	return c;
}

static struct text export_text(const struct config *c, struct text *notes)
{
	struct text t;
	FILE *out = open_memstream(&t.text, &t.len);
	FILE *f = open_memstream(&notes->text, &notes->len);

	ck_assert_int_eq(nvmet_export(c, out, f), 0);
	fclose(out);
	fclose(f);
	return t;
}

/* The whole model, as text. */
static struct text model_text(const struct config *c)
{
	struct text t;
	FILE *out = open_memstream(&t.text, &t.len);

	config_print(c, out, true);
	fclose(out);
	return t;
}

static struct text brief_text(const struct config *c)
{
	struct text t;
	FILE *out = open_memstream(&t.text, &t.len);

	config_print_brief(c, out, true);
	fclose(out);
	return t;
}

static void expect_same_model(const struct config *a, const struct config *b, const char *what)
{
	struct text ta = model_text(a), tb = model_text(b);

	expect_same(ta.text, tb.text, what);
	free(ta.text);
	free(tb.text);
}

static struct config *load_text(const char *text)
{
	char path[] = "/tmp/nvmf-p2pd-test-XXXXXX";
	struct config *c = NULL;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);

	int err = config_load(path, &c, &diag);

	unlink(path);
	ck_assert_msg(err == 0, "%s:%u: %s; %s", diag.file, diag.line, diag.what, diag.fix);
	return c;
}

/* ---- samples ----------------------------------------------------------------------------------
 */

static glob_t samples;

/* "tests/unit/nvmet/01-old-form.json" to "tests/unit/nvmet/01-old-form.conf" */
static const char *beside(const char *sample, const char *end)
{
	static char path[256];

	snprintf(path, sizeof(path), "%.*s%s", (int)(strlen(sample) - strlen(".json")), sample,
		 end);
	return path;
}

START_TEST(each_sample_becomes_the_export_file_beside_it)
{
	const char *sample = samples.gl_pathv[_i];
	struct text json = slurp(sample), notes, brief;
	struct config *c = import_good(json.text, &notes), *loaded;

	brief = brief_text(c);
	expect_file(brief.text, beside(sample, ".conf"));
	expect_file(notes.text, beside(sample, ".notes"));
	loaded = load_text(brief.text);
	expect_same_model(loaded, c, sample);
	config_free(loaded);
	config_free(c);
	free(json.text);
	free(notes.text);
	free(brief.text);
}
END_TEST

START_TEST(each_sample_goes_back_and_comes_again_equal)
{
	const char *sample = samples.gl_pathv[_i];
	struct text json = slurp(sample), notes, back, again, ignored;
	struct config *c = import_good(json.text, &notes), *d;

	back = export_text(c, &ignored);
	expect_file(back.text, beside(sample, ".back"));
	free(ignored.text);
	d = import_good(back.text, &ignored);
	expect_same_model(d, c, sample);
	free(ignored.text);
	again = export_text(d, &ignored);
	expect_same(again.text, back.text, sample);
	config_free(c);
	config_free(d);
	free(json.text);
	free(notes.text);
	free(back.text);
	free(again.text);
	free(ignored.text);
}
END_TEST

/* ---- nothing is lost in silence ----------------------------------------------------------------
 */

struct compare {
	const char *notes;
	unsigned int seen[NVMET_NOBJECTS][32]; /* rows met */
	unsigned int nequal, nnoted;
};

/* Of a subsystem that was left out, the note says its name. */
static bool is_named(const struct compare *k, struct json_object *v)
{
	char quoted[300];

	snprintf(quoted, sizeof(quoted), "\"%s\"", json_object_get_string(v));
	return strstr(k->notes, quoted);
}

/* A line of the notes begins with @path or one of its parents, and then ":". */
static bool is_noted(const struct compare *k, const char *path)
{
	for (const char *line = k->notes; *line; line = strchr(line, '\n') + 1) {
		size_t len = strcspn(line, " ") - 1; /* without the ':' */

		if (strncmp(line, path, len) == 0 && (!path[len] || strchr(".[", path[len])))
			return true;
	}
	return false;
}

static const char *key_of(struct json_object *v)
{
	static const char *const names[] = { "nqn", "nsid", "portid", "grpid", "addr", "device" };
	struct json_object *key = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !key; i++)
		key = json_object_object_get(v, names[i]);
	if (json_object_get_type(key) == json_type_object) /* referrals, passthru */
		key = json_object_object_get(key, json_object_object_get(key, "path") ? "path"
										      : "traddr");
	return json_object_get_string(key);
}

static struct json_object *find_like(struct json_object *list, struct json_object *v)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *other = json_object_array_get_idx(list, i);
		const char *a, *b;

		if (json_object_get_type(v) == json_type_object)
			a = key_of(v), b = key_of(other);
		else
			a = json_object_get_string(v), b = json_object_get_string(other);
		if (a && b && strcmp(a, b) == 0)
			return other;
	}
	return NULL;
}

static void trimmed(struct json_object *v, char out[128])
{
	const char *text = v ? json_object_get_string(v) : "";

	if (json_object_get_type(v) == json_type_boolean)
		text = json_object_get_boolean(v) ? "1" : "0";
	text += strspn(text, " ");
	snprintf(out, 128, "%s", text);
	for (size_t n = strlen(out); n && out[n - 1] == ' '; n--)
		out[n - 1] = '\0';
}

static void compare_leaf(struct compare *k, const struct nvmet_key *row, const char *path,
			 struct json_object *v, struct json_object *other)
{
	char a[128], b[128], ca[NVMET_TEXT_MAX], cb[NVMET_TEXT_MAX];

	trimmed(v, a);
	trimmed(other, b);
	if (!a[0] || nvmet_in(row ? row->same : NULL, a))
		return;
	if (row && row->to) {
		row->to(a, ca);
		row->to(b, cb);
		snprintf(a, sizeof(a), "%s", ca);
		snprintf(b, sizeof(b), "%s", cb);
	}
	if (strcmp(a, b) == 0)
		k->nequal++;
	else if (is_noted(k, path))
		k->nnoted++;
	else
		ck_abort_msg("%s was \"%s\", came back as \"%s\", and no note says so", path, a, b);
}

static void compare_objects(struct compare *k, enum nvmet_object o, const char *path,
			    const char *name, struct json_object *v, struct json_object *other);

static enum nvmet_object object_in(enum nvmet_object o, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s%s%s[]", nvmet_keys[o].path, o == NVMET_ROOT ? "" : ".",
		 name);
	for (enum nvmet_object i = 0; i < NVMET_NOBJECTS; i++)
		if (strcmp(nvmet_keys[i].path, path) == 0)
			return i;
	return NVMET_NOBJECTS;
}

static void compare_list(struct compare *k, enum nvmet_object o, const char *path, const char *name,
			 struct json_object *v, struct json_object *other)
{
	enum nvmet_object element = object_in(o, name);

	for (size_t i = 0; i < json_object_array_length(v); i++) {
		struct json_object *e = json_object_array_get_idx(v, i),
				   *like = find_like(other, e);
		char at[256];

		snprintf(at, sizeof(at), "%s[%zu]", path, i);
		if (element != NVMET_NOBJECTS)
			compare_objects(k, element, at, "", e, like);
		else if (like)
			k->nequal++;
		else
			ck_assert_msg(is_noted(k, at) || is_named(k, e), "%s is lost in silence",
				      at);
	}
}

static void compare_objects(struct compare *k, enum nvmet_object o, const char *path,
			    const char *name, struct json_object *v, struct json_object *other)
{
	/* without a key, these say nothing */
	if (o == NVMET_HOST && strcmp(name, "dhchap") == 0 &&
	    json_object_get_string_len(json_object_object_get(v, "key")) == 0)
		return;
	json_object_object_foreach(v, member, value)
	{
		struct json_object *same = other ? json_object_object_get(other, member) : NULL;
		char full[64], at[256];
		const struct nvmet_key *row;

		snprintf(full, sizeof(full), "%s%s%s", name, *name ? "." : "", member);
		snprintf(at, sizeof(at), "%s%s%s", path, *path ? "." : "", member);
		row = nvmet_key_find(o, full);
		if (row)
			k->seen[o][row - nvmet_keys[o].keys]++;
		if (json_object_get_type(value) == json_type_object)
			compare_objects(k, o, at, full, value, same);
		else if (json_object_get_type(value) == json_type_array)
			compare_list(k, o, at, full, value, same);
		else
			compare_leaf(k, row, at, value, same);
	}
}

static void compare_sample(struct compare *k, const char *sample)
{
	struct text json = slurp(sample), notes, back, ignored;
	struct config *c = import_good(json.text, &notes);
	struct json_object *a, *b;

	back = export_text(c, &ignored);
	a = json_tokener_parse(json.text);
	b = json_tokener_parse(back.text);
	k->notes = notes.text;
	compare_objects(k, NVMET_ROOT, "", "", a, b);
	json_object_put(a);
	json_object_put(b);
	config_free(c);
	free(json.text);
	free(notes.text);
	free(back.text);
	free(ignored.text);
}

START_TEST(all_that_the_kernel_has_comes_back_equal_or_is_named)
{
	struct compare k = { 0 };

	for (size_t i = 0; i < samples.gl_pathc; i++)
		compare_sample(&k, samples.gl_pathv[i]);
	ck_assert_uint_gt(k.nequal, 500);
	ck_assert_uint_gt(k.nnoted, 50);
	for (enum nvmet_object o = 0; o < NVMET_NOBJECTS; o++)
		for (size_t i = 0; i < nvmet_keys[o].nkeys; i++)
			ck_assert_msg(k.seen[o][i], "no sample has %s.%s", nvmet_keys[o].path,
				      nvmet_keys[o].keys[i].name);
}
END_TEST

/* ---- the table --------------------------------------------------------------------------------
 */

START_TEST(each_row_is_complete_and_names_a_key_there_is)
{
	for (enum nvmet_object o = 0; o < NVMET_NOBJECTS; o++) {
		for (size_t i = 0; i < nvmet_keys[o].nkeys; i++) {
			const struct nvmet_key *k = &nvmet_keys[o].keys[i];

			ck_assert_msg(k->key || k->why, "%s: neither a key nor why", k->name);
			ck_assert_msg(!k->key || key_find(nvmet_group(o), k->key), "%s: no key %s",
				      k->name, k->key);
			ck_assert_msg(i == 0 || strcmp(k[-1].name, k->name) < 0, "%s: not in order",
				      k->name);
		}
	}
}
END_TEST

static void check_group(const struct group *g)
{
	for (size_t i = 0; i < g->nkeys; i++) {
		const char *why = nvmet_no_equal(g, &g->keys[i]);

		ck_assert_msg(!why || *why, "%s", g->keys[i].name);
		if (g->keys[i].group)
			check_group(g->keys[i].group);
	}
}

START_TEST(each_key_of_ours_has_an_answer)
{
	check_group(&group_file);
}
END_TEST

START_TEST(the_page_has_the_table)
{
	struct text page = slurp("docs/nvmet.md"), table;
	FILE *out = open_memstream(&table.text, &table.len);

	nvmet_print_keys(out);
	fclose(out);
	ck_assert_msg(
		strstr(page.text, table.text),
		"docs/nvmet.md: put the output of \"nvmf-p2pctl import-nvmet --list-keys\" in it");
	free(page.text);
	free(table.text);
}
END_TEST

/* ---- wrong files -------------------------------------------------------------------------------
 */

#define H         "\"nqn.2024-03.com.example:h\""
#define S         "\"nqn.2024-03.com.example:s\""
#define ADDR(a)   "\"addr\": {\"trtype\": \"rdma\", \"traddr\": \"" a "\"}"
#define P(i, a)   "{\"portid\": " i ", " ADDR(a) ", \"subsystems\": [" S "]}"
#define PORTS     "\"ports\": [" P("1", "192.0.2.1") "]"
#define SUB(more) "\"subsystems\": [{\"nqn\": " S ", \"allowed_hosts\": [" H "]" more "}]"
#define NS(more)  "{" PORTS ", " SUB(", \"namespaces\": [" more "]") "}"
#define N(id, d)  "{\"nsid\": " id ", \"enable\": 1, \"device\": {\"path\": \"" d "\"}}"
#define PORT(p)   "{\"ports\": [{" p "}], " SUB("") "}"
#define REF(r)                                                                                     \
	"{\"ports\": [{\"portid\": 1, " ADDR("192.0.2.1") ", \"subsystems\": [" S                  \
							  "], \"referrals\": [" r                  \
							  "]}], " SUB("") "}"
#define HOST(h)  "{" PORTS ", " SUB("") ", \"hosts\": [" h "]}"
#define NOT_JSON "; give a file as \"nvmetcli save\" writes it"
#define NUMBER_5 "1234567890123456789012345678901234567890"
#define DEEP     "[[[[[[[[[["

/* clang-format off */
static const struct wrong {
	const char *text, *message;
} wrongs[] = {
	/* 0: no JSON */
	{ "", "file.json:1: is no JSON: it ends too early" NOT_JSON },
	{ "{", "file.json:1: is no JSON: it ends too early" NOT_JSON },
	{ "ports = ( );\n", "file.json:1: is no JSON at \"ports = ( );\"" NOT_JSON },
	{ "{\n\"ports\": [ ],\n}", "file.json:3: is no JSON at \"}\"" NOT_JSON },
	{ "{ } { }", "file.json:1: is no JSON at \"{ }\"" NOT_JSON },
	{ "{ 'ports': [ ] }", "file.json:1: is no JSON at \"'ports': [ ] }\"" NOT_JSON },
	{ "{ \"ports\": [ \"\xff\" ] }", "file.json:1: is no JSON at \"\\xff\" ] }\"" NOT_JSON },
	{ "{ \"hosts\": [ { \"dhchap_key\": \"DHHC-1:00:AAEC\xff\x41wQF\" } ] }", "file.json:1: is no JSON in or behind a key" NOT_JSON },
	{ DEEP DEEP DEEP DEEP, "file.json:1: is nested more than 32 levels deep" NOT_JSON },
	{ "{\n\"ports\": [ ],\n\"hosts\": [ ],\n\"ports\": [ ] }", "file.json:4: the key \"ports\" is given twice in one object; remove one of the two" },
	{ "{\"ports\": [{\"addr\": {\"treq\": \"a\",\n\"treq\": \"b\"}}]}", "file.json:2: the key \"treq\" is given twice in one object; remove one of the two" },
	/* 10: types */
	{ "[ ]", "the file: is a list [ ]; allowed: an object { }, as \"nvmetcli save\" writes it" },
	{ "7", "the file: is a number; allowed: an object { }, as \"nvmetcli save\" writes it" },
	{ "null", "the file: is null; allowed: an object { }, as \"nvmetcli save\" writes it" },
	{ "{\"ports\": {}}", "ports: is an object { }; allowed: a list [ ]" },
	{ "{\"ports\": [1]}", "ports[0]: is a number; allowed: an object { }" },
	{ "{\"discovery\": 1}", "discovery: is a number; allowed: an object { }" },
	{ "{\"discovery\": {\"nqn\": []}}", "discovery.nqn: is a list [ ]; allowed: a text or a whole number" },
	{ PORT("\"portid\": 1.5, " ADDR("192.0.2.1")), "ports[0].portid: is a fraction; allowed: a text or a whole number" },
	{ PORT("\"portid\": 1, \"addr\": \"rdma\""), "ports[0].addr: is a text; allowed: an object { }" },
	{ "{" PORTS ", \"subsystems\": [{\"nqn\": " S ", \"allowed_hosts\": " H "}]}", "subsystems[0].allowed_hosts: is a text; allowed: a list [ ]" },
	/* 20 */
	{ "{" PORTS ", \"subsystems\": [{\"nqn\": " S ", \"allowed_hosts\": [1]}]}", "subsystems[0].allowed_hosts[0]: is a number; allowed: a text" },
	{ "{\"ports\": [{\"portid\": 1, " ADDR("192.0.2.1") ", \"subsystems\": [{}]}], " SUB("") "}", "ports[0].subsystems[0]: is an object { }; allowed: a text" },
	{ NS("{\"nsid\": 1, \"enable\": 2}"), "subsystems[0].namespaces[0]: has enable = \"2\"; allowed: 0, 1" },
	{ "{\"discovery\": {\"nqn\": \"a\\u0000b\"}}", "discovery.nqn: holds a byte 0; remove it" },
	/* what is missing */
	{ "{}", "ports: is empty; add one with addr.trtype = \"rdma\", or change a port of tcp" },
	{ "{\"ports\": [{\"addr\": {\"trtype\": \"tcp\"}}]}", "ports: none of them is an RDMA port; add one with addr.trtype = \"rdma\", or change a port of tcp" },
	{ "{\"ports\": [{\"portid\": 1, " ADDR("192.0.2.1") "}]}", "subsystems: is empty; add one, with its nqn in an RDMA port's subsystems and hosts that may connect" },
	{ "{\"ports\": [{\"portid\": 1, " ADDR("192.0.2.1") "}], " SUB("") "}", "subsystems: nothing is left of them; add one, with its nqn in an RDMA port's subsystems and hosts that may connect" },
	{ PORT(ADDR("192.0.2.1")), "ports[0]: has no \"portid\"; add it: 1..65535" },
	{ PORT("\"portid\": 1, \"addr\": {\"trtype\": \"rdma\", \"traddr\": \"\"}"), "ports[0]: has no \"addr.traddr\"; add it: a numeric IPv4 or IPv6 address (wildcard too), link-local with interface: \"fe80::1%eth0\"" },
	/* 30 */
	{ "{" PORTS ", \"subsystems\": [{\"allowed_hosts\": [" H "]}]}", "subsystems[0]: has no \"nqn\"; add it: \"nqn.yyyy-mm.org.example:name\" or \"nqn.2014-08.org.nvmexpress:uuid:UUID\"" },
	{ NS("{\"enable\": 1, \"device\": {\"path\": \"/dev/a\"}}"), "subsystems[0].namespaces[0]: has no \"nsid\"; add it: 1..1024" },
	{ NS("{\"nsid\": 1, \"enable\": 1}"), "subsystems[0].namespaces[0]: has no \"device.path\"; add it: an absolute path as in \"/dev/nvme0n1\"" },
	{ HOST("{}"), "hosts[0]: has no \"nqn\"; add it: \"nqn.yyyy-mm.org.example:name\" or \"nqn.2014-08.org.nvmexpress:uuid:UUID\"" },
	/* values */
	{ PORT("\"portid\": 0, " ADDR("192.0.2.1")), "ports[0].portid: is \"0\": it is out of range; allowed: 1..65535 (the port's number in the discovery log)" },
	{ PORT("\"portid\": -1, " ADDR("192.0.2.1")), "ports[0].portid: is \"-1\": it is out of range; allowed: 1..65535 (the port's number in the discovery log)" },
	{ PORT("\"portid\": \"" NUMBER_5 "\", " ADDR("192.0.2.1")), "ports[0].portid: is \"" NUMBER_5 "\": it is out of range; allowed: 1..65535 (the port's number in the discovery log)" },
	{ PORT("\"portid\": \"0x1\", " ADDR("192.0.2.1")), "ports[0].portid: is \"0x1\": it is not a number; allowed: 1..65535 (the port's number in the discovery log)" },
	{ PORT("\"portid\": 1, " ADDR("store.example.com")), "ports[0].addr.traddr: is \"store.example.com\": it is not a numeric IPv4 or IPv6 address; allowed: a numeric IPv4 or IPv6 address (wildcard too), link-local with interface: \"fe80::1%eth0\" (where to listen)" },
	{ PORT("\"portid\": 1, \"addr\": {\"trtype\": \"rdma\", \"traddr\": \"::1\", \"adrfam\": \"ipv4\"}"), "ports[0]: has addr.adrfam = \"ipv4\", but its address is \"::1\"; set addr.adrfam = \"ipv6\", or another address" },
	/* 40 */
	{ PORT("\"portid\": 1, \"addr\": {\"trtype\": \"rdma\", \"traddr\": \"192.0.2.1\", \"trsvcid\": \"nvme\"}"), "ports[0].addr.trsvcid: is \"nvme\": it is not a number; allowed: 1..65535, as in \"4420\" (RDMA port number)" },
	{ PORT("\"portid\": 1, " ADDR("192.0.2.1") ", \"param\": {\"mdts\": 256}"), "ports[0].param.mdts: is \"256\"; allowed: 0..255, a power of two of 4 KiB; 0: the default" },
	{ PORT("\"portid\": 1, " ADDR("192.0.2.1") ", \"param\": {\"max_queue_size\": 8}"), "ports[0].param.max_queue_size: is \"8\": it is out of range; allowed: 16..1024 entries (most entries of an I/O queue)" },
	{ PORT("\"portid\": 1, " ADDR("192.0.2.1") ", \"param\": {\"inline_data_size\": \"4K\"}"), "ports[0].param.inline_data_size: is \"4K\": it is not a number; allowed: \"0\"..\"16K\", a multiple of \"16\" (write data a command may carry with it)" },
	{ PORT("\"portid\": 1, " ADDR("192.0.2.1") ", \"ana_groups\": [{\"grpid\": 129, \"ana\": {\"state\": \"optimized\"}}]"), "ports[0].ana_groups[0].grpid: is \"129\": it is out of range; allowed: 1..128 (the group's number)" },
	{ PORT("\"portid\": 1, " ADDR("192.0.2.1") ", \"ana_groups\": [{\"grpid\": 2, \"ana\": {\"state\": \"fast\"}}]"), "ports[0].ana_groups[0].ana.state: is \"fast\": there is no such choice; allowed: \"optimized\", \"non-optimized\", \"inaccessible\", \"persistent-loss\", \"change\" (how its namespaces are reached through the port)" },
	{ "{" PORTS ", " SUB(", \"attr\": {\"serial\": \"123456789012345678901\"}") "}", "subsystems[0].attr.serial: is \"123456789012345678901\": it is longer than 20 bytes; allowed: printable ASCII (serial number; derived from the NQN if left out)" },
	{ "{" PORTS ", " SUB(", \"attr\": {\"allow_any_host\": \"yes\"}") "}", "subsystems[0].attr.allow_any_host: is \"yes\": it is neither 0 nor 1; allowed: true, false (let every host connect)" },
	{ "{" PORTS ", " SUB(", \"attr\": {\"qid_max\": 129}") "}", "subsystems[0].attr.qid_max: is \"129\": it is out of range; allowed: 1..128 queues (most I/O queues of a controller)" },
	{ "{\"ports\": [{\"portid\": 1, " ADDR("192.0.2.1") ", \"subsystems\": [\"disks\"]}], \"subsystems\": [{\"nqn\": \"disks\", \"allowed_hosts\": [" H "]}]}", "subsystems[0].nqn: is \"disks\": it does not start with \"nqn.\"; allowed: \"nqn.yyyy-mm.org.example:name\" or \"nqn.2014-08.org.nvmexpress:uuid:UUID\" (the subsystem's name)" },
	/* 50 */
	{ "{" PORTS ", \"subsystems\": [{\"nqn\": " S ", \"allowed_hosts\": [\"\"]}]}", "subsystems[0].allowed_hosts[0]: is \"\": it is empty; allowed: ( \"...\", \"...\" ), each \"nqn.yyyy-mm.org.example:name\" or \"nqn.2014-08.org.nvmexpress:uuid:UUID\" (NQNs of the hosts that may connect)" },
	{ NS(N("1025", "/dev/a")), "subsystems[0].namespaces[0].nsid: is \"1025\": it is out of range; allowed: 1..1024 (the namespace's number in its subsystem)" },
	{ NS(N("1", "nvme0n1")), "subsystems[0].namespaces[0].device.path: is \"nvme0n1\": it is not an absolute path; allowed: an absolute path as in \"/dev/nvme0n1\" (the drive behind it)" },
	{ NS("{\"nsid\": 1, \"enable\": 1, \"device\": {\"path\": \"/dev/a\", \"uuid\": \"1\"}}"), "subsystems[0].namespaces[0].device.uuid: is \"1\": it is not a UUID; allowed: a UUID as in \"6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b11\" (the namespace's name for hosts with several paths to it)" },
	{ NS("{\"nsid\": 1, \"enable\": 1, \"device\": {\"path\": \"/dev/a\", \"nguid\": \"12-34\"}}"), "subsystems[0].namespaces[0].device.nguid: is \"1234\": it is too short; allowed: 32 hexadecimal digits (its globally unique identifier (NGUID); that of its uuid if left out)" },
	{ NS("{\"nsid\": 1, \"enable\": 1, \"device\": {\"path\": \"/dev/a\"}, \"ana\": {\"grpid\": \"1\"}, \"ana_grpid\": 2}"), "subsystems[0].namespaces[0]: has ana.grpid = \"1\" and ana_grpid = \"2\"; remove one of the two" },
	{ HOST("{\"nqn\": " H ", \"dhchap\": {\"key\": \"secret\"}}"), "hosts[0].dhchap.key: it does not start with \"DHHC-1:\"; allowed: a key as \"nvme gen-dhchap-key\" makes it, \"DHHC-1:...:\" (the secret by which the host proves who it is)" },
	{ HOST("{\"nqn\": " H ", \"dhchap\": {\"hash\": \"hmac(md5)\"}}"), "hosts[0].dhchap.hash: is \"md5\": there is no such choice; allowed: a list of \"sha256\", \"sha384\", \"sha512\" (hash functions that may be used, best first; left out: all)" },
	{ HOST("{\"nqn\": " H ", \"dhchap\": {\"hash\": \"hmac(\"}}"), "hosts[0].dhchap.hash: is \"hmac(\": there is no such choice; allowed: a list of \"sha256\", \"sha384\", \"sha512\" (hash functions that may be used, best first; left out: all)" },
	{ HOST("{\"nqn\": " H ", \"dhchap\": {\"ctrl_key\": \"DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:\"}}"), "hosts[0]: host \"nqn.2024-03.com.example:h\" has a dhchap_ctrl_key and no dhchap_key; add dhchap_key: the host proves itself first" },
	/* 60: contradictions */
	{ NS(N("1", "/dev/a") ", " N("1", "/dev/b")), "subsystems[0].namespaces[1]: nsid 1 is given twice, first at subsystems[0].namespaces[0]; give each namespace of a subsystem its own nsid" },
	{ NS(N("1", "/dev/a") ", " N("2", "/dev/a")), "subsystems[0].namespaces[1]: namespace device /dev/a is given twice, first at subsystems[0].namespaces[0]; export a drive once only" },
	{ "{\"ports\": [" P("1", "192.0.2.1") ", " P("1", "192.0.2.2") "], " SUB("") "}", "ports[1]: port id 1 is given twice, first at ports[0]; give each port its own id" },
	{ "{\"ports\": [" P("1", "192.0.2.1") ", " P("2", "192.0.2.1") "], " SUB("") "}", "ports[1]: port address 192.0.2.1:4420 is given twice, first at ports[0]; give each port its own address or service" },
	{ "{\"ports\": [" P("1", "2001:db8::1") ", " P("2", "2001:DB8:0::1") "], " SUB("") "}", "ports[1]: port address [2001:db8::1]:4420 is given twice, first at ports[0]; give each port its own address or service" },
	{ "{\"ports\": [" P("1", "0.0.0.0") ", " P("2", "192.0.2.1") "], " SUB("") "}", "ports[1]: port 2 listens on 192.0.2.1, service 4420, but port 1 (ports[0]) does on all addresses; give one of the two another service, or each its own address" },
	{ "{" PORTS ", \"subsystems\": [{\"nqn\": " S ", \"allowed_hosts\": [" H "]}, {\"nqn\": " S ", \"allowed_hosts\": [" H "]}]}", "subsystems[1]: subsystem nqn nqn.2024-03.com.example:s is given twice, first at subsystems[0]; give each subsystem its own nqn" },
	{ "{" PORTS ", " SUB(", \"attr\": {\"allow_any_host\": \"1\"}") "}", "subsystems[0]: subsystem \"nqn.2024-03.com.example:s\" has both allow_any_host = true and allowed_hosts; remove one of the two" },
	{ "{\"ports\": [{\"portid\": 1, " ADDR("192.0.2.1") ", \"subsystems\": [" S ", " H "]}], " SUB("") "}", "ports[0].subsystems[1]: names \"nqn.2024-03.com.example:h\", which is not in subsystems; define it there, or remove it from the port" },
	{ "{\"ports\": [{\"portid\": 1, " ADDR("192.0.2.1") ", \"subsystems\": [" S ", " S "]}], " SUB("") "}", "subsystems[0]: in a subsystem's ports, id 1 is given twice, first at subsystems[0]; remove one of the two" },
	/* 70 */
	{ "{" PORTS ", " SUB(", \"attr\": {\"cntlid_min\": 9, \"cntlid_max\": 8}") "}", "subsystems[0]: subsystem \"nqn.2024-03.com.example:s\" has cntlid_min = 9 above cntlid_max = 8; exchange the two" },
	{ "{" PORTS ", " SUB(", \"passthru\": [{\"enable\": 1, \"device\": {\"path\": \"/dev/nvme0\"}}, {\"enable\": 1, \"device\": {\"path\": \"/dev/nvme1\"}}]") "}", "subsystems[0].passthru[1]: is a second controller passed through; give it a subsystem of its own" },
	{ "{" PORTS ", " SUB(", \"namespaces\": [" N("1", "/dev/a") "], \"passthru\": [{\"enable\": 1, \"device\": {\"path\": \"/dev/nvme0\"}}]") "}", "subsystems[0]: subsystem \"nqn.2024-03.com.example:s\" has both passthrough and namespaces; remove one of the two" },
	{ REF("{\"enable\": 1, " ADDR("192.0.2.9") "}, {\"enable\": 1, " ADDR("192.0.2.9") "}"), "ports[0].referrals[1]: is the port's second referral to 192.0.2.9; remove one of the two" },
	{ REF("{\"enable\": 1, " ADDR("0.0.0.0") "}"), "ports[0].referrals[0].addr.traddr: is \"0.0.0.0\": nobody can connect to a wildcard; allowed: a numeric IPv4 or IPv6 address (where the other discovery service listens)" },
	{ HOST("{\"nqn\": " H ", \"dhchap\": {\"key\": \"DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:\"}}, {\"nqn\": " H ", \"dhchap\": {\"key\": \"DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:\"}}"), "hosts[1]: host nqn nqn.2024-03.com.example:h is given twice, first at hosts[0]; remove one of the two" },
};
/* clang-format on */

static void refuse(const char *text, size_t len, const char *message)
{
	struct text notes, got;
	struct config *c;
	FILE *out;

	ck_assert_int_eq(import_text_to(text, len, &notes, &c), -EINVAL);
	out = open_memstream(&got.text, &got.len);
	config_diag_print(&diag, out);
	fclose(out);
	got.text[got.len - 1] = '\0'; /* its newline */
	ck_assert_str_eq(got.text, message);
	free(got.text);
	free(notes.text);
}

START_TEST(each_wrong_file_is_refused_in_these_words)
{
	refuse(wrongs[_i].text, strlen(wrongs[_i].text), wrongs[_i].message);
}
END_TEST

START_TEST(a_byte_0_and_too_much_are_refused)
{
	const size_t len = NVMET_JSON_MAX + 1;
	char *spaces = calloc(1, len + 1);

	refuse("{\n\0}", 4, "file.json:2: holds a byte 0" NOT_JSON);
	memset(spaces, ' ', len);
	refuse(spaces, len, "file.json: is larger than 16 MiB" NOT_JSON);
	free(spaces);
}
END_TEST

START_TEST(a_key_given_twice_in_a_large_object_is_found)
{
	struct text t, notes;
	FILE *out = open_memstream(&t.text, &t.len);
	struct config *c;

	fputs("{", out);
	for (int i = 0; i < 200000; i++)
		fprintf(out, "\"k%d\": {\"a\": \"b: {\\\"\"},\n", i);
	fputs("\"k1234\": 0}", out);
	fclose(out);
	ck_assert_int_eq(import_text_to(t.text, t.len, &notes, &c), -EINVAL);
	ck_assert_str_eq(diag.what, "the key \"k1234\" is given twice in one object");
	ck_assert_uint_eq(diag.line, 200001);
	free(t.text);
	free(notes.text);
}
END_TEST

/* ---- out of memory ------------------------------------------------------------------------------
 */

START_TEST(no_memory_at_any_place_is_an_error_and_no_leak)
{
	struct text json = slurp(samples.gl_pathv[_i]), notes, out;
	struct config *c = NULL;
	unsigned int n = 0;
	int err;

	do {
		fail_at = ++n;
		err = import_text_to(json.text, json.len, &notes, &c);
		ck_assert(err == 0 || err == -ENOMEM);
		free(notes.text);
	} while (err);
	ck_assert_uint_gt(n, 20);
	for (n = 1, err = -ENOMEM; err; n++) {
		FILE *to = open_memstream(&out.text, &out.len),
		     *f = open_memstream(&notes.text, &notes.len);

		fail_at = n;
		err = nvmet_export(c, to, f);
		ck_assert(err == 0 || err == -ENOMEM);
		fclose(to);
		fclose(f);
		free(out.text);
		free(notes.text);
	}
	fail_at = 0;
	config_free(c);
	free(json.text);
}
END_TEST

/* ---- the other way ------------------------------------------------------------------------------
 */

START_TEST(what_the_kernel_cannot_hold_is_named)
{
	static const char want[] =
		"hosts[0].dhchap_hash: changed: the kernel's target has one, the first: sha384\n"
		"hosts[0].dhchap_dhgroup: changed: the kernel's target has one, the first: ffdhe2048\n"
		"hosts[0].dhchap_discovery: left out: the kernel's target has no such setting\n"
		"subsystems[0].namespaces[0].cmb: left out: the kernel's target has the attribute p2pmem instead, which nvmetcli does not save\n"
		"subsystems[0].namespaces[0].polled: left out: the kernel's target has no such setting\n"
		"subsystems[0].namespaces[0].allowed_hosts: left out: the kernel's target shows a namespace to all hosts of its subsystem; it is exported as not enabled\n"
		"subsystems[0].namespaces[0].eui64: left out: the kernel's target has no such setting\n"
		"subsystems[0].max_controllers: left out: the kernel's target has no such setting\n"
		"subsystems[1].passthrough: the kernel's target wants the path of the controller's device: replace \"0000:03:00.0\"\n"
		"ports[0].queue_depth: the kernel's target serves 256 of 1024\n"
		"referrals[0].nqn: left out: the kernel's target refers hosts to the well-known NQN only\n"
		"daemon.discovery_nqn: nvmetcli does not restore it: write it to discovery_nqn in configfs\n"
		"daemon.host_memory: left out: it is about this daemon\n";
	static const char conf[] =
		"daemon = { host_memory = \"32M\"; discovery_nqn = \"nqn.2024-03.com.example:d\"; };\n"
		"ports = ( { id = 1; address = \"192.0.2.1\"; queue_depth = 1024; } );\n"
		"subsystems = ( { nqn = " S "; allowed_hosts = ( " H " ); max_controllers = 3;\n"
		"  namespaces = ( { nsid = 1; device = \"/dev/a\"; cmb = \"off\"; polled = true;\n"
		"    allowed_hosts = ( " H " ); eui64 = \"0014ee0123456789\"; } ); },\n"
		"  { nqn = \"nqn.2024-03.com.example:p\"; allow_any_host = true; passthrough = \"0000:03:00.0\"; } );\n"
		"hosts = ( { nqn = " H
		"; dhchap_discovery = true; dhchap_hash = ( \"sha384\", \"sha512\" );\n"
		"  dhchap_key = \"DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:\"; } );\n"
		"referrals = ( { address = \"192.0.2.9\"; nqn = \"nqn.2024-03.com.example:e\"; } );\n";
	struct config *c = load_text(conf);
	struct text notes, json = export_text(c, &notes);

	expect_same(notes.text, want, "notes");
	ck_assert_ptr_nonnull(
		strstr(json.text, "\"enable\": 0,\n          \"nsid\": 1")); /* hidden */
	ck_assert_ptr_null(strstr(json.text, "\"enable\": 1,\n          \"nsid\""));
	config_free(c);
	free(notes.text);
	free(json.text);
}
END_TEST

/* example.conf has every key. */
START_TEST(ours_goes_there_and_comes_back_but_for_what_was_named)
{
	struct config *c = NULL, *d, *e;
	struct text json, again, notes;

	ck_assert_int_eq(config_load("config/example.conf", &c, &diag), 0);
	json = export_text(c, &notes);
	free(notes.text);
	d = import_good(json.text, &notes);
	free(notes.text);
	again = export_text(d, &notes);
	free(notes.text);
	/* its host has several hashes, and a referral another NQN: both were named, and stay as
	 * they are */
	expect_same(again.text, json.text, "example.conf");
	e = import_good(again.text, &notes);
	expect_same_model(e, d, "example.conf");
	config_free(c);
	config_free(d);
	config_free(e);
	free(notes.text);
	free(json.text);
	free(again.text);
}
END_TEST

START_TEST(keys_in_files_of_their_own_are_exported)
{
	static const char key[] =
		"DHHC-1:03:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P4zODhA=:";
	char path[] = "/tmp/nvmf-p2pd-test-XXXXXX", conf[1024];
	int fd = mkstemp(path);
	struct config *c;
	struct text json, notes;

	ck_assert_int_eq(write(fd, key, strlen(key)), (ssize_t)strlen(key));
	close(fd);
	snprintf(conf, sizeof(conf),
		 "ports = ( { id = 1; address = \"192.0.2.1\"; } );\n"
		 "subsystems = ( { nqn = " S "; allowed_hosts = ( " H " ); } );\n"
		 "hosts = ( { nqn = " H "; dhchap_key_file = \"%s\"; } );\n",
		 path);
	c = load_text(conf);
	unlink(path);
	json = export_text(c, &notes);
	ck_assert_ptr_nonnull(strstr(json.text, key));
	config_free(c);
	free(json.text);
	free(notes.text);
}
END_TEST

/* ---- the command --------------------------------------------------------------------------------
 */

static char dir[64];

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/nvmf-p2pd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	fail_at = 0;
}

static void remove_dir(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

static const char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int import_words(int n, char **words)
{
	const struct ctl_command *command = ctl_find("import-nvmet");
	const struct ctl ctl = { .socket = "/nonexistent" };
	struct json_object *args;
	int code = ctl_parse(command->verb, n, words, &args);

	if (code != CTL_OK)
		return code;
	code = ctl_run(&ctl, command, args);
	json_object_put(args);
	return code;
}

static int import_to(const char *sample, const char *output, bool force)
{
	char in[128], out[128];
	char *words[] = { "--to", out, in, "--force", NULL };

	snprintf(in, sizeof(in), "%s", sample);
	snprintf(out, sizeof(out), "%s", in_dir(output));
	return import_words(force ? 4 : 3, words);
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	ck_assert_msg(stat(in_dir(name), &st) == 0, "%s: %m", name);
	return st.st_mode & 07777;
}

static unsigned int nfiles(void)
{
	glob_t g;
	unsigned int n = glob(in_dir("{*,.[!.]*}"), GLOB_BRACE, NULL, &g) == 0
				 ? (unsigned int)g.gl_pathc
				 : 0;

	globfree(&g);
	return n;
}

#define PLAIN  SAMPLES "02-linux-6.12.json"
#define SECRET SAMPLES "03-linux-7.2-auth.json"

START_TEST(a_file_is_written_as_a_whole_and_never_over_another)
{
	struct config *c = NULL;
	struct stat before, after;

	ck_assert_int_eq(import_to(PLAIN, "a.conf", false), 0);
	ck_assert_int_eq(mode_of("a.conf"), 0644);
	ck_assert_int_eq(config_load(in_dir("a.conf"), &c, &diag), 0);
	config_free(c);
	ck_assert_int_eq(stat(in_dir("a.conf"), &before), 0);
	ck_assert_int_eq(import_to(SECRET, "a.conf", false), 1);
	ck_assert_int_eq(stat(in_dir("a.conf"), &after), 0);
	ck_assert_int_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(before.st_size, after.st_size);
	ck_assert_int_eq(import_to(SECRET, "a.conf", true), 0);
	ck_assert_int_eq(mode_of("a.conf"), 0640); /* as before, but not for others */
	ck_assert_int_eq(import_to(SECRET, "b.conf", false), 0);
	ck_assert_int_eq(mode_of("b.conf"), 0600);
	ck_assert_uint_eq(nfiles(), 2);
}
END_TEST

START_TEST(what_the_daemon_would_refuse_is_not_written)
{
	FILE *f;

	/* its own port 1 beside */
	ck_assert_int_eq(mkdir(in_dir("exports.d"), 0755), 0);
	f = fopen(in_dir("exports.d/own.conf"), "w");
	fputs("ports = ( { id = 1; address = \"192.0.2.99\"; } );\n", f);
	fclose(f);
	ck_assert_int_eq(import_to(PLAIN, "a.conf", false), 1);
	ck_assert_int_eq(import_to(SAMPLES "none.json", "a.conf", false), 1);
	ck_assert_int_eq(import_to(PLAIN, "missing/a.conf", false), 1);
	ck_assert_int_eq(import_to("/tmp", "a.conf", false), 1);
	ck_assert_uint_eq(nfiles(), 1);
}
END_TEST

START_TEST(a_file_in_exports_d_has_no_settings_of_the_daemon)
{
	struct text t;

	ck_assert_int_eq(mkdir(in_dir("exports.d"), 0755), 0);
	ck_assert_int_eq(import_to(SECRET, "exports.d/a.conf", false), 0);
	t = slurp(in_dir("exports.d/a.conf"));
	ck_assert_ptr_null(strstr(t.text, "daemon ="));
	ck_assert_ptr_nonnull(strstr(t.text, "ports ="));
	free(t.text);
	ck_assert_int_eq(import_to(SECRET, "nvmf-p2pd.conf", false), 1); /* the same ports twice */
}
END_TEST

START_TEST(wrong_usage)
{
	char *none[] = { NULL }, *two[] = { "a", "b", NULL }, *option[] = { "--frobnicate", NULL };

	ck_assert_int_eq(import_words(0, none), CTL_USAGE);
	ck_assert_int_eq(import_words(2, two), CTL_USAGE);
	ck_assert_int_eq(import_words(1, option), CTL_USAGE);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("nvmet");
	TCase *t = tcase_create("samples");
	TCase *command = tcase_create("command");
	const int n = (int)samples.gl_pathc;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, each_sample_becomes_the_export_file_beside_it, 0, n);
	tcase_add_loop_test(t, each_sample_goes_back_and_comes_again_equal, 0, n);
	tcase_add_loop_test(t, no_memory_at_any_place_is_an_error_and_no_leak, 0, n);
	tcase_add_test(t, all_that_the_kernel_has_comes_back_equal_or_is_named);
	tcase_add_test(t, each_row_is_complete_and_names_a_key_there_is);
	tcase_add_test(t, each_key_of_ours_has_an_answer);
	tcase_add_test(t, the_page_has_the_table);
	tcase_add_loop_test(t, each_wrong_file_is_refused_in_these_words, 0,
			    (int)(sizeof(wrongs) / sizeof(wrongs[0])));
	tcase_add_test(t, a_byte_0_and_too_much_are_refused);
	tcase_add_test(t, a_key_given_twice_in_a_large_object_is_found);
	tcase_add_test(t, what_the_kernel_cannot_hold_is_named);
	tcase_add_test(t, ours_goes_there_and_comes_back_but_for_what_was_named);
	tcase_add_test(t, keys_in_files_of_their_own_are_exported);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(command, make_dir, remove_dir);
	tcase_add_test(command, a_file_is_written_as_a_whole_and_never_over_another);
	tcase_add_test(command, what_the_daemon_would_refuse_is_not_written);
	tcase_add_test(command, a_file_in_exports_d_has_no_settings_of_the_daemon);
	tcase_add_test(command, wrong_usage);
	suite_add_tcase(s, command);
	return s;
}

int main(void)
{
	int rc;

	if (glob(SAMPLES "*.json", 0, NULL, &samples) != 0 || samples.gl_pathc < 10) {
		fputs("test_nvmet: " SAMPLES " has no 10 files (run from the project's root)\n",
		      stderr);
		return EXIT_FAILURE;
	}
	rc = run_suite(suite());
	globfree(&samples);
	return rc;
}
