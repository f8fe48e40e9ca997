/*
 * nvme_wire: NVMe over Fabrics as it lies on the wire, the parts libnvme has no layout for: SQE,
 * SGL descriptors, CQE, the fabrics commands, controller properties and status values. (Identify,
 * log page, discovery and Connect data layouts come from libnvme.)
 *
 * Little-endian fields are one-member structs: a forgotten conversion does not compile.
 * Sources: NVM Express Base 2.1 ("Base"), NVM Command Set 1.1 ("NVM").
 */
#ifndef TARGET_NVME_WIRE_H
#define TARGET_NVME_WIRE_H

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
	uint16_t raw;
} __attribute__((packed)) le16;
typedef struct {
	uint32_t raw;
} __attribute__((packed)) le32;
typedef struct {
	uint64_t raw;
} __attribute__((packed)) le64;

static inline uint16_t get16(le16 v)
{
	return le16toh(v.raw);
}
static inline uint32_t get32(le32 v)
{
	return le32toh(v.raw);
}
static inline uint64_t get64(le64 v)
{
	return le64toh(v.raw);
}
static inline le16 put16(uint16_t v)
{
	return (le16){ htole16(v) };
}
static inline le32 put32(uint32_t v)
{
	return (le32){ htole32(v) };
}
static inline le64 put64(uint64_t v)
{
	return (le64){ htole64(v) };
}

/* ---- SGL descriptors: Base 4.3.2 ------------------------------------------------------------ */

enum {
	SGL_DATA_BLOCK = 0x0,
	SGL_BIT_BUCKET = 0x1,
	SGL_SEGMENT = 0x2,
	SGL_LAST_SEGMENT = 0x3,
	SGL_KEYED_DATA_BLOCK = 0x4,
	/* sub types */
	SGL_SUB_ADDRESS = 0x0,
	SGL_SUB_OFFSET = 0x1,     /* address is an offset into the capsule */
	SGL_SUB_INVALIDATE = 0xf, /* keyed: invalidate the key with the response */
};

union nvme_sgl {
	struct {
		le64 addr;
		le32 len;
		uint8_t rsvd[3];
		uint8_t type; /* type << 4 | sub type */
	} data;
	struct {
		le64 addr;
		uint8_t len[3];
		uint8_t key[4];
		uint8_t type;
	} keyed;
};
static_assert(sizeof(union nvme_sgl) == 16, "Base 4.3.2");
static_assert(offsetof(union nvme_sgl, keyed.key) == 11, "Base, Keyed SGL Data Block");

/* ---- SQE and CQE: Base 4.1, 4.2 -------------------------------------------------------------- */

struct nvme_sqe {
	uint8_t opcode;
	uint8_t flags;
	le16 cid;
	union {
		le32 nsid;
		uint8_t fctype; /* fabrics commands */
	};
	le32 cdw2, cdw3;
	le64 mptr;
	union nvme_sgl dptr;
	le32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
static_assert(sizeof(struct nvme_sqe) == 64, "Base 4.1");
static_assert(offsetof(struct nvme_sqe, dptr) == 24 && offsetof(struct nvme_sqe, cdw10) == 40, "");

enum {
	SQE_FUSE_MASK = 0x03,
	SQE_FUSE_FIRST = 0x01,
	SQE_FUSE_SECOND = 0x02,
	SQE_PSDT_MASK = 0xc0,
	SQE_PSDT_SGL = 0x40, /* SGL, metadata pointer is an address: what fabrics requires */
};

struct nvme_cqe {
	le32 dw0, dw1;
	le16 sqhd, sqid, cid, status; /* status field << 1; the phase bit is reserved on fabrics */
};
static_assert(sizeof(struct nvme_cqe) == 16 && offsetof(struct nvme_cqe, cid) == 12, "Base 4.2");

/* ---- fabrics commands: Base 6 ---------------------------------------------------------------- */

enum {
	OP_FABRICS = 0x7f,
	FC_PROPERTY_SET = 0x00,
	FC_CONNECT = 0x01,
	FC_PROPERTY_GET = 0x04,
	FC_AUTH_SEND = 0x05,
	FC_AUTH_RECEIVE = 0x06,
	FC_DISCONNECT = 0x08,
};

struct nvmf_connect_sqe {
	uint8_t head[40];
	le16 recfmt, qid, sqsize_z;
	uint8_t cattr;
	uint8_t rsvd;
	le32 kato_ms;
	uint8_t rsvd2[12];
};
static_assert(sizeof(struct nvmf_connect_sqe) == 64, "Base 6.3");
enum { CATTR_DISABLE_SQFLOW = 1 << 2 };
#define CONNECT_ATR (1u << 17) /* in dword 0 of the response: authenticate with a transaction */

/* Controller IDs with a meaning: Base 3.1.1.1 */
enum { CNTLID_ANY_STATIC = 0xfffe, CNTLID_DYNAMIC = 0xffff };

struct nvmf_disconnect_sqe {
	uint8_t head[40];
	le16 recfmt;
	uint8_t rsvd[22];
};
static_assert(sizeof(struct nvmf_disconnect_sqe) == 64, "Base 6.4");

struct nvmf_property_sqe {
	uint8_t head[40];
	uint8_t attrib; /* 0: 4 bytes, 1: 8 bytes */
	uint8_t rsvd[3];
	le32 offset;
	le64 value; /* Property Set */
	uint8_t rsvd2[8];
};
static_assert(sizeof(struct nvmf_property_sqe) == 64, "Base 6.5, 6.6");

struct nvmf_auth_sqe { /* Authentication Send and Receive */
	uint8_t head[40];
	uint8_t rsvd;
	uint8_t spsp0, spsp1, secp;
	le32 len; /* TL or AL: bytes */
	uint8_t rsvd2[16];
};
static_assert(sizeof(struct nvmf_auth_sqe) == 64, "Base 6.1, 6.2");
enum { AUTH_SECP = 0xe9, AUTH_SPSP = 0x01 };

/* ---- authentication messages: Base 8.3.5.3 to 8.3.5.5 ---------------------------------------- */

enum { AUTH_TYPE_COMMON = 0x00, AUTH_TYPE_DHCHAP = 0x01 };

enum auth_id {
	AUTH_ID_NEGOTIATE = 0x00, /* common; the others of DH-HMAC-CHAP */
	AUTH_ID_CHALLENGE = 0x01,
	AUTH_ID_REPLY = 0x02,
	AUTH_ID_SUCCESS1 = 0x03,
	AUTH_ID_SUCCESS2 = 0x04,
	AUTH_ID_FAILURE2 = 0xf0, /* common */
	AUTH_ID_FAILURE1 = 0xf1, /* common */
};

struct auth_header {
	uint8_t type, id;
	uint8_t rsvd[2];
	le16 t_id;
};
static_assert(sizeof(struct auth_header) == 6, "");

/* In a Negotiate message, for each protocol */
struct auth_descriptor {
	uint8_t authid; /* AUTH_TYPE_DHCHAP */
	uint8_t rsvd;
	uint8_t halen, dhlen;
	uint8_t hash[30], dhgroup[30];
};
static_assert(sizeof(struct auth_descriptor) == 64, "Base 8.3.5.5.2");

struct auth_negotiate {
	struct auth_header h;
	uint8_t sc_c, napd;
	struct auth_descriptor d[];
};
static_assert(sizeof(struct auth_negotiate) == 8, "Base 8.3.5.5.2");

struct auth_challenge {
	struct auth_header h;
	uint8_t hl, rsvd;
	uint8_t hash, dhgroup;
	le16 dhvlen;
	le32 seqnum;
	uint8_t cval[]; /* hl bytes; then dhvlen bytes of the DH exponential */
};
static_assert(sizeof(struct auth_challenge) == 16, "Base 8.3.5.5.3");

struct auth_reply {
	struct auth_header h;
	uint8_t hl, rsvd;
	uint8_t cvalid, rsvd2;
	le16 dhvlen;
	le32 seqnum;
	uint8_t rval[]; /* hl bytes; then hl bytes of challenge, dhvlen bytes of the exponential */
};
static_assert(sizeof(struct auth_reply) == 16, "Base 8.3.5.5.4");

struct auth_success1 {
	struct auth_header h;
	uint8_t hl, rsvd;
	uint8_t rvalid;
	uint8_t rsvd2[7];
	uint8_t rval[]; /* hl bytes */
};
static_assert(sizeof(struct auth_success1) == 16, "Base 8.3.5.5.5");

struct auth_failure {
	struct auth_header h;
	uint8_t reason, explanation;
};
static_assert(sizeof(struct auth_failure) == 8, "Base 8.3.5.4");
enum { AUTH_REASON_FAILED = 1 };

enum auth_explanation {
	AUTH_FAILED = 1,
	AUTH_PROTOCOL_UNUSABLE = 2,
	AUTH_CONCAT_MISMATCH = 3,
	AUTH_HASH_UNUSABLE = 4,
	AUTH_DHGROUP_UNUSABLE = 5,
	AUTH_INCORRECT_PAYLOAD = 6,
	AUTH_INCORRECT_MESSAGE = 7,
};

/* ---- ANA log page: Base 5.1.12.1.13 ----------------------------------------------------------
 *
 * Ours, because libnvme's wants descriptors aligned to 8 bytes, and after an odd number of NSIDs
 * they are not.
 */

struct nvme_ana_header {
	le64 change;
	le16 ngroups;
	uint8_t rsvd[6];
};
static_assert(sizeof(struct nvme_ana_header) == 16, "");

struct nvme_ana_group {
	le32 group, nnsids;
	le64 change;
	uint8_t state;
	uint8_t rsvd[15];
	le32 nsid[];
};
static_assert(sizeof(struct nvme_ana_group) == 32 && _Alignof(struct nvme_ana_group) == 1, "");

/* ---- controller properties: Base 3.1.4 --------------------------------------------------------
 */

enum {
	PROP_CAP = 0x00,
	PROP_VS = 0x08,
	PROP_CC = 0x14,
	PROP_CSTS = 0x1c,
	PROP_CRTO = 0x68,
};

#define CC_EN          (1u << 0)
#define CC_CSS(cc)     ((cc) >> 4 & 7)
#define CC_MPS(cc)     ((cc) >> 7 & 15)
#define CC_AMS(cc)     ((cc) >> 11 & 7)
#define CC_SHN(cc)     ((cc) >> 14 & 3)
#define CC_IOSQES(cc)  ((cc) >> 16 & 15)
#define CC_IOCQES(cc)  ((cc) >> 20 & 15)
#define CSS_NVM        0u /* of CC.CSS */
#define CSS_ALL        6u
#define CSTS_RDY       (1u << 0)
#define CSTS_CFS       (1u << 1)
#define CSTS_SHST_BUSY (1u << 2)
#define CSTS_SHST_DONE (2u << 2)
#define CSTS_SHST_MASK (3u << 2)
#define CSTS_ST        (1u << 6) /* the shutdown is the NVM subsystem's */

/* ---- status field of a CQE, without the phase bit: Base 4.2.3 ---------------------------------
 */

enum nvme_status {
	NVME_OK = 0x000,
	NVME_INVALID_OPCODE = 0x001,
	NVME_INVALID_FIELD = 0x002,
	NVME_INTERNAL_ERROR = 0x006,
	NVME_ABORT_REQUESTED = 0x007,
	NVME_ABORTED_SQ_DELETION = 0x008,
	NVME_ABORTED_FAILED_FUSED = 0x009,
	NVME_ABORTED_MISSING_FUSED = 0x00a,
	NVME_INVALID_NS = 0x00b,
	NVME_COMMAND_SEQUENCE = 0x00c,
	NVME_SGL_SEGMENT_INVALID = 0x00d,
	NVME_SGL_COUNT_INVALID = 0x00e,
	NVME_SGL_DATA_LENGTH_INVALID = 0x00f,
	NVME_SGL_TYPE_INVALID = 0x011,
	NVME_ATOMIC_WRITE_UNIT_EXCEEDED = 0x014,
	NVME_SGL_OFFSET_INVALID = 0x016,
	NVME_HOST_ID_INCONSISTENT_FORMAT = 0x018,
	NVME_KATO_INVALID = 0x01a,
	NVME_SGL_GRANULARITY = 0x01e,
	NVME_NS_WRITE_PROTECTED = 0x020,
	NVME_HOST_ID_NOT_INITIALIZED = 0x027,
	NVME_IO_SET_COMBINATION = 0x02b,
	NVME_LBA_OUT_OF_RANGE = 0x080,
	NVME_CAPACITY_EXCEEDED = 0x081,
	NVME_NS_NOT_READY = 0x082,
	NVME_RESERVATION_CONFLICT = 0x083,

	NVME_ABORT_LIMIT = 0x103,
	NVME_AER_LIMIT = 0x105,
	NVME_INVALID_LOG_PAGE = 0x109,
	NVME_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_FEATURE_NOT_NS_SPECIFIC = 0x10f,
	NVME_CMD_SIZE_LIMIT_EXCEEDED = 0x183, /* I/O commands; 183h of fabrics is another */
	NVME_CONNECT_FORMAT = 0x180,
	NVME_CONNECT_BUSY = 0x181,
	NVME_CONNECT_INVALID_PARAM = 0x182,
	NVME_CONNECT_INVALID_HOST = 0x184,
	NVME_INVALID_QUEUE_TYPE = 0x185,
	NVME_AUTH_REQUIRED = 0x191,

	NVME_WRITE_FAULT = 0x280,
	NVME_READ_ERROR = 0x281,
	NVME_COMPARE_FAILURE = 0x285,
	NVME_ACCESS_DENIED = 0x286,

	NVME_PATH_PERSISTENT_LOSS = 0x301,
	NVME_PATH_INACCESSIBLE = 0x302,
	NVME_PATH_TRANSITION = 0x303,

	NVME_MORE = 0x2000, /* the error log page says more; ORed to the above */
	NVME_DNR = 0x4000,  /* Do Not Retry; ORed to the above */
};

#endif
