/*
 * ana: asymmetric namespace access, Base 2.1, 8.1.1. Which path hosts shall use for what.
 *
 * Each namespace is in one ANA group. A group has a state on each port of its subsystem, and a
 * controller belongs to the port its admin queue came through. What a controller's host is told and
 * how its commands are answered is all in the controller's ns_map: whatever changes groups or
 * states calls target_remap(), and the log page, its change counts and the events follow from the
 * difference of the maps.
 *
 * A namespace whose device is gone moves into a group of its own kind, ANA_GROUP_LOST, which is
 * inaccessible on every port. So the others of its group are not touched (a state is told for a
 * group, never for a namespace), a host with a path to another target that has the device fails
 * over to that, and a host with no such path waits, instead of failing I/O, until the device is
 * back and the namespace in its group again. Hosts learn of both by the group in the log page and
 * in Identify Namespace; ANACAP does not promise that it stays.
 *
 * All of this is the control thread's.
 */
#ifndef TARGET_ANA_H
#define TARGET_ANA_H

#include "config/config.h"

#include <sys/queue.h>

#define ANA_GROUP_LOST   (CONFIG_ANA_GROUPS + 1)
#define ANA_GROUP_MAX    ANA_GROUP_LOST /* ANAGRPMAX */
#define ANA_TRANSITION_S 30             /* ANATT: most seconds in the state "change" */

struct ana_transition;
struct controller;
struct ns_map;
struct ns_map_entry;
struct nvmf_req;
struct subsystem;
struct target;

/* The states of a subsystem's groups on one port. Its address stays. */
struct ana_port {
	uint16_t port_id;
	LIST_ENTRY(ana_port) entry;
	bool drained;                 /* inaccessible, whatever the groups' states are */
	struct ana_transition *drain; /* under way, or NULL */
	struct ana_group {
		enum config_ana state;
		bool ordered;                      /* by ana_set(), not by the configuration; */
		enum config_ana wanted;            /* then what: restart.h keeps it */
		struct ana_transition *transition; /* under way, or NULL */
	} group[CONFIG_ANA_GROUPS + 1];            /* [0] is not used */
};

LIST_HEAD(ana_ports, ana_port);

/* What a controller has counted: [0] the log page, [n] group n. */
struct ana_counts {
	uint64_t change[ANA_GROUP_MAX + 1];
};

/** ana_prepare() - the states, as @conf has them, for the ports of @conf that @s does not know yet;
 * to be given to ana_switch() or ana_drop(). 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int ana_prepare(const struct subsystem *s,
						    const struct config *conf,
						    struct ana_ports *ret_ports);

/** ana_switch() - @s has the ports of @conf: @ports are new, and those that are gone are forgotten;
 * their transitions are cancelled. */
void ana_switch(struct subsystem *s, const struct config *conf, struct ana_ports *ports);

/**
 * ana_follow() - set what @conf has otherwise than @before of the ports that both have. A state
 * that the administrator set, and the configuration does not change, stays. (Without memory to wait
 * for what is in flight it is not waited for.)
 */
void ana_follow(struct target *t, struct subsystem *s, const struct config *before,
		const struct config *conf);

/** ana_drop() - forget @ports; transitions that are under way are cancelled. */
void ana_drop(struct ana_ports *ports);

/** ana_state() - of @group of @s on port @port_id; optimized if nobody said otherwise. Through a
 * port that is not there any more, nothing is accessible. */
enum config_ana ana_state(const struct subsystem *s, uint16_t port_id, uint32_t group);

/** ana_wire_state() - as the log page has it. */
uint8_t ana_wire_state(enum config_ana state);

/**
 * ana_set() - set the state of @group of @s on port @port_id, 1..CONFIG_ANA_GROUPS.
 *
 * Where access ends, the group goes through the state "change": new commands are answered with
 * that, and when those in flight have ended (or after ANA_TRANSITION_S), the state is as wanted.
 * So once it is, nothing that came through this port is about to change a block.
 * @done: called when the state is as wanted, maybe before this returns, with 0, -ECANCELED (another
 * state was set meanwhile, or the subsystem is gone), -ETIMEDOUT (it is so, but commands are still
 * in flight after ANA_TRANSITION_S) or -EINPROGRESS (it is so, but there was no memory to tell
 * every controller, which is tried again each second: commands may be in flight). Not called on
 * failure. Return: 0; -ENOENT: no such port; -EINVAL: no such group; -ENOMEM: nothing has changed.
 */
__attribute__((warn_unused_result)) int ana_set(struct target *t, struct subsystem *s,
						uint16_t port_id, uint32_t group,
						enum config_ana state,
						void (*done)(void *arg, int err), void *arg);

/**
 * ana_drain() - from now on all groups of @s are inaccessible through port @port_id, but for those
 * that are in persistent loss, until ana_undrain(). The states themselves stay, and may be set.
 * @done: as ana_set()'s, when nothing is in flight any more; not called on failure. Return: 0;
 * -ENOENT: no such port; -ENOMEM: nothing has changed.
 */
__attribute__((warn_unused_result)) int ana_drain(struct target *t, struct subsystem *s,
						  uint16_t port_id,
						  void (*done)(void *arg, int err), void *arg);

/** ana_undrain() - the groups are reached as their states say; one that was not drained is fine.
 * Return: 0; -ENOENT: no such port; -ENOMEM: not every controller could be told. */
__attribute__((warn_unused_result)) int ana_undrain(struct target *t, struct subsystem *s,
						    uint16_t port_id);

/** ana_fill() - group, state and path status of the namespace in @e, as @c has them. */
void ana_fill(const struct controller *c, struct ns_map_entry *e);

/** ana_compare() - @c got a new map in place of @old: count what changed, and tell the host. */
void ana_compare(struct controller *c, const struct ns_map *old);

/** ana_log() - the log page, allocated; NULL: no memory. @groups_only: RGO. */
void *ana_log(const struct controller *c, bool groups_only, size_t *ret_len);

/** ana_admin_status() - of an admin command on a namespace that is not accessible on this path:
 * the status, for the few that need the namespace's media or state; else NVME_OK. */
uint16_t ana_admin_status(const struct nvmf_req *req);

#endif
