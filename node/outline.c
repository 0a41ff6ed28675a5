#include "node/outline.h"

#include <stdlib.h>

void sk_outline_free(sk_outline *outline)
{
    free(outline->marks);
    sk_buf_free(&outline->last);
    sk_arena_free(&outline->arena);
    *outline = (sk_outline){0};
}

void sk_outline_mark(sk_outline *outline, sk_bytes key)
{
    if (outline->count && sk_bytes_equal(outline->marks[outline->count - 1].key, key)) return;
    if (outline->count == outline->room) {
        outline->room = outline->room ? outline->room * 2 : 64;
        outline->marks = sk_realloc(outline->marks, outline->room * sizeof *outline->marks);
    }
    outline->marks[outline->count++] =
        (sk_mark){sk_arena_copy(&outline->arena, key), outline->rows, outline->sum};
    outline->since = 0;
}

void sk_outline_add(sk_outline *outline, uint64_t rows, sk_digest sum)
{
    outline->rows += rows;
    outline->sum += sum;
    outline->since += rows;
}

void sk_outline_row(sk_outline *outline, sk_bytes key, sk_digest digest, uint64_t leaf_rows)
{
    if (outline->since >= leaf_rows) sk_outline_mark(outline, sk_key_between(sk_buf_view(&outline->last), key));
    sk_outline_add(outline, digest != 0, digest);
    sk_buf_reset(&outline->last);
    sk_buf_bytes(&outline->last, key);
}

uint32_t sk_outline_at(const sk_outline *outline, sk_bytes key)
{
    uint32_t at = 0, end = outline->count;
    while (at < end) {
        uint32_t middle = at + (end - at) / 2;
        if (sk_bytes_compare(outline->marks[middle].key, key) < 0)
            at = middle + 1;
        else
            end = middle;
    }
    return at;
}

void sk_outline_between(const sk_outline *outline, uint32_t from, uint32_t to, uint64_t *rows, sk_digest *sum)
{
    const sk_mark end = {.rows = outline->rows, .sum = outline->sum};
    const sk_mark *a = from < outline->count ? &outline->marks[from] : &end;
    const sk_mark *b = to < outline->count ? &outline->marks[to] : &end;
    *rows = b->rows - a->rows;
    *sum = b->sum - a->sum;
}

sk_bytes sk_key_between(sk_bytes below, sk_bytes above)
{
    size_t common = 0;
    while (common < below.len && below.data[common] == above.data[common]) common++;
    return sk_bytes_of(above.data, common + 1);
}
