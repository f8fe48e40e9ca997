/* The control socket's verbs about paths that hosts take: ANA states, drain and undrain. */
#include "target/core.h"
#include "target/daemon/control_call.h"
#include "target/daemon/daemon.h"
#include "target/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- ANA states --------------------------------------------------------------------------------
 */

static void put_group(struct json_object *o, const struct subsystem *s, uint16_t port_id,
		      unsigned int group)
{
	const struct namespace *ns;
	struct json_object *nsids;

	put_text(o, "subsystem", s->nqn);
	put_number(o, "port", port_id);
	if (group == ANA_GROUP_LOST)
		put_text(o, "group", "lost");
	else
		put_number(o, "group", group);
	put_text(o, "state", config_ana_names[ana_state(s, port_id, group)]);
	nsids = put_array(o, "namespaces");
	FOR_EACH_NAMESPACE (s, ns)
		if (ns->ana_group == group)
			add_number(nsids, ns->nsid);
}

/* A group without namespaces only if it is not as it would be anyway. */
static bool is_worth_a_line(const struct subsystem *s, uint16_t port_id, unsigned int group)
{
	const struct ana_port *port;
	const struct namespace *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (ns->ana_group == group)
			return true;
	if (group == ANA_GROUP_LOST)
		return false;
	LIST_FOREACH (port, &s->ana, entry)
		if (port->port_id == port_id)
			return port->group[group].state != CONFIG_ANA_OPTIMIZED;
	return false;
}

/* @port_id: NULL: all. */
static void show_states(struct control_call *call, const struct subsystem *wanted,
			const uint16_t *port_id)
{
	const struct target *t = call->daemon->target;
	const struct config *conf = call->daemon->conf;

	call->result = json_object_new_array();
	for (size_t i = 1; i < t->nsubsystems; i++)
		for (size_t p = 0; p < conf->nports; p++)
			for (unsigned int g = 1; g <= ANA_GROUP_MAX; g++) {
				const struct subsystem *s = t->subsystems[i];
				const struct config_port *port = &conf->ports[p];

				if ((!wanted || s == wanted) &&
				    (!port_id || *port_id == port->id) &&
				    subsystem_on_port(s, port->id) &&
				    is_worth_a_line(s, port->id, g))
					put_group(add_object(call->result), s, port->id, g);
			}
}

static void explain(struct control_call *call, int err)
{
	if (err == -ECANCELED)
		(void)control_refuse(call, err, "another state was set meanwhile");
	if (err == -ETIMEDOUT)
		(void)control_refuse(call, err,
				     "it is so now, but commands are still in flight after %d s; "
				     "`nvmf-p2pctl queues` shows where",
				     ANA_TRANSITION_S);
	if (err == -EINPROGRESS)
		(void)control_refuse(
			call, err,
			"it is so now, but there was no memory to tell all hosts, which is "
			"tried again each second; the same request again says when it is "
			"done");
}

static void on_set(void *arg, int err)
{
	struct control_call *call = arg;

	explain(call, err);
	control_done(call, err);
}

static enum config_ana parse_state(const char *text)
{
	enum config_ana state = CONFIG_ANA_OPTIMIZED;

	while (strcmp(config_ana_names[state], text) != 0)
		state++;
	return state;
}

int control_ana(struct control_call *call)
{
	const char *text = control_text(call, "state");
	uint16_t port_id = 0;
	enum config_ana state;
	uint64_t group = 0;
	struct subsystem *s;
	bool has_port, has_group = control_number(call, "group", &group);
	int err = control_find_subsystem(call, &s);

	if (!err)
		err = control_find_port(call, &has_port, &port_id);
	if (err)
		return err;
	if (!has_group && !text) {
		show_states(call, s, has_port ? &port_id : NULL);
		return 0;
	}
	if (!s || !has_port || !has_group || !text)
		return control_refuse(
			call, -EINVAL,
			"\"subsystem\", \"port\", \"group\" and \"state\" are needed");
	state = parse_state(text);
	log_info("ANA group %u of %s on port %u: %s, as ordered", (unsigned int)group, s->nqn,
		 port_id, text);
	err = ana_set(call->daemon->target, s, port_id, (uint32_t)group, state, on_set, call);
	if (err == -ENOENT)
		return control_refuse(call, err, "%s is not reached through port %u", s->nqn,
				      port_id);
	return err ? err : CONTROL_LATER;
}

/* ---- drain -------------------------------------------------------------------------------------
 */

/* Which paths: of each subsystem through each of its ports. */
struct choice {
	const struct subsystem *s; /* NULL: any */
	uint16_t port_id;
	bool has_port;
};

struct drain_job {
	struct control_call *call;
	unsigned int nwaiting;
	int err; /* the first */
};

static int choose(struct control_call *call, struct choice *ret)
{
	struct subsystem *s = NULL;
	int err = control_find_subsystem(call, &s);

	if (!err)
		err = control_find_port(call, &ret->has_port, &ret->port_id);
	ret->s = s;
	return err;
}

/* Have @fn called for each path; the discovery service has none. Return: how many. */
static unsigned int for_each_path(const struct control_call *call, const struct choice *choice,
				  void (*fn)(void *arg, struct subsystem *s, uint16_t port_id),
				  void *arg)
{
	const struct target *t = call->daemon->target;
	const struct config *conf = call->daemon->conf;
	unsigned int n = 0;

	for (size_t i = 1; i < t->nsubsystems; i++)
		for (size_t p = 0; p < conf->nports; p++) {
			struct subsystem *s = t->subsystems[i];
			const struct config_port *port = &conf->ports[p];

			if ((choice->s && s != choice->s) || s->dying ||
			    (choice->has_port && port->id != choice->port_id) ||
			    !subsystem_on_port(s, port->id))
				continue;
			if (fn)
				fn(arg, s, port->id);
			n++;
		}
	return n;
}

static void put_path(void *arg, struct subsystem *s, uint16_t port_id)
{
	struct json_object *o = add_object(arg);

	put_text(o, "subsystem", s->nqn);
	put_number(o, "port", port_id);
}

static void put_choice(struct control_call *call, const char *key)
{
	struct choice choice = { 0 };

	call->result = json_object_new_object();
	if (choose(call, &choice) == 0)
		(void)for_each_path(call, &choice, put_path, put_array(call->result, key));
}

static void finish_job(struct drain_job *job)
{
	struct control_call *call = job->call;
	int err = job->err;

	free(job);
	if (err == 0) {
		put_choice(call, "drained");
		put_text(call->result, "note",
			 "hosts without another path wait; `nvmf-p2pctl undrain` or a restart lets "
			 "them go on");
	}
	explain(call, err);
	control_done(call, err);
}

static void on_drained(void *arg, int err)
{
	struct drain_job *job = arg;

	if (!job->err)
		job->err = err;
	if (--job->nwaiting == 0)
		finish_job(job);
}

static void drain_path(void *arg, struct subsystem *s, uint16_t port_id)
{
	struct drain_job *job = arg;
	int err;

	log_info("%s on port %u: drained, as ordered", s->nqn, port_id);
	job->nwaiting++;
	err = ana_drain(job->call->daemon->target, s, port_id, on_drained, job);
	if (err)
		on_drained(job, err);
}

static int refuse_empty(struct control_call *call)
{
	return control_refuse(call, -ENOENT,
			      "no subsystem is reached so; `nvmf-p2pctl ports` shows "
			      "which through which");
}

int control_drain(struct control_call *call)
{
	struct choice choice = { 0 };
	struct drain_job *job;
	int err = choose(call, &choice);

	if (err)
		return err;
	if (for_each_path(call, &choice, NULL, NULL) == 0)
		return refuse_empty(call);
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->call = call;
	job->nwaiting = 1; /* not before all have been asked */
	(void)for_each_path(call, &choice, drain_path, job);
	on_drained(job, 0);
	return CONTROL_LATER;
}

struct undrain_job {
	struct target *target;
	bool untold;
};

static void undrain_path(void *arg, struct subsystem *s, uint16_t port_id)
{
	struct undrain_job *job = arg;

	log_info("%s on port %u: not drained any more, as ordered", s->nqn, port_id);
	if (ana_undrain(job->target, s, port_id))
		job->untold = true;
}

int control_undrain(struct control_call *call)
{
	struct undrain_job job = { .target = call->daemon->target };
	struct choice choice = { 0 };
	int err = choose(call, &choice);

	if (err)
		return err;
	if (for_each_path(call, &choice, undrain_path, &job) == 0)
		return refuse_empty(call);
	put_choice(call, "undrained");
	if (job.untold)
		put_text(
			call->result, "note",
			"there was no memory to tell all hosts now; it is tried again each second");
	return 0;
}
