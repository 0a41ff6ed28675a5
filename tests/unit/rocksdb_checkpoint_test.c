/* Checkpoints of a store that is being written: a database of its own, of one moment between two batches, with
 * everything that was committed before it was asked for. */
#include "storage/file.h"
#include "tests/unit/store_harness.h"

#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

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

/* What a process of its own does: all is committed, and in the log alone, as it ends before any of it was placed. */
static int write_and_die(const char *path)
{
    char error[SK_ROCKSDB_ERROR];
    sk_rocksdb_options options = {.path = path, .durability = SK_DURABILITY_ALWAYS, .place_bytes = 8 << 20};
    sk_store *store;
    if (sk_rocksdb_open(&options, &store, error)) _exit(1);
    uint8_t from = 'k', to = 'l';
    write_batch(store, 2);
    sk_store_seal(store);
    if (sk_store_flush(store)) _exit(2);
    sk_store_remove_range(store, SK_CF_HISTORY, sk_bytes_of(&from, 1), sk_bytes_of(&to, 1));
    sk_store_remove(store, SK_CF_DERIVED, sk_bytes_str("key 1"));
    sk_store_seal(store);
    if (sk_store_flush(store)) _exit(3);
    return raise(SIGKILL);
}

static void another_writes_and_dies(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "writes and dies", path, (char *)NULL);
        _exit(4);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void list_files(const char *path, const char *name)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && find . -printf '%%p %%i %%T@ %%C@\\n' | sort > /tmp/%s.%d", path, name, (int)getpid());
    assert_int_equal(system(command), 0);
}

static void a_directory_of_a_stopped_node_is_read_and_left_alone(void **state)
{
    harness with;
    char error[SK_ROCKSDB_ERROR], scratch[] = "/tmp/skerry-scratch-XXXXXX";
    sk_store *store;
    (void)state;
    assert_non_null(mkdtemp(scratch));
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    assert_int_equal(sk_rocksdb_open_stopped(with.path, scratch, &store, error), SK_E_LOCKED);
    write_batch(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    sk_store_close(with.store);
    with.store = NULL;
    another_writes_and_dies(with.path);
    list_files(with.path, "before");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sk_rocksdb_open_stopped(with.path, scratch, &store, error), SK_OK);
        for (int k = 0; k < FAMILIES; k++) assert_int_equal(number_in(store, families[k]), 2);
        assert_value(store, SK_CF_ROW, "key 1", "1");
        assert_value(store, SK_CF_ROW, "key 2", "2");
        assert_value(store, SK_CF_HISTORY, "key 1", NULL);
        assert_value(store, SK_CF_HISTORY, "key 2", NULL);
        assert_value(store, SK_CF_DERIVED, "key 1", NULL);
        assert_value(store, SK_CF_DERIVED, "key 2", "2");
        put(store, SK_CF_ROW, "key 3", "3"); /* of nobody's but this process's */
        assert_value(store, SK_CF_ROW, "key 3", "3");
        sk_store_close(store);
    }
    list_files(with.path, "after");
    char compare[128];
    snprintf(compare, sizeof compare, "cd /tmp && diff before.%d after.%d && rm before.%d after.%d", (int)getpid(), (int)getpid(),
             (int)getpid(), (int)getpid());
    assert_int_equal(system(compare), 0);
    assert_int_equal(sk_rocksdb_open_stopped(scratch, scratch, &store, error), SK_E_FORMAT);
    assert_non_null(strstr(error, "is no data directory"));
    harness_open(&with);
    assert_value(with.store, SK_CF_ROW, "key 2", "2");
    assert_value(with.store, SK_CF_ROW, "key 3", NULL);
    harness_end(&with);
    remove_tree(scratch);
}

static void a_copy_that_is_none_is_refused(void **state)
{
    harness with;
    char error[SK_ROCKSDB_ERROR] = "";
    sk_store *store = NULL;
    (void)state;
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    char *path = sk_file_join(with.path, "checkpoint.tmp");
    assert_int_not_equal(sk_rocksdb_open_copy(path, &store, error), SK_OK);
    assert_null(store);
    assert_true(error[0]);
    write_batch(with.store, 1);
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    assert_int_equal(sk_rocksdb_checkpoint(with.store, path, error), SK_OK);
    char *current = sk_file_join(path, "CURRENT");
    assert_int_equal(unlink(current), 0); /* it says which of the files count */
    assert_int_not_equal(sk_rocksdb_open_copy(path, &store, error), SK_OK);
    assert_null(store);
    free(current);
    free(path);
    harness_end(&with);
}

static int walk_all(sk_store *store)
{
    int status = 0;
    for (int cf = 0; cf < SK_CF_COUNT && status >= 0; cf++) {
        sk_bytes key, value;
        sk_store_iter *iter = sk_store_iterate(store, NULL, (sk_cf)cf, SK_BYTES_NONE, SK_BYTES_NONE);
        while ((status = sk_store_next(store, iter, &key, &value)) > 0) continue;
        sk_store_iter_free(store, iter);
    }
    return status;
}

static void flip_one(const char *path)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long at = ftell(file) / 3;
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(byte ^ 0x10, file);
    assert_int_equal(fclose(file), 0);
}

/* A block of which everything was removed by range: no walk comes to it. */
static void damage_that_is_hidden_is_read_too(void **state)
{
    harness with;
    char error[SK_ROCKSDB_ERROR], scratch[] = "/tmp/skerry-scratch-XXXXXX";
    uint8_t from = 'a', to = 'z';
    glob_t tables;
    int hidden = 0;
    (void)state;
    assert_non_null(mkdtemp(scratch));
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    char *path = sk_file_join(with.path, "checkpoint.tmp"), *pattern = sk_file_join(with.path, "db/*.sst");
    for (int i = 0; i < 2; i++) { /* a table of each batch */
        for (uint64_t n = 1; i == 0 && n < 500; n++) {
            char key[32];
            snprintf(key, sizeof key, "key %llx", (unsigned long long)(n * 0x9e3779b97f4a7c15u));
            for (int k = 0; k < FAMILIES; k++) put(with.store, families[k], key, "something that takes a little room in a block of a table");
        }
        if (i == 1) sk_store_remove_range(with.store, SK_CF_HISTORY, sk_bytes_of(&from, 1), sk_bytes_of(&to, 1));
        assert_int_equal(harness_seal_commit(&with), SK_OK);
        assert_int_equal(sk_rocksdb_checkpoint(with.store, path, error), SK_OK);
    }
    sk_store_close(with.store);
    with.store = NULL;
    assert_int_equal(glob(pattern, 0, NULL, &tables), 0);
    for (size_t i = 0; i <= tables.gl_pathc; i++) { /* at last none */
        sk_store *store;
        if (i < tables.gl_pathc) flip_one(tables.gl_pathv[i]);
        int opened = sk_rocksdb_open_stopped(with.path, scratch, &store, error);
        if (opened) { /* one that has nothing but the removal is read there */
            assert_int_equal(opened, SK_E_CORRUPT);
            flip_one(tables.gl_pathv[i]);
            continue;
        }
        int walked = walk_all(store), read = sk_rocksdb_read_all(store, error);
        hidden += walked == 0 && read == SK_E_CORRUPT;
        assert_true(walked == 0 || read == SK_E_CORRUPT);
        if (i == tables.gl_pathc) assert_int_equal(read, 0);
        sk_store_close(store);
        if (i < tables.gl_pathc) flip_one(tables.gl_pathv[i]);
    }
    assert_true(hidden > 0);
    globfree(&tables);
    free(path);
    free(pattern);
    harness_end(&with);
    remove_tree(scratch);
}

int main(int argc, char **argv)
{
    if (argc == 2) return write_and_die(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_is_one_moment),
        cmocka_unit_test(the_copy_is_not_written),
        cmocka_unit_test(damage_that_is_hidden_is_read_too),
        cmocka_unit_test(a_directory_of_a_stopped_node_is_read_and_left_alone),
        cmocka_unit_test(the_mark_stays),
        cmocka_unit_test(a_checkpoint_that_cannot_be_made_says_why),
        cmocka_unit_test(a_copy_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
