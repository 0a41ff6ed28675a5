/* Backups read again: every fault is found, and a data directory is there whole or not at all. */
#include "tests/unit/backup_harness.h"

#include "storage/folder.h"

static const sk_backup *find(bench *with, sk_backup_list *list, uint64_t number)
{
    int status;
    assert_int_equal(sk_backup_list_read(with->directory, list, with->error), 0);
    const sk_backup *backup = sk_backup_find(list, number, &status, with->error);
    assert_non_null(backup);
    return backup;
}

static int restore(bench *with, uint64_t number)
{
    sk_backup_list list;
    const sk_backup *backup = find(with, &list, number);
    int status = sk_backup_restore(&list, backup, with->target, NULL, with->error);
    sk_backup_list_free(&list);
    return status;
}

static void note_fault(void *self, const char *sentence) { snprintf(self, SK_FILE_ERROR, "%s", sentence); }

/* How many files are not as they must be. */
static int check(bench *with, uint64_t number)
{
    sk_backup_list list;
    const sk_backup *backup = find(with, &list, number);
    int faults = sk_backup_check(&list, backup, NULL, note_fault, with->error);
    sk_backup_list_free(&list);
    return faults;
}

/* Flips a bit of a stored file. */
static void flip(bench *with, const char *name)
{
    char *path = within(with->directory, stored_as(with, 0, name)), byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, 3), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 3), 1);
    close(fd);
    free(path);
}

static size_t entries(const char *path)
{
    size_t count = 0;
    DIR *list = opendir(path);
    for (struct dirent *entry; list && (entry = readdir(list));) count += entry->d_name[0] != '.';
    if (list) closedir(list);
    return count;
}

static void what_was_backed_up_comes_back(void **state)
{
    bench with;
    sk_folder folder;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    write_file(with.from, "000004.sst", "a newer one");
    make_one(&with, 2);
    assert_int_equal(restore(&with, 1), 0);
    char *db = within(with.target, "db");
    assert_string_equal(file_text(db, "000004.sst"), "a table");
    assert_string_equal(file_text(db, "CURRENT"), "MANIFEST-000003\n");
    assert_int_equal(entries(db), 3);
    assert_int_equal(sk_folder_open(&folder, with.target, with.error), 0);
    sk_folder_close(&folder);
    free(db);
    bench_end(&with);
}

static void only_an_empty_directory_is_filled(void **state)
{
    bench with;
    sk_folder folder;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    assert_int_equal(mkdir(with.target, 0700), 0);
    write_file(with.target, "letter", "dear");
    assert_int_equal(restore(&with, 0), SK_E_FORMAT);
    assert_true(strstr(with.error, "letter"));
    assert_string_equal(file_text(with.target, "letter"), "dear");
    remove_tree(with.target);
    assert_int_equal(sk_folder_open(&folder, with.target, with.error), 0); /* as a node has it */
    assert_int_equal(restore(&with, 0), SK_E_LOCKED);
    sk_folder_close(&folder);
    assert_int_equal(restore(&with, 0), SK_E_FORMAT);
    bench_end(&with);
}

/* The newest, as a skerry made it whose data have another format. */
static void claim_format(bench *with, uint64_t format)
{
    sk_backup_list list;
    sk_buf packed = {0};
    assert_int_equal(sk_backup_list_read(with->directory, &list, with->error), 0);
    sk_backup *newest = &list.backups[list.count - 1];
    assert_int_equal(newest->manifest.data_format, SK_FOLDER_FORMAT);
    newest->manifest.data_format = format;
    sk_manifest_pack(&newest->manifest, &packed);
    assert_int_equal(sk_file_write(with->directory, "000002.backup", sk_buf_view(&packed), with->error), 0);
    sk_buf_free(&packed);
    sk_backup_list_free(&list);
}

static void data_of_another_format_is_not_touched(void **state)
{
    static const struct {
        uint64_t format;
        const char *said;
    } cases[] = {{SK_FOLDER_FORMAT + 1, "of a newer skerry"}, {SK_FOLDER_FORMAT - 1, "of an older skerry"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench with;
        sk_backup_list list;
        int status;
        bench_start(&with);
        make_one(&with, 1);
        make_one(&with, 2);
        claim_format(&with, cases[i].format);
        assert_int_equal(sk_backup_list_read(with.directory, &list, with.error), 0);
        assert_int_equal(list.backups[1].status, 0); /* it is listed, and can be purged */
        for (uint64_t number = 0; number <= 2; number += 2) {
            assert_null(sk_backup_find(&list, number, &status, with.error));
            assert_int_equal(status, SK_E_FORMAT);
            assert_true(strstr(with.error, "backup 2") && strstr(with.error, cases[i].said));
        }
        sk_backup_list_free(&list);
        assert_int_equal(restore(&with, 1), 0);
        bench_end(&with);
    }
}

static void faults_are_found(void **state)
{
    static const char *const names[] = {"000004.sst", "CURRENT", "MANIFEST-000003"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bench with;
        bench_start(&with);
        make_one(&with, 1);
        assert_int_equal(check(&with, 0), 0);
        flip(&with, names[i]);
        assert_int_equal(check(&with, 0), 1);
        assert_true(strstr(with.error, names[i]));
        assert_int_equal(restore(&with, 0), SK_E_CORRUPT);
        assert_int_equal(entries(with.target), 1); /* the lock */
        bench_end(&with);
    }
}

static void a_missing_or_cut_file_is_found(void **state)
{
    bench with;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    char *table = within(with.directory, stored_as(&with, 1, "000004.sst"));
    char *current = within(with.directory, stored_as(&with, 1, "CURRENT"));
    assert_int_equal(truncate(table, 3), 0);
    assert_int_equal(unlink(current), 0);
    assert_int_equal(check(&with, 0), 2);
    assert_int_not_equal(restore(&with, 0), 0);
    assert_int_equal(entries(with.target), 1);
    free(table);
    free(current);
    bench_end(&with);
}

/* A crash in the middle leaves tables without SKERRY: no node takes that for a database, nor for nothing. */
static void a_half_filled_directory_is_refused(void **state)
{
    bench with;
    sk_folder folder;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    assert_int_equal(sk_folder_open_empty(&folder, with.target, with.error), 0);
    assert_int_equal(mkdir(folder.db_path, 0700), 0);
    write_file(folder.db_path, "000004.sst", "a table");
    sk_folder_close(&folder);
    assert_int_equal(sk_folder_open(&folder, with.target, with.error), SK_E_FORMAT);
    assert_int_equal(restore(&with, 0), SK_E_FORMAT);
    bench_end(&with);
}

static void links_show_the_files_under_their_names(void **state)
{
    bench with;
    sk_backup_list list;
    (void)state;
    bench_start(&with);
    make_one(&with, 1);
    const sk_backup *backup = find(&with, &list, 0);
    assert_int_equal(mkdir(with.target, 0700), 0);
    assert_int_equal(sk_backup_link(&list, backup, with.target, with.error), 0);
    assert_string_equal(file_text(with.target, "000004.sst"), "a table");
    assert_int_equal(entries(with.target), 3);
    sk_backup_list_free(&list);
    bench_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_backed_up_comes_back),
        cmocka_unit_test(only_an_empty_directory_is_filled),
        cmocka_unit_test(data_of_another_format_is_not_touched),
        cmocka_unit_test(faults_are_found),
        cmocka_unit_test(a_missing_or_cut_file_is_found),
        cmocka_unit_test(a_half_filled_directory_is_refused),
        cmocka_unit_test(links_show_the_files_under_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
