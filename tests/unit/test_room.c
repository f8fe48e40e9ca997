/* Which connections there is memory for. */
#include "target/core.h"
#include "transport/conn.c"

#include "tests/unit/suite.h"

#include <check.h>

#define MOST  (8 * MIB)
#define SHARE (MOST / UNKNOWN_SHARE)
#define MIB   ((size_t)1 << 20)

/* Before the one that asks, from address A. */
static const struct row {
	/* bytes, in two connections each; 0: none */
	size_t connected_a, unknown_a, unknown_b, unauthenticated_a;
	size_t len;
	bool has_room;
} rows[] = {
	{ 0, 0, 0, 0, MIB, true },
	{ 0, 0, 0, 0, 2 * MIB + 1, false }, /* queue_memory */
	{ 0, 0, 0, 0, 2 * MIB, true },
	{ 7 * MIB, 0, 0, 0, MIB, true }, /* those that are somebody's count for all together only */
	{ 7 * MIB, 0, 0, 0, MIB + 1, false },
	{ 0, MIB, 0, 0, MIB, true },
	{ 0, MIB, 0, 0, MIB + 1, false },
	{ 0, SHARE, 0, 0, 1, false },
	{ 0, 0, SHARE, 0, MIB, true }, /* others do not suffer */
	{ 0, 0, 6 * MIB, 0, 2 * MIB, true },
	{ 0, 0, 6 * MIB + 2, 0, 2 * MIB, false },
	{ 4 * MIB, MIB, MIB, 0, MIB, true },
	{ 4 * MIB, SHARE, MIB, 0, 1, false },
	{ 0, 0, 0, 0, SHARE, true },
	/* to say a name that has a key is not to be somebody yet */
	{ 0, 0, 0, SHARE, 1, false },
	{ 0, MIB, 0, MIB, 1, false },
	{ 0, 0, MIB, MIB, MIB, true },
};

static struct controller controller = { .cntlid = 1 };
static struct config config = { .queue_memory = 2 * MIB, .connection_memory = MOST };

static void add(struct transport *tr, struct conn c[2], const char *address, size_t len,
		struct controller *ctrl, bool unauthenticated)
{
	for (int i = 0; len && i < 2; i++) {
		c[i] = (struct conn){ .transport = tr, .mem_reserved = len / 2 };
		c[i].nvmf.ctrl = ctrl;
		c[i].nvmf.unauthenticated = unauthenticated;
		strcpy(c[i].nvmf.remote_address, address);
		tr->mem_used += len / 2;
		LIST_INSERT_HEAD(&tr->conns, &c[i], entry);
	}
}

START_TEST(nobody_takes_the_memory_of_others)
{
	const struct row *t = &rows[_i];
	struct transport tr = { .conf = &config };
	struct conn a[2], unknown_a[2], unknown_b[2], unauthenticated_a[2];
	struct conn c = { .transport = &tr, .nvmf.remote_address = "10.0.0.7" };

	LIST_INIT(&tr.conns);
	add(&tr, a, "10.0.0.7", t->connected_a, &controller, false);
	add(&tr, unknown_a, "10.0.0.7", t->unknown_a, NULL, false);
	add(&tr, unknown_b, "10.0.0.70", t->unknown_b, NULL, false);
	add(&tr, unauthenticated_a, "10.0.0.7", t->unauthenticated_a, &controller, true);
	LIST_INSERT_HEAD(&tr.conns, &c, entry);
	ck_assert_int_eq(has_room(&c, t->len), t->has_room);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("room");
	TCase *tc = tcase_create("room");

	tcase_add_loop_test(tc, nobody_takes_the_memory_of_others, 0,
			    sizeof(rows) / sizeof(rows[0]));
	suite_add_tcase(s, tc);
	return run_suite(s);
}
