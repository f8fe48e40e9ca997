/* I/O commands through the dispatch: every form, random ones against a model, and fused ones. */
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#include <sys/stat.h>

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define BLOCK       4096
#define MOST        32 /* blocks in one command: MDTS is 128 KiB */
#define BEYOND      (NVME_LBA_OUT_OF_RANGE | NVME_DNR)
#define TOO_MUCH    (NVME_CMD_SIZE_LIMIT_EXCEEDED | NVME_DNR)
#define WRONG       (NVME_INVALID_FIELD | NVME_DNR)

enum { FLUSH = 0, WRITE = 1, READ = 2, COMPARE = 5, ZEROES = 8, DSM = 9, VERIFY = 12, COPY = 25 };
enum { AD = 1 << 2, DEAC = 1 << 25, FUA = 1 << 30 };

static struct exchange command(uint8_t opcode, uint64_t slba, uint32_t nlb_z)
{
	struct exchange x = { .sqe = { .opcode = opcode, .nsid = put32(1) } };

	x.sqe.cdw10 = put32((uint32_t)slba);
	x.sqe.cdw11 = put32((uint32_t)(slba >> 32));
	x.sqe.cdw12 = put32(nlb_z);
	return x;
}

struct fixture {
	struct nvmf_queue *admin, *q;
};

static struct fixture open_both(void)
{
	uint16_t cntlid;
	struct fixture f = { .admin = open_enabled(&cntlid) };

	f.q = open_io(cntlid);
	return f;
}

static void close_both(struct fixture *f)
{
	drop_queue(f->q);
	drop_queue(f->admin);
}

/* ---- forms --------------------------------------------------------------------------------------
 */

static const struct form {
	uint8_t opcode;
	uint64_t slba;
	uint32_t cdw12;
	uint16_t status;
} forms[] = {
	{ FLUSH, 0, 0, NVME_OK },
	{ READ, 0, 0, NVME_OK },
	{ READ, NBLOCKS - 1, 0, NVME_OK },
	{ READ, NBLOCKS - 1, FUA, NVME_OK },
	{ READ, 0, MOST - 1, NVME_OK },
	{ READ, 0, MOST, WRONG },
	{ READ, NBLOCKS, 0, BEYOND },
	{ READ, NBLOCKS - 1, 1, BEYOND },
	{ READ, UINT64_MAX, 0, BEYOND },
	{ READ, UINT64_MAX - 1, 1, BEYOND },
	{ READ, 0, 0xffff, BEYOND },
	{ READ, 0, 1u << 31, NVME_OK }, /* limited retry: we try as often as always */
	{ WRITE, 0, 0, NVME_OK },
	{ WRITE, 0, FUA, NVME_OK },
	{ WRITE, 0, MOST, WRONG },
	{ WRITE, NBLOCKS, 0, BEYOND },
	{ WRITE, UINT64_MAX, 0xffff, BEYOND },
	{ WRITE, 0, 1u << 20, WRONG }, /* a directive */
	{ COMPARE, 0, MOST - 1, NVME_OK },
	{ COMPARE, 0, MOST, WRONG },
	{ COMPARE, NBLOCKS - 1, 0, NVME_OK },
	{ COMPARE, NBLOCKS - 1, 1, BEYOND },
	{ COMPARE, UINT64_MAX, 0, BEYOND },
	{ ZEROES, 0, 0, NVME_OK },
	{ ZEROES, 0, NBLOCKS - 1, NVME_OK }, /* no data: no MDTS */
	{ ZEROES, 0, NBLOCKS - 1 + DEAC, NVME_OK },
	{ ZEROES, 0, 7 + FUA, NVME_OK },
	{ ZEROES, 0, NBLOCKS, BEYOND },
	{ ZEROES, NBLOCKS, 0, BEYOND },
	{ ZEROES, UINT64_MAX, 0, BEYOND },
	{ VERIFY, 0, NBLOCKS - 1, NVME_OK },
	{ VERIFY, 0, NBLOCKS, BEYOND },
	{ VERIFY, UINT64_MAX, 1, BEYOND },
	{ 0x04, 0, 0, NVME_INVALID_OPCODE | NVME_DNR }, /* Write Uncorrectable */
};

START_TEST(form_has_its_status)
{
	const struct form *f = &forms[_i];
	struct fixture x = open_both();
	struct exchange c = command(f->opcode, f->slba, f->cdw12);

	memset(data, 0, (size_t)MOST * BLOCK);
	ck_assert_uint_eq(run(x.q, &c), f->status);
	c = command(f->opcode, f->slba, f->cdw12);
	c.sqe.nsid = put32(2);
	ck_assert_uint_eq(run(x.q, &c), f->opcode == 4 ? NVME_INVALID_OPCODE | NVME_DNR
						       : NVME_INVALID_NS | NVME_DNR);
	close_both(&x);
}
END_TEST

static const struct dsm_form {
	uint32_t cdw10, cdw11;
	struct {
		uint64_t slba;
		uint32_t nlb;
	} range[3];
	uint16_t status;
} dsm_forms[] = {
	{ 0, AD, { { 0, 1 } }, NVME_OK },
	{ 0, AD, { { 0, NBLOCKS } }, NVME_OK },
	{ 0, AD, { { NBLOCKS, 0 } }, NVME_OK }, /* nothing at all */
	{ 2, AD, { { 0, 1 }, { 5, 0 }, { NBLOCKS - 1, 1 } }, NVME_OK },
	{ 0, 0, { { 0, 1 } }, NVME_OK }, /* hints */
	{ 0, 3, { { 0, 1 } }, NVME_OK },
	{ 0, AD, { { 0, NBLOCKS + 1 } }, BEYOND },
	{ 0, 0, { { 0, NBLOCKS + 1 } }, BEYOND },
	{ 0, AD, { { NBLOCKS, 1 } }, BEYOND },
	{ 0, AD, { { UINT64_MAX, 1 } }, BEYOND },
	{ 0, AD, { { UINT64_MAX, UINT32_MAX } }, BEYOND },
	{ 2, AD, { { 0, 1 }, { 5, 1 }, { NBLOCKS, 1 } }, BEYOND },
};

START_TEST(dataset_management_has_its_status)
{
	const struct dsm_form *f = &dsm_forms[_i];
	struct fixture x = open_both();
	struct exchange c = { .sqe = { .opcode = DSM, .nsid = put32(1) } };
	struct nvme_dsm_range *ranges = (void *)data;

	memset(data, 0, BLOCK);
	for (int i = 0; i < 3; i++) {
		ranges[i].slba = htole64(f->range[i].slba);
		ranges[i].nlb = htole32(f->range[i].nlb);
	}
	c.sqe.cdw10 = put32(f->cdw10);
	c.sqe.cdw11 = put32(f->cdw11);
	ck_assert_uint_eq(run(x.q, &c), f->status);
	close_both(&x);
}
END_TEST

static const struct copy_form {
	uint64_t sdlba;
	uint32_t cdw12;
	struct {
		uint64_t slba;
		uint16_t nlb_z;
	} range[2];
	uint16_t status;
} copy_forms[] = {
	{ 100, 0, { { 0, 0 } }, NVME_OK },
	{ 100, FUA, { { 0, 63 } }, NVME_OK },
	{ 100, 1, { { 0, 63 }, { NBLOCKS - 1, 0 } }, NVME_OK },
	{ 100, 0, { { NBLOCKS, 0 } }, BEYOND },
	{ 100, 1, { { 0, 0 }, { NBLOCKS - 1, 1 } }, BEYOND },
	{ NBLOCKS, 0, { { 0, 0 } }, BEYOND },
	{ NBLOCKS - 1, 1, { { 0, 0 }, { 0, 0 } }, BEYOND },
	{ UINT64_MAX, 0, { { 0, 0 } }, BEYOND },
	{ 0, 0, { { UINT64_MAX, 0xffff } }, TOO_MUCH },
	{ 100, 0, { { 0, COPY_RANGE_BLOCKS_MAX } }, TOO_MUCH },
	{ 100, COPY_RANGES_MAX_Z + 1, { { 0, 0 } }, TOO_MUCH },
	{ 100, 1 << 8, { { 0, 0 } }, WRONG }, /* descriptor formats */
	{ 100, 15 << 8, { { 0, 0 } }, WRONG },
};

START_TEST(copy_has_its_status)
{
	const struct copy_form *f = &copy_forms[_i];
	struct fixture x = open_both();
	struct exchange c = command(COPY, f->sdlba, f->cdw12);
	struct nvme_copy_range *ranges = (void *)data;

	memset(data, 0, BLOCK);
	for (int i = 0; i < 2; i++) {
		ranges[i].slba = htole64(f->range[i].slba);
		ranges[i].nlb = htole16(f->range[i].nlb_z);
	}
	ck_assert_uint_eq(run(x.q, &c), f->status);
	close_both(&x);
}
END_TEST

/* ---- a model ------------------------------------------------------------------------------------
 */

static uint8_t model[FILE_LEN];

static void fill(uint8_t *to, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(seed * 7 + i * 31 + i / BLOCK);
}

static void do_write(struct nvmf_queue *q, uint64_t slba, uint32_t n, unsigned int seed)
{
	struct exchange c = command(WRITE, slba, (n - 1) | (seed % 5 ? 0 : FUA));

	fill(data, (size_t)n * BLOCK, seed);
	memcpy(model + slba * BLOCK, data, (size_t)n * BLOCK);
	ck_assert_uint_eq(run(q, &c), NVME_OK);
}

static void do_read(struct nvmf_queue *q, uint64_t slba, uint32_t n, unsigned int seed)
{
	struct exchange c = command(READ, slba, (n - 1) | (seed % 5 ? 0 : FUA));

	memset(data, 0xee, (size_t)n * BLOCK);
	ck_assert_uint_eq(run(q, &c), NVME_OK);
	ck_assert_mem_eq(data, model + slba * BLOCK, (size_t)n * BLOCK);
}

static void do_compare(struct nvmf_queue *q, uint64_t slba, uint32_t n, unsigned int seed)
{
	struct exchange c = command(COMPARE, slba, n - 1);
	bool differs = seed % 2;

	memcpy(data, model + slba * BLOCK, (size_t)n * BLOCK);
	if (differs)
		data[seed % (n * BLOCK)] ^= 1;
	ck_assert_uint_eq(run(q, &c), differs ? NVME_COMPARE_FAILURE | NVME_DNR : NVME_OK);
}

static void do_zeroes(struct nvmf_queue *q, uint64_t slba, uint32_t n, unsigned int seed)
{
	struct exchange c = command(ZEROES, slba, (n - 1) | (seed % 2 ? DEAC : 0));

	memset(model + slba * BLOCK, 0, (size_t)n * BLOCK);
	ck_assert_uint_eq(run(q, &c), NVME_OK);
}

/* Of a file, deallocated blocks read as zeros. */
static void do_deallocate(struct nvmf_queue *q, uint64_t slba, uint32_t n, unsigned int seed)
{
	struct exchange c = { .sqe = { .opcode = DSM, .nsid = put32(1) } };
	struct nvme_dsm_range *r = (void *)data;

	(void)seed;
	memset(model + slba * BLOCK, 0, (size_t)n * BLOCK);
	memset(data, 0, BLOCK);
	r[0].slba = htole64(slba);
	r[0].nlb = htole32(n / 2);
	r[1].slba = htole64(slba + n / 2);
	r[1].nlb = htole32(n - n / 2);
	c.sqe.cdw10 = put32(1);
	c.sqe.cdw11 = put32(AD);
	ck_assert_uint_eq(run(q, &c), NVME_OK);
}

/* From the lower half to the upper, in two ranges. */
static void do_copy(struct nvmf_queue *q, uint64_t slba, uint32_t n, unsigned int seed)
{
	struct exchange c = command(COPY, NBLOCKS / 2 + slba / 4, 1);
	struct nvme_copy_range *r = (void *)data;
	uint64_t to = NBLOCKS / 2 + slba / 4, from = seed % (NBLOCKS / 2 - n);

	memset(data, 0, BLOCK);
	r[0].slba = htole64(from);
	r[0].nlb = htole16((uint16_t)(n - 1));
	r[1].slba = htole64(from / 2);
	r[1].nlb = 0;
	memcpy(model + to * BLOCK, model + from * BLOCK, (size_t)n * BLOCK);
	memcpy(model + (to + n) * BLOCK, model + from / 2 * BLOCK, BLOCK);
	ck_assert_uint_eq(run(q, &c), NVME_OK);
}

START_TEST(random_commands_do_what_a_model_does)
{
	static void (*const op[])(struct nvmf_queue *, uint64_t, uint32_t,
				  unsigned int) = { do_write,  do_write,      do_read, do_compare,
						    do_zeroes, do_deallocate, do_copy };
	struct fixture x = open_both();
	int fd = open(path, O_RDONLY);
	static uint8_t got[FILE_LEN];
	unsigned int seed = 4711;

	memset(model, 0, sizeof(model));
	for (unsigned int i = 0; i < 500; i++) {
		unsigned int r = (unsigned int)rand_r(&seed);
		uint32_t n = r / 7 % MOST + 1;

		op[r % 7](x.q, r / 1000 % (NBLOCKS - n), n, i + r % 64);
	}
	ck_assert_int_eq(pread(fd, got, sizeof(got), 0), sizeof(got));
	ck_assert_mem_eq(got, model, sizeof(got));
	close(fd);
	close_both(&x);
}
END_TEST

START_TEST(deallocated_blocks_take_no_space)
{
	struct fixture x = open_both();
	struct stat before, after;

	for (uint64_t slba = 0; slba < NBLOCKS; slba += MOST)
		do_write(x.q, slba, MOST, 3);
	ck_assert_int_eq(stat(path, &before), 0);
	do_deallocate(x.q, 0, 64, 0);
	do_zeroes(x.q, 64, 64, 1);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_le(after.st_blocks, before.st_blocks - 128 * (BLOCK / 512));
	close_both(&x);
}
END_TEST

/* More than there are buffers for: they wait in line, and all are answered. */
START_TEST(many_at_once_wait_for_a_buffer)
{
	enum { N = 40 };
	struct fixture x = open_both();
	static struct exchange c[N];

	memset(model, 0, sizeof(model));
	for (uint64_t slba = 0; slba < NBLOCKS; slba += MOST)
		do_write(x.q, slba, MOST, 9);
	for (int i = 0; i < N; i++) {
		c[i] = command(VERIFY, (uint64_t)i, NBLOCKS - N - 1);
		c[i].sqe.flags = SQE_PSDT_SGL;
		c[i].req.queue = x.q;
		c[i].req.sqe = &c[i].sqe;
		reactor_call(x.q->reactor, start, &c[i]);
	}
	for (int i = 0; i < N; i++) {
		for (int ms = 0; !is_answered(&c[i]) && ms < 10000; ms++) {
			ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
			usleep(1000);
		}
		ck_assert(is_answered(&c[i]));
		ck_assert_uint_eq(get16(c[i].req.cqe.status), NVME_OK);
	}
	close_both(&x);
}
END_TEST

/* ---- fused --------------------------------------------------------------------------------------
 */

struct half {
	struct exchange x; /* first */
	uint8_t *bytes;
	bool hold; /* checked, but its data has not come yet */
};

static void start_half(void *arg)
{
	struct half *h = arg;
	uint16_t status = nvmf_req_check(&h->x.req);

	h->x.req.data = h->bytes;
	h->x.req.place = STAGE_HOST_NO_CMB;
	if (status)
		nvmf_req_complete(&h->x.req, status);
	else if (!h->hold)
		nvmf_req_execute(&h->x.req);
}

static void arrive(void *arg)
{
	nvmf_req_execute(&((struct half *)arg)->x.req);
}

static void lose(void *arg)
{
	nvmf_req_drop(&((struct half *)arg)->x.req);
}

static void send_half(struct nvmf_queue *q, struct half *h, uint8_t fuse)
{
	h->x.sqe.flags = SQE_PSDT_SGL | fuse;
	h->x.req.queue = q;
	h->x.req.sqe = &h->x.sqe;
	h->x.answered = false;
	reactor_call(q->reactor, start_half, h);
}

static uint16_t answer_of(struct half *h)
{
	for (int ms = 0; !is_answered(&h->x) && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		if (!is_answered(&h->x))
			usleep(100);
	}
	ck_assert(is_answered(&h->x));
	return get16(h->x.req.cqe.status) >> 1;
}

static struct half half(uint8_t opcode, uint64_t slba, uint32_t nlb_z, uint8_t byte)
{
	struct half h = { .x = command(opcode, slba, nlb_z),
			  .bytes = aligned_alloc(BLOCK, (size_t)MOST * BLOCK) };

	memset(h.bytes, byte, (size_t)MOST * BLOCK);
	return h;
}

#define FAILED  NVME_ABORTED_FAILED_FUSED
#define MISSING NVME_ABORTED_MISSING_FUSED

/* Two commands in a row on blocks of zeros. */
static const struct pair_row {
	uint8_t fuse[2], opcode[2], byte[2];
	uint64_t slba[2];
	uint32_t nlb_z[2];
	uint16_t status[2];
} pair_rows[] = {
	{ { 1, 2 }, { COMPARE, WRITE }, { 0, 7 }, { 4, 4 }, { 0, 0 }, { NVME_OK, NVME_OK } },
	{ { 1, 2 }, { COMPARE, WRITE }, { 0, 7 }, { 4, 4 }, { 7, 7 }, { NVME_OK, NVME_OK } },
	{ { 1, 2 },
	  { COMPARE, WRITE },
	  { 1, 7 },
	  { 4, 4 },
	  { 0, 0 },
	  { NVME_COMPARE_FAILURE | NVME_DNR, FAILED } },
	{ { 1, 2 }, { COMPARE, WRITE }, { 0, 7 }, { 4, 5 }, { 0, 0 }, { FAILED, WRONG } },
	{ { 1, 2 }, { COMPARE, WRITE }, { 0, 7 }, { 4, 4 }, { 0, 1 }, { FAILED, WRONG } },
	{ { 1, 2 }, { COMPARE, READ }, { 0, 0 }, { 4, 4 }, { 0, 0 }, { FAILED, WRONG } },
	{ { 1, 2 }, { WRITE, WRITE }, { 0, 0 }, { 4, 4 }, { 0, 0 }, { WRONG, FAILED } },
	{ { 1, 2 }, { COMPARE, WRITE }, { 0, 7 }, { NBLOCKS, 4 }, { 0, 0 }, { BEYOND, FAILED } },
	{ { 1, 2 }, { COMPARE, WRITE }, { 0, 7 }, { 4, NBLOCKS }, { 0, 0 }, { FAILED, BEYOND } },
	{ { 1, 0 }, { COMPARE, WRITE }, { 0, 0 }, { 4, 4 }, { 0, 0 }, { MISSING, NVME_OK } },
	{ { 2, 0 }, { WRITE, READ }, { 7, 0 }, { 4, 4 }, { 0, 0 }, { MISSING, NVME_OK } },
	{ { 0, 2 }, { COMPARE, WRITE }, { 0, 7 }, { 4, 4 }, { 0, 0 }, { NVME_OK, MISSING } },
	{ { 3, 0 }, { COMPARE, READ }, { 0, 0 }, { 4, 4 }, { 0, 0 }, { WRONG, NVME_OK } },
};

START_TEST(two_commands_are_a_pair_or_not)
{
	const struct pair_row *row = &pair_rows[_i];
	struct fixture x = open_both();
	struct half h[2];
	bool written = row->status[1] == NVME_OK && row->opcode[1] == WRITE;

	for (int i = 0; i < 2; i++) {
		h[i] = half(row->opcode[i], row->slba[i], row->nlb_z[i], row->byte[i]);
		send_half(x.q, &h[i], row->fuse[i]);
	}
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(answer_of(&h[i]), row->status[i]);
		free(h[i].bytes);
	}
	memset(model, 0, sizeof(model));
	if (written)
		memset(model + 4 * BLOCK, row->byte[1], (size_t)(row->nlb_z[1] + 1) * BLOCK);
	do_read(x.q, 0, MOST, 1);
	close_both(&x);
}
END_TEST

/* The data of the second may be there before that of the first. */
START_TEST(halves_arrive_in_any_order)
{
	struct fixture x = open_both();
	struct half first = half(COMPARE, 4, 0, 0), second = half(WRITE, 4, 0, 7);

	first.hold = true;
	send_half(x.q, &first, 1);
	send_half(x.q, &second, 2);
	ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
	ck_assert(!is_answered(&first.x) && !is_answered(&second.x));
	reactor_call(x.q->reactor, arrive, &first);
	ck_assert_uint_eq(answer_of(&first), NVME_OK);
	ck_assert_uint_eq(answer_of(&second), NVME_OK);
	free(first.bytes);
	free(second.bytes);
	close_both(&x);
}
END_TEST

/* The connection dies while one half is on its way: nobody waits for it for ever. */
START_TEST(half_pair_ends_with_its_queue)
{
	struct fixture x = open_both();
	struct half first = half(COMPARE, 4, 0, 0), second = half(WRITE, 4, 0, 7);
	struct half lonely = half(COMPARE, 4, 0, 0);

	second.hold = true;
	send_half(x.q, &first, 1);
	send_half(x.q, &second, 2);
	send_half(x.q, &lonely, 1);
	reactor_call(x.q->reactor, close_queue, x.q);
	ck_assert_uint_eq(answer_of(&first), NVME_ABORTED_SQ_DELETION);
	ck_assert_uint_eq(answer_of(&lonely), NVME_ABORTED_SQ_DELETION);
	reactor_call(x.q->reactor, lose, &second);
	ck_assert(!is_answered(&second.x));
	free(first.bytes);
	free(second.bytes);
	free(lonely.bytes);
	close_both(&x);
}
END_TEST

/* Compare and Write is what hosts count with: nothing may be lost, whoever else writes. */
START_TEST(two_hosts_count_with_compare_and_write)
{
	enum { EACH = 100 };
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid);
	struct nvmf_queue *q[2] = { open_io_queue(cntlid, 1), open_io_queue(cntlid, 2) };
	struct half compare[2], write[2], noise = half(WRITE, 8, 3, 1);
	uint32_t done[2] = { 0 }, failed = 0, count;
	int fd = open(path, O_RDONLY);

	for (int i = 0; i < 2; i++) {
		compare[i] = half(COMPARE, 4, 0, 0);
		write[i] = half(WRITE, 4, 0, 0);
		*(uint32_t *)write[i].bytes = 1;
		send_half(q[i], &compare[i], 1);
		send_half(q[i], &write[i], 2);
	}
	send_half(q[0], &noise, 0);
	while (done[0] < EACH || done[1] < EACH) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		if (is_answered(&noise.x))
			send_half(q[done[0] % 2], &noise, 0);
		for (int i = 0; i < 2; i++) {
			if (done[i] == EACH || !is_answered(&compare[i].x) ||
			    !is_answered(&write[i].x))
				continue;
			if (answer_of(&write[i]) == NVME_OK) {
				done[i]++;
				*(uint32_t *)compare[i].bytes = *(uint32_t *)write[i].bytes;
			} else { /* somebody was faster: look */
				ck_assert_uint_eq(answer_of(&compare[i]),
						  NVME_COMPARE_FAILURE | NVME_DNR);
				failed++;
				ck_assert_int_eq(pread(fd, &count, sizeof(count), 4 * BLOCK),
						 sizeof(count));
				*(uint32_t *)compare[i].bytes = count;
			}
			*(uint32_t *)write[i].bytes = *(uint32_t *)compare[i].bytes + 1;
			if (done[i] == EACH)
				continue;
			send_half(q[i], &compare[i], 1);
			send_half(q[i], &write[i], 2);
		}
	}
	(void)answer_of(&noise);
	ck_assert_int_eq(pread(fd, &count, sizeof(count), 4 * BLOCK), sizeof(count));
	ck_assert_uint_eq(count, 2 * EACH);
	ck_assert_uint_gt(failed, 0);
	close(fd);
	for (int i = 0; i < 2; i++) {
		free(compare[i].bytes);
		free(write[i].bytes);
		drop_queue(q[i]);
	}
	free(noise.bytes);
	drop_queue(admin);
}
END_TEST

static void add_tests(Suite *s, const char *name, void (*fixture)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, fixture, teardown);
	tcase_add_loop_test(tc, form_has_its_status, 0, NROWS(forms));
	tcase_add_loop_test(tc, dataset_management_has_its_status, 0, NROWS(dsm_forms));
	tcase_add_loop_test(tc, copy_has_its_status, 0, NROWS(copy_forms));
	tcase_add_test(tc, random_commands_do_what_a_model_does);
	tcase_add_test(tc, deallocated_blocks_take_no_space);
	tcase_add_test(tc, many_at_once_wait_for_a_buffer);
	tcase_add_loop_test(tc, two_commands_are_a_pair_or_not, 0, NROWS(pair_rows));
	tcase_add_test(tc, halves_arrive_in_any_order);
	tcase_add_test(tc, half_pair_ends_with_its_queue);
	tcase_add_test(tc, two_hosts_count_with_compare_and_write);
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("io");

	add_tests(s, "one thread", setup);
	add_tests(s, "I/O threads", setup_threads);
	return run_suite(s);
}
