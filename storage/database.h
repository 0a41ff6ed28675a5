/* RocksDB as the store needs it: its options, its column families, its errors in our codes.
 *
 * Invariants:
 *  1. `db` is NULL or open with every column family.
 *  2. `read_only` databases are never written: RocksDB holds their logs' contents in memory.
 *  3. The functions that write are for the commit thread while that runs; reads are for any thread. */
#ifndef SK_STORAGE_DATABASE_H
#define SK_STORAGE_DATABASE_H

#include "storage/folder.h"
#include "storage/rocksdb.h"

#include <rocksdb/c.h>

typedef struct {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family[SK_CF_COUNT + 1]; /* the last one is the log */
    rocksdb_column_family_handle_t *log;                     /* storage/log.h; one of them */
    bool read_only;
    rocksdb_options_t *options;
    rocksdb_options_t *family_options[SK_CF_COUNT + 1];
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write_synced, *write_plain;
} sk_database;

/** Prepares the options; nothing is open yet. Zero sizes must have been replaced by defaults. */
void sk_database_init(sk_database *database, const sk_rocksdb_options *options);
/** Opens db/ of the folder. 0, or a negative error and RocksDB's words in `error` (SK_FOLDER_ERROR bytes). */
int sk_database_open(sk_database *database, const sk_folder *folder, bool read_only, char *error);
/** Each thread that writes or reads much calls it once: RocksDB's counters per thread take a sixth of its time. */
void sk_database_thread_begin(void);
/** Closes it if it is open. Iterators, snapshots and pinned values must be gone. */
void sk_database_close(sk_database *database);
/** Closes it and gives the options back. */
void sk_database_free(sk_database *database);

/** Our code for RocksDB's message, which it copies into `error` (SK_FOLDER_ERROR bytes) and frees. NULL: SK_OK. */
int sk_database_error(char *message, char *error);

/** A number that RocksDB keeps, summed over the families; 0 if it does not know it. */
uint64_t sk_database_property(const sk_database *database, const char *name);

#endif
