/*
 * backend: what a namespace's blocks are on. A small vtable, so that a block device, a file and
 * later a passed-through controller look alike to the commands.
 *
 * open, gone, reopen and close: control thread. rw, flush and step: the request's reactor; they
 * never block. rw and flush always answer by nvmf_req_complete(), step by op->done().
 */
#ifndef TARGET_BACKEND_H
#define TARGET_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

struct nvmf_req;
struct reactors;

/* What a command that is made of several I/Os asks for, one at a time. */
enum backend_step {
	STEP_READ,
	STEP_WRITE,
	STEP_FLUSH,
	STEP_ZERO,       /* the blocks read as zeros and stay allocated */
	STEP_PUNCH,      /* they read as zeros, and are deallocated */
	STEP_DEALLOCATE, /* they may be deallocated */
};

struct uring_op;
struct reactor;

/* What the device says of itself, in bytes; 0: it says nothing. */
struct backend_limits {
	uint64_t start;           /* of a partition */
	uint32_t physical_block;  /* written whole or not at all */
	uint32_t atomic_write;    /* more that is, and */
	uint32_t atomic_boundary; /* across which it is not */
	uint32_t io_min, io_opt;  /* best writes are multiples of these */
	uint32_t discard_granularity;
	uint32_t boundary;       /* I/O across multiples of it is slower */
	bool reads_zeroes;       /* deallocated blocks do */
	bool nvme;               /* fd takes NVMe admin commands */
	uint16_t warm, critical; /* Kelvin: the drive's own limits */
};

struct backend_info {
	struct backend_limits limits;
	uint64_t nlb;              /* logical blocks */
	uint8_t lba_shift;         /* log2 of the logical block in bytes, 9..12 */
	bool write_cache;          /* volatile: Flush means something */
	unsigned int major, minor; /* of the block device, or of the one that holds the file */
	int fd;                    /* for proofs */
	const char *copies; /* why the CPU, no drive, would move payload; NULL: it does not */
};

struct backend {
	const struct backend_ops *ops;
	struct backend_info info;
	bool lost; /* atomic: the device is gone, every command is answered with a retryable status
		    */
};

static inline bool backend_lost(const struct backend *b)
{
	return __atomic_load_n(&b->lost, __ATOMIC_RELAXED);
}

struct backend_ops {
	const char *name;
	/* Read or write: req->data, req->len bytes, at byte @offset; @fua: write through. */
	void (*rw)(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua);
	void (*flush)(struct backend *b, struct nvmf_req *req);
	/* One step on @len bytes at byte @offset, with the memory @buf for STEP_READ and
	 * STEP_WRITE; op->done() is called with 0 or more (bytes, of those two) or negative errno,
	 * -EOPNOTSUPP if the device cannot do that; maybe before this returns. */
	void (*step)(struct backend *b, struct reactor *r, struct uring_op *op,
		     enum backend_step what, void *buf, uint64_t offset, uint64_t len);
	/* Its logical blocks now; 0: cannot be asked. Control thread. */
	uint64_t (*nlb)(const struct backend *b);
	/* Is the device gone (for good: one that comes back at the same address is another)? Asks
	 * sysfs. */
	bool (*gone)(const struct backend *b);
	/* Open a lost device again. 0; or negative errno and *@ret_why, -ESTALE if another device
	 * is there now. */
	int (*reopen)(struct backend *b, const char **ret_why);
	void (*close)(struct backend *b);
};

/** backend_may_come() - is @err that of opening a device that is not there, or not yet as it will
 * be, rather than of naming the wrong thing? */
bool backend_may_come(int err);

/** backend_status() - what an I/O's negative errno means to the host: an NVMe status. @write: it
 * was one. Any thread. */
uint16_t backend_status(int err, bool write);

/** backend_limits_read() - ask sysfs and, if it is an NVMe drive, the drive behind the block device
 * @fd, @major:@minor. Blocks. Control thread. */
void backend_limits_read(int fd, unsigned int major, unsigned int minor,
			 struct backend_limits *ret);

/**
 * backend_block_open() - a block device, or a regular file (4 KiB blocks), with O_DIRECT on the
 * rings of @reactors. @polled: its completions are looked for and raise no interrupt. Return: 0;
 * -ENOTBLK for anything else than a block device or a regular file; -EINVAL if its logical block is
 * not 512 or 4096 bytes; or the errno of open. On failure *@ret_why says what failed. If it
 * backend_may_come(), the backend is there all the same, lost and without a size, and reopen()
 * takes what it finds then.
 */
__attribute__((warn_unused_result)) int backend_block_open(const struct reactors *reactors,
							   const char *path, bool polled,
							   struct backend **ret_backend,
							   const char **ret_why);

#endif
