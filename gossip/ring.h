/* The ring of recent transactions: what the live tier sends from.
 *
 * All origins share it and all links read it. A transaction is encoded once, when it enters: its operations as the
 * transaction has them, its `seen` as what it raises over the transaction before it (usually nothing). That is what
 * goes on the wire too, so sending is copying. Records lie in large segments in order of arrival; each origin has a
 * lane, an index over its records. The oldest record leaves first, whatever its origin: when the ring is full, and when every
 * member has it. So with all of them linked the ring is small, and new records come into memory that was just used.
 *
 * The full `seen` of any transaction in the ring is found from the nearest full copy before it (one in CHECKPOINT_EVERY
 * has one, and the lane keeps what the first one's raise is over).
 *
 * Invariants (sk_ring_check):
 *  1. A lane holds consecutive seqs. One that does not follow starts the lane anew.
 *  2. `bytes` is the sum over all records in lanes, index included, and at most bytes_max; `txns` their number, and
 *     at most txns_max.
 *  3. A segment's `live` is the number of its records that are in a lane; a record not in one is marked dead. */
#ifndef SK_GOSSIP_RING_H
#define SK_GOSSIP_RING_H

#include "crdt/op.h"

typedef struct sk_ring_segment sk_ring_segment;
typedef struct sk_ring_entry sk_ring_entry;

typedef struct {
    sk_ring_entry *entries; /* owned; those in use are entries[head .. head + count) */
    uint32_t head, count, cap;
    uint64_t first;     /* seq of entries[head]; meaningless while count is 0 */
    uint64_t end_bytes; /* wire bytes of all that ever entered: differences between entries count */
    sk_vv base;         /* owned; what the raise of entries[head] is over */
    sk_vv last;         /* owned; `seen` of the last one */
} sk_ring_lane;

typedef struct {
    size_t bytes_max;
    uint32_t txns_max;    /* 0: no limit */
    size_t segment_bytes; /* of an ordinary segment */
    size_t bytes;
    uint32_t txns;
    sk_ring_segment *oldest, *newest; /* owned; a list */
    sk_ring_segment *spare;           /* owned; a list of empty ones of ordinary size */
    uint32_t spare_count;
    sk_ring_lane *lanes;              /* owned; index = origin */
    uint32_t lane_count;
    sk_buf scratch;
} sk_ring;

/* One transaction as it stands in the ring. Borrowed until the ring changes. */
typedef struct {
    sk_hlc hlc;
    uint32_t op_count;
    sk_bytes raise; /* packed (array of origin, increase…) over the transaction before; empty: nothing raised */
    bool fresh;     /* the lane began with it: the raise is over nothing */
    sk_bytes ops;
} sk_ring_txn;

void sk_ring_init(sk_ring *ring, size_t bytes_max, uint32_t txns_max);
void sk_ring_free(sk_ring *ring);

/** Copies the transaction in; the oldest ones make room. One that is larger than the ring is not kept. */
void sk_ring_append(sk_ring *ring, const sk_txn *txn);
/** Forgets the oldest ones as long as they are at or below `stable`, which every member has, but for a small part of the
 *  ring: a member that lost its last second may ask for them again, and is served by a transfer otherwise. */
void sk_ring_let_go(sk_ring *ring, const sk_vv *stable);
/** Forgets this origin's transactions above `seq`. */
void sk_ring_drop_above(sk_ring *ring, uint32_t origin, uint64_t seq);

/** The last seq that is here, 0 if none is. */
uint64_t sk_ring_end(const sk_ring *ring, uint32_t origin);
bool sk_ring_has(const sk_ring *ring, uint32_t origin, uint64_t seq);
/** About how many bytes from..to (both here, both included) take on the wire. */
uint64_t sk_ring_wire_bytes(const sk_ring *ring, uint32_t origin, uint64_t from, uint64_t to);
/** The greatest seq up to `to` such that from..seq take about `bytes` or less; at least `from`. */
uint64_t sk_ring_fit(const sk_ring *ring, uint32_t origin, uint64_t from, uint64_t to, uint64_t bytes);
/** `seq` must be here. */
sk_ring_txn sk_ring_get(const sk_ring *ring, uint32_t origin, uint64_t seq);
/** The whole `seen` of a transaction that is here, without its own origin's part, over `seen`. */
void sk_ring_seen(const sk_ring *ring, uint32_t origin, uint64_t seq, sk_vv *seen);

/** Asserts the invariants. */
void sk_ring_check(const sk_ring *ring);

#endif
