#include "p2p/topology.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAIN_MAX    64 /* bridges above one function; real trees have five */
#define MD_DEPTH_MAX 8  /* arrays of arrays */

const char *p2p_map_name(enum p2p_map map)
{
	switch (map) {
	case P2P_MAP_SOFTWARE:
		return "software";
	case P2P_MAP_BUS_ADDRESS:
		return "bus-address";
	case P2P_MAP_HOST_BRIDGE:
		return "through-host-bridge";
	case P2P_MAP_NOT_SUPPORTED:
		return "not-supported";
	case P2P_MAP_UNKNOWN:
		break;
	}
	return "unknown";
}

/* ---- files --------------------------------------------------------------------------------- */

/* The path that the format gives, with all links followed. It must lie in our tree. */
__attribute__((format(printf, 3, 4))) static int resolve(const struct topology *t,
							 char ret[PATH_MAX], const char *format,
							 ...)
{
	char path[PATH_MAX];
	size_t root = strlen(t->sysfs);
	va_list args;

	va_start(args, format);

	int n = vsnprintf(path, sizeof(path), format, args);

	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	if (!realpath(path, ret))
		return -errno;
	return strncmp(ret, t->sysfs, root) == 0 && ret[root] == '/' ? 0 : -EXDEV;
}

/* Up to @size bytes of @dir/@name. Return: how many, or negative errno. */
static ssize_t read_file(const char *dir, const char *name, void *buf, size_t size)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
	size_t len = 0;
	ssize_t got = 0;

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;

	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (len < size && (got = read(fd, (char *)buf + len, size - len)) > 0)
		len += (size_t)got;
	if (got < 0)
		got = -errno;
	close(fd);
	return got < 0 ? got : (ssize_t)len;
}

/* The printable beginning of a file; "" if there is none. It may end up in a log. */
static void read_text(const char *dir, const char *name, char *text, size_t size)
{
	ssize_t len, i = 0;

	memset(text, 0, size);
	len = read_file(dir, name, text, size - 1);

	while (i < len && isprint((unsigned char)text[i]))
		i++;
	text[i] = '\0';
}

static bool exists(const char *dir, const char *name)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);

	return n >= 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0;
}

/* A vendor or device ID, "0x8086". Return: the ID or -1. */
static int read_id(const char *dir, const char *name)
{
	char text[16], *end;

	read_text(dir, name, text, sizeof(text));

	unsigned long id = strtoul(text, &end, 16);

	return end == text || *end != '\0' || id > 0xffff ? -1 : (int)id;
}

/* "0000:03:00.0": domain of four to eight digits, bus, device, function. */
static bool is_bdf(const char *name)
{
	size_t domain = strspn(name, "0123456789abcdef");
	const char *rest = name + domain;

	return domain >= 4 && domain <= 8 && strlen(rest) == 8 && rest[0] == ':' &&
	       isxdigit((unsigned char)rest[1]) && isxdigit((unsigned char)rest[2]) &&
	       rest[3] == ':' && isxdigit((unsigned char)rest[4]) &&
	       isxdigit((unsigned char)rest[5]) && rest[6] == '.' && rest[7] >= '0' &&
	       rest[7] <= '7';
}

/* ---- configuration space (PCI Express Base, 7.5 and 7.6) ---------------------------------------
 */

#define CONFIG_SIZE         4096
#define CONFIG_EXTENDED     256 /* where extended capabilities begin */
#define CAP_EXPRESS         0x10
#define EXTCAP_ACS          0x0d
#define ACS_REDIRECT        0x2c /* P2P request, P2P completion and egress control */
#define EXPRESS_ROOT_PORT   4
#define STATUS_CAPABILITIES 0x10

struct config {
	uint8_t byte[CONFIG_SIZE];
	size_t len;
};

enum answer { NO, YES, NOBODY_KNOWS };

static unsigned int config_u16(const struct config *c, size_t at)
{
	return c->byte[at] | (unsigned int)c->byte[at + 1] << 8;
}

static void config_read(const struct topology *t, const char *bdf, struct config *ret)
{
	char dir[PATH_MAX];
	ssize_t len = -ENOENT;

	if (resolve(t, dir, "%s/bus/pci/devices/%s", t->sysfs, bdf) == 0)
		len = read_file(dir, "config", ret->byte, sizeof(ret->byte));
	ret->len = len < 0 ? 0 : (size_t)len;
}

/* Where the PCI Express capability lies, which says what kind of function this is and whether it
 * has extended configuration space. A list has at most 48 members: each takes four bytes. */
static enum answer find_express(const struct config *c, size_t *ret_at)
{
	if (c->len < 64)
		return NOBODY_KNOWS;
	if (!(c->byte[6] & STATUS_CAPABILITIES))
		return NO;

	size_t at = c->byte[0x34] & ~3u;

	for (int i = 0; i < 48 && at >= 64; i++) {
		if (at + 4 > c->len)
			return NOBODY_KNOWS;
		if (c->byte[at] == CAP_EXPRESS) {
			*ret_at = at;
			return YES;
		}
		at = c->byte[at + 1] & ~3u;
	}
	return NO;
}

static enum answer is_root_port(const struct config *c)
{
	size_t at = 0;
	enum answer express = find_express(c, &at);

	if (express != YES)
		return express;
	return (config_u16(c, at + 2) >> 4 & 0xf) == EXPRESS_ROOT_PORT ? YES : NO;
}

/* Does the function send peer-to-peer traffic up to the host bridge? */
static enum answer redirects(const struct config *c)
{
	size_t at = 0;
	enum answer express = find_express(c, &at);

	if (express != YES)
		return express;
	at = CONFIG_EXTENDED;
	for (int i = 0; i < (CONFIG_SIZE - CONFIG_EXTENDED) / 8 && at >= CONFIG_EXTENDED; i++) {
		if (at + 8 > c->len)
			return c->len == CONFIG_SIZE ? NO : NOBODY_KNOWS;
		if (config_u16(c, at) == EXTCAP_ACS)
			return config_u16(c, at + 6) & ACS_REDIRECT ? YES : NO;
		at = config_u16(c, at + 2) >> 4 & ~3u;
	}
	return NO;
}

/* ---- host bridges ------------------------------------------------------------------------------
 */

#define ANY_DEVICE (-1)

/*
 * Host bridges that pass P2P between their root ports: pci_p2pdma_whitelist of
 * drivers/pci/p2pdma.c in Linux 7.2 (p2p.md 2.2), with the IDs that it takes by name from
 * include/linux/pci_ids.h. Linux 7.3 adds four of NVIDIA's, left out here.
 */
static const struct host_bridge {
	int vendor, device;
	bool same_only; /* not from one host bridge to another (REQ_SAME_HOST_BRIDGE) */
} host_bridges[] = {
	{ 0x8086, 0x3c00, true },      /* Xeon E5, Core i7 */
	{ 0x8086, 0x3c01, true },      /* the same */
	{ 0x8086, 0x2f00, true },      /* Xeon E5 v3, E7 v3, Core i7 */
	{ 0x8086, 0x2f01, true },      /* the same */
	{ 0x8086, 0x2030, false },     /* Skylake-E root port A: these have no 00.0 */
	{ 0x8086, 0x2031, false },     /* root port B */
	{ 0x8086, 0x2032, false },     /* root port C */
	{ 0x8086, 0x2033, false },     /* root port D */
	{ 0x8086, 0x2020, false },     /* Skylake-E */
	{ 0x8086, 0x09a2, false },     /* Ice Lake and later */
	{ 0x8086, 0x0b25, false },     /* DSA_SPR0 */
	{ 0x8086, 0x0cfe, false },     /* IAX_SPR0 */
	{ 0x8086, 0x11fb, false },     /* DSA_GNRD */
	{ 0x8086, 0x1212, false },     /* DSA_DMR */
	{ 0x8086, 0x1216, false },     /* IAA_DMR */
	{ 0x8086, 0x4940, false },     /* QAT_4XXX */
	{ 0x8086, 0x4942, false },     /* QAT_401XX */
	{ 0x8086, 0x4944, false },     /* QAT_402XX */
	{ 0x8086, 0x4946, false },     /* QAT_420XX */
	{ 0x8086, 0x4948, false },     /* QAT_6XXX */
	{ 0x1ae0, ANY_DEVICE, false }, /* Google */
};

/*
 * The first function on the root bus @root ("/sys/devices/pci0000:00"). The kernel takes the head
 * of a list that it filled in the order of device numbers; the names are of one length, so the
 * smallest name is that one. (Functions of another bus, VFs, have larger numbers.)
 */
static bool first_on_bus(const char *root, char ret[TOPOLOGY_BDF_LEN])
{
	DIR *dir = opendir(root);
	struct dirent *entry;

	ret[0] = '\0';
	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		if (is_bdf(entry->d_name) && (!ret[0] || strcmp(entry->d_name, ret) < 0))
			memcpy(ret, entry->d_name, strlen(entry->d_name) + 1);
	closedir(dir);
	return ret[0];
}

/* What stands for the host bridge must be at 00.0 or a root port. */
static enum answer stands_for_host_bridge(const struct topology *t, const char *bdf)
{
	struct config config;

	if (strcmp(strchr(bdf, '.') - 2, "00.0") == 0)
		return YES;
	config_read(t, bdf, &config);
	return is_root_port(&config);
}

/* May P2P pass the host bridge whose root bus is @root? @why says what it is. */
static bool host_bridge_allows(const struct topology *t, const char *root, bool same, char *why,
			       size_t why_len)
{
	char bdf[TOPOLOGY_BDF_LEN], dir[PATH_MAX];

	if (!first_on_bus(root, bdf) ||
	    resolve(t, dir, "%s/bus/pci/devices/%s", t->sysfs, bdf) < 0) {
		snprintf(why, why_len, "nothing on the root bus");
		return false;
	}

	enum answer stands = stands_for_host_bridge(t, bdf);
	int vendor = read_id(dir, "vendor"), device = read_id(dir, "device");

	if (stands != YES || vendor < 0 || device < 0) {
		snprintf(why, why_len, "%s, first on the root bus, is %s", bdf,
			 stands == NO    ? "no host bridge"
			 : stands == YES ? "of unknown make"
					 : "not readable in full: not root?");
		return false;
	}
	snprintf(why, why_len, "host bridge %04x:%04x", (unsigned int)vendor, (unsigned int)device);
	for (size_t i = 0; i < sizeof(host_bridges) / sizeof(host_bridges[0]); i++) {
		const struct host_bridge *h = &host_bridges[i];

		if (vendor == h->vendor && (h->device == ANY_DEVICE || device == h->device))
			return same || !h->same_only;
	}
	return false;
}

/* cpu_supports_p2pdma(): AMD from Zen on. X86_VENDOR_AMD alone: Hygon's, though Zen, is not it. */
static bool cpu_allows(const char *cpuinfo, char *ret_name, size_t name_len)
{
	char line[512], vendor[32] = "";
	unsigned long family = 0;
	FILE *f = fopen(cpuinfo, "re");

	ret_name[0] = '\0';
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f) && line[0] != '\n') {
		char *value = strchr(line, ':');

		if (!value)
			continue;
		if (strncmp(line, "vendor_id", 9) == 0)
			(void)sscanf(value + 1, "%31s", vendor);
		else if (strncmp(line, "cpu family", 10) == 0)
			family = strtoul(value + 1, NULL, 10);
	}
	fclose(f);
	if (vendor[0])
		snprintf(ret_name, name_len, "%s family %lu", vendor, family);
	return strcmp(vendor, "AuthenticAMD") == 0 && family >= 0x17;
}

void topology_init(struct topology *t, const char *sysfs, const char *cpuinfo)
{
	if (!realpath(sysfs, t->sysfs))
		snprintf(t->sysfs, sizeof(t->sysfs), "%s", "/nonexistent");
	t->cpu_allows = cpu_allows(cpuinfo, t->cpu, sizeof(t->cpu));
}

/* ---- the way between two functions -------------------------------------------------------------
 */

/* A function, the bridges above it from the nearest on, and the directory of its root bus. */
struct chain {
	char bdf[CHAIN_MAX][TOPOLOGY_BDF_LEN];
	unsigned int n;
	char root[PATH_MAX];
};

/*
 * A function's directory lies in that of the bridge above it; what is above the last bridge is the
 * host bridge. (Below a VMD, the directory of its root bus parts its bridges from those above the
 * VMD.) The bridges of a virtual function are those of the physical one (pci_upstream_bridge()).
 */
static int chain_read(const struct topology *t, const char *bdf, struct chain *ret)
{
	char *slash;

	if (!is_bdf(bdf))
		return -EINVAL;
	ret->n = 1;
	memcpy(ret->bdf[0], bdf, strlen(bdf) + 1);

	int err = resolve(t, ret->root, "%s/bus/pci/devices/%s", t->sysfs, bdf);

	if (err == 0 && exists(ret->root, "physfn"))
		err = resolve(t, ret->root, "%s/bus/pci/devices/%s/physfn", t->sysfs, bdf);
	if (err)
		return err;
	slash = strrchr(ret->root, '/');
	*slash = '\0';
	while ((slash = strrchr(ret->root, '/')) && is_bdf(slash + 1)) {
		if (ret->n == CHAIN_MAX)
			return -E2BIG;
		memcpy(ret->bdf[ret->n++], slash + 1, strlen(slash + 1) + 1);
		*slash = '\0';
	}
	return 0;
}

/* Where @bdf is in the chain; its length if nowhere. */
static unsigned int chain_find(const struct chain *c, const char *bdf)
{
	unsigned int i = 0;

	while (i < c->n && strcmp(c->bdf[i], bdf) != 0)
		i++;
	return i;
}

/* The functions on the way that redirect, and those of which nobody knows: the first of each. */
struct acs {
	const char *redirect, *unknown;
};

static void acs_of(const struct topology *t, const struct chain *c, unsigned int n, struct acs *acs)
{
	for (unsigned int i = 0; i < n; i++) {
		struct config config;

		config_read(t, c->bdf[i], &config);
		switch (redirects(&config)) {
		case YES:
			if (!acs->redirect)
				acs->redirect = c->bdf[i];
			break;
		case NOBODY_KNOWS:
			if (!acs->unknown)
				acs->unknown = c->bdf[i];
			break;
		case NO:
			break;
		}
	}
}

static void path_over_host_bridge(const struct topology *t, const struct chain *a,
				  const struct chain *b, const char *reason, struct p2p_path *ret)
{
	char why[96] = "";
	bool same = strcmp(a->root, b->root) == 0;

	ret->map = P2P_MAP_HOST_BRIDGE;
	if (t->cpu_allows) {
		snprintf(ret->why, sizeof(ret->why), "%s; the processor, %s, passes it on", reason,
			 t->cpu);
		return;
	}
	if (host_bridge_allows(t, a->root, same, why, sizeof(why)) &&
	    (same || host_bridge_allows(t, b->root, same, why, sizeof(why)))) {
		snprintf(ret->why, sizeof(ret->why), "%s; %s passes it on", reason, why);
		return;
	}
	ret->map = P2P_MAP_NOT_SUPPORTED;
	snprintf(ret->why, sizeof(ret->why), "%s; %s%s: not on the kernel's allowlist", reason, why,
		 same ? "" : " (to another one)");
}

/* calc_map_type_and_dist(), for the provider @a and one function @b of the client. */
static void path_between(const struct topology *t, const struct chain *a, const struct chain *b,
			 struct p2p_path *ret)
{
	unsigned int ia = 0, ib = chain_find(b, a->bdf[0]);
	struct acs acs = { NULL, NULL };
	char reason[112];

	while (ib == b->n && ++ia < a->n)
		ib = chain_find(b, a->bdf[ia]);
	ret->distance = ia + ib;
	if (ia == a->n) {
		path_over_host_bridge(t, a, b, "no common bridge", ret);
		return;
	}
	acs_of(t, a, ia + 1, &acs); /* with the common one, as the kernel does */
	acs_of(t, b, ib, &acs);
	if (acs.redirect) {
		snprintf(reason, sizeof(reason),
			 "ACS redirect at %s (off by pci=disable_acs_redir=%s)", acs.redirect,
			 acs.redirect);
		path_over_host_bridge(t, a, b, reason, ret);
		return;
	}
	ret->map = P2P_MAP_BUS_ADDRESS;

	int n = snprintf(ret->why, sizeof(ret->why), "%s%s",
			 ia + ib == 0 ? "the same function" : "below ",
			 ia + ib == 0 ? "" : a->bdf[ia]);

	if (acs.unknown)
		snprintf(ret->why + n, sizeof(ret->why) - (size_t)n,
			 "; ACS of %s not readable: not root?", acs.unknown);
}

/* Worse is larger. */
static int badness(enum p2p_map map)
{
	switch (map) {
	case P2P_MAP_SOFTWARE:
		return 0;
	case P2P_MAP_BUS_ADDRESS:
		return 1;
	case P2P_MAP_HOST_BRIDGE:
		return 2;
	case P2P_MAP_UNKNOWN:
		return 3;
	case P2P_MAP_NOT_SUPPORTED:
		return 4;
	}
	return 5;
}

static void path_is_unknown(struct p2p_path *ret, const char *bdf, int err)
{
	ret->map = P2P_MAP_UNKNOWN;
	ret->distance = 0;
	snprintf(ret->why, sizeof(ret->why), "%.32s: %s", bdf,
		 err == -ENOENT ? "there is no such PCI function (any more)" : strerror(-err));
}

void topology_path(const struct topology *t, const char *provider_bdf,
		   const struct p2p_client *client, struct p2p_path *ret)
{
	struct chain provider, function;
	unsigned int distance = 0;
	int err = chain_read(t, provider_bdf, &provider);

	if (err) {
		path_is_unknown(ret, provider_bdf, err);
		return;
	}
	*ret = (struct p2p_path){ .map = P2P_MAP_SOFTWARE };
	if (!client->capable) {
		ret->map = P2P_MAP_NOT_SUPPORTED;
		snprintf(ret->why, sizeof(ret->why), "%s", client->why);
		return;
	}
	if (client->software) {
		snprintf(ret->why, sizeof(ret->why), "no PCI function: the processor copies");
		return;
	}
	if (client->n == 0 || client->n > TOPOLOGY_FUNCTIONS_MAX) {
		path_is_unknown(ret, "client", -EINVAL);
		return;
	}
	for (unsigned int i = 0; i < client->n; i++) {
		struct p2p_path path;

		err = chain_read(t, client->bdf[i], &function);
		if (err)
			path_is_unknown(&path, client->bdf[i], err);
		else
			path_between(t, &provider, &function, &path);
		if (badness(path.map) > badness(ret->map) ||
		    (path.map == ret->map && path.distance > ret->distance))
			*ret = path;
		if (path.distance > distance)
			distance = path.distance;
	}
	ret->distance = distance;
}

/* ---- clients -----------------------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 3))) static void not_capable(struct p2p_client *c,
							      const char *format, ...)
{
	va_list args;

	c->capable = false;
	va_start(args, format);
	vsnprintf(c->why, sizeof(c->why), format, args);
	va_end(args);
}

static void takes_no_pages(struct p2p_client *c, const char *kind)
{
	not_capable(c, "%.40s devices take no peer-to-peer pages", kind);
}

static void add_function(struct p2p_client *c, const char *bdf)
{
	for (unsigned int i = 0; i < c->n; i++)
		if (strcmp(c->bdf[i], bdf) == 0)
			return;
	if (c->n == TOPOLOGY_FUNCTIONS_MAX)
		not_capable(c, "more than %d PCI functions", TOPOLOGY_FUNCTIONS_MAX);
	else
		memcpy(c->bdf[c->n++], bdf, strlen(bdf) + 1);
}

/* The PCI function that the directory @path belongs to; shortens @path. */
static bool find_function(char *path, const char **ret_bdf)
{
	char *slash;

	while ((slash = strrchr(path, '/'))) {
		if (is_bdf(slash + 1)) {
			*ret_bdf = slash + 1;
			return true;
		}
		*slash = '\0';
	}
	return false;
}

static void add_controller(struct p2p_client *c, char *path)
{
	char transport[24], kind[40];
	const char *bdf;

	read_text(path, "transport", transport, sizeof(transport));
	snprintf(kind, sizeof(kind), "NVMe over %s", transport[0] ? transport : "nothing");
	if (strcmp(transport, "pcie") != 0)
		takes_no_pages(c, kind);
	else if (find_function(path, &bdf))
		add_function(c, bdf);
	else
		not_capable(c, "an NVMe controller without PCI function");
}

/* @prefix and digits. */
static bool is_numbered(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && name[len] &&
	       name[len + strspn(name + len, "0123456789")] == '\0';
}

/* Every controller of a subsystem can be the one that is asked for the data. */
static void add_subsystem(const struct topology *t, struct p2p_client *c, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned int paths = 0;

	errno = 0;
	while (dir && c->capable && (entry = readdir(dir))) {
		char controller[PATH_MAX];
		int err;

		if (!is_numbered(entry->d_name, "nvme"))
			continue;
		err = resolve(t, controller, "%s/%s", path, entry->d_name);
		if (!err)
			add_controller(c, controller);
		else if (err != -ENOENT) /* one that goes just now is none */
			not_capable(c, "an NVMe controller that cannot be looked at: %s",
				    strerror(-err));
		paths += !err;
		errno = 0;
	}
	if (dir && c->capable && errno)
		not_capable(c, "an NVMe subsystem that cannot be read: %s", strerror(errno));
	if (dir)
		closedir(dir);
	if (c->capable && paths == 0)
		not_capable(c, "an NVMe subsystem without controllers");
}

static void add_disk(const struct topology *t, struct p2p_client *c, char *path,
		     unsigned int depth);

static void add_members(const struct topology *t, struct p2p_client *c, const char *path,
			unsigned int depth)
{
	char slaves[PATH_MAX], level[16], kind[24];
	unsigned int members = 0;

	read_text(path, "md/level", level, sizeof(level));
	if (strcmp(level, "raid0") != 0 && strcmp(level, "raid1") != 0 &&
	    strcmp(level, "raid10") != 0) {
		snprintf(kind, sizeof(kind), "md %s", level[0] ? level : "(stopped)");
		takes_no_pages(c, kind);
		return;
	}
	if (depth == MD_DEPTH_MAX) {
		not_capable(c, "md arrays of arrays, more than %d deep", MD_DEPTH_MAX);
		return;
	}

	DIR *dir = resolve(t, slaves, "%s/slaves", path) == 0 ? opendir(slaves) : NULL;
	struct dirent *entry;

	errno = 0;
	while (dir && c->capable && (entry = readdir(dir))) {
		char member[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		members++;
		if (resolve(t, member, "%s/%s", slaves, entry->d_name) < 0)
			not_capable(c, "an md array with a member that is gone");
		else
			add_disk(t, c, member, depth + 1);
		errno = 0;
	}
	if (dir && c->capable && errno)
		not_capable(c, "an md array that cannot be read: %s", strerror(errno));
	if (dir)
		closedir(dir);
	if (c->capable && members == 0)
		not_capable(c, "an md array without members");
}

/* The bus or class of the device below a disk; without one (loop, zram), the disk's own name. */
static void disk_kind(const char *path, const char *device, char *ret, size_t size)
{
	char link[PATH_MAX], target[PATH_MAX];
	int n = snprintf(link, sizeof(link), "%s/subsystem", device);
	ssize_t len = -1;

	if (device[0] && n >= 0 && (size_t)n < sizeof(link))
		len = readlink(link, target, sizeof(target) - 1);
	if (len > 0) {
		target[len] = '\0';
		path = target;
	}
	snprintf(ret, size, "%s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	for (size_t i = strlen(ret); len <= 0 && i > 1 && isdigit((unsigned char)ret[i - 1]); i--)
		ret[i - 1] = '\0';
}

/* @path: a block device's directory; may be shortened. */
static void add_disk(const struct topology *t, struct p2p_client *c, char *path, unsigned int depth)
{
	char device[PATH_MAX], kind[40];

	if (exists(path, "partition") && strrchr(path, '/'))
		*strrchr(path, '/') = '\0';
	if (exists(path, "dm")) {
		takes_no_pages(c, "dm");
		return;
	}
	if (exists(path, "md")) {
		add_members(t, c, path, depth);
		return;
	}
	if (resolve(t, device, "%s/device", path) < 0)
		device[0] = '\0';
	disk_kind(path, device, kind, sizeof(kind));
	if (strcmp(kind, "nvme") == 0)
		add_controller(c, device);
	else if (strcmp(kind, "nvme-subsystem") == 0)
		add_subsystem(t, c, device);
	else
		takes_no_pages(c, kind);
}

void topology_block_client(const struct topology *t, unsigned int major, unsigned int minor,
			   struct p2p_client *ret)
{
	char path[PATH_MAX];

	*ret = (struct p2p_client){ .capable = true };
	if (resolve(t, path, "%s/dev/block/%u:%u", t->sysfs, major, minor) < 0)
		not_capable(ret, "no block device %u:%u", major, minor);
	else
		add_disk(t, ret, path, 0);
}

void topology_rnic_client(const struct topology *t, const char *ibdev, struct p2p_client *ret)
{
	char path[PATH_MAX];
	const char *bdf;

	*ret = (struct p2p_client){ .capable = true };
	if (!ibdev[0] || ibdev[0] == '.' || strchr(ibdev, '/') ||
	    resolve(t, path, "%s/class/infiniband/%s", t->sysfs, ibdev) < 0)
		not_capable(ret, "no RDMA device %.64s", ibdev);
	else if (resolve(t, path, "%s/class/infiniband/%s/device", t->sysfs, ibdev) < 0)
		ret->software = true;
	else if (find_function(path, &bdf))
		add_function(ret, bdf);
	else
		not_capable(ret, "%.64s is no PCI device", ibdev);
}
