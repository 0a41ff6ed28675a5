/* Cursors of SCAN, HSCAN and SSCAN: numbers that stand for a position in the order of keys.
 *
 * Redis' cursors are positions in a hash table. Our keys and members are ordered by their bytes, and a position is a
 * byte string that does not fit into a number; so the replica remembers the positions of the scans that are under way,
 * and a cursor names one of them: the scan, and how many steps it has made. A scan goes on strictly after its position,
 * so every member that is there from its first call to its last is returned, whatever else comes and goes.
 *
 * A cursor can be used again: the last one given out and the one before it are known, for a client that repeats a call
 * whose reply it lost. Two clients that go on from one cursor with different steps get scans of their own.
 *
 * Only so many scans are remembered; the one that has rested longest is forgotten first, and so are all when the node
 * stops. Using a cursor that is not known is an error ("ERR invalid cursor"), never a silent start elsewhere: the
 * client begins again from 0.
 *
 * Invariants (sk_cursors_check):
 *  1. No two scans have the same id; none has id 0, so a cursor is never 0.
 *  2. `bytes` is the size of all positions; it is over SK_CURSOR_BYTES_MAX only if a single scan is left. */
#ifndef SK_NODE_CURSOR_H
#define SK_NODE_CURSOR_H

#include "crdt/memory.h"

enum {
    SK_CURSORS_MAX = 1024,                 /* scans remembered at once */
    SK_CURSOR_BYTES_MAX = 64 * 1024 * 1024, /* of all their positions */
};

typedef struct {
    uint64_t id;    /* random, 47 bits; 0: the slot is free */
    uint64_t scope; /* hash of what is scanned */
    uint64_t used;  /* the clock of uses when this one was used last */
    uint16_t step;  /* of `last`; `before` is the position one step earlier */
    bool has_before;
    sk_bytes last, before; /* owned */
} sk_scan;

/* All zero is empty and ready, except for `random`, which sk_cursors_init sets. */
typedef struct {
    sk_scan *scans; /* owned; SK_CURSORS_MAX of them, allocated at the first save */
    uint64_t random, clock;
    size_t bytes;
} sk_cursors;

/** Empty. `seed` is random: cursors of an earlier run must not be mistaken for ours. */
void sk_cursors_init(sk_cursors *cursors, uint64_t seed);
void sk_cursors_free(sk_cursors *cursors);

/** A cursor for going on after `position` (copied) in `scope`. `from` is the cursor that the scan's last step began
 *  with; 0 begins a new scan. Never 0, below 2^63. */
uint64_t sk_cursor_save(sk_cursors *cursors, uint64_t from, sk_bytes position, sk_bytes scope);
/** The position that a cursor (not 0) stands for, borrowed until the next save. False if it is not known in `scope`. */
bool sk_cursor_find(sk_cursors *cursors, uint64_t id, sk_bytes scope, sk_bytes *position);

/** A cursor argument as Redis takes it (strtoul on all of it, no space before it; a sign is allowed). False: the caller
 *  replies "ERR invalid cursor". */
bool sk_cursor_parse(sk_bytes text, uint64_t *cursor);

/** Asserts the invariants. */
void sk_cursors_check(const sk_cursors *cursors);

#endif
