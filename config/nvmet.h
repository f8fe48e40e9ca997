/*
 * nvmet: the kernel target's configuration, as nvmetcli saves it, to a model and back.
 *
 * What has an equal is taken over; what has none is named, with the reason, one line a key, and is
 * never fatal. What contradicts itself, or would mean something else here, is an error that says
 * where in the file it stands and what to do. Any thread; no device is touched.
 */
#ifndef CONFIG_NVMET_H
#define CONFIG_NVMET_H

#include "config/config.h"

#define NVMET_JSON_MAX (16 << 20) /* bytes; one with 50,000 namespaces has that */

/**
 * nvmet_import() - a model from what nvmetcli wrote.
 * @name:  the file's, for errors of the JSON as such; those of its content have the path in it as
 *         config_diag.file ("subsystems[0].namespaces[1].nsid") and no line. So has the model's
 *         `where`.
 * @text:  @len bytes, and one more that is 0.
 * @notes: takes one line for each thing that is left out, "PATH: left out: why".
 * @ret:   the model, valid as by config_load() and to be given to config_free(); untouched on
 *         failure.
 *
 * Return: 0, or -EINVAL, -ENOMEM with @diag filled.
 */
__attribute__((warn_unused_result)) int nvmet_import(const char *name, const char *text, size_t len,
						     FILE *notes, struct config **ret,
						     struct config_diag *diag);

/**
 * nvmet_export() - write @c to @out as nvmetcli would, secrets too, and to @notes one line for each
 * setting that the kernel's target cannot hold. Nothing that a host may not see becomes visible:
 * a namespace that is not for all hosts of its subsystem is written as not enabled.
 *
 * Return: 0 or -ENOMEM.
 */
__attribute__((warn_unused_result)) int nvmet_export(const struct config *c, FILE *out,
						     FILE *notes);

/** nvmet_print_keys() - what becomes of each key of nvmetcli's, as a table in Markdown. */
void nvmet_print_keys(FILE *out);

#endif
