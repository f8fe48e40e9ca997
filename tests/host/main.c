/*
 * nvmf-test-host: a host of NVMe over RDMA that sends any capsule and checks any response.
 *
 *   nvmf-test-host [OPTION...] [CASE-OR-GROUP...]     test a target; `ok` or `not ok` for each case
 *   nvmf-test-host [OPTION...] send [FIELD...]        send one capsule and print the response
 */
#include "tests/host/send.h"
#include "tests/host/suite.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

const struct test_group test_groups[] = {
	{ "cm", "connection requests and their reject status", cm_cases, false },
	{ "connect", "the Connect command", connect_cases, false },
	{ "property", "properties, enabling, disabling, shutdown", property_cases, false },
	{ "admin", "admin commands: every opcode, CNS, log page, feature", admin_cases, false },
	{ "io", "I/O commands: every opcode, bounds, data", io_cases, false },
	{ "sgl", "SGL descriptors: every type and sub type, lengths, keys", sgl_cases, false },
	{ "flow", "SQ head, flow control, too many commands, capsule lengths", flow_cases, false },
	{ "state", "commands at the wrong time", state_cases, false },
	{ "keepalive", "keep alive; takes some seconds", keep_alive_cases, false },
	{ "aer", "asynchronous event requests", aer_cases, false },
	{ "abort", "the Abort command", abort_cases, false },
	{ "hostile", "only when named: what a host tries that means harm, and the many ways to go",
	  hostile_cases, true },
	{ "deaf", "only when named: hosts that take no responses; takes minutes", deaf_cases,
	  true },
	{ "stale", "only when named: bytes of another host, which no answer may bring", stale_cases,
	  true },
	{ "unregistered", "only when named: reservation commands of every action and type",
	  unregistered_cases, true },
	{ "resv", "reservations, with two hosts", resv_cases, false },
	{ "protect", "write protection; the daemon's state_dir must be writable", protect_cases,
	  false },
	{ "auth-unasked", "authentication by a host that need not", auth_unasked_cases, false },
	{ "auth", "only when named: for a daemon that has a dhchap_key for our host NQN",
	  auth_cases, true },
	{ "ana-inaccessible", "only when named: while our path is in that state",
	  ana_inaccessible_cases, true },
	{ "ana-persistent-loss", "only when named: while our path is in that state", ana_loss_cases,
	  true },
	{ "ana-change", "only when named: while our path is in that state", ana_change_cases,
	  true },
	{ "unsaved", "only when named: for a daemon whose state_dir is no folder", unsaved_cases,
	  true },
	{ "read-only", "only when named: while the drive cannot be written (blockdev --setro)",
	  read_only_cases, true },
	{ "no-space", "only when named: for a sparse file on a full file system", no_space_cases,
	  true },
	{ "media", "only when named: while the drive fails reads and writes by medium errors",
	  media_cases, true },
	{ "stale-media", "only when named: as media", stale_media_cases, true },
	{ "stale-pieces", "only when named: as stale, where pieces may begin on no page",
	  stale_piece_cases, true },
	{ "stale-edge", "only when named: for a namespace whose middle block cannot be read",
	  stale_edge_cases, true },
	{ "not-ready", "only when named: for cmb = \"require\" and a drive that no CMB serves",
	  not_ready_cases, true },
	{ "require", "only when named: for a namespace with cmb = \"require\"", require_cases,
	  true },
	{ "cm-resources", "only when named: for a daemon with connection_memory = \"1M\"",
	  cm_resource_cases, true },
	{ "limits", "only when named: for a daemon with host_controllers = 2; host_queues = 3",
	  limit_cases, true },
};
const size_t ntest_groups = sizeof(test_groups) / sizeof(test_groups[0]);

struct settings {
	const char *address, *service;
	struct fab_host fh;
	struct suite suite;
};

static void print_help(void)
{
	printf("nvmf-test-host [OPTION...] [CASE-OR-GROUP...]\n"
	       "nvmf-test-host [OPTION...] send [FIELD...]\n"
	       "\n"
	       "A host of NVMe over RDMA for tests. Without names, every group is run. It WRITES to the first\n"
	       "blocks of the subsystem's first namespace.\n"
	       "\n"
	       "  -a, --address A       the target's address (default 10.0.0.1)\n"
	       "  -s, --service S       its port (default 4420)\n"
	       "  -n, --nqn N           the subsystem (default nqn.2026-11.org.nvmf-p2pd:test)\n"
	       "  -q, --hostnqn N       who we are\n"
	       "      --closed-nqn N    a subsystem that does not allow us (else a case is skipped)\n"
	       "      --static-nqn N    one with static controllers, IDs 100 and 101 (else cases are skipped)\n"
	       "      --dhchap-secret S our key (else cases of the group auth are skipped)\n"
	       "      --target-key N    a key of the target's own memory regions; may be given 64 times\n"
	       "      --target-address N an address there, which the group hostile tries to reach\n"
	       "      --sample N        only N cases of each group, chosen by the seed\n"
	       "      --seed N          a number (default 1)\n"
	       "      --after COMMAND   run after each case, with the number of connections that we have as its\n"
	       "                        last argument; if its exit code is not 0 the case has failed, and the\n"
	       "                        first line that it prints is why\n"
	       "      --list            print the names of the cases\n"
	       "      --help, --version\n"
	       "\n"
	       "Prints `ok NAME`, `not ok NAME: got ..., expected ...`, `todo NAME: ...` for what the target\n"
	       "is not to do yet, `skip NAME: ...` for what this target does not offer; the last line is\n"
	       "`N passed, N failed`. Exit code 0: none failed; 1: some did; 2: wrong usage.\n"
	       "\n"
	       "Groups:\n");
	for (size_t i = 0; i < ntest_groups; i++)
		printf("  %-20s %s\n", test_groups[i].name, test_groups[i].about);
	printf("\n");
	send_help();
}

enum {
	OPT_LIST = 256,
	OPT_CLOSED,
	OPT_STATIC,
	OPT_SECRET,
	OPT_KEY,
	OPT_REACH,
	OPT_SAMPLE,
	OPT_SEED,
	OPT_AFTER,
	OPT_HELP,
	OPT_VERSION
};

static const struct option options[] = {
	{ "address", required_argument, NULL, 'a' },
	{ "service", required_argument, NULL, 's' },
	{ "nqn", required_argument, NULL, 'n' },
	{ "hostnqn", required_argument, NULL, 'q' },
	{ "closed-nqn", required_argument, NULL, OPT_CLOSED },
	{ "static-nqn", required_argument, NULL, OPT_STATIC },
	{ "dhchap-secret", required_argument, NULL, OPT_SECRET },
	{ "target-key", required_argument, NULL, OPT_KEY },
	{ "target-address", required_argument, NULL, OPT_REACH },
	{ "sample", required_argument, NULL, OPT_SAMPLE },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "after", required_argument, NULL, OPT_AFTER },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

/* Return: -1 to go on, or the exit code. */
static int parse(struct settings *set, int argc, char **argv)
{
	int opt;

	/* "+": what follows `send` is its own */
	while ((opt = getopt_long(argc, argv, "+a:s:n:q:", options, NULL)) != -1)
		switch (opt) {
		case 'a':
			set->address = optarg;
			break;
		case 's':
			set->service = optarg;
			break;
		case 'n':
			strlcpy(set->fh.nqn, optarg, sizeof(set->fh.nqn));
			break;
		case 'q':
			strlcpy(set->fh.hostnqn, optarg, sizeof(set->fh.hostnqn));
			break;
		case OPT_CLOSED:
			set->suite.closed_nqn = optarg;
			break;
		case OPT_STATIC:
			set->suite.static_nqn = optarg;
			break;
		case OPT_SECRET:
			set->suite.secret = optarg;
			break;
		case OPT_KEY:
			if (set->suite.nkeys < sizeof(set->suite.keys) / sizeof(uint32_t))
				set->suite.keys[set->suite.nkeys++] =
					(uint32_t)strtoul(optarg, NULL, 0);
			break;
		case OPT_REACH:
			set->suite.reach_addr = strtoull(optarg, NULL, 0);
			break;
		case OPT_SAMPLE:
			set->suite.sample = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case OPT_SEED:
			set->suite.seed = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case OPT_AFTER:
			set->suite.after = optarg;
			break;
		case OPT_LIST:
			set->suite.list = true;
			break;
		case OPT_HELP:
			print_help();
			return 0;
		case OPT_VERSION:
			printf("nvmf-test-host %s\n", NVMF_P2PD_VERSION);
			return 0;
		default:
			fprintf(stderr, "nvmf-test-host: try --help\n");
			return 2;
		}
	return -1;
}

/* A name that names nothing is a test that is never run. */
static bool names_are_known(const struct suite *s)
{
	for (int i = 0; i < s->nwanted; i++) {
		size_t len = strcspn(s->wanted[i], "/"), g = 0;

		while (g < ntest_groups && (strlen(test_groups[g].name) != len ||
					    strncmp(test_groups[g].name, s->wanted[i], len) != 0))
			g++;
		if (g == ntest_groups) {
			fprintf(stderr, "nvmf-test-host: there is no group %.*s, try --help\n",
				(int)len, s->wanted[i]);
			return false;
		}
	}
	return true;
}

static int run_suite(struct suite *s)
{
	if (!names_are_known(s))
		return 2;
	for (size_t i = 0; i < ntest_groups; i++)
		suite_group(s, &test_groups[i]);
	suite_fini(s);
	if (s->list)
		return 0;
	if (s->todo || s->skipped)
		printf("%u to do, %u skipped\n", s->todo, s->skipped);
	printf("%u passed, %u failed\n", s->passed, s->failed);
	return s->failed || !s->passed;
}

int main(int argc, char **argv)
{
	static const uint8_t hostid[16] = { 0x6e, 0x76, 0x6d, 0x66, 0x2d, 0x74, 0x45, 0x73,
					    0xb4, 0x2d, 0x68, 0x6f, 0x73, 0x74, 0x00, 0x01 };
	static struct settings set = { .suite.seed = 1,
				       .address = "10.0.0.1",
				       .service = "4420",
				       .fh = { .nqn = "nqn.2026-11.org.nvmf-p2pd:test",
					       .hostnqn = "nqn.2026-11.org.nvmf-p2pd:test-host" } };
	struct host host;
	int rc = parse(&set, argc, argv);

	if (rc >= 0)
		return rc;
	host_init(&host, set.address, set.service);
	set.fh.host = &host;
	memcpy(set.fh.hostid, hostid, sizeof(hostid));
	set.suite.fh = &set.fh;
	set.suite.wanted = argv + optind;
	set.suite.nwanted = argc - optind;
	if (optind < argc && strcmp(argv[optind], "send") == 0)
		rc = send_main(&set.fh, argc - optind, argv + optind);
	else
		rc = run_suite(&set.suite);
	host_fini(&host);
	return rc;
}
