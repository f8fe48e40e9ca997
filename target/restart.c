#include "target/restart.h"

#include "target/core.h"
#include "target/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define VERSION        1
#define FILE_NAME      "controllers"
#define DISCOVERY_NAME "discovery"

/* ---- the files ---------------------------------------------------------------------------------
 */

static const char magic[8] = "p2pdctrl", disc_magic[8] = "p2pddisc";

struct file_header {
	char magic[8];
	le32 version;
	le32 n; /* entries behind it, and then the checksum of all before */
	uint8_t boot[16];
	le16 next_cntlid;
	uint8_t rsvd[2];
};
static_assert(sizeof(struct file_header) == 36, "this is on disks");

struct file_entry {
	uint8_t key[16];
	le16 value, kind;
};
static_assert(sizeof(struct file_entry) == 20, "this is on disks");

struct discovery_file {
	char magic[8];
	le32 version;
	uint8_t rsvd[4];
	le64 genctr;
	uint8_t shown[16]; /* a name-based UUID of what the log can show */
	le32 crc;
} __attribute__((packed));
static_assert(sizeof(struct discovery_file) == 44, "this is on disks");

/* Controllers, what is kept, and the ANA groups of some subsystems. */
#define ENTRIES_MAX (CNTLID_MAX + RESTART_UNCLAIMED_MAX + 65536)
#define FILE_LEN(n) (sizeof(struct file_header) + (n) * sizeof(struct file_entry) + sizeof(le32))

static uint32_t checksum(const void *p, size_t len)
{
	return (uint32_t)crc32(0, p, (unsigned int)len);
}

int restart_decode(const void *buf, size_t len, struct restart_header *ret_header,
		   struct restart_entry **ret_found, size_t *ret_n)
{
	struct restart_entry *found;
	struct file_header h;
	le32 crc;
	size_t n;

	if (len < FILE_LEN(0))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	memcpy(&crc, (const uint8_t *)buf + len - sizeof(crc), sizeof(crc));
	n = get32(h.n);
	if (memcmp(h.magic, magic, sizeof(magic)) != 0 || get32(h.version) != VERSION ||
	    n > ENTRIES_MAX || len != FILE_LEN(n) || get32(crc) != checksum(buf, len - sizeof(crc)))
		return -EBADMSG;
	found = calloc(n ? n : 1, sizeof(*found));
	if (!found)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct file_entry e;

		memcpy(&e, (const uint8_t *)buf + sizeof(h) + i * sizeof(e), sizeof(e));
		memcpy(found[i].key.byte, e.key, sizeof(e.key));
		found[i].value = get16(e.value);
		found[i].kind = get16(e.kind);
	}
	ret_header->next_cntlid = get16(h.next_cntlid);
	memcpy(ret_header->boot, h.boot, sizeof(h.boot));
	*ret_found = found;
	*ret_n = n;
	return 0;
}

static void put_entry(uint8_t *buf, size_t i, const struct restart_key *key, unsigned int value,
		      enum restart_kind kind)
{
	struct file_entry e = { .value = put16((uint16_t)value), .kind = put16((uint16_t)kind) };

	memcpy(e.key, key->byte, sizeof(e.key));
	memcpy(buf + sizeof(struct file_header) + i * sizeof(e), &e, sizeof(e));
}

/* ---- names -------------------------------------------------------------------------------------
 */

struct restart_key restart_key(const struct subsystem *s, uint16_t port_id, const char *hostnqn,
			       const uint8_t hostid[16])
{
	char name[2 * CONFIG_NQN_MAX + 64], id[UUID_STR_LEN];
	struct restart_key key;
	uuid_t uuid = { 0 };

	uuid_unparse_lower(hostid, id);
	snprintf(name, sizeof(name), "controller/%s/%u/%s/%s", s->nqn, port_id, id, hostnqn);
	derive_uuid(name, uuid);
	memcpy(key.byte, uuid, sizeof(key.byte));
	return key;
}

static struct restart_key ana_key(const struct subsystem *s, uint16_t port_id, uint32_t group)
{
	char name[CONFIG_NQN_MAX + 64];
	struct restart_key key;
	uuid_t uuid = { 0 };

	snprintf(name, sizeof(name), "ana/%s/%u/%u", s->nqn, port_id, group);
	derive_uuid(name, uuid);
	memcpy(key.byte, uuid, sizeof(key.byte));
	return key;
}

static struct restart_entry *find(const struct restart *r, const struct restart_key *key,
				  enum restart_kind kind)
{
	for (size_t i = 0; i < r->nfound; i++)
		if (r->found[i].kind == kind && memcmp(&r->found[i].key, key, sizeof(*key)) == 0)
			return &r->found[i];
	return NULL;
}

/* ---- what was found ---------------------------------------------------------------------------
 */

static void drop(struct restart *r, size_t i)
{
	memmove(&r->found[i], &r->found[i + 1], (--r->nfound - i) * sizeof(r->found[0]));
}

/* One host may have several controllers of one subsystem. */
uint16_t restart_take_cntlid(struct target *t, const struct restart_key *key, uint16_t min,
			     uint16_t max)
{
	struct restart *r = &t->restart;

	for (size_t i = 0; i < r->nfound; i++) {
		uint16_t id = r->found[i].value;

		if (r->found[i].kind != RESTART_CNTLID ||
		    memcmp(&r->found[i].key, key, sizeof(*key)) != 0 || id < min || id > max ||
		    t->by_cntlid[id])
			continue;
		drop(r, i);
		return id;
	}
	return 0;
}

bool restart_keeps_cntlid(const struct target *t, uint16_t cntlid)
{
	const struct restart *r = &t->restart;

	for (size_t i = 0; i < r->nfound; i++)
		if (r->found[i].kind == RESTART_CNTLID && r->found[i].value == cntlid)
			return true;
	return false;
}

bool restart_take_ana(struct target *t, const struct subsystem *s, uint16_t port_id, uint32_t group,
		      unsigned int *ret_state)
{
	struct restart_key key = ana_key(s, port_id, group);
	const struct restart_entry *e =
		t->restart.nfound ? find(&t->restart, &key, RESTART_ANA) : NULL;

	if (!e || e->value >= CONFIG_ANA_NSTATES)
		return false;
	*ret_state = e->value;
	drop(&t->restart, (size_t)(e - t->restart.found));
	return true;
}

/* What does not hold any more, or would become too much. */
static void sift(struct restart *r, bool same_boot)
{
	size_t nids = 0;

	for (size_t i = r->nfound; i-- > 0;) {
		const struct restart_entry *e = &r->found[i];
		bool is_id = e->kind == RESTART_CNTLID && e->value >= 1 && e->value <= CNTLID_MAX;

		if (is_id && nids < RESTART_UNCLAIMED_MAX)
			nids++;
		else if (e->kind != RESTART_ANA || !same_boot)
			drop(r, i);
	}
}

int restart_load(struct target *t)
{
	struct restart_header h = { 0 };
	size_t most = FILE_LEN(ENTRIES_MAX) + 1;
	uint8_t *buf = malloc(most), boot[16];
	ssize_t len;
	int err;

	if (!buf)
		return -ENOMEM;
	len = durable_read(t->conf->state_dir, FILE_NAME, buf, most);
	err = len < 0 ? (int)len
		      : restart_decode(buf, (size_t)len, &h, &t->restart.found, &t->restart.nfound);
	free(buf);
	if (err == -ENOMEM)
		return err;
	if (err && err != -ENOENT)
		log_warn("%s/%s: %s: hosts may get other controller IDs than before",
			 t->conf->state_dir, FILE_NAME,
			 err == -EBADMSG ? "it is damaged" : strerror(-err));
	if (err)
		return 0;
	durable_boot_id(boot);
	sift(&t->restart, memcmp(boot, h.boot, sizeof(boot)) == 0);
	if (h.next_cntlid >= 1 && h.next_cntlid <= CNTLID_MAX)
		t->next_cntlid = h.next_cntlid;
	return 0;
}

/* ---- writing it down ---------------------------------------------------------------------------
 */

static size_t put_groups(const struct subsystem *s, uint8_t *buf, size_t n)
{
	const struct ana_port *p;

	LIST_FOREACH (p, &s->ana, entry)
		for (uint32_t g = 1; g <= CONFIG_ANA_GROUPS; g++) {
			const struct ana_group *group = &p->group[g];
			struct restart_key key;

			if (!group->ordered)
				continue;
			if (buf) {
				key = ana_key(s, p->port_id, g);
				put_entry(buf, n, &key, group->wanted, RESTART_ANA);
			}
			n++;
		}
	return n;
}

/* With @buf NULL, only count. The IDs that are kept come first: they are the older. */
static size_t put_entries(const struct target *t, uint8_t *buf)
{
	const struct restart *r = &t->restart;
	const struct controller *c;
	size_t n = 0;

	for (size_t i = 0; i < r->nfound; i++) {
		if (r->found[i].kind != RESTART_CNTLID)
			continue;
		if (buf)
			put_entry(buf, n, &r->found[i].key, r->found[i].value, RESTART_CNTLID);
		n++;
	}
	for (size_t i = 0; i < t->nsubsystems; i++) {
		LIST_FOREACH (c, &t->subsystems[i]->controllers, entry) {
			if (buf)
				put_entry(buf, n, &c->key, c->cntlid, RESTART_CNTLID);
			n++;
		}
		n = put_groups(t->subsystems[i], buf, n);
	}
	return n;
}

static uint8_t *encode(const struct target *t, size_t *ret_len)
{
	size_t n = put_entries(t, NULL), len = FILE_LEN(n);
	struct file_header h = { .version = put32(VERSION),
				 .n = put32((uint32_t)n),
				 .next_cntlid = put16(t->next_cntlid) };
	uint8_t *buf = malloc(len);
	le32 crc;

	if (!buf)
		return NULL;
	memcpy(h.magic, magic, sizeof(h.magic));
	durable_boot_id(h.boot);
	memcpy(buf, &h, sizeof(h));
	(void)put_entries(t, buf);
	crc = put32(checksum(buf, len - sizeof(crc)));
	memcpy(buf + len - sizeof(crc), &crc, sizeof(crc));
	*ret_len = len;
	return buf;
}

static void say_failed(struct target *t, const char *name, const char *why, int err)
{
	if (!t->restart.failed)
		log_event(JOURNAL_STATE_NOT_KEPT, NULL,
			  "%s/%s: %s: %s: hosts will not find all as it was after a restart",
			  t->conf->state_dir, name, why, strerror(-err));
	t->restart.failed = true;
}

/* Has the worker write @buf, which is freed then; NULL: no memory, or no worker. */
static bool begin_saving(struct target *t, struct restart_file *file, const char *name, void *buf,
			 size_t len, void (*saved)(struct task *))
{
	if (!buf || target_start_worker(t)) {
		free(buf);
		return false;
	}
	file->t = t;
	file->buf = buf;
	file->saving = true;
	durable_later(t->worker, &file->job, t->conf->state_dir, name, buf, len, saved);
	return true;
}

/* Return: the target; the outcome is said. */
static struct target *end_saving(struct restart_file *file)
{
	free(file->buf);
	file->buf = NULL;
	file->saving = false;
	if (file->job.err)
		say_failed(file->t, file->job.name, file->job.why, file->job.err);
	return file->t;
}

static void controllers_saved(struct task *task)
{
	struct restart_file *file = (struct restart_file *)task;
	struct target *t = end_saving(file);

	if (!file->job.err)
		t->restart.failed = false;
	if (file->again)
		restart_changed(t);
}

void restart_changed(struct target *t)
{
	struct restart_file *file = &t->restart.controllers;
	size_t len = 0;
	uint8_t *buf;

	if (t->stopping)
		return;
	file->again = file->saving;
	if (file->saving)
		return;
	buf = encode(t, &len);
	(void)begin_saving(t, file, FILE_NAME, buf, len,
			   controllers_saved); /* at the next change */
}

void restart_fini(struct target *t)
{
	__atomic_store_n(&t->stopping, true, __ATOMIC_RELAXED);
	while (t->restart.controllers.saving || t->restart.discovery.saving)
		reactor_await_messages(control_reactor(t));
	free(t->restart.found);
}

/* ---- the discovery log's generation ------------------------------------------------------------
 */

static void print_ports(FILE *f, const uint16_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, " %u", ids[i]);
}

/* Whatever can make a difference to what a host reads. */
static void print_shown(const struct config *c, FILE *f)
{
	fprintf(f, "discovery %s\n", c->discovery_nqn ? c->discovery_nqn : "");
	for (size_t i = 0; i < c->nports; i++)
		fprintf(f, "port %u %s %s\n", c->ports[i].id, c->ports[i].address,
			c->ports[i].service);
	for (size_t i = 0; i < c->nsubsystems; i++) {
		const struct config_subsystem *s = &c->subsystems[i];

		fprintf(f, "subsystem %s %d %d", s->nqn, s->controller_model, s->allow_any_host);
		print_ports(f, s->ports, s->nports);
		for (size_t h = 0; h < s->nallowed_hosts; h++)
			fprintf(f, "\nhost %s", s->allowed_hosts[h]);
		fputc('\n', f);
	}
	for (size_t i = 0; i < c->nreferrals; i++) {
		const struct config_referral *r = &c->referrals[i];

		fprintf(f, "referral %s %s %s %u", r->address, r->service, r->nqn, r->port_id);
		print_ports(f, r->ports, r->nports);
		fputc('\n', f);
	}
}

static int shown_id(const struct target *t, uuid_t ret)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return -ENOMEM;
	print_shown(t->conf, f);
	if (fclose(f)) {
		free(text);
		return -ENOMEM;
	}
	derive_uuid(text, ret);
	free(text);
	return 0;
}

static struct discovery_file *encode_discovery(const struct target *t)
{
	struct discovery_file *file = calloc(1, sizeof(*file));
	uuid_t id = { 0 };

	if (!file || shown_id(t, id)) {
		free(file);
		return NULL;
	}
	file->version = put32(VERSION);
	file->genctr = put64(t->discovery_genctr);
	memcpy(file->magic, disc_magic, sizeof(file->magic));
	memcpy(file->shown, id, sizeof(file->shown));
	file->crc = put32(checksum(file, offsetof(struct discovery_file, crc)));
	return file;
}

/* Blocks. */
static void save_discovery_now(struct target *t)
{
	struct discovery_file *file = encode_discovery(t);
	const char *why = "no memory";
	int err = file ? durable_replace(t->conf->state_dir, DISCOVERY_NAME, file, sizeof(*file),
					 &why)
		       : -ENOMEM;

	free(file);
	if (err)
		say_failed(t, DISCOVERY_NAME, why, err);
}

static void discovery_saved(struct task *task)
{
	struct restart_file *file = (struct restart_file *)task;
	struct target *t = end_saving(file);

	if (file->again)
		restart_save_discovery(t);
	else
		target_discovery_kept(t);
}

void restart_save_discovery(struct target *t)
{
	struct restart_file *file = &t->restart.discovery;

	file->again = file->saving;
	if (file->saving || begin_saving(t, file, DISCOVERY_NAME, encode_discovery(t),
					 sizeof(struct discovery_file), discovery_saved))
		return;
	save_discovery_now(t);
	target_discovery_kept(t);
}

void restart_need_discovery(struct target *t)
{
	struct restart_file *file = &t->restart.discovery;

	if (!file->saving)
		return;
	worker_flush(t->worker);
	if (file->again)
		save_discovery_now(t);
	file->again = false;
}

/* Without a number to go on from, the time is one that no former daemon has come to by counting. */
void restart_load_discovery(struct target *t)
{
	struct discovery_file file;
	uuid_t id = { 0 };
	ssize_t len = durable_read(t->conf->state_dir, DISCOVERY_NAME, &file, sizeof(file));
	bool good = len == sizeof(file) &&
		    memcmp(file.magic, disc_magic, sizeof(disc_magic)) == 0 &&
		    get32(file.version) == VERSION &&
		    get32(file.crc) == checksum(&file, offsetof(struct discovery_file, crc));

	if (good && shown_id(t, id) == 0 && memcmp(id, file.shown, sizeof(file.shown)) == 0) {
		t->discovery_genctr = get64(file.genctr);
		return;
	}
	t->discovery_genctr = good ? get64(file.genctr) + 1 : (uint64_t)time(NULL);
	save_discovery_now(t);
}
