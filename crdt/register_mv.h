/* Registers: a string, or one field of a hash, that may be a number at the same time.
 *
 * Concurrent plain writes become siblings; increments add up beside whatever value stands (crdt/count.h). What a reader
 * sees is worked out here from a row's live content:
 *
 *   no value, no count      nothing
 *   only counts             one sibling: their sum
 *   values, some numeric    a sibling each; the sum of the counts is part of each numeric one
 *   values, none numeric    a sibling each, and one more for the sum, if there are counts
 *
 * More than one sibling is a conflict: shown under the policy `siblings`; under `newest` the sibling with the latest
 * time stands for all (ties: by origin, then seq). Membership entries do not count here. */
#ifndef SK_CRDT_REGISTER_MV_H
#define SK_CRDT_REGISTER_MV_H

#include "crdt/op.h"

typedef struct {
    sk_dot dot;
    sk_hlc hlc;
    sk_bytes value; /* borrowed from the row, or in the arena */
    bool is_sum;    /* a counter without a value of its own */
} sk_sibling;

typedef struct {
    sk_sibling *siblings; /* in the arena; in the row's order */
    uint32_t count;
    uint32_t newest; /* index of the newest, if count > 0 */
} sk_register;

/** True if the row alone shows a conflict: a cheap answer for indexes. */
bool sk_register_conflicted(const sk_row *row);
/** The number that is shown, if it is a whole one that counts alone make up: that of nearly every counter, without its text. */
bool sk_register_whole(const sk_row *row, int64_t *number);
/** SK_E_MEMORY. */
int sk_register_read(const sk_row *row, const sk_origins *origins, sk_arena *arena, sk_register *out);

/** The value with the counts of `row` added if it is a number, else the value itself. SK_E_MEMORY. */
int sk_register_show(const sk_row *row, sk_bytes value, sk_arena *arena, sk_bytes *shown, bool *numeric);

/** Makes `op` a plain write of `value` over everything that `row` (as it is now) holds of content. SK_E_MEMORY. */
int sk_register_write(sk_op *op, const sk_row *row, uint32_t own, sk_bytes value, sk_arena *arena);
/** Makes `op` an addition of `by` by origin `own`, whose next dot is `dot`. SK_E_RANGE if its own share overflows. */
int sk_register_add(sk_op *op, const sk_row *row, sk_dot dot, sk_number by);
/** Makes `op` a removal of all content of `row` (deadlines too, if asked). SK_E_MEMORY. */
int sk_register_remove(sk_op *op, const sk_row *row, uint32_t own, bool deadlines, sk_arena *arena);

#endif
