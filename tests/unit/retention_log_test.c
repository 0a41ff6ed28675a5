/* When a warning is due: once, and not again before the share has fallen well below. */
#include "node/retention_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_level_ends_well_below_where_it_begins(void **state)
{
    (void)state;
    static const struct {
        uint64_t percent;
        unsigned level;
    } steps[] = {{0, 0},  {49, 0}, {50, 1}, {49, 1}, {40, 1},  {39, 0}, {50, 1}, {79, 1},
                 {80, 2}, {70, 2}, {69, 1}, {80, 2}, {100, 2}, {12, 0}, {99, 2}, {45, 1}};
    unsigned level = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        level = sk_retention_level(level, steps[i].percent);
        assert_int_equal(level, steps[i].level);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_level_ends_well_below_where_it_begins)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
