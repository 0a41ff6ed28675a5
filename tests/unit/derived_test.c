#include "node/derived.c"

#include "tests/unit/db_harness.h"

static database a;

static int start(void **state)
{
    (void)state;
    database_start(&a, "a", 1);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, expire(&a, "x", 5000));
    txn(&a, put(&a, SK_TABLE_KEY, "both", NULL, "1"));
    txn(&a, put(&a, SK_TABLE_SET, "both", "m", ""));
    return 0;
}

static int end(void **state)
{
    (void)state;
    sk_db_check(&a.db);
    assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 2);
    database_end(&a);
    return 0;
}

static int mend_row(const char *key)
{
    sk_row row = row_of(&a, SK_TABLE_KEY, key, NULL);
    return sk_derived_mend_row(&a.db, row_name(&a, SK_TABLE_KEY, key, NULL).raw, &row);
}

static int mend_entry(const char *bytes, size_t len, const char *value)
{
    return sk_derived_mend_entry(&a.db, sk_bytes_of(bytes, len), sk_bytes_str(value));
}

static void what_is_right_stays(void **state)
{
    (void)state;
    assert_int_equal(a.db.conflicts, 1);
    assert_int_equal(mend_row("x"), 0);
    assert_int_equal(mend_row("both"), 0);
    assert_int_equal(mend_entry("x\0\0\0\0\0\0\x13\x88x", 10, ""), 0);
    assert_int_equal(mend_entry("ckboth", 6, ""), 0);
}

/* The empty key is a key. */
static void the_empty_key_has_a_deadline(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "", NULL, "1"));
    txn(&a, expire(&a, "", 5000));
    assert_int_equal(mend_entry("x\0\0\0\0\0\0\x13\x88", 9, ""), 0);
    assert_int_equal(mend_row(""), 0);
    assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 3);
    txn(&a, take_away(&a, SK_TABLE_KEY, "", NULL));
}

static void what_lacks_is_put(void **state)
{
    (void)state;
    sk_store_remove(a.store, SK_CF_DERIVED, sk_bytes_of("x\0\0\0\0\0\0\x13\x88x", 10));
    sk_store_remove(a.store, SK_CF_DERIVED, sk_bytes_str("ckboth"));
    assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 0);
    assert_int_equal(mend_row("x"), 1);
    assert_int_equal(mend_row("both"), 1);
}

static void what_no_row_bears_out_goes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *value;
    } wrong[] = {
        {"x\0\0\0\0\0\0\x13\x89x", 10, ""}, /* another time */
        {"x\0\0\0\0\0\0\x13\x88y", 10, ""}, /* another key */
        {"x\0\0\0\0\0\0\x13\x88", 9, ""},
        {"x\xff\xff\xff\xff\xff\xff\xff\xffy", 10, ""}, /* never */
        {"xy", 2, ""},
        {"ckx", 3, ""},    /* no conflict */
        {"c?x", 3, ""},    /* no row key */
        {"c", 1, ""},
        {"dkboth", 6, ""}, /* no index */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sk_store_put(a.store, SK_CF_DERIVED, sk_bytes_of(wrong[i].bytes, wrong[i].len), sk_bytes_str(wrong[i].value));
        assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 3);
        assert_int_equal(mend_entry(wrong[i].bytes, wrong[i].len, wrong[i].value), 1);
        assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 2);
    }
}

/* Of a row that makes no sense nothing follows. */
static void a_damaged_row_is_another_matter(void **state)
{
    (void)state;
    sk_store_put(a.store, SK_CF_ROW, sk_bytes_str("kz"), sk_bytes_str("\xc1"));
    assert_int_equal(mend_entry("ckz", 3, ""), 0);
    sk_store_remove(a.store, SK_CF_ROW, sk_bytes_str("kz"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_right_stays),
        TEST(the_empty_key_has_a_deadline),
        TEST(what_lacks_is_put),
        TEST(what_no_row_bears_out_goes),
        TEST(a_damaged_row_is_another_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
