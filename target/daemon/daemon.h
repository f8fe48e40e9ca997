/*
 * daemon: the rooms put together. The one place that sees all of them: it starts and stops them,
 * has them follow the hardware that comes and goes and the configuration that changes, and is what
 * the control socket speaks for.
 *
 * Everything here is the control thread's.
 */
#ifndef TARGET_DAEMON_DAEMON_H
#define TARGET_DAEMON_DAEMON_H

#include "config/config.h"
#include "p2p/topology.h"
#include "target/daemon/service.h"
#include "target/reactor.h"

#include <ev.h>

struct control;
struct hotplug;
struct metrics;
struct report;
struct target;
struct transport;

struct daemon {
	struct config *conf; /* in force; a reload replaces it */
	const char *config_path;
	char refused[sizeof(struct config_diag) +
		     32]; /* the last reload, and why; empty: it was not */
	struct topology topo;
	struct reactors reactors; /* [0] is this thread's; its provider set leads */
	struct target *target;
	struct transport *transport;
	struct control *control;
	struct hotplug *hotplug;
	struct metrics *metrics;
	struct reload_counts {
		uint64_t done, refused;
		double done_at; /* seconds since 1970: the start, or the last that was done */
		bool last_refused;
	} reloads;
	struct service service;
	enum stop_phase {
		STOP_NOT,
		STOP_FINISHING, /* what hosts have sent is answered */
		STOP_DISCONNECTING,
	} stop_phase;
	bool stop_late; /* half the time is over */
	bool stop_at_once;
	const char *test_stick; /* NULL, but in tests: TEST_STICK_FILE */
	ev_signal term, interrupt, hangup, usr1, usr2;
	ev_timer stop_look, stop_timer, trim, look;
	ev_io hotplug_ready;
};

/** daemon_run() - start everything, serve until SIGTERM, stop. Return: an exit code. */
int daemon_run(struct daemon *d);

/** daemon_prove_and_print() - prove every path, print the table, serve nobody. Return: an exit
 * code. */
int daemon_prove_and_print(struct daemon *d, bool json);

/**
 * daemon_set_dumpable() - may the process leave a core dump, and be attached to by who is not root?
 * Its memory holds keys and hosts' data. What it costs to forbid: /proc/PID belongs to root (files
 * that all may read stay readable, /proc/self/fd and the like to ourselves too), see prctl(2).
 */
void daemon_set_dumpable(bool on);

/** daemon_finish() - take everything apart, conf too. */
void daemon_finish(struct daemon *d);

/**
 * daemon_reload() - read the configuration again and have all of it, or nothing. Applies what
 * differs; connections that have nothing to do with that do not notice. Logs what became of it and
 * tells systemd: RELOADING, then READY with the refusal, if it is one, as the status. Blocks while
 * new devices are opened and proved.
 *
 * Return: 0 or negative errno, and @diag says why and nothing has changed.
 */
int daemon_reload(struct daemon *d, struct config_diag *diag);

/**
 * daemon_apply() - have the configuration @conf, all of it or nothing: what daemon_reload() does
 * with the files'. It must not differ in what takes a restart. Takes @conf over, on success only.
 * Return: 0 or negative errno, and @diag says why (maybe nothing more than the errno).
 */
__attribute__((warn_unused_result)) int daemon_apply(struct daemon *d, struct config *conf,
						     struct config_diag *diag);

/** daemon_prove() - prove every path again. Blocks for milliseconds a path. */
void daemon_prove(struct daemon *d);

/** daemon_report() - add every path to @report. */
void daemon_report(const struct daemon *d, struct report *report);

/* stop.c: SIGTERM and SIGINT end the daemon from now on */
void stop_watch_signals(struct daemon *d);

/*
 * For tests only, never in use: words in the environment variable NVMF_P2PD_TEST, each of which the
 * log warns of at the start.
 *      trust-unproved   CMBs are used that were not proved: data WILL be wrong
 *      no-odp           RNICs are treated as without on-demand paging
 *      impatient        hosts that take no responses are ended after 2 to 4 s, not 15 to 30
 *      stick-reactor    the last reactor's thread hangs for good when the file TEST_STICK_FILE
 *                       appears (needs WATCHDOG_USEC: it is the watchdog's thread that looks)
 */
#define TEST_STICK_FILE "/run/nvmf-p2pd/stick"

/* hardware.c: CMBs and drives that come and go */

/** hardware_discover() - find the CMBs, for the control thread to prove with and the reactors to
 * stage in. Return: 0 or negative errno, logged. */
__attribute__((warn_unused_result)) int hardware_discover(struct daemon *d);

/** hardware_watch() - from now on follow what comes and goes. */
void hardware_watch(struct daemon *d);

/** daemon_control_reactor() - that of the control thread. */
static inline struct reactor *daemon_control_reactor(const struct daemon *d)
{
	return d->reactors.r[0];
}

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#endif
