/* The n-th call that writes to the disk, reads it or looks at it fails while a backup is made, backups are purged, or one is restored, for n = 1, 2,
 * 3 … until there are fewer: the operation says so, no backup of before is harmed by it, and asked again it is done. */
#include "tests/fault/calls.h"
#include "tests/unit/backup_harness.h"

enum { BACKUPS = 2 };

static uint64_t call; /* that fails */

#define must(condition) must_be(condition, #condition)

static void must_be(bool so, const char *condition)
{
    if (!so) fail_msg("call %llu: not so: %s", (unsigned long long)call, condition);
}

static void count_fault(void *self, const char *sentence)
{
    (void)self;
    fail_msg("call %llu: %s", (unsigned long long)call, sentence);
}

/* So many are there, the newest last, and each is whole. */
static void check_backups(bench *with, size_t least, size_t most)
{
    sk_backup_list list;
    int status;
    assert_int_equal(sk_backup_list_read(with->directory, &list, with->error), 0);
    must(list.count >= least && list.count <= most);
    for (size_t i = 0; i < list.count; i++) {
        const sk_backup *backup = sk_backup_find(&list, list.backups[i].number, &status, with->error);
        must(backup != NULL);
        assert_int_equal(sk_backup_check(&list, backup, NULL, count_fault, NULL), 0);
    }
    sk_backup_list_free(&list);
}

/* -- operations: 0, or the error ------------------------------------------------------------------------------------ */

static int make(bench *with)
{
    sk_manifest made;
    int status = make_into(with, &made);
    if (!status) sk_manifest_free(&made);
    return status;
}

static int purge(bench *with)
{
    size_t removed;
    uint64_t bytes;
    return sk_backup_purge(with->directory, 1, &removed, &bytes, with->error);
}

static int restore(bench *with)
{
    sk_backup_list list;
    int status = sk_backup_list_read(with->directory, &list, with->error);
    const sk_backup *backup = status ? NULL : sk_backup_find(&list, 1, &status, with->error);
    if (backup) status = sk_backup_restore(&list, backup, with->target, NULL, with->error);
    sk_backup_list_free(&list);
    return status;
}

/* What failed last of all may have been to say that it is on the disk: then it is there, and another one is made. */
static void check_made(bench *with, bool done)
{
    check_backups(with, done ? BACKUPS + 1 : BACKUPS, done ? BACKUPS + 2 : BACKUPS + 1);
}

static void check_purged(bench *with, bool done)
{
    check_backups(with, 1, done ? 1 : BACKUPS);
    if (done) must(count_files(with, "files") == 4);
}

/* The data directory is there whole or not at all. */
static void check_restored(bench *with, bool done)
{
    char *database = within(with->target, "db");
    check_backups(with, BACKUPS, BACKUPS);
    must((access(database, F_OK) == 0) == done);
    if (done) {
        const char *text = file_text(database, "000004.sst");
        must(text && strcmp(text, "a table") == 0);
        text = file_text(database, "CURRENT");
        must(text && strcmp(text, "MANIFEST-000003\n") == 0);
    }
    free(database);
}

typedef struct {
    int (*run)(bench *with);
    void (*check)(bench *with, bool done);
} operation;

static void sweep(const operation *of, uint32_t kinds, int error, uint64_t length)
{
    uint64_t refused = 0;
    for (call = 1;; call++) {
        bench with;
        bench_start(&with);
        make_one(&with, 1);
        write_file(with.from, "000005.sst", "another table");
        write_file(with.from, "MANIFEST-000003", "what there is now");
        make_one(&with, 2);
        write_file(with.from, "CURRENT", "MANIFEST-000006\n");
        with.error[0] = '\0';
        *fault = (fault_control){.kinds = kinds, .error = error, .first = call, .length = length};
        int status = of->run(&with);
        bool reached = fault->counted >= call;
        *fault = (fault_control){0};
        must((status == 0) == (with.error[0] == '\0'));
        if (status) must(status == SK_E_IO || status == SK_E_DISK_FULL || (kinds & FAULT_LOOK && status == SK_E_CORRUPT));
        if (!reached) must(status == 0);
        refused += status != 0;
        of->check(&with, status == 0);
        if (status) {
            if (of->run(&with)) fail_msg("call %llu: asked again: %s", (unsigned long long)call, with.error);
            of->check(&with, true);
        }
        bench_end(&with);
        if (!reached) break;
    }
    print_message("%llu calls: %llu operations refused\n", (unsigned long long)call - 1, (unsigned long long)refused);
    assert_true(call > 2);
    assert_int_equal(refused > 0, error != 0 && error != EINTR);
}

static void sweep_all(const operation *of)
{
    sweep(of, FAULT_DISK, EIO, 1);
    sweep(of, FAULT_DISK, ENOSPC, 100);
    sweep(of, FAULT_LOOK, EIO, 1);
    sweep(of, FAULT_DISK | FAULT_LOOK, EINTR, 1); /* what reads or writes is made again */
}

static void a_backup_is_made(void **state)
{
    (void)state;
    sweep_all(&(operation){make, check_made});
    sweep(&(operation){make, check_made}, FAULT_DISK, 0, 1); /* a short write goes on with the rest */
}

static void backups_are_purged(void **state)
{
    (void)state;
    sweep_all(&(operation){purge, check_purged});
}

static void a_backup_is_restored(void **state)
{
    (void)state;
    sweep_all(&(operation){restore, check_restored});
}

/* -- what is not ours ------------------------------------------------------------------------------------------------ */

/* Nothing is written where something else is, however little of that can be seen. */
static void is_left_alone(int (*run)(bench *with), bool restores)
{
    for (call = 1;; call++) {
        bench with;
        bench_start(&with);
        if (restores) make_one(&with, 1);
        const char *folder = restores ? with.target : with.directory;
        assert_int_equal(mkdir(folder, 0700), 0);
        write_file(folder, "letter", "dear");
        *fault = (fault_control){.kinds = FAULT_LOOK, .error = EIO, .first = call, .length = 1};
        int status = run(&with);
        bool reached = fault->counted >= call;
        *fault = (fault_control){0};
        must(status != 0 && with.error[0]);
        must(strcmp(file_text(folder, "letter"), "dear") == 0);
        must(!file_text(folder, "SKERRY") && !file_text(folder, "SKERRY-BACKUPS"));
        bench_end(&with);
        if (!reached) break;
    }
    print_message("%llu calls: each refused\n", (unsigned long long)call - 1);
    assert_true(call > 4);
}

static void another_directory_is_left_alone(void **state)
{
    (void)state;
    is_left_alone(make, false);
    is_left_alone(restore, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_is_made),
        cmocka_unit_test(backups_are_purged),
        cmocka_unit_test(a_backup_is_restored),
        cmocka_unit_test(another_directory_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
