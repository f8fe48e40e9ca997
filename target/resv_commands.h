/*
 * resv_commands: reservations of namespaces, as hosts command them; what the state machine
 * (reservation.h) decides is made to last (reservation_file.h), made known to the reactors, and
 * told to the hosts. Control thread, but where it is said otherwise. core.h embeds these.
 */
#ifndef TARGET_RESV_COMMANDS_H
#define TARGET_RESV_COMMANDS_H

#include "target/reservation.h"

struct config_diag;
struct namespace;
struct ns_reservation;
struct nvmf_req;

/* Notifications that a controller's host has not read yet; the oldest are lost when there are too
 * many, and a gap in their counts tells so. */
#define RESV_LOG_MAX 64
struct resv_log {
	uint64_t count; /* of all notifications since the reset */
	unsigned int n; /* the newest n of them are here, at (number - 1) % RESV_LOG_MAX */
	struct {
		uint32_t nsid;
		uint8_t type; /* enum resv_note */
	} entry[RESV_LOG_MAX];
};

/* ns_reservation_open() - what persisted of @ns, whose conf, uuid and shards are set; else nothing.
 * On failure @diag names the file and says what to do. Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int ns_reservation_open(struct namespace *ns,
							    struct config_diag *diag);
/* Nothing may be in flight on it. What persists stays in its file. */
void ns_reservation_close(struct namespace *ns);
/* The namespace's UUID changed: so does the file's. */
void ns_reservation_rename(struct namespace *ns);

/* Does a reservation forbid this command? Reactor-local; @v is the shard's, not NULL. */
uint16_t resv_conflict(const struct nvmf_req *req, const struct resv_view *v);

/* The commands. Length functions check the fields too; in the queue's reactor. */
uint16_t resv_key_length(struct nvmf_req *req, uint32_t *ret_len);
uint16_t resv_keys_length(struct nvmf_req *req, uint32_t *ret_len);
uint16_t resv_report_length(struct nvmf_req *req, uint32_t *ret_len);
void resv_register_execute(struct nvmf_req *req);
void resv_acquire_execute(struct nvmf_req *req);
void resv_release_execute(struct nvmf_req *req);
void resv_report_execute(struct nvmf_req *req);

/* Log page 80h, allocated; NULL: no memory. What it tells is forgotten. */
void *resv_log_page(struct nvmf_req *req, size_t *ret_len);

/* Features 82h and 83h of the namespace that the command names; to set them, FFFFFFFFh names all.
 */
uint16_t resv_get_mask(struct nvmf_req *req, uint32_t *ret_dw0);
uint16_t resv_set_mask(struct nvmf_req *req);
uint16_t resv_get_persistence(struct nvmf_req *req, uint32_t *ret_dw0);
uint16_t resv_set_persistence(struct nvmf_req *req);

/* RESCAP of Identify Namespace: all six types, persistence, and IEKEY as since NVMe 1.3 */
#define RESV_RESCAP 0xff

#endif
