/* I/O commands: NVM Command Set 1.1, 3. */
#include "tests/host/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INVALID_FIELD (NVME_INVALID_FIELD | DNR)
#define INVALID_NS    (NVME_INVALID_NS | DNR)
#define OUT_OF_RANGE  (NVME_LBA_OUT_OF_RANGE | DNR)
#define WRONG_LEN     (NVME_SGL_DATA_LENGTH_INVALID | DNR)

static void psdt(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)s;
	c->sqe.flags = (uint8_t)t->arg;
}

/* One block more than MDTS allows. */
static void beyond_mdts(struct suite *s, const struct command_case *t, struct capsule *c)
{
	uint32_t n = (uint32_t)(s->ctrl->mdts_len / s->lba_len) + 1;

	(void)t;
	c->sqe.cdw12 = put32(n - 1);
	c->sqe.dptr = fab_sgl_keyed(&s->data, n * s->lba_len, SGL_SUB_ADDRESS);
}

static void no_sgl(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)s;
	(void)t;
	c->sqe.dptr = (union nvme_sgl){ 0 };
}

#define RW(op, dir, nsid_, slba, n, cdw12_)                                                        \
	.on = ON_IO, .opcode = (op), .nsid = (nsid_), .cdw10 = (slba), .cdw12 = (cdw12_),          \
	.data = (dir), .blocks = (n)
#define READ(slba, n)           RW(nvme_cmd_read, TO_HOST, MY_NSID, slba, n, (n)-1)
#define READ_WITH(slba, cdw12)  RW(nvme_cmd_read, TO_HOST, MY_NSID, slba, 1, cdw12)
#define READ_OF(nsid)           RW(nvme_cmd_read, TO_HOST, nsid, 0, 1, 0)
#define WRITE(slba, n)          RW(nvme_cmd_write, FROM_HOST, MY_NSID, slba, n, (n)-1)
#define WRITE_WITH(slba, cdw12) RW(nvme_cmd_write, FROM_HOST, MY_NSID, slba, 1, cdw12)
#define WRITE_OF(nsid)          RW(nvme_cmd_write, FROM_HOST, nsid, 0, 1, 0)
#define FLUSH(nsid_)            .on = ON_IO, .opcode = nvme_cmd_flush, .nsid = (nsid_)
#define FUA                     (1u << 30)
#define LR                      (1u << 31)

static const struct command_case rows[] = {
	{ "read", READ(0, 1) },
	{ "read-3-blocks", READ(1, 3) },
	{ "read-last-block", READ(0, 1), .edit = edit_from_end, .arg = 1 },
	{ "read-behind-end", READ(0, 1), .edit = edit_from_end, .arg = 0, .status = OUT_OF_RANGE },
	{ "read-over-end", READ(0, 2), .edit = edit_from_end, .arg = 1, .status = OUT_OF_RANGE },
	{ "read-slba-overflow", READ(UINT32_MAX, 1), .cdw11 = UINT32_MAX, .status = OUT_OF_RANGE },
	{ "read-slba-overflow-2", READ(UINT32_MAX, 2), .cdw11 = UINT32_MAX,
	  .status = OUT_OF_RANGE },
	/* SLBA + 65536 is 0 */
	{ "read-slba-wraps", READ_WITH(0xffff0000, 0xffff), .cdw11 = UINT32_MAX,
	  .status = OUT_OF_RANGE },
	/* SLBA times the block length is 0 or small */
	{ "read-slba-bytes-wrap", READ(0, 1), .cdw11 = 0x00800000, .status = OUT_OF_RANGE },
	{ "read-slba-high", READ(0, 1), .cdw11 = 1, .status = OUT_OF_RANGE },
	{ "read-beyond-mdts", READ(0, 1), .edit = beyond_mdts, .status = INVALID_FIELD },
	{ "read-nlb-ffff", READ_WITH(0, 0xffff), .status = INVALID_FIELD },
	{ "read-nsid-0", READ_OF(0), .status = INVALID_NS },
	{ "read-nsid-ffffffff", READ_OF(UINT32_MAX), .status = INVALID_NS },
	{ "read-nsid-unknown", READ_OF(UNKNOWN_NSID), .status = INVALID_NS },
	{ "read-nsid-80000001", READ_OF(0x80000001), .status = INVALID_NS },
	{ "read-limited-retry", READ_WITH(0, LR) },
	{ "read-fua", READ_WITH(0, FUA) },
	{ "read-prp", READ(0, 1), .edit = psdt, .arg = 0x00, .status = INVALID_FIELD },
	{ "read-metadata-sgl", READ(0, 1), .edit = psdt, .arg = 0x80, .status = INVALID_FIELD },
	{ "read-psdt-3", READ(0, 1), .edit = psdt, .arg = 0xc0, .status = INVALID_FIELD },
	{ "read-fused-3", READ(0, 1), .edit = psdt, .arg = 0x43, .status = INVALID_FIELD },

	{ "write", WRITE(FREE_LBA, 1) },
	{ "write-3-blocks", WRITE(FREE_LBA + 1, 3) },
	{ "write-fua", WRITE_WITH(FREE_LBA, FUA) },
	{ "write-limited-retry", WRITE_WITH(FREE_LBA, LR) },
	{ "write-behind-end", WRITE(0, 1), .edit = edit_from_end, .arg = 0,
	  .status = OUT_OF_RANGE },
	{ "write-over-end", WRITE(0, 2), .edit = edit_from_end, .arg = 1, .status = OUT_OF_RANGE },
	{ "write-slba-overflow", WRITE(UINT32_MAX, 2), .cdw11 = UINT32_MAX,
	  .status = OUT_OF_RANGE },
	{ "write-slba-wraps", WRITE_WITH(0xffff0000, 0xffff), .cdw11 = UINT32_MAX,
	  .status = OUT_OF_RANGE },
	{ "write-slba-bytes-wrap", WRITE(0, 1), .cdw11 = 0x00800000, .status = OUT_OF_RANGE },
	{ "write-beyond-mdts", WRITE(0, 1), .edit = beyond_mdts, .status = INVALID_FIELD },
	{ "write-nsid-0", WRITE_OF(0), .status = INVALID_NS },
	{ "write-nsid-ffffffff", WRITE_OF(UINT32_MAX), .status = INVALID_NS },
	{ "write-nsid-unknown", WRITE_OF(UNKNOWN_NSID), .status = INVALID_NS },
	{ "write-prp", WRITE(0, 1), .edit = psdt, .arg = 0x00, .status = INVALID_FIELD },
	{ "write-fused-3", WRITE(0, 1), .edit = psdt, .arg = 0x43, .status = INVALID_FIELD },

	{ "flush", FLUSH(MY_NSID) },
	{ "flush-without-sgl", FLUSH(MY_NSID), .edit = no_sgl },
	{ "flush-prp", FLUSH(MY_NSID), .edit = psdt, .arg = 0x00, .status = INVALID_FIELD },
	{ "flush-nsid-0", FLUSH(0), .status = INVALID_NS },
	{ "flush-nsid-unknown", FLUSH(UNKNOWN_NSID), .status = INVALID_NS },
};

/* Flush of all namespaces: as VWC says (Base 2.1, 5.1.13.2.1). */
static bool flush_all(struct suite *s, const void *row)
{
	struct command_case t = { FLUSH(UINT32_MAX) };

	(void)row;
	if (!suite_controller(s))
		return false;
	if ((s->ctrl->id.vwc >> 1 & 3) != 3)
		t.status = INVALID_NS;
	return command_case(s, &t);
}

/* ---- data -------------------------------------------------------------------------------------
 */

static bool same_back(struct suite *s, uint64_t slba, uint32_t nblocks, unsigned int seed)
{
	size_t len = (size_t)nblocks * s->lba_len;
	uint8_t *expected = malloc(len);
	bool ok;

	if (!expected)
		return suite_fail(s, "no memory");
	suite_fill(expected, len, seed);
	memcpy(s->data.va, expected, len);
	ok = suite_transfer(s, nvme_cmd_write, slba, nblocks);
	memset(s->data.va, FAB_GUARD, len);
	ok = ok && suite_transfer(s, nvme_cmd_read, slba, nblocks);
	if (ok && memcmp(s->data.va, expected, len) != 0)
		ok = suite_fail(s, "got other data back, %u blocks at LBA %llu", nblocks,
				(unsigned long long)slba);
	free(expected);
	return ok;
}

/* Lengths around those where the way of the data changes: one block, page, MTU, MDTS. */
static bool data_comes_back(struct suite *s, const void *row)
{
	static const size_t lens[] = { 0, 4096, 8192, 65536, 131072, 262144, SIZE_MAX };

	(void)row;
	if (!suite_controller(s))
		return false;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		size_t len = lens[i] < s->ctrl->mdts_len ? lens[i] : s->ctrl->mdts_len;
		uint32_t n = (uint32_t)(len / s->lba_len);

		if (n == 0)
			n = 1;
		if (!same_back(s, FREE_LBA, n, (unsigned int)i) ||
		    (n > 1 && !same_back(s, FREE_LBA + 1, n - 1, (unsigned int)i + 50)))
			return false;
	}
	return true;
}

/* The last block can be written, and the one before it stays as it was. */
static bool last_block(struct suite *s, const void *row)
{
	(void)row;
	if (!suite_controller(s) || !same_back(s, s->nlb - 2, 2, 1) ||
	    !same_back(s, s->nlb - 1, 1, 2))
		return false;
	if (!suite_transfer(s, nvme_cmd_read, s->nlb - 2, 1))
		return false;

	uint8_t expected[4096];

	suite_fill(expected, s->lba_len, 1);
	return memcmp(s->data.va, expected, s->lba_len) == 0 ||
	       suite_fail(s, "got another block before the last one");
}

/* As many reads at once as the queue has entries, answered in whatever order, each once. */
static bool many_at_once(struct suite *s, const void *row)
{
	bool seen[IO_QUEUE_DEPTH] = { false };
	struct capsule c;
	struct host_response r;
	uint16_t first;

	(void)row;
	if (!suite_controller(s))
		return false;
	first = s->io.next_cid;
	for (unsigned int i = 0; i < IO_QUEUE_DEPTH - 1; i++) {
		fab_rw_init(&c, nvme_cmd_read, s->nsid, i, 1);
		c.sqe.dptr = fab_sgl_keyed(&s->data, s->lba_len, SGL_SUB_ADDRESS);
		if (fab_send(&s->io, &c))
			return suite_fail(s, "cannot send command %u", i);
	}
	for (unsigned int i = 0; i < IO_QUEUE_DEPTH - 1; i++) {
		int err = host_wait(s->io.conn, HOST_TIMEOUT_MS, &r);
		uint16_t nth = (uint16_t)(get16(r.cqe.cid) - first);

		if (!expect_status(s, err, &r, NVME_OK))
			return false;
		if (nth >= IO_QUEUE_DEPTH - 1 || seen[nth])
			return suite_fail(s, "got CID %u twice, or never sent", get16(r.cqe.cid));
		seen[nth] = true;
	}
	return true;
}

void io_cases(struct suite *s)
{
	opcode_cases(s, ON_IO);
	SUITE_COMMANDS(s, rows);
	suite_case(s, "flush-nsid-ffffffff", NOW, flush_all, NULL);
	suite_case(s, "data-comes-back", NOW, data_comes_back, NULL);
	suite_case(s, "last-block", NOW, last_block, NULL);
	suite_case(s, "many-at-once", NOW, many_at_once, NULL);
	more_io_cases(s);
}
