/* Get and Set Features: Base 2.1, 5.1.11, 5.1.25. */
#include "target/core.h"

struct feature {
	const char *name;
	bool discovery;
	/* dw0 of the answer */
	uint32_t (*get)(const struct controller *c);
	/* NULL: not changeable. @ret_dw0 is 0 unless the feature answers more. */
	uint16_t (*set)(struct controller *c, uint32_t dw11, uint32_t *ret_dw0);
};

static uint32_t get_write_cache(const struct controller *c)
{
	const struct namespace *ns;

	FOR_EACH_NAMESPACE (c->subsys, ns)
		if (ns->backend->info.write_cache)
			return 1;
	return 0;
}

static uint32_t get_queues(const struct controller *c)
{
	return (uint32_t)(c->nqueues - 1) | (uint32_t)(c->nqueues - 1) << 16;
}

/* Number of Queues: FFFFh is not allowed, and it cannot change once I/O queues exist. */
static uint16_t set_queues(struct controller *c, uint32_t dw11, uint32_t *ret_dw0)
{
	uint32_t nsq_z = dw11 & 0xffff, ncq_z = dw11 >> 16;

	if (nsq_z == 0xffff || ncq_z == 0xffff)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (!LIST_EMPTY(&c->queues))
		return NVME_COMMAND_SEQUENCE | NVME_DNR;
	c->nqueues = max_queues(c->subsys);
	if (nsq_z < c->nqueues)
		c->nqueues = (uint16_t)(nsq_z + 1);
	*ret_dw0 = get_queues(c);
	return NVME_OK;
}

static uint32_t get_async_config(const struct controller *c)
{
	return c->aec;
}

static uint16_t set_async_config(struct controller *c, uint32_t dw11, uint32_t *ret_dw0)
{
	(void)ret_dw0;
	if (dw11 & ~events_supported(c))
		return NVME_INVALID_FIELD | NVME_DNR;
	c->aec = dw11;
	return NVME_OK;
}

static uint32_t get_keep_alive(const struct controller *c)
{
	return c->kato_ms;
}

static uint16_t set_keep_alive(struct controller *c, uint32_t dw11, uint32_t *ret_dw0)
{
	(void)ret_dw0;
	controller_start_keep_alive(c, dw11);
	return NVME_OK;
}

static const struct feature features[256] = {
	[0x06] = { "write-cache", false, get_write_cache, NULL },
	[0x07] = { "num-queues", false, get_queues, set_queues },
	[0x0b] = { "async-event-config", true, get_async_config, set_async_config },
	[0x0f] = { "keep-alive", true, get_keep_alive, set_keep_alive },
};

static const struct feature *find_feature(const struct nvmf_req *req)
{
	const struct feature *f = &features[get32(req->sqe->cdw10) & 0xff];

	return f->get && (f->discovery || !req->queue->ctrl->subsys->discovery) ? f : NULL;
}

void get_features(struct nvmf_req *req)
{
	const struct feature *f = find_feature(req);
	uint32_t sel = get32(req->sqe->cdw10) >> 8 & 7;

	if (!f || sel != 0) { /* current values only */
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
		return;
	}
	req->cqe.dw0 = put32(f->get(req->queue->ctrl));
	nvmf_req_complete(req, NVME_OK);
}

void set_features(struct nvmf_req *req)
{
	const struct feature *f = find_feature(req);
	uint32_t dw0 = 0;
	uint16_t status;

	if (!f)
		status = NVME_INVALID_FIELD | NVME_DNR;
	else if (get32(req->sqe->cdw10) >> 31)
		status = NVME_FEATURE_NOT_SAVEABLE | NVME_DNR;
	else if (!f->set)
		status = NVME_FEATURE_NOT_CHANGEABLE | NVME_DNR;
	else
		status = f->set(req->queue->ctrl, get32(req->sqe->cdw11), &dw0);
	req->cqe.dw0 = put32(dw0);
	nvmf_req_complete(req, status);
}
