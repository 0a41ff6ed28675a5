/* Live sending: our own origin to everybody, other origins to whom they do not reach otherwise.
 *
 * Per link and origin a cursor says which seq goes next. It begins behind the peer's vector, moves with what is sent,
 * so that nothing goes over a link twice in a session, and goes back only when the peer asks (RESEND) or a transfer
 * fails. It never goes back to what came over the link from the peer: whoever sent it has it on disk.
 *
 * Relays. Our current origin is ours to send, at once. Any other origin a peer gets from us only if it cannot get it
 * itself (no link with the origin's region, or that region now writes under another incarnation) and has stood still
 * below us for relay_ms. Of several who could, the one with the smallest name begins; the others wait twice as long.
 * Of a region that is no member (any more) nobody has a link: the first in line relays at once, the others wait once.
 * Once a relay is on it has no more delay than the links. It ends when the peer has a link of its own, or relays the
 * same origin to us, or says ENOUGH: whoever gets nothing but duplicates over a relay says so. Should all relays end at
 * once, the wait begins again. When relays have found their ways, each transaction crosses each link once at most
 * (tests/sim/crossing.c).
 *
 * Where the ring no longer has what a cursor needs, the peer is offered a transfer; also where it has, but a transfer
 * costs less (backlog.c). That is decided when a link comes up, or a relay begins, for what is there by then. Where we then
 * cannot send that transfer (our rows are damaged, or something is folded in), what the ring has goes live after all: nothing
 * may wait for what may never be had. */
#include "gossip/engine_internal.h"

typedef enum { SENT, NOTHING_DUE, WAITS, BY_TRANSFER } send_result;

/* -- batches ------------------------------------------------------------------------------------------------------- */

static void pack_txns(sk_engine *engine, uint32_t origin, sk_track *track, uint64_t from, uint64_t to)
{
    sk_hlc before = track->continues ? track->sent_hlc : 0;
    sk_buf_reset(&engine->raises);
    if (!track->continues) {
        sk_ring_seen(&engine->ring, origin, from, &engine->seen);
        static const sk_vv nothing;
        sk_message_pack_changes(&engine->raises, &engine->seen, &nothing);
    }
    for (uint64_t seq = from; seq <= to; seq++) {
        sk_ring_txn txn = sk_ring_get(&engine->ring, origin, seq);
        sk_bytes raise = seq == from && !track->continues ? sk_buf_view(&engine->raises) : txn.raise;
        sk_batch_txn_pack(&engine->out, before, txn.hlc, txn.op_count, raise, txn.ops);
        before = txn.hlc;
    }
    track->sent_hlc = before;
}

/* One batch of an origin, if it is time for it. */
static send_result send_batch(sk_engine *engine, uint32_t peer, uint32_t origin, bool due)
{
    sk_peer *to = &engine->peers[peer];
    uint64_t from = sk_send_next(to, origin), limit = sk_vv_get(&engine->durable, origin);
    if (from > limit) return NOTHING_DUE;
    uint64_t transferred = origin < to->track_count ? to->tracks[origin].transferred : 0;
    if (from <= transferred || !sk_ring_has(&engine->ring, origin, from)) return BY_TRANSFER;
    uint64_t end = sk_ring_end(&engine->ring, origin);
    if (end > limit) end = limit;
    uint64_t bytes = engine->limits.batch_bytes < SK_MESSAGE_MAX / 2 ? engine->limits.batch_bytes : SK_MESSAGE_MAX / 2;
    if (!due && sk_ring_wire_bytes(&engine->ring, origin, from, end) < bytes) return WAITS;
    end = sk_ring_fit(&engine->ring, origin, from, end, bytes);

    sk_track *track = sk_link_track(engine, to, origin);
    if (sk_ring_get(&engine->ring, origin, from).fresh) track->continues = false; /* it does not say over what */
    sk_batch batch = {origin, track->continues, from, (uint32_t)(end - from + 1)};
    sk_message_begin(&engine->out, SK_MESSAGE_BATCH);
    sk_batch_pack(&engine->out, &batch);
    pack_txns(engine, origin, track, from, end);
    track->next = end + 1;
    track->continues = true;
    to->counts.sent_txns += batch.count;
    sk_link_send(engine, peer);
    return SENT;
}

static bool is_ours_to_send(const sk_engine *engine, const sk_peer *to, uint32_t origin)
{
    return origin == *engine->own || (origin < to->track_count && to->tracks[origin].relaying);
}

/* One batch of each origin. False when the link takes no more for now. */
static bool send_round(sk_engine *engine, uint32_t peer, bool due, bool *sent, bool *waits, bool *wanted)
{
    sk_peer *to = &engine->peers[peer];
    uint32_t origins = engine->origins->count;
    *sent = *waits = *wanted = false;
    for (uint32_t i = 0; i < origins; i++) {
        uint32_t origin = (to->send_from + i) % origins;
        if (!is_ours_to_send(engine, to, origin)) continue;
        if (engine->host.queued(engine->host.self, peer) > engine->limits.send_queue_max) {
            to->send_from = origin;
            return false;
        }
        switch (send_batch(engine, peer, origin, due)) {
        case SENT: *sent = true; break;
        case WAITS: *waits = true; break;
        case BY_TRANSFER: *wanted = true; break;
        case NOTHING_DUE: break;
        }
    }
    return true;
}

void sk_send_pump(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    if (to->state != LINK_UP) return;
    bool due = engine->limits.flush_ms == 0 || engine->now_ms >= to->flush_at_ms;
    bool sent = true, waits = false, wanted = false;
    to->blocked = false;
    while (sent && !to->blocked) {
        bool more_wanted;
        to->blocked = !send_round(engine, peer, due, &sent, &waits, &more_wanted);
        wanted |= more_wanted;
    }
    if (due || !waits) to->flush_at_ms = NEVER;
    if (waits) sk_sooner(&to->flush_at_ms, engine->now_ms + engine->limits.flush_ms);
    /* A round that a full queue cut short says only what it saw: live traffic must not hide a need for a transfer. */
    if (!to->blocked || wanted) to->out.wanted = wanted;
    sk_transfer_pump(engine, peer);
}

void sk_send_start(sk_engine *engine, uint32_t peer, uint32_t origin)
{
    if (!sk_backlog_is_wasteful(engine, peer, origin)) return;
    sk_link_track(engine, &engine->peers[peer], origin)->transferred = sk_vv_get(&engine->durable, origin);
}

void sk_send_live(sk_peer *to)
{
    for (uint32_t o = 0; o < to->track_count; o++) to->tracks[o].transferred = 0;
}

/* -- cursors ------------------------------------------------------------------------------------------------------- */

/* What the peer has sent us it has: the cursor stands behind it. */
static void not_back(const sk_peer *peer, uint32_t origin, sk_track *track)
{
    if (sk_send_next(peer, origin) > track->got) return;
    track->next = track->got + 1;
    track->continues = false;
}

void sk_send_rewind(sk_engine *engine, uint32_t peer, const sk_vv *vv)
{
    sk_peer *to = &engine->peers[peer];
    for (uint32_t o = 0; o < engine->origins->count; o++) {
        uint64_t has = sk_vv_get(vv, o), said = sk_vv_get(&to->vv, o);
        uint64_t next = (has > said ? has : said) + 1;
        if (sk_send_next(to, o) == next) continue;
        sk_track *track = sk_link_track(engine, to, o);
        track->next = next;
        track->continues = false;
        not_back(to, o, track);
    }
}

/* -- relays -------------------------------------------------------------------------------------------------------- */

/* The peer has, or can have, a link with the region that now writes under this origin. */
static bool gets_itself(const sk_engine *engine, uint32_t peer, uint32_t origin)
{
    const sk_peer *to = &engine->peers[peer];
    sk_bytes region = sk_bytes_str(engine->origins->list[origin].region);
    uint32_t member = sk_engine_find(engine, region);
    if (member == NO_PEER) return false; /* an older one of ours, or of a region that is no member any more */
    if (member == peer) return origin == to->current;
    if (!(to->neighbours >> member & 1)) return false;
    return engine->peers[member].current == origin || engine->peers[member].current == SK_ORIGIN_UNKNOWN;
}

/* None of the peer's other neighbours with a smaller name has what it lacks. */
static bool is_first_in_line(const sk_engine *engine, const sk_peer *to, uint32_t origin)
{
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        const sk_peer *other = &engine->peers[m];
        if (other == to || !(to->neighbours >> m & 1) || strcmp(other->region, engine->region) > 0) continue;
        if (sk_vv_get(&other->acked, origin) > sk_vv_get(&to->vv, origin)) return false;
    }
    return true;
}

static void stop_relay(sk_track *track)
{
    track->relaying = false;
    track->lag_since_ms = NEVER;
}

/* For how long the peer may lack the origin before we relay it. */
static uint64_t relay_patience(const sk_engine *engine, const sk_peer *to, uint32_t origin)
{
    uint64_t turns = is_first_in_line(engine, to, origin) ? 0 : 1;
    sk_bytes region = sk_bytes_str(engine->origins->list[origin].region);
    bool is_own = sk_bytes_equal(region, sk_bytes_str(engine->region));
    if (is_own || sk_engine_find(engine, region) != NO_PEER) turns++; /* a link of its own may yet bring it */
    return turns * engine->limits.relay_ms;
}

void sk_send_got(sk_peer *peer, uint32_t origin)
{
    sk_track *track = &peer->tracks[origin];
    if (track->relaying) stop_relay(track);
    not_back(peer, origin, track);
}

static void review_origin(sk_engine *engine, uint32_t peer, uint32_t origin)
{
    sk_peer *to = &engine->peers[peer];
    uint64_t has = sk_vv_get(&to->vv, origin);
    if (origin < to->track_count && has < to->tracks[origin].got) has = to->tracks[origin].got; /* it sent us that */
    bool lags = has < sk_vv_get(&engine->durable, origin);
    if (!lags && origin >= to->track_count) return;
    sk_track *track = sk_link_track(engine, to, origin);
    if (!lags) track->lag_since_ms = NEVER;
    bool itself = gets_itself(engine, peer, origin);
    if (itself) stop_relay(track);
    if (!lags || itself || track->relaying) return;
    if (track->lag_since_ms == NEVER || track->lag_seq != has) {
        track->lag_since_ms = engine->now_ms;
        track->lag_seq = has;
    }
    uint64_t patience = relay_patience(engine, to, origin);
    track->relaying = engine->now_ms - track->lag_since_ms >= patience;
    if (track->relaying) sk_send_start(engine, peer, origin);
}

void sk_send_review(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    uint64_t pause = engine->limits.relay_ms / RELAY_REVIEWS;
    to->review_at_ms = engine->now_ms + (pause ? pause : 1);
    for (uint32_t o = 0; o < engine->origins->count; o++)
        if (o != *engine->own) review_origin(engine, peer, o);
}

void sk_send_advance(sk_engine *engine, uint32_t peer, uint32_t origin)
{
    sk_peer *to = &engine->peers[peer];
    if (origin >= to->track_count) return;
    sk_track *track = &to->tracks[origin];
    if (track->next == 0 || track->next > sk_vv_get(&to->vv, origin)) return;
    track->next = sk_vv_get(&to->vv, origin) + 1;
    track->continues = false;
}

int sk_send_enough(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *to = &engine->peers[peer];
    uint32_t origin;
    int status = sk_enough_read(reader, &to->map, &origin);
    if (!status && origin < to->track_count) stop_relay(&to->tracks[origin]);
    return status;
}
