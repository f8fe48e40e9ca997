#include "target/log.h"

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 1000 /* bytes of a message */

const char *const log_level_names[] = { "error", "warning", "info", "debug", NULL };

static enum log_level max_level = LOG_LEVEL_INFO; /* atomic */
static bool to_journal;

/* JOURNAL_STREAM is inherited; it says "the journal" only of the stream that it names. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_init(enum log_level level)
{
	log_set_level(level);
	to_journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
	__atomic_store_n(&max_level, level, __ATOMIC_RELAXED);
}

enum log_level log_get_level(void)
{
	return __atomic_load_n(&max_level, __ATOMIC_RELAXED);
}

/* Names come from hosts: a line shall stay one, and a terminal as it is. */
static void blot_controls(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void write_line(enum log_level level, const char *text)
{
	static const struct {
		const char *journal, *terminal;
	} prefix[] = {
		[LOG_LEVEL_ERROR] = { "<3>", "nvmf-p2pd: error: " },
		[LOG_LEVEL_WARNING] = { "<4>", "nvmf-p2pd: warning: " },
		[LOG_LEVEL_INFO] = { "<6>", "nvmf-p2pd: " },
		[LOG_LEVEL_DEBUG] = { "<7>", "nvmf-p2pd: debug: " },
	};
	char line[TEXT_MAX + 64];
	int n = snprintf(line, sizeof(line), "%s%s\n",
			 to_journal ? prefix[level].journal : prefix[level].terminal, text);

	/* one write a line, so that lines of threads do not mix */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* ---- the journal -------------------------------------------------------------------------------
 */

#define ENTRY_FIELDS_MAX 16

struct entry {
	struct iovec field[ENTRY_FIELDS_MAX];
	int n;
	char buf[4096]; /* where they are, but for the message */
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void put(struct entry *e, const char *fmt, ...)
{
	size_t room = sizeof(e->buf) - e->used;
	char *at = e->buf + e->used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(at, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room || e->n == ENTRY_FIELDS_MAX)
		return;
	e->field[e->n++] = (struct iovec){ at, (size_t)n };
	e->used += (size_t)n + 1;
}

static void put_fields(struct entry *e, const struct log_fields *f)
{
	const struct {
		const char *name, *value;
	} texts[] = {
		{ "HOST_ADDRESS", f->peer }, { "NQN", f->nqn },           { "HOSTNQN", f->hostnqn },
		{ "DEVICE", f->device },     { "PROVIDER", f->provider }, { "RNIC", f->rnic },
		{ "ADDRESS", f->address },   { "THREAD", f->thread },
	};
	const struct {
		const char *name;
		uint32_t value;
	} numbers[] = {
		{ "NSID", f->nsid },
		{ "CNTLID", f->cntlid },
		{ "PORT", f->port },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].value)
			put(e, "NVMF_%s=%s", texts[i].name, texts[i].value);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].value)
			put(e, "NVMF_%s=%u", numbers[i].name, numbers[i].value);
}

/* The fields' lengths are told, so that no byte of a value can end or begin one. */
static bool send_entry(enum log_level level, const struct journal_row *event,
		       const struct log_fields *f, const char *text)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	struct entry e = { 0 };

	put(&e, "PRIORITY=%d", priority[level]);
	put(&e, "MESSAGE=%s", text);
	put(&e, "SYSLOG_IDENTIFIER=nvmf-p2pd");
	if (event) {
		put(&e, "MESSAGE_ID=%s", event->id);
		put(&e, "NVMF_EVENT=%s", event->name);
	}
	if (f)
		put_fields(&e, f);
	return sd_journal_sendv(e.field, e.n) == 0;
}

/* ---- lines and events --------------------------------------------------------------------------
 */

__attribute__((format(printf, 4, 0))) static void log_va(enum log_level level,
							 const struct journal_row *event,
							 const struct log_fields *f,
							 const char *fmt, va_list ap)
{
	char text[TEXT_MAX];

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	blot_controls(text);
	if (!to_journal || !send_entry(level, event, f, text))
		write_line(level, text);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_get_level())
		return;
	va_start(ap, fmt);
	log_va(level, NULL, NULL, fmt, ap);
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

	if (level > log_get_level() || !may_say(peer))
		return;
	va_start(ap, fmt);
	log_va(level, NULL, NULL, fmt, ap);
	va_end(ap);
}

void log_event(enum journal_event e, const struct log_fields *f, const char *fmt, ...)
{
	const struct journal_row *row = &journal_events[e];
	va_list ap;

	if (row->level > log_get_level() || (f && f->peer && !may_say(f->peer)))
		return;
	va_start(ap, fmt);
	log_va(row->level, row, f, fmt, ap);
	va_end(ap);
}

void log_peers_trim(void)
{
	pthread_mutex_lock(&peers_lock);
	forget_old_peers(now_s());
	pthread_mutex_unlock(&peers_lock);
}
