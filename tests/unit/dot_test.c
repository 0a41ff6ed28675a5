#include "tests/unit/crdt_harness.h"

static void region_names_have_their_letters(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "eu-west-1", "0", "-", "abcdefghijklmnopqrstuvwxyz012345"};
    static const char *const bad[] = {"", "A", "eu_west", "a b", "\xc3\xa9", "abcdefghijklmnopqrstuvwxyz0123456"};
    for (int i = 0; i < 5; i++) assert_true(sk_region_name_valid(sk_bytes_str(good[i])));
    for (int i = 0; i < 6; i++) assert_false(sk_region_name_valid(sk_bytes_str(bad[i])));
    assert_false(sk_region_name_valid(sk_bytes_of("a\0b", 3)));
}

static void an_origin_is_interned_once(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t number = 99;
    assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("eu"), 7, &number), 0);
    assert_int_equal(number, 0);
    assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("eu"), 8, &number), 0);
    assert_int_equal(number, 1);
    assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("eu"), 7, &number), 0);
    assert_int_equal(number, 0);
    assert_int_equal(origins.count, 2);
    assert_true(sk_origins_find(&origins, sk_bytes_str("eu"), 8, &number));
    assert_int_equal(number, 1);
    assert_false(sk_origins_find(&origins, sk_bytes_str("e"), 8, &number));
    assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("EU"), 7, &number), SK_E_MALFORMED);
    assert_int_equal(origins.count, 2);
    sk_origins_free(&origins);
    assert_int_equal(origins.count, 0);
}

static void there_is_a_limit(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t number;
    for (uint32_t i = 0; i < SK_ORIGINS_MAX; i++)
        assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("a"), i, &number), 0);
    assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("b"), 0, &number), SK_E_LIMIT);
    assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("a"), 5, &number), 0);
    assert_int_equal(number, 5);
    sk_origins_free(&origins);
}

static void the_order_is_by_name_then_incarnation(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t b2, a9, b1;
    (void)sk_origins_intern(&origins, sk_bytes_str("b"), UINT64_MAX, &b2);
    (void)sk_origins_intern(&origins, sk_bytes_str("a"), 9, &a9);
    (void)sk_origins_intern(&origins, sk_bytes_str("b"), 1, &b1);
    assert_true(sk_origins_compare(&origins, a9, b1) < 0);
    assert_true(sk_origins_compare(&origins, b1, b2) < 0);
    assert_true(sk_origins_compare(&origins, b2, a9) > 0);
    assert_int_equal(sk_origins_compare(&origins, b1, b1), 0);
    sk_origins_free(&origins);
}

static uint32_t life(sk_origins *origins, const char *region, uint64_t seconds, uint64_t random, bool is_break)
{
    uint32_t origin;
    uint64_t incarnation = sk_incarnation_make(random, seconds * 1000 + 999, is_break);
    assert_int_equal(sk_incarnation_seconds(incarnation), seconds);
    assert_int_equal(incarnation & 1, is_break);
    assert_int_equal(sk_origins_intern(origins, sk_bytes_str(region), incarnation, &origin), 0);
    return origin;
}

static void a_break_leaves_what_was_before_open_ended(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t first = life(&origins, "eu", 100, 0xfff1, true), booted = life(&origins, "eu", 200, 2, false),
             other = life(&origins, "us", 50, 3, true);
    assert_false(sk_origins_open_ended(&origins, first)); /* a boot went on from it */
    assert_false(sk_origins_open_ended(&origins, booted));
    uint32_t restored = life(&origins, "eu", 300, 4, true);
    assert_true(sk_origins_open_ended(&origins, first));
    assert_true(sk_origins_open_ended(&origins, booted));
    assert_false(sk_origins_open_ended(&origins, restored));
    assert_false(sk_origins_open_ended(&origins, other)); /* another region's */
    uint32_t later = life(&origins, "eu", 400, 5, false);
    assert_false(sk_origins_open_ended(&origins, restored));
    assert_false(sk_origins_open_ended(&origins, later));
    life(&origins, "eu", 400, 6, true); /* of one second: either may have been first */
    assert_true(sk_origins_open_ended(&origins, later));
    sk_origins_free(&origins);
}

static void a_map_knows_what_was_announced(void **state)
{
    (void)state;
    sk_origin_map map = {0};
    assert_int_equal(sk_origin_map_set(&map, 3, 1), 0);
    assert_int_equal(sk_origin_map_get(&map, 3), 1);
    assert_int_equal(sk_origin_map_get(&map, 0), SK_ORIGIN_UNKNOWN);
    assert_int_equal(sk_origin_map_get(&map, 4), SK_ORIGIN_UNKNOWN);
    assert_int_equal(sk_origin_map_get(&map, UINT64_MAX), SK_ORIGIN_UNKNOWN);
    assert_int_equal(sk_origin_map_set(&map, SK_ORIGINS_MAX, 1), SK_E_LIMIT);
    assert_int_equal(sk_origin_map_get(NULL, 7), 7);
    assert_int_equal(sk_origin_map_get(NULL, SK_ORIGINS_MAX), SK_ORIGIN_UNKNOWN);
    sk_buf buf = {0};
    sk_pack_uint(&buf, 3);
    sk_pack_uint(&buf, 2);
    sk_reader reader = sk_reader_of(sk_buf_view(&buf));
    assert_int_equal(sk_read_origin(&reader, &map), 1);
    assert_false(reader.bad);
    assert_int_equal(sk_read_origin(&reader, &map), 0);
    assert_true(reader.bad);
    sk_buf_free(&buf);
    sk_origin_map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(region_names_have_their_letters),
        cmocka_unit_test(an_origin_is_interned_once),
        cmocka_unit_test(there_is_a_limit),
        cmocka_unit_test(the_order_is_by_name_then_incarnation),
        cmocka_unit_test(a_break_leaves_what_was_before_open_ended),
        cmocka_unit_test(a_map_knows_what_was_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
