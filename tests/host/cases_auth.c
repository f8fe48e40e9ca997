/* Authentication: Base 2.1, 6.1, 6.2, 8.3.5. For a target that has a key for our host NQN, and (the
 * last group) for one that has none. */
#include "tests/host/suite.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define INVALID_FIELD (NVME_INVALID_FIELD | DNR)
#define WRONG_LEN     (NVME_SGL_DATA_LENGTH_INVALID | DNR)
#define SEQUENCE      (NVME_COMMAND_SEQUENCE | DNR)
#define AUTH_REQUIRED (NVME_AUTH_REQUIRED | DNR)

#define HASH_LEN   32 /* SHA-256, and the only hash that we offer */
#define MESSAGE_ID 0x1234
#define ROOM       1024 /* for any message to us */

/* ---- messages ---------------------------------------------------------------------------------
 */

/* What we offer: SHA-256, no Diffie-Hellman. */
struct negotiate {
	struct auth_negotiate n;
	struct auth_descriptor d;
};

static struct negotiate right_negotiate(void)
{
	return (struct negotiate){
		.n = { .h = { .id = AUTH_ID_NEGOTIATE, .t_id = put16(MESSAGE_ID) }, .napd = 1 },
		.d = { .authid = AUTH_TYPE_DHCHAP, .halen = 1, .dhlen = 1, .hash = { 1 } },
	};
}

struct reply {
	struct auth_reply r;
	uint8_t response[HASH_LEN], challenge[HASH_LEN];
};

/* In form, with a response that is none. */
static struct reply form_reply(void)
{
	return (struct reply){ .r = { .h = { .type = AUTH_TYPE_DHCHAP,
					     .id = AUTH_ID_REPLY,
					     .t_id = put16(MESSAGE_ID) },
				      .hl = HASH_LEN } };
}

/* ---- commands ---------------------------------------------------------------------------------
 */

static void auth_init(struct capsule *c, uint8_t fctype, const struct host_buffer *b, uint32_t len)
{
	struct nvmf_auth_sqe *sqe = (void *)&c->sqe;

	fab_fabrics_init(c, fctype);
	sqe->secp = AUTH_SECP;
	sqe->spsp0 = AUTH_SPSP;
	sqe->spsp1 = AUTH_SPSP;
	sqe->len = put32(len);
	c->sqe.dptr = fab_sgl_keyed(b, len, SGL_SUB_ADDRESS);
}

static bool expect_command(struct suite *s, struct fab_queue *q, struct capsule *c, uint16_t status)
{
	struct host_response r;
	int err = fab_exec(q, c, &r);

	return expect_status(s, err, &r, status);
}

static bool expect_opcode(struct suite *s, struct fab_queue *q, uint8_t opcode, uint16_t status)
{
	struct capsule c;

	fab_capsule_init(&c, opcode);
	return expect_command(s, q, &c, status);
}

static bool send_message(struct suite *s, struct fab_queue *q, struct host_buffer *b,
			 const void *msg, uint32_t len, uint16_t status)
{
	struct capsule c;

	memcpy(b->va, msg, len);
	auth_init(&c, FC_AUTH_SEND, b, len);
	return expect_command(s, q, &c, status);
}

static bool receive(struct suite *s, struct fab_queue *q, struct host_buffer *b, uint32_t len,
		    uint16_t status)
{
	struct capsule c;

	memset(b->va, FAB_GUARD, ROOM);
	auth_init(&c, FC_AUTH_RECEIVE, b, len);
	return expect_command(s, q, &c, status);
}

static bool expect_message(struct suite *s, struct fab_queue *q, struct host_buffer *b,
			   uint8_t type, uint8_t id)
{
	const struct auth_header *h = (const void *)b->va;

	if (!receive(s, q, b, ROOM, NVME_OK))
		return false;
	return (h->type == type && h->id == id && get16(h->t_id) == MESSAGE_ID) ||
	       suite_fail(s, "got message %#x/%#x of transaction %#x, expected %#x/%#x", h->type,
			  h->id, get16(h->t_id), type, id);
}

static bool expect_failure(struct suite *s, struct fab_queue *q, struct host_buffer *b,
			   uint8_t explanation)
{
	const struct auth_failure *f = (const void *)b->va;

	if (!receive(s, q, b, ROOM, NVME_OK))
		return false;
	return (f->h.type == AUTH_TYPE_COMMON && f->h.id == AUTH_ID_FAILURE1 &&
		f->reason == AUTH_REASON_FAILED && f->explanation == explanation) ||
	       suite_fail(s,
			  "got message %#x/%#x, reason %u, explanation %u, expected Failure1, %u",
			  f->h.type, f->h.id, f->reason, f->explanation, explanation);
}

static bool challenge(struct suite *s, struct fab_queue *q, struct host_buffer *b)
{
	struct negotiate n = right_negotiate();
	const struct auth_challenge *c = (const void *)b->va;

	if (!send_message(s, q, b, &n, sizeof(n), NVME_OK) ||
	    !expect_message(s, q, b, AUTH_TYPE_DHCHAP, AUTH_ID_CHALLENGE))
		return false;
	return (c->hl == HASH_LEN && c->hash == 1 && c->dhgroup == 0 && !get16(c->dhvlen)) ||
	       suite_fail(s, "got a challenge of %u bytes, hash %u, group %u", c->hl, c->hash,
			  c->dhgroup);
}

/* A connected controller, which wants to be authenticated with. */
static bool locked(struct suite *s, struct fab_ctrl **ret)
{
	static const struct fab_options o = { .disabled = true };

	if (!suite_create(s, &o, ret))
		return false;
	if (((*ret)->connect_dw0 & CONNECT_ATR) == CONNECT_ATR)
		return true;
	fab_ctrl_destroy(*ret);
	return suite_fail(s, "got no ATR in dw0 of Connect");
}

/* ---- before it --------------------------------------------------------------------------------
 */

static const struct first {
	const char *name;
	uint8_t opcode, fctype;
} first_rows[] = {
	{ "property-get", OP_FABRICS, FC_PROPERTY_GET },
	{ "property-set", OP_FABRICS, FC_PROPERTY_SET },
	{ "disconnect", OP_FABRICS, FC_DISCONNECT },
	{ "connect-again", OP_FABRICS, FC_CONNECT },
	{ "unknown-fabrics", OP_FABRICS, 0xff },
	{ "identify", ADM_IDENTIFY, 0 },
	{ "get-log", ADM_GET_LOG, 0 },
	{ "get-features", ADM_GET_FEATURES, 0 },
	{ "set-features", ADM_SET_FEATURES, 0 },
	{ "keep-alive", ADM_KEEP_ALIVE, 0 },
	{ "abort", ADM_ABORT, 0 },
	{ "event-request", ADM_ASYNC_EVENT, 0 },
	{ "unknown", 0xff, 0 },
};

static bool first_case(struct suite *s, const void *row)
{
	const struct first *t = row;
	struct fab_ctrl *c;
	struct capsule capsule;
	bool ok;

	if (!locked(s, &c))
		return false;
	fab_capsule_init(&capsule, t->opcode);
	if (t->opcode == OP_FABRICS)
		capsule.sqe.fctype = t->fctype;
	ok = expect_command(s, &c->admin, &capsule, AUTH_REQUIRED) &&
	     challenge(s, &c->admin, &c->page);
	fab_ctrl_destroy(c);
	return ok;
}

/* ---- fields of Send and Receive: what is refused there changes nothing ------------------------
 */

static const struct field {
	const char *name;
	uint8_t fctype, secp, spsp0, spsp1;
	uint32_t len, sgl_len;
	uint16_t status;
} field_rows[] = {
	{ "send-secp-0", FC_AUTH_SEND, 0, 1, 1, 72, 72, INVALID_FIELD },
	{ "send-secp-ea", FC_AUTH_SEND, 0xea, 1, 1, 72, 72, INVALID_FIELD },
	{ "send-spsp0-0", FC_AUTH_SEND, AUTH_SECP, 0, 1, 72, 72, INVALID_FIELD },
	{ "send-spsp1-2", FC_AUTH_SEND, AUTH_SECP, 1, 2, 72, 72, INVALID_FIELD },
	{ "send-0-bytes", FC_AUTH_SEND, AUTH_SECP, 1, 1, 0, 0, INVALID_FIELD },
	{ "send-ffffffff-bytes", FC_AUTH_SEND, AUTH_SECP, 1, 1, UINT32_MAX, 72, INVALID_FIELD },
	{ "send-short-sgl", FC_AUTH_SEND, AUTH_SECP, 1, 1, 72, 71, WRONG_LEN },
	{ "send-long-sgl", FC_AUTH_SEND, AUTH_SECP, 1, 1, 72, 73, WRONG_LEN },
	{ "receive-secp-0", FC_AUTH_RECEIVE, 0, 1, 1, ROOM, ROOM, INVALID_FIELD },
	{ "receive-spsp0-ff", FC_AUTH_RECEIVE, AUTH_SECP, 0xff, 1, ROOM, ROOM, INVALID_FIELD },
	{ "receive-spsp1-0", FC_AUTH_RECEIVE, AUTH_SECP, 1, 0, ROOM, ROOM, INVALID_FIELD },
	{ "receive-0-bytes", FC_AUTH_RECEIVE, AUTH_SECP, 1, 1, 0, 0, INVALID_FIELD },
	{ "receive-short-sgl", FC_AUTH_RECEIVE, AUTH_SECP, 1, 1, ROOM, 72, WRONG_LEN },
	{ "receive-first", FC_AUTH_RECEIVE, AUTH_SECP, 1, 1, ROOM, ROOM, SEQUENCE },
};

static bool field_case(struct suite *s, const void *row)
{
	const struct field *t = row;
	struct capsule capsule;
	struct nvmf_auth_sqe *sqe = (void *)&capsule.sqe;
	struct fab_ctrl *c;
	bool ok;

	if (!locked(s, &c))
		return false;
	auth_init(&capsule, t->fctype, &c->page, t->len);
	sqe->secp = t->secp;
	sqe->spsp0 = t->spsp0;
	sqe->spsp1 = t->spsp1;
	capsule.sqe.dptr = fab_sgl_keyed(&c->page, t->sgl_len, SGL_SUB_ADDRESS);
	ok = expect_command(s, &c->admin, &capsule, t->status) && challenge(s, &c->admin, &c->page);
	fab_ctrl_destroy(c);
	return ok;
}

/* ---- messages that fail -----------------------------------------------------------------------
 */

union message {
	struct auth_header h;
	struct negotiate n;
	struct reply r;
	uint8_t byte[sizeof(struct reply)];
};

static void negotiate_again(union message *m)
{
	m->n = right_negotiate();
}

static void no_hash(union message *m)
{
	m->n.d.hash[0] = 0x77;
}

static void no_group(union message *m)
{
	m->n.d.dhgroup[0] = 0x77;
}

static void no_protocol(union message *m)
{
	m->n.d.authid = 0x77;
}

static void secure_channel(union message *m)
{
	m->n.n.sc_c = 1;
}

static void no_descriptor(union message *m)
{
	m->n.n.napd = 0;
}

static void many_descriptors(union message *m)
{
	m->n.n.napd = 255;
}

static void many_hashes(union message *m)
{
	m->n.d.halen = 255;
}

static void many_groups(union message *m)
{
	m->n.d.dhlen = 255;
}

static void garbage(union message *m)
{
	memset(m, 0x5a, sizeof(*m));
}

static void success2(union message *m)
{
	m->h = (struct auth_header){ .type = AUTH_TYPE_DHCHAP,
				     .id = AUTH_ID_SUCCESS2,
				     .t_id = put16(MESSAGE_ID) };
}

static void other_transaction(union message *m)
{
	m->h.t_id = put16(MESSAGE_ID + 1);
}

static void other_hash_len(union message *m)
{
	m->r.r.hl = 48;
}

static void with_dh_value(union message *m)
{
	m->r.r.dhvlen = put16(256);
}

static void cvalid_2(union message *m)
{
	m->r.r.cvalid = 2;
}

static void mutual(union message *m)
{
	m->r.r.cvalid = 1;
	m->r.r.seqnum = put32(1);
}

static const struct message_case {
	const char *name;
	bool is_reply; /* after the Challenge */
	void (*edit)(union message *m);
	uint32_t len; /* 0: all */
	uint8_t explanation;
} message_rows[] = {
	{ "negotiate-other-hash", false, no_hash, 0, AUTH_HASH_UNUSABLE },
	{ "negotiate-other-group", false, no_group, 0, AUTH_DHGROUP_UNUSABLE },
	{ "negotiate-other-protocol", false, no_protocol, 0, AUTH_PROTOCOL_UNUSABLE },
	{ "negotiate-secure-channel", false, secure_channel, 0, AUTH_CONCAT_MISMATCH },
	{ "negotiate-nothing", false, no_descriptor, 0, AUTH_INCORRECT_PAYLOAD },
	{ "negotiate-255-protocols", false, many_descriptors, 0, AUTH_INCORRECT_PAYLOAD },
	{ "negotiate-255-hashes", false, many_hashes, 0, AUTH_INCORRECT_PAYLOAD },
	{ "negotiate-255-groups", false, many_groups, 0, AUTH_INCORRECT_PAYLOAD },
	{ "negotiate-71-bytes", false, NULL, 71, AUTH_INCORRECT_PAYLOAD },
	{ "negotiate-6-bytes", false, NULL, 6, AUTH_INCORRECT_PAYLOAD },
	{ "first-1-byte", false, NULL, 1, AUTH_INCORRECT_PAYLOAD },
	{ "first-garbage", false, garbage, 0, AUTH_INCORRECT_MESSAGE },
	{ "first-success2", false, success2, 0, AUTH_INCORRECT_MESSAGE },
	{ "reply-wrong", true, NULL, 0, AUTH_FAILED },
	{ "reply-wrong-mutual", true, mutual, 0, AUTH_FAILED },
	{ "reply-short", true, NULL, sizeof(struct reply) - 1, AUTH_INCORRECT_PAYLOAD },
	{ "reply-6-bytes", true, NULL, 6, AUTH_INCORRECT_PAYLOAD },
	{ "reply-other-transaction", true, other_transaction, 0, AUTH_INCORRECT_PAYLOAD },
	{ "reply-other-hash", true, other_hash_len, 0, AUTH_INCORRECT_PAYLOAD },
	{ "reply-with-dh-value", true, with_dh_value, 0, AUTH_INCORRECT_PAYLOAD },
	{ "reply-cvalid-2", true, cvalid_2, 0, AUTH_INCORRECT_PAYLOAD },
	{ "reply-garbage", true, garbage, 0, AUTH_INCORRECT_MESSAGE },
	{ "reply-success2", true, success2, 0, AUTH_INCORRECT_MESSAGE },
};

/* Up to the failure, and that nothing works after it. */
static bool fail_with(struct suite *s, const struct message_case *t, struct fab_ctrl *c)
{
	union message m = { .byte = { 0 } };
	uint32_t len = t->is_reply ? sizeof(m.r) : sizeof(m.n);

	if (t->is_reply)
		m.r = form_reply();
	else
		m.n = right_negotiate();
	if (t->edit)
		t->edit(&m);
	if (t->is_reply && !challenge(s, &c->admin, &c->page))
		return false;
	return send_message(s, &c->admin, &c->page, &m, t->len ? t->len : len, NVME_OK) &&
	       expect_failure(s, &c->admin, &c->page, t->explanation) &&
	       expect_opcode(s, &c->admin, ADM_IDENTIFY, AUTH_REQUIRED);
}

static bool message_case(struct suite *s, const void *row)
{
	struct fab_ctrl *c;
	bool ok;

	if (!locked(s, &c))
		return false;
	ok = fail_with(s, row, c);
	fab_ctrl_destroy(c);
	return ok;
}

/* The host knows that it failed: then there is nothing more to say. */
static bool ends(struct suite *s, const void *row)
{
	static const struct message_case wrong = { .is_reply = true, .explanation = AUTH_FAILED };
	struct negotiate n = right_negotiate();
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!locked(s, &c))
		return false;
	ok = fail_with(s, &wrong, c) &&
	     send_message(s, &c->admin, &c->page, &n, sizeof(n), SEQUENCE) &&
	     receive(s, &c->admin, &c->page, ROOM, SEQUENCE) && expect_gone(s, c->admin.conn);
	fab_ctrl_destroy(c);
	return ok;
}

/* Whether or not it fetches the failure. */
static bool ends_unfetched(struct suite *s, const void *row)
{
	union message m;
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!locked(s, &c))
		return false;
	garbage(&m);
	ok = send_message(s, &c->admin, &c->page, &m, sizeof(m), NVME_OK) &&
	     expect_gone(s, c->admin.conn);
	fab_ctrl_destroy(c);
	return ok;
}

/* Too short an allocation loses nothing, a second Receive is out of turn. */
static bool short_receive(struct suite *s, const void *row)
{
	struct negotiate n = right_negotiate();
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!locked(s, &c))
		return false;
	ok = send_message(s, &c->admin, &c->page, &n, sizeof(n), NVME_OK) &&
	     receive(s, &c->admin, &c->page, 1, INVALID_FIELD) &&
	     receive(s, &c->admin, &c->page, sizeof(struct auth_challenge) + HASH_LEN - 1,
		     INVALID_FIELD) &&
	     expect_message(s, &c->admin, &c->page, AUTH_TYPE_DHCHAP, AUTH_ID_CHALLENGE) &&
	     expect_failure(s, &c->admin, &c->page, AUTH_INCORRECT_MESSAGE);
	fab_ctrl_destroy(c);
	return ok;
}

static bool starts_over(struct suite *s, const void *row)
{
	union message m;
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!locked(s, &c))
		return false;
	negotiate_again(&m);
	ok = challenge(s, &c->admin, &c->page) &&
	     send_message(s, &c->admin, &c->page, &m, sizeof(m.n), NVME_OK) &&
	     expect_message(s, &c->admin, &c->page, AUTH_TYPE_DHCHAP, AUTH_ID_CHALLENGE);
	fab_ctrl_destroy(c);
	return ok;
}

/* ---- with the right key -----------------------------------------------------------------------
 */

/* "DHHC-1:00:", then 32 bytes of key and 4 of CRC, then ":". Return: whether it is so. */
static bool decode_secret(const char *secret, uint8_t key[32])
{
	uint8_t bytes[36 + 3];

	if (strlen(secret) < 10 + 48 ||
	    EVP_DecodeBlock(bytes, (const uint8_t *)secret + 10, 48) != 36)
		return false;
	memcpy(key, bytes, 32);
	return true;
}

/* R1: 8.3.5.5.4. Return: its bytes of input. */
static size_t put_input(const struct fab_host *fh, const struct auth_challenge *ch, uint8_t *to)
{
	uint8_t *at = to;

	memcpy(at, ch->cval, HASH_LEN);
	at += HASH_LEN;
	memcpy(at, &ch->seqnum, sizeof(ch->seqnum));
	at += sizeof(ch->seqnum);
	memcpy(at, &ch->h.t_id, sizeof(ch->h.t_id));
	at += sizeof(ch->h.t_id);
	*at++ = 0; /* SC_C */
	memcpy(at, "HostHost", 8);
	at += 8;
	memcpy(at, fh->hostnqn, strlen(fh->hostnqn) + 1);
	at += strlen(fh->hostnqn) + 1;
	memcpy(at, fh->nqn, strlen(fh->nqn));
	return (size_t)(at - to) + strlen(fh->nqn);
}

static bool authenticate(struct suite *s, struct fab_queue *q, struct host_buffer *b)
{
	uint8_t input[HASH_LEN + 32 + 512], key[32];
	struct reply reply = form_reply();
	unsigned int len = HASH_LEN;

	if (!decode_secret(s->secret, key))
		return suite_fail(s, "the key is not in the form DHHC-1:00:");
	if (!challenge(s, q, b))
		return false;
	if (!HMAC(EVP_sha256(), key, sizeof(key), input,
		  put_input(s->fh, (const void *)b->va, input), reply.response, &len))
		return suite_fail(s, "no HMAC");
	return send_message(s, q, b, &reply, sizeof(reply), NVME_OK) &&
	       expect_message(s, q, b, AUTH_TYPE_DHCHAP, AUTH_ID_SUCCESS1);
}

/* An I/O queue is to be authenticated too, and the admin queue can be again. */
static bool queues(struct suite *s, struct fab_ctrl *c)
{
	struct fab_queue io;
	bool ok;
	int err;

	if (fab_property_set(c, PROP_CC, CC_READY) || fab_wait_csts(c, CSTS_RDY, CSTS_RDY))
		return suite_fail(s, "got no ready controller");
	err = fab_ctrl_queue(c, 1, IO_QUEUE_DEPTH, &io);
	if (err)
		return suite_fail(s, "got %d, no I/O queue", err);
	ok = expect_opcode(s, &io, nvme_cmd_read, AUTH_REQUIRED) &&
	     expect_opcode(s, &io, 0xff, AUTH_REQUIRED) && authenticate(s, &io, &c->page) &&
	     expect_opcode(s, &io, nvme_cmd_read, NVME_INVALID_NS | DNR) &&
	     authenticate(s, &c->admin, &c->page) &&
	     expect_opcode(s, &c->admin, 0xff, NVME_INVALID_OPCODE | DNR);
	fab_queue_close(&io);
	return ok;
}

static bool right_key(struct suite *s, const void *row)
{
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!s->secret)
		return suite_skip(s, "no --dhchap-secret");
	if (!locked(s, &c))
		return false;
	ok = authenticate(s, &c->admin, &c->page) && queues(s, c);
	fab_ctrl_destroy(c);
	return ok;
}

void auth_cases(struct suite *s)
{
	for (size_t i = 0; i < sizeof(first_rows) / sizeof(first_rows[0]); i++)
		suite_case(s, first_rows[i].name, NOW, first_case, &first_rows[i]);
	for (size_t i = 0; i < sizeof(field_rows) / sizeof(field_rows[0]); i++)
		suite_case(s, field_rows[i].name, NOW, field_case, &field_rows[i]);
	for (size_t i = 0; i < sizeof(message_rows) / sizeof(message_rows[0]); i++)
		suite_case(s, message_rows[i].name, NOW, message_case, &message_rows[i]);
	suite_case(s, "ends", NOW, ends, NULL);
	suite_case(s, "ends-unfetched", NOW, ends_unfetched, NULL);
	suite_case(s, "short-receive", NOW, short_receive, NULL);
	suite_case(s, "starts-over", NOW, starts_over, NULL);
	suite_case(s, "right-key", NOW, right_key, NULL);
}

/* ---- by a host that need not ------------------------------------------------------------------
 */

/* There is no key: it fails, and the connection ends as that of any other host. */
static bool unasked(struct suite *s, const void *row)
{
	static const struct fab_options plain;
	struct negotiate n = right_negotiate();
	struct fab_ctrl *c;
	bool ok;

	(void)row;
	if (!suite_create(s, &plain, &c))
		return false;
	ok = receive(s, &c->admin, &c->page, ROOM, SEQUENCE) &&
	     expect_opcode(s, &c->admin, 0xff, NVME_INVALID_OPCODE | DNR) &&
	     send_message(s, &c->admin, &c->page, &n, sizeof(n), NVME_OK) &&
	     expect_failure(s, &c->admin, &c->page, AUTH_PROTOCOL_UNUSABLE) &&
	     expect_gone(s, c->admin.conn);
	fab_ctrl_destroy(c);
	return ok;
}

void auth_unasked_cases(struct suite *s)
{
	suite_case(s, "negotiate", NOW, unasked, NULL);
}
