/* Running cases, and those of one command. */
#include "tests/host/suite.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define PATTERN_BLOCKS 16 /* at LBA 0: what refused writes must leave alone */

/* ---- results ----------------------------------------------------------------------------------
 */

bool suite_fail(struct suite *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->why, sizeof(s->why), format, args);
	va_end(args);
	return false;
}

bool suite_skip(struct suite *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->why, sizeof(s->why), format, args);
	va_end(args);
	s->skip = true;
	return false;
}

static bool case_wanted(const struct suite *s, const char *name)
{
	char full[128];

	snprintf(full, sizeof(full), "%s/%s", s->group, name);
	for (int i = 0; i < s->nwanted; i++)
		if (strcmp(s->wanted[i], s->group) == 0 || strcmp(s->wanted[i], full) == 0)
			return true;
	return s->nwanted == 0;
}

static bool group_wanted(const struct suite *s, const struct test_group *g)
{
	size_t len = strlen(g->name);

	for (int i = 0; i < s->nwanted; i++)
		if (strncmp(s->wanted[i], g->name, len) == 0 &&
		    (s->wanted[i][len] == '\0' || s->wanted[i][len] == '/'))
			return true;
	return s->nwanted == 0 && (s->list || !g->on_request);
}

void suite_group(struct suite *s, const struct test_group *g)
{
	s->group = g->name;
	if (!group_wanted(s, g))
		return;
	if (s->sample) {
		s->counting = true;
		s->ncases = 0;
		g->run(s);
		s->counting = false;
		s->nchosen = s->sample < s->ncases ? s->sample : s->ncases;
	}
	g->run(s);
}

/* Is the case that comes now one of the sample? Each has the same chance. */
static bool case_chosen(struct suite *s)
{
	bool chosen;

	if (!s->sample)
		return true;
	s->seed = s->seed * 1664525u + 1013904223u;
	chosen = (s->seed >> 8) % s->ncases-- < s->nchosen;
	s->nchosen -= chosen;
	return chosen;
}

/* What the daemon holds is looked at by who can: the command knows how many connections are ours,
 * and says in one line what is wrong. */
static bool nothing_is_held(struct suite *s)
{
	char command[512], said[200] = "";
	FILE *out;
	int rc;

	if (s->ctrl && (host_gone(s->ctrl->admin.conn) || host_gone(s->io.conn)))
		suite_drop_controller(s);
	snprintf(command, sizeof(command), "%s %u", s->after, host_connections());
	out = popen(command, "r");
	if (!out)
		return suite_fail(s, "cannot run %s: %s", command, strerror(errno));
	if (!fgets(said, sizeof(said), out))
		strlcpy(said, "no word", sizeof(said));
	said[strcspn(said, "\n")] = '\0';
	rc = pclose(out);
	return rc == 0 || suite_fail(s, "%s: exit code %d: %s", command, rc >> 8, said);
}

void suite_case(struct suite *s, const char *name, enum since since, case_fn *fn, const void *row)
{
	bool ok;

	if (!case_wanted(s, name))
		return;
	if (s->counting) {
		s->ncases++;
		return;
	}
	if (!case_chosen(s))
		return;
	if (s->list) {
		printf("%s/%s%s\n", s->group, name, since == PENDING ? " (todo)" : "");
		return;
	}
	s->why[0] = '\0';
	s->skip = false;
	ok = fn(s, row);
	if (ok && s->after)
		ok = nothing_is_held(s);
	if (!ok && s->skip) {
		s->skipped++;
		printf("skip %s/%s: %s\n", s->group, name, s->why);
	} else if (since == PENDING) {
		s->todo++;
		printf("todo %s/%s: %s\n", s->group, name,
		       ok ? "works now, take the mark away" : s->why);
	} else if (ok) {
		s->passed++;
		printf("ok %s/%s\n", s->group, name);
	} else {
		s->failed++;
		printf("not ok %s/%s: %s\n", s->group, name, s->why);
	}
	fflush(stdout);
	if (!ok) /* who knows what state it is in */
		suite_drop_controller(s);
}

bool expect_status(struct suite *s, int err, const struct host_response *r, uint16_t status)
{
	if (err)
		return suite_fail(s, "got no response (%s), expected status %#x (%s)",
				  strerror(-err), status, fab_status_name(status));
	if (r->len != sizeof(r->cqe))
		return suite_fail(s, "got a response of %u bytes, expected %zu", r->len,
				  sizeof(r->cqe));
	if (fab_status(r) != status)
		return suite_fail(s, "got status %#x (%s), dw0 %#x, expected %#x (%s)",
				  fab_status(r), fab_status_name(fab_status(r)), get32(r->cqe.dw0),
				  status, fab_status_name(status));
	return true;
}

bool expect_gone(struct suite *s, struct host_conn *c)
{
	return host_wait_gone(c, HOST_TIMEOUT_MS) ||
	       suite_fail(s, "got a connection that lives, expected it to end");
}

/* ---- what cases share --------------------------------------------------------------------------
 */

static bool explain(struct suite *s, const char *what, int err)
{
	return suite_fail(s, "%s: %s", what,
			  err < 0 ? strerror(-err) : fab_status_name((uint16_t)err));
}

void suite_another_host(const struct suite *s, const char *suffix, struct fab_host *ret)
{
	*ret = *s->fh;
	strlcat(ret->hostnqn, suffix, sizeof(ret->hostnqn));
	ret->hostid[15] ^= (uint8_t)suffix[1]; /* behind the hyphen */
}

bool suite_create(struct suite *s, const struct fab_options *o, struct fab_ctrl **ret)
{
	int err = fab_ctrl_create(s->fh, o, ret);

	return !err || explain(s, "no controller", err);
}

uint16_t suite_qid(struct suite *s)
{
	s->next_qid = (uint16_t)(s->next_qid < 2 || s->next_qid == 100 ? 2 : s->next_qid + 1);
	return s->next_qid;
}

void suite_drop_controller(struct suite *s)
{
	fab_queue_close(&s->io);
	fab_ctrl_destroy(s->ctrl);
	s->ctrl = NULL;
}

void suite_fini(struct suite *s)
{
	suite_drop_controller(s);
	host_free(&s->data);
}

static void fill_pattern(uint8_t *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(i * 7 + i / 512);
}

static int pattern_io(struct suite *s, uint8_t opcode)
{
	struct capsule c;
	struct host_response r;
	int err;

	fab_rw_init(&c, opcode, s->nsid, 0, PATTERN_BLOCKS);
	c.sqe.dptr = fab_sgl_keyed(&s->data, PATTERN_BLOCKS * s->lba_len, SGL_SUB_ADDRESS);
	err = fab_exec(&s->io, &c, &r);
	return err ? err : fab_status(&r);
}

/* The first active namespace and its format. */
static int find_namespace(struct suite *s)
{
	const struct nvme_id_ns *ns = (const void *)s->ctrl->page.va;
	int err = fab_identify(s->ctrl, NVME_IDENTIFY_CNS_NS_ACTIVE_LIST, 0);

	if (err)
		return err;
	s->nsid = get32(*(const le32 *)(const void *)s->ctrl->page.va);
	if (s->nsid == 0)
		return -ENXIO;
	err = fab_identify(s->ctrl, NVME_IDENTIFY_CNS_NS, s->nsid);
	if (err)
		return err;
	s->nlb = le64toh(ns->nsze);
	s->lba_len = 1u << ns->lbaf[ns->flbas & 0xf].ds;
	return s->nlb > 4096 ? 0 : -ENOSPC;
}

bool suite_controller(struct suite *s)
{
	static const struct fab_options plain;
	const char *what = "no controller";
	int err;

	if (s->ctrl && !host_gone(s->ctrl->admin.conn) && !host_gone(s->io.conn))
		return true;
	suite_drop_controller(s);
	err = fab_ctrl_create(s->fh, &plain, &s->ctrl);
	if (!err) {
		what = "no namespace of 4096 blocks";
		err = find_namespace(s);
	}
	if (!err) {
		what = "no I/O queue";
		err = fab_ctrl_queue(s->ctrl, 1, IO_QUEUE_DEPTH, &s->io);
	}
	if (!err && !s->data.va) {
		what = "no memory";
		err = host_alloc(s->fh->host, FAB_DATA_LEN, FAB_GUARD, &s->data);
	}
	if (!err && !s->path_closed) {
		what = "writing the pattern";
		fill_pattern(s->data.va, PATTERN_BLOCKS * s->lba_len);
		err = pattern_io(s, nvme_cmd_write);
	}
	if (!err)
		return true;
	suite_drop_controller(s);
	return explain(s, what, err);
}

bool suite_pair_create(struct suite *s, uint16_t depth, struct suite_pair *ret)
{
	static const struct fab_options plain;
	int err;

	*ret = (struct suite_pair){ 0 };
	if (!suite_controller(s) || !suite_create(s, &plain, &ret->ctrl))
		return false;
	err = fab_ctrl_queue(ret->ctrl, 1, depth, &ret->q);
	return !err || suite_fail(s, "got %d, no queue of %u entries", err, depth);
}

void suite_pair_destroy(struct suite_pair *p)
{
	fab_queue_close(&p->q);
	fab_ctrl_destroy(p->ctrl);
	*p = (struct suite_pair){ 0 };
}

bool suite_others_live(struct suite *s)
{
	const struct command_case flush = { .on = ON_IO,
					    .opcode = nvme_cmd_flush,
					    .nsid = MY_NSID };

	return command_case(s, &flush);
}

bool expect_pattern(struct suite *s)
{
	size_t len = PATTERN_BLOCKS * s->lba_len;
	uint8_t *expected = malloc(len);
	bool same = false;
	int err;

	if (!expected)
		return suite_fail(s, "no memory");
	fill_pattern(expected, len);
	memset(s->data.va, FAB_GUARD, len);
	err = pattern_io(s, nvme_cmd_read);
	if (!err)
		same = memcmp(s->data.va, expected, len) == 0;
	free(expected);
	if (err)
		return explain(s, "reading the pattern", err);
	return same || suite_fail(s, "got a drive that was written, expected the old data");
}

/* ---- cases of one command ----------------------------------------------------------------------
 */

static uint32_t len_of(const struct suite *s, const struct command_case *t)
{
	return t->len ? t->len : t->blocks * s->lba_len;
}

static void build(struct suite *s, const struct command_case *t, struct capsule *c)
{
	struct nvme_sqe *sqe = &c->sqe;
	uint32_t len = len_of(s, t);

	fab_capsule_init(c, t->opcode);
	sqe->nsid = put32(t->nsid == MY_NSID ? s->nsid : t->nsid);
	sqe->cdw10 = put32(t->cdw10);
	sqe->cdw11 = put32(t->cdw11);
	sqe->cdw12 = put32(t->cdw12);
	sqe->cdw13 = put32(t->cdw13);
	sqe->cdw14 = put32(t->cdw14);
	sqe->cdw15 = put32(t->cdw15);
	if (t->data != NO_DATA)
		sqe->dptr = fab_sgl_keyed(&s->data, len, SGL_SUB_ADDRESS);
	memset(s->data.va, FAB_GUARD, len + 4096 < FAB_DATA_LEN ? len + 4096 : FAB_DATA_LEN);
	if (t->edit)
		t->edit(s, t, c);
}

static bool is_guard(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != FAB_GUARD)
			return false;
	return true;
}

static bool data_as_expected(struct suite *s, const struct command_case *t)
{
	uint32_t len = len_of(s, t);

	if (t->data != TO_HOST)
		return true;
	if (t->status && !is_guard(s->data.va, len))
		return suite_fail(s, "got data with a refused command, expected none");
	if (!t->status && len >= 16 && is_guard(s->data.va + len - 16, 16))
		return suite_fail(s, "got no data, expected %u bytes", len);
	return is_guard(s->data.va + len, 16) || suite_fail(s, "got more data than %u bytes", len);
}

static bool as_expected(struct suite *s, const struct command_case *t, int err,
			const struct host_response *r)
{
	if (t->then == GONE)
		return expect_gone(s, t->on == ON_ADMIN ? s->ctrl->admin.conn : s->io.conn);
	if (!expect_status(s, err, r, t->status))
		return false;
	if ((get32(r->cqe.dw0) & t->dw0_mask) != t->dw0)
		return suite_fail(s, "got dw0 %#x, expected %#x (mask %#x)", get32(r->cqe.dw0),
				  t->dw0, t->dw0_mask);
	return data_as_expected(s, t) && (!t->check || t->check(s, t, r));
}

/* An I/O queue that is lost does not take its controller along. */
static bool replace_queue(struct suite *s, enum on on)
{
	int err;

	if (on == ON_ADMIN) {
		suite_drop_controller(s);
		return true;
	}
	fab_queue_close(&s->io);
	err = fab_ctrl_queue(s->ctrl, suite_qid(s), IO_QUEUE_DEPTH, &s->io);
	return !err || explain(s, "another I/O queue of the same controller", err);
}

bool command_case(struct suite *s, const void *row)
{
	const struct command_case *t = row;
	struct capsule c;
	struct host_response r = { 0 };
	bool ok;
	int err;

	if (!suite_controller(s))
		return false;
	build(s, t, &c);
	if (s->skip)
		return false;
	err = fab_exec(t->on == ON_ADMIN ? &s->ctrl->admin : &s->io, &c, &r);
	ok = as_expected(s, t, err, &r);
	if (ok && t->then == GONE)
		ok = replace_queue(s, t->on);
	if (ok && t->on == ON_IO && t->data == FROM_HOST && (t->status || t->then == GONE))
		ok = expect_pattern(s);
	return ok;
}

void suite_commands(struct suite *s, const struct command_case *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		suite_case(s, rows[i].name, rows[i].since, command_case, &rows[i]);
}

/* ---- what cases need often --------------------------------------------------------------------
 */

void edit_from_end(struct suite *s, const struct command_case *row, struct capsule *c)
{
	uint64_t slba = s->nlb - row->arg;

	c->sqe.cdw10 = put32((uint32_t)slba);
	c->sqe.cdw11 = put32((uint32_t)(slba >> 32));
}

void suite_fill(uint8_t *to, size_t len, unsigned int seed)
{
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		to[i] = (uint8_t)(x >> 24);
	}
}

const struct io_form io_forms[] = {
	{ "read", nvme_cmd_read, false, true },
	{ "compare", nvme_cmd_compare, false, true },
	{ "verify", nvme_cmd_verify, false, true },
	{ "flush", nvme_cmd_flush, false, false },
	{ "write", nvme_cmd_write, true, false },
	{ "write-zeroes", nvme_cmd_write_zeroes, true, false },
	{ "dsm", nvme_cmd_dsm, true, false },
	{ "copy", nvme_cmd_copy, true, false },
};
const size_t nio_forms = sizeof(io_forms) / sizeof(io_forms[0]);

static void put_dsm(struct suite *s, uint64_t slba, struct capsule *c)
{
	struct nvme_dsm_range *range = (void *)s->data.va;

	*range = (struct nvme_dsm_range){ .nlb = htole32(1), .slba = htole64(slba) };
	c->sqe.cdw10 = put32(0);
	c->sqe.cdw11 = put32(NVME_DSMGMT_AD);
	c->sqe.dptr = fab_sgl_keyed(&s->data, sizeof(*range), SGL_SUB_ADDRESS);
}

static void put_copy(struct suite *s, struct capsule *c)
{
	struct nvme_copy_range *range = (void *)s->data.va;

	*range = (struct nvme_copy_range){ .slba = htole64(FREE_LBA + 8) };
	c->sqe.dptr = fab_sgl_keyed(&s->data, sizeof(*range), SGL_SUB_ADDRESS);
}

void suite_io_init(struct suite *s, const struct io_form *f, uint64_t slba, struct capsule *c)
{
	fab_capsule_init(c, f->opcode);
	c->sqe.nsid = put32(s->nsid);
	if (f->opcode == nvme_cmd_flush)
		return;
	fab_rw_init(c, f->opcode, s->nsid, slba, 1);
	if (f->opcode == nvme_cmd_dsm)
		put_dsm(s, slba, c);
	else if (f->opcode == nvme_cmd_copy)
		put_copy(s, c);
	else if (f->opcode != nvme_cmd_write_zeroes && f->opcode != nvme_cmd_verify)
		c->sqe.dptr = fab_sgl_keyed(&s->data, s->lba_len, SGL_SUB_ADDRESS);
}

bool suite_transfer(struct suite *s, uint8_t opcode, uint64_t slba, uint32_t nblocks)
{
	struct capsule c;
	struct host_response r;
	int err;

	fab_rw_init(&c, opcode, s->nsid, slba, nblocks);
	c.sqe.dptr = fab_sgl_keyed(&s->data, nblocks * s->lba_len, SGL_SUB_ADDRESS);
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, NVME_OK);
}
