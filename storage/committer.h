/* The commit thread: takes every batch that waits, and makes one append to the log (and under `always` one sync) of
 * them; what was committed is placed (storage/placer.h) when there is enough of it, or nothing else to do.
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
 *  4. Batches are borrowed: their owner keeps them until `placed` reaches them, or the thread has stopped and
 *     sk_committer_forget was called. */
#ifndef SK_STORAGE_COMMITTER_H
#define SK_STORAGE_COMMITTER_H

#include "storage/database.h"
#include "storage/placer.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    sk_database *database;      /* borrowed */
    const sk_folder *folder;    /* borrowed */
    sk_rocksdb_options options; /* without the path */

    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* guards what follows up to the next blank line */
    pthread_cond_t work, done;
    sk_batch **waiting; /* owned array of borrowed batches */
    size_t count, cap;
    uint64_t flush_wanted, flush_done;
    uint64_t place_wanted, place_done;
    bool asleep, stopping, abandon;
    char message[SK_FOLDER_ERROR]; /* RocksDB's words on the last failure */

    _Atomic uint64_t durable;
    _Atomic uint64_t placed;
    _Atomic uint64_t committed_bytes; /* of all batches up to durable, since the store was opened */
    _Atomic int error; /* sticky */
    _Atomic bool space_low;
    _Atomic uint64_t writes, batches, bytes, syncs; /* since the store was opened */
    _Atomic uint64_t runs, rows, coalesced;         /* the placer's, as it says them */
    _Atomic uint64_t unplaced_bytes;                /* in memory: committed and not placed */

    rocksdb_writebatch_t *write; /* from here on the thread's own */
    sk_buf record;
    sk_placer placer;
    bool dirty;                  /* something is written and not synced */
    uint64_t synced_ms, space_ms, reclaimed_ms;
    struct {
        sk_buf from, to; /* the hull of the ranges removed since the last reclaim */
        bool any, open_end, flushed;
    } removed[SK_CF_COUNT + 1]; /* by family; the last one is the log */
} sk_committer;

void sk_committer_init(sk_committer *committer, sk_database *database, const sk_folder *folder,
                       const sk_rocksdb_options *options);
/** Starts the thread, with no error and nothing waiting. 0, or SK_E_IO if the system gives no thread. */
int sk_committer_start(sk_committer *committer);
/** Stops and joins it; with `abandon` what waits is not written. Does nothing if it does not run. */
void sk_committer_stop(sk_committer *committer, bool abandon);
void sk_committer_free(sk_committer *committer);

/** Hands over a sealed batch that is not empty. */
void sk_committer_submit(sk_committer *committer, sk_batch *batch);
/** Waits until all that was submitted is synced. 0 or the error. */
int sk_committer_flush(sk_committer *committer);
/** Waits until all that was committed is in its place. 0 or the error. */
int sk_committer_place(sk_committer *committer);
/** The thread has stopped and the batches are gone. */
void sk_committer_forget(sk_committer *committer);
/** Copies RocksDB's words on the last failure (SK_FOLDER_ERROR bytes). */
void sk_committer_message(sk_committer *committer, char *message);

#endif
