/*
 * nvmet_keys: the keys of nvmetcli's JSON, one row each: our key of the same meaning, or why there
 * is none. Inside config/ only. Both directions and the documentation walk this table.
 *
 * Source: Linux 7.2 drivers/nvme/target/configfs.c (the writable attributes, which nvmetcli saves
 * as "GROUP": { "NAME": ... }), nvmetcli 0.8 and later for the rest.
 */
#ifndef CONFIG_NVMET_KEYS_H
#define CONFIG_NVMET_KEYS_H

#include "config/keys.h"

enum nvmet_object {
	NVMET_ROOT,
	NVMET_HOST,
	NVMET_SUBSYSTEM,
	NVMET_NAMESPACE,
	NVMET_PASSTHRU,
	NVMET_PORT,
	NVMET_ANA_GROUP,
	NVMET_REFERRAL,
};
#define NVMET_NOBJECTS (NVMET_REFERRAL + 1)

#define NVMET_TEXT_MAX 128 /* of a converted value, with its NUL */

/*
 * A value in its other form, for one that is written differently there and here. What has not the
 * form expected is passed on as it is: the row of our key refuses it.
 */
typedef void nvmet_convert(const char *in, char out[NVMET_TEXT_MAX]);

struct nvmet_key {
	const char *name;         /* within its object: "attr.serial" */
	const char *key;          /* ours; NULL: none */
	const char *why;          /* no equal: why; else what to know about it, or NULL */
	const char *same;         /* values, by '|', that mean what we do without being told */
	const char *fixed;        /* what is exported, always the same; NULL: the value of @key */
	const char *dflt;         /* the kernel's, where ours is another; NULL: take ours */
	const char *unset;        /* what is exported if @key has no value; NULL: nothing */
	nvmet_convert *to, *from; /* ours, and back; NULL: the same text */
	bool number;              /* nvmetcli writes a number */
	bool required;
	bool code; /* code looks after it: lists, and what decides whether an object is taken */
};

struct nvmet_keys {
	const char *path; /* "subsystems[].namespaces[]" */
	const struct nvmet_key *keys;
	size_t nkeys;
};

extern const struct nvmet_keys nvmet_keys[NVMET_NOBJECTS];

/** nvmet_key_find() - the row called @name, or NULL. */
const struct nvmet_key *nvmet_key_find(enum nvmet_object o, const char *name);

/** nvmet_group() - the keys that objects of kind @o become. */
const struct group *nvmet_group(enum nvmet_object o);

/** nvmet_in() - is @text one of the words of @words, which '|' separates? @words may be NULL. */
bool nvmet_in(const char *words, const char *text);

/**
 * nvmet_no_equal() - why the kernel's target cannot hold our key @k of @g; NULL: it can.
 */
const char *nvmet_no_equal(const struct group *g, const struct key *k);

#endif
