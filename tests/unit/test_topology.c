/* Topology over recorded sysfs trees (tests/unit/sysfs/, made by tests/lib/record-sysfs in guests).
 * What the trees as recorded must give is what the guest's kernel did there; the rest is derived by
 * edits. */
#include "p2p/topology.c"

#include "tests/unit/suite.h"
#include "tests/unit/sysfs_tree.h"

#define NROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* ---- edits ---------------------------------------------------------------------------------- */

/* A file of a PCI function, wherever it lies. */
static const char *function_file(const char *bdf, const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/%s", bdf, name);
	return path;
}

static void set_id(const char *bdf, unsigned int vendor, unsigned int device)
{
	char text[16];

	snprintf(text, sizeof(text), "0x%04x\n", vendor);
	put(function_file(bdf, "vendor"), text);
	snprintf(text, sizeof(text), "0x%04x\n", device);
	put(function_file(bdf, "device"), text);
}

static void set_config(const char *bdf, off_t offset, uint32_t value, size_t len)
{
	uint8_t bytes[] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
			    (uint8_t)(value >> 24) };

	put_bytes(function_file(bdf, "config"), 0, offset, bytes, len);
}

/* Give a function without ACS (which is so of all but root ports here) the capability. */
static void add_acs(const char *bdf, uint16_t control)
{
	struct config config;

	config_read(&topo, bdf, &config);
	ck_assert_uint_eq(config.len, CONFIG_SIZE);
	ck_assert_uint_eq(config_u16(&config, 0x102) >> 4, 0); /* at most one capability so far */
	set_config(bdf, 0x102, 0x1801, 2);
	set_config(bdf, 0x180, 0x0001000d, 4);
	set_config(bdf, 0x186, control, 2);
}

/* Move a function with all below it to another place in sys/devices, under another name. */
static void move_function(const char *from, const char *to)
{
	char old[PATH_MAX], path[PATH_MAX], target[PATH_MAX];

	snprintf(old, sizeof(old), "%s/sys/devices/%s", root, from);
	snprintf(path, sizeof(path), "sys/devices/%s", to);
	make_parents(path);
	ck_assert_msg(rename(old, at(path)) == 0, "%s to %s: %s", from, to, strerror(errno));
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s", strrchr(from, '/') + 1);
	drop(path);
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s", strrchr(to, '/') + 1);
	snprintf(target, sizeof(target), "../../../devices/%s", to);
	put_link(path, target);
}

/* ---- answers -------------------------------------------------------------------------------- */

static struct p2p_path path_to(const char *provider, const char *function)
{
	struct p2p_client client = { .n = 1, .capable = true };
	struct p2p_path path;

	snprintf(client.bdf[0], sizeof(client.bdf[0]), "%s", function);
	memset(&path, 0xaa, sizeof(path));
	topology_path(&topo, provider, &client, &path);
	ck_assert_ptr_nonnull(memchr(path.why, '\0', sizeof(path.why)));
	return path;
}

static void assert_path(size_t row, struct p2p_path path, enum p2p_map map, unsigned int distance,
			const char *why)
{
	ck_assert_msg(path.map == map && path.distance == distance && strstr(path.why, why),
		      "row %zu: %s, %u hops, '%s'", row, p2p_map_name(path.map), path.distance,
		      path.why);
}

/* "04:00.0 05:00.0": the client's functions in order, without domain */
static const char *functions_of(const struct p2p_client *c)
{
	static char list[TOPOLOGY_FUNCTIONS_MAX * 16];
	bool listed[TOPOLOGY_FUNCTIONS_MAX] = { false };

	list[0] = '\0';
	for (unsigned int n = 0; n < c->n; n++) {
		unsigned int least = c->n;

		for (unsigned int i = 0; i < c->n; i++)
			if (!listed[i] && (least == c->n || strcmp(c->bdf[i], c->bdf[least]) < 0))
				least = i;
		listed[least] = true;
		sprintf(list + strlen(list), "%s%.7s", n ? " " : "", c->bdf[least] + 5);
	}
	return list;
}

/* ---- pairs ---------------------------------------------------------------------------------- */

START_TEST(pairs_are_what_the_kernel_made_of_them)
{
	static const struct {
		const char *tree, *a, *b;
		enum p2p_map map;
		unsigned int distance;
		const char *why;
	} rows[] = {
		{ "switch", "0000:03:00.0", "0000:03:00.0", P2P_MAP_BUS_ADDRESS, 0,
		  "the same function" },
		{ "switch", "0000:03:00.0", "0000:04:00.0", P2P_MAP_BUS_ADDRESS, 4,
		  "below 0000:01:00.0" },
		{ "switch", "0000:04:00.0", "0000:03:00.0", P2P_MAP_BUS_ADDRESS, 4,
		  "below 0000:01:00.0" },
		{ "switch", "0000:03:00.0", "0000:02:00.0", P2P_MAP_BUS_ADDRESS, 1, "below" },
		{ "switch", "0000:03:00.0", "0000:00:06.0", P2P_MAP_NOT_SUPPORTED, 5,
		  "no common bridge; host bridge 8086:29c0: not on the kernel's allowlist" },
		{ "nested", "0000:03:00.0", "0000:06:00.0", P2P_MAP_BUS_ADDRESS, 6,
		  "below 0000:01:00.0" },
		{ "nested", "0000:06:00.0", "0000:03:00.0", P2P_MAP_BUS_ADDRESS, 6,
		  "below 0000:01:00.0" },
		{ "split", "0000:01:00.0", "0000:01:00.0", P2P_MAP_BUS_ADDRESS, 0, "same" },
		{ "split", "0000:01:00.0", "0000:02:00.0", P2P_MAP_NOT_SUPPORTED, 4,
		  "no common bridge; host bridge 8086:29c0: not on the kernel's allowlist" },
		{ "host-bridge", "0000:01:00.0", "0000:02:00.0", P2P_MAP_HOST_BRIDGE, 4,
		  "AuthenticAMD family 23, passes it on" },
		{ "iommu", "0000:01:00.0", "0000:02:00.0", P2P_MAP_HOST_BRIDGE, 4,
		  "AuthenticAMD family 23, passes it on" },
		{ "iommu", "0000:01:00.0", "0000:01:00.0", P2P_MAP_BUS_ADDRESS, 0, "same" },
		{ "acs", "0000:01:00.0", "0000:01:00.0", P2P_MAP_BUS_ADDRESS, 0, "same" },
		{ "acs", "0000:01:00.0", "0000:01:00.1", P2P_MAP_NOT_SUPPORTED, 2,
		  "ACS redirect at 0000:00:07.0 (off by pci=disable_acs_redir=0000:00:07.0)" },
		{ "sriov", "0000:03:00.0", "0000:04:00.1", P2P_MAP_BUS_ADDRESS, 4,
		  "below 0000:01:00.0" },
		{ "sriov", "0000:04:00.0", "0000:04:00.1", P2P_MAP_BUS_ADDRESS, 2,
		  "below 0000:02:01.0" },
	};

	for (size_t i = 0; i < NROWS(rows); i++) {
		load(rows[i].tree);
		assert_path(i, path_to(rows[i].a, rows[i].b), rows[i].map, rows[i].distance,
			    rows[i].why);
	}
}
END_TEST

START_TEST(bridges_of_a_virtual_function_are_those_of_the_physical_one)
{
	load("sriov");
	/* on a bus of its own, whose directory says nothing of the bridges */
	move_function("pci0000:00/0000:00:07.0/0000:01:00.0/0000:02:01.0/0000:04:00.1",
		      "elsewhere/0000:05:00.0");
	put_link("sys/devices/elsewhere/0000:05:00.0/physfn",
		 "../../../bus/pci/devices/0000:04:00.0");
	assert_path(0, path_to("0000:03:00.0", "0000:05:00.0"), P2P_MAP_BUS_ADDRESS, 4,
		    "0000:01:00.0");
	assert_path(1, path_to("0000:05:00.0", "0000:04:00.0"), P2P_MAP_BUS_ADDRESS, 2,
		    "0000:02:01.0");
	drop("sys/devices/elsewhere/0000:05:00.0/physfn");
	assert_path(2, path_to("0000:03:00.0", "0000:05:00.0"), P2P_MAP_NOT_SUPPORTED, 5,
		    "no common bridge");
}
END_TEST

START_TEST(bridges_below_a_vmd_end_at_its_root_bus)
{
	load("split");
	/* drive B's root port below a root bus that lies below a function next to A's root port */
	move_function("pci0000:00/0000:00:08.0",
		      "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:00.0");
	move_function("pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:00.0/0000:02:00.0",
		      "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:00.0/10000:e1:00.0");
	assert_path(0, path_to("0000:01:00.0", "10000:e1:00.0"), P2P_MAP_NOT_SUPPORTED, 4,
		    "host bridge 8086:29c0 (to another one)");
}
END_TEST

/* ---- ACS ------------------------------------------------------------------------------------ */

START_TEST(redirect_is_any_of_three_bits)
{
	static const struct {
		uint16_t control;
		enum p2p_map map;
	} rows[] = {
		{ 0x00, P2P_MAP_BUS_ADDRESS },   { 0x01, P2P_MAP_BUS_ADDRESS },
		{ 0x02, P2P_MAP_BUS_ADDRESS },   { 0x04, P2P_MAP_HOST_BRIDGE },
		{ 0x08, P2P_MAP_HOST_BRIDGE },   { 0x10, P2P_MAP_BUS_ADDRESS },
		{ 0x20, P2P_MAP_HOST_BRIDGE },   { 0x40, P2P_MAP_BUS_ADDRESS },
		{ 0xff00, P2P_MAP_BUS_ADDRESS }, { 0x1d, P2P_MAP_HOST_BRIDGE },
	};

	load("acs");
	put("proc/cpuinfo", "vendor_id : AuthenticAMD\ncpu family : 25\n");
	look();
	for (size_t i = 0; i < NROWS(rows); i++) {
		set_config("0000:00:07.0", 0x14e, rows[i].control, 2);
		assert_path(i, path_to("0000:01:00.0", "0000:01:00.1"), rows[i].map, 2,
			    rows[i].map == P2P_MAP_BUS_ADDRESS ? "below" : "ACS redirect at");
	}
}
END_TEST

START_TEST(redirect_counts_up_to_the_common_bridge_and_on_it)
{
	/* A 03:00.0 - 02:00.0 - 01:00.0 - 00:07.0; B 06:00.0 - 05 - 04 - 02:01.0 - 01:00.0 */
	static const struct {
		const char *at;
		bool counts, counts_on_itself;
	} rows[] = {
		{ "0000:03:00.0", true, true },  { "0000:02:00.0", true, false },
		{ "0000:01:00.0", true, false }, { "0000:00:07.0", false, false },
		{ "0000:06:00.0", true, false }, { "0000:05:00.0", true, false },
		{ "0000:04:00.0", true, false }, { "0000:02:01.0", true, false },
	};

	for (size_t i = 0; i < NROWS(rows); i++) {
		load("nested");
		if (strcmp(rows[i].at, "0000:00:07.0") == 0)
			set_config(rows[i].at, 0x14e, 0x1d, 2);
		else
			add_acs(rows[i].at, 0x1d);
		assert_path(i, path_to("0000:03:00.0", "0000:06:00.0"),
			    rows[i].counts ? P2P_MAP_NOT_SUPPORTED : P2P_MAP_BUS_ADDRESS, 6,
			    rows[i].counts ? rows[i].at : "below 0000:01:00.0");
		assert_path(i, path_to("0000:03:00.0", "0000:03:00.0"),
			    rows[i].counts_on_itself ? P2P_MAP_NOT_SUPPORTED : P2P_MAP_BUS_ADDRESS,
			    0, "");
	}
}
END_TEST

START_TEST(configuration_that_cannot_be_read_is_no_redirect_but_said)
{
	static const struct {
		off_t len;
		bool known; /* QEMU's ACS lies at 0x148, behind AER at 0x100 */
	} rows[] = {
		{ 0, false },     { 1, false },     { 63, false },   { 64, false },
		{ 0x57, false },  { 0x58, false },  { 256, false },  { 0x107, false },
		{ 0x108, false }, { 0x14f, false }, { 0x150, true }, { 4096, true },
		{ 9000, true },
	};

	for (size_t i = 0; i < NROWS(rows); i++) {
		load("acs");
		set_size(function_file("0000:00:07.0", "config"), rows[i].len);
		assert_path(i, path_to("0000:01:00.0", "0000:01:00.1"),
			    rows[i].known ? P2P_MAP_NOT_SUPPORTED : P2P_MAP_BUS_ADDRESS, 2,
			    rows[i].known ? "ACS redirect"
					  : "; ACS of 0000:00:07.0 not readable: not root?");
	}
	load("acs");
	drop(function_file("0000:00:07.0", "config"));
	assert_path(99, path_to("0000:01:00.0", "0000:01:00.1"), P2P_MAP_BUS_ADDRESS, 2,
		    "not readable");
}
END_TEST

START_TEST(function_of_conventional_pci_has_no_acs)
{
	load("acs");
	set_config("0000:00:07.0", 0x06, 0, 2); /* status: no capabilities */
	ck_assert_str_eq(path_to("0000:01:00.0", "0000:01:00.1").why, "below 0000:00:07.0");
	load("acs");
	set_size(function_file("0000:00:07.0", "config"), 256);
	set_config("0000:00:07.0", 0x54, 0x01, 1); /* the capability is power management now */
	ck_assert_str_eq(path_to("0000:01:00.0", "0000:01:00.1").why, "below 0000:00:07.0");
}
END_TEST

START_TEST(lists_of_capabilities_may_be_nonsense)
{
	struct config c = { .len = CONFIG_SIZE };
	uint32_t random = 1;
	unsigned int seen[3] = { 0 };

	/* rings: of both lists, of one member and of two */
	c.byte[6] = STATUS_CAPABILITIES;
	c.byte[0x34] = 0x40;
	c.byte[0x41] = 0x44;
	c.byte[0x45] = 0x40;
	ck_assert_int_eq(redirects(&c), NO);
	c.byte[0x44] = CAP_EXPRESS;
	c.byte[0x100] = 1;
	c.byte[0x103] = 0x10;
	ck_assert_int_eq(redirects(&c), NO);
	c.byte[0x103] = 0x20;
	c.byte[0x203] = 0x10;
	ck_assert_int_eq(redirects(&c), NO);
	c.byte[0x200] = EXTCAP_ACS;
	c.byte[0x206] = 4;
	ck_assert_int_eq(redirects(&c), YES);
	/* beyond the end, at the very end, before the beginning */
	c.byte[0x102] = 0xc0, c.byte[0x103] = 0xff;
	ck_assert_int_eq(redirects(&c), NO);
	c.byte[0x102] = 0x80, c.byte[0x103] = 0x00;
	c.byte[0x08] = EXTCAP_ACS, c.byte[0x0e] = 4;
	ck_assert_int_eq(redirects(&c), NO);
	/* a function that was pulled out reads as ones */
	memset(c.byte, 0xff, sizeof(c.byte));
	ck_assert_int_eq(redirects(&c), NO);
	ck_assert_int_eq(is_root_port(&c), NO);

	memset(c.byte, 0, sizeof(c.byte));
	c.len = 63;
	ck_assert_int_eq(redirects(&c), NOBODY_KNOWS);

	for (int i = 0; i < 20000; i++) {
		for (size_t j = 0; j < sizeof(c.byte); j++) {
			random = random * 1664525 + 1013904223;
			c.byte[j] = (uint8_t)(random >> 24);
			if (j % 16 == 0 && random >> 30) /* else ACS is never found */
				c.byte[j] = j < 256 ? CAP_EXPRESS : EXTCAP_ACS;
			else if (j % 16 == 1 && j > 256)
				c.byte[j] = 0;
		}
		c.len = i % 4 ? CONFIG_SIZE : random % CONFIG_SIZE;
		seen[redirects(&c)]++;
		(void)is_root_port(&c);
	}
	ck_assert(seen[NO] && seen[YES] && seen[NOBODY_KNOWS]);
}
END_TEST

/* ---- host bridges and processors ------------------------------------------------------------- */

START_TEST(host_bridge_on_the_list_passes_it_on)
{
	static const unsigned int intel[] = {
		0x3c00, 0x3c01, 0x2f00, 0x2f01, 0x2030, 0x2031, 0x2032, 0x2033, 0x2020, 0x09a2,
		0x0b25, 0x0cfe, 0x11fb, 0x1212, 0x1216, 0x4940, 0x4942, 0x4944, 0x4946, 0x4948,
	};
	static const struct {
		unsigned int vendor, device;
		enum p2p_map map;
	} rows[] = {
		{ 0x8086, 0x29c0, P2P_MAP_NOT_SUPPORTED },
		{ 0x8086, 0x2034, P2P_MAP_NOT_SUPPORTED },
		{ 0x8086, 0x4941, P2P_MAP_NOT_SUPPORTED },
		{ 0x8086, 0x0000, P2P_MAP_NOT_SUPPORTED },
		{ 0x1022, 0x2020, P2P_MAP_NOT_SUPPORTED },
		{ 0x1ae0, 0x0000, P2P_MAP_HOST_BRIDGE },
		{ 0x1ae0, 0xffff, P2P_MAP_HOST_BRIDGE },
		{ 0xffff, 0xffff, P2P_MAP_NOT_SUPPORTED },
	};

	load("split");
	for (size_t i = 0; i < NROWS(intel); i++) {
		set_id("0000:00:00.0", 0x8086, intel[i]);
		assert_path(100 + i, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_HOST_BRIDGE,
			    4, "passes it on");
	}
	for (size_t i = 0; i < NROWS(rows); i++) {
		char why[64];

		set_id("0000:00:00.0", rows[i].vendor, rows[i].device);
		snprintf(why, sizeof(why), "host bridge %04x:%04x", rows[i].vendor, rows[i].device);
		assert_path(i, path_to("0000:01:00.0", "0000:02:00.0"), rows[i].map, 4, why);
	}
}
END_TEST

START_TEST(host_bridge_with_ids_of_nonsense_is_not_on_the_list)
{
	static const char *const rows[] = { "",     "\n",      "0x", "0x18086\n", "8086 2020\n",
					    "-1\n", "\xff\xff" };

	load("split");
	set_id("0000:00:00.0", 0x8086, 0x2020);
	assert_path(99, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_HOST_BRIDGE, 4, "");
	for (size_t i = 0; i < NROWS(rows); i++) {
		put(function_file("0000:00:00.0", "vendor"), rows[i]);
		assert_path(i, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_NOT_SUPPORTED, 4,
			    "of unknown make");
	}
}
END_TEST

START_TEST(first_root_port_stands_for_a_missing_host_bridge)
{
	load("split");
	for (int i = 0; i <= 6; i++) { /* what is before the root ports, which are 07 and 08 */
		char path[64];

		snprintf(path, sizeof(path), "sys/devices/pci0000:00/0000:00:0%d.0", i);
		drop(path);
		if (i != 0)
			continue;
		/* 01.0 is first now, which is neither; let it be on the list all the same */
		set_id("0000:00:01.0", 0x8086, 0x2030);
		assert_path(0, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_NOT_SUPPORTED, 4,
			    "0000:00:01.0, first on the root bus, is no host bridge");
	}
	assert_path(1, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_NOT_SUPPORTED, 4,
		    "host bridge 1b36:000c");
	set_id("0000:00:08.0", 0x8086, 0x2030); /* not the first */
	assert_path(2, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_NOT_SUPPORTED, 4,
		    "host bridge 1b36:000c");
	set_id("0000:00:07.0", 0x8086, 0x2030);
	assert_path(3, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_HOST_BRIDGE, 4,
		    "host bridge 8086:2030");
	set_config("0000:00:07.0", 0x56, 0x0192, 2); /* an endpoint of the root complex */
	assert_path(5, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_NOT_SUPPORTED, 4,
		    "is no host bridge");
	set_size(function_file("0000:00:07.0", "config"), 64);
	assert_path(4, path_to("0000:01:00.0", "0000:02:00.0"), P2P_MAP_NOT_SUPPORTED, 4,
		    "not root?");
}
END_TEST

START_TEST(two_host_bridges_must_both_be_on_the_list)
{
	static const struct {
		unsigned int a, b;
		enum p2p_map map;
		const char *why;
	} rows[] = {
		{ 0x2020, 0x2020, P2P_MAP_HOST_BRIDGE, "8086:2020" },
		{ 0x2020, 0x09a2, P2P_MAP_HOST_BRIDGE, "8086:09a2" },
		{ 0x2020, 0x29c0, P2P_MAP_NOT_SUPPORTED, "8086:29c0" },
		{ 0x29c0, 0x2020, P2P_MAP_NOT_SUPPORTED, "8086:29c0" },
		{ 0x2f00, 0x2f00, P2P_MAP_NOT_SUPPORTED, "8086:2f00 (to another one)" },
		{ 0x2020, 0x3c00, P2P_MAP_NOT_SUPPORTED, "8086:3c00 (to another one)" },
	};

	load("split");
	move_function("pci0000:00/0000:00:08.0", "pci0000:80/0000:80:08.0");
	move_function("pci0000:80/0000:80:08.0/0000:02:00.0",
		      "pci0000:80/0000:80:08.0/0000:81:00.0");
	move_function("pci0000:00/0000:00:01.0", "pci0000:80/0000:80:00.0");
	for (size_t i = 0; i < NROWS(rows); i++) {
		set_id("0000:00:00.0", 0x8086, rows[i].a);
		set_id("0000:80:00.0", 0x8086, rows[i].b);
		assert_path(i, path_to("0000:01:00.0", "0000:81:00.0"), rows[i].map, 4,
			    rows[i].why);
	}
}
END_TEST

START_TEST(processor_allows_if_amd_zen)
{
	static const struct {
		const char *cpuinfo;
		bool allows;
		const char *name;
	} rows[] = {
		{ "vendor_id\t: AuthenticAMD\ncpu family\t: 23\n", true, "AuthenticAMD family 23" },
		{ "vendor_id\t: AuthenticAMD\ncpu family\t: 25\n", true, "AuthenticAMD family 25" },
		{ "vendor_id\t: AuthenticAMD\ncpu family\t: 22\n", false,
		  "AuthenticAMD family 22" },
		{ "vendor_id\t: GenuineIntel\ncpu family\t: 23\n", false,
		  "GenuineIntel family 23" },
		{ "vendor_id\t: HygonGenuine\ncpu family\t: 24\n", false,
		  "HygonGenuine family 24" },
		{ "vendor_id\t: AuthenticAMD\n", false, "AuthenticAMD family 0" },
		{ "cpu family\t: 23\n", false, "" },
		{ "vendor_id\t: GenuineIntel\ncpu family\t: 6\n\nvendor_id\t: AuthenticAMD\n"
		  "cpu family\t: 23\n",
		  false, "GenuineIntel family 6" },
		{ "vendor_id\ncpu family\n", false, "" },
		{ "vendor_id : AuthenticAMDxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
		  "cpu family : 99999999999999999999999\n",
		  false, "AuthenticAMDxxxxxxxxxxxxxxxxxxx" },
		{ "", false, "" },
	};

	load("split");
	for (size_t i = 0; i < NROWS(rows); i++) {
		put("proc/cpuinfo", rows[i].cpuinfo);
		look();
		ck_assert_msg(topo.cpu_allows == rows[i].allows &&
				      strncmp(topo.cpu, rows[i].name, strlen(rows[i].name)) == 0,
			      "row %zu: %d '%s'", i, topo.cpu_allows, topo.cpu);
		assert_path(i, path_to("0000:01:00.0", "0000:02:00.0"),
			    rows[i].allows ? P2P_MAP_HOST_BRIDGE : P2P_MAP_NOT_SUPPORTED, 4, "");
	}
	drop("proc/cpuinfo");
	look();
	ck_assert(!topo.cpu_allows);
}
END_TEST

/* ---- what is not there ----------------------------------------------------------------------- */

START_TEST(function_that_is_gone_is_unknown)
{
	load("switch");
	drop("sys/devices/pci0000:00/0000:00:07.0/0000:01:00.0/0000:02:01.0/0000:04:00.0");
	/* the link of the bus may still dangle */
	assert_path(0, path_to("0000:03:00.0", "0000:04:00.0"), P2P_MAP_UNKNOWN, 0,
		    "0000:04:00.0: there is no such PCI function");
	assert_path(1, path_to("0000:04:00.0", "0000:03:00.0"), P2P_MAP_UNKNOWN, 0,
		    "0000:04:00.0: there is no such PCI function");
	drop("sys/bus/pci/devices/0000:04:00.0");
	assert_path(2, path_to("0000:03:00.0", "0000:04:00.0"), P2P_MAP_UNKNOWN, 0,
		    "0000:04:00.0: there is no such PCI function");
	/* one that is gone does not hide one that is refused, nor the other way round */
	struct p2p_client two = { .bdf = { "0000:04:00.0", "0000:00:06.0" },
				  .n = 2,
				  .capable = true };
	struct p2p_path path;

	topology_path(&topo, "0000:03:00.0", &two, &path);
	assert_path(3, path, P2P_MAP_NOT_SUPPORTED, 5, "no common bridge");
	snprintf(two.bdf[1], sizeof(two.bdf[1]), "0000:03:00.0");
	topology_path(&topo, "0000:03:00.0", &two, &path);
	assert_path(4, path, P2P_MAP_UNKNOWN, 0, "0000:04:00.0");
}
END_TEST

START_TEST(names_that_are_no_functions_are_unknown)
{
	static const char *const rows[] = {
		"",
		".",
		"..",
		"0000:03:00.0/..",
		"0000:03:00.8",
		"000:03:00.0",
		"0000:03:00.0 ",
		"0000:3:00.0",
		"x",
		"00000000000000000000000:03:00.0",
	};

	load("switch");
	for (size_t i = 0; i < NROWS(rows); i++) {
		assert_path(i, path_to("0000:03:00.0", rows[i]), P2P_MAP_UNKNOWN, 0,
			    "Invalid argument");
		assert_path(i, path_to(rows[i], "0000:03:00.0"), P2P_MAP_UNKNOWN, 0,
			    "Invalid argument");
	}
	/* links that lead out of the tree, or nowhere, or round */
	put_link("sys/bus/pci/devices/0000:04:00.0", "/tmp");
	assert_path(90, path_to("0000:03:00.0", "0000:04:00.0"), P2P_MAP_UNKNOWN, 0,
		    "0000:04:00.0");
	put_link("sys/bus/pci/devices/0000:04:00.0", "0000:04:00.0");
	assert_path(91, path_to("0000:03:00.0", "0000:04:00.0"), P2P_MAP_UNKNOWN, 0,
		    "0000:04:00.0");

	struct p2p_client none = { .capable = true };
	struct p2p_path path;

	topology_path(&topo, "0000:03:00.0", &none, &path);
	assert_path(92, path, P2P_MAP_UNKNOWN, 0, "client: Invalid argument");
	for (none.n = 0; none.n < TOPOLOGY_FUNCTIONS_MAX; none.n++)
		snprintf(none.bdf[none.n], sizeof(none.bdf[none.n]), "0000:03:00.0");
	none.n++;
	topology_path(&topo, "0000:03:00.0", &none, &path);
	assert_path(93, path, P2P_MAP_UNKNOWN, 0, "client: Invalid argument");
}
END_TEST

START_TEST(bridges_without_end_are_unknown)
{
	char place[2048] = "pci0000:00";

	load("split");
	for (int i = 0; i < CHAIN_MAX; i++)
		snprintf(place + strlen(place), sizeof(place) - strlen(place), "/0000:%02x:00.0",
			 i + 0x10);
	strcat(place, "/0000:f0:00.0");
	move_function("pci0000:00/0000:00:08.0/0000:02:00.0", place);
	assert_path(0, path_to("0000:01:00.0", "0000:f0:00.0"), P2P_MAP_UNKNOWN, 0,
		    strerror(E2BIG));
}
END_TEST

START_TEST(no_pci_at_all_is_no_crash)
{
	struct p2p_client client;

	topology_init(&topo, "/nonexistent", "/nonexistent");
	ck_assert(!topo.cpu_allows);
	assert_path(0, path_to("0000:03:00.0", "0000:03:00.0"), P2P_MAP_UNKNOWN, 0, "no such");
	topology_block_client(&topo, 259, 0, &client);
	ck_assert(!client.capable && client.n == 0);
	ck_assert_str_eq(client.why, "no block device 259:0");
	topology_rnic_client(&topo, "rxe0", &client);
	ck_assert(!client.capable && !client.software);
	ck_assert_str_eq(client.why, "no RDMA device rxe0");
	/* a machine without PCI, but with the rest */
	load("switch");
	drop("sys/bus/pci");
	assert_path(1, path_to("0000:03:00.0", "0000:04:00.0"), P2P_MAP_UNKNOWN, 0, "no such");
}
END_TEST

/* ---- clients -------------------------------------------------------------------------------- */

START_TEST(block_devices_are_the_functions_below_them)
{
	static const struct {
		const char *tree;
		unsigned int major, minor;
		const char *functions, *why; /* why "": capable */
	} rows[] = {
		{ "blocks", 259, 2, "03:00.0", "" },
		{ "blocks", 259, 3, "03:00.0", "" }, /* a partition of it */
		{ "blocks", 259, 9, "05:00.0", "" },
		{ "blocks", 9, 1, "03:00.0 04:00.0", "" },          /* raid1 of partitions */
		{ "blocks", 9, 10, "03:00.0 04:00.0 05:00.0", "" }, /* raid0 of that and a drive */
		{ "blocks", 9, 5, NULL, "md raid5 devices take no peer-to-peer pages" },
		{ "blocks", 9, 11, NULL,
		  "dm devices take no peer-to-peer pages" }, /* raid1 on dm */
		{ "blocks", 252, 0, NULL, "dm devices take no peer-to-peer pages" },
		{ "blocks", 7, 0, NULL, "loop devices take no peer-to-peer pages" },
		{ "blocks", 254, 0, NULL, "virtio devices take no peer-to-peer pages" },
		{ "blocks", 259, 13, NULL, "NVMe over rdma devices take no peer-to-peer pages" },
		{ "blocks", 8, 0, NULL, "no block device 8:0" },
		{ "multipath", 259, 1, "04:00.0 06:00.0", "" },
		{ "multipath", 259, 2, "03:00.0", "" },
		{ "sriov", 259, 1, "04:00.0", "" }, /* a head with one path */
	};

	for (size_t i = 0; i < NROWS(rows); i++) {
		struct p2p_client client;

		load(rows[i].tree);
		memset(&client, 0xaa, sizeof(client));
		topology_block_client(&topo, rows[i].major, rows[i].minor, &client);
		ck_assert_msg(client.capable == !rows[i].why[0] && !client.software &&
				      strcmp(client.why, rows[i].why) == 0,
			      "row %zu: '%s'", i, client.why);
		if (rows[i].functions)
			ck_assert_msg(strcmp(functions_of(&client), rows[i].functions) == 0,
				      "row %zu: %s", i, functions_of(&client));
	}
}
END_TEST

START_TEST(client_of_several_functions_is_as_bad_as_its_worst)
{
	static const struct {
		const char *tree;
		unsigned int major, minor;
		enum p2p_map map;
		unsigned int distance;
		const char *why;
	} rows[] = {
		{ "blocks", 9, 1, P2P_MAP_BUS_ADDRESS, 4, "below 0000:01:00.0" },
		{ "blocks", 9, 5, P2P_MAP_NOT_SUPPORTED, 0, "md raid5" },
		{ "blocks", 252, 0, P2P_MAP_NOT_SUPPORTED, 0, "dm devices" },
		{ "multipath", 259, 2, P2P_MAP_BUS_ADDRESS, 0, "same" },
		{ "multipath", 259, 1, P2P_MAP_NOT_SUPPORTED, 6, "no common bridge" },
	};
	struct p2p_client client;
	struct p2p_path path;

	for (size_t i = 0; i < NROWS(rows); i++) {
		load(rows[i].tree);
		topology_block_client(&topo, rows[i].major, rows[i].minor, &client);
		topology_path(&topo, "0000:03:00.0", &client, &path);
		assert_path(i, path, rows[i].map, rows[i].distance, rows[i].why);
	}
	/* the multipath head once more, with a processor that lets the far path pass ... */
	put("proc/cpuinfo", "vendor_id : AuthenticAMD\ncpu family : 23\n");
	look();
	topology_path(&topo, "0000:03:00.0", &client, &path);
	assert_path(90, path, P2P_MAP_HOST_BRIDGE, 6, "AuthenticAMD");
	/* ... and without that path */
	drop("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1");
	topology_block_client(&topo, 259, 1, &client);
	topology_path(&topo, "0000:03:00.0", &client, &path);
	assert_path(91, path, P2P_MAP_BUS_ADDRESS, 4, "below");
}
END_TEST

#define SUBSYS "sys/devices/virtual/nvme-subsystem/nvme-subsys0/"

START_TEST(subsystem_with_one_path_that_cannot_is_not_capable)
{
	struct p2p_client client;

	load("multipath");
	put("sys/devices/pci0000:00/0000:00:08.0/0000:06:00.0/nvme/nvme1/transport", "tcp\n");
	topology_block_client(&topo, 259, 1, &client);
	ck_assert_str_eq(client.why, "NVMe over tcp devices take no peer-to-peer pages");
	drop("sys/devices/pci0000:00/0000:00:08.0/0000:06:00.0/nvme/nvme1/transport");
	topology_block_client(&topo, 259, 1, &client);
	ck_assert(!client.capable);
	drop(SUBSYS "nvme0");
	drop(SUBSYS "nvme1");
	topology_block_client(&topo, 259, 1, &client);
	ck_assert_str_eq(client.why, "an NVMe subsystem without controllers");
	ck_assert(!client.capable);
	/* names that only begin as a controller's do are namespaces, or strangers */
	put_link(SUBSYS "nvme0c1n1", "../../../pci0000:00/0000:00:08.0/0000:06:00.0/nvme/nvme1");
	put_link(SUBSYS "nvme", "../../../pci0000:00/0000:00:08.0/0000:06:00.0/nvme/nvme1");
	topology_block_client(&topo, 259, 1, &client);
	ck_assert_str_eq(client.why, "an NVMe subsystem without controllers");
}
END_TEST

START_TEST(client_of_too_many_functions_is_not_capable)
{
	struct p2p_client client;

	load("multipath");
	for (unsigned int i = 2; i <= TOPOLOGY_FUNCTIONS_MAX; i++) {
		char link[96], target[96], transport[96];

		topology_block_client(&topo, 259, 1, &client);
		ck_assert(client.capable && client.n == i);
		snprintf(transport, sizeof(transport),
			 "sys/devices/pci0000:00/0000:%02x:00.0/nvme/nvme%u/transport", i + 64,
			 i + 64);
		put(transport, "pcie\n");
		snprintf(link, sizeof(link), SUBSYS "nvme%u", i + 64);
		snprintf(target, sizeof(target), "../../../pci0000:00/0000:%02x:00.0/nvme/nvme%u",
			 i + 64, i + 64);
		put_link(link, target);
	}
	topology_block_client(&topo, 259, 1, &client);
	ck_assert_str_eq(client.why, "more than 16 PCI functions");
	ck_assert(!client.capable && client.n == TOPOLOGY_FUNCTIONS_MAX);
}
END_TEST

#define MD1 "sys/devices/virtual/block/md1/"

START_TEST(md_arrays_may_be_nonsense)
{
	static const struct {
		const char *level, *why;
	} rows[] = {
		{ "raid0\n", "" },
		{ "raid1\n", "" },
		{ "raid10\n", "" },
		{ "raid6\n", "md raid6 devices take no peer-to-peer pages" },
		{ "linear\n", "md linear devices take no peer-to-peer pages" },
		{ "\n", "md (stopped) devices take no peer-to-peer pages" },
		{ "raid1000000000000000000000000000000000000\n",
		  "md raid10000000000 devices take no peer-to-peer pages" },
	};
	struct p2p_client client;

	load("blocks");
	for (size_t i = 0; i < NROWS(rows); i++) {
		put(MD1 "md/level", rows[i].level);
		topology_block_client(&topo, 9, 1, &client);
		ck_assert_msg(strcmp(client.why, rows[i].why) == 0, "row %zu: '%s'", i, client.why);
	}
	put(MD1 "md/level", "raid1\n");
	/* two partitions of one drive */
	put_link(MD1 "slaves/nvme0n1p2", "../../../../../dev/block/259:4");
	topology_block_client(&topo, 9, 1, &client);
	ck_assert_str_eq(functions_of(&client), "03:00.0 04:00.0");
	put_link(MD1 "slaves/md1", "../../md1"); /* its own member */
	topology_block_client(&topo, 9, 1, &client);
	ck_assert_str_eq(client.why, "md arrays of arrays, more than 8 deep");
	put_link(MD1 "slaves/md1", "../../md77");
	topology_block_client(&topo, 9, 1, &client);
	ck_assert_str_eq(client.why, "an md array with a member that is gone");
	drop(MD1 "slaves");
	topology_block_client(&topo, 9, 1, &client);
	ck_assert_str_eq(client.why, "an md array without members");
	ck_assert(!client.capable);
}
END_TEST

START_TEST(block_devices_of_other_kinds_are_named)
{
	struct p2p_client client;

	load("blocks");
	put_link("sys/devices/pci0000:00/0000:00:01.0/virtio0/subsystem", "../../../../bus/scsi");
	topology_block_client(&topo, 254, 0, &client);
	ck_assert_str_eq(client.why, "scsi devices take no peer-to-peer pages");
	/* a name as long as they come, and a link to the tree's root */
	put("sys/devices/virtual/block/"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0/dev",
	    "1:1\n");
	put_link(
		"sys/dev/block/1:1",
		"../../devices/virtual/block/"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0");
	topology_block_client(&topo, 1, 1, &client);
	ck_assert_str_eq(
		client.why,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa devices take no peer-to-peer pages");
	put_link("sys/dev/block/1:1", "../../../sys");
	topology_block_client(&topo, 1, 1, &client);
	ck_assert_str_eq(client.why, "no block device 1:1");
}
END_TEST

#define DRIVE_B "pci0000:00/0000:00:07.0/0000:01:00.0/0000:02:01.0/0000:04:00.0"

START_TEST(rnics_are_software_or_a_function)
{
	static const struct {
		const char *name, *device; /* what its parent device is; NULL: as recorded */
		bool capable, software;
		const char *functions, *why;
		enum p2p_map map;
		unsigned int distance;
	} rows[] = {
		{ "rxe0", NULL, true, true, "", "", P2P_MAP_SOFTWARE, 0 },
		{ "mlx5_0", DRIVE_B, true, false, "04:00.0", "", P2P_MAP_BUS_ADDRESS, 4 },
		{ "mlx5_1", DRIVE_B "/mlx5_core.sf.2", true, false, "04:00.0", "",
		  P2P_MAP_BUS_ADDRESS, 4 },
		{ "hns_0", "platform/HISI00D1", false, false, "", "hns_0 is no PCI device",
		  P2P_MAP_NOT_SUPPORTED, 0 },
		{ "mlx5_9", NULL, false, false, "", "no RDMA device mlx5_9", P2P_MAP_NOT_SUPPORTED,
		  0 },
		{ "", NULL, false, false, "", "no RDMA device ", P2P_MAP_NOT_SUPPORTED, 0 },
		{ "..", NULL, false, false, "", "no RDMA device ..", P2P_MAP_NOT_SUPPORTED, 0 },
		{ "mlx5_0/device", NULL, false, false, "", "no RDMA device mlx5_0/device",
		  P2P_MAP_NOT_SUPPORTED, 0 },
	};

	load("switch");
	for (size_t i = 0; i < NROWS(rows); i++) {
		struct p2p_client client;
		struct p2p_path path;

		if (rows[i].device) {
			char link[256], target[256], file[256];

			snprintf(file, sizeof(file), "sys/devices/%s/infiniband/%s/fw_ver",
				 rows[i].device, rows[i].name);
			put(file, "1\n");
			snprintf(link, sizeof(link), "sys/class/infiniband/%s", rows[i].name);
			snprintf(target, sizeof(target), "../../devices/%s/infiniband/%s",
				 rows[i].device, rows[i].name);
			put_link(link, target);
			snprintf(link, sizeof(link), "sys/devices/%s/infiniband/%s/device",
				 rows[i].device, rows[i].name);
			put_link(link, "../..");
		}
		memset(&client, 0xaa, sizeof(client));
		topology_rnic_client(&topo, rows[i].name, &client);
		ck_assert_msg(client.capable == rows[i].capable &&
				      client.software == rows[i].software &&
				      strcmp(client.why, rows[i].why) == 0 &&
				      strcmp(functions_of(&client), rows[i].functions) == 0,
			      "row %zu: '%s' '%s'", i, functions_of(&client), client.why);
		topology_path(&topo, "0000:03:00.0", &client, &path);
		assert_path(i, path, rows[i].map, rows[i].distance, "");
	}
}
END_TEST

START_TEST(every_map_has_a_name)
{
	static const char *const names[] = { "unknown", "software", "bus-address",
					     "through-host-bridge", "not-supported" };

	for (size_t i = 0; i < NROWS(names); i++)
		ck_assert_str_eq(p2p_map_name((enum p2p_map)i), names[i]);
	ck_assert_str_eq(p2p_map_name((enum p2p_map)NROWS(names)), "unknown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("topology");
	TCase *tc = tcase_create("topology");

	tcase_set_timeout(tc, 300);
	tcase_add_unchecked_fixture(tc, make_root, drop_root);
	tcase_add_test(tc, pairs_are_what_the_kernel_made_of_them);
	tcase_add_test(tc, bridges_of_a_virtual_function_are_those_of_the_physical_one);
	tcase_add_test(tc, bridges_below_a_vmd_end_at_its_root_bus);
	tcase_add_test(tc, redirect_is_any_of_three_bits);
	tcase_add_test(tc, redirect_counts_up_to_the_common_bridge_and_on_it);
	tcase_add_test(tc, configuration_that_cannot_be_read_is_no_redirect_but_said);
	tcase_add_test(tc, function_of_conventional_pci_has_no_acs);
	tcase_add_test(tc, lists_of_capabilities_may_be_nonsense);
	tcase_add_test(tc, host_bridge_on_the_list_passes_it_on);
	tcase_add_test(tc, host_bridge_with_ids_of_nonsense_is_not_on_the_list);
	tcase_add_test(tc, first_root_port_stands_for_a_missing_host_bridge);
	tcase_add_test(tc, two_host_bridges_must_both_be_on_the_list);
	tcase_add_test(tc, processor_allows_if_amd_zen);
	tcase_add_test(tc, function_that_is_gone_is_unknown);
	tcase_add_test(tc, names_that_are_no_functions_are_unknown);
	tcase_add_test(tc, bridges_without_end_are_unknown);
	tcase_add_test(tc, no_pci_at_all_is_no_crash);
	tcase_add_test(tc, block_devices_are_the_functions_below_them);
	tcase_add_test(tc, client_of_several_functions_is_as_bad_as_its_worst);
	tcase_add_test(tc, subsystem_with_one_path_that_cannot_is_not_capable);
	tcase_add_test(tc, client_of_too_many_functions_is_not_capable);
	tcase_add_test(tc, md_arrays_may_be_nonsense);
	tcase_add_test(tc, block_devices_of_other_kinds_are_named);
	tcase_add_test(tc, rnics_are_software_or_a_function);
	tcase_add_test(tc, every_map_has_a_name);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
