/* Get Log Page: Base 2.1, 5.1.12. */
#include "target/core.h"

#include <libnvme.h>
#include <stdlib.h>
#include <string.h>

#define LOG_RAE               (UINT32_C(1) << 15) /* retain asynchronous event */
#define LSP_ANA_RGO           (1 << 0)            /* return groups only */
#define LSP_DISCOVERY_PLEO    (1 << 1)            /* port local entries only */
#define LIDSP_DISCOVERY_PLEOS (1 << 1)
#define LIDSP_SHIFT           16 /* in page 00h, and in our flags */

enum {
	LOG_IO = 1 << 0,        /* controllers that do I/O have it */
	LOG_DISCOVERY = 1 << 1, /* and discovery controllers */
	LOG_NS = 1 << 2,        /* of the namespace that the command names, or of all */
};

struct log_page {
	const char *name;
	uint32_t flags; /* and the LID Specific Parameter of page 00h */
	/* The whole page, allocated; NULL: no memory. */
	void *(*build)(struct nvmf_req *req, size_t *ret_len);
	/* Before that. True: log_page_answer() follows. */
	bool (*later)(struct nvmf_req *req);
	/* The host has read it and need not be told any more. */
	void (*seen)(struct controller *c);
};

static const struct log_page log_pages[256];

static uint64_t offset_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw12) | (uint64_t)get32(req->sqe->cdw13) << 32;
}

/* Log Specific Parameter */
static uint8_t lsp_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw10) >> 8 & 0x7f;
}

static uint8_t lid_of(const struct nvmf_req *req)
{
	return (uint8_t)get32(req->sqe->cdw10);
}

uint16_t log_page_length(struct nvmf_req *req, uint32_t *ret_len)
{
	uint64_t numd_z = get32(req->sqe->cdw10) >> 16 | (uint64_t)(get32(req->sqe->cdw11) & 0xffff)
								 << 16;
	uint64_t len = (numd_z + 1) * 4;

	if (len > req->queue->target->mdts_len)
		return invalid_field(req, AT_CDW10 + 2, 0);
	if (offset_of(req) % 4)
		return invalid_field(req, AT_CDW12, 0);
	*ret_len = (uint32_t)len;
	return NVME_OK;
}

static bool has_page(const struct controller *c, const struct log_page *page)
{
	return page->flags & (c->subsys->discovery ? LOG_DISCOVERY : LOG_IO);
}

static void *zeroed(size_t len, size_t *ret_len)
{
	*ret_len = len;
	return calloc(1, len);
}

/* No page has an index of offsets (IOS). */
static void *supported_pages(struct nvmf_req *req, size_t *ret_len)
{
	le32 *page = zeroed(256 * sizeof(le32), ret_len);

	for (unsigned int lid = 0; page && lid < 256; lid++)
		if (has_page(req->queue->ctrl, &log_pages[lid]))
			page[lid] = put32(1 | log_pages[lid].flags >>
						      LIDSP_SHIFT << LIDSP_SHIFT); /* LSUPP */
	return page;
}

static void *firmware_page(struct nvmf_req *req, size_t *ret_len)
{
	struct nvme_firmware_slot *log = zeroed(sizeof(*log), ret_len);

	(void)req;
	if (!log)
		return NULL;
	log->afi = 1;
	put_padded(log->frs[0], sizeof(log->frs[0]), NVMF_P2PD_VERSION, ' ');
	return log;
}

/* Base 2.1, 5.1.12.1.5: with more than 1024, FFFFFFFFh alone; no subsystem has so many. */
#define CHANGED_NS_MAX 1024
static_assert(CONFIG_NSID_MAX <= CHANGED_NS_MAX, "");

static void *changed_namespaces_page(struct nvmf_req *req, size_t *ret_len)
{
	const uint64_t *changed = req->queue->ctrl->changed_ns;
	le32 *page = zeroed(CHANGED_NS_MAX * sizeof(le32), ret_len), *to = page;

	for (uint32_t nsid = 1; page && nsid <= CONFIG_NSID_MAX; nsid++)
		if (changed[nsid / 64] >> nsid % 64 & 1)
			*to++ = put32(nsid);
	return page;
}

static void changed_namespaces_seen(struct controller *c)
{
	memset(c->changed_ns, 0, sizeof(c->changed_ns));
}

static uint32_t effects(const struct command *cmd)
{
	if (!cmd->execute)
		return 0;
	return cmd->effects | (cmd->flags & CMD_NEEDS_NS ? FX_SCOPE_NS : FX_SCOPE_CTRL);
}

/* For the I/O command set that CSI names: only the NVM one has commands here. */
static void *effects_page(struct nvmf_req *req, size_t *ret_len)
{
	struct nvme_cmd_effects_log *log = zeroed(sizeof(*log), ret_len);
	bool nvm = get32(req->sqe->cdw14) >> 24 == NVME_CSI_NVM;

	for (unsigned int op = 0; log && op < 256; op++) {
		log->acs[op] = htole32(effects(&admin_commands[op]));
		if (nvm)
			log->iocs[op] = htole32(effects(&io_commands[op]));
	}
	return log;
}

/* No command of the management interface. Base 2.1, figure of LPA: who has page 12h has it too. */
static void *mi_effects_page(struct nvmf_req *req, size_t *ret_len)
{
	(void)req;
	return zeroed(4096, ret_len);
}

static void *ana_page(struct nvmf_req *req, size_t *ret_len)
{
	return ana_log(req->queue->ctrl, lsp_of(req) & LSP_ANA_RGO, ret_len);
}

static void *discovery_page(struct nvmf_req *req, size_t *ret_len)
{
	return discovery_log(req->queue->ctrl, lsp_of(req) & LSP_DISCOVERY_PLEO, ret_len);
}

static const struct log_page log_pages[256] = {
	[0x00] = { "supported-log-pages", LOG_IO | LOG_DISCOVERY, supported_pages },
	[0x01] = { "error", LOG_IO | LOG_DISCOVERY, error_page },
	[0x02] = { "smart", LOG_IO | LOG_NS, health_page, health_ask },
	[0x03] = { "fw-slot", LOG_IO, firmware_page },
	[0x04] = { "changed-ns-list", LOG_IO, changed_namespaces_page, NULL,
		   changed_namespaces_seen },
	[0x05] = { "effects", LOG_IO, effects_page },
	[0x0c] = { "ana", LOG_IO, ana_page },
	[0x12] = { "feature-effects", LOG_IO, feature_effects_page },
	[0x13] = { "mi-effects", LOG_IO, mi_effects_page },
	[0x70] = { "discovery", LOG_DISCOVERY | LIDSP_DISCOVERY_PLEOS << LIDSP_SHIFT,
		   discovery_page },
	[0x80] = { "reservation-notification", LOG_IO, resv_log_page },
};

const char *log_page_name(uint8_t lid)
{
	return log_pages[lid].name;
}

/* One namespace's page, or all namespaces'; other pages are of no namespace. */
static uint16_t check_nsid(struct nvmf_req *req, const struct log_page *page)
{
	uint32_t nsid = get32(req->sqe->nsid);

	if (nsid == 0 || nsid == NVME_NSID_ALL)
		return NVME_OK;
	if (!(page->flags & LOG_NS))
		return invalid_field(req, AT_NSID, 0);
	return ns_map_find(req->queue->ctrl->map, nsid) ? NVME_OK : NVME_INVALID_NS | NVME_DNR;
}

#define LOG_OT (UINT32_C(1) << 23) /* CDW14: the offset is an index, which no page has */

void log_page_execute(struct nvmf_req *req)
{
	const struct log_page *page = &log_pages[lid_of(req)];
	uint16_t status = NVME_OK;

	if (!has_page(req->queue->ctrl, page))
		status = NVME_INVALID_LOG_PAGE | NVME_DNR;
	else if (get32(req->sqe->cdw14) & LOG_OT)
		status = invalid_field(req, AT_CDW14 + 2, 7);
	else
		status = check_nsid(req, page);
	if (status)
		nvmf_req_complete(req, status);
	else if (!page->later || !page->later(req))
		log_page_answer(req);
}

/* What was asked for beyond the end of the page is zeros. */
void log_page_answer(struct nvmf_req *req)
{
	const struct log_page *page = &log_pages[lid_of(req)];
	struct controller *c = req->queue->ctrl;
	uint64_t offset = offset_of(req);
	size_t len, n;
	uint8_t *whole = page->build(req, &len);

	if (!whole) {
		nvmf_req_complete(req, NVME_INTERNAL_ERROR);
		return;
	}
	if (offset > len) {
		free(whole);
		nvmf_req_complete(req, invalid_field(req, AT_CDW12, 0));
		return;
	}
	n = len - offset < req->len ? len - offset : req->len;
	memcpy(req->data, whole + offset, n);
	memset(req->data + n, 0, req->len - n);
	free(whole);
	if (!(get32(req->sqe->cdw10) & LOG_RAE)) {
		if (page->seen)
			page->seen(c);
		events_unmask(c, lid_of(req));
	}
	nvmf_req_complete(req, NVME_OK);
}
