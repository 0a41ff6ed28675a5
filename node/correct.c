#include "node/correct.h"

#include "node/db.h"

enum {
    CHANGES = 255, /* of a byte */
    BITS = 8,
    EACH = 64, /* what trying takes however short a row is */
};

static bool affords(size_t len, unsigned changes, uint64_t *effort)
{
    unsigned __int128 cost = (unsigned __int128)len * changes * (len + EACH);
    if (cost > *effort) return false;
    *effort -= (uint64_t)cost;
    return true;
}

static bool is_right(const sk_db *db, sk_bytes raw, const sk_row *row, const sk_row_sums *right)
{
    if (sk_row_digest(&db->origins, raw, row) != right->digest) return false;
    return !sk_row_has_dead(row) || sk_row_rest(raw, row) == right->rest;
}

int sk_correct_row(const sk_db *db, sk_bytes raw, sk_bytes stored, sk_row_sums right, uint64_t *effort, sk_arena *arena, sk_row *row)
{
    bool bytes = affords(stored.len, CHANGES, effort);
    if (!bytes && !affords(stored.len, BITS, effort)) return 0;
    sk_buf tried = {0};
    sk_arena room = {0};
    bool found = false;
    sk_buf_bytes(&tried, stored);
    for (size_t at = 0; at < stored.len && !found; at++) {
        for (unsigned by = 1; by <= CHANGES && !found; by = bytes ? by + 1 : by * 2) {
            tried.data[at] = (uint8_t)(stored.data[at] ^ by);
            sk_arena_reset(&room);
            found = sk_db_row_read(db, sk_buf_view(&tried), &room, row) == 0 && is_right(db, raw, row, &right);
        }
        if (!found) tried.data[at] = stored.data[at];
    }
    int status = found;
    if (found) {
        sk_bytes copy = sk_arena_copy(arena, sk_buf_view(&tried));
        int failed = copy.data ? sk_db_row_read(db, copy, arena, row) : SK_E_MEMORY;
        if (failed) status = failed;
    }
    sk_buf_free(&tried);
    sk_arena_free(&room);
    return status;
}

sk_bytes sk_correct_key(const sk_db *db, const sk_row_keys *keys, sk_bytes raw, const sk_row *row, sk_digest right, uint64_t *effort)
{
    sk_bytes found = SK_BYTES_NONE;
    if (!affords(raw.len, CHANGES, effort)) return found;
    sk_buf tried = {0};
    sk_buf_bytes(&tried, raw);
    for (size_t at = 0; at < raw.len && !found.data; at++) {
        for (unsigned by = 1; by <= CHANGES && !found.data; by++) {
            tried.data[at] = (uint8_t)(raw.data[at] ^ by);
            sk_bytes key = sk_row_keys_find(keys, sk_buf_view(&tried));
            if (key.data && sk_row_digest(&db->origins, key, row) == right) found = key;
        }
        tried.data[at] = raw.data[at];
    }
    sk_buf_free(&tried);
    return found;
}
