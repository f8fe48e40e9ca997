/* The command tables, and the way of every command through them. */
#include "target/core.h"

#include <assert.h>

const struct command admin_commands[256] = {
	[0x02] = { "get-log-page", DATA_C2H, CMD_DISCOVERY, FX_CSUPP, log_page_length,
		   log_page_execute },
	[0x06] = { "identify", DATA_C2H, CMD_DISCOVERY, FX_CSUPP, identify_length,
		   identify_execute },
	[0x08] = { "abort", DATA_NONE, 0, FX_CSUPP, NULL, abort_command },
	[0x09] = { "set-features", DATA_H2C, CMD_DISCOVERY, FX_CSUPP, set_features_length,
		   set_features },
	[0x0a] = { "get-features", DATA_C2H, CMD_DISCOVERY, FX_CSUPP, get_features_length,
		   get_features },
	[0x0c] = { "async-event-request", DATA_NONE, CMD_DISCOVERY, FX_CSUPP, NULL,
		   async_event_request },
	[0x18] = { "keep-alive", DATA_NONE, CMD_DISCOVERY, FX_CSUPP, NULL, keep_alive },
};

const struct command io_commands[256] = {
	[0x00] = { "flush", DATA_NONE, CMD_NEEDS_NS | CMD_RESV_WRITE, FX_CSUPP, NULL,
		   flush_execute },
	[0x01] = { "write", DATA_H2C, CMD_NEEDS_NS | CMD_WRITES | CMD_RESV_WRITE,
		   FX_CSUPP | FX_LBCC, write_length, write_execute },
	[0x02] = { "read", DATA_C2H, CMD_NEEDS_NS | CMD_RESV_READ, FX_CSUPP, rw_length,
		   read_execute },
	[0x05] = { "compare", DATA_H2C, CMD_NEEDS_NS | CMD_CPU_DATA | CMD_RESV_READ, FX_CSUPP,
		   rw_length, compare_execute },
	[0x08] = { "write-zeroes", DATA_NONE, CMD_NEEDS_NS | CMD_WRITES | CMD_RESV_WRITE,
		   FX_CSUPP | FX_LBCC, no_data_length, write_zeroes_execute },
	[0x09] = { "dataset-management", DATA_H2C,
		   CMD_NEEDS_NS | CMD_CPU_DATA | CMD_EXCESS_OK | CMD_WRITES | CMD_RESV_WRITE,
		   FX_CSUPP | FX_LBCC, dsm_length, dsm_execute },
	[0x0c] = { "verify", DATA_NONE, CMD_NEEDS_NS | CMD_RESV_READ, FX_CSUPP, no_data_length,
		   verify_execute },
	[0x0d] = { "reservation-register", DATA_H2C, CMD_NEEDS_NS | CMD_CPU_DATA, FX_CSUPP,
		   resv_keys_length, resv_register_execute },
	[0x0e] = { "reservation-report", DATA_C2H, CMD_NEEDS_NS | CMD_CPU_DATA, FX_CSUPP,
		   resv_report_length, resv_report_execute },
	[0x11] = { "reservation-acquire", DATA_H2C, CMD_NEEDS_NS | CMD_CPU_DATA, FX_CSUPP,
		   resv_keys_length, resv_acquire_execute },
	[0x15] = { "reservation-release", DATA_H2C, CMD_NEEDS_NS | CMD_CPU_DATA, FX_CSUPP,
		   resv_key_length, resv_release_execute },
	[0x19] = { "copy", DATA_H2C, CMD_NEEDS_NS | CMD_CPU_DATA | CMD_WRITES | CMD_RESV_WRITE,
		   FX_CSUPP | FX_LBCC, copy_length, copy_execute },
};

/* Indexed by FCTYPE; a queue of any kind has them. */
const struct command fabrics_commands[256] = {
	[FC_PROPERTY_SET] = { "property-set", DATA_NONE, CMD_DISCOVERY | CMD_BEFORE_EN, 0, NULL,
			      property_set },
	[FC_CONNECT] = { "connect", DATA_H2C, CMD_DISCOVERY | CMD_BEFORE_EN | CMD_NO_CTRL, 0,
			 connect_length, connect_execute },
	[FC_DISCONNECT] = { "disconnect", DATA_NONE, CMD_BEFORE_EN, 0, NULL, disconnect_execute },
	[FC_PROPERTY_GET] = { "property-get", DATA_NONE, CMD_DISCOVERY | CMD_BEFORE_EN, 0, NULL,
			      property_get },
	[FC_AUTH_SEND] = { "authentication-send", DATA_H2C,
			   CMD_DISCOVERY | CMD_BEFORE_EN | CMD_AUTH, 0, auth_length, auth_execute },
	[FC_AUTH_RECEIVE] = { "authentication-receive", DATA_C2H,
			      CMD_DISCOVERY | CMD_BEFORE_EN | CMD_AUTH, 0, auth_length,
			      auth_execute },
};

static const struct command *table_of(const struct nvmf_queue *q)
{
	bool io = q->state == QUEUE_LIVE && !is_admin(q);

	if (q->subsys && q->subsys->passthru)
		return io ? passthru_io_commands : passthru_admin_commands;
	return io ? io_commands : admin_commands;
}

static const struct command *find_command(const struct nvmf_queue *q, const struct nvme_sqe *sqe)
{
	const struct command *cmd;

	if (sqe->opcode == OP_FABRICS)
		cmd = &fabrics_commands[sqe->fctype];
	else
		cmd = &table_of(q)[sqe->opcode];
	if (!cmd->execute)
		return NULL;
	if (q->subsys && q->subsys->discovery && !(cmd->flags & CMD_DISCOVERY))
		return NULL;
	return cmd;
}

/* May this command come now? Base 2.1, 3.3 (queue), 3.5 (controller initialisation). */
static uint16_t check_state(struct nvmf_req *req, const struct command *cmd)
{
	const struct nvmf_queue *q = req->queue;
	bool connects = cmd && cmd->flags & CMD_NO_CTRL;

	switch (q->state) {
	case QUEUE_CLOSING:
		return NVME_ABORTED_SQ_DELETION;
	case QUEUE_LEAVING: /* no DNR: the host may come back */
		req->hangs_up = connects || !is_admin(q);
		return connects ? NVME_CONNECT_BUSY : NVME_ABORTED_SQ_DELETION;
	case QUEUE_WAIT_CONNECT:
		return connects ? NVME_OK : NVME_COMMAND_SEQUENCE | NVME_DNR;
	case QUEUE_LIVE:
		break;
	}
	if (__atomic_load_n(&q->unauthenticated, __ATOMIC_RELAXED) &&
	    !(cmd && cmd->flags & CMD_AUTH))
		return NVME_AUTH_REQUIRED | NVME_DNR;
	if (!cmd)
		return NVME_INVALID_OPCODE | NVME_DNR;
	if (connects) /* a second time */
		return NVME_COMMAND_SEQUENCE | NVME_DNR;
	/* an I/O queue is there only while the controller is ready, see set_cc() */
	if (!(cmd->flags & CMD_BEFORE_EN) && is_admin(q) && !(q->ctrl->csts & CSTS_RDY))
		return NVME_COMMAND_SEQUENCE | NVME_DNR;
	return NVME_OK;
}

static struct ns_shard *shard_in(const struct ns_map_entry *entry, const struct nvmf_req *req)
{
	return &entry->ns->shard[req->queue->reactor->opts.index];
}

static inline uint16_t gate(const struct nvmf_req *req, const struct ns_map_entry *entry,
			    const struct ns_shard *shard)
{
	if (entry->path_status)
		return entry->path_status;
	if (shard->write_protected && req->cmd->flags & CMD_WRITES)
		return NVME_NS_WRITE_PROTECTED | NVME_DNR;
	return __builtin_expect(!shard->resv, true) ? NVME_OK : resv_conflict(req, shard->resv);
}

uint16_t nvmf_req_gate(const struct nvmf_req *req)
{
	const struct ns_map_entry *entry = ns_map_find(req->queue->map, get32(req->sqe->nsid));

	return entry ? gate(req, entry, shard_in(entry, req)) : NVME_INVALID_NS | NVME_DNR;
}

static inline void count(struct nvmf_req *req, struct ns_shard *shard)
{
	req->phase = (uint8_t)(shard->phase + 1);
	counter_add32(&shard->in_flight[shard->phase], 1);
}

void nvmf_req_count(struct nvmf_req *req)
{
	count(req, shard_of(req));
}

static uint16_t find_namespace(struct nvmf_req *req)
{
	const struct ns_map_entry *entry = ns_map_find(req->queue->map, get32(req->sqe->nsid));
	struct ns_shard *shard;
	uint16_t status;

	if (!entry)
		return NVME_INVALID_NS | NVME_DNR;
	shard = shard_in(entry, req);
	status = gate(req, entry, shard);
	if (__builtin_expect(status, NVME_OK)) {
		if (status == (NVME_RESERVATION_CONFLICT | NVME_DNR))
			counter_add(&shard->resv_conflicts, 1);
		return status;
	}
	req->ns = entry->ns;
	req->since_ns = reactor_now_ns(req->queue->reactor);
	count(req, shard);
	return NVME_OK;
}

void nvmf_req_uncount(struct nvmf_req *req)
{
	struct ns_shard *shard;
	uint8_t phase;

	if (!req->phase || !req->ns)
		return;
	shard = shard_of(req);
	phase = (uint8_t)(req->phase - 1);
	req->phase = 0;
	counter_add32(&shard->in_flight[phase], -1u);
	if (shard->in_flight[phase] == 0 && shard->draining && phase != shard->phase) {
		shard->draining = false;
		reactor_post(control_reactor(req->queue->target), &shard->drained);
	}
}

void nvmf_req_drop(struct nvmf_req *req)
{
	struct nvmf_req *partner = req->fuse ? fused_ended(req) : NULL;

	nvmf_req_uncount(req);
	if (partner)
		fused_go_on(partner, NVME_ABORTED_SQ_DELETION);
	if (req->hangs_up) {
		req->hangs_up = false;
		req->queue->ops->disconnect(req->queue);
	}
}

static uint16_t check(struct nvmf_req *req, uint16_t status)
{
	const struct nvme_sqe *sqe = req->sqe;
	const struct command *cmd = req->cmd;

	if (status)
		return status;
	if ((sqe->flags & SQE_PSDT_MASK) != SQE_PSDT_SGL)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (cmd->flags & CMD_NEEDS_NS) {
		status = find_namespace(req);
		if (status)
			return status;
	}
	if (is_admin(req->queue) && req->queue->map) {
		status = ana_admin_status(req);
		if (status)
			return status;
	}
	if (!cmd->length)
		return NVME_OK;
	status = cmd->length(req, &req->len);
	if (!status && req->len)
		req->dir = cmd->dir;
	return status;
}

uint16_t nvmf_req_check(struct nvmf_req *req)
{
	struct nvmf_queue *q = req->queue;
	const struct nvme_sqe *sqe = req->sqe;
	const struct command *cmd = find_command(q, sqe);
	uint16_t status = check_state(req, cmd);

	req->cmd = cmd;
	req->ns = NULL;
	req->phase = 0;
	req->error_at = NO_ERROR_AT;
	req->dir = DATA_NONE;
	req->len = 0;
	req->cqe = (struct nvme_cqe){ 0 };
	if (!__atomic_load_n(&q->alive, __ATOMIC_RELAXED))
		__atomic_store_n(&q->alive, true, __ATOMIC_RELAXED);
	status = check(req, status);
	if (sqe->flags & SQE_FUSE_MASK || q->fusing)
		status = fused_check(req, status);
	return status;
}

struct stage_client *nvmf_req_stage(const struct nvmf_req *req)
{
	return req->ns ? &shard_of(req)->stage : NULL;
}

bool nvmf_req_excess_ok(const struct nvmf_req *req)
{
	return req->cmd->flags & CMD_EXCESS_OK;
}

bool nvmf_req_cpu_data(const struct nvmf_req *req)
{
	return req->cmd->flags & CMD_CPU_DATA;
}

/* ---- commands that take the control thread ------------------------------------------------------
 */

static void finish(struct nvmf_req *req)
{
	if (req->cmd->flags & CMD_NO_CTRL)
		connect_finish(req);
	else
		nvmf_req_complete(req, req->status);
}

static void on_answer(struct message *m)
{
	finish(req_of(m));
}

void nvmf_req_answer(struct nvmf_req *req, uint16_t status)
{
	struct reactor *r = req->queue->reactor;

	req->status = status;
	if (reactor_is_current(r)) {
		finish(req);
		return;
	}
	req->message.run = on_answer;
	reactor_post(r, &req->message);
}

static void on_question(struct message *m)
{
	struct nvmf_req *req = req_of(m);
	uint16_t status = req->in_control(req);

	if (status != NVME_LATER)
		nvmf_req_answer(req, status);
}

void nvmf_req_in_control(struct nvmf_req *req, uint16_t (*fn)(struct nvmf_req *req))
{
	struct reactor *control = control_reactor(req->queue->target);

	req->in_control = fn;
	req->message.run = on_question;
	if (reactor_is_current(control))
		on_question(&req->message);
	else
		reactor_post(control, &req->message);
}

void nvmf_req_execute(struct nvmf_req *req)
{
	if (req->queue->state == QUEUE_CLOSING)
		nvmf_req_complete(req, NVME_ABORTED_SQ_DELETION);
	else if (req->fuse)
		fused_execute(req);
	else if (req->cmd->flags & CMD_WRITES && range_locked(req))
		range_park(req);
	else
		req->cmd->execute(req);
}

static void account_payload(struct nvmf_req *req, uint16_t status)
{
	struct stage_account *a = &shard_of(req)->account[req->dir - 1];
	uint64_t ns;

	if (status) {
		counter_add(&a->errors, 1);
		return;
	}
	ns = reactor_now_ns(req->queue->reactor) - req->since_ns;
	counter_add(&a->commands, 1);
	counter_add(&a->bytes[req->place], req->len);
	counter_add(&a->latency_ns, ns);
	counter_add(&a->latency[latency_class(ns)], 1);
}

static void account(struct nvmf_req *req, uint16_t status)
{
	const struct nvmf_queue *q = req->queue;
	struct reactor_account *a = &q->target->account[q->reactor->opts.index];
	bool fabrics = req->sqe->opcode == OP_FABRICS;
	enum queue_kind kind = fabrics       ? QUEUE_KIND_FABRICS
			       : is_admin(q) ? QUEUE_KIND_ADMIN
					     : QUEUE_KIND_IO;

	/* on a queue that closes, nobody is told, and the host sends it again elsewhere */
	if (status && q->state == QUEUE_CLOSING)
		return;
	counter_add(&a->commands[kind][fabrics ? req->sqe->fctype : req->sqe->opcode], 1);
	if (status)
		counter_add(&a->failures[status & 0x7ff], 1);
	if (req->ns && req->dir != DATA_NONE)
		account_payload(req, status);
}

void nvmf_req_complete(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *q = req->queue;
	struct nvme_cqe *cqe = &req->cqe;
	struct nvmf_req *partner = req->fuse ? fused_ended(req) : NULL;
	uint16_t told = status ? error_note(req, status) : NVME_OK;

	if (q->sqsize) { /* unknown before Connect */
		q->sqhd = (uint16_t)((q->sqhd + 1) % q->sqsize);
		cqe->sqhd = put16(q->sqflow_disabled ? 0xffff : q->sqhd);
	}
	cqe->sqid = put16(0); /* reserved on fabrics: one SQ and CQ a connection */
	cqe->cid = req->sqe->cid;
	cqe->status = put16((uint16_t)(told << 1));
	account(req, status);
	q->ops->respond(req);
	if (partner)
		fused_go_on(partner, status);
}

uint32_t nvmf_queue_in_capsule_len(const struct nvmf_queue *q)
{
	switch (q->state) {
	case QUEUE_WAIT_CONNECT:
		return UINT32_MAX;
	case QUEUE_LIVE:
		return is_admin(q) ? 0 : q->in_capsule_len;
	case QUEUE_LEAVING:
	case QUEUE_CLOSING:
		break;
	}
	return 0;
}
