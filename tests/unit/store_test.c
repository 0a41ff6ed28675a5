/* One suite over both stores, through the interface. The memory store goes first: it is the simpler one. */
#include "tests/part.h"
#include "tests/unit/store_harness.h"

static int start(void **state, bool on_disk, sk_durability durability)
{
    harness *with = malloc(sizeof *with);
    harness_start(with, on_disk, durability);
    *state = with;
    return 0;
}
static int start_memory(void **state)
{
    return start(state, false, SK_DURABILITY_ALWAYS);
}
static int start_memory_os(void **state)
{
    return start(state, false, SK_DURABILITY_OS);
}
static int start_disk(void **state)
{
    return start(state, true, SK_DURABILITY_ALWAYS);
}
static int start_disk_interval(void **state)
{
    return start(state, true, SK_DURABILITY_INTERVAL);
}
static int start_disk_os(void **state)
{
    return start(state, true, SK_DURABILITY_OS);
}
static int end(void **state)
{
    harness_end(*state);
    free(*state);
    return 0;
}

/* -- single facts ------------------------------------------------------------------------------------------------- */

static void a_get_tells_the_batch_it_rests_on(void **state)
{
    harness *with = *state;
    sk_store *store = with->store;
    uint64_t batch = 99;
    assert_null(get_in(store, SK_CF_ROW, "a", &batch));
    assert_int_equal(batch, 0);
    put(store, SK_CF_ROW, "a", "1");
    assert_string_equal(get_in(store, SK_CF_ROW, "a", &batch), "1");
    assert_int_equal(batch, 1);
    assert_int_equal(sk_store_seal(store), 1);
    assert_string_equal(get_in(store, SK_CF_ROW, "a", &batch), "1");
    assert_int_equal(batch, 1);
    sk_store_remove(store, SK_CF_ROW, sk_bytes_str("a"));
    assert_null(get_in(store, SK_CF_ROW, "a", &batch));
    assert_int_equal(batch, 2);
    assert_int_equal(harness_commit(with, 1), SK_OK);
    assert_null(get_in(store, SK_CF_ROW, "a", &batch));
    assert_int_equal(batch, 2);
    assert_int_equal(harness_seal_commit(with), SK_OK);
    assert_null(get_in(store, SK_CF_ROW, "a", &batch));
    assert_int_equal(batch, 0);
    put(store, SK_CF_ROW, "a", "2");
    assert_int_equal(harness_seal_commit(with), SK_OK);
    assert_string_equal(get_in(store, SK_CF_ROW, "a", &batch), "2");
    assert_int_equal(batch, 0);
}

static void families_are_apart(void **state)
{
    harness *with = *state;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) put(with->store, (sk_cf)cf, "same", (char[]){(char)('0' + cf), 0});
    for (int round = 0; round < 2; round++) {
        for (int cf = 0; cf < SK_CF_COUNT; cf++)
            assert_value(with->store, (sk_cf)cf, "same", (char[]){(char)('0' + cf), 0});
        assert_int_equal(harness_seal_commit(with), SK_OK);
    }
}

static void odd_keys_and_values_are_kept(void **state)
{
    harness *with = *state;
    sk_bytes keys[] = {SK_BYTES_NONE, sk_bytes_of("\0", 1), sk_bytes_of("\0\0", 2), sk_bytes_of("\xff\xff", 2)};
    sk_bytes value;
    for (size_t i = 0; i < 4; i++) sk_store_put(with->store, SK_CF_META, keys[i], sk_bytes_of("\0\0\0\0", i));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(sk_store_get(with->store, SK_CF_META, keys[i], &value, NULL), 1);
            assert_int_equal(value.len, i);
        }
        sk_bytes key;
        sk_store_iter *iter = sk_store_iterate(with->store, NULL, SK_CF_META, SK_BYTES_NONE, SK_BYTES_NONE);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(sk_store_next(with->store, iter, &key, &value), 1);
            assert_true(sk_bytes_equal(key, keys[i]));
            assert_int_equal(value.len, i);
        }
        assert_int_equal(sk_store_next(with->store, iter, &key, &value), 0);
        assert_int_equal(sk_store_next(with->store, iter, &key, &value), 0);
        sk_store_iter_free(with->store, iter);
        assert_int_equal(harness_seal_commit(with), SK_OK);
    }
}

static void empty_batches_have_numbers_too(void **state)
{
    harness *with = *state;
    uint64_t durable = 0;
    assert_int_equal(sk_store_open_bytes(with->store), 0);
    assert_int_equal(sk_store_seal(with->store), 1);
    assert_int_equal(sk_store_reap(with->store, &durable), SK_OK);
    assert_int_equal(durable, 1);
    sk_store_remove_range(with->store, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
    assert_true(sk_store_open_bytes(with->store) > 0);
    assert_int_equal(sk_store_seal(with->store), 2);
    assert_true(sk_store_pending_bytes(with->store) > 0);
    assert_int_equal(sk_store_seal(with->store), 3);
    assert_int_equal(harness_commit(with, 2), SK_OK);
    assert_int_equal(harness_commit(with, 3), SK_OK);
    assert_int_equal(sk_store_pending_bytes(with->store), 0);
    assert_int_equal(sk_store_flush(with->store), SK_OK);
}

static void a_range_removal_hides_and_later_puts_show(void **state)
{
    harness *with = *state;
    sk_store *store = with->store;
    put(store, SK_CF_ROW, "a", "1"), put(store, SK_CF_ROW, "b", "1"), put(store, SK_CF_ROW, "c", "1");
    assert_int_equal(harness_seal_commit(with), SK_OK);
    put(store, SK_CF_ROW, "ba", "2");
    uint64_t sealed = sk_store_seal(store), batch;
    sk_store_remove_range(store, SK_CF_ROW, sk_bytes_str("b"), sk_bytes_str("c"));
    put(store, SK_CF_ROW, "bb", "3");
    for (int round = 0; round < 3; round++) {
        assert_value(store, SK_CF_ROW, "a", "1");
        assert_null(get_in(store, SK_CF_ROW, "b", &batch));
        assert_int_equal(batch, round < 2 ? sealed + 1 : 0);
        assert_null(get_in(store, SK_CF_ROW, "ba", &batch));
        assert_int_equal(batch, round < 2 ? sealed + 1 : 0);
        assert_value(store, SK_CF_ROW, "bb", "3");
        assert_value(store, SK_CF_ROW, "c", "1");
        if (round == 0) assert_int_equal(harness_commit(with, sealed), SK_OK);
        if (round == 1) assert_int_equal(harness_seal_commit(with), SK_OK);
    }
    sk_store_remove_range(store, SK_CF_ROW, sk_bytes_str("bb"), SK_BYTES_NONE);
    sk_store_remove_range(store, SK_CF_ROW, sk_bytes_str("z"), sk_bytes_str("a"));
    assert_value(store, SK_CF_ROW, "c", NULL);
    put(store, SK_CF_ROW, "d", "4");
    assert_int_equal(harness_seal_commit(with), SK_OK);
    assert_value(store, SK_CF_ROW, "a", "1");
    assert_value(store, SK_CF_ROW, "c", NULL);
    assert_value(store, SK_CF_ROW, "d", "4");
    put(store, SK_CF_ROW, "e", "5");
    sk_store_remove_range(store, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE); /* its end lies in its own batch */
    assert_int_equal(harness_seal_commit(with), SK_OK);
    for (const char *key = "a\0b\0c\0d\0e\0"; *key; key += 2) assert_value(store, SK_CF_ROW, key, NULL);
}

static void a_snapshot_has_the_committed_and_stays(void **state)
{
    harness *with = *state;
    sk_store *store = with->store;
    sk_buf value = {0};
    put(store, SK_CF_ROW, "a", "old");
    assert_int_equal(harness_seal_commit(with), SK_OK);
    put(store, SK_CF_ROW, "a", "open");
    put(store, SK_CF_ROW, "b", "open");
    sk_store_snapshot *snapshot = sk_store_snapshot_take(store);
    for (int round = 0; round < 2; round++) {
        sk_bytes key, got;
        assert_int_equal(sk_store_snapshot_get(store, snapshot, SK_CF_ROW, sk_bytes_str("a"), &value), 1);
        assert_true(sk_bytes_equal(sk_buf_view(&value), sk_bytes_str("old")));
        assert_int_equal(sk_store_snapshot_get(store, snapshot, SK_CF_ROW, sk_bytes_str("b"), &value), 0);
        sk_store_iter *iter = sk_store_iterate(store, snapshot, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
        assert_int_equal(sk_store_next(store, iter, &key, &got), 1);
        assert_true(sk_bytes_equal(got, sk_bytes_str("old")));
        assert_int_equal(sk_store_next(store, iter, &key, &got), 0);
        sk_store_iter_free(store, iter);
        sk_store_remove_range(store, SK_CF_ROW, SK_BYTES_NONE, sk_bytes_str("b"));
        assert_int_equal(harness_seal_commit(with), SK_OK);
    }
    sk_store_snapshot_free(store, snapshot);
    assert_value(store, SK_CF_ROW, "a", NULL);
    sk_buf tight = {.max = 2};
    snapshot = sk_store_snapshot_take(store);
    assert_int_equal(sk_store_snapshot_get(store, snapshot, SK_CF_ROW, sk_bytes_str("b"), &tight), SK_E_MEMORY);
    sk_store_snapshot_free(store, snapshot);
    sk_buf_free(&tight);
    sk_buf_free(&value);
}

static void a_borrowed_value_may_be_put_and_asked_for(void **state)
{
    harness *with = *state;
    sk_bytes value;
    put(with->store, SK_CF_ROW, "a", "b");
    put(with->store, SK_CF_ROW, "b", "c");
    for (int round = 0; round < 2; round++) {
        assert_int_equal(sk_store_get(with->store, SK_CF_ROW, sk_bytes_str("a"), &value, NULL), 1);
        sk_store_put(with->store, SK_CF_META, sk_bytes_str("copy"), value);
        assert_value(with->store, SK_CF_META, "copy", "b");
        assert_int_equal(sk_store_get(with->store, SK_CF_ROW, sk_bytes_str("a"), &value, NULL), 1);
        assert_int_equal(sk_store_get(with->store, SK_CF_ROW, value, &value, NULL), 1);
        assert_true(sk_bytes_equal(value, sk_bytes_str("c")));
        assert_int_equal(harness_seal_commit(with), SK_OK);
    }
}

static void a_reopen_drops_the_uncommitted(void **state)
{
    harness *with = *state;
    sk_store *store = with->store;
    put(store, SK_CF_ROW, "kept", "1");
    assert_int_equal(harness_seal_commit(with), SK_OK);
    put(store, SK_CF_ROW, "kept", "2");
    put(store, SK_CF_ROW, "lost", "2");
    uint64_t batch, durable;
    get_in(store, SK_CF_ROW, "lost", &batch);
    assert_int_equal(sk_store_reopen(store), SK_OK);
    assert_value(store, SK_CF_ROW, "kept", "1");
    assert_value(store, SK_CF_ROW, "lost", NULL);
    assert_int_equal(sk_store_reap(store, &durable), SK_OK);
    assert_true(durable >= batch);
    put(store, SK_CF_ROW, "new", "3");
    assert_true(sk_store_seal(store) > durable);
    assert_int_equal(sk_store_flush(store), SK_OK);
    assert_value(store, SK_CF_ROW, "new", "3");
    sk_buf text = {0};
    sk_store_stats(store, &text);
    sk_buf_byte(&text, 0);
    assert_non_null(strstr((char *)text.data, "store_batches:"));
    sk_buf_free(&text);
}

/* -- random histories against a naive model ----------------------------------------------------------------------- */

enum { KEYS = 85, OPEN_MAX = 3, STEPS = 1500 };

typedef struct {
    uint32_t value; /* 0: none */
    uint64_t batch; /* that last changed it */
} cell;
typedef struct {
    cell cells[SK_CF_COUNT][KEYS];
} picture;

/* An iterator or a snapshot, and what it must show. */
typedef struct {
    sk_store_iter *iter;
    sk_store_snapshot *snapshot;
    picture *frozen;
    sk_cf cf;
    size_t at, end;
} reader;

typedef struct {
    harness *with;
    uint64_t seed, durable, last_sealed;
    uint32_t next_value;
    picture newest, sealed;
    reader readers[OPEN_MAX];
} game;

static char names[KEYS][5];
static size_t name_count;

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* "", "a".."d", "aa".."dd", "aaa".."ddd": in order, many being prefixes of others. */
static void make_names(void)
{
    name_count = 0;
    memset(names, 0, sizeof names);
    for (int len = 0; len <= 3; len++)
        for (int word = 0; word < 1 << (2 * len); word++, name_count++)
            for (int i = 0; i < len; i++) names[name_count][i] = (char)('a' + (word >> (2 * i) & 3));
    assert_int_equal(name_count, KEYS);
    qsort(names, KEYS, sizeof names[0], by_name);
}

/* The name at a place, or no bound beyond the last. */
static sk_bytes bound(size_t at)
{
    return at < KEYS ? sk_bytes_str(names[at]) : SK_BYTES_NONE;
}

static void check_value(sk_bytes value, uint32_t expected)
{
    uint32_t got;
    assert_int_equal(value.len, sizeof got + expected % 7);
    memcpy(&got, value.data, sizeof got);
    assert_int_equal(got, expected);
}

static void play_put(game *play, sk_cf cf, size_t at)
{
    uint8_t value[16] = {0};
    uint32_t number = ++play->next_value;
    memcpy(value, &number, sizeof number);
    sk_store_put(play->with->store, cf, bound(at), sk_bytes_of(value, sizeof number + number % 7));
    play->newest.cells[cf][at] = (cell){number, play->last_sealed + 1};
}

static void play_remove_range(game *play, sk_cf cf, size_t from, size_t to)
{
    sk_store_remove_range(play->with->store, cf, bound(from), bound(to));
    for (size_t i = from; i < to; i++) play->newest.cells[cf][i] = (cell){0, play->last_sealed + 1};
}

static void play_get(game *play, sk_cf cf, size_t at)
{
    sk_bytes value;
    uint64_t batch;
    cell expected = play->newest.cells[cf][at];
    int found = sk_store_get(play->with->store, cf, bound(at), &value, &batch);
    assert_int_equal(found, expected.value != 0);
    if (found) check_value(value, expected.value);
    assert_int_equal(batch, expected.batch > play->durable ? expected.batch : 0);
}

static void play_seal(game *play)
{
    assert_int_equal(sk_store_seal(play->with->store), ++play->last_sealed);
    play->sealed = play->newest;
}

static void play_commit(game *play, uint64_t upto)
{
    assert_int_equal(harness_commit(play->with, upto), SK_OK);
    assert_int_equal(sk_store_reap(play->with->store, &play->durable), SK_OK);
    assert_true(play->durable >= upto);
    assert_true(play->durable <= play->last_sealed);
}

static void reader_close(game *play, reader *from)
{
    if (from->iter) sk_store_iter_free(play->with->store, from->iter);
    if (from->snapshot) sk_store_snapshot_free(play->with->store, from->snapshot);
    free(from->frozen);
    *from = (reader){0};
}

static void reader_open(game *play, reader *into)
{
    *into = (reader){.frozen = malloc(sizeof(picture)), .cf = roll(&play->seed, SK_CF_COUNT)};
    *into->frozen = play->newest;
    if (roll(&play->seed, 3) == 0) {
        play_commit(play, play->last_sealed);
        *into->frozen = play->sealed;
        into->snapshot = sk_store_snapshot_take(play->with->store);
    }
    into->at = roll(&play->seed, KEYS);
    into->end = roll(&play->seed, 3) ? roll(&play->seed, KEYS) : KEYS;
    into->iter = sk_store_iterate(play->with->store, into->snapshot, into->cf, bound(into->at), bound(into->end));
}

/* One pair on; closes the reader at its end. */
static void reader_step(game *play, reader *at)
{
    sk_bytes key, value;
    int found = sk_store_next(play->with->store, at->iter, &key, &value);
    while (at->at < at->end && !at->frozen->cells[at->cf][at->at].value) at->at++;
    assert_int_equal(found, at->at < at->end);
    if (!found) {
        reader_close(play, at);
        return;
    }
    assert_true(sk_bytes_equal(key, bound(at->at)));
    check_value(value, at->frozen->cells[at->cf][at->at].value);
    at->at++;
}

static void play_read(game *play, bool to_the_end)
{
    reader *some = &play->readers[roll(&play->seed, OPEN_MAX)];
    if (!some->iter) reader_open(play, some);
    if (some->snapshot) {
        sk_buf value = {0};
        size_t at = roll(&play->seed, KEYS);
        uint32_t expected = some->frozen->cells[some->cf][at].value;
        int found = sk_store_snapshot_get(play->with->store, some->snapshot, some->cf, bound(at), &value);
        assert_int_equal(found, expected != 0);
        if (found) check_value(sk_buf_view(&value), expected);
        sk_buf_free(&value);
    }
    do reader_step(play, some);
    while (to_the_end && some->iter);
}

static void play_reopen(game *play)
{
    play_commit(play, play->last_sealed);
    for (int i = 0; i < OPEN_MAX; i++) reader_close(play, &play->readers[i]);
    assert_int_equal(sk_store_reopen(play->with->store), SK_OK);
    play->newest = play->sealed;
    assert_int_equal(sk_store_reap(play->with->store, &play->durable), SK_OK);
    play->last_sealed = play->durable;
}

static void play_step(game *play)
{
    sk_cf cf = roll(&play->seed, SK_CF_COUNT);
    size_t at = roll(&play->seed, KEYS), to = roll(&play->seed, KEYS + 1);
    switch (roll(&play->seed, 20)) {
    case 0: case 1: case 2: case 3: case 4: play_put(play, cf, at); break;
    case 5: case 6:
        sk_store_remove(play->with->store, cf, bound(at));
        play->newest.cells[cf][at] = (cell){0, play->last_sealed + 1};
        break;
    case 7: play_remove_range(play, cf, at, roll(&play->seed, 4) ? to : at + roll(&play->seed, (uint32_t)(KEYS - at)));
        break;
    case 8: case 9: case 10: case 11: play_get(play, cf, at); break;
    case 12: case 13: play_read(play, false); break;
    case 14: play_read(play, true); break;
    case 15: case 16: play_seal(play); break;
    case 17:
        if (play->last_sealed > play->durable)
            play_commit(play, play->durable + 1 + roll(&play->seed, (uint32_t)(play->last_sealed - play->durable)));
        break;
    case 18:
        assert_int_equal(sk_store_reap(play->with->store, &play->durable), SK_OK);
        break;
    default:
        if (roll(&play->seed, 40) == 0) play_reopen(play);
    }
    if (!play->with->on_disk) sk_memory_check(play->with->store);
}

static void random_histories_agree_with_the_model(void **state)
{
    harness *with = *state;
    make_names();
    const char *only = getenv("SK_SEED");
    uint64_t first, count = test_part_seeds(with->on_disk ? 8 : 100, &first);
    if (only) first = strtoull(only, NULL, 10), count = 1;
    bool on_disk = with->on_disk;
    sk_durability durability = with->durability;
    for (uint64_t seed = first; seed < first + count; seed++) {
        harness_end(with);
        harness_start(with, on_disk, durability);
        game *play = calloc(1, sizeof *play);
        play->with = with;
        play->seed = seed;
        print_message("seed %llu (again: SK_SEED=%llu)\r", (unsigned long long)seed, (unsigned long long)seed);
        for (int step = 0; step < STEPS; step++) play_step(play);
        play_commit(play, play->last_sealed);
        for (int cf = 0; cf < SK_CF_COUNT; cf++)
            for (size_t at = 0; at < KEYS; at++) play_get(play, (sk_cf)cf, at);
        for (int i = 0; i < OPEN_MAX; i++) reader_close(play, &play->readers[i]);
        free(play);
    }
    print_message("\n");
}

#define SUITE(start)                                                                                                   \
    cmocka_unit_test_setup_teardown(a_get_tells_the_batch_it_rests_on, start, end),                                    \
        cmocka_unit_test_setup_teardown(families_are_apart, start, end),                                               \
        cmocka_unit_test_setup_teardown(odd_keys_and_values_are_kept, start, end),                                     \
        cmocka_unit_test_setup_teardown(empty_batches_have_numbers_too, start, end),                                   \
        cmocka_unit_test_setup_teardown(a_range_removal_hides_and_later_puts_show, start, end),                        \
        cmocka_unit_test_setup_teardown(a_snapshot_has_the_committed_and_stays, start, end),                           \
        cmocka_unit_test_setup_teardown(a_borrowed_value_may_be_put_and_asked_for, start, end),                        \
        cmocka_unit_test_setup_teardown(a_reopen_drops_the_uncommitted, start, end),                                   \
        cmocka_unit_test_setup_teardown(random_histories_agree_with_the_model, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {SUITE(start_memory), SUITE(start_memory_os), SUITE(start_disk),
                                       SUITE(start_disk_interval), SUITE(start_disk_os)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
