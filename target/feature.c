/* Get and Set Features: Base 2.1, 5.1.11, 5.1.25; NVM Command Set 1.1, 4.1.3. */
#include "target/core.h"

#include <libnvme.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	FEAT_DISCOVERY = 1 << 0, /* a discovery controller has it too */
	FEAT_NS = 1 << 1,        /* of one namespace */
	FEAT_FIXED = 1 << 2,     /* not changeable, though set() has a status of its own for it */
	FEAT_FINDS_NS = 1 << 3,  /* get() and set() look for it, or for all, themselves */
};

/* A command about a feature. */
struct call {
	struct nvmf_req *req;
	struct controller *c;
	struct namespace *ns; /* FEAT_NS */
	bool dflt;            /* Get: the default */
	uint32_t dw11;
	void *data; /* data_len bytes; to get: zeroed */
	uint32_t dw0;
};

struct feature {
	const char *name;
	uint8_t flags;
	uint16_t data_len;
	uint16_t (*get)(struct call *f);
	/* NULL: not changeable. NVME_LATER: it answers itself. */
	uint16_t (*set)(struct call *f);
};

/* ---- those that are one number
 * -------------------------------------------------------------------
 */

/* Every queue is served as fast as it can be: no limit (AB 111b), no weights. */
static uint16_t get_arbitration(struct call *f)
{
	f->dw0 = 7;
	return NVME_OK;
}

/* There is one power state, 0. */
static uint16_t get_power(struct call *f)
{
	f->dw0 = 0;
	return NVME_OK;
}

static uint16_t set_power(struct call *f)
{
	return f->dw11 & 0x1f ? invalid_field(f->req, AT_CDW11, 0) : NVME_OK;
}

/* No time limit for recovery can be promised, deallocated blocks are no error. */
static uint16_t get_error_recovery(struct call *f)
{
	f->dw0 = 0;
	return NVME_OK;
}

/* The drive's cache is not ours to switch: others may use the drive too. Who wants no cache in
 * between has Force Unit Access. */
static uint16_t get_write_cache(struct call *f)
{
	const struct namespace *ns;

	FOR_EACH_NAMESPACE (f->c->subsys, ns)
		if (ns->backend->info.write_cache)
			f->dw0 = 1;
	return NVME_OK;
}

static uint16_t get_queues(struct call *f)
{
	uint32_t n = f->dflt ? max_queues(f->c->subsys) : f->c->nqueues;

	f->dw0 = (n - 1) | (n - 1) << 16;
	return NVME_OK;
}

/* FFFFh is not allowed, and it cannot change once I/O queues exist. */
static uint16_t set_queues(struct call *f)
{
	uint32_t nsq_z = f->dw11 & 0xffff, ncq_z = f->dw11 >> 16;

	if (nsq_z == 0xffff || ncq_z == 0xffff)
		return invalid_field(f->req, nsq_z == 0xffff ? AT_CDW11 : AT_CDW11 + 2, 0);
	if (!LIST_EMPTY(&f->c->queues))
		return NVME_COMMAND_SEQUENCE | NVME_DNR;
	f->c->nqueues = max_queues(f->c->subsys);
	if (nsq_z < f->c->nqueues)
		f->c->nqueues = (uint16_t)(nsq_z + 1);
	return get_queues(f);
}

/* DN: the host needs no more atomicity than after a power failure; what we give is the same. */
static uint16_t get_atomicity(struct call *f)
{
	f->dw0 = f->dflt ? 0 : f->c->settings.atomicity;
	return NVME_OK;
}

static uint16_t set_atomicity(struct call *f)
{
	f->c->settings.atomicity = f->dw11 & 1;
	return NVME_OK;
}

static uint16_t get_async_config(struct call *f)
{
	f->dw0 = f->dflt ? 0 : f->c->aec;
	return NVME_OK;
}

static uint16_t set_async_config(struct call *f)
{
	uint32_t unknown = f->dw11 & ~events_supported(f->c);

	if (unknown) {
		unsigned int bit = (unsigned int)__builtin_ctz(unknown);

		return invalid_field(f->req, AT_CDW11 + bit / 8, bit % 8);
	}
	f->c->aec = f->dw11;
	health_tell(f->c);
	return NVME_OK;
}

static uint16_t get_keep_alive(struct call *f)
{
	f->dw0 = f->dflt ? 0 : f->c->kato_ms;
	return NVME_OK;
}

static uint16_t set_keep_alive(struct call *f)
{
	controller_start_keep_alive(f->c, f->dw11);
	return NVME_OK;
}

/* One combination, of the NVM command set alone. */
static uint16_t get_command_sets(struct call *f)
{
	f->dw0 = 0;
	return NVME_OK;
}

static uint16_t set_command_sets(struct call *f)
{
	return f->dw11 & 0x1ff ? NVME_IO_SET_COMBINATION | NVME_DNR : NVME_OK;
}

/* ---- temperature --------------------------------------------------------------------------------
 */

enum { OVER = 0, UNDER = 1, ALL_SENSORS = 0xf };

uint16_t settings_too_warm(const struct controller *c, unsigned int sensor)
{
	uint16_t warm = c->settings.too_warm[sensor], critical;

	if (!warm && sensor == 0)
		health_limits(c, &warm, &critical);
	return warm;
}

static unsigned int sensor_of(const struct call *f)
{
	return f->dw11 >> 16 & 0xf;
}

/* May the command name this sensor, in this way? */
static uint16_t check_sensor(struct call *f, bool set)
{
	unsigned int sensor = sensor_of(f);

	if ((f->dw11 >> 20 & 3) > UNDER)
		return invalid_field(f->req, AT_CDW11 + 2, 4);
	if ((sensor == ALL_SENSORS && set) || sensor == 0)
		return NVME_OK;
	if (sensor >= TEMPERATURES || !health_has_sensor(f->c, sensor))
		return invalid_field(f->req, AT_CDW11 + 2, 0);
	return NVME_OK;
}

static uint16_t get_temperature(struct call *f)
{
	uint16_t status = check_sensor(f, false), warm, critical;
	unsigned int sensor = sensor_of(f);

	if (status)
		return status;
	if ((f->dw11 >> 20 & 3) == UNDER) {
		f->dw0 = f->dflt ? 0 : f->c->settings.too_cold[sensor];
		return NVME_OK;
	}
	health_limits(f->c, &warm, &critical);
	if (!f->dflt)
		warm = settings_too_warm(f->c, sensor);
	else if (sensor)
		warm = 0;
	f->dw0 = warm ? warm : 0xffff; /* no threshold: Base 2.1, 5.1.25.1.3 */
	return NVME_OK;
}

static uint16_t set_temperature(struct call *f)
{
	uint16_t status = check_sensor(f, true), kelvin = (uint16_t)f->dw11;
	bool under = (f->dw11 >> 20 & 3) == UNDER;
	unsigned int sensor = sensor_of(f);

	if (status)
		return status;
	for (unsigned int i = 0; i < TEMPERATURES; i++) {
		if (i != sensor && sensor != ALL_SENSORS)
			continue;
		if (under)
			f->c->settings.too_cold[i] = kelvin;
		else
			f->c->settings.too_warm[i] =
				kelvin ? kelvin : 1; /* 0 would be the default */
	}
	health_tell(f->c);
	return NVME_OK;
}

/* ---- those with a data structure
 * ------------------------------------------------------------------
 */

struct timestamp {
	uint8_t ms[6];
	uint8_t origin; /* bits 3:1: 001b when the host has set it */
	uint8_t rsvd;
};
static_assert(sizeof(struct timestamp) == 8, "Base 2.1, 5.1.25.1.7");

static uint64_t uptime_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint16_t get_timestamp(struct call *f)
{
	const struct settings *s = &f->c->settings;
	struct timestamp *t = f->data;
	le64 ms = put64(f->dflt ? 0 : s->time_base_ms + uptime_ms() - s->time_origin_ms);

	memcpy(t->ms, &ms, sizeof(t->ms));
	t->origin = !f->dflt && s->time_set ? 1 << 1 : 0;
	return NVME_OK;
}

static uint16_t set_timestamp(struct call *f)
{
	const struct timestamp *t = f->data;
	struct settings *s = &f->c->settings;
	le64 ms = put64(0);

	memcpy(&ms, t->ms, sizeof(t->ms));
	s->time_base_ms = get64(ms);
	s->time_origin_ms = uptime_ms();
	s->time_set = true;
	return NVME_OK;
}

/* Base 2.1, 5.1.25.1.14: byte 0 is ACRE, the rest enables what we lack. */
#define BEHAVIOR_LEN 512

static uint16_t get_behavior(struct call *f)
{
	*(uint8_t *)f->data = f->dflt ? 0 : f->c->settings.acre;
	return NVME_OK;
}

static uint16_t set_behavior(struct call *f)
{
	const uint8_t *data = f->data;

	if (data[0] > 1)
		return NVME_INVALID_FIELD | NVME_DNR;
	for (unsigned int i = 1; i < BEHAVIOR_LEN; i++)
		if (data[i])
			return NVME_INVALID_FIELD | NVME_DNR;
	f->c->settings.acre = data[0];
	return NVME_OK;
}

/* 128 bits, as fabrics demand. */
static uint16_t get_host_id(struct call *f)
{
	if (!(f->dw11 & 1))
		return invalid_field(f->req, AT_CDW11, 0);
	if (!f->dflt)
		memcpy(f->data, f->c->hostid, sizeof(f->c->hostid));
	return NVME_OK;
}

/* The Connect command has said it: Base 2.1, 5.1.25.1.28. */
static uint16_t set_host_id(struct call *f)
{
	(void)f;
	return NVME_COMMAND_SEQUENCE | NVME_DNR;
}

/* ---- of namespaces ------------------------------------------------------------------------------
 */

static uint16_t get_write_protect(struct call *f)
{
	f->dw0 = !f->dflt && f->ns->write_protected;
	return NVME_OK;
}

/* Protected and not, and nothing in between: NWPC. */
static uint16_t set_write_protect(struct call *f)
{
	if ((f->dw11 & 7) > 1)
		return invalid_field(f->req, AT_CDW11, 0);
	namespace_protect(f->ns, f->dw11 & 1, f->req);
	return NVME_LATER;
}

/* 82h and 83h, see resv_commands.c. By default, nothing is masked and nothing persists. */
static uint16_t get_resv_mask(struct call *f)
{
	uint16_t status = resv_get_mask(f->req, &f->dw0);

	f->dw0 = f->dflt ? 0 : f->dw0;
	return status;
}

static uint16_t set_resv_mask(struct call *f)
{
	return resv_set_mask(f->req);
}

static uint16_t get_resv_persistence(struct call *f)
{
	uint16_t status = resv_get_persistence(f->req, &f->dw0);

	f->dw0 = f->dflt ? 0 : f->dw0;
	return status;
}

static uint16_t set_resv_persistence(struct call *f)
{
	return resv_set_persistence(f->req);
}

/* ---- the table ----------------------------------------------------------------------------------
 */

static const struct feature features[256] = {
	[0x01] = { "arbitration", 0, 0, get_arbitration, NULL },
	[0x02] = { "power-management", 0, 0, get_power, set_power },
	[0x04] = { "temperature-threshold", 0, 0, get_temperature, set_temperature },
	[0x05] = { "error-recovery", FEAT_NS, 0, get_error_recovery, NULL },
	[0x06] = { "write-cache", 0, 0, get_write_cache, NULL },
	[0x07] = { "num-queues", 0, 0, get_queues, set_queues },
	[0x0a] = { "write-atomicity-normal", 0, 0, get_atomicity, set_atomicity },
	[0x0b] = { "async-event-config", FEAT_DISCOVERY, 0, get_async_config, set_async_config },
	[0x0e] = { "timestamp", 0, sizeof(struct timestamp), get_timestamp, set_timestamp },
	[0x0f] = { "keep-alive", FEAT_DISCOVERY, 0, get_keep_alive, set_keep_alive },
	[0x16] = { "host-behavior", 0, BEHAVIOR_LEN, get_behavior, set_behavior },
	[0x19] = { "io-command-set-profile", 0, 0, get_command_sets, set_command_sets },
	[0x81] = { "host-identifier", FEAT_FIXED, 16, get_host_id, set_host_id },
	[0x82] = { "resv-notification-mask", FEAT_NS | FEAT_FINDS_NS, 0, get_resv_mask,
		   set_resv_mask },
	[0x83] = { "resv-persistence", FEAT_NS | FEAT_FINDS_NS, 0, get_resv_persistence,
		   set_resv_persistence },
	[0x84] = { "write-protect", FEAT_NS, 0, get_write_protect, set_write_protect },
};

const char *feature_name(uint8_t fid)
{
	return features[fid].name;
}

void settings_reset(struct settings *s)
{
	*s = (struct settings){ .time_origin_ms = uptime_ms() };
}

static uint32_t fid_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw10) & 0xff;
}

static const struct feature *find_feature(const struct nvmf_req *req)
{
	const struct feature *f = &features[fid_of(req)];
	bool discovery = req->queue->ctrl->subsys->discovery;

	return f->get && (f->flags & FEAT_DISCOVERY || !discovery) ? f : NULL;
}

static bool is_changeable(const struct feature *f)
{
	return f->set && !(f->flags & FEAT_FIXED);
}

/* Which namespace? One that the host has; not all of them. */
static uint16_t find_namespace(struct call *f, const struct feature *feature)
{
	const struct ns_map_entry *entry = ns_map_find(f->c->map, get32(f->req->sqe->nsid));

	if (feature->flags & FEAT_FINDS_NS)
		return NVME_OK;
	if (!entry)
		return NVME_INVALID_NS | NVME_DNR;
	f->ns = entry->ns;
	return NVME_OK;
}

enum { SEL_CURRENT, SEL_DEFAULT, SEL_SAVED, SEL_CAPABILITIES, SEL_RESERVED };

static unsigned int sel_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw10) >> 8 & 7;
}

uint16_t get_features_length(struct nvmf_req *req, uint32_t *ret_len)
{
	const struct feature *feature = find_feature(req);

	*ret_len = feature && sel_of(req) < SEL_CAPABILITIES ? feature->data_len : 0;
	if (feature && feature->get == get_host_id && *ret_len)
		*ret_len = get32(req->sqe->cdw11) & 1 ? 16 : 8; /* EXHID */
	return NVME_OK;
}

/* What is changeable, of one namespace, saveable (nothing is). */
static uint32_t capabilities(const struct feature *f)
{
	return (f->flags & FEAT_NS ? 1u << 1 : 0) | (is_changeable(f) ? 1u << 2 : 0);
}

void get_features(struct nvmf_req *req)
{
	const struct feature *feature = find_feature(req);
	struct call f = { .req = req,
			  .c = req->queue->ctrl,
			  .dflt = sel_of(req) != SEL_CURRENT, /* nothing is saved: the default */
			  .dw11 = get32(req->sqe->cdw11),
			  .data = req->data };
	uint16_t status = NVME_OK;

	if (!feature || sel_of(req) >= SEL_RESERVED) {
		nvmf_req_complete(req, invalid_field(req, feature ? AT_CDW10 + 1 : AT_CDW10, 0));
		return;
	}
	if (sel_of(req) == SEL_CAPABILITIES) {
		req->cqe.dw0 = put32(capabilities(feature));
		nvmf_req_complete(req, NVME_OK);
		return;
	}
	if (feature->flags & FEAT_NS)
		status = find_namespace(&f, feature);
	if (feature->data_len)
		memset(req->data, 0, req->len);
	if (!status)
		status = feature->get(&f);
	req->cqe.dw0 = put32(f.dw0);
	nvmf_req_complete(req, status);
}

uint16_t set_features_length(struct nvmf_req *req, uint32_t *ret_len)
{
	const struct feature *feature = find_feature(req);

	*ret_len = feature ? feature->data_len : 0;
	return NVME_OK;
}

static uint16_t check_set(struct call *f, const struct feature *feature)
{
	uint32_t nsid = get32(f->req->sqe->nsid);

	if (!feature)
		return invalid_field(f->req, AT_CDW10, 0);
	if (get32(f->req->sqe->cdw10) >> 31)
		return NVME_FEATURE_NOT_SAVEABLE | NVME_DNR;
	if (!feature->set)
		return NVME_FEATURE_NOT_CHANGEABLE | NVME_DNR;
	if (feature->flags & FEAT_NS)
		return find_namespace(f, feature);
	if (nsid == 0 || nsid == NVME_NSID_ALL)
		return NVME_OK;
	return nsid > CONFIG_NSID_MAX ? NVME_INVALID_NS | NVME_DNR
				      : NVME_FEATURE_NOT_NS_SPECIFIC | NVME_DNR;
}

void set_features(struct nvmf_req *req)
{
	const struct feature *feature = find_feature(req);
	struct call f = {
		.req = req, .c = req->queue->ctrl, .dw11 = get32(req->sqe->cdw11), .data = req->data
	};
	uint16_t status = check_set(&f, feature);

	if (!status)
		status = feature->set(&f);
	if (status == NVME_LATER)
		return;
	req->cqe.dw0 = put32(f.dw0);
	nvmf_req_complete(req, status);
}

/* Log page 12h: Base 2.1, 5.1.12.1.18 */
void *feature_effects_page(struct nvmf_req *req, size_t *ret_len)
{
	struct nvme_fid_supported_effects_log *log = calloc(1, sizeof(*log));

	(void)req;
	*ret_len = sizeof(*log);
	for (unsigned int fid = 0; log && fid < 256; fid++) {
		const struct feature *f = &features[fid];

		if (!f->get)
			continue;
		log->fid_support[fid] =
			htole32(FX_CSUPP | (f->set == set_write_protect ? FX_NCC : 0u) |
				(f->flags & FEAT_NS ? FX_SCOPE_NS : FX_SCOPE_CTRL));
	}
	return log;
}
