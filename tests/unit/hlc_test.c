#include "tests/unit/crdt_harness.h"

static void a_tick_is_above_all_before_and_at_the_wall(void **state)
{
    (void)state;
    sk_hlc clock = 0, before = 0;
    static const uint64_t walls[] = {5, 5, 5, 9, 2, 9, 100};
    for (int i = 0; i < 7; i++) {
        sk_hlc now = sk_hlc_tick(&clock, walls[i]);
        assert_true(now > before);
        assert_true(sk_hlc_ms(now) >= walls[i]);
        before = now;
    }
    assert_true(before == sk_hlc_of_ms(100));
    for (int i = 0; i < 70000; i++) (void)sk_hlc_tick(&clock, 100); /* the counter runs over into the milliseconds */
    assert_int_equal(sk_hlc_ms(clock), 101);
}

static void a_remote_time_pulls_up_to_the_bound(void **state)
{
    (void)state;
    sk_hlc clock = sk_hlc_of_ms(1000);
    sk_hlc_observe(&clock, sk_hlc_of_ms(500), 1000);
    assert_true(clock == sk_hlc_of_ms(1000));
    sk_hlc_observe(&clock, sk_hlc_of_ms(2000) + 3, 1000);
    assert_true(clock == sk_hlc_of_ms(2000) + 3);
    sk_hlc_observe(&clock, UINT64_MAX, 1000);
    assert_int_equal(sk_hlc_ms(clock), 1000 + SK_HLC_AHEAD_MS_MAX);
    assert_true(sk_hlc_tick(&clock, 1000) > sk_hlc_of_ms(1000 + SK_HLC_AHEAD_MS_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_is_above_all_before_and_at_the_wall),
        cmocka_unit_test(a_remote_time_pulls_up_to_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
