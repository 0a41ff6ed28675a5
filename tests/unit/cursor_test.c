/* Cursors: positions are found again, also one step back; forks part; what is forgotten is an error. */
#include "node/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const sk_bytes SCOPE = {(const uint8_t *)"hkey", 4}, OTHER = {(const uint8_t *)"mkey", 4};

static int setup(void **state)
{
    sk_cursors *cursors = sk_alloc(sizeof *cursors);
    sk_cursors_init(cursors, 42);
    *state = cursors;
    return 0;
}

static int teardown(void **state)
{
    sk_cursors_check(*state);
    sk_cursors_free(*state);
    free(*state);
    return 0;
}

static void assert_position(sk_cursors *cursors, uint64_t cursor, const char *position)
{
    sk_bytes found;
    assert_true(sk_cursor_find(cursors, cursor, SCOPE, &found));
    assert_true(sk_bytes_equal(found, sk_bytes_str(position)));
}

static void test_a_scan_goes_on(void **state)
{
    sk_cursors *cursors = *state;
    uint64_t one = sk_cursor_save(cursors, 0, sk_bytes_str("a"), SCOPE);
    assert_true(one > 0 && one < 1ULL << 63);
    assert_position(cursors, one, "a");
    uint64_t two = sk_cursor_save(cursors, one, sk_bytes_str("b"), SCOPE);
    assert_true(two != one);
    assert_position(cursors, two, "b");
    assert_position(cursors, one, "a"); /* its reply may have been lost */
    uint64_t three = sk_cursor_save(cursors, two, sk_bytes_str(""), SCOPE);
    sk_bytes found;
    assert_position(cursors, three, "");
    assert_false(sk_cursor_find(cursors, one, SCOPE, &found));
}

static void test_a_repeated_step_is_the_same_another_is_a_fork(void **state)
{
    sk_cursors *cursors = *state;
    uint64_t one = sk_cursor_save(cursors, 0, sk_bytes_str("a"), SCOPE);
    uint64_t two = sk_cursor_save(cursors, one, sk_bytes_str("b"), SCOPE);
    assert_true(sk_cursor_save(cursors, one, sk_bytes_str("b"), SCOPE) == two);
    uint64_t fork = sk_cursor_save(cursors, one, sk_bytes_str("z"), SCOPE);
    assert_true(fork != two);
    assert_position(cursors, two, "b");
    assert_position(cursors, fork, "z");
    assert_position(cursors, one, "a");
}

static void test_the_unknown_is_not_found(void **state)
{
    sk_cursors *cursors = *state;
    sk_bytes found;
    assert_false(sk_cursor_find(cursors, 1, SCOPE, &found));
    uint64_t one = sk_cursor_save(cursors, 0, sk_bytes_str("a"), SCOPE);
    assert_false(sk_cursor_find(cursors, one, OTHER, &found));
    assert_false(sk_cursor_find(cursors, one + 1, SCOPE, &found));
    assert_false(sk_cursor_find(cursors, one - 1, SCOPE, &found)); /* no step before the first */
    assert_false(sk_cursor_find(cursors, one ^ 1ULL << 40, SCOPE, &found));
    assert_false(sk_cursor_find(cursors, UINT64_MAX, SCOPE, &found));
    assert_false(sk_cursor_find(cursors, 0, SCOPE, &found));
    /* A save from a cursor of something else, or one forgotten, begins anew. */
    uint64_t two = sk_cursor_save(cursors, one, sk_bytes_str("b"), OTHER);
    assert_position(cursors, one, "a");
    assert_true(sk_cursor_find(cursors, two, OTHER, &found));
}

static void test_the_longest_rested_is_forgotten(void **state)
{
    sk_cursors *cursors = *state;
    uint64_t busy = sk_cursor_save(cursors, 0, sk_bytes_str("busy"), SCOPE);
    uint64_t idle = sk_cursor_save(cursors, 0, sk_bytes_str("idle"), SCOPE);
    /* One long scan takes one place, however many steps it has. */
    uint64_t step = 0;
    for (int i = 0; i < 70000; i++) step = sk_cursor_save(cursors, step, sk_bytes_str("step"), SCOPE);
    assert_position(cursors, idle, "idle");
    assert_position(cursors, busy, "busy");
    for (int i = 0; i < SK_CURSORS_MAX - 1; i++) {
        sk_cursor_save(cursors, 0, sk_bytes_str("x"), SCOPE);
        assert_position(cursors, busy, "busy");
    }
    sk_bytes found;
    assert_false(sk_cursor_find(cursors, idle, SCOPE, &found));
    sk_cursors_check(cursors);
}

static void test_positions_are_bounded(void **state)
{
    sk_cursors *cursors = *state;
    size_t len = SK_CURSOR_BYTES_MAX / 4;
    uint8_t *large = sk_alloc(SK_CURSOR_BYTES_MAX + 1);
    uint64_t first = sk_cursor_save(cursors, 0, sk_bytes_of(large, len), SCOPE), last = 0;
    for (int i = 0; i < 4; i++) last = sk_cursor_save(cursors, 0, sk_bytes_of(large, len), SCOPE);
    sk_bytes found;
    assert_false(sk_cursor_find(cursors, first, SCOPE, &found));
    assert_true(sk_cursor_find(cursors, last, SCOPE, &found));
    sk_cursors_check(cursors);
    /* One that is over the bound alone is kept: its scan could not go on otherwise. */
    last = sk_cursor_save(cursors, 0, sk_bytes_of(large, SK_CURSOR_BYTES_MAX + 1), SCOPE);
    assert_true(sk_cursor_find(cursors, last, SCOPE, &found));
    assert_int_equal(found.len, SK_CURSOR_BYTES_MAX + 1);
    free(large);
}

static void test_arguments_are_read_as_redis_reads_them(void **state)
{
    (void)state;
    uint64_t cursor = 7;
    assert_true(sk_cursor_parse(sk_bytes_str("0"), &cursor) && cursor == 0);
    assert_true(sk_cursor_parse(sk_bytes_str("9223372036854775807"), &cursor) && cursor == INT64_MAX);
    assert_true(sk_cursor_parse(sk_bytes_str(""), &cursor) && cursor == 0);
    assert_true(sk_cursor_parse(sk_bytes_str("+5"), &cursor) && cursor == 5);
    assert_true(sk_cursor_parse(sk_bytes_str("-1"), &cursor) && cursor == UINT64_MAX);
    static const char *const bad[] = {"x", " 0", "0 ", "1x", "99999999999999999999999", "-", "\t1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(sk_cursor_parse(sk_bytes_str(bad[i]), &cursor));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_scan_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_repeated_step_is_the_same_another_is_a_fork, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_unknown_is_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_longest_rested_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_positions_are_bounded, setup, teardown),
        cmocka_unit_test(test_arguments_are_read_as_redis_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
