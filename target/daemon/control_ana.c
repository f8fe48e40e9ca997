/* The control verb about asymmetric namespace access. */
#include "target/daemon/control.h"

#include "target/core.h"
#include "target/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void print_group(FILE *out, const struct subsystem *s, uint16_t port_id, unsigned int group)
{
	enum config_ana state = ana_state(s, port_id, group);
	const struct namespace *ns;
	const char *between = " ";

	fprintf(out, "%s %u ", s->nqn, port_id);
	if (group == ANA_GROUP_LOST)
		fputs("lost", out);
	else
		fprintf(out, "%u", group);
	fprintf(out, " %s", config_ana_names[state]);
	FOR_EACH_NAMESPACE (s, ns)
		if (ns->ana_group == group) {
			fprintf(out, "%s%u", between, ns->nsid);
			between = ",";
		}
	fputs("\n", out);
}

/* A group without namespaces only if it is not as it would be anyway. */
static bool is_worth_a_line(const struct subsystem *s, uint16_t port_id, unsigned int group)
{
	const struct namespace *ns;

	FOR_EACH_NAMESPACE (s, ns)
		if (ns->ana_group == group)
			return true;
	return group != ANA_GROUP_LOST && ana_state(s, port_id, group) != CONFIG_ANA_OPTIMIZED;
}

static void print_states(FILE *out, const struct target *t)
{
	for (size_t i = 1; i < t->nsubsystems; i++)
		for (size_t p = 0; p < t->conf->nports; p++)
			for (unsigned int g = 1; g <= ANA_GROUP_MAX; g++) {
				const struct subsystem *s = t->subsystems[i];
				const struct config_port *port = &t->conf->ports[p];

				if (subsystem_on_port(s, port->id) &&
				    is_worth_a_line(s, port->id, g))
					print_group(out, s, port->id, g);
			}
}

static bool parse_number(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoul(text, &end, 10);
	return !errno && !*end && *ret <= max;
}

static void on_set(void *arg, int err)
{
	struct control_call *call = arg;

	if (err == -ECANCELED)
		(void)control_refuse(call, err, "another state was set meanwhile");
	control_done(call, err);
}

int control_ana(struct control_call *call)
{
	unsigned long port, group;
	struct subsystem *s;
	int state = 0, err;

	if (call->argc == 0) {
		print_states(call->out, call->target);
		return 0;
	}
	if (call->argc != 4)
		return control_refuse(call, -EINVAL,
				      "a subsystem, a port, a group and a state are needed");
	s = subsystem_find(call->target, call->argv[0]);
	if (!s || s->discovery)
		return control_refuse(call, -ENOENT, "no subsystem %.223s", call->argv[0]);
	if (!parse_number(call->argv[1], UINT16_MAX, &port))
		return control_refuse(call, -EINVAL, "not a port's id: %.64s", call->argv[1]);
	if (!parse_number(call->argv[2], UINT32_MAX, &group) || group < 1 ||
	    group > CONFIG_ANA_GROUPS)
		return control_refuse(call, -EINVAL, "not a group, 1..%d: %.64s", CONFIG_ANA_GROUPS,
				      call->argv[2]);
	while (config_ana_names[state] && strcmp(config_ana_names[state], call->argv[3]) != 0)
		state++;
	if (!config_ana_names[state])
		return control_refuse(call, -EINVAL, "no such state: %.64s", call->argv[3]);
	log_info("ANA group %lu of %s on port %lu: %s, as ordered", group, s->nqn, port,
		 config_ana_names[state]);
	err = ana_set(call->target, s, (uint16_t)port, (uint32_t)group, (enum config_ana)state,
		      on_set, call);
	if (err == -ENOENT)
		return control_refuse(call, err, "no port %lu", port);
	return err ? err : CONTROL_LATER;
}
