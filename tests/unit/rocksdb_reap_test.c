/* How what is in its place leaves the memory of the store on disk. */
#include "tests/unit/store_harness.h"

#include "storage/worker.h"

/* In batches of `each` rows, numbered from `first` on. */
static void put_rows(sk_store *store, uint32_t first, uint32_t count, uint32_t each, size_t len)
{
    static uint8_t value[64 << 10];
    assert_true(len <= sizeof value);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first + i;
        sk_store_put(store, SK_CF_ROW, sk_bytes_of(&number, sizeof number), sk_bytes_of(value, len));
        if ((i + 1) % each == 0) sk_store_seal(store);
    }
}

/* Everything is in its place, and no thread is about to wake anybody. */
static void place_all(harness *with)
{
    assert_int_equal(sk_store_flush(with->store), SK_OK);
    sk_store_snapshot_free(with->store, sk_store_snapshot_take(with->store)); /* it waits for that */
    while (sem_trywait(&with->woken) == 0) continue;
}

/* How many rows it takes out. */
static uint64_t reap(sk_store *store)
{
    uint64_t before = stat_of(store, "store_overlay_keys"), durable;
    assert_int_equal(sk_store_reap(store, &durable), SK_OK);
    return before - stat_of(store, "store_overlay_keys");
}

/* While it is open nothing leaves, so that each test begins with all that it has put. */
static sk_store_iter *hold(harness *with)
{
    return sk_store_iterate(with->store, NULL, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
}

/* Clients do not wait for all of a run; and where nobody writes any more, the rest does not wait for somebody who does. */
static void a_run_leaves_in_parts_without_further_writes(void **state)
{
    (void)state;
    enum { ROWS = 3000, MOST = 1000 };
    harness with;
    harness_start(&with, true, SK_DURABILITY_OS);
    sk_store_iter *iter = hold(&with);
    put_rows(with.store, 0, ROWS, 1, 8);
    assert_int_equal(reap(with.store), 0);
    place_all(&with);
    sk_store_iter_free(with.store, iter);
    for (uint64_t left = ROWS; left;) {
        uint64_t gone = reap(with.store);
        assert_in_range(gone, 1, MOST);
        left -= gone;
        assert_int_equal(sem_trywait(&with.woken) == 0, left > 0); /* for the next one, and only for that */
    }
    harness_end(&with);
}

/* All of a run has left before the next one is in its place: else memory would grow. */
static void more_leaves_in_a_reap_than_came(void **state)
{
    (void)state;
    enum { BEFORE = 20000, SINCE = 10000, EACH = 100 };
    harness with;
    harness_start(&with, true, SK_DURABILITY_OS);
    sk_store_iter *iter = hold(&with);
    put_rows(with.store, 0, BEFORE, EACH, 8);
    assert_int_equal(reap(with.store), 0);
    put_rows(with.store, BEFORE, SINCE, EACH, 8);
    place_all(&with);
    sk_store_iter_free(with.store, iter);
    assert_in_range(reap(with.store), SINCE * 5 / 4, SINCE * 2);
    harness_end(&with);
}

/* What was made for a load is there for the next one, and goes back to the system when little comes, but for what a
 * few commands need. */
static void memory_is_given_back_when_little_comes(void **state)
{
    (void)state;
    enum { ROWS = 5000, LEN = 3000, KEPT = 5 << 20, RECLAIM_MS = 500 };
    harness with;
    harness_start(&with, true, SK_DURABILITY_OS);
    sk_store_close(with.store);
    with.options.reclaim_ms = RECLAIM_MS;
    harness_open(&with);
    sk_store_iter *iter = hold(&with);
    put_rows(with.store, 0, ROWS, 1, LEN);
    place_all(&with);
    sk_store_iter_free(with.store, iter);
    assert_true(stat_of(with.store, "store_overlay_memory") >= ROWS * LEN);
    uint64_t left_ms = sk_worker_now_ms();
    while (reap(with.store) > 0) continue;
    assert_int_equal(stat_of(with.store, "store_overlay_keys"), 0);
    for (uint32_t i = 0; stat_of(with.store, "store_overlay_memory") > KEPT; i++) {
        put_rows(with.store, ROWS + i, 1, 1, 8); /* a little goes on coming */
        usleep(10000);
        (void)reap(with.store);
        assert_true(sk_worker_now_ms() - left_ms < 60000);
    }
    assert_true(sk_worker_now_ms() - left_ms >= RECLAIM_MS);
    harness_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_leaves_in_parts_without_further_writes),
        cmocka_unit_test(more_leaves_in_a_reap_than_came),
        cmocka_unit_test(memory_is_given_back_when_little_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
