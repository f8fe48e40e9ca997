/* Reservations, with two hosts in one process: Base 2.1, 7.2 to 7.5, 8.1.22. */
#include "tests/host/suite.h"

#include <string.h>

#define INVALID_FIELD (NVME_INVALID_FIELD | DNR)
#define INVALID_NS    (NVME_INVALID_NS | DNR)
#define WRONG_LEN     (NVME_SGL_DATA_LENGTH_INVALID | DNR)
#define CONFLICT      (NVME_RESERVATION_CONFLICT | DNR)

#define KEY_A 0xa
#define KEY_B 0xb

/* ---- hosts ------------------------------------------------------------------------------------
 */

enum who { A, B }; /* A: the host of the suite */

/* Another host. The same for all cases, as that of the suite is. */
static struct party {
	struct fab_host fh;
	struct fab_ctrl *ctrl;
	struct fab_queue io;
	struct host_buffer data;
} other;

static void party_close(struct party *p)
{
	fab_queue_close(&p->io);
	fab_ctrl_destroy(p->ctrl);
	host_free(&p->data);
	p->ctrl = NULL;
}

static bool party_open(struct suite *s, struct party *p, uint8_t hostid)
{
	static const struct fab_options plain;
	int err;

	if (p->ctrl && !host_gone(p->ctrl->admin.conn) && !host_gone(p->io.conn))
		return true;
	party_close(p);
	p->fh = *s->fh;
	memset(p->fh.hostid, hostid, sizeof(p->fh.hostid));
	snprintf(p->fh.hostnqn, sizeof(p->fh.hostnqn), "nqn.2026-11.org.nvmf-p2pd:test-host-%u",
		 hostid);
	err = fab_ctrl_create(&p->fh, &plain, &p->ctrl);
	if (!err)
		err = fab_ctrl_queue(p->ctrl, 1, IO_QUEUE_DEPTH, &p->io);
	if (!err)
		err = host_alloc(p->fh.host, 4096, FAB_GUARD, &p->data);
	if (!err)
		return true;
	party_close(p);
	return suite_fail(s, "no controller of another host: %d", err);
}

/* ---- commands ---------------------------------------------------------------------------------
 */

struct step {
	enum who who;
	uint8_t opcode;
	uint32_t dw10;
	uint64_t crkey, key; /* key: NRKEY, PRKEY */
	uint16_t status;
};

static void put_resv(const struct suite *s, const struct step *t, struct host_buffer *b,
		     struct capsule *c)
{
	le64 keys[2] = { put64(t->crkey), put64(t->key) };

	memcpy(b->va, keys, sizeof(keys));
	fab_capsule_init(c, t->opcode);
	c->sqe.nsid = put32(s->nsid);
	c->sqe.cdw10 = put32(t->dw10);
	c->sqe.dptr =
		fab_sgl_keyed(b,
			      t->opcode == nvme_cmd_resv_release ? sizeof(keys[0]) : sizeof(keys),
			      SGL_SUB_ADDRESS);
}

static bool run_step(struct suite *s, const struct step *t)
{
	struct capsule c;
	struct host_response r;
	int err;

	put_resv(s, t, t->who == A ? &s->data : &other.data, &c);
	err = fab_exec(t->who == A ? &s->io : &other.io, &c, &r);
	return expect_status(s, err, &r, t->status);
}

#define IEKEY     0x8u
#define CPTPL_OFF (2u << 30)
#define CPTPL_ON  (3u << 30)

#define DO(who, op, dw10, crkey, key)                                                              \
	{                                                                                          \
		who, nvme_cmd_resv_##op, dw10, crkey, key, NVME_OK                                 \
	}
#define NO(who, op, dw10, crkey, key, status)                                                      \
	{                                                                                          \
		who, nvme_cmd_resv_##op, dw10, crkey, key, status                                  \
	}

/* clang-format off */
#define REGISTER(who)              DO(who, register, 0, 0, KEY_##who)
#define UNREGISTER(who)            DO(who, register, 1, KEY_##who, 0)
#define ACQUIRE(who, type)         DO(who, acquire, (type) << 8, KEY_##who, 0)
#define PREEMPT(who, key, type)    DO(who, acquire, 1 | (type) << 8, KEY_##who, key)
#define AND_ABORT(who, key, type)  DO(who, acquire, 2 | (type) << 8, KEY_##who, key)
#define RELEASE(who, type)         DO(who, release, (type) << 8, KEY_##who, 0)
#define CLEAR(who)                 DO(who, release, 1, KEY_##who, 0)
/* clang-format on */

/* Nobody is registered, whatever was before. */
static bool clean(struct suite *s)
{
	static const struct step steps[] = { DO(A, register, 2 | IEKEY, 0, KEY_A), CLEAR(A) };

	return run_step(s, &steps[0]) && run_step(s, &steps[1]);
}

static bool resv_begin(struct suite *s)
{
	return suite_controller(s) && party_open(s, &other, 2) && clean(s);
}

/* ---- what is registered -----------------------------------------------------------------------
 */

static bool get_report(struct suite *s, struct nvme_resv_status *ret)
{
	const uint32_t len = 256;
	struct capsule c;
	struct host_response r;
	int err;

	fab_capsule_init(&c, nvme_cmd_resv_report);
	c.sqe.nsid = put32(s->nsid);
	c.sqe.cdw10 = put32(len / 4 - 1);
	c.sqe.cdw11 = put32(1); /* EDS */
	c.sqe.dptr = fab_sgl_keyed(&s->data, len, SGL_SUB_ADDRESS);
	err = fab_exec(&s->io, &c, &r);
	if (!expect_status(s, err, &r, NVME_OK))
		return false;
	memcpy(ret, s->data.va, sizeof(*ret));
	return true;
}

/* Of the reservation: its type, and the keys of those who are registered. */
static bool expect_report(struct suite *s, uint8_t type, unsigned int n, uint64_t first_key)
{
	const struct nvme_registered_ctrl_ext *entry = (const void *)(s->data.va + 64);
	struct nvme_resv_status h;
	unsigned int got;

	if (!get_report(s, &h))
		return false;
	got = h.regctl[0] | h.regctl[1] << 8;
	if (h.rtype != type || got != n)
		return suite_fail(s, "got type %u, %u registered, expected %u, %u", h.rtype, got,
				  type, n);
	if (n && le64toh(entry->rkey) != first_key)
		return suite_fail(s, "got key %#llx, expected %#llx",
				  (unsigned long long)le64toh(entry->rkey),
				  (unsigned long long)first_key);
	return true;
}

/* ---- cases of some steps ----------------------------------------------------------------------
 */

struct resv_case {
	const char *name;
	struct step steps[6]; /* up to one of all zeros */
	/* what the report says then */
	uint8_t type;
	unsigned int registered;
	uint64_t first_key;
};

/* clang-format off */
static const struct resv_case script_rows[] = {
	{ "register", { REGISTER(A), REGISTER(B) }, 0, 2, KEY_A },
	{ "register-twice", { REGISTER(A), REGISTER(A) }, 0, 1, KEY_A },
	{ "register-other-key", { REGISTER(A), NO(A, register, 0, 0, KEY_B, CONFLICT) }, 0, 1, KEY_A },
	{ "register-key-0", { NO(A, register, 0, 0, 0, INVALID_FIELD) }, 0, 0, 0 },
	{ "register-cptpl-1", { NO(A, register, 1u << 30, 0, KEY_A, INVALID_FIELD) }, 0, 0, 0 },
	{ "register-action-3", { NO(A, register, 3, 0, KEY_A, INVALID_FIELD) }, 0, 0, 0 },
	{ "register-action-7", { NO(A, register, 7, 0, KEY_A, INVALID_FIELD) }, 0, 0, 0 },
	{ "unregister", { REGISTER(A), UNREGISTER(A) }, 0, 0, 0 },
	{ "unregister-nobody", { NO(A, register, 1, KEY_A, 0, CONFLICT) }, 0, 0, 0 },
	{ "unregister-wrong-key", { REGISTER(A), NO(A, register, 1, KEY_B, 0, CONFLICT) }, 0, 1, KEY_A },
	{ "unregister-any-key", { REGISTER(A), DO(A, register, 1 | IEKEY, KEY_B, 0) }, 0, 0, 0 },
	{ "unregister-holder", { REGISTER(A), REGISTER(B), ACQUIRE(B, 1), UNREGISTER(B) }, 0, 1, KEY_A },
	{ "unregister-one-of-all", { REGISTER(A), REGISTER(B), ACQUIRE(B, 5), UNREGISTER(B) }, 5, 1, KEY_A },
	{ "replace", { REGISTER(A), DO(A, register, 2, KEY_A, KEY_B) }, 0, 1, KEY_B },
	{ "replace-wrong-key", { REGISTER(A), NO(A, register, 2, KEY_B, KEY_B, CONFLICT) }, 0, 1, KEY_A },
	{ "replace-nobody", { NO(A, register, 2, KEY_A, KEY_B, CONFLICT) }, 0, 0, 0 },

	{ "acquire", { REGISTER(A), ACQUIRE(A, 1) }, 1, 1, KEY_A },
	{ "acquire-twice", { REGISTER(A), ACQUIRE(A, 2), ACQUIRE(A, 2) }, 2, 1, KEY_A },
	{ "acquire-other-type", { REGISTER(A), ACQUIRE(A, 2), NO(A, acquire, 3 << 8, KEY_A, 0, CONFLICT) }, 2, 1, KEY_A },
	{ "acquire-unregistered", { NO(A, acquire, 1 << 8, KEY_A, 0, CONFLICT) }, 0, 0, 0 },
	{ "acquire-wrong-key", { REGISTER(A), NO(A, acquire, 1 << 8, KEY_B, 0, CONFLICT) }, 0, 1, KEY_A },
	{ "acquire-held", { REGISTER(A), REGISTER(B), ACQUIRE(B, 1), NO(A, acquire, 1 << 8, KEY_A, 0, CONFLICT) }, 1, 2, KEY_A },
	{ "acquire-type-0", { REGISTER(A), NO(A, acquire, 0, KEY_A, 0, INVALID_FIELD) }, 0, 1, KEY_A },
	{ "acquire-type-7", { REGISTER(A), NO(A, acquire, 7 << 8, KEY_A, 0, INVALID_FIELD) }, 0, 1, KEY_A },
	{ "acquire-type-ff", { REGISTER(A), NO(A, acquire, 0xff << 8, KEY_A, 0, INVALID_FIELD) }, 0, 1, KEY_A },
	{ "acquire-action-3", { REGISTER(A), NO(A, acquire, 3 | 1 << 8, KEY_A, 0, INVALID_FIELD) }, 0, 1, KEY_A },
	{ "acquire-any-key", { REGISTER(A), NO(A, acquire, IEKEY | 1 << 8, KEY_A, 0, INVALID_FIELD) }, 0, 1, KEY_A },

	{ "preempt", { REGISTER(A), REGISTER(B), ACQUIRE(B, 1), PREEMPT(A, KEY_B, 2) }, 2, 1, KEY_A },
	{ "preempt-and-abort", { REGISTER(A), REGISTER(B), ACQUIRE(B, 2), AND_ABORT(A, KEY_B, 1) }, 1, 1, KEY_A },
	{ "preempt-registrant", { REGISTER(A), REGISTER(B), ACQUIRE(A, 1), PREEMPT(A, KEY_B, 1) }, 1, 1, KEY_A },
	{ "preempt-all", { REGISTER(A), REGISTER(B), ACQUIRE(B, 6), PREEMPT(A, 0, 1) }, 1, 1, KEY_A },
	{ "preempt-unknown-key", { REGISTER(A), REGISTER(B), ACQUIRE(B, 1), NO(A, acquire, 1 | 1 << 8, KEY_A, 0xc, CONFLICT) }, 1, 2, KEY_A },
	{ "preempt-key-0", { REGISTER(A), REGISTER(B), ACQUIRE(B, 1), NO(A, acquire, 1 | 1 << 8, KEY_A, 0, INVALID_FIELD) }, 1, 2, KEY_A },
	{ "preempt-unregistered", { REGISTER(B), ACQUIRE(B, 1), NO(A, acquire, 1 | 1 << 8, KEY_A, KEY_B, CONFLICT) }, 1, 1, KEY_B },

	{ "release", { REGISTER(A), ACQUIRE(A, 3), RELEASE(A, 3) }, 0, 1, KEY_A },
	{ "release-other-type", { REGISTER(A), ACQUIRE(A, 3), NO(A, release, 4 << 8, KEY_A, 0, INVALID_FIELD) }, 3, 1, KEY_A },
	{ "release-nothing", { REGISTER(A), RELEASE(A, 3) }, 0, 1, KEY_A },
	{ "release-of-another", { REGISTER(A), REGISTER(B), ACQUIRE(B, 3), RELEASE(A, 3) }, 3, 2, KEY_A },
	{ "release-unregistered", { NO(A, release, 1 << 8, KEY_A, 0, CONFLICT) }, 0, 0, 0 },
	{ "release-wrong-key", { REGISTER(A), ACQUIRE(A, 1), NO(A, release, 1 << 8, KEY_B, 0, CONFLICT) }, 1, 1, KEY_A },
	{ "release-any-key", { REGISTER(A), ACQUIRE(A, 1), NO(A, release, IEKEY | 1 << 8, KEY_A, 0, INVALID_FIELD) }, 1, 1, KEY_A },
	{ "release-action-2", { REGISTER(A), NO(A, release, 2, KEY_A, 0, INVALID_FIELD) }, 0, 1, KEY_A },
	{ "clear", { REGISTER(A), REGISTER(B), ACQUIRE(B, 2), CLEAR(A) }, 0, 0, 0 },
	{ "clear-unregistered", { REGISTER(B), NO(A, release, 1, KEY_A, 0, CONFLICT) }, 0, 1, KEY_B },
};
/* clang-format on */

static bool run_steps(struct suite *s, const struct step *steps, size_t n)
{
	for (size_t i = 0; i < n && steps[i].opcode; i++)
		if (!run_step(s, &steps[i])) {
			char why[sizeof(s->why)];

			memcpy(why, s->why, sizeof(why));
			return suite_fail(s, "step %zu: %.280s", i + 1, why);
		}
	return true;
}

static bool script_case(struct suite *s, const void *row)
{
	const struct resv_case *t = row;
	bool ok;

	if (!resv_begin(s))
		return false;
	ok = run_steps(s, t->steps, sizeof(t->steps) / sizeof(t->steps[0])) &&
	     expect_report(s, t->type, t->registered, t->first_key);
	return clean(s) && ok;
}

/* ---- who may do what --------------------------------------------------------------------------
 */

struct type_case {
	const char *name;
	uint32_t type;
	bool registered; /* A is; B holds the reservation */
	bool reads,
		writes; /* may A do: 8.1.22, command behavior in the presence of a reservation */
};

static const struct type_case type_rows[] = {
	{ "write-exclusive", 1, false, true, false },
	{ "write-exclusive-registered", 1, true, true, false },
	{ "exclusive-access", 2, false, false, false },
	{ "exclusive-access-registered", 2, true, false, false },
	{ "write-exclusive-registrants", 3, false, true, false },
	{ "write-exclusive-registrants-registered", 3, true, true, true },
	{ "exclusive-access-registrants", 4, false, false, false },
	{ "exclusive-access-registrants-registered", 4, true, true, true },
	{ "write-exclusive-all", 5, false, true, false },
	{ "write-exclusive-all-registered", 5, true, true, true },
	{ "exclusive-access-all", 6, false, false, false },
	{ "exclusive-access-all-registered", 6, true, true, true },
};

static bool expect_form(struct suite *s, const struct io_form *f, bool allowed)
{
	struct capsule c;
	struct host_response r;
	int err;

	suite_io_init(s, f, allowed ? FREE_LBA : 0, &c);
	err = fab_exec(&s->io, &c, &r);
	if (!err && fab_status(&r) != (allowed ? NVME_OK : CONFLICT))
		return suite_fail(s, "%s: got status %#x (%s), expected %#x", f->name,
				  fab_status(&r), fab_status_name(fab_status(&r)),
				  allowed ? NVME_OK : CONFLICT);
	return expect_status(s, err, &r, allowed ? NVME_OK : CONFLICT);
}

static bool hold(struct suite *s, const struct type_case *t)
{
	const struct step steps[] = { REGISTER(B), ACQUIRE(B, t->type), REGISTER(A) };

	return run_steps(s, steps, t->registered ? 3 : 2);
}

static bool type_case(struct suite *s, const void *row)
{
	const struct type_case *t = row;
	bool ok;

	if (!resv_begin(s))
		return false;
	ok = hold(s, t);
	for (size_t i = 0; i < nio_forms && ok; i++)
		ok = expect_form(s, &io_forms[i], io_forms[i].is_resv_read ? t->reads : t->writes);
	return clean(s) && ok && expect_pattern(s);
}

/* ---- forms that are refused before anything is looked at --------------------------------------
 */

#define REPORT(nsid_, bytes, eds)                                                                  \
	.on = ON_IO, .opcode = nvme_cmd_resv_report, .nsid = (nsid_), .cdw10 = (bytes) / 4 - 1,    \
	.cdw11 = (eds), .data = TO_HOST, .len = (bytes)
#define RESV(op, nsid_, bytes)                                                                     \
	.on = ON_IO, .opcode = nvme_cmd_resv_##op, .nsid = (nsid_), .data = FROM_HOST,             \
	.len = (bytes)
#define FEATURE(op, fid, nsid_, dw11)                                                              \
	.opcode = ADM_##op##_FEATURES, .nsid = (nsid_), .cdw10 = (fid), .cdw11 = (dw11)

static void short_sgl(struct suite *s, const struct command_case *t, struct capsule *c)
{
	c->sqe.dptr = fab_sgl_keyed(&s->data, t->len / 2, SGL_SUB_ADDRESS);
}

static void report_all(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)s;
	(void)t;
	c->sqe.cdw10 = put32(UINT32_MAX);
}

static const struct command_case form_rows[] = {
	{ "report", REPORT(MY_NSID, 64, 1) },
	{ "report-4-bytes", REPORT(MY_NSID, 4, 1) },
	{ "report-longer", REPORT(MY_NSID, 4096, 1) },
	{ "report-of-64-bits", REPORT(MY_NSID, 64, 0),
	  .status = NVME_HOST_ID_INCONSISTENT_FORMAT | DNR },
	{ "report-beyond-mdts", REPORT(MY_NSID, 64, 1), .edit = report_all,
	  .status = INVALID_FIELD },
	{ "report-short-sgl", REPORT(MY_NSID, 128, 1), .edit = short_sgl, .status = WRONG_LEN },
	{ "report-nsid-0", REPORT(0, 64, 1), .status = INVALID_NS },
	{ "report-nsid-ffffffff", REPORT(UINT32_MAX, 64, 1), .status = INVALID_NS },
	{ "report-nsid-unknown", REPORT(UNKNOWN_NSID, 64, 1), .status = INVALID_NS },
	{ "register-8-bytes", RESV(register, MY_NSID, 8), .status = WRONG_LEN },
	{ "register-nsid-ffffffff", RESV(register, UINT32_MAX, 16), .status = INVALID_NS },
	{ "acquire-8-bytes", RESV(acquire, MY_NSID, 8), .status = WRONG_LEN },
	{ "acquire-nsid-unknown", RESV(acquire, UNKNOWN_NSID, 16), .status = INVALID_NS },
	{ "release-16-bytes", RESV(release, MY_NSID, 16), .status = WRONG_LEN },
	{ "release-nsid-0", RESV(release, 0, 8), .status = INVALID_NS },
	{ "get-mask", FEATURE(GET, 0x82, MY_NSID, 0), .dw0_mask = UINT32_MAX },
	{ "get-mask-unknown", FEATURE(GET, 0x82, UNKNOWN_NSID, 0), .status = INVALID_FIELD },
	{ "get-mask-ffffffff", FEATURE(GET, 0x82, UINT32_MAX, 0), .status = INVALID_FIELD },
	{ "set-mask", FEATURE(SET, 0x82, MY_NSID, 0xe) },
	{ "get-mask-again", FEATURE(GET, 0x82, MY_NSID, 0), .dw0_mask = UINT32_MAX, .dw0 = 0xe },
	{ "set-mask-of-all", FEATURE(SET, 0x82, UINT32_MAX, 0) },
	{ "set-mask-reserved", FEATURE(SET, 0x82, MY_NSID, 0x1), .status = INVALID_FIELD },
	{ "set-mask-unknown", FEATURE(SET, 0x82, UNKNOWN_NSID, 0), .status = INVALID_FIELD },
	{ "get-persistence", FEATURE(GET, 0x83, MY_NSID, 0), .dw0_mask = UINT32_MAX },
	{ "get-persistence-unknown", FEATURE(GET, 0x83, UNKNOWN_NSID, 0), .status = INVALID_FIELD },
	{ "set-persistence", FEATURE(SET, 0x83, MY_NSID, 1) },
	{ "get-persistence-again", FEATURE(GET, 0x83, MY_NSID, 0), .dw0_mask = UINT32_MAX,
	  .dw0 = 1 },
	{ "set-persistence-off", FEATURE(SET, 0x83, MY_NSID, 0) },
	{ "set-persistence-unknown", FEATURE(SET, 0x83, UNKNOWN_NSID, 0), .status = INVALID_FIELD },
};

/* ---- what takes more --------------------------------------------------------------------------
 */

/* A host without an identifier may look, and no more: CTRATT.RHII. */
static bool nobody_reserves(struct suite *s, const void *row)
{
	static const uint8_t opcodes[] = { nvme_cmd_resv_register, nvme_cmd_resv_acquire,
					   nvme_cmd_resv_release };
	struct party p = { 0 };
	bool ok;

	(void)row;
	if (!resv_begin(s) || !party_open(s, &p, 0))
		return false;
	ok = true;
	for (size_t i = 0; i < sizeof(opcodes) && ok; i++) {
		const struct step t = { .opcode = opcodes[i], .dw10 = 1 << 8, .key = KEY_A };
		struct capsule c;
		struct host_response r;
		int err;

		put_resv(s, &t, &p.data, &c);
		if (t.opcode == nvme_cmd_resv_register)
			c.sqe.cdw10 = put32(0);
		err = fab_exec(&p.io, &c, &r);
		ok = expect_status(s, err, &r, NVME_HOST_ID_NOT_INITIALIZED | DNR);
	}
	party_close(&p);
	return ok && expect_report(s, 0, 0, 0);
}

static bool expect_note(struct suite *s, uint8_t type, uint32_t nsid)
{
	const struct nvme_resv_notification_log *log = (const void *)other.data.va;
	struct capsule c;
	struct host_response r;
	int err;

	fab_capsule_init(&c, ADM_GET_LOG);
	c.sqe.cdw10 = put32(0x80 | (sizeof(*log) / 4 - 1) << 16);
	c.sqe.dptr = fab_sgl_keyed(&other.data, sizeof(*log), SGL_SUB_ADDRESS);
	err = fab_exec(&other.ctrl->admin, &c, &r);
	if (!expect_status(s, err, &r, NVME_OK))
		return false;
	return (log->rnlpt == type && le32toh(log->nsid) == nsid) ||
	       suite_fail(s, "got notification %u of namespace %u, expected %u of %u", log->rnlpt,
			  le32toh(log->nsid), type, nsid);
}

/* Who is preempted is told by an event and a log page. */
static bool preempted_is_told(struct suite *s, const void *row)
{
	const struct step steps[] = { REGISTER(A), REGISTER(B), ACQUIRE(B, 1),
				      PREEMPT(A, KEY_B, 1) };
	struct capsule aer;
	struct host_response r;
	bool ok;
	int err;

	(void)row;
	party_close(&other); /* it may have been told much */
	if (!resv_begin(s))
		return false;
	fab_capsule_init(&aer, ADM_ASYNC_EVENT);
	err = fab_send(&other.ctrl->admin, &aer);
	ok = !err && run_steps(s, steps, 4);
	if (ok) {
		err = host_wait(other.ctrl->admin.conn, HOST_TIMEOUT_MS, &r);
		ok = expect_status(s, err, &r, NVME_OK);
	}
	if (ok && get32(r.cqe.dw0) != 0x800006) /* I/O command set, page 80h */
		ok = suite_fail(s, "got event %#x, expected 0x800006", get32(r.cqe.dw0));
	ok = ok && expect_note(s, 1, s->nsid) && expect_note(s, 0, 0);
	return clean(s) && ok;
}

static bool expect_persistence(struct suite *s, uint8_t ptpls)
{
	struct nvme_resv_status h;

	return get_report(s, &h) &&
	       (h.ptpls == ptpls || suite_fail(s, "got PTPLS %u, expected %u", h.ptpls, ptpls));
}

/* Register says whether it persists, and who says nothing changes nothing. */
static bool persistence(struct suite *s, const void *row)
{
	const struct step on[] = { DO(A, register, CPTPL_ON, 0, KEY_A), REGISTER(B) };
	const struct step off = DO(A, register, 2 | CPTPL_OFF, KEY_A, KEY_A);
	bool ok;

	(void)row;
	if (!resv_begin(s))
		return false;
	ok = run_steps(s, on, 2) && expect_persistence(s, 1);
	ok = run_step(s, &off) && ok && expect_persistence(s, 0);
	return clean(s) && ok;
}

/* ---- hosts that are not registered --------------------------------------------------------------
 */

/* What A, who is not, is told of @t: a reserved action or type, an IEKEY where none is allowed
 * (RESCAP.IEKEY13) or a new key of 0 is refused for what it is, the rest for who asks (Base 2.1,
 * 8.1.22, "not a registrant"). */
static uint16_t refusal_of(const struct step *t)
{
	uint32_t action = t->dw10 & 7, type = t->dw10 >> 8 & 0xff;

	switch (t->opcode) {
	case nvme_cmd_resv_register:
		return action > 2 || (action == 2 && t->key == 0) ? INVALID_FIELD : CONFLICT;
	case nvme_cmd_resv_acquire:
		return action > 2 || (t->dw10 & IEKEY) || type == 0 || type > 6 ? INVALID_FIELD
										: CONFLICT;
	default: /* Release: the type is looked at only if something is held */
		return action > 1 || (t->dw10 & IEKEY) ? INVALID_FIELD : CONFLICT;
	}
}

static bool refused(struct suite *s, const struct step *t)
{
	struct capsule c;
	struct host_response r;
	int err;

	put_resv(s, t, &s->data, &c);
	err = fab_exec(&s->io, &c, &r);
	if (!err && fab_status(&r) != refusal_of(t))
		return suite_fail(
			s,
			"opcode %#x, CDW10 %#x, keys %#llx, %#llx: got status %#x (%s), expected %#x",
			t->opcode, t->dw10, (unsigned long long)t->crkey,
			(unsigned long long)t->key, fab_status(&r), fab_status_name(fab_status(&r)),
			refusal_of(t));
	return expect_status(s, err, &r, refusal_of(t));
}

/* Every action, with every type that there is and some that there are not, with and without
 * IEKEY, with keys that are somebody's; all that A may do is to register. */
static bool every_action(struct suite *s, uint8_t opcode)
{
	static const uint32_t types[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0xff };
	static const uint64_t keys[] = { 0, KEY_A, KEY_B };

	for (uint32_t i = 0; i < 8 * 2 * sizeof(types) / sizeof(types[0]); i++) {
		struct step t = { .who = A,
				  .opcode = opcode,
				  .dw10 = i % 8 | (i / 8 % 2 ? IEKEY : 0) | types[i / 16] << 8 };

		if (opcode == nvme_cmd_resv_register && i % 8 == 0)
			continue;
		if (opcode == nvme_cmd_resv_register && i % 8 == 2 && (t.dw10 & IEKEY))
			continue; /* registers, too: Base 2.1, 7.3 */
		for (size_t k = 0; k < 9; k++) {
			t.crkey = keys[k / 3];
			t.key = keys[k % 3];
			if (!refused(s, &t))
				return false;
		}
	}
	return true;
}

static bool unregistered_case(struct suite *s, const void *row)
{
	const struct step begin[] = { REGISTER(B), ACQUIRE(B, 2) };
	const uint8_t *opcode = row;
	bool ok;

	if (!resv_begin(s))
		return false;
	ok = run_steps(s, begin, 2) && every_action(s, *opcode) && expect_report(s, 2, 1, KEY_B);
	return clean(s) && ok;
}

void resv_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(script_rows) / sizeof(script_rows[0]); i++)
		suite_case(s, script_rows[i].name, NOW, script_case, &script_rows[i]);
	for (size_t i = 0; i < sizeof(type_rows) / sizeof(type_rows[0]); i++)
		suite_case(s, type_rows[i].name, NOW, type_case, &type_rows[i]);
	SUITE_COMMANDS(s, form_rows);
	suite_case(s, "nobody", NOW, nobody_reserves, NULL);
	suite_case(s, "preempted-is-told", NOW, preempted_is_told, NULL);
	suite_case(s, "persistence", NOW, persistence, NULL);
	party_close(&other);
}

void unregistered_cases(struct suite *s)
{
	static const uint8_t opcodes[] = { nvme_cmd_resv_register, nvme_cmd_resv_acquire,
					   nvme_cmd_resv_release };

	suite_case(s, "registers", NOW, unregistered_case, &opcodes[0]);
	suite_case(s, "acquires", NOW, unregistered_case, &opcodes[1]);
	suite_case(s, "releases", NOW, unregistered_case, &opcodes[2]);
	party_close(&other);
}
