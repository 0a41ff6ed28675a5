/* The filter of present rows: never "no" to a key that was added or learned, seldom "maybe" to another. */
#include "storage/overlay.h"
#include "storage/presence.h"
#include "tests/unit/store_harness.h"

enum { BYTES = 8000, ENOUGH = 8000 }; /* as many keys as bytes: 8 bits each */

typedef struct {
    char path[64];
    sk_folder folder;
    sk_database database;
    sk_presence presence;
} bench;

static bench *start(size_t filter_bytes)
{
    bench *with = calloc(1, sizeof *with);
    char error[SK_FOLDER_ERROR];
    assert_non_null(with);
    strcpy(with->path, "/tmp/skerry-presence-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    sk_rocksdb_options options = {.path = with->path, .cache_bytes = 1 << 20, .write_buffer_bytes = 4 << 20,
                                  .max_open_files = 64};
    assert_int_equal(sk_folder_open(&with->folder, with->path, error), SK_OK);
    sk_database_init(&with->database, &options);
    assert_int_equal(sk_database_open(&with->database, &with->folder, false, error), SK_OK);
    sk_presence_init(&with->presence, SK_CF_ROW, filter_bytes);
    return with;
}

static void end(bench *with)
{
    sk_presence_free(&with->presence);
    sk_database_free(&with->database);
    sk_folder_close(&with->folder);
    remove_tree(with->path);
    free(with);
}

static uint64_t hash_of(unsigned number)
{
    return sk_overlay_hash(SK_CF_ROW, sk_bytes_of(&number, sizeof number));
}

static void put_rows(bench *with, sk_cf cf, unsigned from, unsigned to)
{
    char *error = NULL;
    for (unsigned i = from; i < to; i++)
        rocksdb_put_cf(with->database.db, with->database.write_plain, with->database.family[cf], (const char *)&i, sizeof i,
                       "v", 1, &error);
    assert_null(error);
}

/* Until its thread has come to its end by itself. */
static void learned(bench *with)
{
    sk_worker *worker = &with->presence.worker;
    assert_true(worker->running);
    assert_int_equal(pthread_join(worker->thread, NULL), 0);
    worker->running = false;
}

static unsigned maybes(const bench *with, unsigned from, unsigned to)
{
    unsigned count = 0;
    for (unsigned i = from; i < to; i++) count += sk_presence_maybe(&with->presence, hash_of(i));
    return count;
}

static void nothing_is_known_before_it_has_learned(void **state)
{
    (void)state;
    bench *with = start(BYTES);
    assert_int_equal(maybes(with, 0, 100), 100);
    sk_presence_learn(&with->presence, &with->database);
    learned(with);
    assert_int_equal(maybes(with, 0, 100), 0);
    sk_presence_stop(&with->presence);
    assert_int_equal(maybes(with, 0, 100), 100);
    end(with);
}

static void what_was_there_and_what_comes_is_known(void **state)
{
    (void)state;
    bench *with = start(BYTES);
    put_rows(with, SK_CF_ROW, 0, ENOUGH / 2);
    put_rows(with, SK_CF_HISTORY, 100000, 100000 + ENOUGH); /* of another family: not its matter */
    for (unsigned i = ENOUGH / 2; i < ENOUGH * 3 / 4; i++) sk_presence_add(&with->presence, hash_of(i));
    sk_presence_learn(&with->presence, &with->database);
    learned(with);
    for (unsigned i = ENOUGH * 3 / 4; i < ENOUGH; i++) sk_presence_add(&with->presence, hash_of(i));
    assert_int_equal(maybes(with, 0, ENOUGH), ENOUGH);
    assert_in_range(maybes(with, 100000, 100000 + ENOUGH), 1, ENOUGH / 15); /* 5 % */
    end(with);
}

static void a_database_with_too_many_keys_is_not_read(void **state)
{
    (void)state;
    bench *with = start(BYTES / 10);
    put_rows(with, SK_CF_ROW, 0, ENOUGH);
    sk_presence_learn(&with->presence, &with->database);
    learned(with);
    assert_int_equal(maybes(with, 100000, 100100), 100);
    end(with);
}

static void it_learns_again_after_a_stop(void **state)
{
    (void)state;
    bench *with = start(BYTES);
    put_rows(with, SK_CF_ROW, 0, ENOUGH / 2);
    for (int i = 0; i < 20; i++) { /* wherever it is by then */
        sk_presence_learn(&with->presence, &with->database);
        sk_presence_stop(&with->presence);
        assert_int_equal(maybes(with, 0, 100), 100);
    }
    sk_presence_learn(&with->presence, &with->database);
    learned(with);
    assert_int_equal(maybes(with, 0, ENOUGH / 2), ENOUGH / 2);
    end(with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_before_it_has_learned),
        cmocka_unit_test(what_was_there_and_what_comes_is_known),
        cmocka_unit_test(a_database_with_too_many_keys_is_not_read),
        cmocka_unit_test(it_learns_again_after_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
