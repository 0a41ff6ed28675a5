/* What the commands of hashes and sets share: replies made while members are visited, scans, and the end of a key whose
 * last member is gone. */
#ifndef SK_NODE_COLLECTION_H
#define SK_NODE_COLLECTION_H

#include "node/keyspace.h"

enum {
    SK_SCAN_WHOLE_MAX = 512, /* HSCAN and SSCAN return a collection of up to so many members whole */
};

/* -- replies of many elements, one of which may turn out to be refused --------------------------------------------- */

typedef struct {
    sk_ctx *ctx;
    sk_buf buf;     /* owned */
    sk_reply reply; /* into buf: for the elements */
    size_t count;   /* elements (or pairs); counted by the caller */
} sk_collected;

/** Elements go to `collected` first, so that an error may still take the place of them all. Send or drop it. Once buf.full,
 *  nothing more need be looked at: what is sent then is no reply, and the connection is closed. */
void sk_collected_begin(sk_collected *collected, sk_ctx *ctx);
/** The client's reply: a header (sk_reply_array, _map, _set) with `count`, and the elements. */
void sk_collected_send(sk_collected *collected, void (*header)(const sk_reply *reply, size_t count));
void sk_collected_drop(sk_collected *collected);

/* -- the rest ------------------------------------------------------------------------------------------------------ */

/** After members of `key` were removed: if none is left, its deadlines go too, as in Redis, and what had lost to it (policy
 *  `newest`): to whoever removed them that was not there. False after replying with a failure. */
bool sk_collection_shrunk(sk_ctx *ctx, sk_key *key);

/** HSCAN (SK_TABLE_HASH) and SSCAN (SK_TABLE_SET): key cursor [MATCH pattern] [COUNT count]. */
void sk_collection_scan(sk_ctx *ctx, sk_table table);

#endif
