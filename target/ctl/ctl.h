/*
 * ctl: nvmf-p2pctl, the administrator's tool. Most of its commands are the daemon's verbs
 * (target/daemon/verbs.h): the tool makes a request of the command line, by the daemon's own table,
 * and a table for people of the answer. Others do something here. Both kinds are rows of one table,
 * commands.c; help, completion and the manual page's list follow from it.
 *
 *      main.c      the command line's options, exit code
 *      commands.c  the table; words to a request; help
 *      client.c    one request, one answer
 *      table.c     JSON to tables for people
 *      show.c      which columns an answer has
 *      top.c       rates, again and again
 *      nvmet_*.c   the kernel target's configuration, there and back
 *      complete.c  what could come next on the command line
 *
 * One thread.
 */
#ifndef TARGET_CTL_CTL_H
#define TARGET_CTL_CTL_H

#include "target/daemon/verbs.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

#define CTL_DEFAULT_SOCKET "/run/nvmf-p2pd/control"

enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1,       /* by the daemon, or it did not work here */
	CTL_USAGE = 2,         /* wrong command line */
	CTL_NO_DAEMON = 3,     /* or no answer */
	CTL_NOT_PERMITTED = 4, /* to ask, or to change */
};

enum ctl_format {
	CTL_AUTO,  /* a table; one thing that was named is shown with all there is */
	CTL_TABLE, /* one line each */
	CTL_LIST,  /* one value a line */
	CTL_JSON,  /* the daemon's result as it is */
};

/* What the options say. */
struct ctl {
	const char *socket;
	enum ctl_format format;
	bool colour;
};

struct ctl_command {
	/* Name, help and arguments: the daemon's, or of a command that is done here. */
	const struct verb *verb;
	/* The daemon is asked: how @result is shown to people; NULL: value by value. */
	void (*show)(const struct ctl *ctl, struct json_object *args, struct json_object *result);
	/* It is done here: arguments as of a request, checked. Return: an exit code. NULL: the
	 * daemon is asked. */
	int (*run)(const struct ctl *ctl, struct json_object *args);
};

/* ---- commands.c --------------------------------------------------------------------------------
 */

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_ncommands;

/** ctl_find() - the command called @name, or NULL. */
const struct ctl_command *ctl_find(const char *name);

/** ctl_parse() - the words after the command, without the tool's own options, to the members of a
 * request. Return: CTL_OK, and *@ret_args is the caller's; or CTL_USAGE, and it is said why. */
int ctl_parse(const struct verb *v, int nwords, char **words, struct json_object **ret_args);

/** ctl_run() - do it. Return: an exit code; what went wrong is said. */
int ctl_run(const struct ctl *ctl, const struct ctl_command *command, struct json_object *args);

/** ctl_print_help() - of all commands, or of @command. */
void ctl_print_help(const struct ctl_command *command, FILE *out);

/* An option of the tool itself. */
struct ctl_option {
	char letter;
	const char *name, *value; /* value: NULL: it takes none */
	const char *help;
};
extern const struct ctl_option ctl_options[];
extern const size_t ctl_noptions;
extern const char *const ctl_formats[]; /* by enum ctl_format; ends with NULL */

/* ---- client.c ----------------------------------------------------------------------------------
 */

/**
 * ctl_ask() - send the request with @args' members for @verb. On CTL_OK, *@ret_result is the
 * caller's; otherwise it is said why, but not if @quiet. Return: an exit code.
 */
int ctl_ask(const struct ctl *ctl, const struct verb *verb, struct json_object *args, bool quiet,
	    struct json_object **ret_result);

/* ---- table.c -----------------------------------------------------------------------------------
 */

enum column_kind {
	COLUMN_TEXT,
	COLUMN_NUMBER,
	COLUMN_BYTES, /* 1.5 GiB */
	COLUMN_LIST,  /* 1,2,3 */
	COLUMN_COUNT, /* of an array */
	COLUMN_YES,   /* yes, or nothing */
};

struct column {
	const char *title;
	const char *key; /* of the row's object; "read.bytes" is a member of a member */
	enum column_kind kind;
};

/** table_print() - an array of objects, one a line, aligned. Says so if there are none. */
void table_print(const struct ctl *ctl, struct json_object *array, const struct column *columns,
		 size_t ncolumns);

/** list_print() - any value, one scalar a line. */
void list_print(struct json_object *value);

/** print_text() - without control characters, whatever the daemon sent. */
void print_text(const char *text, FILE *out);

struct human {
	char text[24];
};

/** human_bytes() - "1.5 GiB"; human_number() - "1.5 M". */
struct human human_bytes(double bytes);
struct human human_number(double n);

/** json_get() - the member at a path such as "read.bytes", or NULL. */
struct json_object *json_get(struct json_object *o, const char *path);
const char *json_text(struct json_object *o, const char *path); /* "" if there is none */

/* ---- show.c ------------------------------------------------------------------------------------
 */

void show_status(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_ports(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_subsystems(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_namespaces(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_hosts(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_controllers(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_queues(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_p2p(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_config(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_ana(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_change(const struct ctl *ctl, struct json_object *args, struct json_object *result);
void show_sizes(const struct ctl *ctl, struct json_object *args, struct json_object *result);

/* ---- nvmet_import.c, nvmet_export.c
 * --------------------------------------------------------------
 *
 * The kernel target's configuration to export files and back; no daemon is asked.
 */

int ctl_import_nvmet(const struct ctl *ctl, struct json_object *args);
int ctl_export_nvmet(const struct ctl *ctl, struct json_object *args);

/* ---- top.c, complete.c -------------------------------------------------------------------------
 */

int ctl_top(const struct ctl *ctl, struct json_object *args);

/** ctl_complete() - print what the last of @words could become, one a line; the others come before
 * it on the command line. Asks the daemon, quietly. */
void ctl_complete(const struct ctl *ctl, int nwords, char **words);

#endif
