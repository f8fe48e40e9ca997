/*
 * What a command costs without drive and RNIC: check, dispatch and completion of a 4 KiB Read, with
 * the backend's and the transport's ends cut off. Native. micro [N]: N commands.
 *
 *   build/out/tests/bench/micro
 *   valgrind --tool=callgrind --toggle-collect=one_read build/out/tests/bench/micro 100000
 */
#include "target/core.h"
#include "target/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#define NQN "nqn.2026-11.org.nvmf-p2pd:bench"

static struct nvmf_req *answered;

static void respond(struct nvmf_req *req)
{
	answered = req;
}

static void unexpected(struct nvmf_req *req)
{
	(void)req;
	abort();
}

static void disconnect(struct nvmf_queue *q)
{
	nvmf_queue_close(q);
}

static const struct nvmf_queue_ops ops = { respond, unexpected, disconnect };

/* The backend's end: every read is done at once. */
static void rw_at_once(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	(void)b;
	(void)offset;
	(void)fua;
	nvmf_req_complete(req, NVME_OK);
}

static void nothing_to_close(struct backend *b)
{
	(void)b;
}

static const struct backend_ops at_once = { .name = "none",
					    .rw = rw_at_once,
					    .close = nothing_to_close };

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Everything between a received capsule and a CQE that is ready to be sent. */
__attribute__((noinline)) static void one_read(struct nvmf_req *req)
{
	if (nvmf_req_check(req))
		abort();
	if (!nvmf_req_stage(req))
		abort();
	req->place = STAGE_HOST_NO_CMB;
	nvmf_req_execute(req);
}

int main(int argc, char **argv)
{
	static struct config_subsystem conf = { .nqn = NQN };
	static struct config_namespace ns_conf = { .nsid = 1, .device = "none" };
	static struct provider_set set;
	static struct target target;
	static struct controller ctrl;
	static struct namespace ns;
	static struct subsystem subsys;
	struct backend backend = { .ops = &at_once };
	struct nvmf_queue q = { .ops = &ops,
				.target = &target,
				.state = QUEUE_LIVE,
				.qid = 1,
				.depth = 128,
				.sqsize = 128,
				.ctrl = &ctrl };
	struct nvme_sqe sqe = { .opcode = 0x02, .flags = SQE_PSDT_SGL, .nsid = put32(1) };
	struct nvmf_req req = { .queue = &q, .sqe = &sqe };
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 10000000;
	double start;

	log_init(LOG_LEVEL_ERROR);
	target.set = &set;
	target.mdts_len = 1 << 20;
	subsys = (struct subsystem){
		.conf = &conf, .nqn = NQN, .namespaces = &ns, .nnamespaces = 1
	};
	ns = (struct namespace){ .conf = &ns_conf,
				 .subsys = &subsys,
				 .nsid = 1,
				 .backend = &backend,
				 .nlb = 1 << 21,
				 .lba_shift = 9 };
	ctrl = (struct controller){ .target = &target, .subsys = &subsys, .csts = CSTS_RDY };
	sqe.cdw10 = put32(4096);
	sqe.cdw12 = put32(7);
	start = now_ns();
	for (unsigned int i = 0; i < rounds; i++) {
		sqe.cid = put16((uint16_t)i);
		one_read(&req);
	}
	if (answered != &req || get16(req.cqe.status) ||
	    ns.account[DATA_C2H - 1].commands != rounds)
		abort();
	printf("check, dispatch and complete a Read: %.1f ns\n", (now_ns() - start) / rounds);
	return 0;
}
