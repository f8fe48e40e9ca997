/* Reservations as hosts command them: Base 2.1, 7.2 to 7.5, 8.1.22. */
#include "target/core.h"
#include "target/durable.h"
#include "target/log.h"
#include "target/reservation_file.h"

#include <errno.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>

struct resv_change;

struct ns_reservation {
	struct reservation state;
	STAILQ_HEAD(resv_changes, resv_change) changes; /* the first one is under way */
	bool renamed;                                   /* meanwhile */
	struct resv_view *view; /* what the shards point to; NULL: nobody holds one */
	uint32_t mask;          /* feature 82h: bits by enum resv_note */
	struct resv_file_owner owner;
	char nqn[CONFIG_NQN_MAX + 1];
	char dir[CONFIG_STATE_DIR_MAX + 1]; /* a copy: configurations come and go */
	char file[64];
	bool failed; /* said so */
};

/* ---- what the reactors know ---------------------------------------------------------------------
 */

struct viewing {
	struct ns_shard *shard;
	const struct resv_view *view;
};

static void take_view(void *arg)
{
	const struct viewing *v = arg;

	v->shard->resv = v->view;
}

/* When this returns, every command that comes is checked against @view. */
static void publish(struct namespace *ns, struct resv_view *view)
{
	const struct reactors *reactors = ns->target->reactors;
	struct resv_view *old = ns->resv->view;

	ns->resv->view = view;
	if (!old && !view)
		return;
	for (unsigned int i = 0; i < reactors->n; i++) {
		struct viewing v = { &ns->shard[i], view };

		reactor_call(reactors->r[i], take_view, &v);
	}
	free(old);
}

static struct host_id host_of(const struct nvmf_req *req)
{
	struct host_id host;

	static_assert(sizeof(host) == sizeof(req->queue->ctrl->hostid), "");
	memcpy(&host, req->queue->ctrl->hostid, sizeof(host));
	return host;
}

uint16_t resv_conflict(const struct nvmf_req *req, const struct resv_view *v)
{
	enum resv_group group = req->cmd->flags & CMD_RESV_WRITE  ? RESV_WRITES
				: req->cmd->flags & CMD_RESV_READ ? RESV_READS
								  : RESV_ANY;

	return resv_view_allows(v, host_of(req), group) ? NVME_OK
							: NVME_RESERVATION_CONFLICT | NVME_DNR;
}

/* ---- what persists ------------------------------------------------------------------------------
 */

static uint16_t save_failed(const struct ns_reservation *r, int err, const char *why)
{
	log_error("namespace %u of %s: its reservations cannot be saved in %s/%s: %s: %s",
		  r->owner.nsid, r->nqn, r->dir, r->file, why, strerror(-err));
	return NVME_INTERNAL_ERROR;
}

enum deed { DEED_NONE, DEED_SAVE, DEED_REMOVE };

/* What the disk must have before @next is in force. */
static enum deed deed_for(const struct reservation *now, const struct reservation *next)
{
	if (next->ptpl || next->n)
		return DEED_SAVE;
	return now->ptpl || now->n ? DEED_REMOVE : DEED_NONE;
}

/* How it went; in the worker or in the control thread. */
struct outcome {
	int err;
	const char *why;
	bool bearable; /* nothing was promised, and no former file is there to be believed */
};

static struct outcome do_deed(const struct ns_reservation *r, const struct resv_file_owner *owner,
			      enum deed deed, const struct reservation *next)
{
	struct outcome o = { .why = "" };
	const char *why;

	switch (deed) {
	case DEED_NONE:
		break;
	case DEED_SAVE:
		o.err = resv_file_save(r->dir, r->file, owner, next, &o.why);
		o.bearable = o.err && !next->ptpl && durable_remove(r->dir, r->file, &why) == 0;
		break;
	case DEED_REMOVE:
		o.err = durable_remove(r->dir, r->file, &o.why);
		break;
	}
	return o;
}

/* Is what was saved in force now? What need not persist through power loss is kept as well as can
 * be. */
static uint16_t judge(struct ns_reservation *r, const struct outcome *o)
{
	if (o->err && !o->bearable)
		return save_failed(r, o->err, o->why);
	if (o->err && !r->failed)
		log_event(JOURNAL_STATE_NOT_KEPT, LOG_FIELDS(.nqn = r->nqn, .nsid = r->owner.nsid),
			  "namespace %u of %s: its reservations end with the daemon: %s/%s: %s: %s",
			  r->owner.nsid, r->nqn, r->dir, r->file, o->why, strerror(-o->err));
	r->failed = o->err != 0;
	return NVME_OK;
}

static void set_owner(struct namespace *ns)
{
	struct ns_reservation *r = ns->resv;

	r->owner.nqn = r->nqn;
	r->owner.nsid = ns->nsid;
	memcpy(r->owner.uuid, &ns->ids.uuid, sizeof(r->owner.uuid));
}

static void save_renamed(struct ns_reservation *r)
{
	struct outcome o = do_deed(r, &r->owner, deed_for(&r->state, &r->state), &r->state);

	r->renamed = false;
	(void)judge(r, &o);
}

void ns_reservation_rename(struct namespace *ns)
{
	struct ns_reservation *r = ns->resv;

	set_owner(ns);
	if (STAILQ_EMPTY(&r->changes))
		save_renamed(r);
	else
		r->renamed = true;
}

static int refuse_file(const struct ns_reservation *r, int err, const char *why,
		       struct config_diag *diag)
{
	*diag = (struct config_diag){ 0 };
	snprintf(diag->file, sizeof(diag->file), "%s/%s", r->dir, r->file);
	snprintf(diag->what, sizeof(diag->what),
		 "reservations of namespace %u of %s, which persist through power loss: %s%s%s",
		 r->owner.nsid, r->nqn, why, err == -EBADMSG ? "" : ": ",
		 err == -EBADMSG ? "" : strerror(-err));
	snprintf(
		diag->fix, sizeof(diag->fix),
		"bring back the file as it was, or remove it: then no host is registered and nothing is reserved, so first make sure that no host relies on it");
	return err;
}

int ns_reservation_open(struct namespace *ns, struct config_diag *diag)
{
	struct ns_reservation *r = calloc(1, sizeof(*r));
	struct resv_view *view = NULL;
	const char *why;
	int err;

	if (!r)
		return -ENOMEM;
	ns->resv = r;
	STAILQ_INIT(&r->changes);
	strlcpy(r->dir, ns->target->conf->state_dir, sizeof(r->dir));
	strlcpy(r->nqn, ns->subsys->nqn, sizeof(r->nqn));
	set_owner(ns);
	strlcpy(r->file, namespace_state_file(ns, "reservations").text, sizeof(r->file));
	err = resv_file_load(r->dir, r->file, &r->owner, &r->state, &why);
	if (err == -ENOENT)
		return 0;
	if (err)
		return refuse_file(r, err, why, diag);
	err = reservation_view(&r->state, &view);
	if (!err)
		publish(ns, view);
	return err;
}

void ns_reservation_close(struct namespace *ns)
{
	if (!ns->resv)
		return;
	free(ns->resv->view);
	free(ns->resv);
	ns->resv = NULL;
}

/* ---- what hosts are told ------------------------------------------------------------------------
 */

static void add_to_log(struct controller *c, uint32_t nsid, enum resv_note note)
{
	struct resv_log *log = &c->resv_log;
	unsigned int at = (unsigned int)(log->count++ % RESV_LOG_MAX);

	log->entry[at].nsid = nsid;
	log->entry[at].type = (uint8_t)note;
	if (log->n < RESV_LOG_MAX)
		log->n++;
	controller_event(c, EVENT_RESERVATION);
}

static void tell_host(struct subsystem *s, const struct namespace *ns, const struct resv_effect *e)
{
	struct controller *c;

	LIST_FOREACH (c, &s->controllers, entry) {
		const struct ns_map_entry *entry = ns_map_find(c->map, ns->nsid);

		if (entry && entry->ns == ns &&
		    memcmp(c->hostid, e->host.byte, sizeof(c->hostid)) == 0)
			add_to_log(c, ns->nsid, e->note);
	}
}

static void tell_hosts(struct subsystem *s, const struct namespace *ns,
		       const struct resv_effects *e)
{
	for (unsigned int i = 0; i < e->n; i++)
		if (!(ns->resv->mask & 1u << e->to[i].note))
			tell_host(s, ns, &e->to[i]);
}

void *resv_log_page(struct nvmf_req *req, size_t *ret_len)
{
	struct resv_log *log = &req->queue->ctrl->resv_log;
	struct nvme_resv_notification_log *page = calloc(1, sizeof(*page));
	uint64_t oldest = log->count - log->n;

	*ret_len = sizeof(*page);
	if (!page || log->n == 0)
		return page;
	log->n--;
	page->lpc = htole64(oldest + 1);
	page->rnlpt = log->entry[oldest % RESV_LOG_MAX].type;
	page->nalp = (uint8_t)log->n;
	page->nsid = htole32(log->entry[oldest % RESV_LOG_MAX].nsid);
	return page;
}

/* ---- Register, Acquire, Release -----------------------------------------------------------------
 */

/* A namespace, and who waits until the commands that preempted hosts have in flight on it have
 * ended. We wait for everybody's. */
struct preemption {
	struct drain drain;
	struct nvmf_req *req;
};

static void preempted(struct drain *d)
{
	struct preemption *p = (void *)((uint8_t *)d - offsetof(struct preemption, drain));

	nvmf_req_answer(p->req, NVME_OK);
	free(p);
}

static uint16_t wait_for_preempted(struct nvmf_req *req, struct preemption *p)
{
	*p = (struct preemption){ .drain = { .done = preempted, .but = req }, .req = req };
	namespace_drain(req->ns, &p->drain);
	return NVME_LATER;
}

typedef uint16_t (*action)(struct reservation *next, struct nvmf_req *req, struct resv_effects *e);

/* A change of a namespace's reservations: one at a time, in the order of the commands. First what
 * can fail, then what cannot; the worker waits for the disk. */
struct resv_change {
	struct task task;
	struct namespace *ns;
	struct nvmf_req *req;
	action act;
	struct preemption *preemption;
	struct reservation next;
	struct resv_effects effects;
	struct resv_view *view;
	struct resv_file_owner owner; /* a copy: the namespace may get another UUID meanwhile */
	enum deed deed;
	struct outcome outcome;
	STAILQ_ENTRY(resv_change) entry;
};

static struct resv_change *change_of(struct task *task)
{
	return (void *)((uint8_t *)task - offsetof(struct resv_change, task));
}

static void change_run(struct task *task)
{
	struct resv_change *ch = change_of(task);

	ch->outcome = do_deed(ch->ns->resv, &ch->owner, ch->deed, &ch->next);
}

static void take_effect(struct resv_change *ch)
{
	ch->ns->resv->state = ch->next;
	publish(ch->ns, ch->view);
	ch->view = NULL;
	tell_hosts(ch->req->queue->ctrl->subsys, ch->ns, &ch->effects);
}

/* The command, not the namespace's queue of them, is over; @ch is freed. */
static void end_change(struct resv_change *ch, uint16_t status)
{
	struct preemption *p = ch->preemption;
	struct nvmf_req *req = ch->req;
	bool abort = !status && ch->effects.abort;

	free(ch->view);
	free(ch);
	if (abort) {
		(void)wait_for_preempted(req, p);
		return;
	}
	free(p);
	nvmf_req_answer(req, status);
}

/* Return: NVME_LATER: the disk is waited for. */
static uint16_t begin_change(struct resv_change *ch)
{
	struct ns_reservation *r = ch->ns->resv;
	uint16_t status;

	ch->next = r->state;
	status = ch->act(&ch->next, ch->req, &ch->effects);
	if (status)
		return status;
	if (reservation_view(&ch->next, &ch->view))
		return NVME_INTERNAL_ERROR;
	ch->owner = r->owner;
	ch->deed = deed_for(&r->state, &ch->next);
	if (ch->deed != DEED_NONE) {
		if (target_start_worker(ch->ns->target))
			return NVME_INTERNAL_ERROR;
		worker_submit(ch->ns->target->worker, &ch->task);
		return NVME_LATER;
	}
	take_effect(ch);
	return NVME_OK;
}

/* The last answer may free the namespace. */
static void go_on(struct ns_reservation *r)
{
	struct resv_change *ch = STAILQ_FIRST(&r->changes), *next;
	uint16_t status;

	while (ch) {
		status = begin_change(ch);
		if (status == NVME_LATER)
			return;
		next = STAILQ_NEXT(ch, entry);
		STAILQ_REMOVE_HEAD(&r->changes, entry);
		end_change(ch, status);
		ch = next;
	}
}

static void change_done(struct task *task)
{
	struct resv_change *ch = change_of(task);
	struct ns_reservation *r = ch->ns->resv;
	uint16_t status = judge(r, &ch->outcome);
	bool more;

	if (!status)
		take_effect(ch);
	if (r->renamed)
		save_renamed(r);
	STAILQ_REMOVE_HEAD(&r->changes, entry);
	more = !STAILQ_EMPTY(&r->changes);
	end_change(ch, status);
	if (more)
		go_on(r);
}

static uint16_t queue_change(struct namespace *ns, struct nvmf_req *req, action act,
			     struct preemption *p)
{
	struct resv_change *ch = calloc(1, sizeof(*ch));
	bool idle = STAILQ_EMPTY(&ns->resv->changes);

	if (!ch)
		return NVME_INTERNAL_ERROR;
	ch->ns = ns;
	ch->req = req;
	ch->act = act;
	ch->preemption = p;
	ch->task.run = change_run;
	ch->task.done = change_done;
	STAILQ_INSERT_TAIL(&ns->resv->changes, ch, entry);
	if (idle)
		go_on(ns->resv);
	return NVME_LATER;
}

static uint16_t in_control(struct nvmf_req *req, action act)
{
	static const struct host_id nobody;
	const struct ns_map_entry *entry =
		ns_map_find(req->queue->ctrl->map, get32(req->sqe->nsid));
	struct host_id host = host_of(req);
	struct preemption *p;
	uint16_t status;

	if (!entry || entry->ns != req->ns) /* another has its file now */
		return NVME_INVALID_NS | NVME_DNR;
	if (memcmp(&host, &nobody, sizeof(host)) == 0) /* CTRATT.RHII */
		return NVME_HOST_ID_NOT_INITIALIZED | NVME_DNR;
	p = malloc(sizeof(*p));
	if (!p)
		return NVME_INTERNAL_ERROR;
	status = queue_change(req->ns, req, act, p);
	if (status != NVME_LATER)
		free(p);
	return status;
}

static uint64_t key_at(const struct nvmf_req *req, size_t i)
{
	le64 key;

	memcpy(&key, req->data + i * sizeof(key), sizeof(key));
	return get64(key);
}

static uint16_t act_register(struct reservation *next, struct nvmf_req *req, struct resv_effects *e)
{
	return reservation_register(next, host_of(req), get32(req->sqe->cdw10), key_at(req, 0),
				    key_at(req, 1), e);
}

static uint16_t act_acquire(struct reservation *next, struct nvmf_req *req, struct resv_effects *e)
{
	return reservation_acquire(next, host_of(req), get32(req->sqe->cdw10), key_at(req, 0),
				   key_at(req, 1), e);
}

static uint16_t act_release(struct reservation *next, struct nvmf_req *req, struct resv_effects *e)
{
	return reservation_release(next, host_of(req), get32(req->sqe->cdw10), key_at(req, 0), e);
}

static uint16_t register_in_control(struct nvmf_req *req)
{
	return in_control(req, act_register);
}

static uint16_t acquire_in_control(struct nvmf_req *req)
{
	return in_control(req, act_acquire);
}

static uint16_t release_in_control(struct nvmf_req *req)
{
	return in_control(req, act_release);
}

void resv_register_execute(struct nvmf_req *req)
{
	nvmf_req_in_control(req, register_in_control);
}

void resv_acquire_execute(struct nvmf_req *req)
{
	nvmf_req_in_control(req, acquire_in_control);
}

void resv_release_execute(struct nvmf_req *req)
{
	nvmf_req_in_control(req, release_in_control);
}

uint16_t resv_key_length(struct nvmf_req *req, uint32_t *ret_len)
{
	(void)req;
	*ret_len = sizeof(le64);
	return NVME_OK;
}

uint16_t resv_keys_length(struct nvmf_req *req, uint32_t *ret_len)
{
	(void)req;
	*ret_len = 2 * sizeof(le64);
	return NVME_OK;
}

/* ---- Report -------------------------------------------------------------------------------------
 */

/* Host Identifiers have 128 bits on fabrics, so the data structure must be the extended one. */
uint16_t resv_report_length(struct nvmf_req *req, uint32_t *ret_len)
{
	uint64_t len = ((uint64_t)get32(req->sqe->cdw10) + 1) * 4;

	if (!(get32(req->sqe->cdw11) & 1))
		return NVME_HOST_ID_INCONSISTENT_FORMAT | NVME_DNR;
	if (len > req->queue->target->mdts_len)
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_len = (uint32_t)len;
	return NVME_OK;
}

static uint16_t report_in_control(struct nvmf_req *req)
{
	uint8_t whole[RESV_REPORT_LEN];
	size_t len = reservation_report(&req->ns->resv->state, whole);

	if (len > req->len)
		len = req->len;
	memcpy(req->data, whole, len);
	memset(req->data + len, 0, req->len - len);
	return NVME_OK;
}

void resv_report_execute(struct nvmf_req *req)
{
	nvmf_req_in_control(req, report_in_control);
}

/* ---- features -----------------------------------------------------------------------------------
 */

/* Any other than one that is there is an invalid field, says the feature. */
static struct namespace *named(const struct nvmf_req *req)
{
	const struct ns_map_entry *entry =
		ns_map_find(req->queue->ctrl->map, get32(req->sqe->nsid));

	return entry ? entry->ns : NULL;
}

static uint16_t for_named(struct nvmf_req *req,
			  uint16_t (*set)(struct namespace *ns, uint32_t dw11))
{
	const struct ns_map *map = req->queue->ctrl->map;
	uint32_t dw11 = get32(req->sqe->cdw11);
	uint16_t status = NVME_OK;

	if (get32(req->sqe->nsid) != NVME_NSID_ALL)
		return named(req) ? set(named(req), dw11) : NVME_INVALID_FIELD | NVME_DNR;
	for (uint32_t nsid = 0; nsid < map->n && !status; nsid++)
		if (map->entry[nsid].ns)
			status = set(map->entry[nsid].ns, dw11);
	return status;
}

#define MASK_BITS                                                                                  \
	(1u << RESV_REGISTRATION_PREEMPTED | 1u << RESV_RESERVATION_RELEASED |                     \
	 1u << RESV_RESERVATION_PREEMPTED)

static uint16_t set_mask(struct namespace *ns, uint32_t dw11)
{
	if (dw11 & ~MASK_BITS)
		return NVME_INVALID_FIELD | NVME_DNR;
	ns->resv->mask = dw11;
	return NVME_OK;
}

uint16_t resv_get_mask(struct nvmf_req *req, uint32_t *ret_dw0)
{
	if (!named(req))
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_dw0 = named(req)->resv->mask;
	return NVME_OK;
}

uint16_t resv_set_mask(struct nvmf_req *req)
{
	return for_named(req, set_mask);
}

static uint16_t act_persist(struct reservation *next, struct nvmf_req *req, struct resv_effects *e)
{
	(void)e;
	next->ptpl = get32(req->sqe->cdw11) & 1;
	return NVME_OK;
}

/* Of all namespaces: rare, so the control thread waits for the disk itself. */
static uint16_t set_persistence(struct namespace *ns, uint32_t dw11)
{
	struct ns_reservation *r = ns->resv;
	struct reservation next = r->state;
	struct outcome o;
	uint16_t status;

	if (!STAILQ_EMPTY(&r->changes))
		return NVME_NS_NOT_READY; /* the host tries again */
	next.ptpl = dw11 & 1;
	if (next.ptpl == r->state.ptpl)
		return NVME_OK;
	o = do_deed(r, &r->owner, deed_for(&r->state, &next), &next);
	status = judge(r, &o);
	if (!status)
		r->state = next;
	return status;
}

uint16_t resv_get_persistence(struct nvmf_req *req, uint32_t *ret_dw0)
{
	if (!named(req))
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_dw0 = named(req)->resv->state.ptpl;
	return NVME_OK;
}

uint16_t resv_set_persistence(struct nvmf_req *req)
{
	struct namespace *ns = named(req);

	if (get32(req->sqe->nsid) == NVME_NSID_ALL || !ns)
		return for_named(req, set_persistence);
	return queue_change(ns, req, act_persist, NULL);
}
