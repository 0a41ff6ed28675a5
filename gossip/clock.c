#include "gossip/clock.h"

#include "crdt/hlc.h"

static uint64_t distance(int64_t a, int64_t b) { return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a; }

void sk_clock_measure(sk_clock *clock, uint64_t wall_ms, uint64_t trip_ms, uint64_t now_ms)
{
    int64_t base = (int64_t)(wall_ms + trip_ms / 2) - (int64_t)now_ms;
    bool fresh = clock->heard && now_ms - clock->at_ms < SK_CLOCK_KEEP_MS;
    bool agrees = distance(base, clock->base_ms) <= trip_ms / 2 + clock->trip_ms / 2 + 1;
    if (fresh && agrees && trip_ms > clock->trip_ms) return;
    *clock = (sk_clock){.known = true, .heard = true, .base_ms = base, .trip_ms = trip_ms, .at_ms = now_ms};
}

static void sort(int64_t *list, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && list[k] < list[k - 1]; k--) {
            int64_t less = list[k];
            list[k] = list[k - 1];
            list[k - 1] = less;
        }
}

void sk_clock_refer(sk_clock_reference *reference, int64_t *bases, size_t count, size_t members, uint64_t now_ms)
{
    if (count < 2 || count * 2 <= members) return;
    sort(bases, count);
    *reference = (sk_clock_reference){.known = true, .base_ms = bases[(count - 1) / 2], .at_ms = now_ms};
}

uint64_t sk_clock_bounded(const sk_clock_reference *reference, uint64_t now_ms, uint64_t wall_ms)
{
    if (!reference->known) return wall_ms;
    uint64_t room = SK_HLC_AHEAD_MS_MAX + (now_ms - reference->at_ms) / SK_CLOCK_DRIFT_PART;
    int64_t most = reference->base_ms + (int64_t)now_ms + (int64_t)room;
    if (most < 0) most = 0;
    return wall_ms < (uint64_t)most ? wall_ms : (uint64_t)most;
}
