/*
 * rdma: the structs this room shares between its files. See transport.h for what the room does.
 *
 *      rnic   an RDMA device: protection domain, proofs                       control thread
 *       '-- lane   what one reactor has on it: CQs, receives, staging         reactor-local
 *            '-- conn   one queue pair, that is one NVMe queue                reactor-local
 *
 * The control thread makes a connection, hands it to its reactor before anything can arrive on it,
 * and takes it apart again. Death has four steps, so that nobody holds what is freed:
 *
 *   1 reactor: conn_kill(): no new commands, the QP goes to the error state
 *   2 reactor: what is out comes back: flushed completions, the backend's I/O, slots waited for;
 *     when nothing is (conn_check_drained()), a message
 *   3 control: the queue leaves its controller; QP, CM ID and memory go; a message
 *   4 reactor: all earlier messages to the connection have been run: it is freed
 */
#ifndef TRANSPORT_RDMA_H
#define TRANSPORT_RDMA_H

#include "p2p/loopback.h"
#include "transport/nvme_rdma_wire.h"
#include "transport/sgl.h"
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
	unsigned int reads_out, draining, starving, hanging_up;
	LIST_ENTRY(cq_pair) entry;
};

#define CONN_BUCKETS 1024

/* Receives shared by all connections of a lane. */
struct srq {
	struct ibv_srq *srq; /* NULL: each connection has its own */
	struct recv *recvs;
	unsigned int n, posted;
	STAILQ_HEAD(recv_list, recv) idle; /* posted together at the end of the round */
	uint8_t *mem;                      /* SQEs, in-capsule data */
	size_t in_capsule_len;             /* bytes: no more fits */
	size_t mem_len;
	struct ibv_mr *mr;
};

#define PROGRESS_S      15
#define PROGRESS_TEST_S 2 /* struct transport_test */
#define SPARE_SLOTS     4u
#define SPARE_LEN       P2P_PAGE_SIZE

/* reactor-local, but for the room in the CQs: control thread */
struct lane {
	struct rnic *rnic;
	struct reactor *reactor;
	struct ibv_comp_channel *channel;
	LIST_HEAD(cq_pairs, cq_pair) cqs;
	struct srq srq;
	LIST_HEAD(conn_bucket, conn) by_qpn[CONN_BUCKETS]; /* whose capsule is it? */
	struct poller poller;
	STAILQ_HEAD(dirty_conns, conn) dirty; /* have work to post */
	struct staging *staging;
	uint64_t bounced;               /* in-capsule data copied to free a shared receive */
	struct slot spare[SPARE_SLOTS]; /* for Connect when nothing else is left; without a cache */
	unsigned int spare_taken;       /* bits */
	uint8_t *spare_mem;
	struct ibv_mr *spare_mr;
	/* cmb_flush = "rdma-read" */
	struct loopback flush;
	struct cq_pair *flush_cqs;
	unsigned int flush_out;
	uint64_t rdma_flushes, cpu_flushes;
	bool flush_broken; /* to be made anew when none is out */
	struct reactor_watch cq_ready;
	bool attached;
	bool again; /* something could not be posted or armed: look again, do not sleep */
	bool complained;
};

/* control thread; what lanes look at is immutable */
struct rnic {
	struct transport *transport;
	struct ibv_context *verbs;
	struct ibv_device_attr attr;
	struct ibv_pd *pd;
	struct rdma_cm_id *anchor; /* keeps librdmacm from closing the device; NULL: none */
	uint8_t port_num;
	bool gone; /* the device is; destroyed when the last connection is. Set once, lanes may look
		    */
	bool full_logged;
	bool mtu_used[IBV_MTU_4096 + 1]; /* path MTUs that connections had: proved */
	struct lane *lane[REACTORS_MAX]; /* [0] proves and serves admin queues */
	ev_io async_ready;
	LIST_ENTRY(rnic) entry;
};

enum conn_state {
	CONN_ACCEPTING, /* for ESTABLISHED; capsules that come before it are kept, and bring it on
			 */
	CONN_LIVE,
	CONN_FINISHING, /* for the commands that it has; capsules that come are kept */
	CONN_DRAINING,  /* for everything that is out */
};

#define IN_CAPSULE_ALIGN 512u /* bytes: what every drive takes O_DIRECT data at */

/* One receive buffer: a command capsule. The SQE is copied out at once; only in-capsule data keeps
 * the buffer for longer. */
struct recv {
	struct wr wr;
	struct lane *lane; /* of a shared receive */
	bool copied;       /* one that waits; on the heap, and not a receive any more */
	struct conn *conn; /* whose it is, or whose capsule is in it */
	struct nvme_sqe *sqe;
	uint8_t *in_capsule;     /* to IN_CAPSULE_ALIGN; NULL: none offered */
	uint32_t in_capsule_len; /* bytes received behind the SQE */
	struct ibv_sge sge[2];
	struct ibv_recv_wr recv_wr;
	STAILQ_ENTRY(recv) entry;
};

enum request_state {
	REQ_FREE,
	REQ_WAIT_SLOT,    /* for staging memory */
	REQ_WAIT_WRS,     /* for room in the send queue: a payload of many pieces */
	REQ_READING_HOST, /* for the RDMA READ of the host's data */
	REQ_FLUSHING,     /* for the read-back that proves that data to be in the CMB */
	REQ_AT_TARGET,    /* for the command's execution */
	REQ_SENDING,      /* for the completion of the response SEND */
};

/* For the second and further pieces of a payload, see request.c. */
struct piece_wr {
	struct ibv_send_wr wr; /* first */
	struct ibv_sge sge;
};
#define PIECE_WRS 32u /* of each connection: two commands of most pieces at once */
static_assert(PIECE_WRS >= SGL_DATA_BLOCKS_MAX - 1, "or such a command would wait for ever");

/* One command from its capsule to the completion of its response. */
struct request {
	struct nvmf_req nvmf; /* first */
	struct conn *conn;
	struct nvme_sqe sqe;
	struct recv *recv; /* with in-capsule data, until the command is done */
	uint8_t *bounce;   /* or a copy of that data; kept for the next time */
	enum request_state state;
	/* the host's memory */
	struct sgl sgl;
	struct sgl_piece piece;   /* the usual case: all of it */
	struct sgl_piece *pieces; /* that, or in the connection's */
	bool unaligned;           /* a piece begins within a page of ours */
	/* ours */
	struct slot *slot;
	struct slot_waiter waiter; /* REQ_WAIT_SLOT */
	struct ibv_sge data_sge, cqe_sge;
	struct ibv_send_wr data_wr, send_wr;
	struct ibv_send_wr *more_wrs; /* of the pieces after the first, while they are out */
	struct wr read, send, flush, piece_wr;
	STAILQ_ENTRY(request) entry; /* in free_reqs or wr_waiters */
};

/* reactor-local between conn_adopt() and its death, see above */
struct conn {
	struct nvmf_queue nvmf; /* first */
	struct transport *transport;
	struct lane *lane;
	struct rdma_cm_id *id;
	enum conn_state state;
	enum ibv_mtu path_mtu; /* 0: unknown */
	bool send_inline, shared_recvs;
	bool dead;       /* drained and given back */
	bool last_wqe;   /* with shared receives: none of ours is in flight any more */
	uint16_t depth;  /* capsules the host may have out */
	uint16_t cntlid; /* what the host said in the CM's private data, 0: nothing */
	struct cq_pair *cqs;
	unsigned int recv_cqes, send_cqes; /* reserved there */
	/* work to post with one doorbell at the end of the round */
	struct ibv_send_wr *chain, **chain_end;
	bool dirty, starving;
	STAILQ_ENTRY(conn) dirty_entry;
	/* requests: memory that was never needed is never touched */
	struct request *reqs;
	unsigned int nreqs, nreqs_touched;
	STAILQ_HEAD(request_list, request) free_reqs;
	struct request *orphan; /* nobody says when its RDMA is over, see set_orphan() */
	/* payload in many pieces; not touched until a host sends such */
	struct sgl_piece *pieces;   /* SGL_DATA_BLOCKS_MAX for each request */
	struct piece_wr *piece_wrs; /* PIECE_WRS */
	unsigned int nfree_wrs, npiece_wrs_touched;
	struct ibv_send_wr *free_wrs;
	struct request_list wr_waiters;
	struct recv_list pending; /* capsules that wait for ESTABLISHED or for a request */
	unsigned int npending, posted_recvs, busy_reqs;
	struct recv *recvs; /* NULL: shared */
	uint8_t *mem;       /* SQEs and in-capsule data of our own receives, CQEs */
	size_t mem_len, mem_reserved;
	struct nvme_cqe *cqes; /* NULL: sent inline */
	struct ibv_mr *mr;
	/* see lane_look_for_progress() */
	uint32_t progress, progress_seen; /* responses sent and data read */
	bool waiting_seen;
	bool last_wqe_told; /* control thread */
	ev_timer last_wqe_timer, gone_timer;
	struct message came_early, established, last_wqe_message, finish, death;
	bool told_early;
	bool finish_told;        /* control thread */
	LIST_ENTRY(conn) bucket; /* in lane->by_qpn */
	LIST_ENTRY(conn) entry;  /* in transport->conns: control thread */
};

/* control thread */
struct listener {
	struct transport *transport;
	const struct config_port *port; /* of transport->conf */
	struct rdma_cm_id *id;          /* NULL: the address or its RNIC is not there */
	ev_timer retry;
	unsigned int wait_s; /* before the next try */
	int said;            /* the error that was logged */
	LIST_ENTRY(listener) entry;
};

/* control thread; what lanes look at is immutable */
struct transport {
	const struct config *conf;   /* control thread only: a reload replaces it */
	enum config_flush cmb_flush; /* immutable, for lanes to look at */
	const struct topology *topo;
	const struct reactors *reactors;
	struct transport_test test;
	struct target *target;
	struct rdma_event_channel *cm;
	ev_io cm_ready;
	LIST_HEAD(listener_list, listener) listeners;
	ev_timer reap;
	ev_timer progress; /* runs lane_look_for_progress() */
	uint64_t work_seen[REACTORS_MAX];
	size_t mem_used; /* of all connections' queues, at most */
	unsigned int nconns;
	uint64_t naccepted, nrejected[CM_NSTATUSES]; /* connections, ever */
	LIST_HEAD(rnic_list, rnic) rnics;
	LIST_HEAD(conn_list, conn) conns;
};

/* rnic.c: control thread */
int rnic_get(struct transport *tr, struct rdma_cm_id *id, struct rnic **ret_rnic);
void rnic_lost(struct rnic *r);
void rnic_destroy(struct rnic *r);
void rnic_prove(struct rnic *r, enum ibv_mtu mtu);
void rnic_provider_changed(struct rnic *r, unsigned int index);
void rnic_provider_lost(struct rnic *r, unsigned int index);
const char *rnic_name(const struct rnic *r);

/* listener.c: control thread */
void listeners_lost(struct transport *tr, const struct ibv_context *verbs);
void transport_reap(struct transport *tr);

/* lane.c */
int lane_create(struct rnic *r, struct reactor *reactor, struct lane **ret_lane); /* control */
void lane_destroy(struct lane *l);                                                /* control */
struct cq_pair *lane_cqs(struct lane *l, unsigned int recv, unsigned int send);   /* control */
struct conn *lane_find_conn(struct lane *l, uint32_t qp_num);
void lane_add_conn(struct lane *l, struct conn *c);
void lane_put_recv(struct lane *l, struct recv *recv);
void lane_look_for_progress(struct lane *l); /* every PROGRESS_S */
void lane_drain_recvs(struct conn *c);
void lane_drain_sends(struct conn *c);
bool lane_can_flush(struct lane *l);
void lane_mark_dirty(struct conn *c);
struct slot *lane_take_spare(struct lane *l); /* NULL: all are out */
void lane_give_spare(struct lane *l, struct slot *slot);

/* conn.c */
enum nvme_rdma_cm_status cm_parse_request(const void *data, size_t len,
					  struct nvme_rdma_cm_request *ret);
const char *cm_status_text(enum nvme_rdma_cm_status status);
void conn_request(struct listener *l, struct rdma_cm_id *id,
		  const struct rdma_conn_param *param); /* control */
void conn_came_early(struct conn *c);
void conn_established(struct conn *c); /* control */
void conn_last_wqe(struct conn *c);    /* control */
void conn_finish(struct conn *c);      /* control */
void conn_check_finished(struct conn *c);
void conn_kill(struct conn *c);
void conn_expect_nothing(struct conn *c);
void conn_check_drained(struct conn *c);

/* request.c */
extern const struct nvmf_queue_ops conn_queue_ops;
void recv_init(struct recv *recv, struct ibv_mr *mr, struct nvme_sqe *sqe, uint8_t *in_capsule,
	       size_t in_capsule_len);
size_t recvs_head_len(size_t len);
size_t recvs_data_len(unsigned int n, size_t in_capsule_len);
void recvs_init(struct recv *recvs, unsigned int n, struct ibv_mr *mr, uint8_t *mem, size_t head,
		size_t in_capsule_len);
int conn_post_recv(struct recv *recv);
void conn_post_chain(struct conn *c);
bool conn_waits_for_host(const struct conn *c);
void conn_takes_nothing(struct conn *c);
void conn_drop_chain(struct conn *c);
void conn_start_pending(struct conn *c);
void conn_cancel_requests(struct conn *c);
void conn_free_requests(struct conn *c);
void conn_settle_orphan(struct conn *c);
void conn_forget_wrs(struct conn *c);

#endif
