/* Packed operations: whatever the bytes, one that is read packs to bytes that read as the same, and applied to any row
 * that can be stored leaves a row that can be stored. The input: a row as a msgpack bin, then operations. */
#include "crdt/op.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const sk_op *op, sk_dot dot, sk_arena *arena)
{
    sk_buf packed = {0}, again = {0};
    sk_op back;
    sk_op_pack(&packed, op);
    sk_reader reader = sk_reader_of(sk_buf_view(&packed));
    sk_assert(sk_op_read(&reader, NULL, dot, 1, arena, &back) == 0);
    sk_assert(sk_reader_done(&reader));
    sk_op_pack(&again, &back);
    sk_assert(sk_bytes_equal(sk_buf_view(&packed), sk_buf_view(&again)));
    sk_buf_free(&packed);
    sk_buf_free(&again);
}

/* A node applies a transaction once, after all before it of its origin. */
static bool next_of_its_origin(const sk_row *row, sk_dot dot)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].dot.origin == dot.origin && row->entries[i].dot.seq >= dot.seq) return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sk_arena arena = {0};
    sk_reader reader = sk_reader_of(sk_bytes_of(data, size));
    sk_row row = {0};
    sk_vv seen = {0};
    if (sk_row_read(sk_read_bytes(&reader), NULL, &arena, &row)) row = (sk_row){0};
    for (uint64_t i = 0; sk_reader_left(&reader) && i < 64; i++) {
        sk_dot dot = {(uint32_t)(i % 5), 1000 + i};
        sk_op op;
        if (sk_op_read(&reader, NULL, dot, 1, &arena, &op)) break;
        check_again(&op, dot, &arena);
        if (!next_of_its_origin(&row, dot)) continue;
        sk_vv_set(&seen, (uint32_t)(i % 3), 500 * i);
        sk_row after, back;
        sk_buf packed = {0};
        bool left_dead = false;
        sk_assert(sk_op_apply(&op, dot, 1, &seen, &row, &arena, &after, &left_dead) == 0);
        sk_row_check(&after);
        sk_row_pack(&packed, &after, true);
        sk_assert(sk_row_read(sk_arena_copy(&arena, sk_buf_view(&packed)), NULL, &arena, &back) == 0);
        sk_buf_free(&packed);
        row = back;
    }
    sk_vv_free(&seen);
    sk_arena_free(&arena);
    return 0;
}
