/* Rows that differ though both databases have seen the same. */
#include "node/quarantine.h"

#include "tests/unit/two_databases.h"

static void verify(database *with)
{
    assert_int_equal(sk_audit_finish(&with->db), 0);
    assert_string_equal(sk_audit_text(&with->db), "verified");
    commit_unchecked(with);
}

/* Both have the same, a all of it by its own hand, and its history. */
static int start(void **state)
{
    open_both(state);
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "some value"));
    txn(&a, put(&a, SK_TABLE_KEY, "other", NULL, "another value"));
    txn(&a, put(&a, SK_TABLE_HASH, "hash", "field", "1"));
    txn(&a, put(&a, SK_TABLE_HASH, "hash", "second", "2"));
    txn(&a, put(&a, SK_TABLE_SET, "set", "member", ""));
    txn(&a, add(&a, SK_TABLE_KEY, "count", NULL, 5));
    txn(&a, add(&a, SK_TABLE_KEY, "reset", NULL, 5));
    txn(&a, put(&a, SK_TABLE_KEY, "reset", NULL, "text"));
    commit(&a);
    transfer_all(&a, &b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    commit(&b);
    assert_true(a.db.digest == b.db.digest);
    verify(&a);
    verify(&b);
    return 0;
}

static void become(database *with, sk_table table, const char *key, const char *member, sk_row row)
{
    sk_row_name name = row_name(with, table, key, member);
    sk_row old = row_of(with, table, key, member);
    row.fields = old.fields;
    row.members = old.members;
    assert_int_equal(sk_db_row_put(&with->db, &name, &old, &row), 0);
    commit_unchecked(with);
}

/* The row has another value, under the same dots, or is gone; sums and digest are those of it. */
static void drift(database *with, sk_table table, const char *key, const char *member, const char *value)
{
    sk_row row = row_of(with, table, key, member);
    assert_int_equal(row.count, 1);
    if (value) row.entries[0].value = sk_bytes_str(value);
    row.count = value != NULL;
    become(with, table, key, member, row);
}

/* `to` compares its rows with those of `from`. What sk_fold_end says. */
static int compare(database *from, database *to)
{
    sk_vv before = {0};
    sk_vv_copy(&before, &to->db.vv);
    transfer whole = transfer_start_as(from, to, SK_FOR_AUDIT);
    assert_int_equal(whole.begun, 0);
    while (transfer_chunk(&whole, 30)) {}
    transfer_compare(&whole);
    int status;
    do status = sk_fold_end(&to->db);
    while (status > 0);
    transfer_stop(&whole);
    commit(to);
    assert_true(sk_vv_equal(&before, &to->db.vv));
    assert_int_equal(pairs_in(to, SK_CF_STAGED), 0);
    sk_vv_free(&before);
    return status;
}

static bool holds(const database *with, uint32_t at, const char *raw, const char *region)
{
    const sk_quarantined *row = &with->db.quarantine.rows[at];
    return at < with->db.quarantine.count && sk_bytes_equal(row->raw, sk_bytes_str(raw)) &&
           sk_bytes_equal(row->region, sk_bytes_str(region));
}

static bool has_value(database *with, const char *key, const char *value)
{
    sk_row row = row_of(with, SK_TABLE_KEY, key, NULL);
    return row.count == 1 && sk_bytes_equal(row.entries[0].value, sk_bytes_str(value));
}

static void rows_that_differ_are_named_and_kept(void **state)
{
    (void)state;
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, 0);
    drift(&a, SK_TABLE_KEY, "string", NULL, "drifted");
    drift(&a, SK_TABLE_KEY, "other", NULL, NULL);
    sk_row count = row_of(&b, SK_TABLE_KEY, "count", NULL);
    count.entries[0].count.total.whole = 6;
    become(&b, SK_TABLE_KEY, "count", NULL, count);
    sk_digest digests[] = {a.db.digest, b.db.digest};
    for (int again = 0; again < 3; again++) {
        assert_int_equal(compare(&b, &a), 0);
        assert_int_equal(compare(&a, &b), 0);
        assert_int_equal(a.db.quarantine.count, 3);
        assert_int_equal(b.db.quarantine.count, 3);
        assert_true(holds(&a, 0, "kcount", "b") && holds(&a, 1, "kother", "b") && holds(&a, 2, "kstring", "b"));
        assert_true(holds(&b, 0, "kcount", "a") && holds(&b, 1, "kother", "a") && holds(&b, 2, "kstring", "a"));
        const sk_quarantined *gone = &a.db.quarantine.rows[1], *there = &b.db.quarantine.rows[1];
        assert_true(gone->ours.hash == 0 && gone->theirs.hash != 0 && gone->theirs.hash == there->ours.hash);
        assert_true(sk_bytes_equal(gone->theirs.dots, sk_bytes_str("a:2")) && gone->ours.dots.len == 0);
        assert_true(a.db.digest == digests[0] && b.db.digest == digests[1]);
        assert_int_equal(sk_db_reload(&a.db), 0); /* as after a start */
        verify(&a);
        assert_int_equal(a.db.quarantine.count, 3);
    }
    drift(&a, SK_TABLE_KEY, "string", NULL, "some value"); /* it is right again */
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, 2);
    sk_quarantine_agree(&a.db, sk_bytes_str("c"));
    assert_int_equal(a.db.quarantine.count, 2);
    sk_quarantine_agree(&a.db, sk_bytes_str("b"));
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(a.db.quarantine.count, 0);
}

/* What one side has not seen of the other is no drift; nor is it known then of such a row whether it drifts, too. */
static void rows_that_are_changing_are_passed_over(void **state)
{
    (void)state;
    drift(&a, SK_TABLE_KEY, "string", NULL, "drifted");
    txn(&b, expire(&b, "string", 7000));
    txn(&b, put(&b, SK_TABLE_KEY, "new", NULL, "x"));
    txn(&b, take_away(&b, SK_TABLE_HASH, "hash", "field"));
    commit(&b);
    assert_int_equal(compare(&b, &a), SK_E_BUSY);
    assert_int_equal(a.db.quarantine.count, 0);
    txn(&a, expire(&a, "string", 9000));
    txn(&a, put(&a, SK_TABLE_KEY, "newer", NULL, "x"));
    commit(&a);
    assert_int_equal(compare(&b, &a), SK_E_BUSY);
    assert_int_equal(compare(&a, &b), SK_E_BUSY);
    assert_int_equal(a.db.quarantine.count + b.db.quarantine.count, 0);
}

static void changes_of_ours_are_passed_over(void **state)
{
    (void)state;
    drift(&a, SK_TABLE_KEY, "other", NULL, "drifted");
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "newer"));
    txn(&a, take_away(&a, SK_TABLE_HASH, "hash", "field"));
    txn(&a, put(&a, SK_TABLE_KEY, "new", NULL, "x"));
    commit(&a);
    assert_int_equal(compare(&b, &a), SK_E_BUSY); /* digests of different vectors: what was found is no matter of them */
    assert_int_equal(a.db.quarantine.count, 1);
    assert_true(holds(&a, 0, "kother", "b"));
    assert_true(has_value(&a, "string", "newer") && has_value(&a, "other", "drifted"));
}

/* A row of which b has nothing but a dead count: that is what takes the place of ours, not nothing. */
static void what_is_dead_there_is_not_gone(void **state)
{
    (void)state;
    remove_count_at_both();
    sk_row row = row_of(&a, SK_TABLE_KEY, "n", NULL);
    row.entries[0].count.base_seq = 0;
    assert_true(sk_entry_live(&row.entries[0]));
    become(&a, SK_TABLE_KEY, "n", NULL, row);
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("n"), sk_bytes_str("b")), 1);
    commit(&a);
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.settled, 1);
    assert_same_row(&a, &b, SK_TABLE_KEY, "n", NULL);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 1);
}

static void an_operator_decides(void **state)
{
    (void)state;
    drift(&a, SK_TABLE_KEY, "string", NULL, "drifted");
    drift(&a, SK_TABLE_KEY, "other", NULL, NULL);
    drift(&a, SK_TABLE_HASH, "hash", "second", NULL);
    sk_row none = {0};
    become(&a, SK_TABLE_KEY, "reset", NULL, none); /* the dead count, too */
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, 4);
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("other"), sk_bytes_str("c")), 0);
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("count"), sk_bytes_str("b")), 0);
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("other"), sk_bytes_str("b")), 1);
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("hash"), sk_bytes_str("b")), 1);
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("reset"), sk_bytes_str("b")), 1);
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0); /* it was said, and stays so */
    verify(&a);
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, 1);
    assert_true(holds(&a, 0, "kstring", "b"));
    assert_true(has_value(&a, "other", "another value"));
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "hash", NULL).fields, 2);
    assert_same_row(&a, &b, SK_TABLE_KEY, "reset", NULL);
    assert_int_equal(a.db.quarantine.settled, 3);
    /* The row that was decided on is not there any more: it is asked anew. */
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("string"), sk_bytes_str("b")), 1);
    drift(&a, SK_TABLE_KEY, "string", NULL, "drifted again");
    assert_int_equal(compare(&b, &a), 0);
    assert_true(has_value(&a, "string", "drifted again"));
    assert_int_equal(sk_quarantine_resolve(&a.db, sk_bytes_str("string"), sk_bytes_str("b")), 1);
    assert_int_equal(compare(&b, &a), 0);
    assert_true(a.db.digest == b.db.digest);
    assert_int_equal(a.db.quarantine.count, 0);
}

static void add_entry(database *with, const char *key, sk_dot dot)
{
    sk_row row = row_of(with, SK_TABLE_KEY, key, NULL);
    sk_entry entries[2] = {row.entries[0], row.entries[0]};
    assert_int_equal(row.count, 1);
    entries[dot.seq > entries[0].dot.seq].dot = dot;
    become(with, SK_TABLE_KEY, key, NULL, (sk_row){.entries = entries, .count = 2});
}

/* Our own history refutes an entry of ours; only ours, and only while there is history. */
static void what_nobody_wrote_goes(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "later", NULL, "x"));
    commit(&a);
    transfer_all(&a, &b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    commit(&b);
    sk_dot dot = {a.db.own, sk_vv_get(&a.db.vv, a.db.own)};
    add_entry(&a, "string", dot);
    assert_int_equal(compare(&a, &b), 0); /* b has nothing to be refuted */
    assert_true(holds(&b, 0, "kstring", "a"));
    assert_int_equal(row_of(&b, SK_TABLE_KEY, "string", NULL).count, 1);
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, 0);
    assert_int_equal(a.db.quarantine.settled, 1);
    assert_true(a.db.digest == b.db.digest);
    drift(&b, SK_TABLE_KEY, "later", NULL, NULL); /* a's history bears that one out */
    assert_int_equal(compare(&b, &a), 0);
    assert_true(holds(&a, 0, "klater", "b") && has_value(&a, "later", "x"));
    drift(&a, SK_TABLE_KEY, "later", NULL, NULL);
    add_entry(&a, "string", dot);
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    commit_unchecked(&a);
    transfer early = transfer_start_as(&b, &a, SK_FOR_AUDIT); /* one that was cut is in nobody's way */
    transfer_stop(&early);
    assert_int_equal(compare(&b, &a), 0);
    assert_true(holds(&a, 0, "kstring", "b"));
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "string", NULL).count, 2);
}

/* What the disk of a has now is found out at its next start, and b repairs it. */
static void start_and_repair(void)
{
    commit_unchecked(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(sk_audit_finish(&a.db), 0);
    assert_true(sk_audit_wants_repair(&a.db));
    transfer whole = transfer_start_as(&b, &a, SK_FOR_REPAIR);
    assert_int_equal(whole.begun, 0);
    transfer_finish(&whole);
    assert_int_equal(sk_db_touch_all(&a.db), 0);
    verify(&a);
}

/* A repair is for what the disk has damaged. */
static void a_repair_keeps_it(void **state)
{
    (void)state;
    drift(&a, SK_TABLE_KEY, "string", NULL, "drifted");
    drift(&a, SK_TABLE_KEY, "other", NULL, NULL);
    drift(&a, SK_TABLE_HASH, "hash", "field", "drifted");
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, 3);
    txn(&b, put(&b, SK_TABLE_KEY, "other", NULL, "newer")); /* which a has not seen */
    txn(&b, put(&b, SK_TABLE_HASH, "hash", "field", "newer"));
    commit(&b);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "count", NULL);
    sk_store_put(a.store, SK_CF_ROW, name.raw, sk_bytes_str("\xc1"));
    start_and_repair();
    assert_true(has_value(&a, "string", "drifted"));
    assert_true(has_value(&a, "other", "newer"));
    assert_same_row(&a, &b, SK_TABLE_HASH, "hash", "field");
    assert_same_row(&a, &b, SK_TABLE_KEY, "count", NULL);
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, 1);
    sk_db_check(&a.db);
}

/* There is a limit to what is named. */
enum { MORE = 30 };

static const char *many(int i)
{
    static char key[16];
    snprintf(key, sizeof key, "many %04d", i);
    return key;
}

/* b has lost more rows than can be named, and a has compared. */
static void lose_many(void)
{
    for (int i = 0; i < SK_QUARANTINE_MAX + MORE; i++) txn(&a, put(&a, SK_TABLE_KEY, many(i), NULL, "x"));
    txn(&a, put(&a, SK_TABLE_KEY, "zzz", NULL, "sound"));
    commit_unchecked(&a);
    assert_int_equal(compare(&b, &a), SK_E_BUSY); /* digests of different vectors */
    assert_int_equal(a.db.quarantine.count, 0);
    transfer_all(&a, &b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    commit_unchecked(&b);
    for (int i = 0; i < SK_QUARANTINE_MAX + MORE; i++) drift(&b, SK_TABLE_KEY, many(i), NULL, NULL);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(compare(&b, &a), 0);
        assert_int_equal(a.db.quarantine.count, SK_QUARANTINE_MAX);
        assert_int_equal(a.db.quarantine.nameless, MORE);
    }
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(a.db.quarantine.count, SK_QUARANTINE_MAX);
    assert_int_equal(a.db.quarantine.nameless, MORE);
    verify(&a);
}

static void of_many_some_are_named(void **state)
{
    (void)state;
    lose_many();
    assert_true(holds(&a, 0, "kmany 0000", "b") && holds(&a, SK_QUARANTINE_MAX - 1, "kmany 0999", "b"));
    for (int i = 0; i < MORE + 5; i++) drift(&a, SK_TABLE_KEY, many(i), NULL, NULL); /* these are alike again */
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.count, SK_QUARANTINE_MAX - 5); /* the others take their places */
    assert_int_equal(a.db.quarantine.nameless, 0);
    assert_true(holds(&a, SK_QUARANTINE_MAX - 6, "kmany 1029", "b"));
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(a.db.quarantine.nameless, 0);
}

/* The row on the disk is another than was committed. */
static void damage(database *with, const char *key, const char *value)
{
    sk_row_name name = row_name(with, SK_TABLE_KEY, key, NULL);
    sk_row row = row_of(with, SK_TABLE_KEY, key, NULL);
    sk_buf packed = {0};
    row.entries[0].value = sk_bytes_str(value);
    sk_row_pack(&packed, &row, true);
    sk_store_put(with->store, SK_CF_ROW, name.raw, sk_buf_view(&packed));
    sk_buf_free(&packed);
}

/* What is not named is kept all the same, as it is; what the disk has damaged is mended, also among them. */
static void a_repair_keeps_the_nameless(void **state)
{
    (void)state;
    lose_many();
    drift(&a, SK_TABLE_KEY, many(2), NULL, "changed"); /* what a has lost, it has lost */
    drift(&b, SK_TABLE_KEY, "other", NULL, "drifted");
    drift(&a, SK_TABLE_KEY, "string", NULL, NULL);
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.nameless, MORE + 2);
    assert_true(holds(&a, 2, "kmany 0002", "b") && holds(&a, SK_QUARANTINE_MAX - 1, "kmany 0999", "b"));
    commit_unchecked(&a);
    damage(&a, "zzz", "of the disk");
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "reset", NULL);
    sk_store_put(a.store, SK_CF_ROW, name.raw, sk_bytes_str("\xc1"));
    damage(&a, many(1001), "not what was found");
    damage(&a, many(1), "not what was found either");
    start_and_repair();
    for (int i = 0; i < SK_QUARANTINE_MAX + MORE; i++)
        assert_int_equal(row_of(&a, SK_TABLE_KEY, many(i), NULL).count, i != 1 && i != 1001);
    assert_true(has_value(&a, many(2), "changed") && has_value(&a, many(1029), "x"));
    assert_true(has_value(&a, "other", "another value"));
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "string", NULL).count, 0);
    assert_same_row(&a, &b, SK_TABLE_KEY, "reset", NULL);
    assert_true(has_value(&a, "zzz", "sound"));
    sk_quarantine_agree(&a.db, sk_bytes_str("c"));
    assert_int_equal(a.db.quarantine.nameless, MORE + 2);
    sk_quarantine_agree(&a.db, sk_bytes_str("b"));
    assert_int_equal(a.db.quarantine.nameless, 0);
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_int_equal(a.db.quarantine.count + a.db.quarantine.nameless, 0);
}

/* There is a limit to marks, too: what has none is not touched, if it makes sense. */
static void without_a_mark_a_repair_brings_what_makes_no_sense(void **state)
{
    (void)state;
    a.db.quarantine.names_max = 1;
    a.db.quarantine.marks_max = 2;
    drift(&a, SK_TABLE_KEY, "string", NULL, "drifted");
    drift(&a, SK_TABLE_KEY, "other", NULL, NULL);
    drift(&b, SK_TABLE_HASH, "hash", "field", NULL);
    drift(&b, SK_TABLE_HASH, "hash", "second", "3");
    for (int again = 0; again < 2; again++) {
        assert_int_equal(compare(&b, &a), 0);
        assert_int_equal(a.db.quarantine.count, 1);
        assert_int_equal(a.db.quarantine.nameless, 3);
        assert_int_equal(a.db.quarantine.unnamed[0].unmarked, 1);
        commit(&a);
        assert_int_equal(sk_db_reload(&a.db), 0);
        verify(&a);
    }
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "count", NULL);
    sk_store_put(a.store, SK_CF_ROW, name.raw, sk_bytes_str("\xc1"));
    damage(&a, "string", "of the disk");
    start_and_repair();
    assert_same_row(&a, &b, SK_TABLE_KEY, "count", NULL);
    assert_true(has_value(&a, "string", "of the disk"));
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "other", NULL).count, 0);
    assert_int_equal(row_of(&a, SK_TABLE_HASH, "hash", "field").count, 1);
    a.db.quarantine.marks_max = 3;
    assert_int_equal(compare(&b, &a), 0);
    assert_int_equal(a.db.quarantine.nameless, 3);
    assert_int_equal(a.db.quarantine.unnamed[0].unmarked, 0);
}

/* It goes on while rows are looked at: what changes is passed over, whatever becomes of it. */
static void rows_that_change_meanwhile_are_passed_over(void **state)
{
    (void)state;
    lose_many();
    sk_quarantine_agree(&a.db, sk_bytes_str("b"));
    drift(&b, SK_TABLE_KEY, "zzz", NULL, "drifted");
    drift(&b, SK_TABLE_KEY, "string", NULL, "drifted");
    transfer whole = transfer_start_as(&b, &a, SK_FOR_AUDIT);
    assert_int_equal(whole.begun, 0);
    while (transfer_chunk(&whole, 30)) {}
    transfer_compare(&whole);
    assert_int_equal(sk_fold_end(&a.db), 1);
    assert_in_range(a.db.quarantine.count, 1, SK_QUARANTINE_MAX - 1);
    txn(&a, take_away(&a, SK_TABLE_KEY, "zzz", NULL));
    txn(&a, put(&a, SK_TABLE_KEY, many(0), NULL, "newer")); /* it was looked at */
    commit(&a);
    int status;
    do status = sk_fold_end(&a.db);
    while (status > 0);
    assert_int_equal(status, SK_E_BUSY);
    transfer_stop(&whole);
    commit(&a);
    assert_int_equal(a.db.quarantine.count, SK_QUARANTINE_MAX);
    assert_int_equal(a.db.quarantine.nameless, MORE + 1); /* and "string", but not "zzz" */
    assert_int_equal(pairs_in(&a, SK_CF_STAGED), 0);
    assert_int_equal(sk_quarantine_step(&a.db, &a.db.vv, 1), SK_E_GAP);
}

static void a_damaged_record_refuses_the_start(void **state)
{
    (void)state;
    drift(&a, SK_TABLE_KEY, "string", NULL, "drifted");
    assert_int_equal(compare(&b, &a), 0);
    sk_store_put(a.store, SK_CF_META, sk_bytes_str("quarantine/b/kstring"), sk_bytes_str("no record"));
    commit_unchecked(&a);
    assert_int_equal(sk_quarantine_load(&a.db), SK_E_CORRUPT);
    sk_store_remove(a.store, SK_CF_META, sk_bytes_str("quarantine/b/kstring"));
    sk_store_put(a.store, SK_CF_META, sk_bytes_str("unnamed/b/000000"), sk_bytes_str("no record"));
    commit_unchecked(&a);
    assert_int_equal(sk_quarantine_load(&a.db), SK_E_CORRUPT);
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "a", "test", "1", 1), SK_E_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_that_differ_are_named_and_kept),
        TEST(rows_that_are_changing_are_passed_over),
        TEST(changes_of_ours_are_passed_over),
        TEST(what_is_dead_there_is_not_gone),
        TEST(an_operator_decides),
        TEST(what_nobody_wrote_goes),
        TEST(a_repair_keeps_it),
        TEST(of_many_some_are_named),
        TEST(a_repair_keeps_the_nameless),
        TEST(without_a_mark_a_repair_brings_what_makes_no_sense),
        TEST(rows_that_change_meanwhile_are_passed_over),
        TEST(a_damaged_record_refuses_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
