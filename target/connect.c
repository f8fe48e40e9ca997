/* Fabrics commands: Connect, Disconnect, Property Get and Set. Base 2.1, 6.3 to 6.6. */
#include "target/core.h"
#include "target/log.h"

#include <errno.h>
#include <libnvme.h>
#include <string.h>

/* Where the invalid parameter is: Base 2.1, 6.3, "Connect Response - Dword 0". */
enum { IN_SQE = 0, IN_DATA = 1 };

static uint16_t invalid_param(struct nvmf_req *req, unsigned int where, size_t offset)
{
	req->cqe.dw0 = put32((uint32_t)where << 16 | (uint32_t)offset);
	return NVME_CONNECT_INVALID_PARAM | NVME_DNR;
}

uint16_t connect_length(struct nvmf_req *req, uint32_t *ret_len)
{
	(void)req;
	*ret_len = sizeof(struct nvmf_connect_data);
	return NVME_OK;
}

/* The NQNs are NUL-terminated inside their field, or the field is refused. */
static uint16_t check_data(struct nvmf_req *req, const struct nvmf_connect_data *data)
{
	if (!memchr(data->subsysnqn, '\0', CONFIG_NQN_MAX + 1))
		return invalid_param(req, IN_DATA, offsetof(struct nvmf_connect_data, subsysnqn));
	if (!memchr(data->hostnqn, '\0', CONFIG_NQN_MAX + 1) || !data->hostnqn[0])
		return invalid_param(req, IN_DATA, offsetof(struct nvmf_connect_data, hostnqn));
	return NVME_OK;
}

static uint16_t check_queue(struct nvmf_req *req, const struct nvmf_connect_sqe *sqe)
{
	uint16_t size_z = get16(sqe->sqsize_z);

	/* the connection was made for this queue, with that many receive entries */
	if (get16(sqe->qid) != req->queue->qid)
		return invalid_param(req, IN_SQE, offsetof(struct nvmf_connect_sqe, qid));
	if (size_z == 0 || size_z >= req->queue->depth)
		return invalid_param(req, IN_SQE, offsetof(struct nvmf_connect_sqe, sqsize_z));
	return NVME_OK;
}

/* Control thread; queue_goes_live() follows in the queue's reactor. */
static void bind_queue(struct nvmf_req *req, struct controller *c)
{
	struct nvmf_queue *q = req->queue;

	q->ctrl = c;
	q->subsys = c->subsys;
	q->map = c->map;
	q->in_capsule_len = c->in_capsule_len;
	req->cqe.dw0 = put32(c->cntlid);
}

/* What the limits of one host count. */
struct host_usage {
	uint32_t controllers, queues;
	uint64_t memory;
};

/* Who only says to be a host that has a key does not use up its limits. */
static void add_queue(struct host_usage *u, const struct nvmf_queue *q)
{
	if (__atomic_load_n(&q->unauthenticated, __ATOMIC_RELAXED))
		return;
	u->controllers += is_admin(q);
	u->queues += !is_admin(q);
	u->memory += q->memory;
}

static struct host_usage usage_of_host(const struct target *t, const char *hostnqn)
{
	struct host_usage u = { 0 };
	const struct controller *c;
	const struct nvmf_queue *q;

	for (size_t i = 0; i < t->nsubsystems; i++)
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry) {
			if (strcmp(c->hostnqn, hostnqn) != 0)
				continue;
			if (c->admin)
				add_queue(&u, c->admin);
			LIST_FOREACH (q, &c->queues, entry)
				add_queue(&u, q);
		}
	return u;
}

/* May the host have one queue more? A controller it has already, and its other queues, go on. */
static bool within_limits(const struct nvmf_queue *q, const struct nvmf_connect_data *data)
{
	const struct config *conf = q->target->conf;
	struct host_usage u;

	if (!conf->host_controllers && !conf->host_queues && !conf->host_queue_memory)
		return true;
	u = usage_of_host(q->target, data->hostnqn);
	add_queue(&u, q);
	if ((!conf->host_controllers || u.controllers <= conf->host_controllers) &&
	    (!conf->host_queues || u.queues <= conf->host_queues) &&
	    (!conf->host_queue_memory || u.memory <= conf->host_queue_memory))
		return true;
	q->target->events.connects_refused[REFUSED_LIMIT]++;
	log_event(JOURNAL_HOST_REFUSED,
		  LOG_FIELDS(.hostnqn = data->hostnqn, .peer = q->remote_address),
		  "host %s from %s has reached its limit of %s", data->hostnqn, q->remote_address,
		  conf->host_controllers && u.controllers > conf->host_controllers
			  ? "controllers (host_controllers)"
		  : conf->host_queues && u.queues > conf->host_queues
			  ? "I/O queues (host_queues)"
			  : "queue memory (host_queue_memory)");
	return false;
}

/* Which ID does the host ask for? Base 2.1, 3.1.1.1 and 6.3 (CNTLID). 0: any. */
static uint16_t asked_cntlid(struct nvmf_req *req, const struct nvmf_connect_data *data,
			     const struct subsystem *s, uint16_t *ret)
{
	uint16_t cntlid = le16toh(data->cntlid);
	bool is_static = subsystem_is_static(s);

	*ret = 0;
	if (cntlid == (is_static ? CNTLID_ANY_STATIC : CNTLID_DYNAMIC))
		return NVME_OK;
	if (!is_static || cntlid < s->conf->cntlid_min || cntlid > s->conf->cntlid_max)
		return invalid_param(req, IN_DATA, offsetof(struct nvmf_connect_data, cntlid));
	*ret = cntlid;
	return NVME_OK;
}

static uint16_t connect_admin(struct nvmf_req *req, const struct nvmf_connect_sqe *sqe,
			      const struct nvmf_connect_data *data, struct subsystem *s)
{
	struct nvmf_queue *q = req->queue;
	struct controller *c;
	uint16_t cntlid, status = asked_cntlid(req, data, s, &cntlid);

	if (status)
		return status;
	if (!within_limits(q, data))
		return NVME_CONNECT_BUSY;

	int err = controller_create(s, q, data->hostnqn, data->hostid, cntlid, &c);

	if (err)
		return err == -EBUSY ? NVME_CONNECT_BUSY : NVME_INTERNAL_ERROR;
	bind_queue(req, c);
	controller_start_keep_alive(c, get32(sqe->kato_ms));
	log_event(JOURNAL_HOST_CONNECTED,
		  LOG_FIELDS(.hostnqn = c->hostnqn, .peer = q->remote_address, .nqn = s->nqn,
			     .cntlid = c->cntlid, .port = c->port_id),
		  "controller %u: host %s from %s connected to %s, keep alive %u ms", c->cntlid,
		  c->hostnqn, q->remote_address, s->nqn, c->kato_ms);
	return NVME_OK;
}

static uint16_t connect_io(struct nvmf_req *req, const struct nvmf_connect_data *data,
			   struct subsystem *s)
{
	struct nvmf_queue *q = req->queue;
	uint16_t cntlid = le16toh(data->cntlid);
	struct controller *c = cntlid <= CNTLID_MAX ? q->target->by_cntlid[cntlid] : NULL;

	/* all queues of an association come through the same port: Base 2.1, 2.2 */
	if (!c || c->subsys != s || !c->admin || c->admin->port.id != q->port.id)
		return invalid_param(req, IN_DATA, offsetof(struct nvmf_connect_data, cntlid));
	if (strcmp(c->hostnqn, data->hostnqn) != 0)
		return invalid_param(req, IN_DATA, offsetof(struct nvmf_connect_data, hostnqn));
	if (memcmp(c->hostid, data->hostid, sizeof(c->hostid)) != 0)
		return invalid_param(req, IN_DATA, offsetof(struct nvmf_connect_data, hostid));
	if (s->discovery || q->qid > c->nqueues)
		return invalid_param(req, IN_SQE, offsetof(struct nvmf_connect_sqe, qid));
	if (!(c->csts & CSTS_RDY) || c->resetting || c->io[q->qid])
		return NVME_COMMAND_SEQUENCE | NVME_DNR;
	if (!within_limits(q, data))
		return NVME_CONNECT_BUSY;
	c->io[q->qid] = q;
	c->refs++;
	bind_queue(req, c);
	LIST_INSERT_HEAD(&c->queues, q, entry);
	log_debug("controller %u: queue %u connected, in reactor %u", cntlid, q->qid,
		  q->reactor->opts.index);
	return NVME_OK;
}

/* The first time this host came from there and was refused; the table forgets the oldest. */
static bool refused_first(struct target *t, const char *hostnqn, const char *address)
{
	struct refused *r;

	for (unsigned int i = 0; i < REFUSED_MAX; i++)
		if (strcmp(t->refused[i].hostnqn, hostnqn) == 0 &&
		    strcmp(t->refused[i].address, address) == 0)
			return false;
	r = &t->refused[t->next_refused++ % REFUSED_MAX];
	strlcpy(r->hostnqn, hostnqn, sizeof(r->hostnqn));
	strlcpy(r->address, address, sizeof(r->address));
	return true;
}

/* What takes the controllers and subsystems: in the control thread, which owns them. */
static uint16_t connect_in_control(struct nvmf_req *req)
{
	const struct nvmf_connect_sqe *sqe = (const void *)req->sqe;
	const struct nvmf_connect_data *data = (const void *)req->data;
	struct nvmf_queue *q = req->queue;
	struct subsystem *s = subsystem_find(q->target, data->subsysnqn);

	/* Two Connects may be under way, both looked at while there was no controller. */
	if (q->ctrl)
		return NVME_COMMAND_SEQUENCE | NVME_DNR;
	/* No DNR: with it a host that reconnects while we are being reconfigured gives up for good.
	 */
	if (!s || !subsystem_on_port(s, q->port.id)) {
		q->target->events.connects_refused[REFUSED_SUBSYSTEM]++;
		if (refused_first(q->target, data->hostnqn, q->remote_address))
			log_event(
				JOURNAL_HOST_REFUSED,
				LOG_FIELDS(.hostnqn = data->hostnqn, .peer = q->remote_address,
					   .nqn = data->subsysnqn, .port = q->port.id),
				"host %s from %s asked for subsystem %s, which port %u does not have",
				data->hostnqn, q->remote_address, data->subsysnqn, q->port.id);
		return invalid_param(req, IN_DATA, offsetof(struct nvmf_connect_data, subsysnqn)) &
		       (uint16_t)~NVME_DNR;
	}
	if (!subsystem_allows(s, data->hostnqn)) {
		q->target->events.connects_refused[REFUSED_HOST]++;
		if (refused_first(q->target, data->hostnqn, q->remote_address))
			log_event(JOURNAL_HOST_REFUSED,
				  LOG_FIELDS(.hostnqn = data->hostnqn, .peer = q->remote_address,
					     .nqn = s->nqn),
				  "host %s from %s is not among the allowed_hosts of %s",
				  data->hostnqn, q->remote_address, s->nqn);
		return NVME_CONNECT_INVALID_HOST | NVME_DNR;
	}

	if (subsystem_waits(s)) /* its drive will come */
		return NVME_CONNECT_BUSY;

	bool must_authenticate;
	uint16_t status;

	if (auth_prepare(q, s, data->hostnqn, &must_authenticate))
		return NVME_INTERNAL_ERROR;
	status = is_admin(q) ? connect_admin(req, sqe, data, s) : connect_io(req, data, s);
	if (!status && must_authenticate) {
		auth_begin(q, data->hostnqn, data->subsysnqn);
		req->cqe.dw0 = put32(get32(req->cqe.dw0) | CONNECT_ATR);
	}
	return status;
}

/* In the queue's reactor, which may have closed it or be about to: nvmf_queue_fini() unbinds it
 * then. */
void connect_finish(struct nvmf_req *req)
{
	const struct nvmf_connect_sqe *sqe = (const void *)req->sqe;
	struct nvmf_queue *q = req->queue;

	if (q->state == QUEUE_CLOSING) {
		req->status = NVME_ABORTED_SQ_DELETION;
	} else if (q->state == QUEUE_LEAVING) {
		req->status = NVME_CONNECT_BUSY;
		req->hangs_up = true;
	} else if (!req->status) {
		q->sqsize = (uint16_t)(get16(sqe->sqsize_z) + 1);
		q->sqflow_disabled = sqe->cattr & CATTR_DISABLE_SQFLOW;
		q->state = QUEUE_LIVE;
		reactor_timer_stop(q->reactor, &q->connect_timer);
	}
	nvmf_req_complete(req, req->status);
}

void connect_execute(struct nvmf_req *req)
{
	const struct nvmf_connect_sqe *sqe = (const void *)req->sqe;
	const struct nvmf_connect_data *data = (const void *)req->data;
	uint16_t status =
		get16(sqe->recfmt) ? NVME_CONNECT_FORMAT | NVME_DNR : check_data(req, data);

	if (!status)
		status = check_queue(req, sqe);
	if (status)
		nvmf_req_complete(req, status);
	else
		nvmf_req_in_control(req, connect_in_control);
}

/* Ends the I/O queue it came on; what else is out there is not answered. Base 2.1, 6.4. */
void disconnect_execute(struct nvmf_req *req)
{
	const struct nvmf_disconnect_sqe *sqe = (const void *)req->sqe;

	if (get16(sqe->recfmt)) {
		nvmf_req_complete(req, NVME_CONNECT_FORMAT | NVME_DNR);
	} else if (is_admin(req->queue)) {
		nvmf_req_complete(req, NVME_INVALID_QUEUE_TYPE | NVME_DNR);
	} else {
		req->hangs_up = true;
		nvmf_req_complete(req, NVME_OK);
	}
}

/* ---- properties -------------------------------------------------------------------------------
 */

static uint64_t capabilities(const struct nvmf_queue *q)
{
	return (uint64_t)(q->port.queue_depth - 1) | /* MQES */
	       UINT64_C(1) << 16 |                   /* CQR: contiguous queues required */
	       (uint64_t)CAP_TIMEOUT_500MS << 24 |   /* TO */
	       UINT64_C(1) << 37 |                   /* CSS: NVM command set, */
	       UINT64_C(1) << 43 |                   /* and any that namespaces have */
	       UINT64_C(1) << 59;                    /* CRMS: CRWMS */
}

/* The value, and whether it is 8 bytes wide. False: there is no such property. */
static bool property_value(const struct nvmf_queue *q, uint32_t offset, uint64_t *ret,
			   bool *ret_wide)
{
	*ret_wide = offset == PROP_CAP;
	switch (offset) {
	case PROP_CAP:
		*ret = capabilities(q);
		return true;
	case PROP_VS:
		*ret = NVME_VERSION;
		return true;
	case PROP_CC:
		*ret = q->ctrl->cc;
		return true;
	case PROP_CSTS:
		*ret = q->ctrl->csts;
		return true;
	case PROP_CRTO:
		*ret = CAP_TIMEOUT_500MS; /* CRWMT */
		return true;
	default:
		return false;
	}
}

void property_get(struct nvmf_req *req)
{
	const struct nvmf_property_sqe *sqe = (const void *)req->sqe;
	uint64_t value;
	bool wide;

	if (!is_admin(req->queue) ||
	    !property_value(req->queue, get32(sqe->offset), &value, &wide) ||
	    (sqe->attrib & 7) != (wide ? 1 : 0)) {
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
		return;
	}
	req->cqe.dw0 = put32((uint32_t)value);
	req->cqe.dw1 = put32((uint32_t)(value >> 32));
	nvmf_req_complete(req, NVME_OK);
}

static bool cc_acceptable(uint32_t cc, bool discovery)
{
	if (CC_MPS(cc) != 0 || CC_AMS(cc) != 0)
		return false;
	if (CC_CSS(cc) != CSS_NVM && CC_CSS(cc) != CSS_ALL)
		return false;
	/* a discovery controller has no I/O queues, hosts may leave the sizes 0 */
	return discovery || (CC_IOSQES(cc) == 6 && CC_IOCQES(cc) == 4);
}

static void disconnect_io_queues(struct controller *c)
{
	struct nvmf_queue *q, *next;

	LIST_FOREACH_SAFE (q, &c->queues, entry, next)
		nvmf_queue_disconnect(q);
}

static void enable(struct controller *c)
{
	c->csts = cc_acceptable(c->cc, c->subsys->discovery) ? CSTS_RDY : CSTS_CFS;
}

/* Ready until no command of before can touch a block any more: the host waits for it. */
void io_queue_gone(struct controller *c)
{
	if (!c->resetting || !LIST_EMPTY(&c->queues))
		return;
	c->resetting = false;
	c->csts &= ~CSTS_RDY;
	if (c->cc & CC_EN) /* the host did not wait */
		enable(c);
}

static void set_cc(struct controller *c, uint32_t cc)
{
	uint32_t old = c->cc;

	c->cc = cc;
	if (cc & CC_EN && !(old & CC_EN) && !c->resetting)
		enable(c);
	if (!(cc & CC_EN) && old & CC_EN) { /* controller reset */
		c->aec = 0;
		events_reset(c, NVME_ABORTED_SQ_DELETION);
		settings_reset(&c->settings);
		c->csts &= CSTS_RDY;
		c->resetting = true;
		disconnect_io_queues(c);
		io_queue_gone(c);
	}
	if (CC_SHN(cc) && !CC_SHN(old))
		c->csts |= CSTS_SHST_DONE;
	if (!CC_SHN(cc) && CC_SHN(old))
		c->csts &= ~CSTS_SHST_MASK;
}

void property_set(struct nvmf_req *req)
{
	const struct nvmf_property_sqe *sqe = (const void *)req->sqe;

	if (!is_admin(req->queue) || get32(sqe->offset) != PROP_CC || (sqe->attrib & 7) != 0) {
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
		return;
	}
	set_cc(req->queue->ctrl, (uint32_t)get64(sqe->value));
	nvmf_req_complete(req, NVME_OK);
}
