/*
 * Hosts that come and go in any order, over transport/ as it is and an RDMA device in memory:
 * requests with any private data, capsules before the handshake is over and after the end, hosts
 * that take no responses, say goodbye or do not, in every state of a command; a drive that takes
 * its time, fails, or does not answer before its host has gone; ports that move, a device that is
 * unplugged, work requests that the RNIC refuses, time that passes.
 *
 * Each command is answered at most once, and exactly once if its connection lives; a host gets, and
 * changes, data of its own namespace only; and when all have gone nothing of them is left.
 */
#include "tests/fuzz/fake_rnic.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/memory_transport.h"
#include "transport/rdma.h"

#define PEERS      6
#define COMMANDS   24
#define DATA_MAX   65536
#define NSUBS      2
#define BLOCKS     16 /* that hold something at first */
#define POISON     0xee
#define PATIENCE_S 10

struct host_command {
	bool used, reads, whole; /* whole: its SGL says what it should */
	uint16_t cid;
	uint8_t opcode, fctype, tag; /* Connect: of the namespace that it names */
	uint32_t key, len;
	uint8_t *mem;
};

struct peer {
	struct fake_id *id; /* NULL: the target has let go of it */
	struct fake_qp *qp;
	bool used, accepted, established, told, gone, deaf;
	uint16_t qid, next_cid;
	uint8_t tag; /* of the namespace that it has */
	struct host_command commands[COMMANDS];
};

static struct peer peers[PEERS];
static struct transport *transport;
static struct ibv_context *contexts[16]; /* that there were */
static unsigned int ncontexts;
static uint32_t next_host_key;
static uint16_t cntlids[4]; /* given last */
static unsigned int ncntlids;

static const uint8_t tags[NSUBS] = { 0xa1, 0xb2 };
static const char *const nqns[] = { NQN, "nqn.2026-11.org.example:u", NVME_DISC_SUBSYS_NAME, "" };
static char second[] = "/var/tmp/nvmf-p2pd-fuzz-XXXXXX";

/* ---- drives ------------------------------------------------------------------------------------
 *
 * Reads and writes are of memory; whatever else a drive does goes to the file, which nobody reads.
 */

static struct drive {
	struct backend *backend;
	uint8_t blocks[FILE_LEN];
} drives[NSUBS];

static struct held {
	struct backend *backend;
	struct nvmf_req *req;
	uint64_t offset;
} held[PEERS * 64];
static unsigned int nheld;
static bool holding;
static struct backend_ops drive_ops;

static void transfer(const struct held *h)
{
	struct drive *d = h->backend == drives[0].backend ? &drives[0] : &drives[1];

	ck_assert(h->backend == d->backend && h->offset <= FILE_LEN &&
		  h->req->len <= FILE_LEN - h->offset);
	if (h->req->dir == DATA_H2C)
		memcpy(d->blocks + h->offset, h->req->data, h->req->len);
	else
		memcpy(h->req->data, d->blocks + h->offset, h->req->len);
	nvmf_req_complete(h->req, NVME_OK);
}

static void rw(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	const struct held h = { b, req, offset };

	(void)fua;
	if (!holding || nheld == sizeof(held) / sizeof(held[0]))
		transfer(&h);
	else
		held[nheld++] = h;
}

static void let_go(unsigned int i, int err)
{
	const struct held h = held[i];

	memmove(&held[i], &held[i + 1], (--nheld - i) * sizeof(held[0]));
	if (err)
		nvmf_req_complete(h.req, backend_status(err, h.req->dir == DATA_H2C));
	else
		transfer(&h);
}

static void expect_own(const uint8_t *bytes, size_t len, uint8_t tag, bool poison_too)
{
	uint8_t own[512];

	memset(own, tag, sizeof(own));
	for (size_t i = 0; i < len; i++)
		if (i % sizeof(own) == 0 && len - i >= sizeof(own) &&
		    memcmp(bytes + i, own, sizeof(own)) == 0) /* most are, and this is quick */
			i += sizeof(own) - 1;
		else
			ck_assert(bytes[i] == tag || bytes[i] == 0 ||
				  (poison_too && bytes[i] == POISON));
}

/* ---- the other end of a queue pair --------------------------------------------------------------
 */

static struct host_command *find_key(struct peer *p, uint32_t key, uint64_t addr, uint32_t len)
{
	for (unsigned int i = 0; i < COMMANDS; i++) {
		struct host_command *c = &p->commands[i];

		if (c->used && c->key == key && addr >> 32 == key && (uint32_t)addr <= c->len &&
		    len <= c->len - (uint32_t)addr)
			return c;
	}
	return NULL;
}

static int peer_reads(struct peer *p, uint32_t key, uint64_t addr, void *to, uint32_t len)
{
	const struct host_command *c = find_key(p, key, addr, len);

	if (c)
		memcpy(to, c->mem + (uint32_t)addr, len);
	return c ? 0 : -1;
}

static int peer_writes(struct peer *p, uint32_t key, uint64_t addr, const void *from, uint32_t len)
{
	struct host_command *c = find_key(p, key, addr, len);

	if (c)
		memcpy(c->mem + (uint32_t)addr, from, len);
	return c ? 0 : -1;
}

static bool peer_takes(const struct peer *p)
{
	return !p->deaf;
}

static void forget(struct host_command *c)
{
	free(c->mem);
	*c = (struct host_command){ 0 };
}

static void peer_response(struct peer *p, const void *bytes, uint32_t len, bool invalidates,
			  uint32_t key)
{
	const struct nvme_cqe *cqe = bytes;
	uint16_t status = get16(cqe->status) >> 1;
	struct host_command *c = NULL;

	ck_assert(len == sizeof(*cqe));
	for (unsigned int i = 0; i < COMMANDS && !c; i++)
		if (p->commands[i].used && p->commands[i].cid == get16(cqe->cid))
			c = &p->commands[i];
	ck_assert(c); /* an answer to nothing, or the second one */
	ck_assert(!invalidates || key == c->key || !c->whole);
	if (!status && c->opcode == OP_FABRICS && c->fctype == FC_CONNECT) {
		p->tag = c->tag;
		if (p->qid == 0)
			cntlids[ncntlids++ % 4] = (uint16_t)get32(cqe->dw0);
	}
	if (c->reads && p->tag)
		expect_own(c->mem, c->len, p->tag, status || !c->whole);
	forget(c);
}

static void peer_hears_accept(struct peer *p)
{
	p->accepted = true;
}

static void peer_hears_reject(struct peer *p)
{
	p->gone = true;
}

static void peer_hears_disconnect(struct peer *p)
{
	p->told = true;
}

static void peer_lost(struct peer *p)
{
	p->id = NULL;
}

static void peer_qp(struct peer *p, struct fake_qp *qp)
{
	p->qp = qp;
}

static void free_peer(struct peer *p)
{
	for (unsigned int i = 0; i < COMMANDS; i++)
		forget(&p->commands[i]);
	*p = (struct peer){ 0 };
}

/* ---- what hosts do ------------------------------------------------------------------------------
 */

static struct peer *some_peer(struct fuzz_input *in)
{
	return &peers[fuzz_byte(in) % PEERS];
}

static struct fake_id *some_listener(unsigned int n)
{
	struct listener *l;
	struct fake_id *found = NULL;

	LIST_FOREACH (l, &transport->listeners, entry)
		if (l->id && ((struct fake_id *)l->id)->listens && (!found || n-- % 2))
			found = (struct fake_id *)l->id;
	return found;
}

static void put_address(struct sockaddr_in *at, uint8_t last)
{
	at->sin_family = AF_INET;
	at->sin_addr.s_addr = htonl(0x0a000000u | last);
}

/* As it should be, and then maybe some bytes or its length as they should not. */
static void ask_for_connection(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	uint8_t how = fuzz_byte(in), spoil = fuzz_byte(in),
		len = sizeof(struct nvme_rdma_cm_request);
	struct fake_id *l = some_listener(how & 1);
	struct nvme_rdma_cm_request request = {
		.qid = put16(how >> 1 & 3),
		.hrqsize = put16(32),
		.hsqsize_z = put16(how & 8 ? 31 : 7),
		.cntlid = put16(how & 16 ? cntlids[how >> 6] : 0),
	};
	struct fake_event *e;
	uint8_t *bytes;

	if (p->id || p->qp || !l || !fake.verbs)
		return;
	free_peer(p);
	if (spoil & 1)
		((uint8_t *)&request)[fuzz_byte(in) % 10] ^= fuzz_byte(in);
	if (spoil & 2)
		len = fuzz_byte(in);
	p->used = true;
	p->qid = get16(request.qid);
	p->id = fake_new_id(p);
	p->id->id.verbs = fake.verbs;
	p->id->id.port_num = 1;
	put_address(&p->id->id.route.addr.src_sin, 1);
	put_address(&p->id->id.route.addr.dst_sin, how & 32 ? 7 : 8);
	bytes = malloc(len ? len : 1); /* of its own size, so that reading beyond is seen */
	memset(bytes, 0, len);
	memcpy(bytes, &request, len < sizeof(request) ? len : sizeof(request));
	e = fake_tell(p->id, RDMA_CM_EVENT_CONNECT_REQUEST);
	e->event.listen_id = &l->id;
	e->event.param.conn = (struct rdma_conn_param){ .private_data = bytes,
							.private_data_len = len,
							.initiator_depth = spoil & 4 ? 0 : 16 };
}

static void finish_handshake(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);

	if (!p->id || !p->accepted || p->established)
		return;
	p->established = true;
	fake_tell(p->id, RDMA_CM_EVENT_ESTABLISHED);
}

static const enum rdma_cm_event_type ends[] = {
	RDMA_CM_EVENT_DISCONNECTED,  RDMA_CM_EVENT_DISCONNECTED,  RDMA_CM_EVENT_UNREACHABLE,
	RDMA_CM_EVENT_CONNECT_ERROR, RDMA_CM_EVENT_TIMEWAIT_EXIT, RDMA_CM_EVENT_ADDR_CHANGE,
	RDMA_CM_EVENT_REJECTED,
};

static void cm_says(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	enum rdma_cm_event_type type = ends[fuzz_byte(in) % (sizeof(ends) / sizeof(ends[0]))];

	if (!p->id || !p->accepted)
		return;
	fake_tell(p->id, type);
	p->gone |= type != RDMA_CM_EVENT_TIMEWAIT_EXIT && type != RDMA_CM_EVENT_ADDR_CHANGE;
}

/* Without a word: the RNIC finds out by itself, or when it has something to send. */
static void break_or_block(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	uint8_t how = fuzz_byte(in) % 3;

	if (how == 0 && p->qp)
		fake_break(p->qp);
	else
		p->deaf = how == 1;
}

static struct host_command *new_command(struct peer *p, uint32_t len)
{
	struct host_command *c = NULL;

	for (unsigned int i = 0; i < COMMANDS && !c; i++)
		if (!p->commands[i].used)
			c = &p->commands[i];
	if (!c || !p->accepted || !p->qp || p->gone)
		return NULL;
	*c = (struct host_command){ .used = true,
				    .whole = true,
				    .cid = p->next_cid++,
				    .key = ++next_host_key,
				    .len = len,
				    .mem = malloc(len ? len : 1) };
	memset(c->mem, POISON, len);
	return c;
}

static void name_memory(struct nvme_sqe *sqe, const struct host_command *c, bool invalidate)
{
	sqe->dptr.keyed.addr = put64((uint64_t)c->key << 32);
	for (unsigned int i = 0; i < 4; i++) {
		sqe->dptr.keyed.key[i] = (uint8_t)(c->key >> 8 * i);
		if (i < 3)
			sqe->dptr.keyed.len[i] = (uint8_t)(c->len >> 8 * i);
	}
	sqe->dptr.keyed.type =
		(uint8_t)(SGL_KEYED_DATA_BLOCK << 4 | (invalidate ? SGL_SUB_INVALIDATE : 0));
}

/* @in_capsule: the command's memory is behind the SQE. Some bytes may be spoilt. */
static void send_capsule(struct peer *p, struct host_command *c, struct nvme_sqe *sqe,
			 bool in_capsule, struct fuzz_input *in)
{
	uint32_t len = sizeof(*sqe) + (in_capsule ? c->len : 0);
	uint8_t spoil = fuzz_byte(in), *capsule = malloc(len);

	sqe->cid = put16(c->cid);
	if (!sqe->flags)
		sqe->flags = SQE_PSDT_SGL;
	if (in_capsule) {
		sqe->dptr.data =
			(typeof(sqe->dptr.data)){ .len = put32(c->len), .type = SGL_SUB_OFFSET };
		memcpy(capsule + sizeof(*sqe), c->mem, c->len);
	}
	if (spoil & 1) {
		((uint8_t *)sqe)[4 + fuzz_byte(in) % 60] ^= fuzz_byte(in);
		c->whole = false;
	}
	c->opcode = sqe->opcode;
	c->fctype = sqe->fctype;
	memcpy(capsule, sqe, sizeof(*sqe));
	if (spoil & 0x80 && spoil & 0x40) /* cut off */
		len = spoil & 0x3f;
	if (!fake_deliver(p->qp, capsule, len) || len < sizeof(*sqe))
		forget(c);
	free(capsule);
}

static void send_connect(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	uint8_t how = fuzz_byte(in);
	struct host_command *c = new_command(p, sizeof(struct nvmf_connect_data));
	struct nvme_sqe sqe = { .opcode = OP_FABRICS, .fctype = FC_CONNECT };
	struct nvmf_connect_sqe *connect = (void *)&sqe;
	struct nvmf_connect_data *d;

	if (!c)
		return;
	d = (void *)c->mem;
	memset(d, 0, sizeof(*d));
	connect->qid = put16(p->qid);
	connect->sqsize_z = put16(how & 1 ? 7 : 31);
	connect->kato_ms = put32(how & 2 ? 5000 : 0);
	d->cntlid = htole16(p->qid ? cntlids[how >> 6] : 0xffff);
	strcpy(d->subsysnqn, nqns[how >> 2 & 3]);
	strcpy(d->hostnqn, how & 16 ? HOSTNQN : "nqn.2014-08.org.nvmexpress:uuid:second");
	c->tag = (how >> 2 & 3) < NSUBS ? tags[how >> 2 & 3] : 0;
	name_memory(&sqe, c, how & 32);
	send_capsule(p, c, &sqe, p->qid && how & 32, in);
}

static void send_property(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	uint8_t how = fuzz_byte(in);
	struct host_command *c = new_command(p, 0);
	struct nvme_sqe sqe = { .opcode = OP_FABRICS,
				.fctype = how & 1 ? FC_PROPERTY_GET : FC_PROPERTY_SET };
	struct nvmf_property_sqe *property = (void *)&sqe;

	if (!c)
		return;
	property->offset = put32(how & 1 ? how >> 2 : PROP_CC);
	property->value = put64(how & 2 ? fuzz_u32(in) : CC_ENABLE);
	send_capsule(p, c, &sqe, false, in);
}

/* A Read or Write of some blocks. */
static void send_io(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	uint8_t how = fuzz_byte(in), nlb_z = how >> 2 & 7;
	struct host_command *c = new_command(p, (nlb_z + 1u) * 4096);
	struct nvme_sqe sqe = { .opcode = how & 1 ? 0x01 : 0x02, .nsid = put32(1) };
	bool in_capsule = how & 1 && how & 2 && nlb_z == 0;

	if (!c)
		return;
	c->reads = !(how & 1) && p->qid;
	if (how & 1) /* zeros, as long as it does not know whose block it is */
		memset(c->mem, p->tag, c->len);
	sqe.cdw10 = put32(fuzz_byte(in) % BLOCKS);
	sqe.cdw12 = put32(nlb_z);
	name_memory(&sqe, c, how & 0x80);
	send_capsule(p, c, &sqe, in_capsule, in);
}

static const uint8_t admin_opcodes[] = { 0x02, 0x06, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x0c, 0x18 };

static void send_admin(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	struct host_command *c = new_command(p, 4096);
	struct nvme_sqe sqe = { 0 };
	uint8_t what = fuzz_byte(in);

	if (!c)
		return;
	sqe.opcode = admin_opcodes[what % sizeof(admin_opcodes)];
	sqe.nsid = put32(what >> 7);
	sqe.cdw10 = put32(fuzz_byte(in) | (sqe.opcode == 0x02 ? 0x03ff0000 : 0));
	sqe.cdw11 = put32(fuzz_byte(in));
	name_memory(&sqe, c, what & 0x40);
	send_capsule(p, c, &sqe, false, in);
}

/* But for halves of fused commands, which wait for their mate: fuzz_capsule.c has those. */
static void send_anything(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);
	struct host_command *c = new_command(p, fuzz_byte(in) * 64u);
	struct nvme_sqe sqe;

	if (!c)
		return;
	fuzz_bytes(in, &sqe, sizeof(sqe));
	sqe.flags = SQE_PSDT_SGL;
	c->whole = false;
	if (sqe.opcode != 0x01 || !p->qid) /* what is written must be the namespace's */
		fuzz_bytes(in, c->mem, c->len);
	else
		memset(c->mem, p->tag, c->len);
	if (p->qid && (sqe.opcode == 0x01 || sqe.opcode == 0x19)) /* Copy moves its own blocks */
		sqe.nsid = put32(1);
	name_memory(&sqe, c, false);
	send_capsule(p, c, &sqe, false, in);
}

/* ---- what else happens --------------------------------------------------------------------------
 */

static struct ev_loop *loop(void)
{
	return reactors.r[0]->loop;
}

static void look_around(unsigned int rounds)
{
	while (rounds--)
		ev_run(loop(), EVRUN_NOWAIT);
}

static void go_on(struct fuzz_input *in)
{
	look_around(fuzz_byte(in) % 8 + 1);
}

static void rnic_works(struct fuzz_input *in)
{
	struct peer *p = some_peer(in);

	for (unsigned int n = fuzz_byte(in) % 16 + 1; n && p->qp && fake_work(p->qp); n--)
		;
	look_around(1);
}

static void expire(ev_timer *t)
{
	if (ev_is_active(t))
		ev_feed_event(loop(), t, EV_TIMER);
}

static void time_passes(struct fuzz_input *in)
{
	uint8_t what = fuzz_byte(in);
	struct controller *c;
	struct conn *conn;

	LIST_FOREACH (conn, &transport->conns, entry)
		if (what & 1) {
			expire(&conn->nvmf.connect_timer);
			expire(&conn->gone_timer);
		}
	for (size_t i = 0; i < target->nsubsystems; i++)
		LIST_FOREACH (c, &target->subsystems[i]->controllers, entry)
			if (what & 2)
				expire(&c->kato_timer);
	if (what & 4)
		expire(&transport->progress);
	look_around(1);
}

static void drive(struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in);

	if (how % 4 < 2)
		holding = how % 4;
	else if (nheld)
		let_go((how >> 4) % nheld, how & 8 ? -EIO : 0);
	look_around(1);
}

static void refuse_posts(struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in);

	*(how & 1 ? &fake.post_fails_in : &fake.accept_fails_in) = how >> 1 & 7;
}

static struct config_port moved[2], first_only[1];
static struct config confs[3];

static void move_ports(struct fuzz_input *in)
{
	struct transport_plan *plan;

	if (transport_prepare(transport, &confs[fuzz_byte(in) % 3], &plan) == 0)
		transport_commit(plan);
}

static void controller_must_go(struct fuzz_input *in)
{
	struct controller *c = target->by_cntlid[cntlids[fuzz_byte(in) % 4]];

	if (c)
		controller_leave(c);
}

/* Everybody who has something of it hears of it, in no order; then it is there again. */
static void unplug(struct fuzz_input *in)
{
	struct fake_id *id;

	if (ncontexts == sizeof(contexts) / sizeof(contexts[0]) || fuzz_byte(in) % 4)
		return;
	LIST_FOREACH (id, &fake.ids, entry)
		if (id->id.verbs == fake.verbs &&
		    (id->listens || !id->peer || id->peer->accepted)) {
			fake_tell(id, RDMA_CM_EVENT_DEVICE_REMOVAL);
			if (id->id.qp)
				fake_break((struct fake_qp *)id->id.qp);
		}
	fake_device_comes();
	contexts[ncontexts++] = fake.verbs;
}

static void (*const steps[])(struct fuzz_input *in) = {
	ask_for_connection,
	ask_for_connection,
	go_on,
	finish_handshake,
	finish_handshake,
	send_connect,
	send_connect,
	send_property,
	send_io,
	send_io,
	send_admin,
	send_anything,
	rnic_works,
	rnic_works,
	cm_says,
	break_or_block,
	time_passes,
	drive,
	refuse_posts,
	move_ports,
	controller_must_go,
	unplug,
};

/* ---- the end ------------------------------------------------------------------------------------
 */

static bool work_all(void)
{
	bool worked = false;

	for (unsigned int i = 0; i < PEERS; i++)
		while (peers[i].qp && fake_work(peers[i].qp))
			worked = true;
	return worked;
}

static bool drives_are_busy(void)
{
	const struct namespace *ns;
	bool busy = false;

	for (size_t i = 0; i < target->nsubsystems; i++)
		FOR_EACH_NAMESPACE (target->subsystems[i], ns)
			for (int phase = 0; phase < 2; phase++)
				busy |= ns->shard[0].in_flight[phase] > 0;
	return busy;
}

/* Until nothing happens any more. */
static void calm_down(void)
{
	time_t begin = time(NULL);

	holding = false;
	fake.post_fails_in = fake.accept_fails_in = 0;
	for (unsigned int i = 0; i < PEERS; i++)
		peers[i].deaf = false;
	while (nheld)
		let_go(0, 0);
	for (unsigned int quiet = 0; quiet < 8;) {
		look_around(1);
		if (work_all() || drives_are_busy())
			quiet = 0;
		else
			quiet++;
		ck_assert(time(NULL) - begin < PATIENCE_S); /* a command never ends */
	}
}

/* All that was asked of a connection that lives is answered; AERs wait. */
static void expect_answers(const struct peer *p)
{
	if (!p->id || !p->qp || !p->established || p->told || p->gone || p->qp->error)
		return;
	for (unsigned int i = 0; i < COMMANDS; i++)
		ck_assert(!p->commands[i].used || p->commands[i].opcode == 0x0c);
}

static void all_go(bool daemon_stops)
{
	time_t begin = time(NULL);

	if (daemon_stops) {
		transport_finish(transport);
		calm_down();
		transport_stop(transport);
	}
	for (unsigned int i = 0; i < PEERS && !daemon_stops; i++)
		if (peers[i].id && peers[i].accepted)
			fake_tell(peers[i].id, RDMA_CM_EVENT_DISCONNECTED);
	while (!transport_idle(transport)) {
		static const uint8_t leave = 1;
		struct fuzz_input in = { &leave, 1 };

		calm_down();
		time_passes(&in);
		ck_assert(time(NULL) - begin < PATIENCE_S); /* a connection never ends */
	}
	look_around(4);
}

static void expect_nothing_left(void)
{
	struct rnic *r;

	ck_assert(transport->nconns == 0 && transport->mem_used == 0 && nheld == 0);
	LIST_FOREACH (r, &transport->rnics, entry) {
		const struct lane *l = r->lane[0];
		const struct cq_pair *q;

		LIST_FOREACH (q, &l->cqs, entry) {
			ck_assert(q->recv.used == 0);
			ck_assert(q->send.used == (q == l->flush_cqs ? 514 : 0));
			ck_assert(!q->reads_out && !q->draining && !q->starving && !q->hanging_up);
		}
		ck_assert(l->staging->host->ntaken == 0 && l->spare_taken == 0);
		ck_assert(STAILQ_EMPTY(&l->dirty));
	}
	ck_assert(reactors.r[0]->domain.nwaiting == 0 && !drives_are_busy());
	for (size_t i = 0; i < target->nsubsystems; i++)
		ck_assert(LIST_EMPTY(&target->subsystems[i]->controllers));
	for (unsigned int i = 0; i <= CNTLID_MAX; i++)
		ck_assert(!target->by_cntlid[i]);
}

/* ---- one run ------------------------------------------------------------------------------------
 */

static struct config_namespace other_namespaces[1];
static struct config_subsystem both[NSUBS];

static void make_config(void)
{
	static uint16_t all_ports[] = { 1, 2 };

	strcpy(second + strlen(second) - 6, "XXXXXX");
	close(mkstemp(second));
	ck_assert(truncate(second, FILE_LEN) == 0);
	other_namespaces[0] =
		(struct config_namespace){ .nsid = 1, .device = second, .cmb = CONFIG_CMB_PREFER };
	both[0] = both[1] = subsystems[0];
	both[1].nqn = nqns[1];
	both[1].namespaces = other_namespaces;
	for (unsigned int i = 0; i < NSUBS; i++) {
		both[i].allow_any_host = true;
		both[i].ports = all_ports;
		both[i].nports = 2;
	}
	ports[0].in_capsule_data_len = ports[1].in_capsule_data_len = 4096;
	conf.subsystems = both;
	conf.nsubsystems = NSUBS;
	conf.host_memory = conf.window_size = 1 << 20; /* some commands wait for a slot */
	conf.queue_memory = 1 << 21;
	conf.connection_memory = 1 << 23;
	conf.host_controllers = 4;
	moved[0] = first_only[0] = ports[0];
	moved[1] = ports[1];
	moved[1].service = "4422";
	confs[0] = confs[1] = confs[2] = conf;
	confs[1].ports = moved;
	confs[2].ports = first_only;
	confs[2].nports = 1;
}

static void begin(void)
{
	const struct transport_test test = { .no_odp = true };

	make_config();
	setup();
	for (unsigned int i = 0; i < NSUBS; i++) {
		struct backend *b =
			subsystem_namespace(subsystem_find(target, nqns[i]), 1)->backend;

		memset(drives[i].blocks, 0, FILE_LEN);
		memset(drives[i].blocks, tags[i], BLOCKS * 4096);
		drives[i].backend = b;
		drive_ops = *b->ops;
		drive_ops.rw = rw;
		b->ops = &drive_ops;
	}
	STAILQ_INIT(&fake.events);
	fake_device_comes();
	contexts[ncontexts++] = fake.verbs;
	ck_assert(transport_create(&conf, &reactors, &topo, target, &test, &transport) == 0);
	transport_listen(transport);
}

static void end(void)
{
	transport_destroy(transport);
	teardown();
	for (unsigned int i = 0; i < PEERS; i++)
		free_peer(&peers[i]);
	ck_assert(fake.nobjects == 0 && LIST_EMPTY(&fake.ids) && STAILQ_EMPTY(&fake.events));
	while (ncontexts)
		fake_device_freed(contexts[--ncontexts]);
	unlink(second);
	fake = (struct fake){ 0 };
	memset(cntlids, 0, sizeof(cntlids));
	ncntlids = next_host_key = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input in = { bytes, size };
	bool daemon_stops = fuzz_byte(&in) & 1;

	begin();
	while (in.left)
		steps[fuzz_byte(&in) % (sizeof(steps) / sizeof(steps[0]))](&in);
	calm_down();
	for (unsigned int i = 0; i < PEERS; i++)
		expect_answers(&peers[i]);
	for (unsigned int i = 0; i < NSUBS; i++)
		expect_own(drives[i].blocks, BLOCKS * 4096, tags[i], false);
	all_go(daemon_stops);
	expect_nothing_left();
	end();
	return 0;
}
