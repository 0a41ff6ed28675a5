/* A disk that keeps what was synced, and nothing else for certain. This program's own open, fsync, rename and so on stand
 * before the C library's, for RocksDB too (no sync reaches the real disk). For one program of tests: included once.
 *
 *  - A file's bytes are on the disk once the file was synced; its size, when it is set, at once.
 *  - Names (what open, mkdir, link, rename, unlink and rmdir change) are on the disk once their folder was synced, whether or
 *    not the file was. Of the others a loss takes all of a folder from some one on, or any. A rename comes whole: that much
 *    ext4, XFS and btrfs do. (They do more: most keep the order, and a sync of a new file brings its name.)
 *
 * A loss is a folder made of what there then is. Instead of the power, the process alone may end (kill -9): then the folder is
 * a copy of what the system has, which is true to a moment only while one thread writes. */
#ifndef SK_TESTS_POWER_H
#define SK_TESTS_POWER_H

#include "tests/unit/store_harness.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

enum {
    POWER_LOSSES = 64, /* at most */
    POWER_PATH = 256,
    POWER_NAME = 72,
    POWER_NAMES = 4096, /* on the disk, or changed and not there yet; and files and folders that ever were */
};

/* In a folder (0: nowhere) a file or a folder goes by a name. */
typedef struct {
    uint64_t folder, item;
    char text[POWER_NAME];
    bool is_folder;
} power_name;

/* Any of them may be nowhere. */
typedef struct {
    power_name from, to;
} power_change;

static struct {
    pthread_mutex_t lock;
    char root[64], disk[72]; /* what is written to, and a folder for what was synced, a file for each item; "": nobody looks */
    dev_t device;
    ino_t items[POWER_NAMES]; /* by their number; a file system uses an inode again: the last one is meant */
    uint64_t item_count;
    power_name there[POWER_NAMES];
    power_change waiting[POWER_NAMES]; /* for a sync of their folder */
    size_t there_count, waiting_count;
    uint64_t calls, next, every; /* of those below; the one with which the power goes (0: none), up to so many before the next */
    uint64_t seed;
    bool kills; /* not the power goes, the process ends */
    int losses, most; /* so many by themselves */
    uint64_t durable[POWER_LOSSES]; /* what had been given as durable before */
} machine = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* On any thread, where cmocka's would not do. */
#define power_must(condition) ((condition) ? (void)0 : power_fail(#condition, __LINE__))

static void power_fail(const char *condition, int line)
{
    fprintf(stderr, "power.h, line %d: not so: %s: %s\n", line, condition, strerror(errno));
    abort();
}

static _Atomic uint64_t durable; /* a number that only grows: what was done so far is never lost */

static int raw_open(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

/* -- what is where ------------------------------------------------------------------------------------------------ */

static uint64_t item_of(const struct stat *status)
{
    for (uint64_t i = machine.item_count; i > 0 && status->st_dev == machine.device; i--)
        if (machine.items[i] == status->st_ino) return i;
    return 0;
}

static uint64_t item_at(int folder, const char *path)
{
    struct stat status;
    return machine.root[0] && fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? item_of(&status) : 0;
}

static void item_path(uint64_t item, char path[POWER_PATH])
{
    snprintf(path, POWER_PATH, "%s/%llu", machine.disk, (unsigned long long)item);
}

static uint64_t add_item(const char *path)
{
    struct stat status;
    char synced[POWER_PATH];
    power_must(machine.item_count + 1 < POWER_NAMES);
    power_must(fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0);
    machine.items[++machine.item_count] = status.st_ino;
    if (S_ISREG(status.st_mode)) {
        item_path(machine.item_count, synced);
        int fd = raw_open(synced, O_WRONLY | O_CREAT | O_TRUNC);
        power_must(fd >= 0);
        close(fd);
    }
    return machine.item_count;
}

/* What a path names; nowhere if its folder is none of ours. The item is the caller's to say. */
static power_name name_at(int folder, const char *path)
{
    power_name name = {0};
    char parent[POWER_PATH];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 1;
    if (!machine.root[0] || len >= sizeof parent) return name;
    memcpy(parent, slash ? path : ".", len);
    parent[len] = '\0';
    name.folder = item_at(folder, parent);
    power_must(!name.folder || snprintf(name.text, sizeof name.text, "%s", slash ? slash + 1 : path) < POWER_NAME);
    return name;
}

static power_name with_item(power_name name, uint64_t item, bool is_folder)
{
    name.item = item;
    name.is_folder = is_folder;
    if (!item) name.folder = 0;
    return name;
}

static void set_name(power_name *names, size_t *count, const power_name *name, bool there)
{
    size_t at = 0;
    while (at < *count && (names[at].folder != name->folder || strcmp(names[at].text, name->text) != 0)) at++;
    if (there) {
        power_must(at < POWER_NAMES);
        names[at] = *name;
        *count += at == *count;
    } else if (at < *count) {
        names[at] = names[--*count];
    }
}

static void make_change(power_name *names, size_t *count, const power_change *change)
{
    if (change->from.folder) set_name(names, count, &change->from, false);
    if (change->to.folder) set_name(names, count, &change->to, true);
}

static void note_change(power_name from, power_name to)
{
    if (!from.folder && !to.folder) return;
    power_must(machine.waiting_count < POWER_NAMES);
    machine.waiting[machine.waiting_count++] = (power_change){from, to};
}

static void sync_names(uint64_t folder)
{
    size_t left = 0;
    for (size_t i = 0; i < machine.waiting_count; i++) {
        const power_change *change = &machine.waiting[i];
        if (change->from.folder == folder || change->to.folder == folder)
            make_change(machine.there, &machine.there_count, change);
        else
            machine.waiting[left++] = *change;
    }
    machine.waiting_count = left;
}

/* -- losses ------------------------------------------------------------------------------------------------------- */

static void lost_path(int loss, char path[POWER_PATH])
{
    snprintf(path, POWER_PATH, "%s.%d", machine.disk, loss);
}

static void copy_bytes(const char *from, const char *to)
{
    static char piece[1 << 16];
    int in = raw_open(from, O_RDONLY), out = raw_open(to, O_WRONLY | O_CREAT | O_TRUNC);
    power_must(in >= 0 && out >= 0);
    for (ssize_t len; (len = read(in, piece, sizeof piece)) > 0;)
        power_must(syscall(SYS_write, out, piece, (size_t)len) == len);
    close(in);
    close(out);
}

static void make_tree(const power_name *names, size_t count, uint64_t folder, const char *path)
{
    power_must(syscall(SYS_mkdirat, AT_FDCWD, path, 0700) == 0);
    for (size_t i = 0; i < count; i++) {
        char to[POWER_PATH], from[POWER_PATH];
        if (names[i].folder != folder) continue;
        power_must(snprintf(to, sizeof to, "%s/%s", path, names[i].text) < POWER_PATH);
        item_path(names[i].item, from);
        if (names[i].is_folder)
            make_tree(names, count, names[i].item, to);
        else
            copy_bytes(from, to);
    }
}

/* How many of the changes that wait in a folder are on the disk after all: often none, often all. */
static size_t pick(size_t count)
{
    uint32_t die = roll(&machine.seed, 4);
    return die == 0 ? 0 : die == 1 ? count : roll(&machine.seed, (uint32_t)count + 1);
}

static uint64_t folder_of(const power_change *change)
{
    return change->to.folder ? change->to.folder : change->from.folder;
}

static void make_lost_disk(const char *path)
{
    static power_name names[POWER_NAMES];
    static size_t left[POWER_NAMES]; /* by folder */
    size_t count = machine.there_count;
    bool in_order = roll(&machine.seed, 2);
    memcpy(names, machine.there, count * sizeof *names);
    memset(left, 0, sizeof left);
    for (size_t i = 0; i < machine.waiting_count; i++) left[folder_of(&machine.waiting[i])]++;
    for (uint64_t i = 1; i <= machine.item_count; i++)
        if (left[i]) left[i] = pick(left[i]);
    for (size_t i = 0; i < machine.waiting_count; i++) {
        const power_change *change = &machine.waiting[i];
        if (in_order ? left[folder_of(change)] == 0 : roll(&machine.seed, 2) == 0) continue;
        if (in_order) left[folder_of(change)]--;
        make_change(names, &count, change);
    }
    make_tree(names, count, 1, path);
}

/* With the lock. */
static void lose_power(void)
{
    power_must(machine.losses < POWER_LOSSES);
    char command[2 * POWER_PATH], to[POWER_PATH];
    lost_path(machine.losses, to);
    machine.durable[machine.losses++] = atomic_load(&durable);
    snprintf(command, sizeof command, "cp -R '%s' '%s'", machine.root, to);
    if (!machine.kills) make_lost_disk(to);
    if (machine.kills) power_must(system(command) == 0);
}

/* Looks after a folder that is empty. */
static void power_start(const char *root, uint64_t seed)
{
    struct stat status;
    snprintf(machine.disk, sizeof machine.disk, "%s.disk", root);
    power_must(syscall(SYS_mkdirat, AT_FDCWD, machine.disk, 0700) == 0);
    power_must(stat(root, &status) == 0);
    machine.device = status.st_dev;
    machine.items[1] = status.st_ino;
    machine.item_count = 1;
    machine.there_count = machine.waiting_count = 0;
    machine.losses = machine.most = 0;
    machine.seed = seed;
    machine.calls = machine.next = 0;
    machine.kills = false;
    atomic_store(&durable, 0);
    snprintf(machine.root, sizeof machine.root, "%s", root);
}

/* The machine is down: what the program still does reaches no disk. */
static void power_off(void)
{
    pthread_mutex_lock(&machine.lock);
    machine.root[0] = '\0';
    pthread_mutex_unlock(&machine.lock);
}

static void power_end(void)
{
    char path[POWER_PATH];
    power_off();
    for (int i = 0; i < machine.losses; i++) {
        lost_path(i, path);
        remove_tree(path);
    }
    remove_tree(machine.disk);
}

/* -- the calls ---------------------------------------------------------------------------------------------------- */

static void begin_call(void)
{
    pthread_mutex_lock(&machine.lock);
}

static long end_call(long result)
{
    int number = errno;
    if (machine.root[0] && ++machine.calls == machine.next) {
        if (machine.losses < machine.most) lose_power();
        machine.next += 1 + roll(&machine.seed, (uint32_t)machine.every);
    }
    pthread_mutex_unlock(&machine.lock);
    errno = number;
    return result;
}

static int sync_item(int fd)
{
    char path[64], synced[POWER_PATH];
    struct stat status;
    begin_call();
    uint64_t item = machine.root[0] && fstat(fd, &status) == 0 ? item_of(&status) : 0;
    if (item && S_ISDIR(status.st_mode)) sync_names(item);
    if (item && S_ISREG(status.st_mode)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd); /* it may be open for writing alone, and have no name */
        item_path(item, synced);
        copy_bytes(path, synced);
    }
    return (int)end_call(0);
}

int fsync(int fd) { return sync_item(fd); }
int fdatasync(int fd) { return sync_item(fd); }

static void resize(uint64_t item, off_t bytes, bool shrink)
{
    char synced[POWER_PATH];
    struct stat status;
    if (!item) return;
    item_path(item, synced);
    if (stat(synced, &status) == 0 && (shrink || status.st_size < bytes)) (void)!syscall(SYS_truncate, synced, bytes);
}

int open(const char *path, int flags, ...)
{
    begin_call();
    uint64_t before = flags & (O_CREAT | O_TRUNC) ? item_at(AT_FDCWD, path) : 0;
    bool new = flags & O_CREAT && machine.root[0] && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
    int fd = raw_open(path, flags);
    power_name name = fd >= 0 && new ? name_at(AT_FDCWD, path) : (power_name){0};
    if (name.folder) note_change((power_name){0}, with_item(name, add_item(path), false));
    if (fd >= 0 && flags & O_TRUNC) resize(before, 0, true);
    return (int)end_call(fd);
}

int mkdir(const char *path, mode_t mode)
{
    begin_call();
    long result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    power_name name = result == 0 ? name_at(AT_FDCWD, path) : (power_name){0};
    if (name.folder) note_change((power_name){0}, with_item(name, add_item(path), true));
    return (int)end_call(result);
}

int rename(const char *from, const char *to)
{
    struct stat status;
    begin_call();
    uint64_t item = item_at(AT_FDCWD, from);
    long result = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    bool is_folder = result == 0 && fstatat(AT_FDCWD, to, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
    if (result == 0)
        note_change(with_item(name_at(AT_FDCWD, from), item, is_folder), with_item(name_at(AT_FDCWD, to), item, is_folder));
    return (int)end_call(result);
}

int link(const char *from, const char *to)
{
    begin_call();
    long result = syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0) note_change((power_name){0}, with_item(name_at(AT_FDCWD, to), item_at(AT_FDCWD, from), false));
    return (int)end_call(result);
}

int unlinkat(int folder, const char *path, int flags)
{
    begin_call();
    uint64_t item = item_at(folder, path);
    long result = syscall(SYS_unlinkat, folder, path, flags);
    if (result == 0) note_change(with_item(name_at(folder, path), item, false), (power_name){0});
    return (int)end_call(result);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int ftruncate(int fd, off_t bytes)
{
    struct stat status;
    begin_call();
    long result = syscall(SYS_ftruncate, fd, bytes);
    if (result == 0 && machine.root[0] && fstat(fd, &status) == 0) resize(item_of(&status), bytes, true);
    return (int)end_call(result);
}

int truncate(const char *path, off_t bytes)
{
    begin_call();
    long result = syscall(SYS_truncate, path, bytes);
    if (result == 0) resize(item_at(AT_FDCWD, path), bytes, true);
    return (int)end_call(result);
}

int fallocate(int fd, int mode, off_t from, off_t bytes)
{
    struct stat status;
    begin_call();
    long result = syscall(SYS_fallocate, fd, mode, from, bytes);
    if (result == 0 && mode == 0 && machine.root[0] && fstat(fd, &status) == 0) resize(item_of(&status), from + bytes, false);
    return (int)end_call(result);
}

#endif
