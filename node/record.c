#include "node/record.h"

#include <endian.h>

/* -- CRC-32C ------------------------------------------------------------------------------------------------------- */

/* Half a byte at a time, from a table of the sixteen remainders: for machines without the instruction. */
static uint32_t crc_plain(uint32_t crc, const uint8_t *data, size_t len)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *data, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len; data++, len--) crc = __builtin_ia32_crc32qi(crc, *data);
    return crc;
}

static uint32_t crc_of(uint32_t crc, const uint8_t *data, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc_fast(crc, data, len) : crc_plain(crc, data, len);
}
#else
static uint32_t crc_of(uint32_t crc, const uint8_t *data, size_t len)
{
    return crc_plain(crc, data, len);
}
#endif

uint32_t sk_record_crc(uint32_t before, sk_bytes bytes)
{
    return ~crc_of(~before, bytes.data, bytes.len);
}

/* -- records ------------------------------------------------------------------------------------------------------- */

/* The family is in what the sum begins with. */
static uint32_t sum_of(sk_cf cf, sk_bytes key, sk_bytes value)
{
    uint32_t crc = crc_of(~(uint32_t)cf, key.data, key.len);
    return htobe32(~crc_of(crc, value.data, value.len));
}

void sk_record_put_byte(sk_store *store, sk_cf cf, sk_bytes key, uint8_t value)
{
    uint8_t stored[1 + SK_RECORD_SUM_BYTES] = {value};
    uint32_t sum = sum_of(cf, key, sk_bytes_of(stored, 1));
    memcpy(stored + 1, &sum, sizeof sum);
    sk_store_put(store, cf, key, sk_bytes_of(stored, sizeof stored));
}

void sk_record_put(sk_store *store, sk_cf cf, sk_bytes key, sk_buf *value)
{
    uint32_t sum = sum_of(cf, key, sk_buf_view(value));
    sk_buf_append(value, &sum, sizeof sum);
    sk_store_put(store, cf, key, sk_buf_view(value));
    value->len -= sizeof sum;
}

int sk_record_open(sk_cf cf, sk_bytes key, sk_bytes stored, sk_bytes *value)
{
    uint32_t sum;
    if (stored.len < sizeof sum) return SK_E_CORRUPT;
    *value = sk_bytes_of(stored.data, stored.len - sizeof sum);
    memcpy(&sum, stored.data + value->len, sizeof sum);
    return sum == sum_of(cf, key, *value) ? 0 : SK_E_CORRUPT;
}

int sk_record_get(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes *value, uint64_t *batch)
{
    sk_bytes stored;
    int found = sk_store_get(store, cf, key, &stored, batch);
    int status = found > 0 ? sk_record_open(cf, key, stored, value) : found;
    return status ? status : found;
}

int sk_record_snapshot_get(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes key, sk_buf *value)
{
    sk_bytes opened;
    int found = sk_store_snapshot_get(store, snapshot, cf, key, value);
    int status = found > 0 ? sk_record_open(cf, key, sk_buf_view(value), &opened) : found;
    if (found > 0 && !status) value->len = opened.len;
    return status ? status : found;
}

void sk_record_name(sk_buf *text, sk_bytes key)
{
    for (size_t i = 0; i < key.len && i < 64; i++) {
        if (key.data[i] > ' ' && key.data[i] < 0x7f && key.data[i] != '"')
            sk_buf_byte(text, key.data[i]);
        else
            sk_buf_printf(text, "\\x%02x", key.data[i]);
    }
}

int sk_record_check_meta(sk_store *store, sk_buf *error)
{
    sk_bytes key, stored, value;
    int status;
    sk_store_iter *iter = sk_store_iterate(store, NULL, SK_CF_META, SK_BYTES_NONE, SK_BYTES_NONE);
    while ((status = sk_store_next(store, iter, &key, &stored)) > 0) {
        status = sk_record_open(SK_CF_META, key, stored, &value);
        if (!status) continue;
        sk_buf_printf(error, "the record \"");
        sk_record_name(error, key);
        sk_buf_printf(error, "\" of the database is damaged: " SK_RECORD_ADVICE);
        break;
    }
    sk_store_iter_free(store, iter);
    return status;
}
