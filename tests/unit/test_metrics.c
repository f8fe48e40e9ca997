/*
 * Metrics: classes of latencies, the text to the byte, what the target counts, and the server over
 * a real socket, with good, bad and hostile peers. The documents in docs/ name only what there is.
 *
 *   build/out/tests/unit/test_metrics doc      prints the table of docs/metrics.md
 */
#include "target/daemon/metrics.c"
#include "target/daemon/metrics_text.c"

#include "target/daemon/metrics_table.h"
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"
#include "transport/transport.h"

#include <arpa/inet.h>
#include <regex.h>
#include <sys/socket.h>

#define NROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

/* ---- classes -----------------------------------------------------------------------------------
 */

static const struct class_row {
	uint64_t ns;
	unsigned int class;
} class_rows[] = {
	{ 0, 0 },
	{ 1, 0 },
	{ 7999, 0 },
	{ 8000, 0 }, /* the bound is in the class */
	{ 8001, 1 },
	{ 16000, 1 },
	{ 16001, 2 },
	{ 1024000, 7 },
	{ 1024001, 8 },
	{ 4194304000, LATENCY_CLASSES - 3 },
	{ 8388608000, LATENCY_CLASSES - 2 },
	{ 8388608001, LATENCY_CLASSES - 1 },
	{ UINT64_MAX - 999, LATENCY_CLASSES - 1 },
};

START_TEST(latencies_have_their_class)
{
	const struct class_row *row = &class_rows[_i];
	unsigned int class = latency_class(row->ns);
	uint64_t us = latency_class_us(class);

	ck_assert_uint_eq(class, row->class);
	ck_assert(us == 0 || row->ns <= us * 1000);
	ck_assert(class == 0 || row->ns > latency_class_us(class - 1) * 1000);
}
END_TEST

/* ---- text --------------------------------------------------------------------------------------
 */

static char *text;
static size_t text_len;

static const char *print(const struct metric *table, size_t n, const struct daemon *d)
{
	FILE *out;

	free(text);
	out = open_memstream(&text, &text_len);
	ck_assert_int_eq(metrics_print(table, n, d, out), 0);
	fclose(out);
	return text;
}

static void no_labels(struct metric_out *out, const struct daemon *d)
{
	(void)d;
	metric_count(out, METRIC_NO_LABELS, UINT64_MAX);
}

static void two_labels(struct metric_out *out, const struct daemon *d)
{
	(void)d;
	metric_count(out, METRIC_LABELS({ "a", "" }, { "b", metric_number(7).text }), 0);
}

static void hostile_label(struct metric_out *out, const struct daemon *d)
{
	(void)d;
	metric_count(out, METRIC_LABELS({ "a", "q\" b\\ n\n {}," }), 1);
	metric_count(out, METRIC_LABELS({ "a", "\xc3\xa4 \xe2\x82\xac" }), 2);
	metric_count(out, METRIC_LABELS({ "a", "\xc3\" \xff\n" }), 3);
}

static void values(struct metric_out *out, const struct daemon *d)
{
	(void)d;
	metric_value(out, METRIC_NO_LABELS, 0.5);
	metric_value(out, METRIC_NO_LABELS, -1);
	metric_value(out, METRIC_NO_LABELS, 1790000000);
	metric_value(out, METRIC_NO_LABELS, NAN);
}

static void histogram(struct metric_out *out, const struct daemon *d)
{
	struct stage_account a = { .commands = 99, .latency_ns = 12345678901 };

	(void)d;
	a.latency[0] = 1;
	a.latency[1] = 2;
	a.latency[LATENCY_CLASSES - 2] = 3;
	a.latency[LATENCY_CLASSES - 1] = 4;
	metric_latencies(out, METRIC_LABELS({ "x", "y" }), &a);
}

static const struct text_row {
	struct metric metric;
	const char *text;
} text_rows[] = {
	{ { "m_total", "Help.", "", METRIC_COUNTER, no_labels },
	  "# HELP m_total Help.\n# TYPE m_total counter\nm_total 18446744073709551615\n" },
	{ { "m", "H.", "a, b", METRIC_GAUGE, two_labels },
	  "# HELP m H.\n# TYPE m gauge\nm{a=\"\",b=\"7\"} 0\n" },
	{ { "m", "H.", "a", METRIC_GAUGE, hostile_label },
	  "# HELP m H.\n# TYPE m gauge\n"
	  "m{a=\"q\\\" b\\\\ n\\n {},\"} 1\n"
	  "m{a=\"\xc3\xa4 \xe2\x82\xac\"} 2\n"
	  "m{a=\"?\\\" ?\\n\"} 3\n" },
	{ { "m", "H.", "", METRIC_GAUGE, values },
	  "# HELP m H.\n# TYPE m gauge\nm 0.5\nm -1\nm 1790000000\nm NaN\n" },
	{ { "h", "H.", "x", METRIC_HISTOGRAM, histogram },
	  "# HELP h H.\n# TYPE h histogram\n"
	  "h_bucket{x=\"y\",le=\"8e-06\"} 1\n"
	  "h_bucket{x=\"y\",le=\"1.6e-05\"} 3\n"
	  "h_bucket{x=\"y\",le=\"3.2e-05\"} 3\n"
	  "h_bucket{x=\"y\",le=\"6.4e-05\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.000128\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.000256\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.000512\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.001024\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.002048\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.004096\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.008192\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.016384\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.032768\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.065536\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.131072\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.262144\"} 3\n"
	  "h_bucket{x=\"y\",le=\"0.524288\"} 3\n"
	  "h_bucket{x=\"y\",le=\"1.048576\"} 3\n"
	  "h_bucket{x=\"y\",le=\"2.097152\"} 3\n"
	  "h_bucket{x=\"y\",le=\"4.194304\"} 3\n"
	  "h_bucket{x=\"y\",le=\"8.388608\"} 6\n"
	  "h_bucket{x=\"y\",le=\"+Inf\"} 10\n"
	  "h_sum{x=\"y\"} 12.345678901\n"
	  "h_count{x=\"y\"} 10\n" },
};

START_TEST(bounds_are_those_of_the_classes)
{
	for (unsigned int i = 0; i + 1 < LATENCY_CLASSES; i++)
		ck_assert_double_eq_tol(atof(bounds[i]) * 1e6, (double)latency_class_us(i), 1e-6);
}
END_TEST

START_TEST(text_is_to_the_byte)
{
	ck_assert_str_eq(print(&text_rows[_i].metric, 1, NULL), text_rows[_i].text);
}
END_TEST

/* ---- the table ---------------------------------------------------------------------------------
 */

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name), end_len = strlen(end);

	return len > end_len && strcmp(name + len - end_len, end) == 0;
}

/* As Prometheus has them: https://prometheus.io/docs/practices/naming/ */
START_TEST(names_follow_the_conventions)
{
	for (size_t i = 0; i < metric_table_len; i++) {
		const struct metric *m = &metric_table[i];

		ck_assert_msg(strspn(m->name, "abcdefghijklmnopqrstuvwxyz0123456789_") ==
				      strlen(m->name),
			      "%s", m->name);
		ck_assert_msg(strncmp(m->name, "nvmf_p2pd_", 10) == 0 ||
				      strncmp(m->name, "process_", 8) == 0,
			      "%s", m->name);
		ck_assert_msg(ends_with(m->name, "_total") == (m->type == METRIC_COUNTER), "%s",
			      m->name);
		ck_assert_msg(m->type != METRIC_HISTOGRAM || ends_with(m->name, "_seconds"), "%s",
			      m->name);
		ck_assert_msg(m->help[0] && !strchr(m->help, '\n') && !strchr(m->help, '|') &&
				      ends_with(m->help, "."),
			      "%s: %s", m->name, m->help);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(m->name, metric_table[j].name);
	}
}
END_TEST

static char *read_file(const char *name)
{
	FILE *f = fopen(name, "r");
	size_t len;
	char *content;

	ck_assert_msg(f != NULL, "%s", name);
	fseek(f, 0, SEEK_END);
	len = (size_t)ftell(f);
	rewind(f);
	content = calloc(1, len + 1);
	ck_assert_uint_eq(fread(content, 1, len, f), len);
	fclose(f);
	return content;
}

START_TEST(page_has_the_table)
{
	char *page = read_file("docs/metrics.md"), *table = NULL;
	size_t len;
	FILE *out = open_memstream(&table, &len);

	metrics_print_doc(metric_table, metric_table_len, out);
	fclose(out);
	ck_assert_msg(strstr(page, table) != NULL,
		      "docs/metrics.md does not have what `test_metrics doc` prints");
	free(page);
	free(table);
}
END_TEST

/* Is it a family's name, or that of a histogram's part? */
static bool is_metric(const char *name, size_t len)
{
	static const char *const ends[] = { "", "_bucket", "_sum", "_count" };

	for (size_t i = 0; i < metric_table_len; i++)
		for (int e = 0; e < (metric_table[i].type == METRIC_HISTOGRAM ? 4 : 1); e++) {
			char full[128];

			snprintf(full, sizeof(full), "%s%s", metric_table[i].name, ends[e]);
			if (strlen(full) == len && memcmp(full, name, len) == 0)
				return metric_table[i].type != METRIC_HISTOGRAM || e > 0;
		}
	return false;
}

static const char *const users[] = { "docs/grafana-dashboard.json", "docs/prometheus-alerts.yml",
				     "docs/metrics.md" };

START_TEST(documents_name_only_what_there_is)
{
	char *content = read_file(users[_i]);
	unsigned int n = 0;
	regmatch_t match;
	regex_t name;

	ck_assert_int_eq(regcomp(&name, "(nvmf_p2pd|process)_[a-z0-9_]+", REG_EXTENDED), 0);
	for (const char *at = content; regexec(&name, at, 1, &match, 0) == 0; at += match.rm_eo) {
		size_t len = (size_t)(match.rm_eo - match.rm_so);
		bool family = false;

		for (size_t i = 0; i < metric_table_len && _i == 2; i++)
			family |= strlen(metric_table[i].name) == len &&
				  memcmp(metric_table[i].name, at + match.rm_so, len) == 0;
		ck_assert_msg(family || is_metric(at + match.rm_so, len), "%s: no metric %.*s",
			      users[_i], (int)len, at + match.rm_so);
		n++;
	}
	ck_assert_uint_gt(n, 10);
	regfree(&name);
	free(content);
}
END_TEST

/* ---- what the target counts --------------------------------------------------------------------
 */

static struct daemon daemon_;

static void daemon_setup_with(unsigned int nreactors)
{
	struct transport_test no_test = { 0 };

	namespaces[0].ana_group = 3;
	setup_with(nreactors);
	conf.connection_memory = 1 << 30;
	daemon_ = (struct daemon){ .conf = &conf, .reactors = reactors, .target = target };
	ck_assert_int_eq(
		transport_create(&conf, &reactors, &topo, target, &no_test, &daemon_.transport), 0);
	daemon_.metrics = metrics_create(&daemon_);
	ck_assert_ptr_nonnull(daemon_.metrics);
}

static void daemon_setup(void)
{
	daemon_setup_with(1);
}

/* I/O queues are other threads'. */
static void threads_setup(void)
{
	daemon_setup_with(3);
}

static void daemon_teardown(void)
{
	metrics_destroy(daemon_.metrics);
	transport_destroy(daemon_.transport);
	teardown();
}

/* The value of the sample that begins with @sample, as text; NULL: there is none. */
static const char *value_of(const char *sample)
{
	static char value[64];
	const char *all = print(metric_table, metric_table_len, &daemon_);
	size_t len = strlen(sample);

	for (const char *line = all; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, sample, len) == 0 && line[len] == ' ') {
			snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + len + 1, "\n"),
				 line + len + 1);
			return value;
		}
	}
	return NULL;
}

#define expect_value(sample, value)                                                                \
	do {                                                                                       \
		const char *is_ = value_of(sample);                                                \
		ck_assert_msg(is_ &&strcmp(is_, value) == 0, "%s is %s, not %s", sample,           \
			      is_ ? is_ : "not there", value);                                     \
	} while (0)

#define OF_NS "{subsystem=\"" NQN "\",nsid=\"1\""

static uint16_t rw(struct nvmf_queue *q, uint8_t opcode, uint64_t slba)
{
	struct exchange x = { .sqe = { .opcode = opcode, .nsid = put32(1) } };

	x.sqe.cdw10 = put32((uint32_t)slba);
	x.sqe.cdw12 = put32(7);
	return run(q, &x);
}

START_TEST(commands_are_counted)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct stage_account a;

	expect_value("nvmf_p2pd_namespace_commands_total" OF_NS ",direction=\"read\"}", "0");
	ck_assert_uint_eq(rw(q, 0x02, 0), NVME_OK);
	ck_assert_uint_eq(rw(q, 0x02, 8), NVME_OK);
	ck_assert_uint_eq(rw(q, 0x01, 8), NVME_OK);
	ck_assert_uint_ne(rw(q, 0x02, 1 << 30), NVME_OK);
	ck_assert_uint_ne(rw(q, 0x7e, 0), NVME_OK);
	expect_value("nvmf_p2pd_namespace_commands_total" OF_NS ",direction=\"read\"}", "2");
	expect_value("nvmf_p2pd_namespace_commands_total" OF_NS ",direction=\"write\"}", "1");
	expect_value("nvmf_p2pd_namespace_staged_bytes_total" OF_NS
		     ",direction=\"write\",place=\"host\",provider=\"\",reason=\"no CMB\"}",
		     "32768");
	expect_value("nvmf_p2pd_namespace_latency_seconds_count" OF_NS ",direction=\"read\"}", "2");
	expect_value("nvmf_p2pd_namespace_latency_seconds_bucket" OF_NS
		     ",direction=\"read\",le=\"+Inf\"}",
		     "2");
	expect_value("nvmf_p2pd_commands_total{queue=\"io\",command=\"read\"}", "3");
	expect_value("nvmf_p2pd_commands_total{queue=\"io\",command=\"0x7e\"}", "1");
	expect_value("nvmf_p2pd_commands_total{queue=\"fabrics\",command=\"connect\"}", "2");
	expect_value("nvmf_p2pd_command_failures_total{status=\"lba_out_of_range\"}", "1");
	expect_value("nvmf_p2pd_command_failures_total{status=\"invalid_opcode\"}", "1");
	expect_value("nvmf_p2pd_command_failures_total{status=\"write_fault\"}", "0");
	expect_value("nvmf_p2pd_controllers{subsystem=\"" NQN "\"}", "1");
	expect_value("nvmf_p2pd_io_queues{subsystem=\"" NQN "\"}", "1");
	expect_value("nvmf_p2pd_host_io_queues{host=\"" HOSTNQN "\"}", "1");
	expect_value("nvmf_p2pd_namespace_size_bytes" OF_NS "}", "1048576");
	expect_value("nvmf_p2pd_ana_group_state{subsystem=\"" NQN
		     "\",port=\"1\",group=\"3\",state=\"optimized\"}",
		     "1");
	expect_value("nvmf_p2pd_namespace_in_flight_commands" OF_NS "}", "0");
	namespace_account(target, target->subsystems[1]->namespaces[0], DATA_C2H, &a);
	ck_assert_uint_gt(a.latency_ns, 0);
	ck_assert_uint_lt(a.latency_ns, UINT64_C(60000000000));
	drop_queue(q);
	drop_queue(admin);
	expect_value("nvmf_p2pd_controllers{subsystem=\"" NQN "\"}", "0");
	expect_value("nvmf_p2pd_controllers_created_total{subsystem=\"" NQN "\"}", "1");
	expect_value("nvmf_p2pd_namespace_commands_total" OF_NS ",direction=\"read\"}", "2");
}
END_TEST

START_TEST(commands_in_flight_are_seen)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid), *q = open_io(cntlid);
	struct exchange x = { .sqe = { .opcode = 0x02, .nsid = put32(1) } };

	hand_over(q, &x, start_kept);
	expect_value("nvmf_p2pd_namespace_in_flight_commands" OF_NS "}", "1");
	expect_value("nvmf_p2pd_namespace_commands_total" OF_NS ",direction=\"read\"}", "0");
	kept = NULL;
	nvmf_req_complete(&x.req, NVME_OK);
	expect_value("nvmf_p2pd_namespace_in_flight_commands" OF_NS "}", "0");
	drop_queue(q);
	drop_queue(admin);
}
END_TEST

/* The text is made while other threads count: nothing waits, nothing is counted twice. (TSan.) */
START_TEST(counted_by_threads_meanwhile)
{
	uint16_t cntlid;
	struct nvmf_queue *admin = open_enabled(&cntlid);
	struct nvmf_queue *q[2] = { open_io_queue(cntlid, 1), open_io_queue(cntlid, 2) };

	for (int i = 0; i < 50; i++) {
		struct exchange x[2] = { { .sqe = { .opcode = 0x02, .nsid = put32(1) } },
					 { .sqe = { .opcode = 0x02, .nsid = put32(1) } } };

		hand_over(q[0], &x[0], start);
		hand_over(q[1], &x[1], start);
		(void)print(metric_table, metric_table_len, &daemon_);
		ck_assert_uint_eq(await(&x[0]), NVME_OK);
		ck_assert_uint_eq(await(&x[1]), NVME_OK);
	}
	expect_value("nvmf_p2pd_namespace_commands_total" OF_NS ",direction=\"read\"}", "100");
	expect_value("nvmf_p2pd_namespace_latency_seconds_count" OF_NS ",direction=\"read\"}",
		     "100");
	expect_value("nvmf_p2pd_namespace_in_flight_commands" OF_NS "}", "0");
	drop_queue(q[0]);
	drop_queue(q[1]);
	drop_queue(admin);
}
END_TEST

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Prometheus takes no sample twice, and no sample without its value. */
START_TEST(every_sample_is_there_once)
{
	char *all = strdup(print(metric_table, metric_table_len, &daemon_)), *line, *save;
	char *names[4096];
	size_t n = 0;

	for (line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (*line == '#')
			continue;
		ck_assert_uint_lt(n, 4096);
		names[n++] = line;
		ck_assert_msg(strrchr(line, ' ') && strrchr(line, ' ')[1], "%s", line);
		*strrchr(line, ' ') = '\0';
	}
	ck_assert_uint_gt(n, metric_table_len);
	qsort(names, n, sizeof(names[0]), compare_lines);
	for (size_t i = 1; i < n; i++)
		ck_assert_str_ne(names[i - 1], names[i]);
	free(all);
}
END_TEST

static uint16_t connect_as(const char *hostnqn, const char *subsysnqn)
{
	struct exchange x = connect_command(0, 0xffff);
	struct nvmf_queue *q = open_queue(0);
	struct nvmf_connect_data *d = (void *)data;
	uint16_t status;

	memset(d->hostnqn, 0, sizeof(d->hostnqn));
	memcpy(d->hostnqn, hostnqn, strlen(hostnqn));
	memset(d->subsysnqn, 0, sizeof(d->subsysnqn));
	memcpy(d->subsysnqn, subsysnqn, strlen(subsysnqn));
	status = run(q, &x);
	drop_queue(q);
	return status;
}

START_TEST(refused_connects_are_counted)
{
	ck_assert_uint_ne(connect_as("nqn.2026-11.org.example:stranger", NQN), NVME_OK);
	ck_assert_uint_ne(connect_as(HOSTNQN, "nqn.2026-11.org.example:none"), NVME_OK);
	expect_value("nvmf_p2pd_connects_refused_total{reason=\"host\"}", "1");
	expect_value("nvmf_p2pd_connects_refused_total{reason=\"subsystem\"}", "1");
	expect_value("nvmf_p2pd_connects_refused_total{reason=\"limit\"}", "0");
	expect_value("nvmf_p2pd_command_failures_total{status=\"connect_invalid_host\"}", "1");
}
END_TEST

static struct nvmf_queue *discover_as(unsigned int i)
{
	static const char *const odd[] = { "other", "\xff", "\xfe" };
	char hostnqn[CONFIG_NQN_MAX + 1];

	if (i < 3)
		return open_discovery(odd[i]);
	snprintf(hostnqn, sizeof(hostnqn), "nqn.2026-11.org.example:%u", i);
	return open_discovery(hostnqn);
}

START_TEST(hosts_beyond_some_are_summed)
{
	struct nvmf_queue *q[METRICS_HOSTS_MAX + 10];

	for (unsigned int i = 0; i < METRICS_HOSTS_MAX + 10; i++)
		q[i] = discover_as(i);
	/* 64 have names, of 74 of whom three have none that can be told apart */
	expect_value("nvmf_p2pd_host_controllers{host=\"other\"}", "10");
	for (unsigned int i = 0; i < METRICS_HOSTS_MAX + 10; i++)
		drop_queue(q[i]);
}
END_TEST

/* ---- the server --------------------------------------------------------------------------------
 */

static char address[64];

static struct ev_loop *loop(void)
{
	return reactors.r[0]->loop;
}

/* On a port that is free. */
static void server_setup(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(any);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	daemon_setup();
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&any, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&any, &len), 0);
	close(fd);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(any.sin_port));
	ck_assert_int_eq(metrics_listen(daemon_.metrics, address), 0);
	ck_assert_ptr_nonnull(daemon_.metrics->http);
}

static void turn(void)
{
	for (int i = 0; i < 5; i++)
		ev_run(loop(), EVRUN_NOWAIT);
}

static int connect_to(const char *to)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd;

	ck_assert_int_eq(config_endpoint(to, &addr, &len), 0);
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, len), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* Everything until the server closes, for @seconds at most; NULL: it does not. */
static const char *receive(int fd, double seconds)
{
	static char got[1 << 20];
	ev_tstamp until = ev_time() + seconds;
	size_t n = 0;

	while (ev_time() < until) {
		ssize_t len = read(fd, got + n, sizeof(got) - 1 - n);

		if (len == 0 || (len < 0 && errno == ECONNRESET)) {
			got[n] = '\0';
			return got;
		}
		if (len > 0)
			n += (size_t)len;
		else
			turn();
	}
	return NULL;
}

static void send_all(int fd, const char *bytes, size_t len)
{
	for (size_t sent = 0; sent < len; turn()) {
		ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else if (errno != EAGAIN)
			return;
	}
}

static const char *ask(const char *request)
{
	int fd = connect_to(address);
	const char *got;

	send_all(fd, request, strlen(request));
	got = receive(fd, 5);
	ck_assert_msg(got != NULL, "%s: the connection stays", request);
	close(fd);
	return got;
}

#define GET "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct http_row {
	const char *request;
	const char *answer;  /* begins with it; "": any, or none */
	const char *has;     /* and has this; NULL */
	const char *has_not; /* but not this; NULL */
} http_rows[] = {
	{ GET, "HTTP/1.1 200 OK\r\n", "\r\n\r\n# HELP nvmf_p2pd_build_info", NULL },
	{ GET, "HTTP/1.1 200 OK\r\n", "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
	  NULL },
	{ GET, "HTTP/1.1 200 OK\r\n", "Connection: close\r\n", NULL },
	{ GET GET, "HTTP/1.1 200 OK\r\n", "nvmf_p2pd_build_info{version=", NULL },
	{ "GET /metrics?name[]=up HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200", "build_info",
	  NULL },
	{ "GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.", "200 OK", NULL },
	{ "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n",
	  "Content-Length: ", "build_info" },
	{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n", "/metrics\n", NULL },
	{ "GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 Not Found\r\n", "/metrics\n",
	  NULL },
	{ "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404", NULL, "root:" },
	{ "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", "", NULL, "build_info" },
	{ "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405",
	  "Allow: GET, HEAD\r\n", "build_info" },
	{ "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
	  "HTTP/1.1 405", NULL, NULL },
	{ "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405", NULL, NULL },
	{ "BREW /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405", NULL, NULL },
	{ "GET /metrics\r\n\r\n", "", NULL, "500" },
	{ "\r\n\r\n\r\n\x01\x02\x03\xff GET\r\n\r\n", "", NULL, "build_info" },
	{ "GET /metrics HTTP/9.9\r\n\r\n", "", NULL, "build_info" },
	{ "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400", NULL,
	  "build_info" },
};

START_TEST(requests_have_their_answers)
{
	const struct http_row *row = &http_rows[_i];
	const char *got = ask(row->request);

	ck_assert_msg(strncmp(got, row->answer, strlen(row->answer)) == 0, "%s", got);
	ck_assert_msg(!row->has || strstr(got, row->has), "%s", got);
	ck_assert_msg(!row->has_not || !strstr(got, row->has_not), "%s", got);
	ck_assert(LIST_EMPTY(&daemon_.metrics->peers));
}
END_TEST

START_TEST(huge_headers_are_refused)
{
	static char request[1 << 20];
	int fd = connect_to(address);
	const char *got;

	memset(request, 'a', sizeof(request));
	memcpy(request, "GET /metrics HTTP/1.1\r\nX: ", 26);
	send_all(fd, request, sizeof(request));
	got = receive(fd, 5);
	ck_assert_ptr_nonnull(got);
	ck_assert_ptr_null(strstr(got, "200 OK"));
	close(fd);
	ck_assert_ptr_nonnull(strstr(ask(GET), "200 OK"));
}
END_TEST

/* Who comes from another address; -1: this machine has no second one. */
static int connect_from_elsewhere(void)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage to;
	socklen_t len;

	if (bind(fd, (struct sockaddr *)&from, sizeof(from))) {
		close(fd);
		return -1;
	}
	ck_assert_int_eq(config_endpoint(address, &to, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, len), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

START_TEST(many_connections_are_limited)
{
	unsigned int n = 0;
	const struct peer *p;
	int fd[200], other;

	for (int i = 0; i < 200; i++) {
		fd[i] = connect_to(address);
		turn();
	}
	LIST_FOREACH (p, &daemon_.metrics->peers, entry)
		n++;
	ck_assert_uint_eq(n, METRICS_PEERS_OF_ADDRESS);
	other = connect_from_elsewhere();
	if (other >= 0) {
		send_all(other, GET, strlen(GET));
		ck_assert_ptr_nonnull(strstr(receive(other, 5), "build_info"));
		close(other);
	}
	for (int i = 0; i < 200; i++)
		close(fd[i]);
	turn();
	ck_assert_ptr_nonnull(strstr(ask(GET), "200 OK"));
}
END_TEST

/* The clock is turned forward for the peers that are there. */
static void time_is_up(void)
{
	struct peer *p;

	LIST_FOREACH (p, &daemon_.metrics->peers, entry)
		p->deadline = ev_time() - 1;
}

START_TEST(who_is_too_slow_is_cut_off)
{
	int fd = connect_to(address);

	for (int i = 0; i < 10; i++) { /* a byte at a time is no excuse */
		send_all(fd, &"GET /metri"[i], 1);
		turn();
	}
	ck_assert(!LIST_EMPTY(&daemon_.metrics->peers));
	time_is_up();
	ck_assert_ptr_nonnull(receive(fd, 5));
	close(fd);
	turn();
	ck_assert(LIST_EMPTY(&daemon_.metrics->peers));
	ck_assert_ptr_nonnull(strstr(ask(GET), "200 OK"));
}
END_TEST

START_TEST(text_is_made_now_and_then)
{
	struct metrics *m = daemon_.metrics;
	struct MHD_Response *first;

	(void)ask(GET);
	first = m->text;
	m->text_fresh_until = ev_time() + 10;
	(void)ask(GET);
	ck_assert_ptr_eq(m->text, first);
	m->text_fresh_until = 0;
	ck_assert_ptr_nonnull(strstr(ask(GET), "nvmf_p2pd_http_requests_total{code=\"200\"} 2\n"));
}
END_TEST

START_TEST(address_may_change_and_be_taken)
{
	struct metrics *m = daemon_.metrics, *second = metrics_create(&daemon_);
	char taken[64];
	int fd;

	strcpy(taken, address);
	log_init(LOG_LEVEL_ERROR);
	ck_assert_int_eq(metrics_listen(second, taken), 0);
	ck_assert_ptr_null(second->http);
	ck_assert(ev_is_active(&second->retry));
	ck_assert_int_eq(metrics_listen(m, taken), 0); /* the same: nothing happens */
	ck_assert_ptr_nonnull(strstr(ask(GET), "200 OK"));
	fd = connect_to(address); /* somebody is there when it ends */
	turn();
	ck_assert_int_eq(metrics_listen(m, "off"), 0);
	ck_assert_ptr_null(m->http);
	ck_assert(LIST_EMPTY(&m->peers));
	ck_assert_ptr_nonnull(receive(fd, 5));
	close(fd);
	for (ev_tstamp until = ev_time() + 10; !second->http && ev_time() < until;)
		ev_run(loop(), EVRUN_ONCE);
	ck_assert_ptr_nonnull(second->http);
	ck_assert(!ev_is_active(&second->retry));
	metrics_destroy(second);
}
END_TEST

START_TEST(ipv6_is_served)
{
	char *port = strrchr(address, ':') + 1, v6[64];
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0)
		return; /* the machine has none */
	close(fd);
	snprintf(v6, sizeof(v6), "[::1]:%s", port);
	strcpy(address, v6);
	ck_assert_int_eq(metrics_listen(daemon_.metrics, address), 0);
	if (!daemon_.metrics->http)
		return; /* no ::1 here */
	ck_assert_ptr_nonnull(strstr(ask(GET), "200 OK"));
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("metrics");
	TCase *plain = tcase_create("text"), *counted = tcase_create("counters"),
	      *threads = tcase_create("threads"), *server = tcase_create("server");

	if (argc > 1 && strcmp(argv[1], "doc") == 0) {
		metrics_print_doc(metric_table, metric_table_len, stdout);
		return EXIT_SUCCESS;
	}
	tcase_add_loop_test(plain, latencies_have_their_class, 0, NROWS(class_rows));
	tcase_add_test(plain, bounds_are_those_of_the_classes);
	tcase_add_loop_test(plain, text_is_to_the_byte, 0, NROWS(text_rows));
	tcase_add_test(plain, names_follow_the_conventions);
	tcase_add_test(plain, page_has_the_table);
	tcase_add_loop_test(plain, documents_name_only_what_there_is, 0, NROWS(users));
	suite_add_tcase(s, plain);
	tcase_add_checked_fixture(counted, daemon_setup, daemon_teardown);
	tcase_add_test(counted, commands_are_counted);
	tcase_add_test(counted, commands_in_flight_are_seen);
	tcase_add_test(counted, every_sample_is_there_once);
	tcase_add_test(counted, refused_connects_are_counted);
	tcase_add_test(counted, hosts_beyond_some_are_summed);
	suite_add_tcase(s, counted);
	tcase_add_checked_fixture(threads, threads_setup, daemon_teardown);
	tcase_add_test(threads, counted_by_threads_meanwhile);
	suite_add_tcase(s, threads);
	tcase_set_timeout(server, 60);
	tcase_add_checked_fixture(server, server_setup, daemon_teardown);
	tcase_add_loop_test(server, requests_have_their_answers, 0, NROWS(http_rows));
	tcase_add_test(server, huge_headers_are_refused);
	tcase_add_test(server, many_connections_are_limited);
	tcase_add_test(server, who_is_too_slow_is_cut_off);
	tcase_add_test(server, text_is_made_now_and_then);
	tcase_add_test(server, address_may_change_and_be_taken);
	tcase_add_test(server, ipv6_is_served);
	suite_add_tcase(s, server);
	return run_suite(s);
}
