#include "target/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_INFO;
static bool to_journal;

void log_init(enum log_level level)
{
	max_level = level;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

/* Names come from hosts: a line shall stay one, and a terminal as it is. */
static void blot_controls(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
}

__attribute__((format(printf, 2, 0))) static void log_va(enum log_level level, const char *fmt,
							 va_list ap)
{
	static const struct {
		const char *journal, *terminal;
	} prefix[] = {
		[LOG_LEVEL_ERROR] = { "<3>", "nvmf-p2pd: error: " },
		[LOG_LEVEL_WARNING] = { "<4>", "nvmf-p2pd: warning: " },
		[LOG_LEVEL_INFO] = { "<6>", "nvmf-p2pd: " },
		[LOG_LEVEL_DEBUG] = { "<7>", "nvmf-p2pd: debug: " },
	};
	char line[1024];
	size_t at = (size_t)snprintf(line, sizeof(line) - 1, "%s",
				     to_journal ? prefix[level].journal : prefix[level].terminal);
	int n = vsnprintf(line + at, sizeof(line) - 1 - at, fmt, ap);

	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2 - at)
		n = (int)(sizeof(line) - 2 - at);
	blot_controls(line + at, (size_t)n);
	at += (size_t)n;
	line[at++] = '\n';
	/* one write a line, so that lines of threads do not mix */
	if (write(STDERR_FILENO, line, at) < 0)
		return;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	log_va(level, fmt, ap);
	va_end(ap);
}

/* ---- peers -------------------------------------------------------------------------------------
 */

static struct peer {
	char name[64]; /* "": free */
	uint64_t since_s;
	unsigned int nlines, nleft_out;
} peers[LOG_PEERS + 1]; /* the last: all for whom there is no other */
static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec;
}

static void forget_old_peers(uint64_t now)
{
	for (struct peer *p = peers; p <= &peers[LOG_PEERS]; p++) {
		if (!p->name[0] || now - p->since_s < LOG_PEER_PERIOD_S)
			continue;
		if (p->nleft_out)
			log_warn("%s: %u more lines in %u s, left out", p->name, p->nleft_out,
				 LOG_PEER_PERIOD_S);
		*p = (struct peer){ 0 };
	}
}

static struct peer *find_peer(const char *name, uint64_t now)
{
	struct peer *p, *unused = &peers[LOG_PEERS];

	for (p = peers; p < &peers[LOG_PEERS]; p++) {
		if (strncmp(p->name, name, sizeof(p->name) - 1) == 0)
			return p;
		if (!p->name[0] && unused == &peers[LOG_PEERS])
			unused = p;
	}
	if (!unused->name[0]) {
		unused->since_s = now;
		strlcpy(unused->name, unused == &peers[LOG_PEERS] ? "other hosts" : name,
			sizeof(unused->name));
	}
	return unused;
}

static bool may_say(const char *name)
{
	uint64_t now = now_s();
	struct peer *p;
	bool may;

	pthread_mutex_lock(&peers_lock);
	forget_old_peers(now);
	p = find_peer(name, now);
	may = p->nlines < LOG_PEER_LINES;
	if (may)
		p->nlines++;
	else
		p->nleft_out++;
	pthread_mutex_unlock(&peers_lock);
	return may;
}

void log_peer(enum log_level level, const char *peer, const char *fmt, ...)
{
	va_list ap;

	if (level > max_level || !may_say(peer))
		return;
	va_start(ap, fmt);
	log_va(level, fmt, ap);
	va_end(ap);
}

void log_peers_trim(void)
{
	pthread_mutex_lock(&peers_lock);
	forget_old_peers(now_s());
	pthread_mutex_unlock(&peers_lock);
}
