/*
 * auth: DH-HMAC-CHAP as a controller speaks it (Base 2.1, 8.3.5): messages in, messages out, one
 * struct auth for each queue. It knows no queue, no thread and no clock; authenticate.c has those.
 *
 *      host                       controller
 *      Send    Negotiate   ---->  auth_message()    choose hash and group; [compute a DH value]
 *      Receive Challenge   <----  auth_answer()
 *      Send    Reply       ---->  auth_message()    [compute the session key]; check R1
 *      Receive Success1    <----  auth_answer()     with R2 if the host wants to see it
 *     [Send    Success2    ---->  auth_message()]   or Failure2
 *
 * What goes wrong here is answered to the next Receive by Failure1, and then nothing works any
 * more: the connection is to be ended. The host may start a new transaction at any time before.
 */
#ifndef TARGET_AUTH_H
#define TARGET_AUTH_H

#include "target/dhchap.h"
#include "target/nvme_wire.h"

/* Named for what is waited for. */
enum auth_state {
	AUTH_WAIT_NEGOTIATE, /* no transaction is going on */
	AUTH_WAIT_DH_VALUE,  /* auth_compute() */
	AUTH_WAIT_FETCH_CHALLENGE,
	AUTH_WAIT_REPLY,
	AUTH_WAIT_SESSION_KEY, /* auth_compute() */
	AUTH_WAIT_FETCH_SUCCESS1,
	AUTH_WAIT_SUCCESS2,
	AUTH_WAIT_FETCH_FAILURE1,
	AUTH_OVER, /* failed, and the host knows */
};
#define AUTH_NSTATES (AUTH_OVER + 1)

/* One thread at a time. */
struct auth {
	enum auth_state state;
	bool authenticated; /* once was enough; a later failure ends the connection */
	enum auth_explanation explanation; /* of the failure */
	/* private: */
	char hostnqn[CONFIG_NQN_MAX + 1], subnqn[CONFIG_NQN_MAX + 1];
	/* of the transaction, wiped when it is over */
	struct auth_transaction {
		uint16_t t_id;
		uint8_t hash, group;
		uint32_t s1, s2;
		bool mutual;
		struct config_dhchap_key host_key, ctrl_key;
		uint8_t c1[DHCHAP_HASH_MAX], c2[DHCHAP_HASH_MAX];
		uint8_t response[DHCHAP_HASH_MAX]; /* the host's, then ours */
		uint8_t session_key[DHCHAP_HASH_MAX];
		uint8_t dh_value[DHCHAP_DH_MAX]; /* ours, then the host's */
		struct dhchap_dh *dh;
		int compute_err;
	} t;
};

/** auth_init() - for the names that were in the Connect command. */
void auth_init(struct auth *a, const char *hostnqn, const char *subnqn);

/** auth_fini() - wipe it. */
void auth_fini(struct auth *a);

/**
 * auth_message() - the host sent @len bytes @msg, whatever they are.
 * @host: its keys as they are now, which are copied; NULL: nothing is known of it.
 * @seqnum: counts sequence numbers, for all queues; starts at random.
 * Not while auth_must_compute(), nor when over.
 */
void auth_message(struct auth *a, const struct config_host *host, uint32_t *seqnum, const void *msg,
		  size_t len);

/** auth_must_compute() - auth_compute() and auth_computed() must be called before anything else. */
bool auth_must_compute(const struct auth *a);

/** auth_compute() - Diffie-Hellman, for milliseconds: in any thread. */
void auth_compute(struct auth *a);

/** auth_computed() - go on after it. */
void auth_computed(struct auth *a);

/**
 * auth_answer() - the host wants to receive a message: put it into @buf, and zeros behind it.
 * A message that the host does not wait for yet is Failure1. Not while auth_must_compute().
 * Return: 0; -EMSGSIZE: @len is too short for it, and it can be fetched again; -ENOMSG: there is no
 * transaction, or it is over.
 */
__attribute__((warn_unused_result)) int auth_answer(struct auth *a, void *buf, size_t len);

/** auth_give_up() - auth_compute() cannot be called: as if it had failed. */
void auth_give_up(struct auth *a);

/** auth_abandon() - forget the transaction, the host took too long. Not while auth_must_compute(),
 * nor when it failed: then the connection is to be ended. */
void auth_abandon(struct auth *a);

/** auth_explanation_text() - for the log. */
const char *auth_explanation_text(enum auth_explanation e);

#endif
