/* One request to the daemon, and its answer. */
#include "target/ctl/ctl.h"

#include "target/daemon/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_S  180 /* a drain waits for 30 s, proofs for milliseconds a path */
#define FIRST_SIZE 65536

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = TIMEOUT_S };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)
		      ? -ENAMETOOLONG
		      : 0;
	if (!err && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
		     setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
		     connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* A daemon that refuses the connection answers without reading: that the rest cannot be sent is no
 * failure yet. */
static void send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
}

/* The answer's line without its newline, allocated; NULL: there is none. */
static char *receive_line(int fd)
{
	size_t size = 0, used = 0;
	char *text = NULL, *end = NULL;
	ssize_t n;

	while (!end) {
		if (used == size) {
			char *more = size > CONTROL_ANSWER_MAX
					     ? NULL
					     : realloc(text, size ? 2 * size : FIRST_SIZE);

			if (!more)
				break;
			text = more;
			size = size ? 2 * size : FIRST_SIZE;
		}
		n = recv(fd, text + used, size - used, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		end = memchr(text + used, '\n', (size_t)n);
		used += (size_t)n;
	}
	if (!end) {
		free(text);
		return NULL;
	}
	*end = '\0';
	return text;
}

static struct json_object *make_request(const struct verb *verb, struct json_object *args)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "command", json_object_new_string(verb->name));
	if (args) {
		json_object_object_foreach(args, name, value)
		{
			json_object_object_add(o, name, json_object_get(value));
		}
	}
	return o;
}

__attribute__((format(printf, 2, 3))) static void complain(bool quiet, const char *fmt, ...)
{
	char text[1536];
	va_list args;

	if (quiet)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fputs("nvmf-p2pctl: ", stderr);
	print_text(text, stderr);
	putc('\n', stderr);
}

static int no_connection(const struct ctl *ctl, int err, bool quiet)
{
	if (err == -EACCES || err == -EPERM) {
		complain(
			quiet,
			"%s: %s; root may ask, and members of the group that daemon.control_group names",
			ctl->socket, strerror(-err));
		return CTL_NOT_PERMITTED;
	}
	complain(quiet, "%s: %s; does nvmf-p2pd run? (systemctl status nvmf-p2pd)", ctl->socket,
		 strerror(-err));
	return CTL_NO_DAEMON;
}

/* Takes @answer. */
static int judge(struct json_object *answer, bool quiet, struct json_object **ret_result)
{
	struct json_object *result = json_get(answer, "result");
	int code = CTL_OK;

	if (json_object_get_boolean(json_get(answer, "ok")) && result) {
		*ret_result = json_object_get(result);
	} else if (json_get(answer, "error.message")) {
		complain(quiet, "%s", json_text(answer, "error.message"));
		code = strcmp(json_text(answer, "error.errno"), "EPERM") == 0 ? CTL_NOT_PERMITTED
									      : CTL_REFUSED;
	} else {
		complain(quiet, "what answers is not nvmf-p2pd");
		code = CTL_NO_DAEMON;
	}
	json_object_put(answer);
	return code;
}

int ctl_ask(const struct ctl *ctl, const struct verb *verb, struct json_object *args, bool quiet,
	    struct json_object **ret_result)
{
	struct json_object *request;
	const char *text;
	size_t len;
	char *line;
	int fd = connect_to(ctl->socket);

	if (fd < 0)
		return no_connection(ctl, fd, quiet);
	request = make_request(verb, args);
	text = json_object_to_json_string_length(request, JSON_C_TO_STRING_PLAIN, &len);
	send_all(fd, text, len);
	send_all(fd, "\n", 1);
	json_object_put(request);
	shutdown(fd, SHUT_WR);
	line = receive_line(fd);
	close(fd);
	if (!line) {
		complain(quiet, "the daemon ended, or took too long, without an answer");
		return CTL_NO_DAEMON;
	}
	struct json_object *answer = json_tokener_parse(line);

	free(line);
	return judge(answer, quiet, ret_result);
}
