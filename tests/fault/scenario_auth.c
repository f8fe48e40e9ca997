/* A host that knows the key authenticates, with every hash and a Diffie-Hellman group, and the
 * controller authenticates to it. */
#include "tests/fault/inject.h"
#include "tests/fault/scenarios.h"
#include "tests/fuzz/asserts.h"

#include "target/auth.h"

#include <string.h>

#define HOST   "nqn.2014-08.org.nvmexpress:uuid:host"
#define SUBSYS "nqn.2026-11.org.example:t"
#define GROUP  1 /* ffdhe2048 */

static struct config_dhchap_key key = { .len = 32,
					.hash = 1,
					.bytes = "the key that both of them know.." };
static uint8_t hashes[] = { 0, 1, 2 }, groups[] = { 0, GROUP };
static struct config_host host = { .nqn = HOST,
				   .dhchap_hashes = hashes,
				   .ndhchap_hashes = sizeof(hashes),
				   .dhchap_dhgroups = groups,
				   .ndhchap_dhgroups = sizeof(groups) };
static uint32_t seqnum;
static uint8_t hash;

static void give(struct auth *a, const void *msg, size_t len)
{
	if (a->state == AUTH_OVER || a->state == AUTH_WAIT_FETCH_FAILURE1)
		return;
	auth_message(a, &host, &seqnum, msg, len);
	if (auth_must_compute(a)) {
		auth_compute(a);
		auth_computed(a);
	}
}

static void negotiate(struct auth *a)
{
	uint8_t msg[sizeof(struct auth_negotiate) + sizeof(struct auth_descriptor)] = { 0 };
	struct auth_negotiate *n = (void *)msg;

	n->h = (struct auth_header){ .type = AUTH_TYPE_COMMON, .id = AUTH_ID_NEGOTIATE };
	n->h.t_id = put16(7);
	n->napd = 1;
	n->d[0].authid = AUTH_TYPE_DHCHAP;
	n->d[0].halen = n->d[0].dhlen = 1;
	n->d[0].hash[0] = hash;
	n->d[0].dhgroup[0] = GROUP;
	give(a, msg, sizeof(msg));
}

/* The host's arithmetic, which does not fail. */
static void reply(struct auth *a, const struct auth_challenge *c)
{
	uint8_t msg[sizeof(struct auth_reply) + 2 * DHCHAP_HASH_MAX + DHCHAP_DH_MAX] = { 0 };
	struct auth_reply *r = (void *)msg;
	size_t hl = dhchap_hash_len(c->hash), dhl = dhchap_group_len(c->dhgroup);
	uint8_t session_key[DHCHAP_HASH_MAX];
	struct dhchap_response response = { .hash = c->hash,
					    .key = &key,
					    .challenge = c->cval,
					    .session_key = session_key,
					    .seqnum = get32(c->seqnum),
					    .t_id = get16(c->h.t_id),
					    .hostnqn = HOST,
					    .subnqn = SUBSYS };
	struct dhchap_dh *dh;

	fault_pause(true);
	r->h = (struct auth_header){ .type = AUTH_TYPE_DHCHAP,
				     .id = AUTH_ID_REPLY,
				     .t_id = c->h.t_id };
	r->hl = (uint8_t)hl;
	r->cvalid = 1;
	r->dhvlen = put16((uint16_t)dhl);
	r->seqnum = put32(9);
	memset(r->rval + hl, 0xcc, hl);
	ck_assert_int_eq(dhchap_dh_create(c->dhgroup, &dh, r->rval + 2 * hl), 0);
	ck_assert_int_eq(dhchap_session_key(dh, c->hash, c->cval + hl, session_key), 0);
	dhchap_dh_destroy(dh);
	ck_assert_int_eq(dhchap_respond(&response, r->rval), 0);
	fault_pause(false);
	give(a, msg, sizeof(*r) + 2 * hl + dhl);
}

/* Return: authenticated, and never by half. */
static bool authenticate(void)
{
	uint8_t buf[sizeof(struct auth_challenge) + DHCHAP_HASH_MAX + DHCHAP_DH_MAX];
	const struct auth_header *h = (const void *)buf;
	const struct auth_success1 success2 = {
		.h = { .type = AUTH_TYPE_DHCHAP, .id = AUTH_ID_SUCCESS2, .t_id = put16(7) }
	};
	struct auth a;
	bool done;

	auth_init(&a, HOST, SUBSYS);
	negotiate(&a);
	ck_assert_int_eq(auth_answer(&a, buf, sizeof(buf)), 0);
	if (h->id == AUTH_ID_CHALLENGE) {
		reply(&a, (const void *)buf);
		ck_assert_int_eq(auth_answer(&a, buf, sizeof(buf)), 0);
		ck_assert(!a.authenticated); /* it waits for the host's verdict on us */
		if (h->id == AUTH_ID_SUCCESS1)
			give(&a, &success2, sizeof(success2));
	}
	ck_assert(h->id == AUTH_ID_SUCCESS1 || h->id == AUTH_ID_FAILURE1);
	done = a.authenticated;
	ck_assert(done == (h->id == AUTH_ID_SUCCESS1));
	auth_fini(&a);
	return done;
}

void auth_faulty(void)
{
	host.host_key = host.ctrl_key = key;
	for (hash = 1; hash <= 3; hash++)
		(void)authenticate();
}

void auth_verify(void)
{
	for (hash = 1; hash <= 3; hash++)
		ck_assert(authenticate());
}
