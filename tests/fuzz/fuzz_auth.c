/*
 * A host that authenticates, or tries to: messages that are right, messages with a few wrong bytes,
 * and any bytes at all, in any order. Who never showed a response made with the key is never
 * authenticated.
 */
#include "target/auth.h"

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define HOST   "nqn.2014-08.org.nvmexpress:uuid:host"
#define SUBSYS "nqn.2026-11.org.example:t"

static struct config_dhchap_key key = { .len = 32,
					.hash = 1,
					.bytes = "the key that both of them know.." };
static uint8_t hashes[] = { 0, 1, 2 }, groups[] = { 0, 1 };
static const struct config_host host = { .nqn = HOST,
					 .dhchap_hashes = hashes,
					 .ndhchap_hashes = sizeof(hashes),
					 .dhchap_dhgroups = groups,
					 .ndhchap_dhgroups = sizeof(groups) };

struct exchange {
	struct auth auth;
	struct config_host conf;
	uint32_t seqnum;
	uint8_t challenge[sizeof(struct auth_challenge) + DHCHAP_HASH_MAX + DHCHAP_DH_MAX];
	bool knew_the_key;
};

static void send(struct exchange *x, const void *msg, size_t len, struct fuzz_input *in)
{
	uint8_t *exact = malloc(len ? len : 1);
	uint8_t nwrong = fuzz_byte(in) % 4;

	memcpy(exact, msg, len);
	while (nwrong--) {
		size_t at = fuzz_byte(in) | fuzz_byte(in) << 8;

		if (len)
			exact[at % len] ^= fuzz_byte(in);
	}
	if (x->auth.state != AUTH_OVER)
		auth_message(&x->auth, &x->conf, &x->seqnum, exact, len);
	free(exact);
	if (auth_must_compute(&x->auth)) {
		if (fuzz_byte(in) % 8 == 7) {
			auth_give_up(&x->auth);
		} else {
			auth_compute(&x->auth);
			auth_computed(&x->auth);
		}
	}
}

static void send_anything(struct exchange *x, struct fuzz_input *in)
{
	uint8_t msg[2048];
	size_t len = fuzz_byte(in) * 8u;

	fuzz_bytes(in, msg, len);
	send(x, msg, len, in);
}

static void negotiate(struct exchange *x, struct fuzz_input *in)
{
	uint8_t msg[sizeof(struct auth_negotiate) + sizeof(struct auth_descriptor)] = { 0 };
	struct auth_negotiate *n = (void *)msg;

	n->h = (struct auth_header){ .type = AUTH_TYPE_COMMON, .id = AUTH_ID_NEGOTIATE };
	n->h.t_id = put16(fuzz_byte(in));
	n->napd = 1;
	n->d[0].authid = AUTH_TYPE_DHCHAP;
	n->d[0].halen = n->d[0].dhlen = 1;
	n->d[0].hash[0] = 1 + fuzz_byte(in) % 3;
	n->d[0].dhgroup[0] = fuzz_byte(in) % 16 == 0; /* a group costs milliseconds */
	send(x, msg, sizeof(msg), in);
}

/* The answer to the last challenge; right where there is no group. */
static void reply(struct exchange *x, struct fuzz_input *in)
{
	const struct auth_challenge *c = (const void *)x->challenge;
	uint8_t msg[sizeof(struct auth_reply) + 2 * DHCHAP_HASH_MAX + DHCHAP_DH_MAX] = { 0 };
	uint8_t session_key[DHCHAP_HASH_MAX];
	struct auth_reply *r = (void *)msg;
	struct dhchap_response response = { .hash = c->hash,
					    .key = &x->conf.host_key,
					    .challenge = c->cval,
					    .seqnum = get32(c->seqnum),
					    .t_id = get16(c->h.t_id),
					    .hostnqn = HOST,
					    .subnqn = SUBSYS };
	size_t hl = dhchap_hash_len(c->hash), dhl = dhchap_group_len(c->dhgroup);
	struct dhchap_dh *dh;

	if (!hl)
		return;
	r->h = (struct auth_header){ .type = AUTH_TYPE_DHCHAP,
				     .id = AUTH_ID_REPLY,
				     .t_id = c->h.t_id };
	r->hl = (uint8_t)hl;
	r->cvalid = fuzz_byte(in) & 1;
	r->dhvlen = put16((uint16_t)dhl);
	if (dhl) {
		if (dhchap_dh_create(c->dhgroup, &dh, r->rval + 2 * hl) ||
		    dhchap_session_key(dh, c->hash, c->cval + hl, session_key))
			abort();
		dhchap_dh_destroy(dh);
		response.session_key = session_key;
	}
	if (dhchap_respond(&response, r->rval))
		abort();
	x->knew_the_key = true;
	send(x, msg, sizeof(*r) + 2 * hl + dhl, in);
}

/* The host's verdict on us. */
static void send_end(struct exchange *x, uint8_t id, struct fuzz_input *in)
{
	struct auth_success1 msg = { .h = { .type = AUTH_TYPE_DHCHAP, .id = id } };

	msg.h.t_id = ((const struct auth_challenge *)(const void *)x->challenge)->h.t_id;
	send(x, &msg, sizeof(msg), in);
}

static void success2(struct exchange *x, struct fuzz_input *in)
{
	send_end(x, AUTH_ID_SUCCESS2, in);
}

static void failure2(struct exchange *x, struct fuzz_input *in)
{
	send_end(x, AUTH_ID_FAILURE2, in);
}

static void fetch(struct exchange *x, struct fuzz_input *in)
{
	size_t len = fuzz_byte(in) & 1 ? sizeof(x->challenge) : fuzz_byte(in);
	uint8_t *buf = malloc(len ? len : 1);
	const struct auth_header *h = (const void *)buf;

	if (auth_answer(&x->auth, buf, len) == 0 && len >= sizeof(struct auth_challenge) &&
	    h->type == AUTH_TYPE_DHCHAP && h->id == AUTH_ID_CHALLENGE)
		memcpy(x->challenge, buf, len);
	free(buf);
}

static void abandon(struct exchange *x, struct fuzz_input *in)
{
	(void)in;
	if (x->auth.state != AUTH_OVER && x->auth.state != AUTH_WAIT_FETCH_FAILURE1)
		auth_abandon(&x->auth);
}

static void (*const steps[])(struct exchange *x, struct fuzz_input *in) = {
	send_anything, negotiate, fetch, reply, fetch, abandon, success2, failure2
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input in = { bytes, size };
	struct exchange x = { .conf = host };

	x.conf.host_key = key;
	if (fuzz_byte(&in) & 1)
		x.conf.ctrl_key = key;
	auth_init(&x.auth, HOST, SUBSYS);
	while (in.left) {
		steps[fuzz_byte(&in) % (sizeof(steps) / sizeof(steps[0]))](&x, &in);
		if (x.auth.authenticated && !x.knew_the_key)
			abort();
	}
	auth_fini(&x.auth);
	return 0;
}
