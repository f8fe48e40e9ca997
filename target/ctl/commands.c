/* The tool's commands, and what is made of the command line. */
#include "target/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- commands that are done here ---------------------------------------------------------------
 *
 * A new one: its arguments, its row in local[], its row in ctl_commands[].
 */

/* clang-format off */
static const struct verb_arg top_args[] = {
	{ .name = "interval", .type = ARG_NUMBER, .min = 1, .max = 3600, .help = "seconds between two looks; 2" },
	{ .name = "count", .type = ARG_NUMBER, .min = 1, .max = UINT32_MAX, .help = "end after so many; on" },
};

static const struct verb_arg import_args[] = {
	{ .name = "file", .type = ARG_TEXT, .words = WORDS_FILES, .positional = true, .help = "what \"nvmetcli save\" wrote, /etc/nvmet/config.json; \"-\": standard input" },
	{ .name = "to", .type = ARG_TEXT, .words = WORDS_FILES, .help = "write this file, as a whole; standard output if left out. In a folder called exports.d, without the daemon's own settings" },
	{ .name = "force", .type = ARG_FLAG, .help = "replace the file if it is there; its owner and mode stay" },
	{ .name = "list_keys", .type = ARG_FLAG, .help = "show what becomes of each key, and do nothing" },
};

static const struct verb_arg export_args[] = {
	{ .name = "config", .type = ARG_TEXT, .words = WORDS_FILES, .help = "the main file; /etc/nvmf-p2pd/nvmf-p2pd.conf" },
};

enum { LOCAL_TOP, LOCAL_IMPORT_NVMET, LOCAL_EXPORT_NVMET };
static const struct verb local[] = {
	{ "top", "show rates of namespaces and of the memory their payload is staged in, again and again; q ends it",
	  false, top_args, COUNT(top_args) },
	{ "import-nvmet", "make an export file of the kernel target's configuration; what has no equal is named, with the reason",
	  false, import_args, COUNT(import_args) },
	{ "export-nvmet", "write the configuration as the kernel target's nvmetcli saves its own, keys of hosts too",
	  false, export_args, COUNT(export_args) },
};
/* clang-format on */

static int run_help(const struct ctl *ctl, struct json_object *args)
{
	const char *of = json_get(args, "of") ? json_text(args, "of") : NULL;
	const struct ctl_command *command = of ? ctl_find(of) : NULL;

	(void)ctl;
	if (of && !command) {
		fprintf(stderr, "nvmf-p2pctl: there is no command %s\n", of);
		return CTL_USAGE;
	}
	ctl_print_help(command, stdout);
	return CTL_OK;
}

const struct ctl_command ctl_commands[] = {
	{ &verbs[VERB_STATUS], .show = show_status },
	{ &verbs[VERB_PORTS], .show = show_ports },
	{ &verbs[VERB_SUBSYSTEMS], .show = show_subsystems },
	{ &verbs[VERB_NAMESPACES], .show = show_namespaces },
	{ &verbs[VERB_HOSTS], .show = show_hosts },
	{ &verbs[VERB_CONTROLLERS], .show = show_controllers },
	{ &verbs[VERB_QUEUES], .show = show_queues },
	{ &verbs[VERB_P2P], .show = show_p2p },
	{ &local[LOCAL_TOP], .run = ctl_top },
	{ &verbs[VERB_ANA], .show = show_ana },
	{ &verbs[VERB_DRAIN], .show = show_change },
	{ &verbs[VERB_UNDRAIN], .show = show_change },
	{ &verbs[VERB_DISCONNECT], .show = show_change },
	{ &verbs[VERB_ADD_NAMESPACE], .show = show_change },
	{ &verbs[VERB_REMOVE_NAMESPACE], .show = show_change },
	{ &verbs[VERB_RESIZE_NAMESPACE], .show = show_sizes },
	{ &verbs[VERB_PROVE], .show = show_p2p },
	{ &verbs[VERB_RELOAD], .show = show_change },
	{ &verbs[VERB_CONFIG], .show = show_config },
	{ &verbs[VERB_LOG_LEVEL], .show = show_change },
	{ &local[LOCAL_IMPORT_NVMET], .run = ctl_import_nvmet },
	{ &local[LOCAL_EXPORT_NVMET], .run = ctl_export_nvmet },
	{ &verbs[VERB_HELP], .run = run_help },
};
const size_t ctl_ncommands = COUNT(ctl_commands);

const char *const ctl_formats[] = { "auto", "table", "list", "json", NULL };

const struct ctl_option ctl_options[] = {
	{ 's', "socket", "PATH", "the daemon's control socket (" CTL_DEFAULT_SOCKET ")" },
	{ 'o', "output", "FORMAT", "table, list (one value a line), or json" },
	{ 'h', "help", NULL, "show this, or how a command is used" },
	{ 'V', "version", NULL, "show the version" },
};
const size_t ctl_noptions = COUNT(ctl_options);

const struct ctl_command *ctl_find(const char *name)
{
	for (size_t i = 0; i < ctl_ncommands; i++)
		if (strcmp(ctl_commands[i].verb->name, name) == 0)
			return &ctl_commands[i];
	return NULL;
}

/* ---- words to a request ------------------------------------------------------------------------
 */

static int wrong(const struct verb *v, const char *what, const char *word)
{
	fputs("nvmf-p2pctl: ", stderr);
	print_text(v->name, stderr);
	fprintf(stderr, ": %s", what);
	print_text(word, stderr);
	fprintf(stderr, "\nTry 'nvmf-p2pctl %s --help'.\n", v->name);
	return CTL_USAGE;
}

static bool is_choice(const struct verb_arg *a, const char *word)
{
	for (size_t i = 0; a->choices[i]; i++)
		if (strcmp(a->choices[i], word) == 0)
			return true;
	return false;
}

static bool is_text(const char *word)
{
	size_t len = strlen(word);

	if (len < 1 || len > VERB_TEXT_MAX)
		return false;
	for (; *word; word++)
		if ((unsigned char)*word < ' ' || *word == 0x7f)
			return false;
	return true;
}

/* NULL: it is not what @a takes. */
static struct json_object *value_of(const struct verb_arg *a, const char *word)
{
	uint64_t n;

	switch (a->type) {
	case ARG_TEXT:
		return is_text(word) ? json_object_new_string(word) : NULL;
	case ARG_CHOICE:
		return is_choice(a, word) ? json_object_new_string(word) : NULL;
	case ARG_NUMBER:
		return verb_number(a, word, &n) ? json_object_new_uint64(n) : NULL;
	case ARG_FLAG:
		return json_object_new_boolean(true);
	}
	return NULL;
}

static int set(const struct verb *v, const struct verb_arg *a, const char *word,
	       struct json_object *args)
{
	struct json_object *value = value_of(a, word);
	char form[192], what[256];

	if (!value) {
		snprintf(what, sizeof(what), "%s takes %s, not ", a->name,
			 verb_allowed(a, form, sizeof(form)));
		return wrong(v, what, word);
	}
	if (json_object_object_get_ex(args, a->name, NULL)) {
		json_object_put(value);
		return wrong(v, "given twice: ", a->name);
	}
	json_object_object_add(args, a->name, value);
	return CTL_OK;
}

/* The next positional one that is not given yet. */
static const struct verb_arg *next_positional(const struct verb *v, struct json_object *args)
{
	for (size_t i = 0; i < v->nargs; i++)
		if (v->args[i].positional &&
		    !json_object_object_get_ex(args, v->args[i].name, NULL))
			return &v->args[i];
	return NULL;
}

/* "ana-group" is the argument "ana_group". */
static const struct verb_arg *find_option(const struct verb *v, const char *name, size_t len)
{
	char text[64];

	snprintf(text, sizeof(text), "%.*s", (int)len, name);
	for (char *c = text; *c; c++)
		if (*c == '-')
			*c = '_';
	return verb_find_arg(v, text);
}

/* "--name value" or "--name=value"; *@at is the word's index, and then its value's. */
static int set_option(const struct verb *v, int *at, int nwords, char **words,
		      struct json_object *args)
{
	const char *name = words[*at] + 2;
	size_t len = strcspn(name, "=");
	const struct verb_arg *a = find_option(v, name, len);

	if (!a)
		return wrong(v, "there is no option ", words[*at]);
	if (a->type == ARG_FLAG)
		return name[len] ? wrong(v, "this option takes no value: ", words[*at])
				 : set(v, a, "", args);
	if (name[len])
		return set(v, a, name + len + 1, args);
	if (*at + 1 == nwords)
		return wrong(v, "this option needs a value: ", words[*at]);
	return set(v, a, words[++*at], args);
}

static int set_positional(const struct verb *v, const char *word, struct json_object *args)
{
	const struct verb_arg *a = next_positional(v, args);

	return a ? set(v, a, word, args) : wrong(v, "one word too many: ", word);
}

int ctl_parse(const struct verb *v, int nwords, char **words, struct json_object **ret_args)
{
	struct json_object *args = json_object_new_object();
	bool options_over = false;
	int code = CTL_OK;

	for (int i = 0; i < nwords && code == CTL_OK; i++) {
		if (!options_over && strcmp(words[i], "--") == 0)
			options_over = true;
		else if (!options_over && words[i][0] == '-' && words[i][1] == '-')
			code = set_option(v, &i, nwords, words, args);
		else if (!options_over && words[i][0] == '-' && words[i][1])
			code = wrong(v, "there is no option ", words[i]);
		else
			code = set_positional(v, words[i], args);
	}
	for (size_t i = 0; i < v->nargs && code == CTL_OK; i++)
		if (v->args[i].required && !json_object_object_get_ex(args, v->args[i].name, NULL))
			code = wrong(v, "this is missing: ", v->args[i].name);
	if (code == CTL_OK)
		*ret_args = args;
	else
		json_object_put(args);
	return code;
}

int ctl_run(const struct ctl *ctl, const struct ctl_command *command, struct json_object *args)
{
	struct json_object *result = NULL;
	int code;

	if (command->run)
		return command->run(ctl, args);
	code = ctl_ask(ctl, command->verb, args, false, &result);
	if (code != CTL_OK)
		return code;
	if (ctl->format == CTL_JSON)
		printf("%s\n", json_object_to_json_string_ext(
				       result, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
	else if (command->show)
		command->show(ctl, args, result);
	else
		list_print(result);
	json_object_put(result);
	return code;
}

/* ---- help --------------------------------------------------------------------------------------
 */

static void print_arg(const struct verb_arg *a, FILE *out)
{
	char left[64] = "", form[192];
	size_t at = 0;

	if (a->positional) {
		for (const char *c = a->name; *c && at + 1 < sizeof(left); c++)
			left[at++] = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
		left[at] = '\0';
	} else {
		snprintf(left, sizeof(left), "--%s", a->name);
		for (char *c = left + 2; *c; c++)
			if (*c == '_')
				*c = '-';
	}
	fprintf(out, "  %-14s %s", left, a->help);
	if (a->type == ARG_NUMBER || a->type == ARG_CHOICE)
		fprintf(out, " (%s)", verb_allowed(a, form, sizeof(form)));
	putc('\n', out);
}

static void print_command(const struct verb *v, FILE *out)
{
	char usage[512];

	fprintf(out, "Usage: nvmf-p2pctl [OPTION]... %s%s%s\n%c%s.\n", v->name, v->nargs ? " " : "",
		verb_usage(v, usage, sizeof(usage)), v->help[0] - 'a' + 'A', v->help + 1);
	if (v->changes)
		fputs("For root and the daemon's user.\n", out);
	putc('\n', out);
	for (size_t i = 0; i < v->nargs; i++)
		print_arg(&v->args[i], out);
}

static void print_options(FILE *out)
{
	char left[64];

	fputs("Options:\n", out);
	for (size_t i = 0; i < ctl_noptions; i++) {
		const struct ctl_option *o = &ctl_options[i];

		snprintf(left, sizeof(left), "-%c, --%s%s%s", o->letter, o->name,
			 o->value ? " " : "", o->value ? o->value : "");
		fprintf(out, "  %-22s %s\n", left, o->help);
	}
}

void ctl_print_help(const struct ctl_command *command, FILE *out)
{
	if (command) {
		print_command(command->verb, out);
		print_options(out);
		return;
	}
	fputs("Usage: nvmf-p2pctl [OPTION]... COMMAND [WORD]...\n"
	      "Ask the running nvmf-p2pd, or change what it does.\n\n",
	      out);
	print_options(out);
	fputs("\nCommands:\n", out);
	for (size_t i = 0; i < ctl_ncommands; i++)
		fprintf(out, "  %-18s %s\n", ctl_commands[i].verb->name,
			ctl_commands[i].verb->help);
	fputs("\n'nvmf-p2pctl COMMAND --help' says how a command is used.\n"
	      "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no daemon or no answer,\n"
	      "4 not permitted.\n",
	      out);
}
