/* What the history takes, and how it is forgotten: in steps, and again what waited for a reset to be everywhere. */
#include "tests/unit/two_databases.h"

static const sk_vv nothing;

/* Bytes of keys and values in the family. */
static uint64_t history_bytes(database *with)
{
    uint64_t bytes = 0;
    sk_bytes key, value;
    sk_store_iter *iter = sk_store_iterate(with->store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    while (sk_store_next(with->store, iter, &key, &value) > 0) bytes += key.len + value.len;
    sk_store_iter_free(with->store, iter);
    return bytes;
}

static void forget(database *with, uint64_t first, const sk_vv *everywhere)
{
    sk_vv stable = vv_of(first, 0, 0);
    sk_db_forget(&with->db, &stable, everywhere);
    sk_vv_free(&stable);
    commit(with);
}

static void write_some(int count)
{
    static const char *const keys[] = {"a", "somewhat longer", "", "x", "another key"};
    for (int i = 0; i < count; i++) {
        txn(&a, put(&a, SK_TABLE_KEY, keys[i % 5], NULL, "1"));
        if (i % 5 == 4) commit(&a); /* a page of it */
    }
    commit(&a);
}

static void its_bytes_are_counted(void **state)
{
    (void)state;
    write_some(13);
    txn(&a, take_away(&a, SK_TABLE_KEY, "x", NULL));
    txn(&a, put(&a, SK_TABLE_HASH, "h", "f", "1"));
    commit(&a);
    assert_int_equal(sk_db_kept(&a.db, NULL), history_bytes(&a));
    assert_int_equal(sk_db_kept(&a.db, &a.db.vv), 0);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(sk_db_kept(&a.db, NULL), history_bytes(&a));
}

static void what_goes_is_its_share(void **state)
{
    (void)state;
    write_some(100);
    uint64_t all = sk_db_kept(&a.db, NULL);
    sk_vv half = vv_of(50, 0, 0);
    assert_in_range(sk_db_kept(&a.db, &half), all / 2 - 1, all / 2 + 1);
    sk_vv_free(&half);
    forget(&a, 25, &nothing);
    assert_in_range(sk_db_kept(&a.db, NULL), history_bytes(&a) * 9 / 10, history_bytes(&a) * 11 / 10);
    half = vv_of(50, 0, 0);
    assert_in_range(sk_db_kept(&a.db, &half), all / 2 - 2, all / 2 + 1);
    sk_vv_free(&half);
    forget(&a, 100, &nothing);
    assert_int_equal(sk_db_kept(&a.db, NULL), 0);
    assert_int_equal(history_bytes(&a), 0);
    write_some(3);
    assert_int_equal(sk_db_kept(&a.db, NULL), history_bytes(&a));
}

static void what_comes_with_a_transfer_counts_once_it_is_in(void **state)
{
    (void)state;
    write_some(20);
    transfer cut = transfer_start(&a, &b);
    (void)transfer_chunk(&cut, 10000);
    transfer_stop(&cut);
    commit(&b);
    assert_true(history_bytes(&b) > 0);
    assert_int_equal(sk_db_kept(&b.db, NULL), 0);
    sk_fold_drop_staged(&b.db);
    commit(&b);
    assert_int_equal(history_bytes(&b), 0);
    transfer_all(&a, &b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    commit(&b);
    assert_true(history_bytes(&b) > 0);
    assert_int_equal(sk_db_kept(&b.db, NULL), history_bytes(&b));
}

/* An increment of b's, reset at a. */
static void reset_one(const char *key)
{
    txn(&b, add(&b, SK_TABLE_KEY, key, NULL, 5));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, key, NULL));
    commit(&a);
}

static uint32_t dead_in(const char *key)
{
    sk_row row = row_of(&a, SK_TABLE_KEY, key, NULL);
    return row.count;
}

static void put_three(void)
{
    put(&a, SK_TABLE_KEY, "x", NULL, "1");
    put(&a, SK_TABLE_KEY, "y", NULL, "1");
    put(&a, SK_TABLE_KEY, "z", NULL, "1");
}

static void what_has_to_be_read_goes_in_steps(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) txn(&a, put_three());
    reset_one("n"); /* so that it has to be read */
    uint64_t floors[] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(sk_db_forget_some(&a.db, &a.db.vv, &a.db.vv, 1), 1); /* b's, at least, is left */
        assert_int_equal(sk_vv_get(&a.db.floor, 0), floors[i]); /* whole transactions */
        commit(&a);
    }
    assert_int_equal(sk_db_forget_some(&a.db, &a.db.vv, &a.db.vv, 1), 0);
    assert_int_equal(dead_in("n"), 0);
    assert_int_equal(history_bytes(&a), 0);
    assert_int_equal(sk_db_kept(&a.db, NULL), 0);
}

static void what_need_not_be_read_goes_at_once(void **state)
{
    (void)state;
    write_some(50);
    assert_int_equal(sk_db_forget_some(&a.db, &a.db.vv, &nothing, 1), 0);
    assert_int_equal(history_bytes(&a), 0);
}

static bool revisit(const sk_vv *everywhere)
{
    while (sk_db_revisit(&a.db, everywhere, 1) > 0) continue;
    commit(&a);
    return a.db.revisit;
}

/* A member is away for long: what speaks of dead counts is not gone through again and again meanwhile. */
static void what_stays_is_looked_at_again_when_more_is_everywhere(void **state)
{
    (void)state;
    reset_one("n");
    reset_one("m");
    sk_vv first = vv_of(1, 2, 0);
    sk_db_forget(&a.db, &a.db.vv, &nothing);
    commit(&a);
    assert_int_equal(dead_in("n") + dead_in("m"), 2);
    assert_int_equal(history_in(&a), 2); /* below the floor */
    assert_true(sk_vv_equal(&a.db.floor, &a.db.vv));
    sk_db_revisit_anew(&a.db);
    assert_false(revisit(&nothing));
    sk_db_forget(&a.db, &a.db.vv, &nothing);
    assert_false(a.db.revisit);
    sk_db_forget(&a.db, &a.db.vv, &first);
    assert_true(a.db.revisit);
    assert_false(revisit(&first));
    assert_int_equal(dead_in("n"), 0);
    assert_int_equal(dead_in("m"), 1);
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    assert_int_equal(sk_db_revisit(&a.db, &first, 0), 1); /* it moves on while they are gone through */
    assert_true(a.db.revisit);
    while (sk_db_revisit(&a.db, &a.db.vv, 1) > 0) continue;
    (void)revisit(&a.db.vv);
    assert_int_equal(dead_in("m"), 0);
    assert_int_equal(history_in(&a), 0);
    sk_vv_free(&first);
}

static void store_row(const char *key, sk_bytes value)
{
    sk_store_put(a.store, SK_CF_ROW, row_name(&a, SK_TABLE_KEY, key, NULL).raw, value);
}

/* A row that makes no sense is to be repaired, and the records that speak of it wait for that. */
static void a_damaged_row_stops_no_forgetting(void **state)
{
    (void)state;
    reset_one("n");
    sk_bytes value = stored_row(&a, row_name(&a, SK_TABLE_KEY, "n", NULL).raw);
    store_row("n", sk_bytes_str("\xc1"));
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    assert_int_equal(a.db.failed, 0);
    assert_true(sk_vv_equal(&a.db.floor, &a.db.vv));
    assert_int_equal(history_in(&a), 1);
    sk_db_revisit_anew(&a.db);
    while (sk_db_revisit(&a.db, &a.db.vv, 1) > 0) continue;
    assert_int_equal(a.db.failed, 0);
    assert_int_equal(history_in(&a), 1);
    store_row("n", value);
    sk_db_revisit_anew(&a.db);
    (void)revisit(&a.db.vv);
    assert_int_equal(dead_in("n"), 0);
    assert_int_equal(history_in(&a), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, open_both_interned, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(its_bytes_are_counted),
        test(what_goes_is_its_share),
        test(what_comes_with_a_transfer_counts_once_it_is_in),
        test(what_has_to_be_read_goes_in_steps),
        test(what_need_not_be_read_goes_at_once),
        test(what_stays_is_looked_at_again_when_more_is_everywhere),
        test(a_damaged_row_stops_no_forgetting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
