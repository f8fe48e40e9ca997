#include "target/daemon/service.h"

#include "target/daemon/daemon.h"
#include "target/daemon/watchdog.h"
#include "target/log.h"
#include "target/target.h"
#include "transport/transport.h"

#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define LOOK_S 1 /* how old an untrue status may become */

void service_busy(struct daemon *d, unsigned int seconds)
{
	watchdog_bear(d->service.watchdog, seconds);
	if (!d->service.ready || d->stop_phase)
		(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%u000000", seconds);
}

/* ---- status text ------------------------------------------------------------------------------
 */

static void print_status(const struct daemon *d, FILE *out)
{
	unsigned int nhosts = target_nhosts(d->target), nlistening;
	char *waiting = NULL;
	size_t len = 0;
	FILE *w = open_memstream(&waiting, &len);

	if (!w)
		return;
	if (d->stop_phase) {
		fprintf(out, "stopping: %u connections left", transport_nconns(d->transport));
	} else {
		if (d->refused[0])
			fprintf(out, "%s; ", d->refused);
		nlistening = transport_listening(d->transport, w);
		fprintf(out, "%u of %zu ports listen; %u host%s", nlistening, d->conf->nports,
			nhosts, nhosts == 1 ? "" : "s");
		(void)target_waiting(d->target, w);
	}
	if (fclose(w) == 0)
		fputs(waiting, out);
	free(waiting);
}

void service_tell(struct daemon *d, bool again)
{
	char text[SERVICE_STATUS_MAX] = "";
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");

	if (!out)
		return;
	print_status(d, out);
	fclose(out);
	if (!again && strcmp(text, d->service.status) == 0)
		return;
	strlcpy(d->service.status, text, sizeof(d->service.status));
	(void)sd_notifyf(0, "STATUS=%s", text);
}

static void on_look(struct ev_loop *loop, ev_timer *t, int revents)
{
	(void)loop;
	(void)revents;
	service_tell(t->data, false);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void feed(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}

static void start_watchdog(struct daemon *d)
{
	struct watchdog_opts opts = { .feed = feed, .stick_at_file = d->test_stick };
	int err;

	if (sd_watchdog_enabled(0, &opts.limit_us) <= 0 || opts.limit_us == 0)
		return;
	err = watchdog_create(&d->reactors, &opts, &d->service.watchdog);
	if (err)
		log_warn("the watchdog cannot be fed: %s", strerror(-err));
}

void service_ready(struct daemon *d)
{
	start_watchdog(d);
	d->service.ready = true;
	service_tell(d, true);
	log_event(JOURNAL_READY, NULL, "ready");
	(void)sd_notify(0, "READY=1");
	if (!getenv("NOTIFY_SOCKET"))
		return;
	ev_timer_init(&d->service.look, on_look, LOOK_S, LOOK_S);
	d->service.look.data = d;
	ev_timer_start(daemon_control_reactor(d)->loop, &d->service.look);
}

void service_stopping(struct daemon *d, unsigned int seconds)
{
	(void)sd_notify(0, "STOPPING=1");
	service_busy(d, seconds);
	service_tell(d, true);
}

void service_stop(struct daemon *d)
{
	if (d->reactors.n)
		ev_timer_stop(daemon_control_reactor(d)->loop, &d->service.look);
	watchdog_stop(d->service.watchdog);
}

void service_fini(struct daemon *d)
{
	watchdog_destroy(d->service.watchdog);
	d->service.watchdog = NULL;
}
