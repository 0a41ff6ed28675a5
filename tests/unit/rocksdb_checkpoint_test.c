/* Checkpoints of a store that is being written: a database of its own, of one moment between two batches, with
 * everything that was committed before it was asked for. */
#include "storage/file.h"
#include "tests/unit/store_harness.h"

#include <pthread.h>

static const sk_cf families[] = {SK_CF_ROW, SK_CF_HISTORY, SK_CF_META, SK_CF_DERIVED};
enum { FAMILIES = sizeof families / sizeof *families };

typedef struct {
    harness *with;
    char *path; /* owned */
    char error[SK_ROCKSDB_ERROR];
    int status;
    _Atomic bool done;
} job;

/* Every batch puts its number into every family. */
static void write_batch(sk_store *store, uint64_t number)
{
    char value[32], key[32];
    snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    snprintf(key, sizeof key, "key %llu", (unsigned long long)(number % 500));
    for (int i = 0; i < FAMILIES; i++) {
        put(store, families[i], "number", value);
        put(store, families[i], key, value);
    }
}

static uint64_t number_in(sk_store *store, sk_cf cf)
{
    const char *text = get_in(store, cf, "number", NULL);
    return text ? strtoull(text, NULL, 10) : 0;
}

/* The batch that the copy is of, the same in every family. */
static uint64_t number_of_copy(const char *path)
{
    char error[SK_ROCKSDB_ERROR] = "";
    sk_store *copy;
    int status = sk_rocksdb_open_copy(path, &copy, error);
    if (status) print_error("%s\n", error);
    assert_int_equal(status, SK_OK);
    uint64_t number = number_in(copy, families[0]);
    for (int i = 1; i < FAMILIES; i++) assert_int_equal(number_in(copy, families[i]), number);
    sk_store_iter *iter = sk_store_iterate(copy, NULL, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
    sk_bytes key, value;
    uint64_t keys = 0;
    while (sk_store_next(copy, iter, &key, &value) > 0) keys++;
    sk_store_iter_free(copy, iter);
    assert_int_equal(keys, number ? 1 + (number < 500 ? number : 500) : 0);
    sk_store_close(copy);
    return number;
}

static void *make(void *argument)
{
    job *of = argument;
    of->status = sk_rocksdb_checkpoint(of->with->store, of->path, of->error);
    atomic_store(&of->done, true);
    return NULL;
}

static void a_checkpoint_is_one_moment(void **state)
{
    harness with;
    (void)state;
    harness_start(&with, true, SK_DURABILITY_OS);
    sk_store_close(with.store);
    with.options.place_bytes = 64 << 10;
    harness_open(&with);
    uint64_t number = 0;
    for (int round = 0; round < 5; round++) {
        job of = {.with = &with, .path = sk_file_join(with.path, "checkpoint.tmp")};
        for (int i = 0; i < 300; i++) {
            write_batch(with.store, ++number);
            sk_store_seal(with.store);
        }
        assert_int_equal(harness_commit(&with, number), SK_OK);
        uint64_t before = number;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, make, &of), 0);
        while (!atomic_load(&of.done)) { /* commits go on meanwhile */
            write_batch(with.store, ++number);
            assert_int_equal(harness_seal_commit(&with), SK_OK);
        }
        pthread_join(thread, NULL);
        if (of.status) print_error("%s\n", of.error);
        assert_int_equal(of.status, SK_OK);
        uint64_t copied = number_of_copy(of.path);
        assert_in_range(copied, before, number);
        free(of.path);
    }
    harness_end(&with);
}

static void the_copy_is_not_written(void **state)
{
    harness with;
    char error[SK_ROCKSDB_ERROR];
    (void)state;
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    char *path = sk_file_join(with.path, "checkpoint.tmp"), *log = sk_file_join(path, "log");
    write_batch(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    assert_int_equal(sk_rocksdb_checkpoint(with.store, path, error), SK_OK);
    assert_int_equal(number_of_copy(path), 1);
    assert_int_equal(number_of_copy(path), 1);
    assert_int_equal(access(log, F_OK), -1);
    write_batch(with.store, 2);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    assert_int_equal(sk_rocksdb_checkpoint(with.store, path, error), SK_OK); /* over the one before */
    assert_int_equal(number_of_copy(path), 2);
    free(path);
    free(log);
    harness_end(&with);
}

/* Links to tables do not make the directory another one. */
static void the_mark_stays(void **state)
{
    harness with;
    char error[SK_ROCKSDB_ERROR], before[SK_ROCKSDB_MARK], after[SK_ROCKSDB_MARK];
    (void)state;
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    char *path = sk_file_join(with.path, "checkpoint.tmp");
    sk_rocksdb_mark(with.store, before);
    write_batch(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    assert_int_equal(sk_rocksdb_checkpoint(with.store, path, error), SK_OK);
    sk_rocksdb_mark(with.store, after);
    assert_string_equal(before, after);
    free(path);
    harness_end(&with);
}

static void a_checkpoint_that_cannot_be_made_says_why(void **state)
{
    harness with;
    char error[SK_ROCKSDB_ERROR] = "";
    (void)state;
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    write_batch(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    assert_int_not_equal(sk_rocksdb_checkpoint(with.store, "/nowhere/at/all", error), SK_OK);
    assert_true(error[0]);
    write_batch(with.store, 2);
    assert_int_equal(harness_seal_commit(&with), SK_OK); /* the store goes on */
    assert_int_equal(sk_store_reopen(with.store), SK_OK);
    assert_int_equal(number_in(with.store, SK_CF_META), 2);
    harness_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_is_one_moment),
        cmocka_unit_test(the_copy_is_not_written),
        cmocka_unit_test(the_mark_stays),
        cmocka_unit_test(a_checkpoint_that_cannot_be_made_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
