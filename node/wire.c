#include "node/wire.h"

#include "node/log.h"
#include "node/server.h"

#include <netinet/tcp.h>
#include <sodium.h>
#include <stdlib.h>

enum {
    KEEPALIVE_S = 15,         /* of a silent connection, until the system asks whether the other end is there */
    UNACKED_MS_MAX = 60000,   /* what was sent and not taken for so long breaks the connection */
    LINGER_MS = 1000,
    SPARE_BYTES_MAX = 256 * 1024, /* of an idle connection's buffers */
    WINDOW_MIN = 64 * 1024,
    RATE_FIRST = 256 * 1024,      /* what a link is thought to carry in a second before it has shown it */
    LARGE_BYTES = 4096,           /* of a message that has not all come: no heartbeat */
    TELLING_BYTES = 64 * 1024,    /* the least piece that says how fast a link is */
    LIMITED_PIECE_MS = 20,        /* under a limit, pieces are what it allows in so long, */
    LIMITED_PIECE_MIN = 1400,     /* or a packet */
};

/* -- the end ------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    sk_wire *wire = handle->data;
    sk_noise_channel_wipe(&wire->channel);
    sk_frame_encoder_free(&wire->encoder);
    sk_frame_decoder_free(&wire->decoder);
    sk_buf_free(&wire->in);
    sk_buf_free(&wire->filling);
    sk_buf_free(&wire->writing);
    free(wire);
}

static void forget_handshake(sk_wire *wire)
{
    if (!wire->handshake) return;
    sk_handshake_wipe(wire->handshake);
    free(wire->handshake);
    wire->handshake = NULL;
}

static void leave_strangers(sk_wire *wire)
{
    if (sk_list_empty(&wire->strangers)) return;
    sk_list_remove(&wire->strangers);
    wire->links->stranger_count--;
}

void sk_wire_close(sk_wire *wire)
{
    if (wire->state == SK_WIRE_CLOSED) return;
    wire->state = SK_WIRE_CLOSED;
    forget_handshake(wire);
    leave_strangers(wire);
    sk_list_remove(&wire->all);
    sk_link_reschedule(wire->links);
    uv_close((uv_handle_t *)&wire->tcp, on_closed);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    sk_wire *wire = shutdown->data;
    if (status < 0) sk_wire_close(wire); /* else the other side closes, or the deadline comes */
}

static void shut(sk_wire *wire)
{
    wire->shutdown.data = wire;
    if (uv_shutdown(&wire->shutdown, (uv_stream_t *)&wire->tcp, on_shut) != 0) sk_wire_close(wire);
}

/* Closing a socket with unread input would reset the connection, and what was written last be lost: so the sending side
 * is shut, and what still comes is read and dropped for a moment. */
void sk_wire_end(sk_wire *wire)
{
    if (wire->state == SK_WIRE_CLOSED || wire->state == SK_WIRE_LINGER) return;
    if (wire->state == SK_WIRE_CONNECTING) {
        sk_wire_close(wire);
        return;
    }
    wire->state = SK_WIRE_LINGER;
    sk_wire_flush(wire);
    if (wire->state == SK_WIRE_CLOSED) return;
    forget_handshake(wire);
    wire->deadline_ms = wire->links->replica->now_ms + LINGER_MS;
    sk_link_reschedule(wire->links);
    sk_wire_update(wire);
    if (sk_wire_queued(wire) == 0) shut(wire);
}

static void lose(sk_wire *wire, int error, const char *why)
{
    if (wire->state == SK_WIRE_CLOSED) return;
    if (wire->state != SK_WIRE_LINGER) sk_link_lost(wire, error, why);
    sk_wire_close(wire);
}

/* -- output -------------------------------------------------------------------------------------------------------- */

static void give_back(sk_buf *buf)
{
    sk_buf_reset(buf);
    if (buf->cap > SPARE_BYTES_MAX) sk_buf_free(buf);
}

size_t sk_wire_window(const sk_wire *wire)
{
    const sk_links *links = wire->links;
    uint64_t most = links->config->replication.send_window, limit = links->config->replication.bytes_per_s;
    uint64_t rate = limit && limit < wire->bytes_per_s ? limit : wire->bytes_per_s;
    if (rate < WINDOW_MIN) rate = WINDOW_MIN;
    return rate < most ? rate : most;
}

/* Slower than was thought counts soon; faster may only mean that the system had room for it. */
static void learn_rate(sk_wire *wire, uint64_t ms)
{
    if (wire->piece < TELLING_BYTES) return;
    uint64_t rate = wire->piece * 1000 / (ms ? ms : 1), known = wire->bytes_per_s;
    if (rate < known)
        wire->bytes_per_s = (known * 3 + rate) / 4;
    else
        wire->bytes_per_s = rate < known * 2 ? rate : known * 2;
}

/* How much of `len` bytes may go now. 0: nothing until send_at_ms. */
static size_t allowance(sk_wire *wire, size_t len)
{
    uint64_t limit = wire->links->config->replication.bytes_per_s, now = wire->links->replica->now_ms;
    wire->send_at_ms = 0;
    if (limit == 0 || wire->state != SK_WIRE_UP) return len;
    uint64_t most = limit / (1000 / LIMITED_PIECE_MS), gone_ms = now - wire->allowed_ms;
    if (most < LIMITED_PIECE_MIN) most = LIMITED_PIECE_MIN;
    wire->allowed += limit * (gone_ms < 1000 ? gone_ms : 1000) / 1000;
    if (wire->allowed > most) wire->allowed = most;
    wire->allowed_ms = now;
    if (len > most) len = most;
    if (wire->allowed >= len) {
        wire->allowed -= len;
        return len;
    }
    wire->send_at_ms = now + (len - wire->allowed) * 1000 / limit + 1;
    sk_link_reschedule(wire->links);
    return 0;
}

static void on_written(uv_write_t *write, int status)
{
    sk_wire *wire = write->data;
    sk_links *links = wire->links;
    if (wire->state == SK_WIRE_CLOSED) return;
    links->event(links->self);
    if (status < 0) {
        lose(wire, SK_E_IO, uv_strerror(status));
        return;
    }
    learn_rate(wire, links->replica->now_ms - wire->piece_ms);
    wire->written += wire->piece;
    wire->piece = 0;
    size_t enough = sk_wire_window(wire) / 2;
    if (wire->state == SK_WIRE_UP && !wire->doom && wire->queue_peak >= enough && sk_wire_queued(wire) < enough) {
        wire->queue_peak = 0;
        sk_replica_writable(links->replica, (uint32_t)wire->peer);
    }
    sk_wire_flush(wire);
    if (wire->state == SK_WIRE_LINGER && sk_wire_queued(wire) == 0) shut(wire);
}

/* One write at a time: the rest of the last, or everything that has gathered meanwhile. */
void sk_wire_flush(sk_wire *wire)
{
    if (wire->state == SK_WIRE_CLOSED || wire->state == SK_WIRE_CONNECTING || wire->piece) return;
    if (wire->written == wire->writing.len) {
        give_back(&wire->writing);
        wire->written = 0;
        if (wire->filling.len == 0) return;
        sk_buf full = wire->filling;
        wire->filling = wire->writing;
        wire->writing = full;
    }
    size_t left = wire->writing.len - wire->written, window = sk_wire_window(wire);
    wire->piece = allowance(wire, left < window ? left : window);
    if (wire->piece == 0) return;
    wire->piece_ms = wire->links->replica->now_ms;
    wire->write.data = wire;
    uv_buf_t piece = {.base = (char *)wire->writing.data + wire->written, .len = wire->piece};
    int status = uv_write(&wire->write, (uv_stream_t *)&wire->tcp, &piece, 1, on_written);
    if (status) lose(wire, SK_E_IO, uv_strerror(status));
}

int sk_wire_send(sk_wire *wire, sk_bytes message)
{
    const sk_links *links = wire->links;
    uint64_t after = links->config->replication.rekey_after, now = links->replica->now_ms;
    wire->encoder.compress_min = wire->may_compress ? links->config->replication.compress_min : 0;
    if (after && now - wire->rekeyed_ms >= after) {
        wire->encoder.rekey = true;
        wire->rekeyed_ms = now;
    }
    int status = sk_frame_encode(&wire->encoder, &wire->channel, message, &wire->filling);
    if (sk_wire_queued(wire) > wire->queue_peak) wire->queue_peak = sk_wire_queued(wire);
    return status;
}

/* -- input --------------------------------------------------------------------------------------------------------- */

static void establish(sk_wire *wire)
{
    leave_strangers(wire);
    wire->state = SK_WIRE_UP;
    wire->deadline_ms = 0;
    wire->up_ms = wire->heard_ms = wire->links->replica->now_ms;
    sk_link_reschedule(wire->links);
    sk_link_established(wire);
}

static void decode(sk_wire *wire, sk_bytes input)
{
    sk_bytes message;
    int status;
    while ((status = sk_frame_decode(&wire->decoder, &wire->channel, &input, &message)) == SK_OK) {
        if (wire->state == SK_WIRE_CONFIRM && message.len == 0)
            establish(wire);
        else if (wire->state == SK_WIRE_UP)
            sk_replica_message(wire->links->replica, (uint32_t)wire->peer, message);
        else
            lose(wire, SK_E_PROTOCOL, "its first record is not the empty one that ends a handshake");
        if (wire->state != SK_WIRE_UP || wire->doom) return;
    }
    if (status != SK_E_PARTIAL) lose(wire, status, sk_error_text(status));
}

/* The handshake is over on this side; `rest` are records. */
static void begin_channel(sk_wire *wire, sk_bytes rest)
{
    sk_assert(wire->handshake->step == SK_HANDSHAKE_OVER);
    sk_buf in = wire->in; /* what `rest` points into */
    wire->in = (sk_buf){0};
    wire->peer = wire->handshake->peer;
    wire->may_compress = wire->handshake->features & SK_FEATURE_COMPRESSED;
    wire->bytes_per_s = RATE_FIRST;
    wire->rekeyed_ms = wire->links->replica->now_ms;
    sk_frame_decoder_init(&wire->decoder, SK_FRAME_MESSAGE_MAX, wire->handshake->own_features & SK_FEATURE_COMPRESSED);
    memcpy(wire->key, wire->handshake->key, sizeof wire->key);
    forget_handshake(wire);
    if (wire->initiator) {
        int status = sk_wire_send(wire, SK_BYTES_NONE);
        sk_assert(status == SK_OK); /* the first record of a channel, into a buffer without a limit */
        sk_wire_flush(wire);
        if (wire->state != SK_WIRE_CLOSED) establish(wire);
    } else {
        wire->state = SK_WIRE_CONFIRM;
        sk_wire_flush(wire);
    }
    if (rest.len && (wire->state == SK_WIRE_UP || wire->state == SK_WIRE_CONFIRM)) decode(wire, rest);
    sk_buf_free(&in);
}

static void shake_hands(sk_wire *wire, sk_bytes fresh)
{
    uint8_t random[SK_NOISE_KEY];
    if (wire->in.len + fresh.len > SK_HANDSHAKE_INPUT_MAX) {
        lose(wire, SK_E_MALFORMED, "it sent more than a handshake has");
        return;
    }
    sk_buf_bytes(&wire->in, fresh);
    sk_bytes rest = sk_buf_view(&wire->in);
    randombytes_buf(random, sizeof random);
    int status = sk_handshake_input(wire->handshake, &rest, random, &wire->filling, &wire->channel);
    sodium_memzero(random, sizeof random);
    if (status == SK_OK) {
        begin_channel(wire, rest);
    } else if (status == SK_E_PARTIAL) {
        sk_buf_consume(&wire->in, wire->in.len - rest.len);
    } else {
        sk_link_lost(wire, status, wire->handshake->why);
        sk_wire_end(wire); /* with the refusal */
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    sk_links *links = ((sk_wire *)handle->data)->links;
    *buf = uv_buf_init((char *)links->read, sizeof links->read);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    sk_wire *wire = stream->data;
    sk_links *links = wire->links;
    if (len == 0 || wire->state == SK_WIRE_CLOSED) return;
    links->event(links->self);
    if (len < 0) {
        lose(wire, SK_E_IO, len == UV_EOF ? "the other side closed the connection" : uv_strerror((int)len));
        return;
    }
    wire->heard_ms = links->replica->now_ms;
    sk_bytes fresh = sk_bytes_of(buf->base, (size_t)len);
    switch (wire->state) {
    case SK_WIRE_HANDSHAKE: shake_hands(wire, fresh); break;
    case SK_WIRE_CONFIRM:
    case SK_WIRE_UP:
        if (wire->doom) break;
        decode(wire, fresh);
        if (wire->state == SK_WIRE_UP && !wire->doom)
            sk_replica_heard(links->replica, (uint32_t)wire->peer, sk_frame_pending(&wire->decoder) >= LARGE_BYTES);
        break;
    default: break; /* lingering: dropped */
    }
}

void sk_wire_update(sk_wire *wire)
{
    uv_stream_t *stream = (uv_stream_t *)&wire->tcp;
    if (wire->state == SK_WIRE_CLOSED || wire->state == SK_WIRE_CONNECTING) return;
    if (wire->state == SK_WIRE_UP && wire->links->paused) {
        uv_read_stop(stream);
        return;
    }
    int status = uv_read_start(stream, on_alloc, on_read);
    if (status && status != UV_EALREADY) lose(wire, SK_E_IO, uv_strerror(status));
}

/* -- the beginning ------------------------------------------------------------------------------------------------- */

static sk_wire *wire_new(sk_links *links, bool initiator)
{
    sk_wire *wire = sk_alloc(sizeof *wire);
    wire->links = links;
    wire->initiator = initiator;
    wire->peer = SK_WIRE_STRANGER;
    wire->deadline_ms = links->replica->now_ms + SK_LINK_HANDSHAKE_MS;
    wire->handshake = sk_alloc(sizeof *wire->handshake);
    links->handshake.features = links->config->replication.compress_min ? SK_FEATURE_COMPRESSED : 0;
    sk_list_init(&wire->strangers);
    sk_list_init(&wire->all);
    sk_list_append(&links->all, &wire->all);
    sk_link_reschedule(links);
    uv_tcp_init(links->loop, &wire->tcp);
    wire->tcp.data = wire;
    return wire;
}

static void tune(sk_wire *wire)
{
    uv_tcp_nodelay(&wire->tcp, 1);
    uv_tcp_keepalive(&wire->tcp, 1, KEEPALIVE_S);
    const unsigned most = UNACKED_MS_MAX;
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&wire->tcp, &fd) == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most, sizeof most); /* the engine's heartbeats miss it sooner */
    sk_address_text(&wire->tcp, true, wire->address);
}

static void on_connected(uv_connect_t *connect, int status)
{
    sk_wire *wire = connect->data;
    sk_links *links = wire->links;
    uint8_t random[SK_NOISE_KEY];
    if (wire->state == SK_WIRE_CLOSED) return;
    links->event(links->self);
    if (status < 0) {
        lose(wire, SK_E_IO, uv_strerror(status));
        return;
    }
    tune(wire);
    randombytes_buf(random, sizeof random);
    status = sk_handshake_dial(wire->handshake, &links->handshake, wire->peer, random, &wire->filling);
    sodium_memzero(random, sizeof random);
    if (status < 0) {
        lose(wire, status, wire->handshake->why);
        return;
    }
    wire->state = SK_WIRE_HANDSHAKE;
    sk_wire_flush(wire);
    sk_wire_update(wire);
}

sk_wire *sk_wire_dial(sk_links *links, size_t peer, const struct sockaddr *address)
{
    sk_wire *wire = wire_new(links, true);
    wire->peer = peer;
    wire->state = SK_WIRE_CONNECTING;
    wire->connect.data = wire;
    if (uv_tcp_connect(&wire->connect, &wire->tcp, address, on_connected) == 0) return wire;
    sk_wire_close(wire);
    return NULL;
}

void sk_wire_accept(sk_links *links)
{
    sk_wire *wire = wire_new(links, false);
    wire->state = SK_WIRE_HANDSHAKE;
    if (uv_accept((uv_stream_t *)&links->listener, (uv_stream_t *)&wire->tcp) != 0 || links->stopping) {
        sk_wire_close(wire);
        return;
    }
    if (links->stranger_count == SK_LINK_STRANGERS_MAX) {
        sk_wire *oldest = SK_LIST_OWNER(links->strangers.next, sk_wire, strangers);
        sk_log_limited(1, SK_LOG_WARN, "link.stranger_dropped", sk_log_text("address", oldest->address),
                       sk_log_text("help", "too many connections to the replication port are in their handshake"));
        sk_wire_close(oldest);
    }
    sk_list_append(&links->strangers, &wire->strangers);
    links->stranger_count++;
    tune(wire);
    sk_handshake_await(wire->handshake, &links->handshake);
    sk_wire_update(wire);
}
