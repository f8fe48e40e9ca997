#include "target/daemon/metrics_text.h"

#include "config/config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct metric_out {
	FILE *file;
	const struct metric *family;
	bool lacks; /* a sample, for which there was no memory */
};

struct metric_number metric_number(uint64_t value)
{
	struct metric_number n;
	char digits[sizeof(n.text)], *at = digits + sizeof(digits);

	*--at = '\0';
	do
		*--at = (char)('0' + value % 10);
	while ((value /= 10));
	memcpy(n.text, at, (size_t)(digits + sizeof(digits) - at));
	return n;
}

/* Nobody else has the stream, and there may be ten thousands of samples. */
#define put_char putc_unlocked
#define put_text fputs_unlocked

/* Names come from hosts: what is no UTF-8 would make Prometheus refuse all of the text. */
static void print_label_value(FILE *out, const char *value)
{
	bool ascii_only = !config_is_utf8(value);

	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			put_char('\\', out);
		if (*c == '\n')
			put_text("\\n", out);
		else
			put_char(ascii_only && *c & 0x80 ? '?' : *c, out);
	}
}

/* Without the braces, so that one more may follow. */
static void print_labels(FILE *out, const struct metric_label *labels)
{
	for (const struct metric_label *l = labels; l && l->name; l++) {
		if (l != labels)
			put_char(',', out);
		put_text(l->name, out);
		put_text("=\"", out);
		print_label_value(out, l->value);
		put_char('"', out);
	}
}

static void begin_sample(struct metric_out *out, const struct metric_label *labels)
{
	put_text(out->family->name, out->file);
	if (labels) {
		put_char('{', out->file);
		print_labels(out->file, labels);
		put_char('}', out->file);
	}
	put_char(' ', out->file);
}

static void print_count(FILE *out, uint64_t value)
{
	put_text(metric_number(value).text, out);
	put_char('\n', out);
}

void metric_count(struct metric_out *out, const struct metric_label *labels, uint64_t value)
{
	begin_sample(out, labels);
	print_count(out->file, value);
}

void metric_value(struct metric_out *out, const struct metric_label *labels, double value)
{
	begin_sample(out, labels);
	if (isnan(value))
		fputs("NaN\n", out->file);
	else
		fprintf(out->file, "%.15g\n", value);
}

/* The upper bounds of the classes in seconds. */
static const char *const bounds[] = {
	"8e-06",    "1.6e-05",  "3.2e-05",  "6.4e-05",  "0.000128", "0.000256",
	"0.000512", "0.001024", "0.002048", "0.004096", "0.008192", "0.016384",
	"0.032768", "0.065536", "0.131072", "0.262144", "0.524288", "1.048576",
	"2.097152", "4.194304", "8.388608", "+Inf",
};
static_assert(sizeof(bounds) / sizeof(bounds[0]) == LATENCY_CLASSES, "one for each class");

static void begin_part(struct metric_out *out, const char *suffix, const char *labels,
		       const char *le)
{
	put_text(out->family->name, out->file);
	put_text(suffix, out->file);
	put_char('{', out->file);
	put_text(labels, out->file);
	if (le) {
		put_text(",le=\"", out->file);
		put_text(le, out->file);
		put_char('"', out->file);
	}
	put_text("} ", out->file);
}

/* The count is the sum of the classes, not a->commands: read while it grows, it may differ. */
static void print_parts(struct metric_out *out, const char *labels, const struct stage_account *a)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < LATENCY_CLASSES; i++) {
		n += a->latency[i];
		begin_part(out, "_bucket", labels, bounds[i]);
		print_count(out->file, n);
	}
	begin_part(out, "_sum", labels, NULL);
	fprintf(out->file, "%" PRIu64 ".%09" PRIu64 "\n", a->latency_ns / 1000000000,
		a->latency_ns % 1000000000);
	begin_part(out, "_count", labels, NULL);
	print_count(out->file, n);
}

void metric_latencies(struct metric_out *out, const struct metric_label *labels,
		      const struct stage_account *a)
{
	char *text = NULL;
	size_t len;
	FILE *stream = open_memstream(&text, &len);

	if (stream) {
		print_labels(stream, labels);
		if (fclose(stream))
			stream = NULL;
	}
	if (stream)
		print_parts(out, text, a);
	else
		metric_lacks(out);
	free(text);
}

void metric_lacks(struct metric_out *out)
{
	out->lacks = true;
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

int metrics_print(const struct metric *table, size_t n, const struct daemon *d, FILE *out)
{
	bool lacks = false;

	for (size_t i = 0; i < n; i++) {
		struct metric_out o = { .file = out, .family = &table[i] };

		fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", table[i].name, table[i].help,
			table[i].name, type_name(table[i].type));
		table[i].collect(&o, d);
		lacks |= o.lacks;
	}
	return lacks ? -ENOMEM : 0;
}

void metrics_print_doc(const struct metric *table, size_t n, FILE *out)
{
	fprintf(out, "| metric | type | labels | what |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < n; i++)
		fprintf(out, "| `%s` | %s | %s | %s |\n", table[i].name, type_name(table[i].type),
			table[i].labels, table[i].help);
}
