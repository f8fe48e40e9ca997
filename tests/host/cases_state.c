/* Commands at the wrong time, keep alive, asynchronous events, Abort: Base 2.1, 3.5, 3.9, 5.1. */
#include "tests/host/suite.h"

#include <errno.h>
#include <string.h>

#define SEQUENCE (NVME_COMMAND_SEQUENCE | DNR)

static bool expect_command(struct suite *s, struct fab_queue *q, struct capsule *c, uint16_t status)
{
	struct host_response r;
	int err = fab_exec(q, c, &r);

	return expect_status(s, err, &r, status);
}

static bool expect_opcode(struct suite *s, struct fab_queue *q, uint8_t opcode, uint16_t status)
{
	struct capsule c;

	fab_capsule_init(&c, opcode);
	return expect_command(s, q, &c, status);
}

/* ---- before Connect ----------------------------------------------------------------------------
 */

struct first_case {
	const char *name;
	uint16_t qid;
	uint8_t opcode, fctype;
};

static const struct first_case first_rows[] = {
	{ "identify-before-connect", 0, ADM_IDENTIFY, 0 },
	{ "keep-alive-before-connect", 0, ADM_KEEP_ALIVE, 0 },
	{ "event-request-before-connect", 0, ADM_ASYNC_EVENT, 0 },
	{ "unknown-before-connect", 0, 0xff, 0 },
	{ "property-get-before-connect", 0, OP_FABRICS, FC_PROPERTY_GET },
	{ "property-set-before-connect", 0, OP_FABRICS, FC_PROPERTY_SET },
	{ "unknown-fabrics-before-connect", 0, OP_FABRICS, 0xff },
	{ "disconnect-before-connect", 2, OP_FABRICS, 0x08 },
	{ "authentication-before-connect", 0, OP_FABRICS, 0x05 },
	{ "read-before-connect", 3, nvme_cmd_read, 0 },
	{ "flush-before-connect", 4, nvme_cmd_flush, 0 },
	{ "unknown-before-connect-io", 5, 0xff, 0 },
};

static bool first_case(struct suite *s, const void *row)
{
	const struct first_case *t = row;
	struct fab_queue q;
	struct capsule c;
	bool ok;
	int err = fab_queue_open(s->fh->host, t->qid, 32, &q);

	if (err)
		return suite_fail(s, "no connection: %s", strerror(-err));
	fab_capsule_init(&c, t->opcode);
	if (t->opcode == OP_FABRICS)
		c.sqe.fctype = t->fctype;
	ok = expect_command(s, &q, &c, SEQUENCE);
	fab_queue_close(&q);
	return ok;
}

/* A connection that says nothing is not kept: 10 s. */
static bool silent(struct suite *s, const void *row)
{
	const uint16_t *qid = row;
	struct fab_queue q;
	uint64_t start = host_now_ms();
	bool ok;
	int err = fab_queue_open(s->fh->host, *qid, 32, &q);

	if (err)
		return suite_fail(s, "no connection: %s", strerror(-err));
	ok = expect_gone(s, q.conn);
	if (ok && host_now_ms() - start < 5000)
		ok = suite_fail(s, "got %u ms to send Connect, expected 5 s at least",
				(unsigned int)(host_now_ms() - start));
	fab_queue_close(&q);
	return ok;
}

/* ---- before and after enabling -----------------------------------------------------------------
 */

static const uint8_t admin_opcodes[] = { ADM_GET_LOG,      ADM_IDENTIFY,     ADM_ABORT,
					 ADM_SET_FEATURES, ADM_GET_FEATURES, ADM_ASYNC_EVENT,
					 ADM_KEEP_ALIVE };

static bool all_out_of_sequence(struct suite *s, struct fab_ctrl *c)
{
	for (size_t i = 0; i < sizeof(admin_opcodes); i++)
		if (!expect_opcode(s, &c->admin, admin_opcodes[i], SEQUENCE))
			return false;
	return expect_opcode(s, &c->admin, 0xff, NVME_INVALID_OPCODE | DNR);
}

static bool before_enable(struct suite *s, const void *row)
{
	static const struct fab_options o = { .disabled = true };
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &o, &c))
		return false;
	ok = all_out_of_sequence(s, c);
	fab_ctrl_destroy(c);
	return ok;
}

static bool after_disable(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	ok = fab_property_set(c, PROP_CC, CC_DEFAULT) == 0 && fab_wait_csts(c, CSTS_RDY, 0) == 0;
	if (!ok)
		(void)suite_fail(s, "got no disabled controller");
	ok = ok && all_out_of_sequence(s, c);
	fab_ctrl_destroy(c);
	return ok;
}

/* Without its admin queue there is no controller: its I/O queues end too. */
static bool without_admin(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_queue q;
	struct fab_ctrl *c;
	bool ok;
	int err;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	err = fab_ctrl_queue(c, 1, 8, &q);
	if (err) {
		fab_ctrl_destroy(c);
		return suite_fail(s, "no I/O queue: %d", err);
	}
	fab_ctrl_destroy(c);
	ok = expect_gone(s, q.conn);
	fab_queue_close(&q);
	return ok;
}

/* Commands that are under way when the host goes. Nothing to see here: the daemon must live. */
static bool host_goes(struct suite *s, const void *row)
{
	const uint8_t *opcode = row;
	struct capsule c;

	if (!suite_controller(s))
		return false;
	for (unsigned int i = 0; i < IO_QUEUE_DEPTH - 1; i++) {
		uint32_t n = (uint32_t)(s->ctrl->mdts_len / s->lba_len);

		fab_rw_init(&c, *opcode, s->nsid, 64, n);
		c.sqe.dptr = fab_sgl_keyed(&s->data, n * s->lba_len, SGL_SUB_ADDRESS);
		if (fab_send(&s->io, &c))
			return suite_fail(s, "cannot send");
	}
	suite_drop_controller(s);
	return suite_controller(s);
}

/* A reset while writes are under way: when RDY is 0, none of them can reach a block any more. */
static bool reset_while_writing(struct suite *s, const void *row)
{
	uint32_t n;

	(void)row;
	for (unsigned int round = 0; round < 5; round++) {
		struct capsule c;

		if (!suite_controller(s))
			return false;
		n = (uint32_t)(s->ctrl->mdts_len / s->lba_len);
		suite_fill(s->data.va, s->ctrl->mdts_len, 20);
		for (unsigned int i = 0; i < IO_QUEUE_DEPTH - 1; i++) {
			fab_rw_init(&c, nvme_cmd_write, s->nsid, FREE_LBA, n);
			c.sqe.dptr = fab_sgl_keyed(&s->data, n * s->lba_len, SGL_SUB_ADDRESS);
			if (fab_send(&s->io, &c))
				return suite_fail(s, "cannot send");
		}
		if (fab_property_set(s->ctrl, PROP_CC, CC_DEFAULT) ||
		    fab_wait_csts(s->ctrl, CSTS_RDY, 0))
			return suite_fail(s, "got no disabled controller");
		suite_drop_controller(s);
		/* what is written now is not overtaken by what was sent before */
		if (!suite_controller(s))
			return false;
		suite_fill(s->data.va, s->ctrl->mdts_len, 21);
		if (!suite_transfer(s, nvme_cmd_write, FREE_LBA, n) ||
		    !suite_transfer(s, nvme_cmd_read, FREE_LBA, n))
			return false;

		uint8_t expected[4096];

		suite_fill(expected, sizeof(expected), 21);
		if (memcmp(s->data.va, expected, sizeof(expected)) != 0)
			return suite_fail(s, "got the data of before the reset");
	}
	return true;
}

void state_cases(struct suite *s)
{
	static const uint16_t admin = 0, io = 1;
	static const uint8_t read = nvme_cmd_read, write = nvme_cmd_write;

	for (size_t i = 0; i < sizeof(first_rows) / sizeof(first_rows[0]); i++)
		suite_case(s, first_rows[i].name, NOW, first_case, &first_rows[i]);
	suite_case(s, "before-enable", NOW, before_enable, NULL);
	suite_case(s, "after-disable", NOW, after_disable, NULL);
	suite_case(s, "io-queue-without-admin", NOW, without_admin, NULL);
	suite_case(s, "host-goes-while-reading", NOW, host_goes, &read);
	suite_case(s, "host-goes-while-writing", NOW, host_goes, &write);
	suite_case(s, "reset-while-writing", NOW, reset_while_writing, NULL);
	suite_case(s, "silent-admin", NOW, silent, &admin);
	suite_case(s, "silent-io", NOW, silent, &io);
}

/* ---- keep alive -------------------------------------------------------------------------------
 */

#define KATO_MS 1000 /* the smallest: KAS is 1 s */

/* Silence: gone after one period at least, and two at most; some more for the emulation. */
static bool expires(struct suite *s, const void *row)
{
	static const struct fab_options o = { .kato_ms = KATO_MS };
	struct fab_ctrl *c;
	uint64_t start, took;
	bool ok;

	(void)row;
	if (!suite_create(s, &o, &c))
		return false;
	start = host_now_ms();
	ok = expect_gone(s, c->admin.conn);
	took = host_now_ms() - start;
	if (ok && (took < KATO_MS * 9 / 10 || took > 4 * KATO_MS))
		ok = suite_fail(s, "got the end after %u ms, expected %u to %u", (unsigned int)took,
				KATO_MS, 2 * KATO_MS);
	fab_ctrl_destroy(c);
	return ok;
}

struct alive_case {
	const char *name;
	enum on on;
	uint8_t opcode;
	uint16_t status;
};

/* Any command counts (CTRATT.TBKAS), also one that is refused, on any queue. */
static const struct alive_case alive_rows[] = {
	{ "alive-by-keep-alive", ON_ADMIN, ADM_KEEP_ALIVE, NVME_OK },
	{ "alive-by-refused-command", ON_ADMIN, 0xff, NVME_INVALID_OPCODE | DNR },
	{ "alive-by-io", ON_IO, nvme_cmd_flush, NVME_INVALID_NS | DNR },
};

static bool stays(struct suite *s, const struct alive_case *t, struct fab_ctrl *c,
		  struct fab_queue *io)
{
	uint64_t end = host_now_ms() + 4 * KATO_MS;

	while (host_now_ms() < end) {
		if (!expect_opcode(s, t->on == ON_ADMIN ? &c->admin : io, t->opcode, t->status))
			return false;
		if (host_wait_gone(c->admin.conn, KATO_MS / 4))
			return suite_fail(s, "got no connection any more");
	}
	return expect_gone(s, c->admin.conn) && expect_gone(s, io->conn);
}

static bool alive_case(struct suite *s, const void *row)
{
	static const struct fab_options o = { .kato_ms = KATO_MS };
	struct fab_queue io;
	struct fab_ctrl *c;
	bool ok;
	int err;

	if (!suite_create(s, &o, &c))
		return false;
	err = fab_ctrl_queue(c, 1, 8, &io);
	ok = err ? suite_fail(s, "no I/O queue: %d", err) : stays(s, row, c, &io);
	fab_queue_close(&io);
	fab_ctrl_destroy(c);
	return ok;
}

/* Set Features starts it, too. */
static bool set_later(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct capsule set;
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	fab_capsule_init(&set, ADM_SET_FEATURES);
	set.sqe.cdw10 = put32(NVME_FEAT_FID_KATO);
	set.sqe.cdw11 = put32(1); /* is rounded up to 1 s */
	ok = expect_command(s, &c->admin, &set, NVME_OK) && expect_gone(s, c->admin.conn);
	fab_ctrl_destroy(c);
	return ok;
}

void keep_alive_cases(struct suite *s)
{
	suite_case(s, "expires", NOW, expires, NULL);
	suite_case(s, "expires-when-set-later", NOW, set_later, NULL);
	for (size_t i = 0; i < sizeof(alive_rows) / sizeof(alive_rows[0]); i++)
		suite_case(s, alive_rows[i].name, NOW, alive_case, &alive_rows[i]);
}

/* ---- asynchronous events -----------------------------------------------------------------------
 */

/* AERL + 1 are kept, the next is refused at once, and the others are still there. */
static bool fill_events(struct suite *s, struct fab_ctrl *c)
{
	struct host_response r;
	struct capsule aer;

	for (unsigned int i = 0; i <= c->id.aerl; i++) {
		fab_capsule_init(&aer, ADM_ASYNC_EVENT);
		if (fab_send(&c->admin, &aer))
			return suite_fail(s, "cannot send request %u", i);
	}
	if (!expect_opcode(s, &c->admin, ADM_ASYNC_EVENT, NVME_AER_LIMIT | DNR))
		return false;
	if (host_wait(c->admin.conn, 200, &r) != -ETIMEDOUT)
		return suite_fail(s, "got an event, expected none");
	return expect_opcode(s, &c->admin, 0xff, NVME_INVALID_OPCODE | DNR);
}

static bool event_limit(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	ok = (c->id.aerl >= 3 || suite_fail(s, "got AERL %u, expected 3 at least", c->id.aerl)) &&
	     fill_events(s, c);
	fab_ctrl_destroy(c);
	return ok;
}

static bool event_limit_discovery(struct suite *s, const void *row)
{
	static const struct fab_options o = { .nqn = NVME_DISC_SUBSYS_NAME };
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &o, &c))
		return false;
	ok = fill_events(s, c);
	fab_ctrl_destroy(c);
	return ok;
}

/* A reset answers what was kept. */
static bool event_at_disable(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct capsule aer, set;
	struct nvmf_property_sqe *sqe = (void *)&set.sqe;
	struct host_response r;
	struct fab_ctrl *c;
	bool ok = true;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	fab_capsule_init(&aer, ADM_ASYNC_EVENT);
	fab_fabrics_init(&set, FC_PROPERTY_SET);
	sqe->offset = put32(PROP_CC);
	sqe->value = put64(CC_DEFAULT);
	if (fab_send(&c->admin, &aer) || fab_send(&c->admin, &set))
		ok = suite_fail(s, "cannot send");
	for (unsigned int i = 0; i < 2 && ok; i++) {
		int err = host_wait(c->admin.conn, HOST_TIMEOUT_MS, &r);

		ok = expect_status(s, err, &r,
				   !err && r.cqe.cid.raw == aer.sqe.cid.raw
					   ? NVME_ABORTED_SQ_DELETION
					   : NVME_OK);
	}
	fab_ctrl_destroy(c);
	return ok;
}

void aer_cases(struct suite *s)
{
	suite_case(s, "reset", NOW, event_at_disable, NULL);
	suite_case(s, "limit", NOW, event_limit, NULL);
	suite_case(s, "limit-of-discovery", NOW, event_limit_discovery, NULL);
}

/* ---- Abort ------------------------------------------------------------------------------------
 */

static bool abort_cid(struct suite *s, struct fab_ctrl *c, uint16_t sqid, uint16_t cid,
		      uint32_t dw0)
{
	struct capsule abort;
	struct host_response r;
	int err;

	fab_capsule_init(&abort, ADM_ABORT);
	abort.sqe.cdw10 = put32((uint32_t)cid << 16 | sqid);
	err = fab_exec(&c->admin, &abort, &r);
	if (!expect_status(s, err, &r, NVME_OK))
		return false;
	return (get32(r.cqe.dw0) & 1) == dw0 ||
	       suite_fail(s, "got dw0 %u, expected %u (1: not aborted)", get32(r.cqe.dw0), dw0);
}

struct abort_case {
	const char *name;
	uint16_t sqid, cid;
};

/* What is not there was not aborted: no error. */
static const struct abort_case abort_rows[] = {
	{ "unknown-cid", 0, 0x7777 },
	{ "unknown-cid-io", 1, 0x7777 },
	{ "unknown-queue", 99, 1 },
	{ "queue-ffff", 0xffff, 0xffff },
};

static bool abort_case(struct suite *s, const void *row)
{
	const struct abort_case *t = row;

	return suite_controller(s) && abort_cid(s, s->ctrl, t->sqid, t->cid, 1);
}

/* An event request waits: it can be aborted, is answered first, and its place is free again. */
static bool abort_event(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct capsule aer, abort;
	struct host_response r;
	struct fab_ctrl *c;
	bool ok;
	int err;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	fab_capsule_init(&aer, ADM_ASYNC_EVENT);
	fab_capsule_init(&abort, ADM_ABORT);
	err = fab_send(&c->admin, &aer);
	abort.sqe.cdw10 = put32((uint32_t)get16(aer.sqe.cid) << 16);
	if (!err)
		err = fab_send(&c->admin, &abort);
	if (!err)
		err = host_wait(c->admin.conn, HOST_TIMEOUT_MS, &r);
	ok = !err || suite_fail(s, "got no response");
	if (ok && r.cqe.cid.raw != aer.sqe.cid.raw)
		ok = suite_fail(s, "got the answer to Abort first, dw0 %u", get32(r.cqe.dw0));
	ok = ok && expect_status(s, 0, &r, 0x007);
	if (ok) {
		err = host_wait(c->admin.conn, HOST_TIMEOUT_MS, &r);
		ok = expect_status(s, err, &r, NVME_OK) &&
		     (get32(r.cqe.dw0) == 0 || suite_fail(s, "got dw0 %u", get32(r.cqe.dw0)));
	}
	ok = ok && fill_events(s, c);
	fab_ctrl_destroy(c);
	return ok;
}

#define ABORTS 16

/* Aborts of an I/O queue's commands that arrive together. Return: how many were refused, as more
 * than ACL allows; negative: the case has failed. */
static int many_aborts(struct suite *s)
{
	struct nvme_sqe sqes[ABORTS];
	struct capsule c;
	struct host_response r;
	int refused = 0;

	for (unsigned int i = 0; i < ABORTS; i++) {
		fab_capsule_init(&c, ADM_ABORT);
		c.sqe.cdw10 = put32(0x77770001);
		c.sqe.cid = put16(s->ctrl->admin.next_cid++);
		sqes[i] = c.sqe;
	}
	if (host_send_chain(s->ctrl->admin.conn, sqes, sizeof(sqes[0]), ABORTS)) {
		(void)suite_fail(s, "cannot send");
		return -1;
	}
	for (unsigned int i = 0; i < ABORTS; i++) {
		int err = host_wait(s->ctrl->admin.conn, HOST_TIMEOUT_MS, &r);
		bool is_limit = !err && fab_status(&r);

		if (!expect_status(s, err, &r, is_limit ? NVME_ABORT_LIMIT | DNR : NVME_OK))
			return -1;
		refused += is_limit;
	}
	return refused;
}

static bool abort_limit(struct suite *s, const void *row)
{
	int refused = 0;

	(void)row;
	if (!suite_controller(s))
		return false;
	/* they need not be under way at the same time, but of many rounds they are in one */
	for (unsigned int round = 0; round < 50 && refused == 0; round++)
		refused = many_aborts(s);
	if (refused == 0)
		return suite_fail(s, "got no refusal, expected one with ACL %u", s->ctrl->id.acl);
	return refused > 0 && abort_cid(s, s->ctrl, 1, 0x7777, 1);
}

void abort_cases(struct suite *s)
{
	suite_case(s, "limit", NOW, abort_limit, NULL);
	for (size_t i = 0; i < sizeof(abort_rows) / sizeof(abort_rows[0]); i++)
		suite_case(s, abort_rows[i].name, NOW, abort_case, &abort_rows[i]);
	suite_case(s, "event-request", NOW, abort_event, NULL);
}
