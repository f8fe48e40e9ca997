/* What was counted, added up; and where the bytes went, as a table for a person. */
#include "target/core.h"

#include <inttypes.h>

void namespace_account(const struct target *t, const struct namespace *ns, enum data_dir dir,
		       struct stage_account *ret)
{
	*ret = (struct stage_account){ 0 };
	for (unsigned int r = 0; r < t->reactors->n; r++) {
		const struct stage_account *a = &ns->shard[r].account[dir - 1];

		for (unsigned int i = 0; i < STAGE_NPLACES; i++)
			ret->bytes[i] += counter_read(&a->bytes[i]);
		for (unsigned int i = 0; i < LATENCY_CLASSES; i++)
			ret->latency[i] += counter_read(&a->latency[i]);
		ret->latency_ns += counter_read(&a->latency_ns);
		ret->commands += counter_read(&a->commands);
		ret->errors += counter_read(&a->errors);
	}
}

/* The phase may change under us: then a command more or less is seen. */
uint32_t namespace_in_flight(const struct target *t, const struct namespace *ns)
{
	uint32_t n = 0;

	for (unsigned int r = 0; r < t->reactors->n; r++)
		n += counter_read32(&ns->shard[r].in_flight[0]) +
		     counter_read32(&ns->shard[r].in_flight[1]);
	return n;
}

uint64_t namespace_resv_conflicts(const struct target *t, const struct namespace *ns)
{
	uint64_t n = 0;

	for (unsigned int r = 0; r < t->reactors->n; r++)
		n += counter_read(&ns->shard[r].resv_conflicts);
	return n;
}

uint64_t target_commands(const struct target *t, enum queue_kind kind, uint8_t opcode)
{
	uint64_t n = 0;

	for (unsigned int r = 0; r < t->reactors->n; r++)
		n += counter_read(&t->account[r].commands[kind][opcode]);
	return n;
}

uint64_t target_failures(const struct target *t, uint16_t status)
{
	uint64_t n = 0;

	for (unsigned int r = 0; r < t->reactors->n; r++)
		n += counter_read(&t->account[r].failures[status & 0x7ff]);
	return n;
}

static void print_direction(const struct target *t, const struct namespace *ns, enum data_dir dir,
			    FILE *out)
{
	const char *nqn = ns->subsys->nqn, *word = dir == DATA_H2C ? "write" : "read";
	struct stage_account a;
	uint64_t sum = 0;
	char place[64];

	namespace_account(t, ns, dir, &a);
	for (unsigned int i = 0; i < STAGE_NPLACES; i++)
		sum += a.bytes[i];
	for (unsigned int i = 0; i < STAGE_NPLACES; i++)
		if (a.bytes[i])
			fprintf(out, "%-40s %4u %-6s %-24s %14" PRIu64 " %5.1f%%\n", nqn, ns->nsid,
				word,
				stage_place_name(control_reactor(t)->set, i, place, sizeof(place)),
				a.bytes[i], 100.0 * (double)a.bytes[i] / (double)sum);
	if (a.errors)
		fprintf(out, "%-40s %4u %-6s %-24s %14" PRIu64 "\n", nqn, ns->nsid, word,
			"commands failed", a.errors);
}

static void print_namespace(const struct target *t, const struct namespace *ns, FILE *out)
{
	print_direction(t, ns, DATA_C2H, out);
	print_direction(t, ns, DATA_H2C, out);
}

void target_print_accounting(const struct target *t, FILE *out)
{
	fprintf(out, "%-40s %4s %-6s %-24s %14s %6s\n", "SUBSYSTEM", "NSID", "DIR", "STAGED IN",
		"BYTES", "SHARE");
	for (size_t i = 0; i < t->nsubsystems; i++)
		for (size_t n = 0; n < t->subsystems[i]->nnamespaces; n++)
			print_namespace(t, t->subsystems[i]->namespaces[n], out);
	fflush(out);
}
