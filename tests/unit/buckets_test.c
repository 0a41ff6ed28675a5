/* The index of a cache against a plain table: full buckets, growth, and what is made ahead for it. */
#include "storage/buckets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PLACES = 3000 };

typedef struct {
    uint64_t hash;
    bool in; /* by the model */
} fact;

static uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

static uint64_t any_hash(uint64_t *seed)
{
    return (uint64_t)roll(seed, 1 << 30) << 34 ^ (uint64_t)roll(seed, 1 << 30) << 17 ^ roll(seed, 1 << 30);
}

static size_t slots_of(const sk_buckets *buckets, uint64_t hash, uint64_t place)
{
    const sk_bucket *bucket = sk_buckets_of(buckets, hash);
    size_t found = 0;
    unsigned may = bucket ? sk_bucket_may_have(bucket, hash) : 0;
    for (int i = 0; i < SK_BUCKET_SLOTS; i++) found += may >> i & 1 && sk_slot_place(bucket->slots[i]) == place;
    return found;
}

static void check(const sk_buckets *buckets, const fact *facts, size_t count)
{
    size_t in = 0, taken = 0;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(slots_of(buckets, facts[i].hash, i), facts[i].in);
        in += facts[i].in;
    }
    for (size_t i = 0; buckets->array.first && i < (size_t)1 << buckets->bits; i++)
        for (int k = 0; k < SK_BUCKET_SLOTS; k++) taken += buckets->array.first[i].slots[k] != 0;
    assert_int_equal(buckets->count, in);
    assert_int_equal(taken, in);
}

/* Hashes that fall anywhere, or into few buckets; a full one gives up any place that it has, and the rest stay. */
static void agrees_with_a_plain_table(void **state)
{
    (void)state;
    static fact facts[PLACES];
    for (uint64_t run = 0; run < 10; run++) {
        uint64_t seed = run, mask = run % 2 ? UINT64_MAX : ~((uint64_t)0xfffff << 42);
        sk_buckets buckets;
        size_t full = 0;
        sk_buckets_init(&buckets, 1 << 20);
        for (size_t i = 0; i < PLACES; i++) facts[i] = (fact){any_hash(&seed) & mask, false};
        for (int step = 0; step < 20000; step++) {
            uint64_t place = roll(&seed, PLACES);
            fact *some = &facts[place];
            if (some->in) {
                if (roll(&seed, 4)) continue;
                sk_buckets_remove(&buckets, sk_buckets_slot_at(&buckets, some->hash & ~(uint64_t)UINT32_MAX, place));
                some->in = false;
                continue;
            }
            uint64_t *slot = sk_buckets_empty_slot(&buckets, some->hash);
            if (!slot) {
                full++;
                slot = &sk_buckets_of(&buckets, some->hash)->slots[roll(&seed, SK_BUCKET_SLOTS)];
                facts[sk_slot_place(*slot)].in = false;
                sk_buckets_remove(&buckets, slot);
            }
            sk_buckets_set(&buckets, slot, some->hash, place);
            some->in = true;
            if (step % 500 == 0) check(&buckets, facts, PLACES);
        }
        check(&buckets, facts, PLACES);
        assert_true(run % 2 ? buckets.bits > SK_BUCKETS_FIRST_BITS : full > 20);
        sk_buckets_free(&buckets);
        assert_null(sk_buckets_of(&buckets, 1));
    }
}

static void it_grows_and_keeps_nearly_all(void **state)
{
    (void)state;
    enum { MANY = 200000 };
    fact *facts = sk_alloc(MANY * sizeof *facts);
    sk_buckets buckets;
    uint64_t seed = 1;
    size_t given_up = 0;
    sk_buckets_init(&buckets, 1 << 30);
    for (uint64_t i = 0; i < MANY; i++) {
        facts[i] = (fact){any_hash(&seed), false};
        uint64_t *slot = sk_buckets_empty_slot(&buckets, facts[i].hash);
        facts[i].in = slot != NULL;
        given_up += !slot;
        if (slot) sk_buckets_set(&buckets, slot, facts[i].hash, i);
    }
    check(&buckets, facts, MANY);
    assert_true(given_up < MANY / 300);
    assert_true(sk_buckets_bytes(buckets.bits) <= (size_t)MANY * 28);
    sk_buckets_free(&buckets);
    free(facts);
}

static void a_place_moves(void **state)
{
    (void)state;
    sk_buckets buckets;
    sk_buckets_init(&buckets, 0);
    uint64_t hash = 0xfedcba9876543210, last = SK_BUCKETS_PLACES - 1;
    sk_buckets_set(&buckets, sk_buckets_empty_slot(&buckets, hash), hash, 0);
    assert_int_equal(slots_of(&buckets, hash, 0), 1);
    sk_slot_move(sk_buckets_slot_at(&buckets, hash, 0), last);
    assert_int_equal(slots_of(&buckets, hash, last), 1);
    assert_int_equal(slots_of(&buckets, hash ^ (uint64_t)1 << SK_BUCKETS_TAG_FROM, last), 0);
    sk_buckets_free(&buckets);
}

/* Large ones have what they grow into made ahead, but not beyond what they may become, nor once their owner has enough. */
static void it_is_ready_to_grow(void **state)
{
    (void)state;
    enum { LARGE_BITS = 13, MAX_BITS = 15 };
    sk_prefault prefault;
    sk_prefault_init(&prefault);
    sk_buckets buckets;
    sk_buckets_init(&buckets, sk_buckets_bytes(MAX_BITS) + sk_buckets_bytes(MAX_BITS) / 2);
    assert_int_equal(sk_buckets_most_bytes(&buckets), sk_buckets_bytes(MAX_BITS));
    buckets.prefault = &prefault;
    const sk_bucket *next = NULL;
    uint64_t seed = 1;
    uint32_t grown = 0;
    for (uint64_t i = 0; i < (SK_BUCKET_SLOTS << MAX_BITS); i++) {
        uint64_t hash = any_hash(&seed);
        unsigned bits = buckets.bits;
        uint64_t *slot = sk_buckets_empty_slot(&buckets, hash);
        if (slot) sk_buckets_set(&buckets, slot, hash, i);
        if (bits >= LARGE_BITS && buckets.bits > bits) {
            grown++;
            assert_non_null(next);
            assert_ptr_equal(buckets.array.first, next);
        }
        next = buckets.next.first;
        assert_true(!next || (buckets.bits >= LARGE_BITS && buckets.bits < MAX_BITS));
        assert_true((uintptr_t)next % sizeof(sk_bucket) == 0);
    }
    assert_int_equal(grown, MAX_BITS - LARGE_BITS);
    sk_buckets_free(&buckets);
    for (int again = 0; again < 2; again++) {
        sk_buckets_init(&buckets, sk_buckets_bytes(MAX_BITS));
        buckets.prefault = &prefault;
        if (again) sk_buckets_hold(&buckets);
        for (uint64_t i = 0; i < ((SK_BUCKET_SLOTS / 2) << (LARGE_BITS + 1)) / 8 * 7 && !buckets.next.first; i++) {
            uint64_t hash = any_hash(&seed), *slot = sk_buckets_empty_slot(&buckets, hash);
            if (slot) sk_buckets_set(&buckets, slot, hash, i);
        }
        assert_true(again ? !buckets.next.first : buckets.next.first != NULL);
        sk_buckets_hold(&buckets);
        assert_null(buckets.next.first);
        sk_buckets_free(&buckets);
    }
    sk_prefault_free(&prefault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_table),
        cmocka_unit_test(it_grows_and_keeps_nearly_all),
        cmocka_unit_test(a_place_moves),
        cmocka_unit_test(it_is_ready_to_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
