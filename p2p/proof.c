#include "p2p/proof.h"
#include "p2p/loopback.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PROOF_PAGES 16u
#define PROOF_LEN   ((size_t)PROOF_PAGES * P2P_PAGE_SIZE)
#define BACKGROUND  0xE7
#define DEADLINE_S  3

/* NVM Command Set 1.1, 3: p2p/ knows of NVMe only these two, for the drives' proof. */
enum { NVME_OP_READ = 0x02, NVME_OP_COMPARE = 0x05 };

static void fail(struct proof *proof, enum proof_verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fail(struct proof *proof, enum proof_verdict verdict, const char *fmt, ...)
{
	va_list ap;

	proof->verdict = verdict;
	va_start(ap, fmt);
	vsnprintf(proof->why, sizeof(proof->why), fmt, ap);
	va_end(ap);
}

/* Bytes that differ between neighbours, packets and pages, so that any misplacement shows. */
static void fill_pattern(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((((uint32_t)i + seed) * 2654435761u) >> 19);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One RDMA operation between @va (lkey) and the start of the far buffer. NULL: it completed well.
 */
static const char *rdma(struct loopback *lo, enum ibv_wr_opcode op, uint8_t *va, uint32_t lkey,
			size_t len)
{
	struct ibv_sge sge = { .addr = (uintptr_t)va, .length = (uint32_t)len, .lkey = lkey };
	struct ibv_send_wr wr = { .sg_list = &sge,
				  .num_sge = 1,
				  .opcode = op,
				  .send_flags = IBV_SEND_SIGNALED,
				  .wr.rdma = { (uintptr_t)lo->far_buf, lo->far_mr->rkey } };
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	double deadline = seconds() + DEADLINE_S;

	if (ibv_post_send(lo->near, &wr, &bad))
		return "post failed";
	for (;;) {
		int n = ibv_poll_cq(lo->cq, 1, &wc);

		if (n < 0)
			return "completion queue failed";
		if (n > 0)
			return wc.status == IBV_WC_SUCCESS ? NULL : ibv_wc_status_str(wc.status);
		if (seconds() > deadline)
			return "no completion in time";
		sched_yield();
	}
}

/* ---- the RNIC's cases --------------------------------------------------------------------- */

static const struct rnic_case {
	size_t offset, len;
} rnic_cases[] = {
	/* page-aligned first: if one fails, nothing else matters */
	{ 0, 512 },
	{ 0, 4096 },
	{ 0, 4096 + 512 },
	{ 0, PROOF_LEN },
	{ 4096, 3 * 4096 + 1536 },
	/* inside a page */
	{ 512, 512 },
	{ 512, 4096 },
	{ 2048 + 512, 16384 },
};

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t i = 0;

	while (i < len && a[i] == b[i])
		i++;
	return i;
}

/* RDMA READ far pattern -> pages; everything outside [offset, offset + len) must stay background.
 */
static const char *try_read(struct loopback *lo, struct slot *slot, const struct rnic_case *c,
			    uint8_t *want, uint8_t *got)
{
	struct provider *p = slot->cache->provider;

	memset(want, BACKGROUND, PROOF_LEN);
	if (provider_poke(p, slot->va, want, PROOF_LEN))
		return "pages are gone";
	fill_pattern(lo->far_buf, PROOF_LEN, (uint32_t)(c->offset + c->len));
	memcpy(want + c->offset, lo->far_buf, c->len);

	const char *bad = rdma(lo, IBV_WR_RDMA_READ, slot->va + c->offset, slot->lkey, c->len);

	if (bad)
		return bad;
	if (provider_peek(p, slot->va, got, PROOF_LEN))
		return "pages are gone";
	return first_difference(want, got, PROOF_LEN) == PROOF_LEN
		       ? NULL
		       : "reported success, moved wrong bytes";
}

/* RDMA WRITE pages -> far buffer. */
static const char *try_write(struct loopback *lo, struct slot *slot, const struct rnic_case *c,
			     uint8_t *want)
{
	fill_pattern(want, PROOF_LEN, (uint32_t)(c->offset * 3 + c->len));
	if (provider_poke(slot->cache->provider, slot->va, want, PROOF_LEN))
		return "pages are gone";
	memset(lo->far_buf, BACKGROUND, PROOF_LEN);

	const char *bad = rdma(lo, IBV_WR_RDMA_WRITE, slot->va + c->offset, slot->lkey, c->len);

	if (bad)
		return bad;
	return memcmp(lo->far_buf, want + c->offset, c->len) ? "reported success, moved wrong bytes"
							     : NULL;
}

static void run_rnic_cases(struct loopback *lo, struct slot *slot, enum ibv_mtu mtu, uint8_t *want,
			   uint8_t *got, struct proof *ret)
{
	ret->verdict = PROOF_ANY;
	for (size_t i = 0; i < sizeof(rnic_cases) / sizeof(rnic_cases[0]); i++) {
		const struct rnic_case *c = &rnic_cases[i];
		const char *op = "READ";
		const char *bad = try_read(lo, slot, c, want, got);

		if (!bad) {
			op = "WRITE";
			bad = try_write(lo, slot, c, want);
		}
		if (bad) {
			fail(ret, c->offset % P2P_PAGE_SIZE ? PROOF_ALIGNED : PROOF_NONE,
			     "RDMA %s of %zu bytes at page offset %zu, path MTU %u: %s", op, c->len,
			     c->offset % P2P_PAGE_SIZE, proof_mtu_bytes(mtu), bad);
			return;
		}
	}
}

void proof_rnic(struct slot_cache *c, uint8_t port_num, enum ibv_mtu mtu, struct proof *ret)
{
	struct slot *slot = slot_take(c, PROOF_LEN, (struct slot_owner){ 0 });
	uint8_t *buf = malloc(2 * PROOF_LEN);
	struct loopback lo;
	int err;

	*ret = (struct proof){ 0 };
	if (!slot || !buf) {
		fail(ret, PROOF_UNKNOWN, "no memory of %s to spare for the proof",
		     c->provider->name);
		goto out;
	}
	err = loopback_init(&lo, c->window->mr->pd, NULL, port_num, mtu, 2, PROOF_LEN);
	if (err)
		fail(ret, PROOF_NONE, "no loopback queue pair for the proof: %s", strerror(-err));
	else
		run_rnic_cases(&lo, slot, mtu, buf, buf + PROOF_LEN, ret);
	loopback_fini(&lo);
out:
	if (slot)
		slot_give(slot);
	free(buf);
}

/* ---- the drive ---------------------------------------------------------------------------- */

/* Pages for a drive's proof, in the pool itself: no RNIC takes part. */
struct lent {
	struct provider *provider;
	uint32_t page, npages;
	uint8_t *va;
	uint8_t *host, *got; /* ordinary memory, PROOF_LEN each */
	char why[96];        /* room for a reason */
};

static bool lend(struct provider *p, size_t len, struct lent *l, struct proof *ret)
{
	unsigned int order = buddy_order((uint32_t)((len + P2P_PAGE_SIZE - 1) / P2P_PAGE_SIZE));

	*l = (struct lent){ .provider = p, .npages = UINT32_C(1) << order };
	*ret = (struct proof){ 0 };
	do {
		l->page = buddy_take(&p->free, order);
	} while (l->page == BUDDY_NONE && provider_grow(p) == 0);
	l->host = aligned_alloc(P2P_PAGE_SIZE, 2 * PROOF_LEN);
	if (l->page == BUDDY_NONE || !l->host || len > PROOF_LEN) {
		fail(ret, PROOF_UNKNOWN, "no memory of %s to spare for the proof", p->name);
		return false;
	}
	l->got = l->host + PROOF_LEN;
	l->va = p->pool + (size_t)l->page * P2P_PAGE_SIZE;
	return true;
}

static void give_lent(struct lent *l)
{
	free(l->host);
	if (l->page != BUDDY_NONE)
		buddy_give(&l->provider->free, l->page, l->npages);
}

/* NULL: equal. */
static const char *compare_reads(int fd, size_t len, struct lent *l)
{
	if (pread(fd, l->host, len, 0) != (ssize_t)len)
		return "reading the drive into host memory failed";
	/* a background that differs from the data in every byte: an untouched byte cannot pass */
	for (size_t i = 0; i < len; i++)
		l->got[i] = (uint8_t)~l->host[i];
	if (provider_poke(l->provider, l->va, l->got, len))
		return "its pages are gone";

	ssize_t n = pread(fd, l->va, len, 0);

	if (n < 0)
		return strerror(errno);
	if (n != (ssize_t)len || provider_peek(l->provider, l->va, l->got, len) ||
	    memcmp(l->got, l->host, len) != 0)
		return "reported success, bytes are wrong";
	return NULL;
}

/* A host may write these blocks between our two reads: only what fails every time is a failure. */
#define TRIES 3

void proof_backend(int fd, size_t len, struct provider *p, struct proof *ret)
{
	const char *bad = NULL;
	struct lent l;

	if (lend(p, len, &l, ret)) {
		for (int i = 0; i < TRIES; i++)
			if (!(bad = compare_reads(fd, len, &l)))
				break;
		if (bad)
			fail(ret, PROOF_NONE, "the drive cannot write to %s: %s", p->name, bad);
		else
			ret->verdict = PROOF_ANY;
	}
	give_lent(&l);
}

#define NVME_SCT_SC_MASK     0x7ff
#define NVME_COMPARE_FAILURE 0x285 /* NVM Command Set 1.1, 3.2.1.1 */

/* One page of the drive's first blocks. Return: NVMe status, or negative errno. */
static int passthrough(int fd, uint8_t opcode, uint32_t nsid, unsigned int nblocks, void *data)
{
	struct nvme_passthru_cmd cmd = { .opcode = opcode,
					 .nsid = nsid,
					 .addr = (uintptr_t)data,
					 .data_len = P2P_PAGE_SIZE,
					 .cdw12 = nblocks - 1 };
	int status = ioctl(fd, NVME_IOCTL_IO_CMD, &cmd);

	return status < 0 ? -errno : status & NVME_SCT_SC_MASK;
}

#define NVME_INVALID_OPCODE 0x001

/* Why passthrough of @what did not come to an answer of the drive's. The kernel lets only
 * CAP_SYS_ADMIN send what could change blocks, as it takes Compare to do, through a descriptor that
 * is not open for writing, and everything through a partition's. */
static const char *not_answered(struct lent *l, const char *what, int status)
{
	if (status == -EACCES || status == -EPERM)
		snprintf(l->why, sizeof(l->why), "the kernel refuses %s without CAP_SYS_ADMIN",
			 what);
	else if (status < 0)
		snprintf(l->why, sizeof(l->why), "%s: %s", what, strerror(-status));
	else if (status == NVME_INVALID_OPCODE)
		snprintf(l->why, sizeof(l->why), "the drive has no %s", what);
	else
		snprintf(l->why, sizeof(l->why), "%s failed with status %xh", what, status);
	return l->why;
}

/*
 * NVMe Compare makes the drive read the pages and writes nothing: equal bytes must compare equal,
 * and with one bit changed they must not, or the drive looked elsewhere.
 */
static const char *try_compare(int fd, uint32_t nsid, unsigned int nblocks, struct lent *l,
			       bool *ret_ran)
{
	int status = passthrough(fd, NVME_OP_READ, nsid, nblocks, l->host);

	*ret_ran = false;
	if (status)
		return not_answered(l, "Read", status);
	if (provider_poke(l->provider, l->va, l->host, P2P_PAGE_SIZE))
		return "its pages are gone";
	status = passthrough(fd, NVME_OP_COMPARE, nsid, nblocks, l->va);
	if (status != 0 && status != NVME_COMPARE_FAILURE)
		return not_answered(l, "Compare", status);
	*ret_ran = true;
	if (status == NVME_COMPARE_FAILURE)
		return "Compare found other bytes than are there";
	l->host[P2P_PAGE_SIZE / 2] ^= 1;
	if (provider_poke(l->provider, l->va, l->host, P2P_PAGE_SIZE))
		return "its pages are gone";
	status = passthrough(fd, NVME_OP_COMPARE, nsid, nblocks, l->va);
	return status == NVME_COMPARE_FAILURE ? NULL : "Compare did not see a changed byte";
}

static void prove_by_compare(int fd, struct lent *l, struct proof *ret)
{
	int lba_len = 0, nsid = ioctl(fd, NVME_IOCTL_ID);
	const char *bad = "not an NVMe drive, and no `scratch` is configured";
	bool ran = false;

	if (nsid > 0 && ioctl(fd, BLKSSZGET, &lba_len) == 0 && lba_len >= 512 &&
	    lba_len <= (int)P2P_PAGE_SIZE)
		for (int i = 0; i < TRIES && bad; i++)
			bad = try_compare(fd, (uint32_t)nsid, P2P_PAGE_SIZE / (unsigned int)lba_len,
					  l, &ran);
	if (!bad)
		ret->verdict = PROOF_ANY;
	else
		fail(ret, ran ? PROOF_NONE : PROOF_UNKNOWN, "reading %s: %s", l->provider->name,
		     bad);
}

static const char *try_scratch(int fd, struct lent *l)
{
	fill_pattern(l->host, PROOF_LEN, (uint32_t)time(NULL));
	memset(l->got, BACKGROUND, PROOF_LEN);
	if (provider_poke(l->provider, l->va, l->host, PROOF_LEN))
		return "its pages are gone";
	if (pwrite(fd, l->va, PROOF_LEN, 0) != (ssize_t)PROOF_LEN)
		return errno ? strerror(errno) : "short write";
	if (pread(fd, l->got, PROOF_LEN, 0) != (ssize_t)PROOF_LEN)
		return "reading it back failed";
	return memcmp(l->got, l->host, PROOF_LEN) ? "reported success, wrote wrong bytes" : NULL;
}

void proof_backend_write(int fd, int scratch_fd, struct provider *p, struct proof *ret)
{
	struct lent l;

	if (lend(p, scratch_fd < 0 ? P2P_PAGE_SIZE : PROOF_LEN, &l, ret)) {
		if (scratch_fd < 0) {
			prove_by_compare(fd, &l, ret);
		} else {
			const char *bad = try_scratch(scratch_fd, &l);

			if (bad)
				fail(ret, PROOF_NONE, "writing scratch from %s: %s", p->name, bad);
			else
				ret->verdict = PROOF_ANY;
		}
	}
	give_lent(&l);
}

const char *proof_verdict_name(enum proof_verdict verdict)
{
	static const char *const names[] = {
		[PROOF_UNKNOWN] = "unproved",
		[PROOF_NONE] = "none",
		[PROOF_ALIGNED] = "aligned",
		[PROOF_ANY] = "any",
	};

	return names[verdict];
}
