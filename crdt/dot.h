/* Dots, and the origins that make them.
 *
 * An origin is one life of one region's database: the region's name and a 64-bit incarnation. A new life (a new, restored
 * or cloned database, or another boot of the machine) takes a new incarnation, so that a dot is never used twice. A dot (origin, seq) names one
 * transaction; one transaction leaves at most one content entry and one deadline entry in a row.
 *
 * Inside one database origins are interned: dots and rows hold a small number, and the table below says which origin
 * that is. Between two nodes the numbers differ; each announces its own table, and the receiver keeps an sk_origin_map.
 *
 * Invariant: a number, once given, means the same origin for the life of the database. */
#ifndef SK_CRDT_DOT_H
#define SK_CRDT_DOT_H

#include "crdt/error.h"
#include "crdt/pack.h"

enum {
    SK_REGION_NAME_MAX = 32, /* bytes */
    SK_ORIGINS_MAX = 4096,   /* interned in one database */
};

typedef struct {
    uint32_t origin; /* interned */
    uint64_t seq;    /* from 1 */
} sk_dot;

typedef struct {
    char region[SK_REGION_NAME_MAX + 1];
    uint64_t incarnation;
    uint64_t hash; /* of both, for digests: the same on every node */
} sk_origin;

typedef struct {
    sk_origin *list; /* owned; index = interned number */
    uint32_t count;
} sk_origins;

/** 1 to 32 of a-z, 0-9 and '-'. */
bool sk_region_name_valid(sk_bytes name);

/** The number of this origin, interned now if it was not; SK_E_LIMIT beyond SK_ORIGINS_MAX, SK_E_MALFORMED for a name
 *  that is not valid. */
int sk_origins_intern(sk_origins *origins, sk_bytes region, uint64_t incarnation, uint32_t *origin);
/** True and the number, if it is there. */
bool sk_origins_find(const sk_origins *origins, sk_bytes region, uint64_t incarnation, uint32_t *origin);
/* An incarnation: seconds of the wall clock when it was taken (32 bits), random bits (31), and last whether it is a break:
 * the database did not go on from where the region's life before had ended on the disk, but was new or an older copy.
 * Transactions of that life may then be in no database any more, and yet come back from a backup. */
static inline uint64_t sk_incarnation_make(uint64_t random, uint64_t wall_ms, bool is_break)
{
    return wall_ms / 1000 << 32 | (random & 0xfffffffe) | is_break;
}
static inline uint32_t sk_incarnation_seconds(uint64_t incarnation)
{
    return (uint32_t)(incarnation >> 32);
}
/** May there be transactions of this origin that no member knows of, nor will hear of from it? So when another life of the
 *  region began with a break, then or later. By the clock: where it was set back between two lives, this is seen from when
 *  the later life has heard of the former and taken another incarnation (gossip/status.c). */
bool sk_origins_open_ended(const sk_origins *origins, uint32_t origin);
/** An order that is the same on every node: by name, then incarnation. */
int sk_origins_compare(const sk_origins *origins, uint32_t a, uint32_t b);
void sk_origins_free(sk_origins *origins);

/* Another node's numbers to ours. */
enum { SK_ORIGIN_UNKNOWN = UINT32_MAX };

typedef struct {
    uint32_t *ours; /* owned; index = their number */
    uint32_t count;
} sk_origin_map;

/** Their number `theirs` means our `ours`. SK_E_LIMIT if theirs is SK_ORIGINS_MAX or more. */
int sk_origin_map_set(sk_origin_map *map, uint32_t theirs, uint32_t ours);
void sk_origin_map_free(sk_origin_map *map);

/** Our number; with map NULL `theirs` is ours already. SK_ORIGIN_UNKNOWN if it was not announced. */
static inline uint32_t sk_origin_map_get(const sk_origin_map *map, uint64_t theirs)
{
    if (!map) return theirs < SK_ORIGINS_MAX ? (uint32_t)theirs : SK_ORIGIN_UNKNOWN;
    return theirs < map->count ? map->ours[theirs] : SK_ORIGIN_UNKNOWN;
}
/** Reads an origin number of theirs; bad if it is unknown. */
static inline uint32_t sk_read_origin(sk_reader *reader, const sk_origin_map *map)
{
    uint32_t origin = sk_origin_map_get(map, sk_read_uint(reader));
    if (origin == SK_ORIGIN_UNKNOWN) {
        reader->bad = true;
        return 0;
    }
    return origin;
}

#endif
