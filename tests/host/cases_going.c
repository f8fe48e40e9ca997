/*
 * Hosts that go while their commands are in whatever state, and hosts that stay and take nothing:
 * no responses, no acknowledgements. What they held comes back to others.
 */
#include "tests/host/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LAST     (SGL_LAST_SEGMENT << 4 | SGL_SUB_OFFSET)
#define COMMANDS (IO_QUEUE_DEPTH - 1)

/* ---- going ------------------------------------------------------------------------------------
 */

enum form { LARGE, ONE_BLOCK, LIST, FUSED };

/* What is under way. From the capsule to the response each passes other states: memory is waited
 * for, the host is read, the drive works, the blocks are locked, the response is sent. */
struct going_case {
	const char *name;
	uint8_t opcode;
	enum form form;
};

static const struct going_case going_rows[] = {
	{ "read", nvme_cmd_read, LARGE },
	{ "write", nvme_cmd_write, LARGE },
	{ "compare", nvme_cmd_compare, LARGE },
	{ "read-block", nvme_cmd_read, ONE_BLOCK },
	{ "write-block", nvme_cmd_write, ONE_BLOCK },
	{ "write-zeroes", nvme_cmd_write_zeroes, LARGE },
	{ "verify", nvme_cmd_verify, LARGE },
	{ "flush", nvme_cmd_flush, ONE_BLOCK },
	{ "copy", nvme_cmd_copy, ONE_BLOCK },
	{ "dsm", nvme_cmd_dsm, ONE_BLOCK },
	{ "read-list", nvme_cmd_read, LIST },
	{ "write-list", nvme_cmd_write, LIST },
	{ "fused", nvme_cmd_compare, FUSED },
};

static void put_list(struct suite *s, uint32_t nblocks, struct capsule *c)
{
	uint32_t len = nblocks * s->lba_len, n = s->ctrl->id.msdbd, at = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct host_buffer part = s->data;
		uint32_t piece = i + 1 < n ? len / n / 512 * 512 : len - at;
		union nvme_sgl d;

		part.va += at;
		d = fab_sgl_keyed(&part, piece, SGL_SUB_ADDRESS);
		memcpy(c->data + i * sizeof(d), &d, sizeof(d));
		at += piece;
	}
	c->data_len = n * (uint32_t)sizeof(union nvme_sgl);
	c->sqe.dptr = fab_sgl_in_capsule(0, c->data_len);
	c->sqe.dptr.data.type = LAST;
}

static void put_command(struct suite *s, const struct going_case *t, unsigned int i,
			struct capsule *c)
{
	const struct io_form *f = io_forms;
	uint32_t nblocks = (uint32_t)(s->ctrl->mdts_len / s->lba_len);
	uint8_t opcode = t->form == FUSED && i % 2 ? nvme_cmd_write : t->opcode;

	while (f->opcode != opcode)
		f++;
	suite_io_init(s, f, FREE_LBA, c);
	if (t->form == FUSED)
		c->sqe.flags |= (uint8_t)(1 + i % 2);
	if (t->form != LARGE && t->form != LIST)
		return;
	c->sqe.cdw12 = put32(nblocks - 1);
	if (t->form == LIST)
		put_list(s, nblocks, c);
	else if (opcode == nvme_cmd_read || opcode == nvme_cmd_write || opcode == nvme_cmd_compare)
		c->sqe.dptr = fab_sgl_keyed(&s->data, nblocks * s->lba_len, SGL_SUB_ADDRESS);
}

/* Full of commands, and after @delay_us the host is gone. */
static bool goes_once(struct suite *s, const struct going_case *t, unsigned int delay_us,
		      bool vanishes)
{
	struct suite_pair p;
	bool ok = suite_pair_create(s, IO_QUEUE_DEPTH, &p);

	for (unsigned int i = 0; i < COMMANDS / 2 * 2 && ok; i++) {
		struct capsule c;

		put_command(s, t, i, &c);
		ok = fab_send(&p.q, &c) == 0 || suite_fail(s, "cannot send");
	}
	if (delay_us)
		usleep(delay_us); /* then it goes, whatever has become of them */
	if (ok && vanishes)
		ok = host_vanish(p.q.conn) == 0 || suite_fail(s, "cannot vanish");
	suite_pair_destroy(&p);
	return ok && suite_others_live(s);
}

static const unsigned int delays_us[] = { 0, 300, 1000, 3000, 10000, 40000 };

static bool goes(struct suite *s, const struct going_case *t, bool vanishes)
{
	if (!suite_controller(s))
		return false;
	if (t->form == LIST && s->ctrl->id.msdbd < 2)
		return suite_skip(s, "this controller takes no lists");
	for (size_t i = 0; i < sizeof(delays_us) / sizeof(delays_us[0]); i++)
		if (!goes_once(s, t, delays_us[i], vanishes))
			return false;
	return expect_pattern(s);
}

static bool goes_case(struct suite *s, const void *row)
{
	return goes(s, row, false);
}

static bool vanishes_case(struct suite *s, const void *row)
{
	return goes(s, row, true);
}

/* ---- taking nothing -----------------------------------------------------------------------------
 */

#define DEAF_QUEUES 6
#define DEAF_DEPTH  64

/* Queues with room for the response to Connect and no other; commands until they are full. */
struct deaf_case {
	const char *name;
	uint8_t opcode;
	enum form form;
	uint8_t rnr_retries; /* of the target; 7: for ever */
	uint32_t kato_ms;
	bool vanishes;       /* instead: nothing is acknowledged any more */
	bool one_queue_each; /* of so many controllers; otherwise all of one */
};

static const struct deaf_case deaf_rows[] = {
	{ "rnr-0", nvme_cmd_read, ONE_BLOCK, 0, 0, false, false },
	{ "rnr-1", nvme_cmd_read, LARGE, 1, 0, false, false },
	{ "rnr-6-write", nvme_cmd_write, LARGE, 6, 0, false, false },
	{ "for-ever-keep-alive", nvme_cmd_read, LARGE, 7, 1000, false, false },
	{ "for-ever-read", nvme_cmd_read, LARGE, 7, 0, false, false },
	{ "for-ever-write", nvme_cmd_write, LARGE, 7, 0, false, false },
	{ "acknowledges-no-write", nvme_cmd_read, LARGE, 7, 0, true, false },
	{ "acknowledges-no-read", nvme_cmd_write, LARGE, 7, 0, true, false },
	{ "for-ever-many-controllers", nvme_cmd_read, LARGE, 7, 0, false, true },
};

static bool open_deaf(struct suite *s, const struct deaf_case *t, struct fab_ctrl *ctrl,
		      uint16_t qid, struct fab_queue *q)
{
	struct host_request req = host_default_request(qid, DEAF_DEPTH);
	struct host_answer answer;
	struct host_response r;
	struct capsule c;
	int err;

	req.data.cntlid = put16(ctrl->cntlid);
	req.receives = 1;
	req.rnr_retries = t->rnr_retries;
	*q = (struct fab_queue){ .qid = qid, .sqsize = DEAF_DEPTH, .next_cid = 1 };
	err = host_connect(s->fh->host, &req, &q->conn, &answer);
	if (err)
		return suite_fail(s, "cannot connect: %s", strerror(-err));
	fab_connect_init(&c, ctrl->fh, &ctrl->page, ctrl->cntlid, qid, q->sqsize);
	err = fab_exec(q, &c, &r);
	return expect_status(s, err, &r, NVME_OK);
}

/* Large reads and writes by another queue, which want the memory that the deaf ones hold. */
static bool others_work(struct suite *s)
{
	uint32_t nblocks = (uint32_t)(s->ctrl->mdts_len / s->lba_len);

	return suite_controller(s) && suite_transfer(s, nvme_cmd_write, FREE_LBA, nblocks) &&
	       suite_transfer(s, nvme_cmd_read, FREE_LBA, nblocks);
}

/* For the target to see that nothing comes of it: 30 s at most, and as long again for queues that
 * had no memory before. */
#define ENOUGH_MS (DEAF_QUEUES * 30000)

static bool all_gone(struct suite *s, struct fab_queue *q)
{
	uint64_t end = host_now_ms() + ENOUGH_MS;
	unsigned int i = 0;

	while (i < DEAF_QUEUES && host_now_ms() < end) {
		if (!others_work(s))
			return false;
		while (i < DEAF_QUEUES && host_wait_gone(q[i].conn, 500))
			i++;
	}
	return i == DEAF_QUEUES ||
	       suite_fail(s, "got queue %u of %u alive after %u s, and its memory with it", i + 1,
			  DEAF_QUEUES, ENOUGH_MS / 1000);
}

static bool load(struct suite *s, const struct deaf_case *t, struct fab_queue *q)
{
	const struct going_case what = { t->name, t->opcode, t->form };

	for (unsigned int i = 0; i < DEAF_DEPTH - 2; i++) {
		struct capsule c;
		int err;

		put_command(s, &what, i, &c);
		err = fab_send(q, &c);
		if (err == -ENOTCONN) /* ended already, maybe with another of its controller's */
			return true;
		if (err)
			return suite_fail(s, "cannot send: %s", strerror(-err));
	}
	if (t->vanishes && host_vanish(q->conn))
		return suite_fail(s, "cannot vanish");
	return true;
}

/* Another host than the one whose commands are to go on. */
static bool open_deaf_controllers(struct suite *s, const struct deaf_case *t,
				  struct fab_ctrl *ctrl[DEAF_QUEUES])
{
	const struct fab_options o = { .kato_ms = t->kato_ms };
	static struct fab_host fh;
	int err = 0;

	suite_another_host(s, "-deaf", &fh);
	for (unsigned int i = 0; i < (t->one_queue_each ? DEAF_QUEUES : 1) && !err; i++)
		err = fab_ctrl_create(&fh, &o, &ctrl[i]);
	return !err || suite_fail(s, "no controller of a deaf host: %s", strerror(-err));
}

static bool deaf_case(struct suite *s, const void *row)
{
	const struct deaf_case *t = row;
	struct fab_queue q[DEAF_QUEUES] = { 0 };
	struct fab_ctrl *ctrl[DEAF_QUEUES] = { 0 };
	bool ok = suite_controller(s) && open_deaf_controllers(s, t, ctrl);

	for (unsigned int i = 0; i < DEAF_QUEUES && ok; i++)
		ok = t->one_queue_each ? open_deaf(s, t, ctrl[i], 1, &q[i])
				       : open_deaf(s, t, ctrl[0], (uint16_t)(i + 1), &q[i]);
	for (uint16_t i = 0; i < DEAF_QUEUES && ok; i++)
		ok = load(s, t, &q[i]);
	ok = ok && all_gone(s, q);
	for (unsigned int i = 0; i < DEAF_QUEUES; i++)
		fab_queue_close(&q[i]);
	for (unsigned int i = 0; i < DEAF_QUEUES; i++)
		fab_ctrl_destroy(ctrl[i]);
	return ok && suite_others_live(s);
}

/* ---- going in a state for certain ---------------------------------------------------------------
 *
 * Above, what a command's state is when its host goes is left to chance; here it is made, and stays
 * until the host goes.
 */

struct leaving_case {
	const char *name;
	struct going_case what;
	bool vanishes;
};

static const struct leaving_case leaving_rows[] = {
	/* the response is out, and there is no receive for it */
	{ "leaves-while-answered", { NULL, nvme_cmd_read, ONE_BLOCK }, false },
	/* the first of a host's large reads hold all the memory that it gets */
	{ "leaves-while-waiting-for-memory", { NULL, nvme_cmd_read, LARGE }, false },
	/* the first lists hold all work requests that the queue's commands share */
	{ "leaves-while-waiting-for-work-requests", { NULL, nvme_cmd_read, LIST }, false },
	/* what the target asks for is not answered any more */
	{ "leaves-while-read-from", { NULL, nvme_cmd_write, LARGE }, true },
};

static bool leave(struct suite *s, const struct leaving_case *t, struct fab_ctrl *ctrl)
{
	const struct deaf_case deaf = { t->name, t->what.opcode, t->what.form, 7,
					0,       t->vanishes,    false };
	uint64_t end = host_now_ms() + HOST_TIMEOUT_MS;
	struct fab_queue q[DEAF_QUEUES] = { 0 };
	bool ok = true;

	memset(s->data.va, FAB_GUARD, FAB_DATA_LEN);
	for (uint16_t i = 0; i < DEAF_QUEUES && ok; i++)
		ok = open_deaf(s, &deaf, ctrl, (uint16_t)(i + 1), &q[i]);
	for (uint16_t i = 0; i < DEAF_QUEUES && ok; i++)
		ok = load(s, &deaf, &q[i]);
	/* the first answer is on its way when its data is here; the others are behind it */
	while (ok && !t->vanishes && *(volatile uint8_t *)s->data.va == FAB_GUARD)
		if (host_now_ms() > end)
			ok = suite_fail(s, "got no data");
	for (unsigned int i = 0; i < DEAF_QUEUES; i++)
		fab_queue_close(&q[i]);
	return ok;
}

static bool leaving_case(struct suite *s, const void *row)
{
	const struct leaving_case *t = row;
	static const struct fab_options plain;
	struct fab_ctrl *ctrl;
	bool ok;

	if (!suite_controller(s))
		return false;
	/* not the guard: it is seen when it has come */
	memset(s->data.va, 0, s->lba_len);
	if (!suite_transfer(s, nvme_cmd_write, FREE_LBA, 1) || !suite_create(s, &plain, &ctrl))
		return false;
	ok = leave(s, t, ctrl);
	fab_ctrl_destroy(ctrl);
	return ok && suite_others_live(s) && expect_pattern(s);
}

void going_cases(struct suite *s)
{
	char name[64];

	for (size_t i = 0; i < sizeof(going_rows) / sizeof(going_rows[0]); i++) {
		snprintf(name, sizeof(name), "goes-under-%s", going_rows[i].name);
		suite_case(s, name, NOW, goes_case, &going_rows[i]);
		snprintf(name, sizeof(name), "vanishes-under-%s", going_rows[i].name);
		suite_case(s, name, NOW, vanishes_case, &going_rows[i]);
	}
	for (size_t i = 0; i < sizeof(leaving_rows) / sizeof(leaving_rows[0]); i++)
		suite_case(s, leaving_rows[i].name, NOW, leaving_case, &leaving_rows[i]);
}

void deaf_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(deaf_rows) / sizeof(deaf_rows[0]); i++)
		suite_case(s, deaf_rows[i].name, NOW, deaf_case, &deaf_rows[i]);
}
