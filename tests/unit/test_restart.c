/* What hosts find again when the daemon was started anew. */
#include "target/durable.h"
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static const char hosts[][CONFIG_NQN_MAX + 1] = { HOSTNQN, "nqn.2026-11.org.example:b",
						  "nqn.2026-11.org.example:c",
						  "nqn.2026-11.org.example:d" };

static void setup_kept(void)
{
	make_state_folder();
	durable_boot_file = "/proc/sys/kernel/random/boot_id";
	subsystems[0].allow_any_host = true;
	setup();
}

static void wait_until_saved(void)
{
	while (target->restart.controllers.saving || target->restart.discovery.saving)
		(void)reactor_run_messages(reactors.r[0]);
}

/* As SIGKILL has it: what is on the disk stays as it is. */
static void start_anew(struct nvmf_queue **queues, unsigned int n)
{
	struct config_diag diag;

	wait_until_saved();
	target_shut_down(target, true);
	for (unsigned int i = 0; i < n; i++)
		drop_queue(queues[i]);
	target_destroy(target);
	ck_assert_msg(target_create(&conf, &reactors, &topo, &target, &diag) == 0, "%s", diag.what);
}

static struct nvmf_queue *connect_host(unsigned int host, unsigned int port, uint16_t *ret_cntlid)
{
	struct nvmf_queue *q = open_queue_on(&ports[port], 0);
	struct exchange x = connect_command(0, 0xffff);
	struct nvmf_connect_data *d = (void *)data;

	strcpy(d->hostnqn, hosts[host]);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	*ret_cntlid = (uint16_t)get32(x.req.cqe.dw0);
	return q;
}

/* ---- controller IDs ---------------------------------------------------------------------------
 */

START_TEST(a_host_gets_its_controller_id_again)
{
	struct nvmf_queue *q[4];
	uint16_t before[4], now[4];

	for (unsigned int i = 0; i < 3; i++)
		q[i] = connect_host(i, 0, &before[i]);
	start_anew(q, 3);
	/* others come first, and the hosts in another order */
	q[3] = connect_host(3, 0, &now[3]);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_uint_ne(now[3], before[i]);
	for (unsigned int i = 3; i-- > 0;) {
		q[i] = connect_host(i, 0, &now[i]);
		ck_assert_uint_eq(now[i], before[i]);
	}
	/* twice in a row, and not all of them are back yet */
	start_anew(q, 4);
	q[0] = connect_host(0, 0, &now[0]);
	ck_assert_uint_eq(now[0], before[0]);
	start_anew(q, 1);
	q[2] = connect_host(2, 0, &now[2]);
	ck_assert_uint_eq(now[2], before[2]);
	q[0] = connect_host(0, 0, &now[0]);
	ck_assert_uint_eq(now[0], before[0]);
	drop_queue(q[0]);
	drop_queue(q[2]);
}
END_TEST

START_TEST(a_host_with_two_controllers_gets_both_ids)
{
	struct nvmf_queue *q[2];
	uint16_t before[2], now[2];

	q[0] = connect_host(0, 0, &before[0]);
	q[1] = connect_host(0, 0, &before[1]);
	start_anew(q, 2);
	q[0] = connect_host(0, 0, &now[0]);
	q[1] = connect_host(0, 0, &now[1]);
	ck_assert_uint_ne(now[0], now[1]);
	for (int i = 0; i < 2; i++)
		ck_assert(now[i] == before[0] || now[i] == before[1]);
	drop_queue(q[0]);
	drop_queue(q[1]);
}
END_TEST

/* Who went by himself is not waited for; and IDs go round as if nothing had been. */
START_TEST(an_id_that_was_given_back_is_not_kept)
{
	struct nvmf_queue *q;
	uint16_t before, now;

	q = connect_host(0, 0, &before);
	drop_queue(q);
	start_anew(NULL, 0);
	ck_assert(!restart_keeps_cntlid(target, before));
	q = connect_host(1, 0, &now);
	ck_assert_uint_eq(now, before + 1);
	drop_queue(q);
}
END_TEST

/* When there is no other, somebody else's is given. */
START_TEST(a_kept_id_keeps_nobody_out)
{
	struct nvmf_queue *q[2];
	uint16_t id;

	subsystems[0].cntlid_min = 5;
	subsystems[0].cntlid_max = 6;
	q[0] = connect_host(0, 0, &id);
	start_anew(q, 1);
	q[0] = connect_host(1, 0, &id);
	q[1] = connect_host(2, 0, &id);
	drop_queue(q[0]);
	drop_queue(q[1]);
	subsystems[0].cntlid_min = 1;
	subsystems[0].cntlid_max = CNTLID_MAX;
}
END_TEST

/* ---- the file ---------------------------------------------------------------------------------
 */

static const struct damage {
	const char *what;
	off_t at; /* this byte is changed, or */
	off_t to; /* it is cut or made as long */
} damages[] = {
	{ "magic", 0, 0 },  { "version", 8, 0 }, { "number", 12, 0 }, { "next", 32, 0 },
	{ "entry", 40, 0 }, { "empty", -1, 0 },  { "cut", -1, 50 },   { "longer", -1, 4096 },
};

/* It is no reason not to serve. */
START_TEST(a_damaged_file_is_taken_for_none)
{
	const struct damage *row = &damages[_i];
	struct nvmf_queue *q;
	uint16_t id;
	char file[128];
	uint8_t byte = 0;
	int fd;

	q = connect_host(0, 0, &id);
	wait_until_saved();
	snprintf(file, sizeof(file), "%s/controllers", state_dir);
	fd = open(file, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	if (row->at < 0) {
		ck_assert_int_eq(ftruncate(fd, row->to), 0);
	} else {
		ck_assert_int_eq(pread(fd, &byte, 1, row->at), 1);
		byte ^= 0x10;
		ck_assert_int_eq(pwrite(fd, &byte, 1, row->at), 1);
	}
	close(fd);
	start_anew(&q, 1);
	ck_assert_uint_eq(target->restart.nfound, 0);
	q = connect_host(0, 0, &id);
	drop_queue(q);
}
END_TEST

/* ---- the discovery log's generation -----------------------------------------------------------
 */

START_TEST(generation_is_as_it_was_unless_the_log_changed)
{
	uint64_t first = target->discovery_genctr;

	start_anew(NULL, 0);
	ck_assert_uint_eq(target->discovery_genctr, first);
	target_discovery_changed(target);
	target_discovery_changed(target);
	start_anew(NULL, 0);
	ck_assert_uint_eq(target->discovery_genctr, first + 2);
	/* what hosts cannot see */
	conf.max_transfer_len = 65536;
	start_anew(NULL, 0);
	ck_assert_uint_eq(target->discovery_genctr, first + 2);
	subsystems[0].allow_any_host = false;
	start_anew(NULL, 0);
	ck_assert_uint_eq(target->discovery_genctr, first + 3);
	start_anew(NULL, 0);
	ck_assert_uint_eq(target->discovery_genctr, first + 3);
	conf.max_transfer_len = 131072;
}
END_TEST

/* Without its file it cannot be known; then it is at least not less. */
START_TEST(generation_does_not_go_back_without_its_file)
{
	uint64_t before = target->discovery_genctr;
	char file[128];

	ck_assert_uint_gt(before, 1600000000);
	snprintf(file, sizeof(file), "%s/discovery", state_dir);
	ck_assert_int_eq(unlink(file), 0);
	start_anew(NULL, 0);
	ck_assert_uint_ge(target->discovery_genctr, before);
}
END_TEST

/* ---- ANA states -------------------------------------------------------------------------------
 */

START_TEST(ana_states_that_were_set_are_kept_until_the_machine_boots)
{
	struct subsystem *s = target->subsystems[1];

	ck_assert_int_eq(ana_set(target, s, 1, 7, CONFIG_ANA_NON_OPTIMIZED, NULL, NULL), 0);
	start_anew(NULL, 0);
	s = target->subsystems[1];
	ck_assert_int_eq(ana_state(s, 1, 7), CONFIG_ANA_NON_OPTIMIZED);
	ck_assert_int_eq(ana_state(s, 1, 6), CONFIG_ANA_OPTIMIZED);
	/* and again, though nobody set it since */
	ck_assert_int_eq(ana_set(target, s, 1, 8, CONFIG_ANA_NON_OPTIMIZED, NULL, NULL), 0);
	start_anew(NULL, 0);
	ck_assert_int_eq(ana_state(target->subsystems[1], 1, 7), CONFIG_ANA_NON_OPTIMIZED);
	ck_assert_int_eq(ana_state(target->subsystems[1], 1, 8), CONFIG_ANA_NON_OPTIMIZED);
	durable_boot_file = "/proc/sys/kernel/random/uuid"; /* always another */
	start_anew(NULL, 0);
	ck_assert_int_eq(ana_state(target->subsystems[1], 1, 7), CONFIG_ANA_OPTIMIZED);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("restart");
	TCase *tc = tcase_create("restart");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup_kept, teardown);
	tcase_add_test(tc, a_host_gets_its_controller_id_again);
	tcase_add_test(tc, a_host_with_two_controllers_gets_both_ids);
	tcase_add_test(tc, an_id_that_was_given_back_is_not_kept);
	tcase_add_test(tc, a_kept_id_keeps_nobody_out);
	tcase_add_loop_test(tc, a_damaged_file_is_taken_for_none, 0, NROWS(damages));
	tcase_add_test(tc, generation_is_as_it_was_unless_the_log_changed);
	tcase_add_test(tc, generation_does_not_go_back_without_its_file);
	tcase_add_test(tc, ana_states_that_were_set_are_kept_until_the_machine_boots);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
