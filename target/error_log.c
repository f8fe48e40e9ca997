/* Error Information log page: Base 2.1, 5.1.12.1.2. */
#include "target/core.h"

#include <libnvme.h>
#include <stdlib.h>

static bool worth_a_record(uint16_t status)
{
	/* paths that are not in use, and what was aborted because it was asked for */
	if ((status & 0x700) == 0x300)
		return false;
	switch (status & 0x7ff) {
	case NVME_ABORT_REQUESTED:
	case NVME_ABORTED_SQ_DELETION:
	case NVME_ABORTED_FAILED_FUSED:
	case NVME_ABORTED_MISSING_FUSED:
		return false;
	default:
		return true;
	}
}

/* The opcodes whose first LBA is in CDW10 and CDW11. */
static bool has_slba(const struct nvmf_req *req)
{
	return !is_admin(req->queue) && req->ns && (0x1136u >> (req->sqe->opcode & 15) & 1) &&
	       req->sqe->opcode < 16;
}

static void append(struct error_log *log, const struct error_record *record)
{
	struct error_record *to = &log->record[log->written++ % ERROR_LOG_ENTRIES];

	*to = *record;
	to->count = ++log->count;
}

void error_fifo_read(struct nvmf_queue *q)
{
	struct error_fifo *f = &q->errors;
	uint32_t written = __atomic_load_n(&f->written, __ATOMIC_ACQUIRE);
	uint32_t lost = __atomic_exchange_n(&f->lost, 0, __ATOMIC_RELAXED);

	while (f->read != written) {
		if (q->ctrl)
			append(&q->ctrl->errors, &f->record[f->read % ERROR_FIFO]);
		__atomic_store_n(&f->read, f->read + 1, __ATOMIC_RELEASE);
	}
	if (q->ctrl)
		q->ctrl->errors.count += lost;
}

/* Whoever writes after this posts again. */
static void on_errors(struct message *m)
{
	struct error_fifo *f = (void *)((uint8_t *)m - offsetof(struct error_fifo, message));

	__atomic_store_n(&f->posted, false, __ATOMIC_SEQ_CST);
	error_fifo_read((void *)((uint8_t *)f - offsetof(struct nvmf_queue, errors)));
}

static void push(struct nvmf_queue *q, const struct error_record *record)
{
	struct error_fifo *f = &q->errors;

	if (f->written - __atomic_load_n(&f->read, __ATOMIC_ACQUIRE) == ERROR_FIFO) {
		__atomic_fetch_add(&f->lost, 1, __ATOMIC_RELAXED);
		return;
	}
	f->record[f->written % ERROR_FIFO] = *record;
	__atomic_store_n(&f->written, f->written + 1, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&f->posted, true, __ATOMIC_SEQ_CST))
		return;
	f->message.run = on_errors;
	reactor_post(control_reactor(q->target), &f->message);
}

uint16_t error_note(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *q = req->queue;
	struct error_record record = { .nsid = get32(req->sqe->nsid),
				       .lba = has_slba(req) ? slba_of(req) : 0,
				       .sqid = q->qid,
				       .cid = get16(req->sqe->cid),
				       .error_at = req->error_at,
				       .opcode = req->sqe->opcode };

	if (q->state != QUEUE_LIVE || !worth_a_record(status))
		return status;
	if (req->error_at != NO_ERROR_AT)
		status |= NVME_MORE;
	record.status = status;
	if (req->sqe->opcode == OP_FABRICS) /* FCTYPE is there */
		record.nsid = 0;
	if (reactor_is_current(control_reactor(q->target)))
		append(&q->ctrl->errors, &record);
	else
		push(q, &record);
	return status;
}

/* The newest first. */
void *error_page(struct nvmf_req *req, size_t *ret_len)
{
	struct controller *c = req->queue->ctrl;
	const struct error_log *log = &c->errors;
	struct nvme_error_log_page *page = calloc(ERROR_LOG_ENTRIES, sizeof(*page)), *to = page;
	struct nvmf_queue *q;

	LIST_FOREACH (q, &c->queues, entry)
		error_fifo_read(q);
	*ret_len = ERROR_LOG_ENTRIES * sizeof(*page);
	for (unsigned int i = 1; page && i <= ERROR_LOG_ENTRIES; i++) {
		const struct error_record *r =
			&log->record[(log->written + ERROR_LOG_ENTRIES - i) % ERROR_LOG_ENTRIES];

		if (r->count == 0)
			break;
		to->error_count = htole64(r->count);
		to->sqid = htole16(r->sqid);
		to->cmdid = htole16(r->cid);
		to->status_field = htole16((uint16_t)(r->status << 1));
		to->parm_error_location = htole16(r->error_at);
		to->lba = htole64(r->lba);
		to->nsid = htole32(r->nsid);
		to->trtype = NVMF_TRTYPE_RDMA;
		to->rsvd[1] = r->opcode; /* OPC; CSI, before it, is NVM */
		((uint8_t *)to)[63] = 1; /* LPVER: there is an opcode */
		to++;
	}
	return page;
}
