/*
 * durable: small files that survive a power loss. A file is replaced as a whole, so that there is
 * always the former or the new one. Any thread, but one file one thread; blocks until the disk has
 * it.
 */
#ifndef TARGET_DURABLE_H
#define TARGET_DURABLE_H

#include "config/config.h"
#include "target/worker.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * durable_replace() - have file @name in folder @dir (absolute) hold the @len bytes of @buf. The
 * folder is made if it is not there (its parent must be).
 * Return: 0 when it is on the disk; or negative errno, *@ret_why says which step failed, and the
 * file is whole: the former one, or (if only its folder could not be flushed) maybe the new one.
 */
__attribute__((warn_unused_result)) int durable_replace(const char *dir, const char *name,
							const void *buf, size_t len,
							const char **ret_why);

/** durable_boot_id() - what tells this boot of the machine from others; zeros: not known. */
void durable_boot_id(uint8_t ret[16]);
extern const char *durable_boot_file; /* where that is read; tests boot by changing it */

/** durable_remove() - there is no such file any more. Return: as durable_replace(); none is fine.
 */
__attribute__((warn_unused_result)) int durable_remove(const char *dir, const char *name,
						       const char **ret_why);

/** durable_read() - the first @most bytes of it. Return: how many, or negative errno. */
ssize_t durable_read(const char *dir, const char *name, void *buf, size_t most);

/* The same while the control thread goes on. Embedded; the owner's again when done() is called. */
struct durable_job {
	struct task task; /* first */
	int err;          /* how it went, as of durable_replace() */
	const char *why;
	/* private: */
	char dir[CONFIG_STATE_DIR_MAX + 1], name[64]; /* copies: configurations come and go */
	const void *buf;
	size_t len;
};

/**
 * durable_later() - have the worker durable_replace() a file, or with @buf NULL durable_remove()
 * it, and then call @done with the job's task in the control thread. @buf stays the caller's and as
 * it is until then. Jobs are done in the order of asking. Control thread.
 */
void durable_later(struct worker *w, struct durable_job *job, const char *dir, const char *name,
		   const void *buf, size_t len, void (*done)(struct task *));

#endif
