/*
 * The end of the daemon, in good order:
 *
 *      SIGTERM --> listen no more; CSTS.SHST: shutdown in progress
 *                  I/O queues: answer what was sent, begin nothing new, end
 *              --> (none is left, or half the time is over) CSTS.SHST: complete
 *                  disconnect everything
 *              --> (all is gone, or the time is over) leave the loop
 *
 * A second signal leaves it at once. What is still connected then, the kernel takes apart.
 */
#include "target/daemon/daemon.h"
#include "target/log.h"
#include "target/target.h"
#include "transport/transport.h"

#define LOOK_S  0.01
#define SPARE_S 5 /* to take everything apart */

static void disconnect(struct daemon *d)
{
	d->stop_phase = STOP_DISCONNECTING;
	target_shut_down(d->target, true);
	transport_stop(d->transport);
}

static void on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct daemon *d = w->data;

	(void)revents;
	if (d->stop_phase == STOP_FINISHING && transport_finished(d->transport))
		disconnect(d);
	if (d->stop_phase == STOP_DISCONNECTING && transport_idle(d->transport))
		ev_break(loop, EVBREAK_ALL);
}

static void on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct daemon *d = w->data;

	(void)revents;
	if (d->stop_phase == STOP_FINISHING) {
		log_warn("some commands did not end in %.1f s; their hosts are disconnected",
			 d->conf->stop_timeout_ms / 2e3);
		disconnect(d);
	}
	if (!d->stop_late) { /* the other half */
		d->stop_late = true;
		return;
	}
	log_error("some connections did not end in %.1f s (stop_timeout_ms)",
		  d->conf->stop_timeout_ms / 1e3);
	ev_break(loop, EVBREAK_ALL);
}

static void on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct daemon *d = w->data;
	double half_s = d->conf->stop_timeout_ms / 2e3;

	(void)revents;
	if (d->stop_phase) {
		log_warn("told to stop again: at once");
		d->stop_at_once = true;
		ev_break(loop, EVBREAK_ALL);
		return;
	}
	d->stop_phase = STOP_FINISHING;
	log_event(JOURNAL_STOPPING, NULL, "stopping");
	service_stopping(d, d->conf->stop_timeout_ms / 1000 + SPARE_S);
	target_shut_down(d->target, false);
	transport_finish(d->transport);
	ev_timer_init(&d->stop_look, on_look, 0, LOOK_S);
	ev_timer_init(&d->stop_timer, on_timeout, half_s, half_s);
	d->stop_look.data = d->stop_timer.data = d;
	ev_timer_start(loop, &d->stop_look);
	ev_timer_start(loop, &d->stop_timer);
}

void stop_watch_signals(struct daemon *d)
{
	struct ev_loop *loop = daemon_control_reactor(d)->loop;

	ev_signal_init(&d->term, on_term, SIGTERM);
	ev_signal_init(&d->interrupt, on_term, SIGINT);
	d->term.data = d->interrupt.data = d;
	ev_signal_start(loop, &d->term);
	ev_signal_start(loop, &d->interrupt);
}
