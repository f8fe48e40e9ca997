/* The form of a block, and what may be wrong with one. */
#include "tests/stamp/block.h"

#include <assert.h>
#include <endian.h>
#include <string.h>
#include <zlib.h>

struct header {
	char magic[8];
	char host[STAMP_HOST_MAX + 1]; /* filled up with zeros */
	uint64_t seed, lba, generation;
	uint32_t nsid;
	uint32_t crc; /* of the whole block, with 0 here */
};
static_assert(sizeof(struct header) == 64 && STAMP_BLOCK_MAX % sizeof(struct header) == 0, "");

static const char magic[8] = "p2pstamp";

/* splitmix64 by S. Vigna (public domain): every word differs when one bit of the stamp does. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t body_seed(const struct header *h)
{
	uint64_t x = mix(le64toh(h->seed)) ^ le64toh(h->lba);

	x = mix(x) ^ le64toh(h->generation);
	return mix(x) ^ le32toh(h->nsid) ^ crc32(0, (const void *)h->host, sizeof(h->host));
}

static uint64_t body_word(uint64_t seed, size_t offset)
{
	return htole64(mix(seed + offset * UINT64_C(0x9e3779b97f4a7c15)));
}

static uint32_t crc_of(const struct header *h, const uint8_t *block, uint32_t block_len)
{
	struct header without = *h;
	uint32_t crc;

	without.crc = 0;
	crc = (uint32_t)crc32(0, (const void *)&without, sizeof(without));
	return (uint32_t)crc32(crc, block + sizeof(*h), block_len - (uint32_t)sizeof(*h));
}

void stamp_make(const struct stamp_run *run, uint64_t lba, uint64_t generation, uint8_t *block)
{
	struct header h = { .seed = htole64(run->seed),
			    .lba = htole64(lba),
			    .generation = htole64(generation),
			    .nsid = htole32(run->nsid) };
	uint64_t seed;

	memcpy(h.magic, magic, sizeof(magic));
	memcpy(h.host, run->host, strlen(run->host));
	seed = body_seed(&h);
	for (size_t at = sizeof(h); at < run->block_len; at += sizeof(uint64_t)) {
		uint64_t word = body_word(seed, at);

		memcpy(block + at, &word, sizeof(word));
	}
	h.crc = htole32(crc_of(&h, block, run->block_len));
	memcpy(block, &h, sizeof(h));
}

size_t stamp_torn_at(uint32_t block_len, const uint8_t *block)
{
	struct header h;
	uint64_t seed;

	memcpy(&h, block, sizeof(h));
	seed = body_seed(&h);
	for (size_t at = sizeof(h); at < block_len; at += sizeof(uint64_t)) {
		uint64_t word = body_word(seed, at);

		if (memcmp(block + at, &word, sizeof(word)) != 0)
			return at;
	}
	return 0; /* the body fits the stamp: it is the CRC that does not */
}

enum stamp_verdict stamp_look(const struct stamp_run *run, uint64_t lba, uint64_t oldest,
			      uint64_t newest, const uint8_t *block, struct stamp *ret)
{
	struct header h;

	memcpy(&h, block, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)) != 0)
		return STAMP_NONE;
	*ret = (struct stamp){ .seed = le64toh(h.seed),
			       .lba = le64toh(h.lba),
			       .generation = le64toh(h.generation),
			       .nsid = le32toh(h.nsid) };
	memcpy(ret->host, h.host, STAMP_HOST_MAX);
	if (le32toh(h.crc) != crc_of(&h, block, run->block_len))
		return STAMP_TORN;
	if (strcmp(ret->host, run->host) != 0 || ret->seed != run->seed)
		return STAMP_FOREIGN;
	if (ret->nsid != run->nsid || ret->lba != lba)
		return STAMP_MISPLACED;
	if (ret->generation > newest)
		return STAMP_UNWRITTEN;
	return ret->generation < oldest ? STAMP_STALE : STAMP_GOOD;
}

const char *stamp_verdict_name(enum stamp_verdict v)
{
	static const char *const names[STAMP_VERDICTS] = {
		[STAMP_GOOD] = "good",           [STAMP_STALE] = "stale",
		[STAMP_UNWRITTEN] = "unwritten", [STAMP_MISPLACED] = "misplaced",
		[STAMP_FOREIGN] = "foreign",     [STAMP_TORN] = "torn",
		[STAMP_NONE] = "no stamp",
	};

	return names[v];
}
