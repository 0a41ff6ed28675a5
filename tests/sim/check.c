/* The promises, checked after every event. */
#include "gossip/engine_internal.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

enum { MANY_EVERY = 8 }; /* of the events at many regions: what is looked at costs their square */

/* -- what is durable, what is lost --------------------------------------------------------------------------------- */

void sim_check_durable(sim_region *region, sk_vv *out)
{
    if (region->replica)
        sim_region_canonical(region, &region->replica->durable_vv, out);
    else
        sk_vv_copy(out, &region->at_least);
}

void sim_check_lost(sim_region *region)
{
    sim_oracle *oracle = &region->world->oracle;
    region->losses++;
    sk_vv_free(&region->at_least);
    for (uint32_t o = 0; o < oracle->origin_count; o++)
        if (strcmp(oracle->origins[o].region, region->name) == 0) oracle->origins[o].excused = true;
}

void sim_check_dot(sim_region *region, sk_dot dot)
{
    sim_world *world = region->world;
    sk_vv has = {0};
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *other = &world->regions[i];
        if (other == region) continue;
        if (other->replica)
            sim_region_canonical(other, &other->replica->db.vv, &has);
        else
            sk_vv_copy(&has, &other->at_least);
        if (sk_vv_covers(&has, dot))
            sim_fail(world, "%s: writes under a dot of its own that %s has already", region->name, other->name);
    }
    sk_vv_free(&has);
}

uint64_t sim_check_losses(const sim_world *world)
{
    uint64_t losses = 0;
    for (uint32_t i = 0; i < world->config.regions; i++) losses += world->regions[i].losses;
    return losses;
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    sim_region *region;
    uint64_t mark;
    sim_expected expected;
} row_check;

static bool same_sum(const sk_entry *entry, const sk_sum *share)
{
    sk_sum sum = {0};
    sk_sum_add(&sum, entry->count.total);
    if (entry->count.base_seq) sk_sum_subtract(&sum, entry->count.base);
    if (!sum.is_real && !share->is_real) return sum.whole == share->whole;
    long double off = sum.real + (long double)sum.whole - share->real - (long double)share->whole;
    return off < 1e-6L && off > -1e-6L;
}

/* But for what a count comes to. */
static bool same_entry(const sk_entry *have, sk_dot dot, const sk_entry *want)
{
    if (have->kind != want->kind || dot.origin != want->dot.origin || dot.seq != want->dot.seq ||
        have->hlc != want->hlc)
        return false;
    switch (have->kind) {
    case SK_ENTRY_VALUE: return sk_bytes_equal(have->value, want->value);
    case SK_ENTRY_MEMBER: return true;
    case SK_ENTRY_DEADLINE: return have->deadline_ms == want->deadline_ms;
    case SK_ENTRY_COUNT:
        return have->count.epoch == want->count.epoch && have->count.base_seq == want->count.base_seq;
    }
    return false;
}

static void name_dot(const sim_oracle *oracle, sk_dot dot, sk_buf *text)
{
    sk_buf_printf(text, " %s-%04llx:%llu", oracle->origins[dot.origin].region,
                  (unsigned long long)oracle->origins[dot.origin].incarnation & 0xffff, (unsigned long long)dot.seq);
}

static void describe(const sim_oracle *oracle, const sk_entry *entry, sk_dot dot, sk_buf *text)
{
    static const char *const kinds[] = {"?", "value", "count", "member", "deadline"};
    name_dot(oracle, dot, text);
    sk_buf_printf(text, " %s", kinds[entry->kind]);
    if (entry->kind == SK_ENTRY_COUNT)
        sk_buf_printf(text, " (epoch %llu, base at %llu)", (unsigned long long)entry->count.epoch,
                      (unsigned long long)entry->count.base_seq);
    sk_buf_printf(text, ",");
}

/* All that the history knows of a row, for a report. */
static void describe_history(const sim_oracle *oracle, const sim_row *row, sk_buf *text)
{
    for (uint32_t i = 0; i < row->count; i++) {
        const sim_op *op = row->ops[i];
        sk_buf_printf(text, "\n  %s%s", op->forgets_content ? "forgets content " : "",
                      op->forgets_deadlines ? "forgets deadlines " : "");
        if (op->has_content) describe(oracle, &op->content, op->txn->dot, text);
        if (op->has_deadline) describe(oracle, &op->deadline, op->txn->dot, text);
        if (!op->has_content && !op->has_deadline) name_dot(oracle, op->txn->dot, text);
        for (int class = 0; class < 2; class ++)
            for (uint32_t k = 0; k < op->remover_count[class]; k++) {
                sk_buf_printf(text, k ? " and" : class ? " deadline removed by" : " removed by");
                name_dot(oracle, op->removers[class][k], text);
            }
    }
}

static void fail_row(row_check *check, sk_bytes raw, const sk_row *row)
{
    sk_buf text = {0};
    sim_region *region = check->region;
    const sim_oracle *oracle = &region->world->oracle;
    sk_buf_printf(&text, "%s: row %.*s holds", region->name, (int)raw.len, (const char *)raw.data);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ') text.data[i] = '.';
    for (uint32_t i = 0; row && i < row->count; i++)
        if (sk_entry_live(&row->entries[i]))
            describe(oracle, &row->entries[i],
                     (sk_dot){region->map[row->entries[i].dot.origin], row->entries[i].dot.seq}, &text);
    sk_buf_printf(&text, " but the history says");
    for (uint32_t i = 0; i < check->expected.count; i++)
        describe(oracle, &check->expected.entries[i], check->expected.entries[i].dot, &text);
    sk_buf_byte(&text, 0);
    sk_buf history = {0};
    describe_history(oracle, sim_oracle_row(&region->world->oracle, raw), &history);
    sk_buf_byte(&history, 0);
    fprintf(stderr, "history of the row:%s\n", (const char *)history.data);
    sim_fail(region->world, "%s", (const char *)text.data);
}

static int visit_row(void *self, sk_bytes raw, const sk_row *row)
{
    row_check *check = self;
    sim_region *region = check->region;
    sim_row *history = sim_oracle_row(&region->world->oracle, raw);
    check->expected.count = 0;
    if (history) {
        history->mark = check->mark;
        sim_oracle_expect(history, &region->vv, &check->expected);
    }
    uint32_t live = 0;
    bool asked = false;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (!sk_entry_live(entry) && sk_origins_open_ended(&region->replica->db.origins, entry->dot.origin)) continue;
        if (!sk_entry_live(entry)) {
            /* It waits for its reset to be stable: some record must remember to strip it then. */
            if (!asked && !sk_db_history_speaks(&region->replica->db, raw))
                sim_fail(region->world, "%s: a dead count at %u:%llu will stay for ever", region->name,
                         entry->dot.origin, (unsigned long long)entry->dot.seq);
            asked = true;
            continue;
        }
        live++;
        sk_dot dot = {region->map[entry->dot.origin], entry->dot.seq};
        bool found = false;
        for (uint32_t k = 0; k < check->expected.count && !found; k++)
            found = same_entry(entry, dot, &check->expected.entries[k]) &&
                    (entry->kind != SK_ENTRY_COUNT || same_sum(entry, &check->expected.share[k]));
        if (!found) fail_row(check, raw, row);
    }
    if (live != check->expected.count) fail_row(check, raw, row);
    return 0;
}

void sim_check_rows(sim_region *region)
{
    sim_world *world = region->world;
    sim_oracle *oracle = &world->oracle;
    sk_db *db = &region->replica->db;
    row_check *check = sk_realloc(NULL, sizeof *check); /* large: not zeroed */
    check->region = region;
    check->mark = ++oracle->marks;
    uint64_t read_batch = db->read_batch;
    int status = sk_db_each(db, SK_BYTES_NONE, SK_BYTES_NONE, visit_row, check);
    db->read_batch = read_batch;
    if (status) sim_fail(world, "%s: the rows cannot be read: %s", region->name, sk_error_text(status));
    for (uint32_t r = 0; r < oracle->row_count; r++) {
        if (oracle->rows[r].mark == check->mark) continue;
        sim_oracle_expect(&oracle->rows[r], &region->vv, &check->expected);
        if (check->expected.count) fail_row(check, oracle->rows[r].raw, NULL);
    }
    world->counts.checks++;
    free(check);
}

static void check_one_row(row_check *check, sk_bytes raw, sk_arena *arena)
{
    sk_db *db = &check->region->replica->db;
    uint64_t read_batch = db->read_batch;
    sk_row row;
    int status = sk_db_row(db, raw, arena, &row);
    db->read_batch = read_batch;
    if (status < 0)
        sim_fail(check->region->world, "%s: a row cannot be read: %s", check->region->name, sk_error_text(status));
    visit_row(check, raw, &row);
    sk_arena_reset(arena);
}

/* The rows that the transactions are about which have come since `before`: they are what changes. While a transfer is
 * not wholly in its place no row can be looked at; all of them are when it is. */
static void check_changed_rows(sim_region *region, const sk_vv *before)
{
    sim_world *world = region->world;
    const sim_oracle *oracle = &world->oracle;
    region->rows_due |= sk_fold_active(&region->replica->db);
    if (region->rows_due || sk_vv_equal(before, &region->vv)) return;
    row_check *check = sk_realloc(NULL, sizeof *check); /* large: not zeroed */
    sk_arena arena = {0};
    check->region = region;
    check->mark = ++world->oracle.marks;
    for (uint32_t o = 0; o < region->vv.count; o++)
        for (uint64_t seq = sk_vv_get(before, o) + 1; seq <= region->vv.seq[o]; seq++) {
            const sim_txn *txn = sim_oracle_txn(oracle, (sk_dot){o, seq});
            for (uint32_t i = 0; i < txn->op_count; i++) {
                const sim_row *row = &oracle->rows[txn->ops[i].row];
                if (row->mark != check->mark) check_one_row(check, row->raw, &arena);
            }
        }
    sk_arena_free(&arena);
    free(check);
}

/* -- history ------------------------------------------------------------------------------------------------------- */

bool sim_check_same(const sim_expected *a, const sim_expected *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = same_entry(&a->entries[i], b->entries[i].dot, &b->entries[i]) &&
               a->share[i].whole == b->share[i].whole && a->share[i].real == b->share[i].real;
    return same;
}

/* Marks the rows that the region's history says have changed above `since`. */
static void mark_changed(sim_region *region, const sk_vv *since, uint64_t mark)
{
    sk_store *store = region->replica->store;
    sk_bytes key, value;
    sk_history_record record = sk_history_page_read(&region->replica->db.page);
    sk_history_entry entry;
    sk_store_iter *iter = sk_store_iterate(store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    do {
        while (sk_history_next(&record, &entry)) {
            entry.dot.origin = region->map[entry.dot.origin];
            sim_row *row = sk_vv_covers(since, entry.dot) ? NULL : sim_oracle_row(&region->world->oracle, entry.raw);
            if (row) row->mark = mark;
        }
        if (sk_store_next(store, iter, &key, &value) <= 0) break;
        (void)sk_history_open(key, value, &region->replica->db.floor, &record); /* check_bookkeeping has looked at all of it */
    } while (true);
    sk_store_iter_free(store, iter);
}

/* Whoever has `since` can be served from the history: every row that differs from then to now is named by it. */
static void check_history_since(sim_region *region, const sk_vv *since)
{
    sim_oracle *oracle = &region->world->oracle;
    uint64_t mark = ++oracle->marks;
    sk_vv both = {0};
    sk_vv_copy(&both, since);
    sk_vv_join(&both, &region->vv);
    mark_changed(region, since, mark);
    sim_expected *then = sk_realloc(NULL, 2 * sizeof *then), *now = then + 1; /* large: not zeroed */
    for (uint32_t r = 0; r < oracle->row_count; r++) {
        const sim_row *row = &oracle->rows[r];
        bool touched = false;
        for (uint32_t i = 0; i < row->count && !touched; i++)
            touched = sk_vv_covers(&both, row->ops[i]->txn->dot) && !sk_vv_covers(since, row->ops[i]->txn->dot);
        if (row->mark == mark || !touched) continue;
        sim_oracle_expect(row, since, then);
        sim_oracle_expect(row, &both, now);
        if (!sim_check_same(then, now))
            sim_fail(region->world, "%s: its history does not say that row %.*s has changed", region->name,
                     (int)row->raw.len, (const char *)row->raw.data);
    }
    free(then);
    sk_vv_free(&both);
}

/* What is remembered of changes is remembered of changes that were, and not longer than until the floor is above them.
 */
static void check_entry(sim_region *region, const sk_history_entry *entry)
{
    sim_world *world = region->world;
    sk_dot dot = entry->dot;
    if (sk_vv_covers(&region->replica->db.floor, dot) && !(entry->flags & SK_HISTORY_DEAD)) /* for who was forgotten */
        sim_fail(world, "%s: history at %u:%llu is below the floor", region->name, dot.origin, (unsigned long long)dot.seq);
    const sim_txn *txn = sim_oracle_txn(&world->oracle, (sk_dot){region->map[dot.origin], dot.seq});
    const sim_row *row = sim_oracle_row(&world->oracle, entry->raw);
    bool real = false;
    for (uint32_t i = 0; txn && row && i < txn->op_count && !real; i++)
        real = &world->oracle.rows[txn->ops[i].row] == row;
    /* Dead counts of a row that was damaged, or stood under a damaged key, may have been noted; and transfers take such notes along,
     * but not the row. */
    bool of_damage = entry->flags & SK_HISTORY_DEAD && world->flip.goes_on && world->flip.was &&
                     (sim_flip_was(region) || !sk_db_row_is_there(&region->replica->db, entry->raw));
    if (!real && !of_damage)
        sim_fail(world, "%s: history at %u:%llu of what never was", region->name, dot.origin, (unsigned long long)dot.seq);
}

/* And records do not overlap: no single above the floor is within a page, but of its last transaction. */
static void check_bookkeeping(sim_region *region)
{
    sk_store *store = region->replica->store;
    const sk_vv *floor = &region->replica->db.floor;
    sk_bytes key, value;
    sk_history_record record, before = {0};
    sk_history_entry entry;
    sk_store_iter *iter = sk_store_iterate(store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    while (sk_store_next(store, iter, &key, &value) > 0) {
        if (sk_history_open(key, value, floor, &record)) sim_fail(region->world, "%s: the history is damaged", region->name);
        bool above = before.last > sk_vv_get(floor, record.origin) && before.origin == record.origin;
        if (record.page && above && before.last >= record.first)
            sim_fail(region->world, "%s: a page of history from %u:%llu on begins before another record ends", region->name,
                     record.origin, (unsigned long long)record.first);
        before = record;
        while (sk_history_next(&record, &entry)) check_entry(region, &entry);
    }
    sk_store_iter_free(store, iter);
}

/* For the floor, and for what every other region has on disk, where that is not below it. */
static void check_history(sim_region *region)
{
    sim_world *world = region->world;
    sk_vv floor = {0}, other = {0};
    sim_region_canonical(region, &region->replica->db.floor, &floor);
    check_history_since(region, &floor);
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_check_durable(&world->regions[i], &other);
        if (i != region->index && sk_vv_at_most(&floor, &other)) check_history_since(region, &other);
    }
    sk_vv_free(&floor);
    sk_vv_free(&other);
}

/* -- digests ------------------------------------------------------------------------------------------------------- */

static sim_digest_slot *digest_slot(sim_world *world, uint64_t name)
{
    uint32_t mask = world->digest_size - 1, slot = (uint32_t)(name >> 32) & mask;
    while (world->digests[slot].name && world->digests[slot].name != name) slot = (slot + 1) & mask;
    return &world->digests[slot];
}

static void grow_digests(sim_world *world)
{
    sim_digest_slot *old = world->digests;
    uint32_t old_size = world->digest_size;
    world->digest_size = old_size ? old_size * 2 : 1024;
    world->digests = sk_alloc(world->digest_size * sizeof *world->digests);
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i].name) *digest_slot(world, old[i].name) = old[i];
    free(old);
}

/* Two states that cover the same transactions are the same, wherever and whenever. */
static void check_digest(sim_region *region)
{
    sim_world *world = region->world;
    uint64_t name = sim_oracle_name(&world->oracle, &region->vv);
    if (name == 0) name = 1;
    if (world->digest_count * 2 >= world->digest_size) grow_digests(world);
    sim_digest_slot *slot = digest_slot(world, name);
    if (!slot->name) {
        *slot = (sim_digest_slot){name, region->replica->db.digest};
        world->digest_count++;
    } else if (slot->digest != region->replica->db.digest) {
        sim_fail(world, "%s: its digest is not the one that the same vector had before", region->name);
    }
}

/* -- vectors ------------------------------------------------------------------------------------------------------- */

/* For the story: what of others has come, and which keys it is about. */
static void tell_news(const sim_region *region, const sk_vv *now)
{
    const sim_oracle *oracle = &region->world->oracle;
    for (uint32_t o = 0; o < now->count; o++) {
        if (now->seq[o] <= sk_vv_get(&region->vv, o) || strcmp(oracle->origins[o].region, region->name) == 0) continue;
        const sim_txn *txn = sim_oracle_txn(oracle, (sk_dot){o, now->seq[o]});
        sk_buf keys = {0};
        for (uint32_t i = 0; txn && i < txn->op_count && keys.len < 80; i++) {
            sk_rowkey name = {0};
            sk_arena arena = {0};
            if (!sk_rowkey_parse(oracle->rows[txn->ops[i].row].raw, &arena, &name))
                sk_buf_printf(&keys, "%s%.*s%s%.*s", i ? ", " : ": ", (int)name.key.len, (const char *)name.key.data,
                              name.member.len ? " " : "", (int)name.member.len, (const char *)name.member.data);
            sk_arena_free(&arena);
        }
        sk_buf_byte(&keys, 0);
        sim_tell(region->world, "%s sees %s's writes up to %llu%s", region->name, oracle->origins[o].region,
                 (unsigned long long)now->seq[o], (const char *)keys.data);
        sk_buf_free(&keys);
    }
}

static void check_vector(sim_region *region)
{
    sim_world *world = region->world;
    const sk_replica *replica = region->replica;
    sk_vv now = {0};
    sim_region_canonical(region, &replica->db.vv, &now);
    bool rolled_back = replica->epoch != region->last_epoch;
    if (rolled_back) {
        region->last_epoch = replica->epoch;
        world->counts.rollbacks++;
        if (!sk_vv_at_most(&region->durable, &now))
            sim_fail(world, "%s: a rollback loses what was durable", region->name);
    } else if (!sk_vv_at_most(&region->vv, &now)) {
        sim_fail(world, "%s: its vector runs backwards", region->name);
    }
    if (!sk_vv_equal(&region->vv, &now)) {
        if (world->options->story) tell_news(region, &now);
        const char *open = sim_oracle_closed(&world->oracle, &now);
        if (open) sim_fail(world, "%s: %s", region->name, open);
        sim_watch_look(region, &now);
    }
    sk_vv before = region->vv;
    region->vv = now;
    if (!region->world->options->unchecked && !rolled_back) check_changed_rows(region, &before);
    region->rows_due |= rolled_back;
    sk_vv_free(&before);
    sim_region_canonical(region, &replica->durable_vv, &region->durable);
    if (!sk_vv_at_most(&region->durable, &region->vv))
        sim_fail(world, "%s: more is durable than applied", region->name);
    if (!sk_vv_at_most(&replica->db.floor, &replica->db.vv)) sim_fail(world, "%s: the floor is above", region->name);
    for (uint32_t o = 0; o < world->oracle.origin_count; o++) {
        const sim_origin *origin = &world->oracle.origins[o];
        if (sk_vv_get(&region->vv, o) >= origin->acked || origin->excused) continue;
        if (strcmp(origin->region, region->name) == 0)
            sim_fail(world, "%s: acknowledged writes are lost: %llu of them, it has %llu", region->name,
                     (unsigned long long)origin->acked, (unsigned long long)sk_vv_get(&region->vv, o));
    }
}

/* Digests and vectors that are told belong together: nobody hears another digest for what it has itself. */
static void check_drift(const sim_region *region)
{
    const sk_quarantine *quarantine = &region->replica->db.quarantine;
    if (sim_stray_differs(region)) return;
    bool settled = quarantine->settled && !sim_stray_settled(region);
    if (sk_replica_drifts(region->replica) || quarantine->count || quarantine->nameless || settled)
        sim_fail(region->world, "%s: another region has other rows at the same vector", region->name);
}

static void check_memory(sim_region *region)
{
    sim_world *world = region->world;
    const sk_engine_limits *limits = &world->config.limits;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        if (i == region->index) continue;
        size_t queued = sim_network_queued(world, region->index, i);
        if (queued == 0) continue;
        if (queued > limits->send_queue_max + 4 * limits->batch_bytes + 4 * limits->chunk_bytes + 200000)
            sim_fail(world, "%s: %zu bytes are queued for %s", region->name, queued, world->regions[i].name);
    }
    const sk_engine *engine = region->replica->engine;
    if (region->replica->db.origins.count > world->oracle.origin_count || engine->held_lanes > SK_ORIGINS_MAX)
        sim_fail(world, "%s: it knows of origins that there never were", region->name);
    for (uint32_t p = 0; p < engine->peer_count; p++)
        if (engine->peers[p].track_count > region->replica->db.origins.count)
            sim_fail(world, "%s: more origins are tracked than there are", region->name);
    if (region->replica->client_count > SIM_CLIENTS_MAX + 1)
        sim_fail(world, "%s: clients that are gone are still known", region->name);
}

void sim_check_region(sim_region *region, bool costly)
{
    sk_replica *replica = region->replica;
    if (replica->db.failed || replica->store_error) return; /* between a failure and the way back */
    sim_world *world = region->world;
    check_vector(region);
    if (world->options->unchecked) return;
    sim_member_check(region);
    if (costly || world->config.regions < SIM_MANY || world->counts.events % MANY_EVERY == 0)
        sk_engine_check(replica->engine);
    check_memory(region);
    check_drift(region);
    bool folding = sk_fold_active(&replica->db), unsound = sim_flip_unsound(region) || sim_stray_unsound(region);
    if (!folding && !unsound) check_digest(region);
    costly |= region->rows_due && !folding;
    if (!costly || !region->dirty || unsound) return;
    region->dirty = false;
    sk_memory_check(region->store);
    sk_db_check(&replica->db);
    if (folding) return;
    region->rows_due = false;
    sim_check_rows(region);
    check_bookkeeping(region);
    check_history(region);
}
