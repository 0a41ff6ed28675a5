/* The first failure of a store's background threads: both stop writing when it is there, the store's thread reads it.
 *
 * Invariant: `code` is 0 until the first failure, and keeps its value until sk_failure_reset. */
#ifndef SK_STORAGE_FAILURE_H
#define SK_STORAGE_FAILURE_H

#include "storage/folder.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    _Atomic int code;
    pthread_mutex_t lock;
    char text[SK_FOLDER_ERROR]; /* RocksDB's words; under the lock */
} sk_failure;

static inline void sk_failure_init(sk_failure *failure)
{
    *failure = (sk_failure){0};
    sk_assert(pthread_mutex_init(&failure->lock, NULL) == 0);
}
static inline void sk_failure_free(sk_failure *failure)
{
    pthread_mutex_destroy(&failure->lock);
}
/** Notes a failure, unless there was one before. */
static inline void sk_failure_set(sk_failure *failure, int code, const char *text)
{
    pthread_mutex_lock(&failure->lock);
    if (!atomic_load(&failure->code)) {
        size_t len = strnlen(text, SK_FOLDER_ERROR - 1);
        memcpy(failure->text, text, len);
        failure->text[len] = '\0';
        atomic_store(&failure->code, code);
    }
    pthread_mutex_unlock(&failure->lock);
}
static inline int sk_failure_code(sk_failure *failure)
{
    return atomic_load(&failure->code);
}
/** Copies the words (SK_FOLDER_ERROR bytes). */
static inline void sk_failure_text(sk_failure *failure, char *text)
{
    pthread_mutex_lock(&failure->lock);
    memcpy(text, failure->text, SK_FOLDER_ERROR);
    pthread_mutex_unlock(&failure->lock);
}
/** Another state from here on; 0: none. */
static inline void sk_failure_reset(sk_failure *failure, int code)
{
    atomic_store(&failure->code, code);
}

#endif
