/* A repair, while a third database has written or removed what one of the two, or both, have or have not seen. */
#include "node/repair.h"

#include "tests/unit/repair_harness.h"

/* A row is lost twice: the first time a reset meets no count here, in a transaction among others. A repair brings its dead count: what names
 * the others goes on doing so. */
static void a_repair_hides_nothing_that_changed_beside_it(void **state)
{
    (void)state;
    static const char *const keys[] = {"x", "n", "y"};
    database c;
    sk_row_keys rows = {0};
    sk_vv above = {0};
    lose_a_count(&c);
    for (int i = 0; i < 3; i++) {
        txn(&c, put(&c, SK_TABLE_KEY, keys[i], NULL, "0"));
        apply_last(&c, &a);
        apply_last(&c, &b);
    }
    commit_unchecked(&a);
    commit(&b);
    commit(&c);
    damage(&a, "n", NULL); /* and once more: now it differs */
    b_repairs_a();
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "1:1 c 5-5@1 from 1+, 2:2 v 0");
    sk_vv_copy(&above, &a.db.floor);
    while (sk_db_history_rows(&a.db, &above, &rows, NULL, 1) > 0) continue;
    assert_int_equal(rows.count, 4); /* n by its increment and by its reset */
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    commit(&a);
    assert_int_equal(history_in(&a), 0);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 1);
    sk_row_keys_free(&rows);
    sk_vv_free(&above);
    database_end(&c);
}

/* b has reset a count of a row that is in doubt for what c counted. c, who knows nothing of the reset, has the row just as it was left:
 * that does not settle it, before a stop or after it. */
static void who_has_not_seen_what_a_row_in_doubt_lacks_settles_nothing(void **state)
{
    (void)state;
    database c;
    fill_both();
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&a, &b);
    commit(&a);
    begin_c_with_all_of_a(&c);
    txn(&c, add(&c, SK_TABLE_KEY, "n", NULL, 7));
    commit(&c);
    apply_last(&c, &a);
    txn(&b, take_away(&b, SK_TABLE_KEY, "n", NULL));
    commit(&b);
    commit(&a);
    damage(&a, "string", NULL);
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    assert_string_equal(audited(&a), "damaged");
    repair(&c, &a);
    settles_with_the_last_of(&c, &b, "n");
    assert_true(a.db.digest == c.db.digest);
    database_end(&c);
}

/* A lost row, and a write of c to it that b has not seen: whether it came `over` what b has only who has both can tell. */
static void lose_beside_a_write_of(database *c, bool over)
{
    fill_both();
    txn(&b, put(&b, SK_TABLE_KEY, "k", NULL, "first"));
    apply_last(&b, &a);
    commit(&a);
    commit(&b);
    damage(&a, "k", NULL);
    database_start(c, "c", 3);
    if (over) apply_last(&b, c);
    txn(c, put(c, SK_TABLE_KEY, "k", NULL, "second"));
    apply_last(c, &a);
    commit_unchecked(&a);
    go_through(&a);
    assert_true(sk_audit_damaged(&a.db));
}

static void repair_and_go_through(void)
{
    repair(&b, &a);
    go_through(&a);
}

static void a_doubtful_row_waits_for_who_has_seen_all(void **state)
{
    (void)state;
    database c;
    lose_beside_a_write_of(&c, false);
    repair_and_go_through();
    assert_true(sk_audit_damaged(&a.db));
    assert_int_equal(a.db.audit.in_vain, 0);
    repair_and_go_through(); /* b has not seen more since */
    assert_int_equal(a.db.audit.in_vain, 1);
    apply_last(&c, &b);
    commit(&b);
    repair_and_go_through();
    assert_false(sk_audit_damaged(&a.db));
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "k", NULL).count, 2);
    assert_true(a.db.digest == b.db.digest);
    database_end(&c);
}

/* Under a load that has no pause there always is a row that b has not seen the last write of. */
static void doubts_come_to_an_end(void **state)
{
    (void)state;
    database c;
    lose_beside_a_write_of(&c, true);
    apply_last(&c, &b);
    commit(&b);
    for (int i = 0; i < SK_AUDIT_DOUBTS; i++) {
        assert_true(sk_audit_damaged(&a.db));
        txn(&a, put(&a, SK_TABLE_KEY, "busy", NULL, "x"));
        commit_unchecked(&a);
        repair_and_go_through();
        apply_last(&a, &b);
        commit(&b);
    }
    assert_false(sk_audit_damaged(&a.db));
    assert_int_equal(a.db.audit.in_vain, 0);
    assert_true(a.db.digest == b.db.digest);
    database_end(&c);
}

/* A row stood under a damaged key when it was removed: it is not put back under the right one, and nothing is settled. */
static void what_was_removed_meanwhile_is_not_put_back(void **state)
{
    (void)state;
    database c;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "newer", NULL, "x"));
    commit(&a);
    begin_c_with_all_of_a(&c);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "newer", NULL);
    flip(&a, SK_CF_ROW, name.raw, stored_row(&a, name.raw), name.raw.len - 1, 4);
    commit_unchecked(&a);
    txn(&c, take_away(&c, SK_TABLE_KEY, "newer", NULL));
    apply_last(&c, &a);
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "newer", NULL).count, 0);
    assert_string_equal(audited(&a), "damaged");
    database_end(&c);
}

/* A row was lost when c reset its count, and so it has no dead one, which no digest tells: without it an increment that the reset did
 * not see would bring back what it took. */
static void dead_counts_that_no_sum_tells_of_come_back(void **state)
{
    (void)state;
    database c;
    fill_both();
    lose_a_count(&c);
    txn(&c, take_away(&c, SK_TABLE_KEY, "n", NULL));
    apply_last(&c, &a);
    apply_last(&c, &b);
    commit(&b);
    commit_unchecked(&a);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 0);
    b_repairs_a();
    assert_same_row(&a, &b, SK_TABLE_KEY, "n", NULL);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 1);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "n", NULL);
    assert_true(sk_db_history_speaks(&a.db, name.raw));
    database_end(&c);
}

static void b_settles_it_when_it_has_seen_what_c_wrote(database *c, const char *key)
{
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    settles_with_the_last_of(&b, c, key);
}

/* An entry stands under another dot when it is removed, and so it stays. To give it its dot back would be to take back the removal:
 * that is for one to say who has seen it. */
static void what_was_removed_is_not_corrected(void **state)
{
    (void)state;
    database c;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "k", NULL, "first"));
    apply_last(&a, &b);
    commit(&b);
    begin_c_with_all_of_a(&c);
    txn(&a, put(&a, SK_TABLE_KEY, "another", NULL, "x"));
    commit(&a);
    move_dot_of("k", 1);
    txn(&c, put(&c, SK_TABLE_KEY, "k", NULL, "second"));
    commit(&c);
    apply_last(&c, &a);
    commit_unchecked(&a);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "k", NULL).count, 2);
    b_settles_it_when_it_has_seen_what_c_wrote(&c, "k");
    database_end(&c);
}

/* The same of a count that seems to have been reset so far already when it is. */
static void what_was_reset_is_not_corrected(void **state)
{
    (void)state;
    database c;
    fill_both();
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&a, &b);
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 1));
    txn(&b, take_away(&b, SK_TABLE_KEY, "n", NULL));
    apply_last(&a, &b);
    apply_last(&b, &a);
    commit(&a);
    begin_c_with_all_of_a(&c);
    txn(&a, add(&a, SK_TABLE_KEY, "n", NULL, 3));
    apply_last(&a, &b);
    commit(&a);
    commit(&b);
    sk_row row = row_of(&a, SK_TABLE_KEY, "n", NULL);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "n", NULL);
    assert_int_equal(row.entries[0].count.base_seq + 2, row.entries[0].dot.seq);
    row.entries[0].count.base_seq++;
    store_row(&a, &name, &row);
    txn(&c, take_away(&c, SK_TABLE_KEY, "n", NULL));
    commit(&c);
    apply_last(&c, &a);
    commit_unchecked(&a);
    b_settles_it_when_it_has_seen_what_c_wrote(&c, "n");
    database_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_repair_hides_nothing_that_changed_beside_it),
        TEST(a_doubtful_row_waits_for_who_has_seen_all),
        TEST(doubts_come_to_an_end),
        TEST(what_was_removed_meanwhile_is_not_put_back),
        TEST(dead_counts_that_no_sum_tells_of_come_back),
        TEST(what_was_removed_is_not_corrected),
        TEST(what_was_reset_is_not_corrected),
        TEST(who_has_not_seen_what_a_row_in_doubt_lacks_settles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
