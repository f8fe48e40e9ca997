/*
 * What a host tries that means harm, beside what the other groups have of it: keys and controllers
 * that are not its own, connections that come to nothing, segments of every length. README.md says
 * which case shows what. After each, another host's commands are answered as before.
 */
#include "tests/host/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_INVALID    (NVME_SGL_TYPE_INVALID | DNR)
#define LEN_INVALID     (NVME_SGL_DATA_LENGTH_INVALID | DNR)
#define OFFSET_INVALID  (NVME_SGL_OFFSET_INVALID | DNR)
#define COUNT_INVALID   (NVME_SGL_COUNT_INVALID | DNR)
#define SEGMENT_INVALID (0x00d | DNR)
#define LAST            (SGL_LAST_SEGMENT << 4 | SGL_SUB_OFFSET)

/* ---- connections that come to nothing -----------------------------------------------------------
 */

struct crowd_case {
	const char *name;
	unsigned int n;
	bool half_open;
	unsigned int wait_ms; /* until the target has had enough of them */
};

/* 10 s is what a connection has for its Connect command. */
static const struct crowd_case crowd_rows[] = {
	{ "half-open-200", 200, true, 0 },
	{ "half-open-200-stay", 200, true, 12000 },
	{ "silent-50", 50, false, 0 },
	{ "silent-50-stay", 50, false, 12000 },
};
#define CROWD_MAX 200

static unsigned int gather(struct suite *s, const struct crowd_case *t, struct host_conn **crowd)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->n; i++) {
		struct host_request req = host_default_request((uint16_t)(i % 3), 32);
		struct host_answer answer;

		req.half_open = t->half_open;
		if (host_connect(s->fh->host, &req, &crowd[n], &answer) == 0)
			n++;
		else if (answer.outcome == HOST_FAILED && !answer.event)
			break;
	}
	return n;
}

/* All of them at the same time; while they stay, others connect and do their I/O. */
static bool crowd_case(struct suite *s, const void *row)
{
	const struct crowd_case *t = row;
	struct host_conn *crowd[CROWD_MAX] = { NULL };
	struct suite_pair p = { 0 };
	unsigned int n;
	uint64_t end;
	bool ok;

	if (!suite_controller(s))
		return false;
	n = gather(s, t, crowd);
	ok = n == t->n || suite_fail(s, "got %u connections, expected %u", n, t->n);
	ok = ok && suite_pair_create(s, 8, &p) && suite_others_live(s);
	suite_pair_destroy(&p);
	end = host_now_ms() + t->wait_ms;
	while (ok && host_now_ms() < end)
		ok = suite_others_live(s);
	for (unsigned int i = 0; i < n; i++)
		host_close(crowd[i]);
	return ok && suite_others_live(s);
}

/* ---- keys that are not its own ------------------------------------------------------------------
 */

static bool is_filled(const struct host_buffer *b, uint8_t with)
{
	for (size_t i = 0; i < b->len; i++)
		if (b->va[i] != with)
			return false;
	return true;
}

/* A Read or Write of one block with @b's key: the RNICs refuse, that queue ends, @b is as it was.
 */
static bool refused_key(struct suite *s, uint8_t opcode, const struct host_buffer *b)
{
	struct suite_pair p;
	struct capsule c;
	bool ok = suite_pair_create(s, 8, &p);

	if (ok) {
		fab_rw_init(&c, opcode, s->nsid, opcode == nvme_cmd_write ? FREE_LBA : 0, 1);
		c.sqe.dptr = fab_sgl_keyed(b, s->lba_len, SGL_SUB_ADDRESS);
		ok = fab_send(&p.q, &c) == 0 || suite_fail(s, "cannot send");
	}
	ok = ok && expect_gone(s, p.q.conn);
	suite_pair_destroy(&p);
	return ok && suite_others_live(s);
}

struct key_case {
	const char *name;
	uint8_t opcode;
	unsigned int access;
	bool of_another; /* another host's: another protection domain */
	bool gone;       /* deregistered before the command */
};

#define LOCAL  IBV_ACCESS_LOCAL_WRITE
#define READS  IBV_ACCESS_REMOTE_READ
#define WRITES IBV_ACCESS_REMOTE_WRITE

static const struct key_case key_rows[] = {
	{ "read-into-another-hosts-memory", nvme_cmd_read, LOCAL | READS | WRITES, true, false },
	{ "write-from-another-hosts-memory", nvme_cmd_write, LOCAL | READS | WRITES, true, false },
	{ "read-into-read-only-memory", nvme_cmd_read, LOCAL | READS, false, false },
	{ "read-into-local-memory", nvme_cmd_read, LOCAL, false, false },
	{ "write-from-write-only-memory", nvme_cmd_write, LOCAL | WRITES, false, false },
	{ "read-into-deregistered-memory", nvme_cmd_read, LOCAL | READS | WRITES, false, true },
	{ "write-from-deregistered-memory", nvme_cmd_write, LOCAL | READS | WRITES, false, true },
};

static bool with_owner(struct suite *s, const struct key_case *t, struct host *owner)
{
	struct host_buffer b = { 0 };
	bool ok;
	int err = host_alloc_as(owner, 8192, 0x5a, t->access, &b);

	if (err)
		return suite_fail(s, "no memory: %s", strerror(-err));
	if (t->gone) {
		(void)ibv_dereg_mr(b.mr);
		b.mr = NULL;
	}
	ok = refused_key(s, t->opcode, &b) &&
	     (is_filled(&b, 0x5a) || suite_fail(s, "got memory that was written to"));
	host_free(&b);
	return ok && (t->opcode != nvme_cmd_write || expect_pattern(s));
}

static bool key_case(struct suite *s, const void *row)
{
	const struct key_case *t = row;
	struct fab_queue q;
	struct host another;
	bool ok;

	if (!suite_controller(s))
		return false;
	if (!t->of_another)
		return with_owner(s, t, s->fh->host);
	host_init(&another, s->fh->host->address, s->fh->host->service);
	ok = fab_queue_open(&another, 0, 32, &q) == 0 || suite_fail(s, "no connection");
	ok = ok && with_owner(s, t, &another);
	fab_queue_close(&q);
	host_fini(&another);
	return ok;
}

/* A memory window of type 2 is for one queue pair: another queue's commands cannot use its key. */
static bool anothers_window(struct suite *s, const void *row)
{
	const uint8_t *opcode = row;
	struct host_buffer b = { 0 };
	struct fab_queue owner = { 0 };
	bool ok;
	int err;

	if (!suite_controller(s))
		return false;
	err = fab_queue_open(s->fh->host, suite_qid(s), 8, &owner);
	if (!err)
		err = host_alloc(s->fh->host, 8192, 0x5a, &b);
	if (!err)
		err = host_bind_window(owner.conn, &b);
	if (err == -EOPNOTSUPP)
		ok = suite_skip(s, "this RNIC has no memory windows");
	else
		ok = err ? suite_fail(s, "no window: %s", strerror(-err))
			 : refused_key(s, *opcode, &b);
	ok = ok && (is_filled(&b, 0x5a) || suite_fail(s, "got memory that was written to")) &&
	     (*opcode != nvme_cmd_write || expect_pattern(s));
	host_free(&b);
	fab_queue_close(&owner);
	return ok;
}

/* ---- reaching for the target's memory -----------------------------------------------------------
 */

/* The host asks for bytes of the target by itself; nothing there can be read or written so. @addr:
 * where; keys are tried as the RNIC numbers its regions. */
static bool reach_once(struct suite *s, bool write, uint64_t addr, uint32_t rkey)
{
	struct host_request req = host_default_request(0, 32);
	struct host_answer answer;
	struct host_conn *c = NULL;
	bool ok;

	req.reads_issued = 16;
	if (host_connect(s->fh->host, &req, &c, &answer))
		return suite_fail(s, "no connection");
	ok = host_reach(c, write, addr, rkey) == 0 || suite_fail(s, "cannot post");
	/* a READ may never be begun: the target allows none */
	(void)host_wait_gone(c, write ? HOST_TIMEOUT_MS : 100);
	if (ok && host_reached(c))
		ok = suite_fail(s, "reached the target's memory at %#llx by key %#x",
				(unsigned long long)addr, rkey);
	if (ok && write && !host_gone(c))
		ok = suite_fail(s, "got no end of the connection, key %#x", rkey);
	host_close(c);
	return ok;
}

static bool reach_case(struct suite *s, const void *row)
{
	const bool *write = row;

	if (!suite_controller(s))
		return false;
	for (size_t i = 0; i < s->nkeys; i++)
		if (!reach_once(s, *write, s->reach_addr, s->keys[i]))
			return false;
	for (uint32_t i = 0; i < 16; i++)
		if (!reach_once(s, *write, s->reach_addr, i << 8 | i))
			return false;
	return suite_others_live(s);
}

/* ---- controllers that are not its own -----------------------------------------------------------
 */

/* An I/O queue of a controller that another host has, with our own names. */
static bool controller_of_another(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_ctrl *theirs = NULL;
	struct fab_host fh;
	struct fab_queue q = { 0 };
	struct capsule c;
	struct host_response r;
	bool ok;
	int err;

	(void)row;
	suite_another_host(s, "-another", &fh);
	if (!suite_controller(s))
		return false;
	err = fab_ctrl_create(&fh, &plain, &theirs);
	if (!err)
		err = fab_queue_open(s->fh->host, 1, 8, &q);
	ok = !err || suite_fail(s, "no controller of another host: %d", err);
	if (ok) {
		fab_connect_init(&c, s->fh, &s->ctrl->page, theirs->cntlid, 1, 8);
		err = fab_exec(&q, &c, &r);
		ok = expect_status(s, err, &r, NVME_CONNECT_INVALID_PARAM | DNR);
	}
	fab_queue_close(&q);
	if (ok) { /* and theirs is as it was */
		err = fab_ctrl_queue(theirs, 1, 8, &q);
		ok = err == 0 || suite_fail(s, "the other host's own queue: got %d", err);
		fab_queue_close(&q);
	}
	fab_ctrl_destroy(theirs);
	return ok && suite_others_live(s);
}

/* Who takes another host's name, where no key proves whose it is, gets a controller of its own; the
 * other's goes on. */
static bool name_of_another(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct fab_ctrl *c = NULL;
	struct fab_host fh = *s->fh;
	uint16_t before;
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	before = s->ctrl->cntlid;
	fh.hostid[15] ^= 0x7f;
	err = fab_ctrl_create(&fh, &plain, &c);
	if (err)
		return suite_fail(s, "got %d, expected a controller", err);
	if (c->cntlid == before)
		(void)suite_fail(s, "got the other's controller");
	err = c->cntlid == before;
	fab_ctrl_destroy(c);
	return !err && suite_others_live(s) &&
	       (s->ctrl->cntlid == before || suite_fail(s, "the other host lost its controller"));
}

/* ---- segments of every length -------------------------------------------------------------------
 */

/* @received bytes of descriptors behind the SQE, which says @said bytes from @offset on. Each
 * describes PIECE bytes; it is never the whole payload. */
#define PIECE 16u

static uint16_t expected_of(uint32_t said, uint32_t received, uint32_t msdbd)
{
	if (said == 0 || said % 16)
		return SEGMENT_INVALID;
	if (said > received)
		return OFFSET_INVALID;
	return said / 16 > msdbd ? COUNT_INVALID : LEN_INVALID;
}

static bool segment_of(struct suite *s, uint32_t said, uint32_t received)
{
	uint32_t room = (uint32_t)s->ctrl->in_capsule;
	uint16_t expected;
	struct capsule c;
	struct host_response r;
	int err;

	if (received > room)
		received = room;
	fab_rw_init(&c, nvme_cmd_read, s->nsid, FREE_LBA, 4096 / s->lba_len);
	for (uint32_t at = 0; at < received; at += 16) {
		union nvme_sgl d = fab_sgl_keyed(&s->data, PIECE, SGL_SUB_ADDRESS);

		memcpy(c.data + at, &d, sizeof(d));
	}
	c.data_len = received;
	c.sqe.dptr = fab_sgl_in_capsule(0, said);
	c.sqe.dptr.data.type = LAST;
	expected = expected_of(said, received, s->ctrl->id.msdbd);
	err = fab_exec(&s->io, &c, &r);
	if (!err && fab_status(&r) != expected)
		return suite_fail(s, "length %u of %u: got status %#x (%s), expected %#x", said,
				  received, fab_status(&r), fab_status_name(fab_status(&r)),
				  expected);
	return expect_status(s, err, &r, expected);
}

/* Every length up to two segments' worth, and those where 32 bits end. */
static bool segment_lengths(struct suite *s, const void *row)
{
	static const uint32_t large[] = { 4096,       65536,           1u << 24,       1u << 31,
					  UINT32_MAX, UINT32_MAX - 15, UINT32_MAX - 14 };

	(void)row;
	if (!suite_controller(s))
		return false;
	for (uint32_t said = 0; said <= 2 * 256 + 16; said++)
		if (!segment_of(s, said, 256))
			return false;
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		if (!segment_of(s, large[i], 256))
			return false;
	return true;
}

/* More descriptors than MSDBD out of 256 bytes: the second segment is the first once more. */
static bool segment_twice(struct suite *s, const void *row)
{
	struct capsule c;
	struct host_response r;
	union nvme_sgl d = fab_sgl_keyed(&s->data, PIECE, SGL_SUB_ADDRESS);
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	fab_rw_init(&c, nvme_cmd_read, s->nsid, FREE_LBA, 4096 / s->lba_len);
	d = fab_sgl_keyed(&s->data, PIECE, SGL_SUB_ADDRESS);
	for (unsigned int i = 0; i < 15; i++)
		memcpy(c.data + i * sizeof(d), &d, sizeof(d));
	d = fab_sgl_in_capsule(0, 15 * sizeof(d));
	d.data.type = LAST;
	memcpy(c.data + 15 * sizeof(d), &d, sizeof(d));
	c.data_len = 16 * sizeof(d);
	c.sqe.dptr = fab_sgl_in_capsule(0, c.data_len);
	c.sqe.dptr.data.type = SGL_SEGMENT << 4 | SGL_SUB_OFFSET;
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, COUNT_INVALID);
}

/* ---- fused halves -------------------------------------------------------------------------------
 */

#define FIRST         1
#define SECOND        2
#define FAILED_FUSED  0x009
#define MISSING_FUSED 0x00a

/* Commands that arrive together, in this order; a fused Compare is a match. */
struct fused_case {
	const char *name;
	unsigned int n;
	struct {
		uint8_t opcode, fuse;
		uint16_t status;
	} of[4];
	bool written;
};

/* clang-format off */
static const struct fused_case fused_rows[] = {
	{ "fused-read-between", 3, { { nvme_cmd_compare, FIRST, MISSING_FUSED }, { nvme_cmd_read, 0, 0 },
				  { nvme_cmd_write, SECOND, MISSING_FUSED } }, false },
	{ "fused-flush-between", 3, { { nvme_cmd_compare, FIRST, MISSING_FUSED }, { nvme_cmd_flush, 0, 0 },
				   { nvme_cmd_write, SECOND, MISSING_FUSED } }, false },
	{ "fused-unknown-between", 3, { { nvme_cmd_compare, FIRST, MISSING_FUSED }, { 0xff, 0, NVME_INVALID_OPCODE | DNR },
				     { nvme_cmd_write, SECOND, MISSING_FUSED } }, false },
	{ "fused-first-twice", 3, { { nvme_cmd_compare, FIRST, MISSING_FUSED }, { nvme_cmd_compare, FIRST, 0 },
				 { nvme_cmd_write, SECOND, 0 } }, true },
	{ "fused-second-twice", 3, { { nvme_cmd_compare, FIRST, 0 }, { nvme_cmd_write, SECOND, 0 },
				  { nvme_cmd_write, SECOND, MISSING_FUSED } }, true },
	{ "fused-first-alone-thrice", 4, { { nvme_cmd_compare, FIRST, MISSING_FUSED }, { nvme_cmd_compare, FIRST, MISSING_FUSED },
					{ nvme_cmd_compare, FIRST, MISSING_FUSED }, { nvme_cmd_flush, 0, 0 } }, false },
	{ "fused-write-first", 2, { { nvme_cmd_write, FIRST, NVME_INVALID_FIELD | DNR }, { nvme_cmd_compare, SECOND, FAILED_FUSED } }, false },
	{ "fused-flush", 2, { { nvme_cmd_flush, FIRST, NVME_INVALID_FIELD | DNR }, { nvme_cmd_flush, SECOND, FAILED_FUSED } }, false },
};
/* clang-format on */

static unsigned int put_fused(struct suite *s, const struct fused_case *t, struct nvme_sqe *sqes)
{
	uint16_t n = 0;

	for (; n < t->n; n++) {
		struct host_buffer b = s->data;
		struct capsule c;

		/* a place for each: what is compared with, what is written, what is read */
		b.va += (t->of[n].opcode == nvme_cmd_compare ? 0
			 : t->of[n].opcode == nvme_cmd_write ? 1
							     : 2) *
			65536;
		fab_rw_init(&c, t->of[n].opcode, s->nsid, FREE_LBA, 1);
		c.sqe.flags |= t->of[n].fuse;
		c.sqe.cid = put16(n);
		if (t->of[n].opcode != nvme_cmd_flush && t->of[n].opcode != 0xff)
			c.sqe.dptr = fab_sgl_keyed(&b, s->lba_len, SGL_SUB_ADDRESS);
		sqes[n] = c.sqe;
	}
	return n;
}

static bool fused_answers(struct suite *s, const struct fused_case *t, unsigned int n)
{
	struct host_response r;

	for (unsigned int i = 0; i < n; i++) {
		int err = host_wait(s->io.conn, HOST_TIMEOUT_MS, &r);
		uint16_t cid = get16(r.cqe.cid);

		if (err || cid >= n)
			return suite_fail(s, "got %s, CID %u, for %u answers", strerror(-err), cid,
					  n);
		if (fab_status(&r) != t->of[cid].status)
			return suite_fail(s, "command %u: got status %#x (%s), expected %#x",
					  cid + 1, fab_status(&r), fab_status_name(fab_status(&r)),
					  t->of[cid].status);
	}
	return true;
}

static bool fused_case(struct suite *s, const void *row)
{
	const struct fused_case *t = row;
	struct nvme_sqe sqes[4];
	uint8_t expected[4096];
	unsigned int n;

	if (!suite_controller(s))
		return false;
	suite_fill(s->data.va, s->lba_len, 31);
	if (!suite_transfer(s, nvme_cmd_write, FREE_LBA, 1))
		return false;
	suite_fill(s->data.va + 65536, s->lba_len, 32);
	n = put_fused(s, t, sqes);
	if (host_send_chain(s->io.conn, sqes, sizeof(sqes[0]), n))
		return suite_fail(s, "cannot send");
	if (!fused_answers(s, t, n) || !suite_transfer(s, nvme_cmd_read, FREE_LBA, 1))
		return false;
	suite_fill(expected, s->lba_len, t->written ? 32 : 31);
	return memcmp(s->data.va, expected, s->lba_len) == 0 ||
	       suite_fail(s, "got a block that was%s written", t->written ? " not" : "");
}

/* ---- command identifiers ------------------------------------------------------------------------
 */

#define SAME_CID 0x4321

/* As many commands as the queue takes, all with one CID, and Aborts of it: as many answers. */
static bool one_cid(struct suite *s, const void *row)
{
	struct nvme_sqe sqes[IO_QUEUE_DEPTH - 1];
	struct capsule c, abort;
	struct host_response r;
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	for (unsigned int i = 0; i < IO_QUEUE_DEPTH - 1; i++) {
		fab_rw_init(&c, i % 2 ? nvme_cmd_read : nvme_cmd_write, s->nsid, FREE_LBA + i * 8,
			    8);
		c.sqe.cid = put16(SAME_CID);
		c.sqe.dptr = fab_sgl_keyed(&s->data, 8 * s->lba_len, SGL_SUB_ADDRESS);
		sqes[i] = c.sqe;
	}
	if (host_send_chain(s->io.conn, sqes, sizeof(sqes[0]), IO_QUEUE_DEPTH - 1))
		return suite_fail(s, "cannot send");
	fab_capsule_init(&abort, ADM_ABORT);
	abort.sqe.cdw10 = put32((uint32_t)SAME_CID << 16 | s->io.qid);
	err = fab_exec(&s->ctrl->admin, &abort, &r);
	if (!expect_status(s, err, &r, NVME_OK))
		return false;
	for (unsigned int i = 0; i < IO_QUEUE_DEPTH - 1; i++) {
		err = host_wait(s->io.conn, HOST_TIMEOUT_MS, &r);
		if (err || get16(r.cqe.cid) != SAME_CID)
			return suite_fail(s, "got %u answers: %s", i, strerror(-err));
		if (fab_status(&r) && fab_status(&r) != 0x007)
			return suite_fail(s, "got status %#x (%s)", fab_status(&r),
					  fab_status_name(fab_status(&r)));
	}
	return suite_others_live(s);
}

void hostile_cases(struct suite *s)
{
	static const bool read, write = true;
	static const uint8_t c2h = nvme_cmd_read, h2c = nvme_cmd_write;

	for (size_t i = 0; i < sizeof(key_rows) / sizeof(key_rows[0]); i++)
		suite_case(s, key_rows[i].name, NOW, key_case, &key_rows[i]);
	suite_case(s, "read-into-window-of-another-queue", NOW, anothers_window, &c2h);
	suite_case(s, "write-from-window-of-another-queue", NOW, anothers_window, &h2c);
	suite_case(s, "reach-to-read", NOW, reach_case, &read);
	suite_case(s, "reach-to-write", NOW, reach_case, &write);
	suite_case(s, "controller-of-another-host", NOW, controller_of_another, NULL);
	suite_case(s, "name-of-another-host", NOW, name_of_another, NULL);
	suite_case(s, "segment-lengths", NOW, segment_lengths, NULL);
	suite_case(s, "segment-twice", NOW, segment_twice, NULL);
	for (size_t i = 0; i < sizeof(fused_rows) / sizeof(fused_rows[0]); i++)
		suite_case(s, fused_rows[i].name, NOW, fused_case, &fused_rows[i]);
	suite_case(s, "one-cid", NOW, one_cid, NULL);
	for (size_t i = 0; i < sizeof(crowd_rows) / sizeof(crowd_rows[0]); i++)
		suite_case(s, crowd_rows[i].name, NOW, crowd_case, &crowd_rows[i]);
	going_cases(s);
}
