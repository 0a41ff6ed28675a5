#include "storage/spares.h"

#include "storage/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char PREFIX[] = "spare-", WRITING[] = "spare-new";

enum {
    NAME_DIGITS = 16,
    PIECE_BYTES = 256 << 10, /* on its way to the disk at a time: a sync of the log waits for no more */
    ROOM = 16,               /* times its size must be free */
};

void sk_spares_init(sk_spares *spares, const char *folder, size_t bytes)
{
    *spares = (sk_spares){.folder = folder, .bytes = bytes};
    sk_worker_init(&spares->worker);
}

void sk_spares_free(sk_spares *spares)
{
    sk_worker_stop(&spares->worker, true);
    sk_worker_free(&spares->worker);
}

/* -- their names -------------------------------------------------------------------------------------------------- */

static char *path_of(const sk_spares *spares, uint64_t number)
{
    char name[sizeof PREFIX + NAME_DIGITS];
    snprintf(name, sizeof name, "%s%016llx", PREFIX, (unsigned long long)number);
    return sk_file_join(spares->folder, name);
}

/* The bytes of the file: 0 or an errno. */
static int look_at_file(int folder, const char *path, uint64_t *bytes)
{
    struct stat status;
    if (fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) < 0) return errno;
    *bytes = (uint64_t)status.st_size;
    return S_ISREG(status.st_mode) ? 0 : EISDIR;
}

/* One that was to become a segment when the disk was full has not its room on the disk. */
static bool is_short(const sk_spares *spares, uint64_t bytes)
{
    return bytes < spares->bytes;
}

/* One that had a record far larger than a segment is not kept with all the room of it. */
static bool is_long(const sk_spares *spares, uint64_t bytes)
{
    return bytes > 2 * (uint64_t)spares->bytes;
}

static bool is_name(const char *name)
{
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return false;
    name += sizeof PREFIX - 1;
    return strspn(name, "0123456789abcdef") == NAME_DIGITS && name[NAME_DIGITS] == '\0';
}

static int remove_spare(const sk_spares *spares, uint64_t number)
{
    char *path = path_of(spares, number);
    int failed = unlink(path) < 0 ? errno : 0;
    free(path);
    return failed;
}

uint64_t sk_spares_look(sk_spares *spares)
{
    uint64_t highest = 0;
    pthread_mutex_lock(&spares->worker.lock);
    spares->count = 0;
    DIR *list = opendir(spares->folder);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        uint64_t bytes;
        if (!is_name(entry->d_name) || look_at_file(dirfd(list), entry->d_name, &bytes)) continue;
        uint64_t number = strtoull(entry->d_name + sizeof PREFIX - 1, NULL, 16);
        if (number > highest) highest = number;
        if (!is_short(spares, bytes) && !is_long(spares, bytes) && spares->count < SK_SPARES_MAX)
            spares->numbers[spares->count++] = number;
        else
            (void)remove_spare(spares, number);
    }
    if (list) closedir(list);
    pthread_mutex_unlock(&spares->worker.lock);
    return highest;
}

/* -- giving and taking -------------------------------------------------------------------------------------------- */

bool sk_spares_take(sk_spares *spares, const char *path)
{
    bool taken = false;
    pthread_mutex_lock(&spares->worker.lock);
    while (spares->count && !taken) {
        char *old = path_of(spares, spares->numbers[--spares->count]);
        taken = rename(old, path) == 0;
        free(old);
    }
    pthread_mutex_unlock(&spares->worker.lock);
    return taken;
}

/* Once the name is durable: under the one it had an end that is missing would be damage. */
static bool shorten(const sk_spares *spares, const char *path)
{
    return sk_file_sync_folder(spares->folder) == 0 && truncate(path, (off_t)spares->bytes) == 0;
}

int sk_spares_give(sk_spares *spares, const char *path, uint64_t number)
{
    char *new = path_of(spares, number);
    pthread_mutex_lock(&spares->worker.lock);
    uint64_t bytes = 0;
    int failed = look_at_file(AT_FDCWD, path, &bytes);
    bool kept = !is_short(spares, bytes) && spares->count < SK_SPARES_MAX;
    if (!failed && (kept ? rename(path, new) : unlink(path)) < 0) failed = errno;
    if (kept && !failed && is_long(spares, bytes) && !shorten(spares, new)) {
        kept = false;
        if (unlink(new) < 0) failed = errno;
    }
    if (kept && !failed) spares->numbers[spares->count++] = number;
    pthread_mutex_unlock(&spares->worker.lock);
    free(new);
    return failed;
}

/* -- writing one -------------------------------------------------------------------------------------------------- */

static bool has_room(const sk_spares *spares)
{
    struct statvfs space;
    return statvfs(spares->folder, &space) == 0 && (uint64_t)space.f_bavail * space.f_frsize / ROOM >= spares->bytes;
}

static bool is_stopping(sk_spares *spares)
{
    pthread_mutex_lock(&spares->worker.lock);
    bool stopping = spares->worker.stopping;
    pthread_mutex_unlock(&spares->worker.lock);
    return stopping;
}

static bool write_zeros(sk_spares *spares, int fd)
{
    static const uint8_t zeros[PIECE_BYTES];
    for (size_t at = 0; at < spares->bytes;) {
        size_t len = spares->bytes - at < sizeof zeros ? spares->bytes - at : sizeof zeros;
        ssize_t done = pwrite(fd, zeros, len, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0 || is_stopping(spares)) return false;
        /* Who waits is told of an error, and the sync below then is not. */
        unsigned wait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        if (sync_file_range(fd, (off_t)at, done, wait) < 0 && (errno == EIO || errno == ENOSPC)) return false;
        at += (size_t)done;
    }
    return fdatasync(fd) == 0;
}

/* The file `path`, whole or not at all. */
static bool write_file(sk_spares *spares, const char *path)
{
    int fd = has_room(spares) ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (fd < 0) return false;
    bool good = write_zeros(spares, fd);
    if (close(fd) < 0) good = false;
    if (!good) (void)unlink(path);
    return good;
}

static void *run(void *argument)
{
    sk_spares *spares = argument;
    sk_worker *worker = &spares->worker;
    char *path = sk_file_join(spares->folder, WRITING); /* nobody takes it for a spare before it is one */
    pthread_mutex_lock(&worker->lock);
    while (!worker->stopping) {
        if (!spares->asked) {
            pthread_cond_wait(&worker->work, &worker->lock);
            continue;
        }
        pthread_mutex_unlock(&worker->lock);
        if (write_file(spares, path)) (void)sk_spares_give(spares, path, 0);
        pthread_mutex_lock(&worker->lock);
        spares->asked = false;
    }
    pthread_mutex_unlock(&worker->lock);
    free(path);
    return NULL;
}

void sk_spares_ask(sk_spares *spares)
{
    sk_worker *worker = &spares->worker;
    if (!worker->running && sk_worker_start(worker, "sk-spares", run, spares)) return;
    pthread_mutex_lock(&worker->lock);
    if (!spares->count) spares->asked = true;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->lock);
}
