#include "node/fold.h"

#include "node/compare.h"
#include "node/record.h"
#include "node/repair.h"

#include <stdlib.h>

typedef enum { STAGING, FOLDING, SETTLING } phase;

struct sk_fold {
    phase phase;
    bool reconcile, everything;
    sk_purpose purpose;
    sk_repair repair; /* on the disk: whether it is unsure */
    sk_vv vv;      /* the sender's, to be joined at the end */
    sk_vv floor;   /* the sender's */
    sk_vv low;     /* staging: rows at or below the cursor are at least at this vector of the sender's */
    sk_vv known;   /* folding: our vector just before the step */
    sk_vv kept;    /* staging: bytes of the history that has come with it */
    sk_buf cursor; /* staging: the last row key staged; folding: the last one folded by the background fold */
    sk_belief *belief; /* owned; NULL: not yet comparing, or no more. Not on the disk */
};

enum {
    STAGED_ROW = SK_STAGED_ROW,
    STAGED_MARK = 'f',
    STAGED_PART = 'g',
    TOUCH_ROWS = 256,   /* read at a time, where all are folded in one batch */
    COMPARE_ROWS = 512, /* read in a step of comparing */
    LOOK_ROWS = 128,    /* that differ, looked at in a step of an audit: each is read once more */
    SETTLE_ENTRIES = 8, /* of history, that are read as fast as a row is folded */
    KEPT_ROW_BYTES = 4096, /* a larger staged row is read once more when its turn comes, and counts as so many of these */
};
static const sk_bytes KEY_FOLD = {(const uint8_t *)"fold", 4};

/* -- its record ---------------------------------------------------------------------------------------------------------- */

static void put_record(sk_db *db)
{
    struct sk_fold *fold = db->fold;
    sk_buf_reset(&db->pack);
    sk_pack_uint(&db->pack, fold->phase);
    sk_pack_bool(&db->pack, fold->reconcile);
    sk_pack_bool(&db->pack, fold->everything);
    sk_pack_uint(&db->pack, fold->purpose);
    sk_pack_bool(&db->pack, fold->repair.unsure);
    sk_vv_pack(&db->pack, &fold->vv);
    sk_vv_pack(&db->pack, &fold->floor);
    sk_vv_pack(&db->pack, &fold->low);
    sk_vv_pack(&db->pack, &fold->known);
    sk_vv_pack(&db->pack, &fold->kept);
    sk_pack_bytes(&db->pack, sk_buf_view(&fold->cursor));
    sk_record_put(db->store, SK_CF_META, KEY_FOLD, &db->pack);
    db->dirty = true;
}

static void drop_belief(struct sk_fold *fold)
{
    if (fold->belief) sk_belief_free(fold->belief);
    free(fold->belief);
    fold->belief = NULL;
}

void sk_fold_free(sk_db *db)
{
    struct sk_fold *fold = db->fold;
    if (!fold) return;
    drop_belief(fold);
    sk_vv_free(&fold->vv);
    sk_vv_free(&fold->floor);
    sk_vv_free(&fold->low);
    sk_vv_free(&fold->known);
    sk_vv_free(&fold->kept);
    sk_buf_free(&fold->cursor);
    sk_repair_free(&fold->repair);
    free(fold);
    db->fold = NULL;
}

void sk_fold_doubt(sk_db *db)
{
    if (db->fold && db->fold->purpose == SK_FOR_REPAIR) db->fold->repair.unsure = true;
}

int sk_fold_load(sk_db *db)
{
    sk_fold_free(db);
    sk_bytes value;
    int found = sk_record_get(db->store, SK_CF_META, KEY_FOLD, &value, NULL);
    if (found <= 0) return found;
    struct sk_fold *fold = db->fold = sk_alloc(sizeof *fold);
    sk_reader reader = sk_reader_of(value);
    uint64_t stored = sk_read_uint(&reader), purpose;
    fold->phase = (phase)stored;
    fold->reconcile = sk_read_bool(&reader);
    fold->everything = sk_read_bool(&reader);
    purpose = sk_read_uint(&reader);
    fold->purpose = (sk_purpose)purpose;
    fold->repair.unsure = sk_read_bool(&reader);
    sk_vv_read_own(&reader, &db->origins, &fold->vv);
    sk_vv_read_own(&reader, &db->origins, &fold->floor);
    sk_vv_read_own(&reader, &db->origins, &fold->low);
    sk_vv_read_own(&reader, &db->origins, &fold->known);
    sk_vv_read_own(&reader, &db->origins, &fold->kept);
    sk_buf_bytes(&fold->cursor, sk_read_bytes(&reader));
    return sk_reader_done(&reader) && stored <= SETTLING && purpose <= SK_FOR_AUDIT ? 0 : SK_E_CORRUPT;
}

/* Nothing is staged any more. */
static void clear_staged(sk_db *db)
{
    uint8_t first = 0, end = 0xff;
    sk_store_remove_range(db->store, SK_CF_STAGED, sk_bytes_of(&first, 1), sk_bytes_of(&end, 1));
}

static void clear(sk_db *db)
{
    clear_staged(db);
    sk_store_remove(db->store, SK_CF_META, KEY_FOLD);
    db->dirty = true;
    sk_fold_free(db);
}

/* What is staged will not become visible: nor will the history that came with it, which stands above our vector. */
static void abandon(sk_db *db)
{
    if (!db->fold) return;
    const sk_vv *vv = &db->fold->vv;
    for (uint32_t o = 0; o < vv->count; o++) {
        uint8_t from[SK_HISTORY_DOT_BYTES], to[SK_HISTORY_DOT_BYTES];
        if (vv->seq[o] <= sk_vv_get(&db->vv, o)) continue;
        sk_history_key(from, o, sk_vv_get(&db->vv, o) + 1);
        sk_history_key(to, o, vv->seq[o] + 1);
        sk_store_remove_range(db->store, SK_CF_HISTORY, sk_bytes_of(from, sizeof from), sk_bytes_of(to, sizeof to));
    }
    clear(db);
}

void sk_fold_drop_staged(sk_db *db)
{
    if (!db->failed && db->fold && db->fold->phase == STAGING) abandon(db);
}

/* If not, what was staged has been dropped: the audit found it damaged, and the sender is not to blame. */
static bool staging(const sk_db *db)
{
    return db->fold && db->fold->phase == STAGING;
}

bool sk_fold_waits_for_history(const sk_db *db)
{
    return db->fold && db->fold->purpose != SK_FOR_NEWS;
}

bool sk_fold_audits(const sk_db *db)
{
    return db->fold && db->fold->purpose == SK_FOR_AUDIT;
}

bool sk_fold_active(const sk_db *db)
{
    return db->fold && db->fold->phase != STAGING;
}

int sk_fold_in_snapshot(sk_db *db, sk_store_snapshot *snapshot)
{
    sk_buf value = {0};
    int found = sk_record_snapshot_get(db->store, snapshot, SK_CF_META, KEY_FOLD, &value);
    sk_reader reader = sk_reader_of(sk_buf_view(&value));
    bool folding = found > 0 && sk_read_uint(&reader) != STAGING;
    sk_buf_free(&value);
    return found < 0 ? found : folding;
}

static void staged_key(sk_buf *buf, uint8_t kind, sk_bytes rest)
{
    sk_buf_reset(buf);
    sk_buf_byte(buf, kind);
    sk_buf_bytes(buf, rest);
}

/* -- staging --------------------------------------------------------------------------------------------------------------- */

int sk_fold_progress(sk_db *db, sk_transfer_progress *progress)
{
    struct sk_fold *fold = db->fold;
    if (!fold || fold->phase != STAGING || fold->everything || fold->purpose) return 0;
    sk_vv_copy(&progress->vv, &fold->low);
    progress->reconcile = fold->reconcile;
    sk_buf_reset(&progress->cursor);
    sk_buf_bytes(&progress->cursor, sk_buf_view(&fold->cursor));
    return 1;
}

int sk_fold_begin(sk_db *db, const sk_transfer_head *head)
{
    if (db->failed) return db->failed;
    if (sk_fold_active(db)) return SK_E_BUSY;
    if (!sk_vv_at_most(&head->floor, &head->vv)) return SK_E_PROTOCOL;
    if (head->purpose && !sk_vv_at_most(&db->floor, &head->vv)) return SK_E_GAP;
    if (head->purpose == SK_FOR_AUDIT && db->fold && !sk_fold_audits(db)) return SK_E_BUSY; /* something is to be resumed */
    if (head->resumed) {
        /* What is staged may come from an earlier vector of the sender's than this one, never from a later. */
        if (!db->fold || db->fold->purpose || db->fold->reconcile != head->reconcile || !sk_vv_at_most(&db->fold->vv, &head->vv)) {
            abandon(db);
            return SK_E_GAP;
        }
    } else {
        abandon(db);
        db->fold = sk_alloc(sizeof *db->fold);
        sk_vv_copy(&db->fold->low, &head->vv);
        db->fold->reconcile = head->reconcile;
        db->fold->everything = head->everything;
        db->fold->purpose = head->purpose;
        if (head->purpose == SK_FOR_AUDIT) sk_quarantine_begin(db, head->from, head->difference);
    }
    sk_vv_copy(&db->fold->vv, &head->vv);
    sk_vv_copy(&db->fold->floor, &head->floor);
    drop_belief(db->fold); /* of an earlier vector */
    put_record(db);
    return 0;
}

/* Records that a row changed. What was known of that change from another sender stays known: whether it left a dead count
 * there is a matter of what each had seen before. */
static void add_history(sk_db *db, sk_dot dot, sk_bytes raw, unsigned flags)
{
    unsigned known;
    int found = sk_db_history_find(db, dot, raw, &known);
    flags |= known;
    if (found == SK_E_CORRUPT) sk_audit_history_damaged(db);
    if (found < 0 && found != SK_E_CORRUPT) db->failed = found;
    sk_vv again = {0}; /* it was counted when it came first */
    sk_db_history_stage(db, dot, raw, flags, found > 0 ? &again : &db->fold->kept);
    sk_vv_free(&again);
}

/* What a staged row says of the history above our vector. The record of a reset comes with the row that it left a dead
 * count in, too: the rest of the history may come later from another sender, who has forgotten it. */
static void note_history(sk_db *db, sk_bytes raw, const sk_row *row)
{
    for (uint32_t i = 0; i < row->count; i++) {
        sk_hlc_observe(&db->clock, row->entries[i].hlc, db->wall_ms - db->ahead_ms);
        if (!sk_vv_covers(&db->vv, row->entries[i].dot)) add_history(db, row->entries[i].dot, raw, 0);
    }
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (!sk_entry_live(entry) && !sk_vv_covers(&db->vv, entry->count.reset_by))
            add_history(db, entry->count.reset_by, raw, SK_HISTORY_DEAD);
    }
}

static int stage_row(sk_db *db, sk_bytes raw, sk_bytes packed, const sk_origin_map *map, bool dry)
{
    sk_row row;
    sk_rowkey key;
    int status = sk_rowkey_parse(raw, &db->scratch, &key);
    if (!status) status = sk_row_read(packed, map, &db->scratch, &row);
    if (status) return status;
    if (row.fields || row.members) return SK_E_MALFORMED;
    bool audit = db->fold->purpose == SK_FOR_AUDIT; /* it wants the row as it is, right or wrong */
    if (!audit && !sk_row_possible(&row, &db->fold->vv)) return SK_E_PROTOCOL;
    if (dry) return 0;
    sk_buf staged = {0};
    staged_key(&staged, STAGED_ROW, raw);
    sk_buf_reset(&db->pack);
    sk_row_pack(&db->pack, &row, false);
    sk_record_put(db->store, SK_CF_STAGED, sk_buf_view(&staged), &db->pack);
    sk_buf_free(&staged);
    if (audit && !db->fold->belief) sk_quarantine_changed(db, raw);
    if (audit) return 0;
    note_history(db, raw, &row);
    struct sk_fold *fold = db->fold;
    if (sk_bytes_compare(raw, sk_buf_view(&fold->cursor)) > 0) {
        sk_vv_copy(&fold->low, &fold->vv); /* all up to the old cursor has been brought forward */
        sk_buf_reset(&fold->cursor);
        sk_buf_bytes(&fold->cursor, raw);
    }
    return 0;
}

static int stage_record(sk_db *db, sk_reader *reader, const sk_origin_map *map, bool dry)
{
    uint64_t kind = sk_read_uint(reader);
    sk_bytes raw = sk_read_bytes(reader);
    if (reader->bad || raw.len == 0) return SK_E_MALFORMED;
    if (kind == SK_CHUNK_ROW) {
        sk_bytes packed = sk_read_bytes(reader);
        return reader->bad ? SK_E_MALFORMED : stage_row(db, raw, packed, map, dry);
    }
    sk_dot dot = {.origin = sk_read_origin(reader, map)};
    dot.seq = sk_read_uint(reader);
    uint64_t flags = sk_read_uint(reader);
    if (kind != SK_CHUNK_HISTORY || reader->bad || dot.seq == 0 || flags > (SK_HISTORY_REMOVES | SK_HISTORY_DEAD))
        return SK_E_MALFORMED;
    if (!sk_vv_covers(&db->fold->vv, dot)) return SK_E_PROTOCOL;
    sk_rowkey key;
    int status = sk_rowkey_parse(raw, &db->scratch, &key);
    if (status) return status;
    /* What we have applied ourselves has its own record, with flags that say what it left here. */
    if (!dry && db->fold->purpose != SK_FOR_AUDIT && !sk_vv_covers(&db->vv, dot)) add_history(db, dot, raw, (unsigned)flags);
    return 0;
}

int sk_fold_chunk(sk_db *db, sk_bytes rows, const sk_origin_map *map)
{
    if (db->failed) return db->failed;
    if (!staging(db)) return SK_E_GAP;
    for (int dry = 1; dry >= 0; dry--) { /* once to see that all of it is sound, once to keep it */
        sk_reader reader = sk_reader_of(rows);
        while (sk_reader_left(&reader)) {
            sk_arena_reset(&db->scratch);
            int status = stage_record(db, &reader, map, dry);
            if (status) return status;
        }
        if (reader.bad) return SK_E_MALFORMED;
    }
    put_record(db);
    return 0;
}

/* -- comparing ---------------------------------------------------------------------------------------------------------------- */

static int comparing(const sk_db *db)
{
    if (db->failed) return db->failed;
    if (!staging(db)) return SK_E_GAP;
    return db->fold->belief && db->fold->belief->complete ? 0 : SK_E_PROTOCOL;
}

/* What was read and is not sound is our own. */
static int own_fault(int status)
{
    return status == SK_E_MALFORMED ? SK_E_CORRUPT : status;
}

int sk_fold_compare(sk_db *db)
{
    struct sk_fold *fold = db->fold;
    if (db->failed) return db->failed;
    if (!staging(db)) return SK_E_GAP;
    if (!fold->reconcile) return SK_E_PROTOCOL;
    if (!fold->belief) {
        /* What is pushed is through: the cursor goes beyond every key, and all below it is of this vector. */
        fold->belief = sk_alloc(sizeof *fold->belief);
        fold->belief->purpose = fold->purpose;
        sk_vv_copy(&fold->low, &fold->vv);
        sk_buf_reset(&fold->cursor);
        sk_buf_byte(&fold->cursor, 0xff);
        put_record(db);
    }
    return own_fault(sk_belief_step(db, fold->belief, &fold->vv, COMPARE_ROWS));
}

int sk_fold_sum(sk_db *db, sk_bytes from, sk_bytes to, sk_digest *sum)
{
    int status = comparing(db);
    return status ? status : own_fault(sk_belief_sum(db, db->fold->belief, &db->fold->vv, from, to, sum));
}

int sk_fold_settle(sk_db *db, sk_buf *from, sk_bytes to, sk_elements rows, sk_buf *wanted, uint32_t *count)
{
    int status = comparing(db);
    return status ? status : own_fault(sk_belief_settle(db, db->fold->belief, &db->fold->vv, from, to, rows,
                                                         COMPARE_ROWS, wanted, count));
}

void sk_fold_stage_absent(sk_db *db, sk_bytes raw)
{
    sk_buf staged = {0};
    staged_key(&staged, STAGED_ROW, raw);
    sk_buf_reset(&db->pack);
    sk_record_put(db->store, SK_CF_STAGED, sk_buf_view(&staged), &db->pack);
    sk_buf_free(&staged);
    db->dirty = true;
}

/* -- folding ---------------------------------------------------------------------------------------------------------------- */

/* A row that may have to be folded. */
typedef struct {
    sk_bytes raw;
    sk_bytes stored; /* what is staged of it; none: it is looked up */
    uint32_t cost;   /* in rows */
} folding_row;

/* By key; where one is there twice, the one first that brings along what is staged. */
static int compare_rows(const void *a, const void *b)
{
    const folding_row *first = a, *second = b;
    int order = sk_bytes_compare(first->raw, second->raw);
    return order ? order : (first->stored.data == NULL) - (second->stored.data == NULL);
}

/* What is staged of a row: 1, 0, or an error. `key` is that of the record. */
static int read_staged(sk_db *db, const folding_row *row, sk_bytes key, sk_bytes *packed)
{
    if (!row->stored.data) return sk_record_get(db->store, SK_CF_STAGED, key, packed, NULL);
    int status = sk_record_open(SK_CF_STAGED, key, row->stored, packed);
    return status ? status : 1;
}

/* In a repair: what is to become of our row. */
static int judge(sk_db *db, const sk_repair_vectors *vectors, sk_repair_row *row, sk_arena *arena, sk_repair_outcome *outcome)
{
    sk_repair *repair = &db->fold->repair;
    bool was_unsure = repair->unsure;
    int status = sk_repair_judge(db, repair, vectors, row, arena, outcome);
    if (repair->unsure && !was_unsure) put_record(db);
    return status;
}

static int place_row(sk_db *db, sk_bytes raw, const sk_row *theirs, sk_arena *arena)
{
    struct sk_fold *fold = db->fold;
    const sk_repair_vectors vectors = {&fold->vv, &fold->floor, &fold->known};
    sk_repair_row row = {.name = {.raw = raw}, .sense = true, .theirs = theirs};
    sk_repair_outcome outcome = SK_REPAIR_MERGES;
    int status = 0;
    row.is_key = sk_rowkey_parse(raw, arena, &row.name.key) == 0;
    if (row.is_key) status = sk_db_row_sensible(db, raw, arena, &row.ours, &row.sense);
    if (!status && fold->purpose == SK_FOR_REPAIR)
        status = judge(db, &vectors, &row, arena, &outcome);
    else if (!status && !(row.sense && row.is_key))
        status = sk_sums_take_out(db, raw);
    if (status) return status;
    if (outcome == SK_REPAIR_LEAVES) return sk_repair_bring_news(db, &vectors, &row, arena);
    sk_row merged = *theirs;
    merged.fields = row.ours.fields;
    merged.members = row.ours.members;
    if (outcome == SK_REPAIR_REPLACES) return sk_repair_replace(db, &fold->repair, &vectors, &row, &merged);
    if (!row.is_key) {
        sk_store_remove(db->store, SK_CF_ROW, raw); /* damage made it */
        return 0;
    }
    sk_row ours = row.ours;
    if (fold->purpose == SK_FOR_REPAIR) status = sk_repair_with_dead(db, &row, arena, &ours);
    if (!status) status = sk_row_merge(theirs, &fold->vv, &ours, &fold->known, arena, &merged);
    return status ? status : sk_db_row_put(db, &row.name, &row.ours, &merged);
}

/* Brings a row into place, if one is staged. One that is damaged is lost: ours stays as it is. */
static int fold_row(sk_db *db, const folding_row *row)
{
    struct sk_fold *fold = db->fold;
    sk_arena arena = {0};
    sk_buf key = {0};
    sk_bytes value;
    sk_row theirs = {0};
    sk_bytes raw = sk_arena_copy(&arena, row->raw);
    staged_key(&key, STAGED_ROW, row->raw);
    int found = read_staged(db, row, sk_buf_view(&key), &value);
    if (found == SK_E_CORRUPT) {
        sk_audit_lost(db);
        sk_store_remove(db->store, SK_CF_STAGED, sk_buf_view(&key));
        sk_buf_free(&key);
        sk_arena_free(&arena);
        return 0;
    }
    int status = found < 0 ? found : 0;
    if (found > 0) {
        value = sk_arena_copy(&arena, value);
        status = sk_row_read(value, NULL, &arena, &theirs);
    }
    if (!status && (found || fold->everything)) status = place_row(db, raw, &theirs, &arena);
    if (!status && found) sk_store_remove(db->store, SK_CF_STAGED, sk_buf_view(&key));
    sk_buf_free(&key);
    sk_arena_free(&arena);
    if (status) db->failed = status == SK_E_MALFORMED ? SK_E_CORRUPT : status;
    return db->failed;
}

/* Collects keys of one column family from `from` up to `end`, at most `limit`, without the first `skip` bytes; of small rows
 * what is stored, too, if it is staged. */
typedef struct {
    sk_arena arena;
    folding_row *rows;
    uint32_t count;
} row_list;

static int collect(sk_db *db, sk_cf cf, sk_bytes from, sk_bytes end, size_t skip, uint32_t limit, row_list *list)
{
    uint32_t room = list->count, first = list->count;
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, cf, from, end);
    sk_bytes key, value;
    int status = 1;
    while (list->count - first < limit && (status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        if (list->count == room) {
            room = room ? room * 2 : 64;
            list->rows = sk_realloc(list->rows, room * sizeof *list->rows);
        }
        folding_row *row = &list->rows[list->count++];
        *row = (folding_row){.raw = sk_arena_copy(&list->arena, sk_bytes_of(key.data + skip, key.len - skip)),
                             .cost = 1 + (uint32_t)(value.len / KEPT_ROW_BYTES)};
        if (cf == SK_CF_STAGED && value.len <= KEPT_ROW_BYTES) row->stored = sk_arena_copy(&list->arena, value);
    }
    sk_store_iter_free(db->store, iter);
    return status < 0 ? status : 0;
}

/* The same of rows that may have to be folded: staged ones, and with everything ours too. `bound`: beyond it there may be others. */
static int collect_both(sk_db *db, sk_bytes from, sk_bytes end, uint32_t limit, row_list *list, sk_bytes *bound)
{
    uint8_t staged_end = STAGED_ROW + 1, row_end = SK_TABLE_POLICY;
    sk_buf staged_from = {0}, staged_to = {0};
    staged_key(&staged_from, STAGED_ROW, from);
    staged_key(&staged_to, STAGED_ROW, end);
    sk_bytes to = end.len ? sk_buf_view(&staged_to) : sk_bytes_of(&staged_end, 1);
    int status = collect(db, SK_CF_STAGED, sk_buf_view(&staged_from), to, 1, limit, list);
    uint32_t staged = list->count;
    if (!status && db->fold->everything)
        status = collect(db, SK_CF_ROW, from, end.len ? end : sk_bytes_of(&row_end, 1), 0, limit, list);
    *bound = SK_BYTES_NONE;
    if (staged == limit) *bound = list->rows[staged - 1].raw;
    if (list->count - staged == limit && (!bound->data || sk_bytes_compare(list->rows[list->count - 1].raw, *bound) < 0))
        *bound = list->rows[list->count - 1].raw;
    if (list->count) qsort(list->rows, list->count, sizeof *list->rows, compare_rows);
    sk_buf_free(&staged_from);
    sk_buf_free(&staged_to);
    return status;
}

/* Was a key brought into place early? 1: all of it; 0: its rows up to `upto`, none if that is empty; or an error. */
static int folded_early(sk_db *db, sk_bytes key, sk_buf *upto)
{
    sk_buf name = {0};
    sk_bytes value;
    sk_buf_reset(upto);
    staged_key(&name, STAGED_MARK, key);
    int found = sk_record_get(db->store, SK_CF_STAGED, sk_buf_view(&name), &value, NULL);
    if (found == SK_E_CORRUPT) found = 1; /* it has nothing but its key */
    if (found == 0) {
        staged_key(&name, STAGED_PART, key);
        int part = sk_record_get(db->store, SK_CF_STAGED, sk_buf_view(&name), &value, NULL);
        if (part > 0) sk_buf_bytes(upto, value);
        if (part == SK_E_CORRUPT) sk_audit_lost(db); /* it is begun again: with everything that takes rows away */
        if (part < 0 && part != SK_E_CORRUPT) found = part;
    }
    sk_buf_free(&name);
    if (found < 0) db->failed = found;
    return found;
}

/* What is staged shows what is not folded. With everything a row may not be staged. */
static int is_folded(sk_db *db, sk_bytes raw, sk_arena *arena)
{
    if (!db->fold->everything) return 0;
    sk_buf upto = {0};
    sk_rowkey key;
    int done = sk_bytes_compare(raw, sk_buf_view(&db->fold->cursor)) <= 0;
    if (!done && sk_rowkey_parse(raw, arena, &key) == 0) {
        done = folded_early(db, key.key, &upto);
        if (done == 0) done = sk_bytes_compare(raw, sk_buf_view(&upto)) <= 0;
    }
    sk_buf_free(&upto);
    return done;
}

/* Folds rows whose keys are from `from` on, and below `end` unless that is empty, in their order: about *rows, which falls by
 * as many as were folded. `upto` becomes the last one's key. 1: there may be more, 0: that was all; or an error, also in
 * db->failed. */
static int fold_range(sk_db *db, sk_bytes from, sk_bytes end, uint32_t *rows, sk_buf *upto)
{
    row_list list = {0};
    sk_bytes bound;
    if (*rows == 0) return 1;
    int status = collect_both(db, from, end, *rows, &list, &bound);
    bool more = bound.data != NULL;
    for (uint32_t i = 0; i < list.count && !status; i++) {
        const folding_row *row = &list.rows[i];
        if (bound.data && sk_bytes_compare(row->raw, bound) > 0) break;
        if (i && sk_bytes_equal(row->raw, list.rows[i - 1].raw)) continue;
        more |= *rows == 0;
        if (*rows == 0) break;
        int folded = is_folded(db, row->raw, &list.arena);
        status = folded < 0 ? folded : folded ? 0 : fold_row(db, row);
        *rows -= row->cost < *rows ? row->cost : *rows;
        sk_buf_reset(upto);
        sk_buf_bytes(upto, row->raw);
    }
    if (status) db->failed = status;
    sk_arena_free(&list.arena);
    free(list.rows);
    return status ? status : more;
}

/* The rows of a key in a table: from `from` on, below `end`. */
static void key_range(sk_table table, sk_bytes key, sk_buf *from, sk_buf *end)
{
    sk_buf_reset(from);
    sk_buf_reset(end);
    if (table == SK_TABLE_KEY)
        sk_rowkey_pack(from, table, key, SK_BYTES_NONE);
    else
        sk_rowkey_pack_prefix(from, table, key);
    sk_buf_bytes(end, sk_buf_view(from));
    if (table == SK_TABLE_KEY)
        sk_buf_byte(end, 0);
    else
        sk_rowkey_successor(end);
}

static void go_on_above(sk_buf *from, sk_bytes raw)
{
    sk_buf_reset(from);
    sk_buf_bytes(from, raw);
    if (raw.len) sk_buf_byte(from, 0); /* the least key above it */
}

/* A key is in place, or its rows up to one. The mark is made also where nothing was staged: the next touch need not look for it
 * among what was removed. */
static void mark_key(sk_db *db, sk_bytes key, bool whole, sk_bytes upto)
{
    sk_buf part = {0}, mark = {0};
    staged_key(&part, STAGED_PART, key);
    staged_key(&mark, STAGED_MARK, key);
    sk_buf_reset(&db->pack);
    if (!whole) sk_buf_bytes(&db->pack, upto);
    if (whole && upto.len) sk_store_remove(db->store, SK_CF_STAGED, sk_buf_view(&part));
    if (whole || upto.len) sk_record_put(db->store, SK_CF_STAGED, sk_buf_view(whole ? &mark : &part), &db->pack);
    db->dirty = true;
    sk_buf_free(&part);
    sk_buf_free(&mark);
}

int sk_db_touch_some(sk_db *db, sk_bytes key, uint32_t *rows)
{
    static const sk_table tables[] = {SK_TABLE_HASH, SK_TABLE_KEY, SK_TABLE_SET}; /* in the order of row keys */
    if (!db->fold || db->fold->phase != FOLDING) return 0;
    sk_buf upto = {0}, from = {0}, end = {0};
    int done = folded_early(db, key, &upto), more = 0;
    for (size_t i = 0; done == 0 && more == 0 && i < sizeof tables / sizeof *tables; i++) {
        key_range(tables[i], key, &from, &end);
        if (sk_bytes_compare(sk_buf_view(&upto), sk_buf_view(&from)) >= 0) go_on_above(&from, sk_buf_view(&upto));
        if (sk_bytes_compare(sk_buf_view(&from), sk_buf_view(&end)) < 0)
            more = fold_range(db, sk_buf_view(&from), sk_buf_view(&end), rows, &upto);
    }
    if (done == 0 && more >= 0) mark_key(db, key, more == 0, sk_buf_view(&upto));
    sk_buf_free(&upto);
    sk_buf_free(&from);
    sk_buf_free(&end);
    return done < 0 ? done : more;
}

int sk_db_touch(sk_db *db, sk_bytes key)
{
    int more;
    do {
        uint32_t rows = TOUCH_ROWS;
        more = sk_db_touch_some(db, key, &rows);
    } while (more > 0);
    return more;
}

/* Policies and members are few, and everybody looks at all of them: folded with the step itself. Their tables are the
 * last ones. */
static bool is_folded_at_once(sk_table table) { return table == SK_TABLE_POLICY || table == SK_TABLE_MEMBER; }

int sk_db_touch_row(sk_db *db, const sk_rowkey *key)
{
    return is_folded_at_once(key->table) ? 0 : sk_db_touch(db, key->key);
}

int sk_db_touch_row_some(sk_db *db, const sk_rowkey *key, uint32_t *rows)
{
    return is_folded_at_once(key->table) ? 0 : sk_db_touch_some(db, key->key, rows);
}

static int fold_table(sk_db *db, sk_table table)
{
    uint8_t first = (uint8_t)table, behind = (uint8_t)(table + 1);
    sk_buf from = {0}, upto = {0};
    int more;
    sk_buf_byte(&from, first);
    do {
        uint32_t rows = TOUCH_ROWS;
        more = fold_range(db, sk_buf_view(&from), sk_bytes_of(&behind, 1), &rows, &upto);
        go_on_above(&from, sk_buf_view(&upto));
    } while (more > 0);
    sk_buf_free(&from);
    sk_buf_free(&upto);
    return more;
}

int sk_fold_end(sk_db *db)
{
    struct sk_fold *fold = db->fold;
    if (db->failed) return db->failed;
    if (!staging(db)) return SK_E_GAP;
    if (fold->purpose == SK_FOR_AUDIT) {
        int found = sk_quarantine_step(db, &fold->vv, LOOK_ROWS);
        if (found > 0) return 1;
        clear(db);
        if (found == SK_E_IO || found == SK_E_MEMORY) db->failed = found;
        return found ? SK_E_BUSY : 0;
    }
    fold->phase = FOLDING;
    drop_belief(fold);
    sk_vv_copy(&fold->known, &db->vv);
    sk_buf_reset(&fold->cursor);
    sk_vv_join(&db->vv, &fold->vv);
    for (uint32_t o = 0; o < fold->kept.count; o++)
        sk_vv_set(&db->kept, o, sk_vv_get(&db->kept, o) + fold->kept.seq[o]);
    sk_vv_join(&db->scan_until, &db->vv); /* history that came with it may carry flags not counted here */
    db->dead_flags = 0;                   /* all that were are at or below that */
    put_record(db);
    int status = fold_table(db, SK_TABLE_POLICY);
    if (!status) status = fold_table(db, SK_TABLE_MEMBER);
    if (status) db->failed = status;
    return status;
}

/* All rows are in place. Removals that the sender of a reconcile, or of everything, had forgotten we do not have either: its
 * floor is ours, and what was staged of history at or below it goes, about so many entries of it now. Until that is through
 * nobody is to go by our history. 1: there is more, 0: the transfer is over. */
static int settle(sk_db *db, uint32_t entries)
{
    struct sk_fold *fold = db->fold;
    if (fold->reconcile || fold->everything) {
        int more = sk_db_forget_inherited(db, &fold->floor, entries);
        if (more && fold->phase != SETTLING) {
            fold->phase = SETTLING;
            sk_buf_reset(&fold->cursor);
            clear_staged(db);
            put_record(db);
        }
        if (more) return more;
    }
    bool repair = fold->purpose == SK_FOR_REPAIR;
    if (repair) db->failed = sk_repair_finish(db, &fold->repair, &(sk_repair_vectors){&fold->vv, &fold->floor, &fold->known});
    if (db->failed) return db->failed;
    sk_audit_verdict verdict = fold->repair.unsure ? SK_AUDIT_UNSURE : fold->repair.doubtful ? SK_AUDIT_DOUBTFUL : SK_AUDIT_SURE;
    if (repair) sk_audit_repaired(db, verdict, &fold->vv);
    clear(db);
    sk_db_revisit_anew(db);
    return 0;
}

int sk_fold_step(sk_db *db, uint32_t rows)
{
    if (db->failed) return db->failed;
    if (!sk_fold_active(db)) return 0;
    if (db->fold->phase == SETTLING) return settle(db, SETTLE_ENTRIES * rows);
    sk_buf from = {0};
    uint32_t left = rows;
    go_on_above(&from, sk_buf_view(&db->fold->cursor));
    int more = fold_range(db, sk_buf_view(&from), SK_BYTES_NONE, &left, &db->fold->cursor);
    sk_buf_free(&from);
    if (more > 0) put_record(db);
    return more ? more : settle(db, SETTLE_ENTRIES * rows);
}

int sk_db_touch_all(sk_db *db)
{
    int more;
    do more = sk_fold_step(db, 4096);
    while (more > 0);
    return more;
}
