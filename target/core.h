/*
 * core: the structs this room shares between its files. See target.h for what the room does.
 */
#ifndef TARGET_CORE_H
#define TARGET_CORE_H

#include "target/account.h"
#include "target/admin.h"
#include "target/ana.h"
#include "target/backend.h"
#include "target/restart.h"
#include "target/resv_commands.h"
#include "target/target.h"
#include "target/worker.h"

#include <uuid.h>

#define ADMIN_QUEUE_DEPTH 32              /* the least an admin queue has: Base 2.1, 6.3 */
#define IO_QUEUES_MAX     IO_QUEUE_ID_MAX /* per controller */
#define AER_MAX           8               /* AERL + 1 */
#define CNTLID_MAX        0xffef          /* Base 2.1, 3.1.3 */
#define NVME_VERSION      0x20100         /* 2.1.0 */
#define KAS_100MS         10              /* keep alive granularity: 1 s */
#define DISCOVERY_IDLE_S  120             /* without keep alive: Base 2.1, 3.1.3.3 */
#define CAP_TIMEOUT_500MS 30

/*
 * reactor-local: a namespace as one reactor uses it
 *
 * Commands on it are counted in one of two phases. To wait for all that are in flight, the phase is
 * switched and the former one's count falls to 0: see namespace_drain().
 */
struct ns_shard {
	struct stage_client stage;
	struct stage_account account[2]; /* [dir - 1] */
	uint32_t failed; /* atomic: CMBs that an I/O failed in; the control thread takes them */
	uint32_t in_flight[2]; /* atomic: others look on */
	uint8_t phase;
	bool draining;                /* in_flight[!phase] falls to 0: tell */
	bool write_protected;         /* a copy of the namespace's */
	uint64_t resv_conflicts;      /* commands that a reservation refused */
	struct range_lock *lock;      /* NULL: no blocks are locked */
	const struct resv_view *resv; /* NULL: nobody holds a reservation */
	struct nvmf_req_list parked;  /* commands that wait for the lock */
	struct message drained;
	struct namespace *ns;
} __attribute__((aligned(64)));

struct range_lock;
struct work;
struct works;

/* control thread: who waits until the commands that are in flight on a namespace have ended */
struct drain {
	void (*done)(struct drain *d);
	struct nvmf_req *but; /* this one is not waited for: it waits itself; may be NULL */
	STAILQ_ENTRY(drain) entry;
};

/*
 * Blocks that only their owner may change: range_lock.c. Control thread.
 */
struct range_lock {
	struct namespace *ns;
	uint64_t slba, nlb;
	struct nvmf_req *owner; /* for whoever locks */
	bool keeps_nobody_out;  /* it is held after other locks, and that is all */
	/* The blocks are locked, and no command that was there before is in flight any more. */
	void (*held)(struct range_lock *l);
	struct message message; /* for whoever locks */
	/* private: */
	struct drain drain;
	STAILQ_ENTRY(range_lock) entry;
};

struct namespace_ids {
	uuid_t uuid;
	uint8_t nguid[16], eui64[8]; /* all zeros: none */
};

/* Control thread, but for the shards. Its address stays. What reactors look at changes by message
 * only. */
struct namespace
{
	const struct config_namespace *conf;
	struct target *target;
	struct subsystem *subsys;
	uint32_t nsid;
	struct backend *backend;
	uint64_t nlb; /* atomic: a device may be resized */
	uint8_t lba_shift;
	uint8_t csi; /* I/O command set: Base 2.1, 1.5.60 */
	struct namespace_ids ids;
	bool write_protected;                                /* see protect.c */
	STAILQ_HEAD(protecting_list, protecting) protecting; /* the first one is under way */
	struct health health;
	struct stage_target stage;
	uint8_t ana_group;      /* as configured, or ANA_GROUP_LOST */
	int scratch_fd;         /* -1: none */
	struct ns_shard *shard; /* [reactor] */
	struct ns_reservation *resv;
	STAILQ_HEAD(drain_list, drain) drains; /* the first one is under way */
	unsigned int draining_shards;
	STAILQ_HEAD(lock_list, range_lock) locks; /* the first one is held, or about to be */
	bool changed;                             /* hosts are told so by the next target_remap() */
	/* on its way out: reload.c */
	STAILQ_ENTRY(namespace) gone_entry;
	struct drain retire;
	struct range_lock retire_lock;
};

STAILQ_HEAD(namespace_list, namespace);

/* immutable: the namespaces that a controller's host sees, by nsid */
struct ns_map {
	uint32_t n; /* entries: the largest nsid + 1 */
	struct ns_map_entry {
		struct namespace *ns; /* NULL: none there */
		uint16_t path_status; /* what commands are answered with on this path; NVME_OK */
		uint8_t ana_group;
		uint8_t ana_state; /* enum config_ana */
	} entry[];
};

struct subsystem {
	struct target *target;
	const struct config_subsystem *conf; /* NULL: the discovery subsystem */
	const char *nqn;
	struct passthru *passthru; /* NULL: its namespaces are block devices and files */
	bool discovery;
	bool dying; /* not in the configuration any more; goes with the last of its own */
	unsigned int nretiring; /* namespaces on their way out */
	char serial[CONFIG_SERIAL_MAX + 1];
	struct namespace **namespaces; /* ascending nsid */
	size_t nnamespaces;
	struct ana_ports ana; /* of each port; none of the discovery subsystem's */
	LIST_HEAD(controller_list, controller) controllers;
	uint64_t ncreated; /* controllers, ever */
};

/* control thread: admin queues are served there, and I/O queues come and go by message */
struct controller {
	struct target *target;
	struct subsystem *subsys;
	uint16_t cntlid;
	uint16_t port_id; /* where its admin queue came in */
	uint8_t part;     /* of each drive's staging memory, see nvmf_queue_part() */
	struct restart_key key;
	struct ana_counts ana;
	char hostnqn[CONFIG_NQN_MAX + 1];
	uint8_t hostid[16];
	char address[64];        /* where its admin queue came from */
	uint32_t in_capsule_len; /* what IOCCSZ says: data or SGL descriptors behind the SQE */
	/* properties */
	uint32_t cc, csts;
	bool settled;   /* the host sent an AER: it is through with its way in, as far as we can
			 * tell */
	bool resetting; /* CC.EN went to 0; RDY follows when the last I/O queue is gone */
	/* keep alive: any command since the last look counts (CTRATT.TBKAS), see nvmf_queue.alive
	 */
	uint32_t kato_ms;
	ev_timer kato_timer;
	/* features */
	uint32_t aec;
	uint16_t nqueues; /* I/O queues granted */
	/* async events: bits of enum nvme_event */
	struct nvmf_req_list aers;
	unsigned int naers;
	uint32_t events_pending; /* to be told when there is an AER */
	uint32_t events_masked;  /* told; not again until the host has read the log page */
	/* discovery controllers: the log page as the host sees it */
	struct nvmf_disc_log_entry *entries;
	size_t nentries;
	uint64_t genctr;
	uint64_t changed_ns[CONFIG_NSID_MAX / 64 + 1]; /* bits by nsid: log page 04h */
	struct resv_log resv_log;                      /* log page 80h */
	struct error_log errors;
	struct settings settings;
	unsigned int naborts;              /* under way */
	struct ns_map *map;                /* as all its queues have it */
	struct ns_map *old_map, *next_map; /* within target_remap() only */
	/* queues */
	struct nvmf_queue *admin;
	LIST_HEAD(nvmf_queue_list, nvmf_queue) queues; /* I/O queues */
	struct nvmf_queue *io[IO_QUEUES_MAX + 1];
	unsigned int refs; /* queues of any kind */
	LIST_ENTRY(controller) entry;
};

/* A host that was refused, so that the log says it once. */
struct refused {
	char hostnqn[CONFIG_NQN_MAX + 1];
	char address[64];
};
#define REFUSED_MAX 64

struct target {
	const struct config *conf; /* control thread: a reload replaces it */
	const struct topology *topo;
	const struct reactors *reactors;
	void (*trouble)(void *arg); /* may be NULL */
	void *trouble_arg;
	struct message trouble_message;
	ev_timer remap_timer; /* without memory for new maps: the next try */
	bool trouble_posted;  /* atomic */
	bool stopping;        /* atomic: controllers that end now shall be found after a restart */
	struct subsystem **subsystems; /* [0] is discovery */
	size_t nsubsystems;
	uint32_t mdts_len; /* bytes */
	struct works *works[REACTORS_MAX];
	struct reactor_account *account; /* [reactor] */
	struct target_events events;
	struct health_desk health;
	uint64_t discovery_genctr; /* of controllers to come; see discovery.c */
	uint16_t next_cntlid;
	/* after a reload: former configurations that are in use, and by what */
	struct config **old_confs;
	size_t nold_confs;
	unsigned int nretiring;     /* namespaces and subsystems that are going away */
	struct namespace_list gone; /* of these, what may be in a map still */
	bool maps_are_old;          /* hosts have maps that do not agree with the configuration */
	ev_timer gone_timer;        /* without memory for new maps: the next try */
	struct refused refused[REFUSED_MAX];
	unsigned int next_refused;
	struct restart restart;
	struct worker *worker; /* NULL: not needed yet */
	uint32_t auth_seqnum;  /* of authentication; 0: none yet */
	struct controller *by_cntlid[CNTLID_MAX + 1];
};

/* ---- command table: command.c ---------------------------------------------------------------- */

enum {
	CMD_NEEDS_NS = 1 << 0,  /* nsid must name an active namespace */
	CMD_DISCOVERY = 1 << 1, /* a discovery controller has it too */
	CMD_BEFORE_EN = 1 << 2, /* allowed while CC.EN is 0 */
	CMD_NO_CTRL = 1 << 3,   /* allowed before Connect */
	CMD_CPU_DATA = 1 << 4,  /* the CPU reads or makes the payload: host memory */
	CMD_WRITES = 1 << 5,    /* changes blocks: waits while they are locked */
	CMD_AUTH = 1 << 6,      /* allowed on a queue that must authenticate first */
	/* groups of commands that reservations allow or not: Base 2.1, 8.1.22 */
	CMD_RESV_READ = 1 << 7,
	CMD_RESV_WRITE = 1 << 8,
	CMD_EXCESS_OK = 1 << 9, /* the SGL may be longer than the payload */
};

/* Commands Supported and Effects data structure: Base 5.1.12.1.6 */
enum {
	FX_CSUPP = 1 << 0,
	FX_LBCC = 1 << 1,
	FX_NCC = 1 << 2,       /* namespace capabilities */
	FX_SCOPE_NS = 1 << 20, /* log page 05h; of features too, log page 12h */
	FX_SCOPE_CTRL = 1 << 21,
};

struct command {
	const char *name;
	enum data_dir dir;
	uint16_t flags;
	uint32_t effects;
	/* Bytes of payload; also checks the fields that decide it. NULL: none. */
	uint16_t (*length)(struct nvmf_req *req, uint32_t *ret_len);
	void (*execute)(struct nvmf_req *req);
};

extern const struct command admin_commands[256];
extern const struct command io_commands[256];
extern const struct command fabrics_commands[256];
extern const struct command passthru_admin_commands[256]; /* passthru_command.c */
extern const struct command passthru_io_commands[256];

/* Answer of a command that will be completed later. No status of NVMe (Base 4.2.3: 15 bits). */
#define NVME_LATER 0xffff

/* command.c: have @fn run in the control thread, and complete @req, in its own reactor, with the
 * status it returns; NVME_LATER: nvmf_req_answer() does it. */
void nvmf_req_in_control(struct nvmf_req *req, uint16_t (*fn)(struct nvmf_req *req));

/* command.c: may this command use its namespace, as things are now? Reactor-local. */
uint16_t nvmf_req_gate(const struct nvmf_req *req);

/* command.c: from here on, whoever drains the namespace waits for this command; until the transport
 * is done with it, because its staging memory is accounted to the namespace. */
void nvmf_req_count(struct nvmf_req *req);

/* command.c: who drains the namespace need not wait for this command any more. */
void nvmf_req_uncount(struct nvmf_req *req);

/* command.c: complete a request of any reactor. Control thread. */
void nvmf_req_answer(struct nvmf_req *req, uint16_t status);

/* ---- asynchronous events: aer.c -----------------------------------------------------------------
 */

enum nvme_event {
	EVENT_NS_CHANGED,
	EVENT_ANA_CHANGED,
	EVENT_DISCOVERY_CHANGED,
	EVENT_RESERVATION,
	EVENT_SMART_RELIABILITY,
	EVENT_SMART_TEMPERATURE,
	EVENT_SMART_SPARE,
	NVME_NEVENTS,
};

/* Tell the host, if it wants to know and was not told since it read the log page last. Control
 * thread, as all of these. */
void controller_event(struct controller *c, enum nvme_event event);
void subsystem_event(struct subsystem *s, enum nvme_event event);
/* A namespace of this controller came, went or changed. */
void controller_ns_changed(struct controller *c, uint32_t nsid);
/* The log page @lid was read, without RAE: what it tells about may be told again. */
void events_unmask(struct controller *c, uint8_t lid);
/* A controller reset: nothing is pending or masked, AERs are answered with @status. */
void events_reset(struct controller *c, uint16_t status);
/* Bits of Asynchronous Event Configuration that this controller knows: what OAES says, and the
 * SMART warnings. */
uint32_t events_supported(const struct controller *c);

/* ---- namespaces: namespace.c, ns_map.c ----------------------------------------------------------
 */

#define FOR_EACH_SUBSYSTEM(t, s)                                                                   \
	for (size_t i_##s = 0; i_##s < (t)->nsubsystems && ((s) = (t)->subsystems[i_##s]); i_##s++)

#define FOR_EACH_NAMESPACE(s, ns)                                                                  \
	for (size_t i_##ns = 0; i_##ns < (s)->nnamespaces && ((ns) = (s)->namespaces[i_##ns]);     \
	     i_##ns++)

/* Open the device, prove its staging. On failure @diag says why. */
__attribute__((warn_unused_result)) int namespace_open(struct target *t, struct subsystem *s,
						       const struct config_namespace *conf,
						       struct namespace **ret_ns,
						       struct config_diag *diag);
/* Its configuration, which may differ in all but nsid, device, polled and scratch. */
void namespace_set_conf(struct target *t, struct namespace *ns,
			const struct config_namespace *conf);
/* The same on @backend, which the namespace takes, also on failure. */
__attribute__((warn_unused_result)) int namespace_create(struct target *t, struct subsystem *s,
							 const struct config_namespace *conf,
							 struct backend *backend,
							 struct namespace **ret_ns,
							 struct config_diag *diag);
/* Nothing may be in flight on it. NULL is fine. */
void namespace_close(struct namespace *ns);
/* Give every reactor its copy of what the proofs found. */
void target_publish_views(struct target *t);
/* The control thread's message of trouble with an I/O. */
void target_on_trouble_message(struct message *m);

/* The name of the file in state_dir that keeps @what of a namespace: by subsystem and nsid,
 * whatever characters the NQN has. */
struct state_file {
	char text[64];
};
struct state_file namespace_state_file(const struct namespace *ns, const char *what);

/* subsystem.c: a stable UUID of a name of ours */
void derive_uuid(const char *name, uuid_t ret);

/* Call @d->done(), in the control thread, when every command that is in flight on @ns now has
 * ended. Those that come later are not waited for. */
void namespace_drain(struct namespace *ns, struct drain *d);

/* Put the namespace into its ANA group: the configured one, or that of the lost. target_remap() is
 * to follow. Return: it was in another. */
bool namespace_regroup(struct namespace *ns);

/* An I/O on a block device ended with @status (NVME_OK too): complete @req with it, or, if it turns
 * out that the device is gone, with the path's status. The request's reactor. */
void io_ended(struct nvmf_req *req, uint16_t status);

/* The message that a shard's former phase is over. */
void namespace_shard_drained(struct message *m);

/* range_lock.c: control thread. */

/* Have @l->held() called when the blocks are locked; in the order of asking. */
void range_lock(struct range_lock *l);
/* No more. Commands that waited go on. */
void range_unlock(struct range_lock *l);
/* Must this command that writes wait? Reactor-local. */
bool range_locked(const struct nvmf_req *req);
/* Then let it wait: it is executed when the lock is gone. Reactor-local. */
void range_park(struct nvmf_req *req);

/* fused.c: reactor-local. The status of a command's check, where it or the one before is fused. */
uint16_t fused_check(struct nvmf_req *req, uint16_t status);
/* Execute one half, now or when the other has arrived. */
void fused_execute(struct nvmf_req *req);
/* This half is about to be answered: unlink it. Return: the other, if it is there still. */
struct nvmf_req *fused_ended(struct nvmf_req *req);
/* The first half was answered with @status: run the second, or end it too. */
void fused_go_on(struct nvmf_req *partner, uint16_t status);
/* The queue closes: nobody will come for the halves that wait. */
void fused_close(struct nvmf_queue *q);

/* The map for @c as things are; NULL: no memory. */
struct ns_map *ns_map_create(const struct controller *c);
/* Namespaces, access or ANA states changed: every controller's queues get new maps, and hosts are
 * told which namespaces came, went or changed. Nobody uses an old map when this returns, but
 * requests in flight keep their namespaces. 0, or -ENOMEM: all have their old ones still, and it is
 * tried again until there is memory. */
__attribute__((warn_unused_result)) int target_remap(struct target *t);
/* Is it about to be tried again? */
bool target_remap_is_late(const struct target *t);
/* Try no more. */
void target_stop_remapping(struct target *t);

static inline const struct ns_map_entry *ns_map_find(const struct ns_map *map, uint32_t nsid)
{
	return nsid < map->n && map->entry[nsid].ns ? &map->entry[nsid] : NULL;
}

static inline uint64_t ns_nlb(const struct namespace *ns)
{
	return __atomic_load_n(&ns->nlb, __ATOMIC_RELAXED);
}

/* Was its device ever there? Until then nothing is known of it, and no host sees it. */
static inline bool namespace_present(const struct namespace *ns)
{
	return ns_nlb(ns) > 0;
}

/* ---- the chapters -----------------------------------------------------------------------------
 */

uint16_t connect_length(struct nvmf_req *req, uint32_t *ret_len);
void connect_execute(struct nvmf_req *req);
void connect_finish(struct nvmf_req *req);
void disconnect_execute(struct nvmf_req *req);
void property_get(struct nvmf_req *req);
void property_set(struct nvmf_req *req);
uint16_t auth_length(struct nvmf_req *req, uint32_t *ret_len);
void auth_execute(struct nvmf_req *req);

/* The controller's data structure for any kind of subsystem; @buf is zeroed. */
uint16_t identify_controller(struct nvmf_req *req, void *buf);
uint16_t identify_length(struct nvmf_req *req, uint32_t *ret_len);
void identify_execute(struct nvmf_req *req);
uint16_t log_page_length(struct nvmf_req *req, uint32_t *ret_len);
void log_page_execute(struct nvmf_req *req);
uint16_t get_features_length(struct nvmf_req *req, uint32_t *ret_len);
uint16_t set_features_length(struct nvmf_req *req, uint32_t *ret_len);
void get_features(struct nvmf_req *req);
void set_features(struct nvmf_req *req);

/* io.c, io_steps.c */
uint16_t check_range(const struct namespace *ns, uint64_t slba, uint64_t nlb);
uint16_t rw_length(struct nvmf_req *req, uint32_t *ret_len);
uint16_t write_length(struct nvmf_req *req, uint32_t *ret_len);
uint16_t no_data_length(struct nvmf_req *req, uint32_t *ret_len);
uint16_t dsm_length(struct nvmf_req *req, uint32_t *ret_len);
uint16_t copy_length(struct nvmf_req *req, uint32_t *ret_len);
void read_execute(struct nvmf_req *req);
void write_execute(struct nvmf_req *req);
void flush_execute(struct nvmf_req *req);
void compare_execute(struct nvmf_req *req);
void verify_execute(struct nvmf_req *req);
void write_zeroes_execute(struct nvmf_req *req);
void dsm_execute(struct nvmf_req *req);
void copy_execute(struct nvmf_req *req);

/* io_steps.c: what a reactor has for commands that take several I/Os. Control thread. */
__attribute__((warn_unused_result)) int works_create(struct works **ret_works);
void works_destroy(struct works *all);
/* Commands that wait for a buffer. Reactor-local. */
struct nvmf_req_list *works_waiting(struct works *all);

/* Limits that Identify tells: NVM 1.1, 4.1.5.1 (MSSRL, MCL, MSRC), Base 5.1.13.2.1 (ACWU) */
#define COPY_RANGE_BLOCKS_MAX 32768
#define COPY_BLOCKS_MAX       131072
#define COPY_RANGES_MAX_Z     127
#define FUSED_BLOCKS_MAX      128

/* Most I/O commands have these in the same place. */
static inline uint64_t slba_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw10) | (uint64_t)get32(req->sqe->cdw11) << 32;
}

static inline bool fua_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw12) >> 30 & 1;
}

static inline uint32_t nlb_of(const struct nvmf_req *req)
{
	return (get32(req->sqe->cdw12) & 0xffff) + 1;
}

/* discovery.c: of a discovery controller, what its host sees now: 0 or -ENOMEM */
__attribute__((warn_unused_result)) int discovery_init(struct controller *c);
void discovery_fini(struct controller *c);
/* The counter of a change is on the disk: controllers look, and tell their hosts. */
void target_discovery_kept(struct target *t);
/* The log page, allocated; NULL: no memory. @port_local: PLEO, only the entries of its own port. */
void *discovery_log(const struct controller *c, bool port_local, size_t *ret_len);

/* controller.c */
/* @cntlid: 0: any that is free. Return: 0, -ENOMEM, or -EBUSY: none, or not this one, is free. */
__attribute__((warn_unused_result)) int controller_create(struct subsystem *s,
							  struct nvmf_queue *admin,
							  const char *hostnqn,
							  const uint8_t hostid[16], uint16_t cntlid,
							  struct controller **ret_ctrl);
void controller_put(struct controller *c);
void controller_start_keep_alive(struct controller *c, uint32_t kato_ms);
void controller_disconnect(struct controller *c);
void controller_leave(struct controller *c); /* nvmf_queue_leave() all of it */
void async_event_request(struct nvmf_req *req);
void keep_alive(struct nvmf_req *req);

/* authenticate.c: a Connect command of host @hostnqn to @s is about to be accepted. *@ret_required:
 * the host has to authenticate; then auth_begin() follows. Control thread. Return: 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int auth_prepare(struct nvmf_queue *q,
						     const struct subsystem *s, const char *hostnqn,
						     bool *ret_required);
/* The queue is bound to its controller, and its host must authenticate before anything else; the
 * names as the Connect command has them. */
void auth_begin(struct nvmf_queue *q, const char *hostnqn, const char *subnqn);
/* The queue goes away. */
void auth_end(struct nvmf_queue *q);
/* Hosts may have got keys: those that never authenticated are disconnected. Control thread. */
void auth_enforce(struct target *t);

/* connect.c: an I/O queue of the controller is gone: if that was the last, a reset is over. */
void io_queue_gone(struct controller *c);

/* io.c: an I/O on the payload in a CMB ended with the negative errno @err. True: it is done again,
 * in host memory; false: complete the command. */
bool io_retry_in_host_memory(struct nvmf_req *req, int err);

/* account.c: sums of all reactors. Control thread, where namespaces come and go. */
void namespace_account(const struct target *t, const struct namespace *ns, enum data_dir dir,
		       struct stage_account *ret);
/* Commands of any kind that are in flight on it now. */
uint32_t namespace_in_flight(const struct target *t, const struct namespace *ns);
/* Commands that its reservations refused. */
uint64_t namespace_resv_conflicts(const struct target *t, const struct namespace *ns);
uint64_t target_commands(const struct target *t, enum queue_kind kind, uint8_t opcode);
/* @status: type and code, without DNR and the like. */
uint64_t target_failures(const struct target *t, uint16_t status);

/* subsystem.c: the worker is there from the first time on. Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int target_start_worker(struct target *t);

/* subsystem.c: an I/O failed as it does when a drive goes away. Any thread. */
void target_tell_trouble(struct target *t);

/* reload.c: give hosts the maps that a reload owes them, and let go of removed namespaces. False:
 * no memory, tried again soon. */
bool target_let_go(struct target *t);

/* Not in the target's list yet; without a configuration, the discovery subsystem. */
struct subsystem *subsystem_create(struct target *t, const struct config_subsystem *conf);
/* Without its controllers and its namespaces, which are gone. NULL is fine. */
void subsystem_free(struct subsystem *s);
/* The discovery subsystem's name, as @conf has it. */
void discovery_set_name(struct subsystem *s, const struct config *conf);
void subsystem_set_conf(struct subsystem *s, const struct config_subsystem *conf);
struct subsystem *subsystem_find(struct target *t, const char *nqn);
bool subsystem_on_port(const struct subsystem *s, uint16_t port_id);
/* A controller or a namespace of it is gone: if it is dying and that was the last, it goes too. */
void subsystem_end_if_unused(struct subsystem *s);
/* I/O queues that a controller of it has at most */
uint16_t max_queues(const struct subsystem *s);
bool subsystem_is_static(const struct subsystem *s);
/* Is it a controller passed through that is not there yet? No host may connect till then. */
bool subsystem_waits(const struct subsystem *s);
/* Then look for it. Return: it is there, and has its namespaces. */
bool subsystem_open_passthru(struct subsystem *s);
bool subsystem_allows(const struct subsystem *s, const char *hostnqn);
struct namespace *subsystem_namespace(const struct subsystem *s, uint32_t nsid);
bool namespace_shows(const struct namespace *ns, const char *hostnqn);

static inline struct nvmf_req *req_of(struct message *m)
{
	return (void *)((uint8_t *)m - offsetof(struct nvmf_req, message));
}

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
