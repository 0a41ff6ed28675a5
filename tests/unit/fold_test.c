#include "tests/unit/two_databases.h"

static void a_transfer_becomes_visible_in_one_step(void **state)
{
    (void)state;
    some_rows(&a);
    transfer whole = transfer_start(&a, &b);
    while (transfer_chunk(&whole, 1)) {
        assert_int_equal(pairs_in(&b, SK_CF_ROW), 0);
        assert_int_equal(sk_vv_get(&b.db.vv, 1), 0);
    }
    assert_false(sk_fold_active(&b.db));
    assert_int_equal(sk_fold_end(&b.db), 0);
    transfer_stop(&whole);
    assert_true(sk_fold_active(&b.db));
    assert_int_equal(sk_vv_get(&b.db.vv, 1), 5);
    /* Policies at once, other rows when their key is touched. */
    assert_int_equal(sk_db_policy(&b.db, sk_bytes_str("p1")), SK_POLICY_NEWEST);
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "f"), "");
    assert_int_equal(sk_db_touch(&b.db, sk_bytes_str("h")), 0);
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "f"), "1:2 v 1");
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "h", NULL).fields, 2);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "x", NULL), "");
    settle_staged(&b);
    assert_false(sk_fold_active(&b.db));
    assert_true(a.db.digest == b.db.digest);
    assert_int_equal(b.db.keys, a.db.keys);
}

/* Whoever watches a key is not told of a row that comes again as it is here. */
static void what_is_here_already_changes_nothing(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    transfer whole = transfer_start(&a, &b);
    apply_last(&a, &b);
    assert_int_equal(b.changes, 1);
    transfer_finish(&whole);
    settle_staged(&b);
    assert_int_equal(b.changes, 1);
}

/* Large rows are not kept while they wait for their turn in a step. */
static void the_background_fold_goes_in_steps(void **state)
{
    (void)state;
    static char large[20000];
    memset(large, 'x', sizeof large - 1);
    some_rows(&a);
    txn(&a, put(&a, SK_TABLE_KEY, "large", NULL, large));
    commit(&a);
    transfer_all(&a, &b);
    int steps = 0, more;
    while ((more = sk_fold_step(&b.db, 1)) > 0) {
        steps++;
        commit(&b);
    }
    assert_int_equal(more, 0);
    assert_true(steps >= 5);
    assert_int_equal(sk_fold_step(&b.db, 1), 0);
    commit(&b);
    assert_true(a.db.digest == b.db.digest);
}

/* At each step of the fold the process dies, and goes on where the disk stood. */
static void a_crash_in_the_fold_folds_nothing_twice(void **state)
{
    (void)state;
    some_rows(&a);
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 3));
    commit(&b);
    transfer_all(&a, &b);
    commit(&b);
    for (int i = 0, more = 1; more > 0; i++) {
        more = sk_fold_step(&b.db, 1);
        if (i % 2) assert_int_equal(sk_db_touch(&b.db, sk_bytes_str("n")), 0);
        sk_db_seal(&b.db);
        sk_memory_crash(b.store, i % 3 ? UINT64_MAX : 0);
        assert_int_equal(sk_db_reload(&b.db), 0);
        assert_true(i < 40);
    }
    settle_staged(&b);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "n", NULL), "0:1 c 3 from 1, 1:4 c 5 from 4");
    transfer_all(&b, &a);
    settle_staged(&a);
    assert_true(a.db.digest == b.db.digest);
}

static void local_writes_go_on_while_it_is_staged_and_folded(void **state)
{
    (void)state;
    some_rows(&a);
    transfer whole = transfer_start(&a, &b);
    (void)transfer_chunk(&whole, 1);
    txn(&b, put(&b, SK_TABLE_KEY, "x", NULL, "staging"));
    (void)transfer_chunk(&whole, 1);
    transfer_finish(&whole);
    txn(&b, put(&b, SK_TABLE_HASH, "h", "f", "folding")); /* has seen a's, and replaces it */
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "f"), "0:2 v folding");
    settle_staged(&b);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "x", NULL), "0:1 v staging, 1:1 v 1");
    transfer_all(&b, &a);
    settle_staged(&a);
    assert_string_equal(text_of_row(&a, SK_TABLE_HASH, "h", "f"), "1:2 v folding");
    assert_true(a.db.digest == b.db.digest);
}

/* What a touch costs: walks over the store that it begins. */
static const sk_store_ops *plain_ops;
static unsigned walks;

static sk_store_iter *counted_iter(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes from, sk_bytes to, bool once)
{
    walks++;
    return plain_ops->iter(store, snapshot, cf, from, to, once);
}

static unsigned walks_of_touch(database *with, const char *key)
{
    sk_store_ops ops = *(plain_ops = with->store->ops);
    ops.iter = counted_iter;
    with->store->ops = &ops;
    walks = 0;
    assert_int_equal(sk_db_touch(&with->db, sk_bytes_str(key)), 0);
    with->store->ops = plain_ops;
    return walks;
}

/* A set that grows by live transactions while a transfer is folded in: were each to look for staged members, it would walk
 * over all that were folded before, and a node would be busy with nothing else. */
static void a_key_is_folded_once_however_often_it_is_touched(void **state)
{
    (void)state;
    some_rows(&a);
    transfer_all(&a, &b);
    assert_true(sk_fold_active(&b.db));
    assert_true(walks_of_touch(&b, "s") > 0);
    assert_string_equal(text_of_row(&b, SK_TABLE_SET, "s", "m"), "1:3 m");
    assert_int_equal(walks_of_touch(&b, "s"), 0);
    txn(&a, put(&a, SK_TABLE_SET, "s", "other", ""));
    apply_last(&a, &b);
    assert_int_equal(walks_of_touch(&b, "s"), 0);
    assert_true(walks_of_touch(&b, "none") > 0);
    assert_int_equal(walks_of_touch(&b, "none"), 0);
    settle_staged(&b);
    assert_true(a.db.digest == b.db.digest);
}

enum { LARGE_FIELDS = 20 };

static void large_hash(database *with, const char *value)
{
    char field[16];
    for (int i = 0; i < LARGE_FIELDS; i++) {
        snprintf(field, sizeof field, "f%02d", i);
        txn(with, put(with, SK_TABLE_HASH, "large", field, value));
    }
    commit(with);
}

/* Some of the key, then the disk stands there. 1: there is more of it. */
static int touch_three(database *with, const char *key, bool crash)
{
    uint32_t rows = 3;
    int more = sk_db_touch_some(&with->db, sk_bytes_str(key), &rows);
    commit(with);
    if (crash) sk_memory_crash(with->store, 0);
    if (crash) assert_int_equal(sk_db_reload(&with->db), 0);
    return more;
}

/* With a crash after each part, and the background fold in between: it goes through the same rows. */
static void a_large_key_is_brought_into_place_in_parts(void **state)
{
    (void)state;
    some_rows(&a);
    large_hash(&a, "1");
    txn(&a, put(&a, SK_TABLE_SET, "large", "m", ""));
    commit(&a);
    transfer_all(&a, &b);
    commit(&b);
    int parts = 1;
    for (uint32_t before = pairs_in(&b, SK_CF_ROW); touch_three(&b, "large", parts % 2); parts++) {
        uint32_t now = pairs_in(&b, SK_CF_ROW);
        assert_in_range(now - before, 1, 4); /* the key's own row comes with the first */
        if (parts == 3) assert_int_equal(sk_fold_step(&b.db, 2), 1);
        before = pairs_in(&b, SK_CF_ROW);
    }
    assert_in_range(parts, 7, 8);
    assert_int_equal(walks_of_touch(&b, "large"), 0);
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "large", NULL).fields, LARGE_FIELDS);
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "large", NULL).members, 1);
    txn(&b, put(&b, SK_TABLE_HASH, "large", "f00", "2")); /* of what is in place nothing is folded again */
    settle_staged(&b);
    transfer_all(&b, &a);
    settle_staged(&a);
    assert_true(a.db.digest == b.db.digest);
}

/* A part of the bytes, too. */
static void large_rows_count_as_several(void **state)
{
    (void)state;
    static char value[3 * 4096];
    memset(value, 'x', sizeof value - 1);
    large_hash(&a, value);
    transfer_all(&a, &b);
    commit(&b);
    uint32_t rows = 9;
    assert_int_equal(sk_db_touch_some(&b.db, sk_bytes_str("large"), &rows), 1);
    assert_int_equal(rows, 0);
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "large", NULL).fields, 3);
    settle_staged(&b);
}

/* In a transfer of everything a row that is not staged goes: which ones were folded already must be known otherwise. */
static void of_everything_no_part_is_folded_twice(void **state)
{
    (void)state;
    for (int background = 0; background < 2; background++) {
        begin_anew();
        large_hash(&a, "1");
        transfer_all(&a, &b);
        settle_staged(&b);
        txn(&a, take_away(&a, SK_TABLE_HASH, "large", "f05"));
        commit(&a);
        txn(&b, put(&b, SK_TABLE_HASH, "large", "own", "1"));
        commit(&b);
        sk_transfer_head head = {.vv = vv_across(&a, &b, &a.db.vv), .everything = true};
        sk_origin_map map = map_of(&a, &b);
        assert_int_equal(sk_fold_begin(&b.db, &head), 0);
        sk_buf chunk = {0};
        sk_store_iter *iter = sk_store_iterate(a.store, NULL, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
        sk_bytes key, value;
        while (sk_store_next(a.store, iter, &key, &value) > 0) {
            sk_row row;
            assert_int_equal(sk_db_row_read(&a.db, value, &a.arena, &row), 0);
            row.fields = row.members = 0;
            sk_buf packed = {0};
            sk_row_pack(&packed, &row, false);
            if (row.count) sk_chunk_add_row(&chunk, key, sk_buf_view(&packed));
            sk_buf_free(&packed);
        }
        sk_store_iter_free(a.store, iter);
        assert_int_equal(sk_fold_chunk(&b.db, sk_buf_view(&chunk), &map), 0);
        assert_int_equal(sk_fold_end(&b.db), 0);
        commit(&b);
        for (int parts = 0; parts < 3; parts++) assert_int_equal(touch_three(&b, "large", parts == 1), 1);
        while (!background && touch_three(&b, "large", false)) {}
        settle_staged(&b);
        assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "large", "f05"), "");
        assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "large", "f00"), "1:1 v 1");
        assert_int_equal(row_of(&b, SK_TABLE_KEY, "large", NULL).fields, LARGE_FIELDS);
        sk_buf_free(&chunk);
        sk_origin_map_free(&map);
        sk_vv_free(&head.vv);
    }
}

/* Of a reconcile: the history that came with it and that its sender had forgotten goes in steps, over a restart too. Until it is
 * gone nobody is sent anything from here: the floor is not yet where it belongs. */
static void what_the_sender_had_forgotten_goes_in_steps(void **state)
{
    (void)state;
    char key[16];
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "k%d", i);
        txn(&a, put(&a, SK_TABLE_KEY, key, NULL, "1"));
    }
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    commit(&a);
    transfer_all(&a, &b);
    int settling = 0, most = 0, before = (int)history_in(&b);
    assert_true(before >= 60);
    for (int i = 0; sk_fold_step(&b.db, 1) > 0; i++) {
        int now = (int)history_in(&b);
        if (before - now > most) most = before - now;
        before = now;
        commit(&b);
        if (pairs_in(&b, SK_CF_STAGED)) continue;
        if (settling++ == 0) continue;
        assert_true(sk_fold_active(&b.db));
        transfer early = transfer_start(&b, &a);
        assert_int_equal(early.begun, SK_E_BUSY);
        transfer_stop(&early);
        if (settling == 3) assert_int_equal(sk_db_reload(&b.db), 0);
        snprintf(key, sizeof key, "own%d", i);
        txn(&b, put(&b, SK_TABLE_KEY, key, NULL, "1"));
    }
    assert_true(settling > 3 && most > 0 && most < 30);
    commit(&b);
    assert_false(sk_fold_active(&b.db));
    assert_int_equal(sk_vv_get(&b.db.floor, 1), 60);
    assert_int_equal(sk_vv_get(&b.db.floor, 0), 0);
    assert_int_equal(history_in(&b), sk_vv_get(&b.db.vv, 0)); /* its own are kept */
    transfer_all(&b, &a);
    settle_staged(&a);
    assert_true(a.db.digest == b.db.digest);
}

/* A live transaction to a row that is not yet folded. */
static void a_live_transaction_folds_what_it_touches(void **state)
{
    (void)state;
    some_rows(&a);
    transfer_all(&a, &b);
    txn(&a, put(&a, SK_TABLE_HASH, "h", "f", "later"));
    apply_last(&a, &b);
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "f"), "1:6 v later");
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "g"), "1:2 v 2");
    settle_staged(&b);
    assert_true(a.db.digest == b.db.digest);
}

/* -- transfers of everything --------------------------------------------------------------------------------------- */

static void forget_all(database *with)
{
    sk_db_forget(&with->db, &with->db.vv, &with->db.vv);
    commit(with);
}

static void what_the_sender_has_not_goes(void **state)
{
    (void)state;
    some_rows(&a);
    transfer_all(&a, &b);
    settle_staged(&b);
    txn(&a, (take_away(&a, SK_TABLE_KEY, "x", NULL), take_away(&a, SK_TABLE_HASH, "h", "f")));
    forget_all(&a); /* nothing tells of the removals any more */
    txn(&b, put(&b, SK_TABLE_KEY, "own", NULL, "1"));
    commit(&b);
    transfer whole = transfer_start(&a, &b);
    assert_true(whole.head.reconcile);
    transfer_finish(&whole);
    txn(&b, put(&b, SK_TABLE_KEY, "new", NULL, "1")); /* touched early: it must not be folded again */
    settle_staged(&b);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "x", NULL), "");
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "f"), "");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "own", NULL), "0:1 v 1");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "new", NULL), "0:2 v 1");
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "h", NULL).fields, 1);
    assert_true(sk_vv_get(&b.db.floor, 1) == 6); /* it cannot tell of them either */
}

/* The row was staged, then removed at the sender; what is resumed must take it away again. */
static void a_row_that_went_between_two_attempts_is_not_kept(void **state)
{
    (void)state;
    some_rows(&a);
    forget_all(&a);
    transfer first = transfer_start(&a, &b);
    assert_true(first.head.reconcile);
    (void)transfer_chunk(&first, 1); /* the first row, in order: h f */
    transfer_stop(&first);
    commit(&b);
    txn(&a, take_away(&a, SK_TABLE_HASH, "h", "f"));
    commit(&a);
    transfer second = transfer_start(&a, &b);
    assert_int_equal(second.begun, 0);
    assert_true(second.head.reconcile && second.head.resumed);
    transfer_finish(&second);
    settle_staged(&b);
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "f"), "");
    assert_true(a.db.digest == b.db.digest);
}

static void a_transfer_resumes_where_it_stood(void **state)
{
    (void)state;
    some_rows(&a);
    transfer first = transfer_start(&a, &b);
    (void)transfer_chunk(&first, 1);
    (void)transfer_chunk(&first, 1);
    transfer_stop(&first);
    commit(&b);
    sk_memory_crash(b.store, 0);
    assert_int_equal(sk_db_reload(&b.db), 0);
    txn(&a, put(&a, SK_TABLE_HASH, "h", "f", "since"));
    commit(&a);
    sk_transfer_progress progress = {0};
    assert_int_equal(sk_fold_progress(&b.db, &progress), 1);
    assert_bytes_equal(sk_buf_view(&progress.cursor), sk_bytes_of("hh\0\1g", 5));
    sk_vv_free(&progress.vv);
    sk_buf_free(&progress.cursor);
    transfer second = transfer_start(&a, &b);
    assert_true(second.head.resumed);
    transfer_finish(&second);
    settle_staged(&b);
    assert_string_equal(text_of_row(&b, SK_TABLE_HASH, "h", "f"), "1:6 v since");
    assert_true(a.db.digest == b.db.digest);
}

static uint64_t staged_at(void)
{
    sk_transfer_progress progress = {0};
    assert_int_equal(sk_fold_progress(&b.db, &progress), 1);
    uint64_t seq = sk_vv_get(&progress.vv, 1);
    sk_vv_free(&progress.vv);
    sk_buf_free(&progress.cursor);
    return seq;
}

/* What is staged counts as brought forward once a row beyond the cursor has come; then it is not sent again. */
static void what_was_brought_forward_need_not_be_again(void **state)
{
    (void)state;
    some_rows(&a);
    transfer first = transfer_start(&a, &b);
    (void)transfer_chunk(&first, 1);
    (void)transfer_chunk(&first, 1); /* h f, h g */
    transfer_stop(&first);
    assert_int_equal(staged_at(), 5);
    txn(&a, put(&a, SK_TABLE_HASH, "h", "f", "since"));
    txn(&a, put(&a, SK_TABLE_HASH, "h", "g", "since"));
    commit(&a);
    transfer second = transfer_start(&a, &b);
    (void)transfer_chunk(&second, 1); /* h f again */
    assert_int_equal(staged_at(), 5);
    (void)transfer_chunk(&second, 1); /* h g again */
    assert_int_equal(staged_at(), 5);
    (void)transfer_chunk(&second, 1); /* the first one beyond */
    assert_int_equal(staged_at(), 7);
    transfer_stop(&second);
    transfer third = transfer_start(&a, &b);
    assert_true(third.head.resumed);
    transfer_finish(&third);
    settle_staged(&b);
    assert_true(a.db.digest == b.db.digest);
}

/* A write that the sender has forgotten since the first attempt, because everybody has it: it must be in what is
 * resumed, or the stale staged row would say that the sender removed it. */
static void what_was_forgotten_between_two_attempts_is_not_lost(void **state)
{
    (void)state;
    database c;
    database_start(&c, "c", 3);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "of a"));
    commit(&a);
    transfer first = transfer_start(&a, &b);
    (void)transfer_chunk(&first, 1);
    transfer_stop(&first);
    commit(&b);
    txn(&c, put(&c, SK_TABLE_KEY, "x", NULL, "of c"));
    apply_last(&c, &a);
    apply_last(&c, &b);
    sk_vv stable = vv_across(&c, &a, &c.db.vv); /* that all three have */
    sk_db_forget(&a.db, &stable, &stable);
    sk_vv_free(&stable);
    commit(&a);
    transfer second = transfer_start(&a, &b);
    assert_int_equal(second.begun, 0);
    transfer_finish(&second);
    settle_staged(&b);
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "x", NULL).count, 2);
    assert_true(a.db.digest == b.db.digest);
    database_end(&c);
}

/* What is staged is ahead of this sender: it cannot be brought forward from here. */
static void what_is_staged_of_a_later_vector_is_dropped(void **state)
{
    (void)state;
    some_rows(&a);
    transfer first = transfer_start(&a, &b);
    (void)transfer_chunk(&first, 1);
    sk_transfer_head earlier = {.resumed = true};
    assert_int_equal(sk_fold_begin(&b.db, &earlier), SK_E_GAP);
    assert_int_equal(pairs_in(&b, SK_CF_STAGED), 0);
    sk_transfer_progress progress = {0};
    assert_int_equal(sk_fold_progress(&b.db, &progress), 0);
    assert_int_equal(sk_fold_chunk(&b.db, SK_BYTES_NONE, NULL), SK_E_GAP);
    assert_int_equal(sk_fold_end(&b.db), SK_E_GAP);
    transfer_stop(&first);
}

static void one_at_a_time(void **state)
{
    (void)state;
    some_rows(&a);
    transfer_all(&a, &b);
    transfer second = transfer_start(&a, &b);
    assert_int_equal(second.begun, SK_E_BUSY);
    transfer_stop(&second);
    transfer back = transfer_start(&b, &a); /* rows that are not in place are not passed on */
    assert_int_equal(back.begun, SK_E_BUSY);
    transfer_stop(&back);
    settle_staged(&b);
}

/* -- dead counts --------------------------------------------------------------------------------------------------- */

/* The sender's copy of a dead count comes after ours was forgotten: it must not stay, nobody would strip it again. */
static void a_dead_count_that_we_forgot_does_not_come_back(void **state)
{
    (void)state;
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&a, &b);
    txn(&b, take_away(&b, SK_TABLE_KEY, "n", NULL));
    apply_last(&b, &a); /* dead at both: a's own share, taken away by b */
    txn(&a, put(&a, SK_TABLE_HASH, "n", "f", "1"));
    txn(&a, expire(&a, "n", 500)); /* the row changes: it is sent */
    commit(&a);
    commit(&b);
    transfer whole = transfer_start(&a, &b);
    while (transfer_chunk(&whole, 1)) {}
    sk_vv stable = vv_of(1, 1, 0); /* the reset (0:1 here) and the addition */
    sk_db_forget(&b.db, &stable, &stable);
    sk_vv_free(&stable);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "n", NULL), "");
    assert_int_equal(sk_fold_end(&b.db), 0);
    transfer_stop(&whole);
    settle_staged(&b);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "n", NULL), "1:3 d 500");
}

/* -- damaged chunks ------------------------------------------------------------------------------------------------ */

static void row_record(sk_buf *buf, const char *raw, const sk_row *row)
{
    sk_buf packed = {0};
    sk_row_pack(&packed, row, true);
    sk_chunk_add_row(buf, sk_bytes_str(raw), sk_buf_view(&packed));
    sk_buf_free(&packed);
}

static void history_record(sk_buf *buf, const char *raw, uint32_t origin, uint64_t seq, unsigned flags)
{
    sk_chunk_add_history(buf, (sk_dot){origin, seq}, sk_bytes_str(raw), flags);
}

static void begin_up_to(uint64_t seq)
{
    uint32_t number;
    assert_int_equal(sk_db_intern(&b.db, sk_bytes_str("a"), 1, &number), 0);
    sk_transfer_head head = {.vv = vv_of(0, seq, 0)};
    assert_int_equal(sk_fold_begin(&b.db, &head), 0);
    sk_vv_free(&head.vv);
}

static void refused(sk_buf *chunk, int status)
{
    assert_int_equal(sk_fold_chunk(&b.db, sk_buf_view(chunk), NULL), status);
    assert_int_equal(pairs_in(&b, SK_CF_STAGED), 0);
    assert_int_equal(history_in(&b), 0);
    assert_int_equal(b.db.failed, 0);
    sk_buf_reset(chunk);
}

static void damaged_chunks_keep_nothing(void **state)
{
    (void)state;
    const sk_row good = ROW_OF(value_of(1, 3, "v")), beyond = ROW_OF(value_of(1, 4, "v")), sized = {.fields = 1};
    sk_row reset_beyond = ROW_OF(count_since(count_entry(1, 2, 2, 1), 2, 1));
    reset_beyond.entries[0].count.reset_by = (sk_dot){1, 4};
    sk_buf chunk = {0};
    begin_up_to(3);
    /* Each after a sound record, of which nothing may stay. */
#define BAD(record, status)                                                                                            \
    row_record(&chunk, "kx", &good);                                                                                   \
    record;                                                                                                            \
    refused(&chunk, status)
    BAD(row_record(&chunk, "ky", &beyond), SK_E_PROTOCOL);
    BAD(row_record(&chunk, "ky", &reset_beyond), SK_E_PROTOCOL);
    BAD(row_record(&chunk, "ky", &sized), SK_E_MALFORMED);
    BAD(row_record(&chunk, "no table", &good), SK_E_MALFORMED);
    BAD(row_record(&chunk, "", &good), SK_E_MALFORMED);
    BAD(history_record(&chunk, "ky", 1, 4, SK_HISTORY_REMOVES), SK_E_PROTOCOL);
    BAD(history_record(&chunk, "ky", 1, 0, SK_HISTORY_REMOVES), SK_E_MALFORMED);
    BAD(history_record(&chunk, "ky", 1, 3, 4), SK_E_MALFORMED);
    BAD(history_record(&chunk, "no table", 1, 3, SK_HISTORY_DEAD), SK_E_MALFORMED);
    BAD(history_record(&chunk, "", 1, 3, SK_HISTORY_DEAD), SK_E_MALFORMED);
    BAD(sk_pack_uint(&chunk, 7), SK_E_MALFORMED);
#undef BAD
    row_record(&chunk, "kx", &good);
    for (size_t cut = 1; cut < chunk.len; cut++)
        assert_int_equal(sk_fold_chunk(&b.db, sk_bytes_of(chunk.data, cut), NULL), SK_E_MALFORMED);
    sk_buf_free(&chunk);
}

static void a_floor_above_the_vector_is_refused(void **state)
{
    (void)state;
    sk_transfer_head head = {.vv = vv_of(0, 3, 0), .floor = vv_of(0, 4, 0), .reconcile = true};
    assert_int_equal(sk_fold_begin(&b.db, &head), SK_E_PROTOCOL);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

/* What we applied ourselves tells what it left here; the sender's flags must not stand over it. */
static void our_own_history_stays(void **state)
{
    (void)state;
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&a, &b);
    txn(&b, take_away(&b, SK_TABLE_KEY, "n", NULL)); /* leaves a dead count */
    sk_buf chunk = {0};
    begin_up_to(3);
    sk_transfer_head head = {.vv = vv_of(1, 3, 0)};
    assert_int_equal(sk_fold_begin(&b.db, &head), 0);
    history_record(&chunk, "kn", 0, 1, SK_HISTORY_REMOVES); /* the same removal, that left none there */
    assert_int_equal(sk_fold_chunk(&b.db, sk_buf_view(&chunk), NULL), 0);
    sk_vv stable = vv_of(1, 1, 0);
    sk_db_forget(&b.db, &stable, &stable);
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "n", NULL), "");
    sk_vv_free(&stable);
    sk_vv_free(&head.vv);
    sk_buf_free(&chunk);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_and_commit_both, check_and_close_both)
    const struct CMUnitTest tests[] = {
        TEST(a_transfer_becomes_visible_in_one_step),
        TEST(what_is_here_already_changes_nothing),
        TEST(the_background_fold_goes_in_steps),
        TEST(a_crash_in_the_fold_folds_nothing_twice),
        TEST(local_writes_go_on_while_it_is_staged_and_folded),
        TEST(a_key_is_folded_once_however_often_it_is_touched),
        TEST(a_large_key_is_brought_into_place_in_parts),
        TEST(large_rows_count_as_several),
        TEST(of_everything_no_part_is_folded_twice),
        TEST(what_the_sender_had_forgotten_goes_in_steps),
        TEST(a_live_transaction_folds_what_it_touches),
        TEST(what_the_sender_has_not_goes),
        TEST(a_row_that_went_between_two_attempts_is_not_kept),
        TEST(a_transfer_resumes_where_it_stood),
        TEST(what_was_brought_forward_need_not_be_again),
        TEST(what_was_forgotten_between_two_attempts_is_not_lost),
        TEST(what_is_staged_of_a_later_vector_is_dropped),
        TEST(one_at_a_time),
        TEST(a_dead_count_that_we_forgot_does_not_come_back),
        TEST(damaged_chunks_keep_nothing),
        TEST(a_floor_above_the_vector_is_refused),
        TEST(our_own_history_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
