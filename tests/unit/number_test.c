/* The texts and values here were recorded from Redis 7.0.15 (INCRBY, INCRBYFLOAT, ZSCORE). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crdt/number.h"

static void integers_are_read_as_string2ll_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"10", 10},
        {"-1", -1},
        {"-10", -10},
        {"1234567890123456789", 1234567890123456789},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807", -INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    static const char *const bad[] = {
        "",
        "-",
        "+",
        "+1",
        " 1",
        "1 ",
        "01",
        "-0",
        "-01",
        "00",
        "1x",
        "x",
        "0x1",
        "1.0",
        "1e3",
        "--1",
        "1-",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "18446744073709551615",
        "99999999999999999999",
        "-99999999999999999999",
        "100000000000000000000",
        "1:",
        "1/",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t value = 42;
        assert_true(sk_parse_int64(sk_bytes_str(good[i].text), &value));
        assert_int_equal(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t value = 42;
        if (sk_parse_int64(sk_bytes_str(bad[i]), &value)) fail_msg("'%s' was read", bad[i]);
        assert_int_equal(value, 42);
    }
    int64_t value;
    assert_false(sk_parse_int64(SK_BYTES_NONE, &value));
    assert_false(sk_parse_int64(sk_bytes_of("1\0", 2), &value));
}

static void check_round_trip(int64_t value)
{
    char text[SK_INT64_CHARS + 1], expected[32];
    memset(text, '#', sizeof text);
    size_t len = sk_format_int64(text, value);
    assert_int_equal(len, snprintf(expected, sizeof expected, "%lld", (long long)value));
    assert_memory_equal(text, expected, len);
    assert_int_equal(text[len], '#');
    int64_t again;
    assert_true(sk_parse_int64(sk_bytes_of(text, len), &again));
    assert_int_equal(again, value);
}

static void integers_come_back(void **state)
{
    (void)state;
    for (int64_t i = -20000; i <= 20000; i++) check_round_trip(i);
    for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10) {
        for (int64_t off = -1; off <= 1; off++) {
            check_round_trip(power * 10 + off);
            check_round_trip(-(power * 10) + off);
        }
    }
    for (int shift = 0; shift < 63; shift++) {
        check_round_trip((int64_t)1 << shift);
        check_round_trip(-((int64_t)1 << shift));
    }
    check_round_trip(INT64_MAX);
    check_round_trip(INT64_MIN);
}

static void floats_are_read_as_redis_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *back;
    } good[] = {
        {"1", "1"},          {"+1", "1"},      {"0x10", "16"},    {"0x1p-3", "0.125"},
        {"1e3", "1000"},     {".5", "0.5"},    {"5.", "5"},       {"3.0e3", "3000"},
        {"-0.0", "0"},       {"-1e-30", "0"},  {"inf", "inf"},    {"-inf", "-inf"},
        {"infinity", "inf"}, {"0.1", "0.1"},   {"-2.50", "-2.5"}, {"1000.1", "1000.09999999999999998"},
        {"100", "100"},      {"3.14", "3.14"},
    };
    static const char *const bad[] = {"",        " 1",      "1 ", "\t1", "nan", "-nan", "1e5000",
                                      "-1e5000", "1e-5000", "1e", "1_",  "x",   "1,5"};
    char text[SK_LONG_DOUBLE_CHARS];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        long double value;
        assert_true(sk_parse_long_double(sk_bytes_str(good[i].text), &value));
        size_t len = sk_format_long_double(text, sizeof text, value);
        assert_string_equal(text, good[i].back);
        assert_int_equal(len, strlen(good[i].back));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        long double value = 42;
        if (sk_parse_long_double(sk_bytes_str(bad[i]), &value)) fail_msg("'%s' was read", bad[i]);
        assert_true(value == 42);
    }
    long double value;
    assert_false(sk_parse_long_double(sk_bytes_of("1\0", 2), &value));
}

static void sums_have_the_digits_that_redis_shows(void **state)
{
    (void)state;
    static const struct {
        const char *stored, *sum; /* stored + 0.1 */
    } recorded[] = {{"1", "1.1"},    {"0x10", "16.1"},   {"1e3", "1000.09999999999999998"},
                    {".5", "0.6"},   {"5.", "5.1"},      {"3.0e3", "3000.10000000000000009"},
                    {"-0.0", "0.1"}, {"0x1p-3", "0.225"}};
    char text[SK_LONG_DOUBLE_CHARS];
    long double tenth;
    assert_true(sk_parse_long_double(sk_bytes_str("0.1"), &tenth));
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        long double stored;
        assert_true(sk_parse_long_double(sk_bytes_str(recorded[i].stored), &stored));
        sk_format_long_double(text, sizeof text, stored + tenth);
        assert_string_equal(text, recorded[i].sum);
    }
}

static void room_is_bounded(void **state)
{
    (void)state;
    char text[SK_LONG_DOUBLE_CHARS];
    assert_int_equal(sk_format_long_double(text, sizeof text, 1e4931L), 4932);
    assert_true(sk_format_long_double(text, sizeof text, -__LDBL_MAX__) > 4932);
    assert_int_equal(sk_format_long_double(text, 10, 1.5L), 0);
    assert_int_equal(sk_format_long_double(text, 3, INFINITY), 0);
    assert_int_equal(sk_format_long_double(text, 4, INFINITY), 3);

    static char digits[SK_LONG_DOUBLE_CHARS + 1];
    memset(digits, '0', sizeof digits);
    long double value;
    assert_true(sk_parse_long_double(sk_bytes_of(digits, SK_LONG_DOUBLE_CHARS - 1), &value));
    assert_false(sk_parse_long_double(sk_bytes_of(digits, SK_LONG_DOUBLE_CHARS), &value));
}

static void doubles_are_written_as_redis_writes_scores(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } recorded[] = {
        {1, "1"},
        {0.1, "0.10000000000000001"},
        {3.14, "3.1400000000000001"},
        {1e21, "1e+21"},
        {1e17, "1e+17"},
        {1.2345678901234568e17, "1.2345678901234568e+17"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {-(double)NAN, "nan"},
        {5e-324, "4.9406564584124654e-324"},
        {-1.7976931348623157e308, "-1.7976931348623157e+308"},
    };
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        char text[SK_DOUBLE_CHARS];
        assert_int_equal(sk_format_double(text, recorded[i].value), strlen(recorded[i].text));
        assert_string_equal(text, recorded[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_as_string2ll_reads_them),
        cmocka_unit_test(integers_come_back),
        cmocka_unit_test(floats_are_read_as_redis_reads_them),
        cmocka_unit_test(sums_have_the_digits_that_redis_shows),
        cmocka_unit_test(room_is_bounded),
        cmocka_unit_test(doubles_are_written_as_redis_writes_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
