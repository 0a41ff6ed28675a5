/* A database as a stream: whole, with siblings, dead counts and removals, of one moment. */
#include "tests/unit/export_harness.h"
#include "tests/unit/two_databases.h"

/* Frames of a stream that is sound. */
static int frames_of(sk_bytes stream, sk_stream_end *end)
{
    sk_stream_reader reader = {0};
    sk_stream_kind kind;
    sk_bytes body;
    int frames = 0, status;
    sk_stream_feed(&reader, stream);
    while ((status = sk_stream_next(&reader, &kind, &body)) > 0) {
        if (kind == SK_STREAM_END) assert_int_equal(sk_stream_end_read(body, end), 0);
        frames++;
    }
    assert_int_equal(status, 0);
    assert_true(reader.ended);
    sk_stream_reader_free(&reader);
    return frames;
}

static void an_export_ends_with_counts_and_digest(void **state)
{
    (void)state;
    sk_buf stream = {0}, again = {0};
    sk_stream_end says;
    char value[2000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        txn(&a, put(&a, SK_TABLE_KEY, key, NULL, value));
    }
    txn(&a, put(&a, SK_TABLE_HASH, "h", "f", "1"));
    txn(&a, take_away(&a, SK_TABLE_KEY, "k7", NULL));
    commit(&a);
    assert_int_equal(export_all(&a, 1000, &stream), 0);
    assert_true(frames_of(sk_buf_view(&stream), &says) > 6); /* rows in several */
    assert_int_equal(says.rows, 200);
    assert_true(says.digest == a.db.digest);
    assert_true(says.history >= 1); /* the removal */
    assert_int_equal(export_all(&a, 1 << 20, &again), 0);
    assert_true(sk_bytes_equal(sk_buf_view(&stream), sk_buf_view(&again)));
    sk_buf_free(&stream);
    sk_buf_free(&again);
}

static void an_export_is_of_one_moment(void **state)
{
    (void)state;
    sk_buf stream = {0};
    sk_stream_end says;
    sk_export *export;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    sk_digest digest = a.db.digest;
    assert_int_equal(sk_export_open(&a.db, "test", 1, &export), 0);
    assert_int_equal(sk_export_read(export, 10, &stream), 0);
    txn(&a, (put(&a, SK_TABLE_KEY, "x", NULL, "2"), put(&a, SK_TABLE_KEY, "y", NULL, "2")));
    commit(&a);
    for (size_t before = 0; before != stream.len;) {
        before = stream.len;
        assert_int_equal(sk_export_read(export, 10, &stream), 0);
    }
    sk_export_close(export);
    frames_of(sk_buf_view(&stream), &says);
    assert_true(says.digest == digest && says.rows == 1);
    sk_buf_free(&stream);
}

static void a_damaged_row_is_not_exported(void **state)
{
    (void)state;
    sk_buf stream = {0};
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "2"));
    commit(&a);
    sk_row_name x = row_name(&a, SK_TABLE_KEY, "x", NULL), y = row_name(&a, SK_TABLE_KEY, "y", NULL);
    sk_bytes good = stored_row(&a, x.raw), other = stored_row(&a, y.raw);
    const sk_bytes bad[] = {other, sk_bytes_of(good.data, good.len - 1)};
    for (int i = 0; i < 2; i++) {
        sk_store_put(a.store, SK_CF_ROW, x.raw, bad[i]);
        sk_store_seal(a.store);
        assert_int_equal(sk_memory_sync(a.store, UINT64_MAX), 0);
        sk_buf_reset(&stream);
        assert_int_equal(export_all(&a, 1000, &stream), SK_E_CORRUPT);
    }
    sk_store_put(a.store, SK_CF_ROW, x.raw, good);
    sk_buf_free(&stream);
}

static void nothing_is_exported_while_rows_are_folded_in(void **state)
{
    (void)state;
    sk_buf stream = {0};
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    transfer_all(&a, &b);
    assert_int_equal(export_all(&b, 100, &stream), SK_E_BUSY);
    commit(&b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    assert_int_equal(export_all(&b, 100, &stream), SK_E_BUSY); /* the end of it is not yet on the disk */
    commit(&b);
    assert_int_equal(export_all(&b, 100, &stream), 0);
    sk_buf_free(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_export_ends_with_counts_and_digest, open_and_commit_both, check_and_close_both),
        cmocka_unit_test_setup_teardown(an_export_is_of_one_moment, open_and_commit_both, check_and_close_both),
        cmocka_unit_test_setup_teardown(a_damaged_row_is_not_exported, open_and_commit_both, check_and_close_both),
        cmocka_unit_test_setup_teardown(nothing_is_exported_while_rows_are_folded_in, open_and_commit_both, check_and_close_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
