/*
 * log: the journal voice, for the administrator. One line an event: what happened, with key=value
 * fields, and what to do. Rooms return errors; only the edge that decides logs them. Never on the
 * I/O path. Any thread.
 *
 * Where stderr is the journal's, entries are structured: PRIORITY, MESSAGE, and of events
 * (journal.h) a MESSAGE_ID and fields. Elsewhere they are lines of text. No secret is ever logged.
 *
 * What a peer can bring on is logged by log_peer(), or as an event with the field "peer", so that
 * none can fill the journal.
 */
#ifndef TARGET_LOG_H
#define TARGET_LOG_H

#include "target/journal.h"

#include <stdint.h>

/* By level; ends with NULL. */
extern const char *const log_level_names[LOG_LEVEL_DEBUG + 2];

/** log_init() - lines above @level are dropped. Whether stderr is the journal's is found out by
 * JOURNAL_STREAM, as systemd.exec(5) has it. */
void log_init(enum log_level level);

/** log_set_level() - from now on. log_get_level() - now. Any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/** log_msg() - one line, without a newline at its end. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What an event is about; NULL and 0 are left out. In the journal: NVMF_NQN, NVMF_HOSTNQN, ... */
struct log_fields {
	const char *peer; /* NVMF_HOST_ADDRESS: who brought it on: limited, see log_peer() */
	const char *nqn, *hostnqn, *device, *provider, *rnic, *address, *thread;
	uint32_t nsid;
	uint16_t cntlid, port;
};
#define LOG_FIELDS(...) (&(const struct log_fields){ __VA_ARGS__ })

/** log_event() - a line at the level of event @e, with fields in the journal. @f: NULL: none. */
void log_event(enum journal_event e, const struct log_fields *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define LOG_PEER_LINES    20 /* for each peer */
#define LOG_PEER_PERIOD_S 60
#define LOG_PEERS         32 /* told apart at a time; the others share one count */

/** log_peer() - as log_msg(), for what the peer at address @peer brought on: at most LOG_PEER_LINES
 * in LOG_PEER_PERIOD_S. What is beyond is counted, see log_peers_trim(). */
void log_peer(enum log_level level, const char *peer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** log_peers_trim() - of peers whose time is over, say how much was left out. To be called now and
 * then. */
void log_peers_trim(void);

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
