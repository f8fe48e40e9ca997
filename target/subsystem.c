/* Subsystems and namespaces: from the configuration model to open, proved devices. */
#include "target/core.h"
#include "target/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libnvme.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Name-based UUIDs (RFC 9562, version 5) under this one keep identifiers stable over restarts. A
 * namespace never shows its drive's own: a host that shares a kernel with the drive would ignore it
 * as a duplicate. */
static const char identity_space[] = "0f2a6d2c-6f3e-4c57-9c0d-8d6f3f5e2b41";

static void derive_uuid(const char *name, uuid_t ret)
{
	uuid_t space;

	uuid_parse(identity_space, space);
	uuid_generate_sha1(ret, space, name, strlen(name));
}

static void set_serial(struct subsystem *s)
{
	uuid_t id = { 0 };

	if (s->conf && s->conf->serial) {
		strlcpy(s->serial, s->conf->serial, sizeof(s->serial));
		return;
	}
	derive_uuid(s->nqn, id);
	for (int i = 0; i < CONFIG_SERIAL_MAX / 2; i++)
		snprintf(s->serial + 2 * i, 3, "%02x", id[i]);
}

static void set_ns_uuid(const struct subsystem *s, struct namespace *ns)
{
	char name[CONFIG_NQN_MAX + 16];

	if (ns->conf->has_uuid) {
		memcpy(ns->uuid, ns->conf->uuid, sizeof(ns->uuid));
		return;
	}
	snprintf(name, sizeof(name), "%s/%u", s->nqn, ns->nsid);
	derive_uuid(name, ns->uuid);
}

/* Read some blocks for the proof: 64 KiB, or all of a device that is smaller. */
static size_t proof_len(const struct namespace *ns)
{
	uint64_t size = ns->nlb << ns->lba_shift;

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
		log_info("namespace %u of %s: %s, staged in %s", ns->nsid, ns->subsys->nqn,
			 ns->conf->device, st->nusable ? st->why : "host memory as configured");
	else
		log_warn("namespace %u of %s: %s, %s: %s", ns->nsid, ns->subsys->nqn,
			 ns->conf->device,
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

	topology_block_client(t->topo, info->major, info->minor, &ns->stage.client);
	stage_target_prove(&ns->stage, control_reactor(t)->set, t->topo, info->fd, proof_len(ns),
			   ns->scratch_fd);
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

static int open_namespace(struct target *t, struct subsystem *s, struct namespace *ns,
			  const struct config_namespace *conf, struct config_diag *diag)
{
	const char *why;
	int err = backend_block_open(t->reactors, conf->device, conf->polled, &ns->backend, &why);

	if (err) {
		*diag = (struct config_diag){ .line = conf->where.line };
		strlcpy(diag->file, conf->where.file, sizeof(diag->file));
		snprintf(diag->what, sizeof(diag->what), "namespace %u of %s: %s: %s: %s",
			 conf->nsid, s->nqn, conf->device, why, strerror(-err));
		snprintf(
			diag->fix, sizeof(diag->fix), "%s",
			err == -EOPNOTSUPP
				? "leave polled out"
				: "name a block device with blocks of 512 or 4096 bytes, or a file");
		return err;
	}
	ns->shard = aligned_alloc(_Alignof(struct ns_shard), t->reactors->n * sizeof(*ns->shard));
	if (!ns->shard) {
		ns->backend->ops->close(ns->backend);
		return -ENOMEM;
	}
	memset(ns->shard, 0, t->reactors->n * sizeof(*ns->shard));
	for (unsigned int i = 0; i < t->reactors->n; i++)
		stage_client_init(&ns->shard[i].stage);
	ns->conf = conf;
	ns->subsys = s;
	ns->nsid = conf->nsid;
	ns->nlb = ns->backend->info.nlb;
	ns->lba_shift = ns->backend->info.lba_shift;
	set_ns_uuid(s, ns);
	ns->stage.policy = policy_of(conf->cmb);
	err = open_scratch(t, ns, diag);
	if (err) {
		ns->backend->ops->close(ns->backend);
		free(ns->shard);
		return err;
	}
	prove(t, ns);
	return 0;
}

static int open_subsystem(struct target *t, struct subsystem *s,
			  const struct config_subsystem *conf, struct config_diag *diag)
{
	s->conf = conf;
	s->nqn = conf->nqn;
	set_serial(s);
	LIST_INIT(&s->controllers);
	s->namespaces = calloc(conf->nnamespaces ? conf->nnamespaces : 1, sizeof(*s->namespaces));
	if (!s->namespaces)
		return -ENOMEM;
	for (size_t i = 0; i < conf->nnamespaces; i++) {
		int err = open_namespace(t, s, &s->namespaces[i], &conf->namespaces[i], diag);

		if (err)
			return err;
		s->nnamespaces++;
	}
	return 0;
}

static void open_discovery(struct subsystem *s)
{
	s->nqn = NVME_DISC_SUBSYS_NAME;
	s->discovery = true;
	set_serial(s);
	LIST_INIT(&s->controllers);
}

/* ---- what the reactors are told ----------------------------------------------------------------
 */

/* NOLINTBEGIN(bugprone-macro-parentheses): it declares ns */
#define FOR_EACH_NAMESPACE(t, ns)                                                                  \
	for (size_t s_ = 0; s_ < (t)->nsubsystems; s_++)                                           \
		for (struct namespace *ns = (t)->subsystems[s_].namespaces,                        \
				      *end_ = ns + (t)->subsystems[s_].nnamespaces;                \
		     ns < end_; ns++)
/* NOLINTEND(bugprone-macro-parentheses) */

struct publication {
	struct target *t;
	unsigned int reactor;
};

static void take_views(void *arg)
{
	const struct publication *p = arg;

	FOR_EACH_NAMESPACE(p->t, ns)
	stage_target_view(&ns->stage, &ns->shard[p->reactor].stage.view);
}

/* Each reactor takes its copy in its own thread, between two rounds. */
static void publish(struct target *t)
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
			log_warn(
				"namespace %u of %s: the drive refused an I/O in the CMB of %s: not used until it is proved again (SIGUSR2)",
				ns->nsid, ns->subsys->nqn, set->provider[i]->name);
}

static void on_trouble(struct message *m)
{
	struct target *t = (void *)((uint8_t *)m - offsetof(struct target, trouble_message));
	bool any = false;

	__atomic_store_n(&t->trouble_posted, false, __ATOMIC_SEQ_CST);
	FOR_EACH_NAMESPACE(t, ns)
	for (unsigned int i = 0; i < t->reactors->n; i++) {
		uint32_t failed = __atomic_exchange_n(&ns->shard[i].failed, 0, __ATOMIC_RELAXED);

		if (failed)
			note_failed(ns, control_reactor(t)->set, failed);
		any |= failed != 0;
	}
	if (any)
		publish(t);
	if (t->trouble)
		t->trouble(t->trouble_arg);
}

void target_tell_trouble(struct target *t)
{
	if (!__atomic_exchange_n(&t->trouble_posted, true, __ATOMIC_SEQ_CST))
		reactor_post(control_reactor(t), &t->trouble_message);
}

/* ---- life --------------------------------------------------------------------------------------
 */

int target_create(const struct config *c, const struct reactors *reactors,
		  const struct topology *topo, struct target **ret_target, struct config_diag *diag)
{
	struct target *t = calloc(1, sizeof(*t));
	int err = 0;

	*diag = (struct config_diag){ .what = "no memory" };
	if (!t)
		return -ENOMEM;
	t->conf = c;
	t->topo = topo;
	t->reactors = reactors;
	t->trouble_message.run = on_trouble;
	t->mdts_len = c->max_transfer_len;
	t->next_cntlid = 1;
	t->subsystems = calloc(c->nsubsystems + 1, sizeof(*t->subsystems));
	if (!t->subsystems) {
		free(t);
		return -ENOMEM;
	}
	open_discovery(&t->subsystems[0]);
	t->nsubsystems = 1;
	for (size_t i = 0; i < c->nsubsystems && !err; i++)
		err = open_subsystem(t, &t->subsystems[t->nsubsystems++], &c->subsystems[i], diag);
	if (err) {
		target_destroy(t);
		return err;
	}
	publish(t);
	*ret_target = t;
	return 0;
}

void target_destroy(struct target *t)
{
	if (!t)
		return;
	while (reactor_run_messages(control_reactor(t))) /* maybe about trouble */
		;
	for (size_t i = 0; i < t->nsubsystems; i++) {
		struct subsystem *s = &t->subsystems[i];

		assert(LIST_EMPTY(&s->controllers));
		for (size_t n = 0; n < s->nnamespaces; n++) {
			if (s->namespaces[n].scratch_fd >= 0)
				close(s->namespaces[n].scratch_fd);
			s->namespaces[n].backend->ops->close(s->namespaces[n].backend);
			free(s->namespaces[n].shard);
		}
		free(s->namespaces);
	}
	free(t->subsystems);
	free(t);
}

/* ---- drives that come and go -------------------------------------------------------------------
 */

void target_prove(struct target *t)
{
	FOR_EACH_NAMESPACE(t, ns)
	if (!backend_lost(ns->backend))
		prove(t, ns);
	publish(t);
}

void target_provider_lost(struct target *t)
{
	FOR_EACH_NAMESPACE(t, ns)
	stage_target_refresh(&ns->stage);
	publish(t);
}

static void reopen(struct namespace *ns, bool *ret_back)
{
	const char *why;
	int err = ns->backend->ops->reopen(ns->backend, &why);

	if (!err) {
		__atomic_store_n(&ns->backend->lost, false, __ATOMIC_RELAXED);
		*ret_back = true;
		log_info("namespace %u of %s: %s is back", ns->nsid, ns->subsys->nqn,
			 ns->conf->device);
	} else if (err == -ESTALE) {
		log_debug("namespace %u of %s: %s: %s", ns->nsid, ns->subsys->nqn, ns->conf->device,
			  why);
	}
}

unsigned int target_check_devices(struct target *t, bool *ret_back)
{
	unsigned int nlost = 0;

	*ret_back = false;
	FOR_EACH_NAMESPACE(t, ns)
	{
		struct backend *b = ns->backend;

		if (!backend_lost(b) && b->ops->gone(b)) {
			__atomic_store_n(&b->lost, true, __ATOMIC_RELAXED);
			log_warn(
				"namespace %u of %s: %s is gone; commands are answered with Namespace Not Ready until it is back",
				ns->nsid, ns->subsys->nqn, ns->conf->device);
		}
		if (backend_lost(b))
			reopen(ns, ret_back);
		nlost += backend_lost(b);
	}
	return nlost;
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
	FOR_EACH_NAMESPACE(t, ns)
	report_namespace(ns, report);
}

void target_stop(struct target *t)
{
	for (size_t i = 0; i < t->nsubsystems; i++) {
		struct controller *c, *next;

		LIST_FOREACH_SAFE (c, &t->subsystems[i].controllers, entry, next)
			controller_disconnect(c);
	}
}

struct subsystem *subsystem_find(struct target *t, const char *nqn)
{
	for (size_t i = 0; i < t->nsubsystems; i++)
		if (strcmp(t->subsystems[i].nqn, nqn) == 0)
			return &t->subsystems[i];
	return NULL;
}

bool subsystem_on_port(const struct subsystem *s, const struct config_port *port)
{
	if (s->discovery)
		return true;
	for (size_t i = 0; i < s->conf->nports; i++)
		if (s->conf->ports[i] == port->id)
			return true;
	return false;
}

bool subsystem_allows(const struct subsystem *s, const char *hostnqn)
{
	if (s->discovery || s->conf->allow_any_host)
		return true;
	for (size_t i = 0; i < s->conf->nallowed_hosts; i++)
		if (strcmp(s->conf->allowed_hosts[i], hostnqn) == 0)
			return true;
	return false;
}

/* They ascend by nsid, and most often it is 1, 2, 3, ... without a gap. */
struct namespace *subsystem_namespace(const struct subsystem *s, uint32_t nsid)
{
	size_t low = 0, high = s->nnamespaces;

	if (nsid - 1 < high && s->namespaces[nsid - 1].nsid == nsid)
		return &s->namespaces[nsid - 1];
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->namespaces[mid].nsid == nsid)
			return &s->namespaces[mid];
		if (s->namespaces[mid].nsid < nsid)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}
