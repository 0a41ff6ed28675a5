/* Databases against the oracle: two or three of them write, exchange transactions and transfers, are cut off in the
 * middle, crash, come back from an old copy, forget. After each step every row of the node is what the history says,
 * what is derived agrees with the rows, and equal vectors have equal digests. */
#define SK_SOURCE_LOT_MAX 3 /* lots that fill up */
#include "node/source.c"

#include "tests/history_cursor.h"
#include "tests/prop/db_world.h"

typedef enum {
    DB_WRITE,
    DB_COUNT,
    DB_CONTEXT,
    DB_SYNC,
    DB_CRASH,
    DB_DELIVER,
    DB_BEGIN,
    DB_CHUNK,
    DB_CUT,
    DB_FOLD,
    DB_LOOK,
    DB_ACK,
    DB_FORGET,
    DB_CAP, /* history goes, whoever may need it */
    DB_BACKUP,
    DB_RESTORE,
    DB_GATHER, /* all is exchanged live, acknowledged, and forgotten everywhere */
    DB_KINDS
} db_event;

static const sk_bytes KEYS[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b\0", 2}, {(const uint8_t *)"b\0\1c", 4}};
static const sk_bytes MEMBERS[] = {{(const uint8_t *)"x", 1}, {(const uint8_t *)"\0", 1}};

/* -- local transactions -------------------------------------------------------------------------------------------- */

typedef struct {
    sk_db *db;
    sk_arena arena;
} writer;

static sk_row row_now(writer *with, const sk_row_name *name)
{
    sk_row row;
    sk_assert(sk_db_row(with->db, name->raw, &with->arena, &row) == 0);
    return row;
}

/* The transaction has put content into this row: another kind of content could not stand beside it. */
static bool written_here(writer *with, const sk_row *row, sk_entry_kind kind)
{
    sk_dot dot = sk_db_next_dot(with->db);
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == kind && row->entries[i].dot.origin == dot.origin &&
            row->entries[i].dot.seq == dot.seq)
            return true;
    return false;
}

static void change(writer *with, const sk_row_name *name, const sk_op *op)
{
    sk_assert(sk_db_change(with->db, name, NULL, op) == 0);
}

static void put_value(writer *with, const sk_row_name *name, uint32_t x)
{
    char text[16];
    sk_row row = row_now(with, name);
    sk_op op = {0};
    int len = x % 3 ? snprintf(text, sizeof text, "%u", x) : snprintf(text, sizeof text, "text%u", x);
    (void)sk_register_write(&op, &row, with->db->own, sk_bytes_of(text, (size_t)len), &with->arena);
    change(with, name, &op);
}

static void add_count(writer *with, const sk_row_name *name, uint32_t x)
{
    sk_row row = row_now(with, name);
    sk_op op = {0};
    if (written_here(with, &row, SK_ENTRY_VALUE) || written_here(with, &row, SK_ENTRY_MEMBER)) return;
    sk_number by = x % 5 ? sk_number_whole((int64_t)x % 7 - 3) : sk_number_real(0.25L * x);
    (void)sk_register_add(&op, &row, sk_db_next_dot(with->db), by);
    change(with, name, &op);
}

static void remove_row(writer *with, const sk_row_name *name, bool deadlines)
{
    sk_row row = row_now(with, name);
    sk_op op = {0};
    if (row.count == 0) return;
    (void)sk_register_remove(&op, &row, with->db->own, deadlines, &with->arena);
    change(with, name, &op);
}

static void put_member(writer *with, const sk_row_name *name)
{
    sk_row row = row_now(with, name);
    sk_op op = {.forgets_content = true, .has_content = true, .content.kind = SK_ENTRY_MEMBER};
    (void)sk_op_list_resets(&op, &row, with->db->own, &with->arena);
    change(with, name, &op);
}

static void put_deadline(writer *with, const sk_row_name *name, uint32_t x)
{
    sk_op op = {.forgets_deadlines = true, .has_deadline = true, .deadline.kind = SK_ENTRY_DEADLINE};
    op.deadline.deadline_ms = x % 4 ? 5000 + x : SK_DEADLINE_NEVER;
    change(with, name, &op);
}

static void resolve(writer *with, const world_node *node, const sk_row_name *name)
{
    sk_row row = row_now(with, name);
    sk_op op = {.has_content = true, .content = {.kind = SK_ENTRY_VALUE, .value = sk_bytes_str("7")}};
    if (!node->has_context || !sk_bytes_equal(node->context_key, name->key.key)) return;
    if (written_here(with, &row, SK_ENTRY_COUNT)) return;
    op.removed = sk_arena_take(&with->arena, (row.count + 1) * sizeof *op.removed);
    op.resets = sk_arena_take(&with->arena, 8 * sizeof *op.resets);
    for (uint32_t i = 0; i < row.count; i++)
        if (row.entries[i].kind == SK_ENTRY_VALUE && sk_vv_covers(&node->context, row.entries[i].dot))
            op.removed[op.removed_count++] = (sk_removed){row.entries[i].dot, SK_CLASS_CONTENT};
    for (uint32_t i = 0; i < node->reset_count; i++) {
        const sk_entry *count = sk_row_count_of(&row, node->resets[i].dot.origin);
        if (count && count->count.epoch == node->resets[i].epoch && count->dot.seq >= node->resets[i].dot.seq)
            op.resets[op.reset_count++] = node->resets[i];
    }
    change(with, name, &op);
}

static int list_row(void *self, sk_bytes raw, const sk_row *row)
{
    (void)row;
    sk_buf_append(self, &raw.len, sizeof raw.len);
    sk_buf_bytes(self, raw);
    return 0;
}

/* DEL: the key's own row, its fields, its members. */
static void remove_key(writer *with, sk_bytes key)
{
    sk_buf list = {0}, prefix = {0};
    sk_row_name own = sk_row_name_of(&with->arena, SK_TABLE_KEY, key, SK_BYTES_NONE);
    remove_row(with, &own, true);
    for (int t = 0; t < 2; t++) {
        sk_buf_reset(&prefix);
        sk_rowkey_pack_prefix(&prefix, t ? SK_TABLE_SET : SK_TABLE_HASH, key);
        sk_assert(sk_db_each(with->db, sk_buf_view(&prefix), SK_BYTES_NONE, list_row, &list) == 0);
    }
    for (size_t at = 0; at < list.len;) {
        size_t len;
        memcpy(&len, list.data + at, sizeof len);
        sk_row_name name = {.raw = sk_bytes_of(list.data + at + sizeof len, len)};
        sk_assert(sk_rowkey_parse(name.raw, &with->arena, &name.key) == 0);
        remove_row(with, &name, true);
        at += sizeof len + len;
    }
    sk_buf_free(&list);
    sk_buf_free(&prefix);
}

static void one_command(writer *with, const world_node *node, uint32_t x)
{
    sk_bytes key = KEYS[x % 3], member = MEMBERS[x / 3 % 2];
    uint32_t what = x / 8 % 16, n = x / 128 % 16;
    sk_table table = what < 8 ? SK_TABLE_KEY : what < 12 ? SK_TABLE_HASH : what < 14 ? SK_TABLE_SET : SK_TABLE_POLICY;
    sk_row_name name = sk_row_name_of(&with->arena, table, key, member);
    switch (what) {
    case 0: put_value(with, &name, n); break;
    case 1:
    case 2:
    case 3: add_count(with, &name, n); break;
    case 4: put_deadline(with, &name, n); break;
    case 5: resolve(with, node, &name); break;
    case 6: remove_key(with, key); break;
    case 7: remove_row(with, &name, n & 1); break;
    case 8: put_value(with, &name, n); break;
    case 9:
    case 10: add_count(with, &name, n); break;
    case 12: put_member(with, &name); break;
    case 14: put_value(with, &name, n); break;
    default: remove_row(with, &name, false);
    }
}

static void write_txn(world_node *node, uint32_t x)
{
    writer with = {.db = &node->db};
    prop_random random = {x};
    uint32_t commands = x % 4 ? 1 : 2 + x / 4 % 3;
    sk_db_begin(&node->db);
    for (uint32_t i = 0; i < commands; i++) {
        uint32_t command = (uint32_t)prop_next(&random) & 0xffff;
        sk_assert(sk_db_touch(&node->db, KEYS[command % 3]) == 0);
        one_command(&with, node, command);
    }
    (void)sk_db_commit(&node->db);
    sk_arena_free(&with.arena);
}

/* A number is added to, reset, or set, in one row or two. */
static void count_txn(world_node *node, uint32_t x)
{
    writer with = {.db = &node->db};
    sk_row_name name = sk_row_name_of(&with.arena, SK_TABLE_KEY, KEYS[x / 16 % 4 == 0], SK_BYTES_NONE);
    sk_db_begin(&node->db);
    sk_assert(sk_db_touch(&node->db, name.key.key) == 0);
    switch (x % 5) {
    case 0: remove_row(&with, &name, true); break;
    case 1: put_value(&with, &name, x / 64 % 16); break;
    default: add_count(&with, &name, x / 64 % 16);
    }
    (void)sk_db_commit(&node->db);
    sk_arena_free(&with.arena);
}

static void read_context(world_node *node, uint32_t x)
{
    sk_arena arena = {0};
    sk_row row;
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, KEYS[x % 3], SK_BYTES_NONE);
    sk_assert(sk_db_touch(&node->db, KEYS[x % 3]) == 0);
    sk_assert(sk_db_row(&node->db, name.raw, &arena, &row) == 0);
    sk_vv_copy(&node->context, &node->db.vv);
    node->has_context = true;
    node->context_key = KEYS[x % 3];
    node->reset_count = 0;
    for (uint32_t i = 0; i < row.count; i++)
        if (row.entries[i].kind == SK_ENTRY_COUNT && sk_entry_live(&row.entries[i]) && node->reset_count < 8)
            node->resets[node->reset_count++] =
                (sk_reset){row.entries[i].dot, row.entries[i].count.epoch, row.entries[i].count.total};
    sk_arena_free(&arena);
}

/* -- stories ------------------------------------------------------------------------------------------------------- */

static void draw_with(prop_random *random, prop_event *event, const uint32_t *weights)
{
    event->kind = prop_weighted(random, weights, DB_KINDS);
    event->a = prop_below(random, NODES_MAX);
    event->b = prop_below(random, NODES_MAX);
    event->x = prop_below(random, 1 << 20);
}

static void draw(prop_random *random, prop_event *event)
{
    static const uint32_t weights[DB_KINDS] = {
        [DB_WRITE] = 30,  [DB_CONTEXT] = 4, [DB_SYNC] = 22, [DB_CRASH] = 3, [DB_DELIVER] = 14, [DB_BEGIN] = 10,
        [DB_CHUNK] = 22,  [DB_CUT] = 4,     [DB_FOLD] = 10, [DB_LOOK] = 3,  [DB_ACK] = 14,     [DB_FORGET] = 8,
        [DB_BACKUP] = 1,  [DB_RESTORE] = 1, [DB_GATHER] = 1, [DB_CAP] = 1,
    };
    draw_with(random, event, weights);
}

/* Numbers alone, in hardly more than one row; nobody waits for those that lag behind. */
static void draw_counts(prop_random *random, prop_event *event)
{
    static const uint32_t weights[DB_KINDS] = {
        [DB_COUNT] = 40, [DB_SYNC] = 26, [DB_CRASH] = 2,  [DB_DELIVER] = 6,  [DB_BEGIN] = 30, [DB_CHUNK] = 60,  [DB_CUT] = 3,
        [DB_FOLD] = 20,  [DB_ACK] = 20,  [DB_FORGET] = 8, [DB_CAP] = 8,      [DB_BACKUP] = 1, [DB_RESTORE] = 1, [DB_GATHER] = 1,
    };
    draw_with(random, event, weights);
}

/* Much is forgotten, and old copies (mostly the empty one of the beginning) come back that are below the floor:
 * reconciles, cut and resumed. */
static void draw_old_copies(prop_random *random, prop_event *event)
{
    static const uint32_t weights[DB_KINDS] = {
        [DB_WRITE] = 50, [DB_CONTEXT] = 1, [DB_SYNC] = 36, [DB_CRASH] = 4, [DB_DELIVER] = 6, [DB_BEGIN] = 50,
        [DB_CHUNK] = 60, [DB_CUT] = 40,    [DB_FOLD] = 12, [DB_LOOK] = 3,  [DB_ACK] = 2,     [DB_FORGET] = 4,
        [DB_BACKUP] = 1, [DB_RESTORE] = 4, [DB_GATHER] = 5,
    };
    draw_with(random, event, weights);
}

static void tell(const prop_event *event, sk_buf *text)
{
    static const char *const names[] = {"writes",         "counts",          "reads a context",
                                        "syncs",          "crashes",         "receives from",
                                        "begins a transfer from",            "takes a chunk",
                                        "is cut off",     "folds",           "looks at a key",
                                        "hears the acknowledgement of",      "forgets",
                                        "forgets, without waiting for laggards",
                                        "is copied",      "comes back from its copy",
                                        "forgets, after all was exchanged and acknowledged"};
    static const char *const commands[] = {"SET",  "INCR", "INCR", "INCR", "EXPIRE", "RESOLVE", "DEL",    "removes row",
                                           "HSET", "HINCR", "HINCR", "HDEL", "SADD",  "SREM",    "POLICY", "unPOLICY"};
    sk_buf_printf(text, "%c %s", 'a' + (int)event->a, names[event->kind]);
    if (event->kind == DB_DELIVER || event->kind == DB_BEGIN || event->kind == DB_ACK)
        sk_buf_printf(text, " %c", 'a' + (int)event->b);
    if (event->kind == DB_COUNT)
        sk_buf_printf(text, ": %s key%u (%u)", event->x % 5 == 0 ? "DEL" : event->x % 5 == 1 ? "SET" : "INCR", event->x / 16 % 4 == 0,
                      event->x / 64 % 16);
    prop_random random = {event->x};
    uint32_t count = event->x % 4 ? 1 : 2 + event->x / 4 % 3;
    for (uint32_t i = 0; event->kind == DB_WRITE && i < count; i++) {
        uint32_t command = (uint32_t)prop_next(&random) & 0xffff;
        sk_buf_printf(text, " %s key%u member%u (%u)", commands[command / 8 % 16], command % 3, command / 3 % 2,
                      command / 128 % 16);
    }
}

static void gather(db_world *world)
{
    for (uint32_t round = 0; round < world->count; round++)
        for (uint32_t n = 0; n < world->count; n++) {
            sync_node(&world->nodes[n]);
            for (uint32_t m = 0; m < world->count; m++)
                if (m != n) (void)deliver_any(&world->nodes[n], &world->nodes[m], UINT32_MAX);
            settle_batch(&world->nodes[n]);
            sync_node(&world->nodes[n]);
        }
    for (uint32_t n = 0; n < world->count; n++) {
        for (uint32_t m = 0; m < world->count; m++)
            sk_vv_copy(&world->nodes[n].acked[m], &world->nodes[m].durable);
        forget_stable(&world->nodes[n], 0);
        settle_batch(&world->nodes[n]);
        sync_node(&world->nodes[n]);
    }
}

/* In its order, or some of a key before others. */
static void fold_some(world_node *node, uint32_t x)
{
    uint32_t rows = 1 + x % 3;
    if (x & 64)
        sk_assert(sk_db_touch_some(&node->db, KEYS[x / 128 % 3], &rows) >= 0);
    else
        sk_assert(sk_fold_step(&node->db, rows) >= 0);
}

static bool step(db_world *world, const prop_event *event, sk_buf *why)
{
    world_node *node = &world->nodes[event->a], *other = &world->nodes[event->b];
    bool pair = event->a != event->b;
    sk_arena_reset(&world->arena);
    node->db.wall_ms = 1000 + world->steps++;
    switch ((db_event)event->kind) {
    case DB_WRITE: write_txn(node, event->x); break;
    case DB_COUNT: count_txn(node, event->x); break;
    case DB_CONTEXT: read_context(node, event->x); break;
    case DB_SYNC: sync_node(node); break;
    case DB_CRASH: crash_node(node, event->x); break;
    case DB_DELIVER:
        if (pair) (void)deliver_any(node, other, 1 + event->x % 30);
        break;
    case DB_BEGIN:
        if (pair) begin_transfer(node, other);
        break;
    case DB_CHUNK: (void)take_chunk(node, 1 + event->x % (event->x & 1024 ? 150 : 20)); break;
    case DB_CUT: cut_transfer(node); break;
    case DB_FOLD: fold_some(node, event->x); break;
    case DB_LOOK:
        sk_assert(sk_db_touch(&node->db, KEYS[event->x % 3]) == 0);
        if (!rows_hold(node, event->x % 3 ? SK_BYTES_NONE : KEYS[0], why) && !sk_fold_active(&node->db)) return false;
        sk_buf_reset(why);
        break;
    case DB_ACK: sk_vv_copy(&node->acked[event->b], &other->durable); break;
    case DB_FORGET: forget_stable(node, 0); break;
    case DB_CAP: forget_stable(node, event->x % 8); break;
    case DB_BACKUP:
        if (node->backup) sk_store_close(node->backup);
        node->backup = sk_memory_copy(node->store);
        break;
    case DB_RESTORE: restore_node(node); break;
    case DB_GATHER: gather(world); break;
    case DB_KINDS: break;
    }
    uint32_t rows = 1 + event->x % 4;
    sk_assert(node->db.failed ||
              (sk_audit_pending(&node->db) ? sk_audit_step(&node->db, rows) : sk_sums_step(&node->db, rows)) >= 0);
    settle_batch(node);
    return node_holds(node, why);
}

/* Everything is brought to everybody, by transfers or by live transactions. */
static bool heal(db_world *world, bool by_transfer, sk_buf *why)
{
    /* One that does not go on would keep from the node what it is to bring. */
    for (uint32_t n = 0; n < world->count && !by_transfer; n++) cut_transfer(&world->nodes[n]);
    for (uint32_t round = 0; round < 3 * world->count; round++)
        for (uint32_t n = 0; n < world->count; n++) {
            world_node *node = &world->nodes[n], *from = &world->nodes[(n + 1 + round) % world->count];
            sk_arena_reset(&world->arena);
            sk_assert(sk_db_touch_all(&from->db) == 0);
            sk_assert(sk_db_touch_all(&node->db) == 0);
            settle_batch(from);
            settle_batch(node);
            sync_node(from);
            sync_node(node);
            if (node == from) continue;
            if (by_transfer) {
                begin_transfer(node, from);
                while (take_chunk(node, 100)) sk_arena_reset(&world->arena);
                sk_assert(sk_db_touch_all(&node->db) == 0);
            } else {
                (void)deliver_any(node, from, UINT32_MAX);
            }
            settle_batch(node);
            sync_node(node);
            if (!node_holds(node, why)) return false;
        }
    for (uint32_t n = 1; n < world->count; n++)
        if (!sk_vv_equal(&world->nodes[n].durable, &world->nodes[0].durable)) {
            sk_buf_printf(why, "healed, but a and %c have other vectors", 'a' + (int)n);
            return false;
        }
    return true;
}

typedef struct {
    const sk_origins *origins;
    uint32_t dead;
} dead_counts;

static int see_dead(void *self, sk_bytes raw, const sk_row *row)
{
    dead_counts *seen = self;
    (void)raw;
    for (uint32_t i = 0; i < row->count; i++)
        seen->dead += !sk_entry_live(&row->entries[i]) &&
                      !sk_origins_open_ended(seen->origins, row->entries[i].dot.origin);
    return 0;
}

/* When everybody has acknowledged everything, nothing is left of what was removed, but for dead counts of lives that an old
 * copy has cut off. */
static bool nothing_is_left(db_world *world, sk_buf *why)
{
    for (uint32_t n = 0; n < world->count; n++) {
        world_node *node = &world->nodes[n];
        sk_arena_reset(&world->arena);
        for (uint32_t o = 0; o < world->count; o++) sk_vv_copy(&node->acked[o], &world->nodes[o].durable);
        forget_stable(node, 0);
        settle_batch(node);
        sync_node(node);
        if (!node_holds(node, why)) return false;
        dead_counts seen = {.origins = &node->db.origins};
        uint32_t history = 0;
        sk_assert(sk_db_each(&node->db, SK_BYTES_NONE, SK_BYTES_NONE, see_dead, &seen) == 0);
        history_cursor cursor = history_cursor_begin(node->store, &node->db.floor);
        sk_history_entry entry;
        while (history_cursor_entry(&cursor, &entry)) history += sk_vv_covers(&node->db.vv, entry.dot);
        if (seen.dead == 0 && history == 0) continue;
        sk_buf_printf(why, "%c keeps %u dead counts and %u records of history", 'a' + (int)n, seen.dead, history);
        return false;
    }
    return true;
}

static bool run(uint64_t seed, const prop_event *events, uint32_t count, sk_buf *why)
{
    db_world world;
    bool holds = true;
    db_world_start(&world, seed % 4 ? 3 : 2);
    for (uint32_t n = 0; n < world.count; n++) world.nodes[n].backup = sk_memory_copy(world.nodes[n].store);
    for (uint32_t i = 0; i < count && holds; i++) {
        if (events[i].a >= world.count || events[i].b >= world.count) continue;
        holds = step(&world, &events[i], why);
    }
    holds = holds && heal(&world, seed & 2, why) && nothing_is_left(&world, why);
    db_world_end(&world);
    return holds;
}

static void tell_what_was_met(void)
{
    print_message("%u transfers (%u resumed, %u reconciles, %u both, %u rows found), %u completed; %u crashes, %u old copies, "
                  "%u times dead counts to forget, %u times without laggards\n",
                  world_met.transfers, world_met.resumed, world_met.reconciles, world_met.both, world_met.wanted, world_met.completed,
                  world_met.crashes, world_met.restores, world_met.strips, world_met.caps);
}

static void databases_follow_the_oracle(void **state)
{
    (void)state;
    static const prop_test test = {"database", 1000, 260, draw, run, tell};
    prop_check(&test);
    tell_what_was_met();
}

static void old_copies_follow_the_oracle(void **state)
{
    (void)state;
    static const prop_test test = {"old copies", 1200, 200, draw_old_copies, run, tell};
    prop_check(&test);
    tell_what_was_met();
    if (!getenv("SK_PROP_RUNS")) assert_true(world_met.both > 0);
}

static void counts_follow_the_oracle(void **state)
{
    (void)state;
    static const prop_test test = {"counts", 1000, 260, draw_counts, run, tell};
    prop_check(&test);
    tell_what_was_met();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(databases_follow_the_oracle),
        cmocka_unit_test(old_copies_follow_the_oracle),
        cmocka_unit_test(counts_follow_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
