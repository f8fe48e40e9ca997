/* Rates: what namespaces did since the last look, and in which memory. */
#include "target/ctl/ctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_INTERVAL_S 2
#define ROWS_MAX           4096
#define NAME_MAX_LEN       272

/* ---- what is counted ---------------------------------------------------------------------------
 */

enum counter {
	READ_COMMANDS,
	WRITE_COMMANDS,
	READ_BYTES,
	WRITE_BYTES,
	LATENCY_NS, /* of all commands */
	FAILED,
	NCOUNTERS
};

/* A namespace, or a place that payload is staged in. */
struct row {
	char name[NAME_MAX_LEN];
	bool is_place;
	uint64_t counter[NCOUNTERS];
	double rate[NCOUNTERS]; /* a second */
};

struct look {
	double at;  /* seconds */
	bool stale; /* the next one failed */
	struct row *rows;
	size_t n;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct row *find_row(struct look *l, const char *name, bool is_place)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->rows[i].is_place == is_place && strcmp(l->rows[i].name, name) == 0)
			return &l->rows[i];
	return NULL;
}

/* NULL: there are too many, and it is left out. */
static struct row *add_row(struct look *l, const char *name, bool is_place)
{
	struct row *r = find_row(l, name, is_place);

	if (r || l->n == ROWS_MAX)
		return r;
	r = &l->rows[l->n++];
	*r = (struct row){ .is_place = is_place };
	strlcpy(r->name, name, sizeof(r->name));
	return r;
}

static uint64_t number(struct json_object *o, const char *path)
{
	return json_object_get_uint64(json_get(o, path));
}

static void add_places(struct look *l, struct json_object *ns, const char *path, enum counter c)
{
	struct json_object *staged = json_get(ns, path);

	for (size_t i = 0; staged && i < json_object_array_length(staged); i++) {
		struct json_object *place = json_object_array_get_idx(staged, i);
		struct row *r = add_row(l, json_text(place, "in"), true);

		if (r)
			r->counter[c] += number(place, "bytes");
	}
}

static void add_namespace(struct look *l, struct json_object *ns)
{
	char name[NAME_MAX_LEN];
	struct row *r;

	snprintf(name, sizeof(name), "%s/%s", json_text(ns, "subsystem"), json_text(ns, "nsid"));
	r = add_row(l, name, false);
	if (r) {
		r->counter[READ_COMMANDS] = number(ns, "read.commands");
		r->counter[WRITE_COMMANDS] = number(ns, "write.commands");
		r->counter[READ_BYTES] = number(ns, "read.bytes");
		r->counter[WRITE_BYTES] = number(ns, "write.bytes");
		r->counter[LATENCY_NS] =
			number(ns, "read.latency_ns") + number(ns, "write.latency_ns");
		r->counter[FAILED] = number(ns, "read.failed") + number(ns, "write.failed");
	}
	add_places(l, ns, "read.staged", READ_BYTES);
	add_places(l, ns, "write.staged", WRITE_BYTES);
}

/* Return: an exit code. */
static int take_look(const struct ctl *ctl, struct look *l, bool quiet)
{
	struct json_object *result;
	int code = ctl_ask(ctl, &verbs[VERB_NAMESPACES], NULL, quiet, &result);

	if (code != CTL_OK)
		return code;
	l->at = now();
	l->stale = false;
	l->n = 0;
	for (size_t i = 0; i < json_object_array_length(result); i++)
		add_namespace(l, json_object_array_get_idx(result, i));
	json_object_put(result);
	return CTL_OK;
}

/* A namespace that came in between, or a daemon that started anew, has no rate yet. */
static void compute_rates(struct look *l, struct look *before)
{
	double seconds = l->at - before->at;

	for (size_t i = 0; i < l->n; i++) {
		struct row *r = &l->rows[i];
		const struct row *b = find_row(before, r->name, r->is_place);

		for (enum counter c = 0; c < NCOUNTERS; c++)
			r->rate[c] = b && seconds > 0 && r->counter[c] >= b->counter[c]
					     ? (double)(r->counter[c] - b->counter[c]) / seconds
					     : 0;
	}
}

/* ---- lines -------------------------------------------------------------------------------------
 */

#define HEAD_FORMAT "%10s %10s %10s %10s %8s %8s  %s"

static void format_head(char *line, size_t len, bool places)
{
	if (places)
		snprintf(line, len, HEAD_FORMAT, "", "", "READ/s", "WRITE/s", "", "", "STAGED IN");
	else
		snprintf(line, len, HEAD_FORMAT, "READS/s", "WRITES/s", "READ/s", "WRITE/s",
			 "LATENCY", "FAILED/s", "NAMESPACE");
}

/* From the command's arrival to its response. */
static struct human mean_latency(const struct row *r)
{
	double commands = r->rate[READ_COMMANDS] + r->rate[WRITE_COMMANDS];
	double us = commands > 0 ? r->rate[LATENCY_NS] / commands / 1000 : 0;
	struct human h;

	if (us >= 1000)
		snprintf(h.text, sizeof(h.text), us < 99950 ? "%.1f ms" : "%.0f ms", us / 1000);
	else
		snprintf(h.text, sizeof(h.text), commands > 0 ? "%.0f us" : "-", us);
	return h;
}

static void format_row(char *line, size_t len, const struct row *r)
{
	struct human reads = human_number(r->rate[READ_COMMANDS]);
	struct human writes = human_number(r->rate[WRITE_COMMANDS]);
	struct human failed = human_number(r->rate[FAILED]);

	if (r->is_place)
		snprintf(line, len, HEAD_FORMAT, "", "", human_bytes(r->rate[READ_BYTES]).text,
			 human_bytes(r->rate[WRITE_BYTES]).text, "", "", r->name);
	else
		snprintf(line, len, HEAD_FORMAT, reads.text, writes.text,
			 human_bytes(r->rate[READ_BYTES]).text,
			 human_bytes(r->rate[WRITE_BYTES]).text, mean_latency(r).text, failed.text,
			 r->name);
}

/* Busiest first, namespaces before places. */
static int by_rate(const void *a, const void *b)
{
	const struct row *ra = a, *rb = b;
	double x = ra->rate[READ_BYTES] + ra->rate[WRITE_BYTES];
	double y = rb->rate[READ_BYTES] + rb->rate[WRITE_BYTES];

	if (ra->is_place != rb->is_place)
		return ra->is_place ? 1 : -1;
	if (x != y)
		return x > y ? -1 : 1;
	return strcmp(ra->name, rb->name);
}

/* ---- not on a terminal: line after line --------------------------------------------------------
 */

static void print_plain(const struct look *l)
{
	char line[512], stamp[32];
	time_t t = time(NULL);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
	for (size_t i = 0; i < l->n; i++) {
		if (i == 0 || l->rows[i].is_place != l->rows[i - 1].is_place) {
			format_head(line, sizeof(line), l->rows[i].is_place);
			printf("%s %s\n", stamp, line);
		}
		format_row(line, sizeof(line), &l->rows[i]);
		printf("%s ", stamp);
		print_text(line, stdout);
		putchar('\n');
	}
	fflush(stdout);
}

/* ---- on a terminal: in place -------------------------------------------------------------------
 */

static volatile sig_atomic_t ended, resized;
static struct termios old_terminal;

static void on_signal(int number_of)
{
	if (number_of == SIGWINCH)
		resized = 1;
	else
		ended = 1;
}

/* The other screen, no cursor, keys at once and unseen. */
static bool enter_screen(void)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &old_terminal) < 0)
		return false;
	raw = old_terminal;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0)
		return false;
	(void)sigaction(SIGWINCH, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
	fputs("\033[?1049h\033[?25l\033[2J", stdout);
	return true;
}

static void leave_screen(void)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old_terminal);
}

struct screen {
	unsigned int width, height, used;
};

static struct screen measure(void)
{
	struct winsize w;
	struct screen s = { 80, 24, 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row) {
		s.width = w.ws_col;
		s.height = w.ws_row;
	}
	return s;
}

/* One line, cut at the screen's edge; nothing once the screen is full. */
static void put_line(struct screen *s, const char *text, const char *colour)
{
	if (s->used == s->height)
		return;
	printf("\033[%u;1H%s", ++s->used, colour);
	for (unsigned int n = 0; *text; text++) {
		n += ((unsigned char)*text & 0xc0) != 0x80;
		if (n > s->width)
			break;
		putchar((unsigned char)*text < ' ' ? '?' : *text);
	}
	printf("%s\033[K", *colour ? "\033[0m" : "");
}

static void draw(const struct ctl *ctl, const struct look *l, unsigned int interval)
{
	const char *bold = ctl->colour ? "\033[1m" : "";
	struct screen s = measure();
	char line[512], stamp[32];
	time_t t = time(NULL);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
	snprintf(line, sizeof(line), "nvmf-p2pd  %s  every %u s  q quits%s", stamp, interval,
		 l->stale ? "  THE DAEMON DOES NOT ANSWER" : "");
	put_line(&s, line, "");
	for (size_t i = 0; i < l->n; i++) {
		if (i == 0 || l->rows[i].is_place != l->rows[i - 1].is_place) {
			put_line(&s, "", "");
			format_head(line, sizeof(line), l->rows[i].is_place);
			put_line(&s, line, bold);
		}
		format_row(line, sizeof(line), &l->rows[i]);
		put_line(&s, line, "");
	}
	if (l->n == 0)
		put_line(&s, "no namespaces", "");
	if (s.used < s.height)
		fputs("\033[J", stdout);
	fflush(stdout);
}

/* Until the next look is due. True: end. */
static bool wait_for_keys(const struct ctl *ctl, const struct look *l, unsigned int interval,
			  double until)
{
	while (!ended && now() < until) {
		struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
		char key;

		if (resized) {
			resized = 0;
			draw(ctl, l, interval);
		}
		if (poll(&p, 1, (int)((until - now()) * 1000) + 1) <= 0)
			continue;
		if (read(STDIN_FILENO, &key, 1) <= 0)
			return true; /* the terminal is gone */
		if (key == 'q' || key == 'Q')
			return true;
	}
	return ended;
}

/* ---- the command -------------------------------------------------------------------------------
 */

static void wait_until(double until)
{
	double left;

	while ((left = until - now()) > 0) {
		const struct timespec t = { .tv_sec = (time_t)left,
					    .tv_nsec =
						    (long)((left - (double)(time_t)left) * 1e9) };

		(void)nanosleep(&t, NULL);
	}
}

/* On a screen, a daemon that is started anew is waited for. */
static int go_on(const struct ctl *ctl, struct look looks[2], unsigned int interval, uint64_t count,
		 bool on_screen)
{
	struct look *before = &looks[0], *l = &looks[1], *swap;
	int code = take_look(ctl, before, on_screen);
	double due = now();

	if (on_screen && code == CTL_OK)
		draw(ctl, before, interval); /* all zero: it lives */
	for (uint64_t i = 0; code == CTL_OK && (count == 0 || i < count) && !ferror(stdout); i++) {
		due += interval;
		if (!on_screen)
			wait_until(due);
		else if (wait_for_keys(ctl, before, interval, due))
			break;
		code = take_look(ctl, l, on_screen);
		if (code == CTL_OK) {
			compute_rates(l, before);
			qsort(l->rows, l->n, sizeof(l->rows[0]), by_rate);
			swap = before;
			before = l;
			l = swap;
		} else if (on_screen && code == CTL_NO_DAEMON) {
			before->stale = true;
			code = CTL_OK;
		}
		if (code == CTL_OK && on_screen)
			draw(ctl, before, interval);
		else if (code == CTL_OK)
			print_plain(before);
	}
	return code;
}

int ctl_top(const struct ctl *ctl, struct json_object *args)
{
	uint64_t interval = number(args, "interval"), count = number(args, "count");
	struct look looks[2] = { { .rows = calloc(ROWS_MAX, sizeof(struct row)) },
				 { .rows = calloc(ROWS_MAX, sizeof(struct row)) } };
	bool on_screen = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
	int code = CTL_REFUSED;

	if (!looks[0].rows || !looks[1].rows) {
		perror("nvmf-p2pctl: top");
		free(looks[0].rows);
		free(looks[1].rows);
		return code;
	}
	if (interval == 0)
		interval = DEFAULT_INTERVAL_S;
	if (on_screen)
		on_screen = enter_screen();
	code = go_on(ctl, looks, (unsigned int)interval, count, on_screen);
	if (on_screen) {
		leave_screen();
		if (code != CTL_OK) /* nobody saw why */
			(void)take_look(ctl, &looks[0], false);
	}
	free(looks[0].rows);
	free(looks[1].rows);
	return code;
}
