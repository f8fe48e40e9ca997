/*
 * reactor: one thread's event loop (libev) with its io_uring.
 *
 * Reactor 0 is the control thread's own, run by main(): connection management, admin queues,
 * proofs, signals, timers. The others are threads of their own and serve I/O queues. Everything
 * marked reactor-local is used by the thread that runs it; nothing on the I/O path is shared, and
 * threads meet only by message: reactor_post() to tell, reactor_call() to have done (by the control
 * thread only, so nobody can wait in a circle).
 *
 * Work is done in rounds, in the loop's last step before it would sleep: look at every poller and
 * at the ring, in memory and without a system call; then flush what the round produced (one post
 * for each queue pair, one submit for the ring); and again until a round finds nothing. Only then
 * are events asked for. So under load one system call serves many commands, and an idle reactor
 * sleeps.
 *
 * Reactor 0 sleeps in libev's epoll, which has the descriptors of many libraries to watch, the
 * ring's among them. The others sleep in the ring: the system call that waits also submits, and
 * runs what the kernel had put off for us (IORING_SETUP_DEFER_TASKRUN). They leave it for libev's
 * timers only.
 */
#ifndef TARGET_REACTOR_H
#define TARGET_REACTOR_H

#include "p2p/slot.h"

#include <ev.h>
#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

#define FILES_MAX    1024 /* kept by the ring: one a namespace */
#define REACTORS_MAX 33   /* the control thread's and 32 for I/O */

/* An operation on the ring; embedded in a request. done() is called in the loop with the CQE's res.
 */
struct uring_op {
	void (*done)(struct uring_op *op, int res);
};

/* The same on the wide ring: @extra is what such a CQE has beside res (of an NVMe command: dw0 and
 * dw1 of its own CQE). */
struct wide_op {
	void (*done)(struct wide_op *op, int res, uint64_t extra);
};

/* To another thread; embedded, zero at first, and not touched by its sender before run() is called
 * there. */
struct message {
	void (*run)(struct message *m);
	/* private: */
	bool posted; /* and not taken out yet */
	STAILQ_ENTRY(message) entry;
};

/* A descriptor that becomes readable; embedded. reactor-local */
struct reactor_watch {
	struct uring_op op; /* first */
	int fd;
	void (*ready)(struct reactor_watch *w);
	bool pending; /* ready() will be called */
};

/* Somebody who has completions to look for; embedded. */
struct poller {
	/* Handle what is there, at most some dozens. Return: how many. No system call. */
	unsigned int (*poll)(struct poller *p);
	/* Send off what has been queued. */
	void (*flush)(struct poller *p);
	/* The loop is about to sleep: ask for an event. */
	void (*arm)(struct poller *p);
	LIST_ENTRY(poller) entry;
};

struct reactor_opts {
	unsigned int index;   /* 0: run by the caller, in the default loop; others: a new thread */
	unsigned int entries; /* of the ring */
	uint64_t poll_ns;     /* see reactor_set_poll() */
	int cpu;              /* run there only; -1: anywhere */
};

/* reactor-local, but for what is said otherwise */
struct reactor {
	struct reactor_opts opts; /* immutable but for poll_ns, which is reactor-local */
	struct ev_loop *loop;
	struct io_uring ring;
	struct io_uring polled; /* for drives whose completions raise no interrupt */
	bool has_polled;
	unsigned int npolled; /* operations on it */
	struct io_uring wide; /* for commands that need SQEs and CQEs of twice the size */
	bool has_wide;
	unsigned int nwide; /* operations on it */
	struct reactor_watch wide_ready;
	struct provider_set *set;  /* its share of the CMBs; set and owned by main() */
	struct slot_domain domain; /* its slots */
	uint64_t work;             /* atomic, see reactor_work() */
	uint64_t now_ns;           /* see reactor_now_ns(); 0: not known */
	/* private: */
	pthread_t thread;
	sem_t started;
	int start_err;
	pthread_mutex_t lock; /* of messages, held for a few instructions, never while calling */
	STAILQ_HEAD(messages, message) messages;
	bool has_messages; /* atomic: looked at in every round, without the lock */
	bool asleep;       /* atomic: in the ring, and a write to the eventfd wakes it */
	bool quitting;
	unsigned int ntimers;
	uint64_t timers_seen; /* when libev looked at them last */
	ev_async wake;        /* reactor 0 */
	struct reactor_watch eventfd;
	uint64_t files[FILES_MAX / 64]; /* bits: taken */
	bool has_files;
	LIST_HEAD(pollers, poller) pollers;
	ev_io ring_ready;
	ev_prepare rounds;
	ev_idle busy;            /* active: do not sleep, there is more to do */
	uint64_t gap_ns;         /* how long it takes for more work to come, of late */
	uint64_t idle_since;     /* 0: not idle */
	uint64_t no_spin_before; /* the processor was wanted elsewhere */
};

/* All of a daemon's; [0] is the control thread's. Immutable while anybody uses it. */
struct reactors {
	struct reactor *r[REACTORS_MAX];
	unsigned int n;
};

/** thread_create() - pthread_create(), joinable, without signals: those are the control thread's.
 * Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int thread_create(pthread_t *ret_thread,
						      void *(*run)(void *arg), void *arg);

/** reactor_create() - make it and, but for reactor 0, start its thread. Reactor 0 belongs to the
 * calling thread, which runs its loop. Control thread. Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int reactor_create(const struct reactor_opts *opts,
						       struct reactor **ret_reactor);

/** reactor_destroy() - run the messages that are left, end the thread. No op may be in flight, no
 * poller be left. Control thread. NULL is fine. */
void reactor_destroy(struct reactor *r);

/** reactor_post() - have @m->run() called in @r's thread, soon, in the order of posting. Any
 * thread. */
void reactor_post(struct reactor *r, struct message *m);

/** reactor_call() - have @fn called in @r's thread, after all that was posted before, and wait for
 * it. Control thread; for what is rare and quick, because @r's I/O waits meanwhile. */
void reactor_call(struct reactor *r, void (*fn)(void *arg), void *arg);

/** reactor_set_poll() - look for more work for at most @ns before sleeping; 0: not at all. Control
 * thread. */
void reactor_set_poll(struct reactor *r, uint64_t ns);

/** reactor_work() - completions and messages handled so far. Any thread. */
static inline uint64_t reactor_work(const struct reactor *r)
{
	return __atomic_load_n(&r->work, __ATOMIC_RELAXED);
}

/** reactor_tick() - the clock is to be read anew: something arrived. Reactor-local. */
static inline void reactor_tick(struct reactor *r)
{
	r->now_ns = 0;
}

/** reactor_now_ns() - CLOCK_MONOTONIC, as of when somebody asked first since reactor_tick(): what
 * is handled in one batch shares one reading. Reactor-local. */
static inline uint64_t reactor_now_ns(struct reactor *r)
{
	struct timespec t;

	if (r->now_ns)
		return r->now_ns;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return r->now_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/** reactor_run_messages() - those that are there now; what they post in turn waits for the next
 * time. The loop does it by itself; this is for the end. @r's thread. Return: how many. */
unsigned int reactor_run_messages(struct reactor *r);

/** reactor_await_messages() - the same, and a millisecond of sleep where there were none: for who
 * waits at the end until other threads are done. @r's thread. */
void reactor_await_messages(struct reactor *r);

/** reactor_is_current() - is this @r's thread? For assertions. */
bool reactor_is_current(const struct reactor *r);

/** reactor_add_poller() - from now on; @p stays the caller's. */
void reactor_add_poller(struct reactor *r, struct poller *p);

/** reactor_remove_poller() - not from within a poller's functions. */
void reactor_remove_poller(struct poller *p);

/** reactor_enable_polling() - make the ring for polled I/O, if it is not there yet. Reactor-local.
 * Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int reactor_enable_polling(struct reactor *r);

/** reactor_polled_sqe() - as reactor_sqe(), on the ring for polled I/O: reads and writes with
 * O_DIRECT only, and no registered files. While any is out, the reactor does not sleep. */
struct io_uring_sqe *reactor_polled_sqe(struct reactor *r);

/** reactor_enable_wide() - make the wide ring, if it is not there yet: for IORING_OP_URING_CMD to
 * NVMe, which no other I/O shall pay for with twice the memory traffic. Reactor-local. Return: 0 or
 * negative errno (-EINVAL: the kernel has none, before 5.19). */
__attribute__((warn_unused_result)) int reactor_enable_wide(struct reactor *r);

/** reactor_wide_sqe() - as reactor_sqe(), on the wide ring: all of it zero, with a struct wide_op
 * for its data. No registered files. */
struct io_uring_sqe *reactor_wide_sqe(struct reactor *r, struct wide_op *op);

/** reactor_register_file() - have the ring keep @fd, so that an I/O need not look it up. Return:
 * the index for IOSQE_FIXED_FILE, or -1: use the descriptor itself. Reactor-local: the ring takes
 * orders from its own thread only (IORING_SETUP_SINGLE_ISSUER). */
int reactor_register_file(struct reactor *r, int fd);

/** reactor_update_file() - index @file is @fd from now on; -1: nothing, the index is free. */
void reactor_update_file(struct reactor *r, int file, int fd);

/** reactor_watch() - have @w->ready() called once when @w->fd is readable; fd and ready are set.
 * Again while pending: no effect. Reactor-local. */
void reactor_watch(struct reactor *r, struct reactor_watch *w);

/** reactor_unwatch() - no more. Waits for the ring, and other operations end meanwhile.
 * Reactor-local. */
void reactor_unwatch(struct reactor *r, struct reactor_watch *w);

/** reactor_timer_start() - call @t's callback after @seconds, and then as often again, until it is
 * stopped: so that the reactor knows that there are timers, the callback stops it itself if once is
 * enough. Its data is @data. Good to a tenth of a second. Reactor-local. */
void reactor_timer_start(struct reactor *r, ev_timer *t,
			 void (*callback)(struct ev_loop *loop, ev_timer *t, int revents),
			 double seconds, void *data);

/** reactor_timer_stop() - also one that never started, if it is zeroed. Reactor-local. */
void reactor_timer_stop(struct reactor *r, ev_timer *t);

/** reactor_sqe() - a free SQE. The caller prepares it and then sets its data to a struct uring_op,
 * whose done() will be called (maybe from within a later reactor_sqe()). Submits what is queued if
 * the ring is full, so it never fails. */
struct io_uring_sqe *reactor_sqe(struct reactor *r);

#endif
