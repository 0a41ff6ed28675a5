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
    size_t size;      /* of `op` packed, at most */
    bool left_dead;
};

/* Of a transaction's memory, what is left for one row more: it may hold values as large as any, before and after. */
enum { ROW_MEMORY = 4 };

enum { /* what grew beyond this is given back at the end of a transaction */
    OPS_KEEP = 64 * 1024,
    TOUCHED_KEEP = 256, /* rows */
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

static int touch(sk_db *db, const sk_row_name *name, const sk_row *known, sk_touched **out)
{
    sk_open_txn *txn = &db->txn;
    *out = find_touched(txn, name->raw);
    if (*out) return 0;
    sk_row row;
    int status = known ? sk_row_copy(known, &txn->arena, &row) : sk_db_row(db, name->raw, &txn->arena, &row);
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
    txn->bytes = 0;
    txn->refused = 0;
    txn->resized = false;
    sk_vv_free(&txn->told);
    sk_vv_copy(&txn->seen, &db->vv);
    txn->hlc = sk_hlc_tick(&db->clock, db->wall_ms - db->ahead_ms);
}

/* What has been borrowed from the transaction's arena is void. */
static void give_memory_back(sk_open_txn *txn)
{
    if (txn->index_size) {
        free(txn->index);
        txn->index = NULL;
        txn->index_size = 0;
    }
    if (txn->room > TOUCHED_KEEP) {
        free(txn->touched);
        txn->touched = NULL;
        txn->room = 0;
    }
    if (txn->ops.cap > OPS_KEEP) sk_buf_free(&txn->ops);
    txn->count = 0;
    sk_arena_reset(&txn->arena);
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

/* Makes `into` the one operation that does to the row's state before the transaction what `into` and then `next` do. It has
 * one content entry: `next` has been made of the row as `into` leaves it, so its content is instead of that of `into` and
 * holds what was to be kept of it (add_or_rewrite in node/keyspace.c, RESOLVE in node/cmd_siblings.c). */
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

bool sk_db_has_room(const sk_db *db, size_t bytes)
{
    const sk_open_txn *txn = &db->txn;
    size_t most = db->transaction_max;
    if (most == 0) return true;
    size_t memory = txn->arena.used + txn->count * sizeof *txn->touched;
    size_t more = bytes ? ROW_MEMORY * most : 0;
    return bytes <= most && txn->bytes <= most - bytes && memory + more <= SK_TRANSACTION_MEMORY(most);
}

/* Adds an operation to what the transaction did to a row. SK_E_LIMIT: it must be aborted. */
static int take_op(sk_db *db, sk_touched *touched, const sk_op *op)
{
    sk_open_txn *txn = &db->txn;
    touched->op.key = touched->name.raw;
    txn->bytes -= touched->size;
    combine(txn, touched, op);
    touched->size = sk_op_size(&touched->op);
    txn->bytes += touched->size;
    bool listable = touched->op.reset_count <= SK_ROW_ENTRIES_MAX && touched->op.removed_count <= SK_ROW_ENTRIES_MAX;
    return listable && sk_db_has_room(db, 0) ? 0 : SK_E_LIMIT;
}

int sk_db_change(sk_db *db, const sk_row_name *name, const sk_row *known, const sk_op *op)
{
    sk_open_txn *txn = &db->txn;
    sk_assert(txn->active);
    sk_touched *touched;
    sk_row after;
    if (txn->refused) return txn->refused;
    int status = db->failed ? db->failed : touch(db, name, known, &touched);
    if (status == SK_E_CORRUPT && !db->failed) {
        txn->refused = status; /* of this row nothing can be made; others are not concerned */
        return status;
    }
    if (!status) status = take_op(db, touched, op);
    if (status == SK_E_LIMIT) {
        txn->refused = status;
        return status;
    }
    if (!status) {
        touched->left_dead = false;
        status = sk_op_apply(&touched->op, txn->dot, txn->hlc, &txn->seen, &touched->before, &txn->arena, &after,
                             &touched->left_dead);
    }
    if (!status && txn->resized && touched->name.key.table == SK_TABLE_KEY) {
        /* The sizes may have moved since: they are derived, and stand in the row as it is now. */
        sk_row now;
        status = sk_db_row(db, touched->name.raw, &txn->arena, &now);
        if (!status) {
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

bool sk_db_amid_changes(const sk_db *db)
{
    const sk_open_txn *txn = &db->txn;
    bool changed = txn->active && txn->told.count;
    for (uint32_t i = 0; txn->active && i < txn->count && !changed; i++) changed = !without_effect(&txn->touched[i]);
    return changed;
}

const sk_vv *sk_db_vector(sk_db *db)
{
    sk_open_txn *txn = &db->txn;
    if (!sk_db_amid_changes(db)) return &db->vv;
    sk_vv_copy(&txn->told, &db->vv);
    sk_vv_set(&txn->told, txn->dot.origin, txn->dot.seq);
    return &txn->told;
}

uint64_t sk_db_commit(sk_db *db)
{
    sk_open_txn *txn = &db->txn;
    sk_assert(txn->active);
    sk_assert(!txn->refused);
    txn->active = false;
    if (db->failed) {
        give_memory_back(txn);
        return 0;
    }
    sk_buf *ops = &txn->ops;
    uint32_t count = 0;
    sk_buf_reset(ops);
    for (uint32_t i = 0; i < txn->count; i++) {
        sk_touched *touched = &txn->touched[i];
        if (without_effect(touched) && txn->told.count == 0) continue;
        sk_op_pack(ops, &touched->op);
        unsigned flags = sk_op_only_removes(&touched->op) ? SK_HISTORY_REMOVES : 0;
        if (touched->left_dead) flags |= SK_HISTORY_DEAD;
        sk_db_history_put(db, txn->dot, touched->name.raw, flags);
        count++;
    }
    if (count) {
        sk_vv_set(&db->vv, txn->dot.origin, txn->dot.seq);
        sk_txn packed = {txn->dot, txn->hlc, txn->seen, sk_buf_view(ops), count};
        if (db->on_local) db->on_local(db->self, &packed);
    }
    give_memory_back(txn);
    return count ? txn->dot.seq : 0;
}

/* Each touched row is put back. A key's own row keeps the sizes that it has at that moment: they are derived, and follow
 * as the rows of its members are put back. */
void sk_db_abort(sk_db *db)
{
    sk_open_txn *txn = &db->txn;
    sk_assert(txn->active);
    txn->active = false;
    for (uint32_t i = txn->count; i-- > 0 && !db->failed;) {
        sk_touched *touched = &txn->touched[i];
        sk_row now = touched->now;
        if (touched->name.key.table == SK_TABLE_KEY) {
            db->failed = sk_db_row(db, touched->name.raw, &txn->arena, &now);
            touched->before.fields = now.fields;
            touched->before.members = now.members;
        }
        if (!db->failed) db->failed = sk_db_row_put(db, &touched->name, &now, &touched->before);
    }
    give_memory_back(txn);
}

/* -- remote transactions ---------------------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return sk_bytes_compare(*(const sk_bytes *)a, *(const sk_bytes *)b);
}

static int read_next(sk_reader *reader, const sk_txn *txn, sk_arena *arena, sk_op *op, sk_row_name *name)
{
    sk_arena_reset(arena);
    int status = sk_op_read(reader, NULL, txn->dot, txn->hlc, arena, op);
    name->raw = op->key;
    return status ? status : sk_rowkey_parse(op->key, arena, &name->key);
}

/* Looks through every operation before the first is applied: damaged bytes change nothing. They are read again then, one
 * at a time: an operation as it is in memory takes a hundred times the bytes of a short one. */
static int check_ops(const sk_txn *txn, sk_arena *arena)
{
    sk_reader reader = sk_reader_of(txn->ops);
    sk_bytes *keys = malloc(txn->op_count * sizeof *keys + 1);
    int status = keys ? 0 : SK_E_MEMORY;
    for (uint32_t i = 0; i < txn->op_count && !status; i++) {
        sk_row_name name;
        sk_op op;
        status = read_next(&reader, txn, arena, &op, &name);
        keys[i] = op.key;
    }
    if (!status && !sk_reader_done(&reader)) status = SK_E_MALFORMED;
    if (!status && txn->op_count > 1) qsort(keys, txn->op_count, sizeof *keys, compare_keys);
    for (uint32_t i = 1; i < txn->op_count && !status; i++) /* a row would get two entries of one dot */
        if (sk_bytes_equal(keys[i], keys[i - 1])) status = SK_E_MALFORMED;
    free(keys);
    return status;
}

/* The operation's row as it stands, or will once a transfer is folded in, then with the operation. */
static int apply_op(sk_db *db, const sk_txn *txn, const sk_op *op, const sk_row_name *name)
{
    sk_row row, after;
    bool left_dead = false, sense;
    sk_arena_reset(&db->scratch);
    int status = sk_db_touch_row(db, &name->key);
    if (!status) status = sk_db_row_sensible(db, name->raw, &db->scratch, &row, &sense);
    if (!status && !sense) status = sk_sums_take_out(db, name->raw);
    if (!status) status = sk_op_apply(op, txn->dot, txn->hlc, &txn->seen, &row, &db->scratch, &after, &left_dead);
    if (!status) status = sk_db_row_put(db, name, &row, &after);
    if (status) return status;
    unsigned flags = sk_op_only_removes(op) ? SK_HISTORY_REMOVES : 0;
    sk_db_history_put(db, txn->dot, name->raw, left_dead ? flags | SK_HISTORY_DEAD : flags);
    return 0;
}

/* One by one; the only one of a transaction, which is nearly every one, is looked through as it is read. */
static int apply_ops(sk_db *db, const sk_txn *txn)
{
    sk_arena *arena = &db->txn.arena; /* no local transaction is open */
    int status = txn->op_count == 1 ? 0 : check_ops(txn, arena);
    sk_reader reader = sk_reader_of(txn->ops);
    for (uint32_t i = 0; i < txn->op_count && !status; i++) {
        sk_row_name name;
        sk_op op;
        status = read_next(&reader, txn, arena, &op, &name);
        if (!status && i + 1 == txn->op_count && !sk_reader_done(&reader)) status = SK_E_MALFORMED;
        bool untouched = status && i == 0;
        if (!status) status = apply_op(db, txn, &op, &name);
        if (!untouched) db->failed = status;
    }
    sk_arena_reset(arena);
    return status;
}

int sk_db_apply(sk_db *db, const sk_txn *txn)
{
    sk_assert(!db->txn.active);
    sk_assert(txn->dot.seq == sk_vv_get(&db->vv, txn->dot.origin) + 1);
    if (db->failed) return db->failed;
    if (txn->op_count > txn->ops.len / SK_OP_BYTES_LEAST) return SK_E_MALFORMED;
    int status = apply_ops(db, txn);
    if (status) return status;
    sk_vv_set(&db->vv, txn->dot.origin, txn->dot.seq);
    sk_hlc_observe(&db->clock, txn->hlc, db->wall_ms - db->ahead_ms);
    db->dirty = true;
    return 0;
}
