/* What a drive says of itself, as a fabrics host may hear it: Base 2.1, 5.1.13, 5.1.12.1.6. */
#include "target/passthru.h"

#include <string.h>

/* ---- Identify Controller ----------------------------------------------------------------------
 */

#define FIELD(f)                                                                                   \
	{                                                                                          \
		offsetof(struct nvme_id_ctrl, f), sizeof(((struct nvme_id_ctrl *)0)->f)            \
	}

/* These are the drive's. All others are ours: who may add a field to the structure does not tell
 * us. Left out on purpose: what belongs to commands that are refused (HMPRE, SANICAP, APSTA, ...).
 */
static const struct field {
	size_t offset, len;
} drive_fields[] = {
	FIELD(vid),   FIELD(ssvid),  FIELD(fr),     FIELD(rab),     FIELD(ieee),
	FIELD(crdt1), FIELD(crdt2),  FIELD(crdt3),  FIELD(frmw),    FIELD(elpe),
	FIELD(npss),  FIELD(wctemp), FIELD(cctemp), FIELD(tnvmcap), FIELD(unvmcap),
	FIELD(awun),  FIELD(awupf),  FIELD(nwpc),   FIELD(psd),
};

enum {
	ONCS_COMPARE = 1 << 0,
	ONCS_WRITE_UNCORRECTABLE = 1 << 1,
	ONCS_DSM = 1 << 2,
	ONCS_WRITE_ZEROES = 1 << 3,
	ONCS_RESERVATIONS = 1 << 5,
	ONCS_VERIFY = 1 << 7,
	ONCS_COPY = 1 << 8,
	OCFS_0_1 = 3 << 0, /* Copy formats that name no other namespace */
	LPA_SMART_NS = 1 << 0,
	LPA_EFFECTS = 1 << 1,
	LPA_EXTENDED = 1 << 2,
	VWC_PRESENT = 1 << 0,
	VWC_NO_BROADCAST = 2 << 1,
};

uint16_t passthru_oncs(uint16_t oncs)
{
	return oncs & (ONCS_COMPARE | ONCS_WRITE_UNCORRECTABLE | ONCS_DSM | ONCS_WRITE_ZEROES |
		       ONCS_RESERVATIONS | ONCS_VERIFY | ONCS_COPY);
}

void passthru_identify_controller(struct nvme_id_ctrl *ours, const struct passthru *p,
				  const struct nvme_id_ctrl *drive)
{
	for (size_t i = 0; i < sizeof(drive_fields) / sizeof(drive_fields[0]); i++)
		memcpy((uint8_t *)ours + drive_fields[i].offset,
		       (const uint8_t *)drive + drive_fields[i].offset, drive_fields[i].len);
	if (!p->subsys->conf->serial)
		memcpy(ours->sn, drive->sn, sizeof(ours->sn));
	if (!p->subsys->conf->model)
		memcpy(ours->mn, drive->mn, sizeof(ours->mn));
	ours->mdts = (uint8_t)__builtin_ctz(p->mdts_len / 4096);
	ours->oncs = htole16(passthru_oncs(le16toh(drive->oncs)));
	ours->ocfs = drive->ocfs & htole16(OCFS_0_1);
	ours->lpa = (drive->lpa & LPA_SMART_NS) | LPA_EFFECTS | LPA_EXTENDED;
	ours->vwc = (drive->vwc & VWC_PRESENT) | VWC_NO_BROADCAST;
	ours->fuses = 0;
	ours->acwu = 0;
	ours->avscc = p->vendor ? drive->avscc : 0;
	ours->oacs = 0;
}

/* ---- namespaces -------------------------------------------------------------------------------
 *
 * The drive's own identifiers are left out: a host that shares a kernel with the drive would take
 * the namespace for a duplicate. The UUID (CNS 03h) and the NGUID are ours.
 */

enum { NMIC_SHARED = 1 << 0, NSFEAT_ID_REUSE = 1 << 3, FLBAS_METADATA_EXTENDED = 1 << 4 };

void passthru_identify_namespace(struct nvme_id_ns *id)
{
	memset(id->nguid, 0, sizeof(id->nguid));
	memset(id->eui64, 0, sizeof(id->eui64));
	id->nsfeat &= (uint8_t)~NSFEAT_ID_REUSE;
	id->nmic = NMIC_SHARED; /* several of our controllers have it */
	id->anagrpid = 0;
	id->nvmsetid = 0;
	id->endgid = 0;
	id->nacwu = 0;
	/* metadata is not transferred, and no namespace with it is passed through */
	id->flbas &= (uint8_t)~FLBAS_METADATA_EXTENDED;
	id->mc = 0;
	id->dpc = 0;
	id->dps = 0;
	for (size_t i = 0; i < sizeof(id->lbaf) / sizeof(id->lbaf[0]); i++)
		if (id->lbaf[i].ms)
			memset(&id->lbaf[i], 0, sizeof(id->lbaf[i]));
}

void passthru_identify_independent(struct nvme_id_independent_id_ns *id)
{
	id->nsfeat &= (uint8_t)~NSFEAT_ID_REUSE;
	id->nmic = NMIC_SHARED;
	id->anagrpid = 0;
	id->nvmsetid = 0;
	id->endgid = 0;
}

void passthru_identify_zns(struct nvme_zns_id_ctrl *id, uint32_t mdts_len)
{
	uint8_t mdts = (uint8_t)__builtin_ctz(mdts_len / 4096);

	if (id->zasl > mdts)
		id->zasl = 0; /* as MDTS says */
}

uint32_t passthru_mdts(uint32_t ours, uint64_t hw_bytes, uint32_t segments)
{
	uint64_t least = ours, by_segments = (uint64_t)segments * 4096;

	if (hw_bytes && hw_bytes < least)
		least = hw_bytes;
	if (segments && by_segments < least)
		least = by_segments;
	if (least < 4096)
		return 4096;
	return UINT32_C(1) << (31 - __builtin_clz((uint32_t)least));
}

/* ---- Commands Supported and Effects -----------------------------------------------------------
 */

/* What a drive without the log has: what every one must have, and what ONCS says. */
static const struct assumption {
	uint8_t opcode;
	uint16_t oncs; /* 0: mandatory */
	uint32_t effects;
} assumed[] = {
	{ 0x00, 0, FX_CSUPP | FX_LBCC },
	{ 0x01, 0, FX_CSUPP | FX_LBCC },
	{ 0x02, 0, FX_CSUPP },
	{ 0x04, ONCS_WRITE_UNCORRECTABLE, FX_CSUPP | FX_LBCC },
	{ 0x05, ONCS_COMPARE, FX_CSUPP },
	{ 0x08, ONCS_WRITE_ZEROES, FX_CSUPP | FX_LBCC },
	{ 0x09, ONCS_DSM, FX_CSUPP | FX_LBCC },
	{ 0x0c, ONCS_VERIFY, FX_CSUPP },
	{ 0x0d, ONCS_RESERVATIONS, FX_CSUPP },
	{ 0x0e, ONCS_RESERVATIONS, FX_CSUPP },
	{ 0x11, ONCS_RESERVATIONS, FX_CSUPP },
	{ 0x15, ONCS_RESERVATIONS, FX_CSUPP },
	{ 0x19, ONCS_COPY, FX_CSUPP | FX_LBCC },
};

static void assume(struct nvme_cmd_effects_log *ret, uint16_t oncs)
{
	for (size_t i = 0; i < sizeof(assumed) / sizeof(assumed[0]); i++)
		if (!assumed[i].oncs || oncs & assumed[i].oncs)
			ret->iocs[assumed[i].opcode] = htole32(assumed[i].effects);
}

static bool in_set(unsigned int opcode, enum passthru_set set)
{
	return set == PASSTHRU_ZNS || (opcode != 0x79 && opcode != 0x7a && opcode != 0x7d);
}

void passthru_filter_effects(struct nvme_cmd_effects_log *ret,
			     const struct nvme_cmd_effects_log *log, enum passthru_set set,
			     uint16_t oncs, bool vendor)
{
	memset(ret, 0, sizeof(*ret));
	if (!log && set == PASSTHRU_NVM)
		assume(ret, oncs);
	for (unsigned int op = 0; op < 256; op++) {
		const struct command *admin = &passthru_admin_commands[op];

		if (log && passthru_io_commands[op].execute && in_set(op, set))
			ret->iocs[op] = log->iocs[op];
		if (!admin->execute)
			continue;
		if (op < 0xc0)
			ret->acs[op] = htole32(FX_CSUPP);
		else if (vendor)
			ret->acs[op] = log ? log->acs[op] : htole32(FX_CSUPP);
	}
}
