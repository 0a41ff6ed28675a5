/* RocksDB as the store needs it: its options, its column families, its errors in our codes.
 *
 * Invariants:
 *  1. `db` is NULL or open with every column family.
 *  2. `read_only` databases are never written: RocksDB holds their logs' contents in memory.
 *  3. Reads are for any thread, writes for the placing thread while that runs.
 *  4. `table` is open between sk_database_table_begin and take_in only.
 *
 * Tombstones. A removed key stays as one until compaction has carried it through all levels, and whoever iterates steps over
 * each: a start over ten million of them would take seconds to find its first row. So none is written for a key that RocksDB
 * does not have: most of those that live briefly never come there. (To ask takes the placing thread 1 to 3 µs each, measured
 * with 200,000 staged rows that were folded in. History goes by range, and asks nothing.) And tables of which a good part
 * are tombstones are compacted early: RocksDB does it by itself with those that it writes, and is told of those that it
 * takes in. */
#ifndef SK_STORAGE_DATABASE_H
#define SK_STORAGE_DATABASE_H

#include "storage/folder.h"
#include "storage/rocksdb.h"

#include <rocksdb/c.h>

typedef struct {
    const sk_folder *folder; /* borrowed, from the first opening on */
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family[SK_CF_COUNT];
    bool read_only;
    rocksdb_options_t *options;
    rocksdb_options_t *family_options[SK_CF_COUNT];
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write_plain;
    rocksdb_flushoptions_t *flush; /* waits */
    rocksdb_ingestexternalfileoptions_t *ingest;
    rocksdb_envoptions_t *env;
    rocksdb_sstfilewriter_t *table; /* NULL: none is being made */
    char *table_path;               /* owned: where one is made, beside db/ */
    char *table_error;              /* owned: the first that adding to it met */
    size_t table_points, table_removals;
    sk_buf table_first, table_last; /* removals */
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

/** Everything written so far is on the disk (RocksDB's write-ahead log is synced). 0 or an error with words, as above. */
int sk_database_sync_log(sk_database *database, char *error);
/** Writes a family's memtable as a table, and waits for it. */
int sk_database_flush(sk_database *database, sk_cf cf, char *error);
/** False: RocksDB does not have the key. Looks at nothing but memory. */
bool sk_database_may_have(const sk_database *database, sk_cf cf, sk_bytes key);
/** Begins a table of a family: keys are added in ascending order, each once (value NULL: a removal), and the whole is then
 *  taken in: newer than everything the family has, on the disk, visible at once. After an error nothing of it is. */
int sk_database_table_begin(sk_database *database, sk_cf cf, char *error);
void sk_database_table_add(sk_database *database, sk_bytes key, const sk_bytes *value);
int sk_database_table_take_in(sk_database *database, sk_cf cf, char *error);

/** Makes the folder `path`, on the same disk as the database: its files as they are at one moment, tables by links. Nobody
 *  may write meanwhile. 0 or an error with words, as above. */
int sk_database_checkpoint(sk_database *database, const char *path, char *error);

/** A number that RocksDB keeps, summed over the families; 0 if it does not know it. */
uint64_t sk_database_property(const sk_database *database, const char *name);

#endif
