#include "storage/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAGIC "skerry\n"
#define UNFINISHED "a restore, not finished\n"

enum {
    IDENTITY_MAX = 64,    /* bytes; ours is shorter */
    PROBE_BLOCK = 1 << 16 /* bytes written at a time */
};

/* -- opening ------------------------------------------------------------------------------------------------------ */

/* Who only reads needs a lock only where there is a file to be locked: a copy may have been made without it. */
static int take_lock(sk_folder *folder, bool reads, char *error)
{
    char *path = sk_file_join(folder->path, "skerry.lock");
    folder->lock = open(path, reads ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(path);
    if (reads && folder->lock < 0 && errno == ENOENT) return SK_OK;
    if (folder->lock < 0)
        return sk_file_fail(error, folder->path, "open skerry.lock", errno);
    if (flock(folder->lock, (reads ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return SK_OK;
    if (errno == EWOULDBLOCK) return sk_file_say(error, SK_E_LOCKED, "%s: another process has it open", folder->path);
    return sk_file_say(error, SK_E_IO, "%s: cannot lock skerry.lock: %s", folder->path, strerror(errno));
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), tail = strlen(end);
    return len >= tail && strcmp(name + len - tail, end) == 0;
}

typedef struct {
    bool current, data; /* CURRENT; tables or logs */
    uint64_t log_bytes;
} contents;

/* What RocksDB has in db/. A missing directory has nothing. 0, or -1 and errno. */
static int look(const char *db_path, contents *found)
{
    *found = (contents){0};
    DIR *list = opendir(db_path);
    if (!list) return errno == ENOENT ? 0 : -1;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(list)); errno = 0) {
        bool log = ends_with(entry->d_name, ".log");
        if (strcmp(entry->d_name, "CURRENT") == 0) found->current = true;
        if (log || ends_with(entry->d_name, ".sst")) found->data = true;
        struct stat status;
        if (log && fstatat(dirfd(list), entry->d_name, &status, 0) == 0) found->log_bytes += (uint64_t)status.st_size;
    }
    int result = errno ? -1 : 0;
    closedir(list);
    return result;
}

static int write_identity(sk_folder *folder, char *error)
{
    char text[IDENTITY_MAX];
    int len = snprintf(text, sizeof text, MAGIC "format %d\n", SK_FOLDER_FORMAT);
    return sk_file_write(folder->path, "SKERRY", sk_bytes_of(text, (size_t)len), error);
}

int sk_folder_check_format(uint64_t format, const char *what, char *error)
{
    if (format == SK_FOLDER_FORMAT) return SK_OK;
    return sk_file_say(error, SK_E_FORMAT, "%s: has format %" PRIu64 ", %s; this binary reads format %d", what, format,
                       format > SK_FOLDER_FORMAT ? "of a newer skerry" : "of an older skerry", SK_FOLDER_FORMAT);
}

/* The mark that makes it a data directory goes. */
static void remove_identity(const sk_folder *folder)
{
    char *path = sk_file_join(folder->path, "SKERRY");
    unlink(path);
    free(path);
}

static int parse_identity(const sk_folder *folder, const char *text, size_t len, char *error)
{
    size_t magic = strlen(MAGIC);
    unsigned format = 0;
    int end = 0;
    if (len < magic && memcmp(text, MAGIC, len) == 0)
        return sk_file_say(error, SK_E_CORRUPT, "%s: its SKERRY file is cut off", folder->path);
    if (memcmp(text, MAGIC, magic) != 0)
        return sk_file_say(error, SK_E_FORMAT, "%s: its SKERRY file is not one of skerry", folder->path);
    if (strcmp(text + magic, UNFINISHED) == 0)
        return sk_file_say(error, SK_E_FORMAT, "%s: a restore into it was not finished: empty it, and restore again",
                           folder->path);
    if (sscanf(text + magic, "format %9u%n", &format, &end) != 1 || text[magic + (size_t)end] != '\n')
        return sk_file_say(error, SK_E_CORRUPT, "%s: its SKERRY file does not tell the format", folder->path);
    return sk_folder_check_format(format, folder->path, error);
}

static int read_identity(sk_folder *folder, int fd, char *error)
{
    char text[IDENTITY_MAX + 1] = {0};
    ssize_t len = read(fd, text, IDENTITY_MAX);
    if (len < 0) return sk_file_fail(error, folder->path, "read its SKERRY file", errno);
    return parse_identity(folder, text, (size_t)len, error);
}

static int check_identity(sk_folder *folder, bool reads, char *error)
{
    contents found;
    if (look(folder->db_path, &found) < 0)
        return sk_file_say(error, SK_E_IO, "%s: cannot list its db directory: %s", folder->path, strerror(errno));
    char *path = sk_file_join(folder->path, "SKERRY");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = SK_OK;
    if (fd >= 0)
        result = read_identity(folder, fd, error);
    else if (errno != ENOENT)
        result = sk_file_say(error, SK_E_IO, "%s: cannot open its SKERRY file: %s", folder->path, strerror(errno));
    else if (found.current || found.data)
        result = sk_file_say(error, SK_E_FORMAT, "%s: holds a database but no SKERRY file", folder->path);
    else if (reads)
        result = sk_file_say(error, SK_E_FORMAT, "%s: is no data directory: it has no SKERRY file", folder->path);
    else
        result = write_identity(folder, error);
    if (result == SK_OK && found.data && !found.current)
        result = sk_file_say(error, SK_E_CORRUPT, "%s: its database has lost the file CURRENT", folder->path);
    if (fd >= 0) close(fd);
    free(path);
    return result;
}

static int check_empty(const sk_folder *folder, char *error)
{
    DIR *list = opendir(folder->path);
    if (!list) return sk_file_fail(error, folder->path, "list it", errno);
    int result = SK_OK;
    errno = 0;
    for (struct dirent *entry; !result && (entry = readdir(list)); errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "skerry.lock") != 0)
            result = sk_file_say(error, SK_E_FORMAT, "%s: is not empty: it has %.64s", folder->path, entry->d_name);
    if (!result && errno) result = sk_file_fail(error, folder->path, "list it", errno);
    closedir(list);
    return result;
}

static void begin(sk_folder *folder, const char *path, char *error)
{
    *folder = (sk_folder){.lock = -1};
    error[0] = '\0';
    folder->path = strdup(path);
    sk_assert(folder->path != NULL);
    folder->db_path = sk_file_join(path, "db");
}

int sk_folder_open(sk_folder *folder, const char *path, char *error)
{
    begin(folder, path, error);
    int result = sk_file_make_folder(path, error);
    if (result == SK_OK) result = take_lock(folder, false, error);
    if (result == SK_OK) result = check_identity(folder, false, error);
    if (result == SK_OK) result = sk_file_make_folder(folder->db_path, error); /* RocksDB would not sync its name */
    if (result != SK_OK) sk_folder_close(folder);
    return result;
}

int sk_folder_open_stopped(sk_folder *folder, const char *path, char *error)
{
    begin(folder, path, error);
    int result = take_lock(folder, true, error);
    if (result == SK_OK) result = check_identity(folder, true, error);
    if (result != SK_OK) sk_folder_close(folder);
    return result;
}

int sk_folder_open_empty(sk_folder *folder, const char *path, char *error)
{
    begin(folder, path, error);
    int result = sk_file_make_folder(path, error);
    if (result == SK_OK) result = take_lock(folder, false, error);
    if (result == SK_OK) result = check_empty(folder, error);
    if (result == SK_OK) {
        result = sk_file_write(folder->path, "SKERRY", sk_bytes_str(MAGIC UNFINISHED), error);
        if (result != SK_OK) remove_identity(folder);
    }
    if (result != SK_OK) sk_folder_close(folder);
    return result;
}

int sk_folder_declare(sk_folder *folder, char *error)
{
    int result = write_identity(folder, error);
    if (result != SK_OK) remove_identity(folder); /* it may be there, and not be known to stay */
    return result;
}

void sk_folder_abandon(sk_folder *folder)
{
    char ignored[SK_FOLDER_ERROR];
    sk_file_remove_folder(folder->db_path, ignored);
    remove_identity(folder);
    sk_folder_close(folder);
}

void sk_folder_close(sk_folder *folder)
{
    if (folder->lock >= 0) close(folder->lock);
    free(folder->path);
    free(folder->db_path);
    *folder = (sk_folder){.lock = -1};
}

/* Zeros for a file that cannot be looked at: a directory without one is then another one as soon as it has one. */
static struct stat look_at(const char *folder, const char *name)
{
    struct stat status;
    char *path = sk_file_join(folder, name);
    if (stat(path, &status) < 0) memset(&status, 0, sizeof status);
    free(path);
    return status;
}

bool sk_folder_is_there(const sk_folder *folder)
{
    struct stat locked, there = look_at(folder->path, "skerry.lock");
    return fstat(folder->lock, &locked) == 0 && locked.st_dev == there.st_dev && locked.st_ino == there.st_ino;
}

static unsigned long long changed_ns(const struct stat *status)
{
    return (unsigned long long)status->st_ctim.tv_sec * 1000000000 + (unsigned long long)status->st_ctim.tv_nsec;
}

void sk_folder_mark(const sk_folder *folder, char text[SK_FOLDER_MARK])
{
    struct stat own = look_at(folder->path, "SKERRY"), database = look_at(folder->db_path, "IDENTITY");
    int len = snprintf(text, SK_FOLDER_MARK, "%llx:%llx:%llx %llx:%llx", (unsigned long long)own.st_dev,
                       (unsigned long long)own.st_ino, changed_ns(&own), (unsigned long long)database.st_ino,
                       changed_ns(&database));
    sk_assert(len > 0 && len < SK_FOLDER_MARK);
}

/* -- the disk under it -------------------------------------------------------------------------------------------- */

uint64_t sk_folder_space(const sk_folder *folder)
{
    struct statvfs status;
    if (statvfs(folder->path, &status) < 0) return UINT64_MAX;
    return (uint64_t)status.f_bavail * status.f_frsize;
}

int sk_folder_probe(const sk_folder *folder, size_t bytes)
{
    static const char zeros[PROBE_BLOCK];
    char *path = sk_file_join(folder->path, "probe.tmp");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0;
    for (size_t done = 0; good && done < bytes; done += PROBE_BLOCK) good = sk_file_write_all(fd, zeros, PROBE_BLOCK) == 0;
    if (good) good = fsync(fd) == 0;
    int number = errno;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(path);
    return good ? SK_OK : sk_file_error(number);
}

uint64_t sk_folder_log_bytes(const sk_folder *folder)
{
    contents found;
    return look(folder->db_path, &found) == 0 ? found.log_bytes : 0;
}
