/* JSON to text for people. */
#include "target/ctl/ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 512

void print_text(const char *text, FILE *out)
{
	for (; *text; text++)
		putc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}

struct json_object *json_get(struct json_object *o, const char *path)
{
	char key[64];

	while (o && *path) {
		size_t len = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		if (!json_object_is_type(o, json_type_object) ||
		    !json_object_object_get_ex(o, key, &o))
			return NULL;
		path += len + (path[len] == '.');
	}
	return o;
}

const char *json_text(struct json_object *o, const char *path)
{
	struct json_object *value = json_get(o, path);

	return value ? json_object_get_string(value) : "";
}

static struct human scaled(double n, double unit, const char *const *names, const char *suffix)
{
	struct human h;
	unsigned int i = 0;

	while (n >= unit - unit / 2000 && names[i + 1]) {
		n /= unit;
		i++;
	}
	snprintf(h.text, sizeof(h.text), i && n < 99.95 ? "%.1f%s%s%s" : "%.0f%s%s%s", n,
		 *names[i] || *suffix ? " " : "", names[i], suffix);
	return h;
}

struct human human_bytes(double bytes)
{
	static const char *const names[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", NULL };

	return scaled(bytes, 1024, names, "B");
}

struct human human_number(double n)
{
	static const char *const names[] = { "", "k", "M", "G", "T", NULL };

	return scaled(n, 1000, names, "");
}

/* ---- cells -------------------------------------------------------------------------------------
 */

struct cell {
	char text[CELL_MAX];
};

static void join(struct json_object *array, struct cell *cell)
{
	size_t n = json_object_is_type(array, json_type_array) ? json_object_array_length(array)
							       : 0,
	       at = 0;

	for (size_t i = 0; i < n && at < sizeof(cell->text); i++)
		at += (size_t)snprintf(cell->text + at, sizeof(cell->text) - at, "%s%s",
				       i ? "," : "",
				       json_object_get_string(json_object_array_get_idx(array, i)));
}

static struct cell cell_of(struct json_object *row, const struct column *c)
{
	struct json_object *value = json_get(row, c->key);
	struct cell cell = { "" };

	if (!value)
		return cell;
	switch (c->kind) {
	case COLUMN_TEXT:
	case COLUMN_NUMBER:
		strlcpy(cell.text, json_object_get_string(value), sizeof(cell.text));
		break;
	case COLUMN_BYTES:
		strlcpy(cell.text, human_bytes((double)json_object_get_uint64(value)).text,
			sizeof(cell.text));
		break;
	case COLUMN_LIST:
		join(value, &cell);
		break;
	case COLUMN_COUNT:
		if (json_object_is_type(value, json_type_array))
			snprintf(cell.text, sizeof(cell.text), "%zu",
				 json_object_array_length(value));
		break;
	case COLUMN_YES:
		strlcpy(cell.text, json_object_get_boolean(value) ? "yes" : "", sizeof(cell.text));
		break;
	}
	return cell;
}

static bool is_right_aligned(const struct column *c)
{
	return c->kind == COLUMN_NUMBER || c->kind == COLUMN_BYTES || c->kind == COLUMN_COUNT;
}

/* Characters, not bytes: UTF-8's further ones are not counted. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void pad(size_t n)
{
	while (n--)
		putchar(' ');
}

/* States in which something is not as it should be. */
static bool is_bad(const char *text)
{
	static const char *const bad[] = { "lost",   "gone",           "waiting", "inaccessible",
					   "ending", "none",           "going",   "unproved",
					   "change", "persistent-loss" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (strcmp(text, bad[i]) == 0)
			return true;
	return false;
}

static void print_cell(const struct column *c, const char *text, size_t width, bool last,
		       const char *colour)
{
	size_t space = width - width_of(text);

	if (is_right_aligned(c))
		pad(space);
	if (*colour)
		fputs(colour, stdout);
	print_text(text, stdout);
	if (*colour)
		fputs("\033[0m", stdout);
	if (!is_right_aligned(c) && !last)
		pad(space);
	fputs(last ? "\n" : "  ", stdout);
}

void table_print(const struct ctl *ctl, struct json_object *array, const struct column *columns,
		 size_t ncolumns)
{
	size_t n =
		json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
	size_t *width = calloc(ncolumns, sizeof(width[0]));

	if (!width)
		return;
	for (size_t c = 0; c < ncolumns; c++) {
		width[c] = width_of(columns[c].title);
		for (size_t i = 0; i < n; i++) {
			struct cell cell =
				cell_of(json_object_array_get_idx(array, i), &columns[c]);

			if (width_of(cell.text) > width[c])
				width[c] = width_of(cell.text);
		}
	}
	for (size_t c = 0; c < ncolumns; c++)
		print_cell(&columns[c], columns[c].title, width[c], c + 1 == ncolumns,
			   ctl->colour ? "\033[1m" : "");
	for (size_t i = 0; i < n; i++)
		for (size_t c = 0; c < ncolumns; c++) {
			struct cell cell =
				cell_of(json_object_array_get_idx(array, i), &columns[c]);

			print_cell(&columns[c], cell.text, width[c], c + 1 == ncolumns,
				   ctl->colour && is_bad(cell.text) ? "\033[31m" : "");
		}
	free(width);
}

/* ---- lists -------------------------------------------------------------------------------------
 */

static bool is_scalar(struct json_object *value)
{
	return !json_object_is_type(value, json_type_object) &&
	       !json_object_is_type(value, json_type_array);
}

static void list_value(const char *path, struct json_object *value);

static void list_object(const char *path, struct json_object *o)
{
	char below[256];

	json_object_object_foreach(o, name, value)
	{
		snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", name);
		list_value(below, value);
	}
}

static void list_array(const char *path, struct json_object *array)
{
	size_t n = json_object_array_length(array);
	struct cell cell = { "" };
	char below[256];

	if (n == 0 || is_scalar(json_object_array_get_idx(array, 0))) {
		join(array, &cell);
		printf("%-24s ", path);
		print_text(cell.text, stdout);
		putchar('\n');
		return;
	}
	for (size_t i = 0; i < n; i++) {
		snprintf(below, sizeof(below), "%s%s%zu", path, *path ? "." : "", i);
		list_value(below, json_object_array_get_idx(array, i));
	}
}

static void list_value(const char *path, struct json_object *value)
{
	if (json_object_is_type(value, json_type_object)) {
		list_object(path, value);
	} else if (json_object_is_type(value, json_type_array)) {
		list_array(path, value);
	} else {
		printf("%-24s ", path);
		print_text(value ? json_object_get_string(value) : "-", stdout);
		putchar('\n');
	}
}

/* A list of one is shown as the one; of several, an empty line between. */
void list_print(struct json_object *value)
{
	if (!json_object_is_type(value, json_type_array) || !json_object_array_length(value) ||
	    is_scalar(json_object_array_get_idx(value, 0))) {
		list_value("", value);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		if (i)
			putchar('\n');
		list_value("", json_object_array_get_idx(value, i));
	}
}
