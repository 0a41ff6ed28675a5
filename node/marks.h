/* A set of marks: hashes of 64 bits, none of them 0. */
#ifndef SK_NODE_MARKS_H
#define SK_NODE_MARKS_H

#include "crdt/memory.h"

#include <stdlib.h>

typedef struct {
    uint64_t *slots; /* owned; 0: empty. A mark is at its own number, or where the next empty one was */
    uint64_t count, size;
} sk_marks;

static inline void sk_marks_free(sk_marks *set)
{
    free(set->slots);
    *set = (sk_marks){0};
}

static inline uint64_t *sk_marks_slot(const sk_marks *set, uint64_t mark)
{
    uint64_t at = mark & (set->size - 1);
    while (set->slots[at] && set->slots[at] != mark) at = (at + 1) & (set->size - 1);
    return &set->slots[at];
}

static inline bool sk_marks_has(const sk_marks *set, uint64_t mark)
{
    return set->count && *sk_marks_slot(set, mark) == mark;
}

/** The next of the set; *at begins at 0. False at the end. */
static inline bool sk_marks_next(const sk_marks *set, uint64_t *at, uint64_t *mark)
{
    while (*at < set->size && !set->slots[*at]) ++*at;
    if (*at == set->size) return false;
    *mark = set->slots[(*at)++];
    return true;
}

/** How many there may be is the caller's to bound. */
static inline void sk_marks_add(sk_marks *set, uint64_t mark)
{
    if (set->count == set->size / 4 * 3) {
        sk_marks larger = {.size = set->size ? set->size * 2 : 64};
        uint64_t at = 0, one;
        larger.slots = sk_alloc(larger.size * sizeof *larger.slots);
        while (sk_marks_next(set, &at, &one)) *sk_marks_slot(&larger, one) = one;
        larger.count = set->count;
        free(set->slots);
        *set = larger;
    }
    uint64_t *slot = sk_marks_slot(set, mark);
    set->count += *slot == 0;
    *slot = mark;
}

#endif
