/* The control socket: requests, hostile input, many connections, answers that come later, who may
 * connect and what. */
#include "tests/unit/control_fixture.h"
#include "tests/unit/suite.h"

/* ---- requests --------------------------------------------------------------------------------
 */

/* clang-format off */
static const struct request_row {
	const char *request, *answer; /* NO_JSON: its beginning */
} request_rows[] = {
	/* the form */
	{ SHOW_ANA, STATE("optimized") },
	{ " \t{ \"command\" : \"ana\" } \r\n", STATE("optimized") },
	{ SHOW_ANA SHOW_ANA, STATE("optimized") STATE("optimized") },
	{ "\n", NO("EINVAL", "the object has no end; " FORM) },
	{ "    \n", NO("EINVAL", "the object has no end; " FORM) },
	{ "{\n", NO("EINVAL", "the object has no end; " FORM) },
	{ "{\"command\":\"ana\"\n", NO("EINVAL", "the object has no end; " FORM) },
	{ "{\"command\":\"an\n", NO("EINVAL", "the object has no end; " FORM) },
	{ "[]\n", NO("EINVAL", "this is no object; " FORM) },
	{ "\"ana\"\n", NO("EINVAL", "this is no object; " FORM) },
	{ "null \n", NO("EINVAL", "this is no object; " FORM) },
	{ "{}{}\n", NO_JSON },
	{ "{\"command\":\"ana\"} x\n", NO_JSON },
	{ "ana\n", NO_JSON },
	{ "{\"command\":\"ana\",}\n", NO_JSON },
	{ "{'command':'ana'}\n", NO_JSON },
	{ "{\"a\":[[[[[[[[[1]]]]]]]]]}\n", NO_JSON },
	{ "{\"command\":\"\xff\"}\n", NO_JSON },
	{ "\x1b[2J\n", NO("EINVAL", "the request holds control characters; " FORM) },
	{ "{\"command\":\"\x01\"}\n", NO("EINVAL", "the request holds control characters; " FORM) },
	{ "{}\n", NO("EINVAL", "\\\"command\\\" is missing or no string; " FORM) },
	{ "{\"command\":1}\n", NO("EINVAL", "\\\"command\\\" is missing or no string; " FORM) },
	{ "{\"command\":\"ana\\u0000\"}\n", NO("EINVAL", "\\\"command\\\" is missing or no string; " FORM) },
	{ "{\"command\":\"halt\"}\n", NO("EINVAL", "unknown command halt; \\\"help\\\" shows what there is") },
	{ "{\"command\":\"status\",\"x\":1}\n", NO("EINVAL", "status has no argument x; it has none") },
	{ "{\"command\":\"namespaces\",\"subsytem\":\"a\"}\n",
	  NO("EINVAL", "namespaces has no argument subsytem; it has subsystem, nsid") },
	{ "{\"command\":\"ana\"", NO("EBADMSG", "the request has no end: it is one line, with a newline") },
	{ "", "" },
	{ "{\"command\":\"halt\"}\nx", NO("EINVAL", "unknown command halt; \\\"help\\\" shows what there is")
	  NO("EBADMSG", "the request has no end: it is one line, with a newline") },
	/* types and ranges */
	{ "{\"command\":\"ports\",\"port\":\"1\"}\n", NO("EINVAL", "ports: \\\"port\\\" is \\\"1\\\"; it takes a number, 0..65535") },
	{ "{\"command\":\"ports\",\"port\":1.5}\n", NO("EINVAL", "ports: \\\"port\\\" is 1.5; it takes a number, 0..65535") },
	{ "{\"command\":\"ports\",\"port\":-1}\n", NO("EINVAL", "ports: \\\"port\\\" is -1; it takes a number, 0..65535") },
	{ "{\"command\":\"ports\",\"port\":65536}\n", NO("EINVAL", "ports: \\\"port\\\" is 65536; it takes a number, 0..65535") },
	{ "{\"command\":\"ports\",\"port\":99999999999999999999999}\n",
	  NO("EINVAL", "ports: \\\"port\\\" is 18446744073709551615; it takes a number, 0..65535") },
	{ "{\"command\":\"ports\",\"port\":null}\n", NO("EINVAL", "ports: \\\"port\\\" is null; it takes a number, 0..65535") },
	{ "{\"command\":\"hosts\",\"host\":\"\"}\n",
	  NO("EINVAL", "hosts: \\\"host\\\" is \\\"\\\"; it takes a text of 1..1023 bytes without control characters") },
	{ "{\"command\":\"hosts\",\"host\":\"a\\u001b[2J\"}\n",
	  NO("EINVAL", "hosts: \\\"host\\\" is \\\"a\\\\u001b[2J\\\"; it takes a text of 1..1023 bytes without control characters") },
	{ "{\"command\":\"log-level\",\"level\":\"loud\"}\n",
	  NO("EINVAL", "log-level: \\\"level\\\" is \\\"loud\\\"; it takes one of error|warning|info|debug") },
	{ "{\"command\":\"log-level\",\"level\":\"info\\u0000\"}\n",
	  NO("EINVAL", "log-level: \\\"level\\\" is \\\"info\\\\u0000\\\"; it takes one of error|warning|info|debug") },
	{ "{\"command\":\"add-namespace\",\"subsystem\":\"a\",\"device\":\"/d\",\"polled\":1}\n",
	  NO("EINVAL", "add-namespace: \\\"polled\\\" is 1; it takes true or false") },
	{ "{\"command\":\"remove-namespace\",\"subsystem\":\"a\"}\n",
	  NO("EINVAL", "remove-namespace needs \\\"nsid\\\", a number, 1..1024") },
	/* what is not there */
	{ "{\"command\":\"subsystems\",\"subsystem\":\"nqn.x\"}\n",
	  NO("ENOENT", "no subsystem nqn.x; `nvmf-p2pctl subsystems` lists them") },
	{ "{\"command\":\"subsystems\",\"subsystem\":\"nqn.2014-08.org.nvmexpress.discovery\"}\n",
	  NO("ENOENT", "no subsystem nqn.2014-08.org.nvmexpress.discovery; `nvmf-p2pctl subsystems` lists them") },
	{ "{\"command\":\"namespaces\",\"subsystem\":\"" NQN "\",\"nsid\":2}\n",
	  NO("ENOENT", "no namespace 2 in " NQN "; `nvmf-p2pctl namespaces " NQN "` lists them") },
	{ "{\"command\":\"namespaces\",\"nsid\":2}\n", NO("EINVAL", "\\\"nsid\\\" needs \\\"subsystem\\\" too") },
	{ "{\"command\":\"queues\",\"queue\":2}\n", NO("EINVAL", "\\\"queue\\\" needs \\\"controller\\\" too") },
	{ "{\"command\":\"queues\",\"controller\":9}\n", NO("ENOENT", "no controller 9; `nvmf-p2pctl controllers` lists them") },
	{ "{\"command\":\"controllers\",\"controller\":9}\n", NO("ENOENT", "no controller 9; `nvmf-p2pctl controllers` lists them") },
	{ "{\"command\":\"ports\",\"port\":9}\n", NO("ENOENT", "no port 9; `nvmf-p2pctl ports` lists them") },
	{ "{\"command\":\"help\",\"of\":\"x\"}\n", NO("ENOENT", "unknown command x") },
	{ "{\"command\":\"hosts\",\"host\":\"nqn.x\"}\n",
	  NO("ENOENT", "host nqn.x is neither connected nor in the configuration; `nvmf-p2pctl hosts` lists those that are") },
	{ "{\"command\":\"disconnect\",\"host\":\"nqn.x\"}\n", NO("ENOENT", "no such controller; `nvmf-p2pctl controllers` lists them") },
	{ "{\"command\":\"disconnect\"}\n",
	  NO("EINVAL", "\\\"host\\\", \\\"controller\\\" or \\\"subsystem\\\" is needed") },
	{ "{\"command\":\"drain\",\"port\":2}\n",
	  NO("ENOENT", "no subsystem is reached so; `nvmf-p2pctl ports` shows which through which") },
	/* ANA */
	{ ANA("\"port\":1,\"group\":3,\"state\":\"non-optimized\"") SHOW_ANA, OK("{}") STATE("non-optimized") },
	{ ANA("\"port\":1,\"group\":3,\"state\":\"inaccessible\"") SHOW_ANA, OK("{}") STATE("inaccessible") },
	{ ANA("\"port\":1,\"group\":128,\"state\":\"change\"") SHOW_ANA,
	  OK("{}") OK("[" GROUP("optimized") ",{\"subsystem\":\"" NQN "\",\"port\":1,\"group\":128,\"state\":\"change\",\"namespaces\":[]}]") },
	{ ANA("\"port\":9,\"group\":3,\"state\":\"optimized\""), NO("ENOENT", "no port 9; `nvmf-p2pctl ports` lists them") },
	{ ANA("\"port\":1,\"group\":129,\"state\":\"optimized\""),
	  NO("EINVAL", "ana: \\\"group\\\" is 129; it takes a number, 1..128") },
	{ ANA("\"port\":1,\"group\":3"),
	  NO("EINVAL", "\\\"subsystem\\\", \\\"port\\\", \\\"group\\\" and \\\"state\\\" are needed") },
	/* drain: the states themselves stay */
	{ "{\"command\":\"drain\"}\n" SHOW_ANA "{\"command\":\"undrain\"}\n" SHOW_ANA,
	  OK("{\"drained\":[{\"subsystem\":\"" NQN "\",\"port\":1}],\"note\":\"hosts without another path wait; `nvmf-p2pctl undrain` or a restart lets them go on\"}")
	  STATE("inaccessible") OK("{\"undrained\":[{\"subsystem\":\"" NQN "\",\"port\":1}]}") STATE("optimized") },
	{ "{\"command\":\"drain\",\"subsystem\":\"" NQN "\",\"port\":1}\n{\"command\":\"drain\",\"port\":1}\n"
	  ANA("\"port\":1,\"group\":3,\"state\":\"non-optimized\"") SHOW_ANA "{\"command\":\"undrain\",\"port\":1}\n" SHOW_ANA,
	  OK("{\"drained\":[{\"subsystem\":\"" NQN "\",\"port\":1}],\"note\":\"hosts without another path wait; `nvmf-p2pctl undrain` or a restart lets them go on\"}")
	  OK("{\"drained\":[{\"subsystem\":\"" NQN "\",\"port\":1}],\"note\":\"hosts without another path wait; `nvmf-p2pctl undrain` or a restart lets them go on\"}")
	  OK("{}") STATE("inaccessible") OK("{\"undrained\":[{\"subsystem\":\"" NQN "\",\"port\":1}]}") STATE("non-optimized") },
	/* the log */
	{ "{\"command\":\"log-level\"}\n", OK("{\"log_level\":\"error\"}") },
	{ "{\"command\":\"log-level\",\"level\":\"warning\"}\n{\"command\":\"log-level\",\"level\":\"error\"}\n",
	  OK("{\"log_level\":\"warning\"}") OK("{\"log_level\":\"error\"}") },
};
/* clang-format on */

START_TEST(requests_have_their_answers)
{
	const struct request_row *row = &request_rows[_i];
	const char *text = ask(row->request);

	if (strcmp(row->answer, NO_JSON) == 0)
		ck_assert_msg(strncmp(text, NO_JSON, strlen(NO_JSON)) == 0, "%s", text);
	else
		ck_assert_str_eq(text, row->answer);
}
END_TEST

/* ---- hostile peers ----------------------------------------------------------------------------
 */

#define TOO_LONG NO("EMSGSIZE", "the request is too long, up to 65536 bytes are taken")

/* Written as far as it is taken, with the loop running. */
static void send_slowly(int fd, const char *text, size_t len)
{
	for (int stuck = 0; len && stuck < 100; turn()) {
		ssize_t n = send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		stuck = n > 0 ? 0 : stuck + 1;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	ck_assert_uint_eq(len, 0);
}

/* All of it is read, so that the answer gets through, and the connection serves on. */
START_TEST(long_requests_are_refused)
{
	static char line[1 << 20];
	int fd = connect_peer();
	bool closed;

	memset(line, ' ', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	send_slowly(fd, line, sizeof(line));
	ck_assert_str_eq(receive(fd, &closed), TOO_LONG);
	ck_assert(!closed);
	/* the longest there may be, and one more */
	memcpy(line, "{\"command\":\"ana\"}", 17);
	line[CONTROL_REQUEST_MAX - 1] = '\n';
	send_slowly(fd, line, CONTROL_REQUEST_MAX);
	ck_assert_str_eq(receive(fd, &closed), STATE("optimized"));
	line[CONTROL_REQUEST_MAX - 1] = ' ';
	line[CONTROL_REQUEST_MAX] = '\n';
	send_slowly(fd, line, CONTROL_REQUEST_MAX + 1);
	ck_assert_str_eq(receive(fd, &closed), TOO_LONG);
	/* no end at all */
	line[CONTROL_REQUEST_MAX] = ' ';
	send_slowly(fd, line, CONTROL_REQUEST_MAX + 100);
	shutdown(fd, SHUT_WR);
	ck_assert_str_eq(receive(fd, &closed),
			 NO("EBADMSG", "the request has no end: it is one line, with a newline"));
	ck_assert(closed);
	close(fd);
}
END_TEST

START_TEST(byte_0_is_refused)
{
	static const char request[] = "{\"command\":\"ana\"}\0\n";
	int fd = connect_peer();
	bool closed;

	ck_assert_int_eq(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
	ck_assert_str_eq(receive(fd, &closed),
			 NO("EINVAL", "the request holds control characters; " FORM));
	ck_assert(!closed);
	close(fd);
	turn();
}
END_TEST

/* Whatever it is, there is one answer a line, and the next request is served. */
START_TEST(garbage_does_no_harm)
{
	unsigned int seed = (unsigned int)_i + 1;
	char line[300];
	bool closed;

	for (int round = 0; round < 200; round++) {
		static const char seen[] = "{}[]\",:\\u0 command ana status 1e9-+.truefalsenull";
		size_t n = (size_t)rand_r(&seed) % (sizeof(line) - 1);
		int fd = connect_peer();
		const char *text;

		for (size_t i = 0; i < n; i++) {
			line[i] = rand_r(&seed) % 4 ? seen[(size_t)rand_r(&seed) % sizeof(seen)]
						    : (char)rand_r(&seed);
			if (line[i] == '\n')
				line[i] = ' ';
		}
		line[n] = '\n';
		ck_assert_int_eq(write(fd, line, n + 1), (ssize_t)n + 1);
		text = receive(fd, &closed);
		ck_assert(!closed);
		ck_assert_msg(strncmp(text, "{\"ok\":", 6) == 0, "%s", text);
		ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
		close(fd);
	}
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized"));
}
END_TEST

START_TEST(requests_in_pieces_and_many_at_once)
{
	static char many[3 * 1000 + 1];
	int fd = connect_peer();
	bool closed;
	const char *text;

	for (const char *c = SHOW_ANA; *c; c++) {
		ck_assert_int_eq(write(fd, c, 1), 1);
		turn();
	}
	ck_assert_str_eq(receive(fd, &closed), STATE("optimized"));
	for (int i = 0; i < 300; i++)
		memcpy(many + 3 * i, "[]\n", 3);
	ck_assert_int_eq(write(fd, many, 900), 900);
	text = receive(fd, &closed);
	ck_assert_uint_eq(strlen(text), 300 * strlen(NO("EINVAL", "this is no object; " FORM)));
	close(fd);
}
END_TEST

/* It asks and asks and never reads: not more is taken than what one answer needs. */
START_TEST(peer_that_does_not_read_is_not_read)
{
	static char asks[200 * sizeof(SHOW_ANA)];
	int fd = connect_peer();
	size_t sent = 0;
	ssize_t n;

	for (size_t i = 0; i + sizeof(SHOW_ANA) <= sizeof(asks); i += strlen(SHOW_ANA))
		memcpy(asks + i, SHOW_ANA, sizeof(SHOW_ANA));
	for (int stuck = 0; stuck < 10;) {
		n = send(fd, asks, strlen(asks), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		stuck = n > 0 ? 0 : stuck + 1;
		turn();
		ck_assert_uint_lt(sent, 4u << 20);
	}
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized")); /* others are served */
	close(fd);
	turn();
}
END_TEST

START_TEST(connections_are_limited)
{
	int fd[3 * CONTROL_PEERS_MAX], one = connect_peer();
	bool closed;

	turn();
	close(one);
	turn();
	for (int i = 0; i < 3 * CONTROL_PEERS_MAX; i++) {
		fd[i] = connect_peer();
		turn();
	}
	for (int i = 0; i < 3 * CONTROL_PEERS_MAX; i++) {
		const char *text = receive(fd[i], &closed);

		ck_assert_int_eq(closed, i >= CONTROL_PEERS_MAX);
		ck_assert_str_eq(text,
				 i < CONTROL_PEERS_MAX
					 ? ""
					 : NO("EBUSY", "too many connections; try again later"));
	}
	for (int i = 0; i < 3 * CONTROL_PEERS_MAX; i++)
		close(fd[i]);
	turn();
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized"));
}
END_TEST

START_TEST(silent_peers_are_dropped)
{
	int fd = connect_peer();
	ev_tstamp end;
	bool closed = false;

	turn();
	end = ev_time() + CONTROL_IDLE_S + 5;
	while (!closed && ev_time() < end) {
		ev_run(loop(), EVRUN_ONCE);
		receive(fd, &closed);
	}
	ck_assert(closed);
	close(fd);
}
END_TEST

/* ---- answers that come later -----------------------------------------------------------------
 */

/* A read that does not end, so that access through the port does not. */
static void start_endless_read(struct nvmf_queue **admin, struct nvmf_queue **q, struct exchange *x)
{
	uint16_t cntlid;

	hold_io();
	*admin = open_enabled(&cntlid);
	*q = open_io(cntlid);
	*x = (struct exchange){ .sqe = { .opcode = 2, .flags = SQE_PSDT_SGL, .nsid = put32(1) } };
	x->req.queue = *q;
	x->req.sqe = &x->sqe;
	start(x);
	ck_assert(!x->answered);
}

#define CLOSE_IT ANA("\"port\":1,\"group\":3,\"state\":\"inaccessible\"")

START_TEST(answer_comes_when_it_is_so)
{
	struct nvmf_queue *admin, *q;
	struct exchange x;
	bool closed;
	int fd = connect_peer();

	start_endless_read(&admin, &q, &x);
	ck_assert_int_eq(write(fd, CLOSE_IT SHOW_ANA, strlen(CLOSE_IT SHOW_ANA)),
			 (ssize_t)strlen(CLOSE_IT SHOW_ANA));
	ck_assert_str_eq(receive(fd, &closed), "");
	ck_assert_str_eq(ask(SHOW_ANA), STATE("change"));
	nvmf_req_complete(&x.req, NVME_OK);
	ck_assert_str_eq(receive(fd, &closed), OK("{}") STATE("inaccessible"));
	close(fd);
	turn();
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(asker_goes_before_the_answer)
{
	struct nvmf_queue *admin, *q;
	struct exchange x;
	int fd = connect_peer();

	start_endless_read(&admin, &q, &x);
	ck_assert_int_eq(write(fd, CLOSE_IT, strlen(CLOSE_IT)), (ssize_t)strlen(CLOSE_IT));
	turn();
	close(fd);
	turn();
	nvmf_req_complete(&x.req, NVME_OK);
	turn();
	ck_assert_str_eq(ask(SHOW_ANA), STATE("inaccessible"));
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(daemon_goes_before_the_answer)
{
	struct nvmf_queue *admin, *q;
	struct exchange x;
	int fd = connect_peer();
	bool closed;

	start_endless_read(&admin, &q, &x);
	ck_assert_int_eq(write(fd, CLOSE_IT, strlen(CLOSE_IT)), (ssize_t)strlen(CLOSE_IT));
	turn();
	control_destroy(control);
	control = NULL;
	nvmf_req_complete(&x.req, NVME_OK);
	ck_assert_str_eq(receive(fd, &closed), "");
	ck_assert(closed);
	close(fd);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(another_order_wins)
{
	struct nvmf_queue *admin, *q;
	struct exchange x;
	bool closed;
	int fd = connect_peer();

	start_endless_read(&admin, &q, &x);
	ck_assert_int_eq(write(fd, CLOSE_IT, strlen(CLOSE_IT)), (ssize_t)strlen(CLOSE_IT));
	turn();
	ck_assert_str_eq(ask(ANA("\"port\":1,\"group\":3,\"state\":\"optimized\"")), OK("{}"));
	ck_assert_str_eq(receive(fd, &closed), NO("ECANCELED", "another state was set meanwhile"));
	nvmf_req_complete(&x.req, NVME_OK);
	close(fd);
	turn();
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized"));
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* ---- the socket itself -----------------------------------------------------------------------
 */

START_TEST(socket_is_private_and_taken_once)
{
	struct control *second;
	struct config_diag diag;
	struct stat st;
	int fd;

	ck_assert_int_eq(stat(socket_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(control_create(socket_path, NULL, loop(), &d, &second, &diag),
			 -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(diag.what, "another daemon"));
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized"));
	/* left behind by one that did not end well */
	control_destroy(control);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);

	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, socket_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	ck_assert_int_eq(control_create(socket_path, NULL, loop(), &d, &control, &diag), 0);
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized"));
	/* a file is not taken away */
	control_destroy(control);
	fd = open(socket_path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	ck_assert_int_eq(control_create(socket_path, NULL, loop(), &d, &second, &diag), -EEXIST);
	unlink(socket_path);
	control = NULL;
}
END_TEST

/* ---- who may -----------------------------------------------------------------------------------
 */

#define NOBODY 65534

/* The kernel notes who connects at connect(). NULL: it may not. */
static const char *ask_as(uid_t uid, gid_t gid, const char *request)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), failed;
	const char *text = NULL;
	bool closed;

	strcpy(address.sun_path, socket_path);
	ck_assert_int_eq(setegid(gid), 0);
	ck_assert_int_eq(seteuid(uid), 0);
	failed = connect(fd, (struct sockaddr *)&address, sizeof(address));
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	if (!failed) {
		ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
		text = receive(fd, &closed);
	}
	close(fd);
	turn();
	return text;
}

static const char *some_group(gid_t *ret_gid)
{
	const struct group *g;

	setgrent();
	while ((g = getgrent()) && (g->gr_gid == 0 || g->gr_gid == NOBODY))
		;
	ck_assert_ptr_nonnull(g);
	*ret_gid = g->gr_gid;
	return g->gr_name;
}

static const char *const orders[] = {
	"{\"command\":\"drain\"}\n",
	"{\"command\":\"undrain\"}\n",
	"{\"command\":\"prove\"}\n",
	"{\"command\":\"reload\"}\n",
	"{\"command\":\"resize-namespace\"}\n",
	"{\"command\":\"disconnect\",\"host\":\"x\"}\n",
	"{\"command\":\"log-level\",\"level\":\"debug\"}\n",
	"{\"command\":\"remove-namespace\",\"subsystem\":\"x\",\"nsid\":1}\n",
	"{\"command\":\"add-namespace\",\"subsystem\":\"x\",\"device\":\"/x\"}\n",
	ANA("\"port\":1,\"group\":3,\"state\":\"change\""),
};

#define REFUSED "{\"ok\":false,\"error\":{\"errno\":\"EPERM\","

START_TEST(readers_change_nothing)
{
	struct stat st;
	gid_t gid;
	const char *group = some_group(&gid), *text;

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: who may connect can be tried by root only\n");
		return;
	}
	ck_assert_int_eq(chmod(dir, 0755), 0);
	ck_assert_ptr_null(ask_as(NOBODY, gid, SHOW_ANA)); /* 0600 */
	control_destroy(control);
	open_control(group);
	ck_assert_int_eq(stat(socket_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0660);
	ck_assert_uint_eq(st.st_gid, gid);
	ck_assert_ptr_null(ask_as(NOBODY, NOBODY, SHOW_ANA));
	ck_assert_str_eq(ask_as(NOBODY, gid, SHOW_ANA), STATE("optimized"));
	text = ask_as(NOBODY, gid, "{\"command\":\"status\"}\n");
	ck_assert_ptr_nonnull(strstr(text, "\"access\":\"read\""));
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		text = ask_as(NOBODY, gid, orders[i]);
		ck_assert_msg(strncmp(text, REFUSED, strlen(REFUSED)) == 0, "%s: %s", orders[i],
			      text);
	}
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized"));
}
END_TEST

/* Whatever readers do, root gets in. */
START_TEST(readers_leave_room_for_root)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd[3 * CONTROL_PEERS_MAX];
	gid_t gid;
	const char *group = some_group(&gid);
	bool closed;

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: who may connect can be tried by root only\n");
		return;
	}
	ck_assert_int_eq(chmod(dir, 0755), 0);
	control_destroy(control);
	open_control(group);
	strcpy(address.sun_path, socket_path);
	ck_assert_int_eq(setegid(gid), 0);
	ck_assert_int_eq(seteuid(NOBODY), 0);
	for (int i = 0; i < 3 * CONTROL_PEERS_MAX; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(connect(fd[i], (struct sockaddr *)&address, sizeof(address)), 0);
		ck_assert_int_eq(seteuid(0), 0); /* the loop is the daemon's */
		turn();
		ck_assert_int_eq(seteuid(NOBODY), 0);
	}
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	ck_assert_str_eq(ask(SHOW_ANA), STATE("optimized"));
	for (int i = 0; i < 3 * CONTROL_PEERS_MAX; i++) {
		const char *text = receive(fd[i], &closed);

		ck_assert_int_eq(closed, i >= CONTROL_READERS_MAX);
		ck_assert_str_eq(text,
				 i < CONTROL_READERS_MAX
					 ? ""
					 : NO("EBUSY", "too many connections; try again later"));
		close(fd[i]);
	}
	turn();
}
END_TEST

START_TEST(group_that_is_not_there_is_said)
{
	struct control *second;
	struct config_diag diag = { 0 };

	control_destroy(control);
	ck_assert_int_eq(control_create(socket_path, "no-such-group", loop(), &d, &second, &diag),
			 -ENOENT);
	ck_assert_str_eq(
		diag.what,
		"control socket: daemon.control_group no-such-group: there is no such group");
	ck_assert_ptr_nonnull(strstr(diag.fix, "groupadd"));
	ck_assert_int_lt(access(socket_path, F_OK), 0);
	control = NULL;
}
END_TEST

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

int main(void)
{
	Suite *s = suite_create("control");
	TCase *tc = tcase_create("control");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, control_setup, control_teardown);
	tcase_add_loop_test(tc, requests_have_their_answers, 0, NROWS(request_rows));
	tcase_add_test(tc, long_requests_are_refused);
	tcase_add_test(tc, byte_0_is_refused);
	tcase_add_loop_test(tc, garbage_does_no_harm, 0, 5);
	tcase_add_test(tc, requests_in_pieces_and_many_at_once);
	tcase_add_test(tc, peer_that_does_not_read_is_not_read);
	tcase_add_test(tc, connections_are_limited);
	tcase_add_test(tc, silent_peers_are_dropped);
	tcase_add_test(tc, answer_comes_when_it_is_so);
	tcase_add_test(tc, asker_goes_before_the_answer);
	tcase_add_test(tc, daemon_goes_before_the_answer);
	tcase_add_test(tc, another_order_wins);
	tcase_add_test(tc, socket_is_private_and_taken_once);
	tcase_add_test(tc, readers_change_nothing);
	tcase_add_test(tc, readers_leave_room_for_root);
	tcase_add_test(tc, group_that_is_not_there_is_said);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
