/* Rows that differ between this region and another one though both have seen the same (gossip/drift.c), while what each has
 * on its disk is what it has put there (node/audit.h): nobody can tell from the rows which of them is right.
 *
 * They are found by a reconcile that changes nothing (SK_FOR_AUDIT): what differs is staged as the other region has it, and
 * looked at when all is there. Rows that one side has changed above the other's vector may well differ; they are passed
 * over, and the owner is told that not all was found, unless what was found makes up the difference of the digests. A row
 * that neither has changed, and that differs, is drift, with certainty.
 *
 * What becomes of one:
 *  - Our own history above the floor names every row that a transaction has changed. Entries of ours that it should name
 *    and does not, and that the other region has not either, nobody has written: the row becomes the other region's. (A side
 *    judges only itself, by its own history. Where the history is gone, or counts are concerned, it can prove nothing.)
 *  - An operator says whose it is to be (REGION AUDIT RESOLVE): the next comparison with that region, which is made at
 *    once, puts its row in place of ours, with the same dots; if it still differs then, and neither has changed it.
 *  - Any other is kept as it is on both sides, and named until they agree: because an operator has said so, or because a new
 *    write took the place of both. Until then a repair (node/fold.h) keeps ours, as long as it is what was found.
 *
 * Each is a meta record, so that neither a stop nor a crash makes a repair forget: "quarantine/", region, "/", raw row key.
 * There are at most SK_QUARANTINE_MAX; of more, whose number is told, the lowest keys are kept. */
#ifndef SK_NODE_QUARANTINE_H
#define SK_NODE_QUARANTINE_H

#include "crdt/row.h"
#include "node/row_keys.h"

struct sk_db;

enum { SK_QUARANTINE_MAX = 1000 };

/* What one side has of a row. */
typedef struct {
    uint64_t hash; /* the low half of its digest; 0: there is no such row */
    sk_bytes dots; /* owned; of its entries, as text */
} sk_quarantine_side;

typedef struct {
    sk_bytes raw;    /* owned */
    sk_bytes region; /* owned; whose row differs from ours */
    sk_quarantine_side ours, theirs;
    bool resolve; /* theirs is to take the place of ours */
    bool found;   /* by the comparison that is being looked at */
    bool logged;  /* the owner's */
} sk_quarantined;

typedef struct {
    sk_quarantined *rows; /* owned; by row key, then region */
    uint32_t count, room;
    uint64_t nameless; /* that the last comparison found more */
    uint64_t settled;  /* rows that have become another region's, since the start */
    /* a comparison that is coming in */
    sk_buf region;        /* with whom */
    sk_digest difference; /* how much more its digest is than ours */
    sk_row_keys changed;  /* rows that one side has changed above the other's vector */
} sk_quarantine;

/** What the disk has. SK_E_IO, SK_E_CORRUPT. */
int sk_quarantine_load(struct sk_db *db);
void sk_quarantine_free(sk_quarantine *quarantine);

/** A comparison begins. */
void sk_quarantine_begin(struct sk_db *db, const char *region, sk_digest difference);
/** The other region has changed this row since what we have seen of it. */
void sk_quarantine_changed(struct sk_db *db, sk_bytes raw);
/** All is staged, and of vector `vv`. 0: what was found makes up the difference; SK_E_BUSY: it does not; or an error. */
int sk_quarantine_end(struct sk_db *db, const sk_vv *vv);

/** This region has what we have, or is none any more. */
void sk_quarantine_agree(struct sk_db *db, sk_bytes region);
/** Rows of a client key are to be as that region has them. Returns how many there are that differ. */
uint32_t sk_quarantine_resolve(struct sk_db *db, sk_bytes key, sk_bytes region);
/** Is it in quarantine, and still as it was found? */
bool sk_quarantine_holds(const struct sk_db *db, sk_bytes raw, const sk_row *ours);

#endif
