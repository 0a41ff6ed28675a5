/* What the commands of hashes and sets share: replies made while members are visited, random members, scans, and the
 * end of a key whose last member is gone.
 *
 * Members are rows in the order of their bytes, and nothing knows how many lie between two of them. So a random member
 * of a large collection is found by going down the tree of their prefixes, choosing among the branches at each fork, and
 * by accepting where that led with a probability that makes up for its unequal chances (rejection sampling): what lies
 * in a thin branch comes up no more often than the rest. What lies in a crowded branch, with less than its share of the
 * chances, may come up somewhat less often: small collections (SK_SAMPLE_SCAN_MAX) are sampled exactly, larger ones
 * nearly so. A choice costs some tens of seeks, whatever the size; where many are asked for at once, one pass over all
 * members is cheaper, and exact. */
#ifndef SK_NODE_COLLECTION_H
#define SK_NODE_COLLECTION_H

#include "node/keyspace.h"

enum {
    SK_SAMPLE_SCAN_MAX = 256,          /* members that cost as much to pass over as one random choice costs */
    SK_SAMPLE_REPEATS_MAX = 1 << 20,   /* of a negative count: the reply is not bounded by what is stored */
    SK_SCAN_WHOLE_MAX = 512,           /* HSCAN and SSCAN return a collection of up to so many members whole */
};

/* -- replies of many elements, one of which may turn out to be refused ------------------------------------------------ */

typedef struct {
    sk_ctx *ctx;
    sk_buf buf;     /* owned */
    sk_reply reply; /* into buf: for the elements */
    size_t count;   /* elements (or pairs); counted by the caller */
} sk_collected;

/** Elements go to `collected` first, so that an error may still take the place of them all. Send or drop it. */
void sk_collected_begin(sk_collected *collected, sk_ctx *ctx);
/** The client's reply: a header (sk_reply_array, _map, _set) with `count`, and the elements. */
void sk_collected_send(sk_collected *collected, void (*header)(const sk_reply *reply, size_t count));
void sk_collected_drop(sk_collected *collected);

/* -- the rest ------------------------------------------------------------------------------------------------------------ */

/** After members of `key` were removed: if nothing of it is left, its deadlines go too, as in Redis. False after replying
 *  with a failure. */
bool sk_collection_shrunk(sk_ctx *ctx, sk_key *key);

/** `count` random members of a collection of `size` > 0 (as its key's row says): different ones, all of them if it has
 *  no more; with `count` negative -count independent ones. In the arena. False after replying with an error. */
bool sk_collection_sample(sk_ctx *ctx, sk_table table, sk_bytes key, uint64_t size, int64_t count, sk_bytes **members,
                          size_t *picked);

/** Parses SRANDMEMBER's and HRANDFIELD's count; replies and returns false if it is none. */
bool sk_collection_count(sk_ctx *ctx, sk_bytes arg, int64_t *count);

/** HSCAN (SK_TABLE_HASH) and SSCAN (SK_TABLE_SET): key cursor [MATCH pattern] [COUNT count]. */
void sk_collection_scan(sk_ctx *ctx, sk_table table);

#endif
