/*
 * config/nvmf-p2pd.conf.5: the manual page of the export files. The keys come from the table in
 * config/keys.c, what there is to say besides from here; this test fails if the page is not what
 * they make now.
 *
 *	build/out/tests/unit/test_manual --write	makes the page anew
 */
#include "config/config.h"
#include "config/keys.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PAGE "config/nvmf-p2pd.conf.5"

/* More than one line of help has room for. */
static const struct detail {
	const char *group, *key, *text;
} details[] = {
	{ "daemon", "window_size",
	  "Payload that a remote host writes or reads is mapped into this window. Where it is too small for the CMBs, "
	  "the log says so." },
	{ "daemon", "host_memory",
	  "For what cannot be staged in a CMB; the reactors share it. No less than max_transfer." },
	{ "daemon", "cmb_chunk", "What was idle for a minute is given back, down to cmb_floor." },
	{ "daemon", "cmb_flush",
	  "What is done when the RNIC says that a host's data has arrived in a CMB, before the drive is told to read it "
	  "there. \"none\": nothing, as the kernel's target. \"rdma-read\": the RNIC reads the last bytes back, which pushes "
	  "what it wrote before. \"cpu-read\": the CPU does. docs/p2p.md says when to use which." },
	{ "daemon", "reactors", "One more thread serves connections and admin queues." },
	{ "daemon", "shared_receives",
	  "On each RNIC. Each takes 64 bytes and the largest in_capsule_data of all ports. With 0, each queue has as many as "
	  "it is deep; that is more memory and never makes a host wait." },
	{ "daemon", "queue_memory",
	  "What a queue may come to need counts: its depth times about 1600 bytes, and times in_capsule_data where that is "
	  "offered. Memory that is never used is never touched. Beyond it, hosts are turned away." },
	{ "daemon", "host_controllers",
	  "A host that wants more is told that the controller is busy, and tries again later. The same holds for "
	  "host_queues and host_queue_memory." },
	{ "daemon", "poll_us",
	  "The daemon looks on only while work keeps coming faster than this and nobody else wants the processor." },
	{ "daemon", "discovery_nqn",
	  "Hosts learn it from the discovery log and can tell this service from others by it." },
	{ "daemon", "control_socket",
	  "Its folder is made. Only root and the daemon's user may use it, and the members of control_group." },
	{ "daemon", "control_group",
	  "The daemon's user must be a member, or it may not give them the socket. Better not the daemon's own group, which "
	  "may reach the drives." },
	{ "daemon", "state_dir",
	  "On a disk of this machine, for what must outlive the daemon: reservations that hosts want to persist, and which "
	  "namespaces are write-protected. It is made when it is needed." },
	{ "daemon", "core_dumps",
	  "Without it, the daemon's user cannot attach a debugger either; root can. Under systemd it also takes "
	  "LimitCORE=infinity in a drop-in." },
	{ "port", "id", "A reload knows a port by it: another id is another port." },
	{ "port", "address",
	  "\"0.0.0.0\" or \"::\" for all RNICs, and then no other port of that family has this service. A port has one "
	  "address, as it has one entry in the discovery log: give each address its own port. One that is not there (yet, or "
	  "any more) is tried again until it is. A reload that changes address or service disconnects the port's hosts." },
	{ "port", "in_capsule_data",
	  "Connections for which a reload raised it above what the ports had when the RNIC was first used get receives of "
	  "their own." },
	{ "port", "ana_groups",
	  "A list of groups with the keys below. While the daemon runs, \"nvmf-p2pctl ana\" changes states; a reload sets those "
	  "that the file has otherwise than before and leaves the others." },
	{ "subsystem", "allow_any_host",
	  "For networks where every host is trusted. Either this or allowed_hosts." },
	{ "subsystem", "allowed_hosts",
	  "See /etc/nvme/hostnqn on the host. A host that a reload does not allow any more is disconnected." },
	{ "subsystem", "controller_model",
	  "\"dynamic\": a host that connects gets a new controller. \"static\": there are those with the IDs cntlid_min to "
	  "cntlid_max, a host may ask for one by its ID, and only one host at a time has it." },
	{ "subsystem", "ports", "A reload disconnects hosts that came through another." },
	{ "subsystem", "passthrough",
	  "With all its namespaces; docs/passthrough.md. A PCI address stays the same from boot to boot, a number as in "
	  "/dev/nvme0 need not. To change it without a restart: remove the subsystem, reload, add it again, reload." },
	{ "subsystem", "passthrough_vendor_admin",
	  "Opcodes C0h and above. Nothing is known of what they do: a host that sends a wrong one may destroy the drive." },
	{ "namespace", "device",
	  "Exported once only. A reload that changes it replaces the namespace: what is in flight ends first." },
	{ "namespace", "cmb",
	  "\"prefer\": in the drive's CMB where that is proved to work and free, else in host memory. \"require\": commands fail "
	  "rather than use host memory. \"off\": always in host memory." },
	{ "namespace", "polled", "Of NVMe drives, with the module parameter nvme.poll_queues." },
	{ "namespace", "scratch", "Only for drives without the Compare command." },
	{ "namespace", "ana_group",
	  "Its state on a port (see ana_groups of ports) tells hosts how the namespace is reached there." },
	{ "host", "dhchap_key",
	  "\"nvme gen-dhchap-key\" makes such; on the host it is in /etc/nvme/hostkey or given by --dhchap-secret. Neither this "
	  "nor dhchap_key_file: the host need not authenticate. A changed key is asked for when the host authenticates next; one that never did and gets a key by a reload is "
	  "disconnected." },
	{ "host", "dhchap_key_file",
	  "It belongs to root or to the daemon's user, nobody else may read it, and it is no link." },
	{ "host", "dhchap_ctrl_key", "Without it, a host that asks is turned away." },
	{ "host", "dhchap_dhgroup",
	  "A group makes recorded exchanges useless even to those who come to know the key." },
	{ "host", "dhchap_discovery",
	  "With it, \"nvme discover\" and \"nvme connect-all\" do not work with nvme-cli up to 2.13, which gives no key to a "
	  "discovery service." },
};

static const char *const reload_text[] = {
	[RELOAD_RESTART] = "A change takes a restart; a reload that finds one is refused.",
	[RELOAD_NEW] = "A reload applies it to controllers and connections to come.",
	[RELOAD_NOW] = "A reload applies it at once.",
};

static const char *const type_text[KEY_NTYPES] = {
	[KEY_INT] = "integer",
	[KEY_SIZE] = "size",
	[KEY_BOOL] = "boolean",
	[KEY_TEXT] = "text",
	[KEY_SERVICE] = "text or integer",
	[KEY_SECRET] = "text",
	[KEY_CHOICE] = "text",
	[KEY_CHOICES] = "list of texts",
	[KEY_UUID] = "text",
	[KEY_TEXTS] = "list of texts",
	[KEY_PORT_IDS] = "list of integers",
	[KEY_GROUP] = "group",
	[KEY_GROUPS] = "list of groups",
};

/* ---- roff -------------------------------------------------------------------------------------
 */

/* A line of text: what roff would take for something else is escaped. */
static void put_text(FILE *out, const char *text)
{
	for (const char *c = text; *c; c++) {
		if (*c == '\\')
			fputs("\\e", out);
		else if (*c == '-')
			fputs("\\-", out);
		else if (c == text && (*c == '.' || *c == '\''))
			fprintf(out, "\\&%c", *c);
		else
			putc(*c, out);
	}
}

/* As a sentence. */
static void put_sentence(FILE *out, const char *text)
{
	char first[2] = { (char)toupper((unsigned char)text[0]), '\0' };
	/* not what is written small anywhere, as "nvmf-p2pctl" */
	bool is_word = islower((unsigned char)text[0]);

	put_text(out, is_word ? first : "");
	put_text(out, is_word ? text + 1 : text);
	fputs(text[strlen(text) - 1] == '.' ? "\n" : ".\n", out);
}

static void put_default(FILE *out, const struct key *k)
{
	char number[32];

	if (k->required) {
		fputs("Required.\n", out);
		return;
	}
	if (strstr(k->help, "left out")) /* it says what then */
		return;
	switch (k->type) {
	case KEY_INT:
		snprintf(number, sizeof(number), "%llu", (unsigned long long)k->dflt);
		fprintf(out, "Default: %s.\n", number);
		break;
	case KEY_SIZE:
		fprintf(out, "Default: \"%s\".\n", size_print(k->dflt).text);
		break;
	case KEY_BOOL:
		fprintf(out, "Default: %s.\n", k->dflt ? "true" : "false");
		break;
	case KEY_CHOICE:
		fputs("Default: \"", out);
		put_text(out, k->choices[k->dflt]);
		fputs("\".\n", out);
		break;
	case KEY_TEXT:
	case KEY_SECRET:
	case KEY_SERVICE:
		fputs("Default: ", out);
		if (k->dflt_text) {
			putc('"', out);
			put_text(out, k->dflt_text);
			fputs("\".\n", out);
		} else {
			fputs("none.\n", out);
		}
		break;
	case KEY_UUID:
	case KEY_TEXTS:
	case KEY_CHOICES:
	case KEY_PORT_IDS:
		fputs("Default: none.\n", out);
		break;
	case KEY_GROUP:
	case KEY_GROUPS:
		break;
	}
}

/* Numbers have their range, texts their form and how long they may be. */
static void put_allowed(FILE *out, const struct key *k)
{
	fputs("Allowed: ", out);
	put_text(out, allowed(k).text);
	if ((k->type == KEY_TEXT || k->type == KEY_SECRET) && k->min == k->max)
		fprintf(out, ", %llu bytes", (unsigned long long)k->max);
	else if (k->type == KEY_TEXT || k->type == KEY_SECRET)
		fprintf(out, ", up to %llu bytes", (unsigned long long)k->max);
	fputs(".\n", out);
}

static const char *detail_of(const struct group *g, const struct key *k)
{
	for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++)
		if (strcmp(details[i].group, g->name) == 0 && strcmp(details[i].key, k->name) == 0)
			return details[i].text;
	return NULL;
}

static bool is_group(const struct key *k)
{
	return k->type == KEY_GROUP || k->type == KEY_GROUPS;
}

static void put_key(FILE *out, const struct group *g, const struct key *k)
{
	const char *detail = detail_of(g, k);

	fprintf(out, ".TP\n\\fB%s\\fR (%s", k->name, type_text[k->type]);
	if (k->type == KEY_SIZE)
		fputs(", bytes", out);
	else if (k->unit)
		fprintf(out, ", %s", k->unit);
	fputs(")\n", out);
	put_sentence(out, k->help);
	if (detail)
		put_sentence(out, detail);
	fputs(".br\n", out);
	put_default(out, k);
	if (!is_group(k))
		put_allowed(out, k);
	fprintf(out, ".br\n%s\n", reload_text[k->reload]);
}

static void put_group(FILE *out, const struct group *g)
{
	for (size_t i = 0; i < g->nkeys; i++)
		put_key(out, g, &g->keys[i]);
}

/* Each group's keys have a section; those of groups in groups follow. */
static void put_sections(FILE *out, const struct group *g, const char *path)
{
	for (size_t i = 0; i < g->nkeys; i++) {
		const struct key *k = &g->keys[i];
		char inner[128];

		if (!is_group(k))
			continue;
		snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] ? "." : "", k->name);
		fprintf(out, ".SH KEYS OF %s\n", inner);
		put_sentence(out, k->help);
		if (k->type == KEY_GROUPS)
			fprintf(out, "A list: \\fB%s = ( { key = value; ... }, ... );\\fR\n",
				k->name);
		else
			fprintf(out, "A group: \\fB%s = { key = value; ... };\\fR\n", k->name);
		if (k->main_only)
			fputs("In the main file only.\n", out);
		put_group(out, k->group);
		put_sections(out, k->group, inner);
	}
}

static const char head[] =
	".\\\" Made by `build/out/tests/unit/test_manual --write`; do not edit.\n"
	".TH NVMF-P2PD.CONF 5 \"\" \"nvmf-p2pd\" \"File formats\"\n"
	".SH NAME\n"
	"nvmf-p2pd.conf \\- what the NVMe over Fabrics target nvmf-p2pd exports\n"
	".SH SYNOPSIS\n"
	".nf\n" CONFIG_DEFAULT_DIR "/nvmf\\-p2pd.conf\n" CONFIG_DEFAULT_DIR "/exports.d/*.conf\n"
	".fi\n"
	".SH DESCRIPTION\n"
	"The main file, and then every\n"
	".I exports.d/*.conf\n"
	"beside it in the order of their names (as bytes, hidden files left out), say what is exported and how.\n"
	"Each may hold \\fBports\\fR, \\fBsubsystems\\fR, \\fBhosts\\fR and \\fBreferrals\\fR: these lists add up. \\fBdaemon\\fR\n"
	"stands in the main file. There must be a port and a subsystem.\n"
	".PP\n"
	"The form is libconfig's: \\fBkey = value;\\fR with texts in \"quotes\", integers, true and false; groups in { } and lists\n"
	"in ( ), whose elements have commas between them; comments begin with # or // or stand in /* */.\n"
	"Sizes are texts, a number of bytes with K, M, G, T (1024 and its powers) or no unit: \"4096\", \"64K\".\n"
	"There is no @include. A file is a regular file (or a link to one) of at most 1 MiB.\n"
	".PP\n"
	"Whatever is wrong is refused with file, line, what was read and what is allowed, and nothing of it is used:\n"
	"unknown keys (with the nearest known one), keys given twice, values out of range, and parts that clash, such as two\n"
	"namespaces on one drive.\n"
	".SH CHECKING AND RELOADING\n"
	"\\fBnvmf\\-p2pd \\-\\-check\\fR reads everything, touches no device and exits with 0 or 1.\n"
	"\\fBnvmf\\-p2pd \\-\\-print\\-config\\fR prints what is in effect, defaults filled in, in this form.\n"
	".PP\n"
	"\\fBsystemctl reload nvmf\\-p2pd\\fR (\\fBnvmf\\-p2pctl reload\\fR, SIGHUP) reads the files again and applies what differs from\n"
	"what runs, all of it or nothing. A file that is wrong, a device that cannot be opened, or a key whose change takes a\n"
	"restart leaves all as it was; the log, the answer of nvmf\\-p2pctl and the status that \\fBsystemctl status\\fR shows say why,\n"
	"the latter until a reload succeeds. Hosts are told of namespaces, paths and discovery records that changed;\n"
	"connections that have nothing to do with the difference do not notice.\n"
	"A port on an address that is not there is no reason to refuse: it is tried again until it is.\n"
	".PP\n"
	"Below, each key has its type, its default, what is allowed, and what a reload makes of a change.\n";

static const char tail[] =
	".SH EXAMPLE\n"
	".nf\n"
	"ports = ( { id = 1; address = \"192.0.2.1\"; } );\n"
	"subsystems = ( {\n"
	"    nqn = \"nqn.2024\\-01.org.example:store1\";\n"
	"    allowed_hosts = ( \"nqn.2014\\-08.org.nvmexpress:uuid:0d1c2b3a\\-4f5e\\-4678\\-9abc\\-def012345678\" );\n"
	"    namespaces = ( { nsid = 1; device = \"/dev/disk/by\\-id/nvme\\-example\\-1\"; } );\n"
	"} );\n"
	".fi\n"
	".PP\n"
	"example.conf in the documentation folder has every key, with comments.\n"
	".SH FILES\n"
	".TP\n"
	".I " CONFIG_DEFAULT_DIR "/nvmf\\-p2pd.conf\n"
	"the main file; \\fBnvmf\\-p2pd \\-c\\fR names another\n"
	".TP\n"
	".I " CONFIG_DEFAULT_DIR "/exports.d/*.conf\n"
	"more of them, in a folder beside the main file\n"
	".SH SEE ALSO\n"
	".BR nvmf\\-p2pd (8),\n"
	".BR nvmf\\-p2pctl (8),\n"
	".BR nvme (1)\n";

static char *make_page(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(head, out);
	put_sections(out, &group_file, "");
	fputs(tail, out);
	fclose(out);
	return text;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

START_TEST(the_page_is_up_to_date)
{
	char *want = make_page(), *got = calloc(1, strlen(want) + 2);
	FILE *f = fopen(PAGE, "r");

	ck_assert_msg(f, "no " PAGE ": build/out/tests/unit/test_manual --write");
	got[fread(got, 1, strlen(want) + 1, f)] = '\0';
	fclose(f);
	ck_assert_msg(strcmp(want, got) == 0,
		      PAGE " is out of date: build/out/tests/unit/test_manual --write");
	free(want);
	free(got);
}
END_TEST

static const struct group *find_group(const struct group *g, const char *name)
{
	const struct group *found = strcmp(g->name, name) == 0 ? g : NULL;

	for (size_t i = 0; i < g->nkeys && !found; i++)
		if (is_group(&g->keys[i]))
			found = find_group(g->keys[i].group, name);
	return found;
}

START_TEST(details_are_about_keys_that_exist)
{
	const struct group *g = find_group(&group_file, details[_i].group);

	ck_assert_msg(g, "no group %s", details[_i].group);
	ck_assert_msg(key_find(g, details[_i].key), "no key %s", details[_i].key);
}
END_TEST

static int write_page(void)
{
	char *text = make_page();
	FILE *f = fopen(PAGE, "w");
	bool ok = f && fputs(text, f) >= 0;

	ok = f && fclose(f) == 0 && ok;
	if (!ok)
		perror(PAGE);
	free(text);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	Suite *s = suite_create("manual");
	TCase *tc = tcase_create("page");

	if (argc == 2 && strcmp(argv[1], "--write") == 0)
		return write_page();
	tcase_add_test(tc, the_page_is_up_to_date);
	tcase_add_loop_test(tc, details_are_about_keys_that_exist, 0,
			    (int)(sizeof(details) / sizeof(details[0])));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
