/* How long the rest of something will take, told from how it got on lately. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gossip/pace.h"

static void nothing_is_known_at_first(void **state)
{
    (void)state;
    sk_pace pace = {0};
    assert_int_equal(sk_pace_left_ms(&pace, 1000), -1);
    sk_pace_tell(&pace, 0, 0, 1000);
    assert_int_equal(sk_pace_left_ms(&pace, 2000), -1);
    sk_pace_tell(&pace, 100, 10, 2000); /* that 10 were there is no pace */
    assert_int_equal(sk_pace_left_ms(&pace, 2000), -1);
    assert_int_equal(sk_pace_left_ms(&pace, 9000), -1);
}

static void the_rest_takes_as_long_as_so_much_did(void **state)
{
    (void)state;
    sk_pace pace = {0};
    sk_pace_tell(&pace, 100, 10, 1000);
    sk_pace_tell(&pace, 100, 20, 2000);
    assert_int_equal(sk_pace_left_ms(&pace, 2000), 8000);
    assert_int_equal(sk_pace_left_ms(&pace, 4000), 24000); /* it has stood still since */
    sk_pace_tell(&pace, 100, 100, 5000);
    assert_int_equal(sk_pace_left_ms(&pace, 5000), 0);
    sk_pace_tell(&pace, 100, 120, 5000);
    assert_int_equal(sk_pace_left_ms(&pace, 5000), 0);
}

/* 100 a second for a minute, then 1000: that shows within some seconds, and what was long ago does not count. */
static void another_pace_shows_soon(void **state)
{
    (void)state;
    sk_pace pace = {0};
    uint64_t done = 0, ms = 1000;
    for (; done < 6000; done += 10, ms += 100) sk_pace_tell(&pace, 100000, done, ms);
    assert_in_range(sk_pace_left_ms(&pace, ms), 940000, 960000);
    for (uint64_t until = ms + 2 * SK_PACE_MS; ms <= until; done += 100, ms += 100)
        sk_pace_tell(&pace, 100000, done, ms);
    assert_in_range(sk_pace_left_ms(&pace, ms), 80000, 90000);
}

static void what_begins_anew_has_a_pace_of_its_own(void **state)
{
    (void)state;
    sk_pace pace = {0};
    sk_pace_tell(&pace, 100, 0, 1000);
    sk_pace_tell(&pace, 100, 90, 1100);
    sk_pace_tell(&pace, 100, 0, 2000);
    assert_int_equal(sk_pace_left_ms(&pace, 2000), -1);
    sk_pace_tell(&pace, 100, 1, 3000);
    assert_int_equal(sk_pace_left_ms(&pace, 3000), 99000);
}

static void any_numbers_will_do(void **state)
{
    (void)state;
    sk_pace pace = {0};
    sk_pace_tell(&pace, UINT64_MAX, 0, 0);
    sk_pace_tell(&pace, UINT64_MAX, 1, UINT64_MAX / 2);
    assert_true(sk_pace_left_ms(&pace, UINT64_MAX / 2) > 0);
    sk_pace_tell(&pace, 0, UINT64_MAX, UINT64_MAX / 2);
    assert_int_equal(sk_pace_left_ms(&pace, UINT64_MAX / 2), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_at_first), cmocka_unit_test(the_rest_takes_as_long_as_so_much_did),
        cmocka_unit_test(another_pace_shows_soon),   cmocka_unit_test(what_begins_anew_has_a_pace_of_its_own),
        cmocka_unit_test(any_numbers_will_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
