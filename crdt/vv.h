/* Version vectors: for each origin the highest seq seen, with no gaps below it.
 *
 * A vector is a plain array by interned origin number; a number beyond its end counts as 0, so vectors made before an
 * origin was known need no change. A node's clock is one; so is what a peer has acknowledged, a causal context, a
 * session token, the floor. */
#ifndef SK_CRDT_VV_H
#define SK_CRDT_VV_H

#include "crdt/dot.h"

typedef struct {
    uint64_t *seq; /* owned; index = interned origin */
    uint32_t count;
} sk_vv;

static inline uint64_t sk_vv_get(const sk_vv *vv, uint32_t origin)
{
    return origin < vv->count ? vv->seq[origin] : 0;
}
static inline bool sk_vv_covers(const sk_vv *vv, sk_dot dot)
{
    return sk_vv_get(vv, dot.origin) >= dot.seq;
}
void sk_vv_set(sk_vv *vv, uint32_t origin, uint64_t seq);
/** To at least seq. */
void sk_vv_raise(sk_vv *vv, uint32_t origin, uint64_t seq);
/** Raises `vv` to the join of both. */
void sk_vv_join(sk_vv *vv, const sk_vv *other);
/** a <= b in every origin. */
bool sk_vv_at_most(const sk_vv *a, const sk_vv *b);
static inline bool sk_vv_equal(const sk_vv *a, const sk_vv *b)
{
    return sk_vv_at_most(a, b) && sk_vv_at_most(b, a);
}
/** Lowers `vv` to the least of both in every origin. */
void sk_vv_meet(sk_vv *vv, const sk_vv *other);
/** `vv` becomes a copy. */
void sk_vv_copy(sk_vv *vv, const sk_vv *from);
/** Every seq is 0; keeps its memory. */
static inline void sk_vv_clear(sk_vv *vv)
{
    for (uint32_t o = 0; o < vv->count; o++) vv->seq[o] = 0;
}
void sk_vv_free(sk_vv *vv);

/** As a msgpack array of origin, seq, origin, seq…, zeros left out. */
void sk_vv_pack(sk_buf *buf, const sk_vv *vv);
/** Reads one over `vv`; origins go through `map`. Bad input marks the reader. */
void sk_vv_read(sk_reader *reader, const sk_origin_map *map, sk_vv *vv);
/** Likewise one that was packed with our own numbers: those of `origins`, and no others. */
void sk_vv_read_own(sk_reader *reader, const sk_origins *origins, sk_vv *vv);

#endif
