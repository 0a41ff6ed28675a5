#include "crdt/vv.h"

#include <stdlib.h>

void sk_vv_set(sk_vv *vv, uint32_t origin, uint64_t seq)
{
    sk_assert(origin < SK_ORIGINS_MAX);
    if (origin >= vv->count) {
        if (seq == 0) return;
        vv->seq = sk_realloc(vv->seq, (origin + 1) * sizeof *vv->seq);
        while (vv->count <= origin) vv->seq[vv->count++] = 0;
    }
    vv->seq[origin] = seq;
}

void sk_vv_raise(sk_vv *vv, uint32_t origin, uint64_t seq)
{
    if (sk_vv_get(vv, origin) < seq) sk_vv_set(vv, origin, seq);
}

void sk_vv_join(sk_vv *vv, const sk_vv *other)
{
    for (uint32_t o = 0; o < other->count; o++) sk_vv_raise(vv, o, other->seq[o]);
}

bool sk_vv_at_most(const sk_vv *a, const sk_vv *b)
{
    for (uint32_t o = 0; o < a->count; o++)
        if (a->seq[o] > sk_vv_get(b, o)) return false;
    return true;
}

void sk_vv_meet(sk_vv *vv, const sk_vv *other)
{
    for (uint32_t o = 0; o < vv->count; o++)
        if (vv->seq[o] > sk_vv_get(other, o)) vv->seq[o] = sk_vv_get(other, o);
}

void sk_vv_copy(sk_vv *vv, const sk_vv *from)
{
    if (vv->count < from->count) {
        vv->seq = sk_realloc(vv->seq, from->count * sizeof *vv->seq);
        vv->count = from->count;
    }
    if (from->count) memcpy(vv->seq, from->seq, from->count * sizeof *vv->seq);
    for (uint32_t o = from->count; o < vv->count; o++) vv->seq[o] = 0;
}

void sk_vv_free(sk_vv *vv)
{
    free(vv->seq);
    *vv = (sk_vv){0};
}

void sk_vv_pack(sk_buf *buf, const sk_vv *vv)
{
    uint32_t count = 0;
    for (uint32_t o = 0; o < vv->count; o++) count += vv->seq[o] != 0;
    sk_pack_array(buf, 2 * count);
    for (uint32_t o = 0; o < vv->count; o++) {
        if (vv->seq[o] == 0) continue;
        sk_pack_uint(buf, o);
        sk_pack_uint(buf, vv->seq[o]);
    }
}

/* `map` NULL: our own numbers, below `known`. */
static void read(sk_reader *reader, const sk_origin_map *map, uint32_t known, sk_vv *vv)
{
    sk_vv_clear(vv);
    uint32_t count = sk_read_array(reader);
    if (count % 2) reader->bad = true;
    for (uint32_t i = 0; i < count / 2 && !reader->bad; i++) {
        uint32_t origin = sk_read_origin(reader, map);
        uint64_t seq = sk_read_uint(reader);
        if (origin >= known) reader->bad = true;
        if (!reader->bad) sk_vv_set(vv, origin, seq);
    }
}

void sk_vv_read(sk_reader *reader, const sk_origin_map *map, sk_vv *vv)
{
    read(reader, map, SK_ORIGINS_MAX, vv);
}

void sk_vv_read_own(sk_reader *reader, const sk_origins *origins, sk_vv *vv)
{
    read(reader, NULL, origins->count, vv);
}
