/* DH-HMAC-CHAP keys as text ("DHHC-1:", Base 2.1, 8.3.5.5.7), and the files that hold one. */
#include "config/dhchap_key.h"

#include "config/arena.h"
#include "config/diag.h"
#include "config/text.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define PREFIX "DHHC-1:"

/* What base64 of a 64-byte key and its CRC takes; and bytes, with the rest of its last group. */
#define BASE64_MAX 92
#define BYTES_MAX  (BASE64_MAX / 4 * 3)

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, 4, strictly: whole groups, padding at the end only and with zero bits below it. Return:
 * bytes, 0: it is none. */
static size_t base64_decode(const char *text, size_t len, uint8_t ret[BYTES_MAX])
{
	size_t pad = 0, n = 0;

	if (len == 0 || len % 4 || len > BASE64_MAX)
		return 0;
	while (pad < 2 && text[len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t group = 0;

		for (size_t j = i; j < i + 4; j++) {
			int value = j < len - pad ? base64_value(text[j]) : 0;

			if (value < 0)
				return 0;
			group = group << 6 | (uint32_t)value;
		}
		for (int shift = 16; shift >= 0; shift -= 8)
			ret[n++] = (uint8_t)(group >> shift);
	}
	for (size_t i = n - pad; i < n; i++)
		if (ret[i])
			return 0;
	return n - pad;
}

static uint32_t little_endian(const uint8_t *b)
{
	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static const char *decode(const char *base64, size_t len, uint8_t hash, uint8_t bytes[BYTES_MAX],
			  struct config_dhchap_key *ret)
{
	size_t n = base64_decode(base64, len, bytes);

	if (!n)
		return "after \"DHHC-1:hh:\" comes no base64 text and \":\"";
	if (n != 32 + 4 && n != 48 + 4 && n != 64 + 4)
		return "the key is not 32, 48 or 64 bytes long";
	n -= 4;
	if (crc32(0, bytes, (unsigned int)n) != little_endian(bytes + n))
		return "its checksum does not fit: a character is wrong";
	ret->len = (uint8_t)n;
	ret->hash = hash;
	memset(ret->bytes, 0, sizeof(ret->bytes));
	memcpy(ret->bytes, bytes, n);
	return NULL;
}

const char *config_dhchap_key(const char *text, struct config_dhchap_key *ret)
{
	uint8_t bytes[BYTES_MAX];

	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return "it does not start with \"DHHC-1:\"";
	text += strlen(PREFIX);
	if (text[0] != '0' || text[1] < '0' || text[1] > '3' || text[2] != ':')
		return "after \"DHHC-1:\" comes no hash \"00:\", \"01:\", \"02:\" or \"03:\"";

	uint8_t hash = (uint8_t)(text[1] - '0');
	size_t len = strcspn(text + 3, ":");
	const char *wrong = text[3 + len] && !text[3 + len + 1]
				    ? decode(text + 3, len, hash, bytes, ret)
				    : "it does not end with \":\"";

	explicit_bzero(bytes, sizeof(bytes));
	return wrong;
}

const char *dhchap_key_wrong(const char *text)
{
	struct config_dhchap_key key;
	const char *wrong = config_dhchap_key(text, &key);

	explicit_bzero(&key, sizeof(key));
	return wrong;
}

const char *dhchap_key_text(const struct config_dhchap_key *key, void **arena)
{
	uint8_t bytes[sizeof(key->bytes) + 4];
	unsigned char base64[BASE64_MAX + 1];
	size_t n = key->len;
	uint32_t crc = (uint32_t)crc32(0, key->bytes, key->len);
	const char *text;

	memcpy(bytes, key->bytes, n);
	for (unsigned int shift = 0; shift < 32; shift += 8)
		bytes[n++] = (uint8_t)(crc >> shift);
	EVP_EncodeBlock(base64, bytes, (int)n);
	text = arena_printf(arena, PREFIX "%02u:%s:", key->hash, base64);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(base64, sizeof(base64));
	return text;
}

/* ---- files -------------------------------------------------------------------------------------
 */

/* The user that the service runs as: root looks at the files of a daemon that is not root
 * (--check). */
#define SERVICE_USER "nvmf-p2pd"

static bool may_own_key(uid_t uid)
{
	const struct passwd *service;

	if (uid == 0 || uid == geteuid())
		return true;
	service = getpwnam(SERVICE_USER);
	return service && service->pw_uid == uid;
}

/* Who else could read or replace it, knows the key. */
static int check_file(int fd, const char *path, struct config_diag *diag)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		diag_what(diag, path, 0, "cannot be read: %s", strerror(errno));
		return -errno;
	}
	if (!S_ISREG(st.st_mode)) {
		diag_what(diag, path, 0, "is no regular file");
		return diag_fix(diag, "give a regular file");
	}
	if (!may_own_key(st.st_uid)) {
		diag_what(diag, path, 0, "holds a key and belongs to user %u", st.st_uid);
		return diag_fix(diag, "give it to root or to the daemon's user");
	}
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		diag_what(diag, path, 0, "holds a key and others than its owner may use it");
		return diag_fix(diag,
				"chmod 600 it, and make a new key if somebody may have seen it");
	}
	return 0;
}

static int read_key(int fd, const char *path, struct config_dhchap_key *ret,
		    struct config_diag *diag)
{
	char text[CONFIG_DHCHAP_TEXT_MAX + 2];
	ssize_t len = read(fd, text, sizeof(text) - 1);
	const char *wrong;

	if (len < 0) {
		int err = errno;

		diag_what(diag, path, 0, "cannot be read: %s", strerror(err));
		return -err;
	}
	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		len--;
	text[len] = '\0';
	wrong = memchr(text, '\0', (size_t)len) ? "it holds a byte 0"
						: config_dhchap_key(text, ret);
	explicit_bzero(text, sizeof(text));
	if (!wrong)
		return 0;
	diag_what(diag, path, 1, "holds no key: %s", wrong);
	return diag_fix(diag, "put one line in it, as \"nvme gen-dhchap-key\" makes it");
}

int dhchap_key_read(const char *path, struct config_dhchap_key *ret, struct config_diag *diag)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), err;

	if (fd < 0) {
		err = errno;
		diag_what(diag, path, 0, "cannot be read: %s",
			  err == ELOOP ? "it is a symbolic link" : strerror(err));
		diag_fix(diag, "check the path and who may read it");
		return err == ELOOP ? -EINVAL : -err;
	}
	err = check_file(fd, path, diag);
	if (!err)
		err = read_key(fd, path, ret, diag);
	close(fd);
	return err;
}
