/* From a request's line to its verb, and from the verb's result to the answer's line. */
#include "config/diag.h"
#include "target/daemon/control.h"
#include "target/daemon/control_call.h"
#include "target/core.h"
#include "target/daemon/daemon.h"
#include "target/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static int (*const functions[VERB_COUNT])(struct control_call *call) = {
	[VERB_HELP] = control_help,
	[VERB_STATUS] = control_status,
	[VERB_PORTS] = control_ports,
	[VERB_SUBSYSTEMS] = control_subsystems,
	[VERB_NAMESPACES] = control_namespaces,
	[VERB_HOSTS] = control_hosts,
	[VERB_CONTROLLERS] = control_controllers,
	[VERB_QUEUES] = control_queues,
	[VERB_P2P] = control_p2p,
	[VERB_CONFIG] = control_config,
	[VERB_ANA] = control_ana,
	[VERB_ADD_NAMESPACE] = control_add_namespace,
	[VERB_REMOVE_NAMESPACE] = control_remove_namespace,
	[VERB_RESIZE_NAMESPACE] = control_resize_namespace,
	[VERB_DISCONNECT] = control_disconnect,
	[VERB_DRAIN] = control_drain,
	[VERB_UNDRAIN] = control_undrain,
	[VERB_PROVE] = control_prove,
	[VERB_RELOAD] = control_reload,
	[VERB_LOG_LEVEL] = control_log_level,
};

/* ---- requests ----------------------------------------------------------------------------------
 */

int control_refuse(struct control_call *call, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(call->why, sizeof(call->why), fmt, args);
	va_end(args);
	return err;
}

/* A carriage return and a tab are JSON's white space. */
static bool is_plain(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\r' && line[i] != '\t')
			return false;
	return true;
}

#define FORM "a request is one JSON object a line, as in {\"command\":\"status\"}"

static int parse_json(struct control_call *call, const char *line, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(CONTROL_DEPTH_MAX);
	enum json_tokener_error err;
	struct json_object *o;
	size_t end;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, line, (int)len);
	err = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	while (o && end < len && strchr(" \t\r", line[end]))
		end++;
	if (err == json_tokener_success && end == len && json_object_is_type(o, json_type_object)) {
		call->args = o;
		return 0;
	}
	json_object_put(o);
	if (err == json_tokener_success && end == len)
		return control_refuse(call, -EINVAL, "this is no object; " FORM);
	if (err == json_tokener_continue)
		return control_refuse(call, -EINVAL, "the object has no end; " FORM);
	return control_refuse(call, -EINVAL, "no JSON, at byte %zu: %s; " FORM, end + 1,
			      err == json_tokener_success ? "there is more than one object"
							  : json_tokener_error_desc(err));
}

/* No control characters, which JSON can write as \u001b: it may come to a log or a terminal. */
static bool is_good_text(struct json_object *value)
{
	const char *text = json_object_get_string(value);
	size_t len = (size_t)json_object_get_string_len(value);

	if (len < 1 || len > VERB_TEXT_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return false;
	return true;
}

static bool is_choice(const struct verb_arg *a, struct json_object *value)
{
	const char *text = json_object_get_string(value);

	for (size_t i = 0; a->choices[i]; i++)
		if (strcmp(text, a->choices[i]) == 0)
			return true;
	return false;
}

/* json-c keeps what is beyond 64 bits as the largest there is. */
static bool is_number(const struct verb_arg *a, struct json_object *value)
{
	return json_object_get_int64(value) >= 0 && json_object_get_uint64(value) >= a->min &&
	       json_object_get_uint64(value) <= a->max;
}

static bool is_right(const struct verb_arg *a, struct json_object *value)
{
	switch (a->type) {
	case ARG_TEXT:
		return json_object_is_type(value, json_type_string) && is_good_text(value);
	case ARG_CHOICE:
		return json_object_is_type(value, json_type_string) && is_good_text(value) &&
		       is_choice(a, value);
	case ARG_NUMBER:
		return json_object_is_type(value, json_type_int) && is_number(a, value);
	case ARG_FLAG:
		return json_object_is_type(value, json_type_boolean);
	}
	return false;
}

static int refuse_unknown(struct control_call *call, const char *name)
{
	char known[256] = "";
	size_t at = 0;

	for (size_t i = 0; i < call->verb->nargs && at < sizeof(known); i++)
		at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "",
				       call->verb->args[i].name);
	return control_refuse(call, -EINVAL, "%s has no argument %s; it has %s", call->verb->name,
			      quote(name).text, known[0] ? known : "none");
}

static int check_args(struct control_call *call)
{
	const struct verb *v = call->verb;
	char form[160];

	json_object_object_foreach(call->args, name, value)
	{
		const struct verb_arg *a = verb_find_arg(v, name);

		if (strcmp(name, "command") == 0)
			continue;
		if (!a)
			return refuse_unknown(call, name);
		if (!is_right(a, value))
			return control_refuse(call, -EINVAL, "%s: \"%s\" is %s; it takes %s",
					      v->name, a->name,
					      quote(json_object_to_json_string(value)).text,
					      verb_allowed(a, form, sizeof(form)));
		if (a->changes && !call->may_change)
			return control_refuse(
				call, -EPERM,
				"%s with \"%s\" changes something: only root and the daemon's user may",
				v->name, a->name);
	}
	for (size_t i = 0; i < v->nargs; i++)
		if (v->args[i].required &&
		    !json_object_object_get_ex(call->args, v->args[i].name, NULL))
			return control_refuse(call, -EINVAL, "%s needs \"%s\", %s", v->name,
					      v->args[i].name,
					      verb_allowed(&v->args[i], form, sizeof(form)));
	return 0;
}

int control_parse(struct control_call *call, const char *line, size_t len)
{
	struct json_object *command;
	int err;

	if (!is_plain(line, len))
		return control_refuse(call, -EINVAL, "the request holds control characters; " FORM);
	err = parse_json(call, line, len);
	if (err)
		return err;
	if (!json_object_object_get_ex(call->args, "command", &command) ||
	    !json_object_is_type(command, json_type_string) || !is_good_text(command))
		return control_refuse(call, -EINVAL, "\"command\" is missing or no string; " FORM);
	call->verb = verb_find(json_object_get_string(command));
	if (!call->verb)
		return control_refuse(call, -EINVAL,
				      "unknown command %s; \"help\" shows what there is",
				      quote(json_object_get_string(command)).text);
	if (call->verb->changes && !call->may_change)
		return control_refuse(call, -EPERM,
				      "%s changes something: only root and the daemon's user may",
				      call->verb->name);
	return check_args(call);
}

int control_run(struct control_call *call)
{
	return functions[call->verb - verbs](call);
}

/* ---- arguments ---------------------------------------------------------------------------------
 */

static struct json_object *argument(const struct control_call *call, const char *name)
{
	struct json_object *value = NULL;

	(void)json_object_object_get_ex(call->args, name, &value);
	return value;
}

const char *control_text(const struct control_call *call, const char *name)
{
	struct json_object *value = argument(call, name);

	return value ? json_object_get_string(value) : NULL;
}

bool control_number(const struct control_call *call, const char *name, uint64_t *ret)
{
	struct json_object *value = argument(call, name);

	if (value)
		*ret = json_object_get_uint64(value);
	return value;
}

bool control_flag(const struct control_call *call, const char *name)
{
	return json_object_get_boolean(argument(call, name));
}

int control_find_subsystem(struct control_call *call, struct subsystem **ret_s)
{
	const char *nqn = control_text(call, "subsystem");

	*ret_s = nqn ? subsystem_find(call->daemon->target, nqn) : NULL;
	if (!nqn || (*ret_s && !(*ret_s)->discovery))
		return 0;
	return control_refuse(call, -ENOENT, "no subsystem %s; `nvmf-p2pctl subsystems` lists them",
			      quote(nqn).text);
}

int control_find_namespace(struct control_call *call, struct subsystem **ret_s,
			   struct namespace **ret_ns)
{
	uint64_t nsid;
	int err = control_find_subsystem(call, ret_s);

	*ret_ns = NULL;
	if (err || !control_number(call, "nsid", &nsid))
		return err;
	if (!*ret_s)
		return control_refuse(call, -EINVAL, "\"nsid\" needs \"subsystem\" too");
	*ret_ns = subsystem_namespace(*ret_s, (uint32_t)nsid);
	if (*ret_ns)
		return 0;
	return control_refuse(call, -ENOENT,
			      "no namespace %" PRIu64
			      " in %s; `nvmf-p2pctl namespaces %s` lists them",
			      nsid, (*ret_s)->nqn, (*ret_s)->nqn);
}

int control_find_port(struct control_call *call, bool *ret_given, uint16_t *ret_port)
{
	const struct config *conf = call->daemon->conf;
	uint64_t id;

	*ret_given = control_number(call, "port", &id);
	if (!*ret_given)
		return 0;
	for (size_t i = 0; i < conf->nports; i++)
		if (conf->ports[i].id == id) {
			*ret_port = (uint16_t)id;
			return 0;
		}
	return control_refuse(call, -ENOENT, "no port %" PRIu64 "; `nvmf-p2pctl ports` lists them",
			      id);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void put_error(struct json_object *o, const struct control_call *call, int err)
{
	struct json_object *e = put_object(o, "error");
	const char *name = strerrorname_np(-err);

	put_text(e, "errno", name ? name : "EIO");
	put_text(e, "message", call->why[0] ? call->why : strerror(-err));
}

/* Something of the result that is being made had no memory; whoever asked must not take the rest
 * for all. */
static bool incomplete;

static struct json_object *make_answer(struct control_call *call, int err)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	if (!err && incomplete)
		err = control_refuse(
			call, -ENOMEM,
			"no memory for the answer; if a change was asked for, it is done");
	put_bool(o, "ok", !err);
	if (err) {
		put_error(o, call, err);
	} else {
		(void)put_value(o, "result",
				call->result ? call->result : json_object_new_object());
		call->result = NULL; /* it is the answer's */
	}
	return o;
}

char *control_answer(struct control_call *call, int err, size_t *ret_len)
{
	struct json_object *o = make_answer(call, err);
	const char *text =
		o ? json_object_to_json_string_length(
			    o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, ret_len)
		  : NULL;
	char *line = NULL;

	incomplete = false;
	if (text && *ret_len >= CONTROL_ANSWER_MAX) {
		json_object_put(o);
		return control_answer(
			call,
			control_refuse(call, -EMSGSIZE,
				       "the answer has more than %u bytes: ask for less, "
				       "such as one subsystem or controller",
				       CONTROL_ANSWER_MAX),
			ret_len);
	}
	if (text)
		line = malloc(*ret_len + 1);
	if (line) {
		memcpy(line, text, *ret_len);
		line[(*ret_len)++] = '\n';
	}
	json_object_put(o);
	return line;
}

void control_call_free(struct control_call *call)
{
	if (!call)
		return;
	json_object_put(call->args);
	json_object_put(call->result);
	free(call);
}

/* ---- making results ----------------------------------------------------------------------------
 */

/* As JSON wants it, whatever a host sent. */
static struct json_object *new_text(const char *text)
{
	size_t len = strlen(text), i = 0;
	char *copy = malloc(len + 1);
	struct json_object *o;

	if (!copy)
		return NULL;
	memcpy(copy, text, len + 1);
	while (i < len) {
		size_t n = utf8_len(copy + i);

		if (n == 0)
			copy[i] = '?';
		i += n ? n : 1;
	}
	o = json_object_new_string(copy);
	free(copy);
	return o;
}

/* json-c asserts that there is an object or array to put it in, and leaves @value to us when it has
 * no memory. */
struct json_object *put_value(struct json_object *o, const char *key, struct json_object *value)
{
	if (o && json_object_object_add(o, key, value) == 0)
		return value;
	json_object_put(value);
	incomplete = true;
	return NULL;
}

struct json_object *add_value(struct json_object *array, struct json_object *value)
{
	if (array && value && json_object_array_add(array, value) == 0)
		return value;
	json_object_put(value);
	incomplete = true;
	return NULL;
}

/* NULL would be JSON's null. */
static struct json_object *made(struct json_object *value)
{
	incomplete |= !value;
	return value;
}

void put_text(struct json_object *o, const char *key, const char *text)
{
	(void)put_value(o, key, text ? made(new_text(text)) : NULL);
}

void put_number(struct json_object *o, const char *key, uint64_t n)
{
	(void)put_value(o, key, made(json_object_new_uint64(n)));
}

void put_bool(struct json_object *o, const char *key, bool value)
{
	(void)put_value(o, key, made(json_object_new_boolean(value)));
}

struct json_object *put_array(struct json_object *o, const char *key)
{
	return put_value(o, key, made(json_object_new_array()));
}

struct json_object *put_object(struct json_object *o, const char *key)
{
	return put_value(o, key, made(json_object_new_object()));
}

struct json_object *add_object(struct json_object *array)
{
	return add_value(array, json_object_new_object());
}

void add_text(struct json_object *array, const char *text)
{
	(void)add_value(array, new_text(text));
}

void add_number(struct json_object *array, uint64_t n)
{
	(void)add_value(array, json_object_new_uint64(n));
}

/* ---- help --------------------------------------------------------------------------------------
 */

static void describe_arg(struct json_object *o, const struct verb_arg *a)
{
	char form[160];

	put_text(o, "name", a->name);
	put_text(o, "takes", verb_allowed(a, form, sizeof(form)));
	put_bool(o, "required", a->required);
	put_text(o, "help", a->help);
}

static void describe(struct json_object *o, const struct verb *v)
{
	struct json_object *args;
	bool changes = v->changes;

	put_text(o, "command", v->name);
	for (size_t i = 0; i < v->nargs; i++)
		changes |= v->args[i].changes;
	put_text(o, "access", v->changes ? "change" : changes ? "read, change" : "read");
	put_text(o, "help", v->help);
	args = put_array(o, "arguments");
	for (size_t i = 0; i < v->nargs; i++)
		describe_arg(add_object(args), &v->args[i]);
}

int control_help(struct control_call *call)
{
	const char *of = control_text(call, "of");
	const struct verb *v = of ? verb_find(of) : NULL;

	if (of && !v)
		return control_refuse(call, -ENOENT, "unknown command %s", quote(of).text);
	call->result = json_object_new_array();
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (!v || v == &verbs[i])
			describe(add_object(call->result), &verbs[i]);
	return 0;
}
