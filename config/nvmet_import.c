#include "config/nvmet.h"

#include "config/arena.h"
#include "config/check.h"
#include "config/diag.h"
#include "config/json.h"
#include "config/nvmet_keys.h"
#include "config/set.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct import {
	struct config *c;
	struct json_object *root;
	void *scratch;
	FILE *notes;
	struct config_diag *diag;
	struct port_source *ports; /* of the model's ports, in their order */
};

/* What a port of the model was made of. */
struct port_source {
	const char *path;
	struct json_object *json;
	uint32_t max_transfer; /* by its mdts, 0: not given */
};

/* An object in the file, and where. */
struct item {
	struct json_object *json;
	const char *path;
};

/* ---- paths, notes and errors -------------------------------------------------------------------
 */

/* In the model's arena, for its `where`. NULL: no memory. */
static const char *join(struct import *m, const char *path, const char *name)
{
	return arena_printf(&m->c->arena, "%s%s%s", path, *path ? "." : "", name);
}

static const char *at_index(struct import *m, const char *path, size_t i)
{
	return arena_printf(&m->c->arena, "%s[%zu]", path, i);
}

__attribute__((format(printf, 4, 5))) static void note(struct import *m, const char *path,
						       const char *done, const char *fmt, ...)
{
	va_list ap;

	fprintf(m->notes, "%s: %s: ", path, done);
	va_start(ap, fmt);
	vfprintf(m->notes, fmt, ap);
	va_end(ap);
	putc('\n', m->notes);
}

static int nomem(struct import *m)
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

static int wrong_type(struct import *m, const char *path, struct json_object *v, const char *want)
{
	diag_what(m->diag, *path ? path : "the file", 0, "is %s", type_name(v));
	return diag_fix(m->diag, "allowed: %s", want);
}

/* ---- values of the file ------------------------------------------------------------------------
 */

static const char *trim(struct import *m, const char *text)
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
static int scalar(struct import *m, const char *path, struct json_object *v, const char **ret)
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
		return wrong_type(m, path, v, "a text or a whole number");
	text = json_object_get_string(v);
	if (type == json_type_string && strlen(text) != (size_t)json_object_get_string_len(v)) {
		diag_what(m->diag, path, 0, "holds a byte 0");
		return diag_fix(m->diag, "remove it");
	}
	text = trim(m, text);
	if (!text)
		return nomem(m);
	*ret = *text ? text : NULL;
	return 0;
}

/* The value at @name, whose parts are separated by dots; *@ret is NULL if it is not set. */
static int get_text(struct import *m, const struct item *in, const char *name, const char **ret)
{
	struct item at = *in;
	int err = 0;

	*ret = NULL;
	while (name && at.json && !err) {
		size_t len = strcspn(name, ".");
		const char *part = arena_printf(&m->scratch, "%.*s", (int)len, name);

		if (!part)
			return nomem(m);
		if (json_object_get_type(at.json) != json_type_object)
			return wrong_type(m, at.path, at.json, "an object { }");
		at.json = json_object_object_get(at.json, part);
		at.path = join(m, at.path, part);
		if (!at.path)
			return nomem(m);
		name = name[len] ? name + len + 1 : NULL;
	}
	return scalar(m, at.path, at.json, ret);
}

/* The list @name; *@ret_n is 0 if there is none. */
static int get_list(struct import *m, const struct item *in, const char *name, struct item *ret,
		    size_t *ret_n)
{
	ret->json = json_object_object_get(in->json, name);
	ret->path = join(m, in->path, name);
	*ret_n = 0;
	if (!ret->path)
		return nomem(m);
	if (!ret->json)
		return 0;
	if (json_object_get_type(ret->json) != json_type_array)
		return wrong_type(m, ret->path, ret->json, "a list [ ]");
	*ret_n = json_object_array_length(ret->json);
	return 0;
}

static int get_object(struct import *m, const struct item *list, size_t i, struct item *ret)
{
	ret->json = json_object_array_get_idx(list->json, i);
	ret->path = at_index(m, list->path, i);
	if (!ret->path)
		return nomem(m);
	if (json_object_get_type(ret->json) != json_type_object)
		return wrong_type(m, ret->path, ret->json, "an object { }");
	return 0;
}

static int get_string(struct import *m, const struct item *list, size_t i, const char **ret)
{
	const char *path = at_index(m, list->path, i);
	struct json_object *v = json_object_array_get_idx(list->json, i);

	*ret = NULL;
	if (!path)
		return nomem(m);
	if (json_object_get_type(v) != json_type_string)
		return wrong_type(m, path, v, "a text");

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

static int note_unknown(struct import *m, enum nvmet_object o, const struct item *in,
			const char *parent)
{
	int err = 0;

	json_object_object_foreach(in->json, member, value)
	{
		const char *name =
			arena_printf(&m->scratch, "%s%s%s", parent, *parent ? "." : "", member);
		struct item below = { value, join(m, in->path, quote(member).text) };

		if (!name || !below.path)
			return nomem(m);
		if (nvmet_key_find(o, name))
			continue;
		if (!is_parent(o, name))
			note(m, below.path, "skipped", "the key is unknown");
		else if (json_object_get_type(value) == json_type_object)
			err = note_unknown(m, o, &below, name);
		if (err)
			return err;
	}
	return 0;
}

static int missing(struct import *m, enum nvmet_object o, const struct item *in,
		   const struct nvmet_key *k)
{
	const struct key *ours = k->key ? key_find(nvmet_group(o), k->key) : NULL;

	diag_what(m->diag, in->path, 0, "has no \"%s\"", k->name);
	return diag_fix(m->diag, "add it: %s", ours ? allowed(ours).text : k->why);
}

static int set(struct import *m, enum nvmet_object o, const struct item *in,
	       const struct nvmet_key *k, const char *text, void *obj)
{
	const struct key *ours = key_find(nvmet_group(o), k->key);
	const char *path = join(m, in->path, k->name);
	char converted[NVMET_TEXT_MAX];

	if (!path)
		return nomem(m);
	if (k->to) {
		k->to(text, converted);
		text = converted;
	}
	return set_text(m->c, ours, obj, path, text, m->diag);
}

static int import_key(struct import *m, enum nvmet_object o, const struct item *in,
		      const struct nvmet_key *k, void *obj)
{
	const char *text, *path;
	int err = get_text(m, in, k->name, &text);

	if (err)
		return err;
	if (!text)
		return k->required ? missing(m, o, in, k) : 0;
	if (nvmet_in(k->same, text))
		return 0;
	if (k->key)
		return set(m, o, in, k, text, obj);
	path = join(m, in->path, k->name);
	if (!path)
		return nomem(m);
	note(m, path, "left out", "%s", k->why);
	return 0;
}

/* All rows that no code looks after. */
static int import_keys(struct import *m, enum nvmet_object o, const struct item *in, void *obj)
{
	int err = note_unknown(m, o, in, "");

	for (size_t i = 0; i < nvmet_keys[o].nkeys && !err; i++)
		if (!nvmet_keys[o].keys[i].code)
			err = import_key(m, o, in, &nvmet_keys[o].keys[i], obj);
	return err;
}

/* A new object of the model, whose first member is its `where`. */
static void start(enum nvmet_object o, const struct item *in, void *obj)
{
	const struct config_where where = { in->path, 0 };

	key_defaults(nvmet_group(o), obj);
	memcpy(obj, &where, sizeof(where));
}

/* nvmetcli enables only what says "enable": 1. */
static int is_enabled(struct import *m, const struct item *in, bool *ret)
{
	const char *text;
	int err = get_text(m, in, "enable", &text);

	if (err)
		return err;
	*ret = text && strcmp(text, "1") == 0;
	if (*ret)
		return 0;
	if (text && strcmp(text, "0") != 0) {
		diag_what(m->diag, in->path, 0, "has enable = \"%s\"", quote(text).text);
		return diag_fix(m->diag, "allowed: 0, 1");
	}
	note(m, in->path, "left out", "it is not enabled");
	return 0;
}

/* ---- ports -------------------------------------------------------------------------------------
 */

static int is_rdma(struct import *m, const struct item *in, bool *ret)
{
	const char *type, *family;
	int err = get_text(m, in, "addr.trtype", &type);

	if (!err)
		err = get_text(m, in, "addr.adrfam", &family);
	if (err)
		return err;
	*ret = false;
	if (!type)
		note(m, in->path, "left out", "it has no transport (addr.trtype)");
	else if (strcmp(type, "rdma") != 0)
		note(m, in->path, "left out", "its transport is \"%s\", the daemon speaks RDMA",
		     quote(type).text);
	else if (family && strcmp(family, "ipv4") != 0 && strcmp(family, "ipv6") != 0)
		note(m, in->path, "left out",
		     "its address family is \"%s\", the daemon listens on IPv4 and IPv6",
		     quote(family).text);
	else
		*ret = true;
	return 0;
}

static int check_family(struct import *m, const struct item *in, const char *address)
{
	const char *family, *want = strchr(address, ':') ? "ipv6" : "ipv4";
	int err = get_text(m, in, "addr.adrfam", &family);

	if (err || !family || strcmp(family, want) == 0)
		return err;
	diag_what(m->diag, in->path, 0, "has addr.adrfam = \"%s\", but its address is \"%s\"",
		  family, quote(address).text);
	return diag_fix(m->diag, "set addr.adrfam = \"%s\", or another address", want);
}

static bool is_number(const char *text)
{
	return strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

/* The kernel's target takes less than what it cannot do; so do we. */
static int import_inline(struct import *m, const struct item *in, struct config_port *p)
{
	const struct nvmet_key *k = nvmet_key_find(NVMET_PORT, "param.inline_data_size");
	const unsigned long most = 16384;
	const char *text, *path = join(m, in->path, k->name);
	char taken[16];
	int err = get_text(m, in, k->name, &text);

	if (err || !text || nvmet_in(k->same, text))
		return err;
	if (!path)
		return nomem(m);
	if (is_number(text)) {
		unsigned long bytes = strtoul(text, NULL, 10), can = bytes < most ? bytes : most;

		snprintf(taken, sizeof(taken), "%lu", can - can % 16);
		if (can - can % 16 != bytes)
			note(m, path, "changed", "%s is taken as %s (%s)", text, taken, k->why);
		text = taken;
	}
	return set(m, NVMET_PORT, in, k, text, p);
}

#define MDTS_LEAST   1 /* of 4 KiB: max_transfer is 8 KiB to 4 MiB */
#define MDTS_MOST    10
#define MDTS_DEFAULT 8

static int import_mdts(struct import *m, struct port_source *s)
{
	const struct nvmet_key *k = nvmet_key_find(NVMET_PORT, "param.mdts");
	const struct item in = { s->json, s->path };
	const char *text, *path = join(m, s->path, k->name);
	unsigned long mdts, can;
	int err = get_text(m, &in, k->name, &text);

	if (err || !text || nvmet_in(k->same, text))
		return err;
	if (!path)
		return nomem(m);
	mdts = is_number(text) ? strtoul(text, NULL, 10) : 256;
	if (mdts > 255) {
		diag_what(m->diag, path, 0, "is \"%s\"", quote(text).text);
		return diag_fix(m->diag,
				"allowed: 0..255, a power of two of 4 KiB; 0: the default");
	}
	can = mdts < MDTS_LEAST ? MDTS_LEAST : mdts > MDTS_MOST ? MDTS_MOST : mdts;
	if (can != mdts)
		note(m, path, "changed", "%lu is taken as %lu, the most there is", mdts, can);
	s->max_transfer = UINT32_C(4096) << can;
	return 0;
}

/* Of all ports; those that do not say have the kernel's default. */
static int take_max_transfer(struct import *m)
{
	uint32_t least = UINT32_MAX;
	bool given = false;

	for (size_t i = 0; i < m->c->nports; i++) {
		struct port_source *s = &m->ports[i];
		int err = import_mdts(m, s);
		uint32_t bytes = s->max_transfer ? s->max_transfer : 4096U << MDTS_DEFAULT;

		if (err)
			return err;
		given |= s->max_transfer;
		least = bytes < least ? bytes : least;
	}
	if (!given)
		return 0;
	m->c->max_transfer_len = least;
	for (size_t i = 0; i < m->c->nports; i++) {
		const char *path = join(m, m->ports[i].path, "param.mdts");

		if (!path)
			return nomem(m);
		if (m->ports[i].max_transfer && m->ports[i].max_transfer != least)
			note(m, path, "changed",
			     "max_transfer is one for all ports, \"%s\" by the least of them",
			     size_print(least).text);
	}
	return 0;
}

static int import_ana_groups(struct import *m, const struct item *port, struct config_port *p)
{
	struct item list, in;
	size_t n;
	int err = get_list(m, port, "ana_groups", &list, &n);

	if (err)
		return err;
	/* and those of fill_ana_groups() */
	p->ana_groups =
		arena_alloc(&m->c->arena, n + CONFIG_ANA_GROUPS + 1, sizeof(*p->ana_groups));
	if (!p->ana_groups)
		return nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		struct config_ana_group *g = &p->ana_groups[p->nana_groups];

		err = get_object(m, &list, i, &in);
		if (err)
			break;
		start(NVMET_ANA_GROUP, &in, g);
		err = import_keys(m, NVMET_ANA_GROUP, &in, g);
		if (g->id != 1 || g->state != CONFIG_ANA_OPTIMIZED) /* so it is anyway */
			p->nana_groups++;
	}
	return err;
}

static int import_port(struct import *m, const struct item *in)
{
	struct config_port *p = &m->c->ports[m->c->nports];
	bool rdma = false;
	int err = is_rdma(m, in, &rdma);

	if (err || !rdma)
		return err;
	m->ports[m->c->nports++] = (struct port_source){ in->path, in->json, 0 };
	start(NVMET_PORT, in, p);
	err = import_keys(m, NVMET_PORT, in, p);
	if (!err)
		err = check_family(m, in, p->address);
	if (!err)
		err = import_inline(m, in, p);
	return err ? err : import_ana_groups(m, in, p);
}

static int import_ports(struct import *m, const struct item *root)
{
	struct item list, in;
	size_t n;
	int err = get_list(m, root, "ports", &list, &n);

	if (err)
		return err;
	m->c->ports = arena_alloc(&m->c->arena, n, sizeof(*m->c->ports));
	m->ports = arena_alloc(&m->scratch, n, sizeof(*m->ports));
	if (!m->c->ports || !m->ports)
		return nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		err = get_object(m, &list, i, &in);
		if (!err)
			err = import_port(m, &in);
	}
	if (!err && m->c->nports == 0) {
		diag_what(m->diag, "ports", 0, n ? "none of them is an RDMA port" : "is empty");
		return diag_fix(m->diag,
				"add one with addr.trtype = \"rdma\", or change a port of tcp");
	}
	return err ? err : take_max_transfer(m);
}

/* ---- subsystems --------------------------------------------------------------------------------
 */

static int import_namespace(struct import *m, const struct item *in, struct config_subsystem *s)
{
	struct config_namespace *ns = &s->namespaces[s->nnamespaces];
	const char *group, *again;
	bool enabled = false;
	int err = is_enabled(m, in, &enabled);

	if (err || !enabled)
		return err;
	s->nnamespaces++;
	start(NVMET_NAMESPACE, in, ns);
	err = import_keys(m, NVMET_NAMESPACE, in, ns);
	if (!err)
		err = get_text(m, in, "ana.grpid", &group);
	if (!err)
		err = get_text(m, in, "ana_grpid", &again);
	if (err || !group || !again || strcmp(group, again) == 0)
		return err;
	diag_what(m->diag, in->path, 0, "has ana.grpid = \"%s\" and ana_grpid = \"%s\"", group,
		  again);
	return diag_fix(m->diag, "remove one of the two");
}

static int import_namespaces(struct import *m, const struct item *sub, struct config_subsystem *s)
{
	struct item list, in;
	size_t n;
	int err = get_list(m, sub, "namespaces", &list, &n);

	if (err)
		return err;
	s->namespaces = arena_alloc(&m->c->arena, n, sizeof(*s->namespaces));
	if (!s->namespaces)
		return nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		err = get_object(m, &list, i, &in);
		if (!err)
			err = import_namespace(m, &in, s);
	}
	return err;
}

static int import_passthru(struct import *m, const struct item *sub, struct config_subsystem *s)
{
	struct item list, in;
	bool enabled = false;
	size_t n;
	int err = get_list(m, sub, "passthru", &list, &n);

	for (size_t i = 0; i < n && !err; i++) {
		err = get_object(m, &list, i, &in);
		if (!err)
			err = is_enabled(m, &in, &enabled);
		if (err || !enabled)
			continue;
		if (s->passthrough) {
			diag_what(m->diag, in.path, 0, "is a second controller passed through");
			return diag_fix(m->diag, "give it a subsystem of its own");
		}
		err = import_keys(m, NVMET_PASSTHRU, &in, s);
	}
	return err;
}

static int import_allowed_hosts(struct import *m, const struct item *sub,
				struct config_subsystem *s)
{
	const struct key *k = key_find(nvmet_group(NVMET_SUBSYSTEM), "allowed_hosts");
	struct item list;
	size_t n;
	int err = get_list(m, sub, "allowed_hosts", &list, &n);

	if (err)
		return err;
	s->allowed_hosts = arena_alloc(&m->c->arena, n, sizeof(*s->allowed_hosts));
	if (!s->allowed_hosts)
		return nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		const char *nqn, *path = at_index(m, list.path, i);

		err = path ? get_string(m, &list, i, &nqn) : nomem(m);
		if (!err)
			err = set_check_text(k, path, nqn, m->diag);
		if (err)
			break;
		s->allowed_hosts[i] = arena_printf(&m->c->arena, "%s", nqn);
		if (!s->allowed_hosts[i])
			return nomem(m);
		s->nallowed_hosts++;
	}
	return err;
}

/* The RDMA ports that lead to the subsystem @nqn. */
static int import_links(struct import *m, const char *nqn, struct config_subsystem *s)
{
	size_t room = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < m->c->nports; i++) {
			const struct item port = { m->ports[i].json, m->ports[i].path };
			struct item list;
			size_t n;
			int err = get_list(m, &port, "subsystems", &list, &n);

			for (size_t j = 0; j < n && !err; j++) {
				const char *linked;

				err = get_string(m, &list, j, &linked);
				if (err || strcmp(linked, nqn) != 0)
					continue;
				if (pass)
					s->ports[s->nports++] = m->c->ports[i].id;
				else
					room++;
			}
			if (err)
				return err;
		}
		if (!pass)
			s->ports = arena_alloc(&m->c->arena, room, sizeof(*s->ports));
		if (!s->ports)
			return nomem(m);
	}
	return 0;
}

/* Neither can be said of a subsystem here: one without ports has them all. */
static int is_reachable(struct import *m, const struct item *in, struct config_subsystem *s,
			bool *ret)
{
	const char *nqn, *any;
	struct item list;
	size_t nhosts = 0;
	int err = get_text(m, in, "nqn", &nqn);

	*ret = false;
	if (!err && !nqn)
		return missing(m, NVMET_SUBSYSTEM, in, nvmet_key_find(NVMET_SUBSYSTEM, "nqn"));
	if (!err)
		err = get_text(m, in, "attr.allow_any_host", &any);
	if (!err)
		err = get_list(m, in, "allowed_hosts", &list, &nhosts);
	if (!err)
		err = import_links(m, nqn, s);
	if (err)
		return err;
	if (!s->nports)
		note(m, in->path, "left out", "no RDMA port leads to \"%s\"", quote(nqn).text);
	else if (!nhosts && (!any || strcmp(any, "0") == 0))
		note(m, in->path, "left out", "nobody may connect to \"%s\"", quote(nqn).text);
	else
		*ret = true;
	return 0;
}

/* The kernel's target has no use for it with a controller passed through; here it would go first.
 */
static int drop_identity(struct import *m, const struct item *in, const char **field,
			 const char *name)
{
	const char *path = join(m, in->path, name);

	if (!path)
		return nomem(m);
	if (*field)
		note(m, path, "left out", "hosts see that of the controller passed through");
	*field = NULL;
	return 0;
}

static int import_subsystem(struct import *m, const struct item *in)
{
	struct config_subsystem *s = &m->c->subsystems[m->c->nsubsystems];
	bool reachable = false;
	int err;

	start(NVMET_SUBSYSTEM, in, s);
	err = is_reachable(m, in, s, &reachable);
	if (!err && !reachable)
		*s = (struct config_subsystem){ 0 };
	if (err || !reachable)
		return err;
	m->c->nsubsystems++;
	err = import_keys(m, NVMET_SUBSYSTEM, in, s);
	if (!err)
		err = import_allowed_hosts(m, in, s);
	if (!err)
		err = import_namespaces(m, in, s);
	if (!err)
		err = import_passthru(m, in, s);
	if (err || !s->passthrough)
		return err;
	err = drop_identity(m, in, &s->serial, "attr.serial");
	return err ? err : drop_identity(m, in, &s->model, "attr.model");
}

static int import_subsystems(struct import *m, const struct item *root)
{
	struct item list, in;
	size_t n;
	int err = get_list(m, root, "subsystems", &list, &n);

	if (err)
		return err;
	m->c->subsystems = arena_alloc(&m->c->arena, n, sizeof(*m->c->subsystems));
	if (!m->c->subsystems)
		return nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		err = get_object(m, &list, i, &in);
		if (!err)
			err = import_subsystem(m, &in);
	}
	if (err || m->c->nsubsystems)
		return err;
	diag_what(m->diag, "subsystems", 0, n ? "nothing is left of them" : "is empty");
	return diag_fix(
		m->diag,
		"add one, with its nqn in an RDMA port's subsystems and hosts that may connect");
}

static int id_cmp(const void *a, const void *b)
{
	const struct config_ana_group *ga = a, *gb = b;

	return ga->id < gb->id ? -1 : ga->id > gb->id;
}

/* A group that a port does not name is inaccessible in the kernel's target, and optimized here. */
static void fill_port(struct import *m, size_t index)
{
	struct config_port *p = &m->c->ports[index];
	bool named[CONFIG_ANA_GROUPS + 1] = { false, true }; /* group 1 is optimized there too */

	for (size_t i = 0; i < p->nana_groups; i++)
		named[p->ana_groups[i].id] = true;
	for (size_t i = 0; i < m->c->nsubsystems; i++) {
		const struct config_subsystem *s = &m->c->subsystems[i];
		bool linked = false;

		for (size_t j = 0; j < s->nports; j++)
			linked |= s->ports[j] == p->id;
		for (size_t j = 0; j < s->nnamespaces && linked; j++) {
			uint32_t id = s->namespaces[j].ana_group;

			if (named[id])
				continue;
			named[id] = true;
			p->ana_groups[p->nana_groups++] =
				(struct config_ana_group){ p->where, id, CONFIG_ANA_INACCESSIBLE };
			note(m, m->ports[index].path, "added",
			     "ANA group %u is in use and not in ana_groups, so it is inaccessible",
			     id);
		}
	}
	qsort(p->ana_groups, p->nana_groups, sizeof(*p->ana_groups), id_cmp);
}

/* ---- what the ports refer to -------------------------------------------------------------------
 */

static bool is_defined(const struct item *subsystems, size_t n, const char *nqn)
{
	for (size_t i = 0; i < n; i++) {
		struct json_object *s = json_object_array_get_idx(subsystems->json, i);
		struct json_object *v = json_object_object_get(s, "nqn");

		if (json_object_get_type(v) == json_type_string &&
		    strcmp(json_object_get_string(v), nqn) == 0)
			return true;
	}
	return false;
}

static int check_links(struct import *m, const struct item *root)
{
	struct item subsystems, list;
	size_t nsubsystems, n;
	int err = get_list(m, root, "subsystems", &subsystems, &nsubsystems);

	for (size_t i = 0; i < m->c->nports && !err; i++) {
		const struct item port = { m->ports[i].json, m->ports[i].path };

		err = get_list(m, &port, "subsystems", &list, &n);
		for (size_t j = 0; j < n && !err; j++) {
			const char *nqn, *path = at_index(m, list.path, j);

			err = path ? get_string(m, &list, j, &nqn) : nomem(m);
			if (err || is_defined(&subsystems, nsubsystems, nqn))
				continue;
			diag_what(m->diag, path, 0, "names \"%s\", which is not in subsystems",
				  quote(nqn).text);
			return diag_fix(m->diag, "define it there, or remove it from the port");
		}
	}
	return err;
}

/* The kernel lists a referral with each port, we have one with its ports. */
static struct config_referral *find_referral(struct config *c, const struct config_referral *r)
{
	for (size_t i = 0; i < c->nreferrals; i++)
		if (strcmp(c->referrals[i].address, r->address) == 0 &&
		    strcmp(c->referrals[i].service, r->service) == 0 &&
		    c->referrals[i].port_id == r->port_id)
			return &c->referrals[i];
	return NULL;
}

static int import_referral(struct import *m, const struct item *in, uint16_t port)
{
	struct config_referral r = { 0 }, *same;
	bool taken = false;
	int err = is_enabled(m, in, &taken);

	if (!err && taken)
		err = is_rdma(m, in, &taken);
	if (err || !taken)
		return err;
	start(NVMET_REFERRAL, in, &r);
	err = import_keys(m, NVMET_REFERRAL, in, &r);
	if (!err)
		err = check_family(m, in, r.address);
	if (err)
		return err;
	same = find_referral(m->c, &r);
	if (!same) {
		r.ports = arena_alloc(&m->c->arena, m->c->nports, sizeof(*r.ports));
		if (!r.ports)
			return nomem(m);
		same = &m->c->referrals[m->c->nreferrals++];
		*same = r;
	}
	if (same->nports && same->ports[same->nports - 1] == port) {
		diag_what(m->diag, in->path, 0, "is the port's second referral to %s",
			  quote(r.address).text);
		return diag_fix(m->diag, "remove one of the two");
	}
	same->ports[same->nports++] = port;
	return 0;
}

static int import_referrals(struct import *m)
{
	struct item list, in;
	size_t room = 0, n;
	int err = 0;

	for (size_t i = 0; i < m->c->nports && !err; i++) {
		const struct item port = { m->ports[i].json, m->ports[i].path };

		err = get_list(m, &port, "referrals", &list, &n);
		room += n;
	}
	if (err)
		return err;
	m->c->referrals = arena_alloc(&m->c->arena, room, sizeof(*m->c->referrals));
	if (!m->c->referrals)
		return nomem(m);
	for (size_t i = 0; i < m->c->nports && !err; i++) {
		const struct item port = { m->ports[i].json, m->ports[i].path };

		err = get_list(m, &port, "referrals", &list, &n);
		for (size_t j = 0; j < n && !err; j++) {
			err = get_object(m, &list, j, &in);
			if (!err)
				err = import_referral(m, &in, m->c->ports[i].id);
		}
	}
	return err;
}

/* ---- hosts -------------------------------------------------------------------------------------
 */

static bool is_allowed_somewhere(const struct config *c, const char *nqn)
{
	for (size_t i = 0; i < c->nsubsystems; i++)
		for (size_t j = 0; j < c->subsystems[i].nallowed_hosts; j++)
			if (strcmp(c->subsystems[i].allowed_hosts[j], nqn) == 0)
				return true;
	return false;
}

/* One without a key is known by being allowed somewhere. */
static int import_hosts(struct import *m, const struct item *root)
{
	struct item list, in;
	size_t n;
	int err = get_list(m, root, "hosts", &list, &n);

	if (err)
		return err;
	m->c->hosts = arena_alloc(&m->c->arena, n, sizeof(*m->c->hosts));
	if (!m->c->hosts)
		return nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		struct config_host h = { 0 };

		err = get_object(m, &list, i, &in);
		if (err)
			break;
		start(NVMET_HOST, &in, &h);
		err = import_keys(m, NVMET_HOST, &in, &h);
		if (!err &&
		    (h.dhchap_key || h.dhchap_ctrl_key || !is_allowed_somewhere(m->c, h.nqn)))
			m->c->hosts[m->c->nhosts++] = h;
	}
	return err;
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static int import_root(struct import *m, const char *name)
{
	const struct item root = { m->root, "" };
	int err;

	if (json_object_get_type(m->root) != json_type_object)
		return wrong_type(m, "", m->root, "an object { }, as \"nvmetcli save\" writes it");
	err = import_keys(m, NVMET_ROOT, &root, m->c);
	if (!err)
		err = import_ports(m, &root);
	if (!err)
		err = import_subsystems(m, &root);
	if (!err)
		err = check_links(m, &root);
	for (size_t i = 0; i < m->c->nports && !err; i++)
		fill_port(m, i);
	if (!err)
		err = import_referrals(m);
	if (!err)
		err = import_hosts(m, &root);
	return err ? err : check_model(m->c, name, m->diag);
}

static int import_text(struct import *m, const char *name, const char *text, size_t len)
{
	int err;

	if (len > NVMET_JSON_MAX) {
		diag_what(m->diag, name, 0, "is larger than %d MiB", NVMET_JSON_MAX >> 20);
		return diag_fix(m->diag, "give a file as \"nvmetcli save\" writes it");
	}
	err = json_read(name, text, len, &m->root, m->diag);
	if (!err)
		err = import_root(m, name);
	json_object_put(m->root);
	arena_free(&m->scratch);
	return err;
}

int nvmet_import(const char *name, const char *text, size_t len, FILE *notes, struct config **ret,
		 struct config_diag *diag)
{
	struct import m = { .notes = notes, .diag = diag };
	int err;

	*diag = (struct config_diag){ 0 };
	m.c = config_new();
	if (!m.c)
		return diag_nomem(diag, name);
	err = import_text(&m, name, text, len);
	if (err)
		config_free(m.c);
	else
		*ret = m.c;
	return err;
}
