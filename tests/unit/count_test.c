#include "tests/unit/crdt_harness.h"

#include <float.h>
#include <math.h>

static void whole_numbers_add_up_to_their_limits(void **state)
{
    (void)state;
    sk_number sum = sk_number_whole(77);
    assert_true(sk_number_add(sk_number_whole(INT64_MAX - 1), sk_number_whole(1), &sum));
    assert_true(sum.whole == INT64_MAX);
    assert_false(sk_number_add(sum, sk_number_whole(1), &sum));
    assert_true(sum.whole == INT64_MAX); /* left alone */
    assert_false(sk_number_add(sk_number_whole(INT64_MIN), sk_number_whole(-1), &sum));
    assert_true(sk_number_add(sum, sk_number_real(0.5L), &sum));
    assert_true(sum.is_real);
    assert_true(sum.real == 9223372036854775807.5L);
    assert_false(sk_number_add(sk_number_real(LDBL_MAX), sk_number_real(LDBL_MAX), &sum));
}

static void numbers_come_back_exactly(void **state)
{
    (void)state;
    static const long double reals[] = {0,        -0.0L,         0.1L,         -0.1L,       1e300L, LDBL_MAX, -LDBL_MAX,
                                        LDBL_MIN, LDBL_TRUE_MIN, 1.0L / 3.0L, LDBL_EPSILON, 5e17L,
                                        0x1p63L,  0x1.8p-16400L};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        sk_buf buf = {0};
        sk_number_pack(&buf, sk_number_real(reals[i]));
        assert_int_equal(buf.len, 13);
        sk_reader reader = sk_reader_of(sk_buf_view(&buf));
        sk_number back = sk_number_read(&reader);
        assert_true(sk_reader_done(&reader));
        assert_true(back.is_real && back.real == reals[i] && !signbit(back.real) == !signbit(reals[i]));
        sk_buf_free(&buf);
    }
    static const int64_t wholes[] = {0, 1, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < 5; i++) {
        sk_buf buf = {0};
        sk_number_pack(&buf, sk_number_whole(wholes[i]));
        sk_reader reader = sk_reader_of(sk_buf_view(&buf));
        sk_number back = sk_number_read(&reader);
        assert_true(sk_reader_done(&reader));
        assert_true(!back.is_real && back.whole == wholes[i]);
        sk_buf_free(&buf);
    }
}

static void damaged_numbers_are_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xc4\x0b\x02\x80\0\0\0\0\0\0\0\0\1", /* sign */
                                      "\xc4\x0b\x00\x80\0\0\0\0\0\0\0\x7f\xff", /* not finite */
                                      "\xc4\x0a\x00\x80\0\0\0\0\0\0\0\0", "\xc4\x0b\x00\x80", "\xa1z", ""};
    static const size_t lens[] = {13, 13, 12, 4, 2, 0};
    for (int i = 0; i < 6; i++) {
        sk_reader reader = sk_reader_of(sk_bytes_of(bad[i], lens[i]));
        (void)sk_number_read(&reader);
        assert_true(reader.bad);
    }
}

static void the_later_reset_of_the_epoch_stands(void **state)
{
    (void)state;
    sk_count count = {.epoch = 4, .total = sk_number_whole(10)};
    assert_false(sk_count_reset(&count, 3, 9, sk_number_whole(1), (sk_dot){1, 1})); /* another epoch */
    assert_false(sk_count_reset(&count, 4, 0, sk_number_whole(1), (sk_dot){1, 1}));
    assert_int_equal(count.base_seq, 0);
    assert_true(sk_count_reset(&count, 4, 6, sk_number_whole(7), (sk_dot){1, 2}));
    assert_false(sk_count_reset(&count, 4, 5, sk_number_whole(6), (sk_dot){1, 3}));
    assert_false(sk_count_reset(&count, 4, 6, sk_number_whole(7), (sk_dot){1, 4})); /* by two regions: once */
    assert_int_equal(count.base_seq, 6);
    assert_int_equal(count.base.whole, 7);
    assert_int_equal(count.reset_by.seq, 2);
    sk_count other = {.epoch = 4, .base_seq = 8, .base = sk_number_whole(9), .reset_by = {2, 5}};
    assert_true(sk_count_join_base(&count, &other));
    assert_int_equal(count.base.whole, 9);
    assert_int_equal(count.reset_by.origin, 2);
    assert_false(sk_count_join_base(&count, &(sk_count){.epoch = 4}));
}

static const char *sum_text(const sk_sum *sum)
{
    static char text[SK_SUM_TEXT_MAX + 1];
    text[sk_sum_text(sum, text)] = 0;
    return text;
}

static void sums_are_shown_as_redis_would(void **state)
{
    (void)state;
    sk_sum sum = {0};
    assert_string_equal(sum_text(&sum), "0");
    sk_sum_add(&sum, sk_number_whole(INT64_MAX));
    assert_string_equal(sum_text(&sum), "9223372036854775807");
    sk_sum_add(&sum, sk_number_whole(INT64_MAX)); /* only concurrent increments can: nothing is lost */
    assert_string_equal(sum_text(&sum), "18446744073709551614");
    sk_sum_subtract(&sum, sk_number_whole(INT64_MAX));
    sk_sum_subtract(&sum, sk_number_whole(INT64_MAX));
    sk_sum_subtract(&sum, sk_number_whole(INT64_MAX));
    sk_sum_subtract(&sum, sk_number_whole(2));
    assert_string_equal(sum_text(&sum), "-9223372036854775809");
    sk_sum_add(&sum, sk_number_whole(1));
    assert_string_equal(sum_text(&sum), "-9223372036854775808");
    sk_sum real = {0};
    sk_sum_add(&real, sk_number_whole(3));
    sk_sum_add(&real, sk_number_real(0.1L));
    assert_string_equal(sum_text(&real), "3.1");
    sk_sum_subtract(&real, sk_number_real(0.1L));
    assert_string_equal(sum_text(&real), "3");
    sk_sum huge = {0};
    sk_sum_add(&huge, sk_number_real(-LDBL_MAX));
    assert_true(strlen(sum_text(&huge)) > 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_add_up_to_their_limits),
        cmocka_unit_test(numbers_come_back_exactly),
        cmocka_unit_test(damaged_numbers_are_bad),
        cmocka_unit_test(the_later_reset_of_the_epoch_stands),
        cmocka_unit_test(sums_are_shown_as_redis_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
