/*
 * scan: a look at a file's text before libconfig gets it. Inside config/ only.
 *
 * libconfig 1.5 and 1.7.3 take some texts quietly or worse; these are refused here, with the line:
 *   - @include: of a folder it calls exit(); and we read exports.d ourselves
 *   - a byte 0, in the file or as "\x00": the rest is cut off
 *   - a comment that never ends: the rest of the file is ignored; a string that never ends, at the
 * end of a file: ignored too
 *   - integers beyond 32 bits: 1.5 wraps them; any version cuts hexadecimal ones
 *   - leading zeros: octal in 1.7.3, decimal in 1.5
 *   - brackets that do not match, or nest deep: "syntax error" at the end of the file
 *   - a comma before a closing bracket: 1.5 calls it a syntax error, 1.7.3 does not
 *
 * It must agree with libconfig's scanner on where strings and comments begin and end, or an
 * @include could hide; tests/unit/test_config.c compares the two over mutated files.
 */
#ifndef CONFIG_SCAN_H
#define CONFIG_SCAN_H

#include "config/config.h"

/* The line on which each string value of the file begins, in the file's order. */
struct scan_strings {
	unsigned int *lines; /* in the arena */
	size_t n;
};

/**
 * scan_text() - check @len bytes of @text, which a NUL follows.
 * @arena: where ret->lines goes.
 *
 * Return: 0; -EINVAL with @diag filled; -ENOMEM.
 */
__attribute__((warn_unused_result)) int scan_text(const char *file, const char *text, size_t len,
						  void **arena, struct scan_strings *ret,
						  struct config_diag *diag);

#endif
