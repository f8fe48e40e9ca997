/* Read, Write, Flush: NVM Command Set 1.1, 3.3. What takes several I/Os: io_steps.c. */
#include "target/core.h"

#include <errno.h>

uint16_t check_range(const struct namespace *ns, uint64_t slba, uint64_t nlb)
{
	uint64_t size = ns_nlb(ns);

	return nlb > size || slba > size - nlb ? NVME_LBA_OUT_OF_RANGE | NVME_DNR : NVME_OK;
}

uint16_t rw_length(struct nvmf_req *req, uint32_t *ret_len)
{
	uint64_t len = (uint64_t)nlb_of(req) << req->ns->lba_shift;
	uint16_t status = check_range(req->ns, slba_of(req), nlb_of(req));

	if (status)
		return status;
	if (len > req->queue->target->mdts_len)
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_len = (uint32_t)len;
	return NVME_OK;
}

/* A directive (DTYPE) is refused, because none is supported. */
uint16_t write_length(struct nvmf_req *req, uint32_t *ret_len)
{
	if (get32(req->sqe->cdw12) >> 20 & 0xf)
		return NVME_INVALID_FIELD | NVME_DNR;
	return rw_length(req, ret_len);
}

void write_execute(struct nvmf_req *req)
{
	struct backend *b = req->ns->backend;

	b->ops->rw(b, req, slba_of(req) << req->ns->lba_shift, fua_of(req));
}

static void read_medium(struct uring_op *op, int res)
{
	struct nvmf_req *req = (void *)((uint8_t *)op - offsetof(struct nvmf_req, op));
	struct backend *b = req->ns->backend;

	if (res < 0)
		nvmf_req_complete(req, backend_status(res, false));
	else
		b->ops->rw(b, req, slba_of(req) << req->ns->lba_shift, false);
}

/* With FUA it comes from the medium, so what a volatile cache holds is written there before: NVM
 * 1.1, 3.3.4. */
void read_execute(struct nvmf_req *req)
{
	struct backend *b = req->ns->backend;

	if (!fua_of(req) || !b->info.write_cache) {
		b->ops->rw(b, req, slba_of(req) << req->ns->lba_shift, false);
		return;
	}
	req->op.done = read_medium;
	b->ops->step(b, req->queue->reactor, &req->op, STEP_FLUSH, NULL, 0, 0);
}

void flush_execute(struct nvmf_req *req)
{
	struct backend *b = req->ns->backend;

	if (b->info.write_cache)
		b->ops->flush(b, req);
	else
		nvmf_req_complete(req, NVME_OK);
}

/*
 * What an I/O in a CMB says when it is the CMB and not the drive: the pages are gone (EFAULT), the
 * drive cannot reach them (EINVAL since 6.17, EREMOTEIO before), or one of the two is being taken
 * away (EIO, ENODEV). EIO may be the medium too, but then host memory will say so again.
 */
bool io_retry_in_host_memory(struct nvmf_req *req, int err)
{
	struct ns_shard *shard = shard_of(req);

	if (!stage_is_cmb(req->place) || (err != -EFAULT && err != -EINVAL && err != -EREMOTEIO &&
					  err != -EIO && err != -ENODEV))
		return false;
	if ((err == -EINVAL || err == -EREMOTEIO) &&
	    stage_view_drop(&shard->stage.view, req->place))
		__atomic_fetch_or(&shard->failed, UINT32_C(1) << req->place, __ATOMIC_RELAXED);
	target_tell_trouble(req->queue->target);
	req->queue->ops->restage(req);
	return true;
}
