#include "tests/unit/crdt_harness.h"

static sk_arena arena;

static int free_arena(void **state)
{
    (void)state;
    sk_arena_free(&arena);
    return 0;
}

static const char *applied(const sk_op *op, sk_dot dot, sk_vv seen, sk_row row, bool *left_dead)
{
    sk_row out;
    row.fields = 4;
    row.members = 5;
    assert_int_equal(sk_op_apply(op, dot, 77, &seen, &row, &arena, &out, left_dead), 0);
    sk_row_check(&out);
    assert_int_equal(out.fields, 4);
    assert_int_equal(out.members, 5);
    sk_vv_free(&seen);
    return row_text(&out);
}

static void a_plain_write_replaces_what_it_saw(void **state)
{
    (void)state;
    sk_op set = {.forgets_content = true, .has_content = true, .content = value_of(0, 0, "new")};
    sk_row row = ROW_OF(value_of(1, 4, "seen"), value_of(2, 7, "not"), deadline_of(1, 4, 9));
    assert_string_equal(applied(&set, (sk_dot){0, 3}, vv_of(2, 4, 6), row, NULL),
                        "0:3 v new, 2:7 v not, 1:4 d 9");
}

static void a_deadline_replaces_deadlines_only(void **state)
{
    (void)state;
    sk_op expire = {.forgets_deadlines = true, .has_deadline = true, .deadline = deadline_of(0, 0, 50)};
    sk_row row = ROW_OF(value_of(1, 4, "v"), deadline_of(1, 4, 9), deadline_of(2, 7, 9));
    assert_string_equal(applied(&expire, (sk_dot){0, 3}, vv_of(2, 4, 6), row, NULL),
                        "1:4 v v, 0:3 d 50, 2:7 d 9");
    sk_op both = {.forgets_content = true, .forgets_deadlines = true};
    assert_string_equal(applied(&both, (sk_dot){0, 3}, vv_of(2, 4, 7), row, NULL), "");
}

static void an_old_context_removes_what_it_lists(void **state)
{
    (void)state;
    sk_removed removed[] = {{{1, 4}, SK_CLASS_CONTENT}, {{2, 8}, SK_CLASS_DEADLINE}};
    sk_op op = {.has_content = true, .content = value_of(0, 0, "one"), .removed = removed, .removed_count = 2};
    sk_row row = ROW_OF(value_of(1, 4, "gone"), value_of(2, 8, "stays"), deadline_of(1, 4, 9), deadline_of(2, 8, 9));
    assert_string_equal(applied(&op, (sk_dot){0, 3}, vv_of(2, 9, 9), row, NULL),
                        "0:3 v one, 2:8 v stays, 1:4 d 9");
}

static void an_addition_replaces_its_origins_count(void **state)
{
    (void)state;
    sk_op add = {.has_content = true, .content = count_entry(0, 0, 2, 9)};
    sk_row row = ROW_OF(count_entry(0, 2, 2, 5), count_entry(1, 4, 4, 3), value_of(2, 1, "10"));
    assert_string_equal(applied(&add, (sk_dot){0, 3}, vv_of(2, 0, 0), row, NULL),
                        "0:3 c 9 from 2, 1:4 c 3 from 4, 2:1 v 10");
    /* A base that came from elsewhere stays, if it is of the same epoch. */
    sk_row reset = ROW_OF(count_since(count_entry(0, 2, 2, 5), 2, 5));
    assert_string_equal(applied(&add, (sk_dot){0, 3}, vv_of(2, 0, 0), reset, NULL), "0:3 c 9-5@2 from 2");
    sk_op anew = {.has_content = true, .content = count_entry(0, 0, 3, 1)};
    assert_string_equal(applied(&anew, (sk_dot){0, 3}, vv_of(2, 1, 0), reset, NULL), "0:3 c 1 from 3");
}

/* One transaction adds, and then takes away with an old context what stood before it: both hold. */
static void an_addition_may_reset_its_own_past(void **state)
{
    (void)state;
    sk_reset resets[] = {{{0, 2}, 2, sk_number_whole(5)}};
    sk_op both = {.has_content = true, .content = count_entry(0, 0, 2, 9), .resets = resets, .reset_count = 1};
    sk_row row = ROW_OF(count_entry(0, 2, 2, 5));
    assert_string_equal(applied(&both, (sk_dot){0, 3}, vv_of(2, 0, 0), row, NULL), "0:3 c 9-5@2 from 2");
}

static void a_reset_notes_what_it_saw(void **state)
{
    (void)state;
    sk_reset resets[] = {{{1, 4}, 2, sk_number_whole(6)}};
    sk_op del = {.forgets_content = true, .resets = resets, .reset_count = 1};
    bool left_dead = false;
    sk_row same = ROW_OF(count_entry(1, 4, 2, 6)), later = ROW_OF(count_entry(1, 5, 2, 8)),
           anew = ROW_OF(count_entry(1, 6, 6, 8)), own = ROW_OF(count_entry(0, 2, 2, 5)), out;
    assert_string_equal(applied(&del, (sk_dot){0, 3}, vv_of(2, 4, 0), later, &left_dead), "1:5 c 8-6@4 from 2");
    assert_false(left_dead);
    assert_string_equal(applied(&del, (sk_dot){0, 3}, vv_of(2, 4, 0), anew, &left_dead), "1:6 c 8 from 6");
    assert_string_equal(applied(&del, (sk_dot){0, 3}, vv_of(2, 4, 0), own, &left_dead), ""); /* its own goes at once */
    assert_false(left_dead);
    sk_vv seen = vv_of(2, 4, 0);
    assert_int_equal(sk_op_apply(&del, (sk_dot){0, 3}, 1, &seen, &same, &arena, &out, &left_dead), 0);
    assert_string_equal(row_text(&out), "1:4 c 6-6@4 from 2+");
    assert_true(left_dead);
    assert_int_equal(out.entries[0].count.reset_by.origin, 0);
    assert_int_equal(out.entries[0].count.reset_by.seq, 3);
    left_dead = false; /* who comes second leaves nothing */
    assert_string_equal(applied(&del, (sk_dot){2, 3}, vv_of(2, 4, 0), out, &left_dead), "1:4 c 6-6@4 from 2+");
    assert_false(left_dead);
    sk_vv_free(&seen);
}

/* A damaged operation says that it saw more than there is: the row stays one that can be read. */
static void a_reset_of_what_was_never_added_does_nothing(void **state)
{
    (void)state;
    sk_reset resets[] = {{{1, 400}, 2, sk_number_whole(6)}};
    sk_op op = {.resets = resets, .reset_count = 1};
    sk_row row = ROW_OF(count_entry(1, 4, 2, 6));
    assert_string_equal(applied(&op, (sk_dot){0, 3}, vv_of(2, 4, 0), row, NULL), "1:4 c 6 from 2");
}

static void resets_are_listed_of_the_others(void **state)
{
    (void)state;
    sk_op op = {0};
    sk_row row = ROW_OF(count_entry(0, 2, 2, 5), count_since(count_entry(1, 4, 2, 6), 3, 5),
                        count_since(count_entry(2, 4, 2, 6), 4, 6), value_of(3, 1, "v"));
    assert_int_equal(sk_op_list_resets(&op, &row, 0, &arena), 0);
    assert_int_equal(op.reset_count, 1);
    assert_int_equal(op.resets[0].dot.origin, 1);
    assert_int_equal(op.resets[0].dot.seq, 4);
    assert_int_equal(op.resets[0].epoch, 2);
    assert_int_equal(op.resets[0].total.whole, 6);
}

/* -- packed form --------------------------------------------------------------------------------------------------- */

static sk_op full_op(void)
{
    static sk_reset resets[] = {{{1, 4}, 2, {.whole = 6}}, {{0, 9}, 9, {.is_real = true, .real = 0.5L}}};
    static sk_removed removed[] = {{{1, 4}, SK_CLASS_CONTENT}, {{2, 8}, SK_CLASS_DEADLINE}};
    return (sk_op){.key = sk_bytes_of("k\0x", 3),
                   .forgets_content = true,
                   .forgets_deadlines = true,
                   .has_content = true,
                   .has_deadline = true,
                   .content = count_since(count_entry(5, 7, 3, -4), 5, 2),
                   .deadline = deadline_of(5, 7, 99),
                   .resets = resets,
                   .reset_count = 2,
                   .removed = removed,
                   .removed_count = 2};
}

static void every_operation_comes_back(void **state)
{
    (void)state;
    for (unsigned shape = 0; shape < 256; shape++) {
        sk_op op = full_op(), back;
        sk_entry kinds[] = {op.content, value_of(5, 7, "v"), value_of(5, 7, ""), member_of(5, 7)};
        op.has_content = shape & 1;
        op.content = kinds[shape >> 6];
        op.has_deadline = shape & 2;
        op.forgets_content = shape & 4;
        op.forgets_deadlines = shape & 8;
        if (!(shape & 16)) op.reset_count = 0;
        if (!(shape & 32)) op.removed_count = 0;
        sk_buf packed = {0}, again = {0};
        sk_op_pack(&packed, &op);
        sk_reader reader = sk_reader_of(sk_buf_view(&packed));
        assert_int_equal(sk_op_read(&reader, NULL, (sk_dot){5, 7}, 7, &arena, &back), 0);
        assert_true(sk_reader_done(&reader));
        sk_op_pack(&again, &back);
        assert_bytes_equal(sk_buf_view(&again), sk_buf_view(&packed));
        assert_int_equal(sk_op_only_removes(&back), !(shape & 3));
        if (back.has_content) assert_int_equal(back.content.dot.seq, 7);
        assert_bytes_equal(back.key, op.key);
        for (size_t cut = 0; cut < packed.len; cut++) {
            reader = sk_reader_of(sk_bytes_of(packed.data, cut));
            assert_int_equal(sk_op_read(&reader, NULL, (sk_dot){5, 7}, 7, &arena, &back), SK_E_MALFORMED);
        }
        sk_buf_free(&packed);
        sk_buf_free(&again);
    }
}

static int read_again(const sk_op *op, const sk_origin_map *map, uint64_t seq, sk_op *back)
{
    sk_buf packed = {0};
    sk_op_pack(&packed, op);
    sk_bytes kept = sk_arena_copy(&arena, sk_buf_view(&packed));
    sk_buf_free(&packed);
    sk_reader reader = sk_reader_of(kept);
    return sk_op_read(&reader, map, (sk_dot){5, seq}, 7, &arena, back);
}

static void origins_go_through_the_map(void **state)
{
    (void)state;
    sk_op op = full_op(), back;
    sk_origin_map map = {0};
    for (uint32_t o = 0; o < 3; o++) {
        assert_int_equal(read_again(&op, &map, 7, &back), SK_E_MALFORMED);
        (void)sk_origin_map_set(&map, 2 - o, 10 + 2 - o);
    }
    assert_int_equal(read_again(&op, &map, 7, &back), 0);
    assert_int_equal(back.resets[0].dot.origin, 11);
    assert_int_equal(back.removed[1].dot.origin, 12);
    sk_origin_map_free(&map);
}

static size_t packed_size(const sk_op *op)
{
    sk_buf packed = {0};
    sk_op_pack(&packed, op);
    size_t size = packed.len;
    sk_buf_free(&packed);
    return size;
}

/* What a transaction is limited by is never less than what it becomes. */
static void the_size_is_not_underestimated(void **state)
{
    (void)state;
    sk_number longest = sk_number_real(1.5L);
    sk_op op = full_op(), small = {.key = sk_bytes_str("k"), .has_content = true, .content = value_of(0, 0, "v")};
    assert_in_range(packed_size(&small), SK_OP_BYTES_LEAST, sk_op_size(&small));
    assert_in_range(sk_op_size(&small), packed_size(&small), packed_size(&small) + 16);
    assert_in_range(packed_size(&op), 1, sk_op_size(&op));
    sk_reset resets[] = {{{SK_ORIGINS_MAX - 1, UINT64_MAX}, UINT64_MAX, longest}, {{1, UINT64_MAX}, 1, longest}};
    sk_removed removed[] = {{{SK_ORIGINS_MAX - 1, UINT64_MAX}, SK_CLASS_DEADLINE}};
    op.content.count = (sk_count){UINT64_MAX, longest, UINT64_MAX, longest, {0}};
    sk_op counted = {.key = sk_bytes_str("k"), .has_content = true, .content = op.content};
    assert_in_range(packed_size(&counted), 1, sk_op_size(&counted));
    op.deadline.deadline_ms = UINT64_MAX;
    op.resets = resets;
    op.reset_count = 2;
    op.removed = removed;
    op.removed_count = 1;
    assert_in_range(packed_size(&op), 1, sk_op_size(&op));
    sk_row counts = ROW_OF(count_entry(1, UINT64_MAX, 1, INT64_MIN), count_entry(2, UINT64_MAX, 1, INT64_MIN));
    sk_op removal = {.key = sk_bytes_str("k"), .forgets_content = true, .forgets_deadlines = true};
    assert_int_equal(sk_op_list_resets(&removal, &counts, 0, &arena), 0);
    assert_in_range(packed_size(&removal), 1, sk_op_removal_size(removal.key, &counts));
}

/* No list that a peer sends takes more memory than its bytes warrant, or more than so much. */
static void lists_have_a_limit(void **state)
{
    (void)state;
    static sk_removed removed[SK_ROW_ENTRIES_MAX + 1];
    static sk_reset resets[SK_ROW_ENTRIES_MAX + 1];
    for (uint32_t i = 0; i <= SK_ROW_ENTRIES_MAX; i++) {
        removed[i] = (sk_removed){{1, i + 1}, SK_CLASS_CONTENT};
        resets[i] = (sk_reset){{i % SK_ORIGINS_MAX, 1}, 1, sk_number_whole(1)};
    }
    sk_op op = {.key = sk_bytes_str("k"), .removed = removed, .removed_count = SK_ROW_ENTRIES_MAX, .resets = resets,
                .reset_count = SK_ROW_ENTRIES_MAX}, back;
    assert_int_equal(read_again(&op, NULL, 7, &back), 0);
    op.removed_count++;
    assert_int_equal(read_again(&op, NULL, 7, &back), SK_E_TOO_LARGE);
    op.removed_count = 0;
    op.reset_count++;
    assert_int_equal(read_again(&op, NULL, 7, &back), SK_E_TOO_LARGE);
}

/* The same of a long row as of a short one: every third entry is named, every second count reset. */
static void long_lists_are_found_in_long_rows(void **state)
{
    (void)state;
    enum { ORIGINS = 300 };
    static sk_entry entries[3 * ORIGINS];
    static sk_removed removed[ORIGINS];
    static sk_reset resets[ORIGINS];
    sk_row row = {.entries = entries}, out;
    sk_vv seen = {0};
    for (uint32_t o = 0; o < ORIGINS; o++) {
        entries[row.count++] = value_of(o, 1, "a");
        entries[row.count++] = count_entry(o, 2, 2, 5);
        entries[row.count++] = value_of(o, 3, "b");
        removed[ORIGINS - 1 - o] = (sk_removed){{o, o % 2 ? 1 : 3}, SK_CLASS_CONTENT};
        resets[o] = (sk_reset){{(o * 7) % ORIGINS, 2}, 2, sk_number_whole(5)};
    }
    sk_row_check(&row);
    sk_op op = {.removed = removed, .removed_count = ORIGINS, .resets = resets, .reset_count = ORIGINS / 2};
    assert_int_equal(sk_op_apply(&op, (sk_dot){ORIGINS, 1}, 1, &seen, &row, &arena, &out, NULL), 0);
    sk_row_check(&out);
    assert_int_equal(out.count, 2 * ORIGINS);
    uint32_t reset = 0;
    for (uint32_t i = 0; i < out.count; i++) {
        const sk_entry *entry = &out.entries[i];
        reset += !sk_entry_live(entry);
        if (entry->kind == SK_ENTRY_VALUE) assert_int_equal(entry->dot.seq, entry->dot.origin % 2 ? 3 : 1);
    }
    assert_int_equal(reset, ORIGINS / 2);
}

static void damaged_operations_are_refused(void **state)
{
    (void)state;
    sk_op back, op;
#define REFUSED(change)                                                                                                \
    op = full_op();                                                                                                    \
    op.resets = (sk_reset[]){op.resets[0], op.resets[1]};                                                              \
    change;                                                                                                            \
    assert_int_equal(read_again(&op, NULL, 7, &back), SK_E_MALFORMED)
    REFUSED(op.content.count.epoch = 0);
    REFUSED(op.content.count.epoch = 8);
    REFUSED(op.content.count.base_seq = 7);
    REFUSED(op.content.count.base_seq = 2);
    REFUSED(op.deadline.deadline_ms = 0);
    REFUSED(op.resets[0].epoch = 0);
    REFUSED(op.resets[0].epoch = 5);
    REFUSED(op.resets[0].dot.origin = SK_ORIGINS_MAX);
#undef REFUSED
    sk_reader flags = sk_reader_of(sk_bytes_of("\xc4\x01k\xcc\x80", 5));
    assert_int_equal(sk_op_read(&flags, NULL, (sk_dot){0, 1}, 1, &arena, &back), SK_E_MALFORMED);
    sk_reader claims = sk_reader_of(sk_bytes_of("\xc4\x01k\x20\xdd\xff\xff\xff\xff", 9));
    assert_int_equal(sk_op_read(&claims, NULL, (sk_dot){0, 1}, 1, &arena, &back), SK_E_MALFORMED);
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    sk_op op = full_op(), back;
    sk_row row = ROW_OF(value_of(0, 1, "v")), out;
    sk_vv seen = {0};
    sk_buf packed = {0};
    sk_arena small = {.max = 16};
    sk_op_pack(&packed, &op);
    sk_reader reader = sk_reader_of(sk_buf_view(&packed));
    assert_int_equal(sk_op_read(&reader, NULL, (sk_dot){5, 7}, 7, &small, &back), SK_E_MEMORY);
    assert_int_equal(sk_op_apply(&op, (sk_dot){5, 7}, 7, &seen, &row, &small, &out, NULL), SK_E_MEMORY);
    sk_row counts = ROW_OF(count_entry(1, 4, 4, 1));
    assert_int_equal(sk_op_list_resets(&op, &counts, 0, &small), SK_E_MEMORY);
    sk_buf_free(&packed);
    sk_arena_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_write_replaces_what_it_saw),
        cmocka_unit_test(a_deadline_replaces_deadlines_only),
        cmocka_unit_test(an_old_context_removes_what_it_lists),
        cmocka_unit_test(an_addition_replaces_its_origins_count),
        cmocka_unit_test(an_addition_may_reset_its_own_past),
        cmocka_unit_test(a_reset_notes_what_it_saw),
        cmocka_unit_test(a_reset_of_what_was_never_added_does_nothing),
        cmocka_unit_test(resets_are_listed_of_the_others),
        cmocka_unit_test(every_operation_comes_back),
        cmocka_unit_test(origins_go_through_the_map),
        cmocka_unit_test(the_size_is_not_underestimated),
        cmocka_unit_test(lists_have_a_limit),
        cmocka_unit_test(long_lists_are_found_in_long_rows),
        cmocka_unit_test(damaged_operations_are_refused),
        cmocka_unit_test(a_full_arena_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
