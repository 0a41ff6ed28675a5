/* Reading UTF-8 that nobody vouches for, one character at a time: for logs and for configuration. */
#ifndef SK_NODE_UTF8_H
#define SK_NODE_UTF8_H

#include "crdt/bytes.h"

/** The length in bytes of the character that `text` (at least one byte) begins with, and the character; 0 when the
 *  bytes are not UTF-8 (overlong forms, surrogates and what lies beyond U+10FFFF included). */
static inline size_t sk_utf8_next(const uint8_t *text, size_t len, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text[0];
    size_t size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 0;
    if (size == 0 || first >= 0xf8 || size > len) return 0;
    uint32_t value = size == 1 ? first : first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (text[i] & 0x3f);
    }
    if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return 0;
    *character = value;
    return size;
}

/** C0, DEL and C1: what a terminal or a line reader would act on. */
static inline bool sk_utf8_is_control(uint32_t character)
{
    return character < 0x20 || (character >= 0x7f && character < 0xa0);
}

#endif
