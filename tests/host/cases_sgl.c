/* SGL descriptors: Base 2.1, 4.3.2; what fabrics and RDMA allow of them: RDMA transport 1.1, 3.2.
 */
#include "tests/host/suite.h"

#include <errno.h>
#include <string.h>

#define TYPE_INVALID   (NVME_SGL_TYPE_INVALID | DNR)
#define LEN_INVALID    (NVME_SGL_DATA_LENGTH_INVALID | DNR)
#define OFFSET_INVALID (NVME_SGL_OFFSET_INVALID | DNR)
#define INVALID_FIELD  (NVME_INVALID_FIELD | DNR)

#define ONE_BLOCK(op, dir)                                                                         \
	.on = ON_IO, .opcode = (op), .nsid = MY_NSID,                                              \
	.cdw10 = (op) == nvme_cmd_write ? FREE_LBA : 0, .data = (dir), .blocks = 1
#define READ  ONE_BLOCK(nvme_cmd_read, TO_HOST)
#define WRITE ONE_BLOCK(nvme_cmd_write, FROM_HOST)

/* ---- every type and sub type -------------------------------------------------------------------
 */

static void type(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)s;
	c->sqe.dptr.data.type = (uint8_t)t->arg;
}

/* What a controller takes that takes lists of descriptors (MSDBD above 1). */
static bool is_of_lists(unsigned int type_)
{
	return type_ == (SGL_BIT_BUCKET << 4 | SGL_SUB_ADDRESS) ||
	       type_ == (SGL_SEGMENT << 4 | SGL_SUB_OFFSET) ||
	       type_ == (SGL_LAST_SEGMENT << 4 | SGL_SUB_OFFSET);
}

static bool type_case(struct suite *s, const void *row)
{
	const struct command_case *t = row;

	if (!suite_controller(s))
		return false;
	if (is_of_lists((unsigned int)t->arg) && s->ctrl->id.msdbd > 1)
		return suite_skip(s, "this controller takes lists of descriptors");
	return command_case(s, row);
}

static void type_cases(struct suite *s)
{
	char name[32];

	for (unsigned int i = 0; i < 512; i++) {
		const uint8_t value = (uint8_t)i;
		struct command_case read = { name, READ, .edit = type, .arg = value,
					     .status = TYPE_INVALID };
		struct command_case write = { name, WRITE, .edit = type, .arg = value,
					      .status = TYPE_INVALID };

		if (value == (SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_ADDRESS) ||
		    value == (SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_INVALIDATE) ||
		    value == (SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET))
			continue; /* what there is */
		snprintf(name, sizeof(name), "%s-type-%02x", i < 256 ? "read" : "write", value);
		suite_case(s, name, NOW, type_case, i < 256 ? &read : &write);
	}
}

/* ---- keyed ------------------------------------------------------------------------------------
 */

static void keyed_len(struct suite *s, const struct command_case *t, struct capsule *c)
{
	c->sqe.dptr = fab_sgl_keyed(&s->data, (uint32_t)t->arg, SGL_SUB_ADDRESS);
}

static void one_byte_less(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)t;
	c->sqe.dptr = fab_sgl_keyed(&s->data, s->lba_len - 1, SGL_SUB_ADDRESS);
}

static void one_byte_more(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)t;
	c->sqe.dptr = fab_sgl_keyed(&s->data, s->lba_len + 1, SGL_SUB_ADDRESS);
}

static void wrong_key(struct suite *s, const struct command_case *t, struct capsule *c)
{
	struct host_buffer b = s->data;

	b.rkey ^= (uint32_t)t->arg;
	c->sqe.dptr = fab_sgl_keyed(&b, s->lba_len, SGL_SUB_ADDRESS);
}

/* The last byte of the block lies behind the memory region. */
static void behind_region(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)t;
	c->sqe.dptr.keyed.addr = put64((uintptr_t)s->data.va + s->data.len - s->lba_len + 1);
}

static void before_region(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)t;
	c->sqe.dptr.keyed.addr = put64((uintptr_t)s->data.va - 1);
}

static void address(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)s;
	c->sqe.dptr.keyed.addr = put64(t->arg);
}

static void odd_address(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)t;
	c->sqe.dptr.keyed.addr = put64((uintptr_t)s->data.va + 4);
}

static const struct command_case keyed_rows[] = {
	{ "read-len-0", READ, .edit = keyed_len, .arg = 0, .status = LEN_INVALID },
	{ "read-len-short", READ, .edit = one_byte_less, .status = LEN_INVALID },
	{ "read-len-long", READ, .edit = one_byte_more, .status = LEN_INVALID },
	{ "read-len-ffffff", READ, .edit = keyed_len, .arg = 0xffffff, .status = LEN_INVALID },
	{ "write-len-0", WRITE, .edit = keyed_len, .arg = 0, .status = LEN_INVALID },
	{ "write-len-short", WRITE, .edit = one_byte_less, .status = LEN_INVALID },
	{ "write-len-long", WRITE, .edit = one_byte_more, .status = LEN_INVALID },
	{ "write-len-ffffff", WRITE, .edit = keyed_len, .arg = 0xffffff, .status = LEN_INVALID },
	{ "write-address-4", WRITE, .edit = odd_address },
	/* The RNICs refuse; what RDMA has to say of that ends the connection, and that queue only.
	 */
	{ "read-wrong-key", READ, .edit = wrong_key, .arg = 0x1, .then = GONE },
	{ "read-key-of-nothing", READ, .edit = wrong_key, .arg = 0xff00, .then = GONE },
	{ "read-behind-region", READ, .edit = behind_region, .then = GONE },
	{ "read-before-region", READ, .edit = before_region, .then = GONE },
	{ "read-address-0", READ, .edit = address, .arg = 0, .then = GONE },
	{ "read-address-wraps", READ, .edit = address, .arg = UINT64_MAX - 100, .then = GONE },
	{ "write-wrong-key", WRITE, .edit = wrong_key, .arg = 0x1, .then = GONE },
	{ "write-behind-region", WRITE, .edit = behind_region, .then = GONE },
	{ "write-before-region", WRITE, .edit = before_region, .then = GONE },
	{ "write-address-0", WRITE, .edit = address, .arg = 0, .then = GONE },
	{ "write-address-wraps", WRITE, .edit = address, .arg = UINT64_MAX - 100, .then = GONE },
};

/* ---- invalidate -------------------------------------------------------------------------------
 */

struct invalidate_case {
	const char *name;
	uint8_t opcode, sub_type;
	uint32_t nsid;
	uint16_t status;
};

/* A key that may be invalidated is, with the response, whatever that says; another is not. */
static const struct invalidate_case invalidate_rows[] = {
	{ "read-invalidate", nvme_cmd_read, SGL_SUB_INVALIDATE, MY_NSID, NVME_OK },
	{ "write-invalidate", nvme_cmd_write, SGL_SUB_INVALIDATE, MY_NSID, NVME_OK },
	{ "read-no-invalidate", nvme_cmd_read, SGL_SUB_ADDRESS, MY_NSID, NVME_OK },
	{ "write-no-invalidate", nvme_cmd_write, SGL_SUB_ADDRESS, MY_NSID, NVME_OK },
};

static bool invalidation_as_expected(struct suite *s, const struct host_response *r,
				     const struct host_buffer *b, bool expected)
{
	if (r->invalidated != expected)
		return suite_fail(s, "got a response with%s Invalidate, expected one with%s",
				  r->invalidated ? "" : "out", expected ? "" : "out");
	return !expected || r->invalidated_rkey == b->rkey ||
	       suite_fail(s, "got key %#x invalidated, expected %#x", r->invalidated_rkey, b->rkey);
}

static bool with_window(struct suite *s, const struct invalidate_case *t, struct host_buffer *b)
{
	struct capsule c;
	struct host_response r;
	int err = host_bind_window(s->io.conn, b);

	if (err)
		return suite_skip(s, "this RNIC binds no memory window (%s)", strerror(-err));
	fab_rw_init(&c, t->opcode, t->nsid == MY_NSID ? s->nsid : t->nsid, FREE_LBA, 1);
	c.sqe.dptr = fab_sgl_keyed(b, s->lba_len, t->sub_type);
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, t->status) &&
	       invalidation_as_expected(s, &r, b, t->sub_type == SGL_SUB_INVALIDATE);
}

static bool invalidate_case(struct suite *s, const void *row)
{
	struct host_buffer b = { 0 };
	bool ok;
	int err;

	if (!suite_controller(s))
		return false;
	err = host_alloc(s->fh->host, 65536, FAB_GUARD, &b);
	if (err)
		return suite_fail(s, "no memory: %s", strerror(-err));
	ok = with_window(s, row, &b);
	host_free(&b);
	suite_drop_controller(s);
	return ok;
}

/* ---- data in the capsule -----------------------------------------------------------------------
 */

/* One block behind the SQE, with the descriptor's offset and length off by some bytes. */
struct capsule_case {
	const char *name;
	uint8_t opcode;
	int64_t offset;
	int32_t len_more;
	uint16_t status;
};

static const struct capsule_case capsule_rows[] = {
	{ "in-capsule", nvme_cmd_write, 0, 0, NVME_OK },
	{ "in-capsule-read", nvme_cmd_read, 0, 0, INVALID_FIELD },
	{ "in-capsule-short", nvme_cmd_write, 0, -4, LEN_INVALID },
	{ "in-capsule-empty", nvme_cmd_write, 0, INT32_MIN, LEN_INVALID },
	{ "in-capsule-len-beyond", nvme_cmd_write, 0, 4, OFFSET_INVALID },
	{ "in-capsule-len-huge", nvme_cmd_write, 0, INT32_MAX, OFFSET_INVALID },
	{ "in-capsule-offset-4", nvme_cmd_write, 4, 0, OFFSET_INVALID },
	{ "in-capsule-offset-1", nvme_cmd_write, 1, 0, OFFSET_INVALID },
	{ "in-capsule-offset-huge", nvme_cmd_write, INT64_MAX, 0, OFFSET_INVALID },
	{ "in-capsule-offset-minus-4", nvme_cmd_write, -4, 0, OFFSET_INVALID },
};

static bool in_capsule_case(struct suite *s, const void *row)
{
	const struct capsule_case *t = row;
	struct capsule c;
	struct host_response r;
	uint32_t len;
	int err;

	if (!suite_controller(s))
		return false;
	if (s->ctrl->in_capsule < s->lba_len)
		return suite_skip(s, "this controller takes %zu bytes of in-capsule data",
				  s->ctrl->in_capsule);
	len = t->len_more == INT32_MIN ? 0 : s->lba_len + (uint32_t)t->len_more;
	fab_rw_init(&c, t->opcode, s->nsid, FREE_LBA, 1);
	c.sqe.dptr = fab_sgl_in_capsule((uint64_t)t->offset, len);
	memset(c.data, 0x5a, s->lba_len);
	c.data_len = s->lba_len;
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, t->status);
}

/* No more than was announced: not even what the receive buffer would have room for. */
static bool in_capsule_not_offered(struct suite *s, const void *row)
{
	struct capsule c;
	struct host_response r;
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	if (s->ctrl->in_capsule >= s->lba_len)
		return suite_skip(s, "this controller takes in-capsule data");
	fab_rw_init(&c, nvme_cmd_write, s->nsid, FREE_LBA, 1);
	c.sqe.dptr = fab_sgl_in_capsule(0, s->lba_len);
	memset(c.data, 0x5a, s->lba_len);
	c.data_len = s->lba_len;
	err = fab_exec(&s->io, &c, &r);
	if (err == -ENOTCONN) { /* the receive was too short for it: the RNIC ends the connection */
		suite_drop_controller(s);
		return true;
	}
	return expect_status(s, err, &r, OFFSET_INVALID);
}

void sgl_cases(struct suite *s)
{
	type_cases(s);
	SUITE_COMMANDS(s, keyed_rows);
	for (size_t i = 0; i < sizeof(invalidate_rows) / sizeof(invalidate_rows[0]); i++)
		suite_case(s, invalidate_rows[i].name, NOW, invalidate_case, &invalidate_rows[i]);
	for (size_t i = 0; i < sizeof(capsule_rows) / sizeof(capsule_rows[0]); i++)
		suite_case(s, capsule_rows[i].name, NOW, in_capsule_case, &capsule_rows[i]);
	suite_case(s, "in-capsule-not-offered", NOW, in_capsule_not_offered, NULL);
	list_cases(s);
}
