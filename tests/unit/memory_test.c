#include "tests/unit/crdt_harness.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void allocations_are_zeroed_and_never_null(void **state)
{
    (void)state;
    uint8_t *memory = sk_alloc(100);
    for (int i = 0; i < 100; i++) assert_int_equal(memory[i], 0);
    memory = sk_realloc(memory, 0);
    assert_non_null(memory);
    free(memory);
    memory = sk_alloc(0);
    assert_non_null(memory);
    free(memory);
}

static void a_failed_assertion_stops_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        sk_assert(sk_alloc(1) == NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void a_buffer_grows(void **state)
{
    (void)state;
    sk_buf buf = {0};
    for (int i = 0; i < 1000; i++) sk_buf_byte(&buf, (uint8_t)i);
    assert_int_equal(buf.len, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(buf.data[i], (uint8_t)i);
    sk_buf_consume(&buf, 999);
    assert_int_equal(buf.len, 1);
    assert_int_equal(buf.data[0], (uint8_t)999);
    sk_buf_consume(&buf, 0);
    sk_buf_append(&buf, NULL, 0);
    sk_buf_reset(&buf);
    assert_int_equal(buf.len, 0);
    sk_buf_printf(&buf, "%d-%s", 12, "ab");
    assert_bytes_equal(sk_buf_view(&buf), sk_bytes_str("12-ab"));
    sk_buf_free(&buf);
    assert_null(buf.data);
}

static void a_buffer_refuses_what_is_beyond_its_limit(void **state)
{
    (void)state;
    for (size_t max = 1; max < 40; max++) {
        sk_buf buf = {.max = max};
        size_t kept = 0;
        for (size_t len = 1; len < 10; len++) {
            bool fits = !buf.full && kept + len <= max;
            sk_buf_append(&buf, "123456789", len);
            if (fits) kept += len;
            assert_int_equal(buf.len, kept);
            assert_int_equal(buf.full, kept != len * (len + 1) / 2);
        }
        sk_buf_reset(&buf);
        assert_false(buf.full);
        sk_buf_free(&buf);
        assert_int_equal(buf.max, max);
    }
    sk_buf whole = {0};
    sk_buf_byte(&whole, 1);
    assert_null(sk_buf_reserve(&whole, SIZE_MAX));
    assert_true(whole.full);
    sk_buf_byte(&whole, 2); /* full is sticky */
    assert_int_equal(whole.len, 1);
    sk_buf_free(&whole);
}

static void an_arena_hands_out_aligned_pieces_that_do_not_touch(void **state)
{
    (void)state;
    sk_arena arena = {0};
    uint8_t *pieces[200];
    for (size_t i = 0; i < 200; i++) {
        size_t len = i * 37 % 3000;
        pieces[i] = sk_arena_take(&arena, len);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)i, len);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i * 37 % 3000; k++) assert_int_equal(pieces[i][k], (uint8_t)i);
    uint8_t *large = sk_arena_take(&arena, 1 << 20);
    memset(large, 1, 1 << 20);
    sk_arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    assert_non_null(sk_arena_take(&arena, 10));
    sk_arena_free(&arena);
    assert_null(arena.blocks);
}

static void an_arena_keeps_its_limit(void **state)
{
    (void)state;
    sk_arena arena = {.max = 100};
    assert_non_null(sk_arena_take(&arena, 64));
    assert_null(sk_arena_take(&arena, 64));
    sk_bytes copy = sk_arena_copy(&arena, sk_bytes_of("0123456789012345678901234567890123456789", 40));
    assert_null(copy.data);
    assert_int_equal(copy.len, 40);
    assert_non_null(sk_arena_take(&arena, 20)); /* what still fits is given */
    assert_null(sk_arena_take(&arena, SIZE_MAX));
    sk_arena_reset(&arena);
    assert_non_null(sk_arena_take(&arena, 96));
    sk_arena_free(&arena);
}

static void bytes_compare_as_memcmp_does(void **state)
{
    (void)state;
    static const char *const ordered[] = {"", "a", "a\xff", "b", "ba", "\x80"};
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 6; k++) {
            int order = sk_bytes_compare(sk_bytes_str(ordered[i]), sk_bytes_str(ordered[k]));
            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
            assert_int_equal(sk_bytes_equal(sk_bytes_str(ordered[i]), sk_bytes_str(ordered[k])), i == k);
        }
    assert_true(sk_bytes_starts(sk_bytes_str("abc"), sk_bytes_str("ab")));
    assert_true(sk_bytes_starts(sk_bytes_str("abc"), SK_BYTES_NONE));
    assert_false(sk_bytes_starts(sk_bytes_str("ab"), sk_bytes_str("abc")));
    assert_false(sk_bytes_starts(sk_bytes_str("abc"), sk_bytes_str("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_zeroed_and_never_null),
        cmocka_unit_test(a_failed_assertion_stops_the_process),
        cmocka_unit_test(a_buffer_grows),
        cmocka_unit_test(a_buffer_refuses_what_is_beyond_its_limit),
        cmocka_unit_test(an_arena_hands_out_aligned_pieces_that_do_not_touch),
        cmocka_unit_test(an_arena_keeps_its_limit),
        cmocka_unit_test(bytes_compare_as_memcmp_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
