#include "config/text.h"

#include "config/config.h"
#include "config/diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"
#define UUID_PREFIX   "nqn.2014-08.org.nvmexpress:uuid:"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_domain_char(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-';
}

bool text_uuid(const char *text, uint8_t uuid[16])
{
	uint8_t value[16];

	for (unsigned int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			if (*text++ != '-')
				return false;

		int high = hex_value(text[0]);
		int low = high < 0 ? -1 : hex_value(text[1]);

		if (low < 0)
			return false;
		value[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text)
		return false;
	memcpy(uuid, value, sizeof(value));
	return true;
}

void uuid_print(const uint8_t u[16], char text[UUID_TEXT_LEN])
{
	snprintf(text, UUID_TEXT_LEN,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
}

static const char *utf8_wrong(const char *text)
{
	while (*text) {
		size_t len = utf8_len(text);

		if (!len)
			return "it holds a control character or invalid UTF-8";
		text += len;
	}
	return NULL;
}

bool config_is_utf8(const char *text)
{
	return !utf8_wrong(text);
}

/* "yyyy-mm." */
static const char *date_wrong(const char *t)
{
	static const char form[] = "dddd-dd.";

	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'd' ? !is_digit(t[i]) : t[i] != form[i])
			return "after \"nqn.\" comes no date as in \"2024-01.\"";

	int month = (t[5] - '0') * 10 + (t[6] - '0');

	return month < 1 || month > 12 ? "its date has no such month" : NULL;
}

const char *nqn_wrong(const char *text)
{
	const char *wrong = utf8_wrong(text);

	if (wrong)
		return wrong;
	if (strncmp(text, "nqn.", 4) != 0)
		return "it does not start with \"nqn.\"";
	wrong = date_wrong(text + 4);
	if (wrong)
		return wrong;

	const char *domain = text + strlen("nqn.yyyy-mm.");
	const char *label = domain;

	while (is_domain_char(*label)) {
		while (is_domain_char(*label))
			label++;
		if (*label != '.')
			break;
		label++;
	}
	if (label == domain || label[-1] == '.' || (*label && *label != ':'))
		return "after the date comes no reverse domain name as in \"org.example\"";
	if (label[0] != ':' || !label[1])
		return "after the domain comes no \":\" and name";

	uint8_t uuid[16];

	if (strncmp(text, UUID_PREFIX, strlen(UUID_PREFIX)) == 0 &&
	    !text_uuid(text + strlen(UUID_PREFIX), uuid))
		return "after \":uuid:\" comes no UUID";
	return NULL;
}

const char *subsystem_nqn_wrong(const char *text)
{
	if (strcmp(text, DISCOVERY_NQN) == 0)
		return "it is the discovery service's, which each port offers by itself";
	return nqn_wrong(text);
}

const char *discovery_nqn_wrong(const char *text)
{
	return strcmp(text, DISCOVERY_NQN) == 0 ? NULL : nqn_wrong(text);
}

static const char *scope_wrong(const char *scope)
{
	size_t len = strlen(scope);

	if (len < 1 || len >= IFNAMSIZ)
		return "after \"%\" comes no interface name";
	for (size_t i = 0; i < len; i++)
		if (scope[i] <= ' ' || scope[i] > '~' || strchr("/:%", scope[i]))
			return "after \"%\" comes no interface name";
	return NULL;
}

const char *group_wrong(const char *text)
{
	if (*text >= '0' && *text <= '9')
		return "it starts with a digit";
	for (; *text; text++)
		if (!is_digit(*text) && !(*text >= 'a' && *text <= 'z') &&
		    !(*text >= 'A' && *text <= 'Z') && !strchr("_-.", *text))
			return "it holds something else than letters, digits, \"_\", \"-\" and \".\"";
	return NULL;
}

const char *address_wrong(const char *text)
{
	char host[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "%");
	const char *scope = text[len] ? text + len + 1 : NULL;
	struct in6_addr in6;
	struct in_addr in4;

	if (len >= sizeof(host))
		return "it is not a numeric IPv4 or IPv6 address";
	memcpy(host, text, len);
	host[len] = '\0';
	if (inet_pton(AF_INET, host, &in4) == 1)
		return scope ? "an IPv4 address has no \"%\" and interface" : NULL;
	if (inet_pton(AF_INET6, host, &in6) != 1)
		return "it is not a numeric IPv4 or IPv6 address";
	if (IN6_IS_ADDR_LINKLOCAL(&in6))
		return scope ? scope_wrong(scope)
			     : "a link-local address needs \"%\" and interface";
	return scope ? "only a link-local address takes \"%\" and interface" : NULL;
}

int config_endpoint(const char *text, struct sockaddr_storage *ret, unsigned int *ret_len)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM },
			*info;
	const char *colon = strrchr(text, ':'), *from = text, *to = colon;
	char host[64];

	if (!colon)
		return -EINVAL;
	if (*text == '[') {
		if (colon == text || *--to != ']')
			return -EINVAL;
		from++;
		hints.ai_family = AF_INET6;
	} else {
		hints.ai_family = AF_INET;
	}
	if (to <= from || (size_t)(to - from) >= sizeof(host))
		return -EINVAL;
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = '\0';
	if (address_wrong(host) || colon[1] < '1' || colon[1] > '9' ||
	    strlen(colon + 1) != strspn(colon + 1, "0123456789") || strlen(colon + 1) > 5 ||
	    atoi(colon + 1) > UINT16_MAX || getaddrinfo(host, colon + 1, &hints, &info))
		return -EINVAL;
	memcpy(ret, info->ai_addr, info->ai_addrlen);
	*ret_len = info->ai_addrlen;
	freeaddrinfo(info);
	return 0;
}

const char *endpoint_wrong(const char *text)
{
	struct sockaddr_storage addr;
	socklen_t len;

	return strcmp(text, "off") == 0 || config_endpoint(text, &addr, &len) == 0
		       ? NULL
		       : "it is neither a numeric address with a port nor \"off\"";
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

const char *peer_address_wrong(const char *text)
{
	struct in6_addr in6;

	if (strchr(text, '%'))
		return "an interface means nothing to other machines";
	if (strcmp(text, "0.0.0.0") == 0 ||
	    (inet_pton(AF_INET6, text, &in6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&in6)))
		return "nobody can connect to a wildcard";
	return address_wrong(text);
}

const char *device_wrong(const char *text)
{
	if (text[0] != '/')
		return "it is not an absolute path";
	if (strstr(text, "//") || strstr(text, "/./") || strstr(text, "/../"))
		return "it holds \"//\", \"/./\" or \"/../\"";
	if (ends_with(text, "/") || ends_with(text, "/.") || ends_with(text, "/.."))
		return "it names a folder";
	return utf8_wrong(text);
}

/* Each x is a hexadecimal digit, in the small letters that sysfs writes. */
static bool has_form(const char *text, const char *form)
{
	for (; *form; text++, form++)
		if (*form == 'x' ? !*text || !strchr("0123456789abcdef", *text) : *text != *form)
			return false;
	return !*text;
}

const char *controller_wrong(const char *text)
{
	if (text[0] == '/')
		return device_wrong(text);
	return has_form(text, "xxxx:xx:xx.x") ? NULL
					      : "it is neither an absolute path nor a PCI address";
}

const char *folder_wrong(const char *text)
{
	return ends_with(text, "/") ? "it ends with \"/\"" : device_wrong(text);
}

const char *ascii_wrong(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return "it holds a character that is not printable ASCII";
	return NULL;
}

const char *hex_wrong(const char *text)
{
	bool zero = true;

	for (; *text; text++) {
		if (hex_value(*text) < 0)
			return "it holds something else than hexadecimal digits";
		zero &= *text == '0';
	}
	return zero ? "it is zero, which means none" : NULL;
}

/* ---- processors --------------------------------------------------------------------------------
 */

#define CPU_MAX 1023

/* A number at *@at, which moves behind it; -1: there is none, or it is too large. */
static int cpu_number(const char **at)
{
	char *end;
	unsigned long n;

	if (**at < '0' || **at > '9')
		return -1;
	n = strtoul(*at, &end, 10);
	*at = end;
	return n <= CPU_MAX ? (int)n : -1;
}

int config_cpus(const char *list, int *ret, unsigned int most)
{
	unsigned int n = 0;

	for (const char *at = list;; at++) {
		int first = cpu_number(&at), last = first;

		if (*at == '-') {
			at++;
			last = cpu_number(&at);
		}
		if (first < 0 || last < first || (*at && *at != ','))
			return -EINVAL;
		for (int cpu = first; cpu <= last; cpu++, n++)
			if (ret && n < most)
				ret[n] = cpu;
		if (!*at)
			return (int)(ret && n > most ? most : n);
	}
}

const char *cpus_wrong(const char *text)
{
	return config_cpus(text, NULL, 0) < 0 ? "it is not a list of processors" : NULL;
}
