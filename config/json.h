/*
 * json: JSON as Python's json module writes it, read with care. Inside config/ only.
 */
#ifndef CONFIG_JSON_H
#define CONFIG_JSON_H

#include "config/config.h"

struct json_object;

/**
 * json_read() - parse JSON text strictly.
 * @name: of the file, for errors; they have a line.
 * @text: @len bytes, and one more that is 0.
 *
 * Bytes 0, invalid UTF-8, more than 32 levels, anything behind the value and a key that an object
 * has twice (json-c would take the last one and be silent) are errors.
 *
 * Return: 0 with *@ret, to be given to json_object_put(); -EINVAL or -ENOMEM with @diag filled.
 */
__attribute__((warn_unused_result)) int json_read(const char *name, const char *text, size_t len,
						  struct json_object **ret,
						  struct config_diag *diag);

/** json_print() - as json.dumps(value, sort_keys=True, indent=2) and a newline. Return: 0, -ENOMEM.
 */
__attribute__((warn_unused_result)) int json_print(struct json_object *value, FILE *out);

#endif
