/*
 * restart: what hosts find again when the daemon was started anew, beside what has files of its own
 * (reservation_file.h, protect.c):
 *
 *  - The generation counter of the discovery log. It is on the disk before a host can see it; a
 *    start finds it as it was, or one more if what the log can show has changed meanwhile.
 *  - Controller IDs. Those of the controllers that are there are in a file; a host that had one
 *    when the daemon ended, in whatever way, gets it again when it connects to the same subsystem
 *    through the same port. Nobody else gets it meanwhile, as long as there are others.
 *  - ANA states that an administrator has set, until the machine boots.
 *
 * All are written by the worker. The latter two a moment after they change, and nobody waits for
 * it. Control thread.
 */
#ifndef TARGET_RESTART_H
#define TARGET_RESTART_H

#include "target/durable.h"

#include <stddef.h>
#include <stdint.h>

struct subsystem;
struct target;

/* Whom something is kept for: a name-based UUID of its names. */
struct restart_key {
	uint8_t byte[16];
};

/* A line of the file. */
struct restart_entry {
	struct restart_key key;
	uint16_t value;
	uint16_t kind; /* enum restart_kind */
};
enum restart_kind { RESTART_CNTLID, RESTART_ANA };

#define RESTART_UNCLAIMED_MAX 1024 /* IDs kept for hosts that are not there; the oldest go */

/* A file of ours. */
struct restart_file {
	struct durable_job job; /* first */
	struct target *t;
	bool saving, again; /* it is being written; and is old already */
	void *buf;          /* what is being written */
};

/* What was found; embedded in the target, zero at first. */
struct restart {
	struct restart_entry *found;
	size_t nfound;
	struct restart_file controllers, discovery;
	bool failed; /* said so */
};

/** restart_load() - find what a former daemon left, before any subsystem is made. A file that is
 * damaged is said and taken for none. Return: 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int restart_load(struct target *t);

/** restart_fini() - waits for what is being written. */
void restart_fini(struct target *t);

/** restart_key() - of a host's controller of @s through port @port_id. */
struct restart_key restart_key(const struct subsystem *s, uint16_t port_id, const char *hostnqn,
			       const uint8_t hostid[16]);

/** restart_take_cntlid() - the ID that @key had, if it is in @min..@max and free; 0: none. It is
 * kept no more. */
uint16_t restart_take_cntlid(struct target *t, const struct restart_key *key, uint16_t min,
			     uint16_t max);

/** restart_keeps_cntlid() - is it kept for a host that has not come back? */
bool restart_keeps_cntlid(const struct target *t, uint16_t cntlid);

/** restart_take_ana() - the state that was set; it is the caller's to keep now. False: none was. */
bool restart_take_ana(struct target *t, const struct subsystem *s, uint16_t port_id, uint32_t group,
		      unsigned int *ret_state);

/** restart_changed() - controllers or ANA states did: write them down soon. */
void restart_changed(struct target *t);

/** restart_save_discovery() - have the generation counter on the disk, with what it stands for now;
 * then target_discovery_kept() is called, once for all that has changed meanwhile. */
void restart_save_discovery(struct target *t);

/** restart_need_discovery() - somebody is about to see the counter: wait until it is on the disk.
 * Blocks, if it is being saved at that very moment. */
void restart_need_discovery(struct target *t);

/** restart_load_discovery() - the target's generation counter; the configuration is set. Blocks. */
void restart_load_discovery(struct target *t);

/* Decode the file: pure. Return: 0, -ENOMEM or -EBADMSG; @ret_found is to be freed. */
struct restart_header {
	uint16_t next_cntlid;
	uint8_t boot[16]; /* of the machine, when it was written */
};
__attribute__((warn_unused_result)) int restart_decode(const void *buf, size_t len,
						       struct restart_header *ret_header,
						       struct restart_entry **ret_found,
						       size_t *ret_n);

#endif
