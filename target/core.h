/*
 * core: the structs this room shares between its files. See target.h for what the room does.
 */
#ifndef TARGET_CORE_H
#define TARGET_CORE_H

#include "target/backend.h"
#include "target/target.h"

#include <uuid.h>

#define ADMIN_QUEUE_DEPTH 32              /* the least an admin queue has: Base 2.1, 6.3 */
#define IO_QUEUES_MAX     IO_QUEUE_ID_MAX /* per controller */
#define AER_MAX           4               /* AERL + 1 */
#define CNTLID_MAX        0xffef          /* Base 2.1, 3.1.3 */
#define NVME_VERSION      0x20000         /* 2.0.0 */
#define KAS_100MS         10              /* keep alive granularity: 1 s */
#define CAP_TIMEOUT_500MS 30

/* Counters: each is written by one thread and read by any. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* What was staged where; in a direction's order of enum data_dir minus one. */
struct stage_account {
	uint64_t bytes[STAGE_NPLACES];
	uint64_t commands;
	uint64_t errors;
};

/* reactor-local: a namespace as one reactor uses it */
struct ns_shard {
	struct stage_client stage;
	struct stage_account account[2]; /* [dir - 1] */
	uint32_t failed; /* atomic: CMBs that an I/O failed in; the control thread takes them */
} __attribute__((aligned(64)));

/* immutable after target_create(), but for the shards and what the control thread proves */
struct namespace
{
	const struct config_namespace *conf;
	struct subsystem *subsys;
	uint32_t nsid;
	struct backend *backend;
	uint64_t nlb;
	uint8_t lba_shift;
	uuid_t uuid;
	struct stage_target stage; /* control thread */
	int scratch_fd;            /* -1: none */
	struct ns_shard *shard;    /* [reactor] */
};

struct subsystem {
	const struct config_subsystem *conf; /* NULL: the discovery subsystem */
	const char *nqn;
	bool discovery;
	char serial[CONFIG_SERIAL_MAX + 1];
	struct namespace *namespaces;
	size_t nnamespaces;
	LIST_HEAD(controller_list, controller) controllers;
};

/* control thread: admin queues are served there, and I/O queues come and go by message */
struct controller {
	struct target *target;
	struct subsystem *subsys;
	uint16_t cntlid;
	char hostnqn[CONFIG_NQN_MAX + 1];
	uint8_t hostid[16];
	uint32_t in_capsule_len; /* what IOCCSZ says; 0: none */
	/* properties */
	uint32_t cc, csts;
	bool resetting; /* CC.EN went to 0; RDY follows when the last I/O queue is gone */
	/* keep alive: any command since the last look counts (CTRATT.TBKAS), see nvmf_queue.alive
	 */
	uint32_t kato_ms;
	ev_timer kato_timer;
	/* features */
	uint32_t aec;
	uint16_t nqueues; /* I/O queues granted */
	/* async events */
	TAILQ_HEAD(nvmf_req_list, nvmf_req) aers;
	unsigned int naers;
	/* queues */
	struct nvmf_queue *admin;
	LIST_HEAD(nvmf_queue_list, nvmf_queue) queues; /* I/O queues */
	struct nvmf_queue *io[IO_QUEUES_MAX + 1];
	unsigned int refs; /* queues of any kind */
	LIST_ENTRY(controller) entry;
};

struct target {
	const struct config *conf;
	const struct topology *topo;
	const struct reactors *reactors;
	void (*trouble)(void *arg); /* may be NULL */
	void *trouble_arg;
	struct message trouble_message;
	bool trouble_posted;          /* atomic */
	struct subsystem *subsystems; /* [0] is discovery */
	size_t nsubsystems;
	uint32_t mdts_len; /* bytes */
	uint16_t next_cntlid;
	struct controller *by_cntlid[CNTLID_MAX + 1];
};

/* ---- command table: command.c ---------------------------------------------------------------- */

enum {
	CMD_NEEDS_NS = 1 << 0,  /* nsid must name an active namespace */
	CMD_DISCOVERY = 1 << 1, /* a discovery controller has it too */
	CMD_BEFORE_EN = 1 << 2, /* allowed while CC.EN is 0 */
	CMD_NO_CTRL = 1 << 3,   /* allowed before Connect */
};

/* Commands Supported and Effects data structure: Base 5.1.12.1.6 */
enum { FX_CSUPP = 1 << 0, FX_LBCC = 1 << 1 };

struct command {
	const char *name;
	enum data_dir dir;
	uint8_t flags;
	uint32_t effects;
	/* Bytes of payload; also checks the fields that decide it. NULL: none. */
	uint16_t (*length)(struct nvmf_req *req, uint32_t *ret_len);
	void (*execute)(struct nvmf_req *req);
};

extern const struct command admin_commands[256];
extern const struct command io_commands[256];
extern const struct command fabrics_commands[256];

/* ---- the chapters -----------------------------------------------------------------------------
 */

uint16_t connect_length(struct nvmf_req *req, uint32_t *ret_len);
void connect_execute(struct nvmf_req *req);
void property_get(struct nvmf_req *req);
void property_set(struct nvmf_req *req);

uint16_t identify_length(struct nvmf_req *req, uint32_t *ret_len);
void identify_execute(struct nvmf_req *req);
uint16_t log_page_length(struct nvmf_req *req, uint32_t *ret_len);
void log_page_execute(struct nvmf_req *req);
void get_features(struct nvmf_req *req);
void set_features(struct nvmf_req *req);

uint16_t rw_length(struct nvmf_req *req, uint32_t *ret_len);
void rw_execute(struct nvmf_req *req);
void flush_execute(struct nvmf_req *req);

/* discovery.c: the log page, allocated; NULL on no memory */
void *discovery_log(const struct nvmf_queue *q, size_t *ret_len);

/* controller.c */
__attribute__((warn_unused_result)) int controller_create(struct target *t, struct subsystem *s,
							  struct nvmf_queue *admin,
							  struct controller **ret_ctrl);
void controller_put(struct controller *c);
void controller_start_keep_alive(struct controller *c, uint32_t kato_ms);
void controller_disconnect(struct controller *c);
void async_event_request(struct nvmf_req *req);
void keep_alive(struct nvmf_req *req);
void abort_command(struct nvmf_req *req);

/* connect.c: an I/O queue of the controller is gone: if that was the last, a reset is over. */
void io_queue_gone(struct controller *c);

/* io.c: an I/O on the payload in a CMB ended with the negative errno @err. True: it is done again,
 * in host memory; false: complete the command. */
bool io_retry_in_host_memory(struct nvmf_req *req, int err);

/* account.c: the sum of all reactors. Any thread. */
void namespace_account(const struct target *t, const struct namespace *ns, enum data_dir dir,
		       struct stage_account *ret);

/* subsystem.c: an I/O failed as it does when a drive goes away. Any thread. */
void target_tell_trouble(struct target *t);

struct subsystem *subsystem_find(struct target *t, const char *nqn);
bool subsystem_on_port(const struct subsystem *s, const struct config_port *port);
bool subsystem_allows(const struct subsystem *s, const char *hostnqn);
struct namespace *subsystem_namespace(const struct subsystem *s, uint32_t nsid);

static inline struct reactor *control_reactor(const struct target *t)
{
	return t->reactors->r[0];
}

static inline struct ns_shard *shard_of(const struct nvmf_req *req)
{
	return &req->ns->shard[req->queue->reactor->opts.index];
}

static inline bool is_admin(const struct nvmf_queue *q)
{
	return q->qid == 0;
}

/* A field of a fixed width, filled with spaces: the ASCII strings of Identify and discovery. */
static inline void put_padded(char *to, size_t width, const char *text, char pad)
{
	size_t i = 0;

	for (; i < width && text[i]; i++)
		to[i] = text[i];
	for (; i < width; i++)
		to[i] = pad;
}

#endif
