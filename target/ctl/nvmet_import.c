#include "target/ctl/ctl.h"

#include "config/config.h"
#include "config/nvmet.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "nvmf-p2pctl import-nvmet"

struct import {
	const char *input, *output; /* output NULL: stdout */
	bool force;
	char *text; /* the export file to be */
	size_t len;
	bool secrets; /* are in it */
};

static int complain(const char *path, int err)
{
	fprintf(stderr, NAME ": %s: %s\n", path, strerror(err));
	return -err;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* One byte more than there may be, and a 0. */
static int read_all(int fd, const char *name, char **ret, size_t *ret_len)
{
	char *text = malloc(NVMET_JSON_MAX + 2);
	size_t len = 0;

	if (!text)
		return complain(name, ENOMEM);
	while (len <= NVMET_JSON_MAX) {
		ssize_t n = read(fd, text + len, NVMET_JSON_MAX + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = errno;

			free(text);
			return complain(name, err);
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

static int read_input(const char *input, char **ret, size_t *ret_len)
{
	bool standard = strcmp(input, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(input, O_RDONLY | O_CLOEXEC | O_NOCTTY), err;

	if (fd < 0)
		return complain(input, errno);
	err = read_all(fd, input, ret, ret_len);
	if (!standard)
		close(fd);
	return err;
}

/* ---- the export file ---------------------------------------------------------------------------
 */

/* dirname() and basename() may write to what they are given. */
static bool is_export_folder(const char *output)
{
	char *copy = output ? strdup(output) : NULL;
	char *folder = copy ? realpath(dirname(copy), NULL) : NULL;
	bool is = folder && strcmp(basename(folder), "exports.d") == 0;

	free(folder);
	free(copy);
	return is;
}

static void note_daemon_settings(const struct config *c)
{
	static const char why[] = "belongs in the daemon group of nvmf-p2pd.conf, not in exports.d";
	struct config *plain = config_new();

	if (c->discovery_nqn)
		fprintf(stderr, "discovery.nqn: left out: discovery_nqn = \"%s\" %s\n",
			c->discovery_nqn, why);
	if (plain && c->max_transfer_len != plain->max_transfer_len)
		fprintf(stderr, "ports[].param.mdts: left out: max_transfer = \"%uK\" %s\n",
			c->max_transfer_len / 1024, why);
	config_free(plain);
}

static int make_text(struct import *i, const struct config *c)
{
	FILE *out = open_memstream(&i->text, &i->len);
	bool daemon = !is_export_folder(i->output);

	if (!out)
		return complain("memory", errno);
	if (!daemon)
		note_daemon_settings(c);
	for (size_t h = 0; h < c->nhosts; h++)
		i->secrets |= c->hosts[h].dhchap_key || c->hosts[h].dhchap_ctrl_key;
	fputs("# Made by \"nvmf-p2pctl import-nvmet\" of the kernel target's configuration.\n",
	      out);
	config_print_brief(c, out, daemon);
	return fclose(out) == 0 ? 0 : complain("memory", ENOMEM);
}

static int write_all(int fd, const struct import *i, const char *name)
{
	for (size_t done = 0; done < i->len;) {
		ssize_t n = write(fd, i->text + done, i->len - done);

		if (n < 0 && errno != EINTR)
			return complain(name, errno);
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* As the daemon will read it; of a main file, with what lies in exports.d beside it. */
static int check(const char *path)
{
	struct config *c = NULL;
	struct config_diag diag;
	int err = config_load(path, &c, &diag);

	config_free(c);
	if (err) {
		fputs(NAME ": the result would be refused: ", stderr);
		config_diag_print(&diag, stderr);
	}
	return err;
}

static int write_stdout(const struct import *i)
{
	int fd = memfd_create("import", MFD_CLOEXEC), err;
	char path[32];

	if (fd < 0)
		return complain("memory", errno);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = write_all(fd, i, "memory");
	if (!err)
		err = check(path);
	close(fd);
	return err ? err : write_all(STDOUT_FILENO, i, "standard output");
}

/* Whoever may read a file that is replaced may read the new one, but for others if it holds keys.
 */
static int set_mode(int fd, const struct import *i)
{
	struct stat old;
	mode_t mode = i->secrets ? 0600 : 0644;

	if (stat(i->output, &old) == 0) {
		if (fchown(fd, old.st_uid, old.st_gid) < 0)
			return complain(i->output, errno);
		mode = old.st_mode & (i->secrets ? 0770 : 0777);
	}
	return fchmod(fd, mode) == 0 ? 0 : complain(i->output, errno);
}

static int publish(const struct import *i, const char *temp)
{
	if (i->force)
		return rename(temp, i->output) == 0 ? 0 : complain(i->output, errno);
	if (link(temp, i->output) < 0) { /* unlike rename(), it replaces nothing */
		if (errno != EEXIST)
			return complain(i->output, errno);
		fprintf(stderr,
			NAME ": %s is there already; --force replaces it, or give another name\n",
			i->output);
		return -EEXIST;
	}
	return 0;
}

static int write_file(const struct import *i)
{
	char *copy = strdup(i->output), *temp = NULL;
	const char *slash = strrchr(i->output, '/');
	int fd = -1, err;

	if (!copy || asprintf(&temp, "%.*s.%s.XXXXXX", slash ? (int)(slash + 1 - i->output) : 0,
			      i->output, basename(copy)) < 0) {
		free(copy);
		return complain(i->output, ENOMEM);
	}
	free(copy);
	fd = mkostemp(temp, O_CLOEXEC);
	err = fd < 0 ? complain(i->output, errno) : write_all(fd, i, i->output);
	if (!err)
		err = check(temp);
	if (!err)
		err = set_mode(fd, i);
	if (!err && fsync(fd) < 0)
		err = complain(i->output, errno);
	if (!err)
		err = publish(i, temp);
	if (fd >= 0) {
		close(fd);
		(void)unlink(temp); /* gone if it was renamed */
	}
	free(temp);
	return err;
}

static int write_result(struct import *i, const struct config *c)
{
	size_t namespaces = 0;
	int err = make_text(i, c);

	if (!err)
		err = i->output ? write_file(i) : write_stdout(i);
	free(i->text);
	if (err)
		return err;
	for (size_t s = 0; s < c->nsubsystems; s++)
		namespaces += c->subsystems[s].nnamespaces;
	fprintf(stderr, NAME ": %zu ports, %zu subsystems, %zu namespaces%s%s\n", c->nports,
		c->nsubsystems, namespaces, i->output ? " are in " : "",
		i->output ? i->output : "");
	if (i->secrets)
		fprintf(stderr, NAME ": the result holds keys: nobody else may read it\n");
	return 0;
}

static int import(struct import *i)
{
	struct config *c = NULL;
	struct config_diag diag;
	char *text = NULL;
	size_t len = 0;
	int err = read_input(i->input, &text, &len);

	if (err || !text)
		return -1;
	err = nvmet_import(i->input, text, len, stderr, &c, &diag);
	explicit_bzero(text, len);
	free(text);
	if (err) {
		fputs(NAME ": ", stderr);
		config_diag_print(&diag, stderr);
		return err;
	}
	err = write_result(i, c);
	config_free(c);
	return err;
}

int ctl_import_nvmet(const struct ctl *ctl, struct json_object *args)
{
	struct import i = { .force = json_get(args, "force") };

	(void)ctl;
	if (json_get(args, "list_keys")) {
		nvmet_print_keys(stdout);
		return CTL_OK;
	}
	if (!json_get(args, "file")) {
		fputs(NAME ": the file that nvmetcli saved is missing\n"
			   "Try 'nvmf-p2pctl import-nvmet --help'.\n",
		      stderr);
		return CTL_USAGE;
	}
	i.input = json_text(args, "file");
	i.output = json_get(args, "to") ? json_text(args, "to") : NULL;
	return import(&i) ? CTL_REFUSED : CTL_OK;
}
