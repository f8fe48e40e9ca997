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

struct protecting {
	struct drain drain; /* first */
	struct namespace *ns;
	struct nvmf_req *req;
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

/* The namespace may be gone. */
static void flushed(struct uring_op *op, int res)
{
	struct nvmf_req *req = (void *)((uint8_t *)op - offsetof(struct nvmf_req, op));

	nvmf_req_complete(req, res < 0 ? backend_status(res, true) : NVME_OK);
}

static void drained(struct drain *d)
{
	struct protecting *p = (struct protecting *)d;
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

/* The file's text is for people only. */
static int save(const struct namespace *ns, bool on)
{
	const char *dir = ns->target->conf->state_dir, *why;
	struct state_file name = namespace_state_file(ns, "write-protected");
	char text[CONFIG_NQN_MAX + 64];
	int n = snprintf(text, sizeof(text), "namespace %u of %s is write-protected\n", ns->nsid,
			 ns->subsys->nqn);
	int err = on ? durable_replace(dir, name.text, text, (size_t)n, &why)
		     : durable_remove(dir, name.text, &why);

	if (err)
		log_error("write protection of namespace %u of %s: %s/%s: %s: %s; not changed",
			  ns->nsid, ns->subsys->nqn, dir, name.text, why, strerror(-err));
	return err;
}

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

void namespace_protect(struct namespace *ns, bool on, struct nvmf_req *req)
{
	struct protecting *p = NULL;

	if (on) {
		p = calloc(1, sizeof(*p));
		if (!p) {
			nvmf_req_complete(req, NVME_INTERNAL_ERROR);
			return;
		}
	}
	if (on != ns->write_protected) {
		if (save(ns, on)) {
			free(p);
			nvmf_req_complete(req, NVME_INTERNAL_ERROR);
			return;
		}
		ns->write_protected = on;
		tell_reactors(ns);
		tell_hosts(ns, req->queue->ctrl);
		log_info("namespace %u of %s: %s by host %s", ns->nsid, ns->subsys->nqn,
			 on ? "write-protected" : "made writable", req->queue->ctrl->hostnqn);
	}
	if (!on) {
		nvmf_req_complete(req, NVME_OK);
		return;
	}
	*p = (struct protecting){ .drain.done = drained, .ns = ns, .req = req };
	namespace_drain(ns, &p->drain);
}
