/*
 * admin: what the admin commands keep: a controller's error log and settings, the health of the
 * drives. Control thread, but where it is said otherwise. core.h embeds these.
 */
#ifndef TARGET_ADMIN_H
#define TARGET_ADMIN_H

#include "target/target.h"

struct controller;
struct nvme_smart_log;

/* ---- error log: error_log.c -------------------------------------------------------------------
 */

#define ERROR_LOG_ENTRIES 64 /* ELPE + 1 */

/* A ring. Some errors are only counted: in a crowd that was not taken fast enough. */
struct error_log {
	uint64_t count, written;
	struct error_record record[ERROR_LOG_ENTRIES];
};

/* This command ends with @status: tell the error log of its controller. In the queue's reactor.
 * Return: the status to answer with, which says if the log knows more. */
uint16_t error_note(struct nvmf_req *req, uint16_t status);
/* What the queue's reactor told is in the log when this returns. */
void error_fifo_read(struct nvmf_queue *q);
/* Log page 01h, allocated; NULL: no memory */
void *error_page(struct nvmf_req *req, size_t *ret_len);

/* A refusal for the field at @byte (and @bit in it) of the SQE: the error log tells where. */
static inline uint16_t invalid_field(struct nvmf_req *req, unsigned int byte, unsigned int bit)
{
	req->error_at = (uint16_t)(byte | bit << 8);
	return NVME_INVALID_FIELD | NVME_DNR;
}

/* First bytes of the SQE's fields */
enum { AT_NSID = 4, AT_CDW10 = 40, AT_CDW11 = 44, AT_CDW12 = 48, AT_CDW14 = 56 };

/* ---- health of the drives: health.c -------------------------------------------------------------
 *
 * A drive is asked for its SMART log by a thread of its own, because one that does not answer holds
 * up who asks it for up to a minute. What it said is good for a second.
 */

struct health_job;

#define TEMPERATURES 9 /* the composite one and eight sensors */

struct health {
	struct health_job *job; /* under way; NULL: none */
	struct nvme_smart_log *smart;
	uint64_t taken_ns;
};

/* of the target */
struct health_desk {
	LIST_HEAD(health_jobs, health_job) jobs;
	struct nvmf_req_list waiting; /* reads of the log page that wait for jobs */
	ev_timer deadline, poll;
};

void health_start(struct target *t);
/* Waits for the drives that are being asked. */
void health_stop(struct target *t);
/* The namespace goes away. */
void health_forget(struct namespace *ns);
/* Ask the drives that a read of the SMART log page is about, if it was long ago. True: some have
 * not answered yet, and log_page_answer() follows. */
bool health_ask(struct nvmf_req *req);
/* Log page 02h, of what is known, allocated; NULL: no memory */
void *health_page(struct nvmf_req *req, size_t *ret_len);
/* Thresholds changed: tell the host what is critical now, if it wants to know. */
void health_tell(struct controller *c);
/* Lowest temperatures, in Kelvin, at which a drive of this controller calls itself too warm, and
 * critically so. 0: none does. */
void health_limits(const struct controller *c, uint16_t *ret_warning, uint16_t *ret_critical);
/* Has any drive this sensor (1 to 8)? As it was when asked last. */
bool health_has_sensor(const struct controller *c, unsigned int sensor);

/* ---- settings: feature.c ------------------------------------------------------------------------
 */

struct settings {
	uint32_t atomicity;                    /* Write Atomicity Normal */
	uint16_t too_warm[TEMPERATURES];       /* Kelvin; 0: the default, what the drives say */
	uint16_t too_cold[TEMPERATURES];       /* 0: never */
	uint8_t warned;                        /* critical warnings that were there last */
	uint8_t acre;                          /* Host Behavior Support */
	bool time_set;                         /* by the host; else it counts from zero */
	uint64_t time_base_ms, time_origin_ms; /* host's time, at which time of ours */
};

/* All as after a reset; a Controller Level Reset does not keep them. */
void settings_reset(struct settings *s);
/* The threshold that is in force; 0: none. */
uint16_t settings_too_warm(const struct controller *c, unsigned int sensor);

/* protect.c: is the namespace, which nobody uses yet, write-protected since before? */
__attribute__((warn_unused_result)) int namespace_protect_open(struct namespace *ns,
							       struct config_diag *diag);

/* protect.c: write protection of a namespace changes to @on, for Set Features @req, which is
 * answered when it is in force and what was written before is on the medium. */
void namespace_protect(struct namespace *ns, bool on, struct nvmf_req *req);

/* ---- the rest ---------------------------------------------------------------------------------
 */

/* log_page.c, feature.c: what the tables call them; NULL: not there. For docs/conformance.md. */
const char *log_page_name(uint8_t lid);
const char *feature_name(uint8_t fid);

/* log_page.c: build the page and answer. */
void log_page_answer(struct nvmf_req *req);
/* feature.c: log page 12h */
void *feature_effects_page(struct nvmf_req *req, size_t *ret_len);
/* abort.c */
void abort_command(struct nvmf_req *req);

/* identify.c: what a form answers with; @buf is zeroed */
struct identify_form {
	const char *name;
	uint16_t (*build)(struct nvmf_req *req, void *buf);
	bool discovery;  /* a discovery controller has it too */
	bool not_passed; /* a subsystem that is passed through has it not */
};
extern const struct identify_form identify_forms[256];

#define IDENTIFY_LEN 4096

/* identify_ns.c */
uint16_t identify_namespace(struct nvmf_req *req, void *buf);
uint16_t identify_namespace_csi(struct nvmf_req *req, void *buf);
uint16_t identify_namespace_independent(struct nvmf_req *req, void *buf);
uint16_t identify_active_list(struct nvmf_req *req, void *buf);
uint16_t identify_active_list_csi(struct nvmf_req *req, void *buf);
uint16_t identify_descriptors(struct nvmf_req *req, void *buf);

#endif
