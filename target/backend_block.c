/* Backend on a block device or a regular file: O_DIRECT through the reactor's ring. */
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
#include <unistd.h>

#define FILE_LBA_SHIFT 12

struct block {
	struct backend backend;
	struct reactor *reactor;
};

static struct block *block_of(struct backend *b)
{
	return (struct block *)b;
}

/* ---- the I/O path -----------------------------------------------------------------------------
 */

/* What the kernel's errno means to the host. The kernel's target agrees where it has a case
 * (drivers/nvme/target/core.c, errno_to_nvme_status); what may pass by itself carries no DNR. */
static uint16_t status_of(int res, enum data_dir dir)
{
	switch (-res) {
	case ENOSPC:
	case EDQUOT:
		return NVME_CAPACITY_EXCEEDED | NVME_DNR;
	case EOPNOTSUPP:
		return NVME_INVALID_OPCODE | NVME_DNR;
	case ENODATA:
		return (dir == DATA_H2C ? NVME_WRITE_FAULT : NVME_READ_ERROR) | NVME_DNR;
	case EPERM:
	case EACCES:
	case EROFS:
		return NVME_ACCESS_DENIED | NVME_DNR;
	case EAGAIN:
	case EINTR:
	case ENOMEM:
	case EBUSY:
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
		nvmf_req_complete(req, status_of(res, req->dir));
		return;
	}
	if (res == 0) { /* the device became smaller than we told the host */
		nvmf_req_complete(req, NVME_LBA_OUT_OF_RANGE | NVME_DNR);
		return;
	}
	req->done_len += (uint32_t)res;
	if (req->done_len < req->len)
		submit_rw(req);
	else
		nvmf_req_complete(req, NVME_OK);
}

static void submit_rw(struct nvmf_req *req)
{
	struct block *b = block_of(req->ns->backend);
	struct io_uring_sqe *sqe = reactor_sqe(b->reactor);
	uint8_t *data = req->data + req->done_len;
	uint32_t len = req->len - req->done_len;
	uint64_t offset = req->offset + req->done_len;

	if (req->dir == DATA_H2C)
		io_uring_prep_write(sqe, b->backend.info.fd, data, len, offset);
	else
		io_uring_prep_read(sqe, b->backend.info.fd, data, len, offset);
	if (req->fua && req->dir == DATA_H2C)
		sqe->rw_flags = RWF_DSYNC;
	io_uring_sqe_set_data(sqe, &req->op);
}

static void block_rw(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	(void)b;
	req->op.done = rw_done;
	req->offset = offset;
	req->done_len = 0;
	req->fua = fua;
	submit_rw(req);
}

static void flush_done(struct uring_op *op, int res)
{
	struct nvmf_req *req = (void *)((uint8_t *)op - offsetof(struct nvmf_req, op));

	nvmf_req_complete(req, res < 0 ? status_of(res, DATA_H2C) : NVME_OK);
}

static void block_flush(struct backend *b, struct nvmf_req *req)
{
	struct block *blk = block_of(b);
	struct io_uring_sqe *sqe = reactor_sqe(blk->reactor);

	req->op.done = flush_done;
	io_uring_prep_fsync(sqe, b->info.fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data(sqe, &req->op);
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

/* The PCI function right under a disk: .../0000:03:00.0/nvme/nvme0/nvme0n1, or with native
 * multipath the head's address in .../nvme-subsystem/.../nvme0n1 which names no function: then ask
 * the one path. */
static void find_own_bdf(dev_t dev, char *bdf, size_t len)
{
	char link[128], real[PATH_MAX], address[64];

	bdf[0] = '\0';
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (!realpath(link, real))
		return;

	char *nvme = strstr(real, "/nvme/nvme");

	if (nvme) {
		*nvme = '\0';
		strlcpy(bdf, strrchr(real, '/') + 1, len);
		return;
	}

	/* a head nvmeXnY: its controllers are nvme-subsystem's children; the drive has one */
	char *head = strrchr(real, '/');
	char path[PATH_MAX];
	unsigned int instance;

	if (!head || sscanf(head, "/nvme%un", &instance) != 1)
		return;
	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%u/address", instance);

	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;

	ssize_t n = read(fd, address, sizeof(address) - 1);

	close(fd);
	if (n > 0) {
		address[n] = '\0';
		address[strcspn(address, "\n")] = '\0';
		strlcpy(bdf, address, len);
	}
}

static int read_geometry(struct block *b, const struct stat *st, const char **ret_why)
{
	struct backend_info *info = &b->backend.info;
	uint64_t size;
	int lba_len;
	char text[32];

	if (S_ISREG(st->st_mode)) {
		info->lba_shift = FILE_LBA_SHIFT;
		info->nlb = (uint64_t)st->st_size >> FILE_LBA_SHIFT;
		info->write_cache = true;
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
	find_own_bdf(st->st_rdev, info->own_bdf, sizeof(info->own_bdf));
	return 0;
}

static void block_close(struct backend *b)
{
	if (b->info.fd >= 0)
		close(b->info.fd);
	free(block_of(b));
}

static const struct backend_ops block_ops = {
	.name = "block",
	.rw = block_rw,
	.flush = block_flush,
	.close = block_close,
};

int backend_block_open(struct reactor *r, const char *path, struct backend **ret_backend,
		       const char **ret_why)
{
	struct block *b = calloc(1, sizeof(*b));
	struct stat st;
	int err;

	*ret_why = "no memory";
	if (!b)
		return -ENOMEM;
	b->backend.ops = &block_ops;
	b->reactor = r;
	*ret_why = "cannot be opened";
	b->backend.info.fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (b->backend.info.fd < 0 || fstat(b->backend.info.fd, &st) < 0) {
		err = -errno;
	} else if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)) {
		*ret_why = "is neither a block device nor a file";
		err = -ENODEV;
	} else {
		err = read_geometry(b, &st, ret_why);
	}
	if (err) {
		block_close(&b->backend);
		return err;
	}
	*ret_backend = &b->backend;
	return 0;
}
