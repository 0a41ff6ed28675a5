#include "node/inspect.h"

#include "node/context.h"
#include "node/db.h"
#include "node/record.h"

#include <inttypes.h>

/* The database as it stands on the disk, without the opening, which may write. */
static int load(sk_store *store, sk_db *db, sk_inspection *says)
{
    static const sk_bytes identity = {(const uint8_t *)"identity", 8};
    *db = (sk_db){.store = store, .rules_stale = true};
    sk_bytes stored;
    int found = sk_record_get(store, SK_CF_META, identity, &stored, NULL);
    if (found <= 0) return found ? found : SK_E_CORRUPT;
    sk_reader reader = sk_reader_of(stored);
    sk_bytes region = sk_read_bytes(&reader), cluster = sk_read_bytes(&reader);
    if (reader.bad || !sk_region_name_valid(region)) return SK_E_CORRUPT;
    memcpy(db->region, region.data, region.len);
    if (says) {
        sk_buf_bytes(&says->region, region);
        sk_buf_bytes(&says->cluster, cluster);
    }
    return sk_db_reload(db);
}

int sk_inspect(sk_store *store, sk_inspection *says)
{
    sk_db db;
    *says = (sk_inspection){0};
    int status = load(store, &db, says);
    if (!status) {
        says->incarnation = db.origins.list[db.own].incarnation;
        says->keys = db.keys;
        says->conflicts = db.conflicts;
        says->digest = db.digest;
        sk_vv_text(&db, &db.vv, &says->vector);
    }
    sk_db_close(&db);
    return status;
}

void sk_inspection_free(sk_inspection *says)
{
    sk_buf_free(&says->region);
    sk_buf_free(&says->cluster);
    sk_buf_free(&says->vector);
}

/* -- rows --------------------------------------------------------------------------------------------------------- */

typedef struct {
    sk_db *db;
    sk_arena arena;
    sk_digest digest;
    uint64_t rows, keys, rest;
    sk_buf *error;
} tally;

static int add_row(void *self, sk_bytes raw, const sk_row *row)
{
    tally *sum = self;
    sk_rowkey key;
    sk_arena_reset(&sum->arena);
    if (sk_rowkey_parse(raw, &sum->arena, &key)) {
        sk_buf_printf(sum->error, "row %" PRIu64 " has a key that cannot be read", sum->rows + 1);
        return SK_E_CORRUPT;
    }
    sum->digest += sk_row_digest(&sum->db->origins, raw, row);
    sum->rest += sk_row_rest(raw, row);
    sum->keys += key.table == SK_TABLE_KEY && sk_key_row_exists(row);
    sum->rows++;
    return 0;
}

/* The history, each entry against its own sum. */
static int inspect_history(sk_db *db, sk_buf *error)
{
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    sk_bytes key, value, raw;
    sk_dot dot;
    unsigned flags;
    int status;
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        status = sk_history_read(key, value, &dot, &raw, &flags);
        if (status) break;
    }
    sk_store_iter_free(db->store, iter);
    if (status) sk_buf_printf(error, "its history is damaged");
    return status;
}

int sk_inspect_rows(sk_store *store, uint64_t *rows, sk_buf *error)
{
    sk_db db;
    tally sum = {.db = &db, .error = error};
    int status = load(store, &db, NULL);
    if (status) sk_buf_printf(error, "its records cannot be read: %s", sk_error_text(status));
    if (!status) status = sk_db_each(&db, SK_BYTES_NONE, SK_BYTES_NONE, add_row, &sum);
    if (status && error->len == 0)
        sk_buf_printf(error, "the row after %" PRIu64 " others cannot be read: %s", sum.rows, sk_error_text(status));
    if (!status && sum.digest != db.digest) {
        sk_buf_printf(error, "its %" PRIu64 " rows have another digest than it says", sum.rows);
        status = SK_E_CORRUPT;
    }
    if (!status && sum.rest != db.rest) {
        sk_buf_printf(error, "its rows have other sizes, or other counters that were reset, than it says");
        status = SK_E_CORRUPT;
    }
    if (!status) status = inspect_history(&db, error);
    if (!status && sum.keys != db.keys) {
        sk_buf_printf(error, "it has %" PRIu64 " keys and says %" PRIu64, sum.keys, db.keys);
        status = SK_E_CORRUPT;
    }
    *rows = sum.rows;
    sk_arena_free(&sum.arena);
    sk_db_close(&db);
    return status;
}

/* -- in a backup's record ----------------------------------------------------------------------------------------- */

void sk_inspection_pack(sk_buf *out, const sk_inspection *says)
{
    sk_pack_bytes(out, sk_buf_view(&says->region));
    sk_pack_bytes(out, sk_buf_view(&says->cluster));
    sk_pack_bytes(out, sk_buf_view(&says->vector));
    sk_pack_uint(out, says->incarnation);
    sk_pack_uint(out, says->keys);
    sk_pack_uint(out, says->conflicts);
    sk_pack_uint(out, (uint64_t)(says->digest >> 64));
    sk_pack_uint(out, (uint64_t)says->digest);
}

int sk_inspection_read(sk_bytes bytes, sk_inspection *says)
{
    *says = (sk_inspection){0};
    sk_reader reader = sk_reader_of(bytes);
    sk_buf_bytes(&says->region, sk_read_bytes(&reader));
    sk_buf_bytes(&says->cluster, sk_read_bytes(&reader));
    sk_buf_bytes(&says->vector, sk_read_bytes(&reader));
    says->incarnation = sk_read_uint(&reader);
    says->keys = sk_read_uint(&reader);
    says->conflicts = sk_read_uint(&reader);
    says->digest = (sk_digest)sk_read_uint(&reader) << 64;
    says->digest |= sk_read_uint(&reader);
    return sk_reader_done(&reader) ? SK_OK : SK_E_CORRUPT;
}
