/* I/O commands beyond Read, Write, Flush: NVM Command Set 1.1, 3; fused commands: Base 2.1, 3.4.2.
 */
#include "tests/host/suite.h"

#include <string.h>

#define INVALID_FIELD (NVME_INVALID_FIELD | DNR)
#define INVALID_NS    (NVME_INVALID_NS | DNR)
#define OUT_OF_RANGE  (NVME_LBA_OUT_OF_RANGE | DNR)
#define WRONG_LEN     (NVME_SGL_DATA_LENGTH_INVALID | DNR)
#define DIFFERS       (0x285 | DNR)
#define SIZE_LIMIT    (0x183 | DNR)
#define FAILED_FUSED  0x009
#define MISSING_FUSED 0x00a

/* ---- which there are --------------------------------------------------------------------------
 */

static const struct must_have {
	const char *name;
	enum since since;
	uint8_t opcode;
} must_have[] = {
	{ "has-compare", NOW, nvme_cmd_compare },
	{ "has-write-zeroes", NOW, nvme_cmd_write_zeroes },
	{ "has-dsm", NOW, nvme_cmd_dsm },
	{ "has-verify", NOW, nvme_cmd_verify },
	{ "has-copy", NOW, nvme_cmd_copy },
	{ "has-resv-register", NOW, nvme_cmd_resv_register },
	{ "has-resv-report", NOW, nvme_cmd_resv_report },
	{ "has-resv-acquire", NOW, nvme_cmd_resv_acquire },
	{ "has-resv-release", NOW, nvme_cmd_resv_release },
};

static bool has_opcode(struct suite *s, const void *row)
{
	const struct must_have *t = row;
	struct capsule c;
	struct host_response r;
	int err;

	if (!suite_controller(s))
		return false;
	fab_capsule_init(&c, t->opcode); /* nsid 0: it is known and does nothing */
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, INVALID_NS);
}

/* What Identify says of them: hosts look there first. */
static bool announced(struct suite *s, const void *row)
{
	const unsigned int oncs = NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_DSM |
				  NVME_CTRL_ONCS_WRITE_ZEROES | NVME_CTRL_ONCS_VERIFY |
				  NVME_CTRL_ONCS_COPY;
	const struct nvme_id_ctrl *id;

	(void)row;
	if (!suite_controller(s))
		return false;
	id = &s->ctrl->id;
	return ((le16toh(id->oncs) & oncs) == oncs && (le16toh(id->fuses) & 1)) ||
	       suite_fail(s, "got ONCS %#x, FUSES %#x, expected %#x at least, 0x1",
			  le16toh(id->oncs), le16toh(id->fuses), oncs);
}

/* ---- Compare, Write Zeroes ---------------------------------------------------------------------
 */

static bool compare_with(struct suite *s, uint32_t changed, uint16_t status)
{
	struct capsule c;
	struct host_response r;
	int err;

	suite_fill(s->data.va, 2u * s->lba_len, 7);
	if (!suite_transfer(s, nvme_cmd_write, FREE_LBA, 2))
		return false;
	if (changed != UINT32_MAX)
		s->data.va[changed] ^= 1;
	fab_rw_init(&c, nvme_cmd_compare, s->nsid, FREE_LBA, 2);
	c.sqe.dptr = fab_sgl_keyed(&s->data, 2u * s->lba_len, SGL_SUB_ADDRESS);
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, status);
}

static bool compare(struct suite *s, const void *row)
{
	(void)row;
	return suite_controller(s) && compare_with(s, UINT32_MAX, NVME_OK) &&
	       compare_with(s, 0, DIFFERS) && compare_with(s, 2u * s->lba_len - 1, DIFFERS);
}

/* The blocks beside it stay. */
static bool write_zeroes(struct suite *s, const void *row)
{
	struct capsule c;
	struct host_response r;
	uint8_t expected[3 * 4096];
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	suite_fill(expected, 3u * s->lba_len, 8);
	memcpy(s->data.va, expected, 3u * s->lba_len);
	if (!suite_transfer(s, nvme_cmd_write, FREE_LBA, 3))
		return false;
	fab_rw_init(&c, nvme_cmd_write_zeroes, s->nsid, FREE_LBA + 1, 1);
	err = fab_exec(&s->io, &c, &r);
	if (!expect_status(s, err, &r, NVME_OK) || !suite_transfer(s, nvme_cmd_read, FREE_LBA, 3))
		return false;
	memset(expected + s->lba_len, 0, s->lba_len);
	return memcmp(s->data.va, expected, 3u * s->lba_len) == 0 ||
	       suite_fail(s, "got other bytes than one block of zeroes between two old ones");
}

/* ---- Dataset Management ------------------------------------------------------------------------
 */

static void one_range(struct suite *s, const struct command_case *t, struct capsule *c)
{
	struct nvme_dsm_range *range = (void *)s->data.va;

	(void)t;
	(void)c;
	*range = (struct nvme_dsm_range){ .nlb = htole32(8), .slba = htole64(FREE_LBA) };
}

static void range_behind_end(struct suite *s, const struct command_case *t, struct capsule *c)
{
	struct nvme_dsm_range *range = (void *)s->data.va;

	(void)t;
	(void)c;
	*range = (struct nvme_dsm_range){ .nlb = htole32(2), .slba = htole64(s->nlb - 1) };
}

/* ---- Copy -------------------------------------------------------------------------------------
 */

static void copy_source(struct suite *s, uint64_t slba, uint32_t nblocks)
{
	struct nvme_copy_range *range = (void *)s->data.va;

	memset(range, 0, 256 * sizeof(*range));
	range->slba = htole64(slba);
	range->nlb = htole16((uint16_t)(nblocks - 1));
}

static void copy_one(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)t;
	(void)c;
	copy_source(s, FREE_LBA, 4);
}

static void copy_from_behind_end(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)t;
	(void)c;
	copy_source(s, s->nlb - 3, 4);
}

static void copy_to_behind_end(struct suite *s, const struct command_case *t, struct capsule *c)
{
	copy_source(s, FREE_LBA, 4);
	edit_from_end(s, t, c);
}

static bool copied(struct suite *s, const struct command_case *t, const struct host_response *r)
{
	uint8_t expected[4 * 4096];

	(void)t;
	(void)r;
	if (!suite_transfer(s, nvme_cmd_read, FREE_LBA, 4))
		return false;
	memcpy(expected, s->data.va, 4u * s->lba_len);
	memset(s->data.va, FAB_GUARD, 4u * s->lba_len);
	return suite_transfer(s, nvme_cmd_read, FREE_LBA + 100, 4) &&
	       (memcmp(expected, s->data.va, 4u * s->lba_len) == 0 ||
		suite_fail(s, "got a copy that is none"));
}

/* ---- rows -------------------------------------------------------------------------------------
 */

#define RANGED(opcode_, nsid_)                                                                     \
	.on = ON_IO, .opcode = (opcode_), .nsid = (nsid_), .cdw10 = FREE_LBA, .cdw12 = 0
#define DSM(nr, attributes)                                                                        \
	.on = ON_IO, .opcode = nvme_cmd_dsm, .nsid = MY_NSID, .cdw10 = (nr)-1,                     \
	.cdw11 = (attributes), .data = FROM_HOST
#define COPY(cdw12_)                                                                               \
	.on = ON_IO, .opcode = nvme_cmd_copy, .nsid = MY_NSID, .cdw10 = FREE_LBA + 100,            \
	.cdw12 = (cdw12_), .data = FROM_HOST

static const struct command_case rows[] = {
	{ "write-zeroes-behind-end", RANGED(nvme_cmd_write_zeroes, MY_NSID), .edit = edit_from_end,
	  .status = OUT_OF_RANGE },
	{ "write-zeroes-nsid-0", RANGED(nvme_cmd_write_zeroes, 0), .status = INVALID_NS },
	{ "write-zeroes-nsid-ffffffff", RANGED(nvme_cmd_write_zeroes, UINT32_MAX),
	  .status = INVALID_NS },
	{ "verify", RANGED(nvme_cmd_verify, MY_NSID) },
	{ "verify-behind-end", RANGED(nvme_cmd_verify, MY_NSID), .edit = edit_from_end,
	  .status = OUT_OF_RANGE },
	{ "verify-nsid-0", RANGED(nvme_cmd_verify, 0), .status = INVALID_NS },
	{ "compare-behind-end", RANGED(nvme_cmd_compare, MY_NSID), .data = FROM_HOST, .blocks = 1,
	  .edit = edit_from_end, .status = OUT_OF_RANGE },
	{ "compare-nsid-0", RANGED(nvme_cmd_compare, 0), .data = FROM_HOST, .blocks = 1,
	  .status = INVALID_NS },
	{ "dsm", DSM(1, 4), .len = 16, .edit = one_range },
	{ "dsm-behind-end", DSM(1, 4), .len = 16, .edit = range_behind_end,
	  .status = OUT_OF_RANGE },
	{ "dsm-short-sgl", DSM(2, 4), .len = 16, .edit = one_range, .status = WRONG_LEN },
	{ "dsm-long-sgl", DSM(1, 4), .len = 32, .edit = one_range }, /* as Linux does */
	/* a hint that asks for nothing */
	{ "dsm-no-attribute", DSM(1, 0), .len = 16, .edit = one_range },
	{ "copy", COPY(0), .len = 32, .edit = copy_one, .check = copied },
	{ "copy-from-behind-end", COPY(0), .len = 32, .edit = copy_from_behind_end,
	  .status = OUT_OF_RANGE },
	{ "copy-to-behind-end", COPY(0), .len = 32, .edit = copy_to_behind_end, .arg = 3,
	  .status = OUT_OF_RANGE },
	{ "copy-short-sgl", COPY(1), .len = 32, .edit = copy_one, .status = WRONG_LEN },
	{ "copy-format-1", COPY(1 << 8), .len = 40, .edit = copy_one, .status = INVALID_FIELD },
	{ "copy-format-15", COPY(15 << 8), .len = 32, .edit = copy_one, .status = INVALID_FIELD },
	{ "copy-256-ranges", COPY(255), .len = 256 * 32, .edit = copy_one, .status = SIZE_LIMIT },
};

/* ---- fused ------------------------------------------------------------------------------------
 */

/* Two commands that arrive together, and what becomes of both, and of the block. */
struct fused_case {
	const char *name;
	enum since since;
	uint8_t first, first_fuse, second, second_fuse;
	bool differs;        /* the block is another than what is compared with */
	uint64_t second_lba; /* counted from FREE_LBA */
	uint32_t nblocks;    /* 0: one more than the controller takes */
	uint16_t status[2];
	bool written;
};

/* clang-format off */
static const struct fused_case fused_rows[] = {
	{ "fused-same", NOW, nvme_cmd_compare, 1, nvme_cmd_write, 2, false, 0, 1, { 0, 0 }, true },
	{ "fused-differs", NOW, nvme_cmd_compare, 1, nvme_cmd_write, 2, true, 0, 1,
	  { DIFFERS, FAILED_FUSED }, false },
	{ "fused-other-lba", NOW, nvme_cmd_compare, 1, nvme_cmd_write, 2, false, 1, 1,
	  { FAILED_FUSED, INVALID_FIELD }, false },
	{ "fused-read-first", NOW, nvme_cmd_read, 1, nvme_cmd_write, 2, false, 0, 1,
	  { INVALID_FIELD, FAILED_FUSED }, false },
	{ "fused-compare-second", NOW, nvme_cmd_compare, 1, nvme_cmd_compare, 2, false, 0, 1,
	  { FAILED_FUSED, INVALID_FIELD }, false },
	{ "fused-without-second", NOW, nvme_cmd_compare, 1, nvme_cmd_read, 0, false, 0, 1,
	  { MISSING_FUSED, 0 }, false },
	{ "fused-without-first", NOW, nvme_cmd_read, 0, nvme_cmd_write, 2, false, 0, 1,
	  { 0, MISSING_FUSED }, false },
	{ "fused-two-firsts", NOW, nvme_cmd_compare, 1, nvme_cmd_read, 3, false, 0, 1,
	  { MISSING_FUSED, INVALID_FIELD }, false },
	{ "fused-too-large", NOW, nvme_cmd_compare, 1, nvme_cmd_write, 2, false, 0, 0,
	  { 0x014 | DNR, FAILED_FUSED }, false },
};
/* clang-format on */

static bool send_pair(struct suite *s, const struct fused_case *t, uint32_t nblocks)
{
	struct nvme_sqe sqes[2];
	struct capsule c;
	struct host_response r;
	uint16_t got[2] = { 0xffff, 0xffff };

	for (uint16_t i = 0; i < 2; i++) {
		struct host_buffer b = s->data;

		/* what is compared with, and then what is written (or read) */
		b.va += i * (FAB_DATA_LEN / 2);
		fab_rw_init(&c, i ? t->second : t->first, s->nsid,
			    FREE_LBA + (i ? t->second_lba : 0), nblocks);
		c.sqe.flags |= i ? t->second_fuse : t->first_fuse;
		c.sqe.cid = put16(i);
		c.sqe.dptr = fab_sgl_keyed(&b, nblocks * s->lba_len, SGL_SUB_ADDRESS);
		sqes[i] = c.sqe;
	}
	if (host_send_chain(s->io.conn, sqes, sizeof(sqes[0]), 2))
		return suite_fail(s, "cannot send");
	for (int i = 0; i < 2; i++) {
		if (host_wait(s->io.conn, HOST_TIMEOUT_MS, &r))
			return suite_fail(s, "got %d responses, expected 2", i);
		if (get16(r.cqe.cid) < 2)
			got[get16(r.cqe.cid)] = fab_status(&r);
	}
	return (got[0] == t->status[0] && got[1] == t->status[1]) ||
	       suite_fail(s, "got statuses %#x (%s), %#x (%s), expected %#x, %#x", got[0],
			  fab_status_name(got[0]), got[1], fab_status_name(got[1]), t->status[0],
			  t->status[1]);
}

static bool fused_case(struct suite *s, const void *row)
{
	const struct fused_case *t = row;
	uint8_t *written = s->data.va;
	uint8_t expected[4096];
	uint32_t nblocks;

	if (!suite_controller(s))
		return false;
	written = s->data.va + FAB_DATA_LEN / 2;
	nblocks = t->nblocks ? t->nblocks : le16toh(s->ctrl->id.acwu) + 2u;
	if (nblocks * s->lba_len > FAB_DATA_LEN / 2 || nblocks * s->lba_len > s->ctrl->mdts_len)
		return suite_skip(s, "MDTS is the smaller limit");
	suite_fill(s->data.va, nblocks * s->lba_len, 9);
	if (!suite_transfer(s, nvme_cmd_write, FREE_LBA, nblocks))
		return false;
	if (t->differs)
		s->data.va[s->lba_len - 1] ^= 1;
	suite_fill(written, nblocks * s->lba_len, 10);
	if (!send_pair(s, t, nblocks))
		return false;
	suite_fill(expected, s->lba_len, t->written ? 10 : 9);
	return suite_transfer(s, nvme_cmd_read, FREE_LBA, 1) &&
	       (memcmp(s->data.va, expected, s->lba_len) == 0 ||
		suite_fail(s, "got a block that was%s written", t->written ? " not" : ""));
}

/* Half a pair, and the host goes: whatever waits for the other half must not wait for ever. */
static bool half_a_pair(struct suite *s, const void *row)
{
	struct capsule c;

	(void)row;
	if (!suite_controller(s))
		return false;
	fab_rw_init(&c, nvme_cmd_compare, s->nsid, FREE_LBA, 1);
	c.sqe.flags |= SQE_FUSE_MASK & 1;
	c.sqe.dptr = fab_sgl_keyed(&s->data, s->lba_len, SGL_SUB_ADDRESS);
	if (fab_send(&s->io, &c))
		return suite_fail(s, "cannot send");
	suite_drop_controller(s);
	return suite_controller(s);
}

void more_io_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(must_have) / sizeof(must_have[0]); i++)
		suite_case(s, must_have[i].name, must_have[i].since, has_opcode, &must_have[i]);
	suite_case(s, "announced", NOW, announced, NULL);
	suite_case(s, "compare", NOW, compare, NULL);
	suite_case(s, "write-zeroes", NOW, write_zeroes, NULL);
	SUITE_COMMANDS(s, rows);
	for (size_t i = 0; i < sizeof(fused_rows) / sizeof(fused_rows[0]); i++)
		suite_case(s, fused_rows[i].name, fused_rows[i].since, fused_case, &fused_rows[i]);
	suite_case(s, "fused-half-a-pair", NOW, half_a_pair, NULL);
}
