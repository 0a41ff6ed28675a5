/* Numbers that several regions add to: one entry per origin, an observed reset, no drift.
 *
 * An origin's entry holds `total`, the sum of all it added since the entry's `epoch` began (its seq then). A reset
 * (SET, DEL) notes for each entry that it saw the total at that moment: the entry's `base`. What counts is
 * total - base, so an increment that the reset did not see survives it, whatever arrives first, and a reset that two
 * regions make at once is subtracted once. Totals are added to by their origin alone and never summed across nodes, so
 * nothing drifts. After Weidner and Almeida, "An Oblivious Observed-Reset Embeddable Replicated Counter" (2022).
 *
 * An entry whose base is its last increment is dead: it is read as absent and stays in no digest, but is kept until
 * the reset that left it so is stable (not any other reset of the row), because a later increment of the same epoch may
 * still come from elsewhere; if its origin is open-ended (sk_origins_open_ended), for good. An origin that finds its own entry dead or gone begins a new epoch. */
#ifndef SK_CRDT_COUNT_H
#define SK_CRDT_COUNT_H

#include "crdt/dot.h"

/* A whole number, or after INCRBYFLOAT a real one. */
typedef struct {
    bool is_real;
    int64_t whole;
    long double real;
} sk_number;

typedef struct {
    uint64_t epoch;    /* seq of the origin's first increment that `total` holds */
    sk_number total;   /* sum of increments since then */
    uint64_t base_seq; /* last increment that a reset saw; 0: none since epoch */
    sk_number base;    /* total at base_seq */
    sk_dot reset_by;   /* of a dead one: the transaction that left it so */
} sk_count;

static inline sk_number sk_number_whole(int64_t whole)
{
    return (sk_number){.whole = whole};
}
static inline sk_number sk_number_real(long double real)
{
    return (sk_number){.is_real = true, .real = real};
}
static inline long double sk_number_as_real(sk_number n)
{
    return n.is_real ? n.real : (long double)n.whole;
}
/** a + b; false if both are whole and the sum is not an int64, or a real sum is not finite. */
bool sk_number_add(sk_number a, sk_number b, sk_number *sum);
/** As a msgpack int, or for a real its 64-bit mantissa and exponent as a bin of 11 bytes: exact, the same everywhere. */
void sk_number_pack(sk_buf *buf, sk_number n);
sk_number sk_number_read(sk_reader *reader);

/** Transaction `by` has a reset that saw this origin's entry at `seq` with `total` in `epoch`. True if the count
 *  changed. */
bool sk_count_reset(sk_count *count, uint64_t epoch, uint64_t seq, sk_number total, sk_dot by);
/** The later of two bases of one epoch into `count`. True if it changed. */
static inline bool sk_count_join_base(sk_count *count, const sk_count *other)
{
    return sk_count_reset(count, other->epoch, other->base_seq, other->base, other->reset_by);
}

/* -- the sum of many entries -------------------------------------------------------------------------------------- */

typedef struct {
    __int128 whole;
    long double real;
    bool is_real;
} sk_sum;

void sk_sum_add(sk_sum *sum, sk_number n);
void sk_sum_subtract(sk_sum *sum, sk_number n);

enum { SK_SUM_TEXT_MAX = 5200 }; /* bytes for the longest text of a sum */

/** The sum as Redis prints it: whole numbers in decimal digits, reals as INCRBYFLOAT does. Returns the length. */
size_t sk_sum_text(const sk_sum *sum, char text[SK_SUM_TEXT_MAX]);

#endif
