/* Live receiving: batches are looked through whole before anything of them is applied, and translated on the way from
 * the sender's origin numbers to ours.
 *
 * A transaction that follows the applied vector, and whose `seen` is covered by it, is applied. One that follows but
 * has to wait, for that, for a reconcile that brings it (reconcile.c), or for a host that is busy, is held back. One that does not follow, or finds no room, is dropped, and the sender is asked for it
 * again.
 *
 * Invariants (sk_receive_check):
 *  1. What is held of an origin are consecutive seqs, the first one the next to be applied.
 *  2. held_bytes is the sum over all held, and at most held_bytes_max.
 *  3. A batch that cannot be read to its end changes nothing. */
#include "gossip/engine_internal.h"

#include <stdlib.h>

enum {
    ARENA_SHARE = 24, /* an operation's lists take at most this many times their packed form (crdt/op.h) */
    ARENA_BASE = 64 * 1024,
    AHEAD = 2, /* transactions: some microseconds */
    SCRATCH_KEEP = 4 * SK_MESSAGE_MAX, /* scratch that grew beyond this for one large transaction is given back */
};

struct sk_held {
    sk_held *next; /* owned by the lane */
    size_t size;   /* of all of this */
    uint64_t seq;
    sk_hlc hlc;
    uint32_t peer; /* who sent it */
    uint32_t op_count, seen_count;
    size_t ops_len;
    sk_dot seen[]; /* without its own origin; the operations follow */
};

/* A transaction of the batch that is being received, translated. */
typedef struct {
    sk_hlc hlc;
    uint32_t op_count, raise_count;
    size_t ops_at, ops_len; /* in engine->ops */
} decoded;

void sk_seen_free(sk_seen *seen)
{
    free(seen->list);
    *seen = (sk_seen){0};
}

static void expand_seen(sk_vv *vv, const sk_dot *list, uint32_t count)
{
    sk_vv_clear(vv);
    for (uint32_t i = 0; i < count; i++) sk_vv_set(vv, list[i].origin, list[i].seq);
}

static uint32_t count_seen(const sk_vv *vv, uint32_t except)
{
    uint32_t count = 0;
    for (uint32_t o = 0; o < vv->count; o++) count += o != except && vv->seq[o] != 0;
    return count;
}

static void list_seen(const sk_vv *vv, uint32_t except, sk_dot *list)
{
    for (uint32_t o = 0; o < vv->count; o++)
        if (o != except && vv->seq[o]) *list++ = (sk_dot){o, vv->seq[o]};
}

/* -- asking again -------------------------------------------------------------------------------------------------- */

static uint64_t sum_of_applied(const sk_engine *engine)
{
    uint64_t sum = 0;
    for (uint32_t o = 0; o < engine->applied->count; o++) sum += engine->applied->seq[o];
    return sum;
}

void sk_receive_want(sk_engine *engine, uint32_t peer)
{
    sk_peer *from = &engine->peers[peer];
    if (from->state != LINK_UP) return;
    uint64_t pause = RESEND_MS;
    if (sum_of_applied(engine) == from->resent_sum && engine->limits.relay_ms > pause) pause = engine->limits.relay_ms;
    sk_sooner(&from->resend_at_ms, engine->now_ms + pause);
}

/* Something held was dropped: others may have been told that it is here, or may have sent it in vain. */
static void want_all(sk_engine *engine, uint32_t except)
{
    for (uint32_t m = 0; m < engine->peer_count; m++)
        if (m != except) sk_receive_want(engine, m);
}

void sk_receive_send_resend(sk_engine *engine, uint32_t peer)
{
    sk_peer *from = &engine->peers[peer];
    if (engine->incoming.peer != NO_PEER) { /* what is missing may come with it */
        from->resend_at_ms = engine->now_ms + RESEND_MS;
        return;
    }
    from->resend_at_ms = NEVER;
    if (engine->store_failed) return; /* all of it would be dropped again: everybody is asked once it is back */
    from->resent_sum = sum_of_applied(engine);
    sk_vv have = {0};
    sk_vv_copy(&have, engine->applied);
    for (uint32_t o = 0; o < engine->held_lanes; o++)
        if (engine->held[o].first) sk_vv_raise(&have, o, engine->held[o].end);
    sk_message_begin(&engine->out, SK_MESSAGE_RESEND);
    sk_vv_pack(&engine->out, &have);
    sk_vv_free(&have);
    sk_link_send(engine, peer);
}

int sk_receive_resend(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_vv have = {0};
    int status = sk_vector_read(reader, &engine->peers[peer].map, &have);
    if (!status) status = sk_status_amnesia(engine, sk_vv_get(&have, *engine->own));
    if (!status) sk_send_rewind(engine, peer, &have);
    sk_vv_free(&have);
    return status;
}

/* -- held back ----------------------------------------------------------------------------------------------------- */

static sk_held_lane *held_lane(sk_engine *engine, uint32_t origin)
{
    if (origin >= engine->held_lanes) {
        engine->held = sk_realloc(engine->held, (origin + 1) * sizeof *engine->held);
        memset(engine->held + engine->held_lanes, 0, (origin + 1 - engine->held_lanes) * sizeof *engine->held);
        engine->held_lanes = origin + 1;
    }
    return &engine->held[origin];
}

static void drop_first(sk_engine *engine, sk_held_lane *lane)
{
    sk_held *held = lane->first;
    lane->first = held->next;
    if (!lane->first) lane->last = NULL;
    engine->held_bytes -= held->size;
    free(held);
}

static void drop_lane(sk_engine *engine, uint32_t origin)
{
    while (engine->held[origin].first) drop_first(engine, &engine->held[origin]);
}

void sk_receive_drop_all(sk_engine *engine)
{
    for (uint32_t o = 0; o < engine->held_lanes; o++) drop_lane(engine, o);
}

void sk_receive_link_down(sk_engine *engine, uint32_t peer)
{
    for (uint32_t o = 0; o < engine->held_lanes && engine->held_bytes > 0; o++) {
        sk_held_lane *lane = &engine->held[o];
        sk_held *last = NULL, *held = lane->first;
        while (held && held->peer != peer) {
            last = held;
            held = held->next;
        }
        if (!held) continue;
        *(last ? &last->next : &lane->first) = NULL;
        lane->last = last;
        if (last) lane->end = last->seq;
        for (sk_held *next; held; held = next) {
            next = held->next;
            engine->held_bytes -= held->size;
            free(held);
        }
        want_all(engine, peer);
    }
}

void sk_receive_free(sk_engine *engine)
{
    sk_receive_drop_all(engine);
    free(engine->held);
}

/* Keeps a transaction, with `seen` as the engine's scratch has it. False if there is no room. */
static bool hold(sk_engine *engine, uint32_t peer, const sk_txn *txn)
{
    uint32_t seen_count = count_seen(&txn->seen, txn->dot.origin);
    size_t size = sizeof(sk_held) + seen_count * sizeof(sk_dot) + txn->ops.len;
    if (engine->held_bytes + size > engine->limits.held_bytes_max) return false;
    sk_held_lane *lane = held_lane(engine, txn->dot.origin);
    sk_held *held = sk_realloc(NULL, size);
    *held = (sk_held){.size = size,
                      .seq = txn->dot.seq,
                      .hlc = txn->hlc,
                      .peer = peer,
                      .op_count = txn->op_count,
                      .seen_count = seen_count,
                      .ops_len = txn->ops.len};
    list_seen(&txn->seen, txn->dot.origin, held->seen);
    if (txn->ops.len) memcpy(held->seen + seen_count, txn->ops.data, txn->ops.len);
    if (lane->last)
        lane->last->next = held;
    else
        lane->first = held;
    lane->last = held;
    lane->end = held->seq;
    engine->held_bytes += size;
    return true;
}

static int apply(sk_engine *engine, const sk_txn *txn)
{
    int status = engine->host.apply(engine->host.self, txn);
    if (status) return status;
    sk_assert(sk_vv_get(engine->applied, txn->dot.origin) == txn->dot.seq);
    sk_ring_append(&engine->ring, txn);
    return 0;
}

/* The first one held of an origin, if it can be applied now. 1: it was; 0: it waits; or the error. */
static int release_first(sk_engine *engine, uint32_t origin)
{
    const sk_held *held = engine->held[origin].first;
    if (sk_reconcile_withholds(engine, (sk_dot){origin, held->seq})) return 0;
    for (uint32_t i = 0; i < held->seen_count; i++)
        if (!sk_vv_covers(engine->applied, held->seen[i])) return 0;
    expand_seen(&engine->seen, held->seen, held->seen_count);
    sk_vv_set(&engine->seen, origin, held->seq - 1);
    sk_txn txn = {.dot = {origin, held->seq},
                  .hlc = held->hlc,
                  .seen = engine->seen,
                  .ops = sk_bytes_of(held->seen + held->seen_count, held->ops_len),
                  .op_count = held->op_count};
    int status = apply(engine, &txn);
    if (status) return status;
    drop_first(engine, &engine->held[origin]);
    return 1;
}

/* Releases what it can of one origin. True if anything moved. */
static bool release_lane(sk_engine *engine, uint32_t origin)
{
    sk_held_lane *lane = &engine->held[origin];
    bool moved = false;
    while (lane->first) {
        if (lane->first->seq <= sk_vv_get(engine->applied, origin)) {
            drop_first(engine, lane);
            continue;
        }
        uint32_t peer = lane->first->peer;
        int status = release_first(engine, origin);
        if (status == 0) break;
        if (status > 0) {
            moved = true;
            continue;
        }
        if (sk_error_class(status) == SK_CLASS_HANGUP) {
            drop_lane(engine, origin);
            want_all(engine, peer);
            sk_link_close(engine, peer, status, true);
        } else {
            engine->held_retry_at_ms = engine->now_ms + RESEND_MS;
        }
        break;
    }
    return moved;
}

void sk_receive_release(sk_engine *engine)
{
    engine->held_retry_at_ms = NEVER;
    bool moved = true;
    while (moved && engine->held_bytes > 0 && engine->held_retry_at_ms == NEVER) {
        moved = false;
        for (uint32_t o = 0; o < engine->held_lanes; o++) moved |= release_lane(engine, o);
    }
}

void sk_receive_rolled_back(sk_engine *engine)
{
    for (uint32_t o = 0; o < engine->held_lanes; o++)
        if (engine->held[o].first && engine->held[o].first->seq != sk_vv_get(engine->applied, o) + 1)
            drop_lane(engine, o);
    want_all(engine, NO_PEER);
}

/* -- batches ------------------------------------------------------------------------------------------------------- */

/* Checks the operations of a transaction and appends them, in our numbers, to engine->ops: nearly all of them have none,
 * and stay as they are. */
static int translate_ops(sk_engine *engine, const sk_origin_map *map, sk_dot dot, const sk_batch_txn *txn)
{
    engine->arena.max = ARENA_BASE + ARENA_SHARE * txn->ops.len;
    sk_reader reader = sk_reader_of(txn->ops);
    for (uint32_t i = 0; i < txn->op_count; i++) {
        sk_op op;
        const uint8_t *begin = reader.at;
        sk_arena_reset(&engine->arena);
        int status = sk_op_read(&reader, map, dot, txn->hlc, &engine->arena, &op);
        if (status) return SK_E_MALFORMED; /* also beyond the arena's limit, which no honest one reaches */
        if (op.reset_count || op.removed_count)
            sk_op_pack(&engine->ops, &op);
        else
            sk_buf_append(&engine->ops, begin, (size_t)(reader.at - begin));
    }
    return sk_reader_done(&reader) ? 0 : SK_E_MALFORMED;
}

/* Adds what the transaction raises to engine->seen, and lists it in engine->raises. */
static int take_raises(sk_engine *engine, const sk_origin_map *map, sk_elements list)
{
    sk_dot raise;
    if (list.count > engine->origins->count) return SK_E_MALFORMED; /* each once; ours take more memory than theirs */
    while (sk_raise_next(&list, map, &raise)) {
        raise.seq += sk_vv_get(&engine->seen, raise.origin);
        if (raise.seq > SK_SEQ_MAX) return SK_E_MALFORMED;
        sk_vv_set(&engine->seen, raise.origin, raise.seq);
        sk_buf_append(&engine->raises, &raise, sizeof raise);
    }
    return 0;
}

static void start_seen(sk_engine *engine, const sk_batch *batch, const sk_track *track)
{
    expand_seen(&engine->seen, track->got_seen.list, batch->continues ? track->got_seen.count : 0);
}

/* Reads the whole batch into engine->txns, ->raises and ->ops, and sets batch->first where it continues. */
static int decode_batch(sk_engine *engine, sk_peer *from, sk_reader *reader, sk_batch *batch)
{
    int status = sk_batch_read(reader, &from->map, batch);
    if (status) return status;
    if (batch->count > 1 && sk_reader_left(reader) > SK_MESSAGE_MAX) return SK_E_TOO_LARGE;
    const sk_track *track = sk_link_track(engine, from, batch->origin);
    if (batch->continues && track->got == 0) return SK_E_PROTOCOL;
    if (batch->continues) batch->first = track->got + 1;
    if (batch->first + batch->count - 1 > SK_SEQ_MAX) return SK_E_MALFORMED; /* its last one's seq is told on */
    sk_hlc before = batch->continues ? track->got_hlc : 0;
    start_seen(engine, batch, track);
    sk_buf_reset(&engine->txns);
    sk_buf_reset(&engine->raises);
    sk_buf_reset(&engine->ops);
    for (uint32_t i = 0; i < batch->count; i++) {
        sk_batch_txn txn;
        status = sk_batch_txn_read(reader, &from->map, batch->origin, before, &txn);
        if (!status && txn.ops.len > SK_TRANSACTION_MAX) status = SK_E_TOO_LARGE;
        decoded one = {.hlc = txn.hlc, .op_count = txn.op_count, .raise_count = txn.raise.count};
        one.ops_at = engine->ops.len;
        if (!status) status = translate_ops(engine, &from->map, (sk_dot){batch->origin, batch->first + i}, &txn);
        if (!status) status = take_raises(engine, &from->map, txn.raise);
        if (status) return status;
        one.ops_len = engine->ops.len - one.ops_at;
        sk_buf_append(&engine->txns, &one, sizeof one);
        before = txn.hlc;
    }
    return sk_reader_done(reader) ? 0 : SK_E_MALFORMED;
}

/* A new one: applied, held, or dropped (SK_E_GAP, SK_E_MEMORY, what the host says). 1 if it was there already. */
static int take_txn(sk_engine *engine, uint32_t peer, const sk_txn *txn)
{
    uint32_t origin = txn->dot.origin;
    uint64_t applied = sk_vv_get(engine->applied, origin);
    const sk_held_lane *lane = held_lane(engine, origin);
    uint64_t have = lane->first ? lane->end : applied;
    if (txn->dot.seq <= have) return 1;
    if (txn->dot.seq > have + 1) return SK_E_GAP;
    bool met = sk_vv_at_most(&txn->seen, engine->applied) && !sk_reconcile_withholds(engine, txn->dot);
    int status = SK_E_BUSY;
    if (!lane->first && met) status = apply(engine, txn);
    if (status != SK_E_BUSY) return status;
    return hold(engine, peer, txn) ? 0 : SK_E_MEMORY;
}

/* While one is applied, memory can bring the row of one that comes soon. */
static void look_ahead(const sk_engine *engine, const decoded *coming)
{
    if (coming->ops_len == 0) return;
    sk_reader reader = sk_reader_of(sk_bytes_of(engine->ops.data + coming->ops_at, coming->ops_len));
    sk_bytes key = sk_read_bytes(&reader); /* its first operation's */
    if (!reader.bad) engine->host.fetch(engine->host.self, key);
}

/* The decoded transactions one after the other; from the first that is dropped on, only their `seen` is followed. */
static int take_batch(sk_engine *engine, uint32_t peer, const sk_batch *batch)
{
    sk_peer *from = &engine->peers[peer];
    const decoded *all = (const decoded *)(const void *)engine->txns.data;
    const sk_dot *raise = (const sk_dot *)(const void *)engine->raises.data;
    bool dropping = false;
    start_seen(engine, batch, sk_link_track(engine, from, batch->origin));
    for (uint32_t i = 0; i < batch->count; i++) {
        for (uint32_t r = 0; r < all[i].raise_count; r++, raise++) sk_vv_set(&engine->seen, raise->origin, raise->seq);
        if (dropping) continue;
        if (engine->host.fetch && i + AHEAD < batch->count) look_ahead(engine, &all[i + AHEAD]);
        sk_dot dot = {batch->origin, batch->first + i};
        sk_vv_set(&engine->seen, dot.origin, dot.seq - 1);
        sk_txn txn = {.dot = dot, .hlc = all[i].hlc, .seen = engine->seen, .op_count = all[i].op_count};
        if (all[i].ops_len) txn.ops = sk_bytes_of(engine->ops.data + all[i].ops_at, all[i].ops_len);
        int status = take_txn(engine, peer, &txn);
        if (status > 0) from->counts.duplicate_txns++;
        if (status == 0) from->counts.received_txns++;
        if (status >= 0) continue;
        if (sk_error_class(status) == SK_CLASS_HANGUP) return status;
        sk_receive_want(engine, peer);
        dropping = true;
    }
    return 0;
}

/* What the next batch may go on from: all that came, whether it was kept or not. */
static void note_end(sk_engine *engine, sk_peer *from, const sk_batch *batch)
{
    sk_track *track = sk_link_track(engine, from, batch->origin);
    const decoded *all = (const decoded *)(const void *)engine->txns.data;
    track->got = batch->first + batch->count - 1;
    track->got_hlc = all[batch->count - 1].hlc;
    sk_send_got(from, batch->origin);
    uint32_t count = count_seen(&engine->seen, batch->origin);
    if (count > track->got_seen.cap) {
        track->got_seen.list = sk_realloc(track->got_seen.list, count * sizeof *track->got_seen.list);
        track->got_seen.cap = count;
    }
    track->got_seen.count = count;
    list_seen(&engine->seen, batch->origin, track->got_seen.list);
}

/* A relay brought only what was here. */
static void say_enough(sk_engine *engine, uint32_t peer, uint32_t origin)
{
    sk_track *track = sk_link_track(engine, &engine->peers[peer], origin);
    if (engine->now_ms < track->enough_at_ms) return;
    track->enough_at_ms = engine->now_ms + engine->limits.relay_ms / RELAY_REVIEWS;
    sk_message_begin(&engine->out, SK_MESSAGE_ENOUGH);
    sk_pack_uint(&engine->out, origin);
    sk_link_send(engine, peer);
}

int sk_receive_batch(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *from = &engine->peers[peer];
    sk_batch batch;
    int status = decode_batch(engine, from, reader, &batch);
    if (!status && batch.origin == *engine->own) status = sk_status_amnesia(engine, batch.first + batch.count - 1);
    uint64_t duplicates = from->counts.duplicate_txns;
    if (!status) status = take_batch(engine, peer, &batch);
    if (!status) note_end(engine, from, &batch);
    if (!status) status = sk_status_sent(engine, peer, (sk_dot){batch.origin, batch.first + batch.count - 1}, &engine->seen);
    duplicates = from->counts.duplicate_txns - duplicates;
    if (!status && duplicates == batch.count && batch.origin != from->current) say_enough(engine, peer, batch.origin);
    if (!status && engine->held_bytes > 0) sk_receive_release(engine);
    sk_buf *scratch[] = {&engine->ops, &engine->txns, &engine->raises};
    for (size_t i = 0; i < sizeof scratch / sizeof *scratch; i++)
        if (scratch[i]->cap > SCRATCH_KEEP) sk_buf_free(scratch[i]);
    return status;
}

void sk_receive_check(const sk_engine *engine)
{
    size_t bytes = 0;
    for (uint32_t o = 0; o < engine->held_lanes; o++) {
        uint64_t seq = sk_vv_get(engine->applied, o);
        for (const sk_held *held = engine->held[o].first; held; held = held->next) {
            sk_assert(held->seq == ++seq);
            sk_assert(held->next != NULL || held == engine->held[o].last);
            bytes += held->size;
        }
        sk_assert(engine->held[o].first == NULL || engine->held[o].end == seq);
    }
    sk_assert(bytes == engine->held_bytes);
    sk_assert(bytes <= engine->limits.held_bytes_max);
}
