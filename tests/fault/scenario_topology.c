/* How CMBs, drives and RNICs lie to each other, in recorded trees, while sysfs cannot be read. */
#include "tests/fuzz/asserts.h"

#include "tests/fault/scenarios.h"
#include "tests/unit/sysfs_tree.h"

#define CLIENTS 4
#define PATHS   6

/* All that is asked. */
struct answers {
	struct p2p_client client[CLIENTS];
	struct p2p_path path[PATHS];
};

static struct answers truth;
static bool loaded;

static void ask(const char *cpuinfo, struct answers *a)
{
	static const struct {
		const char *provider;
		unsigned int client;
	} rows[PATHS] = {
		{ "0000:03:00.0", 0 }, { "0000:03:00.0", 1 }, { "0000:03:00.0", 2 },
		{ "0000:03:00.0", 3 }, { "0000:04:00.0", 0 }, { "0000:04:00.0", 2 },
	};

	memset(a, 0, sizeof(*a));
	topology_init(&topo, at("sys"), cpuinfo);
	topology_block_client(&topo, 259, 2, &a->client[0]);
	topology_block_client(&topo, 259, 1, &a->client[1]);
	a->client[2] = (struct p2p_client){ .bdf = { "0000:04:00.0", "0000:00:06.0" },
					    .n = 2,
					    .capable = true };
	topology_rnic_client(&topo, "rxe0", &a->client[3]);
	for (size_t i = 0; i < PATHS; i++)
		topology_path(&topo, rows[i].provider, &a->client[rows[i].client], &a->path[i]);
}

static const char *cpuinfo_file(void)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/proc/cpuinfo", root);
	return path;
}

void topology_prepare(void)
{
	if (loaded)
		return;
	make_root();
	load("multipath");
	ask(cpuinfo_file(), &truth);
	loaded = true;
	atexit(drop_root);
}

/* Less is worse; unknown is as bad as refused. */
static int merit(enum p2p_map map)
{
	static const int merits[] = {
		[P2P_MAP_SOFTWARE] = 3, [P2P_MAP_BUS_ADDRESS] = 2, [P2P_MAP_HOST_BRIDGE] = 1
	};

	return map == P2P_MAP_UNKNOWN || map == P2P_MAP_NOT_SUPPORTED ? 0 : merits[map];
}

/* What cannot be read makes a path no better; if it does, the answer says what was not read. */
void topology_faulty(void)
{
	static struct answers now;

	ask(cpuinfo_file(), &now);
	for (size_t i = 0; i < PATHS; i++) {
		const struct p2p_path *p = &now.path[i];

		ck_assert(p->why[0]);
		ck_assert(merit(p->map) <= merit(truth.path[i].map) ||
			  strstr(p->why, "not readable"));
	}
	for (size_t i = 0; i < CLIENTS; i++)
		ck_assert(now.client[i].capable || now.client[i].why[0]);
}

void topology_verify(void)
{
	static struct answers now;

	ask(cpuinfo_file(), &now);
	for (size_t i = 0; i < PATHS; i++) {
		ck_assert_int_eq(now.path[i].map, truth.path[i].map);
		ck_assert_uint_eq(now.path[i].distance, truth.path[i].distance);
		ck_assert(strcmp(now.path[i].why, truth.path[i].why) == 0);
	}
	for (size_t i = 0; i < CLIENTS; i++)
		ck_assert_uint_eq(now.client[i].n, truth.client[i].n);
}
