/* The end of a run: do all regions agree, is nothing left to do, and if not, who lacks what? */
#include "gossip/engine_internal.h"
#include "tests/sim/world.h"

#include <stdio.h>

/* -- what is left ---------------------------------------------------------------------------------------------------
 */

static bool family_empty(sk_store *store, sk_cf family)
{
    sk_bytes key, value;
    sk_store_iter *iter = sk_store_iterate(store, NULL, family, SK_BYTES_NONE, SK_BYTES_NONE);
    bool empty = sk_store_next(store, iter, &key, &value) == 0;
    sk_store_iter_free(store, iter);
    return empty;
}

/* Those of origins whose end is open stay: what they take back may still come from a backup. */
static int find_dead(void *self, sk_bytes raw, const sk_row *row)
{
    const sk_db *db = self;
    (void)raw;
    for (uint32_t i = 0; i < row->count; i++)
        if (!sk_entry_live(&row->entries[i]) && !sk_origins_open_ended(&db->origins, row->entries[i].dot.origin))
            return 1;
    return 0;
}

/* What the history may hold in the end: what speaks of dead counts, as long as a forgotten region may come back. */
static bool only_kept(sim_region *region)
{
    const sk_db *db = &region->replica->db;
    sk_bytes key, value;
    sk_history_record record;
    sk_history_entry entry;
    bool good = true;
    sk_store_iter *iter = sk_store_iterate(region->store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    while (good && sk_store_next(region->store, iter, &key, &value) > 0)
        good = sk_history_open(key, value, NULL, &record) == 0 && sk_history_next(&record, &entry) && !record.page &&
               sk_vv_covers(&db->floor, entry.dot) && entry.flags & SK_HISTORY_DEAD;
    sk_store_iter_free(region->store, iter);
    return good;
}

/* Resources that somebody still has. */
static const char *what_is_held(const sk_replica *replica)
{
    const sk_engine *engine = replica->engine;
    if (engine->held_bytes) return "transactions are held back";
    if (engine->incoming.peer != UINT32_MAX) return "a transfer is coming in";
    for (uint32_t p = 0; p < engine->peer_count; p++) {
        if (engine->peers[p].out.source) return "a transfer goes out";
        if (engine->peers[p].has_staged && engine->stable_waits) return "history is kept for a transfer";
    }
    if (replica->blocked_count) return "a client is blocked";
    if (replica->watches.count) return "keys are watched";
    if (sk_memory_holds(replica->store)) return "a snapshot or an iterator is open";
    return NULL;
}

static const char *region_at_rest(sim_region *region)
{
    sk_replica *replica = region->replica;
    if (!replica) return "a region is down";
    for (uint32_t i = 0; i < SIM_CLIENTS_MAX; i++)
        if (region->clients[i].put_off.argc) return "a request is still to be made again";
    sk_db *db = &replica->db;
    if (replica->store_error || db->failed) return "a store has failed";
    if (db->joining) return "a region is still joining";
    const sk_audit *audit = &db->audit;
    if (sk_audit_pending(db)) return "an audit is not done";
    bool damaged = sim_flip_found(region);
    if (sk_audit_damaged(db)) return "an audit finds damage";
    if (!damaged && (audit->damaged_history || audit->damaged_staged)) return "an audit has found damage that is none";
    if (!damaged && (audit->mended_derived || audit->mended_sizes)) return "an audit has mended what nobody damaged";
    if (db->fold) return "a transfer is staged or being folded in";
    for (uint32_t i = 0; i < region->world->config.clients; i++)
        if (region->clients[i].pending_count) return "a reply has not left";
    const char *held = what_is_held(replica);
    if (held) return held;
    if (db->dirty || replica->sealed_count) return "something is not durable";
    uint64_t read_batch = db->read_batch;
    int dead = sk_db_each(db, SK_BYTES_NONE, SK_BYTES_NONE, find_dead, db);
    db->read_batch = read_batch;
    bool may_keep = replica->members.forgotten != 0;
    if (dead && !may_keep) return "dead counts are left";
    if (may_keep && !only_kept(region)) return "history is left, beside what must be kept";
    if (!may_keep && !family_empty(replica->store, SK_CF_HISTORY)) return "history is left";
    if (!family_empty(replica->store, SK_CF_STAGED)) return "staged rows are left";
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine);
         i++) { /* where a cap was crossed, history is gone before */
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        if (peer.laggard) return "a laggard is not counted again";
        if (!sk_vv_at_most(&db->vv, peer.acked)) return "an acknowledgement has not come";
    }
    return sim_member_missing(region);
}

static int print_dead(void *self, sk_bytes raw, const sk_row *row)
{
    sim_region *region = self;
    for (uint32_t i = 0; i < row->count; i++)
        if (!sk_entry_live(&row->entries[i]))
            fprintf(stderr, "%s keeps a dead count at %u:%llu, row %.*s\n", region->name, row->entries[i].dot.origin,
                    (unsigned long long)row->entries[i].dot.seq, (int)raw.len, (const char *)raw.data);
    return 0;
}

void sim_check_leftovers(sim_world *world)
{
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sk_replica *replica = world->regions[i].replica;
        sk_bytes key, value;
        sk_history_record record;
        sk_history_entry entry;
        if (!replica) continue;
        sk_store_iter *iter = sk_store_iterate(replica->store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
        for (int n = 0; n < 5 && sk_store_next(replica->store, iter, &key, &value) > 0; n++)
            if (sk_history_open(key, value, NULL, &record) == 0 && sk_history_next(&record, &entry))
                fprintf(stderr, "%s keeps history at %u:%llu, row %.*s, flags %u%s\n", world->regions[i].name,
                        entry.dot.origin, (unsigned long long)entry.dot.seq, (int)entry.raw.len,
                        (const char *)entry.raw.data, entry.flags, record.page ? ", first of a page" : "");
        sk_store_iter_free(replica->store, iter);
        (void)sk_db_each(&replica->db, SK_BYTES_NONE, SK_BYTES_NONE, print_dead, &world->regions[i]);
    }
}

/* -- what differs ---------------------------------------------------------------------------------------------------
 */

/* What some other region has, and this one has not, or not on disk. */
static void describe_vector(sim_world *world, const sim_region *region, sk_buf *text)
{
    const sim_oracle *oracle = &world->oracle;
    for (uint32_t o = 0; o < oracle->origin_count; o++) {
        uint64_t most = 0, has = sk_vv_get(&region->vv, o), sure = sk_vv_get(&region->durable, o);
        for (uint32_t i = 0; i < world->config.regions; i++) {
            uint64_t there = sim_member_stays(world, i) ? sk_vv_get(&world->regions[i].vv, o) : 0;
            if (there > most) most = there;
        }
        const char *lacks = has < most ? "lacks" : "has not on disk";
        uint64_t from = has < most ? has : sure, to = has < most ? most : has;
        if (from < to)
            sk_buf_printf(text, "; %s %s %s-%04llx:%llu to %llu", region->name, lacks, oracle->origins[o].region,
                          (unsigned long long)oracle->origins[o].incarnation & 0xffff, (unsigned long long)from + 1,
                          (unsigned long long)to);
    }
}

void sim_rest_describe(sim_world *world, sk_buf *text)
{
    sim_member_describe(world, text);
    sim_network_describe(world, text);
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *region = &world->regions[i];
        if (!sim_member_stays(world, i)) continue;
        const char *missing = region_at_rest(region);
        if (missing) sk_buf_printf(text, "; %s: %s", region->name, missing);
        if (!region->replica) continue;
        describe_vector(world, region, text);
        if (sk_fold_active(&region->replica->db)) continue;
        const sim_region *first = sim_member_first(world);
        if (first->replica && sk_vv_equal(&first->vv, &region->vv) && !sk_fold_active(&first->replica->db) &&
            first->replica->db.digest != region->replica->db.digest)
            sk_buf_printf(text, "; %s has another digest than %s", region->name, first->name);
    }
}

/* -- does anything? -------------------------------------------------------------------------------------------------
 */

const char *sim_check_agreed(sim_world *world)
{
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *region = &world->regions[i], *first = sim_member_first(world);
        if (!sim_member_stays(world, i)) continue;
        if (!region->replica || !first->replica) return "a region is down";
        if (!sk_vv_equal(&region->vv, &first->vv)) return "vectors differ";
        if (region->replica->db.digest != first->replica->db.digest && !sk_fold_active(&region->replica->db) &&
            !sk_fold_active(&first->replica->db))
            return "digests differ";
        if (!sk_vv_equal(&region->durable, &region->vv)) return "something is not durable";
    }
    return NULL;
}

const char *sim_check_converged(sim_world *world)
{
    const char *differs = sim_check_agreed(world);
    if (differs) return differs;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        const char *missing = sim_member_stays(world, i) ? region_at_rest(&world->regions[i]) : NULL;
        if (missing) return missing;
    }
    return sim_clock_missing(world);
}
