/* SGL descriptors: what every good and bad form decodes to; and the work requests made of them. */
#define slot_give test_slot_give /* the slots here have no cache */
#include "transport/request.c"

#include "target/core.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- descriptors -------------------------------------------------------------------------------
 */

#define KEYED (SGL_KEYED_DATA_BLOCK << 4)
#define INV   (SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_INVALIDATE)
#define BLOCK (SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET)
#define SEG   (SGL_SEGMENT << 4 | SGL_SUB_OFFSET)
#define LAST  (SGL_LAST_SEGMENT << 4 | SGL_SUB_OFFSET)
#define BUCK  (SGL_BIT_BUCKET << 4)

struct desc {
	uint8_t type;
	uint64_t addr;
	uint32_t len, key;
};

static union nvme_sgl sgl_of(const struct desc *d)
{
	union nvme_sgl s = { .keyed = { .addr = put64(d->addr) } };

	if (d->type >> 4 == SGL_KEYED_DATA_BLOCK) {
		for (int i = 0; i < 3; i++)
			s.keyed.len[i] = (uint8_t)(d->len >> 8 * i);
		for (int i = 0; i < 4; i++)
			s.keyed.key[i] = (uint8_t)(d->key >> 8 * i);
	} else {
		s.data.len = put32(d->len);
	}
	s.data.type = d->type;
	return s;
}

/* ---- decoding ----------------------------------------------------------------------------------
 */

#define TYPE    (NVME_SGL_TYPE_INVALID | NVME_DNR)
#define SEGMENT (NVME_SGL_SEGMENT_INVALID | NVME_DNR)
#define COUNT   (NVME_SGL_COUNT_INVALID | NVME_DNR)
#define LENGTH  (NVME_SGL_DATA_LENGTH_INVALID | NVME_DNR)
#define OFFSET  (NVME_SGL_OFFSET_INVALID | NVME_DNR)
#define FIELD   (NVME_INVALID_FIELD | NVME_DNR)
#define R       DATA_C2H
#define W       DATA_H2C

/* what a row leaves out is zero */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* In the capsule are @capsule, and as many bytes as @received says; of them @max may be data. */
static const struct decode_row {
	const char *what;
	enum data_dir dir;
	uint32_t len, received, max;
	struct desc sgl1, capsule[20];
	uint16_t status;
	unsigned int npieces;
	struct sgl_piece pieces[SGL_DATA_BLOCKS_MAX];
	uint32_t invalidate; /* key; 0: none */
	bool excess_ok;
} decode_rows[] = {
	{ "more than is needed", W, 16, .sgl1 = { KEYED, 0x1000, 4096, 7 }, .npieces = 1,
	  .pieces = { { 0x1000, 7, 0, 16 } }, .excess_ok = true },
	{ "more than is needed, in the capsule", W, 16, 256, 256, .sgl1 = { BLOCK, 8, 64 },
	  .excess_ok = true },
	{ "more than is needed, in two pieces", W, 48, 32, .sgl1 = { LAST, 0, 32 },
	  .capsule = { { KEYED, 0x1000, 32, 7 }, { KEYED, 0x2000, 32, 8 } }, .npieces = 2,
	  .pieces = { { 0x1000, 7, 0, 32 }, { 0x2000, 8, 32, 16 } }, .excess_ok = true },
	{ "more pieces than are needed", W, 32, 32, .sgl1 = { LAST, 0, 32 },
	  .capsule = { { KEYED, 0x1000, 32, 7 }, { KEYED, 0x2000, 32, 8 } }, .npieces = 1,
	  .pieces = { { 0x1000, 7, 0, 32 } }, .excess_ok = true },
	{ "too short, where more would do", W, 32, .sgl1 = { KEYED, 0, 31, 7 }, .status = LENGTH,
	  .excess_ok = true },
	{ "more than the capsule has", W, 16, 32, 256, .sgl1 = { BLOCK, 0, 64 }, .status = 0x4016,
	  .excess_ok = true },
	{ "one block", R, 4096, .sgl1 = { KEYED, 0x1000, 4096, 7 }, .npieces = 1,
	  .pieces = { { 0x1000, 7, 0, 4096 } } },
	{ "and invalidate", W, 512, .sgl1 = { INV, 0x10, 512, 0xfedcba98 }, .npieces = 1,
	  .pieces = { { 0x10, 0xfedcba98, 0, 512 } }, .invalidate = 0xfedcba98 },
	{ "24 bits of length", R, 0xfffe00, .sgl1 = { KEYED, UINT64_MAX, 0xfffe00, 1 },
	  .npieces = 1, .pieces = { { UINT64_MAX, 1, 0, 0xfffe00 } } },
	{ "too short", R, 4096, .sgl1 = { KEYED, 0, 4095, 7 }, .status = LENGTH },
	{ "too long", R, 4096, .sgl1 = { KEYED, 0, 4097, 7 }, .status = LENGTH },
	{ "empty", R, 4096, .sgl1 = { KEYED, 0, 0, 7 }, .status = LENGTH },
	/* types and sub types that there are not */
	{ "keyed, offset", R, 512, .sgl1 = { KEYED | 1, 0, 512 }, .status = TYPE },
	{ "keyed, sub type Eh", R, 512, .sgl1 = { KEYED | 0xe, 0, 512 }, .status = TYPE },
	{ "not keyed", R, 512, .sgl1 = { SGL_DATA_BLOCK << 4, 0, 512 }, .status = TYPE },
	{ "data block, sub type Fh", W, 512, 512, 512, { 0xf, 0, 512 }, .status = TYPE },
	{ "bucket, offset", R, 512, .sgl1 = { BUCK | 1, 0, 512 }, .status = TYPE },
	{ "transport data block", R, 512, .sgl1 = { 0x5a, 0, 512 }, .status = TYPE },
	{ "vendor's", R, 512, .sgl1 = { 0xf0, 0, 512 }, .status = TYPE },
	{ "type 6", R, 512, .sgl1 = { 0x60, 0, 512 }, .status = TYPE },
	{ "remote segment", R, 512, 256, 0, { SGL_SEGMENT << 4, 0, 16 }, .status = TYPE },
	{ "remote last segment", R, 512, 256, 0, { SGL_LAST_SEGMENT << 4, 0, 16 }, .status = TYPE },
	{ "last segment, sub type Fh", R, 512, 256, 0, { 0x3f, 0, 16 }, .status = TYPE },
	/* data in the capsule */
	{ "in capsule", W, 512, 4096, 4096, { BLOCK, 0, 512 } },
	{ "in capsule, all of it", W, 4096, 4096, 4096, { BLOCK, 0, 4096 } },
	{ "in capsule, at its end", W, 512, 4096, 4096, { BLOCK, 3584, 512 } },
	{ "in capsule, odd", W, 512, 4096, 4096, { BLOCK, 3, 512 } },
	{ "in capsule, beyond", W, 512, 4096, 4096, { BLOCK, 3585, 512 }, .status = OFFSET },
	{ "in capsule, far beyond",
	  W,
	  512,
	  4096,
	  4096,
	  { BLOCK, UINT64_MAX, 512 },
	  .status = OFFSET },
	{ "in capsule, wraps",
	  W,
	  512,
	  4096,
	  4096,
	  { BLOCK, UINT64_MAX - 511, 512 },
	  .status = OFFSET },
	{ "in capsule, less came", W, 512, 511, 4096, { BLOCK, 0, 512 }, .status = OFFSET },
	{ "in capsule, nothing came", W, 512, 0, 4096, { BLOCK, 0, 512 }, .status = OFFSET },
	{ "in capsule, more than offered", W, 512, 4096, 256, { BLOCK, 0, 512 }, .status = OFFSET },
	{ "in capsule, length of 4 GiB",
	  W,
	  512,
	  4096,
	  4096,
	  { BLOCK, 0, UINT32_MAX },
	  .status = OFFSET },
	{ "in capsule, too short", W, 1024, 4096, 4096, { BLOCK, 0, 512 }, .status = LENGTH },
	{ "in capsule, too long", W, 512, 4096, 4096, { BLOCK, 0, 1024 }, .status = LENGTH },
	{ "read into the capsule", R, 512, 4096, 4096, { BLOCK, 0, 512 }, .status = FIELD },
	/* bit buckets */
	{ "nothing wanted", R, 4096, .sgl1 = { BUCK, 0, 4096 } },
	{ "less than nothing", R, 4096, .sgl1 = { BUCK, 0, 4095 }, .status = LENGTH },
	{ "more than nothing", R, 4096, .sgl1 = { BUCK, 0, UINT32_MAX }, .status = LENGTH },
	{ "write from nowhere", W, 4096, .sgl1 = { BUCK, 0, 4096 }, .status = LENGTH },
	{ "bucket between",
	  R,
	  4096,
	  48,
	  0,
	  { LAST, 0, 48 },
	  { { KEYED, 1, 512, 2 }, { BUCK, 0, 3072 }, { KEYED, 3, 512, 4 } },
	  .npieces = 2,
	  .pieces = { { 1, 2, 0, 512 }, { 3, 4, 3584, 512 } } },
	{ "bucket first",
	  R,
	  1024,
	  32,
	  0,
	  { LAST, 0, 32 },
	  { { BUCK, 0, 512 }, { KEYED, 3, 512, 4 } },
	  .npieces = 1,
	  .pieces = { { 3, 4, 512, 512 } } },
	{ "bucket in a write: as if empty",
	  W,
	  1024,
	  48,
	  0,
	  { LAST, 0, 48 },
	  { { KEYED, 1, 512, 2 }, { BUCK, 0, 3072 }, { KEYED, 3, 512, 4 } },
	  .npieces = 2,
	  .pieces = { { 1, 2, 0, 512 }, { 3, 4, 512, 512 } } },
	/* lists */
	{ "two",
	  W,
	  1024,
	  32,
	  0,
	  { LAST, 0, 32 },
	  { { KEYED, 1, 1000, 2 }, { KEYED, 3, 24, 4 } },
	  .npieces = 2,
	  .pieces = { { 1, 2, 0, 1000 }, { 3, 4, 1000, 24 } } },
	{ "a list of one",
	  R,
	  512,
	  16,
	  0,
	  { LAST, 0, 16 },
	  { { KEYED, 1, 512, 2 } },
	  .npieces = 1,
	  .pieces = { { 1, 2, 0, 512 } } },
	{ "list further behind",
	  R,
	  512,
	  32,
	  0,
	  { LAST, 16, 16 },
	  { { 0 }, { KEYED, 1, 512, 2 } },
	  .npieces = 1,
	  .pieces = { { 1, 2, 0, 512 } } },
	{ "empty blocks",
	  R,
	  512,
	  48,
	  0,
	  { LAST, 0, 48 },
	  { { KEYED, 1, 0, 2 }, { KEYED, 3, 512, 4 }, { KEYED, 5, 0, 6 } },
	  .npieces = 1,
	  .pieces = { { 3, 4, 0, 512 } } },
	{ "the last invalidate counts",
	  R,
	  1024,
	  32,
	  0,
	  { LAST, 0, 32 },
	  { { INV, 1, 512, 2 }, { INV, 3, 512, 4 } },
	  .npieces = 2,
	  .pieces = { { 1, 2, 0, 512 }, { 3, 4, 512, 512 } },
	  .invalidate = 4 },
	{ "wherever it is",
	  R,
	  1024,
	  32,
	  0,
	  { LAST, 0, 32 },
	  { { INV, 1, 512, 2 }, { KEYED, 3, 512, 4 } },
	  .npieces = 2,
	  .pieces = { { 1, 2, 0, 512 }, { 3, 4, 512, 512 } },
	  .invalidate = 2 },
	{ "as many as there may be",
	  R,
	  16,
	  256,
	  0,
	  { LAST, 0, 256 },
	  { [0 ... 15] = { KEYED, 1, 1, 2 } },
	  .npieces = 16,
	  .pieces = { { 1, 2, 0, 1 },
		      { 1, 2, 1, 1 },
		      { 1, 2, 2, 1 },
		      { 1, 2, 3, 1 },
		      { 1, 2, 4, 1 },
		      { 1, 2, 5, 1 },
		      { 1, 2, 6, 1 },
		      { 1, 2, 7, 1 },
		      { 1, 2, 8, 1 },
		      { 1, 2, 9, 1 },
		      { 1, 2, 10, 1 },
		      { 1, 2, 11, 1 },
		      { 1, 2, 12, 1 },
		      { 1, 2, 13, 1 },
		      { 1, 2, 14, 1 },
		      { 1, 2, 15, 1 } } },
	{ "one more",
	  R,
	  17,
	  272,
	  0,
	  { LAST, 0, 272 },
	  { [0 ... 16] = { KEYED, 1, 1, 2 } },
	  .status = COUNT },
	{ "one more, empty",
	  R,
	  16,
	  272,
	  0,
	  { LAST, 0, 272 },
	  { [0 ... 15] = { KEYED, 1, 1, 2 }, [16] = { KEYED, 1, 0, 2 } },
	  .status = COUNT },
	{ "buckets are not data blocks",
	  R,
	  1700,
	  272,
	  0,
	  { LAST, 0, 272 },
	  { [0 ... 16] = { BUCK, 0, 100 } } },
	{ "list too short",
	  R,
	  1024,
	  16,
	  0,
	  { LAST, 0, 16 },
	  { { KEYED, 1, 512, 2 } },
	  .status = LENGTH },
	{ "list too long",
	  R,
	  512,
	  32,
	  0,
	  { LAST, 0, 32 },
	  { { KEYED, 1, 512, 2 }, { KEYED, 3, 1, 4 } },
	  .status = LENGTH },
	{ "sum beyond 32 bits",
	  R,
	  4096,
	  32,
	  0,
	  { LAST, 0, 32 },
	  { { BUCK, 1, 4095, 2 }, { BUCK, 3, UINT32_MAX, 4 } },
	  .status = LENGTH },
	{ "block in the capsule in a list",
	  W,
	  512,
	  528,
	  528,
	  { LAST, 0, 16 },
	  { { BLOCK, 16, 512 } },
	  .status = TYPE },
	{ "bad type in a list",
	  R,
	  512,
	  32,
	  0,
	  { LAST, 0, 32 },
	  { { KEYED, 1, 512, 2 }, { 0x70 } },
	  .status = TYPE },
	/* segments that are none */
	{ "no descriptor", R, 512, 256, 0, { LAST, 0, 0 }, .status = SEGMENT },
	{ "half a descriptor", R, 512, 256, 0, { LAST, 0, 24 }, .status = SEGMENT },
	{ "not at 8 bytes", R, 512, 256, 0, { LAST, 4, 16 }, .status = SEGMENT },
	{ "beyond what came", R, 512, 31, 0, { LAST, 0, 32 }, .status = OFFSET },
	{ "nothing came", R, 512, 0, 0, { LAST, 0, 16 }, .status = OFFSET },
	{ "starts beyond", R, 512, 256, 0, { LAST, 256, 16 }, .status = OFFSET },
	{ "wraps", R, 512, 256, 0, { LAST, UINT64_MAX - 15, 16 }, .status = OFFSET },
	{ "4 GiB of descriptors", R, 512, 256, 0, { LAST, 0, 0xfffffff0 }, .status = OFFSET },
	{ "4 GiB of a segment", R, 512, 256, 0, { SEG, 0, 0xfffffff0 }, .status = OFFSET },
	/* chains */
	{ "two segments",
	  R,
	  1024,
	  48,
	  0,
	  { SEG, 0, 32 },
	  { { KEYED, 1, 512, 2 }, { LAST, 32, 16 }, { KEYED, 3, 512, 4 } },
	  .npieces = 2,
	  .pieces = { { 1, 2, 0, 512 }, { 3, 4, 512, 512 } } },
	{ "three segments, backwards",
	  R,
	  1024,
	  64,
	  0,
	  { SEG, 48, 16 },
	  { { KEYED, 3, 512, 4 }, { KEYED, 1, 512, 2 }, { LAST, 0, 16 }, { SEG, 16, 32 } },
	  .npieces = 2,
	  .pieces = { { 1, 2, 0, 512 }, { 3, 4, 512, 512 } } },
	{ "a segment that leads nowhere",
	  R,
	  512,
	  16,
	  0,
	  { SEG, 0, 16 },
	  { { KEYED, 1, 512, 2 } },
	  .status = SEGMENT },
	{ "the last that leads on",
	  R,
	  512,
	  32,
	  0,
	  { LAST, 0, 16 },
	  { { LAST, 16, 16 }, { KEYED, 1, 512, 2 } },
	  .status = SEGMENT },
	{ "the last that leads on to more",
	  R,
	  512,
	  32,
	  0,
	  { LAST, 0, 16 },
	  { { SEG, 16, 16 }, { KEYED, 1, 512, 2 } },
	  .status = SEGMENT },
	{ "descriptors behind the next segment's",
	  R,
	  512,
	  48,
	  0,
	  { SEG, 0, 32 },
	  { { LAST, 32, 16 }, { KEYED, 1, 0, 2 }, { KEYED, 1, 512, 2 } },
	  .status = COUNT },
	{ "a segment that contains itself",
	  R,
	  512,
	  256,
	  0,
	  { SEG, 0, 16 },
	  { { SEG, 0, 16 } },
	  .status = COUNT },
	{ "two that contain each other",
	  R,
	  512,
	  256,
	  0,
	  { SEG, 0, 16 },
	  { { SEG, 16, 16 }, { SEG, 0, 16 } },
	  .status = COUNT },
	{ "the next is none",
	  R,
	  512,
	  32,
	  0,
	  { SEG, 0, 16 },
	  { { LAST, 16, 0 } },
	  .status = SEGMENT },
	{ "the next is remote",
	  R,
	  512,
	  32,
	  0,
	  { SEG, 0, 16 },
	  { { SGL_LAST_SEGMENT << 4, 16, 16 } },
	  .status = TYPE },
	{ "the next is beyond",
	  R,
	  512,
	  32,
	  0,
	  { SEG, 0, 16 },
	  { { LAST, 32, 16 } },
	  .status = OFFSET },
};

/* A copy in memory of exactly its length, so that a sanitizer sees what is read beyond. */
static uint8_t *exactly(const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, bytes, len);
	return copy;
}

START_TEST(decode)
{
	const struct decode_row *row = &decode_rows[_i];
	union nvme_sgl sgl1 = sgl_of(&row->sgl1);
	uint8_t bytes[4096] = { 0 };
	struct sgl_piece pieces[SGL_DATA_BLOCKS_MAX] = { 0 };
	struct sgl sgl;

	for (size_t i = 0; i < 20; i++) {
		union nvme_sgl d = sgl_of(&row->capsule[i]);

		memcpy(bytes + i * sizeof(d), &d, sizeof(d));
	}

	uint8_t *capsule = exactly(bytes, row->received);
	const struct sgl_source source = { &sgl1,    capsule,  row->received, row->max,
					   row->len, row->dir, row->excess_ok };

	ck_assert_msg(sgl_decode(&source, pieces, &sgl) == row->status, "%s", row->what);
	free(capsule);
	if (row->status)
		return;
	ck_assert_msg(sgl.npieces == row->npieces, "%s: %u pieces", row->what, sgl.npieces);
	for (unsigned int i = 0; i < sgl.npieces; i++) {
		ck_assert_uint_eq(pieces[i].addr, row->pieces[i].addr);
		ck_assert_uint_eq(pieces[i].key, row->pieces[i].key);
		ck_assert_uint_eq(pieces[i].offset, row->pieces[i].offset);
		ck_assert_uint_eq(pieces[i].len, row->pieces[i].len);
	}
	ck_assert_int_eq(sgl.in_capsule, row->sgl1.type == BLOCK);
	ck_assert_int_eq(sgl.invalidate, row->invalidate != 0);
	if (row->invalidate)
		ck_assert_uint_eq(sgl.invalidate_key, row->invalidate);
	if (sgl.in_capsule)
		ck_assert_uint_eq(sgl.in_capsule_offset, row->sgl1.addr);
}
END_TEST

/* Bytes that are nearly right: whatever comes out stays within the payload and the capsule. */
START_TEST(decode_any_bytes)
{
	static const uint8_t types[] = { KEYED, KEYED, KEYED, INV,  BLOCK, SEG,
					 LAST,  LAST,  BUCK,  0x41, 0x20,  0xf0 };
	unsigned int naccepted = 0;

	srand(5);
	for (unsigned int round = 0; round < 200000; round++) {
		uint32_t received =
			(uint32_t)rand() % 20 * 16 + (rand() % 8 ? 0 : (uint32_t)rand() % 16);
		uint32_t n = received / 16 ? received / 16 : 1;
		uint32_t at = (uint32_t)rand() % n;
		struct desc first = { types[rand() % 12], at * 16u, (n - at) * 16u, 1 };
		union nvme_sgl sgl1 = sgl_of(&first), capsule[20];
		struct sgl_piece pieces[SGL_DATA_BLOCKS_MAX];
		struct sgl sgl;

		for (uint32_t i = 0; i < 20; i++) {
			struct desc d = { types[rand() % 12], (uint64_t)(rand() % 20) * 16,
					  (uint32_t)(rand() % 4) * 16, 2 };

			if (rand() % 4)
				d.type = KEYED;
			capsule[i] = sgl_of(&d);
			if (rand() % 64 == 0)
				((uint8_t *)&capsule[i])[rand() % 16] = (uint8_t)rand();
		}

		uint8_t *copy = exactly(capsule, received);
		struct sgl_source source = { &sgl1,
					     copy,
					     received,
					     rand() % 2 ? received : 0,
					     16u * (1u + (uint32_t)rand() % 12),
					     rand() % 2 ? R : W,
					     rand() % 4 == 0 };
		uint32_t sum = 0;

		if (sgl_decode(&source, sgl_is_list(&sgl1) ? pieces : pieces + 15, &sgl) ==
		    NVME_OK) {
			naccepted++;
			ck_assert_uint_le(sgl.npieces,
					  sgl_is_list(&sgl1) ? SGL_DATA_BLOCKS_MAX : 1);
			for (unsigned int i = 0; i < sgl.npieces; i++) {
				const struct sgl_piece *p = &pieces[sgl_is_list(&sgl1) ? i : 15];

				ck_assert_uint_gt(p->len, 0);
				ck_assert_uint_ge(p->offset, sum);
				sum = p->offset + p->len;
				ck_assert_uint_le(sum, source.len);
			}
			if (sgl.in_capsule)
				ck_assert_uint_le(sgl.in_capsule_offset + source.len, received);
		}
		free(copy);
	}
	ck_assert_uint_gt(naccepted, 1000);
}
END_TEST

/* ---- a connection to verbs that only remember ---------------------------------------------------
 */

#define NREQS 8

static struct ibv_send_wr posted[256]; /* copies */
static unsigned int nposted, post_at_most;
static struct conn conn;
static struct lane lane;
static struct cq_pair cqs;
static struct ibv_context verbs;
static struct ibv_qp qp = { .context = &verbs };
static struct rdma_cm_id id = { .qp = &qp };
static struct slot slots[NREQS];
static struct slot_cache cache;
static unsigned int nexecuted, nslots_given, nnow_drained;

static int post_send(struct ibv_qp *q, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	(void)q;
	for (; wr; wr = wr->next) {
		if (nposted == post_at_most) {
			*bad = wr;
			return ENOMEM;
		}
		posted[nposted++] = *wr;
	}
	return 0;
}

static void executed(struct nvmf_req *req)
{
	(void)req;
	nexecuted++;
}

/* Stand-ins for what belongs to others: no slot cache, no CM. */
void slot_give(struct slot *slot)
{
	(void)slot;
	nslots_given++;
}

void conn_check_finished(struct conn *c)
{
	(void)c;
}

void conn_check_drained(struct conn *c)
{
	if (c->state == CONN_DRAINING && c->busy_reqs <= !!c->orphan)
		nnow_drained++;
}

void conn_kill(struct conn *c)
{
	if (c->state == CONN_DRAINING)
		return;
	c->state = CONN_DRAINING;
	conn_drop_chain(c);
	conn_cancel_requests(c);
	conn_check_drained(c);
}

void conn_expect_nothing(struct conn *c)
{
	(void)c;
}

static unsigned int nearly;

void conn_came_early(struct conn *c)
{
	(void)c;
	nearly++;
}

void lane_mark_dirty(struct conn *c)
{
	c->dirty = true;
}

struct slot *lane_take_spare(struct lane *l)
{
	(void)l;
	return NULL;
}

void lane_give_spare(struct lane *l, struct slot *slot)
{
	(void)l;
	(void)slot;
}

static unsigned int nrecvs_back;

void lane_put_recv(struct lane *l, struct recv *recv)
{
	(void)l;
	(void)recv;
	nrecvs_back++;
}

struct conn *lane_find_conn(struct lane *l, uint32_t qp_num)
{
	(void)l;
	(void)qp_num;
	return &conn;
}

bool lane_can_flush(struct lane *l)
{
	(void)l;
	return false;
}

static const struct command command = { .name = "test", .execute = executed };
static struct config no_flush;
static struct transport transport = { .conf = &no_flush };
static struct reactor_account account;
static struct target no_target = { .account = &account };
static struct reactor reactor;

static void setup(void)
{
	log_init(LOG_LEVEL_ERROR);
	verbs = (struct ibv_context){ .ops.post_send = post_send };
	lane = (struct lane){ 0 };
	cqs = (struct cq_pair){ 0 };
	conn = (struct conn){ .nvmf = { .ops = &conn_queue_ops,
					.target = &no_target,
					.reactor = &reactor,
					.state = QUEUE_LIVE },
			      .transport = &transport,
			      .lane = &lane,
			      .id = &id,
			      .state = CONN_LIVE,
			      .send_inline = true,
			      .depth = NREQS,
			      .cqs = &cqs,
			      .nreqs = NREQS,
			      .nfree_wrs = PIECE_WRS };
	STAILQ_INIT(&conn.free_reqs);
	STAILQ_INIT(&conn.wr_waiters);
	STAILQ_INIT(&conn.pending);
	conn.chain_end = &conn.chain;
	conn.reqs = calloc(NREQS, sizeof(*conn.reqs));
	conn.pieces = calloc((size_t)NREQS * SGL_DATA_BLOCKS_MAX, sizeof(*conn.pieces));
	conn.piece_wrs = calloc(PIECE_WRS, sizeof(*conn.piece_wrs));
	nposted = nexecuted = nslots_given = nnow_drained = nrecvs_back = 0;
	post_at_most = 256;
}

static void teardown(void)
{
	free(conn.reqs);
	free(conn.pieces);
	free(conn.piece_wrs);
}

/* A command of @n pieces of 100 bytes whose payload has found its slot. */
static struct request *start(enum data_dir dir, unsigned int n)
{
	struct request *req = take_request(&conn);
	struct slot *slot = &slots[req - conn.reqs];

	*slot = (struct slot){ .va = (uint8_t *)(0x100000 * (req - conn.reqs + 1)),
			       .lkey = 77,
			       .cache = &cache };
	conn.busy_reqs++;
	set_state(req, REQ_AT_TARGET);
	req->nvmf.dir = dir;
	req->nvmf.len = n * 100;
	req->nvmf.cmd = &command;
	req->nvmf.place = STAGE_HOST_OFF;
	req->nvmf.cqe = (struct nvme_cqe){ 0 };
	req->sgl = (struct sgl){ .npieces = (uint8_t)n };
	req->pieces = n == 1 ? &req->piece : &conn.pieces[(req - conn.reqs) * SGL_DATA_BLOCKS_MAX];
	for (unsigned int i = 0; i < n; i++)
		req->pieces[i] = (struct sgl_piece){ 1000 * i, i, 100 * i, 100 };
	slot_ready(req, slot);
	if (dir == DATA_C2H)
		respond(&req->nvmf);
	return req;
}

static void flush_chain(void)
{
	conn.dirty = false;
	conn_post_chain(&conn);
}

/* What the RNIC says of @wr, as it does with those that are signalled, or failed. */
static void complete(const struct ibv_send_wr *wr, enum ibv_wc_status status)
{
	const struct ibv_wc wc = { .status = status };
	struct wr *who = (void *)(uintptr_t)wr->wr_id;

	if (wr->send_flags & IBV_SEND_SIGNALED || status != IBV_WC_SUCCESS)
		who->done(who, &wc);
}

/* The chain of one command: @n pieces, and for a read the response behind them. */
static void expect_chain(unsigned int first, const struct request *req, unsigned int n)
{
	bool read = req->nvmf.dir == DATA_C2H;

	for (unsigned int i = 0; i < n; i++) {
		const struct ibv_send_wr *wr = &posted[first + i];

		ck_assert_int_eq(wr->opcode, read ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ);
		ck_assert_uint_eq(wr->wr.rdma.remote_addr, 1000 * i);
		ck_assert_uint_eq(wr->wr.rdma.rkey, i);
		ck_assert_int_eq(wr->send_flags, !read && i + 1 == n ? IBV_SEND_SIGNALED : 0);
		ck_assert_int_eq(wr->num_sge, 1);
		ck_assert_uint_eq(wr->sg_list->addr, (uintptr_t)req->slot->va + 100 * i);
		ck_assert_uint_eq(wr->sg_list->length, 100);
		ck_assert_uint_eq(wr->sg_list->lkey, 77);
	}
	if (read) {
		ck_assert_int_eq(posted[first + n].opcode, IBV_WR_SEND);
		ck_assert(posted[first + n].send_flags & IBV_SEND_SIGNALED);
	}
}

START_TEST(reads_of_all_pieces)
{
	unsigned int n = (unsigned int)_i;
	struct request *req = start(DATA_H2C, n);

	flush_chain();
	ck_assert_uint_eq(nposted, n);
	expect_chain(0, req, n);
	ck_assert_uint_eq(cqs.reads_out, 1);
	ck_assert_uint_eq(conn.nfree_wrs, PIECE_WRS - (n - 1));
	for (unsigned int i = 0; i < n; i++)
		complete(&posted[i], IBV_WC_SUCCESS);
	ck_assert_uint_eq(nexecuted, 1);
	ck_assert_uint_eq(cqs.reads_out, 0);
	ck_assert_uint_eq(conn.nfree_wrs, PIECE_WRS);
	respond(&req->nvmf);
	flush_chain();
	ck_assert_uint_eq(nposted, n + 1);
	complete(&posted[n], IBV_WC_SUCCESS);
	ck_assert_uint_eq(conn.busy_reqs, 0);
	ck_assert_uint_eq(nslots_given, 1);
}
END_TEST

START_TEST(writes_of_all_pieces)
{
	unsigned int n = (unsigned int)_i;
	struct request *req = start(DATA_C2H, n);

	flush_chain();
	ck_assert_uint_eq(nposted, n + 1);
	expect_chain(0, req, n);
	ck_assert_uint_eq(nslots_given, 0);
	complete(&posted[n], IBV_WC_SUCCESS);
	ck_assert_uint_eq(nslots_given, 1);
	ck_assert_uint_eq(conn.busy_reqs, 0);
	ck_assert_uint_eq(conn.nfree_wrs, PIECE_WRS);
}
END_TEST

/* An error is told without data, and a read that nobody wants is only answered. */
START_TEST(nothing_to_write)
{
	struct request *req;

	req = take_request(&conn);
	conn.busy_reqs++;
	set_state(req, REQ_AT_TARGET);
	req->nvmf.dir = DATA_C2H;
	req->sgl = (struct sgl){ 0 };
	req->slot = &slots[0];
	respond(&req->nvmf);
	req = take_request(&conn);
	conn.busy_reqs++;
	set_state(req, REQ_AT_TARGET);
	req->nvmf.dir = DATA_C2H;
	req->sgl = (struct sgl){ .npieces = 5 };
	req->slot = &slots[1];
	req->nvmf.cqe.status = put16(NVME_READ_ERROR << 1);
	respond(&req->nvmf);
	flush_chain();
	ck_assert_uint_eq(nposted, 2);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(posted[i].opcode, IBV_WR_SEND);
		complete(&posted[i], IBV_WC_SUCCESS);
	}
	ck_assert_uint_eq(conn.busy_reqs, 0);
}
END_TEST

/* More pieces than the connection has work requests for: in order of arrival, and single ones do
 * not wait. */
START_TEST(commands_of_many_pieces_wait_for_each_other)
{
	struct request *req[5];

	for (unsigned int i = 0; i < 4; i++)
		req[i] = start(i % 2 ? DATA_C2H : DATA_H2C, 16);
	req[4] = start(DATA_H2C, 1);
	flush_chain();
	ck_assert_uint_eq(nposted, 16 + 17 + 1); /* two of them, and the single one */
	expect_chain(0, req[0], 16);
	expect_chain(16, req[1], 16);
	ck_assert_int_eq(req[2]->state, REQ_WAIT_WRS);
	ck_assert_int_eq(req[3]->state, REQ_WAIT_WRS);
	ck_assert_uint_eq(cqs.starving, 2);
	complete(&posted[32], IBV_WC_SUCCESS); /* the second one's response */
	flush_chain();
	ck_assert_uint_eq(nposted, 34 + 16);
	expect_chain(34, req[2], 16);
	ck_assert_int_eq(req[3]->state, REQ_WAIT_WRS);
	complete(&posted[15], IBV_WC_SUCCESS); /* the first one's data is here */
	flush_chain();
	ck_assert_uint_eq(nposted, 50 + 17);
	expect_chain(50, req[3], 16);
	ck_assert_uint_eq(cqs.starving, 0);
	complete(&posted[33], IBV_WC_SUCCESS);
	complete(&posted[49], IBV_WC_SUCCESS);
	complete(&posted[66], IBV_WC_SUCCESS);
	ck_assert_uint_eq(nexecuted, 3 + 2);
	ck_assert_uint_eq(conn.nfree_wrs, PIECE_WRS);
	ck_assert_uint_le(conn.npiece_wrs_touched, PIECE_WRS);
}
END_TEST

/* The queue dies while some wait. */
START_TEST(waiting_commands_are_cancelled)
{
	for (unsigned int i = 0; i < 4; i++)
		(void)start(DATA_H2C, 16);
	flush_chain();
	ck_assert_uint_eq(cqs.starving, 2);
	conn_kill(&conn);
	ck_assert_uint_eq(cqs.starving, 0);
	ck_assert_uint_eq(conn.busy_reqs, 2);
	for (unsigned int i = 0; i < 32; i++)
		complete(&posted[i], IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(conn.busy_reqs, 0);
	ck_assert_uint_eq(nslots_given, 4);
	ck_assert_uint_ge(nnow_drained, 1);
}
END_TEST

/* The RNIC takes the first @_i work requests of three commands' chains, and no more: the connection
 * ends, and drains, though what it took is never heard of. */
START_TEST(posting_stops_in_the_middle)
{
	struct request *req[3];
	unsigned int nsignalled = 0;

	req[0] = start(DATA_C2H, 3);
	req[1] = start(DATA_H2C, 4);
	req[2] = start(DATA_C2H, 1);
	post_at_most = (unsigned int)_i;
	flush_chain();
	ck_assert_int_eq(conn.state, CONN_DRAINING);
	for (unsigned int i = 0; i < nposted; i++)
		if (posted[i].send_flags & IBV_SEND_SIGNALED) {
			complete(&posted[i], IBV_WC_WR_FLUSH_ERR);
			nsignalled++;
		}
	conn_check_drained(&conn);
	ck_assert_uint_ge(nnow_drained, 1);
	ck_assert_uint_eq(cqs.reads_out, 0);

	/* in the middle of which one? */
	static const int orphan[] = { -1, 0, 0, 0, -1, 1, 1, 1, -1, 2 };

	ck_assert_ptr_eq(conn.orphan, orphan[_i] < 0 ? NULL : req[orphan[_i]]);
	ck_assert_uint_eq(conn.busy_reqs, conn.orphan ? 1 : 0);
	ck_assert_uint_eq(nslots_given, conn.orphan ? 2 : 3);
	if (conn.orphan) {
		ck_assert_ptr_nonnull(conn.orphan->slot);
		conn_settle_orphan(&conn);
	}
	ck_assert_uint_eq(nslots_given, 3);
}
END_TEST

/* A device that is gone, and says nothing of what was posted. */
START_TEST(nothing_is_heard_any_more)
{
	(void)start(DATA_H2C, 16);
	(void)start(DATA_C2H, 16);
	(void)start(DATA_C2H, 1);
	(void)start(DATA_H2C, 16); /* waits */
	flush_chain();
	conn_kill(&conn);
	ck_assert_uint_eq(conn.busy_reqs, 3);
	conn_forget_wrs(&conn);
	ck_assert_uint_eq(conn.busy_reqs, 0);
	ck_assert_uint_eq(cqs.reads_out, 0);
	ck_assert_uint_eq(nslots_given, 4);
	ck_assert_uint_eq(conn.nfree_wrs, PIECE_WRS);
}
END_TEST

/* Capsules that wait do not keep receives that others share, and their bytes stay as they came. */
START_TEST(waiting_capsules_give_shared_receives_back)
{
	static uint8_t in_capsule[512] __attribute__((aligned(512)));
	struct ibv_mr mr = { 0 };
	struct nvme_sqe sqe;
	struct recv recv;

	lane.srq.posted = lane.srq.n = NREQS;
	conn.state = CONN_ACCEPTING;
	recv_init(&recv, &mr, &sqe, in_capsule, sizeof(in_capsule));
	recv.lane = &lane;
	for (unsigned int i = 0; i < NREQS; i++) {
		const struct ibv_wc wc = { .byte_len = sizeof(sqe) + i };

		sqe = (struct nvme_sqe){ .opcode = 0xee, .cid = put16((uint16_t)(i + 1)) };
		memset(in_capsule, (int)i, i);
		recv.wr.done(&recv.wr, &wc);
		ck_assert_uint_eq(nrecvs_back, i + 1);
	}
	ck_assert_uint_eq(nearly, NREQS); /* the CM hears that the host is there */
	memset(&sqe, 0xff, sizeof(sqe));
	memset(in_capsule, 0xff, sizeof(in_capsule));

	struct recv *waiting;
	unsigned int n = 0;

	STAILQ_FOREACH (waiting, &conn.pending, entry) {
		ck_assert_uint_eq(get16(waiting->sqe->cid), n + 1);
		ck_assert_uint_eq(waiting->in_capsule_len, n);
		for (unsigned int i = 0; i < n; i++)
			ck_assert_uint_eq(waiting->in_capsule[i], n);
		n++;
	}
	ck_assert_uint_eq(n, NREQS);
	conn.state = CONN_LIVE;
	conn.nvmf.qid = 1;
	conn.nvmf.state = QUEUE_WAIT_CONNECT; /* all are refused, and nobody keeps a log of that */
	conn_start_pending(&conn);
	ck_assert(STAILQ_EMPTY(&conn.pending));
	flush_chain();
	ck_assert_uint_eq(nposted, NREQS);
	for (unsigned int i = 0; i < NREQS; i++) {
		const struct nvme_cqe *cqe = (void *)(uintptr_t)posted[i].sg_list->addr;

		ck_assert_uint_eq(get16(cqe->cid), i + 1);
		complete(&posted[i], IBV_WC_SUCCESS);
	}
	ck_assert_uint_eq(conn.busy_reqs, 0);
	ck_assert_uint_eq(nrecvs_back, NREQS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sgl");
	TCase *t = tcase_create("decode");

	tcase_add_loop_test(t, decode, 0, sizeof(decode_rows) / sizeof(decode_rows[0]));
	tcase_add_test(t, decode_any_bytes);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	t = tcase_create("work requests");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, reads_of_all_pieces, 1, SGL_DATA_BLOCKS_MAX + 1);
	tcase_add_loop_test(t, writes_of_all_pieces, 1, SGL_DATA_BLOCKS_MAX + 1);
	tcase_add_test(t, nothing_to_write);
	tcase_add_test(t, commands_of_many_pieces_wait_for_each_other);
	tcase_add_test(t, waiting_commands_are_cancelled);
	tcase_add_test(t, nothing_is_heard_any_more);
	tcase_add_test(t, waiting_capsules_give_shared_receives_back);
	tcase_add_loop_test(t, posting_stops_in_the_middle, 0, 10);
	suite_add_tcase(s, t);
	return run_suite(s);
}
