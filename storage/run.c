#include "storage/run.h"

#include <stdlib.h>

typedef struct {
    uint64_t prefix; /* the eight bytes of the key after what all keys of the family begin with, big-endian */
    const sk_change *change;
    size_t order; /* of coming */
} item;

static int item_compare(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->prefix != y->prefix) return x->prefix < y->prefix ? -1 : 1;
    int order = sk_bytes_compare(sk_change_key(x->change), sk_change_key(y->change));
    if (order) return order;
    return x->order < y->order ? -1 : 1;
}

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

static void sort_items(item *items, size_t count)
{
    size_t shared = count ? shared_prefix(items, count) : 0;
    for (size_t i = 0; i < count; i++) {
        sk_bytes key = sk_change_key(items[i].change);
        for (size_t k = 0; k < 8; k++)
            items[i].prefix = items[i].prefix << 8 | (shared + k < key.len ? key.data[shared + k] : 0);
    }
    if (count) qsort(items, count, sizeof *items, item_compare);
}

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
static size_t add_family(sk_run *run, size_t at, item *items, size_t count, const ranged *ranges, size_t range_count)
{
    size_t left = 0, before = at;
    for (size_t i = 0; i < count; i++)
        if (!range_count || !removed_later(&items[i], ranges, range_count)) items[left++] = items[i];
    sort_items(items, left);
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

void sk_run_make(sk_run *run, sk_batch *const *batches, size_t count)
{
    *run = (sk_run){0};
    size_t total = 0, begin[SK_CF_COUNT + 1] = {0};
    for (size_t b = 0; b < count; b++) {
        total += batches[b]->count;
        for (int cf = 0; cf < SK_CF_COUNT; cf++) begin[cf + 1] += batches[b]->points[cf];
    }
    for (int cf = 0; cf < SK_CF_COUNT; cf++) begin[cf + 1] += begin[cf];
    size_t point_count = begin[SK_CF_COUNT], at = 0;
    item *items = sk_realloc(NULL, (point_count + 1) * sizeof *items);
    ranged *ranges = sk_realloc(NULL, (total - point_count + 1) * sizeof *ranges);
    size_t range_count = gather(batches, count, begin, items, ranges);
    sk_assert(range_count == total - point_count);
    range_count = keep_last(ranges, range_count);

    run->points = sk_realloc(NULL, (point_count + 1) * sizeof *run->points);
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        run->begin[cf] = at;
        at = add_family(run, at, items + begin[cf], begin[cf + 1] - begin[cf], ranges, range_count);
    }
    run->begin[SK_CF_COUNT] = at;
    run->ranges = sk_realloc(NULL, (range_count + 1) * sizeof *run->ranges);
    for (size_t i = 0; i < range_count; i++) run->ranges[i] = ranges[i].change;
    run->range_count = range_count;
    free(items);
    free(ranges);
}

void sk_run_free(sk_run *run)
{
    free(run->points);
    free(run->ranges);
    *run = (sk_run){0};
}
