/* Who is dialed and who may connect: the links brought in line with the members (node/member.h). Declared in
 * node/link.h and node/wire.h.
 *
 * Invariants:
 *  1. links->peers[i] is about the engine's peer of number i, links->known[i] what a handshake needs of it; both are free
 *     (an empty region) where the engine has no peer.
 *  2. After sk_links_follow no connection is up, or comes up later (sk_link_established), whose key the members do not have. */
#include "node/link.h"

#include "node/log.h"
#include "node/wire.h"

#include <stdio.h>

static const sk_members *members_of(const sk_links *links) { return &links->replica->members; }

int sk_link_judge(void *context, sk_bytes region, const uint8_t *key)
{
    const sk_links *links = context;
    const sk_members *members = members_of(links);
    if (key) return sk_members_judge(members, region, key, links->replica->wall_ms);
    for (uint32_t i = 0; i < members->count; i++)
        if (sk_bytes_equal(sk_bytes_str(members->list[i].region), region)) return SK_OK;
    return SK_E_CLUSTER;
}

/* The key that a peer has had until now and may still use; NULL if there is none. */
static const uint8_t *old_key(const sk_links *links, const char *region)
{
    const sk_members *members = members_of(links);
    for (uint32_t i = 0; i < members->count; i++) {
        const sk_member *member = &members->list[i];
        if (strcmp(member->region, region) == 0 && member->record.state == SK_MEMBER_REPLACED &&
            links->replica->wall_ms < member->record.until_ms)
            return member->public_key;
    }
    return NULL;
}

void sk_link_other_key(sk_links *links, sk_link_peer *peer)
{
    sk_config_peer *known = &links->known[peer - links->peers];
    const sk_member *member = sk_members_region(members_of(links), sk_bytes_str(known->region));
    const uint8_t *old = old_key(links, known->region);
    if (!member) return;
    bool now_old = memcmp(known->public_key, member->public_key, SK_MEMBER_KEY) != 0;
    memcpy(known->public_key, old && !now_old ? old : member->public_key, SK_MEMBER_KEY);
}

/* The peer is no member any more: its number is free. */
static void leave(sk_links *links, sk_link_peer *peer)
{
    sk_log(SK_LOG_INFO, "member.left", sk_log_text("region", peer->config->region),
           sk_log_text("effect", "nothing waits for it, and it is refused"));
    size_t index = (size_t)(peer - links->peers);
    for (sk_list *at = links->all.next, *next; at != &links->all; at = next) {
        sk_wire *wire = SK_LIST_OWNER(at, sk_wire, all);
        next = at->next;
        bool ours = wire->peer == index || (wire->handshake && wire->handshake->peer == index);
        if (!ours || wire->state == SK_WIRE_LINGER) continue;
        wire->peer = SK_WIRE_STRANGER;
        if (wire->state == SK_WIRE_UP)
            sk_wire_end(wire); /* with the engine's goodbye */
        else
            sk_wire_close(wire);
    }
    sk_link_forget_resolved(peer);
    peer->up = peer->dialing = NULL;
    peer->stale_resolve = peer->resolving;
    peer->address = peer->next_address = 0;
    peer->told_count = 0;
    peer->refuse_until_ms = 0;
    peer->key_failed = false;
    peer->allowed = true;
    peer->status[0] = peer->refused[0] = 0;
    links->known[index] = (sk_config_peer){0};
}

static void take_addresses(const sk_member_addresses *addresses, sk_config_peer *known)
{
    char text[SK_MEMBER_ADDRESS_BYTES + 1];
    for (uint32_t i = 0; i < addresses->count; i++) {
        snprintf(text, sizeof text, "%.*s", (int)addresses->text[i].len, (const char *)addresses->text[i].data);
        known->address_count += sk_address_parse(text, &known->addresses[known->address_count]);
    }
}

static bool same_addresses(const sk_config_peer *a, const sk_config_peer *b)
{
    bool same = a->address_count == b->address_count;
    for (size_t i = 0; same && i < a->address_count; i++) same = sk_address_equal(&a->addresses[i], &b->addresses[i]);
    return same;
}

/* Takes what the member's row says. */
static void learn(sk_links *links, sk_link_peer *peer, const sk_member *member)
{
    sk_config_peer *known = &links->known[peer - links->peers], fresh = {0};
    bool is_new = known->region[0] == 0;
    take_addresses(&member->record.addresses, &fresh);
    strcpy(fresh.region, member->region);
    memcpy(fresh.public_key, member->public_key, SK_MEMBER_KEY);
    if (is_new && links->follows)
        sk_log(SK_LOG_INFO, "member.joined", sk_log_text("region", fresh.region),
               sk_log_uint("addresses", fresh.address_count));
    bool moved = !same_addresses(&fresh, known);
    bool rekeyed = memcmp(fresh.public_key, known->public_key, SK_MEMBER_KEY) != 0;
    if (!is_new && !moved && !rekeyed) return;
    *known = fresh;
    peer->address = peer->next_address = 0;
    if (moved && !peer->dialing) sk_link_forget_resolved(peer);
    sk_link_dial_at_once(links, peer);
}

/* Connections whose key is not a member's any more are closed. */
static void check_keys(sk_links *links)
{
    for (sk_list *at = links->all.next, *next; at != &links->all; at = next) {
        sk_wire *wire = SK_LIST_OWNER(at, sk_wire, all);
        next = at->next;
        bool proven = wire->state == SK_WIRE_UP || wire->state == SK_WIRE_CONFIRM;
        if (!proven || wire->peer == SK_WIRE_STRANGER || wire->doom) continue;
        sk_bytes region = sk_bytes_str(links->peers[wire->peer].config->region);
        int status = sk_link_judge(links, region, wire->key);
        if (status == SK_OK) continue;
        if (wire->state == SK_WIRE_UP)
            sk_link_doom(links, wire, status);
        else
            sk_wire_close(wire);
    }
}

/* Two databases of one name are news once. */
static void tell_clashes(sk_links *links)
{
    const sk_members *members = members_of(links);
    uint32_t clashes = 0;
    for (uint32_t i = 0; i < members->count; i++) {
        const sk_member *member = &members->list[i];
        if (member->chosen || member->is_own || member->record.state != SK_MEMBER_IN) continue;
        if (++clashes <= links->clashes) continue;
        sk_log(SK_LOG_WARN, "member.clash", sk_log_text("region", member->region),
               sk_log_text("added_by", sk_member_by(&links->replica->db, member)),
               sk_log_text("help", "several databases were added as this region: forget the ones with a wrong key "
                                   "(skerryctl region list shows them)"));
    }
    links->clashes = clashes;
}

static void tell_own(sk_links *links)
{
    const sk_replica *replica = links->replica;
    const sk_member *own =
        sk_members_find(&replica->members, sk_bytes_str(replica->region), replica->options.public_key);
    bool forgotten = own && own->record.state == SK_MEMBER_FORGOTTEN;
    if (forgotten && !links->is_forgotten)
        sk_log(SK_LOG_WARN, "member.forgotten", sk_log_text("by", sk_member_by(&replica->db, own)),
               sk_log_text("help", sk_error_text(SK_E_FORGOTTEN)));
    links->is_forgotten = forgotten;
}

void sk_links_follow(sk_links *links)
{
    const sk_engine *engine = links->replica->engine;
    links->peer_count = sk_engine_peers(engine);
    for (uint32_t i = 0; i < SK_LINK_PEERS; i++) {
        bool is_peer = sk_engine_is_peer(engine, i);
        const char *region = is_peer ? sk_engine_peer_status(engine, i).region : "";
        if (links->known[i].region[0] && strcmp(links->known[i].region, region) != 0) leave(links, &links->peers[i]);
        const sk_member *member = is_peer ? sk_members_region(members_of(links), sk_bytes_str(region)) : NULL;
        if (member) learn(links, &links->peers[i], member);
    }
    links->follows = true;
    check_keys(links);
    tell_clashes(links);
    tell_own(links);
    links->keys_until_ms = UINT64_MAX;
    for (uint32_t i = 0; i < members_of(links)->count; i++) {
        const sk_member *member = &members_of(links)->list[i];
        uint64_t until = member->record.until_ms;
        if (member->record.state == SK_MEMBER_REPLACED && until > links->replica->wall_ms && until < links->keys_until_ms)
            links->keys_until_ms = until;
    }
    sk_link_reschedule(links);
}

void sk_link_expire_keys(sk_links *links)
{
    if (links->replica->wall_ms >= links->keys_until_ms) sk_links_follow(links);
}

uint64_t sk_link_keys_expire_ms(const sk_links *links)
{
    uint64_t wall = links->replica->wall_ms, until = links->keys_until_ms;
    if (until == UINT64_MAX) return UINT64_MAX;
    return links->replica->now_ms + (until > wall ? until - wall : 0);
}
