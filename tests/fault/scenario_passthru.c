/* A controller that is passed through: found and opened, asked by a host, gone and back. */
#include "tests/fuzz/asserts.h"

#include "tests/fault/fake_drive.h"
#include "tests/fault/fixture.h"
#include "tests/fault/scenarios.h"

#include "target/passthru.h"

static int start_result;
static struct nvmf_queue *admin, *io;

static void configure(void)
{
	subsystems[0].allow_any_host = true;
	subsystems[0].passthrough = FAKE_DRIVE_PCI;
	subsystems[0].where.file = "here";
	subsystems[0].nnamespaces = 0;
	fake_drive_plug(NBLOCKS);
}

static bool connect_queue(struct nvmf_queue **ret, uint16_t qid, uint16_t *cntlid)
{
	struct exchange x = connect_command(qid, *cntlid);

	*ret = open_queue(qid);
	if (run(*ret, &x) != NVME_OK) {
		drop_queue(*ret);
		*ret = NULL;
		return false;
	}
	*cntlid = (uint16_t)get32(x.req.cqe.dw0);
	return true;
}

static bool connect_host(void)
{
	uint16_t cntlid = 0xffff;

	return connect_queue(&admin, 0, &cntlid) && set_cc(admin, CC_ENABLE) == NVME_OK &&
	       connect_queue(&io, 1, &cntlid);
}

static void drop_host(void)
{
	if (io)
		drop_queue(io);
	if (admin)
		drop_queue(admin);
	admin = io = NULL;
}

static const struct {
	uint8_t opcode;
	uint32_t nsid, dw10;
} rows[] = {
	{ 0x06, 0, 0x01 },              /* identify controller */
	{ 0x06, 1, 0x00 },              /* namespace */
	{ 0x06, 1, 0x03 },              /* descriptors */
	{ 0x06, 0, 0x02 },              /* active ones */
	{ 0x06, 0, 0x1c },              /* command sets */
	{ 0x02, 0, 0x02 | 127 << 16 },  /* SMART */
	{ 0x02, 0, 0x05 | 1023 << 16 }, /* effects */
	{ 0x0a, 0, 0x02 },              /* power state */
	{ 0x0a, 0, 0x07 },              /* queues: ours */
};

/* Return: the drive answered, with what is its own. */
static bool ask_drive(void)
{
	bool well = true;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct exchange x = { .sqe = { .opcode = rows[i].opcode,
					       .nsid = put32(rows[i].nsid),
					       .cdw10 = put32(rows[i].dw10) } };
		uint16_t status;

		memset(data, 0, 4096);
		status = run(admin, &x);
		well &= status == NVME_OK;
		if (i == 0 && status == NVME_OK)
			ck_assert(memcmp(data + 4, FAKE_DRIVE_SERIAL, 8) == 0);
	}
	return well;
}

/* What is there is what the drive has: zones are not taken for an ordinary namespace. */
static void expect_zones(void)
{
	const struct namespace *ns = subsystem_namespace(target->subsystems[1], 1);

	if (!ns)
		return;
	ck_assert_int_eq(ns->csi, NVME_CSI_ZNS);
	/* the drive's log says that it has all commands */
	ck_assert(target->subsystems[1]->passthru->effects[PASSTHRU_ZNS].iocs[0x7d]);
}

/* The kernel takes no NVMe command on a file; but it says so. */
static void do_io(void)
{
	struct exchange x = { .sqe = { .opcode = 2, .nsid = put32(1) } };

	ck_assert_uint_ne(run(io, &x), NVME_OK);
}

static void expect_drive(void)
{
	bool back;

	ck_assert_uint_eq(target_check_devices(target, &back), 0);
	ck_assert_ptr_nonnull(subsystem_namespace(target->subsystems[1], 1));
	expect_zones();
	ck_assert(connect_host());
	ck_assert(ask_drive());
	do_io();
	drop_host();
}

/* ---- start -------------------------------------------------------------------------------------
 */

void passthru_start_prepare(void)
{
	configure();
	setup();
	target_destroy(target);
	target = NULL;
}

void passthru_start_faulty(void)
{
	struct config_diag diag = { 0 };

	start_result = target_create(&conf, &reactors, &topo, &target, &diag);
	ck_assert(start_result == 0 || diag.what[0]);
	if (!start_result)
		expect_zones();
}

void passthru_start_verify(void)
{
	struct config_diag diag;

	if (start_result)
		ck_assert_int_eq(target_create(&conf, &reactors, &topo, &target, &diag), 0);
	expect_drive();
}

void passthru_finish(void)
{
	drop_host();
	teardown();
	fake_drive_unplug();
}

/* ---- a host, and a drive that goes and comes ---------------------------------------------------
 */

void passthru_prepare(void)
{
	configure();
	setup();
	ck_assert(connect_host());
}

void passthru_faulty(void)
{
	bool back;

	(void)ask_drive();
	do_io();
	fake_drive_hide(true);
	(void)target_check_devices(target, &back);
	fake_drive_hide(false);
	(void)target_check_devices(target, &back);
	target_check_sizes(target);
	(void)ask_drive();
}

void passthru_verify(void)
{
	bool back;

	(void)target_check_devices(target, &back);
	ck_assert(ask_drive());
	drop_host();
	expect_drive();
}
