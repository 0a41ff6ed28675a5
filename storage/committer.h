/* The commit thread: takes every batch that waits, and makes one append to the log (and under `always` one sync) of
 * them; what was committed goes on to the placing thread (storage/placing.h). A small batch that finds it asleep is written by
 * the thread that submits it; where a sync is waited for, that one does so too while syncs are quick, fractions of a
 * millisecond. One that takes longer is waited for once: from then on syncs are this thread's until they have been quick for a
 * while. (Two threads that wake each other take longer than a quick sync: tests/bench/RESULTS.md.)
 *
 *   idle --submit--> taking all that waits --> writing --> durable number up, wake() --> idle
 *                                                 |
 *                                                 +--error--> failed: takes nothing more, until stop and start
 *
 * The batches that come in while a sync runs are the next write: the slower the disk, the larger the groups.
 *
 * Invariants:
 *  1. Batches are written in the order of their submission; a group is one atomic write, a batch never in two.
 *  2. `durable` only goes up, and never past a batch that was not written.
 *  3. After the first failure nothing is written.
 *  4. Batches are borrowed: their owner keeps them until they are placed (storage/placing.h), or the thread has
 *     stopped. */
#ifndef SK_STORAGE_COMMITTER_H
#define SK_STORAGE_COMMITTER_H

#include "storage/journal.h"
#include "storage/placing.h"

typedef struct {
    sk_journal *journal;        /* borrowed */
    const sk_folder *folder;    /* borrowed */
    sk_placing *placing;        /* borrowed */
    sk_failure *failure;        /* borrowed; shared with the placing thread */
    sk_rocksdb_options options; /* without the path */

    sk_worker worker; /* its lock guards what follows up to the next blank line */
    sk_batch **waiting; /* owned array of borrowed batches */
    size_t count, cap;
    uint64_t flush_wanted, flush_done;
    bool asleep;

    _Atomic uint64_t durable;
    _Atomic uint64_t committed_bytes; /* of all batches up to durable, since the store was opened */
    _Atomic bool space_low;
    _Atomic uint64_t writes, batches, bytes, syncs; /* since the store was opened */

    sk_buf record; /* from here on the thread's own, or while it sleeps of whoever has the lock */
    bool dirty; /* something is written and not synced */
    uint64_t synced_ms, space_ms;
    uint32_t quick_syncs; /* in a row, of those that writes waited for */
} sk_committer;

void sk_committer_init(sk_committer *committer, sk_journal *journal, const sk_folder *folder, sk_placing *placing,
                       sk_failure *failure, const sk_rocksdb_options *options);
/** Starts the thread, with nothing waiting. 0, or SK_E_IO if the system gives no thread. */
int sk_committer_start(sk_committer *committer);
/** Stops and joins it; with `abandon` what waits is not written. Does nothing if it does not run. */
void sk_committer_stop(sk_committer *committer, bool abandon);
void sk_committer_free(sk_committer *committer);

/** Hands over a sealed batch that is not empty; `durable` may have reached it on return, and then nobody is woken. */
void sk_committer_submit(sk_committer *committer, sk_batch *batch);
/** Waits until all that was submitted is synced. 0 or the error. */
int sk_committer_flush(sk_committer *committer);

#endif
