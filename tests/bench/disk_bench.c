/* What a data directory holds: compacts the database of a node that does not run, then counts rows and bytes in each
 * column family. Opens RocksDB itself, so that it knows nothing of how the store uses it but the names of families.
 *
 *   disk_bench DATA_DIR
 *
 * Prints a line a family: name, rows, bytes of keys, bytes of values (both as RocksDB is given them), bytes of its
 * tables after compaction and compression. */
#include <rocksdb/c.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAMILIES_MAX = 64, BLOCK_BYTES = 8 * 1024, BLOOM_BITS = 10 }; /* as the store has them */

static void die_of(const char *what, const char *error)
{
    if (!error) return;
    fprintf(stderr, "disk_bench: %s: %s\n", what, error);
    exit(1);
}

static rocksdb_options_t *options_like_ours(void)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_set_info_log_level(options, 4);
    rocksdb_options_set_wal_recovery_mode(options, 2);
    return options;
}

static void compact(rocksdb_t *db, rocksdb_column_family_handle_t *family, const char *name)
{
    char *error = NULL;
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_flush_cf(db, flush, family, &error);
    die_of(name, error);
    rocksdb_flushoptions_destroy(flush);
    rocksdb_compactoptions_t *how = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_bottommost_level_compaction(how, 2); /* forced: also what lies there already */
    rocksdb_compact_range_cf_opt(db, family, how, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(how);
}

static void count(rocksdb_t *db, rocksdb_column_family_handle_t *family, const char *name)
{
    unsigned long long rows = 0, keys = 0, values = 0;
    char *error = NULL;
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    rocksdb_iterator_t *i = rocksdb_create_iterator_cf(db, read, family);
    for (rocksdb_iter_seek_to_first(i); rocksdb_iter_valid(i); rocksdb_iter_next(i)) {
        size_t key, value;
        rocksdb_iter_key(i, &key);
        rocksdb_iter_value(i, &value);
        rows++, keys += key, values += value;
    }
    rocksdb_iter_get_error(i, &error);
    die_of(name, error);
    rocksdb_iter_destroy(i);
    rocksdb_readoptions_destroy(read);
    uint64_t tables = 0;
    rocksdb_property_int_cf(db, family, "rocksdb.live-sst-files-size", &tables);
    printf("%s %llu %llu %llu %llu\n", name, rows, keys, values, (unsigned long long)tables);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: disk_bench DATA_DIR\n");
        return 2;
    }
    char path[4096], *error = NULL;
    size_t families = 0;
    rocksdb_options_t *options = options_like_ours();
    const rocksdb_options_t *each[FAMILIES_MAX];
    rocksdb_column_family_handle_t *handles[FAMILIES_MAX];
    snprintf(path, sizeof path, "%s/db", argv[1]);
    char **names = rocksdb_list_column_families(options, path, &families, &error);
    die_of(path, error);
    if (families > FAMILIES_MAX) die_of(path, "more column families than expected");
    for (size_t i = 0; i < families; i++) each[i] = options;
    rocksdb_t *db = rocksdb_open_column_families(options, path, (int)families, (const char *const *)names, each, handles,
                                                 &error);
    die_of(path, error);
    for (size_t i = 0; i < families; i++) {
        const char *name = strcmp(names[i], "default") == 0 ? "row" : names[i];
        compact(db, handles[i], name);
        count(db, handles[i], name);
        rocksdb_column_family_handle_destroy(handles[i]);
    }
    rocksdb_list_column_families_destroy(names, families);
    rocksdb_close(db);
    rocksdb_options_destroy(options);
    return 0;
}
