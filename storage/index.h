/* A hash table of pointers, by 64-bit hashes that its owner computes: what the overlay finds its keys with.
 *
 * Open addressing with linear probing (Knuth, TAOCP 3, 6.4, algorithms L and R). The hash stands beside the pointer, so
 * that a look touches one cache line, and the item's own only when that is most likely the one: the table is far larger
 * than the processor's caches, and misses are what a look costs. What may forget has a denser one (storage/buckets.h).
 *
 * Invariants:
 *  1. An item stands at its hash's place, or after it with no empty slot between.
 *  2. At most half of the slots are taken. */
#ifndef SK_STORAGE_INDEX_H
#define SK_STORAGE_INDEX_H

#include "crdt/memory.h"
#include "storage/prefault.h"

typedef struct {
    uint64_t hash;
    void *item; /* borrowed; NULL: empty */
} sk_index_slot;

typedef struct {
    sk_index_slot *slots; /* owned; NULL until the first item */
    size_t room;          /* slots: a power of two, or 0 */
    size_t count;
    sk_prefault *prefault; /* borrowed; NULL: no memory is made before it is used */
    sk_index_slot *next;   /* owned: twice as many slots, all empty, for when it grows; or NULL: not yet */
} sk_index; /* all zeros is an empty one */

enum { SK_INDEX_SLOTS_AN_ITEM = 2, SK_INDEX_FIRST_SLOTS = 1024 };

/** Whether an item is the one that is looked for. */
typedef bool sk_index_same(const void *item, const void *wanted);

/** The slot of the item with this hash that `same` says is it, or NULL. */
static inline sk_index_slot *sk_index_find(const sk_index *index, uint64_t hash, sk_index_same *same, const void *wanted)
{
    if (!index->count) return NULL;
    for (size_t at = hash & (index->room - 1);; at = (at + 1) & (index->room - 1)) {
        sk_index_slot *slot = &index->slots[at];
        if (!slot->item) return NULL;
        if (slot->hash == hash && same(slot->item, wanted)) return slot;
    }
}

/** The slot of an item that is there. Of its hash the bits that make its place are enough. */
static inline sk_index_slot *sk_index_slot_of(const sk_index *index, uint64_t hash, const void *item)
{
    for (size_t at = hash & (index->room - 1);; at = (at + 1) & (index->room - 1)) {
        sk_assert(index->slots[at].item != NULL);
        if (index->slots[at].item == item) return &index->slots[at];
    }
}

/** Has the place of a hash fetched from memory, which goes on while something else is done. */
static inline void sk_index_fetch(const sk_index *index, uint64_t hash)
{
    if (index->room) __builtin_prefetch(&index->slots[hash & (index->room - 1)]);
}

/** Likewise the beginning of the item with this hash, once its place has come. False: there is none. */
static inline bool sk_index_fetch_item(const sk_index *index, uint64_t hash)
{
    enum { LINE = 64, LINES = 3 };
    if (!index->count) return false;
    for (size_t at = hash & (index->room - 1);; at = (at + 1) & (index->room - 1)) {
        const sk_index_slot *slot = &index->slots[at];
        if (!slot->item) return false;
        if (slot->hash != hash) continue;
        for (int line = 0; line < LINES; line++) __builtin_prefetch((const char *)slot->item + line * LINE);
        return true;
    }
}

static inline void sk_index_place(sk_index *index, uint64_t hash, void *item)
{
    size_t at = hash & (index->room - 1);
    while (index->slots[at].item) at = (at + 1) & (index->room - 1);
    index->slots[at] = (sk_index_slot){hash, item};
}

/** For sk_index_add: twice as many slots; and, when it will soon come to that, their memory. */
void sk_index_grow(sk_index *index);
void sk_index_prepare(sk_index *index);

/** Adds an item that is not there (by its owner's knowledge). */
static inline void sk_index_add(sk_index *index, uint64_t hash, void *item)
{
    size_t taken = ++index->count * SK_INDEX_SLOTS_AN_ITEM;
    if (taken > index->room)
        sk_index_grow(index);
    else if (taken == index->room / 8 * 7)
        sk_index_prepare(index);
    sk_index_place(index, hash, item);
}

/** Empties a slot that sk_index_find gave; moves others, so that slots found before are void. */
static inline void sk_index_remove(sk_index *index, sk_index_slot *slot)
{
    size_t mask = index->room - 1, hole = (size_t)(slot - index->slots);
    for (size_t at = (hole + 1) & mask; index->slots[at].item; at = (at + 1) & mask) {
        size_t home = index->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask)) continue; /* it would stand before its home */
        index->slots[hole] = index->slots[at];
        hole = at;
    }
    index->slots[hole].item = NULL;
    index->count--;
}

/** Gives back what it was to grow into. */
void sk_index_trim(sk_index *index);
void sk_index_free(sk_index *index);

#endif
