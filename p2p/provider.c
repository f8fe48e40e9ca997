#include "p2p/provider.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROW_LEAST_PAGES 16u /* less at a time is not worth a system call */
#define HUGE_PAGE_SIZE   (2u << 20)

/* One number from a sysfs file. Return: 0 or negative errno. */
static int read_number(const char *dir, const char *file, long long *ret)
{
	char path[PATH_MAX], text[64];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, file);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;

	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	ssize_t got = read(fd, text, sizeof(text) - 1);
	int err = got < 0 ? -errno : 0;

	close(fd);
	if (err)
		return err;
	text[got] = '\0';

	char *end;

	errno = 0;
	*ret = strtoll(text, &end, 0);
	return errno ? -errno : end == text ? -EINVAL : 0;
}

/* ---- moving pages ------------------------------------------------------------------------------
 */

int p2p_move_pages(uint8_t *from, uint8_t *to, size_t len, bool keep)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (keep ? MREMAP_DONTUNMAP : 0);

	if (mremap(from, len, len, flags, to) == to)
		return 0;

	int err = -errno;

	/*
	 * EEXIST says that there is no hole: mremap failed before it unmapped the target. Where the
	 * kernel allows no more mappings it does not look; msync then does, which finds holes
	 * (ENOMEM) and needs no mapping.
	 */
	if (mmap(to, len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != to &&
	    errno != EEXIST && msync(to, len, MS_ASYNC) < 0)
		abort();
	return err;
}

uint8_t *p2p_reserve(size_t len)
{
	return mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/* ---- chunks ------------------------------------------------------------------------------------
 */

/* How many pages the next chunk may have: the chunk size, but not beyond the cap, the number of
 * chunks, or what others are to keep. */
static uint32_t next_chunk(const struct provider *p, const char *dir, uint32_t wanted)
{
	uint32_t most = p->max_pages - p->npages;
	uint32_t left = PROVIDER_CHUNKS_MAX - p->nchunks;
	long long available;

	if (most == 0 || left == 0 || read_number(dir, "available", &available) < 0 ||
	    available <= 0 || (size_t)available <= p->opts->reserve)
		return 0;
	if (wanted < most / left + 1)
		wanted = most / left + 1;
	if (wanted > most)
		wanted = most;

	size_t free_pages = ((size_t)available - p->opts->reserve) / P2P_PAGE_SIZE;

	return wanted < free_pages ? wanted : (uint32_t)free_pages;
}

static int add_chunk(struct provider *p, uint32_t npages)
{
	size_t len = (size_t)npages * P2P_PAGE_SIZE;
	uint8_t *at = p->pool + (size_t)p->npages * P2P_PAGE_SIZE;
	uint8_t *chunk = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, p->alloc_fd, 0);

	if (chunk == MAP_FAILED)
		return -errno;

	/* children must not inherit the pages: they would keep them allocated after us */
	int err = madvise(chunk, len, MADV_DONTFORK) < 0 ? -errno : 0;

	if (!err)
		err = p2p_move_pages(chunk, at, len, false);
	if (err) {
		munmap(chunk, len);
		return err;
	}
	buddy_give(&p->free, p->npages, npages);
	p->chunk[p->nchunks++] = npages;
	counter_add32(&p->npages, npages);
	counter_add(&p->grown, 1);
	return 0;
}

/* `allocate` gives one contiguous run or ENOMEM, and others may hold pages in the middle, so ask
 * for less until it fits. */
static int grow(struct provider *p, uint32_t wanted)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s/bus/pci/devices/%s/p2pmem", p->opts->sysfs, p->name);
	for (uint32_t n = next_chunk(p, dir, wanted); n > 0; n /= 2) {
		int err = add_chunk(p, n);

		if (err != -ENOMEM)
			return err;
		if (n <= GROW_LEAST_PAGES)
			break;
	}
	counter_add(&p->refused, 1);
	p->denied = true;
	return -ENOMEM;
}

size_t provider_floor(const struct provider *p)
{
	return p->opts->floor / (p->opts->parts ? p->opts->parts : 1);
}

int provider_grow(struct provider *p)
{
	if (p->kind != PROVIDER_CMB || p->state != PROVIDER_ACTIVE || p->denied ||
	    p->npages == p->max_pages)
		return -ENOMEM;
	return grow(p, (uint32_t)(p->opts->chunk / P2P_PAGE_SIZE));
}

void provider_shrink(struct provider *p)
{
	if (p->kind != PROVIDER_CMB || p->state != PROVIDER_ACTIVE)
		return;
	p->denied = false;
	while (p->nchunks > 1) {
		uint32_t n = p->chunk[p->nchunks - 1], first = p->npages - n;
		uint8_t *at = p->pool + (size_t)first * P2P_PAGE_SIZE;

		if ((size_t)first * P2P_PAGE_SIZE < provider_floor(p) ||
		    !buddy_take_range(&p->free, first, n))
			return;
		/* in one step: never a hole in the pool */
		if (mmap(at, (size_t)n * P2P_PAGE_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != at) {
			buddy_give(&p->free, first, n);
			return;
		}
		counter_add32(&p->npages, -n);
		p->nchunks--;
		counter_add(&p->shrunk, 1);
	}
}

/* ---- life --------------------------------------------------------------------------------------
 */

static struct provider *provider_new(enum provider_kind kind, const char *name)
{
	struct provider *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->kind = kind;
	p->index = UINT_MAX;
	p->numa_node = -1;
	p->pool = MAP_FAILED;
	p->alloc_fd = -1;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->scratch_fd = memfd_create("p2p-scratch", MFD_CLOEXEC);
	return p;
}

static void unmap_pool(struct provider *p)
{
	if (p->pool != MAP_FAILED)
		munmap(p->pool, (size_t)p->max_pages * P2P_PAGE_SIZE);
	if (p->alloc_fd >= 0)
		close(p->alloc_fd);
	buddy_fini(&p->free);
	p->pool = MAP_FAILED;
	p->alloc_fd = -1;
	counter_add32(&p->npages, -p->npages);
	p->nchunks = 0;
}

void provider_destroy(struct provider *p)
{
	if (!p)
		return;
	unmap_pool(p);
	if (p->scratch_fd >= 0)
		close(p->scratch_fd);
	free(p);
}

static int map_pool(struct provider *p, const char *dir)
{
	const struct provider_opts *o = p->opts;
	unsigned int parts = o->parts ? o->parts : 1;
	size_t most = (p->published_size < o->cap ? p->published_size : o->cap) / parts;
	size_t floor = provider_floor(p);
	uint32_t start = (uint32_t)((floor > o->chunk ? floor : o->chunk) / P2P_PAGE_SIZE);
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/allocate", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (most > (size_t)P2P_PAGE_SIZE << BUDDY_MAX_ORDER)
		most = (size_t)P2P_PAGE_SIZE << BUDDY_MAX_ORDER;
	p->max_pages = (uint32_t)(most / P2P_PAGE_SIZE);
	p->alloc_fd = open(path, O_RDWR | O_CLOEXEC);
	if (p->alloc_fd < 0)
		return -errno;
	p->pool = p2p_reserve((size_t)p->max_pages * P2P_PAGE_SIZE);
	if (p->pool == MAP_FAILED)
		return -errno;

	int err = buddy_init(&p->free, p->max_pages);

	return err ? err : grow(p, start);
}

/* Map the function's p2pmem, into a provider that has nothing mapped. @why: what to tell, if not.
 */
static int open_function(struct provider *p, char *why, size_t why_len)
{
	char dir[PATH_MAX], devdir[PATH_MAX];
	long long size = 0, available = 0, published = 0, node = -1;

	snprintf(devdir, sizeof(devdir), "%s/bus/pci/devices/%s", p->opts->sysfs, p->name);
	if (snprintf(dir, sizeof(dir), "%s/p2pmem", devdir) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	if (read_number(dir, "size", &size) < 0 || read_number(dir, "available", &available) < 0 ||
	    size < (long long)P2P_PAGE_SIZE)
		return -ENODEV;
	if (read_number(dir, "published", &published) < 0 || published != 1) {
		snprintf(why, why_len,
			 "%s has p2pmem but does not publish it (its CMB lacks WDS or RDS)",
			 p->name);
		return -ENODEV;
	}
	p->published_size = (size_t)size;
	if (read_number(devdir, "numa_node", &node) == 0)
		p->numa_node = (int)node;

	int err = map_pool(p, dir);

	if (!err) {
		p->state = PROVIDER_ACTIVE;
		return 0;
	}
	unmap_pool(p);
	if (err == -ENOMEM)
		snprintf(why, why_len, "%s has %lld of %lld bytes of CMB free, cmb_reserve is %zu",
			 p->name, available, size, p->opts->reserve);
	else
		snprintf(why, why_len, "mapping %s/allocate: %s", dir, strerror(-err));
	return err == -ENOMEM ? -ENODEV : err;
}

/* ---- the set -----------------------------------------------------------------------------------
 */

/* Without CONFIG_PCI_P2PDMA no CMB is ever published, whatever the drives have (Debian's 6.12 is
 * built so). Nothing in sysfs says it; the list of kernel symbols does, names being readable by
 * everybody. */
static bool kernel_has_p2pdma(const char *kallsyms)
{
	FILE *f = fopen(kallsyms, "re");
	char line[512];
	bool found = false;

	if (!f)
		return true; /* nobody knows: blame nothing */
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, " pci_p2pdma_add_resource") != NULL;
	fclose(f);
	return found;
}

struct provider *provider_set_find(const struct provider_set *set, const char *bdf)
{
	for (unsigned int i = 0; i < set->n; i++)
		if (strcmp(set->provider[i]->name, bdf) == 0)
			return set->provider[i];
	return NULL;
}

/* A new one at the end of the set, GONE. */
static struct provider *add_provider(struct provider_set *set, const char *bdf)
{
	struct provider *p = provider_new(PROVIDER_CMB, bdf);

	if (!p)
		return NULL;
	p->opts = &set->opts;
	p->state = PROVIDER_GONE;
	p->index = set->n;
	set->provider[set->n++] = p;
	return p;
}

/* True if the function at @bdf is a provider now and was none before. */
static bool scan_function(struct provider_set *set, const char *bdf, unsigned int *ret_index)
{
	struct provider *p = provider_set_find(set, bdf);
	char dir[PATH_MAX];

	if (p ? p->state != PROVIDER_GONE : set->n == PROVIDER_MAX)
		return false;
	snprintf(dir, sizeof(dir), "%s/bus/pci/devices/%s/p2pmem", set->opts.sysfs, bdf);
	if (access(dir, F_OK) < 0)
		return false;

	bool known = p != NULL;

	if (!known)
		p = add_provider(set, bdf);
	if (!p)
		return false;
	*ret_index = p->index;
	if (open_function(p, set->why_none, sizeof(set->why_none)) == 0)
		return true;
	if (!known) {
		set->n--;
		provider_destroy(p);
	}
	return false;
}

uint32_t provider_set_scan(struct provider_set *set)
{
	struct dirent **names = NULL;
	char dir[PATH_MAX];
	unsigned int index;
	uint32_t found = 0;

	snprintf(dir, sizeof(dir), "%s/bus/pci/devices", set->opts.sysfs);

	int n = scandir(dir, &names, NULL, alphasort);

	if (n < 0)
		snprintf(set->why_none, sizeof(set->why_none), "%s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' && scan_function(set, names[i]->d_name, &index))
			found |= UINT32_C(1) << index;
		free(names[i]);
	}
	free(names);
	return found;
}

int provider_set_discover(const struct provider_opts *opts, struct provider_set **ret_set)
{
	struct provider_set *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	set->opts = *opts;
	snprintf(set->why_none, sizeof(set->why_none), "no drive has a Controller Memory Buffer");
	if (!provider_set_scan(set) && !kernel_has_p2pdma(opts->kallsyms)) {
		set->no_p2pdma = true;
		snprintf(set->why_none, sizeof(set->why_none),
			 "this kernel has no peer-to-peer DMA (CONFIG_PCI_P2PDMA)");
	}
	*ret_set = set;
	return 0;
}

int provider_set_create_follower(const struct provider_opts *opts, struct provider_set **ret_set)
{
	struct provider_set *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	set->opts = *opts;
	*ret_set = set;
	return 0;
}

uint32_t provider_set_follow(struct provider_set *set, const struct provider_set *leader)
{
	uint32_t found = 0;

	for (unsigned int i = 0; i < leader->n; i++) {
		struct provider *p = i < set->n ? set->provider[i]
						: add_provider(set, leader->provider[i]->name);

		if (!p)
			break; /* no memory: the indexes after it would not agree */
		if (leader->provider[i]->state == PROVIDER_ACTIVE && p->state == PROVIDER_GONE &&
		    open_function(p, set->why_none, sizeof(set->why_none)) == 0)
			found |= UINT32_C(1) << i;
	}
	return found;
}

void provider_set_destroy(struct provider_set *set)
{
	if (!set)
		return;
	for (unsigned int i = 0; i < set->n; i++)
		provider_destroy(set->provider[i]);
	free(set);
}

/* ---- host memory -------------------------------------------------------------------------------
 */

/* Huge pages that the administrator set aside (mmap reserves them, or fails: no SIGBUS later). */
static uint8_t *map_hugetlb(size_t len)
{
	if (len % HUGE_PAGE_SIZE)
		return MAP_FAILED;
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		    -1, 0);
}

/* Else transparent ones, which need the alignment: I/O on one is one piece for drive and RNIC. */
static uint8_t *map_transparent(size_t len)
{
	size_t slack = HUGE_PAGE_SIZE;
	uint8_t *all = mmap(NULL, len + slack, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head;

	if (all == MAP_FAILED)
		return MAP_FAILED;
	head = (size_t)(-(uintptr_t)all % HUGE_PAGE_SIZE);
	if (head)
		munmap(all, head);
	if (slack - head)
		munmap(all + head + len, slack - head);
	(void)madvise(all + head, len, MADV_HUGEPAGE); /* a kernel without them has small ones */
	return all + head;
}

int provider_create_host(uint32_t npages, struct provider **ret_provider)
{
	size_t len = (size_t)npages * P2P_PAGE_SIZE;
	struct provider *p = provider_new(PROVIDER_HOST, "host");

	if (!p)
		return -ENOMEM;
	p->max_pages = npages;
	p->pool = map_hugetlb(len);
	if (p->pool == MAP_FAILED)
		p->pool = map_transparent(len);

	int err = p->pool == MAP_FAILED ? -errno : 0;

	if (!err && madvise(p->pool, len, MADV_DONTFORK) < 0)
		err = -errno;
	if (!err)
		err = buddy_init(&p->free, npages);
	if (err) {
		provider_destroy(p);
		return err;
	}
	buddy_give(&p->free, 0, npages);
	p->npages = npages;
	p->published_size = len;
	*ret_provider = p;
	return 0;
}

/* ---- loss --------------------------------------------------------------------------------------
 */

bool provider_alive(const struct provider *p)
{
	struct stat mapped, now;
	char path[PATH_MAX];

	if (p->kind == PROVIDER_HOST)
		return true;
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/p2pmem/allocate", p->opts->sysfs,
		 p->name);
	if (p->alloc_fd < 0)
		return false;
	if (stat(path, &now) < 0)
		return errno != ENOENT; /* else nobody knows, and what is mapped is used on */
	return fstat(p->alloc_fd, &mapped) < 0 ||
	       (mapped.st_ino == now.st_ino && mapped.st_dev == now.st_dev);
}

void provider_lose(struct provider *p)
{
	assert(p->kind == PROVIDER_CMB && p->state == PROVIDER_ACTIVE);
	p->state = PROVIDER_LOST;
	counter_add(&p->losses, 1);
}

bool provider_release(struct provider *p)
{
	if (p->state != PROVIDER_LOST || buddy_free_pages(&p->free) != p->npages)
		return false;
	unmap_pool(p);
	p->state = PROVIDER_GONE;
	return true;
}

/* ---- access by system call ---------------------------------------------------------------------
 */

/* memfd writes copy from user memory in the kernel, where a lost page is EFAULT and not SIGBUS. */
static int copy_through(int fd, const void *from, void *to, size_t len)
{
	ssize_t n = pwrite(fd, from, len, 0);

	if (n == (ssize_t)len)
		n = pread(fd, to, len, 0);
	return n < 0 ? -errno : n == (ssize_t)len ? 0 : -EFAULT;
}

int provider_peek(struct provider *p, const void *va, void *buf, size_t len)
{
	return copy_through(p->scratch_fd, va, buf, len);
}

int provider_poke(struct provider *p, void *va, const void *buf, size_t len)
{
	return copy_through(p->scratch_fd, buf, va, len);
}
