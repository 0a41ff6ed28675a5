/* Files for later segments of the commit log: which are kept, and that one is written where there is none. */
#include "storage/spares.h"
#include "tests/unit/store_harness.h"

#include <dirent.h>

enum { BYTES = 100000 };

typedef struct {
    char path[64];
    sk_spares spares;
} bench;

/* Not on the stack of a test, which may fail: there may be a thread. */
static bench *start(size_t bytes)
{
    bench *with = sk_alloc(sizeof *with);
    strcpy(with->path, "/tmp/skerry-spares-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    sk_spares_init(&with->spares, with->path, bytes);
    return with;
}

static void end(bench *with)
{
    sk_spares_free(&with->spares);
    remove_tree(with->path);
    free(with);
}

/* A file in the folder, which begins with its name and has so many bytes. */
static char *file_with(const bench *with, const char *name, off_t bytes)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", with->path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(name, file);
    fclose(file);
    assert_int_equal(truncate(path, bytes), 0);
    return path;
}

static char *file_of(const bench *with, const char *name)
{
    return file_with(with, name, BYTES);
}

static void give(bench *with, uint64_t number)
{
    char name[32];
    snprintf(name, sizeof name, "segment %d", (int)number);
    assert_int_equal(sk_spares_give(&with->spares, file_of(with, name), number), 0);
}

static bool take(bench *with, char *text, size_t room)
{
    char path[160];
    snprintf(path, sizeof path, "%s/new", with->path);
    if (!sk_spares_take(&with->spares, path)) return false;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, room - 1, file)] = '\0';
    fclose(file);
    return true;
}

static size_t files_in(const bench *with)
{
    size_t count = 0;
    DIR *list = opendir(with->path);
    for (struct dirent *entry; (entry = readdir(list));) count += entry->d_name[0] != '.';
    closedir(list);
    return count;
}

/* What the thread was asked for is done, or was given up. */
static size_t count_when_done(bench *with)
{
    pthread_mutex_t *lock = &with->spares.worker.lock;
    for (int tries = 0; tries < 5000; tries++) {
        pthread_mutex_lock(lock);
        bool done = !with->spares.asked;
        size_t count = with->spares.count;
        pthread_mutex_unlock(lock);
        if (done) return count;
        usleep(1000);
    }
    fail_msg("it does not come to its end");
    return 0;
}

static void what_was_given_is_taken(void **state)
{
    (void)state;
    char text[32];
    bench *with = start(BYTES);
    assert_false(take(with, text, sizeof text));
    give(with, 7);
    assert_int_equal(files_in(with), 1);
    assert_true(take(with, text, sizeof text));
    assert_string_equal(text, "segment 7");
    assert_false(take(with, text, sizeof text));
    end(with);
}

static void more_than_enough_is_removed(void **state)
{
    (void)state;
    bench *with = start(BYTES);
    for (uint64_t number = 1; number <= SK_SPARES_MAX + 3; number++) give(with, number);
    assert_int_equal(with->spares.count, SK_SPARES_MAX);
    assert_int_equal(files_in(with), SK_SPARES_MAX);
    assert_int_equal(sk_spares_give(&with->spares, "/nowhere/at all", 99), ENOENT);
    end(with);
}

static void they_outlive_the_process(void **state)
{
    (void)state;
    char text[32];
    bench *with = start(BYTES);
    assert_int_equal(sk_spares_look(&with->spares), 0);
    for (uint64_t number = 1; number <= SK_SPARES_MAX + 3; number++) {
        char name[32];
        snprintf(name, sizeof name, "spare-%016llx", (unsigned long long)number * 16);
        file_of(with, name);
    }
    file_of(with, "spare-00000000000000ff0");
    file_of(with, "0000000000000fff");
    assert_int_equal(sk_spares_look(&with->spares), (SK_SPARES_MAX + 3) * 16);
    assert_int_equal(files_in(with), SK_SPARES_MAX + 2);
    for (int i = 0; i < SK_SPARES_MAX; i++) assert_true(take(with, text, sizeof text));
    assert_false(take(with, text, sizeof text));
    end(with);
}

/* What was to become a segment when the disk was full: the next full disk is not to be met in the midst of a commit. */
static void what_is_short_goes(void **state)
{
    (void)state;
    char text[32];
    bench *with = start(BYTES);
    assert_int_equal(sk_spares_give(&with->spares, file_with(with, "segment 1", BYTES - 1), 1), 0);
    assert_int_equal(files_in(with), 0);
    file_with(with, "spare-0000000000000007", 0);
    assert_int_equal(sk_spares_look(&with->spares), 7);
    assert_int_equal(files_in(with), 0);
    assert_false(take(with, text, sizeof text));
    end(with);
}

/* It had a record that was far larger than a segment. */
static void what_is_long_is_shortened(void **state)
{
    (void)state;
    char path[160];
    struct stat status;
    bench *with = start(BYTES);
    assert_int_equal(sk_spares_give(&with->spares, file_with(with, "segment 1", 2 * BYTES), 1), 0);
    assert_int_equal(sk_spares_give(&with->spares, file_with(with, "segment 2", 2 * BYTES + 1), 2), 0);
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/spare-%016x", with->path, i);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, i == 1 ? 2 * BYTES : BYTES);
    }
    file_with(with, "spare-0000000000000007", 2 * BYTES + 1); /* the process ended before it was shortened */
    assert_int_equal(sk_spares_look(&with->spares), 7);
    assert_int_equal(files_in(with), 2);
    end(with);
}

/* Somebody has removed them. */
static void one_that_is_gone_is_passed_over(void **state)
{
    (void)state;
    char text[32], path[160];
    bench *with = start(BYTES);
    give(with, 1);
    give(with, 2);
    snprintf(path, sizeof path, "%s/spare-%016x", with->path, 2);
    assert_int_equal(unlink(path), 0);
    assert_true(take(with, text, sizeof text));
    assert_string_equal(text, "segment 1");
    end(with);
}

static void one_is_written_where_there_is_none(void **state)
{
    (void)state;
    struct stat status;
    char path[160];
    bench *with = start(BYTES);
    sk_spares_ask(&with->spares);
    assert_int_equal(count_when_done(with), 1);
    sk_spares_ask(&with->spares);
    assert_int_equal(count_when_done(with), 1);
    assert_int_equal(files_in(with), 1);
    snprintf(path, sizeof path, "%s/new", with->path);
    assert_true(sk_spares_take(&with->spares, path));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, BYTES);
    assert_true(status.st_blocks * 512 >= BYTES);
    sk_spares_ask(&with->spares);
    assert_int_equal(count_when_done(with), 1);
    end(with);
}

static void none_is_written_where_there_is_no_room(void **state)
{
    (void)state;
    bench *with = start((size_t)1 << 50);
    sk_spares_ask(&with->spares);
    assert_int_equal(count_when_done(with), 0);
    assert_int_equal(files_in(with), 0);
    end(with);
}

static void wait_for_a_file(const bench *with)
{
    for (int tries = 0; tries < 5000 && files_in(with) == 0; tries++) usleep(1000);
    assert_int_equal(files_in(with), 1);
}

/* A store that failed is opened again while the thread is at work: nobody may take what it still writes to. */
static void what_is_being_written_is_nobodys(void **state)
{
    (void)state;
    static const char mark[] = "a record";
    char path[160], text[sizeof mark] = "";
    struct stat status;
    bench *with = start(64 << 20);
    sk_spares_ask(&with->spares);
    wait_for_a_file(with);
    (void)sk_spares_look(&with->spares);
    snprintf(path, sizeof path, "%s/new", with->path);
    int fd = sk_spares_take(&with->spares, path) ? open(path, O_RDWR) : -1;
    if (fd >= 0) { /* it was through by then */
        assert_int_equal(fstat(fd, &status), 0);
        assert_int_equal(status.st_size, 64 << 20);
        assert_int_equal(pwrite(fd, mark, sizeof mark, (64 << 20) - sizeof mark), sizeof mark);
    }
    (void)count_when_done(with);
    if (fd >= 0) {
        assert_int_equal(pread(fd, text, sizeof text, (64 << 20) - sizeof mark), sizeof mark);
        assert_string_equal(text, mark);
        close(fd);
    }
    end(with);
}

/* A database that is closed does not wait for it. */
static void what_is_half_written_goes(void **state)
{
    (void)state;
    bench *with = start(64 << 20);
    sk_spares_ask(&with->spares);
    wait_for_a_file(with);
    sk_worker_stop(&with->spares.worker, true);
    assert_int_equal(files_in(with), with->spares.count);
    end(with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_given_is_taken),
        cmocka_unit_test(more_than_enough_is_removed),
        cmocka_unit_test(they_outlive_the_process),
        cmocka_unit_test(what_is_short_goes),
        cmocka_unit_test(what_is_long_is_shortened),
        cmocka_unit_test(one_that_is_gone_is_passed_over),
        cmocka_unit_test(one_is_written_where_there_is_none),
        cmocka_unit_test(none_is_written_where_there_is_no_room),
        cmocka_unit_test(what_is_being_written_is_nobodys),
        cmocka_unit_test(what_is_half_written_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
