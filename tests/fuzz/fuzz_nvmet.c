/*
 * Any bytes as nvmetcli's JSON. What is taken must be a configuration that config_load() would
 * take, print the same when it is read from that, and go to JSON and come back as it was.
 */
#include "config/check.h"
#include "config/nvmet.h"
#include "config/parse.h"

#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

struct text {
	char *text;
	size_t len;
};

static FILE *open_text(struct text *t)
{
	FILE *f = open_memstream(&t->text, &t->len);

	if (!f)
		abort();
	return f;
}

static struct text print(const struct config *c, void (*how)(const struct config *, FILE *, bool))
{
	struct text t;
	FILE *f = open_text(&t);

	how(c, f, true);
	fclose(f);
	return t;
}

static struct config *import(const char *text, size_t len)
{
	struct config *c = NULL;
	struct config_diag diag;
	struct text notes;
	FILE *f = open_text(&notes);
	int err = nvmet_import("file.json", text, len, f, &c, &diag);

	fclose(f);
	free(notes.text);
	return err ? NULL : c;
}

static struct text export_text(const struct config *c)
{
	struct text t, notes;
	FILE *out = open_text(&t), *f = open_text(&notes);

	if (nvmet_export(c, out, f) < 0)
		abort();
	fclose(out);
	fclose(f);
	free(notes.text);
	return t;
}

static void expect_same(const struct config *a, const struct config *b)
{
	struct text ta = print(a, config_print), tb = print(b, config_print);

	if (strcmp(ta.text, tb.text) != 0)
		abort();
	free(ta.text);
	free(tb.text);
}

static void check_file(const struct config *c)
{
	struct text t = print(c, config_print_brief);
	struct config *d = config_new();
	struct config_diag diag;

	if (!d)
		abort();
	if (parse_text(d, "file", t.text, t.len, true, &diag) < 0 ||
	    check_model(d, "file", &diag) < 0) {
		fprintf(stderr, "%s\n%u: %s; %s\n", t.text, diag.line, diag.what, diag.fix);
		abort();
	}
	expect_same(c, d);
	config_free(d);
	free(t.text);
}

static void check_way_back(const struct config *c)
{
	struct text json = export_text(c);
	struct config *d = import(json.text, json.len);

	if (!d)
		abort();
	expect_same(c, d);
	config_free(d);
	free(json.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct config *c;

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	c = import(text, size);
	if (c) {
		check_file(c);
		check_way_back(c);
	}
	config_free(c);
	free(text);
	return 0;
}
