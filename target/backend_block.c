/* Backend on a block device or a regular file: O_DIRECT through the reactors' rings. */
#include "target/core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILE_LBA_SHIFT 12

struct block {
	struct backend backend;
	const struct reactors *reactors;
	char *path;
	int registered[REACTORS_MAX]; /* the rings' indexes of the descriptor, or -1 */
	bool file;
	bool wants_polled;    /* as configured */
	bool polled;          /* I/O is looked for, the drive raises no interrupt */
	bool discard_command; /* io_uring has one (Linux 6.12) */
	char identity[128];   /* WWID or the like, "" if it has none */
};

static struct block *block_of(struct backend *b)
{
	return (struct block *)b;
}

/* ---- the I/O path -----------------------------------------------------------------------------
 */

/* What the kernel's errno means to the host. The kernel's target agrees where it has a case
 * (drivers/nvme/target/core.c, errno_to_nvme_status); what may pass by itself carries no DNR. */
uint16_t backend_status(int err, bool write)
{
	switch (-err) {
	case ENOSPC:
	case EDQUOT:
		return NVME_CAPACITY_EXCEEDED | NVME_DNR;
	case EOPNOTSUPP:
		return NVME_INVALID_OPCODE | NVME_DNR;
	case ENODATA:
		return (write ? NVME_WRITE_FAULT : NVME_READ_ERROR) | NVME_DNR;
	case EPERM:
	case EACCES:
	case EROFS:
		return NVME_ACCESS_DENIED | NVME_DNR;
	case EAGAIN:
	case EINTR:
	case ENOMEM:
	case EBUSY:
	case ENODEV:
	case ENXIO:
		return NVME_NS_NOT_READY;
	default:
		return NVME_INTERNAL_ERROR;
	}
}

static void submit_rw(struct nvmf_req *req);

/* Short completions are continued: the kernel ends an I/O early where its pieces differ in kind. */
static void rw_done(struct uring_op *op, int res)
{
	struct nvmf_req *req = (void *)((uint8_t *)op - offsetof(struct nvmf_req, op));

	if (res < 0) {
		if (!io_retry_in_host_memory(req, res))
			io_ended(req, backend_status(res, req->dir == DATA_H2C));
		return;
	}
	if (res == 0) { /* the device became smaller than we told the host */
		io_ended(req, NVME_LBA_OUT_OF_RANGE | NVME_DNR);
		return;
	}
	req->done_len += (uint32_t)res;
	if (req->done_len < req->len)
		submit_rw(req);
	else
		nvmf_req_complete(req, NVME_OK);
}

static void use_registered(const struct block *b, const struct reactor *r, struct io_uring_sqe *sqe)
{
	int file = b->registered[r->opts.index];

	if (file < 0)
		return;
	sqe->fd = file;
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void submit_rw(struct nvmf_req *req)
{
	struct block *b = block_of(req->ns->backend);
	struct reactor *r = req->queue->reactor;
	struct io_uring_sqe *sqe = b->polled ? reactor_polled_sqe(r) : reactor_sqe(r);
	uint8_t *data = req->data + req->done_len;
	uint32_t len = req->len - req->done_len;
	uint64_t offset = req->offset + req->done_len;

	if (req->dir == DATA_H2C)
		io_uring_prep_write(sqe, b->backend.info.fd, data, len, offset);
	else
		io_uring_prep_read(sqe, b->backend.info.fd, data, len, offset);
	if (req->fua && req->dir == DATA_H2C)
		sqe->rw_flags = RWF_DSYNC;
	if (!b->polled)
		use_registered(b, r, sqe);
	io_uring_sqe_set_data(sqe, &req->op);
}

static void block_rw(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	if (backend_lost(b)) {
		nvmf_req_complete(req, NVME_PATH_INACCESSIBLE);
		return;
	}
	req->op.done = rw_done;
	req->offset = offset;
	req->done_len = 0;
	req->fua = fua;
	submit_rw(req);
}

static void flush_done(struct uring_op *op, int res)
{
	struct nvmf_req *req = (void *)((uint8_t *)op - offsetof(struct nvmf_req, op));

	io_ended(req, res < 0 ? backend_status(res, true) : NVME_OK);
}

static void block_flush(struct backend *b, struct nvmf_req *req)
{
	struct block *blk = block_of(b);

	if (backend_lost(b)) {
		nvmf_req_complete(req, NVME_PATH_INACCESSIBLE);
		return;
	}

	struct reactor *r = req->queue->reactor;
	struct io_uring_sqe *sqe = reactor_sqe(r);

	req->op.done = flush_done;
	io_uring_prep_fsync(sqe, b->info.fd, IORING_FSYNC_DATASYNC);
	use_registered(blk, r, sqe);
	io_uring_sqe_set_data(sqe, &req->op);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

#ifndef BLOCK_URING_CMD_DISCARD /* linux/blkdev.h, 6.12 */
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

static void prep_deallocate(const struct block *b, struct io_uring_sqe *sqe, uint64_t offset,
			    uint64_t len)
{
	int fd = b->backend.info.fd;

	if (!b->discard_command) {
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)offset, (off_t)len);
		return;
	}
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
	sqe->addr = offset;
	sqe->addr3 = len;
}

static void block_step(struct backend *backend, struct reactor *r, struct uring_op *op,
		       enum backend_step what, void *buf, uint64_t offset, uint64_t len)
{
	struct block *b = block_of(backend);
	struct io_uring_sqe *sqe;
	int fd = backend->info.fd;

	if (backend_lost(backend)) {
		op->done(op, -ENODEV);
		return;
	}
	sqe = reactor_sqe(r);
	switch (what) {
	case STEP_READ:
		io_uring_prep_read(sqe, fd, buf, (unsigned int)len, offset);
		break;
	case STEP_WRITE:
		io_uring_prep_write(sqe, fd, buf, (unsigned int)len, offset);
		break;
	case STEP_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case STEP_ZERO:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
					(off_t)offset, (off_t)len);
		break;
	case STEP_PUNCH:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)offset, (off_t)len);
		break;
	case STEP_DEALLOCATE:
		prep_deallocate(b, sqe, offset, len);
		break;
	}
	use_registered(b, r, sqe);
	io_uring_sqe_set_data(sqe, op);
}

/* ---- open and close ---------------------------------------------------------------------------
 */

static int sysfs_text(dev_t dev, const char *file, char *buf, size_t len)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), file);

	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	ssize_t n = read(fd, buf, len - 1);

	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

/* What tells this drive from another at the same path. A partition's is its disk's. */
static void read_identity(struct block *b, dev_t dev)
{
	static const char *const files[] = { "wwid",           "../wwid", "device/wwid",
					     "../device/wwid", "dm/uuid", "md/uuid" };

	b->identity[0] = '\0';
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && !b->identity[0]; i++)
		if (sysfs_text(dev, files[i], b->identity, sizeof(b->identity)))
			b->identity[0] = '\0';
}

static bool kernel_is_at_least(unsigned int version, unsigned int patchlevel)
{
	struct utsname name;
	unsigned int v, p;

	return uname(&name) == 0 && sscanf(name.release, "%u.%u", &v, &p) == 2 &&
	       (v > version || (v == version && p >= patchlevel));
}

/* A file system without direct I/O (tmpfs, or ext4 with data=journal) takes O_DIRECT and then has
 * the CPU copy, which from a CMB takes far longer than from host memory. statx(2) from Linux 6.1
 * on, which is before a CMB can be mapped at all. */
static const char *why_it_copies(const struct block *b)
{
	struct statx stx;

	if (!b->file || statx(b->backend.info.fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0)
		return NULL;
	return stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_mem_align
		       ? NULL
		       : "its file system does no direct I/O, the CPU would copy";
}

static int read_geometry(struct block *b, const struct stat *st, const char **ret_why)
{
	struct backend_info *info = &b->backend.info;
	dev_t dev = S_ISREG(st->st_mode) ? st->st_dev : st->st_rdev;
	uint64_t size;
	int lba_len;
	char text[32];

	b->file = S_ISREG(st->st_mode);
	b->discard_command = !b->file && kernel_is_at_least(6, 12);
	info->major = major(dev);
	info->minor = minor(dev);
	info->copies = why_it_copies(b);
	if (S_ISREG(st->st_mode)) {
		info->lba_shift = FILE_LBA_SHIFT;
		info->nlb = (uint64_t)st->st_size >> FILE_LBA_SHIFT;
		info->write_cache = true;
		info->limits.reads_zeroes = true; /* a hole */
		*ret_why = "the file is smaller than one block";
		return info->nlb ? 0 : -EINVAL;
	}
	*ret_why = "asking for its size";
	if (ioctl(info->fd, BLKGETSIZE64, &size) < 0 || ioctl(info->fd, BLKSSZGET, &lba_len) < 0)
		return -errno;
	*ret_why = "its logical block is neither 512 nor 4096 bytes";
	if (lba_len != 512 && lba_len != 4096)
		return -EINVAL;
	info->lba_shift = (uint8_t)__builtin_ctz((unsigned int)lba_len);
	*ret_why = "the device is empty";
	info->nlb = size >> info->lba_shift;
	if (info->nlb == 0)
		return -ENODEV;
	info->write_cache = sysfs_text(st->st_rdev, "queue/write_cache", text, sizeof(text)) ||
			    strcmp(text, "write through") != 0;
	read_identity(b, st->st_rdev);
	backend_limits_read(info->fd, info->major, info->minor, &info->limits);
	return 0;
}

static int open_device(struct block *b, const char **ret_why)
{
	struct stat st;

	*ret_why = "cannot be opened";
	if (stat(b->path, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)) {
		*ret_why = "is neither a block device nor a file";
		return -ENOTBLK;
	}
	b->backend.info.fd = open(b->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (b->backend.info.fd < 0 || fstat(b->backend.info.fd, &st) < 0)
		return -errno;
	return read_geometry(b, &st, ret_why);
}

/* Each ring knows the descriptor by an index of its own. @fd: what to have there; -1: nothing. */
struct registration {
	struct block *block;
	struct reactor *reactor;
	int fd;
};

static void update_registration(void *arg)
{
	const struct registration *a = arg;
	int *file = &a->block->registered[a->reactor->opts.index];

	if (*file >= 0)
		reactor_update_file(a->reactor, *file, a->fd);
	else if (a->fd >= 0)
		*file = reactor_register_file(a->reactor, a->fd);
	if (a->fd < 0)
		*file = -1;
}

static void register_everywhere(struct block *b, int fd)
{
	for (unsigned int i = 0; i < b->reactors->n; i++) {
		struct registration a = { b, b->reactors->r[i], fd };

		reactor_call(a.reactor, update_registration, &a);
	}
}

static void block_close(struct backend *b)
{
	register_everywhere(block_of(b), -1);
	if (b->info.fd >= 0)
		close(b->info.fd);
	free(block_of(b)->path);
	free(block_of(b));
}

struct enabling {
	struct reactor *reactor;
	int err;
};

static void enable_polling(void *arg)
{
	struct enabling *e = arg;

	e->err = reactor_enable_polling(e->reactor);
}

static int use_polled_queues(struct block *b, const char **ret_why)
{
	char text[16];

	dev_t dev = makedev(b->backend.info.major, b->backend.info.minor);

	*ret_why = "has no polled queues (of NVMe drives: module parameter nvme.poll_queues)";
	if (b->file ||
	    (sysfs_text(dev, "queue/io_poll", text, sizeof(text)) &&
	     sysfs_text(dev, "../queue/io_poll", text, sizeof(text))) || /* a partition */
	    strcmp(text, "1") != 0)
		return -EOPNOTSUPP;
	*ret_why = "a ring for polled I/O";
	for (unsigned int i = 0; i < b->reactors->n; i++) {
		struct enabling e = { .reactor = b->reactors->r[i] };

		reactor_call(e.reactor, enable_polling, &e);
		if (e.err)
			return e.err;
	}
	b->polled = true;
	return 0;
}

/* While our descriptor is open its number is not given to another device (block/genhd.c). A disk
 * that dies has no bytes left before it leaves sysfs. */
static bool block_gone(const struct backend *b)
{
	uint64_t size;
	char path[64];

	if (((const struct block *)b)->file)
		return false;
	if (ioctl(b->info.fd, BLKGETSIZE64, &size) == 0 && size == 0)
		return true;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", b->info.major, b->info.minor);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

static uint64_t block_nlb(const struct backend *b)
{
	struct stat st;
	uint64_t size;

	if (((const struct block *)b)->file)
		return fstat(b->info.fd, &st) ? 0 : (uint64_t)st.st_size >> FILE_LBA_SHIFT;
	return ioctl(b->info.fd, BLKGETSIZE64, &size) ? 0 : size >> b->info.lba_shift;
}

/* Whatever is there. */
static int open_first(struct block *b, const char **ret_why)
{
	int err = open_device(b, ret_why);

	if (!err && b->wants_polled)
		err = use_polled_queues(b, ret_why);
	if (!err) {
		register_everywhere(b, b->backend.info.fd);
		return 0;
	}
	if (b->backend.info.fd >= 0)
		close(b->backend.info.fd);
	b->backend.info.fd = -1;
	return err;
}

/* The new device takes the place of the old under the same descriptor, in one step: whatever is in
 * flight on the old one keeps that and ends. */
static int block_reopen(struct backend *b, const char **ret_why)
{
	struct block *old = block_of(b), now = { .path = old->path, .backend.info.fd = -1 };
	int err;

	if (b->info.fd < 0)
		return open_first(old, ret_why);
	err = open_device(&now, ret_why);
	if (!err && (now.backend.info.nlb != b->info.nlb ||
		     now.backend.info.lba_shift != b->info.lba_shift ||
		     strcmp(now.identity, old->identity) != 0)) {
		*ret_why = "another drive, or one of another size, is there now";
		err = -ESTALE;
	}
	if (!err && dup3(now.backend.info.fd, b->info.fd, O_CLOEXEC) < 0)
		err = -errno;
	if (now.backend.info.fd >= 0)
		close(now.backend.info.fd);
	if (err)
		return err;
	register_everywhere(old, b->info.fd);
	b->info.major = now.backend.info.major;
	b->info.minor = now.backend.info.minor;
	return 0;
}

static const struct backend_ops block_ops = {
	.name = "block",
	.rw = block_rw,
	.flush = block_flush,
	.step = block_step,
	.nlb = block_nlb,
	.gone = block_gone,
	.reopen = block_reopen,
	.close = block_close,
};

bool backend_may_come(int err)
{
	switch (-err) {
	case ENOENT: /* no such path */
	case ENXIO:  /* nor a driver behind it */
	case ENODEV:
	case ENOMEDIUM: /* or no blocks yet */
	case EIO:
	case ETIMEDOUT:
	case EACCES: /* until udev has set its owner */
	case EPERM:
		return true;
	default:
		return false;
	}
}

int backend_block_open(const struct reactors *reactors, const char *path, bool polled,
		       struct backend **ret_backend, const char **ret_why)
{
	struct block *b = calloc(1, sizeof(*b));
	int err;

	*ret_why = "no memory";
	if (!b)
		return -ENOMEM;
	b->backend.ops = &block_ops;
	b->backend.info.fd = -1;
	b->backend.info.write_cache = true; /* what hosts are told until it is known */
	for (unsigned int i = 0; i < REACTORS_MAX; i++)
		b->registered[i] = -1;
	b->reactors = reactors;
	b->wants_polled = polled;
	b->path = strdup(path);
	err = b->path ? open_first(b, ret_why) : -ENOMEM;
	b->backend.lost = backend_may_come(err);
	if (err && !b->backend.lost) {
		block_close(&b->backend);
		return err;
	}
	*ret_backend = &b->backend;
	return err;
}
