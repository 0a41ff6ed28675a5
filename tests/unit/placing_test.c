/* The store's threads on a real database: when runs begin and when they do not, that nobody waits for ever, and that the log
 * is on its way to the disk. */
#include "storage/committer.h"
#include "storage/log.h"
#include "tests/unit/store_harness.h"

enum { PLACE = 100000, SETTLE_MS = 300 }; /* far more than the 50 ms after which an idle thread begins a run */

typedef struct {
    char path[64];
    sk_folder folder;
    sk_database database;
    sk_journal journal;
    sk_failure failure;
    sk_placing placing;
    sk_overlay overlay;
} bench;

enum { RECLAIM_MS = 60000 }; /* later than any of this takes */

static void start_with(bench *with, size_t place_bytes, size_t segment_bytes, uint32_t reclaim_ms)
{
    char error[SK_FOLDER_ERROR];
    memset(with, 0, sizeof *with);
    strcpy(with->path, "/tmp/skerry-placing-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    sk_rocksdb_options options = {.path = with->path, .cache_bytes = 1 << 20, .write_buffer_bytes = 4 << 20,
                                  .place_bytes = place_bytes, .reclaim_ms = reclaim_ms, .max_open_files = 64};
    assert_int_equal(sk_folder_open(&with->folder, with->path, error), SK_OK);
    sk_database_init(&with->database, &options);
    assert_int_equal(sk_database_open(&with->database, &with->folder, false, error), SK_OK);
    sk_journal_init(&with->journal, with->folder.db_path, segment_bytes);
    assert_int_equal(sk_journal_restart(&with->journal, error), 0);
    sk_failure_init(&with->failure);
    sk_placing_init(&with->placing, &with->database, &with->journal, &with->failure, &options);
    sk_overlay_init(&with->overlay, 1, 0);
    assert_int_equal(sk_placing_start(&with->placing), SK_OK);
}

static void start(bench *with)
{
    start_with(with, PLACE, 1 << 16, RECLAIM_MS);
}

static void end(bench *with)
{
    sk_placing_stop(&with->placing, true);
    sk_placing_free(&with->placing);
    sk_failure_free(&with->failure);
    sk_journal_free(&with->journal);
    sk_database_free(&with->database);
    sk_folder_close(&with->folder);
    sk_overlay_free(&with->overlay);
    remove_tree(with->path);
}

/* A batch of so many bytes, as the commit thread hands it over. Returns its number. */
static uint64_t commit(bench *with, size_t len)
{
    static uint8_t value[1 << 20];
    char key[32], error[SK_FOLDER_ERROR];
    snprintf(key, sizeof key, "%08llu", (unsigned long long)with->overlay.open->number);
    sk_overlay_change(&with->overlay, SK_CHANGE_PUT, SK_CF_ROW, sk_bytes_str(key), sk_bytes_of(value, len));
    sk_batch *batch = sk_overlay_seal(&with->overlay);
    sk_buf record = {0};
    sk_log_append(&record, batch->first);
    assert_int_equal(sk_journal_append(&with->journal, batch->number, sk_buf_view(&record), error), 0);
    sk_buf_free(&record);
    sk_placing_add(&with->placing, &batch, 1);
    return batch->number;
}

static uint64_t placed(bench *with)
{
    return atomic_load(&with->placing.placed);
}

static void wait_placed(bench *with, uint64_t number)
{
    for (int i = 0; placed(with) < number && i < 30000; i++) usleep(1000);
    assert_int_equal(placed(with), number);
}

static size_t rows(bench *with)
{
    size_t count = 0;
    rocksdb_iterator_t *iter =
        rocksdb_create_iterator_cf(with->database.db, with->database.read, with->database.family[SK_CF_ROW]);
    for (rocksdb_iter_seek_to_first(iter); rocksdb_iter_valid(iter); rocksdb_iter_next(iter)) count++;
    rocksdb_iter_destroy(iter);
    return count;
}

static void what_comes_is_placed_without_being_asked(void **state)
{
    (void)state;
    bench with;
    start(&with);
    wait_placed(&with, commit(&with, 10)); /* nothing more comes */
    for (int i = 0; i < 50; i++) commit(&with, 10000); /* enough of it */
    wait_placed(&with, 51);
    assert_int_equal(rows(&with), 51);
    assert_int_equal(atomic_load(&with.placing.bytes), 0);
    assert_int_equal(atomic_load(&with.placing.rows), 51);
    assert_true(atomic_load(&with.placing.runs) >= 2);
    end(&with);
}

static void memory_of_runs_goes_when_nothing_comes(void **state)
{
    (void)state;
    for (int idle = 0; idle <= 1; idle++) {
        bench with;
        start_with(&with, PLACE, 1 << 16, idle ? 100 : RECLAIM_MS);
        assert_int_equal(sk_placing_hold(&with.placing), SK_OK);
        for (int i = 0; i < 50; i++) commit(&with, 10000);
        sk_placing_release(&with.placing); /* one run */
        wait_placed(&with, 50);
        if (idle) usleep(2000000);
        sk_placing_stop(&with.placing, false);
        assert_true(idle ? !with.placing.placer.run.points : with.placing.placer.run.points != NULL);
        end(&with);
    }
}

static void no_run_begins_while_somebody_holds(void **state)
{
    (void)state;
    bench with;
    start(&with);
    for (uint64_t round = 1; round <= 3; round++) {
        uint64_t upto = commit(&with, 10);
        assert_int_equal(sk_placing_hold(&with.placing), SK_OK);
        assert_int_equal(placed(&with), upto);
        assert_int_equal(rows(&with), upto);
        for (int i = 0; i < 15; i++) commit(&with, 10000); /* more than a run's worth, and then nothing for a while */
        usleep(SETTLE_MS * 1000);
        assert_int_equal(placed(&with), upto);
        assert_int_equal(rows(&with), upto);
        sk_placing_release(&with.placing);
        wait_placed(&with, upto + 15);
        assert_int_equal(rows(&with), upto + 15);
    }
    end(&with);
}

typedef struct {
    bench *with;
    _Atomic bool stop, done;
    int result;
    uint64_t placed_then;
} asker;

static void *hold_once(void *argument)
{
    asker *of = argument;
    of->result = sk_placing_hold(&of->with->placing);
    of->placed_then = placed(of->with);
    atomic_store(&of->done, true);
    if (!of->result) sk_placing_release(&of->with->placing);
    return NULL;
}

/* The second asks for more than is placed, which may not come while the first holds. */
static void a_second_one_waits_for_the_first(void **state)
{
    (void)state;
    bench with;
    pthread_t thread;
    start(&with);
    assert_int_equal(sk_placing_hold(&with.placing), SK_OK);
    uint64_t upto = commit(&with, 10);
    asker second = {.with = &with};
    assert_int_equal(pthread_create(&thread, NULL, hold_once, &second), 0);
    usleep(SETTLE_MS * 1000);
    assert_int_equal(rows(&with), 0);
    assert_false(atomic_load(&second.done));
    sk_placing_release(&with.placing);
    pthread_join(thread, NULL);
    assert_int_equal(second.result, SK_OK);
    assert_int_equal(second.placed_then, upto);
    end(&with);
}

static void *commit_on(void *argument)
{
    asker *of = argument;
    while (!atomic_load(&of->stop)) {
        commit(of->with, 20000);
        sk_placing_wait_for_room(&of->with->placing);
    }
    return NULL;
}

/* A hold comes through under a load that always has a run's worth ready, and is of one moment. */
static void a_hold_comes_through_under_load(void **state)
{
    (void)state;
    bench with;
    pthread_t thread;
    start(&with);
    asker load = {.with = &with};
    assert_int_equal(pthread_create(&thread, NULL, commit_on, &load), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(sk_placing_hold(&with.placing), SK_OK);
        uint64_t upto = placed(&with);
        for (int k = 0; k < 3; k++) assert_int_equal(rows(&with), upto);
        assert_int_equal(placed(&with), upto);
        sk_placing_release(&with.placing);
    }
    atomic_store(&load.stop, true);
    pthread_join(thread, NULL);
    end(&with);
}

static void a_stop_places_all_and_an_abandoned_one_nothing(void **state)
{
    (void)state;
    for (int abandon = 0; abandon <= 1; abandon++) {
        bench with;
        start(&with);
        assert_int_equal(sk_placing_hold(&with.placing), SK_OK); /* so that it is the stop that decides */
        uint64_t last = 0;
        for (int i = 0; i < 20; i++) last = commit(&with, 20000);
        sk_placing_stop(&with.placing, abandon);
        sk_placing_stop(&with.placing, abandon); /* nothing to do */
        assert_int_equal(placed(&with), abandon ? 0 : last);
        assert_int_equal(rows(&with), abandon ? 0 : last);
        sk_placing_release(&with.placing);
        sk_placing_forget(&with.placing, last);
        assert_int_equal(placed(&with), last);
        assert_int_equal(atomic_load(&with.placing.bytes), 0);
        assert_int_equal(sk_placing_start(&with.placing), SK_OK);
        wait_placed(&with, commit(&with, 10));
        end(&with);
    }
}

/* -- nobody waits for ever ------------------------------------------------------------------------------------------ */

static void *wait_for_room(void *argument)
{
    asker *of = argument;
    sk_placing_wait_for_room(&of->with->placing);
    atomic_store(&of->done, true);
    return NULL;
}

static void wait_until(_Atomic bool *done)
{
    for (int i = 0; !atomic_load(done) && i < 30000; i++) usleep(1000);
    assert_true(atomic_load(done));
}

/* While it is held nothing is placed, so that there is no room: a failure, a stop or a release ends the waiting. */
static void waiting_for_room_ends(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        bench with;
        pthread_t thread;
        start(&with);
        assert_int_equal(sk_placing_hold(&with.placing), SK_OK);
        for (int i = 0; i < 40; i++) commit(&with, 20000);
        asker waiter = {.with = &with};
        assert_int_equal(pthread_create(&thread, NULL, wait_for_room, &waiter), 0);
        usleep(SETTLE_MS * 1000);
        assert_false(atomic_load(&waiter.done));
        if (how == 0) sk_failure_set(&with.failure, SK_E_IO, "a test");
        if (how == 1) sk_placing_stop(&with.placing, true);
        if (how == 2) sk_placing_release(&with.placing);
        wait_until(&waiter.done);
        pthread_join(thread, NULL);
        if (how == 2) wait_placed(&with, 40);
        end(&with);
    }
}

/* A commit fails while somebody waits to hold: the placing thread has nothing to run then, and must say so. */
static void a_failure_elsewhere_ends_a_hold(void **state)
{
    (void)state;
    bench with;
    pthread_t thread;
    start(&with);
    assert_int_equal(sk_placing_hold(&with.placing), SK_OK);
    commit(&with, 10);
    asker second = {.with = &with};
    assert_int_equal(pthread_create(&thread, NULL, hold_once, &second), 0);
    usleep(SETTLE_MS * 1000);
    sk_failure_set(&with.failure, SK_E_DISK_FULL, "a test");
    wait_until(&second.done);
    pthread_join(thread, NULL);
    assert_int_equal(second.result, SK_E_DISK_FULL);
    sk_placing_release(&with.placing);
    assert_int_equal(sk_placing_hold(&with.placing), SK_E_DISK_FULL);
    commit(&with, 10);
    usleep(SETTLE_MS * 1000);
    assert_int_equal(placed(&with), 0); /* nothing begins after a failure */
    sk_placing_stop(&with.placing, false);
    assert_int_equal(placed(&with), 0);
    assert_int_equal(sk_placing_hold(&with.placing), SK_E_DISK_FULL);
    sk_failure_reset(&with.failure, 0);
    assert_int_equal(sk_placing_hold(&with.placing), SK_E_IO); /* no thread */
    end(&with);
}

/* A run that fails keeps what it had not placed, and says why. */
static void a_run_that_fails_is_a_failure(void **state)
{
    (void)state;
    bench with;
    char text[SK_FOLDER_ERROR];
    start(&with);
    wait_placed(&with, commit(&with, 10));
    assert_int_equal(mkdir(with.database.table_path, 0700), 0); /* where the next table should be made */
    commit(&with, SK_PLACER_TABLE); /* enough for one */
    assert_true(sk_placing_hold(&with.placing) < 0);
    sk_failure_text(&with.failure, text);
    assert_true(strlen(text) > 10);
    assert_int_equal(placed(&with), 1);
    assert_true(atomic_load(&with.placing.bytes) > 900000);
    sk_placing_wait_for_room(&with.placing); /* returns */
    end(&with);
}

/* -- the commit thread ------------------------------------------------------------------------------------------------ */

static bool sleeps(sk_committer *committer)
{
    pthread_mutex_lock(&committer->worker.lock);
    bool asleep = committer->asleep;
    pthread_mutex_unlock(&committer->worker.lock);
    return asleep;
}

/* Of the log, once the thread has nothing to do. */
static size_t on_the_way(bench *with, sk_committer *committer)
{
    while (!sleeps(committer)) usleep(1000);
    pthread_mutex_lock(&committer->worker.lock);
    size_t bytes = with->journal.on_the_way;
    pthread_mutex_unlock(&committer->worker.lock);
    return bytes;
}

/* A sync, which others may wait for, finds little that is not on its way, whoever wrote it: `here`, by the thread that
 * submits, or else by the commit thread. */
static void the_log_is_written_before_it_is_synced(bool here)
{
    enum { BATCHES = 60, SMALL = 40 << 10, LARGE = 80 << 10, MOST = 1 << 20, PATIENCE_MS = 30000 };
    bench with;
    start_with(&with, 2 * BATCHES * LARGE, 2 * BATCHES * LARGE, RECLAIM_MS);
    sk_rocksdb_options options = {.durability = SK_DURABILITY_INTERVAL, .interval_ms = 3600000};
    sk_committer committer;
    sk_committer_init(&committer, &with.journal, &with.folder, &with.placing, &with.failure, &options);
    assert_int_equal(sk_committer_start(&committer), SK_OK);
    static uint8_t value[LARGE];
    size_t written = 0, by_others = 0;
    for (uint32_t i = 0; i < BATCHES; i++) {
        while (!sleeps(&committer)) usleep(1000);
        sk_overlay_change(&with.overlay, SK_CHANGE_PUT, SK_CF_ROW, sk_bytes_of(&i, sizeof i),
                          sk_bytes_of(value, here ? SMALL : LARGE));
        sk_batch *batch = sk_overlay_seal(&with.overlay);
        sk_committer_submit(&committer, batch);
        by_others += atomic_load(&committer.durable) == batch->number;
        written += batch->bytes;
    }
    if (here) assert_true(by_others > BATCHES / 2); /* now and then the thread has something to do */
    for (int ms = 0; on_the_way(&with, &committer) + MOST < written && ms < PATIENCE_MS; ms++) usleep(1000);
    assert_true(on_the_way(&with, &committer) + MOST >= written);
    sk_committer_stop(&committer, false);
    sk_committer_free(&committer);
    end(&with);
}

static void what_the_commit_thread_writes_is_on_its_way(void **state)
{
    (void)state;
    the_log_is_written_before_it_is_synced(false);
}

static void what_others_write_is_on_its_way(void **state)
{
    (void)state;
    the_log_is_written_before_it_is_synced(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_is_placed_without_being_asked),
        cmocka_unit_test(memory_of_runs_goes_when_nothing_comes),
        cmocka_unit_test(no_run_begins_while_somebody_holds),
        cmocka_unit_test(a_second_one_waits_for_the_first),
        cmocka_unit_test(a_hold_comes_through_under_load),
        cmocka_unit_test(a_stop_places_all_and_an_abandoned_one_nothing),
        cmocka_unit_test(waiting_for_room_ends),
        cmocka_unit_test(a_failure_elsewhere_ends_a_hold),
        cmocka_unit_test(a_run_that_fails_is_a_failure),
        cmocka_unit_test(what_the_commit_thread_writes_is_on_its_way),
        cmocka_unit_test(what_others_write_is_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
