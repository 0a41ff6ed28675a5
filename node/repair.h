/* Which of two rows is right, in a repair: a reconcile for a database whose own rows are damaged (node/audit.h).
 *
 * The sender has all that our floor covers, and from BEGIN on we forget nothing; so what we know and it does not is in the
 * history above its vector. Of a row that was staged because it is not what we have:
 *  1. If no such record names it, it is replaced by the staged one, whatever it was: the sender has seen all that we know of it.
 *  2. If one does, it is merged like others, provided that it is what was committed. That is so
 *      - if all that we have adds up to what was committed; then other rows are damaged no more; or
 *      - once it was corrected (node/correct.h): nobody else can know what only we have written. Not where that would give back
 *        an entry that another region's operation may have removed, which nothing that we have tells; or
 *      - if the sender or our history bears out each of its entries, and that there is none, if there is none. (That is
 *        all that can be told where more than one row is damaged, or one in more than one byte.)
 *     Where only operations that put something are named, something of theirs must be there.
 *     Nobody's sums tell of dead counts, so the sender sends all rows that have some; those that ours lacks come back.
 *  3. Else it stays as it is, but for what is new in the sender's, and it is not sure that all is well again: another repair is
 *     asked for, of the next region.
 * A row that stands under a damaged key, and that such a record names under the right one, is put there, unless it may have been
 * removed meanwhile: then it stays, and nothing is sure.
 *
 * If in the end all that we have does not add up, though every row was found sound, one that such records name may lack what a
 * write that came to the damaged row could not know of, or the sums may be off for what that write removed: the repair is
 * *doubtful*. Others follow, of regions that have seen as much as we had then, until none is named; under a load without a pause
 * some always are, and SK_AUDIT_DOUBTS are enough.
 *
 * What is in quarantine (node/quarantine.h) stays as it is, unless the sender has seen a change of it that we have not. */
#ifndef SK_NODE_REPAIR_H
#define SK_NODE_REPAIR_H

#include "node/db.h"
#include "node/row_keys.h"

typedef enum { SK_REPAIR_MERGES, SK_REPAIR_REPLACES, SK_REPAIR_LEAVES } sk_repair_outcome;

/* The state of one. */
typedef struct {
    bool unsure;   /* some row may be damaged still */
    bool doubtful; /* … though there is nothing against any */
    bool begun;
    sk_row_keys recent;  /* rows that changed above the sender's vector… */
    sk_row_keys removed; /* … some time by an operation that only removes */
    sk_row_keys foreign; /* … by one of another region, as often as there is one */
    sk_row_keys news;    /* above what our vector was before */
    uint64_t effort;     /* that is left for correcting */
} sk_repair;

/* What it goes by. */
typedef struct {
    const sk_vv *vv, *floor; /* the sender's */
    const sk_vv *known;      /* our vector, just before it came */
} sk_repair_vectors;

/* A row. */
typedef struct {
    sk_row_name name; /* its key is not set where that makes no sense */
    bool is_key;
    bool sense;  /* `ours` is what is stored; otherwise it is empty, and what is stored makes none */
    sk_row ours; /* a corrected one, if it was */
    const sk_row *theirs;
} sk_repair_row;

void sk_repair_free(sk_repair *repair);
/** What is to become of it. */
int sk_repair_judge(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, sk_repair_row *row, sk_arena *arena,
                    sk_repair_outcome *outcome);
/** Ours, and theirs of the dead counts that only damage can have taken from it: their resets are not stable. For the merge, which
 *  takes what is not there for stripped. In the arena. SK_E_MEMORY. */
int sk_repair_with_dead(const sk_db *db, const sk_repair_row *row, sk_arena *arena, sk_row *with);
/** Ours is left, as nobody knows what of it is right; but what is new in the other's is put beside it: it is in no other place
 *  from here on. What that removed goes when the row is merged at last. */
int sk_repair_bring_news(sk_db *db, const sk_repair_vectors *vectors, const sk_repair_row *row, sk_arena *arena);
/** Puts the other's row in the place of ours. */
int sk_repair_replace(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors, const sk_repair_row *row,
                      const sk_row *merged);
/** All that was staged is in place. What only we have was not, as the sender has nothing to hold against it: it is corrected, if
 *  it has to be and can. */
int sk_repair_finish(sk_db *db, sk_repair *repair, const sk_repair_vectors *vectors);

#endif
