/* The placer on a real database: what runs write, when the log goes, and that a replay mends whatever a crash left. */
#include "storage/log.h"
#include "storage/placer.h"
#include "tests/unit/store_harness.h"

enum { KEYS = 120 };

/* A database without a store: batches come from an overlay, and are logged here as the commit thread does it. */
typedef struct {
    char path[64];
    sk_folder folder;
    sk_database database;
    sk_journal journal;
    sk_overlay overlay;
    sk_placer placer;
    uint64_t seed;
    uint32_t value;                    /* the last one given out */
    uint32_t model[SK_CF_COUNT][KEYS]; /* 0: nothing */
} bench;

static void open_database(bench *with)
{
    char error[SK_FOLDER_ERROR];
    sk_rocksdb_options options = {.path = with->path, .cache_bytes = 1 << 20, .write_buffer_bytes = 4 << 20,
                                  .max_open_files = 64};
    assert_int_equal(sk_folder_open(&with->folder, with->path, error), SK_OK);
    sk_database_init(&with->database, &options);
    assert_int_equal(sk_database_open(&with->database, &with->folder, false, error), SK_OK);
    sk_journal_init(&with->journal, with->folder.db_path, 1 << 16);
    sk_placer_init(&with->placer, &with->database, &with->journal);
}

static void close_database(bench *with)
{
    sk_placer_free(&with->placer);
    sk_journal_free(&with->journal);
    sk_database_free(&with->database);
    sk_folder_close(&with->folder);
}

static bench *start(void)
{
    bench *with = calloc(1, sizeof *with);
    char error[SK_FOLDER_ERROR];
    assert_non_null(with);
    strcpy(with->path, "/tmp/skerry-placer-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    open_database(with);
    sk_overlay_init(&with->overlay, 1, 0);
    assert_int_equal(sk_journal_restart(&with->journal, error), 0);
    return with;
}

static void end(bench *with)
{
    close_database(with);
    sk_overlay_free(&with->overlay);
    remove_tree(with->path);
    free(with);
}

/* The process dies: what is on disk stays, what was in memory is gone. */
static void crash(bench *with)
{
    close_database(with);
    open_database(with);
    sk_overlay_drop_all(&with->overlay);
}

/* What the commit thread does with a batch. */
static sk_batch *commit(bench *with)
{
    sk_batch *batch = sk_overlay_seal(&with->overlay);
    sk_buf record = {0};
    char error[SK_FOLDER_ERROR];
    for (const sk_change *change = batch->first; change; change = change->next) sk_log_append(&record, change);
    assert_int_equal(sk_journal_append(&with->journal, batch->number, sk_buf_view(&record), error), 0);
    sk_buf_free(&record);
    sk_placer_add(&with->placer, batch);
    return batch;
}

static void raw_put(bench *with, rocksdb_column_family_handle_t *family, sk_bytes key, sk_bytes value)
{
    char *message = NULL;
    rocksdb_put_cf(with->database.db, with->database.write_plain, family, (const char *)key.data, key.len,
                   (const char *)value.data, value.len, &message);
    assert_null(message);
}

static size_t count_family(bench *with, rocksdb_column_family_handle_t *family)
{
    size_t count = 0;
    rocksdb_iterator_t *iter = rocksdb_create_iterator_cf(with->database.db, with->database.read, family);
    for (rocksdb_iter_seek_to_first(iter); rocksdb_iter_valid(iter); rocksdb_iter_next(iter)) count++;
    rocksdb_iter_destroy(iter);
    return count;
}

static int count_record(void *self, uint64_t number, sk_bytes bytes)
{
    (void)number, (void)bytes;
    ++*(size_t *)self;
    return 0;
}

static size_t log_records(bench *with)
{
    sk_journal journal;
    char error[SK_FOLDER_ERROR];
    size_t count = 0;
    sk_journal_init(&journal, with->folder.db_path, 1 << 16);
    assert_int_equal(sk_journal_read(&journal, count_record, &count, error), 0);
    sk_journal_free(&journal);
    return count;
}

static void place(bench *with)
{
    char error[SK_FOLDER_ERROR];
    sk_placer_begin(&with->placer);
    while (with->placer.active) assert_in_range(sk_placer_step(&with->placer, error), 0, 1);
}

static int replay(bench *with, uint64_t *last)
{
    char error[SK_FOLDER_ERROR];
    sk_journal_close(&with->journal);
    return sk_placer_replay(&with->placer, last, error);
}

/* -- changes, to overlay and model ---------------------------------------------------------------------------------- */

/* Keys of very different lengths, prefixes of each other, with zeros at their ends, with much and little in common. In
 * ascending order. */
static sk_bytes key_of(size_t at)
{
    static uint8_t keys[8][64];
    static int turn;
    uint8_t *key = keys[turn++ % 8];
    memset(key, 'p', 40);
    size_t len = at / 40 * 20 + 1; /* 1, 21, 41 */
    key[0] = (uint8_t)(at / 40 + 'a');
    key[len] = (uint8_t)(at % 40 / 4);
    memset(key + len + 1, 0, at % 4);
    return sk_bytes_of(key, len + 1 + at % 4);
}

static sk_bytes bound(size_t at)
{
    return at < KEYS ? key_of(at) : SK_BYTES_NONE;
}

static void change_point(bench *with, sk_cf cf, size_t at, bool remove)
{
    uint32_t value = ++with->value;
    sk_overlay_change(&with->overlay, remove ? SK_CHANGE_REMOVE : SK_CHANGE_PUT, cf, key_of(at),
                      sk_bytes_of(&value, sizeof value));
    with->model[cf][at] = remove ? 0 : value;
}

static void change_range(bench *with, sk_cf cf, size_t from, size_t to)
{
    sk_overlay_remove_range(&with->overlay, cf, key_of(from), bound(to));
    for (size_t i = from; i < to && i < KEYS; i++) with->model[cf][i] = 0;
}

static void change_some(bench *with)
{
    for (uint32_t i = roll(&with->seed, 40); i > 0; i--) {
        sk_cf cf = (sk_cf)roll(&with->seed, SK_CF_COUNT);
        size_t at = roll(&with->seed, KEYS);
        uint32_t kind = roll(&with->seed, 30);
        if (kind < 29)
            change_point(with, cf, at, kind > 20);
        else
            change_range(with, cf, at, at + roll(&with->seed, KEYS));
    }
}

/* The families hold exactly what the model says. */
static void check_families(bench *with)
{
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        rocksdb_iterator_t *iter =
            rocksdb_create_iterator_cf(with->database.db, with->database.read, with->database.family[cf]);
        rocksdb_iter_seek_to_first(iter);
        for (size_t at = 0; at < KEYS; at++) {
            if (!with->model[cf][at]) continue;
            size_t len;
            assert_true(rocksdb_iter_valid(iter));
            const char *key = rocksdb_iter_key(iter, &len);
            assert_true(sk_bytes_equal(sk_bytes_of(key, len), key_of(at)));
            const char *value = rocksdb_iter_value(iter, &len);
            assert_int_equal(len, sizeof with->model[cf][at]);
            assert_memory_equal(value, &with->model[cf][at], len);
            rocksdb_iter_next(iter);
        }
        assert_false(rocksdb_iter_valid(iter));
        rocksdb_iter_destroy(iter);
    }
}

/* -- runs -------------------------------------------------------------------------------------------------------------- */

static void a_key_is_placed_once_however_often_it_was_written(void **state)
{
    (void)state;
    bench *with = start();
    for (int i = 0; i < 1000; i++) {
        change_point(with, SK_CF_ROW, 7, i % 3 == 1);
        commit(with);
    }
    assert_int_equal(log_records(with), 1000);
    assert_int_equal(count_family(with, with->database.family[SK_CF_ROW]), 0);
    place(with);
    assert_int_equal(with->placer.rows, 1);
    assert_int_equal(with->placer.coalesced, 999);
    assert_int_equal(with->placer.runs, 1);
    assert_int_equal(with->placer.placed, 1000);
    assert_int_equal(with->placer.count, 0);
    assert_int_equal(with->placer.bytes, 0);
    assert_int_equal(with->journal.count, 1); /* segments that were placed are gone */
    check_families(with);
    end(with);
}

/* Tombstones that RocksDB holds in a family, in tables or memory. */
static uint64_t tombstones(bench *with, sk_cf cf)
{
    uint64_t count = 0;
    rocksdb_column_family_handle_t *family = with->database.family[cf];
    assert_int_equal(rocksdb_property_int_cf(with->database.db, family, "rocksdb.num-deletes-active-mem-table", &count), 0);
    const rocksdb_livefiles_t *files = rocksdb_livefiles(with->database.db);
    for (int i = 0; i < rocksdb_livefiles_count(files); i++)
        if (strcmp(rocksdb_livefiles_column_family_name(files, i), cf == SK_CF_ROW ? "default" : "staged") == 0)
            count += rocksdb_livefiles_deletions(files, i);
    rocksdb_livefiles_destroy(files);
    return count;
}

/* It would have to be stepped over by whoever goes through the rows, until a compaction comes by. */
static void a_removal_of_what_was_never_there_leaves_nothing(void **state)
{
    (void)state;
    bench *with = start();
    for (size_t at = 0; at < KEYS; at++) change_point(with, SK_CF_ROW, at, false);
    commit(with);
    for (size_t at = 0; at < KEYS; at++) change_point(with, SK_CF_ROW, at, true);
    for (size_t at = 0; at < KEYS; at++) change_point(with, SK_CF_STAGED, at, at % 2);
    commit(with);
    place(with);
    assert_int_equal(tombstones(with, SK_CF_ROW) + tombstones(with, SK_CF_STAGED), 0);
    for (size_t at = 0; at < KEYS; at++) change_point(with, SK_CF_STAGED, at, true);
    commit(with);
    place(with);
    assert_int_equal(tombstones(with, SK_CF_STAGED), KEYS / 2); /* those are needed */
    check_families(with);
    end(with);
}

enum { MANY = 30000 };

/* A run that becomes a table: many rows, or their removal. */
static void place_many(bench *with, bool remove)
{
    static const char value[100];
    for (uint32_t i = 0; i < MANY; i++) {
        char key[64];
        int len = snprintf(key, sizeof key, "%060u", i);
        sk_overlay_change(&with->overlay, remove ? SK_CHANGE_REMOVE : SK_CHANGE_PUT, SK_CF_ROW,
                          sk_bytes_of(key, (size_t)len), sk_bytes_of(value, sizeof value));
    }
    commit(with);
    place(with);
}

static void many_tombstones_are_compacted_soon(void **state)
{
    (void)state;
    bench *with = start();
    place_many(with, false);
    assert_int_equal(count_family(with, with->database.family[SK_CF_ROW]), MANY);
    place_many(with, true);
    assert_int_equal(with->placer.tables, 2);
    assert_int_equal(count_family(with, with->database.family[SK_CF_ROW]), 0);
    for (int i = 0; i < 6000 && tombstones(with, SK_CF_ROW); i++) usleep(10000); /* RocksDB's own thread does it */
    assert_int_equal(tombstones(with, SK_CF_ROW), 0);
    end(with);
}

static void what_a_range_removed_is_never_written(void **state)
{
    (void)state;
    bench *with = start();
    for (size_t at = 0; at < KEYS; at++) change_point(with, SK_CF_HISTORY, at, false);
    commit(with);
    for (size_t at = 0; at < KEYS; at++) change_point(with, SK_CF_META, at, false); /* which the range does not mean */
    change_range(with, SK_CF_HISTORY, 0, 100);
    change_point(with, SK_CF_HISTORY, 5, false); /* and this came after it */
    commit(with);
    place(with);
    assert_int_equal(with->placer.rows, 20 + 1 + KEYS);
    check_families(with);
    end(with);
}

static void open_ends_reach_what_is_on_disk(void **state)
{
    (void)state;
    bench *with = start();
    raw_put(with, with->database.family[SK_CF_STAGED], sk_bytes_str("\xff\xff\xff\xff\xff"), sk_bytes_str("old"));
    raw_put(with, with->database.family[SK_CF_STAGED], SK_BYTES_NONE, sk_bytes_str("old"));
    for (int round = 0; round < 2; round++) { /* the second time the family is empty */
        sk_overlay_remove_range(&with->overlay, SK_CF_STAGED, SK_BYTES_NONE, SK_BYTES_NONE);
        sk_overlay_remove_range(&with->overlay, SK_CF_STAGED, sk_bytes_str("b"), SK_BYTES_NONE);
        change_point(with, SK_CF_STAGED, 3, false);
        commit(with);
        place(with);
        check_families(with);
        change_range(with, SK_CF_STAGED, 0, KEYS);
        commit(with);
        place(with);
        check_families(with);
    }
    end(with);
}

/* Invariant 2: until the last slice is written every record is there. */
static void the_log_stays_until_the_last_slice(void **state)
{
    (void)state;
    bench *with = start();
    static uint8_t value[40000];
    char error[SK_FOLDER_ERROR];
    for (size_t i = 0; i < 24; i++) {
        sk_overlay_change(&with->overlay, SK_CHANGE_PUT, SK_CF_ROW, key_of(i), sk_bytes_of(value, sizeof value));
        commit(with);
    }
    sk_placer_begin(&with->placer);
    change_point(with, SK_CF_META, 1, false); /* comes while the run is under way, and waits for the next */
    sk_batch *late = commit(with);
    int steps = 1;
    for (; sk_placer_step(&with->placer, error) == 1; steps++) {
        assert_int_equal(log_records(with), 25);
        assert_int_equal(with->placer.placed, 0);
        sk_placer_begin(&with->placer); /* nothing, while one is active */
    }
    assert_true(steps >= 4);
    assert_int_equal(with->journal.count, 1);
    assert_int_equal(with->placer.placed, 24);
    assert_int_equal(with->placer.count, 1);
    assert_ptr_equal(with->placer.queue[0], late);
    assert_int_equal(count_family(with, with->database.family[SK_CF_META]), 0);
    place(with);
    assert_int_equal(with->journal.count, 1); /* segments that were placed are gone */
    assert_int_equal(with->placer.placed, 25);
    sk_placer_begin(&with->placer); /* nothing to do */
    assert_false(with->placer.active);
    end(with);
}

/* -- replay ------------------------------------------------------------------------------------------------------------ */

static void an_empty_log_is_replayed(void **state)
{
    (void)state;
    bench *with = start();
    uint64_t last = 99;
    assert_int_equal(replay(with, &last), SK_OK);
    assert_int_equal(last, 0);
    end(with);
}

/* Commits, runs, half runs, crashes in all of them. */
static void random_histories_survive_crashes(void **state)
{
    (void)state;
    uint64_t first = getenv("SK_SEED") ? strtoull(getenv("SK_SEED"), NULL, 10) : 1;
    uint64_t count = getenv("SK_SEED") ? 1 : 3;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu (again: SK_SEED=%llu)\r", (unsigned long long)seed, (unsigned long long)seed);
        bench *with = start();
        with->seed = seed;
        for (int round = 0; round < 12; round++) {
            uint64_t last, expected = 0;
            for (uint32_t batches = roll(&with->seed, 30); batches > 0; batches--) {
                change_some(with);
                if (with->overlay.open->first) expected = commit(with)->number;
                if (roll(&with->seed, 8) == 0) place(with);
            }
            crash(with);
            assert_int_equal(replay(with, &last), SK_OK);
            assert_int_equal(last, expected);
            assert_int_equal(log_records(with), 0);
            check_families(with);
        }
        end(with);
    }
    print_message("\n");
}

static uint8_t large[30000];

/* A tenth of a model's key, and bytes to fill slices and pieces with. */
static void change_large(bench *with, sk_cf cf, size_t at)
{
    change_point(with, cf, at, false);
    char key[16];
    snprintf(key, sizeof key, "z%06u", with->value % 500);
    memcpy(large, &with->value, sizeof with->value);
    sk_overlay_change(&with->overlay, SK_CHANGE_PUT, cf, sk_bytes_str(key), sk_bytes_of(large, sizeof large));
}

static void drop_large(bench *with)
{
    for (int cf = 0; cf < SK_CF_COUNT; cf++)
        sk_overlay_remove_range(&with->overlay, (sk_cf)cf, sk_bytes_str("z"), SK_BYTES_NONE);
}

/* A crash between any two slices of a run: some keys are placed, some not, and ranges have gone before. The replay meets
 * newer values than its records hold, and must go over them to the end. */
static void a_half_run_is_mended(void **state)
{
    (void)state;
    for (int steps = 0; steps < 12; steps += 1 + steps / 4) {
        bench *with = start();
        char error[SK_FOLDER_ERROR];
        uint64_t last;
        with->seed = (uint64_t)steps + 7;
        for (int i = 0; i < 100; i++) {
            change_some(with);
            change_large(with, (sk_cf)roll(&with->seed, SK_CF_COUNT), roll(&with->seed, KEYS));
            commit(with);
            if (i == 40) place(with);
        }
        sk_placer_begin(&with->placer);
        for (int step = 0; step < steps && with->placer.active; step++)
            if (sk_placer_step(&with->placer, error) == 0) break;
        change_some(with); /* committed after the run began */
        drop_large(with);
        commit(with);
        crash(with);
        assert_int_equal(replay(with, &last), SK_OK);
        assert_int_equal(last, 101);
        assert_int_equal(log_records(with), 0);
        check_families(with);
        end(with);
    }
}

/* Rows and meta enough for tables, staged enough for slices only, ranges over all of them; on top of an earlier run. */
static void change_for_tables(bench *with, int count)
{
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < 20; k++)
            change_point(with, (sk_cf)roll(&with->seed, SK_CF_COUNT), roll(&with->seed, KEYS), k % 4 == 0);
        size_t from = roll(&with->seed, KEYS - 10); /* an open end would take the large ones as well */
        if (i % 8 == 0) change_range(with, (sk_cf)roll(&with->seed, SK_CF_COUNT), from, from + roll(&with->seed, 9));
        change_large(with, i % 2 ? SK_CF_ROW : SK_CF_META, roll(&with->seed, KEYS));
        if (i % 10 == 0) change_large(with, SK_CF_STAGED, roll(&with->seed, KEYS));
        commit(with);
    }
}

static const char *segment_path(const bench *with, const char *folder, uint64_t segment)
{
    static char paths[2][128];
    static int turn;
    char *path = paths[turn++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s/%016llx", with->path, folder, (unsigned long long)segment);
    return path;
}

/* Every segment of the log also in another folder, or back from there. */
static void link_segments(const bench *with, const char *from, const char *to)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", with->path, to);
    if (mkdir(path, 0700) < 0) assert_int_equal(errno, EEXIST);
    for (uint64_t segment = 1; segment < 1000; segment++)
        if (link(segment_path(with, from, segment), segment_path(with, to, segment)) < 0)
            assert_true(errno == ENOENT || errno == EEXIST);
}

/* A crash between any two steps of a run with tables, and between its last write and the removal of its log: the replay
 * gives what the log's end says. */
static void a_half_run_with_tables_is_mended(void **state)
{
    (void)state;
    bool finished = false;
    for (int steps = 0; !finished; steps++) {
        for (int log_stays = 0; log_stays <= 1; log_stays++) {
            bench *with = start();
            char error[SK_FOLDER_ERROR];
            uint64_t last;
            int left = steps;
            with->seed = 11;
            change_for_tables(with, 120);
            place(with);
            assert_true(with->placer.tables >= 2);
            change_for_tables(with, 130);
            link_segments(with, "log", "before");
            sk_placer_begin(&with->placer);
            while (left > 0 && with->placer.active) {
                assert_in_range(sk_placer_step(&with->placer, error), 0, 1);
                left--;
            }
            finished = !with->placer.active;
            crash(with);
            if (log_stays) link_segments(with, "before", "log");
            assert_int_equal(replay(with, &last), SK_OK);
            assert_int_equal(last, 250);
            drop_large(with);
            commit(with);
            place(with);
            check_families(with);
            end(with);
        }
        assert_true(steps < 40);
    }
}

static void a_table_is_newer_than_what_the_memtable_has(void **state)
{
    (void)state;
    bench *with = start();
    for (int round = 0; round < 6; round++) { /* small runs and large ones over the same keys, removals among them */
        for (size_t at = 0; at < KEYS; at++)
            if (at % 7 != (size_t)round) change_point(with, SK_CF_ROW, at, at % 5 == (size_t)round % 5);
        change_range(with, SK_CF_ROW, (size_t)round * 10, (size_t)round * 10 + 15);
        change_point(with, SK_CF_ROW, (size_t)round * 10 + 3, false);
        for (int i = 0; round % 2 && i < 40; i++) change_large(with, SK_CF_ROW, (size_t)i);
        commit(with);
        place(with);
        assert_int_equal(with->placer.tables, (round + 1) / 2);
        drop_large(with);
        commit(with);
        place(with);
        check_families(with);
    }
    crash(with);
    uint64_t last;
    assert_int_equal(replay(with, &last), SK_OK);
    check_families(with);
    end(with);
}

/* More than a replay holds at a time, after a half run that had placed what only the last piece knows. */
static void a_long_log_is_replayed_in_pieces(void **state)
{
    (void)state;
    bench *with = start();
    char error[SK_FOLDER_ERROR];
    uint64_t last;
    with->seed = 3;
    for (int i = 0; i < 75; i++) {
        change_some(with);
        for (int k = 0; k < 20; k++) change_large(with, (sk_cf)(k % SK_CF_COUNT), roll(&with->seed, KEYS));
        commit(with);
    }
    sk_placer_begin(&with->placer);
    assert_int_equal(sk_placer_step(&with->placer, error), 1);
    drop_large(with);
    commit(with);
    crash(with);
    assert_int_equal(replay(with, &last), SK_OK);
    assert_int_equal(last, 76);
    assert_true(with->placer.runs >= 2);
    assert_int_equal(log_records(with), 0);
    check_families(with);
    end(with);
}

static void damage_is_refused_with_a_sentence(void **state)
{
    (void)state;
    static const sk_bytes cases[] = {
        {(const uint8_t *)"\xc1", 1},
        {(const uint8_t *)"\x00\xc4\1k\xc4\1v\x00\xc4\1k\xc4\x02v", 13},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bench *with = start();
        char error[SK_FOLDER_ERROR] = "";
        uint64_t last;
        change_point(with, SK_CF_ROW, 1, false);
        commit(with);
        assert_int_equal(sk_journal_append(&with->journal, 2, cases[i], error), 0);
        crash(with);
        assert_int_equal(sk_placer_replay(&with->placer, &last, error), SK_E_CORRUPT);
        assert_non_null(strstr(error, "log"));
        assert_int_equal(log_records(with), 2); /* nothing is thrown away: somebody may want to look */
        assert_int_equal(count_family(with, with->database.family[SK_CF_ROW]), 0);
        end(with);
    }
}

static void a_reset_forgets_the_run(void **state)
{
    (void)state;
    bench *with = start();
    change_point(with, SK_CF_ROW, 1, false);
    change_range(with, SK_CF_ROW, 5, 7);
    commit(with);
    sk_placer_begin(&with->placer);
    sk_placer_reset(&with->placer);
    sk_overlay_drop_all(&with->overlay);
    assert_false(with->placer.active);
    assert_int_equal(with->placer.bytes, 0);
    change_point(with, SK_CF_ROW, 1, false);
    commit(with);
    place(with);
    check_families(with);
    end(with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_placed_once_however_often_it_was_written),
        cmocka_unit_test(a_removal_of_what_was_never_there_leaves_nothing),
        cmocka_unit_test(many_tombstones_are_compacted_soon),
        cmocka_unit_test(what_a_range_removed_is_never_written),
        cmocka_unit_test(open_ends_reach_what_is_on_disk),
        cmocka_unit_test(the_log_stays_until_the_last_slice),
        cmocka_unit_test(an_empty_log_is_replayed),
        cmocka_unit_test(random_histories_survive_crashes),
        cmocka_unit_test(a_half_run_is_mended),
        cmocka_unit_test(a_half_run_with_tables_is_mended),
        cmocka_unit_test(a_table_is_newer_than_what_the_memtable_has),
        cmocka_unit_test(a_long_log_is_replayed_in_pieces),
        cmocka_unit_test(damage_is_refused_with_a_sentence),
        cmocka_unit_test(a_reset_forgets_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
