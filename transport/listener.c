/* Listeners and connection manager events; RNICs that go and come. */
#include "transport/rdma.h"
#include "target/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG     128
#define RETRY_MAX_S 15 /* between two tries to listen */

static void listen_again(struct listener *l);
static void on_cm_ready(struct ev_loop *loop, ev_io *w, int revents);
static void on_retry(struct ev_loop *loop, ev_timer *w, int revents);
static void on_reap(struct ev_loop *loop, ev_timer *w, int revents);
static void on_progress(struct ev_loop *loop, ev_timer *w, int revents);

/* ---- events -----------------------------------------------------------------------------------
 */

/* What is needed of an event after it was acknowledged. (An ID cannot be destroyed before.) */
struct event_copy {
	enum rdma_cm_event_type type;
	int status;
	struct rdma_cm_id *id;
	struct listener *listener;
	struct rdma_conn_param param;
	uint8_t private_data[256];
};

static void copy_event(const struct rdma_cm_event *event, struct event_copy *copy)
{
	*copy = (struct event_copy){ .type = event->event,
				     .status = event->status,
				     .id = event->id };
	if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST)
		return;
	copy->listener = event->listen_id->context;
	copy->param = event->param.conn;
	if (event->param.conn.private_data)
		memcpy(copy->private_data, event->param.conn.private_data,
		       event->param.conn.private_data_len);
	copy->param.private_data = copy->private_data;
}

static struct listener *find_listener(const struct transport *tr, const struct rdma_cm_id *id)
{
	struct listener *l;

	LIST_FOREACH (l, &tr->listeners, entry)
		if (l->id == id)
			break;
	return l;
}

static struct rnic *find_anchor(const struct transport *tr, const struct rdma_cm_id *id)
{
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		if (r->anchor == id)
			break;
	return r;
}

static void conn_event(struct conn *c, enum rdma_cm_event_type type)
{
	if (type == RDMA_CM_EVENT_ESTABLISHED)
		conn_established(c);
	else if (type == RDMA_CM_EVENT_DEVICE_REMOVAL)
		rnic_lost(c->lane->rnic);
	else if (type != RDMA_CM_EVENT_ADDR_CHANGE && type != RDMA_CM_EVENT_TIMEWAIT_EXIT)
		nvmf_queue_disconnect(&c->nvmf); /* DISCONNECTED, CONNECT_ERROR, UNREACHABLE, ... */
}

static void listener_event(struct listener *l, enum rdma_cm_event_type type)
{
	log_warn("port %u: %s", l->port->id, rdma_event_str(type));
	if (type == RDMA_CM_EVENT_ADDR_CHANGE || type == RDMA_CM_EVENT_DEVICE_REMOVAL)
		listen_again(l);
}

static void dispatch(struct transport *tr, const struct event_copy *event)
{
	struct listener *l = find_listener(tr, event->id);
	struct rnic *r = find_anchor(tr, event->id);

	if (event->type == RDMA_CM_EVENT_CONNECT_REQUEST)
		conn_request(event->listener, event->id, &event->param);
	else if (l)
		listener_event(l, event->type);
	else if (!r)
		conn_event(event->id->context, event->type);
	else if (event->type == RDMA_CM_EVENT_DEVICE_REMOVAL)
		rnic_lost(r);
}

static void on_cm_ready(struct ev_loop *loop, ev_io *w, int revents)
{
	struct transport *tr = w->data;
	struct rdma_cm_event *event;
	struct event_copy copy;

	(void)loop;
	(void)revents;
	while (rdma_get_cm_event(tr->cm, &event) == 0) {
		copy_event(event, &copy);
		rdma_ack_cm_event(event);
		dispatch(tr, &copy);
	}
}

/* ---- life -------------------------------------------------------------------------------------
 */

static bool is_same_place(const struct config_port *a, const struct config_port *b)
{
	return a->id == b->id && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->service, b->service) == 0;
}

static struct listener *listener_of(const struct transport *tr, const struct config_port *port)
{
	struct listener *l;

	LIST_FOREACH (l, &tr->listeners, entry)
		if (is_same_place(l->port, port))
			break;
	return l;
}

static void free_listeners(struct listener_list *list)
{
	struct listener *l;

	while ((l = LIST_FIRST(list))) {
		LIST_REMOVE(l, entry);
		free(l);
	}
}

/* Of the ports of @c that have none; in the order of @c. */
static int create_listeners(struct transport *tr, const struct config *c,
			    struct listener_list *list)
{
	for (size_t i = c->nports; i-- > 0;) {
		struct listener *l;

		if (listener_of(tr, &c->ports[i]))
			continue;
		l = calloc(1, sizeof(*l));
		if (!l) {
			free_listeners(list);
			return -ENOMEM;
		}
		*l = (struct listener){ .transport = tr, .port = &c->ports[i] };
		ev_init(&l->retry, on_retry);
		l->retry.data = l;
		LIST_INSERT_HEAD(list, l, entry);
	}
	return 0;
}

int transport_create(const struct config *c, const struct reactors *reactors,
		     const struct topology *topo, struct target *t,
		     const struct transport_test *test, struct transport **ret_transport)
{
	struct transport *tr = calloc(1, sizeof(*tr));

	if (!tr)
		return -ENOMEM;
	tr->conf = c;
	tr->cmb_flush = c->cmb_flush;
	tr->reactors = reactors;
	tr->topo = topo;
	tr->test = *test;
	tr->target = t;
	LIST_INIT(&tr->rnics);
	LIST_INIT(&tr->conns);
	LIST_INIT(&tr->listeners);
	if (create_listeners(tr, c, &tr->listeners)) {
		free(tr);
		return -ENOMEM;
	}
	ev_init(&tr->reap, on_reap);
	tr->reap.data = tr;
	ev_timer_init(&tr->progress, on_progress, test->impatient ? PROGRESS_TEST_S : PROGRESS_S,
		      test->impatient ? PROGRESS_TEST_S : PROGRESS_S);
	tr->progress.data = tr;
	*ret_transport = tr;
	return 0;
}

static int resolve(const struct config_port *port, struct sockaddr_storage *ret)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *info;

	if (getaddrinfo(port->address, port->service, &hints, &info))
		return -EINVAL;
	memcpy(ret, info->ai_addr, info->ai_addrlen);
	freeaddrinfo(info);
	return 0;
}

/* librdmacm gives no channel while there is no RDMA device. */
static int open_channel(struct transport *tr)
{
	if (tr->cm)
		return 0;
	tr->cm = rdma_create_event_channel();
	if (!tr->cm)
		return -errno;
	if (fcntl(tr->cm->fd, F_SETFL, O_NONBLOCK) < 0) {
		int err = -errno;

		rdma_destroy_event_channel(tr->cm);
		tr->cm = NULL;
		return err;
	}
	ev_io_init(&tr->cm_ready, on_cm_ready, tr->cm->fd, EV_READ);
	tr->cm_ready.data = tr;
	ev_io_start(tr->reactors->r[0]->loop, &tr->cm_ready);
	return 0;
}

static int bind_to(struct listener *l)
{
	struct sockaddr_storage addr;
	int one = 1;
	int err = resolve(l->port, &addr);

	if (err)
		return err;
	if (rdma_create_id(l->transport->cm, &l->id, l, RDMA_PS_TCP))
		return -errno;
	(void)rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &one, sizeof(one));
	if (addr.ss_family == AF_INET6 &&
	    rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &one, sizeof(one)))
		return -errno;
	return rdma_bind_addr(l->id, (struct sockaddr *)&addr) ? -errno : 0;
}

static void destroy_id(struct listener *l)
{
	if (l->id)
		rdma_destroy_id(l->id);
	l->id = NULL;
}

/* Prove at the MTU that the RNIC's port has now, before a host waits for it. (A wildcard address
 * names no RNIC: it is proved when the first host connects.) An RNIC that is being removed can be
 * bound to for a while: -ENODEV. */
static int prove_early(struct listener *l)
{
	struct ibv_port_attr attr;
	struct rnic *r;
	int err = l->id->verbs ? rnic_get(l->transport, l->id, &r) : 0;

	if (!err && l->id->verbs && ibv_query_port(l->id->verbs, l->id->port_num, &attr) == 0)
		rnic_prove(r, attr.active_mtu);
	return err;
}

static int open_listener(struct listener *l, bool listening)
{
	int err = open_channel(l->transport);

	if (!err)
		err = bind_to(l);
	if (!err)
		err = prove_early(l);
	if (!err && listening && rdma_listen(l->id, BACKLOG))
		err = -errno;
	if (err)
		destroy_id(l);
	return err;
}

static const char hint[] =
	"`rdma link` shows the RDMA devices and their network interfaces, `ip address` the addresses of these; the module rdma_ucm must be loaded";

/* ---- listening, for as long as there is something to listen on ----------------------------------
 */

static void retry_in(struct listener *l, unsigned int seconds)
{
	struct ev_loop *loop = l->transport->reactors->r[0]->loop;

	l->wait_s = seconds;
	ev_timer_stop(loop, &l->retry);
	ev_timer_set(&l->retry, seconds, 0);
	ev_timer_start(loop, &l->retry);
}

static void try_listen(struct listener *l)
{
	int err = open_listener(l, true);

	if (!err) {
		log_event(JOURNAL_PORT_LISTENING,
			  LOG_FIELDS(.port = l->port->id, .address = l->port->address),
			  "port %u: listening on %s port %s", l->port->id, l->port->address,
			  l->port->service);
		ev_timer_stop(l->transport->reactors->r[0]->loop, &l->retry);
		l->said = l->wait_s = 0;
		return;
	}
	if (err != l->said)
		log_event(
			JOURNAL_PORT_WAITING,
			LOG_FIELDS(.port = l->port->id, .address = l->port->address),
			"port %u cannot listen on %s port %s: %s; it is tried again until it can: %s",
			l->port->id, l->port->address, l->port->service, strerror(-err), hint);
	l->said = err;
	retry_in(l, l->wait_s == 0 ? 1 : l->wait_s < RETRY_MAX_S / 2 ? 2 * l->wait_s : RETRY_MAX_S);
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)loop;
	(void)revents;
	try_listen(w->data);
}

static void listen_again(struct listener *l)
{
	destroy_id(l);
	retry_in(l, 0);
}

void listeners_lost(struct transport *tr, const struct ibv_context *verbs)
{
	struct listener *l;

	LIST_FOREACH (l, &tr->listeners, entry)
		if (l->id && l->id->verbs == verbs)
			listen_again(l);
}

void transport_listen(struct transport *tr)
{
	struct listener *l;

	LIST_FOREACH (l, &tr->listeners, entry)
		try_listen(l);
	ev_timer_start(tr->reactors->r[0]->loop, &tr->progress);
}

int transport_probe(struct transport *tr, struct config_diag *diag)
{
	struct listener *l;

	LIST_FOREACH (l, &tr->listeners, entry) {
		const struct config_port *port = l->port;
		int err = open_listener(l, false);

		if (err) {
			*diag = (struct config_diag){ .line = port->where.line };
			strlcpy(diag->file, port->where.file, sizeof(diag->file));
			snprintf(diag->what, sizeof(diag->what), "port %u has no RNIC at %s:%s: %s",
				 port->id, port->address, port->service, strerror(-err));
			snprintf(diag->fix, sizeof(diag->fix), "%s", hint);
			return err;
		}
	}
	return 0;
}

/* ---- a new configuration ------------------------------------------------------------------------
 */

struct transport_plan {
	struct transport *transport;
	const struct config *conf;
	struct listener_list added;
};

int transport_prepare(struct transport *tr, const struct config *c,
		      struct transport_plan **ret_plan)
{
	struct transport_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return -ENOMEM;
	plan->transport = tr;
	plan->conf = c;
	if (create_listeners(tr, c, &plan->added)) {
		free(plan);
		return -ENOMEM;
	}
	*ret_plan = plan;
	return 0;
}

void transport_abandon(struct transport_plan *plan)
{
	if (!plan)
		return;
	free_listeners(&plan->added);
	free(plan);
}

static void close_listener(struct listener *l)
{
	ev_timer_stop(l->transport->reactors->r[0]->loop, &l->retry);
	destroy_id(l);
	LIST_REMOVE(l, entry);
	free(l);
}

static void remove_port(struct listener *l)
{
	struct transport *tr = l->transport;
	uint16_t id = l->port->id;
	struct conn *c, *next;

	log_info("port %u: no more at %s port %s, its hosts are disconnected", id, l->port->address,
		 l->port->service);
	close_listener(l);
	LIST_FOREACH_SAFE (c, &tr->conns, entry, next)
		if (c->nvmf.port.id == id)
			nvmf_queue_leave(&c->nvmf);
}

static const struct config_port *port_at(const struct config *c, const struct config_port *port)
{
	for (size_t i = 0; i < c->nports; i++)
		if (is_same_place(&c->ports[i], port))
			return &c->ports[i];
	return NULL;
}

void transport_commit(struct transport_plan *plan)
{
	struct transport *tr = plan->transport;
	struct listener *l, *next;

	/* first: an added port may have the address of one that goes */
	LIST_FOREACH_SAFE (l, &tr->listeners, entry, next) {
		const struct config_port *port = port_at(plan->conf, l->port);

		if (port)
			l->port = port;
		else
			remove_port(l);
	}
	tr->conf = plan->conf;
	while ((l = LIST_FIRST(&plan->added))) {
		LIST_REMOVE(l, entry);
		LIST_INSERT_HEAD(&tr->listeners, l, entry);
		try_listen(l);
	}
	free(plan);
}

/* ---- hosts that take nothing --------------------------------------------------------------------
 */

static void look_for_progress(void *arg)
{
	lane_look_for_progress(arg);
}

/* By the control thread's clock: a reactor with a timer would wake up for it ten times a second. */
static void on_progress(struct ev_loop *loop, ev_timer *w, int revents)
{
	const struct transport *tr = w->data;
	const struct rnic *r;

	(void)loop;
	(void)revents;
	LIST_FOREACH (r, &tr->rnics, entry)
		for (unsigned int i = 0; i < tr->reactors->n; i++)
			if (r->lane[i])
				reactor_call(r->lane[i]->reactor, look_for_progress, r->lane[i]);
}

/* ---- RNICs that go and come ---------------------------------------------------------------------
 */

static bool has_conns(const struct rnic *r)
{
	const struct conn *c;

	LIST_FOREACH (c, &r->transport->conns, entry)
		if (c->lane->rnic == r)
			return true;
	return false;
}

static void on_reap(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct transport *tr = w->data;
	struct rnic *r, *next;

	(void)loop;
	(void)revents;
	LIST_FOREACH_SAFE (r, &tr->rnics, entry, next) {
		if (!r->gone || has_conns(r))
			continue;
		LIST_REMOVE(r, entry);
		rnic_destroy(r);
	}
}

/* Not at once: who calls may still look at one. */
void transport_reap(struct transport *tr)
{
	if (!ev_is_active(&tr->reap)) {
		ev_timer_set(&tr->reap, 0, 0);
		ev_timer_start(tr->reactors->r[0]->loop, &tr->reap);
	}
}

void transport_look(struct transport *tr)
{
	struct listener *l;
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		if (!r->gone && access(r->verbs->device->dev_path, F_OK) && errno == ENOENT)
			rnic_lost(r);
	LIST_FOREACH (l, &tr->listeners, entry)
		if (ev_is_active(&l->retry))
			retry_in(l, 0);
}

void transport_provider_lost(struct transport *tr, unsigned int index)
{
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		rnic_provider_lost(r, index);
}

void transport_provider_changed(struct transport *tr, unsigned int index)
{
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		rnic_provider_changed(r, index);
}

unsigned int transport_listening(const struct transport *tr, FILE *waiting)
{
	const struct listener *l;
	unsigned int n = 0;

	LIST_FOREACH (l, &tr->listeners, entry) {
		if (!ev_is_active(&l->retry))
			n += l->id != NULL;
		else if (l->said == -EADDRNOTAVAIL)
			fprintf(waiting, "; port %u: %s is not there yet", l->port->id,
				l->port->address);
		else
			fprintf(waiting, "; port %u: %s: %s", l->port->id, l->port->address,
				l->said ? strerror(-l->said) : "its RNIC is gone");
	}
	return n;
}

static void listen_no_more(struct transport *tr)
{
	struct listener *l;

	LIST_FOREACH (l, &tr->listeners, entry) {
		ev_timer_stop(tr->reactors->r[0]->loop, &l->retry);
		destroy_id(l);
	}
}

void transport_finish(struct transport *tr)
{
	struct conn *c;

	listen_no_more(tr);
	LIST_FOREACH (c, &tr->conns, entry)
		if (c->nvmf.qid && nvmf_queue_cntlid(&c->nvmf))
			conn_finish(c);
		else if (c->nvmf.qid)
			nvmf_queue_leave(&c->nvmf); /* its Connect is on the way */
}

bool transport_finished(const struct transport *tr)
{
	const struct conn *c;

	LIST_FOREACH (c, &tr->conns, entry)
		if (c->nvmf.qid)
			return false;
	return true;
}

void transport_stop(struct transport *tr)
{
	struct conn *c, *next;

	listen_no_more(tr);
	LIST_FOREACH_SAFE (c, &tr->conns, entry, next)
		nvmf_queue_leave(&c->nvmf);
}

unsigned int transport_nconns(const struct transport *tr)
{
	return tr->nconns;
}

bool transport_idle(const struct transport *tr)
{
	return LIST_EMPTY(&tr->conns);
}

void transport_destroy(struct transport *tr)
{
	if (!tr)
		return;
	transport_stop(tr);
	ev_timer_stop(tr->reactors->r[0]->loop, &tr->reap);
	ev_timer_stop(tr->reactors->r[0]->loop, &tr->progress);
	assert(transport_idle(tr));
	while (!LIST_EMPTY(&tr->rnics)) {
		struct rnic *r = LIST_FIRST(&tr->rnics);

		LIST_REMOVE(r, entry);
		rnic_destroy(r);
	}
	if (ev_is_active(&tr->cm_ready))
		ev_io_stop(tr->reactors->r[0]->loop, &tr->cm_ready);
	if (tr->cm)
		rdma_destroy_event_channel(tr->cm);
	free_listeners(&tr->listeners);
	free(tr);
}
