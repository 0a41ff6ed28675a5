/* Sums over ranges of rows: what two databases compare instead of their rows, and what tells that a database is whole.
 *
 * The space of row keys (all tables, by memcmp) is divided into leaves of some hundreds of rows. A leaf knows how many
 * live rows it has, the sum of their digests (sk_row_digest: a sum over live entries, so that a change of a row is a
 * subtraction and an addition), and a vector that covers every live entry in it and the resets of its dead counts. All of it is derived and in memory alone.
 *
 * After a start the leaves are made by a scan in key order, a few rows at a time, while everything else goes on. `cursor`
 * says how far it has come: what is put at or below it changes its leaf at once, what is put above it is met by the scan.
 * From then on every put keeps its leaf up to date, at the price of one binary search (sk_sums_change).
 *
 *   scanning --rows are through--> verified    the sum is the one that the database kept with its commits
 *      |                      \--> different   it is not, or rows make no sense: what is on the disk is not what was put
 *      |                                       there. The sums are still those of the rows that there are
 *      +--the store cannot read--> unreadable  likewise; no leaves are kept
 *
 * A row that cannot be read stands in the sums with a digest of its own, which no sound row has.
 *
 * A leaf that has outgrown twice `leaf_rows` is cut: its first rows are read and become leaves of their own, up to four, and the
 * rest is what was there less that; so a cut reads a bounded number of rows, however large the leaf has become. Leaves that
 * have shrunk are joined with a neighbour, which reads nothing. Bounds are as short as separates two keys. However late a leaf
 * is cut it is right, only coarse: under a load of puts the owner waits (node/replica.c, add_up).
 *
 * Every put changes a leaf, and where there are thousands that is waiting for memory: so changes are gathered, and some dozens look
 * for their leaves side by side, each step of one while those of the others are fetched. Who reads leaves has to see to it that
 * they are settled (sk_sums_settle); totals always are.
 *
 * Invariants (sk_db_check):
 *  1. leaves[0] begins with the empty key; the others' least keys ascend.
 *  2. Of each leaf `rows` and `sum` are exact for the rows in its range (of those at or below the cursor while scanning),
 *     uncommitted puts included, and changes that wait; `vv` covers their live entries, and of dead counts the resets.
 *  3. A leaf's rows last changed (as digests see it) in the batch of number `changed`, or before. */
#ifndef SK_NODE_SUMS_H
#define SK_NODE_SUMS_H

#include "crdt/row.h"

struct sk_db;

enum {
    SK_LEAF_ROWS = 512,
    SK_LEAF_CHANGES = 64, /* that wait at most */
};

typedef struct {
    sk_bytes low;  /* owned; its least key */
    sk_vv vv;      /* owned */
    sk_digest sum;
    uint64_t rows; /* that have a live entry */
    uint64_t changed;
} sk_leaf; /* a line of the processor's cache, or two */

/* What digests leave out, added up over rows modulo 2^64. */
typedef struct {
    uint64_t rest;            /* sk_row_rest */
    uint64_t keys, conflicts; /* how many there are */
} sk_row_counts;

typedef enum { SK_SUMS_SCANNING, SK_SUMS_VERIFIED, SK_SUMS_DIFFERENT, SK_SUMS_UNREADABLE } sk_sums_state;

/* Of a leaf's least key the first bytes, as numbers that compare as they do; zeros behind a shorter one. */
typedef struct {
    uint64_t words[4];
} sk_leaf_head;

/* The search for a key's leaf: it is `at`, or one of those after it. Of the key's words so many are shared with `at`, and with the
 * leaf behind the range that is left. */
typedef struct {
    sk_leaf_head head; /* of the key */
    sk_bytes key;
    uint32_t at;
    uint32_t same_at, same_end;
} sk_leaf_search;

/* What a leaf's vector is to cover. */
typedef struct {
    sk_dot *list; /* borrowed */
    uint32_t count;
} sk_leaf_dots;

/* What a put does to its leaf. */
typedef struct {
    sk_leaf_search leaf;
    sk_digest sum; /* to be added, modulo 2^128; likewise rows */
    uint64_t rows;
    uint64_t batch;
    sk_leaf_dots dots;
    bool empties; /* the row is gone */
} sk_leaf_change;

typedef struct {
    sk_leaf **leaves;    /* owned, and what they point to */
    sk_leaf_head *heads; /* owned; of each leaf */
    uint32_t count, room;
    uint32_t leaf_rows; /* aimed at. Set by the owner before the first step */
    sk_sums_state state;
    sk_buf cursor; /* scanning: the last row key that is in; empty: none */
    uint64_t rows;
    sk_digest sum;
    sk_row_counts counts;
    uint64_t senseless; /* rows that make no sense */
    size_t bytes;      /* of memory, about */
    bool outgrown;     /* some leaf may have to be cut */
    uint32_t look;     /* where the search for it goes on */
    sk_arena arena;    /* a step's */
    sk_leaf_change changes[SK_LEAF_CHANGES]; /* that wait; their keys and dots are in the arena after them */
    uint32_t change_count;
    sk_arena change_arena;
} sk_sums;

void sk_sums_init(sk_sums *sums, uint32_t leaf_rows);
/** Empty, and to be scanned anew. */
void sk_sums_reset(sk_sums *sums);
void sk_sums_free(sk_sums *sums);

/** Brings what waits into the leaves. */
void sk_sums_settle(sk_sums *sums);
/** The leaf that a key belongs to; there must be one. */
uint32_t sk_sums_find(const sk_sums *sums, sk_bytes raw);

/** A row was put in the batch of that number: its digest was `before`, and `after` is what it is with `row`; `counts` is what
 *  that adds to those. */
void sk_sums_change(sk_sums *sums, sk_bytes raw, sk_digest before, sk_digest after, const sk_row_counts *counts,
                    const sk_row *row, uint64_t batch);
/** The digest of a row as it is stored, which may make no sense: if it cannot even be read, it is one of its own, and `row`
 *  is empty. Values in the arena. SK_E_MEMORY. */
int sk_sums_digest(struct sk_db *db, sk_bytes raw, sk_bytes value, sk_arena *arena, sk_row *row, sk_digest *digest,
                   bool *sense);
/** What is stored of a row makes no sense, and another takes its place: it goes as it was added up. (What was committed stays, and
 *  so what the row was is missed.) SK_E_IO, SK_E_MEMORY. */
int sk_sums_take_out(struct sk_db *db, sk_bytes raw);

/** Goes on with what is to be done: about `rows` rows more of the scan, or a leaf cut. 1: there is more, 0: nothing is left;
 *  or SK_E_IO, SK_E_MEMORY: try again later. */
int sk_sums_step(struct sk_db *db, uint32_t rows);
/** There is something to be done. */
static inline bool sk_sums_pending(const sk_sums *sums)
{
    return sums->state == SK_SUMS_SCANNING || sums->outgrown;
}
/** The database is not what it was committed as. */
static inline bool sk_sums_damaged(const sk_sums *sums)
{
    return sums->state == SK_SUMS_DIFFERENT || sums->state == SK_SUMS_UNREADABLE;
}

#endif
