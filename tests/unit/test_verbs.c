/* The control socket's verbs, on a target without a network: what they show, and what they change.
 */
#include "tests/unit/control_fixture.h"
#include "tests/unit/suite.h"

#include <stdarg.h>

/* ---- answers -----------------------------------------------------------------------------------
 */

static struct json_object *last; /* the answer */

static void verbs_teardown(void)
{
	json_object_put(last);
	last = NULL;
	control_teardown();
}

__attribute__((format(printf, 1, 2))) static struct json_object *answer_to(const char *fmt, ...)
{
	char request[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(request, sizeof(request) - 1, fmt, args);
	va_end(args);
	for (char *c = request; *c; c++)
		if (*c == '\'') /* so that rows can be read */
			*c = '"';
	strcat(request, "\n");
	json_object_put(last);
	last = json_tokener_parse(ask(request));
	ck_assert_ptr_nonnull(last);
	return last;
}

/* A member at a path of names and indexes, "result.0.nsid". */
static struct json_object *at(const char *where)
{
	struct json_object *o = last;
	char name[64];

	while (*where) {
		size_t len = strcspn(where, ".");

		snprintf(name, sizeof(name), "%.*s", (int)len, where);
		if (json_object_is_type(o, json_type_array))
			o = json_object_array_get_idx(o, (size_t)atoi(name));
		else if (!json_object_object_get_ex(o, name, &o))
			ck_abort_msg("no %s in %s", where, json_object_to_json_string(last));
		where += len + (where[len] == '.');
	}
	return o;
}

static const char *text(const char *where)
{
	const char *t = json_object_get_string(at(where));

	return t ? t : "null";
}

static bool is_ok(void)
{
	return json_object_get_boolean(at("ok"));
}

/* ---- what they show ----------------------------------------------------------------------------
 */

/* clang-format off */
static const struct show_row {
	const char *request, *path, *value;
} show_rows[] = {
	{ "{'command':'status'}", "result.state", "running" },
	{ "{'command':'status'}", "result.version", NVMF_P2PD_VERSION },
	{ "{'command':'status'}", "result.ports", "2" },
	{ "{'command':'status'}", "result.ports_listening", "1" },
	{ "{'command':'status'}", "result.subsystems", "1" },
	{ "{'command':'status'}", "result.namespaces", "1" },
	{ "{'command':'status'}", "result.namespaces_lost", "0" },
	{ "{'command':'status'}", "result.controllers", "1" },
	{ "{'command':'status'}", "result.queues", "2" },
	{ "{'command':'status'}", "result.drained", "[ ]" },
	{ "{'command':'status'}", "result.access", "change" },
	{ "{'command':'ports'}", "result.0.state", "listening" },
	{ "{'command':'ports'}", "result.0.controllers", "1" },
	{ "{'command':'ports'}", "result.0.subsystems", "[ \"" NQN "\" ]" },
	{ "{'command':'ports'}", "result.1.state", "waiting" },
	{ "{'command':'ports','port':2}", "result.0.port", "2" },
	{ "{'command':'ports','port':2}", "result.0.subsystems", "[ ]" },
	{ "{'command':'subsystems'}", "result.0.subsystem", NQN },
	{ "{'command':'subsystems'}", "result.0.namespaces", "[ 1 ]" },
	{ "{'command':'subsystems'}", "result.0.allowed_hosts", "[ \"" HOSTNQN "\" ]" },
	{ "{'command':'subsystems'}", "result.0.model", "null" },
	{ "{'command':'subsystems','subsystem':'" NQN "'}", "result.0.controllers", "1" },
	{ "{'command':'namespaces'}", "result.0.size", "1048576" },
	{ "{'command':'namespaces'}", "result.0.block_size", "4096" },
	{ "{'command':'namespaces'}", "result.0.state", "ok" },
	{ "{'command':'namespaces'}", "result.0.ana_group", "3" },
	{ "{'command':'namespaces','subsystem':'" NQN "','nsid':1}", "result.0.cmb", "prefer" },
	{ "{'command':'namespaces'}", "result.0.read.commands", "1" },
	{ "{'command':'namespaces'}", "result.0.read.bytes", "4096" },
	{ "{'command':'namespaces'}", "result.0.read.staged.0.in", "host: no CMB" },
	{ "{'command':'namespaces'}", "result.0.read.staged.0.bytes", "4096" },
	{ "{'command':'namespaces'}", "result.0.write.staged", "[ ]" },
	{ "{'command':'hosts'}", "result.0.host", HOSTNQN },
	{ "{'command':'hosts'}", "result.0.controllers", "[ 1 ]" },
	{ "{'command':'hosts'}", "result.0.queues", "2" },
	{ "{'command':'hosts'}", "result.0.allowed_in", "[ \"" NQN "\" ]" },
	{ "{'command':'hosts','host':'" HOSTNQN "'}", "result.0.authenticates", "false" },
	{ "{'command':'controllers'}", "result.0.controller", "1" },
	{ "{'command':'controllers'}", "result.0.state", "ready" },
	{ "{'command':'controllers'}", "result.0.type", "I/O" },
	{ "{'command':'controllers','host':'x'}", "result", "[ ]" },
	{ "{'command':'controllers','host':'" HOSTNQN "'}", "result.0.io_queues", "1" },
	{ "{'command':'controllers','subsystem':'" NQN "'}", "result.0.port", "1" },
	{ "{'command':'queues'}", "result.0.queue", "0" },
	{ "{'command':'queues'}", "result.1.queue", "1" },
	{ "{'command':'queues'}", "result.1.host", HOSTNQN },
	{ "{'command':'queues','controller':1,'queue':1}", "result.0.executing", "2" },
	{ "{'command':'queues','controller':1,'queue':7}", "error.message", "controller 1 has no queue 7" },
	{ "{'command':'p2p'}", "result.paths.0.proof", "any" },
	{ "{'command':'p2p'}", "result.rnics.0.rnic", "rxe0" },
	{ "{'command':'p2p'}", "result.staged.0.in", "host: no CMB" },
	{ "{'command':'p2p'}", "result.staged.0.read_bytes", "4096" },
	{ "{'command':'prove'}", "result.paths.0.type", "bus-address" },
	{ "{'command':'help'}", "result.0.command", "help" },
	{ "{'command':'help','of':'ana'}", "result.0.access", "read, change" },
	{ "{'command':'ana','subsystem':'" NQN "','port':1}", "result.0.state", "optimized" },
	{ "{'command':'ana','port':2}", "result", "[ ]" },
};
/* clang-format on */

static void connect_host(struct nvmf_queue **admin, struct nvmf_queue **io)
{
	uint16_t cntlid;

	*admin = open_enabled(&cntlid);
	*io = open_io(cntlid);
	queues[0] = *io; /* told of in no order */
	queues[1] = *admin;
}

START_TEST(there_is_much_to_show)
{
	const struct show_row *row = &show_rows[_i];
	struct exchange x = { .sqe = { .opcode = 2, .flags = SQE_PSDT_SGL, .nsid = put32(1) } };
	struct nvmf_queue *admin, *io;

	connect_host(&admin, &io);
	ck_assert_uint_eq(run(io, &x), NVME_OK);
	answer_to("%s", row->request);
	ck_assert_msg(strcmp(text(row->path), row->value) == 0, "%s: %s is %s", row->request,
		      row->path, text(row->path));
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

/* Nothing that a verb needs is missing: each can be asked without anything, and says why not. */
START_TEST(every_verb_answers)
{
	answer_to("{'command':'%s'}", verbs[_i].name);
	ck_assert_int_eq(is_ok(), json_object_object_get_ex(last, "result", NULL));
	ck_assert_int_eq(!is_ok(), json_object_object_get_ex(last, "error", NULL));
}
END_TEST

/* A model that is printed can be loaded. */
START_TEST(config_is_an_export_file)
{
	struct config_diag diag;
	struct config *c;
	char name[96];

	answer_to("{'command':'config'}");
	snprintf(name, sizeof(name), "%s/printed.conf", dir);
	write_file(name, text("result.config"));
	ck_assert_msg(config_load(name, &c, &diag) == 0, "%u: %s", diag.line, diag.what);
	ck_assert_str_eq(c->subsystems[0].namespaces[0].device, path);
	config_free(c);
}
END_TEST

/* ---- what they change --------------------------------------------------------------------------
 */

static char second[80];

static void make_second(off_t len)
{
	int fd;

	snprintf(second, sizeof(second), "%s/second", dir);
	fd = open(second, O_CREAT | O_RDWR, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, len), 0);
	close(fd);
}

START_TEST(namespace_is_added_resized_removed)
{
	struct exchange x = { .sqe = { .opcode = 2, .flags = SQE_PSDT_SGL, .nsid = put32(2) } };
	struct nvmf_queue *admin, *io;

	make_second(FILE_LEN);
	connect_host(&admin, &io);
	answer_to("{'command':'add-namespace','subsystem':'" NQN
		  "','device':'%s','ana_group':5,'cmb':'off',"
		  "'uuid':'6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b11'}",
		  second);
	ck_assert_msg(is_ok(), "%s", json_object_to_json_string(last));
	ck_assert_str_eq(text("result.namespace.nsid"), "2");
	ck_assert_str_eq(text("result.namespace.uuid"), "6f1e0f5c-3f0a-4a35-9d0e-3f7c3f1c2b11");
	ck_assert_str_eq(text("result.namespace.cmb"), "off");
	ck_assert_str_eq(text("result.namespace.ana_group"), "5");
	ck_assert_ptr_nonnull(strstr(text("result.note"), "until the next reload"));
	ck_assert_uint_eq(run(io, &x), NVME_OK);
	/* it is in the running configuration, and so is what was there before */
	answer_to("{'command':'config'}");
	ck_assert_ptr_nonnull(strstr(text("result.config"), second));
	ck_assert_ptr_nonnull(strstr(text("result.config"), path));
	make_second(2 * FILE_LEN);
	answer_to("{'command':'resize-namespace','subsystem':'" NQN "','nsid':2}");
	ck_assert_str_eq(text("result.0.size_before"), "1048576");
	ck_assert_str_eq(text("result.0.size"), "2097152");
	answer_to("{'command':'resize-namespace'}");
	ck_assert_str_eq(text("result.1.size"), "2097152");
	answer_to("{'command':'remove-namespace','subsystem':'" NQN "','nsid':2}");
	ck_assert(is_ok());
	ck_assert_uint_eq(run(io, &x), NVME_INVALID_NS | NVME_DNR);
	answer_to("{'command':'namespaces'}");
	ck_assert_uint_eq(json_object_array_length(at("result")), 1);
	ck_assert_str_eq(text("result.0.nsid"), "1");
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

/* clang-format off */
static const struct refusal_row {
	const char *request, *name, *message;
} refusal_rows[] = {
	{ "{'command':'add-namespace','subsystem':'" NQN "','device':'/nonexistent/d'}", "ENOENT", "nothing has changed" },
	{ "{'command':'add-namespace','subsystem':'" NQN "','device':'dev/a'}", "EINVAL", "it is not an absolute path" },
	{ "{'command':'add-namespace','subsystem':'" NQN "','device':'/d','nsid':1}", "EEXIST", NQN " has a namespace 1 already" },
	{ "{'command':'add-namespace','subsystem':'" NQN "','device':'/d','uuid':'1'}", "EINVAL", "hexadecimal digits" },
	{ "{'command':'add-namespace','subsystem':'nqn.x','device':'/d'}", "ENOENT", "no subsystem nqn.x" },
	{ "{'command':'add-namespace','device':'/d'}", "EINVAL", "add-namespace needs \"subsystem\"" },
	{ "{'command':'remove-namespace','subsystem':'" NQN "','nsid':7}", "ENOENT", "no namespace 7 in " NQN },
	{ "{'command':'reload'}", "EINVAL", "c.conf:2: " },
};
/* clang-format on */

START_TEST(what_cannot_be_changes_nothing)
{
	const struct refusal_row *row = &refusal_rows[_i];

	write_file(config_path, "ports = ( { id = 1; address = \"10.0.0.1\"; } );\nwrong = 1;\n");
	answer_to("%s", row->request);
	ck_assert(!is_ok());
	ck_assert_str_eq(text("error.errno"), row->name);
	ck_assert_msg(strstr(text("error.message"), row->message), "%s", text("error.message"));
	answer_to("{'command':'namespaces'}");
	ck_assert_uint_eq(json_object_array_length(at("result")), 1);
	ck_assert_str_eq(text("result.0.nsid"), "1");
}
END_TEST

/* The file has the subsystem without namespaces: what was added goes too. */
START_TEST(reload_is_what_the_file_says)
{
	make_second(FILE_LEN);
	answer_to("{'command':'add-namespace','subsystem':'" NQN "','device':'%s'}", second);
	ck_assert(is_ok());
	answer_to("{'command':'reload'}");
	ck_assert_msg(is_ok(), "%s", json_object_to_json_string(last));
	answer_to("{'command':'namespaces'}");
	ck_assert_str_eq(text("result"), "[ ]");
}
END_TEST

START_TEST(host_is_disconnected)
{
	struct nvmf_queue *admin, *io;

	connect_host(&admin, &io);
	answer_to("{'command':'disconnect','host':'nqn.2026-11.org.example:other'}");
	ck_assert_str_eq(text("error.errno"), "ENOENT");
	answer_to("{'command':'disconnect','controller':2}");
	ck_assert_str_eq(text("error.errno"), "ENOENT");
	ck_assert_int_eq(admin->state, QUEUE_LIVE);
	answer_to("{'command':'disconnect','host':'" HOSTNQN "','subsystem':'" NQN
		  "','controller':1}");
	ck_assert_str_eq(text("result.disconnected.0.controller"), "1");
	ck_assert_int_eq(admin->state, QUEUE_LEAVING);
	ck_assert_int_eq(io->state, QUEUE_LEAVING);
	answer_to("{'command':'controllers'}"); /* it ends when its queues are gone */
	ck_assert_str_eq(text("result.0.host"), HOSTNQN);
	drop_queue(io);
	drop_queue(admin);
	answer_to("{'command':'controllers'}");
	ck_assert_str_eq(text("result"), "[ ]");
}
END_TEST

/* A name that a host made up: control characters and bytes that are no UTF-8. */
START_TEST(names_of_hosts_are_made_harmless)
{
	struct nvmf_queue *admin, *io;

	connect_host(&admin, &io);
	strcpy(admin->ctrl->hostnqn, "nqn.\xff\x1b[2J\xc3\xa4");
	answer_to("{'command':'controllers'}");
	ck_assert_str_eq(text("result.0.host"), "nqn.??[2J\xc3\xa4");
	answer_to("{'command':'hosts'}");
	ck_assert_str_eq(text("result.1.host"), "nqn.??[2J\xc3\xa4");
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

/* ---- drain -------------------------------------------------------------------------------------
 */

/* It is over when nothing is in flight, and new commands are sent elsewhere meanwhile. */
START_TEST(drain_waits_for_what_is_in_flight)
{
	struct exchange x = { .sqe = { .opcode = 2, .flags = SQE_PSDT_SGL, .nsid = put32(1) } };
	struct exchange late = x;
	struct nvmf_queue *admin, *io;
	int fd = connect_peer();
	bool closed;

	connect_host(&admin, &io);
	hold_io();
	hand_over(io, &x, start);
	ck_assert_int_eq(write(fd, "{\"command\":\"drain\"}\n", 20), 20);
	ck_assert_str_eq(receive(fd, &closed), "");
	answer_to("{'command':'status'}");
	ck_assert_str_eq(text("result.drained.0.subsystem"), NQN);
	ck_assert_uint_eq(run(io, &late), NVME_PATH_TRANSITION);
	nvmf_req_complete(&x.req, NVME_OK);
	ck_assert_ptr_nonnull(strstr(receive(fd, &closed), "\"drained\":[{"));
	ck_assert_uint_eq(run(io, &late), NVME_PATH_INACCESSIBLE);
	answer_to("{'command':'undrain'}");
	ck_assert(is_ok());
	answer_to("{'command':'status'}");
	ck_assert_str_eq(text("result.drained"), "[ ]");
	hand_over(io, &late, start);
	ck_assert(!late.answered); /* in flight again */
	nvmf_req_complete(&late.req, NVME_OK);
	close(fd);
	turn();
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

/* Who waits for a drain that somebody else ends is told; and the daemon may go before. */
START_TEST(drain_is_called_off)
{
	struct exchange x = { .sqe = { .opcode = 2, .flags = SQE_PSDT_SGL, .nsid = put32(1) } };
	struct nvmf_queue *admin, *io;
	int fd = connect_peer();
	bool closed;

	connect_host(&admin, &io);
	hold_io();
	hand_over(io, &x, start);
	ck_assert_int_eq(write(fd, "{\"command\":\"drain\"}\n", 20), 20);
	ck_assert_str_eq(receive(fd, &closed), "");
	answer_to("{'command':'undrain'}");
	ck_assert_str_eq(receive(fd, &closed), NO("ECANCELED", "another state was set meanwhile"));
	ck_assert_int_eq(write(fd, "{\"command\":\"drain\"}\n", 20), 20);
	ck_assert_str_eq(receive(fd, &closed), "");
	control_destroy(control);
	control = NULL;
	nvmf_req_complete(&x.req, NVME_OK);
	ck_assert_str_eq(receive(fd, &closed), "");
	ck_assert(closed);
	close(fd);
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

int main(void)
{
	Suite *s = suite_create("verbs");
	TCase *tc = tcase_create("verbs");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, control_setup, verbs_teardown);
	tcase_add_loop_test(tc, there_is_much_to_show, 0, NROWS(show_rows));
	tcase_add_loop_test(tc, every_verb_answers, 0, VERB_COUNT);
	tcase_add_test(tc, config_is_an_export_file);
	tcase_add_test(tc, namespace_is_added_resized_removed);
	tcase_add_loop_test(tc, what_cannot_be_changes_nothing, 0, NROWS(refusal_rows));
	tcase_add_test(tc, reload_is_what_the_file_says);
	tcase_add_test(tc, host_is_disconnected);
	tcase_add_test(tc, names_of_hosts_are_made_harmless);
	tcase_add_test(tc, drain_waits_for_what_is_in_flight);
	tcase_add_test(tc, drain_is_called_off);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
