/* Damage on a disk that nobody reports. In some runs, when all is at rest, a region is stopped and one byte of one pair in
 * its store is made another: of a row, of the history, of a meta record, of the derived index. It is started again, and
 * either refuses to, or knows that something is wrong; in the end all regions hold again what they held, and it says that
 * all is well. Where it refuses, says that this is beyond it or that nobody could bear out its rows, or has nobody to ask, an
 * operator puts back the disk as it was.
 *
 * It comes to that at rest because what a damaged row answers before it has been gone through is anybody's guess. One write there
 * is none the less, which no other region has seen yet: where the history is to be damaged, as at rest there is none; and
 * sometimes where a row is, which then often is the one that was written. */
#include "tests/sim/world.h"

#include <stdio.h>

#ifndef SIM_FLIP_PERMILLE
#define SIM_FLIP_PERMILLE 400 /* of the seeds */
#endif

/* `first`: from there on; none: of all. */
static bool any_pair(const sim_region *region, sk_cf cf, sim_random *random, sk_bytes first, sk_bytes end, sk_buf *key, sk_buf *value)
{
    sk_bytes k, v;
    uint64_t count = 0;
    sk_store_iter *iter = sk_store_iterate(region->store, NULL, cf, first, end);
    while (sk_store_next(region->store, iter, &k, &v) > 0) {
        if (sim_random_below(random, ++count) != 0) continue;
        sk_buf_reset(key);
        sk_buf_reset(value);
        sk_buf_bytes(key, k);
        sk_buf_bytes(value, v);
    }
    sk_store_iter_free(region->store, iter);
    return count > 0;
}

void sim_flip_damage(sim_region *region, sim_random *random, sk_cf cf, bool whole, sk_bytes first, sk_bytes end)
{
    static const char *const names[] = {[SK_CF_ROW] = "row", [SK_CF_HISTORY] = "history", [SK_CF_META] = "meta record",
                                        [SK_CF_DERIVED] = "derived entry"};
    sim_flip *done = &region->world->flip;
    sk_buf key = {0}, value = {0};
    if (any_pair(region, cf, random, first, end, &key, &value)) {
        if (!done->sound) {
            done->sound = sk_memory_copy(region->store);
            sk_vv_copy(&done->held, &region->at_least);
        }
        size_t at = (size_t)sim_random_below(random, key.len + value.len);
        uint8_t by = (uint8_t)sim_random_between(random, 1, 255);
        sk_store_remove(region->store, cf, sk_buf_view(&key));
        *(at < key.len ? key.data + at : value.data + (at - key.len)) ^= by;
        if (!whole) sk_store_put(region->store, cf, sk_buf_view(&key), sk_buf_view(&value));
        (void)sk_store_seal(region->store);
        if (sk_memory_sync(region->store, UINT64_MAX)) sim_fail(region->world, "a byte cannot be flipped");
        sk_memory_crash(region->store, UINT64_MAX);
        region->world->counts.flips++;
        done->was |= (uint64_t)1 << region->index;
        if (whole)
            sim_tell(region->world, "%s: a %s of %zu and %zu bytes is lost", region->name, names[cf], key.len, value.len);
        else
            sim_tell(region->world, "%s: byte %zu of a %s, of %zu and %zu bytes, is changed by %02x", region->name, at,
                     names[cf], key.len, value.len, by);
    }
    sk_buf_free(&key);
    sk_buf_free(&value);
}

bool sim_flip_write(sim_region *region, const sim_write *what, uint32_t number, sk_buf *raw)
{
    char key[16];
    snprintf(key, sizeof key, "k%u", (unsigned)number);
    sk_bytes argv[4] = {{0}};
    uint32_t argc = 0;
    for (; argc < 4 && (argc == 1 || what->argv[argc]); argc++) argv[argc] = sk_bytes_str(argc == 1 ? key : what->argv[argc]);
    sk_buf out = {0};
    sim_region_command(region, argv, argc, &out);
    sim_tell(region->world, "%s: %s %s => %.*s", region->name, what->argv[0], key, (int)out.len, (const char *)out.data);
    bool done = out.len && out.data[0] != '-';
    sk_buf_free(&out);
    if (!done) return false;
    sk_buf_reset(raw);
    if (what->table == SK_TABLE_KEY)
        sk_rowkey_pack(raw, SK_TABLE_KEY, argv[1], SK_BYTES_NONE);
    else
        sk_rowkey_pack_prefix(raw, what->table, argv[1]);
    return true;
}

/* Keys have a type, and conflicts: where one is in the way another key is set, which none refuses. */
static void write_something(sim_region *region, sim_random *random, sk_buf *raw)
{
    enum { SET, INCRBY, HSET, SADD, KINDS };
    static const sim_write commands[] = {[SET] = {{"SET", NULL, "written"}, SK_TABLE_KEY},
                                         [INCRBY] = {{"INCRBY", NULL, "7"}, SK_TABLE_KEY},
                                         [HSET] = {{"HSET", NULL, "f0", "written"}, SK_TABLE_HASH},
                                         [SADD] = {{"SADD", NULL, "written"}, SK_TABLE_SET}};
    uint32_t keys = region->world->config.keys;
    size_t which = (size_t)sim_random_below(random, KINDS);
    uint32_t key = (uint32_t)sim_random_below(random, keys);
    if (!sim_flip_write(region, &commands[which], key, raw)) sim_flip_write(region, &commands[SET], (key + 1) % keys, raw);
}

bool sim_flip_strike(sim_world *world)
{
    static const sk_cf families[] = {SK_CF_ROW, SK_CF_ROW, SK_CF_HISTORY, SK_CF_META, SK_CF_DERIVED};
    sim_flip *done = &world->flip;
    sim_random random;
    if (done->struck) return false;
    done->struck = true;
    sim_random_seed(&random, world->seed ^ 0x666c6970u);
    if (!sim_random_chance(&random, SIM_FLIP_PERMILLE)) return false;
    done->region = (uint32_t)sim_random_below(&random, world->config.regions);
    done->cf = families[sim_random_below(&random, sizeof families / sizeof *families)];
    sim_region *region = &world->regions[done->region];
    if (!sim_member_stays(world, done->region) || !region->replica || region->disk_error) return false;
    bool writes = done->cf == SK_CF_HISTORY || (done->cf == SK_CF_ROW && sim_random_chance(&random, 500));
    sk_buf first = {0}, end = {0};
    if (writes && !sim_client_is_mute(region)) write_something(region, &random, &first);
    sim_region_stop(region);
    if (!region->replica) {
        if (done->cf != SK_CF_ROW || sim_random_chance(&random, 300)) sk_buf_reset(&first); /* any */
        sk_buf_bytes(&end, sk_buf_view(&first));
        sk_rowkey_successor(&end);
        sim_flip_damage(region, &random, done->cf, false, sk_buf_view(&first), end.len ? sk_buf_view(&end) : SK_BYTES_NONE);
    }
    sk_buf_free(&first);
    sk_buf_free(&end);
    if (region->replica) return false;
    sim_event_push(world, world->now_us, SIM_EVENT_START, region->index, 0, 0);
    return true;
}

/* The disk as it was. An older copy, if something was written since: of members, say, while rows of theirs were damaged. */
static void put_back(sim_region *region)
{
    sim_flip *done = &region->world->flip;
    if (!sk_vv_at_most(&region->at_least, &done->held)) {
        sim_check_lost(region);
        region->new_life = true;
        region->disks++;
    }
    sk_store_close(region->store);
    region->store = done->sound;
    done->sound = NULL;
    done->refused = true;
    region->world->counts.flips_refused++;
    sim_tell(region->world, "%s: its disk is as it was", region->name);
}

bool sim_flip_refused(sim_region *region)
{
    sim_flip *done = &region->world->flip;
    bool may_refuse = done->cf == SK_CF_META || done->cf == SK_CF_ROW; /* a row may be a member's */
    if (!done->sound || done->region != region->index || !may_refuse) return false;
    put_back(region);
    return true;
}

bool sim_flip_unsound(const sim_region *region)
{
    const sim_flip *done = &region->world->flip;
    const sk_db *db = &region->replica->db;
    return done->sound && done->region == region->index && (sk_audit_pending(db) || sk_audit_damaged(db));
}

void sim_flip_begin(sim_world *world, uint32_t region)
{
    sim_flip *done = &world->flip;
    sim_flip_check_end(world);
    if (done->sound) sk_store_close(done->sound);
    sk_vv_free(&done->held);
    *done = (sim_flip){.struck = true, .region = region, .cf = SK_CF_ROW, .goes_on = true, .was = done->was};
}

/* Is there nobody that it could ask? A damaged row may name a member that there never was. */
static bool is_alone(const sim_region *region)
{
    const sim_world *world = region->world;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        const char *name = world->regions[i].name;
        if (i != region->index && sim_member_stays(world, i) && sk_replica_peer(region->replica, sk_bytes_str(name)) >= 0) return false;
    }
    return true;
}

void sim_flip_look(sim_world *world)
{
    sim_flip *done = &world->flip;
    sim_region *region = &world->regions[done->region];
    if (!done->sound || !region->replica) return;
    const sk_audit *audit = &region->replica->db.audit;
    bool damaged = sk_audit_damaged(&region->replica->db);
    bool alone = damaged && is_alone(region);
    if (sk_audit_pending(&region->replica->db) || !(audit->beyond || audit->unreadable || audit->unproven || alone)) return;
    world->counts.flips_unproven += audit->unproven;
    sim_region_stop(region);
    if (region->replica) return;
    put_back(region);
    sim_event_push(world, world->now_us, SIM_EVENT_START, region->index, 0, 0);
}

bool sim_flip_was(const sim_region *region)
{
    return region->world->flip.was >> region->index & 1;
}

bool sim_flip_found(const sim_region *region)
{
    const sk_audit *audit = &region->replica->db.audit;
    if (!sim_flip_was(region)) return false;
    return audit->damaged_history + audit->mended_derived + audit->mended_sizes + audit->repairs > 0;
}

void sim_flip_check_end(sim_world *world)
{
    const sim_flip *done = &world->flip;
    if (done->sound && !done->goes_on && !sim_flip_found(&world->regions[done->region]))
        sim_fail(world, "%s: a flipped byte was not found", world->regions[done->region].name);
    world->counts.flips_found += done->sound && !done->goes_on;
}

void sim_flip_free(sim_world *world)
{
    if (world->flip.sound) sk_store_close(world->flip.sound);
    sk_vv_free(&world->flip.held);
}
