#include "config/nvmet_ports.h"

#include "config/arena.h"
#include "config/diag.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static bool is_number(const char *text)
{
	return strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

/* The kernel's target takes less than what it cannot do; so do we. */
static int import_inline(struct nvmet_reader *m, const struct nvmet_item *in, struct config_port *p)
{
	const struct nvmet_key *k = nvmet_key_find(NVMET_PORT, "param.inline_data_size");
	const unsigned long most = 16384;
	const char *text, *path = nvmet_join(m, in->path, k->name);
	char taken[16];
	int err = nvmet_get_text(m, in, k->name, &text);

	if (err || !text || nvmet_in(k->same, text))
		return err;
	if (!path)
		return nvmet_nomem(m);
	if (is_number(text)) {
		unsigned long bytes = strtoul(text, NULL, 10), can = bytes < most ? bytes : most;

		snprintf(taken, sizeof(taken), "%lu", can - can % 16);
		if (can - can % 16 != bytes)
			nvmet_note(m, path, "changed", "%s is taken as %s (%s)", text, taken,
				   k->why);
		text = taken;
	}
	return nvmet_set(m, NVMET_PORT, in, k, text, p);
}

#define MDTS_LEAST   1 /* of 4 KiB: max_transfer is 8 KiB to 4 MiB */
#define MDTS_MOST    10
#define MDTS_DEFAULT 8

static int import_mdts(struct nvmet_reader *m, struct nvmet_source *s)
{
	const struct nvmet_key *k = nvmet_key_find(NVMET_PORT, "param.mdts");
	const struct nvmet_item in = { s->json, s->path };
	const char *text, *path = nvmet_join(m, s->path, k->name);
	unsigned long mdts, can;
	int err = nvmet_get_text(m, &in, k->name, &text);

	if (err || !text || nvmet_in(k->same, text))
		return err;
	if (!path)
		return nvmet_nomem(m);
	mdts = is_number(text) ? strtoul(text, NULL, 10) : 256;
	if (mdts > 255) {
		diag_what(m->diag, path, 0, "is \"%s\"", quote(text).text);
		return diag_fix(m->diag,
				"allowed: 0..255, a power of two of 4 KiB; 0: the default");
	}
	can = mdts < MDTS_LEAST ? MDTS_LEAST : mdts > MDTS_MOST ? MDTS_MOST : mdts;
	if (can != mdts)
		nvmet_note(m, path, "changed", "%lu is taken as %lu, the most there is", mdts, can);
	s->max_transfer = UINT32_C(4096) << can;
	return 0;
}

/* Of all ports; those that do not say have the kernel's default. */
static int take_max_transfer(struct nvmet_reader *m)
{
	uint32_t least = UINT32_MAX;
	bool given = false;

	for (size_t i = 0; i < m->c->nports; i++) {
		struct nvmet_source *s = &m->ports[i];
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
		const char *path = nvmet_join(m, m->ports[i].path, "param.mdts");

		if (!path)
			return nvmet_nomem(m);
		if (m->ports[i].max_transfer && m->ports[i].max_transfer != least)
			nvmet_note(m, path, "changed",
				   "max_transfer is one for all ports, \"%s\" by the least of them",
				   size_print(least).text);
	}
	return 0;
}

static int import_ana_groups(struct nvmet_reader *m, const struct nvmet_item *port,
			     struct config_port *p)
{
	struct nvmet_item list, in;
	size_t n;
	int err = nvmet_get_list(m, port, "ana_groups", &list, &n);

	if (err)
		return err;
	/* and those of fill_ana_groups() */
	p->ana_groups =
		arena_alloc(&m->c->arena, n + CONFIG_ANA_GROUPS + 1, sizeof(*p->ana_groups));
	if (!p->ana_groups)
		return nvmet_nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		struct config_ana_group *g = &p->ana_groups[p->nana_groups];

		err = nvmet_get_object(m, &list, i, &in);
		if (err)
			break;
		nvmet_start(NVMET_ANA_GROUP, &in, g);
		err = nvmet_take_keys(m, NVMET_ANA_GROUP, &in, g);
		if (g->id != 1 || g->state != CONFIG_ANA_OPTIMIZED) /* so it is anyway */
			p->nana_groups++;
	}
	return err;
}

static int import_port(struct nvmet_reader *m, const struct nvmet_item *in)
{
	struct config_port *p = &m->c->ports[m->c->nports];
	bool rdma = false;
	int err = nvmet_is_rdma(m, in, &rdma);

	if (err || !rdma)
		return err;
	m->ports[m->c->nports++] = (struct nvmet_source){ in->path, in->json, 0 };
	nvmet_start(NVMET_PORT, in, p);
	err = nvmet_take_keys(m, NVMET_PORT, in, p);
	if (!err)
		err = nvmet_check_family(m, in, p->address);
	if (!err)
		err = import_inline(m, in, p);
	return err ? err : import_ana_groups(m, in, p);
}

int nvmet_take_ports(struct nvmet_reader *m, const struct nvmet_item *root)
{
	struct nvmet_item list, in;
	size_t n;
	int err = nvmet_get_list(m, root, "ports", &list, &n);

	if (err)
		return err;
	m->c->ports = arena_alloc(&m->c->arena, n, sizeof(*m->c->ports));
	m->ports = arena_alloc(&m->scratch, n, sizeof(*m->ports));
	if (!m->c->ports || !m->ports)
		return nvmet_nomem(m);
	for (size_t i = 0; i < n && !err; i++) {
		err = nvmet_get_object(m, &list, i, &in);
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

static int id_cmp(const void *a, const void *b)
{
	const struct config_ana_group *ga = a, *gb = b;

	return ga->id < gb->id ? -1 : ga->id > gb->id;
}

/* A group that a port does not name is inaccessible in the kernel's target, and optimized here. */
void nvmet_fill_port(struct nvmet_reader *m, size_t index)
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
			nvmet_note(
				m, m->ports[index].path, "added",
				"ANA group %u is in use and not in ana_groups, so it is inaccessible",
				id);
		}
	}
	qsort(p->ana_groups, p->nana_groups, sizeof(*p->ana_groups), id_cmp);
}
