/* What the tests of backups share: a folder that stands for a checkpoint, and a directory of backups. */
#ifndef SK_TESTS_BACKUP_HARNESS_H
#define SK_TESTS_BACKUP_HARNESS_H

#include "storage/backup.h"
#include "tests/unit/store_harness.h"

#include <dirent.h>

typedef struct {
    char path[64];
    char *from, *directory, *target; /* owned: in path */
    char error[SK_FILE_ERROR];
    uint64_t keep_free;
    const char *source;
} bench;

static inline char *within(const char *folder, const char *name) { return sk_file_join(folder, name); }

static inline void write_file(const char *folder, const char *name, const char *text)
{
    char error[SK_FILE_ERROR];
    assert_int_equal(sk_file_write(folder, name, sk_bytes_str(text), error), 0);
}

/* What a file has (static); NULL: there is none. */
static inline const char *file_text(const char *folder, const char *name)
{
    static char text[1024];
    char error[SK_FILE_ERROR], *path = within(folder, name);
    sk_buf bytes = {0};
    int found = sk_file_read(path, sizeof text - 1, &bytes, error);
    assert_in_range(found, 0, 1);
    if (bytes.len) memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    sk_buf_free(&bytes);
    free(path);
    return found ? text : NULL;
}

static inline void bench_start(bench *with)
{
    *with = (bench){.path = "/tmp/skerry-backup-XXXXXX", .source = "here"};
    assert_non_null(mkdtemp(with->path));
    with->from = within(with->path, "checkpoint");
    with->directory = within(with->path, "backups");
    with->target = within(with->path, "data");
    assert_int_equal(mkdir(with->from, 0700), 0);
    write_file(with->from, "000004.sst", "a table");
    write_file(with->from, "CURRENT", "MANIFEST-000003\n");
    write_file(with->from, "MANIFEST-000003", "what there is");
    write_file(with->from, "LOG", "chatter");
    write_file(with->from, "IDENTITY", "a name");
    write_file(with->from, "OPTIONS-000009", "options");
}

static inline void bench_end(bench *with)
{
    remove_tree(with->path);
    free(with->from);
    free(with->directory);
    free(with->target);
}

/* Makes a backup; its manifest is the caller's. */
static inline int make_into(bench *with, sk_manifest *made)
{
    sk_backup_plan plan = {.directory = with->directory,
                           .from = with->from,
                           .source = sk_bytes_str(with->source),
                           .about = sk_bytes_str("about"),
                           .made_ms = 1000,
                           .keep_free = with->keep_free};
    return sk_backup_make(&plan, made, with->error);
}

/* Makes one; how many bytes of files it copied. */
static inline uint64_t make_one(bench *with, uint64_t number)
{
    sk_manifest made;
    assert_int_equal(make_into(with, &made), 0);
    assert_int_equal(made.number, number);
    uint64_t copied = made.copied_bytes;
    sk_manifest_free(&made);
    return copied;
}

static inline size_t count_files(const bench *with, const char *below)
{
    char *path = within(with->directory, below);
    size_t count = 0;
    DIR *list = opendir(path);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) count += entry->d_name[0] != '.';
    closedir(list);
    free(path);
    return count;
}

/* The stored name of a file of a backup (static). */
static inline const char *stored_as(const bench *with, uint64_t number, const char *name)
{
    static char path[SK_MANIFEST_STORED_MAX + 8];
    char stored[SK_MANIFEST_STORED_MAX], error[SK_FILE_ERROR];
    sk_backup_list list;
    int status;
    assert_int_equal(sk_backup_list_read(with->directory, &list, error), 0);
    const sk_backup *backup = sk_backup_find(&list, number, &status, error);
    assert_non_null(backup);
    path[0] = '\0';
    for (size_t i = 0; i < backup->manifest.count; i++)
        if (strcmp(backup->manifest.files[i].name, name) == 0) {
            sk_manifest_stored_name(&backup->manifest.files[i].sum, stored);
            snprintf(path, sizeof path, "files/%s", stored);
        }
    assert_true(path[0]);
    sk_backup_list_free(&list);
    return path;
}

#endif
