/* One RDMA device: protection domain, proofs, events, and a lane for each reactor. */
#include "transport/rdma.h"
#include "target/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

const char *rnic_name(const struct rnic *r)
{
	return ibv_get_device_name(r->verbs->device);
}

static void on_async(struct ev_loop *loop, ev_io *w, int revents)
{
	struct rnic *r = w->data;
	struct ibv_async_event event;

	(void)loop;
	(void)revents;
	if (ibv_get_async_event(r->verbs, &event))
		return;
	/* COMM_EST only says that a capsule came before the CM's last message */
	if (event.event_type == IBV_EVENT_QP_LAST_WQE_REACHED)
		conn_last_wqe(event.element.qp->qp_context);
	else if (event.event_type != IBV_EVENT_COMM_EST && event.event_type != IBV_EVENT_SQ_DRAINED)
		log_warn("rnic %s: %s", rnic_name(r), ibv_event_type_str(event.event_type));
	if (event.event_type == IBV_EVENT_DEVICE_FATAL)
		rnic_lost(r);
	ibv_ack_async_event(&event);
}

static int watch(struct rnic *r)
{
	int flags = fcntl(r->verbs->async_fd, F_GETFL);

	if (flags < 0 || fcntl(r->verbs->async_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	ev_io_init(&r->async_ready, on_async, r->verbs->async_fd, EV_READ);
	r->async_ready.data = r;
	ev_io_start(r->transport->reactors->r[0]->loop, &r->async_ready);
	return 0;
}

/* ---- life --------------------------------------------------------------------------------------
 */

static int create_lanes(struct rnic *r)
{
	const struct reactors *reactors = r->transport->reactors;
	int err = 0;

	for (unsigned int i = 0; i < reactors->n && !err; i++)
		err = lane_create(r, reactors->r[i], &r->lane[i]);
	return err;
}

/*
 * The device is librdmacm's: opened for the first ID that is bound to it, and closed at a time of
 * its own after the last. So that it is there for as long as we use it, an ID is bound to it that
 * does nothing else.
 */
static void bind_anchor(struct rnic *r, struct rdma_cm_id *id)
{
	struct sockaddr_storage addr = { 0 };
	const struct sockaddr *from = rdma_get_local_addr(id);

	if (from->sa_family == AF_INET6)
		memcpy(&addr, from, sizeof(struct sockaddr_in6));
	else
		memcpy(&addr, from, sizeof(struct sockaddr_in));
	((struct sockaddr_in *)&addr)->sin_port = 0; /* where IPv6 has its port too */
	if (rdma_create_id(r->transport->cm, &r->anchor, NULL, RDMA_PS_TCP)) {
		r->anchor = NULL;
	} else if (rdma_bind_addr(r->anchor, (struct sockaddr *)&addr) ||
		   r->anchor->verbs != r->verbs) {
		rdma_destroy_id(r->anchor);
		r->anchor = NULL;
	}
	if (!r->anchor)
		log_debug("rnic %s: it cannot be let go of when it is removed", rnic_name(r));
}

/*
 * Give a device back. When it is being removed and its driver cannot part it from its users (rxe:
 * it has no disassociate_ucontext), the kernel waits until everybody has closed it; but librdmacm,
 * unless it has seen another one meanwhile, keeps it open though no ID is bound to it any more. So
 * its descriptors, which librdmacm will close some day, become ones of nothing.
 */
static void let_go(struct rnic *r)
{
	int cmd_fd = r->verbs->cmd_fd, async_fd = r->verbs->async_fd, null;
	struct stat before, after;
	char name[IBV_SYSFS_NAME_MAX];

	if (!r->anchor || fstat(cmd_fd, &before))
		return;
	strlcpy(name, rnic_name(r), sizeof(name));
	rdma_destroy_id(r->anchor);
	if (!r->gone)
		return;
	if (fstat(cmd_fd, &after) || !S_ISCHR(after.st_mode) || after.st_rdev != before.st_rdev) {
		log_info("rnic %s: let go of", name); /* librdmacm has closed it */
		return;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup3(null, async_fd, O_CLOEXEC) < 0 || dup3(null, cmd_fd, O_CLOEXEC) < 0)
		log_warn("rnic %s: it cannot be let go of: %s", name, strerror(errno));
	else
		log_info("rnic %s: let go of", name);
	if (null >= 0)
		close(null);
}

static void log_failure(const struct rnic *r, int err)
{
	struct rlimit limit = { .rlim_cur = RLIM_INFINITY };

	if (err == -ENOMEM)
		(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		log_error("rnic %s: %s", rnic_name(r), strerror(-err));
	else
		log_error(
			"rnic %s: %s; the daemon may lock %llu bytes of memory (RLIMIT_MEMLOCK): LimitMEMLOCK=infinity in the unit, or a smaller host_memory",
			rnic_name(r), strerror(-err), (unsigned long long)limit.rlim_cur);
}

static int rnic_create(struct transport *tr, struct rdma_cm_id *id, struct rnic **ret_rnic)
{
	struct rnic *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->transport = tr;
	r->verbs = id->verbs;
	r->port_num = id->port_num;
	bind_anchor(r, id);

	int err = -ibv_query_device(r->verbs, &r->attr);

	if (!err) {
		r->pd = ibv_alloc_pd(r->verbs);
		err = r->pd ? watch(r) : -errno;
	}
	if (!err)
		err = create_lanes(r);
	if (err) {
		log_failure(r, err);
		rnic_destroy(r);
		return err;
	}
	LIST_INSERT_HEAD(&tr->rnics, r, entry);
	log_event(JOURNAL_RNIC_READY, LOG_FIELDS(.rnic = rnic_name(r)), "rnic %s: in use",
		  rnic_name(r));
	if (tr->reactors->r[0]->set->n && !r->lane[0]->staging->odp)
		log_warn("rnic %s: payload is staged in host memory: %s", rnic_name(r),
			 r->lane[0]->staging->why_no_odp);
	*ret_rnic = r;
	return 0;
}

/* The one that @id is bound to. */
int rnic_get(struct transport *tr, struct rdma_cm_id *id, struct rnic **ret_rnic)
{
	struct rnic *r;

	LIST_FOREACH (r, &tr->rnics, entry)
		if (r->verbs == id->verbs) {
			*ret_rnic = r;
			return r->gone ? -ENODEV : 0;
		}
	return rnic_create(tr, id, ret_rnic);
}

/* Its connections end, and then it is destroyed; the listeners wait for it to come back. Fine to
 * call again. */
void rnic_lost(struct rnic *r)
{
	struct conn *c;

	if (r->gone)
		return;
	r->gone = true;
	log_event(JOURNAL_RNIC_GONE, LOG_FIELDS(.rnic = rnic_name(r)),
		  "rnic %s is gone; its hosts are disconnected", rnic_name(r));
	listeners_lost(r->transport, r->verbs);
	LIST_FOREACH (c, &r->transport->conns, entry)
		if (c->lane->rnic == r)
			nvmf_queue_disconnect(&c->nvmf);
	transport_reap(r->transport);
}

/* Not yet, or not any more, in the transport's list. */
void rnic_destroy(struct rnic *r)
{
	if (!r)
		return;
	for (unsigned int i = 0; i < REACTORS_MAX; i++)
		lane_destroy(r->lane[i]);
	if (ev_is_active(&r->async_ready))
		ev_io_stop(r->transport->reactors->r[0]->loop, &r->async_ready);
	if (r->pd)
		ibv_dealloc_pd(r->pd);
	let_go(r);
	free(r);
}

/* ---- proofs ------------------------------------------------------------------------------------
 *
 * Found out by the control thread's lane, believed by all.
 */

struct proofs {
	const struct rnic *rnic;
	unsigned int lane;
};

static void take_proofs(void *arg)
{
	const struct proofs *p = arg;
	const struct staging *proved = p->rnic->lane[0]->staging;
	struct staging *st = p->rnic->lane[p->lane]->staging;

	for (unsigned int i = 0; i < st->set->n; i++)
		staging_provider_added(st, NULL, i);
	staging_copy_proofs(st, proved);
}

static void publish(const struct rnic *r)
{
	const struct reactors *reactors = r->transport->reactors;

	for (unsigned int i = 1; i < reactors->n; i++) {
		struct proofs p = { r, i };

		reactor_call(reactors->r[i], take_proofs, &p);
	}
}

static const char *verdict_text(const struct proof *proof)
{
	switch (proof->verdict) {
	case PROOF_ANY:
		return "proved at every alignment";
	case PROOF_ALIGNED:
		return "proved for page-aligned buffers";
	case PROOF_NONE:
		return "NOT proved, host memory is used";
	case PROOF_UNKNOWN:
		break;
	}
	return "not proved yet, host memory is used";
}

static void prove_provider(struct rnic *r, struct provider *p, enum ibv_mtu mtu)
{
	const struct proof *proof;

	if (p->state != PROVIDER_ACTIVE)
		return;
	proof = staging_prove(r->lane[0]->staging, p, mtu);
	log_event(proof->verdict == PROOF_NONE ? JOURNAL_PATH_NOT_PROVED : JOURNAL_PATH_PROVED,
		  LOG_FIELDS(.rnic = rnic_name(r), .provider = p->name),
		  "rnic %s, CMB of %s, path MTU %u: %s%s%s", rnic_name(r), p->name,
		  proof_mtu_bytes(mtu), verdict_text(proof), proof->why[0] ? "; " : "", proof->why);
}

void rnic_prove(struct rnic *r, enum ibv_mtu mtu)
{
	struct staging *st = r->lane[0]->staging;
	bool news = false;

	if (!st->odp || r->gone)
		return;
	r->mtu_used[mtu] = true;
	for (unsigned int i = 0; i < st->set->n; i++)
		if (st->proof[i][mtu].verdict == PROOF_UNKNOWN) {
			prove_provider(r, st->set->provider[i], mtu);
			news = true;
		}
	if (news)
		publish(r);
}

void rnic_provider_changed(struct rnic *r, unsigned int index)
{
	struct staging *st = r->lane[0]->staging;

	if (r->gone)
		return;
	staging_provider_added(st, r->transport->topo, index);
	for (enum ibv_mtu mtu = IBV_MTU_256; st->odp && mtu <= IBV_MTU_4096; mtu++)
		if (r->mtu_used[mtu])
			prove_provider(r, st->set->provider[index], mtu);
	publish(r);
}

void rnic_provider_lost(struct rnic *r, unsigned int index)
{
	staging_provider_lost(r->lane[0]->staging, index);
	publish(r);
}
