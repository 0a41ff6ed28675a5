#include "gossip/pace.h"

#define LEFT_MS_MAX (1000.0 * 365 * 24 * 3600 * 1000) /* a thousand years are enough */

void sk_pace_tell(sk_pace *pace, uint64_t all, uint64_t done, uint64_t now_ms)
{
    if (done > all) done = all;
    bool anew = pace->all == 0 || done < pace->done;
    if (anew || now_ms - pace->mark_ms[1] >= SK_PACE_MS) {
        pace->mark[0] = anew ? done : pace->mark[1];
        pace->mark_ms[0] = anew ? now_ms : pace->mark_ms[1];
        pace->mark[1] = done;
        pace->mark_ms[1] = now_ms;
    }
    pace->all = all;
    pace->done = done;
}

int64_t sk_pace_left_ms(const sk_pace *pace, uint64_t now_ms)
{
    uint64_t moved = pace->done - pace->mark[0], took_ms = now_ms - pace->mark_ms[0];
    if (pace->all == 0) return -1;
    if (pace->done == pace->all) return 0;
    if (moved == 0) return -1;
    double left_ms = (double)took_ms * (double)(pace->all - pace->done) / (double)moved;
    return (int64_t)(left_ms < LEFT_MS_MAX ? left_ms : LEFT_MS_MAX);
}
