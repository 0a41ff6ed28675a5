#include "node/audit.h"

#include "node/derived.h"
#include "node/fold.h"
#include "node/record.h"

static const sk_bytes KEY_LOST = {(const uint8_t *)"lost", 4};       /* staged rows are, of a fold; false: a repair is not through */
static const sk_bytes KEY_DAMAGED = {(const uint8_t *)"damaged", 7}; /* true: beyond mending, or unreadable; false: `unproven` */
static const sk_bytes KEY_ADOPT = {(const uint8_t *)"adopt", 5};
static const sk_bytes KEY_OWED = {(const uint8_t *)"owed", 4}; /* a vector */

/* -- what is noted on the disk ------------------------------------------------------------------------------------- */

static void note_that(sk_db *db, sk_bytes key, bool that)
{
    sk_buf_reset(&db->pack);
    sk_pack_bool(&db->pack, that);
    sk_record_put(db->store, SK_CF_META, key, &db->pack);
    db->dirty = true;
}

static void note(sk_db *db, sk_bytes key)
{
    note_that(db, key, true);
}

/* 1 and what, 0, or an error. */
static int noted_that(sk_db *db, sk_bytes key, bool *that)
{
    sk_bytes value = SK_BYTES_NONE;
    int found = sk_record_get(db->store, SK_CF_META, key, &value, NULL);
    sk_reader reader = sk_reader_of(value);
    *that = found > 0 && sk_read_bool(&reader);
    return found > 0 && !sk_reader_done(&reader) ? SK_E_CORRUPT : found;
}

static int noted(sk_db *db, sk_bytes key)
{
    bool that;
    return noted_that(db, key, &that);
}

int sk_audit_noted(sk_db *db, bool *repair)
{
    bool beyond;
    int found = noted_that(db, KEY_DAMAGED, &beyond);
    *repair = !beyond;
    return found;
}

static void note_owed(sk_db *db, const sk_vv *more)
{
    sk_vv_join(&db->audit.owed, more);
    sk_buf_reset(&db->pack);
    sk_vv_pack(&db->pack, &db->audit.owed);
    sk_record_put(db->store, SK_CF_META, KEY_OWED, &db->pack);
    db->dirty = true;
}

static int noted_owed(sk_db *db, sk_vv *owed)
{
    sk_bytes value = SK_BYTES_NONE;
    int found = sk_record_get(db->store, SK_CF_META, KEY_OWED, &value, NULL);
    if (found <= 0) return found;
    sk_reader reader = sk_reader_of(value);
    sk_vv_read_own(&reader, &db->origins, owed);
    return sk_reader_done(&reader) ? 0 : SK_E_CORRUPT;
}

static void strike(sk_db *db, sk_bytes key)
{
    sk_store_remove(db->store, SK_CF_META, key);
    db->dirty = true;
}

void sk_audit_lost(sk_db *db)
{
    if (!db->audit.lost_rows) note(db, KEY_LOST);
    db->audit.lost = db->audit.lost_rows = true;
}

void sk_audit_unreadable(sk_db *db)
{
    if (!db->audit.unreadable) note(db, KEY_DAMAGED);
    db->audit.unreadable = true;
}

void sk_audit_history_damaged(sk_db *db)
{
    sk_audit *audit = &db->audit;
    audit->damaged_history++;
    if (audit->history_damaged) return;
    audit->history_damaged = true;
    audit->history_renewed = false;
    audit->rows_again = audit->stage > SK_AUDIT_STAGED; /* they say which records it must have. Not at once: it may be found in
                                                         * the midst of a row */
}

/* -- state --------------------------------------------------------------------------------------------------------- */

void sk_audit_free(sk_audit *audit)
{
    sk_buf_free(&audit->cursor);
    sk_buf_free(&audit->names);
    sk_vv_free(&audit->doubted);
    sk_vv_free(&audit->owed);
    *audit = (sk_audit){0};
}

int sk_audit_begin(sk_db *db)
{
    sk_audit_free(&db->audit);
    sk_sums_reset(&db->sums);
    bool rows;
    int lost = noted_that(db, KEY_LOST, &rows), adopt = noted(db, KEY_ADOPT), owed = noted_owed(db, &db->audit.owed);
    if (lost < 0 || adopt < 0 || owed < 0) return lost < 0 ? lost : adopt < 0 ? adopt : owed;
    db->audit.lost = lost;
    db->audit.lost_rows = rows;
    db->audit.adopt = adopt;
    return 0;
}

/* From the beginning, with what was found before. */
static void restart(sk_db *db)
{
    sk_audit *audit = &db->audit;
    audit->stage = SK_AUDIT_HISTORY;
    audit->beyond = audit->unreadable = false;
    audit->entries = 0;
    sk_buf_reset(&audit->cursor);
    sk_sums_reset(&db->sums);
}

int sk_audit_again(sk_db *db)
{
    bool damaged = db->audit.history_damaged;
    uint64_t repairs = db->audit.repairs;
    int status = sk_audit_begin(db);
    db->audit.history_damaged = damaged;
    db->audit.repairs = repairs;
    return status;
}

void sk_audit_name(sk_db *db, sk_bytes raw, bool repaired)
{
    sk_audit *audit = &db->audit;
    if (audit->named == SK_AUDIT_NAMES_MAX) {
        audit->nameless++;
        return;
    }
    audit->named++;
    sk_pack_bool(&audit->names, repaired);
    sk_pack_bytes(&audit->names, raw);
}

bool sk_audit_next_name(sk_reader *names, sk_bytes *raw, bool *repaired)
{
    if (sk_reader_left(names) == 0) return false;
    *repaired = sk_read_bool(names);
    *raw = sk_read_bytes(names);
    return !names->bad;
}

bool sk_audit_pending(const sk_db *db)
{
    return db->audit.stage != SK_AUDIT_DONE || db->audit.rows_again;
}

bool sk_audit_damaged(const sk_db *db)
{
    const sk_audit *audit = &db->audit;
    return sk_sums_damaged(&db->sums) || audit->lost || audit->beyond || audit->unreadable;
}

const char *sk_audit_text(const sk_db *db)
{
    return sk_audit_damaged(db) ? "damaged" : sk_audit_pending(db) ? "scanning" : "verified";
}

const char *sk_audit_why(const sk_db *db)
{
    if (!sk_audit_damaged(db)) return "";
    if (db->audit.unreadable) return "the store cannot read some of its files";
    if (db->audit.beyond) return "what is kept of counters that were reset is not what was committed";
    if (db->audit.unproven) return "there are damaged rows that no other region could bear out so far";
    if (db->audit.lost_rows) return "staged rows of a transfer were damaged when they were to be put into place";
    return "the rows on the disk do not add up to what was committed, or some make no sense";
}

int sk_audit_may_send(const sk_db *db)
{
    if (sk_audit_damaged(db)) return SK_E_CORRUPT;
    return db->audit.stage == SK_AUDIT_HISTORY || db->audit.history_damaged ? SK_E_BUSY : 0;
}

bool sk_audit_wants_repair(const sk_db *db)
{
    const sk_audit *audit = &db->audit;
    bool rows = audit->lost || db->sums.state == SK_SUMS_DIFFERENT;
    return rows && !sk_audit_pending(db) && !audit->beyond && !audit->unreadable;
}

static void was_in_vain(sk_db *db)
{
    sk_audit *audit = &db->audit;
    if (audit->unproven || ++audit->in_vain < SK_AUDIT_PATIENCE) return;
    audit->unproven = true;
    note_that(db, KEY_DAMAGED, false);
}

void sk_audit_repaired(sk_db *db, sk_audit_verdict verdict, const sk_vv *seen)
{
    sk_audit *audit = &db->audit;
    if (verdict == SK_AUDIT_UNSURE) note_owed(db, seen);
    if (!sk_vv_at_most(&audit->owed, seen)) verdict = SK_AUDIT_UNSURE;
    bool counts = verdict == SK_AUDIT_DOUBTFUL && sk_vv_at_most(&audit->doubted, seen);
    bool enough = counts && ++audit->doubts == SK_AUDIT_DOUBTS, sure = verdict == SK_AUDIT_SURE || enough;
    if (counts) sk_vv_copy(&audit->doubted, &db->vv);
    if (sure) note(db, KEY_ADOPT);
    if (sure) strike(db, KEY_DAMAGED);
    note_that(db, KEY_LOST, audit->lost_rows); /* until it is through */
    restart(db);
    audit->lost = true;
    audit->adopt = sure;
    audit->repairs++;
    if (sure) {
        audit->in_vain = audit->doubts = 0;
        sk_vv_free(&audit->doubted);
    } else if (!counts) {
        was_in_vain(db);
    }
}

void sk_audit_started(sk_db *db)
{
    if (db->audit.adopt) strike(db, KEY_ADOPT);
    db->audit.adopt = false;
    sk_fold_doubt(db);
}

void sk_audit_not_repaired(sk_db *db)
{
    was_in_vain(db);
}

bool sk_audit_needs_history(const sk_db *db)
{
    return db->audit.lost || db->sums.state == SK_SUMS_DIFFERENT;
}

/* -- going through a family ---------------------------------------------------------------------------------------- */

/* What is done with an entry: 0, 1 to stop behind it, or an error. */
typedef int look_fn(sk_db *db, sk_bytes key, sk_bytes value);

static void set_cursor(sk_db *db, sk_bytes key)
{
    sk_buf_reset(&db->audit.cursor);
    sk_buf_bytes(&db->audit.cursor, key);
}

/* About so many entries from the cursor on. 1: there are more; 0: that was all. What the store cannot read ends it. */
static int go_through(sk_db *db, sk_cf cf, look_fn *look, uint32_t entries)
{
    sk_buf from = {0};
    sk_buf_bytes(&from, sk_buf_view(&db->audit.cursor));
    if (from.len) sk_buf_byte(&from, 0); /* the least key above it */
    sk_store_iter *iter = sk_store_pass(db->store, cf, sk_buf_view(&from), SK_BYTES_NONE);
    sk_bytes key, value;
    int status = 1, looked = 0;
    while (entries-- > 0 && (status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        set_cursor(db, key);
        looked = look(db, key, value);
        if (looked) break;
    }
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&from);
    if (looked < 0) return looked;
    if (status != SK_E_CORRUPT) return status;
    sk_audit_unreadable(db);
    return 0;
}

static void next_stage(sk_db *db, sk_audit_stage stage)
{
    db->audit.stage = stage;
    sk_buf_reset(&db->audit.cursor);
}

static int look_at_history(sk_db *db, sk_bytes key, sk_bytes value)
{
    sk_history_record record;
    sk_history_entry entry;
    if (sk_history_open(key, value, &db->floor, &record)) sk_audit_history_damaged(db);
    while (sk_history_next(&record, &entry)) db->audit.entries++;
    return 0;
}

static int look_at_staged(sk_db *db, sk_bytes key, sk_bytes value)
{
    sk_bytes opened;
    if (sk_record_open(SK_CF_STAGED, key, value, &opened) == 0) return 0;
    db->audit.damaged_staged++;
    if (!sk_fold_active(db)) return 1;
    sk_audit_lost(db);
    return 0;
}

static int look_at_derived(sk_db *db, sk_bytes key, sk_bytes value)
{
    int mended = sk_derived_mend_entry(db, key, value);
    if (mended > 0) db->audit.mended_derived++;
    return mended < 0 ? mended : 0;
}

static int clear_history(sk_db *db, sk_bytes key, sk_bytes value)
{
    sk_db_history_clear(db, key, value);
    return 0;
}

static int step_staged(sk_db *db, uint32_t entries)
{
    uint64_t damaged = db->audit.damaged_staged;
    int status = go_through(db, SK_CF_STAGED, look_at_staged, entries);
    if (db->audit.damaged_staged == damaged || sk_fold_active(db)) return status;
    sk_fold_drop_staged(db);
    return 0;
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

int sk_audit_record_dead(sk_db *db, sk_bytes raw, const sk_row *row)
{
    int status = 0;
    for (uint32_t i = 0; i < row->count && status >= 0; i++) {
        const sk_entry *entry = &row->entries[i];
        unsigned flags;
        if (sk_entry_live(entry) || sk_origins_open_ended(&db->origins, entry->dot.origin)) continue;
        status = sk_db_history_find(db, entry->count.reset_by, raw, &flags);
        if (status == SK_E_CORRUPT) status = 0;
        if (status < 0 || flags & SK_HISTORY_DEAD) continue;
        status = sk_db_history_record_dead(db, entry->count.reset_by, raw);
    }
    return status < 0 ? status : 0;
}

int sk_audit_row(sk_db *db, sk_bytes raw, const sk_row *row, sk_row_counts *counts)
{
    sk_table table = (sk_table)raw.data[0];
    int mended = sk_derived_mend_row(db, raw, row);
    int status = mended < 0 ? mended : 0;
    if (!status && (db->audit.history_damaged || db->audit.adopt)) status = sk_audit_record_dead(db, raw, row);
    if (status) return status;
    db->audit.mended_derived += (uint64_t)mended;
    counts->rest += sk_row_rest(raw, row);
    counts->keys += table == SK_TABLE_KEY && sk_key_row_exists(row);
    counts->conflicts += sk_derived_conflicted(table, row);
    return 0;
}

/* What there is of rows is what is committed from here on. */
static void adopt(sk_db *db)
{
    db->digest = db->sums.sum;
    db->rest = db->sums.counts.rest;
    db->audit.adopted_by = db->sealed + 1;
    db->sums.state = SK_SUMS_VERIFIED;
    db->audit.adopt = db->audit.lost = db->audit.lost_rows = db->audit.unproven = false;
    sk_vv_free(&db->audit.owed);
    strike(db, KEY_ADOPT);
    strike(db, KEY_LOST);
    strike(db, KEY_OWED);
}

/* All rows were added up, and their sizes mended if need be. */
static int rows_are_through(sk_db *db)
{
    const sk_sums *sums = &db->sums;
    sk_audit *audit = &db->audit;
    if (audit->rows_again) return 1;
    if (audit->history_damaged) {
        int status = sk_db_history_renew(db);
        if (!status) next_stage(db, SK_AUDIT_RENEWING);
        return !status || status == SK_E_BUSY ? 1 : status;
    }
    if (sums->state == SK_SUMS_UNREADABLE) sk_audit_unreadable(db);
    if (audit->adopt && sums->state != SK_SUMS_UNREADABLE && !sums->senseless) adopt(db);
    if (audit->adopt) strike(db, KEY_ADOPT); /* no more than was repaired */
    audit->adopt = false;
    if (sums->state == SK_SUMS_VERIFIED && sums->counts.rest != db->rest && !audit->lost) audit->beyond = true;
    if (audit->beyond) note(db, KEY_DAMAGED);
    bool counted = db->keys == sums->counts.keys && db->conflicts == sums->counts.conflicts;
    if (sums->state == SK_SUMS_VERIFIED && !counted) {
        audit->mended_derived++;
        db->keys = sums->counts.keys;
        db->conflicts = sums->counts.conflicts;
        db->dirty = true;
    }
    next_stage(db, SK_AUDIT_DERIVED);
    return 1;
}

static int step_rows(sk_db *db, uint32_t rows)
{
    const sk_sums *sums = &db->sums;
    int status = sums->state == SK_SUMS_SCANNING ? sk_sums_step(db, rows) : 0;
    if (status < 0 || sums->state == SK_SUMS_SCANNING) return status;
    bool right = sums->counts.rest == db->rest && !db->audit.adopt;
    if (right || sums->state == SK_SUMS_UNREADABLE) return rows_are_through(db);
    next_stage(db, SK_AUDIT_SIZES);
    return 1;
}

/* -- sizes --------------------------------------------------------------------------------------------------------- */

/* How many live rows begin with a prefix, at most `most`. */
static int count_members(sk_db *db, sk_table table, sk_bytes key, uint64_t most, uint64_t *count)
{
    sk_buf prefix = {0}, end = {0};
    sk_rowkey_pack_prefix(&prefix, table, key);
    sk_rowkey_pack_prefix(&end, table, key);
    sk_rowkey_successor(&end);
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_ROW, sk_buf_view(&prefix), sk_buf_view(&end));
    sk_arena arena = {0};
    sk_bytes raw, value;
    int status;
    *count = 0;
    while (*count < most && (status = sk_store_next(db->store, iter, &raw, &value)) > 0) {
        sk_row row;
        sk_arena_reset(&arena);
        if (sk_db_row_read(db, value, &arena, &row) == 0) *count += sk_row_live(&row, SK_CLASS_CONTENT) != 0;
    }
    sk_store_iter_free(db->store, iter);
    sk_arena_free(&arena);
    sk_buf_free(&prefix);
    sk_buf_free(&end);
    return *count == most || status > 0 ? 0 : status;
}

/* Sets the sizes of a key to what there is. The row becomes what it was committed as: what is committed stays. */
static int mend_sizes(sk_db *db, sk_bytes key)
{
    sk_arena arena = {0};
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, key, SK_BYTES_NONE);
    sk_row old, new;
    int status = sk_db_row(db, name.raw, &arena, &old);
    new = old;
    if (!status) status = count_members(db, SK_TABLE_HASH, key, UINT64_MAX, &new.fields);
    if (!status) status = count_members(db, SK_TABLE_SET, key, UINT64_MAX, &new.members);
    if (!status && (new.fields != old.fields || new.members != old.members)) {
        status = sk_db_row_mend(db, &name, &old, &new);
        db->audit.mended_sizes++;
    }
    sk_arena_free(&arena);
    return status == SK_E_CORRUPT ? 0 : status; /* a row that makes no sense is another matter */
}

enum { FOUND = 1, MORE = 2 };

/* The next key that has members or says so, from the cursor on: FOUND; MORE: none among so many rows; 0: there is none; or an
 * error. Each is met up to three times, by its
 * fields, its own row and its members; all but the first find it right. */
static int next_sized(sk_db *db, uint32_t *rows, sk_buf *key)
{
    sk_buf from = {0};
    sk_buf_bytes(&from, sk_buf_view(&db->audit.cursor));
    if (from.len) sk_buf_byte(&from, 0);
    sk_store_iter *iter = sk_store_pass(db->store, SK_CF_ROW, sk_buf_view(&from), SK_BYTES_NONE);
    sk_arena arena = {0};
    sk_bytes raw, value;
    sk_rowkey name;
    int status = 1;
    bool found = false;
    while (!found && *rows > 0 && (status = sk_store_next(db->store, iter, &raw, &value)) > 0) {
        sk_row row = {0};
        --*rows;
        sk_arena_reset(&arena);
        set_cursor(db, raw);
        if (sk_rowkey_parse(raw, &arena, &name)) continue;
        found = name.table == SK_TABLE_HASH || name.table == SK_TABLE_SET;
        if (name.table == SK_TABLE_KEY && sk_db_row_read(db, value, &arena, &row) == 0)
            found = row.fields || row.members;
    }
    sk_buf_reset(key);
    if (found) sk_buf_bytes(key, name.key);
    if (found && name.table != SK_TABLE_KEY) { /* the others of its members say the same */
        sk_buf_reset(&db->audit.cursor);
        sk_rowkey_pack_prefix(&db->audit.cursor, name.table, name.key);
        sk_rowkey_successor(&db->audit.cursor);
    }
    sk_store_iter_free(db->store, iter);
    sk_arena_free(&arena);
    sk_buf_free(&from);
    return found ? FOUND : status > 0 ? MORE : status;
}

static int step_sizes(sk_db *db, uint32_t rows)
{
    sk_buf key = {0};
    int status;
    do {
        status = next_sized(db, &rows, &key);
        int mended = status == FOUND ? mend_sizes(db, sk_buf_view(&key)) : 0;
        if (mended < 0) status = mended;
    } while (status == FOUND && rows > 0);
    sk_buf_free(&key);
    if (status == SK_E_CORRUPT) db->sums.state = SK_SUMS_UNREADABLE;
    return status == 0 || status == SK_E_CORRUPT ? rows_are_through(db) : status;
}

/* -- history that begins anew -------------------------------------------------------------------------------------- */

static int step_renewing(sk_db *db, uint32_t entries)
{
    int status = go_through(db, SK_CF_HISTORY, clear_history, entries);
    if (status) return status;
    db->audit.history_damaged = false;
    db->audit.history_renewed = true;
    sk_db_revisit_anew(db);
    return rows_are_through(db);
}

/* What was noted of a database that was damaged is over. */
static void done(sk_db *db)
{
    next_stage(db, SK_AUDIT_DONE);
    if (!sk_audit_damaged(db) && noted(db, KEY_DAMAGED) > 0) strike(db, KEY_DAMAGED);
}

/* -- steps --------------------------------------------------------------------------------------------------------- */

static int step_stage(sk_db *db, uint32_t entries)
{
    int status = 0;
    switch (db->audit.stage) {
    case SK_AUDIT_HISTORY:
        status = go_through(db, SK_CF_HISTORY, look_at_history, entries);
        if (status == 0) next_stage(db, SK_AUDIT_STAGED);
        break;
    case SK_AUDIT_STAGED:
        status = step_staged(db, entries);
        if (status == 0) next_stage(db, SK_AUDIT_ROWS);
        break;
    case SK_AUDIT_ROWS: status = step_rows(db, entries); break;
    case SK_AUDIT_SIZES: status = step_sizes(db, entries); break;
    case SK_AUDIT_RENEWING: status = step_renewing(db, entries); break;
    case SK_AUDIT_DERIVED:
        status = go_through(db, SK_CF_DERIVED, look_at_derived, entries);
        if (status == 0) done(db);
        break;
    case SK_AUDIT_DONE: break;
    }
    return status;
}

static void begin_rows_again(sk_db *db)
{
    if (!db->audit.rows_again) return;
    db->audit.rows_again = false;
    sk_sums_reset(&db->sums);
    db->audit.stage = SK_AUDIT_ROWS;
    sk_buf_reset(&db->audit.cursor);
}

/* A stage that has little to do is followed by the next at once. */
int sk_audit_step(sk_db *db, uint32_t entries)
{
    sk_audit_stage stage;
    int status = db->failed;
    if (status) return status;
    begin_rows_again(db);
    do {
        stage = db->audit.stage;
        status = step_stage(db, entries);
    } while (status >= 0 && db->audit.stage > stage);
    return status < 0 ? status : sk_audit_pending(db);
}

/* What was changed so far goes to the disk if it is much: what has become of a fold or an audit after a step is a state like
 * any other. */
static int commit_part(sk_db *db)
{
    enum { PART_BYTES = 1 << 20 };
    uint64_t durable;
    if (sk_store_open_bytes(db->store) < PART_BYTES) return 0;
    (void)sk_db_seal(db);
    int status = sk_store_flush(db->store);
    return status ? status : sk_store_reap(db->store, &durable); /* it lets go of what is in its place */
}

/* The history is not renewed before all is folded in. */
int sk_audit_finish(sk_db *db)
{
    enum { ROWS = 256, ENTRIES = 4096 };
    int more = 1, status = 0;
    while (!status && more > 0) {
        bool folds = sk_fold_active(db);
        more = folds ? sk_fold_step(db, ROWS) : sk_audit_step(db, ENTRIES);
        status = more < 0 ? more : commit_part(db);
        more |= folds;
    }
    return status;
}
