/* How much history is kept for members that lack it, and what is done when that is enough.
 *
 * What a member has not acknowledged is kept in the history, so that it can catch up at the price of what changed. That may
 * be long: its region may be cut off, or gone without anybody having said so. So there is a cap, in bytes and in time.
 * Where it is crossed, the members that hold most of it back become laggards (gossip/stability.c): history goes on
 * without them, and they are reconciled when they return. This loses nothing, it costs more: a reconcile instead of a
 * catch-up.
 *
 * Nothing here goes through the history. Its bytes are counted as it is written (sk_db.kept); its age is told by marks: what
 * our vector was at some moments of the wall clock. A new one is made from time to time while there is something new, and
 * of those between the oldest and the newest the one goes that is missed least, so that an age is known to within a part of
 * itself. The history is as old as the oldest mark that is not covered by what may be forgotten.
 *
 * Invariants:
 *  1. Marks ascend in time and vector. There are at most SK_RETENTION_MARKS, also on the disk.
 *  2. Laggards are noted on the disk under their names, so that a start goes on without them, too.
 *  3. Nobody is called a laggard before members have had time to say what they have: four silences (replica->options.limits)
 *     after the start, 20 s by default. What a start knows of them is what they had said before the last clean stop; after a crash that
 *     may be nothing. So the cap is exceeded by what is written in that time, if somebody lacks it.
 *  4. Nor before the audit that follows each start is through, or while the database waits for a repair: node/repair.h goes by
 *     the history of what others lack. */
#ifndef SK_NODE_RETENTION_H
#define SK_NODE_RETENTION_H

#include "crdt/vv.h"

struct sk_replica;

enum { SK_RETENTION_MARKS = 64, SK_RETENTION_PEERS = 64 };

typedef struct {
    uint64_t bytes;  /* of history; 0: no cap */
    uint64_t age_ms; /* of its oldest entry; 0: no cap */
} sk_retention_cap;

typedef struct {
    uint64_t wall_ms;
    sk_vv vv; /* owned */
} sk_retention_mark;

/* What is kept for one member, or for all. */
typedef struct {
    uint64_t bytes;
    uint64_t age_ms;
} sk_retained;

typedef struct {
    sk_retention_cap cap;
    sk_retention_mark marks[SK_RETENTION_MARKS];
    uint32_t mark_count;
    uint64_t began_ms, look_at_ms;       /* monotonic */
    bool noted[SK_RETENTION_PEERS];      /* by peer number: on the disk as a laggard */
    sk_retained lost[SK_RETENTION_PEERS]; /* what was kept for it when it became one */
    uint64_t crossings;                  /* how often one did, since the start */
} sk_retention;

/** What a start or a store that went back finds. Also of the engine's peers who are laggards: those are told to it. */
int sk_retention_load(struct sk_replica *replica);
void sk_retention_free(sk_retention *retention);
/** A member was added to the engine, or is about to be removed from it. */
int sk_retention_added(struct sk_replica *replica, uint32_t peer);
void sk_retention_removed(struct sk_replica *replica, uint32_t peer);
/** Once a turn: marks, measures, and calls members laggards where a cap is crossed. */
void sk_retention_look(struct sk_replica *replica);
/** When it wants the next turn (monotonic ms). */
uint64_t sk_retention_next_ms(const struct sk_replica *replica);

/** What is kept at present for a peer; for anybody, and how much of the cap that is, in percent (of whichever cap it is
 *  more of); and whom most of it is kept for (SK_RETENTION_PEERS: nobody). */
sk_retained sk_retention_of(const struct sk_replica *replica, uint32_t peer);
sk_retained sk_retention_all(const struct sk_replica *replica);
uint64_t sk_retention_percent(const sk_retention *retention, sk_retained kept);
uint32_t sk_retention_holder(const struct sk_replica *replica);

#endif
