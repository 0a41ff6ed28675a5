/* Backups of a running node: where they may go, one at a time, and what is said of them. */
#include "node/backups.h"
#include "storage/backup.h"
#include "tests/unit/store_harness.h"

static void paths_stay_below_what_is_allowed(void **state)
{
    static const char *const good[][2] = {
        {"", "/var/b"},
        {"/var/b", "/var/b"},
        {"/var/b/", "/var/b"},
        {"eu", "/var/b/eu"},
        {"eu/daily", "/var/b/eu/daily"},
        {"/var/b/eu", "/var/b/eu"},
        {"eu/", "/var/b/eu"},
        {"/var/b/eu.1", "/var/b/eu.1"},
    };
    static const char *const bad[] = {"..",     "../b",         "eu/..",   "/",       "/etc", "/var/bb",  "/var",
                                      "eu//us", "/var/b/../..", ".hidden", "eu/./us", "a\nb", "/var/b/.x"};
    char path[SK_BACKUP_PATH_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(sk_backup_path("/var/b", sk_bytes_str(good[i][0]), path));
        assert_string_equal(path, good[i][1]);
        assert_true(sk_backup_path("/var/b/", sk_bytes_str(good[i][0]), path));
        assert_string_equal(path, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sk_backup_path("/var/b", sk_bytes_str(bad[i]), path));
    assert_false(sk_backup_path("/var/b", sk_bytes_of("a\0b", 3), path));
    char *longest = sk_alloc(SK_BACKUP_PATH_MAX + 1);
    memset(longest, 'x', SK_BACKUP_PATH_MAX);
    assert_false(sk_backup_path("/var/b", sk_bytes_str(longest), path));
    free(longest);
}

static void ended(void *self) { sem_post(self); }

static void wait_for(sem_t *end)
{
    while (sem_wait(end) < 0) assert_int_equal(errno, EINTR);
}

static void one_is_made_at_a_time(void **state)
{
    harness with;
    sem_t end;
    sk_buf error = {0};
    sk_backup_status status;
    (void)state;
    harness_start(&with, true, SK_DURABILITY_ALWAYS);
    sem_init(&end, 0, 0);
    char *allowed = sk_file_join(with.path, "backups");
    sk_backups *backups = sk_backups_new(with.store, with.path, allowed, 0, ended, &end);
    sk_backups_status(backups, &status);
    assert_int_equal(status.state, SK_BACKUP_NONE);
    assert_int_equal(sk_backups_start(backups, sk_bytes_str("/etc"), 1, &error), SK_E_CONFIG);
    assert_true(error.len > 0);
    sk_buf_reset(&error);
    /* A store without a database in it: the backup fails, and says so. */
    assert_int_equal(sk_backups_start(backups, SK_BYTES_NONE, 1, &error), SK_OK);
    wait_for(&end);
    sk_backups_status(backups, &status);
    assert_int_equal(status.state, SK_BACKUP_FAILED);
    assert_int_equal(status.error, SK_E_CORRUPT);
    assert_true(strstr(status.text, "cannot be read"));
    assert_string_equal(status.directory, allowed);
    char *left = sk_file_join(with.path, "checkpoint.tmp");
    assert_int_equal(access(left, F_OK), -1);
    sk_backups_free(backups);

    /* What a crash left of one, finished or not, keeps tables on the disk that are nobody's. */
    char *unfinished = sk_file_join(with.path, "checkpoint.tmp.tmp");
    assert_int_equal(mkdir(left, 0700) + mkdir(unfinished, 0700), 0);
    backups = sk_backups_new(with.store, with.path, NULL, 0, ended, &end);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(unfinished, F_OK), -1);
    free(unfinished);
    assert_int_equal(sk_backups_start(backups, SK_BYTES_NONE, 1, &error), SK_E_CONFIG);
    sk_backups_free(backups);
    sk_buf_free(&error);
    free(allowed);
    free(left);
    sem_destroy(&end);
    harness_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_stay_below_what_is_allowed),
        cmocka_unit_test(one_is_made_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
