/* The n-th call that writes to the disk fails, for n = 1, 2, 3 … until the workload makes fewer: our own calls and RocksDB's
 * alike; or the n-th of our own that reads the disk or looks at it. The store answers with an error and goes back to what the disk has, or it refuses to start, with a sentence. Never
 * is anything lost that was said to be durable, and what is there is always a prefix of the batches.
 *
 * That holds for each durability: what ends here is a process, and what it wrote stays with the system.
 *
 * Each run is a process of its own, and another one looks at what it left: like a node that was killed. */
#include "tests/fault/calls.h"
#include "tests/part.h"
#include "tests/unit/store_harness.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { BATCHES = 36, KEYS = 7, VALUE = 700, TRIES = 8, HANGS_S = 60 };

/* How a process ended. ROCKSDB: some of its writers do not survive an error of the disk (in Debian's build an assertion in
 * WritableFileWriter). The node is then started again, and has lost nothing either. What else raises SIGABRT is a failure: an
 * assertion of ours, an exception that nobody caught, malloc that finds its heap damaged. They are told apart by what they say. */
enum { WELL = 0, REFUSED = 3, WRONG = 4, ROCKSDB = 5 };

typedef struct {
    fault_control control;
    uint64_t acked; /* the last batch that was said to be durable */
    uint64_t reopened, refused;
} page;

static page *shared;
static int said = -1; /* a file: what the last process wrote to its standard error */

#define must(condition) ((condition) ? (void)0 : wrong(#condition, __LINE__))

#ifdef SK_COVERAGE
void __gcov_dump(void);
#endif

/* As a process that is killed leaves: nothing is closed or written any more, but gcov's counts. */
static _Noreturn void leave(int code)
{
    fault->kinds = 0;
#ifdef SK_COVERAGE
    __gcov_dump();
#endif
    _exit(code);
}

static void wrong(const char *condition, int line)
{
    fprintf(stderr, "call %llu, line %d: not so: %s\n", (unsigned long long)fault->first, line, condition);
    leave(WRONG);
}

/* -- the history: what batch `number` changes depends on its number alone ------------------------------------------ */

static const char *row_name(uint64_t number)
{
    static char name[16];
    snprintf(name, sizeof name, "k%llu", (unsigned long long)(number % KEYS));
    return name;
}

static const char *history_name(uint64_t number)
{
    static char name[24];
    snprintf(name, sizeof name, "%08llu", (unsigned long long)number);
    return name;
}

static const char *value_of(uint64_t number)
{
    static char value[VALUE + 1];
    memset(value, 'v', VALUE);
    int len = snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    value[len] = ' ';
    value[VALUE] = '\0';
    return value;
}

static void change(sk_store *store, uint64_t number)
{
    if (number % 5 == 0)
        sk_store_remove(store, SK_CF_ROW, sk_bytes_str(row_name(number)));
    else
        put(store, SK_CF_ROW, row_name(number), value_of(number));
    put(store, SK_CF_HISTORY, history_name(number), "");
    if (number % 12 == 0) sk_store_remove_range(store, SK_CF_HISTORY, SK_BYTES_NONE, sk_bytes_str(history_name(number - 8)));
    put(store, SK_CF_META, "last", history_name(number));
}

static bool same(sk_store *store, sk_cf cf, const char *key, const char *wanted)
{
    sk_bytes value;
    int found = sk_store_get(store, cf, sk_bytes_str(key), &value, NULL);
    if (found < 0 || (found > 0) != (wanted != NULL)) return false;
    return !found || sk_bytes_equal(value, sk_bytes_str(wanted));
}

/* All of the first batches and nothing of others. Returns how many they are. */
static uint64_t check(sk_store *store)
{
    sk_bytes value;
    int found = sk_store_get(store, SK_CF_META, sk_bytes_str("last"), &value, NULL);
    must(found >= 0);
    char digits[9] = "";
    must(!found || value.len == 8);
    if (found) memcpy(digits, value.data, 8);
    uint64_t last = strtoull(digits, NULL, 10);
    uint64_t floor = last < 12 ? 1 : last / 12 * 12 - 8;
    for (uint64_t number = 1; number <= BATCHES; number++)
        must(same(store, SK_CF_HISTORY, history_name(number), number >= floor && number <= last ? "" : NULL));
    for (uint64_t key = 0; key < KEYS; key++) {
        uint64_t newest = last;
        while (newest > 0 && newest % KEYS != key) newest--;
        must(same(store, SK_CF_ROW, row_name(key), newest && newest % 5 ? value_of(newest) : NULL));
    }
    return last;
}

/* -- a process that works, and one that looks ---------------------------------------------------------------------- */

static bool open_store(harness *with)
{
    char error[SK_ROCKSDB_ERROR] = "";
    sem_init(&with->woken, 0, 0);
    with->on_disk = true;
    with->options = (sk_rocksdb_options){.path = with->path,
                                         .wake = harness_wake,
                                         .context = &with->woken,
                                         .durability = fault->first % 4 < 2 ? SK_DURABILITY_ALWAYS : SK_DURABILITY_INTERVAL,
                                         .interval_ms = 1,
                                         .write_buffer_bytes = 1 << 20,
                                         .place_bytes = 6000,
                                         .segment_bytes = 5000};
    int status = sk_rocksdb_open(&with->options, &with->store, error);
    must((status == 0) == (error[0] == '\0'));
    if (status) must(status == SK_E_IO || status == SK_E_DISK_FULL || status == SK_E_CORRUPT);
    if (status == SK_E_CORRUPT) fprintf(stderr, "call %llu: %s\n", (unsigned long long)fault->first, error);
    return status == 0;
}

/* A copy of the files is made, or not, and the store does not care. */
static void copy_files(harness *with)
{
    char path[128], error[SK_ROCKSDB_ERROR] = "";
    sk_buf name = {0};
    snprintf(path, sizeof path, "%s/copy", with->path);
    int status = sk_rocksdb_checkpoint(with->store, path, error);
    must((status == 0) == (error[0] == '\0'));
    if (!status) status = sk_rocksdb_name(with->store, &name, error);
    must(status || name.len > 0);
    (void)sk_rocksdb_last_error(with->store);
    sk_buf_free(&name);
}

/* As the node does it. True when the store takes writes again. */
static bool reopen(harness *with)
{
    for (int i = 0; i < TRIES; i++)
        if (sk_store_reopen(with->store) == 0) return true;
    return false;
}

static void work(harness *with)
{
    for (int i = 0; !open_store(with); i++) {
        shared->refused++;
        if (i == TRIES) leave(REFUSED);
    }
    uint64_t more = fault->first % 4 == 3 ? BATCHES : fault->first % 4; /* batches after the one that was hit */
    for (uint64_t number = 1; number <= BATCHES; number++) {
        change(with->store, number);
        if (harness_seal_commit(with) == 0) {
            shared->acked = number;
        } else {
            if (!reopen(with)) leave(REFUSED);
            shared->reopened++;
            number = check(with->store);
            must(number >= shared->acked);
        }
        if (fault->failed && more-- == 0) leave(WELL); /* as if killed: what is not in its place is in the log, or lost */
        if (number % 9 == 0) sk_store_snapshot_free(with->store, sk_store_snapshot_take(with->store)); /* waits for placing */
        if (number % 17 == 0 && fault->kinds & FAULT_LOOK) copy_files(with);
        if (number == 25 && fault->kinds & FAULT_LOOK && !reopen(with)) leave(REFUSED);
    }
    sk_store_close(with->store);
    leave(WELL);
}

static void look(harness *with)
{
    fault->kinds = 0;
    must(open_store(with));
    must(check(with->store) >= shared->acked);
    change(with->store, BATCHES + 1);
    must(harness_seal_commit(with) == 0); /* it takes writes */
    sk_store_close(with->store);
    leave(WELL);
}

/* Whether the last words are those of an assertion in RocksDB: "./file/some_file.cc:1: rocksdb::Some::Function(): Assertion `…". */
static bool is_rocksdbs(const char *text)
{
    const char *last = text, *next;
    while ((next = strchr(last, '\n')) && next[1]) last = next + 1;
    return strstr(last, " rocksdb::") && strstr(last, ": Assertion `");
}

static int in_a_process(void (*run)(harness *), harness *with)
{
    int status;
    char text[8192];
    assert_int_equal(ftruncate(said, 0), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (dup2(said, STDERR_FILENO) < 0 || lseek(STDERR_FILENO, 0, SEEK_SET) < 0) _exit(WRONG);
        fault = &shared->control;
        alarm(HANGS_S);
        run(with);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    ssize_t len = pread(said, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    fputs(text, stderr);
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    return WTERMSIG(status) == SIGABRT && is_rocksdbs(text) ? ROCKSDB : -WTERMSIG(status);
}

/* -- sweeps -------------------------------------------------------------------------------------------------------- */

/* The calls from the first on, one in `step`; or a part of these. */
static void sweep(uint32_t kind, int error, uint64_t length, uint64_t step, bool is_told)
{
    uint64_t runs = 0, reopened = 0, refused = 0, stopped = 0, aborted = 0;
    const test_part part = test_part_asked();
    for (uint64_t n = 1 + part.k * step;; n += part.of * step) {
        harness with = {.path = "/dev/shm/skerry-fault-XXXXXX"};
        assert_non_null(mkdtemp(with.path));
        *shared = (page){.control = {.kinds = kind, .error = error, .first = n, .length = length}};
        int worked = in_a_process(work, &with);
        if (worked != WELL && worked != REFUSED && worked != ROCKSDB)
            fail_msg("call %llu: the process that works ended with %d", (unsigned long long)n, worked);
        bool reached = shared->control.counted >= n;
        int looked = in_a_process(look, &with);
        if (looked != WELL) fail_msg("call %llu: the process that looks ended with %d", (unsigned long long)n, looked);
        remove_tree(with.path);
        if (!reached) break;
        runs++;
        reopened += shared->reopened;
        refused += shared->refused;
        stopped += worked == REFUSED;
        aborted += worked == ROCKSDB;
    }
    print_message("%llu calls: %llu times gone back, %llu refused to start, %llu stopped, %llu ended by RocksDB\n",
                  (unsigned long long)runs, (unsigned long long)reopened, (unsigned long long)refused,
                  (unsigned long long)stopped, (unsigned long long)aborted);
    assert_true(runs * part.of > 20);
    if (!is_told || part.of == 1) assert_int_equal(reopened > 0, is_told); /* a part of them may meet only what is in its way at a start */
}

static void one_call_fails(void **state)
{
    (void)state;
    sweep(FAULT_DISK, EIO, 1, 1, true);
}

static void the_disk_is_full_for_a_while(void **state)
{
    (void)state;
    sweep(FAULT_DISK, ENOSPC, 3, 3, true); /* each call is hit by one of them */
}

static void one_write_is_short(void **state)
{
    (void)state;
    sweep(FAULT_DISK, 0, 1, 3, false);
}

static void one_look_fails(void **state)
{
    (void)state;
    sweep(FAULT_LOOK, EIO, 1, 1, true);
}

static void no_look_succeeds_for_a_while(void **state)
{
    (void)state;
    sweep(FAULT_LOOK, ENOENT, 12, 7, true);
}

/* What reads or writes is made again. */
static void calls_are_interrupted(void **state)
{
    (void)state;
    sweep(FAULT_DISK | FAULT_LOOK, EINTR, 1, 5, false);
}

static void assert_of_ours(harness *with)
{
    fputs("./file/writable_file_writer.h:312: rocksdb::Some::Function(): Assertion `of before' failed.\n", stderr);
    sk_assert(with == NULL);
}

static void assert_of_rocksdb(harness *with)
{
    (void)with;
    fputs("RocksDB says something\n./file/some.cc:312: rocksdb::Status rocksdb::Some::Function(): Assertion `x' failed.\n", stderr);
    abort();
}

static void abort_without_words(harness *with)
{
    (void)with;
    abort();
}

static void only_rocksdb_may_abort(void **state)
{
    (void)state;
    harness with = {0};
    *shared = (page){0};
    assert_int_equal(in_a_process(assert_of_rocksdb, &with), ROCKSDB);
    assert_int_equal(in_a_process(abort_without_words, &with), -SIGABRT); /* and the words of the last one are forgotten */
    assert_int_equal(in_a_process(assert_of_ours, &with), -SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_rocksdb_may_abort),
        cmocka_unit_test(one_call_fails),
        cmocka_unit_test(the_disk_is_full_for_a_while),
        cmocka_unit_test(one_write_is_short),
        cmocka_unit_test(one_look_fails),
        cmocka_unit_test(no_look_succeeds_for_a_while),
        cmocka_unit_test(calls_are_interrupted),
    };
    void *made = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) return 1;
    shared = made;
    said = memfd_create("said", MFD_CLOEXEC);
    if (said < 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
