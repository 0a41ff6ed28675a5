/* Byte strings that somebody else owns.
 *
 * An sk_bytes is a pointer and a length, never an owner: whoever hands one out says until when it holds.
 * The bytes may be anything, NULs included; an empty one may have a NULL pointer. */
#ifndef SK_CRDT_BYTES_H
#define SK_CRDT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *data; /* borrowed */
    size_t len;          /* bytes */
} sk_bytes;

#define SK_BYTES_NONE ((sk_bytes){NULL, 0})

static inline sk_bytes sk_bytes_of(const void *data, size_t len)
{
    return (sk_bytes){data, len};
}

/** The characters of a C string, without its NUL. */
static inline sk_bytes sk_bytes_str(const char *text)
{
    return (sk_bytes){(const uint8_t *)text, strlen(text)};
}

/** Order as memcmp has it, a prefix before what it begins: below, at or above zero. */
static inline int sk_bytes_compare(sk_bytes a, sk_bytes b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    if (order) return order;
    return (a.len > b.len) - (a.len < b.len);
}

static inline bool sk_bytes_equal(sk_bytes a, sk_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool sk_bytes_starts(sk_bytes text, sk_bytes prefix)
{
    return text.len >= prefix.len && (prefix.len == 0 || memcmp(text.data, prefix.data, prefix.len) == 0);
}

#endif
