/*
 * nvmet_read: nvmetcli's JSON, one object after the other. Inside config/ only.
 *
 * All functions that return int return 0, or -EINVAL or -ENOMEM with the diag filled. Paths live in
 * the model's arena, as its `where` has them; other texts until the import is over.
 */
#ifndef CONFIG_NVMET_READ_H
#define CONFIG_NVMET_READ_H

#include "config/nvmet_keys.h"

#include <stdio.h>

struct json_object;

struct nvmet_reader {
	struct config *c;
	struct json_object *root;
	void *scratch;
	FILE *notes;
	struct config_diag *diag;
	struct nvmet_source *ports; /* of the model's ports, in their order */
};

/* What a port of the model was made of. */
struct nvmet_source {
	const char *path;
	struct json_object *json;
	uint32_t max_transfer; /* by its mdts, 0: not given */
};

/* An object in the file, and where. */
struct nvmet_item {
	struct json_object *json;
	const char *path;
};

/** nvmet_join() / nvmet_at() - "PATH.NAME", "PATH[I]". NULL: no memory. */
const char *nvmet_join(struct nvmet_reader *m, const char *path, const char *name);
const char *nvmet_at(struct nvmet_reader *m, const char *path, size_t i);

/** nvmet_note() - a line for the user: "PATH: DONE: ...", @done is "left out", "changed", ... */
__attribute__((format(printf, 4, 5))) void nvmet_note(struct nvmet_reader *m, const char *path,
						      const char *done, const char *fmt, ...);

/** nvmet_nomem() - Return: -ENOMEM. */
int nvmet_nomem(struct nvmet_reader *m);

/**
 * nvmet_get_text() - the text, number or boolean at @name in @in, whose parts are separated by
 * dots, as text without blanks around it. *@ret is NULL if there is none, it is null or empty.
 */
int nvmet_get_text(struct nvmet_reader *m, const struct nvmet_item *in, const char *name,
		   const char **ret);

/** nvmet_get_list() - the list @name in @in; *@ret_n is 0 if there is none. */
int nvmet_get_list(struct nvmet_reader *m, const struct nvmet_item *in, const char *name,
		   struct nvmet_item *ret, size_t *ret_n);

/** nvmet_get_object() / nvmet_get_string() - element @i of a list. */
int nvmet_get_object(struct nvmet_reader *m, const struct nvmet_item *list, size_t i,
		     struct nvmet_item *ret);
int nvmet_get_string(struct nvmet_reader *m, const struct nvmet_item *list, size_t i,
		     const char **ret);

/** nvmet_start() - defaults and `where` for a new object of the model. */
void nvmet_start(enum nvmet_object o, const struct nvmet_item *in, void *obj);

/**
 * nvmet_take_keys() - give @obj what @in has by the table, but for rows that code looks after; note
 * what has no equal and what is unknown.
 */
int nvmet_take_keys(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
		    void *obj);

/** nvmet_set() - give @obj the value @text for the row @k. */
int nvmet_set(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
	      const struct nvmet_key *k, const char *text, void *obj);

/** nvmet_wrong_type() - @v at @path is not what is wanted. Return: -EINVAL. */
int nvmet_wrong_type(struct nvmet_reader *m, const char *path, struct json_object *v,
		     const char *want);

/** nvmet_missing() - @in lacks @k. Return: -EINVAL. */
int nvmet_missing(struct nvmet_reader *m, enum nvmet_object o, const struct nvmet_item *in,
		  const struct nvmet_key *k);

/** nvmet_is_enabled() / nvmet_is_rdma() - shall it be taken? If not, there is a note. */
int nvmet_is_enabled(struct nvmet_reader *m, const struct nvmet_item *in, bool *ret);
int nvmet_is_rdma(struct nvmet_reader *m, const struct nvmet_item *in, bool *ret);

/** nvmet_check_family() - does addr.adrfam, if it is set, fit the address? */
int nvmet_check_family(struct nvmet_reader *m, const struct nvmet_item *in, const char *address);

#endif
