#include "config/keys.h"

#include "config/text.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#define KIB          UINT64_C(1024)
#define MIB          (1024 * KIB)
#define GIB          (1024 * MIB)
#define TIB          (1024 * GIB)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define FIELD(type, field)                                                                         \
	.off = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field)
#define GROUP(what, rows, type)                                                                    \
	.name = (what), .keys = (rows), .nkeys = COUNT(rows), .size = sizeof(type)
#define LIST(type, field) FIELD(type, field), .off2 = offsetof(struct type, n##field)

#define NQN_FORM "\"nqn.yyyy-mm.org.example:name\" or \"nqn.2014-08.org.nvmexpress:uuid:UUID\""

static_assert(offsetof(struct config_port, where) == 0, "group_file promises it");
static_assert(offsetof(struct config_subsystem, where) == 0, "");
static_assert(offsetof(struct config_namespace, where) == 0, "");
static_assert(offsetof(struct config_host, where) == 0, "");
static_assert(offsetof(struct config_ana_group, where) == 0, "");
static_assert(offsetof(struct config_referral, where) == 0, "");
static_assert(sizeof(enum config_cmb) == sizeof(uint32_t), "key_set_number() writes it");
static_assert(sizeof(bool) == sizeof(uint8_t), "key_set_number() writes it");

static const char *const flush_choices[] = {
	[CONFIG_FLUSH_NONE] = "none",
	[CONFIG_FLUSH_RDMA_READ] = "rdma-read",
	[CONFIG_FLUSH_CPU_READ] = "cpu-read",
	NULL,
};

const char *const config_ana_names[CONFIG_ANA_NSTATES + 1] = {
	[CONFIG_ANA_OPTIMIZED] = "optimized",
	[CONFIG_ANA_NON_OPTIMIZED] = "non-optimized",
	[CONFIG_ANA_INACCESSIBLE] = "inaccessible",
	[CONFIG_ANA_PERSISTENT_LOSS] = "persistent-loss",
	[CONFIG_ANA_CHANGE] = "change",
	NULL,
};

/* One line after the other, a row is easier to read than one member below the other. */
/* clang-format off */
static const struct key daemon_keys[] = {
	{ .name = "window_size", .type = KEY_SIZE, FIELD(config, window_size),
	  .min = MIB, .max = 2 * GIB - 4 * KIB, .multiple = 4 * KIB, .dflt = GIB,
	  .help = "IOVA window per RNIC and reactor, below 2 GiB" },
	{ .name = "host_memory", .type = KEY_SIZE, FIELD(config, host_memory),
	  .min = MIB, .max = GIB, .multiple = 4 * KIB, .dflt = 64 * MIB,
	  .help = "pinned host staging memory per RNIC" },
	{ .name = "cmb_cap", .type = KEY_SIZE, FIELD(config, cmb_cap),
	  .min = 64 * KIB, .max = TIB, .multiple = 4 * KIB, .dflt = TIB,
	  .help = "most of each CMB that is used" },
	{ .name = "cmb_floor", .type = KEY_SIZE, FIELD(config, cmb_floor),
	  .max = TIB, .multiple = 4 * KIB, .dflt = 16 * MIB,
	  .help = "how much of each CMB is taken at start and kept" },
	{ .name = "cmb_chunk", .type = KEY_SIZE, FIELD(config, cmb_chunk),
	  .min = 64 * KIB, .max = GIB, .pow2 = true, .dflt = 4 * MIB,
	  .help = "step in which more of a CMB is taken, and given back" },
	{ .name = "cmb_reserve", .type = KEY_SIZE, FIELD(config, cmb_reserve),
	  .max = TIB, .multiple = 4 * KIB,
	  .help = "bytes of each CMB left to others" },
	{ .name = "cmb_flush", .type = KEY_CHOICE, FIELD(config, cmb_flush),
	  .choices = flush_choices, .dflt = CONFIG_FLUSH_NONE,
	  .help = "how host data is made sure to be in the CMB before a drive reads it" },
	{ .name = "reactors", .type = KEY_INT, FIELD(config, reactors),
	  .max = 32, .dflt = 0, .unit = "threads",
	  .help = "threads that serve I/O; 0: one for two processors, 4 at most" },
	{ .name = "reactor_cpus", .type = KEY_TEXT, FIELD(config, reactor_cpus), .max = 256,
	  .form = "processors to run them on, by turns, such as \"2-5,8\"", .wrong = cpus_wrong,
	  .help = "processors that the reactors are bound to; left out: not bound" },
	{ .name = "shared_receives", .type = KEY_INT, FIELD(config, shared_receives),
	  .max = 16384, .dflt = 2048,
	  .help = "capsules that all I/O queues of a reactor can receive at once; 0: each queue has its own receives" },
	{ .name = "queue_memory", .type = KEY_SIZE, FIELD(config, queue_memory),
	  .min = 64 * KIB, .max = GIB, .multiple = 4 * KIB, .dflt = 32 * MIB,
	  .reload = RELOAD_NEW, .help = "most memory for the queue of one connection" },
	{ .name = "connection_memory", .type = KEY_SIZE, FIELD(config, connection_memory),
	  .min = MIB, .max = TIB, .multiple = 4 * KIB, .dflt = GIB,
	  .reload = RELOAD_NEW, .help = "most memory for the queues of all connections" },
	{ .name = "host_controllers", .type = KEY_INT, FIELD(config, host_controllers),
	  .max = 65519, .dflt = 1024, .unit = "controllers",
	  .reload = RELOAD_NEW, .help = "most controllers of one host; 0: no limit" },
	{ .name = "host_queues", .type = KEY_INT, FIELD(config, host_queues),
	  .max = INT32_MAX, .unit = "queues",
	  .reload = RELOAD_NEW, .help = "most I/O queues of one host; 0: no limit" },
	{ .name = "host_queue_memory", .type = KEY_SIZE, FIELD(config, host_queue_memory),
	  .max = TIB, .multiple = 4 * KIB, .dflt = 512 * MIB,
	  .reload = RELOAD_NEW, .help = "most memory for the queues of one host; 0: no limit" },
	{ .name = "poll_us", .type = KEY_INT, FIELD(config, poll_us),
	  .max = 10000, .dflt = 1000, .unit = "us",
	  .reload = RELOAD_NOW, .help = "longest time to look for more work before sleeping; 0: sleep at once" },
	{ .name = "max_transfer", .type = KEY_SIZE, FIELD(config, max_transfer_len),
	  .min = 8 * KIB, .max = 4 * MIB, .pow2 = true, .dflt = MIB,
	  .help = "most data of one command (MDTS)" },
	{ .name = "keep_alive_max_ms", .type = KEY_INT, FIELD(config, keep_alive_max_ms),
	  .max = INT32_MAX, .unit = "ms",
	  .reload = RELOAD_NEW, .help = "longest keep-alive timeout accepted; 0: no limit" },
	{ .name = "discovery_nqn", .type = KEY_TEXT, FIELD(config, discovery_nqn),
	  .min = 1, .max = CONFIG_NQN_MAX, .wrong = subsystem_nqn_wrong, .form = NQN_FORM,
	  .help = "the discovery service's own name, beside the well-known one" },
	{ .name = "control_socket", .type = KEY_TEXT, FIELD(config, control_socket),
	  .min = 2, .max = 107, .wrong = device_wrong, .dflt_text = "/run/nvmf-p2pd/control",
	  .form = "an absolute path as in \"/run/nvmf-p2pd/control\"",
	  .help = "the socket that nvmf-p2pctl talks to" },
	{ .name = "control_group", .type = KEY_TEXT, FIELD(config, control_group),
	  .min = 1, .max = 32, .wrong = group_wrong, .form = "the name of a group as in \"nvmf-p2pd-readers\"",
	  .help = "group whose members may ask through that socket, and change nothing" },
	{ .name = "metrics", .type = KEY_TEXT, FIELD(config, metrics),
	  .min = 3, .max = 80, .wrong = endpoint_wrong, .dflt_text = "127.0.0.1:9748",
	  .form = "\"off\", or a numeric address and a port as in \"127.0.0.1:9748\", \"[::1]:9748\"",
	  .reload = RELOAD_NOW, .help = "where metrics are served to Prometheus, by HTTP without a password" },
	{ .name = "state_dir", .type = KEY_TEXT, FIELD(config, state_dir),
	  .min = 2, .max = CONFIG_STATE_DIR_MAX, .wrong = folder_wrong, .dflt_text = "/var/lib/nvmf-p2pd",
	  .form = "an absolute path as in \"/var/lib/nvmf-p2pd\"",
	  .help = "folder for what a restart finds again: reservations, write protection, controller IDs" },
	{ .name = "stop_timeout_ms", .type = KEY_INT, FIELD(config, stop_timeout_ms),
	  .min = 100, .max = 60000, .dflt = 10000, .unit = "ms",
	  .help = "longest time to end commands and connections when told to stop" },
	{ .name = "core_dumps", .type = KEY_BOOL, FIELD(config, core_dumps),
	  .reload = RELOAD_NOW, .help = "whether a crash may leave a core dump, with keys and hosts' data in it" },
};

static const struct key ana_group_keys[] = {
	{ .name = "id", .type = KEY_INT, FIELD(config_ana_group, id), .required = true,
	  .min = 1, .max = CONFIG_ANA_GROUPS,
	  .reload = RELOAD_NOW, .help = "the group's number" },
	{ .name = "state", .type = KEY_CHOICE, FIELD(config_ana_group, state), .required = true,
	  .choices = config_ana_names,
	  .reload = RELOAD_NOW, .help = "how its namespaces are reached through the port" },
};

static const struct group group_ana_group = {
	GROUP("ANA group", ana_group_keys, struct config_ana_group),
};

static const struct key port_keys[] = {
	{ .name = "id", .type = KEY_INT, FIELD(config_port, id), .required = true,
	  .min = 1, .max = UINT16_MAX,
	  .reload = RELOAD_NOW, .help = "the port's number in the discovery log" },
	{ .name = "address", .type = KEY_TEXT, FIELD(config_port, address), .required = true,
	  .min = 1, .max = 63, .wrong = address_wrong,
	  .form = "a numeric IPv4 or IPv6 address (wildcard too), link-local with interface: \"fe80::1%eth0\"",
	  .reload = RELOAD_NOW, .help = "where to listen" },
	{ .name = "service", .type = KEY_SERVICE, FIELD(config_port, service),
	  .min = 1, .max = UINT16_MAX, .dflt_text = "4420",
	  .reload = RELOAD_NOW, .help = "RDMA port number" },
	{ .name = "in_capsule_data", .type = KEY_SIZE, FIELD(config_port, in_capsule_data_len),
	  .max = 16 * KIB, .multiple = 16, .dflt = 4 * KIB,
	  .reload = RELOAD_NEW, .help = "write data a command may carry with it" },
	{ .name = "queue_depth", .type = KEY_INT, FIELD(config_port, queue_depth),
	  .min = 16, .max = 1024, .dflt = 128, .unit = "entries",
	  .reload = RELOAD_NEW, .help = "most entries of an I/O queue" },
	{ .name = "ana_groups", .type = KEY_GROUPS, LIST(config_port, ana_groups),
	  .max = CONFIG_ANA_GROUPS, .group = &group_ana_group,
	  .reload = RELOAD_NOW, .help = "states of ANA groups at the start; those not named are optimized" },
};

static const char *const cmb_choices[] = {
	[CONFIG_CMB_PREFER] = "prefer",
	[CONFIG_CMB_REQUIRE] = "require",
	[CONFIG_CMB_OFF] = "off",
	NULL,
};

static const struct key namespace_keys[] = {
	{ .name = "nsid", .type = KEY_INT, FIELD(config_namespace, nsid), .required = true,
	  .min = 1, .max = CONFIG_NSID_MAX,
	  .reload = RELOAD_NOW, .help = "the namespace's number in its subsystem" },
	{ .name = "device", .type = KEY_TEXT, FIELD(config_namespace, device), .required = true,
	  .min = 2, .max = 4095, .wrong = device_wrong,
	  .form = "an absolute path as in \"/dev/nvme0n1\"",
	  .reload = RELOAD_NOW, .help = "the drive behind it" },
	{ .name = "cmb", .type = KEY_CHOICE, FIELD(config_namespace, cmb),
	  .choices = cmb_choices, .dflt = CONFIG_CMB_PREFER,
	  .reload = RELOAD_NOW, .help = "whether data is staged in the drive's controller memory buffer" },
	{ .name = "polled", .type = KEY_BOOL, FIELD(config_namespace, polled),
	  .reload = RELOAD_NOW, .help = "whether completions are looked for in the drive's polled queues, which keeps a processor busy" },
	{ .name = "scratch", .type = KEY_TEXT, FIELD(config_namespace, scratch),
	  .min = 2, .max = 4095, .wrong = device_wrong,
	  .form = "an absolute path as in \"/dev/nvme0n1p9\"",
	  .reload = RELOAD_NOW, .help = "a partition of the same drive that may be overwritten by the proof of its writes" },
	{ .name = "allowed_hosts", .type = KEY_TEXTS, LIST(config_namespace, allowed_hosts),
	  .max = UINT16_MAX, .wrong = nqn_wrong, .form = NQN_FORM,
	  .reload = RELOAD_NOW, .help = "the hosts that see it; left out: all that the subsystem allows" },
	{ .name = "uuid", .type = KEY_UUID, FIELD(config_namespace, uuid),
	  .off2 = offsetof(struct config_namespace, has_uuid),
	  .form = "a UUID as in \"6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b11\"",
	  .reload = RELOAD_NOW, .help = "the namespace's name for hosts with several paths to it" },
	{ .name = "nguid", .type = KEY_TEXT, FIELD(config_namespace, nguid),
	  .min = 32, .max = 32, .wrong = hex_wrong,
	  .form = "32 hexadecimal digits",
	  .reload = RELOAD_NOW, .help = "its globally unique identifier (NGUID); that of its uuid if left out" },
	{ .name = "eui64", .type = KEY_TEXT, FIELD(config_namespace, eui64),
	  .min = 16, .max = 16, .wrong = hex_wrong,
	  .form = "16 hexadecimal digits",
	  .reload = RELOAD_NOW, .help = "its IEEE extended unique identifier (EUI-64)" },
	{ .name = "ana_group", .type = KEY_INT, FIELD(config_namespace, ana_group),
	  .min = 1, .max = CONFIG_ANA_GROUPS, .dflt = 1,
	  .reload = RELOAD_NOW, .help = "the ANA group it belongs to" },
};

static const struct group group_namespace = {
	GROUP("namespace", namespace_keys, struct config_namespace),
};

static const char *const model_choices[] = {
	[CONFIG_MODEL_DYNAMIC] = "dynamic",
	[CONFIG_MODEL_STATIC] = "static",
	NULL,
};

static const struct key subsystem_keys[] = {
	{ .name = "nqn", .type = KEY_TEXT, FIELD(config_subsystem, nqn), .required = true,
	  .min = 1, .max = CONFIG_NQN_MAX, .wrong = subsystem_nqn_wrong, .form = NQN_FORM,
	  .reload = RELOAD_NOW, .help = "the subsystem's name" },
	{ .name = "serial", .type = KEY_TEXT, FIELD(config_subsystem, serial),
	  .min = 1, .max = CONFIG_SERIAL_MAX, .wrong = ascii_wrong,
	  .form = "printable ASCII",
	  .reload = RELOAD_NOW, .help = "serial number; derived from the NQN if left out" },
	{ .name = "model", .type = KEY_TEXT, FIELD(config_subsystem, model),
	  .min = 1, .max = CONFIG_MODEL_MAX, .wrong = ascii_wrong,
	  .form = "printable ASCII",
	  .reload = RELOAD_NOW, .help = "model number; the daemon's own if left out" },
	{ .name = "allow_any_host", .type = KEY_BOOL, FIELD(config_subsystem, allow_any_host),
	  .reload = RELOAD_NOW, .help = "let every host connect" },
	{ .name = "allowed_hosts", .type = KEY_TEXTS, LIST(config_subsystem, allowed_hosts),
	  .max = UINT16_MAX, .wrong = nqn_wrong, .form = NQN_FORM,
	  .reload = RELOAD_NOW, .help = "NQNs of the hosts that may connect" },
	{ .name = "controller_model", .type = KEY_CHOICE,
	  FIELD(config_subsystem, controller_model),
	  .choices = model_choices, .dflt = CONFIG_MODEL_DYNAMIC,
	  .reload = RELOAD_NEW, .help = "whether hosts get a new controller or one of a fixed number" },
	{ .name = "cntlid_min", .type = KEY_INT, FIELD(config_subsystem, cntlid_min),
	  .min = 1, .max = 65519, .dflt = 1,
	  .reload = RELOAD_NEW, .help = "the smallest controller ID" },
	{ .name = "cntlid_max", .type = KEY_INT, FIELD(config_subsystem, cntlid_max),
	  .min = 1, .max = 65519, .dflt = 65519,
	  .reload = RELOAD_NEW, .help = "the largest controller ID" },
	{ .name = "max_controllers", .type = KEY_INT, FIELD(config_subsystem, max_controllers),
	  .max = 65519, .unit = "controllers",
	  .reload = RELOAD_NEW, .help = "most controllers at a time; 0: no limit" },
	{ .name = "max_queues", .type = KEY_INT, FIELD(config_subsystem, max_queues),
	  .min = 1, .max = 128, .dflt = 128, .unit = "queues",
	  .reload = RELOAD_NEW, .help = "most I/O queues of a controller" },
	{ .name = "ports", .type = KEY_PORT_IDS, LIST(config_subsystem, ports),
	  .min = 1, .max = UINT16_MAX,
	  .reload = RELOAD_NOW, .help = "ids of the ports it is reached through; all of them if left out" },
	{ .name = "namespaces", .type = KEY_GROUPS, LIST(config_subsystem, namespaces),
	  .max = CONFIG_NSID_MAX, .group = &group_namespace,
	  .reload = RELOAD_NOW, .help = "its namespaces" },
	{ .name = "passthrough", .type = KEY_TEXT, FIELD(config_subsystem, passthrough),
	  .min = 2, .max = 4095, .wrong = controller_wrong,
	  .form = "a PCI address as in \"0000:03:00.0\", or an absolute path as in \"/dev/nvme0\"",
	  .help = "instead of namespaces: the NVMe controller that commands are passed to" },
	{ .name = "passthrough_vendor_admin", .type = KEY_BOOL,
	  FIELD(config_subsystem, passthrough_vendor_admin),
	  .help = "pass its vendor specific admin commands and log pages too, whatever they do" },
	{ .name = "cmb", .type = KEY_CHOICE, FIELD(config_subsystem, cmb),
	  .choices = cmb_choices, .dflt = CONFIG_CMB_PREFER,
	  .reload = RELOAD_NOW, .help = "with passthrough, what cmb is to a namespace" },
};

static const char *const hash_choices[] = { "sha256", "sha384", "sha512", NULL };

static const char *const dhgroup_choices[] = {
	"null", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192", NULL,
};

#define KEY_FORM "a key as \"nvme gen-dhchap-key\" makes it, \"DHHC-1:...:\""

static const struct key host_keys[] = {
	{ .name = "nqn", .type = KEY_TEXT, FIELD(config_host, nqn), .required = true,
	  .min = 1, .max = CONFIG_NQN_MAX, .wrong = nqn_wrong, .form = NQN_FORM,
	  .reload = RELOAD_NOW, .help = "the host's name" },
	{ .name = "dhchap_key", .type = KEY_SECRET, FIELD(config_host, dhchap_key),
	  .min = 1, .max = CONFIG_DHCHAP_TEXT_MAX, .wrong = dhchap_key_wrong, .form = KEY_FORM,
	  .reload = RELOAD_NOW, .help = "the secret by which the host proves who it is" },
	{ .name = "dhchap_key_file", .type = KEY_TEXT, FIELD(config_host, dhchap_key_file),
	  .min = 2, .max = 4095, .wrong = device_wrong,
	  .form = "an absolute path as in \"/etc/nvmf-p2pd/keys/host1\"",
	  .reload = RELOAD_NOW, .help = "a file that holds it, which nobody else may read" },
	{ .name = "dhchap_ctrl_key", .type = KEY_SECRET, FIELD(config_host, dhchap_ctrl_key),
	  .min = 1, .max = CONFIG_DHCHAP_TEXT_MAX, .wrong = dhchap_key_wrong, .form = KEY_FORM,
	  .reload = RELOAD_NOW, .help = "the secret by which the subsystem proves to the host what it is" },
	{ .name = "dhchap_ctrl_key_file", .type = KEY_TEXT, FIELD(config_host, dhchap_ctrl_key_file),
	  .min = 2, .max = 4095, .wrong = device_wrong,
	  .form = "an absolute path as in \"/etc/nvmf-p2pd/keys/host1-ctrl\"",
	  .reload = RELOAD_NOW, .help = "a file that holds it, which nobody else may read" },
	{ .name = "dhchap_hash", .type = KEY_CHOICES, LIST(config_host, dhchap_hashes),
	  .min = 1, .max = CONFIG_DHCHAP_NHASHES, .choices = hash_choices,
	  .reload = RELOAD_NEW, .help = "hash functions that may be used, best first; left out: all" },
	{ .name = "dhchap_dhgroup", .type = KEY_CHOICES, LIST(config_host, dhchap_dhgroups),
	  .min = 1, .max = CONFIG_DHCHAP_NDHGROUPS, .choices = dhgroup_choices,
	  .reload = RELOAD_NEW, .help = "Diffie-Hellman groups that may be used, best first; left out: all, with \"null\" last" },
	{ .name = "dhchap_discovery", .type = KEY_BOOL, FIELD(config_host, dhchap_discovery),
	  .reload = RELOAD_NOW, .help = "whether the discovery service asks for the key too" },
};

static const struct key referral_keys[] = {
	{ .name = "address", .type = KEY_TEXT, FIELD(config_referral, address), .required = true,
	  .min = 1, .max = 63, .wrong = peer_address_wrong,
	  .form = "a numeric IPv4 or IPv6 address",
	  .reload = RELOAD_NOW, .help = "where the other discovery service listens" },
	{ .name = "service", .type = KEY_SERVICE, FIELD(config_referral, service),
	  .min = 1, .max = UINT16_MAX, .dflt_text = "4420",
	  .reload = RELOAD_NOW, .help = "its RDMA port number" },
	{ .name = "nqn", .type = KEY_TEXT, FIELD(config_referral, nqn),
	  .min = 1, .max = CONFIG_NQN_MAX, .wrong = discovery_nqn_wrong, .form = NQN_FORM,
	  .dflt_text = "nqn.2014-08.org.nvmexpress.discovery",
	  .reload = RELOAD_NOW, .help = "its NQN" },
	{ .name = "port_id", .type = KEY_INT, FIELD(config_referral, port_id),
	  .max = UINT16_MAX,
	  .reload = RELOAD_NOW, .help = "the number of that port there; 0: not known" },
	{ .name = "ports", .type = KEY_PORT_IDS, LIST(config_referral, ports),
	  .min = 1, .max = UINT16_MAX,
	  .reload = RELOAD_NOW, .help = "ids of the ports whose hosts are told; all of them if left out" },
};

static const struct group group_referral = {
	GROUP("referral", referral_keys, struct config_referral),
};

static_assert(COUNT(daemon_keys) <= CONFIG_DAEMON_KEYS_MAX, "each has its line");

const struct group group_daemon = {
	GROUP("daemon", daemon_keys, struct config),
	.lines = offsetof(struct config, daemon_lines),
};

static const struct group group_port = {
	GROUP("port", port_keys, struct config_port),
};

static const struct group group_subsystem = {
	GROUP("subsystem", subsystem_keys, struct config_subsystem),
};

static const struct group group_host = {
	GROUP("host", host_keys, struct config_host),
};

static const struct key file_keys[] = {
	{ .name = "daemon", .type = KEY_GROUP, .main_only = true, .group = &group_daemon,
	  .reload = RELOAD_NOW, .help = "the daemon as a whole" },
	{ .name = "ports", .type = KEY_GROUPS, LIST(config, ports), .max = UINT16_MAX,
	  .group = &group_port, .reload = RELOAD_NOW, .help = "where the daemon listens" },
	{ .name = "subsystems", .type = KEY_GROUPS, LIST(config, subsystems), .max = UINT32_MAX,
	  .group = &group_subsystem, .reload = RELOAD_NOW, .help = "what it exports" },
	{ .name = "hosts", .type = KEY_GROUPS, LIST(config, hosts), .max = UINT32_MAX,
	  .group = &group_host, .reload = RELOAD_NOW, .help = "the keys of hosts that must authenticate" },
	{ .name = "referrals", .type = KEY_GROUPS, LIST(config, referrals), .max = UINT16_MAX,
	  .group = &group_referral, .reload = RELOAD_NOW, .help = "other discovery services that hosts are told of" },
};

const struct group group_file = {
	GROUP("file", file_keys, struct config),
};
/* clang-format on */

const struct key *key_find(const struct group *g, const char *name)
{
	for (size_t i = 0; i < g->nkeys; i++)
		if (strcmp(g->keys[i].name, name) == 0)
			return &g->keys[i];
	return NULL;
}

#define NAME_MAX_LEN 32

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Letters added, dropped, changed or swapped with their neighbour to come from @a to @b. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
	size_t alen = strlen(a), blen = strlen(b);

	for (size_t i = 0; i <= alen; i++)
		row[i][0] = (unsigned int)i;
	for (size_t j = 0; j <= blen; j++)
		row[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= alen; i++) {
		for (size_t j = 1; j <= blen; j++) {
			bool same = strncasecmp(a + i - 1, b + j - 1, 1) == 0;

			row[i][j] = min3(row[i - 1][j] + 1, row[i][j - 1] + 1,
					 row[i - 1][j - 1] + !same);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[i][j] = min3(row[i][j], row[i - 2][j - 2] + 1, row[i][j]);
		}
	}
	return row[alen][blen];
}

const struct key *key_nearest(const struct group *g, const char *name)
{
	const struct key *nearest = NULL;
	size_t len = strlen(name), least = (len + 1) / 2 + 1; /* half of it must be right */

	if (len > NAME_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < g->nkeys; i++) {
		unsigned int d = distance(name, g->keys[i].name);

		if (d < least) {
			least = d;
			nearest = &g->keys[i];
		}
	}
	return nearest;
}

uint64_t key_number(const struct key *k, const void *obj)
{
	const char *field = (const char *)obj + k->off;
	union {
		uint8_t u8;
		uint16_t u16;
		uint32_t u32;
		uint64_t u64;
	} v = { 0 };

	assert(k->size <= sizeof(v));
	memcpy(&v, field, k->size);
	switch (k->size) {
	case 1:
		return v.u8;
	case 2:
		return v.u16;
	case 4:
		return v.u32;
	default:
		return v.u64;
	}
}

void key_set_number(const struct key *k, void *obj, uint64_t value)
{
	char *field = (char *)obj + k->off;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;
	uint8_t u8 = (uint8_t)value;

	switch (k->size) {
	case 1:
		memcpy(field, &u8, sizeof(u8));
		break;
	case 2:
		memcpy(field, &u16, sizeof(u16));
		break;
	case 4:
		memcpy(field, &u32, sizeof(u32));
		break;
	default:
		memcpy(field, &value, sizeof(value));
	}
	assert(key_number(k, obj) == value); /* the row's max fits its field */
}

static void key_default(const struct key *k, void *obj)
{
	switch (k->type) {
	case KEY_INT:
	case KEY_SIZE:
	case KEY_BOOL:
	case KEY_CHOICE:
		key_set_number(k, obj, k->dflt);
		break;
	case KEY_TEXT:
	case KEY_SECRET:
	case KEY_SERVICE:
		memcpy((char *)obj + k->off, &k->dflt_text, sizeof(k->dflt_text));
		break;
	case KEY_GROUP:
		key_defaults(k->group, obj);
		break;
	case KEY_UUID:
	case KEY_TEXTS:
	case KEY_CHOICES:
	case KEY_PORT_IDS:
	case KEY_GROUPS:
		break; /* all zero: none */
	}
}

void key_defaults(const struct group *g, void *obj)
{
	for (size_t i = 0; i < g->nkeys; i++)
		key_default(&g->keys[i], obj);
}

static const char units[] = "KMGT";

struct size_text size_print(uint64_t bytes)
{
	struct size_text s;
	size_t unit = 0;

	while (bytes && bytes % 1024 == 0 && units[unit]) {
		bytes /= 1024;
		unit++;
	}
	snprintf(s.text, sizeof(s.text), "%llu%.1s", (unsigned long long)bytes,
		 unit ? &units[unit - 1] : "");
	return s;
}

bool size_parse(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	if (*text) {
		const char *unit = strchr(units, *text);

		if (!unit || text[1])
			return false;
		for (; unit >= units; unit--)
			if (__builtin_mul_overflow(value, UINT64_C(1024), &value))
				return false;
	}
	*ret = value;
	return true;
}

static void allowed_size(const struct key *k, struct allowed_text *a)
{
	int n = snprintf(a->text, sizeof(a->text), "\"%s\"..\"%s\"", size_print(k->min).text,
			 size_print(k->max).text);

	if (k->pow2)
		snprintf(a->text + n, sizeof(a->text) - (size_t)n, ", a power of two");
	else if (k->multiple)
		snprintf(a->text + n, sizeof(a->text) - (size_t)n, ", a multiple of \"%s\"",
			 size_print(k->multiple).text);
}

static void allowed_choices(const struct key *k, struct allowed_text *a)
{
	size_t n = (size_t)snprintf(a->text, sizeof(a->text), "%s",
				    k->type == KEY_CHOICES ? "a list of " : "");

	for (size_t i = 0; k->choices[i] && n < sizeof(a->text); i++)
		n += (size_t)snprintf(a->text + n, sizeof(a->text) - n, "%s\"%s\"", i ? ", " : "",
				      k->choices[i]);
}

struct allowed_text allowed(const struct key *k)
{
	struct allowed_text a;
	unsigned long long min = k->min, max = k->max;

	switch (k->type) {
	case KEY_INT:
		snprintf(a.text, sizeof(a.text), "%llu..%llu%s%s", min, max, k->unit ? " " : "",
			 k->unit ? k->unit : "");
		break;
	case KEY_SIZE:
		allowed_size(k, &a);
		break;
	case KEY_BOOL:
		snprintf(a.text, sizeof(a.text), "true, false");
		break;
	case KEY_SERVICE:
		snprintf(a.text, sizeof(a.text), "%llu..%llu, as in \"4420\"", min, max);
		break;
	case KEY_CHOICE:
	case KEY_CHOICES:
		allowed_choices(k, &a);
		break;
	case KEY_TEXT:
	case KEY_SECRET:
	case KEY_UUID:
		snprintf(a.text, sizeof(a.text), "%s", k->form);
		break;
	case KEY_TEXTS:
		snprintf(a.text, sizeof(a.text), "( \"...\", \"...\" ), each %s", k->form);
		break;
	case KEY_PORT_IDS:
		snprintf(a.text, sizeof(a.text), "( 1, 2 ), each the id of a port");
		break;
	case KEY_GROUP:
		snprintf(a.text, sizeof(a.text), "{ key = value; ... }");
		break;
	case KEY_GROUPS:
		snprintf(a.text, sizeof(a.text), "( { key = value; ... }, { ... } )");
		break;
	}
	return a;
}
