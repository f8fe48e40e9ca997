/* What a block device says of itself: its queue's limits in sysfs (Documentation/ABI/stable/
 * sysfs-block), and what an NVMe drive's own Identify says beyond that. */
#include "target/backend.h"

#include <libnvme.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number from the device's folder; 0 if there is none. */
static uint64_t number(const char *folder, const char *file)
{
	char path[160], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return strtoull(text, NULL, 10);
}

static uint32_t bytes(const char *folder, const char *file)
{
	uint64_t n = number(folder, file);

	return n > UINT32_MAX ? 0 : (uint32_t)n;
}

static void read_queue(const char *disk, struct backend_limits *l)
{
	l->physical_block = bytes(disk, "queue/physical_block_size");
	l->atomic_write = bytes(disk, "queue/atomic_write_unit_max_bytes");
	l->atomic_boundary = bytes(disk, "queue/atomic_write_boundary_bytes");
	l->io_min = bytes(disk, "queue/minimum_io_size");
	l->io_opt = bytes(disk, "queue/optimal_io_size");
	l->discard_granularity = bytes(disk, "queue/discard_granularity");
	l->boundary = bytes(disk, "queue/chunk_sectors") * 512;
}

/* Through the block device itself, as a driver's ioctl: no character device need be found, and one
 * that device mapper maps whole is asked too. */
static void ask_drive(int fd, struct backend_limits *l)
{
	struct nvme_id_ctrl ctrl;
	struct nvme_id_ns ns;
	uint32_t nsid;

	if (nvme_get_nsid(fd, &nsid) || nvme_identify_ctrl(fd, &ctrl))
		return;
	l->nvme = true;
	l->warm = le16toh(ctrl.wctemp);
	l->critical = le16toh(ctrl.cctemp);
	if (nvme_identify_ns(fd, nsid, &ns) == 0)
		l->reads_zeroes = (ns.dlfeat & 7) == 1;
}

void backend_limits_read(int fd, unsigned int major, unsigned int minor, struct backend_limits *ret)
{
	char folder[64], disk[80];

	*ret = (struct backend_limits){ 0 };
	snprintf(folder, sizeof(folder), "/sys/dev/block/%u:%u", major, minor);
	snprintf(disk, sizeof(disk), "%s%s", folder, number(folder, "partition") ? "/.." : "");
	ret->start = number(folder, "start") * 512;
	read_queue(disk, ret);
	ask_drive(fd, ret);
}
