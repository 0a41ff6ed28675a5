/* a has forgotten; b is an older copy of it, or has gone its own way since. */
#include "node/compare.c"

#include "tests/unit/two_databases.h"

static int start(void **state)
{
    open_both(state);
    a.db.sums.leaf_rows = b.db.sums.leaf_rows = 16;
    commit(&a);
    commit(&b);
    return 0;
}

static void settle_all(database *with)
{
    assert_int_equal(sk_db_touch_all(&with->db), 0);
    while (sk_sums_step(&with->db, 100) > 0) {}
    commit(with);
    assert_int_equal(pairs_in(with, SK_CF_STAGED), 0);
}

static const char *key_of(int i)
{
    static char key[24];
    snprintf(key, sizeof key, "user:%06d", i);
    return key;
}

static void write_to(database *with, int from, int to, const char *value)
{
    for (int i = from; i < to; i++) txn(with, put(with, SK_TABLE_KEY, key_of(i), NULL, value));
}

static void remove_from(database *with, int i)
{
    txn(with, take_away(with, SK_TABLE_KEY, key_of(i), NULL));
}

static void forget_all(database *with)
{
    sk_db_forget(&with->db, &with->db.vv, &with->db.vv);
    settle_all(with);
}

/* Both have `count` rows, and a's history is gone. */
static void alike(int count)
{
    write_to(&a, 0, count, "value");
    settle_all(&a);
    transfer_all(&a, &b);
    settle_all(&b);
    forget_all(&a);
}

typedef struct {
    uint32_t questions, wanted;
    size_t pushed, asked; /* bytes */
    uint32_t staged;      /* rows */
} cost;

/* b reconciles from a. */
static cost reconcile(void)
{
    cost took = {0};
    transfer whole = transfer_start(&a, &b);
    assert_int_equal(whole.begun, 0);
    assert_true(whole.head.reconcile);
    int more;
    sk_origin_map map = map_of(&a, &b);
    do {
        sk_buf rows = {0};
        more = sk_source_chunk(&a.db, whole.source, 100, &rows);
        assert_true(more >= 0);
        assert_int_equal(sk_fold_chunk(&b.db, sk_buf_view(&rows), &map), 0);
        took.pushed += rows.len;
        sk_buf_free(&rows);
    } while (more);
    dialogue talk = {.from = &a.db, .to = &b.db, .source = whole.source, .map = &map};
    dialogue_run(&talk);
    took.questions = talk.questions;
    took.wanted = talk.wanted;
    took.asked = talk.bytes;
    took.staged = pairs_in(&b, SK_CF_STAGED);
    assert_int_equal(sk_fold_end(&b.db), 0);
    transfer_stop(&whole);
    sk_origin_map_free(&map);
    settle_all(&b);
    return took;
}

/* A write of a's that is gone again, and forgotten: all that b lacks of a is a number. */
static void a_moves_on(void)
{
    txn(&a, put(&a, SK_TABLE_KEY, "gone", NULL, "1"));
    txn(&a, take_away(&a, SK_TABLE_KEY, "gone", NULL));
    forget_all(&a);
}

static void equal_databases_cost_next_to_nothing(void **state)
{
    (void)state;
    alike(3000);
    a_moves_on();
    cost took = reconcile();
    assert_int_equal(took.pushed, 0);
    assert_int_equal(took.questions, 0);
    assert_int_equal(took.staged, 0);
    assert_true(a.db.digest == b.db.digest);
    assert_true(sk_vv_equal(&b.db.floor, &b.db.vv) || sk_vv_get(&b.db.floor, 1) == sk_vv_get(&b.db.vv, 1));
}

static void what_is_new_is_pushed_and_nothing_is_asked(void **state)
{
    (void)state;
    alike(1000);
    for (int i = 0; i < 1000; i += 20) write_to(&a, i, i + 1, "newer"); /* 50, of which a forgets that they are new */
    forget_all(&a);
    cost took = reconcile();
    assert_int_equal(took.staged, 50);
    assert_int_equal(took.questions, 0);
    assert_true(a.db.digest == b.db.digest);
}

static void what_was_removed_and_forgotten_is_found(void **state)
{
    (void)state;
    alike(1000);
    remove_from(&a, 0);
    remove_from(&a, 999);
    for (int i = 7; i < 1000; i += 100) remove_from(&a, i);
    forget_all(&a);
    cost took = reconcile();
    assert_int_equal(took.pushed, 0);
    assert_int_equal(took.wanted, 0);
    assert_int_equal(took.staged, 12); /* as absent */
    assert_true(took.questions > 12);
    assert_int_equal(b.db.keys, 988);
    assert_true(a.db.digest == b.db.digest);
}

static void a_whole_range_that_was_removed_is_found(void **state)
{
    (void)state;
    alike(600);
    for (int i = 100; i < 600; i++) remove_from(&a, i);
    forget_all(&a);
    cost took = reconcile();
    assert_int_equal(took.staged, 500);
    assert_true(a.db.digest == b.db.digest);
    for (int i = 0; i < 100; i++) remove_from(&a, i); /* and nothing is left */
    forget_all(&a);
    took = reconcile();
    assert_int_equal(took.questions, 0);
    assert_int_equal(b.db.keys, 0);
}

/* Concurrent values stand beside each other in b's copy; a has removed one of them, and the other is not news. */
static void a_row_that_lost_an_entry_comes_whole(void **state)
{
    (void)state;
    database c;
    database_start(&c, "c", 3);
    write_to(&a, 0, 100, "value");
    write_to(&c, 50, 51, "other");
    apply_last(&c, &a);
    settle_all(&a);
    transfer_all(&a, &b);
    settle_all(&b);
    assert_int_equal(row_of(&b, SK_TABLE_KEY, key_of(50), NULL).count, 2);
    sk_removed gone = {{0, 51}, SK_CLASS_CONTENT}; /* a's own */
    sk_op op = {.removed = &gone, .removed_count = 1};
    sk_db_begin(&a.db);
    change(&a, SK_TABLE_KEY, key_of(50), NULL, &op);
    sk_db_commit(&a.db);
    forget_all(&a);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, key_of(50), NULL).count, 1);
    cost took = reconcile();
    assert_int_equal(took.pushed, 0);
    assert_int_equal(took.wanted, 1);
    assert_true(a.db.digest == b.db.digest);
    database_end(&c);
}

static void what_the_receiver_wrote_stays(void **state)
{
    (void)state;
    alike(500);
    write_to(&b, 490, 520, "mine"); /* over a's, and new ones */
    for (int i = 0; i < 500; i += 50) remove_from(&b, i);
    txn(&b, put(&b, SK_TABLE_HASH, "h", "f", "1"));
    commit(&b);
    write_to(&a, 495, 496, "theirs");
    remove_from(&a, 100);
    remove_from(&a, 101);
    forget_all(&a);
    cost took = reconcile();
    assert_int_equal(took.wanted, 0); /* what b has removed or overwritten need not come again */
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, key_of(490), NULL), "0:1 v mine");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, key_of(495), NULL), "0:6 v mine, 1:501 v theirs");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, key_of(519), NULL), "0:30 v mine");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, key_of(50), NULL), "");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, key_of(101), NULL), "");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, key_of(102), NULL), "1:103 v value");
    transfer_all(&b, &a);
    settle_all(&a);
    assert_true(a.db.digest == b.db.digest);
}

/* Counts go on in both; a knows of a reset that b has not seen, and that is forgotten. */
static void a_forgotten_reset_reaches_a_count_that_went_on(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) txn(&a, add(&a, SK_TABLE_KEY, key_of(i), NULL, 5));
    commit(&a);
    transfer_all(&a, &b);
    settle_all(&b);
    for (int i = 0; i < 40; i += 3) {
        txn(&b, add(&b, SK_TABLE_KEY, key_of(i), NULL, 2)); /* b's own, which a does not know */
        remove_from(&a, i);
        txn(&a, add(&a, SK_TABLE_KEY, key_of(i), NULL, 1));
    }
    commit(&b);
    forget_all(&a);
    (void)reconcile();
    transfer_all(&b, &a);
    settle_all(&a);
    assert_true(a.db.digest == b.db.digest);
}

/* The count of b goes on at b; a, which has less of it, knows of a reset that took back its beginning. */
static void a_later_base_comes_to_a_count_that_is_ahead(void **state)
{
    (void)state;
    write_to(&a, 0, 50, "v");
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL));
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 2));
    apply_last(&b, &a);
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 1));
    commit(&b);
    forget_all(&a);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "1:2 c 7-5@1 from 1");
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "n", NULL), "0:3 c 8 from 1");
    (void)reconcile();
    assert_string_equal(text_of_row(&b, SK_TABLE_KEY, "n", NULL), "0:3 c 8-5@1 from 1");
    transfer_all(&b, &a);
    settle_all(&a);
    assert_true(a.db.digest == b.db.digest);
}

/* The sums that the sender keeps move on; what it tells is of the snapshot. */
static void the_sender_tells_of_its_snapshot(void **state)
{
    (void)state;
    alike(400);
    for (int i = 0; i < 400; i += 9) remove_from(&a, i);
    forget_all(&a);
    uint64_t keys = a.db.keys;
    write_to(&a, 10, 11, "sealed, not durable");
    remove_from(&a, 100); /* it leaves no entry that would tell of it */
    (void)sk_db_seal(&a.db);
    write_to(&a, 20, 21, "not sealed");
    remove_from(&a, 200);
    transfer whole = transfer_start(&a, &b);
    assert_int_equal(whole.begun, 0);
    write_to(&a, 27, 28, "since");
    for (int i = 1; i < 400; i += 2) remove_from(&a, i);
    commit(&a);
    while (transfer_chunk(&whole, 1000)) {}
    write_to(&a, 36, 100, "since");
    commit(&a);
    transfer_finish(&whole);
    settle_all(&b);
    assert_int_equal(b.db.keys, keys);
    sk_db_check(&b.db);
    transfer_all(&a, &b);
    settle_all(&b);
    assert_true(a.db.digest == b.db.digest);
}

/* A start is not long ago on either side: the sums are not there yet, or half. */
static void sums_that_are_not_ready_are_made_on_the_way(void **state)
{
    (void)state;
    alike(300);
    for (int i = 5; i < 300; i += 30) remove_from(&a, i);
    forget_all(&a);
    for (int half = 0; half < 2; half++) {
        for (int n = 0; n < 2; n++) {
            assert_int_equal(sk_db_reload(n ? &b.db : &a.db), 0);
            (void)sk_db_seal(n ? &b.db : &a.db);
            history_looked_through(n ? &b.db : &a.db);
            if (half) assert_int_equal(sk_sums_step(n ? &b.db : &a.db, 120), 1);
        }
        assert_int_equal(sk_memory_sync(a.store, UINT64_MAX), 0);
        assert_int_equal(sk_memory_sync(b.store, UINT64_MAX), 0);
        cost took = reconcile();
        assert_int_equal(took.staged, half ? 1 : 10);
        assert_true(a.db.digest == b.db.digest);
        remove_from(&a, 6);
        sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
        commit(&a);
    }
}

/* Between two attempts the receiver gets on by itself; what it had staged is compared like the rest. */
static void an_interrupted_one_goes_on(void **state)
{
    (void)state;
    database c;
    database_start(&c, "c", 3);
    alike(300);
    for (int i = 0; i < 300; i += 10) write_to(&a, i, i + 1, "new");
    for (int i = 5; i < 300; i += 30) remove_from(&a, i);
    forget_all(&a);
    transfer first = transfer_start(&a, &b);
    for (int i = 0; i < 12; i++) (void)transfer_chunk(&first, 1);
    transfer_stop(&first);
    commit(&b);
    sk_memory_crash(b.store, 0);
    assert_int_equal(sk_db_reload(&b.db), 0);
    (void)sk_db_seal(&b.db);
    write_to(&a, 0, 1, "newer");
    remove_from(&a, 10);
    remove_from(&a, 290);
    commit(&a);
    transfer second = transfer_start(&a, &b);
    assert_true(second.head.reconcile && second.head.resumed);
    while (transfer_chunk(&second, 30)) {}
    transfer_compare(&second); /* all is found, and staged, and then it is cut */
    transfer_stop(&second);
    uint32_t staged = pairs_in(&b, SK_CF_STAGED);
    commit(&b);
    write_to(&a, 20, 21, "newest");
    commit(&a);
    transfer third = transfer_start(&a, &b);
    assert_true(third.head.resumed);
    while (transfer_chunk(&third, 30)) {}
    assert_int_equal(pairs_in(&b, SK_CF_STAGED), staged); /* one of them again, none besides */
    transfer_finish(&third);
    assert_int_equal(third.questions, 0);
    settle_all(&b);
    assert_true(a.db.digest == b.db.digest);
    database_end(&c);
}

/* Staged of a vector, and the sender has forgotten since: nothing tells what became of it but the comparison. */
static void random_histories_reconcile(void **state)
{
    (void)state;
    uint64_t random = 7;
    char member[8];
    alike(120);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 40; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            database *with = random >> 62 ? &a : &b;
            int key = (int)(random >> 33) % 150, what = (int)(random >> 58) & 7;
            snprintf(member, sizeof member, "m%d", key % 11);
            if (what < 3)
                write_to(with, key, key + 1, "w");
            else if (what < 5)
                remove_from(with, key);
            else if (what < 6)
                txn(with, add(with, SK_TABLE_KEY, key_of(key), NULL, key));
            else if (what < 7)
                txn(with, put(with, SK_TABLE_SET, key_of(key % 5), member, ""));
            else
                txn(with, take_away(with, SK_TABLE_SET, key_of(key % 5), member));
        }
        commit(&a);
        commit(&b);
        sk_vv known = vv_across(&b, &a, &b.db.vv); /* a has heard nothing of b since: it forgets its own */
        sk_vv_copy(&known, &a.db.vv);
        sk_db_forget(&a.db, &known, &known);
        sk_vv_free(&known);
        settle_all(&a);
        (void)reconcile();
        transfer_all(&b, &a);
        settle_all(&a);
        assert_true(a.db.digest == b.db.digest);
    }
}

/* c's increment is reset at a, which has forgotten all but the dead count; b, below the floor, gets it, so that an increment
 * which has not seen the reset counts there as it does at a. What speaks of it in a's history has stayed until the reset is
 * everywhere; of a life that has been cut off nothing speaks any more. */
static void dead_counts_come_with_it(bool spoken_of, bool increment_is_known)
{
    database c;
    sk_vv nothing = {0};
    uint32_t later_life;
    database_start(&c, "c", 3);
    txn(&c, add(&c, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&c, &a);
    if (increment_is_known) apply_last(&c, &b);
    if (!spoken_of) assert_int_equal(sk_db_intern(&a.db, sk_bytes_str("c"), 5, &later_life), 0);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL));
    sk_db_forget(&a.db, &a.db.vv, spoken_of ? &nothing : &a.db.vv);
    settle_all(&a);
    assert_int_equal(history_in(&a), spoken_of);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 1);
    (void)reconcile();
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "n", NULL).count, 1);
    txn(&c, add(&c, SK_TABLE_KEY, "n", NULL, 2));
    apply_last(&c, &a);
    apply_last(&c, &b);
    assert_true(a.db.digest == b.db.digest);
    assert_true(a.db.digest != 0);
    sk_row row = row_of(&b, SK_TABLE_KEY, "n", NULL);
    assert_int_equal(row.entries[0].count.total.whole, 7);
    assert_int_equal(row.entries[0].count.base.whole, 5);
    database_end(&c);
}

static void kept_dead_counts_come_with_it(void **state)
{
    (void)state;
    dead_counts_come_with_it(true, true);
}

static void kept_dead_counts_come_to_who_knew_nothing(void **state)
{
    (void)state;
    dead_counts_come_with_it(true, false);
}

static void dead_counts_that_nothing_speaks_of_come_with_it(void **state)
{
    (void)state;
    dead_counts_come_with_it(false, true);
}

static void dead_counts_that_nothing_speaks_of_come_to_who_knew_nothing(void **state)
{
    (void)state;
    dead_counts_come_with_it(false, false);
}

static void a_range_that_is_none_is_refused(void **state)
{
    (void)state;
    alike(10);
    a_moves_on();
    transfer whole = transfer_start(&a, &b);
    while (transfer_chunk(&whole, 1000)) {}
    sk_buf out = {0};
    sk_bytes low = sk_bytes_str("ka"), high = sk_bytes_str("kz");
    assert_int_equal(sk_source_answer(&a.db, whole.source, 1, high, low, &out), SK_E_PROTOCOL);
    assert_int_equal(sk_source_answer(&a.db, whole.source, 1, low, low, &out), SK_E_PROTOCOL);
    assert_int_equal(sk_source_answer(&a.db, whole.source, 1, low, high, &out), 0);
    sk_buf_free(&out);
    transfer_stop(&whole);
}

static void comparing_is_for_reconciles(void **state)
{
    (void)state;
    sk_digest sum;
    sk_buf at = {0};
    uint32_t count;
    assert_int_equal(sk_fold_compare(&b.db), SK_E_GAP);
    assert_int_equal(sk_fold_sum(&b.db, SK_BYTES_NONE, SK_BYTES_NONE, &sum), SK_E_GAP);
    write_to(&a, 0, 10, "v");
    commit(&a);
    transfer whole = transfer_start(&a, &b);
    assert_false(whole.head.reconcile);
    assert_int_equal(sk_fold_compare(&b.db), SK_E_PROTOCOL);
    assert_int_equal(sk_fold_settle(&b.db, &at, SK_BYTES_NONE, (sk_elements){0}, &at, &count), SK_E_PROTOCOL);
    transfer_stop(&whole);
}

/* Parts of a range are told by their keys, which may be long. */
static void long_keys_make_fewer_parts(void **state)
{
    (void)state;
    enum { MARKS = 40, KEY_BYTES = 100 * 1024 };
    static uint8_t key[KEY_BYTES];
    sk_outline outline = {0};
    for (uint8_t i = 0; i < MARKS; i++) {
        memset(key, 'a' + i % 26, sizeof key);
        key[0] = (uint8_t)('A' + i);
        sk_outline_mark(&outline, i ? sk_bytes_of(key, sizeof key) : SK_BYTES_NONE);
        sk_outline_add(&outline, 10, i);
    }
    a.db.sums.leaf_rows = 512;
    for (int shorter = 0; shorter < 2; shorter++) {
        for (uint32_t i = 1; i < outline.count && shorter; i++) outline.marks[i].key.len = 1;
        sk_buf out = {0};
        sk_vv known = {0};
        sk_store_snapshot *snapshot = sk_store_snapshot_take(a.store);
        assert_int_equal(sk_compare_answer(&a.db, snapshot, &outline, &known, 7, SK_BYTES_NONE, SK_BYTES_NONE, &out), 0);
        sk_store_snapshot_free(a.store, snapshot);
        sk_reader reader = sk_reader_of(sk_buf_view(&out));
        uint64_t number, rows = 0;
        sk_elements list;
        sk_part part;
        assert_int_equal(sk_message_type_read(&reader), SK_MESSAGE_PARTS);
        assert_int_equal(sk_parts_read(&reader, &number, &list), 0);
        assert_in_range(list.count, shorter ? SK_PARTS_MAX : 2, shorter ? SK_PARTS_MAX : 6);
        while (sk_part_next(&list, &part)) rows += part.rows;
        assert_int_equal(rows, 10 * MARKS);
        assert_true(out.len <= SK_MESSAGE_MAX);
        sk_buf_free(&out);
    }
    sk_outline_free(&outline);
}

#define test(name) cmocka_unit_test_setup_teardown(name, start, check_and_close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(equal_databases_cost_next_to_nothing),
        test(what_is_new_is_pushed_and_nothing_is_asked),
        test(what_was_removed_and_forgotten_is_found),
        test(a_whole_range_that_was_removed_is_found),
        test(a_row_that_lost_an_entry_comes_whole),
        test(what_the_receiver_wrote_stays),
        test(a_forgotten_reset_reaches_a_count_that_went_on),
        test(a_later_base_comes_to_a_count_that_is_ahead),
        test(the_sender_tells_of_its_snapshot),
        test(sums_that_are_not_ready_are_made_on_the_way),
        test(an_interrupted_one_goes_on),
        test(random_histories_reconcile),
        test(kept_dead_counts_come_with_it),
        test(kept_dead_counts_come_to_who_knew_nothing),
        test(dead_counts_that_nothing_speaks_of_come_with_it),
        test(dead_counts_that_nothing_speaks_of_come_to_who_knew_nothing),
        test(long_keys_make_fewer_parts),
        test(a_range_that_is_none_is_refused),
        test(comparing_is_for_reconciles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
