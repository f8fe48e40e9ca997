#include "config/config.h"

#include "config/diag.h"
#include "config/keys.h"
#include "config/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Stands for a secret that is not shown: config_load() refuses it. */
#define HIDDEN "DHHC-1:hidden:"

struct print {
	FILE *out;
	bool secrets;
	bool brief; /* not what has its default */
};

static void print_group(const struct print *p, const struct group *g, const void *obj, int indent);
static bool group_is_default(const struct group *g, const void *obj);

static void print_text(const char *text, FILE *out)
{
	putc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		putc(*text, out);
	}
	putc('"', out);
}

static void print_texts(const char *const *texts, size_t n, int indent, FILE *out)
{
	fputs("(\n", out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%*s", indent + 4, "");
		print_text(texts[i], out);
		fputs(i + 1 < n ? ",\n" : "\n", out);
	}
	fprintf(out, "%*s)", indent, "");
}

static void print_port_ids(const uint16_t *ids, size_t n, FILE *out)
{
	fputs("( ", out);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%u", i ? ", " : "", ids[i]);
	fputs(" )", out);
}

static void print_choices(const struct key *k, const uint8_t *values, size_t n, FILE *out)
{
	fputs("( ", out);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s\"%s\"", i ? ", " : "", k->choices[values[i]]);
	fputs(" )", out);
}

static void print_groups(const struct print *p, const struct group *g, const char *objs, size_t n,
			 int indent)
{
	FILE *out = p->out;

	fputs("(\n", out);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%*s", indent + 4, "");
		print_group(p, g, objs + i * g->size, indent + 4);
		fputs(i + 1 < n ? ",\n" : "\n", out);
	}
	fprintf(out, "%*s)", indent, "");
}

static const void *get_pointer(const struct key *k, const void *obj)
{
	const void *pointer;

	memcpy(&pointer, (const char *)obj + k->off, sizeof(pointer));
	return pointer;
}

static size_t get_count(const struct key *k, const void *obj)
{
	size_t n;

	memcpy(&n, (const char *)obj + k->off2, sizeof(n));
	return n;
}

/* Whether there is a value to print: what the model has not, the file needs not say. */
static bool is_set(const struct key *k, const void *obj)
{
	switch (k->type) {
	case KEY_TEXT:
	case KEY_SECRET:
	case KEY_SERVICE:
		return get_pointer(k, obj);
	case KEY_UUID:
		return *((const char *)obj + k->off2);
	case KEY_TEXTS:
	case KEY_CHOICES:
	case KEY_PORT_IDS:
	case KEY_GROUPS:
		return get_count(k, obj) > 0;
	case KEY_INT:
	case KEY_SIZE:
	case KEY_BOOL:
	case KEY_CHOICE:
	case KEY_GROUP:
		return true;
	}
	return false;
}

static bool is_default(const struct key *k, const void *obj)
{
	switch (k->type) {
	case KEY_INT:
	case KEY_SIZE:
	case KEY_BOOL:
	case KEY_CHOICE:
		return key_number(k, obj) == k->dflt;
	case KEY_TEXT:
	case KEY_SECRET:
	case KEY_SERVICE:
		return k->dflt_text && strcmp(get_pointer(k, obj), k->dflt_text) == 0;
	case KEY_GROUP:
		return group_is_default(k->group, obj);
	case KEY_UUID:
	case KEY_TEXTS:
	case KEY_CHOICES:
	case KEY_PORT_IDS:
	case KEY_GROUPS:
		return false;
	}
	return false;
}

bool key_is_default(const struct key *k, const void *obj)
{
	return !is_set(k, obj) || is_default(k, obj);
}

static bool group_is_default(const struct group *g, const void *obj)
{
	for (size_t i = 0; i < g->nkeys; i++)
		if (!key_is_default(&g->keys[i], obj))
			return false;
	return true;
}

static void print_uuid(const struct key *k, const void *obj, FILE *out)
{
	char text[UUID_TEXT_LEN];

	uuid_print((const uint8_t *)obj + k->off, text);
	print_text(text, out);
}

static void print_value(const struct print *p, const struct key *k, const void *obj, int indent)
{
	FILE *out = p->out;

	switch (k->type) {
	case KEY_INT:
		fprintf(out, "%" PRIu64, key_number(k, obj));
		break;
	case KEY_SIZE:
		print_text(size_print(key_number(k, obj)).text, out);
		break;
	case KEY_BOOL:
		fputs(key_number(k, obj) ? "true" : "false", out);
		break;
	case KEY_TEXT:
	case KEY_SERVICE:
		print_text(get_pointer(k, obj), out);
		break;
	case KEY_SECRET:
		print_text(p->secrets ? get_pointer(k, obj) : HIDDEN, out);
		break;
	case KEY_CHOICE:
		print_text(k->choices[key_number(k, obj)], out);
		break;
	case KEY_CHOICES:
		print_choices(k, get_pointer(k, obj), get_count(k, obj), out);
		break;
	case KEY_UUID:
		print_uuid(k, obj, out);
		break;
	case KEY_TEXTS:
		print_texts(get_pointer(k, obj), get_count(k, obj), indent, out);
		break;
	case KEY_PORT_IDS:
		print_port_ids(get_pointer(k, obj), get_count(k, obj), out);
		break;
	case KEY_GROUP:
		print_group(p, k->group, obj, indent);
		break;
	case KEY_GROUPS:
		print_groups(p, k->group, get_pointer(k, obj), get_count(k, obj), indent);
		break;
	}
}

static void print_keys(const struct print *p, const struct group *g, const void *obj, int indent)
{
	for (size_t i = 0; i < g->nkeys; i++) {
		const struct key *k = &g->keys[i];

		if (!is_set(k, obj))
			continue;
		if (p->brief && !k->required && is_default(k, obj))
			continue;
		fprintf(p->out, "%*s%s = ", indent, "", k->name);
		print_value(p, k, obj, indent);
		fputs(";\n", p->out);
	}
}

static void print_group(const struct print *p, const struct group *g, const void *obj, int indent)
{
	fputs("{\n", p->out);
	print_keys(p, g, obj, indent + 4);
	fprintf(p->out, "%*s}", indent, "");
}

void config_print(const struct config *c, FILE *out, bool keys)
{
	const struct print p = { out, keys, false };

	print_keys(&p, &group_file, c, 0);
}

void config_print_brief(const struct config *c, FILE *out, bool daemon)
{
	const struct print p = { out, true, true };

	for (size_t i = 0; i < group_file.nkeys; i++) {
		const struct key *k = &group_file.keys[i];

		if (!is_set(k, c) || is_default(k, c) || (k->main_only && !daemon))
			continue;
		fprintf(out, "%s = ", k->name);
		print_value(&p, k, c, 0);
		fputs(";\n", out);
	}
}

/* ---- two models --------------------------------------------------------------------------------
 */

/* The value of @k as the file has it, to be freed; NULL: no memory. */
static char *value_text(const struct key *k, const struct config *c)
{
	char *text = NULL;
	size_t len;
	const struct print p = { open_memstream(&text, &len), false, false };

	if (!p.out)
		return NULL;
	if (is_set(k, c))
		print_value(&p, k, c, 0);
	else
		fputs("left out", p.out);
	if (fclose(p.out) == 0)
		return text;
	free(text);
	return NULL;
}

static int check_key(const struct key *k, const struct config *before, const struct config *after,
		     const char *file, struct config_diag *diag)
{
	char *was = value_text(k, before), *is = value_text(k, after);
	unsigned int line = after->daemon_lines[k - group_daemon.keys];
	int err = was && is ? 0 : -ENOMEM;

	if (err)
		diag_nomem(diag, file);
	else if (strcmp(was, is) != 0)
		err = -EBUSY;
	if (err == -EBUSY) {
		diag_what(diag, file, line, "daemon key \"%s\" is %s, and the daemon runs with %s",
			  k->name, is, was);
		diag_fix(
			diag,
			"only a restart changes it (systemctl restart nvmf-p2pd); a reload takes the file when it is as before");
	}
	free(was);
	free(is);
	return err;
}

int config_check_change(const struct config *before, const struct config *after, const char *file,
			struct config_diag *diag)
{
	int err = 0;

	for (size_t i = 0; i < group_daemon.nkeys && !err; i++)
		if (group_daemon.keys[i].reload == RELOAD_RESTART)
			err = check_key(&group_daemon.keys[i], before, after, file, diag);
	return err;
}
