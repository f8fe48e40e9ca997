/* Asynchronous events: Base 2.1, 5.1.2. */
#include "target/core.h"
#include "target/log.h"

#include <string.h>

enum { TYPE_SMART = 1, TYPE_NOTICE = 2, TYPE_IO_COMMAND_SET = 6 };

static const struct event {
	uint8_t type, info;
	uint8_t lid; /* the log page that tells more; reading it allows the next event */
	/* bit of Asynchronous Event Configuration; 0: always wanted (who tells of the SMART
	 * warnings asks for theirs, see health.c) */
	uint32_t config;
	bool io, discovery; /* which controllers have it */
} events[NVME_NEVENTS] = {
	[EVENT_NS_CHANGED] = { TYPE_NOTICE, 0x00, 0x04, UINT32_C(1) << 8, true, false },
	[EVENT_ANA_CHANGED] = { TYPE_NOTICE, 0x03, 0x0c, UINT32_C(1) << 11, true, false },
	[EVENT_DISCOVERY_CHANGED] = { TYPE_NOTICE, 0xf0, 0x70, UINT32_C(1) << 31, false, true },
	[EVENT_RESERVATION] = { TYPE_IO_COMMAND_SET, 0x00, 0x80, 0, true, false },
	[EVENT_SMART_RELIABILITY] = { TYPE_SMART, 0x00, 0x02, 0, true, false },
	[EVENT_SMART_TEMPERATURE] = { TYPE_SMART, 0x01, 0x02, 0, true, false },
	[EVENT_SMART_SPARE] = { TYPE_SMART, 0x02, 0x02, 0, true, false },
};

static bool has_event(const struct controller *c, const struct event *e)
{
	return c->subsys->discovery ? e->discovery : e->io;
}

uint32_t events_supported(const struct controller *c)
{
	uint32_t bits = c->subsys->discovery ? 0 : 0xff; /* the SMART warnings */

	for (unsigned int i = 0; i < NVME_NEVENTS; i++)
		if (has_event(c, &events[i]))
			bits |= events[i].config;
	return bits;
}

static void tell(struct controller *c, unsigned int i)
{
	struct nvmf_req *req = TAILQ_FIRST(&c->aers);

	TAILQ_REMOVE(&c->aers, req, entry);
	c->naers--;
	c->events_pending &= ~(UINT32_C(1) << i);
	c->events_masked |= UINT32_C(1) << i;
	req->cqe.dw0 = put32(events[i].type | (uint32_t)events[i].info << 8 |
			     (uint32_t)events[i].lid << 16);
	nvmf_req_complete(req, NVME_OK);
}

static void tell_pending(struct controller *c)
{
	while (!TAILQ_EMPTY(&c->aers) && c->events_pending & ~c->events_masked)
		tell(c, (unsigned int)__builtin_ctz(c->events_pending & ~c->events_masked));
}

void controller_event(struct controller *c, enum nvme_event event)
{
	const struct event *e = &events[event];

	if (!has_event(c, e) || (e->config && !(c->aec & e->config)))
		return;
	c->events_pending |= UINT32_C(1) << event;
	tell_pending(c);
}

void subsystem_event(struct subsystem *s, enum nvme_event event)
{
	struct controller *c;

	LIST_FOREACH (c, &s->controllers, entry)
		controller_event(c, event);
}

void controller_ns_changed(struct controller *c, uint32_t nsid)
{
	c->changed_ns[nsid / 64] |= UINT64_C(1) << nsid % 64;
	controller_event(c, EVENT_NS_CHANGED);
}

/* What happened since the event was told is in the page that was read; what comes from now on is
 * told again. */
void events_unmask(struct controller *c, uint8_t lid)
{
	for (unsigned int i = 0; i < NVME_NEVENTS; i++)
		if (events[i].lid == lid) {
			c->events_masked &= ~(UINT32_C(1) << i);
			c->events_pending &= ~(UINT32_C(1) << i);
		}
}

void events_reset(struct controller *c, uint16_t status)
{
	struct nvmf_req *req;

	c->events_pending = 0;
	c->events_masked = 0;
	memset(c->changed_ns, 0, sizeof(c->changed_ns));
	c->resv_log = (struct resv_log){ 0 };
	while ((req = TAILQ_FIRST(&c->aers))) {
		TAILQ_REMOVE(&c->aers, req, entry);
		c->naers--;
		nvmf_req_complete(req, status);
	}
}

void async_event_request(struct nvmf_req *req)
{
	struct controller *c = req->queue->ctrl;

	c->settled = true;
	if (c->naers == AER_MAX) {
		nvmf_req_complete(req, NVME_AER_LIMIT | NVME_DNR);
		return;
	}
	c->naers++;
	TAILQ_INSERT_TAIL(&c->aers, req, entry);
	tell_pending(c);
}
