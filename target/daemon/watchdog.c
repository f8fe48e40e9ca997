#include "target/daemon/watchdog.h"

#include "target/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TURNS 4 /* in the time limit */

/* One question to one reactor at a time. */
struct ping {
	struct message message;
	bool answered;     /* atomic */
	uint64_t since_us; /* when it was asked */
	bool said;         /* that it is stuck */
};

struct watchdog {
	const struct reactors *reactors;
	struct watchdog_opts opts;
	struct ping ping[REACTORS_MAX];
	struct message stick;
	bool stuck_one;
	uint64_t bear_until_us; /* atomic */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of quitting */
	pthread_cond_t wake;
	bool quitting;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void answer(struct message *m)
{
	struct ping *p = (void *)((uint8_t *)m - offsetof(struct ping, message));

	__atomic_store_n(&p->answered, true, __ATOMIC_RELEASE);
}

static void ask(struct watchdog *w, unsigned int i, uint64_t now)
{
	struct ping *p = &w->ping[i];

	p->answered = false;
	p->since_us = now;
	p->message.run = answer;
	reactor_post(w->reactors->r[i], &p->message);
}

static void say_stuck(unsigned int i, uint64_t us)
{
	char name[32];

	snprintf(name, sizeof(name), i ? "reactor-%u" : "control", i);
	log_event(
		JOURNAL_STUCK, LOG_FIELDS(.thread = name),
		"thread %s has not gone round its loop for %" PRIu64
		" s: the watchdog is not fed any more, and systemd will start the daemon anew unless it goes on",
		name, us / 1000000);
}

/* Did reactor @i go round since it was asked? Then ask again. */
static bool goes_round(struct watchdog *w, unsigned int i, uint64_t now)
{
	struct ping *p = &w->ping[i];

	if (__atomic_load_n(&p->answered, __ATOMIC_ACQUIRE)) {
		if (p->said)
			log_warn("thread %u goes round again", i);
		p->said = false;
		ask(w, i, now);
		return true;
	}
	if (i == 0 && now < __atomic_load_n(&w->bear_until_us, __ATOMIC_RELAXED))
		return true;
	if (!p->said && now - p->since_us >= w->opts.limit_us / 2) {
		say_stuck(i, now - p->since_us);
		p->said = true;
	}
	return false;
}

static void hang(struct message *m)
{
	(void)m;
	for (;;)
		pause();
}

static void stick_one(struct watchdog *w)
{
	if (!w->opts.stick_at_file || w->stuck_one || access(w->opts.stick_at_file, F_OK))
		return;
	log_warn("NVMF_P2PD_TEST=stick-reactor: reactor %u hangs from now on", w->reactors->n - 1);
	w->stuck_one = true;
	w->stick.run = hang;
	reactor_post(w->reactors->r[w->reactors->n - 1], &w->stick);
}

static void take_turn(struct watchdog *w)
{
	uint64_t now = now_us();
	bool all = true;

	stick_one(w);
	for (unsigned int i = 0; i < w->reactors->n; i++)
		all &= goes_round(w, i, now);
	if (all)
		w->opts.feed();
}

/* Return: false: it is over. */
static bool sleep_us(struct watchdog *w, uint64_t us)
{
	uint64_t until = now_us() + us;
	struct timespec t = { .tv_sec = (time_t)(until / 1000000),
			      .tv_nsec = (long)(until % 1000000 * 1000) };
	int err = 0;
	bool quitting;

	pthread_mutex_lock(&w->lock);
	while (!w->quitting && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&w->wake, &w->lock, &t);
	quitting = w->quitting;
	pthread_mutex_unlock(&w->lock);
	return !quitting;
}

static void *run_thread(void *arg)
{
	struct watchdog *w = arg;

	(void)pthread_setname_np(pthread_self(), "watchdog");
	do
		take_turn(w);
	while (sleep_us(w, w->opts.limit_us / TURNS));
	return NULL;
}

static int start_thread(struct watchdog *w)
{
	int err = thread_create(&w->thread, run_thread, w);

	w->started = !err;
	return err;
}

int watchdog_create(const struct reactors *reactors, const struct watchdog_opts *opts,
		    struct watchdog **ret_watchdog)
{
	struct watchdog *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;
	int err;

	if (!w)
		return -ENOMEM;
	w->reactors = reactors;
	w->opts = *opts;
	for (unsigned int i = 0; i < reactors->n; i++)
		w->ping[i].answered = true; /* nothing asked yet */
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	err = start_thread(w);
	if (err) {
		watchdog_destroy(w);
		return err;
	}
	*ret_watchdog = w;
	return 0;
}

void watchdog_bear(struct watchdog *w, unsigned int seconds)
{
	if (w)
		__atomic_store_n(&w->bear_until_us, now_us() + (uint64_t)seconds * 1000000,
				 __ATOMIC_RELAXED);
}

void watchdog_stop(struct watchdog *w)
{
	if (!w || !w->started)
		return;
	pthread_mutex_lock(&w->lock);
	w->quitting = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	w->started = false;
}

void watchdog_destroy(struct watchdog *w)
{
	if (!w)
		return;
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
