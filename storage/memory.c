#include "storage/memory.h"

#include "storage/overlay.h"

#include <stdlib.h>

/* A pair is never changed once it is made; tables share it by counting. */
typedef struct {
    size_t refs;
    size_t key_len, value_len;
    uint8_t data[]; /* key, value */
} pair;

typedef struct {
    size_t refs; /* who may look: a table with more than one is never changed */
    sk_skiplist family[SK_CF_COUNT];
} table;

typedef struct {
    sk_store store;
    sk_durability durability;
    sk_overlay overlay;
    table *committed;   /* what gets, iterators and snapshots find below the overlay */
    table *synced;      /* NULL under `always`, where it is the committed one */
    sk_batch *unsynced, *unsynced_last; /* written, committed and out of the overlay, but not synced */
    uint64_t written_number, synced_number;
    bool failing; /* writes fail once good_writes is used up */
    uint64_t good_writes;
    int fail_error;
    int error; /* sticky: a write failed */
    uint64_t batches, bytes, syncs;
    uint64_t holds; /* snapshots and iterators that are open */
} memory;

struct sk_store_snapshot {
    table *table;
};

struct sk_store_iter {
    memory *owner;
    sk_overlay_view view;
    table *table;
    sk_skipnode *node; /* the next one below */
    sk_bytes to;       /* in the arena of the view */
};

static memory *memory_of(sk_store *store)
{
    return (memory *)store;
}

/* -- tables ------------------------------------------------------------------------------------------------------- */

static sk_bytes pair_key(const pair *of)
{
    return (sk_bytes){of->data, of->key_len};
}

static sk_bytes pair_value(const pair *of)
{
    return (sk_bytes){of->data + of->key_len, of->value_len};
}

static void pair_release(pair *of)
{
    if (of && --of->refs == 0) free(of);
}

static pair *pair_new(sk_bytes key, sk_bytes value)
{
    pair *made = sk_realloc(NULL, sizeof *made + key.len + value.len);
    *made = (pair){.refs = 1, .key_len = key.len, .value_len = value.len};
    if (key.len) memcpy(made->data, key.data, key.len);
    if (value.len) memcpy(made->data + key.len, value.data, value.len);
    return made;
}

static table *table_hold(table *of)
{
    of->refs++;
    return of;
}

static table *table_new(void)
{
    table *made = sk_alloc(sizeof *made);
    made->refs = 1;
    return made;
}

static void table_release(table *of)
{
    if (--of->refs > 0) return;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        for (sk_skipnode *node = of->family[cf].head[0]; node; node = node->next[0]) pair_release(node->item);
        sk_skiplist_free(&of->family[cf]);
    }
    free(of);
}

/* The table as one that only this holder sees. */
static table *table_own(table *shared)
{
    if (shared->refs == 1) return shared;
    table *made = table_new();
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        for (sk_skipnode *node = shared->family[cf].head[0]; node; node = node->next[0]) {
            pair *held = node->item;
            held->refs++;
            sk_skiplist_put(&made->family[cf], pair_key(held), held);
        }
    }
    table_release(shared);
    return made;
}

static void table_remove_range(sk_skiplist *family, sk_bytes from, sk_bytes to)
{
    sk_skipnode *node = sk_skiplist_seek(family, from);
    while (node && (!to.data || sk_bytes_compare(node->key, to) < 0)) {
        pair *removed = node->item;
        node = node->next[0];
        sk_skiplist_remove(family, pair_key(removed));
        pair_release(removed);
    }
}

static void table_apply(table **at, const sk_batch *batch)
{
    if (!batch->first) return;
    table *into = *at = table_own(*at);
    for (const sk_change *change = batch->first; change; change = change->next) {
        sk_skiplist *family = &into->family[change->cf];
        sk_bytes key = sk_change_key(change), value = sk_change_value(change);
        if (change->kind == SK_CHANGE_RANGE) {
            table_remove_range(family, key, change->open_end ? SK_BYTES_NONE : value);
        } else if (change->kind == SK_CHANGE_REMOVE) {
            pair_release(sk_skiplist_remove(family, key));
        } else {
            pair *made = pair_new(key, value);
            pair_release(sk_skiplist_put(family, pair_key(made), made));
        }
    }
}

/* -- the way of a batch ------------------------------------------------------------------------------------------- */

static uint64_t sealed_number(const memory *self)
{
    return self->overlay.open->number - 1;
}

static uint64_t committed_number(const memory *self)
{
    return self->durability == SK_DURABILITY_ALWAYS ? self->synced_number : self->written_number;
}

/* The batches that are written now, up to `upto` or to where the injected failure stops them. */
static uint64_t write_some(memory *self, uint64_t upto)
{
    if (upto > sealed_number(self)) upto = sealed_number(self);
    while (!self->error && self->written_number < upto) {
        if (self->failing && self->good_writes == 0) {
            self->error = self->fail_error;
            break;
        }
        if (self->failing) self->good_writes--;
        self->written_number++;
    }
    return upto < self->written_number ? upto : self->written_number;
}

/* Moves committed batches out of the overlay, into the committed table, to where they wait for the sync. */
static void commit(memory *self)
{
    for (sk_batch *batch; (batch = sk_overlay_take(&self->overlay, committed_number(self)));) {
        table_apply(&self->committed, batch);
        self->batches++;
        self->bytes += batch->bytes;
        if (self->unsynced)
            self->unsynced_last->next = batch;
        else
            self->unsynced = batch;
        self->unsynced_last = batch;
    }
}

/* Brings the synced table to the synced number. */
static void settle(memory *self)
{
    while (self->unsynced && self->unsynced->number <= self->synced_number) {
        sk_batch *batch = self->unsynced;
        self->unsynced = batch->next;
        if (self->synced) table_apply(&self->synced, batch);
        sk_overlay_recycle(&self->overlay, batch);
    }
}

static const table *synced_table(const memory *self)
{
    return self->synced ? self->synced : self->committed;
}

int sk_memory_write(sk_store *store, uint64_t upto)
{
    memory *self = memory_of(store);
    write_some(self, upto);
    commit(self);
    return self->error;
}

int sk_memory_sync(sk_store *store, uint64_t upto)
{
    memory *self = memory_of(store);
    uint64_t reached = write_some(self, upto);
    if (reached > self->synced_number) {
        self->synced_number = reached;
        self->syncs++;
    }
    commit(self);
    settle(self);
    return self->error;
}

void sk_memory_progress(const sk_store *store, uint64_t *sealed, uint64_t *written, uint64_t *synced)
{
    const memory *self = (const memory *)store;
    if (sealed) *sealed = sealed_number(self);
    if (written) *written = self->written_number;
    if (synced) *synced = self->synced_number;
}

/* Everything uncommitted is dropped, what is committed counts as synced, and the numbers given out are behind us. */
static void start_over(memory *self)
{
    sk_overlay_drop_all(&self->overlay);
    self->written_number = self->synced_number = sealed_number(self);
    self->error = SK_OK;
    if (!self->synced) return settle(self);
    table_release(self->synced);
    self->synced = NULL;
    settle(self);
    self->synced = table_hold(self->committed);
}

void sk_memory_crash(sk_store *store, uint64_t keep)
{
    memory *self = memory_of(store);
    table *survivor = table_hold(self->synced ? self->synced : self->committed);
    const sk_batch *lists[] = {self->unsynced, self->overlay.sealed};
    for (size_t i = 0; i < 2; i++)
        for (const sk_batch *batch = lists[i]; batch && batch->number <= keep; batch = batch->next)
            table_apply(&survivor, batch);
    table_release(self->committed);
    self->committed = survivor;
    start_over(self);
}

void sk_memory_fail(sk_store *store, uint64_t good, int error)
{
    memory *self = memory_of(store);
    self->failing = error != SK_OK;
    self->good_writes = good;
    self->fail_error = error;
}

/* -- the interface ------------------------------------------------------------------------------------------------ */

static int memory_get(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes *value, uint64_t *batch)
{
    memory *self = memory_of(store);
    uint64_t number = 0;
    sk_overlay_answer answer = sk_overlay_find(&self->overlay, sk_overlay_hash(cf, key), cf, key, value, &number);
    if (batch) *batch = number;
    if (answer != SK_OVERLAY_ELSEWHERE) return answer == SK_OVERLAY_FOUND;
    const pair *found = sk_skiplist_get(&self->committed->family[cf], key);
    if (found) *value = pair_value(found);
    return found != NULL;
}

static void memory_put(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes value)
{
    sk_overlay_change(&memory_of(store)->overlay, SK_CHANGE_PUT, cf, key, value);
}

static void memory_remove(sk_store *store, sk_cf cf, sk_bytes key)
{
    sk_overlay_change(&memory_of(store)->overlay, SK_CHANGE_REMOVE, cf, key, SK_BYTES_NONE);
}

static void memory_remove_range(sk_store *store, sk_cf cf, sk_bytes from, sk_bytes to)
{
    sk_overlay_remove_range(&memory_of(store)->overlay, cf, from, to);
}

static uint64_t memory_seal(sk_store *store)
{
    return sk_overlay_seal(&memory_of(store)->overlay)->number;
}

static int memory_reap(sk_store *store, uint64_t *durable)
{
    memory *self = memory_of(store);
    const sk_batch *next;
    while (!self->error && (next = self->overlay.sealed) && !next->first) { /* an empty one waits for nothing */
        if (self->written_number < next->number) self->written_number = next->number;
        if (self->durability == SK_DURABILITY_ALWAYS) self->synced_number = next->number;
        commit(self);
        settle(self);
    }
    *durable = committed_number(self);
    return self->error;
}

static int memory_flush(sk_store *store)
{
    return sk_memory_sync(store, UINT64_MAX);
}

static int memory_reopen(sk_store *store)
{
    memory *self = memory_of(store);
    sk_overlay_drop_all(&self->overlay);
    if (self->failing && self->good_writes == 0) {
        self->error = self->fail_error;
        return self->error;
    }
    /* Reading the log again brings what was committed to the disk proper, as a replay does. */
    start_over(self);
    return SK_OK;
}

static size_t memory_open_bytes(sk_store *store)
{
    return memory_of(store)->overlay.open->bytes;
}

static size_t memory_pending_bytes(sk_store *store)
{
    return memory_of(store)->overlay.sealed_bytes;
}

static size_t memory_unordered(sk_store *store)
{
    return sk_overlay_unordered(&memory_of(store)->overlay);
}

static sk_store_snapshot *memory_snapshot(sk_store *store)
{
    sk_store_snapshot *snapshot = sk_alloc(sizeof *snapshot);
    snapshot->table = table_hold(memory_of(store)->committed);
    memory_of(store)->holds++;
    return snapshot;
}

static void memory_snapshot_free(sk_store *store, sk_store_snapshot *snapshot)
{
    if (!snapshot) return;
    memory_of(store)->holds--;
    table_release(snapshot->table);
    free(snapshot);
}

static int memory_snapshot_get(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes key, sk_buf *value)
{
    (void)store;
    const pair *found = sk_skiplist_get(&snapshot->table->family[cf], key);
    if (!found) return 0;
    sk_buf_reset(value);
    sk_buf_bytes(value, pair_value(found));
    return value->full ? SK_E_MEMORY : 1;
}

static sk_store_iter *memory_iter(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes from, sk_bytes to, bool once)
{
    (void)once;
    memory *self = memory_of(store);
    sk_store_iter *iter = sk_alloc(sizeof *iter);
    if (!snapshot) sk_overlay_view_take(&self->overlay, cf, from, to, true, &iter->view);
    iter->table = table_hold(snapshot ? snapshot->table : self->committed);
    iter->node = sk_skiplist_seek(&iter->table->family[cf], from);
    if (to.data) iter->to = sk_arena_copy(&iter->view.bounds, to);
    self->holds++;
    iter->owner = self;
    return iter;
}

static void iter_seek(sk_store_iter *iter, sk_bytes to)
{
    while (iter->node && (!to.data || sk_bytes_compare(iter->node->key, to) < 0)) iter->node = iter->node->next[0];
}

static int memory_iter_next(sk_store_iter *iter, sk_bytes *key, sk_bytes *value)
{
    for (;;) {
        sk_skipnode *node = iter->node;
        if (node && iter->to.data && sk_bytes_compare(node->key, iter->to) >= 0) node = NULL;
        switch (sk_overlay_view_next(&iter->view, node ? &node->key : NULL, key, value)) {
        case SK_VIEW_END: return 0;
        case SK_VIEW_PAIR: return 1;
        case SK_VIEW_BASE:
            *key = node->key;
            *value = pair_value(node->item);
            iter->node = node->next[0];
            return 1;
        case SK_VIEW_SKIP: iter->node = node->next[0]; break;
        case SK_VIEW_SEEK: iter_seek(iter, *key); break;
        }
    }
}

static void memory_iter_free(sk_store_iter *iter)
{
    if (!iter) return;
    iter->owner->holds--;
    sk_overlay_view_free(&iter->view);
    table_release(iter->table);
    free(iter);
}

static void memory_stats(sk_store *store, sk_buf *text)
{
    memory *self = memory_of(store);
    size_t keys = 0;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) keys += self->committed->family[cf].count;
    sk_buf_printf(text, "store:memory\r\nstore_keys:%zu\r\nstore_batches:%llu\r\nstore_bytes_written:%llu\r\n", keys,
                  (unsigned long long)self->batches, (unsigned long long)self->bytes);
    sk_buf_printf(text, "store_syncs:%llu\r\n", (unsigned long long)self->syncs);
}

static void memory_close(sk_store *store)
{
    memory *self = memory_of(store);
    while (self->unsynced) {
        sk_batch *batch = self->unsynced;
        self->unsynced = batch->next;
        sk_overlay_recycle(&self->overlay, batch);
    }
    sk_overlay_free(&self->overlay);
    table_release(self->committed);
    if (self->synced) table_release(self->synced);
    free(self);
}

static const sk_store_ops memory_ops = {
    .get = memory_get,
    .put = memory_put,
    .remove = memory_remove,
    .remove_range = memory_remove_range,
    .seal = memory_seal,
    .reap = memory_reap,
    .flush = memory_flush,
    .reopen = memory_reopen,
    .open_bytes = memory_open_bytes,
    .pending_bytes = memory_pending_bytes,
    .unordered = memory_unordered,
    .snapshot = memory_snapshot,
    .snapshot_free = memory_snapshot_free,
    .snapshot_get = memory_snapshot_get,
    .iter = memory_iter,
    .iter_next = memory_iter_next,
    .iter_free = memory_iter_free,
    .stats = memory_stats,
    .close = memory_close,
};

sk_store *sk_memory_open(sk_durability durability)
{
    memory *self = sk_alloc(sizeof *self);
    self->store.ops = &memory_ops;
    self->durability = durability;
    sk_overlay_init(&self->overlay, 1, 0);
    self->committed = table_new();
    if (durability != SK_DURABILITY_ALWAYS) self->synced = table_new();
    return &self->store;
}

sk_store *sk_memory_copy(const sk_store *store)
{
    const memory *from = (const memory *)store;
    memory *self = memory_of(sk_memory_open(from->durability));
    table_release(self->committed);
    self->committed = table_hold(from->synced ? from->synced : from->committed);
    if (!self->synced) return &self->store;
    table_release(self->synced);
    self->synced = table_hold(self->committed);
    return &self->store;
}

int sk_memory_visit(const sk_store *store, sk_cf cf, int (*visit)(void *context, sk_bytes key, sk_bytes value),
                    void *context)
{
    const memory *self = (const memory *)store;
    for (sk_skipnode *node = synced_table(self)->family[cf].head[0]; node; node = node->next[0]) {
        int answer = visit(context, node->key, pair_value(node->item));
        if (answer) return answer;
    }
    return 0;
}

uint64_t sk_memory_holds(const sk_store *store)
{
    return ((const memory *)store)->holds;
}

static void dump_bytes(sk_buf *into, sk_bytes bytes)
{
    for (int shift = 56; shift >= 0; shift -= 8) sk_buf_byte(into, (uint8_t)((uint64_t)bytes.len >> shift));
    sk_buf_bytes(into, bytes);
}

void sk_memory_dump(const sk_store *store, sk_buf *into)
{
    const memory *self = (const memory *)store;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        for (sk_skipnode *node = synced_table(self)->family[cf].head[0]; node; node = node->next[0]) {
            sk_buf_byte(into, (uint8_t)cf);
            dump_bytes(into, node->key);
            dump_bytes(into, pair_value(node->item));
        }
    }
}

void sk_memory_check(const sk_store *store)
{
    const memory *self = (const memory *)store;
    sk_overlay_check(&self->overlay);
    sk_assert(self->synced_number <= self->written_number);
    sk_assert(self->written_number <= sealed_number(self));
    uint64_t number = self->synced_number;
    for (const sk_batch *batch = self->unsynced; batch; batch = batch->next) {
        sk_assert(batch->number == number + 1);
        number = batch->number;
    }
    sk_assert(number == committed_number(self));
    for (int cf = 0; cf < SK_CF_COUNT; cf++) sk_skiplist_check(&self->committed->family[cf]);
}
