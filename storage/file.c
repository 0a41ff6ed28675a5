#include "storage/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

enum { BLOCK_BYTES = 1 << 20 }; /* read, written and looked after the disk at a time */
enum { PIECE_US = 10000 };      /* the shortest rest of a copy at a given rate */

char *sk_file_join(const char *folder, const char *name)
{
    char *path = sk_alloc(strlen(folder) + strlen(name) + 2);
    sprintf(path, "%s/%s", folder, name);
    return path;
}

int sk_file_say(char *error, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, SK_FILE_ERROR, format, args);
    va_end(args);
    return code;
}

int sk_file_error(int number)
{
    return number == ENOSPC || number == EDQUOT || number == EFBIG ? SK_E_DISK_FULL : SK_E_IO;
}

int sk_file_fail(char *error, const char *path, const char *what, int number)
{
    return sk_file_say(error, sk_file_error(number), "%s: cannot %s: %s", path, what, strerror(number));
}

/* -- folders ------------------------------------------------------------------------------------------------------ */

int sk_file_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd);
    close(fd);
    return result;
}

int sk_file_make_folder(const char *path, char *error)
{
    struct stat status;
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST) return sk_file_fail(error, path, "make the directory", errno);
    if (!made && stat(path, &status) < 0) return sk_file_fail(error, path, "look at the directory", errno);
    if (!made && !S_ISDIR(status.st_mode)) return sk_file_say(error, SK_E_IO, "%s: is not a directory", path);
    char *parent = sk_file_join(path, ".."); /* also of one that was there: who made it may have ended right there */
    bool synced = sk_file_sync_folder(parent) == 0 || errno == EACCES || errno == EINVAL; /* not ours, or it cannot be */
    int number = errno;
    free(parent);
    return synced ? SK_OK : sk_file_fail(error, path, "sync its parent", number);
}

int sk_file_remove_folder(const char *path, char *error)
{
    DIR *list = opendir(path);
    if (!list) return errno == ENOENT ? SK_OK : sk_file_fail(error, path, "list it", errno);
    int result = SK_OK;
    errno = 0;
    for (struct dirent *entry; !result && (entry = readdir(list)); errno = 0) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(list), entry->d_name, 0) < 0)
            result = sk_file_fail(error, path, "remove a file in it", errno);
    }
    if (!result && errno) result = sk_file_fail(error, path, "list it", errno);
    closedir(list);
    if (!result && rmdir(path) < 0) result = sk_file_fail(error, path, "remove it", errno);
    return result;
}

/* -- files -------------------------------------------------------------------------------------------------------- */

int sk_file_write_all(int fd, const void *data, size_t len)
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

static ssize_t read_some(int fd, void *data, size_t len)
{
    ssize_t got;
    do got = read(fd, data, len);
    while (got < 0 && errno == EINTR);
    return got;
}

int sk_file_read(const char *path, size_t max, sk_buf *bytes, char *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : sk_file_fail(error, path, "open it", errno);
    char *block = sk_alloc(BLOCK_BYTES);
    ssize_t got = 0;
    size_t all = 0;
    while (all <= max && (got = read_some(fd, block, BLOCK_BYTES)) > 0) {
        all += (size_t)got;
        if (all <= max) sk_buf_append(bytes, block, (size_t)got);
    }
    int number = errno;
    free(block);
    close(fd);
    if (all > max) return sk_file_say(error, SK_E_TOO_LARGE, "%s: is larger than it can be", path);
    return got < 0 ? sk_file_fail(error, path, "read it", number) : 1;
}

int sk_file_write(const char *folder, const char *name, sk_bytes bytes, char *error)
{
    char *path = sk_file_join(folder, name), *aside = sk_alloc(strlen(path) + sizeof ".new");
    sprintf(aside, "%s.new", path);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && sk_file_write_all(fd, bytes.data, bytes.len) == 0 && fsync(fd) == 0;
    int number = errno;
    if (fd >= 0) close(fd);
    if (good && (rename(aside, path) < 0 || sk_file_sync_folder(folder) < 0)) {
        good = false;
        number = errno;
    }
    if (!good) unlink(aside);
    int result = good ? SK_OK : sk_file_fail(error, path, "write it", number);
    free(aside);
    free(path);
    return result;
}

/* -- sums and copies ---------------------------------------------------------------------------------------------- */

typedef struct {
    const char *from, *to; /* to NULL: only the sum */
    int in, out;
    uint64_t keep_free;
    sk_file_work *work;
    XXH3_state_t *state;
    char *block;
    uint64_t owed_us; /* to be waited for what was copied */
} copying;

/* Waits for a block that was copied, in pieces: a stop and another rate count at once. */
static void keep_rate(copying *of, uint64_t bytes)
{
    const struct timespec piece = {.tv_nsec = PIECE_US * 1000L};
    uint64_t rate = atomic_load(&of->work->bytes_per_s);
    if (rate) of->owed_us += bytes * 1000000 / rate;
    while (of->owed_us >= PIECE_US && !atomic_load(&of->work->stop) && atomic_load(&of->work->bytes_per_s) == rate) {
        (void)nanosleep(&piece, NULL);
        of->owed_us -= PIECE_US;
    }
    if (atomic_load(&of->work->bytes_per_s) != rate) of->owed_us = 0;
}

static int look_for_room(const copying *of, char *error)
{
    struct statvfs status;
    if (!of->keep_free || fstatvfs(of->out, &status) < 0) return SK_OK;
    uint64_t space = (uint64_t)status.f_bavail * status.f_frsize;
    if (space >= of->keep_free) return SK_OK;
    return sk_file_say(error, SK_E_DISK_FULL, "%s: only %llu bytes are free there", of->to, (unsigned long long)space);
}

static int copy_blocks(copying *of, uint64_t *bytes, char *error)
{
    ssize_t got;
    while ((got = read_some(of->in, of->block, BLOCK_BYTES)) > 0) {
        if (of->work && atomic_load(&of->work->stop))
            return sk_file_say(error, SK_E_SHUTDOWN, "%s", sk_error_text(SK_E_SHUTDOWN));
        int status = of->to ? look_for_room(of, error) : SK_OK;
        if (status) return status;
        XXH3_128bits_update(of->state, of->block, (size_t)got);
        if (of->to && sk_file_write_all(of->out, of->block, (size_t)got) < 0)
            return sk_file_fail(error, of->to, "write it", errno);
        *bytes += (uint64_t)got;
        if (!of->work) continue;
        atomic_fetch_add(&of->work->bytes, (uint64_t)got);
        keep_rate(of, (uint64_t)got);
    }
    return got < 0 ? sk_file_fail(error, of->from, "read it", errno) : SK_OK;
}

static int read_through(copying *of, sk_file_sum *sum, char *error)
{
    *sum = (sk_file_sum){0};
    of->in = open(of->from, O_RDONLY | O_CLOEXEC);
    if (of->in < 0) return sk_file_fail(error, of->from, "open it", errno);
    of->state = XXH3_createState();
    sk_assert(of->state != NULL);
    XXH3_128bits_reset(of->state);
    of->block = sk_alloc(BLOCK_BYTES);
    int result = copy_blocks(of, &sum->bytes, error);
    XXH128_hash_t hash = XXH3_128bits_digest(of->state);
    sum->high = hash.high64;
    sum->low = hash.low64;
    XXH3_freeState(of->state);
    free(of->block);
    close(of->in);
    return result;
}

int sk_file_sum_of(const char *path, sk_file_sum *sum, sk_file_work *work, char *error)
{
    copying of = {.from = path, .out = -1, .work = work};
    return read_through(&of, sum, error);
}

int sk_file_copy(const char *from, const char *to, uint64_t keep_free, sk_file_sum *sum, sk_file_work *work,
                 char *error)
{
    copying of = {.from = from, .to = to, .keep_free = keep_free, .work = work};
    of.out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (of.out < 0) return sk_file_fail(error, to, "make it", errno);
    int result = read_through(&of, sum, error);
    if (!result && fsync(of.out) < 0) result = sk_file_fail(error, to, "sync it", errno);
    posix_fadvise(of.out, 0, 0, POSIX_FADV_DONTNEED); /* a copy must not drive out of memory what clients read */
    if (close(of.out) < 0 && !result) result = sk_file_fail(error, to, "write it", errno);
    if (result) unlink(to);
    return result;
}
