/* The storage interface: an ordered map of bytes in a few column families, written in batches.
 *
 * Two implementations: storage/rocksdb.c on disk, and storage/memory.c for the simulator, which loses on a crash what
 * was not synced. One thread uses a store; what an implementation does off that thread is its own matter.
 *
 * The way of a write:
 *   sk_store_put, _remove… into the open batch; the store's own gets and iterators see it at once
 *   sk_store_seal          closes the batch, gives it a number, and starts to commit it (in the background)
 *   sk_store_reap          says up to which number everything is committed at the durability asked for
 *
 * Invariants:
 *  1. Batches commit in the order of their numbers, each whole or not at all, also across a crash.
 *  2. A get answers with the newest put, committed or not, and says in which batch it stands, so that a reply that
 *     rests on it can wait until that is durable.
 *  3. After a failed commit nothing that came after is committed either: the store refuses writes (sk_store_reap
 *     answers the error) until sk_store_reopen has succeeded, which goes back to what the disk has.
 *
 * On disk a commit is one append to a log, and rows are brought into place later in sorted runs: nobody
 * outside may rely on when a put reaches its place. */
#ifndef SK_STORAGE_STORE_H
#define SK_STORAGE_STORE_H

#include "crdt/bytes.h"
#include "crdt/error.h"
#include "crdt/memory.h"

typedef enum {
    SK_CF_ROW,     /* row key -> row: the replicated state */
    SK_CF_HISTORY, /* which rows changed since when, in the order of origin and seq */
    SK_CF_META,    /* version vector, origins, floor, identity, sums */
    SK_CF_STAGED,  /* an incoming transfer that is not yet visible, or not yet folded into `row` */
    SK_CF_DERIVED, /* local indexes: conflicts, deadlines; never replicated */
    SK_CF_COUNT
} sk_cf;

typedef enum {
    SK_DURABILITY_ALWAYS,   /* committed: on disk (fdatasync), one sync for all batches that wait */
    SK_DURABILITY_INTERVAL, /* committed: handed to the operating system; synced at least every interval */
    SK_DURABILITY_OS,       /* committed: handed to the operating system, which syncs when it likes */
} sk_durability;

typedef struct sk_store sk_store;
typedef struct sk_store_iter sk_store_iter;
typedef struct sk_store_snapshot sk_store_snapshot;

/* What an implementation provides; the functions below say what each must do. */
typedef struct {
    int (*get)(sk_store *, sk_cf, sk_bytes key, sk_bytes *value, uint64_t *batch);
    void (*fetch)(sk_store *, sk_cf, sk_bytes key); /* may be NULL */
    void (*put)(sk_store *, sk_cf, sk_bytes key, sk_bytes value);
    void (*remove)(sk_store *, sk_cf, sk_bytes key);
    void (*remove_range)(sk_store *, sk_cf, sk_bytes from, sk_bytes to);
    uint64_t (*seal)(sk_store *);
    int (*reap)(sk_store *, uint64_t *durable);
    int (*flush)(sk_store *);
    int (*reopen)(sk_store *);
    size_t (*open_bytes)(sk_store *);
    size_t (*pending_bytes)(sk_store *);
    size_t (*unordered)(sk_store *);
    sk_store_snapshot *(*snapshot)(sk_store *);
    void (*snapshot_free)(sk_store *, sk_store_snapshot *);
    int (*snapshot_get)(sk_store *, sk_store_snapshot *, sk_cf, sk_bytes key, sk_buf *value);
    sk_store_iter *(*iter)(sk_store *, sk_store_snapshot *, sk_cf, sk_bytes from, sk_bytes to, bool once);
    int (*iter_next)(sk_store_iter *, sk_bytes *key, sk_bytes *value);
    void (*iter_free)(sk_store_iter *);
    void (*stats)(sk_store *, sk_buf *text);
    void (*close)(sk_store *);
} sk_store_ops;

struct sk_store {
    const sk_store_ops *ops; /* the implementation's own state follows */
};

/** 1 and the newest value, 0 if there is none, or a negative error. The value is borrowed until the next call on this
 *  store. `batch` (may be NULL) gets the number of the not yet committed batch that the answer rests on (for 0 too,
 *  when an uncommitted removal hides the key), or 0 when it is committed. The open batch has the number that the next
 *  seal will return. */
static inline int sk_store_get(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes *value, uint64_t *batch)
{
    return store->ops->get(store, cf, key, value, batch);
}
/** A hint: this key will be asked for soon, after some microseconds of other work. A get mostly waits for memory. */
static inline void sk_store_fetch(sk_store *store, sk_cf cf, sk_bytes key)
{
    if (store->ops->fetch) store->ops->fetch(store, cf, key);
}
/** Into the open batch; key and value are copied. */
static inline void sk_store_put(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes value)
{
    store->ops->put(store, cf, key, value);
}
static inline void sk_store_remove(sk_store *store, sk_cf cf, sk_bytes key)
{
    store->ops->remove(store, cf, key);
}
/** Removes every key from `from` up to, not including, `to` (to.data NULL: to the end), as it stands now (uncommitted
 *  puts too). It costs the same for one key or a million, but each burdens later reads a little until compaction: for
 *  large or rare spans, not for single rows. */
static inline void sk_store_remove_range(sk_store *store, sk_cf cf, sk_bytes from, sk_bytes to)
{
    store->ops->remove_range(store, cf, from, to);
}
/** Closes the open batch and starts its commit. Returns its number (from 1, ascending), also when it was empty
 *  (an empty one is not written; it becomes durable with the ones before it, at once if there are none). It may be durable
 *  on return: the next reap says so, and nothing wakes the caller for it. */
static inline uint64_t sk_store_seal(sk_store *store)
{
    return store->ops->seal(store);
}
/** `durable` gets the highest number such that it and all before it are committed at the durability asked for. Lets go,
 *  too, of what is in its place, some of it at a time: where more is left, the caller is woken for another.
 *  0, or the error with which a commit failed (sticky until reopen). */
static inline int sk_store_reap(sk_store *store, uint64_t *durable)
{
    return store->ops->reap(store, durable);
}
/** Waits until every sealed batch is on disk (fdatasync), whatever the durability setting. */
static inline int sk_store_flush(sk_store *store)
{
    return store->ops->flush(store);
}
/** After an error: drops everything uncommitted and goes back to what the disk has. 0 when writes work again; else
 *  the error that persists (try again later; reads go on, of what is committed: the uncommitted is dropped either way).
 *  Snapshots and iterators must be gone; the caller reads its state anew, and a batch that failed may turn out to be
 *  on the disk after all. Batch numbers go on ascending (the open one's is not used again either); after a success all
 *  given out before count as reaped, so fail whoever waits for one of them first. */
static inline int sk_store_reopen(sk_store *store)
{
    return store->ops->reopen(store);
}
/** Bytes put into the open batch so far: when to seal early. 0 exactly when it is empty. */
static inline size_t sk_store_open_bytes(sk_store *store)
{
    return store->ops->open_bytes(store);
}
/** Bytes sealed and not yet committed: when to slow clients down. */
static inline size_t sk_store_pending_bytes(sk_store *store)
{
    return store->ops->pending_bytes(store);
}
/** Changes that an iterator of the newest state may have to bring into order before it begins, a microsecond each: a load
 *  of puts keeps them in none. Whoever can wait does so while they are many; they become few when puts pause. */
static inline size_t sk_store_unordered(sk_store *store)
{
    return store->ops->unordered(store);
}
/** A frozen view of what is committed now (never of anything uncommitted). Taking one may wait for writes that bring
 *  committed data into place (some tens of milliseconds under load). Owned by the caller; free it before the store is
 *  closed or reopened. */
static inline sk_store_snapshot *sk_store_snapshot_take(sk_store *store)
{
    return store->ops->snapshot(store);
}
static inline void sk_store_snapshot_free(sk_store *store, sk_store_snapshot *snapshot)
{
    store->ops->snapshot_free(store, snapshot);
}
/** 1 and the value (written over `value`), 0 if there is none, or a negative error. */
static inline int sk_store_snapshot_get(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes key,
                                        sk_buf *value)
{
    return store->ops->snapshot_get(store, snapshot, cf, key, value);
}
/** Keys from `from` up to, not including, `to` (to.data NULL: to the end), ascending, of the snapshot, or with
 *  snapshot NULL of the newest state, uncommitted puts included: puts made while it is open may or may not be seen, so
 *  whoever changes what it walks over collects first. Owned by the caller. */
static inline sk_store_iter *sk_store_iterate(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes from,
                                              sk_bytes to)
{
    return store->ops->iter(store, snapshot, cf, from, to, snapshot != NULL);
}
/** The newest state likewise, for going through much that will not soon be read again: it drives nothing out of the cache. (Nor do
 *  iterators of snapshots.) */
static inline sk_store_iter *sk_store_pass(sk_store *store, sk_cf cf, sk_bytes from, sk_bytes to)
{
    return store->ops->iter(store, NULL, cf, from, to, true);
}
/** 1 and the next pair (borrowed until the next call on this iterator), 0 at the end, or a negative error. */
static inline int sk_store_next(sk_store *store, sk_store_iter *iter, sk_bytes *key, sk_bytes *value)
{
    return store->ops->iter_next(iter, key, value);
}
static inline void sk_store_iter_free(sk_store *store, sk_store_iter *iter)
{
    store->ops->iter_free(iter);
}
/** Appends "name:value\r\n" lines for INFO. */
static inline void sk_store_stats(sk_store *store, sk_buf *text)
{
    store->ops->stats(store, text);
}
/** Commits what is sealed, syncs, and gives everything back. The open batch is dropped. */
static inline void sk_store_close(sk_store *store)
{
    store->ops->close(store);
}

#endif
