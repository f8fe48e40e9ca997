/* Admin commands: every opcode, Identify's CNS, log pages, features. Base 2.1, 5. */
#include "tests/host/suite.h"

#include <string.h>

#define INVALID_FIELD  (NVME_INVALID_FIELD | DNR)
#define INVALID_NS     (NVME_INVALID_NS | DNR)
#define INVALID_OPCODE (NVME_INVALID_OPCODE | DNR)
#define INVALID_LOG    (NVME_INVALID_LOG_PAGE | DNR)
#define WRONG_LEN      (NVME_SGL_DATA_LENGTH_INVALID | DNR)
#define NOT_CHANGEABLE (NVME_FEATURE_NOT_CHANGEABLE | DNR)
#define NOT_SAVEABLE   (NVME_FEATURE_NOT_SAVEABLE | DNR)
#define SEQUENCE       (NVME_COMMAND_SEQUENCE | DNR)

/* ---- Identify ---------------------------------------------------------------------------------
 */

static bool all_zero(struct suite *s, const struct command_case *t, const struct host_response *r)
{
	(void)r;
	for (size_t i = 0; i < t->len; i++)
		if (s->data.va[i])
			return suite_fail(s, "got %#x at byte %zu, expected zeros", s->data.va[i],
					  i);
	return true;
}

static bool right_controller(struct suite *s, const struct command_case *t,
			     const struct host_response *r)
{
	const struct nvme_id_ctrl *id = (const void *)s->data.va;

	(void)t;
	(void)r;
	if (le16toh(id->cntlid) != s->ctrl->cntlid)
		return suite_fail(s, "got CNTLID %u, expected %u", le16toh(id->cntlid),
				  s->ctrl->cntlid);
	if (strncmp(id->subnqn, s->fh->nqn, sizeof(id->subnqn)) != 0)
		return suite_fail(s, "got SUBNQN %.64s", id->subnqn);
	/* what the Linux host demands: drivers/nvme/host/{core,rdma,fabrics}.c */
	if (id->sqes != 0x66 || id->cqes != 0x44 || !le16toh(id->kas) || !le16toh(id->maxcmd) ||
	    le32toh(id->ioccsz) < 4 || le32toh(id->iorcsz) < 1 || id->icdoff ||
	    !(le32toh(id->sgls) & NVME_CTRL_SGLS_KEYED) || id->cntrltype != 1)
		return suite_fail(s, "got fields that no host accepts");
	return true;
}

static bool lists_namespace(struct suite *s, const struct command_case *t,
			    const struct host_response *r)
{
	const le32 *list = (const void *)s->data.va;

	(void)t;
	(void)r;
	for (size_t i = 0; i < 1024 && get32(list[i]); i++)
		if (get32(list[i]) == s->nsid)
			return true;
	return suite_fail(s, "got a list without namespace %u", s->nsid);
}

static bool right_namespace(struct suite *s, const struct command_case *t,
			    const struct host_response *r)
{
	const struct nvme_id_ns *id = (const void *)s->data.va;

	(void)t;
	(void)r;
	return (le64toh(id->nsze) == s->nlb && (id->nmic & 1)) ||
	       suite_fail(s, "got NSZE %llu, NMIC %#x", (unsigned long long)le64toh(id->nsze),
			  id->nmic);
}

/* Each descriptor has the length its type demands, CSI is among them, and zeros end the list. */
static bool right_descriptors(struct suite *s, const struct command_case *t,
			      const struct host_response *r)
{
	static const uint8_t len_of[] = { 0, 8, 16, 16, 1 };
	size_t at = 0;
	bool csi = false, id = false;

	(void)t;
	(void)r;
	while (at + 4 < 4096 && s->data.va[at]) {
		uint8_t type = s->data.va[at], len = s->data.va[at + 1];

		if (type >= sizeof(len_of) || len != len_of[type])
			return suite_fail(s, "got a descriptor of type %u, length %u", type, len);
		csi |= type == NVME_NIDT_CSI;
		id |= type == NVME_NIDT_UUID || type == NVME_NIDT_NGUID;
		at += 4u + len;
	}
	return (csi && id) || suite_fail(s, "got no CSI, or no UUID and no NGUID");
}

static void other_len(struct suite *s, const struct command_case *t, struct capsule *c)
{
	c->sqe.dptr = fab_sgl_keyed(&s->data, (uint32_t)t->arg, SGL_SUB_ADDRESS);
}

#define IDENTIFY(cns_, nsid_)                                                                      \
	.opcode = ADM_IDENTIFY, .cdw10 = (cns_), .nsid = (nsid_), .data = TO_HOST, .len = 4096
#define CSI(csi) .cdw11 = (uint32_t)(csi) << 24

static const struct command_case identify_rows[] = {
	{ "identify-controller", IDENTIFY(0x01, 0), .check = right_controller },
	{ "identify-ns", IDENTIFY(0x00, MY_NSID), .check = right_namespace },
	{ "identify-ns-0", IDENTIFY(0x00, 0), .status = INVALID_NS },
	{ "identify-ns-inactive", IDENTIFY(0x00, UNKNOWN_NSID), .check = all_zero },
	{ "identify-ns-beyond-nn", IDENTIFY(0x00, 0x10000), .status = INVALID_NS },
	/* that is for namespace management */
	{ "identify-ns-ffffffff", IDENTIFY(0x00, UINT32_MAX), .status = INVALID_NS },
	{ "identify-active-list", IDENTIFY(0x02, 0), .check = lists_namespace },
	{ "identify-active-list-after-all", IDENTIFY(0x02, 0xfffffffd), .check = all_zero },
	{ "identify-active-list-fffffffe", IDENTIFY(0x02, 0xfffffffe), .status = INVALID_NS },
	{ "identify-active-list-ffffffff", IDENTIFY(0x02, UINT32_MAX), .status = INVALID_NS },
	{ "identify-descriptors", IDENTIFY(0x03, MY_NSID), .check = right_descriptors },
	{ "identify-descriptors-0", IDENTIFY(0x03, 0), .status = INVALID_NS },
	{ "identify-descriptors-inactive", IDENTIFY(0x03, UNKNOWN_NSID), .status = INVALID_NS },
	{ "identify-nvm-sets", IDENTIFY(0x04, 0), .status = INVALID_FIELD },
	{ "identify-csi-ns", IDENTIFY(0x05, MY_NSID), CSI(0) },
	{ "identify-csi-ns-0", IDENTIFY(0x05, 0), CSI(0), .status = INVALID_NS },
	{ "identify-csi-ns-ffffffff", IDENTIFY(0x05, UINT32_MAX), CSI(0), .status = INVALID_NS },
	{ "identify-csi-ns-csi-1", IDENTIFY(0x05, MY_NSID), CSI(1), .status = INVALID_FIELD },
	{ "identify-csi-ns-csi-ff", IDENTIFY(0x05, MY_NSID), CSI(0xff), .status = INVALID_FIELD },
	{ "identify-csi-controller", IDENTIFY(0x06, 0), CSI(0) },
	{ "identify-csi-controller-csi-ff", IDENTIFY(0x06, 0), CSI(0xff), .status = INVALID_FIELD },
	{ "identify-csi-active-list", IDENTIFY(0x07, 0), CSI(0), .check = lists_namespace },
	{ "identify-csi-active-list-csi-ff", IDENTIFY(0x07, 0), CSI(0xff),
	  .status = INVALID_FIELD },
	{ "identify-csi-active-list-ffffffff", IDENTIFY(0x07, UINT32_MAX), CSI(0),
	  .status = INVALID_NS },
	{ "identify-independent", IDENTIFY(0x08, MY_NSID) },
	{ "identify-independent-0", IDENTIFY(0x08, 0), .status = INVALID_NS },
	{ "identify-independent-inactive", IDENTIFY(0x08, UNKNOWN_NSID), .check = all_zero },
	{ "identify-allocated-list", IDENTIFY(0x10, 0), .check = lists_namespace },
	{ "identify-allocated-ns", IDENTIFY(0x11, MY_NSID), .check = right_namespace },
	{ "identify-controllers-of-ns", IDENTIFY(0x12, MY_NSID) },
	{ "identify-controllers", IDENTIFY(0x13, 0) },
	{ "identify-primary-capabilities", IDENTIFY(0x14, 0), .status = INVALID_FIELD },
	{ "identify-secondary-controllers", IDENTIFY(0x15, 0), .status = INVALID_FIELD },
	{ "identify-granularity", IDENTIFY(0x16, 0), .status = INVALID_FIELD },
	{ "identify-domains", IDENTIFY(0x18, 0), .status = INVALID_FIELD },
	{ "identify-endurance-groups", IDENTIFY(0x19, 0), .status = INVALID_FIELD },
	{ "identify-0-bytes", IDENTIFY(0x01, 0), .edit = other_len, .arg = 0, .status = WRONG_LEN },
	{ "identify-4095-bytes", IDENTIFY(0x01, 0), .edit = other_len, .arg = 4095,
	  .status = WRONG_LEN },
	{ "identify-4097-bytes", IDENTIFY(0x01, 0), .edit = other_len, .arg = 4097,
	  .status = WRONG_LEN },
	{ "identify-ffffff-bytes", IDENTIFY(0x01, 0), .edit = other_len, .arg = 0xffffff,
	  .status = WRONG_LEN },
};

/* What no controller of ours has ever: reserved, or only in subsystems that are more than we. */
static bool is_reserved_cns(unsigned int cns)
{
	return (cns >= 0x0b && cns <= 0x0f) || cns == 0x1e || cns > 0x20;
}

static void reserved_cns_cases(struct suite *s)
{
	char name[32];

	for (unsigned int cns = 0; cns < 256; cns++) {
		struct command_case row = { .name = name,
					    IDENTIFY(cns, 0),
					    .status = INVALID_FIELD };

		if (!is_reserved_cns(cns))
			continue;
		snprintf(name, sizeof(name), "identify-cns-%02x", cns);
		suite_case(s, name, NOW, command_case, &row);
	}
}

/* ---- Get Log Page ------------------------------------------------------------------------------
 */

#define LOG(lid, bytes)                                                                            \
	.opcode = ADM_GET_LOG, .nsid = UINT32_MAX,                                                 \
	.cdw10 = (uint32_t)(lid) | (((uint32_t)(bytes) / 4 - 1) & 0xffff) << 16,                   \
	.cdw11 = ((uint32_t)(bytes) / 4 - 1) >> 16, .data = TO_HOST, .len = (bytes)

/* RGO, a bit of the Log Specific Parameter */
static void groups_only(struct suite *s, const struct command_case *t, struct capsule *c)
{
	(void)s;
	c->sqe.cdw10 = put32(t->cdw10 | 1 << 8);
}

/* A log page is refused before its length can matter; too long an SGL shows that. */
static const struct command_case log_rows[] = {
	{ "log-supported", LOG(0x00, 1024) },
	{ "log-error", LOG(0x01, 64) },
	{ "log-smart", LOG(0x02, 512) },
	{ "log-firmware", LOG(0x03, 512) },
	{ "log-changed-ns", LOG(0x04, 4096) },
	{ "log-effects", LOG(0x05, 4096) },
	{ "log-self-test", LOG(0x06, 564), .status = INVALID_LOG },
	{ "log-telemetry-host", LOG(0x07, 512), .status = INVALID_LOG },
	{ "log-telemetry-controller", LOG(0x08, 512), .status = INVALID_LOG },
	{ "log-endurance", LOG(0x09, 512), .status = INVALID_LOG },
	{ "log-predictable-latency", LOG(0x0a, 512), .status = INVALID_LOG },
	{ "log-ana", LOG(0x0c, 16) },
	{ "log-ana-groups-only", LOG(0x0c, 512), .edit = groups_only },
	{ "log-ana-offset", LOG(0x0c, 32), .cdw12 = 16 },
	{ "log-ana-offset-beyond", LOG(0x0c, 16), .cdw12 = 1 << 20, .status = INVALID_FIELD },
	{ "log-ana-short-sgl", LOG(0x0c, 64), .edit = other_len, .arg = 16, .status = WRONG_LEN },
	{ "log-feature-identifiers", LOG(0x12, 1024) },
	{ "log-discovery-on-io-controller", LOG(0x70, 1024), .status = INVALID_LOG },
	{ "log-reservation", LOG(0x80, 64) },
	{ "log-sanitize", LOG(0x81, 512), .status = INVALID_LOG },
	{ "log-vendor", LOG(0xc0, 512), .status = INVALID_LOG },
	{ "log-vendor-ff", LOG(0xff, 512), .status = INVALID_LOG },
	{ "log-offset-4", LOG(0x02, 508), .cdw12 = 4 },
	{ "log-offset-end", LOG(0x02, 16), .cdw12 = 512, .check = all_zero },
	{ "log-offset-beyond", LOG(0x02, 16), .cdw12 = 516, .status = INVALID_FIELD },
	{ "log-offset-2", LOG(0x02, 16), .cdw12 = 2, .status = INVALID_FIELD },
	{ "log-offset-huge", LOG(0x02, 16), .cdw12 = 0xfffffffc, .cdw13 = UINT32_MAX,
	  .status = INVALID_FIELD },
	{ "log-offset-is-index", LOG(0x02, 16), .cdw14 = 1 << 23, .status = INVALID_FIELD },
	{ "log-4-bytes", LOG(0x02, 4) },
	{ "log-longer-than-page", LOG(0x02, 1024) },
	{ "log-longer-than-sgl", LOG(0x02, 512), .edit = other_len, .arg = 508,
	  .status = WRONG_LEN },
	{ "log-shorter-than-sgl", LOG(0x02, 512), .edit = other_len, .arg = 516,
	  .status = WRONG_LEN },
	{ "log-longer-than-mdts", .opcode = ADM_GET_LOG, .cdw10 = 0xffff0002, .cdw11 = 0xffff,
	  .data = TO_HOST, .len = 4096, .status = INVALID_FIELD },
};

/* ---- features ---------------------------------------------------------------------------------
 */

#define GET(fid) .opcode = ADM_GET_FEATURES, .cdw10 = (fid)
#define SET(fid) .opcode = ADM_SET_FEATURES, .cdw10 = (fid)
#define SAVE     (1u << 31)

/* Get Features answers what Set Features has set. */
static bool same_when_got(struct suite *s, const struct command_case *t,
			  const struct host_response *r)
{
	struct capsule c;
	struct host_response got;
	int err;

	(void)r;
	fab_capsule_init(&c, ADM_GET_FEATURES);
	c.sqe.cdw10 = put32(t->cdw10);
	err = fab_exec(&s->ctrl->admin, &c, &got);
	if (!expect_status(s, err, &got, NVME_OK))
		return false;
	return get32(got.cqe.dw0) == t->arg ||
	       suite_fail(s, "got %#x with Get Features, expected %#x", get32(got.cqe.dw0),
			  (unsigned int)t->arg);
}

static const struct command_case feature_rows[] = {
	{ "get-feature-0", GET(0x00), .status = INVALID_FIELD },
	{ "get-feature-arbitration", GET(0x01), .dw0_mask = UINT32_MAX, .dw0 = 7 },
	{ "get-feature-power", GET(0x02), .dw0_mask = UINT32_MAX },
	{ "get-feature-error-recovery", GET(0x05), .nsid = MY_NSID, .dw0_mask = UINT32_MAX },
	{ "get-feature-error-recovery-of-all", GET(0x05), .nsid = UINT32_MAX,
	  .status = INVALID_NS },
	{ "get-feature-write-cache", GET(0x06), .dw0_mask = ~1u },
	{ "get-feature-queues", GET(0x07), .dw0_mask = 0xff80ff80 },
	{ "get-feature-coalescing", GET(0x08), .status = INVALID_FIELD },
	{ "get-feature-vector", GET(0x09), .status = INVALID_FIELD },
	{ "get-feature-events", GET(0x0b) },
	{ "get-feature-power-transition", GET(0x0c), .status = INVALID_FIELD },
	{ "get-feature-host-memory", GET(0x0d), .status = INVALID_FIELD },
	{ "get-feature-keep-alive", GET(0x0f), .dw0_mask = UINT32_MAX },
	{ "get-feature-1e", GET(0x1e), .status = INVALID_FIELD },
	{ "get-feature-timestamp", GET(0x0e), .data = TO_HOST, .len = 8 },
	{ "get-feature-host-behavior", GET(0x16), .data = TO_HOST, .len = 512 },
	{ "get-feature-host-id", GET(0x81), .cdw11 = 1, .data = TO_HOST, .len = 16 },
	{ "get-feature-host-id-of-64-bits", GET(0x81), .data = TO_HOST, .len = 8,
	  .status = INVALID_FIELD },
	{ "get-feature-write-protect", GET(0x84), .nsid = MY_NSID, .dw0_mask = UINT32_MAX },
	{ "get-feature-default", GET(0x04 | 1 << 8) },
	{ "get-feature-capabilities", GET(0x84 | 3 << 8), .dw0_mask = UINT32_MAX, .dw0 = 6 },
	{ "get-feature-select-reserved", GET(0x04 | 4 << 8), .status = INVALID_FIELD },
	{ "get-feature-vendor", GET(0xc0), .status = INVALID_FIELD },
	{ "get-feature-ff", GET(0xff), .status = INVALID_FIELD },
	{ "set-feature-0", SET(0x00), .status = INVALID_FIELD },
	{ "set-feature-ff", SET(0xff), .status = INVALID_FIELD },
	{ "set-feature-arbitration", SET(0x01), .status = NOT_CHANGEABLE },
	{ "set-feature-write-cache", SET(0x06), .status = NOT_CHANGEABLE },
	{ "get-feature-command-sets", GET(0x19), .dw0_mask = UINT32_MAX },
	{ "set-feature-command-sets", SET(0x19) },
	{ "set-feature-command-sets-1", SET(0x19), .cdw11 = 1,
	  .status = NVME_IO_SET_COMBINATION | DNR },
	{ "set-feature-command-sets-1ff", SET(0x19), .cdw11 = 0x1ff,
	  .status = NVME_IO_SET_COMBINATION | DNR },
	{ "set-feature-power-1", SET(0x02), .cdw11 = 1, .status = INVALID_FIELD },
	{ "set-feature-of-no-namespace", SET(0x04), .nsid = MY_NSID,
	  .status = NVME_FEATURE_NOT_NS_SPECIFIC | DNR },
	{ "set-feature-host-id", SET(0x81), .cdw11 = 1, .data = FROM_HOST, .len = 16,
	  .status = SEQUENCE },
	{ "set-feature-write-protect-for-ever", SET(0x84), .nsid = MY_NSID, .cdw11 = 3,
	  .status = INVALID_FIELD },
	{ "set-feature-queues-with-queues", SET(0x07), .cdw11 = 0x00030003, .status = SEQUENCE },
	{ "set-feature-queues-ffff", SET(0x07), .cdw11 = 0xffff, .status = INVALID_FIELD },
	{ "set-feature-queues-ffff-completion", SET(0x07), .cdw11 = 0xffff0000,
	  .status = INVALID_FIELD },
	{ "set-feature-events", SET(0x0b), .cdw11 = 0x100, .check = same_when_got, .arg = 0x100 },
	{ "set-feature-events-reserved", SET(0x0b), .cdw11 = 1u << 30, .status = INVALID_FIELD },
	{ "set-feature-events-of-discovery", SET(0x0b), .cdw11 = 1u << 31,
	  .status = INVALID_FIELD },
	{ "set-feature-events-save", SET(0x0b | SAVE), .status = NOT_SAVEABLE },
	{ "set-feature-keep-alive", SET(0x0f), .cdw11 = 60000, .check = same_when_got,
	  .arg = 60000 },
	{ "set-feature-keep-alive-rounds-up", SET(0x0f), .cdw11 = 59001, .check = same_when_got,
	  .arg = 60000 },
	{ "set-feature-keep-alive-save", SET(0x0f | SAVE), .status = NOT_SAVEABLE },
	{ "keep-alive", .opcode = ADM_KEEP_ALIVE },
	{ "set-feature-keep-alive-off", SET(0x0f), .cdw11 = 0, .check = same_when_got, .arg = 0 },
	{ "keep-alive-without-timeout", .opcode = ADM_KEEP_ALIVE,
	  .status = NVME_KATO_INVALID | DNR },
};

/* ---- opcodes ----------------------------------------------------------------------------------
 */

/* What an I/O controller must have. Every other opcode is invalid, unless the effects log says that
 * there is more. */
static const uint8_t admin_opcodes[] = { ADM_GET_LOG,      ADM_IDENTIFY,     ADM_ABORT,
					 ADM_SET_FEATURES, ADM_GET_FEATURES, ADM_ASYNC_EVENT,
					 ADM_KEEP_ALIVE };

static bool effects(struct suite *s, struct nvme_cmd_effects_log *ret)
{
	const struct command_case row = { LOG(0x05, 4096) };

	if (!command_case(s, &row))
		return false;
	memcpy(ret, s->data.va, sizeof(*ret));
	return true;
}

static bool effects_case(struct suite *s, const void *row)
{
	struct nvme_cmd_effects_log log = { 0 };

	(void)row;
	if (!effects(s, &log))
		return false;
	for (size_t i = 0; i < sizeof(admin_opcodes); i++)
		if (!(le32toh(log.acs[admin_opcodes[i]]) & NVME_CMD_EFFECTS_CSUPP))
			return suite_fail(s, "got no CSUPP for admin opcode %#x", admin_opcodes[i]);
	for (unsigned int op = 0; op < 3; op++)
		if (!(le32toh(log.iocs[op]) & NVME_CMD_EFFECTS_CSUPP))
			return suite_fail(s, "got no CSUPP for I/O opcode %#x", op);
	return (le32toh(log.iocs[1]) & NVME_CMD_EFFECTS_LBCC) ||
	       suite_fail(s, "got no LBCC for Write");
}

/* What the effects log says is so: the rest is invalid. With nsid 0 nothing is done. */
static bool opcode_case(struct suite *s, const void *row)
{
	const struct command_case *t = row;
	struct nvme_cmd_effects_log log = { 0 };
	struct capsule c;
	struct host_response r;
	bool supported;
	int err;

	if (!effects(s, &log))
		return false;
	supported = le32toh(t->on == ON_ADMIN ? log.acs[t->opcode] : log.iocs[t->opcode]) &
		    NVME_CMD_EFFECTS_CSUPP;
	fab_capsule_init(&c, t->opcode);
	c.sqe.dptr = fab_sgl_keyed(&s->data, 4096, SGL_SUB_ADDRESS);
	err = fab_exec(t->on == ON_ADMIN ? &s->ctrl->admin : &s->io, &c, &r);
	if (!supported)
		return expect_status(s, err, &r, INVALID_OPCODE);
	if (err || r.len != sizeof(r.cqe))
		return expect_status(s, err, &r, NVME_OK);
	return (fab_status(&r) & 0x7ff) != NVME_INVALID_OPCODE ||
	       suite_fail(s, "got Invalid Opcode, but the effects log has it");
}

void opcode_cases(struct suite *s, enum on on)
{
	char name[32];

	for (unsigned int op = 0; op < 256; op++) {
		struct command_case row = { .on = on, .opcode = (uint8_t)op };

		/* AERs are not answered, fabrics commands have their own cases */
		if (op == OP_FABRICS || (on == ON_ADMIN && op == ADM_ASYNC_EVENT))
			continue;
		snprintf(name, sizeof(name), "opcode-%02x", op);
		suite_case(s, name, NOW, opcode_case, &row);
	}
}

/* ---- a discovery controller --------------------------------------------------------------------
 */

struct discovery_case {
	const char *name;
	enum since since;
	uint8_t opcode;
	uint32_t cdw10, cdw11, len;
	uint16_t status;
};

static const struct discovery_case discovery_rows[] = {
	{ "discovery-identify", NOW, ADM_IDENTIFY, 0x01, 0, 4096, NVME_OK },
	{ "discovery-identify-ns", NOW, ADM_IDENTIFY, 0x00, 0, 4096, INVALID_FIELD },
	{ "discovery-identify-active-list", NOW, ADM_IDENTIFY, 0x02, 0, 4096, INVALID_FIELD },
	{ "discovery-log", NOW, ADM_GET_LOG, 0x70 | 0xff << 16, 0, 1024, NVME_OK },
	{ "discovery-log-supported", NOW, ADM_GET_LOG, 0xff << 16, 0, 1024, NVME_OK },
	{ "discovery-log-smart", NOW, ADM_GET_LOG, 0x02 | 0x7f << 16, 0, 512, INVALID_LOG },
	{ "discovery-log-ana", NOW, ADM_GET_LOG, 0x0c | 0x7f << 16, 0, 512, INVALID_LOG },
	{ "discovery-get-keep-alive", NOW, ADM_GET_FEATURES, 0x0f, 0, 0, NVME_OK },
	{ "discovery-get-events", NOW, ADM_GET_FEATURES, 0x0b, 0, 0, NVME_OK },
	{ "discovery-set-events", NOW, ADM_SET_FEATURES, 0x0b, 1u << 31, 0, NVME_OK },
	{ "discovery-set-events-of-io", NOW, ADM_SET_FEATURES, 0x0b, 0x100, 0, INVALID_FIELD },
	{ "discovery-get-queues", NOW, ADM_GET_FEATURES, 0x07, 0, 0, INVALID_FIELD },
	{ "discovery-abort", NOW, ADM_ABORT, 0, 0, 0, INVALID_OPCODE },
	{ "discovery-opcode-80", NOW, 0x80, 0, 0, 0, INVALID_OPCODE },
};

static bool discovery_case(struct suite *s, const void *row)
{
	static const struct fab_options o = { .nqn = NVME_DISC_SUBSYS_NAME };
	const struct discovery_case *t = row;
	struct capsule c;
	struct host_response r;
	struct fab_ctrl *ctrl;
	bool ok;
	int err;

	if (!suite_controller(s) || !suite_create(s, &o, &ctrl))
		return false;
	fab_capsule_init(&c, t->opcode);
	c.sqe.cdw10 = put32(t->cdw10);
	c.sqe.cdw11 = put32(t->cdw11);
	c.sqe.dptr = fab_sgl_keyed(&s->data, t->len, SGL_SUB_ADDRESS);
	err = fab_exec(&ctrl->admin, &c, &r);
	ok = expect_status(s, err, &r, t->status);
	fab_ctrl_destroy(ctrl);
	return ok;
}

void admin_cases(struct suite *s)
{
	opcode_cases(s, ON_ADMIN);
	suite_case(s, "effects-log", NOW, effects_case, NULL);
	SUITE_COMMANDS(s, identify_rows);
	reserved_cns_cases(s);
	SUITE_COMMANDS(s, log_rows);
	SUITE_COMMANDS(s, feature_rows);
	for (size_t i = 0; i < sizeof(discovery_rows) / sizeof(discovery_rows[0]); i++)
		suite_case(s, discovery_rows[i].name, discovery_rows[i].since, discovery_case,
			   &discovery_rows[i]);
}
