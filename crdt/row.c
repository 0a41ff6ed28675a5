#include "crdt/row.h"

#include <endian.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { INSERTION_MOST = 32 };

bool sk_newer(const sk_origins *origins, sk_hlc a, sk_dot a_dot, sk_hlc b, sk_dot b_dot)
{
    if (a != b) return a > b;
    if (!a_dot.seq || !b_dot.seq) return a_dot.seq > b_dot.seq;
    int order = sk_origins_compare(origins, a_dot.origin, b_dot.origin);
    return order ? order > 0 : a_dot.seq > b_dot.seq;
}

uint32_t sk_row_live(const sk_row *row, sk_entry_class class)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < row->count; i++)
        live += sk_entry_class_of(&row->entries[i]) == class && sk_entry_live(&row->entries[i]);
    return live;
}

bool sk_row_covered(const sk_row *row, const sk_vv *vv)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (!sk_vv_covers(vv, row->entries[i].dot)) return false;
    return true;
}

bool sk_row_possible(const sk_row *row, const sk_vv *vv)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (!sk_entry_live(&row->entries[i]) && !sk_vv_covers(vv, row->entries[i].count.reset_by)) return false;
    return sk_row_covered(row, vv);
}

bool sk_row_has_dead(const sk_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (!sk_entry_live(&row->entries[i])) return true;
    return false;
}

uint64_t sk_row_deadline(const sk_row *row)
{
    uint64_t latest = 0;
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_DEADLINE && row->entries[i].deadline_ms > latest)
            latest = row->entries[i].deadline_ms;
    return latest ? latest : SK_DEADLINE_NEVER;
}

static int entry_compare(const sk_entry *a, const sk_entry *b)
{
    int order = (int)sk_entry_class_of(a) - (int)sk_entry_class_of(b);
    if (order) return order;
    if (a->dot.origin != b->dot.origin) return a->dot.origin < b->dot.origin ? -1 : 1;
    return (a->dot.seq > b->dot.seq) - (a->dot.seq < b->dot.seq);
}

/* The first entry of a row in order that is not below `like`; row->count if there is none. */
static uint32_t lower_bound(const sk_row *row, const sk_entry *like)
{
    uint32_t low = 0, high = row->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entry_compare(&row->entries[middle], like) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static sk_entry *count_of(const sk_row *row, uint32_t origin)
{
    sk_entry first = {.kind = SK_ENTRY_COUNT, .dot = {origin, 0}};
    for (uint32_t i = lower_bound(row, &first); i < row->count; i++) {
        sk_entry *entry = &row->entries[i];
        if (entry->kind == SK_ENTRY_DEADLINE || entry->dot.origin != origin) return NULL;
        if (entry->kind == SK_ENTRY_COUNT) return entry;
    }
    return NULL;
}

const sk_entry *sk_row_count_of(const sk_row *row, uint32_t origin)
{
    const sk_entry *entry = count_of(row, origin);
    return entry && sk_entry_live(entry) ? entry : NULL;
}

/* -- order ---------------------------------------------------------------------------------------------------------- */

/* Lets the entry at `at` sink in a heap of `count`, the greatest at its top. */
static void sift_down(sk_entry *heap, uint32_t at, uint32_t count)
{
    sk_entry moving = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && entry_compare(&heap[child], &heap[child + 1]) < 0) child++;
        if (entry_compare(&moving, &heap[child]) >= 0) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

/* Heapsort (Williams 1964): in place, and never quadratic, whatever a peer sends. */
static void sort_many(sk_row *row)
{
    for (uint32_t i = row->count / 2; i-- > 0;) sift_down(row->entries, i, row->count);
    for (uint32_t end = row->count - 1; end > 0; end--) {
        sk_entry greatest = row->entries[0];
        row->entries[0] = row->entries[end];
        row->entries[end] = greatest;
        sift_down(row->entries, 0, end);
    }
}

void sk_row_sort(sk_row *row)
{
    if (row->count > INSERTION_MOST) {
        sort_many(row);
        return;
    }
    /* Insertion: rows nearly always hold one entry, and arrive nearly in order. */
    for (uint32_t i = 1; i < row->count; i++) {
        sk_entry moving = row->entries[i];
        uint32_t at = i;
        for (; at > 0 && entry_compare(&row->entries[at - 1], &moving) > 0; at--) row->entries[at] = row->entries[at - 1];
        row->entries[at] = moving;
    }
}

static bool well_formed(const sk_row *row)
{
    const sk_entry *last_count = NULL;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (i > 0 && entry_compare(entry - 1, entry) >= 0) return false;
        if (entry->kind != SK_ENTRY_COUNT) continue;
        if (last_count && last_count->dot.origin == entry->dot.origin) return false;
        last_count = entry;
    }
    return true;
}

void sk_row_check(const sk_row *row)
{
    sk_assert(well_formed(row));
}

bool sk_row_strip(sk_row *row, const sk_vv *stable, const sk_origins *origins, const bool *held)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        bool stays = sk_entry_live(entry) || (stable && !sk_vv_covers(stable, entry->count.reset_by)) ||
                     (origins && sk_origins_open_ended(origins, entry->dot.origin)) ||
                     (held && held[entry->dot.origin]);
        if (stays) row->entries[kept++] = *entry;
    }
    bool changed = kept != row->count;
    row->count = kept;
    return changed;
}

/* -- stored form -----------------------------------------------------------------------------------------------------
 *
 *   row      sizes, if there are any, and entries
 *   sizes    a zero byte, fields, members
 *   entry    head, origin less 3 (if it is 3 or more), seq in as few bytes as it has, time, payload
 *   head     from the low bits on: 3 kind, 2 origin (3: it follows), 3 bytes of seq less 1
 *   time     milliseconds since 2020 in 5 bytes, counter; or, outside of the 34 years which that covers, 5 bytes ff and
 *            all of it in 8
 *   payload  value: its length and its bytes; or, when it is the row's last, its bytes up to the end
 *
 * Numbers are varints where nothing else is said. A row has one stored form, and no other is read as it: every key has
 * this beside its value, so each byte counts. */

enum {
    KIND_MASK = 7,
    KIND_SIZES = 0,      /* not an entry: the derived sizes */
    KIND_LAST_VALUE = 5, /* SK_ENTRY_VALUE up to the end of the row */
    ORIGIN_SHIFT = 3,
    ORIGIN_FOLLOWS = 3,
    SEQ_SHIFT = 5,
    TIME_BYTES = 5,
};
#define TIME_BEGIN_MS 1577836800000u /* 2020 */
#define TIME_OUTSIDE (((uint64_t)1 << 8 * TIME_BYTES) - 1)

static void pack_time(sk_buf *buf, sk_hlc time)
{
    uint64_t ms = sk_hlc_ms(time) - TIME_BEGIN_MS;
    if (ms >= TIME_OUTSIDE) {
        sk_pack_big_endian(buf, TIME_OUTSIDE, TIME_BYTES);
        sk_pack_big_endian(buf, time, sizeof time);
    } else {
        sk_pack_big_endian(buf, ms, TIME_BYTES);
        sk_pack_varint(buf, sk_hlc_counter(time));
    }
}

static sk_hlc read_time(sk_reader *reader)
{
    uint64_t ms = sk_read_big_endian(reader, TIME_BYTES);
    if (ms == TIME_OUTSIDE) {
        sk_hlc time = sk_read_big_endian(reader, sizeof time);
        if (sk_hlc_ms(time) - TIME_BEGIN_MS < TIME_OUTSIDE) reader->bad = true;
        return time;
    }
    uint64_t counter = sk_read_varint(reader);
    if (counter > SK_HLC_COUNTER_MAX) reader->bad = true;
    return sk_hlc_of_ms(ms + TIME_BEGIN_MS) | counter;
}

static void pack_head(sk_buf *buf, const sk_entry *entry, unsigned kind)
{
    uint32_t origin = entry->dot.origin;
    unsigned more = (unsigned)(63 - __builtin_clzll(entry->dot.seq | 1)) / 8; /* bytes of seq beyond the first */
    unsigned small = origin < ORIGIN_FOLLOWS ? origin : ORIGIN_FOLLOWS;
    sk_buf_byte(buf, (uint8_t)(more << SEQ_SHIFT | small << ORIGIN_SHIFT | kind));
    if (small == ORIGIN_FOLLOWS) sk_pack_varint(buf, origin - ORIGIN_FOLLOWS);
    sk_pack_big_endian(buf, entry->dot.seq, more + 1);
    pack_time(buf, entry->hlc);
}

static void read_head(sk_reader *reader, const sk_origin_map *map, unsigned head, sk_entry *entry)
{
    uint64_t origin = head >> ORIGIN_SHIFT & ORIGIN_FOLLOWS;
    unsigned more = head >> SEQ_SHIFT;
    if (origin == ORIGIN_FOLLOWS) {
        uint64_t beyond = sk_read_varint(reader);
        origin = beyond < SK_ORIGINS_MAX ? origin + beyond : SK_ORIGINS_MAX; /* and not around to a small one */
    }
    entry->dot.origin = sk_origin_map_get(map, origin);
    entry->dot.seq = sk_read_big_endian(reader, more + 1);
    entry->hlc = read_time(reader);
    bool longer = more && entry->dot.seq >> 8 * more == 0;
    if (entry->dot.origin == SK_ORIGIN_UNKNOWN || entry->dot.seq == 0 || longer) reader->bad = true;
}

static void pack_count(sk_buf *buf, const sk_entry *entry)
{
    const sk_count *count = &entry->count;
    sk_pack_varint(buf, entry->dot.seq - count->epoch);
    sk_number_pack(buf, count->total);
    sk_pack_varint(buf, count->base_seq ? entry->dot.seq - count->base_seq + 1 : 0);
    if (count->base_seq) sk_number_pack(buf, count->base);
    if (sk_entry_live(entry)) return;
    sk_pack_varint(buf, count->reset_by.origin);
    sk_pack_varint(buf, count->reset_by.seq);
}

static void read_count(sk_reader *reader, const sk_origin_map *map, sk_entry *entry)
{
    sk_count *count = &entry->count;
    uint64_t age = sk_read_varint(reader);
    count->total = sk_number_read(reader);
    uint64_t base_age = sk_read_varint(reader);
    if (base_age) count->base = sk_number_read(reader);
    if (age >= entry->dot.seq || base_age > age + 1) {
        reader->bad = true;
        return;
    }
    count->epoch = entry->dot.seq - age;
    count->base_seq = base_age ? entry->dot.seq - (base_age - 1) : 0;
    if (sk_entry_live(entry)) return;
    count->reset_by.origin = sk_origin_map_get(map, sk_read_varint(reader));
    count->reset_by.seq = sk_read_varint(reader);
    if (count->reset_by.origin == SK_ORIGIN_UNKNOWN || count->reset_by.seq == 0) reader->bad = true;
}

void sk_row_pack(sk_buf *buf, const sk_row *row, bool derived)
{
    if (derived && (row->fields || row->members)) {
        sk_buf_byte(buf, KIND_SIZES);
        sk_pack_varint(buf, row->fields);
        sk_pack_varint(buf, row->members);
    }
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        bool last_value = entry->kind == SK_ENTRY_VALUE && i + 1 == row->count;
        pack_head(buf, entry, last_value ? KIND_LAST_VALUE : entry->kind);
        switch (entry->kind) {
        case SK_ENTRY_VALUE:
            if (!last_value) sk_pack_varint(buf, entry->value.len);
            sk_buf_bytes(buf, entry->value);
            break;
        case SK_ENTRY_COUNT: pack_count(buf, entry); break;
        case SK_ENTRY_MEMBER: break;
        case SK_ENTRY_DEADLINE: sk_pack_varint(buf, entry->deadline_ms); break;
        }
    }
}

static void read_entry(sk_reader *reader, const sk_origin_map *map, sk_entry *entry)
{
    unsigned head = sk_read_byte(reader), kind = head & KIND_MASK;
    *entry = (sk_entry){.kind = kind == KIND_LAST_VALUE ? SK_ENTRY_VALUE : (sk_entry_kind)kind};
    read_head(reader, map, head, entry);
    switch (kind) {
    case KIND_LAST_VALUE: entry->value = sk_read_raw(reader, sk_reader_left(reader)); break;
    case SK_ENTRY_VALUE:
        entry->value = sk_read_raw(reader, sk_read_varint(reader));
        if (sk_reader_left(reader) == 0) reader->bad = true;
        break;
    case SK_ENTRY_COUNT: read_count(reader, map, entry); break;
    case SK_ENTRY_MEMBER: break;
    case SK_ENTRY_DEADLINE:
        entry->deadline_ms = sk_read_varint(reader);
        if (entry->deadline_ms == 0) reader->bad = true;
        break;
    default: reader->bad = true;
    }
}

static void read_sizes(sk_reader *reader, sk_row *row)
{
    if (sk_reader_left(reader) == 0 || *reader->at != KIND_SIZES) return;
    (void)sk_read_byte(reader);
    row->fields = sk_read_varint(reader);
    row->members = sk_read_varint(reader);
    if (row->fields == 0 && row->members == 0) reader->bad = true;
}

int sk_row_read(sk_bytes bytes, const sk_origin_map *map, sk_arena *arena, sk_row *row)
{
    sk_reader reader = sk_reader_of(bytes);
    sk_row read = {0};
    uint32_t room = 0;
    read_sizes(&reader, &read);
    while (sk_reader_left(&reader)) {
        if (read.count == room) {
            uint32_t more = room ? room * 2 : 1;
            if (map && room >= SK_ROW_ENTRIES_MAX) return SK_E_TOO_LARGE;
            sk_entry *entries = sk_arena_take(arena, more * sizeof *entries);
            if (!entries) return SK_E_MEMORY;
            if (read.count) memcpy(entries, read.entries, read.count * sizeof *entries);
            read.entries = entries;
            room = more;
        }
        read_entry(&reader, map, &read.entries[read.count++]);
    }
    if (!sk_reader_done(&reader)) return SK_E_MALFORMED;
    if (map) sk_row_sort(&read);
    if (!well_formed(&read)) return SK_E_MALFORMED;
    *row = read;
    return 0;
}

int sk_row_copy(const sk_row *row, sk_arena *arena, sk_row *out)
{
    *out = *row;
    if (row->count == 0) return 0;
    out->entries = sk_arena_take(arena, row->count * sizeof *out->entries);
    if (!out->entries) return SK_E_MEMORY;
    memcpy(out->entries, row->entries, row->count * sizeof *out->entries);
    for (uint32_t i = 0; i < row->count; i++) {
        sk_bytes *value = &out->entries[i].value;
        if (!value->data) continue;
        *value = sk_arena_copy(arena, *value);
        if (!value->data) return SK_E_MEMORY;
    }
    return 0;
}

/* -- merge ----------------------------------------------------------------------------------------------------------- */

static const sk_entry *find_dot(const sk_row *row, const sk_entry *like)
{
    uint32_t at = lower_bound(row, like);
    return at < row->count && entry_compare(&row->entries[at], like) == 0 ? &row->entries[at] : NULL;
}

static bool holds_live(const sk_row *row, const sk_entry *like)
{
    const sk_entry *entry = find_dot(row, like);
    return entry && sk_entry_live(entry);
}

/* Of two dead counts of one origin theirs is later, though we have seen it: who told us of it held no record of it (below).
 * It must not come back, or nobody would strip it here. */
static bool was_dropped(const sk_entry *s, const sk_entry *r, const sk_vv *known)
{
    return !sk_entry_live(s) && !sk_entry_live(r) && r->dot.seq < s->dot.seq && sk_vv_covers(known, s->dot);
}

/* The count of one origin that both sides have: the entry that the rule keeps, with the latest base that either side
 * knows; where the rule keeps none, the latest dead record, so that a later increment of its epoch finds its base. */
static void merge_count(const sk_entry *s, const sk_entry *r, const sk_entry *kept, sk_row *out)
{
    sk_entry merged = kept ? *kept : s->dot.seq > r->dot.seq ? *s : *r;
    sk_count_join_base(&merged.count, &s->count);
    sk_count_join_base(&merged.count, &r->count);
    if (!kept && sk_entry_live(&merged)) return;
    out->entries[out->count++] = merged;
}

int sk_row_merge(const sk_row *s, const sk_vv *vv_s, const sk_row *r, const sk_vv *known, sk_arena *arena, sk_row *out)
{
    sk_row merged = {.fields = r->fields, .members = r->members};
    merged.entries = sk_arena_take(arena, ((size_t)s->count + r->count + 1) * sizeof *merged.entries);
    if (!merged.entries) return SK_E_MEMORY;
    for (int side = 0; side < 2; side++) {
        const sk_row *own = side ? r : s, *other = side ? s : r;
        const sk_vv *other_vv = side ? vv_s : known;
        for (uint32_t i = 0; i < own->count; i++) {
            const sk_entry *entry = &own->entries[i];
            bool both = holds_live(other, entry);
            bool keep = sk_entry_live(entry) && (both || !sk_vv_covers(other_vv, entry->dot));
            if (entry->kind != SK_ENTRY_COUNT) {
                if (keep && !(side && both)) merged.entries[merged.count++] = *entry;
                continue;
            }
            const sk_entry *twin = count_of(other, entry->dot.origin);
            if (twin && was_dropped(side ? twin : entry, side ? entry : twin, known)) {
                if (side) merged.entries[merged.count++] = *entry;
                continue;
            }
            if (!twin) {
                /* Who has seen it and holds no record of it: its own origin removed it, or its reset was stable. A dead one
                 * of theirs must not come back, or nobody would strip it. Ours stays until we strip it: S may be the row of
                 * a sender who told of live entries only, and has the same one. */
                bool stays = side && !sk_entry_live(entry);
                if (stays || !sk_vv_covers(other_vv, entry->dot)) merged.entries[merged.count++] = *entry;
                continue;
            }
            if (side) continue; /* seen from the other side */
            const sk_entry *kept = keep ? entry : NULL;
            bool twin_kept = sk_entry_live(twin) && (holds_live(own, twin) || !sk_vv_covers(vv_s, twin->dot));
            if (twin_kept && (!kept || twin->dot.seq > kept->dot.seq)) kept = twin;
            merge_count(entry, twin, kept, &merged);
        }
    }
    sk_row_sort(&merged);
    *out = merged;
    return 0;
}

/* -- digests --------------------------------------------------------------------------------------------------------- */

static uint64_t hash_bytes(sk_bytes bytes)
{
    return XXH3_64bits(bytes.data, bytes.len);
}

static uint64_t hash_number(sk_number number)
{
    uint8_t room[16];
    sk_buf buf = {.data = room, .cap = sizeof room, .max = sizeof room};
    sk_number_pack(&buf, number);
    return hash_bytes(sk_buf_view(&buf));
}

/* What is hashed of an entry: words that mean the same on every node, with a hash in the place of what has any length. */
enum { KEY, ORIGIN, KIND, SEQ, TIME, PAYLOAD, WORDS = PAYLOAD + 4 };

static void payload_words(const sk_entry *entry, uint64_t words[4])
{
    switch (entry->kind) {
    case SK_ENTRY_VALUE: words[0] = hash_bytes(entry->value); break;
    case SK_ENTRY_COUNT:
        words[0] = entry->count.epoch;
        words[1] = hash_number(entry->count.total);
        words[2] = entry->count.base_seq;
        if (entry->count.base_seq) words[3] = hash_number(entry->count.base);
        break;
    case SK_ENTRY_MEMBER: break;
    case SK_ENTRY_DEADLINE: words[0] = entry->deadline_ms; break;
    }
}

uint64_t sk_row_key_hash(sk_bytes row_key)
{
    return hash_bytes(row_key);
}

sk_digest sk_row_digest(const sk_origins *origins, sk_bytes row_key, const sk_row *row)
{
    return row->count ? sk_row_digest_hashed(origins, hash_bytes(row_key), row) : 0;
}

sk_digest sk_row_digest_hashed(const sk_origins *origins, uint64_t key_hash, const sk_row *row)
{
    sk_digest sum = 0;
    uint64_t words[WORDS] = {[KEY] = key_hash};
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (!sk_entry_live(entry)) continue;
        words[ORIGIN] = origins->list[entry->dot.origin].hash;
        words[KIND] = entry->kind;
        words[SEQ] = entry->dot.seq;
        words[TIME] = entry->hlc;
        memset(&words[PAYLOAD], 0, 4 * sizeof *words);
        payload_words(entry, &words[PAYLOAD]);
        uint64_t bytes[WORDS];
        for (int w = 0; w < WORDS; w++) bytes[w] = htole64(words[w]);
        XXH128_hash_t digest = XXH3_128bits(bytes, sizeof bytes);
        sum += (sk_digest)digest.high64 << 64 | digest.low64;
    }
    return sum;
}

/* A row's sizes, or one dead count: words that are hashed with the row's key. */
enum { REST_WORDS = 10 };

static uint64_t rest_of(sk_bytes row_key, const uint64_t words[REST_WORDS])
{
    uint64_t bytes[REST_WORDS];
    for (int w = 0; w < REST_WORDS; w++) bytes[w] = htole64(words[w]);
    return XXH3_64bits_withSeed(bytes, sizeof bytes, hash_bytes(row_key));
}

uint64_t sk_row_rest(sk_bytes row_key, const sk_row *row)
{
    uint64_t sum = 0;
    if (row->fields || row->members) sum += rest_of(row_key, (uint64_t[REST_WORDS]){0, row->fields, row->members});
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (sk_entry_live(entry)) continue;
        const sk_count *count = &entry->count;
        sum += rest_of(row_key, (uint64_t[REST_WORDS]){entry->kind, entry->dot.origin, entry->dot.seq, entry->hlc,
                                                       count->epoch, hash_number(count->total), count->base_seq,
                                                       hash_number(count->base), count->reset_by.origin,
                                                       count->reset_by.seq});
    }
    return sum;
}
