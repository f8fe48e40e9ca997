#include "target/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_INFO;
static bool to_journal;

void log_init(enum log_level level)
{
	max_level = level;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_msg(enum log_level level, const char *fmt, ...)
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
	va_list ap;

	if (level > max_level)
		return;

	size_t at = (size_t)snprintf(line, sizeof(line) - 1, "%s",
				     to_journal ? prefix[level].journal : prefix[level].terminal);

	va_start(ap, fmt);
	int n = vsnprintf(line + at, sizeof(line) - 1 - at, fmt, ap);

	va_end(ap);
	if (n < 0)
		return;
	at += (size_t)n < sizeof(line) - 2 - at ? (size_t)n : sizeof(line) - 2 - at;
	line[at++] = '\n';
	/* one write a line, so that lines of threads do not mix */
	if (write(STDERR_FILENO, line, at) < 0)
		return;
}
