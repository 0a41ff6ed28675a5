/* Reading backups: checked, looked into, made a data directory again. Declared in storage/backup.h. */
#include "storage/backup.h"
#include "storage/folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *stored_path(const sk_backup_list *list, const sk_manifest_file *file)
{
    char stored[SK_MANIFEST_STORED_MAX];
    sk_manifest_stored_name(&file->sum, stored);
    char *files = sk_file_join(list->directory, "files"), *path = sk_file_join(files, stored);
    free(files);
    return path;
}

/* What a file's bytes came to is what the backup noted. */
static int compare_sum(const sk_manifest_file *file, const sk_file_sum *sum, char *error)
{
    if (sk_file_sum_equal(sum, &file->sum)) return SK_OK;
    return sum->bytes == file->sum.bytes
               ? sk_file_say(error, SK_E_CORRUPT, "%s: its bytes are not those that were backed up", file->name)
               : sk_file_say(error, SK_E_CORRUPT, "%s: has %" PRIu64 " bytes where %" PRIu64 " were backed up",
                             file->name, sum->bytes, file->sum.bytes);
}

int sk_backup_check(const sk_backup_list *list, const sk_backup *backup, sk_file_work *work, sk_backup_fault *fault,
                    void *self)
{
    int faults = 0;
    for (size_t i = 0; i < backup->manifest.count; i++) {
        const sk_manifest_file *file = &backup->manifest.files[i];
        char error[SK_FILE_ERROR], *path = stored_path(list, file);
        sk_file_sum sum;
        int status = sk_file_sum_of(path, &sum, work, error);
        if (!status) status = compare_sum(file, &sum, error);
        free(path);
        if (status == SK_E_SHUTDOWN) return status;
        if (status) fault(self, error);
        faults += status != SK_OK;
    }
    return faults;
}

int sk_backup_link(const sk_backup_list *list, const sk_backup *backup, const char *folder, char *error)
{
    int status = SK_OK;
    for (size_t i = 0; i < backup->manifest.count && !status; i++) {
        const sk_manifest_file *file = &backup->manifest.files[i];
        char *path = stored_path(list, file), *real = realpath(path, NULL), *link = sk_file_join(folder, file->name);
        if (!real || symlink(real, link) < 0) status = sk_file_fail(error, path, "link to it", errno);
        free(real);
        free(path);
        free(link);
    }
    return status;
}

static int fill(const sk_backup_list *list, const sk_backup *backup, const sk_folder *folder, sk_file_work *work,
                char *error)
{
    int status = sk_file_make_folder(folder->db_path, error);
    for (size_t i = 0; i < backup->manifest.count && !status; i++) {
        const sk_manifest_file *file = &backup->manifest.files[i];
        char *from = stored_path(list, file), *to = sk_file_join(folder->db_path, file->name);
        sk_file_sum sum;
        status = sk_file_copy(from, to, 0, &sum, work, error);
        if (!status) status = compare_sum(file, &sum, error);
        free(from);
        free(to);
    }
    if (!status && sk_file_sync_folder(folder->db_path) < 0)
        status = sk_file_fail(error, folder->db_path, "sync it", errno);
    return status;
}

int sk_backup_restore(const sk_backup_list *list, const sk_backup *backup, const char *data_dir, sk_file_work *work,
                      char *error)
{
    sk_folder folder;
    int status = sk_folder_open_empty(&folder, data_dir, error);
    if (status) return status;
    status = fill(list, backup, &folder, work, error);
    if (!status) status = sk_folder_declare(&folder, error);
    if (status)
        sk_folder_abandon(&folder);
    else
        sk_folder_close(&folder);
    return status;
}
