/*
 * report: the table of paths, one row for each (CMB, client, operation): what lies between them,
 * what was proved, and what failed first. For a person, or as JSON.
 */
#ifndef P2P_REPORT_H
#define P2P_REPORT_H

#include "p2p/proof.h"
#include "p2p/topology.h"

#include <stdio.h>

struct json_object;
struct report;

struct report_row {
	const char *provider;  /* BDF of the CMB */
	const char *client;    /* "rnic rxe0", "drive 0000:03:00.0 /dev/nvme0n1" */
	const char *operation; /* "mtu 4096", "drive writes CMB", ... */
	const struct p2p_path *path;
	const struct proof *proof;
	enum provider_state state;
};

/** report_create() - an empty table, or NULL on no memory. */
struct report *report_create(void);

/** report_add() - append a copy of @row; without memory the report is not whole from then on. */
void report_add(struct report *r, const struct report_row *row);

/** report_is_whole() - no row is left out. */
bool report_is_whole(const struct report *r);

/** report_print() - to @out; as a JSON array of objects if @json. If it is not whole, standard
 * error says so. */
void report_print(const struct report *r, bool json, FILE *out);

/** report_nrows() - how many there are. */
size_t report_nrows(const struct report *r);

/** report_text() - what row @i has under @key, as in the JSON; "" if nothing. */
const char *report_text(const struct report *r, size_t i, const char *key);

/** report_rows() - the JSON array, the report's. Each row has "provider", "state", "client",
 * "operation", "type", "distance", "proof" and "reason". */
struct json_object *report_rows(const struct report *r);

/** report_destroy() - NULL is fine. */
void report_destroy(struct report *r);

#endif
