/* Prometheus asks, and a browser that asks for what there is not, while a host is connected. */
#include "tests/fuzz/asserts.h"

#include "tests/fault/fixture.h"
#include "tests/fault/scenarios.h"

#include "target/daemon/daemon.h"
#include "target/daemon/metrics.h"

#include <arpa/inet.h>
#include <ev.h>
#include <sys/socket.h>

static struct daemon daemon_;
static struct nvmf_queue *admin;
static char address[64];
static uint16_t port;

static struct ev_loop *loop(void)
{
	return reactors.r[0]->loop;
}

/* A port that was free a moment ago. */
static void find_port(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(any);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&any, &len), 0);
	close(fd);
	port = any.sin_port;
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(port));
}

void metrics_prepare(void)
{
	uint16_t cntlid;

	subsystems[0].allow_any_host = true;
	namespaces[0].where.file = "here";
	setup();
	admin = open_enabled(&cntlid);
	daemon_ = (struct daemon){ .conf = &conf, .reactors = reactors, .target = target };
	find_port();
}

void metrics_finish(void)
{
	metrics_destroy(daemon_.metrics);
	drop_queue(admin);
	teardown();
}

static int reach(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = port };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

/* Return: bytes of the answer, until the server closes or does nothing any more. */
static size_t ask(const char *request, char *answer, size_t size)
{
	size_t n = 0;
	int fd;

	fault_pause(true);
	fd = reach();
	for (int quiet = 0, sent = 0; fd >= 0 && quiet < 50;) {
		ssize_t got;

		fault_pause(false);
		ev_run(loop(), EVRUN_NOWAIT);
		fault_pause(true);
		if (!sent)
			sent = send(fd, request, strlen(request), MSG_NOSIGNAL) > 0;
		got = recv(fd, answer + n, size - 1 - n, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		n += got > 0 ? (size_t)got : 0;
		quiet = got > 0 ? 0 : quiet + 1;
	}
	if (fd >= 0)
		close(fd);
	for (int i = 0; i < 3; i++)
		ev_run(loop(), EVRUN_NOWAIT);
	fault_pause(false);
	answer[n] = '\0';
	return n;
}

#define GET(what) "GET " what " HTTP/1.0\r\n\r\n"

/* All, or an error: what is missing would be taken for nothing. */
static bool all_is_told(void)
{
	static const char *const samples[] = { "\nnvmf_p2pd_controllers{",
					       "\nnvmf_p2pd_path_usable{", "\nnvmf_p2pd_path_info{",
					       "le=\"+Inf\"", "\nnvmf_p2pd_build_info{" };
	static char answer[1 << 18];

	if (ask(GET("/metrics"), answer, sizeof(answer)) == 0 || !strstr(answer, " 200 OK"))
		return false;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		ck_assert_ptr_nonnull(strstr(answer, samples[i]));
	/* there may be none; but none is negative */
	ck_assert(!strstr(answer, "process_open_fds 18"));
	return true;
}

void metrics_faulty(void)
{
	static char answer[4096];

	daemon_.metrics = metrics_create(&daemon_);
	if (!daemon_.metrics)
		return;
	if (metrics_listen(daemon_.metrics, address))
		return;
	(void)all_is_told();
	(void)ask(GET("/nothing"), answer, sizeof(answer));
	(void)ask("POST /metrics HTTP/1.0\r\n\r\n", answer, sizeof(answer));
	if (metrics_listen(daemon_.metrics, "off") == 0 &&
	    metrics_listen(daemon_.metrics, address) == 0)
		(void)all_is_told();
}

/* Where it could not listen it tries again, a second later and more. */
void metrics_verify(void)
{
	if (!daemon_.metrics)
		daemon_.metrics = metrics_create(&daemon_);
	ck_assert_ptr_nonnull(daemon_.metrics);
	ck_assert_int_eq(metrics_listen(daemon_.metrics, "off"), 0);
	ck_assert_int_eq(metrics_listen(daemon_.metrics, address), 0);
	/* the text of a moment ago is told to whoever asks */
	for (int ms = 0; ms < 10000 && !all_is_told(); ms += 10)
		usleep(10000);
	ck_assert(all_is_told());
}
