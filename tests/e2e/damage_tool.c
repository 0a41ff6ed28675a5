/* Changes one byte of a database as if it had never been another: the pair is written anew, with sound checksums of
 * RocksDB's. For tests/e2e/audit.py, on a node that is stopped.
 *
 *   damage_tool DB list FAMILY                 each pair's length of key and value, and both in hex, a line each
 *   damage_tool DB flip FAMILY PAIR BYTE XOR   byte BYTE of key and value, as if they were one, of the PAIR-th pair
 *   damage_tool DB drop FAMILY PAIR            the pair is gone
 *   damage_tool DATA drift KEY [VALUE]         a string has another value under the same dot, or is gone, and the sums are
 *                                              those of it: what a mistake of the program would leave
 *
 * DB is the folder `db` of the data directory DATA; families: default (rows), history, meta, staged, derived. */
#include "node/db.h"
#include "storage/rocksdb.h"

#include <rocksdb/c.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAMILIES = 5 };
static const char *const names[FAMILIES] = {"default", "history", "meta", "staged", "derived"};

static void must(char *error)
{
    if (!error) return;
    fprintf(stderr, "damage_tool: %s\n", error);
    exit(1);
}

static void print_hex(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) printf("%02x", (uint8_t)bytes[i]);
}

static void list(rocksdb_iterator_t *at)
{
    for (; rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(at, &key_len), *value = rocksdb_iter_value(at, &value_len);
        printf("%zu %zu ", key_len, value_len);
        print_hex(key, key_len);
        printf(" ");
        print_hex(value, value_len);
        printf("\n");
    }
}

static void change(rocksdb_t *db, rocksdb_column_family_handle_t *family, rocksdb_iterator_t *at, int argc, char **argv)
{
    char *error = NULL;
    size_t key_len, value_len;
    for (long n = atol(argv[4]); n > 0 && rocksdb_iter_valid(at); n--) rocksdb_iter_next(at);
    if (!rocksdb_iter_valid(at)) must(strdup("there is no such pair"));
    const char *key = rocksdb_iter_key(at, &key_len), *value = rocksdb_iter_value(at, &value_len);
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(options, 1);
    char *both = malloc(key_len + value_len + 1);
    memcpy(both, key, key_len);
    memcpy(both + key_len, value, value_len);
    rocksdb_delete_cf(db, options, family, key, key_len, &error);
    must(error);
    if (argc == 7) {
        size_t byte = (size_t)atol(argv[5]);
        if (byte >= key_len + value_len) must(strdup("there is no such byte"));
        both[byte] = (char)(both[byte] ^ atoi(argv[6]));
        rocksdb_put_cf(db, options, family, both, key_len, both + key_len, value_len, &error);
        must(error);
    }
    free(both);
    rocksdb_writeoptions_destroy(options);
}

static void expect(bool right, const char *what)
{
    if (right) return;
    fprintf(stderr, "damage_tool: %s\n", what);
    exit(1);
}

static void drift(const char *path, const char *key, const char *value)
{
    char error[SK_ROCKSDB_ERROR] = "";
    sk_rocksdb_options options = {.path = path};
    sk_db db = {0};
    sk_arena arena = {0};
    sk_row old, new;
    expect(sk_rocksdb_open(&options, &db.store, error) == 0, error);
    sk_sums_init(&db.sums, SK_LEAF_ROWS);
    expect(sk_db_reload(&db) == 0, "the database cannot be read");
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, sk_bytes_str(key), SK_BYTES_NONE);
    expect(sk_db_row(&db, name.raw, &arena, &old) == 0 && old.count, "there is no such key");
    new = (sk_row){.fields = old.fields, .members = old.members};
    sk_entry entry = old.entries[0];
    if (value) {
        entry.value = sk_bytes_str(value);
        new.entries = &entry;
        new.count = 1;
    }
    expect(sk_db_row_put(&db, &name, &old, &new) == 0, "the row cannot be put");
    (void)sk_db_seal(&db);
    expect(sk_store_flush(db.store) == 0, "the database cannot be written");
    sk_db_close(&db);
    sk_store_close(db.store);
    sk_arena_free(&arena);
}

int main(int argc, char **argv)
{
    if ((argc == 4 || argc == 5) && strcmp(argv[2], "drift") == 0) {
        drift(argv[1], argv[3], argv[4]);
        return 0;
    }
    int cf = 0;
    bool listed = argc == 4 && strcmp(argv[2], "list") == 0;
    bool known = listed || (argc == 7 && strcmp(argv[2], "flip") == 0) || (argc == 5 && strcmp(argv[2], "drop") == 0);
    while (known && cf < FAMILIES && strcmp(argv[3], names[cf]) != 0) cf++;
    if (!known || cf == FAMILIES) {
        fprintf(stderr, "usage: damage_tool DB list FAMILY | flip FAMILY PAIR BYTE XOR | drop FAMILY PAIR | drift KEY [VALUE]\n");
        return 2;
    }
    char *error = NULL;
    rocksdb_options_t *options = rocksdb_options_create();
    const rocksdb_options_t *each[FAMILIES];
    rocksdb_column_family_handle_t *families[FAMILIES];
    for (int i = 0; i < FAMILIES; i++) each[i] = options;
    rocksdb_t *db = rocksdb_open_column_families(options, argv[1], FAMILIES, names, each, families, &error);
    must(error);
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    rocksdb_iterator_t *at = rocksdb_create_iterator_cf(db, read, families[cf]);
    rocksdb_iter_seek_to_first(at);
    if (listed)
        list(at);
    else
        change(db, families[cf], at, argc, argv);
    rocksdb_iter_destroy(at);
    rocksdb_readoptions_destroy(read);
    for (int i = 0; i < FAMILIES; i++) rocksdb_column_family_handle_destroy(families[i]);
    rocksdb_close(db);
    rocksdb_options_destroy(options);
    return 0;
}
