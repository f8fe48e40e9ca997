/*
 * transport: NVMe over RDMA. The first header of this room to read.
 *
 * Listens on the configured ports, accepts queue pairs, receives command capsules, moves payload
 * between the host and staged memory (p2p/), and hands the commands to the target (target/). It
 * promises that no command is dropped unanswered while its connection lives, that nothing is sent
 * before the connection is established, and that a slot is given back only when no RDMA can touch
 * it.
 *
 *      listener --(CM request)--> conn --(capsule)--> request --> target
 *                                  |                    |
 *                               lane ------ staging ----' (slots)
 *
 * Listeners, the making and the end of connections, and all functions here are the control
 * thread's; a connection that is up, and its requests, are its reactor's.
 */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H

#include "target/target.h"

struct transport;

/* What only tests switch on, to see what the proofs are good for. */
struct transport_test {
	bool trust;     /* use CMBs that were not proved */
	bool no_odp;    /* as if no RNIC had on-demand paging */
	bool impatient; /* with hosts that take no responses, as PROGRESS_TEST_S */
};

/** transport_create() - no port listens yet. All pointers must outlive it, but @c see
 * transport_commit(). Return: 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int transport_create(
	const struct config *c, const struct reactors *reactors, const struct topology *topo,
	struct target *t, const struct transport_test *test, struct transport **ret_transport);

/**
 * transport_listen() - listen on every configured port, and prove the CMBs on the RNICs that the
 * ports' addresses name. A port whose address is not there, or whose RNIC goes away, says so and is
 * tried again every now and then, and whenever transport_look() is called.
 */
void transport_listen(struct transport *tr);

struct transport_plan;

/** transport_prepare() - the first half of a reload: make ready for the ports of @c. Nothing has
 * changed yet. *@ret_plan is to be given to transport_commit() or transport_abandon() in the same
 * turn of the loop. Return: 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int transport_prepare(struct transport *tr,
							  const struct config *c,
							  struct transport_plan **ret_plan);

/**
 * transport_commit() - the second half, which cannot fail. Ports that are gone, or have another
 * address, are closed and their connections disconnected; then the new ones are opened, as
 * transport_listen() does. What else a port offers holds for connections to come. The plan's
 * configuration must outlive the transport or the next transport_commit(); the one before is not
 * used any more.
 */
void transport_commit(struct transport_plan *plan);

/** transport_abandon() - change nothing. NULL is fine. */
void transport_abandon(struct transport_plan *plan);

/** transport_look() - RDMA devices may have come or gone. Connections of one that is gone end, and
 * it is let go of. */
void transport_look(struct transport *tr);

/** transport_probe() - prove on the RNICs of the configured ports, without listening. Return: 0 or
 * negative errno (-EADDRNOTAVAIL: no such address on an RDMA device, -ENODEV: no RDMA device); then
 * @diag names the port's file and line. */
__attribute__((warn_unused_result)) int transport_probe(struct transport *tr,
							struct config_diag *diag);

/** transport_provider_changed() - provider @index is new, back, or shall be proved again: on every
 * RNIC in use, at every path MTU seen. Blocks for milliseconds each. */
void transport_provider_changed(struct transport *tr, unsigned int index);

/** transport_warn_of_full_windows() - say once for each RNIC that its IOVA window was too small. */
void transport_warn_of_full_windows(struct transport *tr);

/** transport_provider_lost() - forget what was proved of provider @index. */
void transport_provider_lost(struct transport *tr, unsigned int index);

/** transport_report() - the RNICs' part of the table of paths. */
void transport_report(const struct transport *tr, struct report *report);

/** transport_listening() - how many ports listen; of each other one, "; port N: why" goes to
 * @waiting. */
unsigned int transport_listening(const struct transport *tr, FILE *waiting);

/** transport_finish() - listen no more; answer the commands that hosts have sent, but begin none
 * that come from now on, and end each I/O queue that has nothing left to answer. Not to be
 * undone. */
void transport_finish(struct transport *tr);

/** transport_finished() - no I/O queue is left. */
bool transport_finished(const struct transport *tr);

/* A connection as it is now; a copy, but for what it points to, which lives until the loop goes on.
 */
struct transport_queue {
	const struct nvmf_queue *queue;
	const char *rnic, *state; /* "accepting", "live", "finishing", "draining" */
	enum nvmf_queue_state queue_state;
	unsigned int path_mtu;       /* bytes; 0: unknown */
	uint16_t entries;            /* as Connect had it; 0: not connected yet */
	uint16_t capsules;           /* that the host may have out */
	unsigned int requests, busy; /* commands it has room for, and those under way */
	unsigned int pending;        /* capsules that wait for one */
	unsigned int waiting_memory; /* of the busy ones: for staging memory or send-queue room, */
	unsigned int transferring;   /* for RDMA */
	unsigned int executing, answering; /* for the target, for the response to be out */
};

/**
 * transport_list_queues() - the connections of controller @cntlid, all if negative; of those the
 * one with queue ID @qid, all if negative. Where commands wait is looked at only if @qid is given:
 * it takes time in the reactor. *@ret is allocated. Return: 0 or -ENOMEM.
 */
__attribute__((warn_unused_result)) int transport_list_queues(const struct transport *tr,
							      int cntlid, int qid,
							      struct transport_queue **ret,
							      size_t *ret_n);

/** transport_stop() - listen no more and disconnect every connection; they end in the loop. */
void transport_stop(struct transport *tr);

/** transport_nconns() - queues of any kind that are connected, or draining. */
unsigned int transport_nconns(const struct transport *tr);

/** transport_idle() - no connection is left. */
bool transport_idle(const struct transport *tr);

/** transport_destroy() - release all; only when idle. NULL is fine. */
void transport_destroy(struct transport *tr);

/** transport_print_staging() - per provider its pages, per RNIC and provider the slot cache's and
 * the windows' counters. */
void transport_print_staging(const struct transport *tr, FILE *out);

/* ---- what is in use, and what was counted: for monitoring. Control thread; nothing waits. -------
 */

struct transport_usage {
	unsigned int admin_queues, io_queues; /* connections now */
	uint64_t memory, memory_max;          /* bytes that their queues may come to need */
	uint64_t accepted;                    /* connections, ever */
};
void transport_usage(const struct transport *tr, struct transport_usage *ret);

/** transport_rejected() - connections that were rejected for reason @i, and the reason in words.
 * Return: false: there is no such reason; they are numbered from 0. */
bool transport_rejected(const struct transport *tr, unsigned int i, const char **ret_reason,
			uint64_t *ret_n);

struct transport_port_usage {
	unsigned int id;
	const char *address, *service;
	bool listens;
};

/** transport_port_usage() - of port @i, from 0. Return: false: there are no more. */
bool transport_port_usage(const struct transport *tr, size_t i, struct transport_port_usage *ret);

/* Of one RNIC, summed over the reactors. */
struct transport_rnic_usage {
	const char *name; /* "mlx5_0" */
	unsigned int connections;
	bool has_odp;
	const char *why_no_odp; /* "" if it has */
	struct transport_window_usage {
		uint64_t size, linked; /* bytes */
		uint64_t full;         /* ranges that found no room, ever */
	} odp, pinned;
	uint64_t in_capsule_copies; /* to free a shared receive, ever */
	uint64_t flushes;           /* reads-back of a CMB, ever */
};

/** transport_rnic_usage() - of RNIC @i, from 0. Return: false: there are no more. */
bool transport_rnic_usage(const struct transport *tr, unsigned int i,
			  struct transport_rnic_usage *ret);

/* The slots of one RNIC in one provider, summed over the reactors. */
struct transport_cache_usage {
	const char *provider; /* a BDF, or "host" */
	uint64_t taken;       /* slots that are out now */
	struct slot_stats stats;
};

/** transport_cache_usage() - provider @p of RNIC @i: an index, or PROVIDER_MAX for host memory.
 * Return: false: the RNIC does not stage there. */
bool transport_cache_usage(const struct transport *tr, unsigned int i, unsigned int p,
			   struct transport_cache_usage *ret);

#endif
