/* Backups in a directory: what is new is copied, the rest shared; what nobody names goes; nothing else is touched. */
#include "tests/unit/backup_harness.h"

#include <sys/file.h>

static void the_second_costs_what_is_new(void **state)
{
    bench with;
    (void)state;
    bench_start(&with);
    assert_int_equal(make_one(&with, 1), strlen("a table") + strlen("MANIFEST-000003\n") + strlen("what there is"));
    assert_int_equal(count_files(&with, "files"), 3);
    write_file(with.from, "000005.sst", "another table");
    write_file(with.from, "MANIFEST-000003", "what there is now");
    /* The tables of before are not read again; the rest is, and kept once where it is the same. */
    assert_int_equal(make_one(&with, 2),
                     strlen("another table") + strlen("MANIFEST-000003\n") + strlen("what there is now"));
    assert_int_equal(count_files(&with, "files"), 5);
    bench_end(&with);
}

static void what_belongs_to_the_place_is_left_out(void **state)
{
    bench with;
    sk_manifest made;
    (void)state;
    bench_start(&with);
    assert_int_equal(make_into(&with, &made), 0);
    assert_int_equal(made.count, 3);
    for (size_t i = 0; i < made.count; i++) {
        assert_string_not_equal(made.files[i].name, "LOG");
        assert_string_not_equal(made.files[i].name, "IDENTITY");
    }
    sk_manifest_free(&made);
    bench_end(&with);
}

/* Same name, same length: another time of change, another database. */
static void another_table_of_the_same_name_is_copied(void **state)
{
    bench with;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    write_file(with.from, "000004.sst", "b table");
    assert_int_equal(make_one(&with, 2), strlen("b tableMANIFEST-000003\nwhat there is"));
    assert_string_equal(file_text(with.directory, stored_as(&with, 1, "000004.sst")), "a table");
    assert_string_equal(file_text(with.directory, stored_as(&with, 2, "000004.sst")), "b table");
    with.source = "elsewhere";
    assert_int_equal(make_one(&with, 3), strlen("b tableMANIFEST-000003\nwhat there is"));
    bench_end(&with);
}

static void a_stored_file_that_is_gone_or_cut_is_copied_again(void **state)
{
    bench with;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    char *stored = within(with.directory, stored_as(&with, 1, "000004.sst"));
    assert_int_equal(truncate(stored, 2), 0);
    make_one(&with, 2);
    assert_string_equal(file_text(with.directory, stored_as(&with, 2, "000004.sst")), "a table");
    assert_int_equal(unlink(stored), 0);
    make_one(&with, 3);
    assert_string_equal(file_text(with.directory, stored_as(&with, 3, "000004.sst")), "a table");
    free(stored);
    bench_end(&with);
}

static void a_directory_of_something_else_is_left_alone(void **state)
{
    bench with;
    sk_manifest made;
    sk_backup_list list;
    (void)state;
    bench_start(&with);
    assert_int_equal(mkdir(with.directory, 0700), 0);
    write_file(with.directory, "letter", "dear");
    assert_int_equal(make_into(&with, &made), SK_E_FORMAT);
    assert_true(strstr(with.error, "not a directory of backups"));
    assert_int_equal(count_files(&with, "."), 1);
    assert_int_equal(sk_backup_list_read(with.directory, &list, with.error), SK_E_FORMAT);
    sk_backup_list_free(&list);
    write_file(with.directory, "SKERRY-BACKUPS", "skerry backups\nformat 1\n");
    assert_int_equal(make_into(&with, &made), SK_E_FORMAT);
    assert_true(strstr(with.error, "another format"));
    bench_end(&with);
}

static void two_at_once_are_refused(void **state)
{
    bench with;
    sk_manifest made;
    size_t removed;
    uint64_t bytes;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    char *path = within(with.directory, "lock");
    int lock = open(path, O_RDWR);
    assert_int_equal(flock(lock, LOCK_SH), 0);
    assert_int_equal(make_into(&with, &made), SK_E_LOCKED);
    assert_int_equal(sk_backup_purge(with.directory, 1, &removed, &bytes, with.error), SK_E_LOCKED);
    close(lock);
    make_one(&with, 2);
    free(path);
    bench_end(&with);
}

static void a_full_disk_leaves_no_backup(void **state)
{
    bench with;
    sk_manifest made;
    sk_backup_list list;
    (void)state;
    bench_start(&with);
    with.keep_free = UINT64_MAX;
    assert_int_equal(make_into(&with, &made), SK_E_DISK_FULL);
    assert_int_equal(made.count, 0);
    assert_int_equal(sk_backup_list_read(with.directory, &list, with.error), 0);
    assert_int_equal(list.count, 0);
    sk_backup_list_free(&list);
    assert_int_equal(count_files(&with, "files"), 0);
    with.keep_free = 0;
    make_one(&with, 1);
    bench_end(&with);
}

static void a_stopped_one_leaves_no_backup(void **state)
{
    bench with;
    sk_manifest made;
    sk_file_work work = {.stop = true};
    (void)state;
    bench_start(&with);
    sk_backup_plan plan = {.directory = with.directory, .from = with.from, .work = &work};
    assert_int_equal(sk_backup_make(&plan, &made, with.error), SK_E_SHUTDOWN);
    assert_int_equal(count_files(&with, "files"), 0);
    bench_end(&with);
}

/* -- lists and purges --------------------------------------------------------------------------------------------- */

static void lists_say_what_there_is(void **state)
{
    bench with;
    sk_backup_list list;
    int status;
    (void)state;
    bench_start(&with);
    for (uint64_t i = 1; i <= 11; i++) make_one(&with, i);
    write_file(with.directory, "000005.backup", "damaged");
    assert_int_equal(sk_backup_list_read(with.directory, &list, with.error), 0);
    assert_int_equal(list.count, 11);
    for (size_t i = 0; i < list.count; i++) assert_int_equal(list.backups[i].number, i + 1);
    assert_int_equal(list.backups[4].status, SK_E_CORRUPT);
    assert_int_equal(sk_backup_find(&list, 0, &status, with.error)->number, 11);
    assert_int_equal(sk_backup_find(&list, 3, &status, with.error)->number, 3);
    assert_null(sk_backup_find(&list, 5, &status, with.error));
    assert_int_equal(status, SK_E_CORRUPT);
    assert_null(sk_backup_find(&list, 12, &status, with.error));
    assert_true(strstr(with.error, "no backup 12"));
    sk_backup_list_free(&list);
    bench_end(&with);
}

/* A record under another's number would be restored for it. */
static void a_record_under_another_number_is_none(void **state)
{
    bench with;
    sk_backup_list list;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    char *one = within(with.directory, "000001.backup"), *two = within(with.directory, "000002.backup");
    assert_int_equal(rename(one, two), 0);
    assert_int_equal(sk_backup_list_read(with.directory, &list, with.error), 0);
    assert_int_equal(list.backups[0].status, SK_E_CORRUPT);
    sk_backup_list_free(&list);
    free(one);
    free(two);
    bench_end(&with);
}

static void a_purge_keeps_what_the_rest_needs(void **state)
{
    bench with;
    size_t removed;
    uint64_t bytes;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    write_file(with.from, "000005.sst", "only the second has it");
    make_one(&with, 2);
    char *path = within(with.from, "000005.sst");
    assert_int_equal(unlink(path), 0);
    make_one(&with, 3);
    assert_int_equal(sk_backup_purge(with.directory, 1, &removed, &bytes, with.error), 0);
    assert_int_equal(removed, 2);
    assert_int_equal(bytes, strlen("only the second has it"));
    assert_int_equal(count_files(&with, "files"), 3);
    assert_string_equal(file_text(with.directory, stored_as(&with, 3, "000004.sst")), "a table");
    assert_int_equal(sk_backup_purge(with.directory, 5, &removed, &bytes, with.error), 0);
    assert_int_equal(removed + bytes, 0);
    make_one(&with, 4); /* numbers go on */
    free(path);
    bench_end(&with);
}

static void nothing_is_purged_where_a_record_is_damaged(void **state)
{
    bench with;
    size_t removed;
    uint64_t bytes;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    write_file(with.from, "000005.sst", "the second's");
    make_one(&with, 2);
    write_file(with.directory, "000002.backup", "damaged");
    assert_int_equal(sk_backup_purge(with.directory, 1, &removed, &bytes, with.error), SK_E_CORRUPT);
    assert_int_equal(removed, 0);
    assert_int_equal(count_files(&with, "files"), 4);
    bench_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_costs_what_is_new),
        cmocka_unit_test(what_belongs_to_the_place_is_left_out),
        cmocka_unit_test(another_table_of_the_same_name_is_copied),
        cmocka_unit_test(a_stored_file_that_is_gone_or_cut_is_copied_again),
        cmocka_unit_test(a_directory_of_something_else_is_left_alone),
        cmocka_unit_test(two_at_once_are_refused),
        cmocka_unit_test(a_full_disk_leaves_no_backup),
        cmocka_unit_test(a_stopped_one_leaves_no_backup),
        cmocka_unit_test(lists_say_what_there_is),
        cmocka_unit_test(a_record_under_another_number_is_none),
        cmocka_unit_test(a_purge_keeps_what_the_rest_needs),
        cmocka_unit_test(nothing_is_purged_where_a_record_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
