/* What a node knows of its peers' wall clocks, and what it lets its own do.
 *
 * A peer's clock is known as its distance from our monotonic clock, so a jump of our own wall clock changes nothing in it
 * and is seen as what it is. From those that are heard, and from our own, comes the *reference*: the lower median.
 *
 *     stamps are made with   min(our wall clock, reference + SK_HLC_AHEAD_MS_MAX)
 *
 * The reference is taken when more than half of those that this node has heard since its start, itself among them, are
 * heard now; otherwise the last one goes on by the monotonic clock, with a little more room as time passes, since clocks
 * drift. Before the first one there is no bound but our own wall clock.
 *
 * Why the lower median. A node that is ahead of most others must not stamp far ahead. Among two nobody knows who is right, and
 * the smaller is the harmless one: stamps that are too low lose against concurrent writes of others, while they last;
 * stamps that are too high win, until that time has come.
 *
 * Why this breaks nothing. Times order only concurrent siblings. What is causally later wins by its dots, whatever
 * the times say; so a node's times may go back, and do when its clock was wrong and is corrected (crdt/hlc.h). */
#ifndef SK_GOSSIP_CLOCK_H
#define SK_GOSSIP_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SK_CLOCK_KEEP_MS = 10000,   /* a good measurement is preferred to worse ones for so long */
    SK_CLOCK_DRIFT_PART = 1000, /* of the time since the reference was taken: room for clocks to drift apart */
};

/** A peer's clock. All zeros: it was never measured. */
typedef struct {
    bool known;       /* since the start */
    bool heard;       /* and in this session */
    int64_t base_ms;  /* its wall clock minus our monotonic one */
    uint64_t trip_ms; /* of the round trip that told it: it may be wrong by half of that */
    uint64_t at_ms;   /* monotonic */
} sk_clock;

/** Takes a measurement: the peer's wall clock at the middle of a round trip that ends now. Of several the one with the
 *  shortest trip is kept for a while, unless they contradict each other: then the clock was set. */
void sk_clock_measure(sk_clock *clock, uint64_t wall_ms, uint64_t trip_ms, uint64_t now_ms);

typedef struct {
    bool known;
    int64_t base_ms; /* as above */
    uint64_t at_ms;  /* when it was taken */
} sk_clock_reference;

/** Takes the reference from `count` bases (which it sorts), of `members` clocks that are known; or leaves it. */
void sk_clock_refer(sk_clock_reference *reference, int64_t *bases, size_t count, size_t members, uint64_t now_ms);

/** What our stamps are made with now. */
uint64_t sk_clock_bounded(const sk_clock_reference *reference, uint64_t now_ms, uint64_t wall_ms);

#endif
