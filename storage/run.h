/* A sorted run: what a sequence of batches comes to, as points in the order of family and key and range removals.
 *
 * Pure: it reads the batches and touches no disk.
 *
 * Invariants:
 *  1. Of each key there is one point at most: the newest, and none if a later range removal took it out.
 *  2. The run's effect, all its ranges first and then its points, is that of the batches in their order. */
#ifndef SK_STORAGE_RUN_H
#define SK_STORAGE_RUN_H

#include "storage/overlay.h"

typedef struct {
    const sk_change **points; /* owned; borrowed from the batches */
    size_t begin[SK_CF_COUNT + 1]; /* where a family's points begin; the last one is their count */
    size_t bytes[SK_CF_COUNT];     /* of a family's keys and values */
    const sk_change **ranges;      /* owned; in the order in which they came */
    size_t range_count;
    size_t coalesced; /* points that are not in it: overwritten or removed */
    size_t room;      /* points that there is memory for */
    void *sorting;    /* owned; memory to sort so many in */
} sk_run; /* all zeros: none */

/** The batches stay the caller's, and must stay as they are while the run is in use. Memory of the run before is used
 *  again: what is fresh has to be cleared by the system, a tenth of placing. */
void sk_run_make(sk_run *run, sk_batch *const *batches, size_t count);
/** The run is over. Keeps its memory for the next, if it took much of it. */
void sk_run_end(sk_run *run);
void sk_run_free(sk_run *run);

#endif
