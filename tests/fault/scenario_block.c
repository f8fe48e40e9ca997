/* A device that comes after the start, and one that was lost and is opened again. */
#include "tests/fuzz/asserts.h"

#include "tests/fault/fixture.h"
#include "tests/fault/scenarios.h"

static char hidden[sizeof(path) + 8];
static bool is_hidden;

static void hide(bool now)
{
	if (now == is_hidden)
		return;
	snprintf(hidden, sizeof(hidden), "%s.hidden", path);
	ck_assert_int_eq(now ? rename(path, hidden) : rename(hidden, path), 0);
	is_hidden = now;
}

static void configure(void)
{
	subsystems[0].allow_any_host = true;
	namespaces[0].where.file = "here";
	setup();
}

static unsigned int look(void)
{
	bool back;

	return target_check_devices(target, &back);
}

/* Return: a host writes and reads. */
static bool serves(void)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *io = open_io(cntlid);
	struct exchange x = { .sqe = { .opcode = 1, .nsid = put32(1), .cdw10 = put32(9) } };
	bool ret;

	memset(data, 0x5a, 4096);
	ret = run(io, &x) == NVME_OK;
	memset(data, 0, 4096);
	x.sqe.opcode = 2;
	ret = run(io, &x) == NVME_OK && ret;
	ck_assert(!ret || (data[0] == 0x5a && data[4095] == 0x5a));
	drop_queue(io);
	drop_queue(admin);
	return ret;
}

void comes_prepare(void)
{
	struct config_diag diag;

	configure();
	target_destroy(target);
	hide(true);
	ck_assert_int_eq(target_create(&conf, &reactors, &topo, &target, &diag), 0);
	ck_assert_uint_eq(look(), 1);
	hide(false);
}

void comes_faulty(void)
{
	(void)look();
	target_check_sizes(target);
}

void lost_prepare(void)
{
	configure();
	ck_assert(serves());
}

/* It seemed to be gone, as after an I/O that ended with ENXIO. */
void lost_faulty(void)
{
	struct namespace *ns = subsystem_namespace(target->subsystems[1], 1);

	__atomic_store_n(&ns->backend->lost, true, __ATOMIC_RELAXED);
	(void)look();
	(void)look();
}

void block_verify(void)
{
	/* hosts hear of it at the next look at the latest */
	ck_assert_uint_eq(look(), 0);
	ck_assert(serves());
}

void block_finish(void)
{
	teardown();
}
