#include "target/reservation.h"

#include "target/nvme_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct host_id nobody;

static bool same_host(struct host_id a, struct host_id b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static struct resv_registrant *find(struct reservation *r, struct host_id host)
{
	for (unsigned int i = 0; i < r->n; i++)
		if (same_host(r->registrant[i].host, host))
			return &r->registrant[i];
	return NULL;
}

bool reservation_holds(const struct reservation *r, struct host_id host)
{
	if (!resv_all_hold(r->type))
		return r->type != RESV_NONE && same_host(r->holder, host);
	for (unsigned int i = 0; i < r->n; i++)
		if (same_host(r->registrant[i].host, host))
			return true;
	return false;
}

bool reservation_valid(const struct reservation *r)
{
	bool holder_registered = false;

	if (r->n > RESV_REGISTRANTS_MAX || (unsigned int)r->type >= RESV_NTYPES)
		return false;
	for (unsigned int i = 0; i < r->n; i++) {
		const struct resv_registrant *g = &r->registrant[i];

		if (g->key == 0 || same_host(g->host, nobody))
			return false;
		for (unsigned int j = 0; j < i; j++)
			if (same_host(g->host, r->registrant[j].host))
				return false;
		holder_registered |= same_host(g->host, r->holder);
	}
	if (resv_all_hold(r->type))
		return r->n > 0 && same_host(r->holder, nobody);
	return r->type == RESV_NONE ? same_host(r->holder, nobody) : holder_registered;
}

/* ---- steps --------------------------------------------------------------------------------------
 */

static void note(struct resv_effects *e, struct host_id host, enum resv_note what)
{
	assert(e->n < RESV_REGISTRANTS_MAX);
	e->to[e->n++] = (struct resv_effect){ host, what };
}

static void note_others(struct resv_effects *e, const struct reservation *r, struct host_id but,
			enum resv_note what)
{
	for (unsigned int i = 0; i < r->n; i++)
		if (!same_host(r->registrant[i].host, but))
			note(e, r->registrant[i].host, what);
}

static void hold(struct reservation *r, struct host_id host, enum resv_type type)
{
	r->type = type;
	r->holder = resv_all_hold(type) ? nobody : host;
}

static void let_go(struct reservation *r)
{
	r->type = RESV_NONE;
	r->holder = nobody;
}

static void remove_registrant(struct reservation *r, unsigned int i)
{
	memmove(&r->registrant[i], &r->registrant[i + 1],
		(r->n - i - 1) * sizeof(r->registrant[0]));
	r->registrant[--r->n] = (struct resv_registrant){ 0 };
}

/* The registrant's key is the one that the command names, or the command is refused. */
static struct resv_registrant *find_by_key(struct reservation *r, struct host_id host,
					   uint64_t crkey)
{
	struct resv_registrant *g = find(r, host);

	return g && g->key == crkey ? g : NULL;
}

#define CONFLICT (NVME_RESERVATION_CONFLICT | NVME_DNR)
#define INVALID  (NVME_INVALID_FIELD | NVME_DNR)

/* ---- Reservation Register -----------------------------------------------------------------------
 */

static uint16_t add(struct reservation *r, struct host_id host, uint64_t key)
{
	if (r->n == RESV_REGISTRANTS_MAX)
		return NVME_INTERNAL_ERROR | NVME_DNR;
	r->registrant[r->n++] = (struct resv_registrant){ host, key };
	return NVME_OK;
}

/* A second time with the same key is no error: 8.1.22.3. */
static uint16_t register_key(struct reservation *r, struct host_id host, uint64_t nrkey)
{
	const struct resv_registrant *g = find(r, host);

	if (!g)
		return add(r, host, nrkey);
	return g->key == nrkey ? NVME_OK : CONFLICT;
}

/* Who ignores the existing key need not have one: 8.1.22.3, "registers". */
static uint16_t replace_key(struct reservation *r, struct host_id host, bool ignore, uint64_t crkey,
			    uint64_t nrkey)
{
	struct resv_registrant *g = ignore ? find(r, host) : find_by_key(r, host, crkey);

	if (!g)
		return ignore ? add(r, host, nrkey) : CONFLICT;
	g->key = nrkey;
	return NVME_OK;
}

/* 8.1.22.4: a reservation ends with its holder, or with the last of all holders. Who shared it
 * without holding it is told. */
static uint16_t unregister(struct reservation *r, struct host_id host, bool ignore, uint64_t crkey,
			   struct resv_effects *e)
{
	struct resv_registrant *g = ignore ? find(r, host) : find_by_key(r, host, crkey);
	bool held = reservation_holds(r, host);

	if (!g)
		return CONFLICT;
	remove_registrant(r, (unsigned int)(g - r->registrant));
	if (!held || (resv_all_hold(r->type) && r->n > 0))
		return NVME_OK;
	if (r->type == RESV_WRITE_EXCLUSIVE_REGISTRANTS ||
	    r->type == RESV_EXCLUSIVE_ACCESS_REGISTRANTS)
		note_others(e, r, host, RESV_RESERVATION_RELEASED);
	let_go(r);
	return NVME_OK;
}

uint16_t reservation_register(struct reservation *r, struct host_id host, uint32_t dw10,
			      uint64_t crkey, uint64_t nrkey, struct resv_effects *ret)
{
	uint32_t action = dw10 & 7, cptpl = dw10 >> 30;
	bool ignore = dw10 & RESV_IEKEY;
	uint16_t status = INVALID;

	ret->n = 0;
	ret->abort = false;
	if (cptpl == 1)
		return INVALID;
	/* key 0 would be one that PRKEY cannot name: there it means all registrants */
	if (action != RESV_UNREGISTER && nrkey == 0)
		return INVALID;
	if (action == RESV_REGISTER)
		status = register_key(r, host, nrkey);
	else if (action == RESV_UNREGISTER)
		status = unregister(r, host, ignore, crkey, ret);
	else if (action == RESV_REPLACE)
		status = replace_key(r, host, ignore, crkey, nrkey);
	if (status)
		return status;
	if (cptpl != RESV_CPTPL_KEEP)
		r->ptpl = cptpl == RESV_CPTPL_ON;
	r->generation++;
	return NVME_OK;
}

/* ---- Reservation Acquire ------------------------------------------------------------------------
 */

/* 8.1.22.5 */
static uint16_t acquire(struct reservation *r, struct host_id host, enum resv_type type)
{
	if (r->type == RESV_NONE) {
		hold(r, host, type);
		return NVME_OK;
	}
	/* what it holds already is no error */
	return reservation_holds(r, host) && r->type == type ? NVME_OK : CONFLICT;
}

/* Unregister who has this key, or, with key 0, whoever; but not @but. Return: how many. */
static unsigned int preempt_registrants(struct reservation *r, struct host_id host, uint64_t key,
					struct host_id but, struct resv_effects *e)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->n;) {
		struct resv_registrant g = r->registrant[i];

		if ((key && g.key != key) || same_host(g.host, but)) {
			i++;
			continue;
		}
		if (!same_host(g.host, host))
			note(e, g.host, RESV_REGISTRATION_PREEMPTED);
		remove_registrant(r, i);
		n++;
	}
	return n;
}

/* The reservation goes to @host; it may have been its own. */
static void take_over(struct reservation *r, struct host_id host, uint64_t key, enum resv_type type,
		      struct resv_effects *e)
{
	(void)preempt_registrants(r, host, key, host, e);
	if (r->type != type)
		note_others(e, r, host, RESV_RESERVATION_RELEASED);
	hold(r, host, type);
}

/* 8.1.22.7. What the preempted key stands for depends on the reservation there is. */
static uint16_t preempt(struct reservation *r, struct host_id host, enum resv_type type,
			uint64_t prkey, struct resv_effects *e)
{
	bool all = resv_all_hold(r->type);
	const struct resv_registrant *holder = find(r, r->holder);

	if (all ? prkey == 0 : holder && prkey == holder->key) {
		take_over(r, host, prkey, type, e);
		return NVME_OK;
	}
	if (prkey == 0)
		return holder ? INVALID : CONFLICT;
	/* registrants only; it may be the host itself */
	if (preempt_registrants(r, host, prkey, nobody, e) == 0)
		return CONFLICT;
	if (all && r->n == 0)
		let_go(r);
	return NVME_OK;
}

uint16_t reservation_acquire(struct reservation *r, struct host_id host, uint32_t dw10,
			     uint64_t crkey, uint64_t prkey, struct resv_effects *ret)
{
	uint32_t action = dw10 & 7, type = dw10 >> 8 & 0xff;
	uint16_t status;

	ret->n = 0;
	ret->abort = false;
	/* IEKEY is for Register alone: RESCAP.IEKEY13 */
	if (action > RESV_PREEMPT_AND_ABORT || dw10 & RESV_IEKEY || type == RESV_NONE ||
	    type >= RESV_NTYPES)
		return INVALID;
	if (!find_by_key(r, host, crkey))
		return CONFLICT;
	if (action == RESV_ACQUIRE)
		return acquire(r, host, (enum resv_type)type);
	status = preempt(r, host, (enum resv_type)type, prkey, ret);
	if (status)
		return status;
	ret->abort = action == RESV_PREEMPT_AND_ABORT;
	r->generation++;
	return NVME_OK;
}

/* ---- Reservation Release ------------------------------------------------------------------------
 */

/* 8.1.22.6. Who holds nothing releases nothing, and that is no error. */
static uint16_t release(struct reservation *r, struct host_id host, uint32_t type,
			struct resv_effects *e)
{
	if (!reservation_holds(r, host))
		return NVME_OK;
	if (type != (uint32_t)r->type)
		return INVALID;
	if (r->type != RESV_WRITE_EXCLUSIVE && r->type != RESV_EXCLUSIVE_ACCESS)
		note_others(e, r, host, RESV_RESERVATION_RELEASED);
	let_go(r);
	return NVME_OK;
}

uint16_t reservation_release(struct reservation *r, struct host_id host, uint32_t dw10,
			     uint64_t crkey, struct resv_effects *ret)
{
	uint32_t action = dw10 & 7;

	ret->n = 0;
	ret->abort = false;
	if (action > RESV_CLEAR || dw10 & RESV_IEKEY)
		return INVALID;
	if (!find_by_key(r, host, crkey))
		return CONFLICT;
	if (action == RESV_RELEASE)
		return release(r, host, dw10 >> 8 & 0xff, ret);
	note_others(ret, r, host, RESV_RESERVATION_PREEMPTED);
	*r = (struct reservation){ .generation = r->generation + 1, .ptpl = r->ptpl };
	return NVME_OK;
}

/* ---- Reservation Report -------------------------------------------------------------------------
 */

/* Base 2.1, 7.5, figures "Reservation Status Extended" and "Registered Controller Extended" */
struct status_header {
	le32 generation;
	uint8_t type;
	uint8_t nregistered[2]; /* little-endian, unaligned */
	uint8_t rsvd7[2];
	uint8_t ptpl;
	uint8_t rsvd10[54];
};
static_assert(sizeof(struct status_header) == 64, "Base 2.1, 7.5");

struct status_entry {
	le16 cntlid;
	uint8_t status; /* bit 0: holds the reservation */
	uint8_t rsvd3[5];
	le64 key;
	struct host_id host;
	uint8_t rsvd32[32];
};
static_assert(sizeof(struct status_entry) == 64 && offsetof(struct status_entry, host) == 16,
	      "Base 2.1, 7.5");

/* One entry for each host, as for all controllers of the dynamic model: CNTLID FFFFh. */
size_t reservation_report(const struct reservation *r, void *buf)
{
	struct status_header *h = buf;
	struct status_entry *entry = (void *)(h + 1);

	memset(buf, 0, RESV_REPORT_LEN);
	h->generation = put32(r->generation);
	h->type = (uint8_t)r->type;
	h->nregistered[0] = (uint8_t)r->n;
	h->nregistered[1] = (uint8_t)(r->n >> 8);
	h->ptpl = r->ptpl;
	for (unsigned int i = 0; i < r->n; i++) {
		entry[i].cntlid = put16(0xffff);
		entry[i].status = reservation_holds(r, r->registrant[i].host);
		entry[i].key = put64(r->registrant[i].key);
		entry[i].host = r->registrant[i].host;
	}
	return sizeof(*h) + r->n * sizeof(*entry);
}

/* ---- who may do what ----------------------------------------------------------------------------
 */

int reservation_view(const struct reservation *r, struct resv_view **ret)
{
	struct resv_view *v;

	if (r->type == RESV_NONE) {
		*ret = NULL;
		return 0;
	}
	v = calloc(1, sizeof(*v) + r->n * sizeof(v->registrant[0]));
	if (!v)
		return -ENOMEM;
	v->type = r->type;
	v->holder = r->holder;
	v->n = r->n;
	for (unsigned int i = 0; i < r->n; i++)
		v->registrant[i] = r->registrant[i].host;
	*ret = v;
	return 0;
}

/* What the types forbid: to whom, and which commands. */
static const struct {
	enum resv_group least; /* the first group that is refused */
	bool registrants_may;
} rules[RESV_NTYPES] = {
	[RESV_WRITE_EXCLUSIVE] = { RESV_WRITES, false },
	[RESV_EXCLUSIVE_ACCESS] = { RESV_READS, false },
	[RESV_WRITE_EXCLUSIVE_REGISTRANTS] = { RESV_WRITES, true },
	[RESV_EXCLUSIVE_ACCESS_REGISTRANTS] = { RESV_READS, true },
	[RESV_WRITE_EXCLUSIVE_ALL] = { RESV_WRITES, true },
	[RESV_EXCLUSIVE_ACCESS_ALL] = { RESV_READS, true },
};

bool resv_view_allows(const struct resv_view *v, struct host_id host, enum resv_group group)
{
	if (group < rules[v->type].least)
		return true;
	if (same_host(v->holder, host))
		return !same_host(host, nobody);
	for (unsigned int i = 0; i < v->n && rules[v->type].registrants_may; i++)
		if (same_host(v->registrant[i], host))
			return true;
	return false;
}
