/* What only the store of the simulator can do: lose, fail, be copied, be looked at. */
#include "tests/unit/store_harness.h"

#include "storage/overlay.h"

static void seal_one(sk_store *store, const char *key, const char *value)
{
    put(store, SK_CF_ROW, key, value);
    sk_store_seal(store);
}

static uint64_t durable_of(sk_store *store)
{
    uint64_t durable;
    assert_int_equal(sk_store_reap(store, &durable), SK_OK);
    return durable;
}

static void nothing_commits_by_itself(void **state)
{
    (void)state;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        sk_store *store = sk_memory_open((sk_durability)mode);
        for (int i = 0; i < 4; i++) seal_one(store, "a", "1");
        assert_int_equal(durable_of(store), 0);
        assert_int_equal(sk_memory_write(store, 2), SK_OK);
        assert_int_equal(durable_of(store), mode == SK_DURABILITY_ALWAYS ? 0 : 2);
        assert_int_equal(sk_memory_sync(store, 3), SK_OK);
        assert_int_equal(durable_of(store), 3);
        uint64_t sealed, written, synced;
        assert_int_equal(sk_memory_write(store, 99), SK_OK);
        sk_memory_progress(store, &sealed, &written, &synced);
        assert_int_equal(sealed, 4);
        assert_int_equal(written, 4);
        assert_int_equal(synced, 3);
        sk_memory_check(store);
        sk_store_close(store);
    }
}

/* Five batches that each set `n` to their number and add a key; 2 synced, 4 written. Then a crash that keeps some. */
static void crash_after(sk_durability durability, uint64_t keep, int expected)
{
    sk_store *store = sk_memory_open(durability);
    char number[] = "1", key[] = "key1";
    for (int i = 1; i <= 5; i++) {
        number[0] = key[3] = (char)('0' + i);
        put(store, SK_CF_META, "n", number);
        seal_one(store, key, number);
    }
    put(store, SK_CF_ROW, "open", "1");
    assert_int_equal(sk_memory_sync(store, 2), SK_OK);
    assert_int_equal(sk_memory_write(store, 4), SK_OK);
    sk_store_snapshot *held = sk_store_snapshot_take(store);
    sk_memory_crash(store, keep);
    sk_store_snapshot_free(store, held);
    sk_memory_check(store);
    number[0] = (char)('0' + expected);
    for (int round = 0; round < 2; round++) {
        assert_value(store, SK_CF_META, "n", number);
        assert_value(store, SK_CF_ROW, "open", NULL);
        for (int i = 1; i <= 5; i++) {
            char value[] = {(char)('0' + i), 0};
            key[3] = value[0];
            assert_value(store, SK_CF_ROW, key, i <= expected ? value : NULL);
        }
        sk_memory_crash(store, 0); /* what survived a crash is on the disk, and survives the next */
    }
    assert_true(durable_of(store) >= 6);
    seal_one(store, "after", "1");
    assert_int_equal(sk_store_flush(store), SK_OK);
    sk_memory_crash(store, 0);
    assert_value(store, SK_CF_ROW, "after", "1");
    sk_store_close(store);
}

static void a_crash_loses_exactly_the_unsynced(void **state)
{
    (void)state;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        crash_after((sk_durability)mode, 0, 2);
        crash_after((sk_durability)mode, 1, 2);
        crash_after((sk_durability)mode, 3, 3);
        crash_after((sk_durability)mode, 4, 4);
        crash_after((sk_durability)mode, UINT64_MAX, 5);
    }
}

static void the_nth_commit_fails_and_so_on_until_cleared(void **state)
{
    (void)state;
    const int errors[] = {SK_E_DISK_FULL, SK_E_IO};
    for (int i = 0; i < 2; i++) {
        sk_store *store = sk_memory_open(SK_DURABILITY_ALWAYS);
        sk_memory_fail(store, 1, errors[i]);
        seal_one(store, "a", "1");
        seal_one(store, "b", "2");
        seal_one(store, "c", "3");
        assert_int_equal(sk_memory_sync(store, 3), errors[i]);
        uint64_t durable;
        assert_int_equal(sk_store_reap(store, &durable), errors[i]);
        assert_int_equal(durable, 1);
        assert_int_equal(sk_store_flush(store), errors[i]);
        assert_int_equal(sk_store_reopen(store), errors[i]);
        assert_value(store, SK_CF_ROW, "a", "1");
        assert_value(store, SK_CF_ROW, "b", NULL);
        sk_memory_fail(store, 0, SK_OK);
        assert_int_equal(sk_store_reap(store, &durable), errors[i]); /* sticky until reopen */
        assert_int_equal(sk_store_reopen(store), SK_OK);
        seal_one(store, "d", "4");
        assert_int_equal(sk_store_flush(store), SK_OK);
        assert_value(store, SK_CF_ROW, "a", "1");
        assert_value(store, SK_CF_ROW, "c", NULL);
        assert_value(store, SK_CF_ROW, "d", "4");
        sk_memory_check(store);
        sk_store_close(store);
    }
}

static void a_copy_has_what_was_synced_and_goes_its_own_way(void **state)
{
    (void)state;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        sk_store *store = sk_memory_open((sk_durability)mode);
        seal_one(store, "a", "1");
        assert_int_equal(sk_memory_sync(store, 1), SK_OK);
        seal_one(store, "b", "2");
        assert_int_equal(sk_memory_write(store, 2), SK_OK);
        sk_store *copy = sk_memory_copy(store);
        assert_value(copy, SK_CF_ROW, "a", "1");
        assert_value(copy, SK_CF_ROW, "b", NULL);
        seal_one(copy, "a", "copy");
        seal_one(store, "a", "original");
        assert_int_equal(sk_store_flush(store), SK_OK);
        assert_int_equal(sk_store_flush(copy), SK_OK);
        sk_memory_crash(copy, 0);
        assert_value(copy, SK_CF_ROW, "a", "copy");
        sk_store_close(copy);
        assert_value(store, SK_CF_ROW, "a", "original");
        sk_store_close(store);
    }
}

static int collect(void *context, sk_bytes key, sk_bytes value)
{
    sk_buf_bytes(context, key);
    sk_buf_bytes(context, value);
    sk_buf *text = context;
    return text->len >= 6 ? 7 : 0;
}

static void a_dump_tells_the_state_and_nothing_else(void **state)
{
    (void)state;
    sk_buf dumps[2], text = {0};
    memset(dumps, 0, sizeof dumps);
    sk_store *stores[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        stores[i] = sk_memory_open(i ? SK_DURABILITY_OS : SK_DURABILITY_ALWAYS);
        if (i) seal_one(stores[i], "zz", "gone");
        sk_store_remove_range(stores[i], SK_CF_ROW, sk_bytes_str("z"), SK_BYTES_NONE);
        for (int at = 0; at < 3; at++) {
            char key[] = {(char)('a' + (i ? at : 2 - at)), 0};
            seal_one(stores[i], key, "v");
        }
        assert_int_equal(sk_store_flush(stores[i]), SK_OK);
        seal_one(stores[i], "unsynced", "1");
        sk_memory_dump(stores[i], &dumps[i]);
    }
    assert_true(sk_bytes_equal(sk_buf_view(&dumps[0]), sk_buf_view(&dumps[1])));
    assert_int_equal(dumps[0].len, 3 * (1 + 8 + 1 + 8 + 1));
    assert_int_equal(sk_memory_visit(stores[0], SK_CF_META, collect, &text), 0); /* of nothing: to the end */
    assert_int_equal(sk_memory_visit(stores[0], SK_CF_ROW, collect, &text), 7);
    assert_true(sk_bytes_equal(sk_buf_view(&text), sk_bytes_str("avbvcv")));
    for (int i = 0; i < 2; i++) {
        sk_store_close(stores[i]);
        sk_buf_free(&dumps[i]);
    }
    sk_buf_free(&text);
}

/* Random runs with crashes: what is there afterwards is the state after one of the batches that may be the last. */
static void after_a_crash_there_is_a_prefix(void **state)
{
    (void)state;
    enum { KEYS = 20, ROUNDS = 60, BATCHES = 12 };
    for (uint64_t start = 1; start <= 50; start++) {
        uint64_t seed = start;
        sk_store *store = sk_memory_open((sk_durability)roll(&seed, 3));
        int cells[BATCHES + 1][KEYS] = {{0}}; /* after each batch since the last crash */
        for (int round = 1; round <= ROUNDS; round++) {
            uint64_t before, sealed, synced;
            sk_memory_progress(store, &before, NULL, NULL);
            for (int b = 1; b <= BATCHES; b++) {
                memcpy(cells[b], cells[b - 1], sizeof cells[b]);
                for (uint32_t n = roll(&seed, 4); n > 0; n--) {
                    uint8_t key = (uint8_t)roll(&seed, KEYS), value = (uint8_t)(1 + roll(&seed, 255));
                    sk_store_put(store, SK_CF_ROW, sk_bytes_of(&key, 1), sk_bytes_of(&value, 1));
                    cells[b][key] = value;
                }
                sealed = sk_store_seal(store);
                if (roll(&seed, 4) == 0) sk_memory_write(store, sealed - roll(&seed, 3));
                if (roll(&seed, 8) == 0) sk_memory_sync(store, sealed - roll(&seed, 3));
                if (roll(&seed, 3) == 0) durable_of(store);
            }
            sk_memory_progress(store, NULL, NULL, &synced);
            uint64_t keep = before + roll(&seed, BATCHES + 1);
            sk_memory_crash(store, keep);
            sk_memory_check(store);
            if (keep < synced) keep = synced;
            for (uint8_t key = 0; key < KEYS; key++) {
                sk_bytes value;
                int found = sk_store_get(store, SK_CF_ROW, sk_bytes_of(&key, 1), &value, NULL);
                assert_int_equal(found ? value.data[0] : 0, cells[keep - before][key]);
            }
            memcpy(cells[0], cells[keep - before], sizeof cells[0]);
        }
        sk_store_close(store);
    }
}

/* The overlay by itself: its invariants under random changes, and batches that leave it in order. */
static void the_overlay_keeps_its_invariants(void **state)
{
    (void)state;
    for (uint64_t start = 1; start <= 30; start++) {
        uint64_t seed = start, taken = 0;
        sk_overlay overlay;
        sk_overlay_init(&overlay, 1, 0);
        for (int step = 0; step < 2000; step++) {
            uint8_t key[2] = {(uint8_t)roll(&seed, 16), (uint8_t)roll(&seed, 16)};
            uint8_t to[2] = {(uint8_t)roll(&seed, 17), 0};
            sk_cf cf = roll(&seed, SK_CF_COUNT);
            sk_bytes at = sk_bytes_of(key, 1 + roll(&seed, 2));
            switch (roll(&seed, 10)) {
            case 0: sk_overlay_remove_range(&overlay, cf, at, to[0] == 16 ? SK_BYTES_NONE : sk_bytes_of(to, 1)); break;
            case 1: sk_overlay_change(&overlay, SK_CHANGE_REMOVE, cf, at, SK_BYTES_NONE); break;
            case 2: sk_overlay_seal(&overlay); break;
            case 3: {
                sk_batch *batch = sk_overlay_take(&overlay, taken + 1);
                if (!batch) break;
                assert_int_equal(batch->number, ++taken);
                sk_overlay_recycle(&overlay, batch);
                break;
            }
            case 4: {
                sk_overlay_view view;
                sk_overlay_view_take(&overlay, cf, at, SK_BYTES_NONE, true, &view);
                for (size_t i = 1; i < view.count; i++)
                    assert_true(sk_bytes_compare(view.pairs[i - 1].key, view.pairs[i].key) < 0);
                sk_overlay_view_free(&view);
                break;
            }
            default: sk_overlay_change(&overlay, SK_CHANGE_PUT, cf, at, sk_bytes_of(to, 2));
            }
            if (step % 16 == 0) sk_overlay_check(&overlay);
        }
        sk_overlay_drop_all(&overlay);
        sk_overlay_check(&overlay);
        assert_int_equal(overlay.live, 0);
        sk_overlay_free(&overlay);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_commits_by_itself),
        cmocka_unit_test(a_crash_loses_exactly_the_unsynced),
        cmocka_unit_test(the_nth_commit_fails_and_so_on_until_cleared),
        cmocka_unit_test(a_copy_has_what_was_synced_and_goes_its_own_way),
        cmocka_unit_test(a_dump_tells_the_state_and_nothing_else),
        cmocka_unit_test(after_a_crash_there_is_a_prefix),
        cmocka_unit_test(the_overlay_keeps_its_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
