#include "node/watch.h"

#include "node/client.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS_LEAST = 64 };

static uint64_t hash_of(const sk_watches *watches, sk_bytes key)
{
    return XXH3_64bits_withSeed(key.data, key.len, watches->seed);
}

static void put(sk_watches *watches, sk_watched *watched)
{
    sk_watched **slot = &watches->slots[watched->hash & (watches->size - 1)];
    watched->next = *slot;
    watched->place = slot;
    if (*slot) (*slot)->place = &watched->next;
    *slot = watched;
}

static void grow(sk_watches *watches)
{
    sk_watched **before = watches->slots;
    uint32_t slots = watches->size;
    watches->size = slots ? slots * 2 : SLOTS_LEAST;
    watches->slots = sk_alloc(watches->size * sizeof(sk_watched *));
    for (uint32_t i = 0; i < slots; i++)
        for (sk_watched *watched = before[i], *next; watched; watched = next) {
            next = watched->next;
            put(watches, watched);
        }
    free(before);
}

static sk_watched *first_of(sk_watched *watched, uint64_t hash, sk_bytes key)
{
    while (watched && (watched->hash != hash || !sk_bytes_equal(watched->key, key))) watched = watched->next;
    return watched;
}

sk_watched *sk_watches_first(const sk_watches *watches, sk_bytes key)
{
    if (watches->count == 0) return NULL;
    uint64_t hash = hash_of(watches, key);
    return first_of(watches->slots[hash & (watches->size - 1)], hash, key);
}

sk_watched *sk_watches_next(const sk_watched *watched)
{
    return first_of(watched->next, watched->hash, watched->key);
}

int sk_watch(sk_watches *watches, sk_client *client, sk_bytes key, bool absent, size_t bytes_max)
{
    for (sk_watched *there = sk_watches_first(watches, key); there; there = sk_watches_next(there))
        if (there->client == client) return 0;
    size_t bytes = sizeof(sk_watched) + key.len;
    if (bytes_max && bytes > bytes_max - client->watched_bytes) return SK_E_LIMIT;
    if (watches->count == watches->size) grow(watches);
    sk_watched *watched = sk_alloc(bytes);
    uint8_t *copy = (uint8_t *)(watched + 1);
    if (key.len) memcpy(copy, key.data, key.len);
    *watched = (sk_watched){.client = client, .more = client->watched, .hash = hash_of(watches, key), .absent = absent};
    watched->key = sk_bytes_of(copy, key.len);
    put(watches, watched);
    watches->count++;
    client->watched = watched;
    client->watched_count++;
    client->watched_bytes += bytes;
    return 0;
}

void sk_unwatch(sk_watches *watches, sk_client *client)
{
    for (sk_watched *watched = client->watched, *more; watched; watched = more) {
        more = watched->more;
        *watched->place = watched->next;
        if (watched->next) watched->next->place = watched->place;
        free(watched);
        watches->count--;
    }
    client->watched = NULL;
    client->watched_count = client->watched_bytes = 0;
    client->watch_broken = false;
    if (watches->count) return;
    free(watches->slots);
    watches->slots = NULL;
    watches->size = 0;
}
