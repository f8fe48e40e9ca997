/*
 * host: an RDMA host that does what it is told, also what no sane host does. It opens connections
 * with any private data and parameters, sends any bytes as a capsule, and says what came back.
 *
 * Knows the RDMA transport (CM private data, capsules, responses, rkeys), no NVMe command.
 * Single-threaded and synchronous: every wait has a deadline in milliseconds, nothing runs in
 * between. All errors are negative errno.
 */
#ifndef TESTS_HOST_HOST_H
#define TESTS_HOST_HOST_H

#include "transport/nvme_rdma_wire.h"

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#define HOST_CAPSULE_MAX (20u << 10) /* bytes, more cannot be sent */
#define HOST_DEPTH       64          /* receives and sends of a connection */
#define HOST_TIMEOUT_MS  20000       /* for all that should come at once; emulation is slow */

/* A target, and the RNIC it is reached through (made with the first connection). */
struct host {
	const char *address, *service;
	struct ibv_context *verbs;
	struct ibv_pd *pd;
};

/* Memory that the target may read and write by @rkey. */
struct host_buffer {
	uint8_t *va;
	size_t len;
	uint32_t rkey;
	struct ibv_mr *mr;
	struct ibv_mw *mw; /* with a key that can be invalidated, see host_bind_window() */
};

/* What a connection request says. */
struct host_request {
	struct nvme_rdma_cm_request data;
	uint8_t data_len;       /* bytes of it that are sent */
	uint8_t reads_accepted; /* RDMA READs that we answer at once (the target's IRD check) */
	uint8_t reads_issued;   /* that we might have out (its ORD check) */
	uint8_t rnr_retries;    /* of the target, while there is no receive here; 7: for ever */
	bool no_receives;       /* never post one: responses find no room here */
	uint8_t receives;       /* post so many, and none again; 0: as many as there are, always */
	bool walk_away;         /* do not wait for the answer */
	bool half_open;         /* take the answer, and do not say so: no queue pair either */
};

enum host_outcome {
	HOST_ACCEPTED,
	HOST_REJECTED, /* with private data of the NVMe transport */
	HOST_FAILED,   /* in any other way */
};

/* What came of it. */
struct host_answer {
	enum host_outcome outcome;
	int event, event_status; /* of the CM: for messages */
	/* the private data */
	uint16_t recfmt, reject_status, crqsize;
};

struct host_response {
	struct nvme_cqe cqe;
	uint32_t len;              /* bytes received; 16 is right */
	bool invalidated;          /* it came by SEND with Invalidate ... */
	uint32_t invalidated_rkey; /* ... of this key */
};

struct host_conn;

/** host_init() - @address and @service are numeric texts and must outlive it. */
void host_init(struct host *h, const char *address, const char *service);

/** host_fini() - no connection and no buffer may be left. */
void host_fini(struct host *h);

/** host_default_request() - as the Linux host asks for a queue of @depth entries. */
struct host_request host_default_request(uint16_t qid, uint16_t depth);

/**
 * host_connect() - ask for a connection and wait for the answer.
 * Return: 0 with @ret and @answer set; -ECONNREFUSED when refused (@answer says how);
 * other negative errno when nobody could be asked (@answer->outcome is HOST_FAILED); -ECANCELED
 * with @req->walk_away. With @req->half_open nothing but host_close() may follow.
 */
__attribute__((warn_unused_result)) int host_connect(struct host *h, const struct host_request *req,
						     struct host_conn **ret,
						     struct host_answer *answer);

/** host_connections() - how many of this process are accepted and not closed. */
unsigned int host_connections(void);

/** host_close() - disconnect and free. NULL is fine. */
void host_close(struct host_conn *c);

/** host_send() - post @len bytes as one capsule. -EMSGSIZE, -ENOTCONN, -ETIMEDOUT (no send came
 * back in time). */
__attribute__((warn_unused_result)) int host_send(struct host_conn *c, const void *capsule,
						  size_t len);

/** host_send_chain() - post @n capsules of @len bytes each (@n up to HOST_DEPTH) with one call, so
 * that they arrive together. */
__attribute__((warn_unused_result)) int host_send_chain(struct host_conn *c, const void *capsules,
							size_t len, unsigned int n);

/** host_wait() - the next response. -ETIMEDOUT, or -ENOTCONN: none came and the connection is gone.
 */
__attribute__((warn_unused_result)) int host_wait(struct host_conn *c, unsigned int timeout_ms,
						  struct host_response *ret);

/** host_wait_gone() - whether the connection ends within that time. Responses are kept. */
bool host_wait_gone(struct host_conn *c, unsigned int timeout_ms);

/** host_vanish() - the queue pair forgets what it was, without a word to anybody: what the target
 * sends or reads is not answered. */
__attribute__((warn_unused_result)) int host_vanish(struct host_conn *c);

/** host_reach() - RDMA READ (@write: RDMA WRITE) of 8 bytes at @addr by @rkey in the target's
 * memory. Nothing is awaited; a refusal ends the connection. */
__attribute__((warn_unused_result)) int host_reach(struct host_conn *c, bool write, uint64_t addr,
						   uint32_t rkey);

/** host_reached() - whether such an operation succeeded. */
bool host_reached(const struct host_conn *c);

/** host_gone() - whether it has ended, as far as we were told by now. */
bool host_gone(struct host_conn *c);

/** host_alloc() - @len bytes of memory with remote access, filled with @fill; any connection of @h
 * can name it. The host must have connected once. */
__attribute__((warn_unused_result)) int host_alloc(struct host *h, size_t len, uint8_t fill,
						   struct host_buffer *ret);

/** host_alloc_as() - the same, with other rights (enum ibv_access_flags). */
__attribute__((warn_unused_result)) int host_alloc_as(struct host *h, size_t len, uint8_t fill,
						      unsigned int access, struct host_buffer *ret);

/** host_free() - a zeroed buffer is fine. */
void host_free(struct host_buffer *b);

/** host_bind_window() - give @b a new rkey, by a memory window that the peer of @c may invalidate.
 * host_free() must come before host_close(): rxe waits in vain for a window that is still bound
 * when its queue pair goes. -EOPNOTSUPP: this RNIC has none. */
__attribute__((warn_unused_result)) int host_bind_window(struct host_conn *c,
							 struct host_buffer *b);

/** host_now_ms() - a clock that never steps. */
uint64_t host_now_ms(void);

#endif
