/* Operations and transactions: what one region did, as every region applies it.
 *
 * A transaction has one dot; each of its operations changes one row. It was made by a node whose vector then was `seen`
 * (its dependencies, and for its own origin everything before the dot). An operation
 *
 *   1. resets the counts it lists (of other origins: it notes the total that it saw, see crdt/count.h);
 *   2. removes what it says: with `forgets_content` / `forgets_deadlines` every entry of the class that `seen` covers,
 *      which is what a plain write or removal saw, without naming it; and the dots listed in `removed`, for a write
 *      made with an older causal context;
 *   3. adds at most one content entry and one deadline entry, under the transaction's dot. A count replaces the count
 *      that its origin had in the row.
 *
 * Delivered once each, and causes first, every order gives the same rows: an entry stands exactly when some operation
 * added it and no operation that had seen it removed it. */
#ifndef SK_CRDT_OP_H
#define SK_CRDT_OP_H

#include "crdt/row.h"

typedef struct {
    sk_dot dot; /* an entry of another origin that the writer saw, and now resets */
    uint64_t epoch;
    sk_number total;
} sk_reset;

typedef struct {
    sk_dot dot;
    sk_entry_class class;
} sk_removed;

typedef struct {
    sk_bytes key; /* row key; borrowed, like everything here */
    bool forgets_content, forgets_deadlines;
    bool has_content, has_deadline;
    sk_entry content;  /* dot and hlc are the transaction's */
    sk_entry deadline; /* likewise */
    sk_reset *resets;
    uint32_t reset_count;
    sk_removed *removed;
    uint32_t removed_count;
} sk_op;

typedef struct {
    sk_dot dot;
    sk_hlc hlc;
    sk_vv seen;        /* owned; dependencies, its own origin at dot.seq - 1 */
    sk_bytes ops;      /* the operations, packed; origin numbers as in the message or ring it came from */
    uint32_t op_count;
} sk_txn;

/** Adds nothing to its row. */
static inline bool sk_op_only_removes(const sk_op *op)
{
    return !op->has_content && !op->has_deadline;
}

/** The row after the operation, in `out` (values borrowed from row and op). `left_dead`, if not NULL, is set (never
 *  cleared) when a dead count stays behind and must be stripped once this dot is stable. SK_E_MEMORY. */
int sk_op_apply(const sk_op *op, sk_dot dot, sk_hlc hlc, const sk_vv *seen, const sk_row *row, sk_arena *arena,
                sk_row *out, bool *left_dead);

/** Fills op->resets with the live counts of `row` of other origins than `own`: what an operation that sets
 *  forgets_content must list. SK_E_MEMORY. */
int sk_op_list_resets(sk_op *op, const sk_row *row, uint32_t own, sk_arena *arena);

enum { SK_OP_BYTES_LEAST = 3 }; /* packed: no row key is empty */

/** At least as many bytes as sk_op_pack appends. */
size_t sk_op_size(const sk_op *op);
/** The same for the operation that removes all of a row. */
size_t sk_op_removal_size(sk_bytes key, const sk_row *row);
/** Appends one operation. The entries' dots and times are the transaction's and are not repeated. */
void sk_op_pack(sk_buf *buf, const sk_op *op);
/** Reads one; everything is borrowed from the input or in the arena. SK_E_MALFORMED, SK_E_MEMORY;
 *  SK_E_TOO_LARGE for a list of more than SK_ROW_ENTRIES_MAX. */
int sk_op_read(sk_reader *reader, const sk_origin_map *map, sk_dot dot, sk_hlc hlc, sk_arena *arena, sk_op *op);

#endif
