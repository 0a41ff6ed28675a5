/* Committed rows in memory, before RocksDB: a hash table (storage/buckets.h) over a ring of bytes, within a budget.
 *
 * A get that RocksDB answers costs some microseconds, one that this answers a tenth of that; a write reads its row
 * first. It also remembers a removal: that the key is not there.
 *
 * Entries stand in the ring in the order in which they came. Room for a new one is made at the other end: what was asked
 * for since it came there moves to the front, once, and the rest goes (CLOCK: Corbató, "A Paging Experiment", 1968). With a
 * piece of malloc's for each entry, small ones that make way for large ones would leave holes: up to half of the budget
 * again.
 *
 *   tail                  head                                    head          tail               end
 *    |  entries, old to new |   free   |            or             |    free     |  older entries    | unused |
 *
 * Invariants:
 *  1. An entry says what is in place for its key, unless the overlay has a newer word, which hides it. Its owner tells it
 *     of the last change of a key to leave the overlay, and clears it when it cannot (a range removal, a reopen).
 *  2. `bytes` is all that it takes, and at most `max`, but for a minimum of a few kilobytes and while the index grows.
 *  3. An entry is in the index exactly while it is live. A full bucket gives up its oldest for a new one, if it can one that
 *     was not asked for. */
#ifndef SK_STORAGE_ROWCACHE_H
#define SK_STORAGE_ROWCACHE_H

#include "storage/buckets.h"

typedef struct {
    sk_buckets index; /* of the live entries, by their places in the ring */
    uint8_t *ring;    /* owned; NULL until the first entry */
    size_t room;      /* of the ring */
    size_t head, tail, end;
    bool wrapped;   /* the older entries are behind the free part */
    size_t reached; /* the ring was never written beyond this */
    sk_prefault *prefault; /* borrowed; NULL: no memory is made before it is used */
    size_t prefaulted;     /* so much of the ring was asked of it */
    size_t bytes, max;
    uint32_t epoch; /* what was told in an earlier one no longer holds */
    uint64_t hits, misses;
} sk_rowcache;

void sk_rowcache_init(sk_rowcache *cache, size_t max);
void sk_rowcache_free(sk_rowcache *cache);
/** Nothing that it was told holds any more. Takes no time: the entries go as room is needed. */
void sk_rowcache_clear(sk_rowcache *cache);

/** Has a key's place in the index fetched from memory; and once that has come, what lies at the place. */
void sk_rowcache_fetch(const sk_rowcache *cache, uint64_t hash);
void sk_rowcache_fetch_entry(const sk_rowcache *cache, uint64_t hash);

/** 1 and the value (borrowed until the next call), 0: known not to be there, -1: not known. */
int sk_rowcache_get(sk_rowcache *cache, uint64_t hash, sk_bytes key, sk_bytes *value);
/** Notes what is committed for a key; `value` NULL: nothing. Copies key and value; large ones are only forgotten. */
void sk_rowcache_put(sk_rowcache *cache, uint64_t hash, sk_bytes key, const sk_bytes *value);
/** Asserts the invariants. */
void sk_rowcache_check(const sk_rowcache *cache);

#endif
