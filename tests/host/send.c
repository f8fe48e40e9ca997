/* One capsule by hand. */
#include "tests/host/send.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
	struct capsule capsule;
	uint32_t qid, fctype, sgl_type, sgl_len, capsule_len, cdw[6], cdw2, cdw3, nsid, opcode,
		flags, read_len, kato_ms;
	uint64_t sgl_addr;
	bool has_fctype, has_sgl_type, has_sgl_addr, has_sgl_len, has_capsule_len, disabled,
		in_capsule;
	const char *write_file;
};

enum {
	F_QID = 256,
	F_OPCODE,
	F_FLAGS,
	F_NSID,
	F_FCTYPE,
	F_CDW2,
	F_CDW3,
	F_CDW10,
	F_CDW15 = F_CDW10 + 5,
	F_READ,
	F_WRITE,
	F_IN_CAPSULE,
	F_SGL_TYPE,
	F_SGL_ADDR,
	F_SGL_LEN,
	F_CAPSULE_LEN,
	F_KATO,
	F_DISABLED,
	F_HELP,
};

static const struct field {
	struct option opt;
	const char *arg, *help;
} fields[] = {
	{ { "qid", 1, NULL, F_QID }, "N", "queue; 0, the default, is the admin queue" },
	{ { "opcode", 1, NULL, F_OPCODE }, "N", "default 0" },
	{ { "flags", 1, NULL, F_FLAGS }, "N", "FUSE and PSDT; default 0x40: SGL" },
	{ { "nsid", 1, NULL, F_NSID }, "N", "default 0" },
	{ { "fctype", 1, NULL, F_FCTYPE }, "N", "of a fabrics command (opcode 0x7f)" },
	{ { "cdw2", 1, NULL, F_CDW2 }, "N", "and so on: cdw3, cdw10 .. cdw15; default 0" },
	{ { "cdw3", 1, NULL, F_CDW3 }, NULL, NULL },
	{ { "cdw10", 1, NULL, F_CDW10 }, NULL, NULL },
	{ { "cdw11", 1, NULL, F_CDW10 + 1 }, NULL, NULL },
	{ { "cdw12", 1, NULL, F_CDW10 + 2 }, NULL, NULL },
	{ { "cdw13", 1, NULL, F_CDW10 + 3 }, NULL, NULL },
	{ { "cdw14", 1, NULL, F_CDW10 + 4 }, NULL, NULL },
	{ { "cdw15", 1, NULL, F_CDW15 }, NULL, NULL },
	{ { "read", 1, NULL, F_READ }, "BYTES", "room for data from the target; printed in hex" },
	{ { "write", 1, NULL, F_WRITE }, "FILE", "data for the target" },
	{ { "in-capsule", 0, NULL, F_IN_CAPSULE }, "", "send that data in the capsule" },
	{ { "sgl-type", 1, NULL, F_SGL_TYPE }, "N", "type << 4 | sub type; default 0x40: keyed" },
	{ { "sgl-addr", 1, NULL, F_SGL_ADDR }, "N", "address or offset; default: the right one" },
	{ { "sgl-len", 1, NULL, F_SGL_LEN }, "N", "length; default: the right one" },
	{ { "capsule-len", 1, NULL, F_CAPSULE_LEN }, "BYTES", "cut or fill up the capsule" },
	{ { "kato", 1, NULL, F_KATO }, "MS", "keep alive timeout of the controller; default 0" },
	{ { "disabled", 0, NULL, F_DISABLED }, "", "do not enable the controller before" },
	{ { "help", 0, NULL, F_HELP }, "", "this" },
};
#define NFIELDS (sizeof(fields) / sizeof(fields[0]))

void send_help(void)
{
	printf("send: connects, enables the controller, connects queue --qid, sends one capsule, prints the\n"
	       "response. Numbers as in C. Exit code 0: status 0; 1: another status; 3: no response.\n");
	for (size_t i = 0; i < NFIELDS; i++)
		if (fields[i].help)
			printf("      --%s%*s%s\n", fields[i].opt.name,
			       (int)(20 - strlen(fields[i].opt.name)), "", fields[i].help);
	printf("Identify Controller: send --opcode 6 --cdw10 1 --read 4096\n"
	       "Read of one block:   send --qid 1 --opcode 2 --nsid 1 --read 512\n");
}

static bool number(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 0);
	if (!errno && end != text && !*end)
		return true;
	fprintf(stderr, "nvmf-test-host: %s is no number\n", text);
	return false;
}

static void set_number(struct request *req, int field, uint64_t n)
{
	uint32_t v = (uint32_t)n;

	if (field >= F_CDW10 && field <= F_CDW15)
		req->cdw[field - F_CDW10] = v;
	else if (field == F_QID)
		req->qid = v;
	else if (field == F_OPCODE)
		req->opcode = v;
	else if (field == F_FLAGS)
		req->flags = v;
	else if (field == F_NSID)
		req->nsid = v;
	else if (field == F_CDW2)
		req->cdw2 = v;
	else if (field == F_CDW3)
		req->cdw3 = v;
	else if (field == F_READ)
		req->read_len = v;
	else if (field == F_KATO)
		req->kato_ms = v;
	else if (field == F_FCTYPE)
		req->fctype = v, req->has_fctype = true;
	else if (field == F_SGL_TYPE)
		req->sgl_type = v, req->has_sgl_type = true;
	else if (field == F_SGL_ADDR)
		req->sgl_addr = n, req->has_sgl_addr = true;
	else if (field == F_SGL_LEN)
		req->sgl_len = v, req->has_sgl_len = true;
	else if (field == F_CAPSULE_LEN)
		req->capsule_len = v, req->has_capsule_len = true;
}

/* Return: -1 to go on, or the exit code. */
static int parse(struct request *req, int argc, char **argv)
{
	struct option opts[NFIELDS + 1] = { { 0 } };
	uint64_t n;
	int field;

	for (size_t i = 0; i < NFIELDS; i++)
		opts[i] = fields[i].opt;
	optind = 1;
	while ((field = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		if (field == F_HELP) {
			send_help();
			return 0;
		}
		if (field == '?')
			return 2;
		if (field == F_WRITE)
			req->write_file = optarg;
		else if (field == F_IN_CAPSULE)
			req->in_capsule = true;
		else if (field == F_DISABLED)
			req->disabled = true;
		else if (number(optarg, &n))
			set_number(req, field, n);
		else
			return 2;
	}
	if (optind < argc || req->capsule_len > HOST_CAPSULE_MAX || req->read_len > FAB_DATA_LEN) {
		fprintf(stderr, "nvmf-test-host: wrong usage, try send --help\n");
		return 2;
	}
	return -1;
}

/* Return: bytes, or -1. */
static long read_file(const char *name, uint8_t *to, size_t most)
{
	FILE *f = fopen(name, "rb");
	size_t n = f ? fread(to, 1, most, f) : 0;
	bool ok = f && !ferror(f);

	if (!ok)
		fprintf(stderr, "nvmf-test-host: %s: %s\n", name, strerror(errno));
	if (f)
		fclose(f);
	return ok ? (long)n : -1;
}

static bool build(struct request *req, struct host_buffer *data)
{
	struct capsule *c = &req->capsule;
	size_t most = req->in_capsule ? sizeof(c->data) : FAB_DATA_LEN;
	long len = req->read_len;

	fab_capsule_init(c, (uint8_t)req->opcode);
	c->sqe.flags = (uint8_t)req->flags;
	c->sqe.nsid = put32(req->nsid);
	if (req->has_fctype)
		c->sqe.fctype = (uint8_t)req->fctype;
	c->sqe.cdw2 = put32(req->cdw2);
	c->sqe.cdw3 = put32(req->cdw3);
	le32 *const cdw[6] = { &c->sqe.cdw10, &c->sqe.cdw11, &c->sqe.cdw12,
			       &c->sqe.cdw13, &c->sqe.cdw14, &c->sqe.cdw15 };
	for (int i = 0; i < 6; i++)
		*cdw[i] = put32(req->cdw[i]);
	if (req->write_file) {
		len = read_file(req->write_file, req->in_capsule ? c->data : data->va, most);
		if (len < 0)
			return false;
	}
	if (req->in_capsule)
		c->data_len = (uint32_t)len;
	if (req->has_sgl_len)
		len = (long)req->sgl_len;
	c->sqe.dptr = req->in_capsule ? fab_sgl_in_capsule(0, (uint32_t)len)
				      : fab_sgl_keyed(data, (uint32_t)len, SGL_SUB_ADDRESS);
	if (req->has_sgl_addr)
		c->sqe.dptr.data.addr = put64(req->sgl_addr);
	if (req->has_sgl_type)
		c->sqe.dptr.data.type = (uint8_t)req->sgl_type;
	if (req->has_capsule_len && req->capsule_len >= sizeof(c->sqe))
		c->data_len = req->capsule_len - (uint32_t)sizeof(c->sqe);
	return true;
}

static void print_data(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 16) {
		printf("%06zx ", i);
		for (size_t k = i; k < i + 16 && k < len; k++)
			printf(" %02x", p[k]);
		printf("  ");
		for (size_t k = i; k < i + 16 && k < len; k++)
			putchar(p[k] >= ' ' && p[k] < 0x7f ? p[k] : '.');
		putchar('\n');
	}
}

static int print_response(const struct host_response *r, const struct host_buffer *data,
			  const struct request *req)
{
	uint16_t status = (uint16_t)(get16(r->cqe.status) >> 1);

	printf("status %#x %s%s%s\n", status & 0x7ff, fab_status_name(status),
	       status & DNR ? ", do not retry" : "",
	       status & MORE ? ", more in the error log" : "");
	printf("dw0 %#x dw1 %#x sqhd %u cid %u\n", get32(r->cqe.dw0), get32(r->cqe.dw1),
	       get16(r->cqe.sqhd), get16(r->cqe.cid));
	if (r->len != sizeof(r->cqe))
		printf("the response had %u bytes\n", r->len);
	if (r->invalidated)
		printf("invalidated key %#x\n", r->invalidated_rkey);
	if (!status)
		print_data(data->va, req->read_len);
	return status != 0;
}

static int exchange(struct fab_queue *q, struct request *req, struct host_buffer *data)
{
	struct host_response r;
	int err;

	if (req->has_capsule_len && req->capsule_len < sizeof(req->capsule.sqe)) {
		err = host_send(q->conn, &req->capsule, req->capsule_len);
		if (!err)
			err = host_wait(q->conn, HOST_TIMEOUT_MS, &r);
	} else {
		err = fab_exec(q, &req->capsule, &r);
	}
	if (!err)
		return print_response(&r, data, req);
	printf("no response: %s\n",
	       err == -ENOTCONN ? "the target ended the connection" : strerror(-err));
	return 3;
}

static int failed(const char *what, int err)
{
	fprintf(stderr, "nvmf-test-host: %s: %s\n", what,
		err < 0 ? strerror(-err) : fab_status_name((uint16_t)err));
	return 3;
}

int send_main(const struct fab_host *fh, int argc, char **argv)
{
	static struct request req = { .flags = SQE_PSDT_SGL };
	struct fab_options o;
	struct fab_ctrl *c = NULL;
	struct fab_queue io = { 0 };
	struct host_buffer data = { 0 };
	int rc = parse(&req, argc, argv), err;

	if (rc >= 0)
		return rc;
	o = (struct fab_options){ .kato_ms = req.kato_ms, .disabled = req.disabled };
	err = fab_ctrl_create(fh, &o, &c);
	if (err)
		return failed("no controller", err);
	if (req.qid)
		err = fab_ctrl_queue(c, (uint16_t)req.qid, IO_QUEUE_DEPTH, &io);
	if (!err)
		err = host_alloc(fh->host, FAB_DATA_LEN, 0, &data);
	if (err)
		rc = failed("no queue", err);
	else if (!build(&req, &data))
		rc = 2;
	else
		rc = exchange(req.qid ? &io : &c->admin, &req, &data);
	fab_queue_close(&io);
	host_free(&data);
	fab_ctrl_destroy(c);
	return rc;
}
