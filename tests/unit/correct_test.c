#include "node/correct.c"

#include "tests/unit/two_databases.h"

static sk_row_sums sums_of(sk_bytes raw, const sk_row *row)
{
    return (sk_row_sums){sk_row_digest(&a.db.origins, raw, row), sk_row_rest(raw, row)};
}

typedef struct {
    sk_row_name name;
    sk_row row;
    sk_row_sums right;
    uint8_t *bytes; /* a copy of what is stored, to be damaged */
    size_t len;
} committed;

static committed commit_row(const char *key)
{
    commit(&a);
    committed made = {.name = row_name(&a, SK_TABLE_KEY, key, NULL), .row = row_of(&a, SK_TABLE_KEY, key, NULL)};
    sk_bytes stored = stored_row(&a, made.name.raw);
    made.right = sums_of(made.name.raw, &made.row);
    made.bytes = (uint8_t *)(uintptr_t)stored.data;
    made.len = stored.len;
    return made;
}

static int correct(const committed *of, uint64_t *effort, sk_row *found)
{
    return sk_correct_row(&a.db, of->name.raw, sk_bytes_of(of->bytes, of->len), of->right, effort, &a.arena, found);
}

/* Whatever byte it is, and whatever became of it. */
static void one_byte_is_found(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "key", NULL, "value"));
    txn(&a, expire(&a, "key", 5000));
    committed of = commit_row("key");
    sk_row found;
    for (size_t at = 0; at < of.len; at++)
        for (unsigned by = 1; by < 256; by += 11) {
            uint64_t effort = 1 << 26;
            of.bytes[at] ^= (uint8_t)by;
            assert_int_equal(correct(&of, &effort, &found), 1);
            sk_row_sums sums = sums_of(of.name.raw, &found);
            assert_true(sums.digest == of.right.digest && sums.rest == of.right.rest);
            assert_true(effort < 1 << 26);
            of.bytes[at] ^= (uint8_t)by;
        }
}

/* Two bytes: there is no such row, and none is made up. */
static void two_bytes_are_not(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "key", NULL, "value"));
    committed of = commit_row("key");
    sk_row found;
    uint64_t effort = 1 << 26;
    of.bytes[of.len - 1] ^= 1;
    of.bytes[of.len - 2] ^= 1;
    assert_int_equal(correct(&of, &effort, &found), 0);
}

/* A dead count is in no digest: its own sum tells. */
static void a_dead_count_is_found_by_the_rest(void **state)
{
    (void)state;
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    txn(&a, put(&a, SK_TABLE_KEY, "n", NULL, "value"));
    committed of = commit_row("n");
    sk_row found;
    assert_true(sk_row_has_dead(&of.row));
    for (size_t at = 0; at < of.len; at++) {
        uint64_t effort = 1 << 26;
        of.bytes[at] ^= 0x10;
        assert_int_equal(correct(&of, &effort, &found), 1);
        assert_true(sums_of(of.name.raw, &found).rest == of.right.rest);
        of.bytes[at] ^= 0x10;
    }
}

static void a_key_is_found_among_those_that_there_are(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "key", NULL, "value"));
    commit(&a);
    sk_row row = row_of(&a, SK_TABLE_KEY, "key", NULL);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "key", NULL), near = row_name(&a, SK_TABLE_KEY, "kez", NULL);
    sk_digest right = sk_row_digest(&a.db.origins, name.raw, &row);
    uint64_t effort = 1 << 26;
    sk_row_keys keys = {0};
    sk_row_keys_add(&keys, row_name(&a, SK_TABLE_KEY, "kex", NULL).raw); /* as near, and not it */
    sk_row_keys_sort(&keys);
    assert_null(sk_correct_key(&a.db, &keys, near.raw, &row, right, &effort).data);
    sk_row_keys_add(&keys, name.raw);
    sk_row_keys_sort(&keys);
    sk_bytes found = sk_correct_key(&a.db, &keys, near.raw, &row, right, &effort);
    assert_true(found.data && sk_bytes_equal(found, name.raw));
    effort = 0;
    assert_null(sk_correct_key(&a.db, &keys, near.raw, &row, right, &effort).data);
    sk_row_keys_free(&keys);
}

/* A long row is tried bit by bit, a longer one not at all. */
static void no_more_is_tried_than_is_allowed(void **state)
{
    (void)state;
    char text[3001] = {0};
    memset(text, 'x', sizeof text - 1);
    txn(&a, put(&a, SK_TABLE_KEY, "key", NULL, text));
    committed of = commit_row("key");
    sk_row found;
    uint8_t *last = of.bytes + of.len - 1;
    uint64_t effort = 100 * 1000 * 1000;
    *last ^= 4;
    assert_int_equal(correct(&of, &effort, &found), 1);
    assert_in_range(effort, 1, 50 * 1000 * 1000);
    *last ^= 4 ^ 3;
    assert_int_equal(correct(&of, &effort, &found), 0);
    *last ^= 3 ^ 4;
    effort = 1000 * 1000;
    assert_int_equal(correct(&of, &effort, &found), 0);
    assert_int_equal(effort, 1000 * 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_byte_is_found),
        TEST(two_bytes_are_not),
        TEST(a_dead_count_is_found_by_the_rest),
        TEST(a_key_is_found_among_those_that_there_are),
        TEST(no_more_is_tried_than_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
