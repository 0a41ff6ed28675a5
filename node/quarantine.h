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
 *    write took the place of both. Until then a repair (node/repair.h) keeps ours, as long as it is what was found.
 *
 * Each is a meta record, so that neither a stop nor a crash makes a repair forget: "quarantine/", region, "/", raw row key.
 * There are at most SK_QUARANTINE_MAX of those. Of further ones, whose number is told, a mark is kept, which is enough for a
 * repair: a hash of the key and of what we have. Marks of a region are in pages, "unnamed/", region, "/", number of the page.
 * They go when it agrees, and become names, in the order of keys, when others do not need theirs any more. Where even more
 * differ, SK_QUARANTINE_MARKS_MAX with one region, what has no mark cannot be told from what the disk has damaged: as long as
 * that is so a repair brings only rows that make no sense, and any other that is damaged is a row that differs, too.
 *
 * All that is staged is looked at in steps, while everything else goes on: 128 rows take about 0.5 ms, 100,000 marks at the
 * end 4 ms (RocksDB). Whatever changes meanwhile is in our history, which is read on with each step: it is passed over, as
 * what had changed before is. */
#ifndef SK_NODE_QUARANTINE_H
#define SK_NODE_QUARANTINE_H

#include "crdt/row.h"
#include "node/marks.h"
#include "node/row_keys.h"

struct sk_db;

enum { SK_QUARANTINE_MAX = 1000, SK_QUARANTINE_MARKS_MAX = 100 * 1000 };

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

/* Rows that have no name, of one region. */
typedef struct {
    sk_bytes region; /* owned */
    sk_marks marks;
    uint64_t unmarked; /* more of them */
} sk_unnamed;

/* One that is coming in, or looked at. */
typedef struct {
    sk_buf region;        /* with whom; empty: there is none */
    sk_digest difference; /* how much more its digest is than ours */
    sk_row_keys changed;  /* rows that one side has changed above the other's vector */
    bool looks;           /* all is staged */
    sk_vv read;           /* our history above its vector is in `changed` up to here */
    sk_buf cursor;        /* the last staged key that was looked at */
    sk_digest sum, taken; /* of differences that were found; of those that are none any more */
    sk_unnamed unnamed;
} sk_comparison;

typedef struct {
    sk_quarantined *rows; /* owned; by row key, then region */
    uint32_t count, room;
    sk_unnamed *unnamed; /* owned; of regions that have any */
    uint32_t unnamed_count;
    uint64_t nameless;  /* of all of them */
    uint32_t names_max; /* for tests, … */
    uint64_t marks_max; /* … of a region */
    uint64_t settled;   /* rows that have become another region's, since the start */
    bool freed;         /* a name, since the owner looked */
    sk_comparison comparison;
} sk_quarantine;

/** With the bounds of above. */
void sk_quarantine_init(sk_quarantine *quarantine);
/** What the disk has. SK_E_IO, SK_E_CORRUPT. */
int sk_quarantine_load(struct sk_db *db);
void sk_quarantine_free(sk_quarantine *quarantine);

/** A comparison begins. */
void sk_quarantine_begin(struct sk_db *db, const char *region, sk_digest difference);
/** The other region has changed this row since what we have seen of it. */
void sk_quarantine_changed(struct sk_db *db, sk_bytes raw);
/** All is staged, and of vector `vv`: looks at about so many rows more. 1: there are more; 0: what was found makes up the
 *  difference; SK_E_BUSY: it does not; or an error. */
int sk_quarantine_step(struct sk_db *db, const sk_vv *vv, uint32_t rows);

/** This region has what we have, or is none any more. */
void sk_quarantine_agree(struct sk_db *db, sk_bytes region);
/** Rows of a client key are to be as that region has them. Returns how many there are that differ. */
uint32_t sk_quarantine_resolve(struct sk_db *db, sk_bytes key, sk_bytes region);
/** Is it in quarantine, and still as it was found? Or can that not be told? */
bool sk_quarantine_holds(const struct sk_db *db, sk_bytes raw, const sk_row *ours);

#endif
