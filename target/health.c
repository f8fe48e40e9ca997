/* SMART / Health Information: Base 2.1, 5.1.12.1.3; its events, 5.1.2. */
#include "target/core.h"
#include "target/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FRESH_NS   UINT64_C(1000000000)
#define DEADLINE_S 1.0 /* then a read is answered with what is known */
#define POLL_S     30.0

/* A drive that is being asked. Its thread has the first part, the control thread the second. */
struct health_job {
	int fd; /* a duplicate: the namespace may be closed meanwhile */
	int err;
	struct nvme_smart_log smart;
	struct message message;
	struct reactor *control;

	struct target *target;
	struct namespace *ns; /* NULL: it is closed */
	pthread_t thread;
	bool joined;
	bool late; /* nobody waits for it any more */
	LIST_ENTRY(health_job) entry;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- asking a drive
 * ------------------------------------------------------------------------------
 */

static void job_done(struct message *m);

static void *run_job(void *arg)
{
	struct health_job *job = arg;

	job->err = nvme_get_log_smart(job->fd, NVME_NSID_ALL, true, &job->smart);
	job->message.run = job_done;
	reactor_post(job->control, &job->message);
	return NULL;
}

static void ask(struct namespace *ns)
{
	struct health_desk *desk = &ns->target->health;
	const struct backend_info *info = &ns->backend->info;
	struct health *h = &ns->health;
	struct health_job *job;

	if (!info->limits.nvme || backend_lost(ns->backend) || h->job ||
	    (h->smart && now_ns() - h->taken_ns < FRESH_NS))
		return;
	job = calloc(1, sizeof(*job));
	if (!job)
		return;
	job->control = control_reactor(ns->target);
	job->target = ns->target;
	job->ns = ns;
	job->fd = fcntl(info->fd, F_DUPFD_CLOEXEC, 0);
	if (job->fd < 0 || thread_create(&job->thread, run_job, job)) {
		if (job->fd >= 0)
			close(job->fd);
		free(job);
		return;
	}
	h->job = job;
	LIST_INSERT_HEAD(&desk->jobs, job, entry);
}

static void take_result(struct namespace *ns, const struct health_job *job)
{
	struct health *h = &ns->health;

	h->job = NULL;
	if (job->err) { /* what is known stays, and is asked for again */
		log_debug("namespace %u of %s: %s: SMART log: %s", ns->nsid, ns->subsys->nqn,
			  ns->conf->device, job->err > 0 ? "NVMe status" : strerror(errno));
		return;
	}
	if (!h->smart)
		h->smart = malloc(sizeof(*h->smart));
	if (!h->smart)
		return;
	*h->smart = job->smart;
	h->taken_ns = now_ns();
}

static void answer_waiting(struct target *t)
{
	struct health_desk *desk = &t->health;
	struct health_job *job;
	struct nvmf_req *req;

	LIST_FOREACH (job, &desk->jobs, entry)
		if (!job->late)
			return;
	reactor_timer_stop(control_reactor(t), &desk->deadline);
	while ((req = TAILQ_FIRST(&desk->waiting))) {
		TAILQ_REMOVE(&desk->waiting, req, entry);
		log_page_answer(req);
	}
}

static void tell_controllers(struct subsystem *s)
{
	struct controller *c;

	LIST_FOREACH (c, &s->controllers, entry)
		health_tell(c);
}

static void job_done(struct message *m)
{
	struct health_job *job = (void *)((uint8_t *)m - offsetof(struct health_job, message));
	struct target *t = job->target;

	if (!job->joined)
		pthread_join(job->thread, NULL);
	LIST_REMOVE(job, entry);
	if (job->ns) {
		take_result(job->ns, job);
		tell_controllers(job->ns->subsys);
	}
	close(job->fd);
	free(job);
	answer_waiting(t);
}

static void ask_all(const struct controller *c)
{
	for (uint32_t nsid = 0; nsid < c->map->n; nsid++)
		if (c->map->entry[nsid].ns)
			ask(c->map->entry[nsid].ns);
}

/* ---- when to ask --------------------------------------------------------------------------------
 */

static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct target *t = w->data;
	struct health_job *job;

	(void)loop;
	(void)revents;
	LIST_FOREACH (job, &t->health.jobs, entry)
		job->late = true;
	answer_waiting(t);
}

static bool wants_warnings(const struct controller *c)
{
	return !c->subsys->discovery && c->aec & 0xff && c->naers;
}

static void on_poll(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct target *t = w->data;
	struct controller *c;

	(void)loop;
	(void)revents;
	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry)
			if (wants_warnings(c))
				ask_all(c);
}

bool health_ask(struct nvmf_req *req)
{
	struct controller *c = req->queue->ctrl;
	struct health_desk *desk = &c->target->health;
	const struct ns_map_entry *entry = ns_map_find(c->map, get32(req->sqe->nsid));
	struct health_job *job;
	bool wait = false;

	if (entry)
		ask(entry->ns);
	else
		ask_all(c);
	LIST_FOREACH (job, &desk->jobs, entry)
		wait |= !job->late;
	if (!wait)
		return false;
	if (TAILQ_EMPTY(&desk->waiting))
		reactor_timer_start(control_reactor(c->target), &desk->deadline, on_deadline,
				    DEADLINE_S, c->target);
	TAILQ_INSERT_TAIL(&desk->waiting, req, entry);
	return true;
}

void health_start(struct target *t)
{
	LIST_INIT(&t->health.jobs);
	TAILQ_INIT(&t->health.waiting);
	reactor_timer_start(control_reactor(t), &t->health.poll, on_poll, POLL_S, t);
}

void health_stop(struct target *t)
{
	struct health_job *job;

	reactor_timer_stop(control_reactor(t), &t->health.poll);
	reactor_timer_stop(control_reactor(t), &t->health.deadline);
	LIST_FOREACH (job, &t->health.jobs, entry) {
		pthread_join(job->thread, NULL);
		job->joined = true; /* and its message has been posted */
	}
	while (!LIST_EMPTY(&t->health.jobs))
		reactor_await_messages(control_reactor(t));
}

void health_forget(struct namespace *ns)
{
	if (ns->health.job)
		ns->health.job->ns = NULL;
	free(ns->health.smart);
}

/* ---- what is known, of one namespace or the worst of all
 * -----------------------------------------
 */

static uint64_t low(const uint8_t counter[16])
{
	le64 v;

	memcpy(&v, counter, sizeof(v));
	return get64(v);
}

static void put_counter(uint8_t to[16], uint64_t value)
{
	le64 v = put64(value);

	memset(to, 0, 16);
	memcpy(to, &v, sizeof(v));
}

static void put_greater(uint8_t to[16], const uint8_t from[16])
{
	if (low(from) > low(to))
		put_counter(to, low(from));
}

static void put_sum(uint8_t to[16], uint64_t n)
{
	put_counter(to, low(to) + n);
}

static uint16_t composite(const struct nvme_smart_log *log)
{
	return (uint16_t)(log->temperature[0] | log->temperature[1] << 8);
}

#define WORSE(field)                                                                               \
	do {                                                                                       \
		if (le32toh(one->field) > le32toh(all->field))                                     \
			all->field = one->field;                                                   \
	} while (0)

static void add_drive(struct nvme_smart_log *all, const struct nvme_smart_log *one, bool first)
{
	all->critical_warning |= one->critical_warning;
	all->endu_grp_crit_warn_sumry |= one->endu_grp_crit_warn_sumry;
	if (composite(one) > composite(all))
		memcpy(all->temperature, one->temperature, sizeof(all->temperature));
	if (first || one->avail_spare - one->spare_thresh < all->avail_spare - all->spare_thresh) {
		all->avail_spare = one->avail_spare;
		all->spare_thresh = one->spare_thresh;
	}
	if (one->percent_used > all->percent_used)
		all->percent_used = one->percent_used;
	put_greater(all->ctrl_busy_time, one->ctrl_busy_time);
	put_greater(all->power_cycles, one->power_cycles);
	put_greater(all->power_on_hours, one->power_on_hours);
	put_greater(all->unsafe_shutdowns, one->unsafe_shutdowns);
	put_sum(all->media_errors, low(one->media_errors));
	WORSE(warning_temp_time);
	WORSE(critical_comp_time);
	WORSE(thm_temp1_trans_count);
	WORSE(thm_temp2_trans_count);
	WORSE(thm_temp1_total_time);
	WORSE(thm_temp2_total_time);
	for (unsigned int i = 0; i < TEMPERATURES - 1; i++)
		if (le16toh(one->temp_sensor[i]) > le16toh(all->temp_sensor[i]))
			all->temp_sensor[i] = one->temp_sensor[i];
}

/* @only: NULL: of all namespaces that the controller has. Files and the like say nothing; what none
 * says is as of a new drive. */
static void drives_of(const struct controller *c, const struct namespace *only,
		      struct nvme_smart_log *ret)
{
	bool first = true;

	*ret = (struct nvme_smart_log){ 0 };
	for (uint32_t nsid = 0; nsid < c->map->n; nsid++) {
		const struct namespace *ns = c->map->entry[nsid].ns;

		if (!ns || (only && ns != only) || !ns->health.smart)
			continue;
		add_drive(ret, ns->health.smart, first);
		first = false;
	}
	if (first) {
		ret->avail_spare = 100;
		ret->spare_thresh = 10;
	}
}

static bool beyond(const struct controller *c, unsigned int sensor, uint16_t kelvin)
{
	uint16_t warm = settings_too_warm(c, sensor), cold = c->settings.too_cold[sensor];

	return kelvin && ((warm && kelvin >= warm) || (cold && kelvin <= cold));
}

/* The drives' own, but for the temperature, whose thresholds are this controller's. */
static uint8_t critical_warnings(const struct controller *c, const struct nvme_smart_log *log)
{
	bool warn = beyond(c, 0, composite(log));

	for (unsigned int i = 1; i < TEMPERATURES; i++)
		warn |= beyond(c, i, le16toh(log->temp_sensor[i - 1]));
	return (uint8_t)((log->critical_warning & ~NVME_SMART_CRIT_TEMPERATURE) |
			 (warn ? NVME_SMART_CRIT_TEMPERATURE : 0));
}

/* Bits 2 to 5 are all told as loss of reliability. */
void health_tell(struct controller *c)
{
	struct nvme_smart_log log;
	uint8_t now, news;

	if (c->subsys->discovery)
		return;
	drives_of(c, NULL, &log);
	now = critical_warnings(c, &log);
	news = (uint8_t)(now & ~c->settings.warned & c->aec);
	c->settings.warned = now & (uint8_t)c->aec;
	if (news & NVME_SMART_CRIT_SPARE)
		controller_event(c, EVENT_SMART_SPARE);
	if (news & NVME_SMART_CRIT_TEMPERATURE)
		controller_event(c, EVENT_SMART_TEMPERATURE);
	if (news & ~(NVME_SMART_CRIT_SPARE | NVME_SMART_CRIT_TEMPERATURE))
		controller_event(c, EVENT_SMART_RELIABILITY);
}

void health_limits(const struct controller *c, uint16_t *ret_warning, uint16_t *ret_critical)
{
	*ret_warning = *ret_critical = 0;
	for (uint32_t nsid = 0; nsid < c->map->n; nsid++) {
		const struct namespace *ns = c->map->entry[nsid].ns;
		const struct backend_limits *l = ns ? &ns->backend->info.limits : NULL;

		if (l && l->warm && (!*ret_warning || l->warm < *ret_warning))
			*ret_warning = l->warm;
		if (l && l->critical && (!*ret_critical || l->critical < *ret_critical))
			*ret_critical = l->critical;
	}
}

bool health_has_sensor(const struct controller *c, unsigned int sensor)
{
	struct nvme_smart_log log;

	drives_of(c, NULL, &log);
	return log.temp_sensor[sensor - 1] != 0;
}

/* ---- the log page -------------------------------------------------------------------------------
 */

static uint64_t bytes_in(const struct stage_account *a)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < STAGE_NPLACES; i++)
		sum += a->bytes[i];
	return sum;
}

/* What hosts moved is counted here, since the daemon started: a drive's own counters know neither
 * which of its users it was, nor a file's or a partition's part. */
static void add_traffic(const struct namespace *ns, struct nvme_smart_log *log)
{
	struct stage_account in, out;

	namespace_account(ns->target, ns, DATA_H2C, &in);
	namespace_account(ns->target, ns, DATA_C2H, &out);
	put_sum(log->data_units_written, bytes_in(&in));
	put_sum(log->data_units_read, bytes_in(&out));
	put_sum(log->host_writes, in.commands);
	put_sum(log->host_reads, out.commands);
}

/* Thousands of 512 bytes, rounded up. */
static void bytes_to_units(uint8_t counter[16])
{
	put_counter(counter, (low(counter) + 511999) / 512000);
}

void *health_page(struct nvmf_req *req, size_t *ret_len)
{
	const struct controller *c = req->queue->ctrl;
	const struct ns_map_entry *entry = ns_map_find(c->map, get32(req->sqe->nsid));
	const struct namespace *only = entry ? entry->ns : NULL, *ns;
	struct nvme_smart_log *log = calloc(1, sizeof(*log));

	*ret_len = sizeof(*log);
	if (!log)
		return NULL;
	drives_of(c, only, log);
	log->critical_warning = critical_warnings(c, log);
	for (uint32_t nsid = 0; nsid < c->map->n; nsid++) {
		ns = c->map->entry[nsid].ns;
		if (ns && (!only || ns == only))
			add_traffic(ns, log);
	}
	bytes_to_units(log->data_units_written);
	bytes_to_units(log->data_units_read);
	put_counter(log->num_err_log_entries, c->errors.count);
	return log;
}
