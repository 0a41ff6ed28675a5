#include "storage/committer.h"

#include "storage/log.h"

#include <stdlib.h>

enum {
    GROUP_BYTES = 4 << 20,    /* one write takes batches until they are more than this */
    RECORD_KEEP = 16 << 20,   /* a record that grew beyond this is not kept for the next */
    SPACE_MS = 100,           /* between looks at the free space while something is written, or space is low */
    IDLE_MS = 1000,           /* between looks at anything while nothing is */
    HERE_BYTES = 64 << 10,    /* what is no larger may be written by whoever submits it… */
    HERE_SYNC_BYTES = 32 << 10, /* … and synced: beyond that more comes meanwhile than a sync is worth waiting for */
    QUICK_US = 500,           /* a sync that takes no longer… */
    QUICK_SYNCS = 16,         /* … as often in a row, and the next is taken to be as quick */
};

static void fail(sk_committer *committer, int code, const char *text)
{
    sk_failure_set(committer->failure, code, text);
    committer->dirty = false; /* a reopen decides what the disk has */
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

static void sync_log(sk_committer *committer)
{
    char text[SK_FOLDER_ERROR];
    if (!committer->dirty || sk_failure_code(committer->failure)) return;
    int status = sk_journal_sync(committer->journal, text);
    if (status) {
        fail(committer, status, text);
        if (committer->options.wake) committer->options.wake(committer->options.context);
        return;
    }
    atomic_fetch_add(&committer->syncs, 1);
    committer->dirty = false;
    committer->synced_ms = sk_worker_now_ms();
}

/* The sync of a write that is waited for. */
static int sync_write(sk_committer *committer, char *text)
{
    uint64_t before = sk_worker_now_us();
    int status = sk_journal_sync(committer->journal, text);
    bool quick = sk_worker_now_us() - before <= QUICK_US;
    committer->quick_syncs = quick ? committer->quick_syncs + 1 : 0;
    return status;
}

/* One group: one append to the log. */
static void write_group(sk_committer *committer, sk_batch *const *batches, size_t count)
{
    bool synced = committer->options.durability == SK_DURABILITY_ALWAYS;
    uint64_t last = batches[count - 1]->number;
    size_t bytes = 0;
    char text[SK_FOLDER_ERROR];
    sk_buf_reset(&committer->record);
    for (size_t i = 0; i < count; i++) {
        bytes += batches[i]->bytes;
        for (const sk_change *change = batches[i]->first; change; change = change->next)
            sk_log_append(&committer->record, change);
    }
    int status = sk_journal_append(committer->journal, last, sk_buf_view(&committer->record), text);
    if (!status && synced) status = sync_write(committer, text);
    if (bytes > RECORD_KEEP) sk_buf_free(&committer->record);
    if (status) {
        fail(committer, status, text);
        return;
    }
    if (!synced && !committer->dirty) {
        committer->dirty = true;
        committer->synced_ms = sk_worker_now_ms(); /* the interval runs from the first write that is not synced */
    }
    sk_placing_add(committer->placing, batches, count);
    atomic_fetch_add(&committer->writes, 1);
    atomic_fetch_add(&committer->syncs, synced);
    atomic_fetch_add(&committer->batches, count);
    atomic_fetch_add(&committer->bytes, bytes);
    atomic_fetch_add(&committer->committed_bytes, bytes);
    atomic_store(&committer->durable, last);
}

static void begin_writing(sk_committer *committer)
{
    if (sk_journal_has_much(committer->journal)) sk_journal_begin_writing(committer->journal);
}

/* The sync that an interval brings, when it is time, or now if nobody will look for long. */
static void sync_sometimes(sk_committer *committer, bool now)
{
    if (committer->options.durability != SK_DURABILITY_INTERVAL || !committer->dirty) return;
    if (now || sk_worker_now_ms() - committer->synced_ms >= committer->options.interval_ms) sync_log(committer);
}

static void write_all(sk_committer *committer, sk_batch *const *batches, size_t count)
{
    for (size_t at = 0; at < count && !sk_failure_code(committer->failure);) {
        size_t group = 0, bytes = 0;
        while (at + group < count && bytes <= GROUP_BYTES) bytes += batches[at + group++]->bytes;
        write_group(committer, batches + at, group);
        begin_writing(committer);
        at += group;
        if (committer->options.wake) committer->options.wake(committer->options.context);
        sync_sometimes(committer, !sk_placing_has_room(committer->placing)); /* a run may take longer than the interval */
        sk_placing_wait_for_room(committer->placing);
    }
}

/* -- the thread --------------------------------------------------------------------------------------------------- */

static void look_at_space(sk_committer *committer)
{
    uint64_t now = sk_worker_now_ms(), least = committer->options.min_free_bytes;
    if (now - committer->space_ms < SPACE_MS) return;
    committer->space_ms = now;
    atomic_store(&committer->space_low, least && sk_folder_space(committer->folder) < least);
}

static void wait_for_work(sk_committer *committer)
{
    uint64_t wait = atomic_load(&committer->space_low) ? SPACE_MS : IDLE_MS;
    if (committer->options.durability == SK_DURABILITY_INTERVAL && committer->dirty) {
        uint64_t past = sk_worker_now_ms() - committer->synced_ms;
        uint64_t left = past < committer->options.interval_ms ? committer->options.interval_ms - past : 0;
        if (left < wait) wait = left;
    }
    committer->asleep = true;
    sk_worker_wait(&committer->worker, wait);
    committer->asleep = false;
}

/* What there is to do besides writing batches. */
static void housekeeping(sk_committer *committer)
{
    begin_writing(committer);
    sync_sometimes(committer, false);
    look_at_space(committer);
}

static void *run(void *argument)
{
    sk_committer *committer = argument;
    sk_batch **taken = NULL;
    size_t cap = 0;
    pthread_mutex_lock(&committer->worker.lock);
    for (;;) {
        if (!committer->count && committer->flush_done == committer->flush_wanted && !committer->worker.stopping)
            wait_for_work(committer);
        bool stop = committer->worker.stopping, abandon = stop && committer->worker.abandon;
        uint64_t flush = committer->flush_wanted;
        sk_batch **batches = committer->waiting;
        size_t count = committer->count, new_cap = committer->cap;
        committer->waiting = taken;
        committer->cap = cap;
        committer->count = 0;
        taken = batches;
        cap = new_cap;
        pthread_mutex_unlock(&committer->worker.lock);
        if (!abandon) write_all(committer, batches, count);
        if (!abandon && (stop || flush > committer->flush_done)) sync_log(committer);
        if (!stop) housekeeping(committer);
        pthread_mutex_lock(&committer->worker.lock);
        committer->flush_done = flush;
        pthread_cond_broadcast(&committer->worker.done);
        if (stop) break;
    }
    pthread_mutex_unlock(&committer->worker.lock);
    free(taken);
    return NULL;
}

void sk_committer_init(sk_committer *committer, sk_journal *journal, const sk_folder *folder, sk_placing *placing,
                       sk_failure *failure, const sk_rocksdb_options *options)
{
    *committer = (sk_committer){
        .journal = journal, .folder = folder, .placing = placing, .failure = failure, .options = *options};
    committer->options.path = NULL;
    sk_worker_init(&committer->worker);
}

int sk_committer_start(sk_committer *committer)
{
    committer->dirty = false;
    committer->count = 0;
    committer->flush_done = committer->flush_wanted;
    committer->space_ms = 0;
    look_at_space(committer);
    return sk_worker_start(&committer->worker, "sk-commit", run, committer);
}

void sk_committer_stop(sk_committer *committer, bool abandon)
{
    sk_worker_stop(&committer->worker, abandon);
}

void sk_committer_free(sk_committer *committer)
{
    sk_buf_free(&committer->record);
    free(committer->waiting);
    sk_worker_free(&committer->worker);
}

/* An append takes less than waking the thread and being woken by it; a quick sync, too, and clients who all wait for it send their
 * next requests together. With the lock held: the thread sleeps, and what is its own is this one's. False: the thread is to
 * write it. */
static bool write_here(sk_committer *committer, sk_batch *batch)
{
    bool synced = committer->options.durability == SK_DURABILITY_ALWAYS;
    if (batch->bytes > (synced ? HERE_SYNC_BYTES : HERE_BYTES)) return false;
    if (!committer->asleep || committer->count || committer->worker.stopping) return false;
    if (synced && committer->quick_syncs < QUICK_SYNCS) return false;
    if (sk_failure_code(committer->failure) || sk_journal_is_full(committer->journal)) return false;
    if (!sk_placing_has_room(committer->placing)) return false;
    bool was_dirty = committer->dirty;
    write_group(committer, &batch, 1);
    bool first = committer->dirty && !was_dirty && committer->options.durability == SK_DURABILITY_INTERVAL;
    if (first || sk_journal_has_much(committer->journal) || sk_worker_now_ms() - committer->space_ms >= SPACE_MS)
        pthread_cond_signal(&committer->worker.work);
    return true;
}

void sk_committer_submit(sk_committer *committer, sk_batch *batch)
{
    sk_assert(batch->first != NULL);
    pthread_mutex_lock(&committer->worker.lock);
    if (write_here(committer, batch)) {
        pthread_mutex_unlock(&committer->worker.lock);
        return;
    }
    if (committer->count == committer->cap) {
        committer->cap = committer->cap ? committer->cap * 2 : 64;
        committer->waiting = sk_realloc(committer->waiting, committer->cap * sizeof(sk_batch *));
    }
    committer->waiting[committer->count++] = batch;
    bool asleep = committer->asleep;
    pthread_mutex_unlock(&committer->worker.lock);
    if (asleep) pthread_cond_signal(&committer->worker.work);
}

int sk_committer_flush(sk_committer *committer)
{
    int failure = sk_failure_code(committer->failure);
    if (!committer->worker.running) return failure ? failure : SK_E_IO;
    pthread_mutex_lock(&committer->worker.lock);
    uint64_t ticket = ++committer->flush_wanted;
    pthread_cond_signal(&committer->worker.work);
    while (committer->flush_done < ticket) pthread_cond_wait(&committer->worker.done, &committer->worker.lock);
    pthread_mutex_unlock(&committer->worker.lock);
    return sk_failure_code(committer->failure);
}
