/* WATCH: which clients watch which keys.
 *
 * A table of all watched keys, by their hash: a changed row costs a look at those that watch its key, however many clients
 * there are, and nothing while nobody watches. What a client watches is bounded in bytes (limits.transaction_max). */
#ifndef SK_NODE_WATCH_H
#define SK_NODE_WATCH_H

#include "crdt/bytes.h"

typedef struct sk_client sk_client;
typedef struct sk_watched sk_watched;

struct sk_watched {
    sk_client *client;
    sk_watched *more;          /* the next of this client's; owned */
    sk_watched *next, **place; /* in the table: the next of the slot, and what points here */
    uint64_t hash;
    sk_bytes key; /* behind it in the same piece of memory */
    bool absent;  /* there was none to be seen when it was watched: only one that appears is a change */
};

typedef struct {
    sk_watched **slots; /* owned; NULL while nobody watches */
    uint32_t size, count;
    uint64_t seed;
} sk_watches;

/** Does nothing for a key that the client watches already. SK_E_LIMIT: all that it watches would take more than so many
 *  bytes (0: no limit). */
int sk_watch(sk_watches *watches, sk_client *client, sk_bytes key, bool absent, size_t bytes_max);
/** All of a client's go. */
void sk_unwatch(sk_watches *watches, sk_client *client);
/** The first or next of those that watch this key; NULL: no more. */
sk_watched *sk_watches_first(const sk_watches *watches, sk_bytes key);
sk_watched *sk_watches_next(const sk_watched *watched);

#endif
