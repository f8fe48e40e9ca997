#include "target/reservation_file.h"

#include "target/nvme_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	uint8_t rsvd[4];
};
static_assert(sizeof(struct file_header) == 288, "this is on disks");

struct file_entry {
	struct host_id host;
	le64 key;
};
static_assert(sizeof(struct file_entry) == 24, "this is on disks");

#define FILE_LEN(n)  (sizeof(struct file_header) + (n) * sizeof(struct file_entry) + sizeof(le32))
#define FILE_LEN_MAX FILE_LEN(RESV_REGISTRANTS_MAX)

/* CRC-32C. Bit by bit is fast enough for 3 KiB. */
static uint32_t checksum(const uint8_t *p, size_t len)
{
	uint32_t crc = ~UINT32_C(0);

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
	}
	return ~crc;
}

static size_t encode(const struct resv_file_owner *owner, const struct reservation *r,
		     uint8_t buf[FILE_LEN_MAX])
{
	struct file_header h = { .version = put32(VERSION),
				 .n = put32(r->n),
				 .generation = put32(r->generation),
				 .type = put32((uint32_t)r->type),
				 .holder = r->holder,
				 .nsid = put32(owner->nsid) };
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
				   .ptpl = true,
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
	if (header_wrong(&h, owner)) {
		*ret_why = header_wrong(&h, owner);
		return -EBADMSG;
	}
	*ret = r;
	return 0;
}

/* ---- the file -----------------------------------------------------------------------------------
 */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_close_ __attribute__((cleanup(close_fd)))

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* With its name on the disk: that is in the folder above. */
static int make_folder(const char *dir)
{
	_cleanup_close_ int above = -1;
	char path[PATH_MAX];
	const char *slash = strrchr(dir, '/');

	snprintf(path, sizeof(path), "%.*s", slash == dir ? 1 : (int)(slash - dir), dir);
	if (mkdir(dir, 0700) < 0)
		return -errno;
	above = open_folder(path);
	if (above < 0)
		return above;
	return fsync(above) < 0 ? -errno : 0;
}

static int open_or_make_folder(const char *dir)
{
	int fd = open_folder(dir);
	int err;

	if (fd != -ENOENT)
		return fd;
	err = make_folder(dir);
	return err ? err : open_folder(dir);
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_new(int dirfd, const char *name, const uint8_t *p, size_t len)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	err = write_all(fd, p, len);
	if (err)
		return err;
	return fsync(fd) < 0 ? -errno : 0;
}

int resv_file_save(const char *dir, const char *name, const struct resv_file_owner *owner,
		   const struct reservation *r, const char **ret_why)
{
	_cleanup_close_ int dirfd = -1;
	uint8_t buf[FILE_LEN_MAX];
	char new_name[NAME_MAX + 1];
	size_t len = encode(owner, r, buf);
	int err;

	snprintf(new_name, sizeof(new_name), "%s.new", name);
	*ret_why = "opening the folder";
	dirfd = open_or_make_folder(dir);
	if (dirfd < 0)
		return dirfd;
	*ret_why = "writing the file";
	err = write_new(dirfd, new_name, buf, len);
	if (err) {
		(void)unlinkat(dirfd, new_name, 0);
		return err;
	}
	*ret_why = "renaming the file";
	if (renameat(dirfd, new_name, dirfd, name) < 0)
		return -errno;
	*ret_why = "flushing the folder";
	return fsync(dirfd) < 0 ? -errno : 0;
}

int resv_file_remove(const char *dir, const char *name, const char **ret_why)
{
	_cleanup_close_ int dirfd = open_folder(dir);

	*ret_why = "opening the folder";
	if (dirfd < 0)
		return dirfd == -ENOENT ? 0 : dirfd;
	*ret_why = "removing the file";
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	*ret_why = "flushing the folder";
	return fsync(dirfd) < 0 ? -errno : 0;
}

/* One byte more than the longest is enough to see that a file is too long. Return: bytes, or
 * negative errno. */
static ssize_t read_all(int fd, uint8_t buf[FILE_LEN_MAX + 1])
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, buf + len, FILE_LEN_MAX + 1 - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	} while (n != 0 && len <= FILE_LEN_MAX);
	return (ssize_t)len;
}

int resv_file_load(const char *dir, const char *name, const struct resv_file_owner *owner,
		   struct reservation *ret, const char **ret_why)
{
	_cleanup_close_ int dirfd = open_folder(dir), fd = -1;
	uint8_t buf[FILE_LEN_MAX + 1];
	ssize_t len;

	*ret_why = "it cannot be read";
	if (dirfd < 0)
		return dirfd;
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read_all(fd, buf);
	if (len < 0)
		return (int)len;
	return resv_file_decode(buf, (size_t)len, owner, ret, ret_why);
}
