/* What the history of a database (node/db.h) is written as, in the family `history`.
 *
 * An entry says that a row has changed at a dot. Entries stand in records of two kinds, both with a sum (node/record.h):
 *
 *   a page    origin, last seq       -> first seq; entries of the transactions from first to last, in their order
 *   a single  origin, seq, row key   -> flags
 *
 * What a node applies goes into pages, one for each turn of the loop and origin: a record for each entry would cost every
 * layer below nearly as much as the row itself. Singles are entries whose dots come in no order (with a transfer), and those
 * below the floor that are kept.
 *
 * Numbers in keys are big-endian, so records are in the order of origin and (last) seq, a page before singles of its last.
 *
 * Invariants:
 *  1. A page's transactions follow each other without a gap, and each but the last is whole: what did not fit of that one
 *     stands in singles. No other single above the floor has a dot between a page's first and last.
 *  2. Where the floor is within a page, what that has at or below it is gone: its readers pass over it. */
#ifndef SK_NODE_HISTORY_H
#define SK_NODE_HISTORY_H

#include "crdt/dot.h"
#include "crdt/pack.h"
#include "crdt/vv.h"

enum {
    SK_HISTORY_REMOVES = 1, /* the transaction only removed from the row */
    SK_HISTORY_DEAD = 2,    /* it left a dead count there */
    SK_HISTORY_DOT_BYTES = 12,
};

typedef struct {
    sk_dot dot;
    sk_bytes raw; /* the row's key; borrowed from the record */
    unsigned flags;
} sk_history_entry;

/* A record as it was read: a cursor over its entries. */
typedef struct {
    uint32_t origin;
    uint64_t first, last; /* seqs; a single has one */
    bool page;
    uint64_t gone; /* entries up to this seq are passed over */
    sk_reader rest; /* of a page: entries to come */
    sk_history_entry next;
    bool has_next;
} sk_history_record;

/** The first 12 bytes of a key: origin and (last) seq. */
void sk_history_key(uint8_t key[SK_HISTORY_DOT_BYTES], uint32_t origin, uint64_t seq);
/** The key of a single, over `buf`. */
void sk_history_single_key(sk_buf *buf, sk_dot dot, sk_bytes raw);
/** Splits a key; `raw` is empty for a page. False if it is none. */
bool sk_history_parse(sk_bytes key, sk_dot *dot, sk_bytes *raw);
/** Reads a record of a database whose floor is `floor`; NULL: entries at or below it come too. SK_E_CORRUPT if it is not
 *  what was put: then it has no entry. */
int sk_history_open(sk_bytes key, sk_bytes stored, const sk_vv *floor, sk_history_record *record);
/** The next entry, ascending by dot. False: there is none. */
bool sk_history_next(sk_history_record *record, sk_history_entry *entry);

/* A page that is being made. All zeros: none. */
typedef struct {
    uint32_t origin;
    uint64_t last;
    sk_dot written; /* the last one of the page before */
    sk_buf value;   /* empty: it has no entry */
} sk_history_page;

/** Can it take an entry of this dot? One without entries takes any. */
bool sk_history_page_takes(const sk_history_page *page, sk_dot dot);
void sk_history_page_add(sk_history_page *page, sk_dot dot, sk_bytes raw, unsigned flags);
/** Its entries so far, as those of a record; until the next is added. */
sk_history_record sk_history_page_read(const sk_history_page *page);

#endif
