/* The database against itself: everything derived worked out again from the rows. Declared in node/db.h. */
#include "node/db.h"

#include "node/fold.h"

typedef struct {
    sk_db *db;
    sk_arena arena;
    sk_digest digest;
    uint64_t keys, conflicts, fields, members;
    uint64_t sized_fields, sized_members; /* what the keys' own rows say */
    /* the sums' leaves, walked through beside the rows */
    uint32_t leaf;
    uint64_t leaf_rows;
    sk_digest leaf_sum;
} tally;

static bool indexed(sk_db *db, uint8_t index, sk_bytes rest)
{
    sk_buf key = {0};
    sk_bytes value;
    sk_buf_byte(&key, index);
    sk_buf_bytes(&key, rest);
    int found = sk_store_get(db->store, SK_CF_DERIVED, sk_buf_view(&key), &value, NULL);
    sk_buf_free(&key);
    return found > 0;
}

static bool in_conflict(const sk_rowkey *key, const sk_row *row)
{
    bool content = sk_row_live(row, SK_CLASS_CONTENT);
    if (key->table == SK_TABLE_KEY && content + (row->fields != 0) + (row->members != 0) > 1) return true;
    return (key->table == SK_TABLE_KEY || key->table == SK_TABLE_HASH) && sk_register_conflicted(row);
}

/* The leaf that was walked through: all its rows have been seen. */
static void check_leaf(tally *sum)
{
    const sk_leaf *leaf = sum->db->sums.leaves[sum->leaf];
    sk_assert(leaf->rows == sum->leaf_rows);
    sk_assert(leaf->sum == sum->leaf_sum);
    sk_assert(leaf->changed <= sum->db->sealed + 1);
    sum->leaf_rows = 0;
    sum->leaf_sum = 0;
    sum->leaf++;
}

static void tally_leaf(tally *sum, sk_bytes raw, const sk_row *row, sk_digest digest)
{
    const sk_sums *sums = &sum->db->sums;
    if (sums->state == SK_SUMS_SCANNING && sk_bytes_compare(raw, sk_buf_view(&sums->cursor)) > 0) return;
    while (sum->leaf + 1 < sums->count && sk_bytes_compare(sums->leaves[sum->leaf + 1]->low, raw) <= 0) check_leaf(sum);
    sum->leaf_rows += digest != 0;
    sum->leaf_sum += digest;
    if (digest == 0) return;
    const sk_leaf *leaf = sums->leaves[sum->leaf];
    sk_assert(sk_sums_find(sums, raw) == sum->leaf);
    for (uint32_t i = 0; i < row->count; i++)
        sk_assert(!sk_entry_live(&row->entries[i]) || sk_vv_covers(&leaf->vv, row->entries[i].dot));
}

static void check_sums(tally *sum)
{
    const sk_sums *sums = &sum->db->sums;
    while (sum->leaf < sums->count) check_leaf(sum);
    size_t bytes = 0;
    uint64_t rows = 0;
    sk_digest total = 0;
    for (uint32_t i = 0; i < sums->count; i++) {
        const sk_leaf *leaf = sums->leaves[i];
        sk_assert(i ? sk_bytes_compare(sums->leaves[i - 1]->low, leaf->low) < 0 : leaf->low.len == 0);
        rows += leaf->rows;
        total += leaf->sum;
        bytes += sizeof *leaf + sizeof leaf + sizeof *sums->heads + leaf->low.len + leaf->vv.count * sizeof *leaf->vv.seq;
    }
    sk_assert(rows == sums->rows);
    sk_assert(total == sums->sum);
    sk_assert(bytes == sums->bytes);
    sk_assert(sums->state != SK_SUMS_VERIFIED || total == sum->db->digest);
}

static int tally_row(void *self, sk_bytes raw, const sk_row *row)
{
    tally *sum = self;
    sk_rowkey key;
    sk_digest digest = sk_row_digest(&sum->db->origins, raw, row);
    sk_assert(sk_rowkey_parse(raw, &sum->arena, &key) == 0);
    sk_row_check(row);
    sk_assert(!sk_row_empty(row));
    sum->digest += digest;
    tally_leaf(sum, raw, row, digest);
    sk_assert(sk_row_possible(row, &sum->db->vv));
    bool conflict = in_conflict(&key, row);
    sum->conflicts += conflict;
    sk_assert(conflict == indexed(sum->db, SK_INDEX_CONFLICT, raw));
    bool live = sk_row_live(row, SK_CLASS_CONTENT);
    if (key.table == SK_TABLE_KEY) {
        sum->keys += sk_key_row_exists(row);
        sum->sized_fields += row->fields;
        sum->sized_members += row->members;
    }
    sum->fields += key.table == SK_TABLE_HASH && live;
    sum->members += key.table == SK_TABLE_SET && live;
    return 0;
}

void sk_db_check(sk_db *db)
{
    sk_assert(!db->txn.active);
    sk_assert(sk_vv_at_most(&db->floor, &db->vv));
    if (db->failed || sk_fold_active(db)) return;
    sk_sums_settle(&db->sums);
    uint64_t read_batch = db->read_batch;
    tally sum = {.db = db};
    sk_assert(sk_db_each(db, SK_BYTES_NONE, SK_BYTES_NONE, tally_row, &sum) == 0);
    sk_arena_free(&sum.arena);
    sk_assert(sum.digest == db->digest);
    check_sums(&sum);
    sk_assert(sum.keys == db->keys);
    sk_assert(sum.conflicts == db->conflicts);
    sk_assert(sum.fields == sum.sized_fields);
    sk_assert(sum.members == sum.sized_members);
    db->read_batch = read_batch;
}

static bool speaks(sk_history_record *record, sk_bytes raw)
{
    sk_history_entry entry;
    while (sk_history_next(record, &entry))
        if (entry.flags & SK_HISTORY_DEAD && sk_bytes_equal(entry.raw, raw)) return true;
    return false;
}

bool sk_db_history_speaks(sk_db *db, sk_bytes raw)
{
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    sk_bytes key, value;
    sk_history_record record = sk_history_page_read(&db->page);
    bool found = speaks(&record, raw);
    while (!found && sk_store_next(db->store, iter, &key, &value) > 0) {
        (void)sk_history_open(key, value, &db->floor, &record);
        found = speaks(&record, raw);
    }
    sk_store_iter_free(db->store, iter);
    return found;
}
