#include "target/reservation_file.h"

#include "target/durable.h"
#include "target/nvme_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

/* ---- the format ---------------------------------------------------------------------------------
 */

#define VERSION 1
static const char magic[8] = "p2pdresv";

struct file_header {
	char magic[8];
	le32 version;
	le32 n; /* entries behind it, and then the checksum of all before */
	le32 generation;
	le32 type;
	struct host_id holder;
	uint8_t uuid[16];
	le32 nsid;
	char nqn[RESV_FILE_NQN_SIZE];
	le32 boot; /* 0: persists through power loss; else it ends with this boot, see boot_tag() */
};
static_assert(sizeof(struct file_header) == 288, "this is on disks");

struct file_entry {
	struct host_id host;
	le64 key;
};
static_assert(sizeof(struct file_entry) == 24, "this is on disks");

#define FILE_LEN(n)  (sizeof(struct file_header) + (n) * sizeof(struct file_entry) + sizeof(le32))
#define FILE_LEN_MAX FILE_LEN(RESV_REGISTRANTS_MAX)

/* Never 0. */
static uint32_t boot_tag(void)
{
	uint8_t id[16];
	le32 tag;

	durable_boot_id(id);
	memcpy(&tag, id, sizeof(tag));
	return get32(tag) | 1;
}

static uint32_t checksum(const uint8_t *p, size_t len)
{
	return (uint32_t)crc32(0, p, (unsigned int)len);
}

static size_t encode(const struct resv_file_owner *owner, const struct reservation *r,
		     uint8_t buf[FILE_LEN_MAX])
{
	struct file_header h = { .version = put32(VERSION),
				 .n = put32(r->n),
				 .generation = put32(r->generation),
				 .type = put32((uint32_t)r->type),
				 .holder = r->holder,
				 .nsid = put32(owner->nsid),
				 .boot = put32(r->ptpl ? 0 : boot_tag()) };
	size_t len = FILE_LEN(r->n);
	le32 crc;

	memcpy(h.magic, magic, sizeof(h.magic));
	memcpy(h.uuid, owner->uuid, sizeof(h.uuid));
	snprintf(h.nqn, sizeof(h.nqn), "%s", owner->nqn);
	memcpy(buf, &h, sizeof(h));
	for (unsigned int i = 0; i < r->n; i++) {
		struct file_entry e = { r->registrant[i].host, put64(r->registrant[i].key) };

		memcpy(buf + sizeof(h) + i * sizeof(e), &e, sizeof(e));
	}
	crc = put32(checksum(buf, len - sizeof(crc)));
	memcpy(buf + len - sizeof(crc), &crc, sizeof(crc));
	return len;
}

static const char *header_wrong(const struct file_header *h, const struct resv_file_owner *owner)
{
	if (get32(h->nsid) != owner->nsid || strncmp(h->nqn, owner->nqn, sizeof(h->nqn)) != 0)
		return "it is another namespace's";
	if (memcmp(h->uuid, owner->uuid, sizeof(h->uuid)) != 0)
		return "the namespace had another UUID";
	return NULL;
}

static void decode(const uint8_t *buf, const struct file_header *h, struct reservation *r)
{
	*r = (struct reservation){ .generation = get32(h->generation),
				   .ptpl = get32(h->boot) == 0,
				   .type = (enum resv_type)get32(h->type),
				   .holder = h->holder,
				   .n = get32(h->n) };
	for (unsigned int i = 0; i < r->n; i++) {
		struct file_entry e;

		memcpy(&e, buf + sizeof(*h) + i * sizeof(e), sizeof(e));
		r->registrant[i] = (struct resv_registrant){ e.host, get64(e.key) };
	}
}

int resv_file_decode(const void *buf, size_t len, const struct resv_file_owner *owner,
		     struct reservation *ret, const char **ret_why)
{
	struct file_header h;
	struct reservation r;
	le32 crc;

	*ret_why = "it is damaged";
	if (len < FILE_LEN(0))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	if (get32(h.version) != VERSION) {
		*ret_why = "it is of another version of nvmf-p2pd";
		return -EBADMSG;
	}
	memcpy(&crc, (const uint8_t *)buf + len - sizeof(crc), sizeof(crc));
	if (get32(h.n) > RESV_REGISTRANTS_MAX || len != FILE_LEN(get32(h.n)) ||
	    get32(crc) != checksum(buf, len - sizeof(crc)))
		return -EBADMSG;
	decode(buf, &h, &r);
	if (!reservation_valid(&r))
		return -EBADMSG;
	if (get32(h.boot) && get32(h.boot) != boot_tag())
		return -ENOENT;
	if (header_wrong(&h, owner)) {
		*ret_why = header_wrong(&h, owner);
		return -EBADMSG;
	}
	*ret = r;
	return 0;
}

/* ---- the file -----------------------------------------------------------------------------------
 */

int resv_file_save(const char *dir, const char *name, const struct resv_file_owner *owner,
		   const struct reservation *r, const char **ret_why)
{
	uint8_t buf[FILE_LEN_MAX];
	size_t len = encode(owner, r, buf);

	return durable_replace(dir, name, buf, len, ret_why);
}

int resv_file_load(const char *dir, const char *name, const struct resv_file_owner *owner,
		   struct reservation *ret, const char **ret_why)
{
	uint8_t buf[FILE_LEN_MAX + 1]; /* one byte more, to see that a file is too long */
	ssize_t len = durable_read(dir, name, buf, sizeof(buf));

	*ret_why = "it cannot be read";
	return len < 0 ? (int)len : resv_file_decode(buf, (size_t)len, owner, ret, ret_why);
}
