/* A thread of the store's own, with the lock and the conditions that it shares with those who give it work.
 *
 * Invariant: `running`, `stopping` and `abandon` change under the lock, or while there is no thread. */
#ifndef SK_STORAGE_WORKER_H
#define SK_STORAGE_WORKER_H

#include "crdt/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    pthread_t thread;
    bool running;
    bool stopping, abandon; /* asked to stop; without doing what is left to do */
    pthread_mutex_t lock;
    pthread_cond_t work; /* for the thread: there is something to do (sk_worker_wait, where it has other reasons to look) */
    pthread_cond_t done; /* for others: it has done something */
} sk_worker;

void sk_worker_init(sk_worker *worker);
void sk_worker_free(sk_worker *worker);
/** Starts `run`, with every signal left to other threads; `name` (at most 15 characters) is what the system's tools show.
 *  0, or SK_E_IO if the system gives no thread. */
int sk_worker_start(sk_worker *worker, const char *name, void *(*run)(void *), void *argument);
/** Asks it to stop, joins it, and wakes whoever waits for `done`. Does nothing if it does not run. */
void sk_worker_stop(sk_worker *worker, bool abandon);
/** With the lock, in the thread: waits for `work`, at most so many milliseconds. */
void sk_worker_wait(sk_worker *worker, uint64_t ms);
/** Milliseconds of the monotonic clock. */
uint64_t sk_worker_now_ms(void);
uint64_t sk_worker_now_us(void);

#endif
