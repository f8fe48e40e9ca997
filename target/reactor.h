/*
 * reactor: one thread's event loop (libev) with its io_uring.
 *
 * There is one for now, run by the main thread; everything marked reactor-local is used by the
 * thread that runs it. Ring submissions are batched: ops queued during a turn of the loop go out in
 * one system call before the loop sleeps.
 */
#ifndef TARGET_REACTOR_H
#define TARGET_REACTOR_H

#include <ev.h>
#include <liburing.h>

/* An operation on the ring; embedded in a request. done() is called in the loop with the CQE's res.
 */
struct uring_op {
	void (*done)(struct uring_op *op, int res);
};

/* reactor-local */
struct reactor {
	struct ev_loop *loop;
	struct io_uring ring;
	/* private: */
	int event_fd; /* the ring's: readable when CQEs arrived */
	ev_io ring_ready;
	ev_prepare submit;
};

/** reactor_create() - the default loop and a ring of @entries. Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int reactor_create(unsigned int entries,
						       struct reactor **ret_reactor);

/** reactor_destroy() - no op may be in flight. NULL is fine. */
void reactor_destroy(struct reactor *r);

/** reactor_sqe() - a free SQE. The caller prepares it and then sets its data to a struct uring_op,
 * whose done() will be called (maybe from within a later reactor_sqe()). Submits what is queued if
 * the ring is full, so it never fails. */
struct io_uring_sqe *reactor_sqe(struct reactor *r);

#endif
