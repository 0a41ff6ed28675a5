/* The outline of a set of rows that does not change: marks in the space of row keys, and of all rows below each mark how
 * many they are and what their digests come to. Between two marks that is a subtraction; ranges that end elsewhere are
 * read row by row at their ends. Both sides of a reconcile make one: the sender of its snapshot, the receiver of what it
 * believes that the sender has (node/compare.h).
 *
 * It is made from its lowest key on: a mark, what is in between, the next mark. */
#ifndef SK_NODE_OUTLINE_H
#define SK_NODE_OUTLINE_H

#include "crdt/row.h"

typedef struct {
    sk_bytes key; /* in the arena */
    uint64_t rows;
    sk_digest sum; /* of all below the key */
} sk_mark;

typedef struct {
    sk_mark *marks; /* owned; ascending, the first one the empty key */
    uint32_t count, room;
    uint64_t rows;
    sk_digest sum; /* of all that was added so far */
    uint64_t since; /* rows added since the last mark */
    sk_buf last;    /* the last row that was added by itself */
    sk_arena arena;
} sk_outline;

void sk_outline_free(sk_outline *outline);
/** A mark at this key, above all that was added so far; nothing where there is one already. */
void sk_outline_mark(sk_outline *outline, sk_bytes key);
/** What lies between the last mark and the next. */
void sk_outline_add(sk_outline *outline, uint64_t rows, sk_digest sum);
/** One row, above all others; a mark comes before it where `leaf_rows` have been added since the last. */
void sk_outline_row(sk_outline *outline, sk_bytes key, sk_digest digest, uint64_t leaf_rows);
/** Number of the first mark at or above a key; `count` if there is none. */
uint32_t sk_outline_at(const sk_outline *outline, sk_bytes key);
/** Rows and sum from mark `from` up to mark `to`, which is `count` for the end. */
void sk_outline_between(const sk_outline *outline, uint32_t from, uint32_t to, uint64_t *rows, sk_digest *sum);
/** The shortest key above `below` and not above `above`. Borrowed from `above`. */
sk_bytes sk_key_between(sk_bytes below, sk_bytes above);

#endif
