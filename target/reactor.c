#include "target/reactor.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX         64     /* then timers and connections get their turn */
#define CONTENDED_NS       100000 /* a yield that takes longer: somebody else ran */
#define CONTENDED_PAUSE_NS 5000000

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One at a time, consumed before it is handled: done() may get here again through reactor_sqe(). */
static unsigned int reap(struct reactor *r)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;

	for (; io_uring_peek_cqe(&r->ring, &cqe) == 0; n++) {
		struct uring_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&r->ring, cqe);
		op->done(op, res);
	}
	return n;
}

static unsigned int one_round(struct reactor *r)
{
	struct poller *p;
	unsigned int n = reap(r);

	LIST_FOREACH (p, &r->pollers, entry)
		n += p->poll(p);
	LIST_FOREACH (p, &r->pollers, entry)
		p->flush(p);
	if (io_uring_sq_ready(&r->ring))
		io_uring_submit(&r->ring);
	return n;
}

/*
 * Look on for a while before sleeping, if work has been coming that fast of late, and nobody else
 * wants the processor: a yield that comes back late says that somebody does, and then sleeping
 * costs nothing.
 */
static unsigned int spin(struct reactor *r)
{
	uint64_t start, now, yielded;

	if (r->poll_ns == 0)
		return 0;
	start = now = now_ns();
	if (r->idle_since == 0)
		r->idle_since = start;
	if (r->gap_ns > r->poll_ns || start < r->no_spin_before)
		return 0;
	while (now - start < r->poll_ns && now - start < 2 * r->gap_ns) {
		sched_yield();
		yielded = now_ns();

		unsigned int n = one_round(r);

		if (n)
			return n;
		if (yielded - now > CONTENDED_NS) {
			r->no_spin_before = yielded + CONTENDED_PAUSE_NS;
			break;
		}
		now = yielded;
	}
	return 0;
}

/* How long it took for more work to come: a moving average, which forgets long pauses soon. */
static void note_gap(struct reactor *r)
{
	uint64_t gap;

	if (r->idle_since == 0)
		return;
	gap = now_ns() - r->idle_since;
	r->idle_since = 0;
	if (gap > 4 * r->poll_ns)
		gap = 4 * r->poll_ns;
	r->gap_ns = (7 * r->gap_ns + gap) / 8;
}

static void on_rounds(struct ev_loop *loop, ev_prepare *w, int revents)
{
	struct reactor *r = w->data;
	struct poller *p;

	(void)revents;
	for (unsigned int i = 0; i < ROUNDS_MAX; i++) {
		if (one_round(r) || spin(r)) {
			note_gap(r);
			continue;
		}
		LIST_FOREACH (p, &r->pollers, entry)
			p->arm(p);
		/* what came before the arming raises no event */
		if (one_round(r) == 0) {
			ev_idle_stop(loop, &r->busy);
			return;
		}
	}
	ev_idle_start(loop, &r->busy);
}

/* Only wakes the loop: the rounds reap. */
static void on_ring_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
}

static void on_busy(struct ev_loop *loop, ev_idle *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
}

/*
 * COOP_TASKRUN (5.19): a completion does not interrupt us while we run, and wakes us when we sleep.
 * With DEFER_TASKRUN only an eventfd would wake us (the ring's own descriptor stays silent, seen
 * on 7.2), which costs a read() for each wakeup: docs/performance.md.
 */
static int create_ring(struct reactor *r, unsigned int entries)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int err = -EINVAL;

	for (size_t i = 0; err == -EINVAL && i < sizeof(flags) / sizeof(flags[0]); i++)
		err = io_uring_queue_init(entries, &r->ring, flags[i]);
	if (err)
		return err;
	(void)io_uring_register_ring_fd(&r->ring); /* a little faster; 5.18 */
	r->has_files = io_uring_register_files_sparse(&r->ring, FILES_MAX) == 0; /* 5.19 */
	return 0;
}

int reactor_register_file(struct reactor *r, int fd)
{
	for (int i = 0; r->has_files && i < FILES_MAX; i++) {
		if (r->files[i / 64] >> (i % 64) & 1)
			continue;
		if (io_uring_register_files_update(&r->ring, (unsigned int)i, &fd, 1) != 1)
			return -1;
		r->files[i / 64] |= UINT64_C(1) << (i % 64);
		return i;
	}
	return -1;
}

void reactor_update_file(struct reactor *r, int file, int fd)
{
	(void)io_uring_register_files_update(&r->ring, (unsigned int)file, &fd, 1);
	if (fd < 0)
		r->files[file / 64] &= ~(UINT64_C(1) << (file % 64));
}

int reactor_create(unsigned int entries, struct reactor **ret_reactor)
{
	struct reactor *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;

	int err = create_ring(r, entries);

	if (err) {
		free(r);
		return err;
	}
	LIST_INIT(&r->pollers);
	r->loop = ev_default_loop(0);
	if (!r->loop) {
		reactor_destroy(r);
		return -ENOMEM;
	}
	ev_io_init(&r->ring_ready, on_ring_ready, r->ring.ring_fd, EV_READ);
	ev_io_start(r->loop, &r->ring_ready);
	ev_idle_init(&r->busy, on_busy);
	ev_prepare_init(&r->rounds, on_rounds);
	ev_set_priority(&r->rounds, EV_MINPRI); /* after all others */
	r->rounds.data = r;
	ev_prepare_start(r->loop, &r->rounds);
	*ret_reactor = r;
	return 0;
}

void reactor_destroy(struct reactor *r)
{
	if (!r)
		return;
	if (r->loop) {
		ev_io_stop(r->loop, &r->ring_ready);
		ev_idle_stop(r->loop, &r->busy);
		ev_prepare_stop(r->loop, &r->rounds);
		ev_loop_destroy(r->loop);
	}
	io_uring_queue_exit(&r->ring);
	free(r);
}

void reactor_add_poller(struct reactor *r, struct poller *p)
{
	LIST_INSERT_HEAD(&r->pollers, p, entry);
}

void reactor_remove_poller(struct poller *p)
{
	LIST_REMOVE(p, entry);
}

struct io_uring_sqe *reactor_sqe(struct reactor *r)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&r->ring))) {
		io_uring_submit(&r->ring);
		/* the kernel takes no more until completions are consumed (-EBUSY) */
		if (io_uring_sq_space_left(&r->ring) == 0)
			reap(r);
	}
	return sqe;
}
