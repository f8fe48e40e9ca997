/*
 * nvme: NVMe over Fabrics from the host's side, on top of host.h: build capsules, open controllers
 * and queues. Helpers only build what is right; tests then spoil it.
 */
#ifndef TESTS_HOST_NVME_H
#define TESTS_HOST_NVME_H

#include "tests/host/host.h"

#include <libnvme.h>

#define DNR            NVME_DNR
#define MORE           0x2000 /* a bit of the status that tests do not look at */
#define FAB_DATA_LEN   (2u << 20)
#define FAB_GUARD      0xa5 /* what data is filled with before a command */
#define IO_QUEUE_DEPTH 16

/* Admin opcodes; the I/O ones are libnvme's enum nvme_io_opcode. */
enum {
	ADM_GET_LOG = 0x02,
	ADM_IDENTIFY = 0x06,
	ADM_ABORT = 0x08,
	ADM_SET_FEATURES = 0x09,
	ADM_GET_FEATURES = 0x0a,
	ADM_ASYNC_EVENT = 0x0c,
	ADM_KEEP_ALIVE = 0x18,
};

struct capsule {
	struct nvme_sqe sqe;
	uint8_t data[HOST_CAPSULE_MAX - sizeof(struct nvme_sqe)]; /* in-capsule data */
	uint32_t data_len;
};

/* An NVMe queue: a connection whose Connect command succeeded, or one that is still to have it. */
struct fab_queue {
	struct host_conn *conn;
	uint16_t qid, sqsize; /* entries */
	uint16_t next_cid;
};

struct fab_host {
	struct host *host;
	char nqn[256]; /* of the subsystem */
	char hostnqn[256];
	uint8_t hostid[16];
};

struct fab_options {
	const char *nqn; /* NULL: the fab_host's */
	uint32_t kato_ms;
	bool disabled; /* leave CC.EN 0 */
	uint8_t cattr;
};

struct fab_ctrl {
	const struct fab_host *fh;
	char nqn[256];
	uint16_t cntlid;
	uint32_t connect_dw0; /* of the response to Connect: the controller ID, and what it asks */
	struct fab_queue admin;
	struct host_buffer page; /* 4 KiB: Connect data, Identify */
	/* when enabled: */
	uint64_t cap;
	struct nvme_id_ctrl id;
	size_t mdts_len;   /* bytes */
	size_t in_capsule; /* most bytes of data behind the SQE of an I/O command */
};

#define CC_DEFAULT (6u << 16 | 4u << 20)
#define CC_READY   (CC_DEFAULT | CC_EN)

/* ---- capsules --------------------------------------------------------------------------------
 */

/** fab_sgl_keyed() - the descriptor of the first @len bytes of @b. */
union nvme_sgl fab_sgl_keyed(const struct host_buffer *b, uint32_t len, uint8_t sub_type);

/** fab_sgl_in_capsule() - of in-capsule data. */
union nvme_sgl fab_sgl_in_capsule(uint64_t offset, uint32_t len);

/** fab_capsule_init() - a command without data: a keyed SGL of length 0, as the Linux host. */
void fab_capsule_init(struct capsule *c, uint8_t opcode);

/** fab_fabrics_init() - a fabrics command without data. */
void fab_fabrics_init(struct capsule *c, uint8_t fctype);

/** fab_rw_init() - Read or Write of @nblocks blocks. */
void fab_rw_init(struct capsule *c, uint8_t opcode, uint32_t nsid, uint64_t slba, uint32_t nblocks);

/** fab_connect_init() - Connect, with its data in @b (1 KiB at least). */
void fab_connect_init(struct capsule *c, const struct fab_host *fh, struct host_buffer *b,
		      uint16_t cntlid, uint16_t qid, uint16_t sqsize);

/* ---- queues and controllers ------------------------------------------------------------------
 */

/** fab_exec() - give the capsule a CID, send it, wait for its response. Responses to other
 * commands are dropped. Negative errno as host_send(), host_wait(). */
__attribute__((warn_unused_result)) int fab_exec(struct fab_queue *q, struct capsule *c,
						 struct host_response *ret);

/** fab_send() - as fab_exec(), without waiting. */
__attribute__((warn_unused_result)) int fab_send(struct fab_queue *q, struct capsule *c);

/** fab_status() - of a response, without the More bit. */
uint16_t fab_status(const struct host_response *r);

/** fab_status_name() - for a person; "?" if unknown. DNR is not looked at. */
const char *fab_status_name(uint16_t status);

/** fab_queue_open() - a connection for a queue of @depth entries, nothing sent on it. */
__attribute__((warn_unused_result)) int fab_queue_open(struct host *h, uint16_t qid, uint16_t depth,
						       struct fab_queue *ret);
void fab_queue_close(struct fab_queue *q);

/**
 * fab_ctrl_create() - connect an admin queue and, unless told not to, enable the controller and
 * read what it is. Return: 0; negative errno; or the positive NVMe status of what failed.
 */
__attribute__((warn_unused_result)) int fab_ctrl_create(const struct fab_host *fh,
							const struct fab_options *o,
							struct fab_ctrl **ret);
void fab_ctrl_destroy(struct fab_ctrl *c);

/** fab_ctrl_queue() - connect an I/O queue. Return: as fab_ctrl_create(). */
__attribute__((warn_unused_result)) int fab_ctrl_queue(struct fab_ctrl *c, uint16_t qid,
						       uint16_t depth, struct fab_queue *ret);

/** fab_property_get() - @wide: 8 bytes. Return: as fab_ctrl_create(). */
__attribute__((warn_unused_result)) int fab_property_get(struct fab_ctrl *c, uint32_t offset,
							 bool wide, uint64_t *ret);
__attribute__((warn_unused_result)) int fab_property_set(struct fab_ctrl *c, uint32_t offset,
							 uint64_t value);

/** fab_wait_csts() - until (CSTS & @mask) is @value. -ETIMEDOUT. */
__attribute__((warn_unused_result)) int fab_wait_csts(struct fab_ctrl *c, uint32_t mask,
						      uint32_t value);

/** fab_identify() - into c->page. Return: as fab_ctrl_create(). */
__attribute__((warn_unused_result)) int fab_identify(struct fab_ctrl *c, uint8_t cns,
						     uint32_t nsid);

#endif
