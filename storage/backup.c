#include "storage/backup.h"
#include "storage/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MARK[] = "SKERRY-BACKUPS", MARK_TEXT[] = "skerry backups\nformat 2\n";

enum { MARK_MAX = 64, NUMBER_DIGITS = 6, NAME_MAX_BYTES = 40 };

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), tail = strlen(end);
    return len > tail && strcmp(name + len - tail, end) == 0;
}

/* The number that a manifest's name says; 0: it is none. */
static uint64_t number_of(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    if (digits < NUMBER_DIGITS || digits > 18 || strcmp(name + digits, ".backup") != 0) return 0;
    return strtoull(name, NULL, 10);
}

static void manifest_name(uint64_t number, char name[NAME_MAX_BYTES])
{
    snprintf(name, NAME_MAX_BYTES, "%0*" PRIu64 ".backup", (int)NUMBER_DIGITS, number);
}

/* -- the directory ------------------------------------------------------------------------------------------------ */

/* 0 for one of backups; SK_E_FORMAT for any other, with `empty` set if there is nothing in it. */
static int look_at_mark(const char *directory, bool *empty, char *error)
{
    char *path = sk_file_join(directory, MARK);
    sk_buf text = {0};
    int found = sk_file_read(path, MARK_MAX, &text, error);
    bool ours = found > 0 && sk_bytes_equal(sk_buf_view(&text), sk_bytes_str(MARK_TEXT));
    bool other_format = found > 0 && sk_bytes_starts(sk_buf_view(&text), sk_bytes_str("skerry backups\n"));
    sk_buf_free(&text);
    free(path);
    *empty = false;
    if (ours) return SK_OK;
    if (found < 0 && found != SK_E_TOO_LARGE) return found;
    if (other_format)
        return sk_file_say(error, SK_E_FORMAT,
                           "%s: holds backups of another format, which another version of skerry made; leave it to that "
                           "one, and use another directory",
                           directory);
    DIR *list = opendir(directory);
    if (!list) return sk_file_fail(error, directory, "list it", errno);
    int entries = 0;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(list)); errno = 0)
        entries += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                   strcmp(entry->d_name, "lock") != 0 && strcmp(entry->d_name, "SKERRY-BACKUPS.new") != 0;
    int number = errno;
    closedir(list);
    if (number) return sk_file_fail(error, directory, "list it", number);
    *empty = entries == 0;
    return sk_file_say(error, SK_E_FORMAT, "%s: is not a directory of backups", directory);
}

static int take_lock(const char *directory, int how, int *lock, char *error)
{
    char *path = sk_file_join(directory, "lock");
    *lock = open(path, how == LOCK_EX ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0600);
    int number = errno, result = SK_OK;
    if (*lock < 0 && how == LOCK_EX) result = sk_file_fail(error, path, "open it", number);
    if (*lock >= 0 && flock(*lock, how | LOCK_NB) < 0) {
        result = errno == EWOULDBLOCK
                     ? sk_file_say(error, SK_E_LOCKED, "%s: another process uses these backups", directory)
                     : sk_file_fail(error, path, "lock it", errno);
        close(*lock);
        *lock = -1;
    }
    free(path);
    return result;
}

/* For adding: made and marked if there is nothing. The lock is the caller's. */
static int prepare(const char *directory, int *lock, char *error)
{
    bool empty;
    int status = sk_file_make_folder(directory, error);
    if (!status) status = look_at_mark(directory, &empty, error);
    if (status && !(status == SK_E_FORMAT && empty)) return status;
    status = take_lock(directory, LOCK_EX, lock, error);
    if (status) return status;
    status = look_at_mark(directory, &empty, error);
    if (status == SK_E_FORMAT && empty) status = sk_file_write(directory, MARK, sk_bytes_str(MARK_TEXT), error);
    char *files = sk_file_join(directory, "files");
    if (!status) status = sk_file_make_folder(files, error);
    free(files);
    if (status) {
        close(*lock);
        *lock = -1;
    }
    return status;
}

/* -- lists -------------------------------------------------------------------------------------------------------- */

static int compare_backups(const void *a, const void *b)
{
    const sk_backup *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int read_manifest(const char *directory, sk_backup *backup, char *error)
{
    char name[NAME_MAX_BYTES];
    manifest_name(backup->number, name);
    char *path = sk_file_join(directory, name);
    sk_buf bytes = {0};
    int found = sk_file_read(path, SK_MANIFEST_MAX, &bytes, error);
    backup->status = found < 0    ? found
                     : found == 0 ? SK_E_CORRUPT
                                  : sk_manifest_read(sk_buf_view(&bytes), &backup->manifest);
    if (!backup->status && backup->manifest.number != backup->number) {
        sk_manifest_free(&backup->manifest);
        backup->status = SK_E_CORRUPT;
    }
    sk_buf_free(&bytes);
    free(path);
    return found == SK_E_IO ? found : SK_OK;
}

/* Without a lock: the caller has one. */
static int read_list(const char *directory, sk_backup_list *list, char *error)
{
    DIR *entries = opendir(directory);
    if (!entries) return sk_file_fail(error, directory, "list it", errno);
    errno = 0;
    for (struct dirent *entry; (entry = readdir(entries)); errno = 0) {
        uint64_t number = number_of(entry->d_name);
        if (!number) continue;
        list->backups = sk_realloc(list->backups, (list->count + 1) * sizeof *list->backups);
        list->backups[list->count++] = (sk_backup){.number = number};
    }
    int status = errno ? sk_file_fail(error, directory, "list it", errno) : SK_OK;
    closedir(entries);
    if (list->count) qsort(list->backups, list->count, sizeof *list->backups, compare_backups);
    for (size_t i = 0; i < list->count && !status; i++) status = read_manifest(directory, &list->backups[i], error);
    return status;
}

int sk_backup_list_read(const char *directory, sk_backup_list *list, char *error)
{
    bool empty;
    *list = (sk_backup_list){.directory = strdup(directory), .lock = -1};
    sk_assert(list->directory != NULL);
    struct stat status;
    if (stat(directory, &status) < 0) return sk_file_fail(error, directory, "look at it", errno);
    int result = look_at_mark(directory, &empty, error);
    if (!result) result = take_lock(directory, LOCK_SH, &list->lock, error);
    return result ? result : read_list(directory, list, error);
}

void sk_backup_list_free(sk_backup_list *list)
{
    for (size_t i = 0; i < list->count; i++) sk_manifest_free(&list->backups[i].manifest);
    if (list->lock >= 0) close(list->lock);
    free(list->backups);
    free(list->directory);
    *list = (sk_backup_list){.lock = -1};
}

const sk_backup *sk_backup_find(const sk_backup_list *list, uint64_t number, int *status, char *error)
{
    const sk_backup *found = NULL;
    for (size_t i = 0; i < list->count; i++)
        if (number == 0 || list->backups[i].number == number) found = &list->backups[i];
    *status = found ? found->status : SK_E_FORMAT;
    if (!found && number == 0) sk_file_say(error, *status, "%s: has no backup", list->directory);
    if (!found && number) sk_file_say(error, *status, "%s: has no backup %" PRIu64, list->directory, number);
    if (found && found->status)
        sk_file_say(error, *status, "%s: the record of backup %" PRIu64 " cannot be used: %s", list->directory,
                    found->number, sk_error_text(found->status));
    if (!*status) {
        char what[SK_FILE_ERROR];
        snprintf(what, sizeof what, "%s: backup %" PRIu64, list->directory, found->number);
        *status = sk_folder_check_format(found->manifest.data_format, what, error);
    }
    return *status ? NULL : found;
}

/* -- making one --------------------------------------------------------------------------------------------------- */

/* What earlier backups have of the same source, by name. */
typedef struct {
    const sk_backup_plan *plan;
    char *files;                    /* owned: directory/files */
    sk_manifest_file const **known; /* owned; sorted by name, the newest of each first */
    size_t known_count;
} making;

typedef struct {
    const sk_manifest_file *file;
    uint64_t number;
} seen_file;

static int compare_seen(const void *a, const void *b)
{
    const seen_file *x = a, *y = b;
    int order = strcmp(x->file->name, y->file->name);
    return order ? order : x->number > y->number ? -1 : x->number < y->number;
}

static void collect_known(making *of, const sk_backup_list *list)
{
    seen_file *seen = NULL;
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const sk_manifest *manifest = &list->backups[i].manifest;
        if (list->backups[i].status || !sk_bytes_equal(sk_buf_view(&manifest->source), of->plan->source)) continue;
        if (!manifest->count) continue;
        seen = sk_realloc(seen, (count + manifest->count) * sizeof *seen);
        for (size_t k = 0; k < manifest->count; k++) seen[count++] = (seen_file){&manifest->files[k], manifest->number};
    }
    if (count) qsort(seen, count, sizeof *seen, compare_seen);
    of->known = sk_alloc((count + 1) * sizeof *of->known);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(seen[i].file->name, seen[i - 1].file->name) != 0)
            of->known[of->known_count++] = seen[i].file;
    free(seen);
}

static int compare_name(const void *name, const void *element)
{
    return strcmp(name, (*(const sk_manifest_file *const *)element)->name);
}

static uint64_t changed_ns(const struct stat *status)
{
    return (uint64_t)status->st_mtim.tv_sec * 1000000000u + (uint64_t)status->st_mtim.tv_nsec;
}

/* The file as an earlier backup has it, if it is the same; tables never change under one name. */
static const sk_manifest_file *find_known(const making *of, const char *name, const struct stat *status)
{
    if (!of->known_count || !ends_with(name, ".sst")) return NULL;
    const sk_manifest_file *const *found =
        (const sk_manifest_file *const *)bsearch(name, of->known, of->known_count, sizeof *of->known, compare_name);
    if (!found || (*found)->sum.bytes != (uint64_t)status->st_size || (*found)->changed_ns != changed_ns(status))
        return NULL;
    char stored[SK_MANIFEST_STORED_MAX];
    sk_manifest_stored_name(&(*found)->sum, stored);
    char *path = sk_file_join(of->files, stored);
    struct stat there;
    bool whole = stat(path, &there) == 0 && there.st_size == status->st_size;
    free(path);
    return whole ? *found : NULL;
}

/* Copied aside first: its name is what it comes to. One that is there by that name is replaced, should it be damaged.
 */
static int copy_in(const making *of, const char *from, sk_file_sum *sum, char *error)
{
    char *aside = sk_file_join(of->files, "copying.new");
    unlink(aside); /* what a crash left */
    int result = sk_file_copy(from, aside, of->plan->keep_free, sum, of->plan->work, error);
    if (!result) {
        char stored[SK_MANIFEST_STORED_MAX];
        sk_manifest_stored_name(sum, stored);
        char *path = sk_file_join(of->files, stored);
        if (rename(aside, path) < 0) result = sk_file_fail(error, path, "name it", errno);
        free(path);
    }
    free(aside);
    return result;
}

static int take_file(const making *of, const char *name, sk_manifest *made, char *error)
{
    char *from = sk_file_join(of->plan->from, name);
    struct stat status;
    int result = stat(from, &status) < 0 ? sk_file_fail(error, from, "look at it", errno) : SK_OK;
    const sk_manifest_file *known = result ? NULL : find_known(of, name, &status);
    sk_file_sum sum = {0};
    if (known)
        sum = known->sum;
    else if (!result)
        result = copy_in(of, from, &sum, error);
    if (!result) sk_manifest_add(made, name, changed_ns(&status), &sum);
    if (!result && !known) made->copied_bytes += sum.bytes;
    free(from);
    return result;
}

/* RocksDB's own log, its lock and its name for the database belong to that one place; options are the node's. */
static bool is_wanted(const char *name)
{
    static const char *const left[] = {"LOG", "LOCK", "IDENTITY", "OPTIONS"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (strncmp(name, left[i], strlen(left[i])) == 0) return false;
    return sk_manifest_name_valid(sk_bytes_str(name));
}

static int take_files(const making *of, sk_manifest *made, char *error)
{
    DIR *list = opendir(of->plan->from);
    if (!list) return sk_file_fail(error, of->plan->from, "list it", errno);
    int result = SK_OK;
    errno = 0;
    for (struct dirent *entry; !result && (entry = readdir(list)); errno = 0)
        if (is_wanted(entry->d_name)) result = take_file(of, entry->d_name, made, error);
    if (!result && errno) result = sk_file_fail(error, of->plan->from, "list it", errno);
    closedir(list);
    if (!result && sk_file_sync_folder(of->files) < 0) result = sk_file_fail(error, of->files, "sync it", errno);
    return result;
}

static int make(making *of, const sk_backup_list *list, sk_manifest *made, char *error)
{
    collect_known(of, list);
    made->number = list->count ? list->backups[list->count - 1].number + 1 : 1;
    made->data_format = SK_FOLDER_FORMAT;
    made->made_ms = of->plan->made_ms;
    sk_buf_bytes(&made->source, of->plan->source);
    sk_buf_bytes(&made->about, of->plan->about);
    int result = take_files(of, made, error);
    if (result) return result;
    char name[NAME_MAX_BYTES];
    sk_buf packed = {0};
    manifest_name(made->number, name);
    sk_manifest_pack(made, &packed);
    result = sk_file_write(of->plan->directory, name, sk_buf_view(&packed), error);
    sk_buf_free(&packed);
    return result;
}

int sk_backup_make(const sk_backup_plan *plan, sk_manifest *made, char *error)
{
    int lock;
    *made = (sk_manifest){0};
    error[0] = '\0';
    int result = prepare(plan->directory, &lock, error);
    if (result) return result;
    sk_backup_list list = {.lock = -1};
    making of = {.plan = plan, .files = sk_file_join(plan->directory, "files")};
    result = read_list(plan->directory, &list, error);
    if (!result) result = make(&of, &list, made, error);
    if (result) {
        char *aside = sk_file_join(of.files, "copying.new");
        unlink(aside);
        free(aside);
        sk_manifest_free(made);
    }
    free(of.known);
    free(of.files);
    sk_backup_list_free(&list);
    close(lock);
    return result;
}

/* -- purging ------------------------------------------------------------------------------------------------------ */

static int compare_stored(const void *a, const void *b) { return strcmp(a, b); }

/* Removes the files that no manifest of the list names. */
static int sweep(const char *directory, const sk_backup_list *list, uint64_t *bytes, char *error)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < list->count; i++) count += list->backups[i].manifest.count;
    char(*wanted)[SK_MANIFEST_STORED_MAX] = sk_alloc((count + 1) * sizeof *wanted);
    for (size_t i = 0; i < list->count; i++)
        for (size_t k = 0; k < list->backups[i].manifest.count; k++)
            sk_manifest_stored_name(&list->backups[i].manifest.files[k].sum, wanted[at++]);
    qsort(wanted, count, sizeof *wanted, compare_stored);
    char *files = sk_file_join(directory, "files");
    DIR *entries = opendir(files);
    int result = entries ? SK_OK : sk_file_fail(error, files, "list it", errno);
    errno = 0;
    for (struct dirent *entry; entries && !result && (entry = readdir(entries)); errno = 0) {
        struct stat status;
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= SK_MANIFEST_STORED_MAX) continue;
        if (bsearch(entry->d_name, wanted, count, sizeof *wanted, compare_stored)) continue;
        bool looked = fstatat(dirfd(entries), entry->d_name, &status, 0) == 0;
        if (unlinkat(dirfd(entries), entry->d_name, 0) < 0)
            result = sk_file_fail(error, files, "remove a file of it", errno);
        if (!result && looked) *bytes += (uint64_t)status.st_size;
    }
    if (!result && errno) result = sk_file_fail(error, files, "list it", errno);
    if (entries) closedir(entries);
    free(files);
    free(wanted);
    return result;
}

/* All but the newest, oldest first. */
static int remove_manifests(const char *directory, sk_backup_list *list, size_t keep, size_t *removed, char *error)
{
    int result = SK_OK;
    while (!result && list->count > keep) {
        char name[NAME_MAX_BYTES];
        manifest_name(list->backups[0].number, name);
        char *path = sk_file_join(directory, name);
        if (unlink(path) < 0) result = sk_file_fail(error, path, "remove it", errno);
        free(path);
        if (result) break;
        sk_manifest_free(&list->backups[0].manifest);
        memmove(list->backups, list->backups + 1, --list->count * sizeof *list->backups);
        ++*removed;
    }
    if (!result && sk_file_sync_folder(directory) < 0) result = sk_file_fail(error, directory, "sync it", errno);
    return result;
}

int sk_backup_purge(const char *directory, size_t keep, size_t *removed, uint64_t *bytes, char *error)
{
    bool empty;
    int lock;
    *removed = 0;
    *bytes = 0;
    error[0] = '\0';
    sk_assert(keep > 0);
    int result = look_at_mark(directory, &empty, error);
    if (!result) result = take_lock(directory, LOCK_EX, &lock, error);
    if (result) return result;
    sk_backup_list list = {.lock = lock};
    result = read_list(directory, &list, error);
    for (size_t i = 0; i < list.count && !result; i++)
        if (list.backups[i].status)
            result = sk_file_say(error, list.backups[i].status,
                                 "%s: nothing was removed: the record of backup %" PRIu64 " cannot be used: %s",
                                 directory, list.backups[i].number, sk_error_text(list.backups[i].status));
    if (!result) result = remove_manifests(directory, &list, keep, removed, error);
    if (!result) result = sweep(directory, &list, bytes, error);
    sk_backup_list_free(&list);
    return result;
}
