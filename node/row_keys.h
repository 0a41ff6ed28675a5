/* A list of row keys, which are its own. */
#ifndef SK_NODE_ROW_KEYS_H
#define SK_NODE_ROW_KEYS_H

#include "crdt/memory.h"

#include <stdlib.h>

typedef struct {
    sk_arena arena;
    sk_bytes *keys; /* owned; the bytes are in the arena */
    uint32_t count, room;
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

static inline void sk_row_keys_sort(sk_row_keys *list)
{
    if (list->count) qsort(list->keys, list->count, sizeof *list->keys, sk_row_keys_compare);
}

/** In a list that was sorted. */
static inline bool sk_row_keys_has(const sk_row_keys *list, sk_bytes key)
{
    return list->count && bsearch(&key, list->keys, list->count, sizeof key, sk_row_keys_compare);
}

#endif
