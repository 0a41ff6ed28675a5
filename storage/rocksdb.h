/* The store on disk: RocksDB, with group commit and placing off the thread that uses it.
 *
 *   the loop's thread                                the commit thread, the placing thread
 *   put  -> the open batch, in the overlay
 *   seal -> the batch waits              ------>     every batch that waits becomes one append to the log and one
 *   reap <- durable                      <------     sync; the durable number goes up; wake() is called
 *           the overlay forgets it       <------     many batches later all are placed in sorted runs
 *
 * Gets look into the overlay, then for rows into a cache of committed ones, then into RocksDB. A small batch that finds the
 * commit thread asleep is appended by the seal itself, and synced if that is asked for and quick; the next reap says that it is
 * durable. Otherwise nothing that the loop does waits for a sync (storage/committer.h).
 *
 * What a crash can lose, by durability: `always`: nothing that a reap gave as durable. `interval`: nothing when the
 * process dies; when the machine does, at most what came since the last sync (`interval_ms` and the time of a sync).
 * `os`: nothing when the process dies; what the system had not written when the machine does. In every case what is
 * there afterwards is a prefix of the batches. */
#ifndef SK_STORAGE_ROCKSDB_H
#define SK_STORAGE_ROCKSDB_H

#include "storage/store.h"

enum {
    SK_ROCKSDB_ERROR = 256, /* bytes for a sentence about what went wrong */
    SK_ROCKSDB_MARK = 88,   /* characters of a directory's mark, NUL included */
};

typedef struct {
    const char *path; /* of the data directory; made if missing. Borrowed during the opening */
    sk_durability durability;
    uint32_t interval_ms;       /* between syncs under `interval`; 0: 1000 */
    size_t cache_bytes;         /* block cache, index and filter blocks included; 0: 128 MiB */
    size_t row_cache_bytes;     /* committed rows, found without asking RocksDB; 0: 320 MiB */
    size_t write_buffer_bytes;  /* changes on their way to tables: gathered, being placed, in memtables; 0: 256 MiB */
    size_t place_bytes;         /* of memory: committed changes that make a run; 0: a third of write_buffer_bytes */
    size_t segment_bytes;       /* of the commit log; below 4 GiB; 0: 8 MiB */
    int max_open_files;         /* tables; 0: 512 */
    uint64_t min_free_bytes;    /* sk_rocksdb_space_low below this; 0: never */
    uint32_t reclaim_ms;        /* after this an idle store gives back memory, and space of removed ranges; 0: 60000 */
    /* It is time to reap. Called from the commit thread after each commit of its own, and a sync that failed; from the
     * placing thread after each run; and by a reap that leaves something for another. May be NULL; must not call the store. */
    void (*wake)(void *context);
    void *context;
} sk_rocksdb_options;

/** Opens the store of a data directory, alone. 0, or SK_E_LOCKED, SK_E_FORMAT, SK_E_CORRUPT, SK_E_DISK_FULL, SK_E_IO
 *  with a sentence for a person in `error` (SK_ROCKSDB_ERROR bytes). Given back with sk_store_close. */
int sk_rocksdb_open(const sk_rocksdb_options *options, sk_store **store, char *error);

/** The mark of the directory (sk_folder_mark in storage/folder.h). Another one than was noted at the last start: it was
 *  copied or restored, and the node must take a new incarnation. */
void sk_rocksdb_mark(const sk_store *store, char text[SK_ROCKSDB_MARK]);

/** Whether less than min_free_bytes are free, as looked at 100 ms ago at most (1 s when nothing is written). Cheap. */
bool sk_rocksdb_space_low(const sk_store *store);

/** Any thread: makes the folder `path` (on the data directory's disk; what is there is removed) with RocksDB's files as
 *  they are when everything that was committed before the call is in its place: a database that needs no commit log. Commits
 *  go on meanwhile, placing waits for a moment. 0, or an error with a sentence in `error` (SK_ROCKSDB_ERROR bytes). */
int sk_rocksdb_checkpoint(sk_store *store, const char *path, char *error);
/** What tells this database's files from those of another: its name in db/IDENTITY. Any thread. 0 or an error. */
int sk_rocksdb_name(const sk_store *store, sk_buf *name, char *error);
/** Opens a folder with such files for gets and iterators alone: nothing in it is written but RocksDB's own log. */
int sk_rocksdb_open_copy(const char *path, sk_store **store, char *error);
/** Opens the data directory of a node that is stopped as the node would find it, with what its commit log holds, for gets
 *  and iterators: nothing in it is written, what is put stays in memory and must not be sealed. RocksDB's own log goes to
 *  the folder `scratch`. Errors as of sk_rocksdb_open. */
int sk_rocksdb_open_stopped(const char *path, const char *scratch, sk_store **store, char *error);
/** Reads every block of every table, those too of which all was removed by range, which no iterator comes to. SK_E_CORRUPT
 *  or another error with RocksDB's words in `error` (SK_ROCKSDB_ERROR bytes). */
int sk_rocksdb_read_all(sk_store *store, char *error);

/** What RocksDB said about the last failure; empty if there was none. Borrowed until the next call on the store. */
const char *sk_rocksdb_last_error(sk_store *store);

#endif
