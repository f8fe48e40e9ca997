#include "config/nvmet.h"

#include "config/arena.h"
#include "config/dhchap_key.h"
#include "config/nvmet_keys.h"
#include "config/json.h"
#include "config/text.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

struct exporting {
	const struct config *c;
	void *scratch;
	FILE *notes;
	bool nomem;
};

/* ---- one object by its table -------------------------------------------------------------------
 * Whatever cannot be allocated sets nomem, which is looked at in the end: what is made after it is
 * thrown away.
 */

static const char *text_or(struct exporting *x, const char *text)
{
	x->nomem |= !text;
	return text ? text : "";
}

static struct json_object *made(struct exporting *x, struct json_object *v)
{
	x->nomem |= !v;
	return v;
}

/* Takes @v over. */
static void put(struct exporting *x, struct json_object *in, const char *name,
		struct json_object *v)
{
	if (!in || !v || json_object_object_add(in, name, v) < 0) {
		x->nomem = true;
		json_object_put(v);
	}
}

/* At "attr.serial": in the object "attr" of @in, which is made if need be. */
static void put_at(struct exporting *x, struct json_object *in, const char *name,
		   struct json_object *v)
{
	const char *dot = strchr(name, '.');

	if (dot) {
		const char *part =
			text_or(x, arena_printf(&x->scratch, "%.*s", (int)(dot - name), name));
		struct json_object *below = json_object_object_get(in, part);

		if (!below) {
			below = made(x, json_object_new_object());
			put(x, in, part, below);
		}
		in = x->nomem ? NULL : below;
		name = dot + 1;
	}
	put(x, in, name, v);
}

static const void *pointer_of(const struct key *k, const void *obj)
{
	const void *pointer;

	memcpy(&pointer, (const char *)obj + k->off, sizeof(pointer));
	return pointer;
}

/* The value of @k as the text that set_text() takes; NULL: it has none. */
static const char *value_text(struct exporting *x, const struct key *k, const void *obj)
{
	char uuid[UUID_TEXT_LEN];

	switch (k->type) {
	case KEY_INT:
	case KEY_SIZE:
	case KEY_BOOL:
		return text_or(x, arena_printf(&x->scratch, "%" PRIu64, key_number(k, obj)));
	case KEY_TEXT:
	case KEY_SECRET:
	case KEY_SERVICE:
		return pointer_of(k, obj);
	case KEY_CHOICE:
		return k->choices[key_number(k, obj)];
	case KEY_CHOICES:
		return pointer_of(k, obj) ? k->choices[*(const uint8_t *)pointer_of(k, obj)] : NULL;
	case KEY_UUID:
		if (!*((const char *)obj + k->off2))
			return NULL;
		uuid_print((const uint8_t *)obj + k->off, uuid);
		return text_or(x, arena_printf(&x->scratch, "%s", uuid));
	case KEY_TEXTS:
	case KEY_PORT_IDS:
	case KEY_GROUP:
	case KEY_GROUPS:
		break;
	}
	return NULL;
}

static void put_text(struct exporting *x, struct json_object *in, const struct nvmet_key *k,
		     const char *text)
{
	put_at(x, in, k->name,
	       made(x, k->number ? json_object_new_int64(strtoll(text, NULL, 10))
				 : json_object_new_string(text)));
}

/* All rows whose value the model has. */
static void put_keys(struct exporting *x, enum nvmet_object o, const void *obj,
		     struct json_object *in)
{
	for (size_t i = 0; i < nvmet_keys[o].nkeys; i++) {
		const struct nvmet_key *k = &nvmet_keys[o].keys[i];
		char converted[NVMET_TEXT_MAX];
		const char *text = k->fixed;

		if (!text && k->key)
			text = value_text(x, key_find(nvmet_group(o), k->key), obj);
		if (!text && !k->unset)
			continue;
		if (text && k->from) {
			k->from(text, converted);
			text = converted;
		}
		put_text(x, in, k, text ? text : k->unset);
	}
}

/* What the kernel's target has no word for, and is not as it is there anyway. */
static void note_lost(struct exporting *x, const struct group *g, const void *obj, const char *path)
{
	for (size_t i = 0; i < g->nkeys; i++) {
		const char *why = nvmet_no_equal(g, &g->keys[i]);

		if (why && !key_is_default(&g->keys[i], obj))
			fprintf(x->notes, "%s.%s: left out: %s\n", path, g->keys[i].name, why);
	}
}

static const char *path_of(struct exporting *x, const char *list, size_t i)
{
	return text_or(x, arena_printf(&x->scratch, "%s[%zu]", list, i));
}

static void append(struct exporting *x, struct json_object *list, struct json_object *v)
{
	if (!list || !v || json_object_array_add(list, v) < 0) {
		x->nomem = true;
		json_object_put(v);
	}
}

/* An empty list called @name of @in, which owns it. */
static struct json_object *put_list(struct exporting *x, struct json_object *in, const char *name)
{
	struct json_object *list = made(x, json_object_new_array());

	put(x, in, name, list);
	return x->nomem ? NULL : list;
}

static struct json_object *put_element(struct exporting *x, struct json_object *list)
{
	struct json_object *v = made(x, json_object_new_object());

	append(x, list, v);
	return x->nomem ? NULL : v;
}

static const char *family(const char *address)
{
	return strchr(address, ':') ? "ipv6" : "ipv4";
}

/* ---- hosts -------------------------------------------------------------------------------------
 */

/* A key may lie in a file of its own, the kernel's target has no such. */
static void put_secret(struct exporting *x, struct json_object *in, const char *name,
		       const char *file, const struct config_dhchap_key *key)
{
	if (file)
		put_at(x, in, name,
		       made(x,
			    json_object_new_string(text_or(x, dhchap_key_text(key, &x->scratch)))));
}

static void note_choices(struct exporting *x, const char *path, const char *name, size_t n,
			 const char *first)
{
	if (n > 1)
		fprintf(x->notes, "%s.%s: changed: the kernel's target has one, the first: %s\n",
			path, name, first);
}

static void put_host(struct exporting *x, struct json_object *list, const struct config_host *h,
		     const char *path)
{
	struct json_object *in = put_element(x, list);
	const struct group *g = nvmet_group(NVMET_HOST);

	if (!h->host_key.len) {
		put(x, in, "nqn", made(x, json_object_new_string(h->nqn)));
		return;
	}
	put_keys(x, NVMET_HOST, h, in);
	put_secret(x, in, "dhchap.key", h->dhchap_key_file, &h->host_key);
	put_secret(x, in, "dhchap.ctrl_key", h->dhchap_ctrl_key_file, &h->ctrl_key);
	note_choices(x, path, "dhchap_hash", h->ndhchap_hashes,
		     value_text(x, key_find(g, "dhchap_hash"), h));
	note_choices(x, path, "dhchap_dhgroup", h->ndhchap_dhgroups,
		     value_text(x, key_find(g, "dhchap_dhgroup"), h));
	note_lost(x, g, h, path);
}

static bool is_in_list(struct json_object *hosts, const char *nqn)
{
	for (size_t i = 0; hosts && i < json_object_array_length(hosts); i++) {
		struct json_object *h = json_object_array_get_idx(hosts, i);

		if (strcmp(json_object_get_string(json_object_object_get(h, "nqn")), nqn) == 0)
			return true;
	}
	return false;
}

/* There, a host must be defined before it can be allowed. */
static void put_hosts(struct exporting *x, struct json_object *root)
{
	struct json_object *list = put_list(x, root, "hosts");

	for (size_t i = 0; i < x->c->nhosts; i++)
		put_host(x, list, &x->c->hosts[i], path_of(x, "hosts", i));
	for (size_t i = 0; i < x->c->nsubsystems && !x->nomem; i++) {
		const struct config_subsystem *s = &x->c->subsystems[i];

		for (size_t j = 0; j < s->nallowed_hosts && !x->nomem; j++)
			if (!is_in_list(list, s->allowed_hosts[j]))
				put(x, put_element(x, list), "nqn",
				    made(x, json_object_new_string(s->allowed_hosts[j])));
	}
}

/* ---- subsystems --------------------------------------------------------------------------------
 */

static void put_namespace(struct exporting *x, struct json_object *list,
			  const struct config_namespace *ns, const char *path)
{
	struct json_object *in = put_element(x, list);

	put_keys(x, NVMET_NAMESPACE, ns, in);
	if (ns->nallowed_hosts)
		put(x, in, "enable", made(x, json_object_new_int(0)));
	note_lost(x, nvmet_group(NVMET_NAMESPACE), ns, path);
}

static void put_subsystem(struct exporting *x, struct json_object *list,
			  const struct config_subsystem *s, const char *path)
{
	struct json_object *in = put_element(x, list);
	struct json_object *hosts = put_list(x, in, "allowed_hosts");
	struct json_object *namespaces = put_list(x, in, "namespaces");
	struct json_object *passthru = put_list(x, in, "passthru");
	const char *below = text_or(x, arena_printf(&x->scratch, "%s.namespaces", path));

	put_keys(x, NVMET_SUBSYSTEM, s, in);
	for (size_t i = 0; i < s->nallowed_hosts; i++)
		append(x, hosts, made(x, json_object_new_string(s->allowed_hosts[i])));
	for (size_t i = 0; i < s->nnamespaces && !x->nomem; i++)
		put_namespace(x, namespaces, &s->namespaces[i], path_of(x, below, i));
	if (s->passthrough)
		put_keys(x, NVMET_PASSTHRU, s, put_element(x, passthru));
	if (s->passthrough && s->passthrough[0] != '/')
		fprintf(x->notes,
			"%s.passthrough: the kernel's target wants the path of the controller's device: replace \"%s\"\n",
			path, s->passthrough);
	note_lost(x, nvmet_group(NVMET_SUBSYSTEM), s, path);
}

/* ---- ports -------------------------------------------------------------------------------------
 */

static bool is_in(const uint16_t *ids, size_t n, uint16_t id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static void put_ana_group(struct exporting *x, struct json_object *list, uint32_t id,
			  enum config_ana state)
{
	const struct config_ana_group g = { .id = id, .state = state };

	put_keys(x, NVMET_ANA_GROUP, &g, put_element(x, list));
}

/* Groups not named are optimized here, and inaccessible there but for the first. */
static void put_ana_groups(struct exporting *x, struct json_object *in, const struct config_port *p)
{
	struct json_object *list = put_list(x, in, "ana_groups");
	enum config_ana state[CONFIG_ANA_GROUPS + 1] = { 0 };
	bool wanted[CONFIG_ANA_GROUPS + 1] = { false, true };

	for (size_t i = 0; i < p->nana_groups; i++) {
		wanted[p->ana_groups[i].id] = true;
		state[p->ana_groups[i].id] = p->ana_groups[i].state;
	}
	for (size_t i = 0; i < x->c->nsubsystems; i++) {
		const struct config_subsystem *s = &x->c->subsystems[i];

		for (size_t j = 0; j < s->nnamespaces && is_in(s->ports, s->nports, p->id); j++)
			wanted[s->namespaces[j].ana_group] = true;
	}
	for (uint32_t id = 1; id <= CONFIG_ANA_GROUPS; id++)
		if (wanted[id])
			put_ana_group(x, list, id, state[id]);
}

static void put_referrals(struct exporting *x, struct json_object *in, const struct config_port *p)
{
	struct json_object *list = put_list(x, in, "referrals");

	for (size_t i = 0; i < x->c->nreferrals && !x->nomem; i++) {
		const struct config_referral *r = &x->c->referrals[i];
		struct json_object *v;

		if (!is_in(r->ports, r->nports, p->id))
			continue;
		v = put_element(x, list);
		put_keys(x, NVMET_REFERRAL, r, v);
		put_at(x, v, "addr.adrfam", made(x, json_object_new_string(family(r->address))));
		put(x, v, "name",
		    made(x, json_object_new_string(
				    text_or(x, arena_printf(&x->scratch, "referral%zu", i + 1)))));
	}
}

#define MAX_TRANSFER_DEFAULT (1 << 20) /* there, for RDMA */

static void put_port(struct exporting *x, struct json_object *list, const struct config_port *p,
		     const char *path)
{
	struct json_object *in = put_element(x, list), *links = put_list(x, in, "subsystems");
	unsigned int mdts = 0;
	char text[16];

	put_keys(x, NVMET_PORT, p, in);
	put_at(x, in, "addr.adrfam", made(x, json_object_new_string(family(p->address))));
	while (UINT32_C(4096) << mdts < x->c->max_transfer_len)
		mdts++;
	snprintf(text, sizeof(text), "%u", mdts);
	if (x->c->max_transfer_len != MAX_TRANSFER_DEFAULT) /* kernels before 7.2 have no mdts */
		put_at(x, in, "param.mdts", made(x, json_object_new_string(text)));
	put_ana_groups(x, in, p);
	put_referrals(x, in, p);
	for (size_t i = 0; i < x->c->nsubsystems; i++)
		if (is_in(x->c->subsystems[i].ports, x->c->subsystems[i].nports, p->id))
			append(x, links, made(x, json_object_new_string(x->c->subsystems[i].nqn)));
	if (p->queue_depth > 256)
		fprintf(x->notes, "%s.queue_depth: the kernel's target serves 256 of %u\n", path,
			p->queue_depth);
	note_lost(x, nvmet_group(NVMET_PORT), p, path);
}

static void put_all(struct exporting *x, struct json_object *root)
{
	struct json_object *subsystems = put_list(x, root, "subsystems");
	struct json_object *ports = put_list(x, root, "ports");

	put_keys(x, NVMET_ROOT, x->c, root);
	put_hosts(x, root);
	for (size_t i = 0; i < x->c->nsubsystems && !x->nomem; i++)
		put_subsystem(x, subsystems, &x->c->subsystems[i], path_of(x, "subsystems", i));
	for (size_t i = 0; i < x->c->nports && !x->nomem; i++)
		put_port(x, ports, &x->c->ports[i], path_of(x, "ports", i));
	for (size_t i = 0; i < x->c->nreferrals && !x->nomem; i++)
		note_lost(x, nvmet_group(NVMET_REFERRAL), &x->c->referrals[i],
			  path_of(x, "referrals", i));
	if (x->c->discovery_nqn)
		fputs("daemon.discovery_nqn: nvmetcli does not restore it: write it to discovery_nqn in configfs\n",
		      x->notes);
	note_lost(x, nvmet_group(NVMET_ROOT), x->c, "daemon");
}

int nvmet_export(const struct config *c, FILE *out, FILE *notes)
{
	struct exporting x = { .c = c, .notes = notes };
	struct json_object *root = made(&x, json_object_new_object());
	int err;

	put_all(&x, root);
	err = x.nomem ? -ENOMEM : json_print(root, out);
	json_object_put(root);
	arena_free(&x.scratch);
	return err;
}
