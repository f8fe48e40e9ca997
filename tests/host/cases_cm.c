/*
 * Connection requests: every check of the private data that NVM Express RDMA Transport 1.1, 3.1
 * names, and its reject status.
 *
 * "Invalid Private Data Length" cannot be provoked over InfiniBand or RoCE: the CM's message has 56
 * bytes for it whatever the host says, and a shorter request arrives filled up with zeros. The rows
 * short-* show what comes of that; tests/unit has the length itself.
 */
#include "tests/host/suite.h"

#include <errno.h>
#include <rdma/rdma_cma.h>
#include <string.h>

#define MUCH 1025 /* entries: no port allows that */

struct cm_case {
	const char *name;
	enum since since;
	uint16_t qid, depth; /* depth 0: 32 */
	void (*edit)(struct host_request *req);
	uint16_t status; /* enum nvme_rdma_cm_status; CM_OK: accepted */
};

static void recfmt_1(struct host_request *req)
{
	req->data.recfmt = put16(1);
}
static void recfmt_ffff(struct host_request *req)
{
	req->data.recfmt = put16(0xffff);
}
static void no_data(struct host_request *req)
{
	req->data_len = 0;
}
static void ten_bytes(struct host_request *req)
{
	req->data_len = 10;
}
static void hsqsize_0(struct host_request *req)
{
	req->data.hsqsize_z = put16(0);
}
static void hsqsize_ffff(struct host_request *req)
{
	req->data.hsqsize_z = put16(0xffff);
}
static void hrqsize_0(struct host_request *req)
{
	req->data.hrqsize = put16(0);
}
static void no_reads(struct host_request *req)
{
	req->reads_accepted = 0;
}
static void one_read(struct host_request *req)
{
	req->reads_accepted = 1;
}
static void issues_reads(struct host_request *req)
{
	req->reads_issued = 16;
}
static void cntlid_ffef(struct host_request *req)
{
	req->data.cntlid = put16(0xffef);
}
static void cntlid_ffff(struct host_request *req)
{
	req->data.cntlid = put16(0xffff);
}
static void reserved_bytes(struct host_request *req)
{
	memset(req->data.rsvd, 0xff, sizeof(req->data.rsvd));
}

static const struct cm_case cm_rows[] = {
	{ "admin", NOW, 0, 32, NULL, CM_OK },
	{ "admin-of-2", NOW, 0, 2, NULL, CM_OK },
	{ "io", NOW, 1, 16, NULL, CM_OK },
	{ "io-qid-128", NOW, 128, 16, NULL, CM_OK },
	{ "reserved-bytes-ignored", NOW, 0, 32, reserved_bytes, CM_OK },
	{ "short-none", NOW, 0, 32, no_data, CM_INVALID_HSQSIZE },
	{ "short-10-bytes", NOW, 0, 32, ten_bytes, CM_OK },
	{ "recfmt-1", NOW, 0, 32, recfmt_1, CM_INVALID_RECFMT },
	{ "recfmt-ffff", NOW, 0, 32, recfmt_ffff, CM_INVALID_RECFMT },
	{ "qid-8000", NOW, 0x8000, 32, NULL, CM_INVALID_QID },
	{ "qid-ffff", NOW, 0xffff, 32, NULL, CM_INVALID_QID },
	{ "hsqsize-0", NOW, 0, 32, hsqsize_0, CM_INVALID_HSQSIZE },
	{ "hsqsize-ffff", NOW, 0, 32, hsqsize_ffff, CM_INVALID_HSQSIZE },
	{ "hsqsize-too-big-admin", NOW, 0, MUCH, NULL, CM_INVALID_HSQSIZE },
	{ "hsqsize-too-big-io", NOW, 1, MUCH, NULL, CM_INVALID_HSQSIZE },
	{ "hsqsize-0-io", NOW, 1, 32, hsqsize_0, CM_INVALID_HSQSIZE },
	{ "hrqsize-0", NOW, 0, 32, hrqsize_0, CM_INVALID_HRQSIZE },
	{ "hrqsize-0-io", NOW, 1, 32, hrqsize_0, CM_INVALID_HRQSIZE },
	{ "ird-0", NOW, 0, 32, no_reads, CM_INVALID_IRD },
	{ "ird-0-io", NOW, 1, 32, no_reads, CM_INVALID_IRD },
	{ "ird-1", NOW, 0, 32, one_read, CM_OK },
	/* a target reads from hosts, hosts never from it: what they might issue does not matter */
	{ "ord-16", NOW, 0, 32, issues_reads, CM_OK },
	{ "cntlid-unknown", NOW, 1, 32, cntlid_ffef, CM_INVALID_CNTLID },
	{ "cntlid-out-of-range", NOW, 1, 32, cntlid_ffff, CM_INVALID_CNTLID },
};

static bool expect_answer(struct suite *s, const struct host_answer *a, uint16_t status,
			  uint16_t depth)
{
	if (a->outcome == HOST_FAILED)
		return suite_fail(s, "got CM event %s (status %d), expected an answer",
				  rdma_event_str((enum rdma_cm_event_type)a->event),
				  a->event_status);
	if (a->reject_status != status)
		return suite_fail(s, "got CM reject status %u, expected %u (0: accepted)",
				  a->reject_status, status);
	if (a->recfmt != 0)
		return suite_fail(s, "got RECFMT %u in the answer, expected 0", a->recfmt);
	if (status == CM_OK && a->crqsize != depth)
		return suite_fail(s, "got CRQSIZE %u, expected %u", a->crqsize, depth);
	return true;
}

static bool cm_case(struct suite *s, const void *row)
{
	const struct cm_case *t = row;
	struct host_request req = host_default_request(t->qid, t->depth);
	struct host_answer answer;
	struct host_conn *c = NULL;
	int err;

	if (t->edit)
		t->edit(&req);
	err = host_connect(s->fh->host, &req, &c, &answer);
	host_close(c);
	if (err && answer.outcome == HOST_FAILED && !answer.event)
		return suite_fail(s, "cannot connect: %s", strerror(-err));
	return expect_answer(s, &answer, t->status, t->depth);
}

/* The ID of a controller that there is is no reason to refuse its I/O queue. */
static bool known_cntlid(struct suite *s, const void *row)
{
	struct host_request req = host_default_request(1, 32);
	struct host_answer answer;
	struct host_conn *c = NULL;
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	req.data.cntlid = put16(s->ctrl->cntlid);
	err = host_connect(s->fh->host, &req, &c, &answer);
	host_close(c);
	return (!err || answer.event || suite_fail(s, "cannot connect: %s", strerror(-err))) &&
	       expect_answer(s, &answer, CM_OK, 32);
}

/* A host that asks and is gone before the answer: nothing of it must stay (tests/e2e/host looks).
 */
static bool walk_away(struct suite *s, const void *row)
{
	struct host_answer answer;
	struct host_conn *c = NULL;

	(void)row;
	for (uint16_t i = 0; i < 20; i++) {
		struct host_request req = host_default_request(i, 32);
		int err;

		req.walk_away = true;
		err = host_connect(s->fh->host, &req, &c, &answer);
		if (err != -ECANCELED)
			return suite_fail(s, "cannot ask: %s", strerror(-err));
	}
	return suite_controller(s);
}

void cm_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(cm_rows) / sizeof(cm_rows[0]); i++)
		suite_case(s, cm_rows[i].name, cm_rows[i].since, cm_case, &cm_rows[i]);
	suite_case(s, "cntlid-known", NOW, known_cntlid, NULL);
	suite_case(s, "walk-away", NOW, walk_away, NULL);
}

/* ---- no resources: for a daemon whose connection_memory is 1 MiB ------------------------------
 */

#define MANY 64

/* Connections until one is refused; then, with one less, there is room again. */
static bool use_up(struct suite *s, const void *row)
{
	struct host_request req = host_default_request(0, 128);
	struct host_conn *c[MANY] = { NULL };
	struct host_answer answer = { .outcome = HOST_ACCEPTED };
	uint64_t deadline;
	unsigned int n = 0;
	bool ok;

	(void)row;
	while (n < MANY && answer.outcome == HOST_ACCEPTED)
		if (host_connect(s->fh->host, &req, &c[n], &answer) == 0)
			n++;
	ok = n > 0 && n < MANY ? expect_answer(s, &answer, CM_NO_RESOURCES, 0)
			       : suite_fail(s, "got %u connections", n);
	if (ok) {
		host_close(c[--n]);
		c[n] = NULL;
		deadline = host_now_ms() + HOST_TIMEOUT_MS;
		while (host_connect(s->fh->host, &req, &c[n], &answer) && host_now_ms() < deadline)
			;
		ok = expect_answer(s, &answer, CM_OK, 128);
	}
	for (unsigned int i = 0; i < MANY; i++)
		host_close(c[i]);
	return ok;
}

void cm_resource_cases(struct suite *s)
{
	suite_case(s, "no-resources", NOW, use_up, NULL);
}
