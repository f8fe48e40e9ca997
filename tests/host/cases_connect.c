/* The Connect command: Base 2.1, 6.3. */
#include "tests/host/suite.h"

#include <string.h>

enum of { OF_ADMIN, OF_IO };
#define IN_SQE(field)  ((uint32_t)offsetof(struct nvmf_connect_sqe, field))
#define IN_DATA(field) (0x10000u | (uint32_t)offsetof(struct nvmf_connect_data, field))

#define INVALID_PARAM (NVME_CONNECT_INVALID_PARAM | DNR)

/* What an edit may change before the command goes out. */
struct connecting {
	struct suite *suite;
	struct capsule *capsule;
	struct nvmf_connect_sqe *sqe;
	struct nvmf_connect_data *data;
	struct host_buffer *buffer;
};

struct connect_case {
	const char *name;
	enum since since;
	enum of of;
	void (*edit)(struct connecting *x, uint32_t arg);
	uint32_t arg;
	uint16_t status;
	uint32_t dw0; /* with Connect Invalid Parameters: IATTR and IPO */
};

static void recfmt(struct connecting *x, uint32_t arg)
{
	x->sqe->recfmt = put16((uint16_t)arg);
}
static void cntlid(struct connecting *x, uint32_t arg)
{
	x->data->cntlid = htole16((uint16_t)arg);
}
static void qid(struct connecting *x, uint32_t arg)
{
	x->sqe->qid = put16((uint16_t)arg);
}
static void sqsize_z(struct connecting *x, uint32_t arg)
{
	x->sqe->sqsize_z = put16((uint16_t)arg);
}
static void other_subsystem(struct connecting *x, uint32_t arg)
{
	(void)arg;
	strlcat(x->data->subsysnqn, "-of-nobody", sizeof(x->data->subsysnqn));
}
static void empty_subsystem(struct connecting *x, uint32_t arg)
{
	(void)arg;
	memset(x->data->subsysnqn, 0, sizeof(x->data->subsysnqn));
}
static void closed_subsystem(struct connecting *x, uint32_t arg)
{
	(void)arg;
	if (x->suite->closed_nqn)
		strlcpy(x->data->subsysnqn, x->suite->closed_nqn, sizeof(x->data->subsysnqn));
	else
		(void)suite_skip(x->suite, "no --closed-nqn given");
}
static void endless_subsystem(struct connecting *x, uint32_t arg)
{
	(void)arg;
	memset(x->data->subsysnqn, 'a', sizeof(x->data->subsysnqn));
}
static void long_subsystem(struct connecting *x, uint32_t arg)
{
	memset(x->data->subsysnqn, 0, sizeof(x->data->subsysnqn));
	memset(x->data->subsysnqn, 'a', arg);
}
static void endless_host(struct connecting *x, uint32_t arg)
{
	(void)arg;
	memset(x->data->hostnqn, 'a', sizeof(x->data->hostnqn));
}
static void empty_host(struct connecting *x, uint32_t arg)
{
	(void)arg;
	memset(x->data->hostnqn, 0, sizeof(x->data->hostnqn));
}
static void other_host(struct connecting *x, uint32_t arg)
{
	(void)arg;
	strlcat(x->data->hostnqn, "-other", sizeof(x->data->hostnqn));
}
static void other_hostid(struct connecting *x, uint32_t arg)
{
	(void)arg;
	x->data->hostid[15] ^= 1;
}
static void discovery(struct connecting *x, uint32_t arg)
{
	(void)arg;
	strlcpy(x->data->subsysnqn, NVME_DISC_SUBSYS_NAME, sizeof(x->data->subsysnqn));
}
static void data_len(struct connecting *x, uint32_t arg)
{
	x->capsule->sqe.dptr = fab_sgl_keyed(x->buffer, arg, SGL_SUB_ADDRESS);
}
static void sgl_type(struct connecting *x, uint32_t arg)
{
	x->capsule->sqe.dptr.keyed.type = (uint8_t)arg;
}
static void psdt(struct connecting *x, uint32_t arg)
{
	x->capsule->sqe.flags = (uint8_t)arg;
}
static void in_capsule(struct connecting *x, uint32_t arg)
{
	memcpy(x->capsule->data, x->data, sizeof(*x->data));
	x->capsule->data_len = arg;
	x->capsule->sqe.dptr = fab_sgl_in_capsule(0, arg);
}
static void in_capsule_behind_its_end(struct connecting *x, uint32_t arg)
{
	in_capsule(x, sizeof(*x->data));
	x->capsule->sqe.dptr = fab_sgl_in_capsule(arg, sizeof(*x->data));
}
static void reserved(struct connecting *x, uint32_t arg)
{
	(void)arg;
	memset(x->sqe->rsvd2, 0xff, sizeof(x->sqe->rsvd2));
	memset(x->data->rsvd4, 0xff, sizeof(x->data->rsvd4));
}

static const struct connect_case rows[] = {
	{ "admin", NOW, OF_ADMIN, NULL, 0, NVME_OK, 0 },
	{ "admin-reserved-fields", NOW, OF_ADMIN, reserved, 0, NVME_OK, 0 },
	{ "admin-smallest-queue", NOW, OF_ADMIN, sqsize_z, 1, NVME_OK, 0 },
	{ "recfmt-1", NOW, OF_ADMIN, recfmt, 1, NVME_CONNECT_FORMAT | DNR, 0 },
	{ "recfmt-ffff", NOW, OF_ADMIN, recfmt, 0xffff, NVME_CONNECT_FORMAT | DNR, 0 },
	/* the dynamic controller model: FFFFh and nothing else */
	{ "cntlid-0", NOW, OF_ADMIN, cntlid, 0, INVALID_PARAM, IN_DATA(cntlid) },
	{ "cntlid-1", NOW, OF_ADMIN, cntlid, 1, INVALID_PARAM, IN_DATA(cntlid) },
	{ "cntlid-fffe", NOW, OF_ADMIN, cntlid, 0xfffe, INVALID_PARAM, IN_DATA(cntlid) },
	{ "qid-1-on-admin", NOW, OF_ADMIN, qid, 1, INVALID_PARAM, IN_SQE(qid) },
	{ "qid-ffff-on-admin", NOW, OF_ADMIN, qid, 0xffff, INVALID_PARAM, IN_SQE(qid) },
	{ "sqsize-0", NOW, OF_ADMIN, sqsize_z, 0, INVALID_PARAM, IN_SQE(sqsize_z) },
	{ "sqsize-32", NOW, OF_ADMIN, sqsize_z, 32, INVALID_PARAM, IN_SQE(sqsize_z) },
	{ "sqsize-ffff", NOW, OF_ADMIN, sqsize_z, 0xffff, INVALID_PARAM, IN_SQE(sqsize_z) },
	/* without DNR: the host may try again, it may be there later */
	{ "subsystem-unknown", NOW, OF_ADMIN, other_subsystem, 0, NVME_CONNECT_INVALID_PARAM,
	  IN_DATA(subsysnqn) },
	{ "subsystem-empty", NOW, OF_ADMIN, empty_subsystem, 0, NVME_CONNECT_INVALID_PARAM,
	  IN_DATA(subsysnqn) },
	{ "subsystem-not-terminated", NOW, OF_ADMIN, endless_subsystem, 0, INVALID_PARAM,
	  IN_DATA(subsysnqn) },
	{ "subsystem-224-bytes", NOW, OF_ADMIN, long_subsystem, 224, INVALID_PARAM,
	  IN_DATA(subsysnqn) },
	{ "subsystem-223-bytes", NOW, OF_ADMIN, long_subsystem, 223, NVME_CONNECT_INVALID_PARAM,
	  IN_DATA(subsysnqn) },
	{ "host-not-allowed", NOW, OF_ADMIN, closed_subsystem, 0, NVME_CONNECT_INVALID_HOST | DNR,
	  0 },
	{ "host-not-terminated", NOW, OF_ADMIN, endless_host, 0, INVALID_PARAM, IN_DATA(hostnqn) },
	{ "host-empty", NOW, OF_ADMIN, empty_host, 0, INVALID_PARAM, IN_DATA(hostnqn) },
	{ "data-0-bytes", NOW, OF_ADMIN, data_len, 0, NVME_SGL_DATA_LENGTH_INVALID | DNR, 0 },
	{ "data-512-bytes", NOW, OF_ADMIN, data_len, 512, NVME_SGL_DATA_LENGTH_INVALID | DNR, 0 },
	{ "data-1023-bytes", NOW, OF_ADMIN, data_len, 1023, NVME_SGL_DATA_LENGTH_INVALID | DNR, 0 },
	{ "data-1025-bytes", NOW, OF_ADMIN, data_len, 1025, NVME_SGL_DATA_LENGTH_INVALID | DNR, 0 },
	{ "data-no-sgl", NOW, OF_ADMIN, sgl_type, 0x00, NVME_SGL_TYPE_INVALID | DNR, 0 },
	{ "data-prp", NOW, OF_ADMIN, psdt, 0x00, NVME_INVALID_FIELD | DNR, 0 },

	{ "io", NOW, OF_IO, NULL, 0, NVME_OK, 0 },
	{ "io-in-capsule", NOW, OF_IO, in_capsule, 1024, NVME_OK, 0 },
	{ "io-in-capsule-1020-bytes", NOW, OF_IO, in_capsule, 1020,
	  NVME_SGL_DATA_LENGTH_INVALID | DNR, 0 },
	{ "io-in-capsule-offset", NOW, OF_IO, in_capsule_behind_its_end, 4,
	  NVME_SGL_OFFSET_INVALID | DNR, 0 },
	{ "io-recfmt", NOW, OF_IO, recfmt, 1, NVME_CONNECT_FORMAT | DNR, 0 },
	{ "io-qid-0", NOW, OF_IO, qid, 0, INVALID_PARAM, IN_SQE(qid) },
	{ "io-other-qid", NOW, OF_IO, qid, 127, INVALID_PARAM, IN_SQE(qid) },
	{ "io-sqsize-0", NOW, OF_IO, sqsize_z, 0, INVALID_PARAM, IN_SQE(sqsize_z) },
	{ "io-sqsize-16", NOW, OF_IO, sqsize_z, 16, INVALID_PARAM, IN_SQE(sqsize_z) },
	{ "io-cntlid-0", NOW, OF_IO, cntlid, 0, INVALID_PARAM, IN_DATA(cntlid) },
	{ "io-cntlid-ffef", NOW, OF_IO, cntlid, 0xffef, INVALID_PARAM, IN_DATA(cntlid) },
	{ "io-cntlid-fff0", NOW, OF_IO, cntlid, 0xfff0, INVALID_PARAM, IN_DATA(cntlid) },
	{ "io-cntlid-ffff", NOW, OF_IO, cntlid, 0xffff, INVALID_PARAM, IN_DATA(cntlid) },
	{ "io-other-host", NOW, OF_IO, other_host, 0, INVALID_PARAM, IN_DATA(hostnqn) },
	{ "io-other-hostid", NOW, OF_IO, other_hostid, 0, INVALID_PARAM, IN_DATA(hostid) },
	{ "io-unknown-subsystem", NOW, OF_IO, other_subsystem, 0, NVME_CONNECT_INVALID_PARAM,
	  IN_DATA(subsysnqn) },
	{ "io-other-subsystem", NOW, OF_IO, discovery, 0, INVALID_PARAM, IN_DATA(cntlid) },
	{ "io-data-512-bytes", NOW, OF_IO, data_len, 512, NVME_SGL_DATA_LENGTH_INVALID | DNR, 0 },
};

/* After a refusal the connection is as it was: the right Connect succeeds on it. */
static bool then_right(struct suite *s, struct fab_queue *q, uint16_t id, struct host_buffer *b)
{
	struct capsule c;
	struct host_response r;
	int err;

	fab_connect_init(&c, s->fh, b, id, q->qid, q->sqsize);
	err = fab_exec(q, &c, &r);
	return expect_status(s, err, &r, NVME_OK);
}

static bool expect_connected(struct suite *s, const struct host_response *r, uint16_t id)
{
	uint32_t got = get32(r->cqe.dw0);

	if (id == 0xffff ? (got & 0xffff) == 0 || (got & 0xffff) > 0xffef : (got & 0xffff) != id)
		return suite_fail(s, "got controller ID %#x", got & 0xffff);
	return got >> 16 == 0 || suite_fail(s, "got authentication requirements %#x", got >> 16);
}

static bool connect_with(struct suite *s, const struct connect_case *t, struct fab_queue *q,
			 struct host_buffer *b)
{
	uint16_t id = t->of == OF_ADMIN ? 0xffff : s->ctrl->cntlid;
	struct capsule c;
	struct connecting x = { s, &c, (void *)&c.sqe, (void *)b->va, b };
	struct host_response r;
	int err;

	fab_connect_init(&c, s->fh, b, id, q->qid, q->sqsize);
	if (t->edit)
		t->edit(&x, t->arg);
	if (s->skip)
		return false;
	err = fab_exec(q, &c, &r);
	if (!expect_status(s, err, &r, t->status))
		return false;
	if (t->status == NVME_OK)
		return expect_connected(s, &r, id);
	if (get32(r.cqe.dw0) != t->dw0)
		return suite_fail(s, "got dw0 %#x, expected %#x (IATTR << 16 | IPO)",
				  get32(r.cqe.dw0), t->dw0);
	return then_right(s, q, id, b);
}

static bool connect_case(struct suite *s, const void *row)
{
	const struct connect_case *t = row;
	struct fab_queue q;
	struct host_buffer b = { 0 };
	bool ok;
	int err;

	if (t->of == OF_IO && !suite_controller(s))
		return false;
	err = t->of == OF_ADMIN ? fab_queue_open(s->fh->host, 0, 32, &q)
				: fab_queue_open(s->fh->host, suite_qid(s), IO_QUEUE_DEPTH, &q);
	if (!err)
		err = host_alloc(s->fh->host, 4096, 0, &b);
	ok = err ? suite_fail(s, "no connection: %s", strerror(-err)) : connect_with(s, t, &q, &b);
	fab_queue_close(&q);
	host_free(&b);
	return ok;
}

/* ---- what takes more than one command ---------------------------------------------------------
 */

/* Connect once more on @q, which is live. */
static bool again(struct suite *s, struct fab_queue *q, uint16_t id)
{
	struct capsule c;
	struct host_response r;
	int err;

	fab_connect_init(&c, s->fh, &s->ctrl->page, id, q->qid, q->sqsize);
	err = fab_exec(q, &c, &r);
	return expect_status(s, err, &r, NVME_COMMAND_SEQUENCE | DNR);
}

static bool twice_admin(struct suite *s, const void *row)
{
	(void)row;
	return suite_controller(s) && again(s, &s->ctrl->admin, 0xffff);
}

static bool twice_io(struct suite *s, const void *row)
{
	(void)row;
	return suite_controller(s) && again(s, &s->io, s->ctrl->cntlid);
}

static bool expect_queue(struct suite *s, struct fab_ctrl *c, uint16_t id, uint16_t status)
{
	struct fab_queue q;
	int err = fab_ctrl_queue(c, id, IO_QUEUE_DEPTH, &q);

	if (err == 0)
		fab_queue_close(&q);
	return err == (int)status ||
	       suite_fail(s, "got %d from Connect of queue %u, expected status %#x", err, id,
			  status);
}

static bool qid_in_use(struct suite *s, const void *row)
{
	(void)row;
	return suite_controller(s) &&
	       expect_queue(s, s->ctrl, s->io.qid, NVME_COMMAND_SEQUENCE | DNR);
}

static bool before_enable(struct suite *s, const void *row)
{
	static const struct fab_options disabled = { .disabled = true };
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &disabled, &c))
		return false;
	ok = expect_queue(s, c, 1, NVME_COMMAND_SEQUENCE | DNR);
	fab_ctrl_destroy(c);
	return ok;
}

/* Number of Queues: one was granted, the second is refused. */
static bool more_than_granted(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct capsule capsule;
	struct host_response r;
	struct fab_ctrl *c;
	bool ok;
	int err;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	fab_capsule_init(&capsule, ADM_SET_FEATURES);
	capsule.sqe.cdw10 = put32(NVME_FEAT_FID_NUM_QUEUES);
	err = fab_exec(&c->admin, &capsule, &r);
	ok = expect_status(s, err, &r, NVME_OK);
	if (ok && get32(r.cqe.dw0) != 0)
		ok = suite_fail(s, "got queues %#x, expected 0", get32(r.cqe.dw0));
	ok = ok && expect_queue(s, c, 2, INVALID_PARAM) && expect_queue(s, c, 1, NVME_OK);
	fab_ctrl_destroy(c);
	return ok;
}

static bool io_of_discovery(struct suite *s, const void *row)
{
	static const struct fab_options o = { .nqn = NVME_DISC_SUBSYS_NAME, .disabled = true };
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &o, &c))
		return false;
	ok = expect_queue(s, c, 1, INVALID_PARAM);
	fab_ctrl_destroy(c);
	return ok;
}

/* ---- two Connects that arrive together ---------------------------------------------------------
 *
 * Both are looked at before either is done: one of them binds the queue, and only one.
 */

static bool one_of_two(struct suite *s, struct fab_queue *q, struct nvme_sqe *sqes)
{
	unsigned int ok = 0, refused = 0;
	struct host_response r;

	sqes[0].cid = put16(1);
	sqes[1].cid = put16(2);
	if (host_send_chain(q->conn, sqes, sizeof(*sqes), 2))
		return suite_fail(s, "cannot send");
	for (int i = 0; i < 2; i++) {
		if (host_wait(q->conn, HOST_TIMEOUT_MS, &r))
			return suite_fail(s, "got %d responses, expected 2", i);
		ok += fab_status(&r) == NVME_OK;
		refused += fab_status(&r) == (NVME_COMMAND_SEQUENCE | DNR);
	}
	return (ok == 1 && refused == 1) ||
	       suite_fail(s, "got %u successes and %u Command Sequence Errors, expected one each",
			  ok, refused);
}

/* @first and @second: the controllers that an I/O queue asks for, 0xffff for an admin queue. */
static bool two_connects(struct suite *s, uint16_t id, uint16_t first, uint16_t second)
{
	struct host_buffer b[2] = { { 0 }, { 0 } };
	struct nvme_sqe sqes[2];
	struct capsule c;
	struct fab_queue q;
	bool ok = fab_queue_open(s->fh->host, id, IO_QUEUE_DEPTH, &q) == 0 &&
		  host_alloc(s->fh->host, 4096, 0, &b[0]) == 0 &&
		  host_alloc(s->fh->host, 4096, 0, &b[1]) == 0;

	if (!ok)
		(void)suite_fail(s, "no connection");
	if (ok) {
		fab_connect_init(&c, s->fh, &b[0], first, q.qid, q.sqsize);
		sqes[0] = c.sqe;
		fab_connect_init(&c, s->fh, &b[1], second, q.qid, q.sqsize);
		sqes[1] = c.sqe;
		ok = one_of_two(s, &q, sqes);
	}
	fab_queue_close(&q);
	host_free(&b[0]);
	host_free(&b[1]);
	return ok;
}

/* What a queue that was bound twice leaves behind shows when queues come and go after it. */
static bool then_others(struct suite *s)
{
	static const struct fab_options plain;

	for (int i = 0; i < 5; i++) {
		struct fab_ctrl *c;
		bool ok;

		if (!suite_create(s, &plain, &c))
			return false;
		ok = expect_queue(s, c, 1, NVME_OK);
		fab_ctrl_destroy(c);
		if (!ok)
			return false;
	}
	suite_drop_controller(s);
	return suite_controller(s);
}

static bool at_once_admin(struct suite *s, const void *row)
{
	(void)row;
	return suite_controller(s) && two_connects(s, 0, 0xffff, 0xffff) && then_others(s);
}

static bool at_once_io(struct suite *s, const void *row)
{
	(void)row;
	return suite_controller(s) &&
	       two_connects(s, suite_qid(s), s->ctrl->cntlid, s->ctrl->cntlid) && then_others(s);
}

static bool at_once_two_controllers(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_controller(s) || !suite_create(s, &plain, &c))
		return false;
	ok = two_connects(s, suite_qid(s), s->ctrl->cntlid, c->cntlid);
	fab_ctrl_destroy(c);
	return ok && then_others(s);
}

/* The queue's Connect is under way while its controller goes. Either answer will do. */
static bool while_admin_goes(struct suite *s, const void *row)
{
	static const struct fab_options plain;

	(void)row;
	for (int i = 0; i < 10; i++) {
		struct host_buffer b = { 0 };
		struct fab_ctrl *c;
		struct fab_queue q;
		struct capsule capsule;
		bool ok;

		if (!suite_create(s, &plain, &c))
			return false;
		ok = fab_queue_open(s->fh->host, 1, IO_QUEUE_DEPTH, &q) == 0 &&
		     host_alloc(s->fh->host, 4096, 0, &b) == 0;
		if (ok) {
			fab_connect_init(&capsule, s->fh, &b, c->cntlid, 1, IO_QUEUE_DEPTH);
			ok = fab_send(&q, &capsule) == 0;
		}
		fab_ctrl_destroy(c);
		fab_queue_close(&q);
		host_free(&b);
		if (!ok)
			return suite_fail(s, "no connection");
	}
	return then_others(s);
}

/* Two controllers of one host have different IDs, and each its own queues. */
static bool two_controllers(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_controller(s) || !suite_create(s, &plain, &c))
		return false;
	ok = c->cntlid != s->ctrl->cntlid || suite_fail(s, "got controller ID %u twice", c->cntlid);
	ok = ok && expect_queue(s, c, 1, NVME_OK);
	fab_ctrl_destroy(c);
	return ok;
}

/* ---- static controllers -----------------------------------------------------------------------
 */

#define STATIC_MIN 100
#define STATIC_MAX 101
#define ANY_STATIC 0xfffe

/* Ask for @id; the queue stays open in @q when it succeeds. */
static bool ask_static(struct suite *s, uint16_t id, struct fab_queue *q, uint16_t status,
		       uint32_t dw0)
{
	struct fab_host fh = *s->fh;
	struct capsule c;
	struct host_buffer b = { 0 };
	struct host_response r;
	bool ok;
	int err;

	if (!s->static_nqn)
		return suite_skip(s, "no --static-nqn given");
	strlcpy(fh.nqn, s->static_nqn, sizeof(fh.nqn));
	if (fab_queue_open(fh.host, 0, 32, q) || host_alloc(fh.host, 4096, 0, &b))
		return suite_fail(s, "no connection");
	fab_connect_init(&c, &fh, &b, id, 0, 32);
	err = fab_exec(q, &c, &r);
	ok = expect_status(s, err, &r, status);
	if (ok && status && get32(r.cqe.dw0) != dw0)
		ok = suite_fail(s, "got dw0 %#x, expected %#x", get32(r.cqe.dw0), dw0);
	if (ok && !status && id != ANY_STATIC && get32(r.cqe.dw0) != id)
		ok = suite_fail(s, "got controller ID %u, expected %u", get32(r.cqe.dw0), id);
	if (ok && !status && (get32(r.cqe.dw0) < STATIC_MIN || get32(r.cqe.dw0) > STATIC_MAX))
		ok = suite_fail(s, "got controller ID %u", get32(r.cqe.dw0));
	host_free(&b);
	return ok;
}

struct static_case {
	const char *name;
	uint16_t id;
	uint16_t status;
};

static const struct static_case static_rows[] = {
	{ "static-dynamic", 0xffff, INVALID_PARAM },
	{ "static-0", 0, INVALID_PARAM },
	{ "static-99", 99, INVALID_PARAM },
	{ "static-102", 102, INVALID_PARAM },
	{ "static-101", 101, NVME_OK },
	{ "static-any", ANY_STATIC, NVME_OK },
};

static bool static_case(struct suite *s, const void *row)
{
	const struct static_case *t = row;
	struct fab_queue q = { 0 };
	bool ok = ask_static(s, t->id, &q, t->status, IN_DATA(cntlid));

	fab_queue_close(&q);
	return ok;
}

/* Until that of the case before is gone, an ID may be in use. */
static bool take_static(struct suite *s, struct fab_queue *q)
{
	uint64_t deadline = host_now_ms() + HOST_TIMEOUT_MS;
	bool ok;

	while (!(ok = ask_static(s, ANY_STATIC, q, NVME_OK, 0)) && !s->skip &&
	       host_now_ms() < deadline)
		fab_queue_close(q);
	return ok;
}

/* Each is one host's only, and there are two. */
static bool static_in_use(struct suite *s, const void *row)
{
	struct fab_queue a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	bool ok = take_static(s, &a) && take_static(s, &b) &&
		  ask_static(s, STATIC_MIN, &c, NVME_CONNECT_BUSY, 0) &&
		  ask_static(s, ANY_STATIC, &d, NVME_CONNECT_BUSY, 0);

	(void)row;
	fab_queue_close(&a);
	fab_queue_close(&b);
	fab_queue_close(&c);
	fab_queue_close(&d);
	return ok;
}

/* ---- limits of a host: for a daemon with host_controllers = 2 and host_queues = 3
 * ----------------
 */

static bool expect_busy(struct suite *s, int err)
{
	return err == NVME_CONNECT_BUSY ||
	       suite_fail(s, "got %d from Connect, expected %#x (%s)", err, NVME_CONNECT_BUSY,
			  fab_status_name(NVME_CONNECT_BUSY));
}

static bool controllers_of_host(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_ctrl *a = NULL, *b = NULL, *c = NULL;
	bool ok = suite_create(s, &plain, &a) && suite_create(s, &plain, &b) &&
		  expect_busy(s, fab_ctrl_create(s->fh, &plain, &c));

	(void)row;
	fab_ctrl_destroy(a);
	fab_ctrl_destroy(b);
	fab_ctrl_destroy(c);
	return ok;
}

static bool queues_of_host(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_queue q[4] = { { 0 } };
	struct fab_ctrl *c;
	bool ok = true;
	int err;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	for (uint16_t i = 0; i < 3 && ok; i++) {
		err = fab_ctrl_queue(c, (uint16_t)(i + 1), 8, &q[i]);
		ok = !err || suite_fail(s, "got %d from Connect of queue %u", err, i + 1);
	}
	ok = ok && expect_busy(s, fab_ctrl_queue(c, 4, 8, &q[3]));
	for (int i = 0; i < 4; i++)
		fab_queue_close(&q[i]);
	fab_ctrl_destroy(c);
	return ok;
}

void limit_cases(struct suite *s)
{
	suite_case(s, "controllers", NOW, controllers_of_host, NULL);
	suite_case(s, "queues", NOW, queues_of_host, NULL);
}

void connect_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		suite_case(s, rows[i].name, rows[i].since, connect_case, &rows[i]);
	suite_case(s, "twice-on-admin", NOW, twice_admin, NULL);
	suite_case(s, "twice-on-io", NOW, twice_io, NULL);
	suite_case(s, "qid-in-use", NOW, qid_in_use, NULL);
	suite_case(s, "io-before-enable", NOW, before_enable, NULL);
	suite_case(s, "io-more-than-granted", NOW, more_than_granted, NULL);
	suite_case(s, "io-of-discovery", NOW, io_of_discovery, NULL);
	suite_case(s, "two-controllers", NOW, two_controllers, NULL);
	for (size_t i = 0; i < sizeof(static_rows) / sizeof(static_rows[0]); i++)
		suite_case(s, static_rows[i].name, NOW, static_case, &static_rows[i]);
	suite_case(s, "static-in-use", NOW, static_in_use, NULL);
	suite_case(s, "at-once-admin", NOW, at_once_admin, NULL);
	suite_case(s, "at-once-io", NOW, at_once_io, NULL);
	suite_case(s, "at-once-two-controllers", NOW, at_once_two_controllers, NULL);
	suite_case(s, "while-admin-goes", NOW, while_admin_goes, NULL);
}
