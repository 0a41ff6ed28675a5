#include "node/replica.h"

#include "node/export.h"
#include "node/keyspace.h"
#include "node/record.h"
#include "node/session.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    STORE_RETRY_MS = 1000,   /* how often a failed store is tried again */
    SUMS_EVERY_MS = 2,       /* how often sums get on, by half a leaf: a fifth of the loop's time at most; … */
    SUMS_CUTS_EVERY_MS = 5,  /* … where leaves are cut, by four: likewise, … */
    SUMS_CUTS_AMID_MS = 100, /* … unless commands or batches come, of which none in a hundred is to wait for that. What is cut late is read
                              * once, however much it has outgrown */
    SUMS_PUT_OFF_MS = 20,
    AUDIT_ENTRIES = 1024,    /* of history and the like gone through in a step: more than can be written meanwhile */
    SUMS_UNORDERED = 1024,   /* above so many changes without an order leaves are not cut: that is a millisecond's work */
    SUMS_RETRY_MS = 1000,    /* … after an error */
    FOLD_AHEAD_BYTES = 1 << 20, /* of rows put into place, before all of it is on the disk */
    REPAIR_EVERY_MS = 1000,
    REVISIT_ENTRIES = 64,    /* entries of old history looked at again in a turn */
    FORGET_ENTRIES = 4096,   /* entries of history read in a turn, where they have to be, to be forgotten */
};

/* -- random bits: splitmix64, seeded from outside -------------------------------------------------------------------------- */

uint64_t sk_replica_random(sk_replica *replica)
{
    uint64_t z = replica->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* -- what the database tells -------------------------------------------------------------------------------------------------- */

static void on_local(void *self, const sk_txn *txn)
{
    sk_replica *replica = self;
    sk_engine_local(replica->engine, txn, replica->now_ms, replica->wall_ms);
    if (replica->host.audit) replica->host.audit(replica->host.self, txn);
}

/* Is there a key, for readers? When that cannot be read, there may be one. */
static bool is_visible(sk_replica *replica, sk_bytes key)
{
    sk_arena arena = {0};
    sk_row row;
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, key, SK_BYTES_NONE);
    bool failed = sk_db_row(&replica->db, name.raw, &arena, &row) != 0;
    bool visible = failed || sk_key_row_visible(&row, replica->wall_ms);
    sk_arena_free(&arena);
    return visible;
}

static void on_change(void *self, sk_bytes key)
{
    sk_replica *replica = self;
    sk_watched *watched = sk_watches_first(&replica->watches, key);
    bool visible = watched && is_visible(replica, key);
    for (; watched; watched = sk_watches_next(watched)) watched->client->watch_broken |= !watched->absent || visible;
}

/* -- opening and closing --------------------------------------------------------------------------------------------------------- */

static sk_bytes acked_key(sk_buf *buf, const char *region)
{
    sk_buf_reset(buf);
    sk_buf_printf(buf, "acked/%s", region);
    return sk_buf_view(buf);
}

/* -- who is a member ---------------------------------------------------------------------------------------------------------------- */

/* A forgotten database may come back, and what is no member's now may be with one: of all origins but those that members
 * write under. Which dead counts that keeps from going is said in gossip/stability.c. */
static bool may_return(void *self, uint32_t origin)
{
    const sk_replica *replica = self;
    sk_bytes region = sk_bytes_str(replica->db.origins.list[origin].region);
    bool is_own = sk_bytes_equal(region, sk_bytes_str(replica->region));
    if (!is_own && sk_replica_peer(replica, region) < 0) return true;
    return replica->members.forgotten && !sk_engine_is_current(replica->engine, origin);
}

static void remove_peer(sk_replica *replica, uint32_t peer)
{
    sk_buf key = {0};
    const char *region = sk_engine_peer_status(replica->engine, peer).region;
    sk_store_remove(replica->store, SK_CF_META, acked_key(&key, region));
    replica->db.dirty = true;
    replica->link_down[peer] = false;
    sk_retention_removed(replica, peer);
    sk_quarantine_agree(&replica->db, sk_bytes_str(region));
    sk_engine_remove_peer(replica->engine, peer, SK_E_FORGOTTEN, replica->now_ms, replica->wall_ms);
    sk_buf_free(&key);
}

static int add_peer(sk_replica *replica, const char *region)
{
    sk_buf key = {0};
    sk_vv acked = {0};
    sk_bytes value;
    int found = sk_record_get(replica->store, SK_CF_META, acked_key(&key, region), &value, NULL);
    bool known = false;
    if (found > 0) {
        sk_reader reader = sk_reader_of(value);
        sk_vv_read_own(&reader, &replica->db.origins, &acked);
        known = sk_reader_done(&reader);
    }
    int status = found < 0 ? found : sk_engine_add_peer(replica->engine, region, known ? &acked : NULL);
    if (status >= 0) status = sk_retention_added(replica, (uint32_t)status);
    sk_buf_free(&key);
    sk_vv_free(&acked);
    return status;
}

static const sk_bytes KEY_FORGETS = {(const uint8_t *)"forgets", 7};

/* A region that was forgotten and added again goes on under a new incarnation: what it wrote meanwhile is that of one
 * that is over. How often that was is noted with it. */
static int follow_own(sk_replica *replica)
{
    const sk_member *own =
        sk_members_find(&replica->members, sk_bytes_str(replica->region), replica->options.public_key);
    if (!own || own->record.state != SK_MEMBER_IN || own->record.forgets == 0) return 0;
    sk_bytes value = SK_BYTES_NONE;
    int found = sk_record_get(replica->store, SK_CF_META, KEY_FORGETS, &value, NULL);
    if (found < 0) return found;
    sk_reader reader = sk_reader_of(value);
    if (found && sk_read_uint(&reader) >= own->record.forgets) return 0;
    int status = sk_engine_reincarnate(replica->engine, replica->now_ms, replica->wall_ms);
    if (status) return status;
    sk_buf noted = {0};
    sk_pack_uint(&noted, own->record.forgets);
    sk_record_put(replica->store, SK_CF_META, KEY_FORGETS, &noted);
    replica->db.dirty = true;
    sk_buf_free(&noted);
    return 0;
}

/* Brings the engine's peers in line with the members. */
static int follow_members(sk_replica *replica)
{
    sk_member_self self = {replica->region, replica->options.public_key, replica->options.peers,
                           replica->options.peer_count, replica->db.joining ? replica->options.join : NULL};
    int status = sk_members_load(&replica->db, &self, SK_MEMBERS_MAX - 1, &replica->members);
    if (status) return status;
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        if (!sk_members_region(&replica->members, sk_bytes_str(peer.region))) remove_peer(replica, i);
    }
    for (uint32_t i = 0; i < replica->members.count && !status; i++) {
        const sk_member *member = &replica->members.list[i];
        if (replica->db.joining && strcmp(member->region, replica->options.join) != 0) continue; /* one after the other */
        if (member->chosen && sk_replica_peer(replica, sk_bytes_str(member->region)) < 0)
            status = add_peer(replica, member->region);
    }
    if (!status) status = follow_own(replica);
    if (status) return status;
    replica->db.members_stale = false;
    sk_db_revisit_anew(&replica->db);
    if (replica->host.members_changed) replica->host.members_changed(replica->host.self);
    return 0;
}

/* What peers had acknowledged goes to disk with the clean end of a run: a restart need not wait to hear it again. */
static void put_acked(sk_replica *replica)
{
    sk_buf key = {0}, value = {0};
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        sk_buf_reset(&value);
        sk_vv_pack(&value, peer.acked);
        sk_record_put(replica->store, SK_CF_META, acked_key(&key, peer.region), &value);
    }
    replica->db.dirty = true;
    sk_buf_free(&key);
    sk_buf_free(&value);
}

/* What a crash left of one. */
static int drop_import(sk_db *db)
{
    int status = sk_import_drop_left(db);
    if (!status && db->dirty) sk_db_seal(db);
    return status;
}

static void all_is_durable(sk_replica *replica)
{
    sk_vv_copy(&replica->durable_vv, &replica->db.vv);
    replica->durable_digest = replica->db.digest;
    replica->durable_whole = !sk_fold_active(&replica->db);
}

int sk_replica_new(sk_store *store, const sk_replica_options *options, const sk_replica_host *host, uint64_t now_ms,
                   uint64_t wall_ms, sk_buf *error, sk_replica **out)
{
    sk_replica *replica = sk_alloc(sizeof *replica);
    replica->store = store;
    replica->options = *options;
    replica->host = *host;
    replica->random = replica->watches.seed = options->seed;
    replica->now_ms = now_ms;
    replica->wall_ms = replica->started_ms = wall_ms;
    replica->epoch = 1;
    sk_db_identity identity = {options->region, options->cluster, options->life,
                               sk_incarnation_make(sk_replica_random(replica), wall_ms, true), options->join != NULL};
    int status = sk_db_open(&replica->db, store, &identity, error);
    if (!status) status = drop_import(&replica->db);
    if (!status) status = sk_store_flush(store);
    if (status) {
        if (error->len == 0) sk_buf_printf(error, "the database cannot be written: %s", sk_error_text(status));
        if (replica->db.store && status != SK_E_REGION) sk_db_close(&replica->db);
        free(replica);
        return status;
    }
    if (replica->db.joining && !options->join) sk_db_joined(&replica->db); /* it is told to go on with what it has */
    sk_cursors_init(&replica->cursors, sk_replica_random(replica));
    strcpy(replica->region, options->region);
    replica->db.wall_ms = wall_ms;
    replica->fold_rows = options->fold_rows ? options->fold_rows : SK_FOLD_ROWS;
    if (options->leaf_rows) replica->db.sums.leaf_rows = options->leaf_rows;
    replica->db.transaction_max = options->transaction_bytes_max;
    replica->db.on_local = on_local;
    replica->db.on_change = on_change;
    replica->db.may_return = may_return;
    replica->db.self = replica;
    replica->retention.cap = options->retention;
    replica->retention.began_ms = now_ms;
    sk_engine_host asked = sk_replica_engine_host(replica);
    replica->engine = sk_engine_new(replica->region, &asked, &options->limits, &replica->db.vv, &replica->db.origins,
                                    &replica->db.own);
    status = follow_members(replica);
    if (!status) status = sk_retention_load(replica);
    if (status) {
        sk_buf_printf(error, "the members cannot be read: %s", status == SK_E_CORRUPT ? SK_RECORD_ADVICE
                                                                                    : sk_error_text(status));
        sk_replica_free(replica);
        return status;
    }
    all_is_durable(replica);
    /* What was sealed while opening is flushed: numbers up to here are durable. */
    replica->last_sealed = sk_db_seal(&replica->db);
    (void)sk_store_reap(store, &replica->durable);
    sk_engine_durable(replica->engine, &replica->durable_vv, now_ms, wall_ms);
    *out = replica;
    return 0;
}

void sk_replica_free(sk_replica *replica)
{
    while (replica->clients) sk_client_free(replica->clients);
    sk_replica_import_abort(replica);
    if (!replica->db.failed && !replica->store_error && replica->engine) {
        put_acked(replica);
        sk_db_seal(&replica->db);
    }
    sk_engine_free(replica->engine);
    for (uint32_t i = 0; i < replica->sealed_room; i++) sk_vv_free(&replica->sealed[i].vv);
    free(replica->sealed);
    sk_vv_free(&replica->durable_vv);
    sk_vv_free(&replica->join_goal);
    sk_cursors_free(&replica->cursors);
    sk_members_free(&replica->members);
    sk_retention_free(&replica->retention);
    sk_expiry_reset(&replica->expiry);
    sk_arena_free(&replica->arena);
    sk_wanted_free(&replica->wanted);
    sk_db_close(&replica->db);
    free(replica);
}

/* -- turns ------------------------------------------------------------------------------------------------------------------------ */

void sk_replica_time(sk_replica *replica, uint64_t now_ms, uint64_t wall_ms)
{
    if (now_ms > replica->now_ms) replica->now_ms = now_ms;
    replica->wall_ms = replica->db.wall_ms = wall_ms;
    replica->db.ahead_ms = wall_ms - sk_engine_clock(replica->engine, replica->now_ms, wall_ms).stamp_ms;
}

static void seal(sk_replica *replica)
{
    if (!replica->db.dirty) return;
    if (replica->sealed_count == replica->sealed_room) {
        uint32_t room = replica->sealed_room ? replica->sealed_room * 2 : 16;
        replica->sealed = sk_realloc(replica->sealed, room * sizeof *replica->sealed);
        memset(replica->sealed + replica->sealed_room, 0, (room - replica->sealed_room) * sizeof *replica->sealed);
        replica->sealed_room = room;
    }
    sk_sealed *sealed = &replica->sealed[replica->sealed_count++];
    sk_vv_copy(&sealed->vv, &replica->db.vv);
    sealed->digest = replica->db.digest;
    sealed->whole = !sk_fold_active(&replica->db);
    sealed->batch = replica->last_sealed = sk_db_seal(&replica->db);
}

int sk_replica_commit(sk_replica *replica)
{
    uint64_t durable;
    seal(replica);
    int status = sk_store_flush(replica->store);
    if (!status) status = sk_store_reap(replica->store, &durable); /* it lets go of what is in its place */
    if (status) replica->db.failed = status;
    return status;
}

/* A new database is complete once it holds all that the peer had when the link to it came up; or, if the peer has lost some of that, all
 * that it has then: a link may be replaced by another with nobody to see that it was down. From then on it is a member like others, and
 * linked with all. */
static void join(sk_replica *replica)
{
    if (!replica->db.joining) return;
    int peer = sk_replica_peer(replica, sk_bytes_str(replica->options.join));
    sk_peer_status status = {0};
    if (peer >= 0) status = sk_engine_peer_status(replica->engine, (uint32_t)peer);
    if (!status.up) replica->has_join_goal = false;
    if (status.up && !(replica->has_join_goal && sk_vv_at_most(&replica->join_goal, status.acked))) {
        sk_vv_copy(&replica->join_goal, status.acked);
        replica->has_join_goal = true;
    }
    if (!replica->has_join_goal || sk_fold_active(&replica->db)) return;
    if (!sk_vv_at_most(&replica->join_goal, &replica->db.vv)) return;
    sk_db_joined(&replica->db);
    replica->db.members_stale = true;
}

void sk_replica_join_progress(const sk_replica *replica, sk_buf *text)
{
    if (!replica->db.joining) return;
    int peer = sk_replica_peer(replica, sk_bytes_str(replica->options.join));
    sk_peer_status status = {0};
    if (peer >= 0) status = sk_engine_peer_status(replica->engine, (uint32_t)peer);
    uint64_t lacks = 0;
    for (uint32_t o = 0; o < replica->join_goal.count; o++)
        if (replica->join_goal.seq[o] > sk_vv_get(&replica->db.vv, o))
            lacks += replica->join_goal.seq[o] - sk_vv_get(&replica->db.vv, o);
    sk_buf_printf(text, "this region joins through %s: ", replica->options.join);
    if (!status.up)
        sk_buf_printf(text, "there is no link to it yet");
    else if (sk_fold_active(&replica->db))
        sk_buf_printf(text, "everything has come and is being put into place");
    else
        sk_buf_printf(text, "%" PRIu64 " bytes have come over the link, %" PRIu64 " transactions are still lacking",
                      status.received_bytes, lacks);
    if (status.receiving_transfer && status.transfer_left_ms >= 0)
        sk_buf_printf(text, ", about %" PRId64 " s are left", (status.transfer_left_ms + 999) / 1000);
}

/* As long as it is not known whether the rows must be repaired, what a repair would need is kept. */
void sk_replica_forget(sk_replica *replica, const sk_vv *stable, const sk_vv *everywhere)
{
    if (sk_audit_pending(&replica->db)) return;
    replica->more_to_do |= sk_db_forget_some(&replica->db, stable, everywhere, FORGET_ENTRIES) > 0;
}

/* What was stable while rows were being folded in, or was forgotten in a batch that failed. */
static void forget(sk_replica *replica)
{
    const sk_vv *stable = sk_engine_stable(replica->engine), *everywhere = sk_engine_everywhere(replica->engine);
    if (!sk_vv_at_most(stable, &replica->db.floor)) sk_replica_forget(replica, stable, everywhere);
    if (sk_audit_pending(&replica->db)) return;
    replica->more_to_do |= sk_db_revisit(&replica->db, everywhere, REVISIT_ENTRIES) > 0;
}

static bool receives(const sk_replica *replica)
{
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++)
        if (sk_engine_is_peer(replica->engine, i) && sk_engine_peer_status(replica->engine, i).receiving_transfer) return true;
    return false;
}

/* Has it come in another way, what an interrupted transfer would bring? So no member is known to have more than we do. What a
 * start finds noted of the members is old; the first hello brings it up to date. */
static bool has_what_is_known(const sk_replica *replica)
{
    bool heard = sk_engine_others(replica->engine) == 0;
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        bool heard_of = peer.last_heard_ms != 0; /* though it has nothing */
        for (uint32_t o = 0; o < peer.acked->count; o++) heard_of |= peer.acked->seq[o] != 0;
        if (!heard_of || !sk_vv_at_most(peer.acked, &replica->db.vv)) return false;
        heard |= peer.last_heard_ms != 0;
    }
    return heard;
}

/* An interrupted transfer is kept to be resumed, unless it would bring nothing. A repair or an audit is never resumed; and
 * while one is staged, nothing is forgotten. */
static void drop_staged(sk_replica *replica)
{
    if (!replica->db.fold || sk_fold_active(&replica->db) || replica->import || receives(replica)) return;
    if (sk_fold_waits_for_history(&replica->db) || has_what_is_known(replica)) sk_fold_drop_staged(&replica->db);
}

static bool audits_rows(const sk_replica *replica)
{
    sk_audit_stage stage = replica->db.audit.stage;
    return stage == SK_AUDIT_ROWS || stage == SK_AUDIT_SIZES;
}

/* Everything is gone through after a start; then the sums are kept in shape. Leaves that are cut late are as right as others, only coarser:
 * it waits until reading rows does not take the order of all that is being written (it halved the SETs of new keys). */
static void add_up(sk_replica *replica)
{
    const sk_sums *sums = &replica->db.sums;
    bool audits = sk_audit_pending(&replica->db);
    if (replica->db.failed || !(audits || sk_sums_pending(sums)) || replica->now_ms < replica->sums_at_ms) return;
    bool cuts = !audits && sums->state != SK_SUMS_SCANNING;
    if (cuts && sk_store_unordered(replica->store) > SUMS_UNORDERED) {
        replica->sums_at_ms = replica->now_ms + SUMS_PUT_OFF_MS;
        return;
    }
    uint32_t rows = (sums->leaf_rows + 1) / 2;
    int status = audits ? sk_audit_step(&replica->db, audits_rows(replica) ? rows : AUDIT_ENTRIES)
                        : sk_sums_step(&replica->db, rows);
    uint64_t work = replica->last_sealed + replica->stat_commands;
    uint64_t every_ms = !cuts ? SUMS_EVERY_MS : replica->sums_work != work ? SUMS_CUTS_AMID_MS : SUMS_CUTS_EVERY_MS;
    replica->sums_work = work;
    replica->hurries &= status > 0 && audits;
    replica->sums_at_ms = replica->now_ms + (status < 0 ? SUMS_RETRY_MS : replica->hurries ? 0 : every_ms);
}

/* Brings staged rows into place, some in a turn: those that somebody waits for, or else the next ones, and rests for these as
 * transfers do. */
static bool fold_some(sk_replica *replica)
{
    if (sk_wanted_turn(replica)) return true;
    bool rests = !replica->wanted.all;
    if (!sk_fold_active(&replica->db) || (rests && replica->now_ms < replica->fold_at_ms)) return false;
    uint64_t begin_us = sk_replica_clock_us(replica);
    bool more = sk_fold_step(&replica->db, replica->fold_rows) > 0;
    if (rests) replica->fold_debt_us += sk_engine_rest_us(replica->engine, sk_replica_clock_us(replica) - begin_us);
    replica->fold_at_ms = replica->now_ms + replica->fold_debt_us / 1000;
    replica->fold_debt_us %= 1000;
    return more && replica->now_ms >= replica->fold_at_ms;
}

/* It does not run ahead of the disk: what others write would have to wait for all of that. */
static void fold(sk_replica *replica)
{
    if (replica->db.failed || replica->durable < replica->fold_batch) return;
    size_t before = sk_store_open_bytes(replica->store);
    replica->more_to_do = fold_some(replica);
    replica->fold_bytes += sk_store_open_bytes(replica->store) - before;
    if (replica->fold_bytes < FOLD_AHEAD_BYTES) return;
    replica->fold_bytes = 0;
    replica->fold_batch = sk_replica_newest_batch(replica);
    replica->more_to_do = false;
}

/* What has become of a transfer after each step is a state like any other: the cursor is in the batch. While the store takes no
 * writes, all of it is held. */
int sk_replica_fold_all(sk_replica *replica)
{
    int more = 1;
    while (more > 0) {
        more = sk_fold_step(&replica->db, replica->fold_rows);
        bool full = sk_store_open_bytes(replica->store) >= replica->options.transaction_bytes_max;
        if (more > 0 && full && !replica->store_error && sk_replica_commit(replica)) more = replica->db.failed;
    }
    return more;
}

/* Damaged rows are asked for, of one peer after the other. */
static void repair(sk_replica *replica)
{
    if (replica->now_ms < replica->repair_at_ms || replica->db.failed || !sk_audit_wants_repair(&replica->db)) return;
    replica->repair_at_ms = replica->now_ms + REPAIR_EVERY_MS;
    int asked = sk_engine_repair(replica->engine, &replica->db.floor, replica->now_ms, replica->wall_ms);
    if (asked == SK_E_GAP) sk_audit_not_repaired(&replica->db);
}

/* Where names of rows in quarantine have become free, those of other regions that have none are looked at once more. */
static void name_others(sk_replica *replica)
{
    sk_quarantine *quarantine = &replica->db.quarantine;
    if (!quarantine->freed || replica->db.failed) return;
    quarantine->freed = false;
    for (uint32_t i = 0; i < quarantine->unnamed_count && quarantine->count < quarantine->names_max; i++) {
        int peer = sk_replica_peer(replica, quarantine->unnamed[i].region);
        if (peer >= 0) sk_engine_compare_again(replica->engine, (uint32_t)peer, replica->now_ms, replica->wall_ms);
    }
}

void sk_replica_turn(sk_replica *replica)
{
    replica->more_to_do = false;
    if (replica->store_error) return;
    if (replica->db.members_stale && !replica->db.failed) replica->db.failed = follow_members(replica);
    sk_expiry_turn(replica);
    fold(replica);
    join(replica);
    sk_retention_look(replica);
    forget(replica);
    drop_staged(replica);
    add_up(replica);
    repair(replica);
    name_others(replica);
    if (!replica->db.failed) seal(replica);
}

/* -- durability --------------------------------------------------------------------------------------------------------------------- */

static void answer_blocked(sk_replica *replica)
{
    sk_client *next;
    for (sk_client *client = replica->clients; client && replica->blocked_count; client = next) {
        next = client->next;
        if (client->block != SK_BLOCK_NONE) sk_session_poll(replica, client);
    }
}

/* Who waits for an origin that was undone waits no longer: another one may get its number. */
static void release_waiting(sk_replica *replica)
{
    for (sk_client *client = replica->clients; client; client = client->next)
        if (client->block == SK_BLOCK_AFTER && client->block_vv.count > replica->db.origins.count)
            client->block_until_ms = replica->now_ms;
}

/* Everything not on disk is void: back to what is. Where the store cannot read something that is needed to go on, it stays so:
 * trying again would meet it again. Nobody outside has seen it: replies and deltas were held. Reads go on
 * from there, whether the store takes writes again or not yet; while it does not, it is asked again from time to time. */
static void roll_back(sk_replica *replica)
{
    if (!replica->store_error) {
        replica->store_error = replica->db.failed ? replica->db.failed : SK_E_IO;
        replica->epoch++;
        replica->retry_at_ms = replica->now_ms;
    }
    if (replica->now_ms < replica->retry_at_ms) return;
    replica->retry_at_ms = replica->now_ms + STORE_RETRY_MS;
    sk_engine_store_failed(replica->engine);
    for (sk_client *client = replica->clients; client; client = client->next) sk_client_export_close(client);
    bool corrupt = replica->store_error == SK_E_CORRUPT;
    int status = sk_store_reopen(replica->store), loaded = sk_db_reload(&replica->db);
    sk_replica_import_abort(replica);
    if (!status && !loaded) loaded = sk_import_drop_left(&replica->db);
    if (!loaded) loaded = sk_retention_load(replica);
    if (!status && !loaded && corrupt) {
        sk_audit_unreadable(&replica->db);
        replica->retry_at_ms = UINT64_MAX;
    }
    replica->store_error = status ? status : loaded ? loaded : corrupt ? SK_E_CORRUPT : 0;
    replica->sealed_count = 0;
    replica->fold_batch = 0;
    sk_expiry_reset(&replica->expiry);
    if (loaded) {
        replica->db.failed = loaded; /* not even what is there can be read */
        return;
    }
    if (!status) replica->last_sealed = sk_db_seal(&replica->db);
    release_waiting(replica);
    all_is_durable(replica);
    sk_engine_rolled_back(replica->engine, !replica->store_error, replica->now_ms, replica->wall_ms);
    sk_engine_durable(replica->engine, &replica->durable_vv, replica->now_ms, replica->wall_ms);
}

void sk_replica_reap(sk_replica *replica)
{
    uint64_t durable = replica->durable;
    int status = replica->store_error ? replica->store_error : sk_store_reap(replica->store, &durable);
    if (status || replica->db.failed) {
        if (!replica->store_error && status) replica->db.failed = status;
        roll_back(replica);
    } else if (durable > replica->durable) {
        replica->durable = durable;
        uint32_t done = 0;
        while (done < replica->sealed_count && replica->sealed[done].batch <= durable) done++;
        if (done) {
            const sk_sealed *last = &replica->sealed[done - 1];
            sk_vv_copy(&replica->durable_vv, &last->vv);
            replica->durable_digest = last->digest;
            replica->durable_whole = last->whole;
            for (uint32_t i = 0; i < replica->sealed_count - done; i++) {
                sk_sealed spare = replica->sealed[i];
                replica->sealed[i] = replica->sealed[i + done];
                replica->sealed[i + done] = spare;
            }
            replica->sealed_count -= done;
            sk_engine_durable(replica->engine, &replica->durable_vv, replica->now_ms, replica->wall_ms);
        }
    }
    if (replica->now_ms >= sk_engine_next_ms(replica->engine))
        sk_engine_tick(replica->engine, replica->now_ms, replica->wall_ms);
    answer_blocked(replica);
}

uint64_t sk_replica_next_ms(const sk_replica *replica)
{
    uint64_t next = sk_engine_next_ms(replica->engine);
    if (replica->more_to_do) return replica->now_ms;
    if (sk_expiry_next_ms(replica) < next) next = sk_expiry_next_ms(replica);
    if (replica->store_error && replica->retry_at_ms < next) next = replica->retry_at_ms;
    bool folds = !replica->store_error && !replica->db.failed && sk_fold_active(&replica->db) &&
                 replica->durable >= replica->fold_batch;
    uint64_t fold_at_ms = sk_wanted_any(&replica->wanted) ? replica->now_ms : replica->fold_at_ms;
    if (folds && fold_at_ms < next) next = fold_at_ms;
    if (!replica->store_error && sk_retention_next_ms(replica) < next) next = sk_retention_next_ms(replica);
    if (!replica->store_error && sk_audit_wants_repair(&replica->db) && replica->repair_at_ms < next)
        next = replica->repair_at_ms;
    bool adds_up = !replica->store_error && (sk_sums_pending(&replica->db.sums) || sk_audit_pending(&replica->db));
    if (adds_up && replica->sums_at_ms < next) next = replica->sums_at_ms;
    for (sk_client *client = replica->blocked_count ? replica->clients : NULL; client; client = client->next)
        if (client->block != SK_BLOCK_NONE && client->block_until_ms < next) next = client->block_until_ms;
    return next;
}

/* -- imports ------------------------------------------------------------------------------------------------------------------------ */

static int known_elsewhere(void *self, uint64_t seq)
{
    sk_replica *replica = self;
    return sk_engine_known_elsewhere(replica->engine, seq, replica->now_ms, replica->wall_ms);
}

int sk_replica_import(sk_replica *replica, const sk_client *client)
{
    if (replica->import || sk_fold_active(&replica->db) || receives(replica)) return SK_E_BUSY;
    replica->import = sk_import_open(&replica->db, replica->options.cluster, known_elsewhere, replica);
    replica->importer = client;
    return 0;
}

void sk_replica_import_abort(sk_replica *replica)
{
    sk_import_abort(replica->import);
    replica->import = NULL;
    replica->importer = NULL;
}

uint32_t sk_replica_drifts(const sk_replica *replica)
{
    uint32_t drifts = 0;
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++)
        drifts += sk_engine_is_peer(replica->engine, i) && sk_engine_peer_status(replica->engine, i).drifts;
    return drifts;
}

const char *sk_replica_audit_text(const sk_replica *replica)
{
    bool drift = replica->db.quarantine.count || replica->db.quarantine.nameless || sk_replica_drifts(replica);
    bool sound = !sk_audit_damaged(&replica->db) && !sk_audit_pending(&replica->db);
    return drift && sound ? "drift" : sk_audit_text(&replica->db);
}

int sk_replica_peer(const sk_replica *replica, sk_bytes region)
{
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++)
        if (sk_engine_is_peer(replica->engine, i) &&
            sk_bytes_equal(region, sk_bytes_str(sk_engine_peer_status(replica->engine, i).region)))
            return (int)i;
    return -1;
}
