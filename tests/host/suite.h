/*
 * suite: runs test cases, tells how they ended, and keeps what they share: an enabled controller
 * with one I/O queue, made when the first case needs it and again when a case ended it.
 *
 * A case is a function and a row of a table of its group; most are struct command_case, one command
 * each. The names on the command line choose among them: "io", or "io/read-last-block".
 */
#ifndef TESTS_HOST_SUITE_H
#define TESTS_HOST_SUITE_H

#include "tests/host/nvme.h"

#include <stdio.h>

/* Since when the daemon does it: what is PENDING prints "todo" where it would fail. */
enum since { NOW, PENDING };

struct suite {
	const struct fab_host *fh;
	char **wanted;
	int nwanted;
	bool list;              /* print the names only */
	const char *closed_nqn; /* a subsystem that does not allow us; may be NULL */
	const char *static_nqn; /* one with static controllers 100 and 101; may be NULL */
	const char *secret;     /* of our host NQN, "DHHC-1:00:..." of 32 bytes; may be NULL */
	/* what we try to reach in the target: keys of its memory regions, an address in one */
	uint32_t keys[64];
	size_t nkeys;
	uint64_t reach_addr;
	const char *after; /* a command to be run after each case, see nothing_is_held(); or NULL */
	unsigned int sample; /* so many cases of each group, chosen by @seed; 0: all */
	uint32_t seed;
	unsigned int passed, failed, todo, skipped;
	/* private: */
	const char *group;
	char why[320];
	bool skip;
	bool counting;                /* the cases of a group, nothing else */
	unsigned int ncases, nchosen; /* of the group that are still to come; of these, to be run */
	bool path_closed; /* suite_controller() leaves the drive alone: nothing can reach it */
	/* shared by the cases, see suite_controller() */
	struct fab_ctrl *ctrl;
	struct fab_queue io;     /* queue 1, of IO_QUEUE_DEPTH */
	struct host_buffer data; /* FAB_DATA_LEN */
	uint32_t nsid, lba_len;  /* the first active namespace */
	uint64_t nlb;
	uint16_t next_qid;
};

typedef bool case_fn(struct suite *s, const void *row);

struct test_group {
	const char *name, *about;
	void (*run)(struct suite *s);
	bool on_request; /* only when named */
};
extern const struct test_group test_groups[];
extern const size_t ntest_groups;

/** suite_group() - run one group, if it is wanted. */
void suite_group(struct suite *s, const struct test_group *g);

/** suite_case() - run one case of the group that runs now, if it is wanted, and tell its result. */
void suite_case(struct suite *s, const char *name, enum since since, case_fn *fn, const void *row);

/** suite_fail() - why the case fails: "got ..., expected ...". Return: false. */
__attribute__((format(printf, 2, 3))) bool suite_fail(struct suite *s, const char *format, ...);

/** suite_skip() - why the case cannot be run on this controller. Return: false. */
__attribute__((format(printf, 2, 3))) bool suite_skip(struct suite *s, const char *format, ...);

/** suite_controller() - have the shared controller and queue. False: the case has failed. */
bool suite_controller(struct suite *s);

/** suite_drop_controller() - the next case gets a new one. */
void suite_drop_controller(struct suite *s);

/** suite_another_host() - as ours, but another NQN, which ends in @suffix, and another host ID. */
void suite_another_host(const struct suite *s, const char *suffix, struct fab_host *ret);

/** suite_create() - a controller of the case's own. False: the case has failed. */
bool suite_create(struct suite *s, const struct fab_options *o, struct fab_ctrl **ret);

/** suite_qid() - an I/O queue ID that no case used lately. */
uint16_t suite_qid(struct suite *s);

/** suite_fini() - free what is shared. */
void suite_fini(struct suite *s);

/* A controller of a case's own with one queue of it. */
struct suite_pair {
	struct fab_ctrl *ctrl;
	struct fab_queue q;
};

/** suite_pair_create() - a queue of @depth entries. False: the case has failed; @ret can be
 * destroyed. */
bool suite_pair_create(struct suite *s, uint16_t depth, struct suite_pair *ret);

/** suite_pair_destroy() - disconnect both. A zeroed one is fine. */
void suite_pair_destroy(struct suite_pair *p);

/** suite_others_live() - whatever a host does to its own queue, others do not notice: the shared
 * controller answers. */
bool suite_others_live(struct suite *s);

/* ---- cases of one command --------------------------------------------------------------------
 */

enum on { ON_ADMIN, ON_IO };
enum data { NO_DATA, TO_HOST, FROM_HOST };
enum then { ALIVE, GONE };
#define UNKNOWN_NSID 1000 /* valid, and nobody has it */
#define FREE_LBA     64   /* from here on cases may write; below is the pattern of the suite */

struct command_case;
typedef void edit_fn(struct suite *s, const struct command_case *row, struct capsule *c);
typedef bool check_fn(struct suite *s, const struct command_case *row,
		      const struct host_response *r);

#define MY_NSID 0xfffffff0u /* in a row: the namespace of the suite */

struct command_case {
	const char *name;
	enum since since;
	/* the capsule: keyed SGL over len bytes, or blocks times the length of an LBA */
	enum on on;
	uint8_t opcode;
	uint32_t nsid, cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
	enum data data;
	uint32_t len, blocks;
	edit_fn *edit; /* whatever else there is to set */
	uint64_t arg;  /* for edit and check */
	/* the answer */
	uint16_t status;
	uint32_t dw0_mask, dw0;
	enum then then;
	check_fn *check; /* whatever else there is to see */
};

/**
 * command_case() - a case_fn. Checks status, dw0, that data was written to its last byte if the
 * command succeeded and not at all if it failed, that a refused write left the drive as it was,
 * and whether the connection lives as it should.
 */
bool command_case(struct suite *s, const void *row);

/** suite_commands() - suite_case() for each row. */
void suite_commands(struct suite *s, const struct command_case *rows, size_t n);
#define SUITE_COMMANDS(s, rows) suite_commands(s, rows, sizeof(rows) / sizeof((rows)[0]))

/** expect_status() - true, or suite_fail(). @err is what fab_exec() returned. */
bool expect_status(struct suite *s, int err, const struct host_response *r, uint16_t status);

/** expect_gone() - true when the connection ends within HOST_TIMEOUT_MS, or suite_fail(). */
bool expect_gone(struct suite *s, struct host_conn *c);

/** expect_pattern() - nothing has written to LBA 0 since suite_controller() wrote its pattern
 * there. */
bool expect_pattern(struct suite *s);

/* What there is of I/O commands, beside those about reservations. */
struct io_form {
	const char *name;
	uint8_t opcode;
	bool writes;       /* not for a namespace that is write-protected */
	bool is_resv_read; /* Base 2.1, 8.1.22, command behavior: with the reads; else the writes */
};
extern const struct io_form io_forms[];
extern const size_t nio_forms;

/** suite_io_init() - one block at @slba in its right form, with all its data. After a Read of the
 * same block, Compare finds it the same. */
void suite_io_init(struct suite *s, const struct io_form *f, uint64_t slba, struct capsule *c);

/** edit_from_end() - SLBA is row->arg blocks before the end of the namespace. */
void edit_from_end(struct suite *s, const struct command_case *row, struct capsule *c);

/** suite_transfer() - Read or Write of blocks, into or from the suite's data; it must succeed. */
bool suite_transfer(struct suite *s, uint8_t opcode, uint64_t slba, uint32_t nblocks);

/** suite_fill() - bytes that look random, the same ones for the same @seed. */
void suite_fill(uint8_t *to, size_t len, unsigned int seed);

/* the groups */
void cm_cases(struct suite *s);
void cm_resource_cases(struct suite *s);
void connect_cases(struct suite *s);
void limit_cases(struct suite *s);
void property_cases(struct suite *s);
void opcode_cases(struct suite *s, enum on on); /* each opcode, by the effects log */
void admin_cases(struct suite *s);
void io_cases(struct suite *s);
void more_io_cases(struct suite *s); /* part of io_cases() */
void sgl_cases(struct suite *s);
void list_cases(struct suite *s); /* part of sgl_cases() */
void flow_cases(struct suite *s);
void state_cases(struct suite *s);
void keep_alive_cases(struct suite *s);
void aer_cases(struct suite *s);
void abort_cases(struct suite *s);
void resv_cases(struct suite *s);
void hostile_cases(struct suite *s);
void going_cases(struct suite *s); /* part of hostile_cases() */
void deaf_cases(struct suite *s);
void unregistered_cases(struct suite *s);
void stale_cases(struct suite *s);
void stale_piece_cases(struct suite *s);
void stale_media_cases(struct suite *s);
void stale_edge_cases(struct suite *s);
void protect_cases(struct suite *s);
void unsaved_cases(struct suite *s);
void read_only_cases(struct suite *s);
void no_space_cases(struct suite *s);
void media_cases(struct suite *s);
void not_ready_cases(struct suite *s);
void require_cases(struct suite *s);
void ana_inaccessible_cases(struct suite *s);
void ana_loss_cases(struct suite *s);
void ana_change_cases(struct suite *s);
void auth_cases(struct suite *s);
void auth_unasked_cases(struct suite *s);

#endif
