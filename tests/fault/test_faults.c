/*
 * Scenarios over a memory transport, run again and again while one call after the other fails: the
 * first, the second, ... until there are no more; then once more with several in a row.
 *
 *      test_faults [SCENARIO [CALL [HOW-MANY]]]
 *
 * Whatever fails: nothing crashes, every command is answered, nothing leaks (memory with
 * SAN=address; descriptors always), and what was asked for is done or not done, as its answer says;
 * asked again it is done.
 */
#include "tests/fault/own_calloc.h"
#include "tests/fault/scenarios.h"
#include "tests/fuzz/asserts.h"

#include <stdlib.h>

#define calloc(n, size) own_calloc(n, size)
#include "tests/unit/control_fixture.h"
#undef calloc

#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_do_recoverable_leak_check() 0
#endif

#define NITEMS(array) (sizeof(array) / sizeof((array)[0]))
#define IN_A_ROW      4
#define CALLS_MAX     20000 /* a scenario that has more never ends */

/* ---- which one is running ----------------------------------------------------------------------
 */

static const char *scenario_name;
static uint64_t scenario_at, scenario_n;

static void on_death(int signal_number)
{
	static char text[256];
	int n = snprintf(text, sizeof(text),
			 "FAILED: scenario '%s', call %llu and %llu more fail (%s): signal %d\n",
			 scenario_name, (unsigned long long)scenario_at,
			 (unsigned long long)scenario_n - 1, fault_name(), signal_number);

	if (write(STDERR_FILENO, text, (size_t)n) == n)
		signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static unsigned int open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(folder);
	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}

/* ---- a host ------------------------------------------------------------------------------------
 */

struct host {
	struct nvmf_queue *admin, *io;
	uint16_t cntlid;
	uint8_t id;
};

static uint16_t try_queue(uint16_t qid, uint16_t cntlid, uint8_t id, struct nvmf_queue **ret,
			  uint16_t *ret_cntlid)
{
	struct exchange x = connect_command(qid, cntlid);
	struct nvmf_queue *q = open_queue(qid);
	uint16_t status;

	((struct nvmf_connect_data *)data)->hostid[0] = id;
	status = run(q, &x);
	if (status) {
		drop_queue(q);
		return status;
	}
	*ret_cntlid = (uint16_t)get32(x.req.cqe.dw0);
	*ret = q;
	return status;
}

static uint16_t try_host(struct host *h, uint8_t id)
{
	uint16_t qid = id % 2 ? 1 : 2, same, status;

	*h = (struct host){ .id = id };
	status = try_queue(0, 0xffff, id, &h->admin, &h->cntlid);
	if (!status)
		status = set_cc(h->admin, CC_ENABLE);
	if (!status)
		status = try_queue(qid, h->cntlid, id, &h->io, &same);
	return status;
}

static void drop_host(struct host *h)
{
	if (h->io)
		drop_queue(h->io);
	if (h->admin)
		drop_queue(h->admin);
	*h = (struct host){ 0 };
}

static struct exchange io(uint8_t opcode, uint32_t nsid, uint64_t slba, uint16_t nlb)
{
	struct exchange x = { .sqe = { .opcode = opcode, .nsid = put32(nsid) } };

	x.sqe.cdw10 = put32((uint32_t)slba);
	x.sqe.cdw12 = put32(nlb - 1u);
	return x;
}

static uint16_t do_io(const struct host *h, uint8_t opcode, uint32_t nsid, uint64_t slba,
		      uint16_t nlb)
{
	struct exchange x = io(opcode, nsid, slba, nlb);

	return run(h->io, &x);
}

enum {
	FLUSH = 0,
	WRITE = 1,
	READ = 2,
	COMPARE = 5,
	WRITE_ZEROES = 8,
	DSM = 9,
	VERIFY = 12,
	COPY = 25
};

/* Every block of one byte. */
static bool holds(const struct host *h, uint32_t nsid, uint64_t slba, uint8_t byte)
{
	memset(data, (uint8_t)~byte, 4096);
	ck_assert_uint_eq(do_io(h, READ, nsid, slba, 1), NVME_OK);
	for (int i = 0; i < 4096; i++)
		if (data[i] != byte)
			return false;
	return true;
}

static void put_block(const struct host *h, uint32_t nsid, uint64_t slba, uint8_t byte)
{
	memset(data, byte, 4096);
	ck_assert_uint_eq(do_io(h, WRITE, nsid, slba, 1), NVME_OK);
	ck_assert(holds(h, nsid, slba, byte));
}

/* A new host is served as ever, and no controller is left of those that were. */
static void expect_served(uint32_t nsid)
{
	struct host h;

	ck_assert_uint_eq(try_host(&h, 99), NVME_OK);
	put_block(&h, nsid, 7, 0x77);
	put_block(&h, nsid, 7, 0x78);
	drop_host(&h);
	for (unsigned int i = 0; i <= CNTLID_MAX; i++)
		ck_assert(!target->by_cntlid[i]);
}

static struct host host, other;

static void set_up_host(void)
{
	setup();
	ck_assert_uint_eq(try_host(&host, 1), NVME_OK);
}

static void tear_down_hosts(void)
{
	drop_host(&host);
	drop_host(&other);
	teardown();
}

/* ---- start and stop ----------------------------------------------------------------------------
 */

static int start_result;

static int try_reactors(unsigned int n)
{
	int err = 0;

	for (reactors.n = 0; reactors.n < n && !err; reactors.n += !err) {
		const struct reactor_opts opts = { .index = reactors.n, .entries = 64, .cpu = -1 };

		err = reactor_create(&opts, &reactors.r[reactors.n]);
		if (!err)
			reactors.r[reactors.n]->set = &no_cmb;
	}
	return err;
}

static void start_prepare(void)
{
	setup();
	stop_target();
	target = NULL;
	data = aligned_alloc(4096, 131072);
}

static void start_faulty(void)
{
	struct config_diag diag = { 0 };

	start_result = try_reactors(3);
	if (start_result)
		return;
	start_result = target_create(&conf, &reactors, &topo, &target, &diag);
	ck_assert(start_result == 0 || diag.what[0]);
}

/* A device that could not be opened is waited for; the daemon looks now and then. */
static void look_at_devices(void)
{
	bool back;

	ck_assert_uint_eq(target_check_devices(target, &back), 0);
}

static void start_verify(void)
{
	if (!start_result) {
		look_at_devices();
		expect_served(1);
		return;
	}
	ck_assert(!target && start_result < 0);
}

static void start_finish(void)
{
	teardown();
	target = NULL;
}

/* ---- connect, I/O, disconnect ------------------------------------------------------------------
 */

static void connect_faulty(void)
{
	struct host h;

	if (try_host(&h, 1) == NVME_OK) {
		memset(data, 0x11, 4096);
		(void)do_io(&h, WRITE, 1, 3, 1);
		(void)do_io(&h, READ, 1, 3, 1);
	}
	drop_host(&h);
}

static void connect_verify(void)
{
	expect_served(1);
}

static void connect_discovery_faulty(void)
{
	struct nvmf_queue *q = open_queue(0);
	struct exchange x = connect_command(0, 0xffff);

	strcpy(((struct nvmf_connect_data *)data)->subsysnqn, NVME_DISC_SUBSYS_NAME);
	if (run(q, &x) == NVME_OK && set_cc(q, CC_EN) == NVME_OK) {
		x = (struct exchange){ .sqe = { .opcode = 2 } };
		x.sqe.cdw10 = put32(0x70 | 1023u << 16);
		(void)run(q, &x);
		target_discovery_changed(target);
		(void)run(q, &x);
	}
	drop_queue(q);
}

/* ---- I/O commands ------------------------------------------------------------------------------
 */

static void fill_blocks(void)
{
	ck_assert_uint_eq(try_host(&host, 1), NVME_OK);
	for (uint64_t slba = 0; slba < 8; slba++)
		put_block(&host, 1, slba, 0x10);
}

static void io_prepare(void)
{
	setup();
	fill_blocks();
}

static void io_threads_prepare(void)
{
	setup_threads();
	fill_blocks();
}

/* Blocks that @status says were changed are; those of a failed command are one or the other. */
static void expect_blocks(uint16_t status, uint64_t slba, uint8_t byte)
{
	fault_pause(true);
	ck_assert(holds(&host, 1, slba, byte) || (status && holds(&host, 1, slba, 0x10)));
	fault_pause(false);
}

static void io_faulty(void)
{
	struct exchange x;
	uint16_t status;

	memset(data, 0x20, 4096);
	status = do_io(&host, WRITE, 1, 0, 1);
	expect_blocks(status, 0, 0x20);
	status = do_io(&host, WRITE_ZEROES, 1, 1, 1);
	expect_blocks(status, 1, 0);
	x = io(COPY, 1, 3, 1);
	x.sqe.cdw12 = put32(0); /* one range: block 2 to block 3 */
	memset(data, 0, 32);
	data[8] = 2;
	status = run(host.io, &x);
	expect_blocks(status, 3, 0x10);
	memset(data, 0x10, 4096);
	status = do_io(&host, COMPARE, 1, 2, 1);
	ck_assert(status != (NVME_COMPARE_FAILURE | NVME_DNR));
	(void)do_io(&host, VERIFY, 1, 2, 4);
	(void)do_io(&host, FLUSH, 1, 0, 1);
	x = io(DSM, 1, 0, 1);
	x.sqe.cdw11 = put32(4); /* deallocate block 4 */
	memset(data, 0, 16);
	data[4] = 1;
	data[8] = 4;
	status = run(host.io, &x);
	expect_blocks(status, 4, 0);
}

static void on_too_late(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)t;
	(void)revents;
	ck_assert(!"the control thread sleeps, and a command is not answered");
}

static void respond_and_break(struct nvmf_req *req)
{
	respond(req);
	ev_break(reactors.r[0]->loop, EVBREAK_ALL);
}

static const struct nvmf_queue_ops breaking_ops = { respond_and_break, restage, disconnect,
						    abort_kept };

/* As in the daemon: the loop sleeps until there is something. */
static void sleeping_faulty(void)
{
	struct exchange x = io(READ, 1, 0, 1);
	ev_timer too_late;

	host.io->ops = &breaking_ops;
	hand_over(host.io, &x, start);
	ev_timer_init(&too_late, on_too_late, 5, 0);
	ev_now_update(reactors.r[0]->loop);
	ev_timer_start(reactors.r[0]->loop, &too_late);
	ev_run(reactors.r[0]->loop, 0);
	ck_assert(is_answered(&x));
	ev_timer_stop(reactors.r[0]->loop, &too_late);
	host.io->ops = &ops;
}

/* Compare block 5 and write it, as one. */
static void fused_faulty(void)
{
	struct exchange first = io(COMPARE, 1, 5, 1), second = io(WRITE, 1, 5, 1);
	uint16_t status;

	memset(data, 0x10, 4096);
	first.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_FIRST;
	second.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_SECOND;
	hand_over(host.io, &first, start);
	hand_over(host.io, &second, start);
	(void)await(&first);
	status = await(&second);
	expect_blocks(status, 5, 0x10);
}

static void io_verify(void)
{
	struct exchange x = io(COMPARE, 1, 6, 1);

	for (uint64_t slba = 0; slba < 8; slba++)
		put_block(&host, 1, slba, 0x30);
	memset(data, 0x30, 4096);
	ck_assert_uint_eq(run(host.io, &x), NVME_OK);
	drop_host(&host);
	expect_served(1);
}

/* ---- admin commands that change nothing --------------------------------------------------------
 */

static const struct {
	uint8_t opcode;
	uint32_t nsid, dw10;
} admin_rows[] = {
	{ 0x06, 1, 0x00 },
	{ 0x06, 0, 0x01 },
	{ 0x06, 0, 0x02 },
	{ 0x06, 1, 0x03 },
	{ 0x06, 1, 0x05 },
	{ 0x06, 0, 0x06 },
	{ 0x06, 0, 0x07 },
	{ 0x06, 1, 0x08 },
	{ 0x06, 0, 0x1c },
	{ 0x02, 0, 0x01 | 15 << 16 },
	{ 0x02, 0xffffffff, 0x02 | 127 << 16 },
	{ 0x02, 0, 0x03 | 127 << 16 },
	{ 0x02, 0xffffffff, 0x04 | 1023 << 16 },
	{ 0x02, 0, 0x05 | 1023 << 16 },
	{ 0x02, 0, 0x0c | 255 << 16 },
	{ 0x02, 0, 0x12 | 255 << 16 },
	{ 0x02, 0, 0x00 | 255 << 16 },
	{ 0x02, 0, 0x80 | 15 << 16 },
	{ 0x02, 0, 0x81 | 127 << 16 },
	{ 0x0a, 0, 0x04 },
	{ 0x0a, 0, 0x07 },
	{ 0x0a, 0, 0x0b },
	{ 0x0a, 0, 0x0f },
	{ 0x0a, 1, 0x82 },
	{ 0x0a, 1, 0x83 },
	{ 0x0a, 1, 0x84 },
	{ 0x08, 0, 0 },
	{ 0x18, 0, 0 },
};

static void admin_faulty(void)
{
	struct exchange aer = { .sqe = { .opcode = 0x0c } };

	hand_over(host.admin, &aer, start);
	for (size_t i = 0; i < NITEMS(admin_rows); i++) {
		struct exchange x = { .sqe = { .opcode = admin_rows[i].opcode,
					       .nsid = put32(admin_rows[i].nsid),
					       .cdw10 = put32(admin_rows[i].dw10) } };

		(void)run(host.admin, &x);
	}
	drop_host(&host);
	(void)await(&aer);
}

/* ---- what changes a namespace's state, and lasts ------------------------------------------------
 */

/* Reservations as a host reads them, and the features of the namespace. */
struct snapshot {
	uint8_t report[512];
	uint32_t feature[3];
};

static const struct step {
	struct host *host;
	bool admin;
	uint8_t opcode;
	uint32_t dw10, dw11;
	uint64_t key, key2;
} steps[] = {
	{ &host, false, 0x0d, 0, 0, 0, 0xa },            /* register */
	{ &other, false, 0x0d, 3u << 30, 0, 0, 0xb },    /* and persist */
	{ &host, false, 0x11, 1 << 8, 0, 0xa, 0 },       /* acquire: write exclusive */
	{ &host, true, 0x09, 0x82, 2, 0, 0 },            /* set the mask */
	{ &host, false, 0x15, 1 << 8, 0, 0xa, 0 },       /* release */
	{ &other, false, 0x11, 3 << 8, 0, 0xb, 0 },      /* acquire: registrants only */
	{ &host, false, 0x11, 1 | 4 << 8, 0, 0xa, 0xb }, /* preempt */
	{ &other, false, 0x0d, 0, 0, 0, 0xc },           /* register again */
	{ &host, false, 0x11, 2 | 5 << 8, 0, 0xa, 0xc }, /* preempt and abort */
	{ &host, false, 0x0d, 2, 0, 0xa, 0xd },          /* replace the key */
	{ &host, true, 0x09, 0x83, 0, 0, 0 },            /* persist no more */
	{ &host, true, 0x09, 0x83, 1, 0, 0 },            /* do */
	{ &host, false, 0x15, 1, 0, 0xd, 0 },            /* clear */
	{ &host, true, 0x09, 0x84, 1, 0, 0 },            /* write protect */
	{ &host, true, 0x09, 0x84, 0, 0, 0 },            /* and not */
	{ &host, true, 0x09, 0x84, 1, 0, 0 },            /* again: what is found after a restart */
	{ &other, false, 0x0d, 0, 0, 0, 0xe },           /* register */
};

static struct snapshot wanted[NITEMS(steps)];
static bool know_wanted;

static uint16_t run_step(const struct step *s)
{
	struct exchange x = { .sqe = { .opcode = s->opcode,
				       .nsid = put32(1),
				       .cdw10 = put32(s->dw10),
				       .cdw11 = put32(s->dw11) } };
	le64 keys[2] = { put64(s->key), put64(s->key2) };

	memcpy(data, keys, sizeof(keys));
	return run(s->admin ? s->host->admin : s->host->io, &x);
}

static struct snapshot take_snapshot(void)
{
	struct snapshot ret = { 0 };
	struct exchange x = { .sqe = { .opcode = 0x0e, .nsid = put32(1) } };

	x.sqe.cdw10 = put32(sizeof(ret.report) / 4 - 1);
	x.sqe.cdw11 = put32(1);
	ck_assert_uint_eq(run(host.io, &x), NVME_OK);
	memcpy(ret.report, data, sizeof(ret.report));
	for (uint32_t i = 0; i < 3; i++) {
		x = (struct exchange){ .sqe = { .opcode = 0x0a, .nsid = put32(1) } };
		x.sqe.cdw10 = put32(0x82 + i);
		ck_assert_uint_eq(run(host.admin, &x), NVME_OK);
		ret.feature[i] = get32(x.req.cqe.dw0);
	}
	return ret;
}

static bool same(const struct snapshot *a, const struct snapshot *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* As make_state_folder(), where a flush costs nothing. */
static void make_quick_folder(void)
{
	strcpy(state_folder, "/dev/shm/nvmf-p2pd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(state_folder));
	snprintf(state_dir, sizeof(state_dir), "%s/state", state_folder);
	conf.state_dir = state_dir;
}

static void state_prepare(void)
{
	make_quick_folder();
	setup();
	ck_assert_uint_eq(try_host(&host, 1), NVME_OK);
	ck_assert_uint_eq(try_host(&other, 2), NVME_OK);
	if (know_wanted)
		return;
	for (size_t i = 0; i < NITEMS(steps); i++) {
		ck_assert_uint_eq(run_step(&steps[i]), NVME_OK);
		wanted[i] = take_snapshot();
	}
	know_wanted = true;
	tear_down_hosts();
	state_prepare();
}

/* Not done: as before. Done, at once or asked again: as wanted. */
static void state_faulty(void)
{
	fault_pause(true);
	for (size_t i = 0; i < NITEMS(steps); i++) {
		struct snapshot before = take_snapshot(), after;
		uint16_t status;

		fault_pause(false);
		status = run_step(&steps[i]);
		fault_pause(true);
		after = take_snapshot();
		if (status) {
			ck_assert(same(&after, &before));
			ck_assert_uint_eq(run_step(&steps[i]), NVME_OK);
			after = take_snapshot();
		}
		ck_assert(same(&after, &wanted[i]));
	}
}

/* What persists is there after a restart: the registrant and the protection. */
static void state_verify(void)
{
	struct config_diag diag;
	struct snapshot now;

	drop_host(&host);
	drop_host(&other);
	target_destroy(target);
	ck_assert_int_eq(target_create(&conf, &reactors, &topo, &target, &diag), 0);
	ck_assert_uint_eq(try_host(&host, 1), NVME_OK);
	now = take_snapshot();
	ck_assert_uint_eq(now.report[5], 1);        /* REGCTL */
	ck_assert_uint_eq(now.report[9], 1);        /* PTPLS */
	ck_assert_uint_eq(now.report[64 + 8], 0xe); /* RKEY */
	ck_assert_uint_eq(now.feature[2], 1);
}

/* ---- a new configuration -----------------------------------------------------------------------
 */

static char second[] = "/var/tmp/nvmf-p2pd-test-XXXXXX";
static char conf_path[] = "/var/tmp/nvmf-p2pd-test-XXXXXX";
static int reload_result;

static void make_file(char *name, off_t len)
{
	int fd;

	strcpy(name + strlen(name) - 6, "XXXXXX");
	fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, len), 0);
	close(fd);
}

/* Namespace 1 becomes 2, on another device, and there is another subsystem. */
static void reload_prepare(void)
{
	FILE *f;

	set_up_host();
	make_file(second, FILE_LEN);
	make_file(conf_path, 0);
	f = fopen(conf_path, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f,
		"ports = ( { id = 1; address = \"10.0.0.1\"; } );\n"
		"subsystems = ( { nqn = \"" NQN
		"\"; allow_any_host = true; namespaces = ( { nsid = 2; device = \"%s\"; } ); },\n"
		"{ nqn = \"nqn.2026-11.org.example:second\"; allowed_hosts = ( \"" HOSTNQN "\" );"
		" namespaces = ( { nsid = 1; device = \"%s\"; } ); } );\n",
		path, second);
	fclose(f);
}

static struct config *current; /* NULL: conf, which is nobody's */

/* As the daemon does it. */
static int reload(void)
{
	struct config_diag diag = { 0 };
	struct target_plan *plan;
	struct config *c;
	int err = config_load(conf_path, &c, &diag);

	ck_assert(err == 0 || diag.what[0]);
	if (err)
		return err;
	err = target_prepare(target, c, &plan, &diag);
	if (err) {
		config_free(c);
		return err;
	}
	target_commit(plan);
	target_retire_conf(target, current ? current : &conf);
	current = c;
	return 0;
}

static void reload_faulty(void)
{
	reload_result = reload();
}

static void reload_verify(void)
{
	uint16_t gone = NVME_INVALID_NS | NVME_DNR;
	bool old = reload_result != 0;

	look_at_devices();
	/* without memory for a moment, hosts learn of it a little later */
	for (int ms = 0; !old && ms < 5000 && do_io(&host, READ, 1, 0, 1) == NVME_OK; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	ck_assert_uint_eq(do_io(&host, READ, 1, 0, 1), old ? NVME_OK : gone);
	ck_assert_uint_eq(do_io(&host, READ, 2, 0, 1), old ? gone : NVME_OK);
	ck_assert(!subsystem_find(target, "nqn.2026-11.org.example:second") == old);
	ck_assert_int_eq(reload(), 0);
	ck_assert_uint_eq(do_io(&host, READ, 1, 0, 1), gone);
	ck_assert_uint_eq(do_io(&host, READ, 2, 0, 1), NVME_OK);
	for (int ms = 0; target->nretiring && ms < 1000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	ck_assert_uint_eq(target->nretiring, 0);
	drop_host(&host);
	expect_served(2);
}

static void reload_finish(void)
{
	tear_down_hosts();
	config_free(current);
	current = NULL;
	unlink(second);
	unlink(conf_path);
}

/* ---- a device of another size ------------------------------------------------------------------
 */

static struct exchange size_aer;

static void resize_prepare(void)
{
	struct exchange x = { .sqe = { .opcode = 0x09 } };

	set_up_host();
	x.sqe.cdw10 = put32(0x0b);
	x.sqe.cdw11 = put32(1 << 8);
	ck_assert_uint_eq(run(host.admin, &x), NVME_OK);
	size_aer = (struct exchange){ .sqe = { .opcode = 0x0c } };
	hand_over(host.admin, &size_aer, start);
	ck_assert_int_eq(truncate(path, 2 * FILE_LEN), 0);
}

static void resize_faulty(void)
{
	target_check_sizes(target);
}

/* Hosts hear of it, at once or a little later; what could not be looked at is looked at again. */
static void resize_verify(void)
{
	target_check_sizes(target);
	ck_assert_uint_eq(await(&size_aer), NVME_OK);
	ck_assert_uint_eq(do_io(&host, READ, 1, 2 * NBLOCKS - 1, 1), NVME_OK);
}

/* ---- the control socket ------------------------------------------------------------------------
 */

static struct config plain_conf;

static void control_prepare(void)
{
	plain_conf = conf;
	control_setup();
	control_destroy(control);
}

static char answer[65536]; /* what came last, or the beginning of it */

/* Whatever comes until it hangs up, or nothing does any more. */
static size_t ask_once(const char *request)
{
	static char more[sizeof(answer)];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t n = 0;
	int fd;

	fault_pause(true);
	memset(answer, 0, sizeof(answer));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	strcpy(address.sun_path, socket_path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		ck_assert_int_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
		shutdown(fd, SHUT_WR);
	} /* else those before us are still in the way */
	for (int quiet = 0; quiet < 3;) {
		ssize_t got;

		fault_pause(false);
		turn();
		fault_pause(true);
		got = recv(fd, n == 0 ? answer : more, sizeof(more) - 1, 0);
		if (got == 0)
			break;
		n += got > 0 ? (size_t)got : 0;
		quiet = got > 0 ? 0 : quiet + 1;
	}
	close(fd);
	fault_pause(false);
	return n;
}

#define VERB(name) "{\"command\":\"" name "\"}\n"
#define ANA_IS(state)                                                                              \
	"{\"command\":\"ana\",\"subsystem\":\"" NQN "\",\"port\":1,\"group\":3,\"state\":\"" state \
	"\"}\n"

/* What the answer says is so: the state is as wanted, and the hosts know, or will. Where the port
 * is drained still, because "undrain" failed, it can be seen only when it is not any more. */
static void expect_ana(enum config_ana asked)
{
	bool done = strstr(answer, "\"ok\":true"), late = strstr(answer, "EINPROGRESS");
	const struct subsystem *s = subsystem_find(target, NQN);
	enum config_ana state = ana_state(s, 1, 3);
	const struct ana_port *port;

	LIST_FOREACH (port, &s->ana, entry)
		if (port->port_id == 1 && port->drained)
			state = port->group[3].state;

	ck_assert(!(done || late) || state == asked);
	ck_assert(!done || !target_remap_is_late(target));
	if (late)
		ck_assert(strstr(answer, "there was no memory to tell all hosts"));
}

static void control_faulty(void)
{
	static const char *const requests[] = {
		VERB("help"),           VERB("status"),      VERB("subsystems"),
		VERB("namespaces"),     VERB("hosts"),       VERB("ports"),
		VERB("controllers"),    VERB("queues"),      VERB("p2p"),
		VERB("config"),         VERB("drain"),       VERB("undrain"),
		ANA_IS("inaccessible"), ANA_IS("optimized"), VERB("ana"),
		VERB("halt"),
	};
	struct config_diag diag = { 0 };

	control = NULL;
	if (control_create(socket_path, NULL, loop(), &d, &control, &diag)) {
		ck_assert(diag.what[0]);
		return;
	}
	for (size_t i = 0; i < NITEMS(requests); i++) {
		(void)ask_once(requests[i]);
		if (strcmp(requests[i], ANA_IS("inaccessible")) == 0)
			expect_ana(CONFIG_ANA_INACCESSIBLE);
		else if (strcmp(requests[i], ANA_IS("optimized")) == 0)
			expect_ana(CONFIG_ANA_OPTIMIZED);
	}
}

static void control_verify(void)
{
	if (!control)
		open_control(NULL);
	/* without descriptors it pauses for a second */
	for (int ms = 0; ms < 10000 && ask_once(VERB("help")) < 10; ms += 10)
		usleep(10000);
	ck_assert(strstr(ask(VERB("undrain")), "true"));
	ck_assert(strstr(ask(ANA_IS("optimized")), "true"));
	expect_served(1);
}

static void control_finish(void)
{
	control_teardown();
	conf = plain_conf;
	namespaces[0].ana_group = 1;
}

/* ---- configuration files -----------------------------------------------------------------------
 */

static void config_faulty(void)
{
	struct config_diag diag = { 0 };
	struct config *c;
	char *text;
	size_t len;
	FILE *f;

	if (config_load("config/example.conf", &c, &diag)) {
		ck_assert(diag.what[0]);
		return;
	}
	fault_pause(true);
	f = open_memstream(&text, &len);
	fault_pause(false);
	config_print(c, f, true);
	fclose(f);
	free(text);
	config_free(c);
}

static void nothing_to_do(void)
{
}

/* ---- the table ---------------------------------------------------------------------------------
 */

static const struct scenario {
	const char *name;
	void (*prepare)(void), (*faulty)(void), (*verify)(void), (*finish)(void);
} scenarios[] = {
	{ "start", start_prepare, start_faulty, start_verify, start_finish },
	{ "connect", setup, connect_faulty, connect_verify, teardown },
	{ "connect in threads", setup_threads, connect_faulty, connect_verify, teardown },
	{ "discovery", setup, connect_discovery_faulty, connect_verify, teardown },
	{ "io in threads", io_threads_prepare, io_faulty, io_verify, tear_down_hosts },
	{ "io", io_prepare, io_faulty, io_verify, tear_down_hosts },
	{ "io, sleeping", io_prepare, sleeping_faulty, io_verify, tear_down_hosts },
	{ "fused", io_prepare, fused_faulty, io_verify, tear_down_hosts },
	{ "admin", set_up_host, admin_faulty, connect_verify, tear_down_hosts },
	{ "state", state_prepare, state_faulty, state_verify, tear_down_hosts },
	{ "reload", reload_prepare, reload_faulty, reload_verify, reload_finish },
	{ "resize", resize_prepare, resize_faulty, resize_verify, tear_down_hosts },
	{ "control", control_prepare, control_faulty, control_verify, control_finish },
	{ "auth", nothing_to_do, auth_faulty, auth_verify, nothing_to_do },
	{ "config", nothing_to_do, config_faulty, nothing_to_do, nothing_to_do },
	{ "p2p", p2p_prepare, p2p_faulty, p2p_verify, p2p_finish },
	{ "p2p, scattered pages", scattered_prepare, scattered_faulty, scattered_verify,
	  p2p_finish },
	{ "p2p, a reactor's", p2p_prepare, follow_faulty, follow_verify, p2p_finish },
	{ "device comes", comes_prepare, comes_faulty, block_verify, block_finish },
	{ "device lost", lost_prepare, lost_faulty, block_verify, block_finish },
	{ "passthru, start", passthru_start_prepare, passthru_start_faulty, passthru_start_verify,
	  passthru_finish },
	{ "passthru", passthru_prepare, passthru_faulty, passthru_verify, passthru_finish },
	{ "metrics", metrics_prepare, metrics_faulty, metrics_verify, metrics_finish },
	{ "topology", topology_prepare, topology_faulty, topology_verify, nothing_to_do },
	{ "journal", journal_prepare, journal_faulty, journal_verify, journal_finish },
	{ "hotplug", nothing_to_do, hotplug_faulty, hotplug_verify, nothing_to_do },
};

/* Return: did the call @at come? */
static bool run_once(const struct scenario *s, uint64_t at, uint64_t in_a_row)
{
	unsigned int before = open_descriptors();
	uint64_t n;

	scenario_at = at;
	scenario_n = in_a_row;
	s->prepare();
	fault_arm(at, in_a_row);
	s->faulty();
	n = fault_disarm();
	s->verify();
	s->finish();
	ck_assert_uint_eq(open_descriptors(), before);
	ck_assert_int_eq(__lsan_do_recoverable_leak_check(), 0);
	return n >= at;
}

static void run_scenario(const struct scenario *s)
{
	/* each 11th call of the one that has most, if time is short */
	uint64_t at = 0, step = getenv("FAULT_SHORT") && strcmp(s->name, "control") == 0 ? 11 : 1;

	scenario_name = s->name;
	(void)run_once(s, UINT64_MAX, 1); /* what libraries make once and keep */
	for (uint64_t in_a_row = 1; in_a_row <= IN_A_ROW; in_a_row += IN_A_ROW - 1)
		for (at = 1; run_once(s, at, in_a_row); at += step)
			ck_assert(at < CALLS_MAX);
	printf("ok  %-20s %5llu calls failed, each alone and with the next %d\n", s->name,
	       (unsigned long long)((at - 1) / step), IN_A_ROW - 1);
	fflush(stdout);
}

static uint64_t number(const char *text)
{
	return text ? strtoull(text, NULL, 10) : 1;
}

int main(int argc, char **argv)
{
	unsigned int n = 0;

	signal(SIGABRT, on_death);
	signal(SIGSEGV, on_death);
	signal(SIGPIPE, SIG_IGN);
	subsystems[0].allow_any_host = true;
	namespaces[0].where.file = "here";
	for (size_t i = 0; i < NITEMS(scenarios); i++) {
		if (argc > 1 && strcmp(argv[1], scenarios[i].name) != 0)
			continue;
		scenario_name = scenarios[i].name;
		if (argc > 2)
			(void)run_once(&scenarios[i], number(argv[2]), number(argv[3]));
		else
			run_scenario(&scenarios[i]);
		n++;
	}
	if (n == 0)
		fprintf(stderr, "test_faults: no scenario %s\n", argv[1]);
	return n == 0;
}
