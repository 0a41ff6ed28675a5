/* Glob patterns as Redis matches them (stringmatchlen): KEYS, SCAN MATCH, CONFIG GET.
 *
 *   *      any bytes, also none          [abc] [a-z]   one byte of these
 *   ?      any one byte                  [^a]          one byte, none of these
 *   \x     x itself, also within [ ]
 *
 * Redis' way with odd patterns is kept: "[abc" without its end is closed by the pattern's end, "[]" matches nothing,
 * "[z-a]" is "[a-z]", a lone '\' at the end is itself. Two differences, on purpose: bytes of a range compare unsigned
 * (Redis: whatever the platform's char is), and stars alone match the empty text, which Redis arranges in its callers.
 *
 * Only the last star seen is ever tried again, since what it skips more an earlier one need not: at most
 * pattern × text steps, no recursion, where Redis 7.0 takes exponential time for "a*a*a*a*b". */
#ifndef SK_NODE_GLOB_H
#define SK_NODE_GLOB_H

#include "crdt/bytes.h"

/** Does the pattern match the whole text? */
bool sk_glob_match(sk_bytes pattern, sk_bytes text);

/** The same with ASCII letters equal in either case (except escaped ones within [ ], as Redis has it). */
bool sk_glob_match_nocase(sk_bytes pattern, sk_bytes text);

#endif
