/* The control socket: requests, hostile input, many connections, answers that come later; and its
 * verb about ANA. */
#include "target/daemon/control.h"

#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char dir[] = "/var/tmp/nvmf-p2pd-ctl-XXXXXX";
static char socket_path[80];
static struct control *control;

static struct ev_loop *loop(void)
{
	return reactors.r[0]->loop;
}

static void control_setup(void)
{
	struct config_diag diag;

	namespaces[0].ana_group = 3;
	setup();
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(socket_path, sizeof(socket_path), "%s/run/control", dir);
	ck_assert_msg(control_create(socket_path, loop(), target, &control, &diag) == 0, "%s",
		      diag.what);
}

static void control_teardown(void)
{
	char folder[80];

	control_destroy(control);
	ck_assert_int_lt(access(socket_path, F_OK), 0);
	snprintf(folder, sizeof(folder), "%s/run", dir);
	rmdir(folder);
	rmdir(dir);
	teardown();
}

static int connect_peer(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, socket_path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void turn(void)
{
	for (int i = 0; i < 5; i++)
		ev_run(loop(), EVRUN_NOWAIT);
}

/* Everything that comes until nothing does any more; *@ret_closed: and then the end. */
static const char *receive(int fd, bool *ret_closed)
{
	static char text[65536];
	size_t n = 0;

	*ret_closed = false;
	for (int quiet = 0; quiet < 3;) {
		ssize_t got;

		turn();
		got = read(fd, text + n, sizeof(text) - 1 - n);
		if (got > 0) {
			n += (size_t)got;
			quiet = 0;
		} else if (got == 0) {
			*ret_closed = true;
			break;
		} else {
			quiet++;
		}
	}
	text[n] = '\0';
	return text;
}

static const char *ask(const char *request)
{
	int fd = connect_peer();
	bool closed;
	const char *text;

	ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	shutdown(fd, SHUT_WR);
	text = receive(fd, &closed);
	ck_assert(closed);
	close(fd);
	return text;
}

/* ---- requests --------------------------------------------------------------------------------
 */

static const struct request_row {
	const char *request, *answer;
} request_rows[] = {
	{ "ana\n", NQN " 1 3 optimized 1\nok\n" },
	{ "  ana  \n", NQN " 1 3 optimized 1\nok\n" },
	{ "ana " NQN " 1 3 non-optimized\nana\n", "ok\n" NQN " 1 3 non-optimized 1\nok\n" },
	{ "ana " NQN " 1 3 inaccessible\n", "ok\n" },
	{ "ana " NQN " 1 128 change\nana\n",
	  "ok\n" NQN " 1 3 optimized 1\n" NQN " 1 128 change\nok\n" },
	{ "ana nqn.2026-11.org.example:no 1 3 optimized\n",
	  "error: no subsystem nqn.2026-11.org.example:no\n" },
	{ "ana nqn.2014-08.org.nvmexpress.discovery 1 3 optimized\n",
	  "error: no subsystem nqn.2014-08.org.nvmexpress.discovery\n" },
	{ "ana " NQN " 9 3 optimized\n", "error: no port 9\n" },
	{ "ana " NQN " 65536 3 optimized\n", "error: not a port's id: 65536\n" },
	{ "ana " NQN " -1 3 optimized\n", "error: not a port's id: -1\n" },
	{ "ana " NQN " 1x 3 optimized\n", "error: not a port's id: 1x\n" },
	{ "ana " NQN " 1 0 optimized\n", "error: not a group, 1..128: 0\n" },
	{ "ana " NQN " 1 129 optimized\n", "error: not a group, 1..128: 129\n" },
	{ "ana " NQN " 1 99999999999999999999 optimized\n",
	  "error: not a group, 1..128: 99999999999999999999\n" },
	{ "ana " NQN " 1 3 Optimized\n", "error: no such state: Optimized\n" },
	{ "ana " NQN " 1 3\n", "error: a subsystem, a port, a group and a state are needed\n" },
	{ "ana 1 2 3 4 5\n", "error: wrong number of words: ana [SUBSYSTEM PORT GROUP STATE]\n" },
	{ "help me\n", "error: wrong number of words: help \n" },
	{ "\n", "error: empty request; \"help\" shows what there is\n" },
	{ "    \n", "error: empty request; \"help\" shows what there is\n" },
	{ "halt\n", "error: unknown: halt; \"help\" shows what there is\n" },
	{ "ana\t1\n", "error: the request holds control characters\n" },
	{ "ana\r\n", "error: the request holds control characters\n" },
	{ "\x1b[2J\n", "error: the request holds control characters\n" },
	{ "a b c d e f g h i j k l m n o p q\n",
	  "error: unknown: a; \"help\" shows what there is\n" },
	{ "a b c d e f g h i j k l m n o p q r\n", "error: more than 17 words\n" },
	{ "ana", "" }, /* it hung up in the middle */
	{ "", "" },
	{ "halt\nana", "error: unknown: halt; \"help\" shows what there is\n" },
};

START_TEST(requests_have_their_answers)
{
	ck_assert_str_eq(ask(request_rows[_i].request), request_rows[_i].answer);
}
END_TEST

START_TEST(help_has_every_verb)
{
	const char *text = ask("help\n");

	ck_assert_ptr_nonnull(strstr(text, "help\n\tshow"));
	ck_assert_ptr_nonnull(strstr(text, "ana [SUBSYSTEM PORT GROUP STATE]\n\t"));
	ck_assert_str_eq(text + strlen(text) - 3, "ok\n");
}
END_TEST

/* ---- hostile peers ----------------------------------------------------------------------------
 */

START_TEST(line_without_end_is_refused)
{
	static char line[CONTROL_LINE_MAX + 100];
	bool closed;
	int fd = connect_peer();

	memset(line, 'a', sizeof(line));
	ck_assert_int_eq(write(fd, line, CONTROL_LINE_MAX - 1), CONTROL_LINE_MAX - 1);
	ck_assert_str_eq(receive(fd, &closed), "");
	ck_assert(!closed);
	ck_assert_int_eq(write(fd, "a", 1), 1);
	ck_assert_str_eq(receive(fd, &closed), "error: the request is too long\n");
	ck_assert(closed);
	close(fd);
	/* the longest there may be, and a byte 0 */
	fd = connect_peer();
	line[CONTROL_LINE_MAX - 1] = '\n';
	ck_assert_int_eq(write(fd, line, CONTROL_LINE_MAX), CONTROL_LINE_MAX);
	ck_assert_int_eq(strncmp(receive(fd, &closed), "error: unknown: aaaa", 20), 0);
	ck_assert(!closed);
	ck_assert_int_eq(write(fd, "ana\0\n", 5), 5);
	ck_assert_str_eq(receive(fd, &closed), "error: the request holds control characters\n");
	close(fd);
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 optimized 1\nok\n");
}
END_TEST

START_TEST(requests_in_pieces_and_many_at_once)
{
	static char many[3 * 1000 + 1];
	int fd = connect_peer();
	bool closed;
	const char *text;

	for (const char *c = "ana\n"; *c; c++) {
		ck_assert_int_eq(write(fd, c, 1), 1);
		turn();
	}
	ck_assert_str_eq(receive(fd, &closed), NQN " 1 3 optimized 1\nok\n");
	for (int i = 0; i < 1000; i++)
		memcpy(many + 3 * i, "x \n", 3);
	ck_assert_int_eq(write(fd, many, 3000), 3000);
	text = receive(fd, &closed);
	ck_assert_uint_eq(strlen(text),
			  1000 * strlen("error: unknown: x; \"help\" shows what there is\n"));
	close(fd);
}
END_TEST

/* It asks and asks and never reads: not more is taken than what one answer needs. */
START_TEST(peer_that_does_not_read_is_not_read)
{
	static char asks[4096];
	int fd = connect_peer();
	size_t sent = 0;
	ssize_t n;

	for (size_t i = 0; i < sizeof(asks); i += 4)
		memcpy(asks + i, "ana\n", 4);
	for (int stuck = 0; stuck < 10;) {
		n = send(fd, asks, sizeof(asks), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		stuck = n > 0 ? 0 : stuck + 1;
		turn();
		ck_assert_uint_lt(sent, 4u << 20);
	}
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 optimized 1\nok\n"); /* others are served */
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
				 i < CONTROL_PEERS_MAX ? "" : "error: too many connections\n");
	}
	for (int i = 0; i < 3 * CONTROL_PEERS_MAX; i++)
		close(fd[i]);
	turn();
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 optimized 1\nok\n");
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

static void hold(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	(void)b;
	(void)req;
	(void)offset;
	(void)fua;
}

static struct backend_ops held_ops;

/* A read that does not end, so that access through the port does not. */
static void start_endless_read(struct nvmf_queue **admin, struct nvmf_queue **q, struct exchange *x)
{
	struct namespace *ns = subsystem_namespace(target->subsystems[1], 1);
	uint16_t cntlid;

	held_ops = *ns->backend->ops;
	held_ops.rw = hold;
	ns->backend->ops = &held_ops;
	*admin = open_enabled(&cntlid);
	*q = open_io(cntlid);
	*x = (struct exchange){ .sqe = { .opcode = 2, .flags = SQE_PSDT_SGL, .nsid = put32(1) } };
	x->req.queue = *q;
	x->req.sqe = &x->sqe;
	start(x);
	ck_assert(!x->answered);
}

#define CLOSE_IT "ana " NQN " 1 3 inaccessible\n"

START_TEST(answer_comes_when_it_is_so)
{
	struct nvmf_queue *admin, *q;
	struct exchange x;
	bool closed;
	int fd = connect_peer();

	start_endless_read(&admin, &q, &x);
	ck_assert_int_eq(write(fd, CLOSE_IT "ana\n", strlen(CLOSE_IT "ana\n")),
			 (ssize_t)strlen(CLOSE_IT "ana\n"));
	ck_assert_str_eq(receive(fd, &closed), "");
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 change 1\nok\n");
	nvmf_req_complete(&x.req, NVME_OK);
	ck_assert_str_eq(receive(fd, &closed), "ok\n" NQN " 1 3 inaccessible 1\nok\n");
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
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 inaccessible 1\nok\n");
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
	ck_assert_str_eq(ask("ana " NQN " 1 3 optimized\n"), "ok\n");
	ck_assert_str_eq(receive(fd, &closed), "error: another state was set meanwhile\n");
	nvmf_req_complete(&x.req, NVME_OK);
	close(fd);
	turn();
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 optimized 1\nok\n");
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
	ck_assert_int_eq(control_create(socket_path, loop(), target, &second, &diag), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(diag.what, "another daemon"));
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 optimized 1\nok\n");
	/* left behind by one that did not end well */
	control_destroy(control);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);

	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, socket_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	ck_assert_int_eq(control_create(socket_path, loop(), target, &control, &diag), 0);
	ck_assert_str_eq(ask("ana\n"), NQN " 1 3 optimized 1\nok\n");
	/* a file is not taken away */
	control_destroy(control);
	fd = open(socket_path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	ck_assert_int_eq(control_create(socket_path, loop(), target, &second, &diag), -EEXIST);
	unlink(socket_path);
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
	tcase_add_test(tc, help_has_every_verb);
	tcase_add_test(tc, line_without_end_is_refused);
	tcase_add_test(tc, requests_in_pieces_and_many_at_once);
	tcase_add_test(tc, peer_that_does_not_read_is_not_read);
	tcase_add_test(tc, connections_are_limited);
	tcase_add_test(tc, silent_peers_are_dropped);
	tcase_add_test(tc, answer_comes_when_it_is_so);
	tcase_add_test(tc, asker_goes_before_the_answer);
	tcase_add_test(tc, daemon_goes_before_the_answer);
	tcase_add_test(tc, another_order_wins);
	tcase_add_test(tc, socket_is_private_and_taken_once);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
