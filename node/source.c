/* Outgoing transfers: what a peer lacks, read from one snapshot, each row once. Declared in node/fold.h.
 *
 *   BRINGING ----> ROWS ----> HISTORY ----> done, or in a reconcile: GIVING
 *   rows at or below the peer's cursor that changed since it staged them (resumed transfers only),
 *            then the rows above it,
 *                       then removals above the peer's vector, for whoever is behind the peer,
 *                                   then answers and rows that the peer asks for
 *
 * Which rows changed comes from the history above a vector. Their keys are collected in order, a bounded number at a
 * time: memory stays bounded however much changed, at the price of one more scan of the history for each such lot. That is done
 * in steps, too: a chunk may be empty, and more follows.
 *
 * A reconcile is for a peer that is below our floor: of what changed at or below it no history is left. Entries of such
 * transactions are found by looking: a leaf of the database's sums (node/sums.h) whose vector is at most what the peer
 * knows has none, and is passed over. What of it we removed and forgot is found out by comparing (node/compare.h). For
 * that the same walk makes an outline of the snapshot: from the sums as they stood when it was taken, where a leaf had not
 * changed since what was durable then; other leaves are read. So the walk goes from stretch to stretch: a leaf as it stood, or
 * a stretch that has to be read. */
#include "node/fold.h"

#include "node/compare.h"
#include "node/log.h"

#include <stdlib.h>

#ifndef SK_SOURCE_LOT_MAX
#define SK_SOURCE_LOT_MAX 65536 /* tests make it small */
#endif

enum {
    LOT_MAX = SK_SOURCE_LOT_MAX,         /* row keys held at a time */
    HISTORY_ENTRIES = (LOT_MAX + 3) / 4, /* entries of the history read for one chunk, about */
    WALK_ROWS = 1024,                    /* rows read for one chunk at most */
    LEAF_COST = 4,                       /* a leaf passed over counts as so many */
    OTHERS_MAX = SK_MESSAGE_MAX,         /* other rows of its chunk */
};

typedef enum { BRINGING, ROWS, HISTORY, GIVING, DONE } stage;

enum { NOT_YET = 2 }; /* of next_changed: some of the history is still to be read */

/* A range of row keys, up to the next stretch. */
typedef struct {
    sk_bytes low; /* in the source's arena for stretches */
    uint64_t rows;
    sk_digest sum;
    bool exact; /* rows and sum are those of the snapshot */
    bool quiet; /* the peer knows every entry in it */
} stretch;

struct sk_source {
    stage stage;
    bool reconcile;
    bool dead; /* rows go out, too, whose history speaks of dead counts: no sum of digests tells that the peer lost one */
    sk_store_snapshot *snapshot;
    sk_vv vv, floor, known, low;
    sk_buf limit;  /* BRINGING: the peer's cursor: the last row key of this stage */
    sk_buf cursor; /* the last row key sent */
    sk_bytes *lot; /* owned array; keys in the arena */
    uint32_t lot_count, lot_at;
    bool lot_cut;    /* more keys than fit: another lot follows */
    bool lot_loaded; /* one of this stage */
    bool collecting; /* the next lot… */
    uint32_t collect_origin;
    sk_buf collect_from; /* … on from this key of that origin's history; empty: from the first that the peer lacks */
    sk_arena arena;
    sk_buf history_from; /* HISTORY: the next key to look at */
    /* of a reconcile */
    stretch *stretches; /* owned */
    uint32_t stretch_count, stretch_at;
    sk_arena stretch_arena;
    sk_buf walk_from; /* within a stretch: the next key to read; empty: its beginning */
    bool stretch_read;  /* all of it; keys that changed may still have to go out */
    sk_outline outline;
    sk_buf wanted; /* GIVING: keys, packed */
    size_t wanted_at;
    uint64_t sent; /* rows */
};

/* The sums as they stand, for what they are worth in this snapshot. */
static void take_stretches(sk_db *db, sk_source *source, uint64_t durable)
{
    sk_sums_settle(&db->sums);
    const sk_sums *sums = &db->sums;
    source->stretch_count = sums->count ? sums->count : 1;
    source->stretches = sk_alloc(source->stretch_count * sizeof *source->stretches);
    for (uint32_t i = 0; i < sums->count; i++) {
        const sk_leaf *leaf = sums->leaves[i];
        bool whole = sums->state != SK_SUMS_SCANNING || i + 1 < sums->count;
        source->stretches[i] = (stretch){.low = sk_arena_copy(&source->stretch_arena, leaf->low),
                                    .rows = leaf->rows,
                                    .sum = leaf->sum,
                                    .exact = whole && leaf->changed <= durable,
                                    .quiet = sk_vv_at_most(&leaf->vv, &source->known)};
    }
}

static int take_snapshot(sk_db *db, sk_source *source, uint64_t *durable)
{
    int status = sk_store_reap(db->store, durable);
    if (status) return status;
    source->snapshot = sk_store_snapshot_take(db->store); /* it has at least what was durable before */
    if (!source->snapshot) return SK_E_IO;
    status = sk_fold_in_snapshot(db, source->snapshot);
    if (status > 0) status = SK_E_BUSY; /* the end of the fold is not yet committed */
    return status ? status : sk_db_snapshot_state(db, source->snapshot, &source->vv, &source->floor);
}

int sk_source_open(sk_db *db, const sk_vv *known, const sk_transfer_progress *progress, sk_source **out,
                   sk_transfer_head *head)
{
    if (db->failed) return db->failed;
    if (sk_fold_active(db)) return SK_E_BUSY; /* the snapshot's rows would not be what its vector says */
    int status = sk_audit_may_send(db);
    if (!status && head->purpose && sk_audit_pending(db)) status = SK_E_BUSY; /* it is not known to be sound itself */
    if (status) return status;
    sk_source *source = sk_alloc(sizeof *source);
    uint64_t durable = 0;
    status = take_snapshot(db, source, &durable);
    if (status) {
        sk_source_close(db, source);
        return status;
    }
    sk_vv_copy(&source->known, known);
    if (head->purpose == SK_FOR_AUDIT && !sk_vv_at_most(&source->floor, known)) { /* what changed since is not known */
        sk_source_close(db, source);
        return SK_E_BUSY;
    }
    source->reconcile = head->purpose || !sk_vv_at_most(&source->floor, known);
    source->dead = head->purpose == SK_FOR_REPAIR;
    if (source->reconcile) take_stretches(db, source, durable);
    bool resumable = progress && progress->reconcile == source->reconcile &&
                     sk_vv_at_most(&progress->vv, &source->vv) && sk_vv_at_most(&source->floor, &progress->vv);
    source->stage = ROWS;
    if (resumable) {
        source->stage = BRINGING;
        sk_vv_copy(&source->low, &progress->vv);
        sk_buf_bytes(&source->limit, sk_buf_view(&progress->cursor));
    }
    sk_vv_copy(&head->vv, &source->vv);
    sk_vv_copy(&head->floor, &source->floor);
    head->reconcile = source->reconcile;
    head->resumed = resumable;
    *out = source;
    return 0;
}

void sk_source_close(sk_db *db, sk_source *source)
{
    if (source->snapshot) sk_store_snapshot_free(db->store, source->snapshot);
    sk_vv *vectors[] = {&source->vv, &source->floor, &source->known, &source->low};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) sk_vv_free(vectors[i]);
    sk_buf *buffers[] = {&source->limit, &source->cursor, &source->collect_from, &source->history_from,
                         &source->walk_from, &source->wanted};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) sk_buf_free(buffers[i]);
    sk_arena_free(&source->arena);
    sk_arena_free(&source->stretch_arena);
    sk_outline_free(&source->outline);
    free(source->stretches);
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

static void stop_at(sk_buf *from, sk_bytes key)
{
    sk_buf_reset(from);
    sk_buf_bytes(from, key);
}

/* Of one origin, from where it was left. 1: so many entries were read, and more are left; 0: that was all; or an error. */
static int collect_of_origin(sk_db *db, sk_source *source, uint32_t o, uint32_t *entries)
{
    const sk_vv *since = source->stage == BRINGING ? &source->low : &source->known;
    uint8_t first[SK_HISTORY_DOT_BYTES], to[SK_HISTORY_DOT_BYTES];
    uint64_t above = sk_vv_get(since, o);
    if (source->vv.seq[o] <= above && !source->dead) return 0;
    sk_history_key(first, o, source->dead ? 0 : above + 1);
    sk_history_key(to, o, source->vv.seq[o] + 1);
    sk_bytes from = source->collect_from.len ? sk_buf_view(&source->collect_from) : sk_bytes_of(first, sizeof first);
    sk_store_iter *iter =
        sk_store_iterate(db->store, source->snapshot, SK_CF_HISTORY, from, sk_bytes_of(to, sizeof to));
    sk_bytes key, value;
    sk_history_record record;
    sk_history_entry entry;
    int status;
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        if (*entries == 0) {
            stop_at(&source->collect_from, key);
            break;
        }
        status = sk_history_open(key, value, &source->floor, &record);
        if (status) sk_audit_history_damaged(db);
        if (status) break;
        while (sk_history_next(&record, &entry)) {
            bool due = entry.dot.seq > above || (source->dead && entry.flags & SK_HISTORY_DEAD);
            if (due && wanted(source, entry.raw)) add_to_lot(source, entry.raw);
            *entries -= *entries > 0;
        }
    }
    sk_store_iter_free(db->store, iter);
    return status;
}

/* Reads on for a lot, as collect_of_origin. */
static int collect_changed(sk_db *db, sk_source *source)
{
    uint32_t entries = HISTORY_ENTRIES;
    for (; source->collect_origin < source->vv.count; source->collect_origin++) {
        int status = collect_of_origin(db, source, source->collect_origin, &entries);
        if (status) return status;
        sk_buf_reset(&source->collect_from);
    }
    return 0;
}

/* The next key of this stage that changed: 1; 0: there is none; NOT_YET; or an error. It stays the next until lot_at moves. */
static int next_changed(sk_db *db, sk_source *source, sk_bytes *raw)
{
    if (!source->collecting && source->lot_at == source->lot_count) {
        if (source->lot_loaded && !source->lot_cut) return 0;
        source->collecting = true;
        source->collect_origin = source->lot_count = source->lot_at = 0;
        source->lot_cut = false;
        source->lot_loaded = true;
        sk_arena_reset(&source->arena);
    }
    if (source->collecting) {
        int more = collect_changed(db, source);
        if (more) return more > 0 ? NOT_YET : more;
        source->collecting = false;
        settle(source);
        if (source->lot_count == 0) return 0;
    }
    *raw = source->lot[source->lot_at];
    return 1;
}

static void next_stage(sk_source *source)
{
    source->lot_loaded = source->lot_cut = false;
    source->lot_count = source->lot_at = 0;
    if (source->stage == BRINGING) {
        sk_buf_reset(&source->cursor);
        sk_buf_bytes(&source->cursor, sk_buf_view(&source->limit));
    }
    source->stage = source->stage == BRINGING ? ROWS : HISTORY;
}

/* -- chunks -------------------------------------------------------------------------------------------------------------------- */

/* A row as it is told, an empty one where there is none: the peer may have one, or have staged one. */
static int append_record(sk_source *source, sk_bytes raw, const sk_row *row, sk_buf *out)
{
    sk_buf packed = {0};
    sk_row_pack(&packed, row, false);
    size_t bytes = raw.len + packed.len;
    bool fits = bytes <= SK_CHUNK_MAX - OTHERS_MAX;
    if (fits)
        sk_chunk_add_row(out, raw, sk_buf_view(&packed));
    else
        sk_log_limited(1, SK_LOG_ERROR, "transfer.row_too_large", sk_log_bytes("row", raw), sk_log_uint("bytes", bytes),
                       sk_log_text("effect", "no region that lacks it is brought up to date by a transfer"),
                       sk_log_text("help", "resolve its siblings (SIBLINGS GET, SIBLINGS RESOLVE), or delete it"));
    sk_buf_free(&packed);
    source->sent += fits;
    return fits ? 0 : SK_E_TOO_LARGE;
}

static int append_row(sk_db *db, sk_source *source, sk_bytes raw, sk_buf *out)
{
    sk_buf value = {0};
    sk_arena arena = {0};
    sk_row row = {0};
    int found = sk_store_snapshot_get(db->store, source->snapshot, SK_CF_ROW, raw, &value);
    int status = found > 0 ? sk_row_read(sk_buf_view(&value), NULL, &arena, &row) : found;
    if (!status) status = append_record(source, raw, &row, out);
    sk_buf_free(&value);
    sk_arena_free(&arena);
    return status == SK_E_MALFORMED ? SK_E_CORRUPT : status;
}

/* The rows that changed and are below `end`. 1: the chunk is full, or they are not known yet; 0: that was all; or an error. */
static int append_changed(sk_db *db, sk_source *source, sk_bytes end, size_t max, sk_buf *out)
{
    sk_bytes raw;
    int status;
    while ((status = next_changed(db, source, &raw)) == 1 && (!end.len || sk_bytes_compare(raw, end) < 0)) {
        if (out->len >= max) return 1;
        status = append_row(db, source, raw, out);
        if (status) return status;
        stop_at(&source->cursor, raw);
        source->lot_at++;
    }
    return status == NOT_YET ? 1 : status < 0 ? status : 0;
}

/* A row that the walk has come to: into the outline, and out if the peer needs it. */
static int walk_row(sk_db *db, sk_source *source, sk_bytes raw, sk_bytes value, sk_arena *arena, sk_buf *out)
{
    sk_row row;
    sk_bytes changed;
    int status = sk_db_row_read(db, value, arena, &row);
    if (status) return status;
    sk_outline_row(&source->outline, raw, sk_row_digest(&db->origins, raw, &row), db->sums.leaf_rows);
    if (source->cursor.len && sk_bytes_compare(raw, sk_buf_view(&source->cursor)) <= 0) return 0;
    int more = next_changed(db, source, &changed); /* known: append_changed has just asked */
    if (more < 0) return more;
    bool due = more && sk_bytes_equal(changed, raw);
    if (due) source->lot_at++;
    if (!due && !sk_row_has_news(&row, &source->known, &source->floor)) return 0;
    status = append_record(source, raw, &row, out);
    if (!status) stop_at(&source->cursor, raw);
    return status;
}

/* Reads on in a stretch. 1: the chunk is full, or so many rows were read; 0: the stretch is through; or an error. */
static int walk_stretch(sk_db *db, sk_source *source, sk_bytes low, sk_bytes end, size_t max, uint64_t *rows, sk_buf *out)
{
    sk_bytes from = source->walk_from.len ? sk_buf_view(&source->walk_from) : low;
    sk_store_iter *iter = sk_store_iterate(db->store, source->snapshot, SK_CF_ROW, from, end);
    sk_arena arena = {0};
    sk_bytes raw, value;
    int status;
    while ((status = sk_store_next(db->store, iter, &raw, &value)) > 0) {
        sk_arena_reset(&arena);
        status = append_changed(db, source, raw, max, out);
        if (status < 0) break;
        if (status || out->len >= max || *rows == 0) {
            stop_at(&source->walk_from, raw);
            status = 1;
            break;
        }
        --*rows;
        status = walk_row(db, source, raw, value, &arena, out);
        if (status) break;
    }
    sk_store_iter_free(db->store, iter);
    sk_arena_free(&arena);
    return status;
}

/* A reconcile's rows: those that changed, those that are found by looking, and the outline of all. 1, or an error. */
static int walk(sk_db *db, sk_source *source, size_t max, sk_buf *out)
{
    uint64_t rows = WALK_ROWS;
    while (source->stretch_at < source->stretch_count) {
        const stretch *at = &source->stretches[source->stretch_at];
        bool last = source->stretch_at + 1 == source->stretch_count;
        sk_bytes end = last ? SK_BYTES_NONE : at[1].low;
        bool behind = !last && source->cursor.len && sk_bytes_compare(end, sk_buf_view(&source->cursor)) <= 0;
        bool passed = at->exact && (at->quiet || behind);
        if (rows == 0 || out->len >= max) return 1;
        if (source->walk_from.len == 0 && !source->stretch_read) sk_outline_mark(&source->outline, at->low);
        int status = passed || source->stretch_read ? 0 : walk_stretch(db, source, at->low, end, max, &rows, out);
        source->stretch_read = status == 0;
        if (!status) status = append_changed(db, source, end, max, out);
        if (status) return status;
        if (passed) sk_outline_add(&source->outline, at->rows, at->sum);
        if (passed) rows -= rows < LEAF_COST ? rows : LEAF_COST;
        sk_buf_reset(&source->walk_from);
        source->stretch_read = false;
        source->stretch_at++;
    }
    next_stage(source);
    return 1;
}

/* Removals above the peer's vector, from where the last chunk stopped. 1: more follows. */
static int append_history(sk_db *db, sk_source *source, size_t max, sk_buf *out)
{
    sk_store_iter *iter = sk_store_iterate(db->store, source->snapshot, SK_CF_HISTORY,
                                           sk_buf_view(&source->history_from), SK_BYTES_NONE);
    sk_bytes key, value;
    sk_history_record record;
    sk_history_entry entry;
    uint32_t entries = HISTORY_ENTRIES;
    int status;
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        if (out->len >= max || entries == 0) {
            stop_at(&source->history_from, key);
            break;
        }
        status = sk_history_open(key, value, &source->floor, &record);
        if (status) sk_audit_history_damaged(db);
        if (status) break;
        while (sk_history_next(&record, &entry)) {
            if (entry.flags && sk_vv_covers(&source->vv, entry.dot) && !sk_vv_covers(&source->known, entry.dot))
                sk_chunk_add_history(out, entry.dot, entry.raw, entry.flags);
            entries -= entries > 0;
        }
        status = 1;
    }
    sk_store_iter_free(db->store, iter);
    return status;
}

/* Rows that were asked for. */
static int give(sk_db *db, sk_source *source, size_t max, sk_buf *out)
{
    if (source->wanted_at == source->wanted.len) return 0;
    sk_reader reader = sk_reader_of(sk_buf_view(&source->wanted));
    reader.at += source->wanted_at;
    int status = 0;
    while (!status && out->len < max && sk_reader_left(&reader)) status = append_row(db, source, sk_read_bytes(&reader), out);
    source->wanted_at = source->wanted.len - sk_reader_left(&reader);
    return status ? status : sk_reader_left(&reader) > 0;
}

int sk_source_chunk(sk_db *db, sk_source *source, size_t max, sk_buf *out)
{
    int status = 0;
    if (source->stage == GIVING) return give(db, source, max, out);
    while (source->stage < HISTORY && !status && out->len < max) {
        if (source->stage == ROWS && source->reconcile) return walk(db, source, max, out);
        status = append_changed(db, source, SK_BYTES_NONE, max, out);
        if (status == 0) next_stage(source);
    }
    if (status < 0) return status;
    if (source->stage == HISTORY && out->len < max) {
        status = append_history(db, source, max, out);
        if (status < 0) return status;
        if (status == 0) source->stage = source->reconcile ? GIVING : DONE;
    }
    return source->stage != DONE && source->stage != GIVING;
}

/* -- answers ----------------------------------------------------------------------------------------------------------------- */

void sk_source_compare(sk_db *db, sk_source *source, uint64_t *rows, sk_digest *sum)
{
    (void)db;
    sk_assert(source->stage == GIVING);
    *rows = source->outline.rows;
    *sum = source->outline.sum;
}

int sk_source_answer(sk_db *db, sk_source *source, uint64_t number, sk_bytes from, sk_bytes to, sk_buf *out)
{
    if (source->stage != GIVING) return SK_E_PROTOCOL;
    return sk_compare_answer(db, source->snapshot, &source->outline, &source->known, number, from, to, out);
}

void sk_source_want(sk_db *db, sk_source *source, sk_elements keys)
{
    (void)db;
    sk_bytes key;
    sk_buf_consume(&source->wanted, source->wanted_at);
    source->wanted_at = 0;
    while (sk_wanted_next(&keys, &key)) sk_pack_bytes(&source->wanted, key);
}

/* Row keys are in order, and leaves hold about as many rows each. */
sk_transfer_counts sk_source_counts(const sk_db *db, const sk_source *source)
{
    const sk_sums *sums = &db->sums;
    sk_transfer_counts counts = {.sent = source->sent};
    if (source->stage == BRINGING || sums->state == SK_SUMS_SCANNING || sums->count == 0) return counts;
    counts.rows = sums->rows;
    if (source->stage >= HISTORY)
        counts.done = sums->rows;
    else if (source->reconcile)
        counts.done = sums->rows * source->stretch_at / source->stretch_count;
    else if (source->cursor.len)
        counts.done = sums->rows * sk_sums_find(sums, sk_buf_view(&source->cursor)) / sums->count;
    return counts;
}
