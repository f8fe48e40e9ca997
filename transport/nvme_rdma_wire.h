/*
 * nvme_rdma_wire: the RDMA CM private data of NVMe over RDMA, as it lies on the wire.
 * Source: NVM Express RDMA Transport 1.1, 3.1 "RDMA_CM".
 */
#ifndef TRANSPORT_NVME_RDMA_WIRE_H
#define TRANSPORT_NVME_RDMA_WIRE_H

#include "target/nvme_wire.h"

/* With the connection request. PS_TCP may pad it: longer is fine. */
struct nvme_rdma_cm_request {
	le16 recfmt;
	le16 qid;
	le16 hrqsize;   /* entries of the host's receive queue */
	le16 hsqsize_z; /* entries of the host's send queue, 0's based */
	le16 cntlid;    /* I/O queues: the controller to join, if the host says so (else 0) */
	uint8_t rsvd[22];
};
static_assert(sizeof(struct nvme_rdma_cm_request) == 32, "RDMA 1.1, 3.1");

struct nvme_rdma_cm_accept {
	le16 recfmt;
	le16 crqsize; /* entries of the controller's receive queue */
	uint8_t rsvd[28];
};
static_assert(sizeof(struct nvme_rdma_cm_accept) == 32, "RDMA 1.1, 3.1");

struct nvme_rdma_cm_reject {
	le16 recfmt;
	le16 status; /* enum nvme_rdma_cm_status */
};
static_assert(sizeof(struct nvme_rdma_cm_reject) == 4, "RDMA 1.1, 3.1");

enum nvme_rdma_cm_status {
	CM_OK = 0,
	CM_INVALID_LENGTH = 1,
	CM_INVALID_RECFMT = 2,
	CM_INVALID_QID = 3,
	CM_INVALID_HSQSIZE = 4,
	CM_INVALID_HRQSIZE = 5,
	CM_NO_RESOURCES = 6,
	CM_INVALID_IRD = 7,
	CM_INVALID_ORD = 8,
	CM_INVALID_CNTLID = 9,
	CM_NSTATUSES,
};

#endif
