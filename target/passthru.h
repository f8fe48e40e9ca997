/*
 * passthru: a subsystem that is one NVMe controller of this machine.
 *
 * I/O commands go to the drive as they are, by io_uring command on /dev/ngXnY; their payload is
 * staged in CMB as on any backend. What the drive says of itself is passed on, except what fabrics
 * must say: those fields are ours. Admin commands that change what the drive's owner relies on are
 * refused; what is passed runs in a thread of its own, because an ioctl blocks.
 *
 *      host -- I/O queue ----> passthru_io_commands ----> the reactor's wide ring --> /dev/ngXnY
 *           -- admin queue --> passthru_admin_commands -> worker thread ------------> /dev/nvmeX
 *                                    '-- what is about the fabrics controller: admin_commands
 */
#ifndef TARGET_PASSTHRU_H
#define TARGET_PASSTHRU_H

#include "target/core.h"

#include <libnvme.h>

/* I/O command sets whose namespaces are passed through. */
enum passthru_set { PASSTHRU_NVM, PASSTHRU_ZNS, PASSTHRU_NSETS };

/* Control thread, but what says otherwise. */
struct passthru {
	struct target *target;
	struct subsystem *subsys;
	bool vendor;            /* immutable, as the three below */
	uint32_t mdts_len;      /* bytes: of the drive, the kernel and us the least */
	struct nvme_id_ctrl id; /* as the drive answered */
	struct nvme_cmd_effects_log effects[PASSTHRU_NSETS]; /* of it what is passed on */
	char address[64]; /* of its PCI function; "": it has none */
	/* The worker's; the descriptor's number stays while the drive is away. */
	int fd;
	pthread_t worker;
	bool has_worker;
	pthread_mutex_t lock; /* of the two below */
	pthread_cond_t wake;
	struct nvmf_req_list jobs;
	bool quitting;
};

/* One of its namespaces. */
struct passthru_ns {
	struct backend backend; /* first; info.fd is the block device, claimed, for proofs */
	struct passthru *controller;
	/* What namespace.c wants to know; the next one by turns, for it tells a change by the
	 * address. */
	struct config_namespace conf[2];
	unsigned int turn;
	char device[32]; /* "/dev/ng0n1" */
	int fd;          /* of it */
	unsigned int char_major, char_minor;
	enum passthru_set set;
	uint32_t zone_extension_len; /* bytes of a zone descriptor extension; 0: none */
};

static inline struct passthru_ns *passthru_ns_of(const struct namespace *ns)
{
	return (struct passthru_ns *)ns->backend;
}

/* ---- backend_passthru.c -----------------------------------------------------------------------
 */

/** passthru_open() - open the controller that @s->conf names and all namespaces of it that can be
 * passed through. Sets @s->passthru; the namespaces are the caller's. Blocks. On failure @diag says
 * why, and nothing is left open. */
__attribute__((warn_unused_result)) int passthru_open(struct target *t, struct subsystem *s,
						      struct namespace ***ret_namespaces,
						      size_t *ret_n, struct config_diag *diag);

/** passthru_namespace_conf() - what the configuration of @ns is, after that of its subsystem has
 * changed: at another address if it differs. */
const struct config_namespace *passthru_namespace_conf(const struct namespace *ns);

/** passthru_close() - its namespaces are closed, no request is left. NULL is fine. */
void passthru_close(struct passthru *p);

/** passthru_submit() - have the worker run @req on the drive and post @req->message, whose run is
 * set, to the control thread; @req->status and dw0 of @req->cqe are the drive's answer. Data that
 * the drive does not deliver is zeros. Control thread. */
void passthru_submit(struct passthru *p, struct nvmf_req *req);

/* The devices of one namespace, from the name that sysfs has for it below controller number
 * @controller: "nvme0n1", or "nvme0c1n1" for a path to a multipath namespace. */
struct passthru_names {
	char block[32], generic[32];
};
bool passthru_names(const char *entry, unsigned int controller, struct passthru_names *ret);

/* ---- passthru_command.c -----------------------------------------------------------------------
 */

/* The status that the host sees for one of the drive: what is about the drive's own queues, memory
 * or paths becomes a status of ours, without DNR. */
uint16_t passthru_status(uint16_t status);

/* What the errno of an ioctl or of an io_uring command means to the host. */
uint16_t passthru_error(int err);

/* ---- passthru_identify.c: pure ----------------------------------------------------------------
 */

/** passthru_identify_controller() - @ours is filled as for any subsystem; put in what is the
 * drive's. A serial and a model that are configured stay. */
void passthru_identify_controller(struct nvme_id_ctrl *ours, const struct passthru *p,
				  const struct nvme_id_ctrl *drive);

/** passthru_identify_namespace() - @id is the drive's; without what is not passed on. */
void passthru_identify_namespace(struct nvme_id_ns *id);
void passthru_identify_independent(struct nvme_id_independent_id_ns *id);

/** passthru_identify_zns() - no append may be larger than we transfer. */
void passthru_identify_zns(struct nvme_zns_id_ctrl *id, uint32_t mdts_len);

/** passthru_filter_effects() - of what the drive's log has for command set @set, what is passed on;
 * @log is NULL where the drive has none: then what is mandatory, and what @oncs says. Our own admin
 * commands are added. */
void passthru_filter_effects(struct nvme_cmd_effects_log *ret,
			     const struct nvme_cmd_effects_log *log, enum passthru_set set,
			     uint16_t oncs, bool vendor);

/** passthru_oncs() - of the drive's ONCS, what is passed on. */
uint16_t passthru_oncs(uint16_t oncs);

/** passthru_mdts() - the largest power of two that fits all limits, in bytes, 4 KiB at least. The
 * drive's limits as its queue has them: bytes, and segments of a page each; 0: no limit. */
uint32_t passthru_mdts(uint32_t ours, uint64_t hw_bytes, uint32_t segments);

#endif
