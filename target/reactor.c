#include "target/reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One at a time, consumed before it is handled: done() may get here again through reactor_sqe(). */
static void reap(struct reactor *r)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&r->ring, &cqe) == 0) {
		struct uring_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&r->ring, cqe);
		op->done(op, res);
	}
}

static void on_ring_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	struct reactor *r = w->data;
	eventfd_t count;

	(void)loop;
	(void)revents;
	(void)eventfd_read(r->event_fd, &count);
	reap(r);
}

static void on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
	struct reactor *r = w->data;

	(void)loop;
	(void)revents;
	if (io_uring_sq_ready(&r->ring))
		io_uring_submit(&r->ring);
}

int reactor_create(unsigned int entries, struct reactor **ret_reactor)
{
	struct reactor *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;

	int err = io_uring_queue_init(entries, &r->ring, 0);

	if (err) {
		free(r);
		return err;
	}
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = r->event_fd < 0 ? -errno : io_uring_register_eventfd(&r->ring, r->event_fd);
	if (!err)
		r->loop = ev_default_loop(0);
	if (!err && !r->loop)
		err = -ENOMEM;
	if (err) {
		reactor_destroy(r);
		return err;
	}
	ev_io_init(&r->ring_ready, on_ring_ready, r->event_fd, EV_READ);
	r->ring_ready.data = r;
	ev_io_start(r->loop, &r->ring_ready);
	ev_prepare_init(&r->submit, on_prepare);
	r->submit.data = r;
	ev_prepare_start(r->loop, &r->submit);
	*ret_reactor = r;
	return 0;
}

void reactor_destroy(struct reactor *r)
{
	if (!r)
		return;
	if (r->loop) {
		ev_io_stop(r->loop, &r->ring_ready);
		ev_prepare_stop(r->loop, &r->submit);
		ev_loop_destroy(r->loop);
	}
	io_uring_queue_exit(&r->ring);
	if (r->event_fd >= 0)
		close(r->event_fd);
	free(r);
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
