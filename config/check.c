#include "config/check.h"

#include "config/arena.h"
#include "config/dhchap_key.h"
#include "config/diag.h"
#include "config/keys.h"
#include "config/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A text that may be claimed once only. */
struct claim {
	const char *text;
	const struct config_where *where;
	size_t seq;
};

struct claims {
	const char *noun; /* "port id" */
	const char *fix;
	struct claim *claims;
	size_t n;
};

struct check {
	struct config *c;
	const char *file;
	void *scratch;
	struct config_diag *diag;
};

static int claims_init(struct check *k, struct claims *cl, const char *noun, size_t max,
		       const char *fix)
{
	*cl = (struct claims){ .noun = noun, .fix = fix };
	cl->claims = arena_alloc(&k->scratch, max, sizeof(*cl->claims));
	return cl->claims ? 0 : diag_nomem(k->diag, k->file);
}

/* @text may be NULL when there was no memory for it. */
static int claim(struct check *k, struct claims *cl, const struct config_where *where,
		 const char *text)
{
	if (!text)
		return diag_nomem(k->diag, k->file);
	cl->claims[cl->n] = (struct claim){ text, where, cl->n };
	cl->n++;
	return 0;
}

static int claim_cmp(const void *a, const void *b)
{
	const struct claim *ca = a, *cb = b;
	int cmp = strcmp(ca->text, cb->text);

	return cmp ? cmp : ca->seq < cb->seq ? -1 : 1;
}

/* Of several claims made twice, blame the one the reader meets first. */
static int claims_check(struct check *k, struct claims *cl)
{
	const struct claim *first = NULL, *second = NULL;

	qsort(cl->claims, cl->n, sizeof(*cl->claims), claim_cmp);
	for (size_t i = 1; i < cl->n; i++) {
		const struct claim *a = &cl->claims[i - 1], *b = &cl->claims[i];

		if (strcmp(a->text, b->text) == 0 && (!second || b->seq < second->seq)) {
			first = a;
			second = b;
		}
	}
	if (!second)
		return 0;
	diag_what(k->diag, second->where->file, second->where->line,
		  "%s %s is given twice, first at %s", cl->noun, quote(second->text).text,
		  place(first->where).text);
	return diag_fix(k->diag, "%s", cl->fix);
}

/* Where a key of `daemon` stands in the main file; 0: it is left out. */
static unsigned int daemon_line(const struct check *k, const char *name)
{
	return k->c->daemon_lines[key_find(&group_daemon, name) - group_daemon.keys];
}

static int check_port_ids(struct check *k)
{
	struct claims ids;
	int err = claims_init(k, &ids, "port id", k->c->nports, "give each port its own id");

	for (size_t i = 0; i < k->c->nports && !err; i++) {
		const struct config_port *p = &k->c->ports[i];

		err = claim(k, &ids, &p->where, arena_printf(&k->scratch, "%u", p->id));
	}
	return err ? err : claims_check(k, &ids);
}

/* One text for all ways to write an address. */
static const char *endpoint(struct check *k, const struct config_port *p)
{
	char host[INET6_ADDRSTRLEN] = "", plain[INET6_ADDRSTRLEN];
	size_t len = strcspn(p->address, "%");
	struct in6_addr in6;

	memcpy(host, p->address, len < sizeof(host) ? len : sizeof(host) - 1);
	if (inet_pton(AF_INET6, host, &in6) != 1 ||
	    !inet_ntop(AF_INET6, &in6, plain, sizeof(plain)))
		return arena_printf(&k->scratch, "%s:%s", p->address, p->service);
	return arena_printf(&k->scratch, "[%s%s]:%s", plain, p->address + len, p->service);
}

static int check_endpoints(struct check *k)
{
	struct claims ends;
	int err = claims_init(k, &ends, "port address", k->c->nports,
			      "give each port its own address or service");

	for (size_t i = 0; i < k->c->nports && !err; i++)
		err = claim(k, &ends, &k->c->ports[i].where, endpoint(k, &k->c->ports[i]));
	return err ? err : claims_check(k, &ends);
}

/* Of one family, as "::" takes IPv6 only. */
static bool covers(const struct config_port *wildcard, const struct config_port *p)
{
	const char *all = strchr(p->address, ':') ? "::" : "0.0.0.0";
	struct in6_addr in6;

	if (strcmp(wildcard->service, p->service) != 0)
		return false;
	if (strcmp(all, "::") == 0)
		return inet_pton(AF_INET6, wildcard->address, &in6) == 1 &&
		       IN6_IS_ADDR_UNSPECIFIED(&in6);
	return strcmp(wildcard->address, all) == 0;
}

/* An RNIC's listener would shadow the one on all, or the other way round: which of the two ports a
 * host is at would be a matter of luck. */
static int check_wildcards(struct check *k)
{
	for (size_t i = 0; i < k->c->nports; i++)
		for (size_t j = 0; j < k->c->nports; j++) {
			const struct config_port *w = &k->c->ports[i], *p = &k->c->ports[j];

			if (i == j || !covers(w, p))
				continue;
			diag_what(
				k->diag, p->where.file, p->where.line,
				"port %u listens on %s, service %s, but port %u (%s) does on all addresses",
				p->id, quote(p->address).text, p->service, w->id,
				place(&w->where).text);
			return diag_fix(
				k->diag,
				"give one of the two another service, or each its own address");
		}
	return 0;
}

static int check_ana_groups(struct check *k, const struct config_port *p)
{
	struct claims ids;
	int err = claims_init(k, &ids, "ANA group", p->nana_groups, "remove one of the two");

	for (size_t i = 0; i < p->nana_groups && !err; i++) {
		const struct config_ana_group *g = &p->ana_groups[i];

		err = claim(k, &ids, &g->where, arena_printf(&k->scratch, "%u", g->id));
	}
	return err ? err : claims_check(k, &ids);
}

static int check_nqns(struct check *k)
{
	const struct config_where in_daemon = { k->file, daemon_line(k, "discovery_nqn") };
	struct claims nqns;
	int err = claims_init(k, &nqns, "subsystem nqn", k->c->nsubsystems + 1,
			      "give each subsystem its own nqn");

	if (!err && k->c->discovery_nqn)
		err = claim(k, &nqns, &in_daemon, k->c->discovery_nqn);

	for (size_t i = 0; i < k->c->nsubsystems && !err; i++)
		err = claim(k, &nqns, &k->c->subsystems[i].where, k->c->subsystems[i].nqn);
	return err ? err : claims_check(k, &nqns);
}

static size_t count_namespaces(const struct config *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->nsubsystems; i++)
		n += c->subsystems[i].nnamespaces;
	return n;
}

static int claim_uuid(struct check *k, struct claims *uuids, const struct config_namespace *ns)
{
	char text[UUID_TEXT_LEN];

	if (!ns->has_uuid)
		return 0;
	uuid_print(ns->uuid, text);
	return claim(k, uuids, &ns->where, arena_printf(&k->scratch, "%s", text));
}

static int claim_hex(struct check *k, struct claims *ids, const struct config_namespace *ns,
		     const char *text)
{
	char *lower;

	if (!text)
		return 0;
	lower = arena_printf(&k->scratch, "%s", text);
	for (char *c = lower; c && *c; c++)
		*c = (char)tolower(*c);
	return claim(k, ids, &ns->where, lower);
}

/*
 * Two namespaces on one drive would write over each other; two drives of one name would be taken
 * for paths to the same data by a multipath host.
 */
static int check_drives(struct check *k)
{
	size_t n = count_namespaces(k->c);
	struct claims devices, uuids = { 0 }, nguids = { 0 }, eui64s = { 0 };
	int err = claims_init(k, &devices, "namespace device", n + k->c->nsubsystems,
			      "export a drive once only");

	if (!err)
		err = claims_init(k, &uuids, "namespace uuid", n,
				  "give each namespace its own uuid");
	if (!err)
		err = claims_init(k, &nguids, "namespace nguid", n,
				  "give each namespace its own nguid");
	if (!err)
		err = claims_init(k, &eui64s, "namespace eui64", n,
				  "give each namespace its own eui64");
	for (size_t i = 0; i < k->c->nsubsystems && !err; i++) {
		const struct config_subsystem *s = &k->c->subsystems[i];

		for (size_t j = 0; j < s->nnamespaces && !err; j++) {
			err = claim(k, &devices, &s->namespaces[j].where, s->namespaces[j].device);
			if (!err)
				err = claim_uuid(k, &uuids, &s->namespaces[j]);
			if (!err)
				err = claim_hex(k, &nguids, &s->namespaces[j],
						s->namespaces[j].nguid);
			if (!err)
				err = claim_hex(k, &eui64s, &s->namespaces[j],
						s->namespaces[j].eui64);
		}
		if (!err && s->passthrough)
			err = claim(k, &devices, &s->where, s->passthrough);
	}
	if (!err)
		err = claims_check(k, &devices);
	if (!err)
		err = claims_check(k, &uuids);
	if (!err)
		err = claims_check(k, &nguids);
	return err ? err : claims_check(k, &eui64s);
}

static int check_nsids(struct check *k, const struct config_subsystem *s)
{
	struct claims nsids;
	int err = claims_init(k, &nsids, "nsid", s->nnamespaces,
			      "give each namespace of a subsystem its own nsid");

	for (size_t i = 0; i < s->nnamespaces && !err; i++) {
		const struct config_namespace *ns = &s->namespaces[i];

		err = claim(k, &nsids, &ns->where, arena_printf(&k->scratch, "%u", ns->nsid));
	}
	return err ? err : claims_check(k, &nsids);
}

static int check_hosts(struct check *k, const struct config_subsystem *s)
{
	struct claims hosts;
	int err =
		claims_init(k, &hosts, "allowed host", s->nallowed_hosts, "remove one of the two");

	for (size_t i = 0; i < s->nallowed_hosts && !err; i++)
		err = claim(k, &hosts, &s->where, s->allowed_hosts[i]);
	return err ? err : claims_check(k, &hosts);
}

static bool port_exists(const struct config *c, uint16_t id)
{
	for (size_t i = 0; i < c->nports; i++)
		if (c->ports[i].id == id)
			return true;
	return false;
}

/* The ids in the list `ports` of something that is called @name. */
struct port_list {
	const char *noun, *name;
	const struct config_where *where;
	uint16_t *ids;
	size_t n;
};

static int unknown_port(struct check *k, const struct port_list *l, uint16_t id)
{
	char list[128] = "";
	size_t n = 0;

	for (size_t i = 0; i < k->c->nports && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%u", i ? ", " : "",
				      k->c->ports[i].id);
	diag_what(k->diag, l->where->file, l->where->line,
		  "%s \"%s\" is to be reached through port %u, which is not defined", l->noun,
		  quote(l->name).text, id);
	return diag_fix(k->diag, "defined are: %s", list);
}

static int use_all_ports(struct check *k, struct port_list *l)
{
	l->ids = arena_alloc(&k->c->arena, k->c->nports, sizeof(*l->ids));
	if (!l->ids)
		return diag_nomem(k->diag, k->file);
	for (size_t i = 0; i < k->c->nports; i++)
		l->ids[i] = k->c->ports[i].id;
	l->n = k->c->nports;
	return 0;
}

/* None given means all. */
static int check_port_list(struct check *k, struct port_list *l)
{
	char noun[64];
	struct claims ids;
	int err;

	if (l->n == 0)
		return use_all_ports(k, l);
	snprintf(noun, sizeof(noun), "in a %s's ports, id", l->noun);
	err = claims_init(k, &ids, noun, l->n, "remove one of the two");
	for (size_t i = 0; i < l->n && !err; i++) {
		if (!port_exists(k->c, l->ids[i]))
			return unknown_port(k, l, l->ids[i]);
		err = claim(k, &ids, l->where, arena_printf(&k->scratch, "%u", l->ids[i]));
	}
	return err ? err : claims_check(k, &ids);
}

static int check_subsystem_ports(struct check *k, struct config_subsystem *s)
{
	struct port_list l = { "subsystem", s->nqn, &s->where, s->ports, s->nports };
	int err = check_port_list(k, &l);

	s->ports = l.ids;
	s->nports = l.n;
	return err;
}

static int check_referral_ports(struct check *k, struct config_referral *r)
{
	struct port_list l = { "referral", r->address, &r->where, r->ports, r->nports };
	int err = check_port_list(k, &l);

	r->ports = l.ids;
	r->nports = l.n;
	return err;
}

static int check_referrals(struct check *k)
{
	struct claims ends;
	int err = claims_init(k, &ends, "referral", k->c->nreferrals, "remove one of the two");

	for (size_t i = 0; i < k->c->nreferrals && !err; i++) {
		struct config_referral *r = &k->c->referrals[i];

		err = check_referral_ports(k, r);
		if (!err)
			err = claim(k, &ends, &r->where,
				    arena_printf(&k->scratch, "%s:%s %s", r->address, r->service,
						 r->nqn));
	}
	return err ? err : claims_check(k, &ends);
}

static int check_access(struct check *k, const struct config_subsystem *s)
{
	if (s->allow_any_host && s->nallowed_hosts) {
		diag_what(k->diag, s->where.file, s->where.line,
			  "subsystem \"%s\" has both allow_any_host = true and allowed_hosts",
			  quote(s->nqn).text);
		return diag_fix(k->diag, "remove one of the two");
	}
	if (!s->allow_any_host && !s->nallowed_hosts) {
		diag_what(k->diag, s->where.file, s->where.line,
			  "nobody could connect to subsystem \"%s\"", quote(s->nqn).text);
		return diag_fix(k->diag,
				"set allowed_hosts = ( \"nqn...\" ), or allow_any_host = true");
	}
	return 0;
}

static bool is_allowed_host(const struct config_subsystem *s, const char *nqn)
{
	if (s->allow_any_host)
		return true;
	for (size_t i = 0; i < s->nallowed_hosts; i++)
		if (strcmp(s->allowed_hosts[i], nqn) == 0)
			return true;
	return false;
}

static int check_namespace_hosts(struct check *k, const struct config_subsystem *s,
				 const struct config_namespace *ns)
{
	struct claims hosts;
	int err =
		claims_init(k, &hosts, "allowed host", ns->nallowed_hosts, "remove one of the two");

	for (size_t i = 0; i < ns->nallowed_hosts && !err; i++) {
		if (!is_allowed_host(s, ns->allowed_hosts[i])) {
			diag_what(
				k->diag, ns->where.file, ns->where.line,
				"namespace %u names host \"%s\", which its subsystem does not allow",
				ns->nsid, quote(ns->allowed_hosts[i]).text);
			return diag_fix(k->diag,
					"add it to the allowed_hosts of the subsystem too");
		}
		err = claim(k, &hosts, &ns->where, ns->allowed_hosts[i]);
	}
	return err ? err : claims_check(k, &hosts);
}

static int check_cntlids(struct check *k, const struct config_subsystem *s)
{
	if (s->cntlid_min <= s->cntlid_max)
		return 0;
	diag_what(k->diag, s->where.file, s->where.line,
		  "subsystem \"%s\" has cntlid_min = %u above cntlid_max = %u", quote(s->nqn).text,
		  s->cntlid_min, s->cntlid_max);
	return diag_fix(k->diag, "exchange the two");
}

/* A host that asks for a controller by its ID must find that of the subsystem it names. */
static int check_static_cntlids(struct check *k, size_t index)
{
	const struct config_subsystem *s = &k->c->subsystems[index];

	if (s->controller_model != CONFIG_MODEL_STATIC)
		return 0;
	for (size_t i = 0; i < index; i++) {
		const struct config_subsystem *other = &k->c->subsystems[i];

		if (other->controller_model != CONFIG_MODEL_STATIC ||
		    s->cntlid_max < other->cntlid_min || other->cntlid_max < s->cntlid_min)
			continue;
		diag_what(k->diag, s->where.file, s->where.line,
			  "subsystems \"%s\" and \"%s\" have static controllers with the same IDs",
			  quote(other->nqn).text, quote(s->nqn).text);
		return diag_fix(k->diag, "give each its own range cntlid_min..cntlid_max");
	}
	return 0;
}

static int nsid_cmp(const void *a, const void *b)
{
	const struct config_namespace *na = a, *nb = b;

	return na->nsid < nb->nsid ? -1 : na->nsid > nb->nsid;
}

/* A controller passed through brings its own namespaces. */
static int check_passthrough(struct check *k, const struct config_subsystem *s)
{
	const char *what, *fix;

	if (s->passthrough && s->nnamespaces) {
		what = "has both passthrough and namespaces";
		fix = "remove one of the two";
	} else if (!s->passthrough && s->passthrough_vendor_admin) {
		what = "has passthrough_vendor_admin = true without passthrough";
		fix = "remove it, or name a controller: passthrough = \"/dev/nvme0\"";
	} else if (!s->passthrough && s->cmb != CONFIG_CMB_PREFER) {
		what = "has cmb without passthrough";
		fix = "give cmb to its namespaces";
	} else {
		return 0;
	}
	diag_what(k->diag, s->where.file, s->where.line, "subsystem \"%s\" %s", quote(s->nqn).text,
		  what);
	return diag_fix(k->diag, "%s", fix);
}

static int check_subsystem(struct check *k, struct config_subsystem *s)
{
	int err = check_access(k, s);

	if (!err)
		err = check_passthrough(k, s);

	if (!err)
		err = check_hosts(k, s);
	if (!err)
		err = check_subsystem_ports(k, s);
	if (!err)
		err = check_nsids(k, s);
	if (!err)
		err = check_cntlids(k, s);
	for (size_t i = 0; i < s->nnamespaces && !err; i++)
		err = check_namespace_hosts(k, s, &s->namespaces[i]);
	if (!err && s->nnamespaces)
		qsort(s->namespaces, s->nnamespaces, sizeof(*s->namespaces), nsid_cmp);
	return err;
}

/* ---- hosts and their keys ----------------------------------------------------------------------
 */

static int two_keys(struct check *k, const struct config_host *h, const char *name)
{
	diag_what(k->diag, h->where.file, h->where.line, "host \"%s\" has both %s and %s_file",
		  quote(h->nqn).text, name, name);
	return diag_fix(k->diag, "remove one of the two");
}

/* The key that is given as @text or lies in @file. */
static int take_key(struct check *k, const struct config_host *h, const char *name,
		    const char *text, const char *file, struct config_dhchap_key *ret)
{
	if (text && file)
		return two_keys(k, h, name);
	if (text)
		(void)config_dhchap_key(text, ret); /* it was checked when it was read */
	if (!file)
		return 0;

	int err = dhchap_key_read(file, ret, k->diag);

	if (err) {
		size_t n = strlen(k->diag->fix);

		snprintf(k->diag->fix + n, sizeof(k->diag->fix) - n,
			 " (%s_file of the host at %s:%u)", name, quote(h->where.file).text,
			 h->where.line);
	}
	return err;
}

/* Best first: any group rather than none, the small ones first, they are safe and quick. */
static const uint8_t all_hashes[CONFIG_DHCHAP_NHASHES] = { 0, 1, 2 };
static const uint8_t all_dhgroups[CONFIG_DHCHAP_NDHGROUPS] = { 1, 2, 3, 4, 5, 0 };

static int use_all(struct check *k, const uint8_t *all, size_t nall, uint8_t **list, size_t *n)
{
	if (*n)
		return 0;
	*list = arena_alloc(&k->c->arena, nall, 1);
	if (!*list)
		return diag_nomem(k->diag, k->file);
	memcpy(*list, all, nall);
	*n = nall;
	return 0;
}

static int check_host(struct check *k, struct config_host *h)
{
	int err = take_key(k, h, "dhchap_key", h->dhchap_key, h->dhchap_key_file, &h->host_key);

	if (!err)
		err = take_key(k, h, "dhchap_ctrl_key", h->dhchap_ctrl_key, h->dhchap_ctrl_key_file,
			       &h->ctrl_key);
	if (err)
		return err;
	if (h->ctrl_key.len && !h->host_key.len) {
		diag_what(k->diag, h->where.file, h->where.line,
			  "host \"%s\" has a dhchap_ctrl_key and no dhchap_key",
			  quote(h->nqn).text);
		return diag_fix(k->diag, "add dhchap_key: the host proves itself first");
	}
	err = use_all(k, all_hashes, sizeof(all_hashes), &h->dhchap_hashes, &h->ndhchap_hashes);
	if (!err)
		err = use_all(k, all_dhgroups, sizeof(all_dhgroups), &h->dhchap_dhgroups,
			      &h->ndhchap_dhgroups);
	return err;
}

static int check_host_list(struct check *k)
{
	struct claims nqns;
	int err = claims_init(k, &nqns, "host nqn", k->c->nhosts, "remove one of the two");

	for (size_t i = 0; i < k->c->nhosts && !err; i++) {
		err = claim(k, &nqns, &k->c->hosts[i].where, k->c->hosts[i].nqn);
		if (!err)
			err = check_host(k, &k->c->hosts[i]);
	}
	return err ? err : claims_check(k, &nqns);
}

static int missing(struct check *k, const char *noun, const char *fix)
{
	diag_what(k->diag, k->file, 0, "neither here nor in exports.d is a %s", noun);
	return diag_fix(k->diag, "add %s", fix);
}

/* Whatever cannot be staged in a CMB must find room in host memory. */
static int check_memory(struct check *k)
{
	unsigned int line = daemon_line(k, "host_memory");

	if (k->c->max_transfer_len <= k->c->host_memory)
		return 0;
	diag_what(k->diag, k->file, line ? line : daemon_line(k, "max_transfer"),
		  "max_transfer = %s is more than host_memory = %s",
		  size_print(k->c->max_transfer_len).text, size_print(k->c->host_memory).text);
	return diag_fix(k->diag, "raise host_memory, or lower max_transfer");
}

static int check_all(struct check *k)
{
	int err;

	if (k->c->nports == 0)
		return missing(k, "port", "ports = ( { id = 1; address = \"0.0.0.0\"; } );");
	if (k->c->nsubsystems == 0)
		return missing(
			k, "subsystem",
			"subsystems = ( { nqn = \"nqn...\"; allowed_hosts = ( \"nqn...\" ); } );");
	err = check_memory(k);
	if (!err)
		err = check_port_ids(k);
	if (!err)
		err = check_endpoints(k);
	if (!err)
		err = check_wildcards(k);
	if (!err)
		err = check_nqns(k);
	for (size_t i = 0; i < k->c->nports && !err; i++)
		err = check_ana_groups(k, &k->c->ports[i]);
	for (size_t i = 0; i < k->c->nsubsystems && !err; i++)
		err = check_subsystem(k, &k->c->subsystems[i]);
	for (size_t i = 0; i < k->c->nsubsystems && !err; i++)
		err = check_static_cntlids(k, i);
	if (!err)
		err = check_referrals(k);
	if (!err)
		err = check_drives(k);
	return err ? err : check_host_list(k);
}

int check_model(struct config *c, const char *file, struct config_diag *diag)
{
	struct check k = { .c = c, .file = file, .diag = diag };
	int err = check_all(&k);

	arena_free(&k.scratch);
	return err;
}
