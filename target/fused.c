/*
 * Compare and Write, fused: Base 2.1, 3.4.2; NVM Command Set 1.1, 3.1.
 *
 *      first is checked --> second is checked: a pair   (anything else: the first is aborted)
 *           both have arrived, their data too
 *      lock the blocks (control thread) --> Compare --> Write, or abort --> unlock
 *
 * The pair is not counted as in flight while it waits for the lock, or the lock would wait for it.
 * Whoever takes the namespace away waits for the locks too.
 */
#include "target/core.h"

#include <stdlib.h>

/* ---- finding the pair ---------------------------------------------------------------------------
 */

/* @req will not be executed: completed now, or as soon as its data has arrived. */
static void abandon(struct nvmf_req *req, uint16_t status)
{
	if (req->arrived)
		nvmf_req_complete(req, status);
	else
		req->fuse_status = status;
}

static uint16_t check_first(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *q = req->queue;

	if (!status && req->cmd->execute != compare_execute)
		status = NVME_INVALID_FIELD | NVME_DNR;
	if (!status && nlb_of(req) > FUSED_BLOCKS_MAX)
		status = NVME_ATOMIC_WRITE_UNIT_EXCEEDED | NVME_DNR;
	q->fusing = status ? FUSING_FAILED : FUSING_FIRST;
	if (status)
		return status;
	q->fused_first = req;
	req->fuse = SQE_FUSE_FIRST;
	return NVME_OK;
}

static uint16_t check_second(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *q = req->queue;
	struct nvmf_req *first = q->fused_first;
	enum nvmf_fusing before = q->fusing;

	q->fusing = FUSING_NONE;
	q->fused_first = NULL;
	if (before == FUSING_NONE)
		return NVME_ABORTED_MISSING_FUSED;
	if (before == FUSING_FAILED)
		return NVME_ABORTED_FAILED_FUSED;
	if (!status && (req->cmd->execute != write_execute || req->ns != first->ns ||
			slba_of(req) != slba_of(first) || nlb_of(req) != nlb_of(first)))
		status = NVME_INVALID_FIELD | NVME_DNR;
	if (status) {
		abandon(first, NVME_ABORTED_FAILED_FUSED);
		return status;
	}
	req->fuse = SQE_FUSE_SECOND;
	req->partner = first;
	first->partner = req;
	return NVME_OK;
}

uint16_t fused_check(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *q = req->queue;
	uint8_t fuse = req->sqe->flags & SQE_FUSE_MASK;

	if (is_admin(q))
		return status ? status : NVME_INVALID_FIELD | NVME_DNR;
	if (fuse == SQE_FUSE_SECOND)
		return check_second(req, status);
	if (q->fusing == FUSING_FIRST)
		abandon(q->fused_first, NVME_ABORTED_MISSING_FUSED);
	q->fusing = FUSING_NONE;
	q->fused_first = NULL;
	if (fuse == SQE_FUSE_FIRST)
		return check_first(req, status);
	return fuse ? NVME_INVALID_FIELD | NVME_DNR : status;
}

/* ---- running it ---------------------------------------------------------------------------------
 */

static void unlock(struct message *m)
{
	struct range_lock *l = (void *)((uint8_t *)m - offsetof(struct range_lock, message));

	range_unlock(l);
	free(l);
}

/* In the queue's reactor: the blocks are ours. What may have changed while we waited for them is
 * looked at again. */
static void run_pair(struct message *m)
{
	struct nvmf_req *first = req_of(m);
	uint16_t status = nvmf_req_gate(first);

	nvmf_req_count(first);
	nvmf_req_count(first->partner);

	if (!status)
		status = nvmf_req_gate(first->partner);
	if (first->queue->state == QUEUE_CLOSING)
		status = NVME_ABORTED_SQ_DELETION;
	if (status)
		nvmf_req_complete(first, status);
	else
		first->cmd->execute(first);
}

static void held(struct range_lock *l)
{
	l->owner->message.run = run_pair;
	reactor_post(l->owner->queue->reactor, &l->owner->message);
}

/* In the control thread. */
static void lock_pair(struct message *m)
{
	struct nvmf_req *first = req_of(m);
	struct range_lock *l = calloc(1, sizeof(*l));

	if (!l) {
		nvmf_req_answer(first, NVME_INTERNAL_ERROR);
		return;
	}
	*l = (struct range_lock){ .ns = first->ns,
				  .slba = slba_of(first),
				  .nlb = nlb_of(first),
				  .owner = first,
				  .held = held };
	first->lock = first->partner->lock = l;
	range_lock(l);
}

void fused_execute(struct nvmf_req *req)
{
	struct nvmf_queue *q = req->queue;
	struct nvmf_req *first = req->fuse == SQE_FUSE_FIRST ? req : req->partner;

	req->arrived = true;
	if (req->fuse_status) {
		nvmf_req_complete(req, req->fuse_status);
		return;
	}
	if (!req->partner || !req->partner->arrived) {
		TAILQ_INSERT_TAIL(&q->half_pairs, req, entry);
		req->parked = true;
		return;
	}
	TAILQ_REMOVE(&q->half_pairs, req->partner, entry);
	req->partner->parked = false;
	first->message.run = lock_pair;
	reactor_post(control_reactor(q->target), &first->message);
	/* only now, so that who waits for the namespace to be idle hears of the lock before */
	nvmf_req_uncount(first);
	nvmf_req_uncount(first->partner);
}

/* ---- its end ------------------------------------------------------------------------------------
 */

static void leave(struct nvmf_req *req)
{
	struct nvmf_queue *q = req->queue;

	if (req->parked)
		TAILQ_REMOVE(&q->half_pairs, req, entry);
	if (q->fused_first == req) {
		q->fused_first = NULL;
		q->fusing = FUSING_FAILED;
	}
	req->parked = req->arrived = false;
	req->fuse_status = NVME_OK;
	req->fuse = 0;
}

/* @req will be answered with @status right after this: what becomes of the other? */
struct nvmf_req *fused_ended(struct nvmf_req *req)
{
	struct nvmf_req *partner = req->partner;
	struct range_lock *lock = req->lock;
	bool first = req->fuse == SQE_FUSE_FIRST;

	leave(req);
	req->partner = NULL;
	req->lock = NULL;
	if (partner)
		partner->partner = NULL;
	if (lock && !first) {
		lock->message.run = unlock;
		reactor_post(control_reactor(req->queue->target), &lock->message);
	}
	return partner;
}

void fused_go_on(struct nvmf_req *partner, uint16_t status)
{
	if (status)
		abandon(partner, NVME_ABORTED_FAILED_FUSED);
	else
		partner->cmd->execute(partner);
}

void fused_close(struct nvmf_queue *q)
{
	struct nvmf_req *req;

	while ((req = TAILQ_FIRST(&q->half_pairs)))
		nvmf_req_complete(req, NVME_ABORTED_SQ_DELETION);
}
