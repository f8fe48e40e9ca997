/* A changed copy of a model: printed, and read back by the way that files go, with all checks. */
#include "config/config.h"

#include "config/arena.h"
#include "config/check.h"
#include "config/diag.h"
#include "config/keys.h"
#include "config/parse.h"
#include "config/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME "the running configuration"

bool config_uuid(const char *text, uint8_t ret[16])
{
	return text_uuid(text, ret);
}

static int read_back(const char *text, size_t len, struct config **ret, struct config_diag *diag)
{
	void *arena = NULL;
	struct config *c = arena_alloc(&arena, 1, sizeof(*c));
	int err;

	if (!c)
		return diag_nomem(diag, NAME);
	c->arena = arena;
	key_defaults(&group_file, c);
	err = parse_text(c, NAME, text, len, true, diag);
	if (!err)
		err = check_model(c, NAME, diag);
	if (err)
		config_free(c);
	else
		*ret = c;
	return err;
}

static int copy(const struct config *c, struct config **ret, struct config_diag *diag)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err;

	*diag = (struct config_diag){ 0 };
	if (!out)
		return diag_nomem(diag, NAME);
	config_print(c, out, true);
	err = ferror(out);
	err |= fclose(out);
	err = err ? diag_nomem(diag, NAME) : read_back(text, len, ret, diag);
	if (text)
		explicit_bzero(text, len);
	free(text);
	return err;
}

/* Copies @c, of which subsystem @index is @changed. */
static int copy_with(const struct config *c, size_t index, const struct config_subsystem *changed,
		     struct config **ret, struct config_diag *diag)
{
	struct config edited = *c;
	int err;

	edited.subsystems = calloc(c->nsubsystems, sizeof(c->subsystems[0]));
	if (!edited.subsystems)
		return diag_nomem(diag, NAME);
	memcpy(edited.subsystems, c->subsystems, c->nsubsystems * sizeof(c->subsystems[0]));
	edited.subsystems[index] = *changed;
	err = copy(&edited, ret, diag);
	free(edited.subsystems);
	return err;
}

/* Its index, or the number of subsystems. */
static size_t find_subsystem(const struct config *c, const char *nqn, struct config_diag *diag)
{
	for (size_t i = 0; i < c->nsubsystems; i++)
		if (strcmp(c->subsystems[i].nqn, nqn) == 0)
			return i;
	diag_what(diag, NAME, 0, "has no subsystem %s", quote(nqn).text);
	return c->nsubsystems;
}

int config_with_namespace(const struct config *c, const char *nqn,
			  const struct config_namespace *ns, struct config **ret,
			  struct config_diag *diag)
{
	size_t i = find_subsystem(c, nqn, diag);
	struct config_subsystem s;
	int err;

	if (i == c->nsubsystems)
		return -ENOENT;
	s = c->subsystems[i];
	s.namespaces = calloc(s.nnamespaces + 1, sizeof(*ns));
	if (!s.namespaces)
		return diag_nomem(diag, NAME);
	if (s.nnamespaces)
		memcpy(s.namespaces, c->subsystems[i].namespaces, s.nnamespaces * sizeof(*ns));
	s.namespaces[s.nnamespaces++] = *ns;
	err = copy_with(c, i, &s, ret, diag);
	free(s.namespaces);
	return err;
}

int config_without_namespace(const struct config *c, const char *nqn, uint32_t nsid,
			     struct config **ret, struct config_diag *diag)
{
	size_t i = find_subsystem(c, nqn, diag), n = 0;
	struct config_subsystem s;
	int err = -ENOENT;

	if (i == c->nsubsystems)
		return -ENOENT;
	s = c->subsystems[i];
	s.namespaces = calloc(s.nnamespaces + 1, sizeof(s.namespaces[0]));
	if (!s.namespaces)
		return diag_nomem(diag, NAME);
	for (size_t k = 0; k < s.nnamespaces; k++)
		if (c->subsystems[i].namespaces[k].nsid != nsid)
			s.namespaces[n++] = c->subsystems[i].namespaces[k];
	if (n < s.nnamespaces) {
		s.nnamespaces = n;
		err = copy_with(c, i, &s, ret, diag);
	} else {
		diag_what(diag, NAME, 0, "has no namespace %u in %s", nsid, quote(nqn).text);
	}
	free(s.namespaces);
	return err;
}
