/* Which rows may be in RocksDB: a Bloom filter over the hashes of their keys.
 *
 * A write asks for the row that it replaces, and most first writes of a key for one that is not there. RocksDB finds that
 * out in a microsecond or more, from a filter in each table that could have it; here it takes one word of memory.
 *
 * Every key that is put is added at once, long before it comes to RocksDB. What was there before is learned from it by a
 * thread of its own after the start; until that is done, and for a database that is too large to be read through, the
 * answer is always "maybe". Removed keys stay in it.
 *
 * One word of 64 bits has all four bits of a key (Putze, Sanders, Singler 2007: blocked Bloom filters, the block a word).
 *
 * Invariants:
 *  1. `complete`: every key that RocksDB has in the family, or that a batch may bring there, is in it. */
#ifndef SK_STORAGE_PRESENCE_H
#define SK_STORAGE_PRESENCE_H

#include "storage/database.h"
#include "storage/worker.h"

#include <stdatomic.h>

typedef struct {
    _Atomic uint64_t *words; /* owned */
    size_t count;            /* of words */
    sk_cf cf;
    const sk_database *database; /* borrowed, while the thread runs */
    sk_worker worker;
    _Atomic bool stopping, complete;
} sk_presence;

/** Of the keys of one family, in so many bytes: memory is taken as keys come. */
void sk_presence_init(sk_presence *presence, sk_cf cf, size_t bytes);
void sk_presence_free(sk_presence *presence);
/** Begins to learn what an open database has. It must stay open until sk_presence_stop. */
void sk_presence_learn(sk_presence *presence, const sk_database *database);
/** Ends learning; what was not complete by then never is, until it learns again. */
void sk_presence_stop(sk_presence *presence);

/* Four bits of the word that the upper half of the hash chooses. The index takes the lower half's low bits for its
 * places (storage/index.h); here only bits within a word are made of them. */
static inline size_t sk_presence_word(const sk_presence *presence, uint64_t hash)
{
    return (size_t)((unsigned __int128)hash * presence->count >> 64);
}
static inline uint64_t sk_presence_bits(uint64_t hash)
{
    return (uint64_t)1 << (hash & 63) | (uint64_t)1 << (hash >> 6 & 63) | (uint64_t)1 << (hash >> 12 & 63) |
           (uint64_t)1 << (hash >> 18 & 63);
}

/** Has the word of a hash fetched from memory. */
static inline void sk_presence_fetch(const sk_presence *presence, uint64_t hash)
{
    __builtin_prefetch((const void *)&presence->words[sk_presence_word(presence, hash)], 1);
}

/** Adds the key of a hash (sk_overlay_hash). Any thread. */
static inline void sk_presence_add(sk_presence *presence, uint64_t hash)
{
    _Atomic uint64_t *word = &presence->words[sk_presence_word(presence, hash)];
    uint64_t bits = sk_presence_bits(hash);
    if ((atomic_load_explicit(word, memory_order_relaxed) & bits) != bits)
        atomic_fetch_or_explicit(word, bits, memory_order_relaxed);
}

/** False: RocksDB does not have the key. */
static inline bool sk_presence_maybe(const sk_presence *presence, uint64_t hash)
{
    if (!atomic_load_explicit(&presence->complete, memory_order_acquire)) return true;
    uint64_t bits = sk_presence_bits(hash);
    const _Atomic uint64_t *word = &presence->words[sk_presence_word(presence, hash)];
    return (atomic_load_explicit(word, memory_order_relaxed) & bits) == bits;
}

#endif
