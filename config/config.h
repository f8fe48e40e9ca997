/*
 * config: export files to a model.
 *
 * This room reads libconfig files and turns them into one plain model of what the daemon shall
 * export. It checks everything that can be checked without touching a device, and it never half
 * succeeds: either the whole model is there and valid, or a diagnostic says which file, which line,
 * what was read there and what would be right. It knows nothing of the other rooms, does no
 * logging, and is used on the control thread only.
 *
 * The model is immutable once loaded; strings and arrays belong to it and live until config_free().
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_NQN_MAX       223 /* bytes, without the NUL: NVMe Base 2.1, 4.5 */
#define CONFIG_SERIAL_MAX    20  /* Identify Controller SN */
#define CONFIG_MODEL_MAX     40  /* Identify Controller MN */
#define CONFIG_STATE_DIR_MAX 255 /* bytes, without the NUL */
#define CONFIG_ANA_GROUPS    128 /* ANA groups are 1..128 */
#define CONFIG_DEFAULT_DIR   "/etc/nvmf-p2pd"

struct sockaddr_storage;

/* What a namespace's payload may be staged in. */
enum config_cmb {
	CONFIG_CMB_PREFER,  /* CMB where it is proved and free, else host memory */
	CONFIG_CMB_REQUIRE, /* CMB or a retryable error status */
	CONFIG_CMB_OFF,     /* host memory */
};

/* How a host gets a controller: Base 2.1, 3.1.1.1. */
enum config_model {
	CONFIG_MODEL_DYNAMIC, /* as many as hosts ask for, each made when a host connects */
	CONFIG_MODEL_STATIC,  /* those of cntlid_min..cntlid_max, which a host may ask for by ID */
};

/* What is done after an RDMA READ into a CMB, before the drive is told to read it there. */
enum config_flush {
	CONFIG_FLUSH_NONE,      /* nothing, as the kernel's target */
	CONFIG_FLUSH_RDMA_READ, /* the RNIC reads the last bytes back */
	CONFIG_FLUSH_CPU_READ,  /* the CPU does */
};

/* How the namespaces of an ANA group are reached through a port: Base 2.1, 8.1.1. */
enum config_ana {
	CONFIG_ANA_OPTIMIZED,
	CONFIG_ANA_NON_OPTIMIZED,
	CONFIG_ANA_INACCESSIBLE,
	CONFIG_ANA_PERSISTENT_LOSS,
	CONFIG_ANA_CHANGE,
};
#define CONFIG_ANA_NSTATES (CONFIG_ANA_CHANGE + 1)

/* Their names, as the file and the control socket have them. */
extern const char *const config_ana_names[CONFIG_ANA_NSTATES + 1]; /* ends with NULL */

/* Where a thing was defined, for messages that come later than parsing. */
struct config_where {
	const char *file;
	unsigned int line; /* 0: @file is no file, but says where in words */
};

struct config_ana_group {
	struct config_where where;
	uint32_t id; /* 1..CONFIG_ANA_GROUPS */
	enum config_ana state;
};

struct config_port {
	struct config_where where;
	uint16_t id;                         /* 1..65535: the discovery log's PORTID */
	const char *address;                 /* numeric IPv4 or IPv6, wildcard allowed */
	const char *service;                 /* port number as text; "4420" by default */
	uint32_t in_capsule_data_len;        /* bytes of in-capsule data offered, 0..16384 */
	uint16_t queue_depth;                /* most entries of an I/O queue, 16..1024 */
	struct config_ana_group *ana_groups; /* at the start; others are optimized */
	size_t nana_groups;
};

/* Another discovery service that hosts are told of. */
struct config_referral {
	struct config_where where;
	const char *address; /* numeric */
	const char *service;
	const char *nqn;  /* of that discovery service; the well-known one by default */
	uint16_t port_id; /* its number there, 0: not known */
	uint16_t *ports;  /* ids of our ports whose hosts are told; never empty */
	size_t nports;
};

struct config_namespace {
	struct config_where where;
	uint32_t nsid; /* 1..CONFIG_NSID_MAX */
	const char *device;
	enum config_cmb cmb;
	bool polled;                /* I/O by the drive's polled queues */
	const char *scratch;        /* a device that the drive's proof may overwrite, or NULL */
	const char **allowed_hosts; /* who sees it; none: every host of the subsystem */
	size_t nallowed_hosts;
	bool has_uuid;
	uint8_t uuid[16];  /* as on the wire (big-endian text order) */
	const char *nguid; /* hexadecimal digits, or NULL */
	const char *eui64;
	uint32_t ana_group; /* 1..CONFIG_ANA_GROUPS */
};
#define CONFIG_NSID_MAX 1024

struct config_subsystem {
	struct config_where where;
	const char *nqn;
	const char *serial; /* NULL: derived from the NQN */
	const char *model;  /* NULL: the daemon's own */
	bool allow_any_host;
	const char **allowed_hosts; /* host NQNs */
	size_t nallowed_hosts;
	enum config_model controller_model;
	uint16_t cntlid_min, cntlid_max;
	uint32_t max_controllers; /* 0: no limit */
	uint16_t max_queues;      /* I/O queues of a controller */
	uint16_t *ports;          /* ids of ports it is reached through; never empty */
	size_t nports;
	struct config_namespace *namespaces; /* ascending nsid */
	size_t nnamespaces;
	const char *passthrough;       /* instead of namespaces: an NVMe controller, its device's
					  path or its PCI address; or NULL */
	bool passthrough_vendor_admin; /* forward vendor specific admin commands to it */
	enum config_cmb cmb;           /* of the passed-through controller's namespaces */
};

/* A DH-HMAC-CHAP secret: Base 2.1, 8.3.5.5.7. Never logged. */
struct config_dhchap_key {
	uint8_t len;  /* bytes: 32, 48 or 64; 0: there is none */
	uint8_t hash; /* that transforms it: 0 none, 1 SHA-256, 2 SHA-384, 3 SHA-512 */
	uint8_t bytes[64];
};

/* What is known of a host; one that is not listed has no keys. */
struct config_host {
	struct config_where where;
	const char *nqn;
	const char *dhchap_key; /* as in the file, "DHHC-1:..."; or NULL */
	const char *dhchap_key_file;
	const char *dhchap_ctrl_key;
	const char *dhchap_ctrl_key_file;
	uint8_t *dhchap_hashes; /* allowed, best first; index of "sha256", "sha384", "sha512" */
	size_t ndhchap_hashes;
	uint8_t *dhchap_dhgroups; /* likewise, of "null", "ffdhe2048", ... "ffdhe8192" */
	size_t ndhchap_dhgroups;
	bool dhchap_discovery; /* the discovery service asks for the key too */
	/* from the text or the file, whichever is given */
	struct config_dhchap_key host_key; /* the host has to know it to be let in */
	struct config_dhchap_key ctrl_key; /* we show the host that we know it, if it asks */
};
#define CONFIG_DHCHAP_NHASHES   3
#define CONFIG_DHCHAP_NDHGROUPS 6

#define CONFIG_DAEMON_KEYS_MAX 48

struct config {
	uint64_t window_size; /* bytes of IOVA window per RNIC; below 2 GiB */
	uint64_t host_memory; /* bytes of pinned host staging memory per RNIC */
	uint64_t cmb_cap;     /* most bytes of each CMB */
	uint64_t cmb_floor;   /* bytes of each CMB taken at start and kept */
	uint64_t cmb_chunk;   /* bytes in which more is taken */
	uint64_t cmb_reserve; /* bytes of each CMB left to others */
	enum config_flush cmb_flush;
	uint32_t reactors;          /* threads that serve I/O; 0: as many as suit the machine */
	const char *reactor_cpus;   /* "2-5,8", or NULL */
	uint32_t shared_receives;   /* of each reactor; 0: each queue has its own */
	uint64_t queue_memory;      /* most bytes for the queue of one connection */
	uint64_t connection_memory; /* most bytes for the queues of all connections */
	uint32_t host_controllers;  /* most of one host; 0: no limit, as the next two */
	uint32_t host_queues;       /* I/O queues */
	uint64_t host_queue_memory; /* bytes of all its queues */
	uint32_t poll_us;           /* longest time to look for more work before sleeping */
	uint32_t max_transfer_len;  /* bytes, MDTS: a power of two, 8 KiB..4 MiB; 4 KiB is how MDTS
				       says none */
	uint32_t keep_alive_max_ms; /* largest KATO accepted; 0: no limit */
	const char
		*discovery_nqn; /* of the discovery service, beside the well-known one; or NULL */
	const char *control_socket; /* absolute path */
	const char *metrics;        /* "127.0.0.1:9748": where they are served; or "off" */
	const char *control_group;  /* whose members may read there; or NULL */
	const char *state_dir;      /* what outlives the daemon; made when it is needed */
	uint32_t stop_timeout_ms;   /* half of it for commands, half for connections */
	bool core_dumps;            /* may its memory be dumped? There are keys and data in it */
	struct config_port *ports;
	size_t nports;
	struct config_subsystem *subsystems;
	size_t nsubsystems;
	struct config_host *hosts;
	size_t nhosts;
	struct config_referral *referrals;
	size_t nreferrals;
	/* private: */
	unsigned int daemon_lines[CONFIG_DAEMON_KEYS_MAX]; /* of the main file; 0: left out */
	void *arena;
};

/* Why a configuration was refused. All text is in English and ends without a newline. */
struct config_diag {
	char file[256];
	unsigned int line; /* 0: the file as a whole */
	char what[512];    /* what was read and why it is wrong */
	char fix[256];     /* what is allowed or what to do; may be empty */
};

/**
 * config_load() - read and validate a configuration.
 * @file:  the main file. Beside it, every regular file exports.d/ *.conf is read too, in strcmp
 *         order; each may hold the same top-level settings `ports`, `subsystems`, `hosts` and
 *         `referrals` (lists add up); `daemon` stands in the main file only.
 * @ret:   on success the model, to be given to config_free(); untouched on failure.
 * @diag:  on failure, the first error found.
 *
 * @include is refused: libconfig 1.5 and 1.7 call exit() when its target is a folder.
 * No device is opened and no name resolved. Control thread; blocks on file reads.
 *
 * Return: 0; -EINVAL for a wrong file; -ENOENT, -EACCES, ... when a file cannot be read; -ENOMEM.
 */
__attribute__((warn_unused_result)) int config_load(const char *file, struct config **ret,
						    struct config_diag *diag);

/** config_new() - a model that holds the defaults and nothing else, to be given to config_free();
 * NULL: no memory. */
__attribute__((warn_unused_result)) struct config *config_new(void);

/** config_free() - wipe and release a model and everything it points to. NULL is fine. */
void config_free(struct config *c);

/**
 * config_cpus() - the processors in a list such as "2-5,8", in the order of the list.
 * @ret: room for @most of them; NULL: only count. Return: how many, or -EINVAL: not such a list.
 */
int config_cpus(const char *list, int *ret, unsigned int most);

/** config_forget_keys() - wipe the secrets of @c, which is not in force any more: no host is known.
 * NULL is fine. */
void config_forget_keys(struct config *c);

/**
 * config_endpoint() - read "127.0.0.1:9748" or "[::1]:9748": a numeric address, wildcard too, and a
 * port. @ret_len: bytes of it (a socklen_t). Return: 0, or -EINVAL: it is none.
 */
int config_endpoint(const char *text, struct sockaddr_storage *ret, unsigned int *ret_len);

/** config_is_utf8() - is it UTF-8 without control characters? */
bool config_is_utf8(const char *text);

/** config_host() - what is known of the host @nqn, or NULL. */
const struct config_host *config_host(const struct config *c, const char *nqn);

/**
 * config_dhchap_key() - read "DHHC-1:hh:BASE64:". Return: NULL, or in a few words why it is
 * refused, which tell nothing of it; then @ret is untouched.
 */
const char *config_dhchap_key(const char *text, struct config_dhchap_key *ret);

/**
 * config_print() - write the effective model as an export file that config_load() reads back to an
 * equal model. Used by `nvmf-p2pd --print-config`.
 * @keys: secret keys too. Without, a text stands for each that config_load() refuses: better than a
 *        host that needs none any more. (Keys in files of their own are never printed.)
 */
void config_print(const struct config *c, FILE *out, bool keys);

/**
 * config_check_change() - can a daemon that runs @before have @after, which was read from @file?
 * Not if a key of `daemon` differs whose change takes a restart.
 *
 * Return: 0; -EBUSY with @diag naming key, file and line; -ENOMEM.
 */
__attribute__((warn_unused_result)) int config_check_change(const struct config *before,
							    const struct config *after,
							    const char *file,
							    struct config_diag *diag);

/**
 * config_with_namespace(), config_without_namespace() - a copy of @c, checked as a file is, that
 * has the namespace @ns in subsystem @nqn, or no namespace @nsid there. (Files with keys are read
 * again.) @c may be put together of several models. Blocks on those files. Return: as
 * config_load(); -ENOENT: no such subsystem or namespace; then @diag says why.
 */
__attribute__((warn_unused_result)) int config_with_namespace(const struct config *c,
							      const char *nqn,
							      const struct config_namespace *ns,
							      struct config **ret,
							      struct config_diag *diag);
__attribute__((warn_unused_result)) int config_without_namespace(const struct config *c,
								 const char *nqn, uint32_t nsid,
								 struct config **ret,
								 struct config_diag *diag);

/** config_uuid() - read a UUID as a file has it. */
bool config_uuid(const char *text, uint8_t ret[16]);

/**
 * config_print_brief() - as config_print() with the keys, but without what has its default.
 * @daemon: the daemon's own settings too, which a file in exports.d may not have.
 */
void config_print_brief(const struct config *c, FILE *out, bool daemon);

/** config_diag_print() - one line `file:line: what; fix` for a person. */
void config_diag_print(const struct config_diag *diag, FILE *out);

#endif
