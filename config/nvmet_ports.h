/*
 * nvmet_ports: the ports of nvmetcli's JSON. Inside config/ only.
 */
#ifndef CONFIG_NVMET_PORTS_H
#define CONFIG_NVMET_PORTS_H

#include "config/nvmet_read.h"

/** nvmet_take_ports() - the RDMA ports, of which there is one at least, and max_transfer. */
int nvmet_take_ports(struct nvmet_reader *m, const struct nvmet_item *root);

/**
 * nvmet_fill_port() - name the ANA groups in use that the model's port @index does not: they are
 * inaccessible in the kernel's target, and would be optimized here. After the subsystems.
 */
void nvmet_fill_port(struct nvmet_reader *m, size_t index);

#endif
