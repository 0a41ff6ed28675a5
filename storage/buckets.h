/* The index of a cache: a hash table of places, by 64-bit hashes that its owner computes, set-associative as the caches of
 * processors are (Hennessy, Patterson, Computer Architecture, appendix B).
 *
 * A bucket is two neighbouring lines of the processor's cache, with sixteen slots; a hash belongs to one bucket, and a look
 * touches no other. A bucket that is full takes another place only in exchange for one that it has: a cache may forget. (With
 * half of all slots taken that befalls one place in a thousand; with buckets of eight slots it would be one in a hundred.)
 * So a slot has eight bytes where the overlay's index (storage/index.h), which must keep all it is given, has sixteen.
 *
 *   hash   | bucket ... |                       the upper bits, more of them the larger the table is
 *              | tag: bits 57 to 33 |           in the slot, so that few places are looked at in vain, and so that the
 *                                               table grows without looking at them: the next bit of a bucket is in it
 *   slot   | tag 25 | asked 1 | place + 1: 38 | 0: empty
 *
 * Invariants:
 *  1. A place stands in the bucket of its hash. */
#ifndef SK_STORAGE_BUCKETS_H
#define SK_STORAGE_BUCKETS_H

#include "crdt/memory.h"
#include "storage/prefault.h"

enum {
    SK_BUCKET_SLOTS = 16,
    SK_BUCKETS_PLACE_BITS = 38,
    SK_BUCKETS_TAG_BIT = SK_BUCKETS_PLACE_BITS + 1, /* of a slot: the lowest of its tag, */
    SK_BUCKETS_TAG_FROM = 33,                       /* and of a hash the bit that is there */
    SK_BUCKETS_FIRST_BITS = 6, SK_BUCKETS_MOST_BITS = 31,
};
#define SK_BUCKETS_PLACES (((uint64_t)1 << SK_BUCKETS_PLACE_BITS) - 1) /* places are smaller */
#define SK_SLOT_ASKED ((uint64_t)1 << SK_BUCKETS_PLACE_BITS)           /* the owner's mark: asked for since it came there */

typedef struct {
    uint64_t slots[SK_BUCKET_SLOTS];
} sk_bucket;

typedef struct {
    void *memory;     /* owned */
    sk_bucket *first; /* in it, each bucket in two lines and not in three; NULL: there are none */
} sk_bucket_array;

typedef struct {
    sk_bucket_array array; /* 1 << bits buckets, from the first place on */
    unsigned bits, max_bits;
    size_t count;          /* slots that are taken */
    bool held;             /* it has all that it needs: no memory is made ahead */
    sk_prefault *prefault; /* borrowed; NULL: no memory is made before it is used */
    sk_bucket_array next;  /* twice as many buckets, for when it grows, or none yet */
} sk_buckets;

/** In at most so many bytes, but for a minimum of 8 KiB, and while it grows. */
void sk_buckets_init(sk_buckets *buckets, size_t max);
void sk_buckets_free(sk_buckets *buckets);
/** It will not grow, as far as its owner can tell: what it was to grow into is given back. */
void sk_buckets_hold(sk_buckets *buckets);

static inline size_t sk_buckets_bytes(unsigned bits)
{
    return sizeof(sk_bucket) << bits;
}
static inline size_t sk_buckets_most_bytes(const sk_buckets *buckets)
{
    return sk_buckets_bytes(buckets->max_bits);
}

/** The bucket of a hash; NULL if nothing was ever added. The upper 32 bits of the hash are enough. */
static inline sk_bucket *sk_buckets_of(const sk_buckets *buckets, uint64_t hash)
{
    return buckets->array.first ? &buckets->array.first[hash >> (64 - buckets->bits)] : NULL;
}

/** Has the bucket of a hash fetched from memory, which goes on while something else is done. */
static inline void sk_buckets_fetch(const sk_buckets *buckets, uint64_t hash)
{
    const sk_bucket *bucket = sk_buckets_of(buckets, hash);
    if (!bucket) return;
    __builtin_prefetch(&bucket->slots[0]);
    __builtin_prefetch(&bucket->slots[SK_BUCKET_SLOTS / 2]);
}

static inline uint64_t sk_slot_tag(uint64_t hash)
{
    return hash >> SK_BUCKETS_TAG_FROM << SK_BUCKETS_TAG_BIT;
}
static inline uint64_t sk_slot_of(uint64_t hash, uint64_t place)
{
    return sk_slot_tag(hash) | (place + 1);
}
static inline uint64_t sk_slot_place(uint64_t slot)
{
    return (slot & SK_BUCKETS_PLACES) - 1;
}
/** What stands in a slot lies at another place now, and was not asked for there. */
static inline void sk_slot_move(uint64_t *slot, uint64_t place)
{
    *slot = *slot >> SK_BUCKETS_TAG_BIT << SK_BUCKETS_TAG_BIT | (place + 1);
}
/** The slots of a bucket with what may be of this hash, as bits from the lowest on. Without a branch for each: which of them
 *  has it nobody can foresee. */
static inline unsigned sk_bucket_may_have(const sk_bucket *bucket, uint64_t hash)
{
    uint64_t tag = sk_slot_tag(hash) >> SK_BUCKETS_TAG_BIT;
    unsigned found = 0;
    for (int i = 0; i < SK_BUCKET_SLOTS; i++) {
        uint64_t slot = bucket->slots[i];
        found |= (unsigned)((slot >> SK_BUCKETS_TAG_BIT == tag) & (slot != 0)) << i;
    }
    return found;
}

/** The slot of a place that is there; of its hash the upper 32 bits are enough. Places are looked for here without a look at
 *  what lies there. */
static inline uint64_t *sk_buckets_slot_at(const sk_buckets *buckets, uint64_t hash, uint64_t place)
{
    sk_bucket *bucket = sk_buckets_of(buckets, hash);
    sk_assert(bucket != NULL);
    for (int i = 0;; i++) {
        sk_assert(i < SK_BUCKET_SLOTS);
        if (bucket->slots[i] && sk_slot_place(bucket->slots[i]) == place) return &bucket->slots[i];
    }
}

/** A slot that takes a place of this hash: an empty one, or with a full bucket NULL. Grows the table if it is time to. */
uint64_t *sk_buckets_empty_slot(sk_buckets *buckets, uint64_t hash);

/** Fills an empty slot, and empties one. */
static inline void sk_buckets_set(sk_buckets *buckets, uint64_t *slot, uint64_t hash, uint64_t place)
{
    *slot = sk_slot_of(hash, place);
    buckets->count++;
}
static inline void sk_buckets_remove(sk_buckets *buckets, uint64_t *slot)
{
    *slot = 0;
    buckets->count--;
}

#endif
