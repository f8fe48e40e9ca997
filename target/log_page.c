/* Get Log Page: Base 2.1, 5.1.12. */
#include "target/core.h"

#include <libnvme.h>
#include <stdlib.h>
#include <string.h>

#define LOG_RAE (UINT32_C(1) << 15) /* retain asynchronous event */

struct log_page {
	const char *name;
	/* The whole page, allocated; NULL: no memory. */
	void *(*build)(struct nvmf_req *req, size_t *ret_len);
	bool io, discovery; /* which controllers have it */
};

static const struct log_page log_pages[256];

static uint64_t offset_of(const struct nvmf_req *req)
{
	return get32(req->sqe->cdw12) | (uint64_t)get32(req->sqe->cdw13) << 32;
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

	if (len > req->queue->target->mdts_len || offset_of(req) % 4)
		return NVME_INVALID_FIELD | NVME_DNR;
	*ret_len = (uint32_t)len;
	return NVME_OK;
}

static bool has_page(const struct controller *c, const struct log_page *page)
{
	return page->build && (c->subsys->discovery ? page->discovery : page->io);
}

static void *zeroed(size_t len, size_t *ret_len)
{
	*ret_len = len;
	return calloc(1, len);
}

static void *supported_pages(struct nvmf_req *req, size_t *ret_len)
{
	le32 *page = zeroed(256 * sizeof(le32), ret_len);

	for (unsigned int lid = 0; page && lid < 256; lid++)
		if (has_page(req->queue->ctrl, &log_pages[lid]))
			page[lid] = put32(1); /* LSUPP */
	return page;
}

static void *error_page(struct nvmf_req *req, size_t *ret_len)
{
	(void)req;
	return zeroed(sizeof(struct nvme_error_log_page), ret_len);
}

static void put_counter(uint8_t to[16], uint64_t value)
{
	le64 low = put64(value);

	memcpy(to, &low, sizeof(low));
}

static uint64_t bytes_in(const struct stage_account *a)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < STAGE_NPLACES; i++)
		sum += a->bytes[i];
	return sum;
}

/* What went through this target, for one namespace or all of them. */
static void *smart_page(struct nvmf_req *req, size_t *ret_len)
{
	struct nvme_smart_log *log = zeroed(sizeof(*log), ret_len);
	const struct namespace *ns;
	uint64_t bytes[2] = { 0 }, commands[2] = { 0 };

	if (!log)
		return NULL;
	FOR_EACH_NAMESPACE (req->queue->ctrl->subsys, ns)
		for (int dir = 0; dir < 2; dir++) {
			struct stage_account a;

			namespace_account(req->queue->target, ns, (enum data_dir)(dir + 1), &a);
			bytes[dir] += bytes_in(&a);
			commands[dir] += a.commands;
		}
	log->avail_spare = 100;
	log->spare_thresh = 10;
	put_counter(log->data_units_written, (bytes[DATA_H2C - 1] + 511999) / 512000);
	put_counter(log->data_units_read, (bytes[DATA_C2H - 1] + 511999) / 512000);
	put_counter(log->host_writes, commands[DATA_H2C - 1]);
	put_counter(log->host_reads, commands[DATA_C2H - 1]);
	return log;
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

/* Namespaces do not change while the daemon runs: none has. */
static void *changed_namespaces_page(struct nvmf_req *req, size_t *ret_len)
{
	(void)req;
	return zeroed(1024 * sizeof(le32), ret_len);
}

static void *effects_page(struct nvmf_req *req, size_t *ret_len)
{
	struct nvme_cmd_effects_log *log = zeroed(sizeof(*log), ret_len);

	(void)req;
	for (unsigned int op = 0; log && op < 256; op++) {
		log->acs[op] = htole32(admin_commands[op].effects);
		log->iocs[op] = htole32(io_commands[op].effects);
	}
	return log;
}

static void *discovery_page(struct nvmf_req *req, size_t *ret_len)
{
	return discovery_log(req->queue, ret_len);
}

static const struct log_page log_pages[256] = {
	[0x00] = { "supported-log-pages", supported_pages, true, true },
	[0x01] = { "error", error_page, true, true },
	[0x02] = { "smart", smart_page, true, false },
	[0x03] = { "fw-slot", firmware_page, true, false },
	[0x04] = { "changed-ns-list", changed_namespaces_page, true, false },
	[0x05] = { "effects", effects_page, true, false },
	[0x70] = { "discovery", discovery_page, false, true },
};

void log_page_execute(struct nvmf_req *req)
{
	const struct log_page *page = &log_pages[lid_of(req)];
	uint64_t offset = offset_of(req);
	size_t len;

	if (!has_page(req->queue->ctrl, page)) {
		nvmf_req_complete(req, NVME_INVALID_LOG_PAGE | NVME_DNR);
		return;
	}

	uint8_t *whole = page->build(req, &len);

	if (!whole) {
		nvmf_req_complete(req, NVME_INTERNAL_ERROR);
		return;
	}
	if (offset > len) {
		free(whole);
		nvmf_req_complete(req, NVME_INVALID_FIELD | NVME_DNR);
		return;
	}

	/* what was asked for beyond the end of the page is zeros */
	size_t n = len - offset < req->len ? len - offset : req->len;

	memcpy(req->data, whole + offset, n);
	memset(req->data + n, 0, req->len - n);
	free(whole);
	if (!(get32(req->sqe->cdw10) & LOG_RAE))
		events_unmask(req->queue->ctrl, lid_of(req));
	nvmf_req_complete(req, NVME_OK);
}
