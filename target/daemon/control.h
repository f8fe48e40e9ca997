/*
 * control: the socket through which an administrator asks the daemon and changes what it does.
 *
 * A Unix stream socket. A request is one line with one JSON object, the answer likewise; a
 * connection may ask any number of times, and answers come in the order of the requests. The form
 * is in docs/control.md, what can be asked in verbs.c; nvmf-p2pctl speaks it.
 *
 * Served by the control thread's loop, which never waits for a peer: a connection has one request
 * and one answer at a time, is read again only when the answer is gone, and is closed after
 * CONTROL_IDLE_S of silence.
 *
 * Whom the socket's file mode lets in may read; root and the daemon's own user may change things
 * too. Readers get no more than half of the connections, so they cannot keep root out.
 *
 *      control.c          listening, connections
 *      control_request.c  from the line to the verb, from its result to the answer
 *      control_show.c, control_queues.c, control_p2p.c, control_ana.c, control_change.c
 *                         the verbs (control_call.h)
 */
#ifndef TARGET_DAEMON_CONTROL_H
#define TARGET_DAEMON_CONTROL_H

#include "config/config.h"

#include <ev.h>

#define CONTROL_REQUEST_MAX (64u << 10) /* bytes, with the newline */
#define CONTROL_ANSWER_MAX  (16u << 20)
#define CONTROL_DEPTH_MAX   8 /* of JSON in a request */
#define CONTROL_PEERS_MAX   32
#define CONTROL_READERS_MAX (CONTROL_PEERS_MAX / 2)
#define CONTROL_IDLE_S      10

struct control;
struct daemon;

/**
 * control_create() - listen at @path, whose folder is made if it is not there. A socket that nobody
 * listens at any more is taken away.
 * @group: whose members may read, too; NULL: nobody but root and the daemon's user.
 * @d: must outlive it. Return: 0 or negative errno, and @diag says why.
 */
__attribute__((warn_unused_result)) int control_create(const char *path, const char *group,
						       struct ev_loop *loop, struct daemon *d,
						       struct control **ret_control,
						       struct config_diag *diag);

/** control_destroy() - close all connections and take the socket away. Calls that are not done yet
 * may still be. NULL is fine. */
void control_destroy(struct control *c);

#endif
