/* Memory that comes and goes in turn: what batches record is taken from chunks that they share, and a chunk is used again
 * once every batch with something in it has gone.
 *
 * Batches are many and small (an unpipelined load makes one of two or three commands), and go in the order in which they
 * came. With memory of its own each took several times what is in it, which the placing thread has to count: runs were
 * small, and each one more table for RocksDB to merge. Chunks are as large as a huge page where there is memory for several.
 *
 * Invariants:
 *  1. `users` of a chunk is the number of stretches with something in it.
 *  2. A chunk without users is the newest, and empty, or spare, or ahead.
 *  3. `count` is of the newest, the spare ones, the one ahead, and all with users. */
#ifndef SK_STORAGE_CHUNKS_H
#define SK_STORAGE_CHUNKS_H

#include "crdt/memory.h"
#include "storage/prefault.h"

typedef struct sk_chunk sk_chunk;

typedef struct {
    size_t chunk_bytes;
    sk_chunk *newest; /* owned; NULL: none yet. Older ones are reached from the stretches in them */
    sk_chunk *spare;  /* owned */
    size_t spare_count;
    size_t count;          /* of all chunks */
    size_t large_bytes;    /* of what was too large for one */
    sk_prefault *prefault; /* borrowed; NULL: no memory is made before it is used */
    sk_chunk *ahead;       /* owned: never used yet, nor written; or NULL */
} sk_chunks;

/** What one user has taken: a piece of a chunk, or of several, and what was too large for one. All zeros: nothing. */
typedef struct {
    sk_chunk *first, *last; /* it has something in these, and in each between */
    size_t begin, end;      /* in `first`; in `last` */
    sk_arena large;
    size_t bytes;
} sk_stretch;

/** `budget`: bytes that may be taken at a time, about. Chunks are a part of it. */
void sk_chunks_init(sk_chunks *chunks, size_t budget);
/** Every stretch must have been given back. */
void sk_chunks_free(sk_chunks *chunks);
/** Memory for integers and pointers, of `bytes` bytes, until the stretch is given back. Of several stretches only the last
 *  may grow. */
void *sk_chunks_take(sk_chunks *chunks, sk_stretch *stretch, size_t bytes);
/** The stretch has nothing any more. Its chunks are kept for others: fresh memory has to be cleared by the system. */
void sk_chunks_give_back(sk_chunks *chunks, sk_stretch *stretch);
/** More is in use than the few chunks that always stay. */
bool sk_chunks_busy(const sk_chunks *chunks);
/** Gives back to the system what is spare, but for a few chunks. For when they were not busy for a while. */
void sk_chunks_trim(sk_chunks *chunks);
/** What it has of the system, about: chunks, spare ones too, and what was too large for one. */
static inline size_t sk_chunks_memory(const sk_chunks *chunks)
{
    return chunks->count * chunks->chunk_bytes + chunks->large_bytes;
}

#endif
