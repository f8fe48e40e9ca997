/* Properties and what CC and CSTS do: Base 2.1, 3.1.4, 3.5, 3.6, 6.5, 6.6. */
#include "tests/host/suite.h"

#include <errno.h>
#include <string.h>

#define INVALID_FIELD (NVME_INVALID_FIELD | DNR)

/* ---- single commands ---------------------------------------------------------------------------
 */

struct property_case {
	const char *name;
	enum since since;
	enum on on;
	uint8_t fctype, attrib;
	uint32_t offset;
	uint64_t value;
	uint16_t status;
	uint32_t dw0_mask, dw0; /* of what is got */
};

static const struct property_case rows[] = {
	{ "get-cap", NOW, ON_ADMIN, FC_PROPERTY_GET, 1, PROP_CAP, 0, NVME_OK, 1 << 16, 1 << 16 },
	{ "get-vs", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, PROP_VS, 0, NVME_OK, 0xffff0000, 0x20000 },
	{ "get-cc", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, PROP_CC, 0, NVME_OK, UINT32_MAX, CC_READY },
	{ "get-csts", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, PROP_CSTS, 0, NVME_OK, UINT32_MAX,
	  CSTS_RDY },
	{ "get-crto", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, PROP_CRTO, 0, NVME_OK, 0, 0 },
	{ "get-cap-4-bytes", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, PROP_CAP, 0, INVALID_FIELD, 0, 0 },
	{ "get-vs-8-bytes", NOW, ON_ADMIN, FC_PROPERTY_GET, 1, PROP_VS, 0, INVALID_FIELD, 0, 0 },
	{ "get-cc-8-bytes", NOW, ON_ADMIN, FC_PROPERTY_GET, 1, PROP_CC, 0, INVALID_FIELD, 0, 0 },
	{ "get-csts-8-bytes", NOW, ON_ADMIN, FC_PROPERTY_GET, 1, PROP_CSTS, 0, INVALID_FIELD, 0,
	  0 },
	{ "get-crto-8-bytes", NOW, ON_ADMIN, FC_PROPERTY_GET, 1, PROP_CRTO, 0, INVALID_FIELD, 0,
	  0 },
	{ "get-vs-size-2", NOW, ON_ADMIN, FC_PROPERTY_GET, 2, PROP_VS, 0, INVALID_FIELD, 0, 0 },
	{ "get-vs-size-7", NOW, ON_ADMIN, FC_PROPERTY_GET, 7, PROP_VS, 0, INVALID_FIELD, 0, 0 },
	{ "get-cap-middle", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, 4, 0, INVALID_FIELD, 0, 0 },
	{ "get-offset-1", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, 1, 0, INVALID_FIELD, 0, 0 },
	{ "get-intms", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, 0x0c, 0, INVALID_FIELD, 0, 0 },
	{ "get-aqa", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, 0x24, 0, INVALID_FIELD, 0, 0 },
	{ "get-asq", NOW, ON_ADMIN, FC_PROPERTY_GET, 1, 0x28, 0, INVALID_FIELD, 0, 0 },
	{ "get-last-offset", NOW, ON_ADMIN, FC_PROPERTY_GET, 0, UINT32_MAX, 0, INVALID_FIELD, 0,
	  0 },
	{ "get-on-io", NOW, ON_IO, FC_PROPERTY_GET, 0, PROP_CSTS, 0, INVALID_FIELD, 0, 0 },
	{ "set-cc", NOW, ON_ADMIN, FC_PROPERTY_SET, 0, PROP_CC, CC_READY, NVME_OK, 0, 0 },
	{ "set-cc-8-bytes", NOW, ON_ADMIN, FC_PROPERTY_SET, 1, PROP_CC, CC_READY, INVALID_FIELD, 0,
	  0 },
	{ "set-cap", NOW, ON_ADMIN, FC_PROPERTY_SET, 1, PROP_CAP, 0, INVALID_FIELD, 0, 0 },
	{ "set-vs", NOW, ON_ADMIN, FC_PROPERTY_SET, 0, PROP_VS, 0, INVALID_FIELD, 0, 0 },
	{ "set-csts", NOW, ON_ADMIN, FC_PROPERTY_SET, 0, PROP_CSTS, 0, INVALID_FIELD, 0, 0 },
	{ "set-crto", NOW, ON_ADMIN, FC_PROPERTY_SET, 0, PROP_CRTO, 0, INVALID_FIELD, 0, 0 },
	{ "set-aqa", NOW, ON_ADMIN, FC_PROPERTY_SET, 0, 0x24, 0, INVALID_FIELD, 0, 0 },
	{ "set-last-offset", NOW, ON_ADMIN, FC_PROPERTY_SET, 0, UINT32_MAX, 0, INVALID_FIELD, 0,
	  0 },
	{ "set-on-io", NOW, ON_IO, FC_PROPERTY_SET, 0, PROP_CC, 0, INVALID_FIELD, 0, 0 },
	{ "fctype-2", NOW, ON_ADMIN, 2, 0, 0, 0, NVME_INVALID_OPCODE | DNR, 0, 0 },
	{ "fctype-ff", NOW, ON_ADMIN, 0xff, 0, 0, 0, NVME_INVALID_OPCODE | DNR, 0, 0 },
	{ "fctype-ff-on-io", NOW, ON_IO, 0xff, 0, 0, 0, NVME_INVALID_OPCODE | DNR, 0, 0 },
	/* Disconnect ends I/O queues only: Base 2.1, 6.4 */
	{ "disconnect-admin", NOW, ON_ADMIN, 8, 0, 0, 0, NVME_INVALID_QUEUE_TYPE | DNR, 0, 0 },
	{ "disconnect-recfmt", NOW, ON_IO, 8, 1, 0, 0, NVME_CONNECT_FORMAT | DNR, 0, 0 },
};

static bool property_case(struct suite *s, const void *row)
{
	const struct property_case *t = row;
	struct capsule c;
	struct nvmf_property_sqe *sqe = (void *)&c.sqe;
	struct host_response r;
	int err;

	if (!suite_controller(s))
		return false;
	fab_fabrics_init(&c, t->fctype);
	sqe->attrib = t->attrib;
	sqe->offset = put32(t->offset);
	sqe->value = put64(t->value);
	err = fab_exec(t->on == ON_ADMIN ? &s->ctrl->admin : &s->io, &c, &r);
	if (!expect_status(s, err, &r, t->status))
		return false;
	return (get32(r.cqe.dw0) & t->dw0_mask) == t->dw0 ||
	       suite_fail(s, "got %#x, expected %#x (mask %#x)", get32(r.cqe.dw0), t->dw0,
			  t->dw0_mask);
}

/* ---- CC ---------------------------------------------------------------------------------------
 */

/* Written to a disabled controller. */
struct cc_case {
	const char *name;
	enum since since;
	uint32_t cc;
	uint32_t csts; /* what becomes of it */
};

static const struct cc_case cc_rows[] = {
	{ "enable", NOW, CC_READY, CSTS_RDY },
	{ "enable-iosqes-0", NOW, CC_EN | 0u << 16 | 4u << 20, CSTS_CFS },
	{ "enable-iosqes-5", NOW, CC_EN | 5u << 16 | 4u << 20, CSTS_CFS },
	{ "enable-iosqes-7", NOW, CC_EN | 7u << 16 | 4u << 20, CSTS_CFS },
	{ "enable-iocqes-0", NOW, CC_EN | 6u << 16 | 0u << 20, CSTS_CFS },
	{ "enable-iocqes-3", NOW, CC_EN | 6u << 16 | 3u << 20, CSTS_CFS },
	{ "enable-iocqes-5", NOW, CC_EN | 6u << 16 | 5u << 20, CSTS_CFS },
	{ "enable-mps-1", NOW, CC_READY | 1u << 7, CSTS_CFS },
	{ "enable-mps-15", NOW, CC_READY | 15u << 7, CSTS_CFS },
	{ "enable-css-1", NOW, CC_READY | 1u << 4, CSTS_CFS },
	{ "enable-css-7", NOW, CC_READY | 7u << 4, CSTS_CFS },
	{ "enable-ams-1", NOW, CC_READY | 1u << 11, CSTS_CFS },
	{ "enable-ams-7", NOW, CC_READY | 7u << 11, CSTS_CFS },
	{ "shutdown-normal", NOW, CC_DEFAULT | 1u << 14, CSTS_SHST_DONE },
	{ "shutdown-abrupt", NOW, CC_DEFAULT | 2u << 14, CSTS_SHST_DONE },
};

static bool expect_csts(struct suite *s, struct fab_ctrl *c, uint32_t expected)
{
	uint64_t csts = 0;
	int err = fab_wait_csts(c, UINT32_MAX, expected);

	if (!err)
		return true;
	if (fab_property_get(c, PROP_CSTS, false, &csts))
		return suite_fail(s, "got no CSTS (%s)",
				  err < 0 ? strerror(-err) : fab_status_name((uint16_t)err));
	return suite_fail(s, "got CSTS %#x, expected %#x", (unsigned int)csts, expected);
}

static bool set_cc(struct suite *s, struct fab_ctrl *c, uint32_t cc)
{
	int err = fab_property_set(c, PROP_CC, cc);

	return !err || suite_fail(s, "got %d from setting CC to %#x, expected success", err, cc);
}

/* After a fatal status, a reset makes the controller usable again. */
static bool cc_case(struct suite *s, const void *row)
{
	static const struct fab_options disabled = { .disabled = true };
	const struct cc_case *t = row;
	struct fab_ctrl *c;
	bool ok;

	if (!suite_create(s, &disabled, &c))
		return false;
	ok = expect_csts(s, c, 0) && set_cc(s, c, t->cc) && expect_csts(s, c, t->csts) &&
	     set_cc(s, c, CC_DEFAULT) && expect_csts(s, c, 0) && set_cc(s, c, CC_READY) &&
	     expect_csts(s, c, CSTS_RDY);
	fab_ctrl_destroy(c);
	return ok;
}

/* CSS 110b, all I/O command sets, if CAP offers it: else a fatal status. */
static bool css_all(struct suite *s, const void *row)
{
	static const struct fab_options disabled = { .disabled = true };
	struct fab_ctrl *c;
	uint64_t cap = 0;
	bool ok;

	(void)row;
	if (!suite_create(s, &disabled, &c))
		return false;
	ok = fab_property_get(c, PROP_CAP, true, &cap) == 0 || suite_fail(s, "no CAP");
	ok = ok && set_cc(s, c, CC_READY | 6u << 4) &&
	     expect_csts(s, c, cap >> 43 & 1 ? CSTS_RDY : CSTS_CFS);
	fab_ctrl_destroy(c);
	return ok;
}

/* CC.EN to 0: RDY follows when the I/O queues are gone, the admin queue stays; then all over. */
static bool disable(struct suite *s, const void *row)
{
	struct fab_queue q;
	int err;

	(void)row;
	if (!suite_controller(s) || !set_cc(s, s->ctrl, CC_DEFAULT) ||
	    !expect_gone(s, s->io.conn) || !expect_csts(s, s->ctrl, 0) ||
	    !set_cc(s, s->ctrl, CC_READY) || !expect_csts(s, s->ctrl, CSTS_RDY))
		return false;
	err = fab_ctrl_queue(s->ctrl, 1, IO_QUEUE_DEPTH, &q);
	if (err)
		return suite_fail(s, "got %d from Connect of queue 1 after a reset", err);
	fab_queue_close(&s->io);
	s->io = q;
	return true;
}

/* EN 0 and at once 1 again: the reset is not lost. */
static bool disable_enable(struct suite *s, const void *row)
{
	(void)row;
	if (!suite_controller(s) || !set_cc(s, s->ctrl, CC_DEFAULT) ||
	    !set_cc(s, s->ctrl, CC_READY))
		return false;
	if (!expect_gone(s, s->io.conn) || !expect_csts(s, s->ctrl, CSTS_RDY))
		return false;
	suite_drop_controller(s);
	return true;
}

/* Shutdown of an enabled controller, as the Linux host ends it. */
static bool shutdown_enabled(struct suite *s, const void *row)
{
	bool ok;

	(void)row;
	ok = suite_controller(s) && set_cc(s, s->ctrl, CC_READY | 1u << 14) &&
	     (fab_wait_csts(s->ctrl, CSTS_SHST_MASK, CSTS_SHST_DONE) == 0 ||
	      suite_fail(s, "got no SHST of 10b"));
	suite_drop_controller(s);
	return ok;
}

/* A discovery controller has no I/O queues: their entry sizes may be 0. */
static bool enable_discovery(struct suite *s, const void *row)
{
	static const struct fab_options o = { .nqn = NVME_DISC_SUBSYS_NAME, .disabled = true };
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &o, &c))
		return false;
	ok = set_cc(s, c, CC_EN) && expect_csts(s, c, CSTS_RDY);
	fab_ctrl_destroy(c);
	return ok;
}

/* One I/O queue ends after its answer; the controller and its other queues stay. */
static bool disconnect_io(struct suite *s, const void *row)
{
	struct capsule c;
	struct fab_queue q;
	struct host_response r;
	bool ok;
	int err;

	(void)row;
	if (!suite_controller(s))
		return false;
	err = fab_ctrl_queue(s->ctrl, suite_qid(s), 8, &q);
	if (err)
		return suite_fail(s, "no I/O queue: %d", err);
	fab_fabrics_init(&c, 8);
	err = fab_exec(&q, &c, &r);
	ok = expect_status(s, err, &r, NVME_OK) && expect_gone(s, q.conn);
	fab_queue_close(&q);
	if (ok) { /* its ID is free again */
		err = fab_ctrl_queue(s->ctrl, s->next_qid, 8, &q);
		ok = !err || suite_fail(s, "got %d from Connect of the same queue again", err);
		fab_queue_close(&q);
	}
	return ok && suite_transfer(s, nvme_cmd_read, 0, 1);
}

void property_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		suite_case(s, rows[i].name, rows[i].since, property_case, &rows[i]);
	for (size_t i = 0; i < sizeof(cc_rows) / sizeof(cc_rows[0]); i++)
		suite_case(s, cc_rows[i].name, cc_rows[i].since, cc_case, &cc_rows[i]);
	suite_case(s, "enable-css-all", NOW, css_all, NULL);
	suite_case(s, "enable-discovery", NOW, enable_discovery, NULL);
	suite_case(s, "disconnect-io", NOW, disconnect_io, NULL);
	suite_case(s, "disable", NOW, disable, NULL);
	suite_case(s, "disable-enable", NOW, disable_enable, NULL);
	suite_case(s, "shutdown-enabled", NOW, shutdown_enabled, NULL);
}
