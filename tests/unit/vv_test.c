#include "tests/unit/crdt_harness.h"

static void what_is_not_there_is_zero(void **state)
{
    (void)state;
    sk_vv vv = {0};
    assert_int_equal(sk_vv_get(&vv, 5), 0);
    assert_true(sk_vv_covers(&vv, (sk_dot){5, 0}));
    assert_false(sk_vv_covers(&vv, (sk_dot){5, 1}));
    sk_vv_set(&vv, 5, 0);
    assert_int_equal(vv.count, 0);
    sk_vv_set(&vv, 2, 7);
    assert_int_equal(sk_vv_get(&vv, 1), 0);
    assert_true(sk_vv_covers(&vv, (sk_dot){2, 7}));
    assert_false(sk_vv_covers(&vv, (sk_dot){2, 8}));
    sk_vv_raise(&vv, 2, 5);
    assert_int_equal(sk_vv_get(&vv, 2), 7);
    sk_vv_raise(&vv, 2, 9);
    assert_int_equal(sk_vv_get(&vv, 2), 9);
    sk_vv_free(&vv);
}

static void join_and_meet_go_origin_by_origin(void **state)
{
    (void)state;
    sk_vv a = vv_of(1, 5, 0), b = vv_of(3, 2, 4), join = {0}, meet = {0}, want_join = vv_of(3, 5, 4),
          want_meet = vv_of(1, 2, 0), empty = {0};
    sk_vv_copy(&join, &a);
    sk_vv_join(&join, &b);
    assert_true(sk_vv_equal(&join, &want_join));
    sk_vv_copy(&meet, &b);
    sk_vv_meet(&meet, &a);
    assert_true(sk_vv_equal(&meet, &want_meet));
    assert_true(sk_vv_at_most(&meet, &a));
    assert_true(sk_vv_at_most(&a, &join));
    assert_false(sk_vv_at_most(&a, &b));
    assert_false(sk_vv_at_most(&b, &a));
    sk_vv_meet(&meet, &empty);
    assert_true(sk_vv_equal(&meet, &empty)); /* whatever lengths they have */
    sk_vv_copy(&join, &empty);
    assert_true(sk_vv_equal(&join, &empty));
    sk_vv_free(&a);
    sk_vv_free(&b);
    sk_vv_free(&join);
    sk_vv_free(&meet);
    sk_vv_free(&want_join);
    sk_vv_free(&want_meet);
}

static sk_origins three_origins(void)
{
    sk_origins origins = {0};
    uint32_t number;
    for (uint64_t i = 1; i <= 3; i++) assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("eu"), i, &number), 0);
    return origins;
}

static void it_comes_back_through_a_map(void **state)
{
    (void)state;
    sk_vv vv = vv_of(4, 0, UINT64_MAX), back = vv_of(9, 9, 9);
    sk_buf buf = {0};
    sk_vv_pack(&buf, &vv);
    sk_reader reader = sk_reader_of(sk_buf_view(&buf));
    sk_origins origins = three_origins();
    sk_vv_read_own(&reader, &origins, &back);
    assert_true(sk_reader_done(&reader));
    assert_true(sk_vv_equal(&vv, &back));
    sk_origins_free(&origins);
    sk_origin_map map = {0};
    (void)sk_origin_map_set(&map, 0, 2);
    (void)sk_origin_map_set(&map, 2, 1);
    reader = sk_reader_of(sk_buf_view(&buf));
    sk_vv_read(&reader, &map, &back);
    sk_vv want = vv_of(0, UINT64_MAX, 4);
    assert_true(sk_vv_equal(&want, &back));
    sk_vv_free(&want);
    sk_vv_free(&vv);
    sk_vv_free(&back);
    sk_origin_map_free(&map);
    sk_buf_free(&buf);
}

static void damaged_ones_are_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x91\x01", "\x92\xcd\x10\x00\x01", "\x92\x01", "\x92\x01\xc0", "\x01", "\x92\x03\x01"};
    static const size_t lens[] = {2, 5, 2, 3, 1, 3};
    sk_origins origins = three_origins();
    for (int i = 0; i < 6; i++) {
        sk_vv vv = {0};
        sk_reader reader = sk_reader_of(sk_bytes_of(bad[i], lens[i]));
        sk_vv_read_own(&reader, &origins, &vv);
        assert_true(reader.bad);
        assert_int_equal(vv.count, 0);
        sk_vv_free(&vv);
    }
    sk_origins_free(&origins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_there_is_zero),
        cmocka_unit_test(join_and_meet_go_origin_by_origin),
        cmocka_unit_test(it_comes_back_through_a_map),
        cmocka_unit_test(damaged_ones_are_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
