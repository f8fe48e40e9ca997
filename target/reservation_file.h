/*
 * reservation_file: reservations that outlive the daemon, one small file for each namespace
 * (durable.h), on the disk before they are in force. Those that do not persist through power loss
 * (PTPL) end with a power loss, that is, when the machine boots (Base 2.1, 8.1.22): their
 * file says of which boot it is, and of an earlier one it counts for nothing. A restart of the
 * daemon is no power loss. durable_remove() the file when there is nothing to keep.
 * Control thread; blocks until the disk has it.
 */
#ifndef TARGET_RESERVATION_FILE_H
#define TARGET_RESERVATION_FILE_H

#include "target/reservation.h"

#define RESV_FILE_NQN_SIZE 224 /* with its NUL */

/* Whose reservations a file holds; one of another namespace is refused. */
struct resv_file_owner {
	const char *nqn; /* of the subsystem */
	uint32_t nsid;
	uint8_t uuid[16];
};

/**
 * resv_file_save() - have file @name in folder @dir (absolute) hold @r. The folder is made if it is
 * not there (its parent must be).
 * Return: 0 when it is on the disk; or negative errno, *@ret_why says which step failed, and the
 * file is whole: the former one, or (if only its folder could not be flushed) maybe the new one.
 */
__attribute__((warn_unused_result)) int resv_file_save(const char *dir, const char *name,
						       const struct resv_file_owner *owner,
						       const struct reservation *r,
						       const char **ret_why);

/**
 * resv_file_load() - read what was saved.
 * Return: 0; -ENOENT: there is no such file, or of another boot; -EBADMSG: *@ret_why says what is
 * wrong with it; or the negative errno of reading it. *@ret is untouched on failure.
 */
__attribute__((warn_unused_result)) int resv_file_load(const char *dir, const char *name,
						       const struct resv_file_owner *owner,
						       struct reservation *ret,
						       const char **ret_why);

/** resv_file_decode() - the same, from @len bytes in memory. */
__attribute__((warn_unused_result)) int resv_file_decode(const void *buf, size_t len,
							 const struct resv_file_owner *owner,
							 struct reservation *ret,
							 const char **ret_why);

#endif
