/* Comparing two databases range by range: what the sender of a reconcile answers, and what its receiver believes.
 *
 * The receiver's belief of a row at the sender is the row as it was staged, where one was; else its own row's entries that
 * the sender's vector VV_S covers. It compares sums of that with sums of what the sender's snapshot has (S), and what is
 * unequal it has parted, until single rows are told. A row whose belief is not what the sender has is staged anew.
 *
 * Why a range of equal sums needs nothing more. Equal sums mean equal live entries, row by row (digests are sums over them
 * and name their row; that two sets should have the same sum of 128 bits by chance is not counted with, and who could
 * bring it about could as well overwrite the rows: digests guard against faults, not against forgers). Where a row is
 * staged, it is what the sender has. Where none is, S = R ∩ VV_S, and the merge (S∩R) ∪ (S∖K) ∪ (R∖VV_S), K being what
 * the receiver knows, comes to R: all of S is in R, and S∖K is empty. Nothing has to be done, and nothing is.
 * It holds for counts because an entry's digest has its base: what the sender knows of a reset shows in the entry; dead
 * counts, which are in no digest, come with the part that is pushed: those that the receiver has not seen the resets of,
 * whether the history still speaks of them or not.
 *
 * Why it still holds at the end. Between BEGIN and END the receiver applies no transaction that VV_S covers
 * (gossip/reconcile.c): they come with the transfer. So entries that VV_S covers can go from R meanwhile, and none can be
 * added. If R' is what is left of R, (S∩R') ∪ (S∖K) ∪ (R'∖VV_S) is R' again. For the same reason sums may be of
 * different moments: each range's is right for some moment in between.
 *
 * What need not be asked for: a row that the sender has and of which the receiver believes nothing, though it knew all of
 * its entries when it asked: it has removed them, and S∖K brings nothing. The sender tells of each row whether it has `news`.
 * Rows with counts are asked for all the same: the sender's may hold a later base for a count that has gone on here.
 *
 * A repair (SK_FOR_REPAIR) is for a receiver whose own rows are damaged. Of its row's entries it then believes what
 * is there, whatever they are worth, but for what its own history names above VV_S; and every row that differs is asked for.
 * node/repair.h says what becomes of them. In an audit it believes even what the sender's vector does not cover: nothing that is there may be left out.
 *
 * Resuming needs no memory of what was compared: staged rows are part of the belief, and what the sender has changed since
 * is one more difference. */
#ifndef SK_NODE_COMPARE_H
#define SK_NODE_COMPARE_H

#include "gossip/message.h"
#include "node/db.h"
#include "node/outline.h"

/* -- the sender ---------------------------------------------------------------------------------------------------- */

/** Writes the answer to ASK, PARTS or ROWS, from a snapshot and its outline; `known` is what the receiver knew when it asked
 *  for the transfer. to.len 0: the range has no end. SK_E_IO, SK_E_CORRUPT, SK_E_PROTOCOL for a range that is none. */
int sk_compare_answer(sk_db *db, sk_store_snapshot *snapshot, const sk_outline *outline, const sk_vv *known,
                      uint64_t number, sk_bytes from, sk_bytes to, sk_buf *out);
/** A live entry, or the reset that left a dead count, that `known` does not cover; with `floor` only if that does. */
bool sk_row_has_news(const sk_row *row, const sk_vv *known, const sk_vv *floor);

/* -- the receiver -------------------------------------------------------------------------------------------------- */

typedef struct {
    sk_outline outline;
    sk_buf from; /* what is below it is in the outline */
    bool inside; /* `from` stands within a leaf */
    sk_purpose purpose;
    bool complete;
} sk_belief;

void sk_belief_free(sk_belief *belief);
/** Makes the outline: about `rows` rows more are read. `vv` is the sender's. 1: there is more, 0: it is complete; or an
 *  error. */
int sk_belief_step(sk_db *db, sk_belief *belief, const sk_vv *vv, uint64_t rows);
/** What the receiver believes that a range sums up to. */
int sk_belief_sum(sk_db *db, const sk_belief *belief, const sk_vv *vv, sk_bytes from, sk_bytes to, sk_digest *sum);
/** Goes through about `rows` rows of a range beside the sender's list of them: stages as absent what the sender has not,
 *  and appends to `wanted` the keys (sk_pack_bytes) of what must come from there. 1: there is more, from `from` on; 0:
 *  that was all; or an error. */
int sk_belief_settle(sk_db *db, const sk_belief *belief, const sk_vv *vv, sk_buf *from, sk_bytes to, sk_elements listed, uint64_t rows,
                     sk_buf *wanted, uint32_t *count);

#endif
