/* Which namespaces a controller has, and waiting for what is in flight on one. */
#include "target/core.h"
#include "target/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define REMAP_RETRY_S 1

/* ---- maps -------------------------------------------------------------------------------------
 */

struct ns_map *ns_map_create(const struct controller *c)
{
	const struct subsystem *s = c->subsys;
	uint32_t n = s->nnamespaces ? s->namespaces[s->nnamespaces - 1]->nsid + 1 : 0;
	struct ns_map *map = calloc(1, sizeof(*map) + n * sizeof(map->entry[0]));
	struct namespace *ns;

	if (!map)
		return NULL;
	map->n = n;
	FOR_EACH_NAMESPACE (s, ns)
		if (namespace_present(ns) && namespace_shows(ns, c->hostnqn)) {
			map->entry[ns->nsid] = (struct ns_map_entry){ .ns = ns };
			ana_fill(c, &map->entry[ns->nsid]);
		}
	return map;
}

struct remapping {
	struct target *t;
	struct reactor *reactor;
};

/* In a reactor, while the control thread waits: its controllers and their lists stand still. */
static void take_maps(void *arg)
{
	const struct remapping *r = arg;
	struct controller *c;
	struct nvmf_queue *q;

	for (size_t i = 0; i < r->t->nsubsystems; i++)
		LIST_FOREACH (c, &r->t->subsystems[i]->controllers, entry)
			LIST_FOREACH (q, &c->queues, entry)
				if (q->reactor == r->reactor)
					q->map = c->map;
}

static const struct namespace *mapped(const struct ns_map *map, uint32_t nsid)
{
	return nsid < map->n ? map->entry[nsid].ns : NULL;
}

/* Comparing addresses is right: a namespace that went is still open. */
static void tell_changes(struct controller *c, const struct ns_map *old)
{
	const struct namespace *before, *now;
	uint32_t n = old->n > c->map->n ? old->n : c->map->n;

	for (uint32_t nsid = 1; nsid < n; nsid++) {
		before = mapped(old, nsid);
		now = mapped(c->map, nsid);
		if (before != now || (now && now->changed))
			controller_ns_changed(c, nsid);
	}
}

static bool make_maps(struct target *t)
{
	struct controller *c;

	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry) {
			c->next_map = ns_map_create(c);
			if (!c->next_map)
				return false;
		}
	return true;
}

static void drop_new_maps(struct target *t)
{
	struct controller *c;

	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry) {
			free(c->next_map);
			c->next_map = NULL;
		}
}

static void switch_map(struct controller *c)
{
	c->old_map = c->map;
	c->map = c->next_map;
	c->next_map = NULL;
	if (c->admin)
		c->admin->map = c->map;
}

static void drop_old_map(struct controller *c)
{
	tell_changes(c, c->old_map);
	ana_compare(c, c->old_map);
	free(c->old_map);
	c->old_map = NULL;
}

static void on_remap_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	if (target_remap(w->data))
		log_debug("still no memory to tell hosts of their namespaces");
}

static void remap_later(struct target *t)
{
	if (ev_is_active(&t->remap_timer))
		return;
	ev_timer_init(&t->remap_timer, on_remap_timer, REMAP_RETRY_S, REMAP_RETRY_S);
	t->remap_timer.data = t;
	ev_timer_start(control_reactor(t)->loop, &t->remap_timer);
}

bool target_remap_is_late(const struct target *t)
{
	return ev_is_active(&t->remap_timer);
}

void target_stop_remapping(struct target *t)
{
	if (ev_is_active(&t->remap_timer))
		ev_timer_stop(control_reactor(t)->loop, &t->remap_timer);
}

int target_remap(struct target *t)
{
	struct controller *c;
	struct namespace *ns;

	if (!make_maps(t)) {
		drop_new_maps(t);
		remap_later(t);
		return -ENOMEM;
	}
	target_stop_remapping(t);
	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry)
			switch_map(c);
	for (unsigned int i = 0; i < t->reactors->n; i++) {
		struct remapping r = { t, t->reactors->r[i] };

		reactor_call(r.reactor, take_maps, &r);
	}
	for (size_t i = 0; i < t->nsubsystems; i++) {
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry)
			drop_old_map(c);
		FOR_EACH_NAMESPACE (t->subsystems[i], ns)
			ns->changed = false;
	}
	return 0;
}

/* ---- draining ---------------------------------------------------------------------------------
 *
 * Each reactor counts the commands in flight in one of two phases. A drain switches the phase in
 * all of them and waits until the counts of the former one are 0; the next drain of the same
 * namespace waits until then.
 */

struct flip {
	struct namespace *ns;
	const struct reactor *reactor;
	struct ns_shard *shard;
	bool busy;
};

/* To the phase that is not waited for. */
static void move_to_phase(void *arg)
{
	nvmf_req_uncount(arg);
	nvmf_req_count(arg);
}

/* Who waits is not waited for, be it his drain that begins or one that comes later: that would wait
 * for him in turn. (The control thread waits for us, so its list may be looked at.) */
static void flip_phase(void *arg)
{
	struct flip *f = arg;
	struct ns_shard *shard = f->shard;
	const struct drain *d;

	assert(!shard->draining && shard->in_flight[!shard->phase] == 0);
	shard->phase = !shard->phase;
	STAILQ_FOREACH (d, &f->ns->drains, entry)
		if (d->but && d->but->queue->reactor == f->reactor)
			move_to_phase(d->but);
	f->busy = shard->in_flight[!shard->phase] > 0;
	shard->draining = f->busy;
}

static void start_drain(struct namespace *ns)
{
	const struct reactors *reactors = ns->target->reactors;

	for (unsigned int i = 0; i < reactors->n; i++) {
		struct flip f = { .ns = ns, .reactor = reactors->r[i], .shard = &ns->shard[i] };

		reactor_call(reactors->r[i], flip_phase, &f);
		ns->draining_shards += f.busy;
	}
}

static void finish_drains(struct namespace *ns)
{
	struct drain *d;
	bool more = true;

	while (more && ns->draining_shards == 0 && (d = STAILQ_FIRST(&ns->drains))) {
		STAILQ_REMOVE_HEAD(&ns->drains, entry);
		more = !STAILQ_EMPTY(&ns->drains);
		if (more)
			start_drain(ns);
		d->done(d); /* the last one may free the namespace */
	}
}

void namespace_shard_drained(struct message *m)
{
	struct ns_shard *shard = (void *)((uint8_t *)m - offsetof(struct ns_shard, drained));

	shard->ns->draining_shards--;
	finish_drains(shard->ns);
}

void namespace_drain(struct namespace *ns, struct drain *d)
{
	bool idle = STAILQ_EMPTY(&ns->drains);

	STAILQ_INSERT_TAIL(&ns->drains, d, entry);
	if (!idle) { /* who waits already does not wait for @d->but either: that waits for him */
		if (d->but)
			reactor_call(d->but->queue->reactor, move_to_phase, d->but);
		return;
	}
	start_drain(ns);
	finish_drains(ns);
}
