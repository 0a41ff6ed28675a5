/* Who has what: HELLO, STATUS, and what they tell of members that we have no link with.
 *
 * Two things are kept apart. A peer's `vv` is what it said in this session, and what it sent of its own; it decides what
 * the peer is sent. A member's `acked` is what it is known to have on disk, from itself or from others; it decides what may
 * be forgotten.
 *
 * Terms. What is known of a member spreads through others, so old words may arrive after newer ones. Within one life of
 * a member (one process, from its start to its end, unless its disk lies) its acknowledgements only grow, and joining
 * them in any order is right. It may come back with less (an old copy): each life has a term higher than the one
 * before, and words of lower terms are void:
 *  0. A life's first term is the wall clock at its start. Where that clock went back rule 3 mends it.
 *  1. Of another member: words of a higher term replace, of the same term are joined, of a lower one are dropped. So are
 *     the last words of a life over its own link, whatever they cover, once the next life is known of through others.
 *  2. A HELLO that does not cover what its sender had acknowledged begins the next term of that member. It does not know of
 *     that term until rule 4 has told it: what it says in this session belongs there nevertheless.
 *  3. A member that hears of a higher term of its own begins the next one: that was another life, or rule 2. If it does
 *     not have what is said of it, in whatever term, it has come back with less: it takes a new incarnation, because of
 *     its own history too something may be missing that others know.
 *  4. Whoever knows other words about a peer than the peer's own in this session tells the peer. They get as far as the
 *     peer's neighbours because who has words that a neighbour's do not cover tells the neighbour.
 *  5. A member begins the next term with a new incarnation too: in one term it writes under one origin.
 *  6. A member that begins a term says its whole vector to every link.
 * Rules 3 and 4 mend what rule 2 cannot see: words about a former life that reach a node which never saw that life.
 * Until then stability may count them. What is forgotten by that does the member no harm: the floor rises with it, and
 * a member below the floor is sent a reconcile (tier 3).
 *
 * Amnesia. Whoever knows more of our own origin than we do shows that we have come back with less. That origin is spent
 * from then on: nothing is written under it, whether the new incarnation can be taken at once, later, or gets lost again
 * with the batch that it was in. An incarnation that began in this process cannot be known better elsewhere: who says so
 * breaks the protocol.
 *
 * Clocks. A database that begins with nothing, or as an old copy, after its clock was set back takes an incarnation that is
 * earlier than the life before it, and what that life has left open is told by the order of incarnations (crdt/dot.h). Who
 * hears of a later one of its own region takes another, which is later than all that it knows. Once in a process: two nodes
 * that run as one region by mistake would otherwise use up all incarnations. */
#include "gossip/engine_internal.h"

/* -- sending ------------------------------------------------------------------------------------------------------- */

static bool is_empty(const sk_vv *vv)
{
    for (uint32_t o = 0; o < vv->count; o++)
        if (vv->seq[o]) return false;
    return true;
}

static void pack_gossip_of(sk_engine *engine, uint32_t member, uint32_t *count)
{
    const sk_peer *about = &engine->peers[member];
    sk_gossip gossip = {sk_bytes_str(about->region), about->term, about->current, about->view};
    sk_gossip_pack(&engine->gossip, &gossip, &about->acked);
    ++*count;
}

/* What the peer cannot know from the members themselves. In a hello: all. */
static uint32_t gather_gossip(sk_engine *engine, uint32_t peer, bool hello)
{
    sk_peer *to = &engine->peers[peer];
    uint32_t count = 0;
    sk_buf_reset(&engine->gossip);
    bool differs = to->said_term != to->term || !sk_vv_at_most(&to->acked, &to->vv);
    if (to->term && (hello || differs)) pack_gossip_of(engine, peer, &count); /* of an empty one too: its term counts */
    for (uint32_t i = 0; i < engine->peer_count; i++) {
        uint32_t member = (to->gossip_from + i) % engine->peer_count;
        if (member == peer || is_empty(&engine->peers[member].acked)) continue;
        if (!hello && (to->informed >> member & 1)) continue;
        if (engine->gossip.len > GOSSIP_BYTES_MAX) {
            to->gossip_from = member;
            break;
        }
        pack_gossip_of(engine, member, &count);
    }
    return count;
}

static void pack_news(sk_engine *engine, uint32_t peer, bool hello)
{
    uint32_t names = 0;
    sk_buf_reset(&engine->names);
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        if (m == peer || engine->peers[m].state != LINK_UP) continue;
        sk_pack_bytes(&engine->names, sk_bytes_str(engine->peers[m].region));
        names++;
    }
    uint32_t gossip = gather_gossip(engine, peer, hello);
    sk_news_pack(&engine->out, *engine->own, engine->term, sk_stability_view(engine), names, sk_buf_view(&engine->names),
                 gossip, sk_buf_view(&engine->gossip));
}

void sk_status_send_hello(sk_engine *engine, uint32_t peer)
{
    sk_peer *to = &engine->peers[peer];
    sk_message_begin(&engine->out, SK_MESSAGE_HELLO);
    sk_pack_uint(&engine->out, SK_PROTOCOL_VERSION);
    sk_pack_bytes(&engine->out, sk_bytes_str(engine->region));
    sk_message_pack_origins(&engine->out, engine->origins, 0);
    to->announced = engine->origins->count;
    sk_vv_pack(&engine->out, &engine->durable);
    sk_vv_copy(&to->told, &engine->durable);
    pack_news(engine, peer, true);
    sk_link_send(engine, peer);
}

void sk_status_send(sk_engine *engine, uint32_t peer, bool heartbeat)
{
    sk_peer *to = &engine->peers[peer];
    to->ack_at_ms = NEVER;
    if (!heartbeat && sk_vv_equal(&engine->durable, &to->told)) return;
    sk_message_begin(&engine->out, SK_MESSAGE_STATUS);
    sk_status rest = {.has_pong = heartbeat && to->has_ping};
    rest.has_digest = heartbeat && sk_drift_digest(engine, &rest.digest);
    sk_status_pack_flags(&engine->out, heartbeat, rest.has_pong, rest.has_digest);
    sk_message_pack_changes(&engine->out, &engine->durable, &to->told);
    sk_vv_copy(&to->told, &engine->durable);
    if (heartbeat) {
        to->heartbeat_at_ms = engine->now_ms + engine->limits.heartbeat_ms;
        pack_news(engine, peer, false);
        rest.ping_ms = engine->now_ms;
        rest.wall_ms = engine->wall_ms;
        rest.pong_ms = to->ping_ms;
        rest.pong_held_ms = engine->now_ms - to->ping_came_ms;
        sk_status_pack_rest(&engine->out, &rest);
        to->has_ping = false;
    }
    sk_link_send(engine, peer);
}

void sk_status_spread(sk_engine *engine)
{
    for (uint32_t m = 0; m < engine->peer_count; m++)
        if (engine->peers[m].state == LINK_UP)
            sk_sooner(&engine->peers[m].heartbeat_at_ms, engine->now_ms + engine->limits.ack_ms);
}

/* Rule 6. */
static void spread_all(sk_engine *engine)
{
    for (uint32_t m = 0; m < engine->peer_count; m++) sk_vv_clear(&engine->peers[m].told);
    sk_status_spread(engine);
}

/* -- what is known of members -------------------------------------------------------------------------------------- */

/* Only who is lied to gets as far as the last one, and stays there: a higher one nobody would read. */
static uint64_t next_term(uint64_t term)
{
    return term < SK_SEQ_MAX ? term + 1 : term;
}

int sk_status_reincarnate(sk_engine *engine)
{
    engine->spent_origin = *engine->own;
    int status = engine->host.new_incarnation(engine->host.self);
    if (status) return status;
    sk_assert(*engine->own != engine->spent_origin);
    engine->fresh_origin = *engine->own;
    engine->term = next_term(engine->term);
    sk_status_grown(engine);
    spread_all(engine);
    return 0;
}

int sk_status_amnesia(sk_engine *engine, uint64_t seq)
{
    if (seq <= sk_vv_get(engine->applied, *engine->own)) return 0;
    return engine->fresh_origin == *engine->own ? SK_E_PROTOCOL : sk_status_reincarnate(engine);
}

/* The member's own words, in peer->vv (rules 1 and 2). */
static void hear_itself(sk_engine *engine, sk_peer *member, bool hello)
{
    bool less = !sk_vv_at_most(&member->acked, &member->vv);
    if (member->said_term > member->term || (hello && less)) {
        member->term = member->said_term > member->term ? member->said_term : next_term(member->term);
        if (hello) member->begun_term = member->term;
        sk_vv_copy(&member->acked, &member->vv);
        if (less) sk_stability_lowered(engine);
    } else if (member->said_term == member->term || member->begun_term == member->term) {
        sk_vv_join(&member->acked, &member->vv);
    }
    if (member->said_term == member->term) sk_stability_take_view(engine, member, member->said_view);
    sk_stability_touch(engine);
}

/* Another's words about a member say all that we know of it. */
static bool covers(const sk_gossip *gossip, const sk_vv *acked, const sk_peer *member)
{
    return gossip->term > member->term || (gossip->term == member->term && sk_vv_at_most(&member->acked, acked));
}

/* Another's words about a member (rule 1). */
static void hear_about(sk_engine *engine, sk_peer *member, const sk_gossip *gossip, const sk_vv *acked)
{
    if (gossip->term < member->term) return;
    bool newer = !sk_vv_at_most(acked, &member->acked);
    if (gossip->term > member->term) {
        bool lowers = !sk_vv_at_most(&member->acked, acked);
        member->term = gossip->term;
        sk_vv_copy(&member->acked, acked);
        if (lowers) sk_stability_lowered(engine);
        newer = true;
    } else if (newer) {
        sk_vv_join(&member->acked, acked);
    }
    sk_stability_take_view(engine, member, gossip->view);
    if (member->state != LINK_UP && (newer || member->current == SK_ORIGIN_UNKNOWN) &&
        gossip->current != SK_ORIGIN_UNKNOWN)
        member->current = gossip->current;
    if (newer) sk_stability_touch(engine);
}

/* Another's words about us (rule 3). */
static int hear_of_us(sk_engine *engine, const sk_gossip *gossip, const sk_vv *acked)
{
    bool less = !sk_vv_at_most(acked, &engine->durable);
    int status = less && engine->fresh_origin != *engine->own ? sk_status_reincarnate(engine) : 0;
    if (status || gossip->term < engine->term || (gossip->term == engine->term && !less)) return status;
    engine->term = next_term(gossip->term);
    spread_all(engine);
    return 0;
}

static int take_gossip(sk_engine *engine, uint32_t peer, sk_elements list)
{
    sk_gossip gossip;
    sk_vv acked = {0};
    int status = 0;
    while (!status && sk_gossip_next(&list, &engine->peers[peer].map, &gossip, &acked)) {
        if (sk_bytes_equal(gossip.region, sk_bytes_str(engine->region))) {
            status = hear_of_us(engine, &gossip, &acked);
            continue;
        }
        status = sk_status_amnesia(engine, sk_vv_get(&acked, *engine->own));
        uint32_t member = sk_engine_find(engine, gossip.region);
        if (status || member == NO_PEER || member == peer) continue;
        if (!covers(&gossip, &acked, &engine->peers[member])) engine->peers[peer].informed &= ~((uint64_t)1 << member);
        hear_about(engine, &engine->peers[member], &gossip, &acked);
    }
    sk_vv_free(&acked);
    return status;
}

static int take_news(sk_engine *engine, uint32_t peer, const sk_news *news)
{
    sk_peer *from = &engine->peers[peer];
    from->said_term = news->term;
    from->said_view = news->view;
    from->current = news->own;
    from->neighbours = 0;
    sk_elements names = news->neighbours;
    sk_bytes name;
    while (sk_name_next(&names, &name)) {
        uint32_t member = sk_engine_find(engine, name);
        if (member != NO_PEER) from->neighbours |= (uint64_t)1 << member;
    }
    from->informed = from->neighbours;
    return take_gossip(engine, peer, news->gossip);
}

/* -- receiving ----------------------------------------------------------------------------------------------------- */

/* Their number of the origin to ours; SK_E_PROTOCOL if it has meant another one before. */
static int intern(sk_engine *engine, sk_peer *peer, const sk_announced *origin)
{
    uint32_t known = sk_origin_map_get(&peer->map, origin->number);
    if (known != SK_ORIGIN_UNKNOWN) {
        const sk_origin *before = &engine->origins->list[known];
        bool same =
            before->incarnation == origin->incarnation && sk_bytes_equal(sk_bytes_str(before->region), origin->region);
        return same ? 0 : SK_E_PROTOCOL;
    }
    uint32_t ours;
    int status = engine->host.intern(engine->host.self, origin->region, origin->incarnation, &ours);
    if (status) return status;
    sk_status_grown(engine);
    return sk_origin_map_set(&peer->map, origin->number, ours);
}

/* Is the incarnation that we write under earlier than another one of our region? */
static bool is_outdated(const sk_engine *engine)
{
    const sk_origin *own = &engine->origins->list[*engine->own];
    for (uint32_t o = 0; o < engine->origins->count; o++) {
        const sk_origin *other = &engine->origins->list[o];
        if (sk_incarnation_seconds(other->incarnation) > sk_incarnation_seconds(own->incarnation) &&
            strcmp(other->region, own->region) == 0)
            return true;
    }
    return false;
}

static int intern_all(sk_engine *engine, sk_peer *peer, sk_elements list)
{
    sk_announced origin;
    int status = 0;
    while (!status && sk_announced_next(&list, &origin)) status = intern(engine, peer, &origin);
    if (!status && engine->fresh_origin != *engine->own && is_outdated(engine)) status = sk_status_reincarnate(engine);
    return status;
}

int sk_status_origins(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_elements list;
    int status = sk_origins_read(reader, &list);
    return status ? status : intern_all(engine, &engine->peers[peer], list);
}

/* What can be wrong with a hello that reads well, in their numbers, before anything is interned. */
static int check_hello(const sk_peer *peer, sk_bytes region, const sk_hello *hello)
{
    if (!sk_bytes_equal(region, sk_bytes_str(peer->region))) return SK_E_CLUSTER;
    sk_elements list = hello->origins;
    sk_announced origin;
    while (sk_announced_next(&list, &origin))
        if (origin.number == hello->news.own && !sk_bytes_equal(origin.region, region)) return SK_E_PROTOCOL;
    return 0;
}

static int take_hello(sk_engine *engine, uint32_t peer, const sk_hello *hello)
{
    sk_peer *from = &engine->peers[peer];
    int status = sk_status_amnesia(engine, sk_vv_get(&hello->vv, *engine->own));
    if (status) return status;
    sk_vv_copy(&from->vv, &hello->vv);
    from->state = LINK_UP;
    status = take_news(engine, peer, &hello->news);
    if (status) return status;
    hear_itself(engine, from, true);
    sk_transfer_may_be_staged(engine, from);
    sk_send_start(engine, peer, *engine->own);
    from->heartbeat_at_ms = engine->now_ms;
    from->review_at_ms = engine->now_ms;
    sk_status_spread(engine); /* a new neighbour is news */
    return 0;
}

int sk_status_hello(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *from = &engine->peers[peer];
    uint64_t version = sk_hello_read_version(reader);
    if (reader->bad) return SK_E_MALFORMED;
    if (version != SK_PROTOCOL_VERSION) return SK_E_VERSION;
    sk_reader look = *reader;
    sk_hello hello;
    sk_bytes region;
    int status = sk_hello_read(&look, NULL, &region, &hello);
    sk_vv_free(&hello.vv);
    if (!status) status = check_hello(from, region, &hello);
    if (!status) status = intern_all(engine, from, hello.origins);
    if (status) return status;
    status = sk_hello_read(reader, &from->map, &region, &hello);
    if (!status) status = take_hello(engine, peer, &hello);
    sk_vv_free(&hello.vv);
    return status;
}

static int check_status(const sk_engine *engine, const sk_peer *from, const sk_status *said)
{
    for (uint32_t o = 0; o < said->vv.count; o++)
        if (said->vv.seq[o] && said->vv.seq[o] < sk_vv_get(&from->vv, o)) return SK_E_PROTOCOL;
    if (said->heartbeat && strcmp(engine->origins->list[said->news.own].region, from->region) != 0)
        return SK_E_PROTOCOL;
    return 0;
}

static void refer_clock(sk_engine *engine)
{
    int64_t bases[SK_MEMBERS_MAX] = {(int64_t)engine->wall_ms - (int64_t)engine->now_ms};
    size_t heard = 1, known = 1;
    for (uint32_t m = 0; m < engine->peer_count; m++) {
        const sk_clock *clock = &engine->peers[m].clock;
        known += clock->known;
        if (clock->heard) bases[heard++] = clock->base_ms;
    }
    sk_clock_refer(&engine->clock, bases, heard, known, engine->now_ms);
}

/* Round trip and the peer's clock, from a ping of ours that came back. Over a fast link the peer may well have held it for
 * longer than it was gone: its clock runs faster than ours, and both count whole milliseconds. */
static void take_pong(sk_engine *engine, sk_peer *from, const sk_status *said)
{
    if (said->pong_ms > engine->now_ms) return;
    uint64_t gone = engine->now_ms - said->pong_ms, held = said->pong_held_ms;
    if (held > gone + 2 + gone / SK_CLOCK_DRIFT_PART) return;
    uint64_t trip = held < gone ? gone - held : 0;
    from->counts.round_trip_ms = trip;
    sk_clock_measure(&from->clock, said->wall_ms, trip, engine->now_ms);
    refer_clock(engine);
}

/* It has this on its disk. False: that was known. */
static bool raise_vv(sk_engine *engine, uint32_t peer, sk_dot dot)
{
    sk_peer *from = &engine->peers[peer];
    if (dot.seq <= sk_vv_get(&from->vv, dot.origin)) return false;
    sk_vv_set(&from->vv, dot.origin, dot.seq);
    sk_send_advance(engine, peer, dot.origin);
    return true;
}

int sk_status_sent(sk_engine *engine, uint32_t peer, sk_dot dot, const sk_vv *seen)
{
    sk_peer *from = &engine->peers[peer];
    if (dot.origin != from->current || !raise_vv(engine, peer, dot)) return 0;
    int status = sk_status_amnesia(engine, sk_vv_get(seen, *engine->own));
    if (status) return status;
    for (uint32_t o = 0; o < seen->count; o++) (void)raise_vv(engine, peer, (sk_dot){o, seen->seq[o]});
    hear_itself(engine, from, false);
    return 0;
}

int sk_status_status(sk_engine *engine, uint32_t peer, sk_reader *reader)
{
    sk_peer *from = &engine->peers[peer];
    sk_status said;
    int status = sk_status_read(reader, &from->map, &said);
    if (!status) status = check_status(engine, from, &said);
    if (!status) status = sk_status_amnesia(engine, sk_vv_get(&said.vv, *engine->own));
    for (uint32_t o = 0; !status && o < said.vv.count; o++) (void)raise_vv(engine, peer, (sk_dot){o, said.vv.seq[o]});
    if (!status && said.heartbeat) {
        status = take_news(engine, peer, &said.news);
        from->has_ping = true;
        from->ping_ms = said.ping_ms;
        from->ping_came_ms = engine->now_ms;
        if (said.has_pong) take_pong(engine, from, &said);
    }
    if (!status) hear_itself(engine, from, false);
    if (!status && said.heartbeat) sk_drift_hear(engine, peer, &said);
    if (!status && said.heartbeat) sk_send_review(engine, peer);
    sk_vv_free(&said.vv);
    return status;
}
