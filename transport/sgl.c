#include "transport/sgl.h"

#include <string.h>

/* What has been decoded so far. */
struct decoder {
	const struct sgl_source *s;
	struct sgl_piece *pieces;
	struct sgl *sgl;
	unsigned int nblocks; /* data blocks, those of length 0 too */
	unsigned int nread;   /* descriptors out of the capsule */
	uint32_t at;          /* bytes of payload described */
};

static uint32_t keyed_len(const union nvme_sgl *d)
{
	return d->keyed.len[0] | (uint32_t)d->keyed.len[1] << 8 | (uint32_t)d->keyed.len[2] << 16;
}

static uint32_t keyed_key(const union nvme_sgl *d)
{
	return d->keyed.key[0] | (uint32_t)d->keyed.key[1] << 8 | (uint32_t)d->keyed.key[2] << 16 |
	       (uint32_t)d->keyed.key[3] << 24;
}

/* How many of a descriptor's bytes count. */
static uint32_t used(const struct decoder *k, uint32_t len)
{
	uint32_t left = k->s->len - k->at;

	return k->s->excess_ok && len > left ? left : len;
}

static uint16_t advance(struct decoder *k, uint32_t len)
{
	if (len > k->s->len - k->at)
		return NVME_SGL_DATA_LENGTH_INVALID | NVME_DNR;
	k->at += len;
	return NVME_OK;
}

static uint16_t keyed_block(struct decoder *k, const union nvme_sgl *d)
{
	uint32_t len = used(k, keyed_len(d)), offset = k->at;

	if (++k->nblocks > SGL_DATA_BLOCKS_MAX)
		return NVME_SGL_COUNT_INVALID | NVME_DNR;
	if ((d->keyed.type & 0xf) == SGL_SUB_INVALIDATE) {
		k->sgl->invalidate = true;
		k->sgl->invalidate_key = keyed_key(d);
	}
	if (len == 0) /* allowed, and nothing is there to move: Base 2.1, 4.3.2 */
		return NVME_OK;
	k->pieces[k->sgl->npieces++] = (struct sgl_piece){
		.addr = get64(d->keyed.addr), .key = keyed_key(d), .offset = offset, .len = len
	};
	return advance(k, len);
}

/* Of a read that many bytes are thrown away; in a write it has no meaning, whatever its length. */
static uint16_t bit_bucket(struct decoder *k, const union nvme_sgl *d)
{
	return k->s->dir == DATA_C2H ? advance(k, get32(d->data.len)) : NVME_OK;
}

/* The offset counts from the end of the SQE: ICDOFF is 0. */
static uint16_t in_capsule(struct decoder *k, const union nvme_sgl *d)
{
	uint64_t offset = get64(d->data.addr);
	uint32_t len = get32(d->data.len);

	if (k->s->dir != DATA_H2C)
		return NVME_INVALID_FIELD | NVME_DNR;
	if (len > k->s->in_capsule_max || len > k->s->capsule_len ||
	    offset > k->s->capsule_len - len)
		return NVME_SGL_OFFSET_INVALID | NVME_DNR;
	k->sgl->in_capsule = true;
	k->sgl->in_capsule_offset = (uint32_t)offset;
	return advance(k, used(k, len));
}

static uint16_t one_block(struct decoder *k, const union nvme_sgl *d)
{
	switch (d->data.type) {
	case SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_ADDRESS:
	case SGL_KEYED_DATA_BLOCK << 4 | SGL_SUB_INVALIDATE:
		return keyed_block(k, d);
	case SGL_BIT_BUCKET << 4 | SGL_SUB_ADDRESS:
		return bit_bucket(k, d);
	default:
		return NVME_SGL_TYPE_INVALID | NVME_DNR;
	}
}

/* Where a segment lies. Its length and alignment are its descriptor's, its place the capsule's. */
static uint16_t find_segment(struct decoder *k, const union nvme_sgl *d, uint32_t *ret_offset,
			     uint32_t *ret_n)
{
	uint64_t offset = get64(d->data.addr);
	uint32_t len = get32(d->data.len);

	if ((d->data.type & 0xf) != SGL_SUB_OFFSET)
		return NVME_SGL_TYPE_INVALID | NVME_DNR;
	if (len == 0 || len % sizeof(*d) || offset % 8)
		return NVME_SGL_SEGMENT_INVALID | NVME_DNR;
	if (len > k->s->capsule_len || offset > k->s->capsule_len - len)
		return NVME_SGL_OFFSET_INVALID | NVME_DNR;
	*ret_offset = (uint32_t)offset;
	*ret_n = len / (uint32_t)sizeof(*d);
	/* segments that share nothing are no larger together than the capsule: so a chain ends */
	k->nread += *ret_n;
	return k->nread > k->s->capsule_len / sizeof(*d) ? NVME_SGL_COUNT_INVALID | NVME_DNR
							 : NVME_OK;
}

/* One segment in the capsule. *@next is its descriptor, and becomes that of the segment after it,
 * if there is one. */
static uint16_t segment(struct decoder *k, union nvme_sgl *next, bool *ret_more)
{
	bool last = next->data.type >> 4 == SGL_LAST_SEGMENT;
	uint32_t offset = 0, n = 0;
	uint16_t status = find_segment(k, next, &offset, &n);

	*ret_more = false;
	for (uint32_t i = 0; i < n && !status; i++) {
		union nvme_sgl d;

		memcpy(&d, k->s->capsule + offset + i * sizeof(d), sizeof(d));
		if (!sgl_is_list(&d)) {
			status = one_block(k, &d);
			continue;
		}
		if (last)
			return NVME_SGL_SEGMENT_INVALID | NVME_DNR;
		if (i + 1 < n)
			return NVME_SGL_COUNT_INVALID | NVME_DNR;
		*next = d;
		*ret_more = true;
	}
	/* one that is not the last ends with the descriptor of the next */
	return status || last || *ret_more ? status : NVME_SGL_SEGMENT_INVALID | NVME_DNR;
}

static uint16_t list(struct decoder *k)
{
	union nvme_sgl next = *k->s->sgl1;
	uint16_t status;
	bool more;

	do
		status = segment(k, &next, &more);
	while (!status && more);
	return status;
}

uint16_t sgl_decode(const struct sgl_source *s, struct sgl_piece *pieces, struct sgl *ret)
{
	struct decoder k = { .s = s, .pieces = pieces, .sgl = ret };
	uint16_t status;

	*ret = (struct sgl){ 0 };
	if (s->sgl1->data.type == (SGL_DATA_BLOCK << 4 | SGL_SUB_OFFSET))
		status = in_capsule(&k, s->sgl1);
	else
		status = sgl_is_list(s->sgl1) ? list(&k) : one_block(&k, s->sgl1);
	if (!status && k.at != s->len)
		status = NVME_SGL_DATA_LENGTH_INVALID | NVME_DNR;
	return status;
}
