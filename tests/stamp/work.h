/*
 * work: writes and reads stamped blocks at random, some operations at a time, and looks at every
 * block that it reads. Which operations there are follows from the seed alone; an operation that
 * overlaps one that is out waits for it if either writes, so that what a read must bring is known
 * to the block.
 *
 * A write that fails is in doubt: its blocks may be old or new, until they are written again.
 */
#ifndef TESTS_STAMP_WORK_H
#define TESTS_STAMP_WORK_H

#include "tests/stamp/ledger.h"

#include <stdio.h>

#define WORK_DEPTH_MAX 64
#define WORK_IO_MIN    4096u
#define WORK_IO_MAX    (1u << 20)

struct work_options {
	const char *path;     /* a block device, or a file */
	struct stamp_run run; /* block_len 0: the device's logical block */
	uint64_t offset;      /* bytes */
	uint64_t size;        /* bytes; 0: to the end */
	const char *ledger;   /* NULL: in memory */
	unsigned int depth;
	unsigned int read_percent;
	uint64_t rate; /* of the random part, bytes a second at most; 0: as fast as it goes */
	/* the random part ends with the first of these; 0: without */
	uint64_t blocks; /* written */
	unsigned int seconds;
	bool only_verify;          /* what a ledger knows of; nothing is written */
	bool errors_allowed;       /* an I/O may fail, but for the last reading of all */
	FILE *out;                 /* one line for each of the first bad blocks and errors */
	const volatile bool *stop; /* ends the random part; NULL: nothing does */
};

struct work_result {
	uint64_t written, verified; /* blocks, acknowledged and found good */
	uint64_t errors;            /* operations that failed */
	uint64_t unread;            /* blocks that the last reading did not get */
	uint64_t bad[STAMP_VERDICTS];
};

/**
 * work_run() - fill what the ledger does not know, write and read at random, then read all.
 * @ret is set in any case. Return: 0, whatever was found; negative errno when it could not be done,
 * which was said to @o->out.
 */
int work_run(const struct work_options *o, struct work_result *ret);

/** work_is_ok() - nothing was bad, and all was seen. */
bool work_is_ok(const struct work_options *o, const struct work_result *r);

#endif
