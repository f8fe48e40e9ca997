/*
 * Commands that are made of several I/Os: Compare, Verify, Copy, Write Zeroes, Dataset Management.
 * NVM Command Set 1.1, 3.3.
 *
 * Each takes a work: a buffer and the place where it stands. A reactor has a few; who finds none
 * waits in line, so that these commands take no memory from the others.
 */
#include "target/core.h"

#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define WORKS    8            /* of each reactor */
#define WORK_LEN (128u << 10) /* bytes of each one's buffer */

struct work {
	struct uring_op op; /* first */
	struct works *works;
	struct nvmf_req *req;
	uint8_t *buf;
	uint32_t done;      /* bytes of the command, or of the range at hand */
	unsigned int range; /* Copy, Dataset Management: the range at hand */
	uint64_t written;   /* Copy: bytes written in all */
	uint32_t piece;     /* bytes in buf */
	bool flushed;
	STAILQ_ENTRY(work) entry;
};

/* reactor-local */
struct works {
	struct work work[WORKS];
	STAILQ_HEAD(, work) free;
	struct nvmf_req_list waiting;
	uint8_t *mem;
};

/* ---- taking and giving --------------------------------------------------------------------------
 */

static struct works *works_of(const struct nvmf_req *req)
{
	return req->queue->target->works[req->queue->reactor->opts.index];
}

struct nvmf_req_list *works_waiting(struct works *all)
{
	return &all->waiting;
}

static void run(struct nvmf_req *req, struct work *w)
{
	struct works *all = w->works;

	*w = (struct work){ .works = all, .buf = w->buf, .req = req };
	req->run(w);
}

/* Run @fn with a work, now or when one is free. */
static void with_work(struct nvmf_req *req, void (*fn)(struct work *w))
{
	struct works *all = works_of(req);
	struct work *w = STAILQ_FIRST(&all->free);

	req->run = fn;
	if (!w) {
		TAILQ_INSERT_TAIL(&all->waiting, req, entry);
		return;
	}
	STAILQ_REMOVE_HEAD(&all->free, entry);
	run(req, w);
}

static void finish(struct work *w, uint16_t status)
{
	struct works *all = w->works;
	struct nvmf_req *req = w->req, *next = TAILQ_FIRST(&all->waiting);

	if (next) {
		TAILQ_REMOVE(&all->waiting, next, entry);
		run(next, w);
	} else {
		STAILQ_INSERT_HEAD(&all->free, w, entry);
	}
	io_ended(req, status);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static struct work *work_of(struct uring_op *op)
{
	return (struct work *)op;
}

static void step(struct work *w, enum backend_step what, uint64_t offset, uint64_t len,
		 void (*done)(struct uring_op *op, int res))
{
	struct backend *b = w->req->ns->backend;

	w->op.done = done;
	b->ops->step(b, w->req->queue->reactor, &w->op, what, w->buf, offset, len);
}

/* True: the step failed, and the command with it. */
static bool failed(struct work *w, int res, bool write)
{
	if (res < 0)
		finish(w, backend_status(res, write));
	return res < 0;
}

/* As failed(), of reads and writes, which move some bytes unless the device became smaller. */
static bool moved_nothing(struct work *w, int res, bool write)
{
	if (failed(w, res, write))
		return true;
	if (res == 0)
		finish(w, NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	return res == 0;
}

static uint64_t offset_of(const struct nvmf_req *req)
{
	return slba_of(req) << req->ns->lba_shift;
}

static uint64_t range_len(const struct nvmf_req *req)
{
	return (uint64_t)nlb_of(req) << req->ns->lba_shift;
}

static uint32_t next_piece(const struct work *w, uint64_t len)
{
	return len - w->done < WORK_LEN ? (uint32_t)(len - w->done) : WORK_LEN;
}

static void flushed(struct uring_op *op, int res)
{
	struct work *w = work_of(op);

	if (!failed(w, res, true))
		finish(w, NVME_OK);
}

/* All is written; with FUA it must be on the medium too. */
static void finish_write(struct work *w)
{
	if (fua_of(w->req) && w->req->ns->backend->info.write_cache)
		step(w, STEP_FLUSH, 0, 0, flushed);
	else
		finish(w, NVME_OK);
}

/* ---- Compare, Verify ----------------------------------------------------------------------------
 */

static void compare_next(struct work *w);

static void compare_read(struct uring_op *op, int res)
{
	struct work *w = work_of(op);
	const uint8_t *data = w->req->data;

	if (moved_nothing(w, res, false))
		return;
	if (w->req->dir == DATA_H2C && memcmp(w->buf, data + w->done, (size_t)res) != 0) {
		finish(w, NVME_COMPARE_FAILURE | NVME_DNR);
		return;
	}
	w->done += (uint32_t)res;
	compare_next(w);
}

/* Verify is a Compare with nothing. */
static void compare_next(struct work *w)
{
	uint64_t len = range_len(w->req);

	if (w->done == len)
		finish(w, NVME_OK);
	else
		step(w, STEP_READ, offset_of(w->req) + w->done, next_piece(w, len), compare_read);
}

void compare_execute(struct nvmf_req *req)
{
	with_work(req, compare_next);
}

uint16_t no_data_length(struct nvmf_req *req, uint32_t *ret_len)
{
	*ret_len = 0;
	return check_range(req->ns, slba_of(req), nlb_of(req));
}

void verify_execute(struct nvmf_req *req)
{
	with_work(req, compare_next);
}

/* ---- Write Zeroes -------------------------------------------------------------------------------
 */

static void write_zeroes_next(struct work *w);

static void zeroes_written(struct uring_op *op, int res)
{
	struct work *w = work_of(op);

	if (moved_nothing(w, res, true))
		return;
	w->done += (uint32_t)res;
	write_zeroes_next(w);
}

/* Where the device cannot do it by itself. */
static void write_zeroes_next(struct work *w)
{
	uint64_t len = range_len(w->req);

	if (w->done == len)
		finish_write(w);
	else
		step(w, STEP_WRITE, offset_of(w->req) + w->done, next_piece(w, len),
		     zeroes_written);
}

static void zeroed(struct uring_op *op, int res)
{
	struct work *w = work_of(op);

	if (res == -EOPNOTSUPP) {
		memset(w->buf, 0, WORK_LEN);
		write_zeroes_next(w);
	} else if (!failed(w, res, true)) {
		finish_write(w);
	}
}

static void punched(struct uring_op *op, int res)
{
	struct work *w = work_of(op);

	if (res == -EOPNOTSUPP)
		step(w, STEP_ZERO, offset_of(w->req), range_len(w->req), zeroed);
	else if (!failed(w, res, true))
		finish_write(w);
}

static void write_zeroes(struct work *w)
{
	bool deallocate = get32(w->req->sqe->cdw12) >> 25 & 1; /* DEAC */

	step(w, deallocate ? STEP_PUNCH : STEP_ZERO, offset_of(w->req), range_len(w->req),
	     deallocate ? punched : zeroed);
}

void write_zeroes_execute(struct nvmf_req *req)
{
	with_work(req, write_zeroes);
}

/* ---- Dataset Management -------------------------------------------------------------------------
 */

static unsigned int nranges(const struct nvmf_req *req)
{
	return (get32(req->sqe->cdw10) & 0xff) + 1;
}

uint16_t dsm_length(struct nvmf_req *req, uint32_t *ret_len)
{
	*ret_len = nranges(req) * (uint32_t)sizeof(struct nvme_dsm_range);
	return NVME_OK;
}

static void deallocate_next(struct work *w);

/* It is advice: a device that cannot follow it has not failed. */
static void deallocated(struct uring_op *op, int res)
{
	struct work *w = work_of(op);

	if (res == -EOPNOTSUPP) {
		finish(w, NVME_OK);
	} else if (!failed(w, res, true)) {
		w->range++;
		deallocate_next(w);
	}
}

static void deallocate_next(struct work *w)
{
	const struct nvme_dsm_range *ranges = (const void *)w->req->data;
	uint8_t shift = w->req->ns->lba_shift;

	while (w->range < nranges(w->req) && ranges[w->range].nlb == 0)
		w->range++;
	if (w->range == nranges(w->req))
		finish(w, NVME_OK);
	else
		step(w, STEP_DEALLOCATE, le64toh(ranges[w->range].slba) << shift,
		     (uint64_t)le32toh(ranges[w->range].nlb) << shift, deallocated);
}

void dsm_execute(struct nvmf_req *req)
{
	const struct nvme_dsm_range *ranges = (const void *)req->data;

	for (unsigned int i = 0; i < nranges(req); i++) {
		uint16_t status =
			check_range(req->ns, le64toh(ranges[i].slba), le32toh(ranges[i].nlb));

		if (status) {
			nvmf_req_complete(req, status);
			return;
		}
	}
	if (get32(req->sqe->cdw11) & 1 << 2) /* AD: deallocate; the others are hints */
		with_work(req, deallocate_next);
	else
		nvmf_req_complete(req, NVME_OK);
}

/* ---- Copy ---------------------------------------------------------------------------------------
 */

uint16_t copy_length(struct nvmf_req *req, uint32_t *ret_len)
{
	uint32_t cdw12 = get32(req->sqe->cdw12);

	if (cdw12 >> 8 & 0xf) /* descriptor format 0 only */
		return NVME_INVALID_FIELD | NVME_DNR;
	if ((cdw12 & 0xff) > COPY_RANGES_MAX_Z)
		return NVME_CMD_SIZE_LIMIT_EXCEEDED | NVME_DNR;
	*ret_len = ((cdw12 & 0xff) + 1) * (uint32_t)sizeof(struct nvme_copy_range);
	return NVME_OK;
}

static const struct nvme_copy_range *copy_ranges(const struct nvmf_req *req)
{
	return (const void *)req->data;
}

static unsigned int ncopy_ranges(const struct nvmf_req *req)
{
	return (get32(req->sqe->cdw12) & 0xff) + 1;
}

static uint16_t check_copy(const struct nvmf_req *req)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < ncopy_ranges(req); i++) {
		uint32_t nlb = le16toh(copy_ranges(req)[i].nlb) + 1u;
		uint16_t status = check_range(req->ns, le64toh(copy_ranges(req)[i].slba), nlb);

		if (nlb > COPY_RANGE_BLOCKS_MAX)
			return NVME_CMD_SIZE_LIMIT_EXCEEDED | NVME_DNR;
		if (status)
			return status;
		total += nlb;
	}
	if (total > COPY_BLOCKS_MAX)
		return NVME_CMD_SIZE_LIMIT_EXCEEDED | NVME_DNR;
	return check_range(req->ns, slba_of(req), total);
}

static void copy_next(struct work *w);

/* DW0 says how far it came: the first range that was not copied as a whole. */
static bool copy_failed(struct work *w, int res, bool write)
{
	w->req->cqe.dw0 = put32(w->range);
	return moved_nothing(w, res, write);
}

static void copy_wrote(struct uring_op *op, int res)
{
	struct work *w = work_of(op);

	if (copy_failed(w, res, true))
		return;
	if ((uint32_t)res < w->piece) {
		w->piece -= (uint32_t)res;
		memmove(w->buf, w->buf + res, w->piece);
		w->written += (uint32_t)res;
		w->done += (uint32_t)res;
		step(w, STEP_WRITE, offset_of(w->req) + w->written, w->piece, copy_wrote);
		return;
	}
	w->written += (uint32_t)res;
	w->done += (uint32_t)res;
	copy_next(w);
}

static void copy_read(struct uring_op *op, int res)
{
	struct work *w = work_of(op);

	if (copy_failed(w, res, false))
		return;
	w->piece = (uint32_t)res;
	step(w, STEP_WRITE, offset_of(w->req) + w->written, w->piece, copy_wrote);
}

static void copy_next(struct work *w)
{
	const struct nvme_copy_range *range = &copy_ranges(w->req)[w->range];
	uint8_t shift = w->req->ns->lba_shift;
	uint64_t len = (uint64_t)(le16toh(range->nlb) + 1u) << shift;

	if (w->done == len) {
		w->done = 0;
		w->range++;
		range++;
	}
	if (w->range == ncopy_ranges(w->req)) {
		w->req->cqe.dw0 = put32(0);
		finish_write(w);
		return;
	}
	len = (uint64_t)(le16toh(range->nlb) + 1u) << shift;
	step(w, STEP_READ, (le64toh(range->slba) << shift) + w->done, next_piece(w, len),
	     copy_read);
}

void copy_execute(struct nvmf_req *req)
{
	uint16_t status = check_copy(req);

	if (status)
		nvmf_req_complete(req, status);
	else
		with_work(req, copy_next);
}

/* ---- life --------------------------------------------------------------------------------------
 */

int works_create(struct works **ret_works)
{
	struct works *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	/* pages that no command ever needs are never touched */
	all->mem = mmap(NULL, (size_t)WORKS * WORK_LEN, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all->mem == MAP_FAILED) {
		free(all);
		return -ENOMEM;
	}
	STAILQ_INIT(&all->free);
	TAILQ_INIT(&all->waiting);
	for (unsigned int i = 0; i < WORKS; i++) {
		all->work[i] =
			(struct work){ .works = all, .buf = all->mem + (size_t)i * WORK_LEN };
		STAILQ_INSERT_TAIL(&all->free, &all->work[i], entry);
	}
	*ret_works = all;
	return 0;
}

void works_destroy(struct works *all)
{
	if (!all)
		return;
	munmap(all->mem, (size_t)WORKS * WORK_LEN);
	free(all);
}
