/* Durability as the kernel sees it: this program's own fdatasync and fsync stand before the C library's and count, so that
 * a commit that says it is on disk without having asked for it is seen without a power loss. */
#include "storage/committer.h"
#include "tests/unit/store_harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static atomic_uint syncs;
static pthread_t tester;
static atomic_uint written_here; /* appends by the thread that tests */
static atomic_bool pretended;    /* a sync does nothing but take so long */
static atomic_uint takes_us;
static atomic_uint failing;      /* so many syncs fail */

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (pthread_equal(pthread_self(), tester)) atomic_fetch_add(&written_here, 1);
    return syscall(SYS_writev, fd, parts, count);
}

int fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    if (atomic_load(&takes_us)) usleep(atomic_load(&takes_us));
    if (atomic_load(&failing)) {
        atomic_fetch_sub(&failing, 1);
        errno = EIO;
        return -1;
    }
    return atomic_load(&pretended) ? 0 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fsync, fd);
}

/* How many of ten commits, one after the other, were synced before they counted as durable. */
static unsigned synced_commits(sk_durability durability)
{
    harness with;
    unsigned synced = 0;
    harness_start(&with, true, durability);
    for (int i = 0; i < 10; i++) {
        unsigned before = atomic_load(&syncs);
        put(with.store, SK_CF_ROW, "key", "value");
        assert_int_equal(harness_seal_commit(&with), SK_OK);
        synced += atomic_load(&syncs) != before;
    }
    harness_end(&with);
    return synced;
}

static void always_is_synced_each_time(void **state)
{
    (void)state;
    assert_int_equal(synced_commits(SK_DURABILITY_ALWAYS), 10);
}

/* Also shows that the count above is not of something else that goes on. */
static void os_leaves_it_to_the_system(void **state)
{
    (void)state;
    assert_true(synced_commits(SK_DURABILITY_OS) < 10);
}

static void a_flush_is_synced_whatever_is_configured(void **state)
{
    (void)state;
    harness with;
    harness_start(&with, true, SK_DURABILITY_OS);
    put(with.store, SK_CF_ROW, "key", "value");
    assert_int_equal(harness_seal_commit(&with), SK_OK);
    unsigned before = atomic_load(&syncs);
    assert_int_equal(sk_store_flush(with.store), SK_OK);
    assert_true(atomic_load(&syncs) > before);
    harness_end(&with);
}

/* How many of some small commits the thread that sealed them wrote itself. */
static unsigned commit_some(harness *with, int commits)
{
    unsigned before = atomic_load(&written_here);
    for (int i = 1; i <= commits; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        put(with->store, SK_CF_ROW, "key", value);
        assert_int_equal(harness_seal_commit(with), SK_OK);
        if (i % 10 == 0) sched_yield();
    }
    return atomic_load(&written_here) - before;
}

static unsigned commits_written_here(sk_durability durability)
{
    harness with;
    harness_start(&with, true, durability);
    unsigned written = commit_some(&with, 1000);
    sk_store_close(with.store);
    harness_open(&with);
    assert_value(with.store, SK_CF_ROW, "key", "1000");
    harness_end(&with);
    return written;
}

static void a_small_commit_without_a_sync_wakes_no_thread(void **state)
{
    (void)state;
    tester = pthread_self();
    assert_true(commits_written_here(SK_DURABILITY_OS) > 0);
    assert_true(commits_written_here(SK_DURABILITY_INTERVAL) > 0);
}

/* The kernel says once that it could not write, and takes it for written then: to whom it said so may be another thread. */
static void after_a_sync_that_failed_none_is_good(void **state)
{
    (void)state;
    char path[] = "/tmp/skerry-sync-XXXXXX", error[SK_FOLDER_ERROR];
    sk_journal journal;
    assert_non_null(mkdtemp(path));
    sk_journal_init(&journal, path, 1 << 20);
    assert_int_equal(sk_journal_restart(&journal, error), 0);
    assert_int_equal(sk_journal_append(&journal, 1, sk_bytes_str("some"), error), 0);
    atomic_store(&failing, 1);
    assert_int_equal(sk_journal_sync(&journal, error), SK_E_IO);
    assert_int_equal(sk_journal_sync(&journal, error), SK_E_IO);
    sk_journal_close(&journal);
    assert_int_equal(sk_journal_restart(&journal, error), 0);
    assert_int_equal(sk_journal_sync(&journal, error), 0);
    sk_journal_free(&journal);
    remove_tree(path);
}

/* Placing is behind, and nobody knows for how long: the interval is not to become that. */
static void what_waits_for_room_is_synced_first(void **state)
{
    (void)state;
    char path[] = "/tmp/skerry-sync-XXXXXX", error[SK_FOLDER_ERROR];
    sk_rocksdb_options options = {.durability = SK_DURABILITY_INTERVAL, .interval_ms = 3600000, .place_bytes = 1};
    sk_journal journal;
    sk_failure failure;
    sk_placing placing;
    sk_committer committer;
    sk_overlay overlay;
    assert_non_null(mkdtemp(path));
    sk_journal_init(&journal, path, 1 << 20);
    assert_int_equal(sk_journal_restart(&journal, error), 0);
    sk_failure_init(&failure);
    sk_placing_init(&placing, NULL, &journal, &failure, &options);
    sk_committer_init(&committer, &journal, NULL, &placing, &failure, &options);
    sk_overlay_init(&overlay, 1, 1 << 20);
    assert_int_equal(sk_committer_start(&committer), 0);
    for (int i = 0; i < 3; i++) {
        sk_overlay_change(&overlay, SK_CHANGE_PUT, SK_CF_ROW, sk_bytes_str("key"), sk_bytes_str("value"));
        sk_committer_submit(&committer, sk_overlay_seal(&overlay));
    }
    bool synced = false;
    for (int tries = 0; tries < 10000 && !synced; tries++) {
        usleep(1000);
        pthread_mutex_lock(&journal.lock);
        synced = atomic_load(&committer.durable) == 3 && journal.synced == journal.at;
        pthread_mutex_unlock(&journal.lock);
    }
    assert_true(synced);
    sk_committer_stop(&committer, true);
    sk_committer_free(&committer);
    sk_placing_free(&placing);
    sk_overlay_free(&overlay);
    sk_journal_free(&journal);
    sk_failure_free(&failure);
    remove_tree(path);
}

/* Under `always` likewise, while the disk is quick: for one that is slow nobody but the thread waits, once that is seen. */
static void a_quick_sync_wakes_no_thread_and_a_slow_one_is_waited_for_once(void **state)
{
    (void)state;
    harness with;
    tester = pthread_self();
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    atomic_store(&pretended, true);
    unsigned before = atomic_load(&syncs);
    assert_true(commit_some(&with, 1000) > 100);
    assert_true(atomic_load(&syncs) - before >= 1000);
    atomic_store(&takes_us, 2000);
    assert_true(commit_some(&with, 100) <= 1);
    atomic_store(&takes_us, 0);
    assert_true(commit_some(&with, 1000) > 100);
    atomic_store(&pretended, false);
    harness_end(&with);
}

/* More than the sync is worth waiting for is the thread's, however quick it is. */
static void a_large_commit_that_is_synced_is_left_to_the_thread(void **state)
{
    (void)state;
    static char large[40 << 10];
    harness with;
    tester = pthread_self();
    memset(large, 'x', sizeof large - 1);
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    atomic_store(&pretended, true);
    commit_some(&with, 1000);
    unsigned before = atomic_load(&written_here);
    for (int i = 0; i < 20; i++) {
        put(with.store, SK_CF_ROW, "large", large);
        assert_int_equal(harness_seal_commit(&with), SK_OK);
    }
    assert_int_equal(atomic_load(&written_here), before);
    atomic_store(&pretended, false);
    harness_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(always_is_synced_each_time),
        cmocka_unit_test(os_leaves_it_to_the_system),
        cmocka_unit_test(a_flush_is_synced_whatever_is_configured),
        cmocka_unit_test(a_small_commit_without_a_sync_wakes_no_thread),
        cmocka_unit_test(after_a_sync_that_failed_none_is_good),
        cmocka_unit_test(what_waits_for_room_is_synced_first),
        cmocka_unit_test(a_quick_sync_wakes_no_thread_and_a_slow_one_is_waited_for_once),
        cmocka_unit_test(a_large_commit_that_is_synced_is_left_to_the_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
