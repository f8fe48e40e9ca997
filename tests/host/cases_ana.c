/* A path that is closed: Base 2.1, 8.1.1. Each group is for one state, which somebody else sets. */
#include "tests/host/suite.h"

#include <string.h>

struct closed {
	uint16_t status; /* of what needs the path; no DNR, for another path may do */
	uint8_t state;   /* in the log page */
};

struct form_on_path {
	const struct io_form *form;
	uint16_t status;
};

static bool io_case(struct suite *s, const void *row)
{
	const struct form_on_path *t = row;
	struct capsule c;
	struct host_response r;
	int err;

	if (!suite_controller(s))
		return false;
	suite_io_init(s, t->form, FREE_LBA, &c);
	err = fab_exec(&s->io, &c, &r);
	return expect_status(s, err, &r, t->status);
}

/* What Identify still says: all, but what could only be asked of the drive. */
static bool unused(struct suite *s, const struct command_case *t, const struct host_response *r)
{
	const struct nvme_id_ns *ns = (const void *)s->data.va;

	(void)t;
	(void)r;
	return (ns->nsze && ns->anagrpid && !ns->nuse) ||
	       suite_fail(s, "got NSZE %#llx, ANAGRPID %u, NUSE %#llx, expected the last to be 0",
			  (unsigned long long)le64toh(ns->nsze), le32toh(ns->anagrpid),
			  (unsigned long long)le64toh(ns->nuse));
}

static bool says_so(struct suite *s, const struct command_case *t, const struct host_response *r)
{
	const struct nvme_ana_header *h = (const void *)s->data.va;
	const struct nvme_ana_group *g = (const void *)(h + 1);

	(void)r;
	return (get16(h->ngroups) && (g->state & 0xf) == t->arg) ||
	       suite_fail(s, "got %u groups, the first in state %#x, expected %#x",
			  get16(h->ngroups), g->state, (unsigned int)t->arg);
}

#define LOG(lid, nsid_, bytes)                                                                     \
	.opcode = ADM_GET_LOG, .nsid = (nsid_), .cdw10 = (lid) | ((bytes) / 4 - 1) << 16,          \
	.data = TO_HOST, .len = (bytes)
#define GET(fid) .opcode = ADM_GET_FEATURES, .nsid = MY_NSID, .cdw10 = (fid)
#define SET(fid) .opcode = ADM_SET_FEATURES, .nsid = MY_NSID, .cdw10 = (fid)
#define IDENTIFY(cns, nsid_)                                                                       \
	.opcode = ADM_IDENTIFY, .nsid = (nsid_), .cdw10 = (cns), .data = TO_HOST, .len = 4096
#define CLOSED 0xffff /* the status of the path */

static const struct command_case rows[] = {
	{ "smart-of-namespace", LOG(0x02, MY_NSID, 512), .status = CLOSED },
	{ "smart", LOG(0x02, UINT32_MAX, 512) },
	{ "get-resv-mask", GET(0x82), .status = CLOSED },
	{ "get-resv-persistence", GET(0x83), .status = CLOSED },
	{ "get-write-protect", GET(0x84), .status = CLOSED },
	{ "get-error-recovery", GET(0x05) },
	{ "set-resv-mask", SET(0x82), .status = CLOSED },
	{ "set-resv-persistence", SET(0x83), .status = CLOSED },
	{ "set-write-protect", SET(0x84), .status = CLOSED },
	{ "identify-ns", IDENTIFY(0x00, MY_NSID), .check = unused },
	{ "identify-active-list", IDENTIFY(0x02, 0) },
	{ "identify-descriptors", IDENTIFY(0x03, MY_NSID) },
	{ "resv-report", .on = ON_IO, .opcode = nvme_cmd_resv_report, .nsid = MY_NSID, .cdw10 = 15,
	  .cdw11 = 1, .data = TO_HOST, .len = 64, .status = CLOSED },
	{ "resv-release", .on = ON_IO, .opcode = nvme_cmd_resv_release, .nsid = MY_NSID,
	  .status = CLOSED },
	{ "read-nsid-unknown", .on = ON_IO, .opcode = nvme_cmd_read, .nsid = UNKNOWN_NSID,
	  .status = NVME_INVALID_NS | DNR },
};

static void closed_cases(struct suite *s, const struct closed *path)
{
	const struct command_case log = { "log", LOG(0x0c, 0, 64), .check = says_so,
					  .arg = path->state };

	if (!s->list)
		suite_drop_controller(s);
	s->path_closed = true;
	for (size_t i = 0; i < nio_forms; i++) {
		struct form_on_path t = { &io_forms[i], path->status };

		suite_case(s, io_forms[i].name, NOW, io_case, &t);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct command_case t = rows[i];

		if (t.status == CLOSED)
			t.status = path->status;
		suite_commands(s, &t, 1);
	}
	suite_commands(s, &log, 1);
	suite_drop_controller(s);
	s->path_closed = false;
}

void ana_inaccessible_cases(struct suite *s)
{
	closed_cases(s, &(struct closed){ NVME_PATH_INACCESSIBLE, 0x3 });
}

void ana_loss_cases(struct suite *s)
{
	closed_cases(s, &(struct closed){ NVME_PATH_PERSISTENT_LOSS, 0x4 });
}

void ana_change_cases(struct suite *s)
{
	closed_cases(s, &(struct closed){ NVME_PATH_TRANSITION, 0xf });
}
