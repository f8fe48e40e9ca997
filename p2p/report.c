#include "p2p/report.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* The rows are kept as JSON; the table for a person is printed from it, so the two cannot differ.
 */
struct report {
	struct json_object *rows;
	bool lacks; /* a row, for which there was no memory */
};

struct report *report_create(void)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->rows = json_object_new_array();
	if (!r->rows) {
		free(r);
		return NULL;
	}
	return r;
}

/* Takes @value. Return: false: no memory. */
static bool add(struct json_object *row, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(row, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool add_text(struct json_object *row, const char *key, const char *text)
{
	return add(row, key, json_object_new_string(text));
}

static const char *reason(const struct report_row *row)
{
	return row->proof->why[0] ? row->proof->why : row->path->why;
}

void report_add(struct report *r, const struct report_row *row)
{
	static const char *const states[] = {
		[PROVIDER_ACTIVE] = "active",
		[PROVIDER_LOST] = "lost",
		[PROVIDER_GONE] = "gone",
	};
	struct json_object *o = json_object_new_object();

	if (o && add_text(o, "provider", row->provider) &&
	    add_text(o, "state", states[row->state]) && add_text(o, "client", row->client) &&
	    add_text(o, "operation", row->operation) &&
	    add_text(o, "type", p2p_map_name(row->path->map)) &&
	    add(o, "distance", json_object_new_int((int)row->path->distance)) &&
	    add_text(o, "proof", proof_verdict_name(row->proof->verdict)) &&
	    add_text(o, "reason", reason(row)) && json_object_array_add(r->rows, o) == 0)
		return;
	json_object_put(o);
	r->lacks = true;
}

bool report_is_whole(const struct report *r)
{
	return !r->lacks;
}

static const char *text_of(struct json_object *row, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(row, key, &value) ? json_object_get_string(value) : "";
}

size_t report_nrows(const struct report *r)
{
	return json_object_array_length(r->rows);
}

const char *report_text(const struct report *r, size_t i, const char *key)
{
	return text_of(json_object_array_get_idx(r->rows, i), key);
}

static void print_table(const struct report *r, FILE *out)
{
	static const struct {
		const char *title, *key;
		int width;
	} columns[] = {
		{ "CMB", "provider", 13 },  { "STATE", "state", 7 },
		{ "CLIENT", "client", 32 }, { "OPERATION", "operation", 17 },
		{ "TYPE", "type", 20 },     { "DIST", "distance", 5 },
		{ "PROOF", "proof", 9 },    { "REASON", "reason", 0 },
	};
	const size_t ncolumns = sizeof(columns) / sizeof(columns[0]);

	for (size_t c = 0; c < ncolumns; c++)
		fprintf(out, "%-*s%s", columns[c].width, columns[c].title,
			c + 1 < ncolumns ? " " : "\n");
	for (size_t i = 0; i < json_object_array_length(r->rows); i++)
		for (size_t c = 0; c < ncolumns; c++)
			fprintf(out, "%-*s%s", columns[c].width,
				text_of(json_object_array_get_idx(r->rows, i), columns[c].key),
				c + 1 < ncolumns ? " " : "\n");
}

void report_print(const struct report *r, bool json, FILE *out)
{
	const char *text = NULL;

	if (json)
		text = json_object_to_json_string_ext(
			r->rows, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					 JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		fprintf(out, "%s\n", text);
	else if (!json)
		print_table(r, out);
	if (r->lacks || (json && !text))
		fprintf(stderr, "the table is not whole: no memory\n");
	fflush(out);
}

struct json_object *report_rows(const struct report *r)
{
	return r->rows;
}

void report_destroy(struct report *r)
{
	if (!r)
		return;
	json_object_put(r->rows);
	free(r);
}
