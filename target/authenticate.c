/*
 * Authentication Send and Receive, and who must authenticate: Base 2.1, 6.1, 6.2, 8.3.5; auth.h has
 * the protocol. Everything is done in the control thread, which knows the hosts' keys, whatever
 * queue it is about; Diffie-Hellman in the worker, while the command waits. So there is one command
 * a queue at most under way.
 *
 * Every queue of a host that has a key authenticates, I/O queues too: their Connect command holds
 * nothing but names, which others know.
 */
#include "target/auth.h"
#include "target/core.h"
#include "target/log.h"

#include <assert.h>
#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* Of a transaction, and for the host to begin one after Connect. Not the keep alive timeout, as in
 * the kernel's target: the Linux host sends 5 s, and may take longer than that to load and test the
 * code of a large group. As long as it waits for an answer. */
#ifndef TIMEOUT_S
#define TIMEOUT_S 60
#endif

/* After a failure: for the host to fetch it, and to end the connection by itself. Then we do. */
#define FETCH_S  5
#define LINGER_S 1

/* control thread, but for auth while the worker has it */
struct queue_auth {
	struct nvmf_queue *q;
	struct auth auth;
	bool begun;           /* by auth_begin(), or by the host, unasked */
	bool late;            /* the deadline is over, but for the command under way */
	struct nvmf_req *req; /* the command under way */
	struct task task;
	ev_timer timer;
};

static struct reactor *control_of(const struct queue_auth *qa)
{
	return control_reactor(qa->q->target);
}

/* ---- timers ------------------------------------------------------------------------------------
 */

static void end_connection(struct queue_auth *qa)
{
	if (is_admin(qa->q))
		controller_disconnect(qa->q->ctrl);
	else
		nvmf_queue_disconnect(qa->q);
}

static void expire(struct queue_auth *qa)
{
	bool failed = qa->auth.state == AUTH_OVER || qa->auth.state == AUTH_WAIT_FETCH_FAILURE1;

	if (!failed)
		log_event(
			JOURNAL_AUTH_FAILED,
			LOG_FIELDS(.hostnqn = qa->q->ctrl->hostnqn, .peer = qa->q->remote_address,
				   .cntlid = qa->q->ctrl->cntlid),
			"controller %u: host %s from %s did not end its authentication of queue %u in time",
			qa->q->ctrl->cntlid, qa->q->ctrl->hostnqn, qa->q->remote_address,
			qa->q->qid);
	if (failed || !qa->auth.authenticated)
		end_connection(qa);
	else
		auth_abandon(&qa->auth);
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct queue_auth *qa = t->data;

	(void)loop;
	(void)revents;
	reactor_timer_stop(control_of(qa), t);
	qa->late = qa->req;
	if (!qa->late)
		expire(qa);
}

static void start_timer(struct queue_auth *qa, double seconds)
{
	reactor_timer_start(control_of(qa), &qa->timer, on_timer, seconds, qa);
}

/* A transaction has one deadline, whatever comes meanwhile: starting it over gains no time. */
static void set_deadline(struct queue_auth *qa, enum auth_state before)
{
	enum auth_state now = qa->auth.state;

	if (now == AUTH_WAIT_NEGOTIATE && qa->auth.authenticated)
		reactor_timer_stop(control_of(qa), &qa->timer);
	else if (now == AUTH_WAIT_FETCH_FAILURE1 && before != now)
		start_timer(qa, FETCH_S);
	else if (now == AUTH_OVER && before != now)
		start_timer(qa, LINGER_S);
	else if (!ev_is_active(&qa->timer))
		start_timer(qa, TIMEOUT_S);
}

/* ---- queues ------------------------------------------------------------------------------------
 */

static struct queue_auth *get_auth(struct nvmf_queue *q)
{
	if (!q->auth)
		q->auth = calloc(1, sizeof(*q->auth));
	if (q->auth)
		q->auth->q = q;
	return q->auth;
}

/* As of now: keys change with a reload. */
static const struct config_host *host_of(const struct target *t, const char *nqn)
{
	return config_host(t->conf, nqn);
}

static bool must_authenticate(const struct config_host *host, const struct subsystem *s)
{
	return host && host->host_key.len && (!s->discovery || host->dhchap_discovery);
}

int auth_prepare(struct nvmf_queue *q, const struct subsystem *s, const char *hostnqn,
		 bool *ret_required)
{
	const struct config_host *host = host_of(q->target, hostnqn);

	*ret_required = host && host->host_key.len && (!s->discovery || host->dhchap_discovery);
	return *ret_required && !get_auth(q) ? -ENOMEM : 0;
}

void auth_begin(struct nvmf_queue *q, const char *hostnqn, const char *subnqn)
{
	auth_init(&q->auth->auth, hostnqn, subnqn);
	q->auth->begun = true;
	q->unauthenticated = true;
	set_deadline(q->auth, AUTH_WAIT_NEGOTIATE);
}

void auth_end(struct nvmf_queue *q)
{
	struct queue_auth *qa = q->auth;

	if (!qa)
		return;
	assert(!qa->req);
	q->auth = NULL;
	reactor_timer_stop(control_of(qa), &qa->timer);
	auth_fini(&qa->auth);
	free(qa);
}

void auth_enforce(struct target *t)
{
	struct controller *c, *next;

	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH_SAFE (c, &t->subsystems[i]->controllers, entry, next) {
			if (!c->admin || c->admin->auth ||
			    !must_authenticate(host_of(t, c->hostnqn), c->subsys))
				continue;
			log_info("controller %u: host %s has to authenticate now, disconnecting",
				 c->cntlid, c->hostnqn);
			controller_leave(c);
		}
}

/* ---- commands ----------------------------------------------------------------------------------
 */

uint16_t auth_length(struct nvmf_req *req, uint32_t *ret_len)
{
	const struct nvmf_auth_sqe *sqe = (const void *)req->sqe;
	uint32_t len = get32(sqe->len);

	if (sqe->secp != AUTH_SECP || sqe->spsp0 != AUTH_SPSP || sqe->spsp1 != AUTH_SPSP ||
	    len == 0 || len > req->queue->target->mdts_len)
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_len = len;
	return NVME_OK;
}

/* In the queue's reactor, which may have closed it meanwhile. */
static void complete(struct nvmf_req *req)
{
	if (req->queue->state == QUEUE_CLOSING)
		req->status = NVME_ABORTED_SQ_DELETION;
	nvmf_req_complete(req, req->status);
}

static void completed(struct message *m)
{
	complete(req_of(m));
}

static void answer(struct nvmf_req *req, uint16_t status)
{
	req->status = status;
	if (reactor_is_current(req->queue->reactor)) {
		complete(req);
	} else {
		req->message.run = completed;
		reactor_post(req->queue->reactor, &req->message);
	}
}

static void log_failure(const struct queue_auth *qa)
{
	qa->q->target->events.authentication_failures++;
	log_event(JOURNAL_AUTH_FAILED,
		  LOG_FIELDS(.hostnqn = qa->q->ctrl->hostnqn, .peer = qa->q->remote_address,
			     .cntlid = qa->q->ctrl->cntlid),
		  "controller %u: host %s from %s failed to authenticate queue %u: %s",
		  qa->q->ctrl->cntlid, qa->q->ctrl->hostnqn, qa->q->remote_address, qa->q->qid,
		  auth_explanation_text(qa->auth.explanation));
}

static void log_success(const struct queue_auth *qa)
{
	const struct nvmf_queue *q = qa->q;

	if (is_admin(q))
		log_peer(LOG_LEVEL_INFO, q->remote_address,
			 "controller %u: host %s is authenticated", q->ctrl->cntlid,
			 q->ctrl->hostnqn);
	else
		log_debug("controller %u: queue %u is authenticated", q->ctrl->cntlid, q->qid);
}

/* @before: the state when the command came. */
static void finish(struct queue_auth *qa, struct nvmf_req *req, enum auth_state before,
		   uint16_t status)
{
	struct nvmf_queue *q = qa->q;
	enum auth_state now = qa->auth.state;

	if (before != now && (now == AUTH_WAIT_FETCH_FAILURE1 ||
			      (now == AUTH_OVER && before != AUTH_WAIT_FETCH_FAILURE1)))
		log_failure(qa);
	if (before != now && now == AUTH_WAIT_NEGOTIATE && qa->auth.authenticated) {
		log_success(qa);
		__atomic_store_n(&q->unauthenticated, false, __ATOMIC_RELAXED);
	}
	if (qa->late)
		expire(qa);
	else
		set_deadline(qa, before);
	qa->late = false;
	answer(req, status);
}

static void compute(struct task *t)
{
	auth_compute(
		&((struct queue_auth *)((uint8_t *)t - offsetof(struct queue_auth, task)))->auth);
}

static void computed(struct task *t)
{
	struct queue_auth *qa = (void *)((uint8_t *)t - offsetof(struct queue_auth, task));
	struct nvmf_req *req = qa->req;
	enum auth_state before = qa->auth.state;

	qa->req = NULL;
	auth_computed(&qa->auth);
	finish(qa, req, before, NVME_OK);
}

static int start_computing(struct queue_auth *qa, struct nvmf_req *req)
{
	struct target *t = qa->q->target;
	int err = target_start_worker(t);

	if (err)
		return err;
	qa->req = req;
	qa->task.run = compute;
	qa->task.done = computed;
	worker_submit(t->worker, &qa->task);
	return 0;
}

static uint32_t *seqnum_of(struct target *t)
{
	if (!t->auth_seqnum)
		(void)RAND_bytes((uint8_t *)&t->auth_seqnum, sizeof(t->auth_seqnum));
	return &t->auth_seqnum;
}

static void send_message(struct queue_auth *qa, struct nvmf_req *req)
{
	struct nvmf_queue *q = qa->q;
	enum auth_state before = qa->auth.state;
	uint16_t status = NVME_OK;

	auth_message(&qa->auth, host_of(q->target, q->ctrl->hostnqn), seqnum_of(q->target),
		     req->data, req->len);
	if (auth_must_compute(&qa->auth)) {
		if (start_computing(qa, req) == 0)
			return;
		auth_give_up(&qa->auth);
		status = NVME_INTERNAL_ERROR;
	}
	finish(qa, req, before, status);
}

static void receive_message(struct queue_auth *qa, struct nvmf_req *req)
{
	enum auth_state before = qa->auth.state;
	int err = auth_answer(&qa->auth, req->data, req->len);

	finish(qa, req, before,
	       err == -EMSGSIZE ? NVME_INVALID_FIELD | NVME_DNR
	       : err            ? NVME_COMMAND_SEQUENCE | NVME_DNR
				: NVME_OK);
}

static void run_in_control(struct nvmf_req *req)
{
	struct nvmf_queue *q = req->queue;
	struct queue_auth *qa = get_auth(q);

	if (!qa) {
		answer(req, NVME_INTERNAL_ERROR);
		return;
	}
	if (qa->req || qa->auth.state == AUTH_OVER) {
		answer(req, NVME_COMMAND_SEQUENCE | NVME_DNR);
		return;
	}
	if (!qa->begun) {
		qa->begun = true;
		auth_init(&qa->auth, q->ctrl->hostnqn, q->subsys->nqn);
		qa->auth.authenticated = true;
	}
	if (req->cmd->dir == DATA_H2C)
		send_message(qa, req);
	else
		receive_message(qa, req);
}

static void asked(struct message *m)
{
	run_in_control(req_of(m));
}

void auth_execute(struct nvmf_req *req)
{
	struct reactor *control = control_reactor(req->queue->target);

	if (reactor_is_current(control)) {
		run_in_control(req);
	} else {
		req->message.run = asked;
		reactor_post(control, &req->message);
	}
}
