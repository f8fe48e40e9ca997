#include "tests/fault/inject.h"

#include <dirent.h>
#include <errno.h>
#include <ev.h>
#include <execinfo.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <infiniband/verbs.h>
#include <json-c/json.h>
#include <libnvme.h>
#include <libudev.h>
#include <liburing.h>
#include <limits.h>
#include <microhttpd.h>
#include <netdb.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <pwd.h>
#include <rdma/rdma_cma.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
	KIND_MEMORY,
	KIND_MAP,
	KIND_DESCRIPTOR,
	KIND_FILES,
	KIND_THREADS,
	KIND_URING,
	KIND_VERBS,
	KIND_POSTS,
	KIND_CRYPTO,
	KIND_JSON,
	KIND_HTTP,
	KIND_NVME,
	NKINDS,
};

static const char *const kind_names[NKINDS] = {
	[KIND_MEMORY] = "memory", [KIND_MAP] = "map",         [KIND_DESCRIPTOR] = "descriptor",
	[KIND_FILES] = "files",   [KIND_THREADS] = "threads", [KIND_URING] = "uring",
	[KIND_VERBS] = "verbs",   [KIND_POSTS] = "posts",     [KIND_CRYPTO] = "crypto",
	[KIND_JSON] = "json",     [KIND_HTTP] = "http",       [KIND_NVME] = "nvme",
};

/* A call by where it stands: the offsets in our program of who made it, and of who called that one,
 * and so on. 0: not ours. */
struct site {
	uint32_t from[3];
};

#define SITE_DEPTH (sizeof(((struct site *)0)->from) / sizeof(uint32_t))
#define SITES_MAX  8192
#define AT_NEW     INT32_MAX /* instead of a number: the first call from where none has failed yet */

/* All atomic, but for what is set before anybody counts, and the sites, which have a lock. */
static struct {
	bool armed, paused;
	unsigned int kinds; /* bits */
	uint64_t at, count; /* calls at .. at + count - 1 fail */
	uint64_t calls;
	const char *name;
	const char *root; /* NULL: as it is */
	int report_fd;    /* -1: nothing is reported */
	int tried_fd;     /* where sites are kept that failed; -1: nowhere */
	bool sites_busy;
	unsigned int nsites;
	struct site sites[SITES_MAX];
} fault = { .kinds = (1u << NKINDS) - 1, .count = 1, .report_fd = -1, .tried_fd = -1 };

extern const char __executable_start, etext;

static uint32_t offset_of(const void *place)
{
	const char *p = place;

	return p >= &__executable_start && p < &etext ? (uint32_t)(p - &__executable_start) : 0;
}

/* The wrapper was called from @from. */
static struct site site_of(const void *from)
{
	void *frames[16];
	int n = backtrace(frames, sizeof(frames) / sizeof(frames[0])), at = 0;
	struct site ret = { .from = { offset_of(from) } };

	while (at < n && frames[at] != from)
		at++;
	for (size_t i = 1; i < SITE_DEPTH && at + (int)i < n; i++)
		ret.from[i] = offset_of(frames[at + (int)i]);
	return ret;
}

/* The places are for addr2line. */
static void report(const char *what, const char *name, uint64_t call, const void *from)
{
	struct site s = from ? site_of(from) : (struct site){ 0 };

	dprintf(fault.report_fd, "fault: %s %" PRIu64 "%s%s (%#x %#x %#x)\n", what, call,
		name ? " " : "", name ? name : "", s.from[0], s.from[1], s.from[2]);
}

/* Has no call failed there? From now on one has, and FAULT_TRIED knows it. */
static bool is_new(const void *from)
{
	struct site s = site_of(from);
	unsigned int i = 0;
	bool ret;

	while (__atomic_exchange_n(&fault.sites_busy, true, __ATOMIC_ACQUIRE))
		sched_yield();
	while (i < fault.nsites && memcmp(&fault.sites[i], &s, sizeof(s)) != 0)
		i++;
	/* one is enough: the next one is for the next time */
	ret = fault.at == AT_NEW && i == fault.nsites && i < SITES_MAX;
	if (ret) {
		fault.sites[fault.nsites++] = s;
		fault.at = 0;
		dprintf(fault.tried_fd, "%x %x %x\n", s.from[0], s.from[1], s.from[2]);
	}
	__atomic_store_n(&fault.sites_busy, false, __ATOMIC_RELEASE);
	return ret;
}

/* Shall this call fail? */
static bool fails(enum kind kind, const char *name, const void *from)
{
	uint64_t call, at;

	if (!__atomic_load_n(&fault.armed, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&fault.paused, __ATOMIC_RELAXED) || !(fault.kinds & 1u << kind))
		return false;
	call = __atomic_add_fetch(&fault.calls, 1, __ATOMIC_RELAXED);
	at = __atomic_load_n(&fault.at, __ATOMIC_RELAXED);
	if (at == AT_NEW ? !is_new(from) : call < at || call - at >= fault.count || !at)
		return false;
	__atomic_store_n(&fault.name, name, __ATOMIC_RELAXED);
	if (fault.report_fd >= 0)
		report("injected at call", name, call, from);
	return true;
}

/* Where @path is now: below fault_root() if it begins as what is there in its stead. */
static const char *find(const char *path, char elsewhere[PATH_MAX])
{
	if (!fault.root || (strncmp(path, "/sys/", 5) != 0 && strncmp(path, "/dev/", 5) != 0))
		return path;
	snprintf(elsewhere, PATH_MAX, "%s%s", fault.root, path);
	return elsewhere;
}

/* ---- the wrappers -----------------------------------------------------------------------------
 */

#define CALL(kind, name, type, failure, error, parameters, arguments)                              \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		if (fails(KIND_##kind, #name, __builtin_return_address(0))) {                      \
			errno = error ? error : errno;                                             \
			return failure;                                                            \
		}                                                                                  \
		return __real_##name arguments;                                                    \
	}
#define PATH_CALL(kind, name, type, failure, error, parameters, arguments)                         \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		char elsewhere[PATH_MAX];                                                          \
		if (fails(KIND_##kind, #name, __builtin_return_address(0))) {                      \
			errno = error;                                                             \
			return failure;                                                            \
		}                                                                                  \
		a = find(a, elsewhere);                                                            \
		return __real_##name arguments;                                                    \
	}
#define WRITTEN(name)
#undef ibv_reg_mr
#include "tests/fault/calls.h"

int __wrap_asprintf(char **ret, const char *format, ...);
int __wrap_asprintf(char **ret, const char *format, ...)
{
	va_list args;
	int n;

	if (fails(KIND_MEMORY, "asprintf", __builtin_return_address(0))) {
		errno = ENOMEM;
		return -1;
	}
	va_start(args, format);
	n = vasprintf(ret, format, args);
	va_end(args);
	return n;
}

/* What _FORTIFY_SOURCE makes of it. */
int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...);
int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
{
	va_list args;
	int n;

	(void)flag;
	if (fails(KIND_MEMORY, "asprintf", __builtin_return_address(0))) {
		errno = ENOMEM;
		return -1;
	}
	va_start(args, format);
	n = vasprintf(ret, format, args);
	va_end(args);
	return n;
}

/* ---- streams: what is lost was written, or read, before
 * ------------------------------------------
 */

static bool stream_fails(const char *name, FILE *f, const void *from)
{
	if (!fails(KIND_FILES, name, from))
		return false;
	f->_flags |= 0x20; /* what ferror() looks for, in glibc */
	errno = EIO;
	return true;
}

int __real_fclose(FILE *f);
int __wrap_fclose(FILE *f);
int __wrap_fclose(FILE *f)
{
	bool failed = fails(KIND_FILES, "fclose", __builtin_return_address(0));
	int rc = __real_fclose(f);

	if (!failed)
		return rc;
	errno = ENOSPC;
	return EOF;
}

int __real_fflush(FILE *f);
int __wrap_fflush(FILE *f);
int __wrap_fflush(FILE *f)
{
	bool failed = f && stream_fails("fflush", f, __builtin_return_address(0));
	int rc = __real_fflush(f);

	return failed ? EOF : rc;
}

char *__real_fgets(char *line, int len, FILE *f);
char *__wrap_fgets(char *line, int len, FILE *f);
char *__wrap_fgets(char *line, int len, FILE *f)
{
	if (stream_fails("fgets", f, __builtin_return_address(0)))
		return NULL;
	return __real_fgets(line, len, f);
}

size_t __real_fread(void *to, size_t size, size_t n, FILE *f);
size_t __wrap_fread(void *to, size_t size, size_t n, FILE *f);
size_t __wrap_fread(void *to, size_t size, size_t n, FILE *f)
{
	if (stream_fails("fread", f, __builtin_return_address(0)))
		return 0;
	return __real_fread(to, size, n, f);
}

/* ---- HTTP --------------------------------------------------------------------------------------
 */

struct MHD_Daemon *__wrap_MHD_start_daemon(unsigned int flags, uint16_t port,
					   MHD_AcceptPolicyCallback accept, void *accept_arg,
					   MHD_AccessHandlerCallback handle, void *handle_arg, ...);
struct MHD_Daemon *__wrap_MHD_start_daemon(unsigned int flags, uint16_t port,
					   MHD_AcceptPolicyCallback accept, void *accept_arg,
					   MHD_AccessHandlerCallback handle, void *handle_arg, ...)
{
	struct MHD_Daemon *ret;
	va_list args;

	if (fails(KIND_HTTP, "MHD_start_daemon", __builtin_return_address(0))) {
		errno = ENOMEM;
		return NULL;
	}
	va_start(args, handle_arg);
	ret = MHD_start_daemon_va(flags, port, accept, accept_arg, handle, handle_arg, args);
	va_end(args);
	return ret;
}

/* ---- verbs that are called through their device ------------------------------------------------
 */

static struct ibv_context_ops real;
static struct verbs_context real_verbs;

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	if (!fails(KIND_POSTS, "ibv_post_send", __builtin_return_address(0)))
		return real.post_send(qp, wr, bad);
	*bad = wr;
	return ENOMEM;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	if (!fails(KIND_POSTS, "ibv_post_recv", __builtin_return_address(0)))
		return real.post_recv(qp, wr, bad);
	*bad = wr;
	return ENOMEM;
}

static int post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	if (!fails(KIND_POSTS, "ibv_post_srq_recv", __builtin_return_address(0)))
		return real.post_srq_recv(srq, wr, bad);
	*bad = wr;
	return ENOMEM;
}

static int req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	if (!fails(KIND_POSTS, "ibv_req_notify_cq", __builtin_return_address(0)))
		return real.req_notify_cq(cq, solicited_only);
	return ENOMEM;
}

static int query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr,
		      size_t len)
{
	if (!fails(KIND_VERBS, "ibv_query_port", __builtin_return_address(0)))
		return real_verbs.query_port(context, port, attr, len);
	return ENOMEM;
}

static int query_device_ex(struct ibv_context *context, const struct ibv_query_device_ex_input *in,
			   struct ibv_device_attr_ex *attr, size_t len)
{
	if (!fails(KIND_VERBS, "ibv_query_device_ex", __builtin_return_address(0)))
		return real_verbs.query_device_ex(context, in, attr, len);
	return ENOMEM;
}

static int advise_mr(struct ibv_pd *pd, enum ibv_advise_mr_advice advice, uint32_t flags,
		     struct ibv_sge *sge, uint32_t n)
{
	if (!fails(KIND_VERBS, "ibv_advise_mr", __builtin_return_address(0)))
		return real_verbs.advise_mr(pd, advice, flags, sge, n);
	return ENOMEM;
}

static void patch_verbs(struct verbs_context *verbs)
{
	if (!verbs)
		return;
	real_verbs = *verbs;
	verbs->query_port = query_port;
	verbs->query_device_ex = query_device_ex;
	if (verbs->advise_mr)
		verbs->advise_mr = advise_mr;
}

/* One provider's devices only, as in the test machine. Before anything of it is used. */
static void patch(struct ibv_context *context)
{
	if (context->ops.post_send == post_send)
		return;
	patch_verbs(verbs_get_ctx(context));
	real = context->ops;
	context->ops.post_send = post_send;
	context->ops.post_recv = post_recv;
	context->ops.post_srq_recv = post_srq_recv;
	context->ops.req_notify_cq = req_notify_cq;
}

struct ibv_pd *__real_ibv_alloc_pd(struct ibv_context *context);
struct ibv_pd *__wrap_ibv_alloc_pd(struct ibv_context *context);
struct ibv_pd *__wrap_ibv_alloc_pd(struct ibv_context *context)
{
	if (fails(KIND_VERBS, "ibv_alloc_pd", __builtin_return_address(0))) {
		errno = ENOMEM;
		return NULL;
	}
	patch(context);
	return __real_ibv_alloc_pd(context);
}

/* ---- which one fails ---------------------------------------------------------------------------
 */

void fault_arm(uint64_t at, uint64_t n)
{
	fault.at = at;
	fault.count = n;
	fault.calls = 0;
	fault.name = "";
	fault.paused = false;
	__atomic_store_n(&fault.armed, true, __ATOMIC_RELEASE);
}

uint64_t fault_disarm(void)
{
	__atomic_store_n(&fault.armed, false, __ATOMIC_RELEASE);
	return __atomic_load_n(&fault.calls, __ATOMIC_RELAXED);
}

void fault_pause(bool pause)
{
	__atomic_store_n(&fault.paused, pause, __ATOMIC_RELAXED);
}

void fault_root(const char *folder)
{
	fault.root = folder;
}

const char *fault_name(void)
{
	const char *name = __atomic_load_n(&fault.name, __ATOMIC_RELAXED);

	return name ? name : "";
}

static unsigned int kind_bit(const char *name, size_t len)
{
	for (unsigned int i = 0; i < NKINDS; i++)
		if (strlen(kind_names[i]) == len && strncmp(kind_names[i], name, len) == 0)
			return 1u << i;
	return 0;
}

bool fault_only(const char *kinds)
{
	unsigned int bits = 0;

	while (kinds && *kinds) {
		size_t len = strcspn(kinds, ",");
		unsigned int bit = kind_bit(kinds, len);

		if (!bit)
			return false;
		bits |= bit;
		kinds += len + (kinds[len] == ',');
	}
	fault.kinds = bits ? bits : (1u << NKINDS) - 1;
	return true;
}

static uint64_t number(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	if (text && strcmp(text, "new") == 0)
		return AT_NEW;
	return text ? strtoull(text, NULL, 10) : otherwise;
}

/* Where calls failed in the runs before. */
static void read_tried(const char *path)
{
	struct site s;
	FILE *f;

	if (!path)
		return;
	fault.tried_fd = __real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	f = __real_fopen(path, "re");
	while (f && fault.nsites < SITES_MAX &&
	       fscanf(f, "%x %x %x", &s.from[0], &s.from[1], &s.from[2]) == 3)
		fault.sites[fault.nsites++] = s;
	if (f)
		fclose(f);
}

static void on_signal(int number_of_signal, siginfo_t *info, void *context)
{
	(void)number_of_signal;
	(void)context;
	report("counted", NULL, fault_disarm(), NULL);
	fault_arm((uint64_t)info->si_value.sival_int, fault.count);
}

/* A daemon under test is told by its environment, and by signals. */
__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("FAULT_REPORT");
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO | SA_RESTART };

	if (!getenv("FAULT_AT"))
		return;
	fault.report_fd = path ? __real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
			       : STDERR_FILENO;
	if (!fault_only(getenv("FAULT_KINDS"))) {
		dprintf(STDERR_FILENO, "FAULT_KINDS: there is no such kind\n");
		_exit(2);
	}
	(void)site_of(NULL); /* loads what it needs, before anything is counted */
	read_tried(getenv("FAULT_TRIED"));
	sigaction(SIGRTMIN, &action, NULL);
	fault_arm(number("FAULT_AT", 0), number("FAULT_COUNT", 1));
}

__attribute__((destructor)) static void end(void)
{
	if (fault.report_fd >= 0)
		report("ended after", NULL, fault_disarm(), NULL);
}
