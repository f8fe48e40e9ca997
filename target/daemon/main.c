/* nvmf-p2pd: its command line. */
#include "config/config.h"
#include "target/daemon/daemon.h"
#include "target/log.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_CONFIG CONFIG_DEFAULT_DIR "/nvmf-p2pd.conf"

struct options {
	const char *config;
	enum log_level level;
	bool check, print, keys, p2p, json;
};

/* ---- command line -----------------------------------------------------------------------------
 */

static const struct option_help {
	struct option option;
	const char *arg, *help;
} option_table[] = {
	{ { "config", required_argument, NULL, 'c' },
	  "FILE",
	  "read FILE and exports.d/*.conf beside it (" DEFAULT_CONFIG ")" },
	{ { "check", no_argument, NULL, 'n' },
	  NULL,
	  "check the configuration, touch no device, exit 0 or 1" },
	{ { "print-config", no_argument, NULL, 'p' },
	  NULL,
	  "print the configuration in effect, defaults filled in, without keys" },
	{ { "with-keys", no_argument, NULL, 'k' },
	  NULL,
	  "with --print-config: secret keys too, so that it can be loaded" },
	{ { "p2p", no_argument, NULL, 'P' },
	  NULL,
	  "prove every path between CMB, RNICs and drives, print the table, exit" },
	{ { "json", no_argument, NULL, 'j' }, NULL, "print the table of paths as JSON" },
	{ { "verbose", no_argument, NULL, 'v' }, NULL, "log more" },
	{ { "help", no_argument, NULL, 'h' }, NULL, "show this and exit" },
	{ { "version", no_argument, NULL, 'V' }, NULL, "show the version and exit" },
};
#define NOPTIONS (sizeof(option_table) / sizeof(option_table[0]))

static void print_help(void)
{
	printf("Usage: nvmf-p2pd [OPTION]...\n"
	       "NVMe over Fabrics target for RDMA that stages payload in NVMe Controller Memory Buffers.\n"
	       "\n");
	for (size_t i = 0; i < NOPTIONS; i++) {
		const struct option_help *o = &option_table[i];
		char left[64];

		snprintf(left, sizeof(left), "-%c, --%s%s%s", o->option.val, o->option.name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-24s %s\n", left, o->help);
	}
	printf("\nSignals: SIGHUP reads the configuration again and applies what has changed, or nothing;\n"
	       "SIGUSR1 prints where the bytes went and the table of paths; SIGUSR2 proves the paths\n"
	       "again; SIGTERM and SIGINT disconnect the hosts and exit.\n"
	       "Exit status: 0 stopped as asked, 1 failed, 2 wrong usage.\n");
}

/* Return: -1 to go on, else the exit code. */
static int parse_options(int argc, char **argv, struct options *o)
{
	struct option longopts[NOPTIONS + 1] = { 0 };
	char shortopts[2 * NOPTIONS + 1] = "";
	int c;

	for (size_t i = 0; i < NOPTIONS; i++) {
		char text[3] = { (char)option_table[i].option.val,
				 option_table[i].option.has_arg ? ':' : '\0' };

		longopts[i] = option_table[i].option;
		strlcat(shortopts, text, sizeof(shortopts));
	}
	*o = (struct options){ .config = DEFAULT_CONFIG, .level = LOG_LEVEL_INFO };
	while ((c = getopt_long(argc, argv, shortopts, longopts, NULL)) != -1) {
		if (c == 'c')
			o->config = optarg;
		else if (c == 'n')
			o->check = true;
		else if (c == 'p')
			o->print = true;
		else if (c == 'k')
			o->keys = true;
		else if (c == 'P')
			o->p2p = true;
		else if (c == 'j')
			o->json = true;
		else if (c == 'v')
			o->level = LOG_LEVEL_DEBUG;
		else if (c == 'h') {
			print_help();
			return EXIT_OK;
		} else if (c == 'V') {
			puts("nvmf-p2pd " NVMF_P2PD_VERSION);
			return EXIT_OK;
		} else {
			fputs("Try 'nvmf-p2pd --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"nvmf-p2pd: '%s': no arguments are taken. Try 'nvmf-p2pd --help'.\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct daemon d = { 0 };
	struct config_diag diag;
	struct options o;
	int code = parse_options(argc, argv, &o);

	if (code >= 0)
		return code;
	log_init(o.level);
	daemon_set_dumpable(
		false); /* until the configuration, which has keys in it, says otherwise */
	if (config_load(o.config, &d.conf, &diag)) {
		config_diag_print(&diag, stderr);
		return EXIT_FAILED;
	}
	if (o.print)
		config_print(d.conf, stdout, o.keys);
	if (o.check || o.print) {
		config_free(d.conf);
		return EXIT_OK;
	}
	d.config_path = o.config;
	code = o.p2p ? daemon_prove_and_print(&d, o.json) : daemon_run(&d);
	daemon_finish(&d);
	return code;
}
