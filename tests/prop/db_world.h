/* A few databases over memory stores, exchanging transactions and transfers as the engine does, with crashes and
 * restored copies in between; each step is held against the oracle.
 *
 * Canonical origin numbers are those of world->origins; every database interns in an order of its own. */
#ifndef SK_TESTS_DB_WORLD_H
#define SK_TESTS_DB_WORLD_H

#include "node/fold.h"
#include "storage/memory.h"
#include "tests/prop/oracle.h"
#include "tests/prop/prop.h"
#include "tests/unit/dialogue.h"

enum { NODES_MAX = 3, NO_NODE = NODES_MAX, ROWS_MAX = 64 };

typedef struct db_world db_world;

typedef struct {
    sk_dot dot; /* canonical, like all of it */
    sk_hlc hlc;
    sk_vv seen;
    sk_buf ops;
    uint32_t op_count;
} world_txn;

typedef struct {
    db_world *world;
    uint32_t index, lives;
    sk_store *store, *backup;
    sk_db db;
    sk_vv durable, acked[NODES_MAX]; /* canonical */
    sk_vv everywhere;                /* canonical; since it was opened */
    uint32_t from;                   /* who sends it a transfer; NO_NODE */
    sk_source *source;               /* at that node */
    bool reconcile, compared;
    sk_vv withheld;                  /* canonical; not to be applied live while a reconcile comes in */
    sk_origin_map map;               /* of that node's numbers */
    bool has_context;
    sk_bytes context_key;
    sk_vv context; /* own numbers */
    sk_reset resets[8];
    uint32_t reset_count;
} world_node;

struct db_world {
    uint32_t count;
    uint64_t steps;
    world_node nodes[NODES_MAX];
    sk_origins origins;
    world_txn *txns;
    uint32_t txn_count, txn_room;
    sk_bytes rows[ROWS_MAX]; /* raw keys, in the arena of the oracle */
    uint32_t row_count;
    oracle oracle;
    sk_arena arena; /* of a step */
};

/* How often what matters came about: a test that never meets it says nothing. */
static struct {
    uint32_t transfers, resumed, reconciles, both, wanted, completed, crashes, restores, strips, caps;
} world_met;

/* -- numbers ------------------------------------------------------------------------------------------------------- */

static uint32_t world_canonical(db_world *world, const sk_db *db, uint32_t origin)
{
    uint32_t number;
    sk_assert(sk_origins_intern(&world->origins, sk_bytes_str(db->origins.list[origin].region),
                                db->origins.list[origin].incarnation, &number) == 0);
    return number;
}

static void map_out(db_world *world, const sk_db *db, sk_origin_map *map)
{
    for (uint32_t o = 0; o < db->origins.count; o++) (void)sk_origin_map_set(map, o, world_canonical(world, db, o));
}

/* Interns what is not yet known, the latest first in every other node. */
static void map_in(db_world *world, sk_db *db, bool backwards, sk_origin_map *map)
{
    for (uint32_t i = 0; i < world->origins.count; i++) {
        uint32_t c = backwards ? world->origins.count - 1 - i : i, number;
        sk_assert(sk_db_intern(db, sk_bytes_str(world->origins.list[c].region), world->origins.list[c].incarnation,
                               &number) == 0);
        (void)sk_origin_map_set(map, c, number);
    }
}

static void map_vv(const sk_origin_map *map, const sk_vv *vv, sk_vv *out)
{
    for (uint32_t o = 0; o < out->count; o++) out->seq[o] = 0;
    for (uint32_t o = 0; o < vv->count; o++)
        if (vv->seq[o]) sk_vv_set(out, sk_origin_map_get(map, o), vv->seq[o]);
}

static void vv_out(world_node *node, const sk_vv *vv, sk_vv *out)
{
    sk_origin_map map = {0};
    map_out(node->world, &node->db, &map);
    map_vv(&map, vv, out);
    sk_origin_map_free(&map);
}

static void vv_in(world_node *node, const sk_vv *vv, sk_vv *out)
{
    sk_origin_map map = {0};
    map_in(node->world, &node->db, node->index & 1, &map);
    map_vv(&map, vv, out);
    sk_origin_map_free(&map);
}

static void translate(sk_bytes ops, uint32_t count, const sk_origin_map *map, sk_arena *arena, sk_buf *out)
{
    sk_reader reader = sk_reader_of(ops);
    for (uint32_t i = 0; i < count; i++) {
        sk_op op;
        sk_assert(sk_op_read(&reader, map, (sk_dot){0, UINT64_MAX}, 0, arena, &op) == 0);
        sk_op_pack(out, &op);
    }
    sk_assert(sk_reader_done(&reader));
}

/* -- what is recorded ---------------------------------------------------------------------------------------------- */

static uint32_t world_row(db_world *world, sk_bytes raw)
{
    for (uint32_t i = 0; i < world->row_count; i++)
        if (sk_bytes_equal(world->rows[i], raw)) return i;
    sk_assert(world->row_count < ROWS_MAX);
    world->rows[world->row_count] = sk_arena_copy(&world->oracle.arena, raw);
    return world->row_count++;
}

static void record(void *self, const sk_txn *txn)
{
    world_node *node = self;
    db_world *world = node->world;
    sk_origin_map map = {0};
    map_out(world, &node->db, &map);
    if (world->txn_count == world->txn_room) {
        world->txn_room = world->txn_room ? world->txn_room * 2 : 32;
        world->txns = sk_realloc(world->txns, world->txn_room * sizeof *world->txns);
    }
    world_txn *made = &world->txns[world->txn_count++];
    *made = (world_txn){.hlc = txn->hlc, .op_count = txn->op_count};
    made->dot = (sk_dot){sk_origin_map_get(&map, txn->dot.origin), txn->dot.seq};
    map_vv(&map, &txn->seen, &made->seen);
    translate(txn->ops, txn->op_count, &map, &world->arena, &made->ops);
    sk_origin_map_free(&map);
    sk_reader reader = sk_reader_of(sk_buf_view(&made->ops));
    for (uint32_t i = 0; i < made->op_count; i++) {
        sk_op op;
        sk_assert(sk_op_read(&reader, NULL, made->dot, made->hlc, &world->arena, &op) == 0);
        uint32_t row = world_row(world, op.key);
        sk_number delta = {0};
        if (op.content.kind == SK_ENTRY_COUNT) delta = oracle_delta(&world->oracle, row, made->dot, &op.content.count);
        oracle_record(&world->oracle, row, &op, made->dot, made->hlc, &made->seen, NULL)->delta = delta;
    }
}

/* What nobody has any more never happened. */
static void void_lost(db_world *world)
{
    sk_vv all = {0}, one = {0};
    for (uint32_t n = 0; n < world->count; n++) {
        vv_out(&world->nodes[n], &world->nodes[n].db.vv, &one);
        sk_vv_join(&all, &one);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < world->txn_count; i++) {
        if (sk_vv_covers(&all, world->txns[i].dot)) {
            world->txns[kept++] = world->txns[i];
            continue;
        }
        sk_vv_free(&world->txns[i].seen);
        sk_buf_free(&world->txns[i].ops);
    }
    world->txn_count = kept;
    for (uint32_t o = 0; o < world->origins.count; o++) oracle_void(&world->oracle, o, sk_vv_get(&all, o));
    sk_vv_free(&all);
    sk_vv_free(&one);
}

/* -- nodes --------------------------------------------------------------------------------------------------------- */

static void settle_batch(world_node *node)
{
    sk_assert(node->db.failed == 0);
    (void)sk_db_seal(&node->db);
}

static void sync_node(world_node *node)
{
    sk_assert(sk_memory_sync(node->store, UINT64_MAX) == 0);
    vv_out(node, &node->db.vv, &node->durable);
}

static void open_node(world_node *node)
{
    char region[] = {(char)('a' + (int)node->index), 0};
    sk_buf error = {0};
    sk_db_identity identity = {region, "test", {(const uint8_t *)&node->lives, sizeof node->lives}, 0, false};
    node->lives++;
    identity.incarnation = sk_incarnation_make(2 * (node->index * 1000u + node->lives), 1000u * node->lives, true);
    sk_assert(sk_db_open(&node->db, node->store, &identity, &error) == 0);
    node->db.sums.leaf_rows = 2;
    node->db.self = node;
    node->db.on_local = record;
    node->db.wall_ms = 1000;
    sk_buf_free(&error);
    sync_node(node);
}

static void cut_transfer(world_node *node)
{
    if (node->from == NO_NODE) return;
    sk_source_close(&node->world->nodes[node->from].db, node->source);
    node->from = NO_NODE;
}

/* Everything that does not outlive a process. */
static void cut_all(world_node *node)
{
    db_world *world = node->world;
    cut_transfer(node);
    for (uint32_t n = 0; n < world->count; n++)
        if (world->nodes[n].from == node->index) cut_transfer(&world->nodes[n]);
    node->has_context = false;
}

static void crash_node(world_node *node, uint32_t x)
{
    uint64_t sealed, synced;
    cut_all(node);
    sk_vv_free(&node->everywhere);
    world_met.crashes++;
    sk_memory_progress(node->store, &sealed, NULL, &synced);
    sk_memory_crash(node->store, synced + x % (sealed - synced + 1));
    sk_assert(sk_db_reload(&node->db) == 0);
    (void)sk_db_seal(&node->db);
    vv_out(node, &node->db.vv, &node->durable);
    void_lost(node->world);
}

static void restore_node(world_node *node)
{
    db_world *world = node->world;
    if (!node->backup) return;
    cut_all(node);
    sk_vv_free(&node->everywhere);
    world_met.restores++;
    sk_db_close(&node->db);
    sk_store_close(node->store);
    node->store = sk_memory_copy(node->backup);
    open_node(node);
    for (uint32_t n = 0; n < world->count; n++) {
        sk_vv_copy(&world->nodes[n].acked[node->index], &node->durable);
        sk_vv_free(&node->acked[n]);
    }
    void_lost(world);
}

static void db_world_start(db_world *world, uint32_t count)
{
    memset(world, 0, sizeof *world);
    world->count = count;
    for (uint32_t n = 0; n < count; n++) {
        world_node *node = &world->nodes[n];
        *node = (world_node){.world = world, .index = n, .from = NO_NODE};
        node->store = sk_memory_open(SK_DURABILITY_ALWAYS);
        open_node(node);
    }
}

static void db_world_end(db_world *world)
{
    for (uint32_t n = 0; n < world->count; n++) cut_all(&world->nodes[n]);
    for (uint32_t n = 0; n < world->count; n++) {
        world_node *node = &world->nodes[n];
        sk_db_close(&node->db);
        sk_store_close(node->store);
        if (node->backup) sk_store_close(node->backup);
        sk_vv_free(&node->durable);
        sk_vv_free(&node->everywhere);
        sk_vv_free(&node->context);
        sk_vv_free(&node->withheld);
        for (uint32_t o = 0; o < NODES_MAX; o++) sk_vv_free(&node->acked[o]);
        sk_origin_map_free(&node->map);
    }
    for (uint32_t i = 0; i < world->txn_count; i++) {
        sk_vv_free(&world->txns[i].seen);
        sk_buf_free(&world->txns[i].ops);
    }
    free(world->txns);
    sk_origins_free(&world->origins);
    oracle_free(&world->oracle);
    sk_arena_free(&world->arena);
}

/* -- live transactions --------------------------------------------------------------------------------------------- */

/* The next transaction of an origin that `from` has on disk. True if it was applied. */
static bool deliver(world_node *node, world_node *from, uint32_t origin)
{
    db_world *world = node->world;
    sk_vv vv = {0};
    vv_out(node, &node->db.vv, &vv);
    sk_dot next = {origin, sk_vv_get(&vv, origin) + 1};
    const world_txn *found = NULL;
    for (uint32_t i = 0; i < world->txn_count; i++)
        if (world->txns[i].dot.origin == next.origin && world->txns[i].dot.seq == next.seq) found = &world->txns[i];
    bool ready = found && sk_vv_covers(&from->durable, next) && sk_vv_at_most(&found->seen, &vv);
    if (node->from != NO_NODE && node->reconcile && sk_vv_covers(&node->withheld, next)) ready = false;
    sk_vv_free(&vv);
    if (!ready) return false;
    sk_origin_map map = {0};
    sk_buf ops = {0};
    map_in(world, &node->db, node->index & 1, &map);
    translate(sk_buf_view(&found->ops), found->op_count, &map, &world->arena, &ops);
    sk_txn txn = {.dot = {sk_origin_map_get(&map, origin), next.seq}, .hlc = found->hlc, .op_count = found->op_count};
    map_vv(&map, &found->seen, &txn.seen);
    txn.ops = sk_buf_view(&ops);
    sk_assert(sk_db_apply(&node->db, &txn) == 0);
    sk_vv_free(&txn.seen);
    sk_buf_free(&ops);
    sk_origin_map_free(&map);
    return true;
}

static bool deliver_any(world_node *node, world_node *from, uint32_t most)
{
    bool any = false;
    for (bool moved = true; moved && most > 0;) {
        moved = false;
        for (uint32_t o = 0; o < node->world->origins.count && most > 0; o++)
            if (deliver(node, from, o)) {
                moved = any = true;
                most--;
            }
    }
    return any;
}

/* -- transfers ----------------------------------------------------------------------------------------------------- */

static void exchange_vv(world_node *to, world_node *from, const sk_vv *vv, sk_vv *out)
{
    sk_vv canonical = {0};
    vv_out(from, vv, &canonical);
    vv_in(to, &canonical, out);
    sk_vv_free(&canonical);
}

static void begin_transfer(world_node *node, world_node *from)
{
    if (node->from != NO_NODE || sk_fold_active(&node->db)) return;
    sk_vv known = {0};
    sk_transfer_progress ours = {0}, theirs = {0};
    sk_transfer_head head = {0}, here = {0};
    bool some = sk_fold_progress(&node->db, &ours) == 1;
    vv_in(from, &node->durable, &known);
    if (some) {
        exchange_vv(from, node, &ours.vv, &theirs.vv);
        theirs.reconcile = ours.reconcile;
        sk_buf_bytes(&theirs.cursor, sk_buf_view(&ours.cursor));
    }
    while (from->db.audit.stage <= SK_AUDIT_STAGED && sk_audit_step(&from->db, 1) >= 0) {} /* nothing is sent before */
    int status = sk_source_open(&from->db, &known, some ? &theirs : NULL, &node->source, &head);
    sk_assert(status == 0 || status == SK_E_BUSY);
    if (status == 0) {
        exchange_vv(node, from, &head.vv, &here.vv);
        exchange_vv(node, from, &head.floor, &here.floor);
        here.reconcile = head.reconcile;
        here.resumed = head.resumed;
        node->from = from->index;
        status = sk_fold_begin(&node->db, &here);
        sk_assert(status == 0 || status == SK_E_GAP);
        node->reconcile = head.reconcile;
        node->compared = false;
        vv_out(from, &head.vv, &node->withheld);
        if (status) cut_transfer(node);
        settle_batch(from);
        world_met.transfers++;
        world_met.resumed += head.resumed;
        world_met.reconciles += head.reconcile;
        world_met.both += head.reconcile && head.resumed;
    }
    sk_vv_free(&known);
    sk_vv_free(&ours.vv);
    sk_buf_free(&ours.cursor);
    sk_vv_free(&theirs.vv);
    sk_buf_free(&theirs.cursor);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
    sk_vv_free(&here.vv);
    sk_vv_free(&here.floor);
}

/* Takes one chunk; behind the last one of a reconcile what is to be compared, in one go; then the transfer becomes visible.
 * False if none is under way. */
static bool take_chunk(world_node *node, size_t max)
{
    if (node->from == NO_NODE) return false;
    world_node *from = &node->world->nodes[node->from];
    sk_origin_map out = {0}, in = {0};
    sk_buf rows = {0};
    int more = sk_source_chunk(&from->db, node->source, max, &rows);
    bool compares = more == 0 && node->reconcile && !node->compared;
    sk_assert(more >= 0);
    map_out(node->world, &from->db, &out);
    map_in(node->world, &node->db, node->index & 1, &in);
    for (uint32_t o = 0; o < out.count; o++) out.ours[o] = sk_origin_map_get(&in, out.ours[o]);
    sk_assert(sk_fold_chunk(&node->db, sk_buf_view(&rows), &out) == 0);
    if (compares) {
        dialogue talk = {.from = &from->db, .to = &node->db, .source = node->source, .map = &out};
        dialogue_run(&talk);
        world_met.wanted += talk.wanted;
        node->compared = true;
    } else if (more == 0) {
        sk_assert(sk_fold_end(&node->db) == 0);
        world_met.completed++;
        cut_transfer(node);
    }
    sk_origin_map_free(&out);
    sk_origin_map_free(&in);
    sk_buf_free(&rows);
    return true;
}

/* As gossip/stability.c: what all have acknowledged counts once this node has what they had when they did; history goes on
 * without the members of `laggards` (a bit each), at once. */
static void forget_stable(world_node *node, uint32_t laggards)
{
    db_world *world = node->world;
    sk_vv stable = {0}, meet = {0}, vv = {0}, ours = {0}, ours_everywhere = {0};
    sk_vv_copy(&stable, &node->durable);
    sk_vv_copy(&meet, &node->durable);
    vv_out(node, &node->db.vv, &vv);
    bool allowed = true;
    for (uint32_t m = 0; m < world->count; m++) {
        if (m == node->index) continue;
        sk_vv_meet(&meet, &node->acked[m]);
        if (!(laggards >> m & 1)) sk_vv_meet(&stable, &node->acked[m]);
        for (uint32_t o = 0; o < world->origins.count; o++)
            if (world->origins.list[o].region[0] == 'a' + (char)m)
                allowed = allowed && sk_vv_get(&node->acked[m], o) <= sk_vv_get(&vv, o);
    }
    if (allowed) sk_vv_join(&node->everywhere, &meet);
    if (allowed || laggards) {
        world_met.strips += node->db.dead_flags > 0;
        world_met.caps += laggards != 0;
        if (!laggards) sk_vv_copy(&stable, &node->everywhere);
        sk_vv_join(&stable, &node->everywhere);
        vv_in(node, &stable, &ours);
        vv_in(node, &node->everywhere, &ours_everywhere);
        sk_db_forget(&node->db, &ours, &ours_everywhere);
        while (sk_db_revisit(&node->db, &ours_everywhere, 3) > 0) continue;
    }
    sk_vv_free(&stable);
    sk_vv_free(&meet);
    sk_vv_free(&vv);
    sk_vv_free(&ours);
    sk_vv_free(&ours_everywhere);
}

/* -- what must hold ------------------------------------------------------------------------------------------------ */

/* A row as the database has it, in canonical numbers. */
static sk_row canonical_row(world_node *node, sk_bytes raw)
{
    sk_arena *arena = &node->world->arena;
    sk_origin_map map = {0};
    sk_row row;
    sk_buf packed = {0};
    map_out(node->world, &node->db, &map);
    sk_assert(sk_db_row(&node->db, raw, arena, &row) == 0);
    sk_row_pack(&packed, &row, false);
    sk_assert(sk_row_read(sk_arena_copy(arena, sk_buf_view(&packed)), &map, arena, &row) == 0);
    sk_buf_free(&packed);
    sk_origin_map_free(&map);
    return row;
}

static bool row_holds(world_node *node, uint32_t row, const sk_vv *vv, sk_buf *why)
{
    db_world *world = node->world;
    sk_row have = canonical_row(node, world->rows[row]), want = oracle_row(&world->oracle, row, vv, &world->arena);
    if (oracle_same(&have, &want)) return true;
    sk_buf_printf(why, "%c, row ", 'a' + (int)node->index);
    for (size_t i = 0; i < world->rows[row].len; i++) {
        uint8_t c = world->rows[row].data[i];
        sk_buf_printf(why, c > 31 && c < 127 ? "%c" : "\\%u", c);
    }
    sk_buf_printf(why, ": has ");
    oracle_tell_row(&have, why);
    sk_buf_printf(why, ", the history says ");
    oracle_tell_row(&want, why);
    return false;
}

/* The rows whose client key begins with `key` (data NULL: all). */
static bool rows_hold(world_node *node, sk_bytes key, sk_buf *why)
{
    db_world *world = node->world;
    sk_vv vv = {0};
    bool hold = true;
    vv_out(node, &node->db.vv, &vv);
    for (uint32_t i = 0; i < world->row_count && hold; i++)
        if (!key.data || sk_bytes_starts(sk_bytes_of(world->rows[i].data + 1, world->rows[i].len - 1), key))
            hold = row_holds(node, i, &vv, why);
    sk_vv_free(&vv);
    return hold;
}

typedef struct {
    sk_db *db;
    uint64_t conflicts, deadlines, deadlines_due;
    bool wrong;
} index_tally;

static int tally_index(void *self, sk_bytes raw, const sk_row *none)
{
    index_tally *sum = self;
    sk_arena arena = {0};
    (void)none;
    if (raw.data[0] == SK_INDEX_CONFLICT) {
        sum->conflicts++;
        return 0;
    }
    sum->deadlines++;
    sk_row_name name =
        sk_row_name_of(&arena, SK_TABLE_KEY, sk_bytes_of(raw.data + SK_INDEX_DEADLINE_BYTES,
                                                         raw.len - SK_INDEX_DEADLINE_BYTES), SK_BYTES_NONE);
    sk_row row;
    uint64_t at = 0;
    for (int i = 1; i <= 8; i++) at = at << 8 | raw.data[i];
    sk_assert(sk_db_row(sum->db, name.raw, &arena, &row) == 0);
    uint64_t due = sk_key_row_exists(&row) ? sk_row_deadline(&row) : 0;
    sum->wrong |= sk_row_live(&row, SK_CLASS_DEADLINE) == 0 || at != due;
    sk_arena_free(&arena);
    return 0;
}

static int tally_due(void *self, sk_bytes raw, const sk_row *row)
{
    index_tally *sum = self;
    (void)raw;
    if (sk_row_live(row, SK_CLASS_DEADLINE))
        sum->deadlines_due += !sk_key_row_exists(row) || sk_row_deadline(row) != SK_DEADLINE_NEVER;
    return 0;
}

static bool indexes_hold(sk_db *db)
{
    index_tally sum = {.db = db};
    uint8_t table = SK_TABLE_KEY;
    sk_assert(sk_db_each_derived(db, SK_BYTES_NONE, SK_BYTES_NONE, tally_index, &sum) == 0);
    sk_assert(sk_db_each(db, sk_bytes_of(&table, 1), SK_BYTES_NONE, tally_due, &sum) == 0);
    return !sum.wrong && sum.conflicts == db->conflicts && sum.deadlines == sum.deadlines_due;
}

static bool digests_agree(world_node *a, world_node *b)
{
    sk_vv first = {0}, second = {0};
    vv_out(a, &a->db.vv, &first);
    vv_out(b, &b->db.vv, &second);
    bool fine = !sk_vv_equal(&first, &second) || a->db.digest == b->db.digest;
    sk_vv_free(&first);
    sk_vv_free(&second);
    return fine;
}

typedef struct {
    world_node *node;
    sk_buf *why;
} dead_check;

static int check_dead(void *self, sk_bytes raw, const sk_row *row)
{
    dead_check *check = self;
    sk_db *db = &check->node->db;
    bool dead = false;
    for (uint32_t i = 0; i < row->count; i++)
        dead |= !sk_entry_live(&row->entries[i]) && !sk_origins_open_ended(&db->origins, row->entries[i].dot.origin);
    if (!dead || sk_db_history_speaks(db, raw)) return 0;
    sk_buf_printf(check->why, "%c: a dead count will stay for ever", 'a' + (int)check->node->index);
    return 1;
}

static bool node_holds(world_node *node, sk_buf *why)
{
    db_world *world = node->world;
    sk_memory_check(node->store);
    if (sk_fold_active(&node->db)) return true;
    sk_db_check(&node->db);
    if (!indexes_hold(&node->db)) {
        sk_buf_printf(why, "%c: an index is wrong", 'a' + (int)node->index);
        return false;
    }
    if (!rows_hold(node, SK_BYTES_NONE, why)) return false;
    dead_check check = {node, why};
    if (sk_db_each(&node->db, SK_BYTES_NONE, SK_BYTES_NONE, check_dead, &check) != 0) return false;
    for (uint32_t n = 0; n < world->count; n++)
        if (!sk_fold_active(&world->nodes[n].db) && !digests_agree(node, &world->nodes[n])) {
            sk_buf_printf(why, "%c and %c: the same vector, other digests", 'a' + (int)node->index, 'a' + (int)n);
            return false;
        }
    return true;
}

#endif
