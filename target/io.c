/* Read, Write, Flush: NVM Command Set 1.1, 3.3. */
#include "target/core.h"

#include <errno.h>

static uint64_t slba_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw10) | (uint64_t)get32(req->sqe->cdw11) << 32;
}

uint16_t rw_length(struct nvmf_req *req, uint32_t *ret_len)
{
	const struct namespace *ns = req->ns;
	uint32_t nlb = (get32(req->sqe->cdw12) & 0xffff) + 1;
	uint64_t len = (uint64_t)nlb << ns->lba_shift, size = ns_nlb(ns);

	if (nlb > size || slba_of(req) > size - nlb)
		return NVME_LBA_OUT_OF_RANGE | NVME_DNR;
	if (len > req->queue->target->mdts_len)
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_len = (uint32_t)len;
	return NVME_OK;
}

void rw_execute(struct nvmf_req *req)
{
	struct backend *b = req->ns->backend;
	bool fua = get32(req->sqe->cdw12) >> 30 & 1;

	b->ops->rw(b, req, slba_of(req) << req->ns->lba_shift, fua);
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
