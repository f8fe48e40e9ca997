/*
 * control_call: what the verbs of the control socket are written with. Control thread.
 */
#ifndef TARGET_DAEMON_CONTROL_CALL_H
#define TARGET_DAEMON_CONTROL_CALL_H

#include "target/daemon/verbs.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#define CONTROL_LATER 1 /* what a verb returns that will call control_done() */

struct control;
struct control_peer;
struct daemon;
struct namespace;
struct subsystem;

/* A request that is being answered. */
struct control_call {
	struct daemon *daemon;
	const struct verb *verb;
	struct json_object *args;   /* the request; checked against the verb's table */
	struct json_object *result; /* set by the verb, any JSON value; NULL: an empty object */
	double since;               /* seconds that the daemon has been serving */
	bool may_change;            /* the peer is root or the daemon's user */
	/* private: */
	struct control_peer *peer; /* NULL: gone */
	char why[1024];
};

/* ---- control_request.c: arguments and answers --------------------------------------------------
 */

/** control_text() - the argument @name, or NULL: not given. */
const char *control_text(const struct control_call *call, const char *name);

/** control_number() - the argument @name, a number; false: not given. */
bool control_number(const struct control_call *call, const char *name, uint64_t *ret);

/** control_flag() - is the argument @name given, and true? */
bool control_flag(const struct control_call *call, const char *name);

/** control_refuse() - say why, in words, and what to do. Return: @err. */
__attribute__((format(printf, 3, 4))) int control_refuse(struct control_call *call, int err,
							 const char *fmt, ...);

/** control_done() - after CONTROL_LATER: the result is set, with 0 or negative errno. @call is
 * freed. */
void control_done(struct control_call *call, int err);

/** control_parse() - check the request @line of @len bytes, which comes without its newline.
 * Return: 0: control_run() may follow; or negative errno, refused. */
__attribute__((warn_unused_result)) int control_parse(struct control_call *call, const char *line,
						      size_t len);

/** control_run() - run the verb. Return: 0 or negative errno, for control_done(); or
 * CONTROL_LATER, and @call may be gone. */
__attribute__((warn_unused_result)) int control_run(struct control_call *call);

/** control_answer() - the answer as one line, allocated, with its newline; NULL: no memory. */
char *control_answer(struct control_call *call, int err, size_t *ret_len);

/** control_call_free() - NULL is fine. */
void control_call_free(struct control_call *call);

/* ---- making results ----------------------------------------------------------------------------
 *
 * Without memory, a member is missing, and the answer will be an error. All of these take NULL for
 * an object or array that could not be made.
 */

/** put_value(), add_value() - take @value over. Return: it, or NULL. */
struct json_object *put_value(struct json_object *o, const char *key, struct json_object *value);
struct json_object *add_value(struct json_object *array, struct json_object *value);

/** put_text() - as a string; what came from a host may be no UTF-8, then '?' stands for such bytes.
 * NULL: null. */
void put_text(struct json_object *o, const char *key, const char *text);
void put_number(struct json_object *o, const char *key, uint64_t n);
void put_bool(struct json_object *o, const char *key, bool value);

/** put_array(), put_object() - an empty one as @o's member @key. Return: it, @o's. */
struct json_object *put_array(struct json_object *o, const char *key);
struct json_object *put_object(struct json_object *o, const char *key);

/** add_object() - an empty object at the end of @array. Return: it. */
struct json_object *add_object(struct json_object *array);
void add_text(struct json_object *array, const char *text);
void add_number(struct json_object *array, uint64_t n);

/* ---- what several verbs need -------------------------------------------------------------------
 */

/** control_find_subsystem() - the argument "subsystem"; *@ret_s NULL: not given. Return: 0 or
 * -ENOENT, refused. */
__attribute__((warn_unused_result)) int control_find_subsystem(struct control_call *call,
							       struct subsystem **ret_s);

/** control_find_namespace() - the arguments "subsystem" and "nsid". *@ret_ns NULL: no nsid given.
 * Return: 0 or negative errno, refused. */
__attribute__((warn_unused_result)) int control_find_namespace(struct control_call *call,
							       struct subsystem **ret_s,
							       struct namespace **ret_ns);

/** control_find_port() - the argument "port" names one that is configured, or is not given. Return:
 * 0 or -ENOENT, refused. */
__attribute__((warn_unused_result)) int control_find_port(struct control_call *call,
							  bool *ret_given, uint16_t *ret_port);

/** control_put_namespace() - all that there is to say of it. */
void control_put_namespace(struct json_object *o, const struct namespace *ns);

/* ---- the verbs, by file ------------------------------------------------------------------------
 */

int control_help(struct control_call *call); /* control_request.c */

int control_status(struct control_call *call); /* control_show.c */
int control_ports(struct control_call *call);
int control_subsystems(struct control_call *call);
int control_namespaces(struct control_call *call);
int control_hosts(struct control_call *call);
int control_controllers(struct control_call *call);

int control_queues(struct control_call *call); /* control_queues.c */

int control_p2p(struct control_call *call); /* control_p2p.c */
int control_prove(struct control_call *call);

int control_ana(struct control_call *call); /* control_ana.c */
int control_drain(struct control_call *call);
int control_undrain(struct control_call *call);

int control_config(struct control_call *call); /* control_change.c */
int control_add_namespace(struct control_call *call);
int control_remove_namespace(struct control_call *call);
int control_resize_namespace(struct control_call *call);
int control_disconnect(struct control_call *call);
int control_reload(struct control_call *call);
int control_log_level(struct control_call *call);

#endif
