/* The commands that are passed through, and those that are not: Base 2.1, NVM 1.1, ZNS 1.2. */
#include "target/passthru.h"

#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <string.h>

/* ---- status ------------------------------------------------------------------------------------
 */

enum {
	STATUS_CODE = 0x7ff, /* SCT and SC */
	STATUS_TYPE = 0x700,
	STATUS_PATH = 0x300, /* SCT 3 */
	STATUS_INVALID_USE_OF_CMB = 0x012,
};

uint16_t passthru_status(uint16_t status)
{
	switch (status & STATUS_CODE) {
	case 0x003: /* Command ID Conflict */
	case 0x00d: /* SGLs and PRPs: the kernel made them, not the host */
	case NVME_SGL_COUNT_INVALID:
	case NVME_SGL_DATA_LENGTH_INVALID:
	case 0x010:
	case NVME_SGL_TYPE_INVALID:
	case STATUS_INVALID_USE_OF_CMB:
	case 0x013:
	case NVME_SGL_OFFSET_INVALID:
		return NVME_INTERNAL_ERROR;
	default:
		break;
	}
	/* between us and the drive: the kernel's own, or the drive's about its port */
	if ((status & STATUS_TYPE) == STATUS_PATH)
		return NVME_NS_NOT_READY;
	return status;
}

uint16_t passthru_error(int err)
{
	switch (-err) {
	case EOPNOTSUPP:
	case ENOTTY:
		return NVME_INVALID_OPCODE | NVME_DNR;
	case EACCES:
	case EPERM:
		return NVME_ACCESS_DENIED | NVME_DNR;
	case EINVAL: /* what the kernel does not pass on, however often it is asked */
		return NVME_INVALID_FIELD | NVME_DNR;
	case EAGAIN:
	case EINTR:
	case ENOMEM:
	case EBUSY:
	case ENODEV:
	case ENXIO:
	case ESHUTDOWN:
		return NVME_NS_NOT_READY;
	default:
		return NVME_INTERNAL_ERROR;
	}
}

/* ---- how much data an I/O command has ----------------------------------------------------------
 *
 * Of every command that is passed on it is known: a drive that moved more than we gave it room for
 * would write over somebody else's memory. So the I/O commands that a drive's vendor made are
 * refused.
 */

static uint16_t within(const struct nvmf_req *req, uint64_t len, uint32_t *ret_len)
{
	const struct passthru *p = req->queue->subsys->passthru;

	if (len > p->mdts_len)
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_len = (uint32_t)len;
	return NVME_OK;
}

/* NLB of Read, Write, Compare, Zone Append. */
static uint16_t blocks_length(struct nvmf_req *req, uint32_t *ret_len)
{
	uint64_t nlb = (get32(req->sqe->cdw12) & 0xffff) + UINT64_C(1);

	return within(req, nlb << req->ns->lba_shift, ret_len);
}

static uint16_t ranges_length(struct nvmf_req *req, uint32_t *ret_len)
{
	return within(req, ((get32(req->sqe->cdw10) & 0xff) + UINT64_C(1)) * 16, ret_len);
}

/* Formats 2 and up name other namespaces, which the host may not be allowed to see. */
static uint16_t copy_descriptors_length(struct nvmf_req *req, uint32_t *ret_len)
{
	static const uint8_t descriptor_len[] = { 32, 40 };
	uint32_t cdw12 = get32(req->sqe->cdw12), format = cdw12 >> 8 & 0xf;

	if (format >= sizeof(descriptor_len))
		return NVME_INVALID_FIELD | NVME_DNR;
	return within(req, ((cdw12 & 0xff) + UINT64_C(1)) * descriptor_len[format], ret_len);
}

static uint16_t reservation_16_length(struct nvmf_req *req, uint32_t *ret_len)
{
	(void)req;
	*ret_len = 16;
	return NVME_OK;
}

static uint16_t reservation_8_length(struct nvmf_req *req, uint32_t *ret_len)
{
	(void)req;
	*ret_len = 8;
	return NVME_OK;
}

static uint16_t report_length(struct nvmf_req *req, uint32_t *ret_len)
{
	return within(req, (get32(req->sqe->cdw10) + UINT64_C(1)) * 4, ret_len);
}

static uint16_t zone_report_length(struct nvmf_req *req, uint32_t *ret_len)
{
	return within(req, (get32(req->sqe->cdw12) + UINT64_C(1)) * 4, ret_len);
}

#define ZSA_SET_DESCRIPTOR_EXTENSION 0x10

static uint16_t zone_send_length(struct nvmf_req *req, uint32_t *ret_len)
{
	if ((get32(req->sqe->cdw13) & 0xff) != ZSA_SET_DESCRIPTOR_EXTENSION)
		return NVME_OK;
	*ret_len = passthru_ns_of(req->ns)->zone_extension_len;
	return *ret_len ? NVME_OK : NVME_INVALID_FIELD | NVME_DNR;
}

/* ---- I/O ---------------------------------------------------------------------------------------
 */

/* Only what says that the command did not begin: an append done again would be there twice. */
static bool again_in_host_memory(struct nvmf_req *req, int res)
{
	if (res == -EFAULT || res == -EINVAL || res == -EREMOTEIO)
		return io_retry_in_host_memory(req, res);
	/* QEMU's drives, of their own CMB, as soon as the pages need a list */
	if (res <= 0 || (res & STATUS_CODE) != STATUS_INVALID_USE_OF_CMB ||
	    !stage_is_cmb(req->place))
		return false;
	req->queue->ops->restage(req);
	return true;
}

static void io_done(struct wide_op *op, int res, uint64_t extra)
{
	struct nvmf_req *req = (void *)((uint8_t *)op - offsetof(struct nvmf_req, wide));

	if (again_in_host_memory(req, res))
		return;
	if (res == -ENODEV || res == -ENXIO || (res > 0 && (res & STATUS_TYPE) == STATUS_PATH))
		target_tell_trouble(req->queue->target);
	req->cqe.dw0 = put32((uint32_t)extra);
	req->cqe.dw1 = put32((uint32_t)(extra >> 32));
	io_ended(req, res < 0 ? passthru_error(res) : passthru_status((uint16_t)res));
}

static void submit_io(struct nvmf_req *req, const struct passthru_ns *ns)
{
	const struct nvme_sqe *from = req->sqe;
	struct io_uring_sqe *sqe = reactor_wide_sqe(req->queue->reactor, &req->wide);
	const struct nvme_uring_cmd cmd = {
		.opcode = from->opcode,
		.nsid = req->ns->nsid,
		.cdw2 = get32(from->cdw2),
		.cdw3 = get32(from->cdw3),
		.addr = req->len ? (uintptr_t)req->data : 0,
		.data_len = req->len,
		.cdw10 = get32(from->cdw10),
		.cdw11 = get32(from->cdw11),
		.cdw12 = get32(from->cdw12),
		.cdw13 = get32(from->cdw13),
		.cdw14 = get32(from->cdw14),
		.cdw15 = get32(from->cdw15),
	};

	req->wide.done = io_done;
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ns->fd;
	sqe->cmd_op = NVME_URING_CMD_IO;
	/* it lies in the second half of the wide SQE too */
	memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &cmd, sizeof(cmd));
}

static void io_execute(struct nvmf_req *req)
{
	const struct passthru_ns *ns = passthru_ns_of(req->ns);
	const struct nvme_cmd_effects_log *log = &ns->controller->effects[ns->set];

	if (!(le32toh(log->iocs[req->sqe->opcode]) & FX_CSUPP)) {
		nvmf_req_complete(req, NVME_INVALID_OPCODE | NVME_DNR);
	} else if (backend_lost(&ns->backend)) {
		nvmf_req_complete(req, NVME_PATH_INACCESSIBLE);
	} else {
		/* a drive may deliver less of a report than was asked for */
		if (req->cmd->flags & CMD_CPU_DATA)
			memset(req->data, 0, req->len);
		submit_io(req, ns);
	}
}

#define IO(name, dir, length)                                                                      \
	{                                                                                          \
		name, dir, CMD_NEEDS_NS, 0, length, io_execute                                     \
	}

/* The effects are the drive's: passthru.effects. */
const struct command passthru_io_commands[256] = {
	[0x00] = IO("flush", DATA_NONE, NULL),
	[0x01] = IO("write", DATA_H2C, blocks_length),
	[0x02] = IO("read", DATA_C2H, blocks_length),
	[0x04] = IO("write-uncorrectable", DATA_NONE, NULL),
	[0x05] = IO("compare", DATA_H2C, blocks_length),
	[0x08] = IO("write-zeroes", DATA_NONE, NULL),
	[0x09] = { "dataset-management", DATA_H2C, CMD_NEEDS_NS | CMD_EXCESS_OK, 0, ranges_length,
		   io_execute },
	[0x0c] = IO("verify", DATA_NONE, NULL),
	[0x0d] = IO("reservation-register", DATA_H2C, reservation_16_length),
	[0x0e] = { "reservation-report", DATA_C2H, CMD_NEEDS_NS | CMD_CPU_DATA, 0, report_length,
		   io_execute },
	[0x11] = IO("reservation-acquire", DATA_H2C, reservation_16_length),
	[0x15] = IO("reservation-release", DATA_H2C, reservation_8_length),
	[0x19] = IO("copy", DATA_H2C, copy_descriptors_length),
	[0x79] = IO("zone-management-send", DATA_H2C, zone_send_length),
	[0x7a] = { "zone-management-receive", DATA_C2H, CMD_NEEDS_NS | CMD_CPU_DATA, 0,
		   zone_report_length, io_execute },
	[0x7d] = IO("zone-append", DATA_H2C, blocks_length),
};

/* ---- admin commands: on the drive --------------------------------------------------------------
 */

static struct passthru *passthru_of(const struct nvmf_req *req)
{
	return req->queue->subsys->passthru;
}

static void drive_answered(struct message *m)
{
	struct nvmf_req *req = req_of(m);

	if (req->status == NVME_NS_NOT_READY)
		target_tell_trouble(req->queue->target);
	nvmf_req_complete(req, req->status);
}

static void ask_drive(struct nvmf_req *req, void (*answered)(struct message *m))
{
	uint32_t nsid = get32(req->sqe->nsid);

	if (nsid && nsid != UINT32_MAX && !ns_map_find(req->queue->ctrl->map, nsid)) {
		nvmf_req_complete(req, NVME_INVALID_NS | NVME_DNR);
		return;
	}
	req->message.run = answered;
	passthru_submit(passthru_of(req), req);
}

/* The length that the host's SGL says, for commands of which nothing else is known. */
static uint16_t vendor_length(struct nvmf_req *req, uint32_t *ret_len)
{
	const union nvme_sgl *sgl = &req->sqe->dptr;

	if (!passthru_of(req)->vendor)
		return NVME_INVALID_OPCODE | NVME_DNR;
	if ((req->sqe->opcode & 3) == 0)
		return NVME_OK;
	if (sgl->data.type >> 4 != SGL_KEYED_DATA_BLOCK)
		return NVME_SGL_TYPE_INVALID | NVME_DNR;
	return within(req,
		      sgl->keyed.len[0] | (uint32_t)sgl->keyed.len[1] << 8 |
			      (uint32_t)sgl->keyed.len[2] << 16,
		      ret_len);
}

static void vendor_execute(struct nvmf_req *req)
{
	ask_drive(req, drive_answered);
}

/* ---- Identify ----------------------------------------------------------------------------------
 */

static uint8_t csi_of(const struct nvmf_req *req)
{
	return (uint8_t)(get32(req->sqe->cdw11) >> 24);
}

/* Made by the drive's structure and ours. */
static void put_controller(struct nvmf_req *req)
{
	struct nvme_id_ctrl drive;

	memcpy(&drive, req->data, sizeof(drive));
	memset(req->data, 0, req->len);
	identify_controller(req, req->data);
	passthru_identify_controller((struct nvme_id_ctrl *)req->data, passthru_of(req), &drive);
}

/* The ANA group is ours. */
static le32 ana_group_of(const struct nvmf_req *req)
{
	const struct ns_map_entry *e = ns_map_find(req->queue->ctrl->map, get32(req->sqe->nsid));

	return put32(e ? e->ana_group : 0);
}

static void put_namespace(struct nvmf_req *req)
{
	const struct ns_map_entry *entry =
		ns_map_find(req->queue->ctrl->map, get32(req->sqe->nsid));
	struct nvme_id_ns *id = (struct nvme_id_ns *)req->data;

	passthru_identify_namespace(id);
	id->anagrpid = ana_group_of(req).raw;
	if (!entry) /* it went meanwhile */
		return;
	memcpy(id->nguid, entry->ns->ids.nguid, sizeof(id->nguid));
	memcpy(id->eui64, entry->ns->ids.eui64, sizeof(id->eui64));
}

static void put_independent(struct nvmf_req *req)
{
	struct nvme_id_independent_id_ns *id = (struct nvme_id_independent_id_ns *)req->data;

	passthru_identify_independent(id);
	id->anagrpid = ana_group_of(req).raw;
}

static void put_controller_csi(struct nvmf_req *req)
{
	if (csi_of(req) == NVME_CSI_ZNS)
		passthru_identify_zns((struct nvme_zns_id_ctrl *)req->data,
				      passthru_of(req)->mdts_len);
}

/* One combination of command sets that can be enabled: all that there are. */
static void put_command_sets(struct nvmf_req *req)
{
	le64 *combination = (le64 *)req->data;

	memset(req->data, 0, req->len);
	combination[0] = put64(1 << NVME_CSI_NVM | 1 << NVME_CSI_ZNS);
	nvmf_req_complete(req, NVME_OK);
}

#define CNS_COMMAND_SETS 0x1c

/* The forms that the drive answers; the others are ours. */
static const struct form {
	void (*put)(struct nvmf_req *req); /* on the drive's data */
	bool forwarded, names_ns, csi;     /* csi: of a command set */
} forms[256] = {
	[NVME_IDENTIFY_CNS_NS] = { put_namespace, true, true, false },
	[NVME_IDENTIFY_CNS_CTRL] = { put_controller, true, false, false },
	[NVME_IDENTIFY_CNS_CSI_NS] = { NULL, true, true, true },
	[NVME_IDENTIFY_CNS_CSI_CTRL] = { put_controller_csi, true, false, true },
	[0x08] = { put_independent, true, true, false },
};

static const struct form *form_of(const struct nvmf_req *req)
{
	return &forms[get32(req->sqe->cdw10) & 0xff];
}

static void identified(struct message *m)
{
	struct nvmf_req *req = req_of(m);
	uint16_t code = req->status & STATUS_CODE;

	/* a drive of an older version: what is the same for all of these we know too */
	if (code == NVME_INVALID_FIELD || code == NVME_INVALID_OPCODE) {
		identify_execute(req);
		return;
	}
	if (!req->status && form_of(req)->put)
		form_of(req)->put(req);
	drive_answered(m);
}

static void passthru_identify(struct nvmf_req *req)
{
	const struct form *form = form_of(req);
	uint32_t nsid = get32(req->sqe->nsid);
	bool known = csi_of(req) == NVME_CSI_NVM || csi_of(req) == NVME_CSI_ZNS;

	if ((get32(req->sqe->cdw10) & 0xff) == CNS_COMMAND_SETS)
		put_command_sets(req);
	else if (!form->forwarded)
		identify_execute(req);
	else if (form->csi && !known)
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
	else if (form->names_ns && !ns_map_find(req->queue->ctrl->map, nsid))
		identify_execute(req); /* none of ours: zeros, or an invalid number */
	else
		ask_drive(req, identified);
}

/* ---- Get Log Page ------------------------------------------------------------------------------
 */

enum { LOG_ZONE_CHANGES = 0xbf, LOG_VENDOR = 0xc0, LOG_RAE = 1 << 15 };

static const enum log_source {
	LOG_NONE,
	LOG_OURS,
	LOG_DRIVES
} log_sources[LOG_VENDOR] = {
	[0x00] = LOG_OURS,   /* supported log pages */
	[0x01] = LOG_DRIVES, /* error information */
	[0x02] = LOG_DRIVES, /* SMART / health */
	[0x03] = LOG_DRIVES, /* firmware slots */
	[0x04] = LOG_OURS,   /* changed namespaces */
	[0x05] = LOG_OURS,   /* commands supported and effects: the drive's, filtered */
	[0x0c] = LOG_OURS,   /* asymmetric namespace access */
	[0x80] = LOG_DRIVES, /* reservation notification */
	[LOG_ZONE_CHANGES] = LOG_DRIVES,
};

static enum log_source log_source(const struct passthru *p, uint8_t lid)
{
	if (lid >= LOG_VENDOR)
		return p->vendor ? LOG_DRIVES : LOG_NONE;
	return log_sources[lid];
}

static void reply(struct nvmf_req *req, const void *page, size_t page_len)
{
	uint64_t offset = get32(req->sqe->cdw12) | (uint64_t)get32(req->sqe->cdw13) << 32;
	size_t n;

	if (offset > page_len) {
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
		return;
	}
	n = page_len - offset < req->len ? page_len - offset : req->len;
	memcpy(req->data, (const uint8_t *)page + offset, n);
	memset(req->data + n, 0, req->len - n);
	nvmf_req_complete(req, NVME_OK);
}

static void supported_pages(struct nvmf_req *req)
{
	le32 page[256] = { 0 };

	for (unsigned int lid = 0; lid < 256; lid++)
		if (log_source(passthru_of(req), (uint8_t)lid) != LOG_NONE)
			page[lid] = put32(1); /* LSUPP */
	reply(req, page, sizeof(page));
}

static void effects_page(struct nvmf_req *req)
{
	const struct passthru *p = passthru_of(req);
	uint8_t csi = (uint8_t)(get32(req->sqe->cdw14) >> 24);

	if (csi == NVME_CSI_NVM)
		reply(req, &p->effects[PASSTHRU_NVM], sizeof(p->effects[0]));
	else if (csi == NVME_CSI_ZNS)
		reply(req, &p->effects[PASSTHRU_ZNS], sizeof(p->effects[0]));
	else
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
}

static void passthru_log_page(struct nvmf_req *req)
{
	uint8_t lid = (uint8_t)get32(req->sqe->cdw10);

	switch (log_source(passthru_of(req), lid)) {
	case LOG_DRIVES:
		if (!(get32(req->sqe->cdw10) & LOG_RAE))
			events_unmask(req->queue->ctrl, lid);
		ask_drive(req, drive_answered);
		break;
	case LOG_OURS:
		if (lid == 0x00)
			supported_pages(req);
		else if (lid == 0x05)
			effects_page(req);
		else
			log_page_execute(req);
		break;
	case LOG_NONE:
		nvmf_req_complete(req, NVME_INVALID_LOG_PAGE | NVME_DNR);
		break;
	}
}

static uint16_t passthru_log_length(struct nvmf_req *req, uint32_t *ret_len)
{
	uint16_t status = log_page_length(req, ret_len);

	return status ? status : within(req, *ret_len, ret_len);
}

/* ---- features ----------------------------------------------------------------------------------
 *
 * The drive's that carry no data and are about blocks or health. What the machine's own kernel
 * decides for the drive (power, interrupts, timestamp, host memory, its own identity) may be read
 * at most. All others are the fabrics controller's.
 */

enum { FEATURE_GET = 1, FEATURE_SET = 2 };

static const uint8_t drive_features[256] = {
	[0x01] = FEATURE_GET,               /* arbitration */
	[0x02] = FEATURE_GET,               /* power management */
	[0x04] = FEATURE_GET | FEATURE_SET, /* temperature threshold */
	[0x05] = FEATURE_GET | FEATURE_SET, /* error recovery */
	[0x06] = FEATURE_GET | FEATURE_SET, /* volatile write cache */
	[0x0a] = FEATURE_GET | FEATURE_SET, /* write atomicity */
	[0x10] = FEATURE_GET,               /* host controlled thermal management */
	[0x11] = FEATURE_GET,               /* non-operational power state */
	[0x82] = FEATURE_GET | FEATURE_SET, /* reservation notification mask */
	[0x83] = FEATURE_GET | FEATURE_SET, /* reservation persistence */
	[0x84] = FEATURE_GET | FEATURE_SET, /* namespace write protection */
};

static uint8_t feature_of(const struct nvmf_req *req)
{
	return drive_features[get32(req->sqe->cdw10) & 0xff];
}

static uint16_t feature_length(struct nvmf_req *req, uint32_t *ret_len)
{
	const struct command *ours = &admin_commands[req->sqe->opcode];

	return feature_of(req) || !ours->length ? NVME_OK : ours->length(req, ret_len);
}

static void passthru_get_features(struct nvmf_req *req)
{
	if (feature_of(req))
		ask_drive(req, drive_answered);
	else
		get_features(req);
}

static void passthru_set_features(struct nvmf_req *req)
{
	if (feature_of(req) & FEATURE_SET)
		ask_drive(req, drive_answered);
	else if (feature_of(req))
		nvmf_req_complete(req, NVME_FEATURE_NOT_CHANGEABLE | NVME_DNR);
	else
		set_features(req);
}

/* ---- the table ---------------------------------------------------------------------------------
 */

/* By the low two bits, the direction of the data; 3 would be both. */
#define VENDOR_4(op)                                                                               \
	[(op)] = { "vendor-specific", DATA_NONE, 0, 0, vendor_length, vendor_execute },            \
	[(op) + 1] = { "vendor-specific", DATA_H2C, 0, 0, vendor_length, vendor_execute },         \
	[(op) + 2] = { "vendor-specific", DATA_C2H, 0, 0, vendor_length, vendor_execute }
#define VENDOR_16(op) VENDOR_4(op), VENDOR_4((op) + 4), VENDOR_4((op) + 8), VENDOR_4((op) + 12)

const struct command passthru_admin_commands[256] = {
	[0x02] = { "get-log-page", DATA_C2H, 0, FX_CSUPP, passthru_log_length, passthru_log_page },
	[0x06] = { "identify", DATA_C2H, 0, FX_CSUPP, identify_length, passthru_identify },
	[0x08] = { "abort", DATA_NONE, 0, FX_CSUPP, NULL, abort_command },
	[0x09] = { "set-features", DATA_H2C, 0, FX_CSUPP, feature_length, passthru_set_features },
	[0x0a] = { "get-features", DATA_C2H, 0, FX_CSUPP, feature_length, passthru_get_features },
	[0x0c] = { "async-event-request", DATA_NONE, 0, FX_CSUPP, NULL, async_event_request },
	[0x18] = { "keep-alive", DATA_NONE, 0, FX_CSUPP, NULL, keep_alive },
	VENDOR_16(0xc0),
	VENDOR_16(0xd0),
	VENDOR_16(0xe0),
	VENDOR_16(0xf0),
};
