/* What was put and is not in its place yet (in memory: not committed), laid over what is: shared by both stores.
 *
 * A batch records its changes in the order in which they came (a value put over one as long, in the same batch, takes its
 * place); the overlay finds the newest one of each key. Points are found through a hash table, because gets and puts are
 * the hot path. Order is needed by iterators and range removals only, so changes enter the ordered lists when one of those
 * asks: a load of plain reads and writes never pays for it.
 *
 * Threads: everything here belongs to the thread that uses the store. Another thread may read the list of changes of a
 * sealed batch (first, next, and what a change says), which nobody alters until the batch is recycled.
 *
 * Invariants:
 *  1. The newest point change of a key is live, and in a hashed family no other is. It is in the hash table if its
 *     family has one, and in the ordered list of its family once that was caught up past it.
 *  2. A live point is newer than every live range that covers it: a range takes out what it covers when it comes.
 *  3. Live ranges stand in the order in which they came.
 *  4. Sealed batches stand in the order of their numbers; the open one has the next number. */
#ifndef SK_STORAGE_OVERLAY_H
#define SK_STORAGE_OVERLAY_H

#include "storage/chunks.h"
#include "storage/index.h"
#include "storage/skiplist.h"
#include "storage/store.h"

typedef enum {
    SK_CHANGE_PUT,    /* key -> value */
    SK_CHANGE_REMOVE, /* key */
    SK_CHANGE_RANGE,  /* removes from `key` up to `value`; `open_end`: to the end of the family */
} sk_change_kind;

typedef struct sk_change {
    struct sk_change *next; /* in its batch */
    uint64_t number;        /* its batch */
    union {
        uint64_t hash;           /* of a point in a family that is hashed */
        struct sk_change *chain; /* of a range: the next live one; of a point in a family that is not: the next in its batch */
    };
    uint32_t key_len, value_len;
    uint8_t cf, kind, open_end;
    uint8_t live, ordered; /* belong to the store's thread */
    uint8_t data[];        /* key, value */
} sk_change;

typedef struct sk_batch {
    struct sk_batch *next; /* sealed after it */
    uint64_t number;
    sk_change *first, *last;
    sk_change *unhashed, *unhashed_last; /* the points of the family that is not hashed: few, and looked for often */
    sk_change *ordered[SK_CF_COUNT]; /* up to here the family's ordered list knows it; NULL: nothing yet */
    size_t count;                    /* changes */
    size_t points[SK_CF_COUNT];      /* of them, not ranges */
    size_t bytes;                    /* of keys and values, and a little for each; 0: no change */
    sk_stretch memory;               /* the changes */
} sk_batch;

typedef struct {
    sk_index index; /* live points of the families that are hashed */
    size_t live;    /* live points, in all families */
    sk_skiplist order[SK_CF_COUNT];
    sk_batch *caught_up[SK_CF_COUNT]; /* borrowed: the ordered list knows all batches before it; NULL: none of them */
    sk_change *ranges[SK_CF_COUNT]; /* the live ones, oldest first */
    sk_batch *open;                 /* owned, never NULL */
    sk_batch *sealed, *sealed_last; /* owned */
    size_t sealed_bytes;
    sk_chunks chunks;               /* what changes lie in */
} sk_overlay;

static inline sk_bytes sk_change_key(const sk_change *change)
{
    return (sk_bytes){change->data, change->key_len};
}
static inline sk_bytes sk_change_value(const sk_change *change)
{
    return (sk_bytes){change->data + change->key_len, change->value_len};
}

/** Appends a change to a batch, key and value copied. */
sk_change *sk_batch_record(sk_batch *batch, sk_chunks *chunks, sk_change_kind kind, sk_cf cf, sk_bytes key, sk_bytes value);
/** What a batch takes in memory, about: itself, its changes (of large ones the last block is half empty), and for each
 *  change its places in index, ordered list and run. */
static inline size_t sk_batch_memory(const sk_batch *batch)
{
    enum { LAST = 64 << 10, AROUND = 64 };
    size_t last = batch->memory.large.used < LAST ? batch->memory.large.used : LAST;
    return sizeof *batch + AROUND + batch->memory.bytes + last / 2 + batch->count * AROUND;
}

/** `first` is the number of the first batch, `budget` how many bytes the changes should take at most. */
void sk_overlay_init(sk_overlay *overlay, uint64_t first, size_t budget);
void sk_overlay_free(sk_overlay *overlay);
/** Gives memory back to the system that is not in use. For when there was little to do for a while. */
void sk_overlay_trim(sk_overlay *overlay);
/** Records a put, or with SK_CHANGE_REMOVE a removal (of which the value is ignored), in the open batch. Returns the
 *  key's hash; 0 in the family that has none, which is history. */
uint64_t sk_overlay_change(sk_overlay *overlay, sk_change_kind kind, sk_cf cf, sk_bytes key, sk_bytes value);
/** Records the removal of a range in the open batch; to.data NULL: to the end. An empty range is nothing. */
void sk_overlay_remove_range(sk_overlay *overlay, sk_cf cf, sk_bytes from, sk_bytes to);

typedef enum {
    SK_OVERLAY_ELSEWHERE, /* no change that it holds touches the key */
    SK_OVERLAY_FOUND,
    SK_OVERLAY_REMOVED,
} sk_overlay_answer;

/** The hash under which the overlay finds a key; the same in every process. */
uint64_t sk_overlay_hash(sk_cf cf, sk_bytes key);
/** The newest word that it holds on a key with that hash; `value` (borrowed until its batch is recycled) and `number` as
 *  it says. */
sk_overlay_answer sk_overlay_find(sk_overlay *overlay, uint64_t hash, sk_cf cf, sk_bytes key, sk_bytes *value,
                                  uint64_t *number);

/** Live points that no ordered list has: what views and range removals may have to bring into order. */
size_t sk_overlay_unordered(const sk_overlay *overlay);

/** Closes the open batch and opens the next. The batch stays the overlay's until it is taken. */
sk_batch *sk_overlay_seal(sk_overlay *overlay);
/** Takes the oldest sealed batch out if its number is at most `upto` (its changes no longer cover anything), else
 *  NULL. The caller owns it until it gives it to sk_overlay_recycle. */
sk_batch *sk_overlay_take(sk_overlay *overlay, uint64_t upto);
void sk_overlay_recycle(sk_overlay *overlay, sk_batch *batch);
/** Drops every change. The next batch gets a number of its own: none that was seen is given out again. */
void sk_overlay_drop_all(sk_overlay *overlay);
/** Drops every change in batches after number `upto`; what they hid shows again. The next batch gets a number of its
 *  own. */
void sk_overlay_keep(sk_overlay *overlay, uint64_t upto);
/** Asserts the invariants. */
void sk_overlay_check(const sk_overlay *overlay);

/* -- a view: the overlay's part of an iterator --------------------------------------------------------------------
 *
 * Pairs are copied in pieces that grow, so that the first page of a scan does not cost the whole overlay. No batch may
 * leave the overlay while such a view of it is open: a pair would be missed above and below. A `whole` view has copied
 * everything, and does not mind.
 *
 * Each piece brings the ranges of its moment: a point that a range has taken out since is not copied any more, and what
 * it had hidden below must stay hidden. */

typedef struct {
    sk_bytes key, value;
    bool removed;
} sk_overlay_pair;

typedef struct {
    sk_overlay *overlay; /* borrowed; NULL: a view of nothing */
    sk_cf cf;
    sk_bytes to;
    sk_arena bounds;        /* owns `to` */
    sk_arena arena;         /* owns the pairs and the ranges */
    sk_overlay_pair *pairs; /* ascending; removals too, which hide what lies below */
    size_t count, at, room;
    bool more; /* pairs follow after these */
    sk_overlay_pair *ranges; /* key up to value; value.data NULL: to the end */
    size_t range_count;
} sk_overlay_view; /* all zeros is the view of nothing */

typedef enum {
    SK_VIEW_END,  /* nothing is left, above or below */
    SK_VIEW_PAIR, /* `key` and `value` are the next pair, from the overlay */
    SK_VIEW_BASE, /* the next pair is the one below */
    SK_VIEW_SKIP, /* the one below is hidden: go to the one after it, and ask again */
    SK_VIEW_SEEK, /* the one below is hidden, and all before `key` (data NULL: all to the end): go there, ask again */
} sk_view_step;

/** Of what lies in [from, to), to.data NULL: to the end. Puts made while it is open may or may not be seen. `whole`:
 *  copies all of it at once. */
void sk_overlay_view_take(sk_overlay *overlay, sk_cf cf, sk_bytes from, sk_bytes to, bool whole,
                          sk_overlay_view *view);
/** One step of merging with what lies below; `below` is its next key, NULL at its end. */
sk_view_step sk_overlay_view_next(sk_overlay_view *view, const sk_bytes *below, sk_bytes *key, sk_bytes *value);
void sk_overlay_view_free(sk_overlay_view *view);

#endif
