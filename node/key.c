#include "node/key.h"

#include "crdt/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 4096 };

__attribute__((format(printf, 3, 4))) static int fail(char error[SK_KEY_ERROR_MAX], int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, SK_KEY_ERROR_MAX, format, args);
    va_end(args);
    return code;
}

void sk_key_hex(const uint8_t key[SK_NOISE_KEY], char text[SK_KEY_HEX])
{
    sodium_bin2hex(text, SK_KEY_HEX, key, SK_NOISE_KEY);
}

void sk_key_base64(const uint8_t key[SK_NOISE_KEY], char text[SK_KEY_BASE64])
{
    sodium_bin2base64(text, SK_KEY_BASE64, key, SK_NOISE_KEY, sodium_base64_VARIANT_ORIGINAL);
}

/* -- reading ------------------------------------------------------------------------------------------------------ */

/* The whole file into `text`; its length, or a negative error. */
static int read_file(const char *path, char text[FILE_MAX + 1], char error[SK_KEY_ERROR_MAX])
{
    int result = SK_E_CONFIG;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return fail(error, SK_E_CONFIG, "%s: the key file cannot be opened: %s%s", path, strerror(errno),
                    errno == ENOENT ? "; make one with: skerryctl keygen" : "");
    }
    struct stat status;
    if (fstat(fd, &status) != 0) {
        fail(error, SK_E_CONFIG, "%s: the key file cannot be looked at: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(status.st_mode)) {
        fail(error, SK_E_CONFIG, "%s: the key file is not a regular file", path);
        goto out;
    }
    if (status.st_mode & 077) {
        fail(error, SK_E_CONFIG, "%s: others may use the key file (mode %04o); allow only its owner: chmod 600", path,
             (unsigned)(status.st_mode & 07777));
        goto out;
    }
    size_t len = 0;
    while (len <= FILE_MAX) {
        ssize_t got = read(fd, text + len, FILE_MAX + 1 - len);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            fail(error, SK_E_CONFIG, "%s: the key file cannot be read: %s", path, strerror(errno));
            goto out;
        }
        if (got == 0) break;
        len += (size_t)got;
    }
    if (len > FILE_MAX) {
        fail(error, SK_E_CONFIG, "%s: this is not a key file: it is longer than %d bytes", path, FILE_MAX);
        goto out;
    }
    result = (int)len;
out:
    close(fd);
    return result;
}

/* One line that holds a key and nothing else. */
static bool read_key(const char *line, size_t len, uint8_t secret[SK_NOISE_KEY])
{
    size_t got = 0;
    if (len == SK_KEY_HEX - 1 && sodium_hex2bin(secret, SK_NOISE_KEY, line, len, NULL, &got, NULL) == 0 &&
        got == SK_NOISE_KEY) {
        return true;
    }
    return len == SK_KEY_BASE64 - 1 &&
           sodium_base642bin(secret, SK_NOISE_KEY, line, len, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
           got == SK_NOISE_KEY;
}

static size_t trimmed(const char **line, size_t len)
{
    while (len > 0 && (**line == ' ' || **line == '\t')) (*line)++, len--;
    while (len > 0 && strchr(" \t\r", (*line)[len - 1]) && (*line)[len - 1]) len--;
    return len;
}

int sk_key_load(const char *path, sk_noise_keypair *pair, char error[SK_KEY_ERROR_MAX])
{
    char text[FILE_MAX + 1];
    uint8_t secret[SK_NOISE_KEY];
    unsigned found = 0, number = 0;
    int result = SK_E_CONFIG;
    int len = read_file(path, text, error);
    if (len < 0) goto out;
    for (const char *at = text, *end = text + len; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        const char *line = at;
        size_t size = trimmed(&line, (size_t)(stop - at));
        at = stop + 1;
        if (size == 0 || *line == '#') continue;
        if (found++ > 0 || !read_key(line, size, secret)) {
            fail(error, SK_E_CONFIG, "%s:%u: a key file has one line with 32 bytes in base64 or hex", path, number + 1);
            goto out;
        }
    }
    if (!found) {
        fail(error, SK_E_CONFIG, "%s: the key file holds no key", path);
        goto out;
    }
    if (sodium_is_zero(secret, sizeof secret)) {
        fail(error, SK_E_CONFIG, "%s: a key of zeros is no secret", path);
        goto out;
    }
    sk_noise_keypair_init(pair, secret);
    result = SK_OK;
out:
    sodium_memzero(text, sizeof text);
    sodium_memzero(secret, sizeof secret);
    return result;
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

static bool write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, text, len);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        text += put;
        len -= (size_t)put;
    }
    return true;
}

/* The name itself must survive a power loss too. */
static bool sync_folder(const char *path)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) return false;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool good = fsync(fd) == 0;
    close(fd);
    return good;
}

int sk_key_create(const char *path, sk_noise_keypair *pair, char error[SK_KEY_ERROR_MAX])
{
    uint8_t secret[SK_NOISE_KEY];
    char hex[SK_KEY_HEX], public[SK_KEY_BASE64], base64[SK_KEY_BASE64], text[512];
    sk_noise_keypair made;
    int result = SK_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        return fail(error, SK_E_CONFIG, "%s: there is such a file already, and a key is never overwritten", path);
    }
    if (fd < 0) return fail(error, SK_E_IO, "%s: the key file cannot be made: %s", path, strerror(errno));

    randombytes_buf(secret, sizeof secret);
    sk_noise_keypair_init(&made, secret);
    sk_key_hex(made.public, hex);
    sk_key_base64(made.public, public);
    sk_key_base64(secret, base64);
    int len = snprintf(text, sizeof text,
                       "# skerry node key: keep it secret. Its public key is %s (hex), %s (base64)\n%s\n", hex, public,
                       base64);
    sk_assert(len > 0 && (size_t)len < sizeof text);
    if (!write_all(fd, text, (size_t)len) || fsync(fd) != 0 || !sync_folder(path)) {
        result = fail(error, SK_E_IO, "%s: the key file cannot be written: %s", path, strerror(errno));
        unlink(path);
    } else {
        *pair = made;
    }
    close(fd);
    sk_noise_keypair_wipe(&made);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(base64, sizeof base64);
    sodium_memzero(text, sizeof text);
    return result;
}
