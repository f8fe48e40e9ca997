#include "p2p/provider.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

static struct provider *provider_new(enum provider_kind kind, const char *name)
{
	struct provider *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->kind = kind;
	p->index = UINT_MAX;
	p->numa_node = -1;
	p->pool = MAP_FAILED;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->scratch_fd = memfd_create("p2p-scratch", MFD_CLOEXEC);
	return p;
}

/* Children must not inherit the pages: they would keep them allocated after us. */
static int finish_pool(struct provider *p, size_t len)
{
	p->npages = (uint32_t)(len / P2P_PAGE_SIZE);
	if (madvise(p->pool, len, MADV_DONTFORK) < 0)
		return -errno;
	return buddy_init(&p->free, p->npages);
}

/*
 * Map up to @want bytes of the function's p2pmem. `allocate` gives one contiguous run or ENOMEM,
 * and others may hold pages in the middle, so ask for less until it fits.
 */
static int map_p2pmem(struct provider *p, const char *dir, size_t want)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/allocate", dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;

	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	int err = -ENOMEM;

	for (size_t len = want & ~(size_t)(P2P_PAGE_SIZE - 1); len >= P2P_PAGE_SIZE;
	     len = len / 8 * 7 & ~(size_t)(P2P_PAGE_SIZE - 1)) {
		p->pool = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		err = p->pool == MAP_FAILED ? -errno : finish_pool(p, len);
		if (err != -ENOMEM || p->pool != MAP_FAILED)
			break;
	}
	close(fd);
	return err;
}

static int open_cmb(const char *sysfs, const char *bdf, size_t reserve, struct provider **ret,
		    char *why, size_t why_len)
{
	char dir[PATH_MAX], devdir[PATH_MAX];
	long long size = 0, available = 0, published = 0, node = -1;

	snprintf(devdir, sizeof(devdir), "%s/bus/pci/devices/%s", sysfs, bdf);
	if (snprintf(dir, sizeof(dir), "%s/bus/pci/devices/%s/p2pmem", sysfs, bdf) >=
	    (int)sizeof(dir))
		return -ENAMETOOLONG;
	if (read_number(dir, "size", &size) < 0 || read_number(dir, "available", &available) < 0)
		return -ENODEV;
	if (read_number(dir, "published", &published) < 0 || published != 1) {
		snprintf(why, why_len,
			 "%s has p2pmem but does not publish it (its CMB lacks WDS or RDS)", bdf);
		return -ENODEV;
	}
	if (available <= 0 || (unsigned long long)available <= reserve) {
		snprintf(why, why_len, "%s has %lld of %lld bytes of CMB free, cmb_reserve is %zu",
			 bdf, available, size, reserve);
		return -ENODEV;
	}

	struct provider *p = provider_new(PROVIDER_CMB, bdf);

	if (!p)
		return -ENOMEM;
	p->published_size = (size_t)size;
	if (read_number(devdir, "numa_node", &node) == 0)
		p->numa_node = (int)node;

	int err = map_p2pmem(p, dir, (size_t)available - reserve);

	if (err) {
		snprintf(why, why_len, "mapping %s/allocate: %s", dir, strerror(-err));
		provider_destroy(p);
		return err == -ENOMEM ? -ENODEV : err;
	}
	*ret = p;
	return 0;
}

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

int provider_set_discover(const char *sysfs, const char *kallsyms, size_t reserve,
			  struct provider_set **ret_set)
{
	struct provider_set *set = calloc(1, sizeof(*set));
	struct dirent **names = NULL;
	char dir[PATH_MAX];

	if (!set)
		return -ENOMEM;
	snprintf(set->why_none, sizeof(set->why_none), "no drive has a Controller Memory Buffer");
	snprintf(dir, sizeof(dir), "%s/bus/pci/devices", sysfs);

	int n = scandir(dir, &names, NULL, alphasort);

	if (n < 0)
		snprintf(set->why_none, sizeof(set->why_none), "%s: %s", dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		struct provider *p;

		if (names[i]->d_name[0] != '.' && set->n < PROVIDER_MAX &&
		    open_cmb(sysfs, names[i]->d_name, reserve, &p, set->why_none,
			     sizeof(set->why_none)) == 0) {
			p->index = set->n;
			set->provider[set->n++] = p;
		}
		free(names[i]);
	}
	free(names);
	if (set->n == 0 && !kernel_has_p2pdma(kallsyms)) {
		set->no_p2pdma = true;
		snprintf(set->why_none, sizeof(set->why_none),
			 "this kernel has no peer-to-peer DMA (CONFIG_PCI_P2PDMA)");
	}
	*ret_set = set;
	return 0;
}

void provider_set_destroy(struct provider_set *set)
{
	if (!set)
		return;
	for (unsigned int i = 0; i < set->n; i++)
		provider_destroy(set->provider[i]);
	free(set);
}

int provider_create_host(uint32_t npages, struct provider **ret_provider)
{
	size_t len = (size_t)npages * P2P_PAGE_SIZE;
	struct provider *p = provider_new(PROVIDER_HOST, "host");

	if (!p)
		return -ENOMEM;

	int fd = memfd_create("p2p-host", MFD_CLOEXEC);
	int err = fd < 0 || ftruncate(fd, (off_t)len) < 0 ? -errno : 0;

	if (!err) {
		p->pool = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		err = p->pool == MAP_FAILED ? -errno : finish_pool(p, len);
	}
	if (fd >= 0)
		close(fd);
	if (err) {
		provider_destroy(p);
		return err;
	}
	p->published_size = len;
	*ret_provider = p;
	return 0;
}

void provider_destroy(struct provider *p)
{
	if (!p)
		return;
	if (p->pool != MAP_FAILED)
		munmap(p->pool, (size_t)p->npages * P2P_PAGE_SIZE);
	if (p->scratch_fd >= 0)
		close(p->scratch_fd);
	buddy_fini(&p->free);
	free(p);
}

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
