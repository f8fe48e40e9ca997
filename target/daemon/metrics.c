#include "target/daemon/metrics.h"

#include "target/daemon/daemon.h"
#include "target/daemon/metrics_text.h"
#include "target/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define BACKLOG     16
#define RETRY_MAX_S 15 /* between two tries to listen */
#define FRESH_MIN_S 0.1

/* MHD_YES and MHD_NO became an enum in 0.9.71 */
typedef enum MHD_Result mhd_result;

enum answer {
	ANSWER_OK,
	ANSWER_NOT_FOUND,
	ANSWER_NO_METHOD,
	ANSWER_NO_MEMORY,
	ANSWER_NKINDS,
};

static const struct {
	unsigned int code;
	const char *text; /* of the code, for the counter */
	const char *body; /* NULL: depends */
} answers[ANSWER_NKINDS] = {
	[ANSWER_OK] = { MHD_HTTP_OK, "200", NULL },
	[ANSWER_NOT_FOUND] = { MHD_HTTP_NOT_FOUND, "404", "Not found. Metrics are at /metrics\n" },
	[ANSWER_NO_METHOD] = { MHD_HTTP_METHOD_NOT_ALLOWED, "405", "Only GET and HEAD\n" },
	[ANSWER_NO_MEMORY] = { MHD_HTTP_SERVICE_UNAVAILABLE, "503", "No memory\n" },
};

static const char index_page[] =
	"nvmf-p2pd " NVMF_P2PD_VERSION ": metrics for Prometheus are at /metrics\n";

struct peer {
	int fd;
	ev_tstamp deadline;
	LIST_ENTRY(peer) entry;
};

struct metrics {
	const struct daemon *daemon;
	struct ev_loop *loop;
	char *address;
	struct MHD_Daemon *http; /* NULL: nothing listens */
	ev_io ready;
	ev_timer timeout;   /* libmicrohttpd's */
	ev_timer deadlines; /* looks for peers that take too long */
	ev_timer retry;
	unsigned int wait_s; /* before the next try */
	int said;            /* the error that was logged */
	LIST_HEAD(peers, peer) peers;
	struct MHD_Response *text; /* NULL: none yet */
	ev_tstamp text_fresh_until;
	double build_seconds;
	uint64_t nanswers[ANSWER_NKINDS];
};

bool metrics_answers(const struct metrics *m, unsigned int i, const char **ret_code,
		     uint64_t *ret_n)
{
	if (i >= ANSWER_NKINDS)
		return false;
	*ret_code = answers[i].text;
	*ret_n = m ? m->nanswers[i] : 0;
	return true;
}

double metrics_build_seconds(const struct metrics *m)
{
	return m ? m->build_seconds : 0;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

/* One answer a connection: so the deadline is about that alone, and no idle one takes a place. A
 * @body that must be freed is in any case. */
static struct MHD_Response *response(const char *body, size_t len, enum MHD_ResponseMemoryMode mode,
				     const char *type)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, mode);

	if (!r) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free((void *)(uintptr_t)body);
		return NULL;
	}
	if (MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type) != MHD_YES ||
	    MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close") != MHD_YES) {
		MHD_destroy_response(r);
		return NULL;
	}
	return r;
}

static struct MHD_Response *build(const struct metrics *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err;

	if (!out)
		return NULL;
	err = metrics_print(metric_table, metric_table_len, m->daemon, out);
	if (ferror(out) | fclose(out) | err) {
		free(text);
		return NULL;
	}
	return response(text, len, MHD_RESPMEM_MUST_FREE,
			"text/plain; version=0.0.4; charset=utf-8");
}

/* The text, made anew if it is not fresh any more. Return: NULL: no memory. */
static struct MHD_Response *fresh_text(struct metrics *m)
{
	ev_tstamp start = ev_time();
	double fresh_for;

	if (m->text && start < m->text_fresh_until && start > m->text_fresh_until - 60)
		return m->text;
	if (m->text)
		MHD_destroy_response(m->text); /* who is still being sent it has it */
	m->text = build(m);
	m->build_seconds = ev_time() - start;
	fresh_for = 9 * m->build_seconds;
	m->text_fresh_until = ev_time() + (fresh_for > FRESH_MIN_S ? fresh_for : FRESH_MIN_S);
	return m->text;
}

static mhd_result answer(struct metrics *m, struct MHD_Connection *c, enum answer kind,
			 const char *body)
{
	struct MHD_Response *r =
		response(body, strlen(body), MHD_RESPMEM_PERSISTENT, "text/plain; charset=utf-8");
	mhd_result result;

	if (!r)
		return MHD_NO;
	if (kind == ANSWER_NO_METHOD)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	m->nanswers[kind]++;
	result = MHD_queue_response(c, answers[kind].code, r);
	MHD_destroy_response(r);
	return result;
}

static mhd_result answer_error(struct metrics *m, struct MHD_Connection *c, enum answer kind)
{
	return answer(m, c, kind, answers[kind].body);
}

static mhd_result on_request(void *arg, struct MHD_Connection *c, const char *url,
			     const char *method, const char *version, const char *upload,
			     size_t *upload_len, void **con_arg)
{
	struct metrics *m = arg;
	struct MHD_Response *text;

	(void)version;
	(void)upload;
	(void)con_arg;
	/* a body, if there is one, is not waited for: the connection is closed */
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_error(m, c, ANSWER_NO_METHOD);
	*upload_len = 0;
	if (strcmp(url, "/") == 0)
		return answer(m, c, ANSWER_OK, index_page);
	if (strcmp(url, "/metrics") != 0)
		return answer_error(m, c, ANSWER_NOT_FOUND);
	text = fresh_text(m);
	if (!text)
		return answer_error(m, c, ANSWER_NO_MEMORY);
	m->nanswers[ANSWER_OK]++;
	return MHD_queue_response(c, MHD_HTTP_OK, text);
}

/* ---- peers and their deadlines -----------------------------------------------------------------
 */

static void on_connection(void *arg, struct MHD_Connection *c, void **socket_context,
			  enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct metrics *m = arg;
	struct peer *p = *socket_context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED && info) {
		p = calloc(1, sizeof(*p));
		if (!p) { /* no memory, no service */
			shutdown(info->connect_fd, SHUT_RDWR);
			return;
		}
		p->fd = info->connect_fd;
		p->deadline = ev_time() + METRICS_DEADLINE_S;
		LIST_INSERT_HEAD(&m->peers, p, entry);
		*socket_context = p;
		if (!ev_is_active(&m->deadlines))
			ev_timer_again(m->loop, &m->deadlines);
	} else if (what == MHD_CONNECTION_NOTIFY_CLOSED && p) {
		LIST_REMOVE(p, entry);
		free(p);
		*socket_context = NULL;
	}
}

static void serve(struct metrics *m);

/* Whoever is too slow finds the connection shut; libmicrohttpd sees that and closes it. */
static void on_deadlines(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct metrics *m = w->data;
	ev_tstamp now = ev_time();
	const struct peer *p;

	(void)revents;
	LIST_FOREACH (p, &m->peers, entry)
		if (now >= p->deadline || p->deadline - now > METRICS_DEADLINE_S + 1)
			shutdown(p->fd, SHUT_RDWR);
	if (LIST_EMPTY(&m->peers))
		ev_timer_stop(loop, w);
	serve(m);
}

/* ---- libmicrohttpd in the loop -----------------------------------------------------------------
 */

static void serve(struct metrics *m)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (!m->http)
		return;
	(void)MHD_run(m->http);
	ev_timer_stop(m->loop, &m->timeout);
	if (MHD_get_timeout(m->http, &ms) == MHD_YES) {
		ev_timer_set(&m->timeout, (double)ms / 1e3, 0);
		ev_timer_start(m->loop, &m->timeout);
	}
}

static void on_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	(void)loop;
	(void)revents;
	serve(w->data);
}

static void on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	serve(w->data);
}

/* Return: the descriptor, or negative errno. */
static int open_socket(const char *address)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd, one = 1, err = config_endpoint(address, &addr, &len);

	if (err)
		return err;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (addr.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, (struct sockaddr *)&addr, len) || listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int start_http(struct metrics *m)
{
	const union MHD_DaemonInfo *info;
	int fd = open_socket(m->address);

	if (fd < 0)
		return fd;
	m->http = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, m,
				   MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				   METRICS_PEERS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
				   METRICS_PEERS_OF_ADDRESS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				   (size_t)METRICS_REQUEST_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				   (unsigned int)METRICS_DEADLINE_S, MHD_OPTION_NOTIFY_CONNECTION,
				   on_connection, m, MHD_OPTION_END);
	if (!m->http) {
		close(fd);
		return -ENOMEM;
	}
	info = MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_EPOLL_FD);
	ev_io_set(&m->ready, info->epoll_fd, EV_READ);
	ev_io_start(m->loop, &m->ready);
	return 0;
}

static void stop_http(struct metrics *m)
{
	ev_timer_stop(m->loop, &m->retry);
	ev_timer_stop(m->loop, &m->timeout);
	ev_timer_stop(m->loop, &m->deadlines);
	ev_io_stop(m->loop, &m->ready);
	if (m->http)
		MHD_stop_daemon(m->http);
	m->http = NULL;
}

static void try_listen(struct metrics *m)
{
	int err = start_http(m);

	if (!err) {
		log_info("metrics: at http://%s/metrics", m->address);
		m->said = 0;
		return;
	}
	if (err != m->said)
		log_warn(
			"metrics: cannot listen on %s: %s; it is tried again until it can: `ss -ltnp` shows who listens where; daemon.metrics names another address, or \"off\"",
			m->address, strerror(-err));
	m->said = err;
	m->wait_s = m->wait_s == 0 ? 1 : m->wait_s < RETRY_MAX_S / 2 ? 2 * m->wait_s : RETRY_MAX_S;
	ev_timer_set(&m->retry, m->wait_s, 0);
	ev_timer_start(m->loop, &m->retry);
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	try_listen(w->data);
}

/* ---- life --------------------------------------------------------------------------------------
 */

struct metrics *metrics_create(const struct daemon *d)
{
	struct metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->daemon = d;
	m->loop = daemon_control_reactor(d)->loop;
	LIST_INIT(&m->peers);
	ev_io_init(&m->ready, on_ready, -1, EV_READ);
	ev_timer_init(&m->timeout, on_timeout, 0, 0);
	ev_timer_init(&m->deadlines, on_deadlines, 1, 1);
	ev_timer_init(&m->retry, on_retry, 0, 0);
	m->ready.data = m->timeout.data = m->deadlines.data = m->retry.data = m;
	return m;
}

int metrics_listen(struct metrics *m, const char *address)
{
	char *copy;

	if (m->address && strcmp(m->address, address) == 0)
		return 0;
	copy = strdup(address);
	if (!copy)
		return -ENOMEM;
	stop_http(m);
	free(m->address);
	m->address = copy;
	m->said = 0;
	m->wait_s = 0;
	if (strcmp(address, "off") != 0)
		try_listen(m);
	return 0;
}

void metrics_destroy(struct metrics *m)
{
	if (!m)
		return;
	stop_http(m);
	if (m->text)
		MHD_destroy_response(m->text);
	free(m->address);
	free(m);
}
