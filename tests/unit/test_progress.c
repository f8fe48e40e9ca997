/* Hosts that take nothing: which connections are ended, and which only look so. */
#include "transport/rdma.h"
#define conn_takes_nothing test_takes_nothing
void conn_takes_nothing(struct conn *c);
#include "transport/lane.c"

#include "target/core.h"
#include "tests/unit/suite.h"

#include <check.h>

void conn_takes_nothing(struct conn *c)
{
	c->state = CONN_DRAINING;
}

/* What the two looks find. */
struct row {
	enum conn_state state;
	enum request_state before, after; /* of its only request */
	bool progress;                    /* something ended between */
	bool ended;
};

static const struct row rows[] = {
	{ CONN_LIVE, REQ_SENDING, REQ_SENDING, false, true },
	{ CONN_LIVE, REQ_SENDING, REQ_SENDING, true, false },
	{ CONN_LIVE, REQ_SENDING, REQ_FREE, false, false },
	{ CONN_LIVE, REQ_FREE, REQ_SENDING, false, false },
	{ CONN_LIVE, REQ_FREE, REQ_FREE, false, false },
	/* a host that vanished, where the RNIC repeats its READ for ever */
	{ CONN_LIVE, REQ_READING_HOST, REQ_READING_HOST, false, true },
	{ CONN_LIVE, REQ_READING_HOST, REQ_READING_HOST, true, false },
	{ CONN_LIVE, REQ_READING_HOST, REQ_SENDING, false, true },
	{ CONN_LIVE, REQ_READING_HOST, REQ_AT_TARGET, false, false },
	/* the drive may take its time, and so may whoever else holds memory */
	{ CONN_LIVE, REQ_AT_TARGET, REQ_AT_TARGET, false, false },
	{ CONN_LIVE, REQ_WAIT_SLOT, REQ_WAIT_SLOT, false, false },
	{ CONN_LIVE, REQ_AT_TARGET, REQ_READING_HOST, false, false },
	{ CONN_ACCEPTING, REQ_SENDING, REQ_SENDING, false, false },
};

START_TEST(only_who_takes_nothing_for_a_period_is_ended)
{
	const struct row *t = &rows[_i];
	struct request req = { .state = t->before };
	struct conn c = { .state = t->state, .reqs = &req, .nreqs_touched = 1 };
	struct lane l = { 0 };

	LIST_INSERT_HEAD(&l.by_qpn[3], &c, bucket);
	c.progress = UINT32_MAX; /* it wraps */
	lane_look_for_progress(&l);
	ck_assert_int_eq(c.state, t->state);
	req.state = t->after;
	c.progress += t->progress;
	lane_look_for_progress(&l);
	ck_assert_int_eq(c.state, t->ended ? CONN_DRAINING : t->state);
}
END_TEST

/* Two in one bucket, and one between them that is well. */
START_TEST(all_that_are_stuck_are_ended_at_once)
{
	struct request req = { .state = REQ_SENDING };
	struct conn c[3] = { 0 };
	struct lane l = { 0 };

	for (int i = 0; i < 3; i++) {
		c[i] = (struct conn){ .state = CONN_LIVE, .reqs = &req, .nreqs_touched = 1 };
		LIST_INSERT_HEAD(&l.by_qpn[0], &c[i], bucket);
	}
	lane_look_for_progress(&l);
	c[1].progress++;
	lane_look_for_progress(&l);
	ck_assert_int_eq(c[0].state, CONN_DRAINING);
	ck_assert_int_eq(c[1].state, CONN_LIVE);
	ck_assert_int_eq(c[2].state, CONN_DRAINING);
}
END_TEST

/* An I/O queue that waits for the memory which another one of its controller holds. */
START_TEST(queues_of_the_same_controller_are_ended_too)
{
	struct request sending = { .state = REQ_SENDING }, waiting = { .state = REQ_WAIT_SLOT };
	struct controller mine = { 0 }, theirs = { 0 };
	struct conn c[5] = {
		{ .reqs = &waiting, .nvmf = { .state = QUEUE_LIVE, .ctrl = &mine } },
		{ .reqs = &sending, .nvmf = { .state = QUEUE_LIVE, .ctrl = &mine } },
		{ .reqs = &waiting, .nvmf = { .state = QUEUE_LIVE, .ctrl = &mine } },
		{ .reqs = &waiting, .nvmf = { .state = QUEUE_LIVE, .ctrl = &theirs } },
		/* the control thread may have let go of its controller */
		{ .reqs = &waiting, .nvmf = { .state = QUEUE_CLOSING, .ctrl = &mine } },
	};
	struct lane l = { 0 };

	for (int i = 0; i < 5; i++) {
		c[i].state = CONN_LIVE;
		c[i].nreqs_touched = 1;
		LIST_INSERT_HEAD(&l.by_qpn[i * 3], &c[i], bucket);
	}
	lane_look_for_progress(&l);
	lane_look_for_progress(&l);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(c[i].state, CONN_DRAINING);
	for (int i = 3; i < 5; i++)
		ck_assert_int_eq(c[i].state, CONN_LIVE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("progress");
	TCase *t = tcase_create("progress");

	tcase_add_loop_test(t, only_who_takes_nothing_for_a_period_is_ended, 0,
			    sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(t, all_that_are_stuck_are_ended_at_once);
	tcase_add_test(t, queues_of_the_same_controller_are_ended_too);
	suite_add_tcase(s, t);
	return run_suite(s);
}
