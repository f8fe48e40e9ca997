/*
 * A memory transport: a target with a file behind its namespace, and queues whose commands run from
 * check to answer without a network. Included once, by a test's only source.
 *
 * setup() has one thread do everything; setup_threads() has I/O queues served by two more. A test
 * that wants another configuration changes conf and what it points to before setup_with().
 */
#ifndef TESTS_UNIT_MEMORY_TRANSPORT_H
#define TESTS_UNIT_MEMORY_TRANSPORT_H

#include "target/core.h"
#include "target/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NQN      "nqn.2026-11.org.example:t"
#define HOSTNQN  "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-000000000001"
#define NBLOCKS  256 /* of 4 KiB */
#define FILE_LEN (NBLOCKS * 4096)

static char path[] = "/var/tmp/nvmf-p2pd-test-XXXXXX";
static struct config_port ports[2] = {
	{ .id = 1,
	  .address = "10.0.0.1",
	  .service = "4420",
	  .queue_depth = 128,
	  .in_capsule_data_len = 4096 },
	{ .id = 2, .address = "0.0.0.0", .service = "4421", .queue_depth = 64 },
};
static uint16_t port_ids[] = { 1 };
static struct config_namespace namespaces[1] = {
	{ .nsid = 1, .device = path, .cmb = CONFIG_CMB_PREFER }
};
static const char *allowed[] = { HOSTNQN };
static struct config_subsystem subsystems[1] = { { .nqn = NQN,
						   .allowed_hosts = allowed,
						   .nallowed_hosts = 1,
						   .cntlid_min = 1,
						   .cntlid_max = CNTLID_MAX,
						   .max_queues = 128,
						   .ports = port_ids,
						   .nports = 1,
						   .namespaces = namespaces,
						   .nnamespaces = 1 } };
static struct config conf = { .max_transfer_len = 131072,
			      .state_dir = "/nonexistent/state",
			      .ports = ports,
			      .nports = 2,
			      .subsystems = subsystems,
			      .nsubsystems = 1 };

/* Either the control thread is all there is, or I/O queues are served by two other threads. */
static struct reactors reactors;
static struct provider_set no_cmb;
static struct target *target;
static int ndisconnects; /* atomic */

struct exchange {
	struct nvmf_req req; /* first */
	struct nvme_sqe sqe;
	bool answered; /* atomic */
};

static uint8_t *data; /* page-aligned */

static inline void respond(struct nvmf_req *req)
{
	nvmf_req_drop(req);
	__atomic_store_n(&((struct exchange *)req)->answered, true, __ATOMIC_RELEASE);
}

static inline void disconnect(struct nvmf_queue *q)
{
	nvmf_queue_close(q);
	__atomic_add_fetch(&ndisconnects, 1, __ATOMIC_RELEASE);
}

static unsigned int nrestaged;

static inline void restage(struct nvmf_req *req)
{
	(void)req;
	nrestaged++;
}

/* A command that the transport keeps, as if it waited for a place to stage its data. */
static struct exchange *kept;

static inline bool abort_kept(struct nvmf_queue *q, uint16_t cid)
{
	struct exchange *x = kept;

	if (!x || x->req.queue != q || get16(x->sqe.cid) != cid)
		return false;
	kept = NULL;
	nvmf_req_complete(&x->req, NVME_ABORT_REQUESTED);
	return true;
}

static const struct nvmf_queue_ops ops = { respond, restage, disconnect, abort_kept };
static struct topology topo;

static inline void create_reactors(unsigned int n)
{
	for (reactors.n = 0; reactors.n < n; reactors.n++) {
		const struct reactor_opts opts = { .index = reactors.n, .entries = 64, .cpu = -1 };

		ck_assert_int_eq(reactor_create(&opts, &reactors.r[reactors.n]), 0);
		reactors.r[reactors.n]->set = &no_cmb;
	}
}

static inline void setup_with(unsigned int nreactors)
{
	struct config_diag diag;
	int fd;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, FILE_LEN), 0);
	close(fd);
	log_init(LOG_LEVEL_ERROR);
	topology_init(&topo, "/nonexistent", "/nonexistent");
	data = aligned_alloc(4096, 131072);
	create_reactors(nreactors);
	ck_assert_msg(target_create(&conf, &reactors, &topo, &target, &diag) == 0, "%s", diag.what);
	ndisconnects = 0;
}

static inline void setup(void)
{
	setup_with(1);
}

static inline void setup_threads(void)
{
	setup_with(3);
}

/* For tests that want what the daemon keeps over a restart; before setup_with(). */
static char state_folder[64], state_dir[80];

static inline void make_state_folder(void)
{
	strcpy(state_folder, "/var/tmp/nvmf-p2pd-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(state_folder));
	snprintf(state_dir, sizeof(state_dir), "%s/state", state_folder);
	conf.state_dir = state_dir;
}

static inline void stop_target(void)
{
	target_destroy(target);
	while (reactors.n)
		reactor_destroy(reactors.r[--reactors.n]);
	free(data);
}

static inline void teardown(void)
{
	char command[128];

	stop_target();
	unlink(path);
	if (!state_folder[0])
		return;
	snprintf(command, sizeof(command), "rm -rf %s", state_folder);
	ck_assert_int_eq(system(command), 0);
	state_folder[0] = '\0';
}

static inline void init_queue(void *arg)
{
	nvmf_queue_init(arg);
}

static inline void close_queue(void *arg)
{
	nvmf_queue_close(arg);
}

static inline void nothing(void *arg)
{
	(void)arg;
}

/* Odd I/O queues in the first thread, even ones in the second. */
static inline struct nvmf_queue *open_queue_on(const struct config_port *port, uint16_t qid)
{
	struct nvmf_queue *q = calloc(1, sizeof(*q));

	q->ops = &ops;
	q->target = target;
	q->port = nvmf_port_of(port);
	q->depth = 32;
	q->qid = qid;
	q->reactor = reactors.r[qid && reactors.n > 1 ? 2 - qid % 2 : 0];
	strcpy(q->local_address, "10.9.9.9");
	reactor_call(q->reactor, init_queue, q);
	return q;
}

static inline struct nvmf_queue *open_queue(uint16_t qid)
{
	return open_queue_on(&ports[0], qid);
}

static inline void drop_queue(struct nvmf_queue *q)
{
	reactor_call(q->reactor, close_queue, q);
	while (reactor_run_messages(reactors.r[0])) /* what it told */
		;
	nvmf_queue_fini(q);
	reactor_call(q->reactor, nothing, NULL); /* what was posted before */
	free(q);
}

/* What a transport does with a capsule, in the queue's reactor. */
static inline void start(void *arg)
{
	struct exchange *x = arg;
	uint16_t status;

	status = nvmf_req_check(&x->req);
	x->req.data = x->req.dir == DATA_NONE ? NULL : data;
	x->req.place = STAGE_HOST_NO_CMB;
	if (status)
		nvmf_req_complete(&x->req, status);
	else
		nvmf_req_execute(&x->req);
}

static inline bool is_answered(const struct exchange *x)
{
	return __atomic_load_n(&x->answered, __ATOMIC_ACQUIRE);
}

/* As a transport that keeps the command until it is aborted. */
static inline void start_kept(void *arg)
{
	kept = arg;
	ck_assert_uint_eq(nvmf_req_check(&kept->req), NVME_OK);
}

static inline void hand_over(struct nvmf_queue *q, struct exchange *x, void (*how)(void *arg))
{
	x->req.queue = q;
	x->req.sqe = &x->sqe;
	x->answered = false;
	if (x->sqe.flags == 0)
		x->sqe.flags = SQE_PSDT_SGL;
	reactor_call(q->reactor, how, x);
}

/* The answer; its status without the phase bit and without More, of which the tests of the error
 * log know. */
static inline uint16_t await(struct exchange *x)
{
	for (int ms = 0; !is_answered(x) && ms < 10000; ms++) {
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
		if (!is_answered(x))
			usleep(1000);
	}
	ck_assert(is_answered(x));
	return (uint16_t)(get16(x->req.cqe.status) >> 1) & (uint16_t)~NVME_MORE;
}

/* One command from check to answer. */
static inline uint16_t run(struct nvmf_queue *q, struct exchange *x)
{
	hand_over(q, x, start);
	return await(x);
}

static inline struct exchange connect_command(uint16_t qid, uint16_t cntlid)
{
	struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = FC_CONNECT } };
	struct nvmf_connect_sqe *sqe = (void *)&x.sqe;
	struct nvmf_connect_data *d = (void *)data;

	sqe->qid = put16(qid);
	sqe->sqsize_z = put16(31);
	memset(d, 0, sizeof(*d));
	d->cntlid = htole16(cntlid);
	strcpy(d->subsysnqn, NQN);
	strcpy(d->hostnqn, HOSTNQN);
	return x;
}

static inline uint16_t set_cc(struct nvmf_queue *q, uint32_t cc)
{
	struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = FC_PROPERTY_SET } };
	struct nvmf_property_sqe *sqe = (void *)&x.sqe;

	sqe->offset = put32(PROP_CC);
	sqe->value = put64(cc);
	return run(q, &x);
}

static inline uint16_t get_property(struct nvmf_queue *q, uint32_t offset, uint8_t attrib,
				    uint64_t *ret)
{
	struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = FC_PROPERTY_GET } };
	struct nvmf_property_sqe *sqe = (void *)&x.sqe;
	uint16_t status;

	sqe->offset = put32(offset);
	sqe->attrib = attrib;
	status = run(q, &x);
	*ret = get32(x.req.cqe.dw0) | (uint64_t)get32(x.req.cqe.dw1) << 32;
	return status;
}

#define CC_ENABLE (CC_EN | 6u << 16 | 4u << 20)

static inline struct nvmf_queue *open_admin(uint16_t *ret_cntlid)
{
	struct nvmf_queue *q = open_queue(0);
	struct exchange x = connect_command(0, 0xffff);

	ck_assert_uint_eq(run(q, &x), NVME_OK);
	*ret_cntlid = (uint16_t)get32(x.req.cqe.dw0);
	return q;
}

static inline struct nvmf_queue *open_enabled(uint16_t *ret_cntlid)
{
	struct nvmf_queue *q = open_admin(ret_cntlid);

	ck_assert_uint_eq(set_cc(q, CC_ENABLE), NVME_OK);
	return q;
}

static inline struct nvmf_queue *open_io_queue(uint16_t cntlid, uint16_t qid)
{
	struct nvmf_queue *q = open_queue(qid);
	struct exchange x = connect_command(qid, cntlid);

	ck_assert_uint_eq(run(q, &x), NVME_OK);
	return q;
}

static inline struct nvmf_queue *open_io(uint16_t cntlid)
{
	return open_io_queue(cntlid, 1);
}

static inline struct nvmf_queue *open_discovery(const char *hostnqn)
{
	struct nvmf_queue *q = open_queue(0);
	struct exchange x = connect_command(0, 0xffff);
	struct nvmf_connect_data *d = (void *)data;

	strcpy(d->subsysnqn, NVME_DISC_SUBSYS_NAME);
	strcpy(d->hostnqn, hostnqn);
	ck_assert_uint_eq(run(q, &x), NVME_OK);
	ck_assert_uint_eq(set_cc(q, CC_EN), NVME_OK);
	return q;
}

#endif
