/* The control socket's questions: status, ports, subsystems, namespaces, hosts, controllers. */
#include "target/core.h"
#include "target/daemon/control_call.h"
#include "target/daemon/daemon.h"
#include "target/log.h"
#include "transport/transport.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool is_named(const char *wanted, const char *name)
{
	return !wanted || strcmp(wanted, name) == 0;
}

static void put_texts(struct json_object *o, const char *key, const char *const *texts, size_t n)
{
	struct json_object *array = put_array(o, key);

	for (size_t i = 0; i < n; i++)
		add_text(array, texts[i]);
}

static bool port_listens(const struct daemon *d, uint16_t id)
{
	struct transport_port_usage port;

	for (size_t i = 0; transport_port_usage(d->transport, i, &port); i++)
		if (port.id == id)
			return port.listens;
	return false;
}

/* ---- status ------------------------------------------------------------------------------------
 */

struct totals {
	uint64_t subsystems, namespaces, lost, controllers, queues;
};

static unsigned int count_queues(const struct controller *c)
{
	const struct nvmf_queue *q;
	unsigned int n = 0;

	LIST_FOREACH (q, &c->queues, entry)
		n++;
	return n;
}

static struct totals count_all(const struct target *t)
{
	struct totals n = { 0 };
	const struct subsystem *s;
	const struct namespace *ns;
	const struct controller *c;

	FOR_EACH_SUBSYSTEM(t, s)
	{
		n.subsystems += !s->discovery;
		FOR_EACH_NAMESPACE (s, ns) {
			n.namespaces++;
			n.lost += backend_lost(ns->backend);
		}
		LIST_FOREACH (c, &s->controllers, entry) {
			n.controllers++;
			n.queues += count_queues(c) + (c->admin != NULL);
		}
	}
	return n;
}

static void put_drained(struct json_object *o, const struct target *t)
{
	struct json_object *array = put_array(o, "drained"), *one;
	const struct ana_port *port;
	const struct subsystem *s;

	FOR_EACH_SUBSYSTEM(t, s)
	LIST_FOREACH (port, &s->ana, entry) {
		if (!port->drained)
			continue;
		one = add_object(array);
		put_text(one, "subsystem", s->nqn);
		put_number(one, "port", port->port_id);
	}
}

int control_status(struct control_call *call)
{
	const struct daemon *d = call->daemon;
	struct totals n = count_all(d->target);
	struct json_object *o = call->result = json_object_new_object();
	size_t nlistening = 0;

	for (size_t i = 0; i < d->conf->nports; i++)
		nlistening += port_listens(d, d->conf->ports[i].id);
	put_text(o, "version", NVMF_P2PD_VERSION);
	put_text(o, "state", d->stop_phase ? "stopping" : "running");
	put_text(o, "status", d->service.status[0] ? d->service.status : NULL);
	put_number(o, "pid", (uint64_t)getpid());
	put_number(o, "uptime_s", (uint64_t)call->since);
	put_text(o, "config", d->config_path);
	put_text(o, "log_level", log_level_names[log_get_level()]);
	put_number(o, "reactors", d->reactors.n - 1);
	put_number(o, "cmbs", daemon_control_reactor(d)->set->n);
	put_number(o, "ports", d->conf->nports);
	put_number(o, "ports_listening", nlistening);
	put_number(o, "subsystems", n.subsystems);
	put_number(o, "namespaces", n.namespaces);
	put_number(o, "namespaces_lost", n.lost);
	put_number(o, "controllers", n.controllers);
	put_number(o, "queues", n.queues);
	put_drained(o, d->target);
	put_text(o, "access", call->may_change ? "change" : "read");
	return 0;
}

/* ---- ports and subsystems ----------------------------------------------------------------------
 */

static void put_port(struct json_object *o, const struct daemon *d, const struct config_port *port)
{
	const struct target *t = d->target;
	const struct subsystem *s;
	const struct controller *c;
	struct json_object *subsystems;
	uint64_t ncontrollers = 0;

	put_number(o, "port", port->id);
	put_text(o, "transport", "rdma");
	put_text(o, "address", port->address);
	put_text(o, "service", port->service);
	put_text(o, "state", port_listens(d, port->id) ? "listening" : "waiting");
	put_number(o, "in_capsule_data", port->in_capsule_data_len);
	put_number(o, "queue_depth", port->queue_depth);
	subsystems = put_array(o, "subsystems");
	FOR_EACH_SUBSYSTEM(t, s)
	{
		if (!s->discovery && !s->dying && subsystem_on_port(s, port->id))
			add_text(subsystems, s->nqn);
		LIST_FOREACH (c, &s->controllers, entry)
			ncontrollers += c->port_id == port->id;
	}
	put_number(o, "controllers", ncontrollers);
}

int control_ports(struct control_call *call)
{
	const struct config *conf = call->daemon->conf;
	uint16_t id = 0;
	bool given;
	int err = control_find_port(call, &given, &id);

	if (err)
		return err;
	call->result = json_object_new_array();
	for (size_t i = 0; i < conf->nports; i++)
		if (!given || conf->ports[i].id == id)
			put_port(add_object(call->result), call->daemon, &conf->ports[i]);
	return 0;
}

static void put_subsystem(struct json_object *o, const struct subsystem *s)
{
	const struct config_subsystem *conf = s->conf;
	const struct namespace *ns;
	const struct controller *c;
	struct json_object *array;
	uint64_t ncontrollers = 0;

	put_text(o, "subsystem", s->nqn);
	put_text(o, "serial", s->serial);
	put_text(o, "model", conf->model);
	put_text(o, "state", s->dying ? "going" : subsystem_waits(s) ? "waiting" : "exported");
	put_bool(o, "allow_any_host", conf->allow_any_host);
	put_texts(o, "allowed_hosts", conf->allowed_hosts, conf->nallowed_hosts);
	array = put_array(o, "ports");
	for (size_t i = 0; i < conf->nports; i++)
		add_number(array, conf->ports[i]);
	put_text(o, "controller_model", subsystem_is_static(s) ? "static" : "dynamic");
	put_number(o, "cntlid_min", conf->cntlid_min);
	put_number(o, "cntlid_max", conf->cntlid_max);
	put_number(o, "max_controllers", conf->max_controllers);
	put_number(o, "max_queues", conf->max_queues);
	put_text(o, "passthrough", conf->passthrough);
	array = put_array(o, "namespaces");
	FOR_EACH_NAMESPACE (s, ns)
		add_number(array, ns->nsid);
	LIST_FOREACH (c, &s->controllers, entry)
		ncontrollers++;
	put_number(o, "controllers", ncontrollers);
}

int control_subsystems(struct control_call *call)
{
	struct subsystem *wanted, *s;
	int err = control_find_subsystem(call, &wanted);

	if (err)
		return err;
	call->result = json_object_new_array();
	FOR_EACH_SUBSYSTEM(call->daemon->target, s)
	if (!s->discovery && (!wanted || s == wanted))
		put_subsystem(add_object(call->result), s);
	return 0;
}

/* ---- namespaces --------------------------------------------------------------------------------
 */

static void put_identifiers(struct json_object *o, const struct namespace *ns)
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(ns->ids.uuid, text);
	put_text(o, "uuid", text);
	put_text(o, "nguid", ns->conf->nguid);
	put_text(o, "eui64", ns->conf->eui64);
}

/* What its payload is staged in, as the proofs have it. */
static void put_staging(struct json_object *o, const struct namespace *ns)
{
	static const char *const policies[] = {
		[STAGE_PREFER] = "prefer",
		[STAGE_REQUIRE] = "require",
		[STAGE_OFF] = "off",
	};
	struct json_object *cmbs;

	put_text(o, "cmb", policies[ns->stage.policy]);
	cmbs = put_array(o, "usable_cmbs");
	for (unsigned int i = 0; i < ns->stage.nusable; i++)
		add_text(cmbs, ns->stage.candidate[i].provider->name);
	put_text(o, "why_no_cmb", ns->stage.nusable || !ns->stage.why[0] ? NULL : ns->stage.why);
}

static void put_direction(struct json_object *o, const char *key, const struct namespace *ns,
			  enum data_dir dir)
{
	const struct provider_set *set = control_reactor(ns->target)->set;
	struct json_object *d = put_object(o, key), *staged, *one;
	struct stage_account a;
	uint64_t bytes = 0;
	char place[64];

	namespace_account(ns->target, ns, dir, &a);
	for (unsigned int i = 0; i < STAGE_NPLACES; i++)
		bytes += a.bytes[i];
	put_number(d, "commands", a.commands);
	put_number(d, "failed", a.errors);
	put_number(d, "bytes", bytes);
	put_number(d, "latency_ns", a.latency_ns);
	staged = put_array(d, "staged");
	for (unsigned int i = 0; i < STAGE_NPLACES; i++) {
		if (!a.bytes[i])
			continue;
		one = add_object(staged);
		put_text(one, "in", stage_place_name(set, i, place, sizeof(place)));
		put_number(one, "bytes", a.bytes[i]);
	}
}

static const char *namespace_state(const struct namespace *ns)
{
	if (!backend_lost(ns->backend))
		return "ok";
	return namespace_present(ns) ? "lost" : "waiting";
}

void control_put_namespace(struct json_object *o, const struct namespace *ns)
{
	put_text(o, "subsystem", ns->subsys->nqn);
	put_number(o, "nsid", ns->nsid);
	put_text(o, "device", ns->conf->device);
	put_text(o, "state", namespace_state(ns));
	put_number(o, "size", ns_nlb(ns) << ns->lba_shift);
	put_number(o, "block_size", UINT64_C(1) << ns->lba_shift);
	put_identifiers(o, ns);
	put_number(o, "ana_group", ns->conf->ana_group);
	put_bool(o, "write_protected", ns->write_protected);
	put_bool(o, "polled", ns->conf->polled);
	put_texts(o, "allowed_hosts", ns->conf->allowed_hosts, ns->conf->nallowed_hosts);
	put_staging(o, ns);
	put_direction(o, "read", ns, DATA_C2H);
	put_direction(o, "write", ns, DATA_H2C);
}

int control_namespaces(struct control_call *call)
{
	struct subsystem *wanted, *s;
	struct namespace *only, *ns;
	int err = control_find_namespace(call, &wanted, &only);

	if (err)
		return err;
	call->result = json_object_new_array();
	FOR_EACH_SUBSYSTEM(call->daemon->target, s)
	{
		if (wanted && s != wanted)
			continue;
		FOR_EACH_NAMESPACE (s, ns)
			if (!only || ns == only)
				control_put_namespace(add_object(call->result), ns);
	}
	return 0;
}

/* ---- hosts -------------------------------------------------------------------------------------
 */

/* The host's object in the answer, made when it is met first. */
static struct json_object *host_object(struct json_object *by_name, const struct config *conf,
				       const char *nqn)
{
	const struct config_host *known = config_host(conf, nqn);
	struct json_object *o;

	if (json_object_object_get_ex(by_name, nqn, &o))
		return o;
	o = put_object(by_name, nqn);
	put_text(o, "host", nqn);
	put_array(o, "allowed_in");
	put_array(o, "controllers");
	put_number(o, "queues", 0);
	put_bool(o, "authenticates", known && known->host_key.len);
	return o;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *value = NULL;

	(void)json_object_object_get_ex(o, key, &value);
	return value;
}

static void add_allowed(struct json_object *by_name, const struct config *conf, const char *wanted)
{
	for (size_t i = 0; i < conf->nhosts; i++)
		if (is_named(wanted, conf->hosts[i].nqn))
			(void)host_object(by_name, conf, conf->hosts[i].nqn);
	for (size_t i = 0; i < conf->nsubsystems; i++) {
		const struct config_subsystem *s = &conf->subsystems[i];

		for (size_t h = 0; h < s->nallowed_hosts; h++)
			if (is_named(wanted, s->allowed_hosts[h]))
				add_text(member(host_object(by_name, conf, s->allowed_hosts[h]),
						"allowed_in"),
					 s->nqn);
	}
}

static void add_connected(struct json_object *by_name, const struct config *conf,
			  const struct target *t, const char *wanted)
{
	const struct subsystem *s;
	const struct controller *c;
	struct json_object *o;

	FOR_EACH_SUBSYSTEM(t, s)
	LIST_FOREACH (c, &s->controllers, entry) {
		if (!is_named(wanted, c->hostnqn))
			continue;
		o = host_object(by_name, conf, c->hostnqn);
		add_number(member(o, "controllers"), c->cntlid);
		json_object_set_uint64(member(o, "queues"),
				       json_object_get_uint64(member(o, "queues")) +
					       count_queues(c) + (c->admin != NULL));
	}
}

int control_hosts(struct control_call *call)
{
	struct json_object *by_name = json_object_new_object();
	const char *wanted = control_text(call, "host");
	const struct config *conf = call->daemon->conf;

	if (!by_name)
		return -ENOMEM;
	add_allowed(by_name, conf, wanted);
	add_connected(by_name, conf, call->daemon->target, wanted);
	if (wanted && json_object_object_length(by_name) == 0) {
		json_object_put(by_name);
		return control_refuse(call, -ENOENT,
				      "host %s is neither connected nor in the configuration; "
				      "`nvmf-p2pctl hosts` lists those that are",
				      wanted);
	}
	call->result = json_object_new_array();
	json_object_object_foreach(by_name, name, o)
	{
		(void)name;
		(void)add_value(call->result, json_object_get(o));
	}
	json_object_put(by_name);
	return 0;
}

/* ---- controllers -------------------------------------------------------------------------------
 */

static const char *controller_state(const struct controller *c)
{
	if (!c->admin || c->csts & CSTS_CFS)
		return "ending";
	if (c->csts & CSTS_SHST_MASK)
		return "shut-down";
	if (c->csts & CSTS_RDY)
		return "ready";
	return c->resetting ? "resetting" : "disabled";
}

static void put_controller(struct json_object *o, const struct controller *c)
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(c->hostid, text);
	put_number(o, "controller", c->cntlid);
	put_text(o, "subsystem", c->subsys->nqn);
	put_text(o, "type", c->subsys->discovery ? "discovery" : "I/O");
	put_text(o, "host", c->hostnqn);
	put_text(o, "host_id", text);
	put_text(o, "address", c->address);
	put_number(o, "port", c->port_id);
	put_text(o, "state", controller_state(c));
	put_number(o, "io_queues", count_queues(c));
	put_number(o, "io_queues_granted", c->nqueues);
	put_number(o, "keep_alive_ms", c->kato_ms);
	put_bool(o, "authenticated", c->admin && c->admin->auth && !c->admin->unauthenticated);
	put_number(o, "in_capsule_data", c->in_capsule_len);
	put_number(o, "event_requests", c->naers);
	put_number(o, "errors", c->errors.count);
}

static bool controller_wanted(const struct control_call *call, const struct subsystem *wanted,
			      const struct controller *c)
{
	uint64_t id;

	return (!wanted || c->subsys == wanted) &&
	       is_named(control_text(call, "host"), c->hostnqn) &&
	       (!control_number(call, "controller", &id) || c->cntlid == id);
}

int control_controllers(struct control_call *call)
{
	const struct subsystem *s;
	const struct controller *c;
	struct subsystem *wanted;
	uint64_t id;
	int err = control_find_subsystem(call, &wanted);

	if (err)
		return err;
	call->result = json_object_new_array();
	FOR_EACH_SUBSYSTEM(call->daemon->target, s)
	LIST_FOREACH (c, &s->controllers, entry)
		if (controller_wanted(call, wanted, c))
			put_controller(add_object(call->result), c);
	if (control_number(call, "controller", &id) && call->result &&
	    !json_object_array_length(call->result))
		return control_refuse(call, -ENOENT,
				      "no controller %u; `nvmf-p2pctl controllers` lists them",
				      (unsigned int)id);
	return 0;
}
