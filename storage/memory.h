/* The store of the simulator: in memory, without threads, and able to lose what was not synced.
 *
 * Nothing happens by itself: sealed batches wait until the simulator says that they were written (handed to the
 * operating system) or synced (on disk). What a reap answers depends on the durability asked for:
 *
 *   sealed  --sk_memory_write-->  written  --sk_memory_sync-->  synced
 *                                    |                             |
 *                reap, under `interval` and `os`         reap, under `always`
 *
 * Under `always` a written batch is still uncommitted, as on a real disk: it may survive a crash, or may not.
 *
 * Invariants:
 *  1. synced <= written <= sealed, as batch numbers.
 *  2. `synced` holds the changes of the batches up to the synced number, `committed` of those up to the committed one
 *     (which is the synced or the written one, by durability).
 *  3. A table that a snapshot, an iterator or a copy of the store also holds is never changed: the store goes on with
 *     a table of its own, which shares the pairs.
 *  4. The same calls give the same answers, on every machine. */
#ifndef SK_STORAGE_MEMORY_H
#define SK_STORAGE_MEMORY_H

#include "storage/store.h"

/** An empty store; given back with sk_store_close. */
sk_store *sk_memory_open(sk_durability durability);

/** Writes the sealed batches up to number `upto`, in order. 0, or the injected error at which it stopped (sticky). */
int sk_memory_write(sk_store *store, uint64_t upto);
/** Writes and syncs the sealed batches up to number `upto`. Errors as sk_memory_write. */
int sk_memory_sync(sk_store *store, uint64_t upto);
/** The highest number sealed, written, synced: what a simulator may choose from. NULL: not wanted. */
void sk_memory_progress(const sk_store *store, uint64_t *sealed, uint64_t *written, uint64_t *synced);

/** Power loss, and the machine is back: what was synced is there, and of the sealed batches after that those up to
 *  number `keep` (0: none; UINT64_MAX: all). The rest, the open batch included, is gone, and a sticky error with it.
 *  Batch numbers go on ascending; all given out before count as reaped. Whatever the dead process held (iterators,
 *  snapshots) can still be freed. */
void sk_memory_crash(sk_store *store, uint64_t keep);

/** The next `good` batches are written, then every write fails with `error` (SK_E_DISK_FULL, SK_E_IO), and so does
 *  every reopen, until it is called again. SK_OK: nothing fails any more (a sticky error stays until reopen). */
void sk_memory_fail(sk_store *store, uint64_t good, int error);

/** A store of its own with what is synced in this one: the backup that somebody restores later. */
sk_store *sk_memory_copy(const sk_store *store);

/** Calls `visit` for every synced pair of a family, in the order of the keys. Stops when it answers other than 0, and
 *  returns that. */
int sk_memory_visit(const sk_store *store, sk_cf cf, int (*visit)(void *context, sk_bytes key, sk_bytes value),
                    void *context);
/** Snapshots and iterators that are open: whoever forgets one keeps old data from going. */
uint64_t sk_memory_holds(const sk_store *store);
/** Appends what is synced: per pair a family byte, the key and the value, each after its length (8 bytes, big
 *  endian). Equal states give equal bytes. */
void sk_memory_dump(const sk_store *store, sk_buf *into);
/** Asserts the invariants. */
void sk_memory_check(const sk_store *store);

#endif
