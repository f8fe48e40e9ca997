/*
 * log: the journal voice, for the administrator. One line an event: what happened, with key=value
 * fields, and what to do. Rooms return errors; only the edge that decides logs them. Never on the
 * I/O path. Any thread.
 */
#ifndef TARGET_LOG_H
#define TARGET_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/** log_init() - lines above @level are dropped. Under systemd (JOURNAL_STREAM is set) lines carry
 * the priority prefix of sd-daemon(3). */
void log_init(enum log_level level);

/** log_msg() - one line, without a newline at its end. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
