#include "config/nvmet_keys.h"

#include "config/nvmet.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The kernel writes an NGUID as a UUID and takes it with "-", ":" or nothing between the digits. */
static void nguid_to(const char *in, char out[NVMET_TEXT_MAX])
{
	size_t n = 0;

	for (; *in && n + 1 < NVMET_TEXT_MAX; in++)
		if (*in != '-' && *in != ':')
			out[n++] = (char)tolower((unsigned char)*in);
	out[n] = '\0';
}

static void nguid_from(const char *in, char out[NVMET_TEXT_MAX])
{
	char lower[NVMET_TEXT_MAX];

	nguid_to(in, lower);
	snprintf(out, NVMET_TEXT_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", lower, lower + 8, lower + 12,
		 lower + 16, lower + 20);
}

/* "hmac(sha256)" */
static void hash_to(const char *in, char out[NVMET_TEXT_MAX])
{
	size_t len = strlen(in);

	if (len > 6 && strncmp(in, "hmac(", 5) == 0 && in[len - 1] == ')')
		snprintf(out, NVMET_TEXT_MAX, "%.*s", (int)(len < NVMET_TEXT_MAX ? len - 6 : 0),
			 in + 5);
	else
		snprintf(out, NVMET_TEXT_MAX, "%s", in);
}

static void hash_from(const char *in, char out[NVMET_TEXT_MAX])
{
	snprintf(out, NVMET_TEXT_MAX, "hmac(%s)", in);
}

#define NIL_UUID  "00000000-0000-0000-0000-000000000000"
#define NIL_NGUID "00000000000000000000000000000000"
#define OWN_ID    "hosts see the daemon's own"
#define NO_TLS    "there is no secure channel (TLS) over RDMA"
#define NO_PI     "protection information (T10 PI) is not supported"
#define RDMA_ONLY "the daemon speaks RDMA only: what has another transport is left out as a whole"
#define ONE       "a list of one"
#define PASSED    "left out with passthru, where hosts see the drive's"
#define FAMILY    "follows from the address"

/* One line after the other, a row is easier to read than one member below the other. */
/* clang-format off */
static const struct nvmet_key root_keys[] = {
	{ .name = "discovery.nqn", .key = "discovery_nqn",
	  .same = "nqn.2014-08.org.nvmexpress.discovery",
	  .why = "in the main file only, not in exports.d; nvmetcli saves it and does not restore it" },
	{ .name = "hosts", .code = true,
	  .why = "hosts; one without a key needs no entry: it is known by being allowed somewhere" },
	{ .name = "ports", .code = true, .why = "ports; those that are not RDMA are left out" },
	{ .name = "subsystems", .code = true, .why = "subsystems" },
};

static const struct nvmet_key host_keys[] = {
	{ .name = "dhchap.ctrl_key", .key = "dhchap_ctrl_key" },
	{ .name = "dhchap.dhgroup", .key = "dhchap_dhgroup", .dflt = "null", .why = ONE },
	{ .name = "dhchap.hash", .key = "dhchap_hash", .dflt = "hmac(sha256)", .why = ONE,
	  .to = hash_to, .from = hash_from },
	{ .name = "dhchap.key", .key = "dhchap_key" },
	{ .name = "nqn", .key = "nqn", .required = true },
};

static const struct nvmet_key subsystem_keys[] = {
	{ .name = "allowed_hosts", .key = "allowed_hosts", .code = true },
	{ .name = "attr.allow_any_host", .key = "allow_any_host",
	  .why = "a subsystem that nobody may connect to is left out" },
	{ .name = "attr.cntlid_max", .key = "cntlid_max" },
	{ .name = "attr.cntlid_min", .key = "cntlid_min" },
	{ .name = "attr.firmware", .why = OWN_ID " version" },
	{ .name = "attr.ieee_oui", .why = OWN_ID, .same = "0x000000|0x0|0" },
	{ .name = "attr.model", .key = "model", .why = PASSED },
	{ .name = "attr.pi_enable", .why = NO_PI, .same = "0" },
	{ .name = "attr.qid_max", .key = "max_queues" },
	{ .name = "attr.serial", .key = "serial", .why = PASSED },
	{ .name = "attr.subsys_vendor_id", .why = OWN_ID, .same = "0x0|0" },
	{ .name = "attr.vendor_id", .why = OWN_ID, .same = "0x0|0" },
	{ .name = "attr.version", .why = "the daemon states the version of NVMe that it follows" },
	{ .name = "namespaces", .key = "namespaces", .code = true },
	{ .name = "nqn", .key = "nqn", .required = true,
	  .why = "a subsystem that no RDMA port leads to is left out" },
	{ .name = "passthru", .code = true, .why = "the controller that commands are passed to" },
};

static const struct nvmet_key namespace_keys[] = {
	{ .name = "ana.grpid", .key = "ana_group" },
	{ .name = "ana_grpid", .key = "ana_group", .number = true },
	{ .name = "device.nguid", .key = "nguid", .unset = NIL_UUID, .same = NIL_UUID "|" NIL_NGUID,
	  .to = nguid_to, .from = nguid_from },
	{ .name = "device.path", .key = "device", .required = true, .why = "a drive, or a file" },
	{ .name = "device.uuid", .key = "uuid", .same = NIL_UUID },
	{ .name = "enable", .fixed = "1", .number = true, .code = true,
	  .why = "a namespace that is not enabled is left out" },
	{ .name = "nsid", .key = "nsid", .number = true, .required = true },
	{ .name = "resv.enable", .fixed = "1", .same = "1",
	  .why = "hosts may always use reservations" },
};

static const struct nvmet_key passthru_keys[] = {
	{ .name = "admin_timeout", .same = "0", .why = "the kernel driver's own timeouts apply" },
	{ .name = "clear_ids", .fixed = "1", .number = true, .same = "1",
	  .why = "hosts never see the drive's own identifiers" },
	{ .name = "device.path", .key = "passthrough", .required = true,
	  .why = "better its PCI address: the number in /dev/nvme0 may change from boot to boot" },
	{ .name = "enable", .fixed = "1", .number = true, .code = true,
	  .why = "what is not enabled is left out" },
	{ .name = "io_timeout", .same = "0", .why = "the kernel driver's own timeouts apply" },
};

static const struct nvmet_key port_keys[] = {
	{ .name = "addr.adrfam", .code = true, .why = FAMILY },
	{ .name = "addr.traddr", .key = "address", .required = true },
	{ .name = "addr.treq", .fixed = "not specified", .same = "not specified|not required", .why = NO_TLS },
	{ .name = "addr.trsvcid", .key = "service" },
	{ .name = "addr.trtype", .fixed = "rdma", .code = true, .required = true, .why = RDMA_ONLY },
	{ .name = "addr.tsas", .fixed = "connected", .same = "none|connected",
	  .why = "RDMA connections are reliable and connected, without TLS" },
	{ .name = "ana_groups", .key = "ana_groups", .code = true,
	  .why = "groups not named: inaccessible in the kernel's target, optimized here; those in use are named" },
	{ .name = "param.inline_data_size", .key = "in_capsule_data", .same = "-1", .code = true,
	  .why = "16 KiB at most, a multiple of 16" },
	{ .name = "param.max_queue_size", .key = "queue_depth", .same = "-1",
	  .why = "the kernel's target serves 256 at most over RDMA" },
	{ .name = "param.mdts", .same = "-1|0", .code = true,
	  .why = "max_transfer in the main file, one for all ports: the least of theirs" },
	{ .name = "param.pi_enable", .why = NO_PI, .same = "0" },
	{ .name = "portid", .key = "id", .number = true, .required = true },
	{ .name = "referrals", .code = true, .why = "referrals, with ports = ( this one )" },
	{ .name = "subsystems", .code = true, .why = "ports of the subsystem" },
};

static const struct nvmet_key ana_group_keys[] = {
	{ .name = "ana.state", .key = "state", .required = true },
	{ .name = "grpid", .key = "id", .number = true, .required = true },
};

static const struct nvmet_key referral_keys[] = {
	{ .name = "addr.adrfam", .code = true, .why = FAMILY },
	{ .name = "addr.portid", .key = "port_id" },
	{ .name = "addr.traddr", .key = "address", .required = true },
	{ .name = "addr.treq", .fixed = "not specified", .same = "not specified|not required", .why = NO_TLS },
	{ .name = "addr.trsvcid", .key = "service" },
	{ .name = "addr.trtype", .fixed = "rdma", .code = true, .required = true, .why = RDMA_ONLY },
	{ .name = "enable", .fixed = "1", .number = true, .code = true,
	  .why = "a referral that is not enabled is left out" },
	{ .name = "name", .why = "a folder's name in configfs, which no host sees" },
};

const struct nvmet_keys nvmet_keys[NVMET_NOBJECTS] = {
	[NVMET_ROOT] = { "", root_keys, COUNT(root_keys) },
	[NVMET_HOST] = { "hosts[]", host_keys, COUNT(host_keys) },
	[NVMET_SUBSYSTEM] = { "subsystems[]", subsystem_keys, COUNT(subsystem_keys) },
	[NVMET_NAMESPACE] = { "subsystems[].namespaces[]", namespace_keys, COUNT(namespace_keys) },
	[NVMET_PASSTHRU] = { "subsystems[].passthru[]", passthru_keys, COUNT(passthru_keys) },
	[NVMET_PORT] = { "ports[]", port_keys, COUNT(port_keys) },
	[NVMET_ANA_GROUP] = { "ports[].ana_groups[]", ana_group_keys, COUNT(ana_group_keys) },
	[NVMET_REFERRAL] = { "ports[].referrals[]", referral_keys, COUNT(referral_keys) },
};

/* Keys of ours that no row above names. Those that are not here either: the last row. */
static const struct {
	const char *group, *key; /* NULL: any */
	const char *why;         /* NULL: code looks after it */
} ours[] = {
	{ "daemon", "max_transfer", NULL }, /* param.mdts of each port */
	{ "subsystem", "ports", NULL },
	{ "referral", "ports", NULL },
	{ "host", "dhchap_key_file", NULL }, /* the key in it is exported */
	{ "host", "dhchap_ctrl_key_file", NULL },
	{ "daemon", NULL, "it is about this daemon" },
	{ "namespace", "allowed_hosts",
	  "the kernel's target shows a namespace to all hosts of its subsystem; it is exported as not enabled" },
	{ "namespace", "cmb", "the kernel's target has the attribute p2pmem instead, which nvmetcli does not save" },
	{ "referral", "nqn", "the kernel's target refers hosts to the well-known NQN only" },
	{ NULL, NULL, "the kernel's target has no such setting" },
};
/* clang-format on */

const struct nvmet_key *nvmet_key_find(enum nvmet_object o, const char *name)
{
	const struct nvmet_keys *keys = &nvmet_keys[o];

	for (size_t i = 0; i < keys->nkeys; i++)
		if (strcmp(keys->keys[i].name, name) == 0)
			return &keys->keys[i];
	return NULL;
}

static const struct group *sub_group(const struct group *g, const char *list)
{
	return key_find(g, list)->group;
}

const struct group *nvmet_group(enum nvmet_object o)
{
	switch (o) {
	case NVMET_ROOT:
		return sub_group(&group_file, "daemon");
	case NVMET_HOST:
		return sub_group(&group_file, "hosts");
	case NVMET_SUBSYSTEM:
	case NVMET_PASSTHRU:
		return sub_group(&group_file, "subsystems");
	case NVMET_NAMESPACE:
		return sub_group(sub_group(&group_file, "subsystems"), "namespaces");
	case NVMET_PORT:
		return sub_group(&group_file, "ports");
	case NVMET_ANA_GROUP:
		return sub_group(sub_group(&group_file, "ports"), "ana_groups");
	case NVMET_REFERRAL:
		return sub_group(&group_file, "referrals");
	}
	return NULL;
}

bool nvmet_in(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (const char *w = words; w; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL)
		if (strncmp(w, text, len) == 0 && (!w[len] || w[len] == '|'))
			return true;
	return false;
}

static bool has_row(const struct group *g, const char *key)
{
	for (enum nvmet_object o = 0; o < NVMET_NOBJECTS; o++)
		for (size_t i = 0; nvmet_group(o) == g && i < nvmet_keys[o].nkeys; i++)
			if (nvmet_keys[o].keys[i].key &&
			    strcmp(nvmet_keys[o].keys[i].key, key) == 0)
				return true;
	return false;
}

const char *nvmet_no_equal(const struct group *g, const struct key *k)
{
	if (has_row(g, k->name))
		return NULL;
	for (size_t i = 0;; i++)
		if ((!ours[i].group || strcmp(ours[i].group, g->name) == 0) &&
		    (!ours[i].key || strcmp(ours[i].key, k->name) == 0))
			return ours[i].why;
}

/* "in_capsule_data of the port" */
static void print_ours(const struct nvmet_key *k, enum nvmet_object o, FILE *out)
{
	if (k->key && o == NVMET_ROOT && !k->code)
		fprintf(out, "`daemon.%s`", k->key);
	else if (k->key)
		fprintf(out, "`%s`", k->key);
	else if (k->code || k->same)
		fputs("see note", out);
	else
		fputs("none", out);
}

void nvmet_print_keys(FILE *out)
{
	fputs("| nvmetcli's JSON | here | note |\n| --- | --- | --- |\n", out);
	for (enum nvmet_object o = 0; o < NVMET_NOBJECTS; o++) {
		for (size_t i = 0; i < nvmet_keys[o].nkeys; i++) {
			const struct nvmet_key *k = &nvmet_keys[o].keys[i];

			fprintf(out, "| `%s%s%s` | ", nvmet_keys[o].path, o ? "." : "", k->name);
			print_ours(k, o, out);
			fprintf(out, " | %s |\n", k->why ? k->why : "");
		}
	}
}
