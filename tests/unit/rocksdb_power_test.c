/* Power losses on the files of the real store. This program's own open, fsync, rename and so on stand before the C library's,
 * for RocksDB too, and keep a second folder, the disk: a name is there at once, and what was written only when it was synced
 * (no sync reaches the real one). A loss is a copy of that folder; opened, it must hold a prefix of the batches, with all
 * that had been given as durable. */
#include "tests/unit/store_harness.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

enum {
    LOSSES = 8,        /* of one run, at most */
    EVERY = 100, /* calls between two of them, at most */
    BATCHES = 240,
    KEYS = 600,
    VALUE_BYTES = 900,
    CHANGES = 120, /* of one batch, at most */
    SMALL_PLACE = 200 << 10,  /* many runs, none with a table */
    LARGE_PLACE = 4 << 20,    /* a few, with tables */
    SMALL_SEGMENT = 96 << 10, /* many are used up */
    LARGE_SEGMENT = 2 << 20,  /* none is, in a run */
    PATH = 256,
};

/* -- the disk ----------------------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    char root[64], disk[72]; /* what is written to, and what is on the disk of it; "": nobody looks */
    uint64_t calls, next;    /* of those below; the one with which the power goes. 0: not by itself */
    uint64_t seed;
    int losses;
    uint64_t durable[LOSSES]; /* what had been given as durable before */
} machine = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Atomic uint64_t durable; /* the batch up to which the store has said so */

static void lost_path(int loss, char path[PATH])
{
    snprintf(path, PATH, "%s.%d", machine.disk, loss);
}

/* With the lock. */
static void lose_power(void)
{
    if (machine.losses == LOSSES) return;
    char command[2 * PATH], to[PATH];
    lost_path(machine.losses, to);
    snprintf(command, sizeof command, "cp -R '%s' '%s'", machine.disk, to);
    machine.durable[machine.losses++] = atomic_load(&durable);
    if (system(command) != 0) abort();
}

/* The file's place on the disk. False: it is none of the store's. */
static bool on_disk(const char *path, char copy[PATH])
{
    size_t len = strlen(machine.root);
    if (!len || strncmp(path, machine.root, len) != 0 || (path[len] != '/' && path[len])) return false;
    snprintf(copy, PATH, "%s%s", machine.disk, path + len);
    return true;
}

static bool fd_on_disk(int fd, char path[PATH], char copy[PATH])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH - 1);
    if (len < 0) return false;
    path[len] = '\0';
    return on_disk(path, copy);
}

static void begin_call(void)
{
    pthread_mutex_lock(&machine.lock);
}

static long end_call(long result)
{
    int number = errno;
    if (machine.root[0] && ++machine.calls == machine.next) {
        lose_power();
        machine.next += 1 + roll(&machine.seed, EVERY);
    }
    pthread_mutex_unlock(&machine.lock);
    errno = number;
    return result;
}

static int raw_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

/* All of a file as it is now; nothing if it has no name any more. */
static void put_on_disk(const char *path, const char *copy)
{
    static char piece[1 << 16];
    int from = raw_open(path, O_RDONLY), to = raw_open(copy, O_WRONLY | O_TRUNC);
    for (ssize_t len; from >= 0 && to >= 0 && (len = read(from, piece, sizeof piece)) > 0;)
        if (syscall(SYS_write, to, piece, (size_t)len) != len) abort();
    if (from >= 0) close(from);
    if (to >= 0) close(to);
}

static int sync_file(int fd)
{
    char path[PATH], copy[PATH];
    struct stat status;
    begin_call();
    if (fd_on_disk(fd, path, copy) && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) put_on_disk(path, copy);
    return (int)end_call(0);
}

int fsync(int fd) { return sync_file(fd); }
int fdatasync(int fd) { return sync_file(fd); }

int open(const char *path, int flags, ...)
{
    char copy[PATH];
    begin_call();
    int fd = raw_open(path, flags);
    if (fd >= 0 && (flags & (O_CREAT | O_TRUNC)) && on_disk(path, copy)) {
        int there = raw_open(copy, O_WRONLY | (flags & (O_CREAT | O_TRUNC)));
        if (there >= 0) close(there);
    }
    return (int)end_call(fd);
}

int rename(const char *from, const char *to)
{
    char old[PATH], new[PATH];
    begin_call();
    long result = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (result == 0 && on_disk(from, old) && on_disk(to, new)) syscall(SYS_renameat, AT_FDCWD, old, AT_FDCWD, new);
    return (int)end_call(result);
}

int link(const char *from, const char *to)
{
    char old[PATH], new[PATH];
    begin_call();
    long result = syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0 && on_disk(from, old) && on_disk(to, new)) syscall(SYS_linkat, AT_FDCWD, old, AT_FDCWD, new, 0);
    return (int)end_call(result);
}

int unlink(const char *path)
{
    char copy[PATH];
    begin_call();
    long result = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (result == 0 && on_disk(path, copy)) syscall(SYS_unlinkat, AT_FDCWD, copy, 0);
    return (int)end_call(result);
}

int mkdir(const char *path, mode_t mode)
{
    char copy[PATH];
    begin_call();
    long result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0 && on_disk(path, copy)) syscall(SYS_mkdirat, AT_FDCWD, copy, mode);
    return (int)end_call(result);
}

/* A file's size, like its name, is there at once. */
static void resize(int fd, off_t bytes, bool shrink)
{
    char path[PATH], copy[PATH];
    struct stat status;
    if (fd_on_disk(fd, path, copy) && stat(copy, &status) == 0 && (shrink || status.st_size < bytes))
        (void)!syscall(SYS_truncate, copy, bytes);
}

int ftruncate(int fd, off_t bytes)
{
    begin_call();
    long result = syscall(SYS_ftruncate, fd, bytes);
    if (result == 0) resize(fd, bytes, true);
    return (int)end_call(result);
}

int fallocate(int fd, int mode, off_t from, off_t bytes)
{
    begin_call();
    long result = syscall(SYS_fallocate, fd, mode, from, bytes);
    if (result == 0 && mode == 0) resize(fd, from + bytes, false);
    return (int)end_call(result);
}

/* -- the batches -------------------------------------------------------------------------------------------------- */

static sk_bytes key_of(uint32_t number, char key[16])
{
    snprintf(key, 16, "key%05u", number);
    return sk_bytes_str(key);
}

/* The changes of a batch, which only its number and the seed decide, into any store. */
static void change(sk_store *store, uint64_t seed, uint64_t number)
{
    static char value[VALUE_BYTES];
    char text[32], key[16], end[16];
    uint64_t dice = seed * 1000 + number;
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    for (uint32_t left = 1 + roll(&dice, CHANGES); left > 0; left--) {
        sk_cf cf = (sk_cf)roll(&dice, SK_CF_COUNT);
        uint32_t at = roll(&dice, KEYS), kind = roll(&dice, 40);
        if (kind == 0) {
            sk_store_remove_range(store, cf, key_of(at, key), roll(&dice, 2) ? key_of(at + 30, end) : SK_BYTES_NONE);
        } else if (kind < 6) {
            sk_store_remove(store, cf, key_of(at, key));
        } else {
            memset(value, 'a' + (int)roll(&dice, 26), sizeof value);
            memcpy(value, text, strlen(text) + 1);
            sk_store_put(store, cf, key_of(at, key), sk_bytes_of(value, 20 + roll(&dice, sizeof value - 20)));
        }
    }
    put(store, SK_CF_META, "number", text);
}

static void assert_equal_stores(sk_store *store, sk_store *model)
{
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        sk_store_iter *a = sk_store_iterate(store, NULL, (sk_cf)cf, SK_BYTES_NONE, SK_BYTES_NONE);
        sk_store_iter *b = sk_store_iterate(model, NULL, (sk_cf)cf, SK_BYTES_NONE, SK_BYTES_NONE);
        sk_bytes key_a, value_a, key_b, value_b;
        for (int some = 1; some;) {
            some = sk_store_next(store, a, &key_a, &value_a);
            assert_int_equal(some, sk_store_next(model, b, &key_b, &value_b));
            if (!some) break;
            assert_true(sk_bytes_equal(key_a, key_b));
            assert_true(sk_bytes_equal(value_a, value_b));
        }
        sk_store_iter_free(store, a);
        sk_store_iter_free(model, b);
    }
}

/* RocksDB cannot tell damage in its log from the torn end of one, and takes what is before it for all there was. */
static void empty_logs(const char *folder)
{
    char path[PATH];
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) {
        size_t len = strlen(entry->d_name);
        if (len < 4 || strcmp(entry->d_name + len - 4, ".log") != 0) continue;
        assert_true(snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < PATH);
        assert_int_equal(truncate(path, 0), 0);
    }
    closedir(list);
}

/* -- runs --------------------------------------------------------------------------------------------------------- */

/* What a machine finds after a loss: batches up to some number, all of each. */
static void assert_prefix(harness *with, uint64_t seed, int loss)
{
    char path[PATH];
    lost_path(loss, path);
    harness found = {.on_disk = true, .durability = with->durability, .options = with->options};
    sem_init(&found.woken, 0, 0);
    assert_true(strlen(path) < sizeof found.path);
    strcpy(found.path, path);
    harness_open(&found);
    const char *text = get(found.store, SK_CF_META, "number");
    uint64_t number = text ? strtoull(text, NULL, 10) : 0;
    if (number < machine.durable[loss])
        print_error("loss %d: %llu batches, and %llu had been durable\n", loss, (unsigned long long)number,
                    (unsigned long long)machine.durable[loss]);
    assert_true(number >= machine.durable[loss]);
    sk_store *model = sk_memory_open(SK_DURABILITY_OS);
    for (uint64_t i = 1; i <= number; i++) change(model, seed, i);
    assert_equal_stores(found.store, model);
    sk_store_close(model);
    harness_end(&found);
}

static void start_machine(harness *with, uint64_t seed, sk_durability durability)
{
    *with = (harness){.on_disk = true, .durability = durability};
    with->options.segment_bytes = seed % 2 ? SMALL_SEGMENT : LARGE_SEGMENT;
    with->options.place_bytes = seed % 4 < 2 ? SMALL_PLACE : LARGE_PLACE;
    sem_init(&with->woken, 0, 0);
    strcpy(with->path, "/tmp/skerry-store-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    machine.losses = 0;
    machine.seed = seed;
    machine.calls = 0;
    machine.next = 1 + roll(&machine.seed, EVERY);
    atomic_store(&durable, 0);
    snprintf(machine.disk, sizeof machine.disk, "%s.disk", with->path);
    assert_int_equal(mkdir(machine.disk, 0700), 0);
    strcpy(machine.root, with->path);
    harness_open(with);
}

static void commit_batches(harness *with, uint64_t seed, uint64_t from, uint64_t upto)
{
    uint64_t dice = seed;
    for (uint64_t i = from; i <= upto; i++) {
        change(with->store, seed, i);
        uint64_t batch = sk_store_seal(with->store);
        if (with->durability == SK_DURABILITY_ALWAYS || roll(&dice, 8) == 0)
            assert_int_equal(harness_commit(with, batch), SK_OK);
        bool flushes = roll(&dice, 40) == 0;
        if (flushes) assert_int_equal(sk_store_flush(with->store), SK_OK);
        if (flushes || with->durability == SK_DURABILITY_ALWAYS) atomic_store(&durable, i);
    }
}

/* The power goes now and then, and once more at the end. */
static void end_machine(harness *with, uint64_t seed)
{
    pthread_mutex_lock(&machine.lock);
    if (machine.losses == LOSSES) machine.losses--; /* the last one's folder is made anew */
    char last[PATH];
    lost_path(machine.losses, last);
    machine.root[0] = '\0';
    remove_tree(last);
    lose_power();
    pthread_mutex_unlock(&machine.lock);
    for (int i = 0; i < machine.losses; i++) assert_prefix(with, seed, i);
    remove_tree(machine.disk);
    remove_tree(with->path);
    sem_destroy(&with->woken);
}

static void a_loss_at_any_time(sk_durability durability)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        harness with;
        start_machine(&with, seed, durability);
        commit_batches(&with, seed, 1, BATCHES);
        pthread_mutex_lock(&machine.lock);
        machine.root[0] = '\0'; /* the machine is down: what the program still does reaches no disk */
        pthread_mutex_unlock(&machine.lock);
        sk_store_close(with.store);
        end_machine(&with, seed);
    }
}

static void always_loses_nothing_that_was_durable(void **state)
{
    (void)state;
    a_loss_at_any_time(SK_DURABILITY_ALWAYS);
}

static void what_is_not_synced_is_lost_from_some_batch_on(void **state)
{
    (void)state;
    a_loss_at_any_time(SK_DURABILITY_INTERVAL);
    a_loss_at_any_time(SK_DURABILITY_OS);
}

/* A clean stop syncs everything, under every durability; and so does the start after it. */
static void after_a_clean_stop_nothing_is_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        harness with;
        uint64_t batches = seed * 20;
        start_machine(&with, seed, (sk_durability)(seed % 3));
        commit_batches(&with, seed, 1, batches / 2);
        sk_store_close(with.store);
        atomic_store(&durable, batches / 2);
        harness_open(&with);
        commit_batches(&with, seed, batches / 2 + 1, batches);
        sk_store_close(with.store);
        atomic_store(&durable, batches);
        end_machine(&with, seed);
    }
}

static void after_a_clean_stop_nothing_is_in_rocksdbs_log(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        harness with;
        char folder[PATH];
        start_machine(&with, seed, SK_DURABILITY_ALWAYS);
        machine.next = 0;
        commit_batches(&with, seed, 1, 20);
        sk_store_close(with.store);
        snprintf(folder, sizeof folder, "%s/db", machine.disk);
        empty_logs(folder);
        atomic_store(&durable, 20);
        end_machine(&with, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(always_loses_nothing_that_was_durable),
        cmocka_unit_test(what_is_not_synced_is_lost_from_some_batch_on),
        cmocka_unit_test(after_a_clean_stop_nothing_is_lost),
        cmocka_unit_test(after_a_clean_stop_nothing_is_in_rocksdbs_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
