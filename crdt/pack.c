#include "crdt/pack.h"

#include <endian.h>
#include <msgpack/pack.h>

static int append(void *buf, const char *data, size_t len)
{
    sk_buf_append(buf, data, len);
    return 0;
}

static msgpack_packer packer_of(sk_buf *buf)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, buf, append);
    return packer;
}

void sk_pack_uint_long(sk_buf *buf, uint64_t value)
{
    msgpack_packer packer = packer_of(buf);
    msgpack_pack_uint64(&packer, value);
}

void sk_pack_int(sk_buf *buf, int64_t value)
{
    msgpack_packer packer = packer_of(buf);
    msgpack_pack_int64(&packer, value);
}

void sk_pack_double(sk_buf *buf, double value)
{
    msgpack_packer packer = packer_of(buf);
    msgpack_pack_double(&packer, value);
}

void sk_pack_nil(sk_buf *buf)
{
    msgpack_packer packer = packer_of(buf);
    msgpack_pack_nil(&packer);
}

void sk_pack_bool(sk_buf *buf, bool value)
{
    msgpack_packer packer = packer_of(buf);
    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

void sk_pack_bytes(sk_buf *buf, sk_bytes bytes)
{
    msgpack_packer packer = packer_of(buf);
    msgpack_pack_bin(&packer, bytes.len);
    if (bytes.len) msgpack_pack_bin_body(&packer, bytes.data, bytes.len);
}

void sk_pack_array(sk_buf *buf, uint32_t count)
{
    msgpack_packer packer = packer_of(buf);
    msgpack_pack_array(&packer, count);
}

void sk_pack_big_endian(sk_buf *buf, uint64_t value, size_t len)
{
    uint64_t bytes = htobe64(value << 8 * (8 - len));
    if (!buf->max && buf->cap - buf->len >= sizeof bytes) { /* nearly always: a copy of a length that is known is one store */
        memcpy(buf->data + buf->len, &bytes, sizeof bytes);
        buf->len += len;
    } else {
        sk_buf_append(buf, &bytes, len);
    }
}

enum { VARINT_LONGEST = 9 };

/* Bytes that a number takes as a varint. */
static size_t varint_len(uint64_t value)
{
    size_t bits = 64 - (size_t)__builtin_clzll(value | 1);
    return bits > 56 ? VARINT_LONGEST : (bits + 6) / 7;
}

void sk_pack_varint(sk_buf *buf, uint64_t value)
{
    if (value < 128) { /* most are */
        sk_buf_byte(buf, (uint8_t)value);
        return;
    }
    size_t len = varint_len(value);
    if (len == VARINT_LONGEST) {
        sk_buf_byte(buf, 0xff);
        sk_pack_big_endian(buf, value, 8);
        return;
    }
    uint64_t ones = ~(uint64_t)0 << (8 - (len - 1)) & 0xff; /* one for each byte that follows */
    sk_pack_big_endian(buf, value | ones << 8 * (len - 1), len);
}

/* -- reading -------------------------------------------------------------------------------------------------------
 * The first byte of each kind, from the MessagePack specification. */

enum {
    FIXARRAY = 0x90,
    FIXSTR = 0xa0,
    FALSE_BYTE = 0xc2,
    TRUE_BYTE = 0xc3,
    BIN8 = 0xc4,
    BIN32 = 0xc6,
    DOUBLE = 0xcb,
    UINT8 = 0xcc,
    UINT64 = 0xcf,
    INT8 = 0xd0,
    INT64 = 0xd3,
    STR8 = 0xd9,
    STR32 = 0xdb,
    ARRAY16 = 0xdc,
    ARRAY32 = 0xdd,
    NEGATIVE_FIXINT = 0xe0,
};

/* 0xc1, which MessagePack never uses, at the end or after anything bad. */
uint8_t sk_read_byte(sk_reader *reader)
{
    if (reader->bad || reader->at == reader->end) {
        reader->bad = true;
        return 0xc1;
    }
    return *reader->at++;
}

uint64_t sk_read_big_endian(sk_reader *reader, size_t len)
{
    if (sk_reader_left(reader) < len) {
        reader->bad = true;
        return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) value = value << 8 | reader->at[i];
    reader->at += len;
    return value;
}

/* An unsigned number after its first byte. */
static uint64_t read_unsigned(sk_reader *reader, uint8_t first)
{
    size_t len = (size_t)1 << (first - UINT8);
    uint64_t value = sk_read_big_endian(reader, len);
    if (value < 0x80 || (len > 1 && value >> 4 * len == 0)) reader->bad = true; /* there is a shorter form */
    return reader->bad ? 0 : value;
}

uint64_t sk_read_uint(sk_reader *reader)
{
    uint8_t first = sk_read_byte(reader);
    if (first < 0x80) return first;
    if (first >= UINT8 && first <= UINT64) return read_unsigned(reader, first);
    reader->bad = true;
    return 0;
}

/* A negative number after its first byte. */
static int64_t read_negative(sk_reader *reader, uint8_t first)
{
    static const int64_t shorter[] = {-32, INT8_MIN, INT16_MIN, INT32_MIN}; /* the least that fits the form before */
    int form = first - INT8;
    size_t bits = (size_t)8 << form;
    uint64_t sign = (uint64_t)1 << (bits - 1);
    int64_t value = (int64_t)((sk_read_big_endian(reader, bits / 8) ^ sign) - sign);
    if (value >= shorter[form]) reader->bad = true;
    return reader->bad ? 0 : value;
}

int64_t sk_read_int(sk_reader *reader)
{
    uint8_t first = sk_read_byte(reader);
    if (first < 0x80) return first;
    if (first >= NEGATIVE_FIXINT) return (int8_t)first;
    if (first >= INT8 && first <= INT64) return read_negative(reader, first);
    if (first >= UINT8 && first <= UINT64) {
        uint64_t value = read_unsigned(reader, first);
        if (value <= INT64_MAX) return (int64_t)value;
    }
    reader->bad = true;
    return 0;
}

double sk_read_double(sk_reader *reader)
{
    if (sk_read_byte(reader) != DOUBLE) {
        reader->bad = true;
        return 0;
    }
    uint64_t bits = sk_read_big_endian(reader, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool sk_read_bool(sk_reader *reader)
{
    uint8_t first = sk_read_byte(reader);
    if (first != TRUE_BYTE && first != FALSE_BYTE) reader->bad = true;
    return first == TRUE_BYTE;
}

sk_bytes sk_read_raw(sk_reader *reader, uint64_t len)
{
    if (len > sk_reader_left(reader)) reader->bad = true;
    if (reader->bad) return SK_BYTES_NONE;
    sk_bytes bytes = {reader->at, (size_t)len};
    reader->at += len;
    return bytes;
}

sk_bytes sk_read_bytes(sk_reader *reader)
{
    uint8_t first = sk_read_byte(reader);
    uint64_t len = 0;
    if (first >= FIXSTR && first < FIXSTR + 32)
        len = first - FIXSTR;
    else if (first >= BIN8 && first <= BIN32)
        len = sk_read_big_endian(reader, (size_t)1 << (first - BIN8));
    else if (first >= STR8 && first <= STR32)
        len = sk_read_big_endian(reader, (size_t)1 << (first - STR8));
    else
        reader->bad = true;
    return sk_read_raw(reader, len);
}

uint32_t sk_read_array(sk_reader *reader)
{
    uint8_t first = sk_read_byte(reader);
    uint64_t count = 0;
    if (first >= FIXARRAY && first < FIXARRAY + 16)
        count = first - FIXARRAY;
    else if (first == ARRAY16 || first == ARRAY32)
        count = sk_read_big_endian(reader, first == ARRAY16 ? 2 : 4);
    else
        reader->bad = true;
    if (count > sk_reader_left(reader)) reader->bad = true; /* each element takes at least a byte */
    return reader->bad ? 0 : (uint32_t)count;
}

uint64_t sk_read_varint(sk_reader *reader)
{
    uint8_t first = sk_read_byte(reader);
    if (first < 0x80) return first;
    size_t more = first == 0xff ? 8 : (size_t)__builtin_clz((unsigned)(uint8_t)~first) - 24;
    uint64_t value = sk_read_big_endian(reader, more);
    if (more < 8) value |= (uint64_t)(first & (0x7f >> more)) << 8 * more;
    if (varint_len(value) != more + 1) reader->bad = true;
    return reader->bad ? 0 : value;
}
