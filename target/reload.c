/*
 * A new configuration for a target that runs: subsystems, namespaces and who may see them.
 *
 * First everything new is opened and proved, and if that fails nothing has changed
 * (target_prepare()). Then it is switched over in steps that cannot fail (target_commit()): what is
 * gone is taken out of the maps, what is in flight on it is waited for, and only then it is closed.
 */
#include "target/core.h"
#include "target/log.h"
#include "target/passthru.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GONE_RETRY_S 1

/* ---- taking a namespace away --------------------------------------------------------------------
 */

/* What is on its way out has its texts in the configuration that it is from. */
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
	struct subsystem *s = ns->subsys;
	struct target *t = ns->target;

	if (!STAILQ_EMPTY(&ns->drains)) { /* somebody waits for what is in flight: let him */
		ns->retire.done = retire_last;
		namespace_drain(ns, &ns->retire);
		return;
	}
	STAILQ_REMOVE_HEAD(&ns->locks, entry);
	log_event(JOURNAL_NS_REMOVED, LOG_FIELDS(.nqn = s->nqn, .nsid = ns->nsid),
		  "namespace %u of %s: removed", ns->nsid, s->nqn);
	namespace_close(ns);
	t->nretiring--;
	s->nretiring--;
	subsystem_end_if_unused(s);
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
	ns->retire.done = retire_drained;
	namespace_drain(ns, &ns->retire);
}

/* It is in no list any more, but may be in maps. Its subsystem stays until it is closed. */
static void let_go_later(struct namespace *ns)
{
	ns->target->nretiring++;
	ns->subsys->nretiring++;
	STAILQ_INSERT_TAIL(&ns->target->gone, ns, gone_entry);
}

static void on_gone_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	(void)target_let_go(w->data);
}

/* Without memory for new maps, hosts keep their old ones, and what is in those stays open. */
bool target_let_go(struct target *t)
{
	struct ev_loop *loop = control_reactor(t)->loop;
	struct namespace *ns;

	if (ev_is_active(&t->gone_timer))
		ev_timer_stop(loop, &t->gone_timer);
	if (!t->maps_are_old)
		return true;
	if (target_remap(t)) {
		log_error(
			"no memory to tell the hosts of what changed; removed namespaces stay open until there is");
		ev_timer_init(&t->gone_timer, on_gone_timer, GONE_RETRY_S, 0);
		t->gone_timer.data = t;
		ev_timer_start(loop, &t->gone_timer);
		return false;
	}
	t->maps_are_old = false;
	while ((ns = STAILQ_FIRST(&t->gone))) {
		STAILQ_REMOVE_HEAD(&t->gone, gone_entry);
		retire(ns);
	}
	return true;
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
	struct ana_ports ports; /* new ones */
};

struct target_plan {
	struct target *target;
	const struct config *conf;
	struct plan plans[]; /* of conf->subsystems */
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

static struct namespace *find_kept(const struct subsystem *s, const struct config_namespace *conf)
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

static int make_plan(struct target *t, struct plan *p, const struct config *all,
		     const struct config_subsystem *conf, struct config_diag *diag)
{
	int err = 0;

	p->conf = conf;
	p->s = subsystem_find(t, conf->nqn);
	p->is_new = !p->s;
	if (!p->s)
		p->s = subsystem_create(t, conf);
	if (!p->s || ana_prepare(p->s, all, &p->ports))
		return -ENOMEM;
	if (conf->passthrough || p->s->passthru)
		return plan_passthru(t, p, diag);
	p->n = conf->nnamespaces;
	p->namespaces = calloc(conf->nnamespaces + 1, sizeof(p->namespaces[0]));
	if (!p->namespaces)
		return -ENOMEM;
	for (size_t i = 0; i < conf->nnamespaces && !err; i++) {
		p->namespaces[i] = find_kept(p->s, &conf->namespaces[i]);
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
	ana_drop(&p->ports);
	if (p->is_new)
		subsystem_free(p->s);
}

int target_prepare(struct target *t, const struct config *conf, struct target_plan **ret_plan,
		   struct config_diag *diag)
{
	struct target_plan *plan =
		calloc(1, sizeof(*plan) + conf->nsubsystems * sizeof(plan->plans[0]));
	struct subsystem **list = reallocarray(
		t->subsystems, t->nsubsystems + conf->nsubsystems + 1, sizeof(t->subsystems[0]));
	struct config **old =
		reallocarray(t->old_confs, t->nold_confs + 1, sizeof(t->old_confs[0]));
	int err = plan && list && old ? 0 : -ENOMEM;

	*diag = (struct config_diag){ .what = "no memory" };
	if (list)
		t->subsystems = list;
	if (old)
		t->old_confs = old;
	if (plan)
		*plan = (struct target_plan){ .target = t, .conf = conf };
	for (size_t i = 0; i < conf->nsubsystems && !err; i++)
		err = make_plan(t, &plan->plans[i], conf, &conf->subsystems[i], diag);
	if (err) {
		target_abandon(plan);
		return err;
	}
	*ret_plan = plan;
	return 0;
}

void target_abandon(struct target_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->conf->nsubsystems; i++)
		drop_plan(&plan->plans[i]);
	free(plan);
}

/* ---- switching over -----------------------------------------------------------------------------
 */

static void switch_subsystem(struct target *t, struct plan *p)
{
	struct subsystem *s = p->s;
	struct namespace **old = s->namespaces, *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (!is_in(p->namespaces, p->n, ns))
			let_go_later(ns);
	subsystem_set_conf(s, p->conf);
	ana_switch(s, t->conf, &p->ports);
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

/* It ends with its last controller and its last namespace. Until then it keeps the configuration
 * that it is from. */
static void end_subsystem(struct subsystem *s)
{
	struct controller *c, *next;
	struct namespace *ns;

	log_info("subsystem %s: removed", s->nqn);
	s->dying = true;
	s->target->nretiring++;
	FOR_EACH_NAMESPACE (s, ns)
		let_go_later(ns);
	s->nnamespaces = 0;
	LIST_FOREACH_SAFE (c, &s->controllers, entry, next)
		controller_leave(c);
}

void subsystem_end_if_unused(struct subsystem *s)
{
	struct target *t = s->target;
	size_t i = 0;

	if (!s->dying || s->nretiring || !LIST_EMPTY(&s->controllers))
		return;
	while (t->subsystems[i] != s)
		i++;
	memmove(&t->subsystems[i], &t->subsystems[i + 1],
		(--t->nsubsystems - i) * sizeof(t->subsystems[0]));
	subsystem_free(s);
	t->nretiring--;
	free_retired(t);
}

static void end_missing(struct target *t)
{
	for (size_t i = t->nsubsystems; i-- > 0;) {
		struct subsystem *s = t->subsystems[i];

		if (s->discovery || s->dying || has_subsystem(t->conf, s->nqn))
			continue;
		end_subsystem(s);
		subsystem_end_if_unused(s);
	}
}

static const char *why_refused(const struct subsystem *s, const struct controller *c)
{
	if (!subsystem_allows(s, c->hostnqn))
		return "is not allowed any more";
	return subsystem_on_port(s, c->port_id) ? NULL : "came through a port that it may not use";
}

static void disconnect_the_refused(struct subsystem *s)
{
	struct controller *c, *next;

	LIST_FOREACH_SAFE (c, &s->controllers, entry, next) {
		const char *why = why_refused(s, c);

		if (!why)
			continue;
		log_info("controller %u: host %s %s, disconnecting", c->cntlid, c->hostnqn, why);
		controller_leave(c);
	}
}

void target_commit(struct target_plan *plan)
{
	struct target *t = plan->target;
	const struct config *before = t->conf;

	t->conf = plan->conf;
	discovery_set_name(t->subsystems[0], t->conf);
	for (size_t i = 0; i < t->conf->nsubsystems; i++)
		switch_subsystem(t, &plan->plans[i]);
	end_missing(t);
	target_publish_views(t);
	t->maps_are_old = true;
	(void)target_let_go(t);
	for (size_t i = 0; i < t->nsubsystems; i++) {
		if (t->subsystems[i]->dying)
			continue;
		ana_follow(t, t->subsystems[i], before, t->conf);
		disconnect_the_refused(t->subsystems[i]);
	}
	memset(t->refused, 0, sizeof(t->refused));
	auth_enforce(t);
	if (t->conf != before) /* not the first one */
		target_discovery_changed(t);
	free(plan);
}

void target_retire_conf(struct target *t, struct config *old)
{
	config_forget_keys(old);
	t->old_confs[t->nold_confs++] = old;
	free_retired(t);
}
