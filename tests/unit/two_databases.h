/* The databases of regions a and b, as most tests of the database need them, and what cmocka calls before and after each test. */
#ifndef SK_TESTS_UNIT_TWO_DATABASES_H
#define SK_TESTS_UNIT_TWO_DATABASES_H

#include "tests/unit/db_harness.h"

static database a, b;

static inline int open_both(void **state)
{
    (void)state;
    database_start(&a, "a", 1);
    database_start(&b, "b", 2);
    return 0;
}

static inline int close_both(void **state)
{
    (void)state;
    database_end(&a);
    database_end(&b);
    return 0;
}

static inline int open_and_commit_both(void **state)
{
    open_both(state);
    commit(&a);
    commit(&b);
    return 0;
}

/* a knows of b's origin: vectors may name it. */
static inline int open_both_interned(void **state)
{
    uint32_t origin;
    open_both(state);
    assert_int_equal(sk_db_intern(&a.db, sk_bytes_str("b"), 2, &origin), 0);
    commit(&a);
    commit(&b);
    return 0;
}

static inline int check_and_close_both(void **state)
{
    sk_db_check(&a.db);
    sk_db_check(&b.db);
    return close_both(state);
}

/* Within a test. */
static inline void begin_anew(void)
{
    close_both(NULL);
    open_both(NULL);
}

/* A row or two of each table. */
static inline void some_rows(database *with)
{
    txn(with, put(with, SK_TABLE_KEY, "x", NULL, "1"));
    txn(with, (put(with, SK_TABLE_HASH, "h", "f", "1"), put(with, SK_TABLE_HASH, "h", "g", "2")));
    txn(with, put(with, SK_TABLE_SET, "s", "m", ""));
    txn(with, add(with, SK_TABLE_KEY, "n", NULL, 5));
    txn(with, put(with, SK_TABLE_POLICY, "p", NULL, "newest"));
    commit(with);
}

/* What b has counted in n, a replaces by a text: a has a dead count, of which its history speaks. b does not know yet. */
static inline void reset_count_of_b(void)
{
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    txn(&a, put(&a, SK_TABLE_KEY, "n", NULL, "0"));
    commit(&a);
}

/* What b counted is removed by a: nothing but a dead count is left. */
static inline void remove_count_at_both(void)
{
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL));
    commit(&a);
    apply_last(&a, &b);
    commit(&b);
}

/* All that has come with a transfer is in its place. */
static inline void settle_staged(database *with)
{
    assert_int_equal(sk_db_touch_all(&with->db), 0);
    commit(with);
    assert_int_equal(pairs_in(with, SK_CF_STAGED), 0);
}

#endif
