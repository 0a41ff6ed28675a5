#include "node/repair.h"

#include "node/audit.h"
#include "node/correct.h"

#define EFFORT ((uint64_t)1 << 26) /* of a repair */

void sk_repair_free(sk_repair *repair)
{
    sk_row_keys_free(&repair->recent);
    sk_row_keys_free(&repair->removed);
    sk_row_keys_free(&repair->foreign);
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

/* Rows that other regions changed above the sender's vector, as often as they did. */
static int find_foreign(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors)
{
    sk_vv above = {0};
    sk_row_keys_free(&repair->foreign);
    sk_vv_copy(&above, vectors->vv);
    sk_vv_set(&above, db->own, sk_vv_get(&db->vv, db->own));
    int status = rows_above(db, &above, &repair->foreign, NULL);
    sk_vv_free(&above);
    return status;
}

static int begin(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors)
{
    if (repair->begun) return 0;
    sk_repair_free(repair);
    repair->effort = EFFORT;
    int status = rows_above(db, vectors->vv, &repair->recent, &repair->removed);
    if (!status) status = find_foreign(db, repair, vectors);
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

/* A row becomes what was committed. */
static int put_committed(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *row)
{
    int status = sk_db_row_mend(db, name, old, row);
    if (!status) sk_audit_name(db, name->raw, true);
    return status;
}

static int stored_of(sk_db *db, sk_bytes raw, sk_arena *arena, sk_bytes *stored)
{
    int found = sk_store_get(db->store, SK_CF_ROW, raw, stored, NULL);
    *stored = found > 0 ? sk_arena_copy(arena, *stored) : SK_BYTES_NONE;
    return found < 0 ? found : 0;
}

/* By what tells whether a removal takes it. */
static bool has_entry(const sk_row *row, const sk_entry *entry)
{
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *one = &row->entries[i];
        bool same = one->dot.origin == entry->dot.origin && one->dot.seq == entry->dot.seq;
        if (one->kind == SK_ENTRY_COUNT || entry->kind == SK_ENTRY_COUNT)
            same = same && one->kind == entry->kind && one->count.base_seq == entry->count.base_seq;
        if (same && sk_entry_class_of(one) == sk_entry_class_of(entry)) return true;
    }
    return false;
}

/* Would a row get back what another region may have removed? A removal that came when it was damaged did not find it, and the sums
 * went on with what was there. (Of a row that makes no sense nothing is left by what comes.) */
static bool may_be_removed(const sk_db *db, const sk_repair *repair, const sk_repair_vectors *vectors, sk_bytes raw,
                           const sk_row *stored, const sk_row *right)
{
    bool may = false;
    for (uint32_t i = 0; i < right->count && !may; i++) {
        const sk_entry *entry = &right->entries[i];
        bool theirs = entry->dot.origin != db->own && !sk_vv_covers(vectors->vv, entry->dot);
        may = !has_entry(stored, entry) && sk_row_keys_times(&repair->foreign, raw) > theirs;
    }
    return may;
}

/* A row becomes what it was, if it is wrong in one byte and no other is wrong. 1, 0, or an error. */
static int correct(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, const sk_row_name *name, sk_arena *arena,
                   sk_row *right)
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
    if (found <= 0 || (sense && may_be_removed(db, repair, vectors, name->raw, &read, right))) return found < 0 ? found : 0;
    if (!sense) {
        read = (sk_row){0};
        status = sk_sums_take_out(db, name->raw);
    }
    if (!status) status = put_committed(db, name, &read, right);
    return status ? status : 1;
}

static int correct_recent(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, sk_bytes raw)
{
    sk_arena arena = {0};
    sk_row_name name = {.raw = raw};
    sk_row right;
    int status = sk_rowkey_parse(raw, &arena, &name.key) ? 0 : correct(db, repair, vectors, &name, &arena, &right);
    sk_arena_free(&arena);
    return status < 0 ? status : 0;
}

/* Is there nothing of what only we know to have been put, though nothing that only removes was? Of the operations above the
 * sender's vector one at least was seen by no other: what it put is there, or damage took it. */
static bool is_gone(const sk_repair *repair, const sk_repair_vectors *vectors, sk_bytes raw, const sk_row *ours)
{
    for (uint32_t i = 0; i < ours->count; i++) {
        const sk_entry *entry = &ours->entries[i];
        if (sk_entry_live(entry) && !sk_vv_covers(vectors->vv, entry->dot)) return false;
    }
    return !sk_row_keys_has(&repair->removed, raw);
}

static int look_for_gone(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, sk_bytes raw)
{
    sk_arena arena = {0};
    sk_row ours;
    int status = sk_db_row(db, raw, &arena, &ours);
    repair->unsure |= status == SK_E_CORRUPT || (!status && is_gone(repair, vectors, raw, &ours));
    sk_arena_free(&arena);
    return status == SK_E_CORRUPT ? 0 : status;
}

static bool first_of_its_key(const sk_row_keys *keys, uint32_t i)
{
    return i == 0 || !sk_bytes_equal(keys->keys[i], keys->keys[i - 1]);
}

int sk_repair_finish(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors)
{
    int status = begin(db, repair, vectors);
    if (!status && !adds_up(db)) status = find_foreign(db, repair, vectors); /* more may have come meanwhile */
    const sk_row_keys *recent = &repair->recent;
    for (uint32_t i = 0; i < recent->count && !status && !adds_up(db); i++)
        if (first_of_its_key(recent, i)) status = correct_recent(db, repair, vectors, recent->keys[i]);
    if (adds_up(db)) return status;
    repair->doubtful = recent->count > 0;
    for (uint32_t i = 0; i < recent->count && !status; i++)
        if (first_of_its_key(recent, i)) status = look_for_gone(db, repair, vectors, recent->keys[i]);
    return status;
}

/* What stands under this key may have stood under another, that history names and that is not there. 1: but then it may have been
 * removed there since, of which nothing is seen here. */
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
    if (status || other.data) return status;
    return sk_row_keys_has(&repair->removed, name.raw) ? 1 : put_committed(db, &name, &(sk_row){0}, &moved);
}

/* -- what others bear out ------------------------------------------------------------------------------------------ */

/* The count of the same region in a row, which that of an entry takes the place of. `count`: there is none. */
static uint32_t same_count(const sk_row *row, const sk_entry *entry)
{
    uint32_t at = 0;
    while (at < row->count && (entry->kind != SK_ENTRY_COUNT || row->entries[at].kind != SK_ENTRY_COUNT ||
                               row->entries[at].dot.origin != entry->dot.origin))
        at++;
    return at;
}

static sk_digest entry_digest(const sk_db *db, sk_bytes raw, const sk_entry *entry)
{
    sk_row alone = {.entries = (sk_entry *)(uintptr_t)entry, .count = 1};
    return sk_row_digest(&db->origins, raw, &alone);
}

static bool same_entry(const sk_db *db, sk_bytes raw, const sk_entry *ours, const sk_entry *theirs)
{
    if (ours->kind == SK_ENTRY_COUNT) return entry_digest(db, raw, ours) == entry_digest(db, raw, theirs);
    return ours->kind == theirs->kind && ours->dot.origin == theirs->dot.origin && ours->dot.seq == theirs->dot.seq;
}

/* Is every entry of ours one that the sender has too, or one that our history names? One that the sender has removed goes in the
 * merge. (Of entries with the same dot it takes the sender's; but of a count it may take our base: one that differs, and that the
 * sender has seen, may be damaged whatever history names.) */
static int borne_out(sk_db *db, const sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row, bool *sound)
{
    int status = 0;
    *sound = !is_gone(repair, vectors, row->name.raw, &row->ours);
    for (uint32_t i = 0; i < row->ours.count && *sound && status >= 0; i++) {
        const sk_entry *entry = &row->ours.entries[i];
        bool found = false;
        for (uint32_t k = 0; k < row->theirs->count && !found; k++)
            found = same_entry(db, row->name.raw, entry, &row->theirs->entries[k]);
        bool differs = entry->kind == SK_ENTRY_COUNT && same_count(row->theirs, entry) < row->theirs->count;
        if (!found && !(differs && sk_vv_covers(vectors->vv, entry->dot))) {
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

/* Ours, with room for as many entries as theirs has. SK_E_MEMORY. */
static int with_room(const sk_repair_row *row, sk_arena *arena, sk_row *with)
{
    const sk_row *ours = &row->ours;
    *with = *ours;
    with->entries = sk_arena_take(arena, ((size_t)ours->count + row->theirs->count) * sizeof *with->entries);
    if (!with->entries) return SK_E_MEMORY;
    if (ours->count) memcpy(with->entries, ours->entries, ours->count * sizeof *ours->entries);
    return 0;
}

int sk_repair_with_dead(const sk_db *db, const sk_repair_row *row, sk_arena *arena, sk_row *with)
{
    const sk_row *ours = &row->ours, *theirs = row->theirs;
    *with = *ours;
    if (!sk_row_has_dead(theirs)) return 0;
    int status = with_room(row, arena, with);
    if (status) return status;
    for (uint32_t i = 0; i < theirs->count; i++) {
        const sk_entry *entry = &theirs->entries[i];
        bool dead = !sk_entry_live(entry) && !sk_vv_covers(&db->floor, entry->count.reset_by);
        if (dead && same_count(ours, entry) == ours->count) with->entries[with->count++] = *entry;
    }
    sk_row_sort(with);
    return 0;
}

static sk_digest live_digest(const sk_db *db, const sk_repair_row *of, const sk_row *row)
{
    return sk_row_digest(&db->origins, of->name.raw, row);
}

/* Of a row that is the same otherwise, dead counts that damage took come back. */
static int give_back_dead(sk_db *db, const sk_repair_row *row, sk_arena *arena)
{
    sk_row with;
    sk_row_sums more;
    int status = sk_repair_with_dead(db, row, arena, &with);
    if (status || with.count == row->ours.count) return status;
    uint64_t rest = sk_row_rest(row->name.raw, &with) - sk_row_rest(row->name.raw, &row->ours);
    bool committed = lacks(db, &more) && more.rest == rest; /* it was lost after it was reset */
    return (committed ? sk_db_row_mend : sk_db_row_put)(db, &row->name, &row->ours, &with);
}

/* A row of which the sender has seen all that we know. */
static int judge_seen(sk_db *db, sk_repair *repair, const sk_repair_row *row, sk_arena *arena, sk_repair_outcome *outcome)
{
    if (row->sense && row->is_key && row->theirs->count && live_digest(db, row, &row->ours) == live_digest(db, row, row->theirs))
        return give_back_dead(db, row, arena);
    int status = put_under_its_key(db, repair, row, arena);
    repair->unsure |= status > 0;
    if (status == 0) *outcome = SK_REPAIR_REPLACES;
    return status < 0 ? status : 0;
}

int sk_repair_judge(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, sk_repair_row *row, sk_arena *arena,
                    sk_repair_outcome *outcome)
{
    int status = begin(db, repair, vectors);
    *outcome = SK_REPAIR_LEAVES;
    if (status || is_held(db, repair, row)) return status;
    if (!sk_row_keys_has(&repair->recent, row->name.raw)) return judge_seen(db, repair, row, arena, outcome);
    bool sound = row->sense && !db->audit.lost_rows && adds_up(db);
    if (!sound) {
        sk_row right;
        int corrected = correct(db, repair, vectors, &row->name, arena, &right);
        if (corrected < 0) return corrected;
        if (corrected) *row = (sk_repair_row){row->name, true, true, right, row->theirs};
        sound = corrected;
    }
    if (!sound && row->sense) status = borne_out(db, repair, vectors, row, &sound);
    repair->unsure |= !sound;
    if (sound) *outcome = SK_REPAIR_MERGES;
    return status;
}

/* Has the sender, as far as can be told, done nothing to it that we have not seen? What it removed it may have forgotten. */
static bool is_known(const sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row)
{
    return sk_vv_at_most(vectors->floor, vectors->known) && !sk_row_keys_has(&repair->news, row->name.raw);
}

/* Does ours lack nothing but removals? */
static bool lacks_no_entry(const sk_db *db, const sk_repair_row *row)
{
    for (uint32_t i = 0; i < row->theirs->count; i++) {
        const sk_digest theirs = entry_digest(db, row->name.raw, &row->theirs->entries[i]);
        uint32_t at = 0;
        while (at < row->ours.count && entry_digest(db, row->name.raw, &row->ours.entries[at]) != theirs) at++;
        if (at == row->ours.count) return false;
    }
    return true;
}

/* Was ours another row than the sender's? News is no damage. */
static bool differed(const sk_db *db, const sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row)
{
    if (!row->sense || !row->is_key) return true;
    if (!sk_row_covered(row->theirs, vectors->known)) return false;
    if (!is_known(repair, vectors, row) && lacks_no_entry(db, row)) return false;
    return sk_row_digest(&db->origins, row->name.raw, row->theirs) != sk_row_digest(&db->origins, row->name.raw, &row->ours);
}

/* What makes no sense was not added up as the empty row that it is taken for. */
static int take_out_nonsense(sk_db *db, const sk_repair_row *row)
{
    return row->sense && row->is_key ? 0 : sk_sums_take_out(db, row->name.raw);
}

int sk_repair_bring_news(sk_db *db, const sk_repair_vectors *vectors, const sk_repair_row *row, sk_arena *arena)
{
    const sk_row *ours = &row->ours, *theirs = row->theirs;
    sk_row with;
    if (!row->is_key || sk_row_covered(theirs, vectors->known)) return 0;
    int status = with_room(row, arena, &with);
    if (status) return status;
    for (uint32_t i = 0; i < theirs->count; i++) {
        const sk_entry *entry = &theirs->entries[i];
        if (sk_vv_covers(vectors->known, entry->dot)) continue;
        uint32_t at = same_count(ours, entry);
        with.entries[at < ours->count ? at : with.count++] = *entry;
    }
    sk_row_sort(&with);
    status = take_out_nonsense(db, row);
    return status ? status : sk_db_row_put(db, &row->name, ours, &with);
}

int sk_repair_replace(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row,
                      const sk_row *merged)
{
    if (differed(db, repair, vectors, row)) sk_audit_name(db, row->name.raw, true);
    int status = take_out_nonsense(db, row);
    if (!status && !row->is_key)
        sk_store_remove(db->store, SK_CF_ROW, row->name.raw); /* damage made it */
    else if (!status && !db->audit.lost_rows && is_known(repair, vectors, row)) /* it is what was committed */
        status = sk_db_row_mend(db, &row->name, &row->ours, merged);
    else if (!status)
        status = sk_db_row_put(db, &row->name, &row->ours, merged);
    return status;
}
