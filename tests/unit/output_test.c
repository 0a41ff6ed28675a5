/* A connection's replies: in order, each held until its batch is durable, void when the store went back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/output.h"

static sk_output_pool pool;

static void put(sk_output *output, const char *text, uint64_t hold, uint64_t epoch)
{
    sk_buf_bytes(sk_output_open(output, epoch), sk_bytes_str(text));
    sk_output_appended(output, hold);
    sk_output_check(output);
}

/* What may be written now, as one text. */
static const char *ready(const sk_output *output)
{
    static char text[256];
    uv_buf_t pieces[16];
    size_t len = 0;
    unsigned count = sk_output_vector(output, pieces, 16);
    for (unsigned i = 0; i < count; i++) {
        memcpy(text + len, pieces[i].base, pieces[i].len);
        len += pieces[i].len;
    }
    text[len] = 0;
    return text;
}

static void test_held_until_durable(void **state)
{
    (void)state;
    sk_output output = {.pool = &pool};
    put(&output, "one", 0, 1);
    sk_output_seal(&output);
    put(&output, "two", 5, 1);
    sk_output_seal(&output);
    put(&output, "three", 0, 1);
    sk_output_seal(&output);
    put(&output, "four", 6, 1);
    sk_output_seal(&output);
    assert_string_equal(ready(&output), "one");
    assert_true(sk_output_release(&output, 4, 1));
    assert_string_equal(ready(&output), "one");
    assert_true(sk_output_release(&output, 5, 1));
    assert_string_equal(ready(&output), "onetwothree");
    assert_true(sk_output_release(&output, 9, 1));
    assert_string_equal(ready(&output), "onetwothreefour");
    assert_int_equal(output.bytes, 15);
    sk_output_free(&output);
    sk_output_check(&output);
}

/* A turn's replies wait together, for the last batch that any of them rests on. */
static void test_one_turn_is_one_segment(void **state)
{
    (void)state;
    sk_output output = {.pool = &pool};
    put(&output, "a", 7, 1);
    put(&output, "b", 0, 1);
    put(&output, "c", 3, 1);
    uv_buf_t pieces[4];
    assert_true(sk_output_release(&output, 6, 1));
    assert_int_equal(sk_output_vector(&output, pieces, 4), 0);
    sk_output_seal(&output);
    put(&output, "d", 0, 1);
    assert_true(sk_output_release(&output, 7, 1));
    assert_int_equal(sk_output_vector(&output, pieces, 4), 2);
    assert_string_equal(ready(&output), "abcd");
    sk_output_free(&output);
}

static void test_consumed_in_any_pieces(void **state)
{
    (void)state;
    for (size_t step = 1; step <= 9; step++) {
        sk_output output = {.pool = &pool};
        put(&output, "abc", 0, 1);
        sk_output_seal(&output);
        put(&output, "def", 0, 1);
        sk_output_seal(&output);
        put(&output, "ghi", 0, 1);
        for (size_t at = 0; at < 9;) {
            size_t len = step < 9 - at ? step : 9 - at;
            sk_output_consume(&output, len);
            sk_output_check(&output);
            at += len;
            assert_string_equal(ready(&output), &"abcdefghi"[at]);
            assert_int_equal(output.bytes, 9 - at);
        }
        put(&output, "next", 0, 1);
        assert_string_equal(ready(&output), "next");
        sk_output_free(&output);
    }
}

static void test_void_after_rollback(void **state)
{
    (void)state;
    sk_output output = {.pool = &pool};
    put(&output, "free", 0, 1);
    sk_output_seal(&output);
    put(&output, "held", 5, 1);
    sk_output_seal(&output);
    put(&output, "later", 0, 1);
    sk_output_seal(&output);
    assert_true(sk_output_release(&output, 4, 1));
    /* The store went back: numbers up to 9 count as reaped, but batch 5 is not there. */
    assert_false(sk_output_release(&output, 9, 2));
    sk_output_void(&output);
    sk_output_check(&output);
    assert_string_equal(ready(&output), "free");
    put(&output, "error", 0, 2);
    assert_true(sk_output_release(&output, 9, 2));
    assert_string_equal(ready(&output), "freeerror");
    sk_output_free(&output);
}

static void test_released_stays_released(void **state)
{
    (void)state;
    sk_output output = {.pool = &pool};
    put(&output, "durable", 5, 1);
    sk_output_seal(&output);
    assert_true(sk_output_release(&output, 5, 1));
    assert_true(sk_output_release(&output, 5, 2));
    assert_string_equal(ready(&output), "durable");
    sk_output_free(&output);
}

/* Replies of one turn on both sides of a rollback are never in one segment. */
static void test_epoch_in_an_open_segment(void **state)
{
    (void)state;
    sk_output output = {.pool = &pool};
    put(&output, "old", 5, 1);
    put(&output, "new", 0, 2);
    assert_false(sk_output_release(&output, 5, 2));
    sk_output_void(&output);
    assert_int_equal(output.bytes, 0);
    sk_output_check(&output);
    put(&output, "free", 0, 2);
    put(&output, "of the next epoch", 7, 3);
    assert_true(sk_output_release(&output, 6, 3)); /* held, not void */
    assert_string_equal(ready(&output), "free");
    assert_true(sk_output_release(&output, 7, 3));
    assert_string_equal(ready(&output), "freeof the next epoch");
    sk_output_free(&output);
}

static void test_empty_segments_vanish(void **state)
{
    (void)state;
    sk_output output = {.pool = &pool};
    (void)sk_output_open(&output, 1);
    sk_output_appended(&output, 9);
    sk_output_seal(&output);
    assert_null(output.first);
    put(&output, "x", 0, 1);
    sk_output_seal(&output);
    (void)sk_output_open(&output, 1);
    sk_output_appended(&output, 9);
    sk_output_seal(&output);
    sk_output_check(&output);
    assert_ptr_equal(output.first, output.last);
    assert_string_equal(ready(&output), "x");
    sk_output_free(&output);
}

/* Bytes that are not yet counted belong to whoever is writing them; a second writer in between loses none. */
static void test_nested_open(void **state)
{
    (void)state;
    sk_output output = {.pool = &pool};
    sk_buf *outer = sk_output_open(&output, 1);
    sk_buf_bytes(outer, sk_bytes_str("ab"));
    sk_buf_bytes(sk_output_open(&output, 1), sk_bytes_str("cd"));
    sk_output_appended(&output, 0);
    sk_buf_bytes(outer, sk_bytes_str("ef"));
    sk_output_appended(&output, 0);
    assert_int_equal(output.bytes, 6);
    sk_output_check(&output);
    assert_string_equal(ready(&output), "abcdef");
    sk_output_free(&output);
}

static int teardown(void **state)
{
    (void)state;
    sk_output_pool_free(&pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_until_durable),     cmocka_unit_test(test_one_turn_is_one_segment),
        cmocka_unit_test(test_consumed_in_any_pieces), cmocka_unit_test(test_void_after_rollback),
        cmocka_unit_test(test_released_stays_released), cmocka_unit_test(test_epoch_in_an_open_segment),
        cmocka_unit_test(test_empty_segments_vanish),  cmocka_unit_test(test_nested_open),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
