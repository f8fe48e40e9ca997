/* In-band authentication: the arithmetic against a second computation, the protocol message by
 * message, and the commands through the dispatch with a memory transport. */
#include "target/auth.h"

#define TIMEOUT_S 2
#include "target/authenticate.c"

#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

/* ---- the other side's arithmetic, by other means -----------------------------------------------
 */

static const EVP_MD *digest(uint8_t hash)
{
	return hash == 1 ? EVP_sha256() : hash == 2 ? EVP_sha384() : EVP_sha512();
}

static size_t hash_len(uint8_t hash)
{
	return hash == 1 ? 32 : hash == 2 ? 48 : 64;
}

struct part {
	const void *bytes;
	size_t len;
};

static void ref_hmac(uint8_t hash, const uint8_t *key, size_t key_len, const struct part *parts,
		     size_t nparts, uint8_t *ret)
{
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, key, key_len);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t len = DHCHAP_HASH_MAX;

	ck_assert_int_eq(EVP_DigestSignInit(ctx, NULL, digest(hash), NULL, k), 1);
	for (size_t i = 0; i < nparts; i++)
		ck_assert_int_eq(EVP_DigestSignUpdate(ctx, parts[i].bytes, parts[i].len), 1);
	ck_assert_int_eq(EVP_DigestSignFinal(ctx, ret, &len), 1);
	ck_assert_uint_eq(len, hash_len(hash));
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(k);
}

static void ref_respond(const struct dhchap_response *r, uint8_t *ret)
{
	const char *first = r->controller ? r->subnqn : r->hostnqn;
	const char *second = r->controller ? r->hostnqn : r->subnqn;
	uint8_t key[64], challenge[64], s[4], t[2];
	size_t hl = hash_len(r->hash), key_len = r->key->len;

	memcpy(key, r->key->bytes, sizeof(key));
	if (r->key->hash) {
		key_len = hash_len(r->key->hash);
		ref_hmac(r->key->hash, r->key->bytes, r->key->len,
			 (struct part[]){ { first, strlen(first) }, { "NVMe-over-Fabrics", 17 } },
			 2, key);
	}
	memcpy(challenge, r->challenge, hl);
	if (r->session_key)
		ref_hmac(r->hash, r->session_key, hl, &(struct part){ r->challenge, hl }, 1,
			 challenge);
	for (int i = 0; i < 4; i++)
		s[i] = (uint8_t)(r->seqnum >> 8 * i);
	for (int i = 0; i < 2; i++)
		t[i] = (uint8_t)(r->t_id >> 8 * i);
	ref_hmac(r->hash, key, key_len,
		 (struct part[]){
			 { challenge, hl },
			 { s, 4 },
			 { t, 2 },
			 { &r->sc_c, 1 },
			 { r->controller ? "Controller" : "HostHost", r->controller ? 10 : 8 },
			 { first, strlen(first) + 1 },
			 { second, strlen(second) } },
		 7, ret);
}

static const char *const group_names[] = { "null",      "ffdhe2048", "ffdhe3072",
					   "ffdhe4096", "ffdhe6144", "ffdhe8192" };
static const size_t group_lens[] = { 0, 256, 384, 512, 768, 1024 };

/* p of a group, from the parameters of a key in it */
static BIGNUM *prime(uint8_t group)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(
					"group", (char *)(uintptr_t)group_names[group], 0),
				OSSL_PARAM_construct_end() };
	EVP_PKEY *pkey = NULL;
	BIGNUM *p = NULL;

	ck_assert_int_eq(EVP_PKEY_paramgen_init(ctx), 1);
	ck_assert_int_eq(EVP_PKEY_CTX_set_params(ctx, params), 1);
	ck_assert_int_eq(EVP_PKEY_generate(ctx, &pkey), 1);
	ck_assert_int_eq(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_FFC_P, &p), 1);
	EVP_PKEY_free(pkey);
	EVP_PKEY_CTX_free(ctx);
	return p;
}

/* base^x mod p, as long as p; 2^x with base NULL */
static void ref_power(uint8_t group, const uint8_t *base, const BIGNUM *x, uint8_t *ret)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *p = prime(group), *b = BN_new(), *r = BN_new();
	size_t len = group_lens[group];

	if (base)
		BN_bin2bn(base, (int)len, b);
	else
		BN_set_word(b, 2);
	ck_assert_int_eq(BN_mod_exp(r, b, x, p, ctx), 1);
	ck_assert_int_eq(BN_bn2binpad(r, ret, (int)len), (int)len);
	BN_free(r);
	BN_free(b);
	BN_free(p);
	BN_CTX_free(ctx);
}

static void ref_session_key(uint8_t group, uint8_t hash, const uint8_t *peer, const BIGNUM *x,
			    uint8_t *ret)
{
	uint8_t secret[DHCHAP_DH_MAX];

	ref_power(group, peer, x, secret);
	ck_assert_int_eq(EVP_Digest(secret, group_lens[group], ret, NULL, digest(hash), NULL), 1);
}

/* ---- arithmetic --------------------------------------------------------------------------------
 */

/* Made with Python's hmac: key 00 01 02 ..., challenge 64 65 66 ..., session key 00 01 02 ... */
static const struct vector {
	uint8_t hash;
	bool controller;
	uint8_t key_len, key_hash;
	bool session_key;
	uint32_t seqnum;
	uint16_t t_id;
	const char *response;
} vectors[] = {
	{ 1, false, 32, 0, false, 0x1020304, 0x506,
	  "58f6f5e88d4a2fec1fc77e607be99e6f99f7fd1a9327e53ebb610e146b4dd20b" },
	{ 2, false, 48, 0, false, 0xfffffffe, 0x1,
	  "74b91314481821c4c6001dc10ad29c8179583532f14f2578ff55646b3a70397378c89b8ef187dfa643a28fce9a0d2829" },
	{ 3, false, 64, 0, false, 0x7, 0xffff,
	  "228c1111bdfed05c6a22c657e12743e4d973d71c383360cab7464a047ebd9ff0415559d9f276832d8407bed5949e6e22a617ccd3d6c0501abb67baef053da0cc" },
	{ 1, true, 32, 1, false, 0x9, 0x2,
	  "4c3e8c2662e7ba0ea6de83a0b8f22627e2b33bcce7b33912977d0ec30702fefb" },
	{ 2, false, 32, 3, false, 0x1, 0x1,
	  "99e742c380ff9f3112d9c95c604ad1457b266917dbc50e62126bd113b8c5f5b81f81b08d7d5dadfe3034f03957dd4ee6" },
	{ 3, true, 64, 1, true, 0x80000000, 0x0,
	  "aa452e70b338d268773050144e4f9c5832f15e1f98373462bcc0f2b4b632fb895d9d676a174752dc97950373eb074bf7105504892e106152ce42ea6de617b97d" },
	{ 1, false, 48, 2, true, 0x2, 0x3,
	  "68c400d0cd46cf31369581326305ee80f326363ab45ea18c29b00e6e3264260d" },
	{ 2, true, 48, 2, true, 0x4, 0x5,
	  "f9dfa3bc31241dbc46974d038f543f15d44fa4d353469b122815adca36ca4b05e557e6142e8808dec79ba0c7ed8bbf00" },
};

static struct config_dhchap_key counting_key(uint8_t len, uint8_t hash)
{
	struct config_dhchap_key key = { .len = len, .hash = hash };

	for (uint8_t i = 0; i < len; i++)
		key.bytes[i] = i;
	return key;
}

START_TEST(responses_are_as_computed_elsewhere)
{
	const struct vector *v = &vectors[_i];
	struct config_dhchap_key key = counting_key(v->key_len, v->key_hash);
	uint8_t challenge[64], session_key[64], got[64], ref[64];
	struct dhchap_response r = { .hash = v->hash,
				     .controller = v->controller,
				     .key = &key,
				     .challenge = challenge,
				     .session_key = v->session_key ? session_key : NULL,
				     .seqnum = v->seqnum,
				     .t_id = v->t_id,
				     .hostnqn = "nqn.2026-11.org.example:host",
				     .subnqn = NQN };
	char text[129] = "";

	for (uint8_t i = 0; i < 64; i++) {
		challenge[i] = (uint8_t)(100 + i);
		session_key[i] = i;
	}
	ck_assert_int_eq(dhchap_respond(&r, got), 0);
	ref_respond(&r, ref);
	ck_assert_mem_eq(got, ref, hash_len(v->hash));
	for (size_t i = 0; i < hash_len(v->hash); i++)
		snprintf(text + 2 * i, 3, "%02x", got[i]);
	ck_assert_str_eq(text, v->response);
}
END_TEST

START_TEST(both_sides_of_a_group_agree)
{
	uint8_t group = (uint8_t)(1 + _i % 5), hash = (uint8_t)(1 + _i % 3);
	uint8_t public[DHCHAP_DH_MAX], other[DHCHAP_DH_MAX], key[64], ref[64];
	BIGNUM *x = BN_new();
	struct dhchap_dh *dh;

	ck_assert_uint_eq(dhchap_group_len(group), group_lens[group]);
	ck_assert_str_eq(dhchap_group_name(group), group_names[group]);
	ck_assert_int_eq(BN_rand(x, 300, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY), 1);
	ref_power(group, NULL, x, other);
	ck_assert_int_eq(dhchap_dh_create(group, &dh, public), 0);
	ck_assert_int_eq(dhchap_session_key(dh, hash, other, key), 0);
	ref_session_key(group, hash, public, x, ref);
	ck_assert_mem_eq(key, ref, hash_len(hash));
	dhchap_dh_destroy(dh);
	BN_free(x);
}
END_TEST

/* A value whose secret is short: with leading zeros it is as long as p all the same. */
START_TEST(a_short_secret_keeps_its_zeros)
{
	uint8_t public[DHCHAP_DH_MAX], small[256] = { [255] = 2 }, key[64], ref[64];
	struct dhchap_dh *dh;

	/* 2^x is our own public value */
	for (int tries = 0;; tries++) {
		ck_assert_int_lt(tries, 20000);
		ck_assert_int_eq(dhchap_dh_create(1, &dh, public), 0);
		if (public[0] == 0)
			break;
		dhchap_dh_destroy(dh);
	}
	ck_assert_int_eq(dhchap_session_key(dh, 1, small, key), 0);
	ck_assert_int_eq(EVP_Digest(public, 256, ref, NULL, EVP_sha256(), NULL), 1);
	ck_assert_mem_eq(key, ref, 32);
	dhchap_dh_destroy(dh);
}
END_TEST

static const struct range_row {
	int word; /* added to p if it is negative or @relative */
	bool relative;
	int err;
} range_rows[] = {
	{ 0, false, -ERANGE }, { 1, false, -ERANGE }, { 2, false, 0 },      { -2, true, 0 },
	{ -1, true, -ERANGE }, { 0, true, -ERANGE },  { 1, true, -ERANGE }, { 1000, true, -ERANGE },
};

START_TEST(values_out_of_range_are_refused)
{
	const struct range_row *row = &range_rows[_i];
	uint8_t public[DHCHAP_DH_MAX], peer[DHCHAP_DH_MAX], key[64];
	BIGNUM *value = row->relative ? prime(3) : BN_new();
	struct dhchap_dh *dh;

	if (row->word < 0)
		BN_sub_word(value, (BN_ULONG)-row->word);
	else
		BN_add_word(value, (BN_ULONG)row->word);
	ck_assert_int_eq(BN_bn2binpad(value, peer, 512), 512);
	ck_assert_int_eq(dhchap_dh_create(3, &dh, public), 0);
	ck_assert_int_eq(dhchap_session_key(dh, 1, peer, key), row->err);
	dhchap_dh_destroy(dh);
	BN_free(value);
}
END_TEST

START_TEST(unknown_ids_have_no_length)
{
	for (unsigned int id = 0; id < 256; id++) {
		ck_assert_int_eq(dhchap_hash_len((uint8_t)id) != 0, id >= 1 && id <= 3);
		ck_assert_int_eq(dhchap_hash_name((uint8_t)id) != NULL, id >= 1 && id <= 3);
		ck_assert_int_eq(dhchap_group_len((uint8_t)id) != 0, id >= 1 && id <= 5);
		ck_assert_int_eq(dhchap_group_name((uint8_t)id) != NULL, id <= 5);
	}
	dhchap_dh_destroy(NULL);
}
END_TEST

/* ---- the other side's protocol -----------------------------------------------------------------
 */

/* Message buffers are as long as the message, so that the sanitizer sees a read beyond. */
struct msg {
	size_t len;
	uint8_t *bytes;
};

static struct msg msg_of(size_t len)
{
	return (struct msg){ len, calloc(1, len ? len : 1) };
}

struct host {
	struct config_dhchap_key key, ctrl_key; /* what it believes */
	uint16_t t_id;
	uint8_t hash, group; /* from the challenge */
	uint32_t s1, s2;
	uint8_t c1[64], c2[64], session_key[64];
	uint8_t ctrl_value[DHCHAP_DH_MAX];
};

static struct msg negotiate_msg(const struct host *h)
{
	struct msg m = msg_of(sizeof(struct auth_negotiate) + sizeof(struct auth_descriptor));
	struct auth_negotiate *n = (void *)m.bytes;

	n->h.t_id = put16(h->t_id);
	n->napd = 1;
	n->d[0].authid = 1;
	n->d[0].halen = 3;
	n->d[0].dhlen = 6;
	memcpy(n->d[0].hash, (uint8_t[]){ 1, 2, 3 }, 3);
	memcpy(n->d[0].dhgroup, (uint8_t[]){ 0, 1, 2, 3, 4, 5 }, 6);
	return m;
}

static void read_challenge(struct host *h, const uint8_t *buf)
{
	const struct auth_challenge *c = (const void *)buf;

	ck_assert_uint_eq(c->h.type, AUTH_TYPE_DHCHAP);
	ck_assert_uint_eq(c->h.id, AUTH_ID_CHALLENGE);
	ck_assert_uint_eq(get16(c->h.t_id), h->t_id);
	h->hash = c->hash;
	h->group = c->dhgroup;
	ck_assert_uint_eq(c->hl, hash_len(h->hash));
	ck_assert_uint_eq(get16(c->dhvlen), group_lens[h->group]);
	h->s1 = get32(c->seqnum);
	ck_assert_uint_ne(h->s1, 0);
	memcpy(h->c1, c->cval, c->hl);
	memcpy(h->ctrl_value, c->cval + c->hl, group_lens[h->group]);
}

static struct dhchap_response response_of(const struct host *h, bool controller)
{
	return (struct dhchap_response){ .hash = h->hash,
					 .controller = controller,
					 .key = controller ? &h->ctrl_key : &h->key,
					 .challenge = controller ? h->c2 : h->c1,
					 .session_key = h->group ? h->session_key : NULL,
					 .seqnum = controller ? h->s2 : h->s1,
					 .t_id = h->t_id,
					 .hostnqn = HOSTNQN,
					 .subnqn = NQN };
}

static struct msg reply_msg(struct host *h, bool mutual)
{
	size_t hl = hash_len(h->hash), dhvlen = group_lens[h->group];
	struct msg m = msg_of(sizeof(struct auth_reply) + 2 * hl + dhvlen);
	struct auth_reply *r = (void *)m.bytes;
	struct dhchap_response response;

	r->h = (struct auth_header){ .type = AUTH_TYPE_DHCHAP,
				     .id = AUTH_ID_REPLY,
				     .t_id = put16(h->t_id) };
	r->hl = (uint8_t)hl;
	r->dhvlen = put16((uint16_t)dhvlen);
	if (h->group) {
		BIGNUM *x = BN_new();

		BN_rand(x, 256, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY);
		ref_power(h->group, NULL, x, r->rval + 2 * hl);
		ref_session_key(h->group, h->hash, h->ctrl_value, x, h->session_key);
		BN_free(x);
	}
	if (mutual) {
		r->cvalid = 1;
		h->s2 = 77;
		memset(h->c2, 0xc2, hl);
		memcpy(r->rval + hl, h->c2, hl);
		r->seqnum = put32(h->s2);
	}
	response = response_of(h, false);
	ref_respond(&response, r->rval);
	return m;
}

static struct msg success2_msg(const struct host *h)
{
	struct msg m = msg_of(16);

	*(struct auth_header *)m.bytes = (struct auth_header){ .type = AUTH_TYPE_DHCHAP,
							       .id = AUTH_ID_SUCCESS2,
							       .t_id = put16(h->t_id) };
	return m;
}

static struct msg failure2_msg(const struct host *h)
{
	struct msg m = msg_of(sizeof(struct auth_failure));
	struct auth_failure *f = (void *)m.bytes;

	f->h = (struct auth_header){ .id = AUTH_ID_FAILURE2, .t_id = put16(h->t_id) };
	f->reason = 1;
	f->explanation = AUTH_FAILED;
	return m;
}

static void check_success1(const struct host *h, const uint8_t *buf, bool mutual)
{
	const struct auth_success1 *s = (const void *)buf;
	struct dhchap_response response = response_of(h, true);
	uint8_t want[64];

	ck_assert_uint_eq(s->h.type, AUTH_TYPE_DHCHAP);
	ck_assert_uint_eq(s->h.id, AUTH_ID_SUCCESS1);
	ck_assert_uint_eq(get16(s->h.t_id), h->t_id);
	ck_assert_uint_eq(s->hl, hash_len(h->hash));
	ck_assert_uint_eq(s->rvalid, mutual);
	if (mutual) {
		ref_respond(&response, want);
		ck_assert_mem_eq(s->rval, want, s->hl);
	}
}

static void check_failure1(const uint8_t *buf, uint16_t t_id, int explanation)
{
	const struct auth_failure *f = (const void *)buf;

	ck_assert_uint_eq(f->h.type, AUTH_TYPE_COMMON);
	ck_assert_uint_eq(f->h.id, AUTH_ID_FAILURE1);
	ck_assert_uint_eq(get16(f->h.t_id), t_id);
	ck_assert_uint_eq(f->reason, 1);
	ck_assert_int_eq(f->explanation, explanation);
}

/* ---- the protocol ------------------------------------------------------------------------------
 */

static uint8_t hashes[3], groups[6];
static struct config_host conf_host; /* as the controller knows it */
static struct host host;
static struct auth auth;
static uint32_t seqnum;
static uint8_t buf[4096];

static void set_up_with(uint8_t hash, uint8_t group)
{
	hashes[0] = (uint8_t)(hash - 1);
	groups[0] = group;
	conf_host = (struct config_host){ .nqn = HOSTNQN,
					  .dhchap_hashes = hashes,
					  .ndhchap_hashes = 1,
					  .dhchap_dhgroups = groups,
					  .ndhchap_dhgroups = 1,
					  .host_key = counting_key(32, 1),
					  .ctrl_key = counting_key(48, 2) };
	host = (struct host){ .t_id = 0x1234,
			      .key = conf_host.host_key,
			      .ctrl_key = conf_host.ctrl_key };
	seqnum = UINT32_MAX; /* the next one is not 0 */
	auth_init(&auth, HOSTNQN, NQN);
}

static void set_up(void)
{
	set_up_with(1, 0);
}

static void tear_down(void)
{
	static const struct auth_transaction wiped;

	auth_fini(&auth);
	ck_assert_mem_eq(&auth.t, &wiped, sizeof(wiped));
}

/* Give it to the controller, and forget it. */
static void give(struct msg m)
{
	auth_message(&auth, &conf_host, &seqnum, m.bytes, m.len);
	free(m.bytes);
	if (auth_must_compute(&auth)) {
		auth_compute(&auth);
		auth_computed(&auth);
	}
}

static int fetch(size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);
	int err = auth_answer(&auth, exact, len);

	memset(buf, 0xee, sizeof(buf));
	memcpy(buf, exact, len);
	free(exact);
	return err;
}

static void expect_failure(uint16_t t_id, int explanation)
{
	static const struct auth_transaction wiped;

	ck_assert_int_eq(auth.state, AUTH_WAIT_FETCH_FAILURE1);
	ck_assert_int_eq(fetch(4096), 0);
	check_failure1(buf, t_id, explanation);
	ck_assert_int_eq(auth.state, AUTH_OVER);
	ck_assert_mem_eq(&auth.t, &wiped, sizeof(wiped));
	ck_assert_int_eq(fetch(4096), -ENOMSG);
}

/* What the script's letters do; a row is one, and where it ends. */
static void act(const char **at)
{
	switch (*(*at)++) {
	case 'N': /* Negotiate */
		give(negotiate_msg(&host));
		break;
	case 'n': /* again, as a new transaction */
		host.t_id++;
		give(negotiate_msg(&host));
		break;
	case 'c':
		ck_assert_int_eq(fetch(4096), 0);
		read_challenge(&host, buf);
		break;
	case 'R':
		give(reply_msg(&host, false));
		break;
	case 'M': /* Reply that asks us to authenticate too */
		give(reply_msg(&host, true));
		break;
	case 's':
		ck_assert_int_eq(fetch(4096), 0);
		check_success1(&host, buf, false);
		break;
	case 'm':
		ck_assert_int_eq(fetch(4096), 0);
		check_success1(&host, buf, true);
		break;
	case '2':
		give(success2_msg(&host));
		break;
	case 'F':
		give(failure2_msg(&host));
		break;
	case 't': /* another transaction's ID from now on */
		host.t_id++;
		break;
	case 'K': /* the host gets another key */
		host.key.bytes[0] ^= 1;
		break;
	case 'k': /* so does the controller */
		conf_host.host_key.bytes[0] ^= 1;
		break;
	case 'f': /* Failure1 with this explanation */
		ck_assert_int_eq(fetch(4096), 0);
		check_failure1(buf, host.t_id, *(*at)++ - '0');
		break;
	case 'x': /* nothing to fetch */
		ck_assert_int_eq(fetch(4096), -ENOMSG);
		break;
	case '-': /* too short a buffer; then it can be fetched again */
		ck_assert_int_eq(fetch(7), -EMSGSIZE);
		break;
	case 'a':
		auth_abandon(&auth);
		break;
	default:
		ck_abort_msg("no such action");
	}
}

static const struct script {
	const char *actions;
	enum auth_state state;
	bool authenticated;
} scripts[] = {
	/* 0: as it should be */
	{ "", AUTH_WAIT_NEGOTIATE, false },
	{ "N", AUTH_WAIT_FETCH_CHALLENGE, false },
	{ "Nc", AUTH_WAIT_REPLY, false },
	{ "NcR", AUTH_WAIT_FETCH_SUCCESS1, false },
	{ "NcRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcM", AUTH_WAIT_FETCH_SUCCESS1, false },
	{ "NcMm", AUTH_WAIT_SUCCESS2, false },
	{ "NcMm2", AUTH_WAIT_NEGOTIATE, true },
	{ "x", AUTH_WAIT_NEGOTIATE, false },
	{ "NcRsx", AUTH_WAIT_NEGOTIATE, true },
	/* 10: again */
	{ "NcRsncRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcRsncMm2", AUTH_WAIT_NEGOTIATE, true },
	{ "NcMm2ncRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcRsNcRs", AUTH_WAIT_NEGOTIATE, true },
	{ "nnncRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcncRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcRncRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcMmncRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcancRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcRsncax", AUTH_WAIT_NEGOTIATE, true },
	/* 20: keys that change */
	{ "NcRsKknncRs", AUTH_WAIT_NEGOTIATE, true },
	{ "NcRskncRf1x", AUTH_OVER, true },
	{ "NcRsKncRf1x", AUTH_OVER, true },
	{ "NkcRs", AUTH_WAIT_NEGOTIATE, true }, /* a transaction keeps the key it began with */
	{ "NckRsncRf1", AUTH_OVER, true },
	{ "KNcRf1", AUTH_OVER, false },
	{ "KNcMf1", AUTH_OVER, false },
	/* out of order */
	{ "Ncf7", AUTH_OVER, false },
	{ "NcMmf7x", AUTH_OVER, false },
	{ "NcRs2f7", AUTH_OVER, true },
	/* 30 */
	{ "2f7", AUTH_OVER, false },
	{ "Ff7", AUTH_OVER, false },
	{ "N2f7", AUTH_OVER, false },
	{ "Nc2f7", AUTH_OVER, false },
	{ "NcR2f7", AUTH_OVER, false },
	{ "NcM2f7", AUTH_OVER, false },
	{ "NcRRf7", AUTH_OVER, false },
	{ "NcMmRf7", AUTH_OVER, false },
	{ "NcRsRf7", AUTH_OVER, true },
	{ "NcF", AUTH_OVER, false },
	/* 40: the host has had enough */
	{ "NF", AUTH_OVER, false },
	{ "NcRF", AUTH_OVER, false },
	{ "NcMmF", AUTH_OVER, false },
	{ "NcRsncFx", AUTH_OVER, true },
	/* what has failed stays so */
	{ "NcRs2NnRMf7", AUTH_OVER, true },
	{ "KNcRnf1", AUTH_OVER, false },
	/* too short, then long enough */
	{ "N-cR-s", AUTH_WAIT_NEGOTIATE, true },
	{ "NcM-m2", AUTH_WAIT_NEGOTIATE, true },
	{ "KNcR-f1", AUTH_OVER, false },
	{ "Nc-f7", AUTH_OVER, false },
};

static void run_script(const struct script *s)
{
	/* only the t_id of a Negotiate that is ignored is another than the transaction's */
	for (const char *at = s->actions; *at;) {
		bool ignored = *at == 'n' && auth.state == AUTH_WAIT_FETCH_FAILURE1;

		act(&at);
		if (ignored)
			host.t_id--;
	}
	ck_assert_int_eq(auth.state, s->state);
	ck_assert_int_eq(auth.authenticated, s->authenticated);
}

START_TEST(messages_in_order_and_out_of_order)
{
	run_script(&scripts[_i]);
}
END_TEST

START_TEST(messages_in_order_and_out_of_order_with_a_group)
{
	set_up_with(2, 1);
	run_script(&scripts[_i]);
}
END_TEST

START_TEST(every_hash_and_every_group)
{
	for (uint8_t hash = 1; hash <= 3; hash++) {
		static const struct script mutual = { "NcMm2ncRs", AUTH_WAIT_NEGOTIATE, true };

		set_up_with(hash, (uint8_t)_i);
		run_script(&mutual);
		ck_assert_uint_eq(host.hash, hash);
		ck_assert_uint_eq(host.group, _i);
		auth_fini(&auth);
	}
}
END_TEST

START_TEST(messages_of_another_transaction_are_refused)
{
	static const char *const before[] = { "N", "Nc", "NcMm" };
	const char *at = before[_i];

	while (*at)
		act(&at);
	host.t_id++;
	give(_i == 0   ? failure2_msg(&host)
	     : _i == 1 ? reply_msg(&host, false)
		       : success2_msg(&host));
	expect_failure((uint16_t)(host.t_id - 1), AUTH_INCORRECT_PAYLOAD);
}
END_TEST

START_TEST(challenges_and_sequence_numbers_do_not_repeat)
{
	uint8_t before[64];
	uint32_t s1;
	const char *at = "NcRs", *again = "NcRs";

	while (*at)
		act(&at);
	memcpy(before, host.c1, 32);
	s1 = host.s1;
	ck_assert_uint_eq(s1, 1); /* 0 is left out */
	while (*again)
		act(&again);
	ck_assert_uint_eq(host.s1, 2);
	ck_assert_mem_ne(before, host.c1, 32);
}
END_TEST

START_TEST(a_reply_is_good_for_one_challenge)
{
	const char *first = "Nc", *second = "Nc";
	struct msg m, copy;

	while (*first)
		act(&first);
	m = reply_msg(&host, false);
	copy = msg_of(m.len);
	memcpy(copy.bytes, m.bytes, m.len);
	give(m);
	ck_assert_int_eq(fetch(4096), 0);
	check_success1(&host, buf, false);
	while (*second)
		act(&second);
	give(copy);
	expect_failure(host.t_id, AUTH_FAILED);
}
END_TEST

/* ---- Negotiate ---- */

static const struct negotiate_row {
	int cut; /* bytes too few; negative: too many */
	uint8_t sc_c, napd, authid, halen, dhlen;
	uint8_t hash[4], dhgroup[7];
	int explanation; /* 0: it is fine */
	uint8_t want_hash, want_group;
} negotiate_rows[] = {
	{ 0, 0, 1, 1, 3, 6, { 1, 2, 3 }, { 0, 1, 2, 3, 4, 5 }, 0, 2, 1 },
	{ 0, 0, 1, 1, 1, 1, { 2 }, { 1 }, 0, 2, 1 },
	{ 0, 0, 1, 1, 1, 1, { 3 }, { 0 }, 0, 3, 0 }, /* second best */
	{ 0, 0, 1, 1, 4, 2, { 9, 255, 0, 2 }, { 6, 1 }, 0, 2, 1 },
	{ -100, 0, 1, 1, 3, 6, { 1, 2, 3 }, { 0, 1, 2, 3, 4, 5 }, 0, 2, 1 },
	{ 0, 0, 1, 1, 1, 6, { 1 }, { 0, 1, 2, 3, 4, 5 }, AUTH_HASH_UNUSABLE, 0, 0 },
	{ 0, 0, 1, 1, 1, 6, { 1, 2, 3 }, { 0, 1 }, AUTH_HASH_UNUSABLE, 0, 0 },
	{ 0, 0, 1, 1, 0, 6, { 1, 2, 3 }, { 0, 1 }, AUTH_HASH_UNUSABLE, 0, 0 },
	{ 0, 0, 1, 1, 3, 6, { 7, 8, 9 }, { 0, 1 }, AUTH_HASH_UNUSABLE, 0, 0 },
	{ 0, 0, 1, 1, 3, 4, { 1, 2, 3 }, { 2, 3, 4, 5 }, AUTH_DHGROUP_UNUSABLE, 0, 0 },
	/* 10 */
	{ 0, 0, 1, 1, 3, 0, { 1, 2, 3 }, { 1 }, AUTH_DHGROUP_UNUSABLE, 0, 0 },
	{ 0, 0, 1, 1, 3, 1, { 1, 2, 3 }, { 255 }, AUTH_DHGROUP_UNUSABLE, 0, 0 },
	{ 0, 0, 1, 1, 31, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 0, 0, 1, 1, 255, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 0, 0, 1, 1, 3, 31, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 0, 0, 1, 1, 3, 255, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 0, 0, 1, 2, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_PROTOCOL_UNUSABLE, 0, 0 },
	{ 0, 0, 1, 0, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_PROTOCOL_UNUSABLE, 0, 0 },
	{ 0, 0, 0, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 0, 0, 2, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	/* 20 */
	{ 0, 0, 255, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 0, 1, 1, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_CONCAT_MISMATCH, 0, 0 },
	{ 0, 0xff, 1, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_CONCAT_MISMATCH, 0, 0 },
	{ 1, 0, 1, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 64, 0, 1, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 65, 0, 1, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
	{ 66, 0, 1, 1, 3, 6, { 1, 2, 3 }, { 1 }, AUTH_INCORRECT_PAYLOAD, 0, 0 },
};

START_TEST(negotiate_takes_what_both_have)
{
	const struct negotiate_row *row = &negotiate_rows[_i];
	struct msg m = negotiate_msg(&host), cut;
	struct auth_negotiate *n = (void *)m.bytes;

	hashes[0] = 2 - 1; /* of ours, best first */
	hashes[1] = 3 - 1;
	groups[0] = 1;
	groups[1] = 0;
	conf_host.ndhchap_hashes = 2;
	conf_host.ndhchap_dhgroups = 2;
	n->sc_c = row->sc_c;
	n->napd = row->napd;
	n->d[0].authid = row->authid;
	n->d[0].halen = row->halen;
	n->d[0].dhlen = row->dhlen;
	memset(n->d[0].hash, 0, 60);
	memcpy(n->d[0].hash, row->hash, sizeof(row->hash));
	memcpy(n->d[0].dhgroup, row->dhgroup, sizeof(row->dhgroup));
	cut = msg_of((size_t)((int)m.len - row->cut));
	memcpy(cut.bytes, m.bytes, m.len < cut.len ? m.len : cut.len);
	free(m.bytes);
	give(cut);
	if (row->explanation) {
		expect_failure(host.t_id, row->explanation);
		return;
	}
	ck_assert_int_eq(fetch(4096), 0);
	read_challenge(&host, buf);
	ck_assert_uint_eq(host.hash, row->want_hash);
	ck_assert_uint_eq(host.group, row->want_group);
}
END_TEST

START_TEST(negotiate_finds_its_protocol_among_others)
{
	struct msg m = msg_of(sizeof(struct auth_negotiate) + 3 * sizeof(struct auth_descriptor));
	struct msg one = negotiate_msg(&host);
	struct auth_negotiate *n = (void *)m.bytes;

	memcpy(m.bytes, one.bytes, sizeof(*n));
	n->napd = 3;
	memset(&n->d[0], 0xff, 2 * sizeof(n->d[0]));
	n->d[2] = ((struct auth_negotiate *)one.bytes)->d[0];
	free(one.bytes);
	give(m);
	ck_assert_int_eq(auth.state, AUTH_WAIT_FETCH_CHALLENGE);
}
END_TEST

START_TEST(a_host_without_a_key_cannot_authenticate)
{
	struct msg m = negotiate_msg(&host);

	conf_host.host_key.len = 0;
	if (_i) {
		auth_message(&auth, NULL, &seqnum, m.bytes, m.len);
		free(m.bytes);
	} else {
		give(m);
	}
	expect_failure(host.t_id, AUTH_PROTOCOL_UNUSABLE);
}
END_TEST

/* ---- Reply ---- */

static void good(struct auth_reply *r)
{
	(void)r;
}
static void bad_type(struct auth_reply *r)
{
	r->h.type = 2;
}
static void bad_id(struct auth_reply *r)
{
	r->h.id = 5;
}
static void is_common(struct auth_reply *r)
{
	r->h.type = AUTH_TYPE_COMMON;
}
static void is_challenge(struct auth_reply *r)
{
	r->h.id = AUTH_ID_CHALLENGE;
}
static void hl_0(struct auth_reply *r)
{
	r->hl = 0;
}
static void hl_31(struct auth_reply *r)
{
	r->hl = 31;
}
static void hl_64(struct auth_reply *r)
{
	r->hl = 64;
}
static void hl_255(struct auth_reply *r)
{
	r->hl = 255;
}
static void cvalid_2(struct auth_reply *r)
{
	r->cvalid = 2;
}
static void dhvlen_0(struct auth_reply *r)
{
	r->dhvlen = put16(0);
}
static void dhvlen_short(struct auth_reply *r)
{
	r->dhvlen = put16(252);
}
static void dhvlen_long(struct auth_reply *r)
{
	r->dhvlen = put16(260);
}
static void dhvlen_max(struct auth_reply *r)
{
	r->dhvlen = put16(0xffff);
}
static void dh_0(struct auth_reply *r)
{
	memset(r->rval + 64, 0, 256);
}
static void dh_all_ones(struct auth_reply *r)
{
	memset(r->rval + 64, 0xff, 256);
}
static void dh_1(struct auth_reply *r)
{
	dh_0(r);
	r->rval[64 + 255] = 1;
}
static void dh_p_minus_1(struct auth_reply *r)
{
	BIGNUM *p = prime(1);

	BN_sub_word(p, 1);
	BN_bn2binpad(p, r->rval + 64, 256);
	BN_free(p);
}
static void dh_other(struct auth_reply *r)
{
	r->rval[64 + 255] ^= 1;
}
static void response_first_bit(struct auth_reply *r)
{
	r->rval[0] ^= 0x80;
}
static void response_last_bit(struct auth_reply *r)
{
	r->rval[31] ^= 1;
}
static void response_zero(struct auth_reply *r)
{
	memset(r->rval, 0, 32);
}
static void echoes_our_challenge(struct auth_reply *r)
{
	memcpy(r->rval + 32, host.c1, 32);
}
static void no_seqnum(struct auth_reply *r)
{
	r->seqnum = put32(0);
}
static void reserved_bits(struct auth_reply *r)
{
	r->rsvd = r->rsvd2 = r->h.rsvd[0] = 0xff;
}

static const struct reply_row {
	void (*spoil)(struct auth_reply *r);
	bool mutual;
	int cut;
	int explanation;
	const char *then; /* a script, when it is fine */
} reply_rows[] = {
	{ good, false, 0, 0, "s" },
	{ good, true, 0, 0, "m2" },
	{ good, false, -64, 0, "s" },
	{ reserved_bits, true, 0, 0, "m2" },
	{ no_seqnum, true, 0, 0, "s" }, /* C2 is there for a secure channel, and there is none */
	{ good, false, 1, AUTH_INCORRECT_PAYLOAD, NULL },
	{ good, false, 256, AUTH_INCORRECT_PAYLOAD, NULL },
	{ good, false, 256 + 64, AUTH_INCORRECT_PAYLOAD, NULL },
	{ good, false, 256 + 64 + 1, AUTH_INCORRECT_PAYLOAD, NULL },
	{ good, false, 256 + 64 + 10, AUTH_INCORRECT_PAYLOAD, NULL },
	/* 10 */
	{ good, false, 256 + 64 + 11, AUTH_INCORRECT_PAYLOAD, NULL },
	{ good, false, 256 + 64 + 16, AUTH_INCORRECT_PAYLOAD, NULL },
	{ bad_type, false, 0, AUTH_INCORRECT_MESSAGE, NULL },
	{ bad_id, false, 0, AUTH_INCORRECT_MESSAGE, NULL },
	{ is_common, false, 0, AUTH_INCORRECT_MESSAGE, NULL },
	{ is_challenge, false, 0, AUTH_INCORRECT_MESSAGE, NULL },
	{ hl_0, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ hl_31, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ hl_64, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ hl_255, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	/* 20 */
	{ cvalid_2, true, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dhvlen_0, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dhvlen_short, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dhvlen_long, false, -64, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dhvlen_max, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dh_0, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dh_1, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dh_p_minus_1, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dh_all_ones, false, 0, AUTH_INCORRECT_PAYLOAD, NULL },
	{ dh_other, false, 0, AUTH_FAILED, NULL },
	/* 30 */
	{ response_first_bit, false, 0, AUTH_FAILED, NULL },
	{ response_last_bit, true, 0, AUTH_FAILED, NULL },
	{ response_zero, false, 0, AUTH_FAILED, NULL },
	{ echoes_our_challenge, true, 0, AUTH_FAILED, NULL },
};

START_TEST(replies_good_and_bad)
{
	const struct reply_row *row = &reply_rows[_i];
	const char *at = "Nc";
	struct msg m, cut;

	set_up_with(1, 1);
	while (*at)
		act(&at);
	m = reply_msg(&host, row->mutual);
	row->spoil((void *)m.bytes);
	cut = msg_of((size_t)((int)m.len - row->cut));
	memcpy(cut.bytes, m.bytes, m.len < cut.len ? m.len : cut.len);
	free(m.bytes);
	give(cut);
	if (row->explanation) {
		expect_failure(host.t_id, row->explanation);
		ck_assert(!auth.authenticated);
		return;
	}
	for (at = row->then; *at;)
		act(&at);
	ck_assert(auth.authenticated);
}
END_TEST

/* With the NULL group nothing is behind the challenge. */
START_TEST(a_value_for_the_null_group_is_refused)
{
	const char *at = "Nc";
	struct msg m;

	while (*at)
		act(&at);
	m = reply_msg(&host, false);
	m.bytes = realloc(m.bytes, m.len + 256);
	memset(m.bytes + m.len, 2, 256);
	m.len += 256;
	((struct auth_reply *)m.bytes)->dhvlen = put16(256);
	give(m);
	expect_failure(host.t_id, AUTH_INCORRECT_PAYLOAD);
}
END_TEST

/* Whatever the response depends on: another one is wrong. */
START_TEST(the_response_depends_on_everything)
{
	const char *at = "Nc";

	while (*at)
		act(&at);
	switch (_i) {
	case 0:
		host.s1++;
		break;
	case 1:
		host.c1[31] ^= 1;
		break;
	case 2:
		host.key.bytes[31] ^= 1;
		break;
	case 3:
		host.key.hash = 0;
		break;
	case 4:
		strcpy(auth.hostnqn, "nqn.2026-11.org.example:other");
		break;
	case 5:
		strcpy(auth.subnqn, "nqn.2026-11.org.example:other");
		break;
	case 6:
		host.key = host.ctrl_key;
		break;
	}
	give(reply_msg(&host, false));
	expect_failure(host.t_id, AUTH_FAILED);
}
END_TEST

START_TEST(a_host_that_asks_is_turned_away_without_our_key)
{
	const char *at = "Nc";

	conf_host.ctrl_key.len = 0;
	while (*at)
		act(&at);
	give(reply_msg(&host, true));
	expect_failure(host.t_id, AUTH_FAILED);
}
END_TEST

START_TEST(short_messages_are_refused)
{
	const char *at = _i % 2 ? "Nc" : "";

	while (*at)
		act(&at);
	give(msg_of((size_t)_i / 2));
	expect_failure(_i % 2 ? host.t_id : 0, AUTH_INCORRECT_PAYLOAD);
}
END_TEST

/* The longest message that does not fit, and the shortest buffer that does. */
START_TEST(buffers_just_long_enough)
{
	static const struct {
		const char *before;
		uint8_t group;
		size_t need;
	} rows[] = {
		{ "N", 0, 16 + 32 },   { "N", 1, 16 + 32 + 256 }, { "NcR", 0, 16 },
		{ "NcM", 0, 16 + 32 }, { "KNcR", 0, 8 },
	};
	const char *at = rows[_i].before;

	set_up_with(1, rows[_i].group);
	while (*at)
		act(&at);

	enum auth_state state = auth.state;

	for (size_t len = 0; len < rows[_i].need; len++) {
		ck_assert_int_eq(fetch(len), -EMSGSIZE);
		ck_assert_int_eq(auth.state, state);
		for (size_t i = 0; i < len; i++)
			ck_assert_uint_eq(buf[i], 0);
	}
	ck_assert_int_eq(fetch(rows[_i].need), 0);
	ck_assert_int_ne(auth.state, state);
}
END_TEST

START_TEST(computing_may_fail)
{
	const char *at = "Nc";
	struct msg m = negotiate_msg(&host);

	set_up_with(1, 1);
	if (_i == 0) {
		auth_message(&auth, &conf_host, &seqnum, m.bytes, m.len);
		ck_assert(auth_must_compute(&auth));
		auth_give_up(&auth);
	} else {
		while (*at)
			act(&at);
		free(m.bytes);
		m = reply_msg(&host, false);
		auth_message(&auth, &conf_host, &seqnum, m.bytes, m.len);
		ck_assert(auth_must_compute(&auth));
		auth_give_up(&auth);
	}
	free(m.bytes);
	expect_failure(host.t_id, AUTH_FAILED);
}
END_TEST

/* Anybody who knows everything but the key, and sends what comes to mind. */
START_TEST(without_the_key_no_message_authenticates)
{
	srandom(4711 + (unsigned int)_i);
	for (int round = 0; round < 3000; round++) {
		struct msg m;

		if (auth.state == AUTH_OVER) {
			auth_fini(&auth);
			auth_init(&auth, HOSTNQN, NQN);
		}
		if (auth.state == AUTH_WAIT_FETCH_CHALLENGE && random() % 4) {
			ck_assert_int_eq(fetch(4096), 0);
			read_challenge(&host, buf);
		}
		host.key.bytes[0] = (uint8_t)(1 + random() % 255); /* never 0, the right one */
		if (auth.state == AUTH_WAIT_REPLY && random() % 4)
			m = reply_msg(&host, random() % 2);
		else if (random() % 4)
			m = negotiate_msg(&host);
		else
			m = success2_msg(&host);
		for (long n = random() % 3; n > 0; n--)
			m.bytes[(size_t)random() % m.len] = (uint8_t)random();
		if (random() % 8 == 0)
			m.len = (size_t)random() % m.len;
		give(m);
		if (random() % 8 == 0)
			(void)fetch((size_t)random() % 100);
		host.t_id = auth.t.t_id;
		ck_assert(!auth.authenticated);
	}
}
END_TEST

static void add_protocol(Suite *s)
{
	TCase *tc = tcase_create("protocol");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, messages_in_order_and_out_of_order, 0, NROWS(scripts));
	tcase_add_loop_test(tc, messages_in_order_and_out_of_order_with_a_group, 0, NROWS(scripts));
	tcase_add_loop_test(tc, every_hash_and_every_group, 0, 6);
	tcase_add_loop_test(tc, messages_of_another_transaction_are_refused, 0, 3);
	tcase_add_test(tc, challenges_and_sequence_numbers_do_not_repeat);
	tcase_add_test(tc, a_reply_is_good_for_one_challenge);
	tcase_add_loop_test(tc, negotiate_takes_what_both_have, 0, NROWS(negotiate_rows));
	tcase_add_test(tc, negotiate_finds_its_protocol_among_others);
	tcase_add_loop_test(tc, a_host_without_a_key_cannot_authenticate, 0, 2);
	tcase_add_loop_test(tc, replies_good_and_bad, 0, NROWS(reply_rows));
	tcase_add_test(tc, a_value_for_the_null_group_is_refused);
	tcase_add_loop_test(tc, the_response_depends_on_everything, 0, 7);
	tcase_add_test(tc, a_host_that_asks_is_turned_away_without_our_key);
	tcase_add_loop_test(tc, short_messages_are_refused, 0, 12);
	tcase_add_loop_test(tc, buffers_just_long_enough, 0, 5);
	tcase_add_loop_test(tc, computing_may_fail, 0, 2);
	tcase_add_loop_test(tc, without_the_key_no_message_authenticates, 0, 4);
	suite_add_tcase(s, tc);
}

/* ---- commands, through the dispatch ------------------------------------------------------------
 */

#define KEYLESS "nqn.2026-11.org.example:keyless"

static void set_up_target(unsigned int nreactors)
{
	set_up_with(1, 1);
	subsystems[0].allow_any_host = true;
	conf.hosts = &conf_host;
	conf.nhosts = 1;
	setup_with(nreactors);
}

static void set_up_one(void)
{
	set_up_target(1);
}

static void set_up_threads(void)
{
	set_up_target(3);
}

static void tear_down_target(void)
{
	teardown();
	tear_down();
}

static void begin(struct nvmf_queue *q, struct exchange *x)
{
	x->req.queue = q;
	x->req.sqe = &x->sqe;
	x->answered = false;
	if (x->sqe.flags == 0)
		x->sqe.flags = SQE_PSDT_SGL;
	reactor_call(q->reactor, start, x);
}

static uint16_t end(struct exchange *x)
{
	for (int ms = 0; !is_answered(x) && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		if (!is_answered(x))
			usleep(1000);
	}
	ck_assert(is_answered(x));
	return get16(x->req.cqe.status) >> 1;
}

static uint16_t connect_as(struct nvmf_queue *q, uint16_t cntlid, const char *subnqn,
			   const char *hostnqn, uint32_t *ret_dw0)
{
	struct exchange x = connect_command(q->qid, cntlid);
	struct nvmf_connect_data *d = (void *)data;
	uint16_t status;

	strcpy(d->subsysnqn, subnqn);
	strcpy(d->hostnqn, hostnqn);
	status = run(q, &x);
	*ret_dw0 = get32(x.req.cqe.dw0);
	return status;
}

static uint16_t enable_controller(struct nvmf_queue *q)
{
	return set_cc(q, CC_ENABLE);
}

static struct exchange auth_command(uint8_t fctype, size_t len)
{
	struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = fctype } };
	struct nvmf_auth_sqe *sqe = (void *)&x.sqe;

	sqe->secp = 0xe9;
	sqe->spsp0 = 1;
	sqe->spsp1 = 1;
	sqe->len = put32((uint32_t)len);
	return x;
}

static struct exchange send_command(struct msg m)
{
	struct exchange x = auth_command(FC_AUTH_SEND, m.len);

	memcpy(data, m.bytes, m.len);
	free(m.bytes);
	return x;
}

static uint16_t send_msg(struct nvmf_queue *q, struct msg m)
{
	struct exchange x = send_command(m);

	return run(q, &x);
}

/* Into buf. */
static uint16_t receive(struct nvmf_queue *q, size_t len)
{
	struct exchange x = auth_command(FC_AUTH_RECEIVE, len);
	uint16_t status = run(q, &x);

	memcpy(buf, data, sizeof(buf));
	return status;
}

/* Up to our Reply; what comes then is in buf. */
static void exchange_messages(struct nvmf_queue *q, bool mutual)
{
	host.t_id++;
	ck_assert_uint_eq(send_msg(q, negotiate_msg(&host)), NVME_OK);
	ck_assert_uint_eq(receive(q, 4096), NVME_OK);
	read_challenge(&host, buf);
	ck_assert_uint_eq(send_msg(q, reply_msg(&host, mutual)), NVME_OK);
	ck_assert_uint_eq(receive(q, 4096), NVME_OK);
}

static void authenticate(struct nvmf_queue *q, bool mutual)
{
	exchange_messages(q, mutual);
	check_success1(&host, buf, mutual);
	if (mutual)
		ck_assert_uint_eq(send_msg(q, success2_msg(&host)), NVME_OK);
}

static void await_disconnects(int n)
{
	for (int ms = 0; __atomic_load_n(&ndisconnects, __ATOMIC_ACQUIRE) < n; ms++) {
		ck_assert_int_lt(ms, 10000);
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
}

static struct nvmf_queue *open_connected(uint16_t qid, uint16_t *cntlid)
{
	struct nvmf_queue *q = open_queue(qid);
	uint32_t dw0;

	ck_assert_uint_eq(connect_as(q, qid ? *cntlid : 0xffff, NQN, HOSTNQN, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0 >> 16, CONNECT_ATR >> 16);
	*cntlid = (uint16_t)dw0;
	return q;
}

static struct exchange identify_command(void)
{
	return (struct exchange){ .sqe = { .opcode = 0x06, .cdw10 = put32(1) } };
}

static struct exchange read_command(void)
{
	return (struct exchange){ .sqe = { .opcode = 0x02, .nsid = put32(1) } };
}

START_TEST(a_host_with_a_key_authenticates_every_queue)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_connected(0, &cntlid), *io;
	struct exchange identify = identify_command(), read = read_command();

	ck_assert_uint_eq(enable_controller(admin), NVME_AUTH_REQUIRED | NVME_DNR);
	authenticate(admin, _i);
	ck_assert_uint_eq(enable_controller(admin), NVME_OK);
	ck_assert_uint_eq(run(admin, &identify), NVME_OK);
	io = open_connected(1, &cntlid);
	ck_assert_uint_eq(run(io, &read), NVME_AUTH_REQUIRED | NVME_DNR);
	authenticate(io, _i);
	ck_assert_uint_eq(run(io, &read), NVME_OK);
	/* again, and I/O goes on meanwhile */
	authenticate(admin, !_i);
	host.t_id++;
	ck_assert_uint_eq(send_msg(io, negotiate_msg(&host)), NVME_OK);
	ck_assert_uint_eq(run(io, &read), NVME_OK);
	ck_assert_uint_eq(receive(io, 4096), NVME_OK);
	ck_assert_uint_eq(run(io, &read), NVME_OK);
	authenticate(io, !_i);
	ck_assert_uint_eq(run(io, &read), NVME_OK);
	ck_assert_int_eq(ndisconnects, 0);
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

START_TEST(nothing_else_before)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);

	for (unsigned int op = 0; op < 256; op++) {
		struct exchange x = { .sqe = { .opcode = (uint8_t)op } };

		ck_assert_uint_eq(run(q, &x), NVME_AUTH_REQUIRED | NVME_DNR);
	}
	for (unsigned int type = 0; type < 256; type++) {
		struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = (uint8_t)type } };

		if (type != FC_AUTH_SEND && type != FC_AUTH_RECEIVE)
			ck_assert_uint_eq(run(q, &x), NVME_AUTH_REQUIRED | NVME_DNR);
	}
	/* and half of it is not enough */
	exchange_messages(q, true);
	ck_assert_uint_eq(enable_controller(q), NVME_AUTH_REQUIRED | NVME_DNR);
	drop_queue(q);
}
END_TEST

START_TEST(a_host_without_a_key_need_not)
{
	struct nvmf_queue *q = open_queue(0);
	uint32_t dw0;

	ck_assert_uint_eq(connect_as(q, 0xffff, NQN, KEYLESS, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0 >> 16, 0);
	ck_assert_uint_eq(enable_controller(q), NVME_OK);
	/* nothing to receive, which does no harm */
	ck_assert_uint_eq(receive(q, 4096), NVME_COMMAND_SEQUENCE | NVME_DNR);
	ck_assert_uint_eq(enable_controller(q), NVME_OK);
	/* and if it wants to all the same, it cannot */
	ck_assert_uint_eq(send_msg(q, negotiate_msg(&host)), NVME_OK);
	ck_assert_uint_eq(receive(q, 4096), NVME_OK);
	check_failure1(buf, host.t_id, AUTH_PROTOCOL_UNUSABLE);
	await_disconnects(1);
	drop_queue(q);
}
END_TEST

START_TEST(discovery_asks_for_the_key_if_it_is_told_to)
{
	struct nvmf_queue *q = open_queue(0);
	uint32_t dw0;

	conf_host.dhchap_discovery = _i;
	ck_assert_uint_eq(connect_as(q, 0xffff, NVME_DISC_SUBSYS_NAME, HOSTNQN, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0 >> 16, _i ? CONNECT_ATR >> 16 : 0);
	ck_assert_uint_eq(enable_controller(q), _i ? NVME_AUTH_REQUIRED | NVME_DNR : NVME_OK);
	/* the names are those of the Connect command: with NQN, the response is wrong */
	exchange_messages(q, false);
	check_failure1(buf, host.t_id, AUTH_FAILED);
	await_disconnects(1);
	drop_queue(q);
}
END_TEST

START_TEST(who_fails_is_told_and_then_disconnected)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_connected(0, &cntlid);

	host.key.bytes[0] ^= 1;
	exchange_messages(admin, false);
	check_failure1(buf, host.t_id, AUTH_FAILED);
	/* no second try on this connection */
	ck_assert_uint_eq(send_msg(admin, negotiate_msg(&host)), NVME_COMMAND_SEQUENCE | NVME_DNR);
	ck_assert_uint_eq(receive(admin, 4096), NVME_COMMAND_SEQUENCE | NVME_DNR);
	ck_assert_uint_eq(enable_controller(admin), NVME_AUTH_REQUIRED | NVME_DNR);
	ck_assert_int_eq(ndisconnects, 0); /* it had the time to read the answer */
	await_disconnects(1);
	drop_queue(admin);
}
END_TEST

START_TEST(a_failing_io_queue_ends_alone)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_connected(0, &cntlid), *io;

	authenticate(admin, false);
	ck_assert_uint_eq(enable_controller(admin), NVME_OK);
	io = open_connected(2, &cntlid);
	ck_assert_uint_eq(send_msg(io, failure2_msg(&host)), NVME_OK);
	ck_assert_uint_eq(receive(io, 4096), NVME_OK);
	check_failure1(buf, host.t_id, AUTH_INCORRECT_MESSAGE);
	await_disconnects(1);
	drop_queue(io);
	ck_assert_uint_eq(enable_controller(admin), NVME_OK);
	/* a failure of the admin queue ends the others too */
	io = open_connected(2, &cntlid);
	authenticate(io, false);
	host.key.bytes[0] ^= 1;
	exchange_messages(admin, false);
	check_failure1(buf, host.t_id, AUTH_FAILED);
	await_disconnects(3);
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

START_TEST(a_changed_key_counts_from_the_next_time_on)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);

	authenticate(q, true);
	conf_host.host_key.bytes[5] ^= 1;
	conf_host.ctrl_key.bytes[5] ^= 1;
	host.key = conf_host.host_key;
	host.ctrl_key = conf_host.ctrl_key;
	authenticate(q, true);
	conf_host.host_key.bytes[5] ^= 1;
	exchange_messages(q, true);
	check_failure1(buf, host.t_id, AUTH_FAILED);
	await_disconnects(1);
	drop_queue(q);
}
END_TEST

static const struct field_row {
	uint8_t secp, spsp0, spsp1;
	uint32_t len;
} field_rows[] = {
	{ 0xe8, 1, 1, 72 },         { 0, 1, 1, 72 },
	{ 0xe9, 0, 1, 72 },         { 0xe9, 1, 0, 72 },
	{ 0xe9, 1, 1, 0 },          { 0xe9, 2, 1, 72 },
	{ 0xe9, 1, 1, 131072 + 1 }, { 0xe9, 1, 1, UINT32_MAX },
};

START_TEST(fields_of_the_commands)
{
	const struct field_row *row = &field_rows[_i];
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);

	for (uint8_t type = FC_AUTH_SEND; type <= FC_AUTH_RECEIVE; type++) {
		struct exchange x = auth_command(type, row->len);
		struct nvmf_auth_sqe *sqe = (void *)&x.sqe;

		sqe->secp = row->secp;
		sqe->spsp0 = row->spsp0;
		sqe->spsp1 = row->spsp1;
		ck_assert_uint_eq(run(q, &x), NVME_INVALID_FIELD | NVME_DNR);
	}
	authenticate(q, false); /* no harm was done */
	drop_queue(q);
}
END_TEST

START_TEST(too_short_an_allocation_loses_nothing)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);

	ck_assert_uint_eq(send_msg(q, negotiate_msg(&host)), NVME_OK);
	ck_assert_uint_eq(receive(q, 16 + 32 + 255), NVME_INVALID_FIELD | NVME_DNR);
	ck_assert_uint_eq(receive(q, 16 + 32 + 256), NVME_OK);
	read_challenge(&host, buf);
	ck_assert_uint_eq(send_msg(q, reply_msg(&host, true)), NVME_OK);
	ck_assert_uint_eq(receive(q, 16 + 31), NVME_INVALID_FIELD | NVME_DNR);
	ck_assert_uint_eq(receive(q, 16 + 32), NVME_OK);
	check_success1(&host, buf, true);
	drop_queue(q);
}
END_TEST

/* While the worker has it. */
START_TEST(one_command_at_a_time)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);
	struct exchange first = send_command(negotiate_msg(&host));
	struct exchange second = send_command(negotiate_msg(&host));
	struct exchange third = auth_command(FC_AUTH_RECEIVE, 4096);

	begin(q, &first); /* the answer comes through the loop, which does not run */
	ck_assert_uint_eq(run(q, &second), NVME_COMMAND_SEQUENCE | NVME_DNR);
	if (!is_answered(&first))
		ck_assert_uint_eq(run(q, &third), NVME_COMMAND_SEQUENCE | NVME_DNR);
	ck_assert_uint_eq(end(&first), NVME_OK);
	authenticate(q, false);
	drop_queue(q);
}
END_TEST

START_TEST(a_queue_that_closes_meanwhile_is_answered)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_connected(0, &cntlid), *io;
	struct exchange x;

	authenticate(admin, false);
	ck_assert_uint_eq(enable_controller(admin), NVME_OK);
	groups[0] = 5;
	io = open_connected(1, &cntlid);
	x = send_command(negotiate_msg(&host));
	begin(io, &x);
	reactor_call(io->reactor, close_queue, io);
	ck_assert_uint_eq(end(&x), NVME_ABORTED_SQ_DELETION);
	drop_queue(io);
	drop_queue(admin);
}
END_TEST

START_TEST(who_does_not_begin_is_disconnected)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);

	await_disconnects(1);
	drop_queue(q);
}
END_TEST

START_TEST(to_begin_over_and_over_again_is_no_way_to_stay)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);

	for (int ms = 0; !__atomic_load_n(&ndisconnects, __ATOMIC_ACQUIRE); ms += 50) {
		ck_assert_int_lt(ms, 10000);
		(void)send_msg(q, negotiate_msg(&host));
		usleep(50000);
	}
	drop_queue(q);
}
END_TEST

/* Once authenticated, a host that does not go on with the next time stays as it was. */
START_TEST(a_second_time_may_be_left_unfinished)
{
	uint16_t cntlid;
	struct nvmf_queue *q = open_connected(0, &cntlid);

	authenticate(q, false);
	ck_assert_uint_eq(send_msg(q, negotiate_msg(&host)), NVME_OK);
	for (int ms = 0; q->auth->auth.state != AUTH_WAIT_NEGOTIATE; ms++) {
		ck_assert_int_lt(ms, 10000);
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	ck_assert_uint_eq(enable_controller(q), NVME_OK);
	authenticate(q, true);
	ck_assert_int_eq(ndisconnects, 0);
	drop_queue(q);
}
END_TEST

START_TEST(a_host_that_gets_a_key_is_asked_at_once)
{
	struct nvmf_queue *keyless = open_queue(0), *q;
	uint16_t cntlid;
	uint32_t dw0;

	ck_assert_uint_eq(connect_as(keyless, 0xffff, NQN, KEYLESS, &dw0), NVME_OK);
	q = open_connected(0, &cntlid);
	authenticate(q, false);
	auth_enforce(target);
	ck_assert_int_eq(ndisconnects, 0);
	conf_host.nqn = KEYLESS;
	auth_enforce(target);
	await_disconnects(1);
	ck_assert_int_eq(keyless->state, QUEUE_CLOSING);
	ck_assert_int_eq(q->state, QUEUE_LIVE);
	drop_queue(keyless);
	drop_queue(q);
}
END_TEST

START_TEST(a_connect_that_fails_leaves_no_traces)
{
	struct nvmf_queue *q = open_queue(0);
	uint32_t dw0;

	ck_assert_uint_eq(connect_as(q, 7, NQN, HOSTNQN, &dw0),
			  NVME_CONNECT_INVALID_PARAM | NVME_DNR);
	ck_assert_uint_eq(connect_as(q, 0xffff, NQN, KEYLESS, &dw0), NVME_OK);
	ck_assert_uint_eq(dw0 >> 16, 0);
	ck_assert_uint_eq(enable_controller(q), NVME_OK);
	ck_assert_uint_eq(send_msg(q, negotiate_msg(&host)), NVME_OK);
	drop_queue(q);
}
END_TEST

static void add_commands(Suite *s, const char *name, void (*fixture)(void))
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, fixture, tear_down_target);
	tcase_add_loop_test(tc, a_host_with_a_key_authenticates_every_queue, 0, 2);
	tcase_add_test(tc, nothing_else_before);
	tcase_add_test(tc, a_host_without_a_key_need_not);
	tcase_add_loop_test(tc, discovery_asks_for_the_key_if_it_is_told_to, 0, 2);
	tcase_add_test(tc, who_fails_is_told_and_then_disconnected);
	tcase_add_test(tc, a_failing_io_queue_ends_alone);
	tcase_add_test(tc, a_changed_key_counts_from_the_next_time_on);
	tcase_add_loop_test(tc, fields_of_the_commands, 0, NROWS(field_rows));
	tcase_add_test(tc, too_short_an_allocation_loses_nothing);
	tcase_add_test(tc, one_command_at_a_time);
	tcase_add_test(tc, a_queue_that_closes_meanwhile_is_answered);
	tcase_add_test(tc, who_does_not_begin_is_disconnected);
	tcase_add_test(tc, to_begin_over_and_over_again_is_no_way_to_stay);
	tcase_add_test(tc, a_second_time_may_be_left_unfinished);
	tcase_add_test(tc, a_host_that_gets_a_key_is_asked_at_once);
	tcase_add_test(tc, a_connect_that_fails_leaves_no_traces);
	suite_add_tcase(s, tc);
}

int main(void)
{
	Suite *s = suite_create("auth");
	TCase *tc = tcase_create("arithmetic");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, responses_are_as_computed_elsewhere, 0, NROWS(vectors));
	tcase_add_loop_test(tc, both_sides_of_a_group_agree, 0, 15);
	tcase_add_test(tc, a_short_secret_keeps_its_zeros);
	tcase_add_loop_test(tc, values_out_of_range_are_refused, 0, NROWS(range_rows));
	tcase_add_test(tc, unknown_ids_have_no_length);
	suite_add_tcase(s, tc);
	add_protocol(s);
	add_commands(s, "one thread", set_up_one);
	add_commands(s, "I/O threads", set_up_threads);
	return run_suite(s);
}
