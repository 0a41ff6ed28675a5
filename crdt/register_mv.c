#include "crdt/register_mv.h"

#include "crdt/number.h"

#include <math.h>

static bool is_real_share(const sk_entry *entry)
{
    if (entry->kind != SK_ENTRY_COUNT || !sk_entry_live(entry)) return false;
    return entry->count.total.is_real || (entry->count.base_seq && entry->count.base.is_real);
}

/* Adds the real shares from the least to the greatest: the last digits of such a sum depend on its order, and a row's
 * order (by our own origin numbers) is another one in every region. */
static void add_real_shares(const sk_row *row, sk_sum *sum)
{
    long double last = -INFINITY;
    for (;;) {
        long double next = INFINITY;
        uint32_t times = 0;
        for (uint32_t i = 0; i < row->count; i++) {
            const sk_count *count = &row->entries[i].count;
            if (!is_real_share(&row->entries[i])) continue;
            long double share = sk_number_as_real(count->total);
            if (count->base_seq) share -= sk_number_as_real(count->base);
            if (share <= last || share > next) continue;
            times = share < next ? 1 : times + 1;
            next = share;
        }
        if (times == 0) return;
        for (; times; times--) sk_sum_add(sum, sk_number_real(next));
        last = next;
    }
}

static sk_sum sum_of(const sk_row *row, bool *any)
{
    sk_sum sum = {0};
    bool any_real = false;
    *any = false;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (entry->kind != SK_ENTRY_COUNT || !sk_entry_live(entry)) continue;
        *any = true;
        any_real |= is_real_share(entry);
        if (is_real_share(entry)) continue;
        sk_sum_add(&sum, entry->count.total);
        if (entry->count.base_seq) sk_sum_subtract(&sum, entry->count.base);
    }
    if (any_real) add_real_shares(row, &sum);
    return sum;
}

bool sk_register_whole(const sk_row *row, int64_t *number)
{
    bool counted;
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_VALUE) return false;
    sk_sum sum = sum_of(row, &counted);
    if (!counted || sum.is_real || sum.whole < INT64_MIN || sum.whole > INT64_MAX) return false;
    *number = (int64_t)sum.whole;
    return true;
}

/* What `value` is as a number, if it is one. */
static bool as_number(sk_bytes value, sk_number *number)
{
    int64_t whole;
    long double real;
    if (sk_parse_int64(value, &whole)) {
        *number = sk_number_whole(whole);
        return true;
    }
    if (!sk_parse_long_double(value, &real) || !isfinite(real)) return false;
    *number = sk_number_real(real);
    return true;
}

static int text_of(const sk_sum *sum, sk_arena *arena, sk_bytes *text)
{
    char digits[SK_SUM_TEXT_MAX];
    size_t len = sk_sum_text(sum, digits);
    *text = sk_arena_copy(arena, sk_bytes_of(digits, len));
    return text->data ? 0 : SK_E_MEMORY;
}

int sk_register_show(const sk_row *row, sk_bytes value, sk_arena *arena, sk_bytes *shown, bool *numeric)
{
    bool counted;
    sk_number number;
    sk_sum sum = sum_of(row, &counted);
    *shown = value;
    *numeric = false;
    if (!counted || !as_number(value, &number)) return 0;
    *numeric = true;
    sk_sum_add(&sum, number);
    return text_of(&sum, arena, shown);
}

bool sk_register_conflicted(const sk_row *row)
{
    if (row->count < 2) return false;
    const sk_entry *value = NULL;
    uint32_t values = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        if (row->entries[i].kind != SK_ENTRY_VALUE) continue;
        value = &row->entries[i];
        values++;
    }
    if (values != 1) return values > 1;
    bool counted;
    sk_number number;
    (void)sum_of(row, &counted);
    return counted && !as_number(value->value, &number);
}

static bool newer(const sk_sibling *a, const sk_sibling *b, const sk_origins *origins)
{
    return sk_newer(origins, a->hlc, a->dot, b->hlc, b->dot);
}

int sk_register_read(const sk_row *row, const sk_origins *origins, sk_arena *arena, sk_register *out)
{
    sk_register found = {0};
    found.siblings = sk_arena_take(arena, ((size_t)row->count + 1) * sizeof *found.siblings);
    if (!found.siblings) return SK_E_MEMORY;
    bool counted, numeric = false, any_numeric = false;
    sk_sum sum = sum_of(row, &counted);
    sk_sibling counter = {.is_sum = true};
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        sk_sibling sibling = {.dot = entry->dot, .hlc = entry->hlc};
        if (entry->kind == SK_ENTRY_COUNT && sk_entry_live(entry)) {
            sibling.is_sum = true;
            if (counter.dot.seq == 0 || newer(&sibling, &counter, origins)) counter = sibling;
        }
        if (entry->kind != SK_ENTRY_VALUE) continue;
        if (sk_register_show(row, entry->value, arena, &sibling.value, &numeric)) return SK_E_MEMORY;
        any_numeric |= numeric;
        found.siblings[found.count++] = sibling;
    }
    if (counted && !any_numeric) {
        if (text_of(&sum, arena, &counter.value)) return SK_E_MEMORY;
        found.siblings[found.count++] = counter;
    }
    for (uint32_t i = 1; i < found.count; i++)
        if (newer(&found.siblings[i], &found.siblings[found.newest], origins)) found.newest = i;
    *out = found;
    return 0;
}

int sk_register_write(sk_op *op, const sk_row *row, uint32_t own, sk_bytes value, sk_arena *arena)
{
    op->forgets_content = true;
    op->has_content = true;
    op->content = (sk_entry){.kind = SK_ENTRY_VALUE, .value = value};
    return sk_op_list_resets(op, row, own, arena);
}

int sk_register_add(sk_op *op, const sk_row *row, sk_dot dot, sk_number by)
{
    const sk_entry *old = sk_row_count_of(row, dot.origin);
    op->has_content = true;
    op->content = (sk_entry){.kind = SK_ENTRY_COUNT};
    if (!old) {
        op->content.count = (sk_count){.epoch = dot.seq, .total = by};
        return 0;
    }
    op->content.count = old->count;
    return sk_number_add(old->count.total, by, &op->content.count.total) ? 0 : SK_E_RANGE;
}

int sk_register_remove(sk_op *op, const sk_row *row, uint32_t own, bool deadlines, sk_arena *arena)
{
    op->forgets_content = true;
    op->forgets_deadlines = deadlines;
    op->has_content = false;
    return sk_op_list_resets(op, row, own, arena);
}
