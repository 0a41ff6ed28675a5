/* What only the store on disk can do: be locked, refused, killed, filled up, and come back. */
#include "tests/unit/store_harness.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define with_store(name, durability)                                                                                   \
    harness name;                                                                                                      \
    harness_start(&name, true, durability)

static int try_open(const char *path, char *error)
{
    sk_store *store;
    sk_rocksdb_options options = {.path = path, .write_buffer_bytes = 4 << 20};
    error[0] = '\0';
    int result = sk_rocksdb_open(&options, &store, error);
    if (result == SK_OK) sk_store_close(store);
    return result;
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Runs a line of shell in which $D is the directory. */
static void run_shell(const char *line, const char *folder)
{
    assert_int_equal(setenv("D", folder, 1), 0);
    assert_int_equal(system(line), 0);
}

/* -- opening ------------------------------------------------------------------------------------------------------ */

static void one_process_at_a_time(void **state)
{
    (void)state;
    char error[SK_ROCKSDB_ERROR];
    with_store(with, SK_DURABILITY_ALWAYS);
    assert_int_equal(try_open(with.path, error), SK_E_LOCKED);
    assert_non_null(strstr(error, "another process"));
    pid_t child = fork();
    if (child == 0) _exit(try_open(with.path, error) == SK_E_LOCKED ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    put(with.store, SK_CF_ROW, "a", "1"); /* the attempts did it no harm */
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    sk_store_close(with.store);
    harness_open(&with);
    assert_value(with.store, SK_CF_ROW, "a", "1");
    harness_end(&with);
}

static void other_formats_are_refused_untouched(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int expected;
        const char *says;
    } cases[] = {
        {"skerry\nformat 4\n", SK_E_FORMAT, "format 4, of a newer"},
        {"skerry\nformat 2\n", SK_E_FORMAT, "format 2, of an older"},
        {"skerry\nformat 999999999\n", SK_E_FORMAT, "newer"},
        {"something else\n", SK_E_FORMAT, "not one of skerry"},
        {"sker", SK_E_CORRUPT, "cut off"},
        {"", SK_E_CORRUPT, "cut off"},
        {"skerry\nformat ", SK_E_CORRUPT, "does not tell"},
        {"skerry\nformat 1", SK_E_CORRUPT, "does not tell"},
        {"skerry\nformat 1999999999999999999999999999999999999999999999999999999999\n", SK_E_CORRUPT, "does not tell"},
    };
    char error[SK_ROCKSDB_ERROR];
    with_store(with, SK_DURABILITY_ALWAYS);
    put(with.store, SK_CF_ROW, "a", "1");
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    sk_store_close(with.store);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file(with.path, "SKERRY", cases[i].text);
        run_shell("cd $D && find . -type f ! -name skerry.lock | sort | xargs md5sum > $D.before", with.path);
        assert_int_equal(try_open(with.path, error), cases[i].expected);
        assert_non_null(strstr(error, cases[i].says));
        run_shell("cd $D && find . -type f ! -name skerry.lock | sort | xargs md5sum | cmp - $D.before", with.path);
    }
    run_shell("rm $D.before", with.path);
    write_file(with.path, "SKERRY", "skerry\nformat 3\n");
    harness_open(&with);
    assert_value(with.store, SK_CF_ROW, "a", "1");
    harness_end(&with);
}

static void what_is_damaged_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *damage;
        int expected;
    } cases[] = {
        {"rm $D/SKERRY", SK_E_FORMAT},
        {"rm $D/db/CURRENT", SK_E_CORRUPT},
        {"rm $D/db/MANIFEST-*", SK_E_IO},
        {"for f in $D/db/MANIFEST-*; do head -c 200 /dev/zero | tr '\\0' x > $f; done", SK_E_CORRUPT},
    };
    char error[SK_ROCKSDB_ERROR];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        with_store(with, SK_DURABILITY_ALWAYS);
        put(with.store, SK_CF_ROW, "a", "1");
        assert_int_equal(harness_seal_commit(&with), SK_OK);
        sk_store_close(with.store);
        with.store = NULL;
        run_shell(cases[i].damage, with.path);
        int result = try_open(with.path, error);
        if (i == 2) assert_true(result == SK_E_IO || result == SK_E_CORRUPT);
        if (i != 2) assert_int_equal(result, cases[i].expected);
        assert_true(strlen(error) > 0);
        if (i == 1) assert_non_null(strstr(error, "CURRENT")); /* our own check, before RocksDB changed anything */
        harness_end(&with);
    }
    assert_int_equal(try_open("/dev/null", error), SK_E_IO);
    assert_non_null(strstr(error, "not a directory"));
    assert_int_equal(try_open("/nowhere/at/all", error), SK_E_IO);
    assert_int_equal(try_open("/proc", error), SK_E_IO);
}

static void a_new_directory_is_for_its_owner(void **state)
{
    (void)state;
    char error[SK_ROCKSDB_ERROR], path[] = "/tmp/skerry-store-XXXXXX", below[64];
    struct stat status;
    assert_non_null(mkdtemp(path));
    snprintf(below, sizeof below, "%s/data", path);
    assert_int_equal(try_open(below, error), SK_OK);
    assert_int_equal(stat(below, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    remove_tree(path);
}

/* In the place of the original, with its inodes where the file system gives them again; over it; its database alone. */
static void a_copied_directory_has_another_mark(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "cp -a $D $D.copy; mv $D $D.original; mv $D.copy $D; rm -r $D.original",
        "cp -a $D $D.copy; rm -r $D; cp -a $D.copy $D; rm -r $D.copy",
        "cp -a $D $D.copy; cp -a $D.copy/. $D; rm -r $D.copy",
        "cp -a $D/db $D/copy; rm -r $D/db; mv $D/copy $D/db",
    };
    char marks[2][SK_ROCKSDB_MARK];
    with_store(with, SK_DURABILITY_ALWAYS);
    for (int i = 0; i < 2; i++) {
        sk_rocksdb_mark(with.store, marks[i]);
        sk_store_close(with.store);
        harness_open(&with);
    }
    assert_string_equal(marks[0], marks[1]);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        sk_store_close(with.store);
        run_shell(ways[i], with.path);
        harness_open(&with);
        sk_rocksdb_mark(with.store, marks[1]);
        assert_string_not_equal(marks[0], marks[1]);
        memcpy(marks[0], marks[1], sizeof marks[0]);
    }
    harness_end(&with);
}

/* -- durability --------------------------------------------------------------------------------------------------- */

/* What a process of its own does: batches of five families, a number for each; says on the pipe what is durable, until it
 * is killed. Its arguments: path, durability, the pipe. */
static int write_until_killed(char **argv)
{
    harness with = {.on_disk = true, .durability = (sk_durability)atoi(argv[1])};
    int pipe = atoi(argv[2]);
    sem_init(&with.woken, 0, 0);
    snprintf(with.path, sizeof with.path, "%s", argv[0]);
    harness_open(&with);
    for (uint64_t number = 1, said = 0;; number++) {
        for (uint8_t i = 0; i < 5; i++) {
            uint64_t key[2] = {number, i};
            sk_store_put(with.store, (sk_cf)i, sk_bytes_of(key, sizeof key), sk_bytes_of(&number, sizeof number));
        }
        sk_store_put(with.store, SK_CF_META, sk_bytes_str("last"), sk_bytes_of(&number, sizeof number));
        uint64_t batch = sk_store_seal(with.store), durable;
        if (batch != number) _exit(1);
        if (sk_store_reap(with.store, &durable) != SK_OK) _exit(2);
        if (sk_store_pending_bytes(with.store) > 100000 && harness_commit(&with, batch) != SK_OK) _exit(3);
        if (durable > said && write(pipe, &durable, sizeof durable) != sizeof durable) _exit(4);
        said = durable;
    }
}

static uint64_t kill_a_writer(const char *path, sk_durability durability, uint64_t after)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    char number[8], to[8];
    snprintf(number, sizeof number, "%d", (int)durability);
    snprintf(to, sizeof to, "%d", ends[1]);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "writes until killed", path, number, to, (char *)NULL);
        _exit(5);
    }
    close(ends[1]);
    uint64_t durable = 0, last = 0;
    while (read(ends[0], &durable, sizeof durable) == sizeof durable) {
        last = durable;
        if (last >= after) kill(child, SIGKILL);
    }
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

static void a_killed_process_loses_nothing_durable(void **state)
{
    (void)state;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        with_store(with, (sk_durability)mode);
        sk_store_close(with.store);
        uint64_t durable = kill_a_writer(with.path, (sk_durability)mode, 3000);
        assert_true(durable >= 3000);
        harness_open(&with);
        sk_bytes value;
        uint64_t last;
        assert_int_equal(sk_store_get(with.store, SK_CF_META, sk_bytes_str("last"), &value, NULL), 1);
        memcpy(&last, value.data, sizeof last);
        assert_true(last >= durable);
        for (uint64_t number = 1; number <= last + 10; number++) {
            for (uint8_t i = 0; i < 5; i++) {
                uint64_t key[2] = {number, i}; /* whole batches up to the last, and nothing beyond */
                int found = sk_store_get(with.store, (sk_cf)i, sk_bytes_of(key, sizeof key), &value, NULL);
                assert_int_equal(found, number <= last);
            }
        }
        harness_end(&with);
    }
}

static void the_interval_syncs_by_itself(void **state)
{
    (void)state;
    harness with = {.on_disk = true};
    harness_start(&with, true, SK_DURABILITY_INTERVAL);
    sk_store_close(with.store);
    with.options.interval_ms = 20;
    harness_open(&with);
    put(with.store, SK_CF_ROW, "a", "1");
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    while (stat_of(with.store, "store_syncs") == 0) usleep(1000);
    harness_end(&with);
}

static void many_batches_share_a_sync(void **state)
{
    (void)state;
    with_store(with, SK_DURABILITY_ALWAYS);
    uint64_t batch = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        sk_store_put(with.store, SK_CF_ROW, sk_bytes_of(&i, sizeof i), sk_bytes_of(&i, sizeof i));
        batch = sk_store_seal(with.store);
    }
    assert_int_equal(harness_commit(&with, batch), SK_OK);
    assert_int_equal(stat_of(with.store, "store_batches"), 2000);
    assert_true(stat_of(with.store, "store_syncs") < 1000);
    assert_int_equal(stat_of(with.store, "store_syncs"), stat_of(with.store, "store_writes"));
    harness_end(&with);
}

static void closing_commits_what_is_sealed(void **state)
{
    (void)state;
    for (int mode = SK_DURABILITY_ALWAYS; mode <= SK_DURABILITY_OS; mode++) {
        with_store(with, (sk_durability)mode);
        for (int i = 0; i < 100; i++) {
            char key[8];
            snprintf(key, sizeof key, "%d", i);
            put(with.store, SK_CF_ROW, key, "1");
            sk_store_seal(with.store);
        }
        put(with.store, SK_CF_ROW, "open", "1");
        sk_store_close(with.store);
        harness_open(&with);
        assert_value(with.store, SK_CF_ROW, "0", "1");
        assert_value(with.store, SK_CF_ROW, "99", "1");
        assert_value(with.store, SK_CF_ROW, "open", NULL);
        harness_end(&with);
    }
}

/* -- a full disk -------------------------------------------------------------------------------------------------- */

static void fill(uint64_t *seed, uint8_t *value, size_t len)
{
    for (size_t i = 0; i < len; i++) value[i] = (uint8_t)roll(seed, 256);
}

/* Puts a thousand bytes each under 1, 2, …, one a batch, until a commit fails or `limit` were put. Returns the error;
 * `durable` is the last number that is durable, from `first` on. */
static int put_until_full(harness *with, uint32_t first, uint32_t limit, uint32_t *durable)
{
    uint64_t seed = first, reaped, start, batch;
    assert_int_equal(sk_store_reap(with->store, &start), SK_OK);
    uint8_t value[1000];
    for (uint32_t number = first; number < first + limit; number++) {
        fill(&seed, value, sizeof value);
        memcpy(value, &number, sizeof number);
        sk_store_put(with->store, SK_CF_ROW, sk_bytes_of(&number, sizeof number), sk_bytes_of(value, sizeof value));
        batch = sk_store_seal(with->store);
        int result = harness_commit(with, batch);
        sk_store_reap(with->store, &reaped);
        *durable = first - 1 + (uint32_t)(reaped - start);
        if (result != SK_OK) return result;
    }
    return SK_OK;
}

static void check_numbers(sk_store *store, uint32_t upto)
{
    sk_bytes value;
    for (uint32_t number = 1; number <= upto; number++) {
        assert_int_equal(sk_store_get(store, SK_CF_ROW, sk_bytes_of(&number, sizeof number), &value, NULL), 1);
        assert_int_equal(value.len, 1000);
        assert_memory_equal(value.data, &number, sizeof number);
    }
}

static void make_ballast(const char *folder, size_t bytes)
{
    char path[256];
    snprintf(path, sizeof path, "%s/ballast", folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)bytes), 0);
    close(fd);
}

/* Takes what is left: RocksDB gives up half a compaction after the error, and so makes room again. */
static void take_the_rest(const char *folder)
{
    static const char block[1 << 16];
    char path[256];
    snprintf(path, sizeof path, "%s/rest", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0) continue;
    close(fd);
}

static char mounted[64]; /* where the small disk is; empty: nowhere */

static int unmount(void **state)
{
    (void)state;
    if (!mounted[0]) return 0;
    umount2(mounted, MNT_DETACH);
    remove_tree(mounted);
    mounted[0] = '\0';
    return 0;
}

static void a_full_disk_refuses_writes_until_there_is_room(void **state)
{
    (void)state;
    harness with = {.on_disk = true};
    sem_init(&with.woken, 0, 0);
    strcpy(with.path, "/tmp/skerry-store-XXXXXX");
    assert_non_null(mkdtemp(with.path));
    const char *folder = strcpy(mounted, with.path);
    if (mount("skerry-test", folder, "tmpfs", 0, "size=48m") < 0) {
        print_message("not run: this user cannot mount a tmpfs (%s)\n", strerror(errno));
        unmount(NULL);
        skip();
    }
    make_ballast(folder, 24 << 20);
    strcat(with.path, "/data");
    with.options.min_free_bytes = 2 << 20;
    with.options.place_bytes = 6 << 20; /* what is in the log needs room in tables too */
    harness_open(&with);
    assert_false(sk_rocksdb_space_low(with.store));
    uint32_t durable = 0, later = 0;
    assert_int_equal(put_until_full(&with, 1, 100000, &durable), SK_E_DISK_FULL);
    print_message("full after %u; RocksDB says: %s\n", durable, sk_rocksdb_last_error(with.store));
    assert_true(durable > 1000);
    do {
        take_the_rest(folder);
        usleep(1000);
    } while (!sk_rocksdb_space_low(with.store));
    check_numbers(with.store, durable);
    for (int i = 0; i < 3; i++) {
        take_the_rest(folder);
        assert_int_equal(sk_store_reopen(with.store), SK_E_DISK_FULL);
        check_numbers(with.store, durable);
        put(with.store, SK_CF_META, "refused", "1");
        sk_store_seal(with.store);
        uint64_t reaped;
        assert_int_equal(sk_store_reap(with.store, &reaped), SK_E_DISK_FULL);
        assert_int_equal(sk_store_flush(with.store), SK_E_DISK_FULL);
    }
    run_shell("rm $D/ballast $D/rest", folder);
    assert_int_equal(sk_store_reopen(with.store), SK_OK);
    while (sk_rocksdb_space_low(with.store)) usleep(1000);
    assert_value(with.store, SK_CF_META, "refused", NULL);
    check_numbers(with.store, durable);
    assert_int_equal(put_until_full(&with, durable + 1, 2000, &later), SK_OK);
    sk_store_close(with.store);
    harness_open(&with);
    check_numbers(with.store, later);
    sk_store_close(with.store);
    sem_destroy(&with.woken);
}

/* A file that may not grow: the same condition where nothing can be mounted. */
static void a_file_size_limit_is_met_like_a_full_disk(void **state)
{
    (void)state;
    with_store(with, SK_DURABILITY_ALWAYS);
    struct rlimit before, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    low = before;
    low.rlim_cur = 900000; /* below a megabyte, so that the probe of a reopen meets it too */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    uint32_t durable = 0, later = 0;
    int result = put_until_full(&with, 1, 100000, &durable);
    int again = sk_store_reopen(with.store);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(result, SK_E_DISK_FULL);
    assert_int_equal(again, SK_E_DISK_FULL);
    put(with.store, SK_CF_META, "after", "1"); /* it would fit now, and is still refused */
    sk_store_seal(with.store);
    assert_int_equal(sk_store_flush(with.store), SK_E_DISK_FULL);
    check_numbers(with.store, durable);
    assert_int_equal(sk_store_reopen(with.store), SK_OK);
    check_numbers(with.store, durable);
    assert_value(with.store, SK_CF_META, "after", NULL);
    assert_int_equal(put_until_full(&with, durable + 1, 100, &later), SK_OK);
    check_numbers(with.store, later);
    harness_end(&with);
}

/* Somebody removes the data directory of a running node, and another node begins a new one there. */
static void a_directory_that_was_replaced_is_left_alone(void **state)
{
    (void)state;
    with_store(with, SK_DURABILITY_ALWAYS);
    char aside[128];
    put(with.store, SK_CF_META, "ours", "1");
    sk_store_seal(with.store);
    assert_int_equal(sk_store_flush(with.store), SK_OK);
    snprintf(aside, sizeof aside, "%s.aside", with.path);
    assert_int_equal(rename(with.path, aside), 0);
    assert_int_equal(sk_store_reopen(with.store), SK_E_IO);
    assert_value(with.store, SK_CF_META, "ours", "1"); /* reads go on */
    assert_int_equal(mkdir(with.path, 0700), 0);
    run_shell("touch $D/skerry.lock", with.path);
    assert_int_equal(sk_store_reopen(with.store), SK_E_IO);
    assert_non_null(strstr(sk_rocksdb_last_error(with.store), "another one put in its place"));
    run_shell("rm $D/skerry.lock; rmdir $D", with.path); /* nothing else has come there */
    assert_int_equal(rename(aside, with.path), 0);
    assert_int_equal(sk_store_reopen(with.store), SK_OK);
    assert_value(with.store, SK_CF_META, "ours", "1");
    harness_end(&with);
}

/* -- space -------------------------------------------------------------------------------------------------------- */

static void an_idle_store_gives_the_space_of_removed_ranges_back(void **state)
{
    (void)state;
    with_store(with, SK_DURABILITY_OS);
    sk_store_close(with.store);
    with.options.reclaim_ms = 50;
    harness_open(&with);
    uint64_t seed = 1;
    uint8_t value[1000];
    for (uint32_t number = 0; number < 20000; number++) {
        uint8_t key[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
        fill(&seed, value, sizeof value);
        sk_store_put(with.store, SK_CF_HISTORY, sk_bytes_of(key, 4), sk_bytes_of(value, sizeof value));
        if (number % 100 == 99) assert_int_equal(harness_seal_commit(&with), SK_OK);
    }
    while (stat_of(with.store, "store_table_bytes") < 10000000) usleep(1000);
    sk_store_remove_range(with.store, SK_CF_HISTORY, SK_BYTES_NONE, sk_bytes_of("\0\0\x4e\x00", 4));
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    while (stat_of(with.store, "store_table_bytes") > 2000000) usleep(10000);
    sk_bytes key, got;
    sk_store_iter *iter = sk_store_iterate(with.store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    int left = 0;
    while (sk_store_next(with.store, iter, &key, &got) == 1) left++;
    sk_store_iter_free(with.store, iter);
    assert_int_equal(left, 20000 - 0x4e00);
    harness_end(&with);
}

/* What is asked beforehand, so that a get waits less, is not answered, not cached, and not put in order. */
static void a_hint_changes_nothing(void **state)
{
    harness with;
    (void)state;
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    for (int round = 0; round < 2; round++) {
        uint64_t hits = stat_of(with.store, "store_row_cache_hits"), misses = stat_of(with.store, "store_row_cache_misses");
        put(with.store, SK_CF_ROW, "new", round ? "2" : "1");
        assert_true(sk_store_unordered(with.store) > 0);
        for (int cf = 0; cf < SK_CF_COUNT; cf++)
            for (int i = 0; i < 3; i++) sk_store_fetch(with.store, (sk_cf)cf, sk_bytes_str(i == 0 ? "new" : i == 1 ? "none" : ""));
        assert_true(sk_store_unordered(with.store) > 0);
        assert_true(stat_of(with.store, "store_row_cache_hits") == hits);
        assert_true(stat_of(with.store, "store_row_cache_misses") == misses);
        assert_value(with.store, SK_CF_ROW, "new", round ? "2" : "1");
        assert_value(with.store, SK_CF_ROW, "none", NULL);
        assert_value(with.store, SK_CF_META, "new", NULL);
        assert_int_equal(harness_seal_commit(&with), SK_OK);
    }
    harness_end(&with);
}

int main(int argc, char **argv)
{
    if (argc == 4) return write_until_killed(argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hint_changes_nothing),
        cmocka_unit_test(one_process_at_a_time),
        cmocka_unit_test(other_formats_are_refused_untouched),
        cmocka_unit_test(what_is_damaged_is_refused),
        cmocka_unit_test(a_new_directory_is_for_its_owner),
        cmocka_unit_test(a_copied_directory_has_another_mark),
        cmocka_unit_test(a_killed_process_loses_nothing_durable),
        cmocka_unit_test(the_interval_syncs_by_itself),
        cmocka_unit_test(many_batches_share_a_sync),
        cmocka_unit_test(closing_commits_what_is_sealed),
        cmocka_unit_test_teardown(a_full_disk_refuses_writes_until_there_is_room, unmount),
        cmocka_unit_test(a_file_size_limit_is_met_like_a_full_disk),
        cmocka_unit_test(a_directory_that_was_replaced_is_left_alone),
        cmocka_unit_test(an_idle_store_gives_the_space_of_removed_ranges_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
