/* The placer: brings committed changes from the log into the families where they belong, in sorted runs.
 *
 * RocksDB takes ascending keys several times faster than random ones. So a commit is one append to the log
 * (storage/log.h); its changes are answered from the overlay meanwhile, and many commits later all of them are written
 * at once, in key order, each key once however often it was overwritten, and nothing at all of what a later range
 * removal took out (most of the history never gets this far). Runs on the commit thread, a slice at a time, so that a
 * commit waits for a slice at most.
 *
 *   committed batches ---add--> queue ---begin--> run (all of the queue, sorted) ---step…--> last slice: their log
 *                                                                                            records are removed with it
 * Invariants:
 *  1. Runs cover consecutive batches, the oldest first; one run is finished before the next begins.
 *  2. The log records of a run are removed in the write of its last slice. A crash before leaves them all: replaying
 *     the log from its beginning, in order, gives every key the state that the log's end says, whatever had been placed.
 *  3. Between two runs the families are exactly the state after the last placed batch. */
#ifndef SK_STORAGE_PLACER_H
#define SK_STORAGE_PLACER_H

#include "storage/database.h"
#include "storage/overlay.h"

enum { SK_PLACER_SLICE = 256 << 10 }; /* bytes, about, that one step writes: how long a commit may have to wait */

typedef struct {
    sk_database *database; /* borrowed */
    sk_batch **queue;      /* owned array of borrowed batches: committed, not placed */
    size_t count, cap;
    size_t bytes; /* of the queue, those in the run included */

    bool active;
    const sk_change **run; /* owned: points in the order of family and key */
    size_t run_count, run_at;
    const sk_change **ranges; /* owned: range removals, in the order in which they came */
    size_t range_count, ranges_at;
    size_t run_batches; /* the first of the queue that are in the run */
    uint64_t run_upto;
    rocksdb_writebatch_t *write;

    uint64_t placed;                      /* every batch up to this one is in its place */
    uint64_t runs, rows, coalesced;       /* since the start: finished runs, points written, points that were not */
} sk_placer;

void sk_placer_init(sk_placer *placer, sk_database *database);
void sk_placer_free(sk_placer *placer);
/** Forgets queue and run: the batches are gone. */
void sk_placer_reset(sk_placer *placer);
/** A batch that was committed; borrowed until `placed` reaches its number. */
void sk_placer_add(sk_placer *placer, sk_batch *batch);
/** Begins a run over all of the queue, if there is one and none is active. */
void sk_placer_begin(sk_placer *placer);
/** Writes the next slice of the active run. 1: more follows, 0: the run is finished; or a negative error with RocksDB's
 *  words in `error` (SK_FOLDER_ERROR bytes). */
int sk_placer_step(sk_placer *placer, char *error);
/** At the start: brings everything that the log holds into place, and empties it. `last` gets the number of the last
 *  batch there was, 0 for an empty log. 0 or a negative error with a sentence in `error`. */
int sk_placer_replay(sk_placer *placer, uint64_t *last, char *error);

#endif
