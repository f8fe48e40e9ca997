/* Listeners and connection manager events. */
#include "transport/rdma.h"
#include "target/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 128

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

static bool is_listener(const struct transport *tr, const struct rdma_cm_id *id)
{
	for (size_t i = 0; i < tr->conf->nports; i++)
		if (tr->listeners[i].id == id)
			return true;
	return false;
}

static void dispatch(struct transport *tr, const struct event_copy *event)
{
	if (event->type == RDMA_CM_EVENT_CONNECT_REQUEST) {
		conn_request(event->listener, event->id, &event->param);
		return;
	}
	if (is_listener(tr, event->id)) {
		log_warn("port %u: %s", ((struct listener *)event->id->context)->port->id,
			 rdma_event_str(event->type));
		return;
	}

	struct conn *c = event->id->context;

	if (event->type == RDMA_CM_EVENT_ESTABLISHED)
		conn_established(c);
	else if (event->type != RDMA_CM_EVENT_ADDR_CHANGE &&
		 event->type != RDMA_CM_EVENT_TIMEWAIT_EXIT)
		nvmf_queue_disconnect(&c->nvmf); /* DISCONNECTED, CONNECT_ERROR, UNREACHABLE,
						    DEVICE_REMOVAL, ... */
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

int transport_create(const struct config *c, const struct reactors *reactors,
		     const struct topology *topo, struct target *t,
		     const struct transport_test *test, struct transport **ret_transport)
{
	struct transport *tr = calloc(1, sizeof(*tr));

	if (!tr)
		return -ENOMEM;
	tr->conf = c;
	tr->reactors = reactors;
	tr->topo = topo;
	tr->test = *test;
	tr->target = t;
	LIST_INIT(&tr->rnics);
	LIST_INIT(&tr->conns);
	tr->listeners = calloc(c->nports, sizeof(*tr->listeners));
	tr->cm = tr->listeners ? rdma_create_event_channel() : NULL;
	if (!tr->cm || fcntl(tr->cm->fd, F_SETFL, O_NONBLOCK) < 0) {
		int err = tr->listeners ? -errno : -ENOMEM;

		transport_destroy(tr);
		return err;
	}
	ev_io_init(&tr->cm_ready, on_cm_ready, tr->cm->fd, EV_READ);
	tr->cm_ready.data = tr;
	ev_io_start(reactors->r[0]->loop, &tr->cm_ready);
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

static int bind_to(struct transport *tr, struct listener *l)
{
	struct sockaddr_storage addr;
	int one = 1;
	int err = resolve(l->port, &addr);

	if (err)
		return err;
	if (rdma_create_id(tr->cm, &l->id, l, RDMA_PS_TCP))
		return -errno;
	(void)rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &one, sizeof(one));
	if (addr.ss_family == AF_INET6 &&
	    rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &one, sizeof(one)))
		return -errno;
	return rdma_bind_addr(l->id, (struct sockaddr *)&addr) ? -errno : 0;
}

/* Prove at the MTU that the RNIC's port has now, before a host waits for it. (A wildcard address
 * names no RNIC: it is proved when the first host connects.) */
static void prove_early(struct transport *tr, struct listener *l)
{
	struct ibv_port_attr attr;
	struct rnic *r;

	if (l->id->verbs && rnic_get(tr, l->id->verbs, l->id->port_num, &r) == 0 &&
	    ibv_query_port(l->id->verbs, l->id->port_num, &attr) == 0)
		rnic_prove(r, attr.active_mtu);
}

static int bind_ports(struct transport *tr, bool listening, struct config_diag *diag)
{
	for (size_t i = 0; i < tr->conf->nports; i++) {
		struct listener *l = &tr->listeners[i];

		*l = (struct listener){ .transport = tr, .port = &tr->conf->ports[i] };

		int err = bind_to(tr, l);

		if (!err && listening && rdma_listen(l->id, BACKLOG))
			err = -errno;
		if (err) {
			*diag = (struct config_diag){ .line = l->port->where.line };
			strlcpy(diag->file, l->port->where.file, sizeof(diag->file));
			snprintf(diag->what, sizeof(diag->what),
				 "port %u cannot listen on %s:%s: %s", l->port->id,
				 l->port->address, l->port->service, strerror(-err));
			snprintf(
				diag->fix, sizeof(diag->fix),
				"`rdma link` shows the RDMA devices and their network interfaces, `ip address` the addresses of these");
			return err;
		}
		prove_early(tr, l);
		if (listening)
			log_info("port %u: listening on %s port %s", l->port->id, l->port->address,
				 l->port->service);
	}
	return 0;
}

int transport_listen(struct transport *tr, struct config_diag *diag)
{
	return bind_ports(tr, true, diag);
}

int transport_probe(struct transport *tr, struct config_diag *diag)
{
	return bind_ports(tr, false, diag);
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

void transport_stop(struct transport *tr)
{
	struct conn *c, *next;

	for (size_t i = 0; i < tr->conf->nports; i++) {
		if (tr->listeners[i].id)
			rdma_destroy_id(tr->listeners[i].id);
		tr->listeners[i].id = NULL;
	}
	LIST_FOREACH_SAFE (c, &tr->conns, entry, next)
		nvmf_queue_disconnect(&c->nvmf);
}

bool transport_idle(const struct transport *tr)
{
	return LIST_EMPTY(&tr->conns);
}

void transport_destroy(struct transport *tr)
{
	if (!tr)
		return;
	if (tr->listeners && tr->cm)
		transport_stop(tr);
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
	free(tr->listeners);
	free(tr);
}
