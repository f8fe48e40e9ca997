/* A namespace: its device, opened and proved; its drive that comes and goes. */
#include "target/core.h"
#include "target/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FIELDS_OF(ns)                                                                              \
	LOG_FIELDS(.nqn = (ns)->subsys->nqn, .nsid = (ns)->nsid, .device = (ns)->conf->device)

static void set_ns_uuid(const struct subsystem *s, struct namespace *ns)
{
	char name[CONFIG_NQN_MAX + 16];

	if (ns->conf->has_uuid) {
		memcpy(ns->ids.uuid, ns->conf->uuid, sizeof(ns->ids.uuid));
		return;
	}
	snprintf(name, sizeof(name), "%s/%u", s->nqn, ns->nsid);
	derive_uuid(name, ns->ids.uuid);
}

/* @n bytes of the digits that the configuration has, checked. */
static void put_hex(uint8_t *to, size_t n, const char *digits)
{
	for (size_t i = 0; i < n; i++) {
		char byte[3] = { digits[2 * i], digits[2 * i + 1], '\0' };

		to[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

/* Some hosts (ESXi) name namespaces by NGUID or EUI-64 only, so there is always an NGUID: the
 * UUID's 128 bits, which are as unique and stay the same as long. An EUI-64 is too small to be
 * derived, and all of it belongs to somebody. */
static void set_ns_ids(const struct subsystem *s, struct namespace *ns)
{
	struct namespace_ids *ids = &ns->ids;

	*ids = (struct namespace_ids){ 0 };
	set_ns_uuid(s, ns);
	memcpy(ids->nguid, ids->uuid, sizeof(ids->nguid));
	if (ns->conf->nguid)
		put_hex(ids->nguid, sizeof(ids->nguid), ns->conf->nguid);
	if (ns->conf->eui64)
		put_hex(ids->eui64, sizeof(ids->eui64), ns->conf->eui64);
}

struct state_file namespace_state_file(const struct namespace *ns, const char *what)
{
	char name[CONFIG_NQN_MAX + 32], uuid[UUID_STR_LEN];
	struct state_file ret;
	uuid_t id = { 0 };

	snprintf(name, sizeof(name), "%s/%u/%s", ns->subsys->nqn, ns->nsid, what);
	derive_uuid(name, id);
	uuid_unparse_lower(id, uuid);
	snprintf(ret.text, sizeof(ret.text), "%s-%s", what, uuid);
	return ret;
}

/* Read some blocks for the proof: 64 KiB, or all of a device that is smaller. */
static size_t proof_len(const struct namespace *ns)
{
	uint64_t size = ns_nlb(ns) << ns->lba_shift;

	return size < 65536 ? (size_t)size : 65536;
}

static enum stage_policy policy_of(enum config_cmb cmb)
{
	static const enum stage_policy policy[] = {
		[CONFIG_CMB_PREFER] = STAGE_PREFER,
		[CONFIG_CMB_REQUIRE] = STAGE_REQUIRE,
		[CONFIG_CMB_OFF] = STAGE_OFF,
	};

	return policy[cmb];
}

static void log_stage(const struct namespace *ns)
{
	const struct stage_target *st = &ns->stage;

	if (st->nusable || st->policy == STAGE_OFF)
		log_event(JOURNAL_NS_ADDED, FIELDS_OF(ns), "namespace %u of %s: %s, staged in %s",
			  ns->nsid, ns->subsys->nqn, ns->conf->device,
			  st->nusable ? st->why : "host memory as configured");
	else
		log_event(JOURNAL_PATH_NOT_PROVED, FIELDS_OF(ns), "namespace %u of %s: %s, %s: %s",
			  ns->nsid, ns->subsys->nqn, ns->conf->device,
			  st->policy == STAGE_REQUIRE ? "commands will fail (cmb = \"require\")"
						      : "staged in host memory",
			  st->why);
	if (st->nusable && st->candidate[0].write.verdict == PROOF_UNKNOWN)
		log_info("namespace %u of %s: that it writes from CMB rightly is not proved: %s",
			 ns->nsid, ns->subsys->nqn, st->candidate[0].write.why);
}

static void prove(struct target *t, struct namespace *ns)
{
	struct stage_target before = ns->stage;
	const struct backend_info *info = &ns->backend->info;

	if (backend_lost(ns->backend))
		return;
	topology_block_client(t->topo, info->major, info->minor, &ns->stage.client);
	stage_target_prove(&ns->stage, control_reactor(t)->set, t->topo, info->fd, proof_len(ns),
			   ns->scratch_fd, info->copies);
	if (strcmp(before.why, ns->stage.why) != 0)
		log_stage(ns);
}

static int scratch_error(const struct namespace *ns, struct config_diag *diag, int err,
			 const char *why)
{
	*diag = (struct config_diag){ .line = ns->conf->where.line };
	strlcpy(diag->file, ns->conf->where.file, sizeof(diag->file));
	snprintf(diag->what, sizeof(diag->what), "namespace %u of %s: scratch %s: %s", ns->nsid,
		 ns->subsys->nqn, ns->conf->scratch, why);
	snprintf(
		diag->fix, sizeof(diag->fix),
		"name a partition of the same drive of at least 64 KiB that nobody uses, or leave it out");
	return err;
}

/* O_EXCL: nobody may have it mounted. It must lie on the same drive, or it would prove another. */
static int open_scratch(struct target *t, struct namespace *ns, struct config_diag *diag)
{
	struct p2p_client drive, scratch;
	struct stat st;

	ns->scratch_fd = -1;
	if (!ns->conf->scratch)
		return 0;
	ns->scratch_fd = open(ns->conf->scratch, O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC);
	if (ns->scratch_fd < 0 || fstat(ns->scratch_fd, &st) < 0)
		return scratch_error(ns, diag, -errno, strerror(errno));
	if (!S_ISBLK(st.st_mode))
		return scratch_error(ns, diag, -ENOTBLK, "is no block device");
	topology_block_client(t->topo, ns->backend->info.major, ns->backend->info.minor, &drive);
	topology_block_client(t->topo, major(st.st_rdev), minor(st.st_rdev), &scratch);
	if (drive.n == 0 || drive.n != scratch.n ||
	    memcmp(drive.bdf, scratch.bdf, drive.n * sizeof(drive.bdf[0])) != 0)
		return scratch_error(ns, diag, -EXDEV, "is not on the namespace's drive");
	if (major(st.st_rdev) == ns->backend->info.major &&
	    minor(st.st_rdev) == ns->backend->info.minor)
		return scratch_error(ns, diag, -EEXIST, "is the namespace itself");
	return 0;
}

static int refuse(const struct config_namespace *conf, const struct subsystem *s, const char *why,
		  int err, struct config_diag *diag)
{
	*diag = (struct config_diag){ .line = conf->where.line };
	strlcpy(diag->file, conf->where.file, sizeof(diag->file));
	snprintf(diag->what, sizeof(diag->what), "namespace %u of %s: %s: %s: %s", conf->nsid,
		 s->nqn, conf->device, why, strerror(-err));
	snprintf(diag->fix, sizeof(diag->fix), "%s",
		 err == -EOPNOTSUPP
			 ? "leave polled out"
			 : "name a block device with blocks of 512 or 4096 bytes, or a file");
	return err;
}

static int create_shards(struct namespace *ns)
{
	unsigned int n = ns->target->reactors->n;

	ns->shard = aligned_alloc(_Alignof(struct ns_shard), n * sizeof(*ns->shard));
	if (!ns->shard)
		return -ENOMEM;
	memset(ns->shard, 0, n * sizeof(*ns->shard));
	for (unsigned int i = 0; i < n; i++) {
		stage_client_init(&ns->shard[i].stage);
		TAILQ_INIT(&ns->shard[i].parked);
		ns->shard[i].ns = ns;
		ns->shard[i].drained.run = namespace_shard_drained;
	}
	return 0;
}

void namespace_set_conf(struct target *t, struct namespace *ns, const struct config_namespace *conf)
{
	struct namespace_ids before = ns->ids;

	if (ns->conf == conf) /* a new one */
		return;
	ns->conf = conf;
	(void)namespace_regroup(ns);
	set_ns_ids(ns->subsys, ns);
	ns->changed = memcmp(&before, &ns->ids, sizeof(before)) != 0;
	if (ns->changed)
		ns_reservation_rename(ns);
	if (ns->stage.policy != policy_of(conf->cmb)) {
		ns->stage.policy = policy_of(conf->cmb);
		ns->stage.why[0] = '\0'; /* say it */
		prove(t, ns);
	}
}

int namespace_open(struct target *t, struct subsystem *s, const struct config_namespace *conf,
		   struct namespace **ret_ns, struct config_diag *diag)
{
	struct backend *backend;
	const char *why;
	int err = backend_block_open(t->reactors, conf->device, conf->polled, &backend, &why);

	if (err && !backend_may_come(err))
		return refuse(conf, s, why, err, diag);
	if (err)
		log_event(
			JOURNAL_NS_WAITING,
			LOG_FIELDS(.nqn = s->nqn, .nsid = conf->nsid, .device = conf->device),
			"namespace %u of %s: %s %s (%s): hosts will see it when the device is there",
			conf->nsid, s->nqn, conf->device, why, strerror(-err));
	return namespace_create(t, s, conf, backend, ret_ns, diag);
}

int namespace_create(struct target *t, struct subsystem *s, const struct config_namespace *conf,
		     struct backend *backend, struct namespace **ret_ns, struct config_diag *diag)
{
	struct namespace *ns = calloc(1, sizeof(*ns));
	int err;

	if (!ns) {
		backend->ops->close(backend);
		return -ENOMEM;
	}
	ns->backend = backend;
	ns->target = t;
	ns->conf = conf;
	ns->subsys = s;
	ns->nsid = conf->nsid;
	ns->scratch_fd = -1;
	STAILQ_INIT(&ns->protecting);
	STAILQ_INIT(&ns->drains);
	STAILQ_INIT(&ns->locks);
	set_ns_ids(s, ns);
	(void)namespace_regroup(ns);
	ns->stage.reason = STAGE_HOST_LOST; /* until it is proved */
	ns->stage.policy = policy_of(conf->cmb);
	ns->nlb = ns->backend->info.nlb;
	ns->lba_shift = ns->backend->info.lba_shift;
	err = create_shards(ns);
	worker_flush(t->worker); /* a namespace that goes may be writing the files that are read */
	if (!err)
		err = ns_reservation_open(ns, diag);
	if (!err)
		err = namespace_protect_open(ns, diag);
	if (!err && !backend_lost(backend))
		err = open_scratch(t, ns, diag);
	if (err) {
		namespace_close(ns);
		return err;
	}
	prove(t, ns);
	*ret_ns = ns;
	return 0;
}

void namespace_close(struct namespace *ns)
{
	if (!ns)
		return;
	assert(STAILQ_EMPTY(&ns->drains) && STAILQ_EMPTY(&ns->locks));
	assert(STAILQ_EMPTY(&ns->protecting));
	health_forget(ns);
	if (ns->scratch_fd >= 0)
		close(ns->scratch_fd);
	ns->backend->ops->close(ns->backend);
	ns_reservation_close(ns);
	free(ns->shard);
	free(ns);
}

/* ---- what the reactors are told ----------------------------------------------------------------
 */

struct publication {
	struct target *t;
	unsigned int reactor;
};

static void take_views(void *arg)
{
	const struct publication *p = arg;

	struct namespace *ns;

	for (size_t s = 0; s < p->t->nsubsystems; s++)
		FOR_EACH_NAMESPACE (p->t->subsystems[s], ns)
			stage_target_view(&ns->stage, &ns->shard[p->reactor].stage.view);
}

/* Each reactor takes its copy in its own thread, between two rounds. */
void target_publish_views(struct target *t)
{
	for (unsigned int i = 0; i < t->reactors->n; i++) {
		struct publication p = { t, i };

		reactor_call(t->reactors->r[i], take_views, &p);
	}
}

static void note_failed(struct namespace *ns, const struct provider_set *set, uint32_t failed)
{
	for (unsigned int i = 0; i < set->n; i++)
		if (failed & UINT32_C(1) << i && stage_target_failed(&ns->stage, i))
			log_event(
				JOURNAL_PATH_DROPPED,
				LOG_FIELDS(.nqn = ns->subsys->nqn, .nsid = ns->nsid,
					   .device = ns->conf->device,
					   .provider = set->provider[i]->name),
				"namespace %u of %s: the drive refused an I/O in the CMB of %s: not used until it is proved again (SIGUSR2)",
				ns->nsid, ns->subsys->nqn, set->provider[i]->name);
}

static bool take_failed(struct namespace *ns)
{
	bool any = false;

	for (unsigned int i = 0; i < ns->target->reactors->n; i++) {
		uint32_t failed = __atomic_exchange_n(&ns->shard[i].failed, 0, __ATOMIC_RELAXED);

		if (failed)
			note_failed(ns, control_reactor(ns->target)->set, failed);
		any |= failed != 0;
	}
	return any;
}

void target_on_trouble_message(struct message *m)
{
	struct target *t = (void *)((uint8_t *)m - offsetof(struct target, trouble_message));
	struct namespace *ns;
	bool any = false;

	__atomic_store_n(&t->trouble_posted, false, __ATOMIC_SEQ_CST);
	for (size_t s = 0; s < t->nsubsystems; s++)
		FOR_EACH_NAMESPACE (t->subsystems[s], ns)
			any |= take_failed(ns);
	if (any)
		target_publish_views(t);
	if (t->trouble)
		t->trouble(t->trouble_arg);
}

void target_tell_trouble(struct target *t)
{
	if (!__atomic_exchange_n(&t->trouble_posted, true, __ATOMIC_SEQ_CST))
		reactor_post(control_reactor(t), &t->trouble_message);
}

/* ---- drives that come and go -------------------------------------------------------------------
 */

void target_prove(struct target *t)
{
	struct namespace *ns;

	for (size_t s = 0; s < t->nsubsystems; s++)
		FOR_EACH_NAMESPACE (t->subsystems[s], ns)
			if (!backend_lost(ns->backend))
				prove(t, ns);
	target_publish_views(t);
}

void target_provider_lost(struct target *t)
{
	struct namespace *ns;

	for (size_t s = 0; s < t->nsubsystems; s++)
		FOR_EACH_NAMESPACE (t->subsystems[s], ns)
			stage_target_refresh(&ns->stage);
	target_publish_views(t);
}

/* A device that was not there when the namespace was made. Nobody sees it yet. */
static void arrive(struct namespace *ns)
{
	struct config_diag diag;

	ns->lba_shift = ns->backend->info.lba_shift;
	__atomic_store_n(&ns->nlb, ns->backend->info.nlb, __ATOMIC_RELAXED);
	if (open_scratch(ns->target, ns, &diag)) {
		log_warn("%s; its writes are proved without", diag.what);
		if (ns->scratch_fd >= 0)
			close(ns->scratch_fd);
		ns->scratch_fd = -1;
	}
	prove(ns->target, ns);
	target_publish_views(ns->target);
}

static void reopen(struct namespace *ns, bool *ret_back)
{
	const char *why;
	int err = ns->backend->ops->reopen(ns->backend, &why);

	if (!err) {
		__atomic_store_n(&ns->backend->lost, false, __ATOMIC_RELAXED);
		*ret_back = true;
		log_event(JOURNAL_NS_BACK, FIELDS_OF(ns), "namespace %u of %s: %s is %s", ns->nsid,
			  ns->subsys->nqn, ns->conf->device,
			  namespace_present(ns) ? "back" : "there");
		if (!namespace_present(ns))
			arrive(ns);
	} else if (err == -ESTALE) {
		log_debug("namespace %u of %s: %s: %s", ns->nsid, ns->subsys->nqn, ns->conf->device,
			  why);
	}
}

bool namespace_regroup(struct namespace *ns)
{
	uint8_t was = ns->ana_group;

	ns->ana_group = backend_lost(ns->backend) ? ANA_GROUP_LOST : (uint8_t)ns->conf->ana_group;
	return ns->ana_group != was;
}

/* Return: it is gone, and nobody knew. */
static bool note_loss(struct namespace *ns)
{
	struct backend *b = ns->backend;

	if (backend_lost(b) || !b->ops->gone(b))
		return false;
	__atomic_store_n(&b->lost, true, __ATOMIC_RELAXED);
	ns->target->events.devices_lost++;
	log_event(JOURNAL_NS_LOST, FIELDS_OF(ns),
		  "namespace %u of %s: %s is gone; it is inaccessible (ANA) until it is back",
		  ns->nsid, ns->subsys->nqn, ns->conf->device);
	return true;
}

static bool check_device(struct namespace *ns, bool *ret_back)
{
	(void)note_loss(ns);
	if (backend_lost(ns->backend))
		reopen(ns, ret_back);
	return backend_lost(ns->backend);
}

static void tell_hosts(struct target *t)
{
	if (target_remap(t))
		log_error("no memory to tell all hosts of a lost or returned device");
}

unsigned int target_check_devices(struct target *t, bool *ret_back)
{
	struct namespace *ns;
	unsigned int nlost = 0;
	bool moved = false;

	*ret_back = false;
	for (size_t s = 0; s < t->nsubsystems; s++) {
		if (subsystem_waits(t->subsystems[s]))
			nlost += !subsystem_open_passthru(t->subsystems[s]);
		FOR_EACH_NAMESPACE (t->subsystems[s], ns) {
			nlost += check_device(ns, ret_back);
			moved |= namespace_regroup(ns);
		}
	}
	if (moved)
		tell_hosts(t);
	return nlost;
}

unsigned int target_waiting(const struct target *t, FILE *out)
{
	const struct namespace *ns;
	unsigned int n = 0;

	for (size_t i = 0; i < t->nsubsystems; i++) {
		const struct subsystem *s = t->subsystems[i];

		if (subsystem_waits(s)) {
			n++;
			fprintf(out, "; subsystem %s: controller %s is not there yet", s->nqn,
				s->conf->passthrough);
		}
		FOR_EACH_NAMESPACE (s, ns)
			if (backend_lost(ns->backend)) {
				n++;
				fprintf(out, "; namespace %u of %s: %s is %s", ns->nsid, s->nqn,
					ns->conf->device,
					namespace_present(ns) ? "gone" : "not there yet");
			}
	}
	return n;
}

bool target_waits(const struct target *t)
{
	const struct namespace *ns;

	for (size_t i = 0; i < t->nsubsystems; i++) {
		if (subsystem_waits(t->subsystems[i]))
			return true;
		FOR_EACH_NAMESPACE (t->subsystems[i], ns)
			if (backend_lost(ns->backend))
				return true;
	}
	return false;
}

static bool check_size(struct namespace *ns)
{
	struct backend *b = ns->backend;
	uint64_t nlb = backend_lost(b) ? 0 : b->ops->nlb(b);

	if (nlb == 0 || nlb == ns_nlb(ns))
		return false;
	log_event(JOURNAL_NS_RESIZED, FIELDS_OF(ns),
		  "namespace %u of %s: %s has %" PRIu64 " blocks now, %" PRIu64 " before", ns->nsid,
		  ns->subsys->nqn, ns->conf->device, nlb, ns_nlb(ns));
	b->info.nlb = nlb;
	__atomic_store_n(&ns->nlb, nlb, __ATOMIC_RELAXED);
	ns->changed = true;
	return true;
}

void target_check_sizes(struct target *t)
{
	struct namespace *ns;
	bool any = false;

	for (size_t s = 0; s < t->nsubsystems; s++)
		FOR_EACH_NAMESPACE (t->subsystems[s], ns)
			any |= check_size(ns);
	if (any && target_remap(t))
		log_error("no memory to tell all hosts of a namespace's new size");
}

/* In the control thread; the status that the I/O would have else is in req->status. */
static uint16_t is_it_gone(struct nvmf_req *req)
{
	struct namespace *ns = req->ns;

	if (note_loss(ns) && namespace_regroup(ns)) {
		tell_hosts(ns->target);
		target_tell_trouble(ns->target); /* look for it from now on */
	}
	return backend_lost(ns->backend) ? NVME_PATH_INACCESSIBLE : req->status;
}

/* All that the kernel says of a dying disk: EIO, ENODEV, and ENOSPC or an end, because it has no
 * bytes any more. The host shall not take that for the medium's fault. */
void io_ended(struct nvmf_req *req, uint16_t status)
{
	switch (status) {
	case NVME_INTERNAL_ERROR:
	case NVME_NS_NOT_READY:
	case NVME_CAPACITY_EXCEEDED | NVME_DNR:
	case NVME_LBA_OUT_OF_RANGE | NVME_DNR:
		req->status = status;
		nvmf_req_in_control(req, is_it_gone);
		break;
	default:
		nvmf_req_complete(req, status);
	}
}

void target_on_trouble(struct target *t, void (*trouble)(void *arg), void *arg)
{
	t->trouble = trouble;
	t->trouble_arg = arg;
}

static void report_namespace(const struct namespace *ns, struct report *report)
{
	char client[160];

	snprintf(client, sizeof(client), "drive %s%s%s",
		 ns->stage.client.n ? ns->stage.client.bdf[0] : "", ns->stage.client.n ? " " : "",
		 ns->conf->device);
	for (unsigned int i = 0; i < ns->stage.ncandidates; i++) {
		const struct stage_candidate *c = &ns->stage.candidate[i];
		struct report_row row = { .provider = c->provider->name,
					  .client = client,
					  .path = &c->path,
					  .state = c->provider->state };

		row.operation = "drive writes CMB";
		row.proof = &c->read;
		report_add(report, &row);
		row.operation = "drive reads CMB";
		row.proof = &c->write;
		report_add(report, &row);
	}
}

void target_report(const struct target *t, struct report *report)
{
	const struct namespace *ns;

	for (size_t s = 0; s < t->nsubsystems; s++)
		FOR_EACH_NAMESPACE (t->subsystems[s], ns)
			report_namespace(ns, report);
}
