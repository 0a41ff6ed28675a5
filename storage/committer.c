#include "storage/committer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    GROUP_BYTES = 4 << 20,    /* one write takes batches until they are more than this */
    WRITE_KEEP = 16 << 20,    /* a write batch that grew beyond this is not kept for the next */
    SPACE_MS = 100,           /* between looks at the free space while something is written, or space is low */
    IDLE_MS = 1000,           /* between looks at anything while nothing is */
    RECLAIM_CHUNK = 64 << 10, /* bytes of a bound that are kept; longer ones are cut */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void fail(sk_committer *committer, char *message)
{
    char text[SK_FOLDER_ERROR];
    int code = sk_database_error(message, text);
    pthread_mutex_lock(&committer->lock);
    memcpy(committer->message, text, sizeof text);
    pthread_mutex_unlock(&committer->lock);
    atomic_store(&committer->error, code);
    committer->dirty = false; /* a reopen decides what the disk has */
}

/* -- giving space back ----------------------------------------------------------------------------------------------
 * Compaction drops what a range removal covers when it comes along, which on an idle store may be never. So when
 * nothing else is to do, the memtable with the removal is flushed, and then its range proposed for compaction. */

static void note_range(sk_committer *committer, const sk_change *range)
{
    sk_buf *from = &committer->removed[range->cf].from, *to = &committer->removed[range->cf].to;
    sk_bytes start = sk_change_key(range), end = sk_change_value(range);
    if (start.len > RECLAIM_CHUNK) start.len = RECLAIM_CHUNK;
    if (end.len > RECLAIM_CHUNK) end.len = RECLAIM_CHUNK;
    bool any = committer->removed[range->cf].any;
    if (!any || sk_bytes_compare(start, sk_buf_view(from)) < 0) {
        sk_buf_reset(from);
        sk_buf_bytes(from, start);
    }
    if (!any || sk_bytes_compare(end, sk_buf_view(to)) > 0) {
        sk_buf_reset(to);
        sk_buf_bytes(to, end);
    }
    committer->removed[range->cf].open_end = range->open_end || (any && committer->removed[range->cf].open_end);
    committer->removed[range->cf].any = true;
    committer->removed[range->cf].flushed = false;
}

static void reclaim(sk_committer *committer)
{
    sk_database *database = committer->database;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
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

/* A key above every one in the family, those in this write included, into `key`. False: the family is empty. */
static bool above_all(sk_committer *committer, const sk_change *range, sk_batch *const *batches, size_t count,
                      sk_buf *key)
{
    sk_database *database = committer->database;
    bool any = false;
    rocksdb_iterator_t *last = rocksdb_create_iterator_cf(database->db, database->read, database->family[range->cf]);
    rocksdb_iter_seek_to_last(last);
    if (rocksdb_iter_valid(last)) {
        size_t len;
        const char *data = rocksdb_iter_key(last, &len);
        sk_buf_append(key, data, len);
        any = true;
    }
    rocksdb_iter_destroy(last);
    for (size_t i = 0; i < count; i++) {
        for (const sk_change *at = batches[i]->first; at && at != range; at = at->next) {
            if (at->cf != range->cf || at->kind != SK_CHANGE_PUT) continue;
            if (any && sk_bytes_compare(sk_change_key(at), sk_buf_view(key)) <= 0) continue;
            sk_buf_reset(key);
            sk_buf_bytes(key, sk_change_key(at));
            any = true;
        }
    }
    sk_buf_byte(key, 0);
    return any;
}

static void add_range(sk_committer *committer, const sk_change *range, sk_batch *const *batches, size_t count)
{
    sk_bytes from = sk_change_key(range), to = sk_change_value(range);
    sk_buf above = {0};
    note_range(committer, range);
    if (range->open_end && above_all(committer, range, batches, count, &above)) to = sk_buf_view(&above);
    if (sk_bytes_compare(from, to) < 0)
        rocksdb_writebatch_delete_range_cf(committer->write, committer->database->family[range->cf],
                                           (const char *)from.data, from.len, (const char *)to.data, to.len);
    sk_buf_free(&above);
}

static void add_change(sk_committer *committer, const sk_change *change)
{
    rocksdb_column_family_handle_t *family = committer->database->family[change->cf];
    const char *key = (const char *)change->data;
    if (change->kind == SK_CHANGE_PUT)
        rocksdb_writebatch_put_cf(committer->write, family, key, change->key_len, key + change->key_len,
                                  change->value_len);
    else
        rocksdb_writebatch_delete_cf(committer->write, family, key, change->key_len);
}

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

/* One group: one write. */
static void write_group(sk_committer *committer, sk_batch *const *batches, size_t count)
{
    bool synced = committer->options.durability == SK_DURABILITY_ALWAYS;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += batches[i]->bytes;
        for (const sk_change *change = batches[i]->first; change; change = change->next) {
            if (change->kind == SK_CHANGE_RANGE)
                add_range(committer, change, batches, i + 1);
            else
                add_change(committer, change);
        }
    }
    char *message = NULL;
    sk_database *database = committer->database;
    rocksdb_write(database->db, synced ? database->write_synced : database->write_plain, committer->write, &message);
    if (bytes > WRITE_KEEP) {
        rocksdb_writebatch_destroy(committer->write);
        committer->write = rocksdb_writebatch_create();
    } else {
        rocksdb_writebatch_clear(committer->write);
    }
    if (message) {
        fail(committer, message);
        return;
    }
    if (!synced && !committer->dirty) {
        committer->dirty = true;
        committer->synced_ms = now_ms(); /* the interval runs from the first write that is not synced */
    }
    atomic_fetch_add(&committer->writes, 1);
    atomic_fetch_add(&committer->syncs, synced);
    atomic_fetch_add(&committer->batches, count);
    atomic_fetch_add(&committer->bytes, bytes);
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

static void wait_for_work(sk_committer *committer)
{
    uint64_t wait = atomic_load(&committer->space_low) ? SPACE_MS : IDLE_MS;
    if (committer->options.durability == SK_DURABILITY_INTERVAL && committer->dirty) {
        uint64_t past = now_ms() - committer->synced_ms;
        uint64_t left = past < committer->options.interval_ms ? committer->options.interval_ms - past : 0;
        if (left < wait) wait = left;
    }
    if (committer->options.reclaim_ms < wait) wait = committer->options.reclaim_ms;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait / 1000);
    until.tv_nsec += (long)(wait % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    committer->asleep = true;
    pthread_cond_timedwait(&committer->work, &committer->lock, &until);
    committer->asleep = false;
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
        bool wanted = committer->count || committer->flush_done < committer->flush_wanted || committer->stopping;
        if (!wanted) wait_for_work(committer);
        bool stop = committer->stopping, abandon = stop && committer->abandon;
        uint64_t flush = committer->flush_wanted;
        sk_batch **batches = committer->waiting;
        size_t count = committer->count, new_cap = committer->cap;
        committer->waiting = taken;
        committer->cap = cap;
        committer->count = 0;
        taken = batches;
        cap = new_cap;
        pthread_mutex_unlock(&committer->lock);
        if (!abandon) write_all(committer, batches, count);
        if (!abandon && (stop || flush > committer->flush_done)) sync_log(committer);
        if (!stop) housekeeping(committer, count == 0);
        pthread_mutex_lock(&committer->lock);
        committer->flush_done = flush;
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
}

int sk_committer_start(sk_committer *committer)
{
    committer->stopping = committer->abandon = committer->dirty = false;
    committer->count = 0;
    committer->flush_done = committer->flush_wanted;
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
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        sk_buf_free(&committer->removed[cf].from);
        sk_buf_free(&committer->removed[cf].to);
    }
    rocksdb_writebatch_destroy(committer->write);
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

int sk_committer_flush(sk_committer *committer)
{
    if (!committer->running) return atomic_load(&committer->error) ? atomic_load(&committer->error) : SK_E_IO;
    pthread_mutex_lock(&committer->lock);
    uint64_t ticket = ++committer->flush_wanted;
    pthread_cond_signal(&committer->work);
    while (committer->flush_done < ticket) pthread_cond_wait(&committer->done, &committer->lock);
    pthread_mutex_unlock(&committer->lock);
    return atomic_load(&committer->error);
}

void sk_committer_message(sk_committer *committer, char *message)
{
    pthread_mutex_lock(&committer->lock);
    memcpy(message, committer->message, sizeof committer->message);
    pthread_mutex_unlock(&committer->lock);
}
