/*
 * watchdog: a thread that asks every reactor to go round, and feeds systemd's watchdog while all of
 * them do. A thread of its own, so that it can say which one is stuck, the control thread too,
 * before systemd bites.
 */
#ifndef TARGET_DAEMON_WATCHDOG_H
#define TARGET_DAEMON_WATCHDOG_H

#include "target/reactor.h"

struct watchdog;

struct watchdog_opts {
	uint64_t limit_us;         /* without food for so long, systemd bites */
	void (*feed)(void);        /* in the watchdog's thread */
	const char *stick_at_file; /* tests only: the last reactor hangs from when this file is
				      there; NULL */
};

/** watchdog_create() - start it. @reactors must outlive it. Control thread. Return: 0 or negative
 * errno. */
__attribute__((warn_unused_result)) int watchdog_create(const struct reactors *reactors,
							const struct watchdog_opts *opts,
							struct watchdog **ret_watchdog);

/** watchdog_bear() - the control thread is at something long from now on, and need not go round for
 * @seconds. Control thread. NULL is fine. */
void watchdog_bear(struct watchdog *w, unsigned int seconds);

/** watchdog_stop() - end the thread; the reactors may have messages of it still. NULL is fine. */
void watchdog_stop(struct watchdog *w);

/** watchdog_destroy() - it is stopped and the reactors have run all messages. NULL is fine. */
void watchdog_destroy(struct watchdog *w);

#endif
