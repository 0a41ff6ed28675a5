#include "node/context.h"

#include "tests/unit/two_databases.h"

#define RAW sk_bytes_str("kcity")

static int start(void **state)
{
    uint32_t number;
    open_both(state);
    assert_int_equal(sk_db_intern(&a.db, sk_bytes_str("b"), 2, &number), 0);
    assert_int_equal(sk_db_intern(&a.db, sk_bytes_str("c"), 3, &number), 0);
    assert_int_equal(sk_db_intern(&b.db, sk_bytes_str("a"), 1, &number), 0);
    return 0;
}

static void it_means_the_same_in_every_region(void **state)
{
    (void)state;
    sk_vv vv = vv_of(7, 9, 0);
    sk_row row = ROW_OF(count_entry(0, 7, 3, 12), count_since(count_entry(1, 9, 9, 1), 9, 1), value_of(1, 8, "v"));
    sk_bytes text = sk_context_text(&a.db, &vv, RAW, &row, &a.arena);
    for (size_t i = 0; i < text.len; i++)
        assert_true((text.data[i] >= '0' && text.data[i] <= 'z') || text.data[i] == '-');
    sk_context here, there;
    assert_int_equal(sk_context_parse(&a.db, text, &a.arena, &here), 0);
    assert_true(sk_vv_equal(&here.vv, &vv));
    assert_false(here.unknown);
    assert_int_equal(here.reset_count, 1); /* of the live ones */
    assert_int_equal(here.resets[0].dot.origin, 0);
    assert_int_equal(here.resets[0].dot.seq, 7);
    assert_int_equal(here.resets[0].epoch, 3);
    assert_int_equal(here.resets[0].total.whole, 12);
    assert_int_equal(sk_context_parse(&b.db, text, &b.arena, &there), 0);
    assert_true(sk_context_is_of(&here, RAW));
    assert_true(sk_context_is_of(&there, RAW));
    assert_false(sk_context_is_of(&there, sk_bytes_str("kcitz")));
    assert_int_equal(sk_vv_get(&there.vv, 0), 9);
    assert_int_equal(sk_vv_get(&there.vv, 1), 7);
    assert_int_equal(there.resets[0].dot.origin, 1);
    sk_vv_free(&vv);
    sk_vv_free(&here.vv);
    sk_vv_free(&there.vv);
}

static void an_origin_that_we_do_not_know_is_told(void **state)
{
    (void)state;
    sk_vv vv = vv_of(7, 0, 5);
    sk_row row = ROW_OF(count_entry(2, 5, 5, 1));
    sk_context there;
    sk_bytes text = sk_context_text(&a.db, &vv, RAW, &row, &a.arena);
    assert_int_equal(sk_context_parse(&b.db, text, &b.arena, &there), 0);
    assert_true(there.unknown);
    assert_int_equal(sk_vv_get(&there.vv, 1), 7);
    assert_int_equal(there.reset_count, 0);
    sk_vv_free(&vv);
    sk_vv_free(&there.vv);
}

static void one_that_was_cut_or_mistyped_is_refused(void **state)
{
    (void)state;
    sk_vv vv = vv_of(7, 9, 1);
    sk_context context;
    sk_bytes text = sk_context_text(&a.db, &vv, SK_BYTES_NONE, NULL, &a.arena);
    uint8_t *copy = malloc(text.len);
    for (size_t i = 0; i < text.len; i++) {
        assert_int_equal(sk_context_parse(&a.db, sk_bytes_of(text.data, i), &a.arena, &context), SK_E_MALFORMED);
        sk_vv_free(&context.vv);
        memcpy(copy, text.data, text.len);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        assert_int_equal(sk_context_parse(&a.db, sk_bytes_of(copy, text.len), &a.arena, &context), SK_E_MALFORMED);
        sk_vv_free(&context.vv);
        copy[i] = 0;
        assert_int_equal(sk_context_parse(&a.db, sk_bytes_of(copy, text.len), &a.arena, &context), SK_E_MALFORMED);
        sk_vv_free(&context.vv);
    }
    assert_int_equal(sk_context_parse(&a.db, sk_bytes_str("hello"), &a.arena, &context), SK_E_MALFORMED);
    sk_vv_free(&context.vv);
    free(copy);
    sk_vv_free(&vv);
}

static void without_room_there_is_no_text(void **state)
{
    (void)state;
    sk_vv vv = vv_of(7, 9, 1);
    sk_arena small = {.max = 16};
    sk_context context;
    assert_null(sk_context_text(&a.db, &vv, SK_BYTES_NONE, NULL, &small).data);
    sk_bytes text = sk_context_text(&a.db, &vv, SK_BYTES_NONE, NULL, &a.arena);
    assert_int_equal(sk_context_parse(&a.db, text, &small, &context), SK_E_MEMORY);
    assert_false(sk_context_is_of(&context, SK_BYTES_NONE));
    sk_vv_free(&context.vv);
    sk_vv_free(&vv);
    sk_arena_free(&small);
}

static void a_vector_is_told_in_the_same_order_everywhere(void **state)
{
    (void)state;
    sk_vv here = vv_of(7, 9, 0), there = vv_of(9, 7, 0);
    sk_buf one = {0}, two = {0};
    sk_vv_text(&a.db, &here, &one);
    sk_vv_text(&b.db, &there, &two);
    assert_bytes_equal(sk_buf_view(&one), sk_bytes_str("a-0000000000000001:7 b-0000000000000002:9"));
    assert_bytes_equal(sk_buf_view(&two), sk_buf_view(&one));
    sk_buf_reset(&one);
    sk_vv none = {0};
    sk_vv_text(&a.db, &none, &one);
    assert_int_equal(one.len, 0);
    sk_buf_free(&one);
    sk_buf_free(&two);
    sk_vv_free(&here);
    sk_vv_free(&there);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, close_both)
    const struct CMUnitTest tests[] = {
        TEST(it_means_the_same_in_every_region),
        TEST(an_origin_that_we_do_not_know_is_told),
        TEST(one_that_was_cut_or_mistyped_is_refused),
        TEST(without_room_there_is_no_text),
        TEST(a_vector_is_told_in_the_same_order_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
