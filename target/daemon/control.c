/* The control socket: its verbs, its connections. */
#include "target/daemon/control.h"

#include "target/log.h"
#include "target/target.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- verbs -----------------------------------------------------------------------------------
 */

static int control_help(struct control_call *call);

static const struct control_verb verbs[] = {
	{ "help", "", "show what can be asked", 0, 0, control_help },
	{ "ana", "[SUBSYSTEM PORT GROUP STATE]",
	  "show how namespaces are reached through the ports, or set the state of an ANA group: "
	  "optimized, non-optimized, inaccessible, persistent-loss, change",
	  0, 4, control_ana },
};
#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static int control_help(struct control_call *call)
{
	for (size_t i = 0; i < NVERBS; i++)
		fprintf(call->out, "%s%s%s\n\t%s\n", verbs[i].name, verbs[i].args[0] ? " " : "",
			verbs[i].args, verbs[i].help);
	return 0;
}

static const struct control_verb *find_verb(const char *name)
{
	for (size_t i = 0; i < NVERBS; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

/* ---- connections ------------------------------------------------------------------------------
 */

struct control {
	struct ev_loop *loop;
	struct target *target;
	struct sockaddr_un address;
	int fd;
	ev_io acceptable;
	ev_timer pause; /* no descriptors left: accept again then */
	unsigned int npeers;
	LIST_HEAD(control_peers, control_peer) peers;
};

struct control_peer {
	struct control *control;
	int fd;
	ev_io readable, writable;
	ev_timer idle;
	char in[CONTROL_LINE_MAX];
	size_t nin;
	bool eof;                  /* it has said all */
	bool closing;              /* after the answer */
	struct control_call *call; /* being answered: nothing is read meanwhile */
	char *out;
	size_t nout, sent;
	LIST_ENTRY(control_peer) entry;
};

static void free_call(struct control_call *call)
{
	if (call->out)
		fclose(call->out);
	free(call->text);
	free(call);
}

static void close_peer(struct control_peer *p)
{
	struct control *c = p->control;

	ev_io_stop(c->loop, &p->readable);
	ev_io_stop(c->loop, &p->writable);
	ev_timer_stop(c->loop, &p->idle);
	if (p->call)
		p->call->peer = NULL;
	LIST_REMOVE(p, entry);
	c->npeers--;
	close(p->fd);
	free(p->out);
	free(p);
}

/* The peer is busy with an answer until all of it is sent. */
static void send_text(struct control_peer *p, char *text, size_t len)
{
	free(p->out);
	p->out = text;
	p->nout = len;
	p->sent = 0;
	ev_io_stop(p->control->loop, &p->readable);
	ev_io_start(p->control->loop, &p->writable);
	ev_timer_again(p->control->loop, &p->idle);
}

static void answer(struct control_call *call, int err)
{
	struct control_peer *p = call->peer;
	bool complete;

	if (err)
		fprintf(call->out, "error: %s\n", call->why[0] ? call->why : strerror(-err));
	else
		fputs("ok\n", call->out);
	complete = !ferror(call->out);
	complete &= fclose(call->out) == 0; /* only now text is where it stays */
	call->out = NULL;
	if (p) {
		p->call = NULL;
		if (complete) {
			send_text(p, call->text, call->len);
			call->text = NULL;
		} else {
			close_peer(p); /* no memory */
		}
	}
	free_call(call);
}

int control_refuse(struct control_call *call, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(call->why, sizeof(call->why), fmt, args);
	va_end(args);
	return err;
}

void control_done(struct control_call *call, int err)
{
	answer(call, err);
}

/* ---- requests --------------------------------------------------------------------------------
 */

static bool is_plain(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			return false;
	return true;
}

/* Cut the line into words. False: there are too many. */
static bool split(struct control_call *call, char **ret_verb)
{
	char *save = NULL, *word = strtok_r(call->line, " ", &save);

	*ret_verb = word;
	while (word && (word = strtok_r(NULL, " ", &save))) {
		if (call->argc == CONTROL_WORDS_MAX)
			return false;
		call->argv[call->argc++] = word;
	}
	return true;
}

static int run_line(struct control_call *call, size_t len)
{
	const struct control_verb *verb;
	char *name;

	if (!is_plain(call->line, len))
		return control_refuse(call, -EINVAL, "the request holds control characters");
	if (!split(call, &name))
		return control_refuse(call, -E2BIG, "more than %d words", CONTROL_WORDS_MAX + 1);
	if (!name)
		return control_refuse(call, -EINVAL, "empty request; \"help\" shows what there is");
	verb = find_verb(name);
	if (!verb)
		return control_refuse(call, -EINVAL, "unknown: %.64s; \"help\" shows what there is",
				      name);
	if (call->argc < verb->min_args || call->argc > verb->max_args)
		return control_refuse(call, -EINVAL, "wrong number of words: %s %s", verb->name,
				      verb->args);
	return verb->run(call);
}

/* The peer may be gone when this returns. */
static void take_line(struct control_peer *p, const char *line, size_t len)
{
	struct control_call *call = calloc(1, sizeof(*call));
	int err;

	if (call)
		call->out = open_memstream(&call->text, &call->len);
	if (!call || !call->out) {
		free(call);
		close_peer(p);
		return;
	}
	call->target = p->control->target;
	call->peer = p;
	p->call = call;
	memcpy(call->line, line, len);
	ev_io_stop(p->control->loop, &p->readable);
	ev_timer_stop(p->control->loop, &p->idle); /* it is we who take time */
	err = run_line(call, len);
	if (err != CONTROL_LATER)
		answer(call, err);
}

static void refuse_peer(struct control_peer *p, const char *why)
{
	char *text = NULL;
	int len = asprintf(&text, "error: %s\n", why);

	p->closing = true;
	if (len < 0)
		close_peer(p);
	else
		send_text(p, text, (size_t)len);
}

/* The next of what has been read; else read on. The peer may be gone when this returns. */
static void go_on(struct control_peer *p)
{
	const char *end = memchr(p->in, '\n', p->nin);
	char line[CONTROL_LINE_MAX];
	size_t len;

	if (end) {
		len = (size_t)(end - p->in);
		memcpy(line, p->in, len);
		p->nin -= len + 1;
		memmove(p->in, end + 1, p->nin);
		take_line(p, line, len);
	} else if (p->closing || p->eof) {
		close_peer(p);
	} else if (p->nin == sizeof(p->in)) {
		refuse_peer(p, "the request is too long");
	} else {
		ev_io_start(p->control->loop, &p->readable);
		ev_timer_again(p->control->loop, &p->idle);
	}
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct control_peer *p = w->data;
	ssize_t n = read(p->fd, p->in + p->nin, sizeof(p->in) - p->nin);

	(void)loop;
	(void)revents;
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			close_peer(p);
		return;
	}
	p->eof = n == 0;
	p->nin += (size_t)n;
	go_on(p);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct control_peer *p = w->data;
	ssize_t n = send(p->fd, p->out + p->sent, p->nout - p->sent, MSG_NOSIGNAL);

	(void)revents;
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			close_peer(p);
		return;
	}
	ev_timer_again(loop, &p->idle);
	p->sent += (size_t)n;
	if (p->sent < p->nout)
		return;
	ev_io_stop(loop, w);
	if (p->closing)
		close_peer(p);
	else
		go_on(p);
}

static void on_idle(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	close_peer(w->data);
}

/* ---- listening -------------------------------------------------------------------------------
 */

static bool is_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void add_peer(struct control *c, int fd)
{
	struct control_peer *p = calloc(1, sizeof(*p));

	if (!p) {
		close(fd);
		return;
	}
	p->control = c;
	p->fd = fd;
	ev_io_init(&p->readable, on_readable, fd, EV_READ);
	ev_io_init(&p->writable, on_writable, fd, EV_WRITE);
	ev_init(&p->idle, on_idle);
	p->idle.repeat = CONTROL_IDLE_S;
	p->readable.data = p->writable.data = p->idle.data = p;
	LIST_INSERT_HEAD(&c->peers, p, entry);
	if (c->npeers++ >= CONTROL_PEERS_MAX)
		refuse_peer(p, "too many connections");
	else if (!is_trusted(fd))
		refuse_peer(p, "only root and the daemon's user may");
	else
		go_on(p);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct control *c = w->data;

	(void)revents;
	ev_io_start(loop, &c->acceptable);
}

/* At twice the limit nobody is told any more why. */
static void on_acceptable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct control *c = w->data;
	int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)revents;
	if (fd >= 0 && c->npeers >= 2 * CONTROL_PEERS_MAX) {
		close(fd);
	} else if (fd >= 0) {
		add_peer(c, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		ev_io_stop(loop, w);
		ev_timer_set(&c->pause, 1, 0);
		ev_timer_start(loop, &c->pause);
	}
}

static int make_folder(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	strlcpy(folder, path, sizeof(folder));
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	return mkdir(folder, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* A socket that a daemon left behind that did not end well. */
static int take_away_stale(const struct control *c)
{
	struct stat st;
	int fd, err;

	if (lstat(c->address.sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)&c->address, sizeof(c->address)) < 0 ? errno : 0;
	close(fd);
	if (err != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(c->address.sun_path) < 0 ? -errno : 0;
}

/* Nobody can connect before listen(), so the mode is right in time. */
static int open_socket(struct control *c)
{
	int err = make_folder(c->address.sun_path);

	if (!err)
		err = take_away_stale(c);
	if (err)
		return err;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	if (bind(c->fd, (const struct sockaddr *)&c->address, sizeof(c->address)) < 0) {
		err = -errno;
		close(c->fd);
		return err;
	}
	if (chmod(c->address.sun_path, 0600) < 0 || listen(c->fd, CONTROL_PEERS_MAX) < 0) {
		err = -errno;
		unlink(c->address.sun_path);
		close(c->fd);
	}
	return err;
}

int control_create(const char *path, struct ev_loop *loop, struct target *t,
		   struct control **ret_control, struct config_diag *diag)
{
	struct control *c = calloc(1, sizeof(*c));
	int err = c ? 0 : -ENOMEM;

	if (c) {
		c->loop = loop;
		c->target = t;
		c->address.sun_family = AF_UNIX;
		strlcpy(c->address.sun_path, path, sizeof(c->address.sun_path));
		LIST_INIT(&c->peers);
		err = open_socket(c);
	}
	if (err) {
		*diag = (struct config_diag){ .fix = "set daemon.control_socket to another path" };
		snprintf(diag->what, sizeof(diag->what), "control socket %s: %s", path,
			 err == -EADDRINUSE ? "another daemon listens there" : strerror(-err));
		free(c);
		return err;
	}
	ev_io_init(&c->acceptable, on_acceptable, c->fd, EV_READ);
	ev_init(&c->pause, on_pause_over);
	c->acceptable.data = c->pause.data = c;
	ev_io_start(loop, &c->acceptable);
	*ret_control = c;
	return 0;
}

void control_destroy(struct control *c)
{
	struct control_peer *p, *next;

	if (!c)
		return;
	LIST_FOREACH_SAFE (p, &c->peers, entry, next)
		close_peer(p);
	ev_io_stop(c->loop, &c->acceptable);
	ev_timer_stop(c->loop, &c->pause);
	unlink(c->address.sun_path);
	close(c->fd);
	free(c);
}
