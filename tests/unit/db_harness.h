/* What the tests of the database share: one over a memory store, and commands in a line. */
#ifndef SK_TESTS_DB_HARNESS_H
#define SK_TESTS_DB_HARNESS_H

#include "node/fold.h"
#include "storage/memory.h"
#include "tests/history_cursor.h"
#include "tests/unit/crdt_harness.h"
#include "tests/unit/dialogue.h"

typedef struct {
    sk_db db;
    sk_store *store;
    sk_arena arena;
    sk_buf sent; /* the last local transaction's operations */
    sk_txn txn;  /* the last local transaction; ops in `sent`, seen owned */
    uint32_t local, changes;
} database;

static inline void on_local(void *self, const sk_txn *txn)
{
    database *with = self;
    sk_buf_reset(&with->sent);
    sk_buf_bytes(&with->sent, txn->ops);
    sk_vv seen = with->txn.seen;
    with->txn = *txn;
    with->txn.seen = seen;
    sk_vv_copy(&with->txn.seen, &txn->seen);
    with->txn.ops = sk_buf_view(&with->sent);
    with->local++;
}

static inline void on_change(void *self, sk_bytes key)
{
    (void)key;
    ((database *)self)->changes++;
}

static inline int open_as(database *with, const char *region, const char *cluster, const char *life,
                          uint64_t incarnation)
{
    sk_buf error = {0};
    sk_db_identity identity = {region, cluster, sk_bytes_str(life), incarnation, false};
    int status = sk_db_open(&with->db, with->store, &identity, &error);
    assert_int_equal(error.len > 0, status != 0);
    sk_buf_free(&error);
    with->db.self = with;
    with->db.on_local = on_local;
    with->db.on_change = on_change;
    with->db.wall_ms = 1000;
    with->db.sums.leaf_rows = 3;
    return status;
}

static inline void database_start(database *with, const char *region, uint64_t incarnation)
{
    *with = (database){.store = sk_memory_open(SK_DURABILITY_ALWAYS)};
    assert_int_equal(open_as(with, region, "test", "1", incarnation), 0);
}

static inline void database_end(database *with)
{
    sk_db_close(&with->db);
    sk_store_close(with->store);
    sk_arena_free(&with->arena);
    sk_buf_free(&with->sent);
    sk_vv_free(&with->txn.seen);
}

/* Before that nothing is sent. */
static inline void history_looked_through(sk_db *db)
{
    while (db->audit.stage <= SK_AUDIT_STAGED) assert_true(sk_audit_step(db, 1) >= 0);
}

/* Seals, and reconcile is on disk. Sums get on a little with each. */
static inline void commit(database *with)
{
    assert_true((sk_audit_pending(&with->db) ? sk_audit_step(&with->db, 2) : sk_sums_step(&with->db, 2)) >= 0);
    (void)sk_db_seal(&with->db);
    assert_int_equal(sk_memory_sync(with->store, UINT64_MAX), 0);
    sk_db_check(&with->db);
}

static inline void commit_unchecked(database *with)
{
    (void)sk_db_seal(&with->db);
    assert_int_equal(sk_memory_sync(with->store, UINT64_MAX), 0);
}

static inline sk_row_name row_name(database *with, sk_table table, const char *key, const char *member)
{
    return sk_row_name_of(&with->arena, table, sk_bytes_str(key), member ? sk_bytes_str(member) : SK_BYTES_NONE);
}

static inline sk_row row_of(database *with, sk_table table, const char *key, const char *member)
{
    sk_row row;
    sk_row_name name = row_name(with, table, key, member);
    assert_int_equal(sk_db_row(&with->db, name.raw, &with->arena, &row), 0);
    return row;
}

static inline const char *text_of_row(database *with, sk_table table, const char *key, const char *member)
{
    sk_row row = row_of(with, table, key, member);
    return row_text(&row);
}

/* What the store has of it, copied. */
static inline sk_bytes stored_row(database *with, sk_bytes raw)
{
    sk_bytes value;
    assert_int_equal(sk_store_get(with->store, SK_CF_ROW, raw, &value, NULL), 1);
    return sk_arena_copy(&with->arena, value);
}

/* Within an open transaction. */
static inline void change(database *with, sk_table table, const char *key, const char *member, const sk_op *op)
{
    sk_row_name name = row_name(with, table, key, member);
    assert_int_equal(sk_db_touch(&with->db, sk_bytes_str(key)), 0);
    assert_int_equal(sk_db_change(&with->db, &name, NULL, op), 0);
}

static inline void put(database *with, sk_table table, const char *key, const char *member, const char *value)
{
    assert_int_equal(sk_db_touch(&with->db, sk_bytes_str(key)), 0);
    sk_row row = row_of(with, table, key, member);
    sk_op op = {0};
    assert_int_equal(sk_register_write(&op, &row, with->db.own, sk_bytes_str(value), &with->arena), 0);
    if (table == SK_TABLE_SET) op.content.kind = SK_ENTRY_MEMBER;
    change(with, table, key, member, &op);
}

static inline void add(database *with, sk_table table, const char *key, const char *member, int64_t by)
{
    assert_int_equal(sk_db_touch(&with->db, sk_bytes_str(key)), 0);
    sk_row row = row_of(with, table, key, member);
    sk_op op = {0};
    assert_int_equal(sk_register_add(&op, &row, sk_db_next_dot(&with->db), sk_number_whole(by)), 0);
    change(with, table, key, member, &op);
}

static inline void take_away(database *with, sk_table table, const char *key, const char *member)
{
    assert_int_equal(sk_db_touch(&with->db, sk_bytes_str(key)), 0);
    sk_row row = row_of(with, table, key, member);
    sk_op op = {0};
    assert_int_equal(sk_register_remove(&op, &row, with->db.own, true, &with->arena), 0);
    change(with, table, key, member, &op);
}

static inline void expire(database *with, const char *key, uint64_t deadline_ms)
{
    sk_op op = {.forgets_deadlines = true, .has_deadline = true, .deadline = deadline_of(0, 0, deadline_ms)};
    change(with, SK_TABLE_KEY, key, NULL, &op);
}

/* A transaction of one command; the text of its row is not asked for. Returns its seq. */
#define txn(with, command)                                                                                             \
    (sk_db_begin(&(with)->db), (command), sk_db_commit(&(with)->db))

/* The numbers of `from` to those of `to`. Free it. */
static inline sk_origin_map map_of(database *from, database *to)
{
    sk_origin_map map = {0};
    for (uint32_t o = 0; o < from->db.origins.count; o++) {
        uint32_t number;
        const sk_origin *origin = &from->db.origins.list[o];
        assert_int_equal(sk_db_intern(&to->db, sk_bytes_str(origin->region), origin->incarnation, &number), 0);
        assert_int_equal(sk_origin_map_set(&map, o, number), 0);
    }
    return map;
}

/* What `from` has of a row, with the numbers that `to` has for its origins (not for who reset dead counts). */
static inline sk_row row_translated(database *to, database *from, sk_table table, const char *key, const char *member)
{
    sk_row row = row_of(from, table, key, member);
    sk_origin_map map = map_of(from, to);
    for (uint32_t i = 0; i < row.count; i++)
        row.entries[i].dot.origin = sk_origin_map_get(&map, row.entries[i].dot.origin);
    sk_row_sort(&row);
    sk_origin_map_free(&map);
    return row;
}

/* Both have the same entries, dead ones too, whatever numbers their origins have there. */
static inline void assert_same_row(database *one, database *other, sk_table table, const char *key, const char *member)
{
    sk_row row = row_translated(one, other, table, key, member);
    char *text = strdup(row_text(&row));
    assert_string_equal(text_of_row(one, table, key, member), text);
    free(text);
}

static inline void apply_last(database *from, database *to)
{
    sk_origin_map map = map_of(from, to);
    sk_buf ops = {0};
    sk_vv seen = {0};
    sk_reader reader = sk_reader_of(from->txn.ops);
    for (uint32_t i = 0; i < from->txn.op_count; i++) {
        sk_op op;
        assert_int_equal(sk_op_read(&reader, &map, from->txn.dot, from->txn.hlc, &to->arena, &op), 0);
        sk_op_pack(&ops, &op);
    }
    for (uint32_t o = 0; o < from->txn.seen.count; o++)
        sk_vv_set(&seen, sk_origin_map_get(&map, o), from->txn.seen.seq[o]);
    sk_txn translated = from->txn;
    translated.dot.origin = sk_origin_map_get(&map, from->txn.dot.origin);
    translated.seen = seen;
    translated.ops = sk_buf_view(&ops);
    assert_int_equal(sk_db_apply(&to->db, &translated), 0);
    sk_buf_free(&ops);
    sk_vv_free(&seen);
    sk_origin_map_free(&map);
}

/* A vector of `from` in the numbers of `to`. Free it. */
static inline sk_vv vv_across(database *from, database *to, const sk_vv *vv)
{
    sk_origin_map map = map_of(from, to);
    sk_vv out = {0};
    for (uint32_t o = 0; o < vv->count; o++) sk_vv_set(&out, sk_origin_map_get(&map, o), vv->seq[o]);
    sk_origin_map_free(&map);
    return out;
}

/* -- transfers ----------------------------------------------------------------------------------------------------- */

typedef struct {
    database *from, *to;
    sk_source *source;
    sk_transfer_head head; /* in the numbers of `from` */
    int begun;             /* what sk_source_open, or else sk_fold_begin, said */
    uint32_t questions, wanted;
} transfer;

static inline transfer transfer_start_as(database *from, database *to, sk_purpose purpose)
{
    transfer made = {.from = from, .to = to, .head.purpose = purpose};
    made.head.from = from->db.region;
    made.head.difference = from->db.digest - to->db.digest;
    sk_vv known = vv_across(to, from, &to->db.vv);
    sk_transfer_progress ours = {0}, theirs = {0};
    bool some = sk_fold_progress(&to->db, &ours) == 1;
    theirs.reconcile = ours.reconcile;
    theirs.cursor = ours.cursor;
    if (some) theirs.vv = vv_across(to, from, &ours.vv);
    history_looked_through(&from->db);
    made.begun = sk_source_open(&from->db, &known, some ? &theirs : NULL, &made.source, &made.head);
    if (made.begun == 0) {
        sk_transfer_head here = made.head;
        here.vv = vv_across(from, to, &made.head.vv);
        here.floor = vv_across(from, to, &made.head.floor);
        made.begun = sk_fold_begin(&to->db, &here);
        sk_vv_free(&here.vv);
        sk_vv_free(&here.floor);
    }
    sk_vv_free(&known);
    sk_vv_free(&ours.vv);
    sk_vv_free(&theirs.vv);
    sk_buf_free(&ours.cursor);
    return made;
}

static inline transfer transfer_start(database *from, database *to)
{
    return transfer_start_as(from, to, SK_FOR_NEWS);
}

/* One chunk of about `max` bytes. 1: more follows. */
static inline int transfer_chunk(transfer *with, size_t max)
{
    sk_buf rows = {0};
    sk_origin_map map = map_of(with->from, with->to);
    int more = sk_source_chunk(&with->from->db, with->source, max, &rows);
    assert_true(more >= 0);
    assert_int_equal(sk_fold_chunk(&with->to->db, sk_buf_view(&rows), &map), 0);
    sk_origin_map_free(&map);
    sk_buf_free(&rows);
    return more;
}

static inline void transfer_stop(transfer *with)
{
    if (with->source) sk_source_close(&with->from->db, with->source);
    with->source = NULL;
    sk_vv_free(&with->head.vv);
    sk_vv_free(&with->head.floor);
}

/* What a reconcile asks and is answered. */
static inline void transfer_compare(transfer *with)
{
    sk_origin_map map = map_of(with->from, with->to);
    dialogue talk = {.from = &with->from->db, .to = &with->to->db, .source = with->source, .map = &map};
    talk.purpose = with->head.purpose;
    dialogue_run(&talk);
    with->questions += talk.questions;
    with->wanted += talk.wanted;
    sk_origin_map_free(&map);
}

/* The rest of it, up to the step that makes it visible. */
static inline void transfer_finish(transfer *with)
{
    while (transfer_chunk(with, 30)) {}
    if (with->head.reconcile) transfer_compare(with);
    assert_int_equal(sk_fold_end(&with->to->db), 0);
    transfer_stop(with);
}

static inline void transfer_all(database *from, database *to)
{
    transfer whole = transfer_start(from, to);
    assert_int_equal(whole.begun, 0);
    transfer_finish(&whole);
}

/* Entries of the history; of a page that the floor cuts those above it. */
static inline uint32_t history_in(database *with)
{
    uint32_t count = 0;
    sk_history_entry entry;
    sk_db_history_flush(&with->db);
    history_cursor cursor = history_cursor_begin(with->store, &with->db.floor);
    while (history_cursor_entry(&cursor, &entry)) count++;
    return count;
}

/* Each entry in a record of its own, as they come with a transfer. */
static inline void history_into_singles(database *with)
{
    sk_history_entry entry;
    sk_db_history_flush(&with->db);
    history_cursor cursor = history_cursor_begin(with->store, &with->db.floor);
    while (history_cursor_record(&cursor)) {
        if (!cursor.record.page) continue;
        while (sk_history_next(&cursor.record, &entry)) sk_db_history_single(&with->db, entry.dot, entry.raw, entry.flags);
        sk_store_remove(with->store, SK_CF_HISTORY, cursor.key);
    }
}

static inline uint32_t pairs_in(database *with, sk_cf cf)
{
    uint32_t count = 0;
    sk_bytes key, value;
    sk_store_iter *iter = sk_store_iterate(with->store, NULL, cf, SK_BYTES_NONE, SK_BYTES_NONE);
    while (sk_store_next(with->store, iter, &key, &value) > 0) count++;
    sk_store_iter_free(with->store, iter);
    return count;
}

#endif
