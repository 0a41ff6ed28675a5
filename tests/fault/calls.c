#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static fault_control own;
fault_control *fault = &own;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("SK_FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *fault, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) fault = page;
}

fault_verdict fault_judge(uint32_t kind, bool moves)
{
    if (!(__atomic_load_n(&fault->kinds, __ATOMIC_RELAXED) & kind)) return FAULT_NONE;
    uint64_t number = __atomic_add_fetch(&fault->counted, 1, __ATOMIC_RELAXED);
    if (fault->first == 0 || number < fault->first || number - fault->first >= fault->length) return FAULT_NONE;
    if ((fault->error == 0 || fault->error == EINTR) && !moves) return FAULT_NONE;
    __atomic_add_fetch(&fault->failed, 1, __ATOMIC_RELAXED);
    errno = fault->error;
    return fault->error ? FAULT_FAILS : FAULT_SHORT;
}

static uint32_t kind_of(int fd)
{
    struct stat64 status; /* fstat is one of looks.c */
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    int before = errno;
    uint32_t kind = 0;
    if (fd > STDERR_FILENO && fault->kinds && fstat64(fd, &status) == 0) {
        if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) kind = FAULT_DISK;
        if (S_ISSOCK(status.st_mode) && getsockname(fd, (struct sockaddr *)&address, &len) == 0)
            kind = address.ss_family == AF_INET || address.ss_family == AF_INET6 ? FAULT_SOCKET : 0;
    }
    errno = before;
    return kind;
}

/* -- calls that write bytes ---------------------------------------------------------------------------------------- */

ssize_t write(int fd, const void *data, size_t len)
{
    fault_verdict is = fault_judge(kind_of(fd), true);
    if (is == FAULT_FAILS) return -1;
    return syscall(SYS_write, fd, data, is == FAULT_SHORT ? (len + 1) / 2 : len);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    fault_verdict is = fault_judge(kind_of(fd), true);
    if (is == FAULT_FAILS) return -1;
    return syscall(SYS_pwrite64, fd, data, is == FAULT_SHORT ? (len + 1) / 2 : len, at);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite64(fd, data, len, at);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    fault_verdict is = fault_judge(kind_of(fd), true);
    if (is == FAULT_FAILS) return -1;
    return syscall(SYS_sendto, fd, data, is == FAULT_SHORT ? (len + 1) / 2 : len, flags, NULL, 0);
}

/* Several pieces: short is half of the first one. */

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    fault_verdict is = fault_judge(kind_of(fd), true);
    if (is == FAULT_FAILS) return -1;
    if (is == FAULT_SHORT && count > 0) return syscall(SYS_write, fd, pieces->iov_base, (pieces->iov_len + 1) / 2);
    return syscall(SYS_writev, fd, pieces, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    fault_verdict is = fault_judge(kind_of(fd), true);
    if (is == FAULT_FAILS) return -1;
    if (is != FAULT_SHORT || message->msg_iovlen == 0) return syscall(SYS_sendmsg, fd, message, flags);
    return syscall(SYS_sendto, fd, message->msg_iov->iov_base, (message->msg_iov->iov_len + 1) / 2, flags, NULL, 0);
}

/* -- the others ---------------------------------------------------------------------------------------------------- */

int fdatasync(int fd)
{
    return fault_judge(kind_of(fd), false) == FAULT_FAILS ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fault_judge(kind_of(fd), false) == FAULT_FAILS ? -1 : (int)syscall(SYS_fsync, fd);
}

int ftruncate64(int fd, off_t len)
{
    return fault_judge(kind_of(fd), false) == FAULT_FAILS ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

int fallocate64(int fd, int mode, off_t at, off_t len)
{
    return fault_judge(kind_of(fd), false) == FAULT_FAILS ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    return fallocate64(fd, mode, at, len);
}

int rename(const char *from, const char *to)
{
    return fault_judge(FAULT_DISK, false) == FAULT_FAILS ? -1 : (int)syscall(SYS_rename, from, to);
}

int link(const char *from, const char *to)
{
    return fault_judge(FAULT_DISK, false) == FAULT_FAILS ? -1 : (int)syscall(SYS_link, from, to);
}

static int open_mode(const char *path, int flags, mode_t mode)
{
    if (flags & O_CREAT && fault_judge(FAULT_DISK, false) == FAULT_FAILS) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_mode(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_mode(path, flags, mode);
}
