/* What could come next on the command line: for target/ctl/nvmf-p2pctl.bash-completion. */
#include "target/ctl/ctl.h"

#include <string.h>

static void offer(const char *word, const char *prefix)
{
	if (strncmp(word, prefix, strlen(prefix)) != 0)
		return;
	print_text(word, stdout);
	putchar('\n');
}

static void offer_option(const char *name, const char *prefix)
{
	char word[64];

	snprintf(word, sizeof(word), "--%s", name);
	for (char *c = word; *c; c++)
		if (*c == '_')
			*c = '-';
	offer(word, prefix);
}

/* What the daemon, if it answers, has of that kind. */
static void offer_words(const struct ctl *ctl, enum verb_words words, const char *prefix)
{
	static const struct {
		enum verb_id verb;
		const char *key;
	} sources[] = {
		[WORDS_SUBSYSTEMS] = { VERB_SUBSYSTEMS, "subsystem" },
		[WORDS_HOSTS] = { VERB_HOSTS, "host" },
		[WORDS_PORTS] = { VERB_PORTS, "port" },
		[WORDS_CONTROLLERS] = { VERB_CONTROLLERS, "controller" },
	};
	struct json_object *result;

	if (words == WORDS_NONE || words == WORDS_FILES ||
	    ctl_ask(ctl, &verbs[sources[words].verb], NULL, true, &result) != CTL_OK)
		return;
	for (size_t i = 0; i < json_object_array_length(result); i++)
		offer(json_text(json_object_array_get_idx(result, i), sources[words].key), prefix);
	json_object_put(result);
}

static void offer_values(const struct ctl *ctl, const struct verb_arg *a, const char *prefix)
{
	if (a->type == ARG_CHOICE)
		for (size_t i = 0; a->choices[i]; i++)
			offer(a->choices[i], prefix);
	offer_words(ctl, a->words, prefix);
}

static const struct ctl_option *own_option(const char *word)
{
	for (size_t i = 0; i < ctl_noptions; i++)
		if ((word[0] == '-' && word[1] == ctl_options[i].letter && !word[2]) ||
		    (strncmp(word, "--", 2) == 0 && strcmp(word + 2, ctl_options[i].name) == 0))
			return &ctl_options[i];
	return NULL;
}

static const struct verb_arg *arg_option(const struct verb *v, const char *word)
{
	for (size_t i = 0; i < v->nargs && strncmp(word, "--", 2) == 0; i++) {
		const char *a = v->args[i].name, *b = word + 2;

		while (*a && (*a == *b || (*a == '_' && *b == '-'))) {
			a++;
			b++;
		}
		if (!*a && !*b)
			return &v->args[i];
	}
	return NULL;
}

/* Where on the line the last word is. */
struct place {
	const struct ctl_command *command; /* NULL: not said yet */
	const struct ctl_option *option;   /* it is this one's value */
	const struct verb_arg *arg;        /* or this one's */
	unsigned int npositional;          /* before it */
};

static void find_place(struct ctl *ctl, struct place *p, int nwords, char **words)
{
	for (int i = 0; i + 1 < nwords; i++) {
		const struct ctl_option *o = own_option(words[i]);
		const struct verb_arg *a =
			p->command ? arg_option(p->command->verb, words[i]) : NULL;

		if (o && o->value && i + 2 == nwords)
			p->option = o;
		else if (o && o->value && o->letter == 's')
			ctl->socket = words[++i];
		else if (o)
			i += o->value != NULL;
		else if (a && a->type != ARG_FLAG && i + 2 == nwords)
			p->arg = a;
		else if (a)
			i += a->type != ARG_FLAG;
		else if (!p->command)
			p->command = ctl_find(words[i]);
		else
			p->npositional++;
	}
	if (!p->command || p->arg || p->option)
		return;

	const struct verb *v = p->command->verb;

	for (size_t i = 0, n = 0; i < v->nargs; i++)
		if (v->args[i].positional && n++ == p->npositional)
			p->arg = &v->args[i];
}

static void offer_options(const struct place *p, const char *prefix)
{
	for (size_t i = 0; i < ctl_noptions; i++)
		offer_option(ctl_options[i].name, prefix);
	for (size_t i = 0; p->command && i < p->command->verb->nargs; i++)
		if (!p->command->verb->args[i].positional)
			offer_option(p->command->verb->args[i].name, prefix);
}

void ctl_complete(const struct ctl *ctl, int nwords, char **words)
{
	const char *prefix = nwords > 0 ? words[nwords - 1] : "";
	struct ctl here = *ctl;
	struct place p = { 0 };

	find_place(&here, &p, nwords, words);
	if (p.option) {
		for (size_t i = 1; p.option->letter == 'o' && ctl_formats[i]; i++)
			offer(ctl_formats[i], prefix);
		return;
	}
	if (prefix[0] == '-')
		offer_options(&p, prefix);
	else if (p.arg && strcmp(p.arg->name, "of") == 0)
		for (size_t i = 0; i < ctl_ncommands; i++)
			offer(ctl_commands[i].verb->name, prefix);
	else if (p.arg)
		offer_values(&here, p.arg, prefix);
	else if (!p.command)
		for (size_t i = 0; i < ctl_ncommands; i++)
			offer(ctl_commands[i].verb->name, prefix);
}
