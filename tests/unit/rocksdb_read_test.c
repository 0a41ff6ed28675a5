/* The store on disk when the disk cannot be read. This program's own open, read and pread stand before the C library's, for
 * RocksDB too. An error is said, nothing wrong is ever answered, and all is there when the disk is good again. */
#include "tests/unit/store_harness.h"

#include <stdatomic.h>
#include <sys/syscall.h>

enum {
    ROWS = 40,
    ROW_BYTES = 60000, /* together they make a table */
    REPLAY_BYTES = 40 << 20, /* more than a replay takes at once */
    MORE_ROWS = REPLAY_BYTES / ROW_BYTES,
};

typedef enum { GOOD, FAILING, DAMAGED } state_of_disk;

static _Atomic int tables;                   /* how reads of tables are */
static _Atomic bool no_new_table, log_is_cut; /* after REPLAY_BYTES */

/* Of the file behind fd: a part of its path. */
static bool is_named(int fd, const char *part)
{
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return false;
    path[len] = '\0';
    return strstr(path, part) != NULL;
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
    int is = atomic_load(&tables);
    bool hit = is && is_named(fd, ".sst");
    if (hit && is == FAILING) {
        errno = EIO;
        return -1;
    }
    ssize_t got = syscall(SYS_pread64, fd, data, len, at);
    if (hit && got > 0) ((char *)data)[got / 2] ^= 1;
    return got;
}

ssize_t read(int fd, void *data, size_t len)
{
    if (atomic_load(&log_is_cut) && is_named(fd, "/db/log/") && lseek(fd, 0, SEEK_CUR) > REPLAY_BYTES) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_read, fd, data, len);
}

int open(const char *path, int flags, ...)
{
    if (flags & O_CREAT && atomic_load(&no_new_table) && strstr(path, "/placing.sst")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

static sk_bytes key_of(uint32_t number, char key[16])
{
    snprintf(key, 16, "key%05u", number);
    return sk_bytes_str(key);
}

static void put_row(sk_store *store, sk_cf cf, uint32_t number, char text)
{
    static char value[ROW_BYTES];
    char key[16];
    uint64_t seed = 1;
    for (size_t i = 1; i < sizeof value && !value[sizeof value - 1]; i++) /* nothing that can be made small */
        value[i] = (char)(1 + roll(&seed, 255));
    value[0] = text;
    sk_store_put(store, cf, key_of(number, key), sk_bytes_of(value, sizeof value));
}

/* What a row begins with; '\0': there is none; or the error. */
static int row(sk_store *store, sk_cf cf, uint32_t number)
{
    char key[16];
    sk_bytes value;
    int found = sk_store_get(store, cf, key_of(number, key), &value, NULL);
    return found > 0 ? value.data[0] : found;
}

/* How many pairs an iterator gives, or the error that it ends with. Each begins with the text. */
static int count_rows(sk_store *store, sk_cf cf, char text)
{
    sk_bytes key, value;
    int count = 0, some;
    sk_store_iter *iter = sk_store_iterate(store, NULL, cf, SK_BYTES_NONE, SK_BYTES_NONE);
    while ((some = sk_store_next(store, iter, &key, &value)) > 0) {
        assert_int_equal(value.data[0], text);
        count++;
    }
    sk_store_iter_free(store, iter);
    return some ? some : count;
}

/* Little is kept in memory. */
static void start(harness *with, size_t segment_bytes)
{
    *with = (harness){.on_disk = true, .durability = SK_DURABILITY_OS};
    sem_init(&with->woken, 0, 0);
    strcpy(with->path, "/tmp/skerry-store-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    with->options.place_bytes = (size_t)8 << 20;
    with->options.segment_bytes = segment_bytes; /* the last one stays until a restart */
    with->options.cache_bytes = 64 << 10;
    with->options.row_cache_bytes = 64 << 10;
    harness_open(with);
}

/* All is in its place, and nothing in the overlay any more. */
static void drain(sk_store *store)
{
    uint64_t durable;
    sk_store_snapshot_free(store, sk_store_snapshot_take(store));
    while (stat_of(store, "store_overlay_keys")) assert_int_equal(sk_store_reap(store, &durable), SK_OK);
}

static void a_read_that_fails_is_no_answer(void **state)
{
    (void)state;
    harness with;
    start(&with, (size_t)8 << 20);
    for (uint32_t i = 0; i < ROWS; i++) put_row(with.store, i % 2 ? SK_CF_ROW : SK_CF_HISTORY, i, 'a');
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    drain(with.store);
    assert_int_equal(stat_of(with.store, "store_tables_placed"), 2);
    for (int how = GOOD; how <= DAMAGED; how++) {
        int error = how == DAMAGED ? SK_E_CORRUPT : SK_E_IO;
        sk_store_snapshot *snapshot = sk_store_snapshot_take(with.store);
        sk_buf value = {0};
        atomic_store(&tables, how);
        for (uint32_t i = 0; i < ROWS; i++) {
            int got = row(with.store, i % 2 ? SK_CF_ROW : SK_CF_HISTORY, i);
            if (got != 'a') assert_int_equal(got, error); /* a block may have been kept */
            if (how == GOOD) assert_int_equal(got, 'a');
        }
        int counted = count_rows(with.store, SK_CF_ROW, 'a');
        int got = sk_store_snapshot_get(with.store, snapshot, SK_CF_HISTORY, sk_bytes_str("key00000"), &value);
        atomic_store(&tables, GOOD);
        assert_int_equal(counted, how == GOOD ? ROWS / 2 : error);
        assert_int_equal(got, how == GOOD ? 1 : error);
        sk_store_snapshot_free(with.store, snapshot);
        sk_buf_free(&value);
        for (uint32_t i = 0; i < ROWS; i++)
            assert_int_equal(row(with.store, i % 2 ? SK_CF_ROW : SK_CF_HISTORY, i), 'a');
        assert_int_equal(count_rows(with.store, SK_CF_ROW, 'a'), ROWS / 2);
    }
    harness_end(&with);
}

/* What the log still has was placed, and the overlay has none of it. A replay takes it back, and goes over it again. */
static void assert_never_something_older(harness *with, _Atomic bool *fails, uint32_t rows)
{
    for (int i = 0; i < 2; i++) {
        atomic_store(fails, true);
        int result = sk_store_reopen(with->store);
        int found = row(with->store, SK_CF_ROW, 1), meta = row(with->store, SK_CF_META, 1);
        int counted = count_rows(with->store, SK_CF_ROW, 'b');
        atomic_store(fails, false);
        assert_int_equal(result, SK_E_IO);
        if (found != 'b') assert_int_equal(found, SK_E_IO);
        if (meta != 'b') assert_int_equal(meta, SK_E_IO);
        if (counted >= 0)
            assert_int_equal(counted, rows);
        else
            assert_int_equal(counted, SK_E_IO);
    }
    assert_int_equal(sk_store_reopen(with->store), SK_OK);
    assert_int_equal(row(with->store, SK_CF_ROW, 1), 'b');
    assert_int_equal(row(with->store, SK_CF_META, 1), 'b');
    assert_int_equal(count_rows(with->store, SK_CF_ROW, 'b'), rows);
}

static void half_a_replay_is_not_read_from(void **state)
{
    (void)state;
    harness with;
    start(&with, (size_t)8 << 20);
    for (uint32_t i = 0; i < ROWS; i++) put_row(with.store, SK_CF_ROW, i, 'a');
    put_row(with.store, SK_CF_META, 1, 'a');
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    sk_store_remove_range(with.store, SK_CF_ROW, SK_BYTES_NONE, sk_bytes_str("l"));
    for (uint32_t i = 0; i < ROWS; i++) put_row(with.store, SK_CF_ROW, i, 'b');
    put_row(with.store, SK_CF_META, 1, 'b');
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    drain(with.store);
    assert_int_equal(count_rows(with.store, SK_CF_ROW, 'b'), ROWS);
    assert_never_something_older(&with, &no_new_table, ROWS);
    harness_end(&with);
}

static void the_first_piece_of_a_replay_is_not_read_from(void **state)
{
    (void)state;
    harness with;
    start(&with, (size_t)48 << 20);
    put_row(with.store, SK_CF_ROW, 1, 'a');
    put_row(with.store, SK_CF_META, 1, 'a');
    for (uint32_t i = 0; i < MORE_ROWS; i++) put_row(with.store, SK_CF_STAGED, i, 'a');
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    for (uint32_t i = 0; i < ROWS; i++) put_row(with.store, SK_CF_ROW, i, 'b');
    put_row(with.store, SK_CF_META, 1, 'b');
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    drain(with.store);
    assert_never_something_older(&with, &log_is_cut, ROWS);
    harness_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_that_fails_is_no_answer),
        cmocka_unit_test(half_a_replay_is_not_read_from),
        cmocka_unit_test(the_first_piece_of_a_replay_is_not_read_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
