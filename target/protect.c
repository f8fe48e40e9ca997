/*
 * Write protection of a namespace (feature 84h): Base 2.1, 8.1.16.
 *
 * Every reactor has its own copy of the state, so that a command looks at memory of its own. What
 * was accepted before the state changed is waited for and then flushed. The state survives a power
 * loss: a file in state_dir says that the namespace is protected.
 */
#include "target/core.h"
#include "target/durable.h"
#include "target/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A host's command: from the disk to the last write before it. Its request is counted as in flight
 * on the namespace, which so outlives it. */
struct protecting {
	struct durable_job job; /* first */
	struct drain drain;
	struct namespace *ns;
	struct nvmf_req *req;
	bool on;
	char text[CONFIG_NQN_MAX + 64]; /* of the file; for people only */
	STAILQ_ENTRY(protecting) entry;
};

struct order {
	struct ns_shard *shard;
	bool on;
};

static void take_order(void *arg)
{
	const struct order *o = arg;

	o->shard->write_protected = o->on;
}

static void tell_reactors(struct namespace *ns)
{
	const struct reactors *reactors = ns->target->reactors;

	for (unsigned int i = 0; i < reactors->n; i++) {
		struct order o = { &ns->shard[i], ns->write_protected };

		reactor_call(reactors->r[i], take_order, &o);
	}
}

static void tell_hosts(const struct namespace *ns, const struct controller *but)
{
	struct controller *c;

	LIST_FOREACH (c, &ns->subsys->controllers, entry)
		if (c != but && ns_map_find(c->map, ns->nsid))
			controller_ns_changed(c, ns->nsid);
}

static void flushed(struct uring_op *op, int res)
{
	struct nvmf_req *req = (void *)((uint8_t *)op - offsetof(struct nvmf_req, op));

	nvmf_req_complete(req, res < 0 ? backend_status(res, true) : NVME_OK);
}

static void drained(struct drain *d)
{
	struct protecting *p = (void *)((uint8_t *)d - offsetof(struct protecting, drain));
	struct backend *b = p->ns->backend;
	struct nvmf_req *req = p->req;

	free(p);
	if (!b->info.write_cache) {
		nvmf_req_complete(req, NVME_OK);
		return;
	}
	req->op.done = flushed;
	b->ops->step(b, req->queue->reactor, &req->op, STEP_FLUSH, NULL, 0, 0);
}

/* ---- over a restart -----------------------------------------------------------------------------
 */

int namespace_protect_open(struct namespace *ns, struct config_diag *diag)
{
	const char *dir = ns->target->conf->state_dir;
	struct state_file name = namespace_state_file(ns, "write-protected");
	char byte;
	ssize_t n = durable_read(dir, name.text, &byte, sizeof(byte));

	if (n == -ENOENT)
		return 0;
	if (n < 0) {
		*diag = (struct config_diag){ 0 };
		snprintf(diag->file, sizeof(diag->file), "%s/%s", dir, name.text);
		snprintf(diag->what, sizeof(diag->what),
			 "cannot see if namespace %u of %s is write-protected: %s", ns->nsid,
			 ns->subsys->nqn, strerror((int)-n));
		snprintf(diag->fix, sizeof(diag->fix), "let the daemon read that folder");
		return (int)n;
	}
	ns->write_protected = true;
	for (unsigned int i = 0; i < ns->target->reactors->n; i++) /* nobody knows them yet */
		ns->shard[i].write_protected = true;
	log_info("namespace %u of %s: write-protected", ns->nsid, ns->subsys->nqn);
	return 0;
}

/* ---- the command -------------------------------------------------------------------------------
 *
 * One change of a namespace at a time, in the order of the commands: the worker has it on the disk,
 * then it is in force, then what came before it is waited for, then the host is answered.
 */

static void take_effect(struct protecting *p)
{
	struct namespace *ns = p->ns;

	ns->write_protected = p->on;
	tell_reactors(ns);
	tell_hosts(ns, p->req->queue->ctrl);
	log_info("namespace %u of %s: %s by host %s", ns->nsid, ns->subsys->nqn,
		 p->on ? "write-protected" : "made writable", p->req->queue->ctrl->hostnqn);
}

static void answer(struct protecting *p, uint16_t status)
{
	struct nvmf_req *req = p->req;

	if (!status && p->on) {
		p->drain = (struct drain){ .done = drained, .but = req };
		namespace_drain(p->ns, &p->drain);
		return;
	}
	free(p);
	nvmf_req_complete(req, status);
}

static void kept(struct task *task);

/* Return: NVME_LATER: the disk is waited for. */
static uint16_t begin(struct protecting *p)
{
	struct namespace *ns = p->ns;
	int len;

	if (p->on == ns->write_protected)
		return NVME_OK;
	if (target_start_worker(ns->target))
		return NVME_INTERNAL_ERROR;
	len = snprintf(p->text, sizeof(p->text), "namespace %u of %s is write-protected\n",
		       ns->nsid, ns->subsys->nqn);
	durable_later(ns->target->worker, &p->job, ns->target->conf->state_dir,
		      namespace_state_file(ns, "write-protected").text, p->on ? p->text : NULL,
		      (size_t)len, kept);
	return NVME_LATER;
}

/* The last answer may free the namespace. */
static void go_on(struct namespace *ns)
{
	struct protecting *p = STAILQ_FIRST(&ns->protecting), *next;
	uint16_t status;

	while (p) {
		status = begin(p);
		if (status == NVME_LATER)
			return;
		next = STAILQ_NEXT(p, entry);
		STAILQ_REMOVE_HEAD(&ns->protecting, entry);
		answer(p, status);
		p = next;
	}
}

static void kept(struct task *task)
{
	struct protecting *p = (struct protecting *)task;
	struct namespace *ns = p->ns;
	bool more;

	STAILQ_REMOVE_HEAD(&ns->protecting, entry);
	more = !STAILQ_EMPTY(&ns->protecting);
	if (p->job.err)
		log_error("write protection of namespace %u of %s: %s/%s: %s: %s; not changed",
			  ns->nsid, ns->subsys->nqn, p->job.dir, p->job.name, p->job.why,
			  strerror(-p->job.err));
	else
		take_effect(p);
	answer(p, p->job.err ? NVME_INTERNAL_ERROR : NVME_OK);
	if (more)
		go_on(ns);
}

void namespace_protect(struct namespace *ns, bool on, struct nvmf_req *req)
{
	struct protecting *p = calloc(1, sizeof(*p));
	bool idle = STAILQ_EMPTY(&ns->protecting);

	if (!p) {
		nvmf_req_complete(req, NVME_INTERNAL_ERROR);
		return;
	}
	p->ns = ns;
	p->req = req;
	p->on = on;
	req->ns = ns;
	nvmf_req_count(req);
	STAILQ_INSERT_TAIL(&ns->protecting, p, entry);
	if (idle)
		go_on(ns);
}
