#include "storage/rocksdb.h"

#include "storage/committer.h"
#include "storage/log.h"
#include "storage/presence.h"
#include "storage/rowcache.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PROBE_BYTES = 1 << 20,   /* a reopen writes this much first */
    REOPEN_SPARE = 4 << 20,  /* and wants this much free beyond what the logs will take as tables */
    INTERVAL_MS = 1000,      /* the defaults */
    RECLAIM_MS = 60000,
    MAX_OPEN_FILES = 512,
    PLACE_PART = 3,          /* of the write buffer; placing holds twice that */
    REAP_CHANGES = 512,      /* placed ones that a reap takes out of the overlay, or half as many again as came meanwhile */
    PRESENCE_PART = 16,      /* of the row cache's bytes */
    COPY_BYTES = 4 << 20,    /* each cache of a copy that is only looked through */
};
#define SEGMENT_BYTES ((size_t)8 << 20)
#define CACHE_BYTES ((size_t)128 << 20)
#define WRITE_BUFFER_BYTES ((size_t)256 << 20)
#define ROW_CACHE_BYTES ((size_t)320 << 20)

typedef struct {
    sk_store store;
    uint64_t min_free_bytes;
    sk_folder folder;
    sk_database database;
    sk_journal journal;
    sk_failure failure; /* of the two threads */
    sk_placing placing;
    sk_committer committer;
    sk_overlay overlay;
    sk_rowcache cache;               /* of SK_CF_ROW */
    sk_presence presence;            /* likewise */
    sk_prefault prefault;            /* for the overlay and the row cache */
    uint8_t absent[64];              /* the row key that RocksDB was last asked for in vain */
    size_t absent_len;               /* 0: none */
    uint64_t fetched;                /* the hash of the last row key that was */
    uint64_t durable;                /* what reap last answered */
    uint64_t last_submitted;         /* number of the last batch that was not empty */
    uint64_t submitted_bytes;        /* of all batches since the store was opened */
    uint64_t committed_bytes;        /* of those that were committed when reap last looked */
    size_t submitted_changes;        /* since reap last looked */
    uint64_t busy_ms;                /* when reap last saw much in the overlay */
    uint32_t reclaim_ms;             /* so long after that its spare memory goes */
    size_t iterators;                /* open ones of the newest state: no batch leaves the overlay meanwhile */
    rocksdb_pinnableslice_t *pinned; /* under the value that the last get gave */
    size_t readers;                  /* iterators and snapshots that are open */
    pthread_mutex_t opened;          /* held by who opens or closes the database, and by a checkpoint, from its thread */
    bool half_replayed;              /* by the last reopen that failed in a replay: the database is not opened for reading */
    int broken;                      /* why the database is not open for writing; 0: it is */
    char message[SK_ROCKSDB_ERROR];
} rocks;

struct sk_store_snapshot {
    const rocksdb_snapshot_t *snapshot; /* NULL: the database was not open */
};

struct sk_store_iter {
    rocks *store;
    sk_overlay_view view;
    rocksdb_iterator_t *below; /* NULL: the database was not open */
    rocksdb_readoptions_t *options;
    bool past;  /* the pair below was given, the next call goes on first */
    bool holds; /* has a view: no batch leaves the overlay */
};

static rocks *rocks_of(sk_store *store)
{
    return (rocks *)store;
}

/* -- reading ------------------------------------------------------------------------------------------------------ */

/* A write of a new key asks for its row several times in a row: RocksDB is asked once. Holds as long as nothing leaves the
 * overlay, since only then may a key come into place. */
static bool is_known_absent(const rocks *self, sk_bytes key)
{
    return self->absent_len && self->absent_len == key.len && memcmp(self->absent, key.data, key.len) == 0;
}

static void note_absent(rocks *self, sk_bytes key)
{
    if (key.len > sizeof self->absent) return;
    self->absent_len = key.len;
    if (key.len) memcpy(self->absent, key.data, key.len);
}

static void unpin(rocks *self)
{
    if (self->pinned) rocksdb_pinnableslice_destroy(self->pinned);
    self->pinned = NULL;
}

static int get_below(rocks *self, sk_cf cf, uint64_t hash, sk_bytes key, sk_bytes *value)
{
    if (!self->database.db) return self->broken;
    char *message = NULL;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned_cf(
        self->database.db, self->database.read, self->database.family[cf], (const char *)key.data, key.len, &message);
    rocksdb_pinnableslice_t *last = self->pinned; /* given back later: the key may lie in the last value */
    self->pinned = found;
    if (found) value->data = (const uint8_t *)rocksdb_pinnableslice_value(found, &value->len);
    /* What is not there is not cached: it is mostly about to be written. */
    if (cf == SK_CF_ROW && !found && !message) note_absent(self, key);
    if (cf == SK_CF_ROW && found) sk_rowcache_put(&self->cache, hash, key, value);
    if (last) rocksdb_pinnableslice_destroy(last);
    return message ? sk_database_error(message, self->message) : found != NULL;
}

static int rocks_get(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes *value, uint64_t *batch)
{
    rocks *self = rocks_of(store);
    uint64_t number = 0, hash = sk_overlay_hash(cf, key);
    sk_overlay_answer answer = sk_overlay_find(&self->overlay, hash, cf, key, value, &number);
    if (batch) *batch = number > self->durable ? number : 0;
    if (answer != SK_OVERLAY_ELSEWHERE) return answer == SK_OVERLAY_FOUND;
    if (cf == SK_CF_ROW) {
        int known = sk_rowcache_get(&self->cache, hash, key, value);
        if (known >= 0) return known;
        if (!sk_presence_maybe(&self->presence, hash) || is_known_absent(self, key)) return 0;
    }
    return get_below(self, cf, hash, key, value);
}

/* The tables know where a row is: of the key that is fetched their places come, of the one before it the row, since its
 * places are there by now. */
static void rocks_fetch(sk_store *store, sk_cf cf, sk_bytes key)
{
    rocks *self = rocks_of(store);
    uint64_t hash = sk_overlay_hash(cf, key), before = self->fetched;
    sk_index_fetch(&self->overlay.index, hash);
    if (cf != SK_CF_ROW) return;
    sk_rowcache_fetch(&self->cache, hash);
    sk_presence_fetch(&self->presence, hash);
    if (!sk_index_fetch_item(&self->overlay.index, before)) sk_rowcache_fetch_entry(&self->cache, before);
    self->fetched = hash;
}

/* Why there is nothing to read from. */
static int why_not(rocks *self)
{
    int error = self->broken ? self->broken : sk_failure_code(&self->failure);
    return error ? error : SK_E_IO;
}

static sk_store_snapshot *rocks_snapshot(sk_store *store)
{
    rocks *self = rocks_of(store);
    sk_store_snapshot *snapshot = sk_alloc(sizeof *snapshot);
    if (self->database.db && sk_placing_hold(&self->placing) == SK_OK) {
        snapshot->snapshot = rocksdb_create_snapshot(self->database.db);
        sk_placing_release(&self->placing);
    }
    self->readers++;
    return snapshot;
}

static void rocks_snapshot_free(sk_store *store, sk_store_snapshot *snapshot)
{
    rocks *self = rocks_of(store);
    if (!snapshot) return;
    if (snapshot->snapshot) rocksdb_release_snapshot(self->database.db, snapshot->snapshot);
    self->readers--;
    free(snapshot);
}

static int rocks_snapshot_get(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes key, sk_buf *value)
{
    rocks *self = rocks_of(store);
    if (!snapshot->snapshot) return why_not(self);
    char *message = NULL;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(options, snapshot->snapshot);
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned_cf(
        self->database.db, options, self->database.family[cf], (const char *)key.data, key.len, &message);
    rocksdb_readoptions_destroy(options);
    if (message) return sk_database_error(message, self->message);
    if (!found) return 0;
    size_t len;
    const char *data = rocksdb_pinnableslice_value(found, &len);
    sk_buf_reset(value);
    sk_buf_append(value, data, len);
    rocksdb_pinnableslice_destroy(found);
    return value->full ? SK_E_MEMORY : 1;
}

static sk_store_iter *rocks_iter(sk_store *store, sk_store_snapshot *snapshot, sk_cf cf, sk_bytes from, sk_bytes to, bool once)
{
    rocks *self = rocks_of(store);
    sk_store_iter *iter = sk_alloc(sizeof *iter);
    iter->store = self;
    self->readers++;
    iter->holds = !snapshot; /* one of a snapshot, which may be read for minutes, needs nothing of the overlay */
    if (iter->holds) {
        self->iterators++;
        sk_overlay_view_take(&self->overlay, cf, from, to, false, &iter->view);
    }
    if (!self->database.db || (snapshot && !snapshot->snapshot)) return iter;
    iter->options = rocksdb_readoptions_create();
    if (snapshot) rocksdb_readoptions_set_snapshot(iter->options, snapshot->snapshot);
    if (once) rocksdb_readoptions_set_fill_cache(iter->options, 0);
    if (to.data) {
        sk_bytes bound = sk_arena_copy(&iter->view.bounds, to); /* RocksDB borrows it */
        rocksdb_readoptions_set_iterate_upper_bound(iter->options, (const char *)bound.data, bound.len);
    }
    iter->below = rocksdb_create_iterator_cf(self->database.db, iter->options, self->database.family[cf]);
    rocksdb_iter_seek(iter->below, from.data ? (const char *)from.data : "", from.len);
    return iter;
}

/* Whether there is a pair below, and its key; negative: an error. */
static int peek_below(sk_store_iter *iter, sk_bytes *key)
{
    if (!iter->below) return why_not(iter->store);
    if (iter->past && rocksdb_iter_valid(iter->below)) rocksdb_iter_next(iter->below);
    iter->past = false;
    if (rocksdb_iter_valid(iter->below)) {
        key->data = (const uint8_t *)rocksdb_iter_key(iter->below, &key->len);
        return 1;
    }
    char *message = NULL;
    rocksdb_iter_get_error(iter->below, &message);
    return sk_database_error(message, iter->store->message);
}

static int rocks_iter_next(sk_store_iter *iter, sk_bytes *key, sk_bytes *value)
{
    for (;;) {
        sk_bytes below;
        int some = peek_below(iter, &below);
        if (some < 0) return some;
        switch (sk_overlay_view_next(&iter->view, some ? &below : NULL, key, value)) {
        case SK_VIEW_END: return 0;
        case SK_VIEW_PAIR: return 1;
        case SK_VIEW_BASE:
            *key = below;
            value->data = (const uint8_t *)rocksdb_iter_value(iter->below, &value->len);
            iter->past = true;
            return 1;
        case SK_VIEW_SKIP: iter->past = true; break;
        case SK_VIEW_SEEK:
            iter->past = !key->data; /* past the last one, when all to the end is hidden */
            if (key->data)
                rocksdb_iter_seek(iter->below, (const char *)key->data, key->len);
            else
                rocksdb_iter_seek_to_last(iter->below);
            break;
        }
    }
}

static void rocks_iter_free(sk_store_iter *iter)
{
    if (!iter) return;
    if (iter->below) rocksdb_iter_destroy(iter->below);
    if (iter->options) rocksdb_readoptions_destroy(iter->options);
    sk_overlay_view_free(&iter->view);
    iter->store->readers--;
    if (iter->holds) iter->store->iterators--;
    free(iter);
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

static void rocks_put(sk_store *store, sk_cf cf, sk_bytes key, sk_bytes value)
{
    rocks *self = rocks_of(store);
    uint64_t hash = sk_overlay_change(&self->overlay, SK_CHANGE_PUT, cf, key, value);
    if (cf == SK_CF_ROW) sk_presence_add(&self->presence, hash);
}

static void rocks_remove(sk_store *store, sk_cf cf, sk_bytes key)
{
    sk_overlay_change(&rocks_of(store)->overlay, SK_CHANGE_REMOVE, cf, key, SK_BYTES_NONE);
}

static void rocks_remove_range(sk_store *store, sk_cf cf, sk_bytes from, sk_bytes to)
{
    sk_overlay_remove_range(&rocks_of(store)->overlay, cf, from, to);
}

static uint64_t rocks_seal(sk_store *store)
{
    rocks *self = rocks_of(store);
    sk_batch *batch = sk_overlay_seal(&self->overlay);
    if (batch->first && !self->broken) {
        self->last_submitted = batch->number;
        self->submitted_bytes += batch->bytes;
        self->submitted_changes += batch->count;
        sk_committer_submit(&self->committer, batch);
    }
    return batch->number;
}

/* What comes soon is brought from memory while others are noted: first its places in the tables, then its entry. */
static const sk_change *fetch_places(const rocks *self, const sk_change *change)
{
    if (change->cf == SK_CF_ROW) {
        sk_index_fetch(&self->overlay.index, change->hash);
        sk_rowcache_fetch(&self->cache, change->hash);
    }
    return change->next;
}

static const sk_change *fetch_entry(const rocks *self, const sk_change *change)
{
    if (change->cf == SK_CF_ROW) sk_rowcache_fetch_entry(&self->cache, change->hash);
    return change->next;
}

/* What a batch that is about to leave the overlay changed goes into the cache. Only the live changes: what is newer than
 * the others is in the overlay still, hides what the cache says meanwhile, and is noted when its turn comes. */
static void note_committed(rocks *self, const sk_batch *batch)
{
    enum { FAR = 12, NEAR = 6 };
    const sk_change *far = batch->first, *near = batch->first;
    for (int i = 0; far && i < FAR; i++) far = fetch_places(self, far);
    for (int i = 0; near && i < NEAR; i++) near = fetch_entry(self, near);
    for (const sk_change *change = batch->first; change; change = change->next) {
        if (far) far = fetch_places(self, far);
        if (near) near = fetch_entry(self, near);
        if (change->cf != SK_CF_ROW || !change->live) continue;
        sk_bytes value = sk_change_value(change);
        if (change->kind == SK_CHANGE_RANGE)
            sk_rowcache_clear(&self->cache);
        else
            sk_rowcache_put(&self->cache, change->hash, sk_change_key(change),
                            change->kind == SK_CHANGE_PUT ? &value : NULL);
    }
}

/* A load leaves memory that the next one can use: what is fresh has to be cleared by the system, a millisecond for each
 * chunk, and clients wait for that. */
static void give_back_spare(rocks *self)
{
    uint64_t now = sk_worker_now_ms();
    if (sk_chunks_busy(&self->overlay.chunks))
        self->busy_ms = now;
    else if (now - self->busy_ms >= self->reclaim_ms)
        sk_overlay_trim(&self->overlay);
}

static int rocks_reap(sk_store *store, uint64_t *durable)
{
    rocks *self = rocks_of(store);
    uint64_t committed = atomic_load(&self->committer.durable), placed = atomic_load(&self->placing.placed);
    int error = sk_failure_code(&self->failure);
    self->committed_bytes = atomic_load(&self->committer.committed_bytes);
    if (committed > self->durable) self->durable = committed;
    /* Empty batches never went to the thread; they are durable with those before them. */
    if (!error && !self->broken && committed >= self->last_submitted) self->durable = self->overlay.open->number - 1;
    if (placed >= self->last_submitted) placed = self->durable;
    give_back_spare(self);
    size_t most = self->submitted_changes * 3 / 2, changes = 0; /* all of a run, before the next one is in its place */
    if (most < REAP_CHANGES) most = REAP_CHANGES;
    self->submitted_changes = 0;
    sk_batch *batch;
    while (!self->iterators && (batch = self->overlay.sealed) && batch->number <= placed) {
        if (changes >= most) { /* clients do not wait for all of a run: the rest in the next turn */
            if (self->committer.options.wake) self->committer.options.wake(self->committer.options.context);
            break;
        }
        changes += batch->count + 1;
        self->absent_len = 0;
        note_committed(self, batch);
        sk_overlay_recycle(&self->overlay, sk_overlay_take(&self->overlay, placed));
    }
    *durable = self->durable;
    return error;
}

static int rocks_flush(sk_store *store)
{
    return sk_committer_flush(&rocks_of(store)->committer);
}

static size_t rocks_open_bytes(sk_store *store)
{
    return rocks_of(store)->overlay.open->bytes;
}

static size_t rocks_pending_bytes(sk_store *store)
{
    rocks *self = rocks_of(store);
    return (size_t)(self->submitted_bytes - self->committed_bytes);
}

static size_t rocks_unordered(sk_store *store)
{
    return sk_overlay_unordered(&rocks_of(store)->overlay);
}

/* -- going back to what the disk has ------------------------------------------------------------------------------ */

/* Opening writes the logs' contents as tables: it is tried only where there is room, since a database that was closed
 * and cannot be opened again serves no reads. */
static int worth_trying(rocks *self)
{
    uint64_t wanted = sk_folder_log_bytes(&self->folder) + sk_journal_bytes(&self->journal) + REOPEN_SPARE;
    if (wanted < self->min_free_bytes) wanted = self->min_free_bytes;
    if (sk_folder_space(&self->folder) < wanted) return SK_E_DISK_FULL;
    return sk_folder_probe(&self->folder, PROBE_BYTES);
}

/* On a full disk Debian's RocksDB aborts while it opens, since it cannot write the head of its own log. */
static int room_to_start(const rocks *self, char *error)
{
    uint64_t space = sk_folder_space(&self->folder);
    int result = space < REOPEN_SPARE ? SK_E_DISK_FULL : sk_folder_probe(&self->folder, PROBE_BYTES);
    if (result != SK_OK)
        snprintf(error, SK_ROCKSDB_ERROR, "%s: the disk is full or cannot be written: %llu bytes are free, a start takes %d",
                 self->folder.path, (unsigned long long)space, REOPEN_SPARE);
    return result;
}

/* Opens the database, places what the log still holds, and begins it anew. */
static int open_and_replay(rocks *self, char *error)
{
    uint64_t last = 0;
    sk_journal_close(&self->journal);
    int result = sk_database_open(&self->database, &self->folder, false, error);
    if (result != SK_OK) return result;
    sk_placer placer;
    sk_placer_init(&placer, &self->database, &self->journal);
    result = sk_placer_replay(&placer, &last, error);
    self->half_replayed = result != SK_OK && (placer.half_replayed || self->half_replayed);
    sk_placer_free(&placer);
    if (result != SK_OK) sk_database_close(&self->database);
    return result;
}

static int start_threads(rocks *self, char *error)
{
    int result = sk_placing_start(&self->placing);
    if (result == SK_OK) result = sk_committer_start(&self->committer);
    if (result != SK_OK) sk_file_say(error, result, "%s: the system gives no thread", self->folder.path);
    return result;
}

static int reopen_database(rocks *self)
{
    if (!sk_folder_is_there(&self->folder))
        return sk_file_say(self->message, SK_E_IO, "%s: the data directory was removed or another one put in its place",
                           self->folder.path);
    int result = worth_trying(self);
    if (result != SK_OK) return result;
    sk_database_close(&self->database);
    result = open_and_replay(self, self->message);
    char ignored[SK_ROCKSDB_ERROR];
    if (result != SK_OK && !self->half_replayed) sk_database_open(&self->database, &self->folder, true, ignored);
    return result;
}

static int rocks_reopen(sk_store *store)
{
    rocks *self = rocks_of(store);
    sk_assert(self->readers == 0);
    unpin(self);
    sk_presence_stop(&self->presence);
    pthread_mutex_lock(&self->opened);
    sk_committer_stop(&self->committer, true);
    sk_placing_stop(&self->placing, true);
    /* What is committed may still have to be placed: until the disk takes that, it is read from here. */
    uint64_t committed = atomic_load(&self->committer.durable);
    if (committed > self->durable) self->durable = committed;
    sk_overlay_keep(&self->overlay, self->durable);
    int result = reopen_database(self);
    if (result == SK_OK) {
        sk_overlay_drop_all(&self->overlay);
        self->durable = self->last_submitted = self->overlay.open->number - 1;
        sk_placing_forget(&self->placing, self->durable);
        atomic_store(&self->committer.durable, self->durable);
    }
    sk_rowcache_clear(&self->cache);
    self->absent_len = 0;
    self->submitted_bytes = self->committed_bytes = atomic_load(&self->committer.committed_bytes);
    sk_failure_reset(&self->failure, result);
    if (start_threads(self, self->message) != SK_OK && result == SK_OK) {
        result = SK_E_IO;
        sk_failure_reset(&self->failure, result);
    }
    if (result == SK_OK) sk_presence_learn(&self->presence, &self->database);
    self->broken = result;
    pthread_mutex_unlock(&self->opened);
    return result;
}

/* -- copies of the files ------------------------------------------------------------------------------------------ */

/* Memtables go first, without holding placing off, so that little is left to do while it waits; and only where they have
 * room: RocksDB should not meet a full disk. */
static int flush_all(rocks *self, char *error)
{
    uint64_t wanted = sk_database_property(&self->database, "rocksdb.cur-size-all-mem-tables") + REOPEN_SPARE;
    if (sk_folder_space(&self->folder) < wanted)
        return sk_file_say(error, SK_E_DISK_FULL, "%s: the disk has no room for a checkpoint", self->folder.path);
    int status = SK_OK;
    for (int cf = 0; cf < SK_CF_COUNT && !status; cf++) status = sk_database_flush(&self->database, (sk_cf)cf, error);
    return status;
}

static int checkpoint(rocks *self, const char *path, char *error)
{
    int status = self->broken ? self->broken : sk_failure_code(&self->failure);
    if (status) return sk_file_say(error, status, "the store does not work: %s", sk_error_text(status));
    status = sk_file_remove_folder(path, error);
    if (!status) status = flush_all(self, error);
    if (status) return status;
    status = sk_placing_hold(&self->placing);
    if (status) return sk_file_say(error, status, "the store does not work: %s", sk_error_text(status));
    status = sk_database_checkpoint(&self->database, path, error);
    sk_placing_release(&self->placing);
    return status;
}

int sk_rocksdb_checkpoint(sk_store *store, const char *path, char *error)
{
    rocks *self = rocks_of(store);
    pthread_mutex_lock(&self->opened);
    int status = checkpoint(self, path, error);
    pthread_mutex_unlock(&self->opened);
    return status;
}

int sk_rocksdb_name(const sk_store *store, sk_buf *name, char *error)
{
    char *path = sk_file_join(((const rocks *)store)->folder.db_path, "IDENTITY");
    int found = sk_file_read(path, SK_ROCKSDB_ERROR, name, error);
    if (found == 0) found = sk_file_say(error, SK_E_CORRUPT, "%s: is not there", path);
    free(path);
    return found < 0 ? found : SK_OK;
}

/* -- the rest ----------------------------------------------------------------------------------------------------- */

static void stat_line(sk_buf *text, const char *name, uint64_t value)
{
    sk_buf_printf(text, "%s:%llu\r\n", name, (unsigned long long)value);
}

static void rocks_stats(sk_store *store, sk_buf *text)
{
    rocks *self = rocks_of(store);
    const sk_committer *committer = &self->committer;
    const sk_placing *placing = &self->placing;
    sk_buf_printf(text, "store:rocksdb\r\n");
    stat_line(text, "store_live_bytes", sk_database_property(&self->database, "rocksdb.estimate-live-data-size"));
    stat_line(text, "store_table_bytes", sk_database_property(&self->database, "rocksdb.total-sst-files-size"));
    stat_line(text, "store_memtable_bytes", sk_database_property(&self->database, "rocksdb.cur-size-all-mem-tables"));
    stat_line(text, "store_estimated_keys", sk_database_property(&self->database, "rocksdb.estimate-num-keys"));
    stat_line(text, "store_cache_bytes", rocksdb_cache_get_usage(self->database.cache));
    stat_line(text, "store_row_cache_bytes", self->cache.bytes);
    stat_line(text, "store_row_cache_hits", self->cache.hits);
    stat_line(text, "store_row_cache_misses", self->cache.misses);
    stat_line(text, "store_absent_rows_known", atomic_load(&self->presence.complete));
    stat_line(text, "store_overlay_keys", self->overlay.live);
    stat_line(text, "store_overlay_memory", sk_chunks_memory(&self->overlay.chunks));
    stat_line(text, "store_batches", atomic_load(&committer->batches));
    stat_line(text, "store_writes", atomic_load(&committer->writes));
    stat_line(text, "store_syncs", atomic_load(&committer->syncs));
    stat_line(text, "store_bytes_written", atomic_load(&committer->bytes));
    stat_line(text, "store_unplaced_bytes", atomic_load(&placing->bytes));
    stat_line(text, "store_runs", atomic_load(&placing->runs));
    stat_line(text, "store_tables_placed", atomic_load(&placing->tables));
    stat_line(text, "store_rows_placed", atomic_load(&placing->rows));
    stat_line(text, "store_rows_coalesced", atomic_load(&placing->coalesced));
    stat_line(text, "store_free_bytes", sk_folder_space(&self->folder));
    stat_line(text, "store_space_low", atomic_load(&committer->space_low));
    stat_line(text, "store_failed", self->broken || sk_failure_code(&self->failure));
}

static void give_back(rocks *self)
{
    sk_presence_free(&self->presence);
    sk_committer_free(&self->committer);
    sk_placing_free(&self->placing);
    sk_failure_free(&self->failure);
    sk_database_free(&self->database);
    sk_journal_free(&self->journal);
    sk_overlay_free(&self->overlay);
    sk_rowcache_free(&self->cache);
    sk_prefault_free(&self->prefault);
    sk_folder_close(&self->folder);
    pthread_mutex_destroy(&self->opened);
    free(self);
}

static void rocks_close(sk_store *store)
{
    rocks *self = rocks_of(store);
    sk_assert(self->readers == 0);
    unpin(self);
    sk_committer_stop(&self->committer, false);
    sk_placing_stop(&self->placing, false);
    char ignored[SK_ROCKSDB_ERROR];
    bool all_placed = !self->broken && !sk_failure_code(&self->failure) && !self->database.read_only;
    if (all_placed) sk_placer_restart_log(&self->placing.placer, ignored); /* an error: the next start replays it */
    give_back(self);
}

static const sk_store_ops rocks_ops = {
    .get = rocks_get,
    .fetch = rocks_fetch,
    .put = rocks_put,
    .remove = rocks_remove,
    .remove_range = rocks_remove_range,
    .seal = rocks_seal,
    .reap = rocks_reap,
    .flush = rocks_flush,
    .reopen = rocks_reopen,
    .open_bytes = rocks_open_bytes,
    .pending_bytes = rocks_pending_bytes,
    .unordered = rocks_unordered,
    .snapshot = rocks_snapshot,
    .snapshot_free = rocks_snapshot_free,
    .snapshot_get = rocks_snapshot_get,
    .iter = rocks_iter,
    .iter_next = rocks_iter_next,
    .iter_free = rocks_iter_free,
    .stats = rocks_stats,
    .close = rocks_close,
};

static sk_rocksdb_options with_defaults(const sk_rocksdb_options *given)
{
    sk_rocksdb_options options = *given;
    if (!options.interval_ms) options.interval_ms = INTERVAL_MS;
    if (!options.reclaim_ms) options.reclaim_ms = RECLAIM_MS;
    if (!options.cache_bytes) options.cache_bytes = CACHE_BYTES;
    if (!options.row_cache_bytes) options.row_cache_bytes = ROW_CACHE_BYTES;
    if (!options.write_buffer_bytes) options.write_buffer_bytes = WRITE_BUFFER_BYTES;
    if (!options.place_bytes) options.place_bytes = options.write_buffer_bytes / PLACE_PART;
    if (!options.segment_bytes) options.segment_bytes = SEGMENT_BYTES;
    if (!options.max_open_files) options.max_open_files = MAX_OPEN_FILES;
    return options;
}

/* The parts, over a folder that is known; nothing is open yet. */
static void init_parts(rocks *self, const sk_rocksdb_options *options)
{
    self->store.ops = &rocks_ops;
    sk_assert(pthread_mutex_init(&self->opened, NULL) == 0);
    sk_overlay_init(&self->overlay, 1, options->place_bytes);
    size_t presence_bytes = options->row_cache_bytes / PRESENCE_PART;
    sk_presence_init(&self->presence, SK_CF_ROW, presence_bytes);
    sk_rowcache_init(&self->cache, options->row_cache_bytes - presence_bytes);
    sk_prefault_init(&self->prefault);
    self->overlay.chunks.prefault = self->overlay.index.prefault = &self->prefault;
    self->cache.prefault = self->cache.index.prefault = &self->prefault;
    sk_database_init(&self->database, options);
    sk_failure_init(&self->failure);
    sk_journal_init(&self->journal, self->folder.db_path, options->segment_bytes);
    sk_placing_init(&self->placing, &self->database, &self->journal, &self->failure, options);
    sk_committer_init(&self->committer, &self->journal, &self->folder, &self->placing, &self->failure, options);
    self->reclaim_ms = options->reclaim_ms;
    sk_database_thread_begin();
}

/* For reading alone. */
static void init_reader(rocks *self)
{
    sk_rocksdb_options given = {.cache_bytes = COPY_BYTES, .row_cache_bytes = COPY_BYTES, .write_buffer_bytes = COPY_BYTES};
    sk_rocksdb_options options = with_defaults(&given);
    init_parts(self, &options);
}

static int finish_reader(rocks *self, int result, sk_store **store)
{
    if (result == SK_OK)
        *store = &self->store;
    else
        give_back(self);
    return result;
}

int sk_rocksdb_open_copy(const char *path, sk_store **store, char *error)
{
    rocks *self = sk_alloc(sizeof *self);
    self->folder = (sk_folder){.path = strdup(path), .db_path = strdup(path), .lock = -1};
    sk_assert(self->folder.path && self->folder.db_path);
    init_reader(self);
    return finish_reader(self, sk_database_open(&self->database, &self->folder, true, error), store);
}

/* A record of the commit log, which is not placed but stays in the overlay. */
static int take_logged(void *context, uint64_t number, sk_bytes bytes)
{
    rocks *self = context;
    sk_reader reader = sk_reader_of(bytes);
    sk_logged logged;
    int status;
    (void)number;
    while ((status = sk_log_next(&reader, &logged)) > 0) {
        if (logged.kind == SK_CHANGE_RANGE)
            sk_overlay_remove_range(&self->overlay, logged.cf, logged.key, logged.open_end ? SK_BYTES_NONE : logged.value);
        else
            sk_overlay_change(&self->overlay, logged.kind, logged.cf, logged.key, logged.value);
    }
    if (status) snprintf(self->message, SK_ROCKSDB_ERROR, "a record of the commit log is damaged");
    return status;
}

int sk_rocksdb_open_stopped(const char *path, const char *scratch, sk_store **store, char *error)
{
    rocks *self = sk_alloc(sizeof *self);
    int result = sk_folder_open_stopped(&self->folder, path, error);
    if (result != SK_OK) {
        free(self);
        return result;
    }
    init_reader(self);
    rocksdb_options_set_db_log_dir(self->database.options, scratch);
    result = sk_database_open(&self->database, &self->folder, true, error);
    if (result == SK_OK) {
        result = sk_journal_read(&self->journal, take_logged, self, error);
        if (result != SK_OK && self->message[0]) strcpy(error, self->message);
        (void)sk_overlay_seal(&self->overlay); /* what is put from here on is not of the directory */
    }
    return finish_reader(self, result, store);
}

int sk_rocksdb_open(const sk_rocksdb_options *given, sk_store **store, char *error)
{
    _Static_assert((int)SK_ROCKSDB_ERROR == (int)SK_FOLDER_ERROR, "one size for sentences");
    sk_rocksdb_options options = with_defaults(given);
    rocks *self = sk_alloc(sizeof *self);
    self->min_free_bytes = options.min_free_bytes;
    int result = sk_folder_open(&self->folder, options.path, error);
    if (result != SK_OK) {
        free(self);
        return result;
    }
    init_parts(self, &options);
    result = room_to_start(self, error);
    if (result == SK_OK) result = open_and_replay(self, error);
    if (result == SK_OK) result = start_threads(self, error);
    if (result != SK_OK) {
        sk_placing_stop(&self->placing, true);
        give_back(self);
        return result;
    }
    sk_presence_learn(&self->presence, &self->database);
    *store = &self->store;
    return SK_OK;
}

int sk_rocksdb_read_all(sk_store *store, char *error)
{
    rocks *self = rocks_of(store);
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_ignore_range_deletions(options, 1);
    rocksdb_readoptions_set_fill_cache(options, 0);
    int result = self->database.db ? SK_OK : why_not(self);
    for (int cf = 0; cf < SK_CF_COUNT && result == SK_OK; cf++) {
        rocksdb_iterator_t *iter = rocksdb_create_iterator_cf(self->database.db, options, self->database.family[cf]);
        char *message = NULL;
        rocksdb_iter_seek_to_first(iter);
        while (rocksdb_iter_valid(iter)) rocksdb_iter_next(iter);
        rocksdb_iter_get_error(iter, &message);
        result = sk_database_error(message, error);
        rocksdb_iter_destroy(iter);
    }
    rocksdb_readoptions_destroy(options);
    return result;
}

void sk_rocksdb_mark(const sk_store *store, char text[SK_ROCKSDB_MARK])
{
    _Static_assert((int)SK_ROCKSDB_MARK == (int)SK_FOLDER_MARK, "one size for marks");
    sk_folder_mark(&((const rocks *)store)->folder, text);
}

bool sk_rocksdb_space_low(const sk_store *store)
{
    return atomic_load(&((const rocks *)store)->committer.space_low);
}

const char *sk_rocksdb_last_error(sk_store *store)
{
    rocks *self = rocks_of(store);
    if (sk_failure_code(&self->failure) && !self->broken) sk_failure_text(&self->failure, self->message);
    return self->message;
}
