#include "config/json.h"

#include "config/arena.h"
#include "config/diag.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32

static unsigned int line_at(const char *text, size_t offset)
{
	unsigned int line = 1;

	for (size_t i = 0; i < offset; i++)
		line += text[i] == '\n';
	return line;
}

/* Does a secret key begin before @at in its line? What comes then is not to be shown. */
static bool in_a_key(const char *text, size_t at)
{
	while (at-- > 0 && text[at] != '\n')
		if (begins_secret(text + at))
			return true;
	return false;
}

static int no_json(const char *name, const char *text, size_t at, struct config_diag *diag)
{
	char some[24]; /* as much as tells the place */
	size_t len = strcspn(text + at, "\n");

	snprintf(some, sizeof(some), "%.*s", len ? (int)len : 1, text + at);
	if (in_a_key(text, at))
		diag_what(diag, name, line_at(text, at), "is no JSON in or behind a key");
	else if (*some)
		diag_what(diag, name, line_at(text, at), "is no JSON at \"%s\"", quote(some).text);
	else
		diag_what(diag, name, line_at(text, at), "is no JSON: it ends too early");
	return diag_fix(diag, "give a file as \"nvmetcli save\" writes it");
}

/* ---- keys given twice --------------------------------------------------------------------------
 * A walk over text that json-c took: its structure is right, but for what json-c takes and JSON has
 * not ('name').
 */

struct name {
	const char *text; /* as written, without its quotes */
	size_t len;
};

/* What an object's name is written as; two ways to write one name ("\u0061") are not looked for. */
static int name_cmp(const void *a, const void *b)
{
	const struct name *na = a, *nb = b;
	size_t len = na->len < nb->len ? na->len : nb->len;
	int cmp = memcmp(na->text, nb->text, len);

	if (cmp == 0 && na->len != nb->len)
		return na->len < nb->len ? -1 : 1;
	return cmp ? cmp : na->text < nb->text ? -1 : 1;
}

static const struct name *find_double(struct name *names, size_t n)
{
	qsort(names, n, sizeof(*names), name_cmp);
	for (size_t i = 1; i < n; i++)
		if (names[i].len == names[i - 1].len &&
		    memcmp(names[i].text, names[i - 1].text, names[i].len) == 0)
			return &names[i];
	return NULL;
}

/* The end of the string whose first quote is at @at: its last one. */
static const char *string_end(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return at;
}

struct frame {
	size_t first; /* of its names */
	bool object;
};

struct walk {
	struct name *names;  /* room for all that the text may hold */
	struct name twice;   /* the first double name closed */
	const char *no_json; /* where it is none */
};

static void walk(const char *text, struct walk *w)
{
	struct frame frames[DEPTH_MAX + 1] = { 0 };
	size_t depth = 0, n = 0;

	for (const char *at = text; *at && !w->twice.text && !w->no_json; at++) {
		if (*at == '{' || *at == '[') {
			if (++depth > DEPTH_MAX)
				w->no_json = at;
			else
				frames[depth] = (struct frame){ n, *at == '{' };
		} else if (*at == '"') {
			const char *end = string_end(at);

			if (!*end) {
				w->no_json = at;
				break;
			}
			if (frames[depth].object && end[1 + strspn(end + 1, " \t\r\n")] == ':')
				w->names[n++] = (struct name){ at + 1, (size_t)(end - at - 1) };
			at = end;
		} else if ((*at == '}' || *at == ']') && depth) {
			size_t first = frames[depth--].first;
			const struct name *twice = find_double(w->names + first, n - first);

			if (twice)
				w->twice = *twice;
			n = first;
		} else if (*at == '\'' || *at == '}' || *at == ']') {
			w->no_json = at;
		}
	}
}

static int given_twice(const char *file, const char *text, const struct name *twice,
		       struct config_diag *diag)
{
	char name[QUOTED_MAX];

	snprintf(name, sizeof(name), "%.*s",
		 (int)(twice->len < sizeof(name) ? twice->len : sizeof(name)), twice->text);
	diag_what(diag, file, line_at(text, (size_t)(twice->text - text)),
		  "the key \"%s\" is given twice in one object", quote(name).text);
	return diag_fix(diag, "remove one of the two");
}

static int check_names(const char *file, const char *text, struct config_diag *diag)
{
	struct walk w = { 0 };
	void *scratch = NULL;
	size_t colons = 0;
	int err = 0;

	for (const char *at = text; *at; at++)
		colons += *at == ':';
	w.names = arena_alloc(&scratch, colons + 1, sizeof(*w.names));
	if (!w.names)
		return diag_nomem(diag, file);
	walk(text, &w);
	if (w.twice.text)
		err = given_twice(file, text, &w.twice, diag);
	else if (w.no_json)
		err = no_json(file, text, (size_t)(w.no_json - text), diag);
	arena_free(&scratch);
	return err;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static int not_parsed(struct json_tokener *tok, const char *name, const char *text, size_t len,
		      struct config_diag *diag)
{
	size_t at = json_tokener_get_parse_end(tok);

	if (at > len)
		at = len;
	if (json_tokener_get_error(tok) != json_tokener_error_depth)
		return no_json(name, text, at, diag);
	diag_what(diag, name, line_at(text, at), "is nested more than %d levels deep", DEPTH_MAX);
	return diag_fix(diag, "give a file as \"nvmetcli save\" writes it");
}

static int parse(struct json_tokener *tok, const char *name, const char *text, size_t len,
		 struct json_object **ret, struct config_diag *diag)
{
	struct json_object *json;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	json = json_tokener_parse_ex(tok, text, (int)len + 1); /* the 0 ends a number */
	if (json_tokener_get_error(tok) != json_tokener_success) {
		json_object_put(json);
		return not_parsed(tok, name, text, len, diag);
	}

	int err = check_names(name, text, diag);

	if (err)
		json_object_put(json);
	else
		*ret = json;
	return err;
}

int json_read(const char *name, const char *text, size_t len, struct json_object **ret,
	      struct config_diag *diag)
{
	const char *nul = memchr(text, '\0', len);
	struct json_tokener *tok;
	int err;

	if (nul) {
		diag_what(diag, name, line_at(text, (size_t)(nul - text)), "holds a byte 0");
		return diag_fix(diag, "give a file as \"nvmetcli save\" writes it");
	}
	tok = json_tokener_new_ex(DEPTH_MAX);
	if (!tok)
		return diag_nomem(diag, name);
	err = parse(tok, name, text, len, ret, diag);
	json_tokener_free(tok);
	return err;
}

/* ---- printing ----------------------------------------------------------------------------------
 */

static int print_value(struct json_object *v, int indent, FILE *out);

/* The code point of valid UTF-8 at *@at, which moves behind it. */
static unsigned int code_point(const unsigned char **at)
{
	const unsigned char *s = *at;
	unsigned int n = s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3, c = s[0] & (0x3fU >> n);

	for (unsigned int i = 1; i <= n; i++)
		c = c << 6 | (s[i] & 0x3f);
	*at += n + 1;
	return c;
}

/* Python writes ASCII: other characters as UTF-16 in hexadecimal. */
static void print_string(const char *text, FILE *out)
{
	const unsigned char *at = (const unsigned char *)text;

	putc('"', out);
	while (*at) {
		if (*at >= 0x80) {
			unsigned int c = code_point(&at);

			if (c >= 0x10000)
				fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
					0xdc00 + ((c - 0x10000) & 0x3ff));
			else
				fprintf(out, "\\u%04x", c);
			continue;
		}
		if (*at == '"' || *at == '\\')
			fprintf(out, "\\%c", *at);
		else if (*at < 0x20)
			fprintf(out, "\\u%04x", *at);
		else
			putc(*at, out);
		at++;
	}
	putc('"', out);
}

static int print_array(struct json_object *v, int indent, FILE *out)
{
	size_t n = json_object_array_length(v);
	int err = 0;

	if (n == 0)
		fputs("[]", out);
	for (size_t i = 0; i < n && !err; i++) {
		fprintf(out, "%s\n%*s", i ? "," : "[", indent + 2, "");
		err = print_value(json_object_array_get_idx(v, i), indent + 2, out);
	}
	if (n)
		fprintf(out, "\n%*s]", indent, "");
	return err;
}

static int text_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int print_object(struct json_object *v, int indent, FILE *out)
{
	size_t n = (size_t)json_object_object_length(v), i = 0;
	void *scratch = NULL;
	const char **names = arena_alloc(&scratch, n + 1, sizeof(*names));
	int err = names ? 0 : -ENOMEM;

	if (names) {
		json_object_object_foreach(v, name, member)
		{
			(void)member;
			names[i++] = name;
		}
		qsort(names, n, sizeof(*names), text_cmp);
	}
	if (n == 0)
		fputs("{}", out);
	for (i = 0; i < n && !err; i++) {
		fprintf(out, "%s\n%*s", i ? "," : "{", indent + 2, "");
		print_string(names[i], out);
		fputs(": ", out);
		err = print_value(json_object_object_get(v, names[i]), indent + 2, out);
	}
	if (n)
		fprintf(out, "\n%*s}", indent, "");
	arena_free(&scratch);
	return err;
}

static int print_value(struct json_object *v, int indent, FILE *out)
{
	switch (json_object_get_type(v)) {
	case json_type_object:
		return print_object(v, indent, out);
	case json_type_array:
		return print_array(v, indent, out);
	case json_type_string:
		print_string(json_object_get_string(v), out);
		return 0;
	case json_type_null:
	case json_type_boolean:
	case json_type_int:
	case json_type_double:
		fputs(json_object_to_json_string(v), out);
		return 0;
	}
	return 0;
}

int json_print(struct json_object *value, FILE *out)
{
	int err = print_value(value, 0, out);

	putc('\n', out);
	return err;
}
