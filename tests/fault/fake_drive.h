/*
 * An NVMe controller in memory, for scenarios: its devices and sysfs are plain files (tree.h), what
 * libnvme and ioctl() ask of them is answered here. It has one zoned namespace of @nblocks blocks
 * of 4 KiB and takes no I/O (the kernel refuses NVMe commands on a file).
 */
#ifndef TESTS_FAULT_FAKE_DRIVE_H
#define TESTS_FAULT_FAKE_DRIVE_H

#include <stdbool.h>
#include <stdint.h>

#define FAKE_DRIVE_PCI    "0000:05:00.0"
#define FAKE_DRIVE_SERIAL "FAKE0001"

/** fake_drive_plug() - it is there: /sys/... and /dev/nvme0 in a new tree. */
void fake_drive_plug(uint64_t nblocks);

/** fake_drive_hide() - its namespace's devices are gone, or back. */
void fake_drive_hide(bool hide);

/** fake_drive_unplug() - as if it had never been. */
void fake_drive_unplug(void);

#endif
