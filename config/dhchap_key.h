/*
 * dhchap_key: files that hold a DH-HMAC-CHAP key. Inside config/ only; config.h has the keys.
 */
#ifndef CONFIG_DHCHAP_KEY_H
#define CONFIG_DHCHAP_KEY_H

#include "config/config.h"

/**
 * dhchap_key_read() - the key in the file @path, which must be a regular file (no link to one) of
 * root or of our user that nobody else may read or write. Spaces and line ends after it are fine.
 *
 * Return: 0; -EINVAL for a wrong file, -ENOENT, -EACCES, ... with @diag filled, which tells nothing
 * of what is in it.
 */
__attribute__((warn_unused_result)) int dhchap_key_read(const char *path,
							struct config_dhchap_key *ret,
							struct config_diag *diag);

/** dhchap_key_text() - "DHHC-1:hh:BASE64:" in *@arena, which is wiped when it is freed; NULL: no
 * memory. */
__attribute__((warn_unused_result)) const char *dhchap_key_text(const struct config_dhchap_key *key,
								void **arena);

#endif
