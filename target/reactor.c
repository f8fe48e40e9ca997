#include "target/reactor.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX         64     /* then timers and connections get their turn */
#define CONTENDED_NS       100000 /* a yield that takes longer: somebody else ran */
#define CONTENDED_PAUSE_NS 5000000
#define TIMERS_NS          100000000 /* how often they are looked at */
#define SUBMIT_BATCH       16        /* not put off any further */

static __thread struct reactor *current;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One at a time, consumed before it is handled: done() may get here again through reactor_sqe(). */
static unsigned int reap(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;

	for (; io_uring_peek_cqe(ring, &cqe) == 0; n++) {
		struct uring_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(ring, cqe);
		op->done(op, res);
	}
	return n;
}

/* The drives whose completions nobody announces: look at their queues (a system call). */
static unsigned int poll_drives(struct reactor *r)
{
	unsigned int n;

	if (r->npolled == 0)
		return 0;
	io_uring_submit_and_get_events(&r->polled);
	n = reap(&r->polled);
	r->npolled -= n;
	return n;
}

/* Its completions are announced by its descriptor, which the other ring watches while we sleep. */
static unsigned int serve_wide(struct reactor *r)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;

	if (r->nwide == 0)
		return 0;
	if (io_uring_sq_ready(&r->wide))
		io_uring_submit(&r->wide);
	for (; io_uring_peek_cqe(&r->wide, &cqe) == 0; n++) {
		struct wide_op *op = io_uring_cqe_get_data(cqe);
		uint64_t extra = cqe->big_cqe[0];
		int res = cqe->res;

		io_uring_cqe_seen(&r->wide, cqe);
		r->nwide--;
		op->done(op, res, extra);
	}
	return n;
}

unsigned int reactor_run_messages(struct reactor *r)
{
	struct messages now = STAILQ_HEAD_INITIALIZER(now);
	struct message *m;
	unsigned int n = 0;

	pthread_mutex_lock(&r->lock);
	STAILQ_CONCAT(&now, &r->messages);
	__atomic_store_n(&r->has_messages, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&r->lock);
	for (; (m = STAILQ_FIRST(&now)); n++) {
		STAILQ_REMOVE_HEAD(&now, entry);
		m->posted = false;
		m->run(m);
	}
	return n;
}

void reactor_await_messages(struct reactor *r)
{
	if (reactor_run_messages(r) == 0)
		usleep(1000);
}

/* Return: all was taken. The kernel may lack memory for a moment (-EAGAIN); who is about to sleep
 * must not then. */
static bool submit(struct reactor *r)
{
	if (io_uring_sq_ready(&r->ring))
		io_uring_submit(&r->ring);
	return io_uring_sq_ready(&r->ring) == 0;
}

/* What is to be submitted may be left for the next round, or for the call that sleeps. */
static unsigned int one_round(struct reactor *r)
{
	struct poller *p;
	unsigned int n;

	reactor_tick(r);
	n = reap(&r->ring) + poll_drives(r) + serve_wide(r);
	reactor_tick(r);
	if (__atomic_load_n(&r->has_messages, __ATOMIC_RELAXED))
		n += reactor_run_messages(r);
	LIST_FOREACH (p, &r->pollers, entry)
		n += p->poll(p);
	LIST_FOREACH (p, &r->pollers, entry)
		p->flush(p);
	if (io_uring_sq_ready(&r->ring) >= SUBMIT_BATCH)
		(void)submit(r);
	__atomic_store_n(&r->work, r->work + n, __ATOMIC_RELAXED);
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

	if (r->opts.poll_ns == 0)
		return 0;
	start = now = now_ns();
	if (r->idle_since == 0)
		r->idle_since = start;
	if (r->gap_ns > r->opts.poll_ns || start < r->no_spin_before)
		return 0;
	(void)submit(r);
	while (now - start < r->opts.poll_ns && now - start < 2 * r->gap_ns) {
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
	if (gap > 4 * r->opts.poll_ns)
		gap = 4 * r->opts.poll_ns;
	r->gap_ns = (7 * r->gap_ns + gap) / 8;
}

static void on_eventfd(struct reactor_watch *w)
{
	eventfd_t value;

	(void)eventfd_read(w->fd, &value);
}

/* Who posts a message either finds us asleep, or we find it before we sleep. */
static void sleep_in_ring(struct reactor *r)
{
	struct __kernel_timespec tick = { .tv_nsec = TIMERS_NS };
	struct io_uring_cqe *cqe;

	reactor_watch(r, &r->eventfd);
	__atomic_store_n(&r->asleep, true, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&r->has_messages, __ATOMIC_SEQ_CST))
		(void)io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, r->ntimers ? &tick : NULL,
						       NULL);
	__atomic_store_n(&r->asleep, false, __ATOMIC_SEQ_CST);
}

/* Nothing to do. Return: true if there is something since a moment. */
static bool arm_and_look(struct reactor *r)
{
	struct poller *p;

	LIST_FOREACH (p, &r->pollers, entry)
		p->arm(p);
	if (r->nwide)
		reactor_watch(r, &r->wide_ready);
	/* what came before the arming raises no event */
	return one_round(r) > 0;
}

static bool timers_are_due(struct reactor *r)
{
	uint64_t now;

	if (r->ntimers == 0)
		return false;
	now = now_ns();
	if (now - r->timers_seen < TIMERS_NS)
		return false;
	r->timers_seen = now;
	return true;
}

/* Of reactor 0, libev has its turn now and then; of the others, when a timer may be due. */
static bool libev_has_its_turn(struct reactor *r, unsigned int rounds)
{
	if (rounds % ROUNDS_MAX)
		return false;
	return r->opts.index == 0 || r->quitting || timers_are_due(r);
}

static void on_rounds(struct ev_loop *loop, ev_prepare *w, int revents)
{
	struct reactor *r = w->data;

	(void)revents;
	for (unsigned int i = 1; !libev_has_its_turn(r, i); i++) {
		if (one_round(r) || spin(r)) {
			note_gap(r);
			continue;
		}
		if (r->npolled) {
			(void)submit(r);
			sched_yield();
			continue;
		}
		if (arm_and_look(r))
			continue;
		if (r->opts.index == 0 && submit(r)) {
			ev_idle_stop(loop, &r->busy);
			return;
		}
		if (r->opts.index && !r->quitting)
			sleep_in_ring(r);
		i = ROUNDS_MAX - 1;
	}
	(void)submit(r);
	ev_idle_start(loop, &r->busy);
}

/* Only wakes the loop: the rounds run the messages. */
static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
	(void)loop;
	(void)w;
	(void)revents;
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
 * DEFER_TASKRUN (6.1): completions are handled when we ask for them, in batches. It does not go
 * with sleeping in epoll: the ring's descriptor stays silent (seen on 7.2; docs/performance.md).
 * COOP_TASKRUN (5.19): a completion does not interrupt us while we run, and wakes us when we sleep.
 */
static int create_ring(struct reactor *r, unsigned int entries)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int err = -EINVAL;

	for (size_t i = r->opts.index == 0; err == -EINVAL && i < sizeof(flags) / sizeof(flags[0]);
	     i++)
		err = io_uring_queue_init(entries, &r->ring, flags[i]);
	if (err)
		return err;
	(void)io_uring_register_ring_fd(&r->ring); /* a little faster; 5.18 */
	r->has_files = io_uring_register_files_sparse(&r->ring, FILES_MAX) == 0; /* 5.19 */
	return 0;
}

int reactor_enable_polling(struct reactor *r)
{
	int err = 0;

	if (!r->has_polled)
		err = io_uring_queue_init(r->opts.entries, &r->polled, IORING_SETUP_IOPOLL);
	if (!err)
		r->has_polled = true;
	return err;
}

static void on_wide_ready(struct reactor_watch *w)
{
	(void)w; /* the rounds reap */
}

int reactor_enable_wide(struct reactor *r)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int err = -EINVAL;

	if (r->has_wide)
		return 0;
	for (size_t i = 0; err == -EINVAL && i < sizeof(flags) / sizeof(flags[0]); i++)
		err = io_uring_queue_init(r->opts.entries, &r->wide,
					  flags[i] | IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
	if (err)
		return err;
	r->wide_ready.fd = r->wide.ring_fd;
	r->wide_ready.ready = on_wide_ready;
	r->has_wide = true;
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

/* ---- life --------------------------------------------------------------------------------------
 */

/* In the thread that will run it: the ring takes orders from no other. */
static int set_up(struct reactor *r)
{
	int err = create_ring(r, r->opts.entries);

	if (err)
		return err;
	r->loop = r->opts.index ? ev_loop_new(0) : ev_default_loop(0);
	if (!r->loop) {
		io_uring_queue_exit(&r->ring);
		return -ENOMEM;
	}
	if (r->opts.index == 0) {
		ev_io_init(&r->ring_ready, on_ring_ready, r->ring.ring_fd, EV_READ);
		ev_io_start(r->loop, &r->ring_ready);
		ev_async_init(&r->wake, on_wake);
		ev_async_start(r->loop, &r->wake);
	}
	r->eventfd.ready = on_eventfd;
	ev_idle_init(&r->busy, on_busy);
	ev_prepare_init(&r->rounds, on_rounds);
	ev_set_priority(&r->rounds, EV_MINPRI); /* after all others */
	r->rounds.data = r;
	ev_prepare_start(r->loop, &r->rounds);
	ev_ref(r->loop); /* it goes on without a watcher that libev would count */
	current = r;
	return 0;
}

static void tear_down(struct reactor *r)
{
	while (reactor_run_messages(r))
		;
	reactor_unwatch(r, &r->eventfd);
	if (r->has_wide) {
		reactor_unwatch(r, &r->wide_ready);
		io_uring_queue_exit(&r->wide);
	}
	if (r->opts.index == 0) {
		ev_io_stop(r->loop, &r->ring_ready);
		ev_async_stop(r->loop, &r->wake);
	}
	ev_idle_stop(r->loop, &r->busy);
	ev_prepare_stop(r->loop, &r->rounds);
	ev_loop_destroy(r->loop);
	io_uring_queue_exit(&r->ring);
	if (r->has_polled)
		io_uring_queue_exit(&r->polled);
	current = NULL;
}

static void *run_thread(void *arg)
{
	struct reactor *r = arg;
	char name[16];

	snprintf(name, sizeof(name), "reactor-%u", r->opts.index);
	(void)pthread_setname_np(pthread_self(), name);
	/* as the workqueues that the kernel's target runs in (ib-comp-wq: WQ_HIGHPRI); 0 is the
	 * calling thread; without CAP_SYS_NICE it stays as it is */
	(void)setpriority(PRIO_PROCESS, 0, -20);
	if (r->opts.cpu >= 0) {
		cpu_set_t cpus;

		CPU_ZERO(&cpus);
		CPU_SET((unsigned int)r->opts.cpu, &cpus);
		r->start_err = -pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	}
	if (!r->start_err)
		r->start_err = set_up(r);

	bool started = r->start_err == 0;

	sem_post(&r->started);
	if (started) {
		ev_run(r->loop, 0);
		tear_down(r);
	}
	return NULL;
}

int thread_create(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(ret_thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

static int start_thread(struct reactor *r)
{
	int err = thread_create(&r->thread, run_thread, r);

	if (err)
		return err;
	while (sem_wait(&r->started) < 0)
		;
	if (r->start_err)
		pthread_join(r->thread, NULL);
	return r->start_err;
}

static void free_reactor(struct reactor *r)
{
	pthread_mutex_destroy(&r->lock);
	sem_destroy(&r->started);
	if (r->eventfd.fd >= 0)
		close(r->eventfd.fd);
	free(r);
}

int reactor_create(const struct reactor_opts *opts, struct reactor **ret_reactor)
{
	struct reactor *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->opts = *opts;
	slot_domain_init(&r->domain);
	LIST_INIT(&r->pollers);
	STAILQ_INIT(&r->messages);
	pthread_mutex_init(&r->lock, NULL);
	sem_init(&r->started, 0, 0);
	r->eventfd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->eventfd.fd < 0)
		err = -errno;
	else
		err = opts->index ? start_thread(r) : set_up(r);
	if (err) {
		free_reactor(r);
		return err;
	}
	*ret_reactor = r;
	return 0;
}

struct quit {
	struct message message; /* first */
	struct reactor *reactor;
};

static void quit(struct message *m)
{
	struct reactor *r = ((struct quit *)m)->reactor;

	r->quitting = true;
	ev_break(r->loop, EVBREAK_ALL);
}

void reactor_destroy(struct reactor *r)
{
	struct quit q = { .message.run = quit, .reactor = r };

	if (!r)
		return;
	if (r->opts.index) {
		reactor_post(r, &q.message);
		pthread_join(r->thread, NULL);
	} else {
		tear_down(r);
	}
	free_reactor(r);
}

/* ---- messages ----------------------------------------------------------------------------------
 */

bool reactor_is_current(const struct reactor *r)
{
	return current == r;
}

void reactor_post(struct reactor *r, struct message *m)
{
	bool first;

	assert(!m->posted);
	m->posted = true;
	pthread_mutex_lock(&r->lock);
	first = STAILQ_EMPTY(&r->messages);
	STAILQ_INSERT_TAIL(&r->messages, m, entry);
	__atomic_store_n(&r->has_messages, true, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&r->lock);
	if (first && r->opts.index == 0)
		ev_async_send(r->loop, &r->wake);
	else if (first && __atomic_load_n(&r->asleep, __ATOMIC_SEQ_CST))
		(void)eventfd_write(r->eventfd.fd, 1);
}

struct call {
	struct message message; /* first */
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void run_call(struct message *m)
{
	struct call *c = (struct call *)m;

	c->fn(c->arg);
	sem_post(&c->done);
}

void reactor_call(struct reactor *r, void (*fn)(void *arg), void *arg)
{
	struct call c = { .message.run = run_call, .fn = fn, .arg = arg };

	if (reactor_is_current(r)) {
		fn(arg);
		return;
	}
	sem_init(&c.done, 0, 0);
	reactor_post(r, &c.message);
	while (sem_wait(&c.done) < 0)
		;
	sem_destroy(&c.done);
}

struct new_poll {
	struct reactor *reactor;
	uint64_t ns;
};

static void set_poll(void *arg)
{
	const struct new_poll *n = arg;

	n->reactor->opts.poll_ns = n->ns;
}

void reactor_set_poll(struct reactor *r, uint64_t ns)
{
	struct new_poll n = { r, ns };

	reactor_call(r, set_poll, &n);
}

/* ---- for those who work in it ------------------------------------------------------------------
 */

void reactor_add_poller(struct reactor *r, struct poller *p)
{
	LIST_INSERT_HEAD(&r->pollers, p, entry);
}

void reactor_remove_poller(struct poller *p)
{
	LIST_REMOVE(p, entry);
}

static void watched(struct uring_op *op, int res)
{
	struct reactor_watch *w = (struct reactor_watch *)op;

	w->pending = false;
	if (res >= 0)
		w->ready(w);
}

void reactor_watch(struct reactor *r, struct reactor_watch *w)
{
	struct io_uring_sqe *sqe;

	if (w->pending)
		return;
	w->pending = true;
	w->op.done = watched;
	sqe = reactor_sqe(r);
	io_uring_prep_poll_add(sqe, w->fd, POLLIN);
	io_uring_sqe_set_data(sqe, &w->op);
}

static void ignore(struct uring_op *op, int res)
{
	(void)op;
	(void)res;
}

void reactor_unwatch(struct reactor *r, struct reactor_watch *w)
{
	static struct uring_op removed = { ignore };
	struct io_uring_sqe *sqe;

	if (!w->pending)
		return;
	sqe = reactor_sqe(r);
	io_uring_prep_poll_remove(sqe, (uintptr_t)&w->op);
	io_uring_sqe_set_data(sqe, &removed);
	while (w->pending) {
		(void)io_uring_submit_and_wait(&r->ring, 1);
		reap(&r->ring);
	}
}

void reactor_timer_start(struct reactor *r, ev_timer *t,
			 void (*callback)(struct ev_loop *loop, ev_timer *t, int revents),
			 double seconds, void *data)
{
	reactor_timer_stop(r, t);
	ev_timer_init(t, callback, seconds, seconds);
	t->data = data;
	ev_now_update(r->loop); /* of the others, libev's clock stands still while they sleep */
	ev_timer_start(r->loop, t);
	r->ntimers++;
}

void reactor_timer_stop(struct reactor *r, ev_timer *t)
{
	if (!ev_is_active(t))
		return;
	ev_timer_stop(r->loop, t);
	r->ntimers--;
}

struct io_uring_sqe *reactor_sqe(struct reactor *r)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&r->ring))) {
		io_uring_submit(&r->ring);
		/* the kernel takes no more until completions are consumed (-EBUSY) */
		if (io_uring_sq_space_left(&r->ring) == 0)
			reap(&r->ring);
	}
	return sqe;
}

struct io_uring_sqe *reactor_polled_sqe(struct reactor *r)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&r->polled)))
		poll_drives(r);
	r->npolled++;
	return sqe;
}

struct io_uring_sqe *reactor_wide_sqe(struct reactor *r, struct wide_op *op)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&r->wide))) {
		io_uring_submit(&r->wide);
		if (io_uring_sq_space_left(&r->wide) == 0)
			serve_wide(r);
	}
	r->nwide++;
	memset(sqe, 0, 2 * sizeof(*sqe));
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}
