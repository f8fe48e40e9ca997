/* The control socket's question about queue pairs. */
#include "target/core.h"
#include "target/daemon/control_call.h"
#include "target/daemon/daemon.h"
#include "transport/transport.h"

#include <errno.h>
#include <stdlib.h>

static const char *queue_state(const struct transport_queue *q)
{
	switch (q->queue_state) {
	case QUEUE_WAIT_CONNECT:
		return "connecting";
	case QUEUE_LIVE:
		return q->queue->unauthenticated ? "authenticating" : q->state;
	case QUEUE_LEAVING:
	case QUEUE_CLOSING:
		return "ending";
	}
	return "?";
}

static void put_queue(struct json_object *o, const struct transport_queue *q, bool detail)
{
	const struct controller *c = q->queue->ctrl;

	put_number(o, "controller", nvmf_queue_cntlid(q->queue));
	put_number(o, "queue", q->queue->qid);
	put_text(o, "state", queue_state(q));
	put_number(o, "reactor", q->queue->reactor->opts.index);
	put_number(o, "entries", q->entries);
	put_number(o, "busy", q->busy);
	put_number(o, "pending", q->pending);
	put_number(o, "memory", q->queue->memory);
	put_text(o, "address", q->queue->remote_address);
	put_text(o, "rnic", q->rnic);
	put_number(o, "port", q->queue->port.id);
	put_text(o, "host", c ? c->hostnqn : NULL);
	put_text(o, "subsystem", c ? c->subsys->nqn : NULL);
	put_number(o, "path_mtu", q->path_mtu);
	put_number(o, "capsules", q->capsules);
	put_number(o, "requests", q->requests);
	if (!detail)
		return;
	put_text(o, "local_address", q->queue->local_address);
	put_number(o, "waiting_memory", q->waiting_memory);
	put_number(o, "transferring", q->transferring);
	put_number(o, "executing", q->executing);
	put_number(o, "answering", q->answering);
}

static int by_controller(const void *a, const void *b)
{
	const struct transport_queue *qa = a, *qb = b;
	unsigned int ca = nvmf_queue_cntlid(qa->queue), cb = nvmf_queue_cntlid(qb->queue);

	if (ca != cb)
		return ca < cb ? -1 : 1;
	return (qa->queue->qid > qb->queue->qid) - (qa->queue->qid < qb->queue->qid);
}

int control_queues(struct control_call *call)
{
	uint64_t cntlid = 0, qid = 0;
	bool one = control_number(call, "queue", &qid);
	struct transport_queue *queues;
	size_t n;
	int err;

	if (!control_number(call, "controller", &cntlid)) {
		if (one)
			return control_refuse(call, -EINVAL, "\"queue\" needs \"controller\" too");
		err = transport_list_queues(call->daemon->transport, -1, -1, &queues, &n);
	} else {
		if (!target_has_controller(call->daemon->target, (uint16_t)cntlid))
			return control_refuse(
				call, -ENOENT,
				"no controller %u; `nvmf-p2pctl controllers` lists them",
				(unsigned int)cntlid);
		err = transport_list_queues(call->daemon->transport, (int)cntlid,
					    one ? (int)qid : -1, &queues, &n);
	}
	if (err)
		return err;
	if (one && n == 0) {
		free(queues);
		return control_refuse(call, -ENOENT, "controller %u has no queue %u",
				      (unsigned int)cntlid, (unsigned int)qid);
	}
	qsort(queues, n, sizeof(queues[0]), by_controller);
	call->result = json_object_new_array();
	for (size_t i = 0; i < n; i++)
		put_queue(add_object(call->result), &queues[i], one);
	free(queues);
	return 0;
}
