/* Identify, the forms about namespaces: Base 2.1, 5.1.13.2; NVM Command Set 1.1, 4.1.5. */
#include "target/core.h"

#include <libnvme.h>
#include <string.h>

/* The namespace an Identify is about. NULL and NVME_OK: a valid ID that is not in use, for which
 * the answer is zeros. FFFFFFFFh is for controllers with Namespace Management only. */
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

/* ---- limits of the drive, in blocks
 * --------------------------------------------------------------
 */

static uint32_t blocks(const struct namespace *ns, uint32_t bytes)
{
	return bytes >> ns->lba_shift;
}

/* 0's based, in 16 bits; what is not known counts as one block. */
static uint16_t to_zero_based(uint32_t n)
{
	if (n == 0)
		return 0;
	return n > 0x10000 ? 0xffff : (uint16_t)(n - 1);
}

static bool starts_at_multiple(const struct backend_limits *l, uint32_t bytes)
{
	return bytes && l->start % bytes == 0;
}

/* How much is written whole or not at all when the power fails. */
static uint32_t atomic_unit(const struct backend_limits *l)
{
	if (starts_at_multiple(l, l->atomic_write))
		return l->atomic_write;
	return starts_at_multiple(l, l->physical_block) ? l->physical_block : 0;
}

static void put_atomicity(const struct namespace *ns, struct nvme_id_ns *id)
{
	const struct backend_limits *l = &ns->backend->info.limits;
	uint32_t unit = blocks(ns, atomic_unit(l)), boundary = blocks(ns, l->atomic_boundary);

	if (!unit)
		return;
	id->nsfeat |= NVME_NS_FEAT_NATOMIC;
	id->nawun = htole16(to_zero_based(unit));
	id->nawupf = id->nawun;
	/* a lock keeps others out, see fused.c */
	id->nacwu = htole16(FUSED_BLOCKS_MAX - 1);
	if (!boundary)
		return;
	id->nabsn = htole16(to_zero_based(boundary));
	id->nabspf = id->nabsn;
	id->nabo =
		htole16((uint16_t)((boundary - (l->start >> ns->lba_shift) % boundary) % boundary));
}

/* OPTPERF 01b: the fields of 16 bits for deallocation, 11b: and those of 32 bits, which are in the
 * structure of the I/O command set. */
static void put_preferences(const struct namespace *ns, struct nvme_id_ns *id)
{
	const struct backend_limits *l = &ns->backend->info.limits;
	uint32_t write = l->io_min > l->physical_block ? l->io_min : l->physical_block;
	uint32_t many = l->io_opt && write && l->io_opt % write == 0 ? l->io_opt : write;

	if (!blocks(ns, write))
		return;
	id->nsfeat |= 1 << 4 | 1 << 5;
	id->npwg = htole16(to_zero_based(blocks(ns, write)));
	id->npwa = starts_at_multiple(l, write) ? id->npwg : 0;
	id->npdg = htole16(to_zero_based(blocks(ns, l->discard_granularity)));
	id->npda = starts_at_multiple(l, l->discard_granularity) ? id->npdg : 0;
	id->nows = htole16(to_zero_based(blocks(ns, many)));
	if (starts_at_multiple(l, l->boundary))
		id->noiob = htole16((uint16_t)blocks(ns, l->boundary));
}

/* What deallocated blocks read as, and (bit 3) that Write Zeroes can deallocate. */
static uint8_t dlfeat(const struct namespace *ns)
{
	return (uint8_t)((ns->backend->info.limits.reads_zeroes ? 1 : 0) |
			 (io_commands[0x08].execute ? 1 << 3 : 0));
}

/* ---- the namespace
 * -------------------------------------------------------------------------------
 */

/* Nothing is known of how much of a drive is in use, so all of it is (NUSE). */
uint16_t identify_namespace(struct nvmf_req *req, void *buf)
{
	struct nvme_id_ns *id = buf;
	struct namespace *ns;
	uint16_t status = named_namespace(req, &ns);

	if (status || !ns)
		return status;
	id->nsze = htole64(ns_nlb(ns));
	id->ncap = id->nsze;
	id->anagrpid = htole32(ns->ana_group);
	/* 0 while the namespace is not to be reached: Base 2.1, 8.1.1 */
	if (ana_state(ns->subsys, req->queue->ctrl->port_id, ns->ana_group) <=
	    CONFIG_ANA_NON_OPTIMIZED)
		id->nuse = id->nsze;
	id->nmic = 1; /* shared */
	id->rescap = RESV_RESCAP;
	id->dlfeat = dlfeat(ns);
	put_atomicity(ns, id);
	put_preferences(ns, id);
	if (io_commands[0x19].execute) {
		id->mssrl = htole16(COPY_RANGE_BLOCKS_MAX);
		id->mcl = htole32(COPY_BLOCKS_MAX);
		id->msrc = COPY_RANGES_MAX_Z;
	}
	id->nsattr = ns->write_protected;
	memcpy(id->nguid, ns->ids.nguid, sizeof(id->nguid));
	memcpy(id->eui64, ns->ids.eui64, sizeof(id->eui64));
	/* one format, which cannot be changed: FLBAS 0, NLBAF 0 */
	id->lbaf[0].ds = ns->lba_shift;
	return NVME_OK;
}

uint16_t identify_namespace_independent(struct nvmf_req *req, void *buf)
{
	struct nvme_id_independent_id_ns *id = buf;
	struct namespace *ns;
	uint16_t status = named_namespace(req, &ns);

	if (status || !ns)
		return status;
	id->nmic = 1;
	id->anagrpid = htole32(ns->ana_group);
	id->rescap = RESV_RESCAP;
	id->nsattr = ns->write_protected;
	id->nstat = !backend_lost(ns->backend); /* NRDY: ready */
	return NVME_OK;
}

static uint8_t csi_of(const struct nvmf_req *req)
{
	return (uint8_t)(get32(req->sqe->cdw11) >> 24);
}

/* NVM Command Set 1.1, 4.1.5.3; libnvme 1.3 ends before them */
struct deallocation {
	le32 npdgl, nprg, npra, nors, npdal;
};
static const size_t deallocation_at = 268;

/* No protection information: ELBAF and the rest are zeros. */
uint16_t identify_namespace_csi(struct nvmf_req *req, void *buf)
{
	struct deallocation *d = (void *)((uint8_t *)buf + deallocation_at);
	const struct backend_limits *l;
	struct namespace *ns;
	uint16_t status;

	if (csi_of(req) != NVME_CSI_NVM)
		return invalid_field(req, AT_CDW11 + 3, 0);
	status = named_namespace(req, &ns);
	if (status || !ns)
		return status;
	l = &ns->backend->info.limits;
	d->npdgl = put32(blocks(ns, l->discard_granularity));
	if (starts_at_multiple(l, l->discard_granularity))
		d->npdal = d->npdgl;
	return NVME_OK;
}

/* ---- which there are ----------------------------------------------------------------------------
 */

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

uint16_t identify_active_list(struct nvmf_req *req, void *buf)
{
	/* a host that enabled the NVM command set alone is not shown the others' namespaces */
	return list_active(req, CC_CSS(req->queue->ctrl->cc) ? ANY_CSI : NVME_CSI_NVM, buf);
}

uint16_t identify_active_list_csi(struct nvmf_req *req, void *buf)
{
	if (csi_of(req) != NVME_CSI_NVM && !req->queue->subsys->passthru)
		return invalid_field(req, AT_CDW11 + 3, 0);
	return list_active(req, csi_of(req), buf);
}

/* Append a descriptor. Return: where the next one goes. */
static struct nvme_ns_id_desc *describe(struct nvme_ns_id_desc *desc, uint8_t type, const void *id,
					uint8_t len)
{
	desc->nidt = type;
	desc->nidl = len;
	memcpy(desc->nid, id, len);
	return (void *)((uint8_t *)desc + sizeof(*desc) + len);
}

uint16_t identify_descriptors(struct nvmf_req *req, void *buf)
{
	static const uint8_t none[16];
	struct nvme_ns_id_desc *desc = buf;
	struct namespace *ns;
	uint16_t status = named_namespace(req, &ns);

	if (status)
		return status;
	if (!ns)
		return NVME_INVALID_NS | NVME_DNR;
	if (memcmp(ns->ids.eui64, none, sizeof(ns->ids.eui64)) != 0)
		desc = describe(desc, NVME_NIDT_EUI64, ns->ids.eui64, sizeof(ns->ids.eui64));
	if (memcmp(ns->ids.nguid, none, sizeof(ns->ids.nguid)) != 0)
		desc = describe(desc, NVME_NIDT_NGUID, ns->ids.nguid, sizeof(ns->ids.nguid));
	desc = describe(desc, NVME_NIDT_UUID, ns->ids.uuid, sizeof(ns->ids.uuid));
	describe(desc, NVME_NIDT_CSI, &ns->csi, sizeof(ns->csi));
	return NVME_OK;
}
