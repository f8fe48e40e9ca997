/* Identify: Base 2.1, 5.1.13. The forms about namespaces are in identify_ns.c. */
#include "target/core.h"

#include <libnvme.h>
#include <string.h>

uint16_t identify_length(struct nvmf_req *req, uint32_t *ret_len)
{
	(void)req;
	*ret_len = IDENTIFY_LEN;
	return NVME_OK;
}

static bool any_write_cache(const struct subsystem *s)
{
	const struct namespace *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (ns->backend->info.write_cache)
			return true;
	return false;
}

/* ---- the controller -----------------------------------------------------------------------------
 */

#define CTRATT_RHII (1u << 18) /* no reservations without a Host Identifier */

enum { ONCS_SAVE_SELECT = 1 << 4, ONCS_TIMESTAMP = 1 << 6 };

/* Optional I/O commands: what the table has. */
static uint16_t oncs(void)
{
	static const struct {
		uint8_t opcode, bit;
	} optional[] = { { 0x05, 0 }, { 0x04, 1 }, { 0x09, 2 }, { 0x08, 3 },
			 { 0x0d, 5 }, { 0x0c, 7 }, { 0x19, 8 } };
	uint16_t bits = ONCS_SAVE_SELECT | ONCS_TIMESTAMP;

	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++)
		if (io_commands[optional[i].opcode].execute)
			bits |= (uint16_t)(1 << optional[i].bit);
	return bits;
}

/* What a controller that does I/O has and a discovery controller has not. Zeros are said on purpose
 * too: no optional admin command (OACS), one power state, no limit of atomicity beyond a block that
 * all namespaces share (AWUN, AWUPF; each namespace tells its own), Fused Compare and Write. */
static void identify_io_controller(const struct controller *c, struct nvme_id_ctrl *id)
{
	uint16_t warm, critical;

	health_limits(c, &warm, &critical);
	id->cmic = NVME_CTRL_CMIC_MULTI_PORT | NVME_CTRL_CMIC_MULTI_CTRL |
		   NVME_CTRL_CMIC_MULTI_ANA_REPORTING;
	id->cntrltype = NVME_CTRL_CNTRLTYPE_IO;
	id->anatt = ANA_TRANSITION_S;
	id->anacap = NVME_CTRL_ANACAP_OPT | NVME_CTRL_ANACAP_NON_OPT |
		     NVME_CTRL_ANACAP_INACCESSIBLE | NVME_CTRL_ANACAP_PERSISTENT_LOSS |
		     NVME_CTRL_ANACAP_CHANGE;
	id->anagrpmax = htole32(ANA_GROUP_MAX);
	id->nanagrpid = htole32(ANA_GROUP_MAX);
	id->acl = 3;
	id->frmw = 1 << 0 | 1 << 1; /* one slot, read-only */
	/* SMART log for each namespace; effects log; log pages 00h, 12h, 13h */
	id->lpa |= 1 << 0 | 1 << 1 | 1 << 5;
	id->wctemp = htole16(warm);
	id->cctemp = htole16(critical);
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = htole32(CONFIG_NSID_MAX);
	id->mnan = htole32(CONFIG_NSID_MAX);
	id->maxcna = htole32(CONFIG_NSID_MAX);
	id->oncs = htole16(oncs());
	id->ctratt |= htole32(CTRATT_RHII);
	id->fuses = htole16(1); /* Compare and Write */
	id->acwu = htole16(FUSED_BLOCKS_MAX - 1);
	if (io_commands[0x19].execute)
		id->ocfs = htole16(1 << 0); /* Copy: descriptor format 0 */
	id->ofcs = htole16(NVME_CTRL_OFCS_DISCONNECT);
	id->nwpc = 1 << 0; /* write protection, see protect.c */
	/* present or not, and Flush does not take nsid FFFFFFFFh */
	id->vwc = (uint8_t)((any_write_cache(c->subsys) ? 1 : 0) | 2 << 1);
	id->ioccsz = htole32((uint32_t)(sizeof(struct nvme_sqe) + c->in_capsule_len) / 16);
	id->iorcsz = htole32(sizeof(struct nvme_cqe) / 16);
	id->sgls |= htole32(NVME_CTRL_SGLS_BIT_BUCKET | NVME_CTRL_SGLS_OFFSET);
	id->msdbd = SGL_DATA_BLOCKS_MAX;
}

uint16_t identify_controller(struct nvmf_req *req, void *buf)
{
	const struct controller *c = req->queue->ctrl;
	const struct subsystem *s = c->subsys;
	struct nvme_id_ctrl *id = buf;

	put_padded(id->sn, sizeof(id->sn), s->serial, ' ');
	put_padded(id->mn, sizeof(id->mn), s->conf && s->conf->model ? s->conf->model : "nvmf-p2pd",
		   ' ');
	put_padded(id->fr, sizeof(id->fr), NVMF_P2PD_VERSION, ' ');
	id->rab = 6;
	id->mdts = (uint8_t)__builtin_ctz(c->target->mdts_len / 4096);
	id->cntlid = htole16(c->cntlid);
	id->ver = htole32(NVME_VERSION);
	/* the events it can tell; of the SMART warnings nothing is said here */
	id->oaes = htole32(events_supported(c) & ~UINT32_C(0xff));
	id->ctratt = htole32(NVME_CTRL_CTRATT_128_ID | NVME_CTRL_CTRATT_TBKAS);
	id->aerl = AER_MAX - 1;
	id->lpa = 1 << 2; /* length and offset in Get Log Page */
	id->elpe = ERROR_LOG_ENTRIES - 1;
	id->kas = htole16(KAS_100MS);
	id->maxcmd = htole16(req->queue->port.queue_depth);
	id->sgls = htole32(1 | NVME_CTRL_SGLS_KEYED);
	id->msdbd = 1;
	put_padded(id->subnqn, sizeof(id->subnqn), s->nqn, '\0');
	if (s->discovery)
		id->cntrltype = NVME_CTRL_CNTRLTYPE_DISCOVERY;
	else
		identify_io_controller(c, id);
	return NVME_OK;
}

static uint8_t csi_of(const struct nvmf_req *req)
{
	return (uint8_t)(get32(req->sqe->cdw11) >> 24);
}

/* The NVM command set's own: Verify, Write Zeroes, Write Uncorrectable and Dataset Management have
 * no limits but the namespace's size, which is what zeros say. */
static uint16_t identify_controller_csi(struct nvmf_req *req, void *buf)
{
	(void)buf;
	return csi_of(req) == NVME_CSI_NVM ? NVME_OK : invalid_field(req, AT_CDW11 + 3, 0);
}

/* ---- lists --------------------------------------------------------------------------------------
 */

static uint16_t cntid_of(const struct nvmf_req *req)
{
	return (uint16_t)(get32(req->sqe->cdw10) >> 16);
}

/* The subsystem's controllers from CNTID on; @nsid: those that have this namespace, 0: all. */
static void list_controllers(struct nvmf_req *req, uint32_t nsid, le16 *list)
{
	const struct controller *self = req->queue->ctrl, *c;
	uint16_t n = 0;

	for (uint32_t id = cntid_of(req); id <= CNTLID_MAX && n < IDENTIFY_LEN / 2 - 1; id++) {
		c = self->target->by_cntlid[id];
		if (c && c->subsys == self->subsys && (nsid == 0 || ns_map_find(c->map, nsid)))
			list[++n] = put16((uint16_t)id);
	}
	list[0] = put16(n);
}

static uint16_t identify_attached_controllers(struct nvmf_req *req, void *buf)
{
	uint32_t nsid = get32(req->sqe->nsid);

	if (!ns_map_find(req->queue->ctrl->map, nsid))
		return invalid_field(req, AT_NSID, 0);
	list_controllers(req, nsid, buf);
	return NVME_OK;
}

static uint16_t identify_controllers(struct nvmf_req *req, void *buf)
{
	list_controllers(req, 0, buf);
	return NVME_OK;
}

/* Combinations of I/O command sets, of this controller or another one: only NVM. */
static uint16_t identify_io_command_sets(struct nvmf_req *req, void *buf)
{
	uint16_t id = cntid_of(req);
	const struct controller *self = req->queue->ctrl,
				*c = id <= CNTLID_MAX ? self->target->by_cntlid[id] : NULL;

	if (id != 0xffff && (!c || c->subsys != self->subsys))
		return invalid_field(req, AT_CDW10 + 2, 0);
	*(le64 *)buf = put64(UINT64_C(1) << NVME_CSI_NVM);
	return NVME_OK;
}

/*
 * What is not here is answered with Invalid Field, because nothing announces it: NVM sets (04h, 19h
 * for endurance groups, 18h for domains), formats to choose from (09h, 0Ah: a drive has the one it
 * has), virtualization (14h, 15h), namespace granularity (16h), UUID list (17h), underlying
 * namespaces and ports of exported subsystems (1Dh, 1Eh).
 *
 * There is no Namespace Management: every namespace that this host may see is allocated, so the
 * forms of allocated namespaces (10h, 11h, 1Ah, 1Bh, 1Fh) say the same as those of active ones.
 */
const struct identify_form identify_forms[256] = {
	[0x00] = { "namespace", identify_namespace },
	[0x01] = { "controller", identify_controller, true },
	[0x02] = { "active-list", identify_active_list },
	[0x03] = { "descriptors", identify_descriptors },
	[0x05] = { "csi-namespace", identify_namespace_csi },
	[0x06] = { "csi-controller", identify_controller_csi },
	[0x07] = { "csi-active-list", identify_active_list_csi },
	[0x08] = { "independent-namespace", identify_namespace_independent },
	[0x10] = { "allocated-list", identify_active_list },
	[0x11] = { "allocated-namespace", identify_namespace, .not_passed = true },
	[0x12] = { "attached-controllers", identify_attached_controllers },
	[0x13] = { "controllers", identify_controllers },
	[0x1a] = { "csi-allocated-list", identify_active_list_csi },
	[0x1b] = { "csi-allocated-namespace", identify_namespace_csi, .not_passed = true },
	[0x1c] = { "io-command-sets", identify_io_command_sets },
	[0x1f] = { "independent-allocated-namespace", identify_namespace_independent,
		   .not_passed = true },
};

void identify_execute(struct nvmf_req *req)
{
	const struct identify_form *form = &identify_forms[get32(req->sqe->cdw10) & 0xff];
	const struct subsystem *s = req->queue->ctrl->subsys;

	if (!form->build || (s->discovery && !form->discovery) ||
	    (s->passthru && form->not_passed)) {
		nvmf_req_complete(req, invalid_field(req, AT_CDW10, 0));
		return;
	}
	memset(req->data, 0, req->len);
	nvmf_req_complete(req, form->build(req, req->data));
}
