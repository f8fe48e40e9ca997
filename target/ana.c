/* Asymmetric namespace access: Base 2.1, 8.1.1; the log page: 5.1.12.1.13. */
#include "target/core.h"
#include "target/log.h"

#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>

static const struct form {
	uint8_t wire;
	uint16_t status; /* of commands; no DNR: another path may do */
} forms[CONFIG_ANA_NSTATES] = {
	[CONFIG_ANA_OPTIMIZED] = { NVME_ANA_STATE_OPTIMIZED, NVME_OK },
	[CONFIG_ANA_NON_OPTIMIZED] = { NVME_ANA_STATE_NONOPTIMIZED, NVME_OK },
	[CONFIG_ANA_INACCESSIBLE] = { NVME_ANA_STATE_INACCESSIBLE, NVME_PATH_INACCESSIBLE },
	[CONFIG_ANA_PERSISTENT_LOSS] = { NVME_ANA_STATE_PERSISTENT_LOSS,
					 NVME_PATH_PERSISTENT_LOSS },
	[CONFIG_ANA_CHANGE] = { NVME_ANA_STATE_CHANGE, NVME_PATH_TRANSITION },
};

uint8_t ana_wire_state(enum config_ana state)
{
	return forms[state].wire;
}

/* ---- states ----------------------------------------------------------------------------------
 */

static struct ana_port *find_port(const struct ana_ports *ports, uint16_t port_id)
{
	struct ana_port *p;

	LIST_FOREACH (p, ports, entry)
		if (p->port_id == port_id)
			break;
	return p;
}

static struct ana_group *find_group(const struct subsystem *s, uint16_t port_id, uint32_t group)
{
	struct ana_port *port = find_port(&s->ana, port_id);

	return port && group >= 1 && group <= CONFIG_ANA_GROUPS ? &port->group[group] : NULL;
}

enum config_ana ana_state(const struct subsystem *s, uint16_t port_id, uint32_t group)
{
	const struct ana_port *port = find_port(&s->ana, port_id);
	const struct ana_group *g = find_group(s, port_id, group);

	if (group == ANA_GROUP_LOST || !port)
		return CONFIG_ANA_INACCESSIBLE;
	if (!g)
		return CONFIG_ANA_OPTIMIZED;
	if (port->drained && g->state != CONFIG_ANA_PERSISTENT_LOSS)
		return port->drain ? CONFIG_ANA_CHANGE : CONFIG_ANA_INACCESSIBLE;
	return g->state;
}

/* ---- transitions -----------------------------------------------------------------------------
 */

/* Ends when the drains have ended, or is over before: it is freed when they have ended. */
struct ana_transition {
	struct target *target;
	struct ana_transition **slot; /* of the group or the port; NULL: over */
	struct ana_group *group;      /* NULL: of a port */
	enum config_ana state;        /* that the group shall have */
	ev_timer timer;
	bool untold; /* hosts did not hear of its beginning: what they sent since is in flight */
	unsigned int ndraining;
	void (*done)(void *arg, int err);
	void *arg;
	struct ana_wait {
		struct drain drain; /* first */
		struct ana_transition *transition;
	} wait[];
};

static void put_transition(struct ana_transition *tr)
{
	if (!tr->slot && tr->ndraining == 0)
		free(tr);
}

static void end_transition(struct ana_transition *tr, int err)
{
	ev_timer_stop(control_reactor(tr->target)->loop, &tr->timer);
	*tr->slot = NULL;
	tr->slot = NULL;
	if (tr->done)
		tr->done(tr->arg, err);
}

/* @err: what there is to say if the hosts can be told. */
static void arrive(struct ana_transition *tr, int err)
{
	if (tr->group)
		tr->group->state = tr->state;
	*tr->slot = NULL; /* from here on the state is as wanted */
	if (target_remap(tr->target) || tr->untold)
		err = -EINPROGRESS;
	end_transition(tr, err);
}

static void on_drained(struct drain *d)
{
	struct ana_transition *tr = ((struct ana_wait *)d)->transition;

	if (--tr->ndraining == 0 && tr->slot)
		arrive(tr, 0);
	put_transition(tr);
}

static void on_transition_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct ana_transition *tr = w->data;

	(void)loop;
	(void)revents;
	log_warn("ANA: commands are still in flight %d s after their path was closed",
		 ANA_TRANSITION_S);
	arrive(tr, -ETIMEDOUT);
}

static struct ana_transition *create_transition(struct target *t, const struct subsystem *s,
						struct ana_transition **slot)
{
	struct ana_transition *tr = calloc(1, sizeof(*tr) + s->nnamespaces * sizeof(tr->wait[0]));

	if (!tr)
		return NULL;
	tr->target = t;
	tr->slot = slot;
	ev_timer_init(&tr->timer, on_transition_timeout, ANA_TRANSITION_S, 0);
	tr->timer.data = tr;
	return tr;
}

/* Wait for what is in flight on the group's namespaces, 0: on all, through whichever port. */
static void drain_group(struct ana_transition *tr, struct subsystem *s, uint32_t group)
{
	struct namespace *ns;
	unsigned int n = 0;

	ev_timer_start(control_reactor(tr->target)->loop, &tr->timer);
	tr->ndraining = 1; /* not before all have been asked */
	FOR_EACH_NAMESPACE (s, ns) {
		if (group && ns->ana_group != group)
			continue;
		tr->wait[n] = (struct ana_wait){ .drain.done = on_drained, .transition = tr };
		tr->ndraining++;
		namespace_drain(ns, &tr->wait[n++].drain);
	}
	if (--tr->ndraining == 0 && tr->slot)
		arrive(tr, 0);
	put_transition(tr);
}

static bool is_accessible(enum config_ana state)
{
	return forms[state].status == NVME_OK;
}

int ana_set(struct target *t, struct subsystem *s, uint16_t port_id, uint32_t group,
	    enum config_ana state, void (*done)(void *arg, int err), void *arg)
{
	struct ana_group *g = find_group(s, port_id, group);
	struct ana_transition *tr = NULL;
	bool waits, untold;

	if (!g)
		return group >= 1 && group <= CONFIG_ANA_GROUPS ? -ENOENT : -EINVAL;
	/* one that is cut short, or that hosts have not heard of, has not waited for all */
	waits = (is_accessible(g->state) || g->transition || target_remap_is_late(t)) &&
		!is_accessible(state) && state != CONFIG_ANA_CHANGE;
	if (waits) {
		tr = create_transition(t, s, &g->transition);
		if (!tr)
			return -ENOMEM;
		tr->group = g;
		tr->state = state;
		tr->done = done;
		tr->arg = arg;
	}
	if (g->transition)
		end_transition(g->transition, -ECANCELED);
	g->state = waits ? CONFIG_ANA_CHANGE : state;
	g->transition = tr;
	g->ordered = true;
	g->wanted = state;
	restart_changed(t);
	untold = target_remap(t) != 0;
	if (waits) {
		tr->untold = untold;
		drain_group(tr, s, group);
	} else if (done) {
		done(arg, untold ? -EINPROGRESS : 0);
	}
	return 0;
}

int ana_drain(struct target *t, struct subsystem *s, uint16_t port_id,
	      void (*done)(void *arg, int err), void *arg)
{
	struct ana_port *port = find_port(&s->ana, port_id);
	struct ana_transition *tr;

	if (!port)
		return -ENOENT;
	if (port->drained && !port->drain && !target_remap_is_late(t)) {
		done(arg, 0);
		return 0;
	}
	tr = create_transition(t, s, &port->drain);
	if (!tr)
		return -ENOMEM;
	tr->done = done;
	tr->arg = arg;
	if (port->drain) /* has not waited for all */
		end_transition(port->drain, -ECANCELED);
	port->drained = true;
	port->drain = tr;
	tr->untold = target_remap(t) != 0;
	drain_group(tr, s, 0);
	return 0;
}

int ana_undrain(struct target *t, struct subsystem *s, uint16_t port_id)
{
	struct ana_port *port = find_port(&s->ana, port_id);

	if (!port)
		return -ENOENT;
	if (!port->drained)
		return 0;
	port->drained = false;
	if (port->drain)
		end_transition(port->drain, -ECANCELED);
	return target_remap(t);
}

/* ---- ports that come and go --------------------------------------------------------------------
 */

static const struct config_port *configured(const struct config *conf, uint16_t port_id)
{
	for (size_t i = 0; i < conf->nports; i++)
		if (conf->ports[i].id == port_id)
			return &conf->ports[i];
	return NULL;
}

static enum config_ana configured_state(const struct config_port *port, uint32_t group)
{
	for (size_t i = 0; i < port->nana_groups; i++)
		if (port->ana_groups[i].id == group)
			return port->ana_groups[i].state;
	return CONFIG_ANA_OPTIMIZED;
}

/* What was set before the daemon was started anew. */
static void find_orders(const struct subsystem *s, struct ana_port *port)
{
	unsigned int state;

	for (uint32_t g = 1; g <= CONFIG_ANA_GROUPS; g++)
		if (restart_take_ana(s->target, s, port->port_id, g, &state)) {
			port->group[g].state = port->group[g].wanted = state;
			port->group[g].ordered = true;
			log_info("ANA group %u of %s on port %u: %s, as ordered before the restart",
				 g, s->nqn, port->port_id, config_ana_names[state]);
		}
}

static void free_port(struct ana_port *p)
{
	for (unsigned int g = 1; g <= CONFIG_ANA_GROUPS; g++)
		if (p->group[g].transition)
			end_transition(p->group[g].transition, -ECANCELED);
	if (p->drain)
		end_transition(p->drain, -ECANCELED);
	free(p);
}

void ana_drop(struct ana_ports *ports)
{
	struct ana_port *p, *next;

	LIST_FOREACH_SAFE (p, ports, entry, next)
		free_port(p);
	LIST_INIT(ports);
}

int ana_prepare(const struct subsystem *s, const struct config *conf, struct ana_ports *ret_ports)
{
	LIST_INIT(ret_ports);
	for (size_t i = 0; i < conf->nports; i++) {
		const struct config_port *port = &conf->ports[i];
		struct ana_port *p;

		if (find_port(&s->ana, port->id))
			continue;
		p = calloc(1, sizeof(*p));
		if (!p) {
			ana_drop(ret_ports);
			return -ENOMEM;
		}
		p->port_id = port->id;
		for (unsigned int g = 1; g <= CONFIG_ANA_GROUPS; g++)
			p->group[g].state = configured_state(port, g);
		LIST_INSERT_HEAD(ret_ports, p, entry);
	}
	return 0;
}

void ana_switch(struct subsystem *s, const struct config *conf, struct ana_ports *ports)
{
	struct ana_port *p, *next;

	LIST_FOREACH_SAFE (p, &s->ana, entry, next)
		if (!configured(conf, p->port_id)) {
			LIST_REMOVE(p, entry);
			free_port(p);
		}
	LIST_FOREACH_SAFE (p, ports, entry, next) {
		LIST_INSERT_HEAD(&s->ana, p, entry);
		find_orders(s, p);
	}
	LIST_INIT(ports);
}

static void follow_group(struct target *t, struct subsystem *s, uint16_t port_id, uint32_t group,
			 enum config_ana state)
{
	struct ana_group *g = find_group(s, port_id, group);

	if (!g)
		return;
	if (ana_set(t, s, port_id, group, state, NULL, NULL))
		g->state = state; /* told at the next change */
	g->ordered = false;
	restart_changed(t);
}

void ana_follow(struct target *t, struct subsystem *s, const struct config *before,
		const struct config *conf)
{
	for (size_t i = 0; i < conf->nports; i++) {
		const struct config_port *port = &conf->ports[i];
		const struct config_port *was = configured(before, port->id);

		for (unsigned int g = 1; was && g <= CONFIG_ANA_GROUPS; g++)
			if (configured_state(port, g) != configured_state(was, g))
				follow_group(t, s, port->id, g, configured_state(port, g));
	}
}

/* ---- what controllers know --------------------------------------------------------------------
 */

void ana_fill(const struct controller *c, struct ns_map_entry *e)
{
	e->ana_group = e->ns->ana_group;
	e->ana_state = ana_state(c->subsys, c->port_id, e->ana_group);
	e->path_status = forms[e->ana_state].status;
}

static bool same_place(const struct ns_map_entry *a, const struct ns_map_entry *b)
{
	return a && b ? a->ana_group == b->ana_group && a->ana_state == b->ana_state : a == b;
}

/* A namespace that came or went changes the page too, but has an event of its own. */
void ana_compare(struct controller *c, const struct ns_map *old)
{
	uint32_t n = old->n > c->map->n ? old->n : c->map->n;
	bool changed[ANA_GROUP_MAX + 1] = { false }, moved = false;

	for (uint32_t nsid = 1; nsid < n; nsid++) {
		const struct ns_map_entry *was = ns_map_find(old, nsid);
		const struct ns_map_entry *is = ns_map_find(c->map, nsid);

		if (same_place(was, is))
			continue;
		changed[0] = true;
		moved |= was && is;
		if (was)
			changed[was->ana_group] = true;
		if (is)
			changed[is->ana_group] = true;
	}
	for (unsigned int g = 0; g <= ANA_GROUP_MAX; g++)
		c->ana.change[g] += changed[g];
	if (moved)
		controller_event(c, EVENT_ANA_CHANGED);
}

/* ---- the log page ----------------------------------------------------------------------------
 */

struct ana_members {
	unsigned int n; /* namespaces of the group */
	uint32_t nsid;  /* one of them */
	le32 *next;     /* where the next one's number goes */
};

static unsigned int count_members(const struct ns_map *map,
				  struct ana_members groups[ANA_GROUP_MAX + 1],
				  unsigned int *ret_namespaces)
{
	unsigned int ngroups = 0;

	*ret_namespaces = 0;
	for (uint32_t nsid = 1; nsid < map->n; nsid++) {
		const struct ns_map_entry *e = ns_map_find(map, nsid);

		if (!e)
			continue;
		ngroups += groups[e->ana_group].n++ == 0;
		groups[e->ana_group].nsid = nsid;
		(*ret_namespaces)++;
	}
	return ngroups;
}

/* Only groups with namespaces that this controller's host sees, in ascending order as is asked for.
 */
void *ana_log(const struct controller *c, bool groups_only, size_t *ret_len)
{
	struct ana_members groups[ANA_GROUP_MAX + 1] = { 0 };
	unsigned int nnamespaces, ngroups = count_members(c->map, groups, &nnamespaces);
	size_t len = sizeof(struct nvme_ana_header) + ngroups * sizeof(struct nvme_ana_group) +
		     (groups_only ? 0 : nnamespaces * sizeof(le32));
	struct nvme_ana_header *log = calloc(1, len);
	uint8_t *at;

	if (!log)
		return NULL;
	at = (uint8_t *)(log + 1);
	log->change = put64(c->ana.change[0]);
	log->ngroups = put16((uint16_t)ngroups);
	for (unsigned int g = 0; g <= ANA_GROUP_MAX; g++) {
		struct nvme_ana_group *desc = (void *)at;

		if (groups[g].n == 0)
			continue;
		desc->group = put32(g);
		desc->nnsids = put32(groups_only ? 0 : groups[g].n);
		desc->change = put64(c->ana.change[g] + 1); /* 0: not counted */
		desc->state = ana_wire_state(ns_map_find(c->map, groups[g].nsid)->ana_state);
		groups[g].next = desc->nsid;
		at += sizeof(*desc) + (groups_only ? 0 : groups[g].n * sizeof(le32));
	}
	for (uint32_t nsid = 1; !groups_only && nsid < c->map->n; nsid++) {
		const struct ns_map_entry *e = ns_map_find(c->map, nsid);

		if (e)
			*groups[e->ana_group].next++ = put32(nsid);
	}
	*ret_len = len;
	return log;
}

/* ---- admin commands --------------------------------------------------------------------------
 *
 * What Base 2.1, 8.1.1, "ANA effects on command processing" has as not available in the states that
 * are not accessible. (I/O commands all end with the path's status, see nvmf_req_gate(). What
 * Identify Namespace leaves out then is in identify.c.)
 */

static const struct ana_effect {
	uint8_t opcode;
	uint8_t id; /* FID or LID: the low byte of dword 10 */
} effects[] = {
	{ 0x02, 0x02 }, /* Get Log Page: SMART / Health, of one namespace */
	{ 0x09, 0x82 }, /* Set Features: Reservation Notification Mask */
	{ 0x09, 0x83 }, /* Reservation Persistence */
	{ 0x09, 0x84 }, /* Namespace Write Protection Config */
	{ 0x0a, 0x82 }, /* Get Features */
	{ 0x0a, 0x83 }, { 0x0a, 0x84 },
};

uint16_t ana_admin_status(const struct nvmf_req *req)
{
	const struct nvme_sqe *sqe = req->sqe;
	const struct ns_map_entry *e;

	for (size_t i = 0; i < sizeof(effects) / sizeof(effects[0]); i++)
		if (sqe->opcode == effects[i].opcode &&
		    (get32(sqe->cdw10) & 0xff) == effects[i].id) {
			e = ns_map_find(req->queue->map, get32(sqe->nsid));
			return e ? e->path_status : NVME_OK;
		}
	return NVME_OK;
}
