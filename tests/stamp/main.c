/*
 * nvmf-stamp: a workload that knows what every block of its part of a device must hold.
 *
 *   nvmf-stamp [OPTION...] DEVICE
 */
#include "tests/stamp/work.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile bool stop;

static void on_signal(int number)
{
	(void)number;
	stop = true;
}

static void print_help(void)
{
	printf("nvmf-stamp [OPTION...] DEVICE\n"
	       "\n"
	       "OVERWRITES its part of DEVICE with stamped blocks, then writes and reads there at random, 4 KiB to\n"
	       "1 MiB at a time, and looks at each block that it reads: is it whole, is it the one that was asked\n"
	       "for, of this host and run, and not older than what was acknowledged? At the end, or after SIGTERM,\n"
	       "all is read once more.\n"
	       "\n"
	       "  -H, --host NAME      who we are (default: the host's name); %u bytes at most\n"
	       "  -N, --nsid N         which namespace DEVICE is (default 1)\n"
	       "  -b, --block BYTES    512 or 4096 (default: the device's logical block)\n"
	       "  -o, --offset BYTES   where our part begins (default 0; also as 64M)\n"
	       "  -z, --size BYTES     and its length (default: to the end)\n"
	       "  -d, --depth N        operations at a time, 1 to %u (default 8)\n"
	       "  -r, --reads PERCENT  of the random operations (default 40)\n"
	       "  -R, --rate BYTES     that many a second at most (also as 4M), to leave time for others\n"
	       "  -S, --seed N         the same operations for the same seed (default 1)\n"
	       "  -t, --seconds N      how long to write and read at random\n"
	       "  -n, --blocks N       until that many blocks were written (default without -t: 100000)\n"
	       "  -l, --ledger FILE    keep there what was written, and go on from there after a crash of\n"
	       "                       this host; seed, host, block and part must be the same\n"
	       "  -c, --check          write nothing: read what the ledger knows of\n"
	       "  -e, --errors         an I/O may fail (its blocks are in doubt until they are written again),\n"
	       "                       but for those of the last reading\n"
	       "      --help, --version\n"
	       "\n"
	       "The last line is `stamp: ok, N blocks written, N verified, N errors` (exit code 0), or\n"
	       "`stamp: FAILED, ...` (1); the lines before it say what was wrong with which block. 2: wrong usage.\n",
	       STAMP_HOST_MAX, WORK_DEPTH_MAX);
}

/* "64M" */
static bool bytes(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 0);
	if (errno || end == text || *text == '-')
		return false;
	if (*end == '\0')
		return true;
	unit = strchr(units, *end);
	return unit && end[1] == '\0' &&
	       !__builtin_mul_overflow(*ret, UINT64_C(1) << 10 * (unit - units + 1), ret);
}

static const struct option options[] = {
	{ "host", required_argument, NULL, 'H' },
	{ "nsid", required_argument, NULL, 'N' },
	{ "block", required_argument, NULL, 'b' },
	{ "offset", required_argument, NULL, 'o' },
	{ "size", required_argument, NULL, 'z' },
	{ "depth", required_argument, NULL, 'd' },
	{ "reads", required_argument, NULL, 'r' },
	{ "rate", required_argument, NULL, 'R' },
	{ "seed", required_argument, NULL, 'S' },
	{ "seconds", required_argument, NULL, 't' },
	{ "blocks", required_argument, NULL, 'n' },
	{ "ledger", required_argument, NULL, 'l' },
	{ "check", no_argument, NULL, 'c' },
	{ "errors", no_argument, NULL, 'e' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

static bool set_number(struct work_options *o, int opt, uint64_t n)
{
	switch (opt) {
	case 'N':
		o->run.nsid = (uint32_t)n;
		return n > 0 && n < UINT32_MAX;
	case 'b':
		o->run.block_len = (uint32_t)n;
		return n == 512 || n == STAMP_BLOCK_MAX;
	case 'o':
		o->offset = n;
		return true;
	case 'z':
		o->size = n;
		return true;
	case 'd':
		o->depth = (unsigned int)n;
		return n > 0 && n <= WORK_DEPTH_MAX;
	case 'r':
		o->read_percent = (unsigned int)n;
		return n <= 100;
	case 'R':
		o->rate = n;
		return n >= STAMP_BLOCK_MAX;
	case 'S':
		o->run.seed = n;
		return true;
	case 't':
		o->seconds = (unsigned int)n;
		return n > 0 && n <= 1000000;
	case 'n':
		o->blocks = n;
		return n > 0;
	default:
		return false;
	}
}

/* Return: -1 to go on, or the exit code. */
static int parse(struct work_options *o, int argc, char **argv)
{
	uint64_t n;
	int opt;

	while ((opt = getopt_long(argc, argv, "H:N:b:o:z:d:r:R:S:t:n:l:ceh", options, NULL)) !=
	       -1) {
		bool good = true;

		if (opt == 'h') {
			print_help();
			return 0;
		} else if (opt == 'V') {
			printf("nvmf-stamp %s\n", NVMF_P2PD_VERSION);
			return 0;
		} else if (opt == 'H') {
			good = strlcpy(o->run.host, optarg, sizeof(o->run.host)) <= STAMP_HOST_MAX;
		} else if (opt == 'l') {
			o->ledger = optarg;
		} else if (opt == 'c') {
			o->only_verify = true;
		} else if (opt == 'e') {
			o->errors_allowed = true;
		} else {
			good = opt != '?' && bytes(optarg, &n) && set_number(o, opt, n);
		}
		if (!good) {
			if (opt != '?')
				fprintf(stderr, "nvmf-stamp: -%c %s is not allowed, try --help\n",
					opt, optarg);
			return 2;
		}
	}
	if (optind + 1 != argc || (o->only_verify && !o->ledger)) {
		fprintf(stderr, optind + 1 != argc ? "nvmf-stamp: name one device, try --help\n"
						   : "nvmf-stamp: --check needs a --ledger\n");
		return 2;
	}
	o->path = argv[optind];
	return -1;
}

int main(int argc, char **argv)
{
	struct work_options o = { .run = { .seed = 1, .nsid = 1 },
				  .depth = 8,
				  .read_percent = 40,
				  .out = stdout,
				  .stop = &stop };
	struct sigaction action = { .sa_handler = on_signal };
	struct work_result r;
	bool ok;
	int rc;

	if (gethostname(o.run.host, sizeof(o.run.host)))
		strlcpy(o.run.host, "host", sizeof(o.run.host));
	o.run.host[STAMP_HOST_MAX] = '\0';
	rc = parse(&o, argc, argv);
	if (rc >= 0)
		return rc;
	if (!o.blocks && !o.seconds)
		o.blocks = 100000;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	ok = work_run(&o, &r) == 0 && work_is_ok(&o, &r);
	printf("stamp: %s, %llu blocks written, %llu verified, %llu errors\n", ok ? "ok" : "FAILED",
	       (unsigned long long)r.written, (unsigned long long)r.verified,
	       (unsigned long long)r.errors);
	return !ok;
}
