#include "node/link.h"

#include "node/log.h"
#include "node/wire.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BACKLOG = 128,
    SILENT_MS_MIN = 1000,
    LATER_MS = 100,
};

static const char *own_region(const sk_links *links) { return links->config->region; }

static uint64_t now_of(const sk_links *links) { return links->replica->now_ms; }

/* -- time ---------------------------------------------------------------------------------------------------------- */

void sk_link_reschedule(sk_links *links) { links->timer_stale = true; }

static bool may_dial(const sk_links *links, const sk_link_peer *peer)
{
    return links->started && !links->stopping && peer->allowed && !peer->up && !peer->dialing && !peer->resolving &&
           peer->config->address_count > 0;
}

/* The region with the larger name lets the other one try first. */
static uint64_t courtesy_ms(const sk_links *links, const sk_link_peer *peer)
{
    return strcmp(own_region(links), peer->config->region) > 0 ? LATER_MS + randombytes_uniform(LATER_MS) : 0;
}

void sk_link_dial_at_once(sk_links *links, sk_link_peer *peer)
{
    peer->delay_ms = SK_LINK_BACKOFF_MS;
    peer->dial_at_ms = now_of(links) + courtesy_ms(links, peer);
    sk_link_reschedule(links);
}

static void dial_later(sk_links *links, sk_link_peer *peer)
{
    uint32_t half = (uint32_t)(peer->delay_ms / 2);
    peer->dial_at_ms = now_of(links) + half + randombytes_uniform(half + 1) + courtesy_ms(links, peer);
    peer->delay_ms = peer->delay_ms * 2 > SK_LINK_BACKOFF_MS_MAX ? SK_LINK_BACKOFF_MS_MAX : peer->delay_ms * 2;
    sk_link_reschedule(links);
}

/* -- dialing ------------------------------------------------------------------------------------------------------- */

/* Whether this was told of this address before, since the link was up last. */
static bool was_told(sk_link_peer *peer, const char *why)
{
    uint32_t hash = 2166136261u ^ (uint32_t)peer->address; /* FNV-1a */
    for (const char *at = why; *at; at++) hash = (hash ^ (uint8_t)*at) * 16777619u;
    for (size_t i = 0; i < SK_LINK_TOLD_MAX && i < peer->told_count; i++)
        if (peer->told[i] == hash) return true;
    peer->told[peer->told_count++ % SK_LINK_TOLD_MAX] = hash;
    return false;
}

/* Notes what went wrong; told once, not at each attempt. */
static void note(sk_link_peer *peer, const char *event, const char *why)
{
    char address[SK_ADDRESS_TEXT];
    bool again = was_told(peer, why);
    snprintf(peer->status, sizeof peer->status, "%s", why);
    sk_address_print(&peer->config->addresses[peer->address], address);
    sk_log(again ? SK_LOG_DEBUG : SK_LOG_WARN, event, sk_log_text("peer", peer->config->region),
           sk_log_text("address", address), sk_log_text("error", why));
}

void sk_link_forget_resolved(sk_link_peer *peer)
{
    if (peer->resolved) uv_freeaddrinfo(peer->resolved);
    peer->resolved = peer->next_resolved = NULL;
}

static void try_next(sk_links *links, sk_link_peer *peer);

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *resolved)
{
    sk_link_peer *peer = SK_LIST_OWNER(resolve, sk_link_peer, resolve);
    sk_links *links = resolve->data;
    char why[SK_HANDSHAKE_WHY_MAX];
    peer->resolving = false;
    if (status == UV_ECANCELED || links->stopping) {
        uv_freeaddrinfo(resolved);
        return;
    }
    links->event(links->self);
    if (peer->stale_resolve) { /* the name of one who had this number before */
        peer->stale_resolve = false;
        if (status == 0) uv_freeaddrinfo(resolved);
        sk_link_reschedule(links);
        return;
    }
    if (status < 0) {
        snprintf(why, sizeof why, "its address is not known: %s", uv_strerror(status));
        note(peer, "link.dial_failed", why);
    }
    sk_link_forget_resolved(peer);
    peer->resolved = peer->next_resolved = resolved;
    try_next(links, peer);
}

/* Looks the name up, on a thread of the loop's pool: that may take long. */
static void resolve_name(sk_links *links, sk_link_peer *peer, const sk_address *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    snprintf(port, sizeof port, "%u", address->port);
    peer->resolve.data = links;
    peer->resolving = true;
    int status = uv_getaddrinfo(links->loop, &peer->resolve, on_resolved, address->host, port, &hints);
    if (status == 0) return;
    peer->resolving = false;
    note(peer, "link.dial_failed", uv_strerror(status));
}

static void connect_to(sk_links *links, sk_link_peer *peer, const struct sockaddr *address)
{
    peer->dialing = sk_wire_dial(links, (size_t)(peer - links->peers), address);
    if (!peer->dialing) note(peer, "link.dial_failed", "it cannot be connected to from here");
}

/* The next place where the peer may be: what else its name stands for, then the next of its addresses. When all were
 * tried, the first one again, later. */
static void try_next(sk_links *links, sk_link_peer *peer)
{
    struct sockaddr_storage numeric;
    while (may_dial(links, peer)) {
        if (peer->next_resolved) {
            const struct addrinfo *at = peer->next_resolved;
            peer->next_resolved = at->ai_next;
            connect_to(links, peer, at->ai_addr);
        } else if (peer->next_address < peer->config->address_count) {
            peer->address = peer->next_address++;
            const sk_address *address = &peer->config->addresses[peer->address];
            if (sk_address_numeric(address, &numeric))
                connect_to(links, peer, (const struct sockaddr *)&numeric);
            else
                resolve_name(links, peer, address);
        } else {
            dial_later(links, peer);
            break;
        }
    }
    if (!peer->dialing) sk_link_forget_resolved(peer);
}

static void dial(sk_links *links, sk_link_peer *peer)
{
    if (peer->key_failed) sk_link_other_key(links, peer);
    peer->key_failed = false;
    peer->next_address = 0;
    try_next(links, peer);
}

static void on_timer(uv_timer_t *timer)
{
    sk_links *links = timer->data;
    links->event(links->self);
    sk_link_reschedule(links);
    sk_link_expire_keys(links);
    for (size_t i = 0; i < links->peer_count; i++) {
        sk_link_peer *peer = &links->peers[i];
        if (may_dial(links, peer) && now_of(links) >= peer->dial_at_ms) dial(links, peer);
    }
    for (sk_list *at = links->all.next, *next; at != &links->all; at = next) {
        sk_wire *wire = SK_LIST_OWNER(at, sk_wire, all);
        next = at->next;
        if (wire->send_at_ms && now_of(links) >= wire->send_at_ms) sk_wire_flush(wire);
        if (!wire->deadline_ms || now_of(links) < wire->deadline_ms) continue;
        if (wire->state != SK_WIRE_LINGER) sk_link_lost(wire, SK_E_TIMEOUT, "no answer came within 5 s");
        sk_wire_close(wire);
    }
}

static void set_timer(sk_links *links)
{
    uint64_t next = sk_link_keys_expire_ms(links), now = now_of(links);
    links->timer_stale = false;
    for (size_t i = 0; i < links->peer_count; i++)
        if (may_dial(links, &links->peers[i]) && links->peers[i].dial_at_ms < next) next = links->peers[i].dial_at_ms;
    for (sk_list *at = links->all.next; at != &links->all; at = at->next) {
        const sk_wire *wire = SK_LIST_OWNER(at, sk_wire, all);
        if (wire->deadline_ms && wire->deadline_ms < next) next = wire->deadline_ms;
        if (wire->send_at_ms && wire->send_at_ms < next) next = wire->send_at_ms;
    }
    if (next == UINT64_MAX)
        uv_timer_stop(&links->timer);
    else
        uv_timer_start(&links->timer, on_timer, next > now ? next - now : 0, 0);
}

/* -- which connection is kept -------------------------------------------------------------------------------------- */

static bool is_silent(const sk_links *links, const sk_wire *wire)
{
    uint64_t most = 2 * links->config->replication.heartbeat_ms;
    return now_of(links) - wire->heard_ms > (most > SILENT_MS_MIN ? most : SILENT_MS_MIN);
}

/* Whether a new connection, dialed by this node or not, takes the place of the one that is up. */
static bool replaces(const sk_links *links, const sk_link_peer *peer, bool by_us)
{
    if (peer->up->doom || peer->up->initiator == by_us || is_silent(links, peer->up)) return true;
    return (strcmp(own_region(links), peer->config->region) < 0) == by_us;
}

static bool breaks_protocol(int error)
{
    return error == SK_E_PROTOCOL || error == SK_E_MALFORMED || error == SK_E_TOO_LARGE || error == SK_E_CRYPTO;
}

/* Whether a connection to this peer may be the link: asked when somebody calls, and again when it is to come up. */
static int may_be_link(const sk_links *links, const sk_link_peer *peer, bool by_us)
{
    if (links->stopping) return SK_E_SHUTDOWN;
    if (!peer->allowed) return SK_E_LINK_DOWN;
    if (now_of(links) < peer->refuse_until_ms || (peer->up && breaks_protocol(peer->up->doom))) return SK_E_PROTOCOL;
    return peer->up && !replaces(links, peer, by_us) ? SK_E_DUPLICATE : SK_OK;
}

/* Whether two nodes run with the key of this peer, or with ours and are linked with it, as far as can be seen. */
static bool has_twin(const sk_links *links, const sk_link_peer *peer)
{
    bool alone = peer->up && now_of(links) - peer->up->up_ms >= SK_LINK_ALONE_MS;
    return peer->twin_signs >= SK_LINK_TWIN_SIGNS && !alone;
}

static void put_twin(const sk_links *links, const sk_link_peer *peer, sk_buf *text)
{
    if (peer->up)
        sk_buf_printf(text, "two nodes run as %s, with its key, and take each other's link: stop one of them",
                      peer->config->region);
    else
        sk_buf_printf(text, "another node runs as %s, with its key, and has the link: stop one of them", own_region(links));
}

/* A connection was in the way of another one of the same two regions that works. Once or twice that is chance: the other side
 * may have lost its end without a word. */
static void note_twin(const sk_links *links, sk_link_peer *peer)
{
    sk_buf text = {0};
    if (++peer->twin_signs != SK_LINK_TWIN_SIGNS) return;
    put_twin(links, peer, &text);
    sk_log(SK_LOG_WARN, "link.two_nodes", sk_log_text("peer", peer->config->region),
           sk_log_bytes("error", sk_buf_view(&text)));
    sk_buf_free(&text);
}

static int admit(void *context, size_t index)
{
    const sk_links *links = context;
    if (index == SIZE_MAX) return SK_E_BUSY; /* a member that is not linked with yet: this node joins through another */
    return may_be_link(links, &links->peers[index], false);
}

/* The link is no more; tells the engine. The wire is the caller's to end. */
static void drop(sk_links *links, sk_link_peer *peer, int error, const char *why)
{
    sk_wire *wire = peer->up;
    bool expected = error == SK_E_SHUTDOWN || error == SK_E_LINK_DOWN || error == SK_E_DUPLICATE || links->stopping;
    peer->up = NULL;
    snprintf(peer->status, sizeof peer->status, "%s", why);
    sk_log(expected ? SK_LOG_INFO : SK_LOG_WARN, "link.down", sk_log_text("peer", peer->config->region),
           sk_log_text("address", wire->address), sk_log_text("why", why));
    sk_replica_link_down(links->replica, (uint32_t)wire->peer);
    if (now_of(links) - wire->up_ms >= SK_LINK_GOOD_MS) peer->delay_ms = SK_LINK_BACKOFF_MS;
    if (breaks_protocol(error)) peer->refuse_until_ms = now_of(links) + peer->delay_ms / 2;
    dial_later(links, peer);
}

void sk_link_established(sk_wire *wire)
{
    sk_links *links = wire->links;
    sk_link_peer *peer = &links->peers[wire->peer];
    int status = sk_link_judge(links, sk_bytes_str(peer->config->region), wire->key);
    if (status) { /* it was the peer's key when the handshake began */
        sk_link_lost(wire, status, "the key that it has proved is the region's no more");
        sk_wire_close(wire);
        return;
    }
    if (peer->dialing == wire) {
        peer->dialing = NULL;
        sk_link_forget_resolved(peer);
    }
    if (may_be_link(links, peer, wire->initiator)) {
        sk_wire_end(wire);
        return;
    }
    bool taken = peer->up && !peer->up->doom && !peer->up->initiator && !wire->initiator && !is_silent(links, peer->up);
    if (peer->up) {
        sk_wire *old = peer->up;
        drop(links, peer, SK_E_DUPLICATE, sk_error_text(SK_E_DUPLICATE));
        sk_wire_end(old);
    }
    peer->up = wire;
    peer->status[0] = peer->refused[0] = 0;
    peer->told_count = 0;
    sk_log(SK_LOG_INFO, "link.up", sk_log_text("peer", peer->config->region), sk_log_text("address", wire->address),
           sk_log_text("dialed_by", wire->initiator ? own_region(links) : peer->config->region));
    if (taken)
        note_twin(links, peer);
    else
        peer->twin_signs = 0;
    sk_replica_link_up(links->replica, (uint32_t)wire->peer);
    sk_wire_update(wire);
}

/* Somebody who called us and did not get through. Ports are looked at by many; who just goes away is no news. */
static void note_refusal(sk_links *links, const sk_wire *wire, int error, const char *why)
{
    size_t claimed = wire->handshake ? wire->handshake->peer : wire->peer;
    if (error == SK_E_IO) {
        sk_log(SK_LOG_DEBUG, "link.went_away", sk_log_text("address", wire->address), sk_log_text("error", why));
        return;
    }
    if (claimed != SK_WIRE_STRANGER)
        snprintf(links->peers[claimed].refused, sizeof links->peers[claimed].refused, "%s", why);
    sk_log_limited(2, SK_LOG_WARN, "link.refused", sk_log_text("address", wire->address), sk_log_text("error", why));
}

void sk_link_lost(sk_wire *wire, int error, const char *why)
{
    sk_links *links = wire->links;
    sk_link_peer *peer = wire->peer == SK_WIRE_STRANGER ? NULL : &links->peers[wire->peer];
    if (peer && peer->up == wire) {
        drop(links, peer, error, why);
    } else if (peer && peer->dialing == wire) {
        bool connected = wire->state != SK_WIRE_CONNECTING;
        peer->dialing = NULL;
        if (error == SK_E_DUPLICATE) {
            sk_log(SK_LOG_DEBUG, "link.duplicate", sk_log_text("peer", peer->config->region));
            peer->next_address = peer->config->address_count; /* its other addresses would say the same */
            sk_link_forget_resolved(peer);
            if (!peer->up) {
                snprintf(peer->status, sizeof peer->status, "%s", why);
                note_twin(links, peer);
            }
        } else {
            note(peer, connected ? "link.handshake_failed" : "link.dial_failed", why);
            peer->key_failed |= connected;
        }
        try_next(links, peer);
    } else if (!wire->initiator && error != SK_E_DUPLICATE) {
        note_refusal(links, wire, error, why);
    }
}

/* -- what the engine and operators ask ----------------------------------------------------------------------------- */

static sk_wire *open_wire(const sk_links *links, uint32_t peer)
{
    sk_assert(peer < links->peer_count);
    sk_wire *wire = links->peers[peer].up;
    return wire && !wire->doom ? wire : NULL;
}

void sk_link_doom(sk_links *links, sk_wire *wire, int error)
{
    wire->doom = error ? error : SK_E_PROTOCOL;
    links->doomed = true;
    links->event(links->self);
}

void sk_links_send(sk_links *links, uint32_t peer, sk_bytes message)
{
    sk_wire *wire = open_wire(links, peer);
    if (!wire) return;
    int status = sk_wire_send(wire, message);
    if (status) sk_link_doom(links, wire, status);
}

size_t sk_links_queued(const sk_links *links, uint32_t peer)
{
    const sk_wire *wire = open_wire(links, peer);
    if (!wire) return 0;
    return sk_wire_queued(wire) > sk_wire_window(wire) ? SIZE_MAX : sk_wire_queued(wire);
}

void sk_links_hang_up(sk_links *links, uint32_t peer, int error)
{
    sk_wire *wire = open_wire(links, peer);
    if (wire) sk_link_doom(links, wire, error);
}

void sk_links_allow(sk_links *links, uint32_t index, bool allowed)
{
    sk_assert(index < links->peer_count);
    sk_link_peer *peer = &links->peers[index];
    if (peer->allowed == allowed) return;
    peer->allowed = allowed;
    sk_log(SK_LOG_INFO, allowed ? "link.allowed" : "link.out_of_service", sk_log_text("peer", peer->config->region));
    if (allowed) {
        peer->status[0] = 0;
        sk_link_dial_at_once(links, peer);
        return;
    }
    if (peer->up && !peer->up->doom) sk_link_doom(links, peer->up, SK_E_LINK_DOWN);
    if (peer->dialing) {
        sk_wire *dialing = peer->dialing;
        peer->dialing = NULL;
        sk_link_forget_resolved(peer);
        sk_wire_close(dialing);
    }
    snprintf(peer->status, sizeof peer->status, "%s", sk_error_text(SK_E_LINK_DOWN));
    links->event(links->self);
}

void sk_links_turn(sk_links *links)
{
    for (size_t i = 0; links->paused && i < links->peer_count; i++) /* not read from, so not heard either */
        if (links->peers[i].up) sk_replica_heard(links->replica, (uint32_t)i, true);
    if (links->doomed) {
        links->doomed = false;
        for (size_t i = 0; i < links->peer_count; i++) {
            sk_wire *wire = links->peers[i].up;
            if (!wire || !wire->doom) continue;
            drop(links, &links->peers[i], wire->doom, sk_error_text(wire->doom));
            sk_wire_end(wire);
        }
    }
    for (size_t i = 0; i < links->peer_count; i++)
        if (links->peers[i].up) sk_wire_flush(links->peers[i].up);
    if (links->timer_stale && !uv_is_closing((uv_handle_t *)&links->timer)) set_timer(links);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

sk_links *sk_links_new(uv_loop_t *loop, sk_replica *replica, const sk_config *config, const sk_noise_keypair *key,
                       void (*event)(void *self), void *self)
{
    sk_links *links = sk_alloc(sizeof *links);
    links->loop = loop;
    links->replica = replica;
    links->config = config;
    links->event = event;
    links->self = self;
    links->peers = sk_alloc(SK_LINK_PEERS * sizeof *links->peers);
    for (size_t i = 0; i < SK_LINK_PEERS; i++) {
        links->peers[i].config = &links->known[i];
        links->peers[i].allowed = true;
    }
    links->handshake = (sk_handshake_self){config->region, config->cluster, key, links->known, SK_LINK_PEERS,
                                           sk_link_judge, admit, links, 0};
    sk_list_init(&links->all);
    sk_list_init(&links->strangers);
    uv_tcp_init(loop, &links->listener);
    uv_timer_init(loop, &links->timer);
    links->listener.data = links->timer.data = links;
    sk_links_follow(links);
    return links;
}

static void on_connection(uv_stream_t *stream, int status)
{
    sk_links *links = stream->data;
    links->event(links->self);
    if (status < 0)
        sk_log_limited(1, SK_LOG_WARN, "link.accept_failed", sk_log_text("error", uv_strerror(status)));
    else
        sk_wire_accept(links);
}

int sk_links_listen(sk_links *links)
{
    struct sockaddr_storage address;
    const char *host = links->config->replication.address;
    int port = links->config->replication.port;
    int status = uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    if (status) status = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
    if (!status) status = uv_tcp_bind(&links->listener, (const struct sockaddr *)&address, 0);
    if (!status) status = uv_listen((uv_stream_t *)&links->listener, BACKLOG, on_connection);
    return status;
}

void sk_links_start(sk_links *links)
{
    links->started = true;
    for (size_t i = 0; i < links->peer_count; i++) sk_link_dial_at_once(links, &links->peers[i]);
    set_timer(links);
}

void sk_links_pause(sk_links *links, bool paused)
{
    if (links->paused == paused) return;
    links->paused = paused;
    for (size_t i = 0; i < links->peer_count; i++)
        if (links->peers[i].up) sk_wire_update(links->peers[i].up);
}

void sk_links_stop(sk_links *links)
{
    links->stopping = true;
    if (!uv_is_closing((uv_handle_t *)&links->listener)) uv_close((uv_handle_t *)&links->listener, NULL);
    for (size_t i = 0; i < links->peer_count; i++)
        if (links->peers[i].resolving) uv_cancel((uv_req_t *)&links->peers[i].resolve);
    for (sk_list *at = links->all.next, *next; at != &links->all; at = next) {
        sk_wire *wire = SK_LIST_OWNER(at, sk_wire, all);
        next = at->next;
        if (wire->state == SK_WIRE_UP || wire->state == SK_WIRE_LINGER) continue;
        if (wire->peer != SK_WIRE_STRANGER && links->peers[wire->peer].dialing == wire)
            links->peers[wire->peer].dialing = NULL;
        sk_wire_close(wire);
    }
}

bool sk_links_idle(const sk_links *links) { return sk_list_empty(&links->all); }

void sk_links_close(sk_links *links)
{
    sk_links_stop(links);
    for (size_t i = 0; i < links->peer_count; i++) links->peers[i].up = NULL;
    while (!sk_list_empty(&links->all)) sk_wire_close(SK_LIST_OWNER(links->all.next, sk_wire, all));
    uv_close((uv_handle_t *)&links->timer, NULL);
}

void sk_links_free(sk_links *links)
{
    if (!links) return;
    for (size_t i = 0; i < SK_LINK_PEERS; i++) sk_link_forget_resolved(&links->peers[i]);
    free(links->peers);
    free(links);
}

/* A sentence where INFO's readers split at commas and equals signs. */
static void put_sentence(sk_buf *text, const char *name, sk_bytes sentence)
{
    sk_buf_printf(text, ",%s=", name);
    for (size_t i = 0; i < sentence.len; i++) {
        uint8_t c = sentence.data[i];
        sk_buf_byte(text, c == ',' || c == '=' || c == '\r' || c == '\n' ? ';' : c);
    }
}

static void put_wire(const sk_links *links, const sk_wire *wire, sk_buf *text)
{
    const sk_compressor *compressor = &wire->encoder.compressor;
    const char *dialer = wire->initiator ? own_region(links) : links->peers[wire->peer].config->region;
    sk_buf_printf(text, ",address=%s,dialed_by=%s,up_ms=%" PRIu64 ",queued=%zu,window=%zu", wire->address, dialer,
                  now_of(links) - wire->up_ms, sk_wire_queued(wire), sk_wire_window(wire));
    sk_buf_printf(text, ",compressed_from=%" PRIu64 ",compressed_to=%" PRIu64 ",rekeys=%" PRIu64, compressor->plain_bytes,
                  compressor->packed_bytes, wire->encoder.rekeys);
}

void sk_links_note(const sk_links *links, uint32_t index, sk_buf *text)
{
    const sk_link_peer *peer = &links->peers[index];
    if (has_twin(links, peer))
        put_twin(links, peer, text);
    else if (!peer->up)
        sk_buf_printf(text, "%s", peer->refused[0] ? peer->refused : peer->status);
}

static const char *state_of(const sk_link_peer *peer)
{
    if (!peer->allowed) return "out_of_service";
    if (peer->up) return "up";
    if (peer->config->address_count == 0) return "awaited";
    return peer->dialing || peer->resolving ? "dialing" : "waiting";
}

void sk_links_info(const sk_links *links, sk_buf *text)
{
    for (size_t i = 0; i < links->peer_count; i++) {
        const sk_link_peer *peer = &links->peers[i];
        if (!peer->config->region[0]) continue;
        sk_buf_printf(text, "link_%s:state=%s", peer->config->region, state_of(peer));
        if (peer->up)
            put_wire(links, peer->up, text);
        put_sentence(text, "error", sk_bytes_str(peer->up ? "" : peer->status));
        put_sentence(text, "refused", sk_bytes_str(peer->refused));
        sk_buf twin = {0};
        if (has_twin(links, peer)) put_twin(links, peer, &twin);
        put_sentence(text, "twin", sk_buf_view(&twin));
        sk_buf_free(&twin);
        sk_buf_append(text, "\r\n", 2);
    }
}
