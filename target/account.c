/* Where the bytes went: the table for a person. */
#include "target/core.h"

#include <inttypes.h>

static void print_direction(const struct provider_set *set, const struct subsystem *s,
			    const struct namespace *ns, int dir, FILE *out)
{
	const struct stage_account *a = &ns->account[dir];
	uint64_t sum = 0;
	char place[64];

	for (unsigned int i = 0; i < STAGE_NPLACES; i++)
		sum += a->bytes[i];
	for (unsigned int i = 0; i < STAGE_NPLACES; i++)
		if (a->bytes[i])
			fprintf(out, "%-40s %4u %-6s %-24s %14" PRIu64 " %5.1f%%\n", s->nqn,
				ns->nsid, dir == DATA_H2C - 1 ? "write" : "read",
				stage_place_name(set, i, place, sizeof(place)), a->bytes[i],
				100.0 * (double)a->bytes[i] / (double)sum);
	if (a->errors)
		fprintf(out, "%-40s %4u %-6s %-24s %14" PRIu64 "\n", s->nqn, ns->nsid,
			dir == DATA_H2C - 1 ? "write" : "read", "commands failed", a->errors);
}

void target_print_accounting(const struct target *t, FILE *out)
{
	fprintf(out, "%-40s %4s %-6s %-24s %14s %6s\n", "SUBSYSTEM", "NSID", "DIR", "STAGED IN",
		"BYTES", "SHARE");
	for (size_t i = 0; i < t->nsubsystems; i++)
		for (size_t n = 0; n < t->subsystems[i].nnamespaces; n++)
			for (int dir = 1; dir >= 0; dir--)
				print_direction(t->set, &t->subsystems[i],
						&t->subsystems[i].namespaces[n], dir, out);
	fflush(out);
}
