/*
 * metrics: the daemon's metrics over HTTP, for Prometheus: GET /metrics, without a password.
 *
 * Served by libmicrohttpd in the control thread's loop, which never waits for a peer. A peer has
 * one answer and METRICS_DEADLINE_S, however slowly it asks or reads; there are METRICS_PEERS_MAX
 * of them, and METRICS_PEERS_OF_ADDRESS from one address. The text is made at most so often that it
 * takes a tenth of the thread's time; who asks in between is given the last one. It reads the
 * reactors' counters as they are: nothing waits for a reactor.
 *
 * Control thread.
 */
#ifndef TARGET_DAEMON_METRICS_H
#define TARGET_DAEMON_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#define METRICS_PEERS_MAX        32
#define METRICS_PEERS_OF_ADDRESS 8
#define METRICS_DEADLINE_S       10
#define METRICS_REQUEST_MAX      8192 /* bytes of a request with its headers */
#define METRICS_HOSTS_MAX        64   /* hosts that are named */

struct daemon;
struct metrics;

/** metrics_create() - about @d, which must outlive it. Nothing listens yet. NULL: no memory. */
struct metrics *metrics_create(const struct daemon *d);

/**
 * metrics_listen() - serve at @address from now on, as in `daemon.metrics`: "127.0.0.1:9748", or
 * "off". Where it served before, it does not any more, unless that is the same. An address that
 * cannot be listened on is logged, and tried again until it can. Return: 0 or -ENOMEM.
 */
__attribute__((warn_unused_result)) int metrics_listen(struct metrics *m, const char *address);

/** metrics_destroy() - close all connections. NULL is fine. */
void metrics_destroy(struct metrics *m);

/** metrics_answers() - answers with code @i, counted from 0. Return: false: there is no such code.
 */
bool metrics_answers(const struct metrics *m, unsigned int i, const char **ret_code,
		     uint64_t *ret_n);

/** metrics_build_seconds() - how long making the last text took. */
double metrics_build_seconds(const struct metrics *m);

#endif
