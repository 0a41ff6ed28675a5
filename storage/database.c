#include "storage/database.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* RocksDB wants a family called `default`; rows have it, as every other name costs a few bytes more a record. */
static const char *const names[SK_CF_COUNT] = {
    [SK_CF_ROW] = "default",     [SK_CF_HISTORY] = "history", [SK_CF_META] = "meta",
    [SK_CF_STAGED] = "staged", [SK_CF_DERIVED] = "derived",
};

enum {
    MEMTABLE_PART = 6, /* of the write buffer: most of what is placed goes past the memtables, as tables */
    BLOCK_BYTES = 8 * 1024,
    BACKGROUND_JOBS = 2, /* a flush and a compaction */
    /* Three times RocksDB's own: a compaction rewrites all of the level below, whatever it brings there. Reads of keys that
     * are not there do not go through these tables (storage/presence.h), others pass most by their filters. */
    RUNS_TO_COMPACT = 12,
    RUNS_TO_SLOW_DOWN = 2 * RUNS_TO_COMPACT, RUNS_TO_WAIT = 4 * RUNS_TO_COMPACT,
    TOMBSTONES_OF = 1024, TOMBSTONES_MANY = 512, /* so many of so many keys are worth a compaction of their own */
    BLOOM_BITS = 10,      /* a key: one in a hundred misses goes to the block */
    CACHE_SHARD_BITS = 2, /* few threads ask, and what does not fit into a shard is read from the file each time */
};

/* Index and filter blocks live in the cache, so that the cache's size bounds memory however many tables are open. Both are
 * in parts of a block's size: the filter of a whole table is hundreds of kilobytes, and reading it anew for each row that
 * is asked for, once not all of them fit, made a store of 2,000,000 rows a hundred times slower than one of 800,000. */
static void set_table(rocksdb_options_t *options, rocksdb_cache_t *cache, bool points)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_block_based_options_set_index_type(table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
    if (points) {
        rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
        rocksdb_block_based_options_set_whole_key_filtering(table, 1);
        rocksdb_block_based_options_set_partition_filters(table, 1);
        rocksdb_block_based_options_set_data_block_index_type(
            table, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
        rocksdb_block_based_options_set_data_block_hash_ratio(table, 0.75);
    }
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

static rocksdb_options_t *family_options(const sk_rocksdb_options *options, rocksdb_cache_t *cache, int cf)
{
    rocksdb_options_t *made = rocksdb_options_create();
    bool points = cf == SK_CF_ROW || cf == SK_CF_STAGED;
    size_t memtables = options->write_buffer_bytes / MEMTABLE_PART;
    size_t share = cf == SK_CF_ROW ? memtables / 2 : memtables / 8;
    rocksdb_options_set_write_buffer_size(made, share);
    rocksdb_options_set_max_write_buffer_number(made, 3);
    rocksdb_options_set_compression(made, rocksdb_lz4_compression);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(made, 1);
    rocksdb_options_set_level0_file_num_compaction_trigger(made, RUNS_TO_COMPACT);
    rocksdb_options_set_level0_slowdown_writes_trigger(made, RUNS_TO_SLOW_DOWN);
    rocksdb_options_set_level0_stop_writes_trigger(made, RUNS_TO_WAIT);
    set_table(made, cache, points);
    rocksdb_options_add_compact_on_deletion_collector_factory(made, TOMBSTONES_OF, TOMBSTONES_MANY);
    if (points) {
        /* a small filter before the memtable: most first writes of a key ask for a row that is not there */
        rocksdb_options_set_memtable_whole_key_filtering(made, 1);
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(made, 0.05);
    }
    return made;
}

static void set_options(rocksdb_options_t *made, const sk_rocksdb_options *options)
{
    rocksdb_options_set_create_if_missing(made, 1);
    rocksdb_options_set_create_missing_column_families(made, 1);
    rocksdb_options_set_paranoid_checks(made, 1);
    /* On a full disk Debian's build aborts in its own log unless it hardly writes one. */
    rocksdb_options_set_info_log_level(made, 4);
    rocksdb_options_set_keep_log_file_num(made, 2);
    rocksdb_options_set_max_log_file_size(made, 1 << 20);
    rocksdb_options_set_stats_dump_period_sec(made, 0);
    rocksdb_options_set_stats_persist_period_sec(made, 0);
    rocksdb_options_set_max_open_files(made, options->max_open_files);
    rocksdb_options_set_db_write_buffer_size(made, options->write_buffer_bytes / MEMTABLE_PART);
    rocksdb_options_set_max_background_jobs(made, BACKGROUND_JOBS);
    /* A family that is seldom written would hold every log since; this flushes it. It bounds a restart, too. */
    rocksdb_options_set_max_total_wal_size(made, options->write_buffer_bytes);
    rocksdb_options_set_max_manifest_file_size(made, 16 << 20);
    rocksdb_options_set_bytes_per_sync(made, 1 << 20);
    /* A torn tail is what a power loss leaves; what comes before it is a prefix of the batches. The strict modes would
     * refuse to start then. */
    rocksdb_options_set_wal_recovery_mode(made, 2);
}

void sk_database_init(sk_database *database, const sk_rocksdb_options *options)
{
    *database = (sk_database){0};
    rocksdb_lru_cache_options_t *cache = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(cache, options->cache_bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(cache, CACHE_SHARD_BITS);
    database->cache = rocksdb_cache_create_lru_opts(cache);
    rocksdb_lru_cache_options_destroy(cache);
    database->options = rocksdb_options_create();
    set_options(database->options, options);
    for (int cf = 0; cf < SK_CF_COUNT; cf++)
        database->family_options[cf] = family_options(options, database->cache, cf);
    database->read = rocksdb_readoptions_create();
    database->write_plain = rocksdb_writeoptions_create();
    database->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(database->flush, 1);
    database->ingest = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(database->ingest, 1);
    database->env = rocksdb_envoptions_create();
}

void sk_database_thread_begin(void)
{
    rocksdb_set_perf_level(rocksdb_disable);
}

int sk_database_error(char *message, char *error)
{
    static const char *const full[] = {"No space left", "Disk quota exceeded", "File too large"};
    if (!message) return SK_OK;
    snprintf(error, SK_FOLDER_ERROR, "%s", message);
    int code = strncmp(message, "Corruption", 10) == 0 ? SK_E_CORRUPT : SK_E_IO;
    for (size_t i = 0; i < sizeof full / sizeof full[0]; i++)
        if (strstr(message, full[i])) code = SK_E_DISK_FULL;
    if (strstr(message, "Column families not opened")) code = SK_E_FORMAT;
    if (strstr(message, "lock ") && strstr(message, "Resource temporarily unavailable")) code = SK_E_LOCKED;
    free(message);
    return code;
}

int sk_database_open(sk_database *database, const sk_folder *folder, bool read_only, char *error)
{
    sk_assert(database->db == NULL);
    char *message = NULL;
    const rocksdb_options_t *const *options = (const rocksdb_options_t *const *)database->family_options;
    rocksdb_t *db = read_only
                        ? rocksdb_open_for_read_only_column_families(database->options, folder->db_path, SK_CF_COUNT,
                                                                     names, options, database->family, 0, &message)
                        : rocksdb_open_column_families(database->options, folder->db_path, SK_CF_COUNT, names, options,
                                                       database->family, &message);
    if (message) return sk_database_error(message, error);
    database->folder = folder;
    free(database->table_path);
    size_t room = strlen(folder->path) + sizeof "/placing.sst";
    database->table_path = sk_alloc(room);
    snprintf(database->table_path, room, "%s/placing.sst", folder->path);
    if (!read_only) unlink(database->table_path); /* what a crash left */
    database->db = db;
    database->read_only = read_only;
    return SK_OK;
}

void sk_database_close(sk_database *database)
{
    if (!database->db) return;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) rocksdb_column_family_handle_destroy(database->family[cf]);
    rocksdb_close(database->db);
    database->db = NULL;
}

void sk_database_free(sk_database *database)
{
    sk_database_close(database);
    for (int cf = 0; cf < SK_CF_COUNT; cf++) rocksdb_options_destroy(database->family_options[cf]);
    rocksdb_options_destroy(database->options);
    rocksdb_readoptions_destroy(database->read);
    rocksdb_writeoptions_destroy(database->write_plain);
    rocksdb_flushoptions_destroy(database->flush);
    rocksdb_ingestexternalfileoptions_destroy(database->ingest);
    sk_buf_free(&database->table_first);
    sk_buf_free(&database->table_last);
    rocksdb_envoptions_destroy(database->env);
    free(database->table_path);
    rocksdb_cache_destroy(database->cache);
    *database = (sk_database){0};
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

int sk_database_sync_log(sk_database *database, char *error)
{
    char *message = NULL;
    rocksdb_flush_wal(database->db, 1, &message);
    return sk_database_error(message, error);
}

int sk_database_flush(sk_database *database, sk_cf cf, char *error)
{
    char *message = NULL;
    rocksdb_flush_cf(database->db, database->flush, database->family[cf], &message);
    return sk_database_error(message, error);
}

bool sk_database_may_have(const sk_database *database, sk_cf cf, sk_bytes key)
{
    return rocksdb_key_may_exist_cf(database->db, database->read, database->family[cf], (const char *)key.data, key.len,
                                    NULL, NULL, NULL, 0, NULL);
}

int sk_database_table_begin(sk_database *database, sk_cf cf, char *error)
{
    sk_assert(database->table == NULL);
    char *message = NULL;
    sk_assert(database->table_error == NULL);
    rocksdb_sstfilewriter_t *table = rocksdb_sstfilewriter_create(database->env, database->family_options[cf]);
    rocksdb_sstfilewriter_open(table, database->table_path, &message);
    if (!message) {
        database->table = table;
        database->table_points = database->table_removals = 0;
        return 0;
    }
    rocksdb_sstfilewriter_destroy(table);
    return sk_database_error(message, error);
}

void sk_database_table_add(sk_database *database, sk_bytes key, const sk_bytes *value)
{
    if (database->table_error) return;
    const char *data = (const char *)key.data;
    database->table_points++;
    if (value) {
        rocksdb_sstfilewriter_put(database->table, data, key.len, (const char *)value->data, value->len,
                                  &database->table_error);
        return;
    }
    rocksdb_sstfilewriter_delete(database->table, data, key.len, &database->table_error);
    if (database->table_removals++ == 0) {
        sk_buf_reset(&database->table_first);
        sk_buf_bytes(&database->table_first, key);
    }
    sk_buf_reset(&database->table_last);
    sk_buf_bytes(&database->table_last, key);
}

/* What was taken in has many tombstones: they are to be carried down, though there is not much above them yet. */
static void compact_removals(sk_database *database, sk_cf cf)
{
    if (database->table_removals < TOMBSTONES_MANY) return;
    if (database->table_removals * TOMBSTONES_OF < database->table_points * TOMBSTONES_MANY) return;
    char *ignored = NULL; /* it is a suggestion */
    rocksdb_suggest_compact_range_cf(database->db, database->family[cf], (const char *)database->table_first.data,
                                     database->table_first.len, (const char *)database->table_last.data,
                                     database->table_last.len, &ignored);
    rocksdb_free(ignored);
}

int sk_database_table_take_in(sk_database *database, sk_cf cf, char *error)
{
    char *message = database->table_error;
    database->table_error = NULL;
    bool any = database->table_points > 0; /* an empty table is an error */
    if (!message && any) rocksdb_sstfilewriter_finish(database->table, &message);
    rocksdb_sstfilewriter_destroy(database->table);
    database->table = NULL;
    const char *path = database->table_path;
    if (!message && any)
        rocksdb_ingest_external_file_cf(database->db, database->family[cf], &path, 1, database->ingest, &message);
    if (!message) compact_removals(database, cf);
    unlink(path); /* RocksDB has its own link to it, or there was an error */
    return sk_database_error(message, error);
}

int sk_database_checkpoint(sk_database *database, const char *path, char *error)
{
    char *message = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(database->db, &message);
    if (checkpoint && !message) rocksdb_checkpoint_create(checkpoint, path, 0, &message); /* 0: memtables become tables */
    if (checkpoint) rocksdb_checkpoint_object_destroy(checkpoint);
    return sk_database_error(message, error);
}

uint64_t sk_database_property(const sk_database *database, const char *name)
{
    uint64_t sum = 0;
    for (int cf = 0; database->db && cf < SK_CF_COUNT; cf++) {
        uint64_t value = 0;
        if (rocksdb_property_int_cf(database->db, database->family[cf], name, &value) == 0) sum += value;
    }
    return sum;
}
