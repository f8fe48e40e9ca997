/* NVMe over Fabrics from the host's side. */
#include "tests/host/nvme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- capsules ---------------------------------------------------------------------------------
 */

static void put24(uint8_t to[3], uint32_t v)
{
	to[0] = (uint8_t)v;
	to[1] = (uint8_t)(v >> 8);
	to[2] = (uint8_t)(v >> 16);
}

union nvme_sgl fab_sgl_keyed(const struct host_buffer *b, uint32_t len, uint8_t sub_type)
{
	union nvme_sgl sgl = { .keyed = {
				       .addr = put64(b ? (uintptr_t)b->va : 0),
				       .type = (uint8_t)(SGL_KEYED_DATA_BLOCK << 4 | sub_type) } };
	le32 key = put32(b ? b->rkey : 0);

	put24(sgl.keyed.len, len);
	memcpy(sgl.keyed.key, &key, sizeof(key));
	return sgl;
}

union nvme_sgl fab_sgl_in_capsule(uint64_t offset, uint32_t len)
{
	return (union nvme_sgl){ .data = { .addr = put64(offset),
					   .len = put32(len),
					   .type = SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET } };
}

void fab_capsule_init(struct capsule *c, uint8_t opcode)
{
	memset(&c->sqe, 0, sizeof(c->sqe));
	c->data_len = 0;
	c->sqe.opcode = opcode;
	c->sqe.flags = SQE_PSDT_SGL;
	c->sqe.dptr = fab_sgl_keyed(NULL, 0, SGL_SUB_ADDRESS);
}

void fab_fabrics_init(struct capsule *c, uint8_t fctype)
{
	fab_capsule_init(c, OP_FABRICS);
	c->sqe.fctype = fctype;
}

void fab_rw_init(struct capsule *c, uint8_t opcode, uint32_t nsid, uint64_t slba, uint32_t nblocks)
{
	fab_capsule_init(c, opcode);
	c->sqe.nsid = put32(nsid);
	c->sqe.cdw10 = put32((uint32_t)slba);
	c->sqe.cdw11 = put32((uint32_t)(slba >> 32));
	c->sqe.cdw12 = put32(nblocks - 1);
}

void fab_connect_init(struct capsule *c, const struct fab_host *fh, struct host_buffer *b,
		      uint16_t cntlid, uint16_t qid, uint16_t sqsize)
{
	struct nvmf_connect_sqe *sqe = (void *)&c->sqe;
	struct nvmf_connect_data *data = (void *)b->va;

	fab_fabrics_init(c, FC_CONNECT);
	c->sqe.dptr = fab_sgl_keyed(b, sizeof(*data), SGL_SUB_ADDRESS);
	sqe->qid = put16(qid);
	sqe->sqsize_z = put16((uint16_t)(sqsize - 1));
	memset(data, 0, sizeof(*data));
	memcpy(data->hostid, fh->hostid, sizeof(data->hostid));
	data->cntlid = htole16(cntlid);
	strlcpy(data->subsysnqn, fh->nqn, sizeof(data->subsysnqn));
	strlcpy(data->hostnqn, fh->hostnqn, sizeof(data->hostnqn));
}

/* ---- commands ---------------------------------------------------------------------------------
 */

int fab_send(struct fab_queue *q, struct capsule *c)
{
	c->sqe.cid = put16(q->next_cid++);
	return host_send(q->conn, c, sizeof(c->sqe) + c->data_len);
}

int fab_exec(struct fab_queue *q, struct capsule *c, struct host_response *ret)
{
	uint64_t deadline = host_now_ms() + HOST_TIMEOUT_MS;
	int err = fab_send(q, c);

	while (!err) {
		uint64_t now = host_now_ms();

		err = host_wait(q->conn, now < deadline ? (unsigned int)(deadline - now) : 0, ret);
		if (!err && ret->cqe.cid.raw == c->sqe.cid.raw)
			return 0;
	}
	return err;
}

uint16_t fab_status(const struct host_response *r)
{
	return (uint16_t)(get16(r->cqe.status) >> 1 & ~MORE);
}

const char *fab_status_name(uint16_t status)
{
	static const struct {
		uint16_t status;
		const char *name;
	} names[] = {
		{ 0x000, "Successful" },
		{ 0x001, "Invalid Command Opcode" },
		{ 0x002, "Invalid Field in Command" },
		{ 0x003, "Command ID Conflict" },
		{ 0x004, "Data Transfer Error" },
		{ 0x006, "Internal Error" },
		{ 0x007, "Command Abort Requested" },
		{ 0x008, "Command Aborted due to SQ Deletion" },
		{ 0x009, "Command Aborted due to Failed Fused Command" },
		{ 0x00a, "Command Aborted due to Missing Fused Command" },
		{ 0x00b, "Invalid Namespace or Format" },
		{ 0x00c, "Command Sequence Error" },
		{ 0x00d, "Invalid SGL Segment Descriptor" },
		{ 0x00e, "Invalid Number of SGL Descriptors" },
		{ 0x00f, "Data SGL Length Invalid" },
		{ 0x010, "Metadata SGL Length Invalid" },
		{ 0x011, "SGL Descriptor Type Invalid" },
		{ 0x014, "Atomic Write Unit Exceeded" },
		{ 0x016, "SGL Offset Invalid" },
		{ 0x018, "Host Identifier Inconsistent Format" },
		{ 0x019, "Keep Alive Timer Expired" },
		{ 0x01a, "Keep Alive Timeout Invalid" },
		{ 0x01e, "SGL Data Block Granularity Invalid" },
		{ 0x020, "Namespace is Write Protected" },
		{ 0x022, "Transient Transport Error" },
		{ 0x027, "Host Identifier Not Initialized" },
		{ 0x029, "I/O Command Set Not Supported" },
		{ 0x02b, "I/O Command Set Combination Rejected" },
		{ 0x080, "LBA Out of Range" },
		{ 0x081, "Capacity Exceeded" },
		{ 0x082, "Namespace Not Ready" },
		{ 0x083, "Reservation Conflict" },
		{ 0x103, "Abort Command Limit Exceeded" },
		{ 0x105, "Asynchronous Event Request Limit Exceeded" },
		{ 0x109, "Invalid Log Page" },
		{ 0x10d, "Feature Identifier Not Saveable" },
		{ 0x10e, "Feature Not Changeable" },
		{ 0x10f, "Feature Not Namespace Specific" },
		{ 0x12c, "Invalid I/O Command Set" },
		{ 0x180, "Connect Incompatible Format / Conflicting Attributes" },
		{ 0x181, "Connect Controller Busy / Invalid Protection Information" },
		{ 0x182, "Connect Invalid Parameters / Attempted Write to Read Only Range" },
		{ 0x183, "Connect Restart Discovery / Command Size Limit Exceeded" },
		{ 0x184, "Connect Invalid Host" },
		{ 0x185, "Invalid Queue Type" },
		{ 0x191, "Authentication Required" },
		{ 0x280, "Write Fault" },
		{ 0x281, "Unrecovered Read Error" },
		{ 0x285, "Compare Failure" },
		{ 0x286, "Access Denied" },
		{ 0x287, "Deallocated or Unwritten Logical Block" },
		{ 0x300, "Internal Path Error" },
		{ 0x301, "Asymmetric Access Persistent Loss" },
		{ 0x302, "Asymmetric Access Inaccessible" },
		{ 0x303, "Asymmetric Access Transition" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].status == (status & 0x7ff))
			return names[i].name;
	return "?";
}

/* The outcome of a command: 0, negative errno, or its positive status. */
static int exec(struct fab_queue *q, struct capsule *c, struct host_response *ret)
{
	int err = fab_exec(q, c, ret);

	return err ? err : fab_status(ret);
}

/* ---- queues and controllers -------------------------------------------------------------------
 */

int fab_queue_open(struct host *h, uint16_t qid, uint16_t depth, struct fab_queue *ret)
{
	struct host_request req = host_default_request(qid, depth);
	struct host_answer answer;

	*ret = (struct fab_queue){ .qid = qid, .sqsize = depth, .next_cid = 1 };
	return host_connect(h, &req, &ret->conn, &answer);
}

void fab_queue_close(struct fab_queue *q)
{
	host_close(q->conn);
	q->conn = NULL;
}

int fab_property_get(struct fab_ctrl *c, uint32_t offset, bool wide, uint64_t *ret)
{
	struct capsule capsule;
	struct nvmf_property_sqe *sqe = (void *)&capsule.sqe;
	struct host_response r;
	int err;

	fab_fabrics_init(&capsule, FC_PROPERTY_GET);
	sqe->attrib = wide;
	sqe->offset = put32(offset);
	err = exec(&c->admin, &capsule, &r);
	if (!err)
		*ret = get32(r.cqe.dw0) | (uint64_t)(wide ? get32(r.cqe.dw1) : 0) << 32;
	return err;
}

int fab_property_set(struct fab_ctrl *c, uint32_t offset, uint64_t value)
{
	struct capsule capsule;
	struct nvmf_property_sqe *sqe = (void *)&capsule.sqe;
	struct host_response r;

	fab_fabrics_init(&capsule, FC_PROPERTY_SET);
	sqe->offset = put32(offset);
	sqe->value = put64(value);
	return exec(&c->admin, &capsule, &r);
}

int fab_wait_csts(struct fab_ctrl *c, uint32_t mask, uint32_t value)
{
	uint64_t deadline = host_now_ms() + HOST_TIMEOUT_MS, csts = 0;

	while (host_now_ms() < deadline) {
		int err = fab_property_get(c, PROP_CSTS, false, &csts);

		if (err || ((uint32_t)csts & mask) == value)
			return err;
		usleep(10000); /* a property can only be polled */
	}
	return -ETIMEDOUT;
}

int fab_identify(struct fab_ctrl *c, uint8_t cns, uint32_t nsid)
{
	struct capsule capsule;
	struct host_response r;

	fab_capsule_init(&capsule, ADM_IDENTIFY);
	capsule.sqe.nsid = put32(nsid);
	capsule.sqe.cdw10 = put32(cns);
	capsule.sqe.dptr = fab_sgl_keyed(&c->page, 4096, SGL_SUB_ADDRESS);
	return exec(&c->admin, &capsule, &r);
}

static int enable(struct fab_ctrl *c)
{
	int err = fab_property_get(c, PROP_CAP, true, &c->cap);

	if (!err)
		err = fab_property_set(c, PROP_CC, CC_READY);
	if (!err)
		err = fab_wait_csts(c, CSTS_RDY, CSTS_RDY);
	if (!err)
		err = fab_identify(c, NVME_IDENTIFY_CNS_CTRL, 0);
	if (err)
		return err;
	memcpy(&c->id, c->page.va, sizeof(c->id));
	c->mdts_len = c->id.mdts ? (size_t)4096 << c->id.mdts : FAB_DATA_LEN;
	c->in_capsule = le32toh(c->id.ioccsz) ? le32toh(c->id.ioccsz) * 16u - 64u : 0;
	return 0;
}

static int connect_queue(struct fab_ctrl *c, struct fab_queue *q, const struct fab_options *o,
			 uint16_t cntlid, struct host_response *r)
{
	struct fab_host fh = *c->fh;
	struct capsule capsule;
	struct nvmf_connect_sqe *sqe = (void *)&capsule.sqe;

	strlcpy(fh.nqn, c->nqn, sizeof(fh.nqn));
	fab_connect_init(&capsule, &fh, &c->page, cntlid, q->qid, q->sqsize);
	sqe->kato_ms = put32(o->kato_ms);
	sqe->cattr = o->cattr;
	return exec(q, &capsule, r);
}

int fab_ctrl_create(const struct fab_host *fh, const struct fab_options *o, struct fab_ctrl **ret)
{
	struct fab_ctrl *c = calloc(1, sizeof(*c));
	struct host_response r;
	int err;

	if (!c)
		return -ENOMEM;
	c->fh = fh;
	strlcpy(c->nqn, o->nqn ? o->nqn : fh->nqn, sizeof(c->nqn));
	err = fab_queue_open(fh->host, 0, 32, &c->admin);
	if (!err)
		err = host_alloc(fh->host, 4096, 0, &c->page);
	if (!err)
		err = connect_queue(c, &c->admin, o, 0xffff, &r);
	if (!err) {
		c->connect_dw0 = get32(r.cqe.dw0);
		c->cntlid = (uint16_t)c->connect_dw0;
		err = o->disabled ? 0 : enable(c);
	}
	if (err) {
		fab_ctrl_destroy(c);
		return err;
	}
	*ret = c;
	return 0;
}

void fab_ctrl_destroy(struct fab_ctrl *c)
{
	if (!c)
		return;
	fab_queue_close(&c->admin);
	host_free(&c->page);
	free(c);
}

int fab_ctrl_queue(struct fab_ctrl *c, uint16_t qid, uint16_t depth, struct fab_queue *ret)
{
	static const struct fab_options none;
	struct host_request req = host_default_request(qid, depth);
	struct host_answer answer;
	struct host_response r;
	int err;

	req.data.cntlid = put16(c->cntlid);
	*ret = (struct fab_queue){ .qid = qid, .sqsize = depth, .next_cid = 1 };
	err = host_connect(c->fh->host, &req, &ret->conn, &answer);
	if (!err)
		err = connect_queue(c, ret, &none, c->cntlid, &r);
	if (err)
		fab_queue_close(ret);
	return err;
}
