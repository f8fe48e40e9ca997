/* The table of what can be asked, and what is made of its rows. */
#include "target/daemon/verbs.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define ARGS(a)   (a), COUNT(a)
#define NO_ARGS   NULL, 0
#define NSID_MAX  1024  /* CONFIG_NSID_MAX */
#define GROUP_MAX 128   /* CONFIG_ANA_GROUPS */
#define ID_MAX    65535 /* of ports, controllers, queues */

static const char *const ana_states[] = {
	"optimized", "non-optimized", "inaccessible", "persistent-loss", "change", NULL,
};
static const char *const cmb_policies[] = { "prefer", "require", "off", NULL };
static const char *const log_levels[] = { "error", "warning", "info", "debug", NULL };

#define SUBSYSTEM_ARG .name = "subsystem", .type = ARG_TEXT, .words = WORDS_SUBSYSTEMS
#define PORT_ARG      .name = "port", .type = ARG_NUMBER, .words = WORDS_PORTS, .max = ID_MAX
#define HOST_ARG      .name = "host", .type = ARG_TEXT, .words = WORDS_HOSTS
#define NSID_ARG      .name = "nsid", .type = ARG_NUMBER, .min = 1, .max = NSID_MAX
#define CONTROLLER_ARG                                                                             \
	.name = "controller", .type = ARG_NUMBER, .words = WORDS_CONTROLLERS, .max = ID_MAX

/* clang-format off */
static const struct verb_arg help_args[] = {
	{ .name = "of", .type = ARG_TEXT, .positional = true, .help = "this command only" },
};

static const struct verb_arg port_args[] = {
	{ PORT_ARG, .positional = true, .help = "this port only" },
};

static const struct verb_arg subsystem_args[] = {
	{ SUBSYSTEM_ARG, .positional = true, .help = "this subsystem only, by its NQN" },
};

static const struct verb_arg namespace_args[] = {
	{ SUBSYSTEM_ARG, .positional = true, .help = "those of this subsystem" },
	{ NSID_ARG, .positional = true, .help = "this namespace only" },
};

static const struct verb_arg host_args[] = {
	{ HOST_ARG, .positional = true, .help = "this host only, by its NQN" },
};

static const struct verb_arg controller_args[] = {
	{ CONTROLLER_ARG, .positional = true, .help = "this one only, by its controller ID" },
	{ SUBSYSTEM_ARG, .help = "those of this subsystem" },
	{ HOST_ARG, .help = "those of this host" },
};

static const struct verb_arg queue_args[] = {
	{ CONTROLLER_ARG, .positional = true, .help = "those of this controller" },
	{ .name = "queue", .type = ARG_NUMBER, .max = ID_MAX, .positional = true,
	  .help = "this queue of it only; 0 is the admin queue" },
};

static const struct verb_arg ana_args[] = {
	{ SUBSYSTEM_ARG, .positional = true, .help = "whose groups" },
	{ PORT_ARG, .positional = true, .help = "through this port" },
	{ .name = "group", .type = ARG_NUMBER, .min = 1, .max = GROUP_MAX, .positional = true, .changes = true,
	  .help = "set the state of this one" },
	{ .name = "state", .type = ARG_CHOICE, .choices = ana_states, .positional = true, .changes = true,
	  .help = "to this" },
};

static const struct verb_arg add_args[] = {
	{ SUBSYSTEM_ARG, .required = true, .positional = true, .help = "where it is added" },
	{ .name = "device", .type = ARG_TEXT, .words = WORDS_FILES, .required = true, .positional = true,
	  .help = "a block device or a file, by its absolute path" },
	{ NSID_ARG, .help = "its namespace ID; the lowest that is free" },
	{ .name = "cmb", .type = ARG_CHOICE, .choices = cmb_policies, .help = "what its payload is staged in; prefer" },
	{ .name = "uuid", .type = ARG_TEXT, .help = "its UUID; derived from the subsystem and the ID" },
	{ .name = "ana_group", .type = ARG_NUMBER, .min = 1, .max = GROUP_MAX, .help = "its ANA group; 1" },
	{ .name = "polled", .type = ARG_FLAG, .help = "use the drive's polled queues" },
};

static const struct verb_arg remove_args[] = {
	{ SUBSYSTEM_ARG, .required = true, .positional = true, .help = "where it is" },
	{ NSID_ARG, .required = true, .positional = true, .help = "its namespace ID" },
};

static const struct verb_arg resize_args[] = {
	{ SUBSYSTEM_ARG, .positional = true, .help = "those of this subsystem; all" },
	{ NSID_ARG, .positional = true, .help = "this one" },
};

static const struct verb_arg disconnect_args[] = {
	{ HOST_ARG, .positional = true, .help = "all controllers of this host" },
	{ CONTROLLER_ARG, .help = "this controller" },
	{ SUBSYSTEM_ARG, .help = "only those of this subsystem" },
};

static const struct verb_arg drain_args[] = {
	{ SUBSYSTEM_ARG, .positional = true, .help = "this subsystem; all" },
	{ PORT_ARG, .help = "through this port; all" },
};

static const struct verb_arg log_args[] = {
	{ .name = "level", .type = ARG_CHOICE, .choices = log_levels, .positional = true, .changes = true,
	  .help = "set it, until the daemon ends" },
};

const struct verb verbs[VERB_COUNT] = {
	[VERB_HELP] = { "help", "show what can be asked", false, ARGS(help_args) },
	[VERB_STATUS] = { "status", "show how the daemon is, and how much it has to do", false, NO_ARGS },
	[VERB_PORTS] = { "ports", "show where it listens", false, ARGS(port_args) },
	[VERB_SUBSYSTEMS] = { "subsystems", "show what it exports", false, ARGS(subsystem_args) },
	[VERB_NAMESPACES] = { "namespaces", "show namespaces, their devices, and what was read and written through which memory",
		false, ARGS(namespace_args) },
	[VERB_HOSTS] = { "hosts", "show hosts that are connected, or that the configuration names", false, ARGS(host_args) },
	[VERB_CONTROLLERS] = { "controllers", "show the controllers that hosts have", false, ARGS(controller_args) },
	[VERB_QUEUES] = { "queues", "show queue pairs and how busy they are", false, ARGS(queue_args) },
	[VERB_P2P] = { "p2p", "show the paths between CMBs, RNICs and drives, what was proved of them, and where payload was staged",
		false, NO_ARGS },
	[VERB_CONFIG] = { "config", "print the configuration in effect as an export file, without keys", false, NO_ARGS },
	[VERB_ANA] = { "ana", "show how namespaces are reached through the ports, or set the state of an ANA group",
		false, ARGS(ana_args) },
	[VERB_ADD_NAMESPACE] = { "add-namespace", "export one more device, until the next reload or restart", true, ARGS(add_args) },
	[VERB_REMOVE_NAMESPACE] = { "remove-namespace", "export one device less, until the next reload or restart",
		true, ARGS(remove_args) },
	[VERB_RESIZE_NAMESPACE] = { "resize-namespace", "look again at the size of the devices, and tell the hosts what changed",
		true, ARGS(resize_args) },
	[VERB_DISCONNECT] = { "disconnect", "end the connections of a host or a controller; it may connect again",
		true, ARGS(disconnect_args) },
	[VERB_DRAIN] = { "drain", "have hosts use other paths, and wait until nothing is in flight here", true, ARGS(drain_args) },
	[VERB_UNDRAIN] = { "undrain", "let hosts come back after drain", true, ARGS(drain_args) },
	[VERB_PROVE] = { "prove", "prove every path again", true, NO_ARGS },
	[VERB_RELOAD] = { "reload", "read the configuration again and apply it, all or nothing", true, NO_ARGS },
	[VERB_LOG_LEVEL] = { "log-level", "show how much is logged, or set it", false, ARGS(log_args) },
};
/* clang-format on */

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

const struct verb_arg *verb_find_arg(const struct verb *v, const char *name)
{
	for (size_t i = 0; i < v->nargs; i++)
		if (strcmp(v->args[i].name, name) == 0)
			return &v->args[i];
	return NULL;
}

/* Text that grows within a buffer and is cut at its end. */
struct text {
	char *buf;
	size_t len, used;
};

__attribute__((format(printf, 2, 3))) static void append(struct text *t, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->buf + t->used, t->len - t->used, fmt, args);
	va_end(args);
	t->used += n < 0 ? 0 : (size_t)n;
	if (t->used >= t->len)
		t->used = t->len - 1;
}

static void append_choices(struct text *t, const struct verb_arg *a)
{
	for (size_t i = 0; a->choices[i]; i++)
		append(t, "%s%s", i ? "|" : "", a->choices[i]);
}

static void append_placeholder(struct text *t, const char *name)
{
	for (; *name; name++)
		append(t, "%c", toupper((unsigned char)*name));
}

/* On the command line words are joined by hyphens. */
static void append_option(struct text *t, const char *name)
{
	for (; *name; name++)
		append(t, "%c", *name == '_' ? '-' : *name);
}

/* Positional ones that are not required nest: who gives the second gives the first. */
const char *verb_usage(const struct verb *v, char *buf, size_t len)
{
	struct text t = { buf, len, 0 };
	unsigned int nopen = 0;

	*buf = '\0';
	for (size_t i = 0; i < v->nargs; i++) {
		const struct verb_arg *a = &v->args[i];

		if (!a->positional)
			continue;
		append(&t, "%s%s", t.used ? " " : "", a->required ? "" : "[");
		append_placeholder(&t, a->name);
		nopen += !a->required;
	}
	while (nopen--)
		append(&t, "]");
	for (size_t i = 0; i < v->nargs; i++) {
		const struct verb_arg *a = &v->args[i];

		if (a->positional)
			continue;
		append(&t, "%s[--", t.used ? " " : "");
		append_option(&t, a->name);
		if (a->type == ARG_CHOICE) {
			append(&t, " ");
			append_choices(&t, a);
		} else if (a->type != ARG_FLAG) {
			append(&t, " ");
			append_placeholder(&t, a->type == ARG_NUMBER ? "n" : a->name);
		}
		append(&t, "]");
	}
	return buf;
}

const char *verb_allowed(const struct verb_arg *a, char *buf, size_t len)
{
	struct text t = { buf, len, 0 };

	switch (a->type) {
	case ARG_TEXT:
		append(&t, "a text of 1..%d bytes without control characters", VERB_TEXT_MAX);
		break;
	case ARG_NUMBER:
		append(&t, "a number, %" PRIu64 "..%" PRIu64, a->min, a->max);
		break;
	case ARG_FLAG:
		append(&t, "true or false");
		break;
	case ARG_CHOICE:
		append(&t, "one of ");
		append_choices(&t, a);
		break;
	}
	return buf;
}

bool verb_number(const struct verb_arg *a, const char *text, uint64_t *ret)
{
	char *end;
	uint64_t n;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n < a->min || n > a->max)
		return false;
	*ret = n;
	return true;
}
