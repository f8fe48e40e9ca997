/* Metrics of the daemon itself and of its process. */
#include "target/daemon/metrics_table.h"

#include "target/daemon/daemon.h"
#include "target/daemon/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void collect_build_info(struct metric_out *out, const struct daemon *d)
{
	(void)d;
	metric_count(out, METRIC_LABELS({ "version", NVMF_P2PD_VERSION }), 1);
}

void collect_reactor_work(struct metric_out *out, const struct daemon *d)
{
	for (unsigned int i = 0; i < d->reactors.n; i++)
		metric_count(out, METRIC_LABELS({ "reactor", metric_number(i).text }),
			     reactor_work(d->reactors.r[i]));
}

void collect_reloads(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_LABELS({ "result", "done" }), d->reloads.done);
	metric_count(out, METRIC_LABELS({ "result", "refused" }), d->reloads.refused);
}

void collect_last_reload_ok(struct metric_out *out, const struct daemon *d)
{
	metric_count(out, METRIC_NO_LABELS, !d->reloads.last_refused);
}

void collect_last_reload_time(struct metric_out *out, const struct daemon *d)
{
	metric_value(out, METRIC_NO_LABELS, d->reloads.done_at);
}

void collect_scrapes(struct metric_out *out, const struct daemon *d)
{
	const char *code;
	uint64_t n;

	for (unsigned int i = 0; metrics_answers(d->metrics, i, &code, &n); i++)
		metric_count(out, METRIC_LABELS({ "code", code }), n);
}

void collect_build_seconds(struct metric_out *out, const struct daemon *d)
{
	metric_value(out, METRIC_NO_LABELS, metrics_build_seconds(d->metrics));
}

/* ---- the process: from /proc, which may be hidden: then there is no sample ---------------------
 */

void collect_cpu_seconds(struct metric_out *out, const struct daemon *d)
{
	struct timespec t;

	(void)d;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	metric_value(out, METRIC_NO_LABELS, (double)t.tv_sec + (double)t.tv_nsec / 1e9);
}

void collect_resident_memory(struct metric_out *out, const struct daemon *d)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long all, resident;

	(void)d;
	if (!f)
		return;
	if (fscanf(f, "%lu %lu", &all, &resident) == 2)
		metric_count(out, METRIC_NO_LABELS,
			     (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE));
	fclose(f);
}

/* Field 22 of /proc/self/stat: clock ticks since boot. The name before may have spaces in it. */
void collect_start_time(struct metric_out *out, const struct daemon *d)
{
	FILE *f = fopen("/proc/self/stat", "re");
	struct timespec real, boot;
	unsigned long long ticks;
	char text[1024], *at;
	size_t len;

	(void)d;
	if (!f)
		return;
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1,
			  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
			  " %*d %*d %llu",
			  &ticks) != 1)
		return;
	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	metric_value(out, METRIC_NO_LABELS,
		     (double)(real.tv_sec - boot.tv_sec) +
			     (double)(real.tv_nsec - boot.tv_nsec) / 1e9 +
			     (double)ticks / (double)sysconf(_SC_CLK_TCK));
}

void collect_open_fds(struct metric_out *out, const struct daemon *d)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	uint64_t n = 0;

	(void)d;
	if (!dir)
		return;
	errno = 0;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (errno == 0)
		metric_count(out, METRIC_NO_LABELS, n - 1); /* without the folder's own */
	closedir(dir);
}

void collect_max_fds(struct metric_out *out, const struct daemon *d)
{
	struct rlimit limit;

	(void)d;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		metric_count(out, METRIC_NO_LABELS, limit.rlim_cur);
}
