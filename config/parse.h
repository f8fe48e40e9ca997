/*
 * parse: one file's text to the model, by the tables of keys.h. Inside config/ only.
 */
#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include "config/config.h"

/**
 * parse_text() - add what @text says to @c.
 * @c:    defaults are set already; what is allocated for it goes into its arena.
 * @file: the name for diagnostics and `where`; lives as long as @c.
 * @text: @len bytes, then a NUL.
 * @main: whether this is the main file.
 *
 * Return: 0; -EINVAL or -ENOMEM with @diag filled and @c in between, fit for config_free() only.
 */
__attribute__((warn_unused_result)) int parse_text(struct config *c, const char *file,
						   const char *text, size_t len, bool main,
						   struct config_diag *diag);

#endif
