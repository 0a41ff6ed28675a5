/* Committed rows in memory, before RocksDB: a hash table with a budget of bytes.
 *
 * A get that RocksDB answers costs some microseconds, one that this answers a tenth of that; a write reads its row
 * first. It also remembers that a key is not there. Eviction is CLOCK (Corbató, "A Paging Experiment", 1968): what was
 * asked for since the hand last passed gets a second chance.
 *
 * Invariants:
 *  1. An entry says what is in place for its key, unless the overlay has a newer word, which hides it. Its owner tells it
 *     of the last change of a key to leave the overlay, and clears it when it cannot (a range removal, a reopen).
 *  2. `bytes` is the sum of what the entries take, and at most `max` between calls. */
#ifndef SK_STORAGE_ROWCACHE_H
#define SK_STORAGE_ROWCACHE_H

#include "storage/index.h"

typedef struct sk_rowcache_entry sk_rowcache_entry;

typedef struct {
    sk_index index;          /* owns the entries */
    sk_rowcache_entry *hand; /* in a ring of all entries */
    size_t bytes, max;
    uint32_t epoch; /* what was told in an earlier one no longer holds */
    uint64_t hits, misses;
} sk_rowcache;

void sk_rowcache_init(sk_rowcache *cache, size_t max);
void sk_rowcache_free(sk_rowcache *cache);
/** Nothing that it was told holds any more. Takes no time: the entries go as they are met, or as room is needed. */
void sk_rowcache_clear(sk_rowcache *cache);

/** 1 and the value (borrowed until the next call), 0: known not to be there, -1: not known. */
int sk_rowcache_get(sk_rowcache *cache, uint64_t hash, sk_bytes key, sk_bytes *value);
/** Notes what is committed for a key; `value` NULL: nothing. Copies key and value; large ones are only forgotten. */
void sk_rowcache_put(sk_rowcache *cache, uint64_t hash, sk_bytes key, const sk_bytes *value);
/** Asserts the invariants. */
void sk_rowcache_check(const sk_rowcache *cache);

#endif
