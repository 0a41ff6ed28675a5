#include "crdt/number.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool sk_parse_int64(sk_bytes text, int64_t *value)
{
    const uint8_t *at = text.data;
    size_t left = text.len;
    if (left == 0 || left > SK_INT64_CHARS) return false;
    bool negative = *at == '-';
    if (negative) {
        at++;
        left--;
    }
    if (left == 0 || *at < '0' || *at > '9') return false;
    if (*at == '0' && (left > 1 || negative)) return false;
    uint64_t sum = 0;
    for (; left; at++, left--) {
        uint64_t digit = (uint64_t)*at - '0';
        if (digit > 9 || sum > (UINT64_MAX - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    if (sum > (uint64_t)INT64_MAX + negative) return false;
    *value = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

static const char PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                            "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

static size_t count_digits(uint64_t number)
{
    size_t count = 1;
    for (; number >= 10000; number /= 10000) count += 4;
    return count + (number >= 10) + (number >= 100) + (number >= 1000);
}

size_t sk_format_int64(char *text, int64_t value)
{
    uint64_t number = (uint64_t)value;
    size_t sign = value < 0;
    if (sign) {
        *text = '-';
        number = 0 - number;
    }
    size_t len = sign + count_digits(number);
    char *at = text + len;
    for (; number >= 100; number /= 100) {
        at -= 2;
        memcpy(at, PAIRS + number % 100 * 2, 2);
    }
    if (number >= 10) {
        memcpy(at - 2, PAIRS + number * 2, 2);
    } else {
        at[-1] = (char)('0' + number);
    }
    return len;
}

bool sk_parse_long_double(sk_bytes text, long double *value)
{
    char copy[SK_LONG_DOUBLE_CHARS]; /* strtold wants a NUL */
    if (text.len == 0 || text.len >= sizeof copy || isspace(text.data[0])) return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    char *end;
    errno = 0;
    long double number = strtold(copy, &end);
    if ((size_t)(end - copy) != text.len || isnan(number)) return false;
    if (errno == ERANGE && (isinf(number) || number == 0)) return false;
    *value = number;
    return true;
}

static size_t put_text(char *text, size_t cap, const char *word)
{
    size_t len = strlen(word);
    if (len >= cap) return 0;
    memcpy(text, word, len + 1);
    return len;
}

size_t sk_format_long_double(char *text, size_t cap, long double value)
{
    if (isnan(value)) return put_text(text, cap, "nan");
    if (isinf(value)) return put_text(text, cap, value > 0 ? "inf" : "-inf");
    int wrote = snprintf(text, cap, "%.17Lf", value);
    if (wrote < 0 || (size_t)wrote >= cap) return 0;
    size_t len = (size_t)wrote; /* there is always a point, and 17 digits after it */
    while (text[len - 1] == '0') len--;
    if (text[len - 1] == '.') len--;
    text[len] = 0;
    return strcmp(text, "-0") == 0 ? put_text(text, cap, "0") : len;
}

size_t sk_format_double(char *text, double value)
{
    if (isnan(value)) return put_text(text, SK_DOUBLE_CHARS, "nan");
    if (isinf(value)) return put_text(text, SK_DOUBLE_CHARS, value > 0 ? "inf" : "-inf");
    return (size_t)snprintf(text, SK_DOUBLE_CHARS, "%.17g", value);
}
