#include "node/repair.h"

#include "node/audit.h"
#include "node/correct.h"

#define EFFORT ((uint64_t)1 << 26) /* of a repair */

void sk_repair_free(sk_repair *repair)
{
    sk_row_keys_free(&repair->recent);
    sk_row_keys_free(&repair->removed);
    sk_row_keys_free(&repair->news);
}

static int rows_above(sk_db *db, const sk_vv *vv, sk_row_keys *rows, sk_row_keys *removed)
{
    sk_vv above = {0};
    sk_vv_copy(&above, vv);
    int status;
    do status = sk_db_history_rows(db, &above, rows, removed, UINT32_MAX);
    while (status > 0);
    sk_vv_free(&above);
    return status;
}

static int begin(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors)
{
    if (repair->begun) return 0;
    sk_repair_free(repair);
    repair->effort = EFFORT;
    int status = rows_above(db, vectors->vv, &repair->recent, &repair->removed);
    if (!status) status = rows_above(db, vectors->known, &repair->news, NULL);
    repair->begun = status == 0;
    return status;
}

/* -- what was committed -------------------------------------------------------------------------------------------- */

/* How much less all rows come to than was committed. False: that is not known at present. Rows that make no sense are in the digest
 * alone. */
static bool lacks(const sk_db *db, sk_row_sums *more)
{
    const sk_sums *sums = &db->sums;
    if (sums->state != SK_SUMS_DIFFERENT && sums->state != SK_SUMS_VERIFIED) return false;
    *more = (sk_row_sums){db->digest - sums->sum, db->rest - sums->counts.rest};
    return true;
}

/* Is there nothing wrong? */
static bool adds_up(const sk_db *db)
{
    sk_row_sums more;
    return lacks(db, &more) && !more.digest && !more.rest;
}

/* What is stored of a row goes: it counts as it was added up. */
static int take_out(sk_db *db, sk_bytes raw, sk_bytes stored, sk_arena *arena)
{
    static const sk_row_counts none;
    static const sk_row empty;
    sk_row row;
    sk_digest digest;
    bool sense;
    int status = sk_sums_digest(db, raw, stored, arena, &row, &digest, &sense);
    if (!status) sk_sums_change(&db->sums, raw, digest, 0, &none, &empty, db->sealed + 1);
    return status;
}

/* A row becomes what was committed. */
static int put_committed(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *row)
{
    int status = sk_db_row_mend(db, name, old, row);
    if (!status) status = sk_audit_record_dead(db, name->raw, row);
    if (!status) sk_audit_name(db, name->raw, true);
    return status;
}

static int stored_of(sk_db *db, sk_bytes raw, sk_arena *arena, sk_bytes *stored)
{
    int found = sk_store_get(db->store, SK_CF_ROW, raw, stored, NULL);
    *stored = found > 0 ? sk_arena_copy(arena, *stored) : SK_BYTES_NONE;
    return found < 0 ? found : 0;
}

/* A row becomes what it was, if it is wrong in one byte and no other is wrong. 1, 0, or an error. */
static int correct(sk_db *db, sk_repair *repair, const sk_row_name *name, sk_arena *arena, sk_row *right)
{
    sk_bytes stored;
    sk_digest digest;
    sk_row_sums more;
    sk_row read;
    bool sense;
    int status = stored_of(db, name->raw, arena, &stored);
    if (status || !stored.data || !lacks(db, &more) || adds_up(db)) return status;
    status = sk_sums_digest(db, name->raw, stored, arena, &read, &digest, &sense);
    more.digest += digest;
    if (!status && sense) more.rest += sk_row_rest(name->raw, &read);
    int found = status ? status : sk_correct_row(db, name->raw, stored, more, &repair->effort, arena, right);
    if (found <= 0) return found;
    if (!sense) {
        read = (sk_row){0};
        status = take_out(db, name->raw, stored, arena);
    }
    if (!status) status = put_committed(db, name, &read, right);
    return status ? status : 1;
}

int sk_repair_finish(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors)
{
    int status = begin(db, repair, vectors);
    for (uint32_t i = 0; i < repair->recent.count && status >= 0 && !adds_up(db); i++) {
        sk_arena arena = {0};
        sk_row_name name = {.raw = repair->recent.keys[i]};
        sk_row right;
        bool again = i && sk_bytes_equal(name.raw, repair->recent.keys[i - 1]);
        if (!again && sk_rowkey_parse(name.raw, &arena, &name.key) == 0) status = correct(db, repair, &name, &arena, &right);
        sk_arena_free(&arena);
    }
    return status < 0 ? status : 0;
}

/* What stands under this key may have stood under another, that history names and that is not there. */
static int put_under_its_key(sk_db *db, sk_repair *repair, const sk_repair_row *row, sk_arena *arena)
{
    sk_bytes stored, other;
    sk_digest digest;
    sk_row_sums more;
    sk_row read, moved;
    bool sense;
    int status = stored_of(db, row->name.raw, arena, &stored);
    if (status || !stored.data || !lacks(db, &more) || !more.digest) return status;
    status = sk_sums_digest(db, row->name.raw, stored, arena, &read, &digest, &sense);
    if (status || sk_db_row_read(db, stored, arena, &moved)) return status;
    sk_row_name name = {
        .raw = sk_correct_key(db, &repair->recent, row->name.raw, &moved, digest + more.digest, &repair->effort)};
    if (!name.raw.data || sk_rowkey_parse(name.raw, arena, &name.key)) return 0;
    status = stored_of(db, name.raw, arena, &other);
    return status || other.data ? status : put_committed(db, &name, &(sk_row){0}, &moved);
}

/* -- what others bear out ------------------------------------------------------------------------------------------ */

static bool same_entry(const sk_db *db, sk_bytes raw, const sk_entry *ours, const sk_entry *theirs)
{
    sk_row one = {.entries = (sk_entry *)(uintptr_t)ours, .count = 1}, other = {.entries = (sk_entry *)(uintptr_t)theirs, .count = 1};
    if (ours->kind == SK_ENTRY_COUNT) return sk_row_digest(&db->origins, raw, &one) == sk_row_digest(&db->origins, raw, &other);
    return ours->kind == theirs->kind && ours->dot.origin == theirs->dot.origin && ours->dot.seq == theirs->dot.seq;
}

/* Is there nothing, though the sender has something that we knew of, and nothing that only removes was done since? */
static bool is_gone(const sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row)
{
    bool had = false;
    for (uint32_t i = 0; i < row->theirs->count; i++)
        had |= sk_entry_live(&row->theirs->entries[i]) && sk_vv_covers(vectors->known, row->theirs->entries[i].dot);
    return had && row->ours.count == 0 && !sk_row_keys_has(&repair->removed, row->name.raw);
}

/* Is every entry of ours one that the sender has too, or one that our history above its vector names? (Of entries with the
 * same dot the merge takes the sender's; but of a count it may take our base.) */
static int borne_out(sk_db *db, const sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row, bool *sound)
{
    int status = 0;
    *sound = !is_gone(repair, vectors, row);
    for (uint32_t i = 0; i < row->ours.count && *sound && status >= 0; i++) {
        const sk_entry *entry = &row->ours.entries[i];
        bool found = false;
        for (uint32_t k = 0; k < row->theirs->count && !found; k++)
            found = same_entry(db, row->name.raw, entry, &row->theirs->entries[k]);
        if (!found && !sk_vv_covers(vectors->vv, entry->dot)) {
            unsigned flags;
            status = sk_db_history_find(db, entry->dot, row->name.raw, &flags);
            found = status > 0;
        }
        *sound = found;
    }
    return status < 0 ? status : 0;
}

/* -- a row --------------------------------------------------------------------------------------------------------- */

/* Is it one that differs from another region's for reasons that nobody knows? A repair is for damage of the disk. */
static bool is_held(const sk_db *db, const sk_repair *repair, const sk_repair_row *row)
{
    return row->sense && sk_quarantine_holds(db, row->name.raw, &row->ours) && !sk_row_keys_has(&repair->news, row->name.raw);
}

int sk_repair_judge(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, sk_repair_row *row, sk_arena *arena,
                    sk_repair_outcome *outcome)
{
    int status = begin(db, repair, vectors);
    *outcome = SK_REPAIR_LEAVES;
    if (row->sense && !sk_row_covered(&row->ours, &db->vv)) { /* then it makes none (node/sums.h) */
        row->sense = false;
        row->ours = (sk_row){0};
    }
    if (status || is_held(db, repair, row)) return status;
    if (!sk_row_keys_has(&repair->recent, row->name.raw)) {
        *outcome = SK_REPAIR_REPLACES;
        return put_under_its_key(db, repair, row, arena);
    }
    bool sound = row->sense && !db->audit.lost_rows && adds_up(db);
    if (!sound) {
        sk_row right;
        int corrected = correct(db, repair, &row->name, arena, &right);
        if (corrected < 0) return corrected;
        if (corrected) *row = (sk_repair_row){row->name, true, true, right, row->theirs};
        sound = corrected;
    }
    if (!sound && row->sense) status = borne_out(db, repair, vectors, row, &sound);
    repair->unsure |= !sound;
    if (sound) *outcome = SK_REPAIR_MERGES;
    return status;
}

/* Is what the sender has of it what we had committed? */
static bool was_committed(const sk_db *db, const sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row)
{
    return !db->audit.lost_rows && sk_vv_at_most(vectors->floor, vectors->known) && !sk_row_keys_has(&repair->news, row->name.raw);
}

/* Was ours another row than the sender's? News is no damage. */
static bool differed(const sk_db *db, const sk_repair_vectors *vectors, const sk_repair_row *row)
{
    if (!row->sense || !row->is_key) return true;
    if (!sk_row_covered(row->theirs, vectors->known)) return false;
    return sk_row_digest(&db->origins, row->name.raw, row->theirs) != sk_row_digest(&db->origins, row->name.raw, &row->ours);
}

int sk_repair_replace(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row,
                      const sk_row *merged)
{
    sk_arena arena = {0};
    sk_bytes stored;
    int status = 0;
    if (differed(db, vectors, row)) sk_audit_name(db, row->name.raw, true);
    if (!row->sense || !row->is_key) { /* it was not added up as the empty row that it is taken for */
        status = stored_of(db, row->name.raw, &arena, &stored);
        if (!status && stored.data) status = take_out(db, row->name.raw, stored, &arena);
    }
    if (!status && !row->is_key)
        sk_store_remove(db->store, SK_CF_ROW, row->name.raw); /* damage made it */
    else if (!status && was_committed(db, repair, vectors, row))
        status = sk_db_row_mend(db, &row->name, &row->ours, merged);
    else if (!status)
        status = sk_db_row_put(db, &row->name, &row->ours, merged);
    if (!status && row->is_key) status = sk_audit_record_dead(db, row->name.raw, merged);
    sk_arena_free(&arena);
    return status;
}
