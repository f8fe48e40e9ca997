/* Which columns an answer has. */
#include "target/ctl/ctl.h"

#include <inttypes.h>
#include <string.h>

#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))
#define TABLE(a)     (a), COUNT(a)
#define UNUSED(name) ((void)(name))

/* One that was named is shown with all there is. */
static bool in_full(const struct ctl *ctl, struct json_object *args, const char *key)
{
	return ctl->format == CTL_LIST || (ctl->format == CTL_AUTO && json_get(args, key));
}

static void show_either(const struct ctl *ctl, struct json_object *args, const char *key,
			struct json_object *result, const struct column *columns, size_t n)
{
	if (in_full(ctl, args, key))
		list_print(result);
	else
		table_print(ctl, result, columns, n);
}

static void print_duration(uint64_t s)
{
	if (s >= 86400)
		printf("%" PRIu64 " d ", s / 86400);
	printf("%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "\n", s / 3600 % 24, s / 60 % 60, s % 60);
}

static void note(struct json_object *result)
{
	if (!json_get(result, "note"))
		return;
	fputs("note: ", stdout);
	print_text(json_text(result, "note"), stdout);
	putchar('\n');
}

static void line(const char *title, struct json_object *o, const char *key)
{
	printf("%-12s ", title);
	print_text(json_text(o, key), stdout);
	putchar('\n');
}

void show_status(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column drained[] = {
		{ "DRAINED", "subsystem", COLUMN_TEXT },
		{ "PORT", "port", COLUMN_NUMBER },
	};
	struct json_object *list = json_get(result, "drained");

	UNUSED(args);
	if (ctl->format == CTL_LIST) {
		list_print(result);
		return;
	}
	line("version", result, "version");
	line("state", result, "state");
	if (json_get(result, "status"))
		line("", result, "status");
	printf("%-12s ", "uptime");
	print_duration(json_object_get_uint64(json_get(result, "uptime_s")));
	line("pid", result, "pid");
	line("config", result, "config");
	line("log level", result, "log_level");
	line("reactors", result, "reactors");
	line("CMBs", result, "cmbs");
	printf("%-12s %s, %s listening\n", "ports", json_text(result, "ports"),
	       json_text(result, "ports_listening"));
	line("subsystems", result, "subsystems");
	printf("%-12s %s, %s without their device\n", "namespaces", json_text(result, "namespaces"),
	       json_text(result, "namespaces_lost"));
	line("controllers", result, "controllers");
	line("queues", result, "queues");
	if (list && json_object_array_length(list))
		table_print(ctl, list, TABLE(drained));
}

void show_ports(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "PORT", "port", COLUMN_NUMBER },
		{ "TRANSPORT", "transport", COLUMN_TEXT },
		{ "ADDRESS", "address", COLUMN_TEXT },
		{ "SERVICE", "service", COLUMN_TEXT },
		{ "STATE", "state", COLUMN_TEXT },
		{ "CONTROLLERS", "controllers", COLUMN_NUMBER },
		{ "SUBSYSTEMS", "subsystems", COLUMN_COUNT },
	};

	show_either(ctl, args, "port", result, TABLE(columns));
}

void show_subsystems(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "SUBSYSTEM", "subsystem", COLUMN_TEXT },
		{ "SERIAL", "serial", COLUMN_TEXT },
		{ "PORTS", "ports", COLUMN_LIST },
		{ "NAMESPACES", "namespaces", COLUMN_COUNT },
		{ "CONTROLLERS", "controllers", COLUMN_NUMBER },
		{ "ANY HOST", "allow_any_host", COLUMN_YES },
		{ "HOSTS", "allowed_hosts", COLUMN_COUNT },
		{ "STATE", "state", COLUMN_TEXT },
	};

	show_either(ctl, args, "subsystem", result, TABLE(columns));
}

void show_namespaces(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "SUBSYSTEM", "subsystem", COLUMN_TEXT },
		{ "NSID", "nsid", COLUMN_NUMBER },
		{ "DEVICE", "device", COLUMN_TEXT },
		{ "SIZE", "size", COLUMN_BYTES },
		{ "BLOCK", "block_size", COLUMN_NUMBER },
		{ "STATE", "state", COLUMN_TEXT },
		{ "CMB", "cmb", COLUMN_TEXT },
		{ "STAGED IN", "usable_cmbs", COLUMN_LIST },
		{ "READ", "read.bytes", COLUMN_BYTES },
		{ "WRITTEN", "write.bytes", COLUMN_BYTES },
	};

	show_either(ctl, args, "nsid", result, TABLE(columns));
}

void show_hosts(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "HOST", "host", COLUMN_TEXT },
		{ "CONTROLLERS", "controllers", COLUMN_LIST },
		{ "QUEUES", "queues", COLUMN_NUMBER },
		{ "ALLOWED IN", "allowed_in", COLUMN_COUNT },
		{ "AUTHENTICATES", "authenticates", COLUMN_YES },
	};

	show_either(ctl, args, "host", result, TABLE(columns));
}

void show_controllers(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "CONTROLLER", "controller", COLUMN_NUMBER },
		{ "TYPE", "type", COLUMN_TEXT },
		{ "STATE", "state", COLUMN_TEXT },
		{ "PORT", "port", COLUMN_NUMBER },
		{ "ADDRESS", "address", COLUMN_TEXT },
		{ "I/O QUEUES", "io_queues", COLUMN_NUMBER },
		{ "KEEP ALIVE ms", "keep_alive_ms", COLUMN_NUMBER },
		{ "HOST", "host", COLUMN_TEXT },
		{ "SUBSYSTEM", "subsystem", COLUMN_TEXT },
	};

	show_either(ctl, args, "controller", result, TABLE(columns));
}

void show_queues(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "CONTROLLER", "controller", COLUMN_NUMBER },
		{ "QUEUE", "queue", COLUMN_NUMBER },
		{ "STATE", "state", COLUMN_TEXT },
		{ "REACTOR", "reactor", COLUMN_NUMBER },
		{ "ENTRIES", "entries", COLUMN_NUMBER },
		{ "BUSY", "busy", COLUMN_NUMBER },
		{ "PENDING", "pending", COLUMN_NUMBER },
		{ "MEMORY", "memory", COLUMN_BYTES },
		{ "RNIC", "rnic", COLUMN_TEXT },
		{ "ADDRESS", "address", COLUMN_TEXT },
		{ "HOST", "host", COLUMN_TEXT },
	};

	show_either(ctl, args, "queue", result, TABLE(columns));
}

/* ---- p2p ---------------------------------------------------------------------------------------
 */

static void section(const struct ctl *ctl, struct json_object *result, const char *key,
		    const struct column *columns, size_t n, const char *why_key)
{
	struct json_object *array = json_get(result, key);

	if (array && json_object_array_length(array))
		table_print(ctl, array, columns, n);
	else if (why_key && json_get(result, why_key))
		line("no CMB", result, why_key);
	else
		printf("%s: none\n", key);
	putchar('\n');
}

void show_p2p(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column cmbs[] = {
		{ "CMB", "cmb", COLUMN_TEXT },           { "STATE", "state", COLUMN_TEXT },
		{ "SIZE", "size", COLUMN_BYTES },        { "HELD", "held", COLUMN_BYTES },
		{ "IN USE", "in_use", COLUMN_BYTES },    { "MAY HOLD", "may_hold", COLUMN_BYTES },
		{ "REFUSED", "refused", COLUMN_NUMBER },
	};
	static const struct column rnics[] = {
		{ "RNIC", "rnic", COLUMN_TEXT },
		{ "CONNECTIONS", "connections", COLUMN_NUMBER },
		{ "WINDOW", "window", COLUMN_BYTES },
		{ "FULL", "window_full", COLUMN_NUMBER },
		{ "WHY NO P2P", "why_no_p2p", COLUMN_TEXT },
	};
	static const struct column staged[] = {
		{ "STAGED IN", "in", COLUMN_TEXT },
		{ "READ", "read_bytes", COLUMN_BYTES },
		{ "WRITTEN", "write_bytes", COLUMN_BYTES },
	};
	static const struct column paths[] = {
		{ "CMB", "provider", COLUMN_TEXT },  { "STATE", "state", COLUMN_TEXT },
		{ "CLIENT", "client", COLUMN_TEXT }, { "OPERATION", "operation", COLUMN_TEXT },
		{ "TYPE", "type", COLUMN_TEXT },     { "DIST", "distance", COLUMN_NUMBER },
		{ "PROOF", "proof", COLUMN_TEXT },   { "REASON", "reason", COLUMN_TEXT },
	};

	UNUSED(args);
	if (ctl->format == CTL_LIST) {
		list_print(result);
		return;
	}
	section(ctl, result, "cmbs", TABLE(cmbs), "why_no_cmbs");
	section(ctl, result, "rnics", TABLE(rnics), NULL);
	section(ctl, result, "paths", TABLE(paths), NULL);
	section(ctl, result, "staged", TABLE(staged), NULL);
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

/* An export file: its lines are lines. */
void show_config(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	UNUSED(ctl);
	UNUSED(args);
	fputs(json_text(result, "config"), stdout);
}

void show_ana(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "SUBSYSTEM", "subsystem", COLUMN_TEXT },   { "PORT", "port", COLUMN_NUMBER },
		{ "GROUP", "group", COLUMN_TEXT },           { "STATE", "state", COLUMN_TEXT },
		{ "NAMESPACES", "namespaces", COLUMN_LIST },
	};

	UNUSED(args);
	if (json_object_is_type(result, json_type_object))
		return; /* it was set */
	if (ctl->format == CTL_LIST)
		list_print(result);
	else
		table_print(ctl, result, TABLE(columns));
}

/* What was changed, and a note. */
void show_change(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column paths[] = {
		{ "SUBSYSTEM", "subsystem", COLUMN_TEXT },
		{ "PORT", "port", COLUMN_NUMBER },
	};
	static const struct column controllers[] = {
		{ "CONTROLLER", "controller", COLUMN_NUMBER },
		{ "HOST", "host", COLUMN_TEXT },
		{ "SUBSYSTEM", "subsystem", COLUMN_TEXT },
	};

	UNUSED(args);
	if (ctl->format == CTL_LIST) {
		list_print(result);
		return;
	}
	if (json_get(result, "drained"))
		table_print(ctl, json_get(result, "drained"), TABLE(paths));
	else if (json_get(result, "undrained"))
		table_print(ctl, json_get(result, "undrained"), TABLE(paths));
	else if (json_get(result, "disconnected"))
		table_print(ctl, json_get(result, "disconnected"), TABLE(controllers));
	else if (json_get(result, "namespace"))
		printf("namespace %s of %s: %s, %s\n", json_text(result, "namespace.nsid"),
		       json_text(result, "namespace.subsystem"),
		       json_text(result, "namespace.device"),
		       human_bytes(
			       (double)json_object_get_uint64(json_get(result, "namespace.size")))
			       .text);
	else if (json_get(result, "log_level"))
		line("log level", result, "log_level");
	note(result);
}

void show_sizes(const struct ctl *ctl, struct json_object *args, struct json_object *result)
{
	static const struct column columns[] = {
		{ "SUBSYSTEM", "subsystem", COLUMN_TEXT },
		{ "NSID", "nsid", COLUMN_NUMBER },
		{ "DEVICE", "device", COLUMN_TEXT },
		{ "BEFORE", "size_before", COLUMN_BYTES },
		{ "NOW", "size", COLUMN_BYTES },
	};

	UNUSED(args);
	if (ctl->format == CTL_LIST)
		list_print(result);
	else
		table_print(ctl, result, TABLE(columns));
}
