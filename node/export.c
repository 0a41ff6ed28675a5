#include "node/export.h"

#include <stdlib.h>

typedef enum { ROWS, HISTORY, DONE } stage;

struct sk_export {
    sk_db *db;
    sk_store_snapshot *snapshot;
    stage stage;
    sk_vv vv, floor;
    sk_digest digest;  /* what the database says */
    sk_stream_end end; /* what was written so far */
    uint64_t sum;
    sk_buf next;         /* ROWS: the least row key, HISTORY: the least history key to come */
    sk_buf body, stream; /* of a frame; what was not handed out yet */
    size_t given;        /* bytes of `stream` handed out */
    int failed;
};

static int put_head(sk_export *export, const char *cluster, uint64_t wall_ms)
{
    sk_db *db = export->db;
    sk_stream_head head = {.made_ms = wall_ms,
                           .cluster = sk_bytes_str(cluster),
                           .region = sk_bytes_str(db->region),
                           .origins = db->origins};
    int status = sk_db_snapshot_state(db, export->snapshot, &head.vv, &head.floor);
    if (!status) status = sk_db_snapshot_digest(db, export->snapshot, &export->digest);
    if (!status) {
        sk_stream_head_pack(&export->body, &head);
        sk_stream_begin(&export->stream, &export->sum);
        sk_stream_frame(&export->stream, &export->sum, SK_STREAM_HEAD, sk_buf_view(&export->body));
        sk_vv_copy(&export->vv, &head.vv);
        sk_vv_copy(&export->floor, &head.floor);
    }
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
    return status;
}

int sk_export_open(sk_db *db, const char *cluster, uint64_t wall_ms, sk_export **out)
{
    if (db->failed) return db->failed;
    if (sk_fold_active(db)) return SK_E_BUSY; /* the snapshot's rows would not be what its vector says */
    sk_export *export = sk_alloc(sizeof *export);
    export->db = db;
    export->snapshot = sk_store_snapshot_take(db->store);
    int status = export->snapshot ? sk_fold_in_snapshot(db, export->snapshot) : SK_E_IO;
    if (status > 0) status = SK_E_BUSY; /* the end of the fold is not yet committed */
    if (!status) status = put_head(export, cluster, wall_ms);
    if (status) {
        sk_export_close(export);
        return status;
    }
    *out = export;
    return 0;
}

void sk_export_close(sk_export *export)
{
    if (!export) return;
    if (export->snapshot) sk_store_snapshot_free(export->db->store, export->snapshot);
    sk_vv_free(&export->vv);
    sk_vv_free(&export->floor);
    sk_buf_free(&export->next);
    sk_buf_free(&export->body);
    sk_buf_free(&export->stream);
    free(export);
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

static int add_row(sk_export *export, sk_bytes raw, sk_bytes value, sk_buf *packed)
{
    sk_arena arena = {0};
    sk_row row;
    int status = sk_row_read(value, NULL, &arena, &row);
    for (uint32_t i = 0; i < row.count && !status; i++)
        if (row.entries[i].dot.origin >= export->db->origins.count) status = SK_E_MALFORMED;
    sk_buf_reset(packed);
    if (!status) sk_row_pack(packed, &row, false);
    if (!status && packed->len) { /* without entries there are only sizes, which are derived */
        sk_chunk_add_row(&export->body, raw, sk_buf_view(packed));
        export->end.digest += sk_row_digest(&export->db->origins, raw, &row);
        export->end.rows++;
    }
    sk_arena_free(&arena);
    return status == SK_E_MALFORMED ? SK_E_CORRUPT : status;
}

/* Removals, and resets that left dead counts: whoever is behind must learn of them. */
static int add_history(sk_export *export, sk_bytes key, sk_bytes value)
{
    sk_history_record record;
    sk_history_entry entry;
    int status = sk_history_open(key, value, &export->floor, &record);
    while (sk_history_next(&record, &entry)) {
        if (!entry.flags || !sk_vv_covers(&export->vv, entry.dot)) continue;
        sk_chunk_add_history(&export->body, entry.dot, entry.raw, entry.flags);
        export->end.history++;
    }
    return status;
}

/* A frame's worth of one family from where the last one stopped. 1: more follows, 0: it is through. */
static int add_family(sk_export *export, sk_cf cf)
{
    sk_store *store = export->db->store;
    sk_buf packed = {0};
    sk_bytes key, value;
    sk_store_iter *iter = sk_store_iterate(store, export->snapshot, cf, sk_buf_view(&export->next), SK_BYTES_NONE);
    int status;
    while ((status = sk_store_next(store, iter, &key, &value)) > 0) {
        int added = cf == SK_CF_ROW ? add_row(export, key, value, &packed) : add_history(export, key, value);
        if (added) {
            status = added;
            break;
        }
        sk_buf_reset(&export->next);
        sk_buf_bytes(&export->next, key);
        sk_buf_byte(&export->next, 0); /* the least key above it */
        if (export->body.len >= SK_STREAM_ROWS) break;
    }
    sk_store_iter_free(store, iter);
    sk_buf_free(&packed);
    return status;
}

/* The next frame. */
static int step(sk_export *export)
{
    sk_buf_reset(&export->body);
    int status = add_family(export, export->stage == ROWS ? SK_CF_ROW : SK_CF_HISTORY);
    if (status < 0) return status;
    if (export->body.len > SK_STREAM_BODY_MAX) return SK_E_TOO_LARGE;
    if (export->body.len) sk_stream_frame(&export->stream, &export->sum, SK_STREAM_CHUNK, sk_buf_view(&export->body));
    if (status > 0) return 0;
    sk_buf_reset(&export->next);
    if (export->stage == ROWS) {
        export->stage = HISTORY;
        return 0;
    }
    if (export->end.digest != export->digest) return SK_E_CORRUPT;
    export->stage = DONE;
    sk_buf_reset(&export->body);
    sk_stream_end_pack(&export->body, &export->end);
    sk_stream_frame(&export->stream, &export->sum, SK_STREAM_END, sk_buf_view(&export->body));
    return 0;
}

int sk_export_read(sk_export *export, size_t max, sk_buf *out)
{
    while (!export->failed && export->stage != DONE && export->stream.len - export->given < max) {
        sk_buf_consume(&export->stream, export->given); /* what is left is less than a piece */
        export->given = 0;
        export->failed = step(export);
    }
    if (export->failed) return export->failed;
    size_t len = export->stream.len - export->given;
    if (len > max) len = max;
    if (len) sk_buf_append(out, export->stream.data + export->given, len);
    export->given += len;
    return 0;
}
