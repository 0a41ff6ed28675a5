/* A row that is wrong in one byte, found again by its digest.
 *
 * Rows carry no sums of their own, but what all of them come to is kept with each commit (node/sums.h). Where all others are as
 * they were committed, the difference says what the digest of the one that is not must be: 128 bits. So each row, or key,
 * that is one byte away from what is stored can be tried: what has that digest is what was committed, with certainty, though no other
 * region has ever seen it.
 *
 * Trying takes `effort`: about as many bytes as are hashed. What would take more than is left is not tried; of a long row single
 * bits are. 2^26 of it take 12 ms (one row of 2,800 bytes, bit by bit), 25 ms (one of 480), or 70 ms (thirty of 65). */
#ifndef SK_NODE_CORRECT_H
#define SK_NODE_CORRECT_H

#include "node/row_keys.h"
#include "node/sums.h"

/* What digest and rest (sk_row_rest) of it must be. Digests leave dead counts out. */
typedef struct {
    sk_digest digest;
    uint64_t rest;
} sk_row_sums;

/** The row whose stored form is one byte away from `stored`, and whose sums are `right`, in the arena. 1, 0, SK_E_MEMORY. Without
 *  dead counts its rest does not matter: sizes are counted anew when they are wrong. */
int sk_correct_row(const struct sk_db *db, sk_bytes raw, sk_bytes stored, sk_row_sums right, uint64_t *effort, sk_arena *arena,
                   sk_row *row);
/** Of some keys that which is one byte away from `raw`, and under which the digest of a row is `right`; borrowed from them.
 *  No data: there is none. */
sk_bytes sk_correct_key(const struct sk_db *db, const sk_row_keys *keys, sk_bytes raw, const sk_row *row, sk_digest right,
                        uint64_t *effort);

#endif
