#include "node/context.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CONTEXT_VERSION = 2, SUM_BYTES = 4, VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

static void pack_origin(sk_buf *buf, const sk_db *db, uint32_t origin)
{
    sk_pack_bytes(buf, sk_bytes_str(db->origins.list[origin].region));
    sk_pack_uint(buf, db->origins.list[origin].incarnation);
}

static void append_sum(sk_buf *buf)
{
    uint64_t sum = XXH3_64bits(buf->data, buf->len);
    for (int i = 0; i < SUM_BYTES; i++) sk_buf_byte(buf, (uint8_t)(sum >> 8 * i));
}

static bool sum_fits(sk_bytes bytes)
{
    if (bytes.len < SUM_BYTES) return false;
    uint64_t sum = XXH3_64bits(bytes.data, bytes.len - SUM_BYTES);
    for (int i = 0; i < SUM_BYTES; i++)
        if (bytes.data[bytes.len - SUM_BYTES + (size_t)i] != (uint8_t)(sum >> 8 * i)) return false;
    return true;
}

static uint64_t hash_row(sk_bytes raw)
{
    uint64_t hash = XXH3_64bits(raw.data, raw.len);
    return hash ? hash : 1;
}

bool sk_context_is_of(const sk_context *context, sk_bytes raw)
{
    return context->row_hash == hash_row(raw);
}

sk_bytes sk_context_text(const sk_db *db, const sk_vv *vv, sk_bytes raw, const sk_row *row, sk_arena *arena)
{
    sk_buf packed = {0};
    uint32_t origins = 0, counts = 0;
    for (uint32_t o = 0; o < vv->count; o++) origins += vv->seq[o] != 0;
    for (uint32_t i = 0; row && i < row->count; i++)
        counts += row->entries[i].kind == SK_ENTRY_COUNT && sk_entry_live(&row->entries[i]);
    sk_pack_uint(&packed, CONTEXT_VERSION);
    sk_pack_uint(&packed, row ? hash_row(raw) : 0);
    sk_pack_array(&packed, origins);
    for (uint32_t o = 0; o < vv->count; o++) {
        if (vv->seq[o] == 0) continue;
        pack_origin(&packed, db, o);
        sk_pack_uint(&packed, vv->seq[o]);
    }
    sk_pack_array(&packed, counts);
    for (uint32_t i = 0; row && i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (entry->kind != SK_ENTRY_COUNT || !sk_entry_live(entry)) continue;
        pack_origin(&packed, db, entry->dot.origin);
        sk_pack_uint(&packed, entry->dot.seq);
        sk_pack_uint(&packed, entry->count.epoch);
        sk_number_pack(&packed, entry->count.total);
    }
    append_sum(&packed);
    size_t room = sodium_base64_encoded_len(packed.len, VARIANT);
    char *text = sk_arena_take(arena, room);
    if (text) sodium_bin2base64(text, room, packed.data, packed.len, VARIANT);
    sk_buf_free(&packed);
    return sk_bytes_of(text, text ? room - 1 : 0);
}

/* An origin by name; SK_ORIGIN_UNKNOWN if we have not heard of it. */
static uint32_t read_origin(sk_reader *reader, const sk_db *db)
{
    uint32_t origin;
    sk_bytes region = sk_read_bytes(reader);
    uint64_t incarnation = sk_read_uint(reader);
    return !reader->bad && sk_origins_find(&db->origins, region, incarnation, &origin) ? origin : SK_ORIGIN_UNKNOWN;
}

static int read_packed(sk_reader *reader, const sk_db *db, sk_arena *arena, sk_context *context)
{
    if (sk_read_uint(reader) != CONTEXT_VERSION) reader->bad = true;
    context->row_hash = sk_read_uint(reader);
    uint32_t origins = sk_read_array(reader);
    for (uint32_t i = 0; i < origins && !reader->bad; i++) {
        uint32_t origin = read_origin(reader, db);
        uint64_t seq = sk_read_uint(reader);
        if (origin == SK_ORIGIN_UNKNOWN)
            context->unknown = true;
        else
            sk_vv_raise(&context->vv, origin, seq);
    }
    uint32_t counts = sk_read_array(reader);
    context->resets = sk_arena_take(arena, counts * sizeof *context->resets + 1);
    if (!context->resets) return SK_E_MEMORY;
    for (uint32_t i = 0; i < counts && !reader->bad; i++) {
        sk_reset reset = {.dot.origin = read_origin(reader, db)};
        reset.dot.seq = sk_read_uint(reader);
        reset.epoch = sk_read_uint(reader);
        reset.total = sk_number_read(reader);
        if (reset.epoch == 0 || reset.epoch > reset.dot.seq) reader->bad = true;
        if (reset.dot.origin != SK_ORIGIN_UNKNOWN) context->resets[context->reset_count++] = reset;
    }
    return sk_reader_done(reader) ? 0 : SK_E_MALFORMED;
}

int sk_context_parse(const sk_db *db, sk_bytes text, sk_arena *arena, sk_context *context)
{
    *context = (sk_context){0};
    size_t len = 0;
    uint8_t *packed = sk_arena_take(arena, text.len + 1);
    if (!packed) return SK_E_MEMORY;
    if (sodium_base642bin(packed, text.len, (const char *)text.data, text.len, NULL, &len, NULL, VARIANT))
        return SK_E_MALFORMED;
    sk_bytes bytes = {packed, len};
    if (!sum_fits(bytes)) return SK_E_MALFORMED;
    sk_reader reader = sk_reader_of(sk_bytes_of(packed, len - SUM_BYTES));
    return read_packed(&reader, db, arena, context);
}

/* -- for people ---------------------------------------------------------------------------------------------------------------- */

static _Thread_local const sk_db *sorting; /* qsort takes no argument of its own */

static int compare_origins(const void *a, const void *b)
{
    return sk_origins_compare(&sorting->origins, *(const uint32_t *)a, *(const uint32_t *)b);
}

void sk_vv_text(const sk_db *db, const sk_vv *vv, sk_buf *text)
{
    uint32_t *order = sk_alloc((vv->count + 1) * sizeof *order), count = 0;
    for (uint32_t o = 0; o < vv->count; o++)
        if (vv->seq[o]) order[count++] = o;
    sorting = db;
    qsort(order, count, sizeof *order, compare_origins);
    for (uint32_t i = 0; i < count; i++) {
        const sk_origin *origin = &db->origins.list[order[i]];
        sk_buf_printf(text, "%s%s-%016" PRIx64 ":%" PRIu64, i ? " " : "", origin->region, origin->incarnation,
                      vv->seq[order[i]]);
    }
    free(order);
}
