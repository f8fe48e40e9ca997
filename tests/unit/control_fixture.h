/*
 * A daemon for tests of its control socket: a target of memory_transport.h, a transport that is not
 * there, and a peer's side of the socket. Included once, by a test's only source.
 */
#ifndef TESTS_UNIT_CONTROL_FIXTURE_H
#define TESTS_UNIT_CONTROL_FIXTURE_H

#include "target/daemon/control.h"

#include "target/daemon/control_call.h"
#include "target/daemon/daemon.h"
#include "target/daemon/metrics.h"
#include "tests/unit/memory_transport.h"
#include "transport/transport.h"

#include <grp.h>
#include <json-c/json.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- a transport that is not there -------------------------------------------------------------
 *
 * All of transport.h, so that the real one is not linked. Queues are those of the test.
 */

static struct nvmf_queue *queues[2]; /* that it tells of */

int transport_create(const struct config *c, const struct reactors *all, const struct topology *t,
		     struct target *to, const struct transport_test *test,
		     struct transport **ret_transport)
{
	(void)c, (void)all, (void)t, (void)to, (void)test, (void)ret_transport;
	return -ENOSYS;
}

void transport_listen(struct transport *tr)
{
	(void)tr;
}

void transport_look(struct transport *tr)
{
	(void)tr;
}

int transport_probe(struct transport *tr, struct config_diag *diag)
{
	(void)tr, (void)diag;
	return -ENOSYS;
}

void transport_provider_changed(struct transport *tr, unsigned int index)
{
	(void)tr, (void)index;
}

void transport_warn_of_full_windows(struct transport *tr)
{
	(void)tr;
}

void transport_provider_lost(struct transport *tr, unsigned int index)
{
	(void)tr, (void)index;
}

void transport_report(const struct transport *tr, struct report *report)
{
	struct p2p_path way = { .map = P2P_MAP_BUS_ADDRESS, .distance = 4 };
	struct proof proof = { .verdict = PROOF_ANY };
	struct report_row row = { .provider = "0000:03:00.0",
				  .client = "rnic rxe0",
				  .operation = "path mtu 4096",
				  .path = &way,
				  .proof = &proof };

	(void)tr;
	report_add(report, &row);
}

unsigned int transport_listening(const struct transport *tr, FILE *waiting)
{
	(void)tr, (void)waiting;
	return 1;
}

void transport_finish(struct transport *tr)
{
	(void)tr;
}

bool transport_finished(const struct transport *tr)
{
	(void)tr;
	return true;
}

unsigned int transport_nconns(const struct transport *tr)
{
	(void)tr;
	return 0;
}

void transport_stop(struct transport *tr)
{
	(void)tr;
}

bool transport_idle(const struct transport *tr)
{
	(void)tr;
	return true;
}

void transport_destroy(struct transport *tr)
{
	(void)tr;
}

void transport_print_staging(const struct transport *tr, FILE *out)
{
	(void)tr, (void)out;
}

bool transport_port_usage(const struct transport *tr, size_t i, struct transport_port_usage *ret)
{
	(void)tr;
	*ret = (struct transport_port_usage){
		.id = 1, .address = "10.0.0.1", .service = "4420", .listens = true
	};
	return i == 0;
}

int transport_list_queues(const struct transport *tr, int cntlid, int qid,
			  struct transport_queue **ret, size_t *ret_n)
{
	(void)tr;
	*ret = calloc(2, sizeof(**ret));
	*ret_n = 0;
	for (int i = 0; i < 2; i++)
		if (queues[i] && (cntlid < 0 || nvmf_queue_cntlid(queues[i]) == cntlid) &&
		    (qid < 0 || queues[i]->qid == qid))
			(*ret)[(*ret_n)++] =
				(struct transport_queue){ .queue = queues[i],
							  .rnic = "rxe0",
							  .state = "live",
							  .queue_state = queues[i]->state,
							  .path_mtu = 4096,
							  .entries = 32,
							  .capsules = 32,
							  .requests = 44,
							  .busy = 3,
							  .executing = 2 };
	return 0;
}

bool transport_rnic_usage(const struct transport *tr, unsigned int i,
			  struct transport_rnic_usage *ret)
{
	(void)tr;
	*ret = (struct transport_rnic_usage){ .name = "rxe0",
					      .odp.size = 1 << 20,
					      .has_odp = true };
	return i == 0;
}

void transport_usage(const struct transport *tr, struct transport_usage *ret)
{
	(void)tr;
	*ret = (struct transport_usage){ 0 };
}

bool transport_rejected(const struct transport *tr, unsigned int i, const char **ret_reason,
			uint64_t *ret_n)
{
	(void)tr, (void)i, (void)ret_reason, (void)ret_n;
	return false;
}

bool transport_cache_usage(const struct transport *tr, unsigned int i, unsigned int p,
			   struct transport_cache_usage *ret)
{
	(void)tr, (void)i, (void)p, (void)ret;
	return false;
}

int transport_prepare(struct transport *tr, const struct config *c,
		      struct transport_plan **ret_plan)
{
	(void)tr, (void)c;
	*ret_plan = NULL;
	return 0;
}

void transport_commit(struct transport_plan *plan)
{
	(void)plan;
}

void transport_abandon(struct transport_plan *plan)
{
	(void)plan;
}

/* ---- fixture -----------------------------------------------------------------------------------
 */

static char dir[] = "/var/tmp/nvmf-p2pd-ctl-XXXXXX";
static char socket_path[80], config_path[80];
static struct control *control;
static struct config *defaults;
static struct daemon d;

static struct ev_loop *loop(void)
{
	return reactors.r[0]->loop;
}

static void write_file(const char *where, const char *text)
{
	FILE *out = fopen(where, "w");

	ck_assert_ptr_nonnull(out);
	fputs(text, out);
	ck_assert_int_eq(fclose(out), 0);
}

static void make_files(void)
{
	struct config_diag diag;
	char text[512];

	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(socket_path, sizeof(socket_path), "%s/run/control", dir);
	snprintf(config_path, sizeof(config_path), "%s/c.conf", dir);
	snprintf(
		text, sizeof(text),
		"daemon = { max_transfer = \"128K\"; metrics = \"off\"; state_dir = \"%s/state\"; };\n"
		"ports = ( { id = 1; address = \"10.0.0.1\"; } );\n"
		"subsystems = ( { nqn = \"" NQN "\"; allow_any_host = true; } );\n",
		dir);
	write_file(config_path, text);
	ck_assert_msg(config_load(config_path, &defaults, &diag) == 0, "%s", diag.what);
}

static void open_control(const char *group)
{
	struct config_diag diag;

	ck_assert_msg(control_create(socket_path, group, loop(), &d, &control, &diag) == 0, "%s",
		      diag.what);
}

static void control_setup(void)
{
	make_files();
	/* a model that can be printed and read back */
	defaults->ports = ports;
	defaults->nports = 2;
	defaults->subsystems = subsystems;
	defaults->nsubsystems = 1;
	conf = *defaults;
	conf.arena = NULL; /* nothing is freed with it */
	namespaces[0].ana_group = 3;
	setup();
	d = (struct daemon){ .conf = &conf,
			     .config_path = config_path,
			     .reactors = reactors,
			     .topo = topo,
			     .target = target };
	d.metrics = metrics_create(&d);
	ck_assert_ptr_nonnull(d.metrics);
	queues[0] = queues[1] = NULL;
	open_control(NULL);
}

static void control_teardown(void)
{
	char command[128];

	control_destroy(control);
	metrics_destroy(d.metrics);
	ck_assert_int_lt(access(socket_path, F_OK), 0);
	teardown(); /* and with it who writes into the folder */
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
	if (d.conf != &conf)
		config_free(d.conf);
	config_free(defaults);
}

static int connect_peer(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, socket_path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void turn(void)
{
	for (int i = 0; i < 5; i++)
		ev_run(loop(), EVRUN_NOWAIT);
}

static inline void keep(struct backend *b, struct nvmf_req *req, uint64_t offset, bool fua)
{
	(void)b;
	(void)req;
	(void)offset;
	(void)fua;
}

/* From now on reads and writes of namespace 1 do not end, unless the test completes them. */
static inline void hold_io(void)
{
	static struct backend_ops held_ops;
	struct namespace *ns = subsystem_namespace(target->subsystems[1], 1);

	held_ops = *ns->backend->ops;
	held_ops.rw = keep;
	ns->backend->ops = &held_ops;
}

/* Everything that comes until nothing does any more; *@ret_closed: and then the end. */
static const char *receive(int fd, bool *ret_closed)
{
	static char text[1 << 20];
	size_t n = 0;

	*ret_closed = false;
	for (int quiet = 0; quiet < 3;) {
		ssize_t got;

		turn();
		got = read(fd, text + n, sizeof(text) - 1 - n);
		if (got > 0) {
			n += (size_t)got;
			quiet = 0;
		} else if (got == 0) {
			*ret_closed = true;
			break;
		} else {
			quiet++;
		}
	}
	text[n] = '\0';
	return text;
}

static const char *ask(const char *request)
{
	int fd = connect_peer();
	bool closed;
	const char *text;

	ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	shutdown(fd, SHUT_WR);
	text = receive(fd, &closed);
	ck_assert(closed);
	close(fd);
	return text;
}

/* ---- what is asked and answered ----------------------------------------------------------------
 */

#define OK(result) "{\"ok\":true,\"result\":" result "}\n"
#define NO(name, message)                                                                          \
	"{\"ok\":false,\"error\":{\"errno\":\"" name "\",\"message\":\"" message "\"}}\n"
#define FORM      "a request is one JSON object a line, as in {\\\"command\\\":\\\"status\\\"}"
/* and then json-c's words */
#define NO_JSON   "{\"ok\":false,\"error\":{\"errno\":\"EINVAL\",\"message\":\"no JSON, at byte "
#define ANA(rest) "{\"command\":\"ana\",\"subsystem\":\"" NQN "\"," rest "}\n"
#define GROUP(state)                                                                               \
	"{\"subsystem\":\"" NQN "\",\"port\":1,\"group\":3,\"state\":\"" state                     \
	"\",\"namespaces\":[1]}"
#define STATE(state) OK("[" GROUP(state) "]")
#define SHOW_ANA     "{\"command\":\"ana\"}\n"

#endif
