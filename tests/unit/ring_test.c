#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gossip/ring.h"

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void put(sk_ring *ring, uint32_t origin, uint64_t seq, const sk_vv *seen, size_t len)
{
    uint8_t *ops = sk_alloc(len);
    memset(ops, (int)(seq & 0xff), len);
    sk_txn txn = {.dot = {origin, seq}, .hlc = seq * 10, .ops = sk_bytes_of(ops, len), .op_count = (uint32_t)seq};
    if (seen) txn.seen = *seen;
    sk_ring_append(ring, &txn);
    free(ops);
}

static void keeps_what_fits_and_drops_the_oldest(void **state)
{
    (void)state;
    sk_ring ring;
    sk_ring_init(&ring, 20000, 0);
    for (uint64_t seq = 1; seq <= 1000; seq++) {
        put(&ring, seq % 3, (seq - 1) / 3 + 1, NULL, 100);
        sk_ring_check(&ring);
    }
    assert_in_range(ring.bytes, 15000, 20000);
    for (uint32_t o = 0; o < 3; o++) {
        uint64_t end = sk_ring_end(&ring, o);
        assert_in_range(end, 333, 334);
        assert_true(sk_ring_has(&ring, o, end));
        assert_true(sk_ring_has(&ring, o, end - 20));
        assert_false(sk_ring_has(&ring, o, end + 1));
        assert_false(sk_ring_has(&ring, o, 100));
        assert_false(sk_ring_has(&ring, o, 0));
        sk_ring_txn txn = sk_ring_get(&ring, o, end);
        assert_int_equal(txn.hlc, end * 10);
        assert_int_equal(txn.op_count, end);
        assert_int_equal(txn.ops.len, 100);
        assert_int_equal(txn.ops.data[99], end & 0xff);
    }
    assert_int_equal(sk_ring_end(&ring, 77), 0);
    sk_ring_free(&ring);
}

static void counts_may_limit_it_too(void **state)
{
    (void)state;
    sk_ring ring;
    sk_ring_init(&ring, 1 << 20, 10);
    for (uint64_t seq = 1; seq <= 100; seq++) put(&ring, 0, seq, NULL, 10);
    sk_ring_check(&ring);
    assert_true(sk_ring_has(&ring, 0, 91));
    assert_false(sk_ring_has(&ring, 0, 90));
    sk_ring_free(&ring);
}

/* Of two origins that come in turn; what everybody has goes, but for the last few. */
static void what_is_stable_goes(void **state)
{
    (void)state;
    sk_ring ring;
    uint64_t stable_seqs[] = {0, 0};
    sk_vv stable = {.seq = stable_seqs, .count = 2};
    sk_ring_init(&ring, 1 << 20, 0);
    for (uint64_t seq = 1; seq <= 2000; seq++) put(&ring, seq % 2, (seq + 1) / 2, NULL, 100);
    size_t all = ring.bytes;
    sk_ring_let_go(&ring, &stable);
    assert_int_equal(ring.bytes, all);
    stable_seqs[0] = 500;
    stable_seqs[1] = 200; /* the oldest that is held back holds back those after it */
    sk_ring_let_go(&ring, &stable);
    sk_ring_check(&ring);
    assert_true(sk_ring_has(&ring, 1, 201) && !sk_ring_has(&ring, 1, 200));
    assert_true(sk_ring_has(&ring, 0, 201) && !sk_ring_has(&ring, 0, 200));
    stable_seqs[0] = stable_seqs[1] = 1000;
    sk_ring_let_go(&ring, &stable);
    sk_ring_check(&ring);
    assert_in_range(ring.bytes, (1 << 20) / 16 - 400, (1 << 20) / 16);
    assert_true(sk_ring_has(&ring, 0, 990) && sk_ring_has(&ring, 1, 1000));
    for (uint64_t seq = 1001; seq <= 3000; seq++) { /* into memory that it has */
        put(&ring, 0, seq, NULL, 100);
        stable_seqs[0] = seq;
        sk_ring_let_go(&ring, &stable);
    }
    sk_ring_check(&ring);
    assert_true(ring.bytes <= (1 << 20) / 16);
    assert_true(sk_ring_has(&ring, 0, 2900));
    sk_ring_free(&ring);
}

static void a_gap_begins_anew(void **state)
{
    (void)state;
    sk_ring ring;
    sk_ring_init(&ring, 1 << 20, 0);
    for (uint64_t seq = 1; seq <= 10; seq++) put(&ring, 4, seq, NULL, 10);
    assert_true(sk_ring_get(&ring, 4, 1).fresh);
    assert_false(sk_ring_get(&ring, 4, 2).fresh);
    put(&ring, 4, 20, NULL, 10);
    sk_ring_check(&ring);
    assert_false(sk_ring_has(&ring, 4, 10));
    assert_true(sk_ring_has(&ring, 4, 20));
    assert_true(sk_ring_get(&ring, 4, 20).fresh);
    sk_ring_drop_above(&ring, 4, 0);
    sk_ring_check(&ring);
    assert_int_equal(ring.bytes, 0);
    assert_int_equal(sk_ring_end(&ring, 4), 0);
    sk_ring_free(&ring);
}

static void too_large_is_not_kept(void **state)
{
    (void)state;
    sk_ring ring;
    sk_ring_init(&ring, 5000, 0);
    put(&ring, 0, 1, NULL, 100);
    put(&ring, 0, 2, NULL, 6000);
    sk_ring_check(&ring);
    assert_true(sk_ring_has(&ring, 0, 1));
    assert_false(sk_ring_has(&ring, 0, 2));
    put(&ring, 0, 3, NULL, 100);
    assert_false(sk_ring_has(&ring, 0, 1));
    assert_true(sk_ring_has(&ring, 0, 3));
    sk_ring_check(&ring);
    sk_ring_free(&ring);
}

static void sizes_on_the_wire(void **state)
{
    (void)state;
    sk_ring ring;
    sk_ring_init(&ring, 1 << 20, 0);
    for (uint64_t seq = 1; seq <= 100; seq++) put(&ring, 0, seq, NULL, 94); /* 100 each */
    assert_int_equal(sk_ring_wire_bytes(&ring, 0, 1, 100), 10000);
    assert_int_equal(sk_ring_wire_bytes(&ring, 0, 5, 5), 100);
    assert_int_equal(sk_ring_fit(&ring, 0, 11, 100, 1000), 20);
    assert_int_equal(sk_ring_fit(&ring, 0, 11, 100, 1099), 20);
    assert_int_equal(sk_ring_fit(&ring, 0, 11, 15, 1000), 15);
    assert_int_equal(sk_ring_fit(&ring, 0, 11, 100, 1), 11); /* one at least */
    sk_ring_free(&ring);
}

/* Against a plain list of all that entered: any mixture of entering, evicting and dropping. */
enum { ORIGINS = 5, SEQS = 600 };

static void dependencies_are_found_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        random_state = seed * 0x9e3779b97f4a7c15U;
        sk_ring ring;
        sk_ring_init(&ring, 2000 + next_random() % 60000, 0);
        sk_vv(*told)[SEQS + 1] = sk_alloc(ORIGINS * sizeof *told);
        sk_vv now = {0}, found = {0};
        for (int step = 0; step < 1500; step++) {
            uint32_t origin = (uint32_t)(next_random() % ORIGINS);
            uint64_t seq = sk_vv_get(&now, origin) + 1;
            if (next_random() % 50 == 0) {
                uint64_t end = sk_ring_end(&ring, origin);
                if (end < 4) continue;
                sk_vv_set(&now, origin, end - next_random() % 4);
                sk_ring_drop_above(&ring, origin, sk_vv_get(&now, origin));
                continue;
            }
            if (seq > SEQS) continue;
            sk_vv_copy(&told[origin][seq], &now);
            put(&ring, origin, seq, &now, next_random() % 40);
            sk_vv_set(&now, origin, seq);
            if (step % 50) continue;
            sk_ring_check(&ring);
            for (uint32_t o = 0; o < ORIGINS; o++)
                for (seq = 1; seq <= SEQS; seq++) {
                    if (!sk_ring_has(&ring, o, seq)) continue;
                    sk_ring_seen(&ring, o, seq, &found);
                    sk_vv_set(&found, o, seq - 1);
                    assert_true(sk_vv_equal(&found, &told[o][seq]));
                }
        }
        for (uint32_t o = 0; o < ORIGINS; o++)
            for (uint64_t seq = 0; seq <= SEQS; seq++) sk_vv_free(&told[o][seq]);
        free(told);
        sk_vv_free(&now);
        sk_vv_free(&found);
        sk_ring_free(&ring);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_fits_and_drops_the_oldest),
        cmocka_unit_test(counts_may_limit_it_too),
        cmocka_unit_test(what_is_stable_goes),
        cmocka_unit_test(a_gap_begins_anew),
        cmocka_unit_test(too_large_is_not_kept),
        cmocka_unit_test(sizes_on_the_wire),
        cmocka_unit_test(dependencies_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
