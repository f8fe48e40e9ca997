/*
 * reservation: who may use a namespace. The state machine of NVMe reservations, and nothing else:
 * no I/O, no locks, no memory of its own; it knows no controller and no namespace.
 * Base 2.1, 8.1.22; the commands: 7.2 to 7.5.
 *
 * A host is its Host Identifier, through whatever controller it comes. It registers with a key, and
 * of the registrants one (or, with the types "all registrants", every one) may hold the
 * reservation.
 */
#ifndef TARGET_RESERVATION_H
#define TARGET_RESERVATION_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESV_REGISTRANTS_MAX 128 /* hosts; one more is told Internal Error */

enum resv_type {
	RESV_NONE = 0, /* nobody holds one */
	RESV_WRITE_EXCLUSIVE = 1,
	RESV_EXCLUSIVE_ACCESS = 2,
	RESV_WRITE_EXCLUSIVE_REGISTRANTS = 3,
	RESV_EXCLUSIVE_ACCESS_REGISTRANTS = 4,
	RESV_WRITE_EXCLUSIVE_ALL = 5, /* every registrant is a holder */
	RESV_EXCLUSIVE_ACCESS_ALL = 6,
	RESV_NTYPES
};

enum { RESV_REGISTER = 0, RESV_UNREGISTER = 1, RESV_REPLACE = 2 };       /* RREGA */
enum { RESV_ACQUIRE = 0, RESV_PREEMPT = 1, RESV_PREEMPT_AND_ABORT = 2 }; /* RACQA */
enum { RESV_RELEASE = 0, RESV_CLEAR = 1 };                               /* RRELA */
enum { RESV_CPTPL_KEEP = 0, RESV_CPTPL_OFF = 2, RESV_CPTPL_ON = 3 };     /* CPTPL */
#define RESV_IEKEY UINT32_C(0x8) /* Ignore Existing Key, in dword 10 */

/* Never all zeros where it is somebody's. */
struct host_id {
	uint8_t byte[16];
};

struct resv_registrant {
	struct host_id host;
	uint64_t key; /* not 0 */
};

/* All zeros: no registrant, no reservation, nothing persists. */
struct reservation {
	uint32_t generation;
	bool ptpl; /* persists through power loss */
	enum resv_type type;
	struct host_id holder; /* zeros if there is none, or all registrants are */
	unsigned int n;
	struct resv_registrant registrant[RESV_REGISTRANTS_MAX];
};

/* What a host is to be told: types of the Reservation Notification log page. */
enum resv_note {
	RESV_REGISTRATION_PREEMPTED = 1,
	RESV_RESERVATION_RELEASED = 2,
	RESV_RESERVATION_PREEMPTED = 3,
};

/* What follows from a command; written by it, and of no meaning unless it succeeded. */
struct resv_effects {
	unsigned int n; /* every host at most once */
	struct resv_effect {
		struct host_id host;
		enum resv_note note;
	} to[RESV_REGISTRANTS_MAX];
	bool abort; /* commands that preempted hosts have in flight end first */
};

/*
 * The commands. @dw10: as in the SQE. Return: the NVMe status; *@r is unchanged unless it is
 * NVME_OK.
 */

/** reservation_register() - Reservation Register (0Dh). */
__attribute__((warn_unused_result)) uint16_t reservation_register(struct reservation *r,
								  struct host_id host,
								  uint32_t dw10, uint64_t crkey,
								  uint64_t nrkey,
								  struct resv_effects *ret);

/** reservation_acquire() - Reservation Acquire (11h). */
__attribute__((warn_unused_result)) uint16_t reservation_acquire(struct reservation *r,
								 struct host_id host, uint32_t dw10,
								 uint64_t crkey, uint64_t prkey,
								 struct resv_effects *ret);

/** reservation_release() - Reservation Release (15h). */
__attribute__((warn_unused_result)) uint16_t reservation_release(struct reservation *r,
								 struct host_id host, uint32_t dw10,
								 uint64_t crkey,
								 struct resv_effects *ret);

/** reservation_holds() - is this host a holder of the reservation? */
bool reservation_holds(const struct reservation *r, struct host_id host);

#define RESV_REPORT_LEN (64 + 64 * RESV_REGISTRANTS_MAX)

/** reservation_report() - the Reservation Status Extended data structure (Base 2.1, 7.5), into
 * @buf of RESV_REPORT_LEN bytes. Return: how many of them mean something. */
size_t reservation_report(const struct reservation *r, void *buf);

/** reservation_valid() - are its invariants true? For what comes from a file, and for tests. */
bool reservation_valid(const struct reservation *r);

/* ---- who may do what ----------------------------------------------------------------------------
 */

/* Groups of commands: Base 2.1, 8.1.22, figure "Command Behavior in the Presence of a Reservation"
 */
enum resv_group {
	RESV_ANY, /* conflicts with nothing */
	RESV_READS,
	RESV_WRITES,
};

/* immutable: what a reactor needs to know of a reservation that somebody holds */
struct resv_view {
	enum resv_type type;
	struct host_id holder;
	unsigned int n;
	struct host_id registrant[];
};

/** reservation_view() - a copy for the reactors, to be freed; *@ret is NULL if nobody holds a
 * reservation. Return: 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int reservation_view(const struct reservation *r,
							 struct resv_view **ret);

/** resv_view_allows() - may @host run a command of @group? Any thread. */
bool resv_view_allows(const struct resv_view *v, struct host_id host, enum resv_group group);

static inline bool resv_all_hold(enum resv_type type)
{
	return type == RESV_WRITE_EXCLUSIVE_ALL || type == RESV_EXCLUSIVE_ACCESS_ALL;
}

#endif
