/* The audit: whether everything that a database has on its disk is what was put there. It begins with each start, and when
 * an operator says so; it goes on in small steps while everything else does.
 *
 *   HISTORY  each entry against its own sum (node/record.h)
 *   STAGED   likewise
 *   ROWS     all rows added up against what was committed (node/sums.h); what the derived index lacks of each
 *   SIZES    only where what digests leave out is not what was committed: members and fields are counted anew
 *   RENEWING only where history is damaged: what is at or below the new floor goes
 *   DERIVED  each entry of the derived index against its row
 *   DONE
 *
 * (Meta records are all read at every open, which refuses a database with a damaged one: sk_record_check_meta.)
 *
 * What is found, and what becomes of it:
 *  - history that is damaged: nobody can tell what changed, nor what was removed. The history begins anew: the floor is
 *    raised to the whole vector (sk_db_open's invariant 2 holds of nothing below it), so that peers that lack something
 *    are reconciled. Records of dead counts are written anew from the rows, as after a repair. Until then, and until all
 *    else at or below the floor has gone, no transfer is sent, nor before the history has been gone through: a transfer
 *    from damaged history would leave rows out.
 *  - staged rows that are damaged: a transfer that still comes in is dropped, and asked for again. Of one that is being
 *    folded in they are lost: `lost`, which is noted on the disk; the database is damaged.
 *  - rows that are not what was committed: the database is damaged. So it is where staged ones are lost. Both are repaired from
 *    a peer whose own audit found nothing (node/repair.h); what only we have written is corrected then (node/correct.h).
 *  - sizes, derived entries, numbers of keys and conflicts: mended from the rows.
 *  - rows that SK_AUDIT_PATIENCE repairs, one after the other, have left in doubt, or for which no region could be asked as often
 *    though there are links: it stays damaged, and is `unproven`. They are asked for all the same.
 *  - dead counts, which no rows prove: the database is damaged, `beyond` what can be mended here.
 *  - a file that the store cannot read: likewise, `unreadable`.
 *  The last three are noted on the disk: the next open goes through everything before it answers, and refuses the database
 *  if it is so still. (A block of which everything was removed by range may be met by other reads only: then it is told again.)
 * A damaged database goes on: it reads and writes what it can, sends no transfers and tells no digest. While it waits for
 * a repair it forgets no history, whatever the caps are: what others lack is how it tells damage from what only it has seen. */
#ifndef SK_NODE_AUDIT_H
#define SK_NODE_AUDIT_H

#include "node/sums.h"

typedef enum {
    SK_AUDIT_HISTORY,
    SK_AUDIT_STAGED,
    SK_AUDIT_ROWS,
    SK_AUDIT_SIZES,
    SK_AUDIT_RENEWING,
    SK_AUDIT_DERIVED,
    SK_AUDIT_DONE,
} sk_audit_stage;

typedef struct {
    sk_audit_stage stage;
    sk_buf cursor;           /* of all stages but ROWS: the last key that was gone through; empty: none */
    bool history_damaged;    /* it is to begin anew */
    bool rows_again;         /* first all rows are looked at once more */
    bool history_renewed;    /* it did */
    bool lost;               /* no sum is to be trusted before a repair is through, because… */
    bool lost_rows;          /* … staged rows are lost, or else because one is under way */
    bool beyond, unreadable, unproven;
    uint32_t doubts;         /* repairs that left no row but doubtful ones (node/repair.h), and… */
    sk_vv doubted;           /* … our vector after the last: the next must be from a region that has seen as much */
    sk_vv owed;              /* what senders had seen of whose repairs a row was left in doubt: it has not got what they removed from it,
                              * though our vector covers that, so who is to be sure of it must have seen as much. On the disk */
    uint32_t in_vain;        /* repairs, one after the other, that left a row in doubt or could not be asked for */
    bool adopt;              /* rows were brought from elsewhere: what they come to is what is committed from here on */
    uint64_t adopted_by;     /* number of the batch that says so; 0: none */
    uint64_t entries;        /* of history, gone through */
    uint64_t damaged_history, damaged_staged;
    uint64_t mended_derived, mended_sizes;
    uint64_t repairs;        /* that came in */
    sk_buf names;            /* of damaged rows: 1 for one that was repaired, or 0, and the row key (sk_pack_bytes) */
    uint32_t named;          /* in `names` */
    uint64_t nameless;       /* more of them */
} sk_audit;

struct sk_db;

/** From the beginning: sums too. What is noted on the disk is read. SK_E_IO, SK_E_CORRUPT. */
int sk_audit_begin(struct sk_db *db);
void sk_audit_free(sk_audit *audit);
/** Goes on by about so many entries or rows. 1: there is more, 0: it is done; or an error: try again later. */
int sk_audit_step(struct sk_db *db, uint32_t entries);
/** To its end, after that of a fold; what is much goes to the disk meanwhile. For whoever has nothing else to do. No transaction
 *  is open. */
int sk_audit_finish(struct sk_db *db);
/** As a person asks for it: from the beginning, and what was found before is not named any more. */
int sk_audit_again(struct sk_db *db);
/** There is something to do. */
bool sk_audit_pending(const struct sk_db *db);
/** The database is not what was committed. */
bool sk_audit_damaged(const struct sk_db *db);
/** "scanning", "damaged", "verified". */
const char *sk_audit_text(const struct sk_db *db);
/** Why it is damaged, in a sentence; "" if it is not. */
const char *sk_audit_why(const struct sk_db *db);
/** Whether a transfer may be sent: 0, SK_E_BUSY, SK_E_CORRUPT. */
int sk_audit_may_send(const struct sk_db *db);

/** Whoever comes across it: the history is damaged. */
void sk_audit_history_damaged(struct sk_db *db);
/** … the store cannot read something. */
void sk_audit_unreadable(struct sk_db *db);
/** … staged rows that were to be folded in are. */
void sk_audit_lost(struct sk_db *db);
enum { SK_AUDIT_NAMES_MAX = 100 };
/** A row was found damaged, or was repaired. */
void sk_audit_name(struct sk_db *db, sk_bytes raw, bool repaired);
/** The next of audit->names, which the reader began over. False at the end. */
bool sk_audit_next_name(sk_reader *names, sk_bytes *raw, bool *repaired);
typedef enum { SK_AUDIT_SURE, SK_AUDIT_DOUBTFUL, SK_AUDIT_UNSURE } sk_audit_verdict;
/** A peer's rows have taken the place of damaged ones; if that is sure of all of them, what they come to is what is committed
 *  from here on. `seen` is the peer's vector. The audit begins anew. */
void sk_audit_repaired(struct sk_db *db, sk_audit_verdict verdict, const sk_vv *seen);
enum {
    SK_AUDIT_PATIENCE = 20, /* repairs in vain */
    SK_AUDIT_DOUBTS = 5,    /* that left nothing but doubtful rows: under a load that has no pause some always are */
};
/** The database was opened: nobody has watched its disk meanwhile. A repair that had not come to its end does not settle anything. */
void sk_audit_started(struct sk_db *db);
/** No region that there is a link to has what a repair needs. */
void sk_audit_not_repaired(struct sk_db *db);
/** Rows are damaged, and a peer may have them as they were. */
bool sk_audit_wants_repair(const struct sk_db *db);
/** It does, or will when it has been gone through again. */
bool sk_audit_needs_history(const struct sk_db *db);
/** The scan of the rows has come to one that makes sense: adds up what digests leave out, mends what follows from it. */
int sk_audit_row(struct sk_db *db, sk_bytes raw, const sk_row *row, sk_row_counts *counts);
/** History gets the records of a row's dead counts that it lacks: they are to be stripped one day. */
int sk_audit_record_dead(struct sk_db *db, sk_bytes raw, const sk_row *row);
/** Is there a note on the disk that the database could not be mended? 1, and whether it was a repair that failed; 0, or an error. */
int sk_audit_noted(struct sk_db *db, bool *repair);

#endif
