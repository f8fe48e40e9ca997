/*
 * text: rules for single texts. Inside config/ only.
 *
 * Each rule returns NULL, or in a few words why the text is refused.
 */
#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* NVMe Base, "NVMe Qualified Names". A subsystem's may not be the discovery service's. */
const char *nqn_wrong(const char *text);
const char *subsystem_nqn_wrong(const char *text);
/* Of a discovery service: the well-known one too. */
const char *discovery_nqn_wrong(const char *text);

/* Numeric IPv4 or IPv6; a link-local one with its interface, as in "fe80::1%eth0". */
const char *address_wrong(const char *text);

/* The same, but no wildcard: somebody else is to connect to it. */
const char *peer_address_wrong(const char *text);

/* An absolute path, written plainly, so that equal files have equal texts as far as text can tell.
 */
const char *device_wrong(const char *text);
const char *folder_wrong(const char *text);

/* An NVMe controller: its device, as device_wrong(), or its PCI address as in "0000:03:00.0". */
const char *controller_wrong(const char *text);

/* "off", or a numeric address and a port as in "127.0.0.1:9748" and "[::1]:9748". */
const char *endpoint_wrong(const char *text);

/* Identify Controller SN and MN. */
const char *ascii_wrong(const char *text);

/* Hexadecimal digits, not all of them 0. */
const char *hex_wrong(const char *text);

/* Processors such as "2-5,8", below 1024. */
const char *cpus_wrong(const char *text);

/* The name of a group of users, as useradd(8) has it. */
const char *group_wrong(const char *text);

/* A DH-HMAC-CHAP key; never quotes it. */
const char *dhchap_key_wrong(const char *text);
#define CONFIG_DHCHAP_TEXT_MAX 128 /* "DHHC-1:hh:", base64 of 64 + 4 bytes, ":" are 103 */

/** text_uuid() - 8-4-4-4-12 hexadecimal digits and nothing else. */
bool text_uuid(const char *text, uint8_t uuid[16]);

#define UUID_TEXT_LEN 37 /* with the NUL */
void uuid_print(const uint8_t uuid[16], char text[UUID_TEXT_LEN]);

#endif
