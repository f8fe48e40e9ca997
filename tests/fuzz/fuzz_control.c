/*
 * Requests to the control socket, a line each: any bytes. Each is answered by one line of JSON that
 * says whether it was done; what is not understood is refused, and the daemon goes on.
 */
#include "tests/fuzz/asserts.h"
#include "tests/fuzz/fuzz.h"
/* some of it is not used here */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/unit/control_fixture.h"

#include "target/daemon/verbs.h"

static void check_answer(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *answer, *ok;

	if (!text || !len || text[len - 1] != '\n' || memchr(text, '\n', len) != text + len - 1)
		abort();
	answer = json_tokener_parse_ex(tokener, text, (int)len);
	json_tokener_free(tokener);
	if (!answer || !json_object_object_get_ex(answer, "ok", &ok) ||
	    !json_object_is_type(ok, json_type_boolean))
		abort();
	json_object_put(answer);
}

static struct nvmf_queue *admin, *io;

/* There is a host to tell of. An order may end its connections; then it comes back. */
static void keep_connected(void)
{
	uint16_t cntlid;

	if (io && io->state == QUEUE_LIVE && admin->state == QUEUE_LIVE)
		return;
	if (io) {
		drop_queue(io);
		drop_queue(admin);
	}
	admin = open_enabled(&cntlid);
	io = open_io(cntlid);
	queues[0] = io;
	queues[1] = admin;
}

/* A namespace could be made of any file of this machine: that order is only read. */
static int obey(struct control_call *call)
{
	return call->verb == &verbs[VERB_ADD_NAMESPACE] ? 0 : control_run(call);
}

static void request(const char *line, size_t len, bool may_change)
{
	struct control_call *call = calloc(1, sizeof(*call));
	char *text;
	size_t n;
	int err;

	call->daemon = &d;
	call->may_change = may_change;
	err = control_parse(call, line, len);
	if (!err)
		err = obey(call);
	turn();
	if (err == CONTROL_LATER) /* it is done by now, and nobody was there to be told */
		return;
	text = control_answer(call, err, &n);
	check_answer(text, n);
	free(text);
	control_call_free(call);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *line = (const char *)bytes;
	static bool ready;

	if (!ready)
		control_setup();
	ready = true;
	keep_connected();
	while (size > 1) {
		const char *end = memchr(line, '\n', size);
		size_t len = end ? (size_t)(end - line) : size;
		char *exact = malloc(len + 1); /* its own, so that reading beyond is seen */

		memcpy(exact, line, len);
		exact[len] = '\0';
		request(exact, len, len % 2);
		free(exact);
		len += end ? 1 : 0;
		line += len;
		size -= len;
	}
	return 0;
}
