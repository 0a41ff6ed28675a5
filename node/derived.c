#include "node/derived.h"

static sk_bytes deadline_key(sk_buf *buf, uint64_t deadline_ms, sk_bytes key)
{
    sk_buf_reset(buf);
    sk_buf_byte(buf, SK_INDEX_DEADLINE);
    for (int i = 0; i < 8; i++) sk_buf_byte(buf, (uint8_t)(deadline_ms >> (56 - 8 * i)));
    sk_buf_bytes(buf, key);
    return sk_buf_view(buf);
}

static sk_bytes conflict_key(sk_buf *buf, sk_bytes raw)
{
    sk_buf_reset(buf);
    sk_buf_byte(buf, SK_INDEX_CONFLICT);
    sk_buf_bytes(buf, raw);
    return sk_buf_view(buf);
}

/* When the expiry cycle must look at a key: at its deadline; at once if deadlines are all that is left of it. */
static uint64_t due(const sk_row *row)
{
    if (row->count == 0 || sk_row_live(row, SK_CLASS_DEADLINE) == 0) return SK_DEADLINE_NEVER;
    return sk_key_row_exists(row) ? sk_row_deadline(row) : 0;
}

bool sk_derived_conflicted(sk_table table, const sk_row *row)
{
    if (table == SK_TABLE_KEY && (row->fields || row->members)) {
        unsigned types = (row->fields != 0) + (row->members != 0) + (sk_row_live(row, SK_CLASS_CONTENT) != 0);
        return types > 1;
    }
    return (table == SK_TABLE_KEY || table == SK_TABLE_HASH) && sk_register_conflicted(row);
}

static void index_deadline(sk_db *db, sk_bytes key, const sk_row *old, const sk_row *new)
{
    uint64_t before = due(old), after = due(new);
    if (before == after) return;
    if (before != SK_DEADLINE_NEVER)
        sk_store_remove(db->store, SK_CF_DERIVED, deadline_key(&db->pack, before, key));
    if (after != SK_DEADLINE_NEVER)
        sk_store_put(db->store, SK_CF_DERIVED, deadline_key(&db->pack, after, key), SK_BYTES_NONE);
}

void sk_derived_change(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *new, uint64_t conflicts)
{
    if (name->key.table == SK_TABLE_KEY) index_deadline(db, name->key.key, old, new);
    if (conflicts == 1)
        sk_store_put(db->store, SK_CF_DERIVED, conflict_key(&db->pack, name->raw), SK_BYTES_NONE);
    else if (conflicts)
        sk_store_remove(db->store, SK_CF_DERIVED, conflict_key(&db->pack, name->raw));
}

/* -- mending ------------------------------------------------------------------------------------------------------- */

/* 1 if it was not there. */
static int ensure(sk_db *db, sk_bytes entry)
{
    sk_bytes value;
    int found = sk_store_get(db->store, SK_CF_DERIVED, entry, &value, NULL);
    if (found) return found < 0 ? found : 0;
    sk_store_put(db->store, SK_CF_DERIVED, entry, SK_BYTES_NONE);
    db->dirty = true;
    return 1;
}

int sk_derived_mend_row(sk_db *db, sk_bytes raw, const sk_row *row)
{
    sk_rowkey key;
    sk_arena arena = {0};
    sk_buf entry = {0};
    int mended = 0, status = sk_rowkey_parse(raw, &arena, &key);
    if (!status && key.table == SK_TABLE_KEY && due(row) != SK_DEADLINE_NEVER)
        status = mended = ensure(db, deadline_key(&entry, due(row), key.key));
    if (status >= 0 && sk_derived_conflicted(key.table, row)) {
        status = ensure(db, conflict_key(&entry, raw));
        mended += status;
    }
    sk_buf_free(&entry);
    sk_arena_free(&arena);
    return status < 0 ? status : mended;
}

/* The row that an entry is about: 1; 0 if it is about none. */
static int row_of_entry(sk_bytes entry, sk_arena *arena, sk_row_name *name, uint64_t *deadline)
{
    *deadline = 0;
    if (entry.len >= SK_INDEX_DEADLINE_BYTES && entry.data[0] == SK_INDEX_DEADLINE) {
        for (int i = 1; i < SK_INDEX_DEADLINE_BYTES; i++) *deadline = *deadline << 8 | entry.data[i];
        sk_bytes key = {entry.data + SK_INDEX_DEADLINE_BYTES, entry.len - SK_INDEX_DEADLINE_BYTES};
        *name = sk_row_name_of(arena, SK_TABLE_KEY, key, SK_BYTES_NONE);
        return name->raw.data != NULL;
    }
    if (entry.len < 2 || entry.data[0] != SK_INDEX_CONFLICT) return 0;
    name->raw = sk_bytes_of(entry.data + 1, entry.len - 1);
    return sk_rowkey_parse(name->raw, arena, &name->key) == 0;
}

int sk_derived_mend_entry(sk_db *db, sk_bytes entry, sk_bytes value)
{
    sk_arena arena = {0};
    sk_row_name name = {0};
    sk_row row = {0};
    uint64_t deadline, read_batch = db->read_batch;
    int status = 0;
    entry = sk_arena_copy(&arena, entry); /* reading the row ends what it was borrowed from */
    bool right = value.len == 0 && row_of_entry(entry, &arena, &name, &deadline);
    if (right) status = sk_db_row(db, name.raw, &arena, &row);
    db->read_batch = read_batch;
    if (right && !status && entry.data[0] == SK_INDEX_DEADLINE)
        right = due(&row) == deadline && deadline != SK_DEADLINE_NEVER;
    else if (right && !status)
        right = sk_derived_conflicted(name.key.table, &row);
    if (!right) {
        sk_store_remove(db->store, SK_CF_DERIVED, entry);
        db->dirty = true;
    }
    sk_arena_free(&arena);
    if (status == SK_E_CORRUPT) return 0; /* the row's own matter */
    return status ? status : !right;
}
