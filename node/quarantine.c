#include "node/quarantine.h"

#include "node/fold.h"
#include "node/record.h"

static const sk_bytes PREFIX = {(const uint8_t *)"quarantine/", 11};

enum { DOTS_MAX = 8 }; /* of a row, told */

/* -- the rows ------------------------------------------------------------------------------------------------------ */

static sk_bytes copy_of(sk_bytes bytes)
{
    uint8_t *copy = sk_alloc(bytes.len + 1);
    if (bytes.len) memcpy(copy, bytes.data, bytes.len);
    return sk_bytes_of(copy, bytes.len);
}

static void free_row(sk_quarantined *row)
{
    free((void *)(uintptr_t)row->raw.data);
    free((void *)(uintptr_t)row->region.data);
    free((void *)(uintptr_t)row->ours.dots.data);
    free((void *)(uintptr_t)row->theirs.dots.data);
}

void sk_quarantine_free(sk_quarantine *quarantine)
{
    for (uint32_t i = 0; i < quarantine->count; i++) free_row(&quarantine->rows[i]);
    free(quarantine->rows);
    sk_buf_free(&quarantine->region);
    sk_row_keys_free(&quarantine->changed);
    *quarantine = (sk_quarantine){0};
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
    *row = (sk_quarantined){.raw = copy_of(raw), .region = copy_of(region)};
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
    row->ours.dots = copy_of(sk_read_bytes(&reader));
    row->theirs.hash = sk_read_uint(&reader);
    row->theirs.dots = copy_of(sk_read_bytes(&reader));
    row->resolve = sk_read_bool(&reader);
    return sk_reader_done(&reader) ? 0 : SK_E_CORRUPT;
}

int sk_quarantine_load(sk_db *db)
{
    sk_buf end = {0};
    sk_bytes key, value;
    int status;
    sk_quarantine_free(&db->quarantine);
    sk_buf_bytes(&end, PREFIX);
    sk_rowkey_successor(&end);
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_META, PREFIX, sk_buf_view(&end));
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        status = load(db, key, value);
        if (status) break;
    }
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&end);
    return status;
}

/* -- a comparison -------------------------------------------------------------------------------------------------- */

void sk_quarantine_begin(sk_db *db, const char *region, sk_digest difference)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_buf_reset(&quarantine->region);
    sk_buf_bytes(&quarantine->region, sk_bytes_str(region));
    quarantine->difference = difference;
    sk_row_keys_free(&quarantine->changed);
}

void sk_quarantine_changed(sk_db *db, sk_bytes raw)
{
    sk_row_keys_add(&db->quarantine.changed, raw);
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
    *side = (sk_quarantine_side){(uint64_t)digest, copy_of(sk_buf_view(&text))};
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
    sk_bytes region = sk_buf_view(&quarantine->region);
    bool there;
    uint32_t at = find(quarantine, one->name.raw, region, &there);
    if (!there && quarantine->count >= SK_QUARANTINE_MAX) {
        quarantine->nameless++;
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
    uint32_t at = find(quarantine, one->name.raw, sk_buf_view(&quarantine->region), &there);
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
    db->revisit = true;
    db->quarantine.settled++;
    sk_audit_name(db, one->name.raw, true);
    return 0;
}

static bool all_seen(const sk_db *db, const sk_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (!sk_vv_covers(&db->vv, row->entries[i].dot)) return false;
    return true;
}

static int settle(sk_db *db, const difference *one)
{
    bool takes = one->is_key && all_seen(db, &one->theirs) && is_to_be_theirs(db, one);
    int status = !takes && one->is_key ? refuted(db, one) : 0;
    if (status < 0) return status;
    if (takes || status) return take(db, one);
    hold(db, one);
    return 0;
}

/* A row that is staged. *sum: how much more theirs comes to than ours, of all that differ. */
static int look(sk_db *db, sk_bytes key, sk_bytes stored, sk_digest *sum)
{
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
        if (one.ours_digest != one.theirs_digest && !sk_row_keys_has(&db->quarantine.changed, one.name.raw)) {
            *sum += one.theirs_digest - one.ours_digest;
            status = settle(db, &one);
        }
    }
    sk_arena_free(&arena);
    return status;
}

static int look_at_all(sk_db *db, sk_digest *sum)
{
    uint8_t from = SK_STAGED_ROW, to = SK_STAGED_ROW + 1;
    sk_bytes key, value;
    int status;
    sk_store_iter *iter = sk_store_iterate(db->store, NULL, SK_CF_STAGED, sk_bytes_of(&from, 1), sk_bytes_of(&to, 1));
    while ((status = sk_store_next(db->store, iter, &key, &value)) > 0) {
        status = look(db, key, value, sum);
        if (status) break;
    }
    sk_store_iter_free(db->store, iter);
    return status;
}

int sk_quarantine_end(sk_db *db, const sk_vv *vv)
{
    sk_quarantine *quarantine = &db->quarantine;
    sk_digest sum = 0;
    int status = sk_db_history_rows(db, vv, &quarantine->changed);
    if (status) return status;
    for (uint32_t i = 0; i < quarantine->count; i++) quarantine->rows[i].found = false;
    quarantine->nameless = 0;
    status = look_at_all(db, &sum);
    bool all = !status && sum == quarantine->difference;
    for (uint32_t i = quarantine->count; all && i-- > 0;) {
        const sk_quarantined *row = &quarantine->rows[i];
        if (!row->found && sk_bytes_equal(row->region, sk_buf_view(&quarantine->region))) strike(db, i);
    }
    sk_row_keys_free(&quarantine->changed);
    return status ? status : all ? 0 : SK_E_BUSY;
}

/* -- what becomes of them ------------------------------------------------------------------------------------------ */

void sk_quarantine_agree(sk_db *db, sk_bytes region)
{
    sk_quarantine *quarantine = &db->quarantine;
    if (sk_bytes_equal(sk_buf_view(&quarantine->region), region)) quarantine->nameless = 0;
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
    bool there;
    for (uint32_t at = find(quarantine, raw, SK_BYTES_NONE, &there);
         at < quarantine->count && sk_bytes_equal(quarantine->rows[at].raw, raw); at++)
        if (quarantine->rows[at].ours.hash == (uint64_t)sk_row_digest(&db->origins, raw, ours)) return true;
    return false;
}
