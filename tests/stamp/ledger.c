/* Generations, in anonymous memory or in a mapped file. */
#include "tests/stamp/ledger.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* How a file begins; the entries follow. It is read on the machine that wrote it. */
struct ledger_header {
	char magic[8];
	struct stamp_run run;
	uint64_t first, nblocks;
};
static_assert(sizeof(struct ledger_header) % _Alignof(struct ledger_entry) == 0, "");

static const char ledger_magic[8] = "p2pledg1";

static int map(struct ledger *l, const char *path, bool *ret_is_new)
{
	struct stat st = { 0 };
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1, err = 0;

	if (path && (fd < 0 || fstat(fd, &st)))
		err = -errno;
	else if (path && st.st_size && (size_t)st.st_size != l->map_len)
		err = -EBADMSG;
	else if (path && !st.st_size && ftruncate(fd, (off_t)l->map_len))
		err = -errno;
	if (!err) {
		l->map = mmap(NULL, l->map_len, PROT_READ | PROT_WRITE,
			      path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
		if (l->map == MAP_FAILED) {
			err = -errno;
			l->map = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	*ret_is_new = st.st_size == 0;
	return err;
}

int ledger_open(struct ledger *l, const char *path, const struct stamp_run *run, uint64_t first,
		uint64_t nblocks)
{
	struct ledger_header h;
	bool is_new;
	int err;

	memset(&h, 0, sizeof(h)); /* it is compared as bytes */
	memcpy(h.magic, ledger_magic, sizeof(h.magic));
	h.run = *run;
	h.first = first;
	h.nblocks = nblocks;
	*l = (struct ledger){ .nblocks = nblocks };
	l->map_len = sizeof(h) + nblocks * sizeof(l->of[0]);
	err = map(l, path, &is_new);
	if (!err && is_new)
		memcpy(l->map, &h, sizeof(h));
	else if (!err && memcmp(l->map, &h, sizeof(h)) != 0)
		err = -EBADMSG;
	if (err) {
		ledger_close(l);
		return err;
	}
	l->of = (void *)((uint8_t *)l->map + sizeof(h));
	l->resumed = !is_new;
	for (uint64_t i = 0; i < nblocks && l->resumed; i++)
		l->of[i].sent += LEDGER_LAG;
	return 0;
}

int ledger_sync(struct ledger *l)
{
	return msync(l->map, l->map_len, MS_SYNC) ? -errno : 0;
}

void ledger_close(struct ledger *l)
{
	if (l->map)
		munmap(l->map, l->map_len);
	*l = (struct ledger){ 0 };
}
