/*
 * Abort: Base 2.1, 5.1.1.
 *
 * The queue's reactor looks where commands wait: in the transport for a place to stage their data,
 * and here for locked blocks, for a buffer, or as an asynchronous event request. What is with the
 * drive is left alone: nobody could say how much of it was done.
 */
#include "target/core.h"

#include <libnvme.h>

#define ABORTS_MAX 4 /* ACL + 1 */

static bool abort_in_list(struct nvmf_req_list *list, const struct nvmf_queue *q, uint16_t cid)
{
	struct nvmf_req *req;

	TAILQ_FOREACH (req, list, entry) {
		if (req->queue != q || get16(req->sqe->cid) != cid)
			continue;
		TAILQ_REMOVE(list, req, entry);
		if (req->ns && !req->phase) /* it was parked: range_park() */
			nvmf_req_count(req);
		nvmf_req_complete(req, NVME_ABORT_REQUESTED);
		return true;
	}
	return false;
}

static bool abort_parked(struct nvmf_queue *q, uint16_t cid)
{
	unsigned int reactor = q->reactor->opts.index;

	for (uint32_t nsid = 0; nsid < q->map->n; nsid++) {
		struct namespace *ns = q->map->entry[nsid].ns;

		if (ns && abort_in_list(&ns->shard[reactor].parked, q, cid))
			return true;
	}
	return abort_in_list(works_waiting(q->target->works[reactor]), q, cid);
}

/* Back in the control thread. */
static void answer(struct nvmf_req *req, bool aborted)
{
	req->queue->ctrl->naborts--;
	req->cqe.dw0 = put32(!aborted);
	nvmf_req_complete(req, NVME_OK);
}

static void on_answer(struct message *m)
{
	struct nvmf_req *req = req_of(m);

	answer(req, req->status);
}

/* In the queue's reactor. The queue may be closing; it lives as long as messages that were posted
 * before its end are under way. */
static void on_abort(struct message *m)
{
	struct nvmf_req *req = req_of(m);
	struct nvmf_queue *q = req->other;
	uint16_t cid = (uint16_t)(get32(req->sqe->cdw10) >> 16);

	req->status = q->state == QUEUE_LIVE && (q->ops->abort(q, cid) || abort_parked(q, cid));
	req->message.run = on_answer;
	reactor_post(control_reactor(q->target), &req->message);
}

static bool abort_admin(struct nvmf_queue *q, uint16_t cid)
{
	if (q->ops->abort(q, cid))
		return true;
	if (!abort_in_list(&q->ctrl->aers, q, cid))
		return false;
	q->ctrl->naers--;
	return true;
}

/* No such queue: the command is not there, so it is not aborted. */
void abort_command(struct nvmf_req *req)
{
	struct controller *c = req->queue->ctrl;
	uint32_t cdw10 = get32(req->sqe->cdw10);
	uint16_t sqid = (uint16_t)cdw10, cid = (uint16_t)(cdw10 >> 16);
	struct nvmf_queue *q = sqid <= IO_QUEUES_MAX ? c->io[sqid] : NULL;

	if (c->naborts == ABORTS_MAX) {
		nvmf_req_complete(req, NVME_ABORT_LIMIT | NVME_DNR);
		return;
	}
	c->naborts++;
	if (sqid == 0) {
		answer(req, abort_admin(req->queue, cid));
	} else if (!q) {
		answer(req, false);
	} else {
		req->other = q;
		req->message.run = on_abort;
		reactor_post(q->reactor, &req->message);
	}
}
