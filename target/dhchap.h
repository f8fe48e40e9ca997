/*
 * dhchap: the arithmetic of DH-HMAC-CHAP (Base 2.1, 8.3.5.5), on OpenSSL. Buffers in, buffers out:
 * it knows no message, no queue and no file. Any thread. auth.h has the protocol.
 *
 *      K'  = HMAC(K, NQN || "NVMe-over-Fabrics")           a key, transformed
 *      Ks  = H(g^xy mod p)                                 session key; none with the NULL group
 *      Ca  = HMAC(Ks, C)                                   augmented challenge; C with the NULL
 * group R1  = HMAC(Kh', Ca1 || S1 || T_ID || SC_C || "HostHost" || NQNh || 00h || NQNc) R2  =
 * HMAC(Kc', Ca2 || S2 || T_ID || SC_C || "Controller" || NQNc || 00h || NQNh)
 *
 * Whatever holds a secret here is wiped before it is freed or returns; results are the caller's to
 * wipe (OPENSSL_cleanse()).
 */
#ifndef TARGET_DHCHAP_H
#define TARGET_DHCHAP_H

#include "config/config.h"

#define DHCHAP_HASH_MAX 64   /* bytes */
#define DHCHAP_DH_MAX   1024 /* bytes */

/** dhchap_hash_len() - bytes of hash function @id (1..3); 0: there is no such. */
size_t dhchap_hash_len(uint8_t id);

/** dhchap_hash_name(), dhchap_group_name() - for the log; NULL: there is no such. */
const char *dhchap_hash_name(uint8_t id);
const char *dhchap_group_name(uint8_t id);

/** dhchap_group_len() - bytes of a value of Diffie-Hellman group @id; 0: NULL group, or no such. */
size_t dhchap_group_len(uint8_t id);

/** struct dhchap_dh - one side's private value of one exchange. */
struct dhchap_dh;

/**
 * dhchap_dh_create() - a new private value in group @id, not the NULL group.
 * @public: gets dhchap_group_len() bytes, big-endian. Takes milliseconds (7 for ffdhe8192).
 * Return: 0 or -EIO.
 */
__attribute__((warn_unused_result)) int dhchap_dh_create(uint8_t id, struct dhchap_dh **ret_dh,
							 uint8_t *ret_public);

/** dhchap_dh_destroy() - wipe and free. NULL is fine. */
void dhchap_dh_destroy(struct dhchap_dh *dh);

/**
 * dhchap_session_key() - Ks of @dh and the other side's public value @peer, of the group's length.
 * @ret: gets the bytes of hash function @hash. Takes as long as dhchap_dh_create().
 * Return: 0; -ERANGE: @peer is not between 2 and p - 2; -EIO.
 */
__attribute__((warn_unused_result)) int dhchap_session_key(const struct dhchap_dh *dh, uint8_t hash,
							   const uint8_t *peer, uint8_t *ret);

struct dhchap_response {
	uint8_t hash;
	bool controller;                     /* R2, not R1 */
	const struct config_dhchap_key *key; /* as configured */
	const uint8_t *challenge;            /* dhchap_hash_len() bytes */
	const uint8_t *session_key;          /* likewise; NULL: NULL group */
	uint32_t seqnum;
	uint16_t t_id;
	uint8_t sc_c;
	const char *hostnqn, *subnqn;
};

/** dhchap_respond() - R1 or R2, dhchap_hash_len() bytes. Return: 0 or -EIO. */
__attribute__((warn_unused_result)) int dhchap_respond(const struct dhchap_response *r,
						       uint8_t *ret);

#endif
