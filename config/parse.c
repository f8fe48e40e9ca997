#include "config/parse.h"

#include "config/arena.h"
#include "config/diag.h"
#include "config/keys.h"
#include "config/scan.h"
#include "config/text.h"

#include <errno.h>
#include <libconfig.h>
#include <string.h>

struct parse {
	struct config *c;
	const char *file;
	const char *text;
	bool main;
	void *scratch; /* until parse_text() returns */
	struct config_diag *diag;
};

/* One setting of the file, and the row and field it belongs to. */
struct slot {
	const struct group *group;
	const struct key *key;
	const config_setting_t *setting;
	void *obj;
};

static int parse_group(struct parse *p, const struct group *g, const config_setting_t *s,
		       void *obj);

/* See fix_lines(). */
static unsigned int line_of(const config_setting_t *s)
{
	const unsigned int *line = config_setting_get_hook(s);

	return line ? *line : (unsigned int)config_setting_source_line(s);
}

/*
 * libconfig gives a text in a list the line of the token after it, because its parser looks there
 * for a second text to join. Hang the right line on each; every text of the file is there, in its
 * order.
 */
static void fix_lines(config_setting_t *s, const struct scan_strings *strings, size_t *next)
{
	if (config_setting_type(s) == CONFIG_TYPE_STRING && *next < strings->n) {
		if (!config_setting_name(s))
			config_setting_set_hook(s, &strings->lines[*next]);
		(*next)++;
	} else if (config_setting_is_aggregate(s)) {
		for (int i = 0; i < config_setting_length(s); i++)
			fix_lines(config_setting_get_elem(s, (unsigned int)i), strings, next);
	}
}

static int fix_allowed(struct parse *p, const struct key *k)
{
	return diag_fix(p->diag, "allowed: %s (%s)", allowed(k).text, k->help);
}

/* What stands there, for a person. */
static struct quoted value_of(const struct slot *t, const config_setting_t *s)
{
	struct quoted q = { "something else" };

	if (t->key->type == KEY_SECRET)
		return q;
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
		snprintf(q.text, sizeof(q.text), "the integer %d", config_setting_get_int(s));
		break;
	case CONFIG_TYPE_INT64:
		snprintf(q.text, sizeof(q.text), "the integer %lld", config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		snprintf(q.text, sizeof(q.text), "the fraction %g", config_setting_get_float(s));
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(q.text, sizeof(q.text), "%s",
			 config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_STRING:
		snprintf(q.text, sizeof(q.text), "the text \"%.*s\"", QUOTED_MAX - 16,
			 quote(config_setting_get_string(s)).text);
		break;
	case CONFIG_TYPE_GROUP:
		snprintf(q.text, sizeof(q.text), "a group { }");
		break;
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		snprintf(q.text, sizeof(q.text), "a list");
		break;
	default:
		snprintf(q.text, sizeof(q.text), "nothing");
	}
	return q;
}

static int wrong_type(struct parse *p, const struct slot *t, const config_setting_t *s)
{
	diag_what(p->diag, p->file, line_of(s), "%s key \"%s\" %s %s", t->group->name, t->key->name,
		  s == t->setting ? "is" : "holds", value_of(t, s).text);
	return fix_allowed(p, t->key);
}

static int wrong_number(struct parse *p, const struct slot *t, const config_setting_t *s,
			long long value)
{
	diag_what(p->diag, p->file, line_of(s), "%s key \"%s\" %s %lld, which is out of range",
		  t->group->name, t->key->name, s == t->setting ? "is" : "holds", value);
	return fix_allowed(p, t->key);
}

static int wrong_text(struct parse *p, const struct slot *t, const config_setting_t *s,
		      const char *why)
{
	if (t->key->type == KEY_SECRET) {
		diag_what(p->diag, p->file, line_of(s), "%s key \"%s\": %s", t->group->name,
			  t->key->name, why);
		return fix_allowed(p, t->key);
	}
	diag_what(p->diag, p->file, line_of(s), "%s key \"%s\" %s \"%s\": %s", t->group->name,
		  t->key->name, s == t->setting ? "is" : "holds",
		  quote(config_setting_get_string(s)).text, why);
	return fix_allowed(p, t->key);
}

static int get_number(struct parse *p, const struct slot *t, const config_setting_t *s,
		      long long min, long long max, long long *ret)
{
	int type = config_setting_type(s);

	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
		return wrong_type(p, t, s);

	long long value =
		type == CONFIG_TYPE_INT ? config_setting_get_int(s) : config_setting_get_int64(s);

	if (value < min || value > max)
		return wrong_number(p, t, s, value);
	*ret = value;
	return 0;
}

/* A text that satisfies its row, copied into the model. */
static int get_text(struct parse *p, const struct slot *t, const config_setting_t *s,
		    const char **ret)
{
	const struct key *k = t->key;

	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		return wrong_type(p, t, s);

	const char *text = config_setting_get_string(s);
	size_t len = strlen(text), max = k->type == KEY_TEXTS ? CONFIG_NQN_MAX : k->max;

	if (len == 0)
		return wrong_text(p, t, s, "it is empty");
	if (len < k->min)
		return wrong_text(p, t, s, "it is too short");
	if (len > max) {
		char why[48];

		snprintf(why, sizeof(why), "it is longer than %zu bytes", max);
		return wrong_text(p, t, s, why);
	}

	const char *why = k->wrong ? k->wrong(text) : NULL;

	if (why)
		return wrong_text(p, t, s, why);
	*ret = arena_printf(&p->c->arena, "%s", text);
	return *ret ? 0 : diag_nomem(p->diag, p->file);
}

static void set_pointer(const struct slot *t, const void *pointer)
{
	memcpy((char *)t->obj + t->key->off, &pointer, sizeof(pointer));
}

static void *get_pointer(const struct slot *t)
{
	void *pointer;

	memcpy(&pointer, (char *)t->obj + t->key->off, sizeof(pointer));
	return pointer;
}

static int parse_int(struct parse *p, const struct slot *t)
{
	long long value = 0;
	int err = get_number(p, t, t->setting, (long long)t->key->min, (long long)t->key->max,
			     &value);

	if (!err)
		key_set_number(t->key, t->obj, (uint64_t)value);
	return err;
}

static int parse_size(struct parse *p, const struct slot *t)
{
	const struct key *k = t->key;
	const config_setting_t *s = t->setting;
	uint64_t value;

	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		return wrong_type(p, t, s);
	if (!size_parse(config_setting_get_string(s), &value))
		return wrong_text(p, t, s,
				  "it is not a number of bytes with K, M, G, T or no unit");
	if (value < k->min || value > k->max)
		return wrong_text(p, t, s, "it is out of range");
	if (k->pow2 && (value & (value - 1)))
		return wrong_text(p, t, s, "it is not a power of two");
	if (k->multiple && value % k->multiple)
		return wrong_text(p, t, s, "it is not a multiple of what it counts in");
	key_set_number(k, t->obj, value);
	return 0;
}

static int parse_bool(struct parse *p, const struct slot *t)
{
	if (config_setting_type(t->setting) != CONFIG_TYPE_BOOL)
		return wrong_type(p, t, t->setting);
	key_set_number(t->key, t->obj, config_setting_get_bool(t->setting) ? 1 : 0);
	return 0;
}

static int parse_string(struct parse *p, const struct slot *t)
{
	const char *text = NULL;
	int err = get_text(p, t, t->setting, &text);

	if (!err)
		set_pointer(t, text);
	return err;
}

/* libconfig frees its copy without wiping it. */
static int parse_secret(struct parse *p, const struct slot *t)
{
	int err = parse_string(p, t);
	const char *text = config_setting_get_string(t->setting);

	if (text)
		explicit_bzero((char *)(uintptr_t)text, strlen(text));
	return err;
}

static int parse_service(struct parse *p, const struct slot *t)
{
	const config_setting_t *s = t->setting;
	long long min = (long long)t->key->min, max = (long long)t->key->max, value = 0;

	if (config_setting_type(s) == CONFIG_TYPE_STRING) {
		const char *text = config_setting_get_string(s);
		size_t len = strlen(text);

		if (len < 1 || strspn(text, "0123456789") != len)
			return wrong_text(p, t, s, "it is not a port number");
		for (size_t i = 0; i < len && value <= max; i++)
			value = value * 10 + text[i] - '0';
		if (value < min || value > max)
			return wrong_text(p, t, s, "it is out of range");
	} else {
		int err = get_number(p, t, s, min, max, &value);

		if (err)
			return err;
	}

	const char *service = arena_printf(&p->c->arena, "%lld", value);

	if (!service)
		return diag_nomem(p->diag, p->file);
	set_pointer(t, service);
	return 0;
}

static int get_choice(struct parse *p, const struct slot *t, const config_setting_t *s,
		      unsigned int *ret)
{
	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		return wrong_type(p, t, s);
	for (unsigned int i = 0; t->key->choices[i]; i++) {
		if (strcmp(config_setting_get_string(s), t->key->choices[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return wrong_text(p, t, s, "there is no such choice");
}

static int parse_choice(struct parse *p, const struct slot *t)
{
	unsigned int value = 0;
	int err = get_choice(p, t, t->setting, &value);

	if (!err)
		key_set_number(t->key, t->obj, value);
	return err;
}

static int parse_uuid(struct parse *p, const struct slot *t)
{
	static const uint8_t nil[16];
	const config_setting_t *s = t->setting;
	uint8_t *uuid = (uint8_t *)t->obj + t->key->off;

	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		return wrong_type(p, t, s);
	if (!text_uuid(config_setting_get_string(s), uuid))
		return wrong_text(p, t, s, "it is not a UUID");
	if (memcmp(uuid, nil, sizeof(nil)) == 0)
		return wrong_text(p, t, s, "it is the nil UUID, which means none");
	memcpy((char *)t->obj + t->key->off2, &(bool){ true }, sizeof(bool));
	return 0;
}

/* The elements of a list: its setting is one, and as many as its row takes. */
static int count_elements(struct parse *p, const struct slot *t, size_t *ret)
{
	const config_setting_t *s = t->setting;

	if (!config_setting_is_list(s) && !config_setting_is_array(s))
		return wrong_type(p, t, s);

	size_t n = (size_t)config_setting_length(s);

	if (n < t->key->min || n > t->key->max) {
		diag_what(p->diag, p->file, line_of(s), "%s key \"%s\" has %zu elements",
			  t->group->name, t->key->name, n);
		if (n == 0)
			return diag_fix(p->diag, "leave it out, or give %s (%s)",
					allowed(t->key).text, t->key->help);
		return diag_fix(p->diag, "at most %llu", (unsigned long long)t->key->max);
	}
	*ret = n;
	return 0;
}

static size_t *list_count(const struct slot *t)
{
	return (size_t *)(void *)((char *)t->obj + t->key->off2);
}

static int parse_texts(struct parse *p, const struct slot *t)
{
	size_t n = 0;
	int err = count_elements(p, t, &n);

	if (err)
		return err;

	const char **texts = arena_alloc(&p->c->arena, n, sizeof(*texts));

	if (!texts)
		return diag_nomem(p->diag, p->file);
	for (size_t i = 0; i < n && !err; i++)
		err = get_text(p, t, config_setting_get_elem(t->setting, (unsigned int)i),
			       &texts[i]);
	set_pointer(t, texts);
	*list_count(t) = n;
	return err;
}

static int parse_choices(struct parse *p, const struct slot *t)
{
	size_t n = 0;
	int err = count_elements(p, t, &n);

	if (err)
		return err;

	uint8_t *values = arena_alloc(&p->c->arena, n, sizeof(*values));

	if (!values)
		return diag_nomem(p->diag, p->file);
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(t->setting, (unsigned int)i);
		unsigned int value = 0;

		err = get_choice(p, t, s, &value);
		if (err)
			return err;
		if (memchr(values, (int)value, i))
			return wrong_text(p, t, s, "it is there twice");
		values[i] = (uint8_t)value;
	}
	set_pointer(t, values);
	*list_count(t) = n;
	return 0;
}

static int parse_port_ids(struct parse *p, const struct slot *t)
{
	size_t n = 0;
	int err = count_elements(p, t, &n);

	if (err)
		return err;

	uint16_t *ids = arena_alloc(&p->c->arena, n, sizeof(*ids));

	if (!ids)
		return diag_nomem(p->diag, p->file);
	for (size_t i = 0; i < n && !err; i++) {
		long long id = 0;

		err = get_number(p, t, config_setting_get_elem(t->setting, (unsigned int)i), 1,
				 UINT16_MAX, &id);
		ids[i] = (uint16_t)id;
	}
	set_pointer(t, ids);
	*list_count(t) = n;
	return err;
}

static int parse_subgroup(struct parse *p, const struct slot *t)
{
	if (!config_setting_is_group(t->setting))
		return wrong_type(p, t, t->setting);
	return parse_group(p, t->key->group, t->setting, t->obj);
}

static int parse_element(struct parse *p, const struct slot *t, const config_setting_t *s,
			 void *obj)
{
	struct config_where where = { p->file, line_of(s) };

	if (!config_setting_is_group(s))
		return wrong_type(p, t, s);
	key_defaults(t->key->group, obj);
	memcpy(obj, &where, sizeof(where));
	return parse_group(p, t->key->group, s, obj);
}

/* Adds to what earlier files gave. */
static int parse_groups(struct parse *p, const struct slot *t)
{
	size_t size = t->key->group->size, have = *list_count(t), n = 0;
	int err = count_elements(p, t, &n);

	if (err || n == 0)
		return err;

	char *all = arena_alloc(&p->c->arena, have + n, size);

	if (!all)
		return diag_nomem(p->diag, p->file);
	if (have)
		memcpy(all, get_pointer(t), have * size);
	for (size_t i = 0; i < n && !err; i++)
		err = parse_element(p, t, config_setting_get_elem(t->setting, (unsigned int)i),
				    all + (have + i) * size);
	set_pointer(t, all);
	*list_count(t) = have + n;
	return err;
}

static int (*const parsers[KEY_NTYPES])(struct parse *, const struct slot *) = {
	[KEY_INT] = parse_int,           [KEY_SIZE] = parse_size,
	[KEY_BOOL] = parse_bool,         [KEY_TEXT] = parse_string,
	[KEY_SERVICE] = parse_service,   [KEY_CHOICE] = parse_choice,
	[KEY_UUID] = parse_uuid,         [KEY_TEXTS] = parse_texts,
	[KEY_SECRET] = parse_secret,     [KEY_CHOICES] = parse_choices,
	[KEY_PORT_IDS] = parse_port_ids, [KEY_GROUP] = parse_subgroup,
	[KEY_GROUPS] = parse_groups,
};

static int fix_known_keys(struct parse *p, const struct group *g)
{
	char list[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < g->nkeys && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "",
				      g->keys[i].name);
	return diag_fix(p->diag, "known here: %s", list);
}

static int unknown_key(struct parse *p, const struct group *g, const config_setting_t *s)
{
	const char *name = config_setting_name(s);
	const struct key *nearest = key_nearest(g, name);

	diag_what(p->diag, p->file, line_of(s), "%s key \"%s\" is unknown", g->name,
		  quote(name).text);
	if (nearest)
		return diag_fix(p->diag, "did you mean \"%s\"?", nearest->name);
	return fix_known_keys(p, g);
}

static int parse_key(struct parse *p, const struct group *g, const config_setting_t *s, void *obj)
{
	struct slot t = { g, key_find(g, config_setting_name(s)), s, obj };

	if (!t.key)
		return unknown_key(p, g, s);
	if (t.key->main_only && !p->main) {
		diag_what(p->diag, p->file, line_of(s), "%s key \"%s\" stands in exports.d",
			  g->name, t.key->name);
		return diag_fix(p->diag, "move it to the main file");
	}
	if (g->lines)
		((unsigned int *)(void *)((char *)obj + g->lines))[t.key - g->keys] = line_of(s);
	return parsers[t.key->type](p, &t);
}

static int parse_group(struct parse *p, const struct group *g, const config_setting_t *s, void *obj)
{
	for (int i = 0; i < config_setting_length(s); i++) {
		int err = parse_key(p, g, config_setting_get_elem(s, (unsigned int)i), obj);

		if (err)
			return err;
	}
	for (size_t i = 0; i < g->nkeys; i++) {
		const struct key *k = &g->keys[i];

		if (k->required && !config_setting_get_member(s, k->name)) {
			diag_what(p->diag, p->file, line_of(s), "this %s has no \"%s\"", g->name,
				  k->name);
			return diag_fix(p->diag, "add it: %s (%s)", allowed(k).text, k->help);
		}
	}
	return 0;
}

/* The line of the file that starts at @text, without the space around it. */
static struct quoted quote_line(const char *text, unsigned int line)
{
	char copy[2 * QUOTED_MAX];

	for (; line > 1 && *text; line--) {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	text += strspn(text, " \t");
	snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(text, "\r\n"), text);

	/* a key of our form quote() would see; one that is mistyped is still nobody's to read */
	char *secret = strstr(copy, "dhchap_"), *value = secret ? strpbrk(secret, "=:") : NULL;

	if (value)
		strlcpy(value + 1, " ...", sizeof(copy) - (size_t)(value + 1 - copy));

	struct quoted q = quote(copy);

	explicit_bzero(copy, sizeof(copy));
	return q;
}

static int syntax_error(struct parse *p, const config_t *file)
{
	const char *why = config_error_text(file) ? config_error_text(file) : "syntax error";
	unsigned int line = (unsigned int)config_error_line(file);
	struct quoted read = quote_line(p->text, line);

	if (strcmp(why, "duplicate setting name") == 0) {
		diag_what(p->diag, p->file, line, "a key is given twice in one group: %s",
			  read.text);
		return diag_fix(p->diag, "remove one of the two");
	}
	diag_what(p->diag, p->file, line, "%s at: %s", why, read.text[0] ? read.text : "the end");
	return diag_fix(p->diag, "look here and just before for a missing = , \" or bracket");
}

/* libconfig frees its copies of texts as they are, and some are keys. (Its scanner's are beyond our
 * reach; a key in a file of its own never comes here.) */
static void wipe_texts(config_setting_t *s)
{
	if (config_setting_type(s) == CONFIG_TYPE_STRING) {
		const char *text = config_setting_get_string(s);

		explicit_bzero((char *)(uintptr_t)text, strlen(text));
	} else if (config_setting_is_aggregate(s)) {
		for (int i = 0; i < config_setting_length(s); i++)
			wipe_texts(config_setting_get_elem(s, (unsigned int)i));
	}
}

static int parse_config(struct parse *p, config_t *file, const struct scan_strings *strings)
{
	size_t next = 0;

	if (config_read_string(file, p->text) != CONFIG_TRUE)
		return syntax_error(p, file);
	fix_lines(config_root_setting(file), strings, &next);
	return parse_group(p, &group_file, config_root_setting(file), p->c);
}

int parse_text(struct config *c, const char *file, const char *text, size_t len, bool main,
	       struct config_diag *diag)
{
	struct parse p = { .c = c, .file = file, .text = text, .main = main, .diag = diag };
	struct scan_strings strings;
	config_t libconfig;
	int err = scan_text(file, text, len, &p.scratch, &strings, diag);

	if (!err) {
		config_init(&libconfig);
		err = parse_config(&p, &libconfig, &strings);
		wipe_texts(config_root_setting(&libconfig));
		config_destroy(&libconfig);
	}
	arena_free(&p.scratch);
	return err;
}
