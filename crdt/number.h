/* Numbers as Redis 7.0 reads and writes them: the same texts are accepted, the same digits come back.
 *
 * A stored number is bytes that a client may read again, so two regions, or skerry and Redis, must format one value to
 * one text. None of these allocates; reading and writing follow the C locale, which the node never changes. */
#ifndef SK_CRDT_NUMBER_H
#define SK_CRDT_NUMBER_H

#include "crdt/bytes.h"

enum {
    SK_INT64_CHARS = 20,             /* "-9223372036854775808" */
    SK_DOUBLE_CHARS = 32,            /* room for "%.17g" and a NUL */
    SK_LONG_DOUBLE_CHARS = 5 * 1024, /* room for every "%.17Lf" and a NUL; also the longest text that is read */
};

/** A decimal integer as string2ll takes it: no space, no '+', no leading zero, no "-0", nothing beyond 64 bits. False
 *  leaves `value` alone. */
bool sk_parse_int64(sk_bytes text, int64_t *value);

/** The decimal digits of `value`, at most SK_INT64_CHARS, without a NUL. Returns how many. */
size_t sk_format_int64(char *text, int64_t value);

/** A float argument as getLongDoubleFromObject takes it (INCRBYFLOAT, HINCRBYFLOAT): whatever strtold reads whole, with
 *  no space before it; hex and "inf" too, so that a command must refuse an infinite result; no NaN, no overflow, no
 *  underflow to zero. False leaves `value` alone. */
bool sk_parse_long_double(sk_bytes text, long double *value);

/** As ld2string(LD_STR_HUMAN): "%.17Lf" without trailing zeros, "0" for "-0", "inf", "-inf". Returns the length,
 *  without the NUL, or 0 if it does not fit into `cap` bytes; SK_LONG_DOUBLE_CHARS is always enough. NaN is "nan". */
size_t sk_format_long_double(char *text, size_t cap, long double value);

/** As addReplyDouble of 7.0: "%.17g", "inf", "-inf"; NaN is "nan". `text` has room for SK_DOUBLE_CHARS. Returns the
 *  length, without the NUL. */
size_t sk_format_double(char *text, double value);

#endif
