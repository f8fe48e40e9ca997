/*
 * rdma: the structs this room shares between its files. See transport.h for what the room does.
 *
 * Death of a connection has two steps. conn_kill(): no new commands, the QP goes to the error
 * state. Then the flushed completions, the backend's I/O in flight and the slots waited for come
 * back one by one, and when none is out (conn_drained()) the loop frees it, from transport->dead.
 */
#ifndef TRANSPORT_RDMA_H
#define TRANSPORT_RDMA_H

#include "p2p/loopback.h"
#include "transport/nvme_rdma_wire.h"
#include "transport/transport.h"

#include <rdma/rdma_cma.h>

/* What wr_id points to: who gets the completion. */
struct wr {
	void (*done)(struct wr *wr, const struct ibv_wc *wc);
};

/*
 * A completion queue. Events are asked for (armed) only before the loop sleeps, and for the send
 * queue only when somebody waits for it: most of its completions say that a response is out, which
 * can wait until the loop runs anyway.
 */
struct cq {
	struct ibv_cq *cq;
	unsigned int size, used;
	unsigned int events; /* not acknowledged yet: an ack takes a mutex, so in batches */
	bool armed;
};

/* The queues of some connections: one pair has room for a few dozen, more are made as they come. */
struct cq_pair {
	struct cq recv, send;
	/* what only a completion on the send queue can bring on: else nobody asks for its events */
	unsigned int reads_out, draining, starving;
	LIST_ENTRY(cq_pair) entry;
};

/* reactor-local: one RDMA device as this reactor uses it */
struct rnic {
	struct transport *transport;
	struct ibv_context *verbs;
	struct ibv_device_attr attr;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	LIST_HEAD(cq_pairs, cq_pair) cqs;
	struct poller poller;
	STAILQ_HEAD(dirty_conns, conn) dirty; /* have work to post */
	struct staging *staging;
	bool full_logged;
	bool mtu_used[IBV_MTU_4096 + 1]; /* path MTUs that connections had: proved */
	/* cmb_flush = "rdma-read" */
	struct loopback flush;
	struct cq_pair *flush_cqs;
	unsigned int flush_out;
	uint64_t rdma_flushes, cpu_flushes;
	bool flush_broken; /* to be made anew when none is out */
	uint8_t port_num;
	ev_io cq_ready, async_ready;
	LIST_ENTRY(rnic) entry;
};

enum conn_state {
	CONN_ACCEPTING, /* for ESTABLISHED; capsules that come before it are kept */
	CONN_LIVE,
	CONN_DRAINING, /* for everything that is out */
};

/* One receive buffer: a command capsule. */
struct recv {
	struct wr wr;
	struct conn *conn;
	struct nvme_sqe *sqe;
	uint8_t *in_capsule;     /* page-aligned; NULL: none offered */
	uint32_t in_capsule_len; /* bytes received behind the SQE */
	struct ibv_sge sge[2];
	struct ibv_recv_wr recv_wr;
	STAILQ_ENTRY(recv) entry;
};

enum request_state {
	REQ_FREE,
	REQ_WAIT_SLOT,    /* for staging memory */
	REQ_READING_HOST, /* for the RDMA READ of the host's data */
	REQ_FLUSHING,     /* for the read-back that proves that data to be in the CMB */
	REQ_AT_TARGET,    /* for the command's execution */
	REQ_SENDING,      /* for the completion of the response SEND */
};

/* One command from its capsule to the completion of its response. */
struct request {
	struct nvmf_req nvmf; /* first */
	struct conn *conn;
	struct recv *recv; /* until the response is posted */
	enum request_state state;
	/* the host's memory */
	uint64_t remote_addr;
	uint32_t remote_key;
	bool invalidate;
	/* ours */
	struct slot *slot;
	struct slot_waiter waiter; /* REQ_WAIT_SLOT */
	struct nvme_cqe *cqe;      /* in registered memory */
	struct ibv_sge data_sge, cqe_sge;
	struct ibv_send_wr data_wr, send_wr;
	struct wr read, write, send, flush;
	STAILQ_ENTRY(request) entry;
};

/* reactor-local: one RC queue pair, that is one NVMe queue */
struct conn {
	struct nvmf_queue nvmf; /* first */
	struct transport *transport;
	struct rnic *rnic;
	struct rdma_cm_id *id;
	enum conn_state state;
	enum ibv_mtu path_mtu;
	bool send_inline;
	bool dead; /* on transport->dead */
	uint16_t depth, nreqs;
	struct cq_pair *cqs;
	unsigned int recv_cqes, send_cqes; /* reserved there */
	/* work to post with one doorbell at the end of the round */
	struct ibv_send_wr *chain, **chain_end;
	bool dirty, starving;
	STAILQ_ENTRY(conn) dirty_entry;
	struct recv *recvs;
	struct request *reqs;
	STAILQ_HEAD(request_list, request) free_reqs;
	STAILQ_HEAD(recv_list, recv)
	pending; /* capsules that wait for ESTABLISHED or for a request */
	unsigned int posted_recvs, busy_reqs;
	uint8_t *mem; /* SQEs, CQEs, in-capsule data */
	size_t mem_len;
	struct ibv_mr *mr;
	LIST_ENTRY(conn) entry;
};

struct listener {
	struct transport *transport;
	const struct config_port *port;
	struct rdma_cm_id *id;
};

struct transport {
	const struct config *conf;
	struct provider_set *set;
	const struct topology *topo;
	struct slot_domain *domain;
	struct transport_test test;
	struct target *target;
	struct ev_loop *loop;
	struct rdma_event_channel *cm;
	ev_io cm_ready;
	struct reactor *reactor;
	struct poller reaper;
	struct listener *listeners;
	size_t mem_used; /* of all connections' queues */
	unsigned int nconns;
	LIST_HEAD(rnic_list, rnic) rnics;
	LIST_HEAD(conn_list, conn) conns;
	struct conn_list dead;
};

/* rnic.c */
int rnic_get(struct transport *tr, struct ibv_context *verbs, uint8_t port_num,
	     struct rnic **ret_rnic);
void rnic_destroy(struct rnic *r);
void rnic_prove(struct rnic *r, enum ibv_mtu mtu);
bool rnic_can_flush(struct rnic *r);
struct cq_pair *rnic_cqs(struct rnic *r, unsigned int recv, unsigned int send);
void rnic_mark_dirty(struct conn *c);
void rnic_provider_changed(struct rnic *r, unsigned int index);

/* conn.c */
enum nvme_rdma_cm_status cm_parse_request(const void *data, size_t len,
					  struct nvme_rdma_cm_request *ret);
void conn_request(struct listener *l, struct rdma_cm_id *id, const struct rdma_conn_param *param);
void conn_established(struct conn *c);
void conn_kill(struct conn *c);
void conn_check_drained(struct conn *c);
void conn_free(struct conn *c);

/* request.c */
extern const struct nvmf_queue_ops conn_queue_ops;
int conn_post_recv(struct recv *recv);
void conn_init_requests(struct conn *c);
void conn_post_chain(struct conn *c);
void conn_drop_chain(struct conn *c);
void conn_start_pending(struct conn *c);
void conn_cancel_requests(struct conn *c);

#endif
