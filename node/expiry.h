/* Removing the keys whose deadline has passed (node/keyspace.h says what readers see of them until then).
 *
 * Every region sees a deadline pass at the same moment. The one that set it removes the key at once; the others leave it to
 * that one for a while (foreign_expiry_ms), so that usually one transaction does it and not one in each region.
 *
 * The index of deadlines is gone through in their order, ten times a second, in rounds of a few keys, one round in a turn of
 * the loop. While a round is full another follows: once what it removed is durable, so that a disk that does not keep up is
 * given no more, and once the loop was left to others for as long as it took. So what can be removed is what the machine has
 * to spare, and no client waits for more than a round. A key too large for one transaction goes in several, each a round.
 *
 * Nothing is in the way of what comes behind it: a deadline that has just passed is looked at once, for whether it is
 * ours, and once more when that no longer matters. */
#ifndef SK_NODE_EXPIRY_H
#define SK_NODE_EXPIRY_H

#include "crdt/memory.h"

struct sk_replica;

typedef struct {
    uint64_t at_ms;   /* monotonic: the next round */
    uint64_t batch;   /* … but not before this one is durable */
    uint64_t rest_us; /* of what the loop was to be left to others, what is less than a millisecond */
    uint64_t seen_ms; /* all deadlines up to here were looked at when they had just passed */
    sk_buf from;      /* owned; where in the index the next round goes on. Empty: at its beginning */
} sk_expiry;

/** A round, if it is time for one. */
void sk_expiry_turn(struct sk_replica *replica);
/** When the next one is wanted (monotonic ms). */
uint64_t sk_expiry_next_ms(const struct sk_replica *replica);
/** Begins anew: the store went back. */
void sk_expiry_reset(sk_expiry *expiry);

#endif
