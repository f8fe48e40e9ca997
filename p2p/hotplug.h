/*
 * hotplug: hears from the kernel (netlink uevents, through libudev) that PCI functions, NVMe
 * controllers, block or RDMA devices came, went or were reset. It only says that it is time to
 * look; what is there is read from sysfs by whoever looks, so a lost event does no harm beyond
 * delay.
 *
 * Control thread.
 */
#ifndef P2P_HOTPLUG_H
#define P2P_HOTPLUG_H

#include <stdbool.h>

struct hotplug;

enum hotplug_event {
	HOTPLUG_NONE,    /* nothing more to read */
	HOTPLUG_CHANGED, /* something came or went */
	HOTPLUG_RESIZED, /* a block device has another size */
	HOTPLUG_RESET,   /* an NVMe controller went through a reset: *ret_bdf is its PCI function */
};

/** hotplug_open() - listen. Return: 0 or negative errno. */
__attribute__((warn_unused_result)) int hotplug_open(struct hotplug **ret_hotplug);

/** hotplug_fd() - readable when there is something for hotplug_read(). */
int hotplug_fd(const struct hotplug *h);

/** hotplug_read() - the next event; never blocks. An overrun of the socket is HOTPLUG_CHANGED. */
enum hotplug_event hotplug_read(struct hotplug *h, char ret_bdf[32]);

/** hotplug_close() - NULL is fine. */
void hotplug_close(struct hotplug *h);

#endif
