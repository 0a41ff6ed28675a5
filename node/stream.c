#include "node/stream.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static const uint8_t PREAMBLE[] = "\xad"
                                  "skerry export";
enum {
    PREAMBLE_BYTES = sizeof PREAMBLE - 1 + 1, /* and the format */
    BEFORE_BYTES = 1 + 1 + 4,                 /* kind, bin 32 and its length */
    AFTER_BYTES = 1 + 8,                      /* uint 64 */
    BIN_32 = 0xc6,
    UINT_64 = 0xcf,
};

static void put_number(sk_buf *out, uint64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) sk_buf_byte(out, (uint8_t)(number >> 8 * i));
}

static uint64_t get_number(const uint8_t *at, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) number = number << 8 | at[i];
    return number;
}

static uint64_t sum_of(sk_bytes body, uint64_t before, sk_stream_kind kind)
{
    return XXH3_64bits_withSeed(body.data, body.len, before + (uint64_t)kind);
}

/* Bytes of a body. */
static size_t most_of(sk_stream_kind kind)
{
    return kind == SK_STREAM_HEAD ? SK_STREAM_HEAD_MAX : kind == SK_STREAM_END ? SK_STREAM_END_MAX : SK_STREAM_BODY_MAX;
}

/* -- frames -------------------------------------------------------------------------------------------------------- */

void sk_stream_begin(sk_buf *out, uint64_t *sum)
{
    sk_buf_append(out, PREAMBLE, sizeof PREAMBLE - 1);
    sk_buf_byte(out, SK_STREAM_FORMAT);
    *sum = 0;
}

void sk_stream_frame(sk_buf *out, uint64_t *sum, sk_stream_kind kind, sk_bytes body)
{
    sk_assert(body.len <= most_of(kind));
    *sum = sum_of(body, *sum, kind);
    sk_buf_byte(out, (uint8_t)kind);
    sk_buf_byte(out, BIN_32);
    put_number(out, body.len, 4);
    sk_buf_bytes(out, body);
    sk_buf_byte(out, UINT_64);
    put_number(out, *sum, 8);
}

/* Dropped here and not frame by frame: that would move the rest of the piece once for each frame of it. */
void sk_stream_feed(sk_stream_reader *reader, sk_bytes piece)
{
    sk_buf_consume(&reader->held, reader->used);
    reader->used = 0;
    sk_buf_bytes(&reader->held, piece);
}

static int read_preamble(sk_stream_reader *reader)
{
    size_t known = reader->held.len < sizeof PREAMBLE - 1 ? reader->held.len : sizeof PREAMBLE - 1;
    if (known && memcmp(reader->held.data, PREAMBLE, known) != 0) return SK_E_MALFORMED;
    if (reader->held.len < PREAMBLE_BYTES) return 0;
    if (reader->held.data[PREAMBLE_BYTES - 1] != SK_STREAM_FORMAT) return SK_E_FORMAT;
    reader->used = PREAMBLE_BYTES;
    reader->begun = true;
    return 1;
}

int sk_stream_next(sk_stream_reader *reader, sk_stream_kind *kind, sk_bytes *body)
{
    int status = reader->begun ? 1 : read_preamble(reader);
    if (status <= 0) return status;
    const uint8_t *at = reader->held.data + reader->used;
    size_t len = reader->held.len - reader->used;
    if (reader->ended) return len ? SK_E_MALFORMED : 0;
    if (len > 0 && at[0] > SK_STREAM_END) return SK_E_MALFORMED;
    if (len > 1 && at[1] != BIN_32) return SK_E_MALFORMED;
    if (len < BEFORE_BYTES) return 0;
    size_t body_len = (size_t)get_number(at + 2, 4);
    if (body_len > most_of((sk_stream_kind)at[0])) return SK_E_TOO_LARGE;
    if (len < BEFORE_BYTES + body_len + AFTER_BYTES) return 0;
    if (at[BEFORE_BYTES + body_len] != UINT_64) return SK_E_MALFORMED;
    *kind = (sk_stream_kind)at[0];
    *body = sk_bytes_of(at + BEFORE_BYTES, body_len);
    reader->sum = sum_of(*body, reader->sum, *kind);
    if (reader->sum != get_number(at + BEFORE_BYTES + body_len + 1, 8)) return SK_E_CORRUPT;
    reader->used += BEFORE_BYTES + body_len + AFTER_BYTES;
    reader->ended = *kind == SK_STREAM_END;
    return 1;
}

void sk_stream_reader_free(sk_stream_reader *reader)
{
    sk_buf_free(&reader->held);
    *reader = (sk_stream_reader){0};
}

/* -- bodies -------------------------------------------------------------------------------------------------------- */

static void pack_pairs(sk_buf *out, const sk_vv *vv)
{
    uint32_t count = 0;
    for (uint32_t o = 0; o < vv->count; o++) count += vv->seq[o] != 0;
    sk_pack_uint(out, count);
    for (uint32_t o = 0; o < vv->count; o++) {
        if (!vv->seq[o]) continue;
        sk_pack_uint(out, o);
        sk_pack_uint(out, vv->seq[o]);
    }
}

static bool read_pairs(sk_reader *reader, uint32_t origins, sk_vv *vv)
{
    uint64_t count = sk_read_uint(reader), next = 0;
    if (reader->bad || count > origins) return false;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t origin = sk_read_uint(reader), seq = sk_read_uint(reader);
        if (reader->bad || origin < next || origin >= origins || seq == 0) return false;
        sk_vv_set(vv, (uint32_t)origin, seq);
        next = origin + 1;
    }
    return true;
}

void sk_stream_head_pack(sk_buf *out, const sk_stream_head *head)
{
    sk_pack_uint(out, head->made_ms);
    sk_pack_bytes(out, head->cluster);
    sk_pack_bytes(out, head->region);
    sk_pack_uint(out, head->origins.count);
    for (uint32_t i = 0; i < head->origins.count; i++) {
        sk_pack_bytes(out, sk_bytes_str(head->origins.list[i].region));
        sk_pack_uint(out, head->origins.list[i].incarnation);
    }
    pack_pairs(out, &head->vv);
    pack_pairs(out, &head->floor);
}

static bool read_origins(sk_reader *reader, sk_origins *origins)
{
    uint64_t count = sk_read_uint(reader);
    if (reader->bad || count > SK_ORIGINS_MAX || count > sk_reader_left(reader)) return false;
    for (uint32_t i = 0; i < count; i++) {
        sk_bytes region = sk_read_bytes(reader);
        uint64_t incarnation = sk_read_uint(reader);
        uint32_t origin;
        if (reader->bad || !sk_region_name_valid(region)) return false;
        if (sk_origins_intern(origins, region, incarnation, &origin) || origin != i) return false;
    }
    return true;
}

int sk_stream_head_read(sk_bytes body, sk_stream_head *head)
{
    *head = (sk_stream_head){0};
    sk_reader reader = sk_reader_of(body);
    head->made_ms = sk_read_uint(&reader);
    head->cluster = sk_read_bytes(&reader);
    head->region = sk_read_bytes(&reader);
    bool good = read_origins(&reader, &head->origins) && read_pairs(&reader, head->origins.count, &head->vv) &&
                read_pairs(&reader, head->origins.count, &head->floor);
    return good && sk_reader_done(&reader) && sk_vv_at_most(&head->floor, &head->vv) ? 0 : SK_E_MALFORMED;
}

void sk_stream_head_free(sk_stream_head *head)
{
    sk_origins_free(&head->origins);
    sk_vv_free(&head->vv);
    sk_vv_free(&head->floor);
}

void sk_stream_end_pack(sk_buf *out, const sk_stream_end *end)
{
    sk_pack_uint(out, end->rows);
    sk_pack_uint(out, end->history);
    sk_pack_uint(out, (uint64_t)(end->digest >> 64));
    sk_pack_uint(out, (uint64_t)end->digest);
}

int sk_stream_end_read(sk_bytes body, sk_stream_end *end)
{
    sk_reader reader = sk_reader_of(body);
    end->rows = sk_read_uint(&reader);
    end->history = sk_read_uint(&reader);
    end->digest = (sk_digest)sk_read_uint(&reader) << 64;
    end->digest |= sk_read_uint(&reader);
    return sk_reader_done(&reader) ? 0 : SK_E_MALFORMED;
}
