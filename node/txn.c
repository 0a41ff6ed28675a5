/* Transactions: local ones as they are built, remote ones as they arrive. Declared in node/db.h. */
#include "node/db.h"
#include "node/fold.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct sk_touched {
    sk_row_name name; /* in the transaction's arena */
    sk_row before;    /* as it stood before the transaction; in its arena */
    sk_row now;       /* as it stands; in its arena */
    sk_op op;         /* all that the transaction did to it, as one operation; in its arena */
    bool left_dead;
};

enum { INDEX_FROM = 16 }; /* below this many touched rows a look at each is cheaper than an index */

/* -- the rows that the open transaction has touched -------------------------------------------------------------------- */

static uint32_t slot_of(const sk_open_txn *txn, sk_bytes raw)
{
    uint32_t mask = txn->index_size - 1, slot = (uint32_t)XXH3_64bits(raw.data, raw.len) & mask;
    while (txn->index[slot] && !sk_bytes_equal(txn->touched[txn->index[slot] - 1].name.raw, raw)) slot = (slot + 1) & mask;
    return slot;
}

static void index_touched(sk_open_txn *txn)
{
    if (txn->count < INDEX_FROM) return;
    if (txn->index_size == 0 || txn->count * 2 > txn->index_size) {
        free(txn->index);
        txn->index_size = txn->index_size ? txn->index_size * 2 : 4 * INDEX_FROM;
        txn->index = sk_alloc(txn->index_size * sizeof *txn->index);
        for (uint32_t i = 0; i < txn->count; i++) txn->index[slot_of(txn, txn->touched[i].name.raw)] = i + 1;
        return;
    }
    txn->index[slot_of(txn, txn->touched[txn->count - 1].name.raw)] = txn->count;
}

static sk_touched *find_touched(sk_open_txn *txn, sk_bytes raw)
{
    if (txn->index_size) {
        uint32_t found = txn->index[slot_of(txn, raw)];
        return found ? &txn->touched[found - 1] : NULL;
    }
    for (uint32_t i = 0; i < txn->count; i++)
        if (sk_bytes_equal(txn->touched[i].name.raw, raw)) return &txn->touched[i];
    return NULL;
}

static int touch(sk_db *db, const sk_row_name *name, sk_touched **out)
{
    sk_open_txn *txn = &db->txn;
    *out = find_touched(txn, name->raw);
    if (*out) return 0;
    sk_row row;
    int status = sk_db_row(db, name->raw, &txn->arena, &row);
    if (status) return status;
    if (txn->count == txn->room) {
        txn->room = txn->room ? txn->room * 2 : 8;
        txn->touched = sk_realloc(txn->touched, txn->room * sizeof *txn->touched);
    }
    sk_touched *added = &txn->touched[txn->count++];
    *added = (sk_touched){.before = row, .now = row};
    added->name.raw = sk_arena_copy(&txn->arena, name->raw);
    added->name.key = (sk_rowkey){name->key.table, sk_arena_copy(&txn->arena, name->key.key),
                                  sk_arena_copy(&txn->arena, name->key.member)};
    index_touched(txn);
    *out = added;
    return 0;
}

/* -- building ------------------------------------------------------------------------------------------------------------- */

void sk_db_begin(sk_db *db)
{
    sk_open_txn *txn = &db->txn;
    sk_assert(!txn->active);
    txn->active = true;
    txn->dot = sk_db_next_dot(db);
    txn->count = 0;
    txn->bytes = 0;
    if (txn->index_size) {
        free(txn->index);
        txn->index = NULL;
        txn->index_size = 0;
    }
    sk_arena_reset(&txn->arena);
    sk_vv_copy(&txn->seen, &db->vv);
    txn->hlc = sk_hlc_tick(&db->clock, db->wall_ms);
}

static void *copy_array(sk_arena *arena, const void *first, uint32_t count, const void *more, uint32_t more_count,
                        size_t size)
{
    uint8_t *both = sk_arena_take(arena, (count + more_count) * size);
    sk_assert(both != NULL);
    if (count) memcpy(both, first, count * size);
    if (more_count) memcpy(both + count * size, more, more_count * size);
    return both;
}

/* Makes `into` the one operation that does to the row's state before the transaction what `into` and then `next` do. */
static void combine(sk_open_txn *txn, sk_touched *touched, const sk_op *next)
{
    sk_op *into = &touched->op;
    sk_arena *arena = &txn->arena;
    into->forgets_content |= next->forgets_content;
    into->forgets_deadlines |= next->forgets_deadlines;
    if (next->forgets_content || next->has_content) {
        into->has_content = next->has_content;
        into->content = next->content;
        if (next->has_content && next->content.value.len)
            into->content.value = sk_arena_copy(arena, next->content.value);
    }
    if (next->forgets_deadlines || next->has_deadline) {
        into->has_deadline = next->has_deadline;
        into->deadline = next->deadline;
    }
    if (next->reset_count) {
        into->resets =
            copy_array(arena, into->resets, into->reset_count, next->resets, next->reset_count, sizeof *into->resets);
        into->reset_count += next->reset_count;
    }
    if (next->removed_count) {
        into->removed = copy_array(arena, into->removed, into->removed_count, next->removed, next->removed_count,
                                   sizeof *into->removed);
        into->removed_count += next->removed_count;
    }
}

int sk_db_change(sk_db *db, const sk_row_name *name, const sk_op *op)
{
    sk_open_txn *txn = &db->txn;
    sk_assert(txn->active);
    sk_touched *touched;
    sk_row after;
    int status = db->failed ? db->failed : touch(db, name, &touched);
    if (!status) {
        combine(txn, touched, op);
        touched->left_dead = false;
        status = sk_op_apply(&touched->op, txn->dot, txn->hlc, &txn->seen, &touched->before, &txn->arena, &after,
                             &touched->left_dead);
    }
    if (!status) {
        /* The sizes may have moved since: they are derived, and stand in the row as it is now. */
        sk_row now;
        status = touched->name.key.table == SK_TABLE_KEY ? sk_db_row(db, touched->name.raw, &txn->arena, &now) : 0;
        if (!status && touched->name.key.table == SK_TABLE_KEY) {
            touched->now.fields = after.fields = now.fields;
            touched->now.members = after.members = now.members;
        }
    }
    if (!status) status = sk_db_row_put(db, &touched->name, &touched->now, &after);
    if (!status) touched->now = after;
    if (status) db->failed = status;
    return status;
}

static bool without_effect(const sk_touched *touched)
{
    return sk_op_only_removes(&touched->op) && touched->before.count == 0;
}

uint64_t sk_db_commit(sk_db *db)
{
    sk_open_txn *txn = &db->txn;
    sk_assert(txn->active);
    txn->active = false;
    if (db->failed) return 0;
    sk_buf ops = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < txn->count; i++) {
        sk_touched *touched = &txn->touched[i];
        if (without_effect(touched)) continue;
        touched->op.key = touched->name.raw;
        sk_op_pack(&ops, &touched->op);
        unsigned flags = sk_op_only_removes(&touched->op) ? SK_HISTORY_REMOVES : 0;
        if (touched->left_dead) flags |= SK_HISTORY_DEAD;
        sk_db_history_put(db, txn->dot, touched->name.raw, flags);
        count++;
    }
    if (count) {
        sk_vv_set(&db->vv, txn->dot.origin, txn->dot.seq);
        sk_txn packed = {txn->dot, txn->hlc, txn->seen, sk_buf_view(&ops), count};
        if (db->on_local) db->on_local(db->self, &packed);
    }
    sk_buf_free(&ops);
    return count ? txn->dot.seq : 0;
}

/* -- remote transactions ---------------------------------------------------------------------------------------------------- */

static int apply_op(sk_db *db, const sk_txn *txn, const sk_op *op)
{
    sk_row_name name = {.raw = op->key};
    sk_row row, after;
    bool left_dead = false;
    int status = sk_rowkey_parse(op->key, &db->scratch, &name.key);
    if (!status) status = sk_db_row(db, op->key, &db->scratch, &row);
    if (!status) status = sk_op_apply(op, txn->dot, txn->hlc, &txn->seen, &row, &db->scratch, &after, &left_dead);
    if (!status) status = sk_db_row_put(db, &name, &row, &after);
    if (status) return status;
    unsigned flags = sk_op_only_removes(op) ? SK_HISTORY_REMOVES : 0;
    sk_db_history_put(db, txn->dot, op->key, left_dead ? flags | SK_HISTORY_DEAD : flags);
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    return sk_bytes_compare(*(const sk_bytes *)a, *(const sk_bytes *)b);
}

/* A row would get two entries of one dot. */
static bool repeats_a_row(const sk_op *ops, uint32_t count, sk_arena *arena)
{
    sk_bytes *keys = sk_arena_take(arena, count * sizeof *keys + 1);
    sk_assert(keys != NULL);
    for (uint32_t i = 0; i < count; i++) keys[i] = ops[i].key;
    if (count > 1) qsort(keys, count, sizeof *keys, compare_keys);
    for (uint32_t i = 1; i < count; i++)
        if (sk_bytes_equal(keys[i], keys[i - 1])) return true;
    return false;
}

/* Reads every operation before the first is applied: damaged bytes change nothing. */
static int read_ops(sk_db *db, const sk_txn *txn, sk_op *ops)
{
    sk_reader reader = sk_reader_of(txn->ops);
    for (uint32_t i = 0; i < txn->op_count; i++) {
        sk_rowkey key;
        int status = sk_op_read(&reader, NULL, txn->dot, txn->hlc, &db->scratch, &ops[i]);
        if (!status) status = sk_rowkey_parse(ops[i].key, &db->scratch, &key);
        if (status) return status;
    }
    if (!sk_reader_done(&reader)) return SK_E_MALFORMED;
    return repeats_a_row(ops, txn->op_count, &db->scratch) ? SK_E_MALFORMED : 0;
}

int sk_db_apply(sk_db *db, const sk_txn *txn)
{
    sk_assert(!db->txn.active);
    sk_assert(txn->dot.seq == sk_vv_get(&db->vv, txn->dot.origin) + 1);
    if (db->failed) return db->failed;
    if (txn->op_count > txn->ops.len) return SK_E_MALFORMED;
    sk_arena ops_arena = {0};
    sk_arena_reset(&db->scratch);
    sk_op *ops = sk_arena_take(&ops_arena, txn->op_count * sizeof *ops + 1);
    int status = ops ? read_ops(db, txn, ops) : SK_E_MEMORY;
    if (!status)
        for (uint32_t i = 0; i < txn->op_count && !db->failed; i++) {
            sk_rowkey key;
            (void)sk_rowkey_parse(ops[i].key, &ops_arena, &key);
            db->failed = sk_db_touch_row(db, &key);
            if (!db->failed) db->failed = apply_op(db, txn, &ops[i]);
        }
    if (!status) status = db->failed;
    sk_arena_free(&ops_arena);
    if (status) return status;
    sk_vv_set(&db->vv, txn->dot.origin, txn->dot.seq);
    sk_hlc_observe(&db->clock, txn->hlc, db->wall_ms);
    db->dirty = true;
    return 0;
}
