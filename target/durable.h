/*
 * durable: small files that survive a power loss. A file is replaced as a whole, so that there is
 * always the former or the new one. Any thread, but one file one thread; blocks until the disk has
 * it.
 */
#ifndef TARGET_DURABLE_H
#define TARGET_DURABLE_H

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

#endif
