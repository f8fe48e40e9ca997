/* Reservations through the dispatch: two hosts, each with a controller and an I/O queue, in threads
 * of their own or in one. */
#include "target/durable.h"
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#define CONFL    (NVME_RESERVATION_CONFLICT | NVME_DNR)
#define BADFIELD (NVME_INVALID_FIELD | NVME_DNR)

/* ---- hosts --------------------------------------------------------------------------------------
 */

struct host {
	struct nvmf_queue *admin, *io;
	uint8_t id[16];
};

static struct host a, b, c;

static struct nvmf_queue *open_as(uint16_t qid, uint16_t *cntlid, const uint8_t id[16])
{
	struct nvmf_queue *q = open_queue(qid);
	struct exchange x = connect_command(qid, qid ? *cntlid : 0xffff);

	memcpy(((struct nvmf_connect_data *)data)->hostid, id, 16);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	if (!qid) {
		*cntlid = (uint16_t)get32(x.req.cqe.dw0);
		ck_assert_uint_eq(set_cc(q, CC_ENABLE), NVME_OK);
	}
	return q;
}

static struct host open_host(uint8_t number, uint16_t qid)
{
	struct host h = { .id = { number } };
	uint16_t cntlid;

	h.admin = open_as(0, &cntlid, h.id);
	h.io = open_as(qid, &cntlid, h.id);
	return h;
}

static void drop_host(struct host *h)
{
	if (!h->io)
		return;
	drop_queue(h->io);
	drop_queue(h->admin);
	*h = (struct host){ 0 };
}

static void start_target(unsigned int nreactors)
{
	make_state_folder();
	setup_with(nreactors);
	a = open_host(0xa, 1);
	b = open_host(0xb, 2);
	c = open_host(0xc, 1);
}

static void start_one(void)
{
	start_target(1);
}

static void start_three(void)
{
	start_target(3);
}

static void stop(void)
{
	drop_host(&a);
	drop_host(&b);
	drop_host(&c);
	teardown();
}

/* ---- commands -----------------------------------------------------------------------------------
 */

static struct exchange resv(uint8_t opcode, uint32_t dw10, uint64_t key, uint64_t key2)
{
	struct exchange x = { .sqe = { .opcode = opcode, .nsid = put32(1), .cdw10 = put32(dw10) } };
	le64 keys[2] = { put64(key), put64(key2) };

	memcpy(data, keys, sizeof(keys));
	return x;
}

static uint16_t do_register(struct host *h, uint32_t dw10, uint64_t crkey, uint64_t nrkey)
{
	struct exchange x = resv(0x0d, dw10, crkey, nrkey);

	return run(h->io, &x);
}

static uint16_t do_acquire(struct host *h, uint32_t action, uint32_t type, uint64_t crkey,
			   uint64_t prkey)
{
	struct exchange x = resv(0x11, action | type << 8, crkey, prkey);

	return run(h->io, &x);
}

static uint16_t do_release(struct host *h, uint32_t action, uint32_t type, uint64_t crkey)
{
	struct exchange x = resv(0x15, action | type << 8, crkey, 0);

	return run(h->io, &x);
}

static struct exchange io(uint8_t opcode)
{
	return (struct exchange){ .sqe = { .opcode = opcode, .nsid = put32(1) } };
}

static uint16_t do_io(struct host *h, uint8_t opcode)
{
	struct exchange x = io(opcode);

	return run(h->io, &x);
}

/* The report's header is in data afterwards, and the registrants behind it. */
static void report(struct host *h)
{
	struct exchange x = resv(0x0e, 1023, 0, 0);

	x.sqe.cdw11 = put32(1);
	ck_assert_uint_eq(run(h->io, &x), NVME_OK);
}

static uint16_t feature(struct host *h, uint8_t opcode, uint32_t fid, uint32_t nsid, uint32_t dw11,
			uint32_t *ret)
{
	struct exchange x = { .sqe = { .opcode = opcode,
				       .nsid = put32(nsid),
				       .cdw10 = put32(fid),
				       .cdw11 = put32(dw11) } };
	uint16_t status = run(h->admin, &x);

	if (ret)
		*ret = get32(x.req.cqe.dw0);
	return status;
}

static struct nvme_resv_notification_log *read_log(struct host *h)
{
	struct exchange x = { .sqe = { .opcode = 0x02, .cdw10 = put32(0x80 | 15 << 16) } };

	memset(data, 0xff, 64);
	ck_assert_uint_eq(run(h->admin, &x), NVME_OK);
	return (void *)data;
}

static void expect_log(struct host *h, uint64_t count, uint8_t type, uint8_t more)
{
	const struct nvme_resv_notification_log *log = read_log(h);

	ck_assert_uint_eq(le64toh(log->lpc), count);
	ck_assert_uint_eq(log->rnlpt, type);
	ck_assert_uint_eq(log->nalp, more);
	ck_assert_uint_eq(le32toh(log->nsid), count ? 1 : 0);
}

static void spin(const struct exchange *x)
{
	for (int ms = 0; !is_answered(x) && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		if (!is_answered(x))
			usleep(1000);
	}
	ck_assert(is_answered(x));
}

/* Long enough for what is under way to go as far as it can. */
static void settle(void)
{
	for (int i = 0; i < 20; i++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		for (unsigned int r = 0; r < reactors.n; r++)
			reactor_call(reactors.r[r], nothing, NULL);
		worker_flush(target->worker); /* which writes files */
	}
}

static void begin(struct host *h, struct exchange *x)
{
	x->req.queue = h->io;
	x->req.sqe = &x->sqe;
	x->answered = false;
	x->sqe.flags = SQE_PSDT_SGL;
	reactor_call(h->io->reactor, start, x);
}

/* A command that was received, and whose data is still on its way. */
static void check_only(void *arg)
{
	struct exchange *x = arg;

	ck_assert_uint_eq(nvmf_req_check(&x->req), NVME_OK);
	x->req.data = data;
	x->req.place = STAGE_HOST_NO_CMB;
}

static void receive(struct host *h, struct exchange *x)
{
	x->req.queue = h->io;
	x->req.sqe = &x->sqe;
	x->answered = false;
	x->sqe.flags = SQE_PSDT_SGL;
	reactor_call(h->io->reactor, check_only, x);
}

static void execute(void *arg)
{
	nvmf_req_execute(&((struct exchange *)arg)->req);
}

static void data_arrives(struct exchange *x)
{
	reactor_call(x->req.queue->reactor, execute, x);
}

/* ---- what is announced --------------------------------------------------------------------------
 */

START_TEST(identify_announces_reservations)
{
	struct exchange x = { .sqe = { .opcode = 0x06, .cdw10 = put32(1) } };
	const struct nvme_id_ctrl *ctrl = (void *)data;

	ck_assert_uint_eq(run(a.admin, &x), NVME_OK);
	ck_assert_uint_ne(le16toh(ctrl->oncs) & NVME_CTRL_ONCS_RESERVATIONS, 0);
	ck_assert_uint_ne(le32toh(ctrl->ctratt) & 1u << 18, 0);
	x.sqe.nsid = put32(1);
	x.sqe.cdw10 = put32(0);
	ck_assert_uint_eq(run(a.admin, &x), NVME_OK);
	ck_assert_uint_eq(((struct nvme_id_ns *)data)->rescap, 0xff);
	x.sqe.cdw10 = put32(8);
	ck_assert_uint_eq(run(a.admin, &x), NVME_OK);
	ck_assert_uint_eq(((struct nvme_id_independent_id_ns *)data)->rescap, 0xff);
}
END_TEST

/* ---- Report -------------------------------------------------------------------------------------
 */

START_TEST(report_has_the_length_that_was_asked_for)
{
	static const struct {
		uint32_t dw10, dw11;
		uint16_t status;
	} cases[] = {
		{ 15, 0, NVME_HOST_ID_INCONSISTENT_FORMAT | NVME_DNR },
		{ 0, 1, NVME_OK },
		{ 15, 1, NVME_OK },
		{ 20, 1, NVME_OK },
		{ 131072 / 4 - 1, 1, NVME_OK },
		{ 131072 / 4, 1, BADFIELD },
		{ 0xffffffff, 1, BADFIELD },
	};

	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct exchange x = resv(0x0e, cases[i].dw10, 0, 0);
		uint8_t want[128] = { 1, [5] = 1, [64] = 0xff, 0xff, [72] = 5, [80] = 0xa };
		size_t len = ((size_t)cases[i].dw10 + 1) * 4;

		memset(data, 0xee, 131072);
		x.sqe.cdw11 = put32(cases[i].dw11);
		ck_assert_uint_eq(run(a.io, &x), cases[i].status);
		if (cases[i].status)
			continue;
		ck_assert_mem_eq(data, want, len < sizeof(want) ? len : sizeof(want));
		for (size_t at = sizeof(want); at < len; at++)
			ck_assert_uint_eq(data[at], 0);
		if (len < 131072)
			ck_assert_uint_eq(data[len], 0xee);
	}
}
END_TEST

/* ---- who may reserve ----------------------------------------------------------------------------
 */

START_TEST(a_host_without_an_identifier_cannot_reserve)
{
	uint16_t status = NVME_HOST_ID_NOT_INITIALIZED | NVME_DNR;
	struct host zero = open_host(0, 1);

	ck_assert_uint_eq(do_register(&zero, 0, 0, 5), status);
	ck_assert_uint_eq(do_acquire(&zero, 0, 1, 5, 0), status);
	ck_assert_uint_eq(do_release(&zero, 0, 1, 5), status);
	report(&zero);
	ck_assert_uint_eq(data[5], 0);
	/* it is a stranger to every reservation */
	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_acquire(&a, 0, 6, 5, 0), NVME_OK);
	ck_assert_uint_eq(do_io(&zero, 0x02), CONFL);
	drop_host(&zero);
}
END_TEST

START_TEST(a_host_is_one_through_all_its_controllers)
{
	struct host again = open_host(0xa, 2);

	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_acquire(&again, 0, 2, 5, 0), NVME_OK);
	ck_assert_uint_eq(do_io(&a, 0x01), NVME_OK);
	ck_assert_uint_eq(do_io(&again, 0x01), NVME_OK);
	ck_assert_uint_eq(do_io(&b, 0x01), CONFL);
	drop_host(&again);
	/* and stays so without any */
	drop_host(&a);
	ck_assert_uint_eq(do_io(&b, 0x01), CONFL);
	a = open_host(0xa, 1);
	ck_assert_uint_eq(do_io(&a, 0x01), NVME_OK);
}
END_TEST

/* Base 2.1, 8.1.22: the groups of commands, and all others. */
static const uint8_t reads[] = { 0x02, 0x05, 0x0c }, writes[] = { 0x00, 0x01, 0x08, 0x09, 0x19 };

static bool is_in(uint8_t opcode, const uint8_t *list, size_t n)
{
	return memchr(list, opcode, n);
}

START_TEST(every_opcode_conflicts_or_not)
{
	uint32_t type = (uint32_t)_i;
	bool exclusive = type % 2 == 0;

	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_register(&c, 0, 0, 6), NVME_OK);
	ck_assert_uint_eq(do_acquire(&a, 0, type, 5, 0), NVME_OK);
	for (unsigned int op = 0; op < 256; op++) {
		uint8_t opcode = (uint8_t)op;
		bool conflicts = is_in(opcode, writes, sizeof(writes)) ||
				 (exclusive && is_in(opcode, reads, sizeof(reads)));

		memset(data, 0, 4096);
		ck_assert_int_eq(do_io(&b, opcode) == CONFL && op != 0x0d && op != 0x11 &&
					 op != 0x15,
				 conflicts);
		ck_assert(do_io(&a, 0x01) != CONFL);
		/* another registrant */
		if (is_in(opcode, writes, sizeof(writes)) || is_in(opcode, reads, sizeof(reads)))
			ck_assert_int_eq(do_io(&c, opcode) == CONFL, conflicts && type < 3);
	}
	ck_assert_uint_eq(do_release(&a, 0, type, 5), NVME_OK);
	ck_assert_uint_eq(do_io(&b, 0x01), NVME_OK);
}
END_TEST

START_TEST(a_fused_pair_meets_the_reservation)
{
	struct exchange first = io(0x05), second = io(0x01);

	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_acquire(&a, 0, 1, 5, 0), NVME_OK);
	first.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_FIRST;
	second.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_SECOND;
	first.req.queue = second.req.queue = b.io;
	first.req.sqe = &first.sqe;
	second.req.sqe = &second.sqe;
	reactor_call(b.io->reactor, start, &first);
	reactor_call(b.io->reactor, start, &second);
	spin(&first);
	spin(&second);
	ck_assert_uint_eq(get16(first.req.cqe.status) >> 1, NVME_ABORTED_FAILED_FUSED);
	ck_assert_uint_eq(get16(second.req.cqe.status) >> 1, CONFL);
}
END_TEST

/* ---- notifications ------------------------------------------------------------------------------
 */

START_TEST(hosts_hear_what_happened)
{
	struct exchange aer = { .sqe = { .opcode = 0x0c, .flags = SQE_PSDT_SGL } };

	aer.req.queue = a.admin;
	aer.req.sqe = &aer.sqe;
	reactor_call(a.admin->reactor, start, &aer);
	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_register(&b, 0, 0, 6), NVME_OK);
	ck_assert_uint_eq(do_register(&c, 0, 0, 7), NVME_OK);
	ck_assert_uint_eq(do_acquire(&a, 0, 3, 5, 0), NVME_OK);
	ck_assert(!is_answered(&aer));
	ck_assert_uint_eq(do_acquire(&b, 1, 4, 6, 5), NVME_OK); /* preempt, another type */
	spin(&aer);
	ck_assert_uint_eq(get32(aer.req.cqe.dw0), 0x800006);
	expect_log(&a, 1, 1, 0); /* registration preempted */
	expect_log(&a, 0, 0, 0);
	expect_log(&b, 0, 0, 0);
	expect_log(&c, 1, 2, 0); /* reservation released */
	ck_assert_uint_eq(do_release(&b, 0, 4, 6), NVME_OK);
	ck_assert_uint_eq(do_release(&b, 1, 0, 6), NVME_OK);
	expect_log(&c, 2, 2, 1);
	expect_log(&c, 3, 3, 0); /* reservation preempted, by Clear */
	expect_log(&a, 0, 0, 0);
	/* a reset forgets */
	ck_assert_uint_eq(do_register(&b, 0, 0, 6), NVME_OK);
	ck_assert_uint_eq(do_register(&c, 0, 0, 7), NVME_OK);
	ck_assert_uint_eq(do_release(&b, 1, 0, 6), NVME_OK);
	ck_assert_uint_eq(set_cc(c.admin, 0), NVME_OK);
	drop_queue(c.io);
	ck_assert_uint_eq(set_cc(c.admin, CC_ENABLE), NVME_OK);
	uint16_t cntlid = c.admin->ctrl->cntlid;
	c.io = open_as(1, &cntlid, c.id);
	expect_log(&c, 0, 0, 0);
}
END_TEST

START_TEST(notifications_that_are_lost_leave_a_gap)
{
	for (int i = 0; i < RESV_LOG_MAX + 3; i++) {
		ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
		ck_assert_uint_eq(do_register(&b, 0, 0, 6), NVME_OK);
		ck_assert_uint_eq(do_release(&a, 1, 0, 5), NVME_OK);
	}
	for (int i = 0; i < RESV_LOG_MAX; i++)
		expect_log(&b, (uint64_t)i + 4, 3, (uint8_t)(RESV_LOG_MAX - 1 - i));
	expect_log(&b, 0, 0, 0);
}
END_TEST

START_TEST(notifications_are_masked_by_type)
{
	for (uint32_t mask = 0; mask < 16; mask += 2) {
		bool preempted = !(mask & 2), released = !(mask & 4), cleared = !(mask & 8);
		uint64_t count = 0;

		ck_assert_uint_eq(set_cc(b.admin, 0), NVME_OK); /* counts from 1 */
		drop_queue(b.io);
		ck_assert_uint_eq(set_cc(b.admin, CC_ENABLE), NVME_OK);
		uint16_t cntlid = b.admin->ctrl->cntlid;
		b.io = open_as(2, &cntlid, b.id);
		ck_assert_uint_eq(feature(&a, 0x09, 0x82, 1, mask, NULL), NVME_OK);
		do_register(&a, 0, 0, 5);
		do_register(&b, 0, 0, 6);
		do_acquire(&a, 0, 3, 5, 0);
		do_release(&a, 0, 3, 5);
		do_acquire(&a, 1, 1, 5, 6);
		do_register(&b, 0, 0, 6);
		ck_assert_uint_eq(do_release(&a, 1, 0, 5), NVME_OK);
		if (released)
			expect_log(&b, ++count, 2, preempted + cleared);
		if (preempted)
			expect_log(&b, ++count, 1, cleared);
		if (cleared)
			expect_log(&b, ++count, 3, 0);
		expect_log(&b, 0, 0, 0);
	}
}
END_TEST

/* ---- features -----------------------------------------------------------------------------------
 */

START_TEST(features_are_of_a_namespace)
{
	static const struct {
		uint32_t fid, nsid, dw11;
		uint16_t set, get;
		uint32_t value;
	} cases[] = {
		{ 0x82, 1, 0, NVME_OK, NVME_OK, 0 },
		{ 0x82, 1, 0xe, NVME_OK, NVME_OK, 0xe },
		{ 0x82, 1, 1, BADFIELD, NVME_OK, 0xe },
		{ 0x82, 1, 0x10, BADFIELD, NVME_OK, 0xe },
		{ 0x82, 0, 2, BADFIELD, BADFIELD, 0 },
		{ 0x82, 2, 2, BADFIELD, BADFIELD, 0 },
		{ 0x82, NVME_NSID_ALL, 2, NVME_OK, BADFIELD, 0 },
		{ 0x82, 1, 2, NVME_OK, NVME_OK, 2 },
		{ 0x83, 1, 0, NVME_OK, NVME_OK, 0 },
		{ 0x83, 1, 1, NVME_OK, NVME_OK, 1 },
		{ 0x83, 2, 1, BADFIELD, BADFIELD, 0 },
		{ 0x83, NVME_NSID_ALL, 0, NVME_OK, BADFIELD, 0 },
		{ 0x83, 1, 1, NVME_OK, NVME_OK, 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t value;

		ck_assert_uint_eq(feature(&a, 0x09, cases[i].fid, cases[i].nsid, cases[i].dw11,
					  NULL),
				  cases[i].set);
		ck_assert_uint_eq(feature(&b, 0x0a, cases[i].fid, cases[i].nsid, 0, &value),
				  cases[i].get);
		ck_assert_uint_eq(value, cases[i].value);
		/* all namespaces were meant */
		if (cases[i].nsid == NVME_NSID_ALL && !cases[i].set) {
			ck_assert_uint_eq(feature(&b, 0x0a, cases[i].fid, 1, 0, &value), NVME_OK);
			ck_assert_uint_eq(value, cases[i].dw11);
		}
	}
	report(&a);
	ck_assert_uint_eq(data[9], 1);
}
END_TEST

/* ---- persistence --------------------------------------------------------------------------------
 */

static void restart(void)
{
	struct config_diag diag;

	drop_host(&a);
	drop_host(&b);
	drop_host(&c);
	target_destroy(target);
	ck_assert_msg(target_create(&conf, &reactors, &topo, &target, &diag) == 0, "%s", diag.what);
	a = open_host(0xa, 1);
	b = open_host(0xb, 2);
}

/* The machine was without power. */
static void boot(void)
{
	static char file[96];
	FILE *f;

	snprintf(file, sizeof(file), "%s/boot_id", state_folder);
	f = fopen(file, "w");
	ck_assert_ptr_nonnull(f);
	fprintf(f, "%08lx-0000-4000-8000-000000000000\n", random());
	fclose(f);
	durable_boot_file = file;
	restart();
}

START_TEST(reservations_persist_if_they_shall)
{
	bool set_by_feature = _i & 1, on = _i & 2;

	ck_assert_uint_eq(do_register(&a,
				      set_by_feature ? 0
				      : on           ? 3u << 30
						     : 2u << 30,
				      0, 5),
			  NVME_OK);
	ck_assert_uint_eq(do_acquire(&a, 0, 1, 5, 0), NVME_OK);
	if (set_by_feature)
		ck_assert_uint_eq(feature(&b, 0x09, 0x83, 1, on, NULL), NVME_OK);
	restart(); /* is no power loss */
	report(&b);
	ck_assert_uint_eq(data[9], on);
	ck_assert_uint_eq(data[5], 1);
	ck_assert_uint_eq(data[4], 1);
	ck_assert_uint_eq(do_io(&b, 0x01), CONFL);
	boot();
	report(&b);
	ck_assert_uint_eq(data[9], on);
	ck_assert_uint_eq(data[5], on);
	ck_assert_uint_eq(data[4], on);
	ck_assert_uint_eq(do_io(&b, 0x01), on ? CONFL : NVME_OK);
	ck_assert_uint_eq(do_io(&a, 0x01), NVME_OK);
	if (!on)
		return;
	/* what it is at last, not what it was */
	ck_assert_uint_eq(do_acquire(&a, 1, 5, 5, 5), NVME_OK);
	restart();
	report(&b);
	ck_assert_uint_eq(data[4], 5);
	/* switched off: no more */
	ck_assert_uint_eq(feature(&b, 0x09, 0x83, 1, 0, NULL), NVME_OK);
	ck_assert_uint_eq(do_io(&b, 0x01), CONFL);
	boot();
	ck_assert_uint_eq(do_io(&b, 0x01), NVME_OK);
}
END_TEST

/* Without a folder to write in, nothing is promised that cannot be kept. */
START_TEST(what_cannot_be_saved_is_refused)
{
	ck_assert_uint_eq(do_register(&a, 3u << 30, 0, 5), NVME_OK);
	char command[128];

	settle();
	snprintf(command, sizeof(command), "rm -r %s", state_folder);
	ck_assert_int_eq(system(command), 0);
	log_init((enum log_level) - 1);
	ck_assert_uint_eq(do_acquire(&a, 0, 1, 5, 0), NVME_INTERNAL_ERROR);
	ck_assert_uint_eq(do_io(&b, 0x01), NVME_OK);
	report(&a);
	ck_assert_uint_eq(data[4], 0);
	/* it can give up persistence, and then go on */
	ck_assert_uint_eq(do_register(&a, 2u << 30, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_acquire(&a, 0, 1, 5, 0), NVME_OK);
	ck_assert_uint_eq(do_io(&b, 0x01), CONFL);
	ck_assert_uint_eq(feature(&a, 0x09, 0x83, 1, 1, NULL), NVME_INTERNAL_ERROR);
}
END_TEST

START_TEST(a_damaged_file_keeps_the_target_from_starting)
{
	struct config_diag diag = { 0 };
	struct target *none = NULL;
	char command[256];

	ck_assert_uint_eq(do_register(&a, 3u << 30, 0, 5), NVME_OK);
	snprintf(command, sizeof(command),
		 "printf x | dd of=$(ls %s/reservations-*) bs=1 seek=40 conv=notrunc 2>/dev/null",
		 state_dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(target_create(&conf, &reactors, &topo, &none, &diag), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(diag.file, state_dir));
	ck_assert_ptr_nonnull(strstr(diag.what, "namespace 1 of " NQN));
	ck_assert_ptr_nonnull(strstr(diag.what, "it is damaged"));
	ck_assert_ptr_nonnull(strstr(diag.fix, "remove it"));
}
END_TEST

/* Both come while nothing is on the disk yet. */
START_TEST(commands_of_several_hosts_are_served_one_by_one)
{
	struct exchange x[2] = { resv(0x0d, 3u << 30, 0, 5), resv(0x0d, 3u << 30, 0, 5) };

	begin(&a, &x[0]);
	begin(&b, &x[1]);
	spin(&x[0]);
	spin(&x[1]);
	ck_assert_uint_eq(get16(x[0].req.cqe.status) >> 1, NVME_OK);
	ck_assert_uint_eq(get16(x[1].req.cqe.status) >> 1, NVME_OK);
	report(&a);
	ck_assert_uint_eq(data[0], 2); /* generation */
	ck_assert_uint_eq(data[5], 2);
	restart();
	report(&a);
	ck_assert_uint_eq(data[5], 2);
}
END_TEST

/* ---- preempt and abort --------------------------------------------------------------------------
 */

START_TEST(preempt_and_abort_waits_for_what_is_in_flight)
{
	struct exchange write = io(0x01), other = io(0x02), abort;

	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_register(&b, 0, 0, 6), NVME_OK);
	ck_assert_uint_eq(do_acquire(&b, 0, 1, 6, 0), NVME_OK);
	receive(&b, &write);
	abort = resv(0x11, 2 | 1 << 8, 5, 6);
	begin(&a, &abort);
	settle();
	ck_assert(!is_answered(&abort));
	/* it is in force already, and who comes now is not waited for */
	ck_assert_uint_eq(do_io(&b, 0x01), CONFL);
	receive(&a, &other);
	data_arrives(&write);
	spin(&write);
	spin(&abort);
	ck_assert_uint_eq(get16(abort.req.cqe.status) >> 1, NVME_OK);
	data_arrives(&other);
	spin(&other);
}
END_TEST

/* None waits for another, whichever comes first. */
#define NPREEMPT 3
START_TEST(preemptions_at_once)
{
	struct exchange read = io(0x02), abort[NPREEMPT];
	struct host *by[NPREEMPT] = { &a, &b, &c };
	struct host victim[NPREEMPT];

	for (unsigned int i = 0; i < NPREEMPT; i++) {
		victim[i] = open_host((uint8_t)(0xd + i), 2);
		ck_assert_uint_eq(do_register(by[i], 0, 0, 5 + i), NVME_OK);
		ck_assert_uint_eq(do_register(&victim[i], 0, 0, 15 + i), NVME_OK);
	}
	receive(&victim[0], &read);
	for (unsigned int i = 0; i < NPREEMPT; i++) {
		abort[i] = resv(0x11, 2 | 1 << 8, 5 + i, 15 + i);
		receive(by[i], &abort[i]); /* all are in flight before one is executed */
	}
	for (unsigned int i = 0; i < NPREEMPT; i++) {
		unsigned int n = (i + (unsigned int)_i) % NPREEMPT;

		(void)resv(0, 0, 5 + n, 15 + n); /* its keys */
		data_arrives(&abort[n]);
		settle();
	}
	for (unsigned int i = 0; i < NPREEMPT; i++)
		ck_assert(!is_answered(&abort[i]));
	data_arrives(&read);
	for (unsigned int i = 0; i < NPREEMPT; i++) {
		spin(&abort[i]);
		ck_assert_uint_eq(get16(abort[i].req.cqe.status) >> 1, NVME_OK);
	}
	spin(&read);
	report(&a);
	ck_assert_uint_eq(data[5], NPREEMPT);
	for (unsigned int i = 0; i < NPREEMPT; i++)
		drop_host(&victim[i]);
}
END_TEST

/* A fused pair's lock waits for a write that was received before, and that write, when its data
 * arrives, for the lock. */
START_TEST(a_lock_does_not_wait_for_who_waits_for_it)
{
	struct exchange write = io(0x01), first = io(0x05), second = io(0x01);

	receive(&b, &write);
	first.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_FIRST;
	second.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_SECOND;
	first.req.queue = second.req.queue = a.io;
	first.req.sqe = &first.sqe;
	second.req.sqe = &second.sqe;
	memset(data, 0, 4096);
	reactor_call(a.io->reactor, start, &first);
	reactor_call(a.io->reactor, start, &second);
	settle();
	ck_assert(!is_answered(&first));
	data_arrives(&write);
	spin(&first);
	spin(&second);
	spin(&write);
	ck_assert_uint_eq(get16(first.req.cqe.status) >> 1, NVME_OK);
	ck_assert_uint_eq(get16(second.req.cqe.status) >> 1, NVME_OK);
	ck_assert_uint_eq(get16(write.req.cqe.status) >> 1, NVME_OK);
}
END_TEST

/* A write that waits for a lock is not waited for, and is refused when its turn comes. */
START_TEST(preempted_while_it_waited_for_a_lock)
{
	struct exchange read = io(0x02), write = io(0x01), first = io(0x05), second = io(0x01),
			abort;

	ck_assert_uint_eq(do_register(&a, 0, 0, 5), NVME_OK);
	ck_assert_uint_eq(do_register(&b, 0, 0, 6), NVME_OK);
	ck_assert_uint_eq(do_acquire(&a, 0, 3, 5, 0), NVME_OK);
	receive(&c, &read); /* the lock waits for it */
	first.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_FIRST;
	second.sqe.flags = SQE_PSDT_SGL | SQE_FUSE_SECOND;
	first.req.queue = second.req.queue = a.io;
	first.req.sqe = &first.sqe;
	second.req.sqe = &second.sqe;
	memset(data, 0, 4096);
	reactor_call(a.io->reactor, start, &first);
	reactor_call(a.io->reactor, start, &second);
	settle();
	begin(&b, &write);
	settle();
	abort = resv(0x11, 2 | 1 << 8, 5, 6);
	begin(&a, &abort);
	settle();
	memset(data, 0, 4096);
	ck_assert(!is_answered(&write) && !is_answered(&abort));
	data_arrives(&read);
	spin(&abort);
	spin(&second);
	spin(&write);
	ck_assert_uint_eq(get16(abort.req.cqe.status) >> 1, NVME_OK);
	ck_assert_uint_eq(get16(first.req.cqe.status) >> 1, NVME_OK);
	ck_assert_uint_eq(get16(second.req.cqe.status) >> 1, NVME_OK);
	ck_assert_uint_eq(get16(write.req.cqe.status) >> 1, CONFL);
}
END_TEST

/* ---- suite --------------------------------------------------------------------------------------
 */

static void add_tests(TCase *t)
{
	tcase_add_test(t, report_has_the_length_that_was_asked_for);
	tcase_add_test(t, a_host_without_an_identifier_cannot_reserve);
	tcase_add_test(t, a_host_is_one_through_all_its_controllers);
	tcase_add_loop_test(t, every_opcode_conflicts_or_not, 1, 7);
	tcase_add_test(t, a_fused_pair_meets_the_reservation);
	tcase_add_test(t, hosts_hear_what_happened);
	tcase_add_loop_test(t, reservations_persist_if_they_shall, 0, 4);
	tcase_add_test(t, preempt_and_abort_waits_for_what_is_in_flight);
	tcase_add_loop_test(t, preemptions_at_once, 0, NPREEMPT);
	tcase_add_test(t, a_lock_does_not_wait_for_who_waits_for_it);
	tcase_add_test(t, preempted_while_it_waited_for_a_lock);
}

int main(void)
{
	Suite *s = suite_create("reservation commands");
	TCase *one = tcase_create("one thread"), *threads = tcase_create("threads");

	tcase_add_checked_fixture(one, start_one, stop);
	tcase_set_timeout(one, 60);
	add_tests(one);
	tcase_add_test(one, identify_announces_reservations);
	tcase_add_test(one, notifications_that_are_lost_leave_a_gap);
	tcase_add_test(one, notifications_are_masked_by_type);
	tcase_add_test(one, features_are_of_a_namespace);
	tcase_add_test(one, what_cannot_be_saved_is_refused);
	tcase_add_test(one, a_damaged_file_keeps_the_target_from_starting);
	tcase_add_test(one, commands_of_several_hosts_are_served_one_by_one);
	suite_add_tcase(s, one);
	tcase_add_checked_fixture(threads, start_three, stop);
	tcase_set_timeout(threads, 60);
	add_tests(threads);
	suite_add_tcase(s, threads);
	return run_suite(s);
}
