/* Files that later segments of the commit log are made of. A sync of blocks that were written before changes none of the file
 * system's own data, and takes two thirds of the time of one that does (tests/bench/RESULTS.md).
 *
 *   db/log/spare-0000000000000007   what was segment 7, or with number 0 one that was written for this, full of zeros
 *   db/log/spare-new                what the thread still writes to: nobody else's, also where a store that failed is opened again
 *
 *   segment --give--> spare --take--> a later segment
 *                       ^
 *                       '-- ask, where there is none: a thread writes one meanwhile
 *
 * What is left in a spare of its records stays: they are of segments with lower numbers, and a record is only good in the segment
 * that it was written for (storage/journal.h). So no number of a spare may be given to a segment again.
 *
 * Threads: taking is one thread's, giving another's, or the same. */
#ifndef SK_STORAGE_SPARES_H
#define SK_STORAGE_SPARES_H

#include "storage/worker.h"

#include <stddef.h>

enum { SK_SPARES_MAX = 6 }; /* a run that was placed sets about four segments free */

typedef struct {
    const char *folder; /* borrowed */
    size_t bytes;       /* of a segment */
    sk_worker worker;   /* its lock guards what follows; it runs from the first ask on */
    uint64_t numbers[SK_SPARES_MAX];
    size_t count;
    bool asked;
} sk_spares;

void sk_spares_init(sk_spares *spares, const char *folder, size_t bytes);
/** Stops the thread. The files stay. */
void sk_spares_free(sk_spares *spares);
/** What is in the folder; one that is shorter than a segment, or far longer, goes. The highest number of one, 0 if there is none. What has no
 *  such name is left alone. */
uint64_t sk_spares_look(sk_spares *spares);
/** One becomes the file `path`: true; false: there is none. The folder is to be synced then. */
bool sk_spares_take(sk_spares *spares, const char *path);
/** The file `path`, which was this segment, is not needed: it becomes a spare, without what is beyond a segment if
 *  that is much, or, if there are enough or it is shorter than a segment, goes. 0 or an errno. */
int sk_spares_give(sk_spares *spares, const char *path, uint64_t number);
/** Has one written, if there is none and the disk has room for many. Does not wait; if it fails there is none. */
void sk_spares_ask(sk_spares *spares);

#endif
