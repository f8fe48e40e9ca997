/*
 * reactor: one thread's event loop (libev) with its io_uring.
 *
 * There is one for now, run by the main thread; everything marked reactor-local is used by the
 * thread that runs it.
 *
 * Work is done in rounds, in the loop's last step before it would sleep: look at every poller and
 * at the ring, in memory and without a system call; then flush what the round produced (one post
 * for each queue pair, one submit for the ring); and again until a round finds nothing. Only then
 * are events asked for. So under load one system call serves many commands, and an idle reactor
 * sleeps.
 */
#ifndef TARGET_REACTOR_H
#define TARGET_REACTOR_H

#include <ev.h>
#include <liburing.h>
#include <stdbool.h>
#include <sys/queue.h>

#define FILES_MAX 1024 /* kept by the ring: one a namespace */

/* An operation on the ring; embedded in a request. done() is called in the loop with the CQE's res.
 */
struct uring_op {
	void (*done)(struct uring_op *op, int res);
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

/* reactor-local */
struct reactor {
	struct ev_loop *loop;
	struct io_uring ring;
	uint64_t poll_ns; /* longest time to look for more before sleeping; 0: not at all */
	/* private: */
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

/** reactor_create() - the default loop and a ring of @entries. Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int reactor_create(unsigned int entries,
						       struct reactor **ret_reactor);

/** reactor_destroy() - no op may be in flight, no poller be left. NULL is fine. */
void reactor_destroy(struct reactor *r);

/** reactor_add_poller() - from now on; @p stays the caller's. */
void reactor_add_poller(struct reactor *r, struct poller *p);

/** reactor_remove_poller() - not from within a poller's functions. */
void reactor_remove_poller(struct poller *p);

/** reactor_register_file() - have the ring keep @fd, so that an I/O need not look it up. Return:
 * the index for IOSQE_FIXED_FILE, or -1: use the descriptor itself. Control thread. */
int reactor_register_file(struct reactor *r, int fd);

/** reactor_update_file() - index @file is @fd from now on; -1: nothing, the index is free. */
void reactor_update_file(struct reactor *r, int file, int fd);

/** reactor_sqe() - a free SQE. The caller prepares it and then sets its data to a struct uring_op,
 * whose done() will be called (maybe from within a later reactor_sqe()). Submits what is queued if
 * the ring is full, so it never fails. */
struct io_uring_sqe *reactor_sqe(struct reactor *r);

#endif
