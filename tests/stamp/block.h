/*
 * block: what a block says of itself. Each block of the workload begins with a stamp of who wrote
 * it, where, and for the how manieth time; the rest is derived from the stamp, and a CRC is over
 * all of it. So a block that is read tells whether it is whole, and whether it is the one that was
 * asked for.
 *
 * Pure: bytes in, bytes or a verdict out.
 */
#ifndef TESTS_STAMP_BLOCK_H
#define TESTS_STAMP_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#define STAMP_HOST_MAX  23u  /* bytes of a host's name */
#define STAMP_BLOCK_MAX 4096 /* bytes of a block; 512 is the least */

/* Who writes: the same in all blocks of a run. */
struct stamp_run {
	char host[STAMP_HOST_MAX + 1];
	uint64_t seed;
	uint32_t nsid;
	uint32_t block_len; /* bytes: 512 or 4096 */
};

/* From here on the worse comes later. */
enum stamp_verdict {
	STAMP_GOOD,
	STAMP_STALE,     /* an older generation than one that was acknowledged */
	STAMP_UNWRITTEN, /* a generation that was never written */
	STAMP_MISPLACED, /* whole, but of another LBA or namespace */
	STAMP_FOREIGN,   /* whole, but of another host, or of another run */
	STAMP_TORN,      /* begins with a stamp, and goes on as something else */
	STAMP_NONE,      /* no stamp */
	STAMP_VERDICTS
};

/* What a stamp says, in a block that has one. */
struct stamp {
	char host[STAMP_HOST_MAX + 1];
	uint64_t seed, lba, generation;
	uint32_t nsid;
};

/** stamp_make() - the block at @lba, as it is written for the @generation-th time, to @block. */
void stamp_make(const struct stamp_run *run, uint64_t lba, uint64_t generation, uint8_t *block);

/**
 * stamp_look() - is @block the one at @lba, and of a generation from @oldest to @newest?
 * @ret: what its stamp says, if the verdict is not STAMP_NONE.
 */
enum stamp_verdict stamp_look(const struct stamp_run *run, uint64_t lba, uint64_t oldest,
			      uint64_t newest, const uint8_t *block, struct stamp *ret);

/** stamp_torn_at() - of a block that is torn, the first byte that does not belong to its stamp. */
size_t stamp_torn_at(uint32_t block_len, const uint8_t *block);

/** stamp_verdict_name() - one word. */
const char *stamp_verdict_name(enum stamp_verdict v);

#endif
