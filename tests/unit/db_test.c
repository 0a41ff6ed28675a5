#include "tests/unit/two_databases.h"

/* -- opening ------------------------------------------------------------------------------------------------------- */

static void a_new_database_is_sealed_and_empty(void **state)
{
    (void)state;
    uint64_t sealed;
    sk_memory_progress(a.store, &sealed, NULL, NULL);
    assert_int_equal(sealed, 1);
    assert_int_equal(a.db.keys, 0);
    assert_true(a.db.digest == 0);
    assert_int_equal(sk_vv_get(&a.db.vv, a.db.own), 0);
    assert_string_equal(a.db.origins.list[a.db.own].region, "a");
    sk_db_check(&a.db);
}

static void everything_is_there_after_opening_again(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, put(&a, SK_TABLE_HASH, "h", "f", "1"));
    txn(&a, expire(&a, "x", 5000));
    commit(&a);
    sk_digest digest = a.db.digest;
    sk_hlc clock = a.db.clock;
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "a", "test", "1", 99), 0);
    assert_int_equal(a.db.origins.count, 1); /* the same life: the same origin */
    assert_int_equal(sk_vv_get(&a.db.vv, a.db.own), 3);
    assert_true(a.db.digest == digest);
    assert_int_equal(a.db.keys, 2);
    assert_true(a.db.clock == clock);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "x", NULL), "0:1 v 1, 0:3 d 5000");
    sk_db_check(&a.db);
}

static void another_life_takes_another_incarnation(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "a", "test", "2", 99), 0);
    assert_int_equal(a.db.origins.count, 2);
    assert_int_equal(a.db.own, 1);
    assert_int_equal(a.db.origins.list[1].incarnation, 99);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "2"));
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "x", NULL), "1:1 v 2");
    commit(&a);
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "a", "test", "2", 100), 0);
    assert_int_equal(a.db.own, 1);
}

/* Another boot goes on from this disk; another mark means a copy. */
static void a_copy_begins_with_a_break(void **state)
{
    static const struct {
        const char *life;
        uint64_t wall_ms, seconds;
        bool is_break;
    } lives[] = {
        {"boot 1 here", 5000, 5, true}, /* opened without marks before */
        {"boot 2 here", 9000, 9, false},
        {"boot 2 there", 3000, 10, true}, /* the clock went back: it is later all the same */
        {"start 7 there", 20000, 20, false},
        {"boot", 30000, 30, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lives / sizeof *lives; i++) {
        commit(&a);
        sk_db_close(&a.db);
        uint64_t random = 0xabcdef00 + 2 * i;
        assert_int_equal(open_as(&a, "a", "test", lives[i].life, sk_incarnation_make(random, lives[i].wall_ms, true)), 0);
        uint64_t incarnation = a.db.origins.list[a.db.own].incarnation;
        assert_int_equal(sk_incarnation_seconds(incarnation), lives[i].seconds);
        assert_int_equal(incarnation & 1, lives[i].is_break);
        assert_int_equal((incarnation & 0xfffffffe), random);
    }
}

static void a_database_of_others_is_refused(void **state)
{
    (void)state;
    commit(&a);
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "b", "test", "1", 1), SK_E_REGION);
    assert_int_equal(open_as(&a, "a", "other", "1", 1), SK_E_REGION);
    assert_int_equal(open_as(&a, "Not A Name", "test", "1", 1), SK_E_CONFIG);
    assert_int_equal(open_as(&a, "a", "test", "1", 1), 0);
}

static void damaged_records_are_refused(void **state)
{
    (void)state;
    static const char *const records[] = {"state", "identity", "own", "fold"};
    for (int i = 0; i < 4; i++) {
        sk_store *kept = a.store;
        commit(&a);
        sk_db_close(&a.db);
        a.store = sk_memory_copy(kept);
        sk_store_put(a.store, SK_CF_META, sk_bytes_str(records[i]), sk_bytes_str("\xc1"));
        assert_int_equal(open_as(&a, "a", "test", "1", 1), SK_E_CORRUPT);
        sk_store_close(a.store);
        a.store = kept;
        assert_int_equal(open_as(&a, "a", "test", "1", 1), 0);
    }
}

static void a_crash_goes_back_to_what_was_synced(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    sk_digest digest = a.db.digest;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "2"));
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "2"));
    sk_db_seal(&a.db);
    sk_memory_crash(a.store, 0);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_true(a.db.digest == digest);
    assert_int_equal(a.db.keys, 1);
    assert_int_equal(sk_vv_get(&a.db.vv, 0), 1);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "x", NULL), "0:1 v 1");
    sk_db_check(&a.db);
}

/* -- what is derived ----------------------------------------------------------------------------------------------- */

static void sizes_and_keys_are_counted(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_HASH, "h", "f", "1"));
    txn(&a, put(&a, SK_TABLE_HASH, "h", "g", "1"));
    txn(&a, put(&a, SK_TABLE_HASH, "h", "g", "2"));
    txn(&a, put(&a, SK_TABLE_SET, "s", "m", ""));
    sk_row h = row_of(&a, SK_TABLE_KEY, "h", NULL), s = row_of(&a, SK_TABLE_KEY, "s", NULL);
    assert_int_equal(h.fields, 2);
    assert_int_equal(s.members, 1);
    assert_int_equal(a.db.keys, 2);
    sk_db_check(&a.db);
    txn(&a, take_away(&a, SK_TABLE_HASH, "h", "f"));
    txn(&a, take_away(&a, SK_TABLE_HASH, "h", "g"));
    txn(&a, take_away(&a, SK_TABLE_SET, "s", "m"));
    assert_int_equal(a.db.keys, 0);
    assert_int_equal(pairs_in(&a, SK_CF_ROW), 0);
    assert_true(a.db.digest == 0);
    sk_db_check(&a.db);
}

static void conflicts_are_indexed(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&b, put(&b, SK_TABLE_KEY, "x", NULL, "2"));
    apply_last(&b, &a);
    assert_int_equal(a.db.conflicts, 1);
    assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 1);
    txn(&a, put(&a, SK_TABLE_HASH, "x", "f", "1")); /* two types: still the one key */
    assert_int_equal(a.db.conflicts, 1);
    sk_db_check(&a.db);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "3"));
    assert_int_equal(a.db.conflicts, 1);
    txn(&a, take_away(&a, SK_TABLE_HASH, "x", "f"));
    assert_int_equal(a.db.conflicts, 0);
    assert_int_equal(pairs_in(&a, SK_CF_DERIVED), 0);
    sk_db_check(&a.db);
}

static int list_derived(void *self, sk_bytes raw, const sk_row *row)
{
    assert_null(row);
    sk_buf *text = self;
    uint64_t at = 0;
    for (int i = 1; i <= 8; i++) at = at << 8 | raw.data[i];
    sk_buf_printf(text, "%llu %.*s, ", (unsigned long long)at, (int)raw.len - 9, (const char *)raw.data + 9);
    return 0;
}

static void deadlines(database *with, const char *want)
{
    sk_buf text = {0};
    uint8_t index = SK_INDEX_DEADLINE;
    assert_int_equal(sk_db_each_derived(&with->db, sk_bytes_of(&index, 1), SK_BYTES_NONE, list_derived, &text), 0);
    assert_bytes_equal(sk_buf_view(&text), sk_bytes_str(want));
    sk_buf_free(&text);
}

static void deadlines_are_indexed(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, expire(&a, "x", 500));
    txn(&a, put(&a, SK_TABLE_SET, "s", "m", ""));
    txn(&a, expire(&a, "s", 400));
    deadlines(&a, "400 s, 500 x, ");
    txn(&a, expire(&a, "x", SK_DEADLINE_NEVER));
    deadlines(&a, "400 s, ");
    txn(&a, take_away(&a, SK_TABLE_SET, "s", "m")); /* only its deadline is left: to be looked at, at once */
    deadlines(&a, "0 s, ");
    txn(&a, take_away(&a, SK_TABLE_KEY, "s", NULL));
    deadlines(&a, "");
}

static void whoever_watches_is_told(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    assert_int_equal(a.changes, 1);
    txn(&a, put(&a, SK_TABLE_HASH, "x", "f", "1"));
    assert_true(a.changes > 1);
    uint32_t before = a.changes;
    txn(&a, put(&a, SK_TABLE_POLICY, "x", NULL, "newest")); /* no key, though it is called like one */
    assert_int_equal(a.changes, before);
}

/* -- policies ------------------------------------------------------------------------------------------------------ */

static void the_longest_prefix_decides(void **state)
{
    (void)state;
    assert_int_equal(sk_db_policy(&a.db, sk_bytes_str("any")), SK_POLICY_SIBLINGS);
    txn(&a, put(&a, SK_TABLE_POLICY, "", NULL, "newest"));
    txn(&a, put(&a, SK_TABLE_POLICY, "app:", NULL, "siblings"));
    txn(&a, put(&a, SK_TABLE_POLICY, "app:log:", NULL, "newest"));
    assert_int_equal(sk_db_policy(&a.db, sk_bytes_str("any")), SK_POLICY_NEWEST);
    assert_int_equal(sk_db_policy(&a.db, sk_bytes_str("app:1")), SK_POLICY_SIBLINGS);
    assert_int_equal(sk_db_policy(&a.db, sk_bytes_str("app:log:1")), SK_POLICY_NEWEST);
    assert_int_equal(a.db.keys, 0);
    txn(&a, take_away(&a, SK_TABLE_POLICY, "", NULL));
    assert_int_equal(sk_db_policy(&a.db, sk_bytes_str("any")), SK_POLICY_SIBLINGS);
}

/* -- iteration ----------------------------------------------------------------------------------------------------- */

static int collect_raw(void *self, sk_bytes raw, const sk_row *row)
{
    assert_non_null(row);
    sk_buf_printf(self, "%.*s ", (int)raw.len, (const char *)raw.data);
    return ((sk_buf *)self)->len > 12;
}

static void iteration_goes_over_a_prefix_and_can_stop(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "ab", "b", "bc", "bd", "c"};
    for (int i = 0; i < 6; i++) txn(&a, put(&a, SK_TABLE_KEY, keys[i], NULL, "1"));
    sk_buf text = {0};
    a.db.read_batch = 0;
    assert_int_equal(sk_db_each(&a.db, sk_bytes_str("kb"), SK_BYTES_NONE, collect_raw, &text), 0);
    assert_bytes_equal(sk_buf_view(&text), sk_bytes_str("kb kbc kbd "));
    assert_true(a.db.read_batch == UINT64_MAX); /* it rests on what is not committed */
    sk_buf_reset(&text);
    assert_int_equal(sk_db_each(&a.db, sk_bytes_str("k"), sk_bytes_str("kab"), collect_raw, &text), 1);
    assert_bytes_equal(sk_buf_view(&text), sk_bytes_str("kab kb kbc kbd "));
    sk_buf_free(&text);
}

/* -- forgetting ---------------------------------------------------------------------------------------------------- */

static void forget_up_to(database *with, uint64_t first, uint64_t second)
{
    sk_vv stable = vv_of(first, second, 0);
    sk_db_forget(&with->db, &stable, &stable);
    sk_vv_free(&stable);
    assert_int_equal(with->db.failed, 0);
    commit(with);
}

static void what_is_stable_is_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    assert_int_equal(history_in(&a), 5);
    forget_up_to(&a, 3, 0);
    assert_int_equal(history_in(&a), 2);
    assert_int_equal(sk_vv_get(&a.db.floor, 0), 3);
    forget_up_to(&a, 1, 0); /* never back */
    assert_int_equal(sk_vv_get(&a.db.floor, 0), 3);
    forget_up_to(&a, 99, 99); /* never beyond what we have */
    assert_int_equal(sk_vv_get(&a.db.floor, 0), 5);
    assert_int_equal(history_in(&a), 0);
}

/* The second reset of a row is not stable when the first one is: the count that it left dead stays, or an increment
 * that had not seen it would bring back all that it took away. */
static void a_dead_count_waits_for_its_own_reset(void **state)
{
    (void)state;
    database c;
    database_start(&c, "c", 3);
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL)); /* a1 */
    txn(&c, add(&c, SK_TABLE_KEY, "n", NULL, 7));
    apply_last(&c, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL)); /* a2 */
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "1:1 c 5-5@1 from 1+, 2:1 c 7-7@1 from 1+");
    forget_up_to(&a, 1, 1);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "2:1 c 7-7@1 from 1+");
    txn(&c, add(&c, SK_TABLE_KEY, "n", NULL, 1)); /* has not seen a2 */
    apply_last(&c, &a);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "2:2 c 8-7@1 from 1");
    database_end(&c);
}

static bool second_may_return;

static bool may_return(void *self, uint32_t origin)
{
    (void)self;
    return second_may_return && origin == 1;
}

static bool revisit(database *with, uint64_t first, uint64_t second)
{
    sk_vv everywhere = vv_of(first, second, 0);
    int more;
    while ((more = sk_db_revisit(&with->db, &everywhere, 1)) > 0) continue;
    assert_int_equal(more, 0);
    sk_vv_free(&everywhere);
    commit(with);
    return with->db.revisit;
}

/* An increment that only a forgotten database has comes back with it: the count that it belongs to must still be dead. */
static void dead_counts_of_what_may_return_stay(void **state)
{
    (void)state;
    a.db.may_return = may_return;
    second_may_return = true;
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL));
    for (int i = 0; i < 3; i++) txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    forget_up_to(&a, 4, 1);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "1:1 c 5-5@1 from 1+");
    assert_int_equal(sk_vv_get(&a.db.floor, 0), 4);
    assert_int_equal(history_in(&a), 1); /* what speaks of it, and nothing else */
    assert_false(revisit(&a, 4, 1));
    assert_int_equal(history_in(&a), 1);
    for (int i = 0; i < 3; i++) txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "1"));
    forget_up_to(&a, 7, 1);
    assert_int_equal(history_in(&a), 1); /* also when more is forgotten */
    commit(&a);
    sk_db_close(&a.db);
    assert_int_equal(open_as(&a, "a", "test", "1", 1), 0);
    a.db.may_return = may_return;
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 1)); /* has not seen the removal */
    apply_last(&b, &a);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "1:2 c 6-5@1 from 1");
}

/* It is a member again, and has acknowledged the reset: now they go, and what spoke of them. */
static void and_go_once_their_resets_are_everywhere(void **state)
{
    (void)state;
    a.db.may_return = may_return;
    second_may_return = true;
    for (int i = 0; i < 3; i++) {
        char key[8];
        snprintf(key, sizeof key, "n%d", i);
        txn(&b, add(&b, SK_TABLE_KEY, key, NULL, 5));
        apply_last(&b, &a);
        txn(&a, take_away(&a, SK_TABLE_KEY, key, NULL));
    }
    forget_up_to(&a, 3, 3);
    assert_int_equal(history_in(&a), 3);
    second_may_return = false;
    sk_db_revisit_anew(&a.db);
    assert_false(revisit(&a, 1, 3)); /* two of them it has not seen yet */
    assert_int_equal(history_in(&a), 2);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n0", NULL), "");
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n1", NULL), "1:2 c 5-5@2 from 2+");
    forget_up_to(&a, 3, 3); /* more is everywhere: they are looked at again */
    assert_true(a.db.revisit);
    assert_false(revisit(&a, 3, 3));
    assert_int_equal(history_in(&a), 0);
    assert_int_equal(pairs_in(&a, SK_CF_ROW), 0);
}

/* Of two one was looked at, and had to stay, when what may return changes. */
static void a_change_in_what_may_return_begins_it_anew(void **state)
{
    (void)state;
    a.db.may_return = may_return;
    second_may_return = true;
    for (int i = 0; i < 2; i++) {
        txn(&b, add(&b, SK_TABLE_KEY, i ? "m" : "n", NULL, 5));
        apply_last(&b, &a);
        txn(&a, take_away(&a, SK_TABLE_KEY, i ? "m" : "n", NULL));
    }
    forget_up_to(&a, 2, 2);
    sk_db_revisit_anew(&a.db);
    assert_int_equal(sk_db_revisit(&a.db, &a.db.vv, 1), 1);
    second_may_return = false;
    sk_db_revisit_anew(&a.db);
    while (a.db.revisit) (void)revisit(&a, 2, 2);
    assert_int_equal(history_in(&a), 0);
    assert_int_equal(pairs_in(&a, SK_CF_ROW), 0);
}

/* Flags from before a restart are not among those counted since: stripping one must not hide another. */
static void dead_counts_of_before_and_after_a_restart_go(void **state)
{
    (void)state;
    txn(&b, add(&b, SK_TABLE_KEY, "n", NULL, 5));
    apply_last(&b, &a);
    txn(&b, add(&b, SK_TABLE_KEY, "m", NULL, 5));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL));
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    txn(&a, take_away(&a, SK_TABLE_KEY, "m", NULL));
    forget_up_to(&a, 1, 2);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "");
    forget_up_to(&a, 2, 2);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "m", NULL), "");
    assert_int_equal(pairs_in(&a, SK_CF_ROW), 0);
    assert_int_equal(a.db.dead_flags, 0);
}

static void history_keys_come_back(void **state)
{
    (void)state;
    uint8_t key[SK_HISTORY_DOT_BYTES + 2] = {0};
    sk_dot dot;
    sk_bytes raw;
    sk_history_key(key, 258, 1ull << 40 | 7);
    key[12] = 'k';
    key[13] = 'x';
    assert_true(sk_history_parse(sk_bytes_of(key, sizeof key), &dot, &raw));
    assert_int_equal(dot.origin, 258);
    assert_true(dot.seq == (1ull << 40 | 7));
    assert_bytes_equal(raw, sk_bytes_str("kx"));
    assert_true(sk_history_parse(sk_bytes_of(key, 12), &dot, &raw));
    assert_int_equal(raw.len, 0);
    assert_false(sk_history_parse(sk_bytes_of(key, 11), &dot, &raw));
    sk_history_key(key, SK_ORIGINS_MAX, 1);
    assert_false(sk_history_parse(sk_bytes_of(key, sizeof key), &dot, &raw));
}

static void a_damaged_row_is_an_error(void **state)
{
    (void)state;
    sk_row row;
    sk_store_put(a.store, SK_CF_ROW, sk_bytes_str("kx"), sk_bytes_str("\xc1"));
    assert_int_equal(sk_db_row(&a.db, sk_bytes_str("kx"), &a.arena, &row), SK_E_CORRUPT);
    sk_buf text = {0};
    assert_int_equal(sk_db_each(&a.db, sk_bytes_str("k"), SK_BYTES_NONE, collect_raw, &text), SK_E_CORRUPT);
    sk_buf_free(&text);
    sk_store_put(a.store, SK_CF_ROW, sk_bytes_str("kx"), sk_bytes_str("\x51\1\1\xc4\1v")); /* of origin 10 */
    assert_int_equal(sk_db_row(&a.db, sk_bytes_str("kx"), &a.arena, &row), SK_E_CORRUPT);
    sk_arena small = {.max = 16};
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "a value that does not fit"));
    assert_int_equal(sk_db_row(&a.db, sk_bytes_str("ky"), &small, &row), SK_E_MEMORY);
    sk_arena_free(&small);
}

static void a_snapshot_tells_its_own_vector(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "2"));
    sk_db_seal(&a.db);
    sk_store_snapshot *snapshot = sk_store_snapshot_take(a.store);
    sk_vv vv = {0}, floor = {0};
    assert_int_equal(sk_db_snapshot_state(&a.db, snapshot, &vv, &floor), 0);
    assert_int_equal(sk_vv_get(&vv, 0), 1);
    sk_store_snapshot_free(a.store, snapshot);
    sk_vv_free(&vv);
    sk_vv_free(&floor);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, close_both)
    const struct CMUnitTest tests[] = {
        TEST(a_new_database_is_sealed_and_empty),
        TEST(everything_is_there_after_opening_again),
        TEST(another_life_takes_another_incarnation),
        TEST(a_copy_begins_with_a_break),
        TEST(a_database_of_others_is_refused),
        TEST(damaged_records_are_refused),
        TEST(a_crash_goes_back_to_what_was_synced),
        TEST(sizes_and_keys_are_counted),
        TEST(conflicts_are_indexed),
        TEST(deadlines_are_indexed),
        TEST(whoever_watches_is_told),
        TEST(the_longest_prefix_decides),
        TEST(iteration_goes_over_a_prefix_and_can_stop),
        TEST(what_is_stable_is_forgotten),
        TEST(a_dead_count_waits_for_its_own_reset),
        TEST(dead_counts_of_what_may_return_stay),
        TEST(and_go_once_their_resets_are_everywhere),
        TEST(a_change_in_what_may_return_begins_it_anew),
        TEST(dead_counts_of_before_and_after_a_restart_go),
        TEST(history_keys_come_back),
        TEST(a_damaged_row_is_an_error),
        TEST(a_snapshot_tells_its_own_vector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
