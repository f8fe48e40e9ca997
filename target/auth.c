#include "target/auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

/* ---- states ------------------------------------------------------------------------------------
 */

#define TO(state) (1u << (state))

/* A Negotiate message starts anew from wherever the host's turn is. */
static const uint16_t moves[AUTH_NSTATES] = {
	[AUTH_WAIT_NEGOTIATE] = TO(AUTH_WAIT_NEGOTIATE) | TO(AUTH_WAIT_DH_VALUE) |
				TO(AUTH_WAIT_FETCH_CHALLENGE) | TO(AUTH_WAIT_FETCH_FAILURE1),
	[AUTH_WAIT_DH_VALUE] = TO(AUTH_WAIT_FETCH_CHALLENGE) | TO(AUTH_WAIT_FETCH_FAILURE1),
	[AUTH_WAIT_FETCH_CHALLENGE] = TO(AUTH_WAIT_REPLY) | TO(AUTH_WAIT_NEGOTIATE) |
				      TO(AUTH_WAIT_FETCH_FAILURE1) | TO(AUTH_OVER),
	[AUTH_WAIT_REPLY] = TO(AUTH_WAIT_SESSION_KEY) | TO(AUTH_WAIT_FETCH_SUCCESS1) |
			    TO(AUTH_WAIT_NEGOTIATE) | TO(AUTH_WAIT_FETCH_FAILURE1) | TO(AUTH_OVER),
	[AUTH_WAIT_SESSION_KEY] = TO(AUTH_WAIT_FETCH_SUCCESS1) | TO(AUTH_WAIT_FETCH_FAILURE1),
	[AUTH_WAIT_FETCH_SUCCESS1] = TO(AUTH_WAIT_SUCCESS2) | TO(AUTH_WAIT_NEGOTIATE) |
				     TO(AUTH_WAIT_FETCH_FAILURE1) | TO(AUTH_OVER),
	[AUTH_WAIT_SUCCESS2] =
		TO(AUTH_WAIT_NEGOTIATE) | TO(AUTH_WAIT_FETCH_FAILURE1) | TO(AUTH_OVER),
	[AUTH_WAIT_FETCH_FAILURE1] = TO(AUTH_OVER),
	[AUTH_OVER] = 0,
};

static void set_state(struct auth *a, enum auth_state state)
{
	assert(moves[a->state] & TO(state));
	a->state = state;
}

static void wipe(struct auth *a)
{
	dhchap_dh_destroy(a->t.dh);
	OPENSSL_cleanse(&a->t, sizeof(a->t));
}

/* The host is told with its next Receive, and needs the transaction's ID there and nothing else. */
static void fail(struct auth *a, enum auth_explanation explanation)
{
	uint16_t t_id = a->t.t_id;

	wipe(a);
	a->t.t_id = t_id;
	a->explanation = explanation;
	set_state(a, AUTH_WAIT_FETCH_FAILURE1);
}

static void succeed(struct auth *a)
{
	wipe(a);
	a->authenticated = true;
	set_state(a, AUTH_WAIT_NEGOTIATE);
}

void auth_init(struct auth *a, const char *hostnqn, const char *subnqn)
{
	memset(a, 0, sizeof(*a));
	strlcpy(a->hostnqn, hostnqn, sizeof(a->hostnqn));
	strlcpy(a->subnqn, subnqn, sizeof(a->subnqn));
}

void auth_fini(struct auth *a)
{
	wipe(a);
}

void auth_abandon(struct auth *a)
{
	assert(!auth_must_compute(a));
	wipe(a);
	set_state(a, AUTH_WAIT_NEGOTIATE);
}

bool auth_must_compute(const struct auth *a)
{
	return a->state == AUTH_WAIT_DH_VALUE || a->state == AUTH_WAIT_SESSION_KEY;
}

const char *auth_explanation_text(enum auth_explanation e)
{
	switch (e) {
	case AUTH_FAILED:
		return "the key is wrong";
	case AUTH_PROTOCOL_UNUSABLE:
		return "no usable protocol";
	case AUTH_CONCAT_MISMATCH:
		return "secure channel concatenation was asked for";
	case AUTH_HASH_UNUSABLE:
		return "no usable hash function";
	case AUTH_DHGROUP_UNUSABLE:
		return "no usable Diffie-Hellman group";
	case AUTH_INCORRECT_PAYLOAD:
		return "incorrect payload";
	case AUTH_INCORRECT_MESSAGE:
		return "incorrect protocol message";
	}
	return "for a reason unknown";
}

/* ---- Negotiate ---------------------------------------------------------------------------------
 */

/* The part about DH-HMAC-CHAP. Return: 0 or why not. */
static int decode_negotiate(const void *msg, size_t len, const struct auth_descriptor **ret)
{
	const struct auth_negotiate *m = msg;

	if (len < sizeof(*m) || m->napd == 0 || (len - sizeof(*m)) / sizeof(m->d[0]) < m->napd)
		return AUTH_INCORRECT_PAYLOAD;
	if (m->sc_c)
		return AUTH_CONCAT_MISMATCH; /* there is no secure channel over RDMA */
	for (unsigned int i = 0; i < m->napd; i++) {
		const struct auth_descriptor *d = &m->d[i];

		if (d->authid != AUTH_TYPE_DHCHAP)
			continue;
		if (d->halen > sizeof(d->hash) || d->dhlen > sizeof(d->dhgroup))
			return AUTH_INCORRECT_PAYLOAD;
		*ret = d;
		return 0;
	}
	return AUTH_PROTOCOL_UNUSABLE;
}

/* Our favourite (plus @base, its value on the wire) among the host's. Return: -1: there is none. */
static int choose(const uint8_t *ours, size_t n, uint8_t base, const uint8_t *theirs,
		  size_t ntheirs)
{
	for (size_t i = 0; i < n; i++)
		if (memchr(theirs, ours[i] + base, ntheirs))
			return ours[i] + base;
	return -1;
}

static uint32_t next_seqnum(uint32_t *seqnum)
{
	if (++*seqnum == 0) /* means "none" */
		++*seqnum;
	return *seqnum;
}

static int negotiate(struct auth *a, const struct config_host *host, uint32_t *seqnum,
		     const void *msg, size_t len)
{
	const struct auth_descriptor *d = NULL;
	int why = decode_negotiate(msg, len, &d);

	if (why)
		return why;
	if (!host || !host->host_key.len)
		return AUTH_PROTOCOL_UNUSABLE;

	int hash = choose(host->dhchap_hashes, host->ndhchap_hashes, 1, d->hash, d->halen);
	int group = choose(host->dhchap_dhgroups, host->ndhchap_dhgroups, 0, d->dhgroup, d->dhlen);

	if (hash < 0)
		return AUTH_HASH_UNUSABLE;
	if (group < 0)
		return AUTH_DHGROUP_UNUSABLE;
	a->t.hash = (uint8_t)hash;
	a->t.group = (uint8_t)group;
	a->t.s1 = next_seqnum(seqnum);
	a->t.host_key = host->host_key;
	a->t.ctrl_key = host->ctrl_key;
	return RAND_bytes(a->t.c1, (int)dhchap_hash_len(a->t.hash)) == 1 ? 0 : AUTH_FAILED;
}

static void on_negotiate(struct auth *a, const struct config_host *host, uint32_t *seqnum,
			 const void *msg, size_t len)
{
	const struct auth_header *h = msg;

	wipe(a);
	set_state(a, AUTH_WAIT_NEGOTIATE);
	a->t.t_id = get16(h->t_id);

	int why = negotiate(a, host, seqnum, msg, len);

	if (why)
		fail(a, (enum auth_explanation)why);
	else
		set_state(a, a->t.group ? AUTH_WAIT_DH_VALUE : AUTH_WAIT_FETCH_CHALLENGE);
}

/* ---- Reply -------------------------------------------------------------------------------------
 */

static bool decode_reply(struct auth *a, const void *msg, size_t len)
{
	const struct auth_reply *m = msg;
	size_t hl = dhchap_hash_len(a->t.hash), dhvlen = dhchap_group_len(a->t.group);

	if (len < sizeof(*m) || m->hl != hl || get16(m->dhvlen) != dhvlen || m->cvalid > 1 ||
	    len < sizeof(*m) + 2 * hl + dhvlen)
		return false;
	a->t.s2 = get32(m->seqnum);
	/* S2 of 0: C2 is for a secure channel, and we have none */
	a->t.mutual = m->cvalid && a->t.s2;
	memcpy(a->t.response, m->rval, hl);
	memcpy(a->t.c2, m->rval + hl, hl);
	memcpy(a->t.dh_value, m->rval + 2 * hl, dhvlen);
	return true;
}

static int respond(const struct auth *a, bool controller, uint8_t *ret)
{
	const struct dhchap_response r = {
		.hash = a->t.hash,
		.controller = controller,
		.key = controller ? &a->t.ctrl_key : &a->t.host_key,
		.challenge = controller ? a->t.c2 : a->t.c1,
		.session_key = a->t.group ? a->t.session_key : NULL,
		.seqnum = controller ? a->t.s2 : a->t.s1,
		.t_id = a->t.t_id,
		.hostnqn = a->hostnqn,
		.subnqn = a->subnqn,
	};

	return dhchap_respond(&r, ret);
}

/* Whatever is wrong, the host learns the same. */
static void check_response(struct auth *a)
{
	size_t hl = dhchap_hash_len(a->t.hash);
	uint8_t want[DHCHAP_HASH_MAX];
	bool ok = respond(a, false, want) == 0 && CRYPTO_memcmp(want, a->t.response, hl) == 0;

	OPENSSL_cleanse(want, sizeof(want));
	if (ok &&
	    a->t.mutual) /* and not with our own challenge, which somebody may have answered */
		ok = a->t.ctrl_key.len && CRYPTO_memcmp(a->t.c1, a->t.c2, hl) != 0 &&
		     respond(a, true, a->t.response) == 0;
	if (ok)
		set_state(a, AUTH_WAIT_FETCH_SUCCESS1);
	else
		fail(a, AUTH_FAILED);
}

static void on_reply(struct auth *a, const void *msg, size_t len)
{
	if (!decode_reply(a, msg, len))
		fail(a, AUTH_INCORRECT_PAYLOAD);
	else if (a->t.group)
		set_state(a, AUTH_WAIT_SESSION_KEY);
	else
		check_response(a);
}

void auth_compute(struct auth *a)
{
	a->t.compute_err =
		a->state == AUTH_WAIT_DH_VALUE
			? dhchap_dh_create(a->t.group, &a->t.dh, a->t.dh_value)
			: dhchap_session_key(a->t.dh, a->t.hash, a->t.dh_value, a->t.session_key);
}

void auth_computed(struct auth *a)
{
	assert(auth_must_compute(a));
	if (a->t.compute_err)
		fail(a, a->t.compute_err == -ERANGE ? AUTH_INCORRECT_PAYLOAD : AUTH_FAILED);
	else if (a->state == AUTH_WAIT_DH_VALUE)
		set_state(a, AUTH_WAIT_FETCH_CHALLENGE);
	else
		check_response(a);
}

void auth_give_up(struct auth *a)
{
	assert(auth_must_compute(a));
	fail(a, AUTH_FAILED);
}

/* ---- messages ----------------------------------------------------------------------------------
 */

static void on_failure2(struct auth *a, const void *msg, size_t len)
{
	const struct auth_failure *m = msg;

	if (len < sizeof(*m)) {
		fail(a, AUTH_INCORRECT_PAYLOAD);
		return;
	}
	wipe(a);
	a->explanation = (enum auth_explanation)m->explanation;
	set_state(a, AUTH_OVER);
}

void auth_message(struct auth *a, const struct config_host *host, uint32_t *seqnum, const void *msg,
		  size_t len)
{
	const struct auth_header *h = msg;
	bool common;

	assert(!auth_must_compute(a) && a->state != AUTH_OVER);
	if (a->state == AUTH_WAIT_FETCH_FAILURE1)
		return; /* it has failed, and shall fetch that */
	if (len < sizeof(*h)) {
		fail(a, AUTH_INCORRECT_PAYLOAD);
		return;
	}
	common = h->type == AUTH_TYPE_COMMON;
	if (a->state == AUTH_WAIT_NEGOTIATE)
		a->t.t_id = get16(h->t_id);
	if (common && h->id == AUTH_ID_NEGOTIATE)
		on_negotiate(a, host, seqnum, msg, len);
	else if (a->state == AUTH_WAIT_NEGOTIATE || (!common && h->type != AUTH_TYPE_DHCHAP))
		fail(a, AUTH_INCORRECT_MESSAGE);
	else if (get16(h->t_id) != a->t.t_id)
		fail(a, AUTH_INCORRECT_PAYLOAD);
	else if (common && h->id == AUTH_ID_FAILURE2)
		on_failure2(a, msg, len);
	else if (!common && h->id == AUTH_ID_REPLY && a->state == AUTH_WAIT_REPLY)
		on_reply(a, msg, len);
	else if (!common && h->id == AUTH_ID_SUCCESS2 && a->state == AUTH_WAIT_SUCCESS2)
		succeed(a);
	else
		fail(a, AUTH_INCORRECT_MESSAGE);
}

static struct auth_header header(const struct auth *a, uint8_t type, enum auth_id id)
{
	return (struct auth_header){ .type = type, .id = id, .t_id = put16(a->t.t_id) };
}

static int challenge(struct auth *a, uint8_t *buf, size_t len)
{
	struct auth_challenge *m = (void *)buf;
	size_t hl = dhchap_hash_len(a->t.hash), dhvlen = dhchap_group_len(a->t.group);

	if (len < sizeof(*m) + hl + dhvlen)
		return -EMSGSIZE;
	*m = (struct auth_challenge){ .h = header(a, AUTH_TYPE_DHCHAP, AUTH_ID_CHALLENGE),
				      .hl = (uint8_t)hl,
				      .hash = a->t.hash,
				      .dhgroup = a->t.group,
				      .dhvlen = put16((uint16_t)dhvlen),
				      .seqnum = put32(a->t.s1) };
	memcpy(m->cval, a->t.c1, hl);
	memcpy(m->cval + hl, a->t.dh_value, dhvlen);
	set_state(a, AUTH_WAIT_REPLY);
	return 0;
}

static int success1(struct auth *a, uint8_t *buf, size_t len)
{
	struct auth_success1 *m = (void *)buf;
	size_t hl = dhchap_hash_len(a->t.hash);

	if (len < sizeof(*m) + (a->t.mutual ? hl : 0))
		return -EMSGSIZE;
	*m = (struct auth_success1){ .h = header(a, AUTH_TYPE_DHCHAP, AUTH_ID_SUCCESS1),
				     .hl = (uint8_t)hl,
				     .rvalid = a->t.mutual };
	if (a->t.mutual) {
		memcpy(m->rval, a->t.response, hl);
		set_state(a, AUTH_WAIT_SUCCESS2);
	} else {
		succeed(a);
	}
	return 0;
}

static int failure1(struct auth *a, uint8_t *buf, size_t len)
{
	struct auth_failure *m = (void *)buf;

	if (len < sizeof(*m))
		return -EMSGSIZE;
	*m = (struct auth_failure){ .h = header(a, AUTH_TYPE_COMMON, AUTH_ID_FAILURE1),
				    .reason = AUTH_REASON_FAILED,
				    .explanation = (uint8_t)a->explanation };
	wipe(a);
	set_state(a, AUTH_OVER);
	return 0;
}

int auth_answer(struct auth *a, void *buf, size_t len)
{
	memset(buf, 0, len);
	switch (a->state) {
	case AUTH_WAIT_FETCH_CHALLENGE:
		return challenge(a, buf, len);
	case AUTH_WAIT_FETCH_SUCCESS1:
		return success1(a, buf, len);
	case AUTH_WAIT_REPLY:
	case AUTH_WAIT_SUCCESS2:
		fail(a, AUTH_INCORRECT_MESSAGE);
		return failure1(a, buf, len);
	case AUTH_WAIT_FETCH_FAILURE1:
		return failure1(a, buf, len);
	case AUTH_WAIT_NEGOTIATE:
	case AUTH_OVER:
		return -ENOMSG;
	case AUTH_WAIT_DH_VALUE:
	case AUTH_WAIT_SESSION_KEY:
		break;
	}
	assert(!"the caller waits for auth_compute()");
	return -ENOMSG;
}
