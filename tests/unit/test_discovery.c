/* The discovery service: entries, who sees them, generations, events, pieces, keep alive. */
#include "target/durable.h"
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#define STRANGER  "nqn.2014-08.org.nvmexpress:uuid:stranger"
#define OPEN_NQN  "nqn.2026-11.org.example:open"
#define UNIQUE    "nqn.2026-11.org.example:discovery"
#define OTHER_NQN "nqn.2026-11.org.example:discovery2"

static uint16_t first_port[] = { 1 }, both_ports[] = { 1, 2 };
static struct config_subsystem two[2];
static struct config_referral referrals[2] = {
	{ .address = "fd00::9",
	  .service = "4422",
	  .nqn = OTHER_NQN,
	  .port_id = 7,
	  .ports = both_ports,
	  .nports = 2 },
	{ .address = "10.0.0.8",
	  .service = "4420",
	  .nqn = NVME_DISC_SUBSYS_NAME,
	  .ports = first_port,
	  .nports = 1 },
};

static void setup_named(const char *nqn, size_t nreferrals)
{
	two[0] = subsystems[0]; /* one host, port 1 */
	two[1] = (struct config_subsystem){
		.nqn = OPEN_NQN, .allow_any_host = true, .ports = both_ports, .nports = 2
	};
	conf.subsystems = two;
	conf.nsubsystems = 2;
	conf.referrals = referrals;
	conf.nreferrals = nreferrals;
	conf.discovery_nqn = nqn;
	setup_with(1);
}

static void setup_plain(void)
{
	setup_named(NULL, 0);
}

static void setup_unique(void)
{
	setup_named(UNIQUE, 2);
}

static struct nvmf_queue *open_discovery_on(const struct config_port *port, const char *nqn,
					    const char *hostnqn, uint32_t kato_ms)
{
	struct nvmf_queue *q = open_queue_on(port, 0);
	struct exchange x = connect_command(0, 0xffff);
	struct nvmf_connect_data *d = (void *)data;

	((struct nvmf_connect_sqe *)&x.sqe)->kato_ms = put32(kato_ms);
	strcpy(d->subsysnqn, nqn);
	strcpy(d->hostnqn, hostnqn);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(set_cc(q, CC_EN), NVME_OK);
	return q;
}

static struct nvmf_queue *discover(const char *hostnqn)
{
	return open_discovery_on(&ports[0], NVME_DISC_SUBSYS_NAME, hostnqn, 30000);
}

#define PLEO 0x200
#define RAE  0x8000

static uint16_t get_log(struct nvmf_queue *q, uint32_t bits, uint32_t len, uint64_t offset)
{
	struct exchange x = { .sqe = { .opcode = 0x02,
				       .cdw10 = put32(0x70 | bits | (len / 4 - 1) << 16),
				       .cdw12 = put32((uint32_t)offset),
				       .cdw13 = put32((uint32_t)(offset >> 32)) } };

	memset(data, 0xee, len);
	return run(q, &x);
}

/* Each entry as "subtype portid traddr:trsvcid subnqn treq eflags", one a line. */
static const char *read_entries(struct nvmf_queue *q, uint32_t bits)
{
	const struct nvmf_discovery_log *log = (void *)data;
	static char text[4096];
	size_t n = 0;

	text[0] = '\0';
	ck_assert_uint_eq(get_log(q, bits, 16384, 0), NVME_OK);
	for (size_t i = 0; i < le64toh(log->numrec); i++) {
		const struct nvmf_disc_log_entry *e = &log->entries[i];

		ck_assert_uint_eq(e->trtype, NVMF_TRTYPE_RDMA);
		ck_assert_uint_eq(e->cntlid, 0xffff);
		ck_assert_uint_eq(le16toh(e->asqsz), 32);
		ck_assert_uint_eq(e->adrfam, memchr(e->traddr, ':', sizeof(e->traddr)) ? 2 : 1);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u %u %.*s:%.*s %s %x %x\n",
				      e->subtype, le16toh(e->portid), (int)strcspn(e->traddr, " "),
				      e->traddr, (int)strcspn(e->trsvcid, " "), e->trsvcid,
				      e->subnqn, e->treq, le16toh(e->eflags));
	}
	return text;
}

static uint64_t genctr(struct nvmf_queue *q, uint32_t bits)
{
	ck_assert_uint_eq(get_log(q, bits, 16, 0), NVME_OK);
	return le64toh(((const struct nvmf_discovery_log *)data)->genctr);
}

/* ---- entries ---------------------------------------------------------------------------------
 */

#define WELL_KNOWN "nqn.2014-08.org.nvmexpress.discovery"
#define CURR1      "3 1 10.0.0.1:4420 " WELL_KNOWN " 4 3\n"
#define CURR2      "3 2 10.9.9.9:4421 " WELL_KNOWN " 4 3\n"
#define OURS       "2 1 10.0.0.1:4420 " NQN " 4 0\n"
#define OPEN1      "2 1 10.0.0.1:4420 " OPEN_NQN " 4 0\n"
#define OPEN2      "2 2 10.9.9.9:4421 " OPEN_NQN " 4 0\n" /* where the host reached the wildcard */

START_TEST(host_sees_what_it_may_use)
{
	struct nvmf_queue *q = discover(HOSTNQN);

	ck_assert_str_eq(read_entries(q, 0), CURR1 CURR2 OURS OPEN1 OPEN2);
	ck_assert_str_eq(read_entries(q, PLEO), CURR1 OURS OPEN1);
	drop_queue(q);
	q = discover(STRANGER);
	ck_assert_str_eq(read_entries(q, 0), CURR1 CURR2 OPEN1 OPEN2);
	drop_queue(q);
	q = open_discovery_on(&ports[1], WELL_KNOWN, HOSTNQN, 0);
	ck_assert_str_eq(read_entries(q, PLEO), CURR2 OPEN2);
	drop_queue(q);
}
END_TEST

START_TEST(single_port_is_nobodys_twin)
{
	struct nvmf_queue *q;

	conf.nports = 1;
	q = discover(STRANGER);
	ck_assert_str_eq(read_entries(q, 0), "3 1 10.0.0.1:4420 " WELL_KNOWN " 4 2\n" OPEN1);
	drop_queue(q);
	conf.nports = 2;
}
END_TEST

/* With referrals that not all ports have, ports do not answer alike. */
#define UNIQUE1 "3 1 10.0.0.1:4420 " UNIQUE " 4 2\n"
#define UNIQUE2 "3 2 10.9.9.9:4421 " UNIQUE " 4 2\n"
#define FAR     "1 7 fd00::9:4422 " OTHER_NQN " 0 0\n"
#define FAR1    "1 0 10.0.0.8:4420 " WELL_KNOWN " 0 0\n"

START_TEST(unique_name_and_referrals)
{
	static const char *const names[] = { WELL_KNOWN, UNIQUE };

	for (size_t i = 0; i < 2; i++) {
		struct nvmf_queue *q = open_discovery_on(&ports[0], names[i], STRANGER, 30000);
		struct exchange x = { .sqe = { .opcode = 0x06, .cdw10 = put32(1) } };

		ck_assert_str_eq(read_entries(q, 0), UNIQUE1 UNIQUE2 OPEN1 OPEN2 FAR FAR1);
		ck_assert_str_eq(read_entries(q, PLEO), UNIQUE1 OPEN1);
		ck_assert_uint_eq(run(q, &x), NVME_OK);
		ck_assert_str_eq(((const struct nvme_id_ctrl *)data)->subnqn, UNIQUE);
		drop_queue(q);
		q = open_discovery_on(&ports[1], names[i], STRANGER, 30000);
		ck_assert_str_eq(read_entries(q, 0), UNIQUE1 UNIQUE2 OPEN1 OPEN2 FAR);
		drop_queue(q);
	}
}
END_TEST

/* ---- change ----------------------------------------------------------------------------------
 */

static void park_event_request(struct nvmf_queue *q, struct exchange *x)
{
	*x = (struct exchange){ .sqe = { .opcode = 0x0c, .flags = SQE_PSDT_SGL } };
	x->req.queue = q;
	x->req.sqe = &x->sqe;
	ck_assert_uint_eq(nvmf_req_check(&x->req), NVME_OK);
	nvmf_req_execute(&x->req);
}

static void want_events(struct nvmf_queue *q)
{
	struct exchange x = {
		.sqe = { .opcode = 0x09, .cdw10 = put32(0x0b), .cdw11 = put32(UINT32_C(1) << 31) }
	};

	ck_assert_uint_eq(run(q, &x), NVME_OK);
}

/* The number on the disk. */
static uint64_t kept_genctr(void)
{
	uint8_t file[24];
	le64 n;

	ck_assert_int_eq(durable_read(state_dir, "discovery", file, sizeof(file)), sizeof(file));
	memcpy(&n, file + 16, sizeof(n));
	return get64(n);
}

/* ... and it is on the disk, and told. */
static void discovery_changed(void)
{
	target_discovery_changed(target);
	while (target->restart.discovery.saving)
		(void)reactor_run_messages(reactors.r[0]);
}

/* Nobody sees a number that a power loss could take back: neither who is there, nor who comes while
 * it is on its way to the disk. */
START_TEST(generation_is_on_the_disk_before_it_is_seen)
{
	struct nvmf_queue *ours, *q;
	uint64_t first;

	make_state_folder();
	discovery_changed();
	ours = discover(HOSTNQN);
	first = genctr(ours, RAE);
	ck_assert_uint_eq(kept_genctr(), first);
	two[0].nports = 0;
	target_discovery_changed(target);
	ck_assert_uint_eq(genctr(ours, RAE), first); /* the page of before, too */
	ck_assert_str_eq(read_entries(ours, RAE), CURR1 CURR2 OURS OPEN1 OPEN2);
	two[0].nports = 1;
	target_discovery_changed(target);
	q = discover(STRANGER);
	ck_assert_uint_eq(genctr(q, 0), first + 2);
	ck_assert_uint_eq(kept_genctr(), first + 2);
	discovery_changed();
	ck_assert_uint_eq(kept_genctr(), first + 3);
	drop_queue(q);
	drop_queue(ours);
}
END_TEST

START_TEST(generation_changes_exactly_when_the_page_does)
{
	struct nvmf_queue *ours = discover(HOSTNQN), *other = discover(STRANGER), *q;
	struct exchange x[3];
	uint64_t first;

	want_events(ours);
	want_events(other);
	for (int i = 0; i < 3; i++)
		park_event_request(i == 2 ? other : ours, &x[i]);
	first = genctr(ours, RAE);
	discovery_changed(); /* nothing did */
	ck_assert_uint_eq(genctr(ours, RAE), first);
	ck_assert(!x[0].answered);

	two[0].nports = 0; /* what only one of them sees */
	discovery_changed();
	ck_assert(x[0].answered);
	ck_assert_uint_eq(get32(x[0].req.cqe.dw0), 0x70f002);
	ck_assert_uint_eq(genctr(ours, RAE), first + 1);
	ck_assert_uint_eq(genctr(ours, RAE | PLEO), first + 1);
	ck_assert_uint_eq(genctr(other, RAE), first);
	ck_assert(!x[2].answered);
	ck_assert_str_eq(read_entries(ours, RAE), CURR1 CURR2 OPEN1 OPEN2);

	conf.nreferrals = 1; /* what both see; the first has not read the log without RAE yet */
	discovery_changed();
	ck_assert(!x[1].answered);
	ck_assert(x[2].answered);
	ck_assert_uint_eq(genctr(other, 0), first + 1);
	ck_assert_str_eq(read_entries(ours, 0), CURR1 CURR2 OPEN1 OPEN2 FAR);
	ck_assert_uint_eq(genctr(ours, 0), first + 2);

	/* a number never comes back with another page */
	q = discover(STRANGER);
	ck_assert_uint_ge(genctr(q, 0), first + 2);
	drop_queue(q);
	drop_queue(other);
	drop_queue(ours);
	two[0].nports = 1;
	conf.nreferrals = 0;
}
END_TEST

/* Host after host reads in pieces of 1 KiB while the configuration changes under it. */
START_TEST(pieces_are_of_one_page_or_the_counter_tells)
{
	struct nvmf_queue *q = discover(HOSTNQN);
	uint8_t page[8 * 1024];

	for (unsigned int when = 1; when < 6; when++) {
		uint64_t before = genctr(q, 0), numrec;

		ck_assert_uint_eq(get_log(q, 0, 1024, 0), NVME_OK);
		memcpy(page, data, 1024);
		numrec = le64toh(((const struct nvmf_discovery_log *)data)->numrec);
		for (unsigned int piece = 1; piece <= numrec; piece++) {
			if (piece == when) {
				two[1].nports = 3 - two[1].nports; /* 1 or 2 */
				discovery_changed();
			}
			/* beyond the end of a shorter page is an error or zeros, never stale */
			if (get_log(q, 0, 1024, piece * 1024) == NVME_OK)
				memcpy(page + piece * 1024, data, 1024);
		}
		ck_assert_uint_eq(genctr(q, 0) != before, when <= numrec);
	}
	two[1].nports = 2;
	drop_queue(q);
}
END_TEST

START_TEST(lengths_and_offsets)
{
	static const struct {
		uint32_t len;
		uint64_t offset;
		uint16_t status;
	} rows[] = {
		{ 16, 0, NVME_OK },
		{ 1024, 0, NVME_OK },
		{ 1024, 1024, NVME_OK },
		{ 1024, 5 * 1024, NVME_OK },
		{ 4, 6 * 1024, NVME_OK }, /* the very end: zeros */
		{ 4, 6 * 1024 + 4, NVME_INVALID_FIELD | NVME_DNR },
		{ 4, 2, NVME_INVALID_FIELD | NVME_DNR },
		{ 4, UINT64_MAX - 3, NVME_INVALID_FIELD | NVME_DNR },
	};
	struct nvmf_queue *q = discover(HOSTNQN); /* 5 entries */

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_msg(get_log(q, 0, rows[i].len, rows[i].offset) == rows[i].status,
			      "row %zu", i);
	drop_queue(q);
}
END_TEST

/* ---- the controller --------------------------------------------------------------------------
 */

START_TEST(connections_without_keep_alive_end_when_idle)
{
	static const struct {
		uint32_t asked_ms, kato_ms;
		double seconds;
		uint16_t keep_alive;
	} rows[] = {
		{ 0, 0, 120, NVME_KATO_INVALID | NVME_DNR },
		{ 1, 1000, 1, NVME_OK },
		{ 30000, 30000, 30, NVME_OK },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct nvmf_queue *q =
			open_discovery_on(&ports[0], WELL_KNOWN, HOSTNQN, rows[i].asked_ms);
		struct exchange x = { .sqe = { .opcode = 0x18 } };

		ck_assert_uint_eq(q->ctrl->kato_ms, rows[i].kato_ms);
		ck_assert(ev_is_active(&q->ctrl->kato_timer));
		ck_assert(q->ctrl->kato_timer.repeat == rows[i].seconds);
		ck_assert_uint_eq(run(q, &x), rows[i].keep_alive);
		x = (struct exchange){ .sqe = { .opcode = 0x0a, .cdw10 = put32(0x0f) } };
		ck_assert_uint_eq(run(q, &x), NVME_OK);
		ck_assert_uint_eq(get32(x.req.cqe.dw0), rows[i].kato_ms);
		drop_queue(q);
	}
}
END_TEST

static const struct command_row {
	uint8_t opcode;
	uint32_t dw10, dw11;
	uint16_t status;
} command_rows[] = {
	{ 0x06, 0x01, 0, NVME_OK },
	{ 0x06, 0x00, 0, NVME_INVALID_FIELD | NVME_DNR },
	{ 0x06, 0x02, 0, NVME_INVALID_FIELD | NVME_DNR },
	{ 0x02, 0x00 | 255 << 16, 0, NVME_OK },
	{ 0x02, 0x02 | 127 << 16, 0, NVME_INVALID_LOG_PAGE | NVME_DNR },
	{ 0x02, 0x0c | 127 << 16, 0, NVME_INVALID_LOG_PAGE | NVME_DNR },
	{ 0x09, 0x0f, 5000, NVME_OK },
	{ 0x09, 0x0b, UINT32_C(1) << 31, NVME_OK },
	{ 0x09, 0x0b, 1 << 11, NVME_INVALID_FIELD | NVME_DNR },
	{ 0x09, 0x07, 0, NVME_INVALID_FIELD | NVME_DNR },
	{ 0x0a, 0x07, 0, NVME_INVALID_FIELD | NVME_DNR },
	{ 0x0a, 0x0b, 0, NVME_OK },
	{ 0x18, 0, 0, NVME_OK },
};

START_TEST(discovery_controller_has_these_commands)
{
	struct nvmf_queue *q = discover(HOSTNQN);
	const struct command_row *row = &command_rows[_i];
	struct exchange x = { .sqe = { .opcode = row->opcode,
				       .cdw10 = put32(row->dw10),
				       .cdw11 = put32(row->dw11) } };

	ck_assert_uint_eq(run(q, &x), row->status);
	drop_queue(q);
}
END_TEST

START_TEST(supported_pages_tell_of_port_local_entries)
{
	struct nvmf_queue *q = discover(HOSTNQN);
	struct exchange x = { .sqe = { .opcode = 0x02, .cdw10 = put32(255u << 16) } };

	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(get32(((const le32 *)(const void *)data)[0x70]), 1 | 2 << 16);
	ck_assert_uint_eq(get32(((const le32 *)(const void *)data)[0x02]), 0);
	drop_queue(q);
}
END_TEST

START_TEST(discovery_controller_has_no_io_queues)
{
	struct nvmf_queue *q = discover(HOSTNQN), *io = open_queue(1);
	struct exchange x = connect_command(1, q->ctrl->cntlid);

	strcpy(((struct nvmf_connect_data *)data)->subsysnqn, WELL_KNOWN);
	ck_assert_uint_eq(run(io, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	drop_queue(io);
	drop_queue(q);
}
END_TEST

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

int main(void)
{
	Suite *s = suite_create("discovery");
	TCase *tc = tcase_create("plain"), *unique = tcase_create("unique");

	tcase_add_checked_fixture(tc, setup_plain, teardown);
	tcase_add_test(tc, host_sees_what_it_may_use);
	tcase_add_test(tc, single_port_is_nobodys_twin);
	tcase_add_test(tc, generation_changes_exactly_when_the_page_does);
	tcase_add_test(tc, generation_is_on_the_disk_before_it_is_seen);
	tcase_add_test(tc, pieces_are_of_one_page_or_the_counter_tells);
	tcase_add_test(tc, lengths_and_offsets);
	tcase_add_test(tc, connections_without_keep_alive_end_when_idle);
	tcase_add_loop_test(tc, discovery_controller_has_these_commands, 0, NROWS(command_rows));
	tcase_add_test(tc, supported_pages_tell_of_port_local_entries);
	tcase_add_test(tc, discovery_controller_has_no_io_queues);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(unique, setup_unique, teardown);
	tcase_add_test(unique, unique_name_and_referrals);
	suite_add_tcase(s, unique);
	return run_suite(s);
}
