/* Hybrid logical clock (Kulkarni et al. 2014): wall milliseconds in the high 48 bits, a counter in the low 16.
 *
 * Timestamps order only concurrent siblings, and only for reading by `newest`; causality is the dots' matter. So a
 * remote timestamp is always stored as it came, but moves our own clock ahead of the wall by a bounded amount only:
 * one region with a wrong clock cannot drag the others into the future with it. And our own clock goes back when it
 * turns out to be further ahead than that: the wall was wrong, and was set right. "The wall" is what the owner holds for it:
 * a node's wall clock, bounded by those of its peers (gossip/clock.h). */
#ifndef SK_CRDT_HLC_H
#define SK_CRDT_HLC_H

#include <stdint.h>

typedef uint64_t sk_hlc;

enum {
    SK_HLC_AHEAD_MS_MAX = 60 * 1000,     /* how far a remote timestamp may pull our clock ahead of the wall */
    SK_HLC_LEAD_MS_MAX = 2 * 60 * 1000,  /* further ahead than this it never stamps: twice, so that it does not go to and fro */
    SK_HLC_COUNTER_MAX = 0xffff,
};

static inline uint64_t sk_hlc_ms(sk_hlc time)
{
    return time >> 16;
}
static inline uint64_t sk_hlc_counter(sk_hlc time)
{
    return time & SK_HLC_COUNTER_MAX;
}
static inline sk_hlc sk_hlc_of_ms(uint64_t ms)
{
    return ms << 16;
}
/** Time for a local event: at or above the wall, and above every earlier one of this clock that was within bounds. */
static inline sk_hlc sk_hlc_tick(sk_hlc *clock, uint64_t wall_ms)
{
    sk_hlc wall = sk_hlc_of_ms(wall_ms);
    if (*clock > sk_hlc_of_ms(wall_ms + SK_HLC_LEAD_MS_MAX)) *clock = sk_hlc_of_ms(wall_ms + SK_HLC_AHEAD_MS_MAX);
    *clock = wall > *clock ? wall : *clock + 1;
    return *clock;
}
/** Takes note of a remote time, up to the bound. */
static inline void sk_hlc_observe(sk_hlc *clock, sk_hlc remote, uint64_t wall_ms)
{
    sk_hlc bound = sk_hlc_of_ms(wall_ms + SK_HLC_AHEAD_MS_MAX);
    sk_hlc seen = remote < bound ? remote : bound;
    if (seen > *clock) *clock = seen;
}

#endif
