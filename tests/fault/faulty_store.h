/* A store before another one, whose n-th call that may fail fails. What the interface (storage/store.h) says of failures
 * holds: reap's is sticky until a reopen, a snapshot that was refused answers its reads with the error. */
#ifndef SK_TESTS_FAULTY_STORE_H
#define SK_TESTS_FAULTY_STORE_H

#include "storage/store.h"

#include <stdlib.h>

typedef struct {
    sk_store store;
    sk_store *inner;
    uint64_t first, length; /* calls that fail: `length` from number `first` on; 0: none */
    uint64_t counted;
    int error, broken;
} faulty_store;

struct sk_store_snapshot {
    sk_store_snapshot *inner;
    int error;
};

struct sk_store_iter {
    faulty_store *of;
    sk_store_iter *inner;
    int error;
};

static inline int fault_next(faulty_store *self)
{
    self->counted++;
    return self->counted >= self->first && self->counted - self->first < self->length ? self->error : 0;
}

#define faulty_of(store) ((faulty_store *)(store))

static inline int faulty_get(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes *value, uint64_t *batch)
{
    int error = fault_next(faulty_of(store));
    return error ? error : sk_store_get(faulty_of(store)->inner, cf, key, value, batch);
}

static inline void faulty_put(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes value)
{
    sk_store_put(faulty_of(store)->inner, cf, key, value);
}

static inline void faulty_remove(sk_store *store, sk_cf cf, sk_bytes key)
{
    sk_store_remove(faulty_of(store)->inner, cf, key);
}

static inline void faulty_remove_range(sk_store *store, sk_cf cf, sk_bytes from, sk_bytes to)
{
    sk_store_remove_range(faulty_of(store)->inner, cf, from, to);
}

static inline uint64_t faulty_seal(sk_store *store)
{
    return sk_store_seal(faulty_of(store)->inner);
}

static inline int faulty_reap(sk_store *store, uint64_t *durable)
{
    faulty_store *self = faulty_of(store);
    if (!self->broken) self->broken = fault_next(self);
    return self->broken ? self->broken : sk_store_reap(self->inner, durable);
}

static inline int faulty_flush(sk_store *store)
{
    faulty_store *self = faulty_of(store);
    if (!self->broken) self->broken = fault_next(self);
    return self->broken ? self->broken : sk_store_flush(self->inner);
}

static inline int faulty_reopen(sk_store *store)
{
    faulty_store *self = faulty_of(store);
    self->broken = fault_next(self);
    int status = sk_store_reopen(self->inner);
    return self->broken ? self->broken : status;
}

static inline size_t faulty_open_bytes(sk_store *store)
{
    return sk_store_open_bytes(faulty_of(store)->inner);
}

static inline size_t faulty_pending_bytes(sk_store *store)
{
    return sk_store_pending_bytes(faulty_of(store)->inner);
}

static inline size_t faulty_unordered(sk_store *store)
{
    return sk_store_unordered(faulty_of(store)->inner);
}

static inline sk_store_snapshot *faulty_snapshot(sk_store *store)
{
    sk_store_snapshot *snapshot = sk_alloc(sizeof *snapshot);
    snapshot->error = fault_next(faulty_of(store));
    snapshot->inner = sk_store_snapshot_take(faulty_of(store)->inner);
    return snapshot;
}

static inline void faulty_snapshot_free(sk_store *store, sk_store_snapshot *snapshot)
{
    if (snapshot) sk_store_snapshot_free(faulty_of(store)->inner, snapshot->inner);
    free(snapshot);
}

static inline int faulty_snapshot_get(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes key, sk_buf *value)
{
    int error = snapshot->error ? snapshot->error : fault_next(faulty_of(store));
    return error ? error : sk_store_snapshot_get(faulty_of(store)->inner, snapshot->inner, cf, key, value);
}

static inline sk_store_iter *faulty_iter(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes from, sk_bytes to,
                                         bool once)
{
    sk_store_iter *iter = sk_alloc(sizeof *iter);
    iter->of = faulty_of(store);
    iter->error = snapshot ? snapshot->error : 0;
    iter->inner = iter->of->inner->ops->iter(iter->of->inner, snapshot ? snapshot->inner : NULL, cf, from, to, once);
    return iter;
}

static inline int faulty_iter_next(sk_store_iter *iter, sk_bytes *key, sk_bytes *value)
{
    if (!iter->error) iter->error = fault_next(iter->of);
    return iter->error ? iter->error : sk_store_next(iter->of->inner, iter->inner, key, value);
}

static inline void faulty_iter_free(sk_store_iter *iter)
{
    if (iter) sk_store_iter_free(iter->of->inner, iter->inner);
    free(iter);
}

static inline void faulty_stats(sk_store *store, sk_buf *text)
{
    sk_store_stats(faulty_of(store)->inner, text);
}

static inline void faulty_close(sk_store *store)
{
    sk_store_close(faulty_of(store)->inner);
}

static const sk_store_ops faulty_ops = {
    .get = faulty_get,
    .put = faulty_put,
    .remove = faulty_remove,
    .remove_range = faulty_remove_range,
    .seal = faulty_seal,
    .reap = faulty_reap,
    .flush = faulty_flush,
    .reopen = faulty_reopen,
    .open_bytes = faulty_open_bytes,
    .pending_bytes = faulty_pending_bytes,
    .unordered = faulty_unordered,
    .snapshot = faulty_snapshot,
    .snapshot_free = faulty_snapshot_free,
    .snapshot_get = faulty_snapshot_get,
    .iter = faulty_iter,
    .iter_next = faulty_iter_next,
    .iter_free = faulty_iter_free,
    .stats = faulty_stats,
    .close = faulty_close,
};

#endif
