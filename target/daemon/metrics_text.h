/*
 * metrics_text: metrics as Prometheus' text (exposition format 0.0.4). What there is to say is one
 * const table of families, in metrics_table.c; docs/metrics.md is made from it.
 *
 * Values are in base units (seconds, bytes). A family's text is its HELP, its TYPE and its samples,
 * which its collector adds. Control thread.
 */
#ifndef TARGET_DAEMON_METRICS_TEXT_H
#define TARGET_DAEMON_METRICS_TEXT_H

#include "target/account.h"

#include <stdio.h>

struct daemon;
struct metric_out;

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

typedef void metric_collector(struct metric_out *out, const struct daemon *d);

struct metric {
	const char *name;
	const char *help;   /* one line */
	const char *labels; /* for the documentation: "subsystem, nsid"; "": none */
	enum metric_type type;
	metric_collector *collect;
};

extern const struct metric metric_table[];
extern const size_t metric_table_len;

/* One label; a list of them ends with one whose name is NULL. Values may be any bytes. */
struct metric_label {
	const char *name, *value;
};
#define METRIC_LABELS(...) ((const struct metric_label[]){ __VA_ARGS__, { NULL, NULL } })
#define METRIC_NO_LABELS   NULL

/* A number as a label's value. */
struct metric_number {
	char text[24];
};
struct metric_number metric_number(uint64_t value);

/** metric_count() - add a sample that is a whole number. For collectors. */
void metric_count(struct metric_out *out, const struct metric_label *labels, uint64_t value);

/** metric_value() - add a sample. For collectors. */
void metric_value(struct metric_out *out, const struct metric_label *labels, double value);

/** metric_latencies() - add the samples of a histogram in seconds: what @a has counted. */
void metric_latencies(struct metric_out *out, const struct metric_label *labels,
		      const struct stage_account *a);

/** metric_lacks() - there is no memory for a sample. For collectors. */
void metric_lacks(struct metric_out *out);

/** metrics_print() - the text of the @n families in @table. Return: 0, or -ENOMEM: it lacks samples
 * (whose absence would mean something else). Errors of @out are the caller's. */
__attribute__((warn_unused_result)) int metrics_print(const struct metric *table, size_t n,
						      const struct daemon *d, FILE *out);

/** metrics_print_doc() - the table of docs/metrics.md. */
void metrics_print_doc(const struct metric *table, size_t n, FILE *out);

#endif
