#include "config/set.h"

#include "config/arena.h"
#include "config/diag.h"
#include "config/text.h"

#include <assert.h>
#include <string.h>

struct set {
	struct config *c;
	const struct key *key;
	void *obj;
	const char *place, *text;
	struct config_diag *diag;
};

static int wrong(const struct set *s, const char *why)
{
	if (s->key->type == KEY_SECRET)
		diag_what(s->diag, s->place, 0, "%s", why);
	else
		diag_what(s->diag, s->place, 0, "is \"%s\": %s", quote(s->text).text, why);
	return diag_fix(s->diag, "allowed: %s (%s)", allowed(s->key).text, s->key->help);
}

static int nomem(const struct set *s)
{
	return diag_nomem(s->diag, s->place);
}

static int get_number(const struct set *s, uint64_t *ret)
{
	size_t len = strlen(s->text);
	uint64_t value = 0;

	if (s->text[0] == '-' && len > 1 && strspn(s->text + 1, "0123456789") == len - 1)
		return wrong(s, "it is out of range");
	if (len < 1 || strspn(s->text, "0123456789") != len)
		return wrong(s, "it is not a number");
	for (const char *c = s->text; *c; c++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
			return wrong(s, "it is out of range");
	if (value < s->key->min || value > s->key->max)
		return wrong(s, "it is out of range");
	*ret = value;
	return 0;
}

static int set_number(const struct set *s)
{
	uint64_t value = 0;
	int err = get_number(s, &value);

	if (err)
		return err;
	if (s->key->pow2 && (value & (value - 1)))
		return wrong(s, "it is not a power of two");
	if (s->key->multiple && value % s->key->multiple)
		return wrong(s, "it is not a multiple as wanted");
	key_set_number(s->key, s->obj, value);
	return 0;
}

static int set_bool(const struct set *s)
{
	if (strcmp(s->text, "0") != 0 && strcmp(s->text, "1") != 0)
		return wrong(s, "it is neither 0 nor 1");
	key_set_number(s->key, s->obj, s->text[0] == '1');
	return 0;
}

static int set_pointer(const struct set *s, const void *pointer)
{
	if (!pointer)
		return nomem(s);
	memcpy((char *)s->obj + s->key->off, &pointer, sizeof(pointer));
	return 0;
}

static int set_service(const struct set *s)
{
	uint64_t value = 0;
	int err = get_number(s, &value);

	return err ? err
		   : set_pointer(s, arena_printf(&s->c->arena, "%llu", (unsigned long long)value));
}

static int check_text(const struct set *s)
{
	const struct key *k = s->key;
	size_t len = strlen(s->text), max = k->type == KEY_TEXTS ? CONFIG_NQN_MAX : k->max;
	const char *why = k->wrong && len ? k->wrong(s->text) : NULL;

	if (len == 0)
		return wrong(s, "it is empty");
	if (k->type != KEY_TEXTS && len < k->min)
		return wrong(s, "it is too short");
	if (len > max) {
		char longer[48];

		snprintf(longer, sizeof(longer), "it is longer than %zu bytes", max);
		return wrong(s, longer);
	}
	return why ? wrong(s, why) : 0;
}

static int set_string(const struct set *s)
{
	int err = check_text(s);

	return err ? err : set_pointer(s, arena_printf(&s->c->arena, "%s", s->text));
}

static int set_uuid(const struct set *s)
{
	static const uint8_t nil[16];
	uint8_t *uuid = (uint8_t *)s->obj + s->key->off;

	if (!text_uuid(s->text, uuid))
		return wrong(s, "it is not a UUID");
	if (memcmp(uuid, nil, sizeof(nil)) == 0)
		return wrong(s, "it is the nil UUID, which means none");
	memcpy((char *)s->obj + s->key->off2, &(bool){ true }, sizeof(bool));
	return 0;
}

static int get_choice(const struct set *s, uint8_t *ret)
{
	for (uint8_t i = 0; s->key->choices[i]; i++) {
		if (strcmp(s->text, s->key->choices[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return wrong(s, "there is no such choice");
}

static int set_choice(const struct set *s)
{
	uint8_t value = 0;
	int err = get_choice(s, &value);

	if (!err)
		key_set_number(s->key, s->obj, value);
	return err;
}

static int set_choices(const struct set *s)
{
	const size_t one = 1;
	uint8_t value = 0, *values;
	int err = get_choice(s, &value);

	if (err)
		return err;
	values = arena_alloc(&s->c->arena, 1, sizeof(*values));
	if (values)
		*values = value;
	memcpy((char *)s->obj + s->key->off2, &one, sizeof(one));
	return set_pointer(s, values);
}

int set_text(struct config *c, const struct key *k, void *obj, const char *place, const char *text,
	     struct config_diag *diag)
{
	const struct set s = { c, k, obj, place, text, diag };

	switch (k->type) {
	case KEY_INT:
	case KEY_SIZE:
		return set_number(&s);
	case KEY_BOOL:
		return set_bool(&s);
	case KEY_TEXT:
	case KEY_SECRET:
		return set_string(&s);
	case KEY_SERVICE:
		return set_service(&s);
	case KEY_CHOICE:
		return set_choice(&s);
	case KEY_CHOICES:
		return set_choices(&s);
	case KEY_UUID:
		return set_uuid(&s);
	case KEY_TEXTS:
	case KEY_PORT_IDS:
	case KEY_GROUP:
	case KEY_GROUPS:
		break;
	}
	assert(!"a key of this type has no single text");
	return diag_nomem(diag, place);
}

int set_check_text(const struct key *k, const char *place, const char *text,
		   struct config_diag *diag)
{
	const struct set s = { NULL, k, NULL, place, text, diag };

	return check_text(&s);
}
