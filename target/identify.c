/* Identify: Base 2.1, 5.1.13. */
#include "target/core.h"

#include <libnvme.h>
#include <string.h>

#define IDENTIFY_LEN 4096

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

/* What a controller that does I/O has and a discovery controller has not. */
static void identify_io_controller(const struct controller *c, struct nvme_id_ctrl *id)
{
	id->cmic = 1 << 0 | 1 << 1; /* several ports, several controllers */
	id->cntrltype = NVME_CTRL_CNTRLTYPE_IO;
	id->oaes = htole32(NVME_CTRL_OAES_NA);
	id->acl = 3;
	id->frmw = 1 << 0 | 1 << 1; /* one slot, read-only */
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = htole32(CONFIG_NSID_MAX);
	id->mnan = htole32(CONFIG_NSID_MAX);
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
	id->ctratt = htole32(NVME_CTRL_CTRATT_128_ID | NVME_CTRL_CTRATT_TBKAS);
	id->aerl = AER_MAX - 1;
	id->lpa = 1 << 1 | 1 << 2; /* effects log; length and offset in Get Log Page */
	id->kas = htole16(KAS_100MS);
	id->maxcmd = htole16(req->queue->port->queue_depth);
	id->sgls = htole32(1 | NVME_CTRL_SGLS_KEYED);
	id->msdbd = 1;
	put_padded(id->subnqn, sizeof(id->subnqn), s->nqn, '\0');
	if (s->discovery) {
		id->cntrltype = NVME_CTRL_CNTRLTYPE_DISCOVERY;
		id->oaes = htole32((uint32_t)NVME_CTRL_OAES_DL);
	} else {
		identify_io_controller(c, id);
	}
	return NVME_OK;
}

/* The namespace an Identify is about. NULL and NVME_OK: a valid ID that is not in use, for which
 * the answer is zeros. */
static uint16_t named_namespace(struct nvmf_req *req, struct namespace **ret)
{
	const struct ns_map_entry *entry;
	uint32_t nsid = get32(req->sqe->nsid);

	*ret = NULL;
	if (nsid == 0 || nsid > CONFIG_NSID_MAX)
		return NVME_INVALID_NS | NVME_DNR;
	entry = ns_map_find(req->queue->ctrl->map, nsid);
	*ret = entry ? entry->ns : NULL;
	return NVME_OK;
}

static uint16_t identify_namespace(struct nvmf_req *req, void *buf)
{
	struct nvme_id_ns *id = buf;
	struct namespace *ns;
	uint16_t status = named_namespace(req, &ns);

	if (status || !ns)
		return status;
	id->nsze = htole64(ns_nlb(ns));
	id->ncap = id->nsze;
	id->nuse = id->nsze;
	id->nmic = 1; /* shared */
	id->lbaf[0].ds = ns->lba_shift;
	return NVME_OK;
}

static uint16_t identify_namespace_independent(struct nvmf_req *req, void *buf)
{
	struct nvme_id_independent_id_ns *id = buf;
	struct namespace *ns;
	uint16_t status = named_namespace(req, &ns);

	if (status || !ns)
		return status;
	id->nmic = 1;
	id->nstat = 1; /* ready */
	return NVME_OK;
}

#define ANY_CSI (-1)

static uint16_t list_active(struct nvmf_req *req, int csi, le32 *list)
{
	const struct ns_map *map = req->queue->ctrl->map;
	uint32_t after = get32(req->sqe->nsid), n = 0;

	if (after >= 0xfffffffe)
		return NVME_INVALID_NS | NVME_DNR;
	for (uint32_t nsid = after + 1; nsid < map->n && n < IDENTIFY_LEN / sizeof(*list); nsid++)
		if (map->entry[nsid].ns && (csi == ANY_CSI || map->entry[nsid].ns->csi == csi))
			list[n++] = put32(nsid);
	return NVME_OK;
}

static uint16_t identify_active_list(struct nvmf_req *req, void *buf)
{
	/* a host that enabled the NVM command set alone is not shown the others' namespaces */
	return list_active(req, CC_CSS(req->queue->ctrl->cc) ? ANY_CSI : NVME_CSI_NVM, buf);
}

static uint16_t identify_descriptors(struct nvmf_req *req, void *buf)
{
	struct nvme_ns_id_desc *desc = buf;
	struct namespace *ns;
	uint16_t status = named_namespace(req, &ns);

	if (status)
		return status;
	if (!ns)
		return NVME_INVALID_NS | NVME_DNR;
	desc->nidt = NVME_NIDT_UUID;
	desc->nidl = sizeof(ns->uuid);
	memcpy(desc->nid, ns->uuid, sizeof(ns->uuid));
	desc = (void *)((uint8_t *)desc + sizeof(*desc) + desc->nidl);
	desc->nidt = NVME_NIDT_CSI;
	desc->nidl = 1;
	desc->nid[0] = ns->csi;
	return NVME_OK;
}

static uint8_t csi_of(const struct nvmf_req *req)
{
	return (uint8_t)(get32(req->sqe->cdw11) >> 24);
}

/* The NVM command set's own namespace structure: no protection information, all zeros. */
static uint16_t identify_namespace_csi(struct nvmf_req *req, void *buf)
{
	struct namespace *ns;

	(void)buf;
	return csi_of(req) == NVME_CSI_NVM ? named_namespace(req, &ns)
					   : NVME_INVALID_FIELD | NVME_DNR;
}

/* And its controller structure: no limits of its own, all zeros. */
static uint16_t identify_controller_csi(struct nvmf_req *req, void *buf)
{
	(void)buf;
	return csi_of(req) == NVME_CSI_NVM ? NVME_OK : NVME_INVALID_FIELD | NVME_DNR;
}

static uint16_t identify_active_list_csi(struct nvmf_req *req, void *buf)
{
	if (csi_of(req) != NVME_CSI_NVM && !req->queue->subsys->passthru)
		return NVME_INVALID_FIELD | NVME_DNR;
	return list_active(req, csi_of(req), buf);
}

static const struct identify_form {
	uint16_t (*build)(struct nvmf_req *req, void *buf); /* buf is zeroed */
	bool discovery;
} forms[256] = {
	[NVME_IDENTIFY_CNS_NS] = { identify_namespace },
	[NVME_IDENTIFY_CNS_CTRL] = { identify_controller, true },
	[NVME_IDENTIFY_CNS_NS_ACTIVE_LIST] = { identify_active_list },
	[NVME_IDENTIFY_CNS_NS_DESC_LIST] = { identify_descriptors },
	[NVME_IDENTIFY_CNS_CSI_NS] = { identify_namespace_csi },
	[NVME_IDENTIFY_CNS_CSI_CTRL] = { identify_controller_csi },
	[0x07] = { identify_active_list_csi },
	[0x08] = { identify_namespace_independent },
};

void identify_execute(struct nvmf_req *req)
{
	const struct identify_form *form = &forms[get32(req->sqe->cdw10) & 0xff];

	if (!form->build || (req->queue->ctrl->subsys->discovery && !form->discovery)) {
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
		return;
	}
	memset(req->data, 0, req->len);
	nvmf_req_complete(req, form->build(req, req->data));
}
