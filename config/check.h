/*
 * check: what must hold between the parts of a model. Inside config/ only.
 */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/config.h"

/**
 * check_model() - uniqueness, references and completeness of a whole model; brings namespaces into
 * order and gives subsystems without ports all of them.
 * @file: the main file, to blame for what is missing.
 *
 * Return: 0; -EINVAL or -ENOMEM with @diag filled.
 */
__attribute__((warn_unused_result)) int check_model(struct config *c, const char *file,
						    struct config_diag *diag);

#endif
