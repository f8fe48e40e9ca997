/* The daemon's life: start, signals, stop. */
#include "target/daemon/daemon.h"

#include "p2p/hotplug.h"
#include "target/daemon/control.h"
#include "target/daemon/metrics.h"
#include "target/log.h"
#include "target/target.h"
#include "transport/transport.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define RING_ENTRIES 1024

/* ---- signals ----------------------------------------------------------------------------------
 */

static void print_accounting(const struct daemon *d)
{
	target_print_accounting(d->target, stdout);
	transport_print_staging(d->transport, stdout);
}

void daemon_report(const struct daemon *d, struct report *report)
{
	transport_report(d->transport, report);
	target_report(d->target, report);
}

static void print_paths(const struct daemon *d, bool json)
{
	struct report *report = report_create();

	if (!report)
		return;
	daemon_report(d, report);
	report_print(report, json, stdout);
	report_destroy(report);
}

static void on_usr1(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	print_accounting(w->data);
	print_paths(w->data, false);
}

static void on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct config_diag diag;

	(void)loop;
	(void)revents;
	(void)daemon_reload(w->data, &diag); /* it has told */
}

static void on_usr2(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct daemon *d = w->data;

	(void)loop;
	(void)revents;
	log_info("proving the paths again");
	service_busy(d, SERVICE_BUSY_S);
	daemon_prove(d);
	log_info("proved");
}

static void watch_signals(struct daemon *d)
{
	struct ev_loop *loop = daemon_control_reactor(d)->loop;

	stop_watch_signals(d);
	ev_signal_init(&d->hangup, on_hangup, SIGHUP);
	ev_signal_init(&d->usr1, on_usr1, SIGUSR1);
	ev_signal_init(&d->usr2, on_usr2, SIGUSR2);
	d->hangup.data = d->usr1.data = d->usr2.data = d;
	ev_signal_start(loop, &d->hangup);
	ev_signal_start(loop, &d->usr1);
	ev_signal_start(loop, &d->usr2);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- life -------------------------------------------------------------------------------------
 */

/* For tests only: what goes wrong when this or that is not looked at? A list of words. */
static struct transport_test test_switches(struct daemon *d)
{
	const char *words = getenv("NVMF_P2PD_TEST");
	struct transport_test test = {
		.trust = words && strstr(words, "trust-unproved"),
		.no_odp = words && strstr(words, "no-odp"),
		.impatient = words && strstr(words, "impatient"),
	};

	if (test.trust)
		log_warn(
			"NVMF_P2PD_TEST=trust-unproved: paths are used that were NOT proved; data WILL be wrong");
	if (test.no_odp)
		log_warn("NVMF_P2PD_TEST=no-odp: RNICs are treated as without on-demand paging");
	if (test.impatient)
		log_warn("NVMF_P2PD_TEST=impatient: who takes no responses is soon ended");
	if (words && strstr(words, "stick-reactor")) {
		log_warn(
			"NVMF_P2PD_TEST=stick-reactor: the daemon hangs when there is a file " TEST_STICK_FILE);
		d->test_stick = TEST_STICK_FILE;
	}
	return test;
}

/* Half the processors, and no more than hosts fill. */
static unsigned int reactors_of_the_machine(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 4 ? 1 : cpus < 8 ? 2 : cpus < 16 ? 3 : 4;
}

static int add_reactor(struct daemon *d, int cpu)
{
	const struct reactor_opts opts = { .index = d->reactors.n,
					   .entries = RING_ENTRIES,
					   .poll_ns = (uint64_t)d->conf->poll_us * 1000,
					   .cpu = cpu };
	int err = reactor_create(&opts, &d->reactors.r[d->reactors.n]);

	if (err)
		log_error("reactor %u: %s", opts.index, strerror(-err));
	else
		d->reactors.n++;
	return err;
}

/* With @nio 0, to prove and print, the control thread is all there is. */
static int create_reactors(struct daemon *d, unsigned int nio)
{
	int cpus[REACTORS_MAX], ncpus = 0;
	int err = add_reactor(d, -1);

	if (!err && d->conf->reactor_cpus)
		ncpus = config_cpus(d->conf->reactor_cpus, cpus, REACTORS_MAX);
	for (unsigned int i = 0; i < nio && !err; i++)
		err = add_reactor(d, ncpus > 0 ? cpus[i % (unsigned int)ncpus] : -1);
	return err;
}

static int start(struct daemon *d, bool listening)
{
	struct transport_test test = test_switches(d);
	struct config_diag diag = { 0 };
	unsigned int nio = d->conf->reactors ? d->conf->reactors : reactors_of_the_machine();
	int err = create_reactors(d, listening ? nio : 0);

	if (err)
		return err;
	watch_signals(d);
	service_busy(d, SERVICE_BUSY_S);
	err = hardware_discover(d);
	if (err)
		return err;
	service_busy(d, SERVICE_BUSY_S);
	err = target_create(d->conf, &d->reactors, &d->topo, &d->target, &diag);
	if (err) {
		config_diag_print(&diag, stderr);
		return err;
	}
	err = transport_create(d->conf, &d->reactors, &d->topo, d->target, &test, &d->transport);
	if (err) {
		log_error("making the ports: %s", strerror(-err));
		return err;
	}
	hardware_watch(d);
	if (listening)
		return 0;
	err = transport_probe(d->transport, &diag);
	if (err)
		config_diag_print(&diag, stderr);
	return err;
}

int daemon_prove_and_print(struct daemon *d, bool json)
{
	int err = start(d, false);

	if (!err)
		print_paths(d, json);
	return err ? EXIT_FAILED : EXIT_OK;
}

void daemon_set_dumpable(bool on)
{
	if (prctl(PR_SET_DUMPABLE, on ? 1L : 0L, 0L, 0L, 0L) < 0)
		log_error("prctl(PR_SET_DUMPABLE): %s: a core dump would hold keys and data",
			  strerror(errno));
}

int daemon_run(struct daemon *d)
{
	struct config_diag diag = { 0 };

	daemon_set_dumpable(d->conf->core_dumps);
	log_event(JOURNAL_STARTED, NULL, "version " NVMF_P2PD_VERSION ", configuration %s",
		  d->config_path);
	if (start(d, true))
		return EXIT_FAILED;
	if (control_create(d->conf->control_socket, d->conf->control_group,
			   daemon_control_reactor(d)->loop, d, &d->control, &diag)) {
		strlcpy(diag.file, d->config_path, sizeof(diag.file));
		config_diag_print(&diag, stderr);
		return EXIT_FAILED;
	}
	d->reloads.done_at = ev_time();
	d->metrics = metrics_create(d);
	if (!d->metrics || metrics_listen(d->metrics, d->conf->metrics)) {
		log_error("metrics: no memory");
		return EXIT_FAILED;
	}
	/* last: a host that comes too early may be told something that makes it give up */
	service_busy(d, SERVICE_BUSY_S);
	transport_listen(d->transport);
	service_ready(d);
	ev_run(daemon_control_reactor(d)->loop, 0);
	service_stop(d);
	print_accounting(d);
	log_event(JOURNAL_STOPPED, NULL, "stopped%s",
		  transport_idle(d->transport) ? "" : ", with connections left");
	return transport_idle(d->transport) || d->stop_at_once ? EXIT_OK : EXIT_FAILED;
}

void daemon_finish(struct daemon *d)
{
	metrics_destroy(d->metrics);
	control_destroy(d->control);
	/* connections that did not end hold memory that the drive or the RNIC may still write:
	 * leave all as it is, the kernel takes it apart in the right order */
	if (d->transport && !transport_idle(d->transport))
		return;
	service_stop(d);
	hotplug_close(d->hotplug);
	transport_destroy(d->transport);
	target_destroy(d->target);
	for (unsigned int r = d->reactors.n; r-- > 0;) {
		struct provider_set *set = d->reactors.r[r]->set;

		reactor_destroy(d->reactors.r[r]);
		provider_set_destroy(set);
	}
	service_fini(d);
	config_free(d->conf);
}
