/* Backups of a running node: made on a thread of their own, one at a time, into the directory that the configuration
 * allows (storage.backup_dir) or one below it.
 *
 *   BACKUP CREATE -> thread: checkpoint (sk_rocksdb_checkpoint: everything committed by now, in its place)
 *                            what it says of itself (sk_inspect)
 *                            files copied, those that are new (sk_backup_make)
 *                            checkpoint removed -> done() -> BACKUP STATUS
 *
 * The loop's thread does none of this. Commits go on; while the checkpoint is made, placing waits for a moment. The
 * checkpoint keeps the tables of its moment on the disk (by links, in data_dir/checkpoint.tmp) until they are copied.
 */
#ifndef SK_NODE_BACKUPS_H
#define SK_NODE_BACKUPS_H

#include "crdt/memory.h"
#include "storage/store.h"

enum { SK_BACKUP_PATH_MAX = 4096, SK_BACKUP_ERROR_MAX = 256 };

typedef enum { SK_BACKUP_NONE, SK_BACKUP_RUNNING, SK_BACKUP_DONE, SK_BACKUP_FAILED } sk_backup_state;

typedef struct sk_backup_status {
    sk_backup_state state; /* of the last one since the start */
    char directory[SK_BACKUP_PATH_MAX];
    uint64_t number;                     /* DONE: the backup's */
    uint64_t started_ms, ended_ms;       /* wall; ended_ms 0: it runs */
    uint64_t bytes, copied_bytes, files; /* DONE: of all its files; of those that no earlier backup had. RUNNING:
                                          * copied_bytes so far */
    int error;                           /* FAILED */
    char text[SK_BACKUP_ERROR_MAX];
} sk_backup_status;

typedef struct sk_backups sk_backups;

/** `store` is one of sk_rocksdb_open over `data_dir`; what a crash left of a checkpoint is removed. `done` is called
 * from the thread when a backup has ended. `allowed` may be NULL: none are made. Strings and store outlive it. */
sk_backups *sk_backups_new(sk_store *store, const char *data_dir, const char *allowed, uint64_t keep_free,
                           void (*done)(void *self), void *self);
/** Stops a backup that runs (it fails), and gives everything back. */
void sk_backups_free(sk_backups *backups);

/** Starts one into `directory`: the allowed one or one below it, by its whole path or from there; empty: the allowed
 * one. 0, or SK_E_BUSY, SK_E_CONFIG, SK_E_IO with a sentence. */
int sk_backups_start(sk_backups *backups, sk_bytes directory, uint64_t wall_ms, sk_buf *error);
void sk_backups_status(sk_backups *backups, sk_backup_status *status);
/** Bytes that it copies in a second at most, also of one that runs; 0: as fast as it goes. */
void sk_backups_set_rate(sk_backups *backups, uint64_t bytes_per_s);

/** The path that `wanted` means below `allowed`. False: it leads elsewhere, or is too long. For sk_backups_start. */
bool sk_backup_path(const char *allowed, sk_bytes wanted, char path[SK_BACKUP_PATH_MAX]);

#endif
