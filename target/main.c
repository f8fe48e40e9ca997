/*
 * nvmf-p2pd: the daemon. The one file that sees every room: it reads the configuration, puts the
 * rooms together, runs the loop, and takes them apart again.
 */
#include "config/config.h"
#include "p2p/hotplug.h"
#include "target/control.h"
#include "target/log.h"
#include "transport/transport.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define RING_ENTRIES   1024
#define STOP_TIMEOUT_S 10
#define PROOF_CMB      (256u << 10) /* bytes of each CMB */
#define TRIM_S         30           /* how often idle CMB is looked for */
#define RETRY_S        1            /* how often what is lost is looked for */
#define DEFAULT_CONFIG CONFIG_DEFAULT_DIR "/nvmf-p2pd.conf"

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct daemon {
	struct config *conf;
	const char *config_path;
	bool json;
	struct topology topo;
	struct reactors reactors; /* [0] is this thread's; its provider set leads */
	struct target *target;
	struct transport *transport;
	struct control *control;
	struct hotplug *hotplug;
	ev_signal term, interrupt, hangup, usr1, usr2;
	ev_timer stopping, stop_timer, trim, look;
	ev_io hotplug_ready;
};

struct options {
	const char *config;
	enum log_level level;
	bool check, print, keys, p2p, json;
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
	  "print the configuration in effect, defaults filled in, without keys" },
	{ { "with-keys", no_argument, NULL, 'k' },
	  NULL,
	  "with --print-config: secret keys too, so that it can be loaded" },
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
	printf("\nSignals: SIGHUP reads the configuration again and applies what it says of subsystems;\n"
	       "SIGUSR1 prints where the bytes went and the table of paths; SIGUSR2 proves the paths\n"
	       "again; SIGTERM and SIGINT disconnect the hosts and exit.\n"
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
		else if (c == 'k')
			o->keys = true;
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

static struct reactor *control(const struct daemon *d)
{
	return d->reactors.r[0];
}

static struct provider_set *leader(const struct daemon *d)
{
	return control(d)->set;
}

/* ---- what comes and goes -----------------------------------------------------------------------
 */

static void prove_all(struct daemon *d)
{
	for (unsigned int i = 0; i < leader(d)->n; i++)
		transport_provider_changed(d->transport, i);
	target_prove(d->target);
}

/* Something that a reactor does with one provider of its set, or with all, while the control thread
 * waits. */
struct order {
	const struct daemon *d;
	struct reactor *reactor;
	unsigned int index;
	bool busy;      /* pages of it are still in use */
	uint32_t found; /* providers that became ACTIVE */
};

static struct order command(struct daemon *d, unsigned int reactor, unsigned int index,
			    void (*what)(void *order))
{
	struct order o = { .d = d, .reactor = d->reactors.r[reactor], .index = index };

	reactor_call(o.reactor, what, &o);
	return o;
}

static void lose(void *arg)
{
	struct order *o = arg;
	struct provider_set *set = o->reactor->set;
	struct provider *p = o->index < set->n ? set->provider[o->index] : NULL;

	if (!p || p->state != PROVIDER_ACTIVE)
		return;
	provider_lose(p);
	slot_lose(&o->reactor->domain, p);
}

static void release(void *arg)
{
	struct order *o = arg;
	struct provider_set *set = o->reactor->set;

	if (o->index >= set->n)
		return;
	(void)provider_release(set->provider[o->index]);
	o->busy = set->provider[o->index]->state == PROVIDER_LOST;
}

static void follow(void *arg)
{
	struct order *o = arg;

	o->found = provider_set_follow(o->reactor->set, leader(o->d));
}

/* The control thread's is the last to be GONE: it may be opened again only when all are. */
static void release_everywhere(struct daemon *d, unsigned int index)
{
	bool busy = false;

	for (unsigned int r = 1; r < d->reactors.n; r++)
		busy |= command(d, r, index, release).busy;
	if (!busy)
		(void)command(d, 0, index, release);
}

static bool lose_the_dead(struct daemon *d)
{
	bool missing = false;

	for (unsigned int i = 0; i < leader(d)->n; i++) {
		struct provider *p = leader(d)->provider[i];

		if (p->state == PROVIDER_ACTIVE && !provider_alive(p)) {
			log_warn(
				"CMB of %s is lost; payload goes through host memory until it is back",
				p->name);
			/* here first: what the reactors are told then does not name it any more */
			(void)command(d, 0, i, lose);
			target_provider_lost(d->target);
			for (unsigned int r = 1; r < d->reactors.n; r++)
				(void)command(d, r, i, lose);
			transport_provider_lost(d->transport, i);
		}
		if (p->state == PROVIDER_LOST)
			release_everywhere(d, i);
		missing |= p->state != PROVIDER_ACTIVE;
	}
	return missing;
}

/* What the reactors hold of it and may come to hold. */
static void log_provider(const struct daemon *d, unsigned int index)
{
	const struct provider *p = leader(d)->provider[index];
	size_t held = 0, most = 0;

	for (unsigned int r = d->reactors.n > 1; r < d->reactors.n; r++)
		if (index < d->reactors.r[r]->set->n) {
			held += d->reactors.r[r]->set->provider[index]->npages;
			most += d->reactors.r[r]->set->provider[index]->max_pages;
		}
	log_info("CMB of %s: %zu of %zu bytes to stage in, up to %zu as needed", p->name,
		 held * P2P_PAGE_SIZE, p->published_size, most * P2P_PAGE_SIZE);
}

/* Have every reactor's set agree with the control thread's. Return: what is new anywhere. */
static uint32_t follow_everywhere(struct daemon *d, uint32_t found)
{
	for (unsigned int r = 1; r < d->reactors.n; r++)
		found |= command(d, r, 0, follow).found;
	for (unsigned int i = 0; i < leader(d)->n; i++)
		if (found & UINT32_C(1) << i)
			log_provider(d, i);
	return found;
}

static bool somebody_lacks_one(const struct daemon *d)
{
	for (unsigned int r = 1; r < d->reactors.n; r++)
		for (unsigned int i = 0; i < leader(d)->n; i++)
			if (i >= d->reactors.r[r]->set->n ||
			    d->reactors.r[r]->set->provider[i]->state != PROVIDER_ACTIVE)
				return true;
	return false;
}

/* Compare what is in use with what is there: the events only say when to do it. */
static void look(struct daemon *d)
{
	bool missing = lose_the_dead(d), back;
	unsigned int nlost = target_check_devices(d->target, &back);
	uint32_t found = follow_everywhere(d, provider_set_scan(leader(d)));

	for (unsigned int i = 0; i < leader(d)->n; i++)
		if (found & UINT32_C(1) << i)
			transport_provider_changed(d->transport, i);
	if (found || back)
		target_prove(d->target);
	if (missing || nlost || somebody_lacks_one(d))
		ev_timer_again(control(d)->loop, &d->look);
	else
		ev_timer_stop(control(d)->loop, &d->look);
}

static void on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	look(w->data);
}

static void on_trouble(void *arg)
{
	look(arg);
}

static void prove_provider(struct daemon *d, const char *bdf)
{
	const struct provider *p = provider_set_find(leader(d), bdf);

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
	bool changed = false, resized = false;
	char bdf[32];

	(void)loop;
	(void)revents;
	while ((event = hotplug_read(d->hotplug, bdf)) != HOTPLUG_NONE) {
		changed |= event == HOTPLUG_CHANGED;
		resized |= event == HOTPLUG_RESIZED;
		if (event == HOTPLUG_RESET)
			prove_provider(d, bdf);
	}
	if (changed) {
		look(d);
		transport_look(d->transport);
	}
	if (resized)
		target_check_sizes(d->target);
}

static void trim(void *arg)
{
	struct order *o = arg;

	slot_trim(&o->reactor->domain);
}

static void on_trim(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct daemon *d = w->data;

	(void)loop;
	(void)revents;
	for (unsigned int r = 0; r < d->reactors.n; r++)
		(void)command(d, r, 0, trim);
	transport_warn_of_full_windows(d->transport);
	target_check_sizes(d->target); /* nobody tells of files */
	transport_look(d->transport);
	log_peers_trim();
}

static void watch_hardware(struct daemon *d)
{
	struct ev_loop *loop = control(d)->loop;
	int err = hotplug_open(&d->hotplug);

	ev_init(&d->look, on_look);
	d->look.repeat = RETRY_S;
	d->look.data = d;
	ev_timer_init(&d->trim, on_trim, TRIM_S, TRIM_S);
	d->trim.data = d;
	ev_timer_start(loop, &d->trim);
	target_on_trouble(d->target, on_trouble, d);
	if (somebody_lacks_one(d))
		ev_timer_again(loop, &d->look);
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

/* All of the new configuration, or nothing. */
static void reload(struct daemon *d)
{
	struct config_diag diag = { 0 };
	struct config *conf;

	if (config_load(d->config_path, &conf, &diag)) {
		config_diag_print(&diag, stderr);
		log_error("the configuration stays as it was");
		return;
	}
	if (!config_same_fixed(d->conf, conf))
		log_warn("changes of `daemon` and `ports` take a restart; they are left out");
	if (target_reload(d->target, conf, &diag)) {
		config_diag_print(&diag, stderr);
		log_error("the configuration stays as it was");
		config_free(conf);
		return;
	}
	target_check_sizes(d->target);
	log_info("configuration reloaded");
}

static void on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
	struct timespec now;

	(void)loop;
	(void)revents;
	clock_gettime(CLOCK_MONOTONIC, &now);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			 (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	reload(w->data);
	(void)sd_notify(0, "READY=1\nSTATUS=listening");
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
	struct ev_loop *loop = control(d)->loop;

	ev_signal_init(&d->term, on_term, SIGTERM);
	ev_signal_init(&d->interrupt, on_term, SIGINT);
	ev_signal_init(&d->hangup, on_hangup, SIGHUP);
	ev_signal_init(&d->usr1, on_usr1, SIGUSR1);
	ev_signal_init(&d->usr2, on_usr2, SIGUSR2);
	d->term.data = d->interrupt.data = d->hangup.data = d->usr1.data = d->usr2.data = d;
	ev_signal_start(loop, &d->term);
	ev_signal_start(loop, &d->interrupt);
	ev_signal_start(loop, &d->hangup);
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

/* The control thread keeps a few pages of each CMB, to prove with; the reactors share the rest. */
static int discover(struct daemon *d)
{
	unsigned int nio = d->reactors.n - 1;
	const struct provider_opts proving = {
		.sysfs = "/sys", .kallsyms = "/proc/kallsyms", .cap = PROOF_CMB, .chunk = PROOF_CMB
	};
	const struct provider_opts staging = { .sysfs = "/sys",
					       .cap = d->conf->cmb_cap,
					       .parts = nio,
					       .floor = d->conf->cmb_floor,
					       .chunk = d->conf->cmb_chunk,
					       .reserve = d->conf->cmb_reserve };
	int err = provider_set_discover(&proving, &control(d)->set);

	for (unsigned int r = 1; r <= nio && !err; r++)
		err = provider_set_create_follower(&staging, &d->reactors.r[r]->set);
	if (err) {
		log_error("looking for CMBs: %s", strerror(-err));
		return err;
	}
	topology_init(&d->topo, "/sys", "/proc/cpuinfo");
	(void)follow_everywhere(d, (UINT32_C(1) << leader(d)->n) - 1);
	return 0;
}

static int start(struct daemon *d, bool listening)
{
	struct transport_test test = test_switches();
	struct config_diag diag = { 0 };
	unsigned int nio = d->conf->reactors ? d->conf->reactors : reactors_of_the_machine();
	int err = create_reactors(d, listening ? nio : 0);

	if (err)
		return err;
	watch_signals(d);
	err = discover(d);
	if (err)
		return err;
	err = target_create(d->conf, &d->reactors, &d->topo, &d->target, &diag);
	if (err) {
		config_diag_print(&diag, stderr);
		return err;
	}
	err = transport_create(d->conf, &d->reactors, &d->topo, d->target, &test, &d->transport);
	if (err)
		return err;
	watch_hardware(d);
	if (listening) {
		transport_listen(d->transport);
		return 0;
	}
	err = transport_probe(d->transport, &diag);
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
	struct config_diag diag = { 0 };

	if (start(d, true))
		return EXIT_FAILED;
	if (control_create(d->conf->control_socket, control(d)->loop, d->target, &d->control,
			   &diag)) {
		config_diag_print(&diag, stderr);
		return EXIT_FAILED;
	}
	log_info("ready");
	(void)sd_notify(0, "READY=1\nSTATUS=listening");
	ev_run(control(d)->loop, 0);
	print_accounting(d);
	return transport_idle(d->transport) ? EXIT_OK : EXIT_FAILED;
}

static void finish(struct daemon *d)
{
	control_destroy(d->control);
	/* connections that did not end hold memory that the drive or the RNIC may still write:
	 * leave all as it is, the kernel takes it apart in the right order */
	if (d->transport && !transport_idle(d->transport))
		return;
	hotplug_close(d->hotplug);
	transport_destroy(d->transport);
	target_destroy(d->target);
	for (unsigned int r = d->reactors.n; r-- > 0;) {
		struct provider_set *set = d->reactors.r[r]->set;

		reactor_destroy(d->reactors.r[r]);
		provider_set_destroy(set);
	}
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
		config_print(d.conf, stdout, o.keys);
	if (o.check || o.print) {
		config_free(d.conf);
		return EXIT_OK;
	}
	d.json = o.json;
	d.config_path = o.config;
	code = o.p2p ? prove_and_print(&d) : run(&d);
	finish(&d);
	return code;
}
