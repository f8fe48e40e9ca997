/*
 * What a capsule says of its data, and the private data of a connection request: any bytes. What is
 * decoded must lie in bounds: pieces in the payload, in order, without overlap; data in the capsule
 * within what was received and allowed.
 */
#include "transport/rdma.h"
#include "transport/sgl.h"

#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void check_pieces(const struct sgl_source *s, const struct sgl_piece *pieces,
			 const struct sgl *got)
{
	uint32_t end = 0;

	must(got->npieces <= SGL_DATA_BLOCKS_MAX);
	for (unsigned int i = 0; i < got->npieces; i++) {
		must(pieces[i].len && pieces[i].offset >= end);
		must(pieces[i].len <= s->len && pieces[i].offset <= s->len - pieces[i].len);
		end = pieces[i].offset + pieces[i].len;
	}
	if (s->dir == DATA_H2C && !got->in_capsule)
		must(end == s->len); /* all of a write comes from somewhere */
	if (got->in_capsule)
		must(s->len <= s->in_capsule_max && got->in_capsule_offset <= s->capsule_len &&
		     s->len <= s->capsule_len - got->in_capsule_offset);
}

static void decode(struct fuzz_input *in)
{
	union nvme_sgl sgl1;
	struct sgl_source s = { .sgl1 = &sgl1 };
	struct sgl_piece *pieces;
	struct sgl got = { 0 };
	uint8_t *capsule;
	uint8_t how = fuzz_byte(in);

	s.dir = how & 1 ? DATA_H2C : DATA_C2H;
	s.excess_ok = how & 2;
	s.len = (fuzz_u32(in) & 0x3fffff) + 1;
	s.in_capsule_max = how & 4 ? 16384 : fuzz_byte(in) * 64u;
	fuzz_bytes(in, &sgl1, sizeof(sgl1));
	/* memory of their own size, so that reading beyond is seen */
	s.capsule_len = (uint32_t)in->left;
	capsule = malloc(in->left ? in->left : 1);
	fuzz_bytes(in, capsule, in->left);
	s.capsule = how & 8 ? NULL : capsule;
	if (!s.capsule)
		s.capsule_len = 0;
	pieces = calloc(sgl_is_list(&sgl1) ? SGL_DATA_BLOCKS_MAX : 1, sizeof(*pieces));
	if (sgl_decode(&s, pieces, &got) == NVME_OK)
		check_pieces(&s, pieces, &got);
	free(pieces);
	free(capsule);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input in = { bytes, size };
	struct nvme_rdma_cm_request request;
	uint8_t how = fuzz_byte(&in);

	if (how & 1)
		decode(&in);
	else
		(void)cm_parse_request(in.left ? in.at : NULL, in.left, &request);
	return 0;
}
