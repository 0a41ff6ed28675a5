#include "storage/prefault.h"

#include <string.h>
#include <sys/mman.h>

enum {
    PIECE_BYTES = 2 << 20, /* made at a time: a huge page */
    PAGE_BYTES = 4096,
};

void sk_prefault_init(sk_prefault *prefault)
{
    *prefault = (sk_prefault){0};
    sk_worker_init(&prefault->worker);
}

void sk_prefault_free(sk_prefault *prefault)
{
    sk_worker_stop(&prefault->worker, true);
    sk_worker_free(&prefault->worker);
}

static void drop(sk_prefault *prefault, size_t at)
{
    prefault->count--;
    memmove(prefault->asked + at, prefault->asked + at + 1, (prefault->count - at) * sizeof *prefault->asked);
}

/* Up to the end of the huge page that it begins in. */
static sk_prefault_range take_piece(sk_prefault *prefault)
{
    sk_prefault_range *oldest = &prefault->asked[0];
    size_t bytes = PIECE_BYTES - (uintptr_t)oldest->from % PIECE_BYTES;
    if (bytes > oldest->bytes) bytes = oldest->bytes;
    sk_prefault_range piece = {oldest->from, bytes};
    oldest->from += bytes;
    oldest->bytes -= bytes;
    if (!oldest->bytes) drop(prefault, 0);
    return piece;
}

static void *run(void *argument)
{
    sk_prefault *prefault = argument;
    sk_worker *worker = &prefault->worker;
    pthread_mutex_lock(&worker->lock);
    while (!worker->stopping) {
        if (!prefault->count) {
            pthread_cond_wait(&worker->work, &worker->lock);
            continue;
        }
        prefault->now = take_piece(prefault);
        pthread_mutex_unlock(&worker->lock);
#ifdef MADV_POPULATE_WRITE
        (void)madvise(prefault->now.from, prefault->now.bytes, MADV_POPULATE_WRITE);
#endif
        pthread_mutex_lock(&worker->lock);
        prefault->now = (sk_prefault_range){0};
        pthread_cond_broadcast(&worker->done);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

void sk_prefault_ask(sk_prefault *prefault, void *memory, size_t bytes)
{
    uintptr_t from = ((uintptr_t)memory + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uintptr_t to = ((uintptr_t)memory + bytes) / PAGE_BYTES * PAGE_BYTES;
    sk_worker *worker = &prefault->worker;
    if (from >= to) return;
    if (!worker->running && sk_worker_start(worker, "sk-prefault", run, prefault)) return;
    pthread_mutex_lock(&worker->lock);
    if (prefault->count < SK_PREFAULT_ASKS)
        prefault->asked[prefault->count++] = (sk_prefault_range){(uint8_t *)from, to - from};
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->lock);
}

static bool is_within(const sk_prefault_range *range, const void *memory, size_t bytes)
{
    return range->bytes && (uintptr_t)range->from >= (uintptr_t)memory && (uintptr_t)range->from < (uintptr_t)memory + bytes;
}

void sk_prefault_forget(sk_prefault *prefault, void *memory, size_t bytes)
{
    if (!prefault->worker.running) return;
    pthread_mutex_lock(&prefault->worker.lock);
    for (size_t at = prefault->count; at-- > 0;)
        if (is_within(&prefault->asked[at], memory, bytes)) drop(prefault, at);
    while (is_within(&prefault->now, memory, bytes)) pthread_cond_wait(&prefault->worker.done, &prefault->worker.lock);
    pthread_mutex_unlock(&prefault->worker.lock);
}
