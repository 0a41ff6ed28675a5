#include "crdt/dot.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

bool sk_region_name_valid(sk_bytes name)
{
    if (name.len < 1 || name.len > SK_REGION_NAME_MAX) return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-') return false;
    }
    return true;
}

bool sk_origins_find(const sk_origins *origins, sk_bytes region, uint64_t incarnation, uint32_t *origin)
{
    for (uint32_t i = 0; i < origins->count; i++)
        if (origins->list[i].incarnation == incarnation && sk_bytes_equal(sk_bytes_str(origins->list[i].region), region)) {
            *origin = i;
            return true;
        }
    return false;
}

int sk_origins_intern(sk_origins *origins, sk_bytes region, uint64_t incarnation, uint32_t *origin)
{
    if (!sk_region_name_valid(region)) return SK_E_MALFORMED;
    if (sk_origins_find(origins, region, incarnation, origin)) return 0;
    if (origins->count == SK_ORIGINS_MAX) return SK_E_LIMIT;
    origins->list = sk_realloc(origins->list, (origins->count + 1) * sizeof *origins->list);
    sk_origin *added = &origins->list[origins->count];
    memset(added, 0, sizeof *added);
    memcpy(added->region, region.data, region.len);
    added->incarnation = incarnation;
    added->hash = XXH3_64bits_withSeed(region.data, region.len, incarnation);
    *origin = origins->count++;
    return 0;
}

bool sk_origins_open_ended(const sk_origins *origins, uint32_t origin)
{
    const sk_origin *ended = &origins->list[origin];
    for (uint32_t o = 0; o < origins->count; o++) {
        const sk_origin *other = &origins->list[o];
        if (o != origin && other->incarnation & 1 && strcmp(other->region, ended->region) == 0 &&
            sk_incarnation_seconds(other->incarnation) >= sk_incarnation_seconds(ended->incarnation))
            return true;
    }
    return false;
}

int sk_origins_compare(const sk_origins *origins, uint32_t a, uint32_t b)
{
    if (a == b) return 0;
    int order = strcmp(origins->list[a].region, origins->list[b].region);
    if (order) return order;
    uint64_t first = origins->list[a].incarnation, second = origins->list[b].incarnation;
    return (first > second) - (first < second);
}

void sk_origins_free(sk_origins *origins)
{
    free(origins->list);
    *origins = (sk_origins){0};
}

int sk_origin_map_set(sk_origin_map *map, uint32_t theirs, uint32_t ours)
{
    if (theirs >= SK_ORIGINS_MAX) return SK_E_LIMIT;
    if (theirs >= map->count) {
        map->ours = sk_realloc(map->ours, (theirs + 1) * sizeof *map->ours);
        while (map->count <= theirs) map->ours[map->count++] = SK_ORIGIN_UNKNOWN;
    }
    map->ours[theirs] = ours;
    return 0;
}

void sk_origin_map_free(sk_origin_map *map)
{
    free(map->ours);
    *map = (sk_origin_map){0};
}
