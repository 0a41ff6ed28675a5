#include "storage/placing.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PLACE_IDLE_MS = 200,      /* nothing came for so long: what is committed goes to its place */
    IDLE_MS = 1000,           /* between looks at anything while nothing is */
    BEHIND = 2,               /* commits wait when so many times place_bytes are not in their place */
    RECLAIM_CHUNK = 64 << 10, /* bytes of a bound that are kept; longer ones are cut */
    SPARE_BYTES = 4 << 20,    /* a run begins only where the disk has room for it and this */
};

/* -- giving space back ----------------------------------------------------------------------------------------------
 * Compaction drops what a range removal covers when it comes along, which on an idle store may be never. So when
 * nothing else is to do, the memtable with the removal is flushed, and then its range proposed for compaction. */

static void note_range(sk_placing *placing, int cf, sk_bytes start, sk_bytes end, bool open_end)
{
    sk_buf *from = &placing->removed[cf].from, *to = &placing->removed[cf].to;
    if (start.len > RECLAIM_CHUNK) start.len = RECLAIM_CHUNK;
    if (end.len > RECLAIM_CHUNK) end.len = RECLAIM_CHUNK;
    bool any = placing->removed[cf].any;
    if (!any || sk_bytes_compare(start, sk_buf_view(from)) < 0) {
        sk_buf_reset(from);
        sk_buf_bytes(from, start);
    }
    if (!any || sk_bytes_compare(end, sk_buf_view(to)) > 0) {
        sk_buf_reset(to);
        sk_buf_bytes(to, end);
    }
    placing->removed[cf].open_end = open_end || (any && placing->removed[cf].open_end);
    placing->removed[cf].any = true;
    placing->removed[cf].flushed = false;
}

/* What the run that begins removes. */
static void note_run(sk_placing *placing)
{
    const sk_placer *placer = &placing->placer;
    for (size_t i = 0; i < placer->run.range_count; i++) {
        const sk_change *range = placer->run.ranges[i];
        note_range(placing, range->cf, sk_change_key(range), sk_change_value(range), range->open_end);
    }
}

static void reclaim(sk_placing *placing)
{
    sk_database *database = placing->database;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        if (!placing->removed[cf].any) continue;
        char *message = NULL;
        sk_bytes from = sk_buf_view(&placing->removed[cf].from), to = sk_buf_view(&placing->removed[cf].to);
        if (!placing->removed[cf].flushed) {
            rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
            rocksdb_flushoptions_set_wait(options, 0);
            rocksdb_flush_cf(database->db, options, database->family[cf], &message);
            rocksdb_flushoptions_destroy(options);
            placing->removed[cf].flushed = true;
        } else {
            const char *end = placing->removed[cf].open_end ? NULL : (const char *)to.data;
            rocksdb_suggest_compact_range_cf(database->db, database->family[cf], (const char *)from.data, from.len, end,
                                             to.len, &message);
            placing->removed[cf].any = false;
        }
        free(message); /* it was only an offer */
    }
}

/* -- the thread --------------------------------------------------------------------------------------------------- */

/* RocksDB should not meet a full disk: it tries to flush what it has, again and again, and Debian's build may abort then. */
static int look_for_room(const sk_placing *placing, char *text)
{
    uint64_t space = sk_folder_space(placing->database->folder);
    if (space >= placing->placer.bytes + SPARE_BYTES) return 1;
    snprintf(text, SK_FOLDER_ERROR, "No space left to bring what is committed into place: %llu bytes are free",
             (unsigned long long)space);
    return SK_E_DISK_FULL;
}

static void run_once(sk_placing *placing)
{
    sk_placer *placer = &placing->placer;
    char text[SK_FOLDER_ERROR];
    int more = look_for_room(placing, text);
    if (more > 0) {
        sk_placer_begin(placer);
        note_run(placing);
    }
    while (more > 0 && !sk_failure_code(placing->failure)) more = sk_placer_step(placer, text);
    if (more < 0) sk_failure_set(placing->failure, more, text);
    atomic_store(&placing->runs, placer->runs);
    atomic_store(&placing->rows, placer->rows);
    atomic_store(&placing->coalesced, placer->coalesced);
    atomic_store(&placing->tables, placer->tables);
    if (more == 0) atomic_store(&placing->placed, placer->placed);
}

/* With the lock: whether the next run should begin now. */
static bool is_due(const sk_placing *placing, bool idle)
{
    if (!placing->count || sk_failure_code(placing->failure)) return false;
    if (placing->worker.stopping && placing->worker.abandon) return false;
    if (placing->worker.stopping) return true;
    if (placing->holds) return false;
    if (placing->wanted > atomic_load(&placing->placed)) return true;
    return !placing->asking && (idle || placing->incoming_bytes >= placing->options.place_bytes);
}

/* With the lock. True if nothing came for as long as there was to wait. */
static bool wait_for_work(sk_placing *placing)
{
    uint64_t wait = placing->count ? PLACE_IDLE_MS : IDLE_MS;
    if (placing->options.reclaim_ms < wait) wait = placing->options.reclaim_ms;
    uint64_t before = placing->added;
    sk_worker_wait(&placing->worker, wait);
    return placing->added == before && !placing->worker.stopping;
}

/* True if it did, and let go of the lock meanwhile: whoever signalled then was not heard. */
static bool reclaim_sometimes(sk_placing *placing)
{
    uint64_t now = sk_worker_now_ms();
    if (now - placing->reclaimed_ms < placing->options.reclaim_ms || sk_failure_code(placing->failure)) return false;
    placing->reclaimed_ms = now;
    pthread_mutex_unlock(&placing->worker.lock);
    sk_placer_trim(&placing->placer);
    reclaim(placing);
    pthread_mutex_lock(&placing->worker.lock);
    return true;
}

static void *run(void *argument)
{
    sk_placing *placing = argument;
    bool idle = false;
    sk_database_thread_begin();
    pthread_mutex_lock(&placing->worker.lock);
    for (;;) {
        if (!is_due(placing, idle)) {
            if (placing->worker.stopping) break;
            if (sk_failure_code(placing->failure)) pthread_cond_broadcast(&placing->worker.done); /* it may be a commit's */
            if (idle && !placing->count && reclaim_sometimes(placing)) continue;
            idle = wait_for_work(placing);
            continue;
        }
        for (size_t i = 0; i < placing->count; i++) sk_placer_add(&placing->placer, placing->incoming[i]);
        placing->count = placing->incoming_bytes = 0;
        placing->active = true;
        pthread_mutex_unlock(&placing->worker.lock);
        run_once(placing);
        pthread_mutex_lock(&placing->worker.lock);
        placing->active = idle = false;
        atomic_store(&placing->bytes, placing->incoming_bytes + placing->placer.bytes);
        pthread_cond_broadcast(&placing->worker.done);
        if (placing->options.wake) placing->options.wake(placing->options.context);
    }
    pthread_mutex_unlock(&placing->worker.lock);
    return NULL;
}

void sk_placing_init(sk_placing *placing, sk_database *database, sk_journal *journal, sk_failure *failure,
                     const sk_rocksdb_options *options)
{
    *placing = (sk_placing){.database = database, .failure = failure, .options = *options};
    placing->options.path = NULL;
    sk_worker_init(&placing->worker);
    sk_placer_init(&placing->placer, database, journal);
}

int sk_placing_start(sk_placing *placing)
{
    placing->reclaimed_ms = sk_worker_now_ms();
    return sk_worker_start(&placing->worker, "sk-place", run, placing);
}

void sk_placing_stop(sk_placing *placing, bool abandon)
{
    sk_worker_stop(&placing->worker, abandon);
}

void sk_placing_free(sk_placing *placing)
{
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        sk_buf_free(&placing->removed[cf].from);
        sk_buf_free(&placing->removed[cf].to);
    }
    sk_placer_free(&placing->placer);
    free(placing->incoming);
    sk_worker_free(&placing->worker);
}

void sk_placing_forget(sk_placing *placing, uint64_t upto)
{
    sk_assert(!placing->worker.running);
    sk_placer_reset(&placing->placer);
    placing->count = placing->incoming_bytes = 0;
    placing->added = placing->wanted = upto;
    atomic_store(&placing->bytes, 0);
    atomic_store(&placing->placed, upto);
}

/* -- what other threads ask --------------------------------------------------------------------------------------- */

void sk_placing_add(sk_placing *placing, sk_batch *const *batches, size_t count)
{
    pthread_mutex_lock(&placing->worker.lock);
    while (placing->count + count > placing->cap) {
        placing->cap = placing->cap ? placing->cap * 2 : 256;
        placing->incoming = sk_realloc(placing->incoming, placing->cap * sizeof *placing->incoming);
    }
    bool first = placing->count == 0;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        placing->incoming[placing->count++] = batches[i];
        bytes += sk_batch_memory(batches[i]);
    }
    bool enough = placing->incoming_bytes < placing->options.place_bytes;
    placing->incoming_bytes += bytes;
    enough = enough && placing->incoming_bytes >= placing->options.place_bytes;
    placing->added = batches[count - 1]->number;
    atomic_fetch_add(&placing->bytes, bytes);
    pthread_mutex_unlock(&placing->worker.lock);
    if (first || enough) pthread_cond_signal(&placing->worker.work); /* else it wakes in time by itself */
}

bool sk_placing_has_room(const sk_placing *placing)
{
    return atomic_load(&placing->bytes) <= placing->options.place_bytes * BEHIND;
}

void sk_placing_wait_for_room(sk_placing *placing)
{
    if (sk_placing_has_room(placing)) return;
    pthread_mutex_lock(&placing->worker.lock);
    while (!sk_placing_has_room(placing) && placing->worker.running && !sk_failure_code(placing->failure))
        pthread_cond_wait(&placing->worker.done, &placing->worker.lock);
    pthread_mutex_unlock(&placing->worker.lock);
}

int sk_placing_hold(sk_placing *placing)
{
    pthread_mutex_lock(&placing->worker.lock);
    uint64_t upto = placing->added;
    if (placing->wanted < upto) placing->wanted = upto;
    placing->asking++;
    pthread_cond_signal(&placing->worker.work);
    while (placing->worker.running && !sk_failure_code(placing->failure) &&
           (atomic_load(&placing->placed) < upto || placing->active))
        pthread_cond_wait(&placing->worker.done, &placing->worker.lock);
    int failure = sk_failure_code(placing->failure);
    if (!failure && !placing->worker.running) failure = SK_E_IO;
    placing->asking--;
    if (!failure) placing->holds++;
    pthread_mutex_unlock(&placing->worker.lock);
    return failure;
}

void sk_placing_release(sk_placing *placing)
{
    pthread_mutex_lock(&placing->worker.lock);
    placing->holds--;
    pthread_cond_signal(&placing->worker.work);
    pthread_mutex_unlock(&placing->worker.lock);
}
