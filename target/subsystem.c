/* Subsystems and namespaces: from the configuration model to open, proved devices. */
#include "target/core.h"
#include "target/log.h"
#include "target/passthru.h"

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

void subsystem_set_conf(struct subsystem *s, const struct config_subsystem *conf)
{
	s->conf = conf;
	s->nqn = conf->nqn;
	set_serial(s);
}

struct subsystem *subsystem_create(struct target *t, const struct config_subsystem *conf)
{
	struct subsystem *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->target = t;
	LIST_INIT(&s->controllers);
	LIST_INIT(&s->ana);
	if (conf)
		subsystem_set_conf(s, conf);
	return s;
}

void subsystem_free(struct subsystem *s)
{
	if (!s)
		return;
	ana_drop(&s->ana);
	passthru_close(s->passthru);
	free(s->namespaces);
	free(s);
}

void discovery_set_name(struct subsystem *s, const struct config *conf)
{
	s->nqn = conf->discovery_nqn ? conf->discovery_nqn : NVME_DISC_SUBSYS_NAME;
}

static int open_discovery(struct target *t)
{
	struct subsystem *s = subsystem_create(t, NULL);

	t->subsystems = calloc(1, sizeof(t->subsystems[0]));
	if (!s || !t->subsystems) {
		subsystem_free(s);
		return -ENOMEM;
	}
	discovery_set_name(s, t->conf);
	s->discovery = true;
	set_serial(s);
	t->subsystems[t->nsubsystems++] = s;
	return 0;
}

static void close_subsystem(struct subsystem *s)
{
	assert(LIST_EMPTY(&s->controllers));
	for (size_t i = 0; i < s->nnamespaces; i++)
		namespace_close(s->namespaces[i]);
	subsystem_free(s);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int create_account(struct target *t)
{
	size_t len = t->reactors->n * sizeof(*t->account);

	t->account = aligned_alloc(_Alignof(struct reactor_account), len);
	if (!t->account)
		return -ENOMEM;
	memset(t->account, 0, len);
	return 0;
}

int target_create(const struct config *c, const struct reactors *reactors,
		  const struct topology *topo, struct target **ret_target, struct config_diag *diag)
{
	struct target *t = calloc(1, sizeof(*t));
	struct target_plan *plan;
	int err;

	*diag = (struct config_diag){ .what = "no memory" };
	if (!t)
		return -ENOMEM;
	t->conf = c;
	t->topo = topo;
	t->reactors = reactors;
	t->trouble_message.run = target_on_trouble_message;
	t->mdts_len = c->max_transfer_len;
	STAILQ_INIT(&t->gone);
	t->next_cntlid = 1;
	health_start(t);
	restart_load_discovery(t);
	err = restart_load(t);
	if (!err)
		err = open_discovery(t);
	if (!err)
		err = create_account(t);
	for (unsigned int i = 0; i < reactors->n && !err; i++)
		err = works_create(&t->works[i]);
	if (!err)
		err = target_prepare(t, c, &plan, diag);
	if (err) {
		target_destroy(t);
		return err;
	}
	target_commit(plan);
	*ret_target = t;
	return 0;
}

void target_destroy(struct target *t)
{
	if (!t)
		return;
	/* removed namespaces wait for their reactors; and what is left may be about trouble */
	while (!target_let_go(t) || t->nretiring)
		reactor_await_messages(control_reactor(t));
	while (reactor_run_messages(control_reactor(t)))
		;
	target_stop_remapping(t);
	health_stop(t);
	restart_fini(t);
	worker_destroy(t->worker);
	for (size_t i = 0; i < t->nsubsystems; i++)
		close_subsystem(t->subsystems[i]);
	for (unsigned int i = 0; i < t->reactors->n; i++)
		works_destroy(t->works[i]);
	free(t->account);
	for (size_t i = 0; i < t->nold_confs; i++)
		config_free(t->old_confs[i]);
	free(t->old_confs);
	free(t->subsystems);
	free(t);
}

int target_start_worker(struct target *t)
{
	return t->worker ? 0 : worker_create(control_reactor(t), &t->worker);
}

/* The discovery subsystem has its well-known name beside its own. */
struct subsystem *subsystem_find(struct target *t, const char *nqn)
{
	if (strcmp(nqn, NVME_DISC_SUBSYS_NAME) == 0)
		return t->subsystems[0];
	for (size_t i = 0; i < t->nsubsystems; i++)
		if (!t->subsystems[i]->dying && strcmp(t->subsystems[i]->nqn, nqn) == 0)
			return t->subsystems[i];
	return NULL;
}

bool subsystem_on_port(const struct subsystem *s, uint16_t port_id)
{
	if (s->discovery)
		return true;
	for (size_t i = 0; i < s->conf->nports; i++)
		if (s->conf->ports[i] == port_id)
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

bool subsystem_is_static(const struct subsystem *s)
{
	return s->conf && s->conf->controller_model == CONFIG_MODEL_STATIC;
}

bool subsystem_waits(const struct subsystem *s)
{
	return s->conf && s->conf->passthrough && !s->passthru;
}

bool subsystem_open_passthru(struct subsystem *s)
{
	struct config_diag diag;
	struct namespace **list;
	size_t n;

	if (passthru_open(s->target, s, &list, &n, &diag))
		return false;
	free(s->namespaces);
	s->namespaces = list;
	s->nnamespaces = n;
	target_publish_views(s->target);
	log_event(JOURNAL_NS_BACK, LOG_FIELDS(.nqn = s->nqn, .device = s->conf->passthrough),
		  "subsystem %s: controller %s is there", s->nqn, s->conf->passthrough);
	return true;
}

static bool is_among(const char *const *hosts, size_t n, const char *hostnqn)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(hosts[i], hostnqn) == 0)
			return true;
	return false;
}

bool subsystem_allows(const struct subsystem *s, const char *hostnqn)
{
	return s->discovery || s->conf->allow_any_host ||
	       is_among(s->conf->allowed_hosts, s->conf->nallowed_hosts, hostnqn);
}

bool namespace_shows(const struct namespace *ns, const char *hostnqn)
{
	return ns->conf->nallowed_hosts == 0 ||
	       is_among(ns->conf->allowed_hosts, ns->conf->nallowed_hosts, hostnqn);
}
