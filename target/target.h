/*
 * target: the NVMe side. Controllers, queues, commands, namespaces; it knows requests and memory,
 * never a verb. The first header of this room to read.
 *
 * A transport embeds struct nvmf_queue in its connection and struct nvmf_req in its command
 * context:
 *
 *      capsule arrives --> nvmf_req_check()   what the command is, how many bytes go which way
 *      payload staged, host's data fetched
 *                      --> nvmf_req_execute() ... ops->respond() when the CQE is ready
 *      response sent, slot given back
 *
 * Two kinds of threads. The control thread (reactor 0) has the controllers, the admin queues and
 * everything named target_*. A queue and its requests are their reactor's; an I/O queue is bound to
 * its controller and released from it by the control thread, and they ask each other by message.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "config/config.h"
#include "p2p/report.h"
#include "p2p/staging.h"
#include "target/nvme_wire.h"
#include "target/reactor.h"

#include <sys/queue.h>

#define IO_QUEUE_ID_MAX       128 /* I/O queues are 1..128, a controller has no more */
#define ADMIN_QUEUE_DEPTH_MAX 256 /* entries; the Linux host asks for 32 */
#define SGL_DATA_BLOCKS_MAX   16  /* MSDBD: data blocks that may describe one payload */
/* Capsules have room for that many descriptors, whatever data they may carry: 256 bytes, which no
 * logical block fits in. */
#define IN_CAPSULE_LEN_MIN    (SGL_DATA_BLOCKS_MAX * sizeof(union nvme_sgl))

struct controller;
struct target;
struct namespace;
struct command;
struct ns_map;
struct work;
struct range_lock;

enum data_dir {
	DATA_NONE,
	DATA_H2C, /* host to controller: a write */
	DATA_C2H, /* controller to host: a read */
};

struct nvmf_req {
	struct nvmf_queue *queue;
	const struct nvme_sqe *sqe; /* a copy: not touched by the host any more */
	struct nvme_cqe cqe;        /* ready when respond() is called */

	/* set by nvmf_req_check() */
	const struct command *cmd;
	struct namespace *ns; /* NULL for commands without one */
	enum data_dir dir;
	uint32_t len;      /* bytes of payload */
	uint64_t since_ns; /* when it came, if it has a namespace: reactor_now_ns() */

	/* set by the transport before nvmf_req_execute() */
	uint8_t *data; /* len bytes of staged memory */
	uint8_t place; /* where that is (enum stage_place), for the accounting */

	/* private: of whoever executes it */
	union {
		struct uring_op op;
		struct wide_op wide; /* passed through */
	};
	struct message message; /* to the control thread and back */
	union {
		uint16_t (*in_control)(struct nvmf_req *req);
		void (*run)(struct work *w);
		struct nvmf_queue *other; /* Abort: the queue it is about */
	};
	uint16_t status;
	uint16_t error_at; /* where the invalid field is: byte | bit << 8; NO_ERROR_AT */
	uint8_t phase;     /* of ns_shard.in_flight, plus 1; 0: not counted */
	/* fused, see fused.c; all zero unless it is */
	uint8_t fuse;         /* SQE_FUSE_FIRST, SQE_FUSE_SECOND; 0: not, or not any more */
	bool arrived;         /* its data too */
	bool parked;          /* waits for its partner */
	uint16_t fuse_status; /* complete it with this when it arrives */
	struct nvmf_req *partner;
	struct range_lock *lock;
	uint32_t done_len;
	bool fua;
	bool hangs_up; /* the queue ends when the response is out */
	uint64_t offset;
	TAILQ_ENTRY(nvmf_req) entry; /* parked: AERs, and what waits for locked blocks */
};
TAILQ_HEAD(nvmf_req_list, nvmf_req);
#define NO_ERROR_AT 0xffff

/* A command that failed, for the error log page. */
struct error_record {
	uint64_t count; /* of the controller; 0: empty */
	uint64_t lba;
	uint32_t nsid;
	uint16_t sqid, cid;
	uint16_t status; /* without the phase bit */
	uint16_t error_at;
	uint8_t opcode;
};

/* From a queue's reactor to the control thread: written by the one, read by the other. Who finds it
 * full only counts. */
#define ERROR_FIFO 8
struct error_fifo {
	struct error_record record[ERROR_FIFO];
	uint32_t written, read, lost; /* atomic */
	bool posted;                  /* atomic: the message is under way */
	struct message message;
};

struct nvmf_queue_ops {
	/* The CQE is ready and, for DATA_C2H with status 0, so are len bytes of data. */
	void (*respond)(struct nvmf_req *req);
	/* An I/O failed in the CMB its payload is staged in: stage it in host memory instead, fetch
	 * the host's data again if it is a write, and execute it again; or, if the namespace may
	 * have no host memory, complete it with a retryable status. */
	void (*restage)(struct nvmf_req *req);
	/* End the connection; the transport closes the queue, and when all is drained, the control
	 * thread calls nvmf_queue_fini(). Called in the queue's reactor, maybe more than once, and
	 * from within any call into the target. */
	void (*disconnect)(struct nvmf_queue *q);
	/* Complete the command @cid with Command Abort Requested if it waits in the transport and
	 * nothing was done of it. False: no such command waits there. In the queue's reactor. */
	bool (*abort)(struct nvmf_queue *q, uint16_t cid);
};

enum nvmf_queue_state {
	QUEUE_WAIT_CONNECT, /* for the Connect command */
	QUEUE_LIVE,
	QUEUE_LEAVING, /* its commands are refused; see nvmf_queue_leave() */
	QUEUE_CLOSING, /* no new commands; waits for the transport to drain */
};

/* Was the former command the first half of a fused operation? */
enum nvmf_fusing { FUSING_NONE, FUSING_FIRST, FUSING_FAILED };

/* What a port offers, as it was when a connection came: a reload may change or remove the port. */
struct nvmf_port {
	uint16_t id;
	uint16_t queue_depth;         /* most entries of an I/O queue */
	uint32_t in_capsule_data_len; /* bytes */
};

/** nvmf_port_of() - what @port offers now. */
static inline struct nvmf_port nvmf_port_of(const struct config_port *port)
{
	return (struct nvmf_port){ port->id, port->queue_depth, port->in_capsule_data_len };
}

/* One queue pair of NVMe, embedded in the transport's connection. reactor-local, but for what is
 * the control thread's */
struct nvmf_queue {
	const struct nvmf_queue_ops *ops;
	struct target *target;
	struct reactor *reactor; /* admin queues: the control thread's */
	struct nvmf_port port;
	char local_address[64];  /* numeric; what a wildcard port shows in the discovery log */
	char remote_address[64]; /* for the log */
	enum nvmf_queue_state state;
	uint16_t qid;   /* what the connection was made for; the Connect command must agree */
	uint16_t depth; /* entries, the most that Connect may ask for */
	size_t memory;  /* bytes that the connection may come to need, for the host's limit */
	/* private: */
	uint16_t sqsize; /* entries */
	uint16_t sqhd;
	bool sqflow_disabled;
	bool alive;           /* atomic: there was a command since the keep alive timer looked */
	bool unauthenticated; /* atomic: must authenticate first; the control thread clears it */
	struct subsystem *subsys; /* NULL until Connect succeeded */
	const struct ns_map *map; /* the namespaces it may use; replaced by the control thread */
	uint32_t in_capsule_len;
	enum nvmf_fusing fusing;
	struct nvmf_req *fused_first;    /* FUSING_FIRST */
	struct nvmf_req_list half_pairs; /* fused commands that wait for their partner */
	struct error_fifo errors;
	ev_timer connect_timer;
	unsigned int leaving_s; /* QUEUE_LEAVING: for how long */
	/* private, control thread: */
	struct controller *ctrl;      /* NULL until Connect succeeded */
	struct queue_auth *auth;      /* NULL: nobody authenticates on it */
	LIST_ENTRY(nvmf_queue) entry; /* in the controller */
	struct message disconnect_message, leave_message;
	bool disconnect_posted, leave_posted;
};

/**
 * target_create() - open every namespace's device, prove its staging, and be ready for connections.
 * A device that is not there (backend_may_come()) is waited for: target_check_devices(). Hosts see
 * the namespace when it is.
 * @c, @reactors (whose sets exist) and @topo must outlive the target, but see target_commit().
 * Blocks. On failure @diag says which file and line, and what to do. Return: 0 or negative errno.
 */
__attribute__((warn_unused_result)) int target_create(const struct config *c,
						      const struct reactors *reactors,
						      const struct topology *topo,
						      struct target **ret_target,
						      struct config_diag *diag);

/** target_destroy() - close the devices; no queue may be left. NULL is fine. */
void target_destroy(struct target *t);

struct target_plan;

/**
 * target_prepare() - the first half of a reload: open and prove what @conf has and the running
 * target has not; what is not there is waited for. Nothing has changed, whatever this returns.
 * Blocks while devices are opened and proved. *@ret_plan is to be given to target_commit() or
 * target_abandon() in the same turn of the control thread's loop. Return: 0, or negative errno and
 * @diag says why.
 */
__attribute__((warn_unused_result)) int target_prepare(struct target *t, const struct config *conf,
						       struct target_plan **ret_plan,
						       struct config_diag *diag);

/**
 * target_commit() - the second half, which cannot fail: have exactly the subsystems, namespaces,
 * states and access rights of the plan's configuration, which must outlive the target or the next
 * target_commit(). Hosts are told by asynchronous events; those that may not be here any more are
 * disconnected. Commands in flight on what is removed end first. The former configuration is in use
 * until target_retire_conf().
 */
void target_commit(struct target_plan *plan);

/** target_abandon() - close what was opened for it. NULL is fine. */
void target_abandon(struct target_plan *plan);

/** target_retire_conf() - after target_commit(): the target frees the former configuration @old
 * when nothing that is on its way out needs it. Its keys are wiped at once. */
void target_retire_conf(struct target *t, struct config *old);

/** target_check_sizes() - find namespaces whose device was resized, and tell the hosts. Control
 * thread. */
void target_check_sizes(struct target *t);

/** target_has_controller() - is there a controller with this ID? For the check of CM private data.
 */
bool target_has_controller(const struct target *t, uint16_t cntlid);

/** target_prove() - prove again what every namespace can be staged in, and log what changed. Blocks
 * for milliseconds a namespace. Control thread, hosts may be connected. */
void target_prove(struct target *t);

/** target_provider_lost() - a provider is LOST: no namespace uses it any more. */
void target_provider_lost(struct target *t);

/** target_waiting() - what is without its device: of each namespace, or subsystem that is passed
 * through, "; WHAT: WHY" goes to @out. Return: how many. */
unsigned int target_waiting(const struct target *t, FILE *out);

/** target_waits() - is anything without its device? */
bool target_waits(const struct target *t);

/** target_nhosts() - hosts (NQNs) that have a controller, discovery aside. */
unsigned int target_nhosts(const struct target *t);

/** target_shut_down() - the controllers' CSTS says that a shutdown is in progress, or complete.
 * Nobody is waited for any longer than that allows: nvmf_queue_leave(). Control thread. */
void target_shut_down(struct target *t, bool complete);

/** target_check_devices() - find namespaces whose device is gone, and open again those whose device
 * is back, or there for the first time. Return: how many are without a device now. *@ret_back: one
 * came back, prove it. */
unsigned int target_check_devices(struct target *t, bool *ret_back);

/** target_on_trouble() - have @trouble called, in the control thread, when an I/O failed as it does
 * when a drive goes away. */
void target_on_trouble(struct target *t, void (*trouble)(void *arg), void *arg);

/** target_discovery_changed() - what hosts may learn from the discovery service may have changed:
 * subsystems, who is allowed, ports, referrals. Those to whom it did are told. Control thread. */
void target_discovery_changed(struct target *t);

/** target_report() - the drives' part of the table of paths. */
void target_report(const struct target *t, struct report *report);

/** target_in_capsule_len() - most bytes behind the SQE that I/O queues of controller @cntlid use;
 * of an unknown one (0: the host did not say), what @port has. */
uint32_t target_in_capsule_len(const struct target *t, uint16_t cntlid,
			       const struct nvmf_port *port);

/** target_queue_depth() - most entries of the I/O queues of controller @cntlid: what was announced
 * to it; of an unknown one, what @port has. */
uint16_t target_queue_depth(const struct target *t, uint16_t cntlid, const struct nvmf_port *port);

/** target_print_accounting() - per namespace and direction, the bytes staged where and why. */
void target_print_accounting(const struct target *t, FILE *out);

/** nvmf_queue_init() - a connection is up and waits for its Connect command (10 s at most). The
 * caller has set ops, target, reactor, port, qid, depth, memory and the addresses; everything else
 * is set here. */
void nvmf_queue_init(struct nvmf_queue *q);

/** nvmf_queue_close() - no further command will be executed; parked commands are answered (which
 * the transport may drop). Safe to call again. */
void nvmf_queue_close(struct nvmf_queue *q);

/** nvmf_queue_disconnect() - have ops->disconnect() called in @q's reactor. Control thread. Safe to
 * call again, until nvmf_queue_fini(). */
void nvmf_queue_disconnect(struct nvmf_queue *q);

/**
 * nvmf_queue_leave() - end the connection because we want to, so that the host learns of it at
 * once. A Linux host takes notice of a disconnect only while its controller is live, see
 * nvme_rdma_error_recovery(): on its way in, and when it deletes it, the command that it waits for,
 * or sends next, would be without an answer for its whole timeout, 60 s. So commands are answered,
 * with a status after which it may try again, and the host ends the connection; we do it with the
 * answer to a Connect or on an I/O queue, and of an admin queue after ten seconds (three when the
 * daemon stops): not with the first answer, which may be to a Keep Alive between two others. I/O
 * queues of a controller that is live end as by nvmf_queue_disconnect(): that is how such a host
 * learns of it. Control thread. Safe to call again, until nvmf_queue_fini().
 */
void nvmf_queue_leave(struct nvmf_queue *q);

/** nvmf_queue_cntlid() - the controller that it belongs to; 0: none yet, or not any more. Control
 * thread. */
uint16_t nvmf_queue_cntlid(const struct nvmf_queue *q);

/** nvmf_queue_part() - on whose account its payload is staged (staging_take()): its controller has
 * one of its host's parts of each drive's memory. Its own thread, while it is QUEUE_LIVE. */
uint8_t nvmf_queue_part(const struct nvmf_queue *q);

/** nvmf_queue_fini() - the queue is closed and drained and goes away. With the admin queue goes the
 * controller, and its other queues are asked to disconnect. Control thread. No message is posted to
 * @q's reactor after it, but earlier ones may still be under way. */
void nvmf_queue_fini(struct nvmf_queue *q);

/**
 * nvmf_req_check() - look at the capsule: may this command run, and with which payload?
 * @req: queue and sqe are set; zero at first, and used again after it was completed or dropped.
 * Sets cmd, ns, dir and len. Return: NVME_OK, or the status to complete it with.
 */
__attribute__((warn_unused_result)) uint16_t nvmf_req_check(struct nvmf_req *req);

/** nvmf_req_stage() - whose staging this request's payload uses; NULL: nobody's, host memory. */
struct stage_client *nvmf_req_stage(const struct nvmf_req *req);

/** nvmf_req_cpu_data() - does the CPU read or make the payload? Then it is staged in host memory.
 */
bool nvmf_req_cpu_data(const struct nvmf_req *req);

/** nvmf_req_excess_ok() - may the SGL describe more memory than the payload takes? */
bool nvmf_req_excess_ok(const struct nvmf_req *req);

/** nvmf_req_drop() - the transport is done with a request that nvmf_req_check() saw: its response
 * is out and its memory given back, or its queue dies and it will not be completed. */
void nvmf_req_drop(struct nvmf_req *req);

/** nvmf_req_execute() - run a request that nvmf_req_check() accepted and whose data is in place.
 * respond() may be called before this returns. */
void nvmf_req_execute(struct nvmf_req *req);

/** nvmf_req_complete() - fill the CQE with @status (DNR included by the caller) and respond(). Also
 * for the transport: SGL errors and failed transfers. dw0 and dw1 of the CQE are left as they are.
 */
void nvmf_req_complete(struct nvmf_req *req, uint16_t status);

/** nvmf_queue_in_capsule_len() - most bytes of in-capsule data a command may use now: what the
 * controller announced (IOCCSZ), 0 on admin queues, no limit for Connect (the Linux host sends its
 * data in the capsule, and the receive buffer is the limit). */
uint32_t nvmf_queue_in_capsule_len(const struct nvmf_queue *q);

#endif
