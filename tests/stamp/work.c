/* The workload, on an io_uring. */
#include "tests/stamp/work.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST_LINES 20 /* about what was wrong */
#define SYNC_MS    1000

struct op {
	bool is_write;
	uint64_t first; /* block, counted from the region's first */
	uint32_t n;     /* blocks */
};

struct slot {
	struct op op;
	bool busy;
	uint8_t *data; /* WORK_IO_MAX */
};

struct work {
	const struct work_options *o;
	struct stamp_run run;
	struct work_result *r;
	struct ledger ledger;
	struct io_uring ring;
	struct slot slots[WORK_DEPTH_MAX];
	uint8_t *memory;
	uint64_t first_lba, next; /* next: of fill and of the last reading */
	uint64_t random, end_ms, synced_ms;
	uint64_t due_us; /* when the rate allows the next random operation */
	unsigned int out, lines;
	int fd, failed; /* failed: negative errno of what is no I/O error */
	bool has_ring, is_last_reading;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t now_ms(void)
{
	return now_us() / 1000;
}

/* ---- what is found ----------------------------------------------------------------------------
 */

static void tell_bad(struct work *w, uint64_t lba, const struct ledger_entry *e,
		     enum stamp_verdict v, const struct stamp *s, const uint8_t *block)
{
	FILE *out = w->o->out;

	if (w->lines++ >= MOST_LINES)
		return;
	fprintf(out, "stamp: nsid %u, block %llu: %s: ", w->run.nsid, (unsigned long long)lba,
		stamp_verdict_name(v));
	if (v == STAMP_NONE) {
		fprintf(out, "it begins with");
		for (int i = 0; i < 16; i++)
			fprintf(out, " %02x", block[i]);
		fprintf(out, "\n");
		return;
	}
	fprintf(out, "nsid %u, block %llu, generation %llu of host %s, seed %llu", s->nsid,
		(unsigned long long)s->lba, (unsigned long long)s->generation, s->host,
		(unsigned long long)s->seed);
	if (v == STAMP_TORN)
		fprintf(out, "; from byte %zu on something else",
			stamp_torn_at(w->run.block_len, block));
	fprintf(out, "; expected generation %u to %u\n", e->acked, e->sent);
	fflush(out);
}

static void look(struct work *w, const struct slot *slot)
{
	for (uint32_t i = 0; i < slot->op.n; i++) {
		const struct ledger_entry *e = &w->ledger.of[slot->op.first + i];
		const uint8_t *block = slot->data + (size_t)i * w->run.block_len;
		uint64_t lba = w->first_lba + slot->op.first + i;
		enum stamp_verdict v;
		struct stamp s;

		if (!e->acked)
			continue;
		v = stamp_look(&w->run, lba, e->acked, e->sent, block, &s);
		if (v == STAMP_GOOD) {
			w->r->verified++;
		} else {
			w->r->bad[v]++;
			tell_bad(w, lba, e, v, &s, block);
		}
	}
}

static void io_failed(struct work *w, const struct op *op, int err)
{
	w->r->errors++;
	if (w->is_last_reading)
		w->r->unread += op->n;
	if (w->lines++ < MOST_LINES)
		fprintf(w->o->out, "stamp: nsid %u, block %llu, %u blocks: %s: %s\n", w->run.nsid,
			(unsigned long long)(w->first_lba + op->first), op->n,
			op->is_write ? "write" : "read", err ? strerror(-err) : "ended short");
	fflush(w->o->out);
}

static void completed(struct work *w, struct slot *slot, int res)
{
	const struct op *op = &slot->op;

	slot->busy = false;
	w->out--;
	if (res != (int)(op->n * w->run.block_len)) {
		io_failed(w, op, res < 0 ? res : 0);
		return;
	}
	if (!op->is_write) {
		look(w, slot);
		return;
	}
	for (uint32_t i = 0; i < op->n; i++)
		w->ledger.of[op->first + i].acked = w->ledger.of[op->first + i].sent;
	w->r->written += op->n;
}

/* ---- operations out ---------------------------------------------------------------------------
 */

static void reap_one(struct work *w)
{
	struct io_uring_cqe *cqe;
	int err = io_uring_wait_cqe(&w->ring, &cqe);

	if (err == -EINTR) /* told to end; what is out comes back all the same */
		return;
	if (err) {
		w->failed = err;
		return;
	}
	completed(w, io_uring_cqe_get_data(cqe), cqe->res);
	io_uring_cqe_seen(&w->ring, cqe);
}

static bool overlaps(const struct work *w, const struct op *op)
{
	for (unsigned int i = 0; i < w->o->depth; i++) {
		const struct op *other = &w->slots[i].op;

		if (w->slots[i].busy && (op->is_write || other->is_write) &&
		    op->first < other->first + other->n && other->first < op->first + op->n)
			return true;
	}
	return false;
}

static struct slot *free_slot(struct work *w)
{
	for (unsigned int i = 0; i < w->o->depth; i++)
		if (!w->slots[i].busy)
			return &w->slots[i];
	return NULL;
}

static void stamp_all(struct work *w, struct slot *slot)
{
	for (uint32_t i = 0; i < slot->op.n; i++) {
		uint64_t block = slot->op.first + i;

		stamp_make(&w->run, w->first_lba + block, ++w->ledger.of[block].sent,
			   slot->data + (size_t)i * w->run.block_len);
	}
}

static void submit(struct work *w, const struct op *op)
{
	uint32_t len = op->n * w->run.block_len;
	uint64_t at = w->o->offset + op->first * w->run.block_len;
	struct io_uring_sqe *sqe;
	struct slot *slot;
	int n;

	while (!w->failed && (!(slot = free_slot(w)) || overlaps(w, op)))
		reap_one(w);
	if (w->failed)
		return;
	slot->op = *op;
	slot->busy = true;
	w->out++;
	sqe = io_uring_get_sqe(&w->ring);
	if (op->is_write) {
		stamp_all(w, slot);
		io_uring_prep_write(sqe, w->fd, slot->data, len, at);
	} else {
		memset(slot->data, 0, len); /* what does not come is not what was there before */
		io_uring_prep_read(sqe, w->fd, slot->data, len, at);
	}
	io_uring_sqe_set_data(sqe, slot);
	while ((n = io_uring_submit(&w->ring)) == -EINTR)
		;
	if (n < 0)
		w->failed = n;
}

/* ---- which operations there are ---------------------------------------------------------------
 */

/* xorshift64star (G. Marsaglia, S. Vigna); the state is never 0. */
static uint64_t draw(struct work *w, uint64_t below)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (w->random * UINT64_C(0x2545f4914f6cdd1d) >> 11) % below;
}

/* 4 KiB to 1 MiB, each power of two as likely; half of them somewhat less. */
static bool next_random(struct work *w, struct op *ret)
{
	uint32_t block_len = w->run.block_len;
	uint32_t least = block_len > WORK_IO_MIN ? 1 : WORK_IO_MIN / block_len;
	uint32_t n = WORK_IO_MIN << draw(w, 9), most = WORK_IO_MAX / block_len;

	n /= block_len;
	if (draw(w, 2))
		n -= (uint32_t)draw(w, n / 2 + 1);
	n = n < least ? least : n > most ? most : n;
	if (n > w->ledger.nblocks)
		n = (uint32_t)w->ledger.nblocks;
	ret->n = n;
	ret->first = draw(w, w->ledger.nblocks - n + 1);
	ret->is_write = draw(w, 100) >= w->o->read_percent;
	return !(w->o->stop && *w->o->stop) && (!w->end_ms || now_ms() < w->end_ms) &&
	       (!w->o->blocks || w->r->written < w->o->blocks);
}

/* Time that was lost is not made up for: after a fault there is no burst. */
static void wait_for_rate(struct work *w, const struct op *op)
{
	uint64_t now = now_us();

	if (w->due_us > now)
		usleep((useconds_t)(w->due_us - now)); /* or until a signal */
	else
		w->due_us = now;
	w->due_us += (uint64_t)op->n * w->run.block_len * 1000000 / w->o->rate;
}

static bool next_paced(struct work *w, struct op *ret)
{
	if (!next_random(w, ret))
		return false;
	if (w->o->rate)
		wait_for_rate(w, ret);
	return true;
}

/* From next on, as many blocks as one operation takes; @unwritten: only such. */
static bool next_in_order(struct work *w, bool unwritten, struct op *ret)
{
	const struct ledger *l = &w->ledger;
	uint32_t most = WORK_IO_MAX / w->run.block_len;

	while (unwritten && w->next < l->nblocks && l->of[w->next].acked)
		w->next++;
	*ret = (struct op){ .is_write = unwritten, .first = w->next };
	while (w->next < l->nblocks && ret->n < most && !(unwritten && l->of[w->next].acked)) {
		w->next++;
		ret->n++;
	}
	return ret->n > 0 && !(unwritten && w->o->stop && *w->o->stop);
}

static bool next_unwritten(struct work *w, struct op *ret)
{
	return next_in_order(w, true, ret);
}

static bool next_to_read(struct work *w, struct op *ret)
{
	return next_in_order(w, false, ret);
}

static bool goes_on(const struct work *w)
{
	bool is_bad = false;

	for (int v = STAMP_GOOD + 1; v < STAMP_VERDICTS; v++)
		is_bad |= w->r->bad[v] != 0;
	return !w->failed &&
	       (w->is_last_reading || (!is_bad && (w->o->errors_allowed || !w->r->errors)));
}

static void run_phase(struct work *w, bool (*next)(struct work *w, struct op *ret))
{
	struct op op;

	w->next = 0;
	while (goes_on(w) && next(w, &op)) {
		submit(w, &op);
		if (w->o->ledger && now_ms() - w->synced_ms > SYNC_MS) {
			if (!w->failed)
				w->failed = ledger_sync(&w->ledger);
			w->synced_ms = now_ms();
		}
	}
	while (w->out && !w->failed)
		reap_one(w);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int open_target(struct work *w, uint64_t *ret_size)
{
	struct stat st;
	int block_len = 512;

	if (stat(w->o->path, &st))
		return -errno;
	w->fd = open(w->o->path, O_RDWR | O_CLOEXEC | (S_ISBLK(st.st_mode) ? O_DIRECT : 0));
	if (w->fd < 0)
		return -errno;
	*ret_size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) &&
	    (ioctl(w->fd, BLKGETSIZE64, ret_size) || ioctl(w->fd, BLKSSZGET, &block_len)))
		return -errno;
	if (!w->run.block_len)
		w->run.block_len = (uint32_t)block_len;
	return w->run.block_len % (uint32_t)block_len ? -EINVAL : 0;
}

static int prepare(struct work *w)
{
	const struct work_options *o = w->o;
	uint64_t size = 0;
	int err = open_target(w, &size);

	if (err)
		return err;
	if (o->offset % w->run.block_len || o->offset > size || o->size > size - o->offset)
		return -ERANGE;
	size = (o->size ? o->size : size - o->offset) / w->run.block_len;
	if (!size)
		return -ERANGE;
	w->first_lba = o->offset / w->run.block_len;
	w->memory = aligned_alloc(4096, (size_t)o->depth * WORK_IO_MAX);
	if (!w->memory)
		return -ENOMEM;
	for (unsigned int i = 0; i < o->depth; i++)
		w->slots[i].data = w->memory + (size_t)i * WORK_IO_MAX;
	err = io_uring_queue_init(o->depth, &w->ring, 0);
	w->has_ring = !err;
	return err ? err : ledger_open(&w->ledger, o->ledger, &w->run, w->first_lba, size);
}

static void do_work(struct work *w)
{
	const struct work_options *o = w->o;

	w->random = o->run.seed * 2 + 1;
	w->synced_ms = now_ms();
	if (w->ledger.resumed && !o->only_verify)
		run_phase(w, next_to_read); /* what the crash left */
	if (!o->only_verify) {
		run_phase(w, next_unwritten);
		fprintf(o->out, "stamp: nsid %u: %llu blocks of %u bytes filled\n", w->run.nsid,
			(unsigned long long)w->r->written, w->run.block_len);
		fflush(o->out);
		w->end_ms = o->seconds ? now_ms() + 1000u * o->seconds : 0;
		run_phase(w, next_paced);
	}
	w->is_last_reading = true;
	run_phase(w, next_to_read);
}

int work_run(const struct work_options *o, struct work_result *ret)
{
	struct work *w = calloc(1, sizeof(*w));
	int err;

	*ret = (struct work_result){ 0 };
	if (!w)
		return -ENOMEM;
	w->o = o;
	w->r = ret;
	w->run = o->run;
	w->fd = -1;
	err = prepare(w);
	if (!err) {
		do_work(w);
		err = w->failed ? w->failed : ledger_sync(&w->ledger);
	}
	if (err)
		fprintf(o->out, "stamp: %s: %s\n", o->path, strerror(-err));
	if (w->has_ring)
		io_uring_queue_exit(&w->ring);
	ledger_close(&w->ledger);
	if (w->fd >= 0)
		close(w->fd);
	free(w->memory);
	free(w);
	return err;
}

bool work_is_ok(const struct work_options *o, const struct work_result *r)
{
	uint64_t bad = r->unread + (o->errors_allowed ? 0 : r->errors);

	for (int v = STAMP_GOOD + 1; v < STAMP_VERDICTS; v++)
		bad += r->bad[v];
	return bad == 0 && r->verified > 0;
}
