#include "target/ctl/ctl.h"

#include "config/config.h"
#include "config/nvmet.h"

#include <stdlib.h>
#include <string.h>

#define NAME "nvmf-p2pctl export-nvmet"

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

int ctl_export_nvmet(const struct ctl *ctl, struct json_object *args)
{
	(void)ctl;
	return run(json_get(args, "config") ? json_text(args, "config")
					    : CONFIG_DEFAULT_DIR "/nvmf-p2pd.conf")
		       ? CTL_REFUSED
		       : CTL_OK;
}
