#include "target/ctl/nvmet.h"

#include "config/config.h"
#include "config/nvmet.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define NAME "nvmf-p2pctl export-nvmet"

static const char help[] =
	"Usage: nvmf-p2pctl export-nvmet [OPTION]...\n"
	"Write the configuration to standard output as the kernel target's tool, nvmetcli, saves its\n"
	"own; keys of hosts too. What the kernel's target cannot hold is named on standard error.\n\n"
	"  -c, --config FILE  the main file (" CONFIG_DEFAULT_DIR "/nvmf-p2pd.conf)\n"
	"  -h, --help         show this\n\n"
	"Exit status: 0 done, 1 refused, 2 wrong usage.\n";

/* Nothing is written unless all of it can be. */
static int run(const char *file)
{
	struct config *c = NULL;
	struct config_diag diag;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err = out ? config_load(file, &c, &diag) : -1;

	if (!out) {
		fputs(NAME ": out of memory\n", stderr);
		return err;
	}
	if (err) {
		fputs(NAME ": ", stderr);
		config_diag_print(&diag, stderr);
	} else {
		err = nvmet_export(c, out, stderr);
		config_free(c);
	}
	if (fclose(out) != 0)
		err = -1;
	if (!err && (fwrite(text, 1, len, stdout) != len || fflush(stdout) != 0)) {
		fputs(NAME ": standard output cannot be written\n", stderr);
		err = -1;
	}
	if (text)
		explicit_bzero(text, len);
	free(text);
	return err;
}

int ctl_export_nvmet(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	const char *file = CONFIG_DEFAULT_DIR "/nvmf-p2pd.conf";
	int c;

	optind = 0; /* from the start: main() has read its own */
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (c == 'c') {
			file = optarg;
		} else if (c == 'h') {
			fputs(help, stdout);
			return 0;
		} else {
			fputs("Try 'nvmf-p2pctl export-nvmet --help'.\n", stderr);
			return 2;
		}
	}
	if (optind != argc) {
		fputs(NAME ": takes no words. Try 'nvmf-p2pctl export-nvmet --help'.\n", stderr);
		return 2;
	}
	return run(file) ? 1 : 0;
}
