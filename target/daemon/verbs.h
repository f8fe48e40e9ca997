/*
 * verbs: what the daemon can be asked through its control socket. One const table, compiled into
 * the daemon, which checks requests by it and answers them (control.c), and into nvmf-p2pctl, which
 * makes its command line, its help and its completion of it. docs/control.md and the manual page
 * are checked against it by tests/unit/test_control.c and test_ctl.c.
 *
 * Immutable; any thread.
 */
#ifndef TARGET_DAEMON_VERBS_H
#define TARGET_DAEMON_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest text that an argument may have, in bytes: a path. */
#define VERB_TEXT_MAX 1023

enum verb_id {
	VERB_HELP,
	VERB_STATUS,
	VERB_PORTS,
	VERB_SUBSYSTEMS,
	VERB_NAMESPACES,
	VERB_HOSTS,
	VERB_CONTROLLERS,
	VERB_QUEUES,
	VERB_P2P,
	VERB_CONFIG,
	VERB_ANA,
	VERB_ADD_NAMESPACE,
	VERB_REMOVE_NAMESPACE,
	VERB_RESIZE_NAMESPACE,
	VERB_DISCONNECT,
	VERB_DRAIN,
	VERB_UNDRAIN,
	VERB_PROVE,
	VERB_RELOAD,
	VERB_LOG_LEVEL,
};
#define VERB_COUNT (VERB_LOG_LEVEL + 1)

enum verb_arg_type {
	ARG_TEXT,   /* a JSON string of 1..VERB_TEXT_MAX bytes without control characters */
	ARG_NUMBER, /* a JSON integer, min..max */
	ARG_FLAG,   /* true or false; on the command line, an option without a value */
	ARG_CHOICE, /* a JSON string, one of choices */
};

/* What completion may offer. */
enum verb_words {
	WORDS_NONE,
	WORDS_FILES, /* the shell does it */
	WORDS_SUBSYSTEMS,
	WORDS_HOSTS,
	WORDS_PORTS,
	WORDS_CONTROLLERS,
};

struct verb_arg {
	const char *name; /* member of the request; on the command line --name, with '-' for '_' */
	const char *help;
	enum verb_arg_type type;
	enum verb_words words;
	bool required;
	bool positional; /* on the command line also by its place among those */
	bool changes;    /* giving it makes a question an order */
	uint64_t min, max;
	const char *const *choices; /* ends with NULL */
};

struct verb {
	const char *name;
	const char *help;
	bool changes; /* for root and the daemon's user only; others may read */
	const struct verb_arg *args;
	size_t nargs;
};

extern const struct verb verbs[VERB_COUNT];

/** verb_find() - the row called @name, or NULL. */
const struct verb *verb_find(const char *name);

/** verb_find_arg() - the argument called @name, or NULL. */
const struct verb_arg *verb_find_arg(const struct verb *v, const char *name);

/** verb_usage() - "[SUBSYSTEM [NSID]] [--cmb prefer|require|off]" and the like, into @buf. */
const char *verb_usage(const struct verb *v, char *buf, size_t len);

/** verb_allowed() - "a number, 1..128" and the like: what @a takes, into @buf. */
const char *verb_allowed(const struct verb_arg *a, char *buf, size_t len);

/** verb_number() - decimal digits only. False: anything else, or not within @a's range. */
bool verb_number(const struct verb_arg *a, const char *text, uint64_t *ret);

#endif
