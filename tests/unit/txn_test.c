#include "tests/unit/two_databases.h"

/* -- local --------------------------------------------------------------------------------------------------------- */

static void a_transaction_takes_one_dot(void **state)
{
    (void)state;
    sk_db_begin(&a.db);
    assert_int_equal(sk_db_next_dot(&a.db).seq, 1);
    put(&a, SK_TABLE_KEY, "x", NULL, "1");
    put(&a, SK_TABLE_KEY, "y", NULL, "2");
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "x", NULL), "0:1 v 1"); /* visible at once */
    assert_int_equal(a.local, 0);
    assert_int_equal(sk_db_commit(&a.db), 1);
    assert_int_equal(a.local, 1);
    assert_int_equal(a.txn.op_count, 2);
    assert_int_equal(a.txn.dot.seq, 1);
    assert_int_equal(sk_vv_get(&a.txn.seen, 0), 0);
    assert_int_equal(sk_vv_get(&a.db.vv, 0), 1);
    assert_int_equal(history_in(&a), 2);
}

static void without_a_change_there_is_no_dot(void **state)
{
    (void)state;
    assert_int_equal(txn(&a, (void)0), 0);
    assert_int_equal(txn(&a, take_away(&a, SK_TABLE_KEY, "x", NULL)), 0);
    assert_int_equal(txn(&a, (put(&a, SK_TABLE_KEY, "x", NULL, "1"), take_away(&a, SK_TABLE_KEY, "x", NULL))), 0);
    assert_int_equal(a.local, 0);
    assert_int_equal(sk_vv_get(&a.db.vv, 0), 0);
    assert_int_equal(pairs_in(&a, SK_CF_ROW), 0);
    assert_int_equal(history_in(&a), 0);
}

static void removing_what_was_there_is_a_change(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    assert_int_equal(txn(&a, (put(&a, SK_TABLE_KEY, "x", NULL, "2"), take_away(&a, SK_TABLE_KEY, "x", NULL))), 2);
    assert_int_equal(pairs_in(&a, SK_CF_ROW), 0);
    assert_int_equal(a.local, 2);
}

/* What a large one took in memory is given back at its end, whether it commits or not. */
static void a_large_one_gives_its_memory_back(void **state)
{
    (void)state;
    for (int aborted = 0; aborted < 2; aborted++) {
        sk_db_begin(&a.db);
        for (int i = 0; i < 2000; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            put(&a, SK_TABLE_KEY, key, NULL, "v");
        }
        assert_true(a.db.txn.room >= 2000 && a.db.txn.index_size >= 2000);
        if (aborted)
            sk_db_abort(&a.db);
        else
            assert_int_equal(sk_db_commit(&a.db), 1);
        assert_in_range(a.db.txn.room, 0, 256);
        assert_int_equal(a.db.txn.index_size, 0);
        assert_int_equal(a.db.txn.arena.used, 0);
    }
    assert_int_equal(txn(&a, put(&a, SK_TABLE_KEY, "k1", NULL, "w")), 2);
}

/* All commands of a transaction to one row are one operation: what they did, from how it stood before. */
static void commands_on_one_row_combine(void **state)
{
    (void)state;
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&a, &b);
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 7));
    apply_last(&b, &a);
    sk_db_begin(&a.db);
    add(&a, SK_TABLE_KEY, "n", NULL, 1);
    take_away(&a, SK_TABLE_KEY, "n", NULL);
    add(&a, SK_TABLE_KEY, "n", NULL, 2);
    add(&a, SK_TABLE_KEY, "n", NULL, 3);
    expire(&a, "n", 70);
    expire(&a, "n", 80);
    assert_int_equal(sk_db_commit(&a.db), 2);
    assert_int_equal(a.txn.op_count, 1);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "0:2 c 5 from 2, 1:1 c 7-7@1 from 1+, 0:2 d 80");
    apply_last(&a, &b);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "n", NULL), "0:1 c 7-7@1 from 1+, 1:2 c 5 from 2, 1:2 d 80");
    assert_true(a.db.digest == b.db.digest);
}

static void a_value_replaces_an_addition_of_the_same_transaction(void **state)
{
    (void)state;
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&a, &b);
    txn(&a, (add(&a, SK_TABLE_KEY, "n", NULL, 1), put(&a, SK_TABLE_KEY, "n", NULL, "x")));
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "0:2 v x");
    apply_last(&a, &b);
    assert_true(a.db.digest == b.db.digest);
}

static void sizes_follow_within_a_transaction(void **state)
{
    (void)state;
    sk_db_begin(&a.db);
    put(&a, SK_TABLE_KEY, "h", NULL, "1");
    put(&a, SK_TABLE_HASH, "h", "f", "1");
    expire(&a, "h", 50); /* the key's own row, once more */
    put(&a, SK_TABLE_HASH, "h", "g", "1");
    take_away(&a, SK_TABLE_KEY, "h", NULL);
    sk_db_commit(&a.db);
    sk_row row = row_of(&a, SK_TABLE_KEY, "h", NULL);
    assert_int_equal(row.fields, 2);
    assert_int_equal(row.count, 0);
}

/* Beyond sixteen rows the touched ones are found by an index. */
static void many_rows_in_a_transaction(void **state)
{
    (void)state;
    char key[16];
    sk_db_begin(&a.db);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 300; i++) {
            snprintf(key, sizeof key, "key%d", i);
            add(&a, SK_TABLE_KEY, key, NULL, i);
        }
    assert_int_equal(sk_db_commit(&a.db), 1);
    assert_int_equal(a.txn.op_count, 300);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "key299", NULL), "0:1 c 897 from 1");
    txn(&a, add(&a, SK_TABLE_KEY, "key7", NULL, 1)); /* the index is gone with its transaction */
    assert_int_equal(a.txn.op_count, 1);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "key7", NULL), "0:2 c 22 from 1");
}

/* A row that makes no sense is the matter of whoever wants it changed, of nobody else. */
static void a_damaged_row_refuses_its_transaction(void **state)
{
    (void)state;
    sk_store_put(a.store, SK_CF_ROW, sk_bytes_str("kx"), sk_bytes_str("\xc1"));
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "1"));
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "x", NULL);
    sk_op op = {.has_content = true, .content = value_of(0, 0, "v")};
    sk_db_begin(&a.db);
    put(&a, SK_TABLE_KEY, "y", NULL, "2");
    assert_int_equal(sk_db_change(&a.db, &name, NULL, &op), SK_E_CORRUPT);
    assert_int_equal(sk_db_change(&a.db, &name, NULL, &op), SK_E_CORRUPT); /* it stays so */
    assert_int_equal(a.db.txn.refused, SK_E_CORRUPT);
    sk_db_abort(&a.db);
    assert_int_equal(a.db.failed, 0);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "y", NULL), "0:1 v 1");
    sk_store_remove(a.store, SK_CF_ROW, name.raw);
}

/* One from elsewhere must be applied: the row counts as none, and the digest says that something is wrong. */
static void a_damaged_row_gives_way_to_a_remote_change(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    apply_last(&a, &b);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "2"));
    sk_store_put(b.store, SK_CF_ROW, sk_bytes_str("kx"), sk_bytes_str("\xc1"));
    apply_last(&a, &b);
    assert_int_equal(b.db.failed, 0);
    assert_same_row(&b, &a, SK_TABLE_KEY, "x", NULL);
    assert_true(a.db.digest != b.db.digest);
    b.db.digest = a.db.digest;
    b.db.keys = a.db.keys;
}

static void a_failed_change_seals_nothing(void **state)
{
    (void)state;
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "x", NULL);
    sk_op op = {.has_content = true, .content = value_of(0, 0, "v")};
    sk_db_begin(&a.db);
    put(&a, SK_TABLE_KEY, "y", NULL, "1");
    a.db.failed = SK_E_IO; /* as of a store that failed half-way */
    assert_int_equal(sk_db_change(&a.db, &name, NULL, &op), SK_E_IO);
    assert_int_equal(sk_db_change(&a.db, &name, NULL, &op), SK_E_IO); /* it stays so */
    assert_int_equal(sk_db_commit(&a.db), 0);
    assert_int_equal(a.db.failed, SK_E_IO);
    assert_int_equal(a.local, 0);
    sk_memory_crash(a.store, 0);
    sk_memory_sync(a.store, UINT64_MAX);
    a.db.failed = 0;
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "a", "test", "1", 1), 0);
}

/* -- remote -------------------------------------------------------------------------------------------------------- */

static void a_transaction_is_applied_whole(void **state)
{
    (void)state;
    txn(&a, (put(&a, SK_TABLE_KEY, "x", NULL, "1"), put(&a, SK_TABLE_HASH, "h", "f", "2"), expire(&a, "x", 9)));
    apply_last(&a, &b);
    assert_true(a.db.digest == b.db.digest);
    assert_int_equal(b.db.keys, 2);
    assert_int_equal(b.local, 0); /* not one of its own */
    assert_int_equal(history_in(&b), 2);
    assert_true(sk_hlc_ms(b.db.clock) >= 1000);
}

/* `count` operations, each setting a key of one letter, from 'a' on. */
static sk_txn made(database *at, sk_buf *ops, uint32_t count)
{
    uint32_t origin;
    assert_int_equal(sk_db_intern(&at->db, sk_bytes_str("z"), 1, &origin), 0);
    for (uint32_t i = 0; i < count; i++) {
        char key[] = {'k', (char)('a' + (int)i), 0};
        sk_op op = {.key = sk_bytes_str(key), .has_content = true, .content = value_of(0, 0, "v")};
        sk_op_pack(ops, &op);
    }
    return (sk_txn){.dot = {origin, 1}, .hlc = 5, .ops = sk_buf_view(ops), .op_count = count};
}

static void refused(database *at, sk_txn *txn)
{
    sk_digest digest = at->db.digest;
    assert_int_equal(sk_db_apply(&at->db, txn), SK_E_MALFORMED);
    assert_int_equal(at->db.failed, 0);
    assert_int_equal(sk_vv_get(&at->db.vv, txn->dot.origin), 0);
    assert_true(at->db.digest == digest);
    assert_int_equal(pairs_in(at, SK_CF_ROW), 0);
    assert_int_equal(history_in(at), 0);
}

static void a_damaged_transaction_changes_nothing(void **state)
{
    (void)state;
    sk_buf ops = {0};
    sk_txn txn = made(&b, &ops, 2);
    txn.op_count = 3;
    refused(&b, &txn); /* fewer than it says */
    txn.op_count = 1;
    refused(&b, &txn); /* more */
    txn.op_count = UINT32_MAX;
    refused(&b, &txn);
    txn.op_count = 2;
    for (size_t cut = 0; cut < ops.len; cut++) {
        txn.ops = sk_bytes_of(ops.data, cut);
        refused(&b, &txn);
    }
    sk_op stray = {.key = sk_bytes_str("no such table"), .has_content = true, .content = value_of(0, 0, "v")};
    sk_op_pack(&ops, &stray);
    txn.ops = sk_buf_view(&ops);
    txn.op_count = 3;
    refused(&b, &txn);
    sk_buf_free(&ops);
}

/* One row twice: it would hold two entries of one dot, and could not be read any more. */
static void a_row_that_comes_twice_is_refused(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= 26; count++) {
        sk_buf ops = {0};
        (void)made(&b, &ops, count);
        sk_txn txn = made(&b, &ops, 1); /* "ka" once more */
        txn.op_count = count + 1;
        txn.ops = sk_buf_view(&ops);
        refused(&b, &txn);
        sk_buf_free(&ops);
    }
}

static void a_large_transaction_is_applied(void **state)
{
    (void)state;
    sk_buf ops = {0};
    sk_txn txn = made(&b, &ops, 26);
    assert_int_equal(sk_db_apply(&b.db, &txn), 0);
    assert_int_equal(b.db.keys, 26);
    assert_int_equal(sk_vv_get(&b.db.vv, txn.dot.origin), 1);
    sk_buf_free(&ops);
}

/* -- limits -------------------------------------------------------------------------------------------------------- */

static int try_change(database *with, sk_table table, const char *key, const char *member, const char *value)
{
    sk_row_name name = row_name(with, table, key, member);
    sk_op op = {.forgets_content = true, .has_content = value != NULL};
    if (value) op.content = value_of(0, 0, value);
    return sk_db_change(&with->db, &name, NULL, &op);
}

static void one_too_large_is_undone(void **state)
{
    (void)state;
    char field[8];
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, (put(&a, SK_TABLE_HASH, "h", "f", "1"), put(&a, SK_TABLE_HASH, "h", "g", "1")));
    commit(&a);
    sk_digest digest = a.db.digest;
    uint64_t keys = a.db.keys;
    size_t rows = pairs_in(&a, SK_CF_ROW), history = history_in(&a);
    a.db.transaction_max = 300;
    sk_db_begin(&a.db);
    assert_int_equal(try_change(&a, SK_TABLE_KEY, "x", NULL, "2"), 0);
    assert_int_equal(try_change(&a, SK_TABLE_KEY, "new", NULL, "2"), 0);
    assert_int_equal(try_change(&a, SK_TABLE_HASH, "h", "f", NULL), 0);
    assert_true(sk_db_has_room(&a.db, 100));
    assert_false(sk_db_has_room(&a.db, 300));
    int status = 0;
    for (int i = 0; i < 100 && !status; i++) {
        snprintf(field, sizeof field, "f%d", i);
        status = try_change(&a, SK_TABLE_HASH, i % 2 ? "h" : "i", field, "value");
    }
    assert_int_equal(status, SK_E_LIMIT);
    assert_int_equal(try_change(&a, SK_TABLE_KEY, "x", NULL, "3"), SK_E_LIMIT); /* from then on */
    assert_true(a.db.txn.refused);
    sk_db_abort(&a.db);
    assert_int_equal(a.db.failed, 0);
    commit(&a); /* checks that all that is derived fits */
    assert_true(a.db.digest == digest);
    assert_int_equal(a.db.keys, keys);
    assert_int_equal(pairs_in(&a, SK_CF_ROW), rows);
    assert_int_equal(history_in(&a), history);
    assert_int_equal(a.local, 2);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "x", NULL), "0:1 v 1");
    assert_string_equal(text_of_row(&a, SK_TABLE_HASH, "h", "f"), "0:2 v 1");
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "h", NULL).fields, 2);
    assert_int_equal(txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "4")), 3); /* its dot was not used */
}

/* What counts is what the transaction comes to, not how often it changed its mind. */
static void the_size_is_that_of_the_outcome(void **state)
{
    (void)state;
    a.db.transaction_max = 100;
    sk_db_begin(&a.db);
    for (int i = 0; i < 1000; i++) assert_int_equal(try_change(&a, SK_TABLE_KEY, "x", NULL, i % 2 ? "one" : "two"), 0);
    assert_int_equal(sk_db_commit(&a.db), 1);
    assert_in_range(a.sent.len, 1, 100);
}

/* But each of its states is held until it commits: that has a limit as well. */
static void memory_of_a_transaction_has_a_limit(void **state)
{
    (void)state;
    static char value[60001];
    memset(value, 'v', sizeof value - 1);
    a.db.transaction_max = 64 * 1024;
    sk_db_begin(&a.db);
    int status = 0, rounds = 0;
    while (!status && rounds < 1000) status = try_change(&a, SK_TABLE_KEY, "x", NULL, value), rounds++;
    assert_int_equal(status, SK_E_LIMIT);
    assert_in_range(rounds, 4, 100);
    sk_db_abort(&a.db);
    assert_int_equal(pairs_in(&a, SK_CF_ROW), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, check_and_close_both)
    const struct CMUnitTest tests[] = {
        TEST(a_transaction_takes_one_dot),
        TEST(without_a_change_there_is_no_dot),
        TEST(removing_what_was_there_is_a_change),
        TEST(a_large_one_gives_its_memory_back),
        TEST(commands_on_one_row_combine),
        TEST(a_value_replaces_an_addition_of_the_same_transaction),
        TEST(sizes_follow_within_a_transaction),
        TEST(many_rows_in_a_transaction),
        TEST(a_damaged_row_refuses_its_transaction),
        TEST(a_damaged_row_gives_way_to_a_remote_change),
        TEST(a_failed_change_seals_nothing),
        TEST(a_transaction_is_applied_whole),
        TEST(a_damaged_transaction_changes_nothing),
        TEST(a_row_that_comes_twice_is_refused),
        TEST(a_large_transaction_is_applied),
        TEST(one_too_large_is_undone),
        TEST(the_size_is_that_of_the_outcome),
        TEST(memory_of_a_transaction_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
