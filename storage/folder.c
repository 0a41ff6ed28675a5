#include "storage/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAGIC "skerry\n"

enum {
    IDENTITY_MAX = 64,    /* bytes; ours is shorter */
    PROBE_BLOCK = 1 << 16 /* bytes written at a time */
};

int sk_folder_error(int number)
{
    return number == ENOSPC || number == EDQUOT || number == EFBIG ? SK_E_DISK_FULL : SK_E_IO;
}

static int say(char *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int say(char *error, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, SK_FOLDER_ERROR, format, args);
    va_end(args);
    return code;
}

static char *join(const char *folder, const char *name)
{
    char *path = sk_alloc(strlen(folder) + strlen(name) + 2);
    sprintf(path, "%s/%s", folder, name);
    return path;
}

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd);
    close(fd);
    return result;
}

static int write_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len) {
        ssize_t done = write(fd, at, len);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return -1;
        at += done;
        len -= (size_t)done;
    }
    return 0;
}

/* -- opening ------------------------------------------------------------------------------------------------------ */

static int make_folder(const char *path, char *error)
{
    if (mkdir(path, 0700) == 0) {
        char *parent = join(path, "..");
        int result = sync_folder(parent);
        free(parent);
        if (result < 0 && errno != EACCES)
            return say(error, sk_folder_error(errno), "%s: cannot sync its parent: %s", path, strerror(errno));
        return SK_OK;
    }
    if (errno != EEXIST)
        return say(error, sk_folder_error(errno), "%s: cannot make the data directory: %s", path, strerror(errno));
    struct stat status;
    if (stat(path, &status) < 0)
        return say(error, SK_E_IO, "%s: cannot look at the data directory: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode)) return say(error, SK_E_IO, "%s: is not a directory", path);
    return SK_OK;
}

static int take_lock(sk_folder *folder, char *error)
{
    char *path = join(folder->path, "skerry.lock");
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(path);
    if (folder->lock < 0)
        return say(error, sk_folder_error(errno), "%s: cannot open skerry.lock: %s", folder->path, strerror(errno));
    if (flock(folder->lock, LOCK_EX | LOCK_NB) == 0) return SK_OK;
    if (errno == EWOULDBLOCK) return say(error, SK_E_LOCKED, "%s: another process has it open", folder->path);
    return say(error, SK_E_IO, "%s: cannot lock skerry.lock: %s", folder->path, strerror(errno));
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

static int write_identity(sk_folder *folder, const char *path, char *error)
{
    char *aside = join(folder->path, "SKERRY.new");
    char text[IDENTITY_MAX];
    int len = snprintf(text, sizeof text, MAGIC "format %d\n", SK_FOLDER_FORMAT);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write_all(fd, text, (size_t)len) == 0 && fsync(fd) == 0;
    int number = errno;
    if (fd >= 0) close(fd);
    if (good && (rename(aside, path) < 0 || sync_folder(folder->path) < 0)) {
        good = false;
        number = errno;
    }
    if (!good) unlink(aside);
    free(aside);
    folder->created = good;
    if (good) return SK_OK;
    return say(error, sk_folder_error(number), "%s: cannot write its SKERRY file: %s", folder->path, strerror(number));
}

static int parse_identity(const sk_folder *folder, const char *text, size_t len, char *error)
{
    size_t magic = strlen(MAGIC);
    unsigned format = 0;
    int end = 0;
    if (len < magic && memcmp(text, MAGIC, len) == 0)
        return say(error, SK_E_CORRUPT, "%s: its SKERRY file is cut off", folder->path);
    if (memcmp(text, MAGIC, magic) != 0)
        return say(error, SK_E_FORMAT, "%s: its SKERRY file is not one of skerry", folder->path);
    if (sscanf(text + magic, "format %9u%n", &format, &end) != 1 || text[magic + (size_t)end] != '\n')
        return say(error, SK_E_CORRUPT, "%s: its SKERRY file does not tell the format", folder->path);
    if (format == SK_FOLDER_FORMAT) return SK_OK;
    return say(error, SK_E_FORMAT, "%s: has format %u, %s; this binary reads format %d", folder->path, format,
               format > SK_FOLDER_FORMAT ? "of a newer skerry" : "of an older skerry", SK_FOLDER_FORMAT);
}

static int read_identity(sk_folder *folder, int fd, char *error)
{
    char text[IDENTITY_MAX + 1] = {0};
    ssize_t len = read(fd, text, IDENTITY_MAX);
    if (len < 0) return say(error, SK_E_IO, "%s: cannot read its SKERRY file: %s", folder->path, strerror(errno));
    return parse_identity(folder, text, (size_t)len, error);
}

static int check_identity(sk_folder *folder, char *error)
{
    contents found;
    if (look(folder->db_path, &found) < 0)
        return say(error, SK_E_IO, "%s: cannot list its db directory: %s", folder->path, strerror(errno));
    char *path = join(folder->path, "SKERRY");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = SK_OK;
    if (fd >= 0)
        result = read_identity(folder, fd, error);
    else if (errno != ENOENT)
        result = say(error, SK_E_IO, "%s: cannot open its SKERRY file: %s", folder->path, strerror(errno));
    else if (found.current || found.data)
        result = say(error, SK_E_FORMAT, "%s: holds a database but no SKERRY file", folder->path);
    else
        result = write_identity(folder, path, error);
    if (result == SK_OK && found.data && !found.current)
        result = say(error, SK_E_CORRUPT, "%s: its database has lost the file CURRENT", folder->path);
    if (fd >= 0) close(fd);
    free(path);
    return result;
}

int sk_folder_open(sk_folder *folder, const char *path, char *error)
{
    *folder = (sk_folder){.lock = -1};
    error[0] = '\0';
    folder->path = strdup(path);
    sk_assert(folder->path != NULL);
    folder->db_path = join(path, "db");
    int result = make_folder(path, error);
    if (result == SK_OK) result = take_lock(folder, error);
    if (result == SK_OK) result = check_identity(folder, error);
    if (result != SK_OK) sk_folder_close(folder);
    return result;
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
    char *path = join(folder, name);
    if (stat(path, &status) < 0) memset(&status, 0, sizeof status);
    free(path);
    return status;
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
    char *path = join(folder->path, "probe.tmp");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0;
    for (size_t done = 0; good && done < bytes; done += PROBE_BLOCK) good = write_all(fd, zeros, PROBE_BLOCK) == 0;
    if (good) good = fsync(fd) == 0;
    int number = errno;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(path);
    return good ? SK_OK : sk_folder_error(number);
}

uint64_t sk_folder_log_bytes(const sk_folder *folder)
{
    contents found;
    return look(folder->db_path, &found) == 0 ? found.log_bytes : 0;
}
