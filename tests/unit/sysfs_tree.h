/*
 * A tree of sysfs as record-sysfs took it (tests/lib), unpacked below a folder of ours, and edited.
 * Included once, by a test's only source, after its asserts.
 */
#ifndef TESTS_UNIT_SYSFS_TREE_H
#define TESTS_UNIT_SYSFS_TREE_H

#include "p2p/topology.h"

#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/topology-XXXXXX"; /* holds "sys" and "proc" of one tree at a time */
static struct topology topo;

/* The full name of a file of the tree. */
static inline const char *at(const char *path)
{
	static char full[PATH_MAX];

	ck_assert_int_lt(snprintf(full, sizeof(full), "%s/%s", root, path), (int)sizeof(full));
	return full;
}

static inline void make_parents(const char *path)
{
	char dir[PATH_MAX], *slash;

	snprintf(dir, sizeof(dir), "%s", at(path));
	for (slash = dir + strlen(root); (slash = strchr(slash + 1, '/')); *slash = '/') {
		*slash = '\0';
		ck_assert(mkdir(dir, 0755) == 0 || errno == EEXIST);
	}
}

static inline void put_bytes(const char *path, int flags, off_t offset, const void *bytes,
			     size_t len)
{
	make_parents(path);

	int fd = open(at(path), O_WRONLY | O_CREAT | flags, 0644);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(flags & O_APPEND ? write(fd, bytes, len) : pwrite(fd, bytes, len, offset),
			 (ssize_t)len);
	close(fd);
}

static inline void put(const char *path, const char *text)
{
	put_bytes(path, O_TRUNC, 0, text, strlen(text));
}

static inline void put_link(const char *path, const char *target)
{
	make_parents(path);
	(void)unlink(at(path));
	ck_assert_msg(symlink(target, at(path)) == 0, "%s: %s", path, strerror(errno));
}

static inline void set_size(const char *path, off_t size)
{
	put_bytes(path, 0, 0, "", 0);
	ck_assert_int_eq(truncate(at(path), size), 0);
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void drop(const char *path)
{
	ck_assert_msg(nftw(at(path), remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "%s: %s", path,
		      strerror(errno));
}

static inline void look(void)
{
	char cpuinfo[PATH_MAX];

	snprintf(cpuinfo, sizeof(cpuinfo), "%s", at("proc/cpuinfo"));
	topology_init(&topo, at("sys"), cpuinfo);
}

/* " 0e0 00112233...": bytes of the file that a hex line began */
static inline void put_row(const char *path, char *row)
{
	uint8_t bytes[64];
	size_t n = 0;
	char *hex;
	unsigned long offset = strtoul(row, &hex, 16);

	for (hex += strspn(hex, " "); isxdigit((unsigned char)*hex) && n < sizeof(bytes);
	     hex += 2) {
		char pair[] = { hex[0], hex[1], '\0' };

		bytes[n++] = (uint8_t)strtoul(pair, NULL, 16);
	}
	ck_assert_uint_gt(n, 0);
	put_bytes(path, 0, (off_t)offset, bytes, n);
}

/* Unpack a recorded tree in place of the last one; the format is told in tests/lib/record-sysfs. */
static inline void load(const char *tree)
{
	char name[128], path[PATH_MAX] = "", *line = NULL;
	size_t size = 0, nlines = 0;

	if (access(at("sys"), F_OK) == 0)
		drop("sys");
	if (access(at("proc"), F_OK) == 0)
		drop("proc");
	snprintf(name, sizeof(name), "tests/unit/sysfs/%s", tree);

	FILE *f = fopen(name, "re");

	ck_assert_msg(f, "%s: %s (run from the root of the project)", name, strerror(errno));
	for (; getline(&line, &size, f) > 0; nlines++) {
		char *verb = line, *rest;

		line[strcspn(line, "\n")] = '\0';
		if (*line == ' ') {
			put_row(path, line);
			continue;
		}
		rest = strchr(line, ' ');
		ck_assert_ptr_nonnull(rest);
		*rest++ = '\0';
		snprintf(path, sizeof(path), "%.*s", (int)strcspn(rest, " "), rest);
		rest += strlen(path);
		rest += *rest == ' ';
		if (strcmp(verb, "link") == 0) {
			put_link(path, rest);
		} else if (strcmp(verb, "hex") == 0) {
			set_size(path, atol(rest));
		} else {
			ck_assert_msg(strcmp(verb, "file") == 0 || strcmp(verb, "more") == 0,
				      "%s: '%s'", name, verb);
			put_bytes(path, *verb == 'm' ? O_APPEND : O_TRUNC, 0, rest, strlen(rest));
			put_bytes(path, O_APPEND, 0, "\n", 1);
		}
	}
	free(line);
	fclose(f);
	ck_assert_uint_gt(nlines, 0);
	look();
}

static inline void make_root(void)
{
	ck_assert_ptr_nonnull(mkdtemp(root));
}

/* In the parent process, so that a test that failed leaves nothing behind either. */
static inline void drop_root(void)
{
	ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
