/* Commands through the dispatch, with a memory transport and a file behind the namespace. */
#include "transport/rdma.h"

#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

/* ---- connect -----------------------------------------------------------------------------------
 */

static void spoil_recfmt(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)d;
	s->recfmt = put16(1);
}
static void spoil_cntlid(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)s;
	d->cntlid = htole16(7);
}
static void spoil_sqsize_zero(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)d;
	s->sqsize_z = put16(0);
}
static void spoil_sqsize_large(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)d;
	s->sqsize_z = put16(32);
}
static void spoil_subsystem(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)s;
	strcpy(d->subsysnqn, "nqn.2026-11.org.example:other");
}
static void spoil_endless_nqn(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)s;
	memset(d->subsysnqn, 'n', sizeof(d->subsysnqn));
}
static void spoil_endless_host(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)s;
	memset(d->hostnqn, 'n', sizeof(d->hostnqn));
}
static void spoil_no_host(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)s;
	d->hostnqn[0] = '\0';
}
static void spoil_host(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d)
{
	(void)s;
	strcpy(d->hostnqn, "nqn.2014-08.org.nvmexpress:uuid:stranger");
}

static const struct bad_connect {
	void (*spoil)(struct nvmf_connect_sqe *s, struct nvmf_connect_data *d);
	uint16_t status;
	uint32_t dw0; /* where the parameter is */
} bad_connects[] = {
	{ spoil_recfmt, NVME_CONNECT_FORMAT | NVME_DNR, 0 },
	{ spoil_cntlid, NVME_CONNECT_INVALID_PARAM | NVME_DNR, 1 << 16 | 16 },
	{ spoil_sqsize_zero, NVME_CONNECT_INVALID_PARAM | NVME_DNR, 44 },
	{ spoil_sqsize_large, NVME_CONNECT_INVALID_PARAM | NVME_DNR, 44 },
	/* without DNR: the host shall try again */
	{ spoil_subsystem, NVME_CONNECT_INVALID_PARAM, 1 << 16 | 256 },
	{ spoil_endless_nqn, NVME_CONNECT_INVALID_PARAM | NVME_DNR, 1 << 16 | 256 },
	{ spoil_endless_host, NVME_CONNECT_INVALID_PARAM | NVME_DNR, 1 << 16 | 512 },
	{ spoil_no_host, NVME_CONNECT_INVALID_PARAM | NVME_DNR, 1 << 16 | 512 },
	{ spoil_host, NVME_CONNECT_INVALID_HOST | NVME_DNR, 0 },
};

START_TEST(connect_refuses_what_is_wrong)
{
	const struct bad_connect *row = &bad_connects[_i];
	struct nvmf_queue *q = open_queue(0);
	struct exchange x = connect_command(0, 0xffff);

	row->spoil((void *)&x.sqe, (void *)data);
	ck_assert_uint_eq(run(q, &x), row->status);
	ck_assert_uint_eq(get32(x.req.cqe.dw0), row->dw0);
	ck_assert_int_eq(q->state, QUEUE_WAIT_CONNECT);
	drop_queue(q);
}
END_TEST

START_TEST(nothing_but_connect_before_connect)
{
	struct nvmf_queue *q = open_queue(0);

	for (unsigned int op = 0; op < 256; op++) {
		struct exchange x = { .sqe = { .opcode = (uint8_t)op } };

		x.sqe.fctype = FC_PROPERTY_GET;
		ck_assert_uint_eq(run(q, &x), NVME_COMMAND_SEQUENCE | NVME_DNR);
	}
	drop_queue(q);
}
END_TEST

START_TEST(second_connect_is_a_sequence_error)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_admin(&cntlid);
	struct exchange x = connect_command(0, 0xffff);

	ck_assert_uint_eq(run(q, &x), NVME_COMMAND_SEQUENCE | NVME_DNR);
	drop_queue(q);
}
END_TEST

START_TEST(io_queue_belongs_to_its_controller)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_admin(&cntlid), *q = open_queue(1);
	struct exchange x = connect_command(1, cntlid);

	/* not enabled yet */
	ck_assert_uint_eq(run(q, &x), NVME_COMMAND_SEQUENCE | NVME_DNR);
	ck_assert_uint_eq(set_cc(admin, CC_ENABLE), NVME_OK);
	/* somebody else's controller ID */
	x = connect_command(1, (uint16_t)(cntlid + 1));
	ck_assert_uint_eq(run(q, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	/* another host ID */
	x = connect_command(1, cntlid);
	data[0] = 1;
	ck_assert_uint_eq(run(q, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	/* another queue than the connection was made for */
	x = connect_command(2, cntlid);
	ck_assert_uint_eq(run(q, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	x = connect_command(0, 0xffff);
	ck_assert_uint_eq(run(q, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	/* a queue ID beyond what was granted */
	struct nvmf_queue *beyond = open_queue(IO_QUEUE_ID_MAX + 1);

	x = connect_command(IO_QUEUE_ID_MAX + 1, cntlid);
	ck_assert_uint_eq(run(beyond, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	drop_queue(beyond);
	x = connect_command(1, cntlid);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	/* the same queue twice */
	struct nvmf_queue *twin = open_queue(1);

	x = connect_command(1, cntlid);
	ck_assert_uint_eq(run(twin, &x), NVME_COMMAND_SEQUENCE | NVME_DNR);
	drop_queue(twin);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(controller_ends_with_its_admin_queue)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *io = open_io(cntlid);

	ck_assert(target_has_controller(target, cntlid));
	drop_queue(admin);
	reactor_call(io->reactor, nothing, NULL);
	ck_assert_int_eq(ndisconnects, 1);
	ck_assert_int_eq(io->state, QUEUE_CLOSING);
	ck_assert(target_has_controller(target, cntlid)); /* until its last queue is drained */
	drop_queue(io);
	ck_assert(!target_has_controller(target, cntlid));
}
END_TEST

/* ---- properties --------------------------------------------------------------------------------
 */

START_TEST(properties_follow_enable_and_shutdown)
{
	uint16_t cntlid;
	uint64_t value;
	struct nvmf_queue *q = open_admin(&cntlid);

	ck_assert_uint_eq(get_property(q, PROP_CSTS, 0, &value), NVME_OK);
	ck_assert_uint_eq(value, 0);
	ck_assert_uint_eq(get_property(q, PROP_CAP, 1, &value), NVME_OK);
	ck_assert_uint_eq(value & 0xffff, 127);
	ck_assert_uint_eq(get_property(q, PROP_CAP, 0, &value), NVME_INVALID_FIELD | NVME_DNR);
	ck_assert_uint_eq(get_property(q, 0x20, 0, &value), NVME_INVALID_FIELD | NVME_DNR);
	ck_assert_uint_eq(set_cc(q, CC_ENABLE), NVME_OK);
	get_property(q, PROP_CSTS, 0, &value);
	ck_assert_uint_eq(value, CSTS_RDY);
	ck_assert_uint_eq(set_cc(q, CC_ENABLE | 1u << 14), NVME_OK);
	get_property(q, PROP_CSTS, 0, &value);
	ck_assert_uint_eq(value, CSTS_RDY | CSTS_SHST_DONE);
	ck_assert_uint_eq(set_cc(q, 0), NVME_OK);
	get_property(q, PROP_CSTS, 0, &value);
	ck_assert_uint_eq(value, 0);
	drop_queue(q);
}
END_TEST

START_TEST(reset_is_over_when_the_io_queues_are_gone)
{
	uint16_t cntlid;
	uint64_t value;
	struct nvmf_queue *admin = open_enabled(&cntlid), *io = open_io(cntlid);

	ck_assert_uint_eq(set_cc(admin, 0), NVME_OK);
	get_property(admin, PROP_CSTS, 0, &value);
	ck_assert_uint_eq(value, CSTS_RDY); /* its commands may still be writing */
	drop_queue(io);
	ck_assert_int_eq(ndisconnects, 1);
	get_property(admin, PROP_CSTS, 0, &value);
	ck_assert_uint_eq(value, 0);
	/* a host that did not wait */
	ck_assert_uint_eq(set_cc(admin, CC_ENABLE), NVME_OK);
	io = open_io(cntlid);
	ck_assert_uint_eq(set_cc(admin, 0), NVME_OK);
	ck_assert_uint_eq(set_cc(admin, CC_ENABLE), NVME_OK);
	struct nvmf_queue *early = open_queue(2);
	struct exchange x = connect_command(2, cntlid);

	ck_assert_uint_eq(run(early, &x), NVME_COMMAND_SEQUENCE | NVME_DNR);
	drop_queue(io);
	x = connect_command(2, cntlid);
	ck_assert_uint_eq(run(early, &x), NVME_OK);
	drop_queue(early);
	drop_queue(admin);
}
END_TEST

START_TEST(enable_with_wrong_sizes_is_fatal)
{
	uint16_t cntlid;
	uint64_t value;
	struct nvmf_queue *q = open_admin(&cntlid);

	ck_assert_uint_eq(set_cc(q, CC_EN | 5u << 16 | 4u << 20), NVME_OK);
	get_property(q, PROP_CSTS, 0, &value);
	ck_assert_uint_eq(value, CSTS_CFS);
	drop_queue(q);
}
END_TEST

START_TEST(admin_commands_wait_for_enable)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_admin(&cntlid);
	struct exchange x = { .sqe = { .opcode = 0x06, .cdw10 = put32(1) } };

	ck_assert_uint_eq(run(q, &x), NVME_COMMAND_SEQUENCE | NVME_DNR);
	drop_queue(q);
}
END_TEST

/* ---- dispatch ----------------------------------------------------------------------------------
 */

START_TEST(every_opcode_has_an_answer)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *io = open_io(cntlid);

	for (unsigned int op = 0; op < 256; op++) {
		struct exchange x = { .sqe = { .opcode = (uint8_t)op } };

		if (!admin_commands[op].execute && op != OP_FABRICS)
			ck_assert_uint_eq(run(admin, &x), NVME_INVALID_OPCODE | NVME_DNR);
		x = (struct exchange){ .sqe = { .opcode = (uint8_t)op } };
		if (!io_commands[op].execute && op != OP_FABRICS)
			ck_assert_uint_eq(run(io, &x), NVME_INVALID_OPCODE | NVME_DNR);
		x = (struct exchange){ .sqe = { .opcode = OP_FABRICS } };
		x.sqe.fctype = (uint8_t)op;
		if (!fabrics_commands[op].execute)
			ck_assert_uint_eq(run(io, &x), NVME_INVALID_OPCODE | NVME_DNR);
	}
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

START_TEST(disconnect_ends_one_io_queue)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = FC_DISCONNECT } };

	ck_assert_uint_eq(run(admin, &x), NVME_INVALID_QUEUE_TYPE | NVME_DNR);
	((struct nvmf_disconnect_sqe *)&x.sqe)->recfmt = put16(1);
	ck_assert_uint_eq(run(q, &x), NVME_CONNECT_FORMAT | NVME_DNR);
	ck_assert_int_eq(__atomic_load_n(&ndisconnects, __ATOMIC_ACQUIRE), 0);
	((struct nvmf_disconnect_sqe *)&x.sqe)->recfmt = put16(0);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_int_eq(__atomic_load_n(&ndisconnects, __ATOMIC_ACQUIRE), 1);
	drop_queue(q);
	drop_queue(open_io(cntlid)); /* the same ID again */
	drop_queue(admin);
}
END_TEST

START_TEST(fused_and_prp_commands_are_refused)
{
	static const uint8_t flags[] = { 0x41, 0x42, 0x43, 0x80, 0xc0, 0x01 };
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);

	for (size_t i = 0; i < sizeof(flags); i++) {
		struct exchange x = { .sqe = { .opcode = 0x18, .flags = flags[i] } };

		ck_assert_uint_eq(run(q, &x), NVME_INVALID_FIELD | NVME_DNR);
	}
	drop_queue(q);
}
END_TEST

START_TEST(sqhd_advances_and_wraps)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	uint16_t last = q->sqhd;

	for (int i = 0; i < 40; i++) {
		struct exchange x = { .sqe = { .opcode = 0x0a,
					       .cid = put16((uint16_t)(i * 7)),
					       .cdw10 = put32(0x07) } };

		ck_assert_uint_eq(run(q, &x), NVME_OK);
		ck_assert_uint_eq(get16(x.req.cqe.sqhd), (last + 1) % 32);
		ck_assert_uint_eq(get16(x.req.cqe.cid), i * 7);
		last = get16(x.req.cqe.sqhd);
	}
	drop_queue(q);
}
END_TEST

/* ---- keep alive ---------------------------------------------------------------------------------
 */

START_TEST(silent_host_is_dropped_after_its_keep_alive_time)
{
	struct nvmf_queue *q = open_queue(0);
	struct exchange x = connect_command(0, 0xffff);

	((struct nvmf_connect_sqe *)&x.sqe)->kato_ms = put32(1);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(q->ctrl->kato_ms, 1000);
	while (!ndisconnects) /* the test's own time limit is the deadline */
		ev_run(reactors.r[0]->loop, EVRUN_ONCE);
	ck_assert_uint_eq(q->ctrl->csts, CSTS_CFS);
	drop_queue(q);
}
END_TEST

/* ---- read and write -----------------------------------------------------------------------------
 */

static struct exchange rw(uint8_t opcode, uint32_t nsid, uint64_t slba, uint32_t nlb)
{
	struct exchange x = { .sqe = { .opcode = opcode,
				       .cdw10 = put32((uint32_t)slba),
				       .cdw11 = put32((uint32_t)(slba >> 32)),
				       .cdw12 = put32(nlb - 1) } };

	x.sqe.nsid = put32(nsid);
	return x;
}

static const struct rw_row {
	uint32_t nsid;
	uint64_t slba;
	uint32_t nlb;
	uint16_t status;
} rw_rows[] = {
	{ 1, 0, 1, NVME_OK },
	{ 1, NBLOCKS - 1, 1, NVME_OK },
	{ 1, NBLOCKS - 32, 32, NVME_OK },
	{ 1, NBLOCKS, 1, NVME_LBA_OUT_OF_RANGE | NVME_DNR },
	{ 1, NBLOCKS - 1, 2, NVME_LBA_OUT_OF_RANGE | NVME_DNR },
	{ 1, UINT64_MAX, 1, NVME_LBA_OUT_OF_RANGE | NVME_DNR },
	{ 1, UINT64_MAX - 1, 2, NVME_LBA_OUT_OF_RANGE | NVME_DNR },
	{ 1, UINT64_C(1) << 52, 1, NVME_LBA_OUT_OF_RANGE | NVME_DNR }, /* times 4096: 2^64 */
	{ 1, 0, 65536, NVME_LBA_OUT_OF_RANGE | NVME_DNR },
	{ 1, 0, 33, NVME_INVALID_FIELD | NVME_DNR }, /* beyond MDTS */
	{ 0, 0, 1, NVME_INVALID_NS | NVME_DNR },
	{ 2, 0, 1, NVME_INVALID_NS | NVME_DNR },
	{ 0xffffffff, 0, 1, NVME_INVALID_NS | NVME_DNR },
};

START_TEST(read_and_write_check_their_range)
{
	const struct rw_row *row = &rw_rows[_i];
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);

	for (uint8_t opcode = 1; opcode <= 2; opcode++) {
		struct exchange x = rw(opcode, row->nsid, row->slba, row->nlb);

		memset(data, 0, 131072);
		ck_assert_uint_eq(run(q, &x), row->status);
		if (!row->status)
			ck_assert_uint_eq(x.req.len, row->nlb * 4096);
	}
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(written_bytes_are_in_the_file_and_read_back)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = rw(1, 1, 5, 3);
	uint8_t want[3 * 4096];
	int fd = open(path, O_RDONLY);

	for (size_t i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 31 + i / 4096);
	memcpy(data, want, sizeof(want));
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	x = (struct exchange){ .sqe = { .opcode = 0, .nsid = put32(1) } }; /* flush */
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_int_eq(pread(fd, data, sizeof(want), 5 * 4096), sizeof(want));
	ck_assert_mem_eq(data, want, sizeof(want));
	memset(data, 0, sizeof(want));
	x = rw(2, 1, 5, 3);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_mem_eq(data, want, sizeof(want));
	/* the accounting knows */
	const struct namespace *ns = subsystem_namespace(target->subsystems[1], 1);

	for (enum data_dir dir = DATA_H2C; dir <= DATA_C2H; dir++) {
		struct stage_account a;

		namespace_account(target, ns, dir, &a);
		ck_assert_uint_eq(a.bytes[STAGE_HOST_NO_CMB], sizeof(want));
		ck_assert_uint_eq(a.commands, 1);
	}
	close(fd);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(namespaces_are_found_by_number_with_gaps_and_without)
{
	static const uint32_t nsids[5] = { 1, 2, 7, 8, 1024 };
	const struct config_namespace ns_conf = { .cmb = CONFIG_CMB_OFF };
	struct namespace ns[5] = { 0 };
	struct namespace *list[5] = { &ns[0], &ns[1], &ns[2], &ns[3], &ns[4] };
	struct subsystem s = { .namespaces = list, .nnamespaces = 5 };
	struct controller c = { .subsys = &s };
	struct ns_map *map;

	for (int i = 0; i < 5; i++) {
		ns[i].nsid = nsids[i];
		ns[i].conf = &ns_conf;
		ns[i].nlb = 1;
	}
	map = ns_map_create(&c);

	for (uint32_t nsid = 0; nsid <= 1025; nsid++) {
		struct namespace *want = NULL;

		for (int i = 0; i < 5; i++)
			if (ns[i].nsid == nsid)
				want = &ns[i];
		ck_assert_ptr_eq(subsystem_namespace(&s, nsid), want);

		const struct ns_map_entry *e = ns_map_find(map, nsid);

		ck_assert_ptr_eq(e ? e->ns : NULL, want);
	}
	ck_assert_ptr_null(subsystem_namespace(&s, UINT32_MAX));
	ck_assert_ptr_null(ns_map_find(map, UINT32_MAX));
	free(map);
	s.nnamespaces = 0;
	ck_assert_ptr_null(subsystem_namespace(&s, 1));
	map = ns_map_create(&c);
	ck_assert_ptr_null(ns_map_find(map, 0));
	ck_assert_ptr_null(ns_map_find(map, 1));
	free(map);
}
END_TEST

static unsigned int ntroubles;

static void count_trouble(void *arg)
{
	(void)arg;
	ntroubles++;
}

/* What the I/O's end says, where it was staged, and what becomes of it. */
START_TEST(io_that_failed_in_a_cmb_is_done_again_in_host_memory)
{
	static const struct {
		int err;
		uint8_t place;
		bool retried, cmb_still_used;
	} rows[] = {
		{ -EFAULT, 0, true, true }, /* the pages went: the provider will be marked lost */
		{ -EINVAL, 0, true, false },
		{ -EREMOTEIO, 0, true, false },
		{ -EIO, 0, true, true }, /* may be the medium */
		{ -ENODEV, 0, true, true },
		{ -ENOSPC, 0, false, true },
		{ -ENODATA, 0, false, true },
		{ -EFAULT, STAGE_HOST_EXHAUSTED, false, true },
		{ -EIO, STAGE_HOST_RETRIED, false, true }, /* once is enough */
	};
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid);
	struct namespace *ns = subsystem_namespace(target->subsystems[1], 1);
	struct provider cmb = { .kind = PROVIDER_CMB, .name = "0000:03:00.0" };

	target_on_trouble(target, count_trouble, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct nvmf_req req = { .queue = admin, .ns = ns, .place = rows[i].place };

		no_cmb.provider[0] = &cmb;
		no_cmb.n = 1;
		ns->stage.candidate[0] = (struct stage_candidate){ .provider = &cmb,
								   .read.verdict = PROOF_ANY,
								   .write.verdict = PROOF_ANY };
		ns->stage.ncandidates = ns->stage.nusable = 1;
		target_provider_lost(target); /* has all told anew */
		nrestaged = ntroubles = 0;
		ck_assert_int_eq(io_retry_in_host_memory(&req, rows[i].err), rows[i].retried);
		ck_assert_uint_eq(nrestaged, rows[i].retried);
		/* here at once, elsewhere when the control thread has been told */
		ck_assert_msg(ns->shard[0].stage.view.n == rows[i].cmb_still_used, "row %zu", i);
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		ck_assert_uint_eq(ntroubles, rows[i].retried);
		ck_assert_msg(ns->stage.nusable == rows[i].cmb_still_used, "row %zu", i);
		ck_assert_msg(ns->shard[reactors.n - 1].stage.view.n == rows[i].cmb_still_used,
			      "row %zu", i);
		no_cmb.n = 0;
	}
	drop_queue(admin);
}
END_TEST

/* A file where the CPU copies (tmpfs) says so; that of the other tests is where the machine has it.
 */
START_TEST(a_file_without_direct_io_says_so)
{
	char name[] = "/dev/shm/nvmf-p2pd-test-XXXXXX";
	const char *why;
	struct backend *b;
	struct statx stx;
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	ck_assert_int_eq(backend_block_open(&reactors, name, false, &b, &why), 0);
	ck_assert_ptr_nonnull(strstr(b->info.copies, "no direct I/O"));
	b->ops->close(b);
	close(fd);
	ck_assert_int_eq(unlink(name), 0);
	ck_assert_int_eq(statx(AT_FDCWD, path, 0, STATX_DIOALIGN, &stx), 0);
	ck_assert_int_eq(backend_block_open(&reactors, path, false, &b, &why), 0);
	ck_assert_int_eq(!b->info.copies, stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_mem_align);
	b->ops->close(b);
}
END_TEST

START_TEST(device_that_shrank_is_an_error_and_not_a_hang)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = rw(2, 1, NBLOCKS - 4, 4);

	ck_assert_int_eq(truncate(path, FILE_LEN - 2 * 4096), 0); /* a short read, then none */
	ck_assert_uint_eq(run(q, &x), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* ---- CM private data ----------------------------------------------------------------------------
 */

static const struct cm_row {
	size_t len;
	uint16_t recfmt, qid, hrqsize, hsqsize_z;
	enum nvme_rdma_cm_status status;
} cm_rows[] = {
	{ 32, 0, 0, 32, 31, CM_OK },
	{ 56, 0, 1, 128, 127, CM_OK }, /* padded */
	{ 31, 0, 0, 32, 31, CM_INVALID_LENGTH },
	{ 0, 0, 0, 32, 31, CM_INVALID_LENGTH },
	{ 32, 1, 0, 32, 31, CM_INVALID_RECFMT },
	{ 32, 0, IO_QUEUE_ID_MAX, 32, 31, CM_OK },
	{ 32, 0, IO_QUEUE_ID_MAX + 1, 32, 31, CM_INVALID_QID },
	{ 32, 0, 1, 32, 0, CM_INVALID_HSQSIZE },
	{ 32, 0, 1, 32, 0xffff, CM_INVALID_HSQSIZE },
	{ 32, 0, 1, 0, 31, CM_INVALID_HRQSIZE },
};

START_TEST(cm_private_data)
{
	const struct cm_row *row = &cm_rows[_i];
	struct nvme_rdma_cm_request out;
	struct {
		struct nvme_rdma_cm_request req;
		uint8_t pad[24];
	} in = { .req = { .recfmt = put16(row->recfmt),
			  .qid = put16(row->qid),
			  .hrqsize = put16(row->hrqsize),
			  .hsqsize_z = put16(row->hsqsize_z) } };

	ck_assert_int_eq(cm_parse_request(row->len ? &in : NULL, row->len, &out), row->status);
}
END_TEST

/* ---- threads -----------------------------------------------------------------------------------
 */

#define NSENDERS  4
#define NMESSAGES 2000

struct numbered {
	struct message message; /* first */
	unsigned int sender, number;
};

static unsigned int next_number[NSENDERS], nwrong; /* of the receiving thread */

static void check_number(struct message *m)
{
	struct numbered *n = (struct numbered *)m;

	nwrong += next_number[n->sender]++ != n->number;
	free(n);
}

static void *send_messages(void *arg)
{
	unsigned int sender = *(unsigned int *)arg;

	for (unsigned int i = 0; i < NMESSAGES; i++) {
		struct numbered *n = calloc(1, sizeof(*n));

		*n = (struct numbered){ .message.run = check_number,
					.sender = sender,
					.number = i };
		reactor_post(reactors.r[1], &n->message);
	}
	return NULL;
}

START_TEST(messages_arrive_once_and_in_order)
{
	pthread_t thread[NSENDERS];
	unsigned int sender[NSENDERS];

	for (unsigned int i = 0; i < NSENDERS; i++) {
		sender[i] = i;
		ck_assert_int_eq(pthread_create(&thread[i], NULL, send_messages, &sender[i]), 0);
	}
	for (unsigned int i = 0; i < NSENDERS; i++)
		pthread_join(thread[i], NULL);
	reactor_call(reactors.r[1], nothing, NULL);
	ck_assert_uint_eq(nwrong, 0);
	for (unsigned int i = 0; i < NSENDERS; i++)
		ck_assert_uint_eq(next_number[i], NMESSAGES);
}
END_TEST

/* A queue that writes and reads its own blocks over and over, without the control thread. */
struct worker {
	struct exchange x; /* first */
	struct nvmf_queue *q;
	uint8_t *buf;
	uint64_t slba;
	unsigned int round, nleft, wrong;
	bool done; /* atomic */
};

static void worker_next(void *arg)
{
	struct worker *w = arg;

	if (w->nleft-- == 0) {
		__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
		return;
	}
	w->x.sqe = rw(w->nleft % 2 ? 1 : 2, 1, w->slba, 1).sqe;
	w->x.sqe.flags = SQE_PSDT_SGL;
	w->x.req.queue = w->q;
	w->x.req.sqe = &w->x.sqe;
	if (w->nleft % 2)
		memset(w->buf, (int)(w->nleft + w->slba) & 0xff, 4096);
	else
		memset(w->buf, 0xee, 4096);
	if (nvmf_req_check(&w->x.req)) {
		w->wrong++;
		worker_next(w);
		return;
	}
	w->x.req.data = w->buf;
	w->x.req.place = STAGE_HOST_NO_CMB;
	nvmf_req_execute(&w->x.req);
}

static void worker_respond(struct nvmf_req *req)
{
	struct worker *w = (struct worker *)req;

	if (req->cqe.status.raw)
		w->wrong++;
	if (req->dir == DATA_C2H && w->buf[17] != (uint8_t)(w->nleft + 1 + w->slba))
		w->wrong++;
	worker_next(w);
}

static const struct nvmf_queue_ops worker_ops = { worker_respond, restage, disconnect, abort_kept };

START_TEST(hosts_come_and_go_while_others_do_io)
{
	uint16_t cntlid, other;
	struct nvmf_queue *admin = open_enabled(&cntlid);
	struct worker w[4] = { 0 };

	for (unsigned int i = 0; i < 4; i++) {
		w[i].q = open_io_queue(cntlid, (uint16_t)(i + 1));
		w[i].buf = aligned_alloc(4096, 4096);
		w[i].slba = i * 7;
		w[i].nleft = 2000;
		w[i].q->ops = &worker_ops;
		reactor_call(w[i].q->reactor, worker_next, &w[i]);
	}
	for (unsigned int i = 0; i < 20; i++) {
		struct nvmf_queue *a = open_enabled(&other);
		struct nvmf_queue *b = open_io_queue(other, (uint16_t)(1 + i % 2));

		target_prove(target); /* new views under way */
		drop_queue(i % 3 ? a : b);
		drop_queue(i % 3 ? b : a);
	}
	for (unsigned int i = 0; i < 4; i++) {
		while (!__atomic_load_n(&w[i].done, __ATOMIC_ACQUIRE))
			ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		reactor_call(w[i].q->reactor, nothing, NULL);
		ck_assert_uint_eq(w[i].wrong, 0);
		drop_queue(w[i].q);
		free(w[i].buf);
	}
	drop_queue(admin);
}
END_TEST

/* It closed descriptor 0, whatever that was: a CMB's, after the first time. */
START_TEST(device_that_is_away_is_looked_for_without_harm)
{
	struct backend *b = target->subsystems[1]->namespaces[0]->backend;
	const char *why;

	ck_assert_int_eq(dup2(b->info.fd, 0), 0);
	ck_assert_int_eq(rename(path, "/var/tmp/nvmf-p2pd-test-away"), 0);
	ck_assert_int_eq(b->ops->reopen(b, &why), -ENOENT);
	ck_assert_int_ge(fcntl(0, F_GETFD), 0);
	ck_assert_int_ge(fcntl(b->info.fd, F_GETFD), 0);
	ck_assert_int_eq(rename("/var/tmp/nvmf-p2pd-test-away", path), 0);
	ck_assert_int_eq(b->ops->reopen(b, &why), 0);
	ck_assert_int_ge(fcntl(0, F_GETFD), 0);
}
END_TEST

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static void add_tests(Suite *s, const char *name, void (*fixture)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, fixture, teardown);
	tcase_add_loop_test(tc, connect_refuses_what_is_wrong, 0, NROWS(bad_connects));
	tcase_add_test(tc, nothing_but_connect_before_connect);
	tcase_add_test(tc, second_connect_is_a_sequence_error);
	tcase_add_test(tc, io_queue_belongs_to_its_controller);
	tcase_add_test(tc, controller_ends_with_its_admin_queue);
	tcase_add_test(tc, properties_follow_enable_and_shutdown);
	tcase_add_test(tc, reset_is_over_when_the_io_queues_are_gone);
	tcase_add_test(tc, enable_with_wrong_sizes_is_fatal);
	tcase_add_test(tc, admin_commands_wait_for_enable);
	tcase_add_test(tc, every_opcode_has_an_answer);
	tcase_add_test(tc, disconnect_ends_one_io_queue);
	tcase_add_test(tc, fused_and_prp_commands_are_refused);
	tcase_add_test(tc, sqhd_advances_and_wraps);
	tcase_add_test(tc, silent_host_is_dropped_after_its_keep_alive_time);
	tcase_add_loop_test(tc, read_and_write_check_their_range, 0, NROWS(rw_rows));
	tcase_add_test(tc, written_bytes_are_in_the_file_and_read_back);
	tcase_add_test(tc, namespaces_are_found_by_number_with_gaps_and_without);
	tcase_add_test(tc, io_that_failed_in_a_cmb_is_done_again_in_host_memory);
	tcase_add_test(tc, a_file_without_direct_io_says_so);
	tcase_add_test(tc, device_that_shrank_is_an_error_and_not_a_hang);
	tcase_add_test(tc, device_that_is_away_is_looked_for_without_harm);
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("target");
	TCase *tc = tcase_create("threads");

	add_tests(s, "one thread", setup);
	add_tests(s, "I/O threads", setup_threads);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, cm_private_data, 0, NROWS(cm_rows));
	tcase_add_test(tc, messages_arrive_once_and_in_order);
	tcase_add_checked_fixture(tc, setup_threads, teardown);
	tcase_add_test(tc, hosts_come_and_go_while_others_do_io);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
