/* The control socket's orders: namespaces, hosts, the configuration, the log. */
#include "config/diag.h"
#include "target/core.h"
#include "target/daemon/control_call.h"
#include "target/daemon/daemon.h"
#include "target/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the configuration -------------------------------------------------------------------------
 */

int control_config(struct control_call *call)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct json_object *value;
	bool complete;

	if (!out)
		return -ENOMEM;
	config_print(call->daemon->conf, out, false);
	complete = !ferror(out);
	complete &= fclose(out) == 0;
	if (complete) {
		call->result = json_object_new_object();
		value = json_object_new_string(text); /* with its newlines: not put_text() */
		complete = value && put_value(call->result, "config", value);
	}
	free(text);
	return complete ? 0 : -ENOMEM;
}

/* @where: the file and line count; else what was asked is to blame. */
static int refuse_diag(struct control_call *call, int err, const struct config_diag *diag,
		       bool where)
{
	const char *fix = diag->fix[0] ? "; " : "";

	if (!diag->what[0])
		return control_refuse(call, err, "%s; nothing has changed", strerror(-err));
	if (where && diag->line)
		return control_refuse(call, err, "%s:%u: %s%s%s; nothing has changed", diag->file,
				      diag->line, diag->what, fix, diag->fix);
	if (where && diag->file[0])
		return control_refuse(call, err, "%s: %s%s%s; nothing has changed", diag->file,
				      diag->what, fix, diag->fix);
	return control_refuse(call, err, "%s%s%s; nothing has changed", diag->what, fix, diag->fix);
}

int control_reload(struct control_call *call)
{
	struct config_diag diag = { 0 };
	int err = daemon_reload(call->daemon, &diag);

	if (err)
		return refuse_diag(call, err, &diag, true);
	call->result = json_object_new_object();
	put_text(call->result, "config", call->daemon->config_path);
	return 0;
}

/* ---- namespaces that come and go ---------------------------------------------------------------
 */

#define NOTE                                                                                       \
	"this holds until the next reload or restart; change the configuration to have it for good"

static int use_model(struct control_call *call, int err, struct config *conf,
		     struct config_diag *diag)
{
	if (err)
		return refuse_diag(call, err, diag, false);
	err = daemon_apply(call->daemon, conf, diag);
	if (!err)
		return 0;
	config_free(conf);
	return refuse_diag(call, err, diag, false);
}

/* 0: none is free. */
static uint32_t free_nsid(const struct subsystem *s)
{
	for (uint32_t nsid = 1; nsid <= CONFIG_NSID_MAX; nsid++)
		if (!subsystem_namespace(s, nsid))
			return nsid;
	return 0;
}

static int describe(struct control_call *call, const struct subsystem *s,
		    struct config_namespace *ret)
{
	const char *cmb = control_text(call, "cmb"), *uuid = control_text(call, "uuid");
	uint64_t group = 1, nsid = 0;

	if (!control_number(call, "nsid", &nsid))
		nsid = free_nsid(s);
	if (nsid == 0)
		return control_refuse(call, -ENOSPC, "%s has all of its %d namespaces", s->nqn,
				      CONFIG_NSID_MAX);
	(void)control_number(call, "ana_group", &group);
	*ret = (struct config_namespace){ .nsid = (uint32_t)nsid,
					  .device = control_text(call, "device"),
					  .polled = control_flag(call, "polled"),
					  .ana_group = (uint32_t)group };
	if (cmb)
		ret->cmb = strcmp(cmb, "off") == 0       ? CONFIG_CMB_OFF
			   : strcmp(cmb, "require") == 0 ? CONFIG_CMB_REQUIRE
							 : CONFIG_CMB_PREFER;
	ret->has_uuid = uuid;
	if (uuid && !config_uuid(uuid, ret->uuid))
		return control_refuse(
			call, -EINVAL,
			"\"uuid\" is \"%.64s\": 8-4-4-4-12 hexadecimal digits are one", uuid);
	return 0;
}

int control_add_namespace(struct control_call *call)
{
	struct target *t = call->daemon->target;
	struct config *conf = NULL;
	struct config_namespace ns = { 0 };
	struct config_diag diag;
	struct subsystem *s;
	struct stat st;
	int err = control_find_subsystem(call, &s);

	if (!err)
		err = describe(call, s, &ns);
	if (err)
		return err;
	assert(ns.device); /* the table says that it is required */
	if (subsystem_namespace(s, ns.nsid))
		return control_refuse(call, -EEXIST, "%s has a namespace %u already", s->nqn,
				      ns.nsid);
	if (ns.device[0] == '/' &&
	    stat(ns.device, &st) < 0) /* one in the configuration would be waited for */
		return control_refuse(call, -errno, "\"device\" is %s: %s; nothing has changed",
				      quote(ns.device).text, strerror(errno));
	log_info("namespace %u of %s: %s is added, as ordered", ns.nsid, s->nqn, ns.device);
	err = config_with_namespace(call->daemon->conf, s->nqn, &ns, &conf, &diag);
	err = use_model(call, err, conf, &diag);
	if (err)
		return err;
	s = subsystem_find(t, control_text(call, "subsystem"));
	call->result = json_object_new_object();
	control_put_namespace(put_object(call->result, "namespace"),
			      subsystem_namespace(s, ns.nsid));
	put_text(call->result, "note", NOTE);
	return 0;
}

int control_remove_namespace(struct control_call *call)
{
	struct config *conf = NULL;
	struct config_diag diag;
	struct subsystem *s;
	struct namespace *ns;
	int err = control_find_namespace(call, &s, &ns);
	uint32_t nsid;

	if (err)
		return err;
	nsid = ns->nsid;
	log_info("namespace %u of %s: is removed, as ordered", nsid, s->nqn);
	err = config_without_namespace(call->daemon->conf, s->nqn, nsid, &conf, &diag);
	err = use_model(call, err, conf, &diag);
	if (err)
		return err;
	call->result = json_object_new_object();
	put_text(call->result, "subsystem", control_text(call, "subsystem"));
	put_number(call->result, "nsid", nsid);
	put_text(call->result, "note", NOTE);
	return 0;
}

/* Called twice: @before says with which size each was known, and then which it has now. */
static void put_sizes(struct json_object *array, const struct target *t, const struct subsystem *s,
		      const struct namespace *only, bool before)
{
	const struct namespace *ns;
	struct json_object *o;
	size_t n = 0;

	for (size_t i = 0; i < t->nsubsystems; i++)
		FOR_EACH_NAMESPACE (t->subsystems[i], ns) {
			if ((s && t->subsystems[i] != s) || (only && ns != only))
				continue;
			o = before  ? add_object(array)
			    : array ? json_object_array_get_idx(array, n++)
				    : NULL;
			put_number(o, before ? "size_before" : "size", ns_nlb(ns) << ns->lba_shift);
			if (before)
				continue;
			put_text(o, "subsystem", ns->subsys->nqn);
			put_number(o, "nsid", ns->nsid);
			put_text(o, "device", ns->conf->device);
		}
}

int control_resize_namespace(struct control_call *call)
{
	struct subsystem *s;
	struct namespace *ns;
	int err = control_find_namespace(call, &s, &ns);

	if (err)
		return err;
	call->result = json_object_new_array();
	put_sizes(call->result, call->daemon->target, s, ns, true);
	target_check_sizes(call->daemon->target);
	put_sizes(call->result, call->daemon->target, s, ns, false);
	return 0;
}

/* ---- hosts -------------------------------------------------------------------------------------
 */

static bool is_meant(const struct control_call *call, const struct subsystem *s,
		     const struct controller *c)
{
	const char *host = control_text(call, "host");
	uint64_t id;

	return (!s || c->subsys == s) && (!host || strcmp(host, c->hostnqn) == 0) &&
	       (!control_number(call, "controller", &id) || c->cntlid == id);
}

static void disconnect(struct json_object *array, struct controller *c)
{
	struct json_object *o = add_object(array);

	log_info("controller %u of host %s: disconnecting, as ordered", c->cntlid, c->hostnqn);
	put_number(o, "controller", c->cntlid);
	put_text(o, "host", c->hostnqn);
	put_text(o, "subsystem", c->subsys->nqn);
	controller_leave(c);
}

int control_disconnect(struct control_call *call)
{
	struct target *t = call->daemon->target;
	struct controller *c, *next;
	struct json_object *array;
	struct subsystem *s;
	uint64_t id;
	int err = control_find_subsystem(call, &s);

	if (err)
		return err;
	if (!control_text(call, "host") && !control_number(call, "controller", &id) && !s)
		return control_refuse(call, -EINVAL,
				      "\"host\", \"controller\" or \"subsystem\" is needed");
	call->result = json_object_new_object();
	array = put_array(call->result, "disconnected");
	for (size_t i = t->nsubsystems; i-- > 0;)
		LIST_FOREACH_SAFE (c, &t->subsystems[i]->controllers, entry, next)
			if (is_meant(call, s, c))
				disconnect(array, c);
	if (!array)
		return -ENOMEM;
	if (json_object_array_length(array) == 0)
		return control_refuse(call, -ENOENT,
				      "no such controller; `nvmf-p2pctl controllers` lists them");
	put_text(call->result, "note",
		 "a host may connect again; to keep it out, take it from allowed_hosts and reload");
	return 0;
}

/* ---- the log -----------------------------------------------------------------------------------
 */

int control_log_level(struct control_call *call)
{
	const char *name = control_text(call, "level");

	for (enum log_level l = LOG_LEVEL_ERROR; name && l <= LOG_LEVEL_DEBUG; l++)
		if (strcmp(log_level_names[l], name) == 0) {
			log_set_level(l);
			log_info("log level: %s, as ordered", name);
		}
	call->result = json_object_new_object();
	put_text(call->result, "log_level", log_level_names[log_get_level()]);
	return 0;
}
