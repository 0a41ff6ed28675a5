/* Stored rows: whatever the bytes, a row that is read can be packed, read again, merged, stripped, shown, and its
 * digest taken; one of our own is packed to the bytes that it was read from. The first byte draws which origins are
 * known. */
#include "crdt/register_mv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const sk_row *row, sk_arena *arena)
{
    sk_buf packed = {0}, again = {0};
    sk_row back;
    sk_row_check(row);
    sk_row_pack(&packed, row, true);
    sk_assert(sk_row_read(sk_buf_view(&packed), NULL, arena, &back) == 0);
    sk_row_pack(&again, &back, true);
    sk_assert(sk_bytes_equal(sk_buf_view(&packed), sk_buf_view(&again)));
    sk_buf_free(&packed);
    sk_buf_free(&again);
}

static void check_same(const sk_row *row, sk_bytes bytes)
{
    sk_buf packed = {0};
    sk_row_pack(&packed, row, true);
    sk_assert(sk_bytes_equal(sk_buf_view(&packed), bytes));
    sk_buf_free(&packed);
}

static void use(const sk_row *row, const sk_origins *origins, sk_arena *arena)
{
    sk_vv all = {0}, none = {0};
    sk_row merged;
    sk_register shown;
    for (uint32_t i = 0; i < row->count; i++) sk_vv_raise(&all, row->entries[i].dot.origin, row->entries[i].dot.seq);
    sk_assert(sk_row_merge(row, &all, row, &all, arena, &merged) == 0);
    check_again(&merged, arena);
    sk_digest digest = sk_row_digest(origins, sk_bytes_str("k"), row);
    sk_assert(digest == sk_row_digest(origins, sk_bytes_str("k"), &merged));
    sk_assert(sk_row_merge(row, &all, &(sk_row){0}, &none, arena, &merged) == 0);
    check_again(&merged, arena);
    (void)sk_row_strip(&merged, NULL, NULL, NULL);
    check_again(&merged, arena);
    sk_assert(digest == sk_row_digest(origins, sk_bytes_str("k"), &merged));
    sk_assert(sk_register_read(row, origins, arena, &shown) == 0);
    sk_assert(sk_register_conflicted(row) == (shown.count > 1));
    sk_vv_free(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sk_origin names[SK_ORIGINS_MAX];
    sk_origins origins = {names, SK_ORIGINS_MAX};
    sk_arena arena = {0};
    sk_origin_map map = {0};
    sk_row row;
    if (size == 0) return 0;
    for (uint32_t o = 0; o < data[0] % 32u; o++) (void)sk_origin_map_set(&map, o, 31 - o);
    bool mapped = data[0] & 128;
    if (sk_row_read(sk_bytes_of(data + 1, size - 1), mapped ? &map : NULL, &arena, &row) == 0) {
        check_again(&row, &arena);
        if (!mapped) check_same(&row, sk_bytes_of(data + 1, size - 1));
        use(&row, &origins, &arena);
    }
    sk_origin_map_free(&map);
    sk_arena_free(&arena);
    return 0;
}
