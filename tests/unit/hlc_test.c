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

static void a_clock_that_was_wrong_comes_back(void **state)
{
    (void)state;
    const uint64_t year = 365ull * 86400 * 1000;
    sk_hlc clock = 0;
    assert_int_equal(sk_hlc_ms(sk_hlc_tick(&clock, 10 * year)), 10 * year);
    sk_hlc now = sk_hlc_tick(&clock, year); /* the wall was set right */
    assert_in_range(sk_hlc_ms(now), year, year + SK_HLC_AHEAD_MS_MAX);
    for (int i = 0; i < 1000; i++) { /* from there it goes on upwards, whatever others say */
        sk_hlc_observe(&clock, sk_hlc_of_ms(10 * year) + (sk_hlc)i, year);
        sk_hlc later = sk_hlc_tick(&clock, year);
        assert_true(later > now);
        now = later;
    }
    assert_true(sk_hlc_ms(now) <= year + SK_HLC_LEAD_MS_MAX);
    clock = sk_hlc_of_ms(year + SK_HLC_LEAD_MS_MAX); /* within bounds it never goes back */
    assert_true(sk_hlc_tick(&clock, year) == sk_hlc_of_ms(year + SK_HLC_LEAD_MS_MAX) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_is_above_all_before_and_at_the_wall),
        cmocka_unit_test(a_remote_time_pulls_up_to_the_bound),
        cmocka_unit_test(a_clock_that_was_wrong_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
