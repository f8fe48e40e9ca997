/* The control socket: listening, connections. */
#include "target/daemon/control.h"

#include "target/daemon/control_call.h"
#include "target/daemon/daemon.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_SIZE 4096 /* of a connection's buffer; it grows to CONTROL_REQUEST_MAX */

struct control {
	struct ev_loop *loop;
	struct daemon *daemon;
	struct sockaddr_un address;
	int fd;
	ev_tstamp started;
	ev_io acceptable;
	ev_timer pause; /* no descriptors left: accept again then */
	unsigned int npeers, nreaders;
	LIST_HEAD(control_peers, control_peer) peers;
};

struct control_peer {
	struct control *control;
	int fd;
	bool may_change; /* root or the daemon's user */
	ev_io readable, writable;
	ev_timer idle;
	char *in;
	size_t nin, in_size;
	bool too_long;             /* the request is, and its end is looked for */
	bool eof;                  /* it has said all */
	bool closing;              /* after the answer */
	struct control_call *call; /* being answered: nothing is read meanwhile */
	char *out;
	size_t nout, sent;
	LIST_ENTRY(control_peer) entry;
};

/* ---- connections ------------------------------------------------------------------------------
 */

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
	c->nreaders -= !p->may_change;
	close(p->fd);
	free(p->in);
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

void control_done(struct control_call *call, int err)
{
	struct control_peer *p = call->peer;

	if (p) {
		size_t len = 0;
		char *text = control_answer(call, err, &len);

		p->call = NULL;
		if (text)
			send_text(p, text, len);
		else
			close_peer(p); /* no memory */
	}
	control_call_free(call);
}

/* NULL: no memory, and the peer is gone. */
static struct control_call *start_call(struct control_peer *p)
{
	struct control_call *call = calloc(1, sizeof(*call));

	if (!call) {
		close_peer(p);
		return NULL;
	}
	call->daemon = p->control->daemon;
	call->may_change = p->may_change;
	call->since = ev_now(p->control->loop) - p->control->started;
	call->peer = p;
	p->call = call;
	ev_io_stop(p->control->loop, &p->readable);
	ev_timer_stop(p->control->loop, &p->idle); /* it is we who take time */
	return call;
}

/* The peer may be gone when this returns. */
static void refuse(struct control_peer *p, int err, const char *why)
{
	struct control_call *call = start_call(p);

	if (call)
		control_done(call, control_refuse(call, err, "%s", why));
}

/* The request is no more needed where it was read. */
static void consume(struct control_peer *p, size_t len)
{
	p->nin -= len;
	memmove(p->in, p->in + len, p->nin);
}

/* The peer may be gone when this returns. */
static void take_line(struct control_peer *p, size_t len)
{
	struct control_call *call = start_call(p);
	int err;

	if (!call)
		return;
	if (p->too_long)
		err = control_refuse(call, -EMSGSIZE,
				     "the request is too long, up to %u bytes are taken",
				     CONTROL_REQUEST_MAX);
	else
		err = control_parse(call, p->in, len);
	p->too_long = false;
	consume(p, len + 1);
	if (!err)
		err = control_run(call);
	if (err != CONTROL_LATER)
		control_done(call, err);
}

/* Room for more of a request, of which there is no end yet. False: no memory. */
static bool make_room(struct control_peer *p)
{
	size_t size = p->in_size ? 2 * p->in_size : FIRST_SIZE;
	char *in;

	if (p->nin < p->in_size)
		return true;
	if (p->in_size == CONTROL_REQUEST_MAX) {
		p->too_long = true;
		p->nin = 0;
		return true;
	}
	in = realloc(p->in, size);
	if (!in)
		return false;
	p->in = in;
	p->in_size = size;
	return true;
}

/* The next of what has been read; else read on. The peer may be gone when this returns. */
static void go_on(struct control_peer *p)
{
	const char *end = p->nin ? memchr(p->in, '\n', p->nin) : NULL;

	if (p->closing) {
		close_peer(p);
	} else if (end) {
		take_line(p, (size_t)(end - p->in));
	} else if (p->eof && (p->nin || p->too_long)) {
		p->closing = true;
		refuse(p, -EBADMSG, "the request has no end: it is one line, with a newline");
	} else if (p->eof || !make_room(p)) {
		close_peer(p);
	} else {
		ev_io_start(p->control->loop, &p->readable);
		ev_timer_again(p->control->loop, &p->idle);
	}
}

static void on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct control_peer *p = w->data;
	ssize_t n;

	(void)loop;
	(void)revents;
	n = read(p->fd, p->in + p->nin, p->in_size - p->nin);
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

/* Whom the file's mode lets connect may read. */
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
	p->may_change = is_trusted(fd);
	ev_io_init(&p->readable, on_readable, fd, EV_READ);
	ev_io_init(&p->writable, on_writable, fd, EV_WRITE);
	ev_init(&p->idle, on_idle);
	p->idle.repeat = CONTROL_IDLE_S;
	p->readable.data = p->writable.data = p->idle.data = p;
	LIST_INSERT_HEAD(&c->peers, p, entry);
	c->npeers++;
	c->nreaders += !p->may_change;
	if (c->npeers > CONTROL_PEERS_MAX ||
	    (!p->may_change && c->nreaders > CONTROL_READERS_MAX)) {
		p->closing = true;
		refuse(p, -EBUSY, "too many connections; try again later");
	} else {
		go_on(p);
	}
}

static void on_pause_over(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct control *c = w->data;

	(void)revents;
	ev_io_start(loop, &c->acceptable);
}

/* At twice the limit nobody is told any more why. Readers alone do not get there. */
static void on_acceptable(struct ev_loop *loop, ev_io *w, int revents)
{
	struct control *c = w->data;
	int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)revents;
	if (fd >= 0 && (c->npeers >= 2 * CONTROL_PEERS_MAX ||
			(c->nreaders >= 2 * CONTROL_READERS_MAX && !is_trusted(fd)))) {
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

/* Its members may connect. */
static int give_to_group(const char *path, const char *group)
{
	const struct group *g = getgrnam(group);

	if (!g)
		return -ENOENT;
	if (chown(path, (uid_t)-1, g->gr_gid) < 0)
		return -errno;
	return chmod(path, 0660) < 0 ? -errno : 0;
}

/* Nobody can connect before listen(), so owner and mode are right in time. *@ret_group_fails: it is
 * the group. */
static int listen_on(const struct control *c, const char *group, bool *ret_group_fails)
{
	const char *path = c->address.sun_path;
	int err;

	if (bind(c->fd, (const struct sockaddr *)&c->address, sizeof(c->address)) < 0)
		return -errno;
	err = chmod(path, 0600) < 0 ? -errno : 0;
	if (!err && group) {
		err = give_to_group(path, group);
		*ret_group_fails = err != 0;
	}
	if (!err && listen(c->fd, CONTROL_PEERS_MAX) < 0)
		err = -errno;
	if (err)
		unlink(path);
	return err;
}

static int open_socket(struct control *c, const char *group, bool *ret_group_fails)
{
	int err = make_folder(c->address.sun_path);

	if (!err)
		err = take_away_stale(c);
	if (err)
		return err;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	err = listen_on(c, group, ret_group_fails);
	if (err)
		close(c->fd);
	return err;
}

static void explain_group(struct config_diag *diag, const char *group, int err)
{
	snprintf(diag->what, sizeof(diag->what), "control socket: daemon.control_group %s: %s",
		 group, err == -ENOENT ? "there is no such group" : strerror(-err));
	snprintf(diag->fix, sizeof(diag->fix), "%s",
		 err == -ENOENT
			 ? "make it (groupadd --system), or set another"
			 : "make the daemon's user a member of it, as with SupplementaryGroups= "
			   "in its unit");
}

int control_create(const char *path, const char *group, struct ev_loop *loop, struct daemon *d,
		   struct control **ret_control, struct config_diag *diag)
{
	struct control *c = calloc(1, sizeof(*c));
	bool group_fails = false;
	int err = c ? 0 : -ENOMEM;

	if (c) {
		c->loop = loop;
		c->daemon = d;
		c->started = ev_now(loop);
		c->address.sun_family = AF_UNIX;
		strlcpy(c->address.sun_path, path, sizeof(c->address.sun_path));
		LIST_INIT(&c->peers);
		err = open_socket(c, group, &group_fails);
	}
	if (err) {
		*diag = (struct config_diag){ .fix = "set daemon.control_socket to another path" };
		if (group_fails)
			explain_group(diag, group, err);
		else
			snprintf(diag->what, sizeof(diag->what), "control socket %s: %s", path,
				 err == -EADDRINUSE ? "another daemon listens there"
						    : strerror(-err));
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
