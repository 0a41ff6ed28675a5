/* A stream merged into a database: all of it or nothing, and what only the database has stays. */
#include "tests/unit/export_harness.h"
#include "tests/unit/two_databases.h"

static sk_buf stream;

static int end(void **state)
{
    sk_buf_free(&stream);
    return check_and_close_both(state);
}

static void an_empty_database_becomes_the_same(void **state)
{
    (void)state;
    some_rows(&a);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    assert_int_equal(import_all(&b, sk_buf_view(&stream), 7), 0);
    settle_staged(&b);
    assert_true(a.db.digest == b.db.digest);
    assert_int_equal(a.db.keys, b.db.keys);
    assert_int_equal(sk_db_policy(&b.db, sk_bytes_str("p1")), SK_POLICY_NEWEST);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "x", NULL), "1:1 v 1");
}

/* As two regions would merge: siblings, counts, removals that one side knew of. */
static void what_both_have_is_merged(void **state)
{
    (void)state;
    some_rows(&a);
    transfer_all(&a, &b);
    settle_staged(&b);
    txn(&a, take_away(&a, SK_TABLE_SET, "s", "m"));
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "of a"));
    txn(&b, put(&b, SK_TABLE_KEY, "x", NULL, "of b"));
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 7));
    txn(&b, put(&b, SK_TABLE_SET, "s", "only b", ""));
    commit(&a);
    commit(&b);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    assert_int_equal(import_all(&b, sk_buf_view(&stream), 64), 0);
    settle_staged(&b);
    assert_int_equal(b.db.conflicts, 1);
    assert_string_equal(text_of_row(&b, SK_TABLE_SET, "s", "m"), "");
    assert_string_not_equal(text_of_row(&b, SK_TABLE_SET, "s", "only b"), "");
    sk_buf_reset(&stream);
    assert_int_equal(export_all(&b, 100, &stream), 0);
    assert_int_equal(import_all(&a, sk_buf_view(&stream), 64), 0);
    settle_staged(&a);
    assert_true(a.db.digest == b.db.digest);
    /* Once more changes nothing. */
    assert_int_equal(import_all(&a, sk_buf_view(&stream), 64), 0);
    settle_staged(&a);
    assert_true(a.db.digest == b.db.digest);
}

/* A row of dead counts alone comes too: an increment that its reset did not see may still arrive. */
static void resets_are_brought(void **state)
{
    (void)state;
    database c;
    database_start(&c, "c", 3);
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 5));
    commit(&a);
    transfer_all(&a, &b);
    settle_staged(&b);
    txn(&b, take_away(&b, SK_TABLE_KEY, "n", NULL));
    commit(&b);
    assert_int_equal(export_all(&b, 100, &stream), 0);
    assert_int_equal(import_all(&c, sk_buf_view(&stream), 64), 0);
    settle_staged(&c);
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 2)); /* its total is 7 */
    commit(&a);
    sk_buf_reset(&stream);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    assert_int_equal(import_all(&c, sk_buf_view(&stream), 64), 0);
    settle_staged(&c);
    assert_int_equal(import_all(&b, sk_buf_view(&stream), 64), 0);
    settle_staged(&b);
    sk_row row = row_of(&c, SK_TABLE_KEY, "n", NULL);
    assert_int_equal(row.count, 1);
    assert_int_equal(row.entries[0].count.total.whole - row.entries[0].count.base.whole, 2);
    assert_true(b.db.digest == c.db.digest);
    sk_db_check(&c.db);
    database_end(&c);
}

/* What was imported is in the history, for whoever asks next, and removals with it. */
static void a_third_database_learns_of_it(void **state)
{
    (void)state;
    database c;
    database_start(&c, "c", 3);
    some_rows(&a);
    transfer_all(&a, &c);
    settle_staged(&c);
    txn(&a, take_away(&a, SK_TABLE_KEY, "x", NULL));
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "1"));
    commit(&a);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    assert_int_equal(import_all(&b, sk_buf_view(&stream), 64), 0);
    settle_staged(&b);
    transfer_all(&b, &c);
    settle_staged(&c);
    assert_true(c.db.digest == a.db.digest);
    sk_db_check(&c.db);
    database_end(&c);
}

static void nothing_of_a_cut_or_damaged_stream_counts(void **state)
{
    (void)state;
    some_rows(&a);
    txn(&b, put(&b, SK_TABLE_KEY, "mine", NULL, "1"));
    commit(&b);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    sk_digest digest = b.db.digest;
    for (size_t at = 0; at < stream.len; at++) {
        assert_int_not_equal(import_all(&b, sk_bytes_of(stream.data, at), 50), 0); /* cut */
        stream.data[at] ^= 0x10;
        assert_int_not_equal(import_all(&b, sk_buf_view(&stream), 50), 0);
        stream.data[at] ^= 0x10;
        commit(&b);
        assert_true(b.db.digest == digest);
        assert_int_equal(pairs_in(&b, SK_CF_STAGED), 0);
        assert_int_equal(sk_vv_get(&b.db.vv, 1), 0);
        assert_int_equal(history_in(&b), 1);
    }
    assert_int_equal(import_all(&b, sk_buf_view(&stream), 50), 0); /* and then it does */
    settle_staged(&b);
}

/* Sound frames around what is not: no checksum finds that. */
static void lies_are_refused(void **state)
{
    (void)state;
    some_rows(&a);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    for (int lie = 0; lie < 7; lie++) {
        sk_stream_reader reader = {0};
        sk_stream_kind kind;
        sk_bytes body;
        sk_buf other = {0}, changed = {0};
        sk_stream_head head;
        sk_stream_end says;
        uint64_t sum;
        int frames = 0;
        sk_stream_begin(&other, &sum);
        sk_stream_feed(&reader, sk_buf_view(&stream));
        while (sk_stream_next(&reader, &kind, &body) > 0) {
            sk_buf_reset(&changed);
            sk_buf_bytes(&changed, body);
            if (kind == SK_STREAM_END) assert_int_equal(sk_stream_end_read(body, &says), 0);
            says.rows += lie == 0;
            says.history += lie == 1;
            says.digest += lie == 2;
            if (kind == SK_STREAM_END) {
                sk_buf_reset(&changed);
                sk_stream_end_pack(&changed, &says);
            }
            if (kind == SK_STREAM_HEAD && (lie == 3 || lie == 4)) {
                assert_int_equal(sk_stream_head_read(body, &head), 0);
                if (lie == 3) head.cluster = sk_bytes_str("elsewhere");
                if (lie == 4) sk_vv_set(&head.vv, 0, 1); /* rows are from after it */
                sk_buf_reset(&changed);
                sk_stream_head_pack(&changed, &head);
                sk_stream_head_free(&head);
            }
            if (!(kind == SK_STREAM_HEAD && lie == 5)) sk_stream_frame(&other, &sum, kind, sk_buf_view(&changed));
            if (kind == SK_STREAM_CHUNK && lie == 6) sk_stream_frame(&other, &sum, kind, sk_buf_view(&changed));
            frames++;
        }
        assert_true(frames > 2);
        assert_int_not_equal(import_all(&b, sk_buf_view(&other), 1000), 0);
        assert_int_equal(pairs_in(&b, SK_CF_STAGED), 0);
        commit(&b);
        assert_true(b.db.digest == 0);
        sk_stream_reader_free(&reader);
        sk_buf_free(&other);
        sk_buf_free(&changed);
    }
}

/* A stream from a later time of this very database: its dots are spent. */
static void a_stream_that_knows_more_of_us_is_told(void **state)
{
    (void)state;
    some_rows(&a);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    database old;
    database_start(&old, "a", 1);
    commit(&old);
    assert_int_equal(import_all(&old, sk_buf_view(&stream), 100), SK_E_PROTOCOL); /* what known_nowhere says */
    assert_int_equal(pairs_in(&old, SK_CF_STAGED), 0);
    database_end(&old);
}

static void what_a_crash_left_is_dropped(void **state)
{
    (void)state;
    int status;
    some_rows(&a);
    assert_int_equal(export_all(&a, 100, &stream), 0);
    sk_import *import = import_bytes(&b, sk_bytes_of(stream.data, stream.len - 1), 100, &status);
    assert_non_null(import);
    (void)sk_db_seal(&b.db);
    assert_int_equal(sk_memory_sync(b.store, UINT64_MAX), 0);
    assert_true(pairs_in(&b, SK_CF_STAGED) > 0);
    assert_int_equal(sk_store_reopen(b.store), 0);
    assert_int_equal(sk_db_reload(&b.db), 0);
    assert_int_equal(sk_import_drop_left(&b.db), 0);
    commit(&b);
    assert_int_equal(pairs_in(&b, SK_CF_STAGED), 0);
    assert_int_equal(history_in(&b), 0);
    sk_import_abort(import);
    commit(&b);
    assert_int_equal(sk_import_drop_left(&b.db), 0);
    assert_false(b.db.dirty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_database_becomes_the_same, open_and_commit_both, end),
        cmocka_unit_test_setup_teardown(what_both_have_is_merged, open_and_commit_both, end),
        cmocka_unit_test_setup_teardown(resets_are_brought, open_and_commit_both, end),
        cmocka_unit_test_setup_teardown(a_third_database_learns_of_it, open_and_commit_both, end),
        cmocka_unit_test_setup_teardown(nothing_of_a_cut_or_damaged_stream_counts, open_and_commit_both, end),
        cmocka_unit_test_setup_teardown(lies_are_refused, open_and_commit_both, end),
        cmocka_unit_test_setup_teardown(a_stream_that_knows_more_of_us_is_told, open_and_commit_both, end),
        cmocka_unit_test_setup_teardown(what_a_crash_left_is_dropped, open_and_commit_both, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
