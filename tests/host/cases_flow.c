/* Queues: their head, their depth, capsules of wrong length. Base 2.1, 3.3; RDMA transport 1.1. */
#include "tests/host/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the SQ head -------------------------------------------------------------------------------
 */

static bool expect_heads(struct suite *s, struct fab_queue *q, unsigned int n, uint16_t first)
{
	struct capsule c;
	struct host_response r;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t expected = (uint16_t)((first + i) % q->sqsize);
		int err;

		fab_capsule_init(&c, nvme_cmd_flush);
		c.sqe.nsid = put32(s->nsid);
		err = fab_exec(q, &c, &r);
		if (!expect_status(s, err, &r, NVME_OK))
			return false;
		if (get16(r.cqe.sqhd) != expected)
			return suite_fail(s, "got SQHD %u after command %u, expected %u",
					  get16(r.cqe.sqhd), i, expected);
	}
	return true;
}

/* It counts each command, Connect first, and wraps at the size that Connect named. */
static bool head_wraps(struct suite *s, const void *row)
{
	const uint16_t *depth = row;
	struct suite_pair p;
	bool ok = suite_pair_create(s, *depth, &p) && expect_heads(s, &p.q, 3u * *depth, 2);

	suite_pair_destroy(&p);
	return ok;
}

/* A refused command takes an entry too. */
static bool head_counts_refused(struct suite *s, const void *row)
{
	struct capsule c;
	struct host_response r;
	struct suite_pair p;
	bool ok = suite_pair_create(s, 8, &p);

	(void)row;
	if (ok) {
		int err;

		fab_capsule_init(&c, 0xff);
		err = fab_exec(&p.q, &c, &r);
		ok = expect_status(s, err, &r, NVME_INVALID_OPCODE | DNR);
	}
	ok = ok && (get16(r.cqe.sqhd) == 2 ||
		    suite_fail(s, "got SQHD %u, expected 2", get16(r.cqe.sqhd)));
	ok = ok && expect_heads(s, &p.q, 8, 3);
	suite_pair_destroy(&p);
	return ok;
}

/* SQ flow control disabled: SQHD is reserved, we answer FFFFh as the kernel's target. */
static bool flow_control_off(struct suite *s, const void *row)
{
	static const struct fab_options o = { .cattr = CATTR_DISABLE_SQFLOW };
	struct capsule c;
	struct host_response r;
	struct fab_ctrl *ctrl;
	bool ok;
	int err;

	(void)row;
	if (!suite_create(s, &o, &ctrl))
		return false;
	fab_capsule_init(&c, ADM_KEEP_ALIVE);
	err = fab_exec(&ctrl->admin, &c, &r);
	ok = expect_status(s, err, &r, NVME_KATO_INVALID | DNR);
	ok = ok && (get16(r.cqe.sqhd) == 0xffff ||
		    suite_fail(s, "got SQHD %#x, expected 0xffff", get16(r.cqe.sqhd)));
	fab_ctrl_destroy(ctrl);
	return ok;
}

/* ---- more commands than entries ----------------------------------------------------------------
 */

static bool overfill(struct suite *s, struct suite_pair *p, struct nvme_sqe *sqes)
{
	uint32_t nblocks = (uint32_t)(s->ctrl->mdts_len / s->lba_len);
	struct capsule c;
	struct host_response r;
	int err;

	for (unsigned int i = 0; i < HOST_DEPTH; i++) {
		fab_rw_init(&c, nvme_cmd_read, s->nsid, 0, nblocks);
		c.sqe.cid = put16((uint16_t)i);
		c.sqe.dptr = fab_sgl_keyed(&s->data, nblocks * s->lba_len, SGL_SUB_ADDRESS);
		sqes[i] = c.sqe;
	}
	err = host_send_chain(p->q.conn, sqes, sizeof(*sqes), HOST_DEPTH);
	if (err)
		return suite_fail(s, "cannot send: %s", strerror(-err));
	while (host_wait(p->q.conn, HOST_TIMEOUT_MS, &r) == 0) /* some may be answered before */
		;
	return expect_gone(s, p->q.conn) && suite_others_live(s);
}

/* 64 reads of the largest size at once, on a queue of two entries: the connection is ended. */
static bool too_many(struct suite *s, const void *row)
{
	struct nvme_sqe *sqes = calloc(HOST_DEPTH, sizeof(*sqes));
	struct suite_pair p = { 0 };
	bool ok;

	(void)row;
	if (!sqes)
		return suite_fail(s, "no memory");
	ok = suite_pair_create(s, 2, &p) && overfill(s, &p, sqes);
	suite_pair_destroy(&p);
	free(sqes);
	return ok;
}

/* Without waiting, but never more than there are entries: every one is answered. */
static bool full_queue(struct suite *s, const void *row)
{
	struct nvme_sqe sqes[15];
	struct capsule c;
	struct host_response r;
	bool seen[15] = { false };

	(void)row;
	if (!suite_controller(s))
		return false;
	for (uint16_t i = 0; i < 15; i++) {
		fab_rw_init(&c, nvme_cmd_read, s->nsid, i, 8);
		c.sqe.cid = put16(i);
		c.sqe.dptr = fab_sgl_keyed(&s->data, 8 * s->lba_len, SGL_SUB_ADDRESS);
		sqes[i] = c.sqe;
	}
	for (unsigned int round = 0; round < 20; round++) {
		memset(seen, 0, sizeof(seen));
		if (host_send_chain(s->io.conn, sqes, sizeof(sqes[0]), 15))
			return suite_fail(s, "cannot send");
		for (unsigned int i = 0; i < 15; i++) {
			int err = host_wait(s->io.conn, HOST_TIMEOUT_MS, &r);
			uint16_t cid = get16(r.cqe.cid);

			if (!expect_status(s, err, &r, NVME_OK))
				return false;
			if (cid >= 15 || seen[cid])
				return suite_fail(s, "got CID %u twice, or never sent", cid);
			seen[cid] = true;
		}
	}
	return true;
}

/* ---- capsules of wrong length ------------------------------------------------------------------
 */

struct length_case {
	const char *name;
	enum on on;
	bool before_connect;
	uint32_t len; /* bytes */
};

static const struct length_case length_rows[] = {
	{ "capsule-0-bytes", ON_IO, false, 0 },
	{ "capsule-1-byte", ON_IO, false, 1 },
	{ "capsule-63-bytes", ON_IO, false, 63 },
	{ "capsule-admin-0-bytes", ON_ADMIN, false, 0 },
	{ "capsule-admin-63-bytes", ON_ADMIN, false, 63 },
	{ "capsule-admin-too-long", ON_ADMIN, false, 20000 },
	{ "capsule-too-long", ON_IO, false, 20000 },
	{ "capsule-first-0-bytes", ON_IO, true, 0 },
	{ "capsule-first-63-bytes", ON_IO, true, 63 },
	{ "capsule-first-too-long", ON_IO, true, 20000 },
	{ "capsule-first-admin-16-bytes", ON_ADMIN, true, 16 },
};

static bool length_on(struct suite *s, const struct length_case *t, struct host_conn *conn)
{
	static const uint8_t bytes[HOST_CAPSULE_MAX];
	int err = host_send(conn, bytes, t->len);

	if (err)
		return suite_fail(s, "cannot send: %s", strerror(-err));
	return expect_gone(s, conn) && suite_others_live(s);
}

static bool length_case(struct suite *s, const void *row)
{
	const struct length_case *t = row;
	struct suite_pair p = { 0 };
	bool ok;

	if (t->before_connect) {
		int err =
			fab_queue_open(s->fh->host, t->on == ON_ADMIN ? 0 : suite_qid(s), 32, &p.q);

		ok = (!err && suite_controller(s)) || suite_fail(s, "no connection");
		ok = ok && length_on(s, t, p.q.conn);
	} else {
		ok = suite_pair_create(s, 8, &p) &&
		     length_on(s, t, t->on == ON_ADMIN ? p.ctrl->admin.conn : p.q.conn);
		/* with the admin queue goes the controller, and with it its I/O queues */
		if (ok && t->on == ON_ADMIN)
			ok = expect_gone(s, p.q.conn);
	}
	suite_pair_destroy(&p);
	return ok;
}

/* More bytes than the SGL says are nobody's business. */
static bool bytes_behind_sqe(struct suite *s, const void *row)
{
	struct capsule c;
	struct host_response r;
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	if (s->ctrl->in_capsule < 512)
		return suite_skip(s, "this controller takes no in-capsule data");
	fab_capsule_init(&c, nvme_cmd_flush);
	c.sqe.nsid = put32(s->nsid);
	memset(c.data, 0x5a, 512);
	c.data_len = 512;
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, NVME_OK);
}

/* ---- hosts that do not take what they are sent --------------------------------------------------
 */

/* Without receives here the target's responses stay with its RNIC. Others are served, and when this
 * host goes, so does all of it. */
static bool no_receives(struct suite *s, const void *row)
{
	const uint16_t *qid = row;
	struct host_request req = host_default_request(*qid, 32);
	struct host_answer answer;
	struct host_conn *c = NULL;
	struct capsule capsule;
	bool ok;
	int err;

	req.no_receives = true;
	err = host_connect(s->fh->host, &req, &c, &answer);
	if (err)
		return suite_fail(s, "no connection: %s", strerror(-err));
	fab_capsule_init(&capsule, ADM_KEEP_ALIVE);
	for (int i = 0; i < 30 && !err; i++)
		err = host_send(c, &capsule.sqe, sizeof(capsule.sqe));
	ok = !err || suite_fail(s, "cannot send: %s", strerror(-err));
	ok = ok && suite_others_live(s);
	host_close(c);
	return ok && suite_others_live(s);
}

/* The command was done before, or its queue ends. */
static bool done_or_gone(struct suite *s, struct fab_queue *q)
{
	struct host_response r;
	int err = host_wait(q->conn, HOST_TIMEOUT_MS, &r);

	return err == -ENOTCONN || expect_status(s, err, &r, NVME_OK);
}

/* Memory that goes away under a command. What was written there is nobody's. */
static bool memory_goes(struct suite *s, const void *row)
{
	const uint8_t *opcode = row;

	for (int i = 0; i < 5; i++) {
		struct host_buffer b = { 0 };
		struct suite_pair p;
		struct capsule c;
		uint32_t nblocks;
		bool ok = suite_pair_create(s, 8, &p) &&
			  (host_alloc(s->fh->host, s->ctrl->mdts_len, 0x5a, &b) == 0 ||
			   suite_fail(s, "no memory"));

		if (ok) {
			nblocks = (uint32_t)(s->ctrl->mdts_len / s->lba_len);
			fab_rw_init(&c, *opcode, s->nsid, FREE_LBA, nblocks);
			c.sqe.dptr = fab_sgl_keyed(&b, nblocks * s->lba_len, SGL_SUB_ADDRESS);
			ok = fab_send(&p.q, &c) == 0 || suite_fail(s, "cannot send");
		}
		host_free(&b);
		ok = ok && done_or_gone(s, &p.q) && suite_others_live(s);
		suite_pair_destroy(&p);
		if (!ok)
			return false;
	}
	return true;
}

/* 64 commands on the admin queue of 32 entries, without waiting: each is answered, or the
 * connection ends. */
static bool admin_flood(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct nvme_sqe *sqes = calloc(HOST_DEPTH, sizeof(*sqes));
	struct host_response r;
	struct fab_ctrl *c;
	unsigned int answered = 0;
	bool ok;

	(void)row;
	if (!sqes || !suite_create(s, &plain, &c)) {
		free(sqes);
		return false;
	}
	for (unsigned int i = 0; i < HOST_DEPTH; i++) {
		struct capsule capsule;

		fab_capsule_init(&capsule, ADM_IDENTIFY);
		capsule.sqe.cdw10 = put32(1);
		capsule.sqe.dptr = fab_sgl_keyed(&c->page, 4096, SGL_SUB_ADDRESS);
		sqes[i] = capsule.sqe;
	}
	ok = host_send_chain(c->admin.conn, sqes, sizeof(*sqes), HOST_DEPTH) == 0 ||
	     suite_fail(s, "cannot send");
	while (ok && answered < HOST_DEPTH && host_wait(c->admin.conn, HOST_TIMEOUT_MS, &r) == 0)
		answered++;
	if (ok && answered < HOST_DEPTH && !host_gone(c->admin.conn))
		ok = suite_fail(s, "got %u answers, expected %u or the end", answered, HOST_DEPTH);
	free(sqes);
	fab_ctrl_destroy(c);
	return ok && suite_others_live(s);
}

/* The same CID twice at a time: both are answered, and nothing breaks. (A host that does so cannot
 * tell the answers apart; refusing is allowed, not demanded: Base 2.1, 4.2.3.2.) */
static bool same_cid(struct suite *s, const void *row)
{
	struct nvme_sqe sqes[2];
	struct capsule c;
	struct host_response r;

	(void)row;
	if (!suite_controller(s))
		return false;
	fab_rw_init(&c, nvme_cmd_read, s->nsid, 0, 8);
	c.sqe.cid = put16(0x1234);
	c.sqe.dptr = fab_sgl_keyed(&s->data, 8 * s->lba_len, SGL_SUB_ADDRESS);
	sqes[0] = sqes[1] = c.sqe;
	if (host_send_chain(s->io.conn, sqes, sizeof(sqes[0]), 2))
		return suite_fail(s, "cannot send");
	for (int i = 0; i < 2; i++) {
		int err = host_wait(s->io.conn, HOST_TIMEOUT_MS, &r);

		if (err || get16(r.cqe.cid) != 0x1234)
			return suite_fail(s, "got %s, CID %#x", strerror(-err), get16(r.cqe.cid));
	}
	return suite_others_live(s);
}

void flow_cases(struct suite *s)
{
	static const uint16_t depth_2 = 2, depth_5 = 5, admin = 0, io = 9;
	static const uint8_t read = nvme_cmd_read, write = nvme_cmd_write;

	suite_case(s, "head-wraps-at-5", NOW, head_wraps, &depth_5);
	suite_case(s, "head-wraps-at-2", NOW, head_wraps, &depth_2);
	suite_case(s, "head-counts-refused", NOW, head_counts_refused, NULL);
	suite_case(s, "flow-control-off", NOW, flow_control_off, NULL);
	suite_case(s, "full-queue", NOW, full_queue, NULL);
	suite_case(s, "same-cid", NOW, same_cid, NULL);
	suite_case(s, "more-commands-than-entries", NOW, too_many, NULL);
	for (size_t i = 0; i < sizeof(length_rows) / sizeof(length_rows[0]); i++)
		suite_case(s, length_rows[i].name, NOW, length_case, &length_rows[i]);
	suite_case(s, "no-receives-admin", NOW, no_receives, &admin);
	suite_case(s, "no-receives-io", NOW, no_receives, &io);
	suite_case(s, "memory-goes-under-read", NOW, memory_goes, &read);
	suite_case(s, "memory-goes-under-write", NOW, memory_goes, &write);
	suite_case(s, "admin-flood", NOW, admin_flood, NULL);
	suite_case(s, "bytes-behind-sqe", NOW, bytes_behind_sqe, NULL);
}
