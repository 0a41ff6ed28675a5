/* Transfers: what the ring cannot bring.
 *
 *   sender                                receiver
 *   OFFER vv  ------------------------->  remembers it; when nothing else comes in and it lacks something of vv:
 *             <-------------------------  REQUEST number, what it has, how far an interrupted one had come
 *   opens a snapshot, BEGIN  ---------->  sink_begin
 *   CHUNK, at most `window` ahead  ---->  sink_chunk, CHUNK_ACK
 *   (rows of a chunk that no message could hold: PIECEs of it, then CHUNK with what is left)
 *   (a reconcile: questions and answers, see reconcile.c)
 *   END  ------------------------------>  sink_end: the atomic step
 *   either side: CANCEL, and both forget it; the sender offers again after relay_ms if the need is still there
 *
 * Numbers tell transfers of one link apart: what still arrives of a cancelled one is recognized and ignored.
 * Live batches go on meanwhile. After END the sender's cursors stand behind the snapshot's vector.
 *
 * A REQUEST without an offer asks for a repair: the receiver's rows are damaged (node/audit.h); or for an audit: it has other
 * rows at the same vector (drift.c). Both are reconciles in any case, and never resumed. After an audit the receiver's
 * vector is what it was, so it moves no cursors, and no history is kept for it.
 *
 * An interrupted transfer can go on only while the sender has the history since then: what is staged is brought forward
 * by it. So the sender forgets nothing above the vector of what the peer has staged (stability.c), from the moment that
 * their link comes up until the peer acknowledges that vector, or has staged what we have not ourselves. This costs history
 * only of origins that others bring the peer meanwhile, or it writes under itself: of all others stability waits for the
 * peer anyway.
 *
 * Invariants (sk_engine_check):
 *  1. sent - acked <= window.
 *  2. A source is open only while its link is up; the incoming transfer's peer is up. */
#include "gossip/engine_internal.h"

enum {
    STEPS_MAX = 32, /* chunks and answers that go in one turn */
    PAUSE_MS = 2,   /* after a turn in which the source did much */
};

/* -- both sides ---------------------------------------------------------------------------------------------------- */

static void send_cancel(sk_engine *engine, uint32_t peer, uint64_t number, bool by_source, int code)
{
    sk_message_begin(&engine->out, SK_MESSAGE_CANCEL);
    sk_pack_uint(&engine->out, number);
    sk_pack_bool(&engine->out, by_source);
    sk_pack_int(&engine->out, code);
    sk_link_send(engine, peer);
}

/* -- sending ------------------------------------------------------------------------------------------------------- */

static void close_source(sk_engine *engine, sk_peer *to)
{
    if (to->out.source) engine->host.source_close(engine->host.self, to->out.source);
    to->out.source = NULL;
    sk_buf_free(&to->out.questions);
    sk_buf_free(&to->out.rest);
    to->out.question_count = 0;
    to->out.reconcile = to->out.compares = to->out.gives = false;
}

static void give_up_sending(sk_engine *engine, uint32_t peer, int code)
{
    close_source(engine, &engine->peers[peer]);
    send_cancel(engine, peer, engine->peers[peer].out.number, true, code);
}

/* It is for us that there is no transfer now, and may be for long. */
static void cannot_send(sk_engine *engine, uint32_t peer, int code)
{
    give_up_sending(engine, peer, code);
    sk_send_live(&engine->peers[peer]);
}

static void send_offer(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    to->out.offer_at_ms = engine->now_ms + engine->limits.relay_ms;
    sk_message_begin(&engine->out, SK_MESSAGE_OFFER);
    sk_vv_pack(&engine->out, &engine->durable);
    sk_link_send(engine, peer);
}

/* From here on the live tier brings what follows. */
void sk_transfer_send_end(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    close_source(engine, to);
    to->counts.transfers_out++;
    sk_message_begin(&engine->out, SK_MESSAGE_END);
    sk_pack_uint(&engine->out, to->out.number);
    sk_link_send(engine, peer);
    if (to->out.purpose == SK_FOR_AUDIT) return;
    for (uint32_t o = 0; o < to->out.vv.count; o++) {
        if (sk_send_next(to, o) > to->out.vv.seq[o]) continue;
        sk_track *track = sk_link_track(engine, to, o);
        track->next = to->out.vv.seq[o] + 1;
        track->continues = false;
    }
    to->out.wanted = false;
}

/* A chunk, also an empty one when there has been nothing to say for long. */
static void put_chunk(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    to->out.progress_ms = engine->now_ms; /* it waits for the source, not for the peer */
    sk_transfer_counts counts = engine->host.source_counts(engine->host.self, to->out.source);
    to->out.rows_sent = counts.sent;
    sk_pace_tell(&to->out.pace, counts.rows, counts.done, engine->now_ms);
    if (engine->ops.len == 0 && engine->now_ms - to->out.said_ms < engine->limits.silence_ms / 4) return;
    sk_chunk_pack(&engine->out, to->out.number, &counts, sk_buf_view(&engine->ops));
    sk_link_send(engine, peer);
    to->out.sent++;
    to->out.said_ms = engine->now_ms;
    to->counts.sent_rows_bytes += engine->ops.len;
}

uint64_t sk_transfer_rest_us(sk_engine *engine)
{
    return engine->host.worked_us ? sk_engine_rest_us(engine, engine->host.worked_us(engine->host.self)) : 0;
}

void sk_transfer_charge(sk_engine *engine, uint32_t peer, size_t bytes)
{
    sk_outgoing *out = &engine->peers[peer].out;
    uint64_t rate = engine->limits.transfer_bytes_per_s;
    out->debt_us += sk_transfer_rest_us(engine);
    if (rate) out->debt_us += bytes * 1000000 / rate;
}

/* Waits for what went at the rate that was set; where that is long, the peer is told now and then that we are there. */
static bool is_throttled(sk_engine *engine, uint32_t peer)
{
    sk_outgoing *out = &engine->peers[peer].out;
    uint64_t pause = out->debt_us / 1000, most = engine->limits.silence_ms / 4;
    if (pause == 0 || out->rest.len) return false; /* between pieces no chunk can say that we are there */
    if (pause > most) pause = most;
    out->debt_us -= pause * 1000;
    out->again_at_ms = engine->now_ms + pause;
    sk_buf_reset(&engine->ops);
    put_chunk(engine, peer);
    return true;
}

/* The next piece of a chunk, or what is left of it. */
static void send_piece(sk_engine *engine, uint32_t peer)
{
    sk_outgoing *out = &engine->peers[peer].out;
    size_t max = engine->limits.chunk_max < SK_PIECE_MAX ? engine->limits.chunk_max : SK_PIECE_MAX;
    size_t left = out->rest.len - out->rest_at, len = left < max ? left : max;
    sk_bytes piece = sk_bytes_of(out->rest.data + out->rest_at, len);
    out->rest_at += len;
    out->progress_ms = engine->now_ms;
    if (len < left) {
        sk_piece_pack(&engine->out, out->number, piece);
        sk_link_send(engine, peer);
        engine->peers[peer].counts.sent_rows_bytes += len;
        return;
    }
    sk_buf_reset(&engine->ops);
    sk_buf_bytes(&engine->ops, piece);
    sk_buf_free(&out->rest);
    put_chunk(engine, peer);
}

/* One chunk. False when there is no more to send for now. */
static bool send_chunk(sk_engine *engine, uint32_t peer)
{
    sk_outgoing *out = &engine->peers[peer].out;
    sk_buf_reset(&engine->ops);
    int more = engine->host.source_chunk(engine->host.self, out->source, engine->limits.chunk_bytes, &engine->ops);
    sk_transfer_charge(engine, peer, engine->ops.len);
    if (more < 0) {
        cannot_send(engine, peer, more);
        return false;
    }
    if (engine->ops.len > engine->limits.chunk_max) { /* whether it was the last one the source says again */
        out->rest = engine->ops;
        out->rest_at = 0;
        engine->ops = (sk_buf){0};
        return true;
    }
    if (engine->ops.len == 0 && more) out->again_at_ms = engine->now_ms + PAUSE_MS;
    if (engine->ops.len || more) put_chunk(engine, peer);
    if (more) return engine->ops.len > 0;
    out->gives = false;
    if (out->compares) return true;
    if (out->reconcile)
        sk_reconcile_send_compare(engine, peer);
    else
        sk_transfer_send_end(engine, peer);
    return out->source != NULL;
}

/* A chunk, or what else is to be sent. False when there is no more for now. */
static bool send_next(sk_engine *engine, uint32_t peer)
{
    sk_outgoing *out = &engine->peers[peer].out;
    if (out->rest.len) {
        send_piece(engine, peer);
        return true;
    }
    if (out->compares && !out->gives) {
        int more = sk_reconcile_answer(engine, peer);
        if (more < 0 && sk_error_class(more) == SK_CLASS_HANGUP)
            sk_link_close(engine, peer, more, true);
        else if (more < 0)
            cannot_send(engine, peer, more);
        return more > 0;
    }
    return out->sent - out->acked < engine->limits.transfer_window && send_chunk(engine, peer);
}

void sk_transfer_pump(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    if (!to->out.source) {
        if (to->out.wanted && engine->now_ms >= to->out.offer_at_ms) send_offer(engine, peer);
        return;
    }
    for (int i = 0; i < STEPS_MAX && engine->now_ms >= to->out.again_at_ms; i++) {
        if (engine->host.queued(engine->host.self, peer) > engine->limits.send_queue_max) {
            to->out.progress_ms = engine->now_ms; /* it waits for the link, not for the peer */
            return;
        }
        if (is_throttled(engine, peer) || !send_next(engine, peer)) return;
    }
    if (engine->now_ms >= to->out.again_at_ms) to->out.again_at_ms = engine->now_ms + PAUSE_MS;
}

static int open_source(sk_engine *engine, uint32_t peer, const sk_request *request, sk_transfer_head *head)
{
    sk_peer *to = &engine->peers[peer];
    sk_transfer_progress progress = {.vv = request->vv, .reconcile = request->reconcile};
    sk_buf_bytes(&progress.cursor, request->cursor);
    head->purpose = request->purpose;
    int status = engine->host.source_open(engine->host.self, &request->known, request->resumable ? &progress : NULL,
                                          &to->out.source, head);
    sk_buf_free(&progress.cursor);
    return status;
}

static void start_sending(sk_engine *engine, uint32_t peer, const sk_request *request)
{
    sk_peer *to = &engine->peers[peer];
    close_source(engine, to);
    to->out.number = request->number;
    to->out.purpose = request->purpose;
    to->out.sent = to->out.acked = to->out.debt_us = to->out.rows_sent = 0;
    to->out.pace = (sk_pace){0};
    to->out.progress_ms = to->out.said_ms = to->out.again_at_ms = engine->now_ms;
    to->out.offer_at_ms = engine->now_ms + engine->limits.relay_ms;
    sk_transfer_head head = {0};
    int status = open_source(engine, peer, request, &head);
    if (status) {
        to->out.source = NULL;
        cannot_send(engine, peer, status);
        if (status == SK_E_BUSY) to->out.offer_at_ms = engine->now_ms + BUSY_MS;
        if (status == SK_E_BUSY && request->resumable) { /* it is to go on with that soon */
            sk_vv_copy(&to->staged, &request->vv);
            to->has_staged = true;
        }
    } else {
        sk_begin begin = {request->number, head.vv, head.floor, head.reconcile, head.resumed};
        sk_message_begin(&engine->out, SK_MESSAGE_BEGIN);
        sk_begin_pack(&engine->out, &begin);
        sk_link_send(engine, peer);
        to->out.reconcile = head.reconcile;
        sk_vv_copy(&to->out.vv, &head.vv);
    }
    if (!status && request->purpose != SK_FOR_AUDIT) {
        sk_vv_copy(&to->staged, head.resumed ? &request->vv : &head.vv);
        to->has_staged = true;
    }
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

/* It has not said yet what it has staged of a transfer of ours, and we may have started since: it is of no more than we have
 * now, as long as nobody but the two of us has written. For a laggard no history is kept on suspicion. */
void sk_transfer_may_be_staged(sk_engine *engine, sk_peer *to)
{
    if (to->has_staged || to->laggard) return;
    sk_vv_copy(&to->staged, engine->applied);
    to->has_staged = true;
}

static int take_request(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *to = &engine->peers[peer];
    sk_request request;
    int status = sk_request_read(reader, &to->map, &request);
    if (!status && request.number <= to->out.number) status = SK_E_PROTOCOL;
    if (!status) status = sk_status_amnesia(engine, sk_vv_get(&request.known, *engine->own));
    if (!status) start_sending(engine, peer, &request);
    sk_vv_free(&request.known);
    sk_vv_free(&request.vv);
    return status;
}

static int take_chunk_ack(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *to = &engine->peers[peer];
    uint64_t number, chunks;
    int status = sk_chunk_ack_read(reader, &number, &chunks);
    if (status) return status;
    if (number > to->out.number) return SK_E_PROTOCOL;
    if (number < to->out.number) return 0;
    if (chunks > to->out.sent || chunks < to->out.acked) return SK_E_PROTOCOL;
    to->out.acked = chunks;
    to->out.progress_ms = engine->now_ms;
    return 0;
}

/* -- receiving ----------------------------------------------------------------------------------------------------- */

/* Its staged progress stays with the host. */
static void forget_incoming(sk_engine *engine)
{
    sk_reconcile_end(engine);
    sk_buf_free(&engine->incoming.pieces);
    engine->incoming = (sk_incoming){.peer = NO_PEER, .retry_at_ms = engine->now_ms + BUSY_MS};
}

static void give_up_receiving(sk_engine *engine, int code)
{
    uint32_t peer = engine->incoming.peer;
    uint64_t number = engine->incoming.number;
    engine->peers[peer].has_offer = false;
    forget_incoming(engine);
    send_cancel(engine, peer, number, false, code);
}

void sk_transfer_ask(sk_engine *engine, uint32_t peer, sk_purpose purpose)
{
    sk_peer *from = &engine->peers[peer];
    bool news = purpose == SK_FOR_NEWS;
    from->has_offer &= !news;
    engine->incoming = (sk_incoming){.peer = peer,
                                     .number = ++from->requested,
                                     .progress_ms = engine->now_ms,
                                     .retry_at_ms = NEVER,
                                     .purpose = purpose,
                                     .difference = from->drift.difference};
    sk_transfer_progress progress = {0};
    sk_request request = {.number = from->requested, .known = *engine->applied, .purpose = purpose};
    request.resumable = news && engine->host.sink_progress(engine->host.self, &progress) == 1;
    request.vv = progress.vv;
    request.reconcile = progress.reconcile;
    request.cursor = sk_buf_view(&progress.cursor);
    sk_message_begin(&engine->out, SK_MESSAGE_REQUEST);
    sk_request_pack(&engine->out, &request);
    sk_link_send(engine, peer);
    sk_vv_free(&progress.vv);
    sk_buf_free(&progress.cursor);
}

void sk_transfer_request(sk_engine *engine)
{
    if (engine->incoming.peer != NO_PEER) return;
    engine->incoming.retry_at_ms = NEVER;
    if (engine->store_failed) return; /* it is offered again */
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        sk_peer *from = &engine->peers[m];
        if (!from->has_offer || from->state != LINK_UP) continue;
        if (sk_vv_at_most(&from->offer, engine->applied)) {
            from->has_offer = false;
            continue;
        }
        if (engine->host.sink_busy(engine->host.self)) {
            engine->incoming.retry_at_ms = engine->now_ms + BUSY_MS;
            return;
        }
        sk_transfer_ask(engine, m, SK_FOR_NEWS);
        return;
    }
}

int sk_transfer_repair(sk_engine *engine, const sk_vv *least)
{
    if (!sk_transfer_may_ask(engine) || engine->host.sink_busy(engine->host.self)) return 0;
    int status = 0;
    for (uint32_t i = 0; i < engine->peer_count; i++) {
        uint32_t m = (engine->repair_from + i) % engine->peer_count;
        if (engine->peers[m].state != LINK_UP) continue;
        status = SK_E_GAP;
        if (!sk_vv_at_most(least, &engine->peers[m].vv)) continue;
        engine->repair_from = m + 1;
        sk_transfer_ask(engine, m, SK_FOR_REPAIR);
        return 1;
    }
    return status;
}

static int take_offer(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *from = &engine->peers[peer];
    sk_vv offer = {0};
    int status = sk_vector_read(reader, &from->map, &offer);
    if (!status) status = sk_status_amnesia(engine, sk_vv_get(&offer, *engine->own));
    if (!status) {
        sk_vv_copy(&from->offer, &offer);
        from->has_offer = true;
        sk_transfer_request(engine);
    }
    sk_vv_free(&offer);
    return status;
}

/* Is this number of the transfer that comes in? 1: yes; 0: of an earlier one, ignore it; or SK_E_PROTOCOL. */
static int is_incoming(const sk_engine *engine, uint32_t peer, uint64_t number)
{
    if (number == 0 || number > engine->peers[peer].requested) return SK_E_PROTOCOL;
    return engine->incoming.peer == peer && engine->incoming.number == number;
}

int sk_transfer_sink_failed(sk_engine *engine, int status)
{
    if (sk_error_class(status) == SK_CLASS_HANGUP) return status;
    give_up_receiving(engine, status);
    return 0;
}

static int take_begin(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_begin begin;
    int status = sk_begin_read(reader, &engine->peers[peer].map, &begin);
    int ours = status ? status : is_incoming(engine, peer, begin.number);
    if (ours > 0 && (engine->incoming.begun || (engine->incoming.purpose && !begin.reconcile))) ours = SK_E_PROTOCOL;
    if (ours > 0) status = sk_status_amnesia(engine, sk_vv_get(&begin.vv, *engine->own));
    if (ours > 0 && !status) {
        sk_transfer_head head = {.vv = begin.vv, .floor = begin.floor, .reconcile = begin.reconcile, .resumed = begin.resumed};
        head.purpose = engine->incoming.purpose;
        head.from = engine->peers[peer].region;
        head.difference = engine->incoming.difference;
        engine->incoming.begun = true;
        engine->incoming.progress_ms = engine->now_ms;
        if (begin.reconcile) sk_reconcile_begin(engine, &begin.vv);
        status = engine->host.sink_begin(engine->host.self, &head);
        if (status) status = sk_transfer_sink_failed(engine, status);
    }
    sk_vv_free(&begin.vv);
    sk_vv_free(&begin.floor);
    return ours < 0 ? ours : status;
}

void sk_transfer_send_chunk_ack(sk_engine *engine)
{
    sk_message_begin(&engine->out, SK_MESSAGE_CHUNK_ACK);
    sk_pack_uint(&engine->out, engine->incoming.number);
    sk_pack_uint(&engine->out, engine->incoming.chunks);
    sk_link_send(engine, engine->incoming.peer);
}

/* May rows of it come now? As is_incoming. */
static int is_open(const sk_engine *engine, uint32_t peer, uint64_t number)
{
    int status = is_incoming(engine, peer, number);
    bool open = engine->incoming.begun && !sk_reconcile_is_finishing(engine);
    return status > 0 && !open ? SK_E_PROTOCOL : status;
}

static int take_piece(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    uint64_t number;
    sk_bytes rows;
    int status = sk_piece_read(reader, &number, &rows);
    if (!status) status = is_open(engine, peer, number);
    if (status <= 0) return status;
    sk_buf *pieces = &engine->incoming.pieces;
    if (rows.len == 0) return SK_E_MALFORMED;
    if (rows.len > SK_CHUNK_MAX - pieces->len) return SK_E_TOO_LARGE;
    sk_buf_bytes(pieces, rows);
    engine->peers[peer].counts.received_rows_bytes += rows.len;
    engine->incoming.progress_ms = engine->now_ms;
    return 0;
}

/* The rows of a chunk, behind the pieces that came before it. */
static int sink_rows(sk_engine *engine, uint32_t peer, sk_bytes rows)
{
    sk_buf *pieces = &engine->incoming.pieces;
    const sk_origin_map *map = &engine->peers[peer].map;
    if (pieces->len == 0) return engine->host.sink_chunk(engine->host.self, rows, map);
    sk_buf_bytes(pieces, rows);
    int status = engine->host.sink_chunk(engine->host.self, sk_buf_view(pieces), map);
    sk_buf_free(pieces);
    return status;
}

static int take_chunk(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    uint64_t number;
    sk_transfer_counts counts;
    sk_bytes rows;
    int status = sk_chunk_read(reader, &number, &counts, &rows);
    if (!status) status = is_open(engine, peer, number);
    if (status <= 0) return status;
    status = sink_rows(engine, peer, rows);
    if (status) return sk_transfer_sink_failed(engine, status);
    engine->peers[peer].counts.received_rows_bytes += rows.len;
    engine->incoming.rows_sent = counts.sent;
    if (!sk_reconcile_is_comparing(engine)) sk_pace_tell(&engine->incoming.pace, counts.rows, counts.done, engine->now_ms);
    engine->incoming.progress_ms = engine->now_ms;
    engine->incoming.chunks++;
    sk_transfer_send_chunk_ack(engine);
    return 0;
}

/* What only a reconcile has, to its receiver. */
static int take_told(sk_engine *engine, uint32_t peer, int type, sk_reader *reader)
{
    sk_reader look = *reader;
    int status = is_incoming(engine, peer, sk_read_uint(&look));
    return status > 0 ? sk_reconcile_told(engine, type, reader) : status;
}

int sk_transfer_finish(sk_engine *engine)
{
    uint32_t peer = engine->incoming.peer;
    int status = engine->host.sink_end(engine->host.self);
    if (status > 0) sk_reconcile_finish(engine); /* only an audit, which is one */
    if (status) return status > 0 ? 0 : sk_transfer_sink_failed(engine, status);
    if (engine->incoming.purpose == SK_FOR_AUDIT) sk_drift_compared(engine, peer, engine->incoming.difference);
    engine->peers[peer].counts.transfers_in++;
    forget_incoming(engine);
    sk_receive_release(engine);
    sk_transfer_request(engine);
    return 0;
}

static int take_end(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    uint64_t number;
    int status = sk_end_read(reader, &number);
    if (!status) status = is_incoming(engine, peer, number);
    if (status <= 0) return status;
    if (!engine->incoming.begun || !sk_reconcile_is_through(engine)) return SK_E_PROTOCOL;
    return sk_transfer_finish(engine);
}

static int take_cancel(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *other = &engine->peers[peer];
    uint64_t number;
    bool by_source;
    int code;
    int status = sk_cancel_read(reader, &number, &by_source, &code);
    if (status) return status;
    if (by_source) {
        status = is_incoming(engine, peer, number);
        if (status > 0) forget_incoming(engine);
        return status < 0 ? status : 0;
    }
    if (number > other->out.number) return SK_E_PROTOCOL;
    if (number < other->out.number) return 0;
    close_source(engine, other);
    other->out.offer_at_ms = engine->now_ms + engine->limits.relay_ms;
    if (other->out.purpose != SK_FOR_AUDIT)
        sk_send_rewind(engine, peer, &other->vv); /* also after END: its last step failed there */
    return 0;
}

int sk_transfer_message(sk_engine *engine, uint32_t peer, int type, sk_reader *reader)
{
    switch (type) {
    case SK_MESSAGE_OFFER: return take_offer(engine, peer, reader);
    case SK_MESSAGE_REQUEST: return take_request(engine, peer, reader);
    case SK_MESSAGE_BEGIN: return take_begin(engine, peer, reader);
    case SK_MESSAGE_CHUNK: return take_chunk(engine, peer, reader);
    case SK_MESSAGE_PIECE: return take_piece(engine, peer, reader);
    case SK_MESSAGE_CHUNK_ACK: return take_chunk_ack(engine, peer, reader);
    case SK_MESSAGE_END: return take_end(engine, peer, reader);
    case SK_MESSAGE_CANCEL: return take_cancel(engine, peer, reader);
    case SK_MESSAGE_COMPARE:
    case SK_MESSAGE_PARTS:
    case SK_MESSAGE_ROWS: return take_told(engine, peer, type, reader);
    default: return sk_reconcile_asked(engine, peer, type, reader); /* ASK, WANT and DONE: there are no other types */
    }
}

/* -- ends that come from elsewhere --------------------------------------------------------------------------------- */

void sk_transfer_link_down(sk_engine *engine, uint32_t peer)
{
    close_source(engine, &engine->peers[peer]);
    if (engine->incoming.peer == peer) forget_incoming(engine);
}

void sk_transfer_close_sources(sk_engine *engine)
{
    for (uint32_t m = 0; m < engine->peer_count; m++)
        if (engine->peers[m].out.source) give_up_sending(engine, m, SK_E_IO);
}

void sk_transfer_rolled_back(sk_engine *engine)
{
    sk_transfer_close_sources(engine);
    if (engine->incoming.peer != NO_PEER) give_up_receiving(engine, SK_E_IO);
}

void sk_transfer_tick(sk_engine *engine)
{
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        const sk_peer *to = &engine->peers[m];
        if (to->out.source && engine->now_ms - to->out.progress_ms >= engine->limits.silence_ms)
            give_up_sending(engine, m, SK_E_TIMEOUT);
    }
    if (engine->incoming.peer != NO_PEER && engine->now_ms - engine->incoming.progress_ms >= engine->limits.silence_ms)
        give_up_receiving(engine, SK_E_TIMEOUT);
    if (engine->now_ms >= engine->incoming.retry_at_ms) sk_transfer_request(engine);
    uint32_t peer = engine->incoming.peer;
    int status = sk_reconcile_pump(engine);
    if (status) sk_link_close(engine, peer, status, true);
}

uint64_t sk_transfer_next_ms(const sk_engine *engine)
{
    uint64_t next = engine->incoming.retry_at_ms;
    sk_sooner(&next, sk_reconcile_next_ms(engine));
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        const sk_outgoing *out = &engine->peers[m].out;
        if (out->source) sk_sooner(&next, out->progress_ms + engine->limits.silence_ms);
        if (out->source && out->again_at_ms > engine->now_ms) sk_sooner(&next, out->again_at_ms);
    }
    if (engine->incoming.peer != NO_PEER) sk_sooner(&next, engine->incoming.progress_ms + engine->limits.silence_ms);
    return next;
}
