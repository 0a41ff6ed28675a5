/* The placer: brings committed changes from the log into the families where they belong, in sorted runs.
 *
 * RocksDB takes ascending keys several times faster than random ones, and a finished table fastest. So a commit is one
 * append to the log (storage/log.h); its changes are answered from the overlay meanwhile, and many commits later all of
 * them are placed at once, in key order, each key once however often it was overwritten, and nothing at all of what a
 * later range removal took out (most of the history never gets this far).
 *
 *   committed batches ---add--> queue ---begin--> run (all of the queue, sorted) ---step…--> last step: the log's
 *                                                                                            segments before it go
 * What a family has much of in a run becomes a table that RocksDB takes in whole (ingestion): nothing of it goes through
 * the write-ahead log or a memtable. The rest is written a slice at a time.
 *
 * Invariants:
 *  1. Runs cover consecutive batches, the oldest first; one run is finished before the next begins.
 *  2. The log's records of a run are removed when all of it is on the disk. A crash before leaves them all: replaying the
 *     log from wherever it begins, in order, gives every key the state that the log's end says, whatever had been placed.
 *  3. Between two runs the families are exactly the state after the last placed batch.
 *  4. The log is synced before the first write of a run, under every durability: RocksDB may put any write on the disk
 *     at once, and none may outlive the log that says what else belongs to its batch.
 *  5. Where the log is empty, all is in tables: what RocksDB finds damaged there it says, in its own log it does not. */
#ifndef SK_STORAGE_PLACER_H
#define SK_STORAGE_PLACER_H

#include "storage/database.h"
#include "storage/journal.h"
#include "storage/run.h"

enum {
    SK_PLACER_SLICE = 256 << 10, /* bytes, about, of one write of what becomes no table */
    SK_PLACER_TABLE = 1 << 20,   /* from so many bytes on a family's part of a run becomes a table */
};

typedef struct {
    sk_database *database; /* borrowed */
    sk_journal *journal;   /* borrowed */
    sk_batch **queue;      /* owned array of borrowed batches: committed, not placed */
    size_t count, cap;
    size_t bytes; /* of memory, that the queue takes; the batches in the run included */

    bool active;
    sk_run run;
    size_t run_at;      /* the next point */
    bool begun;         /* the log is synced, the range removals are written */
    size_t run_batches; /* the first of the queue that are in the run */
    uint64_t run_upto;
    rocksdb_writebatch_t *write;
    bool in_memtable[SK_CF_COUNT]; /* points went there and not into a table: flushed before the next table is taken in */

    bool half_replayed; /* some of what the log holds was written, and not all: nothing there is to be read */

    uint64_t placed;                  /* every batch up to this one is in its place */
    uint64_t runs, rows, coalesced;   /* since the start: finished runs, points written, points that were not */
    uint64_t tables;                  /* likewise: taken in */
} sk_placer;

void sk_placer_init(sk_placer *placer, sk_database *database, sk_journal *journal);
void sk_placer_free(sk_placer *placer);
/** Forgets queue and run: the batches are gone. */
void sk_placer_reset(sk_placer *placer);
/** Gives memory back to the system that only runs use. For when there was nothing to do for a while. */
void sk_placer_trim(sk_placer *placer);
/** A batch that was committed; borrowed until `placed` reaches its number. */
void sk_placer_add(sk_placer *placer, sk_batch *batch);
/** Begins a run over all of the queue, if there is one and none is active. */
void sk_placer_begin(sk_placer *placer);
/** The next step of the active run: its range removals, a slice, or a family's table. 1: more follows, 0: the run is
 *  finished; or a negative error with RocksDB's words in `error` (SK_FOLDER_ERROR bytes). */
int sk_placer_step(sk_placer *placer, char *error);
/** Brings what is in memtables into tables, all that the log holds being in its place, and begins the log anew: a start then
 *  has nothing to replay. 0 or an error. */
int sk_placer_restart_log(sk_placer *placer, char *error);
/** At the start: brings everything that the log holds into place, and restarts it empty. `last` gets the number of the last
 *  batch there was, 0 for an empty log. 0 or a negative error with a sentence in `error`; then RocksDB may have old values
 *  again in place of what came later, and `half_replayed` says so. */
int sk_placer_replay(sk_placer *placer, uint64_t *last, char *error);

#endif
