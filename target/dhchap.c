#include "target/dhchap.h"

#include <assert.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/dh.h>
#include <openssl/evp.h>
#include <string.h>

static const struct hash {
	const char *name;
	size_t len;
} hashes[] = {
	[1] = { "SHA256", 32 },
	[2] = { "SHA384", 48 },
	[3] = { "SHA512", 64 },
};
#define NHASHES (sizeof(hashes) / sizeof(hashes[0]))

static const struct group {
	const char *name;
	size_t len;
} groups[] = {
	{ "null", 0 },        { "ffdhe2048", 256 }, { "ffdhe3072", 384 },
	{ "ffdhe4096", 512 }, { "ffdhe6144", 768 }, { "ffdhe8192", 1024 },
};
#define NGROUPS (sizeof(groups) / sizeof(groups[0]))

size_t dhchap_hash_len(uint8_t id)
{
	return id < NHASHES ? hashes[id].len : 0;
}

const char *dhchap_hash_name(uint8_t id)
{
	return id < NHASHES ? hashes[id].name : NULL;
}

size_t dhchap_group_len(uint8_t id)
{
	return id < NGROUPS ? groups[id].len : 0;
}

const char *dhchap_group_name(uint8_t id)
{
	return id < NGROUPS ? groups[id].name : NULL;
}

static int hmac(uint8_t hash, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len,
		uint8_t *ret)
{
	size_t ret_len = 0;

	return EVP_Q_mac(NULL, "HMAC", NULL, hashes[hash].name, NULL, key, key_len, data, len, ret,
			 hashes[hash].len, &ret_len) &&
			       ret_len == hashes[hash].len
		       ? 0
		       : -EIO;
}

/* ---- Diffie-Hellman ----------------------------------------------------------------------------
 */

/* An EVP_PKEY under another name; freeing one wipes its private value. */
static EVP_PKEY *pkey_of(const struct dhchap_dh *dh)
{
	return (EVP_PKEY *)(uintptr_t)dh;
}

static EVP_PKEY *generate(const char *group)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	EVP_PKEY *pkey = NULL;

	if (ctx && EVP_PKEY_keygen_init(ctx) > 0 && EVP_PKEY_CTX_set_group_name(ctx, group) > 0 &&
	    EVP_PKEY_generate(ctx, &pkey) <= 0)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

int dhchap_dh_create(uint8_t id, struct dhchap_dh **ret_dh, uint8_t *ret_public)
{
	BIGNUM *public = NULL;
	EVP_PKEY *pkey;
	bool ok;

	assert(dhchap_group_len(id));
	pkey = generate(groups[id].name);
	ok = pkey && EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, &public) &&
	     BN_bn2binpad(public, ret_public, (int)groups[id].len) == (int)groups[id].len;
	BN_free(public);
	if (!ok) {
		EVP_PKEY_free(pkey);
		return -EIO;
	}
	*ret_dh = (struct dhchap_dh *)pkey;
	return 0;
}

void dhchap_dh_destroy(struct dhchap_dh *dh)
{
	EVP_PKEY_free(pkey_of(dh));
}

/*
 * All that is needed in a group of a safe prime: 0, 1 and p - 1 would make the secret guessable,
 * and every other value has an order of at least (p - 1) / 2. (OpenSSL's own check also computes
 * peer^q, which takes 110 ms for ffdhe8192, so it is not asked for.)
 */
static bool in_range(EVP_PKEY *pkey, const uint8_t *peer, size_t len)
{
	BIGNUM *p = NULL, *value = BN_bin2bn(peer, (int)len, NULL);
	bool ok = value && EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_FFC_P, &p) &&
		  BN_sub_word(p, 1) && BN_cmp(value, BN_value_one()) > 0 && BN_cmp(value, p) < 0;

	BN_free(p);
	BN_free(value);
	return ok;
}

static EVP_PKEY *peer_key(EVP_PKEY *pkey, const uint8_t *peer, size_t len)
{
	EVP_PKEY *key = EVP_PKEY_new();

	if (key && EVP_PKEY_copy_parameters(key, pkey) > 0 &&
	    EVP_PKEY_set1_encoded_public_key(key, peer, len) > 0)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

/* g^xy mod p, as long as p. */
static int agree(EVP_PKEY *pkey, EVP_PKEY *peer, uint8_t *secret, size_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	size_t got = len;
	bool ok = ctx && EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_CTX_set_dh_pad(ctx, 1) > 0 &&
		  EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) > 0 &&
		  EVP_PKEY_derive(ctx, secret, &got) > 0 && got == len;

	EVP_PKEY_CTX_free(ctx);
	return ok ? 0 : -EIO;
}

int dhchap_session_key(const struct dhchap_dh *dh, uint8_t hash, const uint8_t *peer, uint8_t *ret)
{
	EVP_PKEY *pkey = pkey_of(dh), *key;
	size_t len = (size_t)EVP_PKEY_get_size(pkey);
	uint8_t secret[DHCHAP_DH_MAX];
	int err = -EIO;

	assert(dhchap_hash_len(hash) && len <= sizeof(secret));
	if (!in_range(pkey, peer, len))
		return -ERANGE;
	key = peer_key(pkey, peer, len);
	if (key && agree(pkey, key, secret, len) == 0 &&
	    EVP_Q_digest(NULL, hashes[hash].name, NULL, secret, len, ret, NULL))
		err = 0;
	OPENSSL_cleanse(secret, sizeof(secret));
	EVP_PKEY_free(key);
	return err;
}

/* ---- responses ---------------------------------------------------------------------------------
 */

/* What is hashed, put together. */
struct text {
	uint8_t bytes[DHCHAP_HASH_MAX + 4 + 2 + 1 + 10 + 2 * CONFIG_NQN_MAX + 1 + 17];
	size_t len;
};

static void add(struct text *t, const void *bytes, size_t len)
{
	assert(len <= sizeof(t->bytes) - t->len);
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

static void add_little_endian(struct text *t, uint32_t value, unsigned int nbytes)
{
	for (; nbytes; nbytes--, value >>= 8)
		add(t, &(uint8_t){ (uint8_t)value }, 1);
}

/* The HMAC key: @key, transformed with the NQN of whoever owns it if it says so. */
static int transform(const struct config_dhchap_key *key, const char *nqn,
		     struct config_dhchap_key *ret)
{
	struct text t = { .len = 0 };

	*ret = *key;
	if (!key->hash)
		return 0;
	add(&t, nqn, strlen(nqn));
	add(&t, "NVMe-over-Fabrics", 17);
	ret->len = (uint8_t)hashes[key->hash].len;
	return hmac(key->hash, key->bytes, key->len, t.bytes, t.len, ret->bytes);
}

static int augment(const struct dhchap_response *r, uint8_t *ret)
{
	size_t len = hashes[r->hash].len;

	if (r->session_key)
		return hmac(r->hash, r->session_key, len, r->challenge, len, ret);
	memcpy(ret, r->challenge, len);
	return 0;
}

int dhchap_respond(const struct dhchap_response *r, uint8_t *ret)
{
	const char *first = r->controller ? r->subnqn : r->hostnqn;
	const char *second = r->controller ? r->hostnqn : r->subnqn;
	const char *role = r->controller ? "Controller" : "HostHost";
	uint8_t challenge[DHCHAP_HASH_MAX];
	struct config_dhchap_key key;
	struct text t = { .len = 0 };
	int err;

	assert(dhchap_hash_len(r->hash) && r->key->hash < NHASHES);
	err = augment(r, challenge);
	if (err)
		return err;
	add(&t, challenge, hashes[r->hash].len);
	add_little_endian(&t, r->seqnum, 4);
	add_little_endian(&t, r->t_id, 2);
	add_little_endian(&t, r->sc_c, 1);
	add(&t, role, strlen(role));
	add(&t, first, strlen(first));
	add(&t, "", 1);
	add(&t, second, strlen(second));
	err = transform(r->key, first, &key);
	if (!err)
		err = hmac(r->hash, key.bytes, key.len, t.bytes, t.len, ret);
	OPENSSL_cleanse(&key, sizeof(key));
	OPENSSL_cleanse(challenge, sizeof(challenge));
	OPENSSL_cleanse(&t, sizeof(t));
	return err;
}
