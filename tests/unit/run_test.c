/* Sorted runs against a model: what a run does to a table of keys is what its batches do, one change after the other. */
#include "storage/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS = 40, BATCHES = 6 };

static sk_chunks chunks;

static uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

/* Ascending, with much in common, prefixes of each other, zeros at their ends; longer than the eight bytes that are sorted
 * by first. `family`: whether the common part is there at all. */
static sk_bytes key_of(size_t at, int cf)
{
    static uint8_t keys[16][40];
    static int turn;
    uint8_t *key = keys[turn++ % 16];
    size_t shared = cf == SK_CF_META ? 0 : 12;
    memset(key, 'q', 40);
    key[shared] = (uint8_t)(at / 8);
    memset(key + shared + 1, 0, 12);
    key[shared + 10] = (uint8_t)(at % 8 / 4);
    size_t len = at % 8 < 4 ? shared + 1 + at % 4 : shared + 11 + at % 4;
    return sk_bytes_of(key, len);
}

static sk_bytes bound(size_t at, int cf)
{
    return at < KEYS ? key_of(at, cf) : SK_BYTES_NONE;
}

static size_t index_of(sk_bytes key, int cf)
{
    for (size_t at = 0; at < KEYS; at++)
        if (sk_bytes_equal(key, key_of(at, cf))) return at;
    fail();
    return 0;
}

typedef struct {
    uint32_t values[SK_CF_COUNT][KEYS]; /* 0: nothing */
} table;

/* What is there before: everything, so that a removal that is lost shows. */
static void fill(table *some)
{
    for (int cf = 0; cf < SK_CF_COUNT; cf++)
        for (size_t at = 0; at < KEYS; at++) some->values[cf][at] = UINT32_MAX - (uint32_t)at;
}

static void apply(table *some, const sk_change *change)
{
    int cf = change->cf;
    uint32_t value = 0;
    if (change->kind != SK_CHANGE_RANGE) {
        if (change->kind == SK_CHANGE_PUT) memcpy(&value, sk_change_value(change).data, sizeof value);
        some->values[cf][index_of(sk_change_key(change), cf)] = value;
        return;
    }
    for (size_t at = 0; at < KEYS; at++)
        if (sk_bytes_compare(key_of(at, cf), sk_change_key(change)) >= 0 &&
            (change->open_end || sk_bytes_compare(key_of(at, cf), sk_change_value(change)) < 0))
            some->values[cf][at] = 0;
}

static void check_order(const sk_run *run)
{
    assert_int_equal(run->begin[0], 0);
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        size_t bytes = 0;
        assert_true(run->begin[cf] <= run->begin[cf + 1]);
        for (size_t i = run->begin[cf]; i < run->begin[cf + 1]; i++) {
            const sk_change *point = run->points[i];
            assert_int_equal(point->cf, cf);
            assert_true(point->kind == SK_CHANGE_PUT || point->kind == SK_CHANGE_REMOVE);
            if (i > run->begin[cf]) /* each key once */
                assert_true(sk_bytes_compare(sk_change_key(run->points[i - 1]), sk_change_key(point)) < 0);
            bytes += point->key_len + point->value_len;
        }
        assert_int_equal(run->bytes[cf], bytes);
    }
}

/* All ranges, then all points. */
static void check_effect(const sk_run *run, sk_batch *const *batches, size_t count)
{
    static table one, other;
    size_t points = 0;
    fill(&one);
    fill(&other);
    for (size_t b = 0; b < count; b++)
        for (const sk_change *change = batches[b]->first; change; change = change->next) {
            apply(&one, change);
            points += change->kind != SK_CHANGE_RANGE;
        }
    for (size_t i = 0; i < run->range_count; i++) apply(&other, run->ranges[i]);
    for (size_t i = 0; i < run->begin[SK_CF_COUNT]; i++) apply(&other, run->points[i]);
    assert_memory_equal(&one, &other, sizeof one);
    assert_int_equal(run->begin[SK_CF_COUNT] + run->coalesced, points);
}

static void a_run_does_what_its_batches_do(void **state)
{
    (void)state;
    sk_run run = {0};
    for (uint64_t run_seed = 1; run_seed <= 300; run_seed++) {
        uint64_t seed = run_seed;
        sk_batch made[BATCHES] = {{0}}, *batches[BATCHES];
        uint32_t value = 0, ranges = roll(&seed, 4) * 4;
        for (size_t b = 0; b < BATCHES; b++) {
            batches[b] = &made[b];
            made[b].number = b + 1;
            for (uint32_t i = roll(&seed, 60); i > 0; i--) {
                sk_cf cf = (sk_cf)roll(&seed, SK_CF_COUNT);
                size_t at = roll(&seed, KEYS), to = at + 1 + roll(&seed, KEYS);
                value++;
                if (roll(&seed, 100) < ranges)
                    sk_batch_record(&made[b], &chunks, SK_CHANGE_RANGE, cf, key_of(at, cf), bound(to, cf))->open_end =
                        to >= KEYS;
                else if (roll(&seed, 4) == 0)
                    sk_batch_record(&made[b], &chunks, SK_CHANGE_REMOVE, cf, key_of(at, cf), SK_BYTES_NONE);
                else
                    sk_batch_record(&made[b], &chunks, SK_CHANGE_PUT, cf, key_of(at, cf),
                                    sk_bytes_of(&value, sizeof value));
            }
        }
        sk_run_make(&run, batches, BATCHES);
        check_order(&run);
        check_effect(&run, batches, BATCHES);
        sk_run_end(&run); /* what is in its memory still must not matter to the next */
        for (size_t b = 0; b < BATCHES; b++) sk_chunks_give_back(&chunks, &made[b].memory);
    }
    sk_run_free(&run);
}

/* Many keys that differ late, end in each other and come again and again: sorted part by part, in several levels. */
static void many_keys_with_much_in_common_are_sorted(void **state)
{
    (void)state;
    enum { CHANGES = 20000, LEN_MAX = 30 };
    static const uint8_t letters[] = {0, 0, 0, 1, 0xff};
    for (uint64_t run_seed = 1; run_seed <= 5; run_seed++) {
        uint64_t seed = run_seed;
        sk_batch batch = {.number = 1}, *batches[] = {&batch};
        for (uint32_t i = 0; i < CHANGES; i++) {
            uint8_t key[LEN_MAX];
            size_t len = roll(&seed, LEN_MAX + 1), same = roll(&seed, LEN_MAX);
            for (size_t k = 0; k < len; k++) key[k] = k < same ? 0 : letters[roll(&seed, sizeof letters)];
            sk_batch_record(&batch, &chunks, SK_CHANGE_PUT, SK_CF_ROW, sk_bytes_of(key, len), sk_bytes_of(&i, sizeof i));
        }
        sk_run run = {0};
        sk_run_make(&run, batches, 1);
        check_order(&run);
        assert_int_equal(run.begin[SK_CF_COUNT] + run.coalesced, CHANGES);
        assert_true(run.coalesced > CHANGES / 10);
        for (const sk_change *change = batch.first; change; change = change->next) { /* found, and not with an older one */
            size_t low = 0, high = run.begin[SK_CF_ROW + 1];
            while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (sk_bytes_compare(sk_change_key(run.points[middle]), sk_change_key(change)) < 0)
                    low = middle + 1;
                else
                    high = middle;
            }
            assert_true(sk_bytes_equal(sk_change_key(run.points[low]), sk_change_key(change)));
            uint32_t kept, value;
            memcpy(&kept, sk_change_value(run.points[low]).data, sizeof kept);
            memcpy(&value, sk_change_value(change).data, sizeof value);
            assert_true(kept >= value);
        }
        sk_run_free(&run);
        sk_chunks_give_back(&chunks, &batch.memory);
    }
}

static void record(sk_batch *batch, sk_change_kind kind, const char *key, const char *value)
{
    sk_batch_record(batch, &chunks, kind, SK_CF_ROW, sk_bytes_str(key), value ? sk_bytes_str(value) : SK_BYTES_NONE)->open_end =
        kind == SK_CHANGE_RANGE && !value;
}

static void nothing_makes_an_empty_run(void **state)
{
    (void)state;
    sk_run run = {0};
    sk_batch empty = {0}, *batches[] = {&empty};
    for (size_t count = 0; count <= 1; count++) {
        sk_run_make(&run, batches, count);
        assert_int_equal(run.begin[SK_CF_COUNT], 0);
        assert_int_equal(run.range_count, 0);
        sk_run_free(&run);
    }
}

static void what_a_later_range_covers_is_not_in_it(void **state)
{
    (void)state;
    sk_run run = {0};
    sk_batch batch = {0}, *batches[] = {&batch};
    record(&batch, SK_CHANGE_PUT, "a", "1");     /* before the range */
    record(&batch, SK_CHANGE_PUT, "b", "2");     /* at its start: out */
    record(&batch, SK_CHANGE_REMOVE, "bb", NULL); /* a removal is not needed either */
    record(&batch, SK_CHANGE_PUT, "c", "3");     /* at its end: stays */
    record(&batch, SK_CHANGE_RANGE, "b", "c");
    record(&batch, SK_CHANGE_PUT, "bc", "4");    /* after the range: stays */
    sk_batch_record(&batch, &chunks, SK_CHANGE_PUT, SK_CF_META, sk_bytes_str("b"), sk_bytes_str("5")); /* another family's */
    sk_run_make(&run, batches, 1);
    static const char *const keys[] = {"a", "bc", "c", "b"};
    assert_int_equal(run.begin[SK_CF_COUNT], 4);
    for (size_t i = 0; i < 4; i++) assert_true(sk_bytes_equal(sk_change_key(run.points[i]), sk_bytes_str(keys[i])));
    assert_int_equal(run.coalesced, 2);
    assert_int_equal(run.range_count, 1);
    sk_run_free(&run);
    sk_chunks_give_back(&chunks, &batch.memory);
}

static void ranges_that_later_ones_cover_are_dropped(void **state)
{
    (void)state;
    sk_run run = {0};
    sk_batch batch = {0}, *batches[] = {&batch};
    record(&batch, SK_CHANGE_RANGE, "b", "c"); /* covered by the next */
    record(&batch, SK_CHANGE_RANGE, "a", "d");
    record(&batch, SK_CHANGE_RANGE, "a", "c"); /* by an earlier one: it stays, since later points may matter to it */
    record(&batch, SK_CHANGE_RANGE, "m", "z"); /* by an open one */
    record(&batch, SK_CHANGE_RANGE, "l", NULL);
    record(&batch, SK_CHANGE_RANGE, "k", "m"); /* overlaps only */
    sk_batch_record(&batch, &chunks, SK_CHANGE_RANGE, SK_CF_META, SK_BYTES_NONE, SK_BYTES_NONE)->open_end = 1;
    sk_run_make(&run, batches, 1);
    static const char *const starts[] = {"a", "a", "l", "k", ""};
    assert_int_equal(run.range_count, 5);
    for (size_t i = 0; i < 5; i++) assert_true(sk_bytes_equal(sk_change_key(run.ranges[i]), sk_bytes_str(starts[i])));
    sk_run_free(&run);
    sk_chunks_give_back(&chunks, &batch.memory);
}

static int setup(void **state)
{
    (void)state;
    sk_chunks_init(&chunks, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sk_chunks_free(&chunks);
    return 0;
}

/* A load's runs are about as large as each other; after it a small one must not hold the memory of a large one. */
static void its_memory_is_used_again_while_runs_are_as_large(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1000, 990, 300, 100, 0};
    const void *first = NULL;
    sk_run run = {0};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        sk_batch batch = {.number = s + 1}, *batches[] = {&batch};
        for (uint32_t i = 0; i < sizes[s]; i++)
            sk_batch_record(&batch, &chunks, SK_CHANGE_PUT, SK_CF_ROW, sk_bytes_of(&i, sizeof i), SK_BYTES_NONE);
        sk_run_make(&run, batches, 1);
        if (!first) first = run.points;
        if (sizes[s] > 100) assert_ptr_equal(run.points, first);
        assert_int_equal(run.begin[SK_CF_COUNT], sizes[s]);
        sk_run_end(&run);
        assert_true(sizes[s] > 100 ? run.points == first && run.room == 1000 : sizes[s] ? !run.points : run.room == 0);
        sk_chunks_give_back(&chunks, &batch.memory);
    }
    sk_run_free(&run);
    assert_null(run.points);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_does_what_its_batches_do),
        cmocka_unit_test(many_keys_with_much_in_common_are_sorted),
        cmocka_unit_test(nothing_makes_an_empty_run),
        cmocka_unit_test(its_memory_is_used_again_while_runs_are_as_large),
        cmocka_unit_test(what_a_later_range_covers_is_not_in_it),
        cmocka_unit_test(ranges_that_later_ones_cover_are_dropped),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
