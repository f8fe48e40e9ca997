/* Configurations that change while hosts are connected, and who may connect to what. */
#include <stdbool.h>
#include <stdlib.h>

/* The n-th allocation from now on, in what a reload is made of, fails; 0: none does. */
static unsigned int fail_at;

static bool fails(void)
{
	return fail_at && --fail_at == 0;
}

static void *fault_calloc(size_t n, size_t size)
{
	return fails() ? NULL : calloc(n, size);
}

static void *fault_reallocarray(void *old, size_t n, size_t size)
{
	return fails() ? NULL : reallocarray(old, n, size);
}

#define calloc       fault_calloc
#define reallocarray fault_reallocarray
#include "target/ana.c"
#include "target/ns_map.c"
#include "target/reload.c"
#undef calloc
#undef reallocarray

#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#include <stdarg.h>

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define OTHER       "nqn.2026-11.org.example:other"

static char second[] = "/var/tmp/nvmf-p2pd-test-XXXXXX";
static struct config *current; /* of the last reload; NULL: conf */
static struct config_diag diag;
static char conf_path[] = "/var/tmp/nvmf-p2pd-test-XXXXXX";

static void make_file(char *name, off_t len)
{
	int fd;

	strcpy(name + strlen(name) - 6, "XXXXXX");
	fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, len), 0);
	close(fd);
}

static void setup_two(void)
{
	setup();
	make_file(second, FILE_LEN / 2);
	make_file(conf_path, 0);
}

static void setup_two_threads(void)
{
	setup_threads();
	make_file(second, FILE_LEN / 2);
	make_file(conf_path, 0);
}

static void teardown_two(void)
{
	teardown();
	config_free(current);
	current = NULL;
	unlink(second);
	unlink(conf_path);
}

#define PORT1 "ports = ( { id = 1; address = \"10.0.0.1\"; } );"

/* A configuration as in a file: what stands before the subsystem, its keys, its namespaces ('A' and
 * 'B' stand for the two devices), and other subsystems. */
static struct config *parse(const char *top, const char *rights, const char *list, const char *more)
{
	struct config *c;
	FILE *f = fopen(conf_path, "w");

	fprintf(f, "%s\nsubsystems = ( { nqn = \"" NQN "\"; %s namespaces = (", top, rights);
	for (; *list; list++)
		if (*list == 'A' || *list == 'B')
			fprintf(f, "device = \"%s\";", *list == 'A' ? path : second);
		else
			putc(*list, f);
	fprintf(f, "); } %s );\n", more);
	fclose(f);
	ck_assert_msg(config_load(conf_path, &c, &diag) == 0, "%s; %s", diag.what, diag.fix);
	return c;
}

/* As daemon_reload() does it; at first there is conf, which is nobody's. */
static int apply(struct config *c)
{
	struct config *before = current ? current : &conf;
	struct target_plan *plan;
	int err = target_prepare(target, c, &plan, &diag);

	if (err) {
		config_free(c);
		return err;
	}
	target_commit(plan);
	current = c;
	target_retire_conf(target, before);
	return 0;
}

static int reload(const char *rights, const char *list)
{
	return apply(parse(PORT1, rights, list, ""));
}

#define ANY "allow_any_host = true;"

static struct exchange read_of(uint32_t nsid, uint64_t slba)
{
	struct exchange x = { .sqe = { .opcode = 2, .nsid = put32(nsid) } };

	x.sqe.cdw10 = put32((uint32_t)slba);
	return x;
}

static uint16_t read_status(struct nvmf_queue *q, uint32_t nsid, uint64_t slba)
{
	struct exchange x = read_of(nsid, slba);

	return run(q, &x);
}

/* The host's answer to an event: the log page, which allows the next. */
static void read_changed_list(struct nvmf_queue *admin, uint32_t nsid[4])
{
	struct exchange x = { .sqe = { .opcode = 2, .nsid = put32(UINT32_MAX) } };

	x.sqe.cdw10 = put32(0x04 | (4096 / 4 - 1) << 16);
	ck_assert_uint_eq(run(admin, &x), NVME_OK);
	for (int i = 0; i < 4; i++)
		nsid[i] = get32(((le32 *)data)[i]);
}

static void start_only(struct nvmf_queue *q, struct exchange *x)
{
	x->req.queue = q;
	x->req.sqe = &x->sqe;
	x->sqe.flags = SQE_PSDT_SGL;
	reactor_call(q->reactor, start, x);
}

/* An admin queue whose host wants to hear of namespaces. */
static struct nvmf_queue *listening_admin(uint16_t *ret_cntlid)
{
	struct nvmf_queue *admin = open_enabled(ret_cntlid);
	struct exchange x = { .sqe = { .opcode = 0x09 } };

	x.sqe.cdw10 = put32(0x0b);
	x.sqe.cdw11 = put32(1 << 8);
	ck_assert_uint_eq(run(admin, &x), NVME_OK);
	return admin;
}

#define NS_EVENT 0x040002u

START_TEST(namespaces_come_and_go_and_hosts_are_told)
{
	uint16_t cntlid;
	uint32_t nsid[4];
	struct nvmf_queue *admin = listening_admin(&cntlid), *q = open_io(cntlid);
	struct exchange aer[3] = { 0 };

	for (int i = 0; i < 3; i++) {
		aer[i].sqe.opcode = 0x0c;
		start_only(admin, &aer[i]);
	}
	ck_assert_uint_eq(read_status(q, 2, 0), NVME_INVALID_NS | NVME_DNR);
	/* two come: one event until the list is read */
	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }, { nsid = 2; B }"), 0);
	ck_assert_uint_eq(read_status(q, 2, 0), NVME_OK);
	ck_assert(is_answered(&aer[0]));
	ck_assert_uint_eq(get32(aer[0].req.cqe.dw0), NS_EVENT);
	ck_assert(!is_answered(&aer[1]));
	/* one goes meanwhile; the list says both */
	ck_assert_int_eq(reload(ANY, "{ nsid = 2; B }"), 0);
	ck_assert_uint_eq(read_status(q, 1, 0), NVME_INVALID_NS | NVME_DNR);
	ck_assert_uint_eq(read_status(q, 2, 0), NVME_OK);
	ck_assert(!is_answered(&aer[1]));
	read_changed_list(admin, nsid);
	ck_assert_uint_eq(nsid[0], 1);
	ck_assert_uint_eq(nsid[1], 2);
	ck_assert_uint_eq(nsid[2], 0);
	read_changed_list(admin, nsid);
	ck_assert_uint_eq(nsid[0], 0);
	/* told again, since the list was read */
	ck_assert_int_eq(reload(ANY, "{ nsid = 3; A }"), 0);
	ck_assert(is_answered(&aer[1]));
	ck_assert_uint_eq(read_status(q, 2, 0), NVME_INVALID_NS | NVME_DNR);
	ck_assert_uint_eq(read_status(q, 3, NBLOCKS - 1), NVME_OK);
	/* nothing has changed: nobody is told */
	read_changed_list(admin, nsid);
	ck_assert_int_eq(reload(ANY, "{ nsid = 3; A }"), 0);
	ck_assert(!is_answered(&aer[2]));
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(device_of_a_namespace_is_replaced)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);

	ck_assert_uint_eq(read_status(q, 1, NBLOCKS - 1), NVME_OK);
	ck_assert_int_eq(reload(ANY, "{ nsid = 1; B }"), 0);
	ck_assert_uint_eq(read_status(q, 1, NBLOCKS - 1), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	ck_assert_uint_eq(read_status(q, 1, NBLOCKS / 2 - 1), NVME_OK);
	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }"), 0);
	ck_assert_uint_eq(read_status(q, 1, NBLOCKS - 1), NVME_OK);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(failed_reload_changes_nothing)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = listening_admin(&cntlid), *q = open_io(cntlid);
	struct exchange aer = { .sqe = { .opcode = 0x0c } };

	start_only(admin, &aer);
	ck_assert_int_eq(reload(ANY, "{ nsid = 2; B }, { nsid = 3; device = \"/dev/null\"; }"),
			 -ENOTBLK);
	ck_assert_uint_eq(read_status(q, 1, 0), NVME_OK);
	ck_assert_uint_eq(read_status(q, 2, 0), NVME_INVALID_NS | NVME_DNR);
	ck_assert(!is_answered(&aer));
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* Nobody sees a namespace whose device is not there; when it is, hosts are told, and it is as any
 * other. */
START_TEST(device_that_is_not_there_is_waited_for)
{
	uint16_t cntlid;
	uint32_t nsid[4];
	struct nvmf_queue *admin = listening_admin(&cntlid), *q = open_io(cntlid);
	struct exchange aer = { .sqe = { .opcode = 0x0c } };
	char *text = NULL, expect[128];
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	bool back;
	int fd;

	unlink(second);
	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }, { nsid = 2; B }"), 0);
	start_only(admin, &aer);
	ck_assert_uint_eq(read_status(q, 2, 0), NVME_INVALID_NS | NVME_DNR);
	ck_assert_uint_eq(target_waiting(target, out), 1);
	fclose(out);
	snprintf(expect, sizeof(expect), "; namespace 2 of " NQN ": %s is not there yet", second);
	ck_assert_str_eq(text, expect);
	free(text);
	ck_assert_uint_eq(target_check_devices(target, &back), 1);
	ck_assert(!back);
	target_prove(target);
	target_check_sizes(target);
	ck_assert(!is_answered(&aer));
	/* a reload keeps on waiting */
	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }, { nsid = 2; cmb = \"off\"; B }"), 0);
	fd = open(second, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, FILE_LEN / 2), 0);
	close(fd);
	ck_assert_uint_eq(target_check_devices(target, &back), 0);
	ck_assert(back);
	ck_assert(is_answered(&aer));
	read_changed_list(admin, nsid);
	ck_assert_uint_eq(nsid[0], 2);
	ck_assert_uint_eq(nsid[1], 0);
	ck_assert_uint_eq(read_status(q, 2, NBLOCKS / 2 - 1), NVME_OK);
	ck_assert_uint_eq(read_status(q, 2, NBLOCKS / 2), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	/* one that is waited for can be taken out again */
	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }, { nsid = 3; device = \"/nowhere\"; }"), 0);
	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }"), 0);
	for (int i = 0; i < 100 && target->nretiring; i++)
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
	ck_assert_uint_eq(target->nretiring, 0);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* So is a controller that is to be passed through: its hosts shall try again. */
START_TEST(controller_that_is_not_there_is_waited_for)
{
	struct nvmf_queue *q = open_queue(0);
	struct exchange x = connect_command(0, 0xffff);
	struct nvmf_connect_data *d = (void *)data;
	char *text = NULL;
	size_t len = 0;
	FILE *out;
	bool back;

	for (int i = 0; i < 2; i++) /* a reload keeps on waiting */
		ck_assert_int_eq(apply(parse(PORT1, ANY, "{ nsid = 1; A }",
					     ", { nqn = \"" OTHER "\"; allow_any_host = true;"
					     "passthrough = \"0000:ff:1f.7\"; }")),
				 0);
	out = open_memstream(&text, &len);
	ck_assert_uint_eq(target_waiting(target, out), 1);
	fclose(out);
	ck_assert_str_eq(text, "; subsystem " OTHER ": controller 0000:ff:1f.7 is not there yet");
	free(text);
	ck_assert(target_waits(target));
	ck_assert_uint_eq(target_check_devices(target, &back), 1);
	ck_assert(!back);
	strcpy(d->subsysnqn, OTHER);
	ck_assert_uint_eq(run(q, &x), NVME_CONNECT_BUSY); /* without DNR */
	drop_queue(q);
}
END_TEST

/* A command in flight on a namespace that goes: it ends well, and only then the device is closed.
 */
START_TEST(what_is_in_flight_keeps_its_namespace)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = { .sqe = { .opcode = 1, .nsid = put32(1), .flags = SQE_PSDT_SGL } };

	x.req.queue = q;
	x.req.sqe = &x.sqe;
	ck_assert_uint_eq(nvmf_req_check(&x.req), NVME_OK); /* its data is on its way */
	x.req.data = data;
	memset(data, 0x5a, 4096);
	ck_assert_int_eq(reload(ANY, "{ nsid = 2; B }"), 0);
	ck_assert_uint_eq(target->nretiring, 1);
	for (int i = 0; i < 10; i++)
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
	ck_assert_uint_eq(target->nretiring, 1);
	nvmf_req_execute(&x.req);
	for (int ms = 0; target->nretiring && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	ck_assert(is_answered(&x));
	ck_assert_uint_eq(get16(x.req.cqe.status), NVME_OK);
	ck_assert_uint_eq(target->nretiring, 0);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(resized_device_is_told)
{
	uint16_t cntlid;
	uint32_t nsid[4];
	struct nvmf_queue *admin = listening_admin(&cntlid), *q = open_io(cntlid);
	struct exchange aer = { .sqe = { .opcode = 0x0c } };

	start_only(admin, &aer);
	target_check_sizes(target);
	ck_assert(!is_answered(&aer));
	ck_assert_uint_eq(read_status(q, 1, NBLOCKS), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
	ck_assert_int_eq(truncate(path, 2 * FILE_LEN), 0);
	target_check_sizes(target);
	ck_assert(is_answered(&aer));
	ck_assert_uint_eq(get32(aer.req.cqe.dw0), NS_EVENT);
	ck_assert_uint_eq(read_status(q, 1, 2 * NBLOCKS - 1), NVME_OK);
	read_changed_list(admin, nsid);
	ck_assert_uint_eq(nsid[0], 1);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(namespaces_are_hidden_from_hosts)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = { .sqe = { .opcode = 0x06, .nsid = put32(0) } };

	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A allowed_hosts = ( \"" OTHER "\" ); },"
				     "{ nsid = 2; B allowed_hosts = ( \"" HOSTNQN "\" ); }"),
			 0);
	ck_assert_uint_eq(read_status(q, 1, 0), NVME_INVALID_NS | NVME_DNR);
	ck_assert_uint_eq(read_status(q, 2, 0), NVME_OK);
	x.sqe.cdw10 = put32(2); /* the active list */
	ck_assert_uint_eq(run(admin, &x), NVME_OK);
	ck_assert_uint_eq(get32(((le32 *)data)[0]), 2);
	ck_assert_uint_eq(get32(((le32 *)data)[1]), 0);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(host_that_is_not_allowed_any_more_is_disconnected)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid);
	struct exchange x;

	ck_assert_int_eq(reload("allowed_hosts = ( \"" OTHER "\" );", "{ nsid = 1; A }"), 0);
	ck_assert_int_eq(admin->state, QUEUE_LEAVING);
	drop_queue(admin);
	admin = open_queue(0);
	x = connect_command(0, 0xffff);
	ck_assert_uint_eq(run(admin, &x), NVME_CONNECT_INVALID_HOST | NVME_DNR);
	drop_queue(admin);
}
END_TEST

static struct exchange connect_as(const char *hostnqn, uint16_t qid, uint16_t cntlid)
{
	struct exchange x = connect_command(qid, cntlid);

	strcpy(((struct nvmf_connect_data *)data)->hostnqn, hostnqn);
	return x;
}

#define BAD_CNTLID (NVME_CONNECT_INVALID_PARAM | NVME_DNR)

/* Which controller ID may be asked for, and which is got, one connection after the other. */
static const struct model_row {
	const char *settings;
	struct {
		uint16_t asked, status, cntlid;
	} step[4];
} model_rows[] = {
	{ "cntlid_min = 7; cntlid_max = 8;",
	  { { 0xffff, 0, 7 },
	    { 0xffff, 0, 8 },
	    { 0xffff, NVME_CONNECT_BUSY, 0 },
	    { 7, BAD_CNTLID, 0 } } },
	{ "cntlid_min = 7; cntlid_max = 8;", { { 0xfffe, BAD_CNTLID, 0 }, { 0, BAD_CNTLID, 0 } } },
	{ "controller_model = \"static\"; cntlid_min = 7; cntlid_max = 8;",
	  { { 0xfffe, 0, 7 },
	    { 7, NVME_CONNECT_BUSY, 0 },
	    { 8, 0, 8 },
	    { 0xfffe, NVME_CONNECT_BUSY, 0 } } },
	{ "controller_model = \"static\"; cntlid_min = 7; cntlid_max = 8;",
	  { { 0xffff, BAD_CNTLID, 0 }, { 6, BAD_CNTLID, 0 }, { 9, BAD_CNTLID, 0 }, { 8, 0, 8 } } },
	{ "max_controllers = 1;", { { 0xffff, 0, 1 }, { 0xffff, NVME_CONNECT_BUSY, 0 } } },
};

START_TEST(controller_ids_follow_the_model)
{
	const struct model_row *row = &model_rows[_i];
	struct nvmf_queue *q[4] = { 0 };
	char rights[256];

	snprintf(rights, sizeof(rights), ANY "%s", row->settings);
	ck_assert_int_eq(reload(rights, "{ nsid = 1; A }"), 0);
	for (int i = 0; i < 4 && (row->step[i].asked || row->step[i].status); i++) {
		struct exchange x = connect_command(0, row->step[i].asked);

		q[i] = open_queue(0);
		ck_assert_uint_eq(run(q[i], &x), row->step[i].status);
		if (row->step[i].status == BAD_CNTLID)
			ck_assert_uint_eq(get32(x.req.cqe.dw0),
					  1u << 16 | offsetof(struct nvmf_connect_data, cntlid));
		else if (!row->step[i].status)
			ck_assert_uint_eq(get32(x.req.cqe.dw0), row->step[i].cntlid);
	}
	for (int i = 0; i < 4; i++)
		if (q[i])
			drop_queue(q[i]);
}
END_TEST

START_TEST(one_host_has_its_limits)
{
	struct nvmf_queue *admin[3], *io[2];
	struct exchange x;
	uint16_t cntlid;

	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }"), 0);
	current->host_controllers = 2;
	current->host_queues = 1;
	admin[0] = open_enabled(&cntlid);
	admin[1] = open_queue(0);
	x = connect_command(0, 0xffff);
	ck_assert_uint_eq(run(admin[1], &x), NVME_OK);
	admin[2] = open_queue(0);
	x = connect_command(0, 0xffff);
	ck_assert_uint_eq(run(admin[2], &x), NVME_CONNECT_BUSY);
	x = connect_as(OTHER, 0, 0xffff);
	ck_assert_uint_eq(run(admin[2], &x), NVME_OK);
	io[0] = open_io_queue(cntlid, 1);
	io[1] = open_queue(2);
	x = connect_command(2, cntlid);
	ck_assert_uint_eq(run(io[1], &x), NVME_CONNECT_BUSY);
	current->host_queues = 0;
	current->host_queue_memory = 1 << 20;
	io[1]->memory = (1 << 20) + 1;
	x = connect_command(2, cntlid);
	ck_assert_uint_eq(run(io[1], &x), NVME_CONNECT_BUSY);
	io[1]->memory = 1 << 20;
	x = connect_command(2, cntlid);
	ck_assert_uint_eq(run(io[1], &x), NVME_OK);
	for (int i = 0; i < 2; i++)
		drop_queue(io[i]);
	for (int i = 0; i < 3; i++)
		drop_queue(admin[i]);
}
END_TEST

/* The part of host number @host's next controller. */
static uint8_t part_of_next(unsigned int host, struct nvmf_queue **ret_admin)
{
	char hostnqn[CONFIG_NQN_MAX + 1];
	struct exchange x;

	snprintf(hostnqn, sizeof(hostnqn), "nqn.2026-11.org.host:%u", host);
	x = connect_as(hostnqn, 0, 0xffff);
	*ret_admin = open_queue(0);
	ck_assert_uint_eq(run(*ret_admin, &x), NVME_OK);
	ck_assert_uint_lt(nvmf_queue_part(*ret_admin), STAGE_PARTS);
	return nvmf_queue_part(*ret_admin);
}

/* A host's controllers have two parts of staging memory between them, and no other host has these
 * as long as there are enough. */
START_TEST(a_host_has_two_parts_of_staging_memory)
{
	struct nvmf_queue *admin[3 * STAGE_PARTS / 2 + 1];
	uint32_t seen = 0;
	unsigned int n = 0, freed;
	uint8_t free_part;

	ck_assert_int_eq(reload(ANY, "{ nsid = 1; A }"), 0);
	for (unsigned int host = 0; host < STAGE_PARTS / 2; host++) {
		uint8_t a = part_of_next(host, &admin[n++]), b = part_of_next(host, &admin[n++]);
		uint8_t again = part_of_next(host, &admin[n++]);

		ck_assert_uint_ne(a, b);
		ck_assert(again == a || again == b);
		ck_assert_uint_eq(seen & (1u << a | 1u << b), 0);
		seen |= 1u << a | 1u << b;
	}
	ck_assert_uint_eq(seen, (1u << STAGE_PARTS) - 1);
	/* what is free again is given to the next: of each host, the third of its controllers has
	 * one of its two parts, the other is free when its own controller goes */
	freed = nvmf_queue_part(admin[2]) == nvmf_queue_part(admin[0]) ? 1 : 0;
	free_part = nvmf_queue_part(admin[freed]);
	drop_queue(admin[freed]);
	ck_assert_uint_eq(part_of_next(STAGE_PARTS + 1, &admin[freed]), free_part);
	(void)part_of_next(STAGE_PARTS, &admin[n++]); /* one more shares with somebody */
	while (n)
		drop_queue(admin[--n]);
}
END_TEST

START_TEST(queues_of_a_controller_are_limited)
{
	uint16_t cntlid;
	struct nvmf_queue *admin, *q;
	struct exchange x = { .sqe = { .opcode = 0x09 } };

	ck_assert_int_eq(reload(ANY "max_queues = 3;", "{ nsid = 1; A }"), 0);
	admin = open_enabled(&cntlid);
	x.sqe.cdw10 = put32(7);
	x.sqe.cdw11 = put32(15 | 15 << 16);
	ck_assert_uint_eq(run(admin, &x), NVME_OK);
	ck_assert_uint_eq(get32(x.req.cqe.dw0), 2 | 2 << 16);
	q = open_queue(4);
	x = connect_command(4, cntlid);
	ck_assert_uint_eq(run(q, &x), NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	drop_queue(q);
	drop_queue(open_io_queue(cntlid, 3));
	drop_queue(admin);
}
END_TEST

/* ---- ports, states, keys ----------------------------------------------------------------------
 */

#define PORTS_12                                                                                   \
	"ports = ( { id = 1; address = \"10.0.0.1\"; }, { id = 2; address = \"10.0.0.2\"; } );"
#define ONE_NS "{ nsid = 1; A }"

static struct nvmf_queue *connect_at(uint16_t port_id, uint16_t *ret_cntlid)
{
	const struct config_port *port = NULL;
	struct exchange x = connect_command(0, 0xffff);
	struct nvmf_queue *q;

	for (size_t i = 0; i < target->conf->nports; i++)
		if (target->conf->ports[i].id == port_id)
			port = &target->conf->ports[i];
	ck_assert_ptr_nonnull(port);
	q = open_queue_on(port, 0);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	*ret_cntlid = (uint16_t)get32(x.req.cqe.dw0);
	ck_assert_uint_eq(set_cc(q, CC_ENABLE), NVME_OK);
	return q;
}

static int disconnects(void)
{
	return __atomic_load_n(&ndisconnects, __ATOMIC_ACQUIRE);
}

START_TEST(subsystem_leaves_a_port)
{
	uint16_t id1, id2;
	struct nvmf_queue *at1, *at2;

	ck_assert_int_eq(apply(parse(PORTS_12, ANY, ONE_NS, "")), 0);
	at1 = connect_at(1, &id1);
	at2 = connect_at(2, &id2);
	ck_assert_int_eq(apply(parse(PORTS_12, ANY "ports = ( 1 );", ONE_NS, "")), 0);
	ck_assert_int_eq(at1->state, QUEUE_LIVE);
	ck_assert_int_eq(at2->state, QUEUE_LEAVING);
	drop_queue(at2);
	/* and the port goes */
	ck_assert_int_eq(apply(parse(PORT1, ANY, ONE_NS, "")), 0);
	ck_assert_int_eq(at1->state, QUEUE_LIVE);
	drop_queue(at1);
}
END_TEST

START_TEST(path_of_a_port_that_goes_is_inaccessible)
{
	uint16_t cntlid;
	struct nvmf_queue *admin, *q;
	struct exchange x;

	ck_assert_int_eq(apply(parse(PORTS_12, ANY, ONE_NS, "")), 0);
	admin = connect_at(2, &cntlid);
	q = open_queue_on(&target->conf->ports[1], 1);
	x = connect_command(1, cntlid);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(read_status(q, 1, 0), NVME_OK);
	ck_assert_int_eq(apply(parse(PORT1, ANY, ONE_NS, "")), 0);
	ck_assert_uint_eq(ns_map_find(admin->ctrl->map, 1)->path_status, NVME_PATH_INACCESSIBLE);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

static unsigned int mqes_of(struct nvmf_queue *admin)
{
	uint64_t cap;

	ck_assert_uint_eq(get_property(admin, PROP_CAP, 1, &cap), NVME_OK);
	return cap & 0xffff;
}

#define PORT_WITH(settings) "ports = ( { id = 1; address = \"10.0.0.1\"; " settings " } );"

START_TEST(controller_keeps_what_its_port_offered)
{
	uint16_t before, after;
	struct nvmf_queue *old, *new;
	struct nvmf_port port;

	ck_assert_int_eq(apply(parse(PORT_WITH("queue_depth = 128;"), ANY, ONE_NS, "")), 0);
	old = connect_at(1, &before);
	ck_assert_int_eq(apply(parse(PORT_WITH("queue_depth = 16; in_capsule_data = \"16K\";"), ANY,
				     ONE_NS, "")),
			 0);
	new = connect_at(1, &after);
	port = nvmf_port_of(&target->conf->ports[0]);
	ck_assert_uint_eq(mqes_of(old), 127);
	ck_assert_uint_eq(target_queue_depth(target, before, &port), 128);
	ck_assert_uint_eq(target_in_capsule_len(target, before, &port), 4096);
	ck_assert_uint_eq(mqes_of(new), 15);
	ck_assert_uint_eq(target_queue_depth(target, after, &port), 16);
	ck_assert_uint_eq(target_in_capsule_len(target, after, &port), 16384);
	ck_assert_uint_eq(target_queue_depth(target, 0, &port), 16);
	ck_assert_int_eq(disconnects(), 0);
	drop_queue(old);
	drop_queue(new);
}
END_TEST

static enum config_ana state_of(uint32_t group)
{
	return ana_state(subsystem_find(target, NQN), 1, group);
}

#define GROUPS(a, b)                                                                               \
	PORT_WITH("ana_groups = ( { id = 1; state = \"" a "\"; }, { id = 2; state = \"" b          \
		  "\"; } );")

START_TEST(states_that_the_file_changes_are_set_and_others_stay)
{
	ck_assert_int_eq(apply(parse(GROUPS("optimized", "inaccessible"), ANY, ONE_NS, "")), 0);
	/* the port was there before, and had them otherwise */
	ck_assert_int_eq(state_of(2), CONFIG_ANA_INACCESSIBLE);
	/* the administrator changes it; a file that does not, leaves it */
	ck_assert_int_eq(ana_set(target, subsystem_find(target, NQN), 1, 2, CONFIG_ANA_OPTIMIZED,
				 NULL, NULL),
			 0);
	ck_assert_int_eq(apply(parse(GROUPS("non-optimized", "inaccessible"), ANY, ONE_NS, "")), 0);
	ck_assert_int_eq(state_of(1), CONFIG_ANA_NON_OPTIMIZED);
	ck_assert_int_eq(state_of(2), CONFIG_ANA_OPTIMIZED);
	ck_assert_int_eq(state_of(3), CONFIG_ANA_OPTIMIZED);
	/* left out is optimized */
	ck_assert_int_eq(apply(parse(PORT1, ANY, ONE_NS, "")), 0);
	ck_assert_int_eq(state_of(1), CONFIG_ANA_OPTIMIZED);
}
END_TEST

/* With a command in flight, access ends by way of the state "change"; a port that goes ends that.
 */
START_TEST(port_goes_while_its_state_changes)
{
	uint16_t cntlid;
	struct nvmf_queue *admin, *q;
	struct exchange x = { .sqe = { .opcode = 1, .nsid = put32(1), .flags = SQE_PSDT_SGL } };
	struct exchange c;

	ck_assert_int_eq(apply(parse(PORTS_12, ANY, ONE_NS, "")), 0);
	admin = connect_at(1, &cntlid);
	q = open_queue_on(&target->conf->ports[0], 1);
	c = connect_command(1, cntlid);
	ck_assert_uint_eq(run(q, &c), NVME_OK);
	x.req.queue = q;
	x.req.sqe = &x.sqe;
	reactor_call(q->reactor, start_kept, &x);
	ck_assert_int_eq(
		apply(parse("ports = ( { id = 1; address = \"10.0.0.1\"; },"
			    "{ id = 2; address = \"10.0.0.2\"; ana_groups = ( { id = 1; state = "
			    "\"inaccessible\"; } ); } );",
			    ANY, ONE_NS, "")),
		0);
	ck_assert_int_eq(ana_state(subsystem_find(target, NQN), 2, 1), CONFIG_ANA_CHANGE);
	ck_assert_int_eq(apply(parse(PORT1, ANY, ONE_NS, "")), 0);
	ck_assert_int_eq(ana_state(subsystem_find(target, NQN), 2, 1), CONFIG_ANA_INACCESSIBLE);
	kept = NULL;
	x.req.data = data;
	nvmf_req_execute(&x.req);
	(void)await(&x);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(subsystem_that_nobody_uses_goes)
{
	char more[256];

	snprintf(more, sizeof(more),
		 ", { nqn = \"" NQN "2\"; " ANY
		 " namespaces = ( { nsid = 7; device = \"%s\"; } ); }",
		 second);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(apply(parse(PORT1, ANY, ONE_NS, more)), 0);
		ck_assert_ptr_nonnull(subsystem_find(target, NQN "2"));
		ck_assert_int_eq(apply(parse(PORT1, ANY, ONE_NS, "")), 0);
		ck_assert_ptr_null(subsystem_find(target, NQN "2"));
		for (int ms = 0; target->nretiring && ms < 10000; ms++) {
			ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
			usleep(1000);
		}
		ck_assert_uint_eq(target->nretiring, 0);
		ck_assert_uint_eq(target->nsubsystems, 2);
	}
}
END_TEST

#define WITH_KEY                                                                                   \
	PORT1 "hosts = ( { nqn = \"" OTHER "\"; dhchap_key = "                                     \
	      "\"DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:\"; } );"

/* A drive that does not answer keeps the configuration of its namespace, but no key in it. */
START_TEST(former_keys_are_wiped_while_the_configuration_is_used)
{
	uint16_t cntlid;
	struct nvmf_queue *admin, *q;
	struct exchange x = { .sqe = { .opcode = 1, .nsid = put32(1), .flags = SQE_PSDT_SGL } };
	struct config *former;

	ck_assert_int_eq(apply(parse(WITH_KEY, ANY, ONE_NS, "")), 0);
	former = current;
	ck_assert_uint_eq(config_host(former, OTHER)->host_key.len, 32);
	admin = open_enabled(&cntlid);
	q = open_io(cntlid);
	x.req.queue = q;
	x.req.sqe = &x.sqe;
	reactor_call(q->reactor, start_kept, &x);
	ck_assert_int_eq(apply(parse(PORT1, ANY, "{ nsid = 2; B }", "")), 0);
	ck_assert_uint_eq(target->nretiring, 1);
	ck_assert_uint_eq(former->hosts[0].host_key.len, 0);
	ck_assert_str_eq(former->hosts[0].dhchap_key, "");
	kept = NULL;
	x.req.data = data;
	nvmf_req_execute(&x.req);
	(void)await(&x);
	for (int ms = 0; target->nretiring && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	ck_assert_uint_eq(target->nold_confs, 0);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* What a namespace knows of the configuration that it came with must outlive that. */
START_TEST(reservations_persist_after_reloads)
{
	struct nvmf_queue *admin, *q;
	struct exchange x = { .sqe = { .opcode = 0x0d, .nsid = put32(2) } }, c;
	char top[512];

	make_state_folder();
	snprintf(top, sizeof(top), PORT1 "daemon = { state_dir = \"%s\"; };", state_dir);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(apply(parse(top, ANY, ONE_NS ", { nsid = 2; B }", "")), 0);
	admin = open_queue(0);
	c = connect_command(0, 0xffff);
	((struct nvmf_connect_data *)data)->hostid[0] = 1;
	ck_assert_uint_eq(run(admin, &c), NVME_OK);
	ck_assert_uint_eq(set_cc(admin, CC_ENABLE), NVME_OK);
	q = open_queue(1);
	c = connect_command(1, (uint16_t)get32(c.req.cqe.dw0));
	((struct nvmf_connect_data *)data)->hostid[0] = 1;
	ck_assert_uint_eq(run(q, &c), NVME_OK);
	x.sqe.cdw10 = put32(3u << 30 | 1u << 3); /* register; persist through power loss */
	memset(data, 0, 16);
	data[8] = 1;
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_int_eq(access(state_dir, F_OK), 0);
	drop_queue(q);
	drop_queue(admin);
	conf.state_dir = "/nonexistent/state";
}
END_TEST

/* ---- without memory ---------------------------------------------------------------------------
 */

START_TEST(without_memory_nothing_changes)
{
	const char *more = ", { nqn = \"" NQN "2\"; " ANY " }";
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct target_plan *plan = NULL;
	struct config *c = parse(PORTS_12, ANY, "{ nsid = 1; A }, { nsid = 2; B }", more);
	unsigned int n;
	int err = -ENOMEM;

	for (n = 1; err && n < 1000; n++) {
		fail_at = n;
		err = target_prepare(target, c, &plan, &diag);
		ck_assert(!err || err == -ENOMEM);
		ck_assert_uint_eq(target->nsubsystems, 2);
		ck_assert_uint_eq(read_status(q, 1, 0), NVME_OK);
		ck_assert_uint_eq(read_status(q, 2, 0), NVME_INVALID_NS | NVME_DNR);
	}
	fail_at = 0;
	ck_assert_uint_gt(n, 4);
	target_abandon(plan);
	config_free(c);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* Once it is decided, it is done, if late. */
START_TEST(without_memory_hosts_hear_of_it_later)
{
	for (unsigned int n = 1; n < 6; n++) {
		uint16_t cntlid;
		struct nvmf_queue *admin, *q;
		struct target_plan *plan;
		struct config *before, *c;

		ck_assert_int_eq(apply(parse(PORT1, ANY, ONE_NS, "")), 0);
		admin = open_enabled(&cntlid);
		q = open_io(cntlid);
		before = current;
		c = parse(GROUPS("non-optimized", "inaccessible"), ANY, "{ nsid = 2; B }", "");
		ck_assert_int_eq(target_prepare(target, c, &plan, &diag), 0);
		fail_at = n;
		target_commit(plan);
		fail_at = 0;
		current = c;
		target_retire_conf(target, before);
		for (int ms = 0; (target->nretiring || target->maps_are_old) && ms < 10000; ms++) {
			ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
			usleep(1000);
		}
		ck_assert_uint_eq(target->nretiring, 0);
		ck_assert(!target->maps_are_old);
		ck_assert_uint_eq(read_status(q, 1, 0), NVME_INVALID_NS | NVME_DNR);
		ck_assert_uint_eq(read_status(q, 2, 0), NVME_OK);
		ck_assert_int_eq(state_of(1), CONFIG_ANA_NON_OPTIMIZED);
		drop_queue(q);
		drop_queue(admin);
	}
}
END_TEST

static void add_tests(Suite *s, const char *name, void (*fixture)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, fixture, teardown_two);
	tcase_add_test(tc, namespaces_come_and_go_and_hosts_are_told);
	tcase_add_test(tc, device_of_a_namespace_is_replaced);
	tcase_add_test(tc, failed_reload_changes_nothing);
	tcase_add_test(tc, device_that_is_not_there_is_waited_for);
	tcase_add_test(tc, controller_that_is_not_there_is_waited_for);
	tcase_add_test(tc, resized_device_is_told);
	tcase_add_test(tc, namespaces_are_hidden_from_hosts);
	tcase_add_test(tc, host_that_is_not_allowed_any_more_is_disconnected);
	tcase_add_loop_test(tc, controller_ids_follow_the_model, 0, NROWS(model_rows));
	tcase_add_test(tc, one_host_has_its_limits);
	tcase_add_test(tc, a_host_has_two_parts_of_staging_memory);
	tcase_add_test(tc, queues_of_a_controller_are_limited);
	tcase_add_test(tc, subsystem_leaves_a_port);
	tcase_add_test(tc, path_of_a_port_that_goes_is_inaccessible);
	tcase_add_test(tc, controller_keeps_what_its_port_offered);
	tcase_add_test(tc, states_that_the_file_changes_are_set_and_others_stay);
	tcase_add_test(tc, subsystem_that_nobody_uses_goes);
	tcase_add_test(tc, reservations_persist_after_reloads);
	tcase_add_test(tc, without_memory_nothing_changes);
	tcase_add_test(tc, without_memory_hosts_hear_of_it_later);
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("reload");
	TCase *tc = tcase_create("one thread only");

	add_tests(s, "one thread", setup_two);
	add_tests(s, "I/O threads", setup_two_threads);
	tcase_add_checked_fixture(tc, setup_two, teardown_two);
	tcase_add_test(tc, what_is_in_flight_keeps_its_namespace);
	tcase_add_test(tc, port_goes_while_its_state_changes);
	tcase_add_test(tc, former_keys_are_wiped_while_the_configuration_is_used);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
