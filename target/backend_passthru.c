/*
 * The controller of a passthrough subsystem and its namespaces: found in sysfs, opened, lost, found
 * again. And the thread that runs its admin commands.
 */
#include "target/log.h"
#include "target/passthru.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CLASS "/sys/class/nvme"

/* ---- admin commands: the worker ----------------------------------------------------------------
 */

/* Log pages that tell of events: reading them without RAE would take the events from the machine's
 * own kernel. */
static uint32_t cdw10_for_drive(const struct nvme_sqe *sqe)
{
	uint32_t cdw10 = get32(sqe->cdw10);
	uint8_t lid = (uint8_t)cdw10;

	return sqe->opcode == nvme_admin_get_log_page && lid <= NVME_LOG_LID_FW_SLOT
		       ? cdw10 | UINT32_C(1) << 15
		       : cdw10;
}

static void run_on_drive(const struct passthru *p, struct nvmf_req *req)
{
	const struct nvme_sqe *sqe = req->sqe;
	uint32_t result = 0;
	struct nvme_passthru_cmd cmd = {
		.opcode = sqe->opcode,
		.nsid = get32(sqe->nsid),
		.cdw2 = get32(sqe->cdw2),
		.cdw3 = get32(sqe->cdw3),
		.addr = req->len ? (uintptr_t)req->data : 0,
		.data_len = req->len,
		.cdw10 = cdw10_for_drive(sqe),
		.cdw11 = get32(sqe->cdw11),
		.cdw12 = get32(sqe->cdw12),
		.cdw13 = get32(sqe->cdw13),
		.cdw14 = get32(sqe->cdw14),
		.cdw15 = get32(sqe->cdw15),
	};
	int n;

	if (req->dir == DATA_C2H)
		memset(req->data, 0, req->len);
	n = nvme_submit_admin_passthru(p->fd, &cmd, &result);
	req->cqe.dw0 = put32(result);
	req->status = n < 0 ? passthru_error(-errno) : passthru_status((uint16_t)n);
}

static void *work(void *arg)
{
	struct passthru *p = arg;
	struct nvmf_req *req;

	(void)pthread_setname_np(pthread_self(), "passthru");
	pthread_mutex_lock(&p->lock);
	while (!p->quitting) {
		req = TAILQ_FIRST(&p->jobs);
		if (!req) {
			pthread_cond_wait(&p->wake, &p->lock);
			continue;
		}
		TAILQ_REMOVE(&p->jobs, req, entry);
		pthread_mutex_unlock(&p->lock);
		run_on_drive(p, req);
		reactor_post(control_reactor(p->target), &req->message);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

void passthru_submit(struct passthru *p, struct nvmf_req *req)
{
	pthread_mutex_lock(&p->lock);
	TAILQ_INSERT_TAIL(&p->jobs, req, entry);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

static int start_worker(struct passthru *p)
{
	int err = thread_create(&p->worker, work, p);

	p->has_worker = err == 0;
	return err;
}

static void stop_worker(struct passthru *p)
{
	if (!p->has_worker)
		return;
	pthread_mutex_lock(&p->lock);
	p->quitting = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->worker, NULL);
}

/* ---- sysfs -------------------------------------------------------------------------------------
 */

static bool read_text(const char *dir, const char *entry, const char *file, char *ret, size_t len)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, entry, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, ret, len - 1);
	close(fd);
	ret[n < 0 ? 0 : n] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	return n > 0;
}

static bool read_number(const char *dir, const char *entry, const char *file, uint64_t *ret)
{
	char text[32], *end;

	if (!read_text(dir, entry, file, text, sizeof(text)))
		return false;
	*ret = strtoull(text, &end, 10);
	return end != text;
}

bool passthru_names(const char *entry, unsigned int controller, struct passthru_names *ret)
{
	unsigned int subsystem, path, head;
	int len = 0;

	if (sscanf(entry, "nvme%uc%un%u%n", &subsystem, &path, &head, &len) == 3 && !entry[len]) {
		snprintf(ret->block, sizeof(ret->block), "nvme%un%u", subsystem, head);
		snprintf(ret->generic, sizeof(ret->generic), "ng%un%u", subsystem, head);
		return true;
	}
	if (sscanf(entry, "nvme%un%u%n", &subsystem, &head, &len) == 2 && !entry[len]) {
		snprintf(ret->block, sizeof(ret->block), "nvme%un%u", subsystem, head);
		snprintf(ret->generic, sizeof(ret->generic), "ng%un%u", controller, head);
		return true;
	}
	return false;
}

/* The first entry of folder @dir that begins with "nvme". */
static bool find_nvme(const char *dir, char *ret, size_t len)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	bool found = false;

	if (!d)
		return false;
	while (!found && (e = readdir(d)))
		if (strncmp(e->d_name, "nvme", 4) == 0) {
			strlcpy(ret, e->d_name, len);
			found = true;
		}
	closedir(d);
	return found;
}

/* "nvme0", from the PCI address or the path of its device. */
static int controller_name(const char *text, char *ret, size_t len)
{
	char path[PATH_MAX], target[PATH_MAX];
	struct stat st;

	if (text[0] != '/') {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/nvme", text);
		return find_nvme(path, ret, len) ? 0 : -ENODEV;
	}
	if (stat(text, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode))
		return -ENOTTY;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (!realpath(path, target))
		return -errno;
	strlcpy(ret, strrchr(target, '/') + 1, len);
	snprintf(path, sizeof(path), CLASS "/%s", ret);
	return access(path, F_OK) < 0 ? -ENOTTY : 0;
}

/* ---- the controller ---------------------------------------------------------------------------
 */

/* Open it and ask who it is. *@ret_fd is set on success. */
static int open_controller(const struct passthru *p, char *name, size_t len,
			   struct nvme_id_ctrl *id, int *ret_fd, const char **ret_why)
{
	char path[PATH_MAX];
	int err, fd;

	*ret_why = "is no NVMe controller";
	err = controller_name(p->address[0] ? p->address : p->subsys->conf->passthrough, name, len);
	if (err)
		return err;
	*ret_why = "cannot be opened";
	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_why = "does not identify itself";
	err = nvme_identify_ctrl(fd, id);
	if (err) {
		close(fd);
		return err < 0 ? -errno : -EIO;
	}
	*ret_fd = fd;
	return 0;
}

/* When it comes back, its number may be another, and its PCI address is not. */
static void note_address(struct passthru *p, const char *name)
{
	char path[PATH_MAX];

	if (!read_text(CLASS, name, "address", p->address, sizeof(p->address)))
		return;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", p->address);
	if (access(path, F_OK) < 0)
		p->address[0] = '\0';
}

/* A drive that has no such log answers with a status. */
static int read_effects(struct passthru *p, enum passthru_set set, enum nvme_csi csi)
{
	struct nvme_cmd_effects_log *log = malloc(sizeof(*log));
	int err;

	if (!log)
		return -ENOMEM;
	err = nvme_get_log_cmd_effects(p->fd, csi, log);
	passthru_filter_effects(&p->effects[set], err ? NULL : log, set, le16toh(p->id.oncs),
				p->vendor);
	err = err < 0 ? -errno : 0;
	free(log);
	return err;
}

/* ---- namespaces --------------------------------------------------------------------------------
 */

/* What has to be the same when it comes back. */
struct geometry {
	uint64_t nlb;
	uint8_t lba_shift;
	enum passthru_set set;
	uint32_t zone_extension_len;
};

static uint8_t format_of(const struct nvme_id_ns *id)
{
	return (uint8_t)((id->flbas & 0xf) | (id->flbas >> 1 & 0x30));
}

static int read_set(int fd, uint32_t nsid, uint8_t format, struct geometry *ret,
		    const char **ret_why)
{
	uint8_t *page = calloc(1, 4096);
	const struct nvme_zns_id_ns *zns = (void *)page;
	uint8_t csi = NVME_CSI_NVM;
	int err;

	*ret_why = "no memory";
	if (!page)
		return -ENOMEM;
	*ret_why = "does not identify itself";
	err = nvme_identify_ns_descs(fd, nsid, (void *)page);
	if (err == 0) {
		for (size_t i = 0; i + 4 < 4096 && page[i + 1]; i += 4u + page[i + 1])
			if (page[i] == NVME_NIDT_CSI)
				csi = page[i + 4];
	}
	/* a status is an old drive's, which has one command set; not to be asked is no answer */
	err = err < 0 ? -errno : 0;
	if (!err && csi == NVME_CSI_ZNS) {
		ret->set = PASSTHRU_ZNS;
		err = nvme_zns_identify_ns(fd, nsid, (void *)page);
		if (err)
			err = err < 0 ? -errno : -EIO;
		ret->zone_extension_len = zns->lbafe[format].zdes * 64u;
	} else if (!err && csi != NVME_CSI_NVM) {
		*ret_why = "has an I/O command set that is not passed through";
		err = -EOPNOTSUPP;
	}
	free(page);
	return err;
}

static int read_geometry(int fd, uint32_t nsid, struct geometry *ret, const char **ret_why)
{
	struct nvme_id_ns id;
	int err = nvme_identify_ns(fd, nsid, &id);
	const struct nvme_lbaf *f;

	*ret = (struct geometry){ .set = PASSTHRU_NVM };
	*ret_why = "does not identify itself";
	if (err)
		return err < 0 ? -errno : -EIO;
	f = &id.lbaf[format_of(&id)];
	*ret_why = "has metadata, which is not passed through";
	if (f->ms)
		return -EOPNOTSUPP;
	*ret_why = "has no usable format";
	if (f->ds < 9 || f->ds > 16)
		return -EOPNOTSUPP;
	ret->nlb = le64toh(id.nsze);
	ret->lba_shift = f->ds;
	return read_set(fd, nsid, format_of(&id), ret, ret_why);
}

/* Descriptors of one namespace: both devices, the block device claimed, so that nobody mounts it.
 */
struct opened {
	int block, generic;
	struct stat block_st, generic_st;
};

static void close_opened(const struct opened *o)
{
	if (o->block >= 0)
		close(o->block);
	if (o->generic >= 0)
		close(o->generic);
}

static int open_devices(const struct passthru_names *names, uint32_t nsid, struct opened *ret,
			const char **ret_why)
{
	char path[64];
	int err = 0;

	*ret = (struct opened){ .block = -1, .generic = -1 };
	*ret_why = "its block device cannot be opened (in use by this machine?)";
	snprintf(path, sizeof(path), "/dev/%s", names->block);
	ret->block = open(path, O_RDONLY | O_DIRECT | O_EXCL | O_CLOEXEC);
	if (ret->block < 0 || fstat(ret->block, &ret->block_st) < 0)
		err = -errno;
	if (!err) {
		*ret_why = "its character device cannot be opened";
		snprintf(path, sizeof(path), "/dev/%s", names->generic);
		ret->generic = open(path, O_RDWR | O_CLOEXEC);
		if (ret->generic < 0 || fstat(ret->generic, &ret->generic_st) < 0)
			err = -errno;
	}
	if (!err && ioctl(ret->generic, NVME_IOCTL_ID) != (int)nsid) {
		*ret_why = "its character device is another namespace's";
		err = -ENODEV;
	}
	if (err)
		close_opened(ret);
	return err;
}

static void take_devices(struct passthru_ns *ns, const struct passthru_names *names,
			 const struct opened *o)
{
	snprintf(ns->device, sizeof(ns->device), "/dev/%s", names->generic);
	ns->backend.info.major = major(o->block_st.st_rdev);
	ns->backend.info.minor = minor(o->block_st.st_rdev);
	ns->char_major = major(o->generic_st.st_rdev);
	ns->char_minor = minor(o->generic_st.st_rdev);
}

static bool ns_gone(const struct backend *b)
{
	const struct passthru_ns *ns = (const struct passthru_ns *)b;
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", ns->char_major, ns->char_minor);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

static uint64_t ns_blocks(const struct backend *b)
{
	uint64_t size;

	return ioctl(b->info.fd, BLKGETSIZE64, &size) < 0 ? 0 : size >> b->info.lba_shift;
}

static void ns_close(struct backend *b)
{
	struct passthru_ns *ns = (struct passthru_ns *)b;

	close(ns->fd);
	close(b->info.fd);
	free(ns);
}

/* Call @fn for each namespace of controller @name until it returns true. */
static bool each_namespace(const char *name,
			   bool (*fn)(const struct passthru_names *names, uint32_t nsid,
				      const char *dir, const char *entry, void *arg),
			   void *arg)
{
	unsigned int controller = (unsigned int)strtoul(name + strlen("nvme"), NULL, 10);
	char dir[PATH_MAX];
	struct passthru_names names;
	const struct dirent *e;
	bool found = false;
	uint64_t nsid;
	DIR *d;

	snprintf(dir, sizeof(dir), CLASS "/%s", name);
	d = opendir(dir);
	if (!d)
		return false;
	while (!found && (e = readdir(d)))
		if (passthru_names(e->d_name, controller, &names) &&
		    read_number(dir, e->d_name, "nsid", &nsid))
			found = fn(&names, (uint32_t)nsid, dir, e->d_name, arg);
	closedir(d);
	return found;
}

struct search {
	uint32_t nsid;
	struct passthru_names names;
};

static bool is_searched(const struct passthru_names *names, uint32_t nsid, const char *dir,
			const char *entry, void *arg)
{
	struct search *s = arg;

	(void)dir;
	(void)entry;
	if (nsid == s->nsid)
		s->names = *names;
	return nsid == s->nsid;
}

/* Take the place of the lost device's descriptors, in one step each: what is in flight keeps the
 * old ones. */
static int replace_devices(struct passthru_ns *ns, const struct passthru_names *names,
			   const struct opened *o)
{
	if (dup3(o->generic, ns->fd, O_CLOEXEC) < 0 ||
	    dup3(o->block, ns->backend.info.fd, O_CLOEXEC) < 0)
		return -errno;
	take_devices(ns, names, o);
	return 0;
}

static int reopen_namespace(struct passthru_ns *ns, int fd, const char *name, const char **ret_why)
{
	struct search s = { .nsid = ns->conf[0].nsid };
	struct geometry g;
	struct opened o;
	int err = read_geometry(fd, s.nsid, &g, ret_why);

	if (err)
		return err;
	*ret_why = "the namespace has another size or format now";
	if (g.nlb != ns->backend.info.nlb || g.lba_shift != ns->backend.info.lba_shift ||
	    g.set != ns->set || g.zone_extension_len != ns->zone_extension_len)
		return -ESTALE;
	*ret_why = "its devices are not there yet";
	if (!each_namespace(name, is_searched, &s))
		return -ENODEV;
	err = open_devices(&s.names, s.nsid, &o, ret_why);
	if (err)
		return err;
	err = replace_devices(ns, &s.names, &o);
	close_opened(&o);
	return err;
}

/* The controller first: it is all namespaces', and each of them brings it back. */
static int ns_reopen(struct backend *b, const char **ret_why)
{
	struct passthru_ns *ns = (struct passthru_ns *)b;
	struct passthru *p = ns->controller;
	struct nvme_id_ctrl id;
	char name[32];
	int fd = -1;
	int err = open_controller(p, name, sizeof(name), &id, &fd, ret_why);

	if (err)
		return err;
	*ret_why = "another drive is there now";
	if (memcmp(id.sn, p->id.sn, sizeof(id.sn)) != 0 ||
	    memcmp(id.mn, p->id.mn, sizeof(id.mn)) != 0)
		err = -ESTALE;
	if (!err)
		err = reopen_namespace(ns, fd, name, ret_why);
	if (!err && dup3(fd, p->fd, O_CLOEXEC) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Its commands do not come here: passthru_io_commands. */
static const struct backend_ops passthru_ops = {
	.name = "passthrough",
	.nlb = ns_blocks,
	.gone = ns_gone,
	.reopen = ns_reopen,
	.close = ns_close,
};

static int create_ns(struct passthru *p, const struct passthru_names *names, uint32_t nsid,
		     const struct geometry *g, struct passthru_ns **ret, const char **ret_why)
{
	struct passthru_ns *ns = calloc(1, sizeof(*ns));
	struct opened o;
	int err;

	*ret_why = "no memory";
	if (!ns)
		return -ENOMEM;
	err = open_devices(names, nsid, &o, ret_why);
	if (err) {
		free(ns);
		return err;
	}
	ns->backend.ops = &passthru_ops;
	ns->backend.info.nlb = g->nlb;
	ns->backend.info.lba_shift = g->lba_shift;
	ns->backend.info.write_cache = p->id.vwc & 1;
	ns->backend.info.fd = o.block;
	ns->fd = o.generic;
	take_devices(ns, names, &o);
	ns->controller = p;
	ns->set = g->set;
	ns->zone_extension_len = g->zone_extension_len;
	ns->conf[0] = ns->conf[1] = (struct config_namespace){ .where.file = "",
							       .nsid = nsid,
							       .device = ns->device,
							       .cmb = p->subsys->conf->cmb,
							       .ana_group = 1 };
	*ret = ns;
	return 0;
}

/* ---- opening all of it -------------------------------------------------------------------------
 */

struct opening {
	struct target *target;
	struct subsystem *subsys;
	struct passthru *p;
	struct namespace **namespaces;
	size_t n;
	struct config_diag *diag;
	const char *why;
	int err;
};

static int add_namespace(struct opening *o, struct passthru_ns *pns)
{
	static const uint8_t csi[] = {
		[PASSTHRU_NVM] = NVME_CSI_NVM, [PASSTHRU_ZNS] = NVME_CSI_ZNS
	};
	struct namespace **more, *ns = NULL;
	int err =
		namespace_create(o->target, o->subsys, &pns->conf[0], &pns->backend, &ns, o->diag);

	if (err)
		return err;
	ns->csi = csi[pns->set];
	more = reallocarray(o->namespaces, o->n + 1, sizeof(o->namespaces[0]));
	if (!more) {
		namespace_close(ns);
		return -ENOMEM;
	}
	o->namespaces = more;
	o->namespaces[o->n++] = ns;
	return 0;
}

static void limit_transfer(struct passthru *p, const char *dir, const char *entry)
{
	uint64_t kib = 0, segments = 0;

	(void)read_number(dir, entry, "queue/max_hw_sectors_kb", &kib);
	(void)read_number(dir, entry, "queue/max_segments", &segments);
	p->mdts_len = passthru_mdts(p->mdts_len, kib * 1024, (uint32_t)segments);
}

/* What cannot be passed through is left out and said; what fails otherwise ends it all. */
static bool open_one(const struct passthru_names *names, uint32_t nsid, const char *dir,
		     const char *entry, void *arg)
{
	struct opening *o = arg;
	struct passthru_ns *ns;
	struct geometry g;

	o->err = read_geometry(o->p->fd, nsid, &g, &o->why);
	if (!o->err && nsid > CONFIG_NSID_MAX) {
		o->why = "its number is too large";
		o->err = -EOPNOTSUPP;
	}
	if (o->err == -EOPNOTSUPP) {
		log_warn("namespace %u of %s: /dev/%s: %s: left out", nsid, o->subsys->nqn,
			 names->generic, o->why);
		o->err = 0;
		return false;
	}
	if (!o->err)
		o->err = create_ns(o->p, names, nsid, &g, &ns, &o->why);
	if (!o->err) {
		limit_transfer(o->p, dir, entry);
		o->why = "its namespaces";
		o->err = add_namespace(o, ns);
	}
	return o->err != 0;
}

static int by_nsid(const void *a, const void *b)
{
	const struct namespace *const *x = a, *const *y = b;

	return (*x)->nsid < (*y)->nsid ? -1 : (*x)->nsid > (*y)->nsid;
}

struct enabling {
	struct reactor *reactor;
	int err;
};

static void enable_wide(void *arg)
{
	struct enabling *e = arg;

	e->err = reactor_enable_wide(e->reactor);
}

static int enable_rings(const struct reactors *reactors)
{
	for (unsigned int i = 0; i < reactors->n; i++) {
		struct enabling e = { .reactor = reactors->r[i] };

		reactor_call(e.reactor, enable_wide, &e);
		if (e.err)
			return e.err;
	}
	return 0;
}

static int open_all(struct opening *o)
{
	struct passthru *p = o->p;
	char name[32];
	int err = open_controller(p, name, sizeof(name), &p->id, &p->fd, &o->why);

	if (err)
		return err;
	note_address(p, name);
	o->why = "does not tell which commands it has";
	err = read_effects(p, PASSTHRU_NVM, NVME_CSI_NVM);
	if (!err)
		err = read_effects(p, PASSTHRU_ZNS, NVME_CSI_ZNS);
	if (err == -EACCES || err == -EPERM)
		o->why = "does not tell which commands it has without CAP_SYS_ADMIN";
	if (err)
		return err;
	o->why = "a ring for NVMe commands (Linux 5.19 and later)";
	err = enable_rings(o->target->reactors);
	if (err)
		return err;
	(void)each_namespace(name, open_one, o);
	if (o->err)
		return o->err;
	o->why = "has no namespace that can be passed through";
	if (o->n == 0)
		return -ENODEV;
	qsort(o->namespaces, o->n, sizeof(o->namespaces[0]), by_nsid);
	o->why = "a thread for its admin commands";
	return start_worker(p);
}

static int undo(struct opening *o, int err)
{
	const struct config_subsystem *conf = o->subsys->conf;

	for (size_t i = 0; i < o->n; i++)
		namespace_close(o->namespaces[i]);
	free(o->namespaces);
	passthru_close(o->p);
	*o->diag = (struct config_diag){ .line = conf->where.line };
	strlcpy(o->diag->file, conf->where.file, sizeof(o->diag->file));
	snprintf(o->diag->what, sizeof(o->diag->what), "subsystem %s: passthrough %s: %s: %s",
		 conf->nqn, conf->passthrough, o->why, strerror(-err));
	strlcpy(o->diag->fix,
		"name an NVMe controller whose namespaces nobody uses: \"0000:03:00.0\"",
		sizeof(o->diag->fix));
	return err;
}

int passthru_open(struct target *t, struct subsystem *s, struct namespace ***ret_namespaces,
		  size_t *ret_n, struct config_diag *diag)
{
	struct opening o = { .target = t, .subsys = s, .diag = diag };
	struct passthru *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->target = t;
	p->subsys = s;
	p->vendor = s->conf->passthrough_vendor_admin;
	p->mdts_len = t->mdts_len;
	p->fd = -1;
	TAILQ_INIT(&p->jobs);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	o.p = p;
	err = open_all(&o);
	if (err)
		return undo(&o, err);
	s->passthru = p;
	*ret_namespaces = o.namespaces;
	*ret_n = o.n;
	return 0;
}

const struct config_namespace *passthru_namespace_conf(const struct namespace *ns)
{
	struct passthru_ns *p = passthru_ns_of(ns);

	if (p->conf[p->turn].cmb != ns->subsys->conf->cmb) {
		p->turn = !p->turn;
		p->conf[p->turn].cmb = ns->subsys->conf->cmb;
	}
	return &p->conf[p->turn];
}

void passthru_close(struct passthru *p)
{
	if (!p)
		return;
	stop_worker(p);
	if (p->fd >= 0)
		close(p->fd);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
