/* Asymmetric namespace access: states, transitions, the log page, statuses, events, lost devices.
 */
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#define GROUP_LOST 129

static uint16_t both_ports[] = { 1, 2 };
static struct config_ana_group port2_groups[] = { { .id = 5, .state = CONFIG_ANA_INACCESSIBLE } };
static struct config_namespace three[3] = {
	{ .nsid = 1, .device = path, .cmb = CONFIG_CMB_PREFER, .ana_group = 1 },
	{ .nsid = 3, .device = path, .cmb = CONFIG_CMB_PREFER, .ana_group = 5 },
	{ .nsid = 4, .device = path, .cmb = CONFIG_CMB_PREFER, .ana_group = 1 },
};

static void ana_setup(unsigned int nreactors)
{
	ports[1].ana_groups = port2_groups;
	ports[1].nana_groups = 1;
	subsystems[0].ports = both_ports;
	subsystems[0].nports = 2;
	subsystems[0].namespaces = three;
	subsystems[0].nnamespaces = 3;
	setup_with(nreactors);
}

static void ana_setup_one(void)
{
	ana_setup(1);
}

static void ana_setup_threads(void)
{
	ana_setup(3);
}

static struct subsystem *sub(void)
{
	return target->subsystems[1];
}

static struct nvmf_queue *open_on(const struct config_port *port)
{
	struct nvmf_queue *q = open_queue_on(port, 0);
	struct exchange x = connect_command(0, 0xffff);

	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(set_cc(q, CC_ENABLE), NVME_OK);
	return q;
}

static struct nvmf_queue *open_io_on(const struct nvmf_queue *admin, uint16_t qid)
{
	struct nvmf_queue *q = open_queue_on(&ports[admin->port.id - 1], qid);
	struct exchange x = connect_command(qid, admin->ctrl->cntlid);

	ck_assert_uint_eq(run(q, &x), NVME_OK);
	return q;
}

static int last_err;
static unsigned int ndone;

static void done(void *arg, int err)
{
	ck_assert_ptr_eq(arg, &last_err);
	last_err = err;
	ndone++;
}

static void set_state(uint16_t port_id, uint32_t group, enum config_ana state)
{
	ndone = 0;
	ck_assert_int_eq(ana_set(target, sub(), port_id, group, state, done, &last_err), 0);
	for (int ms = 0; !ndone && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	ck_assert_uint_eq(ndone, 1);
	ck_assert_int_eq(last_err, 0);
}

static uint16_t read_block(struct nvmf_queue *q, uint32_t nsid)
{
	struct exchange x = { .sqe = { .opcode = 0x02 } };

	x.sqe.nsid = put32(nsid);
	return run(q, &x);
}

/* ---- the log page ----------------------------------------------------------------------------
 */

/* The page as text, "count: group/state/count[nsid nsid]...", counts less those at the start. */
static const char *read_log(struct nvmf_queue *q, uint32_t dw10_bits)
{
	struct exchange x = { .sqe = { .opcode = 0x02,
				       .cdw10 = put32(0x0c | dw10_bits | 1023u << 16) } };
	const struct nvme_ana_header *log = (void *)data;
	const uint8_t *at = data + sizeof(*log);
	static char text[512];
	size_t n;

	memset(data, 0xee, 4096);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	n = (size_t)snprintf(text, sizeof(text), "%llu:", (unsigned long long)get64(log->change));
	for (unsigned int g = 0; g < get16(log->ngroups); g++) {
		const struct nvme_ana_group *d = (const void *)at;

		n += (size_t)snprintf(text + n, sizeof(text) - n, " %u/%x/%llu[", get32(d->group),
				      d->state, (unsigned long long)get64(d->change));
		at += sizeof(*d);
		for (unsigned int i = 0; i < get32(d->nnsids); i++, at += 4)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u", i ? " " : "",
					      get32(d->nsid[i]));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "]");
	}
	ck_assert_uint_eq(*at, 0); /* nothing stale behind it */
	return text;
}

#define RGO 0x100
#define RAE 0x8000

START_TEST(log_has_the_groups_of_the_port_with_their_namespaces)
{
	struct nvmf_queue *a = open_on(&ports[0]), *b = open_on(&ports[1]);

	ck_assert_str_eq(read_log(a, 0), "0: 1/1/1[1 4] 5/1/1[3]");
	ck_assert_str_eq(read_log(a, RGO), "0: 1/1/1[] 5/1/1[]");
	ck_assert_str_eq(read_log(b, 0), "0: 1/1/1[1 4] 5/3/1[3]");
	set_state(1, 5, CONFIG_ANA_NON_OPTIMIZED);
	ck_assert_str_eq(read_log(a, 0), "1: 1/1/1[1 4] 5/2/2[3]");
	ck_assert_str_eq(read_log(b, 0), "0: 1/1/1[1 4] 5/3/1[3]");
	set_state(1, 5, CONFIG_ANA_NON_OPTIMIZED); /* nothing new */
	set_state(1, 77, CONFIG_ANA_CHANGE);       /* nothing to be seen */
	ck_assert_str_eq(read_log(a, 0), "1: 1/1/1[1 4] 5/2/2[3]");
	set_state(1, 1, CONFIG_ANA_PERSISTENT_LOSS); /* by way of "change" */
	ck_assert_str_eq(read_log(a, 0), "3: 1/4/3[1 4] 5/2/2[3]");
	drop_queue(a);
	a = open_on(&ports[0]);
	ck_assert_str_eq(read_log(a, 0), "0: 1/4/1[1 4] 5/2/1[3]");
	drop_queue(a);
	drop_queue(b);
}
END_TEST

START_TEST(log_has_only_what_the_host_sees)
{
	struct nvmf_queue *q = open_on(&ports[0]);

	q->ctrl->map->entry[1].ns = NULL;
	q->ctrl->map->entry[3].ns = NULL;
	ck_assert_str_eq(read_log(q, 0), "0: 1/1/1[4]");
	q->ctrl->map->entry[4].ns = NULL;
	ck_assert_str_eq(read_log(q, 0), "0:");
	/* as if it came into view: counted, but not this event */
	ck_assert_int_eq(target_remap(target), 0);
	ck_assert_str_eq(read_log(q, 0), "1: 1/1/2[1 4] 5/1/2[3]");
	ck_assert_uint_eq(q->ctrl->events_pending, 0);
	drop_queue(q);
}
END_TEST

/* ---- statuses --------------------------------------------------------------------------------
 */

static const struct state_row {
	enum config_ana state;
	uint8_t wire;
	uint16_t status;
	bool nuse;
} state_rows[] = {
	{ CONFIG_ANA_OPTIMIZED, 0x1, NVME_OK, true },
	{ CONFIG_ANA_NON_OPTIMIZED, 0x2, NVME_OK, true },
	{ CONFIG_ANA_INACCESSIBLE, 0x3, 0x302, false },
	{ CONFIG_ANA_PERSISTENT_LOSS, 0x4, 0x301, false },
	{ CONFIG_ANA_CHANGE, 0xf, 0x303, false },
};

static const uint8_t io_opcodes[] = { 0x00, 0x01, 0x02, 0x05, 0x08, 0x0c };

/* Of admin commands: the status when the namespace can be reached, and whether the path's is it
 * else. */
static const struct admin_row {
	uint8_t opcode;
	uint32_t dw10, nsid;
	uint16_t status;
	bool path;
} admin_rows[] = {
	{ 0x02, 0x02 | 127u << 16, 3, NVME_OK, true }, /* SMART of the namespace */
	{ 0x02, 0x02 | 127u << 16, 0xffffffff, NVME_OK, false },
	{ 0x02, 0x02 | 127u << 16, 1, NVME_OK, false }, /* of another group */
	{ 0x02, 0x0c | 127u << 16, 0xffffffff, NVME_OK, false },
	{ 0x06, 0x00, 3, NVME_OK, false },
	{ 0x06, 0x03, 3, NVME_OK, false },
	{ 0x0a, 0x0f, 3, NVME_OK, false },
};

/* Features that are not there, or not for this namespace, are what else they are. */
static const struct admin_row feature_rows[] = {
	{ 0x09, 0x82, 3, 0, true }, { 0x09, 0x83, 3, 0, true }, { 0x09, 0x84, 3, 0, true },
	{ 0x0a, 0x82, 3, 0, true }, { 0x0a, 0x83, 3, 0, true }, { 0x0a, 0x84, 3, 0, true },
};

static uint16_t run_admin(struct nvmf_queue *q, const struct admin_row *row)
{
	struct exchange x = { .sqe = { .opcode = row->opcode, .cdw10 = put32(row->dw10) } };

	x.sqe.nsid = put32(row->nsid);
	return run(q, &x);
}

START_TEST(states_decide_what_commands_are_answered)
{
	const struct state_row *row = &state_rows[_i];
	struct nvmf_queue *admin = open_on(&ports[0]), *q = open_io_on(admin, 1);
	const struct nvme_id_ns *id = (void *)data;

	set_state(1, 5, row->state);
	ck_assert_uint_eq(ana_wire_state(row->state), row->wire);
	for (size_t i = 0; i < sizeof(io_opcodes); i++) {
		struct exchange x = { .sqe = { .opcode = io_opcodes[i] } };

		x.sqe.nsid = put32(3);
		ck_assert_uint_eq(run(q, &x), row->status);
		x.sqe.nsid = put32(4);
		ck_assert_uint_eq(run(q, &x), NVME_OK);
	}
	for (size_t i = 0; i < sizeof(admin_rows) / sizeof(admin_rows[0]); i++)
		ck_assert_msg(run_admin(admin, &admin_rows[i]) == (admin_rows[i].path && row->status
									   ? row->status
									   : admin_rows[i].status),
			      "row %zu", i);
	for (size_t i = 0; row->status && i < sizeof(feature_rows) / sizeof(feature_rows[0]); i++)
		ck_assert_msg(run_admin(admin, &feature_rows[i]) == row->status, "row %zu", i);
	/* what tells the host of the namespace is there in every state */
	struct exchange x = { .sqe = { .opcode = 0x06, .nsid = put32(3) } };

	ck_assert_uint_eq(run(admin, &x), NVME_OK);
	ck_assert_uint_eq(le32toh(id->anagrpid), 5);
	ck_assert_uint_eq(le64toh(id->nsze), NBLOCKS);
	ck_assert_uint_eq(le64toh(id->nuse), row->nuse ? NBLOCKS : 0);
	x.sqe.cdw10 = put32(0x08);
	ck_assert_uint_eq(run(admin, &x), NVME_OK);
	ck_assert_uint_eq(le32toh(((struct nvme_id_independent_id_ns *)data)->anagrpid), 5);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(each_port_has_its_own_states)
{
	struct nvmf_queue *a = open_on(&ports[0]), *b = open_on(&ports[1]);
	struct nvmf_queue *a1 = open_io_on(a, 1), *b1 = open_io_on(b, 2);

	ck_assert_uint_eq(read_block(a1, 3), NVME_OK);
	ck_assert_uint_eq(read_block(b1, 3), 0x302);
	set_state(1, 5, CONFIG_ANA_INACCESSIBLE);
	set_state(2, 5, CONFIG_ANA_OPTIMIZED);
	ck_assert_uint_eq(read_block(a1, 3), 0x302);
	ck_assert_uint_eq(read_block(b1, 3), NVME_OK);
	/* and a controller belongs to its port */
	struct nvmf_queue *stray = open_queue_on(&ports[1], 3);
	struct exchange x = connect_command(3, a->ctrl->cntlid);

	ck_assert_uint_eq(run(stray, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	drop_queue(stray);
	drop_queue(a1);
	drop_queue(b1);
	drop_queue(a);
	drop_queue(b);
}
END_TEST

START_TEST(identify_tells_what_there_is_of_it)
{
	struct nvmf_queue *q = open_on(&ports[0]);
	struct exchange x = { .sqe = { .opcode = 0x06, .cdw10 = put32(1) } };
	const struct nvme_id_ctrl *id = (void *)data;

	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert(id->cmic & 1 << 3);
	ck_assert(le32toh(id->oaes) & 1 << 11);
	ck_assert_uint_eq(id->anacap, 0x1f);
	ck_assert_uint_eq(id->anatt, 30);
	ck_assert_uint_eq(le32toh(id->anagrpmax), GROUP_LOST);
	ck_assert_uint_eq(le32toh(id->nanagrpid), GROUP_LOST);
	drop_queue(q);
}
END_TEST

START_TEST(set_refuses_what_is_not_there)
{
	static const struct {
		uint16_t port_id;
		uint32_t group;
		int err;
	} rows[] = {
		{ 3, 1, -ENOENT },   { 0, 1, -ENOENT },          { 1, 0, -EINVAL },
		{ 1, 129, -EINVAL }, { 1, UINT32_MAX, -EINVAL },
	};

	ndone = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_int_eq(ana_set(target, sub(), rows[i].port_id, rows[i].group,
					 CONFIG_ANA_CHANGE, done, &last_err),
				 rows[i].err);
	ck_assert_uint_eq(ndone, 0);
}
END_TEST

/* ---- events ----------------------------------------------------------------------------------
 */

static void park_event_request(struct nvmf_queue *q, struct exchange *x)
{
	*x = (struct exchange){ .sqe = { .opcode = 0x0c, .flags = SQE_PSDT_SGL } };
	x->req.queue = q;
	x->req.sqe = &x->sqe;
	ck_assert_uint_eq(nvmf_req_check(&x->req), NVME_OK);
	nvmf_req_execute(&x->req);
}

static void want_events(struct nvmf_queue *q, uint32_t bits)
{
	struct exchange x = {
		.sqe = { .opcode = 0x09, .cdw10 = put32(0x0b), .cdw11 = put32(bits) }
	};

	ck_assert_uint_eq(run(q, &x), NVME_OK);
}

START_TEST(host_is_told_once_until_it_has_read_the_log)
{
	struct nvmf_queue *q = open_on(&ports[0]), *deaf = open_on(&ports[0]);
	struct exchange x[2], unheard;

	want_events(q, 1 << 11);
	park_event_request(q, &x[0]);
	park_event_request(q, &x[1]);
	park_event_request(deaf, &unheard);
	set_state(2, 5, CONFIG_ANA_OPTIMIZED); /* another port */
	ck_assert(!x[0].answered);
	set_state(1, 5, CONFIG_ANA_INACCESSIBLE);
	ck_assert(x[0].answered);
	ck_assert_uint_eq(get32(x[0].req.cqe.dw0), 0x0c0302);
	ck_assert_uint_eq(x[0].req.cqe.status.raw, 0);
	ck_assert(!x[1].answered);
	read_log(q, RAE);
	set_state(1, 5, CONFIG_ANA_OPTIMIZED);
	ck_assert(!x[1].answered);
	read_log(q, 0);
	ck_assert(!x[1].answered); /* it has just read what changed */
	set_state(1, 5, CONFIG_ANA_NON_OPTIMIZED);
	ck_assert(x[1].answered);
	ck_assert(!unheard.answered);
	drop_queue(q);
	drop_queue(deaf);
}
END_TEST

/* ---- transitions and lost devices: a backend whose I/O ends when the test says so --------------
 */

static unsigned int nheld; /* atomic */
static bool is_gone;
static struct backend_ops held_ops;

static void hold(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	(void)b;
	(void)offset;
	(void)fua;
	(void)req;
	__atomic_add_fetch(&nheld, 1, __ATOMIC_RELEASE);
}

static bool gone(const struct backend *b)
{
	(void)b;
	return is_gone;
}

static int reopen(struct backend *b, const char **ret_why)
{
	(void)b;
	*ret_why = "not yet";
	return is_gone ? -ENOENT : 0;
}

static void hold_io(uint32_t nsid)
{
	struct namespace *ns = subsystem_namespace(sub(), nsid);

	held_ops = *ns->backend->ops;
	held_ops.rw = hold;
	held_ops.gone = gone;
	held_ops.reopen = reopen;
	ns->backend->ops = &held_ops;
	nheld = 0;
	is_gone = false;
}

static void start_read(struct nvmf_queue *q, uint32_t nsid, struct exchange *x)
{
	unsigned int before = nheld;

	*x = (struct exchange){ .sqe = { .opcode = 0x02, .flags = SQE_PSDT_SGL } };
	x->sqe.nsid = put32(nsid);
	x->req.queue = q;
	x->req.sqe = &x->sqe;
	reactor_call(q->reactor, start, x);
	ck_assert_uint_eq(__atomic_load_n(&nheld, __ATOMIC_ACQUIRE), before + 1);
}

static uint16_t end_with; /* of finish_held() */

static void finish_held(void *arg)
{
	io_ended(arg, end_with);
}

static uint16_t end_read(struct exchange *x, uint16_t status)
{
	end_with = status;
	reactor_call(x->req.queue->reactor, finish_held, &x->req);
	for (int ms = 0; !is_answered(x) && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	ck_assert(is_answered(x));
	return get16(x->req.cqe.status) >> 1;
}

static void settle(void)
{
	for (int i = 0; i < 3; i++) {
		for (unsigned int r = 0; r < reactors.n; r++)
			reactor_call(reactors.r[r], nothing, NULL);
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
	}
}

START_TEST(access_ends_when_what_is_in_flight_has_ended)
{
	struct nvmf_queue *admin = open_on(&ports[0]), *q = open_io_on(admin, 1);
	struct exchange x;

	hold_io(3);
	start_read(q, 3, &x);
	ndone = 0;
	ck_assert_int_eq(ana_set(target, sub(), 1, 5, CONFIG_ANA_INACCESSIBLE, done, &last_err), 0);
	settle();
	ck_assert_uint_eq(ndone, 0);
	ck_assert_int_eq(ana_state(sub(), 1, 5), CONFIG_ANA_CHANGE);
	ck_assert_uint_eq(read_block(q, 3), 0x303);
	ck_assert_uint_eq(end_read(&x, NVME_OK), NVME_OK);
	settle();
	ck_assert_uint_eq(ndone, 1);
	ck_assert_int_eq(last_err, 0);
	ck_assert_uint_eq(read_block(q, 3), 0x302);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(latest_wish_wins)
{
	struct nvmf_queue *admin = open_on(&ports[0]), *q = open_io_on(admin, 1);
	struct exchange x;

	hold_io(3);
	start_read(q, 3, &x);
	ndone = 0;
	ck_assert_int_eq(ana_set(target, sub(), 1, 5, CONFIG_ANA_INACCESSIBLE, done, &last_err), 0);
	/* not accessible either: what is in flight is waited for again */
	ck_assert_int_eq(ana_set(target, sub(), 1, 5, CONFIG_ANA_PERSISTENT_LOSS, done, &last_err),
			 0);
	ck_assert_uint_eq(ndone, 1);
	ck_assert_int_eq(last_err, -ECANCELED);
	ck_assert_int_eq(ana_state(sub(), 1, 5), CONFIG_ANA_CHANGE);
	ck_assert_int_eq(ana_set(target, sub(), 1, 5, CONFIG_ANA_OPTIMIZED, done, &last_err), 0);
	ck_assert_uint_eq(ndone, 3); /* the second given up, the third done */
	ck_assert_int_eq(ana_state(sub(), 1, 5), CONFIG_ANA_OPTIMIZED);
	ck_assert_uint_eq(end_read(&x, NVME_OK), NVME_OK);
	settle();
	ck_assert_uint_eq(ndone, 3);
	ck_assert_int_eq(ana_state(sub(), 1, 5), CONFIG_ANA_OPTIMIZED);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(lost_device_is_inaccessible_alone_and_comes_back)
{
	struct nvmf_queue *admin = open_on(&ports[0]), *q = open_io_on(admin, 1);
	struct exchange x;
	bool back;

	want_events(admin, 1 << 11);
	park_event_request(admin, &x);
	hold_io(1);
	ck_assert_uint_eq(target_check_devices(target, &back), 0);
	ck_assert(!x.answered);
	is_gone = true;
	ck_assert_uint_eq(target_check_devices(target, &back), 1);
	ck_assert(!back);
	ck_assert(x.answered);
	ck_assert_str_eq(read_log(admin, 0), "1: 1/1/2[4] 5/1/1[3] 129/3/2[1]");
	ck_assert_uint_eq(read_block(q, 1), 0x302);
	ck_assert_uint_eq(read_block(q, 4), NVME_OK);
	/* a state of its group does not help it */
	set_state(1, 1, CONFIG_ANA_NON_OPTIMIZED);
	ck_assert_uint_eq(read_block(q, 1), 0x302);
	is_gone = false;
	ck_assert_uint_eq(target_check_devices(target, &back), 0);
	ck_assert(back);
	ck_assert_str_eq(read_log(admin, 0), "3: 1/2/4[1 4] 5/1/1[3]");
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

static const struct end_row {
	uint16_t status;
	bool looked_at;
} end_rows[] = {
	{ NVME_OK, false },
	{ NVME_INTERNAL_ERROR, true },               /* EIO */
	{ NVME_NS_NOT_READY, true },                 /* ENODEV */
	{ NVME_CAPACITY_EXCEEDED | NVME_DNR, true }, /* ENOSPC: written to a disk of no bytes */
	{ NVME_LBA_OUT_OF_RANGE | NVME_DNR, true },  /* read from it */
	{ NVME_READ_ERROR | NVME_DNR, false },       /* the medium */
	{ NVME_ABORTED_SQ_DELETION, false },
};

START_TEST(error_of_a_device_that_goes_is_the_paths)
{
	const struct end_row *row = &end_rows[_i];
	struct nvmf_queue *admin = open_on(&ports[0]), *q = open_io_on(admin, 1);
	struct exchange x, y;

	hold_io(3);
	start_read(q, 3, &x);
	start_read(q, 3, &y);
	ck_assert_uint_eq(end_read(&x, row->status), row->status); /* it is still there */
	is_gone = true;
	ck_assert_uint_eq(end_read(&y, row->status), row->looked_at ? 0x302 : row->status);
	ck_assert_uint_eq(subsystem_namespace(sub(), 3)->ana_group,
			  row->looked_at ? GROUP_LOST : 5);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static void add_tests(Suite *s, const char *name, void (*fixture)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, fixture, teardown);
	tcase_add_test(tc, log_has_the_groups_of_the_port_with_their_namespaces);
	tcase_add_test(tc, log_has_only_what_the_host_sees);
	tcase_add_loop_test(tc, states_decide_what_commands_are_answered, 0, NROWS(state_rows));
	tcase_add_test(tc, each_port_has_its_own_states);
	tcase_add_test(tc, identify_tells_what_there_is_of_it);
	tcase_add_test(tc, set_refuses_what_is_not_there);
	tcase_add_test(tc, host_is_told_once_until_it_has_read_the_log);
	tcase_add_test(tc, access_ends_when_what_is_in_flight_has_ended);
	tcase_add_test(tc, latest_wish_wins);
	tcase_add_test(tc, lost_device_is_inaccessible_alone_and_comes_back);
	tcase_add_loop_test(tc, error_of_a_device_that_goes_is_the_paths, 0, NROWS(end_rows));
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("ana");

	add_tests(s, "one thread", ana_setup_one);
	add_tests(s, "I/O threads", ana_setup_threads);
	return run_suite(s);
}
