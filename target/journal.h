/*
 * journal: the events that matter to an administrator, each with a MESSAGE_ID that stays. The table
 * is what systemd/nvmf-p2pd.catalog and nvmf-p2pd(8) are checked against.
 */
#ifndef TARGET_JOURNAL_H
#define TARGET_JOURNAL_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum journal_event {
	JOURNAL_STARTED,
	JOURNAL_READY,
	JOURNAL_STOPPING,
	JOURNAL_STOPPED,
	JOURNAL_RELOADED,
	JOURNAL_RELOAD_REFUSED,
	JOURNAL_STUCK,
	JOURNAL_STATE_NOT_KEPT,
	JOURNAL_PORT_LISTENING,
	JOURNAL_PORT_WAITING,
	JOURNAL_RNIC_READY,
	JOURNAL_RNIC_GONE,
	JOURNAL_CMB_READY,
	JOURNAL_CMB_LOST,
	JOURNAL_PATH_PROVED,
	JOURNAL_PATH_NOT_PROVED,
	JOURNAL_PATH_DROPPED,
	JOURNAL_NS_ADDED,
	JOURNAL_NS_REMOVED,
	JOURNAL_NS_WAITING,
	JOURNAL_NS_LOST,
	JOURNAL_NS_BACK,
	JOURNAL_NS_RESIZED,
	JOURNAL_HOST_CONNECTED,
	JOURNAL_HOST_GONE,
	JOURNAL_HOST_REFUSED,
	JOURNAL_HOST_SILENT,
	JOURNAL_AUTH_FAILED,
	JOURNAL_NEVENTS,
};

struct journal_row {
	const char *name;
	const char *id; /* MESSAGE_ID: 32 hexadecimal digits, as sd_journal_send(3) wants them */
	enum log_level level;
	const char *subject; /* that of the catalog's entry */
};

extern const struct journal_row journal_events[JOURNAL_NEVENTS];

#endif
