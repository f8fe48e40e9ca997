/* CMBs and drives that come and go while the daemon runs. */
#include "p2p/hotplug.h"
#include "target/daemon/daemon.h"
#include "target/log.h"
#include "target/target.h"
#include "transport/transport.h"

#include <string.h>

#define PROOF_CMB (256u << 10) /* bytes of each CMB */
#define TRIM_S    30           /* how often idle CMB is looked for */
#define RETRY_S   1            /* how often what is lost is looked for */

static struct provider_set *leader(const struct daemon *d)
{
	return daemon_control_reactor(d)->set;
}

void daemon_prove(struct daemon *d)
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
			log_event(
				JOURNAL_CMB_LOST, LOG_FIELDS(.provider = p->name),
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
	log_event(JOURNAL_CMB_READY, LOG_FIELDS(.provider = p->name),
		  "CMB of %s: %zu of %zu bytes to stage in, up to %zu as needed", p->name,
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

	if (found || back)
		service_busy(d, SERVICE_BUSY_S);
	for (unsigned int i = 0; i < leader(d)->n; i++)
		if (found & UINT32_C(1) << i)
			transport_provider_changed(d->transport, i);
	if (found || back)
		target_prove(d->target);
	if (missing || nlost || somebody_lacks_one(d))
		ev_timer_again(daemon_control_reactor(d)->loop, &d->look);
	else
		ev_timer_stop(daemon_control_reactor(d)->loop, &d->look);
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
	service_busy(d, SERVICE_BUSY_S);
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

void hardware_watch(struct daemon *d)
{
	struct ev_loop *loop = daemon_control_reactor(d)->loop;
	int err = hotplug_open(&d->hotplug);

	ev_init(&d->look, on_look);
	d->look.repeat = RETRY_S;
	d->look.data = d;
	ev_timer_init(&d->trim, on_trim, TRIM_S, TRIM_S);
	d->trim.data = d;
	ev_timer_start(loop, &d->trim);
	target_on_trouble(d->target, on_trouble, d);
	if (somebody_lacks_one(d) || target_waits(d->target))
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

/* The control thread keeps a few pages of each CMB, to prove with; the reactors share the rest. */
int hardware_discover(struct daemon *d)
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
	int err = provider_set_discover(&proving, &daemon_control_reactor(d)->set);

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
