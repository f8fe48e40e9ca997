/* nvmf-p2pctl: its command line. */
#include "target/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct line {
	struct ctl ctl;
	const char *command;
	bool help, version, complete;
	char **words; /* after the command, without the tool's own options */
	int nwords;
};

static int usage(const char *what, const char *word)
{
	fprintf(stderr, "nvmf-p2pctl: %s", what);
	print_text(word, stderr);
	fputs("\nTry 'nvmf-p2pctl --help'.\n", stderr);
	return CTL_USAGE;
}

static int set_format(struct line *l, const char *word)
{
	for (size_t i = 0; ctl_formats[i]; i++)
		if (strcmp(ctl_formats[i], word) == 0) {
			l->ctl.format = (enum ctl_format)i;
			return CTL_OK;
		}
	return usage("--output takes table, list or json, not ", word);
}

static int apply(struct line *l, char letter, const char *value)
{
	if (letter == 's')
		l->ctl.socket = value;
	else if (letter == 'o')
		return set_format(l, value);
	else if (letter == 'h')
		l->help = true;
	else
		l->version = true;
	return CTL_OK;
}

/* An option of the tool's own, "-o json", "-ojson", "--output json", "--output=json"; *@ret_value:
 * what is in the same word. */
static const struct ctl_option *find_option(const char *word, const char **ret_value)
{
	*ret_value = NULL;
	for (size_t i = 0; i < ctl_noptions; i++) {
		const struct ctl_option *o = &ctl_options[i];
		size_t len = strlen(o->name);

		if (word[0] == '-' && word[1] == o->letter) {
			*ret_value = word[2] ? word + 2 : NULL;
			return o;
		}
		if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, o->name, len) == 0 &&
		    (word[2 + len] == '\0' || word[2 + len] == '=')) {
			*ret_value = word[2 + len] ? word + 3 + len : NULL;
			return o;
		}
	}
	return NULL;
}

/* The tool's options may stand anywhere before "--". */
static int parse_line(struct line *l, int argc, char **argv)
{
	bool over = false;
	int code = CTL_OK;

	for (int i = 1; i < argc && code == CTL_OK; i++) {
		const char *value;
		const struct ctl_option *o = over ? NULL : find_option(argv[i], &value);

		over |= strcmp(argv[i], "--") == 0;
		if (o && !o->value && value) {
			code = usage("this option takes no value: ", argv[i]);
		} else if (o && o->value && !value && i + 1 == argc) {
			code = usage("this option needs a value: ", argv[i]);
		} else if (o) {
			code = apply(l, o->letter, o->value && !value ? argv[++i] : value);
		} else if (!l->command && argv[i][0] == '-') {
			code = usage("there is no option ", argv[i]);
		} else if (!l->command) {
			l->command = argv[i];
		} else {
			l->words[l->nwords++] = argv[i];
		}
	}
	return code;
}

static bool wants_colour(void)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 && !(no && *no);
}

static int run_line(const struct line *l)
{
	const struct ctl_command *command = l->command ? ctl_find(l->command) : NULL;
	struct json_object *args = NULL;
	int code;

	if (l->version) {
		puts("nvmf-p2pctl " NVMF_P2PD_VERSION);
		return CTL_OK;
	}
	if (l->command && !command)
		return usage("there is no command ", l->command);
	if (l->help) {
		ctl_print_help(command, stdout);
		return CTL_OK;
	}
	if (!command)
		return usage("a command is needed", "");
	code = ctl_parse(command->verb, l->nwords, l->words, &args);
	if (code == CTL_OK)
		code = ctl_run(&l->ctl, command, args);
	json_object_put(args);
	return code;
}

int main(int argc, char **argv)
{
	struct line l = { .ctl = { .socket = CTL_DEFAULT_SOCKET, .colour = wants_colour() } };
	int code;

	(void)prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L); /* nvmet-import reads keys */
	l.words = calloc((size_t)argc + 1, sizeof(l.words[0]));
	if (!l.words)
		return CTL_REFUSED;
	/* for the shell's completion, not for people: what stands before and the word itself */
	if (argc > 1 && strcmp(argv[1], "--complete") == 0) {
		ctl_complete(&l.ctl, argc - 2, argv + 2);
		code = CTL_OK;
	} else {
		code = parse_line(&l, argc, argv);
		if (code == CTL_OK)
			code = run_line(&l);
	}
	free(l.words);
	if (fflush(stdout) == EOF && code == CTL_OK) {
		perror("nvmf-p2pctl: writing");
		code = CTL_REFUSED;
	}
	return code;
}
