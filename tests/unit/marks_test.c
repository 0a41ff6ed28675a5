/* Sets of hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "node/marks.h"

#include <cmocka.h>

enum { MARKS = 5000 };

static uint64_t mark(uint64_t i)
{
    return i % 3 ? i * 6364136223846793005u : i << 40 | 7; /* many want the same place */
}

static void a_set_has_what_was_added(void **state)
{
    (void)state;
    sk_marks set = {0};
    uint64_t at = 0, one, sum = 0, all = 0;
    assert_false(sk_marks_has(&set, 1));
    assert_false(sk_marks_next(&set, &at, &one));
    for (int again = 0; again < 2; again++)
        for (uint64_t i = 1; i <= MARKS; i++) sk_marks_add(&set, mark(i));
    assert_int_equal(set.count, MARKS);
    assert_true(set.size < 2 * MARKS + 64);
    for (uint64_t i = 1; i <= MARKS; i++) {
        assert_true(sk_marks_has(&set, mark(i)));
        assert_false(sk_marks_has(&set, mark(i + MARKS)));
        sum += mark(i);
    }
    while (sk_marks_next(&set, &at, &one)) all += one;
    assert_int_equal(sum, all);
    sk_marks_free(&set);
    assert_int_equal(set.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_set_has_what_was_added)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
