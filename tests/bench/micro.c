/*
 * What the daemon's own code costs, with RNIC and drive cut off. Native.
 *
 *   build/out/tests/bench/micro [COMMANDS]
 *
 *   dispatch   check, dispatch and complete a 4 KiB Read: everything the target does
 *   command    the same Read from the receive's completion to the response's: with the capsule, the
 *              SGL, a warm slot, the chain of WRITE and SEND, and the posts (to verbs that do
 *              nothing)
 *   slot       take and give back, warm
 *   publish    tell one reactor of another thread what all namespaces may be staged in
 *
 *   valgrind --tool=callgrind --toggle-collect=one_read build/out/tests/bench/micro 100000
 *   valgrind --tool=callgrind --toggle-collect=one_command build/out/tests/bench/micro 100000
 */
#include "transport/request.c"

#include "target/core.h"

#include <stdio.h>
#include <time.h>

#define NQN "nqn.2026-11.org.nvmf-p2pd:bench"

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "micro: %s\n", what);
	exit(1);
}

/* ---- the RNIC's end: memory regions without one ------------------------------------------------
 */

static struct ibv_mr some_mr = { .lkey = 1 };

struct ibv_mr *(ibv_reg_mr)(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	(void)pd;
	(void)addr;
	(void)length;
	(void)access;
	return &some_mr;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	(void)mr;
	return 0;
}

/* ---- the backend's end: every read is done at once ---------------------------------------------
 */

/* Commands that come and end in batches share readings of the clock; else each takes two. */
static bool batched;

static void rw_at_once(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	(void)b;
	(void)offset;
	(void)fua;
	if (!batched)
		reactor_tick(req->queue->reactor);
	nvmf_req_complete(req, NVME_OK);
}

static const struct backend_ops at_once = { .name = "none", .rw = rw_at_once };
static struct backend backend = { .ops = &at_once };

/* ---- a target with one namespace, and a queue --------------------------------------------------
 */

static struct config_subsystem subsys_conf = { .nqn = NQN };
static struct config_namespace ns_conf = { .nsid = 1, .device = "none" };
static struct ns_shard shard[2];
static struct namespace ns = { .conf = &ns_conf,
			       .subsys = NULL,
			       .nsid = 1,
			       .backend = &backend,
			       .shard = shard,
			       .nlb = 1 << 21,
			       .lba_shift = 9 };
static struct namespace *nss[] = { &ns };
static struct subsystem subsys = {
	.conf = &subsys_conf, .nqn = NQN, .namespaces = nss, .nnamespaces = 1
};
static struct subsystem *subsystems[] = { &subsys };
static struct ana_port port = { .port_id = 1 }; /* all groups are optimized */
static struct ns_map *map;
static struct reactor *control;
static struct reactors reactors;
static struct reactor_account accounts[2];
static struct target target = { .mdts_len = 1 << 20,
				.subsystems = subsystems,
				.nsubsystems = 1,
				.reactors = &reactors,
				.account = accounts };
static struct nvmf_req *answered;

static void remember(struct nvmf_req *req)
{
	answered = req;
	nvmf_req_drop(req);
}

static const struct nvmf_queue_ops only_remember = { .respond = remember };

static struct nvmf_queue live_queue(const struct nvmf_queue_ops *ops)
{
	return (struct nvmf_queue){ .ops = ops,
				    .target = &target,
				    .reactor = control,
				    .subsys = &subsys,
				    .map = map,
				    .state = QUEUE_LIVE,
				    .qid = 1,
				    .depth = 128,
				    .sqsize = 128 };
}

static struct nvme_sqe read_4k(void)
{
	struct nvme_sqe sqe = { .opcode = 0x02, .flags = SQE_PSDT_SGL, .nsid = put32(1) };

	sqe.cdw10 = put32(4096);
	sqe.cdw12 = put32(7);
	sqe.dptr.keyed.type = SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_INVALIDATE;
	sqe.dptr.keyed.len[1] = 4096 >> 8;
	return sqe;
}

/* ---- dispatch ----------------------------------------------------------------------------------
 */

__attribute__((noinline)) static void one_read(struct nvmf_req *req)
{
	if (!batched)
		reactor_tick(control);
	if (nvmf_req_check(req))
		abort();
	if (!nvmf_req_stage(req))
		abort();
	req->place = STAGE_HOST_NO_CMB;
	nvmf_req_execute(req);
}

static void bench_dispatch(unsigned int rounds)
{
	struct nvmf_queue q = live_queue(&only_remember);
	struct nvme_sqe sqe = read_4k();
	struct nvmf_req req = { .queue = &q, .sqe = &sqe };
	double start = now_ns();

	for (unsigned int i = 0; i < rounds; i++) {
		sqe.cid = put16((uint16_t)i);
		one_read(&req);
	}
	printf("dispatch  %8.1f ns%s\n", (now_ns() - start) / rounds, batched ? ", batched" : "");
	check(answered == &req && !get16(req.cqe.status), "a Read failed");
}

/* ---- command -----------------------------------------------------------------------------------
 */

static struct ibv_send_wr *posted;
static unsigned int nreposted;

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	(void)qp;
	(void)bad;
	posted = wr;
	return 0;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	(void)qp;
	(void)wr;
	(void)bad;
	nreposted++;
	return 0;
}

/* Receive, WRITE and SEND, completion. */
__attribute__((noinline)) static void one_command(struct conn *c, struct recv *recv)
{
	static const struct ibv_wc received = { .byte_len = sizeof(struct nvme_sqe) };
	static const struct ibv_wc sent;
	struct wr *wr;

	if (!batched)
		reactor_tick(control);
	recv->wr.done(&recv->wr, &received);
	STAILQ_INIT(&c->lane->dirty);
	c->dirty = false;
	conn_post_chain(c);
	wr = (void *)(uintptr_t)posted->next->wr_id;
	wr->done(wr, &sent);
}

static void bench_command(struct lane *lane, unsigned int rounds)
{
	static struct request reqs[16];
	struct ibv_context verbs = { .ops = { .post_send = post_send, .post_recv = post_recv } };
	struct ibv_qp qp = { .context = &verbs };
	struct rdma_cm_id id = { .qp = &qp };
	struct nvme_sqe sqe = read_4k();
	struct cq_pair cqs = { 0 };
	struct conn c = { .nvmf = live_queue(&conn_queue_ops),
			  .lane = lane,
			  .id = &id,
			  .state = CONN_LIVE,
			  .path_mtu = IBV_MTU_4096,
			  .send_inline = true,
			  .depth = 128,
			  .cqs = &cqs,
			  .reqs = reqs,
			  .nreqs = 16,
			  .posted_recvs = 1 };
	struct recv recv;
	double start;

	STAILQ_INIT(&c.free_reqs);
	STAILQ_INIT(&c.pending);
	c.chain_end = &c.chain;
	recv_init(&recv, &some_mr, &sqe, NULL, 0);
	recv.lane = NULL;
	recv.conn = &c;
	start = now_ns();
	for (unsigned int i = 0; i < rounds; i++) {
		sqe.cid = put16((uint16_t)i);
		one_command(&c, &recv);
	}
	printf("command   %8.1f ns%s\n", (now_ns() - start) / rounds, batched ? ", batched" : "");
	check(nreposted == rounds && posted->opcode == IBV_WR_RDMA_WRITE &&
		      posted->next->opcode == IBV_WR_SEND_WITH_INV && c.busy_reqs == 0,
	      "a command went wrong");
}

/* ---- slot --------------------------------------------------------------------------------------
 */

static void bench_slot(struct slot_cache *cache, unsigned int rounds)
{
	struct stage_holding *holding = &shard[0].stage.holding[PROVIDER_MAX];
	struct slot_owner owner = { &holding->share, &holding->part[1] };
	struct slot *slot;
	double start = now_ns();

	for (unsigned int i = 0; i < rounds; i++) {
		slot = slot_take(cache, 4096, owner);
		check(slot, "no slot");
		slot_give(slot);
	}
	printf("slot      %8.1f ns\n", (now_ns() - start) / rounds);
}

/* ---- publish -----------------------------------------------------------------------------------
 */

static void bench_publish(unsigned int rounds)
{
	const struct reactor_opts opts = { .index = 1, .entries = 8, .cpu = -1 };
	double start;

	check(reactor_create(&opts, &reactors.r[1]) == 0, "no second reactor");
	reactors.n = 2;
	start = now_ns();
	for (unsigned int i = 0; i < rounds; i++)
		target_provider_lost(&target);
	printf("publish   %8.1f ns\n", (now_ns() - start) / rounds);
	reactor_destroy(reactors.r[1]);
	reactors.n = 1;
}

int main(int argc, char **argv)
{
	static struct rnic rnic = { .attr.device_cap_flags = IBV_DEVICE_MEM_MGT_EXTENSIONS };
	const struct reactor_opts opts = { .index = 0, .entries = 8, .cpu = -1 };
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 5000000;
	struct staging staging = { 0 };
	struct lane lane = { .rnic = &rnic, .staging = &staging };
	struct window *pinned;

	log_init(LOG_LEVEL_ERROR);
	check(reactor_create(&opts, &control) == 0, "no reactor");
	reactors.r[0] = control;
	reactors.n = 1;
	ns.subsys = &subsys;
	ns.ana_group = 1;
	LIST_INSERT_HEAD(&subsys.ana, &port, entry);
	map = ns_map_create(&(struct controller){ .subsys = &subsys, .port_id = 1 });
	if (!map)
		return 1;
	for (int i = 0; i < 2; i++)
		stage_client_init(&shard[i].stage);
	check(window_create_pinned(NULL, 1 << 20, &pinned) == 0, "no memory");
	staging.domain = &control->domain;
	check(slot_cache_create(&control->domain, pinned, pinned->host, &staging.host) == 0,
	      "no memory");
	lane.reactor = control;
	STAILQ_INIT(&lane.dirty);

	for (int i = 0; i < 2; i++) {
		batched = i;
		nreposted = 0;
		bench_dispatch(rounds);
		bench_command(&lane, rounds);
	}
	bench_slot(staging.host, rounds);
	bench_publish(rounds / 500 + 1);
	slot_cache_destroy(staging.host);
	return 0;
}
