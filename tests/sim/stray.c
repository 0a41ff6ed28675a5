/* A row that differs though both regions have seen the same: what only a mistake of the program could leave. In some runs,
 * when all is at rest, a row of one region loses a value, has another under the same dot, or has one more that nobody
 * wrote, and its sums and digest are those of it: no check at the start finds that. (In half of them it is started anew.)
 *
 * Whoever is linked with it finds out, and so does it: each names the row, with the region that differs. Nobody guesses:
 * the row stays as it is, and so does every other region, until an operator says in that region from whom it is to
 * take it: at rest there is no history left by which a region could refute its own row. Then all regions hold the same again,
 * and nobody is in quarantine. */
#include "gossip/engine_internal.h"
#include "tests/sim/world.h"

#ifndef SIM_STRAY_PERMILLE
#define SIM_STRAY_PERMILLE 300 /* of the seeds */
#endif

typedef enum { LOST, CHANGED, ADDED, KINDS } kind;

/* -- what goes astray ---------------------------------------------------------------------------------------------- */

/* Only values and members: no deadline comes about meanwhile, and no sum. */
static bool is_plain(const sk_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind != SK_ENTRY_VALUE && row->entries[i].kind != SK_ENTRY_MEMBER) return false;
    return true;
}

/* May this row go astray? Its key must have no deadline. */
static bool may_stray(sk_db *db, sk_bytes raw, const sk_row *row, sk_arena *arena)
{
    sk_rowkey key;
    sk_row own;
    if (row->count == 0 || !is_plain(row) || sk_rowkey_parse(raw, arena, &key)) return false;
    if (key.table == SK_TABLE_POLICY || key.table == SK_TABLE_MEMBER) return false;
    sk_row_name name = sk_row_name_of(arena, SK_TABLE_KEY, key.key, SK_BYTES_NONE);
    return sk_db_row(db, name.raw, arena, &own) == 0 && is_plain(&own);
}

typedef struct {
    sk_db *db;
    sim_random *random;
    uint64_t count;
    sk_buf raw; /* one of them */
} choice;

static int choose(void *self, sk_bytes raw, const sk_row *row)
{
    choice *among = self;
    sk_arena arena = {0};
    if (may_stray(among->db, raw, row, &arena) && sim_random_below(among->random, ++among->count) == 0) {
        sk_buf_reset(&among->raw);
        sk_buf_bytes(&among->raw, raw);
    }
    sk_arena_free(&arena);
    return 0;
}

static bool has_dot(const sk_row *row, sk_dot dot)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].dot.origin == dot.origin && row->entries[i].dot.seq == dot.seq) return true;
    return false;
}

/* Makes a row another, with room for one entry more. False: this one cannot be made so. */
static bool lead_astray(const sk_db *db, sim_random *random, kind how, sk_row *row)
{
    uint32_t at = (uint32_t)sim_random_below(random, row->count);
    sk_entry *entry = &row->entries[at];
    if (how == LOST) {
        memmove(entry, entry + 1, (--row->count - at) * sizeof *entry);
        return true;
    }
    if (how == CHANGED) {
        if (entry->kind != SK_ENTRY_VALUE) return false;
        entry->value = sk_bytes_str("astray");
        return true;
    }
    sk_entry more = *entry;
    more.dot.seq = sim_random_between(random, 1, sk_vv_get(&db->vv, more.dot.origin));
    if (has_dot(row, more.dot)) return false;
    at += more.dot.seq > entry->dot.seq;
    while (at > 0 && row->entries[at - 1].dot.origin == more.dot.origin && row->entries[at - 1].dot.seq > more.dot.seq) at--;
    while (at < row->count && row->entries[at].dot.origin == more.dot.origin && row->entries[at].dot.seq < more.dot.seq) at++;
    memmove(row->entries + at + 1, row->entries + at, (row->count++ - at) * sizeof more);
    row->entries[at] = more;
    return true;
}

/* The number of a linked peer, from `least` on; -1: there is none. */
static int linked_from(const sk_engine *engine, uint32_t least)
{
    for (uint32_t p = least; p < engine->peer_count; p++)
        if (sk_engine_is_peer(engine, p) && engine->peers[p].state == LINK_UP) return (int)p;
    return -1;
}

static bool plant(sim_region *region, sim_random *random, kind how, sk_bytes raw)
{
    sk_db *db = &region->replica->db;
    sk_arena arena = {0};
    sk_row_name name = {.raw = sk_arena_copy(&arena, raw)};
    sk_row old, row;
    bool planted = sk_rowkey_parse(name.raw, &arena, &name.key) == 0 && sk_db_row(db, name.raw, &arena, &old) == 0;
    if (planted) {
        row = old;
        row.entries = sk_arena_take(&arena, (old.count + 1) * sizeof *row.entries);
        memcpy(row.entries, old.entries, old.count * sizeof *row.entries);
        planted = lead_astray(db, random, how, &row);
    }
    sim_region_time(region);
    if (planted && sk_db_row_put(db, &name, &old, &row)) sim_fail(region->world, "a row cannot be put");
    sim_region_after(region);
    sk_arena_free(&arena);
    return planted;
}

bool sim_stray_strike(sim_world *world)
{
    static const char *const how_text[] = {[LOST] = "loses a value", [CHANGED] = "has another value",
                                           [ADDED] = "has a value that nobody wrote"};
    sim_stray *stray = &world->stray;
    sim_random random;
    if (stray->phase != SIM_STRAY_TO_COME) return false;
    stray->phase = SIM_STRAY_OVER;
    sim_random_seed(&random, world->seed ^ 0x7374726179u);
    if (!sim_random_chance(&random, SIM_STRAY_PERMILLE)) return false;
    stray->region = (uint32_t)sim_random_below(&random, world->config.regions);
    kind how = (kind)sim_random_below(&random, KINDS);
    bool restarts = sim_random_chance(&random, 500) && !world->flip.sound; /* which still tells what it found */
    sim_region *region = &world->regions[stray->region];
    if (!sim_member_stays(world, stray->region) || !region->replica || region->disk_error) return false;
    if (linked_from(region->replica->engine, 0) < 0) return false;
    choice among = {.db = &region->replica->db, .random = &random};
    sk_digest right = among.db->digest;
    uint64_t read_batch = among.db->read_batch;
    (void)sk_db_each(among.db, SK_BYTES_NONE, SK_BYTES_NONE, choose, &among);
    among.db->read_batch = read_batch;
    stray->phase = SIM_STRAY_PLANTED; /* all is looked at as it happens */
    if (!among.count || !plant(region, &random, how, sk_buf_view(&among.raw))) {
        stray->phase = SIM_STRAY_OVER;
    } else {
        stray->difference = among.db->digest - right;
        sk_buf_bytes(&stray->raw, sk_buf_view(&among.raw));
        world->counts.strays++;
        sim_tell(world, "%s: a row %s", region->name, how_text[how]);
    }
    sk_buf_free(&among.raw);
    if (stray->phase == SIM_STRAY_PLANTED && restarts) {
        sim_region_stop(region);
        if (!region->replica) sim_event_push(world, world->now_us, SIM_EVENT_START, region->index, 0, 0);
    }
    return stray->phase == SIM_STRAY_PLANTED;
}

/* -- what comes of it ---------------------------------------------------------------------------------------------- */

/* Does a region name the row, as one that differs from another's? */
static bool names(const sim_region *region, const char *other)
{
    const sim_stray *stray = &region->world->stray;
    const sk_quarantine *quarantine = &region->replica->db.quarantine;
    for (uint32_t i = 0; i < quarantine->count; i++)
        if (sk_bytes_equal(quarantine->rows[i].raw, sk_buf_view(&stray->raw)) &&
            sk_bytes_equal(quarantine->rows[i].region, sk_bytes_str(other)))
            return true;
    return false;
}

/* NULL: it is named by all that can know, on both sides of each link. */
static const char *not_named(sim_world *world)
{
    const sim_region *astray = &world->regions[world->stray.region];
    bool any = false;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        const sim_region *region = &world->regions[i];
        if (!sim_member_stays(world, i)) continue;
        if (!region->replica) return "a region is down";
        const sk_engine *engine = region->replica->engine;
        for (int p = linked_from(engine, 0); p >= 0; p = linked_from(engine, (uint32_t)p + 1)) {
            const char *peer = engine->peers[p].region;
            bool concerns = region == astray || strcmp(peer, astray->name) == 0;
            if (concerns && !names(region, peer)) return "a row that differs is not named";
            any |= concerns;
        }
    }
    return any ? NULL : "links are down";
}

/* The row is as it was made: the region differs from one that has seen the same by what it differed then. Writes that both
 * have seen (a key has expired) change nothing of that; and every other region's rows are checked as ever. False: nobody has
 * seen the same. */
static bool check_untouched(sim_world *world)
{
    const sim_stray *stray = &world->stray;
    const sim_region *astray = &world->regions[stray->region];
    for (uint32_t i = 0; i < world->config.regions && astray->replica; i++) {
        const sim_region *other = &world->regions[i];
        if (other == astray || !sim_member_stays(world, i) || !other->replica) continue;
        if (!sk_vv_equal(&other->vv, &astray->vv) || sk_fold_active(&other->replica->db)) continue;
        if (astray->replica->db.digest - other->replica->db.digest != stray->difference)
            sim_fail(world, "%s: somebody guessed what a row that differs should be", astray->name);
        return true;
    }
    return false;
}

static void resolve(sim_region *region)
{
    sim_world *world = region->world;
    const sk_engine *engine = region->replica->engine;
    sk_arena arena = {0};
    sk_rowkey key;
    sk_buf out = {0};
    const char *from = engine->peers[linked_from(engine, 0)].region;
    if (sk_rowkey_parse(sk_buf_view(&world->stray.raw), &arena, &key)) sim_fail(world, "the row has no name");
    const sk_bytes argv[] = {sk_bytes_str("REGION"), sk_bytes_str("AUDIT"), sk_bytes_str("RESOLVE"),
                             key.key,                sk_bytes_str("FROM"),  sk_bytes_str(from)};
    sim_region_command(region, argv, 6, &out);
    if (!sk_bytes_equal(sk_buf_view(&out), sk_bytes_str("+OK\r\n")))
        sim_fail(world, "%s: REGION AUDIT RESOLVE: %.*s", region->name, (int)out.len, (const char *)out.data);
    sim_tell(world, "%s: its row is to be as %s has it", region->name, from);
    sk_buf_free(&out);
    sk_arena_free(&arena);
}

const char *sim_stray_look(sim_world *world)
{
    sim_stray *stray = &world->stray;
    if (stray->phase == SIM_STRAY_TO_COME || stray->phase == SIM_STRAY_OVER) return NULL;
    if (stray->phase == SIM_STRAY_PLANTED) {
        if (!check_untouched(world)) return "no region has seen the same";
        const char *missing = not_named(world);
        if (missing) return missing;
        resolve(&world->regions[stray->region]);
        stray->phase = SIM_STRAY_RESOLVED;
    }
    for (uint32_t i = 0; i < world->config.regions; i++) {
        const sk_replica *replica = world->regions[i].replica;
        if (!sim_member_stays(world, i)) continue;
        if (!replica) return "a region is down";
        if (replica->db.quarantine.count || sk_replica_drifts(replica)) return "a row is in quarantine still";
        const sk_incoming *incoming = &replica->engine->incoming; /* of a snapshot, maybe from before it was resolved */
        if (incoming->peer != NO_PEER && incoming->purpose == SK_FOR_AUDIT) return "rows are compared still";
    }
    const char *differs = sim_check_agreed(world);
    if (!differs) stray->phase = SIM_STRAY_OVER;
    return differs;
}

bool sim_stray_differs(const sim_region *region)
{
    const sim_stray *stray = &region->world->stray;
    return stray->phase == SIM_STRAY_PLANTED || stray->phase == SIM_STRAY_RESOLVED;
}

bool sim_stray_unsound(const sim_region *region)
{
    return sim_stray_differs(region) && region->world->stray.region == region->index;
}

bool sim_stray_settled(const sim_region *region)
{
    const sim_stray *stray = &region->world->stray;
    return stray->raw.len && stray->region == region->index;
}

void sim_stray_free(sim_world *world)
{
    sk_buf_free(&world->stray.raw);
}
