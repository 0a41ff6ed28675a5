/* Calls that read the disk or look at it, and a few that change it in a way that only their caller is told of: they fail like
 * those of calls.c, where the linker was told to --wrap them (calls.h). */
#include "tests/fault/calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The call, or -1 and the errno that was asked for. */
#define LOOK(result, failure, name, parameters, ...)                                           \
    result __wrap_##name parameters;                                                           \
    result __real_##name parameters;                                                           \
    result __wrap_##name parameters                                                            \
    {                                                                                          \
        return fault_judge(FAULT_LOOK, false) == FAULT_FAILS ? failure : __real_##name(__VA_ARGS__); \
    }

LOOK(DIR *, NULL, opendir, (const char *path), path)
LOOK(struct dirent *, NULL, readdir, (DIR * list), list)
LOOK(int, -1, stat, (const char *path, struct stat *status), path, status)
LOOK(int, -1, fstat, (int fd, struct stat *status), fd, status)
LOOK(int, -1, fstatat, (int fd, const char *path, struct stat *status, int flags), fd, path, status, flags)
LOOK(int, -1, statvfs, (const char *path, struct statvfs *status), path, status)
LOOK(int, -1, fstatvfs, (int fd, struct statvfs *status), fd, status)
LOOK(int, -1, mkdir, (const char *path, mode_t mode), path, mode)
LOOK(int, -1, unlink, (const char *path), path)
LOOK(int, -1, unlinkat, (int fd, const char *path, int flags), fd, path, flags)
LOOK(int, -1, rmdir, (const char *path), path)
LOOK(int, -1, symlink, (const char *to, const char *path), to, path)
LOOK(int, -1, flock, (int fd, int how), fd, how)
LOOK(int, -1, dup, (int fd), fd)

ssize_t __wrap_read(int fd, void *data, size_t len);
ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len)
{
    return fault_judge(FAULT_LOOK, true) == FAULT_FAILS ? -1 : __real_read(fd, data, len);
}

/* Those that make a file are of calls.c. */
int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (!(flags & O_CREAT) && fault_judge(FAULT_LOOK, false) == FAULT_FAILS) return -1;
    return __real_open(path, flags, mode);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *argument);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *argument)
{
    return fault_judge(FAULT_LOOK, false) == FAULT_FAILS ? fault->error : __real_pthread_create(thread, how, run, argument);
}
