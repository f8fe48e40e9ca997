/* Subsystems and namespaces: from the configuration model to open, proved devices. */
#include "target/core.h"
#include "target/log.h"

#include <assert.h>
#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>

/* Name-based UUIDs (RFC 9562, version 5) under this one keep identifiers stable over restarts. A
 * namespace never shows its drive's own: a host that shares a kernel with the drive would ignore it
 * as a duplicate. */
static const char identity_space[] = "0f2a6d2c-6f3e-4c57-9c0d-8d6f3f5e2b41";

void derive_uuid(const char *name, uuid_t ret)
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

static struct subsystem *add_subsystem(struct target *t, const char *nqn)
{
	struct subsystem *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->nqn = nqn;
	LIST_INIT(&s->controllers);
	t->subsystems[t->nsubsystems++] = s;
	return s;
}

static int open_subsystem(struct target *t, const struct config_subsystem *conf,
			  struct config_diag *diag)
{
	struct subsystem *s = add_subsystem(t, conf->nqn);
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->conf = conf;
	set_serial(s);
	s->namespaces = calloc(conf->nnamespaces ? conf->nnamespaces : 1, sizeof(s->namespaces[0]));
	if (!s->namespaces)
		return -ENOMEM;
	for (size_t i = 0; i < conf->nnamespaces && !err; i++) {
		err = namespace_open(t, s, &conf->namespaces[i], &s->namespaces[i], diag);
		s->nnamespaces += !err;
	}
	return err;
}

static int open_discovery(struct target *t)
{
	struct subsystem *s = add_subsystem(t, NVME_DISC_SUBSYS_NAME);

	if (!s)
		return -ENOMEM;
	s->discovery = true;
	set_serial(s);
	return 0;
}

static void close_subsystem(struct subsystem *s)
{
	assert(LIST_EMPTY(&s->controllers));
	for (size_t i = 0; i < s->nnamespaces; i++)
		namespace_close(s->namespaces[i]);
	free(s->namespaces);
	free(s);
}

/* ---- life --------------------------------------------------------------------------------------
 */

int target_create(const struct config *c, const struct reactors *reactors,
		  const struct topology *topo, struct target **ret_target, struct config_diag *diag)
{
	struct target *t = calloc(1, sizeof(*t));
	int err;

	*diag = (struct config_diag){ .what = "no memory" };
	if (!t)
		return -ENOMEM;
	t->conf = c;
	t->topo = topo;
	t->reactors = reactors;
	t->trouble_message.run = target_on_trouble_message;
	t->mdts_len = c->max_transfer_len;
	t->next_cntlid = 1;
	t->subsystems = calloc(c->nsubsystems + 1, sizeof(t->subsystems[0]));
	err = t->subsystems ? open_discovery(t) : -ENOMEM;
	for (unsigned int i = 0; i < reactors->n && !err; i++)
		err = works_create(&t->works[i]);
	for (size_t i = 0; i < c->nsubsystems && !err; i++)
		err = open_subsystem(t, &c->subsystems[i], diag);
	if (err) {
		target_destroy(t);
		return err;
	}
	target_publish_views(t);
	*ret_target = t;
	return 0;
}

void target_destroy(struct target *t)
{
	if (!t)
		return;
	while (reactor_run_messages(control_reactor(t))) /* maybe about trouble */
		;
	for (size_t i = 0; i < t->nsubsystems; i++)
		close_subsystem(t->subsystems[i]);
	for (unsigned int i = 0; i < t->reactors->n; i++)
		works_destroy(t->works[i]);
	free(t->subsystems);
	free(t);
}

void target_stop(struct target *t)
{
	for (size_t i = 0; i < t->nsubsystems; i++) {
		struct controller *c, *next;

		LIST_FOREACH_SAFE (c, &t->subsystems[i]->controllers, entry, next)
			controller_disconnect(c);
	}
}

struct subsystem *subsystem_find(struct target *t, const char *nqn)
{
	for (size_t i = 0; i < t->nsubsystems; i++)
		if (strcmp(t->subsystems[i]->nqn, nqn) == 0)
			return t->subsystems[i];
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
	struct namespace *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (ns->nsid == nsid)
			return ns;
	return NULL;
}

bool subsystem_shows(const struct subsystem *s, const struct namespace *ns, const char *hostnqn)
{
	(void)s;
	(void)ns;
	(void)hostnqn;
	return true;
}
