/* The n-th call of a region's store fails, for n = 1, 2, 3 … until story.h's makes fewer. */
#include "tests/fault/story.h"

static void story_opened(story *s)
{
    (void)s;
}

static void story_heals(story *s)
{
    s->faults.length = 0;
}

static void sweep(int error, uint64_t length)
{
    uint64_t errors = 0, refused = 0, hung_up = 0, laggards = 0, renewed = 0;
    const test_part part = test_part_asked();
    for (call = 1 + part.k;; call += part.of) {
        story s = {.faults = {.first = call, .length = length, .error = error}};
        play(&s);
        errors += s.errors;
        refused += s.restarts_refused;
        hung_up += s.hung_up;
        laggards += s.laggards;
        renewed += s.renewed;
        if (s.faults.counted < call) break;
    }
    const uint64_t runs = (call - 1) / part.of;
    print_message("%llu calls: %llu requests refused, %llu starts refused, %llu links closed\n",
                  (unsigned long long)runs, (unsigned long long)errors, (unsigned long long)refused,
                  (unsigned long long)hung_up);
    assert_true(call > 100);
    assert_true(errors > 0 && refused > 0);
    assert_true(laggards > runs / 2 && renewed > runs / 2);
}

static void one_call_fails(void **state)
{
    (void)state;
    sweep(SK_E_IO, 1);
}

static void several_calls_fail(void **state)
{
    (void)state;
    sweep(SK_E_DISK_FULL, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_fails),
        cmocka_unit_test(several_calls_fail),
    };
    signal(SIGABRT, say_which);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
