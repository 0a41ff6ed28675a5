/* REGION: the regions of the cluster, seen and changed. What is changed are rows (node/member.h), which every region
 * follows once it has them. */
#include "node/cmd_region.h"

#include "node/config_field.h"
#include "node/context.h"
#include "node/key.h"
#include "node/keyspace.h"
#include "node/replica.h"

#include "crdt/number.h"

#include <stdio.h>

/* -- what is known of the others ----------------------------------------------------------------------------------- */

void sk_reply_vector(sk_ctx *ctx, const sk_vv *vv)
{
    sk_buf text = {0};
    sk_vv_text(ctx->db, vv, &text);
    sk_reply_bulk(ctx->reply, sk_buf_view(&text));
    sk_buf_free(&text);
}

/* Transactions that `ahead` covers and `behind` does not. */
static uint64_t distance(const sk_vv *ahead, const sk_vv *behind)
{
    uint64_t txns = 0;
    for (uint32_t o = 0; o < ahead->count; o++)
        if (ahead->seq[o] > sk_vv_get(behind, o)) txns += ahead->seq[o] - sk_vv_get(behind, o);
    return txns;
}

static void reply_field(sk_ctx *ctx, const char *name, const char *value)
{
    sk_reply_bulk_str(ctx->reply, name);
    sk_reply_bulk_str(ctx->reply, value);
}

static void reply_field_int(sk_ctx *ctx, const char *name, int64_t value)
{
    sk_reply_bulk_str(ctx->reply, name);
    sk_reply_int(ctx->reply, value);
}

static void reply_field_vector(sk_ctx *ctx, const char *name, const sk_vv *vv)
{
    sk_reply_bulk_str(ctx->reply, name);
    sk_reply_vector(ctx, vv);
}

static void reply_field_key(sk_ctx *ctx, const uint8_t key[SK_MEMBER_KEY])
{
    char hex[SK_KEY_HEX];
    sk_key_hex(key, hex);
    reply_field(ctx, "public_key", hex);
}

static int64_t heard_ago(const sk_replica *replica, const sk_peer_status *peer)
{
    return peer->last_heard_ms ? (int64_t)(replica->now_ms - peer->last_heard_ms) : -1;
}

enum { HISTORY_FIELDS = 3 };

/* What history is kept for a peer. */
static void reply_history(sk_ctx *ctx, uint32_t index, const sk_peer_status *peer)
{
    sk_retained kept = sk_retention_of(ctx->replica, index);
    reply_field_int(ctx, "history_bytes", (int64_t)kept.bytes);
    reply_field_int(ctx, "history_age_ms", (int64_t)kept.age_ms);
    reply_field_int(ctx, "laggard", peer->laggard);
}

const char *sk_region_link_state(const sk_replica *replica, uint32_t index, const sk_peer_status *peer)
{
    if (replica->link_down[index]) return "out_of_service";
    return peer->up ? "up" : "down";
}

/* What transfer is under way, and how far it has come. Fields of a map: */
enum { TRANSFER_FIELDS = 5 };

static void reply_transfer(sk_ctx *ctx, const sk_peer_status *peer)
{
    reply_field(ctx, "transfer", sk_peer_transfer(peer));
    reply_field_int(ctx, "transfer_rows", (int64_t)peer->transfer.rows);
    reply_field_int(ctx, "transfer_rows_done", (int64_t)peer->transfer.done);
    reply_field_int(ctx, "transfer_rows_sent", (int64_t)peer->transfer.sent);
    reply_field_int(ctx, "transfer_left_ms", peer->transfer_left_ms);
}

/* -- LIST ---------------------------------------------------------------------------------------------------------- */

static const sk_member *own_member(const sk_replica *replica)
{
    return sk_members_find(&replica->members, sk_bytes_str(replica->region), replica->options.public_key);
}

static void list_self(sk_ctx *ctx)
{
    const sk_member *own = own_member(ctx->replica);
    char note[256] = "";
    if (own && own->record.state == SK_MEMBER_FORGOTTEN)
        snprintf(note, sizeof note, "this region was forgotten by %s; add it again there and it rejoins with its writes",
                 sk_member_by(ctx->db, own));
    sk_buf joins = {0};
    sk_replica_join_progress(ctx->replica, &joins);
    if (joins.len) snprintf(note, sizeof note, "%.*s", (int)joins.len, (const char *)joins.data);
    sk_buf_free(&joins);
    sk_retained kept = sk_retention_all(ctx->replica);
    sk_reply_map(ctx->reply, 9);
    reply_field(ctx, "region", ctx->replica->region);
    reply_field(ctx, "link", "self");
    reply_field_vector(ctx, "vector", &ctx->db->vv);
    reply_field_int(ctx, "conflicts", (int64_t)ctx->db->conflicts);
    reply_field_int(ctx, "history_bytes", (int64_t)kept.bytes);
    reply_field_int(ctx, "history_age_ms", (int64_t)kept.age_ms);
    reply_field_int(ctx, "history_percent", (int64_t)sk_retention_percent(&ctx->replica->retention, kept));
    reply_field_key(ctx, ctx->replica->options.public_key);
    reply_field(ctx, "note", note);
}

static void list_peer(sk_ctx *ctx, uint32_t index)
{
    sk_replica *replica = ctx->replica;
    sk_peer_status peer = sk_engine_peer_status(replica->engine, index);
    const sk_member *member = sk_members_region(&replica->members, sk_bytes_str(peer.region));
    sk_buf note = {0};
    if (replica->host.link_note) replica->host.link_note(replica->host.self, index, &note);
    if (peer.laggard)
        sk_buf_printf(&note, "%sit lacks more than history is kept for: it will be reconciled", note.len ? "; " : "");
    sk_reply_map(ctx->reply, 9 + TRANSFER_FIELDS + HISTORY_FIELDS);
    reply_field(ctx, "region", peer.region);
    reply_field(ctx, "link", sk_region_link_state(replica, index, &peer));
    reply_field_vector(ctx, "vector", peer.acked);
    reply_field_int(ctx, "lag", (int64_t)distance(&replica->durable_vv, peer.acked));
    reply_field_int(ctx, "heard_ms_ago", heard_ago(replica, &peer));
    reply_field_int(ctx, "round_trip_ms", (int64_t)peer.round_trip_ms);
    reply_field_int(ctx, "clock_offset_ms", peer.clock_offset_ms);
    reply_transfer(ctx, &peer);
    reply_history(ctx, index, &peer);
    reply_field_key(ctx, member ? member->public_key : replica->options.public_key);
    sk_reply_bulk_str(ctx->reply, "note");
    sk_reply_bulk(ctx->reply, sk_buf_view(&note));
    sk_buf_free(&note);
}

/* Is this of a database that is no member, nor an old key of this one? */
static bool is_outside(const sk_member *member) { return !member->chosen && !member->is_own; }

/* How much of a region's history exists, as far as is known here; true if every member has it. */
static bool history_of(const sk_replica *replica, const char *region, sk_vv *history)
{
    bool agreed = true;
    for (uint32_t o = 0; o < replica->db.origins.count; o++) {
        if (strcmp(replica->db.origins.list[o].region, region) != 0) continue;
        uint64_t most = sk_vv_get(&replica->durable_vv, o), least = most;
        for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
            if (!sk_engine_is_peer(replica->engine, i)) continue;
            uint64_t acked = sk_vv_get(sk_engine_peer_status(replica->engine, i).acked, o);
            if (acked > most) most = acked;
            if (acked < least) least = acked;
        }
        if (most) sk_vv_set(history, o, most);
        agreed &= least == most;
    }
    return agreed;
}

static void list_outsider(sk_ctx *ctx, const sk_member *member)
{
    static const char *const links[] = {"refused", "replaced", "forgotten"};
    sk_replica *replica = ctx->replica;
    char note[200] = "";
    sk_vv history = {0};
    const char *by = sk_member_by(ctx->db, member);
    bool agreed = history_of(replica, member->region, &history);
    if (member->record.state == SK_MEMBER_IN)
        snprintf(note, sizeof note,
                 "another database was added as region %s later: forget the one with the wrong key (REGION FORGET "
                 "region public-key)", member->region);
    else if (member->record.state == SK_MEMBER_FORGOTTEN)
        snprintf(note, sizeof note, "forgotten by %s; %s", by,
                 agreed ? "every region has all that there is of its history" : "its history is still on its way");
    else
        snprintf(note, sizeof note, "given another key by %s; this one %s", by,
                 replica->wall_ms < member->record.until_ms ? "may still connect" : "is refused");
    sk_reply_map(ctx->reply, 6);
    reply_field(ctx, "region", member->region);
    reply_field(ctx, "link", links[member->record.state]);
    reply_field_vector(ctx, "vector", &history);
    reply_field_int(ctx, "agreed", agreed);
    reply_field_key(ctx, member->public_key);
    reply_field(ctx, "note", note);
    sk_vv_free(&history);
}

static void region_list(sk_ctx *ctx)
{
    sk_replica *replica = ctx->replica;
    const sk_members *members = &replica->members;
    uint32_t outside = 0;
    for (uint32_t i = 0; i < members->count; i++) outside += is_outside(&members->list[i]);
    sk_reply_array(ctx->reply, sk_engine_others(replica->engine) + 1 + outside);
    list_self(ctx);
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++)
        if (sk_engine_is_peer(replica->engine, i)) list_peer(ctx, i);
    for (uint32_t i = 0; i < members->count; i++)
        if (is_outside(&members->list[i])) list_outsider(ctx, &members->list[i]);
}

/* -- LAG, LINK ----------------------------------------------------------------------------------------------------- */

static void region_lag(sk_ctx *ctx)
{
    sk_replica *replica = ctx->replica;
    sk_reply_array(ctx->reply, sk_engine_others(replica->engine));
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        sk_reply_map(ctx->reply, 6 + TRANSFER_FIELDS + HISTORY_FIELDS);
        reply_field(ctx, "region", peer.region);
        reply_transfer(ctx, &peer);
        reply_field_int(ctx, "received_rows_bytes", (int64_t)peer.received_rows_bytes);
        reply_field_int(ctx, "it_lacks", (int64_t)distance(&replica->durable_vv, peer.acked));
        reply_field_int(ctx, "we_lack", (int64_t)distance(peer.acked, &ctx->db->vv));
        reply_field_int(ctx, "heard_ms_ago", heard_ago(replica, &peer));
        reply_field_int(ctx, "clock_offset_ms", peer.clock_offset_ms);
        reply_history(ctx, i, &peer);
    }
}

static void region_link(sk_ctx *ctx)
{
    sk_replica *replica = ctx->replica;
    int peer = sk_replica_peer(replica, ctx->argv[2]);
    bool up = sk_arg_is(ctx->argv[3], "up");
    if (!up && !sk_arg_is(ctx->argv[3], "down"))
        sk_reply_syntax(ctx);
    else if (peer < 0)
        sk_reply_error(ctx->reply, "ERR no region of that name is a peer of this one");
    else {
        replica->link_down[peer] = !up;
        replica->host.link_allowed(replica->host.self, (uint32_t)peer, up);
        sk_reply_ok(ctx->reply);
    }
}

/* -- ADD, FORGET, REKEY -------------------------------------------------------------------------------------------- */

enum { KEEP_DEFAULT_S = 24 * 3600, KEEP_MAX_S = 10 * 365 * 24 * 3600 };

/* What the arguments behind the name say. */
typedef struct {
    bool has_key;
    uint8_t key[SK_MEMBER_KEY];
} region_args;

/* One argument as the configuration would read it. False after replying with what is wrong. */
static bool read_value(sk_ctx *ctx, const char *kind, sk_bytes text, sk_config_peer *peer)
{
    char copy[SK_MEMBER_ADDRESS_BYTES + 1], why[SK_CONFIG_WHY_MAX];
    if (text.len >= sizeof copy || memchr(text.data, 0, text.len)) {
        sk_reply_errorf(ctx->reply, "ERR this is no %s", kind);
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    if (sk_config_peer_store(peer, kind, copy, why)) return true;
    sk_reply_errorf(ctx->reply, "ERR %s", why);
    return false;
}

/* The name, and the key if there is one; *rest gets what follows. False after replying with an error. */
static bool read_args(sk_ctx *ctx, region_args *args, size_t *rest)
{
    sk_config_peer peer = {0};
    *args = (region_args){0};
    *rest = ctx->argc > 3 ? 4 : 3;
    if (!sk_region_name_valid(ctx->argv[2])) {
        sk_reply_error(ctx->reply, "ERR this is not a region's name (1 to 32 of a to z, 0 to 9 and -)");
        return false;
    }
    if (ctx->argc == 3) return true;
    if (!read_value(ctx, "public_key", ctx->argv[3], &peer)) return false;
    memcpy(args->key, peer.public_key, sizeof args->key);
    args->has_key = true;
    return true;
}

static bool read_addresses(sk_ctx *ctx, size_t from, sk_member_addresses *addresses)
{
    sk_config_peer peer = {0};
    if (ctx->argc - from > SK_MEMBER_ADDRESSES_MAX) {
        sk_reply_errorf(ctx->reply, "ERR a region has at most %d addresses", SK_MEMBER_ADDRESSES_MAX);
        return false;
    }
    for (size_t i = from; i < ctx->argc; i++) {
        if (!read_value(ctx, "address", ctx->argv[i], &peer)) return false;
        addresses->text[addresses->count++] = ctx->argv[i];
    }
    return true;
}

/* False after replying with an error. */
static bool put_row(sk_ctx *ctx, sk_bytes region, const uint8_t key[SK_MEMBER_KEY], const sk_member_record *record)
{
    sk_buf value = {0};
    sk_row row;
    sk_row_name name = sk_row_name_of(ctx->arena, SK_TABLE_MEMBER, region, sk_bytes_of(key, SK_MEMBER_KEY));
    int status = sk_db_row(ctx->db, name.raw, ctx->arena, &row);
    if (status) {
        sk_reply_failure(ctx, status);
        return false;
    }
    sk_member_pack(&value, record);
    bool written = sk_value_write(ctx, &name, &row, sk_buf_view(&value));
    sk_buf_free(&value);
    return written;
}

/* Whoever is a member by the configuration alone, and this region itself, are written down: a region that joins knows
 * only rows. */
static bool put_known(sk_ctx *ctx)
{
    const sk_replica *replica = ctx->replica;
    const sk_member_record plain = {.state = SK_MEMBER_IN};
    for (uint32_t i = 0; i < replica->members.count; i++) {
        const sk_member *member = &replica->members.list[i];
        if (!member->has_row && !put_row(ctx, sk_bytes_str(member->region), member->public_key, &member->record))
            return false;
    }
    return own_member(replica) || put_row(ctx, sk_bytes_str(replica->region), replica->options.public_key, &plain);
}

/* May this key become that region's? False after replying with why not. */
static bool check_key(sk_ctx *ctx, sk_bytes region, const uint8_t key[SK_MEMBER_KEY])
{
    const sk_replica *replica = ctx->replica;
    if (memcmp(key, replica->options.public_key, SK_MEMBER_KEY) == 0) {
        sk_reply_errorf(ctx->reply, "ERR this is the key of this node, region %s", replica->region);
        return false;
    }
    for (uint32_t i = 0; i < replica->members.count; i++) {
        const sk_member *member = &replica->members.list[i];
        if (memcmp(member->public_key, key, SK_MEMBER_KEY) != 0 || member->record.state == SK_MEMBER_FORGOTTEN ||
            sk_bytes_equal(sk_bytes_str(member->region), region))
            continue;
        sk_reply_errorf(ctx->reply, "ERR this is the key of region %s", member->region);
        return false;
    }
    if (replica->members.count < SK_MEMBER_LIST_MAX) return true;
    sk_reply_errorf(ctx->reply, "ERR there are %d keys of regions already", SK_MEMBER_LIST_MAX);
    return false;
}

static void region_add(sk_ctx *ctx)
{
    const sk_replica *replica = ctx->replica;
    sk_bytes name = ctx->argv[2];
    region_args args;
    size_t rest;
    sk_member_record record = {.state = SK_MEMBER_IN};
    if (!read_args(ctx, &args, &rest) || !read_addresses(ctx, rest, &record.addresses)) return;
    const sk_member *region = sk_members_region(&replica->members, name);
    const sk_member *before = sk_members_find(&replica->members, name, args.key);
    if (sk_bytes_equal(name, sk_bytes_str(replica->region))) {
        sk_reply_error(ctx->reply, "ERR this is the region itself: add it from another one");
        return;
    }
    if (!check_key(ctx, name, args.key)) return;
    if (region && region != before) {
        sk_reply_errorf(ctx->reply, "ERR region %s is a member with another key: give it a new one with REGION REKEY, or "
                                    "forget it first", region->region);
        return;
    }
    if (!region && sk_engine_others(replica->engine) >= SK_MEMBERS_MAX - 1) {
        sk_reply_errorf(ctx->reply, "ERR a cluster has at most %d regions: forget one first", SK_MEMBERS_MAX);
        return;
    }
    if (before) record.forgets = before->record.forgets;
    if (put_known(ctx) && put_row(ctx, name, args.key, &record)) sk_reply_ok(ctx->reply);
}

static void region_forget(sk_ctx *ctx)
{
    const sk_replica *replica = ctx->replica;
    sk_bytes name = ctx->argv[2];
    region_args args;
    size_t rest;
    bool known = false;
    if (!read_args(ctx, &args, &rest)) return;
    if (rest < ctx->argc) {
        sk_reply_syntax(ctx);
        return;
    }
    for (uint32_t i = 0; i < replica->members.count; i++) {
        const sk_member *member = &replica->members.list[i];
        if (!sk_bytes_equal(sk_bytes_str(member->region), name) || member->is_own) continue;
        if (args.has_key && memcmp(member->public_key, args.key, SK_MEMBER_KEY) != 0) continue;
        known = true;
        if (member->record.state == SK_MEMBER_FORGOTTEN) continue;
        sk_member_record record = member->record;
        record.state = SK_MEMBER_FORGOTTEN;
        record.until_ms = 0;
        record.forgets++;
        if (!put_row(ctx, name, member->public_key, &record)) return;
    }
    if (!known && sk_bytes_equal(name, sk_bytes_str(replica->region)))
        sk_reply_error(ctx->reply, "ERR this is the region itself: forget it from another one");
    else if (!known)
        sk_reply_error(ctx->reply, "ERR no region of that name is known here");
    else
        sk_reply_ok(ctx->reply);
}

/* KEEP seconds. False after replying with an error. */
static bool read_keep(sk_ctx *ctx, size_t from, int64_t *keep_s)
{
    if (ctx->argc == from) return true;
    if (ctx->argc != from + 2 || !sk_arg_is(ctx->argv[from], "keep")) {
        sk_reply_syntax(ctx);
        return false;
    }
    if (!sk_arg_int(ctx, ctx->argv[from + 1], keep_s)) return false;
    if (*keep_s >= 0 && *keep_s <= KEEP_MAX_S) return true;
    sk_reply_errorf(ctx->reply, "ERR KEEP is a number of seconds, 0 to %d", KEEP_MAX_S);
    return false;
}

static void region_rekey(sk_ctx *ctx)
{
    const sk_replica *replica = ctx->replica;
    sk_bytes name = ctx->argv[2];
    region_args args;
    size_t rest;
    int64_t keep_s = KEEP_DEFAULT_S;
    if (!read_args(ctx, &args, &rest) || !read_keep(ctx, rest, &keep_s)) return;
    bool is_own = sk_bytes_equal(name, sk_bytes_str(replica->region));
    const sk_member *region = is_own ? own_member(replica) : sk_members_region(&replica->members, name);
    const uint8_t *old = is_own ? replica->options.public_key : region ? region->public_key : NULL;
    if (!old) {
        sk_reply_error(ctx->reply, "ERR no region of that name is known here");
        return;
    }
    if (memcmp(old, args.key, SK_MEMBER_KEY) == 0) {
        sk_reply_error(ctx->reply, "ERR this is the key that it has");
        return;
    }
    if (!check_key(ctx, name, args.key)) return;
    sk_member_record record = {.state = SK_MEMBER_IN};
    if (region) record = region->record;
    const sk_member *before = sk_members_find(&replica->members, name, args.key);
    sk_member_record fresh = record;
    fresh.state = SK_MEMBER_IN;
    fresh.forgets = before ? before->record.forgets : 0;
    record.state = SK_MEMBER_REPLACED;
    record.until_ms = replica->wall_ms + (uint64_t)keep_s * 1000;
    if (put_known(ctx) && put_row(ctx, name, old, &record) && put_row(ctx, name, args.key, &fresh))
        sk_reply_ok(ctx->reply);
}

static void region_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "REGION <subcommand> [<arg> ...]. The regions of this cluster:",
        "ADD <region> <public-key> [<address> ...]",
        "    Take a region into the cluster, or again after it was forgotten; or give it other addresses. Without any it",
        "    is awaited and not dialed.",
        "FORGET <region> [<public-key>]",
        "    It is no member any more: nothing waits for it, and it is refused. What some regions have of its writes",
        "    reaches all. With a key only the database that has it.",
        "AUDIT [START | RESOLVE <key> FROM <region>]",
        "    Whether everything on this node's disk is what was put there, and what the other regions have, and which rows are",
        "    not; START looks anew. RESOLVE: the rows of a key that differ from a region's become that region's.",
        "LAG",
        "    For each other region how many transactions it lacks of ours, and we of it.",
        "LINK <region> up|down",
        "    Take the link to a region out of service, until this node is started again at most, or into it again.",
        "LIST",
        "    Every region with link, version vector, lag, round trip and clock offset; those that were forgotten too.",
        "REKEY <region> <public-key> [KEEP <seconds>]",
        "    Give a region a new key; with the old one it may connect for so long (a day).",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

#define OWN(name, run, arity, flags, args, summary) \
    {name, run, arity, flags, 0, 0, 0, "replication", "", "skerry 0.1", args, summary, NULL}

const sk_command sk_region_commands[] = {
    OWN("add", region_add, -4, SK_CMD_WRITE | SK_CMD_ADMIN | SK_CMD_NO_MULTI,
        "region public-key [address [address ...]]",
        "Take a region into the cluster, or again after it was forgotten; or give it other addresses"),
    OWN("audit", sk_cmd_region_audit, -2, SK_CMD_READONLY | SK_CMD_ADMIN | SK_CMD_NO_MULTI | SK_CMD_LOADING,
        "[START|RESOLVE key FROM region]",
        "Whether everything on this node's disk is what was put there, and what the other regions have, and which rows are "
        "not; START looks anew; RESOLVE makes the rows of a key that differ from a region's that region's"),
    OWN("forget", region_forget, -3, SK_CMD_WRITE | SK_CMD_ADMIN | SK_CMD_NO_MULTI, "region [public-key]",
        "Nothing waits for a region any more, and it is refused until it is added again"),
    OWN("help", region_help, 2, SK_CMD_READONLY | SK_CMD_FAST | SK_CMD_LOADING, "", "The subcommands"),
    OWN("lag", region_lag, 2, SK_CMD_READONLY | SK_CMD_FAST | SK_CMD_LOADING, "",
        "For each other region how many transactions it lacks of ours, and we of it, how its clock differs, and what "
        "history is kept for it"),
    OWN("link", region_link, 4, SK_CMD_ADMIN | SK_CMD_NO_MULTI | SK_CMD_LOADING, "region up|down",
        "Take the link to a region out of service, until this node is started again at most, or into it again"),
    OWN("list", region_list, 2, SK_CMD_READONLY | SK_CMD_FAST | SK_CMD_LOADING, "",
        "Every region with link, version vector, lag, round trip and clock offset; those that were forgotten too"),
    OWN("rekey", region_rekey, -4, SK_CMD_WRITE | SK_CMD_ADMIN | SK_CMD_NO_MULTI,
        "region public-key [KEEP seconds]", "Give a region a new key, and let it use the old one for a while"),
    {0},
};
