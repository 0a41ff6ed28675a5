#include "node/sums.c"

#include "tests/unit/db_harness.h"

static database a;

static int start(void **state)
{
    (void)state;
    database_start(&a, "a", 1);
    a.db.sums.leaf_rows = 4;
    return 0;
}

static int end(void **state)
{
    (void)state;
    database_end(&a);
    return 0;
}

static const char *key_of(int i)
{
    static char key[24];
    snprintf(key, sizeof key, "user:%06d", i);
    return key;
}

static void write_keys(int from, int to)
{
    for (int i = from; i < to; i++) txn(&a, put(&a, SK_TABLE_KEY, key_of(i), NULL, "v"));
}

static void remove_keys(int from, int to)
{
    for (int i = from; i < to; i++) txn(&a, take_away(&a, SK_TABLE_KEY, key_of(i), NULL));
}

/* Steps of so many rows until nothing is left to do; how many there were. */
static uint32_t finish_sums(uint32_t rows)
{
    uint32_t steps = 0;
    int more;
    do {
        more = sk_sums_step(&a.db, rows);
        assert_true(more >= 0);
        sk_db_check(&a.db);
        steps++;
    } while (more);
    return steps;
}

/* As after a start: everything is on the disk, nothing is known of it. */
static void restart(void)
{
    (void)sk_db_seal(&a.db);
    assert_int_equal(sk_memory_sync(a.store, UINT64_MAX), 0);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(a.db.sums.state, SK_SUMS_SCANNING);
    assert_int_equal(a.db.sums.count, 0);
}

static void an_empty_database_is_whole(void **state)
{
    (void)state;
    assert_int_equal(finish_sums(10), 1);
    assert_int_equal(a.db.sums.state, SK_SUMS_VERIFIED);
    assert_int_equal(a.db.sums.count, 0);
    write_keys(0, 3);
    assert_int_equal(a.db.sums.rows, 3);
    sk_db_check(&a.db);
}

static void a_scan_makes_leaves_in_steps(void **state)
{
    (void)state;
    write_keys(0, 50);
    restart();
    assert_int_equal(finish_sums(7), 8); /* 7 of 7, and one that is not full */
    assert_int_equal(a.db.sums.state, SK_SUMS_VERIFIED);
    assert_int_equal(a.db.sums.rows, 50);
    assert_int_equal(a.db.sums.count, 13);
    assert_true(a.db.sums.sum == a.db.digest);
    sk_bytes low = a.db.sums.leaves[1]->low; /* "kuser:000004", less what is not needed to tell it from ...3 */
    assert_int_equal(low.len, 12);
    low = a.db.sums.leaves[5]->low; /* 20: "kuser:00002" is above 19 */
    assert_int_equal(low.len, 11);
}

static void what_changes_during_the_scan_counts_once(void **state)
{
    (void)state;
    write_keys(0, 60);
    restart();
    for (int i = 0; i < 60; i += 3) {
        write_keys(i, i + 1);            /* at the cursor */
        write_keys(59 - i, 60 - i);      /* far above it, later far below */
        write_keys(100 + i, 101 + i);    /* a new one */
        remove_keys((i * 7) % 60, (i * 7) % 60 + 1);
        assert_true(sk_sums_step(&a.db, 4) >= 0);
        sk_db_check(&a.db);
    }
    (void)finish_sums(4);
    assert_int_equal(a.db.sums.state, SK_SUMS_VERIFIED);
    assert_int_equal(a.db.sums.rows, a.db.keys);
}

static void an_outgrown_leaf_is_cut_a_few_pieces_at_a_time(void **state)
{
    (void)state;
    (void)finish_sums(1);
    write_keys(0, 100);
    assert_int_equal(a.db.sums.count, 1);
    uint64_t changed = a.db.sums.leaves[0]->changed;
    (void)sk_db_seal(&a.db);
    uint32_t steps = finish_sums(1);
    assert_int_equal(a.db.sums.count, 25);
    assert_int_equal(steps, 6 + 1); /* four leaves in each, and one that finds no more */
    for (uint32_t i = 0; i < a.db.sums.count; i++) {
        assert_int_equal(a.db.sums.leaves[i]->rows, 4);
        assert_int_equal(a.db.sums.leaves[i]->changed, changed); /* a cut is no change */
        uint64_t last = 4 * (i + 1);
        assert_int_equal(sk_vv_get(&a.db.sums.leaves[i]->vv, a.db.own), last);
    }
}

/* Keys' own rows that hold only sizes have no digest: a cut reads past them, but not without end. */
static void a_cut_reads_a_bounded_number_of_rows(void **state)
{
    (void)state;
    (void)finish_sums(1);
    for (int i = 0; i < 40; i++) txn(&a, put(&a, SK_TABLE_SET, key_of(i), "member", ""));
    assert_int_equal(a.db.sums.rows, 40);
    (void)finish_sums(1);
    assert_int_equal(a.db.sums.leaves[0]->rows, 0); /* 16 of them, and again, then the last 8 and twice 4 members */
    assert_int_equal(a.db.sums.leaves[1]->rows, 0);
    assert_int_equal(a.db.sums.leaves[2]->rows, 4);
    assert_int_equal(a.db.sums.count, 2 + 10);
}

static void leaves_do_not_outlive_their_rows(void **state)
{
    (void)state;
    (void)finish_sums(1);
    for (int i = 0; i < 400; i++) { /* as a queue: new keys at the end, old ones go */
        write_keys(i, i + 1);
        if (i >= 20) remove_keys(i - 20, i - 19);
        (void)finish_sums(1);
    }
    assert_int_equal(a.db.sums.rows, 20);
    assert_true(a.db.sums.count <= 10);
    remove_keys(380, 400);
    (void)finish_sums(1);
    assert_int_equal(a.db.sums.rows, 0);
    assert_int_equal(a.db.sums.count, 1);
    assert_true(a.db.sums.sum == 0);
}

static void other_tables_and_sizes_count_too(void **state)
{
    (void)state;
    char member[16];
    for (int i = 0; i < 30; i++) {
        snprintf(member, sizeof member, "m%d", i);
        txn(&a, put(&a, SK_TABLE_HASH, i % 2 ? "h" : "g", member, "v"));
        txn(&a, put(&a, SK_TABLE_SET, "s", member, ""));
        txn(&a, add(&a, SK_TABLE_KEY, member, NULL, i));
        txn(&a, expire(&a, member, 5000));
    }
    restart();
    (void)finish_sums(5);
    assert_int_equal(a.db.sums.state, SK_SUMS_VERIFIED);
    for (int i = 0; i < 30; i += 2) {
        snprintf(member, sizeof member, "m%d", i);
        txn(&a, take_away(&a, SK_TABLE_SET, "s", member));
        txn(&a, add(&a, SK_TABLE_KEY, member, NULL, i));
        (void)finish_sums(1);
    }
    assert_true(a.db.sums.sum == a.db.digest);
}

static void an_aborted_transaction_leaves_no_trace(void **state)
{
    (void)state;
    write_keys(0, 20);
    (void)finish_sums(100);
    sk_digest sum = a.db.sums.sum;
    sk_db_begin(&a.db);
    for (int i = 10; i < 40; i++) put(&a, SK_TABLE_KEY, key_of(i), NULL, "other");
    sk_db_abort(&a.db);
    assert_true(a.db.sums.sum == sum);
    assert_int_equal(a.db.sums.rows, 20);
    (void)finish_sums(1);
}

static void what_was_rolled_back_is_added_up_anew(void **state)
{
    (void)state;
    write_keys(0, 20);
    (void)finish_sums(100);
    commit(&a);
    write_keys(10, 30);
    assert_int_equal(a.db.sums.rows, 30);
    assert_int_equal(sk_store_reopen(a.store), 0);
    assert_int_equal(sk_db_reload(&a.db), 0);
    (void)finish_sums(3);
    assert_int_equal(a.db.sums.state, SK_SUMS_VERIFIED);
    assert_int_equal(a.db.sums.rows, 20);
}

/* A leaf tells whether a snapshot has its rows as they are: not before the batch that changed it is committed. */
static void a_leaf_tells_when_it_changed(void **state)
{
    (void)state;
    write_keys(0, 20);
    (void)finish_sums(100);
    restart();
    uint64_t first = sk_db_seal(&a.db);
    (void)finish_sums(100); /* what is read after a start stands in no open batch */
    for (uint32_t i = 0; i < a.db.sums.count; i++) assert_int_equal(a.db.sums.leaves[i]->changed, first);
    write_keys(0, 20);
    restart();
    write_keys(19, 20);
    (void)finish_sums(100); /* it may */
    for (uint32_t i = 0; i < a.db.sums.count; i++) assert_true(a.db.sums.leaves[i]->changed > a.db.sealed);
    first = sk_db_seal(&a.db);
    sk_sums_settle(&a.db.sums);
    for (uint32_t i = 0; i < a.db.sums.count; i++) assert_true(a.db.sums.leaves[i]->changed <= first);
    write_keys(5, 6);
    uint64_t second = sk_db_seal(&a.db);
    assert_true(second > first);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, key_of(5), NULL);
    uint32_t at = sk_sums_find(&a.db.sums, name.raw);
    sk_sums_settle(&a.db.sums);
    for (uint32_t i = 0; i < a.db.sums.count; i++)
        assert_int_equal(a.db.sums.leaves[i]->changed, i == at ? second : first);
    uint32_t count = a.db.sums.count;
    remove_keys(6, 7);
    uint64_t third = sk_db_seal(&a.db);
    sk_sums_settle(&a.db.sums);
    assert_int_equal(a.db.sums.leaves[1]->changed, third);
    remove_keys(8, 11); /* what is left of the leaf goes to its left neighbour */
    sk_sums_settle(&a.db.sums);
    assert_int_equal(a.db.sums.count, count - 1);
    assert_int_equal(a.db.sums.leaves[1]->rows, 4);
    assert_int_equal(a.db.sums.leaves[1]->changed, third + 1);
}

static void damage(int i, const char *value)
{
    sk_row_name name = row_name(&a, SK_TABLE_KEY, key_of(i), NULL);
    if (value)
        sk_store_put(a.store, SK_CF_ROW, name.raw, sk_bytes_str(value));
    else
        sk_store_remove(a.store, SK_CF_ROW, name.raw);
}

static void damage_is_told(void **state)
{
    (void)state;
    write_keys(0, 20);
    restart();
    damage(11, NULL); /* a row is lost */
    while (sk_sums_step(&a.db, 3)) {}
    assert_int_equal(a.db.sums.state, SK_SUMS_DIFFERENT);
    assert_true(sk_sums_damaged(&a.db.sums));
    assert_int_equal(a.db.sums.rows, 19);
    write_keys(3, 5);
    write_keys(20, 80);
    while (sk_sums_step(&a.db, 3)) {}
    assert_int_equal(a.db.sums.rows, 79);

    restart();
    damage(12, "\xc1"); /* one cannot be read */
    while (sk_sums_step(&a.db, 3)) {}
    assert_int_equal(a.db.sums.state, SK_SUMS_DIFFERENT);
    assert_true(sk_sums_damaged(&a.db.sums));
    assert_int_equal(a.db.sums.senseless, 1);
    assert_int_equal(a.db.sums.rows, 79); /* it stands there with a digest of its own */
    write_keys(3, 5);
    remove_keys(6, 8);
    assert_int_equal(a.db.sums.rows, 77);

    restart();
    damage(12, "\x51\x7f\1\xc4\1v"); /* one of an entry that nobody has written */
    while (sk_sums_step(&a.db, 3)) {}
    assert_int_equal(a.db.sums.senseless, 1);
}

/* A row that is gone from under a leaf that is to be cut. */
static void damage_is_told_by_a_cut_too(void **state)
{
    (void)state;
    (void)finish_sums(1);
    write_keys(0, 30);
    for (int i = 1; i < 30; i++) damage(i, NULL);
    while (sk_sums_step(&a.db, 3)) {}
    assert_int_equal(a.db.sums.state, SK_SUMS_UNREADABLE);
}

static void keys_are_found_as_by_looking_at_all(void **state)
{
    (void)state;
    sk_sums sums;
    sk_sums_init(&sums, 4);
#define LONG "kc:longer than what stands of a key beside the others:"
    static const char *const lows[] = {"", "ka", "kab", "kabcdefgh", "kabcdefgh0", "kabcdefghi", "kabcdefghj", "kb", LONG,
                                       LONG "\x01", LONG "a", LONG "abc", LONG "b", "kd", "s"};
    static const char *const more[] = {"k", "kabcdefg", "kabcdefghi0", "kabcdefghik", "kabd", "kc", "kc:", "t", "p",
                                       "kabcdefgh\xff", LONG "0", LONG "ab", LONG "abcd", LONG "c"};
    enum { LOWS = sizeof lows / sizeof *lows, MORE = sizeof more / sizeof *more };
    for (uint32_t i = 0; i < LOWS; i++) insert_leaf(&sums, i, sk_bytes_str(lows[i]));
    uint64_t rows[LOWS] = {0};
    sums.state = SK_SUMS_VERIFIED;
    for (uint32_t k = 0; k < LOWS + MORE; k++) {
        sk_bytes key = sk_bytes_str(k < LOWS ? lows[k] : more[k - LOWS]);
        uint32_t at = 0;
        while (at + 1 < LOWS && sk_bytes_compare(sums.leaves[at + 1]->low, key) <= 0) at++;
        assert_int_equal(sk_sums_find(&sums, key), at);
        sk_row_counts counts = {0};
        sk_entry entry = {.dot = {0, k + 1}, .kind = SK_ENTRY_VALUE};
        sk_row row = {.entries = &entry, .count = 1};
        sk_sums_change(&sums, key, 0, k + 1, &counts, &row, 7);
        rows[at]++;
    }
    assert_int_equal(sums.rows, LOWS + MORE);
    assert_int_equal(sums.change_count, LOWS + MORE);
    sk_sums_settle(&sums); /* side by side */
    for (uint32_t i = 0; i < LOWS; i++) assert_int_equal(sums.leaves[i]->rows, rows[i]);
    sk_sums_free(&sums);
}

/* What waits for its leaf is some dozens of changes, and fewer where keys are long. */
static void few_changes_wait(void **state)
{
    (void)state;
    static uint8_t key[40000];
    sk_sums sums;
    sk_sums_init(&sums, SK_LEAF_ROWS);
    sums.state = SK_SUMS_VERIFIED;
    sk_row_counts counts = {0};
    sk_entry entry = {.dot = {0, 1}, .kind = SK_ENTRY_VALUE};
    sk_row row = {.entries = &entry, .count = 1};
    sk_sums_change(&sums, sk_bytes_str("l"), 0, 1, &counts, &row, 1);
    assert_int_equal(sums.change_count, 0);
    assert_true(sums.leaves[0]->sum == 1); /* with few leaves at once */
    for (uint32_t i = 1; i < SK_LEAF_ROWS / FEW_LEAVES; i++) {
        char low[8];
        snprintf(low, sizeof low, "m%02u", i);
        insert_leaf(&sums, i, sk_bytes_str(low));
    }
    for (uint32_t i = 1; i < SK_LEAF_CHANGES; i++) {
        sk_sums_change(&sums, sk_bytes_str("k"), i - 1, i, &counts, &row, 1);
        assert_int_equal(sums.change_count, i);
        assert_true(sums.leaves[0]->sum == 1);
    }
    sk_sums_change(&sums, sk_bytes_str("k"), SK_LEAF_CHANGES - 1, SK_LEAF_CHANGES, &counts, &row, 1);
    assert_int_equal(sums.change_count, 0);
    assert_true(sums.leaves[0]->sum == SK_LEAF_CHANGES + 1 && sums.leaves[0]->rows == 2);
    sk_sums_change(&sums, sk_bytes_of(key, sizeof key), 0, 1, &counts, &row, 1);
    assert_int_equal(sums.change_count, 1);
    sk_sums_change(&sums, sk_bytes_of(key, sizeof key), 1, 2, &counts, &row, 1);
    assert_int_equal(sums.change_count, 0);
    sk_sums_free(&sums);
}

static void random_histories_add_up(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 3000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int key = (int)(random >> 33) % 300, what = (int)(random >> 60);
        if (what < 7)
            write_keys(key, key + 1);
        else if (what < 9)
            remove_keys(key, key + 1 + i % 50);
        else if (what < 11)
            write_keys(key, key + 20);
        else if (what < 12)
            txn(&a, add(&a, SK_TABLE_KEY, key_of(key), NULL, 1));
        else if (what < 13 && i % 20 == 0)
            restart();
        else
            assert_true(sk_sums_step(&a.db, 5) >= 0);
        if (i % 8 == 0) sk_db_check(&a.db);
    }
    (void)finish_sums(5);
    assert_int_equal(a.db.sums.state, SK_SUMS_VERIFIED);
}

#define test(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(an_empty_database_is_whole),
        test(a_scan_makes_leaves_in_steps),
        test(what_changes_during_the_scan_counts_once),
        test(an_outgrown_leaf_is_cut_a_few_pieces_at_a_time),
        test(a_cut_reads_a_bounded_number_of_rows),
        test(leaves_do_not_outlive_their_rows),
        test(other_tables_and_sizes_count_too),
        test(an_aborted_transaction_leaves_no_trace),
        test(what_was_rolled_back_is_added_up_anew),
        test(a_leaf_tells_when_it_changed),
        test(damage_is_told),
        test(damage_is_told_by_a_cut_too),
        test(keys_are_found_as_by_looking_at_all),
        test(few_changes_wait),
        test(random_histories_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
