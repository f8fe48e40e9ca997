/* What the administrator is told reaches the journal or, where that takes nothing, standard error.
 */
#include "tests/fuzz/asserts.h"

#include "tests/fault/inject.h"
#include "tests/fault/scenarios.h"

#include "target/log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static unsigned int njournal; /* entries that the journal took */
static int real_stderr = -1;

int sd_journal_sendv(const struct iovec *field, int n);
int sd_journal_sendv(const struct iovec *field, int n)
{
	ck_assert(n >= 3 && field[0].iov_len > 0);
	njournal++;
	return 0;
}

/* Standard error is a file, of which the environment says that it is the journal. */
void journal_prepare(void)
{
	char path[] = "/var/tmp/nvmf-p2pd-test-XXXXXX", stream[64];
	int fd = mkstemp(path);
	struct stat st;

	ck_assert_int_ge(fd, 0);
	unlink(path);
	fflush(stderr);
	real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	close(fd);
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	njournal = 0;
}

void journal_finish(void)
{
	unsetenv("JOURNAL_STREAM");
	ck_assert_int_ge(dup2(real_stderr, STDERR_FILENO), 0);
	close(real_stderr);
	log_init(LOG_LEVEL_ERROR);
}

static unsigned int nlines(void)
{
	static char text[65536];
	ssize_t len = pread(STDERR_FILENO, text, sizeof(text), 0);
	unsigned int n = 0;

	for (ssize_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n;
}

static void say_all(void)
{
	const struct log_fields *f = LOG_FIELDS(.nqn = "nqn.a", .nsid = 1, .device = "/dev/x");
	unsigned int before;
	bool lost;

	fault_pause(true);
	before = njournal + nlines();
	fault_pause(false);
	for (int i = 0; i < JOURNAL_NEVENTS; i++)
		log_event((enum journal_event)i, i % 2 ? f : NULL, "event %d", i);
	log_error("an error");
	fault_pause(true);
	lost = njournal + nlines() != before + JOURNAL_NEVENTS + 1;
	/* lost only where standard error took it neither */
	if (lost && strcmp(fault_name(), "write") != 0)
		journal_finish(); /* so that it can be read what failed */
	ck_assert(!lost || strcmp(fault_name(), "write") == 0);
	fault_pause(false);
}

void journal_faulty(void)
{
	log_init(LOG_LEVEL_INFO);
	say_all();
	log_peers_trim();
}

void journal_verify(void)
{
	unsigned int before;

	log_init(LOG_LEVEL_INFO);
	before = njournal;
	log_error("the last");
	ck_assert_uint_eq(njournal, before + 1);
}
