#include "node/glob.h"

static uint8_t lower(uint8_t c, bool fold) { return fold && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

static bool in_range(uint8_t first, uint8_t last, uint8_t c, bool fold)
{
    uint8_t low = first < last ? first : last; /* put in order before case is folded, as Redis does */
    uint8_t high = first < last ? last : first;
    c = lower(c, fold);
    return c >= lower(low, fold) && c <= lower(high, fold);
}

/* The class that begins behind its '[' at `at`: does it have `c`? Returns where the pattern goes on. */
static const uint8_t *match_class(const uint8_t *at, const uint8_t *end, uint8_t c, bool fold, bool *hit)
{
    bool negated = at < end && *at == '^';
    if (negated) at++;
    bool found = false;
    for (; at < end && *at != ']'; at++) {
        if (*at == '\\' && end - at >= 2) {
            at++;
            found |= *at == c;
        } else if (end - at >= 3 && at[1] == '-') {
            found |= in_range(at[0], at[2], c, fold);
            at += 2;
        } else {
            found |= lower(*at, fold) == lower(c, fold);
        }
    }
    *hit = found != negated;
    return at < end ? at + 1 : end;
}

/* One element of the pattern that is not a star, against one byte. Returns where the pattern goes on. */
static const uint8_t *match_one(const uint8_t *at, const uint8_t *end, uint8_t c, bool fold, bool *hit)
{
    switch (*at) {
    case '?': *hit = true; return at + 1;
    case '[': return match_class(at + 1, end, c, fold, hit);
    case '\\':
        if (end - at >= 2) at++;
        break;
    default: break;
    }
    *hit = lower(*at, fold) == lower(c, fold);
    return at + 1;
}

static bool match(sk_bytes pattern, sk_bytes text, bool fold)
{
    if (pattern.len == 0) return text.len == 0;
    const uint8_t *at = pattern.data, *end = at + pattern.len;
    const uint8_t *behind_star = NULL; /* the pattern behind the last star */
    size_t done = 0, retry = 0;        /* bytes of the text matched; where the last star's rest was tried last */
    while (done < text.len) {
        bool hit = false;
        if (at < end && *at == '*') {
            behind_star = ++at;
            retry = done;
            continue;
        }
        if (at < end) at = match_one(at, end, text.data[done], fold, &hit);
        if (hit) {
            done++;
        } else if (behind_star) {
            if (behind_star == end) return true; /* the last star takes all the rest */
            at = behind_star;
            done = ++retry;
        } else {
            return false;
        }
    }
    while (at < end && *at == '*') at++;
    return at == end;
}

bool sk_glob_match(sk_bytes pattern, sk_bytes text) { return match(pattern, text, false); }

bool sk_glob_match_nocase(sk_bytes pattern, sk_bytes text) { return match(pattern, text, true); }
