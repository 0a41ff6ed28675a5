/* Memory that is about to be used for the first time: a thread of its own has the system make its pages, so that the loop
 * does not wait for it. A huge page has to be cleared, and in a virtual machine the system below must often find it first:
 * 5 to 7 ms were measured (tests/bench/RESULTS.md), in which no client is answered.
 *
 * It is a hint, and changes nothing in the memory: who is there earlier makes its page himself. Where the system cannot do it
 * (Linux before 5.14), nothing happens.
 *
 * Invariants:
 *  1. Nothing is done to memory after sk_prefault_forget was told of it. */
#ifndef SK_STORAGE_PREFAULT_H
#define SK_STORAGE_PREFAULT_H

#include "storage/worker.h"

#include <stddef.h>

enum { SK_PREFAULT_ASKS = 16 };

typedef struct {
    uint8_t *from;
    size_t bytes;
} sk_prefault_range;

typedef struct {
    sk_worker worker; /* its lock guards what follows; it runs from the first ask on */
    sk_prefault_range asked[SK_PREFAULT_ASKS]; /* in the order of asking */
    size_t count;
    sk_prefault_range now; /* the piece that is being made; no bytes: none */
} sk_prefault;

void sk_prefault_init(sk_prefault *prefault);
/** Stops the thread; what was asked for and is not made stays as it is. */
void sk_prefault_free(sk_prefault *prefault);
/** Has so many bytes made soon. Does not wait; with too much asked for already, does nothing. */
void sk_prefault_ask(sk_prefault *prefault, void *memory, size_t bytes);
/** The memory is about to be given back. Waits for a piece of it that is being made. */
void sk_prefault_forget(sk_prefault *prefault, void *memory, size_t bytes);

#endif
