#include "target/daemon/metrics_text.h"

#include "config/config.h"

#include <inttypes.h>
#include <math.h>

struct metric_out {
	FILE *file;
	const struct metric *family;
};

struct metric_number metric_number(uint64_t value)
{
	struct metric_number n;

	snprintf(n.text, sizeof(n.text), "%" PRIu64, value);
	return n;
}

/* Names come from hosts: what is no UTF-8 would make Prometheus refuse all of the text. */
static void print_label_value(FILE *out, const char *value)
{
	bool ascii_only = !config_is_utf8(value);

	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			fputc('\\', out);
		if (*c == '\n')
			fputs("\\n", out);
		else
			fputc(ascii_only && *c & 0x80 ? '?' : *c, out);
	}
}

/* @le: of a histogram's class; NULL: it is none. */
static void print_sample(struct metric_out *out, const char *suffix,
			 const struct metric_label *labels, const char *le)
{
	char between = '{';

	fprintf(out->file, "%s%s", out->family->name, suffix);
	for (; labels && labels->name; labels++, between = ',') {
		fprintf(out->file, "%c%s=\"", between, labels->name);
		print_label_value(out->file, labels->value);
		fputc('"', out->file);
	}
	if (le) {
		fprintf(out->file, "%cle=\"%s\"", between, le);
		between = ',';
	}
	fputs(between == ',' ? "} " : " ", out->file);
}

static void print_value(FILE *out, double value)
{
	if (isnan(value))
		fputs("NaN\n", out);
	else
		fprintf(out, "%.15g\n", value);
}

void metric_count(struct metric_out *out, const struct metric_label *labels, uint64_t value)
{
	print_sample(out, "", labels, NULL);
	fprintf(out->file, "%" PRIu64 "\n", value);
}

void metric_value(struct metric_out *out, const struct metric_label *labels, double value)
{
	print_sample(out, "", labels, NULL);
	print_value(out->file, value);
}

/* The count is the sum of the classes, not a->commands: read while it grows, it may differ. */
void metric_latencies(struct metric_out *out, const struct metric_label *labels,
		      const struct stage_account *a)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < LATENCY_CLASSES; i++) {
		uint64_t us = latency_class_us(i);
		char le[24] = "+Inf";

		n += a->latency[i];
		if (us)
			snprintf(le, sizeof(le), "%.9g", (double)us / 1e6);
		print_sample(out, "_bucket", labels, le);
		fprintf(out->file, "%" PRIu64 "\n", n);
	}
	print_sample(out, "_sum", labels, NULL);
	fprintf(out->file, "%" PRIu64 ".%09" PRIu64 "\n", a->latency_ns / 1000000000,
		a->latency_ns % 1000000000);
	print_sample(out, "_count", labels, NULL);
	fprintf(out->file, "%" PRIu64 "\n", n);
}

static const char *type_name(enum metric_type type)
{
	switch (type) {
	case METRIC_COUNTER:
		return "counter";
	case METRIC_GAUGE:
		return "gauge";
	case METRIC_HISTOGRAM:
		return "histogram";
	}
	return "untyped";
}

void metrics_print(const struct metric *table, size_t n, const struct daemon *d, FILE *out)
{
	for (size_t i = 0; i < n; i++) {
		struct metric_out o = { .file = out, .family = &table[i] };

		fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", table[i].name, table[i].help,
			table[i].name, type_name(table[i].type));
		table[i].collect(&o, d);
	}
}

void metrics_print_doc(const struct metric *table, size_t n, FILE *out)
{
	fprintf(out, "| metric | type | labels | what |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < n; i++)
		fprintf(out, "| `%s` | %s | %s | %s |\n", table[i].name, type_name(table[i].type),
			table[i].labels, table[i].help);
}
