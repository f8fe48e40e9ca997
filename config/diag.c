#include "config/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

size_t utf8_len(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;

	if (u[0] < 0x80)
		return u[0] >= 0x20 && u[0] != 0x7f;
	if (u[0] < 0xc2 || u[0] > 0xf4 || !is_tail(u[1]))
		return 0;
	if (u[0] < 0xe0)
		return u[0] == 0xc2 && u[1] < 0xa0 ? 0 : 2; /* U+0080..9F: controls */
	if (!is_tail(u[2]))
		return 0;
	if (u[0] < 0xf0) {
		bool overlong = u[0] == 0xe0 && u[1] < 0xa0;
		bool surrogate = u[0] == 0xed && u[1] >= 0xa0;
		bool separator = u[0] == 0xe2 && u[1] == 0x80 && (u[2] == 0xa8 || u[2] == 0xa9);

		return overlong || surrogate || separator ? 0 : 3;
	}
	if (!is_tail(u[3]) || (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] >= 0x90))
		return 0;
	return 4;
}

bool begins_secret(const char *text)
{
	return strncasecmp(text, "DHHC-", strlen("DHHC-")) == 0;
}

struct quoted quote(const char *text)
{
	static const char hex[] = "0123456789abcdef";
	struct quoted q = { "" };
	size_t out = 0;

	while (*text) {
		size_t len = utf8_len(text), need = len ? len : 4;

		if (out + need + sizeof("...") > sizeof(q.text) || begins_secret(text)) {
			memcpy(q.text + out, "...", sizeof("..."));
			break;
		}
		if (len) {
			memcpy(q.text + out, text, len);
		} else {
			unsigned char c = (unsigned char)*text;

			memcpy(q.text + out, (char[]){ '\\', 'x', hex[c >> 4], hex[c & 15] }, 4);
			len = 1;
		}
		out += need;
		text += len;
	}
	return q;
}

struct place place(const struct config_where *where)
{
	struct place p;

	if (where->line)
		snprintf(p.text, sizeof(p.text), "%s:%u", quote(where->file).text, where->line);
	else
		snprintf(p.text, sizeof(p.text), "%s", quote(where->file).text);
	return p;
}

/* The end of a path says more than its beginning. */
static void set_file(struct config_diag *d, const char *file)
{
	if (!file[0])
		file = "(no name)";

	size_t len = strlen(file), skip = 0;

	if (len >= sizeof(d->file)) {
		skip = len - (sizeof(d->file) - sizeof("..."));
		snprintf(d->file, sizeof(d->file), "...%s", file + skip);
	} else {
		snprintf(d->file, sizeof(d->file), "%s", file);
	}
	for (char *c = d->file; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

int diag_what(struct config_diag *d, const char *file, unsigned int line, const char *fmt, ...)
{
	va_list ap;

	set_file(d, file);
	d->line = line;
	d->fix[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(d->what, sizeof(d->what), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int diag_fix(struct config_diag *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->fix, sizeof(d->fix), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int diag_nomem(struct config_diag *d, const char *file)
{
	diag_what(d, file, 0, "out of memory while reading it");
	return -ENOMEM;
}

void config_diag_print(const struct config_diag *diag, FILE *out)
{
	fputs(diag->file, out);
	if (diag->line)
		fprintf(out, ":%u", diag->line);
	fprintf(out, ": %s", diag->what);
	if (diag->fix[0])
		fprintf(out, "; %s", diag->fix);
	putc('\n', out);
}
