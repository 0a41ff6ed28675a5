/* Incoming transfers: staged, made visible in one step, folded into place at leisure.
 *
 * What a transfer brings goes to the column family `staged`, where nobody looks, while local writes and live
 * transactions go on. When it is complete, one record (the fold) joins our vector with the sender's and makes the staged
 * rows count; from then on a row is brought into place when its key is next touched, or by the background fold.
 *
 *             begin                  end (one batch)             cursor at the end              history has gone
 *   nothing ---------> staging ----------------------> folding -------------------> settling -----------------> nothing
 *             ^           |  crash, cut: progress stays
 *             +-----------+  begin(resumed): goes on where it stood
 *
 * While it settles all rows are in place. What the sender of a reconcile had forgotten of its history cannot be told by us either:
 * our floor rises to its, and what was staged of history below that goes, some of it at a time.
 *
 * A reconcile is a transfer from a sender who has forgotten what it removed since: when all that it knows to be needed is
 * staged, the rest is compared (node/compare.h), and what comes out of it is staged too.
 *
 * Invariants:
 *  1. While folding, `known` (our vector just before the step) and `vv` (the sender's) never change.
 *  2. A row is folded exactly once. Not yet folded: its raw key is above the cursor, its client key is not marked, and of that
 *     key no row at or above it was folded early.
 *     Then what counts is merge(staged row, vv; our row, known) where one is staged, and our row where none is. A staged
 *     row may be empty: the sender has none. In a transfer of everything (an import: node/export.h) a row that is not
 *     staged is as good as one that is empty.
 *  3. Nobody writes a row that is not folded: whoever touches a key folds all of its rows first (sk_db_touch), or waits
 *     until that is done, some in a turn (node/wanted.h).
 *
 * A repair is a reconcile for a database whose own rows are damaged: what becomes of each is told in node/repair.h. When it is
 * sure of all of them, what the rows then come to is what is committed from there on; else the next audit asks for another
 * repair. A damaged database sends no transfers.
 *
 * An audit stages rows that differ, as the sender has them, and then changes nothing: node/quarantine.h.
 *
 * Staged keys: 'r' raw row key -> packed row (our origin numbers); 'f' client key -> nothing: folded early; 'g' client key ->
 * the last of its rows that was: the rest is still to be. */
#ifndef SK_NODE_FOLD_H
#define SK_NODE_FOLD_H

#include "gossip/engine.h"
#include "node/db.h"

void sk_fold_free(sk_db *db);
/** Reads what a crash or a stop left: an interrupted transfer, or a fold under way. */
int sk_fold_load(sk_db *db);
/** A repair that is being folded in is not sure any more. */
void sk_fold_doubt(sk_db *db);
/** A completed transfer is not yet folded in wholly. */
bool sk_fold_active(const sk_db *db);
/** The same of a snapshot, which may be behind: 1, 0, or an error. */
int sk_fold_in_snapshot(sk_db *db, sk_store_snapshot *snapshot);

/** Brings every row of a client key into place. 0 at once when nothing is being folded. Errors set db->failed. */
int sk_db_touch(sk_db *db, sk_bytes key);
/** The same, about *rows of them, which falls by as many as there were; a large row counts as several. 1: there may be more,
 *  and the key is not to be read or written; 0: all are in place. In the same batch or a later one, the next call goes on. */
int sk_db_touch_some(sk_db *db, sk_bytes key, uint32_t *rows);
/** The same for the key that a row belongs to. */
int sk_db_touch_row(sk_db *db, const sk_rowkey *key);
int sk_db_touch_row_some(sk_db *db, const sk_rowkey *key, uint32_t *rows);
/** All rows of the database: for whoever looks at everything. */
int sk_db_touch_all(sk_db *db);
/** A repair is staged or being folded in, or an audit is staged: nothing may be forgotten. */
bool sk_fold_waits_for_history(const sk_db *db);
/** An audit is staged. */
bool sk_fold_audits(const sk_db *db);
/** Drops an interrupted transfer that nobody will go on with. */
void sk_fold_drop_staged(sk_db *db);
/** Folds about `rows` more. 1: there are more, 0: done; or an error (also in db->failed). */
int sk_fold_step(sk_db *db, uint32_t rows);

/* What the engine asks of an incoming transfer; see gossip/engine.h. */
int sk_fold_progress(sk_db *db, sk_transfer_progress *progress);
int sk_fold_begin(sk_db *db, const sk_transfer_head *head);
int sk_fold_chunk(sk_db *db, sk_bytes rows, const sk_origin_map *map);
int sk_fold_compare(sk_db *db);
int sk_fold_sum(sk_db *db, sk_bytes from, sk_bytes to, sk_digest *sum);
int sk_fold_settle(sk_db *db, sk_buf *from, sk_bytes to, sk_elements rows, sk_buf *wanted, uint32_t *count);
int sk_fold_end(sk_db *db);
/** The sender has no such row, and none that it knows more of is staged. */
void sk_fold_stage_absent(sk_db *db, sk_bytes raw);
enum { SK_STAGED_ROW = 'r' }; /* what a staged row's key begins with */

/* -- the form of a chunk: records one after the other ----------------------------------------------------------------------
 * row record:     0, raw key, packed row       the row at the sender; empty bytes: it has none
 * history record: 1, raw key, origin, seq, flags   a removal (or a reset that left dead counts) that must be known on */
enum { SK_CHUNK_ROW = 0, SK_CHUNK_HISTORY = 1 };

static inline void sk_chunk_add_row(sk_buf *chunk, sk_bytes raw, sk_bytes packed)
{
    sk_pack_uint(chunk, SK_CHUNK_ROW);
    sk_pack_bytes(chunk, raw);
    sk_pack_bytes(chunk, packed);
}

static inline void sk_chunk_add_history(sk_buf *chunk, sk_dot dot, sk_bytes raw, unsigned flags)
{
    sk_pack_uint(chunk, SK_CHUNK_HISTORY);
    sk_pack_bytes(chunk, raw);
    sk_pack_uint(chunk, dot.origin);
    sk_pack_uint(chunk, dot.seq);
    sk_pack_uint(chunk, flags);
}

/* -- the sending side -------------------------------------------------------------------------------------------------------- */

int sk_source_open(sk_db *db, const sk_vv *known, const sk_transfer_progress *progress, sk_source **source,
                   sk_transfer_head *head);
int sk_source_chunk(sk_db *db, sk_source *source, size_t max, sk_buf *out);
void sk_source_compare(sk_db *db, sk_source *source, uint64_t *rows, sk_digest *sum);
int sk_source_answer(sk_db *db, sk_source *source, uint64_t number, sk_bytes from, sk_bytes to, sk_buf *out);
void sk_source_want(sk_db *db, sk_source *source, sk_elements keys);
sk_transfer_counts sk_source_counts(const sk_db *db, const sk_source *source);
void sk_source_close(sk_db *db, sk_source *source);

#endif
