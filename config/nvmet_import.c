#include "config/nvmet.h"

#include "config/arena.h"
#include "config/check.h"
#include "config/diag.h"
#include "config/json.h"
#include "config/nvmet_ports.h"
#include "config/nvmet_read.h"
#include "config/set.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

/* ---- subsystems --------------------------------------------------------------------------------
 */

static int import_namespace(struct nvmet_reader *m, const struct nvmet_item *in,
			    struct config_subsystem *s)
{
	struct config_namespace *ns = &s->namespaces[s->nnamespaces];
	const char *group = NULL, *again = NULL;
	bool enabled = false;
	int err = nvmet_is_enabled(m, in, &enabled);

	if (err || !enabled)
		return err;
	s->nnamespaces++;
	nvmet_start(NVMET_NAMESPACE, in, ns);
	err = nvmet_take_keys(m, NVMET_NAMESPACE, in, ns);
	if (!err)
		err = nvmet_get_text(m, in, "ana.grpid", &group);
	if (!err)
		err = nvmet_get_text(m, in, "ana_grpid", &again);
	if (err || !group || !again || strcmp(group, again) == 0)
		return err;
	diag_what(m->diag, in->path, 0, "has ana.grpid = \"%s\" and ana_grpid = \"%s\"", group,
		  again);
	return diag_fix(m->diag, "remove one of the two");
}

static int import_namespaces(struct nvmet_reader *m, const struct nvmet_item *sub,
			     struct config_subsystem *s)
{
	struct nvmet_item list, in;
	size_t n;
	int err = nvmet_get_list(m, sub, "namespaces", &list, &n);

	if (err)
		return err;
	s->namespaces = arena_alloc(&m->c->arena, n, sizeof(*s->namespaces));
	if (!s->namespaces)
		return nvmet_nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		err = nvmet_get_object(m, &list, i, &in);
		if (!err)
			err = import_namespace(m, &in, s);
	}
	return err;
}

static int import_passthru(struct nvmet_reader *m, const struct nvmet_item *sub,
			   struct config_subsystem *s)
{
	struct nvmet_item list, in;
	bool enabled = false;
	size_t n;
	int err = nvmet_get_list(m, sub, "passthru", &list, &n);

	for (size_t i = 0; i < n && !err; i++) {
		err = nvmet_get_object(m, &list, i, &in);
		if (!err)
			err = nvmet_is_enabled(m, &in, &enabled);
		if (err || !enabled)
			continue;
		if (s->passthrough) {
			diag_what(m->diag, in.path, 0, "is a second controller passed through");
			return diag_fix(m->diag, "give it a subsystem of its own");
		}
		err = nvmet_take_keys(m, NVMET_PASSTHRU, &in, s);
	}
	return err;
}

static int import_allowed_hosts(struct nvmet_reader *m, const struct nvmet_item *sub,
				struct config_subsystem *s)
{
	const struct key *k = key_find(nvmet_group(NVMET_SUBSYSTEM), "allowed_hosts");
	struct nvmet_item list;
	size_t n;
	int err = nvmet_get_list(m, sub, "allowed_hosts", &list, &n);

	if (err)
		return err;
	s->allowed_hosts = arena_alloc(&m->c->arena, n, sizeof(*s->allowed_hosts));
	if (!s->allowed_hosts)
		return nvmet_nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		const char *nqn = NULL, *path = nvmet_at(m, list.path, i);

		err = path ? nvmet_get_string(m, &list, i, &nqn) : nvmet_nomem(m);
		if (!err)
			err = set_check_text(k, path, nqn, m->diag);
		if (err)
			break;
		s->allowed_hosts[i] = arena_printf(&m->c->arena, "%s", nqn);
		if (!s->allowed_hosts[i])
			return nvmet_nomem(m);
		s->nallowed_hosts++;
	}
	return err;
}

/* The RDMA ports that lead to the subsystem @nqn. */
static int import_links(struct nvmet_reader *m, const char *nqn, struct config_subsystem *s)
{
	size_t room = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < m->c->nports; i++) {
			const struct nvmet_item port = { m->ports[i].json, m->ports[i].path };
			struct nvmet_item list;
			size_t n;
			int err = nvmet_get_list(m, &port, "subsystems", &list, &n);

			for (size_t j = 0; j < n && !err; j++) {
				const char *linked;

				err = nvmet_get_string(m, &list, j, &linked);
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
			return nvmet_nomem(m);
	}
	return 0;
}

/* Neither can be said of a subsystem here: one without ports has them all. */
static int is_reachable(struct nvmet_reader *m, const struct nvmet_item *in,
			struct config_subsystem *s, bool *ret)
{
	const char *nqn, *any;
	struct nvmet_item list;
	size_t nhosts = 0;
	int err = nvmet_get_text(m, in, "nqn", &nqn);

	*ret = false;
	if (!err && !nqn)
		return nvmet_missing(m, NVMET_SUBSYSTEM, in,
				     nvmet_key_find(NVMET_SUBSYSTEM, "nqn"));
	if (!err)
		err = nvmet_get_text(m, in, "attr.allow_any_host", &any);
	if (!err)
		err = nvmet_get_list(m, in, "allowed_hosts", &list, &nhosts);
	if (!err)
		err = import_links(m, nqn, s);
	if (err)
		return err;
	if (!s->nports)
		nvmet_note(m, in->path, "left out", "no RDMA port leads to \"%s\"",
			   quote(nqn).text);
	else if (!nhosts && (!any || strcmp(any, "0") == 0))
		nvmet_note(m, in->path, "left out", "nobody may connect to \"%s\"",
			   quote(nqn).text);
	else
		*ret = true;
	return 0;
}

/* The kernel's target has no use for it with a controller passed through; here it would go first.
 */
static int drop_identity(struct nvmet_reader *m, const struct nvmet_item *in, const char **field,
			 const char *name)
{
	const char *path = nvmet_join(m, in->path, name);

	if (!path)
		return nvmet_nomem(m);
	if (*field)
		nvmet_note(m, path, "left out", "hosts see that of the controller passed through");
	*field = NULL;
	return 0;
}

static int import_subsystem(struct nvmet_reader *m, const struct nvmet_item *in)
{
	struct config_subsystem *s = &m->c->subsystems[m->c->nsubsystems];
	bool reachable = false;
	int err;

	nvmet_start(NVMET_SUBSYSTEM, in, s);
	err = is_reachable(m, in, s, &reachable);
	if (!err && !reachable)
		*s = (struct config_subsystem){ 0 };
	if (err || !reachable)
		return err;
	m->c->nsubsystems++;
	err = nvmet_take_keys(m, NVMET_SUBSYSTEM, in, s);
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

static int import_subsystems(struct nvmet_reader *m, const struct nvmet_item *root)
{
	struct nvmet_item list, in;
	size_t n;
	int err = nvmet_get_list(m, root, "subsystems", &list, &n);

	if (err)
		return err;
	m->c->subsystems = arena_alloc(&m->c->arena, n, sizeof(*m->c->subsystems));
	if (!m->c->subsystems)
		return nvmet_nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		err = nvmet_get_object(m, &list, i, &in);
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

/* ---- what the ports refer to -------------------------------------------------------------------
 */

static bool is_defined(const struct nvmet_item *subsystems, size_t n, const char *nqn)
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

static int check_links(struct nvmet_reader *m, const struct nvmet_item *root)
{
	struct nvmet_item subsystems, list;
	size_t nsubsystems, n;
	int err = nvmet_get_list(m, root, "subsystems", &subsystems, &nsubsystems);

	for (size_t i = 0; i < m->c->nports && !err; i++) {
		const struct nvmet_item port = { m->ports[i].json, m->ports[i].path };

		err = nvmet_get_list(m, &port, "subsystems", &list, &n);
		for (size_t j = 0; j < n && !err; j++) {
			const char *nqn = NULL, *path = nvmet_at(m, list.path, j);

			err = path ? nvmet_get_string(m, &list, j, &nqn) : nvmet_nomem(m);
			if (err || !nqn || is_defined(&subsystems, nsubsystems, nqn))
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

static int import_referral(struct nvmet_reader *m, const struct nvmet_item *in, uint16_t port)
{
	struct config_referral r = { 0 }, *same;
	bool taken = false;
	int err = nvmet_is_enabled(m, in, &taken);

	if (!err && taken)
		err = nvmet_is_rdma(m, in, &taken);
	if (err || !taken)
		return err;
	nvmet_start(NVMET_REFERRAL, in, &r);
	err = nvmet_take_keys(m, NVMET_REFERRAL, in, &r);
	if (!err)
		err = nvmet_check_family(m, in, r.address);
	if (err)
		return err;
	same = find_referral(m->c, &r);
	if (!same) {
		r.ports = arena_alloc(&m->c->arena, m->c->nports, sizeof(*r.ports));
		if (!r.ports)
			return nvmet_nomem(m);
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

static int import_referrals(struct nvmet_reader *m)
{
	struct nvmet_item list, in;
	size_t room = 0, n;
	int err = 0;

	for (size_t i = 0; i < m->c->nports && !err; i++) {
		const struct nvmet_item port = { m->ports[i].json, m->ports[i].path };

		err = nvmet_get_list(m, &port, "referrals", &list, &n);
		room += n;
	}
	if (err)
		return err;
	m->c->referrals = arena_alloc(&m->c->arena, room, sizeof(*m->c->referrals));
	if (!m->c->referrals)
		return nvmet_nomem(m);
	for (size_t i = 0; i < m->c->nports && !err; i++) {
		const struct nvmet_item port = { m->ports[i].json, m->ports[i].path };

		err = nvmet_get_list(m, &port, "referrals", &list, &n);
		for (size_t j = 0; j < n && !err; j++) {
			err = nvmet_get_object(m, &list, j, &in);
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
static int import_hosts(struct nvmet_reader *m, const struct nvmet_item *root)
{
	struct nvmet_item list, in;
	size_t n;
	int err = nvmet_get_list(m, root, "hosts", &list, &n);

	if (err)
		return err;
	m->c->hosts = arena_alloc(&m->c->arena, n, sizeof(*m->c->hosts));
	if (!m->c->hosts)
		return nvmet_nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		struct config_host h = { 0 };

		err = nvmet_get_object(m, &list, i, &in);
		if (err)
			break;
		nvmet_start(NVMET_HOST, &in, &h);
		err = nvmet_take_keys(m, NVMET_HOST, &in, &h);
		if (err)
			break;
		if (h.dhchap_key || h.dhchap_ctrl_key)
			m->c->hosts[m->c->nhosts++] = h;
		else if (!is_allowed_somewhere(m->c, h.nqn))
			nvmet_note(m, in.path, "left out", "it has no key and may connect nowhere");
	}
	return err;
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static int import_root(struct nvmet_reader *m, const char *name)
{
	const struct nvmet_item root = { m->root, "" };
	int err;

	if (json_object_get_type(m->root) != json_type_object)
		return nvmet_wrong_type(m, "", m->root,
					"an object { }, as \"nvmetcli save\" writes it");
	err = nvmet_take_keys(m, NVMET_ROOT, &root, m->c);
	if (!err)
		err = nvmet_take_ports(m, &root);
	if (!err)
		err = import_subsystems(m, &root);
	if (!err)
		err = check_links(m, &root);
	for (size_t i = 0; i < m->c->nports && !err; i++)
		nvmet_fill_port(m, i);
	if (!err)
		err = import_referrals(m);
	if (!err)
		err = import_hosts(m, &root);
	return err ? err : check_model(m->c, name, m->diag);
}

static int import_text(struct nvmet_reader *m, const char *name, const char *text, size_t len)
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
	struct nvmet_reader m = { .notes = notes, .diag = diag };
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
