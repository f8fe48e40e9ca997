/*
 * log: the journal voice, for the administrator. One line an event: what happened, with key=value
 * fields, and what to do. Rooms return errors; only the edge that decides logs them. Never on the
 * I/O path. Any thread.
 *
 * What a peer can bring on is logged by log_peer(), so that none can fill the journal.
 */
#ifndef TARGET_LOG_H
#define TARGET_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/** log_init() - lines above @level are dropped. Under systemd (JOURNAL_STREAM is set) lines carry
 * the priority prefix of sd-daemon(3). */
void log_init(enum log_level level);

/** log_msg() - one line, without a newline at its end. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

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
