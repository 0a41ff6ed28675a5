/* The power goes, or the process ends, at any call while a backup is made, backups are purged, or one is restored: what was there
 * before is whole, and what was to be made is good, or refused, or not there. */
#include "tests/unit/power.h"

#include "storage/folder.h"
#include "tests/unit/backup_harness.h"

enum { SEEDS = 12 };

/* One folder after the other is looked at, by the names of a bench. */
static bench lost_bench(int loss)
{
    char path[POWER_PATH];
    bench found = {0};
    lost_path(loss, path);
    found.directory = within(path, "backups");
    found.target = within(path, "data");
    return found;
}

static void free_lost(bench *found)
{
    free(found->directory);
    free(found->target);
}

static void say_fault(void *self, const char *sentence)
{
    (void)self;
    print_error("%s\n", sentence);
}

/* At least so many are there, and each is whole. */
static void assert_backups(bench *with, size_t least)
{
    sk_backup_list list;
    int status, read = sk_backup_list_read(with->directory, &list, with->error);
    assert_true(read == 0 || least == 0); /* not even the folder may be there, or the mark in it */
    assert_true(list.count >= least);
    for (size_t i = 0; i < list.count; i++) {
        const sk_backup *backup = sk_backup_find(&list, list.backups[i].number, &status, with->error);
        assert_non_null(backup);
        assert_int_equal(sk_backup_check(&list, backup, NULL, say_fault, NULL), 0);
    }
    sk_backup_list_free(&list);
}

static void start(bench *with, uint64_t seed)
{
    bench_start(with);
    power_start(with->path, seed);
    machine.kills = seed % 3 == 0;
    make_one(with, 1);
    write_file(with->from, "000005.sst", "another table");
    write_file(with->from, "MANIFEST-000003", "what there is now");
    make_one(with, 2);
    write_file(with->from, "CURRENT", "MANIFEST-000006\n");
}

/* From here on, at every call. */
static void begin_losses(void)
{
    machine.most = POWER_LOSSES;
    machine.every = 1;
    machine.next = machine.calls + 1;
}

static void end(bench *with)
{
    assert_true(machine.losses > 2 && machine.losses < POWER_LOSSES);
    power_end();
    bench_end(with);
}

static void the_first_backup_is_good_or_not_there(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        bench with;
        bench_start(&with);
        power_start(with.path, seed);
        machine.kills = seed % 3 == 0;
        begin_losses();
        make_one(&with, 1);
        atomic_store(&durable, 1);
        pthread_mutex_lock(&machine.lock);
        lose_power();
        pthread_mutex_unlock(&machine.lock);
        power_off();
        for (int i = 0; i < machine.losses; i++) {
            bench found = lost_bench(i);
            assert_backups(&found, machine.durable[i]);
            free_lost(&found);
        }
        end(&with);
    }
}

static void a_backup_harms_none_before_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        bench with;
        start(&with, seed);
        begin_losses();
        make_one(&with, 3);
        power_off();
        if (!machine.kills) lose_power();
        for (int i = 0; i < machine.losses; i++) {
            bench found = lost_bench(i);
            assert_backups(&found, !machine.kills && i + 1 == machine.losses ? 3 : 2);
            free_lost(&found);
        }
        end(&with);
    }
}

static void a_purge_leaves_whole_ones(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        bench with;
        size_t removed;
        uint64_t bytes;
        start(&with, seed);
        begin_losses();
        assert_int_equal(sk_backup_purge(with.directory, 1, &removed, &bytes, with.error), 0);
        power_off();
        if (!machine.kills) lose_power();
        for (int i = 0; i < machine.losses; i++) {
            bench found = lost_bench(i);
            assert_backups(&found, 1);
            free_lost(&found);
        }
        end(&with);
    }
}

/* Whether it is a data directory, and the database in it is whole: else it is refused, or nothing was begun there. */
static bool is_restored(bench *with)
{
    sk_folder folder;
    char *database = within(with->target, "db");
    const char *text;
    bool there = access(with->target, F_OK) == 0, begun = access(database, F_OK) == 0;
    int status = there ? sk_folder_open(&folder, with->target, with->error) : 0;
    if (there && !status) sk_folder_close(&folder);
    if (there && !status && file_text(database, "CURRENT")) {
        assert_string_equal(file_text(database, "CURRENT"), "MANIFEST-000003\n");
        text = file_text(database, "MANIFEST-000003");
        assert_true(text && strcmp(text, "what there is now") == 0);
        text = file_text(database, "000004.sst");
        assert_true(text && strcmp(text, "a table") == 0);
        text = file_text(database, "000005.sst");
        assert_true(text && strcmp(text, "another table") == 0);
    } else if (there && !status) {
        assert_false(begun); /* a node would begin an empty database there */
        there = false;
    }
    free(database);
    return there && !status;
}

static void a_restored_directory_is_whole_or_refused(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        bench with;
        sk_backup_list list;
        int status;
        bool restored = false;
        start(&with, seed);
        assert_int_equal(sk_backup_list_read(with.directory, &list, with.error), 0);
        const sk_backup *backup = sk_backup_find(&list, 2, &status, with.error);
        assert_non_null(backup);
        begin_losses();
        assert_int_equal(sk_backup_restore(&list, backup, with.target, NULL, with.error), 0);
        sk_backup_list_free(&list);
        power_off();
        if (!machine.kills) lose_power();
        for (int i = 0; i < machine.losses; i++) {
            bench found = lost_bench(i);
            restored = is_restored(&found);
            assert_backups(&found, 2);
            free_lost(&found);
        }
        assert_true(restored || machine.kills);
        end(&with);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_backup_is_good_or_not_there),
        cmocka_unit_test(a_backup_harms_none_before_it),
        cmocka_unit_test(a_purge_leaves_whole_ones),
        cmocka_unit_test(a_restored_directory_is_whole_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
