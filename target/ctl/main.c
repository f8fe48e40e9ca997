/*
 * nvmf-p2pctl: one request to the daemon's control socket, and its answer. What can be asked is the
 * daemon's to say (target/daemon/control.c).
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/nvmf-p2pd/control"
#define TIMEOUT_S      60

enum exit_code { EXIT_OK = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_NO_DAEMON = 3 };

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = TIMEOUT_S };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return fd;
}

static bool send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return shutdown(fd, SHUT_WR) == 0;
}

/* Lines to stdout as they come, but for the last one, which is the verdict. */
static enum exit_code show_answer(int fd)
{
	FILE *in = fdopen(fd, "r");
	char *line = NULL, *last = NULL;
	size_t size = 0;
	enum exit_code code = EXIT_NO_DAEMON;

	while (in && getline(&line, &size, in) > 0) {
		if (last)
			fputs(last, stdout);
		free(last);
		last = strdup(line);
	}
	if (last && strcmp(last, "ok\n") == 0) {
		code = EXIT_OK;
	} else if (last && strncmp(last, "error: ", 7) == 0) {
		fprintf(stderr, "nvmf-p2pctl: %s", last + 7);
		code = EXIT_REFUSED;
	} else {
		fprintf(stderr, "nvmf-p2pctl: the daemon gave no answer\n");
	}
	free(line);
	free(last);
	if (in)
		fclose(in);
	return code;
}

static enum exit_code ask(const char *path, const char *request, bool quiet)
{
	int fd = connect_to(path);

	if (fd >= 0 && send_all(fd, request, strlen(request)))
		return show_answer(fd);
	if (!quiet)
		fprintf(stderr, "nvmf-p2pctl: %s: %s; does nvmf-p2pd run?\n", path,
			strerror(errno));
	if (fd >= 0)
		close(fd);
	return EXIT_NO_DAEMON;
}

static void print_help(const char *path)
{
	printf("Usage: nvmf-p2pctl [OPTION]... REQUEST [WORD]...\n"
	       "Ask the running nvmf-p2pd, or change what it does.\n\n"
	       "  -s, --socket PATH  the daemon's control socket (" DEFAULT_SOCKET ")\n"
	       "  -h, --help         show this, and what the daemon can be asked\n"
	       "  -V, --version      show the version\n\n"
	       "Exit status: 0 done, 1 refused by the daemon, 2 wrong usage, 3 no daemon or no answer.\n\n"
	       "Requests:\n");
	fflush(stdout);
	if (ask(path, "help\n", true) != EXIT_OK)
		printf("(the daemon knows, but does not run, or may not be asked by you)\n");
}

/* The words as one line. NULL: they cannot be one. */
static char *request_of(char **words)
{
	size_t len = 2;
	char *line;

	for (char **w = words; *w; w++) {
		if (!**w || strpbrk(*w, " \t\r\n"))
			return NULL;
		len += strlen(*w) + 1;
	}
	line = calloc(1, len);
	for (char **w = words; line && *w; w++) {
		strlcat(line, *w, len);
		strlcat(line, w[1] ? " " : "\n", len);
	}
	return line;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "socket", required_argument, NULL, 's' },
						 { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { NULL, 0, NULL, 0 } };
	const char *path = DEFAULT_SOCKET;
	bool help = false;
	enum exit_code code;
	char *request;
	int c;

	while ((c = getopt_long(argc, argv, "+s:hV", options, NULL)) != -1) {
		if (c == 's') {
			path = optarg;
		} else if (c == 'h') {
			help = true;
		} else if (c == 'V') {
			puts("nvmf-p2pctl " NVMF_P2PD_VERSION);
			return EXIT_OK;
		} else {
			fputs("Try 'nvmf-p2pctl --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (help) {
		print_help(path);
		return EXIT_OK;
	}
	request = optind < argc ? request_of(argv + optind) : NULL;
	if (!request) {
		fputs("nvmf-p2pctl: a request without spaces in its words is needed. Try 'nvmf-p2pctl --help'.\n",
		      stderr);
		return EXIT_USAGE;
	}
	code = ask(path, request, false);
	free(request);
	return code;
}
