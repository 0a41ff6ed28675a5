/* The hash index against a plain table: hashes that collide, and clusters that go around the end of the slots. */
#include "storage/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS = 400 };

typedef struct {
    uint64_t hash;
    uint32_t key;
    bool in; /* by the model */
} item;

static uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

static bool is_key(const void *some, const void *wanted)
{
    return ((const item *)some)->key == *(const uint32_t *)wanted;
}

static void check(const sk_index *index, const item *items, size_t count)
{
    size_t in = 0, taken = 0;
    for (size_t i = 0; i < count; i++) {
        sk_index_slot *slot = sk_index_find(index, items[i].hash, is_key, &items[i].key);
        assert_ptr_equal(slot ? slot->item : NULL, items[i].in ? &items[i] : NULL);
        if (slot) assert_true(slot->hash == items[i].hash);
        in += items[i].in;
    }
    for (size_t i = 0; i < index->room; i++) taken += index->slots[i].item != NULL;
    assert_int_equal(index->count, in);
    assert_int_equal(taken, in);
    assert_true(index->count * SK_INDEX_SLOTS_AN_ITEM <= index->room);
}

/* How hashes fall: few different ones; all to the last slots, so that they go on at the first; spread. */
static uint64_t hash_of(int kind, uint64_t *seed)
{
    uint64_t high = (uint64_t)roll(seed, 3) << 40;
    switch (kind) {
    case 0: return high + roll(seed, 5);
    case 1: return high + SK_INDEX_FIRST_SLOTS - 1 - roll(seed, 8);
    case 2: return high + (roll(seed, 2) ? SK_INDEX_FIRST_SLOTS - 1 - roll(seed, 40) : roll(seed, 40));
    default: return (uint64_t)roll(seed, UINT32_MAX) << 32 | roll(seed, UINT32_MAX);
    }
}

static void agrees_with_a_plain_table(void **state)
{
    (void)state;
    static item items[ITEMS];
    for (int kind = 0; kind < 4; kind++) {
        for (uint64_t run = 0; run < 8; run++) {
            uint64_t seed = run * 4 + (uint64_t)kind;
            sk_index index = {0};
            for (uint32_t i = 0; i < ITEMS; i++) items[i] = (item){hash_of(kind, &seed), i, false};
            check(&index, items, ITEMS);
            uint32_t fill = 100; /* parts in a hundred that are additions: up, and down again */
            for (int step = 0; step < 3000; step++) {
                if (step % 500 == 0) fill = fill > 50 ? 30 : 75;
                item *some = &items[roll(&seed, ITEMS)];
                if (!some->in && roll(&seed, 100) < fill)
                    sk_index_add(&index, some->hash, some), some->in = true;
                else if (some->in && roll(&seed, 100) >= fill)
                    sk_index_remove(&index, sk_index_find(&index, some->hash, is_key, &some->key)), some->in = false;
                if (step % 50 == 0) check(&index, items, ITEMS);
            }
            check(&index, items, ITEMS);
            sk_index_free(&index);
            assert_null(sk_index_find(&index, 1, is_key, &items[0].key));
        }
    }
}

/* Every cluster of three around the wrap, and every one of them taken out. */
static void a_removal_around_the_wrap_loses_nobody(void **state)
{
    (void)state;
    enum { SPAN = 4, FEW = 5 };
    for (uint32_t places = 0; places < 1024; places++) { /* five homes of four each */
        for (size_t gone = 0; gone < FEW; gone++) {
            item items[FEW];
            sk_index index = {0};
            for (uint32_t i = 0; i < FEW; i++) {
                uint64_t home = (SK_INDEX_FIRST_SLOTS - 2 + (places >> (2 * i)) % SPAN) % SK_INDEX_FIRST_SLOTS;
                items[i] = (item){home, i, true};
                sk_index_add(&index, home, &items[i]);
            }
            sk_index_remove(&index, sk_index_find(&index, items[gone].hash, is_key, &items[gone].key));
            items[gone].in = false;
            for (size_t i = 0; i < FEW; i++) {
                sk_index_slot *slot = sk_index_find(&index, items[i].hash, is_key, &items[i].key);
                assert_ptr_equal(slot ? slot->item : NULL, items[i].in ? &items[i] : NULL);
            }
            sk_index_free(&index);
        }
    }
}

static void it_grows_and_keeps_all(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    item *items = sk_alloc(MANY * sizeof *items);
    sk_index index = {0};
    uint64_t seed = 1;
    for (uint32_t i = 0; i < MANY; i++) {
        items[i] = (item){hash_of(3, &seed), i, true};
        sk_index_add(&index, items[i].hash, &items[i]);
        assert_true(index.count * SK_INDEX_SLOTS_AN_ITEM <= index.room);
    }
    check(&index, items, MANY);
    assert_true(index.room <= 4 * MANY);
    sk_index_free(&index);
    free(items);
}

/* Large ones have what they grow into made ahead. */
static void it_is_ready_to_grow(void **state)
{
    (void)state;
    enum { LARGE = 1 << 16, MAX = 4 * LARGE, MANY = MAX / SK_INDEX_SLOTS_AN_ITEM };
    item *items = sk_alloc(MANY * sizeof *items);
    sk_prefault prefault;
    sk_prefault_init(&prefault);
    sk_index index = {.prefault = &prefault};
    sk_index_slot *next = NULL;
    uint64_t seed = 1;
    uint32_t grown = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        items[i] = (item){hash_of(3, &seed), i, true};
        size_t room = index.room;
        sk_index_add(&index, items[i].hash, &items[i]);
        if (room >= LARGE && index.room > room) {
            grown++;
            assert_non_null(next);
            assert_ptr_equal(index.slots, next);
        }
        next = index.next;
        assert_true(!next || index.room >= LARGE);
    }
    assert_int_equal(grown, 2);
    check(&index, items, MANY);
    sk_index_free(&index);
    index = (sk_index){.prefault = &prefault};
    for (uint32_t i = 0; !index.next; i++) sk_index_add(&index, items[i].hash, &items[i]);
    sk_index_trim(&index); /* it may never come to that */
    assert_null(index.next);
    sk_index_free(&index);
    sk_prefault_free(&prefault);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_table),
        cmocka_unit_test(a_removal_around_the_wrap_loses_nobody),
        cmocka_unit_test(it_grows_and_keeps_all),
        cmocka_unit_test(it_is_ready_to_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
