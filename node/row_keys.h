/* A list of row keys, which are its own. */
#ifndef SK_NODE_ROW_KEYS_H
#define SK_NODE_ROW_KEYS_H

#include "crdt/memory.h"

#include <stdlib.h>

typedef struct {
    sk_arena arena;
    sk_bytes *keys; /* owned; the bytes are in the arena */
    uint32_t count, room, sorted; /* the first of them are in order */
} sk_row_keys;

static inline void sk_row_keys_free(sk_row_keys *list)
{
    sk_arena_free(&list->arena);
    free(list->keys);
    *list = (sk_row_keys){0};
}

static inline void sk_row_keys_add(sk_row_keys *list, sk_bytes key)
{
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 64;
        list->keys = sk_realloc(list->keys, list->room * sizeof *list->keys);
    }
    list->keys[list->count++] = sk_arena_copy(&list->arena, key);
}

static inline int sk_row_keys_compare(const void *a, const void *b)
{
    return sk_bytes_compare(*(const sk_bytes *)a, *(const sk_bytes *)b);
}

/** What was added since the last time is sorted, and merged with the rest. */
static inline void sk_row_keys_sort(sk_row_keys *list)
{
    uint32_t before = list->sorted, added = list->count - before;
    list->sorted = list->count;
    if (added == 0) return;
    qsort(list->keys + before, added, sizeof *list->keys, sk_row_keys_compare);
    if (before == 0) return;
    sk_bytes *tail = sk_alloc(added * sizeof *tail);
    memcpy(tail, list->keys + before, added * sizeof *tail);
    while (added > 0) { /* the greatest first: what is above it makes room for all of them */
        uint32_t low = 0, high = before;
        added--;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (sk_bytes_compare(list->keys[middle], tail[added]) > 0)
                high = middle;
            else
                low = middle + 1;
        }
        memmove(list->keys + low + added + 1, list->keys + low, (before - low) * sizeof *list->keys);
        list->keys[low + added] = tail[added];
        before = low;
    }
    free(tail);
}

/** In a list that was sorted: borrowed from it; no data: it is not there. */
static inline sk_bytes sk_row_keys_find(const sk_row_keys *list, sk_bytes key)
{
    const sk_bytes *found = list->count ? bsearch(&key, list->keys, list->count, sizeof key, sk_row_keys_compare) : NULL;
    return found ? *found : SK_BYTES_NONE;
}

/** How often it is there. */
static inline uint32_t sk_row_keys_times(const sk_row_keys *list, sk_bytes key)
{
    uint32_t times = 0;
    const sk_bytes *found = list->count ? bsearch(&key, list->keys, list->count, sizeof key, sk_row_keys_compare) : NULL;
    if (!found) return 0;
    while (found > list->keys && sk_bytes_equal(found[-1], key)) found--;
    while (found < list->keys + list->count && sk_bytes_equal(*found++, key)) times++;
    return times;
}

static inline bool sk_row_keys_has(const sk_row_keys *list, sk_bytes key)
{
    return sk_row_keys_find(list, key).data != NULL;
}

#endif
