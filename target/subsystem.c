/* Subsystems and namespaces: from the configuration model to open, proved devices. */
#include "target/core.h"
#include "target/log.h"

#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>

/* Name-based UUIDs (RFC 9562, version 5) under this one keep identifiers stable over restarts. A
 * namespace never shows its drive's own: a host that shares a kernel with the drive would ignore it
 * as a duplicate. */
static const char identity_space[] = "0f2a6d2c-6f3e-4c57-9c0d-8d6f3f5e2b41";

static void derive_uuid(const char *name, uuid_t ret)
{
	uuid_t space;

	uuid_parse(identity_space, space);
	uuid_generate_sha1(ret, space, name, strlen(name));
}

static void set_serial(struct subsystem *s)
{
	uuid_t id = { 0 };

	if (s->conf && s->conf->serial) {
		strlcpy(s->serial, s->conf->serial, sizeof(s->serial));
		return;
	}
	derive_uuid(s->nqn, id);
	for (int i = 0; i < CONFIG_SERIAL_MAX / 2; i++)
		snprintf(s->serial + 2 * i, 3, "%02x", id[i]);
}

static void set_ns_uuid(const struct subsystem *s, struct namespace *ns)
{
	char name[CONFIG_NQN_MAX + 16];

	if (ns->conf->has_uuid) {
		memcpy(ns->uuid, ns->conf->uuid, sizeof(ns->uuid));
		return;
	}
	snprintf(name, sizeof(name), "%s/%u", s->nqn, ns->nsid);
	derive_uuid(name, ns->uuid);
}

/* Read some blocks for the proof: 64 KiB, or all of a device that is smaller. */
static size_t proof_len(const struct namespace *ns)
{
	uint64_t size = ns->nlb << ns->lba_shift;

	return size < 65536 ? (size_t)size : 65536;
}

static int open_namespace(struct target *t, struct subsystem *s, struct namespace *ns,
			  const struct config_namespace *conf, struct config_diag *diag)
{
	const char *why;
	int err = backend_block_open(t->reactor, conf->device, &ns->backend, &why);

	if (err) {
		*diag = (struct config_diag){ .line = conf->where.line };
		strlcpy(diag->file, conf->where.file, sizeof(diag->file));
		snprintf(diag->what, sizeof(diag->what), "namespace %u of %s: %s: %s: %s",
			 conf->nsid, s->nqn, conf->device, why, strerror(-err));
		snprintf(diag->fix, sizeof(diag->fix),
			 "name a block device with blocks of 512 or 4096 bytes, or a file");
		return err;
	}
	ns->conf = conf;
	ns->nsid = conf->nsid;
	ns->nlb = ns->backend->info.nlb;
	ns->lba_shift = ns->backend->info.lba_shift;
	set_ns_uuid(s, ns);
	stage_target_init(&ns->stage, t->set, ns->backend->info.fd, proof_len(ns),
			  ns->backend->info.own_bdf, conf->cmb == CONFIG_CMB_OFF,
			  conf->cmb == CONFIG_CMB_REQUIRE);
	if (ns->stage.provider || conf->cmb == CONFIG_CMB_OFF)
		log_info("namespace %u of %s: %s, staged in %s", ns->nsid, s->nqn, conf->device,
			 ns->stage.provider ? ns->stage.why : "host memory as configured");
	else
		log_warn("namespace %u of %s: %s, %s: %s", ns->nsid, s->nqn, conf->device,
			 ns->stage.require ? "commands will fail (cmb = \"require\")"
					   : "staged in host memory",
			 ns->stage.why);
	return 0;
}

static int open_subsystem(struct target *t, struct subsystem *s,
			  const struct config_subsystem *conf, struct config_diag *diag)
{
	s->conf = conf;
	s->nqn = conf->nqn;
	set_serial(s);
	LIST_INIT(&s->controllers);
	s->namespaces = calloc(conf->nnamespaces ? conf->nnamespaces : 1, sizeof(*s->namespaces));
	if (!s->namespaces)
		return -ENOMEM;
	for (size_t i = 0; i < conf->nnamespaces; i++) {
		int err = open_namespace(t, s, &s->namespaces[i], &conf->namespaces[i], diag);

		if (err)
			return err;
		s->nnamespaces++;
	}
	return 0;
}

static void open_discovery(struct subsystem *s)
{
	s->nqn = NVME_DISC_SUBSYS_NAME;
	s->discovery = true;
	set_serial(s);
	LIST_INIT(&s->controllers);
}

int target_create(const struct config *c, struct provider_set *set, struct reactor *r,
		  struct target **ret_target, struct config_diag *diag)
{
	struct target *t = calloc(1, sizeof(*t));
	int err = 0;

	*diag = (struct config_diag){ .what = "no memory" };
	if (!t)
		return -ENOMEM;
	t->conf = c;
	t->set = set;
	t->reactor = r;
	t->mdts_len = c->max_transfer_len;
	t->next_cntlid = 1;
	t->subsystems = calloc(c->nsubsystems + 1, sizeof(*t->subsystems));
	if (!t->subsystems) {
		free(t);
		return -ENOMEM;
	}
	open_discovery(&t->subsystems[0]);
	t->nsubsystems = 1;
	for (size_t i = 0; i < c->nsubsystems && !err; i++)
		err = open_subsystem(t, &t->subsystems[t->nsubsystems++], &c->subsystems[i], diag);
	if (err) {
		target_destroy(t);
		return err;
	}
	*ret_target = t;
	return 0;
}

void target_destroy(struct target *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->nsubsystems; i++) {
		struct subsystem *s = &t->subsystems[i];

		assert(LIST_EMPTY(&s->controllers));
		for (size_t n = 0; n < s->nnamespaces; n++)
			s->namespaces[n].backend->ops->close(s->namespaces[n].backend);
		free(s->namespaces);
	}
	free(t->subsystems);
	free(t);
}

void target_stop(struct target *t)
{
	for (size_t i = 0; i < t->nsubsystems; i++) {
		struct controller *c, *next;

		LIST_FOREACH_SAFE (c, &t->subsystems[i].controllers, entry, next)
			controller_disconnect(c);
	}
}

struct subsystem *subsystem_find(struct target *t, const char *nqn)
{
	for (size_t i = 0; i < t->nsubsystems; i++)
		if (strcmp(t->subsystems[i].nqn, nqn) == 0)
			return &t->subsystems[i];
	return NULL;
}

bool subsystem_on_port(const struct subsystem *s, const struct config_port *port)
{
	if (s->discovery)
		return true;
	for (size_t i = 0; i < s->conf->nports; i++)
		if (s->conf->ports[i] == port->id)
			return true;
	return false;
}

bool subsystem_allows(const struct subsystem *s, const char *hostnqn)
{
	if (s->discovery || s->conf->allow_any_host)
		return true;
	for (size_t i = 0; i < s->conf->nallowed_hosts; i++)
		if (strcmp(s->conf->allowed_hosts[i], hostnqn) == 0)
			return true;
	return false;
}

struct namespace *subsystem_namespace(const struct subsystem *s, uint32_t nsid)
{
	for (size_t i = 0; i < s->nnamespaces; i++)
		if (s->namespaces[i].nsid == nsid)
			return &s->namespaces[i];
	return NULL;
}
