/* Connections that the target ends while their hosts are on their way in: see nvmf_queue_leave().
 */
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

/* as in target/controller.c */
#define LEAVE_S          10
#define LEAVE_STOPPING_S 3

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

/* How far has the host come? */
enum at { AT_ACCEPT, AT_CONNECTED, AT_ENABLED, AT_SETTLED };

enum next { CONNECT, GET_CAP, IDENTIFY, READ };

static struct exchange make(enum next command, uint16_t qid, uint16_t cntlid)
{
	switch (command) {
	case CONNECT:
		return connect_command(qid, cntlid);
	case GET_CAP:
		return (struct exchange){ .sqe = { .opcode = OP_FABRICS,
						   .fctype = FC_PROPERTY_GET,
						   .cdw10 = put32(1) } };
	case IDENTIFY:
		return (struct exchange){ .sqe = { .opcode = 0x06, .cdw10 = put32(1) } };
	case READ:
		return (struct exchange){ .sqe = { .opcode = 0x02, .nsid = put32(1) } };
	}
	abort();
}

/* clang-format off */
static const struct leave_row {
	uint16_t qid;
	enum at at;
	enum next next;  /* what comes then */
	uint16_t status; /* of that command */
	bool at_once;    /* ended without waiting for one */
} leave_rows[] = {
	{ 0, AT_ACCEPT, CONNECT, NVME_CONNECT_BUSY, false },
	{ 0, AT_ACCEPT, GET_CAP, NVME_ABORTED_SQ_DELETION, false },
	{ 0, AT_CONNECTED, GET_CAP, NVME_ABORTED_SQ_DELETION, false },
	{ 0, AT_CONNECTED, CONNECT, NVME_CONNECT_BUSY, false },
	{ 0, AT_ENABLED, IDENTIFY, NVME_ABORTED_SQ_DELETION, false },
	{ 0, AT_SETTLED, IDENTIFY, NVME_ABORTED_SQ_DELETION, false },
	{ 1, AT_ACCEPT, CONNECT, NVME_CONNECT_BUSY, false },
	{ 1, AT_ACCEPT, READ, NVME_ABORTED_SQ_DELETION, false },
	{ 1, AT_CONNECTED, READ, NVME_ABORTED_SQ_DELETION, false },
	{ 1, AT_CONNECTED, CONNECT, NVME_CONNECT_BUSY, false },
	{ 1, AT_SETTLED, READ, NVME_ABORTED_SQ_DELETION, true },
};
/* clang-format on */

struct host {
	struct nvmf_queue *admin, *io;
	uint16_t cntlid;
	struct exchange aer;
};

static void settle(struct host *h)
{
	h->aer = (struct exchange){ .sqe = { .opcode = 0x0c } };
	hand_over(h->admin, &h->aer, start);
	ck_assert(!is_answered(&h->aer));
}

/* As far as @row says; an I/O queue needs a controller that is enabled. */
static struct nvmf_queue *come(struct host *h, const struct leave_row *row)
{
	struct exchange x;

	*h = (struct host){ .admin = open_queue(0) };
	if (row->qid || row->at > AT_ACCEPT) {
		x = connect_command(0, 0xffff);
		ck_assert_uint_eq(run(h->admin, &x), NVME_OK);
		h->cntlid = (uint16_t)get32(x.req.cqe.dw0);
	}
	if (row->qid || row->at > AT_CONNECTED)
		ck_assert_uint_eq(set_cc(h->admin, CC_ENABLE), NVME_OK);
	if (row->at == AT_SETTLED)
		settle(h);
	if (!row->qid)
		return h->admin;
	h->io = row->at == AT_ACCEPT ? open_queue(1) : open_io(h->cntlid);
	return h->io;
}

static void go(struct host *h)
{
	if (h->io)
		drop_queue(h->io);
	drop_queue(h->admin);
}

static void leave(struct nvmf_queue *q)
{
	nvmf_queue_leave(q);
	nvmf_queue_leave(q); /* twice is fine */
	reactor_call(q->reactor, nothing, NULL);
}

static int disconnects(void)
{
	return __atomic_load_n(&ndisconnects, __ATOMIC_ACQUIRE);
}

/* What comes next is answered, with a status after which a host may try again. With that an I/O
 * queue ends, and one whose Connect it was; on another admin queue it may have been a Keep Alive,
 * and the command that the host waits for is still to come. */
START_TEST(what_comes_is_refused)
{
	const struct leave_row *row = &leave_rows[_i];
	bool ends = row->qid || row->next == CONNECT;
	struct host h;
	struct nvmf_queue *q = come(&h, row);
	struct exchange x;

	leave(q);
	ck_assert_int_eq(disconnects() > 0, row->at_once);
	for (int i = 0; i < (ends ? 1 : 3); i++) {
		x = make(row->next, row->qid, h.cntlid ? h.cntlid : 0xffff);
		ck_assert_uint_eq(run(q, &x), row->status);
		ck_assert_int_eq(q->state, ends ? QUEUE_CLOSING : QUEUE_LEAVING);
		ck_assert_int_eq(disconnects() > 0, ends);
	}
	go(&h);
	ck_assert(!h.cntlid || !target_has_controller(target, h.cntlid));
}
END_TEST

/* Its answer is not out yet. In its reactor the Connect is past all checks. */
START_TEST(connect_that_is_under_way_is_refused)
{
	const struct leave_row row = { .qid = 1, .at = AT_ACCEPT };
	struct host h;
	struct nvmf_queue *q = come(&h, &row);
	struct exchange x = connect_command(1, h.cntlid);

	hand_over(q, &x, start); /* to the control thread, which is us */
	ck_assert(!is_answered(&x));
	leave(q);
	ck_assert_uint_eq(await(&x), NVME_CONNECT_BUSY);
	ck_assert_int_eq(q->state, QUEUE_CLOSING);
	go(&h);
	ck_assert(!target_has_controller(target, h.cntlid));
}
END_TEST

/* What was begun ends as it would have. */
START_TEST(command_under_way_is_answered)
{
	const struct leave_row row = { .qid = 1, .at = AT_CONNECTED };
	struct host h;
	struct nvmf_queue *q = come(&h, &row);
	struct exchange x = make(READ, 1, 0);

	hand_over(q, &x, start);
	leave(q);
	ck_assert_uint_eq(await(&x), NVME_OK);
	ck_assert_int_eq(q->state, QUEUE_LEAVING);
	ck_assert_int_eq(disconnects(), 0);
	go(&h);
}
END_TEST

static void turn(void)
{
	ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
	usleep(10000);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void most_of_it_is_over(void *arg)
{
	struct nvmf_queue *q = arg;

	q->leaving_s = LEAVE_S - 2;
}

/* Hosts that send nothing more: each is ended, and none before its time. */
START_TEST(silent_hosts_are_waited_for_some_seconds)
{
	struct host h[NROWS(leave_rows)];
	bool stop = _i;
	int64_t begin = now_ms(), until = begin + (stop ? 1000 * LEAVE_S / 2 : 2000);
	int n = 0;

	for (int i = 0; i < NROWS(leave_rows); i++) {
		struct nvmf_queue *q = come(&h[i], &leave_rows[i]);

		if (leave_rows[i].at_once)
			continue;
		leave(q);
		if (!stop) /* a test is not to take ten seconds */
			reactor_call(q->reactor, most_of_it_is_over, q);
		n++;
	}
	while (now_ms() < until - 500) {
		turn();
		ck_assert_int_eq(disconnects(), 0);
	}
	if (stop) /* for which they have waited long enough already */
		target_shut_down(target, false);
	until += stop ? 1000 * LEAVE_STOPPING_S : 10000 * LEAVE_S;
	while (disconnects() < n && now_ms() < until)
		turn();
	ck_assert_int_eq(disconnects(), n);
	for (int i = 0; i < NROWS(leave_rows); i++)
		go(&h[i]);
}
END_TEST

/* Where the daemon stops already, less is waited. */
START_TEST(stop_waits_less_for_silent_hosts)
{
	const struct leave_row row = { .qid = 0, .at = AT_CONNECTED };
	struct host h;
	int64_t begin;

	target_shut_down(target, true);
	leave(come(&h, &row));
	begin = now_ms();
	while (disconnects() < 1 && now_ms() < begin + 1000 * LEAVE_S)
		turn();
	ck_assert_int_eq(disconnects(), 1);
	ck_assert_int_ge(now_ms() - begin, 1000 * LEAVE_STOPPING_S - 500);
	ck_assert_int_lt(now_ms() - begin, 1000 * LEAVE_S);
	go(&h);
}
END_TEST

/* It went by itself meanwhile: nothing of it is left to fire. */
START_TEST(host_goes_while_it_is_waited_for)
{
	const struct leave_row *row = &leave_rows[_i];
	struct host h;

	leave(come(&h, row));
	go(&h);
	for (unsigned int i = 0; i < 10; i++)
		turn();
	ck_assert(!h.cntlid || !target_has_controller(target, h.cntlid));
}
END_TEST

/* A host that is live hears of it at once, on its I/O queues; others are as they were. */
START_TEST(controller_leaves_with_all_its_queues)
{
	struct leave_row row = { .qid = 1, .at = _i ? AT_SETTLED : AT_CONNECTED };
	struct host h, other;
	struct nvmf_queue *q = come(&h, &row);
	struct exchange x = make(READ, 1, 0);

	row.at = AT_CONNECTED;
	come(&other, &row);
	controller_leave(h.admin->ctrl);
	reactor_call(q->reactor, nothing, NULL);
	ck_assert_int_eq(disconnects(), _i ? 1 : 0);
	ck_assert_int_eq(h.admin->state, QUEUE_LEAVING);
	ck_assert_int_eq(q->state, _i ? QUEUE_CLOSING : QUEUE_LEAVING);
	ck_assert_uint_eq(run(other.io, &x), NVME_OK);
	go(&h);
	go(&other);
}
END_TEST

static TCase *cases(const char *name, void (*fixture)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, fixture, teardown);
	tcase_add_loop_test(tc, what_comes_is_refused, 0, NROWS(leave_rows));
	tcase_add_test(tc, command_under_way_is_answered);
	tcase_add_loop_test(tc, host_goes_while_it_is_waited_for, 0, NROWS(leave_rows));
	tcase_add_loop_test(tc, controller_leaves_with_all_its_queues, 0, 2);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("leave");
	TCase *threads = cases("I/O threads", setup_threads);

	tcase_add_test(threads, connect_that_is_under_way_is_refused);
	tcase_add_loop_test(threads, silent_hosts_are_waited_for_some_seconds, 0, 2);
	tcase_add_test(threads, stop_waits_less_for_silent_hosts);
	suite_add_tcase(s, cases("one thread", setup));
	suite_add_tcase(s, threads);
	return run_suite(s);
}
