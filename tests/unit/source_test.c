#define SK_SOURCE_LOT_MAX 4 /* lots that fill up */
#include "node/source.c"

#include "tests/unit/two_databases.h"

/* What a source sends, as text: "+" and key of a row, "-" of an empty one, "!" of a history record. */
static const char *sent(const sk_vv *known, const sk_transfer_progress *progress, size_t max, sk_transfer_head *head)
{
    static sk_buf text;
    sk_buf rows = {0};
    sk_source *source;
    sk_transfer_head own = {0};
    if (!head) head = &own;
    assert_int_equal(sk_source_open(&a.db, known, progress, &source, head), 0);
    int more;
    do {
        size_t before = rows.len;
        sk_buf chunk = {0};
        more = sk_source_chunk(&a.db, source, max, &chunk);
        assert_true(more >= 0);
        assert_true(chunk.len < max + 60); /* about */
        sk_buf_bytes(&rows, sk_buf_view(&chunk));
        assert_true(!more || rows.len > before || max > 1);
        sk_buf_free(&chunk);
    } while (more);
    sk_source_close(&a.db, source);
    sk_reader reader = sk_reader_of(sk_buf_view(&rows));
    sk_buf_reset(&text);
    while (sk_reader_left(&reader)) {
        uint64_t kind = sk_read_uint(&reader);
        sk_bytes raw = sk_read_bytes(&reader);
        char sign = '!';
        if (kind == SK_CHUNK_ROW) sign = sk_read_bytes(&reader).len ? '+' : '-';
        for (int i = 0; kind == SK_CHUNK_HISTORY && i < 3; i++) (void)sk_read_uint(&reader);
        sk_buf_printf(&text, "%c%.*s ", sign, (int)raw.len, (const char *)raw.data);
    }
    assert_true(sk_reader_done(&reader));
    sk_buf_byte(&text, 0);
    sk_vv_free(&own.vv);
    sk_vv_free(&own.floor);
    sk_buf_free(&rows);
    return (const char *)text.data;
}

static void keys(int from, int to)
{
    char key[8];
    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "%c", 'a' + i);
        txn(&a, put(&a, SK_TABLE_KEY, key, NULL, "v"));
    }
}

static void rows_that_changed_come_once_and_in_order(void **state)
{
    (void)state;
    keys(0, 11);
    keys(2, 5);
    keys(2, 5);
    commit(&a);
    sk_vv none = {0}, known = vv_of(9, 0, 0);
    for (size_t max = 1; max < 200; max += 33) {
        assert_string_equal(sent(&none, NULL, max, NULL), "+ka +kb +kc +kd +ke +kf +kg +kh +ki +kj +kk ");
        assert_string_equal(sent(&known, NULL, max, NULL), "+kc +kd +ke +kj +kk ");
    }
    sk_vv_free(&known);
    known = vv_of(17, 0, 0);
    assert_string_equal(sent(&known, NULL, 100, NULL), "");
    sk_vv_free(&known);
}

/* No chunk takes longer for how long the history is: those that find nothing are empty. */
static void a_long_history_is_read_in_steps(void **state)
{
    (void)state;
    sk_vv none = {0};
    sk_source *source;
    sk_transfer_head head = {0};
    for (int i = 0; i < 12; i++) {
        keys(i, i + 1);
        commit(&a);
    }
    assert_string_equal(sent(&none, NULL, 1000, NULL), "+ka +kb +kc +kd +ke +kf +kg +kh +ki +kj +kk +kl ");
    assert_int_equal(sk_source_open(&a.db, &none, NULL, &source, &head), 0);
    int empty = 0, more = 1;
    for (int chunks = 0; more && chunks < 1000; chunks++) {
        sk_buf chunk = {0};
        more = sk_source_chunk(&a.db, source, 1000, &chunk);
        empty += chunk.len == 0;
        sk_buf_free(&chunk);
    }
    assert_int_equal(more, 0);
    assert_true(empty >= 3 * 12); /* once through all of it for each lot, and for removals */
    sk_source_close(&a.db, source);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

/* Rows in all and gone through are known once the sums are; what was sent is known always. */
static void how_far_it_has_come_is_told(void **state)
{
    (void)state;
    keys(0, 20);
    commit(&a);
    sk_vv none = {0};
    sk_source *source;
    sk_transfer_head head = {0};
    assert_int_equal(sk_source_open(&a.db, &none, NULL, &source, &head), 0);
    sk_sums_reset(&a.db.sums); /* as after a start */
    assert_int_equal(sk_source_counts(&a.db, source).rows, 0);
    while (sk_sums_pending(&a.db.sums)) assert_true(sk_sums_step(&a.db, 10) >= 0);
    uint64_t before = 0, middle = 0;
    for (int more = 1; more;) {
        sk_buf chunk = {0};
        more = sk_source_chunk(&a.db, source, 1, &chunk);
        sk_transfer_counts counts = sk_source_counts(&a.db, source);
        assert_int_equal(counts.rows, 20);
        assert_true(counts.done >= before && counts.done <= 20);
        middle += counts.done > 0 && counts.done < 20;
        before = counts.done;
        sk_buf_free(&chunk);
    }
    assert_true(middle > 3);
    assert_int_equal(before, 20);
    assert_int_equal(sk_source_counts(&a.db, source).sent, 20);
    sk_source_close(&a.db, source);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

static void removals_come_as_empty_rows_and_as_history(void **state)
{
    (void)state;
    keys(0, 3);
    txn(&a, take_away(&a, SK_TABLE_KEY, "b", NULL));
    txn(&a, take_away(&a, SK_TABLE_KEY, "c", NULL));
    txn(&a, put(&a, SK_TABLE_KEY, "c", NULL, "again"));
    commit(&a);
    sk_vv none = {0}, known = vv_of(4, 0, 0);
    for (size_t max = 1; max < 100; max += 20) {
        assert_string_equal(sent(&none, NULL, max, NULL), "+ka -kb +kc !kb !kc ");
        assert_string_equal(sent(&known, NULL, max, NULL), "+kc !kc ");
    }
    sk_vv_free(&known);
}

static void below_the_floor_what_is_not_known_comes(void **state)
{
    (void)state;
    keys(0, 9);
    txn(&a, take_away(&a, SK_TABLE_KEY, "b", NULL));
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    txn(&a, take_away(&a, SK_TABLE_KEY, "c", NULL));
    commit(&a);
    sk_vv none = {0}, at_floor = vv_of(10, 0, 0);
    sk_transfer_head head = {0};
    assert_string_equal(sent(&none, NULL, 50, &head), "+ka -kc +kd +ke +kf +kg +kh +ki !kc ");
    assert_true(head.reconcile);
    assert_false(head.resumed);
    assert_int_equal(sk_vv_get(&head.floor, 0), 10);
    assert_int_equal(sk_vv_get(&head.vv, 0), 11);
    assert_string_equal(sent(&at_floor, NULL, 50, &head), "-kc !kc ");
    assert_false(head.reconcile);
    sk_vv_free(&at_floor);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

/* What the peer has staged and what changed of it since, then the rest. */
static void a_resumed_one_brings_forward_what_is_staged(void **state)
{
    (void)state;
    keys(0, 11);
    txn(&a, take_away(&a, SK_TABLE_KEY, "b", NULL));
    keys(2, 3);
    keys(9, 10);
    commit(&a);
    sk_vv none = {0};
    sk_transfer_progress progress = {.vv = vv_of(11, 0, 0)};
    sk_transfer_head head = {0};
    sk_buf_bytes(&progress.cursor, sk_bytes_str("kg"));
    assert_string_equal(sent(&none, &progress, 20, &head), "-kb +kc +kh +ki +kj +kk !kb ");
    assert_true(head.resumed);
    sk_buf_reset(&progress.cursor); /* nothing was staged yet */
    assert_string_equal(sent(&none, &progress, 20, &head), "+ka -kb +kc +kd +ke +kf +kg +kh +ki +kj +kk !kb ");
    /* A later vector than ours, or another kind of transfer: from the beginning. */
    progress.reconcile = true;
    (void)sent(&none, &progress, 20, &head);
    assert_false(head.resumed);
    progress.reconcile = false;
    sk_vv_set(&progress.vv, 0, 15);
    (void)sent(&none, &progress, 20, &head);
    assert_false(head.resumed);
    sk_vv_free(&progress.vv);
    sk_buf_free(&progress.cursor);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

static void a_resumed_reconcile_tells_of_rows_that_went(void **state)
{
    (void)state;
    keys(0, 5);
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    txn(&a, take_away(&a, SK_TABLE_KEY, "b", NULL));
    txn(&a, take_away(&a, SK_TABLE_KEY, "d", NULL));
    commit(&a);
    sk_vv none = {0};
    sk_transfer_progress progress = {.vv = vv_of(5, 0, 0), .reconcile = true};
    sk_buf_bytes(&progress.cursor, sk_bytes_str("kc"));
    assert_string_equal(sent(&none, &progress, 20, NULL), "-kb -kd +ke !kb !kd ");
    sk_vv_free(&progress.vv);
    sk_buf_free(&progress.cursor);
}

static void it_reads_what_was_committed_when_it_began(void **state)
{
    (void)state;
    keys(0, 2);
    commit(&a);
    keys(2, 3);
    (void)sk_db_seal(&a.db);
    sk_vv none = {0};
    sk_source *source;
    sk_transfer_head head = {0};
    sk_buf rows = {0};
    assert_int_equal(sk_source_open(&a.db, &none, NULL, &source, &head), 0);
    assert_int_equal(sk_vv_get(&head.vv, 0), 2);
    commit(&a);
    keys(0, 9);
    commit(&a);
    assert_int_equal(sk_source_chunk(&a.db, source, 1000, &rows), 0);
    assert_non_null(memmem(rows.data, rows.len, "kb", 2));
    assert_null(memmem(rows.data, rows.len, "kc", 2));
    sk_source_close(&a.db, source);
    sk_buf_free(&rows);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

/* In memory the fold has ended, on disk it has not: that snapshot's rows are not what its vector says. */
static void a_snapshot_from_the_middle_of_a_fold_is_not_sent(void **state)
{
    (void)state;
    txn(&b, put(&b, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&b);
    transfer_all(&b, &a);
    commit(&a);
    assert_int_equal(sk_db_touch_all(&a.db), 0);
    (void)sk_db_seal(&a.db);
    assert_false(sk_fold_active(&a.db));
    sk_vv none = {0};
    sk_source *source;
    sk_transfer_head head = {0};
    assert_int_equal(sk_source_open(&a.db, &none, NULL, &source, &head), SK_E_BUSY);
    commit(&a);
    assert_string_equal(sent(&none, NULL, 100, NULL), "+kx ");
}

/* A row written over and over fills the lot with the same key: it takes the memory of one lot. */
static void repeated_keys_take_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) txn(&a, put(&a, SK_TABLE_KEY, "a key of some length, written again", NULL, "v"));
    commit(&a);
    sk_vv none = {0};
    sk_source *source;
    sk_transfer_head head = {0};
    sk_buf rows = {0};
    assert_int_equal(sk_source_open(&a.db, &none, NULL, &source, &head), 0);
    assert_int_equal(sk_source_chunk(&a.db, source, 10, &rows), 1);
    assert_true(source->arena.used < 1000);
    sk_source_close(&a.db, source);
    sk_buf_free(&rows);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_and_commit_both, close_both)
    const struct CMUnitTest tests[] = {
        TEST(rows_that_changed_come_once_and_in_order),
        TEST(a_long_history_is_read_in_steps),
        TEST(how_far_it_has_come_is_told),
        TEST(removals_come_as_empty_rows_and_as_history),
        TEST(below_the_floor_what_is_not_known_comes),
        TEST(a_resumed_one_brings_forward_what_is_staged),
        TEST(a_resumed_reconcile_tells_of_rows_that_went),
        TEST(it_reads_what_was_committed_when_it_began),
        TEST(a_snapshot_from_the_middle_of_a_fold_is_not_sent),
        TEST(repeated_keys_take_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
