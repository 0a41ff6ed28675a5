/* The history of a database (node/db.h, invariant 2): what is written to it, and what is forgotten. Declared in
 * node/db.h. */
#include "node/db.h"

#include "node/fold.h"
#include "node/record.h"

#include <stdlib.h>

/* -- writing ------------------------------------------------------------------------------------------------------------------ */

void sk_db_history_single(sk_db *db, sk_dot dot, sk_bytes raw, unsigned flags)
{
    sk_history_single_key(&db->pack, dot, raw);
    sk_record_put_byte(db->store, SK_CF_HISTORY, sk_buf_view(&db->pack), (uint8_t)flags);
    db->dirty = true;
}

void sk_db_history_stage(sk_db *db, sk_dot dot, sk_bytes raw, unsigned flags, sk_vv *kept)
{
    sk_db_history_single(db, dot, raw, flags);
    sk_vv_set(kept, dot.origin, sk_vv_get(kept, dot.origin) + db->pack.len + 1 + SK_RECORD_SUM_BYTES);
    if (flags & SK_HISTORY_DEAD) db->dead_flags++;
}

void sk_db_history_flush(sk_db *db)
{
    sk_history_page *page = &db->page;
    if (page->value.len == 0) return;
    uint8_t key[SK_HISTORY_DOT_BYTES];
    sk_history_key(key, page->origin, page->last);
    sk_record_put(db->store, SK_CF_HISTORY, sk_bytes_of(key, sizeof key), &page->value);
    uint64_t bytes = sizeof key + page->value.len + SK_RECORD_SUM_BYTES;
    sk_vv_set(&db->kept, page->origin, sk_vv_get(&db->kept, page->origin) + bytes);
    page->written = (sk_dot){page->origin, page->last};
    sk_buf_reset(&page->value);
}

/* Singles stand for what no page can take: the rest of a transaction whose page is written, under a key that there is once.
 * And while a transfer is staged, whose singles may be of the same transactions. */
void sk_db_history_put(sk_db *db, sk_dot dot, sk_bytes raw, unsigned flags)
{
    sk_history_page *page = &db->page;
    bool staging = db->fold && !sk_fold_active(db);
    if (staging || !sk_history_page_takes(page, dot)) sk_db_history_flush(db);
    if (staging || (dot.origin == page->written.origin && dot.seq == page->written.seq)) {
        sk_db_history_stage(db, dot, raw, flags, &db->kept);
        return;
    }
    sk_history_page_add(page, dot, raw, flags);
    db->dirty = true;
    if (flags & SK_HISTORY_DEAD) db->dead_flags++;
}

/* -- reading ------------------------------------------------------------------------------------------------------------------ */

static int has_entry(sk_history_record *record, sk_dot dot, sk_bytes raw, unsigned *flags)
{
    sk_history_entry entry;
    while (sk_history_next(record, &entry)) {
        if (entry.dot.origin != dot.origin || entry.dot.seq != dot.seq || !sk_bytes_equal(entry.raw, raw)) continue;
        *flags = entry.flags;
        return 1;
    }
    return 0;
}

/* The first record in the store that goes up to a dot of what this node has applied itself: that dot's page, if it has one and
 * that is not still being made. 1, 0, or an error. The iterator is the caller's, and lends key and record. */
static int seek_page(sk_db *db, sk_dot dot, sk_store_iter **iter, sk_bytes *key, sk_history_record *record)
{
    uint8_t from[SK_HISTORY_DOT_BYTES], to[SK_HISTORY_DOT_BYTES];
    sk_bytes stored;
    sk_history_key(from, dot.origin, dot.seq);
    sk_history_key(to, dot.origin, sk_vv_get(&db->vv, dot.origin) + 1);
    *iter = sk_store_iterate(db->store, NULL, SK_CF_HISTORY, sk_bytes_of(from, sizeof from), sk_bytes_of(to, sizeof to));
    int found = sk_store_next(db->store, *iter, key, &stored);
    int status = found > 0 ? sk_history_open(*key, stored, &db->floor, record) : 0;
    return status ? status : found;
}

static int find_in_page(sk_db *db, sk_dot dot, sk_bytes raw, unsigned *flags)
{
    sk_store_iter *iter;
    sk_bytes key;
    sk_history_record record;
    int found = seek_page(db, dot, &iter, &key, &record);
    if (found == 0) record = sk_history_page_read(&db->page);
    if (found >= 0) found = has_entry(&record, dot, raw, flags);
    sk_store_iter_free(db->store, iter);
    return found;
}

/* The page that has this dot becomes singles, so that one of its entries can be another. */
static int dissolve_page(sk_db *db, sk_dot dot)
{
    sk_store_iter *iter;
    sk_bytes key;
    sk_history_record record;
    sk_history_entry entry;
    sk_db_history_flush(db);
    int found = seek_page(db, dot, &iter, &key, &record);
    if (found > 0 && record.page && record.first <= dot.seq) {
        while (sk_history_next(&record, &entry)) sk_db_history_single(db, entry.dot, entry.raw, entry.flags);
        sk_store_remove(db->store, SK_CF_HISTORY, key);
    }
    sk_store_iter_free(db->store, iter);
    return found < 0 ? found : 0;
}

int sk_db_history_record_dead(sk_db *db, sk_dot dot, sk_bytes raw)
{
    bool in_page = sk_vv_covers(&db->vv, dot) && !sk_vv_covers(&db->floor, dot); /* it may be */
    int status = in_page ? dissolve_page(db, dot) : 0;
    if (status == SK_E_CORRUPT) { /* it begins anew */
        sk_audit_history_damaged(db);
        status = 0;
    }
    if (status) return status;
    sk_db_history_single(db, dot, raw, SK_HISTORY_REMOVES | SK_HISTORY_DEAD);
    if (sk_vv_covers(&db->floor, dot)) sk_db_revisit_anew(db);
    else if (!sk_vv_covers(&db->scan_until, dot)) db->dead_flags++;
    return 0;
}

int sk_db_history_find(sk_db *db, sk_dot dot, sk_bytes raw, unsigned *flags)
{
    sk_buf key = {0};
    sk_bytes value;
    sk_history_single_key(&key, dot, raw);
    int found = sk_record_get(db->store, SK_CF_HISTORY, sk_buf_view(&key), &value, NULL);
    sk_buf_free(&key);
    *flags = found > 0 && value.len == 1 ? value.data[0] : 0;
    if (found || sk_vv_covers(&db->floor, dot) || !sk_vv_covers(&db->vv, dot)) return found;
    return find_in_page(db, dot, raw, flags);
}

/* Of one origin above *seq, which rises to the last that was read: about `entries`, whole records. 1: there are more. */
static int add_rows(sk_db *db, uint32_t origin, uint64_t *seq, sk_row_keys *rows, sk_row_keys *removed, uint32_t *entries)
{
    uint8_t from[SK_HISTORY_DOT_BYTES], to[SK_HISTORY_DOT_BYTES];
    sk_history_key(from, origin, *seq + 1);
    sk_history_key(to, origin, db->vv.seq[origin] + 1);
    sk_store_iter *iter =
        sk_store_iterate(db->store, NULL, SK_CF_HISTORY, sk_bytes_of(from, sizeof from), sk_bytes_of(to, sizeof to));
    sk_bytes key, value;
    sk_history_record record;
    sk_history_entry entry;
    const uint64_t above = *seq;
    int status;
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        if (sk_history_open(key, value, NULL, &record)) {
            sk_audit_history_damaged(db);
            continue;
        }
        if (*entries == 0 && record.last != *seq) break;
        *seq = record.last;
        while (sk_history_next(&record, &entry)) {
            if (entry.dot.seq <= above) continue;
            if (*entries) --*entries;
            sk_row_keys_add(rows, entry.raw);
            if (removed && entry.flags & SK_HISTORY_REMOVES) sk_row_keys_add(removed, entry.raw);
        }
    }
    sk_store_iter_free(db->store, iter);
    if (status == 0) *seq = db->vv.seq[origin];
    return status;
}

int sk_db_history_rows(sk_db *db, sk_vv *above, sk_row_keys *rows, sk_row_keys *removed, uint32_t entries)
{
    int status = 0;
    sk_db_history_flush(db);
    for (uint32_t o = 0; o < db->vv.count && !status; o++) {
        uint64_t seq = sk_vv_get(above, o);
        if (db->vv.seq[o] <= seq) continue;
        status = add_rows(db, o, &seq, rows, removed, &entries);
        sk_vv_set(above, o, seq);
    }
    sk_row_keys_sort(rows);
    if (removed) sk_row_keys_sort(removed);
    return status;
}

/* -- forgetting -------------------------------------------------------------------------------------------------------------- */

/* Which dead counts may go, and what is left to do. */
typedef struct {
    const sk_vv *everywhere;
    bool *held; /* by origin: it may return */
} strip_rule;

static strip_rule make_rule(sk_db *db, const sk_vv *everywhere)
{
    strip_rule rule = {everywhere, sk_alloc(db->origins.count * sizeof(bool) + 1)};
    for (uint32_t o = 0; o < db->origins.count; o++) rule.held[o] = db->may_return && db->may_return(db->self, o);
    return rule;
}

/* Strips a row. *speaks: the record at `dot` still speaks of a dead count in it. Of a row that makes no sense nobody can say;
 * when it has been repaired all that stayed is gone through again. */
static int strip(sk_db *db, sk_dot dot, sk_bytes raw, const strip_rule *rule, bool *speaks)
{
    sk_row_name name = {.raw = raw};
    sk_row row, stripped;
    sk_arena_reset(&db->scratch);
    int status = sk_rowkey_parse(raw, &db->scratch, &name.key);
    if (!status) status = sk_db_row(db, raw, &db->scratch, &row);
    *speaks = status == SK_E_CORRUPT && sk_db_row_is_there(db, raw);
    if (*speaks) return 0;
    if (status || row.count == 0) return status;
    stripped = row;
    stripped.entries = sk_arena_take(&db->scratch, row.count * sizeof *row.entries);
    if (!stripped.entries) return SK_E_MEMORY;
    memcpy(stripped.entries, row.entries, row.count * sizeof *row.entries);
    if (sk_row_strip(&stripped, rule->everywhere, &db->origins, rule->held)) status = sk_db_row_put(db, &name, &row, &stripped);
    for (uint32_t i = 0; i < stripped.count; i++) {
        const sk_entry *entry = &stripped.entries[i];
        if (sk_entry_live(entry) || entry->count.reset_by.origin != dot.origin || entry->count.reset_by.seq != dot.seq)
            continue;
        if (sk_origins_open_ended(&db->origins, entry->dot.origin)) continue; /* it stays for good */
        *speaks = true;
        db->revisit_waits |= !rule->held[entry->dot.origin];
    }
    return status;
}

/* Its entries up to seq *to, which falls to *last, the last that was gone through, when that were enough. 1: to be gone on with. */
static int strip_record(sk_db *db, sk_history_record *record, uint64_t *to, const strip_rule *rule, uint32_t *entries,
                        uint64_t *last, sk_buf *kept)
{
    sk_history_entry entry;
    while (sk_history_next(record, &entry)) {
        bool speaks;
        if (*entries == 0 && *last && entry.dot.seq != *last) *to = *last;
        if (entry.dot.seq > *to) return 0;
        if (*entries) --*entries;
        *last = entry.dot.seq;
        if (!(entry.flags & SK_HISTORY_DEAD)) continue;
        if (db->dead_flags && !sk_vv_covers(&db->scan_until, entry.dot)) db->dead_flags--; /* others were never counted */
        int status = strip(db, entry.dot, entry.raw, rule, &speaks);
        if (status) return status;
        if (!speaks) continue;
        sk_history_single_key(&db->pack, entry.dot, entry.raw);
        sk_pack_bytes(kept, sk_buf_view(&db->pack));
    }
    return 1;
}

/* Goes through an origin's history from `from` up to seq *to, or less if that is more than *entries: whole transactions,
 * one at least. Strips the dead counts that it speaks of, and appends (behind lengths) the keys of singles for what still
 * speaks of one. The last record may be a page that *to is within. */
static int strip_range(sk_db *db, sk_bytes from, uint32_t origin, uint64_t *to, const strip_rule *rule, uint32_t *entries,
                       sk_buf *kept)
{
    uint8_t end[SK_HISTORY_DOT_BYTES];
    sk_history_key(end, origin + 1, 0);
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_HISTORY, from, sk_bytes_of(end, sizeof end));
    sk_bytes key, value;
    sk_history_record record = {0};
    uint64_t last = 0;
    int status = 1;
    while (status > 0 && record.last <= *to && (status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        if (sk_history_open(key, value, &db->floor, &record))
            sk_audit_history_damaged(db); /* it goes with the range */
        else
            status = strip_record(db, &record, to, rule, entries, &last, kept);
    }
    sk_store_iter_free(db->store, iter);
    return status < 0 ? status : 0;
}

static void put_kept(sk_db *db, sk_bytes kept)
{
    sk_reader reader = sk_reader_of(kept);
    while (sk_reader_left(&reader))
        sk_record_put_byte(db->store, SK_CF_HISTORY, sk_read_bytes(&reader), SK_HISTORY_REMOVES | SK_HISTORY_DEAD);
}

/* About the bytes of an origin's history above seq `from`, which is at or above the floor: their even share. */
static uint64_t kept_above(const sk_db *db, uint32_t origin, uint64_t from)
{
    uint64_t kept = sk_vv_get(&db->kept, origin), vv = sk_vv_get(&db->vv, origin);
    uint64_t floor = sk_vv_get(&db->floor, origin);
    return from < vv ? (uint64_t)((unsigned __int128)kept * (vv - from) / (vv - floor)) : 0;
}

uint64_t sk_db_kept(const sk_db *db, const sk_vv *has)
{
    uint64_t bytes = 0;
    for (uint32_t o = 0; o < db->kept.count; o++) {
        uint64_t from = has ? sk_vv_get(has, o) : 0, floor = sk_vv_get(&db->floor, o);
        bytes += kept_above(db, o, from > floor ? from : floor);
    }
    return bytes;
}

static int forget_origin(sk_db *db, uint32_t origin, uint64_t to, const strip_rule *rule, uint32_t *entries)
{
    uint8_t first[SK_HISTORY_DOT_BYTES], end[SK_HISTORY_DOT_BYTES];
    sk_history_key(first, origin, sk_vv_get(&db->floor, origin) + 1);
    sk_bytes first_key = {first, sizeof first}, end_key = {end, sizeof end};
    sk_buf kept = {0};
    int status = rule ? strip_range(db, first_key, origin, &to, rule, entries, &kept) : 0;
    if (!status) {
        sk_history_key(end, origin, to + 1);
        sk_store_remove_range(db->store, SK_CF_HISTORY, first_key, end_key);
        put_kept(db, sk_buf_view(&kept));
        sk_vv_set(&db->kept, origin, kept_above(db, origin, to));
        sk_vv_set(&db->floor, origin, to);
        db->dirty = true;
    }
    sk_buf_free(&kept);
    return status;
}

static int forget_up_to(sk_db *db, const sk_vv *stable, const sk_vv *everywhere, uint32_t entries)
{
    bool scan = db->dead_flags > 0 || !sk_vv_at_most(&db->scan_until, &db->floor), more = false;
    strip_rule rule = {0};
    if (scan) rule = make_rule(db, everywhere);
    sk_db_history_flush(db);
    for (uint32_t o = 0; o < stable->count && !db->failed; o++) {
        uint64_t to = stable->seq[o];
        if (to > sk_vv_get(&db->vv, o)) to = sk_vv_get(&db->vv, o);
        if (to <= sk_vv_get(&db->floor, o)) continue;
        if (entries) db->failed = forget_origin(db, o, to, scan ? &rule : NULL, &entries);
        more |= to > sk_vv_get(&db->floor, o);
    }
    free(rule.held);
    return db->failed ? db->failed : more;
}

int sk_db_forget_some(sk_db *db, const sk_vv *stable, const sk_vv *everywhere, uint32_t entries)
{
    /* A staged transfer may be brought forward by history that only its sender has; ours can go. But rows not yet folded
     * could hold dead counts that no later visit would find: wait. And a repair goes by all that others lack. */
    if (db->failed || sk_fold_active(db) || sk_fold_waits_for_history(db) || sk_audit_needs_history(db)) return 0;
    if (db->revisit_waits && !sk_vv_equal(everywhere, &db->revisit_by)) db->revisit = true;
    return forget_up_to(db, stable, everywhere, entries) > 0;
}

int sk_db_forget_inherited(sk_db *db, const sk_vv *floor, uint32_t entries)
{
    static const sk_vv nowhere; /* dead counts that came with it are there for a reason */
    return db->failed ? db->failed : forget_up_to(db, floor, &nowhere, entries);
}

void sk_db_forget(sk_db *db, const sk_vv *stable, const sk_vv *everywhere)
{
    while (sk_db_forget_some(db, stable, everywhere, UINT32_MAX)) continue;
}

/* What is named as an origin's above its vector, or of no origin that there is, nobody has written. */
static void drop_beyond_vector(sk_db *db)
{
    uint8_t from[SK_HISTORY_DOT_BYTES], to[SK_HISTORY_DOT_BYTES];
    for (uint32_t o = 0; o < db->vv.count; o++) {
        sk_history_key(from, o, db->vv.seq[o] + 1);
        sk_history_key(to, o + 1, 0);
        sk_store_remove_range(db->store, SK_CF_HISTORY, sk_bytes_of(from, sizeof from), sk_bytes_of(to, sizeof to));
    }
    sk_history_key(from, db->vv.count, 0);
    sk_store_remove_range(db->store, SK_CF_HISTORY, sk_bytes_of(from, sizeof from), SK_BYTES_NONE);
}

int sk_db_history_renew(sk_db *db)
{
    if (sk_fold_active(db)) return SK_E_BUSY;
    sk_fold_drop_staged(db);
    sk_db_history_flush(db);
    drop_beyond_vector(db);
    sk_vv_clear(&db->kept); /* nothing is above the floor */
    sk_vv_copy(&db->floor, &db->vv);
    sk_vv_copy(&db->scan_until, &db->vv);
    db->dead_flags = 0;
    db->dirty = true;
    return 0;
}

void sk_db_history_clear(sk_db *db, sk_bytes key, sk_bytes value)
{
    sk_dot dot;
    sk_bytes raw;
    sk_history_record record;
    sk_history_entry entry;
    bool sound = sk_history_open(key, value, NULL, &record) == 0;
    if (sound && !record.page && record.next.flags & SK_HISTORY_DEAD) return;
    if (sk_history_parse(key, &dot, &raw) && !sk_vv_covers(&db->floor, dot)) return; /* of what came since */
    while (sound && record.page && sk_history_next(&record, &entry))
        if (entry.flags & SK_HISTORY_DEAD) sk_db_history_single(db, entry.dot, entry.raw, entry.flags);
    sk_store_remove(db->store, SK_CF_HISTORY, key);
    db->dirty = true;
}

/* A record that stayed: it goes if nothing of it speaks of a dead count any more. A page, left from a renewal that a crash has
 * cut short, goes either way, singles of what does stay. */
static int revisit_record(sk_db *db, sk_bytes key, sk_history_record *record, const strip_rule *rule)
{
    sk_history_entry entry;
    bool speaks = false;
    int status = 0;
    while (!status && sk_history_next(record, &entry)) {
        status = strip(db, entry.dot, entry.raw, rule, &speaks);
        if (!status && speaks && record->page)
            sk_db_history_single(db, entry.dot, entry.raw, SK_HISTORY_REMOVES | SK_HISTORY_DEAD);
    }
    if (status || (speaks && !record->page)) return status;
    sk_store_remove(db->store, SK_CF_HISTORY, key);
    db->dirty = true;
    return 0;
}

/* Looks at up to *entries records of what stayed of one origin, from `revisit_from` on. 1: there is more of it. */
static int revisit_origin(sk_db *db, sk_bytes from, sk_bytes end, const strip_rule *rule, uint32_t *entries)
{
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_HISTORY, from, end);
    sk_bytes key, value;
    sk_history_record record;
    int status = 0;
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        if (*entries == 0) {
            sk_buf_reset(&db->revisit_from);
            sk_buf_bytes(&db->revisit_from, key);
            break;
        }
        --*entries;
        if (sk_history_open(key, value, NULL, &record)) sk_audit_history_damaged(db);
        status = revisit_record(db, key, &record, rule);
        if (status) break;
    }
    sk_store_iter_free(db->store, iter);
    return status;
}

void sk_db_revisit_anew(sk_db *db)
{
    db->revisit = true;
    sk_buf_reset(&db->revisit_from);
}

int sk_db_revisit(sk_db *db, const sk_vv *everywhere, uint32_t entries)
{
    if (db->failed) return db->failed;
    if (!db->revisit || sk_fold_active(db)) return 0;
    if (sk_audit_needs_history(db)) return 0; /* a repair may bring back the dead count that it speaks of */
    if (db->revisit_from.len == 0) { /* it begins anew */
        db->revisit_waits = false;
        sk_vv_copy(&db->revisit_by, everywhere);
    }
    sk_dot dot = {0};
    sk_bytes raw;
    if (db->revisit_from.len) sk_history_parse(sk_buf_view(&db->revisit_from), &dot, &raw);
    strip_rule rule = make_rule(db, everywhere);
    int status = 0;
    for (uint32_t o = dot.origin; o < db->floor.count && status == 0; o++) {
        uint8_t first[SK_HISTORY_DOT_BYTES], end[SK_HISTORY_DOT_BYTES];
        sk_history_key(first, o, 0);
        sk_history_key(end, o, db->floor.seq[o] + 1);
        sk_buf from = {0};
        bool goes_on = o == dot.origin && db->revisit_from.len;
        sk_buf_bytes(&from, goes_on ? sk_buf_view(&db->revisit_from) : sk_bytes_of(first, sizeof first));
        status = revisit_origin(db, sk_buf_view(&from), sk_bytes_of(end, sizeof end), &rule, &entries);
        sk_buf_free(&from);
    }
    free(rule.held);
    if (status == 0) {
        db->revisit = db->revisit_waits && !sk_vv_equal(everywhere, &db->revisit_by); /* it has moved meanwhile */
        sk_buf_reset(&db->revisit_from);
    }
    if (status < 0) db->failed = status;
    return status;
}
