#include "storage/run.h"

#include <stdlib.h>

typedef struct {
    uint64_t part; /* a few bytes of the key, as a number: see part_of */
    const sk_change *change;
    size_t order; /* of coming */
} item;

/* -- sorting ---------------------------------------------------------------------------------------------------------
 * Radix sort over a few bytes of the keys at a time, then likewise each group that they do not tell apart: linear in the
 * bytes of the keys, whatever they are, and without a look at the keys, which lie all over memory, for each comparison
 * (a quarter of placing went into those). Stable: changes of one key stay in the order in which they came. */

enum {
    PART_BYTES = 7, /* of the key in a part; its last byte says how many there were */
    FEW = 24,       /* items that insertion sorts faster */
};

/* How many bytes every key begins with. */
static size_t shared_prefix(const item *items, size_t count)
{
    sk_bytes first = sk_change_key(items[0].change);
    size_t shared = first.len;
    for (size_t i = 1; i < count && shared; i++) {
        sk_bytes key = sk_change_key(items[i].change);
        if (key.len < shared) shared = key.len;
        while (shared && memcmp(first.data, key.data, shared) != 0) shared--;
    }
    return shared;
}

/* The bytes from `at` on in the order of memcmp, and how many: a key that ends goes before one that has a zero there. The
 * last byte is PART_BYTES + 1 if the key goes on behind them. */
static uint64_t part_of(sk_bytes key, size_t at)
{
    size_t left = key.len - at, have = left < PART_BYTES ? left : PART_BYTES;
    uint64_t part = 0;
    for (size_t i = 0; i < PART_BYTES; i++) part = part << 8 | (i < have ? key.data[at + i] : 0);
    return part << 8 | (left > PART_BYTES ? PART_BYTES + 1 : left);
}

static void sort_few(item *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        item moving = items[i];
        size_t at = i;
        for (; at > 0 && sk_bytes_compare(sk_change_key(items[at - 1].change), sk_change_key(moving.change)) > 0; at--)
            items[at] = items[at - 1];
        items[at] = moving;
    }
}

/* By their parts, the least byte first (Knuth, TAOCP 3, 5.2.5); bytes that are the same in all are left out. */
static void sort_by_part(item *items, item *spare, size_t count)
{
    item *from = items, *to = spare;
    for (int shift = 0; shift < 64; shift += 8) {
        size_t begin[257] = {0};
        for (size_t i = 0; i < count; i++) begin[(from[i].part >> shift & 0xff) + 1]++;
        if (begin[(from[0].part >> shift & 0xff) + 1] == count) continue;
        for (int byte = 0; byte < 256; byte++) begin[byte + 1] += begin[byte];
        for (size_t i = 0; i < count; i++) to[begin[from[i].part >> shift & 0xff]++] = from[i];
        item *sorted = to;
        to = from;
        from = sorted;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
}

static void sort_items(item *items, item *spare, size_t count)
{
    if (count <= FEW) {
        sort_few(items, count);
        return;
    }
    size_t shared = shared_prefix(items, count);
    bool ascending = true;
    for (size_t i = 0; i < count; i++) {
        items[i].part = part_of(sk_change_key(items[i].change), shared);
        ascending = ascending && (i == 0 || items[i - 1].part <= items[i].part); /* history comes in its order */
    }
    if (!ascending) sort_by_part(items, spare, count);
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && items[end].part == items[begin].part;) end++;
        bool goes_on = (items[begin].part & 0xff) > PART_BYTES;
        if (goes_on && end - begin > 1) sort_items(items + begin, spare, end - begin);
    }
}

/* -- what a run keeps --------------------------------------------------------------------------------------------- */

typedef struct {
    const sk_change *change;
    size_t order;
} ranged;

static bool covers(const sk_change *range, sk_bytes key)
{
    return sk_bytes_compare(key, sk_change_key(range)) >= 0 &&
           (range->open_end || sk_bytes_compare(key, sk_change_value(range)) < 0);
}

static bool covers_range(const sk_change *range, const sk_change *other)
{
    if (range->cf != other->cf || sk_bytes_compare(sk_change_key(other), sk_change_key(range)) < 0) return false;
    return range->open_end ||
           (!other->open_end && sk_bytes_compare(sk_change_value(other), sk_change_value(range)) <= 0);
}

/* Drops the ranges that later ones cover, in place: history is forgotten from its front again and again. */
static size_t keep_last(ranged *ranges, size_t count)
{
    size_t first = count; /* the kept ones are at the end */
    for (size_t i = count; i-- > 0;) {
        bool covered = false;
        for (size_t k = first; k < count && !covered; k++) covered = covers_range(ranges[k].change, ranges[i].change);
        if (!covered) ranges[--first] = ranges[i];
    }
    memmove(ranges, ranges + first, (count - first) * sizeof *ranges);
    return count - first;
}

/* A range removal that came after the point took it out again. */
static bool removed_later(const item *point, const ranged *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ranges[i].order > point->order && ranges[i].change->cf == point->change->cf &&
            covers(ranges[i].change, sk_change_key(point->change)))
            return true;
    return false;
}

/* Sorts the points of one family and appends the newest of each key that nothing removed later. */
static size_t add_family(sk_run *run, size_t at, item *items, item *spare, size_t count, const ranged *ranges,
                         size_t range_count)
{
    size_t left = 0, before = at;
    for (size_t i = 0; i < count; i++)
        if (!range_count || !removed_later(&items[i], ranges, range_count)) items[left++] = items[i];
    sort_items(items, spare, left);
    for (size_t i = 0; i < left; i++) {
        const sk_change *change = items[i].change;
        if (i + 1 < left && sk_bytes_equal(sk_change_key(change), sk_change_key(items[i + 1].change))) continue;
        run->points[at++] = change;
        run->bytes[change->cf] += change->key_len + change->value_len;
    }
    run->coalesced += count - (at - before);
    return at;
}

/* Families apart, each in the order of coming; `order` counts points and ranges together. */
static size_t gather(sk_batch *const *batches, size_t count, const size_t *begin, item *items, ranged *ranges)
{
    size_t fill[SK_CF_COUNT], order = 0, range_count = 0;
    memcpy(fill, begin, sizeof fill);
    for (size_t b = 0; b < count; b++)
        for (const sk_change *change = batches[b]->first; change; change = change->next, order++) {
            if (change->kind == SK_CHANGE_RANGE)
                ranges[range_count++] = (ranged){change, order};
            else
                items[fill[change->cf]++] = (item){0, change, order};
        }
    return range_count;
}

static void make_room(sk_run *run, size_t points)
{
    if (points <= run->room && run->points) return;
    free(run->points);
    free(run->sorting);
    run->points = sk_realloc(NULL, (points + 1) * sizeof *run->points);
    run->sorting = sk_realloc(NULL, 2 * (points + 1) * sizeof(item));
    run->room = points;
}

void sk_run_make(sk_run *run, sk_batch *const *batches, size_t count)
{
    *run = (sk_run){.points = run->points, .sorting = run->sorting, .room = run->room};
    size_t total = 0, begin[SK_CF_COUNT + 1] = {0};
    for (size_t b = 0; b < count; b++) {
        total += batches[b]->count;
        for (int cf = 0; cf < SK_CF_COUNT; cf++) begin[cf + 1] += batches[b]->points[cf];
    }
    for (int cf = 0; cf < SK_CF_COUNT; cf++) begin[cf + 1] += begin[cf];
    size_t point_count = begin[SK_CF_COUNT], at = 0;
    make_room(run, point_count);
    item *items = run->sorting, *spare = items + point_count;
    ranged *ranges = sk_realloc(NULL, (total - point_count + 1) * sizeof *ranges);
    size_t range_count = gather(batches, count, begin, items, ranges);
    sk_assert(range_count == total - point_count);
    range_count = keep_last(ranges, range_count);

    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        run->begin[cf] = at;
        at = add_family(run, at, items + begin[cf], spare, begin[cf + 1] - begin[cf], ranges, range_count);
    }
    run->begin[SK_CF_COUNT] = at;
    run->ranges = sk_realloc(NULL, (range_count + 1) * sizeof *run->ranges);
    for (size_t i = 0; i < range_count; i++) run->ranges[i] = ranges[i].change;
    run->range_count = range_count;
    free(ranges);
}

void sk_run_end(sk_run *run)
{
    enum { WORTH_PART = 4 };
    size_t points = run->begin[SK_CF_COUNT] + run->coalesced;
    if (points < run->room / WORTH_PART) {
        sk_run_free(run);
        return;
    }
    free(run->ranges);
    run->ranges = NULL;
}

void sk_run_free(sk_run *run)
{
    free(run->points);
    free(run->sorting);
    free(run->ranges);
    *run = (sk_run){0};
}
