#include "node/audit.c"

#include "tests/unit/damage_harness.h"
#include "tests/unit/two_databases.h"

static void what_is_sound_is_left_alone(void **state)
{
    (void)state;
    fill(&a);
    sk_digest digest = a.db.digest;
    sk_vv floor = {0};
    sk_vv_copy(&floor, &a.db.floor);
    assert_string_equal(audited(&a), "verified");
    assert_true(a.db.digest == digest);
    assert_int_equal(a.db.audit.entries, history_in(&a));
    assert_int_equal(a.db.audit.mended_derived + a.db.audit.mended_sizes + a.db.audit.damaged_history, 0);
    assert_true(sk_vv_equal(&floor, &a.db.floor));
    sk_db_check(&a.db);
    sk_vv_free(&floor);
}

/* Whatever byte of whatever row it is: found, and nothing is sent. */
static void every_byte_of_every_row_is_found(void **state)
{
    (void)state;
    sk_bytes key, value;
    uint32_t flips = 0;
    fill(&a);
    for (uint32_t n = 0; pair(&a, SK_CF_ROW, n, &key, &value); n++) {
        for (size_t at = 0; at < key.len + value.len; at++) {
            for (int bit = 0; bit < 8; bit += 1 + (int)(at % 3)) {
                database copy = {.store = sk_memory_copy(a.store)};
                assert_int_equal(open_as(&copy, "a", "test", "1", 1), 0);
                assert_true(flip(&copy, SK_CF_ROW, key, value, at, (uint8_t)(1u << bit)));
                commit_unchecked(&copy);
                const char *found = audited(&copy);
                bool damaged = strcmp(found, "damaged") == 0;
                if (!damaged) assert_true(copy.db.audit.mended_sizes > 0); /* that was all that was wrong */
                if (!damaged) sk_db_check(&copy.db);
                if (damaged) assert_int_equal(sk_audit_may_send(&copy.db), SK_E_CORRUPT);
                sk_store_remove(copy.store, SK_CF_META, sk_bytes_str("damaged"));
                database_end(&copy);
                flips++;
            }
        }
    }
    assert_true(flips > 300);
}

static void every_byte_of_it_is_found(void)
{
    sk_bytes key, value;
    for (uint32_t n = 0; pair(&a, SK_CF_HISTORY, n, &key, &value); n += 3) {
        for (size_t at = 0; at < key.len + value.len; at++) {
            database copy = {.store = sk_memory_copy(a.store)};
            assert_int_equal(open_as(&copy, "a", "test", "1", 1), 0);
            assert_true(flip(&copy, SK_CF_HISTORY, key, value, at, 0x10));
            commit_unchecked(&copy);
            assert_string_equal(audited(&copy), "verified");
            assert_int_equal(copy.db.audit.damaged_history, 1);
            assert_true(copy.db.audit.history_renewed);
            assert_true(sk_vv_equal(&copy.db.floor, &copy.db.vv));
            assert_int_equal(history_in(&copy), 0);
            sk_db_check(&copy.db);
            database_end(&copy);
        }
    }
}

static void every_byte_of_history_is_found(void **state)
{
    (void)state;
    fill(&a);
    every_byte_of_it_is_found();
    history_into_singles(&a);
    commit(&a);
    every_byte_of_it_is_found();
}

/* A peer that lacks something gets a reconcile, not a transfer that leaves out what the damage hides. */
static void after_damaged_history_peers_are_reconciled(void **state)
{
    (void)state;
    sk_bytes key, value;
    fill(&a);
    assert_true(pair(&a, SK_CF_HISTORY, 0, &key, &value));
    flip(&a, SK_CF_HISTORY, key, value, 11, 0x40); /* a seq beyond all */
    commit_unchecked(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(sk_audit_may_send(&a.db), SK_E_BUSY); /* before it was looked through */
    assert_string_equal(audited(&a), "verified");
    assert_int_equal(sk_audit_may_send(&a.db), 0);
    transfer whole = transfer_start(&a, &b);
    assert_int_equal(whole.begun, 0);
    assert_true(whole.head.reconcile);
    transfer_finish(&whole);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    assert_true(a.db.digest == b.db.digest);
}

/* What speaks of dead counts in this record; 0 of another. */
static uint32_t speaks(sk_bytes key, sk_bytes value)
{
    sk_history_record record;
    sk_history_entry entry;
    uint32_t count = 0;
    assert_int_equal(sk_history_open(key, value, NULL, &record), 0);
    while (sk_history_next(&record, &entry)) count += (entry.flags & SK_HISTORY_DEAD) != 0;
    return count;
}

/* Dead counts are stripped when the history says so: their records come back from the rows. */
static void records_of_dead_counts_come_back(bool singles)
{
    sk_bytes key, value;
    reset_count_of_b();
    if (singles) history_into_singles(&a);
    uint32_t n = 0;
    do assert_true(pair(&a, SK_CF_HISTORY, n++, &key, &value));
    while (!speaks(key, value));
    flip(&a, SK_CF_HISTORY, key, value, 3, 0x80);
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "verified");
    assert_int_equal(history_in(&a), 1);
    assert_true(pair(&a, SK_CF_HISTORY, 0, &key, &value));
    assert_int_equal(speaks(key, value), 1);
    sk_db_check(&a.db);
    for (int i = 0; i < 5; i++) (void)sk_db_revisit(&a.db, &a.db.vv, 100);
    assert_int_equal(history_in(&a), 0);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "0:1 v 0");
}

static void records_of_dead_counts_come_back_from_pages(void **state)
{
    (void)state;
    records_of_dead_counts_come_back(false);
}

static void and_from_singles(void **state)
{
    (void)state;
    records_of_dead_counts_come_back(true);
}

static void damage_history_and_renew(database *with)
{
    sk_bytes key, value;
    assert_true(pair(with, SK_CF_HISTORY, 3, &key, &value));
    flip(with, SK_CF_HISTORY, key, value, key.len, 1);
    commit_unchecked(with);
    assert_int_equal(sk_db_reload(&with->db), 0);
    while (with->db.audit.stage != SK_AUDIT_RENEWING) assert_int_equal(sk_audit_step(&with->db, 2), 1);
    assert_true(sk_vv_equal(&with->db.floor, &with->db.vv));
}

/* However much there is of it: some at a time. What is written meanwhile has its history, and nothing is sent before the end. */
static void a_renewal_goes_in_steps(void **state)
{
    (void)state;
    sk_vv floor = {0};
    reset_count_of_b(); /* a record of this stays */
    for (int i = 0; i < 40; i++) {
        txn(&a, put(&a, SK_TABLE_KEY, "k", NULL, "x"));
        commit(&a);
    }
    damage_history_and_renew(&a);
    sk_vv_copy(&floor, &a.db.floor);
    uint64_t steps = 0, written = 0;
    for (; a.db.audit.stage == SK_AUDIT_RENEWING; steps++) {
        assert_int_equal(sk_audit_may_send(&a.db), SK_E_BUSY);
        if (steps % 8 == 0) written += txn(&a, put(&a, SK_TABLE_KEY, "k", NULL, "newer")) > 0;
        commit_unchecked(&a);
        assert_true(sk_audit_step(&a.db, 2) >= 0);
    }
    assert_true(steps > 10 && written > 1);
    assert_int_equal(sk_audit_finish(&a.db), 0);
    assert_true(a.db.audit.history_renewed);
    assert_int_equal(sk_audit_may_send(&a.db), 0);
    assert_true(sk_vv_equal(&a.db.floor, &floor));
    assert_int_equal(history_in(&a), written + 1);
    commit(&a);
    damage_history_and_renew(&a);
    assert_int_equal(sk_audit_step(&a.db, 1), 1);
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "verified"); /* also after a crash */
    assert_int_equal(history_in(&a), 1);
    commit(&a);
    sk_vv_free(&floor);
}

static void history_found_damaged_later_is_renewed_too(void **state)
{
    (void)state;
    sk_bytes key, value;
    fill(&a);
    assert_string_equal(audited(&a), "verified");
    assert_true(pair(&a, SK_CF_HISTORY, 0, &key, &value));
    flip(&a, SK_CF_HISTORY, key, value, key.len, 1);
    commit_unchecked(&a);
    transfer whole = transfer_start(&a, &b);
    assert_int_equal(whole.begun, 0);
    sk_buf out = {0};
    assert_int_equal(sk_source_chunk(&a.db, whole.source, 1000, &out), SK_E_CORRUPT);
    sk_buf_free(&out);
    transfer_stop(&whole);
    assert_true(sk_audit_pending(&a.db));
    assert_int_equal(sk_audit_may_send(&a.db), SK_E_BUSY);
    assert_int_equal(sk_audit_finish(&a.db), 0);
    assert_int_equal(sk_audit_may_send(&a.db), 0);
    assert_true(sk_vv_equal(&a.db.floor, &a.db.vv));
}

static void sizes_are_counted_anew(void **state)
{
    (void)state;
    fill(&a);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "hash", NULL);
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0) sk_store_put(a.store, SK_CF_ROW, name.raw, sk_bytes_of("\0\1\0", 3));
        if (kind == 1) sk_store_put(a.store, SK_CF_ROW, name.raw, sk_bytes_of("\0\2\1", 3));
        if (kind == 2) sk_store_remove(a.store, SK_CF_ROW, name.raw);
        commit_unchecked(&a);
        assert_string_equal(audited(&a), "verified");
        assert_int_equal(a.db.audit.mended_sizes, 1);
        assert_true(stored_row(&a, name.raw).len > 0);
        assert_int_equal(row_of(&a, SK_TABLE_KEY, "hash", NULL).fields, 2);
        sk_db_check(&a.db);
    }
    sk_row_name bare = row_name(&a, SK_TABLE_KEY, "bare", NULL);
    sk_store_put(a.store, SK_CF_ROW, bare.raw, sk_bytes_of("\0\1\0", 3)); /* of members that there are not */
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "verified");
    sk_db_check(&a.db);
}

static void numbers_and_the_index_are_mended(void **state)
{
    (void)state;
    sk_bytes key, value;
    fill(&a);
    assert_true(pair(&a, SK_CF_DERIVED, 0, &key, &value));
    for (size_t at = 0; at < key.len; at++) {
        flip(&a, SK_CF_DERIVED, key, value, at, 2);
        commit_unchecked(&a);
        assert_string_equal(audited(&a), "verified");
        assert_int_equal(a.db.audit.mended_derived, 2);
        sk_db_check(&a.db);
        assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 1);
    }
    a.db.keys += 3;
    a.db.conflicts--;
    a.db.dirty = true;
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "verified");
    sk_db_check(&a.db);
}

static void what_is_staged_is_dropped_if_it_is_damaged(void **state)
{
    (void)state;
    sk_bytes key, value;
    fill(&a);
    transfer whole = transfer_start(&a, &b);
    while (transfer_chunk(&whole, 30)) {}
    transfer_stop(&whole);
    commit(&b);
    assert_true(pair(&b, SK_CF_STAGED, 0, &key, &value));
    flip(&b, SK_CF_STAGED, key, value, 0, 1); /* no staged row any more */
    commit_unchecked(&b);
    assert_string_equal(audited(&b), "verified");
    assert_int_equal(b.db.audit.damaged_staged, 1);
    assert_int_equal(pairs_in(&b, SK_CF_STAGED), 0);
    assert_null(b.db.fold);
    transfer_all(&a, &b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    assert_true(a.db.digest == b.db.digest);
}

/* Our vector covers it by then: it is lost, and that is not forgotten. */
static void what_was_to_be_folded_in_is_lost_if_it_is_damaged(void **state)
{
    (void)state;
    sk_bytes key, value;
    for (int by_audit = 0; by_audit < 2; by_audit++) {
        if (by_audit) begin_anew();
        fill(&a);
        transfer_all(&a, &b);
        commit_unchecked(&b);
        assert_true(pair(&b, SK_CF_STAGED, 0, &key, &value));
        flip(&b, SK_CF_STAGED, key, value, key.len + 1, 1);
        commit_unchecked(&b);
        if (by_audit) (void)audited(&b);
        assert_int_equal(sk_db_touch_all(&b.db), 0);
        assert_int_equal(b.db.failed, 0);
        commit_unchecked(&b);
        assert_string_equal(audited(&b), "damaged");
        assert_true(b.db.audit.lost);
        assert_int_equal(sk_audit_may_send(&b.db), SK_E_CORRUPT);
    }
}

/* No row proves a dead count: the next open looks, and refuses. */
static void a_damaged_dead_count_is_beyond_mending(void **state)
{
    (void)state;
    reset_count_of_b();
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "n", NULL);
    sk_row row = row_of(&a, SK_TABLE_KEY, "n", NULL);
    for (uint32_t i = 0; i < row.count; i++)
        if (!sk_entry_live(&row.entries[i])) row.entries[i].count.total.whole++;
    sk_buf packed = {0};
    sk_row_pack(&packed, &row, true);
    sk_bytes sound = stored_row(&a, name.raw);
    sk_store_put(a.store, SK_CF_ROW, name.raw, sk_buf_view(&packed));
    sk_buf_free(&packed);
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "damaged");
    assert_true(a.db.audit.beyond);
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "a", "test", "1", 1), SK_E_CORRUPT);
    sk_store_put(a.store, SK_CF_ROW, name.raw, sound); /* restored: it is looked through, and opens */
    assert_int_equal(open_as(&a, "a", "test", "1", 1), 0);
    assert_string_equal(sk_audit_text(&a.db), "verified");
    bool repair;
    assert_int_equal(sk_audit_noted(&a.db, &repair), 0);
}

static void writes_go_on_meanwhile(void **state)
{
    (void)state;
    char key[16];
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "k%d", i);
        txn(&a, put(&a, i % 3 ? SK_TABLE_KEY : SK_TABLE_SET, key, i % 3 ? NULL : "m", "v"));
    }
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    for (int i = 0; sk_audit_pending(&a.db); i++) {
        snprintf(key, sizeof key, "k%d", i * 7 % 90);
        if (i % 4)
            txn(&a, put(&a, SK_TABLE_HASH, key, "f", "v"));
        else
            txn(&a, expire(&a, key, 5000u + (unsigned)i));
        assert_true(sk_audit_step(&a.db, 2) >= 0); /* no slower than history is written */
        assert_true(i < 2000);
    }
    assert_string_equal(sk_audit_text(&a.db), "verified");
    assert_int_equal(a.db.audit.mended_derived + a.db.audit.mended_sizes, 0);
    sk_db_check(&a.db);
}

/* Where a start has to go through everything first: a large transfer that was not in its place yet is no one batch. */
static void what_a_start_has_to_finish_goes_to_the_disk_in_parts(void **state)
{
    (void)state;
    enum { ROWS = 600 };
    static char value[10000];
    uint64_t before, after;
    char key[16];
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < ROWS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        txn(&a, put(&a, SK_TABLE_KEY, key, NULL, value));
    }
    commit(&a);
    transfer_all(&a, &b);
    sk_audit_unreadable(&b.db); /* noted */
    commit_unchecked(&b);
    sk_memory_progress(b.store, &before, NULL, NULL);
    sk_db_close(&b.db);
    assert_int_equal(open_as(&b, "b", "test", "1", 1), 0);
    sk_memory_progress(b.store, &after, NULL, NULL);
    assert_true(after - before >= 4); /* six megabytes */
    assert_false(sk_fold_active(&b.db));
    assert_true(a.db.digest == b.db.digest);
    sk_db_check(&b.db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_sound_is_left_alone),
        TEST(every_byte_of_every_row_is_found),
        TEST(every_byte_of_history_is_found),
        TEST(after_damaged_history_peers_are_reconciled),
        TEST(records_of_dead_counts_come_back_from_pages),
        TEST(and_from_singles),
        TEST(a_renewal_goes_in_steps),
        TEST(history_found_damaged_later_is_renewed_too),
        TEST(sizes_are_counted_anew),
        TEST(numbers_and_the_index_are_mended),
        TEST(what_is_staged_is_dropped_if_it_is_damaged),
        TEST(what_was_to_be_folded_in_is_lost_if_it_is_damaged),
        TEST(a_damaged_dead_count_is_beyond_mending),
        TEST(what_a_start_has_to_finish_goes_to_the_disk_in_parts),
        TEST(writes_go_on_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
