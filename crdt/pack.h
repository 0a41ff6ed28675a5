/* MessagePack, for the disk and for the wire.
 *
 * Writing goes through msgpack-c's packer into an sk_buf. Reading is a cursor over bytes that nobody trusts: it points
 * into its input, allocates nothing, and never believes a length that goes beyond the input's end (msgpack-c's unpacker
 * allocates what a length claims before it looks for the bytes). A failed read sets `bad` and answers zero from then
 * on, so a decoder reads a whole record and checks once at its end; loops bound their counts by sk_reader_left. */
#ifndef SK_CRDT_PACK_H
#define SK_CRDT_PACK_H

#include "crdt/memory.h"

/** For sk_pack_uint: whatever is not below 128. */
void sk_pack_uint_long(sk_buf *buf, uint64_t value);
static inline void sk_pack_uint(sk_buf *buf, uint64_t value)
{
    if (value < 128)
        sk_buf_byte(buf, (uint8_t)value); /* most are: they are what they say */
    else
        sk_pack_uint_long(buf, value);
}
void sk_pack_int(sk_buf *buf, int64_t value);
void sk_pack_double(sk_buf *buf, double value);
void sk_pack_nil(sk_buf *buf);
void sk_pack_bool(sk_buf *buf, bool value);
/** As a msgpack bin. */
void sk_pack_bytes(sk_buf *buf, sk_bytes bytes);
/** Only the header of an array of `count`; the elements follow. */
void sk_pack_array(sk_buf *buf, uint32_t count);

/* Not of MessagePack, but shorter, for what is on the disk once a key: the low `len` (1 to 8) bytes of a number, the
 * highest first; and a number with its length in the leading ones of its first byte: 7 bits in a byte, 14 in two, ...,
 * 56 in eight, 64 in nine. */
void sk_pack_big_endian(sk_buf *buf, uint64_t value, size_t len);
void sk_pack_varint(sk_buf *buf, uint64_t value);

typedef struct {
    const uint8_t *at, *end; /* borrowed */
    bool bad;                /* something did not fit: every answer since is zero */
} sk_reader;

static inline sk_reader sk_reader_of(sk_bytes bytes)
{
    return (sk_reader){bytes.data, bytes.len ? bytes.data + bytes.len : bytes.data, false}; /* NULL takes no + 0 */
}
static inline size_t sk_reader_left(const sk_reader *reader)
{
    return reader->bad ? 0 : (size_t)(reader->end - reader->at);
}
/** Everything was read and nothing was bad. */
static inline bool sk_reader_done(const sk_reader *reader)
{
    return !reader->bad && reader->at == reader->end;
}

/* Numbers are taken in their shortest form only, so that there is one way to write each. */
uint64_t sk_read_uint(sk_reader *reader);
int64_t sk_read_int(sk_reader *reader);
double sk_read_double(sk_reader *reader);
bool sk_read_bool(sk_reader *reader);
/** A bin or a str; points into the input. */
sk_bytes sk_read_bytes(sk_reader *reader);
/** The count of an array's elements; bad if the input has fewer bytes left than that. */
uint32_t sk_read_array(sk_reader *reader);
uint8_t sk_read_byte(sk_reader *reader);
uint64_t sk_read_big_endian(sk_reader *reader, size_t len);
uint64_t sk_read_varint(sk_reader *reader);
/** `len` bytes; points into the input. */
sk_bytes sk_read_raw(sk_reader *reader, uint64_t len);

#endif
