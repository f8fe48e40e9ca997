/* The configuration read again: all of it, or nothing; and what systemd is told of that. */
#include "target/daemon/daemon.h"
#include "target/daemon/metrics.h"
#include "target/log.h"
#include "target/target.h"
#include "transport/transport.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

/* systemd.service(5), Type=notify-reload: the time tells this reload from an earlier one. */
static void tell_begin(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			 (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

/* Ready again, whatever became of it; the status first, so that it is there when the reload is
 * over. A refusal stays in it until a reload succeeds. */
static void tell_end(struct daemon *d, int err, const struct config_diag *diag)
{
	char line[sizeof(*diag) + 16] = "";
	FILE *f = fmemopen(line, sizeof(line) - 1, "w");

	if (f) {
		config_diag_print(diag, f);
		(void)fclose(f);
	}
	line[strcspn(line, "\n")] = '\0';
	d->refused[0] = '\0';
	if (err)
		snprintf(d->refused, sizeof(d->refused), "reload refused: %s", line);
	service_tell(d, true);
	(void)sd_notify(0, "READY=1");
}

static void nobody_to_blame(const struct daemon *d, int err, struct config_diag *diag)
{
	if (!diag->file[0])
		strlcpy(diag->file, d->config_path, sizeof(diag->file));
	if (!diag->what[0])
		strlcpy(diag->what, strerror(-err), sizeof(diag->what));
}

/* What cannot fail. */
static void commit(struct daemon *d, struct config *conf, struct target_plan *target,
		   struct transport_plan *transport)
{
	struct config *old = d->conf;

	target_commit(target);
	transport_commit(transport);
	for (unsigned int r = 0; r < d->reactors.n; r++)
		reactor_set_poll(d->reactors.r[r], (uint64_t)conf->poll_us * 1000);
	d->conf = conf;
	daemon_set_dumpable(conf->core_dumps);
	target_retire_conf(d->target, old);
	target_check_sizes(d->target);
	if (metrics_listen(d->metrics, conf->metrics))
		log_error("metrics: no memory; they are served where they were");
}

int daemon_apply(struct daemon *d, struct config *conf, struct config_diag *diag)
{
	struct target_plan *target = NULL;
	struct transport_plan *transport = NULL;
	int err;

	service_busy(d, BUSY_S);
	*diag = (struct config_diag){ 0 };
	if (d->stop_phase != STOP_NOT) {
		strlcpy(diag->what, "the daemon is stopping", sizeof(diag->what));
		return -ESHUTDOWN;
	}
	err = target_prepare(d->target, conf, &target, diag);
	if (!err)
		err = transport_prepare(d->transport, conf, &transport);
	if (err)
		target_abandon(target);
	else
		commit(d, conf, target, transport);
	return err;
}

static int reload(struct daemon *d, struct config_diag *diag)
{
	struct config *conf = NULL;
	int err = config_load(d->config_path, &conf, diag);

	if (!err)
		err = config_check_change(d->conf, conf, d->config_path, diag);
	if (!err)
		err = daemon_apply(d, conf, diag);
	if (err)
		config_free(conf);
	return err;
}

static void count(struct daemon *d, int err)
{
	d->reloads.last_refused = err;
	if (err) {
		d->reloads.refused++;
	} else {
		d->reloads.done++;
		d->reloads.done_at = ev_time();
	}
}

int daemon_reload(struct daemon *d, struct config_diag *diag)
{
	int err;

	service_busy(d, BUSY_S);
	tell_begin();
	*diag = (struct config_diag){ 0 };
	err = reload(d, diag);
	if (err) {
		nobody_to_blame(d, err, diag);
		config_diag_print(diag, stderr);
		log_event(JOURNAL_RELOAD_REFUSED, NULL,
			  "reload refused; the configuration stays as it was: %s:%u: %s",
			  diag->file, diag->line, diag->what);
	} else {
		log_event(JOURNAL_RELOADED, NULL, "configuration reloaded");
	}
	count(d, err);
	tell_end(d, err, diag);
	return err;
}
