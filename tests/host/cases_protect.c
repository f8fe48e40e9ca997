/* Namespaces that cannot be written: write protection (Base 2.1, 8.1.16), and what the drive, the
 * file system, or the daemon's own folder make of it. */
#include "tests/host/suite.h"

#include <string.h>

#define PROTECTED (NVME_NS_WRITE_PROTECTED | DNR)

static bool set_protection(struct suite *s, uint32_t state, uint16_t status)
{
	struct capsule c;
	struct host_response r;
	int err;

	fab_capsule_init(&c, ADM_SET_FEATURES);
	c.sqe.nsid = put32(s->nsid);
	c.sqe.cdw10 = put32(NVME_FEAT_FID_WRITE_PROTECT);
	c.sqe.cdw11 = put32(state);
	err = fab_exec(&s->ctrl->admin, &c, &r);
	return expect_status(s, err, &r, status);
}

static bool expect_form(struct suite *s, const struct io_form *f, uint64_t slba, uint16_t status)
{
	struct capsule c;
	struct host_response r;
	int err;

	suite_io_init(s, f, slba, &c);
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, status);
}

static bool read_block(struct suite *s, uint64_t slba)
{
	return expect_form(s, &io_forms[0], slba, NVME_OK);
}

/* ---- write protection -------------------------------------------------------------------------
 */

/* The protection is taken away whatever happens: those after us want to write. */
static bool while_protected(struct suite *s, const void *row)
{
	const struct io_form *f = row;
	bool ok;

	if (!suite_controller(s) || !set_protection(s, 1, NVME_OK))
		return false;
	ok = read_block(s, 0) && /* for Compare */
	     expect_form(s, f, 0, f->writes ? PROTECTED : NVME_OK);
	return set_protection(s, 0, NVME_OK) && ok && expect_pattern(s);
}

static bool again_writable(struct suite *s, const void *row)
{
	const struct io_form *f = row;

	return suite_controller(s) && set_protection(s, 1, NVME_OK) &&
	       set_protection(s, 0, NVME_OK) && read_block(s, FREE_LBA) &&
	       expect_form(s, f, FREE_LBA, NVME_OK);
}

#define GET_STATE                                                                                  \
	.opcode = ADM_GET_FEATURES, .nsid = MY_NSID, .cdw10 = NVME_FEAT_FID_WRITE_PROTECT,         \
	.dw0_mask = UINT32_MAX

static bool is_told(struct suite *s, const void *row)
{
	const struct command_case on = { GET_STATE, .dw0 = 1 }, off = { GET_STATE, .dw0 = 0 };
	const struct nvme_id_ns *ns;
	bool ok;

	(void)row;
	if (!suite_controller(s) || !set_protection(s, 1, NVME_OK))
		return false;
	ns = (const void *)s->ctrl->page.va;
	ok = command_case(s, &on) &&
	     (!fab_identify(s->ctrl, NVME_IDENTIFY_CNS_NS, s->nsid) ||
	      suite_fail(s, "no Identify")) &&
	     ((ns->nsattr & 1) || suite_fail(s, "got NSATTR %#x, expected bit 0", ns->nsattr));
	return set_protection(s, 0, NVME_OK) && ok && command_case(s, &off);
}

static const struct command_case form_rows[] = {
	{ "state-2", .opcode = ADM_SET_FEATURES, .nsid = MY_NSID, .cdw10 = 0x84, .cdw11 = 2,
	  .status = NVME_INVALID_FIELD | DNR },
	{ "state-7", .opcode = ADM_SET_FEATURES, .nsid = MY_NSID, .cdw10 = 0x84, .cdw11 = 7,
	  .status = NVME_INVALID_FIELD | DNR },
	{ "nsid-0", .opcode = ADM_SET_FEATURES, .nsid = 0, .cdw10 = 0x84, .cdw11 = 1,
	  .status = NVME_INVALID_NS | DNR },
	{ "nsid-unknown", .opcode = ADM_SET_FEATURES, .nsid = UNKNOWN_NSID, .cdw10 = 0x84,
	  .cdw11 = 1, .status = NVME_INVALID_NS | DNR },
	{ "save", .opcode = ADM_SET_FEATURES, .nsid = MY_NSID, .cdw10 = 0x84 | 1u << 31, .cdw11 = 1,
	  .status = NVME_FEATURE_NOT_SAVEABLE | DNR },
	{ "state", GET_STATE },
};

void protect_cases(struct suite *s)
{
	char name[32];

	SUITE_COMMANDS(s, form_rows);
	suite_case(s, "is-told", NOW, is_told, NULL);
	for (size_t i = 0; i < nio_forms; i++) {
		suite_case(s, io_forms[i].name, NOW, while_protected, &io_forms[i]);
		snprintf(name, sizeof(name), "%s-again", io_forms[i].name);
		suite_case(s, name, NOW, again_writable, &io_forms[i]);
	}
}

/* ---- what cannot be kept is not promised ------------------------------------------------------
 */

static bool unsaved_protection(struct suite *s, const void *row)
{
	const struct command_case off = { GET_STATE, .dw0 = 0 };

	(void)row;
	return suite_controller(s) && set_protection(s, 1, NVME_INTERNAL_ERROR) &&
	       command_case(s, &off) && suite_transfer(s, nvme_cmd_write, FREE_LBA, 1);
}

static void put_key(struct suite *s, const struct command_case *t, struct capsule *c)
{
	le64 key = put64(t->arg);

	(void)c;
	memcpy(s->data.va + sizeof(key), &key, sizeof(key));
}

static bool nobody_registered(struct suite *s, const struct command_case *t,
			      const struct host_response *r)
{
	(void)t;
	(void)r;
	return !s->data.va[5] || suite_fail(s, "got %u registered, expected none", s->data.va[5]);
}

static const struct command_case unsaved_rows[] = {
	{ "register", .on = ON_IO, .opcode = nvme_cmd_resv_register, .nsid = MY_NSID,
	  .cdw10 = 3u << 30, .data = FROM_HOST, .len = 16, .edit = put_key, .arg = 0xa,
	  .status = NVME_INTERNAL_ERROR },
	{ "report", .on = ON_IO, .opcode = nvme_cmd_resv_report, .nsid = MY_NSID, .cdw10 = 15,
	  .cdw11 = 1, .data = TO_HOST, .len = 64, .check = nobody_registered },
	{ "persistence", .opcode = ADM_SET_FEATURES, .nsid = MY_NSID, .cdw10 = 0x83, .cdw11 = 1,
	  .status = NVME_INTERNAL_ERROR },
};

void unsaved_cases(struct suite *s)
{
	suite_case(s, "protection", NOW, unsaved_protection, NULL);
	SUITE_COMMANDS(s, unsaved_rows);
}

/* ---- what the kernel says ---------------------------------------------------------------------
 */

static bool read_only(struct suite *s, const void *row)
{
	const struct io_form *f = row;

	return suite_controller(s) && read_block(s, FREE_LBA) &&
	       expect_form(s, f, FREE_LBA, f->writes ? NVME_ACCESS_DENIED | DNR : NVME_OK);
}

/* Reads and writes fail at the medium. */
static bool bad_medium(struct suite *s, const void *row)
{
	const struct io_form *f = row;
	const uint16_t status = f->writes ? NVME_WRITE_FAULT : NVME_READ_ERROR;

	return suite_controller(s) && expect_form(s, f, FREE_LBA, status | DNR);
}

/* What need not be staged in CMB is done. */
static bool not_ready(struct suite *s, const void *row)
{
	const struct io_form *f = row;
	const bool staged = f->opcode == nvme_cmd_read || f->opcode == nvme_cmd_write;

	return suite_controller(s) &&
	       expect_form(s, f, FREE_LBA, staged ? NVME_NS_NOT_READY : NVME_OK);
}

/* Without the pattern, which cannot be written. */
static void on_such_drive(struct suite *s, case_fn *fn, const char *const *names)
{
	if (!s->list)
		suite_drop_controller(s);
	s->path_closed = true;
	for (size_t i = 0; i < nio_forms; i++)
		for (const char *const *name = names; *name; name++)
			if (strcmp(io_forms[i].name, *name) == 0)
				suite_case(s, *name, NOW, fn, &io_forms[i]);
	suite_drop_controller(s);
	s->path_closed = false;
}

void read_only_cases(struct suite *s)
{
	static const char *const names[] = { "read",         "compare", "verify", "flush", "write",
					     "write-zeroes", "dsm",     "copy",   NULL };

	on_such_drive(s, read_only, names);
}

void media_cases(struct suite *s)
{
	/* each in its own way: data of the host, read by the daemon */
	static const char *const names[] = { "read", "compare", "verify", "write", NULL };

	on_such_drive(s, bad_medium, names);
}

void not_ready_cases(struct suite *s)
{
	static const char *const names[] = { "read", "verify", "flush", "write", NULL };

	on_such_drive(s, not_ready, names);
}

/* Of what is written, more than the file system has room for. */
static bool no_space(struct suite *s, const void *row)
{
	const uint32_t n = 128;
	struct capsule c;
	struct host_response r = { 0 };

	(void)row;
	if (!suite_controller(s))
		return false;
	for (uint64_t slba = FREE_LBA; slba + n <= s->nlb; slba += n) {
		int err;

		fab_rw_init(&c, nvme_cmd_write, s->nsid, slba, n);
		c.sqe.dptr = fab_sgl_keyed(&s->data, n * s->lba_len, SGL_SUB_ADDRESS);
		err = fab_exec(&s->io, &c, &r);
		if (err || fab_status(&r))
			return expect_status(s, err, &r, NVME_CAPACITY_EXCEEDED | DNR);
	}
	return suite_fail(s, "got room for everything");
}

void no_space_cases(struct suite *s)
{
	suite_case(s, "write", NOW, no_space, NULL);
}
