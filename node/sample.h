/* Random members of hashes and sets: SPOP, SRANDMEMBER, HRANDFIELD.
 *
 * Members are rows in the order of their bytes, and nothing knows how many lie between two of them. In a small
 * collection one pass chooses exactly. In a large one a choice goes down the tree of the members' prefixes, from
 * fork to fork, taking each branch with the same chance, until few members are left; since branches differ in
 * size, where that leads is then accepted with a probability that makes up for its chance (rejection sampling):
 * what lies in a thin branch comes up no more often than the rest. What lies in the most crowded branches, with
 * less than its share of the chances, may come up somewhat less often, and at forks of very many branches their
 * number is an estimate: a slight bias that an index of ranks, at a write for every write, would be the way to be
 * rid of. A choice costs some tens of seeks, whatever the size; where many are asked for at once one pass over
 * all members is cheaper, and exact. */
#ifndef SK_NODE_SAMPLE_H
#define SK_NODE_SAMPLE_H

#include "node/keyspace.h"

enum {
    SK_SAMPLE_SCAN_MAX = 256,        /* members that cost as much to pass over as one random choice costs */
    SK_SAMPLE_REPEATS_MAX = 1 << 20, /* of a negative count: its reply is not bounded by what is stored */
};

/** `count` random members of a collection of `size`: different ones, all of them if it has no more; with `count` negative
 *  -count independent ones. In the arena. The size is what its key's row says: if the disk is damaged, members are lacking or
 *  left out. False after replying with an error. */
bool sk_sample(sk_ctx *ctx, sk_table table, sk_bytes key, uint64_t size, int64_t count, sk_bytes **members,
               size_t *picked);

/** Parses SRANDMEMBER's and HRANDFIELD's count; replies with an error and returns false if it is none. */
bool sk_sample_count(sk_ctx *ctx, sk_bytes arg, int64_t *count);

#endif
