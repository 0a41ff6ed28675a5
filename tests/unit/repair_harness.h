/* Databases of which one is damaged, and is repaired by another. */
#ifndef SK_TESTS_UNIT_REPAIR_HARNESS_H
#define SK_TESTS_UNIT_REPAIR_HARNESS_H

#include "node/audit.h"
#include "tests/unit/damage_harness.h"
#include "tests/unit/two_databases.h"

#include "node/audit.h"
#include "tests/unit/damage_harness.h"
#include "tests/unit/two_databases.h"

/* `good` has what `bad` should. */
static inline void repair(database *good, database *bad)
{
    assert_true(sk_audit_wants_repair(&bad->db));
    assert_string_equal(audited(good), "verified");
    transfer whole = transfer_start_as(good, bad, SK_FOR_REPAIR);
    assert_int_equal(whole.begun, 0);
    assert_true(whole.head.reconcile);
    transfer_finish(&whole);
    commit_unchecked(bad);
    assert_int_equal(sk_db_touch_all(&bad->db), 0);
    commit_unchecked(bad);
}

/* Both sides have the same, a all of it by its own hand. */
static inline void fill_both(void)
{
    fill(&a);
    transfer_all(&a, &b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    commit(&b);
}

static inline void b_repairs_a(void)
{
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    assert_string_equal(audited(&a), "verified");
    sk_db_check(&a.db);
}

/* A third, which has what a has. */
static inline void begin_c_with_all_of_a(database *c)
{
    database_start(c, "c", 3);
    transfer_all(&a, c);
    assert_int_equal(sk_db_touch_all(&c->db), 0);
    commit(c);
}

/* Nothing of a row is in doubt when the last transaction of `other` has been seen, too. */
static inline void settles_with_the_last_of(database *who, database *other, const char *key)
{
    assert_string_equal(audited(&a), "damaged");
    apply_last(other, who);
    commit(who);
    repair(who, &a);
    assert_string_equal(audited(&a), "verified");
    assert_same_row(&a, who, SK_TABLE_KEY, key, NULL);
    sk_db_check(&a.db);
}

/* As the node does it: what was counted goes on. */
static inline void go_through(database *with)
{
    for (int i = 0; sk_audit_pending(&with->db); i++) {
        assert_true(sk_audit_step(&with->db, 100) >= 0);
        assert_true(i < 1000);
    }
    commit_unchecked(with);
}

/* All three have a count, and then a has lost it. */
static inline void lose_a_count(database *c)
{
    database_start(c, "c", 3);
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    apply_last(&b, c);
    commit(&a);
    damage(&a, "n", NULL);
}

static inline void move_dot_of(const char *key, uint64_t by)
{
    sk_row row = row_of(&a, SK_TABLE_KEY, key, NULL);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, key, NULL);
    row.entries[0].dot.seq += by;
    store_row(&a, &name, &row);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, close_both)

#endif
