/* Drift: databases of equal vectors that are not equal. Every rule of replication says that this cannot be, so it is a
 * mistake of the program, or of a disk whose every check passed; it is found, told, and never guessed at.
 *
 * Heartbeats carry the digest of what is durable at the vector that they tell, as long as the host vouches for it. Whoever
 * hears one while its own vector is the same has the difference of the two. A write that both have seen changes both
 * digests by the same, so the difference stays what it is for as long as the same rows differ, whatever is written
 * meanwhile to others. One that is not zero and was still the same audit_ms later is drift; one that the rows were compared
 * for already is old news.
 *
 * Rows are compared as a reconcile does it (reconcile.c), in a transfer that changes nothing: SK_FOR_AUDIT. Each side
 * asks for one of its own. The host knows what to make of what it finds (node/quarantine.h); it says SK_E_BUSY where that
 * does not make up the difference, because too much was under way, and it is asked for again. */
#include "gossip/engine_internal.h"

static void tell(sk_engine *engine, uint32_t peer, bool drifts)
{
    engine->peers[peer].drift.told = drifts;
    if (engine->host.drift) engine->host.drift(engine->host.self, peer, drifts);
}

bool sk_drift_digest(const sk_engine *engine, sk_digest *digest)
{
    return engine->host.digest && engine->host.digest(engine->host.self, &engine->durable, digest);
}

void sk_drift_hear(sk_engine *engine, uint32_t peer, const sk_status *said)
{
    sk_peer *from = &engine->peers[peer];
    sk_drift *drift = &from->drift;
    sk_digest ours;
    if (!said->has_digest || !sk_vv_equal(&from->vv, &engine->durable) || !sk_drift_digest(engine, &ours)) return;
    sk_digest difference = said->digest - ours;
    if (difference != drift->difference) {
        drift->difference = difference;
        drift->since_ms = drift->ask_at_ms = engine->now_ms;
        drift->lasts = drift->compared = false;
    }
    if (difference == 0) {
        tell(engine, peer, false);
    } else if (!drift->lasts && engine->now_ms - drift->since_ms >= engine->limits.audit_ms) {
        drift->lasts = true;
        tell(engine, peer, true);
    }
}

void sk_drift_ask(sk_engine *engine)
{
    for (uint32_t m = 0; m < engine->peer_count && sk_transfer_may_ask(engine); m++) {
        sk_peer *from = &engine->peers[m];
        sk_drift *drift = &from->drift;
        if (from->state != LINK_UP || !drift->lasts || drift->compared || engine->now_ms < drift->ask_at_ms) continue;
        drift->ask_at_ms = engine->now_ms + engine->limits.audit_ms + 1;
        if (!engine->host.sink_busy(engine->host.self)) sk_transfer_ask(engine, m, SK_FOR_AUDIT);
    }
}

void sk_drift_compared(sk_engine *engine, uint32_t peer, sk_digest difference)
{
    sk_drift *drift = &engine->peers[peer].drift;
    drift->compared = drift->difference == difference;
}

void sk_drift_again(sk_engine *engine, uint32_t peer)
{
    sk_drift *drift = &engine->peers[peer].drift;
    drift->compared = false;
    drift->ask_at_ms = engine->now_ms;
}
