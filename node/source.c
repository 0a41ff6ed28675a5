/* Outgoing transfers: what a peer lacks, read from one snapshot, each row once. Declared in node/fold.h.
 *
 *   BRINGING ----> ROWS ----> HISTORY ----> done
 *   rows at or below the peer's cursor that changed since it staged them (resumed transfers only),
 *            then the rows above it,
 *                       then removals above the peer's vector, for whoever is behind the peer
 *
 * Which rows changed comes from the history above a vector. Their keys are collected in order, a bounded number at a
 * time: memory stays bounded however much changed, at the price of one more scan of the history for each such lot. */
#include "node/fold.h"

#include <stdlib.h>

#ifndef SK_SOURCE_LOT_MAX
#define SK_SOURCE_LOT_MAX 65536 /* tests make it small */
#endif

enum { LOT_MAX = SK_SOURCE_LOT_MAX }; /* row keys held at a time */

typedef enum { BRINGING, ROWS, HISTORY, DONE } stage;

struct sk_source {
    stage stage;
    bool everything;
    sk_store_snapshot *snapshot;
    sk_vv vv, known, low;
    sk_buf limit;  /* BRINGING: the peer's cursor: the last row key of this stage */
    sk_buf cursor; /* the last row key sent */
    sk_bytes *lot; /* owned array; keys in the arena */
    uint32_t lot_count, lot_at;
    bool lot_cut; /* more keys than fit: another lot follows */
    sk_arena arena;
    sk_buf history_from; /* HISTORY: the next key to look at */
};

int sk_source_open(sk_db *db, const sk_vv *known, const sk_transfer_progress *progress, sk_source **out,
                   sk_transfer_head *head)
{
    if (db->failed) return db->failed;
    if (sk_fold_active(db)) return SK_E_BUSY; /* the snapshot's rows would not be what its vector says */
    sk_source *source = sk_alloc(sizeof *source);
    source->snapshot = sk_store_snapshot_take(db->store);
    sk_vv floor = {0};
    int status = source->snapshot ? sk_fold_in_snapshot(db, source->snapshot) : SK_E_IO;
    if (status > 0) status = SK_E_BUSY; /* the end of the fold is not yet committed */
    if (!status) status = sk_db_snapshot_state(db, source->snapshot, &source->vv, &floor);
    if (status) {
        sk_vv_free(&floor);
        sk_source_close(db, source);
        return status;
    }
    sk_vv_copy(&source->known, known);
    source->everything = !sk_vv_at_most(&floor, known);
    bool resumable = progress && progress->everything == source->everything &&
                     sk_vv_at_most(&progress->vv, &source->vv) && sk_vv_at_most(&floor, &progress->vv);
    source->stage = ROWS;
    if (resumable) {
        source->stage = BRINGING;
        sk_vv_copy(&source->low, &progress->vv);
        sk_buf_bytes(&source->limit, sk_buf_view(&progress->cursor));
    }
    sk_vv_copy(&head->vv, &source->vv);
    sk_vv_copy(&head->floor, &floor);
    head->everything = source->everything;
    head->resumed = resumable;
    sk_vv_free(&floor);
    *out = source;
    return 0;
}

void sk_source_close(sk_db *db, sk_source *source)
{
    if (source->snapshot) sk_store_snapshot_free(db->store, source->snapshot);
    sk_vv_free(&source->vv);
    sk_vv_free(&source->known);
    sk_vv_free(&source->low);
    sk_buf_free(&source->limit);
    sk_buf_free(&source->cursor);
    sk_buf_free(&source->history_from);
    sk_arena_free(&source->arena);
    free(source->lot);
    free(source);
}

/* -- collecting row keys --------------------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return sk_bytes_compare(*(const sk_bytes *)a, *(const sk_bytes *)b);
}

/* Sorts, drops repetitions, keeps the least LOT_MAX; of the keys dropped nothing stays in memory. */
static void settle(sk_source *source)
{
    if (source->lot_count == 0) return;
    sk_arena old = source->arena;
    source->arena = (sk_arena){0};
    qsort(source->lot, source->lot_count, sizeof *source->lot, compare_keys);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < source->lot_count; i++)
        if (!sk_bytes_equal(source->lot[i], source->lot[kept - 1])) source->lot[kept++] = source->lot[i];
    if (kept > LOT_MAX) {
        kept = LOT_MAX;
        source->lot_cut = true;
    }
    source->lot_count = kept;
    for (uint32_t i = 0; i < kept; i++) source->lot[i] = sk_arena_copy(&source->arena, source->lot[i]);
    sk_arena_free(&old);
}

static bool wanted(const sk_source *source, sk_bytes raw)
{
    if (source->cursor.len && sk_bytes_compare(raw, sk_buf_view(&source->cursor)) <= 0) return false;
    if (source->stage == BRINGING && sk_bytes_compare(raw, sk_buf_view(&source->limit)) > 0) return false;
    return !(source->lot_cut && sk_bytes_compare(raw, source->lot[LOT_MAX - 1]) >= 0);
}

static void add_to_lot(sk_source *source, sk_bytes raw)
{
    if (!source->lot) source->lot = sk_alloc(2 * LOT_MAX * sizeof *source->lot);
    source->lot[source->lot_count++] = sk_arena_copy(&source->arena, raw);
    if (source->lot_count == 2 * LOT_MAX) settle(source);
}

static int collect_changed(sk_db *db, sk_source *source, const sk_vv *since)
{
    for (uint32_t o = 0; o < source->vv.count; o++) {
        uint8_t from[SK_HISTORY_DOT_BYTES], to[SK_HISTORY_DOT_BYTES];
        if (source->vv.seq[o] <= sk_vv_get(since, o)) continue;
        sk_history_key(from, o, sk_vv_get(since, o) + 1);
        sk_history_key(to, o, source->vv.seq[o] + 1);
        sk_store_iter *iter = sk_store_iterate(db->store, source->snapshot, SK_CF_HISTORY,
                                               sk_bytes_of(from, sizeof from), sk_bytes_of(to, sizeof to));
        sk_bytes key, value, raw;
        sk_dot dot;
        int status;
        while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
            if (!sk_history_parse(key, &dot, &raw)) {
                status = SK_E_CORRUPT;
                break;
            }
            if (wanted(source, raw)) add_to_lot(source, raw);
        }
        sk_store_iter_free(db->store, iter);
        if (status < 0) return status;
    }
    return 0;
}

static int collect_all(sk_db *db, sk_source *source)
{
    sk_buf from = {0};
    sk_buf_bytes(&from, sk_buf_view(&source->cursor));
    sk_buf_byte(&from, 0);
    sk_store_iter *iter =
        sk_store_iterate(db->store, source->snapshot, SK_CF_ROW, sk_buf_view(&from), SK_BYTES_NONE);
    sk_bytes key, value;
    int status = 0;
    while (source->lot_count < LOT_MAX && (status = sk_store_next(db->store, iter, &key, &value)) > 0)
        add_to_lot(source, key);
    source->lot_cut = source->lot_count == LOT_MAX;
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&from);
    return status < 0 ? status : 0;
}

/* The next lot of row keys, or the next stage where there are no more. */
static int next_lot(sk_db *db, sk_source *source)
{
    bool cut = source->lot_cut, first = source->lot_count == 0 && !source->lot_cut;
    source->lot_count = source->lot_at = 0;
    source->lot_cut = false;
    sk_arena_reset(&source->arena);
    if (!first && !cut) {
        source->stage = source->stage == BRINGING ? ROWS : HISTORY;
        if (source->stage == ROWS) {
            sk_buf_reset(&source->cursor);
            sk_buf_bytes(&source->cursor, sk_buf_view(&source->limit));
        }
        if (source->stage == HISTORY) return 0;
    }
    int status = source->stage == ROWS && source->everything
                     ? collect_all(db, source)
                     : collect_changed(db, source, source->stage == BRINGING ? &source->low : &source->known);
    settle(source);
    if (status || source->lot_count) return status;
    /* Nothing in this stage: mark it as walked, so that the next call goes on. */
    source->stage = source->stage == BRINGING ? ROWS : HISTORY;
    if (source->stage == ROWS) {
        sk_buf_reset(&source->cursor);
        sk_buf_bytes(&source->cursor, sk_buf_view(&source->limit));
    }
    return 0;
}

/* -- chunks -------------------------------------------------------------------------------------------------------------------- */

static int append_row(sk_db *db, sk_source *source, sk_bytes raw, sk_buf *out)
{
    sk_buf value = {0}, packed = {0};
    sk_arena arena = {0};
    sk_row row = {0};
    int found = sk_store_snapshot_get(db->store, source->snapshot, SK_CF_ROW, raw, &value);
    int status = found > 0 ? sk_row_read(sk_buf_view(&value), NULL, &arena, &row) : found;
    if (!status) {
        sk_row_pack(&packed, &row, false);
        /* The peer may have staged a row that has gone since: an empty one takes its place. */
        if (packed.len || !source->everything || source->stage == BRINGING) {
            sk_pack_uint(out, SK_CHUNK_ROW);
            sk_pack_bytes(out, raw);
            sk_pack_bytes(out, sk_buf_view(&packed));
        }
    }
    sk_buf_free(&value);
    sk_buf_free(&packed);
    sk_arena_free(&arena);
    return status == SK_E_MALFORMED ? SK_E_CORRUPT : status;
}

static void append_removal(sk_dot dot, sk_bytes raw, uint8_t flags, sk_buf *out)
{
    sk_pack_uint(out, SK_CHUNK_HISTORY);
    sk_pack_bytes(out, raw);
    sk_pack_uint(out, dot.origin);
    sk_pack_uint(out, dot.seq);
    sk_pack_uint(out, flags);
}

/* Removals above the peer's vector, from where the last chunk stopped. 1: more follows. */
static int append_history(sk_db *db, sk_source *source, size_t max, sk_buf *out)
{
    sk_store_iter *iter = sk_store_iterate(db->store, source->snapshot, SK_CF_HISTORY,
                                           sk_buf_view(&source->history_from), SK_BYTES_NONE);
    sk_bytes key, value, raw;
    sk_dot dot;
    int status;
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        if (out->len >= max) {
            sk_buf_reset(&source->history_from);
            sk_buf_bytes(&source->history_from, key);
            break;
        }
        if (value.len != 1 || !sk_history_parse(key, &dot, &raw)) {
            status = SK_E_CORRUPT;
            break;
        }
        if (value.data[0] && sk_vv_covers(&source->vv, dot) && !sk_vv_covers(&source->known, dot))
            append_removal(dot, raw, value.data[0], out);
    }
    sk_store_iter_free(db->store, iter);
    return status;
}

int sk_source_chunk(sk_db *db, sk_source *source, size_t max, sk_buf *out)
{
    while (source->stage < HISTORY && out->len < max) {
        if (source->lot_at == source->lot_count) {
            int status = next_lot(db, source);
            if (status) return status;
            continue;
        }
        sk_bytes raw = source->lot[source->lot_at++];
        int status = append_row(db, source, raw, out);
        if (status) return status;
        sk_buf_reset(&source->cursor);
        sk_buf_bytes(&source->cursor, raw);
    }
    if (source->stage == HISTORY && out->len < max) {
        int status = append_history(db, source, max, out);
        if (status < 0) return status;
        if (status == 0) source->stage = DONE;
    }
    return source->stage != DONE;
}
