/*
 * A new configuration for a target that runs: subsystems, namespaces and who may see them.
 *
 * First everything new is opened and proved, and if that fails nothing has changed. Then it is
 * switched over in steps that cannot fail: what is gone is taken out of the maps, what is in flight
 * on it is waited for, and only then it is closed.
 */
#include "target/core.h"
#include "target/log.h"
#include "target/passthru.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- taking a namespace away --------------------------------------------------------------------
 */

static void free_retired(struct target *t)
{
	if (t->nretiring)
		return;
	for (size_t i = 0; i < t->nold_confs; i++)
		config_free(t->old_confs[i]);
	t->nold_confs = 0;
}

static void retire_last(struct drain *d);

/* All blocks are ours: nobody else is coming. */
static void retire_locked(struct range_lock *l)
{
	struct namespace *ns = l->ns;
	struct target *t = ns->target;

	if (!STAILQ_EMPTY(&ns->drains)) { /* somebody waits for what is in flight: let him */
		ns->retire.done = retire_last;
		namespace_drain(ns, &ns->retire);
		return;
	}
	STAILQ_REMOVE_HEAD(&ns->locks, entry);
	log_event(JOURNAL_NS_REMOVED, LOG_FIELDS(.nqn = ns->nqn, .nsid = ns->nsid),
		  "namespace %u of %s: removed", ns->nsid, ns->nqn);
	namespace_close(ns);
	t->nretiring--;
	free_retired(t);
}

static void retire_last(struct drain *d)
{
	struct namespace *ns = (void *)((uint8_t *)d - offsetof(struct namespace, retire));

	retire_locked(&ns->retire_lock);
}

/* After the commands that were in flight come fused pairs that wait for their blocks. */
static void retire_drained(struct drain *d)
{
	struct namespace *ns = (void *)((uint8_t *)d - offsetof(struct namespace, retire));

	/* nobody new comes; who was there before is waited for, not kept out */
	ns->retire_lock = (struct range_lock){
		.ns = ns, .nlb = UINT64_MAX, .held = retire_locked, .keeps_nobody_out = true
	};
	range_lock(&ns->retire_lock);
}

/* It is in no map and in no list any more. */
static void retire(struct namespace *ns)
{
	ns->target->nretiring++;
	strlcpy(ns->nqn, ns->subsys->nqn, sizeof(ns->nqn));
	ns->retire.done = retire_drained;
	namespace_drain(ns, &ns->retire);
}

/* ---- what is new --------------------------------------------------------------------------------
 */

/* A subsystem as it will be. */
struct plan {
	struct subsystem *s;
	bool is_new;
	const struct config_subsystem *conf;
	struct namespace **namespaces; /* of conf->namespaces: those that stay, and new ones */
	size_t n;
};

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* Does the open device still serve? */
static bool same_device(const struct config_namespace *a, const struct config_namespace *b)
{
	return strcmp(a->device, b->device) == 0 && a->polled == b->polled &&
	       same_text(a->scratch, b->scratch);
}

static struct namespace *kept(const struct subsystem *s, const struct config_namespace *conf)
{
	struct namespace *ns = subsystem_namespace(s, conf->nsid);

	return ns && same_device(ns->conf, conf) ? ns : NULL;
}

static bool is_in(struct namespace *const *list, size_t n, const struct namespace *ns)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == ns)
			return true;
	return false;
}

/* A controller that is passed through brings its namespaces. It stays, or comes with a subsystem
 * that is new: the commands of a controller that hosts are connected to cannot change. */
static int plan_passthru(struct target *t, struct plan *p, struct config_diag *diag)
{
	struct subsystem *s = p->s;
	const struct config_subsystem *before = s->conf;

	if (p->is_new) {
		int err = passthru_open(t, s, &p->namespaces, &p->n, diag);

		if (!backend_may_come(err))
			return err;
		log_event(JOURNAL_NS_WAITING,
			  LOG_FIELDS(.nqn = s->nqn, .device = s->conf->passthrough),
			  "%s: hosts can connect when it is there", diag->what);
		return 0;
	}
	if (subsystem_waits(s))
		return 0;
	if (same_text(before->passthrough, p->conf->passthrough) &&
	    before->passthrough_vendor_admin == p->conf->passthrough_vendor_admin) {
		p->n = s->nnamespaces;
		p->namespaces = calloc(p->n, sizeof(p->namespaces[0]));
		if (!p->namespaces)
			return -ENOMEM;
		memcpy(p->namespaces, s->namespaces, p->n * sizeof(p->namespaces[0]));
		return 0;
	}
	*diag = (struct config_diag){ .line = p->conf->where.line };
	strlcpy(diag->file, p->conf->where.file, sizeof(diag->file));
	snprintf(diag->what, sizeof(diag->what),
		 "subsystem %s: passthrough cannot change while it is exported", p->conf->nqn);
	strlcpy(diag->fix, "give the subsystem another nqn, or remove it, reload, and add it again",
		sizeof(diag->fix));
	return -EBUSY;
}

static int make_plan(struct target *t, struct plan *p, const struct config_subsystem *conf,
		     struct config_diag *diag)
{
	int err = 0;

	p->conf = conf;
	p->s = subsystem_find(t, conf->nqn);
	p->is_new = !p->s;
	if (!p->s)
		p->s = subsystem_create(t, conf);
	if (p->s && (conf->passthrough || p->s->passthru))
		return plan_passthru(t, p, diag);
	p->n = conf->nnamespaces;
	p->namespaces = calloc(conf->nnamespaces + 1, sizeof(p->namespaces[0]));
	if (!p->s || !p->namespaces)
		return -ENOMEM;
	for (size_t i = 0; i < conf->nnamespaces && !err; i++) {
		p->namespaces[i] = kept(p->s, &conf->namespaces[i]);
		if (!p->namespaces[i])
			err = namespace_open(t, p->s, &conf->namespaces[i], &p->namespaces[i],
					     diag);
	}
	return err;
}

static void drop_plan(struct plan *p)
{
	for (size_t i = 0; p->s && p->namespaces && i < p->n; i++)
		if (!is_in(p->s->namespaces, p->s->nnamespaces, p->namespaces[i]))
			namespace_close(p->namespaces[i]);
	free(p->namespaces);
	if (p->is_new)
		subsystem_free(p->s);
}

/* ---- switching over -----------------------------------------------------------------------------
 */

/* Namespaces that are in no list any more, until they can be retired. */
STAILQ_HEAD(gone_list, namespace);

static void switch_subsystem(struct target *t, struct plan *p, struct gone_list *gone)
{
	struct subsystem *s = p->s;
	struct namespace **old = s->namespaces, *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (!is_in(p->namespaces, p->n, ns))
			STAILQ_INSERT_TAIL(gone, ns, gone_entry);
	subsystem_set_conf(s, p->conf);
	s->namespaces = p->namespaces;
	s->nnamespaces = p->n;
	for (size_t i = 0; i < s->nnamespaces; i++)
		namespace_set_conf(t, s->namespaces[i],
				   s->passthru ? passthru_namespace_conf(s->namespaces[i])
					       : &p->conf->namespaces[i]);
	free(old);
	if (p->is_new) {
		t->subsystems[t->nsubsystems++] = s;
		log_info("subsystem %s: %zu namespaces", s->nqn, s->nnamespaces);
	}
}

static bool has_subsystem(const struct config *c, const char *nqn)
{
	for (size_t i = 0; i < c->nsubsystems; i++)
		if (strcmp(c->subsystems[i].nqn, nqn) == 0)
			return true;
	return false;
}

/* It ends with its last controller. Until then it keeps the configuration that it is from. */
static void end_subsystem(struct subsystem *s, struct gone_list *gone)
{
	struct controller *c, *next;
	struct namespace *ns;

	log_info("subsystem %s: removed", s->nqn);
	s->dying = true;
	s->target->nretiring++;
	FOR_EACH_NAMESPACE (s, ns)
		STAILQ_INSERT_TAIL(gone, ns, gone_entry);
	s->nnamespaces = 0;
	LIST_FOREACH_SAFE (c, &s->controllers, entry, next)
		controller_disconnect(c);
}

void subsystem_controller_gone(struct subsystem *s)
{
	struct target *t = s->target;
	size_t i = 0;

	if (!s->dying || !LIST_EMPTY(&s->controllers))
		return;
	while (t->subsystems[i] != s)
		i++;
	memmove(&t->subsystems[i], &t->subsystems[i + 1],
		(--t->nsubsystems - i) * sizeof(t->subsystems[0]));
	subsystem_free(s);
	t->nretiring--;
	free_retired(t);
}

static void end_missing(struct target *t, const struct config *conf, struct gone_list *gone)
{
	for (size_t i = t->nsubsystems; i-- > 0;) {
		struct subsystem *s = t->subsystems[i];

		if (s->discovery || s->dying || has_subsystem(conf, s->nqn))
			continue;
		end_subsystem(s, gone);
		subsystem_controller_gone(s);
	}
}

static void disconnect_the_refused(struct subsystem *s)
{
	struct controller *c, *next;

	LIST_FOREACH_SAFE (c, &s->controllers, entry, next)
		if (!subsystem_allows(s, c->hostnqn)) {
			log_info("controller %u: host %s is not allowed any more, disconnecting",
				 c->cntlid, c->hostnqn);
			controller_disconnect(c);
		}
}

static void switch_over(struct target *t, struct plan *plans, const struct config *conf)
{
	struct gone_list gone = STAILQ_HEAD_INITIALIZER(gone);
	struct namespace *ns;

	for (size_t i = 0; i < conf->nsubsystems; i++)
		switch_subsystem(t, &plans[i], &gone);
	end_missing(t, conf, &gone);
	target_publish_views(t);
	/* Without memory for new maps, hosts keep their old ones, and what is in those stays open.
	 */
	if (target_remap(t)) {
		log_error(
			"no memory to tell the hosts of what changed; removed namespaces stay open");
		return;
	}
	while ((ns = STAILQ_FIRST(&gone))) {
		STAILQ_REMOVE_HEAD(&gone, gone_entry);
		retire(ns);
	}
	for (size_t i = 0; i < t->nsubsystems; i++)
		disconnect_the_refused(t->subsystems[i]);
	memset(t->refused, 0, sizeof(t->refused));
}

int target_apply(struct target *t, const struct config *conf, struct config_diag *diag)
{
	struct plan *plans = calloc(conf->nsubsystems + 1, sizeof(plans[0]));
	struct subsystem **list = reallocarray(
		t->subsystems, t->nsubsystems + conf->nsubsystems + 1, sizeof(t->subsystems[0]));
	int err = plans && list ? 0 : -ENOMEM;

	*diag = (struct config_diag){ .what = "no memory" };
	if (list)
		t->subsystems = list;
	for (size_t i = 0; i < conf->nsubsystems && !err; i++)
		err = make_plan(t, &plans[i], &conf->subsystems[i], diag);
	if (!err)
		switch_over(t, plans, conf);
	for (size_t i = 0; err && plans && i < conf->nsubsystems; i++)
		drop_plan(&plans[i]);
	free(plans);
	return err;
}

int target_reload(struct target *t, struct config *conf, struct config_diag *diag)
{
	struct config **old =
		reallocarray(t->old_confs, t->nold_confs + 1, sizeof(t->old_confs[0]));
	int err;

	*diag = (struct config_diag){ .what = "no memory" };
	if (!old)
		return -ENOMEM;
	t->old_confs = old;
	err = target_apply(t, conf, diag);
	if (err)
		return err;
	if (t->reloaded)
		t->old_confs[t->nold_confs++] = t->reloaded;
	t->reloaded = conf;
	auth_enforce(t);
	target_discovery_changed(t);
	free_retired(t);
	return 0;
}
