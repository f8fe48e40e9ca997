/* The stamped workload (tests/stamp) against itself: what it writes it finds good, and what
 * somebody spoils beneath it, it notices and names. */
#include "tests/stamp/block.c"
#include "tests/stamp/ledger.c"
#include "tests/stamp/work.c"

#include "tests/unit/suite.h"

#include <check.h>

#define NBLOCKS 512u
#define HOST    "unit"
#define SEED    7

static char dir[] = "/tmp/test-stamp-XXXXXX", path[64], ledger_path[64];
static FILE *said; /* by the workload */
static char *said_text;
static size_t said_len;

static void setup(void)
{
	strcpy(dir, "/tmp/test-stamp-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/blocks", dir);
	snprintf(ledger_path, sizeof(ledger_path), "%s/ledger", dir);
	said = open_memstream(&said_text, &said_len);
	ck_assert_ptr_nonnull(said);
}

static void teardown(void)
{
	fclose(said);
	free(said_text);
	unlink(path);
	unlink(ledger_path);
	rmdir(dir);
}

static struct work_options options_of(uint32_t block_len)
{
	return (struct work_options){ .path = path,
				      .run = { HOST, SEED, 1, block_len },
				      .ledger = ledger_path,
				      .depth = 4,
				      .read_percent = 40,
				      .blocks = 20 * NBLOCKS,
				      .out = said };
}

/* A file of NBLOCKS blocks, and some generations in each. */
static void write_all(uint32_t block_len)
{
	struct work_options o = options_of(block_len);
	struct work_result r;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, NBLOCKS * (off_t)block_len), 0);
	close(fd);
	ck_assert_int_eq(work_run(&o, &r), 0);
	fflush(said);
	ck_assert_msg(work_is_ok(&o, &r), "%s", said_text);
	ck_assert_uint_ge(r.written, 20 * NBLOCKS);
	ck_assert_uint_ge(r.verified, NBLOCKS);
	ck_assert_uint_eq(r.errors, 0);
}

static const uint32_t block_lens[] = { 512, 4096 };

START_TEST(what_it_writes_it_finds_good)
{
	write_all(block_lens[_i]);
}
END_TEST

START_TEST(a_rate_is_not_exceeded)
{
	struct work_options o = options_of(512);
	struct work_result r;
	uint64_t began;

	write_all(512);
	o.ledger = NULL;
	o.read_percent = 0;
	o.rate = 4 << 20;
	o.blocks = NBLOCKS + 2048; /* those that fill it, and 1 MiB more */
	began = now_us();
	ck_assert_int_eq(work_run(&o, &r), 0);
	ck_assert(work_is_ok(&o, &r));
	ck_assert_uint_ge(r.written, o.blocks);
	/* the last operation, of at most the whole 256 KiB, is not waited for */
	ck_assert_uint_ge(now_us() - began, 1000000 * 3 / 16);
}
END_TEST

/* ---- the spoilers -----------------------------------------------------------------------------
 */

#define VICTIM 100

struct file {
	uint32_t block_len;
	uint8_t block[STAMP_BLOCK_MAX]; /* the victim's */
	struct ledger_entry entry;
	int fd;
};

static void other_lba(struct file *f)
{
	const ssize_t n = pread(f->fd, f->block, f->block_len, (VICTIM + 1) * (off_t)f->block_len);

	ck_assert_int_eq(n, f->block_len);
}

static void remake(struct file *f, const char *host, uint64_t seed, uint32_t nsid,
		   uint64_t generation)
{
	struct stamp_run run = { "", seed, nsid, f->block_len };

	strcpy(run.host, host);
	stamp_make(&run, VICTIM, generation, f->block);
}

static void other_nsid(struct file *f)
{
	remake(f, HOST, SEED, 2, f->entry.acked);
}
static void other_host(struct file *f)
{
	remake(f, "another", SEED, 1, f->entry.acked);
}
static void other_run(struct file *f)
{
	remake(f, HOST, SEED + 1, 1, f->entry.acked);
}
static void generation_before(struct file *f)
{
	remake(f, HOST, SEED, 1, f->entry.acked - 1);
}
static void generation_after(struct file *f)
{
	/* what was sent last is that old, or in doubt by so much: see ledger_open() */
	remake(f, HOST, SEED, 1, f->entry.sent + LEDGER_LAG + 1);
}
static void half_of_the_one_before(struct file *f)
{
	uint8_t whole[STAMP_BLOCK_MAX];

	memcpy(whole, f->block, f->block_len);
	generation_before(f);
	memcpy(f->block, whole, f->block_len / 2);
}
static void one_bit(struct file *f)
{
	f->block[f->block_len - 1] ^= 0x80;
}
static void one_bit_of_the_stamp(struct file *f)
{
	f->block[offsetof(struct header, generation)] ^= 1;
}
static void zeros(struct file *f)
{
	memset(f->block, 0, f->block_len);
}
static void last_byte_shifted(struct file *f)
{
	memmove(f->block + 1, f->block, f->block_len - 1);
}
static void nothing(struct file *f)
{
	(void)f;
}

static const struct spoiler {
	void (*spoil)(struct file *f);
	enum stamp_verdict verdict;
	const char *says; /* NULL: nothing */
} spoilers[] = {
	{ nothing, STAMP_GOOD, NULL },
	{ other_lba, STAMP_MISPLACED, "block 100: misplaced: nsid 1, block 101, generation" },
	{ other_nsid, STAMP_MISPLACED, "block 100: misplaced: nsid 2, block 100, generation" },
	{ other_host, STAMP_FOREIGN, "of host another, seed 7" },
	{ other_run, STAMP_FOREIGN, "of host unit, seed 8" },
	{ generation_before, STAMP_STALE, "block 100: stale: nsid 1, block 100, generation" },
	{ generation_after, STAMP_UNWRITTEN, "block 100: unwritten: " },
	{ half_of_the_one_before, STAMP_TORN, "; from byte HALF on something else" },
	{ one_bit, STAMP_TORN, "on something else" },
	{ one_bit_of_the_stamp, STAMP_TORN, "; from byte 64 on something else" },
	{ zeros, STAMP_NONE, "block 100: no stamp: it begins with 00 00 00 00" },
	{ last_byte_shifted, STAMP_NONE, "block 100: no stamp: " },
};
#define NSPOILERS (sizeof(spoilers) / sizeof(spoilers[0]))

static struct ledger_entry entry_of(const struct work_options *o, uint64_t block)
{
	struct ledger l;
	struct ledger_entry e;

	ck_assert_int_eq(ledger_open(&l, o->ledger, &o->run, 0, NBLOCKS), 0);
	e = l.of[block];
	e.sent -= LEDGER_LAG;
	for (unsigned int i = 0; i < NBLOCKS; i++)
		l.of[i].sent -= LEDGER_LAG;
	ledger_close(&l);
	return e;
}

static void spoil_file(const struct work_options *o, const struct spoiler *t)
{
	struct file f = { .block_len = o->run.block_len, .entry = entry_of(o, VICTIM) };
	off_t at = VICTIM * (off_t)f.block_len;

	ck_assert_uint_ge(f.entry.acked, 2);
	f.fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(f.fd, f.block, f.block_len, at), f.block_len);
	t->spoil(&f);
	ck_assert_int_eq(pwrite(f.fd, f.block, f.block_len, at), f.block_len);
	close(f.fd);
}

START_TEST(each_spoiled_block_is_noticed_and_named)
{
	const struct spoiler *t = &spoilers[_i % (int)NSPOILERS];
	struct work_options o = options_of(block_lens[_i / (int)NSPOILERS]);
	struct work_result r;
	char says[80];

	write_all(o.run.block_len);
	spoil_file(&o, t);
	o.only_verify = true;
	ck_assert_int_eq(work_run(&o, &r), 0);
	fflush(said);
	for (int v = STAMP_GOOD + 1; v < STAMP_VERDICTS; v++)
		ck_assert_msg(r.bad[v] == ((int)t->verdict == v), "%s: %lu: %s",
			      stamp_verdict_name((enum stamp_verdict)v), r.bad[v], said_text);
	ck_assert_uint_eq(r.verified, NBLOCKS - (t->verdict != STAMP_GOOD));
	ck_assert_uint_eq(work_is_ok(&o, &r), t->verdict == STAMP_GOOD);
	if (!t->says)
		return;
	strcpy(says, t->says);
	if (strstr(says, "HALF"))
		snprintf(says, sizeof(says), "; from byte %u on something else",
			 o.run.block_len / 2);
	ck_assert_msg(strstr(said_text, says) != NULL, "'%s' is not in '%s'", says, said_text);
}
END_TEST

/* While it runs: what is spoiled is found by its random reads, too, and ends it. */
START_TEST(a_stale_block_ends_the_random_part)
{
	const struct spoiler before = { generation_before, STAMP_STALE, NULL };
	struct work_options o = options_of(512);
	struct work_result r;

	write_all(512);
	spoil_file(&o, &before);
	o.blocks = 1000000;
	ck_assert_int_eq(work_run(&o, &r), 0);
	ck_assert(!work_is_ok(&o, &r));
	ck_assert_uint_ge(r.bad[STAMP_STALE], 1);
	ck_assert_uint_lt(r.written, 1000000);
}
END_TEST

/* ---- the ledger -------------------------------------------------------------------------------
 */

START_TEST(a_ledger_is_gone_on_with)
{
	struct work_options o = options_of(512);
	struct work_result r;

	write_all(512);
	ck_assert_int_eq(work_run(&o, &r), 0); /* the region is read first, and not filled again */
	fflush(said);
	ck_assert_msg(work_is_ok(&o, &r), "%s", said_text);
	ck_assert_ptr_nonnull(strstr(said_text, "nsid 1: 0 blocks of 512 bytes filled"));
}
END_TEST

/* What was sent and not acknowledged when the host crashed: old and new are both right. */
START_TEST(a_block_in_doubt_may_be_old_or_new)
{
	struct work_options o = options_of(512);
	struct file f = { .block_len = 512 };
	struct work_result r;

	write_all(512);
	f.entry = entry_of(&o, VICTIM);
	remake(&f, HOST, SEED, 1, f.entry.sent + (uint64_t)_i);
	f.fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(f.fd, f.block, 512, VICTIM * 512), 512);
	close(f.fd);
	ck_assert_int_eq(work_run(&o, &r), 0);
	fflush(said);
	ck_assert_msg(work_is_ok(&o, &r), "%s", said_text);
}
END_TEST

static void another_seed(struct work_options *o)
{
	o->run.seed++;
}
static void another_host(struct work_options *o)
{
	strcpy(o->run.host, "other");
}
static void another_part(struct work_options *o)
{
	o->offset = 512;
	o->size = (NBLOCKS - 2) * 512;
}
static void no_part(struct work_options *o)
{
	o->offset = NBLOCKS * 512;
}
static void part_beyond(struct work_options *o)
{
	o->offset = 512;
	o->size = NBLOCKS * 512;
}
static void huge_part(struct work_options *o)
{
	o->offset = 512;
	o->size = UINT64_MAX - 511;
}
static void odd_offset(struct work_options *o)
{
	o->offset = 100;
}
static void no_file(struct work_options *o)
{
	o->path = "/nonexistent";
}

static const struct refusal {
	void (*edit)(struct work_options *o);
	int err;
} refusals[] = {
	{ another_seed, -EBADMSG }, { another_host, -EBADMSG }, { another_part, -EBADMSG },
	{ no_part, -ERANGE },       { part_beyond, -ERANGE },   { huge_part, -ERANGE },
	{ odd_offset, -ERANGE },    { no_file, -ENOENT },
};

START_TEST(another_run_or_part_is_refused)
{
	struct work_options o = options_of(512);
	struct work_result r;

	write_all(512);
	refusals[_i].edit(&o);
	ck_assert_int_eq(work_run(&o, &r), refusals[_i].err);
	ck_assert(!work_is_ok(&o, &r));
}
END_TEST

/* ---- errors -----------------------------------------------------------------------------------
 */

static const struct outcome {
	struct work_result r;
	bool errors_allowed, ok;
} outcomes[] = {
	{ { .written = 8, .verified = 8 }, false, true },
	{ { .written = 8, .verified = 8, .errors = 1 }, false, false },
	{ { .written = 8, .verified = 8, .errors = 1 }, true, true },
	{ { .written = 8, .verified = 7, .errors = 1, .unread = 1 }, true, false },
	{ { .written = 8, .verified = 8, .bad[STAMP_STALE] = 1 }, true, false },
	{ { .written = 8, .verified = 8, .bad[STAMP_NONE] = 1 }, true, false },
	{ { .written = 8 }, true, false }, /* nothing was seen */
};

START_TEST(what_is_not_seen_is_not_ok)
{
	const struct outcome *t = &outcomes[_i];
	const struct work_options o = { .errors_allowed = t->errors_allowed };

	ck_assert_uint_eq(work_is_ok(&o, &t->r), t->ok);
}
END_TEST

/* The seed alone says which operations there are. */
START_TEST(the_same_seed_gives_the_same_operations)
{
	struct work_options o = options_of(512);
	struct work_result r;
	struct work w[2] = { 0 };

	for (int i = 0; i < 2; i++) {
		w[i].o = &o;
		w[i].r = &r;
		w[i].run = o.run;
		w[i].ledger.nblocks = 100000;
		w[i].random = SEED * 2 + 1;
	}
	r = (struct work_result){ 0 };
	for (int i = 0; i < 1000; i++) {
		struct op a, b;

		ck_assert(next_random(&w[0], &a) && next_random(&w[1], &b));
		ck_assert(a.first == b.first && a.n == b.n && a.is_write == b.is_write);
		ck_assert_uint_ge(a.n, WORK_IO_MIN / 512);
		ck_assert_uint_le(a.n, WORK_IO_MAX / 512);
		ck_assert_uint_le(a.first + a.n, 100000);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stamp");
	TCase *t = tcase_create("stamp");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, what_it_writes_it_finds_good, 0, 2);
	tcase_add_loop_test(t, each_spoiled_block_is_noticed_and_named, 0, 2 * NSPOILERS);
	tcase_add_test(t, a_stale_block_ends_the_random_part);
	tcase_add_test(t, a_ledger_is_gone_on_with);
	tcase_add_loop_test(t, a_block_in_doubt_may_be_old_or_new, 0, 3);
	tcase_add_loop_test(t, another_run_or_part_is_refused, 0,
			    sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_loop_test(t, what_is_not_seen_is_not_ok, 0,
			    sizeof(outcomes) / sizeof(outcomes[0]));
	tcase_add_test(t, the_same_seed_gives_the_same_operations);
	tcase_add_test(t, a_rate_is_not_exceeded);
	suite_add_tcase(s, t);
	return run_suite(s);
}
