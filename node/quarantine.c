#include "node/quarantine.h"

#include "node/fold.h"
#include "node/record.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static const sk_bytes PREFIX = {(const uint8_t *)"quarantine/", 11}, UNNAMED = {(const uint8_t *)"unnamed/", 8};

enum {
    DOTS_MAX = 8,             /* of a row, told */
    PAGE_MARKS = 4096,        /* in a record */
    HISTORY_A_ROW = 8,        /* entries that are read as fast as a row is looked at */
};

/* -- the rows ------------------------------------------------------------------------------------------------------ */

static void free_row(sk_quarantined *row)
{
    free((void *)(uintptr_t)row->raw.data);
    free((void *)(uintptr_t)row->region.data);
    free((void *)(uintptr_t)row->ours.dots.data);
    free((void *)(uintptr_t)row->theirs.dots.data);
}

static void free_unnamed(sk_unnamed *unnamed)
{
    free((void *)(uintptr_t)unnamed->region.data);
    sk_marks_free(&unnamed->marks);
    *unnamed = (sk_unnamed){0};
}

static void end_comparison(sk_comparison *comparison)
{
    sk_buf_free(&comparison->region);
    sk_row_keys_free(&comparison->changed);
    sk_vv_free(&comparison->read);
    sk_buf_free(&comparison->cursor);
    free_unnamed(&comparison->unnamed);
    *comparison = (sk_comparison){0};
}

void sk_quarantine_init(sk_quarantine *quarantine)
{
    *quarantine = (sk_quarantine){.names_max = SK_QUARANTINE_MAX, .marks_max = SK_QUARANTINE_MARKS_MAX};
}

void sk_quarantine_free(sk_quarantine *quarantine)
{
    for (uint32_t i = 0; i < quarantine->count; i++) free_row(&quarantine->rows[i]);
    for (uint32_t i = 0; i < quarantine->unnamed_count; i++) free_unnamed(&quarantine->unnamed[i]);
    free(quarantine->rows);
    free(quarantine->unnamed);
    end_comparison(&quarantine->comparison);
    *quarantine = (sk_quarantine){.names_max = quarantine->names_max, .marks_max = quarantine->marks_max};
}

/* The first row at or above a key and a region. */
static uint32_t find(const sk_quarantine *quarantine, sk_bytes raw, sk_bytes region, bool *there)
{
    uint32_t low = 0, high = quarantine->count;
    int order = -1;
    *there = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const sk_quarantined *row = &quarantine->rows[middle];
        order = sk_bytes_compare(row->raw, raw);
        if (order == 0) order = sk_bytes_compare(row->region, region);
        *there |= order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static sk_quarantined *insert(sk_quarantine *quarantine, uint32_t at, sk_bytes raw, sk_bytes region)
{
    if (quarantine->count == quarantine->room) {
        quarantine->room = quarantine->room ? quarantine->room * 2 : 16;
        quarantine->rows = sk_realloc(quarantine->rows, quarantine->room * sizeof *quarantine->rows);
    }
    sk_quarantined *row = &quarantine->rows[at];
    memmove(row + 1, row, (quarantine->count - at) * sizeof *row);
    quarantine->count++;
    *row = (sk_quarantined){.raw = sk_bytes_copy(raw), .region = sk_bytes_copy(region)};
    return row;
}

/* -- on the disk --------------------------------------------------------------------------------------------------- */

static void record_key(sk_buf *key, const sk_quarantined *row)
{
    sk_buf_bytes(key, PREFIX);
    sk_buf_bytes(key, row->region);
    sk_buf_byte(key, '/');
    sk_buf_bytes(key, row->raw);
}

static void put(sk_db *db, const sk_quarantined *row)
{
    sk_buf key = {0};
    record_key(&key, row);
    sk_buf_reset(&db->pack);
    sk_pack_uint(&db->pack, row->ours.hash);
    sk_pack_bytes(&db->pack, row->ours.dots);
    sk_pack_uint(&db->pack, row->theirs.hash);
    sk_pack_bytes(&db->pack, row->theirs.dots);
    sk_pack_bool(&db->pack, row->resolve);
    sk_record_put(db->store, SK_CF_META, sk_buf_view(&key), &db->pack);
    db->dirty = true;
    sk_buf_free(&key);
}

static void strike(sk_db *db, uint32_t at)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_quarantined *row = &quarantine->rows[at];
    sk_buf key = {0};
    record_key(&key, row);
    sk_store_remove(db->store, SK_CF_META, sk_buf_view(&key));
    db->dirty = true;
    sk_buf_free(&key);
    free_row(row);
    quarantine->count--;
    quarantine->freed = true;
    memmove(row, row + 1, (quarantine->count - at) * sizeof *row);
}

static int load(sk_db *db, sk_bytes key, sk_bytes stored)
{
    sk_bytes value, rest = {key.data + PREFIX.len, key.len - PREFIX.len};
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    int status = sk_record_open(SK_CF_META, key, stored, &value);
    if (status || !slash) return SK_E_CORRUPT;
    sk_bytes region = {rest.data, (size_t)(slash - rest.data)};
    sk_bytes raw = {slash + 1, rest.len - region.len - 1};
    bool there;
    uint32_t at = find(&db->quarantine, raw, region, &there);
    sk_quarantined *row = insert(&db->quarantine, at, raw, region);
    sk_reader reader = sk_reader_of(value);
    row->ours.hash = sk_read_uint(&reader);
    row->ours.dots = sk_bytes_copy(sk_read_bytes(&reader));
    row->theirs.hash = sk_read_uint(&reader);
    row->theirs.dots = sk_bytes_copy(sk_read_bytes(&reader));
    row->resolve = sk_read_bool(&reader);
    return sk_reader_done(&reader) ? 0 : SK_E_CORRUPT;
}

/* What begins with a prefix, one after the other. */
static int load_all(sk_db *db, sk_bytes prefix, int (*load_one)(sk_db *db, sk_bytes key, sk_bytes stored))
{
    sk_buf end = {0};
    sk_bytes key, value;
    int status;
    sk_buf_bytes(&end, prefix);
    sk_rowkey_successor(&end);
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_META, prefix, sk_buf_view(&end));
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        status = load_one(db, key, value);
        if (status) break;
    }
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&end);
    return status;
}

/* -- rows without a name ------------------------------------------------------------------------------------------- */

static uint64_t mark_of(sk_bytes raw, sk_digest ours)
{
    uint64_t hash = XXH3_64bits_withSeed(raw.data, raw.len, (uint64_t)ours);
    return hash ? hash : 1;
}

static void add_mark(const sk_quarantine *quarantine, sk_unnamed *to, uint64_t mark)
{
    if (sk_marks_has(&to->marks, mark)) return;
    if (to->marks.count < quarantine->marks_max)
        sk_marks_add(&to->marks, mark);
    else
        to->unmarked++;
}

static void count_nameless(sk_quarantine *quarantine)
{
    quarantine->nameless = 0;
    for (uint32_t i = 0; i < quarantine->unnamed_count; i++)
        quarantine->nameless += quarantine->unnamed[i].marks.count + quarantine->unnamed[i].unmarked;
}

static sk_unnamed *unnamed_of(const sk_quarantine *quarantine, sk_bytes region)
{
    for (uint32_t i = 0; i < quarantine->unnamed_count; i++)
        if (sk_bytes_equal(quarantine->unnamed[i].region, region)) return &quarantine->unnamed[i];
    return NULL;
}

static sk_unnamed *add_unnamed(sk_quarantine *quarantine, sk_bytes region)
{
    quarantine->unnamed = sk_realloc(quarantine->unnamed, (quarantine->unnamed_count + 1) * sizeof *quarantine->unnamed);
    sk_unnamed *unnamed = &quarantine->unnamed[quarantine->unnamed_count++];
    *unnamed = (sk_unnamed){.region = sk_bytes_copy(region)};
    return unnamed;
}

static uint64_t pages_of(const sk_unnamed *unnamed)
{
    uint64_t pages = (unnamed->marks.count + PAGE_MARKS - 1) / PAGE_MARKS;
    return pages || !unnamed->unmarked ? pages : 1;
}

static void page_key(sk_buf *key, sk_bytes region, uint64_t page)
{
    sk_buf_reset(key);
    sk_buf_bytes(key, UNNAMED);
    sk_buf_bytes(key, region);
    sk_buf_printf(key, "/%06llu", (unsigned long long)page);
}

static void put_pages(sk_db *db, const sk_unnamed *unnamed)
{
    sk_buf key = {0};
    uint64_t at = 0, mark, pages = pages_of(unnamed);
    for (uint64_t page = 0; page < pages; page++) {
        page_key(&key, unnamed->region, page);
        sk_buf_reset(&db->pack);
        sk_pack_uint(&db->pack, page ? 0 : unnamed->unmarked);
        for (uint32_t i = 0; i < PAGE_MARKS && sk_marks_next(&unnamed->marks, &at, &mark); i++)
            for (int shift = 56; shift >= 0; shift -= 8) sk_buf_byte(&db->pack, (uint8_t)(mark >> shift));
        sk_record_put(db->store, SK_CF_META, sk_buf_view(&key), &db->pack);
    }
    db->dirty = true;
    sk_buf_free(&key);
}

static void remove_pages(sk_db *db, sk_bytes region, uint64_t from, uint64_t to)
{
    sk_buf key = {0};
    for (uint64_t page = from; page < to; page++) {
        page_key(&key, region, page);
        sk_store_remove(db->store, SK_CF_META, sk_buf_view(&key));
        db->dirty = true;
    }
    sk_buf_free(&key);
}

static int load_page(sk_db *db, sk_bytes key, sk_bytes stored)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_bytes value, region = {key.data + UNNAMED.len, key.len - UNNAMED.len};
    const uint8_t *slash = region.len ? memchr(region.data, '/', region.len) : NULL;
    int status = sk_record_open(SK_CF_META, key, stored, &value);
    if (status || !slash) return SK_E_CORRUPT;
    region.len = (size_t)(slash - region.data);
    sk_reader reader = sk_reader_of(value);
    uint64_t unmarked = sk_read_uint(&reader);
    if (reader.bad || sk_reader_left(&reader) % 8) return SK_E_CORRUPT;
    sk_unnamed *unnamed = unnamed_of(quarantine, region);
    if (!unnamed) unnamed = add_unnamed(quarantine, region);
    unnamed->unmarked += unmarked;
    while (sk_reader_left(&reader)) {
        uint64_t mark = 0;
        for (int i = 0; i < 8; i++) mark = mark << 8 | sk_read_byte(&reader);
        if (!mark) return SK_E_CORRUPT;
        add_mark(quarantine, unnamed, mark);
    }
    count_nameless(quarantine);
    return 0;
}

/* `found` takes the place of what was known of a region, which is nothing any more if it is empty. */
static void replace_unnamed(sk_db *db, sk_bytes region, sk_unnamed *found)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_unnamed *known = unnamed_of(quarantine, region);
    uint64_t pages = known ? pages_of(known) : 0;
    if (!known && pages_of(found) == 0) return;
    if (!known) known = add_unnamed(quarantine, region);
    sk_marks_free(&known->marks);
    known->marks = found->marks;
    known->unmarked = found->unmarked;
    *found = (sk_unnamed){0};
    put_pages(db, known);
    remove_pages(db, region, pages_of(known), pages);
    if (pages_of(known) == 0) {
        free_unnamed(known);
        *known = quarantine->unnamed[--quarantine->unnamed_count];
    }
    count_nameless(quarantine);
}

/* What is known of a region stays known. */
static void add_known(const sk_quarantine *quarantine, sk_bytes region, sk_unnamed *to)
{
    const sk_unnamed *known = unnamed_of(quarantine, region);
    uint64_t at = 0, mark;
    if (!known) return;
    if (to->unmarked < known->unmarked) to->unmarked = known->unmarked;
    while (sk_marks_next(&known->marks, &at, &mark)) add_mark(quarantine, to, mark);
}

int sk_quarantine_load(sk_db *db)
{
    sk_quarantine_free(&db->quarantine);
    int status = load_all(db, PREFIX, load);
    return status ? status : load_all(db, UNNAMED, load_page);
}

/* -- a comparison -------------------------------------------------------------------------------------------------- */

void sk_quarantine_begin(sk_db *db, const char *region, sk_digest difference)
{
    sk_comparison *comparison = &db->quarantine.comparison;
    end_comparison(comparison);
    sk_buf_bytes(&comparison->region, sk_bytes_str(region));
    comparison->difference = difference;
}

void sk_quarantine_changed(sk_db *db, sk_bytes raw)
{
    sk_row_keys_add(&db->quarantine.comparison.changed, raw);
}

/* "eu:12 us:7 …" */
static void set_side(const sk_db *db, sk_quarantine_side *side, sk_digest digest, const sk_row *row)
{
    sk_buf text = {0};
    for (uint32_t i = 0; i < row->count; i++) {
        sk_dot dot = row->entries[i].dot;
        if (i == DOTS_MAX) {
            sk_buf_printf(&text, " and %u more", row->count - i);
            break;
        }
        const char *region = dot.origin < db->origins.count ? db->origins.list[dot.origin].region : "?";
        sk_buf_printf(&text, "%s%s:%llu", i ? " " : "", region, (unsigned long long)dot.seq);
    }
    free((void *)(uintptr_t)side->dots.data);
    *side = (sk_quarantine_side){(uint64_t)digest, sk_bytes_copy(sk_buf_view(&text))};
    sk_buf_free(&text);
}

/* One row that differs. */
typedef struct {
    sk_row_name name;
    bool is_key; /* the name was understood */
    sk_row ours, theirs;
    sk_digest ours_digest, theirs_digest;
} difference;

static void hold(sk_db *db, const difference *one)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_bytes region = sk_buf_view(&quarantine->comparison.region);
    bool there;
    uint32_t at = find(quarantine, one->name.raw, region, &there);
    if (!there && quarantine->count >= quarantine->names_max) {
        add_mark(quarantine, &quarantine->comparison.unnamed, mark_of(one->name.raw, one->ours_digest));
        return;
    }
    sk_quarantined *row = there ? &quarantine->rows[at] : insert(quarantine, at, one->name.raw, region);
    bool same = there && row->ours.hash == (uint64_t)one->ours_digest && row->theirs.hash == (uint64_t)one->theirs_digest;
    row->found = true;
    if (same) return;
    row->resolve = row->logged = false; /* it is another than the operator has seen */
    set_side(db, &row->ours, one->ours_digest, &one->ours);
    set_side(db, &row->theirs, one->theirs_digest, &one->theirs);
    put(db, row);
}

static bool has_entry(const sk_row *row, const sk_entry *entry)
{
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *other = &row->entries[i];
        if (other->kind == entry->kind && other->dot.origin == entry->dot.origin && other->dot.seq == entry->dot.seq)
            return true;
    }
    return false;
}

/* Does our own history say that no transaction has brought this entry? 1, 0, or an error. */
static int disowned(sk_db *db, sk_bytes raw, const sk_entry *entry)
{
    unsigned flags;
    if (entry->kind == SK_ENTRY_COUNT || sk_vv_covers(&db->floor, entry->dot)) return 0;
    int found = sk_db_history_find(db, entry->dot, raw, &flags);
    return found < 0 ? found : !found;
}

/* Is what we have more of it disowned, and all else the same? */
static int refuted(sk_db *db, const difference *one)
{
    sk_row rest = one->ours;
    sk_arena arena = {0};
    int status = 1;
    rest.count = 0;
    rest.entries = sk_arena_take(&arena, (one->ours.count + 1) * sizeof *rest.entries);
    for (uint32_t i = 0; i < one->ours.count && status > 0; i++) {
        const sk_entry *entry = &one->ours.entries[i];
        if (has_entry(&one->theirs, entry))
            rest.entries[rest.count++] = *entry;
        else
            status = disowned(db, one->name.raw, entry);
    }
    bool same = status > 0 && sk_row_digest(&db->origins, one->name.raw, &rest) == one->theirs_digest;
    sk_arena_free(&arena);
    return status < 0 ? status : same;
}

static bool is_to_be_theirs(const sk_db *db, const difference *one)
{
    bool there;
    const sk_quarantine *quarantine = &db->quarantine;
    uint32_t at = find(quarantine, one->name.raw, sk_buf_view(&quarantine->comparison.region), &there);
    const sk_quarantined *row = there ? &quarantine->rows[at] : NULL;
    return row && row->resolve && row->ours.hash == (uint64_t)one->ours_digest &&
           row->theirs.hash == (uint64_t)one->theirs_digest;
}

/* Their row takes the place of ours: what it has we have seen. */
static int take(sk_db *db, const difference *one)
{
    sk_row row = one->theirs;
    row.fields = one->ours.fields;
    row.members = one->ours.members;
    int status = sk_db_row_put(db, &one->name, &one->ours, &row);
    if (!status) status = sk_audit_record_dead(db, one->name.raw, &row);
    if (status) return status;
    sk_db_revisit_anew(db);
    db->quarantine.settled++;
    db->quarantine.comparison.taken += one->theirs_digest - one->ours_digest;
    sk_audit_name(db, one->name.raw, true);
    return 0;
}

static int settle(sk_db *db, const difference *one)
{
    bool takes = one->is_key && sk_row_covered(&one->theirs, &db->vv) && is_to_be_theirs(db, one);
    int status = !takes && one->is_key ? refuted(db, one) : 0;
    if (status < 0) return status;
    if (takes || status) return take(db, one);
    hold(db, one);
    return 0;
}

/* A row that is staged. */
static int look(sk_db *db, sk_bytes key, sk_bytes stored)
{
    sk_comparison *comparison = &db->quarantine.comparison;
    sk_arena arena = {0};
    sk_bytes packed;
    difference one = {.name.raw = sk_arena_copy(&arena, sk_bytes_of(key.data + 1, key.len - 1))};
    int status = sk_record_open(SK_CF_STAGED, key, stored, &packed);
    if (!status) status = sk_db_row_read(db, sk_arena_copy(&arena, packed), &arena, &one.theirs);
    if (!status) status = sk_db_row(db, one.name.raw, &arena, &one.ours);
    if (!status) {
        one.ours_digest = sk_row_digest(&db->origins, one.name.raw, &one.ours);
        one.theirs_digest = sk_row_digest(&db->origins, one.name.raw, &one.theirs);
        one.is_key = sk_rowkey_parse(one.name.raw, &arena, &one.name.key) == 0;
        if (one.ours_digest != one.theirs_digest && !sk_row_keys_has(&comparison->changed, one.name.raw)) {
            comparison->sum += one.theirs_digest - one.ours_digest;
            status = settle(db, &one);
        }
    }
    sk_arena_free(&arena);
    return status;
}

/* At so many more. 1: there are more. */
static int look_on(sk_db *db, uint32_t rows)
{
    sk_comparison *comparison = &db->quarantine.comparison;
    uint8_t first = SK_STAGED_ROW, end = SK_STAGED_ROW + 1;
    sk_bytes key, value;
    int status;
    sk_buf from = {0};
    sk_buf_bytes(&from, sk_buf_view(&comparison->cursor));
    sk_buf_byte(&from, from.len ? 0 : first); /* the least key above it */
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_STAGED, sk_buf_view(&from), sk_bytes_of(&end, 1));
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0 && rows-- > 0) {
        sk_buf_reset(&comparison->cursor);
        sk_buf_bytes(&comparison->cursor, key);
        status = look(db, key, value);
        if (status) break;
    }
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&from);
    return status;
}

static void begin_look(sk_db *db)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_comparison *comparison = &quarantine->comparison;
    comparison->looks = true;
    comparison->difference -= comparison->taken;
    comparison->sum = comparison->taken = 0;
    sk_buf_reset(&comparison->cursor);
    free_unnamed(&comparison->unnamed);
    for (uint32_t i = 0; i < quarantine->count; i++) quarantine->rows[i].found = false;
}

/* Names of rows that do not differ from the region's any more. Were there any? */
static bool strike_settled(sk_db *db)
{
    sk_quarantine *quarantine = &db->quarantine;
    uint32_t before = quarantine->count;
    for (uint32_t i = quarantine->count; i-- > 0;) {
        const sk_quarantined *row = &quarantine->rows[i];
        if (!row->found && sk_bytes_equal(row->region, sk_buf_view(&quarantine->comparison.region))) strike(db, i);
    }
    return quarantine->count < before;
}

int sk_quarantine_step(sk_db *db, const sk_vv *vv, uint32_t rows)
{
    sk_comparison *comparison = &db->quarantine.comparison;
    if (comparison->region.len == 0) return SK_E_GAP;
    if (!comparison->looks) {
        sk_vv_copy(&comparison->read, vv);
        begin_look(db);
    }
    int status = sk_db_history_rows(db, &comparison->read, &comparison->changed, NULL, HISTORY_A_ROW * rows);
    if (!status) status = look_on(db, rows);
    if (status > 0) return 1;
    sk_bytes region = sk_buf_view(&comparison->region);
    bool all = !status && comparison->sum == comparison->difference;
    if (all && strike_settled(db) && pages_of(&comparison->unnamed)) {
        begin_look(db); /* there are names for some of these */
        return 1;
    }
    if (!all) add_known(&db->quarantine, region, &comparison->unnamed);
    replace_unnamed(db, region, &comparison->unnamed);
    end_comparison(comparison);
    return status ? status : all ? 0 : SK_E_BUSY;
}

/* -- what becomes of them ------------------------------------------------------------------------------------------ */

void sk_quarantine_agree(sk_db *db, sk_bytes region)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_unnamed none = {0};
    replace_unnamed(db, region, &none);
    for (uint32_t i = quarantine->count; i-- > 0;)
        if (sk_bytes_equal(quarantine->rows[i].region, region)) strike(db, i);
}

uint32_t sk_quarantine_resolve(sk_db *db, sk_bytes key, sk_bytes region)
{
    sk_quarantine *quarantine = &db->quarantine;
    uint32_t marked = 0;
    for (uint32_t i = 0; i < quarantine->count; i++) {
        sk_quarantined *row = &quarantine->rows[i];
        sk_arena arena = {0};
        sk_rowkey name;
        bool is_it = sk_bytes_equal(row->region, region) && sk_rowkey_parse(row->raw, &arena, &name) == 0 &&
                     sk_bytes_equal(name.key, key);
        sk_arena_free(&arena);
        if (!is_it) continue;
        row->resolve = true;
        put(db, row);
        marked++;
    }
    return marked;
}

bool sk_quarantine_holds(const sk_db *db, sk_bytes raw, const sk_row *ours)
{
    const sk_quarantine *quarantine = &db->quarantine;
    sk_digest digest = sk_row_digest(&db->origins, raw, ours);
    bool there;
    for (uint32_t at = find(quarantine, raw, SK_BYTES_NONE, &there);
         at < quarantine->count && sk_bytes_equal(quarantine->rows[at].raw, raw); at++)
        if (quarantine->rows[at].ours.hash == (uint64_t)digest) return true;
    for (uint32_t i = 0; i < quarantine->unnamed_count; i++)
        if (quarantine->unnamed[i].unmarked || sk_marks_has(&quarantine->unnamed[i].marks, mark_of(raw, digest))) return true;
    return false;
}
