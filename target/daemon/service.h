/*
 * service: what systemd is told: readiness, the status text, how long something takes, and that all
 * threads go round (watchdog.h). Without systemd nothing of this does anything. Control thread.
 */
#ifndef TARGET_DAEMON_SERVICE_H
#define TARGET_DAEMON_SERVICE_H

#include <ev.h>
#include <stdbool.h>

struct daemon;
struct watchdog;

#define SERVICE_STATUS_MAX 2048
#define SERVICE_BUSY_S     60 /* one step of the start, a reload, proofs */

struct service {
	bool ready;
	ev_timer look; /* whether the status text is still true */
	char status[SERVICE_STATUS_MAX];
	struct watchdog *watchdog; /* NULL: nobody watches */
};

#define BUSY_S 60 /* what one step of the start, a reload or a proof may take */

/** service_busy() - what follows may take @seconds: a start or a stop is not given up for so long,
 * and the watchdog does not mind the control thread. */
void service_busy(struct daemon *d, unsigned int seconds);

/** service_ready() - every port listens or is tried again, the control socket answers: say so, and
 * keep the status text true from now on. */
void service_ready(struct daemon *d);

/** service_tell() - the status text, if it is another than was told last. @again: in any case. */
void service_tell(struct daemon *d, bool again);

/** service_stopping() - the daemon stops, and takes @seconds at most. */
void service_stopping(struct daemon *d, unsigned int seconds);

/** service_stop() - no more messages to the reactors; they may still have some. */
void service_stop(struct daemon *d);

/** service_fini() - the reactors have run all their messages. */
void service_fini(struct daemon *d);

#endif
