#include "node/life.h"

#include "crdt/memory.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum { BOOT_ID = 36 }; /* xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx */

static bool read_boot_id(const char *path, char id[BOOT_ID + 1])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, id, BOOT_ID);
    close(fd);
    if (got != BOOT_ID) return false;
    id[BOOT_ID] = 0;
    return strspn(id, "0123456789abcdefABCDEF-") == BOOT_ID && strspn(id, "0-") != BOOT_ID;
}

bool sk_life_text(const char *boot_id, const char *mark, char text[SK_LIFE_MAX])
{
    char id[BOOT_ID + 1];
    bool known = read_boot_id(boot_id, id);
    if (!known) {
        uint8_t bits[16];
        char hex[sizeof bits * 2 + 1];
        randombytes_buf(bits, sizeof bits);
        sodium_bin2hex(hex, sizeof hex, bits, sizeof bits);
        snprintf(id, sizeof id, "%s", hex);
    }
    int len = snprintf(text, SK_LIFE_MAX, "%s %s %s", known ? "boot" : "start", id, mark);
    sk_assert(len > 0 && len < SK_LIFE_MAX);
    return known;
}
