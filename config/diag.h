/*
 * diag: wording of errors. Inside config/ only, but for quote() and utf8_len().
 *
 * Files are hostile to terminals and journals too: whatever is quoted from one goes through
 * quote().
 */
#ifndef CONFIG_DIAG_H
#define CONFIG_DIAG_H

#include "config/config.h"

#define QUOTED_MAX 96

struct quoted {
	char text[QUOTED_MAX];
};

/**
 * quote() - @text fit for one line: anything but printable UTF-8 becomes \xHH, a long text ends in
 * "...", and so does one from where a secret key begins in it. Used as quote(x).text within one
 * expression.
 */
struct quoted quote(const char *text);

/** begins_secret() - does a DH-HMAC-CHAP key (dhchap_key.h) begin here, well formed or not? */
bool begins_secret(const char *text);

/** place() - "FILE:LINE" of @where, to be used as quote(). */
struct place {
	char text[QUOTED_MAX + 12];
} place(const struct config_where *where);

/** utf8_len() - bytes of the printable UTF-8 character at @s; 0 if there is none (or the end). */
size_t utf8_len(const char *s);

/** diag_what() - where and what is wrong; clears the fix. Return: -EINVAL. */
__attribute__((format(printf, 4, 5))) int diag_what(struct config_diag *d, const char *file,
						    unsigned int line, const char *fmt, ...);

/** diag_fix() - what to do about it. Return: -EINVAL. */
__attribute__((format(printf, 2, 3))) int diag_fix(struct config_diag *d, const char *fmt, ...);

/** diag_nomem() - out of memory while reading @file. Return: -ENOMEM. */
int diag_nomem(struct config_diag *d, const char *file);

#endif
