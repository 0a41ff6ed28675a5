/* What may be forgotten (engine.h, invariant 3), in two phases.
 *
 * First: when the meet of all acknowledgements has moved, it is kept as `stable_next`, and with it `stable_need`: for
 * each member how far its own origins went in what it has acknowledged by now. A member acknowledges a consistent cut
 * of its database; so whatever it originated without having seen all of stable_next lies at or below stable_need.
 * Second: once that is applied here, stable_next is handed to the host. Both stay fixed in between, so that new writes
 * cannot put it off for ever.
 *
 * Invariants:
 *  1. `stable` only grows, and is at most the durable vector.
 *  2. While `stable_waits`, stable_next is at most what every member was known to have when it was worked out; when an
 *     acknowledgement is lowered (status.c), it is worked out again. */
#include "gossip/engine_internal.h"

void sk_stability_touch(sk_engine *engine)
{
    sk_sooner(&engine->stable_at_ms, engine->now_ms + engine->limits.ack_ms);
}

void sk_stability_lowered(sk_engine *engine)
{
    engine->stable_waits = false;
    sk_stability_touch(engine);
}

/* A region writes under this origin now. Of the others it may have lost a tail, which members still hold. */
static bool is_current(const sk_engine *engine, uint32_t origin)
{
    bool current = origin == *engine->own;
    for (uint32_t m = 0; m < engine->peer_count; m++) current |= engine->peers[m].current == origin;
    return current;
}

static void work_out(sk_engine *engine)
{
    sk_vv_copy(&engine->stable_next, &engine->durable);
    for (uint32_t m = 0; m < engine->peer_count; m++) sk_vv_meet(&engine->stable_next, &engine->peers[m].acked);
    sk_vv_join(&engine->stable_next, &engine->stable);
    if (sk_vv_at_most(&engine->stable_next, &engine->stable)) return;

    sk_vv *need = &engine->stable_need;
    for (uint32_t o = 0; o < need->count; o++) need->seq[o] = 0;
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        const sk_peer *member = &engine->peers[m];
        for (uint32_t o = 0; o < member->acked.count; o++)
            if (member->acked.seq[o] &&
                (strcmp(engine->origins->list[o].region, member->region) == 0 || !is_current(engine, o)))
                sk_vv_raise(need, o, member->acked.seq[o]);
    }
    engine->stable_waits = true;
}

void sk_stability_tick(sk_engine *engine)
{
    if (engine->now_ms < engine->stable_at_ms) return;
    engine->stable_at_ms = NEVER;
    if (!engine->stable_waits) work_out(engine);
    if (!engine->stable_waits || !sk_vv_at_most(&engine->stable_need, engine->applied)) return;
    engine->stable_waits = false;
    sk_vv_copy(&engine->stable, &engine->stable_next);
    engine->host.forget(engine->host.self, &engine->stable);
    sk_stability_touch(engine); /* it may have moved on while this one waited */
}
