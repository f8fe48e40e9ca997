/*
 * set: a value for a key from plain text, wherever it comes from. Inside config/ only.
 */
#ifndef CONFIG_SET_H
#define CONFIG_SET_H

#include "config/keys.h"

/**
 * set_text() - give the field of @k in @obj, which belongs to @c, the value @text.
 * @place: what to blame, as config_diag.file.
 *
 * Numbers are decimal, sizes a number of bytes, booleans 0 or 1, a list of choices is one choice.
 * Not for lists of texts, ids and groups.
 *
 * Return: 0; -EINVAL or -ENOMEM with @diag filled: secrets are not quoted.
 */
__attribute__((warn_unused_result)) int set_text(struct config *c, const struct key *k, void *obj,
						 const char *place, const char *text,
						 struct config_diag *diag);

/** set_check_text() - does @text satisfy the row @k, of a text or a list of texts? As above. */
__attribute__((warn_unused_result)) int set_check_text(const struct key *k, const char *place,
						       const char *text, struct config_diag *diag);

#endif
