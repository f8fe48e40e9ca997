/*
 * Memory of the target that held another host's data is used again for our answers: nothing of it
 * may come with them. One host writes secrets through as much staging memory as it can get; then we
 * have every command answered that answers with data, in right and in wrong forms, and look at all
 * of our memory.
 */
#include "tests/host/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LAST       (SGL_LAST_SEGMENT << 4 | SGL_SUB_OFFSET)
#define SECRET_LBA 8192 /* where the other host writes */

static const uint8_t secret[8] = { 0xd3, 0x1c, 0x9e, 0x57, 0xe1, 0x06, 0xbb, 0x4a };

/* ---- the host whose data it is ------------------------------------------------------------------
 */

static struct {
	struct fab_host fh;
	struct fab_ctrl *ctrl;
	struct fab_queue q;
	struct host_buffer data;
} owner;

static void owner_close(void)
{
	fab_queue_close(&owner.q);
	fab_ctrl_destroy(owner.ctrl);
	host_free(&owner.data);
	owner.ctrl = NULL;
}

static bool owner_open(struct suite *s)
{
	static const struct fab_options plain;
	int err;

	if (owner.ctrl && !host_gone(owner.ctrl->admin.conn) && !host_gone(owner.q.conn))
		return true;
	owner_close();
	suite_another_host(s, "-owner", &owner.fh);
	err = fab_ctrl_create(&owner.fh, &plain, &owner.ctrl);
	if (!err)
		err = fab_ctrl_queue(owner.ctrl, 1, 64, &owner.q);
	if (!err)
		err = host_alloc(owner.fh.host, FAB_DATA_LEN, 0, &owner.data);
	if (err)
		return suite_fail(s, "no controller of another host: %d", err);
	for (size_t i = 0; i < FAB_DATA_LEN; i++)
		owner.data.va[i] = secret[i % sizeof(secret)];
	return true;
}

/* Write them, @n commands at a time, so that as many slots of that size hold them; whether the
 * drive takes them does not matter. */
static bool spread(struct suite *s, uint32_t len, unsigned int n)
{
	struct capsule c;
	struct host_response r;

	for (unsigned int i = 0; i < n; i++) {
		fab_rw_init(&c, nvme_cmd_write, s->nsid, SECRET_LBA, len / s->lba_len);
		c.sqe.dptr = fab_sgl_keyed(&owner.data, len, SGL_SUB_ADDRESS);
		if (fab_send(&owner.q, &c))
			return suite_fail(s, "the other host cannot send");
	}
	for (unsigned int i = 0; i < n; i++)
		if (host_wait(owner.q.conn, HOST_TIMEOUT_MS, &r))
			return suite_fail(s, "the other host got no answer");
	return true;
}

/* Some behind the SQE, too, for the receives that all queues share. */
static bool spread_in_capsule(struct suite *s)
{
	struct capsule c;
	struct host_response r;

	for (unsigned int i = 0; i < 48; i++) {
		fab_rw_init(&c, nvme_cmd_write, s->nsid, SECRET_LBA, 1);
		c.data_len =
			owner.ctrl->in_capsule < 4096 ? (uint32_t)owner.ctrl->in_capsule : 4096;
		memcpy(c.data, owner.data.va, c.data_len);
		c.sqe.dptr = fab_sgl_in_capsule(0, s->lba_len); /* refused where it is too long */
		if (fab_send(&owner.q, &c))
			return suite_fail(s, "the other host cannot send");
	}
	for (unsigned int i = 0; i < 48; i++)
		if (host_wait(owner.q.conn, HOST_TIMEOUT_MS, &r))
			return suite_fail(s, "the other host got no answer");
	return true;
}

static bool spread_secrets(struct suite *s)
{
	if (!owner_open(s))
		return false;
	for (uint32_t len = 4096; len <= s->ctrl->mdts_len; len *= 4)
		if (!spread(s, len, len < 262144 ? 48 : 16))
			return false;
	return spread_in_capsule(s);
}

/* ---- looking ----------------------------------------------------------------------------------
 */

#define AROUND 65536u /* bytes behind an answer that are looked at */

static size_t looked_at; /* of our memory: the answer, and what is around it */

static void clear(struct suite *s, size_t len)
{
	looked_at = len + AROUND < FAB_DATA_LEN ? len + AROUND : FAB_DATA_LEN;
	memset(s->data.va, FAB_GUARD, looked_at);
}

/* Fifteen bytes of it in a row hold these eight. */
static bool no_secret(struct suite *s, const char *what, unsigned int code)
{
	const uint8_t *at = memmem(s->data.va, looked_at, secret, sizeof(secret));

	return !at || suite_fail(s, "%s %#x: got bytes of another host from byte %zu on", what,
				 code, (size_t)(at - s->data.va));
}

static bool nothing_came(struct suite *s, const char *what, unsigned int code)
{
	const uint8_t *va = s->data.va;

	if (va[0] != FAB_GUARD || memcmp(va, va + 1, looked_at - 1) != 0)
		return suite_fail(s, "%s %#x: got bytes, expected none", what, code);
	return true;
}

/* Whatever is answered, or not; what fails brings nothing. */
static bool harmless(struct suite *s, struct fab_queue *q, struct capsule *c, size_t len,
		     const char *what, unsigned int code)
{
	struct host_response r;
	int err;

	clear(s, len);
	err = fab_exec(q, c, &r);
	if (err)
		return suite_fail(s, "%s %#x: got no answer: %s", what, code, strerror(-err));
	return fab_status(&r) ? nothing_came(s, what, code) : no_secret(s, what, code);
}

/* ---- admin commands -----------------------------------------------------------------------------
 */

static bool identify_all(struct suite *s, const void *row)
{
	(void)row;
	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	for (uint32_t cns = 0; cns < 256; cns++) {
		struct capsule c;

		fab_capsule_init(&c, ADM_IDENTIFY);
		c.sqe.nsid = put32(cns % 2 ? 0 : s->nsid);
		c.sqe.cdw10 = put32(cns);
		c.sqe.dptr = fab_sgl_keyed(&s->data, 4096, SGL_SUB_ADDRESS);
		if (!harmless(s, &s->ctrl->admin, &c, 4096, "Identify", cns))
			return false;
		c.sqe.nsid = put32(s->nsid);
		if (!harmless(s, &s->ctrl->admin, &c, 4096, "Identify", cns))
			return false;
	}
	return true;
}

static bool is_known(uint32_t lid)
{
	return lid <= 0x13 || lid == 0x70 || lid == 0x80;
}

/* Lengths below, at and far beyond that of the page, and from an offset within it. */
static bool log_pages_all(struct suite *s, const void *row)
{
	static const uint32_t lens[] = { 4, 64, 4096, 65536, 1u << 20 };

	(void)row;
	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	for (uint32_t i = 0; i < 256 * sizeof(lens) / sizeof(lens[0]); i++) {
		uint32_t len = lens[i / 256], numd_z = len / 4 - 1;
		struct capsule c;

		if (len > s->ctrl->mdts_len || (len > 65536 && !is_known(i % 256)))
			continue;
		fab_capsule_init(&c, ADM_GET_LOG);
		c.sqe.nsid = put32(UINT32_MAX);
		c.sqe.cdw10 = put32(i % 256 | (numd_z & 0xffff) << 16);
		c.sqe.cdw11 = put32(numd_z >> 16);
		c.sqe.cdw12 = put32(i / 256 % 2 ? 8 : 0);
		c.sqe.dptr = fab_sgl_keyed(&s->data, len, SGL_SUB_ADDRESS);
		if (!harmless(s, &s->ctrl->admin, &c, len, "Get Log Page", i % 256))
			return false;
	}
	return true;
}

static bool features_all(struct suite *s, const void *row)
{
	static const uint32_t lens[] = { 8, 16, 512, 4096 };

	(void)row;
	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	for (uint32_t fid = 0; fid < 256; fid++)
		for (uint32_t sel = 0; sel < 4; sel++) {
			struct capsule c;

			fab_capsule_init(&c, ADM_GET_FEATURES);
			c.sqe.nsid = put32(s->nsid);
			c.sqe.cdw10 = put32(fid | sel << 8);
			c.sqe.cdw11 = put32(1); /* where it means something: extended */
			c.sqe.dptr = fab_sgl_keyed(&s->data, lens[sel], SGL_SUB_ADDRESS);
			if (!harmless(s, &s->ctrl->admin, &c, lens[sel], "Get Features", fid))
				return false;
		}
	return true;
}

/* Every opcode whose lowest bits say that data goes to the host, known or not. */
static bool opcodes_all(struct suite *s, const void *row)
{
	const enum on *on = row;

	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	for (unsigned int opcode = 2; opcode < 256; opcode += 4)
		for (uint32_t len = 512; len <= 65536; len *= 2) {
			struct capsule c;

			fab_capsule_init(&c, (uint8_t)opcode);
			c.sqe.nsid = put32(s->nsid);
			c.sqe.cdw10 = put32(len / 4 - 1);
			c.sqe.cdw11 = put32(0);
			c.sqe.dptr = fab_sgl_keyed(&s->data, len, SGL_SUB_ADDRESS);
			if (!harmless(s, *on == ON_ADMIN ? &s->ctrl->admin : &s->io, &c, len,
				      "opcode", opcode))
				return false;
		}
	return true;
}

/* ---- I/O commands -------------------------------------------------------------------------------
 */

static bool reports_all(struct suite *s, const void *row)
{
	(void)row;
	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	for (uint32_t len = 4; len <= s->ctrl->mdts_len; len *= 4) {
		struct capsule c;

		fab_capsule_init(&c, nvme_cmd_resv_report);
		c.sqe.nsid = put32(s->nsid);
		c.sqe.cdw10 = put32(len / 4 - 1);
		c.sqe.cdw11 = put32(1); /* EDS */
		c.sqe.dptr = fab_sgl_keyed(&s->data, len, SGL_SUB_ADDRESS);
		if (!harmless(s, &s->io, &c, len, "Reservation Report of bytes", len))
			return false;
	}
	return true;
}

struct read_case {
	const char *name;
	uint64_t slba; /* from the end, if less_end */
	bool from_end;
	uint32_t nblocks;
	int32_t more; /* bytes that the SGL has more than that */
	uint32_t nsid;
	uint8_t type; /* of the descriptor; 0: keyed */
};

static const struct read_case read_rows[] = {
	{ "read-short-sgl", 0, false, 8, -1, MY_NSID, 0 },
	{ "read-long-sgl", 0, false, 8, 1, MY_NSID, 0 },
	{ "read-far-too-long-sgl", 0, false, 1, 1 << 20, MY_NSID, 0 },
	{ "read-over-end", 1, true, 8, 0, MY_NSID, 0 },
	{ "read-of-nobody", 0, false, 8, 0, UNKNOWN_NSID, 0 },
	{ "read-bit-bucket", 0, false, 8, 0, MY_NSID, SGL_BIT_BUCKET << 4 },
	{ "read-blocks", 0, false, 8, 0, MY_NSID, 0 },
};

static bool read_case(struct suite *s, const void *row)
{
	const struct read_case *t = row;
	uint64_t slba;
	struct capsule c;

	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	slba = t->from_end ? s->nlb - t->slba : t->slba;
	for (int i = 0; i < 20; i++) {
		fab_rw_init(&c, nvme_cmd_read, t->nsid == MY_NSID ? s->nsid : t->nsid, slba,
			    t->nblocks);
		c.sqe.dptr = fab_sgl_keyed(&s->data,
					   (uint32_t)((int32_t)(t->nblocks * s->lba_len) + t->more),
					   SGL_SUB_ADDRESS);
		if (t->type) {
			c.sqe.dptr = fab_sgl_in_capsule(0, t->nblocks * s->lba_len);
			c.sqe.dptr.data.type = t->type;
		}
		if (!harmless(s, &s->io, &c, 1u << 20, t->name, 0) ||
		    (t->type && !nothing_came(s, t->name, 0)))
			return false;
	}
	return true;
}

/* Pieces of a read: some are thrown away, some have a key that is none. What lies between and
 * behind the pieces stays as it was; of what was read before it ended, nothing is another's. */
struct piece_case {
	const char *name;
	uint32_t len[4]; /* up to a 0 */
	char kind[5];    /* k: keyed, b: bit bucket, x: a key of nothing */
};

/* Each begins on a page, as a CMB that is proved for whole pages needs it. */
static const struct piece_case piece_rows[] = {
	{ "pieces", { 4096, 8192, 16384, 4096 }, "kkkk" },
	{ "pieces-bucket-first", { 4096, 28672 }, "bk" },
	{ "pieces-bucket-between", { 4096, 16384, 12288 }, "kbk" },
	{ "pieces-bucket-last", { 4096, 28672 }, "kb" },
	{ "pieces-last-fails", { 4096, 8192, 20480 }, "kkx" },
	{ "pieces-first-fails", { 4096, 28672 }, "xk" },
	{ "pieces-fail-between", { 4096, 4096, 24576 }, "kxk" },
};

static const struct piece_case odd_piece_rows[] = {
	{ "whole", { 512, 1024, 2048, 512 }, "kkkk" },
	{ "odd", { 1, 511, 3583, 1 }, "kkkk" },
	{ "bucket-first", { 512, 3584 }, "bk" },
	{ "bucket-between", { 512, 2048, 1536 }, "kbk" },
	{ "bucket-last", { 512, 3584 }, "kb" },
	{ "last-fails", { 512, 1024, 2560 }, "kkx" },
	{ "first-fails", { 512, 3584 }, "xk" },
	{ "fail-between", { 512, 512, 3072 }, "kxk" },
};

#define APART 65536u /* of the pieces in our memory */

static void put_pieces(struct suite *s, const struct piece_case *t, struct capsule *c)
{
	uint32_t n = 0;

	for (; n < 4 && t->len[n]; n++) {
		struct host_buffer part = s->data;
		union nvme_sgl d;

		part.va += n * APART;
		if (t->kind[n] == 'x')
			part.rkey ^= 0xff00;
		d = fab_sgl_keyed(&part, t->len[n], SGL_SUB_ADDRESS);
		if (t->kind[n] == 'b') {
			d = fab_sgl_in_capsule(0, t->len[n]);
			d.data.type = SGL_BIT_BUCKET << 4;
		}
		memcpy(c->data + n * sizeof(d), &d, sizeof(d));
	}
	c->data_len = n * (uint32_t)sizeof(union nvme_sgl);
	c->sqe.dptr = fab_sgl_in_capsule(0, c->data_len);
	c->sqe.dptr.data.type = LAST;
}

static bool gaps_are_guard(struct suite *s, const struct piece_case *t)
{
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t from = t->len[i] && t->kind[i] == 'k' ? t->len[i] : 0;

		for (uint32_t at = from; at < APART; at++)
			if (s->data.va[i * APART + at] != FAB_GUARD)
				return suite_fail(s, "got bytes behind piece %u, at %u", i + 1, at);
	}
	return true;
}

static uint32_t pieces_len(const struct piece_case *t)
{
	return t->len[0] + t->len[1] + t->len[2] + t->len[3];
}

static bool piece_case(struct suite *s, const void *row)
{
	const struct piece_case *t = row;
	bool fails = strchr(t->kind, 'x');

	if (!suite_controller(s))
		return false;
	if (s->ctrl->id.msdbd < 4)
		return suite_skip(s, "this controller takes no lists");
	for (int i = 0; i < 2; i++) {
		struct capsule c;
		struct host_response r;
		int err;

		if (!suite_controller(s) || !spread_secrets(s))
			return false;
		clear(s, 4 * APART);
		fab_rw_init(&c, nvme_cmd_read, s->nsid, 0, pieces_len(t) / s->lba_len);
		put_pieces(s, t, &c);
		err = fab_exec(&s->io, &c, &r);
		if (fails ? !expect_gone(s, s->io.conn) : !expect_status(s, err, &r, NVME_OK))
			return false;
		if (!no_secret(s, t->name, 0) || !gaps_are_guard(s, t))
			return false;
	}
	return true;
}

/* ---- bytes that were never sent -----------------------------------------------------------------
 */

/* The SQE alone, whose descriptor speaks of bytes behind it: those in the receive are another
 * host's. */
struct absent_case {
	const char *name;
	uint8_t opcode, type;
	uint32_t offset, len;
};

static const struct absent_case absent_rows[] = {
	{ "absent-data", nvme_cmd_write, SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET, 0, 0 },
	{ "absent-data-of-compare", nvme_cmd_compare, SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET, 0, 0 },
	{ "absent-ranges", nvme_cmd_dsm, SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET, 0, 16 },
	{ "absent-segment", nvme_cmd_read, LAST, 0, 16 },
	{ "absent-segment-of-write", nvme_cmd_write, LAST, 16, 32 },
};

static bool absent_case(struct suite *s, const void *row)
{
	const struct absent_case *t = row;

	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	for (int i = 0; i < 100; i++) { /* more than one receive */
		struct capsule c;
		struct host_response r;
		int err;

		fab_rw_init(&c, t->opcode, s->nsid, FREE_LBA, 1);
		if (t->opcode == nvme_cmd_dsm)
			c.sqe.cdw10 = put32(0), c.sqe.cdw11 = put32(NVME_DSMGMT_AD);
		c.sqe.dptr = fab_sgl_in_capsule(t->offset, t->len ? t->len : s->lba_len);
		c.sqe.dptr.data.type = t->type;
		err = fab_exec(&s->io, &c, &r);
		if (!expect_status(s, err, &r, NVME_SGL_OFFSET_INVALID | DNR))
			return false;
	}
	return expect_pattern(s);
}

void stale_cases(struct suite *s)
{
	static const enum on admin = ON_ADMIN, io = ON_IO;

	suite_case(s, "identify", NOW, identify_all, NULL);
	suite_case(s, "log-pages", NOW, log_pages_all, NULL);
	suite_case(s, "features", NOW, features_all, NULL);
	suite_case(s, "admin-opcodes", NOW, opcodes_all, &admin);
	suite_case(s, "io-opcodes", NOW, opcodes_all, &io);
	suite_case(s, "reservation-reports", NOW, reports_all, NULL);
	for (size_t i = 0; i < sizeof(read_rows) / sizeof(read_rows[0]); i++)
		suite_case(s, read_rows[i].name, NOW, read_case, &read_rows[i]);
	for (size_t i = 0; i < sizeof(piece_rows) / sizeof(piece_rows[0]); i++)
		suite_case(s, piece_rows[i].name, NOW, piece_case, &piece_rows[i]);
	for (size_t i = 0; i < sizeof(absent_rows) / sizeof(absent_rows[0]); i++)
		suite_case(s, absent_rows[i].name, NOW, absent_case, &absent_rows[i]);
	owner_close();
}

void stale_piece_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(odd_piece_rows) / sizeof(odd_piece_rows[0]); i++)
		suite_case(s, odd_piece_rows[i].name, NOW, piece_case, &odd_piece_rows[i]);
	owner_close();
}

/* ---- a drive that fails in the midst of a read --------------------------------------------------
 */

static bool failing_reads(struct suite *s, const void *row)
{
	(void)row;
	s->path_closed = true; /* the pattern cannot be written */
	if (!suite_controller(s) || !spread_secrets(s))
		return false;
	for (uint32_t nblocks = 1; nblocks * s->lba_len <= s->ctrl->mdts_len; nblocks *= 2) {
		struct capsule c;
		struct host_response r;
		int err;

		clear(s, nblocks * s->lba_len);
		fab_rw_init(&c, nvme_cmd_read, s->nsid, 0, nblocks);
		c.sqe.dptr = fab_sgl_keyed(&s->data, nblocks * s->lba_len, SGL_SUB_ADDRESS);
		err = fab_exec(&s->io, &c, &r);
		if (err || !fab_status(&r))
			return suite_fail(s, "got a read that succeeded, or %s", strerror(-err));
		if (!nothing_came(s, "a read that fails, of blocks", nblocks))
			return false;
	}
	return true;
}

void stale_media_cases(struct suite *s)
{
	suite_case(s, "read", NOW, failing_reads, NULL);
	s->path_closed = false;
	suite_drop_controller(s);
	owner_close();
}

/* ---- a drive that fails in the middle ----------------------------------------------------------
 *
 * The block in the middle of the namespace cannot be read: a bad medium, or the end of a file that
 * became shorter. What lies before it is read into staging memory and must not be sent, nor what
 * the memory held behind it.
 */

static bool reads_over_edge(struct suite *s, const void *row)
{
	const uint64_t *before =
		row; /* the bad block: 0: the first, 1: in the middle, 2: the last */

	s->path_closed = true; /* the pattern may not be writable */
	for (uint32_t n = 1; n * s->lba_len <= 1u << 20; n *= 2) {
		uint64_t edge;
		struct capsule c;
		struct host_response r;
		int err;

		if (!suite_controller(s) || !spread_secrets(s))
			return false;
		if (n * s->lba_len > s->ctrl->mdts_len)
			break;
		edge = s->nlb / 2;
		clear(s, n * s->lba_len);
		fab_rw_init(&c, nvme_cmd_read, s->nsid, edge - (n - 1) * *before / 2, n);
		c.sqe.dptr = fab_sgl_keyed(&s->data, n * s->lba_len, SGL_SUB_ADDRESS);
		err = fab_exec(&s->io, &c, &r);
		if (err || !fab_status(&r))
			return suite_fail(s, "got a read of %u blocks that succeeded, or %s", n,
					  strerror(-err));
		if (!nothing_came(s, "a read that fails, of blocks", n))
			return false;
		fab_rw_init(&c, nvme_cmd_read, s->nsid, edge - n, n); /* up to it: that is there */
		c.sqe.dptr = fab_sgl_keyed(&s->data, n * s->lba_len, SGL_SUB_ADDRESS);
		err = fab_exec(&s->io, &c, &r);
		if (!expect_status(s, err, &r, NVME_OK) ||
		    !no_secret(s, "a read up to there, of blocks", n))
			return false;
	}
	return true;
}

/* Data of which a piece cannot be fetched: nothing of the command is written, neither what has come
 * nor what the staging memory held. */
struct unfetched_case {
	const char *name;
	uint8_t opcode;
	uint32_t nblocks;
	unsigned int npieces; /* 1: one descriptor with a wrong key; else the last has one */
};

/* Pieces of whole pages, as above. */
static const struct unfetched_case unfetched_rows[] = {
	{ "write-unfetched", nvme_cmd_write, 1, 1 },
	{ "write-unfetched-large", nvme_cmd_write, 64, 1 },
	{ "write-half-fetched", nvme_cmd_write, 64, 2 },
	{ "write-all-but-one-fetched", nvme_cmd_write, 64, 4 },
	{ "compare-unfetched", nvme_cmd_compare, 8, 1 },
	{ "compare-half-fetched", nvme_cmd_compare, 64, 2 },
};

static void put_unfetched(struct suite *s, const struct unfetched_case *t, struct capsule *c)
{
	uint32_t len = t->nblocks * s->lba_len;
	struct host_buffer bad = s->data;

	bad.rkey ^= 0xff00;
	fab_rw_init(c, t->opcode, s->nsid, FREE_LBA, t->nblocks);
	if (t->npieces == 1) {
		c->sqe.dptr = fab_sgl_keyed(&bad, len, SGL_SUB_ADDRESS);
		return;
	}
	for (unsigned int i = 0; i < t->npieces; i++) {
		struct host_buffer *from = i + 1 < t->npieces ? &s->data : &bad;
		union nvme_sgl d = fab_sgl_keyed(from, len / t->npieces, SGL_SUB_ADDRESS);

		memcpy(c->data + i * sizeof(d), &d, sizeof(d));
	}
	c->data_len = t->npieces * (uint32_t)sizeof(union nvme_sgl);
	c->sqe.dptr = fab_sgl_in_capsule(0, c->data_len);
	c->sqe.dptr.data.type = LAST;
}

static bool unfetched(struct suite *s, const void *row)
{
	const struct unfetched_case *t = row;
	static uint8_t want[64 * 4096];
	struct capsule c;

	s->path_closed = true;
	if (!suite_controller(s))
		return false;
	if (t->npieces > 1 && s->ctrl->id.msdbd < t->npieces)
		return suite_skip(s, "this controller takes no lists");
	suite_fill(want, sizeof(want), t->nblocks);
	memcpy(s->data.va, want, t->nblocks * s->lba_len);
	if (!suite_transfer(s, nvme_cmd_write, FREE_LBA, t->nblocks) || !spread_secrets(s))
		return false;
	memset(s->data.va, 0x5a, t->nblocks * s->lba_len);
	put_unfetched(s, t, &c);
	if (fab_send(&s->io, &c) || !expect_gone(s, s->io.conn))
		return suite_fail(s, "the connection did not end");
	if (!suite_controller(s) || !suite_transfer(s, nvme_cmd_read, FREE_LBA, t->nblocks))
		return false;
	return memcmp(s->data.va, want, t->nblocks * s->lba_len) == 0 ||
	       suite_fail(s, "the blocks are not as they were");
}

void stale_edge_cases(struct suite *s)
{
	static const uint64_t place[] = { 0, 1, 2 };

	suite_case(s, "read-bad-block-first", NOW, reads_over_edge, &place[0]);
	suite_case(s, "read-bad-block-between", NOW, reads_over_edge, &place[1]);
	suite_case(s, "read-bad-block-last", NOW, reads_over_edge, &place[2]);
	for (size_t i = 0; i < sizeof(unfetched_rows) / sizeof(unfetched_rows[0]); i++)
		suite_case(s, unfetched_rows[i].name, NOW, unfetched, &unfetched_rows[i]);
	s->path_closed = false;
	suite_drop_controller(s);
	owner_close();
}
