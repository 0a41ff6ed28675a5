/* What somebody waits for of a transfer that is being folded in (node/fold.h).
 *
 * Who names a key brings its rows into place first. Of nearly every key they are few, and that is done at once. Of a large hash
 * or set some are, and the rest is waited for: a client's command is executed again when they are in place (SK_BLOCK_FOLD), and a
 * transaction of another region is held back by the engine (SK_E_BUSY). Meanwhile each turn brings some more rows of that key into
 * place, instead of those whose turn it is: others are served in between, and what has become of it is on its way to the
 * disk. A command that looks at all keys waits for the end of the fold.
 *
 * While the store takes no writes nobody waits, as nothing would get on, nor does a client that cannot be told when it is
 * done (`unblocked` is NULL): then all of it is brought into place at once. */
#ifndef SK_NODE_WANTED_H
#define SK_NODE_WANTED_H

#include "crdt/op.h"
#include "node/client.h"

/* A key that is brought into place before others. */
typedef struct {
    bool waits;
    sk_buf key;
} sk_wanted_key;

typedef struct {
    sk_wanted_key by_client, by_region; /* of those that are waited for one each, so that neither waits for the other */
    bool all;                           /* a client waits for the end */
} sk_wanted;

void sk_wanted_free(sk_wanted *wanted);
/** Brings a key into place, if about *rows are enough for it, which falls by as many as there were. If not, the client is
 *  blocked: 1. Else 0, or an error. No transaction is open. */
int sk_wanted_by_client(sk_replica *replica, sk_client *client, sk_bytes key, uint32_t *rows);
/** The same of all keys: the client is blocked until nothing is being folded in. */
int sk_wanted_all_by_client(sk_replica *replica, sk_client *client);
/** The same as the first for the keys of a transaction of another region. True: it must wait. */
bool sk_wanted_by_region(sk_replica *replica, const sk_txn *txn);
/** Of a blocked client: may its command be executed again? */
bool sk_wanted_is_there(const sk_replica *replica, const sk_client *client);
/** Does anybody wait? */
bool sk_wanted_any(const sk_wanted *wanted);
/** A turn's part of the keys that are waited for. False: there is none. */
bool sk_wanted_turn(sk_replica *replica);

#endif
