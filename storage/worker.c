#include "storage/worker.h"

#include "crdt/memory.h"

#include <signal.h>
#include <time.h>

uint64_t sk_worker_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t sk_worker_now_ms(void) { return sk_worker_now_us() / 1000; }

void sk_worker_init(sk_worker *worker)
{
    *worker = (sk_worker){0};
    pthread_condattr_t monotonic;
    sk_assert(pthread_condattr_init(&monotonic) == 0);
    sk_assert(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    sk_assert(pthread_mutex_init(&worker->lock, NULL) == 0);
    sk_assert(pthread_cond_init(&worker->work, &monotonic) == 0);
    sk_assert(pthread_cond_init(&worker->done, NULL) == 0);
    pthread_condattr_destroy(&monotonic);
}

void sk_worker_free(sk_worker *worker)
{
    sk_assert(!worker->running);
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->work);
    pthread_cond_destroy(&worker->done);
}

int sk_worker_start(sk_worker *worker, const char *name, void *(*run)(void *), void *argument)
{
    sk_assert(!worker->running);
    worker->stopping = worker->abandon = false;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    worker->running = pthread_create(&worker->thread, NULL, run, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (worker->running) pthread_setname_np(worker->thread, name);
    return worker->running ? SK_OK : SK_E_IO;
}

void sk_worker_stop(sk_worker *worker, bool abandon)
{
    if (!worker->running) return;
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    worker->abandon = abandon;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    pthread_mutex_lock(&worker->lock);
    worker->running = false;
    pthread_cond_broadcast(&worker->done);
    pthread_mutex_unlock(&worker->lock);
}

void sk_worker_wait(sk_worker *worker, uint64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&worker->work, &worker->lock, &until);
}
