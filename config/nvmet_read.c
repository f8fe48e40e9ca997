#include "config/nvmet_read.h"

#include "config/arena.h"
#include "config/diag.h"
#include "config/set.h"

#include <json-c/json.h>
#include <stdarg.h>
#include <string.h>

/* ---- paths, notes and errors -------------------------------------------------------------------
 */

/* In the model's arena, for its `where`. NULL: no memory. */
const char *nvmet_join(struct nvmet_reader *m, const char *path, const char *name)
{
	return arena_printf(&m->c->arena, "%s%s%s", path, *path ? "." : "", name);
}

const char *nvmet_at(struct nvmet_reader *m, const char *path, size_t i)
{
	return arena_printf(&m->c->arena, "%s[%zu]", path, i);
}

__attribute__((format(printf, 4, 5))) void nvmet_note(struct nvmet_reader *m, const char *path,
						      const char *done, const char *fmt, ...)
{
	va_list ap;

	fprintf(m->notes, "%s: %s: ", path, done);
	va_start(ap, fmt);
	vfprintf(m->notes, fmt, ap);
	va_end(ap);
	putc('\n', m->notes);
}

int nvmet_nomem(struct nvmet_reader *m)
{
	return diag_nomem(m->diag, "the file");
}

static const char *type_name(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null:
		return "null";
	case json_type_boolean:
		return "true or false";
	case json_type_double:
		return "a fraction";
	case json_type_int:
		return "a number";
	case json_type_object:
		return "an object { }";
	case json_type_array:
		return "a list [ ]";
	case json_type_string:
		return "a text";
	}
	return "nothing";
}

int nvmet_wrong_type(struct nvmet_reader *m, const char *path, struct json_object *v,
		     const char *want)
{
	diag_what(m->diag, *path ? path : "the file", 0, "is %s", type_name(v));
	return diag_fix(m->diag, "allowed: %s", want);
}

/* ---- values of the file ------------------------------------------------------------------------
 */

static const char *trim(struct nvmet_reader *m, const char *text)
{
	size_t len;

	text += strspn(text, " \t\r\n");
	len = strlen(text);
	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	return arena_printf(&m->scratch, "%.*s", (int)len, text);
}

/* Text, number or boolean as text without blanks around it; NULL: null or empty, which is not set.
 */
static int scalar(struct nvmet_reader *m, const char *path, struct json_object *v, const char **ret)
{
	json_type type = json_object_get_type(v);
	const char *text;

	if (type == json_type_null)
		return 0;
	if (type == json_type_boolean) {
		*ret = json_object_get_boolean(v) ? "1" : "0";
		return 0;
	}
	if (type != json_type_string && type != json_type_int)
		return nvmet_wrong_type(m, path, v, "a text or a whole number");
	text = json_object_get_string(v);
	if (type == json_type_string && strlen(text) != (size_t)json_object_get_string_len(v)) {
		diag_what(m->diag, path, 0, "holds a byte 0");
		return diag_fix(m->diag, "remove it");
	}
	text = trim(m, text);
	if (!text)
		return nvmet_nomem(m);
	*ret = *text ? text : NULL;
	return 0;
}

/* The value at @name, whose parts are separated by dots; *@ret is NULL if it is not set. */
int nvmet_get_text(struct nvmet_reader *m, const struct nvmet_item *in, const char *name,
		   const char **ret)
{
	struct nvmet_item at = *in;
	int err = 0;

	*ret = NULL;
	while (name && at.json && !err) {
		size_t len = strcspn(name, ".");
		const char *part = arena_printf(&m->scratch, "%.*s", (int)len, name);

		if (!part)
			return nvmet_nomem(m);
		if (json_object_get_type(at.json) != json_type_object)
			return nvmet_wrong_type(m, at.path, at.json, "an object { }");
		at.json = json_object_object_get(at.json, part);
		at.path = nvmet_join(m, at.path, part);
		if (!at.path)
			return nvmet_nomem(m);
		name = name[len] ? name + len + 1 : NULL;
	}
	return scalar(m, at.path, at.json, ret);
}

/* The list @name; *@ret_n is 0 if there is none. */
int nvmet_get_list(struct nvmet_reader *m, const struct nvmet_item *in, const char *name,
		   struct nvmet_item *ret, size_t *ret_n)
{
	ret->json = json_object_object_get(in->json, name);
	ret->path = nvmet_join(m, in->path, name);
	*ret_n = 0;
	if (!ret->path)
		return nvmet_nomem(m);
	if (!ret->json)
		return 0;
	if (json_object_get_type(ret->json) != json_type_array)
		return nvmet_wrong_type(m, ret->path, ret->json, "a list [ ]");
	*ret_n = json_object_array_length(ret->json);
	return 0;
}

int nvmet_get_object(struct nvmet_reader *m, const struct nvmet_item *list, size_t i,
		     struct nvmet_item *ret)
{
	ret->json = json_object_array_get_idx(list->json, i);
	ret->path = nvmet_at(m, list->path, i);
	if (!ret->path)
		return nvmet_nomem(m);
	if (json_object_get_type(ret->json) != json_type_object)
		return nvmet_wrong_type(m, ret->path, ret->json, "an object { }");
	return 0;
}

int nvmet_get_string(struct nvmet_reader *m, const struct nvmet_item *list, size_t i,
		     const char **ret)
{
	const char *path = nvmet_at(m, list->path, i);
	struct json_object *v = json_object_array_get_idx(list->json, i);

	*ret = NULL;
	if (!path)
		return nvmet_nomem(m);
	if (json_object_get_type(v) != json_type_string)
		return nvmet_wrong_type(m, path, v, "a text");

	int err = scalar(m, path, v, ret);

	if (!err && !*ret)
		*ret = "";
	return err;
}

/* ---- one object by its table -------------------------------------------------------------------
 */

static bool is_parent(enum nvmet_object o, const char *name)
{
	const struct nvmet_keys *keys = &nvmet_keys[o];
	size_t len = strlen(name);

	for (size_t i = 0; i < keys->nkeys; i++)
		if (strncmp(keys->keys[i].name, name, len) == 0 && keys->keys[i].name[len] == '.')
			return true;
	return false;
}

static int note_unknown(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
			const char *parent)
{
	int err = 0;

	json_object_object_foreach(in->json, member, value)
	{
		const char *name =
			arena_printf(&m->scratch, "%s%s%s", parent, *parent ? "." : "", member);
		struct nvmet_item below = { value, nvmet_join(m, in->path, quote(member).text) };

		if (!name || !below.path)
			return nvmet_nomem(m);
		if (nvmet_key_find(o, name))
			continue;
		if (!is_parent(o, name))
			nvmet_note(m, below.path, "skipped", "the key is unknown");
		else if (json_object_get_type(value) == json_type_object)
			err = note_unknown(m, o, &below, name);
		if (err)
			return err;
	}
	return 0;
}

int nvmet_missing(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
		  const struct nvmet_key *k)
{
	const struct key *ours = k->key ? key_find(nvmet_group(o), k->key) : NULL;

	diag_what(m->diag, in->path, 0, "has no \"%s\"", k->name);
	return diag_fix(m->diag, "add it: %s", ours ? allowed(ours).text : k->why);
}

int nvmet_set(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
	      const struct nvmet_key *k, const char *text, void *obj)
{
	const struct key *ours = key_find(nvmet_group(o), k->key);
	const char *path = nvmet_join(m, in->path, k->name);
	char converted[NVMET_TEXT_MAX];

	if (!path)
		return nvmet_nomem(m);
	if (k->to) {
		k->to(text, converted);
		text = converted;
	}
	return set_text(m->c, ours, obj, path, text, m->diag);
}

static int import_key(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
		      const struct nvmet_key *k, void *obj)
{
	const char *text, *path;
	int err = nvmet_get_text(m, in, k->name, &text);

	if (err)
		return err;
	if (!text)
		text = k->dflt;
	if (!text)
		return k->required ? nvmet_missing(m, o, in, k) : 0;
	if (nvmet_in(k->same, text))
		return 0;
	if (k->key)
		return nvmet_set(m, o, in, k, text, obj);
	path = nvmet_join(m, in->path, k->name);
	if (!path)
		return nvmet_nomem(m);
	nvmet_note(m, path, "left out", "%s", k->why);
	return 0;
}

/* All rows that no code looks after. */
int nvmet_take_keys(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
		    void *obj)
{
	int err = note_unknown(m, o, in, "");

	for (size_t i = 0; i < nvmet_keys[o].nkeys && !err; i++)
		if (!nvmet_keys[o].keys[i].code)
			err = import_key(m, o, in, &nvmet_keys[o].keys[i], obj);
	return err;
}

/* A new object of the model, whose first member is its `where`. */
void nvmet_start(enum nvmet_object o, const struct nvmet_item *in, void *obj)
{
	const struct config_where where = { in->path, 0 };

	key_defaults(nvmet_group(o), obj);
	memcpy(obj, &where, sizeof(where));
}

/* nvmetcli enables only what says "enable": 1. */
int nvmet_is_enabled(struct nvmet_reader *m, const struct nvmet_item *in, bool *ret)
{
	const char *text;
	int err = nvmet_get_text(m, in, "enable", &text);

	if (err)
		return err;
	*ret = text && strcmp(text, "1") == 0;
	if (*ret)
		return 0;
	if (text && strcmp(text, "0") != 0) {
		diag_what(m->diag, in->path, 0, "has enable = \"%s\"", quote(text).text);
		return diag_fix(m->diag, "allowed: 0, 1");
	}
	nvmet_note(m, in->path, "left out", "it is not enabled");
	return 0;
}

int nvmet_is_rdma(struct nvmet_reader *m, const struct nvmet_item *in, bool *ret)
{
	const char *type, *family;
	int err = nvmet_get_text(m, in, "addr.trtype", &type);

	if (!err)
		err = nvmet_get_text(m, in, "addr.adrfam", &family);
	if (err)
		return err;
	*ret = false;
	if (!type)
		nvmet_note(m, in->path, "left out", "it has no transport (addr.trtype)");
	else if (strcmp(type, "rdma") != 0)
		nvmet_note(m, in->path, "left out",
			   "its transport is \"%s\", the daemon speaks RDMA", quote(type).text);
	else if (family && strcmp(family, "ipv4") != 0 && strcmp(family, "ipv6") != 0)
		nvmet_note(m, in->path, "left out",
			   "its address family is \"%s\", the daemon listens on IPv4 and IPv6",
			   quote(family).text);
	else
		*ret = true;
	return 0;
}

int nvmet_check_family(struct nvmet_reader *m, const struct nvmet_item *in, const char *address)
{
	const char *family, *want = strchr(address, ':') ? "ipv6" : "ipv4";
	int err = nvmet_get_text(m, in, "addr.adrfam", &family);

	if (err || !family || strcmp(family, want) == 0)
		return err;
	diag_what(m->diag, in->path, 0, "has addr.adrfam = \"%s\", but its address is \"%s\"",
		  family, quote(address).text);
	return diag_fix(m->diag, "set addr.adrfam = \"%s\", or another address", want);
}
