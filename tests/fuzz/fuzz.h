/*
 * fuzz: what every fuzz target shares. A target is one file, fuzz_NAME.c, with
 * LLVMFuzzerTestOneInput(); it links with libFuzzer (`make fuzz`) or with replay.c, which runs it
 * over the files it is given. An input is a stream of small numbers, so that whatever bytes it has,
 * it means something.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/** fuzz_byte() - the next, 0 at the end. */
static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

/** fuzz_bytes() - as many as there are, then zeros. */
static inline void fuzz_bytes(struct fuzz_input *in, void *to, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memcpy(to, in->at, n);
	memset((uint8_t *)to + n, 0, len - n);
	in->at += n;
	in->left -= n;
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

#endif
