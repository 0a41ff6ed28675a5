/* Damage on a disk that nobody reports, and an audit that finds it. */
#ifndef SK_TESTS_UNIT_DAMAGE_HARNESS_H
#define SK_TESTS_UNIT_DAMAGE_HARNESS_H

#include "tests/unit/db_harness.h"

/* Something of everything: a string, siblings are left out; a hash, a set, a counter, a dead count, deadlines. */
static inline void fill(database *with)
{
    txn(with, put(with, SK_TABLE_KEY, "string", NULL, "some value"));
    txn(with, put(with, SK_TABLE_HASH, "hash", "field", "1"));
    txn(with, put(with, SK_TABLE_HASH, "hash", "other", "2"));
    txn(with, put(with, SK_TABLE_SET, "set", "member", ""));
    txn(with, add(with, SK_TABLE_KEY, "count", NULL, 5));
    txn(with, expire(with, "string", 5000));
    txn(with, put(with, SK_TABLE_KEY, "gone", NULL, "x"));
    txn(with, take_away(with, SK_TABLE_KEY, "gone", NULL));
    commit(with);
}

static inline void store_row(database *with, const sk_row_name *name, const sk_row *row)
{
    sk_buf packed = {0};
    sk_row_pack(&packed, row, true);
    sk_store_put(with->store, SK_CF_ROW, name->raw, sk_buf_view(&packed));
    sk_buf_free(&packed);
    commit_unchecked(with);
}

/* As after a start: all is gone through, a little at a time. */
static inline const char *audited(database *with)
{
    assert_int_equal(sk_db_reload(&with->db), 0);
    if (!with->db.audit.lost) assert_string_equal(sk_audit_text(&with->db), "scanning");
    for (int i = 0; sk_audit_pending(&with->db); i++) {
        assert_true(sk_audit_step(&with->db, 1) >= 0);
        assert_true(i < 1000);
    }
    commit_unchecked(with);
    return sk_audit_text(&with->db);
}

/* The n-th pair of a family, copied. False if there are fewer. */
static inline bool pair(database *with, sk_cf cf, uint32_t n, sk_bytes *key, sk_bytes *value)
{
    sk_store_iter *iter = sk_store_iterate(with->store, NULL, cf, SK_BYTES_NONE, SK_BYTES_NONE);
    bool found = true;
    for (uint32_t i = 0; found && i <= n; i++) found = sk_store_next(with->store, iter, key, value) > 0;
    if (found) {
        *key = sk_arena_copy(&with->arena, *key);
        *value = sk_arena_copy(&with->arena, *value);
    }
    sk_store_iter_free(with->store, iter);
    return found;
}

/* Puts the pair with byte `at` of key and value, as if they were one, changed. False beyond their end. */
static inline bool flip(database *with, sk_cf cf, sk_bytes key, sk_bytes value, size_t at, uint8_t by)
{
    if (at >= key.len + value.len) return false;
    sk_bytes bytes[2] = {sk_arena_copy(&with->arena, key), sk_arena_copy(&with->arena, value)};
    sk_bytes *in = &bytes[at >= key.len];
    *((uint8_t *)(uintptr_t)in->data + (at - (at >= key.len ? key.len : 0))) ^= by;
    sk_store_remove(with->store, cf, key);
    sk_store_put(with->store, cf, bytes[0], bytes[1]);
    return true;
}

static inline sk_row_name damage(database *with, const char *key, const char *bytes)
{
    sk_row_name name = row_name(with, SK_TABLE_KEY, key, NULL);
    if (bytes)
        sk_store_put(with->store, SK_CF_ROW, name.raw, sk_bytes_str(bytes));
    else
        sk_store_remove(with->store, SK_CF_ROW, name.raw);
    commit_unchecked(with);
    return name;
}

#endif
