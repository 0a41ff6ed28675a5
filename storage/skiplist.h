/* An ordered map in memory from byte strings to items, after Pugh, "Skip Lists" (1990).
 *
 * It orders by memcmp, a prefix before what it begins, as the disk does. Keys are borrowed: an item owns the bytes of
 * its key and keeps them in place while it is in the list. Nodes come from an arena of the list's own and are used
 * again after a removal, so that no insertion allocates by itself.
 *
 * Invariants:
 *  1. On each level the keys ascend strictly; a node of height h stands on the levels below h.
 *  2. Heights come from a generator with a fixed start: the same calls build the same list, on every machine.
 *  3. A node stays where it is in memory until its key is removed. */
#ifndef SK_STORAGE_SKIPLIST_H
#define SK_STORAGE_SKIPLIST_H

#include "crdt/memory.h"

enum { SK_SKIPLIST_HEIGHT = 12 }; /* with one in four going up, good for 4^12 keys */

typedef struct sk_skipnode {
    sk_bytes key;               /* borrowed from the item */
    void *item;                 /* borrowed */
    uint32_t height;            /* levels that it stands on, from 1 */
    struct sk_skipnode *next[]; /* one a level */
} sk_skipnode;

typedef struct {
    sk_skipnode *head[SK_SKIPLIST_HEIGHT];  /* the first node of each level */
    sk_skipnode *spare[SK_SKIPLIST_HEIGHT]; /* removed nodes, by height - 1 */
    sk_arena arena;                         /* where the nodes are */
    size_t count;                           /* keys */
    uint32_t height;                        /* levels in use */
    uint64_t dice;                          /* state of the generator of heights */
    sk_skipnode *last; /* put last, if nothing was removed since: ascending keys go behind it without a search */
    sk_skipnode **links[SK_SKIPLIST_HEIGHT]; /* to behind `last` on every level in use */
} sk_skiplist; /* all zeros is an empty list */

/** Puts an item; `key` must be bytes of the item. Returns the item that stood there (now out of the list), or NULL. */
void *sk_skiplist_put(sk_skiplist *list, sk_bytes key, void *item);
/** The item, or NULL. */
void *sk_skiplist_get(const sk_skiplist *list, sk_bytes key);
/** Takes the item out and returns it, or NULL. */
void *sk_skiplist_remove(sk_skiplist *list, sk_bytes key);
/** Takes out every item from `from` up to, not including, `to` (to.data NULL: to the end), and then tells of each. */
void sk_skiplist_cut(sk_skiplist *list, sk_bytes from, sk_bytes to, void (*removed)(void *self, void *item), void *self);
/** The first node at or above `from`, or NULL; go on with node->next[0]. Valid until its key is removed. */
sk_skipnode *sk_skiplist_seek(const sk_skiplist *list, sk_bytes from);
/** Empty again; keeps a little memory for the next use. The items are the caller's matter. */
void sk_skiplist_clear(sk_skiplist *list);
/** Gives the memory back; the list is as new. */
void sk_skiplist_free(sk_skiplist *list);
/** Asserts the invariants. */
void sk_skiplist_check(const sk_skiplist *list);

#endif
