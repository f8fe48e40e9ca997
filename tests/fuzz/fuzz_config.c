/* Any bytes as a configuration file. What is taken prints as a file that is taken, and the same. */
#include "config/check.h"
#include "config/config.h"
#include "config/parse.h"

#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

/* libconfig 1.5 leaks what it has read when it meets a syntax error. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static struct config *load(const char *text, size_t len)
{
	struct config *c = config_new();
	struct config_diag diag;

	if (!c)
		abort();
	if (parse_text(c, "file", text, len, true, &diag) == 0 &&
	    check_model(c, "file", &diag) == 0)
		return c;
	config_free(c);
	return NULL;
}

static char *print(const struct config *c, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);

	if (!f)
		abort();
	config_print(c, f, true);
	fclose(f);
	return text;
}

/* What is equal is no change; in brief it is the same model. */
static void check_change(const struct config *c, const struct config *same)
{
	struct config_diag diag;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct config *brief;

	if (!f || config_check_change(c, same, "file", &diag))
		abort();
	config_print_brief(c, f, true);
	fclose(f);
	brief = load(text, len);
	if (!brief || config_check_change(c, brief, "file", &diag))
		abort();
	config_free(brief);
	free(text);
}

static void check_print(const struct config *c)
{
	size_t len, again_len;
	char *text = print(c, &len), *again;
	struct config *d = load(text, len);

	if (!d)
		abort();
	again = print(d, &again_len);
	if (strcmp(text, again) != 0)
		abort();
	check_change(c, d);
	config_free(d);
	free(text);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 2);
	struct config *c;

	if (!text)
		abort();
	memcpy(text, data, size);
	memcpy(text + size, "\n", 2); /* as config_load() has it */
	c = load(text, size + 1);
	if (c)
		check_print(c);
	config_free(c);
	free(text);
	return 0;
}
