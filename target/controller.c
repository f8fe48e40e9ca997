/* Controllers and their queues: birth, keep alive, async events, death. */
#include "target/core.h"
#include "target/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_S 10
/* For the commands of a host that comes or goes. Before its last one, a host that goes removes its
 * namespaces and ends its I/O queues: seconds. When we stop, there is only half of stop_timeout_ms.
 */
#define LEAVE_S           10
#define LEAVE_STOPPING_S  3

/* ---- cntlid -----------------------------------------------------------------------------------
 */

/* Those of static controllers are not given to others. */
static bool is_reserved(const struct target *t, uint16_t id, const struct subsystem *s)
{
	for (size_t i = 0; i < t->nsubsystems; i++) {
		const struct subsystem *other = t->subsystems[i];

		if (other != s && subsystem_is_static(other) && id >= other->conf->cntlid_min &&
		    id <= other->conf->cntlid_max)
			return true;
	}
	return false;
}

/* IDs go round, so that a host's stale ID meets nobody for long. @kept: those too that hosts had
 * before a restart. */
static uint16_t find_cntlid(struct target *t, uint16_t min, uint16_t max, const struct subsystem *s,
			    bool kept)
{
	uint16_t id = t->next_cntlid;

	for (unsigned int tries = 0; tries <= (unsigned int)(max - min); tries++) {
		if (id < min || id > max)
			id = min;
		if (!t->by_cntlid[id] && !is_reserved(t, id, s) &&
		    (kept || !restart_keeps_cntlid(t, id))) {
			t->next_cntlid = (uint16_t)(id + 1);
			return id;
		}
		id++;
	}
	return 0;
}

static unsigned int ncontrollers(const struct subsystem *s)
{
	const struct controller *c;
	unsigned int n = 0;

	LIST_FOREACH (c, &s->controllers, entry)
		n++;
	return n;
}

/* 0: none is free. */
static uint16_t take_cntlid(struct target *t, const struct subsystem *s,
			    const struct restart_key *key, uint16_t asked)
{
	uint16_t min = s->conf ? s->conf->cntlid_min : 1;
	uint16_t max = s->conf ? s->conf->cntlid_max : CNTLID_MAX;
	uint16_t id;

	if (s->conf && s->conf->max_controllers && ncontrollers(s) >= s->conf->max_controllers)
		return 0;
	if (asked)
		return t->by_cntlid[asked] ? 0 : asked;
	id = restart_take_cntlid(t, key, min, max);
	if (!id)
		id = find_cntlid(t, min, max, s, false);
	return id ? id : find_cntlid(t, min, max, s, true);
}

bool target_has_controller(const struct target *t, uint16_t cntlid)
{
	return cntlid <= CNTLID_MAX && t->by_cntlid[cntlid];
}

/* ---- life -------------------------------------------------------------------------------------
 */

static uint32_t most_in_capsule_len(const struct nvmf_port *port)
{
	return port->in_capsule_data_len > IN_CAPSULE_LEN_MIN ? port->in_capsule_data_len
							      : IN_CAPSULE_LEN_MIN;
}

/*
 * In-capsule data lands in host memory. Where payload can be staged in CMB, now or when a lost one
 * is back, none is offered, so that small writes go that way too. Room for SGL descriptors there
 * is always: a host cannot know that it may not put data there, but no logical block fits in.
 */
static uint32_t announced_in_capsule_len(const struct subsystem *s, const struct nvmf_port *port)
{
	const struct namespace *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (ns->stage.nusable || ns->stage.reason == STAGE_HOST_LOST ||
		    ns->stage.policy == STAGE_REQUIRE)
			return IN_CAPSULE_LEN_MIN;
	return most_in_capsule_len(port);
}

uint32_t target_in_capsule_len(const struct target *t, uint16_t cntlid,
			       const struct nvmf_port *port)
{
	return cntlid && target_has_controller(t, cntlid) ? t->by_cntlid[cntlid]->in_capsule_len
							  : most_in_capsule_len(port);
}

uint16_t target_queue_depth(const struct target *t, uint16_t cntlid, const struct nvmf_port *port)
{
	const struct controller *c = cntlid <= CNTLID_MAX ? t->by_cntlid[cntlid] : NULL;

	return c && c->admin ? c->admin->port.queue_depth : port->queue_depth;
}

/* Was there a command on any queue since the last look? */
static bool was_alive(struct controller *c)
{
	bool alive = __atomic_exchange_n(&c->admin->alive, false, __ATOMIC_RELAXED) ||
		     c->admin->unauthenticated; /* that has a deadline of its own */
	struct nvmf_queue *q;

	LIST_FOREACH (q, &c->queues, entry)
		alive |= __atomic_exchange_n(&q->alive, false, __ATOMIC_RELAXED);
	return alive;
}

static void on_kato(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct controller *c = w->data;

	(void)revents;
	if (was_alive(c)) {
		ev_timer_again(loop, w);
		return;
	}
	ev_timer_stop(loop, w);
	if (c->kato_ms) {
		c->target->events.keep_alive_expirations++;
		log_event(JOURNAL_HOST_SILENT,
			  LOG_FIELDS(.hostnqn = c->hostnqn, .peer = c->admin->remote_address,
				     .nqn = c->subsys->nqn, .cntlid = c->cntlid),
			  "controller %u: host %s was silent for %u ms (keep alive), disconnecting",
			  c->cntlid, c->hostnqn, c->kato_ms);
	} else {
		log_peer(LOG_LEVEL_INFO, c->admin->remote_address,
			 "controller %u: host %s asked nothing for %d s, disconnecting", c->cntlid,
			 c->hostnqn, DISCOVERY_IDLE_S);
	}
	c->csts |= CSTS_CFS;
	controller_disconnect(c);
}

uint16_t max_queues(const struct subsystem *s)
{
	return s->conf ? s->conf->max_queues : IO_QUEUES_MAX;
}

/* How many controllers have each part, and how many of these are the host's. */
struct parts {
	unsigned int all[STAGE_PARTS], own[STAGE_PARTS], nown;
};

static void count_parts(const struct target *t, const char *hostnqn, struct parts *ret)
{
	const struct controller *c;

	*ret = (struct parts){ 0 };
	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry) {
			ret->all[c->part]++;
			if (strcmp(c->hostnqn, hostnqn) == 0)
				ret->nown += ret->own[c->part]++ == 0;
		}
}

/*
 * The part of each drive's staging memory that is emptiest, of two that are the host's: with two,
 * one path goes on where another is dead and holds what it has; without more, a host that means
 * harm holds no more by making more controllers.
 */
#define PARTS_OF_HOST 2

static uint8_t choose_part(const struct target *t, const char *hostnqn)
{
	uint8_t best = STAGE_PARTS;
	struct parts p;

	count_parts(t, hostnqn, &p);
	for (uint8_t i = 0; i < STAGE_PARTS; i++) {
		if (p.nown == PARTS_OF_HOST && !p.own[i])
			continue;
		if (best == STAGE_PARTS || p.own[i] < p.own[best] ||
		    (p.own[i] == p.own[best] && p.all[i] < p.all[best]))
			best = i;
	}
	return best;
}

int controller_create(struct subsystem *s, struct nvmf_queue *admin, const char *hostnqn,
		      const uint8_t hostid[16], uint16_t cntlid, struct controller **ret_ctrl)
{
	struct restart_key key = restart_key(s, admin->port.id, hostnqn, hostid);
	struct target *t = admin->target;
	struct controller *c;

	cntlid = take_cntlid(t, s, &key, cntlid);
	if (cntlid == 0)
		return -EBUSY;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->target = t;
	c->subsys = s;
	c->cntlid = cntlid;
	c->key = key;
	c->port_id = admin->port.id;
	c->part = choose_part(t, hostnqn);
	memcpy(c->hostid, hostid, sizeof(c->hostid));
	strlcpy(c->hostnqn, hostnqn, sizeof(c->hostnqn));
	strlcpy(c->address, admin->remote_address, sizeof(c->address));
	c->admin = admin;
	c->map = ns_map_create(c);
	if (!c->map || (s->discovery && discovery_init(c))) {
		free(c->map);
		free(c);
		return -ENOMEM;
	}
	t->by_cntlid[cntlid] = c;
	c->in_capsule_len = announced_in_capsule_len(s, &admin->port);
	c->nqueues = max_queues(s);
	settings_reset(&c->settings);
	TAILQ_INIT(&c->aers);
	LIST_INIT(&c->queues);
	ev_timer_init(&c->kato_timer, on_kato, 0, 0);
	c->kato_timer.data = c;
	c->refs = 1;
	LIST_INSERT_HEAD(&s->controllers, c, entry);
	s->ncreated++;
	restart_changed(t);
	*ret_ctrl = c;
	return 0;
}

void controller_put(struct controller *c)
{
	if (--c->refs)
		return;
	log_event(JOURNAL_HOST_GONE,
		  LOG_FIELDS(.hostnqn = c->hostnqn, .peer = c->address, .nqn = c->subsys->nqn,
			     .cntlid = c->cntlid),
		  "controller %u: gone, of host %s", c->cntlid, c->hostnqn);
	ev_timer_stop(control_reactor(c->target)->loop, &c->kato_timer);
	c->target->by_cntlid[c->cntlid] = NULL;
	LIST_REMOVE(c, entry);
	restart_changed(c->target);
	subsystem_end_if_unused(c->subsys);
	discovery_fini(c);
	free(c->map);
	free(c);
}

static void end_queues(struct controller *c, void (*end)(struct nvmf_queue *q))
{
	struct nvmf_queue *q, *next;

	LIST_FOREACH_SAFE (q, &c->queues, entry, next)
		end(q);
	if (c->admin)
		end(c->admin);
}

void controller_disconnect(struct controller *c)
{
	end_queues(c, nvmf_queue_disconnect);
}

void controller_leave(struct controller *c)
{
	end_queues(c, nvmf_queue_leave);
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

unsigned int target_nhosts(const struct target *t)
{
	const char **names;
	const struct controller *c;
	unsigned int n = 0, nhosts = 0;

	for (size_t i = 1; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry)
			n++;
	names = n ? calloc(n, sizeof(names[0])) : NULL;
	if (!names)
		return n; /* no memory: controllers, then */
	n = 0;
	for (size_t i = 1; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry)
			names[n++] = c->hostnqn;
	qsort(names, n, sizeof(names[0]), by_name);
	for (unsigned int i = 0; i < n; i++)
		nhosts += i == 0 || strcmp(names[i - 1], names[i]) != 0;
	free(names);
	return nhosts;
}

/* As if the NVM subsystem was shut down: Base 2.1, 3.6.3. */
void target_shut_down(struct target *t, bool complete)
{
	struct controller *c;

	__atomic_store_n(&t->stopping, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry) {
			c->csts &= ~CSTS_SHST_MASK;
			c->csts |= CSTS_ST | (complete ? CSTS_SHST_DONE : CSTS_SHST_BUSY);
		}
}

/* The period is rounded up to the granularity (KAS); a command in it re-arms (TBKAS), so the host
 * is dropped between one and two periods of silence after its last command. A discovery controller
 * without keep alive is no persistent connection and ends when it is idle. */
void controller_start_keep_alive(struct controller *c, uint32_t kato_ms)
{
	struct ev_loop *loop = control_reactor(c->target)->loop;
	uint32_t limit = c->target->conf->keep_alive_max_ms;
	uint32_t unit = KAS_100MS * 100;

	if (limit && ((kato_ms == 0 && !c->subsys->discovery) || kato_ms > limit))
		kato_ms = limit;
	if (kato_ms > UINT32_MAX - unit)
		kato_ms = UINT32_MAX - unit;
	c->kato_ms = (kato_ms + unit - 1) / unit * unit;
	__atomic_store_n(&c->admin->alive, true, __ATOMIC_RELAXED);
	ev_timer_stop(loop, &c->kato_timer);
	c->kato_timer.repeat = c->kato_ms / 1e3;
	if (!c->kato_ms && c->subsys->discovery)
		c->kato_timer.repeat = DISCOVERY_IDLE_S;
	if (c->kato_timer.repeat > 0) {
		ev_timer_again(loop, &c->kato_timer);
	}
}

/* ---- queues -----------------------------------------------------------------------------------
 */

static void on_connect_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct nvmf_queue *q = w->data;

	(void)loop;
	(void)revents;
	reactor_timer_stop(q->reactor, w);
	__atomic_fetch_add(&q->target->events.connect_timeouts, 1, __ATOMIC_RELAXED);
	log_peer(LOG_LEVEL_WARNING, q->remote_address,
		 "connection from %s sent no Connect command in %d s, disconnecting",
		 q->remote_address, CONNECT_TIMEOUT_S);
	q->ops->disconnect(q);
}

void nvmf_queue_init(struct nvmf_queue *q)
{
	q->state = QUEUE_WAIT_CONNECT;
	q->ctrl = NULL;
	q->subsys = NULL;
	q->map = NULL;
	q->fusing = FUSING_NONE;
	q->fused_first = NULL;
	TAILQ_INIT(&q->half_pairs);
	q->auth = NULL;
	q->unauthenticated = false;
	q->alive = false;
	q->disconnect_posted = false;
	q->leave_posted = false;
	q->errors = (struct error_fifo){ 0 };
	q->sqsize = 0;
	q->sqhd = 0;
	q->sqflow_disabled = false;
	reactor_timer_start(q->reactor, &q->connect_timer, on_connect_timeout, CONNECT_TIMEOUT_S,
			    q);
}

void nvmf_queue_close(struct nvmf_queue *q)
{
	if (q->state == QUEUE_CLOSING)
		return;
	q->state = QUEUE_CLOSING;
	fused_close(q);
	reactor_timer_stop(q->reactor, &q->connect_timer);
	if (is_admin(q) && q->ctrl) {
		ev_timer_stop(q->reactor->loop, &q->ctrl->kato_timer);
		events_reset(q->ctrl, NVME_ABORTED_SQ_DELETION);
	}
}

static void disconnect_here(struct message *m)
{
	struct nvmf_queue *q =
		(void *)((uint8_t *)m - offsetof(struct nvmf_queue, disconnect_message));

	q->ops->disconnect(q);
}

void nvmf_queue_disconnect(struct nvmf_queue *q)
{
	if (reactor_is_current(q->reactor)) {
		q->ops->disconnect(q);
	} else if (!q->disconnect_posted) {
		q->disconnect_posted = true;
		q->disconnect_message.run = disconnect_here;
		reactor_post(q->reactor, &q->disconnect_message);
	}
}

static void on_leave_second(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct nvmf_queue *q = w->data;
	bool stopping = __atomic_load_n(&q->target->stopping, __ATOMIC_RELAXED);

	(void)loop;
	(void)revents;
	if (++q->leaving_s < (stopping ? LEAVE_STOPPING_S : LEAVE_S))
		return;
	reactor_timer_stop(q->reactor, w);
	q->ops->disconnect(q);
}

static void leave_here(struct message *m)
{
	struct nvmf_queue *q = (void *)((uint8_t *)m - offsetof(struct nvmf_queue, leave_message));

	if (q->state == QUEUE_LEAVING || q->state == QUEUE_CLOSING)
		return;
	q->state = QUEUE_LEAVING;
	q->leaving_s = 0;
	reactor_timer_start(q->reactor, &q->connect_timer, on_leave_second, 1, q);
}

void nvmf_queue_leave(struct nvmf_queue *q)
{
	if (!is_admin(q) && q->ctrl && q->ctrl->settled) {
		nvmf_queue_disconnect(q);
	} else if (reactor_is_current(q->reactor)) {
		leave_here(&q->leave_message);
	} else if (!q->leave_posted) {
		q->leave_posted = true;
		q->leave_message.run = leave_here;
		reactor_post(q->reactor, &q->leave_message);
	}
}

uint16_t nvmf_queue_cntlid(const struct nvmf_queue *q)
{
	return q->ctrl ? q->ctrl->cntlid : 0;
}

uint8_t nvmf_queue_part(const struct nvmf_queue *q)
{
	return q->ctrl ? q->ctrl->part : 0;
}

void nvmf_queue_fini(struct nvmf_queue *q)
{
	struct controller *c = q->ctrl;

	assert(q->state == QUEUE_CLOSING);
	auth_end(q);
	if (!c)
		return;
	q->ctrl = NULL;
	if (c->admin == q) {
		c->admin = NULL;
		controller_disconnect(c); /* no controller without its admin queue */
	} else {
		LIST_REMOVE(q, entry);
		c->io[q->qid] = NULL;
		io_queue_gone(c);
	}
	controller_put(c);
}

/* ---- commands that are about the controller itself ---------------------------------------------
 */

void keep_alive(struct nvmf_req *req)
{
	const struct controller *c = req->queue->ctrl;

	nvmf_req_complete(req, c->kato_ms ? NVME_OK : NVME_KATO_INVALID | NVME_DNR);
}
