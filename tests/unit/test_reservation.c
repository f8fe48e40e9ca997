/* The state machine of reservations against rows, against the specification's table, and against a
 * slow model of it; and the file they persist in. */
#include "target/reservation.h"

#include "target/nvme_wire.h"
#include "tests/unit/suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file's system calls, which can be made to fail -----------------------------------------
 */

static int fail_at; /* 1: the next; 0: never */
static int nfailed;

/* What fails does so before anything is done, or (fsync, close to it) after. */
static bool fails(void)
{
	if (fail_at == 0 || --fail_at)
		return false;
	nfailed++;
	errno = EIO;
	return true;
}

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t short_write(int fd, const void *p, size_t len)
{
	return write(fd, p, len > 100 ? 100 : len);
}

#define open(...)     (fails() ? -1 : open(__VA_ARGS__))
#define openat(...)   (fails() ? -1 : openat(__VA_ARGS__))
#define mkdir(...)    (fails() ? -1 : mkdir(__VA_ARGS__))
#define fsync(fd)     (fails() ? -1 : fsync(fd))
#define renameat(...) (fails() ? -1 : renameat(__VA_ARGS__))
#define unlinkat(...) (fails() ? -1 : unlinkat(__VA_ARGS__))
#define read(...)     (fails() ? -1 : read(__VA_ARGS__))
#define write(...)    (fails() ? -1 : short_write(__VA_ARGS__))
#include "target/durable.c"
#include "target/reservation_file.c"
#undef open
#undef openat
#undef mkdir
#undef fsync
#undef renameat
#undef unlinkat
#undef read
#undef write

/* ---- a short notation ---------------------------------------------------------------------------
 *
 * A state: type, then the registrants as host, key, and * for the holder: "3 A1* B2".
 * A command: host, what, and its numbers: "B preempt 2 1 4" is CRKEY 2, PRKEY 1, RTYPE 4.
 * Who is told: host and p (registration preempted), r (reservation released) or c (reservation
 * preempted): "Ap Cr". "abort": commands in flight are waited for.
 */

static struct host_id host(unsigned int i)
{
	struct host_id h = { { 0xee, (uint8_t)(i >> 8), (uint8_t)i, 1 } };

	return h;
}

static unsigned int number_of(struct host_id h)
{
	return (unsigned int)h.byte[1] << 8 | h.byte[2];
}

static struct reservation parse_state(const char *s)
{
	struct reservation r = { .generation = 7, .type = (enum resv_type)(*s++ - '0') };

	for (; *s == ' '; s++) {
		struct resv_registrant *g = &r.registrant[r.n++];

		g->host = host((unsigned int)(s[1] - 'A'));
		g->key = (uint64_t)strtoull(s + 2, (char **)(uintptr_t)&s, 10);
		if (*s == '*')
			r.holder = g->host;
		else
			s--;
	}
	ck_assert_int_eq(*s, '\0');
	ck_assert_msg(reservation_valid(&r), "a state that cannot be");
	return r;
}

static void print_state(const struct reservation *r, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%u", (unsigned int)r->type);

	for (unsigned int i = 0; i < r->n; i++)
		n += (size_t)snprintf(
			out + n, size - n, " %c%llu%s", 'A' + (int)number_of(r->registrant[i].host),
			(unsigned long long)r->registrant[i].key,
			memcmp(&r->holder, &r->registrant[i].host, sizeof(r->holder)) == 0 ? "*"
											   : "");
}

static void print_effects(const struct resv_effects *e, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned int i = 0; i < e->n; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%c%c", n ? " " : "",
				      'A' + (int)number_of(e->to[i].host), " prc"[e->to[i].note]);
	if (e->abort)
		snprintf(out + n, size - n, "%sabort", n ? " " : "");
}

enum verb { REGISTER, UNREGISTER, REPLACE, ACQUIRE, PREEMPT, ABORT, RELEASE, CLEAR, NVERBS };
static const char *const verbs[NVERBS] = { "register", "unregister", "replace", "acquire",
					   "preempt",  "abort",      "release", "clear" };

struct cmd {
	unsigned int host;
	enum verb verb;
	bool ignore;
	uint32_t cptpl, type;
	uint64_t crkey, key2; /* NRKEY or PRKEY */
};

static uint16_t run(struct reservation *r, const struct cmd *c, struct resv_effects *e)
{
	uint32_t iekey = c->ignore ? 8 : 0, type = c->type << 8;

	switch (c->verb) {
	case REGISTER:
	case UNREGISTER:
	case REPLACE:
		return reservation_register(r, host(c->host),
					    (uint32_t)(c->verb - REGISTER) | iekey | c->cptpl << 30,
					    c->crkey, c->key2, e);
	case ACQUIRE:
	case PREEMPT:
	case ABORT:
		return reservation_acquire(r, host(c->host),
					   (uint32_t)(c->verb - ACQUIRE) | iekey | type, c->crkey,
					   c->key2, e);
	case RELEASE:
	case CLEAR:
		return reservation_release(r, host(c->host),
					   (uint32_t)(c->verb - RELEASE) | iekey | type, c->crkey,
					   e);
	case NVERBS:
		break;
	}
	abort();
}

static struct cmd parse_cmd(const char *s)
{
	struct cmd c = { .host = (unsigned int)(s[0] - 'A'), .verb = NVERBS };
	unsigned long long a = 0, b = 0, t = 0;
	char word[16];
	int n = 0, at = 0;

	sscanf(s + 1, " %15s %n", word, &at);
	s += 1 + at;
	for (unsigned int v = 0; v < NVERBS; v++)
		if (strcmp(word, verbs[v]) == 0)
			c.verb = (enum verb)v;
	if (*s == '!') { /* ignore the existing key */
		c.ignore = true;
		s += 2;
	}
	n = sscanf(s, "%llu %llu %llu", &a, &b, &t);
	ck_assert_msg(c.verb != NVERBS && n >= 1, "no command: %s", s);
	c.crkey = a;
	if (c.verb == REGISTER)
		c.key2 = a;
	else if (c.verb == REPLACE || c.verb == PREEMPT || c.verb == ABORT)
		c.key2 = b;
	c.type = (uint32_t)(c.verb == PREEMPT || c.verb == ABORT ? t : b);
	return c;
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

#define OK       NVME_OK
#define CONFL    (NVME_RESERVATION_CONFLICT | NVME_DNR)
#define BADFIELD (NVME_INVALID_FIELD | NVME_DNR)

static const struct row {
	const char *before, *command;
	uint16_t status;
	const char *after, *told;
	unsigned int generations;
} rows[] = {
	/* register */
	{ "0", "A register 1", OK, "0 A1", "", 1 },
	{ "0 A1", "A register 1", OK, "0 A1", "", 1 },
	{ "0 A1", "A register 2", CONFL, "0 A1", "", 0 },
	{ "0 A1", "B register 1", OK, "0 A1 B1", "", 1 },
	{ "0", "A register 0", BADFIELD, "0", "", 0 },
	{ "2 A1*", "B register 2", OK, "2 A1* B2", "", 1 },
	{ "6 A1", "B register 2", OK, "6 A1 B2", "", 1 },
	/* replace */
	{ "0", "A replace 1 2", CONFL, "0", "", 0 },
	{ "0", "A replace ! 1 2", OK, "0 A2", "", 1 },
	{ "0 A1", "A replace 1 2", OK, "0 A2", "", 1 },
	{ "0 A1", "A replace 3 2", CONFL, "0 A1", "", 0 },
	{ "0 A1", "A replace ! 3 2", OK, "0 A2", "", 1 },
	{ "0 A1", "A replace 1 0", BADFIELD, "0 A1", "", 0 },
	{ "1 A1* B2", "A replace 1 5", OK, "1 A5* B2", "", 1 },
	{ "1 A1* B2", "B replace 1 5", CONFL, "1 A1* B2", "", 0 },
	/* unregister, by type of the reservation */
	{ "0", "A unregister 1", CONFL, "0", "", 0 },
	{ "0", "A unregister ! 1", CONFL, "0", "", 0 },
	{ "0 A1", "A unregister 2", CONFL, "0 A1", "", 0 },
	{ "0 A1", "A unregister ! 2", OK, "0", "", 1 },
	{ "0 A1 B2 C3", "B unregister 2", OK, "0 A1 C3", "", 1 },
	{ "1 A1* B2", "A unregister 1", OK, "0 B2", "", 1 },
	{ "2 A1* B2", "A unregister 1", OK, "0 B2", "", 1 },
	{ "3 A1* B2 C3", "A unregister 1", OK, "0 B2 C3", "Br Cr", 1 },
	{ "4 B2 A1* C3", "A unregister 1", OK, "0 B2 C3", "Br Cr", 1 },
	{ "5 A1 B2", "A unregister 1", OK, "5 B2", "", 1 },
	{ "6 A1 B2", "A unregister 1", OK, "6 B2", "", 1 },
	{ "6 A1", "A unregister 1", OK, "0", "", 1 },
	{ "3 A1* B2", "B unregister 2", OK, "3 A1*", "", 1 },
	/* acquire */
	{ "0", "A acquire 1 1", CONFL, "0", "", 0 },
	{ "0 A1", "A acquire 2 1", CONFL, "0 A1", "", 0 },
	{ "0 A1", "A acquire ! 1 1", BADFIELD, "0 A1", "", 0 },
	{ "0 A1", "A acquire 1 0", BADFIELD, "0 A1", "", 0 },
	{ "0 A1", "A acquire 1 7", BADFIELD, "0 A1", "", 0 },
	{ "0 A1", "A acquire 1 1", OK, "1 A1*", "", 0 },
	{ "0 A1", "A acquire 1 2", OK, "2 A1*", "", 0 },
	{ "0 A1", "A acquire 1 3", OK, "3 A1*", "", 0 },
	{ "0 A1", "A acquire 1 4", OK, "4 A1*", "", 0 },
	{ "0 A1", "A acquire 1 5", OK, "5 A1", "", 0 },
	{ "0 A1", "A acquire 1 6", OK, "6 A1", "", 0 },
	{ "1 A1*", "A acquire 1 1", OK, "1 A1*", "", 0 },
	{ "1 A1*", "A acquire 1 2", CONFL, "1 A1*", "", 0 },
	{ "1 A1* B2", "B acquire 2 1", CONFL, "1 A1* B2", "", 0 },
	{ "5 A1 B2", "B acquire 2 5", OK, "5 A1 B2", "", 0 },
	{ "5 A1 B2", "B acquire 2 6", CONFL, "5 A1 B2", "", 0 },
	{ "5 A1", "B acquire 2 5", CONFL, "5 A1", "", 0 },
	/* preempt: registrants only, there is no reservation */
	{ "0 A1 B2", "A preempt 1 2 1", OK, "0 A1", "Bp", 1 },
	{ "0 A1 B2 C2", "A preempt 1 2 1", OK, "0 A1", "Bp Cp", 1 },
	{ "0 A1 B2", "A preempt 1 1 1", OK, "0 B2", "", 1 },
	{ "0 A1 B2", "A preempt 1 3 1", CONFL, "0 A1 B2", "", 0 },
	{ "0 A1 B2", "A preempt 1 0 1", CONFL, "0 A1 B2", "", 0 },
	{ "0 A1 B2", "A preempt 2 2 1", CONFL, "0 A1 B2", "", 0 },
	{ "0 A1 B2", "C preempt 1 1 1", CONFL, "0 A1 B2", "", 0 },
	{ "0 A1 B2", "A preempt 1 2 0", BADFIELD, "0 A1 B2", "", 0 },
	{ "0 A1 B2", "A preempt ! 1 2 1", BADFIELD, "0 A1 B2", "", 0 },
	/* preempt: the holder's key takes the reservation */
	{ "1 A1* B2", "B preempt 2 1 1", OK, "1 B2*", "Ap", 1 },
	{ "1 A1* B2 C3", "B preempt 2 1 2", OK, "2 B2* C3", "Ap Cr", 1 },
	{ "1 A1* B2 C3", "B preempt 2 1 1", OK, "1 B2* C3", "Ap", 1 },
	{ "4 A1* B2 C1", "B preempt 2 1 4", OK, "4 B2*", "Ap Cp", 1 },
	{ "4 A1* B1 C3", "B preempt 1 1 5", OK, "5 B1 C3", "Ap Cr", 1 },
	/* preempt: another key does not */
	{ "1 A1* B2 C3", "B preempt 2 3 2", OK, "1 A1* B2", "Cp", 1 },
	{ "1 A1* B2 C3", "A preempt 1 3 2", OK, "1 A1* B2", "Cp", 1 },
	{ "1 A1* B2 C3", "B preempt 2 2 2", OK, "1 A1* C3", "", 1 },
	{ "1 A1* B2", "B preempt 2 9 1", CONFL, "1 A1* B2", "", 0 },
	{ "1 A1* B2", "B preempt 2 0 1", BADFIELD, "1 A1* B2", "", 0 },
	{ "3 A1* B2", "A preempt 1 0 1", BADFIELD, "3 A1* B2", "", 0 },
	/* preempt: the holder itself, to change the type */
	{ "1 A1* B2", "A preempt 1 1 3", OK, "3 A1* B2", "Br", 1 },
	{ "1 A1* B2", "A preempt 1 1 1", OK, "1 A1* B2", "", 1 },
	{ "1 A1* B1", "A preempt 1 1 6", OK, "6 A1", "Bp", 1 },
	/* preempt: all registrants */
	{ "5 A1 B2 C3", "B preempt 2 0 1", OK, "1 B2*", "Ap Cp", 1 },
	{ "6 A1 B2 C3", "B preempt 2 0 6", OK, "6 B2", "Ap Cp", 1 },
	{ "6 A1 B2 C3", "B preempt 2 3 1", OK, "6 A1 B2", "Cp", 1 },
	{ "6 A1 B2 C3", "B preempt 2 2 1", OK, "6 A1 C3", "", 1 },
	{ "6 A1", "A preempt 1 1 1", OK, "0", "", 1 },
	{ "5 A1 B1", "A preempt 1 1 1", OK, "0", "Bp", 1 },
	{ "5 A1 B2", "B preempt 2 9 1", CONFL, "5 A1 B2", "", 0 },
	/* and abort */
	{ "1 A1* B2", "B abort 2 1 1", OK, "1 B2*", "Ap abort", 1 },
	{ "0 A1 B2", "A abort 1 2 1", OK, "0 A1", "Bp abort", 1 },
	{ "0 A1 B2", "A abort 1 3 1", CONFL, "0 A1 B2", "", 0 },
	/* release */
	{ "0", "A release 1 1", CONFL, "0", "", 0 },
	{ "0 A1", "A release 1 1", OK, "0 A1", "", 0 },
	{ "1 A1* B2", "A release 2 1", CONFL, "1 A1* B2", "", 0 },
	{ "1 A1* B2", "A release ! 1 1", BADFIELD, "1 A1* B2", "", 0 },
	{ "1 A1* B2", "A release 1 2", BADFIELD, "1 A1* B2", "", 0 },
	{ "1 A1* B2", "B release 2 1", OK, "1 A1* B2", "", 0 },
	{ "1 A1* B2", "C release 2 1", CONFL, "1 A1* B2", "", 0 },
	{ "1 A1* B2", "A release 1 1", OK, "0 A1 B2", "", 0 },
	{ "2 A1* B2", "A release 1 2", OK, "0 A1 B2", "", 0 },
	{ "3 A1* B2", "A release 1 3", OK, "0 A1 B2", "Br", 0 },
	{ "4 A1* B2", "A release 1 4", OK, "0 A1 B2", "Br", 0 },
	{ "5 A1 B2", "B release 2 5", OK, "0 A1 B2", "Ar", 0 },
	{ "6 A1 B2 C3", "B release 2 6", OK, "0 A1 B2 C3", "Ar Cr", 0 },
	/* clear */
	{ "0 A1", "A clear 1", OK, "0", "", 1 },
	{ "1 A1* B2 C3", "B clear 2", OK, "0", "Ac Cc", 1 },
	{ "6 A1 B2", "B clear 2", OK, "0", "Ac", 1 },
	{ "1 A1* B2", "B clear 1", CONFL, "1 A1* B2", "", 0 },
	{ "1 A1* B2", "B clear ! 2", BADFIELD, "1 A1* B2", "", 0 },
	{ "1 A1*", "B clear 2", CONFL, "1 A1*", "", 0 },
};

START_TEST(commands_do_what_the_rows_say)
{
	const struct row *row = &rows[_i];
	struct reservation r = parse_state(row->before);
	struct cmd c = parse_cmd(row->command);
	struct resv_effects e;
	char after[128], told[128] = "";
	uint16_t status = run(&r, &c, &e);

	print_state(&r, after, sizeof(after));
	if (!status)
		print_effects(&e, told, sizeof(told));
	ck_assert_msg(status == row->status && strcmp(after, row->after) == 0 &&
			      strcmp(told, row->told) == 0 && r.generation == 7 + row->generations,
		      "%s: %s: status %x, then %s, told %s, generation %u", row->before,
		      row->command, status, after, told, r.generation);
}
END_TEST

START_TEST(reserved_actions_are_invalid_fields)
{
	struct resv_effects e;

	for (uint32_t action = 0; action < 8; action++) {
		struct reservation r = parse_state("0 A1");

		ck_assert_uint_eq(reservation_register(&r, host(0), action, 1, 1, &e),
				  action > 2 ? BADFIELD : OK);
		r = parse_state("0 A1");
		ck_assert_uint_eq(reservation_acquire(&r, host(0), action | 1 << 8, 1, 1, &e),
				  action > 2 ? BADFIELD : OK);
		r = parse_state("0 A1");
		ck_assert_uint_eq(reservation_release(&r, host(0), action, 1, &e),
				  action > 1 ? BADFIELD : OK);
	}
}
END_TEST

START_TEST(register_changes_persistence)
{
	static const struct {
		uint32_t cptpl;
		uint16_t status;
		bool from_off, from_on;
	} cases[] = {
		{ 0, OK, false, true },
		{ 1, BADFIELD, false, true },
		{ 2, OK, false, false },
		{ 3, OK, true, true },
	};

	for (size_t i = 0; i < 4; i++)
		for (int on = 0; on < 2; on++) {
			struct reservation r = parse_state("0 A1");
			struct cmd c = { .verb = REGISTER, .cptpl = cases[i].cptpl, .key2 = 1 };
			struct resv_effects e;

			r.ptpl = on;
			ck_assert_uint_eq(run(&r, &c, &e), cases[i].status);
			ck_assert_int_eq(r.ptpl, on ? cases[i].from_on : cases[i].from_off);
			/* not when the command fails */
			c.key2 = 2;
			r.ptpl = on;
			ck_assert_uint_ne(run(&r, &c, &e), OK);
			ck_assert_int_eq(r.ptpl, on);
		}
}
END_TEST

START_TEST(one_registrant_too_many)
{
	struct reservation r = { 0 };
	struct resv_effects e;

	for (unsigned int i = 0; i <= RESV_REGISTRANTS_MAX; i++)
		ck_assert_uint_eq(reservation_register(&r, host(i), 0, 0, 5, &e),
				  i < RESV_REGISTRANTS_MAX ? OK : NVME_INTERNAL_ERROR | NVME_DNR);
	ck_assert_uint_eq(reservation_register(&r, host(999), 2 | 8, 0, 5, &e),
			  NVME_INTERNAL_ERROR | NVME_DNR);
	/* everybody at once is told */
	ck_assert_uint_eq(reservation_release(&r, host(3), 1, 5, &e), OK);
	ck_assert_uint_eq(e.n, RESV_REGISTRANTS_MAX - 1);
	ck_assert_uint_eq(r.n, 0);
}
END_TEST

/* ---- a slow and obvious model -------------------------------------------------------------------
 */

#define NHOSTS 4

struct model {
	uint64_t key[NHOSTS]; /* 0: not registered */
	bool holds[NHOSTS];
	uint32_t type, generation;
	bool ptpl;
	char told[NHOSTS]; /* by the last command; 0: nothing */
};

static bool shared_type(uint32_t type)
{
	return type == 5 || type == 6;
}

static unsigned int registered(const struct model *m)
{
	unsigned int n = 0;

	for (int h = 0; h < NHOSTS; h++)
		n += m->key[h] != 0;
	return n;
}

/* Holders are as the type says; there is no reservation without a holder. */
static void settle(struct model *m)
{
	bool any = false;

	for (int h = 0; h < NHOSTS; h++) {
		m->holds[h] = m->key[h] && m->type && (shared_type(m->type) || m->holds[h]);
		any |= m->holds[h];
	}
	if (!any)
		m->type = 0;
}

static void tell_registrants(struct model *m, unsigned int but, char what)
{
	for (unsigned int h = 0; h < NHOSTS; h++)
		if (h != but && m->key[h])
			m->told[h] = what;
}

static uint16_t model_register(struct model *m, const struct cmd *c)
{
	uint64_t *mine = &m->key[c->host];
	bool key_right = *mine && (c->ignore || *mine == c->crkey), held = m->holds[c->host];
	uint32_t type = m->type;

	if (c->cptpl == 1 || (c->verb != UNREGISTER && c->key2 == 0))
		return BADFIELD;
	if (c->verb == REGISTER && *mine && *mine != c->key2)
		return CONFL;
	if (c->verb == REPLACE && !key_right && !(c->ignore && !*mine))
		return CONFL;
	if (c->verb == UNREGISTER && !key_right)
		return CONFL;
	*mine = c->verb == UNREGISTER ? 0 : c->key2;
	settle(m);
	if (held && type && !m->type && (type == 3 || type == 4))
		tell_registrants(m, c->host, 'r');
	if (c->cptpl >= 2)
		m->ptpl = c->cptpl == 3;
	m->generation++;
	return OK;
}

static uint64_t holders_key(const struct model *m)
{
	for (int h = 0; h < NHOSTS; h++)
		if (m->holds[h])
			return m->key[h];
	return 0;
}

static uint16_t model_preempt(struct model *m, const struct cmd *c)
{
	uint64_t was[NHOSTS];
	bool takes = shared_type(m->type) ? c->key2 == 0
					  : m->type && c->key2 && c->key2 == holders_key(m);
	bool changes = takes && m->type != c->type, any = false;

	if (c->key2 == 0 && !takes)
		return m->type ? BADFIELD : CONFL;
	memcpy(was, m->key, sizeof(was));
	for (unsigned int h = 0; h < NHOSTS; h++)
		if (was[h] && (was[h] == c->key2 || c->key2 == 0) && !(takes && h == c->host)) {
			m->key[h] = 0;
			m->told[h] = h == c->host ? 0 : 'p';
			any = true;
		}
	if (!any && !takes)
		return CONFL;
	if (takes) {
		memset(m->holds, 0, sizeof(m->holds));
		m->holds[c->host] = true;
		m->type = c->type;
	}
	if (changes)
		tell_registrants(m, c->host, 'r');
	settle(m);
	m->generation++;
	return OK;
}

static uint16_t model_acquire(struct model *m, const struct cmd *c)
{
	if (c->ignore || c->type < 1 || c->type > 6)
		return BADFIELD;
	if (!m->key[c->host] || m->key[c->host] != c->crkey)
		return CONFL;
	if (c->verb != ACQUIRE)
		return model_preempt(m, c);
	if (m->type)
		return m->holds[c->host] && m->type == c->type ? OK : CONFL;
	m->type = c->type;
	m->holds[c->host] = true;
	settle(m);
	return OK;
}

static uint16_t model_release(struct model *m, const struct cmd *c)
{
	if (c->ignore)
		return BADFIELD;
	if (!m->key[c->host] || m->key[c->host] != c->crkey)
		return CONFL;
	if (c->verb == CLEAR) {
		tell_registrants(m, c->host, 'c');
		memset(m->key, 0, sizeof(m->key));
		settle(m);
		m->generation++;
		return OK;
	}
	if (!m->holds[c->host])
		return OK;
	if (m->type != c->type)
		return BADFIELD;
	if (m->type > 2)
		tell_registrants(m, c->host, 'r');
	m->type = 0;
	settle(m);
	return OK;
}

static uint16_t model_run(struct model *m, const struct cmd *c)
{
	memset(m->told, 0, sizeof(m->told));
	if (c->verb <= REPLACE)
		return model_register(m, c);
	return c->verb <= ABORT ? model_acquire(m, c) : model_release(m, c);
}

static bool told_alike(const struct resv_effects *e, const struct model *m)
{
	char told[NHOSTS] = { 0 };
	unsigned int ntold = 0;

	for (unsigned int i = 0; i < e->n; i++)
		told[number_of(e->to[i].host)] = " prc"[e->to[i].note];
	for (unsigned int h = 0; h < NHOSTS; h++)
		ntold += m->told[h] != 0;
	return e->n == ntold && memcmp(told, m->told, sizeof(told)) == 0;
}

static bool alike(const struct reservation *r, const struct model *m)
{
	if (!reservation_valid(r) || (uint32_t)r->type != m->type || r->n != registered(m) ||
	    r->generation != m->generation || r->ptpl != m->ptpl)
		return false;
	for (unsigned int i = 0; i < r->n; i++)
		if (r->registrant[i].key != m->key[number_of(r->registrant[i].host)])
			return false;
	for (unsigned int h = 0; h < NHOSTS; h++)
		if (reservation_holds(r, host(h)) != m->holds[h])
			return false;
	return true;
}

/* Asserted by hand: there are millions, and each of check's tells its parent. */
static void both(struct reservation *r, struct model *m, const struct cmd *c)
{
	char before[128], after[128];
	struct resv_effects e;
	uint16_t status, expected;

	print_state(r, before, sizeof(before));
	status = run(r, c, &e);
	expected = model_run(m, c);
	print_state(r, after, sizeof(after));
	if (status == expected && (!status || strcmp(before, after) == 0) && alike(r, m) &&
	    (status || (told_alike(&e, m) && e.abort == (c->verb == ABORT))))
		return;
	ck_abort_msg("%s: %c %s iekey %d crkey %llu key %llu type %u: %x, not %x; %s", before,
		     'A' + (int)c->host, verbs[c->verb], c->ignore, (unsigned long long)c->crkey,
		     (unsigned long long)c->key2, c->type, status, expected, after);
}

/* Three hosts, keys 1 and 2: each state there is. */
#define NSMALL 3

static bool small_state(unsigned int n, struct model *m)
{
	unsigned int holder;

	*m = (struct model){ 0 };
	for (int h = 0; h < NSMALL; h++, n /= 3)
		m->key[h] = n % 3;
	m->type = n % 7;
	holder = n / 7;
	if (shared_type(m->type) || m->type == 0) {
		if (holder || (m->type && registered(m) == 0))
			return false;
	} else if (!m->key[holder]) {
		return false;
	} else {
		m->holds[holder] = true;
	}
	settle(m);
	return true;
}

static struct reservation from_model(const struct model *m)
{
	struct reservation r = { .generation = m->generation,
				 .ptpl = m->ptpl,
				 .type = (enum resv_type)m->type };

	for (unsigned int h = 0; h < NHOSTS; h++) {
		if (!m->key[h])
			continue;
		r.registrant[r.n++] = (struct resv_registrant){ host(h), m->key[h] };
		if (m->holds[h] && !shared_type(m->type))
			r.holder = host(h);
	}
	return r;
}

static void each_command(const struct model *start, struct cmd c)
{
	for (c.crkey = 0; c.crkey < 3; c.crkey++)
		for (c.key2 = 0; c.key2 < 4; c.key2++)
			for (c.type = 0; c.type < (c.verb < ACQUIRE ? 1u : 8u); c.type++)
				for (int ignore = 0; ignore < 2; ignore++) {
					struct model m = *start;
					struct reservation r = from_model(&m);

					c.ignore = ignore;
					both(&r, &m, &c);
				}
}

START_TEST(every_command_in_every_small_state_agrees_with_the_model)
{
	unsigned int nstates = 0;

	for (unsigned int n = 0; n < 27 * 7 * 3; n++) {
		struct model m;

		if (!small_state(n, &m))
			continue;
		nstates++;
		for (unsigned int h = 0; h < NSMALL; h++)
			for (unsigned int v = 0; v < NVERBS; v++)
				each_command(&m, (struct cmd){ .host = h, .verb = (enum verb)v });
	}
	ck_assert_uint_eq(nstates, 27 + 2 * 26 + 4 * 3 * 18);
}
END_TEST

START_TEST(random_commands_agree_with_the_model)
{
	struct reservation r = { 0 };
	struct model m = { 0 };
	unsigned int nheld = 0;

	srandom((unsigned int)_i + 1);
	for (int i = 0; i < 20000; i++) {
		struct cmd c = { .host = (unsigned int)random() % NHOSTS,
				 .verb = (enum verb)(random() % NVERBS),
				 .ignore = random() % 8 == 0,
				 .cptpl = (uint32_t)random() % 4,
				 .type = (uint32_t)random() % 8,
				 .crkey = (uint64_t)random() % 4,
				 .key2 = (uint64_t)random() % 4 };

		if (random() % 4) /* mostly the right key */
			c.crkey = m.key[c.host];
		both(&r, &m, &c);
		nheld += m.type != 0;
	}
	ck_assert_uint_gt(nheld, 1000);
}
END_TEST

/* ---- who may do what ----------------------------------------------------------------------------
 */

/* Base 2.1, 8.1.22, "Command Behavior in the Presence of a Reservation": A is allowed, C a
 * conflict; for reads and writes of a non-registrant, a registrant, and a holder. */
static const char *const table[RESV_NTYPES] = {
	[RESV_WRITE_EXCLUSIVE] = "AC AC AA",
	[RESV_EXCLUSIVE_ACCESS] = "CC CC AA",
	[RESV_WRITE_EXCLUSIVE_REGISTRANTS] = "AC AA AA",
	[RESV_EXCLUSIVE_ACCESS_REGISTRANTS] = "CC AA AA",
	[RESV_WRITE_EXCLUSIVE_ALL] = "AC AA AA",
	[RESV_EXCLUSIVE_ACCESS_ALL] = "CC AA AA",
};

START_TEST(commands_conflict_as_the_table_says)
{
	enum resv_type type = (enum resv_type)_i;
	struct reservation r = parse_state("0 A1 B1 C2");
	struct host_id who[] = { host(9), host(2), host(0) };
	struct resv_effects e;
	struct resv_view *v;

	ck_assert_uint_eq(reservation_acquire(&r, host(0), (uint32_t)type << 8, 1, 0, &e), OK);
	ck_assert_int_eq(reservation_view(&r, &v), 0);
	for (int role = 0; role < 3; role++) {
		ck_assert(resv_view_allows(v, who[role], RESV_ANY));
		ck_assert_int_eq(resv_view_allows(v, who[role], RESV_READS),
				 table[type][3 * role] == 'A');
		ck_assert_int_eq(resv_view_allows(v, who[role], RESV_WRITES),
				 table[type][3 * role + 1] == 'A');
	}
	/* a host without an identifier is nobody's twin */
	ck_assert(!resv_view_allows(v, (struct host_id){ 0 }, RESV_WRITES));
	free(v);
}
END_TEST

START_TEST(without_a_reservation_there_is_no_view)
{
	struct reservation r = parse_state("0 A1 B2");
	struct resv_view *v = (void *)&r;

	ck_assert_int_eq(reservation_view(&r, &v), 0);
	ck_assert_ptr_null(v);
}
END_TEST

/* ---- report -------------------------------------------------------------------------------------
 */

static uint64_t le(const uint8_t *p, unsigned int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

START_TEST(report_has_every_registrant)
{
	static const struct {
		const char *state;
		unsigned int n;
		const char *held;
	} cases[] = {
		{ "0", 0, "" },
		{ "0 A1 B2", 2, "00" },
		{ "3 A1 B2* C3", 3, "010" },
		{ "5 A1 B2 C3", 3, "111" },
	};

	for (size_t i = 0; i < 4; i++) {
		struct reservation r = parse_state(cases[i].state);
		uint8_t buf[RESV_REPORT_LEN];

		r.generation = 0x01020304;
		r.ptpl = i & 1;
		memset(buf, 0xff, sizeof(buf));
		ck_assert_uint_eq(reservation_report(&r, buf), 64 + 64 * cases[i].n);
		ck_assert_uint_eq(le(buf, 4), 0x01020304);
		ck_assert_uint_eq(buf[4], (uint8_t)r.type);
		ck_assert_uint_eq(le(buf + 5, 2), cases[i].n);
		ck_assert_uint_eq(le(buf + 7, 2), 0);
		ck_assert_uint_eq(buf[9], i & 1);
		for (unsigned int g = 0; g < cases[i].n; g++) {
			const uint8_t *p = buf + 64 + 64 * g;

			ck_assert_uint_eq(le(p, 2), 0xffff);
			ck_assert_uint_eq(p[2], (uint8_t)(cases[i].held[g] - '0'));
			ck_assert_uint_eq(le(p + 8, 8), g + 1);
			ck_assert_int_eq(memcmp(p + 16, &(struct host_id[]){ host(g) }, 16), 0);
		}
		for (size_t at = 64 + 64 * cases[i].n; at < sizeof(buf); at++)
			ck_assert_uint_eq(buf[at], 0);
	}
}
END_TEST

/* ---- the file -----------------------------------------------------------------------------------
 */

static char folder[64], state_dir[80];
static const struct resv_file_owner owner = { "nqn.2026-11.org.example:t", 3, { 1, 2, 3 } };

static void make_dir(void)
{
	strcpy(folder, "/var/tmp/nvmf-p2pd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
	fail_at = nfailed = 0;
}

static void remove_dir(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static bool same(const struct reservation *a, const struct reservation *b)
{
	char left[4096], right[4096];

	print_state(a, left, sizeof(left));
	print_state(b, right, sizeof(right));
	return a->generation == b->generation && a->ptpl == b->ptpl && strcmp(left, right) == 0;
}

START_TEST(what_is_saved_is_loaded)
{
	static const char *const states[] = { "0", "0 A1", "1 A1 B2* C3", "6 A1 B2 C3" };
	struct reservation got;
	const char *why;

	ck_assert_int_eq(resv_file_load(state_dir, "a", &owner, &got, &why), -ENOENT);
	for (size_t i = 0; i < 4; i++) {
		struct reservation r = parse_state(states[i]);

		r.ptpl = true;
		ck_assert_int_eq(resv_file_save(state_dir, "a", &owner, &r, &why), 0);
		ck_assert_int_eq(resv_file_load(state_dir, "a", &owner, &got, &why), 0);
		ck_assert(same(&r, &got));
	}
	ck_assert_int_eq(resv_file_load(state_dir, "b", &owner, &got, &why), -ENOENT);
	ck_assert_int_eq(durable_remove(state_dir, "a", &why), 0);
	ck_assert_int_eq(durable_remove(state_dir, "a", &why), 0);
	ck_assert_int_eq(resv_file_load(state_dir, "a", &owner, &got, &why), -ENOENT);
}
END_TEST

START_TEST(a_full_table_is_saved)
{
	struct reservation r = { .ptpl = true }, got;
	struct resv_effects e;
	const char *why;

	for (unsigned int i = 0; i < RESV_REGISTRANTS_MAX; i++)
		ck_assert_uint_eq(reservation_register(&r, host(i), 0, 0, i + 1, &e), OK);
	ck_assert_uint_eq(reservation_acquire(&r, host(127), 4 << 8, 128, 0, &e), OK);
	ck_assert_int_eq(resv_file_save(state_dir, "a", &owner, &r, &why), 0);
	ck_assert_int_eq(resv_file_load(state_dir, "a", &owner, &got, &why), 0);
	ck_assert_int_eq(memcmp(&r, &got, sizeof(r)), 0);
}
END_TEST

START_TEST(nothing_persists_without_a_folder)
{
	const char *why;
	struct reservation r = { 0 };

	ck_assert_int_eq(durable_remove("/nonexistent/state", "a", &why), 0);
	ck_assert_int_eq(resv_file_save("/nonexistent/state", "a", &owner, &r, &why), -ENOENT);
	ck_assert_int_eq(resv_file_save("/dev/null", "a", &owner, &r, &why), -ENOTDIR);
	ck_assert_str_eq(why, "opening the folder");
}
END_TEST

/* Every byte changed, every length: refused, and the state is not touched. */
START_TEST(a_damaged_file_is_refused)
{
	struct reservation r = parse_state("1 A1 B2* C3"), got = { .generation = 99 };
	uint8_t buf[FILE_LEN_MAX + 1] = { 0 };
	size_t len = encode(&owner, &r, buf);
	const char *why;

	ck_assert_int_eq(resv_file_decode(buf, len, &owner, &got, &why), 0);
	got.generation = 99;
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			buf[i] ^= (uint8_t)(1 << bit);
			ck_assert_int_eq(resv_file_decode(buf, len, &owner, &got, &why), -EBADMSG);
			buf[i] ^= (uint8_t)(1 << bit);
		}
	for (size_t i = 0; i <= sizeof(buf); i++)
		ck_assert_int_eq(resv_file_decode(buf, i, &owner, &got, &why),
				 i == len ? 0 : -EBADMSG);
	ck_assert_uint_eq(got.generation, r.generation);
}
END_TEST

/* The checksum is right, what it says is not. */
START_TEST(an_impossible_file_is_refused)
{
	static const struct {
		const char *why;
		struct resv_file_owner owner;
		unsigned int type, n;
		uint64_t key;
		int holder, twin;
	} cases[] = {
		{ "it is damaged", owner, 7, 1, 1, 0, 0 },
		{ "it is damaged", owner, 1, 1, 1, 1, 0 },
		{ "it is damaged", owner, 0, 1, 1, 0, 0 },
		{ "it is damaged", owner, 5, 0, 1, -1, 0 },
		{ "it is damaged", owner, 1, 1, 0, 0, 0 },
		{ "it is damaged", owner, 1, 2, 1, 0, 1 },
		{ "it is another namespace's",
		  { "nqn.2026-11.org.example:u", 3, { 1, 2, 3 } },
		  1,
		  1,
		  1,
		  0,
		  0 },
		{ "it is another namespace's",
		  { "nqn.2026-11.org.example:t", 4, { 1, 2, 3 } },
		  1,
		  1,
		  1,
		  0,
		  0 },
		{ "the namespace had another UUID",
		  { "nqn.2026-11.org.example:t", 3, { 1, 2, 4 } },
		  1,
		  1,
		  1,
		  0,
		  0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reservation r = { .type = (enum resv_type)cases[i].type, .n = cases[i].n };
		uint8_t buf[FILE_LEN_MAX];
		struct reservation got;
		const char *why;

		r.registrant[0] = (struct resv_registrant){ host(0), cases[i].key };
		r.registrant[1] = (struct resv_registrant){ host(cases[i].twin ? 0 : 1), 1 };
		if (cases[i].holder >= 0)
			r.holder = host((unsigned int)cases[i].holder);
		ck_assert_int_eq(resv_file_decode(buf, encode(&cases[i].owner, &r, buf), &owner,
						  &got, &why),
				 -EBADMSG);
		ck_assert_str_eq(why, cases[i].why);
	}
}
END_TEST

/* Fail the first system call, then the second, ... until none is left to fail. */
START_TEST(whatever_fails_the_old_or_the_new_file_is_whole)
{
	struct reservation old = parse_state("1 A1* B2"), new = parse_state("6 A1 B2 C3"), got;
	const char *why, *failed;
	int step = 1, err;

	old.ptpl = new.ptpl = true;
	new.generation = 8;
	do {
		ck_assert_int_eq(resv_file_save(state_dir, "a", &owner, &old, &why), 0);
		fail_at = step;
		err = resv_file_save(state_dir, "a", &owner, &new, &failed);
		fail_at = 0;
		ck_assert_int_eq(resv_file_load(state_dir, "a", &owner, &got, &why), 0);
		if (!err || strcmp(failed, "flushing the folder") == 0)
			ck_assert(same(&got, &new));
		else
			ck_assert(same(&got, &old));
		step++;
	} while (err);
	ck_assert_int_eq(nfailed, step - 2);
	ck_assert_int_gt(nfailed, 5);
}
END_TEST

START_TEST(whatever_fails_the_first_file_is_whole_or_not_there)
{
	struct reservation r = parse_state("6 A1 B2 C3"), got;
	const char *why;
	int step = 1, err;

	r.ptpl = true;
	do {
		fail_at = step++;
		err = resv_file_save(state_dir, "a", &owner, &r, &why);
		fail_at = 0;
		if (resv_file_load(state_dir, "a", &owner, &got, &why) == 0)
			ck_assert(same(&got, &r));
		else
			ck_assert_int_ne(err, 0);
		remove_dir();
		mkdir(folder, 0700);
	} while (err);
	ck_assert_int_eq(nfailed, step - 2);
	ck_assert_int_gt(nfailed, 7);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_not_taken_for_none)
{
	struct reservation r = parse_state("6 A1 B2 C3"), got;
	const char *why;
	int step = 1, err;

	ck_assert_int_eq(resv_file_save(state_dir, "a", &owner, &r, &why), 0);
	do {
		fail_at = step++;
		err = resv_file_load(state_dir, "a", &owner, &got, &why);
		fail_at = 0;
		ck_assert(err == 0 || err == -EIO);
	} while (err);
	ck_assert_int_gt(nfailed, 2);
}
END_TEST

/* ---- suite --------------------------------------------------------------------------------------
 */

static Suite *suite(void)
{
	Suite *s = suite_create("reservation");
	TCase *machine = tcase_create("machine"), *file = tcase_create("file");

	tcase_set_timeout(machine, 120);
	tcase_add_loop_test(machine, commands_do_what_the_rows_say, 0,
			    sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(machine, reserved_actions_are_invalid_fields);
	tcase_add_test(machine, register_changes_persistence);
	tcase_add_test(machine, one_registrant_too_many);
	tcase_add_test(machine, every_command_in_every_small_state_agrees_with_the_model);
	tcase_add_loop_test(machine, random_commands_agree_with_the_model, 0, 20);
	tcase_add_loop_test(machine, commands_conflict_as_the_table_says, 1, RESV_NTYPES);
	tcase_add_test(machine, without_a_reservation_there_is_no_view);
	tcase_add_test(machine, report_has_every_registrant);
	suite_add_tcase(s, machine);
	tcase_add_checked_fixture(file, make_dir, remove_dir);
	tcase_add_test(file, what_is_saved_is_loaded);
	tcase_add_test(file, a_full_table_is_saved);
	tcase_add_test(file, nothing_persists_without_a_folder);
	tcase_add_test(file, a_damaged_file_is_refused);
	tcase_add_test(file, an_impossible_file_is_refused);
	tcase_add_test(file, whatever_fails_the_old_or_the_new_file_is_whole);
	tcase_add_test(file, whatever_fails_the_first_file_is_whole_or_not_there);
	tcase_add_test(file, a_file_that_cannot_be_read_is_not_taken_for_none);
	suite_add_tcase(s, file);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
