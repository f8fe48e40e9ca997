/*
 * Blocks that only one may change: for Compare and Write, and for who takes a namespace away.
 *
 * The control thread grants the locks of a namespace one after the other. To grant one, every
 * reactor is told, so that commands that write these blocks wait from then on, and then what is in
 * flight is waited for. A command that never meets a lock pays for a look at a pointer.
 */
#include "target/core.h"

#include <stdlib.h>

/* Whoever grants the lock waits for what is in flight, and must not wait for this one, which waits
 * for him. */
void range_park(struct nvmf_req *req)
{
	TAILQ_INSERT_TAIL(&shard_of(req)->parked, req, entry);
	nvmf_req_uncount(req);
}

/* What may have changed while it waited is looked at again. */
static void resume(struct nvmf_req *req)
{
	uint16_t status = nvmf_req_gate(req);

	nvmf_req_count(req);
	if (status)
		nvmf_req_complete(req, status);
	else
		nvmf_req_execute(req);
}

struct order {
	struct ns_shard *shard;
	struct range_lock *lock;
};

static void set_lock(void *arg)
{
	const struct order *o = arg;
	struct nvmf_req *req;
	struct nvmf_req_list parked = TAILQ_HEAD_INITIALIZER(parked);

	o->shard->lock = o->lock;
	if (o->lock)
		return;
	TAILQ_CONCAT(&parked, &o->shard->parked, entry);
	while ((req = TAILQ_FIRST(&parked))) {
		TAILQ_REMOVE(&parked, req, entry);
		resume(req);
	}
}

static void tell_reactors(struct namespace *ns, struct range_lock *lock)
{
	const struct reactors *reactors = ns->target->reactors;

	for (unsigned int i = 0; i < reactors->n; i++) {
		struct order o = { &ns->shard[i], lock };

		reactor_call(reactors->r[i], set_lock, &o);
	}
}

static void granted(struct drain *d)
{
	struct range_lock *l = (void *)((uint8_t *)d - offsetof(struct range_lock, drain));

	l->held(l);
}

static void grant(struct range_lock *l)
{
	tell_reactors(l->ns, l);
	l->drain.done = granted;
	namespace_drain(l->ns, &l->drain);
}

void range_lock(struct range_lock *l)
{
	bool first = STAILQ_EMPTY(&l->ns->locks);

	STAILQ_INSERT_TAIL(&l->ns->locks, l, entry);
	if (first)
		grant(l);
}

void range_unlock(struct range_lock *l)
{
	struct namespace *ns = l->ns;

	STAILQ_REMOVE_HEAD(&ns->locks, entry);
	tell_reactors(ns, NULL);
	if (!STAILQ_EMPTY(&ns->locks))
		grant(STAILQ_FIRST(&ns->locks));
}

bool range_locked(const struct nvmf_req *req)
{
	const struct range_lock *l = shard_of(req)->lock;

	if (!l || l->keeps_nobody_out)
		return false;
	/* Dataset Management and Copy have several ranges: they wait for any lock */
	return req->cmd->length == dsm_length || req->cmd->length == copy_length ||
	       (slba_of(req) < l->slba + l->nlb && l->slba < slba_of(req) + nlb_of(req));
}
