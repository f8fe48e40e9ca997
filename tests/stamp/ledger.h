/*
 * ledger: of each block, which generation was last acknowledged and which was last sent. What is
 * read must lie between. In memory, or in a file that outlives the host's crash.
 */
#ifndef TESTS_STAMP_LEDGER_H
#define TESTS_STAMP_LEDGER_H

#include "tests/stamp/block.h"

#include <stdbool.h>

struct ledger_entry {
	uint32_t acked; /* 0: never written; what is there is not looked at */
	uint32_t sent;
};

struct ledger {
	struct ledger_entry *of; /* by the block's number, counted from the first of the region */
	uint64_t nblocks;
	bool resumed; /* it was there before */
	/* private: */
	void *map;
	size_t map_len;
};

/**
 * ledger_open() - of @nblocks blocks from @first on; @path may be NULL. A file that is there must
 * be of the same run and region: it is gone on with, and what it says may lag behind what was
 * written by LEDGER_LAG generations of each block (they were sent after it was last synced).
 * Return: 0; -EBADMSG: the file is another run's, or none of ours; other negative errno.
 */
int ledger_open(struct ledger *l, const char *path, const struct stamp_run *run, uint64_t first,
		uint64_t nblocks);

#define LEDGER_LAG 1000

/** ledger_sync() - have it on the disk. Without a file there is nothing to do. Negative errno. */
int ledger_sync(struct ledger *l);

/** ledger_close() - a zeroed one is fine. */
void ledger_close(struct ledger *l);

#endif
