/*
 * control: the socket through which an administrator asks the daemon and changes what it does.
 *
 * A Unix stream socket. A request is one line of words; the answer is lines, and then one that is
 * "ok" or begins with "error: ". nvmf-p2pctl sends and shows them. What there is to say is one
 * const table of verbs, in control.c.
 *
 * Served by the control thread's loop, which never waits for a peer: a connection has a buffer of
 * one line and one answer, is read again only when the answer is gone, and is closed after
 * CONTROL_IDLE_S of silence. Only root and the daemon's own user are served.
 */
#ifndef TARGET_CONTROL_H
#define TARGET_CONTROL_H

#include "config/config.h"

#include <ev.h>
#include <stdio.h>

#define CONTROL_LINE_MAX  4096 /* bytes, with the newline */
#define CONTROL_WORDS_MAX 16
#define CONTROL_PEERS_MAX 16
#define CONTROL_IDLE_S    10
#define CONTROL_LATER     1 /* what a verb returns that will call control_done() */

struct control;
struct control_peer;
struct target;

/* A request that is being answered. */
struct control_call {
	struct target *target;
	unsigned int argc; /* words after the verb */
	char *argv[CONTROL_WORDS_MAX];
	FILE *out; /* answer lines */
	/* private: */
	struct control_peer *peer; /* NULL: gone */
	char line[CONTROL_LINE_MAX];
	char *text; /* what out has written */
	size_t len;
	char why[256];
};

struct control_verb {
	const char *name;
	const char *args; /* for people */
	const char *help;
	unsigned int min_args, max_args;
	/* 0; a negative errno, maybe with control_refuse(); or CONTROL_LATER */
	int (*run)(struct control_call *call);
};

/** control_create() - listen at @path, whose folder is made if it is not there. A socket that
 * nobody listens at any more is taken away. Return: 0 or negative errno, and @diag says why. */
__attribute__((warn_unused_result)) int control_create(const char *path, struct ev_loop *loop,
						       struct target *t,
						       struct control **ret_control,
						       struct config_diag *diag);

/** control_destroy() - close all connections and take the socket away. Calls that are not done yet
 * may still be. NULL is fine. */
void control_destroy(struct control *c);

/** control_refuse() - say why, in words. Return: @err. */
__attribute__((format(printf, 3, 4))) int control_refuse(struct control_call *call, int err,
							 const char *fmt, ...);

/** control_done() - after CONTROL_LATER: the answer is complete, with 0 or negative errno. @call is
 * freed. */
void control_done(struct control_call *call, int err);

/* control_ana.c */
int control_ana(struct control_call *call);

#endif
