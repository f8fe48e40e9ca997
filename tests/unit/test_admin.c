/* The admin commands of a controller, each with its good and its bad forms. */
#include "target/durable.h"
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#include <time.h>

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))
#define INVALID     (NVME_INVALID_FIELD | NVME_DNR)
#define NO_NS       (NVME_INVALID_NS | NVME_DNR)
#define ALL         0xffffffff

static struct exchange admin_command(uint8_t opcode, uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
	struct exchange x = {
		.sqe = { .opcode = opcode, .cdw10 = put32(cdw10), .cdw11 = put32(cdw11) }
	};

	x.sqe.nsid = put32(nsid);
	return x;
}

static struct namespace *the_namespace(void)
{
	return subsystem_namespace(target->subsystems[1], 1);
}

/* ---- identify -----------------------------------------------------------------------------------
 */

static uint16_t identify(struct nvmf_queue *q, uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
	struct exchange x = admin_command(0x06, nsid, cdw10, cdw11);

	memset(data, 0xff, 4096);
	return run(q, &x);
}

#define CSI(csi) ((uint32_t)(csi) << 24)

static const struct identify_row {
	uint32_t nsid, cns, cdw11;
	uint16_t status;
	bool discovery; /* the same there */
} identify_rows[] = {
	{ 1, 0x00, 0, .status = NVME_OK },
	{ 2, 0x00, 0, .status = NVME_OK }, /* inactive: zeros */
	{ CONFIG_NSID_MAX, 0x00, 0, .status = NVME_OK },
	{ CONFIG_NSID_MAX + 1, 0x00, 0, .status = NO_NS },
	{ 0, 0x00, 0, .status = NO_NS },
	{ ALL, 0x00, 0, .status = NO_NS }, /* no Namespace Management */
	{ 0, 0x01, 0, .status = NVME_OK, .discovery = true },
	{ 5, 0x01, 0, .status = NVME_OK, .discovery = true }, /* NSID is not used */
	{ 0, 0x02, 0, .status = NVME_OK },
	{ 0xfffffffd, 0x02, 0, .status = NVME_OK },
	{ 0xfffffffe, 0x02, 0, .status = NO_NS },
	{ ALL, 0x02, 0, .status = NO_NS },
	{ 1, 0x03, 0, .status = NVME_OK },
	{ 2, 0x03, 0, .status = NO_NS },
	{ 0, 0x03, 0, .status = NO_NS },
	{ ALL, 0x03, 0, .status = NO_NS },
	{ 0, 0x04, 0, .status = INVALID, .discovery = true },
	{ 1, 0x05, CSI(0), .status = NVME_OK },
	{ 2, 0x05, CSI(0), .status = NVME_OK },
	{ 0, 0x05, CSI(0), .status = NO_NS },
	{ ALL, 0x05, CSI(0), .status = NO_NS },
	{ 1, 0x05, CSI(1), .status = INVALID },
	{ 1, 0x05, CSI(2), .status = INVALID },
	{ 0, 0x06, CSI(0), .status = NVME_OK },
	{ 0, 0x06, CSI(2), .status = INVALID },
	{ 0, 0x06, CSI(0xff), .status = INVALID },
	{ 0, 0x07, CSI(0), .status = NVME_OK },
	{ 0, 0x07, CSI(2), .status = INVALID },
	{ 0xfffffffe, 0x07, CSI(0), .status = NO_NS },
	{ 1, 0x08, 0, .status = NVME_OK },
	{ 2, 0x08, 0, .status = NVME_OK },
	{ 0, 0x08, 0, .status = NO_NS },
	{ ALL, 0x08, 0, .status = NO_NS },
	{ 0, 0x09, 0, .status = INVALID, .discovery = true },
	{ 0, 0x0a, 0, .status = INVALID, .discovery = true },
	{ 0, 0x10, 0, .status = NVME_OK },
	{ 0xfffffffe, 0x10, 0, .status = NO_NS },
	{ 1, 0x11, 0, .status = NVME_OK },
	{ 2, 0x11, 0, .status = NVME_OK },
	{ ALL, 0x11, 0, .status = NO_NS },
	{ 1, 0x12, 0, .status = NVME_OK },
	{ 2, 0x12, 0, .status = INVALID },
	{ ALL, 0x12, 0, .status = INVALID },
	{ 0, 0x13, 0, .status = NVME_OK },
	{ 0, 0x14, 0, .status = INVALID, .discovery = true },
	{ 0, 0x15, 0, .status = INVALID, .discovery = true },
	{ 0, 0x16, 0, .status = INVALID, .discovery = true },
	{ 0, 0x17, 0, .status = INVALID, .discovery = true },
	{ 0, 0x18, 0, .status = INVALID, .discovery = true },
	{ 0, 0x19, 0, .status = INVALID, .discovery = true },
	{ 0, 0x1a, CSI(0), .status = NVME_OK },
	{ 0, 0x1a, CSI(2), .status = INVALID },
	{ 1, 0x1b, CSI(0), .status = NVME_OK },
	{ 1, 0x1b, CSI(2), .status = INVALID },
	{ 0, 0x1c | 0xffffu << 16, 0, .status = NVME_OK },
	{ 0, 0x1c | 0xfff0u << 16, 0, .status = INVALID }, /* nobody's controller ID */
	{ 0, 0x1d, 0, .status = INVALID, .discovery = true },
	{ 0, 0x1e, 0, .status = INVALID, .discovery = true },
	{ 1, 0x1f, 0, .status = NVME_OK },
	{ ALL, 0x1f, 0, .status = NO_NS },
	{ 0, 0x20, 0, .status = INVALID, .discovery = true },
	{ 0, 0xff, 0, .status = INVALID, .discovery = true },
};

START_TEST(identify_forms_have_their_status)
{
	const struct identify_row *row = &identify_rows[_i];
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid), *d = open_discovery(HOSTNQN);
	uint16_t there = row->discovery ? row->status : INVALID;

	ck_assert_uint_eq(identify(q, row->nsid, row->cns, row->cdw11), row->status);
	ck_assert_uint_eq(identify(d, row->nsid, row->cns, row->cdw11), there);
	drop_queue(d);
	drop_queue(q);
}
END_TEST

/* A row above for every form that there is, and Invalid Field for every other. */
START_TEST(every_cns_has_an_answer)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid), *d = open_discovery(HOSTNQN);

	for (uint32_t cns = 0; cns < 256; cns++) {
		bool in_rows = false;

		for (int i = 0; i < NROWS(identify_rows); i++)
			in_rows |= (identify_rows[i].cns & 0xff) == cns;
		if (identify_forms[cns].build)
			ck_assert_msg(in_rows, "CNS %02x has no row", cns);
		else
			ck_assert_uint_eq(identify(q, 1, cns, 0), INVALID);
		if (!identify_forms[cns].discovery)
			ck_assert_uint_eq(identify(d, 1, cns, 0), INVALID);
	}
	drop_queue(d);
	drop_queue(q);
}
END_TEST

START_TEST(identify_controller_is_what_the_linux_host_demands)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	const struct nvme_id_ctrl *id = (void *)data;

	ck_assert_uint_eq(identify(q, 0, 1, 0), NVME_OK);
	ck_assert_uint_eq(le16toh(id->cntlid), cntlid);
	ck_assert_uint_ne(le16toh(id->kas), 0);
	ck_assert_uint_eq(le32toh(id->ioccsz), (64 + 4096) / 16);
	ck_assert_uint_ge(le32toh(id->iorcsz), 1);
	ck_assert_uint_eq(id->icdoff, 0);
	ck_assert(le32toh(id->sgls) & NVME_CTRL_SGLS_KEYED);
	ck_assert_str_eq(id->subnqn, NQN);
	ck_assert_uint_eq(id->mdts, 5);
	ck_assert_uint_eq(data[4095], 0);
	drop_queue(q);
}
END_TEST

START_TEST(identify_controller_says_what_the_tables_have)
{
	static const struct {
		uint8_t opcode, oncs;
	} rows[] = { { 0x05, 0 }, { 0x04, 1 }, { 0x09, 2 }, { 0x08, 3 },
		     { 0x0d, 5 }, { 0x0c, 7 }, { 0x19, 8 } };
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid), *d;
	const struct nvme_id_ctrl *id = (void *)data;

	the_namespace()->backend->info.limits.warm = 343;
	the_namespace()->backend->info.limits.critical = 373;
	ck_assert_uint_eq(identify(q, 0, 1, 0), NVME_OK);
	for (int i = 0; i < NROWS(rows); i++)
		ck_assert_msg((le16toh(id->oncs) >> rows[i].oncs & 1) ==
				      !!io_commands[rows[i].opcode].execute,
			      "opcode %02x", rows[i].opcode);
	ck_assert(le16toh(id->oncs) & 1 << 4);
	ck_assert(le16toh(id->oncs) & 1 << 6);
	ck_assert_uint_eq(le32toh(id->ver), 0x20100);
	ck_assert_uint_eq(id->aerl, AER_MAX - 1);
	ck_assert_uint_eq(id->elpe, 63);
	ck_assert_uint_eq(id->lpa, 0x27);
	ck_assert_uint_eq(id->nwpc, 1);
	ck_assert_uint_eq(le32toh(id->nn), CONFIG_NSID_MAX);
	ck_assert_uint_eq(le16toh(id->wctemp), 343);
	ck_assert_uint_eq(le16toh(id->cctemp), 373);
	ck_assert(le32toh(id->oaes) & NVME_CTRL_OAES_NA);
	ck_assert_uint_eq(le32toh(id->oaes) & 0xff, 0);
	ck_assert_uint_eq(id->cntrltype, 1);
	d = open_discovery(HOSTNQN);
	ck_assert_uint_eq(identify(d, 0, 1, 0), NVME_OK);
	ck_assert_uint_eq(id->cntrltype, 2);
	ck_assert_uint_eq(le32toh(id->oaes), 1u << 31);
	ck_assert_uint_eq(id->lpa, 0x04);
	ck_assert_uint_eq(le16toh(id->oncs), 0);
	drop_queue(d);
	drop_queue(q);
}
END_TEST

/* What a drive says, and what becomes of it in blocks of 4096 bytes. */
static const struct limits_row {
	struct backend_limits l;
	uint8_t nsfeat;
	uint16_t nawupf, nabspf, nabo, npwg, npwa, npdg, npda, nows, noiob;
	uint8_t dlfeat;
	uint32_t npdgl, npdal;
} limits_rows[] = {
	{ { 0 }, .dlfeat = 8 },
	{ { .physical_block = 4096 }, .nsfeat = 0x32, .dlfeat = 8 },
	{ { .physical_block = 4096, .atomic_write = 65536, .reads_zeroes = true },
	  .nsfeat = 0x32,
	  .nawupf = 15,
	  .dlfeat = 9 },
	/* a partition that starts amid an atomic unit, and amid a physical block */
	{ { .start = 4096, .physical_block = 4096, .atomic_write = 65536 },
	  .nsfeat = 0x32,
	  .dlfeat = 8 },
	{ { .start = 4096, .physical_block = 8192 },
	  .nsfeat = 0x30,
	  .npwg = 1,
	  .nows = 1,
	  .dlfeat = 8 },
	{ { .physical_block = 4096,
	    .atomic_write = 16384,
	    .atomic_boundary = 131072,
	    .start = 16384 },
	  .nsfeat = 0x32,
	  .nawupf = 3,
	  .nabspf = 31,
	  .nabo = 28,
	  .dlfeat = 8 },
	{ { .physical_block = 4096,
	    .io_min = 16384,
	    .io_opt = 131072,
	    .discard_granularity = 65536,
	    .boundary = 262144 },
	  .nsfeat = 0x32,
	  .npwg = 3,
	  .npwa = 3,
	  .npdg = 15,
	  .npda = 15,
	  .nows = 31,
	  .noiob = 64,
	  .dlfeat = 8,
	  .npdgl = 16,
	  .npdal = 16 },
	/* an optimum that is no multiple of the least */
	{ { .physical_block = 4096, .io_min = 16384, .io_opt = 20480 },
	  .nsfeat = 0x32,
	  .npwg = 3,
	  .npwa = 3,
	  .nows = 3,
	  .dlfeat = 8 },
	/* larger than the field */
	{ { .physical_block = 4096, .discard_granularity = 1u << 30 },
	  .nsfeat = 0x32,
	  .npdg = 0xffff,
	  .npda = 0xffff,
	  .dlfeat = 8,
	  .npdgl = 1 << 18,
	  .npdal = 1 << 18 },
};

START_TEST(identify_namespace_says_what_the_drive_says)
{
	const struct limits_row *row = &limits_rows[_i];
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	const struct nvme_id_ns *id = (void *)data;

	the_namespace()->backend->info.limits = row->l;
	ck_assert_uint_eq(identify(q, 1, 0, 0), NVME_OK);
	ck_assert_uint_eq(le64toh(id->nsze), NBLOCKS);
	ck_assert_uint_eq(le64toh(id->ncap), NBLOCKS);
	ck_assert_uint_eq(le64toh(id->nuse), NBLOCKS);
	ck_assert_uint_eq(id->lbaf[0].ds, 12);
	ck_assert_uint_eq(id->nlbaf, 0);
	ck_assert_uint_eq(id->nsfeat, row->nsfeat);
	ck_assert_uint_eq(le16toh(id->nawun), row->nawupf);
	ck_assert_uint_eq(le16toh(id->nawupf), row->nawupf);
	ck_assert_uint_eq(le16toh(id->nabspf), row->nabspf);
	ck_assert_uint_eq(le16toh(id->nabo), row->nabo);
	ck_assert_uint_eq(le16toh(id->npwg), row->npwg);
	ck_assert_uint_eq(le16toh(id->npwa), row->npwa);
	ck_assert_uint_eq(le16toh(id->npdg), row->npdg);
	ck_assert_uint_eq(le16toh(id->npda), row->npda);
	ck_assert_uint_eq(le16toh(id->nows), row->nows);
	ck_assert_uint_eq(le16toh(id->noiob), row->noiob);
	ck_assert_uint_eq(id->dlfeat, row->dlfeat);
	ck_assert_uint_eq(identify(q, 1, 5, 0), NVME_OK);
	ck_assert_uint_eq(get32(*(le32 *)(data + 268)), row->npdgl);
	ck_assert_uint_eq(get32(*(le32 *)(data + 284)), row->npdal);
	drop_queue(q);
}
END_TEST

START_TEST(inactive_namespace_is_all_zeros)
{
	static const uint8_t forms[] = { 0x00, 0x05, 0x08, 0x11, 0x1b, 0x1f };
	static const uint8_t zeros[4096];
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);

	for (size_t i = 0; i < sizeof(forms); i++) {
		ck_assert_uint_eq(identify(q, 7, forms[i], 0), NVME_OK);
		ck_assert_mem_eq(data, zeros, sizeof(zeros));
	}
	drop_queue(q);
}
END_TEST

START_TEST(namespace_has_its_names)
{
	static const uint8_t eui64[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct namespace *ns = the_namespace();
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	const struct nvme_id_ns *id = (void *)data;

	ck_assert_uint_eq(identify(q, 1, 3, 0), NVME_OK);
	ck_assert_uint_eq(data[0], NVME_NIDT_NGUID);
	ck_assert_uint_eq(data[1], 16);
	ck_assert_mem_eq(data + 4, ns->ids.uuid, 16); /* none is configured */
	ck_assert_uint_eq(data[20], NVME_NIDT_UUID);
	ck_assert_mem_eq(data + 24, ns->ids.uuid, 16);
	ck_assert_uint_eq(data[40], NVME_NIDT_CSI);
	ck_assert_uint_eq(data[41], 1);
	ck_assert_uint_eq(data[44], NVME_CSI_NVM);
	ck_assert_uint_eq(data[45], 0);
	memcpy(ns->ids.eui64, eui64, 8);
	memset(ns->ids.nguid, 0x5a, 16);
	ck_assert_uint_eq(identify(q, 1, 3, 0), NVME_OK);
	ck_assert_uint_eq(data[0], NVME_NIDT_EUI64);
	ck_assert_uint_eq(data[1], 8);
	ck_assert_mem_eq(data + 4, eui64, 8);
	ck_assert_uint_eq(data[12], NVME_NIDT_NGUID);
	ck_assert_mem_eq(data + 16, ns->ids.nguid, 16);
	ck_assert_uint_eq(identify(q, 1, 0, 0), NVME_OK);
	ck_assert_mem_eq(id->nguid, ns->ids.nguid, 16);
	ck_assert_mem_eq(id->eui64, eui64, 8);
	drop_queue(q);
}
END_TEST

START_TEST(lists_of_namespaces_begin_after_nsid)
{
	static const uint8_t forms[] = { 0x02, 0x07, 0x10, 0x1a };
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	const le32 *list = (void *)data;

	for (size_t i = 0; i < sizeof(forms); i++) {
		ck_assert_uint_eq(identify(q, 0, forms[i], 0), NVME_OK);
		ck_assert_uint_eq(get32(list[0]), 1);
		ck_assert_uint_eq(get32(list[1]), 0);
		ck_assert_uint_eq(get32(list[1023]), 0);
		ck_assert_uint_eq(identify(q, 1, forms[i], 0), NVME_OK);
		ck_assert_uint_eq(get32(list[0]), 0);
	}
	drop_queue(q);
}
END_TEST

START_TEST(lists_of_controllers_begin_at_cntid)
{
	uint16_t id[3];
	struct nvmf_queue *q[3], *d = open_discovery(HOSTNQN); /* another subsystem's */
	const le16 *list = (void *)data;

	for (int i = 0; i < 3; i++)
		q[i] = open_enabled(&id[i]);
	for (uint32_t cns = 0x12; cns <= 0x13; cns++) {
		for (int from = 0; from < 3; from++) {
			ck_assert_uint_eq(identify(q[0], 1, cns | (uint32_t)id[from] << 16, 0),
					  NVME_OK);
			ck_assert_uint_eq(get16(list[0]), 3 - from);
			for (int i = from; i < 3; i++)
				ck_assert_uint_eq(get16(list[1 + i - from]), id[i]);
			ck_assert_uint_eq(get16(list[4 - from]), 0);
		}
		ck_assert_uint_eq(identify(q[0], 1, cns | 0xffffu << 16, 0), NVME_OK);
		ck_assert_uint_eq(get16(list[0]), 0);
	}
	/* another controller of the subsystem, and one of another subsystem */
	ck_assert_uint_eq(identify(q[0], 0, 0x1c | (uint32_t)id[2] << 16, 0), NVME_OK);
	ck_assert_uint_eq(get64(*(le64 *)data), 1);
	ck_assert_uint_eq(identify(q[0], 0, 0x1c | (uint32_t)d->ctrl->cntlid << 16, 0), INVALID);
	for (int i = 0; i < 3; i++)
		drop_queue(q[i]);
	drop_queue(d);
}
END_TEST

/* ---- log pages ----------------------------------------------------------------------------------
 */

struct log_read {
	uint8_t lid;
	uint32_t len, nsid, cdw14;
	uint64_t offset;
	bool rae;
};

static struct exchange log_command(const struct log_read *r)
{
	uint32_t numd_z = r->len / 4 - 1;
	struct exchange x = { .sqe = { .opcode = 0x02,
				       .cdw10 = put32(r->lid | (r->rae ? 1u << 15 : 0) |
						      numd_z << 16),
				       .cdw11 = put32(numd_z >> 16),
				       .cdw12 = put32((uint32_t)r->offset),
				       .cdw13 = put32((uint32_t)(r->offset >> 32)),
				       .cdw14 = put32(r->cdw14) } };

	x.sqe.nsid = put32(r->nsid);
	return x;
}

static uint16_t read_log(struct nvmf_queue *q, const struct log_read *r)
{
	struct exchange x = log_command(r);
	uint16_t status;

	memset(data, 0xee, 8192);
	status = run(q, &x);
	if (!status)
		ck_assert_uint_eq(x.req.len, r->len);
	return status;
}

#define OT     (1u << 23)
#define NO_LOG (NVME_INVALID_LOG_PAGE | NVME_DNR)

static const struct log_row {
	struct log_read read;
	uint16_t status, discovery;
} log_rows[] = {
	{ { .lid = 0x00, .len = 1024, .nsid = 0 }, NVME_OK, NVME_OK },
	{ { .lid = 0x00, .len = 1024, .nsid = ALL }, NVME_OK, NVME_OK },
	{ { .lid = 0x00, .len = 1024, .nsid = 1 }, INVALID, INVALID },
	{ { .lid = 0x00, .len = 4, .nsid = 0 }, NVME_OK, NVME_OK },
	{ { .lid = 0x00, .len = 1024, .nsid = 0, .cdw14 = OT }, INVALID, INVALID },
	{ { .lid = 0x00, .len = 1024, .nsid = 0, .cdw14 = 0x7f },
	  NVME_OK,
	  NVME_OK }, /* UUID index: reserved */
	{ { .lid = 0x01, .len = 4096, .nsid = 0 }, NVME_OK, NVME_OK },
	{ { .lid = 0x01, .len = 64, .nsid = ALL }, NVME_OK, NVME_OK },
	{ { .lid = 0x01, .len = 64, .nsid = 1 }, INVALID, INVALID },
	{ { .lid = 0x01, .len = 64, .nsid = 0, .cdw14 = 0, .offset = 4096 }, NVME_OK, NVME_OK },
	{ { .lid = 0x01, .len = 64, .nsid = 0, .cdw14 = 0, .offset = 4100 }, INVALID, INVALID },
	{ { .lid = 0x02, .len = 512, .nsid = 0 }, NVME_OK, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = ALL }, NVME_OK, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = 1 }, NVME_OK, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = 2 }, NO_NS, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = CONFIG_NSID_MAX + 1 }, NO_NS, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = 0, .cdw14 = 0, .offset = 256 }, NVME_OK, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = 0, .cdw14 = 0, .offset = 512 }, NVME_OK, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = 0, .cdw14 = 0, .offset = 516 }, INVALID, NO_LOG },
	{ { .lid = 0x02, .len = 512, .nsid = 0, .cdw14 = 0, .offset = 2 }, INVALID, INVALID },
	{ { .lid = 0x02, .len = 512, .nsid = 0, .cdw14 = 0, .offset = UINT64_C(1) << 40 },
	  INVALID,
	  NO_LOG },
	{ { .lid = 0x02, .len = 131072, .nsid = 0 }, NVME_OK, NO_LOG },
	{ { .lid = 0x02, .len = 131072 + 4, .nsid = 0 }, INVALID, INVALID }, /* beyond MDTS */
	{ { .lid = 0x02, .len = 512, .nsid = 0, .cdw14 = OT }, INVALID, NO_LOG },
	{ { .lid = 0x03, .len = 512, .nsid = 0 }, NVME_OK, NO_LOG },
	{ { .lid = 0x04, .len = 4096, .nsid = 0 }, NVME_OK, NO_LOG },
	{ { .lid = 0x04, .len = 4096, .nsid = 1 }, INVALID, NO_LOG },
	{ { .lid = 0x05, .len = 4096, .nsid = 0 }, NVME_OK, NO_LOG },
	{ { .lid = 0x05, .len = 4096, .nsid = 0, .cdw14 = CSI(2) }, NVME_OK, NO_LOG },
	{ { .lid = 0x06, .len = 564, .nsid = 0 }, NO_LOG, NO_LOG },
	{ { .lid = 0x07, .len = 512, .nsid = 0 }, NO_LOG, NO_LOG },
	{ { .lid = 0x09, .len = 512, .nsid = 0 }, NO_LOG, NO_LOG },
	{ { .lid = 0x0d, .len = 512, .nsid = 0 }, NO_LOG, NO_LOG },
	{ { .lid = 0x12, .len = 1024, .nsid = 0 }, NVME_OK, NO_LOG },
	{ { .lid = 0x13, .len = 4096, .nsid = 0 }, NVME_OK, NO_LOG },
	{ { .lid = 0x70, .len = 4096, .nsid = 0 }, NO_LOG, NVME_OK },
	{ { .lid = 0x81, .len = 512, .nsid = 0 }, NO_LOG, NO_LOG },
	{ { .lid = 0xff, .len = 4096, .nsid = 0 }, NO_LOG, NO_LOG },
};

START_TEST(log_pages_have_their_status_length_and_offset)
{
	const struct log_row *row = &log_rows[_i];
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid), *d = open_discovery(HOSTNQN);

	ck_assert_uint_eq(read_log(q, &row->read), row->status);
	if (!row->status)
		ck_assert_uint_ne(data[row->read.len - 1], 0xee); /* nothing stale */
	ck_assert_uint_eq(read_log(d, &row->read), row->discovery);
	drop_queue(d);
	drop_queue(q);
}
END_TEST

/* Page 00h, the rows above and what is answered agree on all 256. */
START_TEST(every_lid_has_an_answer)
{
	uint16_t cntlid;
	struct nvmf_queue *q[2] = { open_enabled(&cntlid), open_discovery(HOSTNQN) };

	for (int i = 0; i < 2; i++) {
		bool supported[256];

		ck_assert_uint_eq(read_log(q[i], &(struct log_read){ .lid = 0x00, .len = 1024 }),
				  NVME_OK);
		for (int lid = 0; lid < 256; lid++) {
			uint32_t entry = get32(((le32 *)data)[lid]);

			ck_assert_uint_le(entry & 0xffff,
					  1); /* above it: what the page has of its own */
			supported[lid] = entry & 1;
		}
		for (int lid = 0; lid < 256; lid++) {
			struct log_read r = { .lid = (uint8_t)lid, .len = 512 };

			ck_assert_uint_eq(read_log(q[i], &r), supported[lid] ? NVME_OK : NO_LOG);
		}
	}
	drop_queue(q[1]);
	drop_queue(q[0]);
}
END_TEST

START_TEST(effects_pages_say_what_the_tables_have)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	const struct nvme_cmd_effects_log *log = (void *)data;

	ck_assert_uint_eq(read_log(q, &(struct log_read){ .lid = 0x05, .len = 4096 }), NVME_OK);
	for (int op = 0; op < 256; op++) {
		uint32_t admin = le32toh(log->acs[op]), io = le32toh(log->iocs[op]);

		ck_assert_uint_eq(admin & 1, !!admin_commands[op].execute);
		ck_assert_uint_eq(io & 1, !!io_commands[op].execute);
		ck_assert_uint_eq(io >> 1 & 1, !!(io_commands[op].flags & CMD_WRITES)); /* LBCC */
		ck_assert_uint_eq(admin >> 20, admin ? 2 : 0);                          /* scope */
		ck_assert_uint_eq(io >> 20 & 1, !!(io_commands[op].flags & CMD_NEEDS_NS));
	}
	/* a command set that there is not has no I/O command */
	ck_assert_uint_eq(read_log(q,
				   &(struct log_read){ .lid = 0x05, .len = 4096, .cdw14 = CSI(2) }),
			  NVME_OK);
	ck_assert_uint_ne(le32toh(log->acs[6]), 0);
	for (int op = 0; op < 256; op++)
		ck_assert_uint_eq(le32toh(log->iocs[op]), 0);
	drop_queue(q);
}
END_TEST

START_TEST(changed_namespaces_are_listed_until_read)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	const le32 *list = (void *)data;

	controller_ns_changed(q->ctrl, 1024);
	controller_ns_changed(q->ctrl, 64);
	controller_ns_changed(q->ctrl, 1);
	for (int i = 0; i < 2; i++) { /* the second time without RAE */
		struct log_read r = { .lid = 0x04, .len = 4096, .rae = i == 0 };

		ck_assert_uint_eq(read_log(q, &r), NVME_OK);
		ck_assert_uint_eq(get32(list[0]), 1);
		ck_assert_uint_eq(get32(list[1]), 64);
		ck_assert_uint_eq(get32(list[2]), 1024);
		ck_assert_uint_eq(get32(list[3]), 0);
	}
	ck_assert_uint_eq(read_log(q, &(struct log_read){ .lid = 0x04, .len = 4096 }), NVME_OK);
	ck_assert_uint_eq(get32(list[0]), 0);
	/* all there are */
	for (uint32_t nsid = 1; nsid <= CONFIG_NSID_MAX; nsid++)
		controller_ns_changed(q->ctrl, nsid);
	ck_assert_uint_eq(read_log(q, &(struct log_read){ .lid = 0x04, .len = 4096 }), NVME_OK);
	ck_assert_uint_eq(get32(list[0]), 1);
	ck_assert_uint_eq(get32(list[1023]), 1024);
	drop_queue(q);
}
END_TEST

/* ---- error log ----------------------------------------------------------------------------------
 */

static const struct nvme_error_log_page *read_errors(struct nvmf_queue *q)
{
	ck_assert_uint_eq(read_log(q, &(struct log_read){ .lid = 0x01, .len = 4096 }), NVME_OK);
	return (const void *)data;
}

static bool says_more(const struct exchange *x)
{
	return get16(x->req.cqe.status) >> 1 & NVME_MORE;
}

START_TEST(failed_admin_commands_are_in_the_error_log)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	const struct nvme_error_log_page *log = read_errors(q);
	struct exchange x = admin_command(0x06, 3, 0xff, 0);

	ck_assert_uint_eq(le64toh(log[0].error_count), 0);
	x.sqe.cid = put16(0x1234);
	run(q, &x);
	ck_assert(says_more(&x)); /* the log knows where */
	x = admin_command(0x55, 0, 0, 0);
	run(q, &x);
	ck_assert(!says_more(&x));
	log = read_errors(q);
	ck_assert_uint_eq(le64toh(log[0].error_count), 2);
	ck_assert_uint_eq(le16toh(log[0].status_field) >> 1, NVME_INVALID_OPCODE | NVME_DNR);
	ck_assert_uint_eq(le16toh(log[0].parm_error_location), 0xffff);
	ck_assert_uint_eq(((const uint8_t *)&log[0])[31], 0x55);
	ck_assert_uint_eq(((const uint8_t *)&log[0])[63], 1);
	ck_assert_uint_eq(le64toh(log[1].error_count), 1);
	ck_assert_uint_eq(le16toh(log[1].sqid), 0);
	ck_assert_uint_eq(le16toh(log[1].cmdid), 0x1234);
	ck_assert_uint_eq(le16toh(log[1].status_field) >> 1, INVALID | NVME_MORE);
	ck_assert_uint_eq(le16toh(log[1].parm_error_location), AT_CDW10);
	ck_assert_uint_eq(le32toh(log[1].nsid), 3);
	ck_assert_uint_eq(log[1].trtype, NVMF_TRTYPE_RDMA);
	ck_assert_uint_eq(le64toh(log[2].error_count), 0);
	drop_queue(q);
}
END_TEST

START_TEST(failed_io_commands_are_in_the_error_log)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q[2];
	const struct nvme_error_log_page *log;
	struct nvme_smart_log *smart = (void *)data;

	for (uint16_t i = 0; i < 2; i++) {
		struct exchange x = admin_command(0x02, 1, 0x12345678, 0x9a); /* read */

		q[i] = open_io_queue(cntlid, (uint16_t)(i + 1));
		x.sqe.cid = put16((uint16_t)(40 + i));
		ck_assert_uint_eq(run(q[i], &x), NVME_LBA_OUT_OF_RANGE | NVME_DNR);
		while (reactor_run_messages(reactors.r[0])) /* of two threads, in no order */
			;
	}
	log = read_errors(admin);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_uint_eq(le64toh(log[i].error_count), 2 - i);
		ck_assert_uint_eq(le16toh(log[i].sqid), 2 - i);
		ck_assert_uint_eq(le16toh(log[i].cmdid), 41 - i);
		ck_assert_uint_eq(le64toh(log[i].lba), UINT64_C(0x9a12345678));
		ck_assert_uint_eq(le32toh(log[i].nsid), 1);
	}
	ck_assert_uint_eq(read_log(admin, &(struct log_read){ .lid = 0x02, .len = 512 }), NVME_OK);
	ck_assert_uint_eq(smart->num_err_log_entries[0], 2);
	drop_queue(q[0]);
	drop_queue(q[1]);
	drop_queue(admin);
}
END_TEST

static void fail_often(void *arg)
{
	struct nvmf_queue *q = arg;
	struct exchange x = admin_command(0x02, 77, 0, 0);

	x.req.queue = q;
	x.req.sqe = &x.sqe;
	x.sqe.flags = SQE_PSDT_SGL;
	for (int i = 0; i < 100; i++)
		nvmf_req_complete(&x.req, nvmf_req_check(&x.req));
}

/* The ring keeps the last 64; a crowd that the control thread could not take is counted. */
START_TEST(error_log_forgets_the_oldest)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	const struct nvme_error_log_page *log;
	uint64_t count = 100;

	reactor_call(q->reactor, fail_often, q);
	while (reactor_run_messages(reactors.r[0]))
		;
	log = read_errors(admin);
	if (reactors.n > 1) /* they were more than its queue holds */
		ck_assert_uint_eq(le64toh(log[0].error_count), ERROR_FIFO);
	else
		ck_assert_uint_eq(le64toh(log[0].error_count), count);
	for (int i = 0; i < 100; i++) {
		struct exchange x = admin_command(0x55, 0, 0, 0);

		run(admin, &x);
	}
	count = 200;
	log = read_errors(admin);
	for (unsigned int i = 0; i < 64; i++)
		ck_assert_uint_eq(le64toh(log[i].error_count), count - i);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* What was aborted because it was asked for is no error. */
START_TEST(aborted_commands_are_not_in_the_error_log)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	struct exchange aer = admin_command(0x0c, 0, 0, 0);
	struct exchange x = admin_command(0x08, 0, 9u << 16 | 0, 0);

	aer.sqe.cid = put16(9);
	hand_over(q, &aer, start);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(await(&aer), NVME_ABORT_REQUESTED);
	ck_assert_uint_eq(le64toh(read_errors(q)[0].error_count), 0);
	drop_queue(q);
}
END_TEST

/* ---- health -------------------------------------------------------------------------------------
 */

static struct nvme_smart_log *pretend_drive(uint16_t kelvin)
{
	struct namespace *ns = the_namespace();
	struct nvme_smart_log *log = calloc(1, sizeof(*log));

	free(ns->health.smart);
	ns->health.smart = log;
	log->temperature[0] = (uint8_t)kelvin;
	log->temperature[1] = (uint8_t)(kelvin >> 8);
	log->avail_spare = 90;
	log->spare_thresh = 20;
	log->percent_used = 7;
	log->power_cycles[0] = 12;
	log->host_reads[0] = 99; /* not ours */
	log->temp_sensor[1] = htole16(300);
	return log;
}

static uint16_t set_feature(struct nvmf_queue *q, uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
	struct exchange x = admin_command(0x09, nsid, cdw10, cdw11);

	return run(q, &x);
}

static uint16_t get_feature(struct nvmf_queue *q, uint32_t nsid, uint32_t cdw10, uint32_t cdw11,
			    uint32_t *ret)
{
	struct exchange x = admin_command(0x0a, nsid, cdw10, cdw11);
	uint16_t status = run(q, &x);

	*ret = get32(x.req.cqe.dw0);
	return status;
}

START_TEST(health_is_the_drives_and_traffic_is_ours)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = admin_command(0x02, 1, 0, 0);
	const struct nvme_smart_log *log = (void *)data;

	ck_assert_uint_eq(read_log(admin, &(struct log_read){ .lid = 0x02, .len = 512 }), NVME_OK);
	ck_assert_uint_eq(log->avail_spare, 100); /* a file */
	ck_assert_uint_eq(log->temperature[0], 0);
	pretend_drive(310);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	for (uint32_t nsid = 0; nsid < 2; nsid++) {
		ck_assert_uint_eq(
			read_log(admin,
				 &(struct log_read){ .lid = 0x02, .len = 512, .nsid = nsid }),
			NVME_OK);
		ck_assert_uint_eq(log->temperature[0] | log->temperature[1] << 8, 310);
		ck_assert_uint_eq(log->avail_spare, 90);
		ck_assert_uint_eq(log->percent_used, 7);
		ck_assert_uint_eq(log->power_cycles[0], 12);
		ck_assert_uint_eq(le16toh(log->temp_sensor[1]), 300);
		ck_assert_uint_eq(log->host_reads[0], 1);
		ck_assert_uint_eq(log->data_units_read[0], 1);
		ck_assert_uint_eq(log->data_units_written[0], 0);
	}
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* Asking goes through a thread; a file does not know the question, and the page is answered. */
START_TEST(drive_that_does_not_know_its_health_is_asked_all_the_same)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	struct log_read r = { .lid = 0x02, .len = 512 };
	struct exchange x = log_command(&r);

	the_namespace()->backend->info.limits.nvme = true;
	hand_over(q, &x, start);
	ck_assert(!is_answered(&x));
	ck_assert_uint_eq(await(&x), NVME_OK);
	ck_assert_uint_eq(data[3], 100);
	ck_assert(LIST_EMPTY(&target->health.jobs));
	/* and one that is under way when the target ends */
	hand_over(q, &x, start);
	ck_assert_uint_eq(await(&x), NVME_OK);
	ck_assert(!health_ask(&(struct nvmf_req){
			  .queue = q, .sqe = &(struct nvme_sqe){ .nsid = put32(9) } }) ||
		  !TAILQ_EMPTY(&target->health.waiting));
	TAILQ_INIT(&target->health.waiting);
	drop_queue(q);
}
END_TEST

/* ---- features -----------------------------------------------------------------------------------
 */

#define SAVE      0x80000000u
#define SEL(n)    ((n) << 8)
#define NOT_FIXED (NVME_FEATURE_NOT_CHANGEABLE | NVME_DNR)
#define NOT_SAVED (NVME_FEATURE_NOT_SAVEABLE | NVME_DNR)
#define NOT_NS    (NVME_FEATURE_NOT_NS_SPECIFIC | NVME_DNR)
#define GET       false
#define SET       true
#define SENSOR(n) ((uint32_t)(n) << 16)
#define UNDER     (1u << 20)

static const struct feature_row {
	bool set;
	uint32_t nsid, dw10, dw11;
	uint16_t status;
	uint32_t dw0;
} feature_rows[] = {
	{ GET, 0, 0x00, 0, .status = INVALID },
	{ SET, 0, 0x00, 0, .status = INVALID },
	{ GET, 0, 0x01, 0, NVME_OK, 7 },
	{ GET, 1, 0x01, 0, NVME_OK, 7 }, /* the NSID is not used */
	{ SET, 0, 0x01, 7, .status = NOT_FIXED },
	{ GET, 0, 0x01 | SEL(3), 0, NVME_OK, 0 },
	{ GET, 0, 0x02, 0, NVME_OK, 0 },
	{ SET, 0, 0x02, 0, .status = NVME_OK },
	{ SET, 0, 0x02, 1, .status = INVALID }, /* there is one power state */
	{ GET, 0, 0x02 | SEL(3), 0, NVME_OK, 4 },
	{ GET, 0, 0x03, 0, .status = INVALID },
	{ GET, 0, 0x04, 0, NVME_OK, 350 },
	{ GET, 0, 0x04, UNDER, NVME_OK, 0 },
	{ GET, 0, 0x04, SENSOR(2), NVME_OK, 0xffff },
	{ GET, 0, 0x04, SENSOR(1), .status = INVALID }, /* the drive has not */
	{ GET, 0, 0x04, SENSOR(9), .status = INVALID },
	{ GET, 0, 0x04, SENSOR(15), .status = INVALID },
	{ GET, 0, 0x04, UNDER << 1, .status = INVALID },
	{ GET, 0, 0x04 | SEL(1), 0, NVME_OK, 350 },
	{ SET, 0, 0x04, 340, .status = NVME_OK },
	{ SET, 0, 0x04, SENSOR(15) | 340, .status = NVME_OK },
	{ SET, 0, 0x04, SENSOR(2) | UNDER | 270, .status = NVME_OK },
	{ SET, 0, 0x04, SENSOR(1) | 340, .status = INVALID },
	{ SET, 0, 0x04, UNDER << 1 | 340, .status = INVALID },
	{ SET, 1, 0x04, 340, .status = NOT_NS },
	{ GET, 1, 0x05, 0, NVME_OK, 0 },
	{ GET, 0, 0x05, 0, .status = NO_NS },
	{ GET, 2, 0x05, 0, .status = NO_NS },
	{ GET, ALL, 0x05, 0, .status = NO_NS },
	{ GET, 1, 0x05 | SEL(3), 0, NVME_OK, 2 },
	{ SET, 1, 0x05, 0, .status = NOT_FIXED },
	{ GET, 0, 0x06, 0, NVME_OK, 1 },
	{ SET, 0, 0x06, 0, .status = NOT_FIXED },
	{ SET, 0, 0x06 | SAVE, 0, .status = NOT_SAVED },
	{ GET, 0, 0x07, 0, NVME_OK, 127 << 16 | 127 },
	{ GET, 0, 0x07 | SEL(1), 0, NVME_OK, 127 << 16 | 127 },
	{ GET, 0, 0x07 | SEL(2), 0, NVME_OK, 127 << 16 | 127 },
	{ GET, 0, 0x07 | SEL(3), 0, NVME_OK, 4 },
	{ GET, 0, 0x07 | SEL(4), 0, .status = INVALID },
	{ GET, 0, 0x07 | SEL(7), 0, .status = INVALID },
	{ SET, 0, 0x07, 3 << 16 | 3, NVME_OK, 3 << 16 | 3 },
	{ SET, ALL, 0x07, 3 << 16 | 3, NVME_OK, 3 << 16 | 3 },
	{ SET, 0, 0x07, 500 << 16 | 500, NVME_OK, 127 << 16 | 127 },
	{ SET, 0, 0x07, 0xffff, .status = INVALID },
	{ SET, 0, 0x07, 0xffff0000, .status = INVALID },
	{ SET, 1, 0x07, 3, .status = NOT_NS },
	{ SET, CONFIG_NSID_MAX + 1, 0x07, 3, .status = NO_NS },
	{ SET, 0, 0x07 | SAVE, 3, .status = NOT_SAVED },
	{ GET, 0, 0x08, 0, .status = INVALID }, /* interrupts: not on fabrics */
	{ GET, 0, 0x09, 0, .status = INVALID },
	{ GET, 0, 0x0a, 0, NVME_OK, 0 },
	{ SET, 0, 0x0a, 1, .status = NVME_OK },
	{ GET, 0, 0x0b, 0, NVME_OK, 0 },
	{ SET, 0, 0x0b, 0x1ff, .status = NVME_OK },
	{ SET, 0, 0x0b, 0x80000000, .status = INVALID },
	{ SET, 0, 0x0b, 0x00010000, .status = INVALID },
	{ GET, 0, 0x0e | SEL(3), 0, NVME_OK, 4 },
	{ GET, 0, 0x0f, 0, NVME_OK, 0 },
	{ SET, 0, 0x0f, 4500, .status = NVME_OK },
	{ GET, 0, 0x16 | SEL(3), 0, NVME_OK, 4 },
	{ GET, 0, 0x19, 0, NVME_OK, 0 },
	{ SET, 0, 0x19, 0, .status = NVME_OK },
	{ SET, 0, 0x19, 1, .status = NVME_IO_SET_COMBINATION | NVME_DNR },
	{ GET, 0, 0x81, 1, .status = NVME_OK },
	{ GET, 0, 0x81, 0, .status = INVALID }, /* 64 bits: not on fabrics */
	{ GET, 0, 0x81 | SEL(3), 1, NVME_OK, 0 },
	{ SET, 0, 0x81, 1, .status = NVME_COMMAND_SEQUENCE | NVME_DNR },
	{ GET, 1, 0x82, 0, NVME_OK, 0 },
	{ GET, ALL, 0x82, 0, .status = INVALID },
	{ GET, 1, 0x82 | SEL(1), 0, NVME_OK, 0 },
	{ GET, 1, 0x82 | SEL(3), 0, NVME_OK, 6 },
	{ SET, 1, 0x82, 0xe, .status = NVME_OK },
	{ SET, ALL, 0x82, 2, .status = NVME_OK },
	{ SET, 1, 0x82, 1, .status = INVALID },
	{ SET, 1, 0x82 | SAVE, 2, .status = NOT_SAVED },
	{ GET, 1, 0x83, 0, NVME_OK, 0 },
	{ GET, 1, 0x83 | SEL(3), 0, NVME_OK, 6 },
	{ SET, 1, 0x83, 0, .status = NVME_OK },
	{ SET, 2, 0x83, 1, .status = INVALID },
	{ GET, 1, 0x84, 0, NVME_OK, 0 },
	{ GET, 0, 0x84, 0, .status = NO_NS },
	{ GET, ALL, 0x84, 0, .status = NO_NS },
	{ GET, 1, 0x84 | SEL(3), 0, NVME_OK, 6 },
	{ SET, 1, 0x84, 0, .status = NVME_OK },
	{ SET, 1, 0x84, 1, .status = NVME_OK },
	{ SET, 1, 0x84, 2, .status = INVALID }, /* until power cycle */
	{ SET, 1, 0x84, 3, .status = INVALID }, /* for ever */
	{ SET, 2, 0x84, 1, .status = NO_NS },
	{ SET, ALL, 0x84, 1, .status = NO_NS },
	{ GET, 0, 0xc0, 0, .status = INVALID },
	{ SET, 0, 0xff, 0, .status = INVALID },
};

START_TEST(features_have_their_status)
{
	const struct feature_row *row = &feature_rows[_i];
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	struct exchange x = admin_command(row->set ? 0x09 : 0x0a, row->nsid, row->dw10, row->dw11);

	the_namespace()->backend->info.limits.warm = 350;
	pretend_drive(310);
	ck_assert_uint_eq(run(q, &x), row->status);
	ck_assert_uint_eq(get32(x.req.cqe.dw0), row->dw0);
	drop_queue(q);
}
END_TEST

/* The effects page, the commands and the rows above agree on all 256. */
START_TEST(every_fid_has_an_answer)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid), *d = open_discovery(HOSTNQN);
	uint32_t effects[256], dw0;

	ck_assert_uint_eq(read_log(q, &(struct log_read){ .lid = 0x12, .len = 1024 }), NVME_OK);
	for (int fid = 0; fid < 256; fid++)
		effects[fid] = get32(((le32 *)data)[fid]);
	for (uint32_t fid = 0; fid < 256; fid++) {
		bool there = effects[fid] & 1, in_rows = false;

		for (int i = 0; i < NROWS(feature_rows); i++)
			in_rows |= (feature_rows[i].dw10 & 0xff) == fid;
		ck_assert_msg(!there || in_rows, "feature %02x has no row", fid);
		ck_assert_uint_eq(get_feature(q, 1, fid | SEL(3), 0, &dw0),
				  there ? NVME_OK : INVALID);
		if (there) /* of one namespace, or of the controller */
			ck_assert_uint_eq(effects[fid] >> 20, dw0 & 2 ? 1 : 2);
		if (there && !(dw0 & 4) && fid != 0x81)
			ck_assert_uint_eq(set_feature(q, 1, fid, 0), NOT_FIXED);
		if (!there)
			ck_assert_uint_eq(set_feature(q, 1, fid, 0), INVALID);
		ck_assert_uint_eq(get_feature(d, 0, fid, 0, &dw0),
				  fid == 0x0b || fid == 0x0f ? NVME_OK : INVALID);
	}
	drop_queue(d);
	drop_queue(q);
}
END_TEST

START_TEST(features_that_were_set_are_read_back)
{
	static const struct {
		uint32_t fid, set, get;
	} rows[] = {
		{ 0x04, 341, 341 },   { 0x07, 3 << 16 | 5, 5 << 16 | 5 },
		{ 0x0a, 1, 1 },       { 0x0b, 0x103, 0x103 },
		{ 0x0f, 4500, 5000 }, /* rounded up to KAS */
	};
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	uint32_t dw0;

	for (int i = 0; i < NROWS(rows); i++) {
		ck_assert_uint_eq(set_feature(q, 0, rows[i].fid, rows[i].set), NVME_OK);
		ck_assert_uint_eq(get_feature(q, 0, rows[i].fid, 0, &dw0), NVME_OK);
		ck_assert_uint_eq(dw0, rows[i].get);
		ck_assert_uint_eq(get_feature(q, 0, rows[i].fid | SEL(1), 0, &dw0), NVME_OK);
		ck_assert_uint_ne(dw0, rows[i].get);
	}
	/* a controller reset forgets */
	ck_assert_uint_eq(set_cc(q, 0), NVME_OK);
	ck_assert_uint_eq(set_cc(q, CC_ENABLE), NVME_OK);
	ck_assert_uint_eq(get_feature(q, 0, 0x0a, 0, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0, 0);
	ck_assert_uint_eq(get_feature(q, 0, 0x0b, 0, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0, 0);
	drop_queue(q);
}
END_TEST

static uint64_t milliseconds(const uint8_t *from)
{
	uint64_t ms = 0;

	for (int i = 5; i >= 0; i--)
		ms = ms << 8 | from[i];
	return ms;
}

START_TEST(timestamp_counts_on_from_what_was_set)
{
	static const uint8_t set[8] = { 0x00, 0xaa, 0xbb, 0xcc, 0xdd, 0x01 };
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	struct exchange x = admin_command(0x0a, 0, 0x0e, 0);
	uint64_t first;

	memset(data, 0xff, 64);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(x.req.len, 8);
	ck_assert_uint_eq(data[6], 0); /* never set */
	x = admin_command(0x09, 0, 0x0e, 0);
	memcpy(data, set, sizeof(set));
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_int_eq(x.req.dir, DATA_H2C);
	q->ctrl->settings.time_origin_ms -= 1500; /* that much later */
	x = admin_command(0x0a, 0, 0x0e, 0);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_int_eq(x.req.dir, DATA_C2H);
	ck_assert_uint_eq(data[6], 2);
	first = milliseconds(data);
	ck_assert_uint_ge(first, milliseconds(set) + 1500);
	ck_assert_uint_le(first, milliseconds(set) + 61500);
	drop_queue(q);
}
END_TEST

START_TEST(host_behavior_takes_what_we_have)
{
	static const struct {
		unsigned int byte;
		uint8_t value;
		uint16_t status;
	} rows[] = {
		{ 0, 1, NVME_OK }, { 0, 0, NVME_OK }, { 0, 2, INVALID },   { 1, 1, INVALID },
		{ 2, 1, INVALID }, { 4, 1, INVALID }, { 511, 1, INVALID },
	};
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);

	for (int i = 0; i < NROWS(rows); i++) {
		struct exchange x = admin_command(0x09, 0, 0x16, 0);

		memset(data, 0, 512);
		data[rows[i].byte] = rows[i].value;
		ck_assert_uint_eq(run(q, &x), rows[i].status);
		ck_assert_uint_eq(x.req.len, 512);
		if (rows[i].status)
			continue;
		memset(data, 0xff, 512);
		x = admin_command(0x0a, 0, 0x16, 0);
		ck_assert_uint_eq(run(q, &x), NVME_OK);
		ck_assert_uint_eq(data[0], rows[i].value);
		ck_assert_uint_eq(data[511], 0);
	}
	drop_queue(q);
}
END_TEST

START_TEST(host_identifier_is_that_of_connect)
{
	struct nvmf_queue *q = open_queue(0);
	struct exchange x = connect_command(0, 0xffff);
	uint8_t hostid[16];

	memset(hostid, 0x42, sizeof(hostid));
	memcpy(((struct nvmf_connect_data *)data)->hostid, hostid, sizeof(hostid));
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	set_cc(q, CC_ENABLE);
	x = admin_command(0x0a, 0, 0x81, 1);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(x.req.len, 16);
	ck_assert_mem_eq(data, hostid, 16);
	drop_queue(q);
}
END_TEST

/* Every command of the I/O table: those that change blocks are refused, the others are not. */
START_TEST(write_protected_namespace_is_not_written)
{
	uint16_t cntlid, other_id;
	struct nvmf_queue *admin = open_enabled(&cntlid), *other = open_enabled(&other_id);
	struct nvmf_queue *q[2] = { open_io_queue(cntlid, 1), open_io_queue(other_id, 2) };
	const struct nvme_id_ns *id = (void *)data;
	uint32_t dw0;

	ck_assert_uint_eq(set_feature(admin, 1, 0x84, 1), NVME_OK);
	ck_assert_uint_eq(get_feature(other, 1, 0x84, 0, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0, 1);
	ck_assert_uint_eq(get_feature(other, 1, 0x84 | SEL(1), 0, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0, 0);
	ck_assert_uint_eq(identify(other, 1, 0, 0), NVME_OK);
	ck_assert_uint_eq(id->nsattr, 1);
	/* told to the others */
	ck_assert_uint_eq(admin->ctrl->changed_ns[0], 0);
	ck_assert_uint_eq(other->ctrl->changed_ns[0], 1 << 1);
	for (int i = 0; i < 2; i++)
		for (uint32_t op = 0; op < 256; op++) {
			struct exchange x = admin_command((uint8_t)op, 1, 0, 0);
			bool refused;

			if (!io_commands[op].execute)
				continue;
			memset(data, 0, 4096);
			refused = run(q[i], &x) == (NVME_NS_WRITE_PROTECTED | NVME_DNR);
			ck_assert_msg(refused == !!(io_commands[op].flags & CMD_WRITES),
				      "opcode %02x", op);
		}
	ck_assert_uint_eq(set_feature(other, 1, 0x84, 0), NVME_OK);
	ck_assert_uint_eq(admin->ctrl->changed_ns[0], 1 << 1);
	for (int i = 0; i < 2; i++) {
		struct exchange x = admin_command(0x01, 1, 0, 0);

		ck_assert_uint_eq(run(q[i], &x), NVME_OK);
	}
	drop_queue(q[0]);
	drop_queue(q[1]);
	drop_queue(admin);
	drop_queue(other);
}
END_TEST

/* The daemon ends and starts again. */
static void restart(void)
{
	unsigned int n = reactors.n;
	struct config_diag diag;

	stop_target();
	data = aligned_alloc(4096, 131072);
	create_reactors(n);
	ck_assert_int_eq(target_create(&conf, &reactors, &topo, &target, &diag), 0);
}

START_TEST(write_protection_survives_a_restart)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q;
	struct exchange x;
	uint32_t dw0;

	ck_assert_uint_eq(set_feature(admin, 1, 0x84, 1), NVME_OK);
	drop_queue(admin);
	restart();
	admin = open_enabled(&cntlid);
	q = open_io(cntlid);
	ck_assert_uint_eq(get_feature(admin, 1, 0x84, 0, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0, 1);
	x = admin_command(0x01, 1, 0, 0);
	ck_assert_uint_eq(run(q, &x), NVME_NS_WRITE_PROTECTED | NVME_DNR);
	ck_assert_uint_eq(set_feature(admin, 1, 0x84, 0), NVME_OK);
	drop_queue(q);
	drop_queue(admin);
	restart();
	admin = open_enabled(&cntlid);
	ck_assert_uint_eq(get_feature(admin, 1, 0x84, 0, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0, 0);
	drop_queue(admin);
}
END_TEST

/* What cannot be kept is not promised. */
START_TEST(write_protection_that_cannot_be_saved_is_refused)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = admin_command(0x01, 1, 0, 0);

	conf.state_dir = "/nonexistent/state";
	ck_assert_uint_eq(set_feature(admin, 1, 0x84, 1), NVME_INTERNAL_ERROR);
	conf.state_dir = state_dir;
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* A worker that is busy, as if the disk took its time. */
static struct task busy;
static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;

static void wait_for_disk(struct task *t)
{
	(void)t;
	pthread_mutex_lock(&disk);
	pthread_mutex_unlock(&disk);
}

static void disk_is_back(struct task *t)
{
	(void)t;
}

static void hold_disk(void)
{
	pthread_mutex_lock(&disk);
	ck_assert_int_eq(target_start_worker(target), 0);
	busy = (struct task){ .run = wait_for_disk, .done = disk_is_back };
	worker_submit(target->worker, &busy);
}

static void turn(void)
{
	for (int i = 0; i < 20; i++)
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
}

static bool is_on_disk(void)
{
	char byte;

	return durable_read(state_dir,
			    namespace_state_file(the_namespace(), "write-protected").text, &byte,
			    1) == 1;
}

/* It is on the disk before it is in force, and in force before it is answered; several hosts'
 * commands go one after the other; nobody else waits for the disk. */
START_TEST(write_protection_waits_for_the_disk)
{
	uint16_t cntlid, other_id;
	struct nvmf_queue *admin = open_enabled(&cntlid), *other = open_enabled(&other_id);
	struct nvmf_queue *q = open_io(cntlid);
	struct exchange x[4], write = admin_command(0x01, 1, 0, 0);
	uint32_t dw0;

	hold_disk();
	for (unsigned int i = 0; i < 4; i++) {
		x[i] = admin_command(0x09, 1, 0x84, i != 1); /* on, off, on, on */
		hand_over(i == 1 ? other : admin, &x[i], start);
	}
	turn();
	for (unsigned int i = 0; i < 4; i++)
		ck_assert(!is_answered(&x[i]));
	ck_assert(!is_on_disk());
	ck_assert_uint_eq(get_feature(other, 1, 0x84, 0, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0, 0);
	ck_assert_uint_eq(run(q, &write), NVME_OK);
	pthread_mutex_unlock(&disk);
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_uint_eq(await(&x[i]), NVME_OK);
	ck_assert(is_on_disk());
	write = admin_command(0x01, 1, 0, 0);
	ck_assert_uint_eq(run(q, &write), NVME_NS_WRITE_PROTECTED | NVME_DNR);
	ck_assert_uint_eq(set_feature(admin, 1, 0x84, 0), NVME_OK);
	ck_assert(!is_on_disk());
	drop_queue(q);
	drop_queue(admin);
	drop_queue(other);
}
END_TEST

/* A reload that removes the namespace waits for the command, and the command for the disk. */
START_TEST(write_protection_keeps_the_namespace_meanwhile)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid);
	struct exchange x = admin_command(0x09, 1, 0x84, 1);
	struct namespace *ns = the_namespace();

	hold_disk();
	hand_over(admin, &x, start);
	ck_assert_uint_eq(namespace_in_flight(target, ns), 1);
	turn();
	ck_assert_uint_eq(namespace_in_flight(target, ns), 1);
	pthread_mutex_unlock(&disk);
	ck_assert_uint_eq(await(&x), NVME_OK);
	ck_assert_uint_eq(namespace_in_flight(target, ns), 0);
	ck_assert_uint_eq(set_feature(admin, 1, 0x84, 0), NVME_OK);
	drop_queue(admin);
}
END_TEST

/* What was accepted before is waited for. */
START_TEST(write_protection_waits_for_what_is_in_flight)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange write = admin_command(0x01, 1, 0, 0);
	struct exchange x = admin_command(0x09, 1, 0x84, 1);

	hand_over(q, &write, start_kept);
	hand_over(admin, &x, start);
	for (int i = 0; i < 20; i++)
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
	ck_assert(!is_answered(&x));
	write.req.data = data;
	write.req.place = STAGE_HOST_NO_CMB;
	reactor_call(q->reactor, (void (*)(void *))nvmf_req_execute, &write.req);
	ck_assert_uint_eq(await(&write), NVME_OK);
	ck_assert_uint_eq(await(&x), NVME_OK);
	kept = NULL;
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

static unsigned int nheld;

static void on_held(struct range_lock *l)
{
	(void)l;
	nheld++;
}

static struct nvmf_req somebody; /* who holds a lock */

static struct range_lock lock_of_block_3(void)
{
	nheld = 0;
	return (struct range_lock){
		.ns = the_namespace(), .slba = 3, .nlb = 1, .owner = &somebody, .held = on_held
	};
}

/* Nobody waits for who waits for locked blocks, so that is looked at again. */
START_TEST(write_that_waited_meets_the_protection)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = admin_command(0x01, 1, 3, 0);
	struct range_lock lock = lock_of_block_3();

	range_lock(&lock);
	ck_assert_uint_eq(nheld, 1);
	hand_over(q, &x, start);
	ck_assert_uint_eq(set_feature(admin, 1, 0x84, 1), NVME_OK);
	ck_assert(!is_answered(&x));
	range_unlock(&lock);
	ck_assert_uint_eq(await(&x), NVME_NS_WRITE_PROTECTED | NVME_DNR);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* ---- abort --------------------------------------------------------------------------------------
 */

static struct exchange abort_of(uint16_t sqid, uint16_t cid)
{
	return admin_command(0x08, 0, (uint32_t)cid << 16 | sqid, 0);
}

static uint32_t do_abort(struct nvmf_queue *q, uint16_t sqid, uint16_t cid)
{
	struct exchange x = abort_of(sqid, cid);

	ck_assert_uint_eq(run(q, &x), NVME_OK);
	return get32(x.req.cqe.dw0);
}

START_TEST(abort_ends_what_waits_in_the_transport)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = admin_command(0x02, 1, 0, 0);

	x.sqe.cid = put16(7);
	hand_over(q, &x, start_kept);
	ck_assert_uint_eq(do_abort(admin, 1, 8), 1); /* another command */
	ck_assert_uint_eq(do_abort(admin, 2, 7), 1); /* no such queue */
	ck_assert_uint_eq(do_abort(admin, 0, 7), 1); /* another queue */
	ck_assert_uint_eq(do_abort(admin, 0xffff, 7), 1);
	ck_assert(!is_answered(&x));
	ck_assert_uint_eq(do_abort(admin, 1, 7), 0);
	ck_assert_uint_eq(await(&x), NVME_ABORT_REQUESTED);
	ck_assert_uint_eq(do_abort(admin, 1, 7), 1);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(abort_ends_async_event_requests)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	struct exchange x[3];

	for (uint16_t i = 0; i < 3; i++) {
		x[i] = admin_command(0x0c, 0, 0, 0);
		x[i].sqe.cid = put16(i);
		hand_over(q, &x[i], start);
	}
	ck_assert_uint_eq(do_abort(q, 0, 1), 0);
	ck_assert_uint_eq(await(&x[1]), NVME_ABORT_REQUESTED);
	ck_assert(!is_answered(&x[0]) && !is_answered(&x[2]));
	ck_assert_uint_eq(q->ctrl->naers, 2);
	drop_queue(q);
}
END_TEST

START_TEST(abort_ends_what_waits_for_locked_blocks)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = admin_command(0x01, 1, 3, 0);
	struct range_lock lock = lock_of_block_3();

	range_lock(&lock);
	ck_assert_uint_eq(nheld, 1);
	x.sqe.cid = put16(5);
	hand_over(q, &x, start);
	ck_assert_uint_eq(do_abort(admin, 1, 5), 0);
	ck_assert_uint_eq(await(&x), NVME_ABORT_REQUESTED);
	range_unlock(&lock);
	ck_assert_uint_eq(do_abort(admin, 1, 5), 1);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

START_TEST(too_many_aborts_are_refused)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x[5];

	for (int i = 0; i < 5; i++) {
		x[i] = abort_of(1, 5);
		hand_over(admin, &x[i], start);
	}
	ck_assert_uint_eq(await(&x[4]), NVME_ABORT_LIMIT | NVME_DNR);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(await(&x[i]), NVME_OK);
	ck_assert_uint_eq(do_abort(admin, 1, 5), 1);
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* ---- asynchronous events ------------------------------------------------------------------------
 */

START_TEST(async_events_are_parked_and_answered_at_the_end)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid);
	struct exchange x[AER_MAX + 1];

	for (int i = 0; i <= AER_MAX; i++) {
		x[i] = admin_command(0x0c, 0, 0, 0);
		hand_over(q, &x[i], start);
		ck_assert(is_answered(&x[i]) == (i == AER_MAX));
	}
	ck_assert_uint_eq(await(&x[AER_MAX]), NVME_AER_LIMIT | NVME_DNR);
	nvmf_queue_close(q);
	for (int i = 0; i < AER_MAX; i++)
		ck_assert_uint_eq(await(&x[i]), NVME_ABORTED_SQ_DELETION);
	drop_queue(q);
}
END_TEST

static const struct event_row {
	enum nvme_event event;
	uint32_t config; /* 0: always wanted */
	uint32_t dw0;
	bool discovery;
} event_rows[] = {
	{ EVENT_NS_CHANGED, 1 << 8, .dw0 = 0x040002 },
	{ EVENT_ANA_CHANGED, 1 << 11, .dw0 = 0x0c0302 },
	{ EVENT_DISCOVERY_CHANGED, 1u << 31, .dw0 = 0x70f002, .discovery = true },
	{ EVENT_RESERVATION, 0, .dw0 = 0x800006 },
	{ EVENT_SMART_RELIABILITY, 0, .dw0 = 0x020001 },
	{ EVENT_SMART_TEMPERATURE, 0, .dw0 = 0x020101 },
	{ EVENT_SMART_SPARE, 0, .dw0 = 0x020201 },
};

START_TEST(events_are_told_once_until_their_page_is_read)
{
	const struct event_row *row = &event_rows[_i];
	uint16_t cntlid;
	struct nvmf_queue *q = row->discovery ? open_discovery(HOSTNQN) : open_enabled(&cntlid);
	struct exchange x = admin_command(0x0c, 0, 0, 0);

	ck_assert_int_eq(NROWS(event_rows), NVME_NEVENTS);
	if (row->config) { /* not wanted yet */
		controller_event(q->ctrl, row->event);
		hand_over(q, &x, start);
		ck_assert(!is_answered(&x));
		ck_assert_uint_eq(set_feature(q, 0, 0x0b, row->config), NVME_OK);
	} else {
		hand_over(q, &x, start);
	}
	controller_event(q->ctrl, row->event);
	ck_assert_uint_eq(await(&x), NVME_OK);
	ck_assert_uint_eq(get32(x.req.cqe.dw0), row->dw0);
	/* masked, though there is a request */
	x = admin_command(0x0c, 0, 0, 0);
	hand_over(q, &x, start);
	controller_event(q->ctrl, row->event);
	ck_assert(!is_answered(&x));
	events_unmask(q->ctrl, (uint8_t)(row->dw0 >> 16));
	ck_assert(!is_answered(&x)); /* the page said it */
	controller_event(q->ctrl, row->event);
	ck_assert_uint_eq(await(&x), NVME_OK);
	drop_queue(q);
}
END_TEST

/* Without a request an event waits; other kinds of controllers have not all of them. */
START_TEST(events_wait_for_a_request)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid), *d = open_discovery(HOSTNQN);
	struct exchange x = admin_command(0x0c, 0, 0, 0), y = x, z = x;

	ck_assert_uint_eq(set_feature(q, 0, 0x0b, 1 << 8), NVME_OK);
	ck_assert_uint_eq(set_feature(d, 0, 0x0b, 1 << 8), INVALID);
	hand_over(d, &z, start);
	subsystem_event(target->subsystems[0], EVENT_NS_CHANGED);
	subsystem_event(target->subsystems[1], EVENT_NS_CHANGED);
	subsystem_event(target->subsystems[1], EVENT_RESERVATION);
	subsystem_event(target->subsystems[1], EVENT_DISCOVERY_CHANGED);
	ck_assert(!is_answered(&z));
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(get32(x.req.cqe.dw0), 0x040002);
	ck_assert_uint_eq(run(q, &y), NVME_OK);
	ck_assert_uint_eq(get32(y.req.cqe.dw0), 0x800006);
	x = admin_command(0x0c, 0, 0, 0);
	hand_over(q, &x, start);
	ck_assert(!is_answered(&x));
	drop_queue(d);
	drop_queue(q);
}
END_TEST

/* Crossing a threshold is told if the host wants to know, once, and again when its page was read.
 */
START_TEST(temperature_beyond_its_threshold_is_told)
{
	static const struct {
		uint32_t threshold; /* of feature 04h */
		bool warns;
	} rows[] = {
		{ 311, false },
		{ 310, true },
		{ 200, true },
		{ 0, true },
		{ UNDER | 309, false },
		{ UNDER | 310, true },
		{ SENSOR(2) | 301, false },
		{ SENSOR(2) | 300, true },
		{ SENSOR(2) | UNDER | 300, true },
	};
	uint16_t cntlid;

	for (int i = 0; i < NROWS(rows); i++) {
		struct nvmf_queue *q = open_enabled(&cntlid);
		struct exchange x = admin_command(0x0c, 0, 0, 0);
		const struct nvme_smart_log *log = (void *)data;

		pretend_drive(310);
		ck_assert_uint_eq(set_feature(q, 0, 0x04, rows[i].threshold), NVME_OK);
		hand_over(q, &x, start);
		health_tell(q->ctrl);
		ck_assert(!is_answered(&x)); /* not wanted */
		ck_assert_uint_eq(set_feature(q, 0, 0x0b, 1 << 1), NVME_OK);
		ck_assert_msg(is_answered(&x) == rows[i].warns, "row %d", i);
		ck_assert_uint_eq(read_log(q, &(struct log_read){ .lid = 0x02, .len = 512 }),
				  NVME_OK);
		ck_assert_uint_eq(log->critical_warning, rows[i].warns ? 2 : 0);
		drop_queue(q);
	}
}
END_TEST

START_TEST(critical_warnings_of_the_drive_are_told)
{
	static const struct {
		uint8_t warning;
		uint32_t config, dw0; /* 0: not told */
	} rows[] = {
		{ 1 << 0, 1 << 0, 0x020201 }, { 1 << 2, 1 << 2, 0x020001 },
		{ 1 << 3, 1 << 3, 0x020001 }, { 1 << 4, 1 << 4, 0x020001 },
		{ 1 << 0, 0xfe, 0 },          { 1 << 2, 0xfb, 0 },
		{ 1 << 1, 0xff, 0 }, /* its own threshold is not ours */
	};
	uint16_t cntlid;

	for (int i = 0; i < NROWS(rows); i++) {
		struct nvmf_queue *q = open_enabled(&cntlid);
		struct exchange x = admin_command(0x0c, 0, 0, 0);

		pretend_drive(310)->critical_warning = 0;
		ck_assert_uint_eq(set_feature(q, 0, 0x0b, rows[i].config), NVME_OK);
		hand_over(q, &x, start);
		health_tell(q->ctrl);
		ck_assert(!is_answered(&x));
		pretend_drive(310)->critical_warning = rows[i].warning;
		health_tell(q->ctrl);
		ck_assert_msg(is_answered(&x) == !!rows[i].dw0, "row %d", i);
		if (rows[i].dw0)
			ck_assert_uint_eq(get32(x.req.cqe.dw0), rows[i].dw0);
		drop_queue(q);
	}
}
END_TEST

/* ---- all ----------------------------------------------------------------------------------------
 */

/* Opcodes that are not in the table, and those that discovery controllers have not. */
START_TEST(every_admin_opcode_has_an_answer)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_enabled(&cntlid), *d = open_discovery(HOSTNQN);

	for (uint32_t op = 0; op < 256; op++) {
		struct exchange x = admin_command((uint8_t)op, 0, 0, 0), y = x;

		if (op == OP_FABRICS)
			continue;
		if (!admin_commands[op].execute)
			ck_assert_uint_eq(run(q, &x), NVME_INVALID_OPCODE | NVME_DNR);
		if (!(admin_commands[op].flags & CMD_DISCOVERY))
			ck_assert_uint_eq(run(d, &y), NVME_INVALID_OPCODE | NVME_DNR);
	}
	drop_queue(d);
	drop_queue(q);
}
END_TEST

static void setup_with_state(void)
{
	make_state_folder();
	setup();
}

static void setup_threads_with_state(void)
{
	make_state_folder();
	setup_threads();
}

static void add_tests(Suite *s, const char *name, void (*fixture)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, fixture, teardown);
	tcase_add_loop_test(tc, identify_forms_have_their_status, 0, NROWS(identify_rows));
	tcase_add_test(tc, every_cns_has_an_answer);
	tcase_add_test(tc, identify_controller_is_what_the_linux_host_demands);
	tcase_add_test(tc, identify_controller_says_what_the_tables_have);
	tcase_add_loop_test(tc, identify_namespace_says_what_the_drive_says, 0, NROWS(limits_rows));
	tcase_add_test(tc, inactive_namespace_is_all_zeros);
	tcase_add_test(tc, namespace_has_its_names);
	tcase_add_test(tc, lists_of_namespaces_begin_after_nsid);
	tcase_add_test(tc, lists_of_controllers_begin_at_cntid);
	tcase_add_loop_test(tc, log_pages_have_their_status_length_and_offset, 0, NROWS(log_rows));
	tcase_add_test(tc, every_lid_has_an_answer);
	tcase_add_test(tc, effects_pages_say_what_the_tables_have);
	tcase_add_test(tc, changed_namespaces_are_listed_until_read);
	tcase_add_test(tc, failed_admin_commands_are_in_the_error_log);
	tcase_add_test(tc, failed_io_commands_are_in_the_error_log);
	tcase_add_test(tc, error_log_forgets_the_oldest);
	tcase_add_test(tc, aborted_commands_are_not_in_the_error_log);
	tcase_add_test(tc, health_is_the_drives_and_traffic_is_ours);
	tcase_add_test(tc, drive_that_does_not_know_its_health_is_asked_all_the_same);
	tcase_add_loop_test(tc, features_have_their_status, 0, NROWS(feature_rows));
	tcase_add_test(tc, every_fid_has_an_answer);
	tcase_add_test(tc, features_that_were_set_are_read_back);
	tcase_add_test(tc, timestamp_counts_on_from_what_was_set);
	tcase_add_test(tc, host_behavior_takes_what_we_have);
	tcase_add_test(tc, host_identifier_is_that_of_connect);
	tcase_add_test(tc, write_protected_namespace_is_not_written);
	tcase_add_test(tc, write_protection_survives_a_restart);
	tcase_add_test(tc, write_protection_that_cannot_be_saved_is_refused);
	tcase_add_test(tc, write_protection_waits_for_the_disk);
	tcase_add_test(tc, write_protection_keeps_the_namespace_meanwhile);
	tcase_add_test(tc, write_protection_waits_for_what_is_in_flight);
	tcase_add_test(tc, write_that_waited_meets_the_protection);
	tcase_add_test(tc, abort_ends_what_waits_in_the_transport);
	tcase_add_test(tc, abort_ends_async_event_requests);
	tcase_add_test(tc, abort_ends_what_waits_for_locked_blocks);
	tcase_add_test(tc, too_many_aborts_are_refused);
	tcase_add_test(tc, async_events_are_parked_and_answered_at_the_end);
	tcase_add_loop_test(tc, events_are_told_once_until_their_page_is_read, 0,
			    NROWS(event_rows));
	tcase_add_test(tc, events_wait_for_a_request);
	tcase_add_test(tc, temperature_beyond_its_threshold_is_told);
	tcase_add_test(tc, critical_warnings_of_the_drive_are_told);
	tcase_add_test(tc, every_admin_opcode_has_an_answer);
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("admin");

	add_tests(s, "one thread", setup_with_state);
	add_tests(s, "I/O threads", setup_threads_with_state);
	return run_suite(s);
}
