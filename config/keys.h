/*
 * keys: what may stand in an export file, one row per key. Inside config/ only.
 *
 * Reading, checking and printing all walk these tables; a new key is a row here and a field in
 * config.h. Rows are immutable.
 */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "config/config.h"

enum key_type {
	KEY_INT,      /* an integer */
	KEY_SIZE,     /* text, a number of bytes with a unit: libconfig 1.5 wraps large integers */
	KEY_BOOL,     /* true or false */
	KEY_TEXT,     /* text */
	KEY_SERVICE,  /* a port number, as text or integer; kept as text */
	KEY_SECRET,   /* text that is not shown to anybody */
	KEY_CHOICE,   /* text, one of several words; kept as their index */
	KEY_CHOICES,  /* a list of such words, each once, best first; kept as uint8_t */
	KEY_UUID,     /* text */
	KEY_TEXTS,    /* a list of texts */
	KEY_PORT_IDS, /* a list of integers */
	KEY_GROUP,    /* a group whose keys are fields of the same struct */
	KEY_GROUPS,   /* a list of groups, one struct each */
};
#define KEY_NTYPES (KEY_GROUPS + 1)

/* What a reload makes of a change. */
enum key_reload {
	RELOAD_RESTART, /* it is refused: that takes a restart */
	RELOAD_NEW,     /* holds for controllers and connections to come */
	RELOAD_NOW,     /* in force at once */
};

struct group;

struct key {
	const char *name;
	const char *help;
	const char *unit; /* of integers; NULL: none. Sizes are bytes. */
	enum key_type type;
	enum key_reload reload;
	bool required;
	bool main_only;                         /* in the main file only */
	bool pow2;                              /* sizes: powers of two only */
	uint64_t min, max;                      /* of the value; texts: bytes; lists: elements */
	uint64_t multiple;                      /* sizes: of what; 0: any */
	uint64_t dflt;                          /* numbers, choices, booleans */
	const char *dflt_text;                  /* texts; NULL: none */
	const char *form;                       /* texts: what is allowed, for people */
	const char *(*wrong)(const char *text); /* texts: NULL, or why @text is refused */
	const char *const *choices;             /* ends with NULL */
	const struct group *group;
	size_t off, size; /* the field; of lists, the pointer */
	size_t off2;      /* lists: their size_t count; uuid: its bool */
};

struct group {
	const char *name;
	const struct key *keys;
	size_t nkeys;
	size_t size;  /* of the struct the keys are fields of */
	size_t lines; /* where in it the lines are that the keys stand on; 0: they are not kept */
};

/* The top level of a file, its struct is struct config. Structs in lists start with a `where`. */
extern const struct group group_file;
extern const struct group group_daemon;

/** key_find() - the row called @name, or NULL. */
const struct key *key_find(const struct group *g, const char *name);

/** key_nearest() - the row somebody probably meant by @name, or NULL. */
const struct key *key_nearest(const struct group *g, const char *name);

/** key_number() / key_set_number() - the integer field of @k in @obj, whatever its width. */
uint64_t key_number(const struct key *k, const void *obj);
void key_set_number(const struct key *k, void *obj, uint64_t value);

/** key_is_default() - has the field of @k in @obj its default, or nothing? */
bool key_is_default(const struct key *k, const void *obj);

/** key_default() - give each field of @g in @obj its default. */
void key_defaults(const struct group *g, void *obj);

/** size_print() / size_parse() - "64K". size_parse() returns false on anything else. */
struct size_text {
	char text[24];
} size_print(uint64_t bytes);
bool size_parse(const char *text, uint64_t *ret);

/** allowed() - "16..1024 entries" and the like: what row @k takes. */
struct allowed_text {
	char text[192];
} allowed(const struct key *k);

#endif
