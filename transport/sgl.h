/*
 * sgl: what a command's SGL descriptors say. Bytes from the host in, a list of pieces or a status
 * out; pure, no verbs.
 *
 * What NVMe over RDMA has (Base 2.1, 4.3.2 and RDMA Transport 1.1, 2.3):
 *
 *      SQE.SGL1 ---> Keyed SGL Data Block                      all payload, in the host's memory
 *               '--> SGL Data Block, sub type Offset           all payload, in the capsule
 *               '--> SGL Bit Bucket                            of a read: nothing is wanted
 *               '--> SGL (Last) Segment, sub type Offset       descriptors, in the capsule:
 *                       | keyed | keyed | bucket | ... | (Last) Segment --> ...
 *
 * Segments lie in the capsule only. Descriptors need not be aligned to more than Base demands of
 * them (8 bytes), data in the capsule not at all. The sum of all lengths is the command's own
 * length, neither more nor less (SGLS bit 18 is 0), but for Dataset Management: the Linux host
 * always describes 256 ranges.
 */
#ifndef TRANSPORT_SGL_H
#define TRANSPORT_SGL_H

#include "target/target.h"

/* A part of the payload that lies in one place of the host's memory. */
struct sgl_piece {
	uint64_t addr;
	uint32_t key;
	uint32_t offset; /* in the payload */
	uint32_t len;    /* bytes, not 0 */
};

/* What is decoded. */
struct sgl_source {
	const union nvme_sgl *sgl1; /* in the copied SQE */
	const uint8_t *capsule;     /* the bytes behind the SQE; NULL: none */
	uint32_t capsule_len;       /* of them, received */
	uint32_t in_capsule_max;    /* most bytes of data that may be among them */
	uint32_t len;               /* of the payload, not 0 */
	enum data_dir dir;          /* not DATA_NONE */
	bool excess_ok;             /* descriptors of more than len bytes: the rest is not used */
};

struct sgl {
	uint8_t npieces; /* 0: all in the capsule, or a read that is thrown away */
	bool in_capsule; /* from byte in_capsule_offset on */
	bool invalidate; /* the host asks for invalidate_key to be invalidated with the response;
			    of several such requests the last one, as SPDK does: a SEND can
			    invalidate one key, the host looks which */
	uint32_t in_capsule_offset;
	uint32_t invalidate_key;
};

/** sgl_is_list() - does it take more than one piece of memory to decode it? */
static inline bool sgl_is_list(const union nvme_sgl *sgl1)
{
	return sgl1->data.type >> 4 == SGL_SEGMENT || sgl1->data.type >> 4 == SGL_LAST_SEGMENT;
}

/**
 * sgl_decode() - @s to @ret and @pieces, which has room for SGL_DATA_BLOCKS_MAX, or for one if not
 * sgl_is_list(). Pieces come in the order of the payload; what lies in none of them is not wanted.
 * Return: NVME_OK, or the status of the first thing that is wrong.
 */
__attribute__((warn_unused_result)) uint16_t sgl_decode(const struct sgl_source *s,
							struct sgl_piece *pieces, struct sgl *ret);

#endif
