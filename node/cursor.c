#include "node/cursor.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { STEP_BITS = 16, ID_BITS = 47 };

void sk_cursors_init(sk_cursors *cursors, uint64_t seed)
{
    *cursors = (sk_cursors){.random = seed};
}

static void drop(sk_cursors *cursors, sk_bytes *position)
{
    cursors->bytes -= position->len;
    free((void *)(uintptr_t)position->data);
    *position = SK_BYTES_NONE;
}

static void forget(sk_cursors *cursors, sk_scan *scan)
{
    drop(cursors, &scan->last);
    drop(cursors, &scan->before);
    *scan = (sk_scan){0};
}

void sk_cursors_free(sk_cursors *cursors)
{
    for (uint32_t i = 0; cursors->scans && i < SK_CURSORS_MAX; i++) forget(cursors, &cursors->scans[i]);
    free(cursors->scans);
    *cursors = (sk_cursors){0};
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t random_bits(sk_cursors *cursors)
{
    uint64_t z = cursors->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t cursor_of(const sk_scan *scan)
{
    return scan->id << STEP_BITS | scan->step;
}

static sk_scan *find_scan(sk_cursors *cursors, uint64_t id)
{
    for (uint32_t i = 0; id && cursors->scans && i < SK_CURSORS_MAX; i++)
        if (cursors->scans[i].id == id) return &cursors->scans[i];
    return NULL;
}

static uint64_t hash_scope(sk_bytes scope)
{
    return XXH3_64bits(scope.data, scope.len);
}

static bool is_before(const sk_scan *scan, uint64_t cursor)
{
    return scan->has_before && (uint16_t)cursor == (uint16_t)(scan->step - 1);
}

bool sk_cursor_find(sk_cursors *cursors, uint64_t id, sk_bytes scope, sk_bytes *position)
{
    sk_scan *scan = find_scan(cursors, id >> STEP_BITS);
    if (!scan || scan->scope != hash_scope(scope)) return false;
    bool before = is_before(scan, id);
    if (!before && (uint16_t)id != scan->step) return false;
    scan->used = ++cursors->clock;
    *position = before ? scan->before : scan->last;
    return true;
}

/* The slot that has rested longest, free ones first; never `keep`. NULL if only `keep` is in use. */
static sk_scan *oldest(sk_cursors *cursors, const sk_scan *keep, bool in_use)
{
    sk_scan *found = NULL;
    for (uint32_t i = 0; i < SK_CURSORS_MAX; i++) {
        sk_scan *scan = &cursors->scans[i];
        if (scan == keep || (in_use && !scan->id)) continue;
        if (!found || scan->used < found->used) found = scan;
    }
    return found;
}

static sk_scan *begin(sk_cursors *cursors, uint64_t scope)
{
    if (!cursors->scans) cursors->scans = sk_alloc(SK_CURSORS_MAX * sizeof *cursors->scans);
    sk_scan *scan = oldest(cursors, NULL, false);
    forget(cursors, scan);
    uint64_t id;
    do {
        id = random_bits(cursors) & ((1ULL << ID_BITS) - 1);
    } while (id == 0 || find_scan(cursors, id));
    scan->id = id;
    scan->scope = scope;
    scan->step = (uint16_t)random_bits(cursors);
    return scan;
}

static void set_last(sk_cursors *cursors, sk_scan *scan, sk_bytes position)
{
    uint8_t *copy = sk_alloc(position.len + 1);
    if (position.len) memcpy(copy, position.data, position.len);
    scan->last = sk_bytes_of(copy, position.len);
    scan->used = ++cursors->clock;
    cursors->bytes += position.len;
    sk_scan *victim;
    while (cursors->bytes > SK_CURSOR_BYTES_MAX && (victim = oldest(cursors, scan, true))) forget(cursors, victim);
}

uint64_t sk_cursor_save(sk_cursors *cursors, uint64_t from, sk_bytes position, sk_bytes scope)
{
    uint64_t hash = hash_scope(scope);
    sk_scan *scan = from ? find_scan(cursors, from >> STEP_BITS) : NULL;
    if (scan && scan->scope != hash) scan = NULL;
    /* The same step made again leads to the same place; another step from there is a scan of its own. */
    if (scan && is_before(scan, from) && sk_bytes_equal(scan->last, position)) return cursor_of(scan);
    if (scan && (uint16_t)from == scan->step) {
        drop(cursors, &scan->before);
        scan->before = scan->last;
        scan->has_before = true;
        scan->step++;
    } else {
        scan = begin(cursors, hash);
    }
    set_last(cursors, scan, position);
    return cursor_of(scan);
}

bool sk_cursor_parse(sk_bytes text, uint64_t *cursor)
{
    char digits[64]; /* strtoul wants a NUL; no number is longer, and zeros before it nobody sends */
    if (text.len >= sizeof digits) return false;
    if (text.len) memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    char *end;
    errno = 0;
    uint64_t value = strtoull(digits, &end, 10);
    if (isspace((unsigned char)digits[0]) || *end || errno == ERANGE) return false;
    *cursor = value;
    return true;
}

void sk_cursors_check(const sk_cursors *cursors)
{
    size_t bytes = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; cursors->scans && i < SK_CURSORS_MAX; i++) {
        const sk_scan *scan = &cursors->scans[i];
        bytes += scan->last.len + scan->before.len;
        used += scan->id != 0;
        sk_assert(scan->id < 1ULL << ID_BITS);
        for (uint32_t k = 0; k < i && scan->id; k++) sk_assert(cursors->scans[k].id != scan->id);
    }
    sk_assert(bytes == cursors->bytes);
    sk_assert(bytes <= SK_CURSOR_BYTES_MAX || used == 1);
}
