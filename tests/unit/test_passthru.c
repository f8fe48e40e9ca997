/* What is passed through to a drive and what not, without a drive. */
#include "target/passthru.h"
#include "target/log.h"

#include "tests/unit/suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The drive: what it was asked last, and what it answers. */
static struct nvme_passthru_cmd asked;
static int nasked;
static int drive_status; /* of NVMe, or negative errno */
static uint8_t drive_data[4096];

static int drive_answers(int fd, struct nvme_passthru_cmd *cmd, __u32 *result)
{
	(void)fd;
	asked = *cmd;
	nasked++;
	*result = 0x1234;
	if (drive_status < 0) {
		errno = -drive_status;
		return -1;
	}
	if (drive_status == 0 && cmd->opcode & 2 && cmd->data_len)
		memcpy((void *)(uintptr_t)cmd->addr, drive_data,
		       cmd->data_len < sizeof(drive_data) ? cmd->data_len : sizeof(drive_data));
	return drive_status;
}

#define nvme_submit_admin_passthru drive_answers
#include "target/backend_passthru.c"
#undef nvme_submit_admin_passthru
#include "target/passthru_command.c"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- the wide ring -----------------------------------------------------------------------------
 */

static struct reactor *reactor; /* a thread of its own, which sleeps when there is nothing to do */

static void setup_reactor(void)
{
	const struct reactor_opts opts = { .index = 1, .entries = 8, .cpu = -1 };

	ck_assert_int_eq(reactor_create(&opts, &reactor), 0);
}

static void teardown_reactor(void)
{
	reactor_destroy(reactor);
}

struct transfer {
	struct wide_op op; /* first */
	int fd;
	char byte;
	int res;
};

static int ndone; /* atomic */

static void transferred(struct wide_op *op, int res, uint64_t extra)
{
	(void)extra;
	((struct transfer *)op)->res = res;
	__atomic_add_fetch(&ndone, 1, __ATOMIC_RELEASE);
}

static void enable(void *arg)
{
	*(int *)arg = reactor_enable_wide(reactor);
}

static void start_read(void *arg)
{
	struct transfer *t = arg;
	struct io_uring_sqe *sqe;

	t->op.done = transferred;
	sqe = reactor_wide_sqe(reactor, &t->op);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = t->fd;
	sqe->addr = (uintptr_t)&t->byte;
	sqe->len = 1;
}

static void wait_for_done(int n)
{
	for (int ms = 0; __atomic_load_n(&ndone, __ATOMIC_ACQUIRE) < n; ms++) {
		ck_assert_int_lt(ms, 10000);
		usleep(1000);
	}
}

START_TEST(a_completion_on_the_wide_ring_wakes_its_reactor)
{
	struct transfer t[40]; /* more than the ring has entries */
	uint64_t bytes = 0;
	int fds[2], err;

	ck_assert_int_eq(pipe(fds), 0);
	for (int twice = 0; twice < 2; twice++) {
		reactor_call(reactor, enable, &err);
		ck_assert_int_eq(err, 0);
	}
	for (int i = 0; i < 40; i++) {
		t[i].fd = fds[0];
		reactor_call(reactor, start_read, &t[i]);
	}
	for (char i = 0; i < 40; i++) {
		while (!__atomic_load_n(&reactor->asleep, __ATOMIC_SEQ_CST))
			usleep(100);
		ck_assert_int_eq(write(fds[1], &i, 1), 1);
		wait_for_done(i + 1);
	}
	for (int i = 0; i < 40; i++) {
		ck_assert_int_eq(t[i].res, 1);
		bytes |= UINT64_C(1) << t[i].byte;
	}
	ck_assert_uint_eq(bytes, (UINT64_C(1) << 40) - 1);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(a_reactor_ends_with_its_wide_ring)
{
	int err;

	reactor_call(reactor, enable, &err);
	ck_assert_int_eq(err, 0);
}
END_TEST

/* ---- pure rules --------------------------------------------------------------------------------
 */

static const struct name_case {
	const char *entry, *block, *generic; /* NULL: no namespace's */
} name_cases[] = {
	{ "nvme0n1", "nvme0n1", "ng7n1" },
	{ "nvme12n34", "nvme12n34", "ng7n34" },
	{ "nvme3c7n2", "nvme3n2", "ng3n2" },
	{ "nvme0", NULL, NULL },
	{ "nvme0n1p1", NULL, NULL },
	{ "nvme0c1n1p2", NULL, NULL },
	{ "ng0n1", NULL, NULL },
	{ "hwmon3", NULL, NULL },
	{ "", NULL, NULL },
};

START_TEST(devices_are_named_after_the_entry_in_sysfs)
{
	const struct name_case *c = &name_cases[_i];
	struct passthru_names names;

	ck_assert_int_eq(passthru_names(c->entry, 7, &names), c->block != NULL);
	if (!c->block)
		return;
	ck_assert_str_eq(names.block, c->block);
	ck_assert_str_eq(names.generic, c->generic);
}
END_TEST

static const struct mdts_case {
	uint32_t ours;
	uint64_t hw;
	uint32_t segments, want;
} mdts_cases[] = {
	{ 1 << 20, 0, 0, 1 << 20 },           { 1 << 20, 512 << 10, 0, 512 << 10 },
	{ 1 << 20, 2 << 20, 127, 256 << 10 }, { 1 << 20, 2 << 20, 128, 512 << 10 },
	{ 1 << 20, 300 << 10, 0, 256 << 10 }, { 64 << 10, 512 << 10, 128, 64 << 10 },
	{ 1 << 20, 1024, 0, 4096 },           { 1 << 20, UINT64_MAX, UINT32_MAX, 1 << 20 },
};

START_TEST(transfers_fit_all_limits)
{
	const struct mdts_case *c = &mdts_cases[_i];

	ck_assert_uint_eq(passthru_mdts(c->ours, c->hw, c->segments), c->want);
}
END_TEST

static const struct status_case {
	uint16_t drive, host;
} status_cases[] = {
	{ 0, 0 },
	{ 0x4002, 0x4002 }, /* Invalid Field, DNR */
	{ 0x0281, 0x0281 },
	{ 0x6085, 0x6085 },              /* More and DNR stay */
	{ 0x1881, 0x1881 },              /* CRD too */
	{ 0x41b8, 0x41b8 },              /* ZNS: Zone Boundary Error */
	{ 0x4012, NVME_INTERNAL_ERROR }, /* Invalid Use of CMB */
	{ 0x0003, NVME_INTERNAL_ERROR }, /* Command ID Conflict */
	{ 0x4013, NVME_INTERNAL_ERROR }, /* PRP Offset Invalid */
	{ 0x400f, NVME_INTERNAL_ERROR }, /* Data SGL Length Invalid */
	{ 0x0370, NVME_NS_NOT_READY },   /* Host Path Error */
	{ 0x4302, NVME_NS_NOT_READY },   /* the drive's own ANA */
};

START_TEST(status_of_the_drive_as_the_host_sees_it)
{
	ck_assert_uint_eq(passthru_status(status_cases[_i].drive), status_cases[_i].host);
}
END_TEST

START_TEST(error_of_the_kernel_as_the_host_sees_it)
{
	static const struct {
		int err;
		uint16_t want;
	} cases[] = {
		{ -ENODEV, NVME_NS_NOT_READY },
		{ -EINTR, NVME_NS_NOT_READY },
		{ -ENOMEM, NVME_NS_NOT_READY },
		{ -EINVAL, NVME_INVALID_FIELD | NVME_DNR },
		{ -EACCES, NVME_ACCESS_DENIED | NVME_DNR },
		{ -EOPNOTSUPP, NVME_INVALID_OPCODE | NVME_DNR },
		{ -EIO, NVME_INTERNAL_ERROR },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_uint_eq(passthru_error(cases[i].err), cases[i].want);
}
END_TEST

/* ---- what the drive says of itself -------------------------------------------------------------
 */

START_TEST(controller_shows_the_drives_fields_and_ours)
{
	struct config_subsystem conf = { .passthrough = "/dev/nvme0" };
	struct subsystem sub = { .conf = &conf };
	struct passthru p = { .subsys = &sub, .mdts_len = 256 << 10 };
	struct nvme_id_ctrl ours, drive;

	memset(&ours, 0x11, sizeof(ours));
	memset(&drive, 0xff, sizeof(drive));
	passthru_identify_controller(&ours, &p, &drive);
	/* the drive's */
	ck_assert_int_eq((uint8_t)ours.sn[0], 0xff);
	ck_assert_int_eq((uint8_t)ours.mn[39], 0xff);
	ck_assert_int_eq((uint8_t)ours.fr[7], 0xff);
	ck_assert_uint_eq(ours.vid, 0xffff);
	ck_assert_uint_eq(ours.awun, 0xffff);
	ck_assert_uint_eq(ours.psd[31].mp, 0xffff);
	/* made of both */
	ck_assert_uint_eq(ours.mdts, 6);
	ck_assert_uint_eq(le16toh(ours.oncs), 0x1af);
	ck_assert_uint_eq(le16toh(ours.ocfs), 3);
	ck_assert_uint_eq(ours.vwc, 1 | 2 << 1);
	ck_assert_uint_eq(ours.lpa, 7);
	/* what is refused */
	ck_assert_uint_eq(ours.oacs, 0);
	ck_assert_uint_eq(ours.fuses, 0);
	ck_assert_uint_eq(ours.avscc, 0);
	/* ours */
	ck_assert_uint_eq(ours.cntlid, 0x1111);
	ck_assert_uint_eq(ours.ver, 0x11111111);
	ck_assert_uint_eq(ours.sgls, 0x11111111);
	ck_assert_uint_eq(ours.cmic, 0x11);
	ck_assert_uint_eq(ours.hmpre, 0x11111111);
	ck_assert_uint_eq(ours.sanicap, 0x11111111);
	ck_assert_uint_eq(ours.apsta, 0x11);
	ck_assert_uint_eq(ours.maxcmd, 0x1111);
	ck_assert_uint_eq(ours.ioccsz, 0x11111111);
	ck_assert_int_eq(ours.subnqn[0], 0x11);
	ck_assert_uint_eq(ours.vs[0], 0x11);
}
END_TEST

START_TEST(configured_serial_and_model_stay)
{
	struct config_subsystem conf = { .serial = "S", .model = "M" };
	struct subsystem sub = { .conf = &conf };
	struct passthru p = { .subsys = &sub, .mdts_len = 4096, .vendor = true };
	struct nvme_id_ctrl ours = { 0 }, drive;

	memset(&drive, 'x', sizeof(drive));
	passthru_identify_controller(&ours, &p, &drive);
	ck_assert_int_eq(ours.sn[0], 0);
	ck_assert_int_eq(ours.mn[0], 0);
	ck_assert_int_eq(ours.fr[0], 'x');
	ck_assert_uint_eq(ours.avscc, 'x');
	ck_assert_uint_eq(ours.mdts, 0); /* would be no limit: passthru_mdts() gives more */
}
END_TEST

START_TEST(namespace_hides_identifiers_and_metadata)
{
	struct nvme_id_ns id;
	static const uint8_t zeros[16];

	memset(&id, 0xff, sizeof(id));
	id.lbaf[0].ms = 0;
	id.flbas = 0x10;
	passthru_identify_namespace(&id);
	ck_assert_mem_eq(id.nguid, zeros, 16);
	ck_assert_mem_eq(id.eui64, zeros, 8);
	ck_assert_uint_eq(id.nmic, 1);
	ck_assert_uint_eq(id.mc | id.dpc | id.dps | id.flbas, 0);
	ck_assert_uint_eq(id.anagrpid, 0);
	ck_assert_uint_eq(id.lbaf[0].ds, 0xff);
	ck_assert_uint_eq(id.lbaf[1].ds, 0);
	ck_assert_uint_eq(id.rescap, 0xff);
	ck_assert_uint_eq(id.nsze, UINT64_MAX);
}
END_TEST

START_TEST(no_append_is_larger_than_a_transfer)
{
	struct nvme_zns_id_ctrl id = { .zasl = 9 };

	passthru_identify_zns(&id, 256 << 10);
	ck_assert_uint_eq(id.zasl, 0);
	id.zasl = 5;
	passthru_identify_zns(&id, 256 << 10);
	ck_assert_uint_eq(id.zasl, 5);
}
END_TEST

static unsigned int supported(const __le32 *ops, char *ret)
{
	unsigned int n = 0;

	*ret = '\0';
	for (unsigned int op = 0; op < 256; op++)
		if (le32toh(ops[op]) & FX_CSUPP)
			n += (unsigned int)sprintf(ret + strlen(ret), "%02x ", op) > 0;
	return n;
}

static const struct effects_case {
	bool has_log;
	enum passthru_set set;
	uint16_t oncs;
	bool vendor;
	const char *admin, *io;
	unsigned int nadmin; /* where admin is NULL */
} effects_cases[] = {
	/* a drive that says it has everything */
	{ true, PASSTHRU_NVM, 0, false, "02 06 08 09 0a 0c 18 ",
	  "00 01 02 04 05 08 09 0c 0d 0e 11 15 19 ", 0 },
	{ true, PASSTHRU_ZNS, 0, false, "02 06 08 09 0a 0c 18 ",
	  "00 01 02 04 05 08 09 0c 0d 0e 11 15 19 79 7a 7d ", 0 },
	{ true, PASSTHRU_NVM, 0, true, NULL, "00 01 02 04 05 08 09 0c 0d 0e 11 15 19 ", 7 + 48 },
	/* drives without the log */
	{ false, PASSTHRU_NVM, 0, false, "02 06 08 09 0a 0c 18 ", "00 01 02 ", 0 },
	{ false, PASSTHRU_NVM, 0xffff, false, "02 06 08 09 0a 0c 18 ",
	  "00 01 02 04 05 08 09 0c 0d 0e 11 15 19 ", 0 },
	{ false, PASSTHRU_NVM, 1 << 3, false, "02 06 08 09 0a 0c 18 ", "00 01 02 08 ", 0 },
	{ false, PASSTHRU_ZNS, 0xffff, false, "02 06 08 09 0a 0c 18 ", "", 0 },
};

START_TEST(effects_show_what_is_passed_on)
{
	const struct effects_case *c = &effects_cases[_i];
	struct nvme_cmd_effects_log log, got;
	char text[1024];
	unsigned int n;

	memset(&log, 0xff, sizeof(log));
	passthru_filter_effects(&got, c->has_log ? &log : NULL, c->set, c->oncs, c->vendor);
	n = supported(got.acs, text);
	if (c->admin)
		ck_assert_str_eq(text, c->admin);
	else
		ck_assert_uint_eq(n, c->nadmin);
	(void)supported(got.iocs, text);
	ck_assert_str_eq(text, c->io);
}
END_TEST

/* ---- dispatch ----------------------------------------------------------------------------------
 *
 * A subsystem put together by hand: namespaces 1 (NVM, blocks of 4 KiB) and 2 (ZNS, 512 bytes).
 */

static struct reactors reactors;
static struct provider_set no_cmb;
static struct target target;
static struct reactor_account accounts[2];
static struct config conf = { .max_transfer_len = 131072 };
static struct config_port port = { .id = 1, .queue_depth = 128 };
static struct config_subsystem sub_conf = { .nqn = "nqn.2026-11.org.example:p",
					    .passthrough = "/dev/nvme0" };
static struct subsystem subsys;
static struct controller ctrl;
static struct nvmf_queue queue;
static struct passthru_ns backends[2];
static struct namespace spaces[2];
static struct namespace *space_list[2] = { &spaces[0], &spaces[1] };
static struct ns_map *map;
static uint8_t *data;

struct exchange {
	struct nvmf_req req; /* first */
	struct nvme_sqe sqe;
	bool answered;
};

static void respond(struct nvmf_req *req)
{
	((struct exchange *)req)->answered = true;
	nvmf_req_drop(req);
}

static unsigned int nrestaged;

static void restage(struct nvmf_req *req)
{
	nrestaged++;
	nvmf_req_complete(req, NVME_OK);
}

static void disconnect(struct nvmf_queue *q)
{
	(void)q;
}

static bool abort_nothing(struct nvmf_queue *q, uint16_t cid)
{
	(void)q;
	(void)cid;
	return false;
}

static const struct nvmf_queue_ops ops = { respond, restage, disconnect, abort_nothing };

static void make_namespace(unsigned int i, enum passthru_set set, uint8_t shift)
{
	backends[i] = (struct passthru_ns){ .backend.ops = &passthru_ops,
					    .controller = subsys.passthru,
					    .fd = -1,
					    .char_major = 1, /* there: /dev/null */
					    .char_minor = 3,
					    .set = set,
					    .zone_extension_len = i * 64 };
	spaces[i] = (struct namespace){ .target = &target,
					.subsys = &subsys,
					.nsid = i + 1,
					.backend = &backends[i].backend,
					.nlb = 1000,
					.lba_shift = shift,
					.csi = set == PASSTHRU_ZNS ? NVME_CSI_ZNS : NVME_CSI_NVM };
	spaces[i].shard = calloc(1, sizeof(*spaces[i].shard));
	spaces[i].shard->ns = &spaces[i];
	map->entry[i + 1].ns = &spaces[i];
}

static void setup(void)
{
	const struct reactor_opts opts = { .entries = 8, .cpu = -1 };
	struct nvme_cmd_effects_log all;
	struct passthru *p = calloc(1, sizeof(*p));

	log_init(LOG_LEVEL_ERROR);
	reactors.n = 1;
	ck_assert_int_eq(reactor_create(&opts, &reactors.r[0]), 0);
	reactors.r[0]->set = &no_cmb;
	ck_assert_int_eq(reactor_enable_wide(reactors.r[0]), 0);
	target = (struct target){
		.conf = &conf, .reactors = &reactors, .account = accounts, .mdts_len = 131072
	};
	p->target = &target;
	p->subsys = &subsys;
	p->mdts_len = 65536;
	p->fd = -1;
	TAILQ_INIT(&p->jobs);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	memset(&all, 0xff, sizeof(all));
	passthru_filter_effects(&p->effects[PASSTHRU_NVM], &all, PASSTHRU_NVM, 0, false);
	passthru_filter_effects(&p->effects[PASSTHRU_ZNS], &all, PASSTHRU_ZNS, 0, false);
	subsys = (struct subsystem){ .conf = &sub_conf,
				     .nqn = sub_conf.nqn,
				     .passthru = p,
				     .namespaces = space_list,
				     .nnamespaces = 2 };
	ck_assert_int_eq(start_worker(p), 0);
	map = calloc(1, sizeof(*map) + 3 * sizeof(map->entry[0]));
	map->n = 3;
	make_namespace(0, PASSTHRU_NVM, 12);
	make_namespace(1, PASSTHRU_ZNS, 9);
	ctrl = (struct controller){
		.target = &target, .subsys = &subsys, .cntlid = 5, .csts = CSTS_RDY, .map = map
	};
	TAILQ_INIT(&ctrl.aers);
	LIST_INIT(&ctrl.queues);
	queue = (struct nvmf_queue){ .ops = &ops,
				     .target = &target,
				     .reactor = reactors.r[0],
				     .port = nvmf_port_of(&port),
				     .state = QUEUE_LIVE,
				     .subsys = &subsys,
				     .ctrl = &ctrl,
				     .map = map };
	data = aligned_alloc(4096, 131072);
	nasked = 0;
	nrestaged = 0;
	drive_status = 0;
	memset(drive_data, 0xd5, sizeof(drive_data));
}

static void teardown(void)
{
	passthru_close(subsys.passthru);
	reactor_destroy(reactors.r[0]);
	for (int i = 0; i < 2; i++)
		free(spaces[i].shard);
	free(map);
	free(data);
}

static uint16_t run(struct exchange *x, uint16_t qid)
{
	uint16_t status;

	queue.qid = qid;
	x->req.queue = &queue;
	x->req.sqe = &x->sqe;
	x->answered = false;
	x->sqe.flags = SQE_PSDT_SGL;
	status = nvmf_req_check(&x->req);
	x->req.data = x->req.dir == DATA_NONE ? NULL : data;
	x->req.place = STAGE_HOST_NO_CMB;
	if (status)
		nvmf_req_complete(&x->req, status);
	else
		nvmf_req_execute(&x->req);
	for (int ms = 0; !x->answered && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		if (!x->answered)
			usleep(1000);
	}
	ck_assert(x->answered);
	status = get16(x->req.cqe.status) >> 1;
	/* More is looked at only if it is the drive's */
	return x->req.error_at == NO_ERROR_AT ? status : status & (uint16_t)~NVME_MORE;
}

static struct exchange admin(uint8_t opcode, uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
	return (struct exchange){ .sqe = { .opcode = opcode,
					   .nsid = put32(nsid),
					   .cdw10 = put32(cdw10),
					   .cdw11 = put32(cdw11) } };
}

#define BAD  (NVME_INVALID_FIELD | NVME_DNR)
#define OPC  (NVME_INVALID_OPCODE | NVME_DNR)
#define GONE NVME_PATH_INACCESSIBLE

/* With a lost drive, what would be passed on is answered with GONE: nothing is asked of it. */
static const struct io_case {
	uint8_t opcode;
	uint32_t nsid, cdw10, cdw12, cdw13;
	uint16_t status;
	uint32_t len;
	enum data_dir dir;
} io_cases[] = {
	{ 0x00, 1, 0, 0, 0, GONE, 0, DATA_NONE },
	{ 0x00, UINT32_MAX, 0, 0, 0, NVME_INVALID_NS | NVME_DNR, 0, DATA_NONE },
	{ 0x01, 1, 0, 0, 0, GONE, 4096, DATA_H2C },
	{ 0x01, 2, 0, 7, 0, GONE, 4096, DATA_H2C },
	{ 0x01, 1, 0, 15, 0, GONE, 65536, DATA_H2C },
	{ 0x01, 1, 0, 16, 0, BAD, 0, DATA_NONE },
	{ 0x01, 3, 0, 0, 0, NVME_INVALID_NS | NVME_DNR, 0, DATA_NONE },
	{ 0x02, 1, 0, 0xffff, 0, BAD, 0, DATA_NONE },
	{ 0x02, 2, 0, 127, 0, GONE, 65536, DATA_C2H },
	{ 0x02, 2, 0xffffffff, 0, 0, GONE, 512, DATA_C2H }, /* the drive knows its end */
	{ 0x04, 1, 0, 0xffff, 0, GONE, 0, DATA_NONE },
	{ 0x05, 1, 0, 1, 0, GONE, 8192, DATA_H2C },
	{ 0x08, 1, 0, 0xffff, 0, GONE, 0, DATA_NONE },
	{ 0x09, 1, 0, 0, 0, GONE, 16, DATA_H2C },
	{ 0x09, 1, 255, 0, 0, GONE, 4096, DATA_H2C },
	{ 0x09, 1, 0xffffff00, 0, 0, GONE, 16, DATA_H2C }, /* reserved bits */
	{ 0x0c, 1, 0, 0xffff, 0, GONE, 0, DATA_NONE },
	{ 0x0d, 1, 0, 0, 0, GONE, 16, DATA_H2C },
	{ 0x0e, 1, 0, 0, 0, GONE, 4, DATA_C2H },
	{ 0x0e, 1, 1023, 0, 0, GONE, 4096, DATA_C2H },
	{ 0x0e, 1, UINT32_MAX, 0, 0, BAD, 0, DATA_NONE },
	{ 0x11, 1, 0, 0, 0, GONE, 16, DATA_H2C },
	{ 0x15, 1, 0, 0, 0, GONE, 8, DATA_H2C },
	{ 0x19, 1, 0, 0, 0, GONE, 32, DATA_H2C },
	{ 0x19, 1, 0, 0x1ff, 0, GONE, 10240, DATA_H2C },
	{ 0x19, 1, 0, 0x200, 0, BAD, 0, DATA_NONE }, /* names other namespaces */
	{ 0x19, 1, 0, 0xf00, 0, BAD, 0, DATA_NONE },
	/* zones */
	{ 0x79, 2, 0, 0, 4, GONE, 0, DATA_NONE },
	{ 0x79, 2, 0, 0, 0x10, GONE, 64, DATA_H2C },
	{ 0x79, 1, 0, 0, 0x10, BAD, 0, DATA_NONE },
	{ 0x79, 1, 0, 0, 4, OPC, 0, DATA_NONE },
	{ 0x7a, 2, 0, 15, 0, GONE, 64, DATA_C2H },
	{ 0x7a, 2, 0, 16383, 0, GONE, 65536, DATA_C2H },
	{ 0x7a, 2, 0, 16384, 0, BAD, 0, DATA_NONE },
	{ 0x7a, 2, 0, UINT32_MAX, 0, BAD, 0, DATA_NONE },
	{ 0x7a, 1, 0, 15, 0, OPC, 64, DATA_C2H },
	{ 0x7d, 2, 0, 7, 0, GONE, 4096, DATA_H2C },
	{ 0x7d, 1, 0, 0, 0, OPC, 4096, DATA_H2C },
	/* not passed on: Cancel, Reclaim Unit commands, KV, what a vendor made */
	{ 0x18, 1, 0, 0, 0, OPC, 0, DATA_NONE },
	{ 0x12, 1, 0, 0, 0, OPC, 0, DATA_NONE },
	{ 0x1d, 1, 0, 0, 0, OPC, 0, DATA_NONE },
	{ 0x06, 1, 0, 0, 0, OPC, 0, DATA_NONE },
	{ 0x80, 1, 0, 0, 0, OPC, 0, DATA_NONE },
	{ 0xff, 1, 0, 0, 0, OPC, 0, DATA_NONE },
};

START_TEST(io_commands_have_the_length_of_their_fields)
{
	const struct io_case *c = &io_cases[_i];
	struct exchange x = { .sqe = { .opcode = c->opcode,
				       .nsid = put32(c->nsid),
				       .cdw10 = put32(c->cdw10),
				       .cdw12 = put32(c->cdw12),
				       .cdw13 = put32(c->cdw13) } };

	backends[0].backend.lost = backends[1].backend.lost = true;
	ck_assert_uint_eq(run(&x, 1), c->status);
	ck_assert_uint_eq(x.req.dir, c->dir);
	if (c->dir != DATA_NONE)
		ck_assert_uint_eq(x.req.len, c->len);
}
END_TEST

START_TEST(io_commands_that_the_drive_lacks_are_refused)
{
	struct passthru *p = subsys.passthru;
	struct exchange x = { .sqe = { .opcode = 0x05, .nsid = put32(1) } };

	memset(p->effects, 0, sizeof(p->effects));
	ck_assert_uint_eq(run(&x, 1), OPC);
}
END_TEST

/* Of a descriptor that takes no commands: what the kernel says comes back as a status. */
START_TEST(io_commands_go_by_the_wide_ring)
{
	struct exchange x = { .sqe = { .opcode = 0x02, .nsid = put32(1) } };
	uint16_t status = run(&x, 1);

	ck_assert_uint_eq(status, NVME_INTERNAL_ERROR); /* EBADF */
	ck_assert_uint_eq(spaces[0].shard->account[DATA_C2H - 1].errors, 1);
	ck_assert_uint_eq(spaces[0].shard->in_flight[0], 0);
}
END_TEST

START_TEST(fused_commands_are_refused)
{
	struct exchange x = { .sqe = { .opcode = 0x05, .nsid = put32(1) } };

	queue.qid = 1;
	x.req.queue = &queue;
	x.req.sqe = &x.sqe;
	x.sqe.flags = SQE_PSDT_SGL | 1;
	ck_assert_uint_eq(nvmf_req_check(&x.req), BAD);
}
END_TEST

static struct exchange io_on_cmb(uint8_t opcode)
{
	struct exchange x = { .sqe = { .opcode = opcode, .nsid = put32(1) } };

	queue.qid = 1;
	x.sqe.flags = SQE_PSDT_SGL;
	return x;
}

static const struct cmb_case {
	int res;
	bool again;
	uint16_t status;
} cmb_cases[] = {
	{ 0x4012, true, 0 },                  /* Invalid Use of CMB */
	{ -EFAULT, true, 0 },                 /* the pages are gone */
	{ 0x4002, false, BAD },               /* as the drive says */
	{ -EIO, false, NVME_INTERNAL_ERROR }, /* it may have been done */
	{ -ENODEV, false, NVME_NS_NOT_READY },
	{ 0, false, 0 },
};

START_TEST(what_fails_in_a_cmb_before_it_began_is_done_again)
{
	const struct cmb_case *c = &cmb_cases[_i];
	struct exchange x = io_on_cmb(0x01);

	x.req.queue = &queue;
	x.req.sqe = &x.sqe;
	ck_assert_uint_eq(nvmf_req_check(&x.req), NVME_OK);
	x.req.place = 0;              /* a CMB */
	target.trouble_posted = true; /* nobody listens */
	io_done(&x.req.wide, c->res, UINT64_C(0x100000002));
	ck_assert_uint_eq(nrestaged, c->again);
	ck_assert_uint_eq(get16(x.req.cqe.status) >> 1, c->status);
	if (!c->again) {
		ck_assert_uint_eq(get32(x.req.cqe.dw0), 2);
		ck_assert_uint_eq(get32(x.req.cqe.dw1), 1);
	}
}
END_TEST

#define NOPAGE (NVME_INVALID_LOG_PAGE | NVME_DNR)
#define CSI(n) ((uint32_t)(n) << 24)

static const struct admin_case {
	uint8_t opcode;
	uint32_t nsid, cdw10, cdw11;
	bool passed_on;
	uint16_t status; /* where the drive answers with success */
} admin_cases[] = {
	/* 0: Identify */
	{ 0x06, 1, 0x00, 0, true, 0 },
	{ 0x06, 3, 0x00, 0, false, 0 }, /* none there: zeros */
	{ 0x06, UINT32_MAX, 0x00, 0, false, NVME_INVALID_NS | NVME_DNR },
	{ 0x06, 0, 0x01, 0, true, 0 },
	{ 0x06, 0, 0x02, 0, false, 0 },
	{ 0x06, 2, 0x03, 0, false, 0 },
	{ 0x06, 0, 0x04, 0, false, BAD },
	{ 0x06, 2, 0x05, CSI(2), true, 0 },
	{ 0x06, 1, 0x05, CSI(0), true, 0 },
	{ 0x06, 1, 0x05, CSI(1), false, BAD },
	/* 10 */
	{ 0x06, 0, 0x06, CSI(2), true, 0 },
	{ 0x06, 0, 0x07, CSI(2), false, 0 },
	{ 0x06, 1, 0x08, 0, true, 0 },
	{ 0x06, 0, 0x14, 0, false, BAD },
	{ 0x06, 0, 0x1c, 0, false, 0 },
	{ 0x06, 0, 0xc0, 0, false, BAD },
	/* 16: log pages */
	{ 0x02, 0, 0x03ff0000, 0, false, 0 },
	{ 0x02, UINT32_MAX, 0x007f0002, 0, true, 0 },
	{ 0x02, 0, 0x000f0001, 0, true, 0 },
	{ 0x02, 0, 0x007f0003, 0, true, 0 },
	/* 20 */
	{ 0x02, 0, 0x03ff0004, 0, false, 0 },
	{ 0x02, 0, 0x03ff0005, 0, false, 0 },
	{ 0x02, 0, 0x007f0006, 0, false, NOPAGE }, /* self-test */
	{ 0x02, 0, 0x007f0007, 0, false, NOPAGE }, /* telemetry */
	{ 0x02, 0, 0x007f000d, 0, false, NOPAGE }, /* persistent events */
	{ 0x02, 2, 0x03ff00bf, 0, true, 0 },       /* changed zones */
	{ 0x02, 3, 0x03ff00bf, 0, false, NVME_INVALID_NS | NVME_DNR },
	{ 0x02, 0, 0x007f00c0, 0, false, NOPAGE },
	{ 0x02, 0, 0x007f00ff, 0, false, NOPAGE },
	{ 0x02, 0, 0xffff0002, 0, false, BAD }, /* more than MDTS */
	/* 30: features */
	{ 0x0a, 0, 0x02, 0, true, 0 },
	{ 0x0a, 0, 0x04, 0, true, 0 },
	{ 0x0a, 0, 0x06, 0, true, 0 },
	{ 0x0a, 0, 0x07, 0, false, 0 }, /* ours: number of queues */
	{ 0x0a, 0, 0x0f, 0, false, 0 }, /* ours: keep alive */
	{ 0x0a, 0, 0x0c, 0, false, BAD },
	{ 0x0a, 0, 0x0d, 0, false, BAD }, /* host memory buffer */
	{ 0x0a, 3, 0x05, 0, false, NVME_INVALID_NS | NVME_DNR },
	{ 0x09, 0, 0x04, 300, true, 0 },
	{ 0x09, 0, 0x06, 1, true, 0 },
	/* 40 */
	{ 0x09, 0, 0x02, 3, false, NVME_FEATURE_NOT_CHANGEABLE | NVME_DNR },
	{ 0x09, 0, 0x0d, 1, false, BAD },
	{ 0x09, 1, 0x84, 1, true, 0 },
	/* refused altogether */
	{ 0x80, 1, 0, 0, false, OPC }, /* Format NVM */
	{ 0x84, 0, 0, 0, false, OPC }, /* Sanitize */
	{ 0x10, 0, 0, 0, false, OPC }, /* Firmware Commit */
	{ 0x11, 0, 0, 0, false, OPC }, /* Firmware Image Download */
	{ 0x0d, 0, 0, 0, false, OPC }, /* Namespace Management */
	{ 0x14, 0, 0, 0, false, OPC }, /* Device Self-test */
	{ 0x81, 0, 0, 0, false, OPC }, /* Security Send */
	/* 50 */
	{ 0x00, 0, 0, 0, false, OPC }, /* Delete I/O Submission Queue */
	{ 0x7c, 0, 0, 0, false, OPC }, /* Doorbell Buffer Config */
	{ 0xc0, 0, 0, 0, false, OPC }, /* a vendor's */
	{ 0xc3, 0, 0, 0, false, OPC },
	{ 0xfe, 0, 0, 0, false, OPC },
};

START_TEST(admin_commands_pass_by_an_allowlist)
{
	const struct admin_case *c = &admin_cases[_i];
	struct exchange x = admin(c->opcode, c->nsid, c->cdw10, c->cdw11);

	ck_assert_uint_eq(run(&x, 0), c->status);
	ck_assert_int_eq(nasked, c->passed_on);
	if (c->passed_on) {
		ck_assert_uint_eq(asked.opcode, c->opcode);
		ck_assert_uint_eq(asked.nsid, c->nsid);
		ck_assert_uint_eq(asked.cdw11, c->cdw11);
		ck_assert_uint_eq(asked.data_len, x.req.len);
	}
}
END_TEST

START_TEST(every_opcode_has_an_answer)
{
	for (unsigned int op = 0; op < 256; op++) {
		struct exchange x = admin((uint8_t)op, 1, 0, 0);

		if (op == OP_FABRICS || op == 0x0c) /* which stays with us */
			continue;
		(void)run(&x, 0);
		backends[0].backend.lost = true;
		x = admin((uint8_t)op, 1, 0, 0);
		(void)run(&x, 1);
	}
}
END_TEST

static struct exchange with_sgl(struct exchange x, uint8_t type, uint32_t len)
{
	x.sqe.dptr.keyed.type = type;
	x.sqe.dptr.keyed.len[0] = (uint8_t)len;
	x.sqe.dptr.keyed.len[1] = (uint8_t)(len >> 8);
	x.sqe.dptr.keyed.len[2] = (uint8_t)(len >> 16);
	return x;
}

static const struct vendor_case {
	uint8_t opcode, type;
	uint32_t sgl_len;
	uint16_t status;
	uint32_t len;
} vendor_cases[] = {
	{ 0xc0, 0x40, 0, 0, 0 },
	{ 0xc0, 0x40, 4096, 0, 0 }, /* no data, whatever the SGL says */
	{ 0xc1, 0x40, 4096, 0, 4096 },
	{ 0xc2, 0x4f, 512, 0, 512 },
	{ 0xfe, 0x40, 65536, 0, 65536 },
	{ 0xfe, 0x40, 65540, BAD, 0 },
	{ 0xc2, 0x01, 512, NVME_SGL_TYPE_INVALID | NVME_DNR, 0 },
	{ 0xc3, 0x40, 512, OPC, 0 }, /* both directions */
};

START_TEST(vendor_commands_pass_by_opt_in)
{
	const struct vendor_case *c = &vendor_cases[_i];
	struct exchange x = with_sgl(admin(c->opcode, 0, 7, 8), c->type, c->sgl_len);

	((struct passthru *)subsys.passthru)->vendor = true;
	ck_assert_uint_eq(run(&x, 0), c->status);
	ck_assert_int_eq(nasked, c->status == 0);
	if (c->status == 0)
		ck_assert_uint_eq(asked.data_len, c->len);
}
END_TEST

START_TEST(vendor_log_pages_pass_by_opt_in)
{
	struct exchange x = admin(0x02, 0, 0x007f00c0, 0);

	((struct passthru *)subsys.passthru)->vendor = true;
	ck_assert_uint_eq(run(&x, 0), 0);
	ck_assert_int_eq(nasked, 1);
}
END_TEST

START_TEST(events_stay_with_the_machines_own_kernel)
{
	struct exchange smart = admin(0x02, UINT32_MAX, 0x007f0002, 0);
	struct exchange zones = admin(0x02, 2, 0x03ff00bf, 0);

	ck_assert_uint_eq(run(&smart, 0), 0);
	ck_assert_uint_eq(asked.cdw10, 0x007f8002);
	ck_assert_uint_eq(run(&zones, 0), 0);
	ck_assert_uint_eq(asked.cdw10, 0x03ff00bf);
}
END_TEST

START_TEST(what_the_drive_does_not_deliver_is_zeros)
{
	struct exchange x = admin(0x02, 0, 0x07ff0001, 0); /* 8 KiB */

	memset(data, 0xee, 131072);
	ck_assert_uint_eq(run(&x, 0), 0);
	ck_assert_uint_eq(data[4095], 0xd5);
	ck_assert_uint_eq(data[4096], 0);
	ck_assert_uint_eq(data[8191], 0);
	ck_assert_uint_eq(data[8192], 0xee);
}
END_TEST

START_TEST(errors_of_the_drive_reach_the_host)
{
	static const struct {
		int drive;
		uint16_t host;
	} cases[] = {
		{ 0x4109, NOPAGE },
		{ 0x2002, 0x2002 },
		{ -ENODEV, NVME_NS_NOT_READY },
		{ -EIO, NVME_INTERNAL_ERROR },
	};

	target.trouble_posted = true; /* nobody listens */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct exchange x = admin(0x02, UINT32_MAX, 0x007f0002, 0);

		drive_status = cases[i].drive;
		ck_assert_uint_eq(run(&x, 0), cases[i].host);
	}
}
END_TEST

START_TEST(identify_controller_is_made_of_both)
{
	struct exchange x = admin(0x06, 0, 0x01, 0);
	const struct nvme_id_ctrl *id = (void *)data;

	ck_assert_uint_eq(run(&x, 0), 0);
	ck_assert_int_eq((uint8_t)id->mn[0], 0xd5);
	ck_assert_uint_eq(le16toh(id->cntlid), 5);
	ck_assert_uint_eq(id->mdts, 4);
	ck_assert_str_eq(id->subnqn, sub_conf.nqn);
	ck_assert_uint_eq(id->hmpre, 0);
	ck_assert_uint_eq(le16toh(id->maxcmd), 128);
	ck_assert_uint_eq(id->ioccsz, htole32(4));
	ck_assert(le32toh(id->sgls) & NVME_CTRL_SGLS_KEYED);
}
END_TEST

START_TEST(an_older_drives_lack_is_filled)
{
	struct exchange x = admin(0x06, 1, 0x08, 0);
	const struct nvme_id_independent_id_ns *id = (void *)data;

	drive_status = BAD;
	ck_assert_uint_eq(run(&x, 0), 0);
	ck_assert_int_eq(nasked, 1);
	ck_assert_uint_eq(id->nstat, 1);
	ck_assert_uint_eq(id->nmic, 1);
}
END_TEST

START_TEST(namespaces_are_listed_by_command_set)
{
	static const struct {
		uint32_t cc, cns, cdw11, want[3];
	} cases[] = {
		{ 6 << 4, 0x02, 0, { 1, 2, 0 } },
		{ 0, 0x02, 0, { 1, 0, 0 } }, /* the NVM command set alone */
		{ 6 << 4, 0x07, CSI(0), { 1, 0, 0 } },
		{ 6 << 4, 0x07, CSI(2), { 2, 0, 0 } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct exchange x = admin(0x06, 0, cases[i].cns, cases[i].cdw11);

		ctrl.cc = cases[i].cc;
		ck_assert_uint_eq(run(&x, 0), 0);
		for (int n = 0; n < 3; n++)
			ck_assert_uint_eq(get32(((le32 *)data)[n]), cases[i].want[n]);
	}
}
END_TEST

START_TEST(descriptors_have_our_uuid_and_the_command_set)
{
	struct exchange x = admin(0x06, 2, 0x03, 0);

	memset(spaces[1].ids.uuid, 7, 16);
	ck_assert_uint_eq(run(&x, 0), 0);
	ck_assert_uint_eq(data[0], NVME_NIDT_UUID);
	ck_assert_uint_eq(data[4], 7);
	ck_assert_uint_eq(data[20], NVME_NIDT_CSI);
	ck_assert_uint_eq(data[24], NVME_CSI_ZNS);
	ck_assert_uint_eq(data[25], 0);
}
END_TEST

START_TEST(supported_log_pages_are_those_that_are_answered)
{
	struct exchange x = admin(0x02, 0, 0x00ff0000, 0);
	char text[1024];

	ck_assert_uint_eq(run(&x, 0), 0);
	(void)supported((const __le32 *)data, text);
	ck_assert_str_eq(text, "00 01 02 03 04 05 0c 80 bf ");
}
END_TEST

START_TEST(effects_are_those_of_the_command_set)
{
	struct exchange nvm = admin(0x02, 0, 0x03ff0005, 0);
	struct exchange zns = nvm, kv = nvm, part = nvm;
	const struct nvme_cmd_effects_log *log = (void *)data;

	ck_assert_uint_eq(run(&nvm, 0), 0);
	ck_assert_uint_eq(log->iocs[0x7d], 0);
	zns.sqe.cdw14 = put32(CSI(2));
	ck_assert_uint_eq(run(&zns, 0), 0);
	ck_assert(le32toh(log->iocs[0x7d]) & FX_CSUPP);
	ck_assert_uint_eq(log->acs[0x84], 0);
	kv.sqe.cdw14 = put32(CSI(1));
	ck_assert_uint_eq(run(&kv, 0), BAD);
	part.sqe.cdw12 = put32(1024 + 4); /* iocs[1] and on */
	ck_assert_uint_eq(run(&part, 0), 0);
	ck_assert_uint_eq(data[0], 0xff);
}
END_TEST

START_TEST(a_host_may_enable_all_command_sets)
{
	struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = FC_PROPERTY_GET } };
	struct nvmf_property_sqe *sqe = (void *)&x.sqe;

	sqe->attrib = 1;
	ck_assert_uint_eq(run(&x, 0), 0);
	ck_assert_uint_eq(get32(x.req.cqe.dw1) >> 5 & 0x41, 0x41); /* CAP.CSS */
}
END_TEST

START_TEST(a_change_of_policy_is_another_configuration)
{
	struct config_subsystem off = sub_conf;
	const struct config_namespace *before = passthru_namespace_conf(&spaces[0]), *after;

	ck_assert_ptr_eq(passthru_namespace_conf(&spaces[0]), before);
	off.cmb = CONFIG_CMB_OFF;
	subsys.conf = &off;
	after = passthru_namespace_conf(&spaces[0]);
	ck_assert_ptr_ne(after, before);
	ck_assert_int_eq(before->cmb, CONFIG_CMB_PREFER);
	ck_assert_int_eq(after->cmb, CONFIG_CMB_OFF);
	ck_assert_ptr_eq(passthru_namespace_conf(&spaces[0]), after);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("passthru");
	TCase *ring = tcase_create("wide ring"), *rules = tcase_create("rules");
	TCase *dispatch = tcase_create("dispatch");

	tcase_add_checked_fixture(ring, setup_reactor, teardown_reactor);
	tcase_add_test(ring, a_completion_on_the_wide_ring_wakes_its_reactor);
	tcase_add_test(ring, a_reactor_ends_with_its_wide_ring);
	tcase_set_timeout(ring, 60);
	suite_add_tcase(s, ring);

	tcase_add_loop_test(rules, devices_are_named_after_the_entry_in_sysfs, 0,
			    COUNT(name_cases));
	tcase_add_loop_test(rules, transfers_fit_all_limits, 0, COUNT(mdts_cases));
	tcase_add_loop_test(rules, status_of_the_drive_as_the_host_sees_it, 0, COUNT(status_cases));
	tcase_add_test(rules, error_of_the_kernel_as_the_host_sees_it);
	tcase_add_test(rules, controller_shows_the_drives_fields_and_ours);
	tcase_add_test(rules, configured_serial_and_model_stay);
	tcase_add_test(rules, namespace_hides_identifiers_and_metadata);
	tcase_add_test(rules, no_append_is_larger_than_a_transfer);
	tcase_add_loop_test(rules, effects_show_what_is_passed_on, 0, COUNT(effects_cases));
	suite_add_tcase(s, rules);

	tcase_add_checked_fixture(dispatch, setup, teardown);
	tcase_add_loop_test(dispatch, io_commands_have_the_length_of_their_fields, 0,
			    COUNT(io_cases));
	tcase_add_test(dispatch, io_commands_that_the_drive_lacks_are_refused);
	tcase_add_test(dispatch, io_commands_go_by_the_wide_ring);
	tcase_add_test(dispatch, fused_commands_are_refused);
	tcase_add_loop_test(dispatch, what_fails_in_a_cmb_before_it_began_is_done_again, 0,
			    COUNT(cmb_cases));
	tcase_add_loop_test(dispatch, admin_commands_pass_by_an_allowlist, 0, COUNT(admin_cases));
	tcase_add_test(dispatch, every_opcode_has_an_answer);
	tcase_add_loop_test(dispatch, vendor_commands_pass_by_opt_in, 0, COUNT(vendor_cases));
	tcase_add_test(dispatch, vendor_log_pages_pass_by_opt_in);
	tcase_add_test(dispatch, events_stay_with_the_machines_own_kernel);
	tcase_add_test(dispatch, what_the_drive_does_not_deliver_is_zeros);
	tcase_add_test(dispatch, errors_of_the_drive_reach_the_host);
	tcase_add_test(dispatch, identify_controller_is_made_of_both);
	tcase_add_test(dispatch, an_older_drives_lack_is_filled);
	tcase_add_test(dispatch, namespaces_are_listed_by_command_set);
	tcase_add_test(dispatch, descriptors_have_our_uuid_and_the_command_set);
	tcase_add_test(dispatch, supported_log_pages_are_those_that_are_answered);
	tcase_add_test(dispatch, effects_are_those_of_the_command_set);
	tcase_add_test(dispatch, a_host_may_enable_all_command_sets);
	tcase_add_test(dispatch, a_change_of_policy_is_another_configuration);
	tcase_set_timeout(dispatch, 60);
	suite_add_tcase(s, dispatch);
	return run_suite(s);
}
