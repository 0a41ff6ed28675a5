#include "gossip/engine_internal.h"

#include <stdlib.h>

sk_engine_limits sk_engine_limits_default(void)
{
    return (sk_engine_limits){
        .ring_bytes_max = 64U << 20,
        .held_bytes_max = 64U << 20,
        .send_queue_max = 4U << 20,
        .batch_bytes = 64U << 10,
        .chunk_bytes = 64U << 10,
        .chunk_max = SK_TRANSACTION_MAX,
        .transfer_window = 16,
        .transfer_share = 100,
        .flush_ms = 2,
        .ack_ms = 20,
        .heartbeat_ms = 500,
        .silence_ms = 5000,
        .relay_ms = 1000,
        .audit_ms = 3000,
    };
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

sk_engine *sk_engine_new(const char *region, const sk_engine_host *host, const sk_engine_limits *limits,
                         const sk_vv *applied, const sk_origins *origins, const uint32_t *own)
{
    sk_assert(sk_region_name_valid(sk_bytes_str(region)));
    sk_engine *engine = sk_alloc(sizeof *engine);
    memcpy(engine->region, region, strlen(region) + 1);
    engine->host = *host;
    engine->limits = *limits;
    if (engine->limits.transfer_window == 0) engine->limits.transfer_window = 1;
    if (engine->limits.chunk_bytes == 0) engine->limits.chunk_bytes = 1;
    sk_assert(engine->limits.chunk_max > 0 && engine->limits.chunk_max <= SK_TRANSACTION_MAX);
    engine->applied = applied;
    engine->origins = origins;
    engine->own = own;
    engine->fresh_origin = engine->spent_origin = SK_ORIGIN_UNKNOWN;
    sk_status_grown(engine);
    sk_vv_copy(&engine->durable, applied); /* what a start finds came from the disk */
    sk_ring_init(&engine->ring, limits->ring_bytes_max, limits->ring_txns_max);
    engine->held_retry_at_ms = NEVER;
    engine->incoming = (sk_incoming){.peer = NO_PEER, .retry_at_ms = NEVER};
    engine->stable_at_ms = 0;
    return engine;
}

static void set_time(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    if (now_ms > engine->now_ms) engine->now_ms = now_ms;
    engine->wall_ms = wall_ms <= SK_SEQ_MAX ? wall_ms : SK_SEQ_MAX;
    if (engine->term == 0) engine->term = engine->wall_ms ? engine->wall_ms : 1; /* status.c: a life's first term */
}

/* All that belongs to one session, given back. */
static void clear_session(sk_engine *engine, uint32_t peer)
{
    sk_peer *p = &engine->peers[peer];
    sk_transfer_link_down(engine, peer);
    sk_receive_link_down(engine, peer);
    p->state = LINK_DOWN;
    sk_origin_map_free(&p->map);
    sk_vv_free(&p->vv);
    sk_vv_free(&p->told);
    sk_vv_free(&p->offer);
    sk_vv_free(&p->out.vv);
    for (uint32_t o = 0; o < p->track_count; o++) sk_seen_free(&p->tracks[o].got_seen);
    free(p->tracks);
    p->tracks = NULL;
    p->track_count = 0;
    p->announced = 0;
    p->clock.heard = false;
    p->said_term = p->said_view = p->begun_term = 0;
    p->neighbours = p->informed = 0;
    p->blocked = p->has_ping = p->has_offer = false;
    p->requested = p->resent_sum = 0;
    p->out = (sk_outgoing){0};
    p->drift = (sk_drift){0};
    p->heartbeat_at_ms = p->ack_at_ms = p->flush_at_ms = p->resend_at_ms = p->review_at_ms = NEVER;
}

void sk_engine_free(sk_engine *engine)
{
    if (!engine) return;
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        clear_session(engine, m);
        sk_vv_free(&engine->peers[m].acked);
        sk_vv_free(&engine->peers[m].staged);
    }
    sk_receive_free(engine);
    sk_ring_free(&engine->ring);
    sk_buf *buffers[] = {&engine->out, &engine->names, &engine->gossip, &engine->ops, &engine->txns, &engine->raises};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) sk_buf_free(buffers[i]);
    sk_vv *vectors[] = {&engine->durable,     &engine->stable,    &engine->everywhere, &engine->everywhere_next,
                        &engine->stable_need, &engine->view_from, &engine->seen,   &engine->free};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) sk_vv_free(vectors[i]);
    sk_arena_free(&engine->arena);
    free(engine);
}

/* Who is a member decides who relays what, and what the peers are told. */
static void members_changed(sk_engine *engine)
{
    sk_status_spread(engine);
    for (uint32_t m = 0; m < engine->peer_count; m++)
        if (engine->peers[m].state == LINK_UP) engine->peers[m].review_at_ms = engine->now_ms;
}

int sk_engine_add_peer(sk_engine *engine, const char *region, const sk_vv *acked)
{
    uint32_t number = 0;
    while (number < engine->peer_count && sk_is_member(&engine->peers[number])) number++;
    if (number == PEERS_MAX) return SK_E_LIMIT;
    sk_assert(sk_region_name_valid(sk_bytes_str(region)));
    sk_assert(strcmp(region, engine->region) != 0);
    sk_assert(sk_engine_find(engine, sk_bytes_str(region)) == NO_PEER);
    sk_peer *peer = &engine->peers[number];
    if (number == engine->peer_count) engine->peer_count++;
    memcpy(peer->region, region, strlen(region) + 1);
    peer->current = SK_ORIGIN_UNKNOWN;
    if (acked) sk_vv_copy(&peer->acked, acked);
    clear_session(engine, number);
    sk_stability_joined(engine);
    members_changed(engine);
    return (int)number;
}

void sk_engine_remove_peer(sk_engine *engine, uint32_t peer, int error, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(sk_engine_is_peer(engine, peer));
    sk_link_close(engine, peer, error, true);
    clear_session(engine, peer);
    sk_vv_free(&engine->peers[peer].acked);
    sk_vv_free(&engine->peers[peer].staged);
    engine->peers[peer] = (sk_peer){0};
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        engine->peers[m].neighbours &= ~((uint64_t)1 << peer);
        engine->peers[m].informed &= ~((uint64_t)1 << peer);
    }
    sk_stability_lowered(engine);
    members_changed(engine);
}

void sk_engine_set_laggard(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(sk_engine_is_peer(engine, peer));
    engine->peers[peer].laggard = true;
    engine->peers[peer].has_staged = false;
    sk_stability_release(engine);
}

void sk_engine_release(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_stability_release(engine);
}

int sk_engine_reincarnate(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    return sk_status_reincarnate(engine);
}

uint32_t sk_engine_find(const sk_engine *engine, sk_bytes region)
{
    for (uint32_t m = 0; m < engine->peer_count && region.len; m++)
        if (sk_bytes_equal(sk_bytes_str(engine->peers[m].region), region)) return m;
    return NO_PEER;
}

/* -- links --------------------------------------------------------------------------------------------------------- */

sk_track *sk_link_track(sk_engine *engine, sk_peer *peer, uint32_t origin)
{
    sk_assert(origin < engine->origins->count);
    if (origin >= peer->track_count) {
        uint32_t count = engine->origins->count;
        peer->tracks = sk_realloc(peer->tracks, count * sizeof *peer->tracks);
        for (uint32_t o = peer->track_count; o < count; o++) peer->tracks[o] = (sk_track){.lag_since_ms = NEVER};
        peer->track_count = count;
    }
    return &peer->tracks[origin];
}

static void send_bytes(sk_engine *engine, uint32_t peer, const sk_buf *message)
{
    engine->peers[peer].counts.sent_bytes += message->len;
    engine->host.send(engine->host.self, peer, sk_buf_view(message));
}

void sk_link_send(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    if (to->announced < engine->origins->count) {
        sk_buf origins = {0};
        sk_message_begin(&origins, SK_MESSAGE_ORIGINS);
        sk_message_pack_origins(&origins, engine->origins, to->announced);
        to->announced = engine->origins->count;
        send_bytes(engine, peer, &origins);
        sk_buf_free(&origins);
    }
    send_bytes(engine, peer, &engine->out);
    if (engine->out.cap > 4 * SK_MESSAGE_MAX) sk_buf_free(&engine->out);
}

static void send_goodbye(sk_engine *engine, uint32_t peer, int code)
{
    sk_message_begin(&engine->out, SK_MESSAGE_GOODBYE);
    sk_pack_int(&engine->out, code);
    send_bytes(engine, peer, &engine->out);
}

void sk_link_close(sk_engine *engine, uint32_t peer, int error, bool goodbye)
{
    if (engine->peers[peer].state == LINK_DOWN) return;
    if (goodbye) send_goodbye(engine, peer, error);
    clear_session(engine, peer);
    sk_status_spread(engine); /* a neighbour less is news */
    engine->host.hang_up(engine->host.self, peer, error);
}

void sk_engine_link_up(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(sk_engine_is_peer(engine, peer));
    clear_session(engine, peer);
    engine->peers[peer].state = LINK_GREETING;
    engine->peers[peer].heard_ms = engine->now_ms;
    sk_status_send_hello(engine, peer);
}

void sk_engine_link_down(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(peer < engine->peer_count);
    if (engine->peers[peer].state == LINK_DOWN) return;
    clear_session(engine, peer);
    sk_status_spread(engine);
}

static int take_goodbye(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    int code;
    int status = sk_goodbye_read(reader, &code);
    if (!status) sk_link_close(engine, peer, code, false);
    return status;
}

static int dispatch(sk_engine *engine, uint32_t peer, sk_bytes message)
{
    sk_reader reader = sk_reader_of(message);
    int type = sk_message_type_read(&reader);
    if (type < 0) return type;
    if (message.len > sk_message_max(type)) return SK_E_TOO_LARGE;
    if (type == SK_MESSAGE_GOODBYE) return take_goodbye(engine, peer, &reader);
    if ((type == SK_MESSAGE_HELLO) != (engine->peers[peer].state == LINK_GREETING)) return SK_E_PROTOCOL;
    switch (type) {
    case SK_MESSAGE_HELLO: return sk_status_hello(engine, peer, &reader);
    case SK_MESSAGE_ORIGINS: return sk_status_origins(engine, peer, &reader);
    case SK_MESSAGE_STATUS: return sk_status_status(engine, peer, &reader);
    case SK_MESSAGE_ENOUGH: return sk_send_enough(engine, peer, &reader);
    case SK_MESSAGE_RESEND: return sk_receive_resend(engine, peer, &reader);
    case SK_MESSAGE_BATCH:
        if (engine->incoming.peer == peer) engine->incoming.progress_ms = engine->now_ms; /* chunks queue behind it */
        return sk_receive_batch(engine, peer, &reader);
    default: return sk_transfer_message(engine, peer, type, &reader);
    }
}

void sk_engine_heard(sk_engine *engine, uint32_t peer, bool large, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(peer < engine->peer_count);
    engine->peers[peer].heard_ms = engine->now_ms;
    if (large && engine->incoming.peer == peer) engine->incoming.progress_ms = engine->now_ms;
}

void sk_engine_message(sk_engine *engine, uint32_t peer, sk_bytes message, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(peer < engine->peer_count);
    sk_peer *from = &engine->peers[peer];
    if (from->state == LINK_DOWN) return; /* it was closed, and these were still on their way */
    from->heard_ms = engine->now_ms;
    from->counts.last_heard_ms = engine->now_ms;
    from->counts.received_bytes += message.len;
    int status = dispatch(engine, peer, message);
    if (status < 0)
        sk_link_close(engine, peer, status, true);
    else
        sk_send_pump(engine, peer);
}

void sk_engine_writable(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(peer < engine->peer_count);
    sk_send_pump(engine, peer);
}

/* -- the store ----------------------------------------------------------------------------------------------------- */

void sk_engine_local(sk_engine *engine, const sk_txn *txn, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_ring_append(&engine->ring, txn);
}

void sk_engine_durable(sk_engine *engine, const sk_vv *durable, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    bool others = false; /* the peers learn how far our own is from the transactions themselves */
    for (uint32_t o = 0; o < durable->count; o++) {
        if (durable->seq[o] <= sk_vv_get(&engine->durable, o)) continue;
        others |= o != *engine->own;
        sk_vv_set(&engine->durable, o, durable->seq[o]);
    }
    sk_stability_touch(engine);
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        if (engine->peers[m].state != LINK_UP) continue;
        if (others) sk_sooner(&engine->peers[m].ack_at_ms, engine->now_ms + engine->limits.ack_ms);
        sk_send_pump(engine, m);
    }
}

void sk_engine_store_failed(sk_engine *engine)
{
    engine->store_failed = true;
    sk_transfer_close_sources(engine);
}

void sk_engine_joined(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_status_grown(engine);
    sk_receive_release(engine);
    sk_transfer_request(engine);
}

void sk_engine_retry(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_receive_release(engine);
}

int sk_engine_repair(sk_engine *engine, const sk_vv *least, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    return sk_transfer_repair(engine, least);
}

void sk_engine_compare_again(sk_engine *engine, uint32_t peer, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_assert(sk_engine_is_peer(engine, peer));
    sk_drift_again(engine, peer);
}

int sk_engine_known_elsewhere(sk_engine *engine, uint64_t seq, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    sk_status_grown(engine);
    return sk_status_amnesia(engine, seq);
}

static void cut(sk_vv *vv, uint32_t count)
{
    if (vv->count > count) vv->count = count;
}

/* Origins that were interned and not yet on disk are gone, and their numbers may come to mean others. */
static void forget_origins(sk_engine *engine)
{
    uint32_t count = engine->origins->count;
    cut(&engine->durable, count);
    cut(&engine->stable, count);
    cut(&engine->everywhere, count);
    cut(&engine->view_from, count);
    sk_receive_drop_all(engine); /* their dependencies name origins, too */
    engine->stable_waits = false;
    if (engine->fresh_origin >= count) engine->fresh_origin = SK_ORIGIN_UNKNOWN;
    if (engine->spent_origin >= count) engine->spent_origin = SK_ORIGIN_UNKNOWN;
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        sk_peer *member = &engine->peers[m];
        cut(&member->acked, count);
        cut(&member->staged, count);
        if (member->current >= count) member->current = SK_ORIGIN_UNKNOWN;
    }
    sk_status_grown(engine);
}

void sk_engine_rolled_back(sk_engine *engine, bool back, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    engine->store_failed = !back;
    bool lost = !sk_vv_at_most(&engine->durable, engine->applied); /* the disk lied about what was durable */
    bool shrunk = engine->origins->count < engine->origin_count;
    sk_transfer_rolled_back(engine);
    for (uint32_t o = 0; o < engine->ring.lane_count; o++)
        sk_ring_drop_above(&engine->ring, o, sk_vv_get(engine->applied, o));
    sk_receive_rolled_back(engine);
    sk_vv_meet(&engine->view_from, engine->applied); /* what is gone will not become durable */
    if (!lost && !shrunk) return;
    for (uint32_t m = 0; m < engine->peer_count; m++) sk_link_close(engine, m, SK_E_IO, true);
    sk_vv_meet(&engine->durable, engine->applied);
    sk_vv_meet(&engine->stable, &engine->durable);
    sk_vv_meet(&engine->everywhere, &engine->durable);
    if (shrunk) forget_origins(engine);
    for (uint32_t m = 0; lost && m < engine->peer_count; m++) engine->peers[m].has_staged = false;
    sk_stability_lowered(engine);
    if (lost) (void)sk_status_reincarnate(engine); /* where that fails, it is tried again */
}

/* -- time ---------------------------------------------------------------------------------------------------------- */

/* With all its news a heartbeat is large where regions are many, and links that come and go call for one every ack_ms. On a link
 * that does not move only so many wait. */
static void send_heartbeat(sk_engine *engine, uint32_t peer)
{
    if (engine->host.queued(engine->host.self, peer) > engine->limits.send_queue_max + GOSSIP_BYTES_MAX)
        engine->peers[peer].heartbeat_at_ms = engine->now_ms + BUSY_MS;
    else
        sk_status_send(engine, peer, true);
}

static void tick_link(sk_engine *engine, uint32_t peer)
{
    sk_peer *p = &engine->peers[peer];
    if (p->state == LINK_DOWN) return;
    if (engine->now_ms - p->heard_ms >= engine->limits.silence_ms) {
        sk_link_close(engine, peer, SK_E_TIMEOUT, false);
        return;
    }
    if (p->state != LINK_UP) return;
    if (engine->now_ms >= p->resend_at_ms) sk_receive_send_resend(engine, peer);
    if (engine->now_ms >= p->review_at_ms) sk_send_review(engine, peer);
    if (engine->now_ms >= p->heartbeat_at_ms) send_heartbeat(engine, peer);
    if (engine->now_ms >= p->ack_at_ms) sk_status_send(engine, peer, false);
    sk_send_pump(engine, peer);
}

void sk_engine_tick(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    if (sk_engine_must_not_write(engine)) (void)sk_status_reincarnate(engine);
    for (uint32_t m = 0; m < engine->peer_count; m++) tick_link(engine, m);
    sk_transfer_tick(engine);
    sk_drift_ask(engine);
    if (engine->now_ms >= engine->held_retry_at_ms) sk_receive_release(engine);
    sk_stability_tick(engine);
}

uint64_t sk_engine_next_ms(const sk_engine *engine)
{
    uint64_t next = engine->stable_at_ms;
    sk_sooner(&next, engine->held_retry_at_ms);
    sk_sooner(&next, sk_transfer_next_ms(engine));
    sk_sooner(&next, engine->now_ms + engine->limits.heartbeat_ms);
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        const sk_peer *p = &engine->peers[m];
        if (p->state == LINK_DOWN) continue;
        sk_sooner(&next, p->heard_ms + engine->limits.silence_ms);
        sk_sooner(&next, p->heartbeat_at_ms);
        sk_sooner(&next, p->ack_at_ms);
        sk_sooner(&next, p->resend_at_ms);
        sk_sooner(&next, p->review_at_ms);
        if (!p->blocked) sk_sooner(&next, p->flush_at_ms);
        if (p->out.wanted && !p->out.source) sk_sooner(&next, p->out.offer_at_ms);
    }
    return next;
}

void sk_engine_goodbye(sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    set_time(engine, now_ms, wall_ms);
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        sk_peer *p = &engine->peers[m];
        if (p->state == LINK_DOWN) continue;
        p->flush_at_ms = engine->now_ms; /* what waits for company goes now */
        sk_send_pump(engine, m);
        if (p->state == LINK_UP) sk_status_send(engine, m, false);
        send_goodbye(engine, m, SK_E_SHUTDOWN);
        clear_session(engine, m);
    }
}

/* -- questions ----------------------------------------------------------------------------------------------------- */

uint32_t sk_engine_peers(const sk_engine *engine)
{
    return engine->peer_count;
}

bool sk_engine_is_peer(const sk_engine *engine, uint32_t peer)
{
    return peer < engine->peer_count && sk_is_member(&engine->peers[peer]);
}

uint32_t sk_engine_others(const sk_engine *engine)
{
    uint32_t others = 0;
    for (uint32_t m = 0; m < engine->peer_count; m++) others += sk_is_member(&engine->peers[m]);
    return others;
}

sk_peer_status sk_engine_peer_status(const sk_engine *engine, uint32_t peer)
{
    sk_assert(sk_engine_is_peer(engine, peer));
    const sk_peer *p = &engine->peers[peer];
    sk_peer_status status = p->counts;
    status.region = p->region;
    status.up = p->state == LINK_UP;
    status.acked = &p->acked;
    status.drifts = p->drift.told;
    status.laggard = p->laggard;
    status.staged = p->has_staged ? &p->staged : NULL;
    status.clock_known = p->clock.known;
    status.clock_offset_ms = p->clock.known ? p->clock.base_ms + (int64_t)engine->now_ms - (int64_t)engine->wall_ms : 0;
    status.clock_error_ms = p->clock.trip_ms / 2;
    status.sending_transfer = p->out.source != NULL;
    status.receiving_transfer = engine->incoming.peer == peer;
    const sk_pace *pace = status.receiving_transfer ? &engine->incoming.pace : &p->out.pace;
    bool any = status.receiving_transfer || status.sending_transfer;
    status.comparing = status.receiving_transfer ? sk_reconcile_is_comparing(engine) : any && p->out.compares;
    status.transfer_left_ms = any ? sk_pace_left_ms(pace, engine->now_ms) : -1;
    if (!any) return status;
    status.transfer.rows = pace->all;
    status.transfer.done = pace->done;
    status.transfer.sent = status.receiving_transfer ? engine->incoming.rows_sent : p->out.rows_sent;
    return status;
}

sk_clock_status sk_engine_clock(const sk_engine *engine, uint64_t now_ms, uint64_t wall_ms)
{
    if (wall_ms > SK_SEQ_MAX) wall_ms = SK_SEQ_MAX;
    sk_clock_status status = {.known = engine->clock.known, .stamp_ms = sk_clock_bounded(&engine->clock, now_ms, wall_ms)};
    if (status.known) status.ahead_ms = (int64_t)wall_ms - (engine->clock.base_ms + (int64_t)now_ms);
    return status;
}

uint64_t sk_engine_rest_us(const sk_engine *engine, uint64_t worked_us)
{
    uint64_t share = engine->limits.transfer_share;
    return share && share < 100 ? worked_us * (100 - share) / share : 0;
}

void sk_engine_set_limits(sk_engine *engine, const sk_engine_limits *limits)
{
    bool other_rate = engine->limits.transfer_bytes_per_s != limits->transfer_bytes_per_s ||
                      engine->limits.transfer_share != limits->transfer_share;
    engine->limits.transfer_bytes_per_s = limits->transfer_bytes_per_s;
    engine->limits.transfer_share = limits->transfer_share;
    engine->limits.send_queue_max = limits->send_queue_max;
    if (!other_rate) return;
    for (uint32_t m = 0; m < engine->peer_count; m++) engine->peers[m].out.debt_us = 0;
    sk_reconcile_forgive(engine);
}

uint32_t sk_engine_holders(const sk_engine *engine, sk_dot dot)
{
    uint32_t holders = 0;
    for (uint32_t m = 0; m < engine->peer_count; m++) holders += sk_vv_covers(&engine->peers[m].acked, dot);
    return holders;
}

bool sk_engine_must_not_write(const sk_engine *engine)
{
    return *engine->own == engine->spent_origin;
}

const sk_vv *sk_engine_stable(const sk_engine *engine)
{
    return &engine->stable;
}

const sk_vv *sk_engine_everywhere(const sk_engine *engine)
{
    return &engine->everywhere;
}

bool sk_engine_is_current(const sk_engine *engine, uint32_t origin)
{
    bool current = origin == *engine->own;
    for (uint32_t m = 0; m < engine->peer_count && !current; m++)
        current = sk_is_member(&engine->peers[m]) && engine->peers[m].current == origin;
    return current;
}

/* What is told on must be read there. */
static void check_numbers(const sk_peer *peer)
{
    sk_assert(peer->term <= SK_SEQ_MAX);
    for (uint32_t o = 0; o < peer->acked.count; o++) sk_assert(peer->acked.seq[o] <= SK_SEQ_MAX);
}

static void check_link(const sk_engine *engine, const sk_peer *peer)
{
    check_numbers(peer);
    if (!sk_is_member(peer)) sk_assert(peer->state == LINK_DOWN && peer->acked.count == 0 && peer->term == 0);
    if (peer->state != LINK_UP) {
        sk_assert(peer->out.source == NULL);
        sk_assert(peer->track_count == 0);
        return;
    }
    sk_assert(peer->out.acked <= peer->out.sent);
    sk_assert(peer->out.sent - peer->out.acked <= engine->limits.transfer_window);
    sk_assert(sk_vv_at_most(&peer->told, &engine->durable));
    sk_assert(peer->announced <= engine->origins->count);
    for (uint32_t o = 0; o < peer->track_count; o++)
        if (peer->tracks[o].continues) sk_assert(peer->tracks[o].next <= sk_vv_get(&engine->durable, o) + 1);
}

void sk_engine_check(const sk_engine *engine)
{
    sk_assert(engine->term <= SK_SEQ_MAX);
    sk_assert(sk_vv_at_most(&engine->durable, engine->applied));
    sk_assert(sk_vv_at_most(&engine->stable, &engine->durable));
    sk_assert(sk_vv_at_most(&engine->everywhere, &engine->stable));
    sk_ring_check(&engine->ring);
    for (uint32_t o = 0; o < engine->ring.lane_count; o++)
        sk_assert(sk_ring_end(&engine->ring, o) <= sk_vv_get(engine->applied, o));
    sk_receive_check(engine);
    for (uint32_t m = 0; m < engine->peer_count; m++) check_link(engine, &engine->peers[m]);
    if (engine->incoming.peer != NO_PEER) sk_assert(engine->peers[engine->incoming.peer].state == LINK_UP);
}
