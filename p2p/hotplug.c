#include "p2p/hotplug.h"

#include <errno.h>
#include <libudev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECEIVE_BUFFER (1 << 20)

struct hotplug {
	struct udev *udev;
	struct udev_monitor *monitor;
};

int hotplug_open(struct hotplug **ret_hotplug)
{
	struct hotplug *h = calloc(1, sizeof(*h));
	int err = h ? 0 : -ENOMEM;

	if (!err) {
		h->udev = udev_new();
		/* "kernel": works without udevd, and before its rules have run */
		h->monitor = h->udev ? udev_monitor_new_from_netlink(h->udev, "kernel") : NULL;
		err = h->monitor ? 0 : -ENOMEM;
	}
	if (!err) {
		/* more than root may not get; then it is the default size */
		(void)udev_monitor_set_receive_buffer_size(h->monitor, RECEIVE_BUFFER);
		err = udev_monitor_enable_receiving(h->monitor);
	}
	if (err) {
		hotplug_close(h);
		return err;
	}
	*ret_hotplug = h;
	return 0;
}

int hotplug_fd(const struct hotplug *h)
{
	return udev_monitor_get_fd(h->monitor);
}

/* Controllers say NVME_EVENT=connected when they run again after a reset (drivers/nvme/host/core.c,
 * nvme_start_ctrl); .../0000:03:00.0/nvme/nvme0 is their place. */
static bool is_reset(struct udev_device *dev, char ret_bdf[32])
{
	const char *event = udev_device_get_property_value(dev, "NVME_EVENT");
	struct udev_device *parent =
		udev_device_get_parent_with_subsystem_devtype(dev, "pci", NULL);

	if (!event || strcmp(event, "connected") != 0 || !parent)
		return false;
	snprintf(ret_bdf, 32, "%s", udev_device_get_sysname(parent));
	return true;
}

static enum hotplug_event classify(struct udev_device *dev, char ret_bdf[32])
{
	const char *subsystem = udev_device_get_subsystem(dev);
	const char *action = udev_device_get_action(dev);

	if (!subsystem || !action)
		return HOTPLUG_NONE;
	if (strcmp(subsystem, "nvme") == 0)
		return strcmp(action, "change") == 0 && is_reset(dev, ret_bdf) ? HOTPLUG_RESET
									       : HOTPLUG_NONE;
	/* an RDMA device that is removed waits for us to close it: of it, only "uverbs0" is gone
	 * yet */
	if (strcmp(subsystem, "pci") != 0 && strcmp(subsystem, "block") != 0 &&
	    strcmp(subsystem, "infiniband_verbs") != 0)
		return HOTPLUG_NONE;
	if (strcmp(action, "change") != 0)
		return HOTPLUG_CHANGED;
	return udev_device_get_property_value(dev, "RESIZE") ? HOTPLUG_RESIZED : HOTPLUG_NONE;
}

enum hotplug_event hotplug_read(struct hotplug *h, char ret_bdf[32])
{
	for (;;) {
		errno = 0;

		struct udev_device *dev = udev_monitor_receive_device(h->monitor);
		enum hotplug_event event;

		if (!dev)
			return errno == ENOBUFS ? HOTPLUG_CHANGED : HOTPLUG_NONE;
		event = classify(dev, ret_bdf);
		udev_device_unref(dev);
		if (event != HOTPLUG_NONE)
			return event;
	}
}

void hotplug_close(struct hotplug *h)
{
	if (!h)
		return;
	if (h->monitor)
		udev_monitor_unref(h->monitor);
	if (h->udev)
		udev_unref(h->udev);
	free(h);
}
