/* The discovery log page: Base 2.1, 5.1.12.3.1; the RDMA fields: NVMe over RDMA transport 1.0. */
#include "target/core.h"

#include <arpa/inet.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>

/* A wildcard port is reached where the asking host reached it. */
static const char *shown_address(const struct config_port *port, const struct nvmf_queue *q)
{
	if (strcmp(port->address, "0.0.0.0") == 0 || strcmp(port->address, "::") == 0)
		return q->local_address;
	return port->address;
}

static void fill_entry(struct nvmf_disc_log_entry *e, const struct nvmf_queue *q,
		       const struct config_port *port, const struct subsystem *s)
{
	const char *address = shown_address(port, q);

	e->trtype = NVMF_TRTYPE_RDMA;
	e->adrfam = strchr(address, ':') ? NVMF_ADDR_FAMILY_IP6 : NVMF_ADDR_FAMILY_IP4;
	e->subtype = s->discovery ? NVME_NQN_CURR : NVME_NQN_NVME;
	e->treq = NVMF_TREQ_NOT_SPECIFIED | NVMF_TREQ_DISABLE_SQFLOW;
	e->portid = htole16(port->id);
	e->cntlid = htole16(subsystem_is_static(s) ? CNTLID_ANY_STATIC : CNTLID_DYNAMIC);
	e->asqsz = htole16(ADMIN_QUEUE_DEPTH);
	put_padded(e->trsvcid, sizeof(e->trsvcid), port->service, ' ');
	put_padded(e->traddr, sizeof(e->traddr), address, ' ');
	put_padded(e->subnqn, sizeof(e->subnqn), s->nqn, '\0');
	e->tsas.rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
	e->tsas.rdma.prtype = NVMF_RDMA_PRTYPE_NOT_SPECIFIED;
	e->tsas.rdma.cms = NVMF_RDMA_CMS_RDMA_CM;
}

/* Entries for this host; with @log NULL only counted. */
static size_t fill(struct nvmf_discovery_log *log, const struct nvmf_queue *q)
{
	const struct target *t = q->target;
	size_t n = 0;

	for (size_t i = 0; i < t->nsubsystems; i++) {
		const struct subsystem *s = t->subsystems[i];

		if (!subsystem_allows(s, q->ctrl->hostnqn))
			continue;
		for (size_t p = 0; p < t->conf->nports; p++) {
			const struct config_port *port = &t->conf->ports[p];

			/* the discovery subsystem itself: as this host sees it, on this port */
			if (s->discovery ? port != q->port : !subsystem_on_port(s, port))
				continue;
			if (log)
				fill_entry(&log->entries[n], q, port, s);
			n++;
		}
	}
	return n;
}

void *discovery_log(const struct nvmf_queue *q, size_t *ret_len)
{
	size_t n = fill(NULL, q);
	size_t len = sizeof(struct nvmf_discovery_log) + n * sizeof(struct nvmf_disc_log_entry);
	struct nvmf_discovery_log *log = calloc(1, len);

	if (!log)
		return NULL;
	log->genctr = htole64(1); /* the configuration does not change while the daemon runs */
	log->numrec = htole64(n);
	fill(log, q);
	*ret_len = len;
	return log;
}
