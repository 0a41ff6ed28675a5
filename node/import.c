/* A stream merged into a database. Declared in node/export.h. */
#include "node/export.h"
#include "node/record.h"

#include <stdlib.h>

struct sk_import {
    sk_db *db;
    const char *cluster;
    sk_import_known *known;
    void *self;
    sk_stream_reader reader;
    bool begun, ended;
    sk_origin_map map;     /* the stream's numbers to ours */
    sk_stream_end counted; /* what came */
    sk_buf last;           /* the last row's key: they ascend */
    sk_arena arena;
};

/* Stands in the same batches as what is staged: what is found under it after a crash is an import's. */
static const sk_bytes KEY_IMPORT = {(const uint8_t *)"import", 6};

sk_import *sk_import_open(sk_db *db, const char *cluster, sk_import_known *known, void *self)
{
    sk_import *import = sk_alloc(sizeof *import);
    *import = (sk_import){.db = db, .cluster = cluster, .known = known, .self = self};
    return import;
}

static void give_back(sk_import *import)
{
    sk_stream_reader_free(&import->reader);
    sk_origin_map_free(&import->map);
    sk_buf_free(&import->last);
    sk_arena_free(&import->arena);
    free(import);
}

static void unmark(sk_db *db)
{
    sk_store_remove(db->store, SK_CF_META, KEY_IMPORT);
    db->dirty = true;
}

void sk_import_abort(sk_import *import)
{
    if (!import) return;
    if (import->begun && !import->db->failed) {
        sk_fold_drop_staged(import->db);
        unmark(import->db);
    }
    give_back(import);
}

int sk_import_drop_left(sk_db *db)
{
    sk_bytes value;
    int found = sk_record_get(db->store, SK_CF_META, KEY_IMPORT, &value, NULL);
    if (found <= 0) return found;
    sk_fold_drop_staged(db);
    unmark(db);
    return 0;
}

/* -- the head ------------------------------------------------------------------------------------------------------ */

static int map_origins(sk_import *import, const sk_stream_head *head)
{
    for (uint32_t i = 0; i < head->origins.count; i++) {
        uint32_t ours;
        const sk_origin *origin = &head->origins.list[i];
        int status = sk_db_intern(import->db, sk_bytes_str(origin->region), origin->incarnation, &ours);
        if (!status) status = sk_origin_map_set(&import->map, i, ours);
        if (status) return status;
    }
    return 0;
}

static void translate(const sk_import *import, const sk_vv *theirs, sk_vv *ours)
{
    for (uint32_t o = 0; o < theirs->count; o++)
        if (theirs->seq[o]) sk_vv_set(ours, sk_origin_map_get(&import->map, o), theirs->seq[o]);
}

static int begin(sk_import *import, const sk_stream_head *head)
{
    sk_db *db = import->db;
    sk_transfer_head transfer = {.everything = true};
    int status = map_origins(import, head);
    if (!status) {
        translate(import, &head->vv, &transfer.vv);
        translate(import, &head->floor, &transfer.floor);
        /* It may be from a later time of ours than this one. */
        status = import->known(import->self, sk_vv_get(&transfer.vv, db->own));
    }
    if (!status) status = sk_fold_begin(db, &transfer);
    sk_vv_free(&transfer.vv);
    sk_vv_free(&transfer.floor);
    if (status) return status;
    sk_buf_reset(&db->pack);
    sk_record_put(db->store, SK_CF_META, KEY_IMPORT, &db->pack);
    db->dirty = true;
    import->begun = true;
    return 0;
}

static int take_head(sk_import *import, sk_bytes body, sk_buf *error)
{
    sk_stream_head head;
    int status = import->begun ? SK_E_MALFORMED : sk_stream_head_read(body, &head);
    if (import->begun) return status;
    if (!status && !sk_bytes_equal(head.cluster, sk_bytes_str(import->cluster))) {
        sk_buf_printf(error, "the stream is of cluster %.*s, this is %s", (int)head.cluster.len,
                      (const char *)head.cluster.data, import->cluster);
        status = SK_E_CLUSTER;
    }
    if (!status) status = begin(import, &head);
    sk_stream_head_free(&head);
    return status;
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

/* Counts what a frame has; sk_fold_chunk checks the rest of it. */
static int count(sk_import *import, sk_bytes body)
{
    sk_reader reader = sk_reader_of(body);
    while (sk_reader_left(&reader)) {
        sk_row row;
        uint64_t kind = sk_read_uint(&reader);
        sk_bytes raw = sk_read_bytes(&reader);
        if (reader.bad) return SK_E_MALFORMED;
        if (kind == SK_CHUNK_HISTORY) {
            for (int i = 0; i < 3; i++) (void)sk_read_uint(&reader);
            import->counted.history++;
            continue;
        }
        sk_bytes packed = sk_read_bytes(&reader);
        if (kind != SK_CHUNK_ROW || reader.bad) return SK_E_MALFORMED;
        if (import->counted.rows && sk_bytes_compare(raw, sk_buf_view(&import->last)) <= 0) return SK_E_MALFORMED;
        sk_buf_reset(&import->last);
        sk_buf_bytes(&import->last, raw);
        sk_arena_reset(&import->arena);
        int status = sk_row_read(packed, &import->map, &import->arena, &row);
        if (status) return status;
        import->counted.digest += sk_row_digest(&import->db->origins, raw, &row);
        import->counted.rows++;
    }
    return reader.bad ? SK_E_MALFORMED : 0;
}

static int take_rows(sk_import *import, sk_bytes body)
{
    if (!import->begun) return SK_E_MALFORMED;
    int status = count(import, body);
    if (!status) status = sk_fold_chunk(import->db, body, &import->map);
    return status == SK_E_PROTOCOL ? SK_E_MALFORMED : status;
}

static int take_end(sk_import *import, sk_bytes body, sk_buf *error)
{
    sk_stream_end says;
    int status = import->begun ? sk_stream_end_read(body, &says) : SK_E_MALFORMED;
    if (status) return status;
    if (says.rows != import->counted.rows || says.history != import->counted.history ||
        says.digest != import->counted.digest) {
        sk_buf_printf(error, "what came is not what the stream's end says: its digest or its counts differ");
        return SK_E_CORRUPT;
    }
    import->ended = true;
    return 0;
}

int sk_import_write(sk_import *import, sk_bytes piece, sk_buf *error)
{
    sk_stream_kind kind;
    sk_bytes body;
    sk_stream_feed(&import->reader, piece);
    int status;
    while ((status = sk_stream_next(&import->reader, &kind, &body)) > 0) {
        status = kind == SK_STREAM_HEAD  ? take_head(import, body, error)
                 : kind == SK_STREAM_END ? take_end(import, body, error)
                                         : take_rows(import, body);
        if (status) break;
    }
    if (status && error->len == 0)
        sk_buf_printf(error, "the stream cannot be used: %s",
                      status == SK_E_FORMAT      ? "it has a format that this binary does not read"
                      : status == SK_E_CORRUPT   ? "it is damaged: a checksum is wrong"
                      : status == SK_E_TOO_LARGE ? "a frame of it, or a list in a row, is larger than any export's"
                                                 : sk_error_text(status));
    return status;
}

int sk_import_commit(sk_import *import, sk_stream_end *end, sk_buf *error)
{
    int status = 0;
    if (!import->ended) {
        sk_buf_printf(error, "the stream cannot be used: it ends before its end");
        status = SK_E_PARTIAL;
    } else {
        *end = import->counted;
        status = sk_fold_end(import->db);
        if (status) sk_buf_printf(error, "the import failed: %s", sk_error_text(status));
    }
    if (status) {
        sk_import_abort(import);
        return status;
    }
    unmark(import->db);
    give_back(import);
    return 0;
}
