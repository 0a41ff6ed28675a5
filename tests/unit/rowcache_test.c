/* The row cache against a plain table: whatever it answers must be the last thing it was told. */
#include "storage/rowcache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS = 200, VALUE_MAX = 900 };

typedef struct {
    bool told, present;
    size_t len;
    uint8_t fill;
} fact;

static uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

/* Spread over all 64 bits, as the overlay's are: a bucket goes by the upper ones. */
static uint64_t hash_of(uint64_t number)
{
    return number * 0x9e3779b97f4a7c15;
}

/* With few hashes for many keys a bucket has many of one hash, and gives the oldest up. */
static int play(uint64_t seed, size_t max, uint64_t hashes)
{
    static uint8_t bytes[VALUE_MAX];
    fact facts[KEYS] = {{0}};
    sk_rowcache cache;
    int answers = 0;
    sk_rowcache_init(&cache, max);
    for (int step = 0; step < 20000; step++) {
        uint32_t number = roll(&seed, KEYS);
        sk_bytes key = sk_bytes_of(&number, sizeof number), value;
        fact *known = &facts[number];
        uint64_t hash = hash_of(number % hashes);
        if (roll(&seed, 2)) {
            int found = sk_rowcache_get(&cache, hash, key, &value);
            if (found < 0) continue;
            answers++;
            assert_true(known->told);
            assert_int_equal(found, known->present);
            if (!found) continue;
            assert_int_equal(value.len, known->len);
            for (size_t i = 0; i < value.len; i++) assert_int_equal(value.data[i], known->fill);
            continue;
        }
        *known = (fact){true, roll(&seed, 4) != 0, roll(&seed, roll(&seed, 2) ? VALUE_MAX : 40), (uint8_t)step};
        memset(bytes, known->fill, known->len);
        value = sk_bytes_of(bytes, known->len);
        sk_rowcache_put(&cache, hash, key, known->present ? &value : NULL);
        if (roll(&seed, 3000) == 0) {
            sk_rowcache_clear(&cache);
            memset(facts, 0, sizeof facts);
        }
        if (step % 50 == 0) sk_rowcache_check(&cache);
        if (max >= 1 << 16) assert_true(cache.bytes <= max);
    }
    sk_rowcache_free(&cache);
    return answers;
}

static void answers_only_what_it_was_told_last(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        assert_true(play(seed, 1 << 20, KEYS) > 8000); /* room for all */
        assert_true(play(seed, 1 << 20, 16) > 5000);
        assert_true(play(seed, 1 << 16, 16) > 1000); /* evicts, and large values are not kept */
        play(seed, 1 << 16, 1);
        play(seed, 256, KEYS);
    }
}

static void what_is_asked_for_stays_longer(void **state)
{
    (void)state;
    sk_rowcache cache;
    sk_bytes value;
    sk_rowcache_init(&cache, 64 * 1024);
    uint32_t hot = 1u << 30;
    sk_rowcache_put(&cache, hash_of(7), sk_bytes_of(&hot, sizeof hot), &(sk_bytes){(const uint8_t *)"hot", 3});
    for (uint32_t cold = 0; cold < 100000; cold++) {
        sk_rowcache_put(&cache, hash_of(cold), sk_bytes_of(&cold, sizeof cold), NULL);
        if (cold % 100 == 0) assert_int_equal(sk_rowcache_get(&cache, hash_of(7), sk_bytes_of(&hot, sizeof hot), &value), 1);
    }
    assert_true(cache.index.count > 300);
    assert_true(cache.bytes <= 64 * 1024);
    sk_rowcache_free(&cache);
}

/* Nobody has asked for any of them, and the ring begins anew after some. */
static void a_full_bucket_gives_up_its_oldest(void **state)
{
    (void)state;
    enum { MAX = 64 << 10, FIRST = 1 << 20, NEAR_END = 400 };
    for (uint32_t before_end = 0; before_end <= SK_BUCKET_SLOTS; before_end++) {
        sk_rowcache cache;
        sk_bytes value;
        sk_rowcache_init(&cache, MAX);
        uint32_t other = 0, put = 0;
        bool wrapped = false;
        for (; cache.room - cache.head > NEAR_END; other++)
            sk_rowcache_put(&cache, hash_of(other) >> 1, sk_bytes_of(&other, sizeof other), NULL);
        for (; put <= SK_BUCKET_SLOTS; put++) {
            uint32_t key = FIRST + put;
            while (put == before_end && !cache.wrapped) {
                sk_rowcache_put(&cache, hash_of(other) >> 1, sk_bytes_of(&other, sizeof other), NULL);
                other++;
            }
            wrapped |= cache.wrapped;
            sk_rowcache_put(&cache, UINT64_MAX - put, sk_bytes_of(&key, sizeof key), NULL);
        }
        for (uint32_t i = 0; i < put; i++) {
            uint32_t key = FIRST + i;
            assert_int_equal(sk_rowcache_get(&cache, UINT64_MAX - i, sk_bytes_of(&key, sizeof key), &value), i == 0 ? -1 : 0);
        }
        assert_true(wrapped);
        sk_rowcache_check(&cache);
        sk_rowcache_free(&cache);
    }
}

/* Few of one size that make way for many of another, and the other way round: it takes no more for that. */
static void any_mixture_of_sizes_stays_within_the_budget(void **state)
{
    (void)state;
    enum { MAX = 1 << 20 };
    static uint8_t bytes[12000];
    sk_rowcache cache;
    uint64_t seed = 3, asked = 0;
    sk_bytes found;
    sk_rowcache_init(&cache, MAX);
    for (uint32_t i = 0; i < 200000; i++) {
        size_t len = i / 20000 % 2 ? roll(&seed, sizeof bytes) : roll(&seed, 60);
        uint32_t other = i - roll(&seed, 50);
        sk_rowcache_put(&cache, hash_of(i), sk_bytes_of(&i, sizeof i), &(sk_bytes){bytes, len});
        asked += sk_rowcache_get(&cache, hash_of(other), sk_bytes_of(&other, sizeof other), &found) == 1;
        assert_true(cache.bytes <= MAX);
        if (i % 1000 == 0) sk_rowcache_check(&cache);
    }
    assert_true(asked > 190000); /* the latest are there */
    sk_rowcache_free(&cache);
}

/* Little of the budget goes into anything else: what the index leaves of its part, the ring has. */
static void the_budget_goes_into_rows(void **state)
{
    (void)state;
    enum { MAX = 6 << 20, VALUE = 180, HEAD_MAX = 24, MANY = 40000, INDEX = 1 << 20 };
    static const uint8_t bytes[VALUE];
    sk_rowcache cache;
    sk_bytes value;
    size_t kept = 0;
    sk_rowcache_init(&cache, MAX);
    for (uint32_t i = 0; i < MANY; i++)
        sk_rowcache_put(&cache, hash_of(i), sk_bytes_of(&i, sizeof i), &(sk_bytes){bytes, VALUE});
    for (uint32_t i = 0; i < MANY; i++)
        kept += sk_rowcache_get(&cache, hash_of(i), sk_bytes_of(&i, sizeof i), &value) == 1;
    assert_true(cache.bytes <= MAX);
    assert_true(kept >= (MAX - INDEX) / (HEAD_MAX + sizeof(uint32_t) + VALUE) - 1);
    sk_rowcache_free(&cache);
}

/* What it will fill next is made ahead, once it is more than a little, and never more than there is. */
static void the_ring_is_made_ahead(void **state)
{
    (void)state;
    enum { MAX = 24 << 20, VALUE = 10000, MANY = 3000, LITTLE = 4 << 20, AHEAD = 8 << 20 };
    static const uint8_t bytes[VALUE];
    sk_prefault prefault;
    sk_rowcache cache;
    sk_prefault_init(&prefault);
    sk_rowcache_init(&cache, MAX);
    cache.prefault = &prefault;
    for (uint32_t i = 0; i < MANY; i++) {
        sk_rowcache_put(&cache, hash_of(i), sk_bytes_of(&i, sizeof i), &(sk_bytes){bytes, VALUE});
        assert_true(cache.reached >= LITTLE ? cache.prefaulted >= cache.reached : cache.prefaulted == 0);
        assert_true(cache.prefaulted <= cache.reached + AHEAD && cache.prefaulted <= cache.room);
    }
    assert_int_equal(cache.prefaulted, cache.room);
    sk_rowcache_check(&cache);
    sk_rowcache_free(&cache);
    sk_prefault_free(&prefault);
}

/* Once the ring is full the index may be all that it will ever be. */
static void a_full_ring_holds_nothing_back_for_its_index(void **state)
{
    (void)state;
    enum { MAX = 24 << 20, VALUE = 348, MANY = 100000, BITS = 13 };
    static const uint8_t bytes[VALUE];
    sk_prefault prefault;
    sk_rowcache cache;
    bool ready = false;
    sk_prefault_init(&prefault);
    sk_rowcache_init(&cache, MAX);
    cache.index.prefault = &prefault;
    for (uint32_t i = 0; i < MANY; i++) {
        sk_rowcache_put(&cache, hash_of(i), sk_bytes_of(&i, sizeof i), &(sk_bytes){bytes, VALUE});
        if (!cache.wrapped && cache.head == cache.reached) ready |= cache.index.next.first && cache.index.bits == BITS;
        if (cache.wrapped) assert_null(cache.index.next.first);
    }
    assert_true(ready && cache.wrapped);
    assert_int_equal(cache.index.bits, BITS);
    sk_rowcache_free(&cache);
    sk_prefault_free(&prefault);
}

static void grows_its_table(void **state)
{
    (void)state;
    enum { MANY = 50000 };
    sk_rowcache cache;
    sk_bytes value;
    size_t kept = 0;
    sk_rowcache_init(&cache, 16 << 20);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < MANY; i++) {
            sk_bytes key = sk_bytes_of(&i, sizeof i);
            if (round == 0) sk_rowcache_put(&cache, hash_of(i), key, &key);
            if (round == 0 || sk_rowcache_get(&cache, hash_of(i), key, &value) != 1) continue;
            kept++;
            assert_true(sk_bytes_equal(key, value));
        }
    }
    assert_true(kept > MANY / 100 * 98); /* others have made way in full buckets */
    assert_int_equal(kept, cache.index.count);
    sk_rowcache_check(&cache);
    sk_rowcache_free(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_only_what_it_was_told_last),
        cmocka_unit_test(what_is_asked_for_stays_longer),
        cmocka_unit_test(a_full_bucket_gives_up_its_oldest),
        cmocka_unit_test(any_mixture_of_sizes_stays_within_the_budget),
        cmocka_unit_test(the_budget_goes_into_rows),
        cmocka_unit_test(the_ring_is_made_ahead),
        cmocka_unit_test(a_full_ring_holds_nothing_back_for_its_index),
        cmocka_unit_test(grows_its_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
