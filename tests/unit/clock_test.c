/* gossip/clock: whose clock is believed, and how far our own may go beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crdt/hlc.h"
#include "gossip/clock.h"

#define WALL_MS 1790000000000u
#define YEAR_MS (365ull * 86400 * 1000)

static void the_shortest_trip_is_kept(void **state)
{
    (void)state;
    sk_clock clock = {0};
    sk_clock_measure(&clock, WALL_MS, 100, 1000);
    assert_true(clock.known && clock.heard);
    assert_int_equal(clock.base_ms, WALL_MS + 50 - 1000);
    sk_clock_measure(&clock, WALL_MS + 60, 10, 1050); /* better */
    assert_int_equal(clock.base_ms, WALL_MS + 65 - 1050);
    int64_t kept = clock.base_ms;
    sk_clock_measure(&clock, WALL_MS + 2000, 500, 3100); /* worse, and it fits */
    assert_int_equal(clock.base_ms, kept);
    sk_clock_measure(&clock, WALL_MS + 20000, 500, 1050 + SK_CLOCK_KEEP_MS); /* but the other is old */
    assert_int_equal(clock.trip_ms, 500);
}

static void a_clock_that_was_set_is_noticed_at_once(void **state)
{
    (void)state;
    sk_clock clock = {0};
    sk_clock_measure(&clock, WALL_MS, 2, 1000);
    sk_clock_measure(&clock, WALL_MS + YEAR_MS, 400, 1500);
    assert_int_equal(clock.base_ms, WALL_MS + YEAR_MS + 200 - 1500);
    sk_clock_measure(&clock, WALL_MS, 800, 2000); /* and back */
    assert_int_equal(clock.base_ms, WALL_MS + 400 - 2000);
    clock.heard = false; /* another session: the peer may be another machine */
    sk_clock_measure(&clock, WALL_MS + 10, 900, 2100);
    assert_int_equal(clock.trip_ms, 900);
}

static void the_reference_is_the_lower_median(void **state)
{
    (void)state;
    static const struct {
        int64_t bases[5];
        size_t count, members;
        bool taken;
        int64_t base;
    } cases[] = {
        {{7}, 1, 1, false, 0},                  /* alone */
        {{7, 5}, 2, 2, true, 5},                /* of two the lower */
        {{5, 7}, 2, 2, true, 5},
        {{900, 7, 5}, 3, 3, true, 7},           /* one far ahead moves nothing */
        {{5, 7, -900}, 3, 3, true, 5},          /* nor one far behind */
        {{900, 901, 5, 7}, 4, 4, true, 7},
        {{900, 5, 6, 7, 901}, 5, 5, true, 7},
        {{900, 7}, 2, 4, false, 0},             /* half is not enough */
        {{900, 7, 5}, 3, 5, true, 7},           /* one more is */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sk_clock_reference reference = {.base_ms = 0};
        int64_t bases[5];
        for (size_t k = 0; k < 5; k++) bases[k] = cases[i].bases[k];
        sk_clock_refer(&reference, bases, cases[i].count, cases[i].members, 77);
        assert_int_equal(reference.known, cases[i].taken);
        assert_int_equal(reference.base_ms, cases[i].base);
        assert_int_equal(reference.at_ms, cases[i].taken ? 77 : 0);
    }
    sk_clock_reference reference = {.known = true, .base_ms = 3, .at_ms = 4};
    sk_clock_refer(&reference, (int64_t[]){900}, 1, 3, 77); /* cut off: the last one stays */
    assert_int_equal(reference.base_ms, 3);
    assert_int_equal(reference.at_ms, 4);
}

static void our_own_goes_no_further_than_the_bound(void **state)
{
    (void)state;
    sk_clock_reference none = {.known = false}, reference = {.known = true, .base_ms = WALL_MS - 1000, .at_ms = 1000};
    assert_int_equal(sk_clock_bounded(&none, 5, WALL_MS + YEAR_MS), WALL_MS + YEAR_MS);
    assert_int_equal(sk_clock_bounded(&reference, 1000, WALL_MS), WALL_MS);
    assert_int_equal(sk_clock_bounded(&reference, 1000, WALL_MS - YEAR_MS), WALL_MS - YEAR_MS);
    assert_int_equal(sk_clock_bounded(&reference, 1000, WALL_MS + SK_HLC_AHEAD_MS_MAX), WALL_MS + SK_HLC_AHEAD_MS_MAX);
    assert_int_equal(sk_clock_bounded(&reference, 1000, WALL_MS + 10 * YEAR_MS), WALL_MS + SK_HLC_AHEAD_MS_MAX);
    /* An hour later, nobody heard since: the reference goes on, with room for drift. */
    assert_int_equal(sk_clock_bounded(&reference, 1000 + 3600000, WALL_MS + YEAR_MS),
                     WALL_MS + 3600000 + SK_HLC_AHEAD_MS_MAX + 3600);
    sk_clock_reference odd = {.known = true, .base_ms = INT64_MIN / 2, .at_ms = 0}; /* a peer says what it likes */
    assert_int_equal(sk_clock_bounded(&odd, 1000, WALL_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shortest_trip_is_kept),
        cmocka_unit_test(a_clock_that_was_set_is_noticed_at_once),
        cmocka_unit_test(the_reference_is_the_lower_median),
        cmocka_unit_test(our_own_goes_no_further_than_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
