#include "tests/fault/inject.h"

#include <dirent.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <inttypes.h>
#include <infiniband/verbs.h>
#include <json-c/json.h>
#include <liburing.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
	NKINDS,
};

static const char *const kind_names[NKINDS] = {
	[KIND_MEMORY] = "memory", [KIND_MAP] = "map",         [KIND_DESCRIPTOR] = "descriptor",
	[KIND_FILES] = "files",   [KIND_THREADS] = "threads", [KIND_URING] = "uring",
	[KIND_VERBS] = "verbs",   [KIND_POSTS] = "posts",     [KIND_CRYPTO] = "crypto",
	[KIND_JSON] = "json",
};

/* All atomic, but for what is set before anybody counts. */
static struct {
	bool armed, paused;
	unsigned int kinds; /* bits */
	uint64_t at, count; /* calls at .. at + count - 1 fail */
	uint64_t calls;
	const char *name;
	int report_fd; /* -1: nothing is reported */
} fault = { .kinds = (1u << NKINDS) - 1, .count = 1, .report_fd = -1 };

/* The place is for addr2line. */
static void report(const char *what, const char *name, uint64_t call, const void *from)
{
	extern const char __executable_start;
	size_t at = from ? (size_t)((const char *)from - &__executable_start) : 0;

	dprintf(fault.report_fd, "fault: %s %" PRIu64 "%s%s (%#zx)\n", what, call, name ? " " : "",
		name ? name : "", at);
}

/* Shall this call fail? */
static bool fails(enum kind kind, const char *name, const void *from)
{
	uint64_t call;

	if (!__atomic_load_n(&fault.armed, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&fault.paused, __ATOMIC_RELAXED) || !(fault.kinds & 1u << kind))
		return false;
	call = __atomic_add_fetch(&fault.calls, 1, __ATOMIC_RELAXED);
	if (call < fault.at || call - fault.at >= fault.count || !fault.at)
		return false;
	__atomic_store_n(&fault.name, name, __ATOMIC_RELAXED);
	if (fault.report_fd >= 0)
		report("injected at call", name, call, from);
	return true;
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

/* ---- verbs that are called through their device ------------------------------------------------
 */

static struct ibv_context_ops real;

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

/* One provider's devices only, as in the test machine. Before anything of it is used. */
static void patch(struct ibv_context *context)
{
	if (context->ops.post_send == post_send)
		return;
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

	return text ? strtoull(text, NULL, 10) : otherwise;
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
	sigaction(SIGRTMIN, &action, NULL);
	fault_arm(number("FAULT_AT", 0), number("FAULT_COUNT", 1));
}

__attribute__((destructor)) static void end(void)
{
	if (fault.report_fd >= 0)
		report("ended after", NULL, fault_disarm(), NULL);
}
