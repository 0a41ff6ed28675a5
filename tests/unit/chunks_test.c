/* Memory that batches share: pieces do not overlap, chunks come back, whatever the order in which stretches go. */
#include "storage/chunks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PIECES = 40, STRETCHES = 12, CHUNK = 64 << 10 };

/* A stretch with what it was given, and the bytes that it wrote there. */
typedef struct {
    sk_stretch stretch;
    uint8_t *piece[PIECES];
    size_t len[PIECES], count;
    uint8_t fill;
} holder;

static uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

static void take(sk_chunks *chunks, holder *by, size_t bytes)
{
    uint8_t *piece = sk_chunks_take(chunks, &by->stretch, bytes);
    assert_int_equal((uintptr_t)piece % _Alignof(uint64_t), 0);
    memset(piece, by->fill, bytes);
    by->piece[by->count] = piece;
    by->len[by->count++] = bytes;
}

static void give_back(sk_chunks *chunks, holder *by)
{
    for (size_t i = 0; i < by->count; i++)
        for (size_t at = 0; at < by->len[i]; at++) assert_int_equal(by->piece[i][at], by->fill);
    sk_chunks_give_back(chunks, &by->stretch);
    assert_int_equal(by->stretch.bytes, 0);
    by->count = 0;
}

static void nobody_writes_over_another(void **state)
{
    (void)state;
    enum { SMALL = 200, MEDIUM = 4000, HUGE = 100000 };
    uint64_t seed = 7;
    holder *all = calloc(STRETCHES, sizeof *all);
    sk_chunks chunks;
    sk_chunks_init(&chunks, 0);
    for (uint32_t round = 0; round < 4000; round++) {
        holder *by = &all[roll(&seed, STRETCHES)]; /* any of them goes, and begins anew as the last */
        give_back(&chunks, by);
        by->fill = (uint8_t)round;
        for (uint32_t left = roll(&seed, PIECES); left > 0; left--)
            take(&chunks, by, roll(&seed, roll(&seed, 50) ? roll(&seed, 8) ? SMALL : MEDIUM : HUGE));
    }
    for (size_t i = 0; i < STRETCHES; i++) give_back(&chunks, &all[i]);
    assert_int_equal(sk_chunks_memory(&chunks), (chunks.spare_count + 1) * CHUNK);
    sk_chunks_free(&chunks);
    free(all);
}

static void what_goes_in_turn_takes_no_more_than_is_held(void **state)
{
    (void)state;
    enum { HELD = 300, BYTES = 1000 };
    sk_stretch *ring = calloc(HELD, sizeof *ring);
    sk_chunks chunks;
    sk_chunks_init(&chunks, 0);
    for (size_t i = 0; i < 100 * HELD; i++) {
        sk_chunks_give_back(&chunks, &ring[i % HELD]);
        (void)sk_chunks_take(&chunks, &ring[i % HELD], BYTES);
        assert_true(chunks.spare_count <= 1);
    }
    for (size_t i = 0; i < HELD; i++) sk_chunks_give_back(&chunks, &ring[i]);
    assert_true(chunks.spare_count <= HELD * BYTES / CHUNK + 2);
    sk_chunks_free(&chunks);
    free(ring);
}

static void an_empty_chunk_is_filled_from_its_beginning(void **state)
{
    (void)state;
    sk_stretch stretch = {0};
    sk_chunks chunks;
    sk_chunks_init(&chunks, 0);
    void *first = sk_chunks_take(&chunks, &stretch, 10);
    for (size_t i = 0; i < CHUNK; i++) {
        sk_chunks_give_back(&chunks, &stretch);
        assert_ptr_equal(sk_chunks_take(&chunks, &stretch, 10), first);
    }
    sk_chunks_give_back(&chunks, &stretch);
    sk_chunks_free(&chunks);
}

static void what_is_spare_goes_when_nothing_is_to_do(void **state)
{
    (void)state;
    enum { MANY = 200, FEW = (4 << 20) / CHUNK };
    sk_stretch stretch = {0};
    sk_chunks chunks;
    sk_chunks_init(&chunks, 0);
    for (size_t i = 0; i < (size_t)MANY * CHUNK / 1000; i++) (void)sk_chunks_take(&chunks, &stretch, 1000);
    sk_chunks_give_back(&chunks, &stretch);
    assert_true(chunks.spare_count >= MANY - 1);
    sk_chunks_trim(&chunks);
    assert_int_equal(chunks.spare_count, FEW);
    assert_int_equal(sk_chunks_memory(&chunks), (FEW + 1) * CHUNK);
    sk_chunks_free(&chunks);
}

/* Who has filled one finds the next one there. */
static void the_next_chunk_is_made_ahead(void **state)
{
    (void)state;
    enum { LARGE_CHUNK = 2 << 20, PIECE = 100 << 10, FEW = 10 };
    sk_stretch stretch = {0};
    sk_chunks chunks;
    sk_prefault prefault;
    sk_prefault_init(&prefault);
    sk_chunks_init(&chunks, (size_t)1 << 30);
    chunks.prefault = &prefault;
    (void)sk_chunks_take(&chunks, &stretch, 10);
    assert_null(chunks.ahead); /* that may be all that ever comes */
    for (size_t used = 2; used < FEW; used++) {
        sk_chunk *old = chunks.newest, *next = chunks.ahead;
        while (chunks.newest == old) memset(sk_chunks_take(&chunks, &stretch, PIECE), 1, PIECE);
        if (next) assert_ptr_equal(chunks.newest, next);
        assert_non_null(chunks.ahead);
        assert_int_equal(sk_chunks_memory(&chunks), (used + 1) * LARGE_CHUNK);
    }
    assert_true(sk_chunks_busy(&chunks));
    sk_chunks_give_back(&chunks, &stretch);
    assert_false(sk_chunks_busy(&chunks));
    sk_chunks_trim(&chunks);
    assert_null(chunks.ahead);
    for (size_t i = 0; i < LARGE_CHUNK / PIECE + 1; i++) (void)sk_chunks_take(&chunks, &stretch, PIECE);
    assert_null(chunks.ahead); /* there are spare ones */
    sk_chunks_give_back(&chunks, &stretch);
    sk_chunks_free(&chunks);
    sk_prefault_free(&prefault);
}

static void what_is_held_is_told(void **state)
{
    (void)state;
    enum { LARGE = 300000 };
    sk_stretch small = {0}, large = {0};
    sk_chunks chunks;
    sk_chunks_init(&chunks, 0);
    assert_int_equal(sk_chunks_memory(&chunks), 0);
    (void)sk_chunks_take(&chunks, &large, LARGE);
    (void)sk_chunks_take(&chunks, &large, LARGE);
    (void)sk_chunks_take(&chunks, &small, 10);
    assert_in_range(sk_chunks_memory(&chunks), CHUNK + 2 * LARGE, CHUNK + 2 * LARGE + 100);
    sk_chunks_give_back(&chunks, &large);
    assert_int_equal(sk_chunks_memory(&chunks), CHUNK);
    sk_chunks_give_back(&chunks, &small);
    assert_int_equal(sk_chunks_memory(&chunks), CHUNK); /* it is the newest */
    sk_chunks_free(&chunks);
    assert_int_equal(sk_chunks_memory(&chunks), 0);
}

static void a_chunk_is_a_part_of_the_budget(void **state)
{
    (void)state;
    sk_chunks chunks;
    sk_chunks_init(&chunks, (size_t)16 << 20);
    assert_int_equal(chunks.chunk_bytes, 1 << 20);
    sk_chunks_init(&chunks, (size_t)1 << 30);
    assert_int_equal(chunks.chunk_bytes, 2 << 20);
    sk_chunks_init(&chunks, 1);
    assert_int_equal(chunks.chunk_bytes, CHUNK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_writes_over_another),
        cmocka_unit_test(what_goes_in_turn_takes_no_more_than_is_held),
        cmocka_unit_test(an_empty_chunk_is_filled_from_its_beginning),
        cmocka_unit_test(what_is_spare_goes_when_nothing_is_to_do),
        cmocka_unit_test(the_next_chunk_is_made_ahead),
        cmocka_unit_test(what_is_held_is_told),
        cmocka_unit_test(a_chunk_is_a_part_of_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
