#include "tests/unit/crdt_harness.h"

static sk_arena arena;
static sk_origins origins; /* 0: "b", 1: "a", 2: "c" */

static int start(void **state)
{
    (void)state;
    static const char *const regions[] = {"b", "a", "c"};
    uint32_t number;
    for (int i = 0; i < 3; i++) (void)sk_origins_intern(&origins, sk_bytes_str(regions[i]), 1, &number);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sk_origins_free(&origins);
    sk_arena_free(&arena);
    return 0;
}

/* "10 | x*": the siblings, the newest with a star, a sum without a value in brackets. */
static const char *seen(sk_row row)
{
    static char text[300];
    sk_register read;
    size_t len = 0;
    assert_int_equal(sk_register_read(&row, &origins, &arena, &read), 0);
    text[0] = 0;
    for (uint32_t i = 0; i < read.count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s%.*s%s%s", i ? " | " : "",
                                read.siblings[i].is_sum ? "[" : "", (int)read.siblings[i].value.len,
                                (const char *)read.siblings[i].value.data, read.siblings[i].is_sum ? "]" : "",
                                i == read.newest ? "*" : "");
    assert_int_equal(sk_register_conflicted(&row), read.count > 1);
    return text;
}

static sk_entry at(sk_entry entry, sk_hlc hlc)
{
    entry.hlc = hlc;
    return entry;
}

static void the_table_of_the_header(void **state)
{
    (void)state;
    assert_string_equal(seen((sk_row){0}), "");
    assert_string_equal(seen((sk_row)ROW_OF(member_of(0, 1), deadline_of(0, 1, 5))), "");
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "x"))), "x*");
    assert_string_equal(seen((sk_row)ROW_OF(count_entry(0, 1, 1, 5), count_entry(1, 1, 1, -2))), "[3]*");
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "10"), count_entry(1, 2, 2, 5))), "15*");
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "10"), value_of(2, 9, "20"), count_entry(1, 2, 2, 5))),
                        "15 | 25*");
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "10"), value_of(2, 9, "x"), count_entry(1, 2, 2, 5))),
                        "15 | x*");
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "x"), count_entry(1, 2, 2, 5))), "x | [5]*");
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "x"), value_of(2, 9, "y"), count_entry(1, 2, 2, 5))),
                        "x | y* | [5]");
}

static void dead_counts_do_not_show(void **state)
{
    (void)state;
    sk_entry dead = count_since(count_entry(1, 2, 2, 5), 2, 5), half = count_since(count_entry(2, 4, 2, 9), 3, 5);
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "x"), dead)), "x*");
    assert_string_equal(seen((sk_row)ROW_OF(dead)), "");
    assert_string_equal(seen((sk_row)ROW_OF(value_of(0, 1, "10"), dead, half)), "14*");
}

static bool is_whole(sk_row row, int64_t expected)
{
    int64_t number = expected + 1;
    bool whole = sk_register_whole(&row, &number);
    if (whole) assert_int_equal(number, expected);
    return whole;
}

static void a_whole_number_is_known_without_its_text(void **state)
{
    (void)state;
    sk_entry dead = count_since(count_entry(1, 2, 2, 5), 2, 5), half = count_since(count_entry(2, 4, 2, 9), 3, 5);
    sk_entry real = count_entry(1, 2, 2, 0);
    real.count.total = sk_number_real(0.5L);
    assert_true(is_whole(ROW_OF(count_entry(0, 1, 1, -7)), -7));
    assert_true(is_whole(ROW_OF(count_entry(0, 1, 1, -7), dead, half, deadline_of(0, 1, 9)), -3));
    assert_true(is_whole(ROW_OF(count_entry(0, 1, 1, INT64_MAX), count_entry(1, 1, 1, INT64_MIN)), -1));
    assert_false(is_whole(ROW_OF(count_entry(0, 1, 1, INT64_MAX), count_entry(1, 1, 1, 1)), 0));
    assert_false(is_whole(ROW_OF(count_entry(0, 1, 1, 7), real), 0));
    assert_false(is_whole(ROW_OF(value_of(0, 1, "7")), 0)); /* its text may be more than the number */
    assert_false(is_whole(ROW_OF(count_entry(0, 1, 1, 7), value_of(1, 1, "7")), 0));
    assert_false(is_whole(ROW_OF(dead), 0));
    assert_false(is_whole((sk_row){0}, 0));
}

static void the_newest_is_by_time_then_origin_then_seq(void **state)
{
    (void)state;
    assert_string_equal(seen((sk_row)ROW_OF(at(value_of(0, 1, "x"), 50), at(value_of(1, 9, "y"), 49))), "x* | y");
    /* The same time: by the name of the origin ("b" over "a"), not by our number for it. */
    assert_string_equal(seen((sk_row)ROW_OF(at(value_of(0, 1, "x"), 50), at(value_of(1, 9, "y"), 50))), "x* | y");
    assert_string_equal(seen((sk_row)ROW_OF(at(value_of(1, 1, "x"), 50), at(value_of(2, 9, "y"), 50))), "x | y*");
    assert_string_equal(seen((sk_row)ROW_OF(at(value_of(1, 1, "x"), 50), at(value_of(1, 9, "y"), 50))), "x | y*");
}

/* What is shown must not depend on how a node numbers the origins. */
static void a_sum_of_reals_is_the_same_in_every_order(void **state)
{
    (void)state;
    static const long double shares[] = {1e19L, 1.000000000000000055L, -1e19L, 0.3L};
    char first[300] = "";
    for (int turn = 0; turn < 24; turn++) {
        int order[] = {0, 1, 2, 3};
        for (int i = 0, rest = turn; i < 4; i++) { /* the turn-th permutation */
            int pick = i + rest % (4 - i), held = order[i];
            rest /= 4 - i;
            order[i] = order[pick];
            order[pick] = held;
        }
        sk_entry entries[4];
        for (uint32_t i = 0; i < 4; i++) {
            entries[i] = count_entry(i, 1, 1, 0);
            entries[i].count.total = sk_number_real(shares[order[i]]);
        }
        sk_register read;
        uint32_t number;
        (void)sk_origins_intern(&origins, sk_bytes_str("d"), 1, &number);
        assert_int_equal(sk_register_read(&(sk_row){.entries = entries, .count = 4}, &origins, &arena, &read), 0);
        sk_bytes text = read.siblings[0].value;
        if (turn == 0) memcpy(first, text.data, text.len);
        assert_bytes_equal(text, sk_bytes_str(first));
    }
}

static void equal_shares_count_each(void **state)
{
    (void)state;
    sk_entry half = count_entry(0, 1, 1, 0), also = count_entry(1, 1, 1, 0), based = count_entry(2, 4, 1, 0);
    half.count.total = also.count.total = sk_number_real(0.5L);
    based.count = (sk_count){1, sk_number_real(1.75L), 3, sk_number_whole(1), {0, 0}};
    assert_string_equal(seen((sk_row)ROW_OF(half, also, based)), "[1.75]*");
}

static void a_write_replaces_and_resets(void **state)
{
    (void)state;
    sk_row row = ROW_OF(count_entry(0, 2, 2, 5), count_entry(1, 4, 2, 6), value_of(2, 1, "v"));
    sk_op op = {0};
    assert_int_equal(sk_register_write(&op, &row, 0, sk_bytes_str("new"), &arena), 0);
    assert_true(op.forgets_content && op.has_content && !op.forgets_deadlines);
    assert_int_equal(op.content.kind, SK_ENTRY_VALUE);
    assert_int_equal(op.reset_count, 1); /* its own goes without saying */
    sk_op removal = {0};
    assert_int_equal(sk_register_remove(&removal, &row, 1, true, &arena), 0);
    assert_true(removal.forgets_content && removal.forgets_deadlines && sk_op_only_removes(&removal));
    assert_int_equal(removal.resets[0].dot.origin, 0);
}

static void an_addition_goes_on_from_its_own_share(void **state)
{
    (void)state;
    sk_row row = ROW_OF(count_since(count_entry(0, 5, 2, 7), 3, 4), count_since(count_entry(1, 4, 2, 6), 4, 6));
    sk_op op = {0};
    assert_int_equal(sk_register_add(&op, &row, (sk_dot){0, 9}, sk_number_whole(3)), 0);
    assert_int_equal(op.content.count.epoch, 2);
    assert_int_equal(op.content.count.total.whole, 10);
    assert_int_equal(op.content.count.base_seq, 3);
    sk_op anew = {0}; /* a dead share: a new epoch */
    assert_int_equal(sk_register_add(&anew, &row, (sk_dot){1, 9}, sk_number_whole(3)), 0);
    assert_int_equal(anew.content.count.epoch, 9);
    assert_int_equal(anew.content.count.total.whole, 3);
    assert_int_equal(anew.content.count.base_seq, 0);
    sk_op over = {0};
    assert_int_equal(sk_register_add(&over, &row, (sk_dot){0, 9}, sk_number_whole(INT64_MAX)), SK_E_RANGE);
}

static void a_value_is_shown_with_the_counts(void **state)
{
    (void)state;
    sk_row row = ROW_OF(count_entry(0, 2, 2, 5)), none = {0};
    sk_bytes shown;
    bool numeric;
    assert_int_equal(sk_register_show(&row, sk_bytes_str("1.5"), &arena, &shown, &numeric), 0);
    assert_true(numeric);
    assert_bytes_equal(shown, sk_bytes_str("6.5"));
    assert_int_equal(sk_register_show(&row, sk_bytes_str("inf"), &arena, &shown, &numeric), 0);
    assert_false(numeric);
    assert_bytes_equal(shown, sk_bytes_str("inf"));
    assert_int_equal(sk_register_show(&none, sk_bytes_str("0010"), &arena, &shown, &numeric), 0);
    assert_bytes_equal(shown, sk_bytes_str("0010")); /* as it was written */
    sk_arena small = {.max = 16};
    (void)sk_arena_take(&small, 16);
    sk_register read;
    assert_int_equal(sk_register_show(&row, sk_bytes_str("1"), &small, &shown, &numeric), SK_E_MEMORY);
    assert_int_equal(sk_register_read(&row, &origins, &small, &read), SK_E_MEMORY);
    sk_arena_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_of_the_header),
        cmocka_unit_test(dead_counts_do_not_show),
        cmocka_unit_test(a_whole_number_is_known_without_its_text),
        cmocka_unit_test(the_newest_is_by_time_then_origin_then_seq),
        cmocka_unit_test(a_sum_of_reals_is_the_same_in_every_order),
        cmocka_unit_test(equal_shares_count_each),
        cmocka_unit_test(a_write_replaces_and_resets),
        cmocka_unit_test(an_addition_goes_on_from_its_own_share),
        cmocka_unit_test(a_value_is_shown_with_the_counts),
    };
    return cmocka_run_group_tests(tests, start, end);
}
