#include "config/config.h"

#include "config/arena.h"
#include "config/check.h"
#include "config/diag.h"
#include "config/keys.h"
#include "config/parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_LEN 1048576
#define FOLDER       "exports.d"

/* "Cannot be read" keeps its errno; it is the administrator's to tell from a wrong file. */
static int cannot_read(struct config_diag *diag, const char *path, int err)
{
	diag_what(diag, path, 0, "cannot be read: %s", strerror(err));
	diag_fix(diag, "check the path and who may read it");
	return -err;
}

static int no_regular_file(const struct stat *st, const char *path, struct config_diag *diag)
{
	diag_what(diag, path, 0, "is %s", S_ISDIR(st->st_mode) ? "a folder" : "no regular file");
	return diag_fix(diag, "give a regular file");
}

static int check_stat(int fd, const char *path, struct config_diag *diag)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return cannot_read(diag, path, errno);
	if (!S_ISREG(st.st_mode))
		return no_regular_file(&st, path, diag);
	if (st.st_size > FILE_MAX_LEN) {
		diag_what(diag, path, 0, "is larger than 1 MiB");
		return diag_fix(diag, "split it into several files in " FOLDER);
	}
	return 0;
}

/* @text has room for FILE_MAX_LEN + 2 bytes. */
static int read_all(int fd, const char *path, char *text, size_t *ret_len, struct config_diag *diag)
{
	size_t len = 0;

	while (len <= FILE_MAX_LEN) {
		ssize_t got = read(fd, text + len, FILE_MAX_LEN + 1 - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return cannot_read(diag, path, errno);
		if (got == 0)
			break;
		len += (size_t)got;
	}
	if (len > FILE_MAX_LEN) {
		diag_what(diag, path, 0, "grew beyond 1 MiB while it was read");
		return diag_fix(diag, "try again when nobody writes it");
	}
	text[len++] = '\n'; /* libconfig 1.5 takes a comment at the very end for a syntax error */
	text[len] = '\0';
	*ret_len = len;
	return 0;
}

static int load_fd(struct config *c, int fd, const char *path, bool main, struct config_diag *diag)
{
	void *scratch = NULL;
	size_t len = 0;
	int err = check_stat(fd, path, diag);

	if (err)
		return err;

	char *text = arena_alloc(&scratch, FILE_MAX_LEN + 2, 1);

	if (!text)
		return diag_nomem(diag, path);
	err = read_all(fd, path, text, &len, diag);
	if (!err)
		err = parse_text(c, path, text, len, main, diag);
	arena_free(&scratch);
	return err;
}

static int load_file(struct config *c, const char *path, bool main, struct config_diag *diag)
{
	const char *name = arena_printf(&c->arena, "%s", path); /* for the model's `where` */

	if (!name)
		return diag_nomem(diag, path);

	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return cannot_read(diag, path, errno);

	int err = load_fd(c, fd, name, main, diag);

	close(fd);
	return err;
}

/* As the shell's *.conf: hidden files, such as editors leave behind, do not count. */
static int is_export(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return e->d_name[0] != '.' && len > 5 && strcmp(e->d_name + len - 5, ".conf") == 0;
}

/* Not alphasort(), which follows the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* What is no regular file is refused without opening it: a device might mind. */
static int load_entry(struct config *c, const char *dir, const char *name, struct config_diag *diag)
{
	void *scratch = NULL;
	char *path = arena_printf(&scratch, "%s/%s", dir, name);
	struct stat st;
	int err = 0;

	if (!path)
		return diag_nomem(diag, dir);
	if (stat(path, &st) < 0)
		err = cannot_read(diag, path, errno);
	else if (S_ISREG(st.st_mode))
		err = load_file(c, path, false, diag);
	else
		err = no_regular_file(&st, path, diag);
	arena_free(&scratch);
	return err;
}

static int load_folder(struct config *c, const char *dir, struct config_diag *diag)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_export, by_name);
	int err = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : cannot_read(diag, dir, errno);
	for (int i = 0; i < n; i++) {
		if (!err)
			err = load_entry(c, dir, entries[i]->d_name, diag);
		free(entries[i]);
	}
	free(entries);
	return err;
}

static int load_all(struct config *c, const char *file, struct config_diag *diag)
{
	const char *slash = strrchr(file, '/');
	char *dir =
		arena_printf(&c->arena, "%.*s" FOLDER, slash ? (int)(slash + 1 - file) : 0, file);

	if (!dir)
		return diag_nomem(diag, file);

	int err = load_file(c, file, true, diag);

	if (!err)
		err = load_folder(c, dir, diag);
	return err ? err : check_model(c, file, diag);
}

struct config *config_new(void)
{
	void *arena = NULL;
	struct config *c = arena_alloc(&arena, 1, sizeof(*c));

	if (!c)
		return NULL;
	c->arena = arena;
	key_defaults(&group_file, c);
	return c;
}

int config_load(const char *file, struct config **ret, struct config_diag *diag)
{
	struct config *c = config_new();

	*diag = (struct config_diag){ 0 };
	if (!c)
		return diag_nomem(diag, file);

	int err = load_all(c, file, diag);

	if (err) {
		config_free(c);
		return err;
	}
	*ret = c;
	return 0;
}

const struct config_host *config_host(const struct config *c, const char *nqn)
{
	for (size_t i = 0; i < c->nhosts; i++)
		if (strcmp(c->hosts[i].nqn, nqn) == 0)
			return &c->hosts[i];
	return NULL;
}

static void wipe_text(const char *text)
{
	if (text) /* the arena's */
		explicit_bzero((char *)(uintptr_t)text, strlen(text));
}

void config_forget_keys(struct config *c)
{
	for (size_t i = 0; c && i < c->nhosts; i++) {
		wipe_text(c->hosts[i].dhchap_key);
		wipe_text(c->hosts[i].dhchap_ctrl_key);
		explicit_bzero(&c->hosts[i].host_key, sizeof(c->hosts[i].host_key));
		explicit_bzero(&c->hosts[i].ctrl_key, sizeof(c->hosts[i].ctrl_key));
	}
	if (c)
		c->nhosts = 0;
}

void config_free(struct config *c)
{
	if (!c)
		return;

	void *arena = c->arena; /* @c lies in it */

	arena_free(&arena);
}
