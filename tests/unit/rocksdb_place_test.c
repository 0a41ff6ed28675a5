/* The store on disk while runs go on all the time: what is committed is answered from the overlay, the log, or its place,
 * and nobody can tell which. */
#include "storage/journal.h"
#include "storage/log.h"
#include "tests/part.h"
#include "tests/unit/store_harness.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { LARGE = 90000 }; /* a few of these make a run of several slices */

static uint8_t filler[LARGE];

/* The options of a harness stay from one opening to the next. */
static void start(harness *with, sk_durability durability, size_t place_bytes, size_t row_cache_bytes)
{
    harness_start(with, true, durability);
    sk_store_close(with->store);
    with->options.place_bytes = place_bytes;
    with->options.row_cache_bytes = row_cache_bytes;
    harness_open(with);
}

static void open_again(harness *with)
{
    sk_store_close(with->store);
    harness_open(with);
}

static void put_number(sk_store *store, sk_cf cf, sk_bytes key, uint64_t number, size_t len)
{
    memcpy(filler, &number, sizeof number);
    sk_store_put(store, cf, key, sk_bytes_of(filler, len));
}

/* 0: nothing is there. */
static uint64_t number_of(sk_store *store, sk_cf cf, sk_bytes key, uint64_t *batch)
{
    sk_bytes value;
    uint64_t number = 0;
    int found = sk_store_get(store, cf, key, &value, batch);
    assert_in_range(found, 0, 1);
    if (!found) return 0;
    assert_true(value.len >= sizeof number);
    memcpy(&number, value.data, sizeof number);
    return number;
}

static uint64_t snapshot_number(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, const char *key)
{
    sk_buf value = {0};
    uint64_t number = 0;
    int found = sk_store_snapshot_get(store, snapshot, cf, sk_bytes_str(key), &value);
    assert_in_range(found, 0, 1);
    if (found) memcpy(&number, value.data, sizeof number);
    sk_buf_free(&value);
    return number;
}

/* Brings everything committed into its place, and out of the overlay as far as one reap goes. */
static void drain(sk_store *store)
{
    uint64_t durable;
    sk_store_snapshot_free(store, sk_store_snapshot_take(store));
    assert_int_equal(sk_store_reap(store, &durable), SK_OK);
}

static int count_record(void *self, uint64_t number, sk_bytes bytes)
{
    (void)number, (void)bytes;
    ++*(size_t *)self;
    return 0;
}

/* In the log of a closed store. */
static size_t log_records(const harness *with)
{
    sk_folder folder;
    sk_journal journal;
    size_t count = 0;
    char error[SK_FOLDER_ERROR];
    assert_int_equal(sk_folder_open(&folder, with->path, error), SK_OK);
    sk_journal_init(&journal, folder.db_path, 1 << 20);
    assert_int_equal(sk_journal_read(&journal, count_record, &count, error), SK_OK);
    sk_journal_free(&journal);
    sk_folder_close(&folder);
    return count;
}

/* -- random histories against a model ------------------------------------------------------------------------------- */

enum { KEYS = 60, STEPS = 1200 };

typedef struct {
    uint64_t number; /* 0: nothing */
    uint64_t batch;  /* that said so */
} cell;
typedef struct {
    cell cells[SK_CF_COUNT][KEYS];
} picture;

typedef struct {
    harness with;
    uint64_t seed, numbers, sealed, durable;
    picture newest, at_seal; /* with the open batch, and without */
    sk_store_iter *iter;     /* one that stays open for a while, and what it must show */
    picture shown;
    sk_cf iter_cf;
    size_t iter_at;
} game;

static sk_bytes key_of(size_t at)
{
    static char names[KEYS][4];
    snprintf(names[at], sizeof names[at], "%02zu", at);
    return sk_bytes_str(names[at]);
}

static sk_bytes bound(size_t at)
{
    return at < KEYS ? key_of(at) : SK_BYTES_NONE;
}

static void play_put(game *play, sk_cf cf, size_t at)
{
    uint64_t number = ++play->numbers;
    put_number(play->with.store, cf, key_of(at), number, number % 9 ? 8 + number % 50 : LARGE);
    play->newest.cells[cf][at] = (cell){number, play->sealed + 1};
}

static void play_remove(game *play, sk_cf cf, size_t at)
{
    sk_store_remove(play->with.store, cf, key_of(at));
    play->newest.cells[cf][at] = (cell){0, play->sealed + 1};
}

static void play_remove_range(game *play, sk_cf cf, size_t from, size_t to)
{
    sk_store_remove_range(play->with.store, cf, key_of(from), bound(to));
    for (size_t i = from; i < to && i < KEYS; i++) play->newest.cells[cf][i] = (cell){0, play->sealed + 1};
}

static void play_get(game *play, sk_cf cf, size_t at)
{
    uint64_t batch;
    cell expected = play->newest.cells[cf][at];
    assert_int_equal(number_of(play->with.store, cf, key_of(at), &batch), expected.number);
    assert_int_equal(batch, expected.batch > play->durable ? expected.batch : 0);
}

static void play_seal(game *play)
{
    assert_int_equal(sk_store_seal(play->with.store), ++play->sealed);
    play->at_seal = play->newest;
}

static void play_reap(game *play)
{
    uint64_t before = play->durable;
    assert_int_equal(sk_store_reap(play->with.store, &play->durable), SK_OK);
    assert_in_range(play->durable, before, play->sealed);
}

/* With the open batch dropped, or all of it sealed. */
static void play_settle(game *play)
{
    assert_int_equal(harness_commit(&play->with, play->sealed), SK_OK);
    play_reap(play);
    assert_int_equal(play->durable, play->sealed);
    assert_int_equal(sk_store_pending_bytes(play->with.store), 0);
}

static void check_pairs(game *play, sk_store_snapshot *snapshot, const picture *expected, sk_cf cf)
{
    sk_bytes key, value;
    sk_store_iter *iter = sk_store_iterate(play->with.store, snapshot, cf, SK_BYTES_NONE, SK_BYTES_NONE);
    for (size_t at = 0; at < KEYS; at++) {
        uint64_t number = expected->cells[cf][at].number;
        if (!number) continue;
        assert_int_equal(sk_store_next(play->with.store, iter, &key, &value), 1);
        assert_true(sk_bytes_equal(key, key_of(at)));
        assert_memory_equal(value.data, &number, sizeof number);
    }
    assert_int_equal(sk_store_next(play->with.store, iter, &key, &value), 0);
    sk_store_iter_free(play->with.store, iter);
}

static void iter_close(game *play)
{
    if (play->iter) sk_store_iter_free(play->with.store, play->iter);
    play->iter = NULL;
}

/* A pair of the iterator that stays open: its overlay is smaller than a view's first piece, so it shows what was there
 * when it was opened, whatever has been placed since. */
static void iter_step(game *play)
{
    sk_bytes key, value;
    if (!play->iter) {
        play->iter_cf = (sk_cf)roll(&play->seed, SK_CF_COUNT);
        play->iter_at = 0;
        play->shown = play->newest;
        play->iter = sk_store_iterate(play->with.store, NULL, play->iter_cf, SK_BYTES_NONE, SK_BYTES_NONE);
    }
    int found = sk_store_next(play->with.store, play->iter, &key, &value);
    const cell *cells = play->shown.cells[play->iter_cf];
    while (play->iter_at < KEYS && !cells[play->iter_at].number) play->iter_at++;
    assert_int_equal(found, play->iter_at < KEYS);
    if (!found) {
        iter_close(play);
        return;
    }
    assert_true(sk_bytes_equal(key, key_of(play->iter_at)));
    assert_memory_equal(value.data, &cells[play->iter_at].number, 8);
    play->iter_at++;
}

static void play_snapshot(game *play)
{
    play_settle(play);
    sk_store_snapshot *snapshot = sk_store_snapshot_take(play->with.store);
    for (int cf = 0; cf < SK_CF_COUNT; cf++) check_pairs(play, snapshot, &play->at_seal, (sk_cf)cf);
    sk_store_snapshot_free(play->with.store, snapshot);
    play_reap(play); /* with everything in its place, the overlay lets go of it */
}

static void play_restart(game *play)
{
    iter_close(play);
    if (roll(&play->seed, 2)) {
        play_settle(play);
        assert_int_equal(sk_store_reopen(play->with.store), SK_OK);
        play->newest = play->at_seal;
        assert_int_equal(sk_store_reap(play->with.store, &play->durable), SK_OK);
        play->sealed = play->durable;
        return;
    }
    open_again(&play->with); /* which commits what is sealed */
    play->sealed = play->durable = 0;
    for (int cf = 0; cf < SK_CF_COUNT; cf++)
        for (size_t at = 0; at < KEYS; at++) play->at_seal.cells[cf][at].batch = 0;
    play->newest = play->at_seal;
}

static void play_step(game *play)
{
    sk_cf cf = (sk_cf)roll(&play->seed, SK_CF_COUNT);
    size_t at = roll(&play->seed, KEYS), to = roll(&play->seed, KEYS + 5);
    switch (roll(&play->seed, 24)) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6: play_put(play, cf, at); break;
    case 7: case 8: play_remove(play, cf, at); break;
    case 9:
        if (roll(&play->seed, 2) == 0) play_remove_range(play, cf, at, to > at ? to : at);
        break;
    case 10: case 11: case 12: play_get(play, cf, at); break;
    case 13: case 14: case 15: play_get(play, SK_CF_ROW, at); break;
    case 16: case 17: play_seal(play); break;
    case 18: play_reap(play); break;
    case 19: iter_step(play); break;
    case 20: check_pairs(play, NULL, &play->newest, cf); break;
    case 21:
        if (roll(&play->seed, 4) == 0) play_settle(play);
        break;
    case 22:
        if (roll(&play->seed, 3) == 0) play_snapshot(play);
        break;
    default:
        if (roll(&play->seed, 40) == 0) play_restart(play);
    }
}

static void random_histories_agree_with_the_model(void **state)
{
    (void)state;
    static const size_t place_bytes[] = {4096, 100000, 0}, row_cache[] = {0, 60000, 1};
    const char *only = getenv("SK_SEED");
    uint64_t first, count = test_part_seeds(9, &first);
    if (only) first = strtoull(only, NULL, 10), count = 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu (again: SK_SEED=%llu)\r", (unsigned long long)seed, (unsigned long long)seed);
        game *play = calloc(1, sizeof *play);
        assert_non_null(play);
        play->seed = seed;
        start(&play->with, (sk_durability)(seed / 3 % 3), place_bytes[seed % 3], row_cache[seed / 2 % 3]);
        for (int step = 0; step < STEPS; step++) play_step(play);
        iter_close(play);
        play_seal(play);
        play_settle(play);
        play_snapshot(play);
        open_again(&play->with);
        for (int cf = 0; cf < SK_CF_COUNT; cf++) check_pairs(play, NULL, &play->newest, (sk_cf)cf);
        harness_end(&play->with);
        free(play);
    }
    print_message("\n");
}

/* -- a numbered load, of which any prefix can be told from any other ------------------------------------------------- */

enum { SLOTS = 50, KEPT = 16 }; /* every KEPT batches all history goes but the last KEPT */

static sk_bytes load_key(char *into, char sort, uint64_t number)
{
    return sk_bytes_of(into, (size_t)sprintf(into, "%c%016llx", sort, (unsigned long long)number));
}

static void load_put(sk_store *store, uint64_t number)
{
    char key[32], end[32];
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        put_number(store, (sk_cf)cf, sk_bytes_str("last"), number, 8);
        size_t len = cf == SK_CF_ROW && number % 3 == 0 ? LARGE : number % 7 ? 20 : 20000; /* rows enough for a table */
        put_number(store, (sk_cf)cf, load_key(key, 's', number % SLOTS), number, len);
    }
    put_number(store, SK_CF_HISTORY, load_key(key, 'h', number), number, 8);
    if (number % KEPT) return;
    sk_store_remove_range(store, SK_CF_HISTORY, load_key(key, 'h', 0), load_key(end, 'h', number - KEPT));
}

/* The store holds what batches 1 to `last` leave: that is, each of them whole, in order, and nothing else. */
static void load_check(sk_store *store, uint64_t last)
{
    char key[32];
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        assert_int_equal(number_of(store, (sk_cf)cf, sk_bytes_str("last"), NULL), last);
        for (uint64_t slot = 0; slot < SLOTS; slot++) {
            uint64_t newest = last - (last + SLOTS - slot) % SLOTS;
            if (last < slot || (slot == 0 && last < SLOTS)) newest = 0;
            assert_int_equal(number_of(store, (sk_cf)cf, load_key(key, 's', slot), NULL), newest);
        }
    }
    uint64_t first = last / KEPT * KEPT, next = first > KEPT ? first - KEPT : 1;
    sk_bytes at, value;
    sk_store_iter *iter = sk_store_iterate(store, NULL, SK_CF_HISTORY, sk_bytes_str("h"), sk_bytes_str("i"));
    for (; next <= last; next++) {
        assert_int_equal(sk_store_next(store, iter, &at, &value), 1);
        assert_memory_equal(value.data, &next, sizeof next);
    }
    assert_int_equal(sk_store_next(store, iter, &at, &value), 0);
    sk_store_iter_free(store, iter);
}

static uint64_t load_last(sk_store *store)
{
    return number_of(store, SK_CF_META, sk_bytes_str("last"), NULL);
}

/* In a process of its own (RocksDB's threads do not live on in a fork): goes on from what is there; says on the pipe what
 * is durable, until it is killed. Arguments: path, durability, place_bytes, the pipe. */
static int load_until_killed(char **argv)
{
    harness with = {.on_disk = true, .durability = (sk_durability)atoi(argv[1])};
    int pipe = atoi(argv[3]);
    snprintf(with.path, sizeof with.path, "%s", argv[0]);
    with.options.place_bytes = strtoul(argv[2], NULL, 10);
    sem_init(&with.woken, 0, 0);
    harness_open(&with);
    uint64_t before = load_last(with.store), said = 0;
    for (uint64_t number = 1;; number++) {
        uint64_t durable;
        load_put(with.store, before + number);
        if (sk_store_seal(with.store) != number) _exit(1);
        if (sk_store_reap(with.store, &durable) != SK_OK) _exit(2);
        if (sk_store_pending_bytes(with.store) > 300000 && harness_commit(&with, number) != SK_OK) _exit(3);
        uint64_t all = before + durable;
        if (durable > said && write(pipe, &all, sizeof all) != sizeof all) _exit(4);
        said = durable;
    }
}

static uint64_t kill_at(const harness *with, uint64_t after, uint32_t delay_us)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    char durability[8], place_bytes[24], to[8];
    snprintf(durability, sizeof durability, "%d", (int)with->durability);
    snprintf(place_bytes, sizeof place_bytes, "%zu", with->options.place_bytes);
    snprintf(to, sizeof to, "%d", ends[1]);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "load", with->path, durability, place_bytes, to, (char *)NULL);
        _exit(5);
    }
    close(ends[1]);
    uint64_t durable = 0, last = 0, count = 0;
    while (read(ends[0], &durable, sizeof durable) == sizeof durable) {
        last = durable;
        if (++count != after) continue;
        usleep(delay_us);
        kill(child, SIGKILL);
    }
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

static void a_killed_process_leaves_whole_batches_in_order(void **state)
{
    (void)state;
    static const size_t place_bytes[] = {4096, 1 << 20, 0};
    const test_part part = test_part_asked();
    uint64_t seed = 5 + part.k;
    int rounds = part.of > 1 ? 2 : 6;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        harness with;
        start(&with, (sk_durability)mode, 4096, 0);
        sk_store_close(with.store);
        for (int round = 0; round < rounds; round++) {
            with.options.place_bytes = place_bytes[(round + part.k) % 3];
            uint64_t durable = kill_at(&with, 5 + roll(&seed, 60), roll(&seed, 3000));
            with.options.place_bytes = 4096;
            harness_open(&with);
            uint64_t last = load_last(with.store);
            assert_true(last >= durable);
            load_check(with.store, last);
            if (round % 2 == 0) load_put(with.store, last + 1); /* what was replayed is written on */
            if (round % 2 == 0) assert_int_equal(harness_seal_commit(&with), SK_OK);
            sk_store_close(with.store);
        }
        with.store = NULL;
        harness_end(&with);
    }
}

static void a_clean_close_leaves_no_log(void **state)
{
    (void)state;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        harness with;
        start(&with, (sk_durability)mode, mode == SK_DURABILITY_OS ? 4096 : 0, 0);
        for (uint64_t number = 1; number <= 100; number++) {
            load_put(with.store, number);
            sk_store_seal(with.store);
        }
        sk_store_close(with.store);
        with.store = NULL;
        assert_int_equal(log_records(&with), 0);
        harness_open(&with);
        load_check(with.store, 100);
        harness_end(&with);
    }
}

static void a_damaged_record_is_refused(void **state)
{
    (void)state;
    harness with;
    char error[SK_ROCKSDB_ERROR] = "";
    start(&with, SK_DURABILITY_ALWAYS, 0, 0);
    load_put(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    sk_store_close(with.store);
    with.store = NULL;
    sk_folder folder;
    sk_journal journal;
    assert_int_equal(sk_folder_open(&folder, with.path, error), SK_OK);
    sk_journal_init(&journal, folder.db_path, 1 << 20);
    assert_int_equal(sk_journal_restart(&journal, error), SK_OK);
    assert_int_equal(sk_journal_append(&journal, 7, sk_bytes_str("damage"), error), SK_OK);
    sk_journal_free(&journal);
    sk_folder_close(&folder);
    assert_int_equal(sk_rocksdb_open(&with.options, &with.store, error), SK_E_CORRUPT);
    assert_string_equal(error, "a record of the commit log is damaged");
    assert_int_equal(log_records(&with), 1);
    with.store = NULL;
    harness_end(&with);
}

/* -- committed and not placed ---------------------------------------------------------------------------------------- */

static void an_overwritten_key_is_placed_once_a_run(void **state)
{
    (void)state;
    harness with;
    start(&with, SK_DURABILITY_OS, (size_t)64 << 20, 0);
    for (uint64_t number = 1; number <= 1000; number++) {
        put_number(with.store, SK_CF_ROW, sk_bytes_str("key"), number, 8);
        sk_store_seal(with.store);
    }
    assert_int_equal(sk_store_flush(with.store), SK_OK);
    sk_store_snapshot *snapshot = sk_store_snapshot_take(with.store); /* brings all into place */
    assert_int_equal(snapshot_number(with.store, snapshot, SK_CF_ROW, "key"), 1000);
    assert_int_equal(stat_of(with.store, "store_rows_placed"), stat_of(with.store, "store_runs"));
    assert_int_equal(stat_of(with.store, "store_rows_placed") + stat_of(with.store, "store_rows_coalesced"), 1000);
    assert_int_equal(stat_of(with.store, "store_unplaced_bytes"), 0);
    sk_store_snapshot_free(with.store, snapshot);
    harness_end(&with);
}

static void committed_is_committed_wherever_it_is(void **state)
{
    (void)state;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        harness with;
        uint64_t batch;
        start(&with, (sk_durability)mode, (size_t)64 << 20, 0);
        for (uint64_t number = 1; number <= 20; number++) {
            put_number(with.store, SK_CF_ROW, sk_bytes_str("a"), number, 8);
            sk_store_remove_range(with.store, SK_CF_ROW, sk_bytes_str("b"), sk_bytes_str("c"));
            assert_true(sk_store_open_bytes(with.store) > 0);
            assert_int_equal(number_of(with.store, SK_CF_ROW, sk_bytes_str("a"), &batch), number);
            assert_int_equal(batch, number);
            assert_int_equal(number_of(with.store, SK_CF_ROW, sk_bytes_str("bb"), &batch), 0);
            assert_int_equal(batch, number);
            assert_int_equal(harness_seal_commit(&with), SK_OK);
            assert_int_equal(sk_store_pending_bytes(with.store), 0);
            assert_int_equal(sk_store_open_bytes(with.store), 0);
            assert_int_equal(number_of(with.store, SK_CF_ROW, sk_bytes_str("a"), &batch), number);
            assert_int_equal(batch, 0);
            assert_int_equal(number_of(with.store, SK_CF_ROW, sk_bytes_str("bb"), &batch), 0);
            assert_int_equal(batch, 0);
        }
        assert_int_equal(sk_store_flush(with.store), SK_OK);
        harness_end(&with);
    }
}

/* A row that the cache knows, changed in every way, and asked for before and after the change left the overlay. */
static void the_row_cache_never_answers_with_something_older(void **state)
{
    (void)state;
    harness with;
    sk_bytes key = sk_bytes_str("row");
    start(&with, SK_DURABILITY_OS, 4096, 0);
    for (uint64_t number = 1; number <= 60; number++) {
        uint64_t kind = number % 6, expected = kind < 3 || kind == 5 ? number : 0;
        if (kind == 4) sk_store_remove_range(with.store, SK_CF_ROW, sk_bytes_str("ro"), sk_bytes_str("rox"));
        if (kind == 5) sk_store_remove_range(with.store, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
        if (kind == 3) sk_store_remove(with.store, SK_CF_ROW, key);
        if (expected) put_number(with.store, SK_CF_ROW, key, number, 8);
        if (kind == 1) { /* in a batch of its own, of which the one above is not the last word */
            sk_store_seal(with.store);
            put_number(with.store, SK_CF_ROW, key, number, 30);
        }
        if (kind == 0) sk_store_remove_range(with.store, SK_CF_ROW, sk_bytes_str("a"), sk_bytes_str("b"));
        assert_int_equal(number_of(with.store, SK_CF_ROW, key, NULL), expected);
        assert_int_equal(harness_seal_commit(&with), SK_OK);
        assert_int_equal(number_of(with.store, SK_CF_ROW, key, NULL), expected);
        if (number % 5 == 4) continue; /* two changes leave together */
        drain(with.store);
        assert_int_equal(stat_of(with.store, "store_overlay_keys"), 0);
        uint64_t asked = stat_of(with.store, "store_row_cache_hits") + stat_of(with.store, "store_row_cache_misses");
        for (int i = 0; i < 2; i++) assert_int_equal(number_of(with.store, SK_CF_ROW, key, NULL), expected);
        uint64_t now = stat_of(with.store, "store_row_cache_hits") + stat_of(with.store, "store_row_cache_misses");
        assert_int_equal(now, asked + 2); /* it was the cache that was asked */
    }
    harness_end(&with);
}

/* Counters of two families that every batch writes together agree in every snapshot, and stay what they were. */
static void a_snapshot_under_load_is_one_moment(void **state)
{
    (void)state;
    harness with;
    sk_store_snapshot *old = NULL;
    uint64_t old_number = 0, durable;
    start(&with, SK_DURABILITY_OS, 4096, 0);
    for (uint64_t number = 1; number <= 150; number++) {
        put_number(with.store, SK_CF_ROW, sk_bytes_str("a counter"), number, 8);
        put_number(with.store, SK_CF_DERIVED, sk_bytes_str("z counter"), number, 8);
        for (char key[] = "a"; key[0] < 'n'; key[0]++) put_number(with.store, SK_CF_META, sk_bytes_str(key), number, LARGE);
        sk_store_seal(with.store);
        if (number % 10) continue;
        assert_int_equal(sk_store_reap(with.store, &durable), SK_OK);
        put_number(with.store, SK_CF_ROW, sk_bytes_str("a counter"), 9999, 8); /* open: not in it */
        sk_store_snapshot *snapshot = sk_store_snapshot_take(with.store);
        uint64_t seen = snapshot_number(with.store, snapshot, SK_CF_ROW, "a counter");
        assert_in_range(seen, durable, number);
        assert_int_equal(snapshot_number(with.store, snapshot, SK_CF_DERIVED, "z counter"), seen);
        for (char key[] = "a"; key[0] < 'n'; key[0]++)
            assert_int_equal(snapshot_number(with.store, snapshot, SK_CF_META, key), seen);
        if (old) assert_int_equal(snapshot_number(with.store, old, SK_CF_ROW, "a counter"), old_number);
        if (old) assert_int_equal(snapshot_number(with.store, old, SK_CF_DERIVED, "z counter"), old_number);
        if (old) sk_store_snapshot_free(with.store, old);
        old = snapshot;
        old_number = seen;
    }
    sk_store_snapshot_free(with.store, old);
    assert_true(stat_of(with.store, "store_tables_placed") > 0);
    harness_end(&with);
}

/* More pairs than a view copies at first, while runs bring them to their places: never the value before the last. */
static void an_iterator_shows_nothing_older_than_itself(void **state)
{
    (void)state;
    enum { MANY = 1500 };
    harness with;
    char name[32];
    start(&with, SK_DURABILITY_OS, 4096, 0);
    for (uint64_t round = 1; round <= 4; round++) {
        for (uint64_t i = 0; i < MANY; i++) {
            put_number(with.store, SK_CF_ROW, load_key(name, 'k', i), round, i % 10 ? 8 : 3000);
            if (i % 100 == 99) sk_store_seal(with.store);
        }
        uint64_t sealed = sk_store_seal(with.store);
        sk_store_iter *iter = sk_store_iterate(with.store, NULL, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
        sk_bytes key, value;
        uint64_t number;
        for (uint64_t i = 0; i < MANY; i++) {
            assert_int_equal(sk_store_next(with.store, iter, &key, &value), 1);
            assert_true(sk_bytes_equal(key, load_key(name, 'k', i)));
            memcpy(&number, value.data, sizeof number);
            assert_int_equal(number, round);
            if (i % 100 == 50) drain(with.store); /* all is in its place below, and batches would leave */
        }
        assert_int_equal(sk_store_next(with.store, iter, &key, &value), 0);
        sk_store_iter_free(with.store, iter);
        assert_int_equal(harness_commit(&with, sealed), SK_OK);
    }
    harness_end(&with);
}

/* A snapshot may be read for minutes, by a peer that is slow: memory must not wait for that. */
static void an_iterator_of_a_snapshot_holds_nothing_in_memory(void **state)
{
    (void)state;
    harness with;
    uint64_t durable;
    start(&with, SK_DURABILITY_OS, 4096, 0);
    load_put(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    sk_store_snapshot *snapshot = sk_store_snapshot_take(with.store);
    sk_store_iter *iter = sk_store_iterate(with.store, snapshot, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
    for (uint64_t number = 2; number < 50; number++) {
        load_put(with.store, number);
        assert_int_equal(harness_seal_commit(&with), SK_OK);
    }
    for (int i = 0; i < 20000 && stat_of(with.store, "store_overlay_keys"); i++) {
        assert_int_equal(sk_store_reap(with.store, &durable), SK_OK);
        usleep(1000);
    }
    assert_int_equal(stat_of(with.store, "store_overlay_keys"), 0);
    sk_store_iter_free(with.store, iter);
    sk_store_snapshot_free(with.store, snapshot);
    harness_end(&with);
}

/* Who goes through everything once drives nothing out of the block cache; nor does who reads a snapshot. */
static void a_pass_leaves_the_cache_alone(void **state)
{
    (void)state;
    enum { ROWS = 2000, BYTES = 500 };
    harness with;
    sk_bytes key, value;
    start(&with, SK_DURABILITY_OS, 4 << 20, 0);
    for (int i = 0; i < ROWS; i++) {
        char name[16], noise[BYTES];
        snprintf(name, sizeof name, "row%08d", i);
        uint64_t seed = (uint64_t)i;
        for (size_t k = 0; k < sizeof noise; k++) noise[k] = (char)roll(&seed, 256); /* which nothing makes smaller */
        sk_store_put(with.store, SK_CF_ROW, sk_bytes_str(name), sk_bytes_of(noise, sizeof noise));
    }
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    drain(with.store);
    open_again(&with); /* all is in tables */
    uint64_t kept[4] = {stat_of(with.store, "store_cache_bytes")};
    sk_store_snapshot *snapshot = sk_store_snapshot_take(with.store);
    for (int way = 0; way < 3; way++) {
        sk_store_iter *iter = way == 0   ? sk_store_pass(with.store, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE)
                              : way == 1 ? sk_store_iterate(with.store, snapshot, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE)
                                         : sk_store_iterate(with.store, NULL, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
        int rows = 0;
        while (sk_store_next(with.store, iter, &key, &value) > 0) rows++;
        assert_int_equal(rows, ROWS);
        sk_store_iter_free(with.store, iter);
        kept[way + 1] = stat_of(with.store, "store_cache_bytes");
    }
    sk_store_snapshot_free(with.store, snapshot);
    for (int way = 1; way < 3; way++) assert_in_range(kept[way], 0, kept[0] + ROWS * BYTES / 10); /* indexes may be kept */
    assert_true(kept[3] > kept[0] + ROWS * BYTES / 2);
    harness_end(&with);
}

/* What is committed faster than a slice a turn must not pile up. */
static void what_waits_to_be_placed_is_bounded(void **state)
{
    (void)state;
    harness with;
    char key[32];
    uint64_t most = 0;
    start(&with, SK_DURABILITY_OS, 1 << 20, 0);
    for (uint64_t number = 1; number <= 60; number++) {
        for (uint64_t i = 0; i < 12; i++)
            put_number(with.store, SK_CF_ROW, load_key(key, 'r', number * 12 + i), number, LARGE);
        uint64_t batch = sk_store_seal(with.store), durable;
        assert_int_equal(sk_store_reap(with.store, &durable), SK_OK);
        if (sk_store_pending_bytes(with.store) > 3 << 20) assert_int_equal(harness_commit(&with, batch), SK_OK);
        uint64_t now = stat_of(with.store, "store_unplaced_bytes");
        if (now > most) most = now;
    }
    print_message("at most %llu bytes waited\n", (unsigned long long)most);
    assert_true(most < 24 << 20);
    harness_end(&with);
}

/* -- a disk that fails ------------------------------------------------------------------------------------------------ */

static struct rlimit unlimited;

static void limit_files(rlim_t bytes)
{
    if (!unlimited.rlim_max) assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    struct rlimit limit = unlimited;
    if (bytes) limit.rlim_cur = bytes;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Goes on with the load until a commit or a run fails; returns the last number that is durable. */
static uint64_t load_until_full(harness *with, uint64_t last, int *error)
{
    uint64_t before, durable;
    assert_int_equal(sk_store_reap(with->store, &before), SK_OK);
    durable = before;
    for (uint64_t number = last + 1; number < last + 5000; number++) {
        load_put(with->store, number);
        uint64_t batch = sk_store_seal(with->store);
        *error = harness_commit(with, batch);
        sk_store_reap(with->store, &durable);
        if (*error != SK_OK) break;
    }
    return last + durable - before;
}

static void a_run_that_fails_loses_nothing(void **state)
{
    (void)state;
    static const rlim_t limits[] = {150000, 400000, 650000, 900000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        harness with;
        int error;
        start(&with, SK_DURABILITY_OS, i % 2 ? 500000 : 4096, i < 2 ? 0 : 50000);
        limit_files(limits[i]);
        uint64_t durable = load_until_full(&with, 0, &error);
        int again = sk_store_reopen(with.store);
        load_check(with.store, durable); /* of what is committed, as it is, from wherever it is */
        load_put(with.store, 77777);
        sk_store_seal(with.store);
        uint64_t reaped;
        int refused = sk_store_reap(with.store, &reaped), third = sk_store_reopen(with.store);
        load_check(with.store, durable);
        limit_files(0);
        assert_int_equal(error, SK_E_DISK_FULL);
        assert_int_equal(again, SK_E_DISK_FULL);
        assert_int_equal(refused, SK_E_DISK_FULL);
        assert_int_equal(third, SK_E_DISK_FULL);
        assert_int_equal(sk_store_reopen(with.store), SK_OK);
        uint64_t last = load_last(with.store);
        assert_in_range(last, durable, durable + 1); /* the one that failed may be there after all */
        load_check(with.store, last);
        for (uint64_t number = last + 1; number <= last + 40; number++) {
            load_put(with.store, number);
            assert_int_equal(harness_seal_commit(&with), SK_OK);
            if (number % 10 == 0) load_check(with.store, number);
        }
        open_again(&with);
        load_check(with.store, last + 40);
        harness_end(&with);
    }
}

/* Room for the probe of a reopen, and then not for the replay. */
static void a_replay_that_fails_is_tried_again(void **state)
{
    (void)state;
    harness with;
    char key[32];
    int error = SK_OK;
    start(&with, SK_DURABILITY_OS, (size_t)64 << 20, 0);
    uint64_t count = 0, seed = 1;
    for (size_t i = 8; i < LARGE; i++) filler[i] = (uint8_t)roll(&seed, 256);
    limit_files(2500000);
    while (error == SK_OK && count < 10000) {
        put_number(with.store, SK_CF_ROW, load_key(key, 'r', count), count + 1, LARGE);
        error = harness_seal_commit(&with);
        if (error == SK_OK) count++;
    }
    int again[4];
    for (int i = 0; i < 4; i++) {
        limit_files(i < 2 ? 1200000 : 100000);
        again[i] = sk_store_reopen(with.store);
        for (uint64_t at = 0; at < count; at++)
            assert_int_equal(number_of(with.store, SK_CF_ROW, load_key(key, 'r', at), NULL), at + 1);
    }
    limit_files(0);
    memset(filler, 0, sizeof filler);
    assert_int_equal(error, SK_E_DISK_FULL);
    for (int i = 0; i < 4; i++) assert_int_equal(again[i], SK_E_DISK_FULL);
    for (int i = 0; i < 2; i++) {
        if (i == 0) assert_int_equal(sk_store_reopen(with.store), SK_OK);
        if (i == 1) open_again(&with);
        for (uint64_t at = 0; at < count; at++)
            assert_int_equal(number_of(with.store, SK_CF_ROW, load_key(key, 'r', at), NULL), at + 1);
    }
    harness_end(&with);
}

static void durable_never_goes_back(void **state)
{
    (void)state;
    harness with;
    uint64_t durable, later;
    start(&with, SK_DURABILITY_ALWAYS, 0, 0);
    load_put(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    for (int i = 0; i < 3; i++) sk_store_seal(with.store); /* empty ones */
    assert_int_equal(sk_store_reap(with.store, &durable), SK_OK);
    assert_int_equal(durable, 4);
    limit_files(100000);
    int result = sk_store_reopen(with.store);
    limit_files(0);
    assert_int_equal(result, SK_E_DISK_FULL);
    assert_int_equal(sk_store_reap(with.store, &later), SK_E_DISK_FULL);
    assert_true(later >= durable);
    load_check(with.store, 1);
    assert_int_equal(sk_store_reopen(with.store), SK_OK);
    assert_int_equal(sk_store_reap(with.store, &later), SK_OK);
    assert_true(later > durable); /* the numbers given out while it failed are behind us */
    load_put(with.store, 2);
    assert_true(sk_store_seal(with.store) > later);
    assert_int_equal(sk_store_flush(with.store), SK_OK);
    load_check(with.store, 2);
    harness_end(&with);
}

/* Rows of before and after a start that neither overlay nor cache has any more: the filter of present rows must know
 * them, and not hide them. */
static void rows_are_found_in_their_place(void **state)
{
    (void)state;
    enum { ROWS = 3000, LEN = 100 };
    harness with;
    start(&with, SK_DURABILITY_OS, 4096, 64 << 10);
    for (uint32_t i = 1; i <= 2 * ROWS; i++) {
        put_number(with.store, SK_CF_ROW, sk_bytes_of(&i, sizeof i), i, LEN);
        if (i % 100 == 0) assert_int_equal(harness_seal_commit(&with), SK_OK);
        if (i != ROWS) continue;
        open_again(&with);
        while (!stat_of(with.store, "store_absent_rows_known")) usleep(1000);
    }
    drain(with.store);
    for (uint32_t i = 1; i <= 4 * ROWS; i++)
        assert_int_equal(number_of(with.store, SK_CF_ROW, sk_bytes_of(&i, sizeof i), NULL), i <= 2 * ROWS ? i : 0);
    harness_end(&with);
}

int main(int argc, char **argv)
{
    if (argc == 5) return load_until_killed(argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found_in_their_place),
        cmocka_unit_test(random_histories_agree_with_the_model),
        cmocka_unit_test(a_killed_process_leaves_whole_batches_in_order),
        cmocka_unit_test(a_clean_close_leaves_no_log),
        cmocka_unit_test(a_damaged_record_is_refused),
        cmocka_unit_test(an_overwritten_key_is_placed_once_a_run),
        cmocka_unit_test(committed_is_committed_wherever_it_is),
        cmocka_unit_test(the_row_cache_never_answers_with_something_older),
        cmocka_unit_test(a_snapshot_under_load_is_one_moment),
        cmocka_unit_test(an_iterator_shows_nothing_older_than_itself),
        cmocka_unit_test(an_iterator_of_a_snapshot_holds_nothing_in_memory),
        cmocka_unit_test(what_waits_to_be_placed_is_bounded),
        cmocka_unit_test(a_run_that_fails_loses_nothing),
        cmocka_unit_test(a_replay_that_fails_is_tried_again),
        cmocka_unit_test(durable_never_goes_back),
        cmocka_unit_test(a_pass_leaves_the_cache_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
