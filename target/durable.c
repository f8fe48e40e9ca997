#include "target/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid.h>

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_close_ __attribute__((cleanup(close_fd)))

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* With its name on the disk: that is in the folder above. */
static int make_folder(const char *dir)
{
	_cleanup_close_ int above = -1;
	char path[PATH_MAX];
	const char *slash = strrchr(dir, '/');

	snprintf(path, sizeof(path), "%.*s", slash == dir ? 1 : (int)(slash - dir), dir);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) /* another thread was faster */
		return -errno;
	above = open_folder(path);
	if (above < 0)
		return above;
	return fsync(above) < 0 ? -errno : 0;
}

static int open_or_make_folder(const char *dir)
{
	int fd = open_folder(dir);
	int err;

	if (fd != -ENOENT)
		return fd;
	err = make_folder(dir);
	return err ? err : open_folder(dir);
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_new(int dirfd, const char *name, const uint8_t *p, size_t len)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	err = write_all(fd, p, len);
	if (err)
		return err;
	return fsync(fd) < 0 ? -errno : 0;
}

int durable_replace(const char *dir, const char *name, const void *buf, size_t len,
		    const char **ret_why)
{
	_cleanup_close_ int dirfd = -1;
	char new_name[NAME_MAX + 1];
	int err;

	snprintf(new_name, sizeof(new_name), "%s.new", name);
	*ret_why = "opening the folder";
	dirfd = open_or_make_folder(dir);
	if (dirfd < 0)
		return dirfd;
	*ret_why = "writing the file";
	err = write_new(dirfd, new_name, buf, len);
	if (err) {
		(void)unlinkat(dirfd, new_name, 0);
		return err;
	}
	*ret_why = "renaming the file";
	if (renameat(dirfd, new_name, dirfd, name) < 0)
		return -errno;
	*ret_why = "flushing the folder";
	return fsync(dirfd) < 0 ? -errno : 0;
}

const char *durable_boot_file = "/proc/sys/kernel/random/boot_id";

void durable_boot_id(uint8_t ret[16])
{
	char text[UUID_STR_LEN] = "";
	FILE *f = fopen(durable_boot_file, "re");

	memset(ret, 0, 16);
	if (f && fgets(text, sizeof(text), f))
		(void)uuid_parse(text, ret);
	if (f)
		fclose(f);
}

int durable_remove(const char *dir, const char *name, const char **ret_why)
{
	_cleanup_close_ int dirfd = open_folder(dir);

	*ret_why = "opening the folder";
	if (dirfd < 0)
		return dirfd == -ENOENT ? 0 : dirfd;
	*ret_why = "removing the file";
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	*ret_why = "flushing the folder";
	return fsync(dirfd) < 0 ? -errno : 0;
}

ssize_t durable_read(const char *dir, const char *name, void *buf, size_t most)
{
	_cleanup_close_ int dirfd = open_folder(dir), fd = -1;
	size_t len = 0;
	ssize_t n;

	if (dirfd < 0)
		return dirfd;
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, (uint8_t *)buf + len, most - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	} while (n != 0 && len < most);
	return (ssize_t)len;
}

/* ---- by the worker ------------------------------------------------------------------------------
 */

static void run_job(struct task *task)
{
	struct durable_job *job = (struct durable_job *)task;

	job->err = job->buf ? durable_replace(job->dir, job->name, job->buf, job->len, &job->why)
			    : durable_remove(job->dir, job->name, &job->why);
}

void durable_later(struct worker *w, struct durable_job *job, const char *dir, const char *name,
		   const void *buf, size_t len, void (*done)(struct task *))
{
	strlcpy(job->dir, dir, sizeof(job->dir));
	strlcpy(job->name, name, sizeof(job->name));
	job->buf = buf;
	job->len = len;
	job->task.run = run_job;
	job->task.done = done;
	worker_submit(w, &job->task);
}
