/* Backups in a directory: each a manifest, over files that all of them share.
 *
 *   DIR/SKERRY-BACKUPS      what this is: "skerry backups\nformat 2\n"
 *   DIR/lock                flock'd by whoever adds or purges; shared by who reads
 *   DIR/000001.backup       the manifest of the first (storage/manifest.h), and so on
 *   DIR/files/SUM-LENGTH    bytes of files, under what they come to
 *
 * A backup is made from a checkpoint: a folder with the files of a database as they were at one moment, which needs no
 * commit log beside it (sk_rocksdb_checkpoint). A table that an earlier backup has of the same database (same name,
 * length and time of change) is neither read nor copied again: the cost is what is new.
 *
 * Invariants:
 *  1. A manifest is there only when every file that it names is whole and on the disk.
 *  2. Files are removed only under the lock, when every manifest could be read and none names them.
 *  3. A directory that holds anything else is left alone. */
#ifndef SK_STORAGE_BACKUP_H
#define SK_STORAGE_BACKUP_H

#include "storage/manifest.h"

typedef struct {
    const char *directory;  /* of backups; made if it is missing */
    const char *from;       /* the checkpoint's folder */
    sk_bytes source, about; /* see storage/manifest.h */
    uint64_t made_ms;       /* wall */
    uint64_t keep_free;     /* bytes that must stay free on the disk under the directory; 0: no matter */
    sk_file_work *work;     /* may be NULL */
} sk_backup_plan;

/** Makes a backup. 0 and its manifest (the caller's), or SK_E_LOCKED, SK_E_FORMAT, SK_E_CORRUPT, SK_E_DISK_FULL,
 * SK_E_IO, SK_E_SHUTDOWN with a sentence in `error` (SK_FILE_ERROR bytes), and none was made. */
int sk_backup_make(const sk_backup_plan *plan, sk_manifest *made, char *error);

typedef struct {
    uint64_t number; /* by the file's name */
    int status;      /* 0, or why its manifest cannot be read */
    sk_manifest manifest;
} sk_backup;

typedef struct {
    char *directory;    /* owned */
    int lock;           /* shared, as long as the list is there; -1: the directory has no lock file */
    sk_backup *backups; /* owned; ascending */
    size_t count;
} sk_backup_list;

/** Lists them. 0, or an error as above. Free it also after an error. */
int sk_backup_list_read(const char *directory, sk_backup_list *list, char *error);
void sk_backup_list_free(sk_backup_list *list);
/** The one of that number (0: the newest); NULL after writing why there is none, or none that can be read (its data may be of
 *  another skerry's format), and `status`. */
const sk_backup *sk_backup_find(const sk_backup_list *list, uint64_t number, int *status, char *error);

/** Removes all but the newest `keep` (at least 1), and the files that only they had. `removed`: backups; `bytes`: of
 *  files. Nothing is removed when a manifest cannot be read. */
int sk_backup_purge(const char *directory, size_t keep, size_t *removed, uint64_t *bytes, char *error);

/** Called with each file of a backup that is not as it must be, and a sentence. */
typedef void sk_backup_fault(void *self, const char *sentence);
/** Reads every file of a backup. The number of faults, or a negative error. */
int sk_backup_check(const sk_backup_list *list, const sk_backup *backup, sk_file_work *work, sk_backup_fault *fault,
                    void *self);
/** Fills an existing empty folder with links to the backup's files under their own names, so that it can be opened for
 *  reading. */
int sk_backup_link(const sk_backup_list *list, const sk_backup *backup, const char *folder, char *error);
/** Makes a data directory of a backup, checking every file on the way. SK_E_FORMAT if it is not empty, SK_E_LOCKED if a
 *  node has it open. After an error nothing is left in it. */
int sk_backup_restore(const sk_backup_list *list, const sk_backup *backup, const char *data_dir, sk_file_work *work,
                      char *error);

#endif
