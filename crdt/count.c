#include "crdt/count.h"

#include "crdt/number.h"

#include <math.h>

bool sk_number_add(sk_number a, sk_number b, sk_number *sum)
{
    if (!a.is_real && !b.is_real) {
        int64_t whole;
        if (__builtin_add_overflow(a.whole, b.whole, &whole)) return false;
        *sum = sk_number_whole(whole);
        return true;
    }
    long double real = sk_number_as_real(a) + sk_number_as_real(b);
    if (!isfinite(real)) return false;
    *sum = sk_number_real(real);
    return true;
}

enum { REAL_BYTES = 11 }; /* sign, mantissa (8, big-endian), exponent (2, big-endian, two's complement) */

static void real_to_bytes(long double real, uint8_t bytes[REAL_BYTES])
{
    int exponent = 0;
    long double fraction = frexpl(fabsl(real), &exponent);
    uint64_t mantissa = (uint64_t)ldexpl(fraction, 64);
    if (mantissa == 0) exponent = 0;
    bytes[0] = signbit(real) ? 1 : 0;
    for (int i = 0; i < 8; i++) bytes[1 + i] = (uint8_t)(mantissa >> (56 - 8 * i));
    bytes[9] = (uint8_t)((unsigned)exponent >> 8);
    bytes[10] = (uint8_t)exponent;
}

static long double real_of_bytes(const uint8_t bytes[REAL_BYTES])
{
    uint64_t mantissa = 0;
    for (int i = 0; i < 8; i++) mantissa = mantissa << 8 | bytes[1 + i];
    int16_t exponent = (int16_t)(bytes[9] << 8 | bytes[10]);
    long double real = ldexpl((long double)mantissa, exponent - 64);
    return bytes[0] ? -real : real;
}

void sk_number_pack(sk_buf *buf, sk_number n)
{
    if (!n.is_real) {
        sk_pack_int(buf, n.whole);
        return;
    }
    uint8_t bytes[REAL_BYTES];
    real_to_bytes(n.real, bytes);
    sk_pack_bytes(buf, sk_bytes_of(bytes, sizeof bytes));
}

sk_number sk_number_read(sk_reader *reader)
{
    bool is_bytes = sk_reader_left(reader) && *reader->at == 0xc4;
    if (!is_bytes) return sk_number_whole(sk_read_int(reader));
    sk_bytes bytes = sk_read_bytes(reader);
    long double real = bytes.len == REAL_BYTES ? real_of_bytes(bytes.data) : INFINITY;
    uint8_t again[REAL_BYTES];
    if (isfinite(real)) real_to_bytes(real, again);
    if (!isfinite(real) || memcmp(again, bytes.data, REAL_BYTES) != 0) { /* one number has one form */
        reader->bad = true;
        return sk_number_whole(0);
    }
    return sk_number_real(real);
}

bool sk_count_reset(sk_count *count, uint64_t epoch, uint64_t seq, sk_number total, sk_dot by)
{
    if (seq == 0 || epoch != count->epoch || seq <= count->base_seq) return false;
    count->base_seq = seq;
    count->base = total;
    count->reset_by = by;
    return true;
}

void sk_sum_add(sk_sum *sum, sk_number n)
{
    if (n.is_real) {
        sum->is_real = true;
        sum->real += n.real;
    } else {
        sum->whole += n.whole;
    }
}

void sk_sum_subtract(sk_sum *sum, sk_number n)
{
    if (n.is_real) {
        sum->is_real = true;
        sum->real -= n.real;
    } else {
        sum->whole -= n.whole;
    }
}

size_t sk_sum_text(const sk_sum *sum, char text[SK_SUM_TEXT_MAX])
{
    if (sum->is_real) return sk_format_long_double(text, SK_SUM_TEXT_MAX, sum->real + (long double)sum->whole);
    if (sum->whole >= INT64_MIN && sum->whole <= INT64_MAX) return sk_format_int64(text, (int64_t)sum->whole);
    /* Beyond 64 bits only concurrent increments can bring it; no increment is lost, so show them all. */
    unsigned __int128 rest = sum->whole < 0 ? -(unsigned __int128)sum->whole : (unsigned __int128)sum->whole;
    char digits[40];
    size_t count = 0, len = 0;
    for (; rest; rest /= 10) digits[count++] = (char)('0' + (int)(rest % 10));
    if (sum->whole < 0) text[len++] = '-';
    while (count) text[len++] = digits[--count];
    return len;
}
