/*
 * Lists of SGL descriptors: segments in the capsule, whose keyed descriptors and bit buckets are
 * parts of the payload. Base 2.1, 4.3.2.
 */
#include "tests/host/suite.h"

#include <string.h>

#define TYPE_INVALID    (NVME_SGL_TYPE_INVALID | DNR)
#define LEN_INVALID     (NVME_SGL_DATA_LENGTH_INVALID | DNR)
#define OFFSET_INVALID  (NVME_SGL_OFFSET_INVALID | DNR)
#define COUNT_INVALID   (NVME_SGL_COUNT_INVALID | DNR)
#define SEGMENT_INVALID (0x00d | DNR)

#define PAYLOAD 4096 /* bytes: one block or eight */

enum {
	KEYED = SGL_KEYED_DATA_BLOCK << 4,
	BUCKET = SGL_BIT_BUCKET << 4,
	SEGMENT = SGL_SEGMENT << 4 | SGL_SUB_OFFSET,
	LAST = SGL_LAST_SEGMENT << 4 | SGL_SUB_OFFSET,
};

/* One descriptor in the capsule. A segment's offset and length are in the row; a keyed one names
 * the bytes of the data buffer behind those before it. */
struct piece {
	uint8_t type;
	uint32_t len; /* 0 and type 0 end the list */
	uint64_t offset;
};

struct list_case {
	const char *name;
	uint8_t opcode, sgl1; /* sgl1: type of the SQE's descriptor */
	struct piece pieces[8];
	int32_t segment_more; /* added to the length that SGL1 says */
	uint64_t segment_offset;
	uint32_t segment_len; /* 0: all pieces */
	uint16_t status;
};

#define K(len)                                                                                     \
	{                                                                                          \
		KEYED, (len), 0                                                                    \
	}
#define B(len)                                                                                     \
	{                                                                                          \
		BUCKET, (len), 0                                                                   \
	}
static const struct list_case rows[] = {
	{ "list-read-1", nvme_cmd_read, LAST, .pieces = { K(4096) } },
	{ "list-write-1", nvme_cmd_write, LAST, .pieces = { K(4096) } },
	{ "list-read-2", nvme_cmd_read, LAST, .pieces = { K(512), K(3584) } },
	{ "list-write-2", nvme_cmd_write, LAST, .pieces = { K(512), K(3584) } },
	{ "list-read-odd", nvme_cmd_read, LAST, .pieces = { K(1), K(2047), K(2048) } },
	{ "list-write-odd", nvme_cmd_write, LAST, .pieces = { K(1), K(2047), K(2048) } },
	{ "list-chain", nvme_cmd_read, SEGMENT,
	  .pieces = { K(1024), { LAST, 32, 32 }, K(1024), K(2048) }, .segment_len = 32 },
	{ "list-bucket", nvme_cmd_read, LAST, .pieces = { K(1024), B(1024), K(2048) } },
	{ "list-only-bucket", nvme_cmd_read, LAST, .pieces = { B(4096) } },
	{ "list-bucket-short", nvme_cmd_read, LAST, .pieces = { B(4095) }, .status = LEN_INVALID },
	{ "list-bucket-long", nvme_cmd_read, LAST, .pieces = { B(UINT32_MAX) },
	  .status = LEN_INVALID },
	{ "list-short", nvme_cmd_read, LAST, .pieces = { K(512), K(512) }, .status = LEN_INVALID },
	{ "list-long", nvme_cmd_write, LAST, .pieces = { K(4096), K(4096) },
	  .status = LEN_INVALID },
	{ "list-sum-wraps", nvme_cmd_read, LAST, .pieces = { K(4096), B(UINT32_MAX), B(1) },
	  .status = LEN_INVALID },
	{ "list-offset-beyond", nvme_cmd_read, LAST, .pieces = { K(4096) }, .segment_offset = 16,
	  .status = OFFSET_INVALID },
	{ "list-offset-huge", nvme_cmd_read, LAST, .pieces = { K(4096) },
	  .segment_offset = UINT64_MAX - 15, .status = OFFSET_INVALID },
	{ "list-len-beyond", nvme_cmd_read, LAST, .pieces = { K(4096) }, .segment_more = 16,
	  .status = OFFSET_INVALID },
	{ "list-len-15", nvme_cmd_read, LAST, .pieces = { K(4096) }, .segment_more = -1,
	  .status = SEGMENT_INVALID },
	{ "list-len-0", nvme_cmd_read, LAST, .pieces = { K(4096) }, .segment_more = -16,
	  .status = SEGMENT_INVALID },
	{ "list-without-last", nvme_cmd_read, SEGMENT, .pieces = { K(4096) },
	  .status = SEGMENT_INVALID },
	{ "list-last-in-last", nvme_cmd_read, LAST, .pieces = { K(4096), { LAST, 16, 0 } },
	  .status = SEGMENT_INVALID },
	{ "list-segment-in-last", nvme_cmd_read, LAST, .pieces = { K(4096), { SEGMENT, 16, 0 } },
	  .status = SEGMENT_INVALID },
	/* a segment that is its own next one */
	{ "list-ring", nvme_cmd_read, SEGMENT, .pieces = { { SEGMENT, 16, 0 } },
	  .status = COUNT_INVALID },
	{ "list-type-0", nvme_cmd_read, LAST, .pieces = { { 0x00, 4096, 0 } },
	  .status = TYPE_INVALID },
	{ "list-type-in-capsule", nvme_cmd_write, LAST, .pieces = { { 0x01, 4096, 0 } },
	  .status = TYPE_INVALID },
	{ "list-type-4e", nvme_cmd_read, LAST, .pieces = { { 0x4e, 4096, 0 } },
	  .status = TYPE_INVALID },
	{ "list-type-ff", nvme_cmd_read, LAST, .pieces = { { 0xff, 4096, 0 } },
	  .status = TYPE_INVALID },
	{ "list-segment-by-address", nvme_cmd_read, SGL_LAST_SEGMENT << 4, .pieces = { K(4096) },
	  .status = TYPE_INVALID },
	{ "list-empty-piece", nvme_cmd_write, LAST, .pieces = { K(0), K(4096) } },
};

static unsigned int put_pieces(struct suite *s, const struct list_case *t, struct capsule *c)
{
	uint32_t n = 0, at = 0;

	for (; n < 8 && (t->pieces[n].type || t->pieces[n].len); n++) {
		const struct piece *p = &t->pieces[n];
		struct host_buffer part = s->data;
		union nvme_sgl d;

		part.va += at;
		if (p->type >> 4 == SGL_KEYED_DATA_BLOCK) {
			d = fab_sgl_keyed(&part, p->len, p->type & 0xf);
			at += p->len;
		} else {
			d = fab_sgl_in_capsule(p->offset, p->len);
			d.data.type = p->type;
		}
		memcpy(c->data + n * sizeof(d), &d, sizeof(d));
	}
	return n;
}

static bool takes_lists(struct suite *s)
{
	if (!suite_controller(s))
		return false;
	if (s->ctrl->id.msdbd < 2 || s->ctrl->in_capsule < 64)
		return suite_fail(s, "got MSDBD %u and %zu bytes behind the SQE, expected lists",
				  s->ctrl->id.msdbd, s->ctrl->in_capsule);
	return true;
}

/* What was read went to the pieces and was skipped in the buckets: all as one block after another.
 */
static bool expect_data(struct suite *s, const struct list_case *t, const uint8_t *expected)
{
	const uint8_t *got = s->data.va;
	size_t at = 0;

	for (unsigned int i = 0; i < 8; i++) {
		const struct piece *p = &t->pieces[i];

		if (p->type == BUCKET) {
			at += p->len;
		} else if (p->type == KEYED) {
			if (memcmp(got, expected + at, p->len) != 0)
				return suite_fail(s, "got other bytes in piece %u", i);
			got += p->len;
			at += p->len;
		}
	}
	return *got == FAB_GUARD || suite_fail(s, "got bytes behind the last piece");
}

static bool exchange(struct suite *s, const struct list_case *t, uint8_t *expected)
{
	uint32_t nblocks = PAYLOAD / s->lba_len, n;
	struct capsule c;
	struct host_response r;
	int err;

	memset(s->data.va, FAB_GUARD, 2 * PAYLOAD);
	if (t->opcode == nvme_cmd_write)
		suite_fill(s->data.va, PAYLOAD, 12);
	fab_rw_init(&c, t->opcode, s->nsid, FREE_LBA, nblocks);
	n = put_pieces(s, t, &c);
	c.data_len = n * (uint32_t)sizeof(union nvme_sgl);
	c.sqe.dptr = fab_sgl_in_capsule(t->segment_offset,
					(t->segment_len ? t->segment_len : c.data_len) +
						(uint32_t)t->segment_more);
	c.sqe.dptr.data.type = t->sgl1;
	err = fab_exec(&s->io, &c, &r);
	if (!expect_status(s, err, &r, t->status))
		return false;
	if (t->opcode == nvme_cmd_read)
		return t->status || expect_data(s, t, expected);
	if (!t->status)
		suite_fill(expected, PAYLOAD, 12);
	return suite_transfer(s, nvme_cmd_read, FREE_LBA, nblocks) &&
	       (memcmp(s->data.va, expected, PAYLOAD) == 0 ||
		suite_fail(s, "got blocks that were%s written", t->status ? "" : " not rightly"));
}

static bool list_case(struct suite *s, const void *row)
{
	uint8_t expected[PAYLOAD];

	if (!takes_lists(s))
		return false;
	suite_fill(expected, PAYLOAD, 11);
	memcpy(s->data.va, expected, PAYLOAD);
	return suite_transfer(s, nvme_cmd_write, FREE_LBA, PAYLOAD / s->lba_len) &&
	       exchange(s, row, expected);
}

/* As many descriptors as MSDBD says, and one more. */
static bool count_case(struct suite *s, const void *row)
{
	const uint32_t *more = row;
	struct capsule c;
	struct host_response r;
	uint32_t n, nblocks;
	int err;

	if (!takes_lists(s))
		return false;
	n = s->ctrl->id.msdbd + *more;
	nblocks = PAYLOAD / s->lba_len;
	fab_rw_init(&c, nvme_cmd_read, s->nsid, FREE_LBA, nblocks);
	c.data_len = n * (uint32_t)sizeof(union nvme_sgl);
	if (c.data_len > s->ctrl->in_capsule && !*more)
		return suite_fail(s, "got MSDBD %u, for which the capsule has no room", n);
	if (c.data_len > s->ctrl->in_capsule)
		return suite_skip(s, "the capsule has room for %u descriptors only", n - 1);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = i + 1 < n ? 128 : PAYLOAD - 128 * (n - 1);
		union nvme_sgl d = fab_sgl_keyed(&s->data, len, SGL_SUB_ADDRESS);

		memcpy(c.data + i * sizeof(d), &d, sizeof(d));
	}
	c.sqe.dptr = fab_sgl_in_capsule(0, c.data_len);
	c.sqe.dptr.data.type = LAST;
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, *more ? COUNT_INVALID : NVME_OK);
}

/* For a namespace that stages in CMB only, where a piece begins on no page. */
static const struct list_case require_rows[] = {
	{ "whole", nvme_cmd_write, LAST, .pieces = { K(4096) } },
	{ "read-odd", nvme_cmd_read, LAST, .pieces = { K(512), K(3584) },
	  .status = NVME_SGL_GRANULARITY | DNR },
	{ "write-odd", nvme_cmd_write, LAST, .pieces = { K(512), K(3584) },
	  .status = NVME_SGL_GRANULARITY | DNR },
};

void require_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(require_rows) / sizeof(require_rows[0]); i++)
		suite_case(s, require_rows[i].name, NOW, list_case, &require_rows[i]);
}

/* ---- a host that answers one RDMA READ at a time -----------------------------------------------
 */

#define NWRITES 8 /* more work requests than a target may have out, each of 16 pieces */

static bool connect_with_one_read(struct suite *s, struct fab_queue *q)
{
	struct host_request req = host_default_request(suite_qid(s), IO_QUEUE_DEPTH);
	struct host_answer answer;
	struct host_response r;
	struct capsule c;
	int err;

	req.data.cntlid = put16(s->ctrl->cntlid);
	req.reads_accepted = 1;
	*q = (struct fab_queue){ .qid = get16(req.data.qid),
				 .sqsize = IO_QUEUE_DEPTH,
				 .next_cid = 1 };
	err = host_connect(s->fh->host, &req, &q->conn, &answer);
	if (err)
		return suite_fail(s, "cannot connect: %s", strerror(-err));
	fab_connect_init(&c, s->fh, &s->ctrl->page, s->ctrl->cntlid, q->qid, q->sqsize);
	err = fab_exec(q, &c, &r);
	return expect_status(s, err, &r, NVME_OK);
}

static int send_write(struct suite *s, struct fab_queue *q, unsigned int number)
{
	uint32_t n = s->ctrl->id.msdbd, nblocks = PAYLOAD / s->lba_len, len = PAYLOAD / n;
	struct host_buffer part = s->data;
	struct capsule c;

	fab_rw_init(&c, nvme_cmd_write, s->nsid, FREE_LBA + number * nblocks, nblocks);
	part.va += number * PAYLOAD;
	for (uint32_t i = 0; i < n; i++, part.va += len) {
		union nvme_sgl d = fab_sgl_keyed(&part, i + 1 < n ? len : PAYLOAD - len * (n - 1),
						 SGL_SUB_ADDRESS);

		memcpy(c.data + i * sizeof(d), &d, sizeof(d));
	}
	c.data_len = n * (uint32_t)sizeof(union nvme_sgl);
	c.sqe.dptr = fab_sgl_in_capsule(0, c.data_len);
	c.sqe.dptr.data.type = LAST;
	return fab_send(q, &c);
}

static bool write_all(struct suite *s, struct fab_queue *q, const uint8_t *expected)
{
	struct host_response r;
	int err = 0;

	memcpy(s->data.va, expected, NWRITES * PAYLOAD);
	for (unsigned int i = 0; i < NWRITES && !err; i++)
		err = send_write(s, q, i);
	for (unsigned int i = 0; i < NWRITES; i++) {
		if (!err)
			err = host_wait(q->conn, HOST_TIMEOUT_MS, &r);
		if (!expect_status(s, err, &r, NVME_OK))
			return false;
	}
	return suite_transfer(s, nvme_cmd_read, FREE_LBA, NWRITES * PAYLOAD / s->lba_len) &&
	       (memcmp(s->data.va, expected, NWRITES * PAYLOAD) == 0 ||
		suite_fail(s, "got other bytes than were written"));
}

/* Paced, not hung. */
static bool one_read_case(struct suite *s, const void *row)
{
	static uint8_t expected[NWRITES * PAYLOAD];
	struct fab_queue q = { 0 };
	bool ok;

	(void)row;
	if (!takes_lists(s))
		return false;
	suite_fill(expected, sizeof(expected), 21);
	ok = connect_with_one_read(s, &q) && write_all(s, &q, expected);
	fab_queue_close(&q);
	return ok;
}

void list_cases(struct suite *s)
{
	static const uint32_t as_many = 0, one_more = 1;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		suite_case(s, rows[i].name, NOW, list_case, &rows[i]);
	suite_case(s, "list-of-msdbd", NOW, count_case, &as_many);
	suite_case(s, "list-of-msdbd-and-one", NOW, count_case, &one_more);
	suite_case(s, "list-one-read-at-a-time", NOW, one_read_case, NULL);
}
