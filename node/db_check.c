/* The database against itself: everything derived worked out again from the rows. Declared in node/db.h. */
#include "node/db.h"

#include "node/fold.h"

typedef struct {
    sk_db *db;
    sk_arena arena;
    sk_digest digest;
    uint64_t keys, conflicts, fields, members;
    uint64_t sized_fields, sized_members; /* what the keys' own rows say */
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
    return key->table != SK_TABLE_SET && key->table != SK_TABLE_POLICY && sk_register_conflicted(row);
}

static int tally_row(void *self, sk_bytes raw, const sk_row *row)
{
    tally *sum = self;
    sk_rowkey key;
    sk_assert(sk_rowkey_parse(raw, &sum->arena, &key) == 0);
    sk_row_check(row);
    sk_assert(!sk_row_empty(row));
    sum->digest += sk_row_digest(&sum->db->origins, raw, row);
    for (uint32_t i = 0; i < row->count; i++) sk_assert(sk_vv_covers(&sum->db->vv, row->entries[i].dot));
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
    uint64_t read_batch = db->read_batch;
    tally sum = {.db = db};
    sk_assert(sk_db_each(db, SK_BYTES_NONE, SK_BYTES_NONE, tally_row, &sum) == 0);
    sk_arena_free(&sum.arena);
    sk_assert(sum.digest == db->digest);
    sk_assert(sum.keys == db->keys);
    sk_assert(sum.conflicts == db->conflicts);
    sk_assert(sum.fields == sum.sized_fields);
    sk_assert(sum.members == sum.sized_members);
    db->read_batch = read_batch;
}
