/* Whole files and folders, as the store's own files need them: written so that they are there or not, copied with a
 * sum.
 *
 * Errors are negative codes with a sentence that names the path, in `error` (SK_FILE_ERROR bytes). */
#ifndef SK_STORAGE_FILE_H
#define SK_STORAGE_FILE_H

#include "crdt/error.h"
#include "crdt/memory.h"

#include <stdatomic.h>

enum { SK_FILE_ERROR = 256 };

/* What a file's bytes come to: XXH3-128. It guards against faults, not against forgers. */
typedef struct {
    uint64_t high, low;
    uint64_t bytes;
} sk_file_sum;

static inline bool sk_file_sum_equal(const sk_file_sum *a, const sk_file_sum *b)
{
    return a->high == b->high && a->low == b->low && a->bytes == b->bytes;
}

/* What somebody else may look at, and stop, while files are copied. */
typedef struct {
    _Atomic uint64_t bytes; /* read or copied so far */
    _Atomic uint64_t bytes_per_s; /* at most; 0: as fast as it goes. May be changed meanwhile, and counts at once */
    _Atomic bool stop;      /* set by another thread: the next block is the last; SK_E_SHUTDOWN */
} sk_file_work;

/** "folder/name", owned by the caller. */
char *sk_file_join(const char *folder, const char *name);
/** Writes the sentence and returns the code. */
int sk_file_say(char *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/** The same for errno: the sentence ends with what it means. SK_E_DISK_FULL for the numbers that more space would cure,
 *  else SK_E_IO. */
int sk_file_fail(char *error, const char *path, const char *what, int number);
/** SK_E_DISK_FULL for the errno values that more space would cure, else SK_E_IO. */
int sk_file_error(int number);

/** 0, or -1 and errno. */
int sk_file_sync_folder(const char *path);
int sk_file_write_all(int fd, const void *data, size_t len);
/** A folder of mode 0700 whose name is on the disk; no error if there is one. */
int sk_file_make_folder(const char *path, char *error);
/** Removes the files of a folder that has no folders in it, and the folder. No error if there is none. */
int sk_file_remove_folder(const char *path, char *error);

/** The whole file into `bytes` (appended), at most `max`: SK_E_TOO_LARGE beyond it. 1, or 0 if there is none. */
int sk_file_read(const char *path, size_t max, sk_buf *bytes, char *error);
/** The file is there with these bytes, or not at all: written aside (name.new), synced, renamed, its folder synced. */
int sk_file_write(const char *folder, const char *name, sk_bytes bytes, char *error);
/** Reads all of a file. `work` may be NULL. */
int sk_file_sum_of(const char *path, sk_file_sum *sum, sk_file_work *work, char *error);
/** Copies a file to a new one (mode 0600) and syncs that; after an error there is none. `keep_free`: SK_E_DISK_FULL as
 * soon as the disk under the copy has less free than that. */
int sk_file_copy(const char *from, const char *to, uint64_t keep_free, sk_file_sum *sum, sk_file_work *work,
                 char *error);

#endif
