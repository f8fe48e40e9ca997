#include "tests/fault/fake_drive.h"

#include "tests/fault/inject.h"
#include "tests/fault/tree.h"
#include "tests/fuzz/asserts.h"

#include <errno.h>
#include <libnvme.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t nblocks; /* 0: it is not plugged in */

void fake_drive_plug(uint64_t n)
{
	nblocks = n;
	tree_make();
	tree_file("sys/bus/pci/devices/" FAKE_DRIVE_PCI "/nvme/nvme0/state", "live\n", 0);
	tree_file("sys/class/nvme/nvme0/address", FAKE_DRIVE_PCI "\n", 0);
	tree_file("sys/class/nvme/nvme0/nvme0n1/nsid", "1\n", 0);
	tree_file("sys/class/nvme/nvme0/nvme0n1/queue/max_hw_sectors_kb", "512\n", 0);
	tree_file("sys/class/nvme/nvme0/nvme0n1/queue/max_segments", "127\n", 0);
	tree_file("dev/nvme0", "", 0);
	tree_file("dev/nvme0n1", "", (off_t)n * 4096);
	tree_file("dev/ng0n1", "", 0);
	tree_file("sys/dev/char/0:0", "", 0); /* a file has no number */
	fault_root(tree_root);
}

void fake_drive_hide(bool hide)
{
	char from[128], to[128];

	snprintf(from, sizeof(from), "%s/sys/dev/char/%s", tree_root, hide ? "0:0" : "hidden");
	snprintf(to, sizeof(to), "%s/sys/dev/char/%s", tree_root, hide ? "hidden" : "0:0");
	ck_assert_int_eq(rename(from, to), 0);
}

void fake_drive_unplug(void)
{
	fault_root(NULL);
	nblocks = 0;
	tree_drop();
}

static int not_there(void)
{
	errno = ENOTTY;
	return -1;
}

/* ---- in place of libnvme and of the kernel -----------------------------------------------------
 */

static void answer(uint8_t cns, void *data)
{
	struct nvme_id_ctrl *ctrl = data;
	struct nvme_id_ns *ns = data;

	memset(data, 0, NVME_IDENTIFY_DATA_SIZE);
	if (cns == NVME_IDENTIFY_CNS_CTRL) {
		memset(ctrl->sn, ' ', sizeof(ctrl->sn) + sizeof(ctrl->mn) + sizeof(ctrl->fr));
		memcpy(ctrl->sn, FAKE_DRIVE_SERIAL, strlen(FAKE_DRIVE_SERIAL));
		ctrl->nn = htole32(1);
	} else if (cns == NVME_IDENTIFY_CNS_NS) {
		ns->nsze = ns->ncap = ns->nuse = htole64(nblocks);
		ns->lbaf[0].ds = 12;
	} else if (cns == NVME_IDENTIFY_CNS_NS_DESC_LIST) {
		const uint8_t csi[] = { NVME_NIDT_CSI, 1, 0, 0, NVME_CSI_ZNS };

		memcpy(data, csi, sizeof(csi));
	}
}

int nvme_identify(struct nvme_identify_args *args)
{
	if (!nblocks)
		return not_there();
	answer((uint8_t)args->cns, args->data);
	return 0;
}

int nvme_get_nsid(int fd, __u32 *nsid)
{
	(void)fd;
	*nsid = 1;
	return nblocks ? 0 : not_there();
}

int nvme_get_log_page(int fd, __u32 xfer_len, struct nvme_get_log_args *args)
{
	(void)fd, (void)xfer_len;
	if (!nblocks)
		return not_there();
	memset(args->log, 1, args->len);
	return 0;
}

int nvme_submit_admin_passthru(int fd, struct nvme_passthru_cmd *cmd, __u32 *result)
{
	(void)fd;
	if (!nblocks)
		return not_there();
	*result = 0;
	if (cmd->opcode == nvme_admin_identify && cmd->data_len >= NVME_IDENTIFY_DATA_SIZE)
		answer((uint8_t)cmd->cdw10, (void *)(uintptr_t)cmd->addr);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (nblocks && request == NVME_IOCTL_ID)
		return 1;
	if (nblocks && request == BLKGETSIZE64) {
		*(uint64_t *)arg = nblocks * 4096;
		return 0;
	}
	return (int)syscall(SYS_ioctl, fd, request, arg);
}
