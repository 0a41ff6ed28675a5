/* What a connection still has to say: replies in order, each with the batch it rests on.
 *
 *   commands of a turn -> the open segment --- sk_output_release ---> free to go --- written ---> gone
 *                         (hold = batch)       (hold <= durable)
 *
 * Replies made in one turn of the loop share a segment, and wait together for the last batch that any of them rests on.
 *
 * Invariants (sk_output_check):
 *  1. Bytes leave in the order of the replies; nothing passes a segment that is held.
 *  2. A segment that is free to go (hold 0) stays so; only segments that are still held can become void.
 *  3. `bytes` is the sum of what is not yet written. No segment is empty, but for the open one. */
#ifndef SK_NODE_OUTPUT_H
#define SK_NODE_OUTPUT_H

#include "crdt/memory.h"

#include <uv.h>

typedef struct sk_segment sk_segment;

/* Segments that several connections take from and give back to, so that a busy loop need not allocate. */
typedef struct {
    sk_segment *spare; /* owned; list */
    uint32_t count;
} sk_output_pool;

typedef struct {
    sk_output_pool *pool; /* borrowed */
    sk_segment *first, *last;
    size_t bytes; /* not yet written */
    bool open;    /* `last` takes more replies */
} sk_output;

/** The buffer of the open segment, for replies; opens one if there is none. `epoch` is the replica's. Borrowed until
 *  the next call on this output. */
sk_buf *sk_output_open(sk_output *output, uint64_t epoch);
/** After replies were put into it: `hold` is the batch that they rest on (0: none). */
void sk_output_appended(sk_output *output, uint64_t hold);
/** The turn is over: later replies go into a segment of their own. */
void sk_output_seal(sk_output *output);

/** Frees what rests on batches up to `durable` to go. False when a held segment is of another epoch: it and all after
 *  it are void. */
bool sk_output_release(sk_output *output, uint64_t durable, uint64_t epoch);
/** Drops what is still held, as void. */
void sk_output_void(sk_output *output);
/** Up to `max` pieces of what may be written now, borrowed until they are consumed. Returns how many. */
unsigned sk_output_vector(const sk_output *output, uv_buf_t *vector, unsigned max);
/** `len` bytes have been written. */
void sk_output_consume(sk_output *output, size_t len);
/** Drops everything. */
void sk_output_free(sk_output *output);
void sk_output_pool_free(sk_output_pool *pool);

/** Asserts the invariants. */
void sk_output_check(const sk_output *output);

#endif
