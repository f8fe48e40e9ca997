/*
 * Hosts that send anything: connections, Connect commands, commands with and without data, aborts,
 * queues that go away, a device that changes its size, in any order, over a memory transport.
 * Every command must be answered once; every byte of data lies in memory of its own size, so that
 * ASan sees who goes beyond.
 */
#include "tests/fuzz/asserts.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/memory_transport.h"

#define QUEUES_MAX   6
#define COMMANDS_MAX 64
#define PATIENCE_S   20

struct fuzz_command {
	struct exchange x; /* first */
	uint8_t *data;
	bool used;
};

static struct nvmf_queue *queues[QUEUES_MAX];
static struct fuzz_command commands[COMMANDS_MAX];

static void respond_once(struct nvmf_req *req)
{
	if (is_answered((struct exchange *)req))
		abort();
	respond(req);
}

static const struct nvmf_queue_ops fuzz_ops = { respond_once, restage, disconnect, abort_kept };

static void look_around(unsigned int rounds)
{
	while (rounds--)
		ev_run(reactors.r[0]->loop, EVRUN_NOWAIT);
}

static struct fuzz_command *unused_command(void)
{
	for (unsigned int i = 0; i < COMMANDS_MAX; i++) {
		struct fuzz_command *c = &commands[i];

		if (c->used && !is_answered(&c->x))
			continue;
		free(c->data);
		memset(c, 0, sizeof(*c));
		return c;
	}
	return NULL;
}

/* What a transport does with a capsule. */
static void send_command(struct nvmf_queue *q, struct fuzz_command *c, struct fuzz_input *in)
{
	struct nvmf_req *req = &c->x.req;
	uint16_t status;

	req->queue = q;
	req->sqe = &c->x.sqe;
	c->used = true;
	status = nvmf_req_check(req);
	if (!status && req->dir != DATA_NONE) {
		c->data = req->len % 4096 ? malloc(req->len) : aligned_alloc(4096, req->len);
		fuzz_bytes(in, c->data, req->dir == DATA_H2C ? req->len : 0);
	}
	req->data = c->data;
	req->place = STAGE_HOST_NO_CMB;
	if (status)
		nvmf_req_complete(req, status);
	else
		nvmf_req_execute(req);
	look_around(1);
}

static struct nvmf_queue *some_queue(struct fuzz_input *in)
{
	return queues[fuzz_byte(in) % QUEUES_MAX];
}

static void open_one(struct fuzz_input *in)
{
	unsigned int i = fuzz_byte(in) % QUEUES_MAX;
	uint8_t how = fuzz_byte(in);

	if (queues[i])
		return;
	queues[i] = open_queue_on(&ports[how >> 7], how % 8);
	queues[i]->ops = &fuzz_ops;
}

static void drop_one(struct fuzz_input *in)
{
	unsigned int i = fuzz_byte(in) % QUEUES_MAX;

	if (!queues[i])
		return;
	/* the transport drains before the queue goes */
	nvmf_queue_close(queues[i]);
	for (unsigned int n = 0; n < COMMANDS_MAX; n++)
		for (int ms = 0; commands[n].used && commands[n].x.req.queue == queues[i] &&
				 !is_answered(&commands[n].x);
		     ms++) {
			look_around(1);
			if (ms > PATIENCE_S * 1000)
				abort(); /* a command that is never answered */
			if (!is_answered(&commands[n].x))
				usleep(1000);
		}
	for (unsigned int n = 0; n < COMMANDS_MAX; n++)
		if (commands[n].used && commands[n].x.req.queue == queues[i]) {
			free(commands[n].data);
			memset(&commands[n], 0, sizeof(commands[n]));
		}
	drop_queue(queues[i]);
	queues[i] = NULL;
}

static const char *const names[] = { NQN, NVME_DISC_SUBSYS_NAME, "nqn.2026-11.org.example:other",
				     "" };
static const char *const hosts[] = { HOSTNQN, "nqn.2014-08.org.nvmexpress:uuid:second", "" };

/* A Connect command as it should be, and then some bytes of it as they should not. */
static void send_connect(struct fuzz_input *in)
{
	struct nvmf_queue *q = some_queue(in);
	struct fuzz_command *c = q ? unused_command() : NULL;
	struct nvmf_connect_sqe *sqe;
	struct nvmf_connect_data d = { 0 };
	uint8_t spoil, at;

	if (!c)
		return;
	sqe = (void *)&c->x.sqe;
	c->x.sqe = (struct nvme_sqe){ .opcode = OP_FABRICS,
				      .fctype = FC_CONNECT,
				      .flags = SQE_PSDT_SGL };
	sqe->qid = put16(q->qid);
	sqe->sqsize_z = put16(31);
	d.cntlid = q->qid ? htole16(1 + fuzz_byte(in) % 4) : htole16(0xffff);
	strcpy(d.subsysnqn, names[fuzz_byte(in) % 4]);
	strcpy(d.hostnqn, hosts[fuzz_byte(in) % 3]);
	spoil = fuzz_byte(in);
	at = fuzz_byte(in);
	if (spoil & 1)
		((uint8_t *)&c->x.sqe)[at % 64] ^= fuzz_byte(in);
	if (spoil & 2)
		((uint8_t *)&d)[at * 4] ^= fuzz_byte(in);

	struct fuzz_input payload = { (const uint8_t *)&d, sizeof(d) };

	send_command(q, c, &payload);
}

static void enable(struct fuzz_input *in)
{
	struct nvmf_queue *q = some_queue(in);
	struct fuzz_command *c = q ? unused_command() : NULL;
	struct nvmf_property_sqe *sqe;
	uint8_t how = fuzz_byte(in);

	if (!c)
		return;
	c->x.sqe = (struct nvme_sqe){ .opcode = OP_FABRICS,
				      .fctype = how & 1 ? FC_PROPERTY_GET : FC_PROPERTY_SET,
				      .flags = SQE_PSDT_SGL };
	sqe = (void *)&c->x.sqe;
	sqe->offset = put32(how & 2 ? fuzz_byte(in) : PROP_CC);
	sqe->value = put64(how & 4 ? fuzz_u32(in) : CC_ENABLE);
	send_command(q, c, in);
}

/* One that makes some sense. */
static void send_sensible(struct fuzz_input *in)
{
	struct nvmf_queue *q = some_queue(in);
	struct fuzz_command *c = q ? unused_command() : NULL;
	struct nvme_sqe *sqe;

	if (!c)
		return;
	sqe = &c->x.sqe;
	sqe->opcode = fuzz_byte(in);
	sqe->flags = (uint8_t)(SQE_PSDT_SGL | (fuzz_byte(in) & 3)); /* fused */
	sqe->cid = put16(fuzz_byte(in));
	sqe->nsid = put32(fuzz_byte(in) % 4 == 3 ? 0xffffffff : 1);
	sqe->cdw10 = put32(fuzz_u32(in) & 0x7fff00ff);
	sqe->cdw11 = put32(fuzz_byte(in));
	sqe->cdw12 = put32(fuzz_u32(in) & 0xfe0000ff);
	sqe->cdw13 = put32(fuzz_byte(in));
	sqe->cdw14 = put32(fuzz_byte(in));
	sqe->cdw15 = put32(fuzz_byte(in));
	send_command(q, c, in);
}

static void send_anything(struct fuzz_input *in)
{
	struct nvmf_queue *q = some_queue(in);
	struct fuzz_command *c = q ? unused_command() : NULL;

	if (!c)
		return;
	fuzz_bytes(in, &c->x.sqe, sizeof(c->x.sqe));
	send_command(q, c, in);
}

static void resize(struct fuzz_input *in)
{
	if (truncate(path, (off_t)(1 + fuzz_byte(in)) * 4096) < 0)
		abort();
	target_check_sizes(target);
}

static void wait_a_little(struct fuzz_input *in)
{
	look_around(fuzz_byte(in) % 16);
}

static void (*const steps[])(struct fuzz_input *in) = {
	open_one,      send_connect, enable, send_sensible, send_sensible,
	send_anything, drop_one,     resize, wait_a_little
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input in = { bytes, size };

	subsystems[0].allow_any_host = true;
	setup();
	while (in.left)
		steps[fuzz_byte(&in) % (sizeof(steps) / sizeof(steps[0]))](&in);
	for (uint8_t i = 0; i < QUEUES_MAX; i++) {
		struct fuzz_input last = { &i, 1 };

		drop_one(&last);
	}
	teardown();
	return 0;
}
