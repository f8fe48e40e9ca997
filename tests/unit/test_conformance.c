/*
 * docs/conformance.md: what of NVMe there is, what is refused and how, and the test that shows it.
 * The page is made of the dispatch tables and of the answers that the dispatch gives; this test
 * fails if it is not what they say now, if a row names no test, or one that does not exist.
 *
 *	build/out/tests/unit/test_conformance --write	makes the page anew
 */
#include "tests/unit/memory_transport.h"
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <sys/stat.h>

#define PAGE         "docs/conformance.md"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What the specification calls a code, and which test shows our answer. Files: a unit test without
 * "tests/unit/test_"; "e2e/" or "host/" those of tests/. */
struct row {
	uint16_t code;
	const char *name;
	const char *test; /* FILE or FILE:NAME */
};

#define REFUSED_ADMIN "admin:every_admin_opcode_has_an_answer"
#define REFUSED_IO    "target:every_opcode_has_an_answer"
#define REFUSED_CNS   "admin:every_cns_has_an_answer"
#define REFUSED_LID   "admin:every_lid_has_an_answer"
#define REFUSED_FID   "admin:every_fid_has_an_answer"

static const struct row fabrics_rows[] = {
	{ 0x00, "Property Set", "target:properties_follow_enable_and_shutdown" },
	{ 0x01, "Connect", "target:connect_refuses_what_is_wrong" },
	{ 0x04, "Property Get", "target:properties_follow_enable_and_shutdown" },
	{ 0x05, "Authentication Send", "auth:a_host_with_a_key_authenticates_every_queue" },
	{ 0x06, "Authentication Receive", "auth:too_short_an_allocation_loses_nothing" },
	{ 0x08, "Disconnect", "target:disconnect_ends_one_io_queue" },
};

static const struct row admin_rows[] = {
	{ 0x00, "Delete I/O Submission Queue", REFUSED_ADMIN },
	{ 0x01, "Create I/O Submission Queue", REFUSED_ADMIN },
	{ 0x02, "Get Log Page", "admin:log_pages_have_their_status_length_and_offset" },
	{ 0x04, "Delete I/O Completion Queue", REFUSED_ADMIN },
	{ 0x05, "Create I/O Completion Queue", REFUSED_ADMIN },
	{ 0x06, "Identify", "admin:identify_forms_have_their_status" },
	{ 0x08, "Abort", "admin:abort_ends_what_waits_in_the_transport" },
	{ 0x09, "Set Features", "admin:features_have_their_status" },
	{ 0x0a, "Get Features", "admin:features_that_were_set_are_read_back" },
	{ 0x0c, "Asynchronous Event Request",
	  "admin:events_are_told_once_until_their_page_is_read" },
	{ 0x0d, "Namespace Management", REFUSED_ADMIN },
	{ 0x10, "Firmware Commit", REFUSED_ADMIN },
	{ 0x11, "Firmware Image Download", REFUSED_ADMIN },
	{ 0x14, "Device Self-test", REFUSED_ADMIN },
	{ 0x15, "Namespace Attachment", REFUSED_ADMIN },
	{ 0x18, "Keep Alive", "target:silent_host_is_dropped_after_its_keep_alive_time" },
	{ 0x19, "Directive Send", REFUSED_ADMIN },
	{ 0x1a, "Directive Receive", REFUSED_ADMIN },
	{ 0x1c, "Virtualization Management", REFUSED_ADMIN },
	{ 0x1d, "NVMe-MI Send", REFUSED_ADMIN },
	{ 0x1e, "NVMe-MI Receive", REFUSED_ADMIN },
	{ 0x20, "Capacity Management", REFUSED_ADMIN },
	{ 0x21, "Discovery Information Management", REFUSED_ADMIN },
	{ 0x22, "Fabric Zoning Receive", REFUSED_ADMIN },
	{ 0x24, "Lockdown", REFUSED_ADMIN },
	{ 0x25, "Fabric Zoning Lookup", REFUSED_ADMIN },
	{ 0x29, "Fabric Zoning Send", REFUSED_ADMIN },
	{ 0x7c, "Doorbell Buffer Config", REFUSED_ADMIN },
	{ 0x80, "Format NVM", REFUSED_ADMIN },
	{ 0x81, "Security Send", REFUSED_ADMIN },
	{ 0x82, "Security Receive", REFUSED_ADMIN },
	{ 0x84, "Sanitize", REFUSED_ADMIN },
	{ 0x86, "Get LBA Status", REFUSED_ADMIN },
};

static const struct row io_rows[] = {
	{ 0x00, "Flush", "io:form_has_its_status" },
	{ 0x01, "Write", "io:random_commands_do_what_a_model_does" },
	{ 0x02, "Read", "io:random_commands_do_what_a_model_does" },
	{ 0x04, "Write Uncorrectable", "io:form_has_its_status" },
	{ 0x05, "Compare; with Write: fused", "io:two_hosts_count_with_compare_and_write" },
	{ 0x08, "Write Zeroes", "io:random_commands_do_what_a_model_does" },
	{ 0x09, "Dataset Management", "io:dataset_management_has_its_status" },
	{ 0x0c, "Verify", "io:form_has_its_status" },
	{ 0x0d, "Reservation Register", "reservation" },
	{ 0x0e, "Reservation Report", "resv_commands:report_has_the_length_that_was_asked_for" },
	{ 0x11, "Reservation Acquire", "reservation" },
	{ 0x12, "I/O Management Receive", REFUSED_IO },
	{ 0x15, "Reservation Release", "reservation" },
	{ 0x18, "Cancel", REFUSED_IO },
	{ 0x19, "Copy", "io:copy_has_its_status" },
	{ 0x1d, "I/O Management Send", REFUSED_IO },
	{ 0x79, "Zone Management Send (passthrough has it)", REFUSED_IO },
	{ 0x7a, "Zone Management Receive (passthrough has it)", REFUSED_IO },
	{ 0x7d, "Zone Append (passthrough has it)", REFUSED_IO },
};

#define FORMS "admin:identify_forms_have_their_status"

static const struct row cns_rows[] = {
	{ 0x00, "Namespace", "admin:identify_namespace_says_what_the_drive_says" },
	{ 0x01, "Controller", "admin:identify_controller_says_what_the_tables_have" },
	{ 0x02, "Active Namespace ID list", "admin:lists_of_namespaces_begin_after_nsid" },
	{ 0x03, "Namespace Identification Descriptor list", "admin:namespace_has_its_names" },
	{ 0x04, "NVM Set list", REFUSED_CNS },
	{ 0x05, "Namespace of an I/O command set", FORMS },
	{ 0x06, "Controller of an I/O command set", FORMS },
	{ 0x07, "Active Namespace ID list of an I/O command set", FORMS },
	{ 0x08, "Namespace, independent of I/O command sets", FORMS },
	{ 0x09, "Namespace, user data format", REFUSED_CNS },
	{ 0x0a, "Namespace of an I/O command set, user data format", REFUSED_CNS },
	{ 0x10, "Allocated Namespace ID list", "admin:lists_of_namespaces_begin_after_nsid" },
	{ 0x11, "Allocated namespace", FORMS },
	{ 0x12, "Controllers attached to a namespace",
	  "admin:lists_of_controllers_begin_at_cntid" },
	{ 0x13, "Controller list", "admin:lists_of_controllers_begin_at_cntid" },
	{ 0x14, "Primary Controller Capabilities", REFUSED_CNS },
	{ 0x15, "Secondary Controller list", REFUSED_CNS },
	{ 0x16, "Namespace Granularity list", REFUSED_CNS },
	{ 0x17, "UUID list", REFUSED_CNS },
	{ 0x18, "Domain list", REFUSED_CNS },
	{ 0x19, "Endurance Group list", REFUSED_CNS },
	{ 0x1a, "Allocated Namespace ID list of an I/O command set", FORMS },
	{ 0x1b, "Allocated namespace of an I/O command set", FORMS },
	{ 0x1c, "I/O Command Set combinations", FORMS },
	{ 0x1d, "Underlying Namespace list", REFUSED_CNS },
	{ 0x1e, "Ports list", REFUSED_CNS },
	{ 0x1f, "Allocated namespace, independent of I/O command sets", FORMS },
	{ 0x20, "Supported Controller State Formats", REFUSED_CNS },
};

static const struct row lid_rows[] = {
	{ 0x00, "Supported Log Pages", "discovery:supported_pages_tell_of_port_local_entries" },
	{ 0x01, "Error Information", "admin:failed_io_commands_are_in_the_error_log" },
	{ 0x02, "SMART / Health Information", "admin:health_is_the_drives_and_traffic_is_ours" },
	{ 0x03, "Firmware Slot Information", "e2e/nvme-cli" },
	{ 0x04, "Changed Attached Namespace list",
	  "reload:namespaces_come_and_go_and_hosts_are_told" },
	{ 0x05, "Commands Supported and Effects", "admin:effects_pages_say_what_the_tables_have" },
	{ 0x06, "Device Self-test", REFUSED_LID },
	{ 0x07, "Telemetry Host-Initiated", REFUSED_LID },
	{ 0x08, "Telemetry Controller-Initiated", REFUSED_LID },
	{ 0x09, "Endurance Group Information", REFUSED_LID },
	{ 0x0a, "Predictable Latency Per NVM Set", REFUSED_LID },
	{ 0x0b, "Predictable Latency Event Aggregate", REFUSED_LID },
	{ 0x0c, "Asymmetric Namespace Access",
	  "ana:log_has_the_groups_of_the_port_with_their_namespaces" },
	{ 0x0d, "Persistent Event", REFUSED_LID },
	{ 0x0e, "LBA Status Information", REFUSED_LID },
	{ 0x0f, "Endurance Group Event Aggregate", REFUSED_LID },
	{ 0x10, "Media Unit Status", REFUSED_LID },
	{ 0x11, "Supported Capacity Configuration list", REFUSED_LID },
	{ 0x12, "Feature Identifiers Supported and Effects",
	  "admin:effects_pages_say_what_the_tables_have" },
	{ 0x13, "NVMe-MI Commands Supported and Effects",
	  "admin:log_pages_have_their_status_length_and_offset" },
	{ 0x14, "Command and Feature Lockdown", REFUSED_LID },
	{ 0x15, "Boot Partition", REFUSED_LID },
	{ 0x16, "Rotational Media Information", REFUSED_LID },
	{ 0x17, "Dispersed Namespace Participating NVM Subsystems", REFUSED_LID },
	{ 0x18, "Management Address list", REFUSED_LID },
	{ 0x1a, "Reachability Groups", REFUSED_LID },
	{ 0x1b, "Reachability Associations", REFUSED_LID },
	{ 0x1c, "Changed Allocated Namespace list", REFUSED_LID },
	{ 0x20, "FDP Configurations", REFUSED_LID },
	{ 0x21, "Reclaim Unit Handle Usage", REFUSED_LID },
	{ 0x22, "FDP Statistics", REFUSED_LID },
	{ 0x23, "FDP Events", REFUSED_LID },
	{ 0x70, "Discovery (discovery controllers)",
	  "discovery:generation_changes_exactly_when_the_page_does" },
	{ 0x71, "Host Discovery", REFUSED_LID },
	{ 0x72, "AVE Discovery", REFUSED_LID },
	{ 0x80, "Reservation Notification", "resv_commands:hosts_hear_what_happened" },
	{ 0x81, "Sanitize Status", REFUSED_LID },
	{ 0xbf, "Changed Zone list (passthrough: as the drive has it)", REFUSED_LID },
};

#define KEPT "admin:features_that_were_set_are_read_back"

static const struct row fid_rows[] = {
	{ 0x01, "Arbitration", KEPT },
	{ 0x02, "Power Management", KEPT },
	{ 0x03, "LBA Range Type", REFUSED_FID },
	{ 0x04, "Temperature Threshold", "admin:temperature_beyond_its_threshold_is_told" },
	{ 0x05, "Error Recovery", KEPT },
	{ 0x06, "Volatile Write Cache", KEPT },
	{ 0x07, "Number of Queues", "reload:queues_of_a_controller_are_limited" },
	{ 0x08, "Interrupt Coalescing", REFUSED_FID },
	{ 0x09, "Interrupt Vector Configuration", REFUSED_FID },
	{ 0x0a, "Write Atomicity Normal", KEPT },
	{ 0x0b, "Asynchronous Event Configuration",
	  "admin:events_are_told_once_until_their_page_is_read" },
	{ 0x0c, "Autonomous Power State Transition", REFUSED_FID },
	{ 0x0d, "Host Memory Buffer", REFUSED_FID },
	{ 0x0e, "Timestamp", "admin:timestamp_counts_on_from_what_was_set" },
	{ 0x0f, "Keep Alive Timer", KEPT },
	{ 0x10, "Host Controlled Thermal Management", REFUSED_FID },
	{ 0x11, "Non-Operational Power State Config", REFUSED_FID },
	{ 0x12, "Read Recovery Level Config", REFUSED_FID },
	{ 0x13, "Predictable Latency Mode Config", REFUSED_FID },
	{ 0x14, "Predictable Latency Mode Window", REFUSED_FID },
	{ 0x15, "LBA Status Information Attributes", REFUSED_FID },
	{ 0x16, "Host Behavior Support", "admin:host_behavior_takes_what_we_have" },
	{ 0x17, "Sanitize Config", REFUSED_FID },
	{ 0x18, "Endurance Group Event Configuration", REFUSED_FID },
	{ 0x19, "I/O Command Set Profile", KEPT },
	{ 0x1a, "Spinup Control", REFUSED_FID },
	{ 0x1b, "Power Loss Signaling Config", REFUSED_FID },
	{ 0x1d, "Flexible Data Placement", REFUSED_FID },
	{ 0x1e, "Flexible Data Placement Events", REFUSED_FID },
	{ 0x1f, "Namespace Admin Label", REFUSED_FID },
	{ 0x78, "Embedded Management Controller Address", REFUSED_FID },
	{ 0x7d, "Enhanced Controller Metadata", REFUSED_FID },
	{ 0x7e, "Controller Metadata", REFUSED_FID },
	{ 0x7f, "Namespace Metadata", REFUSED_FID },
	{ 0x80, "Software Progress Marker", REFUSED_FID },
	{ 0x81, "Host Identifier", "admin:host_identifier_is_that_of_connect" },
	{ 0x82, "Reservation Notification Mask", "resv_commands:notifications_are_masked_by_type" },
	{ 0x83, "Reservation Persistence", "resv_commands:reservations_persist_if_they_shall" },
	{ 0x84, "Namespace Write Protection Config",
	  "admin:write_protected_namespace_is_not_written" },
	{ 0x85, "Boot Partition Write Protection Config", REFUSED_FID },
};

#define STATUS(id, test)                                                                           \
	{                                                                                          \
		id, #id, test                                                                      \
	}

static const struct row status_rows[] = {
	STATUS(NVME_OK, "io:form_has_its_status"),
	STATUS(NVME_INVALID_OPCODE, REFUSED_IO),
	STATUS(NVME_INVALID_FIELD, "admin:features_have_their_status"),
	STATUS(NVME_INTERNAL_ERROR, "auth:computing_may_fail"),
	STATUS(NVME_ABORT_REQUESTED, "admin:abort_ends_what_waits_in_the_transport"),
	STATUS(NVME_ABORTED_SQ_DELETION, "io:half_pair_ends_with_its_queue"),
	STATUS(NVME_ABORTED_FAILED_FUSED, "io:two_commands_are_a_pair_or_not"),
	STATUS(NVME_ABORTED_MISSING_FUSED, "io:two_commands_are_a_pair_or_not"),
	STATUS(NVME_INVALID_NS, "io:form_has_its_status"),
	STATUS(NVME_COMMAND_SEQUENCE, "target:second_connect_is_a_sequence_error"),
	STATUS(NVME_SGL_SEGMENT_INVALID, "sgl:decode"),
	STATUS(NVME_SGL_COUNT_INVALID, "sgl:decode"),
	STATUS(NVME_SGL_DATA_LENGTH_INVALID, "sgl:decode"),
	STATUS(NVME_SGL_TYPE_INVALID, "sgl:decode"),
	STATUS(NVME_ATOMIC_WRITE_UNIT_EXCEEDED, "host/cases_nvm.c"),
	STATUS(NVME_SGL_OFFSET_INVALID, "sgl:decode"),
	STATUS(NVME_HOST_ID_INCONSISTENT_FORMAT,
	       "resv_commands:report_has_the_length_that_was_asked_for"),
	STATUS(NVME_KATO_INVALID, "host/cases_state.c"),
	STATUS(NVME_SGL_GRANULARITY, "host/cases_list.c"),
	STATUS(NVME_NS_WRITE_PROTECTED, "admin:write_protected_namespace_is_not_written"),
	STATUS(NVME_HOST_ID_NOT_INITIALIZED,
	       "resv_commands:a_host_without_an_identifier_cannot_reserve"),
	STATUS(NVME_IO_SET_COMBINATION, "admin:features_have_their_status"),
	STATUS(NVME_LBA_OUT_OF_RANGE, "io:form_has_its_status"),
	STATUS(NVME_CAPACITY_EXCEEDED, "ana:error_of_a_device_that_goes_is_the_paths"),
	STATUS(NVME_NS_NOT_READY, "e2e/loss"),
	STATUS(NVME_RESERVATION_CONFLICT, "resv_commands:every_opcode_conflicts_or_not"),
	STATUS(NVME_ABORT_LIMIT, "admin:too_many_aborts_are_refused"),
	STATUS(NVME_AER_LIMIT, "admin:async_events_are_parked_and_answered_at_the_end"),
	STATUS(NVME_INVALID_LOG_PAGE, REFUSED_LID),
	STATUS(NVME_FEATURE_NOT_SAVEABLE, "admin:features_have_their_status"),
	STATUS(NVME_FEATURE_NOT_CHANGEABLE, "admin:features_have_their_status"),
	STATUS(NVME_FEATURE_NOT_NS_SPECIFIC, "admin:features_have_their_status"),
	STATUS(NVME_CONNECT_FORMAT, "target:connect_refuses_what_is_wrong"),
	STATUS(NVME_CONNECT_BUSY, "reload:controller_ids_follow_the_model"),
	STATUS(NVME_CONNECT_INVALID_PARAM, "target:connect_refuses_what_is_wrong"),
	STATUS(NVME_CMD_SIZE_LIMIT_EXCEEDED, "io:copy_has_its_status"),
	STATUS(NVME_CONNECT_INVALID_HOST, "target:connect_refuses_what_is_wrong"),
	STATUS(NVME_INVALID_QUEUE_TYPE, "target:disconnect_ends_one_io_queue"),
	STATUS(NVME_AUTH_REQUIRED, "auth:nothing_else_before"),
	STATUS(NVME_WRITE_FAULT, "ana:error_of_a_device_that_goes_is_the_paths"),
	STATUS(NVME_READ_ERROR, "ana:error_of_a_device_that_goes_is_the_paths"),
	STATUS(NVME_COMPARE_FAILURE, "io:two_commands_are_a_pair_or_not"),
	STATUS(NVME_ACCESS_DENIED, "ana:error_of_a_device_that_goes_is_the_paths"),
	STATUS(NVME_PATH_PERSISTENT_LOSS, "ana:states_decide_what_commands_are_answered"),
	STATUS(NVME_PATH_INACCESSIBLE, "ana:states_decide_what_commands_are_answered"),
	STATUS(NVME_PATH_TRANSITION, "ana:states_decide_what_commands_are_answered"),
	STATUS(NVME_MORE, "admin:failed_admin_commands_are_in_the_error_log"),
	STATUS(NVME_DNR, "io:form_has_its_status"),
};

/* ---- asking the dispatch ------------------------------------------------------------------------
 */

static struct nvmf_queue *admin, *discovery, *io;

static const char *fabrics_name(uint8_t code)
{
	return fabrics_commands[code].name;
}

static const char *admin_name(uint8_t code)
{
	return code == OP_FABRICS ? "fabrics" : admin_commands[code].name;
}

static const char *io_name(uint8_t code)
{
	return code == OP_FABRICS ? "fabrics" : io_commands[code].name;
}

static const char *cns_name(uint8_t code)
{
	return identify_forms[code].name;
}

static uint16_t ask(struct nvmf_queue *q, uint8_t opcode, uint32_t cdw10)
{
	struct exchange x = { .sqe = { .opcode = opcode, .cdw10 = put32(cdw10) } };

	x.sqe.nsid = put32(opcode == 0x02 ? 0 : 1);
	return run(q, &x);
}

static uint16_t ask_fabrics(uint8_t code)
{
	struct exchange x = { .sqe = { .opcode = OP_FABRICS, .fctype = code } };

	return run(admin, &x);
}

static uint16_t ask_admin(uint8_t code)
{
	return ask(admin, code, 0);
}

static uint16_t ask_io(uint8_t code)
{
	return ask(io, code, 0);
}

static uint16_t ask_cns(uint8_t code)
{
	return ask(admin, 0x06, code);
}

static uint16_t ask_lid(uint8_t code)
{
	return ask(admin, 0x02, code | 127u << 16);
}

static uint16_t ask_fid(uint8_t code)
{
	return ask(admin, 0x0a, code);
}

static const struct chapter {
	const char *title;
	const struct row *rows;
	size_t nrows;
	const char *(*name)(uint8_t code);
	uint16_t (*ask)(uint8_t code); /* of a code that has no name */
} chapters[] = {
	{ "Fabrics commands", fabrics_rows, COUNT(fabrics_rows), fabrics_name, ask_fabrics },
	{ "Admin commands", admin_rows, COUNT(admin_rows), admin_name, ask_admin },
	{ "I/O commands", io_rows, COUNT(io_rows), io_name, ask_io },
	{ "Identify, by CNS", cns_rows, COUNT(cns_rows), cns_name, ask_cns },
	{ "Log pages", lid_rows, COUNT(lid_rows), log_page_name, ask_lid },
	{ "Features", fid_rows, COUNT(fid_rows), feature_name, ask_fid },
};

/* ---- the page -----------------------------------------------------------------------------------
 */

static const char *status_name(uint16_t status)
{
	for (size_t i = 0; i < COUNT(status_rows); i++)
		if (status_rows[i].code == (status & 0x7ff))
			return status_rows[i].name;
	return "?";
}

static const struct row *find_row(const struct chapter *c, unsigned int code)
{
	for (size_t i = 0; i < c->nrows; i++)
		if (c->rows[i].code == code)
			return &c->rows[i];
	return NULL;
}

static void print_test(const char *test, FILE *out)
{
	size_t n = strcspn(test, ":");
	bool unit = !memchr(test, '/', n);

	fprintf(out, "`tests/%s%.*s%s`%s%s", unit ? "unit/test_" : "", (int)n, test,
		unit ? ".c" : "", test[n] ? " " : "", test[n] ? test + n + 1 : "");
}

static void print_row(const struct chapter *c, const struct row *row, FILE *out)
{
	uint8_t code = (uint8_t)row->code;

	fprintf(out, "| %02Xh | %s | ", code, row->name);
	if (c->name(code)) {
		fputs("yes | ", out);
	} else {
		uint16_t status = c->ask(code);

		fprintf(out, "refused: %s, %03Xh | ", status_name(status), status & 0x7ff);
	}
	print_test(row->test, out);
	fputs(" |\n", out);
}

/* Every other code: what is it answered with? They must all agree, or the page cannot say it. */
static void print_rest(const struct chapter *c, FILE *out)
{
	int status = -1;

	for (unsigned int code = 0; code < 256; code++) {
		uint16_t answer;

		if (find_row(c, code) || c->name((uint8_t)code))
			continue;
		answer = c->ask((uint8_t)code);
		ck_assert_msg(status < 0 || answer == status, "%s: %02Xh is answered with %03X",
			      c->title, code, answer);
		status = answer;
	}
	fprintf(out, "\nEvery other code is refused: %s, %03Xh.\n", status_name((uint16_t)status),
		(unsigned int)status & 0x7ff);
}

static void print_chapter(const struct chapter *c, FILE *out)
{
	fprintf(out, "\n## %s\n\n| code | | there | shown by |\n| --- | --- | --- | --- |\n",
		c->title);
	for (size_t i = 0; i < c->nrows; i++)
		print_row(c, &c->rows[i], out);
	print_rest(c, out);
}

static void print_page(FILE *out)
{
	fputs("# Conformance\n\n"
	      "What of NVMe (Base 2.1, NVM Command Set 1.1) hosts find here, and the test that shows it.\n"
	      "Made by `build/out/tests/unit/test_conformance --write` from the dispatch tables and from the\n"
	      "answers of the dispatch; the same program fails in `tests/check` when this page is not what they\n"
	      "say. A subsystem that is passed through has its drive's commands, pages and features besides:\n"
	      "`docs/architecture.md`.\n",
	      out);
	for (size_t i = 0; i < COUNT(chapters); i++)
		print_chapter(&chapters[i], out);
	fputs("\n## Statuses\n\n| status | | shown by |\n| --- | --- | --- |\n", out);
	for (size_t i = 0; i < COUNT(status_rows); i++) {
		fprintf(out, "| %03Xh | %s | ", status_rows[i].code, status_rows[i].name);
		print_test(status_rows[i].test, out);
		fputs(" |\n", out);
	}
}

static void open_queues(void)
{
	uint16_t cntlid;

	setup();
	admin = open_enabled(&cntlid);
	io = open_io(cntlid);
	discovery = open_discovery(HOSTNQN);
}

static void close_queues(void)
{
	drop_queue(discovery);
	drop_queue(io);
	drop_queue(admin);
	teardown();
}

static char *read_file(const char *name)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	char *text;

	ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", name, strerror(errno));
	text = calloc(1, (size_t)st.st_size + 1);
	ck_assert_int_eq(read(fd, text, (size_t)st.st_size), st.st_size);
	close(fd);
	return text;
}

static bool writing;

START_TEST(page_is_what_the_tables_say)
{
	char *want = NULL, *got;
	size_t len;
	FILE *out = writing ? fopen(PAGE, "w") : open_memstream(&want, &len);

	print_page(out);
	fclose(out);
	if (writing)
		return;
	got = read_file(PAGE);
	ck_assert_msg(strcmp(want, got) == 0,
		      PAGE " is out of date: build/out/tests/unit/test_conformance --write");
	free(want);
	free(got);
}
END_TEST

/* ---- is there a row for everything, and a test for every row? ---------------------------------
 */

START_TEST(everything_in_a_table_has_a_row)
{
	for (size_t i = 0; i < COUNT(chapters); i++)
		for (unsigned int code = 0; code < 256; code++)
			ck_assert_msg(!chapters[i].name((uint8_t)code) ||
					      find_row(&chapters[i], code) || code == OP_FABRICS,
				      "%s: %02Xh has no row", chapters[i].title, code);
}
END_TEST

START_TEST(every_status_of_the_wire_has_a_row)
{
	char *wire = read_file("target/nvme_wire.h"), *at = strstr(wire, "enum nvme_status {");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(at);
	while ((at = strstr(at, "\tNVME_"))) {
		size_t len = strcspn(++at, " ="), i = 0;

		while (i < COUNT(status_rows) && (strlen(status_rows[i].name) != len ||
						  strncmp(status_rows[i].name, at, len) != 0))
			i++;
		ck_assert_msg(i < COUNT(status_rows), "%.*s has no row", (int)len, at);
		n++;
	}
	ck_assert_uint_eq(n, COUNT(status_rows));
	free(wire);
}
END_TEST

static void test_exists(const char *test)
{
	size_t n = strcspn(test, ":");
	char name[256], *text;

	if (memchr(test, '/', n))
		snprintf(name, sizeof(name), "tests/%.*s", (int)n, test);
	else
		snprintf(name, sizeof(name), "tests/unit/test_%.*s.c", (int)n, test);
	text = read_file(name);
	if (test[n]) {
		snprintf(name, sizeof(name), "START_TEST(%s)", test + n + 1);
		ck_assert_msg(strstr(text, name), "%s: there is no such test", test);
	}
	free(text);
}

START_TEST(tests_that_rows_name_exist)
{
	for (size_t i = 0; i < COUNT(chapters); i++)
		for (size_t r = 0; r < chapters[i].nrows; r++)
			test_exists(chapters[i].rows[r].test);
	for (size_t i = 0; i < COUNT(status_rows); i++)
		test_exists(status_rows[i].test);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("conformance");
	TCase *tc = tcase_create("page");

	writing = argc == 2 && strcmp(argv[1], "--write") == 0;
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, open_queues, close_queues);
	tcase_add_test(tc, page_is_what_the_tables_say);
	suite_add_tcase(s, tc);
	tc = tcase_create("rows");
	tcase_add_test(tc, everything_in_a_table_has_a_row);
	tcase_add_test(tc, every_status_of_the_wire_has_a_row);
	tcase_add_test(tc, tests_that_rows_name_exist);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
