/* How far something long has come, and how much longer it will take at the rate at which it gets on lately: over the last
 * SK_PACE_MS to twice that, so that a limit that was changed shows soon. Pure: times are told. */
#ifndef SK_GOSSIP_PACE_H
#define SK_GOSSIP_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { SK_PACE_MS = 5000 };

/* As zeroed: nothing is known yet. */
typedef struct {
    uint64_t all, done;           /* all 0: it is not known how much there is */
    uint64_t mark[2], mark_ms[2]; /* what was done when; the older one first */
} sk_pace;

/** It stands there now. More than all counts as all; less than before: it began anew. */
void sk_pace_tell(sk_pace *pace, uint64_t all, uint64_t done, uint64_t now_ms);
/** How long the rest will take; -1: nobody knows (yet, or it stands still). */
int64_t sk_pace_left_ms(const sk_pace *pace, uint64_t now_ms);

#endif
