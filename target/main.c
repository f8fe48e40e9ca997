/*
 * nvmf-p2pd: the daemon. The one file that sees every room: it reads the configuration, puts the
 * rooms together, runs the loop, and takes them apart again.
 */
#include "config/config.h"
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
#define DEFAULT_CONFIG CONFIG_DEFAULT_DIR "/nvmf-p2pd.conf"

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct daemon {
	struct config *conf;
	struct provider_set *set;
	struct reactor *reactor;
	struct target *target;
	struct transport *transport;
	ev_signal term, interrupt, usr1;
	ev_prepare stopping;
	ev_timer stop_timer;
};

struct options {
	const char *config;
	enum log_level level;
	bool check, print;
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
	printf("\nSignals: SIGUSR1 prints where the bytes went; SIGTERM and SIGINT disconnect the hosts\n"
	       "and exit. Exit status: 0 stopped as asked, 1 failed, 2 wrong usage.\n");
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

/* ---- signals ----------------------------------------------------------------------------------
 */

static void print_accounting(const struct daemon *d)
{
	target_print_accounting(d->target, stdout);
	transport_print_staging(d->transport, stdout);
}

static void on_usr1(struct ev_loop *loop, ev_signal *w, int revents)
{
	(void)loop;
	(void)revents;
	print_accounting(w->data);
}

static void on_stopping(struct ev_loop *loop, ev_prepare *w, int revents)
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
	ev_prepare_start(loop, &d->stopping);
	ev_timer_start(loop, &d->stop_timer);
}

static void watch_signals(struct daemon *d)
{
	struct ev_loop *loop = d->reactor->loop;

	ev_signal_init(&d->term, on_term, SIGTERM);
	ev_signal_init(&d->interrupt, on_term, SIGINT);
	ev_signal_init(&d->usr1, on_usr1, SIGUSR1);
	d->term.data = d->interrupt.data = d->usr1.data = d;
	ev_signal_start(loop, &d->term);
	ev_signal_start(loop, &d->interrupt);
	ev_signal_start(loop, &d->usr1);
	ev_prepare_init(&d->stopping, on_stopping);
	d->stopping.data = d;
	ev_timer_init(&d->stop_timer, on_stop_timeout, STOP_TIMEOUT_S, 0);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static int start(struct daemon *d)
{
	struct config_diag diag = { 0 };
	int err = reactor_create(RING_ENTRIES, &d->reactor);

	if (err) {
		log_error("io_uring: %s", strerror(-err));
		return err;
	}
	watch_signals(d);
	err = provider_set_discover("/sys", "/proc/kallsyms", d->conf->cmb_reserve, &d->set);
	if (err) {
		log_error("looking for CMBs: %s", strerror(-err));
		return err;
	}
	for (unsigned int i = 0; i < d->set->n; i++)
		log_info("CMB of %s: %zu of %zu bytes to stage in", d->set->provider[i]->name,
			 (size_t)d->set->provider[i]->npages * P2P_PAGE_SIZE,
			 d->set->provider[i]->published_size);
	err = target_create(d->conf, d->set, d->reactor, &d->target, &diag);
	if (err) {
		config_diag_print(&diag, stderr);
		return err;
	}
	err = transport_create(d->conf, d->set, d->target, d->reactor, &d->transport);
	if (err) {
		log_error(
			"RDMA: %s; is there an RDMA device (`rdma link`) and the module rdma_ucm?",
			strerror(-err));
		return err;
	}
	err = transport_listen(d->transport, &diag);
	if (err)
		config_diag_print(&diag, stderr);
	return err;
}

static int run(struct daemon *d)
{
	if (start(d))
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
	code = run(&d);
	finish(&d);
	return code;
}
