#include "config/scan.h"

#include "config/arena.h"
#include "config/diag.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_NESTING 16

struct scan {
	const char *file;
	const char *p; /* what comes next */
	unsigned int line;
	char before; /* the last token's first character: tells values from punctuation */
	struct {
		char bracket;
		unsigned int line;
	} open[MAX_NESTING];
	size_t nopen;
	struct scan_strings strings;
	struct config_diag *diag;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
	return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '*';
}

static int scan_nul(struct scan *s, const char *text, size_t len)
{
	const char *nul = memchr(text, '\0', len);
	unsigned int line = 1;

	if (!nul)
		return 0;
	for (const char *c = text; c < nul; c++)
		line += *c == '\n';
	diag_what(s->diag, s->file, line, "the file holds a byte 0");
	return diag_fix(s->diag, "it may be damaged or no text file");
}

static void skip_line_comment(struct scan *s)
{
	s->p += strcspn(s->p, "\n");
}

static int skip_comment(struct scan *s)
{
	unsigned int start = s->line;

	for (s->p += 2; *s->p; s->p++) {
		if (s->p[0] == '*' && s->p[1] == '/') {
			s->p += 2;
			return 0;
		}
		s->line += *s->p == '\n';
	}
	diag_what(s->diag, s->file, start, "the comment that starts here never ends");
	return diag_fix(s->diag, "close it with */");
}

static int scan_string(struct scan *s)
{
	unsigned int start = s->line;

	if (s->before != '"') /* libconfig joins neighbours into one value */
		s->strings.lines[s->strings.n++] = start;
	for (s->p++; *s->p && *s->p != '"'; s->p++) {
		if (s->p[0] == '\\' && strncasecmp(s->p + 1, "x00", 3) == 0) {
			diag_what(s->diag, s->file, s->line, "a text holds a byte 0: \"\\x00\"");
			return diag_fix(s->diag, "remove it");
		}
		if (s->p[0] == '\\' && (s->p[1] == '"' || s->p[1] == '\\'))
			s->p++;
		s->line += *s->p == '\n';
	}
	if (*s->p) {
		s->p++;
		return 0;
	}
	diag_what(s->diag, s->file, start, "the text that starts here never ends");
	return diag_fix(s->diag, "close it with \"");
}

static int scan_number(struct scan *s)
{
	size_t len = strspn(s->p, "0123456789abcdefABCDEFxX.");
	char number[32] = "";

	memcpy(number, s->p, len < sizeof(number) ? len : sizeof(number) - 1);
	s->p += len;
	if (memchr(number, '.',
		   sizeof(number))) /* a fraction: no key takes one, wherever it stands */
		return 0;

	bool hex = number[0] == '0' && (number[1] | 0x20) == 'x';

	if (!hex && number[0] == '0' && is_digit(number[1])) {
		diag_what(s->diag, s->file, s->line, "the number %s starts with a zero", number);
		return diag_fix(s->diag, "write it without: some read it as octal");
	}
	if (strtoull(number, NULL, hex ? 16 : 10) > INT32_MAX) {
		diag_what(s->diag, s->file, s->line, "the number %s is too large for any key",
			  number);
		return diag_fix(s->diag, "sizes are texts with a unit, as in \"64M\"");
	}
	return 0;
}

static int open_bracket(struct scan *s)
{
	if (s->nopen == MAX_NESTING) {
		diag_what(s->diag, s->file, s->line, "brackets are nested too deeply");
		return diag_fix(s->diag,
				"there are subsystems = ( { namespaces = ( { } ); } ); at most");
	}
	s->open[s->nopen].bracket = *s->p;
	s->open[s->nopen++].line = s->line;
	return 0;
}

static int close_bracket(struct scan *s)
{
	char opening = *s->p == ')' ? '(' : *s->p == ']' ? '[' : '{';

	if (s->nopen == 0) {
		diag_what(s->diag, s->file, s->line, "a \"%c\" closes nothing", *s->p);
		return diag_fix(s->diag, "remove it, or look for a bracket missing before it");
	}
	s->nopen--;
	if (s->open[s->nopen].bracket != opening) {
		diag_what(s->diag, s->file, s->line, "a \"%c\" where the \"%c\" of line %u is open",
			  *s->p, s->open[s->nopen].bracket, s->open[s->nopen].line);
		return diag_fix(s->diag, "close the inner one first");
	}
	if (s->before == ',' && opening != '{') {
		diag_what(s->diag, s->file, s->line, "a comma stands before the closing \"%c\"",
			  *s->p);
		return diag_fix(s->diag, "remove the comma after the last element");
	}
	return 0;
}

static int refuse_include(struct scan *s)
{
	diag_what(s->diag, s->file, s->line, "@include is not supported");
	return diag_fix(s->diag, "put the file into the folder exports.d beside the main file");
}

/* One token that is neither space nor comment. */
static int scan_token(struct scan *s)
{
	char first = *s->p;
	int err = 0;

	if (first == '"') {
		err = scan_string(s);
	} else if (is_digit(first)) {
		err = scan_number(s);
	} else if (is_name_start(first)) {
		while (is_name_start(*s->p) || is_digit(*s->p) || *s->p == '-' || *s->p == '_')
			s->p++;
	} else {
		if (strchr("([{", first))
			err = open_bracket(s);
		else if (strchr(")]}", first))
			err = close_bracket(s);
		else if (strncmp(s->p, "@include", 8) == 0)
			err = refuse_include(s);
		s->p++;
	}
	s->before = first;
	return err;
}

static int scan_all(struct scan *s)
{
	int err = 0;

	while (*s->p && !err) {
		if (*s->p == '\n') {
			s->line++;
			s->p++;
		} else if (strchr(" \t\r\f", *s->p)) {
			s->p++;
		} else if (s->p[0] == '#' || (s->p[0] == '/' && s->p[1] == '/')) {
			skip_line_comment(s);
		} else if (s->p[0] == '/' && s->p[1] == '*') {
			err = skip_comment(s);
		} else {
			err = scan_token(s);
		}
	}
	if (!err && s->nopen) {
		diag_what(s->diag, s->file, s->open[s->nopen - 1].line,
			  "the \"%c\" here is never closed", s->open[s->nopen - 1].bracket);
		err = diag_fix(s->diag, "add the closing bracket");
	}
	return err;
}

int scan_text(const char *file, const char *text, size_t len, void **arena,
	      struct scan_strings *ret, struct config_diag *diag)
{
	struct scan s = { .file = file, .p = text, .line = 1, .diag = diag };
	size_t nquotes = 0;
	int err = scan_nul(&s, text, len);

	if (err)
		return err;
	for (const char *c = text; *c; c++)
		nquotes += *c == '"';
	s.strings.lines = arena_alloc(arena, nquotes + 1, sizeof(*s.strings.lines));
	if (!s.strings.lines)
		return diag_nomem(diag, file);
	err = scan_all(&s);
	if (!err)
		*ret = s.strings;
	return err;
}
