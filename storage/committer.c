#include "storage/committer.h"

#include "storage/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    GROUP_BYTES = 4 << 20,    /* one write takes batches until they are more than this */
    WRITE_KEEP = 16 << 20,    /* a write batch that grew beyond this is not kept for the next */
    SPACE_MS = 100,           /* between looks at the free space while something is written, or space is low */
    PLACE_IDLE_MS = 50,       /* nothing came for so long: what is committed goes to its place */
    IDLE_MS = 1000,           /* between looks at anything while nothing is */
    RECLAIM_CHUNK = 64 << 10, /* bytes of a bound that are kept; longer ones are cut */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void fail_with(sk_committer *committer, int code, const char text[SK_FOLDER_ERROR])
{
    pthread_mutex_lock(&committer->lock);
    memcpy(committer->message, text, SK_FOLDER_ERROR);
    pthread_mutex_unlock(&committer->lock);
    atomic_store(&committer->error, code);
    committer->dirty = false; /* a reopen decides what the disk has */
}

static void fail(sk_committer *committer, char *message)
{
    char text[SK_FOLDER_ERROR];
    int code = sk_database_error(message, text);
    fail_with(committer, code, text);
}

/* -- giving space back ----------------------------------------------------------------------------------------------
 * Compaction drops what a range removal covers when it comes along, which on an idle store may be never. So when
 * nothing else is to do, the memtable with the removal is flushed, and then its range proposed for compaction. */

static void note_range(sk_committer *committer, int cf, sk_bytes start, sk_bytes end, bool open_end)
{
    sk_buf *from = &committer->removed[cf].from, *to = &committer->removed[cf].to;
    if (start.len > RECLAIM_CHUNK) start.len = RECLAIM_CHUNK;
    if (end.len > RECLAIM_CHUNK) end.len = RECLAIM_CHUNK;
    bool any = committer->removed[cf].any;
    if (!any || sk_bytes_compare(start, sk_buf_view(from)) < 0) {
        sk_buf_reset(from);
        sk_buf_bytes(from, start);
    }
    if (!any || sk_bytes_compare(end, sk_buf_view(to)) > 0) {
        sk_buf_reset(to);
        sk_buf_bytes(to, end);
    }
    committer->removed[cf].open_end = open_end || (any && committer->removed[cf].open_end);
    committer->removed[cf].any = true;
    committer->removed[cf].flushed = false;
}

static void reclaim(sk_committer *committer)
{
    sk_database *database = committer->database;
    for (int cf = 0; cf <= SK_CF_COUNT; cf++) {
        if (!committer->removed[cf].any) continue;
        char *message = NULL;
        sk_bytes from = sk_buf_view(&committer->removed[cf].from), to = sk_buf_view(&committer->removed[cf].to);
        if (!committer->removed[cf].flushed) {
            rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
            rocksdb_flushoptions_set_wait(options, 0);
            rocksdb_flush_cf(database->db, options, database->family[cf], &message);
            rocksdb_flushoptions_destroy(options);
            committer->removed[cf].flushed = true;
        } else {
            const char *end = committer->removed[cf].open_end ? NULL : (const char *)to.data;
            rocksdb_suggest_compact_range_cf(database->db, database->family[cf], (const char *)from.data, from.len, end,
                                             to.len, &message);
            committer->removed[cf].any = false;
        }
        free(message); /* it was only an offer */
    }
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

static void sync_log(sk_committer *committer)
{
    if (!committer->dirty || atomic_load(&committer->error)) return;
    char *message = NULL;
    rocksdb_flush_wal(committer->database->db, 1, &message);
    if (message) {
        fail(committer, message);
        return;
    }
    atomic_fetch_add(&committer->syncs, 1);
    committer->dirty = false;
    committer->synced_ms = now_ms();
}

/* One group: one append to the log. */
static void write_group(sk_committer *committer, sk_batch *const *batches, size_t count)
{
    bool synced = committer->options.durability == SK_DURABILITY_ALWAYS;
    size_t bytes = 0;
    sk_buf_reset(&committer->record);
    for (size_t i = 0; i < count; i++) {
        bytes += batches[i]->bytes;
        for (const sk_change *change = batches[i]->first; change; change = change->next)
            sk_log_append(&committer->record, change);
    }
    uint8_t key[SK_LOG_KEY];
    char *message = NULL;
    sk_database *database = committer->database;
    sk_log_key(key, batches[count - 1]->number);
    rocksdb_writebatch_clear(committer->write);
    rocksdb_writebatch_put_cf(committer->write, database->log, (const char *)key, sizeof key,
                              (const char *)committer->record.data, committer->record.len);
    rocksdb_write(database->db, synced ? database->write_synced : database->write_plain, committer->write, &message);
    if (bytes > WRITE_KEEP) {
        sk_buf_free(&committer->record);
        rocksdb_writebatch_destroy(committer->write);
        committer->write = rocksdb_writebatch_create();
    }
    if (message) {
        fail(committer, message);
        return;
    }
    if (!synced && !committer->dirty) {
        committer->dirty = true;
        committer->synced_ms = now_ms(); /* the interval runs from the first write that is not synced */
    }
    for (size_t i = 0; i < count; i++) sk_placer_add(&committer->placer, batches[i]);
    atomic_store(&committer->unplaced_bytes, committer->placer.bytes);
    atomic_fetch_add(&committer->writes, 1);
    atomic_fetch_add(&committer->syncs, synced);
    atomic_fetch_add(&committer->batches, count);
    atomic_fetch_add(&committer->bytes, bytes);
    atomic_fetch_add(&committer->committed_bytes, bytes);
    atomic_store(&committer->durable, batches[count - 1]->number);
}

static void write_all(sk_committer *committer, sk_batch *const *batches, size_t count)
{
    for (size_t at = 0; at < count && !atomic_load(&committer->error);) {
        size_t group = 0, bytes = 0;
        while (at + group < count && bytes <= GROUP_BYTES) bytes += batches[at + group++]->bytes;
        write_group(committer, batches + at, group);
        at += group;
        if (committer->options.wake) committer->options.wake(committer->options.context);
    }
}

/* -- placing ------------------------------------------------------------------------------------------------------ */

static void begin_run(sk_committer *committer)
{
    sk_placer *placer = &committer->placer;
    if (placer->active || placer->count == 0) return;
    sk_placer_begin(placer);
    for (size_t i = 0; i < placer->range_count; i++) {
        const sk_change *range = placer->ranges[i];
        note_range(committer, range->cf, sk_change_key(range), sk_change_value(range), range->open_end);
    }
    uint8_t first[SK_LOG_KEY], end[SK_LOG_KEY];
    sk_log_key(first, 0);
    sk_log_key(end, placer->run_upto + 1);
    note_range(committer, SK_CF_COUNT, sk_bytes_of(first, sizeof first), sk_bytes_of(end, sizeof end), false);
}

/* So many slices, or with `all` everything that is committed. */
static void place(sk_committer *committer, bool all, uint64_t slices)
{
    char text[SK_FOLDER_ERROR];
    while (!atomic_load(&committer->error) && (all || slices-- > 0)) {
        if (all) begin_run(committer);
        if (!committer->placer.active) return;
        int more = sk_placer_step(&committer->placer, text);
        if (more < 0) {
            fail_with(committer, more, text);
            if (committer->options.wake) committer->options.wake(committer->options.context);
            return;
        }
        committer->dirty = true;
        if (more == 0) {
            atomic_store(&committer->runs, committer->placer.runs);
            atomic_store(&committer->rows, committer->placer.rows);
            atomic_store(&committer->coalesced, committer->placer.coalesced);
            atomic_store(&committer->unplaced_bytes, committer->placer.bytes);
            atomic_store(&committer->placed, committer->placer.placed);
            if (committer->options.wake) committer->options.wake(committer->options.context);
        }
    }
}

/* What a turn does after `written` bytes were committed in it. At least as much is placed as comes in while a run is
 * under way: else what is committed faster than a slice a turn would pile up, in memory and in the log. */
static void place_some(sk_committer *committer, bool idle, uint64_t written)
{
    sk_placer *placer = &committer->placer;
    if (atomic_load(&committer->error)) return;
    if (placer->bytes >= committer->options.place_bytes || idle) begin_run(committer);
    place(committer, false, 1 + written / SK_PLACER_SLICE);
}

/* -- the thread --------------------------------------------------------------------------------------------------- */

static void look_at_space(sk_committer *committer, uint64_t now)
{
    if (!committer->options.min_free_bytes || now - committer->space_ms < SPACE_MS) return;
    committer->space_ms = now;
    atomic_store(&committer->space_low, sk_folder_space(committer->folder) < committer->options.min_free_bytes);
}

static bool sync_due(const sk_committer *committer, uint64_t now)
{
    return committer->options.durability == SK_DURABILITY_INTERVAL && committer->dirty &&
           now - committer->synced_ms >= committer->options.interval_ms;
}

/* True if nothing came for as long as there was to wait. */
static bool wait_for_work(sk_committer *committer)
{
    uint64_t wait = atomic_load(&committer->space_low) ? SPACE_MS : IDLE_MS;
    if (committer->options.durability == SK_DURABILITY_INTERVAL && committer->dirty) {
        uint64_t past = now_ms() - committer->synced_ms;
        uint64_t left = past < committer->options.interval_ms ? committer->options.interval_ms - past : 0;
        if (left < wait) wait = left;
    }
    if (committer->options.reclaim_ms < wait) wait = committer->options.reclaim_ms;
    if (committer->placer.count && wait > PLACE_IDLE_MS) wait = PLACE_IDLE_MS;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait / 1000);
    until.tv_nsec += (long)(wait % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    committer->asleep = true;
    bool idle = pthread_cond_timedwait(&committer->work, &committer->lock, &until) != 0;
    committer->asleep = false;
    return idle;
}

/* What there is to do besides writing batches; `idle`: there was none. */
static void housekeeping(sk_committer *committer, bool idle)
{
    uint64_t now = now_ms();
    if (sync_due(committer, now)) {
        sync_log(committer);
        if (atomic_load(&committer->error) && committer->options.wake)
            committer->options.wake(committer->options.context);
    }
    look_at_space(committer, now);
    if (idle && now - committer->reclaimed_ms >= committer->options.reclaim_ms && !atomic_load(&committer->error)) {
        committer->reclaimed_ms = now;
        reclaim(committer);
    }
}

static void *run(void *argument)
{
    sk_committer *committer = argument;
    sk_batch **taken = NULL;
    size_t cap = 0;
    sk_database_thread_begin();
    pthread_mutex_lock(&committer->lock);
    for (;;) {
        bool wanted = committer->count || committer->flush_done < committer->flush_wanted ||
                      committer->place_done < committer->place_wanted || committer->stopping ||
                      (committer->placer.active && !atomic_load(&committer->error));
        bool idle = !wanted && wait_for_work(committer);
        bool stop = committer->stopping, abandon = stop && committer->abandon;
        uint64_t flush = committer->flush_wanted, placing = committer->place_wanted;
        sk_batch **batches = committer->waiting;
        size_t count = committer->count, new_cap = committer->cap;
        committer->waiting = taken;
        committer->cap = cap;
        committer->count = 0;
        taken = batches;
        cap = new_cap;
        pthread_mutex_unlock(&committer->lock);
        uint64_t before = atomic_load(&committer->bytes);
        if (!abandon) write_all(committer, batches, count);
        if (!abandon) place_some(committer, idle, atomic_load(&committer->bytes) - before);
        if (!abandon && (stop || placing > committer->place_done)) place(committer, true, 0);
        if (!abandon && (stop || flush > committer->flush_done)) sync_log(committer);
        if (!stop) housekeeping(committer, count == 0);
        pthread_mutex_lock(&committer->lock);
        committer->flush_done = flush;
        committer->place_done = placing;
        pthread_cond_broadcast(&committer->done);
        if (stop) break;
    }
    pthread_mutex_unlock(&committer->lock);
    free(taken);
    return NULL;
}

void sk_committer_init(sk_committer *committer, sk_database *database, const sk_folder *folder,
                       const sk_rocksdb_options *options)
{
    *committer = (sk_committer){.database = database, .folder = folder, .options = *options};
    committer->options.path = NULL;
    pthread_condattr_t monotonic;
    sk_assert(pthread_condattr_init(&monotonic) == 0);
    sk_assert(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    sk_assert(pthread_mutex_init(&committer->lock, NULL) == 0);
    sk_assert(pthread_cond_init(&committer->work, &monotonic) == 0);
    sk_assert(pthread_cond_init(&committer->done, NULL) == 0);
    pthread_condattr_destroy(&monotonic);
    committer->write = rocksdb_writebatch_create();
    sk_placer_init(&committer->placer, database);
}

void sk_committer_forget(sk_committer *committer)
{
    sk_assert(!committer->running);
    sk_placer_reset(&committer->placer);
    atomic_store(&committer->unplaced_bytes, 0);
}

int sk_committer_start(sk_committer *committer)
{
    committer->stopping = committer->abandon = committer->dirty = false;
    committer->count = 0;
    committer->flush_done = committer->flush_wanted;
    committer->place_done = committer->place_wanted;
    committer->reclaimed_ms = now_ms();
    committer->space_ms = 0;
    look_at_space(committer, now_ms());
    rocksdb_writebatch_clear(committer->write);
    sigset_t all, before; /* signals are for the loop's thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    committer->running = pthread_create(&committer->thread, NULL, run, committer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return committer->running ? SK_OK : SK_E_IO;
}

void sk_committer_stop(sk_committer *committer, bool abandon)
{
    if (!committer->running) return;
    pthread_mutex_lock(&committer->lock);
    committer->stopping = true;
    committer->abandon = abandon;
    pthread_cond_signal(&committer->work);
    pthread_mutex_unlock(&committer->lock);
    pthread_join(committer->thread, NULL);
    committer->running = false;
}

void sk_committer_free(sk_committer *committer)
{
    sk_assert(!committer->running);
    for (int cf = 0; cf <= SK_CF_COUNT; cf++) {
        sk_buf_free(&committer->removed[cf].from);
        sk_buf_free(&committer->removed[cf].to);
    }
    rocksdb_writebatch_destroy(committer->write);
    sk_buf_free(&committer->record);
    sk_placer_free(&committer->placer);
    free(committer->waiting);
    pthread_mutex_destroy(&committer->lock);
    pthread_cond_destroy(&committer->work);
    pthread_cond_destroy(&committer->done);
}

void sk_committer_submit(sk_committer *committer, sk_batch *batch)
{
    sk_assert(batch->first != NULL);
    pthread_mutex_lock(&committer->lock);
    if (committer->count == committer->cap) {
        committer->cap = committer->cap ? committer->cap * 2 : 64;
        committer->waiting = sk_realloc(committer->waiting, committer->cap * sizeof(sk_batch *));
    }
    committer->waiting[committer->count++] = batch;
    bool asleep = committer->asleep;
    pthread_mutex_unlock(&committer->lock);
    if (asleep) pthread_cond_signal(&committer->work);
}

/* Asks the thread for something and waits until it is done. */
static int ask(sk_committer *committer, uint64_t *wanted, const uint64_t *done)
{
    if (!committer->running) return atomic_load(&committer->error) ? atomic_load(&committer->error) : SK_E_IO;
    pthread_mutex_lock(&committer->lock);
    uint64_t ticket = ++*wanted;
    pthread_cond_signal(&committer->work);
    while (*done < ticket) pthread_cond_wait(&committer->done, &committer->lock);
    pthread_mutex_unlock(&committer->lock);
    return atomic_load(&committer->error);
}

int sk_committer_flush(sk_committer *committer)
{
    return ask(committer, &committer->flush_wanted, &committer->flush_done);
}

int sk_committer_place(sk_committer *committer)
{
    return ask(committer, &committer->place_wanted, &committer->place_done);
}

void sk_committer_message(sk_committer *committer, char *message)
{
    pthread_mutex_lock(&committer->lock);
    memcpy(message, committer->message, sizeof committer->message);
    pthread_mutex_unlock(&committer->lock);
}
