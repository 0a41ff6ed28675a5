/* The placing thread: lets the placer (storage/placer.h) run beside commits, and gives the space of removed ranges back.
 *
 *   committer --add--> incoming --[enough of it, or nothing new for a while, or asked]--> a run --> placed number up, wake()
 *
 * Its own thread, since sorting and writing a run takes hundreds of milliseconds which no commit should wait for.
 *
 * Invariants:
 *  1. `placed` only goes up, and only between runs.
 *  2. While somebody holds it (sk_placing_hold) no run is active: the families are exactly the state after `placed`.
 *  3. After a failure, its own or a commit's, it begins nothing more until stop and start.
 *  4. Batches are borrowed: their owner keeps them until `placed` reaches them, or the thread has stopped and
 *     sk_placing_forget was called. */
#ifndef SK_STORAGE_PLACING_H
#define SK_STORAGE_PLACING_H

#include "storage/failure.h"
#include "storage/placer.h"
#include "storage/worker.h"

typedef struct {
    sk_database *database;      /* borrowed */
    sk_failure *failure;        /* borrowed; shared with the commit thread */
    sk_rocksdb_options options; /* without the path */

    sk_worker worker;    /* its lock guards what follows up to the next blank line */
    sk_batch **incoming; /* owned array of borrowed batches */
    size_t count, cap, incoming_bytes;
    uint64_t added;   /* the number of the last batch added */
    uint64_t wanted;  /* all up to here is to be placed without waiting for more */
    unsigned asking, holds; /* for a moment between runs; that have it */
    bool active;

    _Atomic uint64_t placed;
    _Atomic uint64_t runs, rows, coalesced, tables; /* the placer's, as it says them */
    _Atomic size_t bytes;                           /* of memory: committed and not placed */

    sk_placer placer; /* from here on the thread's own */
    uint64_t reclaimed_ms;
    struct {
        sk_buf from, to; /* the hull of the ranges removed since the last reclaim */
        bool any, open_end, flushed;
    } removed[SK_CF_COUNT];
} sk_placing;

void sk_placing_init(sk_placing *placing, sk_database *database, sk_journal *journal, sk_failure *failure,
                     const sk_rocksdb_options *options);
/** 0, or SK_E_IO if the system gives no thread. */
int sk_placing_start(sk_placing *placing);
/** Stops and joins it; unless `abandon`, everything that was added is placed first. Does nothing if it does not run. */
void sk_placing_stop(sk_placing *placing, bool abandon);
void sk_placing_free(sk_placing *placing);
/** The thread has stopped and the batches are gone: everything up to `upto` counts as placed. */
void sk_placing_forget(sk_placing *placing, uint64_t upto);

/** Batches that were committed, in the order of their numbers. Any thread, one at a time. */
void sk_placing_add(sk_placing *placing, sk_batch *const *batches, size_t count);
/** Not far more is committed than was placed. Any thread. */
bool sk_placing_has_room(const sk_placing *placing);
/** Waits while far more is committed than was placed, so that memory stays bounded. For the commit thread. */
void sk_placing_wait_for_room(sk_placing *placing);
/** Waits until everything added is placed and no run is active, and lets none begin until sk_placing_release. 0, or the
 *  failure; then it is not held. */
int sk_placing_hold(sk_placing *placing);
void sk_placing_release(sk_placing *placing);

#endif
