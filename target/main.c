/*
 * nvmf-p2pd: the daemon. The one file that sees every room: it reads the configuration, puts the
 * rooms together, runs the loop, and takes them apart again.
 */
#include "config/config.h"
#include "p2p/hotplug.h"
#include "target/log.h"
#include "transport/transport.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define RING_ENTRIES   1024
#define STOP_TIMEOUT_S 10
#define TRIM_S         30 /* how often idle CMB is looked for */
#define RETRY_S        1  /* how often what is lost is looked for */
#define DEFAULT_CONFIG CONFIG_DEFAULT_DIR "/nvmf-p2pd.conf"

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct daemon {
	struct config *conf;
	bool json;
	struct topology topo;
	struct slot_domain domain;
	struct provider_set *set;
	struct reactor *reactor;
	struct target *target;
	struct transport *transport;
	struct hotplug *hotplug;
	ev_signal term, interrupt, usr1, usr2;
	ev_timer stopping, stop_timer, trim, look;
	ev_io hotplug_ready;
};

struct options {
	const char *config;
	enum log_level level;
	bool check, print, p2p, json;
};

/* ---- command line -----------------------------------------------------------------------------
 */

static const struct option_help {
	struct option option;
	const char *arg, *help;
} option_table[] = {
	{ { "config", required_argument, NULL, 'c' },
	  "FILE",
	  "read FILE and exports.d/*.conf beside it (" DEFAULT_CONFIG ")" },
	{ { "check", no_argument, NULL, 'n' },
	  NULL,
	  "check the configuration, touch no device, exit 0 or 1" },
	{ { "print-config", no_argument, NULL, 'p' },
	  NULL,
	  "print the configuration in effect, defaults filled in" },
	{ { "p2p", no_argument, NULL, 'P' },
	  NULL,
	  "prove every path between CMB, RNICs and drives, print the table, exit" },
	{ { "json", no_argument, NULL, 'j' }, NULL, "print the table of paths as JSON" },
	{ { "verbose", no_argument, NULL, 'v' }, NULL, "log more" },
	{ { "help", no_argument, NULL, 'h' }, NULL, "show this and exit" },
	{ { "version", no_argument, NULL, 'V' }, NULL, "show the version and exit" },
};
#define NOPTIONS (sizeof(option_table) / sizeof(option_table[0]))

static void print_help(void)
{
	printf("Usage: nvmf-p2pd [OPTION]...\n"
	       "NVMe over Fabrics target for RDMA that stages payload in NVMe Controller Memory Buffers.\n"
	       "\n");
	for (size_t i = 0; i < NOPTIONS; i++) {
		const struct option_help *o = &option_table[i];
		char left[64];

		snprintf(left, sizeof(left), "-%c, --%s%s%s", o->option.val, o->option.name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-24s %s\n", left, o->help);
	}
	printf("\nSignals: SIGUSR1 prints where the bytes went and the table of paths; SIGUSR2 proves the\n"
	       "paths again; SIGTERM and SIGINT disconnect the hosts and exit.\n"
	       "Exit status: 0 stopped as asked, 1 failed, 2 wrong usage.\n");
}

/* Return: -1 to go on, else the exit code. */
static int parse_options(int argc, char **argv, struct options *o)
{
	struct option longopts[NOPTIONS + 1] = { 0 };
	char shortopts[2 * NOPTIONS + 1] = "";
	int c;

	for (size_t i = 0; i < NOPTIONS; i++) {
		char text[3] = { (char)option_table[i].option.val,
				 option_table[i].option.has_arg ? ':' : '\0' };

		longopts[i] = option_table[i].option;
		strlcat(shortopts, text, sizeof(shortopts));
	}
	*o = (struct options){ .config = DEFAULT_CONFIG, .level = LOG_LEVEL_INFO };
	while ((c = getopt_long(argc, argv, shortopts, longopts, NULL)) != -1) {
		if (c == 'c')
			o->config = optarg;
		else if (c == 'n')
			o->check = true;
		else if (c == 'p')
			o->print = true;
		else if (c == 'P')
			o->p2p = true;
		else if (c == 'j')
			o->json = true;
		else if (c == 'v')
			o->level = LOG_LEVEL_DEBUG;
		else if (c == 'h') {
			print_help();
			return EXIT_OK;
		} else if (c == 'V') {
			puts("nvmf-p2pd " NVMF_P2PD_VERSION);
			return EXIT_OK;
		} else {
			fputs("Try 'nvmf-p2pd --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"nvmf-p2pd: '%s': no arguments are taken. Try 'nvmf-p2pd --help'.\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

/* ---- what comes and goes -----------------------------------------------------------------------
 */

static void prove_all(struct daemon *d)
{
	for (unsigned int i = 0; i < d->set->n; i++)
		transport_provider_changed(d->transport, i);
	target_prove(d->target);
}

static bool lose_the_dead(struct daemon *d)
{
	bool missing = false;

	for (unsigned int i = 0; i < d->set->n; i++) {
		struct provider *p = d->set->provider[i];

		if (p->state == PROVIDER_ACTIVE && !provider_alive(p)) {
			log_warn(
				"CMB of %s is lost; payload goes through host memory until it is back",
				p->name);
			provider_lose(p);
			transport_provider_lost(d->transport, i);
			target_provider_lost(d->target);
			slot_lose(&d->domain, p);
		}
		(void)provider_release(p);
		missing |= p->state != PROVIDER_ACTIVE;
	}
	return missing;
}

static void log_provider(const struct provider *p)
{
	log_info("CMB of %s: %zu of %zu bytes to stage in, up to %zu as needed", p->name,
		 (size_t)p->npages * P2P_PAGE_SIZE, p->published_size,
		 (size_t)p->max_pages * P2P_PAGE_SIZE);
}

/* Compare what is in use with what is there: the events only say when to do it. */
static void look(struct daemon *d)
{
	bool missing = lose_the_dead(d), back;
	unsigned int nlost = target_check_devices(d->target, &back);
	uint32_t found = provider_set_scan(d->set);

	for (unsigned int i = 0; i < d->set->n; i++)
		if (found & UINT32_C(1) << i) {
			log_provider(d->set->provider[i]);
			transport_provider_changed(d->transport, i);
		}
	if (found || back)
		target_prove(d->target);
	if (missing || nlost)
		ev_timer_again(d->reactor->loop, &d->look);
	else
		ev_timer_stop(d->reactor->loop, &d->look);
}

static void on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	look(w->data);
}

/* Called on the I/O path: only says that it is time to look. */
static void on_trouble(void *arg)
{
	struct daemon *d = arg;

	ev_feed_event(d->reactor->loop, &d->look, EV_TIMER);
}

static void prove_provider(struct daemon *d, const char *bdf)
{
	const struct provider *p = provider_set_find(d->set, bdf);

	if (!p || p->state != PROVIDER_ACTIVE)
		return;
	log_info("controller %s was reset: its CMB is proved again", bdf);
	transport_provider_changed(d->transport, p->index);
	target_prove(d->target);
}

static void on_hotplug(struct ev_loop *loop, ev_io *w, int revents)
{
	struct daemon *d = w->data;
	enum hotplug_event event;
	bool changed = false;
	char bdf[32];

	(void)loop;
	(void)revents;
	while ((event = hotplug_read(d->hotplug, bdf)) != HOTPLUG_NONE) {
		changed |= event == HOTPLUG_CHANGED;
		if (event == HOTPLUG_RESET)
			prove_provider(d, bdf);
	}
	if (changed)
		look(d);
}

static void on_trim(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct daemon *d = w->data;

	(void)loop;
	(void)revents;
	slot_trim(&d->domain);
	transport_warn_of_full_windows(d->transport);
}

static void watch_hardware(struct daemon *d)
{
	struct ev_loop *loop = d->reactor->loop;
	int err = hotplug_open(&d->hotplug);

	ev_init(&d->look, on_look);
	d->look.repeat = RETRY_S;
	d->look.data = d;
	ev_timer_init(&d->trim, on_trim, TRIM_S, TRIM_S);
	d->trim.data = d;
	ev_timer_start(loop, &d->trim);
	target_on_trouble(d->target, on_trouble, d);
	if (err) {
		log_warn("no events of drives that come and go (%s): seen only when an I/O fails",
			 strerror(-err));
		return;
	}
	ev_io_init(&d->hotplug_ready, on_hotplug, hotplug_fd(d->hotplug), EV_READ);
	d->hotplug_ready.data = d;
	ev_io_start(loop, &d->hotplug_ready);
}

/* ---- signals ----------------------------------------------------------------------------------
 */

static void print_accounting(const struct daemon *d)
{
	target_print_accounting(d->target, stdout);
	transport_print_staging(d->transport, stdout);
}

static void print_paths(const struct daemon *d)
{
	struct report *report = report_create();

	if (!report)
		return;
	transport_report(d->transport, report);
	target_report(d->target, report);
	report_print(report, d->json, stdout);
	report_destroy(report);
}

static void on_usr1(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	print_accounting(w->data);
	print_paths(w->data);
}

static void on_usr2(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct daemon *d = w->data;

	(void)loop;
	(void)revents;
	log_info("proving the paths again");
	prove_all(d);
	log_info("proved");
}

static void on_stopping(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct daemon *d = w->data;

	(void)revents;
	if (transport_idle(d->transport))
		ev_break(loop, EVBREAK_ALL);
}

static void on_stop_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)w;
	(void)revents;
	log_error("some connections did not end in %d s", STOP_TIMEOUT_S);
	ev_break(loop, EVBREAK_ALL);
}

static void on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct daemon *d = w->data;

	(void)revents;
	if (ev_is_active(&d->stopping))
		return;
	log_info("stopping");
	(void)sd_notify(0, "STOPPING=1\nSTATUS=disconnecting hosts");
	transport_stop(d->transport);
	ev_timer_start(loop, &d->stopping);
	ev_timer_start(loop, &d->stop_timer);
}

static void watch_signals(struct daemon *d)
{
	struct ev_loop *loop = d->reactor->loop;

	ev_signal_init(&d->term, on_term, SIGTERM);
	ev_signal_init(&d->interrupt, on_term, SIGINT);
	ev_signal_init(&d->usr1, on_usr1, SIGUSR1);
	ev_signal_init(&d->usr2, on_usr2, SIGUSR2);
	d->term.data = d->interrupt.data = d->usr1.data = d->usr2.data = d;
	ev_signal_start(loop, &d->term);
	ev_signal_start(loop, &d->interrupt);
	ev_signal_start(loop, &d->usr1);
	ev_signal_start(loop, &d->usr2);
	ev_timer_init(&d->stopping, on_stopping, 0, 0.01);
	d->stopping.data = d;
	ev_timer_init(&d->stop_timer, on_stop_timeout, STOP_TIMEOUT_S, 0);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- life -------------------------------------------------------------------------------------
 */

/* For tests only: what goes wrong when this or that is not looked at? A list of words. */
static struct transport_test test_switches(void)
{
	const char *words = getenv("NVMF_P2PD_TEST");
	struct transport_test test = {
		.trust = words && strstr(words, "trust-unproved"),
		.no_odp = words && strstr(words, "no-odp"),
	};

	if (test.trust)
		log_warn(
			"NVMF_P2PD_TEST=trust-unproved: paths are used that were NOT proved; data WILL be wrong");
	if (test.no_odp)
		log_warn("NVMF_P2PD_TEST=no-odp: RNICs are treated as without on-demand paging");
	return test;
}

static int discover(struct daemon *d)
{
	const struct provider_opts opts = { .sysfs = "/sys",
					    .kallsyms = "/proc/kallsyms",
					    .cap = d->conf->cmb_cap,
					    .floor = d->conf->cmb_floor,
					    .chunk = d->conf->cmb_chunk,
					    .reserve = d->conf->cmb_reserve };
	int err = provider_set_discover(&opts, &d->set);

	if (err) {
		log_error("looking for CMBs: %s", strerror(-err));
		return err;
	}
	topology_init(&d->topo, "/sys", "/proc/cpuinfo");
	slot_domain_init(&d->domain);
	for (unsigned int i = 0; i < d->set->n; i++)
		log_provider(d->set->provider[i]);
	return 0;
}

static int start(struct daemon *d, bool listening)
{
	struct transport_test test = test_switches();
	struct config_diag diag = { 0 };
	int err = reactor_create(RING_ENTRIES, &d->reactor);

	if (err) {
		log_error("io_uring: %s", strerror(-err));
		return err;
	}
	d->reactor->poll_ns = (uint64_t)d->conf->poll_us * 1000;
	watch_signals(d);
	err = discover(d);
	if (err)
		return err;
	err = target_create(d->conf, d->set, &d->topo, d->reactor, &d->target, &diag);
	if (err) {
		config_diag_print(&diag, stderr);
		return err;
	}
	err = transport_create(d->conf, d->set, &d->topo, &d->domain, d->target, d->reactor, &test,
			       &d->transport);
	if (err) {
		log_error(
			"RDMA: %s; is there an RDMA device (`rdma link`) and the module rdma_ucm?",
			strerror(-err));
		return err;
	}
	watch_hardware(d);
	err = listening ? transport_listen(d->transport, &diag)
			: transport_probe(d->transport, &diag);
	if (err)
		config_diag_print(&diag, stderr);
	return err;
}

static int prove_and_print(struct daemon *d)
{
	int err = start(d, false);

	if (!err)
		print_paths(d);
	return err ? EXIT_FAILED : EXIT_OK;
}

static int run(struct daemon *d)
{
	if (start(d, true))
		return EXIT_FAILED;
	log_info("ready");
	(void)sd_notify(0, "READY=1\nSTATUS=listening");
	ev_run(d->reactor->loop, 0);
	print_accounting(d);
	return transport_idle(d->transport) ? EXIT_OK : EXIT_FAILED;
}

static void finish(struct daemon *d)
{
	/* connections that did not end hold memory that the drive or the RNIC may still write:
	 * leave all as it is, the kernel takes it apart in the right order */
	if (d->transport && !transport_idle(d->transport))
		return;
	hotplug_close(d->hotplug);
	transport_destroy(d->transport);
	target_destroy(d->target);
	provider_set_destroy(d->set);
	reactor_destroy(d->reactor);
	config_free(d->conf);
}

int main(int argc, char **argv)
{
	struct daemon d = { 0 };
	struct config_diag diag;
	struct options o;
	int code = parse_options(argc, argv, &o);

	if (code >= 0)
		return code;
	log_init(o.level);
	if (config_load(o.config, &d.conf, &diag)) {
		config_diag_print(&diag, stderr);
		return EXIT_FAILED;
	}
	if (o.print)
		config_print(d.conf, stdout);
	if (o.check || o.print) {
		config_free(d.conf);
		return EXIT_OK;
	}
	d.json = o.json;
	code = o.p2p ? prove_and_print(&d) : run(&d);
	finish(&d);
	return code;
}
